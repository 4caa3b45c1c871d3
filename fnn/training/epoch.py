"""One epoch, as a pure function."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from .._core.checks import check_count, check_key
from .._core.errors import counted, fail
from .._core.flags import check_flags
from .._core.processes import agreeing
from .._core.random import fold_in, permutation
from .._core.sharding import by_row, placing
from .._core.trees import own_copy, zeros
from .._core.typed import jit
from .._core.types import Array, PyTree
from ..losses.facts import is_per_example
from .batch import Batch, as_batch, batch_at, rows_of, size_of, take
from .checks import check_opt_state, check_params
from .entry import calls, compiled, parsing
from .placed import DATA_HINTS, Shard, data_on_devices, facts_of_call, placed, together_on
from .segments import in_segments
from .state import TrainState, check_state, check_task
from .step import step_and_totals
from .task import Task
from .totals import Logs, Totals, merge, results, total_shapes

_ORDER = 0xFFFFFFFF  # folded in for the order of an epoch; steps count from 0 and never reach it


def key_of_order(order_key: Array | None) -> dict[str, Array]:
    """The bits of an ``order_key`` as an array, by its name; nothing if there is none."""
    if order_key is None:
        return {}
    check_key("order_key", order_key)
    return {"order_key": jax.random.key_data(order_key)}


def epoch_order(ts: TrainState, size: int, shuffle: bool = True, order_key: Array | None = None) -> Array:
    """The order in which an epoch that starts at ``ts`` visits the rows.

    Args:
      ts: the `TrainState` before the epoch; only its key and step matter.
      size: the number of rows.
      shuffle: whether they are permuted; default True.
      order_key: a key that gives the order instead of the state; see `train_epoch`.

    Returns:
      (size,) int32; step ``i`` of the epoch trains on ``order[i * batch_size : (i + 1) * batch_size]``.

    Raises:
      InputError: for an ``order_key`` that is not a key, or one with ``shuffle=False``.
    """
    check_flags("epoch_order", shuffle=shuffle)
    if order_key is not None:
        check_key("order_key", order_key)
        if not shuffle:
            fail("epoch_order", expected="shuffle=True with order_key", got="shuffle=False")
    if not shuffle:
        return jnp.arange(size, dtype=jnp.int32)
    if order_key is None:
        order_key = fold_in(fold_in(ts.key, _ORDER), ts.step)
    return permutation(order_key, size)


def pads_last_batch(task: Task) -> bool:
    """Whether a smaller batch may be padded with rows that do not count."""
    return task.model.per_example and all(is_per_example(part.loss) for part in task.parts)


def division(task: Task, size: int, batch_size: int, drop_remainder: bool) -> tuple[int, int, bool]:
    """The whole batches of an epoch, the rows of a last, smaller one, and whether the last whole one is padded.

    Where examples are independent, padding rows that do not count make the last batch a whole one.
    """
    whole, rest = divmod(size, batch_size)
    if drop_remainder or not rest:
        return whole, 0, False
    return (whole + 1, 0, True) if whole and pads_last_batch(task) else (whole, rest, False)


def padded_order(order: Array, batch_size: int) -> Array:
    """The order, padded to whole batches by repeating its first row."""
    return jnp.concatenate([order, jnp.broadcast_to(order[:1], (-len(order) % batch_size,))])


def steps(
    task: Task,
    ts: TrainState,
    totals: Totals,
    data: Batch,
    order: Array | None,
    first: Array | int,
    count: Array | int,
    *,
    batch_size: int,
    size: Array | int | None = None,
    remat: bool = False,
) -> tuple[TrainState, Totals]:
    """``count`` steps from batch ``first``; with a Python ``count`` it can be differentiated.

    The rows of ``data`` are read in this ``order``; without one ``data`` is that of `InBatches.full`. Only the first
    ``size`` rows count; the others pad the last batch. For ``remat`` see `run`.
    """

    def read(number: Array) -> tuple[Batch, Array | None]:
        start = number * batch_size
        valid = None if size is None else start + jnp.arange(batch_size, dtype=jnp.int32) < size
        with jax.named_scope("batch"), placing(task.placement):
            if order is None:
                return batch_at(data, number), valid
            return take(data, by_row(jax.lax.dynamic_slice_in_dim(order, start, batch_size))), valid

    def body(i: Array, carry: tuple[TrainState, Totals]) -> tuple[TrainState, Totals]:
        ts, totals = carry
        ts, batch_totals = step_and_totals(task, ts, *read(first + i))
        return ts, merge(task, totals, batch_totals)

    if remat:
        numbers = jnp.arange(count, dtype=jnp.int32)
        return in_segments(lambda carry, i: (body(i, carry), None), (ts, totals), numbers)[0]
    after: tuple[TrainState, Totals] = jax.lax.fori_loop(0, count, body, (ts, totals))
    return after


def epoch(
    task: Task,
    ts: TrainState,
    data: Batch,
    batch_size: int,
    shuffle: bool,
    drop_remainder: bool,
    order_key: Array | None,
    *,
    remat: bool = False,
) -> tuple[TrainState, Totals]:
    """All batches of an epoch, the last, smaller one included unless dropped."""
    size = rows_of(data)
    order = epoch_order(ts, size, shuffle, order_key)
    whole, rest, pads = division(task, size, batch_size, drop_remainder)
    totals = zeros(total_shapes(task, ts, jax.tree.map(lambda a: a[:1], data)))
    train = partial(steps, task, batch_size=batch_size, remat=remat)
    if pads:
        return train(ts, totals, data, padded_order(order, batch_size), 0, whole, size=size)
    if whole:
        ts, totals = train(ts, totals, data, order, 0, whole)
    if rest:
        ts, last = step_and_totals(task, ts, take(data, order[whole * batch_size :]))
        totals = merge(task, totals, last)
    return ts, totals


def check_sizes(where: str, size: int, batch_size: int, drop_remainder: bool) -> None:
    """Refuse a batch size below 1, or one that leaves nothing to train on."""
    check_count(where, "batch_size", batch_size)
    if drop_remainder and batch_size > size:
        hint = "Use a smaller batch_size, or drop_remainder=False."
        got = f"{counted(size, 'example')} in batches of {batch_size}"
        fail(where, expected="at least one full batch with drop_remainder", got=got, hint=hint)


@parsing("data")
@compiled
@jit(static_argnums=0, static_argnames=("batch_size", "shuffle", "drop_remainder"))
def _train_epoch(
    task: Task,
    ts: TrainState,
    data: PyTree,
    *,
    batch_size: int = 32,
    shuffle: bool = True,
    drop_remainder: bool = False,
    order_key: Array | None = None,
) -> tuple[TrainState, Logs]:
    check_task(task)
    check_state(ts)
    check_flags("train_epoch", shuffle=shuffle, drop_remainder=drop_remainder)
    check_sizes("train_epoch", size_of(data), batch_size, drop_remainder)
    check_params(task, ts, data.x)
    check_opt_state(task, ts)
    ts, totals = epoch(task, ts, data, batch_size, shuffle, drop_remainder, order_key)
    return ts, results(task, totals)


@calls(_train_epoch)
def train_epoch(
    task: Task,
    ts: TrainState,
    data: PyTree,
    *,
    batch_size: int = 32,
    shuffle: bool = True,
    drop_remainder: bool = False,
    order_key: Array | None = None,
    mesh: Mesh | None = None,
    shard: Shard | None = None,
) -> tuple[TrainState, Logs]:
    """One pass over the data, as one compiled program.

    Args:
      task, ts: the `Task`, and the `TrainState` before.
      data: ``(x, y)`` or ``(x, y, sample_weight)``, arrays (or dicts and tuples of arrays) with the examples along
        their first axis. Put them on the device once with `jax.device_put` when calling repeatedly.
      batch_size: examples per step; default 32. The last batch may be smaller.
      shuffle: whether to visit the rows in an order drawn from ``ts.key`` and ``ts.step``; default True.
      drop_remainder: whether to leave out the last, smaller batch; default False.
      order_key: a key that gives the order; by default it follows from ``ts.key`` and ``ts.step``. Networks that train
        together under `many` or `jax.vmap` with one order key visit the rows in the same order: each batch is then
        read once for all of them, which makes small networks about twice as fast. Pass another key for each epoch.
      mesh, shard: several devices, as in `fnn.fit`; default one device.

    Returns:
      ``(ts, logs)``: the new state, and loss and metrics over the epoch, for each batch before its update.

    Raises:
      InputError: for a batch size below 1, empty data, lengths that differ, or shapes that do not fit the model.
        For targets outside the range of the loss, such as labels outside the classes, unless they are traced. Only
        `fit` and `evaluate` look for NaN.
    """
    with together_on(mesh, "train_epoch", ts, data):
        task, ts = placed("train_epoch", task, ts, mesh, shard)
        if mesh is not None:
            with agreeing("train_epoch", DATA_HINTS) as facts:
                data = own_copy(as_batch(data))
                flags = {"shuffle": shuffle, "drop_remainder": drop_remainder}
                facts |= facts_of_call(task, {"data": data} | key_of_order(order_key), batch_size=batch_size, **flags)
            data = data_on_devices(task, data, in_any_order=True)
        return _train_epoch(
            task,
            ts,
            data,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_remainder=drop_remainder,
            order_key=order_key,
        )
