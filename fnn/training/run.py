"""A whole training run as one pure function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from .._core.checks import check_count, renamed
from .._core.described import in_words
from .._core.errors import fail
from .._core.processes import agreeing
from .._core.random import fold_in
from .._core.trees import own_copy, zeros
from .._core.typed import jit
from .._core.types import Array, PyTree
from .batch import Batch, InBatches, as_batch, size_of
from .checks import check_opt_state, check_params
from .entry import compiled
from .epoch import check_sizes, epoch, key_of_order
from .evaluation import measure_all
from .placed import DATA_HINTS, Shard, data_on_devices, facts_of_call, placed, read_in_order, together_on
from .segments import in_segments, rematerialized
from .state import TrainState, check_state, check_task
from .stopping import PureCallback, early_stopping, reduce_on_plateau
from .task import Task
from .totals import results
from .values import check_known_targets, warn_of_former_hyper


@renamed()
def run(
    task: Task,
    ts: TrainState,
    data: PyTree,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: PyTree = None,
    shuffle: bool = True,
    drop_remainder: bool = False,
    order_key: Array | None = None,
    callbacks: Sequence[PureCallback] = (),
    eval_batch_size: int = 256,
    remat: bool = False,
    mesh: Mesh | None = None,
    shard: Shard | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """Epochs of training, each followed by validation, as one compiled program.

    It is pure: `many` or ``jax.vmap`` trains many networks in one program, and ``jax.grad`` differentiates a
    validation loss with respect to hyper-parameters or weights of the data.

    Args:
      task, ts: the `Task`, and the `TrainState` before.
      data: ``(x, y)`` or ``(x, y, sample_weight)``; see `train_epoch`.
      epochs: passes over the data; default 1.
      batch_size, shuffle, drop_remainder: see `train_epoch`.
      order_key: as in `train_epoch`; epoch ``i`` of this call has the order of ``fold_in(order_key, i)``.
      validation_data: like ``data``; measured after every epoch, with training mode off.
      callbacks: those of `early_stopping` and `reduce_on_plateau`, which become part of the program. Under `many` or
        ``jax.vmap`` each member stops on its own.
      eval_batch_size: examples per batch of validation; default 256.
      remat: whether a derivative of the run keeps only a few states and recomputes the others (`jax.checkpoint`):
        memory for about ``2 sqrt(epochs) + 2 sqrt(steps of an epoch)`` states instead of every step with its
        intermediate values, for about twice the work. Default False; without a derivative it changes nothing.
      mesh, shard: several devices, as in `fnn.fit`; default one device.

    Returns:
      ``(ts, history)``: the new state, and by name arrays of shape (epochs,): "loss", the task's metrics, and with
      validation data "val_loss" and so on. With callbacks also "epoch", the number (from 0) of the state's epoch;
      epochs after training stopped are NaN.

    Raises:
      InputError: as `train_epoch`; for ``epochs`` below 1 or other callbacks.

    >>> import jax, jax.numpy as jnp, fnn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    >>> def trial(key):
    ...     return fnn.run(task, fnn.init(task, key, x), (x, 3 * x + 1), epochs=20, batch_size=16)
    >>> ts, history = jax.vmap(trial)(jax.random.split(jax.random.key(0), 5))
    >>> ts.params["kernel"].shape, history["loss"].shape
    ((5, 1, 1), (5, 20))
    """
    check_task(task)
    check_state(ts)
    data = own_copy(as_batch(data))
    if validation_data is not None:
        validation_data = own_copy(as_batch(validation_data, "validation_data"))
        size_of(validation_data, "validation_data")
    check_count("run", "epochs", epochs)
    check_count("run", "eval_batch_size", eval_batch_size)
    check_sizes("run", size_of(data), batch_size, drop_remainder)
    order = key_of_order(order_key)  # checked before it is folded
    callbacks = (callbacks,) if isinstance(callbacks, PureCallback) else tuple(callbacks)
    for callback in callbacks:
        if not isinstance(callback, PureCallback):
            made = f"Call it: {callback.__name__}()." if callback in (early_stopping, reduce_on_plateau) else ""
            hint = made or "Functions with side effects belong in fit."
            fail("run", expected="callbacks such as early_stopping()", got=in_words(callback), hint=hint)
    flags = bool(shuffle), bool(drop_remainder), bool(remat)
    sizes = (int(epochs), int(batch_size), int(eval_batch_size), *flags)
    warn_of_former_hyper("run", task, ts)
    given = {"data": data} | ({} if validation_data is None else {"validation_data": validation_data})
    chosen = [(type(callback).__name__, callback.settings) for callback in callbacks]
    with together_on(mesh, "run", ts, given):
        task, ts = placed("run", task, ts, mesh, shard)
        with agreeing("run", DATA_HINTS) as facts:
            for name, batch in given.items():
                check_known_targets(task, batch, name)
            facts |= facts_of_call(task, given | order, sizes=sizes, callbacks=chosen)
        if validation_data is not None:
            validation_data = read_in_order(task, validation_data, int(eval_batch_size))
        data = data_on_devices(task, data, in_any_order=True)
        ts, history, trained = _run(task, ts, data, validation_data, order_key, callbacks, sizes)
    if trained is not None:
        with jax.debug_nans(False):  # a missing value is no mistake
            history = _filled(history, trained)
    return ts, history


@jit
def _filled(history: dict[str, Array], trained: Array) -> dict[str, Array]:
    """NaN for epochs after training stopped."""
    filled = {name: jnp.where(trained, a, jnp.full_like(a, jnp.nan)) for name, a in history.items() if name != "epoch"}
    return history | filled


@compiled
@jit(static_argnums=(0, 5, 6))
def _run(
    task: Task,
    ts: TrainState,
    data: Batch,
    validation_data: Batch | InBatches | None,
    order_key: Array | None,
    callbacks: tuple[PureCallback, ...],
    sizes: tuple[int, int, int, bool, bool, bool],
) -> tuple[TrainState, dict[str, Array], Array | None]:
    """See `run`; with callbacks also which epochs were trained."""
    epochs, batch_size, eval_batch_size, shuffle, drop_remainder, remat = sizes
    check_params(task, ts, data.x)
    check_opt_state(task, ts)

    def body(ts: TrainState, i: Array) -> tuple[TrainState, dict[str, Array]]:
        # The number of the epoch is the same for all members of a vmap, so they share the order.
        key = None if order_key is None else fold_in(order_key, i)
        ts, totals = epoch(task, ts, data, batch_size, shuffle, drop_remainder, key, remat=remat)
        logs = results(task, totals)
        if validation_data is not None:
            measured = measure_all(task, ts.params, ts.state, validation_data, eval_batch_size, remat)
            logs |= {f"val_{name}": value for name, value in results(task, measured).items()}
        return ts, logs

    numbers = jnp.arange(epochs, dtype=jnp.uint32)
    if callbacks:
        return _with_callbacks(rematerialized(body) if remat else body, ts, numbers, callbacks)
    return *(in_segments(body, ts, numbers) if remat else jax.lax.scan(body, ts, numbers)), None


def _with_callbacks(
    body: Callable[[TrainState, Array], tuple[TrainState, dict[str, Array]]],
    ts: TrainState,
    numbers: Array,
    callbacks: tuple[PureCallback, ...],
) -> tuple[TrainState, dict[str, Array], Array]:
    """Epochs until a callback stops; the rest are skipped, or have no effect on this member of a batch."""

    def go(carry: PyTree, i: Array) -> PyTree:
        ts, memories, stopped, _ = carry
        ts, logs = body(ts, i)
        after = []
        for callback, memory in zip(callbacks, memories, strict=True):
            memory, ts, stop = callback.after(memory, i, ts, logs)
            after.append(memory)
            stopped = stopped | stop
        return (ts, tuple(after), stopped, i.astype(jnp.int32)), (logs, jnp.bool_(True))

    def skip(carry: PyTree, i: Array) -> PyTree:
        return carry, zeros(jax.eval_shape(go, carry, i)[1])

    def step(carry: PyTree, i: Array) -> PyTree:
        return jax.lax.cond(carry[2], skip, go, carry, i)

    start = ts, tuple(callback.start(ts) for callback in callbacks), jnp.bool_(False), jnp.int32(-1)
    (ts, memories, _, last), (history, trained) = jax.lax.scan(step, start, numbers)
    for callback, memory in zip(callbacks, memories, strict=True):
        ts, last = callback.end(memory, ts, last)
    return ts, history | {"epoch": last}, trained
