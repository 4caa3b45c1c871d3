"""Where state, data and the parts of a training step lie on several devices.

| function | what it places | when |
|---|---|---|
| `placed` | a task and its state, after a check of the rules | first in each function with ``mesh=`` |
| `on_devices` | a state, moved to its `homes` | before the first step |
| `data_on_devices`, `read_in_order` | batches and whole arrays, moved | before they are read |
| `homes` | nothing: it says where each part of a state lies between steps | in `on_devices` and `at_home` |
| `at_home` | the new state, at its `homes` | at the end of a step |
| `at_work` | the parameters that the model reads: whole with ``shard="fsdp"`` | before the forward pass |
| `divided` | a batch: each device computes its share of the rows | before the forward pass |
| `gathered` | gradients: summed over all rows, where their parameters lie | before the optimizer |
| `by_row`, `everywhere` | any arrays: divided by rows; whole on every device | wherever these are needed |

"Moved" means with `jax.device_put`; everything else is a constraint inside a compiled step. Without a mesh, data goes
to the default device, and the others return their argument, except `homes`, which needs a mesh.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from .._core.arrays import read
from .._core.errors import describe, fail
from .._core.fingerprint import fingerprint
from .._core.inputs import on_device
from .._core.jaxprs import without_addresses
from .._core.processes import agreeing, gathered_rows, is_together, spans, spread, together
from .._core.sharding import Placement, by_row, everywhere, parse_placement, put
from .._core.trees import is_traced, map_with_path, paths
from .._core.typed import block_until_ready, tree_map, with_sharding_constraint
from .._core.types import AnyArray, Array, PyTree
from .batch import Batch, InBatches, rows_of
from .state import TrainState, check_state, check_task
from .task import Task

T = TypeVar("T")
AnyMesh = Mesh | AbstractMesh
Shard = str | Mapping[str, PartitionSpec]
"""How parameters are divided over a mesh; see `fnn.fit`."""

SAMPLE_ROWS = 64  # rows of a data set that identify it
ONE_DATA_SET = (
    "Arrays hold the whole data set on every process, and an iterable gives each process its share of every batch; see "
    "docs/how-to/processes.md."
)
DATA_HINTS = dict.fromkeys(("data", "validation_data", "batch", "x"), ONE_DATA_SET)
"""What to do if data differ between processes, for `agreeing`."""


def together_on(mesh: AnyMesh | None, call: str, *given: PyTree) -> AbstractContextManager[None]:
    """Let the processes that have the devices of a mesh work together; not for a program that is being traced."""
    return together(spans(mesh) and not is_traced(given), call)


def placed(where: str, task: Task, ts: TrainState, mesh: Mesh | None, shard: Shard | None) -> tuple[Task, TrainState]:
    """Task and state for the devices of a mesh, after a check of the rules; as they are without a mesh."""
    placement = parse_placement(mesh, shard)
    check_task(task)
    if placement is None:
        return task, ts
    check_state(ts)
    placement.check(ts.params)
    task = task.placed(placement)
    places = homes(task, ts)
    if is_together() and not _lies_at(ts, places):
        _check_placement(where, task, ts)
    return task, put(ts, places)


def _lies_at(ts: TrainState, places: TrainState) -> bool:
    """Whether all parts of a state lie there already."""
    pairs = zip(jax.tree.leaves(ts), jax.tree.leaves(places), strict=True)
    return all(spans(leaf) and leaf.sharding.is_equivalent_to(place, leaf.ndim) for leaf, place in pairs)


def _check_placement(where: str, task: Task, ts: TrainState) -> None:
    """Refuse what differs between processes, before the devices exchange parts of the state."""
    hints = {"state": "Every process makes the same call, with fnn.init from the same key."}
    with agreeing(where, hints) as facts:
        facts |= facts_of_call(task, {}, task=without_addresses(repr(task)))
        if not spans(ts):
            facts["state"] = f"one with the fingerprint {fingerprint(ts)}"
    placement = task.placement
    assert placement is not None
    # Devices open their connections at the first exchange, and gloo waits only 30 s for the other processes; later on,
    # one of them may compile for longer.
    ones = spread(np.ones(placement.row_devices, np.float32), placement.sharding(placement.rows))
    block_until_ready(jax.jit(jnp.sum, out_shardings=placement.sharding())(ones))


def on_devices(task: Task, ts: TrainState) -> TrainState:
    """A state on the devices of the task's placement, each part where it lies between steps."""
    return ts if task.placement is None else put(ts, homes(task, ts))


