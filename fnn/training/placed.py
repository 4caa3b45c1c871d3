"""Where the parts of a training step lie on several devices."""

from __future__ import annotations

from collections.abc import Mapping

import jax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from .._core.sharding import by_row, everywhere, parse_placement, put
from .._core.trees import map_with_path
from .._core.typed import with_sharding_constraint
from .._core.types import PyTree
from .._core.xla import after_all
from .batch import Batch, rows_of
from .state import TrainState, check_state, check_task
from .task import Task

AnyMesh = Mesh | AbstractMesh
Shard = str | Mapping[str, PartitionSpec]
"""How parameters are divided over a mesh; see `fnn.fit`."""


def placed(task: Task, ts: TrainState, mesh: Mesh | None, shard: Shard | None) -> tuple[Task, TrainState]:
    """Task and state for the devices of a mesh, after a check of the rules; as they are without a mesh."""
    placement = parse_placement(mesh, shard)
    if placement is None:
        return task, ts
    check_task(task)
    check_state(ts)
    placement.check(ts.params)
    task = task.placed(placement)
    return task, on_devices(task, ts)


def on_devices(task: Task, ts: TrainState) -> TrainState:
    """A state on the devices of the task's placement, each part where it lies between steps."""
    return ts if task.placement is None else put(ts, homes(task, ts))


def homes(task: Task, ts: TrainState) -> TrainState:
    """The sharding of each part of a state between steps; ``task`` has a placement."""
    placement = task.placement
    assert placement is not None
    whole: TrainState = jax.tree.map(lambda _: placement.sharding(), ts)
    params = map_with_path(placement.of_parameter, ts.params)
    return whole._replace(params=params, opt_state=placement.beside(ts.params, ts.opt_state))


def at_home(task: Task, ts: TrainState) -> TrainState:
    """The same state, with each part where it lies between steps. Otherwise the compiler would choose anew."""
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
        return after_all(grads)
    if placement.fully_sharded:
        grads = everywhere(placement, grads)
    return with_sharding_constraint(grads, map_with_path(placement.of_parameter, grads))
