"""The playground inside a notebook."""

from __future__ import annotations

import functools
import html

from .._core.checks import check_count, lookup
from .lessons import LESSONS
from .server import Server


class Shown:
    """A playground in a frame, which a notebook displays.

    Attributes:
      address: of the page, to be opened in a browser; it holds the token.
      height: of the frame in pixels.
    """

    def __init__(self, address: str, height: int) -> None:
        self.address, self.height = address, height

    def __repr__(self) -> str:
        return f"fnn playground: {self.address}"

    def _repr_html_(self) -> str:
        source = html.escape(self.address, quote=True)
        style = f"width:100%;height:{self.height}px;border:0"
        return f'<iframe src="{source}" style="{style}" title="fnn playground" allow="clipboard-write"></iframe>'


@functools.cache
def _server() -> Server:
    """The server of this process."""
    server = Server()
    server.start()
    return server


def show(lesson: str | None = None, *, height: int = 900) -> Shown:
    """Show the playground inside a notebook; the first call starts its server in a thread.

    The server listens on this machine only. In a notebook on another machine, run ``python -m fnn.playground`` there
    and forward its port.

    Args:
      lesson: the name of a lesson to begin with: "one-neuron", "xor", "sigmoid-relu", "learning-rate" or "overfitting";
        default none.
      height: of the frame in pixels; default 900.

    Returns:
      An object that a notebook displays as a frame; its ``address`` works in a browser too.

    Raises:
      InputError: for an unknown lesson, or a height below 1.
    """
    if lesson is not None:
        lookup("show, lesson", lesson, LESSONS)
    check_count("show", "height", height)
    address = _server().address + (f"&lesson={lesson}" if lesson else "")
    return Shown(address, int(height))
