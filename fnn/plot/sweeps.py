"""Pictures of a sweep: the learning curves of all trials, and the score over one argument or two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._core.checks import check_count
from ..trials.results import Sweep
from ._draw import COLORS, MARKERS, STYLES, Artist, Axes, Mappable, Style, one_axes, write_title, write_ylabel
from ._legend import place_legend
from ._sweep_axes import (
    Argument,
    best_of,
    choose_arguments,
    count_text,
    mark_axis,
    mark_decades,
    other_arguments,
    score_text,
    scores_of,
    value_text,
)

_FEW_COLOURS, _FEW_CELLS = 7, 64  # more colours become a colour bar, and cells of a larger map have no text
_FAILED = "0.45"

TrialStyle = Callable[[int], Style]


def sweep_curves(
    found: Sweep,
    metric: str | None = None,
    *,
    mode: str | None = None,
    top: int = 3,
    color: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the learning curves of all trials of a sweep: the best bold and labelled, failed ones dotted.

    Args:
      found: the result of `sweep`.
      metric: an entry of the histories; default the monitored one.
      mode: "min" or "max", for a metric whose direction fnn does not know; see `fnn.early_stopping`.
      top: how many of the best trials to label; default 3.
      color: the argument that sets the colours; default the first with several values: floats, integers, then text.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes. Curves far from the others are cut off at the edge; a cross marks where a trial failed.

    Raises:
      InputError: for an unknown metric or argument, or a metric without a known direction and no mode.

    >>> import jax.numpy as jnp, fnn
    >>> found = fnn.sweep(lambda rate: ({}, {"loss": jnp.exp(-rate * jnp.arange(5))}), {"rate": [0.1, 0.5]}, verbose=0)
    >>> ax = sweep_curves(found, top=1)
    >>> [line.get_label() for line in ax.lines if line.get_linewidth() > 2]
    ['1. 0.135: rate=0.5']
    """
    from matplotlib.ticker import MaxNLocator

    where = "sweep_curves"
    check_count(where, "top", top, 0)
    name, last, rising = scores_of(where, found, metric, mode)
    argument = next(iter(choose_arguments(where, found, [color], 0)), None)
    curves = [np.asarray(history.get(name, []), float) for history in found.histories]
    good = [i for i in np.argsort(-last if rising else last, kind="stable") if not found.failed[i]]
    ax = one_axes(where, ax, (7.2, 4))
    handles = _draw_finished(ax, found, curves, last, good, top, _styles(argument))
    # If every trial failed, the curves up to the failures set the limits.
    _limit(ax, [curves[i] for i in good] or curves, rising)
    low, high = ax.get_ylim()
    # Where nothing finite precedes the failure, the cross is at the worse edge, or in the middle if all failed.
    handles += _draw_failed(ax, found, curves, (low if rising else high) if good else (low + high) / 2)
    ax.set(xlabel="epoch", ylim=(low, high))
    write_ylabel(ax, name)
    ax.set_title(count_text(found), fontsize=11)
    longest = max(map(len, curves), default=1)
    room = 0.04 * (longest - 1) if longest > 1 else 0.5
    ax.set_xlim(1 - room, max(longest, 1) + room)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if handles:
        place_legend(ax, handles, corners=(), fontsize=8)
    _explain_colours(ax, argument)
    return ax


