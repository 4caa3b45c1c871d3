"""The state of a training: `TrainState`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import jax
import jax.numpy as jnp

from .._core.checks import check_key, is_concrete, renamed
from .._core.errors import counted, fail, kind_of, noted
from .._core.random import child_keys
from .._core.trees import copied, scalar
from .._core.types import Array, PyTree
from .._names import missing_attribute
from ..nn.added_loss import added_losses
from ..nn.layer import Layer, example_of
from ..nn.observe import pair_of
from ..optimizers.base import OptimizerLike
from .forward import check_output
from .task import Task, check_penalties


def check_task(task: object) -> None:
    """Refuse anything but a `Task`."""
    if not isinstance(task, Task):
        hint = "Make one: fnn.Task(model, loss, optimizer)." if isinstance(task, Layer) else ""
        fail("task", expected="an fnn.Task as first argument", got=kind_of(task), hint=hint)


def check_state(
    ts: object, where: str = "state", expected: str = "a TrainState from fnn.init(task, key, x) as second argument"
) -> None:
    """Refuse anything but a `TrainState`."""
    if isinstance(ts, TrainState):
        return
    got, hint = kind_of(ts), getattr(ts, "instead_of_state", "")
    if isinstance(ts, tuple) and len(ts) == 2 and isinstance(ts[0], TrainState):
        got = f"a pair, (TrainState, {type(ts[1]).__name__})"
        hint = "fit returns (ts, history): write ts, history = fnn.fit(...)."
    fail(where, expected=expected, got=got, hint=hint)


class TrainState(NamedTuple):
    """The current training state; a pytree of arrays.

    Attributes:
      params: trained parameters, a dict by layer name.
      state: other values of layers, such as running means.
      opt_state: the optimizer's state.
      key: the PRNG key of the whole training; step ``i`` uses ``jax.random.fold_in(key, i)``.
      step: training steps made, an int32 scalar.
    """

    params: PyTree
    state: PyTree
    opt_state: PyTree
    key: Array
    step: Array

    def __repr__(self) -> str:
        count = sum(math.prod(getattr(leaf, "shape", ())) for leaf in jax.tree.leaves(self.params))
        # A traced step has no value; one with a leading axis holds many trainings.
        known = getattr(self.step, "shape", None) == () and is_concrete(self.step)
        step = int(self.step) if known else self.step
        return f"TrainState(step={step}, {counted(count, 'parameter')})"


def _missing(ts: TrainState, name: str) -> NoReturn:
    raise AttributeError(missing_attribute("TrainState", name), name=name, obj=ts)


if not TYPE_CHECKING:  # or a type checker would accept any attribute
    TrainState.__getattr__ = _missing


@renamed(
    **dict.fromkeys(("input_shape", "shape"), "the shape third, fnn.init(task, key, {})"),
    **dict.fromkeys(("seed", "random_state"), "key=jax.random.key({})"),
)
def init(task: Task, key: Array | None = None, x: PyTree = None) -> TrainState:
    """The initial training state.

    Args:
      task: the `Task`.
      key: ``jax.random.key(seed)``.
      x: a batch of input; only shape and dtype are read: an array, a `jax.ShapeDtypeStruct`, a dict or tuple of
        them, or a shape without the batch, ``(28, 28, 1)``. One row is enough: ``x_train[:1]``.

    Raises:
      InputError: when a layer refuses its input, with the layer's name and position; when the model ends in
        probabilities but the loss expects logits; when ``key`` is not a key; when parameters are integers; for a
        penalty that does not return a scalar or a constraint that changes shapes; for a pattern of a penalty, a
        constraint or ``weight_decay_where`` that matches no parameter; for an `AddedLoss` in a model with
        ``per_example=True``.

    >>> import jax, jax.numpy as jnp, fnn
    >>> task = fnn.Task(fnn.Dense(3), "mse", fnn.sgd(0.1))
    >>> ts = fnn.init(task, jax.random.key(0), jnp.ones((1, 4)))
    >>> ts.params["kernel"].shape, int(ts.step)
    ((4, 3), 0)
    """
    check_task(task)
    if x is None or key is None:
        hint = "Write fnn.init(task, jax.random.key(0), x[:1])."
        got = "no input" if x is None else "no key"
        fail("init", expected="a PRNG key and an example input after the task", got=got, hint=hint)
    check_key("init", key)
    x = example_of("init", x)
    init_key, train_key = child_keys(key, 2)
    with noted(f"model {task.model.name!r}", innermost=True):
        params, state = pair_of("init", "params, state", task.network.init(init_key, x))
    check_output(task, params, state, x)
    if task.model.per_example and added_losses(state):
        hint = "Its loss term depends on the whole batch; keep per_example=False."
        fail("Task", expected="no layer with an AddedLoss that says per_example=True", got="one", hint=hint)
    check_penalties(task, params)
    ts = TrainState(params, state, task.optimizer.init(params), train_key, scalar(0, jnp.int32))
    own: TrainState = copied(ts)
    return own  # an initializer or a hyper-parameter may be an array of the user's


def with_optimizer(task: Task, ts: TrainState, optimizer: OptimizerLike | str) -> tuple[Task, TrainState]:
    """Continue a training with another optimizer, such as one without `fnn.freeze`, to train a frozen part again.

    The parameters, the state of the layers, the key and the step stay; the new optimizer starts afresh. To change a
    number such as the learning rate alone, use `fnn.set_hyper`.

    Args:
      task, ts: the `Task` and the `TrainState`.
      optimizer: a name, an fnn optimizer, or an optax one.

    Returns:
      ``(task, ts)``, the task with this optimizer and the state for it.

    Raises:
      InputError: for an unknown name, and a pattern that matches no parameter.

    >>> import jax, fnn
    >>> task = fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(1)), "mse", fnn.freeze("adam", "dense"))
    >>> ts = fnn.init(task, jax.random.key(0), (3,))
    >>> task, ts = fnn.with_optimizer(task, ts, fnn.adam(1e-4))
    >>> task.optimizer
    adam(0.0001)
    """
    check_task(task)
    check_state(ts)
    task = task.replace(optimizer=optimizer)
    return task, ts._replace(opt_state=copied(task.optimizer.init(ts.params)))
