"""What a training step needs and costs on a device, as its compiler says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh

from .._core.checks import check_count
from .._core.errors import fail
from .._core.flags import flagged
from .._core.jaxprs import products_by_scope
from .._core.sharding import Placement, parse_placement
from .._core.tables import Table, bytes_text, number_text, table_lines
from .._core.trees import bytes_of, resized, shape_of
from .._core.typed import array_spec
from .._core.types import Array, PyTree
from ..nn.observe import observe
from ..training.batch import Batch, as_batch, rows_of, size_of
from ..training.checks import check_fit
from ..training.epoch import pads_last_batch, steps
from ..training.placed import AnyMesh, Shard, homes
from ..training.state import TrainState, check_task, init
from ..training.task import Task
from ..training.totals import Totals, total_shapes
from .compiler import Compiled, Request, compile_for, compile_here
from .devices import Device, Target, target
from .largest import with_largest

READ, LOSS, UPDATE, OTHER = "(batch)", "(loss)", "(update)", "(other)"
_MOST_ROWS = 2**31 - 1  # rows are numbered in int32


@dataclasses.dataclass(frozen=True)
class PlanRow:
    """What a training step spends in one place.

    Attributes:
      name: a layer's path, such as "residual/body/dense", or what is done outside the layers, in brackets.
      operations: floating-point operations of its products and convolutions, forward and backward.
      half: those of them between numbers of 16 bits.
      traffic: bytes of main memory read and written.
      kernels: operations that the device starts.
      cycles: the compiler's estimate; 0 where it makes none.
    """

    name: str
    operations: int = 0
    half: int = 0
    traffic: int = 0
    kernels: int = 0
    cycles: int = 0

    def __add__(self, other: PlanRow) -> PlanRow:
        mine, others = dataclasses.astuple(self)[1:], dataclasses.astuple(other)[1:]
        return PlanRow(self.name, *(a + b for a, b in zip(mine, others, strict=True)))


@dataclasses.dataclass(frozen=True, repr=False)
class Plan(Table[PlanRow]):
    """What a training step needs and costs on a device; printed as a table. It iterates over its rows.

    Nothing has run: memory, cycles and kernels are what the device's compiler says of the program that `fit` runs, and
    times are estimates from them.

    Attributes:
      rows: a `PlanRow` for each layer and for what is done outside the layers.
      device: facts about the device, a `Device`; None for the machine at hand.
      batch_size: examples per step.
      memory: bytes by what they hold: "parameters", "layer state", "optimizer", "data", "temporaries", and "other" (the
        order of the rows, counters, padding).
      largest_batch: the largest batch that fits, compiled to make sure; 0 if none was found; None if it was not
        asked for, or for the machine at hand.
      all_rows: whether that batch is the whole data set.
      once: what is done once in each call of the program and not in each step.
      devices: how many there are. Rows, memory and times are those of each of them.
      collectives: bytes by kind of operation in which devices exchange what they computed, such as "all-reduce", in a
        step; of each operation, its result counts.
    """

    rows: tuple[PlanRow, ...]
    device: Device | None
    batch_size: int
    memory: Mapping[str, int]
    largest_batch: int | None
    all_rows: bool
    once: PlanRow
    devices: int = 1
    collectives: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def step(self) -> PlanRow:
        """The whole step."""
        return sum(self.rows, PlanRow("step"))

    @property
    def bytes_needed(self) -> int:
        """Bytes of memory in use."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool | None:
        """Whether the device has as much memory; None if that is not known."""
        return None if self.device is None else self.bytes_needed <= self.device.memory

    @property
    def times(self) -> dict[str, float]:
        """Seconds that a step would take if nothing but its products, its memory traffic or its starts took time.

        Keys are "products" and "memory", "launches" on a GPU, and "links" with several devices; empty for the machine
        at hand.
        """
        if self.device is None:
            return {}
        step = self.step
        products = (step.operations - step.half) / self.device.flops + step.half / self.device.half_flops
        times = {"products": products, "memory": step.traffic / self.device.bandwidth}
        if self.device.launch:
            times["launches"] = step.kernels * self.device.launch
        if self.devices > 1:
            sent = sum(size * _sent(kind, self.devices) for kind, size in self.collectives.items())
            times["links"] = sent / (self.device.links * self.device.link_bandwidth)
        return times

    @property
    def seconds(self) -> float | None:
        """An estimate of a step's time, None if unknown: the largest of `times` and, on a TPU, the compiler's cycles.

        The compiler gives no cycles for some operations, such as reading rows, so it may be too low.
        """
        if self.device is None or self.bytes_needed > self.device.memory:
            return None
        cycles = self.step.cycles / self.device.clock if self.device.clock else 0.0
        return max(cycles, *self.times.values())

    @property
    def time_text(self) -> str:
        """`seconds` in a readable unit; empty if unknown."""
        return "" if self.seconds is None else _time_text(self.seconds)

    @property
    def bound(self) -> str:
        """What takes at least half of the time: "products", "memory", "links", "launches"; else "latency"."""
        if self.device is None or self.seconds is None:
            return ""
        name, most = max(self.times.items(), key=lambda item: item[1])
        return name if most >= 0.5 * self.seconds else "latency"

    def __repr__(self) -> str:
        where = "this machine" if self.device is None else self.device.kind
        if self.devices > 1:
            where = f"each of {self.devices} {where}" if self.device else f"each of {self.devices} devices"
        cycles = any(row.cycles for row in self.rows)
        counted = "cycles" if cycles else "kernels"
        cells = [
            (row.name, number_text(row.operations), bytes_text(row.traffic), f"{getattr(row, counted):,}")
            for row in (*self.rows, self.step)
        ]
        lines = table_lines([("layer", "operations", "traffic", counted), *cells], left=1)
        lines.insert(-1, lines[1])
        title = f"a step of {self.batch_size:,} examples on {where}"
        sent = ", ".join(f"{kind} {bytes_text(size)}" for kind, size in self.collectives.items()) or "none"
        exchanged = [f"exchanged: {sent}"] * (self.devices > 1)
        return "\n".join([title, "", *lines, lines[1], *exchanged, *self._memory_lines(), *self._time_lines()])

    def _memory_lines(self) -> list[str]:
        parts = ", ".join(f"{name} {bytes_text(size)}" for name, size in self.memory.items() if size)
        needed = bytes_text(self.bytes_needed)
        if self.device is not None:
            needed += f" of {bytes_text(self.device.memory)}, {self.bytes_needed / self.device.memory:.1%}"
        lines = [f"memory: {needed}", f"  {parts}"]
        if self.fits is False:
            largest = max(self.memory, key=lambda name: self.memory[name])
            lines.append(f"IT DOES NOT FIT: the largest part is {largest}, {bytes_text(self.memory[largest])}")
        if self.largest_batch is not None:
            rows = ", all rows at once" if self.all_rows else ""
            found = f"largest batch that fits: {self.largest_batch:,}{rows}"
            lines.append(found if self.largest_batch else "no batch that fits was found")
        return lines

    def _time_lines(self) -> list[str]:
        if self.device is None or self.seconds is None:
            return []
        cycles = self.device.clock and self.seconds > max(self.times.values())
        how = f"the compiler's cycles at {self.device.clock / 1e9:g} GHz" if cycles else "a roofline"
        parts = ", ".join(f"{name} {_time_text(seconds)}" for name, seconds in self.times.items())
        return [
            f"estimated time: {self.time_text} ({how}; nothing was measured)",
            f"  each alone: {parts}; bound by {self.bound}",
        ]


