"""Nodes of a directed graph in columns, with lines that pass between them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

# A place in a column: a node by name, or (source, target, column) where a line passes through.
Place = str | tuple[str, str, int]


def columns_of(
    level: Mapping[str, int], edges: Sequence[tuple[str, str]]
) -> tuple[list[list[Place]], dict[tuple[str, str], list[Place]]]:
    """The places of each column, and for each edge the places of its line.

    ``level`` is the column of each node. A line that passes a column gets a place there, so that it crosses no node.
    """
    columns: list[list[Place]] = [[key for key in level if level[key] == i] for i in range(max(level.values()) + 1)]
    chains: dict[tuple[str, str], list[Place]] = {}
    for source, target in edges:
        passed = range(level[source] + 1, level[target])
        for i in passed:
            columns[i].append((source, target, i))
        chains[source, target] = [source, *((source, target, i) for i in passed), target]
    return _untangle(columns, [piece for chain in chains.values() for piece in itertools.pairwise(chain)]), chains


def _untangle(columns: list[list[Place]], pieces: list[tuple[Place, Place]]) -> list[list[Place]]:
    """Sort each column by the mean position of its neighbours, in alternating sweeps; keep the fewest crossings."""
    neighbours: dict[Place, list[Place]] = {}
    for left, right in pieces:
        neighbours.setdefault(left, []).append(right)
        neighbours.setdefault(right, []).append(left)

    def crossings(order: list[list[Place]]) -> int:
        place = {key: (i, j) for i, column in enumerate(order) for j, key in enumerate(column)}
        ends = [(place[left], place[right]) for left, right in pieces]
        return sum(
            (a[1] - c[1]) * (b[1] - d[1]) < 0 for k, (a, b) in enumerate(ends) for c, d in ends[:k] if a[0] == c[0]
        )

    best, fewest = columns, crossings(columns)
    order = [list(column) for column in columns]
    for sweep in range(8):
        step = 1 if sweep % 2 == 0 else -1
        for i in range(1, len(order)) if step == 1 else reversed(range(len(order) - 1)):
            beside = order[i - step]
            place = {key: j - (len(beside) - 1) / 2 for j, key in enumerate(beside)}

            def middle(key: Place, place: dict[Place, float] = place) -> float:
                seen = [place[other] for other in neighbours.get(key, ()) if other in place]
                return sum(seen) / len(seen) if seen else 0.0

            order[i].sort(key=middle)
        if (found := crossings(order)) < fewest:
            best, fewest = [list(column) for column in order], found
    return best
