"""The picture of a function of two features: decision regions, a decision boundary, or a surface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._core.checks import check_count, check_range
from .._core.errors import fail
from ._draw import (
    CLASS_COLORS,
    COLORS,
    MARKERS,
    Axes,
    Mappable,
    Style,
    as_float64,
    class_label,
    class_names,
    grid_points,
    legend_in_corner,
    level_line,
    lighten,
    one_axes,
)

Predict = Callable[[np.ndarray], ArrayLike]


def decision_boundary(
    predict: Predict,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    names: Sequence[object] | None = None,
    level: float | None = None,
    resolution: int = 200,
    margin: float = 0.1,
    ax: Axes | None = None,
) -> Axes:
    """Draw the output of a function of two features around some points.

    - Several outputs are class scores: each place has the colour of the class with the highest score.
    - A single output with two classes: colours on the two sides of ``level``, which is drawn as a line.
    - A single output with a numeric ``y``: shades of the outputs and, on the same scale, of the points.

    Args:
      predict: a function from (n, 2) float32 to (n,), (n, 1) or (n, classes), e.g.
        ``lambda points: fnn.predict(task, ts, points)``.
      x: (count, 2) points; the picture shows their surroundings.
      y: (count,) or (count, 1): class labels for several outputs; for one output 0 and 1, or -1 and 1, or else the
        targets of a regression; optional.
      names: of the classes; default their labels.
      level: the boundary between two classes in a single output; default 0.5 if all outputs are in [0, 1], like
        probabilities, and no label is -1; else 0, for logits.
      resolution: points on each axis at which the function is evaluated.
      margin: how far the picture extends beyond the points, as a fraction of their range.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for points without two features, labels or names that do not fit, or outputs of another shape.

    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> ax = decision_boundary(lambda p: p.sum(1) - 1.5, x, [0, 0, 0, 1], names=["no", "yes"])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['no', 'yes']
    """
    where = "decision_boundary"
    x, y = _points(where, x, y)
    check_count(where, "resolution", resolution, 2)
    check_range(where, "margin", margin, 0)
    low, high = x.min(0), x.max(0)
    # A constant feature gets a margin too.
    border = margin * (high - low) + np.where(high > low, 0.0, 0.5)
    a, b, grid = grid_points(low - border, high + border, resolution)
    field = _field(where, predict, grid).reshape(resolution, resolution, -1)
    count = field.shape[-1]
    labels = np.zeros(len(x)) if y is None else y
    if count > 1:
        texts = class_names(where, names, count)
        classes = np.array([class_label(where, label, count) for label in labels])
        ax = one_axes(where, ax, (5, 4))
        _draw_regions(ax, a, b, field)
    elif set(labels) <= {0, 1} or set(labels) <= {-1, 1}:
        signed = -1 in labels
        texts = ["-1", "1"] if signed and names is None else class_names(where, names, 2)
        classes = (labels > 0).astype(int)
        if level is None:
            # Outputs of tanh may all be in [0, 1], but its labels are -1 and 1.
            level = 0.5 if field.min() >= 0 and field.max() <= 1 and not signed else 0.0
        ax = one_axes(where, ax, (5, 4))
        _draw_sides(ax, a, b, field[..., 0], float(level))
    else:
        if names is not None:
            fail(where, expected="labels 0 and 1, or -1 and 1, if there are names", got="numbers")
        ax = one_axes(where, ax, (5.6, 4))
        _draw_surface(ax, a, b, field[..., 0], x, labels)
        classes = None
    if y is None:
        _draw_points(ax, x, len(x), color="0.25")
    elif classes is not None:
        for i in np.unique(classes).tolist():
            style: Style = {"color": _class_color(i), "marker": MARKERS[i % len(MARKERS)], "label": texts[i]}
            _draw_points(ax, x[classes == i], len(x), **style)
        legend_in_corner(ax, x)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    return ax


def _points(where: str, x: ArrayLike, y: ArrayLike | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Points of shape (count, 2) and labels of shape (count,), all finite."""
    points = as_float64(where, "x", x)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        hint = "Select two columns, e.g. x[:, [0, 2]]." if points.ndim == 2 and points.shape[1] > 2 else ""
        fail(where, expected="x of shape (count, 2), two features", got=str(points.shape), hint=hint)
    if not np.isfinite(points).all():
        fail(where, expected="finite points", got="NaN or infinity in x")
    if y is None:
        return points, None
    if np.shape(y) not in ((len(points),), (len(points), 1)):
        fail(where, expected=f"y of shape ({len(points)},)", got=str(np.shape(y)))
    labels = as_float64(where, "y", y).reshape(-1)
    if not np.isfinite(labels).all():
        fail(where, expected="finite y", got="NaN or infinity")
    return points, labels


