"""Each library as its own documentation trains, at its best.

A module per library with two functions: ``load()`` imports the library, so that it can be timed, and
``build(workload, x, y, seed, **options)`` returns the epoch: a function that trains once over the data, in a fresh
order, and returns the mean training loss. `VARIANTS` is the table of all that can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, util
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from workloads import Workload

Epoch = Callable[[], float]


class Variant(NamedTuple):
    """One way to train.

    Attributes:
      name: by which the command line and the tables know it.
      module: of this package.
      group: "fnn"; "jax" for libraries on JAX; "other" for libraries on anything else; "by hand" for what is no
        library and so not among the peers of the targets.
      needs: modules that must be installed.
      options: for `build`.
      environment: variables of its process.
      on_jax: whether JAX compiles, so that it can be asked for how long.
      lacks: by the name of a layer's kind, why a network with it is not trained.
    """

    name: str
    module: str
    group: str
    needs: tuple[str, ...]
    options: dict[str, Any]
    environment: dict[str, str]
    on_jax: bool
    lacks: dict[str, str]

    def why_not(self, workload: Workload) -> str:
        """Why this variant does not train this workload here; empty if it does."""
        missing = [module for module in self.needs if util.find_spec(module) is None]
        if missing:
            return f"not installed: {', '.join(missing)}"
        kinds = [type(layer).__name__ for layer in workload.layers]
        return next((self.lacks[kind] for kind in kinds if kind in self.lacks), "")

    def load(self) -> None:
        """Import the library."""
        import_module(f"{__name__}.{self.module}").load()

    def build(self, workload: Workload, x: Any, y: Any, seed: int) -> Epoch:
        """The epoch, with initial parameters drawn and the data on the device."""
        return import_module(f"{__name__}.{self.module}").build(workload, x, y, seed, **self.options)


def _variant(
    name: str,
    module: str,
    group: str,
    *needs: str,
    options: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    on_jax: bool = True,
    lacks: dict[str, str] | None = None,
) -> Variant:
    return Variant(name, module, group, needs, options or {}, environment or {}, on_jax, lacks or {})


def _keras(backend: str, group: str, module: str) -> Variant:
    environment = {"KERAS_BACKEND": backend}
    on_jax = backend == "jax"
    return _variant(f"keras on {backend}", "with_keras", group, "keras", module, environment=environment, on_jax=on_jax)


_NOT_IN_SKLEARN = {"Dropout": "dropout", "LSTM": "LSTM", "Conv": "convolutions"}

VARIANTS = {
    v.name: v
    for v in (
        _variant("fnn", "with_fnn", "fnn", "fnn", options={"fit": True}),
        _variant("fnn epoch", "with_fnn", "fnn", "fnn", options={"fit": False}),
        _keras("jax", "jax", "jax"),
        _keras("tensorflow", "other", "tensorflow"),
        _keras("torch", "other", "torch"),
        _variant("pytorch", "with_torch", "other", "torch", on_jax=False),
        _variant("pytorch compiled", "with_torch", "other", "torch", options={"compiled": True}, on_jax=False),
        _variant("flax nnx", "with_flax", "jax", "flax", "optax"),
        _variant("equinox", "with_equinox", "jax", "equinox", "optax"),
        _variant("haiku", "with_haiku", "jax", "haiku", "optax"),
        _variant(
            "scikit-learn",
            "with_sklearn",
            "other",
            "sklearn",
            on_jax=False,
            lacks={name: f"scikit-learn has no {what}" for name, what in _NOT_IN_SKLEARN.items()},
        ),
        _variant(
            "jax in a scan",
            "with_jax_scan",
            "by hand",
            "optax",
            lacks={"Conv": "JAX's own convolution gradients inside a loop run with XLA's naive kernel: seconds a step"},
        ),
    )
}
