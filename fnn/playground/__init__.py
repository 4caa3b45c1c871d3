"""The playground: neural networks in the browser, trained by fnn.

``python -m fnn.playground`` serves it and opens a browser; `show` shows it inside a notebook. It needs the extra
``playground``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .notebook import Shown, show

__all__ = ["Shown", "show"]


def check_extra() -> None:
    """Refuse to go on without the extra ``playground``."""
    try:
        import starlette as _starlette  # noqa: F401
        import uvicorn as _uvicorn  # noqa: F401
        import websockets as _websockets  # noqa: F401
    except ImportError as error:
        raise ImportError(f'fnn.playground needs {error.name}: pip install "fnn[playground]"') from None


# On first use, so that ``python -m fnn.playground`` can say in one line that the extra is missing.
def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_extra()
    from . import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
