"""Pictures of what goes wrong: activations, gradients and updates by layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.errors import fail
from ..inspection.report import PASSING
from ._draw import COLORS, WRONG, many_axes, tick_tilt
from .training import draw_layers

_CUSTOMARY = 1e-3


def layer_report(report: Any, *, axes: Any = None) -> Any:
    """A `LayerReport` in three pictures, each with the layers from input to output.

    - The outputs: their mean (a dot) and one standard deviation to both sides; dead and saturated units are named.
    - The norm of the gradient at the outputs, and of that of the parameters, on a logarithmic axis.
    - The norm of an update divided by that of the parameters, with a line at the customary 1e-3.

    Numbers that are not finite are left out, and their layers are marked.

    Args:
      report: what `fnn.layer_report` returned.
      axes: an array of axes to draw into, at least three; default a new figure.

    Returns:
      The flat array of axes.

    Raises:
      InputError: for something that is no report, or too few axes.

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
    # A model that is a single layer has no name.
    names = [row.path or row.kind for row in rows]

    def make() -> Any:
        import matplotlib.pyplot as plt

        size = (float(np.clip(0.5 * len(rows) + 2, 5, 14)), 7.0)
        return plt.subplots(3, 1, figsize=size, layout="constrained", sharex=True)[1]

    own = axes is None
    axes = many_axes(where, axes, 3, make)
    _draw_outputs(axes[0], rows)
    norms = {"at the output": _known(rows, "gradient_norm"), "of the parameters": _known(rows, "param_gradient_norm")}
    draw_layers(axes[1], names, norms, "gradient norm", log=True, bridge=True)
    ratios = {"update": _known(rows, "update_ratio")}
    draw_layers(axes[2], names, ratios, "update / parameters", log=True, bridge=True)
    # The customary proportion, which is to be seen whatever the numbers are.
    style = {"color": "0.35", "linestyle": (0, (5, 3)), "linewidth": 1, "zorder": 1}
    guide = axes[2].axhline(_CUSTOMARY, **style, label="customary $10^{-3}$")
    low, high = axes[2].get_ylim() if axes[2].get_yscale() == "log" else (_CUSTOMARY, _CUSTOMARY)
    axes[2].set(yscale="log", ylim=(min(low, _CUSTOMARY / 5), max(high, _CUSTOMARY * 5)))
    axes[2].legend(handles=[guide], framealpha=0.85, edgecolor="none", fontsize=9)
    for ax in axes[1:3]:
        _whole_decades(ax)
    for place, row in enumerate(rows):
        counts = row.non_finite
        for ax, bad in zip(
            axes, (counts.outputs, counts.gradients + counts.param_gradients, counts.params), strict=False
        ):
            if bad:
                ax.axvspan(place - 0.5, place + 0.5, color=WRONG, alpha=0.12, linewidth=0, zorder=0)
                _write(ax, place, "not finite", WRONG)
    for i, ax in enumerate(axes[:3]):
        ax.set_xlim(-0.5, len(rows) - 0.5)
        ax.set_xticks(np.arange(len(rows)), names, fontsize=8, **tick_tilt(names, 60))
        if own and i < 2:
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
    return axes


def _whole_decades(ax: Any) -> None:
    """Labels at powers of ten alone, of which there are at least two."""
    from matplotlib.ticker import NullFormatter

    if ax.get_yscale() == "log":
        low, high = np.log10(ax.get_ylim())
        if np.floor(high) - np.ceil(low) < 1:
            ax.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
        ax.yaxis.set_minor_formatter(NullFormatter())


def _known(rows: Any, name: str) -> np.ndarray:
    """A number of each layer; NaN where there is none, or it is not finite."""
    values = np.array([np.nan if getattr(row, name) is None else getattr(row, name) for row in rows])
    return np.where(np.isfinite(values), values, np.nan)


def _draw_outputs(ax: Any, rows: Any) -> None:
    """Mean and standard deviation of each output, with words on what is dead or saturated."""
    mean, std = _known(rows, "mean"), _known(rows, "std")
    style = {"color": COLORS[0], "marker": "o", "markersize": 5, "linestyle": "none"}
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
            _write(ax, place, ", ".join(words), WRONG)


def _write(ax: Any, place: int, text: str, color: str) -> None:
    """Words above a layer, upright so that those of neighbours do not run into each other."""
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    ax.text(
        place + 0.12, 0.97, text, transform=ax.get_xaxis_transform(), rotation=90, ha="left", va="top",
        fontsize=7.5, color=color, bbox=box,
    )  # fmt: skip