def data_on_devices(task: Task, data: T, *, in_any_order: bool = False) -> T:
    """Move data to a task's devices: each holds, and receives, only its rows of each batch.

    ``data`` is one batch, with its rows along the first axis, or `InBatches`. Where the rows of a batch do not divide
    evenly, each device has all of them. The same applies to data read ``in_any_order``: to gather the rows of a batch
    from several devices, they would send each other the whole batch in every step.
    """
    placement = task.placement
    if placement is None:
        here: T = on_device(data)
        return here

    def place(a: Array, axis: int = 0) -> NamedSharding:
        divides = not in_any_order and len(a.shape) > axis and a.shape[axis] % placement.row_devices == 0
        return placement.sharding(*((),) * axis, placement.rows) if divides else placement.sharding()

    native = tree_map(lambda a: read(a) if isinstance(a, np.ndarray) else a, data)
    places: PyTree = tree_map(place, native)
    if isinstance(data, InBatches):
        places = InBatches(tree_map(partial(place, axis=1), data.full), places.last)
    with jax.debug_nans(False):  # rows of weight 0 may hold NaN
        return put(native, places)


def check_mesh(where: str, task: Task, ts: TrainState) -> None:
    """Refuse a state on devices of several processes without their mesh."""
    if task.placement is None and spans(ts):
        hint = f"Write fnn.{where}(..., mesh=mesh) with the mesh of the training, on every process."
        fail(f"{where}, mesh", expected="that of a state on several processes", got="none", hint=hint)


def facts_of_call(task: Task, data: Mapping[str, PyTree], /, **numbers: object) -> dict[str, str]:
    """What `agreeing` compares: mesh and rules, numbers, and arrays by name; nothing for a process alone."""
    placement = task.placement
    if placement is None or not is_together():
        return {}
    facts = _facts_of(placement) | {name: str(value) for name, value in numbers.items()}
    for name, tree in data.items():
        for path, leaf in paths(tree).items():
            rows = "" if spans(leaf) else f" with the values {fingerprint(some_rows(leaf))}"
            facts[", ".join(filter(None, (name, path)))] = describe(leaf) + rows
    return facts


@functools.lru_cache(maxsize=16)
def _facts_of(placement: Placement) -> dict[str, str]:
    numbers = [device.id for device in placement.mesh.devices.flat] if isinstance(placement.mesh, Mesh) else []
    order = "" if numbers == sorted(numbers) else f", devices in the order {numbers}"
    return {
        "mesh": f"{dict(placement.mesh.shape)}, rows over {placement.rows}{order}",
        "shard": f"{placement.rules or ('fsdp' if placement.fully_sharded else None)}",
    }


def some_rows(a: AnyArray) -> np.ndarray:
    """Some rows of an array, which identify it."""
    rows = np.unique(np.linspace(0, a.shape[0] - 1, SAMPLE_ROWS).astype(int))
    some: np.ndarray = read(np.asarray(a[rows]))
    return some


def own_rows(task: Task, size: int) -> np.ndarray | None:
    """For each row of a batch, whether the devices of this process hold it; None if they hold all."""
    placement = task.placement
    if placement is None or not placement.spans or size % placement.row_devices:
        return None
    held = np.zeros(size, bool)
    for index in placement.sharding(placement.rows).addressable_devices_indices_map((size,)).values():
        held[index] = True
    return held


