"""Where the parts of a training step lie on several devices."""

from __future__ import annotations

from collections.abc import Mapping

import jax
from jax.lax import with_sharding_constraint
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from .._core.sharding import everywhere, parse_placement
from .._core.trees import map_with_path
from .._core.types import Params
from .._core.xla import after_all
from .state import TrainState
from .task import Task

AnyMesh = Mesh | AbstractMesh
Shard = str | Mapping[str, PartitionSpec]
"""How parameters are divided over a mesh; see `fnn.fit`."""


def placed(task: Task, ts: TrainState, mesh: AnyMesh | None, shard: Shard | None) -> Task:
    """The task for the devices of a mesh, after a check of the rules; as it is without a mesh."""
    placement = parse_placement(mesh, shard)
    if placement is None:
        return task
    placement.check(ts.params)
    return task.placed(placement)


def on_devices(task: Task, ts: TrainState) -> TrainState:
    """A state on the devices of the task's placement, each part where it lies between steps."""
    return ts if task.placement is None else jax.device_put(ts, homes(task, ts))


def homes(task: Task, ts: TrainState) -> TrainState:
    """The sharding of each part of a state between steps; ``task`` has a placement."""
    placement = task.placement
    assert placement is not None
    whole = jax.tree.map(lambda _: placement.sharding(), ts)
    params = map_with_path(placement.of_parameter, ts.params)
    return whole._replace(params=params, opt_state=placement.beside(ts.params, ts.opt_state))


def at_home(task: Task, ts: TrainState) -> TrainState:
    """The same state, with each part where it lies between steps. Otherwise the compiler would choose anew."""
    return ts if task.placement is None else with_sharding_constraint(ts, homes(task, ts))


def at_work(task: Task, params: Params) -> Params:
    """Parameters as the model reads them: whole if every large one is divided to save memory, else where they lie."""
    placement = task.placement
    if placement is None:
        return params
    if placement.fully_sharded:
        return everywhere(placement, params)
    return with_sharding_constraint(params, map_with_path(placement.of_parameter, params))


def gathered(task: Task, grads: Params) -> Params:
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
