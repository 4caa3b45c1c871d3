"""Pictures of a training: curves over its epochs, numbers for its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._core.errors import describe, fail
from ._draw import COLORS, line_style, one_axes, plain_numbers, tick_tilt


def learning_curves(history: Mapping[str, Any], metric: str = "loss", *, ax: Any = None) -> Any:
    """A metric over the epochs, for training and, where present, validation.

    The history of many trainings at once (`many`, ``vmap``), with leading axes for the members, is drawn as one thin
    line for each member and a thick one for their median.

    Args:
      history: what `fit` or `run` returned.
      metric: which of its entries; default "loss".
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: when the history has no such metric or no epoch.

    >>> ax = learning_curves({"loss": [2.0, 1.0, 0.7], "val_loss": [2.1, 1.3, 1.2]})
    >>> ax.get_xlabel(), [line.get_label() for line in ax.lines]
    ('epoch', ['training', 'validation'])
    """
    if not isinstance(history, Mapping):
        fail("learning_curves", expected="a history, a dict of lists", got=type(history).__name__)
    known = [key for key in history if not key.startswith("val_")]
    if not isinstance(metric, str) or metric not in known:
        hint = "Its validation is drawn with it." if isinstance(metric, str) and metric in history else ""
        fail("learning_curves", expected=f"one of {known}", got=repr(metric), hint=hint)
    from matplotlib.ticker import MaxNLocator

    curves = {}
    for key, label in ((metric, "training"), (f"val_{metric}", "validation")):
        if key in history:
            values = plain_numbers("learning_curves", key, history[key])
            if values.ndim == 0 or values.size == 0:
                fail("learning_curves", expected=f"at least one epoch of {key!r}", got=describe(values))
            curves[label] = values.reshape(-1, values.shape[-1])
    ax = one_axes("learning_curves", ax, (5, 3.2))
    for i, (label, members) in enumerate(curves.items()):
        epochs = np.arange(1, members.shape[-1] + 1)
        line = {"color": COLORS[i], "linestyle": "--" if i else "-", "markersize": 3}
        if len(epochs) <= 30:  # more would run together, and hide the dashes
            line["marker"] = "o"
        if len(members) > 1:
            ax.plot(
                epochs, members.T, color=COLORS[i], linewidth=0.7, alpha=float(np.clip(3 / len(members), 0.15, 0.6))
            )
            # The median stands even where some members went astray, which count as infinitely high.
            middle = np.median(np.where(np.isnan(members), np.inf, members), axis=0)
            ax.plot(epochs, middle, **line, linewidth=2.2, label=f"{label} (median of {len(members)})")
        else:
            ax.plot(epochs, members[0], **line, label=label)
    ax.set(xlabel="epoch", ylabel=metric, title=metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def layer_statistics(
    values: Mapping[str, Any], *, ylabel: str = "gradient norm", log: bool = True, ax: Any = None
) -> Any:
    """A number for each layer, such as the norm of its gradient, for one run or several.

    Args:
      values: layer to number, or run to (layer to number); the layers stand in the order in which they come.
      ylabel: what the numbers are.
      log: whether the axis of the numbers is logarithmic; a 0 is then written at the lower edge.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for nothing to draw, for what is not one number for each layer, and for negative numbers on a
        logarithmic axis.

    >>> ax = layer_statistics({"sigmoid": {"dense": 1e-5, "dense_1": 1e-2}, "relu": {"dense": 0.1, "dense_1": 0.2}})
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['dense', 'dense_1']
    """
    where = "layer_statistics"
    if not isinstance(values, Mapping) or not values:
        fail(where, expected="a dict of layers, or of runs with their layers", got=repr(values))
    nested = [isinstance(value, Mapping) for value in values.values()]
    runs: Mapping[str, Any] = values if any(nested) else {"": values}
    if any(nested) and not all(nested):
        fail(where, expected="either a dict of layers or a dict of dicts", got="a mixture")
    layers = list(dict.fromkeys(str(layer) for run in runs.values() for layer in run))
    if not layers:
        fail(where, expected="at least one layer", got="none")
    table = np.full((len(runs), len(layers)), np.nan)
    for i, by_layer in enumerate(runs.values()):
        for layer, value in by_layer.items():
            number = plain_numbers(where, str(layer), value)
            if number.ndim:
                hint = "For example jnp.linalg.norm of it."
                fail(where, expected=f"one number for layer {str(layer)!r}", got=describe(number), hint=hint)
            if not np.isfinite(number) or (log and number < 0):
                kind, hint = ("at least 0 on a logarithmic axis", "Pass log=False.") if number < 0 else ("finite", "")
                fail(where, expected=f"a number for layer {str(layer)!r} that is {kind}", got=f"{number:g}", hint=hint)
            table[i, layers.index(str(layer))] = number
    ax = one_axes(where, ax, (max(4.5, 0.55 * len(layers) + 1.5), 3.4))
    draw_layers(ax, layers, dict(zip(map(str, runs), table, strict=True)), ylabel, log)
    return ax


def draw_layers(
    ax: Any, layers: Sequence[str], runs: Mapping[str, np.ndarray], ylabel: str, log: bool, *, bridge: bool = False
) -> None:
    """A line for each run through its numbers by layer; where it has none, NaN, there is a gap or a bridge."""
    places = np.arange(len(layers))
    positive = np.concatenate([values[values > 0] for values in runs.values()])
    zeros = False
    for i, (run, values) in enumerate(runs.items()):
        style, known = line_style(i), ~np.isnan(values) | (not bridge)
        # A logarithm has no place for 0: it is written below the lowest point instead.
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
