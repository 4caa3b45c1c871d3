"""Pictures of functions: activations, decision boundaries, and the paths of optimizers over a surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .._core.checks import check_count, check_range
from .._core.errors import fail, kind_of
from .._core.types import Array
from ..nn import activations as _activations
from ..nn.layer import Layer
from ._draw import (
    COLORS,
    MARKERS,
    Axes,
    Mappable,
    Style,
    as_float64,
    class_label,
    class_names,
    grid_points,
    level_line,
    lighten,
    line_style,
    many_axes,
    one_axes,
    write_title,
)
from ._legend import place_legend

_CLASS_COLORS = (*COLORS, "#882255", "#999933", "#332288", "#661100", "#8C8C8C")  # further ones of Paul Tol
_FRAME: Style = {"frameon": True, "framealpha": 0.85, "fontsize": 8}  # a legend on a coloured background
Predict = Callable[[np.ndarray], ArrayLike]


def activation(
    name: str | Callable[[Array], Array], *, low: float = -5.0, high: float = 5.0, ax: Axes | None = None
) -> Axes:
    """Draw an activation function and its derivative.

    Softmax and log-softmax, which take a vector, are shown by their first output for the vector (x, 0).

    Args:
      name: the name of an activation, or a function of one array.
      low, high: the range of x.
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for an unknown name, with close matches, or an empty range.

    >>> activation("tanh").get_title()
    'tanh'
    """
    fn = _activations.get_activation(name)
    label = name if isinstance(name, str) else getattr(name, "__name__", "f")
    check_range("activation", "low", low, -np.inf)
    check_range("activation", "high", high, float(low), open_low=True)
    vector = fn in (_activations.softmax, _activations.log_softmax)

    def first(x: Array) -> Array:
        return fn(jnp.stack([x, jnp.zeros_like(x)]) if vector else x[None])[0]

    x = jnp.linspace(low, high, 501)
    y, slope = jax.jit(jax.vmap(jax.value_and_grad(first)))(x)
    ax = one_axes("activation", ax, (5, 3.2))
    ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.plot(x, y, color=COLORS[0], linewidth=2, label=label)
    ax.plot(x, slope, color=COLORS[1], linestyle="--", label="derivative")
    ax.set_xlabel("x")
    write_title(ax, f"{label} of (x, 0), first output" if vector else label)
    place_legend(ax)
    return ax


def activations(
    names: Sequence[str | Callable[[Array], Array]] | None = None,
    *,
    low: float = -5.0,
    high: float = 5.0,
    columns: int = 5,
    axes: ArrayLike | None = None,
) -> np.ndarray:
    """Draw a gallery of activation functions (solid) and their derivatives (dashed).

    Args:
      names: the functions, as in `activation`; default all that have a name.
      low, high: the range of x.
      columns: pictures per row.
      axes: axes to draw into, which are returned as a flat array, at least one per function; default a new figure.

    Raises:
      InputError: for an unknown name, an empty list or too few axes.
    """
    if names is None:
        # A function with two names is shown once.
        names = list({fn: name for name, fn in reversed(_activations.ACTIVATIONS.items())}.values())[::-1]
    if isinstance(names, str) or len(names) == 0:
        fail("activations", expected="a list of at least one activation", got=repr(names))
    grid = many_axes("activations", axes, len(names), columns, (2.0, 1.6), sharex=True)
    for i, (name, ax) in enumerate(zip(names, grid, strict=False)):
        activation(name, low=low, high=high, ax=ax)
        handles = ax.lines[-2:]
        ax.get_legend().remove()
        write_title(ax, ax.get_title().replace("\n", " ").removesuffix(", first output"), 8)
        lowest = i >= len(names) - columns  # nothing drawn below
        ax.set_xlabel("x" if lowest else "", fontsize=8)
        ax.tick_params(labelsize=7, labelbottom=lowest)
        ax.set_xticks([low, (low + high) / 2, high])
    for ax in grid[len(names) :]:
        ax.set_axis_off()
    # The legend goes into an empty place if there is one.
    labels = ["f(x)", "derivative"]
    if len(grid) > len(names):
        grid[len(names)].legend(handles, labels, fontsize=8, frameon=False, loc="center")
    else:
        place_legend(grid[0], handles, labels, fontsize=8)
    return grid


def decision_boundary(
    predict: Predict,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *extra: object,
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
      predict: from (n, 2) float32 to (n,), (n, 1) or (n, classes), e.g. ``lambda x: fnn.predict(task, ts, x)``.
      x: (count, 2) points; the picture shows their surroundings.
      y: (count,) or (count, 1), optional: class labels; for a single output 0 and 1, -1 and 1, or numeric targets.
      names: of the classes; default their labels.
      level: the boundary for a single output; default 0.5 if all outputs are in [0, 1] and no label is -1, else 0.
      resolution: points on each axis at which the function is evaluated.
      margin: how far the picture extends beyond the points, as a fraction of their range.
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for anything but a function as ``predict``, points without two features, labels or names that do not
        fit, or outputs of another shape.

    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> ax = decision_boundary(lambda p: p.sum(1) - 1.5, x, [0, 0, 0, 1], names=["no", "yes"])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['no', 'yes']
    """
    where = "decision_boundary"
    _check_predict(where, predict, extra)
    x, y = _points(where, x, y)
    check_count(where, "resolution", resolution, 2)
    check_range(where, "margin", margin, 0)
    a, b, grid = _grid_around(x, margin, resolution)
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
            style: Style = {"color": _CLASS_COLORS[i % len(_CLASS_COLORS)], "marker": MARKERS[i % len(MARKERS)]}
            _draw_points(ax, x[classes == i], len(x), **style, label=texts[i])
        place_legend(ax, **_FRAME)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    return ax


