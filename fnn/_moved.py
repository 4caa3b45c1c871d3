"""Modules of version 0.1 that are elsewhere now: importing one raises an error that says where."""

from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "fnn.plotting": "fnn.plot",
    "fnn.data.text": "fnn.text",
    **dict.fromkeys(("fnn.data.cross_validation", "fnn.data.preprocessing"), "fnn.data"),
    **dict.fromkeys(("fnn.nn.activity", "fnn.nn.recurrent"), "fnn"),
    **{f"fnn.training.{name}": "fnn" for name in ("callbacks", "ensemble", "fit", "many", "sweep")},
    "fnn.training.finite": "fnn.fitting.guard",
    "fnn.training.resume": "fnn.fitting.checkpoints",
    "fnn.training.sources": "fnn.fitting.sources",
}


class Finder:
    """The last finder of modules, called for those that no other one finds."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Refuse a module that has moved."""
        if name in MOVED:
            raise ModuleNotFoundError(f"No module named {name!r}. Since version 0.2, import from {MOVED[name]}.")
