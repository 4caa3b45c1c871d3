"""What a layer adds to the loss: activity penalties, and `AddedLoss` for layers of your own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._core.checks import check_float, check_range, leaf
from .._core.described import described
from .._core.dtypes import at_least_float32, widened
from .._core.types import Array
from .layer import Layer
from .masks import sequence_of


class AddedLoss(NamedTuple):
    """A number in a layer's state that training adds to the loss of the batch, with its gradient.

    Any layer may have one: it returns a new value at each call, computed from this batch. Values that are no scalars
    (of a layer that holds many) are summed. `train_step` and all that is built on it add it in training, and
    `evaluate` in evaluation, where the loss of each batch counts by its number of examples.

    Attributes:
      value: a floating-point array; its dtype must stay the same from call to call.

    >>> import jax, jax.numpy as jnp, fnn
    >>> def init(key, x):
    ...     return {}, {"rows_apart": fnn.AddedLoss(jnp.zeros(()))}
    >>> def apply(params, state, x, *, key=None, train=False):
    ...     return x, {"rows_apart": fnn.AddedLoss(-0.1 * jnp.var(x, 0).mean())}
    >>> model = fnn.Sequential(fnn.Dense(4), fnn.Layer(init, apply, name="spread"), fnn.Dense(1))
    """

    value: Array


def is_added_loss(node: object) -> bool:
    """Whether a node of a state is an `AddedLoss`."""
    return isinstance(node, AddedLoss)


def added_losses(state: Any) -> list[Array]:
    """The values of all `AddedLoss` in a model's state, as scalars."""
    nodes = jax.tree.leaves(state, is_leaf=is_added_loss)
    return [jnp.sum(widened(jnp.asarray(node.value))) for node in nodes if is_added_loss(node)]


def activity_penalty(x: Array, l1: Any = 0.0, l2: Any = 0.0) -> Array:
    """``(l1 sum|x| + l2 sum x^2) / batch``, so that its weight does not depend on the batch's size, as in Keras.

    Args:
      x: (batch, ...), of a floating-point dtype; a scalar is taken as one example.
      l1: weight of the absolute values, at least 0; may be traced.
      l2: weight of the squares, likewise.

    Returns:
      A scalar, in float32 at least.

    Raises:
      InputError: for negative weights, or an ``x`` that is not of a floating-point dtype.

    >>> import jax.numpy as jnp
    >>> print(activity_penalty(jnp.array([[1.0, -2.0], [0.0, 3.0]]), l1=1.0, l2=0.1))
    3.7
    """
    check_float("activity_penalty", x)
    for name, rate in (("l1", l1), ("l2", l2)):
        check_range("activity_penalty", name, rate, 0)
    wide = widened(x)
    total = jnp.zeros((), wide.dtype)
    # A plain 0 leaves its term out, which may not be finite.
    for rate, measured in ((l1, jnp.abs), (l2, jnp.square)):
        if not (isinstance(rate, (int, float)) and rate == 0):
            total = total + jnp.asarray(rate, wide.dtype) * jnp.sum(measured(wide))
    return total / x.shape[0] if x.ndim else total


@described
def ActivityRegularization(l1: Any = 0.0, l2: Any = 0.0, *, name: str = "activity_regularization") -> Layer:
    """Hands ``x`` on and adds ``(l1 sum|x| + l2 sum x^2) / batch`` to the loss, as in Keras.

    The value travels in the layer's state as an `AddedLoss`, so that it is part of the pure function: it works inside
    any other layer and under ``jit``, ``vmap`` and ``grad``. ``ts.state`` holds that of the last batch.

    The loss that training and `evaluate` report includes it, as in Keras; in evaluation it is that of the data
    evaluated, whatever ``batch_size``. Sample weights do not enter. Of a `Masked` all steps of x count, masked
    ones too, as in Keras.

    Args:
      l1: weight of the absolute values, at least 0; may be traced, so that it can be swept under ``vmap``.
      l2: weight of the squares, likewise.
      name: base name in `Sequential`.

    Shapes: any, to the same.

    Raises:
      InputError: for negative weights; when applied, for an ``x`` that is not of a floating-point dtype.

    >>> import jax, jax.numpy as jnp, fnn
    >>> model = fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.ActivityRegularization(l1=1e-3), fnn.Dense(3))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> list(fnn.paths(state))
    ['activity_regularization/penalty/value']
    """
    for what, rate in (("l1", l1), ("l2", l2)):
        check_range("ActivityRegularization", what, rate, 0)

    def init(key: Array, x: Any) -> tuple[Any, Any]:
        values, _ = sequence_of("ActivityRegularization", x)
        check_float("ActivityRegularization", values)
        return {}, {"penalty": AddedLoss(jnp.zeros((), at_least_float32(values.dtype)))}

    def apply(params: Any, state: Any, x: Any, *, key: Array | None = None, train: bool = False) -> Any:
        before = leaf("ActivityRegularization", state, "penalty")
        added = activity_penalty(sequence_of("ActivityRegularization", x)[0], l1, l2)
        # In the dtype of the state, which a loop over steps must keep.
        return x, {"penalty": AddedLoss(added.astype(before.value.dtype))}

    # What it returns depends on each example alone, but not what it adds: filling rows up would add theirs.
    return Layer(init, apply, name, "ActivityRegularization", per_example=False)
