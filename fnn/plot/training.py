"""Pictures of training: learning curves, one value per layer, and the report on the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._core.described import in_words
from .._core.errors import describe, fail, kind_of
from .._core.flags import flagged
from ..inspection.report import PASSING, LayerReport, LayerRow
from ._draw import (
    COLORS,
    WRONG,
    Axes,
    Style,
    as_float64,
    line_style,
    many_axes,
    one_axes,
    tick_tilt,
    write_title,
    write_ylabel,
)
from ._legend import place_legend

_TYPICAL_RATIO = 1e-3  # of an update to its parameters


def learning_curves(history: Mapping[str, ArrayLike], metric: str = "loss", *, ax: Axes | None = None) -> Axes:
    """Draw a metric over the epochs, for training and, where present, validation.

    A history of several runs (`many`, ``vmap``), with leading axes, becomes thin lines and a thick line, their median.

    Args:
      history: the result of `fit` or `run`, also as a DataFrame.
      metric: an entry of the history; default "loss".
      ax: the axes to draw into, which are returned; default a new figure.

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
    ax.set_xlabel("epoch")
    write_ylabel(ax, metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    write_title(ax, metric)
    place_legend(ax)
    return ax


def _curves(history: Mapping[str, ArrayLike], metric: str) -> dict[str, np.ndarray]:
    """The curves of training and validation, (members, epochs)."""
    if hasattr(history, "columns"):  # a DataFrame
        history = {str(name): np.asarray(history[name]) for name in history.columns}
    if not isinstance(history, Mapping):
        fail("learning_curves", expected="a history, a dict of lists", got=kind_of(history))
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


@flagged
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
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for nothing to draw, a layer without a single number, or negative numbers on a logarithmic axis.

    >>> ax = layer_statistics({"sigmoid": {"dense": 1e-5, "dense_1": 1e-2}, "relu": {"dense": 0.1, "dense_1": 0.2}})
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['dense', 'dense_1']
    """
    where = "layer_statistics"
    if not isinstance(values, Mapping) or not values:
        fail(where, expected="a dict of layers, or of runs with their layers", got=in_words(values))
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
    ax = one_axes(where, ax, (float(np.clip(0.55 * len(layers) + 1.5, 4.5, 14)), 3.4))
    _draw_layers(ax, layers, dict(zip(map(str, runs), table, strict=True)), ylabel, log)
    write_ylabel(ax, ylabel)
    return ax


def _layer_number(where: str, layer: str, value: ArrayLike, log: bool) -> float:
    """One finite number, at least 0 on a logarithmic axis."""
    number = as_float64(where, layer, value)
    if number.ndim:
        hint = "Reduce it first, e.g. with jnp.linalg.norm."
        fail(where, expected=f"one number for layer {layer!r}", got=describe(number), hint=hint)
    if not np.isfinite(number) or (log and number < 0):
        kind, hint = ("at least 0 on a logarithmic axis", "Pass log=False.") if number < 0 else ("finite", "")
        fail(where, expected=f"a number for layer {layer!r} that is {kind}", got=f"{number:g}", hint=hint)
    return float(number)


def _draw_layers(
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
            room = max(2.0, (high / low) ** 0.2)
            ax.set_ylim(low / room, high * room**0.5)
    _name_layers(ax, layers, 10 if len(layers) <= 20 else 8)
    ax.set(xlabel="layer, from input to output", ylabel=ylabel, xlim=(-0.5, len(layers) - 0.5))
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    if len(runs) > 1:
        place_legend(ax)


def layer_report(report: LayerReport, *, axes: ArrayLike | None = None) -> np.ndarray:
    """Draw a `LayerReport` as three pictures, each with the layers from input to output.

    - The outputs: their mean (a dot) and one standard deviation on either side, with notes on dead and saturated units.
    - The gradient norm at the outputs and of the parameters, on a logarithmic axis.
    - The norm of the update divided by that of the parameters, with a line at the customary 1e-3.

    Values that are not finite are left out, and their layers are marked.

    Args:
      report: the result of `fnn.layer_report`.
      axes: axes to draw into, which are returned as a flat array, at least three; default a new figure.

    Raises:
      InputError: for anything but a report, or too few axes.

    >>> import jax, fnn
    >>> task = fnn.Task(fnn.Sequential(fnn.Dense(4, "tanh"), fnn.Dense(1)), "mse")
    >>> x = np.eye(3, dtype="float32")
    >>> report = fnn.layer_report(task, fnn.init(task, jax.random.key(0), x), (x, x[:, :1]))
    >>> [ax.get_ylabel() for ax in layer_report(report)]
    ['output: mean and spread', 'gradient norm', 'update / parameters']
    """
    from matplotlib.ticker import NullFormatter

    rows = getattr(report, "rows", ())
    if not rows or not all(hasattr(row, "update_ratio") for row in rows):
        fail("layer_report", expected="a report from fnn.layer_report(task, ts, batch)", got=kind_of(report))
    # A model that is a single layer has an empty path.
    names = [row.path or row.kind for row in rows]
    grid = many_axes("layer_report", axes, 3, 1, (float(np.clip(0.5 * len(rows) + 2, 5, 14)), 7 / 3), sharex=True)
    _draw_outputs(grid[0], rows)
    norms = {"at the output": _finite(rows, "gradient_norm"), "of the parameters": _finite(rows, "param_gradient_norm")}
    ratios = {"update": _finite(rows, "update_ratio")}
    _draw_layers(grid[1], names, norms, "gradient norm", log=True, bridge=True)
    _draw_layers(grid[2], names, ratios, "update / parameters", log=True, bridge=True)
    # A line at the typical ratio of update to parameters, always inside the limits.
    style: Style = {"color": "0.35", "linestyle": (0, (5, 3)), "linewidth": 1, "zorder": 1}
    guide = grid[2].axhline(_TYPICAL_RATIO, **style, label="customary $10^{-3}$")
    low, high = grid[2].get_ylim() if grid[2].get_yscale() == "log" else (_TYPICAL_RATIO, _TYPICAL_RATIO)
    grid[2].set(yscale="log", ylim=(min(low, _TYPICAL_RATIO / 5), max(high, _TYPICAL_RATIO * 5)))
    place_legend(grid[2], [guide])
    for ax in grid[1:3]:
        if ax.get_yscale() == "log":  # tick labels at powers of ten only, with at least two in view
            low, high = np.log10(ax.get_ylim())
            if np.floor(high) - np.ceil(low) < 1:
                ax.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
            ax.yaxis.set_minor_formatter(NullFormatter())
    for place, row in enumerate(rows):
        counts = row.non_finite
        bad_by_picture = (counts.outputs, counts.gradients + counts.param_gradients, counts.params)
        for ax, bad in zip(grid, bad_by_picture, strict=False):
            if bad:
                ax.axvspan(place - 0.5, place + 0.5, color=WRONG, alpha=0.12, linewidth=0, zorder=0)
                _write(ax, place, "not finite")
    for i, ax in enumerate(grid[:3]):
        ax.set_xlim(-0.5, len(rows) - 0.5)
        _name_layers(ax, names, 8)
        if axes is None and i < 2:
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
    return grid


def _name_layers(ax: Axes, layers: Sequence[str], fontsize: float) -> None:
    """The names of the layers below the axes, at most 60 of them."""
    step = -(-len(layers) // 60)
    names = list(layers)[::step]
    tilt = tick_tilt(names, 48 if fontsize == 10 else 60)
    ax.set_xticks(np.arange(len(layers))[::step], names, fontsize=fontsize, **tilt)


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