def shares_on_devices(task: Task, batch: Batch, counts: Sequence[int]) -> InBatches:
    """One batch on the devices of a task, of whose rows each process has this number."""
    placement, size = task.placement, sum(counts)
    if placement is None:
        hint = "The state lies on devices of several processes."
        fail("mesh", expected="the mesh of the state, with an iterable as data", got="none", hint=hint)
    by_rows = placement.sharding((), placement.rows)
    divides = size % placement.row_devices == 0
    held: list[set[tuple[int, int]]] = [set() for _ in counts]  # the rows that the devices of each process hold
    for device, (_, rows) in by_rows.devices_indices_map((1, size)).items() if divides else ():
        owner: Any = device
        held[owner.process_index].add(rows.indices(size)[:2])
    # Usually each process has as many rows as its devices hold. They are taken in order.
    own = [sum(last - first for first, last in parts) for parts in held] == list(counts)
    starts, start = {}, 0
    for first, last in sorted(held[jax.process_index()]):
        starts[first], start = start, start + last - first

    def place(a: np.ndarray) -> PyTree:
        if not own:
            return put(gathered_rows(a, counts)[None], by_rows if divides else placement.sharding())
        dtype = jax.dtypes.canonicalize_dtype(a.dtype)

        def rows(index: Any) -> np.ndarray:
            first, last, _ = index[1].indices(size)
            return np.asarray(a[None, starts[first] : starts[first] + last - first], dtype)

        return jax.make_array_from_callback((1, size, *a.shape[1:]), by_rows, rows)

    return InBatches(tree_map(lambda a: place(read(np.asarray(a))), batch))


def read_in_order(task: Task, data: PyTree, batch_size: int) -> PyTree:
    """Data on the devices of a task, as `fold_batches` and `map_batches` read it."""
    return data_on_devices(task, data if task.placement is None else InBatches.of(data, batch_size))


def homes(task: Task, ts: TrainState) -> TrainState:
    """The sharding of each part of a state between steps; ``task`` has a placement."""
    placement = task.placement
    assert placement is not None
    whole: TrainState = tree_map(lambda _: placement.sharding(), ts)
    params = map_with_path(placement.of_parameter, ts.params)
    return whole._replace(params=params, opt_state=placement.beside(ts.params, ts.opt_state))


def at_home(task: Task, ts: TrainState) -> TrainState:
    """The same state, with each part where it lies between steps. Otherwise the compiler would choose a new layout."""
    return ts if task.placement is None else with_sharding_constraint(ts, homes(task, ts))


def divided(task: Task, batch: Batch) -> Batch:
    """A batch with its rows divided over devices, as `by_row`."""
    placement = task.placement
    if placement is not None and rows_of(batch) % placement.row_devices:
        # Otherwise the compiler may divide an argument unevenly, for which JAX has no sharding.
        batch = everywhere(placement, batch)
    return by_row(batch)


def at_work(task: Task, params: PyTree) -> PyTree:
    """Parameters as the model reads them: whole if every large one is divided to save memory, else where they lie."""
    placement = task.placement
    if placement is None:
        return params
    if placement.fully_sharded:
        return everywhere(placement, params)
    return with_sharding_constraint(params, map_with_path(placement.of_parameter, params))


def gathered(task: Task, grads: PyTree) -> PyTree:
    """Gradients as the optimizer reads them: summed over all rows, and where their parameters lie.

    They are summed whole and then divided, which takes one collective operation for all of them: left to itself, the
    compiler divides the work of each product differently, and can be slower than one device.
    """
    placement = task.placement
    if placement is None:
        return grads
    if placement.fully_sharded:
        grads = everywhere(placement, grads)
    return with_sharding_constraint(grads, map_with_path(placement.of_parameter, grads))