@flagged
def plan(
    task: Task,
    data: PyTree,
    *,
    batch_size: int = 32,
    device: str | None = None,
    largest_batch: bool = True,
    mesh: AnyMesh | None = None,
    shard: Shard | None = None,
) -> Plan:
    """What a training step needs and costs on a device or on several; you do not need the device.

    The loop that `fit` runs is compiled for the device: by JAX for the machine at hand, else by the device's own
    compiler in another process. Nothing runs.

    Args:
      task: the `Task`.
      data: ``(x, y)`` or ``(x, y, sample_weight)``, arrays or `jax.ShapeDtypeStruct`s of the whole data set, which
        `fit` would hold on the device. With no more rows than ``batch_size`` they are a batch, as of a stream.
      batch_size: examples per step; default 32.
      device: one of a100, h100, h200, b200 (needs ``pip install -e '.[cuda]'`` in a clone of fnn), v4, v5e, v5p, v6e
        (needs ``pip install -e '.[tpu]'`` there); default None, the machine at hand. "v5e:4x4" is a slice of 16 chips,
        "h200:8" a machine with 8 GPUs.
      largest_batch: whether to look for the largest batch that fits, which compiles two or three more programs; default
        True. It needs a named device, whose memory is known.
      mesh, shard: how rows and parameters are divided over several devices, as in `fit`. Names and sizes of the axes
        are enough, ``jax.sharding.AbstractMesh((4, 4), ("data", "model"))``; by default rows are divided over all.

    Raises:
      InputError: for an unknown device; for a mesh of another size than ``device``; for a compiler that is not
        installed or that fails; and as `fit` for data, model and ``shard``.

    >>> import jax, jax.numpy as jnp, fnn
    >>> model = fnn.Sequential(fnn.Dense(16, activation="relu"), fnn.Dense(10))
    >>> task = fnn.Task(model, "sparse_categorical_crossentropy")
    >>> x = jax.ShapeDtypeStruct((60_000, 784), jnp.float32)
    >>> y = jax.ShapeDtypeStruct((60_000,), jnp.int32)
    >>> plan = fnn.plan(task, (x, y), batch_size=128)
    >>> plan.memory["parameters"], plan.step.operations
    (50920, 6545408)
    """
    check_task(task)
    check_count("plan", "batch_size", batch_size)
    data = _shapes(data)
    if (size := size_of(data)) > _MOST_ROWS:
        fail("plan", expected=f"at most {_MOST_ROWS:,} rows", got=f"{size:,}")
    where = None if device is None else target(device)
    ts = jax.eval_shape(partial(init, task), jax.random.key(0), data.x)
    check_fit(task, ts, data)
    placement = _placement(where, mesh, shard)
    if placement is not None:
        placement.check(ts.params)
        task = task.placed(placement)
    limit = None if size <= batch_size else size

    @cache
    def request_of(size: int) -> Request:
        return loop_request(task, ts, data if limit else resized(data, size), size)

    def compile_sizes(sizes: Sequence[int]) -> list[Compiled]:
        requests = list(map(request_of, sizes))
        if where is None:
            return list(map(compile_here, requests))
        return compile_for(where, requests, None if placement is None else placement.mesh)

    largest = None
    if where is not None and largest_batch:
        compiled, largest = with_largest(compile_sizes, batch_size, limit, where.device.memory)
    else:
        (compiled,) = compile_sizes([batch_size])
    labels = _Labels(task, ts, data)
    request = request_of(batch_size)
    devices = 1 if placement is None else placement.mesh.size
    rows, once, collectives = _costs_by_place(compiled, labels, _operations(request, labels, devices))
    memory = _memory(compiled, *request.arguments[0:3:2])
    named = None if where is None else where.device
    all_rows = largest is not None and largest == limit
    return Plan(rows, named, batch_size, memory, largest, all_rows, once, devices, collectives)


