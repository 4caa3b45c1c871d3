"""The picture of a model as a graph of its layers."""

from __future__ import annotations

import itertools
import textwrap
from typing import NamedTuple

import jax
import numpy as np

from .._core.trees import resized
from .._core.types import PyTree
from ..inspection.layers import layer_of
from ..inspection.summary import Row, shape_cell, summary
from ..nn.containers import Sequential
from ..nn.graph import Origin, connections, leaf_names, source_name
from ..nn.layer import Layer, example_of
from ..nn.observe import call_name
from ..training.task import Task
from ._columns import Place, columns_of
from ._draw import COLORS, Axes, Style, lighten, one_axes

_LINE = 0.19  # height of a line of text in inches
_WIDEST = 34  # characters in a box


class _Box(NamedTuple):
    title: str
    lines: tuple[str, ...]
    color: str


def model(model: Layer | Task, x: PyTree, *, ax: Axes | None = None) -> Axes:
    """Draw a model as a graph: each call of a layer with its output shape and parameters, from inputs to outputs.

    Layers inside another one are listed in its box; a `Repeated` is one box, with "x n" after its layers. Nothing is
    computed.

    Args:
      model: a `Layer`, such as a `Model` or a `Sequential`, or a `Task`.
      x: an input batch (only its shape and dtype are read), or a shape without the batch, ``(28, 28, 1)``.
      ax: the axes to draw into, which are returned; default a new figure as large as the graph.

    Raises:
      InputError: as `fnn.summary`.
    """
    layer = layer_of("model", model)
    if layer.kind not in ("Sequential", "Model"):
        layer = Sequential(layer)  # one box
    x = example_of("model", x)
    boxes, edges = _graph(layer, x)
    columns, chains = columns_of(_levels(boxes, edges), edges)
    width = max(0.35 + 0.078 * max(len(text) for box in boxes.values() for text in (box.title, *box.lines)), 1.2)
    rows, places = _positions(columns, boxes, width)
    wide = max(abs(place[0]) for place in places.values()) + width / 2 + 0.15
    tall = rows[-1] + _height(columns[-1], boxes) / 2 + 0.15
    top = _height(columns[0], boxes) / 2 + 0.15
    ax = one_axes("model", ax, (2 * wide, tall + top))
    heights = [_height(column, boxes) for column in columns]
    for chain in chains.values():
        _draw_edge(ax, chain, places, boxes, heights)
    for key, box in boxes.items():
        _draw_box(ax, box, places[key], width)
    ax.set(xlim=(-wide, wide), ylim=(-tall, top))
    ax.set_axis_off()
    return ax


def _graph(layer: Layer, x: PyTree) -> tuple[dict[str, _Box], list[tuple[str, str]]]:
    """Boxes by key, and edges between them."""
    params, state = jax.eval_shape(layer.init, jax.random.key(0), x)
    rows = summary(layer, x).rows
    y = jax.eval_shape(lambda p, s, x: layer.apply(p, s, x)[0], params, state, x)
    starts, ends = _ends("x", x), _ends("y", y)
    top = {f"layer {call_name(row.path[0], row.call)}": _box_of(row, rows) for row in rows if len(row.path) == 1}
    boxes = {**starts, **top, **ends}
    if layer.kind != "Model":
        chain = list(top)
        edges = [(name, chain[0]) for name in starts] + list(itertools.pairwise(chain))
        return boxes, [*edges, *((chain[-1], end) for end in ends)]
    found, origins = connections(layer, params, state, resized(x, 2))
    targets = {f"layer {source_name(place)}": sources for place, sources in found.items() if len(place) == 1}
    targets |= zip(ends, origins, strict=True)
    return boxes, [(_key(source), target) for target, sources in targets.items() for source in sources]


def _ends(side: str, tree: PyTree) -> dict[str, _Box]:
    """The boxes of the inputs "x" or of the outputs "y"."""
    shapes = [shape_cell((None, *leaf.shape[1:])) for leaf in jax.tree.leaves(tree)]
    named = zip(leaf_names(side, tree), shapes, strict=True)
    return {f"{side} {name}": _Box(name, (shape,), "0.93") for name, shape in named}


def _key(source: Origin) -> str:
    """The key of a box. A layer may have the name of an input or an output."""
    return f"{'x' if isinstance(source, str) else 'layer'} {source_name(source)}"


