"""What a function of two features says in the plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._core.checks import check_count, check_range
from .._core.errors import fail
from ._draw import (
    COLORS,
    MARKERS,
    class_color,
    class_names,
    class_number,
    dot_size,
    free_corner,
    grid_points,
    level_line,
    lighten,
    one_axes,
    plain_numbers,
)


def _two_sided() -> Any:
    """From the colour of class 0 over white to that of class 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("sides", [lighten(COLORS[0], 0.4), "white", lighten(COLORS[1], 0.4)])


def _field(where: str, predict: Callable[[Any], Any], grid: np.ndarray) -> np.ndarray:
    """Outputs of a function of points, of shape (points, outputs)."""
    out = predict(grid)
    if np.ndim(out) not in (1, 2) or len(out) != len(grid) or np.shape(out)[-1] == 0:
        shapes = f"({len(grid)},), ({len(grid)}, 1) or ({len(grid)}, classes)"
        fail(where, expected=f"outputs of shape {shapes} for {len(grid)} points", got=str(np.shape(out)))
    values = plain_numbers(where, "outputs", out).reshape(len(grid), -1)
    if not np.isfinite(values).all():
        fail(where, expected="finite outputs", got="NaN or infinity", hint="Did the training diverge?")
    return values


def _draw_points(ax: Any, x: np.ndarray, classes: np.ndarray, labels: Sequence[str]) -> None:
    """Points with colour and marker by class, and a legend."""
    for i in np.unique(classes).tolist():
        style = {"color": class_color(i), "marker": MARKERS[i % len(MARKERS)], "edgecolor": "white", "linewidth": 0.6}
        ax.scatter(*x[classes == i].T, s=dot_size(len(x)), **style, label=labels[i], zorder=3)
    ax.legend(fontsize=8, framealpha=0.85, loc=free_corner(ax, x))


