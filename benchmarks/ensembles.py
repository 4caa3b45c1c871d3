"""Many networks of one kind that share the order of the data: trained at once, and one after the other.

Both functions return an epoch for all members. They are the place to adapt when fnn gets a function of its own for
this.
"""

from __future__ import annotations

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
    # The key orders the data and draws the dropout; members with one key share both.
    states = [state._replace(key=states[0].key) for state in states]
    data = jax.block_until_ready(jax.device_put((x, y)))

    def train_epoch(state: Any, data: Any) -> Any:
        return fnn.train_epoch(task, state, data, batch_size=size)

    if together:
        return _together(train_epoch, states, data)
    return _in_turn(train_epoch, states, data)


def _together(train_epoch: Any, states: list[Any], data: Any) -> Epoch:
    import jax
    import jax.numpy as jnp

    import fnn

    # Key and step have no axis of members, so that vmap leaves one order, and batches are cut once for all.
    axes = fnn.TrainState(params=0, state=0, opt_state=0, key=None, step=None)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(s._replace(key=(), step=()) for s in states))
    stacked = stacked._replace(key=states[0].key, step=states[0].step)
    train = jax.jit(jax.vmap(train_epoch, in_axes=(axes, None), out_axes=(axes, 0)), donate_argnums=0)

    def epoch() -> float:
        nonlocal stacked
        stacked, logs = train(stacked, data)
        return float(logs["loss"].mean())

    return epoch


def _in_turn(train_epoch: Any, states: list[Any], data: Any) -> Epoch:
    import jax

    train = jax.jit(train_epoch)  # the key is shared, so it cannot be given back

    def epoch() -> float:
        losses = []
        for i, state in enumerate(states):
            states[i], logs = train(state, data)
            losses.append(logs["loss"])
        return sum(map(float, losses)) / len(losses)

    return epoch
