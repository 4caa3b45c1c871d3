"""Many networks of one kind that share the order of the data: in one program, and one after the other."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peers import Epoch
    from workloads import Workload


def build(workload: Workload, x: Any, y: Any, seed: int, *, members: int, together: bool) -> Epoch:
    """The epoch of ``members`` networks with parameters of their own."""
    import jax
    from peers import with_fnn

    import fnn

    task, size = with_fnn.task_of(workload), workload.batch
    states = [fnn.init(task, jax.random.key(seed + i), x[:1]) for i in range(members)]
    data = jax.block_until_ready(jax.device_put((x, y)))
    keys = iter(jax.random.split(jax.random.key(seed), 1000))

    def train_epoch(state: Any, key: Any) -> Any:
        return fnn.train_epoch(task, state, data, batch_size=size, order_key=key)

    return (_together if together else _in_turn)(train_epoch, states, keys)


def _together(train_epoch: Any, states: list[Any], keys: Any) -> Epoch:
    import jax
    import jax.numpy as jnp

    import fnn

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    @functools.partial(jax.jit, donate_argnums=0)
    def train(stacked: Any, key: Any) -> Any:
        return fnn.many(lambda state: train_epoch(state, key))(stacked)

    def epoch() -> float:
        nonlocal stacked
        stacked, logs = train(stacked, next(keys))
        return float(logs["loss"].mean())

    return epoch


def _in_turn(train_epoch: Any, states: list[Any], keys: Any) -> Epoch:
    import jax

    train = jax.jit(train_epoch, donate_argnums=0)

    def epoch() -> float:
        key, losses = next(keys), []
        for i, state in enumerate(states):
            states[i], logs = train(state, key)
            losses.append(logs["loss"])
        return sum(map(float, losses)) / len(losses)

    return epoch
