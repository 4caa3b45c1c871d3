"""What the pictures share: colours, markers, axes, and checks of what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .._core.arrays import as_array
from .._core.errors import fail

# Okabe and Ito's palette, told apart by colour-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MORE = ("#882255", "#999933", "#332288", "#661100", "#8C8C8C")
RIGHT, WRONG = "#00734f", "#b3003b"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "h", "*", ">")
STYLES = ("-", "--", ":", "-.")


def one_axes(where: str, ax: Any, size: tuple[float, float]) -> Any:
    """The axes given, or those of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(figsize=size, layout="constrained")[1]
    if not hasattr(ax, "add_patch"):
        fail(where, expected="ax to be one matplotlib axes", got=type(ax).__name__)
    return ax


def many_axes(where: str, axes: Any, count: int, make: Callable[[], Any]) -> Any:
    """At least ``count`` axes as a flat array: those given, or those of a new figure."""
    flat = np.atleast_1d(np.asarray(make() if axes is None else axes, dtype=object)).ravel()
    if not all(hasattr(ax, "add_patch") for ax in flat):
        fail(where, expected="axes to be an array of matplotlib axes", got=type(axes).__name__)
    if len(flat) < count:
        fail(where, expected=f"{count} axes", got=str(len(flat)))
    return flat


def plain_numbers(where: str, name: str, x: Any) -> np.ndarray:
    """An array of plain floats, whatever float dtype or nested list it came as."""
    return np.asarray(as_array(f"{where}, {name}", x, fits=False)).astype(np.float64)


def class_names(where: str, names: Sequence[Any] | None, count: int) -> list[str]:
    """The names of the classes, by default their numbers."""
    if names is None:
        return [str(i) for i in range(count)]
    if isinstance(names, str) or len(names) != count:
        fail(where, expected=f"{count} names", got=repr(names) if isinstance(names, str) else f"{len(names)} names")
    return [str(name) for name in names]


def class_number(where: str, label: Any, count: int) -> int:
    """A class number that is one of so many."""
    number = np.ndim(label) == 0 and isinstance(np.asarray(label).item(), (bool, int, float))
    if not number or not 0 <= label < count or int(label) != label:
        fail(where, expected=f"a class number in [0, {count})", got=repr(label))
    return int(label)


def class_color(i: int) -> str:
    """A colour for the i-th class; beyond the palette come those of Tol's that differ from it most."""
    many = COLORS + MORE
    return many[i % len(many)]


def line_style(i: int) -> dict[str, Any]:
    """Colour, marker and line style of the i-th line; colour and marker together repeat after 77."""
    return {
        "color": COLORS[i % len(COLORS)],
        "marker": MARKERS[i % len(MARKERS)],
        "linestyle": STYLES[i // len(COLORS) % len(STYLES)],
    }


def lighten(color: Any, share: float = 0.65) -> Any:
    """A colour mixed with white, so that what is drawn over it stands out."""
    from matplotlib.colors import to_rgb

    return tuple(share + (1 - share) * part for part in to_rgb(color))


def free_corner(ax: Any, points: np.ndarray) -> str:
    """Where a legend hides least: the corner whose nearest point is the farthest."""
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    places = ((points - low) / (high - low))[np.isfinite(points).all(1)]
    corners = {"upper right": (1, 1), "upper left": (0, 1), "lower left": (0, 0), "lower right": (1, 0)}
    return max(corners, key=lambda name: np.hypot(*(places - corners[name]).T).min())


def tick_tilt(labels: Iterable[str], room: int) -> dict[str, Any]:
    """How to turn tick labels that would run into each other."""
    return {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len("  ".join(labels)) > room else {}


def grid_points(low: Any, high: Any, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both axes, and all points, of shape (resolution^2, 2)."""
    a, b = (np.linspace(low[i], high[i], resolution, dtype=np.float32) for i in (0, 1))
    return a, b, np.stack(np.meshgrid(a, b), -1).reshape(-1, 2)


def dot_size(count: int) -> float:
    """The size of a point among so many."""
    return float(np.clip(9000 / count, 9, 40))


def level_line(ax: Any, a: np.ndarray, b: np.ndarray, values: np.ndarray, level: float, **style: Any) -> None:
    """The line of one level, if there is any."""
    if values.min() < level < values.max():
        ax.contour(a, b, values, levels=[level], **style)
