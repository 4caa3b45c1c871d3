"""The picture of a plan: what each layer costs, and what the memory holds."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from .._core.errors import fail, kind_of
from .._core.tables import bytes_text, number_text
from ..placement.plan import Plan
from ._draw import COLORS, Axes, AxesArray, lighten, many_axes, write_title


def plan(plan: Plan, *, axes: ArrayLike | None = None) -> AxesArray:
    """Draw what a step costs in each layer, and what the memory of the device holds.

    Bars on the left are the compiler's cycles on a TPU, kernels on a GPU and else operations of products; those outside
    the layers, such as the update, are light. Nothing in it was measured.

    Args:
      plan: the result of `fnn.plan`.
      axes: two axes to draw into; default a new figure.

    Returns:
      The axes, an array of two.

    Raises:
      InputError: for anything but a `Plan`.
    """
    if not isinstance(plan, Plan):
        fail("plan", expected="a Plan from fnn.plan", got=kind_of(plan))
    rows = len(plan.rows)
    both = many_axes("plan", axes, 2, 2, (5.4, max(2.6, 0.9 + 0.3 * rows)))
    counted = "cycles" if plan.step.cycles else "kernels" if plan.device is not None else "operations"
    values = [getattr(row, counted) for row in plan.rows]
    shades = [lighten(COLORS[0], 0.6) if row.name.startswith("(") else COLORS[0] for row in plan.rows]
    _bars(both[0], [row.name for row in plan.rows], values, [number_text(value) for value in values], shades)
    where = "this machine" if plan.device is None else plan.device.kind
    time = f", about {plan.time_text}" if plan.time_text else ""
    write_title(both[0], f"{counted} of a step: {plan.batch_size:,} examples on {where}{time}", 10)
    parts = {name: size for name, size in plan.memory.items() if size}
    _bars(both[1], list(parts), list(parts.values()), list(map(bytes_text, parts.values())), [COLORS[2]] * len(parts))
    of = "" if plan.device is None else f" of {bytes_text(plan.device.memory)}"
    verdict = "" if plan.fits is not False else ": IT DOES NOT FIT"
    write_title(both[1], f"memory: {bytes_text(plan.bytes_needed)}{of}{verdict}", 10)
    return both


def _bars(
    ax: Axes, names: Sequence[str], values: Sequence[float], texts: Sequence[str], colors: Sequence[object]
) -> None:
    """Horizontal bars from the top, each with its value as text."""
    places = range(len(names))
    bars = ax.barh(places, values, color=colors, height=0.7)
    ax.bar_label(bars, texts, padding=3, fontsize=8)
    ax.set_yticks(places, names, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.25 * max([*values, 1e-9]))
    ax.set_xticks([])
    ax.spines[["top", "right", "bottom"]].set_visible(False)
