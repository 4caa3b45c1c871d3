"""Pictures of threshold units and of their networks."""

from __future__ import annotations

import textwrap

import numpy as np

from .._core.errors import counted, fail, kind_of
from ..classic.logic import Formula, Node
from ..classic.units import Unit
from ._columns import columns_of
from ._draw import COLORS, Axes, Style, as_float64, grid_points, level_line, lighten, one_axes, write_title

_RADIUS = 0.34  # of a unit in a network
_ROW = 1.35  # distance between the units of a column


def unit(unit: Unit, *, ax: Axes | None = None) -> Axes:
    """Draw a threshold unit of one or two inputs: where it fires, and its outputs at the corners 0 and 1.

    Args:
      unit: a `classic.Unit`, which fires where the weighted sum reaches its ``threshold``.
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for another number of inputs.
    """
    weights, threshold = _weights_of(unit)
    ax = one_axes("unit", ax, (3.6, 3.4 if len(weights) == 2 else 1.6))
    low, high = -0.5, 1.5
    a, b, grid = grid_points((low, low), (high, high), 201)
    full = np.append(weights, 0.0)[:2]
    total = (grid.astype(np.float64) @ full - threshold).reshape(len(b), len(a))
    # Filling by the sign of the sum keeps the edge straight; the line is drawn on it.
    reach = max(np.abs(total).max(), 1.0) + 1
    ax.contourf(a, b, total, levels=[-reach, 0, reach], colors=[lighten(COLORS[0], 0.85), lighten(COLORS[1], 0.7)])
    level_line(ax, a, b, total, 0.0, colors="black", linewidths=1.8)
    corners = [(p, q) for p in (0.0, 1.0) for q in ((0.0, 1.0) if len(weights) == 2 else (0.5,))]
    for corner in corners:
        fires = np.dot(full[: len(weights)], corner[: len(weights)]) >= threshold
        fill, ink = ("black", "white") if fires else ("white", "black")
        ax.scatter(*corner, s=190, color=fill, edgecolor="black", zorder=3)
        text: Style = {"color": ink, "fontsize": 9, "fontweight": "bold", "ha": "center", "va": "center_baseline"}
        ax.text(*corner, "1" if fires else "0", **text, zorder=4)
    title = rf"fires where ${_sum_text(weights)} \geq {{{threshold:g}}}$"
    ax.set(title=title, xlabel="$x_1$", xlim=(low, high), ylim=(low, high))
    ax.set_xticks([0, 1])
    ax.set_yticks([0, 1] if len(weights) == 2 else [])
    if len(weights) == 2:
        ax.set_ylabel("$x_2$")
        ax.set_aspect("equal")
    return ax


