"""The picture of a layer report: outputs, gradients and updates by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._core.errors import fail
from ..inspection.report import PASSING, LayerReport, LayerRow
from ._draw import COLORS, WRONG, Axes, Style, many_axes, tick_tilt
from .training import draw_layers

_TYPICAL_RATIO = 1e-3  # of an update to its parameters


def layer_report(report: LayerReport, *, axes: ArrayLike | None = None) -> np.ndarray:
    """Draw a `LayerReport` as three pictures, each with the layers from input to output.

    - The outputs: their mean (a dot) and one standard deviation on either side, with notes on dead and saturated units.
    - The gradient norm at the outputs and of the parameters, on a logarithmic axis.
    - The norm of the update divided by that of the parameters, with a line at the customary 1e-3.

    Values that are not finite are left out, and their layers are marked.

    Args:
      report: the result of `fnn.layer_report`.
      axes: an array of axes to draw into, at least three; default a new figure.

    Returns:
      The flat array of axes.

    Raises:
      InputError: for anything but a report, or too few axes.

    >>> import jax, fnn
    >>> task = fnn.Task(fnn.Sequential(fnn.Dense(4, "tanh"), fnn.Dense(1)), "mse")
    >>> x = np.eye(3, dtype="float32")
    >>> report = fnn.layer_report(task, fnn.init(task, jax.random.key(0), x), (x, x[:, :1]))
    >>> [ax.get_ylabel() for ax in layer_report(report)]
    ['output: mean and spread', 'gradient norm', 'update / parameters']
    """
    where = "layer_report"
    rows = getattr(report, "rows", ())
    if not rows or not all(hasattr(row, "update_ratio") for row in rows):
        fail(where, expected="a report from fnn.layer_report(task, ts, batch)", got=type(report).__name__)
    # A model that is a single layer has an empty path.
    names = [row.path or row.kind for row in rows]
    grid = many_axes(where, axes, 3, 1, (float(np.clip(0.5 * len(rows) + 2, 5, 14)), 7 / 3), sharex=True)
    _draw_outputs(grid[0], rows)
    norms = {"at the output": _finite(rows, "gradient_norm"), "of the parameters": _finite(rows, "param_gradient_norm")}
    draw_layers(grid[1], names, norms, "gradient norm", log=True, bridge=True)
    draw_layers(grid[2], names, {"update": _finite(rows, "update_ratio")}, "update / parameters", log=True, bridge=True)
    _draw_typical_ratio(grid[2])
    for ax in grid[1:3]:
        _whole_decades(ax)
    for place, row in enumerate(rows):
        counts = row.non_finite
        bad_by_picture = (counts.outputs, counts.gradients + counts.param_gradients, counts.params)
        for ax, bad in zip(grid, bad_by_picture, strict=False):
            if bad:
                ax.axvspan(place - 0.5, place + 0.5, color=WRONG, alpha=0.12, linewidth=0, zorder=0)
                _write(ax, place, "not finite")
    for i, ax in enumerate(grid[:3]):
        ax.set_xlim(-0.5, len(rows) - 0.5)
        ax.set_xticks(np.arange(len(rows)), names, fontsize=8, **tick_tilt(names, 60))
        if axes is None and i < 2:
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
    return grid


def _draw_typical_ratio(ax: Axes) -> None:
    """A line at the typical ratio of update to parameters, always inside the limits."""
    style: Style = {"color": "0.35", "linestyle": (0, (5, 3)), "linewidth": 1, "zorder": 1}
    guide = ax.axhline(_TYPICAL_RATIO, **style, label="customary $10^{-3}$")
    low, high = ax.get_ylim() if ax.get_yscale() == "log" else (_TYPICAL_RATIO, _TYPICAL_RATIO)
    ax.set(yscale="log", ylim=(min(low, _TYPICAL_RATIO / 5), max(high, _TYPICAL_RATIO * 5)))
    ax.legend(handles=[guide], framealpha=0.85, edgecolor="none", fontsize=9)


def _whole_decades(ax: Axes) -> None:
    """Tick labels at powers of ten only, with at least two in view."""
    from matplotlib.ticker import NullFormatter

    if ax.get_yscale() == "log":
        low, high = np.log10(ax.get_ylim())
        if np.floor(high) - np.ceil(low) < 1:
            ax.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
        ax.yaxis.set_minor_formatter(NullFormatter())


def _finite(rows: Sequence[LayerRow], name: str) -> np.ndarray:
    """One value per layer, NaN where it is missing or not finite."""
    values = np.array([np.nan if getattr(row, name) is None else getattr(row, name) for row in rows])
    return np.where(np.isfinite(values), values, np.nan)


def _draw_outputs(ax: Axes, rows: Sequence[LayerRow]) -> None:
    """Mean and standard deviation of each output, with notes on dead and saturated units."""
    mean, std = _finite(rows, "mean"), _finite(rows, "std")
    style: Style = {"color": COLORS[0], "marker": "o", "markersize": 5, "linestyle": "none"}
    ax.errorbar(np.arange(len(rows)), mean, std, **style, capsize=4, elinewidth=1.6)
    ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.set_ylabel("output: mean and spread")
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    for place, row in enumerate(rows):
        words = []
        if row.dead and row.kind not in PASSING:
            words.append(f"{row.dead} of {row.units} dead")
        if (row.saturated or 0) >= 0.1 and row.kind not in PASSING:
            words.append(f"{row.saturated:.0%} saturated")
        if words:
            _write(ax, place, ", ".join(words))


def _write(ax: Axes, place: int, text: str) -> None:
    """Write above a layer, vertically so that neighbouring notes do not overlap."""
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    ax.text(
        place + 0.12, 0.97, text, transform=ax.get_xaxis_transform(), rotation=90, ha="left", va="top",
        fontsize=7.5, color=WRONG, bbox=box,
    )  # fmt: skip
