"""Pictures of a sweep: the curves of all trials, and the score over one argument or two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._core.checks import check_count, lookup
from .._core.errors import fail
from ..training.stopping import is_rising
from ..trials.results import Sweep
from ._draw import COLORS, MARKERS, STYLES, one_axes, tick_tilt

# More values than this share a colour bar or an axis with few ticks.
_FEW_COLOURS, _FEW_TICKS, _FEW_CELLS = 7, 12, 64
_FAILED = "0.45"


class _Argument(NamedTuple):
    """A swept argument as an axis.

    Attributes:
      name: of the argument.
      values: its different values, numbers in rising order, text as it comes.
      numbers: whether they are numbers.
      scale: "log" or "linear" for numbers, "index" for places of equal width.
      places: (values,) where each lies on the axis.
      edges: (values + 1,) where the cells begin and end.
      rows: (trials,) which of the values each trial has.
    """

    name: str
    values: list[Any]
    numbers: bool
    scale: str
    places: np.ndarray
    edges: np.ndarray
    rows: np.ndarray


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _argument(found: Sweep, name: str) -> _Argument:
    column = found.column(name)
    values = list(dict.fromkeys(column))
    numbers = all(_is_number(value) and np.isfinite(value) for value in values)
    if numbers:
        values = sorted(values)
    scale, places, edges = _scaled(values) if numbers else ("index", *_even(len(values)))
    return _Argument(name, values, numbers, scale, places, edges, np.array([values.index(value) for value in column]))


def _even(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(count, dtype=float), np.arange(count + 1) - 0.5


def _scaled(values: Sequence[float]) -> tuple[str, np.ndarray, np.ndarray]:
    """The scale in which the values lie most evenly, their places and the edges between them."""
    given = np.asarray(values, float)
    if len(given) == 1:
        return ("index", *_even(1))

    def unevenness(at: np.ndarray) -> float:
        return float(np.diff(at).max() / np.diff(at).min())

    options = {"linear": given}
    if given[0] > 0:
        options["log"] = np.log(given)
        # Of two values nothing can be seen but how far they are apart.
        prefers_log = given[1] >= 5 * given[0] if len(given) == 2 else unevenness(np.log(given)) < unevenness(given)
    else:
        prefers_log = False
    scale = "log" if prefers_log else "linear"
    at = options[scale]
    if unevenness(at) > 4 and len(given) <= _FEW_TICKS:  # such as 0, 0.0001, 0.001, 0.01
        return ("index", *_even(len(given)))
    middle = (at[1:] + at[:-1]) / 2
    edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return scale, given, np.exp(edges) if scale == "log" else edges


def _checked(where: str, found: Any) -> None:
    if not isinstance(found, Sweep):
        fail(where, expected="what fnn.sweep returned", got=type(found).__name__)


def _chosen(where: str, found: Sweep, names: Sequence[str | None], least: int) -> list[_Argument]:
    """The arguments named, and for each None the first other one that suits: floats, then integers, then text."""
    for name in names:
        if name is not None:
            lookup("swept argument", name, dict.fromkeys(found.configs[0]), or_else="")
    given = [name for name in names if name is not None]
    if len(set(given)) < len(given):
        fail(where, expected="two different arguments", got=repr(given))
    varied = [_argument(found, name) for name in found.configs[0] if name not in given]
    varied = [argument for argument in varied if len(argument.values) > 1]

    def rank(argument: _Argument) -> int:
        if not argument.numbers:
            return 3 if any(" #" in str(value) or str(value).startswith("key ") for value in argument.values) else 2
        return 0 if any(isinstance(value, float) for value in argument.values) else 1

    rest = iter(sorted(varied, key=rank))
    chosen = [_argument(found, name) if name is not None else next(rest, None) for name in names]
    present = [argument for argument in chosen if argument is not None]
    if len(present) < least:
        hint = "fnn.plot.sweep_line draws one." if least == 2 and present else ""
        got = f"{len(present)} in {list(found.configs[0])}"
        fail(where, expected=f"{least} argument{'s' * (least > 1)} with several values", got=got, hint=hint)
    return present


def _scores(where: str, found: Sweep, metric: str | None, mode: str | None) -> tuple[str, np.ndarray, bool]:
    """What is drawn of each trial: its name, the values with NaN for trials that failed, whether more is better."""
    if metric is None or metric == found.monitor:
        name, values = found.monitor, found.scores
    else:
        known = dict.fromkeys(name for history in found.histories for name in history if name != "epoch")
        lookup("figure of the sweep", metric, known, or_else="")
        name, values = metric, np.asarray(found.column(metric), float)
    # What was monitored in validation is better the same way in training.
    alike = mode is None and name.removeprefix("val_") == found.monitor.removeprefix("val_")
    rising = found.rising if alike else is_rising(where, name, mode)
    return name, np.where(found.failed, np.nan, values), rising


def _others(found: Sweep, *shown: str) -> list[str]:
    """Arguments that vary and are not shown."""
    return [name for name in found.configs[0] if name not in shown and len(set(found.column(name))) > 1]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(value)


def _figure(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


def _mark_axis(axis: Any, argument: _Argument, room: int) -> None:
    """Ticks at the values where they are few."""
    getattr(axis.axes, f"set_{axis.axis_name}label")(argument.name)
    if argument.scale != "index":
        getattr(axis.axes, f"set_{axis.axis_name}scale")(argument.scale)
    count = len(argument.values)
    labels = [_text(value) for value in argument.values]
    if count > _FEW_TICKS:
        if argument.scale == "log":
            _mark_decades(axis)
        if argument.scale != "index":
            return
        step = -(-count // _FEW_TICKS)
        labels = [label if i % step == 0 else "" for i, label in enumerate(labels)]
    axis.set_ticks(argument.places, labels, **(tick_tilt(labels, room) if axis.axis_name == "x" else {}))
    axis.set_ticks([], minor=True)


# -------------------------------------------------------------------------------------------------------------- curves
def sweep_curves(
    found: Sweep,
    metric: str | None = None,
    *,
    mode: str | None = None,
    top: int = 3,
    color: str | None = None,
    ax: Any = None,
) -> Any:
    """The learning curves of all trials of a sweep, the best ones bold and named, those that failed dotted.

    Args:
      found: what `sweep` returned.
      metric: an entry of the histories; default what was monitored.
      mode: "min" or "max", for a metric of which fnn does not know which is better; see `fnn.early_stopping`.
      top: how many of the best trials are named; default 3.
      color: the argument that gives the colours; default the first one with several values, floats before integers
        and integers before text.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes. What lies far beyond the other trials leaves them at the edge; a cross is where a trial failed.

    Raises:
      InputError: for an unknown metric or argument, or a metric without a known direction and no mode.

    >>> import jax.numpy as jnp, fnn
    >>> found = fnn.sweep(lambda rate: ({}, {"loss": jnp.exp(-rate * jnp.arange(5))}), {"rate": [0.1, 0.5]}, verbose=0)
    >>> ax = sweep_curves(found, top=1)
    >>> [line.get_label() for line in ax.lines if line.get_linewidth() > 2]
    ['1. 0.135: rate=0.5']
    """
    where = "sweep_curves"
    _checked(where, found)
    check_count(where, "top", top, 0)
    name, last, rising = _scores(where, found, metric, mode)
    argument = next(iter(_chosen(where, found, [color], 0)), None)
    from matplotlib.ticker import MaxNLocator

    curves = [np.asarray(history.get(name, []), float) for history in found.histories]
    epochs = [np.arange(1, len(curve) + 1) for curve in curves]
    good = [i for i in np.argsort(-last if rising else last, kind="stable") if not found.failed[i]]
    ax = one_axes(where, ax, (7.2, 4))
    style = _styles(argument)
    handles = []
    for place, i in enumerate(good):
        if place >= top:
            thin = {"linewidth": 1, "alpha": float(np.clip(12 / len(curves), 0.35, 0.8))}
            ax.plot(epochs[i], curves[i], **style(i), **thin, zorder=2)
            continue
        config = ", ".join(f"{key}={_text(found.column(key)[i])}" for key in found.configs[i])
        marks = {"marker": MARKERS[place % len(MARKERS)], "markersize": 5, "markevery": -(-len(epochs[i]) // 10)}
        bold = {"linewidth": 2.6, "label": f"{place + 1}. {_figure(last[i])}: {config}"}
        handles += ax.plot(epochs[i], curves[i], **style(i), **marks, **bold, zorder=4 - place / top)
    # Where all failed, what they were until then is all there is.
    _limit(ax, [curves[i] for i in good] or curves, rising)
    low, high = ax.get_ylim()
    for i in np.flatnonzero(found.failed):
        ax.plot(epochs[i], curves[i], color=_FAILED, linestyle=":", linewidth=1, zorder=1)
        seen = np.flatnonzero(np.isfinite(curves[i]))
        end = (
            (epochs[i][seen[-1]], np.clip(curves[i][seen[-1]], low, high))
            if len(seen)
            else (1, (low if rising else high) if good else (low + high) / 2)
        )
        cross = ax.plot(*end, color=_FAILED, marker="x", linestyle=":", clip_on=False, label="failed", zorder=5)
        handles = [*handles, *cross] if i == np.flatnonzero(found.failed)[0] else handles
    ax.set(xlabel="epoch", ylabel=name, title=_count(found), ylim=(low, high))
    longest = max(map(len, curves), default=1)
    room = 0.04 * (longest - 1) if longest > 1 else 0.5
    ax.set_xlim(1 - room, max(longest, 1) + room)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if handles:
        _legend_above(ax, _count(found), columns=1, handles=handles)
    _explain_colours(ax, argument)
    return ax


def _legend_above(ax: Any, title: str, *, columns: int, **options: Any) -> Any:
    """A legend between the picture and its title, where it hides nothing."""
    place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.1, "frameon": False}
    legend = ax.legend(**place, fontsize=8, ncols=columns, labelspacing=0.3, **options)
    rows = -(-len(legend.get_texts()) // columns)
    ax.set_title(title, pad=7 + 12.5 * rows, fontsize=11)
    return legend


def _count(found: Sweep) -> str:
    failed = int(found.failed.sum())
    trials = f"{len(found.configs)} trial{'s' * (len(found.configs) != 1)}"
    return trials + (f", {failed} failed" if failed else "")


def _limit(ax: Any, curves: list[np.ndarray], rising: bool) -> None:
    """A logarithm for values that differ much, and limits by the middle of the trials."""
    curves = [curve[np.isfinite(curve)] for curve in curves]
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return
    values = np.concatenate(curves)
    low, high = values.min(), values.max()
    # What went astray without failing must not press the others into a line.
    ordinary = max(float(np.median([curve[0] for curve in curves])), float(np.median([curve[-1] for curve in curves])))
    if not rising and ordinary > 0:
        high = min(high, 3 * ordinary)
    if not rising and low > 0 and high > 8 * low:
        ax.set_yscale("log")
        ax.set_ylim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
        _mark_decades(ax.yaxis)
    elif high > low:
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    else:
        room = 0.1 * abs(low) or 0.5
        ax.set_ylim(low - room, low + room)


def _mark_decades(axis: Any) -> None:
    """Plain numbers at a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: _text(float(value)))


