"""Pictures of a training run: learning curves, and one value per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._core.errors import describe, fail
from ._draw import COLORS, Style, as_float64, line_style, one_axes, tick_tilt

if TYPE_CHECKING:  # matplotlib loads on first use
    from matplotlib.axes import Axes


def learning_curves(history: Mapping[str, ArrayLike], metric: str = "loss", *, ax: Axes | None = None) -> Axes:
    """Draw a metric over the epochs, for training and, where present, validation.

    The history of several training runs (`many`, ``vmap``), with leading axes for the members, becomes a thin line for
    each member and a thick one for their median.

    Args:
      history: the result of `fit` or `run`.
      metric: an entry of the history; default "loss".
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: when the history has no such metric or no epoch.

    >>> ax = learning_curves({"loss": [2.0, 1.0, 0.7], "val_loss": [2.1, 1.3, 1.2]})
    >>> ax.get_xlabel(), [line.get_label() for line in ax.lines]
    ('epoch', ['training', 'validation'])
    """
    from matplotlib.ticker import MaxNLocator

    curves = _curves(history, metric)
    ax = one_axes("learning_curves", ax, (5, 3.2))
    for i, (label, members) in enumerate(curves.items()):
        epochs = np.arange(1, members.shape[-1] + 1)
        line: Style = {"color": COLORS[i], "linestyle": "--" if i else "-", "markersize": 3}
        if len(epochs) <= 30:  # more markers would merge and hide the dashes
            line["marker"] = "o"
        if len(members) > 1:
            thin: Style = {"linewidth": 0.7, "alpha": float(np.clip(3 / len(members), 0.15, 0.6))}
            ax.plot(epochs, members.T, color=COLORS[i], **thin)
            # NaN counts as infinity, so that members that diverged leave the median defined.
            middle = np.median(np.where(np.isnan(members), np.inf, members), axis=0)
            ax.plot(epochs, middle, **line, linewidth=2.2, label=f"{label} (median of {len(members)})")
        else:
            ax.plot(epochs, members[0], **line, label=label)
    ax.set(xlabel="epoch", ylabel=metric, title=metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend(frameon=False)
    return ax


def _curves(history: Mapping[str, ArrayLike], metric: str) -> dict[str, np.ndarray]:
    """The curves of training and validation, (members, epochs)."""
    if not isinstance(history, Mapping):
        fail("learning_curves", expected="a history, a dict of lists", got=type(history).__name__)
    known = [key for key in history if not key.startswith("val_")]
    if not isinstance(metric, str) or metric not in known:
        hint = "Its validation is drawn with it." if isinstance(metric, str) and metric in history else ""
        fail("learning_curves", expected=f"one of {known}", got=repr(metric), hint=hint)
    curves = {}
    for key, label in ((metric, "training"), (f"val_{metric}", "validation")):
        if key in history:
            values = as_float64("learning_curves", key, history[key])
            if values.ndim == 0 or values.size == 0:
                fail("learning_curves", expected=f"at least one epoch of {key!r}", got=describe(values))
            curves[label] = values.reshape(-1, values.shape[-1])
    return curves


def layer_statistics(
    values: Mapping[str, ArrayLike | Mapping[str, ArrayLike]],
    *,
    ylabel: str = "gradient norm",
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one value per layer, such as the norm of its gradient, for one run or several.

    Args:
      values: layer to number, or run to (layer to number); layers keep their order.
      ylabel: the name of the values.
      log: whether the axis of the values is logarithmic; a 0 is then written at the lower edge.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: when there is nothing to draw, when a layer has no single number, and for negative numbers on a
        logarithmic axis.

    >>> ax = layer_statistics({"sigmoid": {"dense": 1e-5, "dense_1": 1e-2}, "relu": {"dense": 0.1, "dense_1": 0.2}})
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['dense', 'dense_1']
    """
    where = "layer_statistics"
    if not isinstance(values, Mapping) or not values:
        fail(where, expected="a dict of layers, or of runs with their layers", got=repr(values))
    runs = {run: by_layer for run, by_layer in values.items() if isinstance(by_layer, Mapping)}
    single = {layer: number for layer, number in values.items() if not isinstance(number, Mapping)}
    if runs and single:
        fail(where, expected="either a dict of layers or a dict of dicts", got="a mixture")
    runs = runs or {"": single}
    layers = list(dict.fromkeys(str(layer) for run in runs.values() for layer in run))
    if not layers:
        fail(where, expected="at least one layer", got="none")
    table = np.full((len(runs), len(layers)), np.nan)
    for i, by_layer in enumerate(runs.values()):
        for layer, value in by_layer.items():
            table[i, layers.index(str(layer))] = _layer_number(where, str(layer), value, log)
    ax = one_axes(where, ax, (max(4.5, 0.55 * len(layers) + 1.5), 3.4))
    draw_layers(ax, layers, dict(zip(map(str, runs), table, strict=True)), ylabel, log)
    return ax


def _layer_number(where: str, layer: str, value: ArrayLike, log: bool) -> float:
    """One finite number, at least 0 on a logarithmic axis."""
    number = as_float64(where, layer, value)
    if number.ndim:
        hint = "For example jnp.linalg.norm of it."
        fail(where, expected=f"one number for layer {layer!r}", got=describe(number), hint=hint)
    if not np.isfinite(number) or (log and number < 0):
        kind, hint = ("at least 0 on a logarithmic axis", "Pass log=False.") if number < 0 else ("finite", "")
        fail(where, expected=f"a number for layer {layer!r} that is {kind}", got=f"{number:g}", hint=hint)
    return float(number)


def draw_layers(
    ax: Axes, layers: Sequence[str], runs: Mapping[str, np.ndarray], ylabel: str, log: bool, *, bridge: bool = False
) -> None:
    """Draw a line through each run's values by layer; NaN leaves a gap, or is skipped with ``bridge``."""
    places = np.arange(len(layers))
    positive = np.concatenate([values[values > 0] for values in runs.values()])
    zeros = False
    for i, (run, values) in enumerate(runs.items()):
        style, known = line_style(i), ~np.isnan(values) | (not bridge)
        # A logarithmic axis cannot show 0, so it is written below the lowest point.
        zero = (values == 0) & log
        ax.plot(places[known], np.where(zero, np.nan, values)[known], **style, markersize=6, label=run)
        for place in np.flatnonzero(zero):
            spot = (place + 0.13 * (i - (len(runs) - 1) / 2), 0.02)
            ax.annotate("0", spot, xycoords=("data", "axes fraction"), color=style["color"], ha="center")
        zeros |= bool(zero.any())
    if not log:
        ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    elif positive.size:
        ax.set_yscale("log")
        low, high = positive.min(), positive.max()
        if zeros:
            ax.set_ylim(bottom=low / max(2.0, (high / low) ** 0.2))
    ax.set_xticks(places, layers, **tick_tilt(layers, 48))
    ax.set(xlabel="layer, from input to output", ylabel=ylabel, xlim=(-0.5, len(layers) - 0.5))
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    if len(runs) > 1:
        ax.legend(frameon=False)