def _draw_finished(
    ax: Axes, found: Sweep, curves: list[np.ndarray], last: np.ndarray, good: list[int], top: int, style: TrialStyle
) -> list[Artist]:
    """The curves of the trials ``good``, best first; returns the lines of the ``top`` best."""
    lines: list[Artist] = []
    thin: Style = {"linewidth": 1, "alpha": float(np.clip(12 / len(curves), 0.35, 0.8))}
    for place, i in enumerate(good):
        epochs = np.arange(1, len(curves[i]) + 1)
        if place >= top:
            ax.plot(epochs, curves[i], **style(i), **thin, zorder=2)
            continue
        config = ", ".join(f"{key}={value_text(found.column(key)[i])}" for key in found.configs[i])
        marks: Style = {"marker": MARKERS[place % len(MARKERS)], "markersize": 5, "markevery": -(-len(epochs) // 10)}
        bold: Style = {"linewidth": 2.6, "label": f"{place + 1}. {score_text(last[i])}: {config}"}
        lines += ax.plot(epochs, curves[i], **style(i), **marks, **bold, zorder=4 - place / top)
    return lines


def _draw_failed(ax: Axes, found: Sweep, curves: list[np.ndarray], edge: float) -> list[Artist]:
    """The curves of failed trials, each with a cross at its last finite value or else at ``edge``; returns a cross."""
    low, high = ax.get_ylim()
    crosses: list[Artist] = []
    look: Style = {"color": _FAILED, "linestyle": ":"}
    for i in np.flatnonzero(found.failed):
        epochs = np.arange(1, len(curves[i]) + 1)
        ax.plot(epochs, curves[i], **look, linewidth=1, zorder=1)
        seen = np.flatnonzero(np.isfinite(curves[i]))
        end = (epochs[seen[-1]], np.clip(curves[i][seen[-1]], low, high)) if len(seen) else (1, edge)
        crosses += ax.plot(*end, **look, marker="x", clip_on=False, label="failed", zorder=5)
    return crosses[:1]


def _limit(ax: Axes, curves: list[np.ndarray], rising: bool) -> None:
    """Limits set by the typical trials, on a logarithmic axis if the values span a wide range."""
    curves = [finite for curve in curves if len(finite := curve[np.isfinite(curve)])]
    if not curves:
        return
    values = np.concatenate(curves)
    low, high = values.min(), values.max()
    # A trial that diverged without failing must not squeeze the others.
    typical = max(float(np.median([curve[0] for curve in curves])), float(np.median([curve[-1] for curve in curves])))
    if not rising and typical > 0:
        high = min(high, 3 * typical)
    if not rising and low > 0 and high > 8 * low:
        ax.set_yscale("log")
        ax.set_ylim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
        mark_decades(ax.yaxis)
    elif high > low:
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    else:
        room = 0.1 * abs(low) or 0.5
        ax.set_ylim(low - room, low + room)


def _shades(argument: Argument) -> Mappable:
    """Colours for a numeric argument, which differ in lightness too."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    cmap = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))  # the lightest is hard to see on white
    return ScalarMappable((LogNorm if argument.scale == "log" else Normalize)(*argument.places[[0, -1]]), cmap)


def _styles(argument: Argument | None) -> TrialStyle:
    """The colour of each trial, and its line style if the argument is text."""
    if argument is None:
        return lambda i: {"color": COLORS[0]}
    rows = argument.rows
    if argument.numeric:
        shades = _shades(argument)
        return lambda i: {"color": shades.to_rgba(argument.places[rows[i]])}
    return lambda i: {"color": COLORS[rows[i] % len(COLORS)], "linestyle": STYLES[rows[i] % len(STYLES)]}


def _explain_colours(ax: Axes, argument: Argument | None) -> None:
    """A legend beside the picture for a few values, a colour bar for many numbers."""
    from matplotlib.lines import Line2D

    if argument is None:
        return
    labels = [value_text(value) for value in argument.values]
    if argument.numeric and len(labels) > _FEW_COLOURS:
        bar = ax.figure.colorbar(_shades(argument), ax=ax, label=argument.name)
        if argument.scale == "log":
            mark_decades(bar.ax.yaxis)
        elif argument.scale == "index":
            step = argument.tick_step()
            bar.set_ticks(argument.places[::step].tolist(), labels=labels[::step])
        return
    style, first = _styles(argument), [int(np.argmax(argument.rows == row)) for row in range(len(labels))]
    handles = [Line2D([], [], linewidth=2, **style(i)) for i in first[: 3 * _FEW_COLOURS]]
    legend_above = ax.get_legend()
    beside: Style = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False, "fontsize": 8}
    ax.legend(handles, labels, title=argument.name, **beside)
    if legend_above is not None:  # replaced by the second legend, so it is added again
        ax.add_artist(legend_above)
        legend_above.set_clip_on(False)


def sweep_line(
    found: Sweep, x: str | None = None, *, metric: str | None = None, mode: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the score over one argument: the mean over the others, such as seeds, and the range.

    Args:
      x: the argument; default the first one with several values, floats before integers and integers before text.
      metric: an entry of the histories, at the epoch of each trial's state; default the monitored one.
      found, mode, ax: as in `sweep_curves`.

    Returns:
      The axes. Each dot is a trial; failed trials are crosses at the edge and do not enter the mean.

    Raises:
      InputError: as in `sweep_curves`, or when no argument has several values.

    >>> import jax.numpy as jnp, fnn
    >>> space = {"rate": [0.01, 0.1, 1.0], "seed": [0, 1]}
    >>> found = fnn.sweep(lambda rate, seed: ({}, {"loss": (rate + seed)[None]}), space, verbose=0)
    >>> ax = sweep_line(found)
    >>> ax.get_xscale(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('log', ['trial', 'mean over seed', 'least to most', 'best mean: rate=0.01'])
    """
    name, scores, rising = scores_of("sweep_line", found, metric, mode)
    (argument,) = choose_arguments("sweep_line", found, [x], 1)
    ax = one_axes("sweep_line", ax, (5.4, 3.6))
    trials = argument.places[argument.rows]
    groups = [scores[(argument.rows == row) & np.isfinite(scores)] for row in range(len(argument.values))]
    spread = np.array([[g.mean(), g.min(), g.max()] if len(g) else [np.nan] * 3 for g in groups]).T
    means, least, most = spread
    _draw_scores(ax, found, argument, scores, spread)
    if np.isfinite(means).any():
        several = len(argument.values) < len(found.configs)
        best = best_of(means, np.bincount(argument.rows, found.failed, len(argument.values)), rising)
        label = f"best{' mean' * several}: {argument.text(best)}"
        star: Style = {"marker": "*", "markersize": 17, "linestyle": "", "color": COLORS[1], "markeredgecolor": "white"}
        ax.plot(argument.places[best], means[best], **star, label=label, zorder=4)
    _limit(ax, list(np.stack([least, most], 1)), rising)
    low, high = ax.get_ylim()
    if found.failed.any():
        edge = np.full(int(found.failed.sum()), low if rising else high)
        cross: Style = {"marker": "x", "linestyle": "", "color": _FAILED, "clip_on": False, "zorder": 5}
        ax.plot(trials[found.failed], edge, **cross, label="failed")
    ax.set_ylim(low, high)
    write_ylabel(ax, name)
    mark_axis(ax, "x", argument, 44)
    ax.set_xlim(*argument.edges[[0, -1]])
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    ax.set_title(count_text(found), fontsize=11)
    place_legend(ax, corners=(), fontsize=8)
    return ax


def _draw_scores(ax: Axes, found: Sweep, argument: Argument, scores: np.ndarray, spread: np.ndarray) -> None:
    """A dot for each trial; with several trials per value, also their mean and range."""
    means, least, most = spread
    trials, others = argument.places[argument.rows], other_arguments(found, argument.name)
    dots: Style = {"marker": "o", "markersize": 4, "linestyle": "", "color": COLORS[0], "label": "trial", "zorder": 2}
    line: Style = {"color": COLORS[0], "linewidth": 2, "linestyle": "-" if argument.numeric else "", "zorder": 3}
    if len(argument.values) < len(found.configs):
        ax.plot(trials, scores, **dots, alpha=0.4)
        label = f"mean over {others}" if others else "mean"
        ax.plot(argument.places, means, marker="s", label=label, **line)
        low_to_high: Style = {"color": COLORS[0], "label": "least to most"}
        if argument.numeric:
            ax.fill_between(argument.places, least, most, alpha=0.15, linewidth=0, **low_to_high)
        else:
            ax.vlines(argument.places, least, most, alpha=0.5, linewidth=2, **low_to_high)
    elif others:  # such as random samples, where neighbours differ in other arguments too
        ax.plot(trials, scores, **dots)
    else:
        ax.plot(argument.places, means, marker="o", label="trial", **line)


def sweep_map(
    found: Sweep,
    x: str | None = None,
    y: str | None = None,
    *,
    metric: str | None = None,
    mode: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the score over two arguments as a heat map, brighter for better; the mean over any other arguments.

    A cell is hatched if all its trials failed and dotted if some did; failed trials do not enter the mean. Trials that
    form no grid, such as random samples, are drawn as points.

    Args:
      x, y: the arguments; default the first two with several values: floats, integers, then text.
      found, metric, mode, ax: as in `sweep_line`.

    Returns:
      The axes. The cells of a small map contain their scores.

    Raises:
      InputError: as in `sweep_curves`, or when fewer than two arguments have several values.

    >>> import jax.numpy as jnp, fnn
    >>> space = {"rate": [0.01, 0.1, 1.0], "decay": [0.0, 0.5], "seed": [0, 1]}
    >>> found = fnn.sweep(lambda rate, decay, seed: ({}, {"loss": (rate - decay + seed)[None]}), space, verbose=0)
    >>> ax = sweep_map(found)
    >>> print(ax.get_title())
    loss, mean over seed
    best: 0.01 at rate=0.01, decay=0.5
    """
    from matplotlib.patches import Rectangle

    name, scores, rising = scores_of("sweep_map", found, metric, mode)
    across, up = choose_arguments("sweep_map", found, [x, y], 2)
    others = other_arguments(found, across.name, up.name)
    means, count, failed = _cell_means(across, up, scores)
    ax = one_axes("sweep_map", ax, (6.4, 4.4))
    title = f"{name}, mean over {others}" if others and (count > 1).any() else name
    colours = _score_colours(means, rising)
    grid = (count > 0).mean() > 0.5 or min(means.shape) == 1
    draw = _draw_cells if grid else _draw_points
    draw(ax, across, up, means, failed, colours)
    if np.isfinite(means).any():
        i, j = map(int, np.unravel_index(best_of(means, failed, rising), means.shape))
        title += f"\nbest: {score_text(means[i, j])} at {across.text(j)}, {up.text(i)}"
        if grid:  # a frame, black on white so that it is visible on every colour
            for color, width in (("white", 5), ("black", 2.5)):
                look: Style = {"facecolor": "none", "edgecolor": color, "linewidth": width, "clip_on": False}
                ax.add_patch(Rectangle(*_box(across, up, i, j), **look, zorder=4))
        else:
            star: Style = {"marker": "*", "markersize": 11, "color": "white", "markeredgecolor": "black"}
            ax.plot(across.places[j], up.places[i], **star, zorder=4)
    bar = ax.figure.colorbar(colours, ax=ax, label=name)
    if bar.ax.get_yscale() == "log":
        mark_decades(bar.ax.yaxis)
    mark_axis(ax, "x", across, 48)
    mark_axis(ax, "y", up, 0)
    ax.set(xlim=across.edges[[0, -1]], ylim=up.edges[[0, -1]])
    write_title(ax, title, 10)
    return ax


def _cell_means(across: Argument, up: Argument, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean score, number of trials and number of failed trials in each cell, (rows, columns)."""
    total, count, failed = np.zeros((3, len(up.values), len(across.values)))
    finite = np.isfinite(scores)
    np.add.at(total, (up.rows[finite], across.rows[finite]), scores[finite])
    np.add.at(count, (up.rows, across.rows), 1)
    np.add.at(failed, (up.rows[~finite], across.rows[~finite]), 1)
    with np.errstate(invalid="ignore"):
        return total / (count - failed), count, failed


def _score_colours(means: np.ndarray, rising: bool) -> Mappable:
    """Colours of scores, brighter for better; scores far from the others do not widen the range."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    values = means[np.isfinite(means)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    if not rising and low > 0 and len(values):
        high = min(high, 3 * max(float(np.median(values)), low))
    wide = not rising and low > 0 and high > 10 * low
    return ScalarMappable((LogNorm if wide else Normalize)(low, high), "viridis" if rising else "viridis_r")


def _draw_cells(
    ax: Axes, across: Argument, up: Argument, means: np.ndarray, failed: np.ndarray, colours: Mappable
) -> None:
    """A coloured cell for each mean, with its score in a small map."""
    from matplotlib.patches import Rectangle

    look: Style = {"cmap": colours.cmap, "norm": colours.norm, "edgecolors": "white", "linewidth": 0.5}
    ax.pcolormesh(across.edges, up.edges, np.ma.masked_invalid(means), **look)
    for i, j in np.ndindex(means.shape):
        corner, width, height = _box(across, up, i, j)
        if failed[i, j]:
            hatch, face = ("..", "none") if np.isfinite(means[i, j]) else ("xxx", "0.93")
            ax.add_patch(Rectangle(corner, width, height, edgecolor="0.55", linewidth=0, hatch=hatch, facecolor=face))
        if means.size <= _FEW_CELLS:
            mean = float(means[i, j])
            dark = np.isfinite(mean) and np.dot(colours.to_rgba(means[i, j])[:3], (0.299, 0.587, 0.114)) < 0.55
            text = score_text(mean) if np.isfinite(mean) else "failed" if failed[i, j] else "none"
            box = {"facecolor": "0.93", "edgecolor": "none", "pad": 1.5} if text == "failed" else None
            middle: Style = {"ha": "center", "va": "center", "fontsize": 8, "color": "white" if dark else "black"}
            ax.text(float(across.places[j]), float(up.places[i]), text, bbox=box, **middle)


def _box(across: Argument, up: Argument, i: int, j: int) -> tuple[tuple[float, float], float, float]:
    """Corner, width and height of a cell."""
    left, right = across.edges[j : j + 2]
    bottom, top = up.edges[i : i + 2]
    return (left, bottom), right - left, top - bottom


def _draw_points(
    ax: Axes, across: Argument, up: Argument, means: np.ndarray, failed: np.ndarray, colours: Mappable
) -> None:
    """A coloured point for each mean, and a cross where every trial failed."""
    i, j = np.nonzero(np.isfinite(means))
    look: Style = {"c": means[i, j], "cmap": colours.cmap, "norm": colours.norm, "edgecolors": "0.3", "linewidths": 0.5}
    ax.scatter(across.places[j], up.places[i], s=70, **look, zorder=3)
    i, j = np.nonzero((failed > 0) & ~np.isfinite(means))
    if len(i):
        ax.plot(across.places[j], up.places[i], "x", color=_FAILED, label="failed", zorder=2)
        place_legend(ax, fontsize=8)