def _weights_of(unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    """The weights, (1,) or (2,), and the threshold of a unit, checked to be finite."""
    if not hasattr(unit, "weights") or not hasattr(unit, "threshold"):
        fail("unit", expected="a threshold unit, such as fnn.classic.AND", got=repr(unit))
    weights = as_float64("unit", "weights", unit.weights).reshape(-1)
    threshold = as_float64("unit", "threshold", unit.threshold)
    if threshold.ndim or not np.isfinite([*weights, threshold]).all():
        fail("unit", expected="finite weights and one finite threshold", got=repr(unit))
    if len(weights) not in (1, 2):
        hint = "fnn.plot.network draws units of more inputs."
        fail("unit", expected="a threshold unit of one or two inputs", got=counted(len(weights), "weight"), hint=hint)
    return weights, threshold


def _sum_text(weights: np.ndarray) -> str:
    """A weighted sum as mathematics: 2 x_1 - x_2."""
    text = ""
    for i, weight in enumerate(weights):
        sign = "-" if weight < 0 else "+" if text else ""
        size = "" if abs(weight) == 1 else f"{abs(weight):g}\\,"
        text += f" {sign} {size}x_{i + 1}"
    return text.strip()


def network(formula: Formula, *, ax: Axes | None = None) -> Axes:
    """Draw the units of a logic formula: inputs on the left, the result on the right, weights on the lines.

    The number in a unit is its threshold, which the weighted sum must reach. Lines of negative weights are dashed.

    Args:
      formula: a `classic.Formula`.
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for a formula without units, or a unit whose inputs come after it.
    """
    from matplotlib.patches import FancyBboxPatch

    names, nodes = tuple(getattr(formula, "names", ())), tuple(getattr(formula, "nodes", ()))
    if not nodes:
        fail("network", expected="a formula of at least one unit", got=kind_of(formula))
    edges = [(source, node.name) for node in nodes for source in dict.fromkeys(node.inputs)]
    columns, chains = columns_of(_levels("network", names, nodes), edges)
    step = float(np.clip(0.085 * max(len(str(node.name)) for node in nodes) + 0.5, 1.9, 3.0))  # between columns
    positions = {
        key: (i * step, (len(column) - 1) / 2 * _ROW - j * _ROW)
        for i, column in enumerate(columns)
        for j, key in enumerate(column)
    }
    right, tall = step * (len(columns) - 0.5), max(map(len, columns))
    ax = one_axes("network", ax, (0.95 * (right + 0.7), 0.95 * (_ROW * tall + 0.15)))
    for node in nodes:
        for source in dict.fromkeys(node.inputs):
            _draw_line(ax, node, source, np.array([positions[key] for key in chains[source, node.name]]))
    look: Style = {"boxstyle": "round,pad=0.1", "facecolor": "0.93", "edgecolor": "0.4"}
    for name in names:
        x, y = positions[name]
        ax.add_patch(FancyBboxPatch((x - 0.22, y - 0.22), 0.44, 0.44, **look))
        ax.text(x, y, str(name), ha="center", va="center", fontsize=10 if len(str(name)) < 5 else 7, zorder=4)
    for node in nodes:
        _draw_unit(ax, node, positions[node.name], step, result=node is nodes[-1])
    height = (tall - 1) / 2 * _ROW
    ax.set(xlim=(-0.7, right), ylim=(-height - 0.75, height + 0.45))
    write_title(ax, str(getattr(formula, "text", "")))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _levels(where: str, names: tuple[str, ...], nodes: tuple[Node, ...]) -> dict[str, int]:
    """The column of each input (0) and unit (1 + that of its last input)."""
    level = dict.fromkeys(names, 0)
    for node in nodes:
        unknown = [name for name in node.inputs if name not in level]
        if unknown or not node.inputs:
            fail(where, expected=f"unit {node.name!r} to have inputs that come before it", got=str(unknown))
        if len(node.inputs) != np.size(node.unit.weights):
            got = f"{counted(len(node.inputs), 'input')} and {counted(np.size(node.unit.weights), 'weight')}"
            fail(where, expected=f"a weight for each input of unit {node.name!r}", got=got)
        level[node.name] = 1 + max(level[name] for name in node.inputs)
    return level


def _draw_line(ax: Axes, node: Node, source: str, points: np.ndarray) -> None:
    """The line from a source to a unit through ``points``, (places, 2), with its weights."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    pairs = zip(node.inputs, np.ravel(node.unit.weights), strict=True)
    weights = [float(weight) for name, weight in pairs if name == source]
    # From edge to edge, not from centre to centre.
    first, last = points[1] - points[0], points[-1] - points[-2]
    points[0] += first / np.hypot(*first) * (_RADIUS + 0.02)
    points[-1] -= last / np.hypot(*last) * (_RADIUS + 0.03)
    negative = sum(weights) < 0
    color = COLORS[1] if negative else COLORS[0]
    look: Style = {"color": color, "linestyle": (0, (4, 2)) if negative else "solid", "linewidth": 1.6}
    ax.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=11, **look))
    spot = points[0] + 0.28 * (points[1] - points[0])
    text = ", ".join(f"{weight:+g}".replace("-", "\u2212") for weight in weights)
    box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
    ax.text(spot[0], spot[1], text, color=color, ha="center", va="center", fontsize=9, bbox=box, zorder=3)


def _draw_unit(ax: Axes, node: Node, position: tuple[float, float], step: float, *, result: bool) -> None:
    """A circle with the threshold of a unit, bold for the result, and the unit's name below."""
    from matplotlib.patches import Circle

    x, y = position
    width = 2.4 if result else 1.4
    ax.add_patch(Circle((x, y), _RADIUS, facecolor="white", edgecolor="black", linewidth=width, zorder=2))
    threshold = f"\u2265 {float(node.unit.threshold):g}".replace("-", "\u2212")
    ax.text(x, y, threshold, ha="center", va="center", fontsize=9, zorder=4)
    label = textwrap.fill(str(node.name), max(12, int(step / 0.085)), break_long_words=False)
    ax.text(x, y - _RADIUS - 0.08, label, ha="center", va="top", fontsize=8, color="0.25", zorder=4)