def _points(where: str, x: ArrayLike, y: ArrayLike | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Points of shape (count, 2) and labels of shape (count,), all finite."""
    points = as_float64(where, "x", x)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        hint = "Select two columns, e.g. x[:, [0, 2]]." if points.ndim == 2 and points.shape[1] > 2 else ""
        fail(where, expected="x of shape (count, 2), two features", got=f"shape {points.shape}", hint=hint)
    if not np.isfinite(points).all():
        fail(where, expected="finite points", got="NaN or infinity in x")
    if y is None:
        return points, None
    if np.shape(y) not in ((len(points),), (len(points), 1)):
        fail(where, expected=f"y of shape ({len(points)},)", got=f"shape {np.shape(y)}")
    labels = as_float64(where, "y", y).reshape(-1)
    if not np.isfinite(labels).all():
        fail(where, expected="finite y", got="NaN or infinity")
    return points, labels


def _grid_around(points: np.ndarray, margin: float, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates on both axes, and the points of the grid; a constant feature gets a margin too."""
    low, high = points.min(0), points.max(0)
    border = margin * (high - low) + np.where(high > low, 0.0, 0.5)
    return grid_points(low - border, high + border, resolution)


def _check_predict(where: str, predict: object, extra: tuple[object, ...]) -> None:
    """Refuse a task or a model in place of a function, such as the arguments of `fnn.predict`."""
    if extra or isinstance(predict, Layer) or not callable(predict):
        hint = f"Write fnn.plot.{where}(lambda x: fnn.predict(task, ts, x), x, y)."
        fail(where, expected="a function of points, then x and y", got=kind_of(predict), hint=hint)


def _field(where: str, predict: Predict, grid: np.ndarray) -> np.ndarray:
    """The outputs at each point, of shape (points, outputs)."""
    out = predict(grid)
    shape = np.shape(out)
    if len(shape) not in (1, 2) or shape[0] != len(grid) or shape[-1] == 0:
        shapes = f"({len(grid)},), ({len(grid)}, 1) or ({len(grid)}, classes)"
        fail(where, expected=f"outputs of shape {shapes} for {len(grid)} points", got=f"shape {shape}")
    values = as_float64(where, "outputs", out).reshape(len(grid), -1)
    if not np.isfinite(values).all():
        fail(where, expected="finite outputs", got="NaN or infinity", hint="Did the training diverge?")
    return values


def _draw_points(ax: Axes, points: np.ndarray, count: int, **style: Any) -> Mappable:
    """Some of ``count`` points, smaller the more there are."""
    size = float(np.clip(9000 / count, 9, 40))
    return ax.scatter(points[:, 0], points[:, 1], s=size, edgecolor="white", linewidth=0.6, zorder=3, **style)


def _draw_regions(ax: Axes, a: np.ndarray, b: np.ndarray, scores: np.ndarray) -> None:
    """The class with the highest score at each place, with lines between the classes."""
    from matplotlib.colors import ListedColormap

    count = scores.shape[-1]
    colors = ListedColormap([lighten(_CLASS_COLORS[i % len(_CLASS_COLORS)]) for i in range(count)])
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


def optimizer_paths(
    surface: Callable[[Array], Array],
    paths: Mapping[str, ArrayLike],
    *,
    low: Sequence[float],
    high: Sequence[float],
    minimum: Sequence[float] | None = None,
    resolution: int = 200,
    ax: Axes | None = None,
) -> Axes:
    """Draw the paths of optimizers over a surface of two parameters; the ratio of neighbouring levels is constant.

    Args:
      surface: a function of a (2,) vector, written with jax.numpy since it is mapped over the picture.
      paths: name to (steps + 1, 2) points, from the start (a ring) to the end (a marker); not finite ones are left out.
      low, high: the corners of the picture, two numbers each.
      minimum: the lowest point of the surface, marked by a star; optional.
      resolution: points on each axis at which the surface is evaluated.
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for ``low`` not below ``high``, paths of another shape, and a constant or infinite surface.

    >>> line = np.linspace([1.0, 1.0], [0.0, 0.0], 5)
    >>> ax = optimizer_paths(lambda w: (w**2).sum(), {"SGD": line}, low=(-1, -1), high=(2, 2), minimum=(0, 0))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['SGD', 'start', 'minimum']
    """
    import matplotlib

    where = "optimizer_paths"
    lines = _lines(where, paths)
    first, last = as_float64(where, "low", low), as_float64(where, "high", high)
    if first.shape != (2,) or last.shape != (2,) or not (first < last).all():
        fail(where, expected="low below high, two numbers each", got=f"low={low!r}, high={high!r}")
    check_count(where, "resolution", resolution, 2)
    best = None if minimum is None else as_float64(where, "minimum", minimum)
    if best is not None and best.shape != (2,):
        fail(where, expected="minimum of two numbers", got=f"shape {best.shape}")
    a, b, grid = grid_points(first, last, resolution)
    heights = _heights(where, surface, grid if best is None else np.concatenate([grid, best[None].astype(np.float32)]))
    ax = one_axes(where, ax, (6.4, 4.6))
    height = heights[: len(grid)].reshape(resolution, resolution) - heights.min()
    # Grey levels of the height above the minimum, the highest 1e4 times the lowest.
    levels = [0.0, *np.geomspace(height.max() / 1e4, height.max(), 15)]
    greys = matplotlib.colormaps["Greys"](np.linspace(0.0, 0.4, len(levels) - 1))
    ax.contourf(a, b, height, levels=levels, colors=list(greys))
    ax.contour(a, b, height, levels=levels[1:-1], colors="white", linewidths=0.5)
    for i, (name, line) in enumerate(lines.items()):
        finite = line[np.isfinite(line).all(1)]
        style: Style = {**line_style(i), "markevery": [len(finite) - 1], "markersize": 8, "markeredgecolor": "white"}
        ax.plot(*finite.T, **style, linewidth=1.6, label=name, zorder=3)
    starts = np.unique(np.stack([line[0] for line in lines.values()]), axis=0)
    ring: Style = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgecolor": "black"}
    ax.plot(*starts.T, **ring, linestyle="none", label="start", zorder=4)
    if best is not None:
        star: Style = {"marker": "*", "markersize": 14, "markerfacecolor": "gold", "markeredgecolor": "black"}
        ax.plot(*best[:, None], **star, linestyle="none", label="minimum", zorder=4)
    ax.set(xlabel="$w_1$", ylabel="$w_2$", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    place_legend(ax, **_FRAME)
    return ax


def _lines(where: str, paths: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """The paths as arrays of shape (steps + 1, 2), each with a finite start."""
    if not isinstance(paths, Mapping) or not paths:
        fail(where, expected="a dict of at least one path", got=kind_of(paths) if paths else repr(paths))
    lines = {str(name): as_float64(where, f"path {name!r}", path) for name, path in paths.items()}
    for name, line in lines.items():
        if line.ndim != 2 or line.shape[1] != 2 or len(line) == 0:
            fail(where, expected=f"path {name!r} of shape (steps + 1, 2)", got=f"shape {line.shape}")
        if not np.isfinite(line[0]).all():
            fail(where, expected=f"path {name!r} to start at a finite point", got=str(line[0]))
    return lines


def _heights(where: str, surface: Callable[[Array], Array], points: np.ndarray) -> np.ndarray:
    """The surface at each point, (points,), checked to be finite and not constant."""
    heights = as_float64(where, "the surface", jax.jit(jax.vmap(surface))(points))
    if heights.shape != (len(points),):
        fail(where, expected="a surface with one number for each point", got=f"shape {heights.shape[1:]}")
    if not np.isfinite(heights).all() or heights.min() == heights.max():
        got = "a constant" if np.isfinite(heights).all() else "NaN or infinity"
        fail(where, expected="a surface of finite numbers that differ", got=got)
    return heights
