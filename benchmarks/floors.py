"""How long a training step takes at least on the machine of a run, in three parts, from the run's record."""

from __future__ import annotations

from typing import Any, NamedTuple

from workloads import Workload

FACTS = ("operations", "calls", "batch_bytes", "data_bytes", "moved_bytes", "held_bytes")


class Part(NamedTuple):
    """A part of a floor: milliseconds, and the amount and speed that they follow from, in words."""

    ms: float
    said: str


class Floor(NamedTuple):
    """The parts of a floor. Their sum takes them to follow each other; a step that overlaps them can be below it."""

    operations: Part
    memory: Part
    calls: Part

    @property
    def ms(self) -> float:
        """The sum of the parts."""
        return sum(part.ms for part in self)


def facts(workload: Workload) -> dict[str, int]:
    """The numbers of a workload that its floor follows from."""
    return {name: getattr(workload, name) for name in FACTS}


def limits(record: dict[str, Any]) -> dict[str, Any] | None:
    """The best of the limits at the beginning and the end of a run; None where none were measured."""
    found = [value for key, value in record["machine"].items() if key.startswith("limits at") and value]
    if not found:
        return None
    return {
        "gflops": max(each["gflops"] for each in found),
        "memory": {int(size): max(each["memory"][size] for each in found) for size in found[0]["memory"]},
        "call us": min(each["call us"] for each in found),
    }


def memory_speed(speeds: dict[int, float], size: int) -> float:
    """GB/s for arrays of ``size`` bytes together: the best that was measured at this size or a larger one.

    Sizes in between count as the next smaller one that was measured, whose speed is not exceeded.
    """
    smaller = max((known for known in speeds if known <= size), default=min(speeds))
    return max(speed for known, speed in speeds.items() if known >= smaller)


def floor(record: dict[str, Any], workload: str) -> Floor | None:
    """The floor of a workload; None in a record without limits."""
    known, about = limits(record), record["workloads"][workload]
    if known is None or "calls" not in about:
        return None
    read, moved = about["batch_bytes"], about["moved_bytes"]
    data, held = (memory_speed(known["memory"], about[key]) for key in ("data_bytes", "held_bytes"))
    return Floor(
        Part(
            about["operations"] / known["gflops"] / 1e6,
            f"{about['operations'] / 1e6:,.1f} million at {known['gflops']:,.0f} GFLOP/s",
        ),
        Part(
            (read / data + moved / held) / 1e6,
            f"{moved / 1e6:,.2f} MB at {held:,.0f} GB/s, the speed for {_size(about['held_bytes'])}, "
            f"and a batch of {read / 1e6:,.2f} MB at {data:,.0f} GB/s, that for {_size(about['data_bytes'])} of data",
        ),
        Part(about["calls"] * known["call us"] / 1e3, f"{about['calls']} at {known['call us']:.2f} microseconds"),
    )


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
