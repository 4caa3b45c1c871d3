"""A whole training run as one pure function."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import check_count, check_key
from .state import Task, TrainState, check_task
from .step import check_sizes, epoch, measure_all, results, size_of

Array = jax.Array


@partial(
    jax.jit, static_argnums=0, static_argnames=("epochs", "batch_size", "shuffle", "drop_remainder", "eval_batch_size")
)
def run(
    task: Task,
    ts: TrainState,
    data: Any,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Any = None,
    shuffle: bool = True,
    drop_remainder: bool = False,
    order_key: Array | None = None,
    eval_batch_size: int = 256,
) -> tuple[TrainState, dict[str, Array]]:
    """Epochs of training, each followed by validation, as one compiled program.

    It is pure: `many` or ``jax.vmap`` trains many networks in one program, and ``jax.grad`` differentiates a
    validation loss with respect to hyper-parameters or weights of the data.

    Args:
      task: the `Task`.
      ts: the `TrainState` before.
      data: ``(x, y)`` or ``(x, y, sample_weight)``; see `train_epoch`.
      epochs: passes over the data; default 1.
      batch_size, shuffle, drop_remainder: see `train_epoch`.
      order_key: as in `train_epoch`; epoch ``i`` of this call has the order of ``jax.random.fold_in(order_key, i)``.
      validation_data: like ``data``; measured after every epoch, in training mode off.
      eval_batch_size: examples per batch of validation; default 256.

    Returns:
      ``(ts, history)``: the new state, and by name arrays of shape (epochs,): "loss", the task's metrics, and with
      validation data "val_loss" and so on.

    Raises:
      InputError: as `train_epoch`; for ``epochs`` below 1. Values (labels outside the classes, NaN) are seen only by
        `fit` and `evaluate`.

    >>> import jax, jax.numpy as jnp, fnn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    >>> def trial(key):
    ...     return fnn.run(task, fnn.init(task, key, x), (x, 3 * x + 1), epochs=20, batch_size=16)
    >>> ts, history = jax.vmap(trial)(jax.random.split(jax.random.key(0), 5))
    >>> ts.params["kernel"].shape, history["loss"].shape
    ((5, 1, 1), (5, 20))
    """
    check_task(task, ts)
    check_count("run", "epochs", epochs)
    check_count("run", "eval_batch_size", eval_batch_size)
    check_sizes(size_of(data), batch_size, drop_remainder)
    if order_key is not None:
        check_key("order_key", order_key)  # before it is folded

    def body(ts: TrainState, i: Array) -> tuple[TrainState, dict[str, Array]]:
        # The number of the epoch is the same for all members of a vmap, so that they share the order.
        own_key = None if order_key is None else jax.random.fold_in(order_key, i)
        ts, totals = epoch(task, ts, data, batch_size, shuffle, drop_remainder, own_key)
        logs = results(task, totals)
        if validation_data is not None:
            seen = results(task, measure_all(task, ts.params, ts.state, validation_data, eval_batch_size))
            logs |= {f"val_{name}": value for name, value in seen.items()}
        return ts, logs

    return jax.lax.scan(body, ts, jnp.arange(epochs, dtype=jnp.uint32))
