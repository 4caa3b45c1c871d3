"""Pictures of uncertainty: reliability curves of probabilities and coverage, and prediction intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from .._core.checks import check_count
from .._core.errors import describe, fail, kind_of
from ..metrics.calibration import CoverageCurve, Reliability
from ._draw import COLORS, RIGHT, WRONG, Axes, Style, as_float64, lighten, line_style, one_axes
from ._legend import Corner, place_legend

_FEW = 10  # a bin with fewer examples says little: the standard error of a fraction near 0.5 is then above 0.16


def reliability(
    curves: Reliability | CoverageCurve | Mapping[str, Reliability | CoverageCurve], *, ax: Axes | None = None
) -> Axes:
    """Draw predicted against observed frequencies, with the diagonal of perfect calibration.

    A curve below the diagonal is overconfident, one above it underconfident. Bars show the share of the examples in
    each bin; a bin of fewer than ten is a small open mark beside the line. The legend gives the mean distance from the
    diagonal: for classes the expected calibration error (ECE), for intervals the mean error of coverage.

    Args:
      curves: the result of `fnn.metrics.reliability` (classes) or `fnn.metrics.coverage_curve` (intervals of a
        regression), or several of one kind by name, e.g. of a single network and of an ensemble.
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for anything but curves, or both kinds in one picture.

    >>> import fnn
    >>> curve = fnn.metrics.reliability([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], [0, 1, 0])
    >>> ax = reliability({"one network": curve})
    >>> ax.get_xlabel(), ax.get_legend().get_texts()[1].get_text()
    ('confidence', 'one network: ECE 0.333')
    """
    by_name = dict(curves) if isinstance(curves, Mapping) else {"": curves}
    kinds = {type(curve) for curve in by_name.values()}
    if len(kinds) != 1 or not kinds <= {Reliability, CoverageCurve}:
        got = " and ".join(sorted({kind_of(curve) for curve in by_name.values()})) or "an empty dict"
        hint = "Make them with fnn.metrics.reliability(probabilities, y) or fnn.metrics.coverage_curve."
        fail("reliability", expected="curves of one kind, Reliability or CoverageCurve", got=got, hint=hint)
    classes = kinds == {Reliability}
    ax = one_axes("reliability", ax, (4.6, 4.4))
    ax.plot([0, 1], [0, 1], color="0.55", linestyle="--", linewidth=1, label="perfect calibration", zorder=0.5)
    for i, (name, curve) in enumerate(by_name.items()):
        claimed, true = (np.asarray(a, np.float64) for a in curve[:2])
        error = float(curve.error)
        text = f"ECE {error:.3f}" if classes else f"off by {error:.3f}"
        style, drawn = line_style(i), np.ones(claimed.shape, bool)
        if classes:
            counts = np.asarray(curve[2])
            # Light bars: the share of the examples in each bin, with counts if there is one curve.
            bins, width = len(counts), 0.9 / len(counts) / len(by_name)
            places = (np.arange(bins) + 0.5) / bins + width * (i - (len(by_name) - 1) / 2)
            look: Style = {"color": lighten(style["color"], 0.75), "label": "" if i else "share of the examples"}
            bars = ax.bar(places, counts / max(counts.sum(), 1), width, **look, zorder=1)
            if len(by_name) == 1 and bins <= 15:
                ax.bar_label(bars, [f"{n:,}" if n else "" for n in counts], padding=1, fontsize=7, color="0.35")
            drawn = counts >= _FEW
            few = (counts > 0) & ~drawn
            open_mark: Style = {"marker": style["marker"], "edgecolor": style["color"], "facecolor": "white", "s": 14}
            ax.scatter(claimed[few], true[few], **open_mark, zorder=2, clip_on=False)
        label = f"{name}: {text}" if name else text
        ax.plot(claimed[drawn], true[drawn], **style, markersize=5, label=label, zorder=3, clip_on=False)
    names = ("confidence", "accuracy") if classes else ("nominal coverage", "observed coverage")
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel=names[0], ylabel=names[1], aspect="equal")
    ax.set_title("reliability" if classes else "coverage of intervals")
    # Bars are usually on the right, and the lower right is free in a coverage curve near the diagonal.
    first: tuple[Corner, Corner] = ("upper left", "lower right") if classes else ("lower right", "upper left")
    place_legend(ax, corners=(*first, "lower left"))
    return ax


def intervals(
    low: ArrayLike,
    high: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    mean: ArrayLike | None = None,
    x: ArrayLike | None = None,
    most: int = 120,
    ax: Axes | None = None,
) -> Axes:
    """Draw intervals with the targets, in order of the predictions, or along ``x`` for problems with one input.

    A target outside its interval is a red cross, one inside a green dot. The title counts all rows, including those
    that are not drawn. Without targets, such as over a grid of ``x``, only the intervals are drawn.

    Args:
      low, high: (rows,) or (rows, 1), the ends, e.g. ``*predictions.interval(0.9)``.
      targets: (rows,) or (rows, 1), the true values, if known.
      mean: (rows,) or (rows, 1), the predictions; default the middle.
      x: (rows,) or (rows, 1), the positions of the rows; default their rank by ``mean``.
      most: the largest number of rows to draw, evenly spaced among all; default 120. With ``x`` all are drawn.
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for lengths that differ, several numbers in a row, or ends in the wrong order.

    >>> ax = intervals([0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [1.0, 3.5, 2.5])
    >>> ax.get_title()
    '2 of 3 rows inside (66.7 %)'
    """
    where = "intervals"
    check_count(where, "most", most)
    given = {"low": low, "high": high, "targets": targets, "mean": mean, "x": x}
    columns = {name: _column(where, name, value) for name, value in given.items() if value is not None}
    if len({len(column) for column in columns.values()}) > 1:
        got = ", ".join(f"{name}: {len(column)}" for name, column in columns.items())
        fail(where, expected="columns of the same length", got=got)
    bottom, top = columns["low"], columns["high"]
    if not (bottom <= top).all():
        got = f"low > high in {int((~(bottom <= top)).sum())} of {len(bottom)}"
        fail(where, expected="low <= high in every row", got=got)
    middle = columns.get("mean", (bottom + top) / 2)
    ax = one_axes(where, ax, (6.4, 3.6))
    if "x" in columns:
        order = np.argsort(columns["x"], kind="stable")
        place = columns["x"][order]
        ax.fill_between(place, bottom[order], top[order], color=lighten(COLORS[0], 0.7), linewidth=0, label="interval")
        ax.plot(place, middle[order], color=COLORS[0], linewidth=1.6, label="prediction")
        ax.set_xlabel("x")
    else:
        order = np.argsort(middle, kind="stable")
        order = order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))]
        place = np.arange(len(order))
        light = lighten(COLORS[0], 0.55)
        ax.vlines(place, bottom[order], top[order], color=light, linewidth=1.8, label="interval", zorder=1)
        ax.scatter(place, middle[order], marker="_", s=20, color=COLORS[0], label="prediction", zorder=2)
        some = f"{len(order)} of {len(middle):,} rows" if len(order) < len(middle) else "rows"
        ax.set_xlabel(f"{some}, by prediction")
        ax.set_xticks([])
    ax.set_ylabel("target")
    if "targets" in columns:
        truth = columns["targets"]
        inside = (bottom <= truth) & (truth <= top)
        hit, shown = inside[order], truth[order]
        ax.scatter(place[hit], shown[hit], s=11, color=RIGHT, label="truth inside", zorder=3)
        ax.scatter(place[~hit], shown[~hit], s=26, color=WRONG, marker="x", label="truth outside", zorder=4)
        ax.set_title(f"{int(inside.sum()):,} of {len(inside):,} rows inside ({100 * inside.mean():.1f} %)")
    place_legend(ax)
    return ax


def _column(where: str, name: str, values: ArrayLike) -> np.ndarray:
    """One number per row, (rows,)."""
    array = as_float64(where, name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.size == 0:
        hint = "Select one: low[:, 0]." if array.ndim == 2 and array.size else ""
        fail(where, expected=f"{name} of shape (rows,) or (rows, 1)", got=describe(array), hint=hint)
    return array
