"""Terms that layers add to the loss: activity penalties, and `AddedLoss` for custom layers."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

import jax
import jax.numpy as jnp

from .._core.checks import check_float, check_range, leaf
from .._core.described import described
from .._core.dtypes import at_least_float32, widened
from .._core.types import Array, Key, Params, PyTree, Scalar, State
from .layer import Layer, Output
from .masks import sequence_of


class AddedLoss(NamedTuple):
    """A number in a layer's state that is added to the loss of the batch and differentiated with it.

    Any layer may keep one in its state and return a new value, computed from the batch, at each call. Values with axes
    (from a layer that holds many) are summed. `train_step` and everything built on it add the value in training, and
    `evaluate` adds it in evaluation, weighting each batch by its number of examples.

    Attributes:
      value: a floating-point array, of the same dtype at each call.

    >>> import jax, jax.numpy as jnp, fnn
    >>> def init(key, x):
    ...     return {}, {"rows_apart": fnn.AddedLoss(jnp.zeros(()))}
    >>> def apply(params, state, x, *, key=None, train=False):
    ...     return x, {"rows_apart": fnn.AddedLoss(-0.1 * jnp.var(x, 0).mean())}
    >>> model = fnn.Sequential(fnn.Dense(4), fnn.Layer(init, apply, name="spread"), fnn.Dense(1))
    """

    value: Array


def is_added_loss(node: object) -> TypeGuard[AddedLoss]:
    """Whether a node of a state is an `AddedLoss`."""
    return isinstance(node, AddedLoss)


def added_losses(state: PyTree) -> list[Array]:
    """The values of every `AddedLoss` in a model's state, as scalars."""
    nodes = jax.tree.leaves(state, is_leaf=is_added_loss)
    return [jnp.sum(widened(jnp.asarray(node.value))) for node in nodes if is_added_loss(node)]


def activity_penalty(x: Array, l1: Scalar = 0.0, l2: Scalar = 0.0) -> Array:
    """``(l1 sum|x| + l2 sum x^2) / batch``, in float32 at least; independent of the batch size, as in Keras.

    Args:
      x: (batch, ...), of a floating-point dtype; a scalar counts as one example.
      l1, l2: weights of the absolute values and of the squares, at least 0; may be traced. Negative weights and other
        dtypes of ``x`` are refused.

    >>> import jax.numpy as jnp
    >>> print(activity_penalty(jnp.array([[1.0, -2.0], [0.0, 3.0]]), l1=1.0, l2=0.1))
    3.7
    """
    check_float("activity_penalty", x)
    for name, rate in (("l1", l1), ("l2", l2)):
        check_range("activity_penalty", name, rate, 0)
    wide = widened(x)
    total = jnp.zeros((), wide.dtype)
    # A plain 0 omits its term, which might not be finite.
    for rate, measure in ((l1, jnp.abs), (l2, jnp.square)):
        if not (isinstance(rate, (int, float)) and rate == 0):
            total = total + jnp.asarray(rate, wide.dtype) * jnp.sum(measure(wide))
    return total / x.shape[0] if x.ndim else total


@described
def ActivityRegularization(l1: Scalar = 0.0, l2: Scalar = 0.0, *, name: str = "activity_regularization") -> Layer:
    """Pass ``x`` through and add ``(l1 sum|x| + l2 sum x^2) / batch`` to the loss, as in Keras.

    The layer's state holds the value as an `AddedLoss`. That keeps the function pure, so the layer works inside any
    other and under ``jit``, ``vmap`` and ``grad``; ``ts.state`` holds the value of the last batch.

    The loss reported by training and `evaluate` includes the value, as in Keras; in evaluation it does not depend on
    ``batch_size``. Sample weights do not apply. In a `Masked` every step of x counts, masked or not, as in Keras.

    Args:
      l1, l2: as in `activity_penalty`, and so are the errors; traced weights can be swept under ``vmap``.

    Shapes: any shape, unchanged.

    >>> import jax, jax.numpy as jnp, fnn
    >>> model = fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.ActivityRegularization(l1=1e-3), fnn.Dense(3))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> list(fnn.paths(state))
    ['activity_regularization/penalty/value']
    """
    for argument, rate in (("l1", l1), ("l2", l2)):
        check_range("ActivityRegularization", argument, rate, 0)

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        values, _ = sequence_of("ActivityRegularization", x)
        check_float("ActivityRegularization", values)
        return {}, {"penalty": AddedLoss(jnp.zeros((), at_least_float32(values.dtype)))}

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        before = leaf("ActivityRegularization", state, "penalty")
        added = activity_penalty(sequence_of("ActivityRegularization", x)[0], l1, l2)
        # In the dtype of the state, which a loop over steps must keep.
        return x, {"penalty": AddedLoss(added.astype(before.value.dtype))}

    # The added loss depends on the whole batch: rows that pad it would add theirs.
    return Layer(init, apply, name, "ActivityRegularization", per_example=False)
