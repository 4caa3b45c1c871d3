"""Pictures of threshold units and of networks of them."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any

import numpy as np

from .._core.errors import fail
from ._draw import COLORS, grid_points, level_line, lighten, one_axes, plain_numbers


def _signed(number: float) -> str:
    """A weight with a sign, and a true minus."""
    return f"{number:+g}".replace("-", "\u2212")


def _sum_text(weights: np.ndarray) -> str:
    """A weighted sum as mathematics: 2 x_1 - x_2."""
    text = ""
    for i, weight in enumerate(weights):
        sign = "-" if weight < 0 else "+" if text else ""
        size = "" if abs(weight) == 1 else f"{abs(weight):g}\\,"
        text += f" {sign} {size}x_{i + 1}"
    return text.strip()


def unit(unit: Any, *, ax: Any = None) -> Any:
    """A threshold unit of one or two inputs: where it fires, and what it says at the corners 0 and 1.

    Args:
      unit: a `classic.Unit`: ``weights`` and ``threshold``; it fires where the weighted sum reaches the threshold.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for another number of inputs.
    """
    if not hasattr(unit, "weights") or not hasattr(unit, "threshold"):
        fail("unit", expected="a threshold unit, such as fnn.classic.AND", got=repr(unit))
    weights = plain_numbers("unit", "weights", unit.weights).reshape(-1)
    threshold = plain_numbers("unit", "threshold", unit.threshold)
    if threshold.ndim or not np.isfinite([*weights, threshold]).all():
        fail("unit", expected="finite weights and one finite threshold", got=repr(unit))
    if len(weights) not in (1, 2):
        hint = "Pictures of more are drawn by fnn.plot.network."
        fail("unit", expected="a threshold unit of one or two inputs", got=f"{len(weights)} weights", hint=hint)
    ax = one_axes("unit", ax, (3.6, 3.4 if len(weights) == 2 else 1.6))
    low, high = -0.5, 1.5
    a, b, grid = grid_points((low, low), (high, high), 201)
    full = np.append(weights, 0.0)[:2]
    total = (grid.astype(np.float64) @ full - threshold).reshape(len(b), len(a))
    # Filling by the sign of the sum keeps the edge straight; it is drawn again as a line.
    reach = max(np.abs(total).max(), 1.0) + 1
    ax.contourf(a, b, total, levels=[-reach, 0, reach], colors=[lighten(COLORS[0], 0.85), lighten(COLORS[1], 0.7)])
    level_line(ax, a, b, total, 0.0, colors="black", linewidths=1.8)
    corners = [(p, q) for p in (0.0, 1.0) for q in ((0.0, 1.0) if len(weights) == 2 else (0.5,))]
    for corner in corners:
        fires = np.dot(full[: len(weights)], corner[: len(weights)]) >= threshold
        style = {"color": "black" if fires else "white", "edgecolor": "black"}
        ax.scatter(*corner, s=190, **style, zorder=3)
        text = {"color": "white" if fires else "black", "fontsize": 9, "fontweight": "bold"}
        ax.text(*corner, "1" if fires else "0", ha="center", va="center_baseline", **text, zorder=4)
    ax.set(
        title=rf"fires where ${_sum_text(weights)} \geq {{{threshold:g}}}$",
        xlabel="$x_1$",
        xlim=(low, high),
        ylim=(low, high),
    )
    ax.set_xticks([0, 1])
    ax.set_yticks([0, 1] if len(weights) == 2 else [])
    if len(weights) == 2:
        ax.set_ylabel("$x_2$")
        ax.set_aspect("equal")
    return ax


def network(formula: Any, *, ax: Any = None) -> Any:
    """The units of a logic formula: inputs on the left, the result on the right, weights on the lines.

    The number in a unit is its threshold, which the weighted sum must reach. Lines of negative weights are dashed.

    Args:
      formula: a `classic.Formula`: ``text``, ``names`` of the inputs, and ``nodes``, each with ``name``, ``unit`` and
        the names of its ``inputs``.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for a formula without units, or a unit whose inputs come after it.
    """
    where = "network"
    names, nodes = tuple(getattr(formula, "names", ())), tuple(getattr(formula, "nodes", ()))
    if not nodes:
        fail(where, expected="a formula of at least one unit", got=type(formula).__name__)
    level: dict[Any, int] = dict.fromkeys(names, 0)
    for node in nodes:
        unknown = [name for name in node.inputs if name not in level]
        if unknown or not node.inputs:
            fail(where, expected=f"unit {node.name!r} to have inputs that come before it", got=str(unknown))
        if len(node.inputs) != np.size(node.unit.weights):
            got = f"{len(node.inputs)} inputs and {np.size(node.unit.weights)} weights"
            fail(where, expected=f"a weight for each input of unit {node.name!r}", got=got)
        level[node.name] = 1 + max(level[name] for name in node.inputs)

    # A line that passes over columns gets a free place in each of them, so that it does not cross a unit.
    columns: list[list[Any]] = [[key for key in level if level[key] == i] for i in range(max(level.values()) + 1)]
    chains: dict[tuple[str, str], list[Any]] = {}
    for node in nodes:
        for source in dict.fromkeys(node.inputs):
            between = [(source, node.name, i) for i in range(level[source] + 1, level[node.name])]
            for place in between:
                columns[place[2]].append(place)
            chains[source, node.name] = [source, *between, node.name]
    pieces = [piece for chain in chains.values() for piece in itertools.pairwise(chain)]
    columns = _untangle(columns, pieces)

    wide = max(len(str(node.name)) for node in nodes)
    step = float(np.clip(0.085 * wide + 0.5, 1.9, 3.0))
    at = {
        key: (i * step, (len(column) - 1) / 2 * 1.35 - j * 1.35)
        for i, column in enumerate(columns)
        for j, key in enumerate(column)
    }
    tall = max(len(column) for column in columns)
    ax = one_axes(where, ax, (0.95 * (step * (len(columns) - 0.5) + 0.7), 0.95 * (1.35 * tall + 0.15)))
    from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path

    radius = 0.34
    for node in nodes:
        for source in dict.fromkeys(node.inputs):
            weights = [
                float(w) for name, w in zip(node.inputs, np.ravel(node.unit.weights), strict=True) if name == source
            ]
            points = np.array([at[key] for key in chains[source, node.name]])
            # From edge to edge, not from middle to middle.
            first, last = points[1] - points[0], points[-1] - points[-2]
            points[0] += first / np.hypot(*first) * (radius + 0.02)
            points[-1] -= last / np.hypot(*last) * (radius + 0.03)
            down = sum(weights) < 0
            style: dict[str, Any] = {
                "color": COLORS[1] if down else COLORS[0],
                "linestyle": (0, (4, 2)) if down else "solid",
            }
            ax.add_patch(
                FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=11, linewidth=1.6, **style)
            )
            spot = points[0] + 0.28 * (points[1] - points[0])
            text = ", ".join(_signed(w) for w in weights)
            box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
            ax.text(*spot, text, color=style["color"], ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    for name in names:
        x, y = at[name]
        square = FancyBboxPatch(
            (x - 0.22, y - 0.22), 0.44, 0.44, boxstyle="round,pad=0.1", facecolor="0.93", edgecolor="0.4"
        )
        ax.add_patch(square)
        ax.text(x, y, str(name), ha="center", va="center", fontsize=10 if len(str(name)) < 5 else 7, zorder=4)
    for node in nodes:
        x, y = at[node.name]
        result = node is nodes[-1]
        ax.add_patch(
            Circle((x, y), radius, facecolor="white", edgecolor="black", linewidth=2.4 if result else 1.4, zorder=2)
        )
        ax.text(
            x,
            y,
            f"\u2265 {float(node.unit.threshold):g}".replace("-", "\u2212"),
            ha="center",
            va="center",
            fontsize=9,
            zorder=4,
        )
        label = textwrap.fill(str(node.name), max(12, int(step / 0.085)), break_long_words=False)
        ax.text(x, y - radius - 0.08, label, ha="center", va="top", fontsize=8, color="0.25", zorder=4)
    ax.set(
        title=str(getattr(formula, "text", "")),
        xlim=(-0.7, step * (len(columns) - 0.5)),
        ylim=(-(tall - 1) / 2 * 1.35 - 0.75, (tall - 1) / 2 * 1.35 + 0.45),
    )
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _untangle(columns: list[list[Any]], pieces: list[tuple[Any, Any]]) -> list[list[Any]]:
    """Order each column by the middle of its neighbours, to and fro, and keep the order with the fewest crossings."""
    neighbours: dict[Any, list[Any]] = {}
    for left, right in pieces:
        neighbours.setdefault(left, []).append(right)
        neighbours.setdefault(right, []).append(left)

    def crossings(order: list[list[Any]]) -> int:
        place = {key: (i, j) for i, column in enumerate(order) for j, key in enumerate(column)}
        ends = [(place[left], place[right]) for left, right in pieces]
        return sum(
            (a[1] - c[1]) * (b[1] - d[1]) < 0 for k, (a, b) in enumerate(ends) for c, d in ends[:k] if a[0] == c[0]
        )

    best, fewest = columns, crossings(columns)
    order = [list(column) for column in columns]
    for sweep in range(8):
        for i in range(len(order)) if sweep % 2 == 0 else reversed(range(len(order))):
            beside = order[i - 1] if sweep % 2 == 0 and i else order[i + 1] if sweep % 2 and i + 1 < len(order) else []
            place = {key: j - (len(beside) - 1) / 2 for j, key in enumerate(beside)}

            def middle(key: Any, place: dict[Any, float] = place) -> float:
                seen = [place[other] for other in neighbours.get(key, ()) if other in place]
                return sum(seen) / len(seen) if seen else 0.0

            if beside:
                order[i].sort(key=middle)
        if (found := crossings(order)) < fewest:
            best, fewest = [list(column) for column in order], found
    return best
