"""Dynamic loss scaling for float16."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._core.checks import check_count, check_range
from .._core.described import described
from .._core.errors import describe, fail, kind_of
from .._core.trees import all_finite, other_entries, paths, scalar, shape_of
from .._core.types import Array, PyTree
from .base import Optimizer, OptimizerLike
from .transforms import inner_optimizer, wrapper

SMALLEST, LARGEST = 2.0**-24, 2.0**24


class LossScaleState(NamedTuple):
    """State of `dynamic_loss_scale`.

    Attributes:
      loss_scale: the factor, a float32 scalar.
      good_steps: steps with finite gradients since the factor last changed, an int32 scalar.
      skipped: steps skipped so far, an int32 scalar.
      inner: the state of the optimizer inside.
    """

    loss_scale: Array
    good_steps: Array
    skipped: Array
    inner: PyTree


@described
def dynamic_loss_scale(
    optimizer: OptimizerLike | str, initial_scale: float = 2.0**15, growth_interval: int = 2000
) -> Optimizer:
    """Scale the loss so that gradients fit into float16, and skip steps whose gradients overflow.

    A `fnn.Task` with ``compute_dtype="float16"`` wraps its optimizer in one of these, unless it is one. Training
    multiplies the loss by ``loss_scale`` before it takes the gradients, and divides them by it in float32
    (Micikevicius et al. 2018, arXiv:1710.03740).

    - If a gradient is not finite, the step is skipped: parameters, slots and the state of layers stay as they are, and
      the scale is halved.
    - After ``growth_interval`` steps with finite gradients in a row, the scale is doubled.

    The scale stays between 2^-24 and 2^24. At 2^-24, gradients that are not finite cannot be fixed by a smaller scale:
    the step is then applied, so that `fnn.fit` with ``check="finite"`` reports it.

    Args:
      optimizer: an `Optimizer`, optax's, or a name. Its ``update`` must return a state of the shapes and dtypes that
        it receives. It must be outermost: ``dynamic_loss_scale(fnn.ema("adam"))``.
      initial_scale: the first scale, default 2^15. Powers of 2 leave the gradients' bits alone.
      growth_interval: steps before the scale is doubled; default 2000, as in Keras and PyTorch.

    Raises:
      InputError: for a scale outside those bounds, a ``growth_interval`` below 1, and, when a step is traced, for an
        optimizer whose state changes its shapes or dtypes.

    Its state is ``ts.opt_state``, a `LossScaleState` with ``loss_scale``, ``good_steps``, ``skipped`` and ``inner``.

    >>> import jax.numpy as jnp, fnn
    >>> optimizer = dynamic_loss_scale(fnn.sgd(0.5))
    >>> state = optimizer.init(jnp.zeros(2))
    >>> updates, state = optimizer.update(jnp.array([1.0, jnp.inf]), state)
    >>> print(updates, state.loss_scale, state.skipped)
    [-0. -0.] 16384.0 1
    """
    check_range("dynamic_loss_scale", "initial_scale", initial_scale, SMALLEST, LARGEST)
    check_count("dynamic_loss_scale", "growth_interval", growth_interval)
    inner = inner_optimizer(optimizer)

    def init(params: PyTree) -> LossScaleState:
        scale = jnp.asarray(initial_scale, jnp.float32)
        return LossScaleState(scale, scalar(0, jnp.int32), scalar(0, jnp.int32), inner.init(params))

    def update(grads: PyTree, state: LossScaleState, params: PyTree = None) -> tuple[PyTree, LossScaleState]:
        if not isinstance(state, LossScaleState):
            expected = "a state from dynamic_loss_scale(...).init(params)"
            fail("dynamic_loss_scale", expected=expected, got=kind_of(state))
        finite = all_finite(grads)
        applied = finite | (state.loss_scale <= SMALLEST)
        # Zeros, since a derivative through a NaN that is not selected is NaN.
        harmless = jax.tree.map(lambda g: jnp.where(applied, g, jnp.zeros_like(g)), grads)
        updates, new = inner.update(harmless, state.inner, params)
        _check_same(state.inner, new)
        # Adding -0.0 keeps every bit; adding 0.0 would turn -0.0 into 0.0.
        updates = jax.tree.map(lambda u: jnp.where(applied, u, jnp.full_like(u, -0.0)), updates)
        scale, good = _next_scale(state, finite, growth_interval)
        skipped = state.skipped + (~applied).astype(jnp.int32)
        return updates, LossScaleState(scale, good, skipped, chosen(applied, new, state.inner))

    return wrapper(inner, init, update)


def loss_scale_of(opt_state: PyTree) -> Array | None:
    """The factor of the loss in an optimizer's state; None without one."""
    return opt_state.loss_scale if isinstance(opt_state, LossScaleState) else None


def was_applied(before: PyTree, after: PyTree) -> Array | None:
    """Whether the update between two states of an optimizer was made and not skipped; None without a loss scale."""
    # The protocol of optimizers has no room for a flag, but a skipped step, and no other, raises the count.
    return after.skipped == before.skipped if isinstance(after, LossScaleState) else None


def chosen(applied: Array, new: PyTree, old: PyTree) -> PyTree:
    """The new tree if a step was applied, else the old one."""
    return jax.tree.map(lambda a, b: jnp.where(applied, a, b), new, old)


def _next_scale(state: LossScaleState, finite: Array, growth_interval: int) -> tuple[Array, Array]:
    """The scale after a step, and the steps with finite gradients since it changed."""
    good = jnp.where(finite, state.good_steps + 1, 0)
    grows = good >= growth_interval
    grown = jnp.where(grows, jnp.minimum(state.loss_scale * 2, LARGEST), state.loss_scale)
    scale = jnp.where(finite, grown, jnp.maximum(state.loss_scale / 2, SMALLEST))
    return scale, jnp.where(grows, 0, good)


def _check_same(before: PyTree, after: PyTree) -> None:
    """Refuse an optimizer that changes the shape of its state, which a skipped step could not restore."""
    expected = "an optimizer whose update returns a state of the shapes and dtypes that it receives"
    want, have = paths(shape_of(before)), paths(shape_of(after))
    same: list[object] = [jax.tree.structure(tree) for tree in (before, after)]
    if same[0] != same[1]:
        got = other_entries(want, have) or "a state of another structure"
        fail("dynamic_loss_scale", expected=expected, got=got)
    for path, leaf in want.items():
        if (leaf.shape, leaf.dtype) != (have[path].shape, have[path].dtype):
            got = f"{describe(have[path])} for {path!r}, before {describe(leaf)}"
            fail("dynamic_loss_scale", expected=expected, got=got)