def decision_boundary(
    predict: Callable[[Any], Any],
    x: Any,
    y: Any = None,
    *,
    names: Sequence[Any] | None = None,
    level: float | None = None,
    resolution: int = 200,
    margin: float = 0.1,
    ax: Any = None,
) -> Any:
    """What a function of two features says everywhere around some points.

    - Several outputs are the scores of classes: each place has the colour of the class with the highest score.
    - A single output with two classes: colours on both sides of ``level``, which is drawn as a line.
    - A single output with numbers for ``y``: shades for the outputs and, on the same scale, for the points.

    Args:
      predict: a function from (n, 2) float32 to (n,), (n, 1) or (n, classes), e.g.
        ``lambda points: fnn.predict(task, ts, points)``.
      x: (count, 2) points; the picture shows their surroundings.
      y: (count,) or (count, 1): for several outputs class numbers; for one 0 and 1, or -1 and 1, or else numbers of a
        regression; optional.
      names: of the classes; default their numbers.
      level: where a single output passes from one class to the other; default 0.5 if all outputs are in [0, 1], like
        probabilities, and no label is -1; else 0, for logits.
      resolution: places on each axis at which the function is computed.
      margin: how far the picture reaches beyond the points, as a fraction of their range.
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
    x = plain_numbers(where, "x", x)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) == 0:
        hint = "Choose two columns, e.g. x[:, [0, 2]]." if x.ndim == 2 and x.shape[1] > 2 else ""
        fail(where, expected="x of shape (count, 2), two features", got=str(x.shape), hint=hint)
    if not np.isfinite(x).all():
        fail(where, expected="finite points", got="NaN or infinity in x")
    check_count(where, "resolution", resolution, 2)
    check_range(where, "margin", margin, 0)
    if y is not None:
        if np.shape(y) not in ((len(x),), (len(x), 1)):
            fail(where, expected=f"y of shape ({len(x)},)", got=str(np.shape(y)))
        y = plain_numbers(where, "y", y).reshape(-1)
        if not np.isfinite(y).all():
            fail(where, expected="finite y", got="NaN or infinity")
    low, high = x.min(0), x.max(0)
    # A feature that is constant gets some room, too.
    border = margin * (high - low) + np.where(high > low, 0.0, 0.5)
    a, b, grid = grid_points(low - border, high + border, resolution)
    field = _field(where, predict, grid).reshape(resolution, resolution, -1)
    outputs = field.shape[-1]
    if outputs == 1 and y is not None and not (set(y) <= {0, 1} or set(y) <= {-1, 1}):
        if names is not None:
            fail(where, expected="labels 0 and 1, or -1 and 1, if there are names", got="numbers")
        ax = one_axes(where, ax, (5.6, 4))
        _draw_surface(ax, a, b, field[..., 0], x, y)
    else:
        texts = class_names(where, names, max(outputs, 2))
        numbers = np.zeros(len(x)) if y is None else y
        if outputs > 1:
            classes = np.array([class_number(where, number, outputs) for number in numbers])
            ax = one_axes(where, ax, (5, 4))
            _draw_regions(ax, a, b, field)
        else:
            classes = (numbers > 0).astype(int)
            if names is None and -1 in numbers:
                texts = ["-1", "1"]
            if level is None:
                # Probabilities, and classes 0 and 1; tanh may have outputs in [0, 1] alone, but has labels -1 and 1.
                unit = field.min() >= 0 and field.max() <= 1 and -1 not in numbers
                level = 0.5 if unit else 0.0
            ax = one_axes(where, ax, (5, 4))
            _draw_sides(ax, a, b, field[..., 0], float(level))
        if y is None:
            ax.scatter(*x.T, s=dot_size(len(x)), color="0.25", edgecolor="white", linewidth=0.6, zorder=3)
        else:
            _draw_points(ax, x, classes, texts)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    return ax


def _draw_regions(ax: Any, a: np.ndarray, b: np.ndarray, scores: np.ndarray) -> None:
    """The class of the highest score at each place, with lines between the classes."""
    from matplotlib.colors import ListedColormap

    count = scores.shape[-1]
    colors = ListedColormap([lighten(class_color(i)) for i in range(count)])
    ax.pcolormesh(a, b, scores.argmax(-1), cmap=colors, vmin=-0.5, vmax=count - 0.5, shading="nearest", rasterized=True)
    for i in range(count):
        # The lead over the best other class is smooth, so its line of 0 has no steps.
        lead = scores[..., i] - np.delete(scores, i, -1).max(-1)
        level_line(ax, a, b, lead, 0.0, colors="white", linewidths=1.5)


def _draw_sides(ax: Any, a: np.ndarray, b: np.ndarray, values: np.ndarray, level: float) -> None:
    """Both sides of a level, the stronger in colour the farther from it, up to the odds of a logit of 4."""
    reach = float(np.clip(np.abs(values - level).max(), 1e-6, 4))
    steps = np.linspace(level - reach, level + reach, 17)
    ax.contourf(a, b, values, levels=steps, cmap=_two_sided(), extend="both")
    if len(np.unique(values)) == 2:
        # The output of a threshold unit has stairs for an edge; weighted means of neighbours make it a line again.
        for axis in (0, 1, 0, 1):
            padded = np.pad(values, [(1, 1) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
            before, after = np.roll(padded, 1, axis), np.roll(padded, -1, axis)
            values = ((before + 2 * padded + after) / 4).take(range(1, values.shape[axis] + 1), axis)
    level_line(ax, a, b, values, level, colors="black", linewidths=1.5)


def _draw_surface(ax: Any, a: np.ndarray, b: np.ndarray, values: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Shades of the outputs, and points in the same shades."""
    low, high = (y.min(), y.max()) if y.min() < y.max() else (values.min(), values.max())
    if low == high:
        low, high = low - 1, high + 1
    from matplotlib.colors import Normalize

    norm = Normalize(low, high)
    ax.contourf(a, b, values, levels=np.linspace(low, high, 21), cmap="viridis", norm=norm, extend="both")
    points = ax.scatter(
        *x.T, c=y, cmap="viridis", norm=norm, s=dot_size(len(x)), edgecolor="white", linewidth=0.6, zorder=3
    )
    ax.figure.colorbar(points, ax=ax, label="output, and target of the points")
