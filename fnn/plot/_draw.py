"""Helpers that all pictures share: colours, markers, axes, and checks of the data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .._core.arrays import as_array
from .._core.checks import check_count
from .._core.described import in_words
from .._core.errors import counted, fail, kind_of

if TYPE_CHECKING:  # matplotlib loads on first use
    from matplotlib import artist, axes, axis, cm

Artist: TypeAlias = "artist.Artist"
Axes: TypeAlias = "axes.Axes"
Axis: TypeAlias = "axis.Axis"
Mappable: TypeAlias = "cm.ScalarMappable"
Style = dict[str, Any]  # keyword arguments of a matplotlib call

# The palette of Okabe and Ito, which colour-blind readers can distinguish.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RIGHT, WRONG = "#00734f", "#b3003b"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "h", "*", ">")
STYLES = ("-", "--", ":", "-.")


def one_axes(where: str, ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The given axes, or those of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(figsize=size, layout="constrained")[1]
    if not hasattr(ax, "add_patch"):
        fail(where, expected="ax to be one matplotlib axes", got=kind_of(ax))
    return ax


class AxesArray(np.ndarray):
    """A flat array of axes. A notebook shows the picture and nothing for the array."""

    def __repr__(self) -> str:
        return f"<{self.size} axes>"

    __str__ = __repr__

    def _ipython_display_(self) -> None:
        pass


def many_axes(
    where: str, axes: ArrayLike | None, count: int, columns: int, cell: tuple[float, float], **options: Any
) -> AxesArray:
    """At least ``count`` axes as a flat array: the given ones, or those of a new figure, each of size ``cell``."""
    check_count(where, "columns", columns)
    if axes is None:
        import matplotlib.pyplot as plt

        columns = min(columns, count)
        rows = -(-count // columns)
        size = (cell[0] * columns, cell[1] * rows)
        axes = plt.subplots(rows, columns, figsize=size, **{"layout": "constrained", **options})[1]
    flat = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if not all(hasattr(ax, "add_patch") for ax in flat):
        fail(where, expected="axes to be an array of matplotlib axes", got=kind_of(axes))
    if len(flat) < count:
        fail(where, expected=f"{count} axes", got=str(len(flat)))
    return flat.view(AxesArray)


def as_float64(where: str, name: str, x: ArrayLike) -> np.ndarray:
    """A NumPy array in float64 from an array of any dtype or a nested list."""
    return np.asarray(as_array(f"{where}, {name}", x, fits=False)).astype(np.float64)


def class_names(where: str, names: Sequence[object] | None, count: int) -> list[str]:
    """The names of the classes, by default their labels."""
    if names is None:
        return [str(i) for i in range(count)]
    if isinstance(names, str) or len(names) != count:
        got = repr(names) if isinstance(names, str) else counted(len(names), "name")
        fail(where, expected=counted(count, "name"), got=got)
    return [str(name) for name in names]


def class_label(where: str, label: ArrayLike, count: int) -> int:
    """A class label as an integer, checked to be in [0, count)."""
    value = np.asarray(label).item() if np.ndim(label) == 0 else None
    if not isinstance(value, (bool, int, float)) or not 0 <= value < count or int(value) != value:
        fail(where, expected=f"a class label in [0, {count})", got=in_words(label))
    return int(value)


def characters_within(ax: Axes, fontsize: float, *, upright: bool = False) -> int:
    """About how many characters fit in a line across the axes, or along their height."""
    pixels = 0.85 * ax.bbox.height if upright else ax.bbox.width  # title and legend may take some of the height
    return max(6, int(pixels / ax.figure.dpi * 72 / (0.55 * fontsize)))


def write_title(ax: Axes, text: str, fontsize: float = 12, **style: Any) -> None:
    """Set the title, with line breaks where it is wider than the axes."""
    lines = (textwrap.fill(line, characters_within(ax, fontsize)) for line in text.split("\n"))
    ax.set_title("\n".join(lines), fontsize=fontsize, **style)


def write_ylabel(ax: Axes, text: str) -> None:
    """Label the y axis, with line breaks where the text is longer than the axis."""
    ax.set_ylabel(textwrap.fill(text, characters_within(ax, 10, upright=True)))


def line_style(i: int) -> Style:
    """Colour, marker and line style of line i; pairs of colour and marker repeat after 77 lines."""
    return {
        "color": COLORS[i % len(COLORS)],
        "marker": MARKERS[i % len(MARKERS)],
        "linestyle": STYLES[i // len(COLORS) % len(STYLES)],
    }


def lighten(color: str, share: float = 0.65) -> tuple[float, ...]:
    """A colour mixed with this share of white, so that drawings on top stand out."""
    from matplotlib.colors import to_rgb

    return tuple(share + (1 - share) * part for part in to_rgb(color))


def tick_tilt(labels: Iterable[str], room: int) -> Style:
    """Rotation of tick labels that would overlap; ``room`` is the number of characters that fit."""
    return {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len("  ".join(labels)) > room else {}


def grid_points(
    low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray, resolution: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coordinates on both axes, and all points of the grid, of shape (resolution^2, 2)."""
    a, b = (np.linspace(low[i], high[i], resolution, dtype=np.float32) for i in (0, 1))
    return a, b, np.stack(np.meshgrid(a, b), -1).reshape(-1, 2)


def level_line(ax: Axes, a: np.ndarray, b: np.ndarray, values: np.ndarray, level: float, **style: Any) -> None:
    """Draw the contour at ``level`` if the values cross it."""
    if values.min() < level < values.max():
        ax.contour(a, b, values, levels=[level], **style)
