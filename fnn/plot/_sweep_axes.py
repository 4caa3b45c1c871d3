"""The arguments of a sweep as axes, the scores of its trials, and ticks and texts for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from .._core.errors import counted, fail, kind_of
from ..training.stopping import is_rising
from ..trials.results import Sweep, check_known
from ._draw import Axes, Axis, Style, tick_tilt

FEW_TICKS = 12  # an axis with more values gets fewer ticks


class Argument(NamedTuple):
    """A swept argument as an axis."""

    name: str
    values: list[Any]  # the different ones, numbers in rising order, text in order of appearance
    numeric: bool  # whether all values are finite numbers
    scale: str  # "log" or "linear" for numbers, "index" for equal distances
    places: np.ndarray  # (values,) positions on the axis
    edges: np.ndarray  # (values + 1,) boundaries between the cells
    rows: np.ndarray  # (trials,) index of each trial's value

    def tick_step(self) -> int:
        """Distance between labelled values."""
        return -(-len(self.values) // FEW_TICKS)

    def text(self, row: int) -> str:
        """The argument with one of its values, such as ``rate=0.1``."""
        return f"{self.name}={value_text(self.values[row])}"


def argument_of(found: Sweep, name: str) -> Argument:
    """A swept argument with its distinct values and their places on an axis."""
    column = found.column(name)
    values = list(dict.fromkeys(column))
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) and np.isfinite(v) for v in values)
    if numeric:
        values = sorted(values)
    scale, places, edges = _most_even_scale(values) if numeric else ("index", *_even(len(values)))
    return Argument(name, values, numeric, scale, places, edges, np.array([values.index(value) for value in column]))


def _even(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and edges at equal distances."""
    return np.arange(count, dtype=float), np.arange(count + 1) - 0.5


def _unevenness(places: np.ndarray) -> float:
    return float(np.diff(places).max() / np.diff(places).min())


def _most_even_scale(values: Sequence[float]) -> tuple[str, np.ndarray, np.ndarray]:
    """The scale on which the values are most evenly spaced, their places, and the edges between them."""
    linear = np.asarray(values, float)
    if len(linear) == 1:
        return ("index", *_even(1))
    scale, scaled = "linear", linear
    if linear[0] > 0:
        log = np.log(linear)
        # Two values are always evenly spaced; their ratio decides.
        if linear[1] >= 5 * linear[0] if len(linear) == 2 else _unevenness(log) < _unevenness(linear):
            scale, scaled = "log", log
    if _unevenness(scaled) > 4 and len(linear) <= FEW_TICKS:  # such as 0, 0.0001, 0.001, 0.01
        return ("index", *_even(len(linear)))
    middle = (scaled[1:] + scaled[:-1]) / 2
    edges = np.concatenate([[2 * scaled[0] - middle[0]], middle, [2 * scaled[-1] - middle[-1]]])
    return scale, linear, np.exp(edges) if scale == "log" else edges


def choose_arguments(where: str, found: Sweep, names: Sequence[str | None], least: int) -> list[Argument]:
    """The named arguments; each None stands for the next argument that varies: floats, then integers, then text."""
    given = [name for name in names if name is not None]
    for name in given:
        check_known("a swept argument", name, found.configs[0], where=where)
    if len(set(given)) < len(given):
        fail(where, expected="two different arguments", got=repr(given))
    varied = [argument_of(found, name) for name in found.configs[0] if name not in given]
    rest = iter(sorted((argument for argument in varied if len(argument.values) > 1), key=_rank))
    chosen = [argument_of(found, name) if name is not None else next(rest, None) for name in names]
    present = [argument for argument in chosen if argument is not None]
    if len(present) < least:
        hint = "fnn.plot.sweep_line draws one." if least == 2 and present else ""
        got = f"{len(present)} in {list(found.configs[0])}"
        fail(where, expected=f"{counted(least, 'argument')} with several values", got=got, hint=hint)
    return present


def _rank(argument: Argument) -> int:
    """Sort key: floats, integers, text, and last the values that have no name, such as keys."""
    if not argument.numeric:
        return 3 if any(" #" in str(value) or str(value).startswith("key ") for value in argument.values) else 2
    return 0 if any(isinstance(value, float) for value in argument.values) else 1


def other_arguments(found: Sweep, *shown: str) -> str:
    """The arguments that vary and are not shown, with "and" before the last; "" if there are none."""
    names = [name for name in found.configs[0] if name not in shown and len(set(found.column(name))) > 1]
    return " and ".join(", ".join(names).rsplit(", ", 1))


def scores_of(where: str, found: Sweep, metric: str | None, mode: str | None) -> tuple[str, np.ndarray, bool]:
    """The name of the metric, its value for each trial (NaN for failed ones), and whether more is better."""
    if not isinstance(found, Sweep):
        fail(where, expected="the result of fnn.sweep", got=kind_of(found))
    if metric is None or metric == found.monitor:
        name, values = found.monitor, found.scores
    else:
        known = dict.fromkeys(name for history in found.histories for name in history if name != "epoch")
        check_known("a metric of the sweep", metric, known, where=where)
        name, values = metric, np.asarray(found.column(metric), float)
    # A metric has the same direction in training and validation.
    same = mode is None and name.removeprefix("val_") == found.monitor.removeprefix("val_")
    rising = found.rising if same else is_rising(where, name, mode, found.histories[0])
    return name, np.where(found.failed, np.nan, values), rising


def best_of(means: np.ndarray, failed: np.ndarray, rising: bool) -> int:
    """Index of the best mean; values with a failed trial count only if every value has one."""
    without_failures = np.where(failed > 0, np.nan, means)
    ranked = without_failures if np.isfinite(without_failures).any() else means
    return int(np.nanargmax(ranked) if rising else np.nanargmin(ranked))


def count_text(found: Sweep) -> str:
    """The number of trials, and of those that failed."""
    failed = int(found.failed.sum())
    return counted(len(found.configs), "trial") + (f", {failed} failed" if failed else "")


def value_text(value: object) -> str:
    """A value of an argument in four digits."""
    if isinstance(value, float):
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(value)


def score_text(value: float) -> str:
    """A score in three digits."""
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


def mark_axis(ax: Axes, side: Literal["x", "y"], argument: Argument, room: int) -> None:
    """Label an axis with its argument, with a tick at each value if there are few."""
    scale: Style = {} if argument.scale == "index" else {f"{side}scale": argument.scale}
    ax.set(**{f"{side}label": argument.name}, **scale)
    axis: Axis = ax.xaxis if side == "x" else ax.yaxis
    labels = [value_text(value) for value in argument.values]
    if len(labels) > FEW_TICKS:
        if argument.scale == "log":
            mark_decades(axis)
        if argument.scale != "index":
            return
        labels = [label if i % argument.tick_step() == 0 else "" for i, label in enumerate(labels)]
    axis.set_ticks(argument.places, labels, **(tick_tilt(labels, room) if side == "x" else {}))
    axis.set_ticks([], minor=True)


def mark_decades(axis: Axis) -> None:
    """Label a logarithmic axis at powers of ten, and between them where it spans few."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: value_text(float(value)))