def _shades(argument: _Argument) -> Any:
    """Colours for the numbers of an argument, which differ in lightness too."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    cmap = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))  # the lightest is hard to see on white
    return ScalarMappable((LogNorm if argument.scale == "log" else Normalize)(*argument.places[[0, -1]]), cmap)


def _styles(argument: _Argument | None) -> Callable[[int], dict[str, Any]]:
    """The colour of each trial, for text with a line style."""
    if argument is None:
        return lambda i: {"color": COLORS[0]}
    rows = argument.rows
    if argument.numbers:
        shades = _shades(argument)
        return lambda i: {"color": shades.to_rgba(argument.places[rows[i]])}
    return lambda i: {"color": COLORS[rows[i] % len(COLORS)], "linestyle": STYLES[rows[i] % len(STYLES)]}


def _explain_colours(ax: Any, argument: _Argument | None) -> None:
    """A legend beside the picture for a few values, a colour bar for many numbers."""
    from matplotlib.lines import Line2D

    if argument is None:
        return
    if argument.numbers and len(argument.values) > _FEW_COLOURS:
        bar = ax.figure.colorbar(_shades(argument), ax=ax, label=argument.name)
        if argument.scale == "log":
            _mark_decades(bar.ax.yaxis)
        elif argument.scale == "index":
            step = -(-len(argument.values) // _FEW_TICKS)
            bar.set_ticks(argument.places[::step], labels=[_text(value) for value in argument.values[::step]])
        return
    style, first = _styles(argument), [int(np.argmax(argument.rows == row)) for row in range(len(argument.values))]
    handles = [Line2D([], [], linewidth=2, **style(i)) for i in first[: 3 * _FEW_COLOURS]]
    labels = [_text(value) for value in argument.values]
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False, "fontsize": 8}
    first_legend = ax.get_legend()
    ax.legend(handles, labels, title=argument.name, **beside)
    if first_legend is not None:  # which the second one has replaced
        ax.add_artist(first_legend)
        first_legend.set_clip_on(False)


# ------------------------------------------------------------------------------------------------------- one argument
def sweep_line(
    found: Sweep, x: str | None = None, *, metric: str | None = None, mode: str | None = None, ax: Any = None
) -> Any:
    """The score over one argument: the mean over the others, such as seeds, with the range from least to most.

    Args:
      found: what `sweep` returned.
      x: the argument; default the first one with several values, floats before integers and integers before text.
      metric: an entry of the histories, of the epoch that a trial's state is of; default what was monitored.
      mode: "min" or "max", for a metric of which fnn does not know which is better; see `fnn.early_stopping`.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes. Each dot is a trial; those that failed are crosses at the edge and in no mean.

    Raises:
      InputError: for an unknown argument or metric, a metric without a known direction and no mode, or when no
        argument has several values.

    >>> import jax.numpy as jnp, fnn
    >>> space = {"rate": [0.01, 0.1, 1.0], "seed": [0, 1]}
    >>> found = fnn.sweep(lambda rate, seed: ({}, {"loss": (rate + seed)[None]}), space, verbose=0)
    >>> ax = sweep_line(found)
    >>> ax.get_xscale(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('log', ['trial', 'mean over seed', 'least to most', 'best mean: rate=0.01'])
    """
    where = "sweep_line"
    _checked(where, found)
    (argument,) = _chosen(where, found, [x], 1)
    name, scores, rising = _scores(where, found, metric, mode)
    others = _others(found, argument.name)
    ax = one_axes(where, ax, (5.4, 3.6))
    at = argument.places[argument.rows]
    means, least, most = np.full((3, len(argument.values)), np.nan)
    for row in range(len(argument.values)):
        own = scores[(argument.rows == row) & np.isfinite(scores)]
        if len(own):
            means[row], least[row], most[row] = own.mean(), own.min(), own.max()
    together = len(argument.values) < len(found.configs)  # some value has several trials
    dots = {"marker": "o", "markersize": 4, "linestyle": "", "color": COLORS[0], "label": "trial", "zorder": 2}
    line = {"color": COLORS[0], "linewidth": 2, "linestyle": "-" if argument.numbers else "", "zorder": 3}
    if together:
        ax.plot(at, scores, **dots, alpha=0.4)
        ax.plot(argument.places, means, marker="s", label=f"mean over {_list(others)}" if others else "mean", **line)
        if argument.numbers:
            ax.fill_between(
                argument.places, least, most, color=COLORS[0], alpha=0.15, linewidth=0, label="least to most"
            )
        else:
            ax.vlines(argument.places, least, most, color=COLORS[0], alpha=0.5, linewidth=2, label="least to most")
    elif others:  # such as random samples, whose neighbours differ in more than this argument
        ax.plot(at, scores, **dots)
    else:
        ax.plot(argument.places, means, marker="o", label="trial", **line)
    if np.isfinite(means).any():
        best = _best(means, np.bincount(argument.rows, found.failed, len(means)), rising)
        label = f"best{' mean' * together}: {argument.name}={_text(argument.values[best])}"
        star = {"marker": "*", "markersize": 17, "linestyle": "", "color": COLORS[1], "markeredgecolor": "white"}
        ax.plot(argument.places[best], means[best], **star, label=label, zorder=4)
    _limit(ax, [np.array([least[row], most[row]]) for row in range(len(means))], rising)
    low, high = ax.get_ylim()
    if found.failed.any():
        edge = np.full(int(found.failed.sum()), low if rising else high)
        cross = {"marker": "x", "linestyle": "", "color": _FAILED, "clip_on": False, "zorder": 5}
        ax.plot(at[found.failed], edge, **cross, label="failed")
    ax.set(ylabel=name, ylim=(low, high))
    _mark_axis(ax.xaxis, argument, 44)
    ax.set_xlim(*argument.edges[[0, -1]])
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    _legend_above(ax, _count(found), columns=2)
    return ax


def _best(means: np.ndarray, failed: np.ndarray, rising: bool) -> int:
    """Where the best mean is, of those without a failed trial if there are any."""
    sure = np.where(failed > 0, np.nan, means)
    ranked = sure if np.isfinite(sure).any() else means
    return int(np.nanargmax(ranked) if rising else np.nanargmin(ranked))


def _list(names: Sequence[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1))


# ------------------------------------------------------------------------------------------------------ two arguments
def sweep_map(
    found: Sweep,
    x: str | None = None,
    y: str | None = None,
    *,
    metric: str | None = None,
    mode: str | None = None,
    ax: Any = None,
) -> Any:
    """The score over two arguments as a heat map, brighter where it is better; the mean over the others if there are.

    Cells in which every trial failed are hatched, those in which some did are dotted; failed trials are in no mean.
    Trials that are no grid, such as random samples, are drawn as points.

    Args:
      found: what `sweep` returned.
      x, y: the arguments; by default the first two with several values, floats before integers and integers before
        text.
      metric: an entry of the histories, of the epoch that a trial's state is of; default what was monitored.
      mode: "min" or "max", for a metric of which fnn does not know which is better; see `fnn.early_stopping`.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes. Values stand in the cells where there are few.

    Raises:
      InputError: for an unknown argument or metric, a metric without a known direction and no mode, or when fewer
        than two arguments have several values.

    >>> import jax.numpy as jnp, fnn
    >>> space = {"rate": [0.01, 0.1, 1.0], "decay": [0.0, 0.5], "seed": [0, 1]}
    >>> found = fnn.sweep(lambda rate, decay, seed: ({}, {"loss": (rate - decay + seed)[None]}), space, verbose=0)
    >>> ax = sweep_map(found)
    >>> print(ax.get_title())
    loss, mean over seed
    best: 0.01 at rate=0.01, decay=0.5
    """
    where = "sweep_map"
    _checked(where, found)
    across, up = _chosen(where, found, [x, y], 2)
    name, scores, rising = _scores(where, found, metric, mode)
    others = _others(found, across.name, up.name)
    shape = (len(up.values), len(across.values))
    total, count, failed = np.zeros((3, *shape))
    at = (up.rows, across.rows)
    ok = np.isfinite(scores)
    np.add.at(total, tuple(rows[ok] for rows in at), scores[ok])
    np.add.at(count, tuple(rows[ok] for rows in at), 1)
    np.add.at(failed, tuple(rows[~ok] for rows in at), 1)
    with np.errstate(invalid="ignore"):
        means = total / count
    ax = one_axes(where, ax, (6.4, 4.4))
    together = (count + failed > 1).any()
    title = f"{name}, mean over {_list(others)}" if others and together else name
    colours = _score_colours(means, rising)
    grid = (count + failed > 0).mean() > 0.5 or min(shape) == 1
    draw = _draw_cells if grid else _draw_points
    draw(ax, across, up, means, failed, colours)
    if np.isfinite(means).any():
        i, j = np.unravel_index(_best(means, failed, rising), shape)
        place = f"{across.name}={_text(across.values[j])}, {up.name}={_text(up.values[i])}"
        title += f"\nbest: {_figure(means[i, j])} at {place}"
        if grid:
            _frame(ax, across, up, int(i), int(j))
        else:
            star = {"marker": "*", "markersize": 11, "color": "white", "markeredgecolor": "black"}
            ax.plot(across.places[j], up.places[i], **star, zorder=4)
    bar = ax.figure.colorbar(colours, ax=ax, label=name)
    if bar.ax.get_yscale() == "log":
        _mark_decades(bar.ax.yaxis)
    _mark_axis(ax.xaxis, across, 48)
    _mark_axis(ax.yaxis, up, 0)
    ax.set(xlim=across.edges[[0, -1]], ylim=up.edges[[0, -1]])
    ax.set_title(title, fontsize=10)
    return ax


def _score_colours(means: np.ndarray, rising: bool) -> Any:
    """Colours of scores, the better the brighter; what went astray does not take the range of the others."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    values = means[np.isfinite(means)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    if not rising and low > 0 and len(values):
        high = min(high, 3 * max(float(np.median(values)), low))
    wide = not rising and low > 0 and high > 10 * low
    return ScalarMappable((LogNorm if wide else Normalize)(low, high), "viridis" if rising else "viridis_r")


def _draw_cells(ax: Any, across: _Argument, up: _Argument, means: np.ndarray, failed: np.ndarray, colours: Any) -> None:
    from matplotlib.patches import Rectangle

    look = {"cmap": colours.cmap, "norm": colours.norm, "edgecolors": "white", "linewidth": 0.5}
    ax.pcolormesh(across.edges, up.edges, np.ma.masked_invalid(means), **look)
    for i, j in np.ndindex(means.shape):
        corner, width, height = _box(across, up, i, j)
        if failed[i, j]:
            hatch, face = ("..", "none") if np.isfinite(means[i, j]) else ("xxx", "0.93")
            ax.add_patch(Rectangle(corner, width, height, edgecolor="0.55", linewidth=0, hatch=hatch, facecolor=face))
        if means.size <= _FEW_CELLS:
            mean = float(means[i, j])
            dark = np.isfinite(mean) and np.dot(colours.to_rgba(mean)[:3], (0.299, 0.587, 0.114)) < 0.55
            text = _figure(mean) if np.isfinite(mean) else "failed" if failed[i, j] else "none"
            box = {"facecolor": "0.93", "edgecolor": "none", "pad": 1.5} if text == "failed" else None
            middle = {"ha": "center", "va": "center", "fontsize": 8, "color": "white" if dark else "black"}
            ax.text(across.places[j], up.places[i], text, bbox=box, **middle)


def _box(across: _Argument, up: _Argument, i: int, j: int) -> tuple[tuple[float, float], float, float]:
    """Corner, width and height of a cell."""
    left, right = across.edges[j : j + 2]
    bottom, top = up.edges[i : i + 2]
    return (left, bottom), right - left, top - bottom


def _frame(ax: Any, across: _Argument, up: _Argument, i: int, j: int) -> None:
    """A frame around the best cell, black on white so that it shows on every colour."""
    from matplotlib.patches import Rectangle

    for color, width in (("white", 5), ("black", 2.5)):
        ax.add_patch(
            Rectangle(
                *_box(across, up, i, j), facecolor="none", edgecolor=color, linewidth=width, zorder=4, clip_on=False
            )
        )


def _draw_points(
    ax: Any, across: _Argument, up: _Argument, means: np.ndarray, failed: np.ndarray, colours: Any
) -> None:
    i, j = np.nonzero(np.isfinite(means))
    look = {"c": means[i, j], "cmap": colours.cmap, "norm": colours.norm, "edgecolors": "0.3", "linewidths": 0.5}
    ax.scatter(across.places[j], up.places[i], s=70, **look, zorder=3)
    i, j = np.nonzero((failed > 0) & ~np.isfinite(means))
    if len(i):
        ax.plot(across.places[j], up.places[i], "x", color=_FAILED, label="failed", zorder=2)
        ax.legend(framealpha=0.85, edgecolor="none", fontsize=8)
