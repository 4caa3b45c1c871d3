"""The playground: neural networks in the browser, trained by fnn.

``python -m fnn.playground`` serves it and opens a browser; `show` shows it inside a notebook. It needs the extra
``playground``.
"""

try:
    import starlette as _starlette  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
    import websockets as _websockets  # noqa: F401
except ImportError as error:
    raise ImportError(f'fnn.playground needs {error.name}: pip install "fnn[playground]"') from None

from .notebook import Shown, show

__all__ = ["Shown", "show"]