def _field(where: str, predict: Predict, grid: np.ndarray) -> np.ndarray:
    """The outputs at each point, of shape (points, outputs)."""
    out = predict(grid)
    shape = np.shape(out)
    if len(shape) not in (1, 2) or shape[0] != len(grid) or shape[-1] == 0:
        shapes = f"({len(grid)},), ({len(grid)}, 1) or ({len(grid)}, classes)"
        fail(where, expected=f"outputs of shape {shapes} for {len(grid)} points", got=str(shape))
    values = as_float64(where, "outputs", out).reshape(len(grid), -1)
    if not np.isfinite(values).all():
        fail(where, expected="finite outputs", got="NaN or infinity", hint="Did the training diverge?")
    return values


def _class_color(i: int) -> str:
    return CLASS_COLORS[i % len(CLASS_COLORS)]


def _draw_points(ax: Axes, points: np.ndarray, count: int, **style: Any) -> Mappable:
    """Some of ``count`` points, smaller the more there are."""
    size = float(np.clip(9000 / count, 9, 40))
    return ax.scatter(points[:, 0], points[:, 1], s=size, edgecolor="white", linewidth=0.6, zorder=3, **style)


def _draw_regions(ax: Axes, a: np.ndarray, b: np.ndarray, scores: np.ndarray) -> None:
    """The class with the highest score at each place, with lines between the classes."""
    from matplotlib.colors import ListedColormap

    count = scores.shape[-1]
    colors = ListedColormap([lighten(_class_color(i)) for i in range(count)])
    ax.pcolormesh(a, b, scores.argmax(-1), cmap=colors, vmin=-0.5, vmax=count - 0.5, shading="nearest", rasterized=True)
    for i in range(count):
        # The lead over the best other class is continuous, so its zero contour has no steps.
        lead = scores[..., i] - np.delete(scores, i, -1).max(-1)
        level_line(ax, a, b, lead, 0.0, colors="white", linewidths=1.5)


def _draw_sides(ax: Axes, a: np.ndarray, b: np.ndarray, values: np.ndarray, level: float) -> None:
    """The two sides of a level, deeper in colour farther from it, up to the odds of a logit of 4."""
    from matplotlib.colors import LinearSegmentedColormap

    white = (1.0, 1.0, 1.0)
    sides = LinearSegmentedColormap.from_list("sides", [lighten(COLORS[0], 0.4), white, lighten(COLORS[1], 0.4)])
    reach = float(np.clip(np.abs(values - level).max(), 1e-6, 4))
    steps = np.linspace(level - reach, level + reach, 17)
    ax.contourf(a, b, values, levels=steps, cmap=sides, extend="both")
    if len(np.unique(values)) == 2:
        # The edge of a threshold unit is a staircase on the grid; weighted means of neighbours smooth it.
        for axis in (0, 1, 0, 1):
            padded = np.pad(values, [(1, 1) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
            before, after = np.roll(padded, 1, axis), np.roll(padded, -1, axis)
            values = ((before + 2 * padded + after) / 4).take(range(1, values.shape[axis] + 1), axis)
    level_line(ax, a, b, values, level, colors="black", linewidths=1.5)


def _draw_surface(ax: Axes, a: np.ndarray, b: np.ndarray, values: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Shades of the outputs, and points in the same shades."""
    from matplotlib.colors import Normalize

    low, high = (y.min(), y.max()) if y.min() < y.max() else (values.min(), values.max())
    if low == high:
        low, high = low - 1, high + 1
    norm = Normalize(low, high)
    ax.contourf(a, b, values, levels=np.linspace(low, high, 21), cmap="viridis", norm=norm, extend="both")
    points = _draw_points(ax, x, len(x), c=y, cmap="viridis", norm=norm)
    ax.figure.colorbar(points, ax=ax, label="output, and target of the points")