def _box_of(row: Row, rows: tuple[Row, ...]) -> _Box:
    """The box of a layer: its kind or the layers inside it, its output shape and the number of its parameters."""
    inner = [other for other in rows if other.path[: len(row.path)] == row.path and other is not row and row.call == 1]
    count = row.params + sum(other.params for other in inner)
    shared = row.call > 1 and any(other.params for other in rows if other.path[: len(row.path)] == row.path)
    lines = [*textwrap.wrap(_kinds(row, inner), _WIDEST), shape_cell(row.output_shape)]
    if count or shared:
        lines.append("the same parameters" if shared else f"{count:,} parameters")
    return _Box(call_name(row.path[0], row.call), tuple(lines), COLORS[0] if count or shared else COLORS[4])


def _kinds(row: Row, inner: list[Row]) -> str:
    """The kind of a layer with those of the layers inside it: "Residual (LayerNorm, Dense) x 12" for a `Repeated`."""
    kind, times, count = row.kind.partition(" x ")
    listed: list[str] = []
    opened = {row.path}
    for other in inner:
        if other.path[:-1] in opened:
            if other.kind == "Sequential":
                opened.add(other.path)
            else:
                listed.append(other.kind)
    if not listed:
        return row.kind
    text = ", ".join(listed)
    if kind in ("Sequential", "Model"):
        return f"({text}){times}{count}" if times else text
    return f"{kind} ({text}){times}{count}"


def _levels(boxes: dict[str, _Box], edges: list[tuple[str, str]]) -> dict[str, int]:
    """The row of each box: below all that it is computed from. Boxes are in an order of computation."""
    level: dict[str, int] = {}
    for name in boxes:
        level[name] = 1 + max((level[source] for source, target in edges if target == name), default=-1)
    return level


def _height(column: list[Place], boxes: dict[str, _Box]) -> float:
    """The height of the tallest box of a row."""
    return max((0.12 + _LINE * (1 + len(boxes[key].lines)) for key in column if isinstance(key, str)), default=0.0)


def _positions(
    columns: list[list[Place]], boxes: dict[str, _Box], width: float
) -> tuple[list[float], dict[Place, np.ndarray]]:
    """The distance of each row from the top, and the centre of each place."""
    rows, places, y = list[float](), dict[Place, np.ndarray](), 0.0
    for i, column in enumerate(columns):
        if i:
            y += (_height(columns[i - 1], boxes) + _height(column, boxes)) / 2 + 0.42
        rows.append(y)
        sizes = [width + 0.3 if isinstance(key, str) else 0.5 for key in column]
        left = -sum(sizes) / 2
        for key, size in zip(column, sizes, strict=True):
            places[key] = np.array([left + size / 2, -y])
            left += size
    return rows, places


def _draw_edge(
    ax: Axes, chain: list[Place], places: dict[Place, np.ndarray], boxes: dict[str, _Box], heights: list[float]
) -> None:
    """The line of an edge, upright where it leaves, passes and enters a row."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    start, end = (places[key] for key in (chain[0], chain[-1]))
    points = [start - [0, _height([chain[0]], boxes) / 2]]
    for key in chain[1:-1]:
        half = np.array([0, heights[key[2]] / 2]) if isinstance(key, tuple) else np.zeros(2)
        points += [places[key] + half, places[key] - half]
    points.append(end + np.array([0, _height([chain[-1]], boxes) / 2 + 0.02]))
    vertices, codes = [points[0]], [Path.MOVETO]
    for a, b in itertools.pairwise(points):
        middle = (a[1] + b[1]) / 2
        vertices += [np.array([a[0], middle]), np.array([b[0], middle]), b]
        codes += [Path.CURVE4] * 3
    look: Style = {"color": "0.35", "linewidth": 1.3}
    ax.add_patch(FancyArrowPatch(path=Path(vertices, codes), arrowstyle="-|>", mutation_scale=9, **look))


def _draw_box(ax: Axes, box: _Box, centre: np.ndarray, width: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    height = 0.12 + _LINE * (1 + len(box.lines))
    x, y = centre
    face = box.color if box.color.startswith("0.") else lighten(box.color, 0.8)
    look: Style = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": face, "edgecolor": "0.35", "zorder": 2}
    ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, **look))
    start = y + height / 2 - 0.06 - _LINE / 2
    for i, text in enumerate((box.title, *box.lines)):
        weight = "bold" if i == 0 else "normal"
        ax.text(x, start - i * _LINE, text, ha="center", va="center", fontsize=9, fontweight=weight, zorder=3)
