"""Readers of compiled programs, as the text in XLA's HLO that ``compiled.as_text()`` gives.

The text differs between versions and platforms. A line that cannot be read is left out, and an unknown operation counts
as any other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_BITS = {"pred": 8, "token": 0, "c64": 64, "c128": 128}
# Operations that only name, hold or await other values.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "partition-id",
    "replica-id",
    "opt-barrier",
    "optimization-barrier",
}
# Operations in which devices exchange values.
COLLECTIVES = {"all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"}
_SLICING = {"dynamic-slice", "gather", "slice"}


class Operation(NamedTuple):
    """One operation of a compiled program.

    Attributes:
      name, kind: such as "fusion.3" and "fusion".
      size: bytes of its result.
      far: those of them that lie in main memory; a TPU's compiler keeps others in on-chip memory.
      operands: names of operations in the same computation.
      scope: the names under which it was traced, with "/" between them; empty if XLA made it.
      cycles: the compiler's estimate, for a TPU; else None.
      rounds: of a loop, if the compiler reports them; else None.
      inside: names of computations that it runs; of a loop, its condition and its body.
      value: of an integer constant, or the number of a parameter; else None.
      channel: of an operation in which devices exchange values, its number; else None.
    """

    name: str
    kind: str
    size: int
    far: int
    operands: tuple[str, ...]
    scope: str
    cycles: int | None
    rounds: int | None
    inside: tuple[str, ...]
    value: int | None
    channel: int | None = None


class HloProgram(NamedTuple):
    """A compiled program: its computations by name, and which of them runs first."""

    computations: dict[str, dict[str, Operation]]
    entry: str

    def running(self, computation: str, times: float = 1.0) -> Iterator[tuple[str, Operation, float]]:
        """What runs when a computation does: each operation, the computation that holds it, and how often it runs.

        A loop of unknown length counts as one round; of alternatives, the one with the most operations counts.
        """
        for operation in self.computations.get(computation, {}).values():
            if operation.kind == "while":
                yield from self.running(operation.inside[-1], times * self._rounds(operation))
            elif operation.kind == "conditional":
                branches = [list(self.running(inside, times)) for inside in operation.inside]
                yield from max(branches, key=len, default=[])
            elif operation.kind in ("call", "async-start") and operation.inside:
                yield from self.running(operation.inside[0], times)
            elif operation.kind not in _FREE and not operation.kind.endswith(("-done", "-update")):
                yield computation, operation, times

    def _rounds(self, loop: Operation) -> int:
        """The rounds of a loop: as the compiler reports, or the constant that ends a count from 0; 1 if unknown."""
        if loop.rounds is not None:
            return loop.rounds
        condition = self.computations.get(loop.inside[0], {}).values()
        ends = {one.value for one in condition if one.kind == "constant" and one.value is not None}
        return max(ends.pop(), 1) if len(ends) == 1 else 1

    def largest_loop(self) -> str:
        """The body of the outermost loop with the most operations; the entry if there is no loop."""
        loops = [one.inside[-1] for one in self._outermost(self.entry)]
        return max(loops, key=lambda body: sum(1 for _ in self.running(body)), default=self.entry)

    def _outermost(self, computation: str) -> Iterator[Operation]:
        for operation in self.computations.get(computation, {}).values():
            if operation.kind == "while":
                yield operation
            elif operation.kind in ("call", "conditional"):
                for inside in operation.inside:
                    yield from self._outermost(inside)

    def exchanges(self, computation: str) -> Iterator[tuple[str, int, float]]:
        """What devices exchange when a computation runs: the kind of operation, bytes of its result, and how often."""
        seen = set[tuple[str, int | None]]()
        for place, one, times in self.running(computation):
            # A TPU's compiler puts them into fusions, and those that overlap with others into several of them.
            inner = self.computations.get(one.inside[0], {}).values() if one.kind == "fusion" and one.inside else ()
            for found in (one, *inner):
                kind = found.kind.removesuffix("-start")
                if kind not in COLLECTIVES or (found.channel is not None and (kind, found.channel) in seen):
                    continue
                seen.add((kind, found.channel))
                if found is not one and "reduce-scatter" in one.inside[0]:
                    yield "reduce-scatter", one.size, times
                else:
                    around = self.computations[place] if found is one else {}
                    ends = [other for other in around.values() if other.kind == f"{kind}-done"]
                    results = [other.size for other in ends if found.name in other.operands]
                    yield kind, min([found.size, *results]), times

    def traffic(self, computation: str, operation: Operation) -> int:
        """Bytes of main memory that an operation reads and writes; of an operand that it slices, only the slices."""
        around = self.computations[computation]
        read = [around[name].far if name in around else 0 for name in operation.operands]
        written = operation.far
        if operation.kind == "copy-start":  # whose result holds the source as well
            return 2 * sum(read) if operation.far >= 2 * sum(read) else sum(read)
        if operation.kind in _SLICING:
            return 2 * written
        if operation.kind == "dynamic-update-slice":
            return 2 * (read[1] if len(read) > 1 else written)
        if operation.kind == "fusion" and operation.inside:
            read, updated = self._fused(operation.inside[0], read)
            written = written if updated is None else updated
        return sum(read) + written

    def _fused(self, computation: str, read: list[int]) -> tuple[list[int], int | None]:
        """Bytes read of each operand of a fusion; and bytes written, if it updates part of one in place."""
        body = self.computations.get(computation, {})
        # In the order of their numbers, which is that of the operands; the text has them in another one.
        numbers = {one.value: name for name, one in body.items() if one.kind == "parameter"}
        updated = None
        for i in range(len(read)):
            name = numbers.get(i, "")
            users = [one for one in body.values() if name in one.operands]
            if users and all(one.kind in _SLICING and one.operands[0] == name for one in users):
                read[i] = min(read[i], sum(one.size for one in users))
            elif users and all(one.kind == "dynamic-update-slice" and one.operands[0] == name for one in users):
                sizes = [body[one.operands[1]].size for one in users if one.operands[1] in body]
                read[i], updated = 0, sum(sizes)
        return read, updated


def read_program(text: str) -> HloProgram:
    """Read the text of a compiled program."""
    computations: dict[str, dict[str, Operation]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if (head := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line.rstrip())) is not None:
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (operation := _operation(line)) is not None:
            current[operation.name] = operation
    return HloProgram(computations, entry)


def _operation(line: str) -> Operation | None:
    head = re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*)", line)
    if head is None:
        return None
    kind = re.search(r"(?:^|[\s)}\]])([a-z][\w\-]*)\(", head[2])
    if kind is None:
        return None
    result, rest = head[2][: kind.start(1)], head[2][kind.end() :]
    end = _closing(rest)
    operands, attributes = rest[:end], rest[end:]
    scope = re.search(r'op_name="([^"]*)"', attributes)
    cycles = re.search(r'"estimated_cycles":"(\d+)"', attributes)
    channel = re.search(r"channel_id=(\d+)", attributes)
    rounds = re.search(r'"known_trip_count":\{"n":"(\d+)"', attributes)
    return Operation(
        head[1],
        kind[1],
        _size(result),
        _size(re.sub(r"\[[\d,<=]*\]\{[^}]*S\(\d\)\}", "[0]", result)),
        tuple(re.findall(r"%([\w.\-]+)", operands)),
        scope[1] if scope else "",
        int(cycles[1]) if cycles else None,
        int(rounds[1]) if rounds else None,
        _inside(attributes),
        int(operands) if kind[1] in ("constant", "parameter") and re.fullmatch(r"-?\d+", operands) else None,
        int(channel[1]) if channel else None,
    )


def _closing(text: str) -> int:
    """The position of the bracket that closes one opened before the text."""
    depth = 1
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return i
    return len(text)


def _inside(attributes: str) -> tuple[str, ...]:
    """The computations of an operation; a loop's body is the last."""
    found = re.findall(r"(?:condition|to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)", attributes)
    for several in re.findall(r"(?:branch_computations|called_computations)=\{([^}]*)\}", attributes):
        found += re.findall(r"%?([\w.\-]+)", several)
    return (*found, *re.findall(r"body=%?([\w.\-]+)", attributes))


def _size(result: str) -> int:
    """Bytes of a type such as ``f32[64,10]{1,0}`` or a tuple of such."""
    size = 0.0
    for kind, dimensions in re.findall(r"([a-z]\w*)\[([\d,<=]*)\]", result):
        bits = _BITS.get(kind)
        if bits is None:
            number = re.search(r"\d+", kind)
            bits = int(number[0]) if number else 0
        size += bits / 8 * math.prod(int(n) for n in re.findall(r"\d+", dimensions))
    return int(size)
