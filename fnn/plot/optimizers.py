"""Pictures of optimizers at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from .._core.checks import check_count
from .._core.errors import fail
from ._draw import free_corner, grid_points, line_style, one_axes, plain_numbers


def optimizer_paths(
    surface: Callable[[Any], Any],
    paths: Mapping[str, Any],
    *,
    low: Sequence[float],
    high: Sequence[float],
    minimum: Sequence[float] | None = None,
    resolution: int = 200,
    ax: Any = None,
) -> Any:
    """Paths of optimizers over a surface of two parameters, whose levels are a constant factor apart.

    Args:
      surface: a function of a (2,) vector, written with jax.numpy, since it is mapped over the picture.
      paths: name to (steps + 1, 2) points, from the start (a ring) to the end (a marker of its own); what leaves the
        picture is cut off, and points that are not finite are left out.
      low, high: the corners of the picture, two numbers each.
      minimum: where the surface is lowest, marked by a star; optional.
      resolution: places on each axis at which the surface is computed.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for an empty or crossed picture, paths of another shape, and a constant or infinite surface.

    >>> line = np.linspace([1.0, 1.0], [0.0, 0.0], 5)
    >>> ax = optimizer_paths(lambda w: (w**2).sum(), {"SGD": line}, low=(-1, -1), high=(2, 2), minimum=(0, 0))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['SGD', 'start', 'minimum']
    """
    where = "optimizer_paths"
    first, last = plain_numbers(where, "low", low), plain_numbers(where, "high", high)
    if first.shape != (2,) or last.shape != (2,) or not (first < last).all():
        fail(where, expected="low below high, two numbers each", got=f"low={low!r}, high={high!r}")
    check_count(where, "resolution", resolution, 2)
    if not isinstance(paths, Mapping) or not paths:
        fail(where, expected="a dict of at least one path", got=repr(paths) if not paths else type(paths).__name__)
    lines = {str(name): plain_numbers(where, f"path {name!r}", path) for name, path in paths.items()}
    for name, line in lines.items():
        if line.ndim != 2 or line.shape[1] != 2 or len(line) == 0:
            fail(where, expected=f"path {name!r} of shape (steps + 1, 2)", got=str(line.shape))
        if not np.isfinite(line[0]).all():
            fail(where, expected=f"path {name!r} to start at a finite point", got=str(line[0]))
    best = None if minimum is None else plain_numbers(where, "minimum", minimum)
    if best is not None and best.shape != (2,):
        fail(where, expected="minimum of two numbers", got=str(best.shape))
    a, b, grid = grid_points(first, last, resolution)
    places = grid if best is None else np.concatenate([grid, best[None].astype(np.float32)])
    heights = plain_numbers(where, "the surface", jax.jit(jax.vmap(surface))(places))
    if heights.shape != (len(places),):
        fail(where, expected="a surface with one number for each point", got=f"shape {heights.shape[1:]}")
    if not np.isfinite(heights).all() or heights.min() == heights.max():
        got = "a constant" if np.isfinite(heights).all() else "NaN or infinity"
        fail(where, expected="a surface of finite numbers that differ", got=got)
    heights = heights[: len(grid)].reshape(resolution, resolution) - heights.min()

    ax = one_axes(where, ax, (6.4, 4.6))
    import matplotlib

    levels = [0.0, *np.geomspace(heights.max() / 1e4, heights.max(), 15)]
    greys = matplotlib.colormaps["Greys"](np.linspace(0.0, 0.4, len(levels) - 1))
    ax.contourf(a, b, heights, levels=levels, colors=list(greys))
    ax.contour(a, b, heights, levels=levels[1:-1], colors="white", linewidths=0.5)
    for i, (name, line) in enumerate(lines.items()):
        whole = line[np.isfinite(line).all(1)]
        style = {**line_style(i), "markevery": [len(whole) - 1], "markersize": 8, "markeredgecolor": "white"}
        ax.plot(*whole.T, **style, linewidth=1.6, label=name, zorder=3)
    starts = np.unique(np.stack([line[0] for line in lines.values()]), axis=0)
    ring = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgecolor": "black", "linestyle": "none"}
    ax.plot(*starts.T, **ring, label="start", zorder=4)
    if best is not None:
        star = {"marker": "*", "markersize": 14, "markerfacecolor": "gold", "markeredgecolor": "black"}
        ax.plot(*best[:, None], **star, linestyle="none", label="minimum", zorder=4)
    ax.set(xlabel="$w_1$", ylabel="$w_2$", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    busy = np.concatenate([*lines.values(), *([] if best is None else [best[None]])])
    ax.legend(fontsize=8, framealpha=0.85, loc=free_corner(ax, busy))
    return ax