def _placement(where: Target | None, mesh: AnyMesh | None, shard: Shard | None) -> Placement | None:
    """The placement of a plan; None for one device."""
    count = 1 if where is None else where.count
    if mesh is None and count > 1:
        mesh = AbstractMesh((count,), ("data",))
    placement = parse_placement(mesh, shard, abstract=where is not None)
    if placement is None or where is None:
        return placement
    if placement.mesh.size != count:
        some = where.device.name + (":4x4" if where.device.platform == "tpu" else ":8")
        expected = f"as many devices as the mesh has, {placement.mesh.size}"
        fail("plan", expected=expected, got=str(count), hint=f"Name a number of them, such as {some!r}.")
    # The devices of a mesh that is here are not those that are planned for.
    return placement._replace(mesh=placement.mesh.abstract_mesh)


def _shapes(data: PyTree) -> Batch:
    """A data set with shapes in place of arrays."""
    leaves = jax.tree.leaves(data)
    given = bool(leaves) and all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    return Batch.of(shape_of(data if given else as_batch(data)))


def loop_request(task: Task, ts: TrainState, data: Batch, batch_size: int) -> Request:
    """The loop over the steps of an epoch, as `fit` compiles it."""
    size = rows_of(data) if rows_of(data) % batch_size and pads_last_batch(task) else None
    padded = -(-rows_of(data) // batch_size) * batch_size
    order, number = array_spec((padded,), jnp.int32), array_spec((), jnp.int32)
    totals = total_shapes(task, ts, resized(data, 1))

    def loop(ts: TrainState, totals: Totals, data: Batch, order: Array, first: Array, count: Array) -> PyTree:
        return steps(task, ts, totals, data, order, first, count, batch_size=batch_size, size=size)

    arguments = ts, totals, data, order, number, number
    if task.placement is not None:
        whole = task.placement.sharding()
        places = (homes(task, ts), *(jax.tree.map(lambda _: whole, part) for part in arguments[1:]))
        arguments = jax.tree.map(lambda a, place: array_spec(a.shape, a.dtype, sharding=place), arguments, places)
    # Traced once, whether its operations are counted or it is compiled; without a call in the compiled program.
    return Request(jax.jit(loop, inline=True), arguments, donated=2)


def _sent(kind: str, devices: int) -> float:
    """Bytes that a device sends for each byte of the result of a collective operation, around a ring."""
    others = (devices - 1) / devices
    return {"all-reduce": 2 * others, "reduce-scatter": devices - 1, "collective-permute": 1.0}.get(kind, others)


def _costs_by_place(
    compiled: Compiled, labels: _Labels, spent: dict[str, PlanRow]
) -> tuple[tuple[PlanRow, ...], PlanRow, dict[str, int]]:
    """What each place spends in a step, what is spent once per call, and bytes by kind of collective operation."""
    program = compiled.program
    body = program.largest_loop()
    step = PlanRow("")
    for computation, one, times in program.running(body):
        name = labels.of(one.scope)
        row = _plan_row(name, program.traffic(computation, one), one.cycles, times)
        spent[name] = spent.get(name, PlanRow(name)) + row
        step += row
    collectives: dict[str, int] = {}
    for kind, size, times in program.exchanges(body):
        collectives[kind] = collectives.get(kind, 0) + int(times * size)
    whole = PlanRow("once")
    for computation, one, times in program.running(program.entry):
        whole += _plan_row("", program.traffic(computation, one), one.cycles, times)
    once = PlanRow("once", 0, 0, whole.traffic - step.traffic, whole.kernels - step.kernels, whole.cycles - step.cycles)
    order = [name for name in labels.order if name in spent]
    return tuple(spent[name] for name in order), once, collectives


def _plan_row(name: str, traffic: int, cycles: int | None, times: float) -> PlanRow:
    return PlanRow(name, 0, 0, int(times * traffic), int(times), int(times * (cycles or 0)))


def _operations(request: Request, labels: _Labels, devices: int) -> dict[str, PlanRow]:
    """Rows with the floating-point operations of the products of a step, divided evenly over the devices.

    Those of a loop of steps count as one step.
    """
    program = jax.make_jaxpr(request.function)(*request.arguments)
    rows: dict[str, PlanRow] = {}
    for scope, one, times in products_by_scope(program):
        name, count = labels.of(scope), 2 * times * one.multiply_adds // devices
        half = all(getattr(a.dtype, "itemsize", 4) <= 2 for a in one.arrays[:2])
        rows[name] = rows.get(name, PlanRow(name)) + PlanRow(name, count, count if half else 0)
    return rows


class _Labels:
    """Names of places in a model, found in the scopes of operations."""

    def __init__(self, task: Task, ts: TrainState, data: Batch) -> None:
        paths: list[tuple[str, ...]] = []
        with observe(lambda trace: paths.append(trace.path)):
            apply = partial(task.network.apply, key=jax.random.key(0), train=True)
            jax.eval_shape(apply, ts.params, ts.state, resized(data.x, 2))
        self.name = task.model.name
        self.paths = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
        in_order = dict.fromkeys("/".join(path) for path in paths)
        self.order = dict.fromkeys((READ, *in_order, *map("/".join, self.paths), self.name, LOSS, UPDATE, OTHER))

    def of(self, scope: str) -> str:
        """The name of the place of an operation."""
        # Of "transpose(jvp(model))/residual/body/dense/dot_general" the words are model, residual, body, dense.
        words = [(part, re.sub(r"^(?:\w+\()+|\)+$", "", part)) for part in scope.split("/")]
        places = {"model": self.name, "loss": LOSS, "update": UPDATE, "batch": READ}
        start = next((i for i, (_, word) in enumerate(words) if word in places), None)
        if start is None:
            return OTHER
        path: tuple[str, ...] = ()
        # Below the model, the words that lead from a layer to one inside it; a layer may itself be named "f(x)".
        for word in (word for both in words[start + 1 :] for word in dict.fromkeys(both)):
            path = (*path, word) if (*path, word) in self.paths else path
        inside = words[start][1] == "model"
        return ("/".join(path) if inside else "") or places[words[start][1]]


def _memory(compiled: Compiled, ts: TrainState, data: Batch) -> dict[str, int]:
    """Bytes by what they hold, on each device."""
    parts = {"parameters": ts.params, "layer state": ts.state, "optimizer": ts.opt_state, "data": data}
    memory = {name: bytes_of(jax.tree.map(_on_one, tree)) for name, tree in parts.items()}
    rest = max(compiled.total - sum(memory.values()), 0)
    temporaries = rest if compiled.too_much else compiled.temporaries
    return {**memory, "temporaries": temporaries, "other": rest - temporaries}


def _on_one(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The part of an array that lies on one device."""
    shape = leaf.shape if leaf.sharding is None else leaf.sharding.shard_shape(leaf.shape)
    return array_spec(shape, leaf.dtype)


def _time_text(seconds: float) -> str:
    """A time in a readable unit, such as ``12.3 us``."""
    for unit in ("ns", "us", "ms"):
        seconds *= 1e9 if unit == "ns" else 1e-3
        if seconds < 1000:
            return f"{seconds:.3g} {unit}"
    return f"{seconds / 1000:.3g} s"
