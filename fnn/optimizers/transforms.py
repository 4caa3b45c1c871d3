"""Transforms of gradients and wrappers of optimizers, all with the optimizer's own protocol."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._core.checks import check_count
from .._core.context import setting
from .._core.described import described, in_words
from .._core.dtypes import at_least_float32, widened
from .._core.errors import counted, fail, kind_of
from .._core.norms import norm, scaled_norm, shrunk
from .._core.trees import Where, check_matches, map_with_path, matches, paths, scalar
from .._core.types import Array, PyTree
from .._core.warn import warn
from .base import (
    UPDATE_CALL,
    Number,
    Optimizer,
    OptimizerLike,
    OptState,
    apply_updates,
    check_rule,
    evaluate_hyper,
    in_code,
    split_schedules,
)
from .hyper import check_hyper
from .rules import get_optimizer
from .schedules import as_hyper


def inner_optimizer(optimizer: OptimizerLike | str) -> OptimizerLike:
    """The optimizer inside a wrapper; one of optax gets gradients and parameters in float32 at least.

    Optax's optimizers would keep slots in the dtype of the parameters.
    """
    inner = get_optimizer(optimizer)
    if isinstance(inner, Optimizer):
        return inner

    def update(grads: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        return inner.update(widened(grads), state, widened(params))

    return Optimizer(lambda params: inner.init(widened(params)), update)


def wrapper(
    inner: OptimizerLike, init: Callable[[PyTree], PyTree], update: Callable[..., tuple[PyTree, PyTree]]
) -> Optimizer:
    """An optimizer with the rules of the one inside it."""
    return Optimizer(init, update, getattr(inner, "rules", None))


@described
def chain(*optimizers: OptimizerLike | str) -> Optimizer:
    """Transforms in sequence: each receives the updates of the one before it, in float32 at least.

    Args:
      *optimizers: `Optimizer`s, optax's transforms, or names, anything else is refused; the last is usually a rule
        such as `fnn.adam`. After a rule, clipping limits the step, not the gradient, and warns (`RuntimeWarning`).

    Raises:
      InputError: for two rules, of which the second would take the steps of the first for gradients.

    >>> import jax.numpy as jnp, fnn
    >>> optimizer = chain(clip_by_global_norm(1.0), fnn.sgd(0.1))
    >>> updates, _ = optimizer.update(jnp.array([3.0, 4.0]), optimizer.init(jnp.zeros(2)), jnp.zeros(2))
    >>> print(updates.round(4))
    [-0.06 -0.08]
    """
    parts = tuple(inner_optimizer(optimizer) for optimizer in optimizers)
    rules = _rules_in_chain(parts)

    def init(params: PyTree) -> PyTree:
        return tuple(part.init(params) for part in parts)

    def update(grads: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        if not isinstance(state, tuple) or len(state) != len(parts):
            expected = f"a state of {counted(len(parts), 'part')} from chain(...).init(params)"
            fail("chain", expected=expected, got=kind_of(state))
        grads, new = widened(grads), []
        for part, part_state in zip(parts, state, strict=True):
            grads, part_state = part.update(grads, part_state, params)
            new.append(part_state)
        return grads, tuple(new)

    return Optimizer(init, update, rules)


def _rules_in_chain(parts: Sequence[OptimizerLike]) -> int | None:
    """The number of rules, None if not known; two are refused, and one before a transform is reported."""
    counts = [getattr(part, "rules", None) for part in parts]
    rules = [part for part, count in zip(parts, counts, strict=True) if count]
    if len(rules) > 1:
        hint = f"Write one of them, or fnn.by_path({{pattern: {in_code(rules[0])}, '*': {in_code(rules[1])}}})."
        got = " and ".join(map(in_words, rules))
        fail("chain", expected="transforms and one rule such as fnn.adam()", got=got, hint=hint)
    if rules and 0 in counts[(at := counts.index(1)) :]:
        first = [*(part for part, count in zip(parts, counts, strict=True) if not count), parts[at]]
        after = parts[counts.index(0, at)]
        warn(
            f"chain: {in_words(after)} comes after {in_words(parts[at])} and changes its step, not the gradient. For "
            f"the gradient write fnn.chain({', '.join(map(in_code, first))})."
        )
    return None if None in counts else len(rules)


def _clipping(where: str, argument: str, fn: Callable[[PyTree, Array], PyTree], **hyper: Number) -> Optimizer:
    """A transform ``fn(grads, limit) -> grads``, whose constructor calls the limit ``argument``."""
    check_hyper(where, hyper, argument)
    leaves, schedules = split_schedules(hyper)

    def init(params: PyTree) -> OptState:
        return OptState(scalar(0, jnp.int32), jax.tree.map(as_hyper, leaves), {})

    def update(grads: PyTree, state: OptState, params: PyTree = None) -> tuple[PyTree, OptState]:
        if not isinstance(state, OptState):
            fail("transform", expected="the OptState of transform.init(params)", got=kind_of(state))
        (limit,) = evaluate_hyper(state.hyper, schedules, state.step).values()
        return fn(grads, limit), state._replace(step=state.step + 1)

    return Optimizer(init, update, rules=0)


def global_norm(tree: PyTree) -> Array:
    """``sqrt(sum of squares)`` over all leaves of a tree, in float32 at least.

    Squares neither overflow nor underflow: the norm of (3e20, 4e20) is 5e20. Infinity and NaN stay visible in it.

    >>> import jax.numpy as jnp
    >>> print(global_norm({"a": jnp.array([3.0]), "b": jnp.array([4.0])}))
    5.0
    """
    return norm(*jax.tree.leaves(tree))


@described
def clip_by_value(limit: Number) -> Optimizer:
    """Clip every element of the gradients to ``[-limit, limit]``. `set_hyper` calls the limit ``clip_value``.

    Raises:
      InputError: for a limit that is not finite or not above 0.
    """

    def clip(grads: PyTree, limit: Array) -> PyTree:
        def clipped(g: Array) -> Array:
            wide = at_least_float32(g.dtype)  # in float16 a limit above 65504 is infinite, and one below 6e-8 is 0
            return jnp.clip(g.astype(wide), -limit.astype(wide), limit.astype(wide)).astype(g.dtype)

        return jax.tree.map(clipped, grads)

    return _clipping("clip_by_value", "limit", clip, clip_value=limit)


@described
def clip_by_norm(max_norm: Number) -> Optimizer:
    """Scale each gradient array down to the norm ``max_norm`` if it exceeds it. `set_hyper` calls it ``clip_norm``.

    The norm is that of `global_norm`. A NaN makes its whole array NaN, and an infinity becomes NaN, as in PyTorch and
    optax. Errors as in `clip_by_value`.
    """

    def clip(grads: PyTree, limit: Array) -> PyTree:
        return jax.tree.map(lambda g: shrunk(g, *scaled_norm(g), limit), grads)

    return _clipping("clip_by_norm", "max_norm", clip, clip_norm=max_norm)


@described
def clip_by_global_norm(max_norm: Number) -> Optimizer:
    """Scale all gradients together so that their joint norm is at most ``max_norm`` (Pascanu et al. 2012).

    ``g *= max_norm / max(norm, max_norm)``, arXiv:1211.5063. `set_hyper` calls the limit ``clip_global_norm``.
    A NaN makes all gradients NaN, and an infinity becomes NaN, as in PyTorch and optax. Errors as in `clip_by_value`.
    """

    def clip(grads: PyTree, limit: Array) -> PyTree:
        scale, scaled = scaled_norm(*jax.tree.leaves(grads))
        return jax.tree.map(lambda g: shrunk(g, scale, scaled, limit), grads)

    return _clipping("clip_by_global_norm", "max_norm", clip, clip_global_norm=max_norm)


class AccumulateState(NamedTuple):
    """State of `accumulate`: calls since the last update, the sum of their gradients, and the inner state."""

    calls: Array
    total: PyTree
    inner: PyTree


@described
def accumulate(optimizer: OptimizerLike | str, every: int) -> Optimizer:
    """Sum gradients over ``every`` calls, then update once with their mean; other calls change no parameter.

    This trains with a batch ``every`` times as large in the memory of one.

    Args:
      optimizer: an `Optimizer`, optax's, or a name.
      every: calls per update, at least 1.
    """
    check_count("accumulate", "every", every)
    inner = inner_optimizer(optimizer)
    check_rule("accumulate", inner, lambda rule: f"fnn.accumulate({rule}, {every})")

    def init(params: PyTree) -> AccumulateState:
        # Sums in float32 at least: in bfloat16 small gradients would be lost beside a larger sum.
        total = jax.tree.map(lambda p: jnp.zeros(p.shape, at_least_float32(p.dtype)), params)
        return AccumulateState(scalar(0, jnp.int32), total, inner.init(params))

    def update(grads: PyTree, state: AccumulateState, params: PyTree = None) -> tuple[PyTree, AccumulateState]:
        total = jax.tree.map(lambda t, g: t + g.astype(t.dtype), state.total, grads)

        def act() -> tuple[PyTree, AccumulateState]:
            mean = jax.tree.map(lambda t: t / every, total)
            updates, inner_state = inner.update(mean, state.inner, params)
            zeros = jax.tree.map(jnp.zeros_like, total)
            return updates, AccumulateState(jnp.zeros((), jnp.int32), zeros, inner_state)

        def wait() -> tuple[PyTree, AccumulateState]:
            still = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(act)[0])
            return still, AccumulateState(state.calls + 1, total, state.inner)

        out: tuple[PyTree, AccumulateState] = jax.lax.cond(state.calls + 1 >= every, act, wait)
        return out

    return wrapper(inner, init, update)


_frozen: contextvars.ContextVar[set[str] | None] = contextvars.ContextVar("frozen", default=None)


def note_frozen(paths: Iterable[str]) -> None:
    """Called by the ``init`` of a transform that keeps these parameters fixed, for `frozen_paths`."""
    if (found := _frozen.get()) is not None:
        found.update(paths)


def frozen_paths(optimizer: OptimizerLike, params: PyTree) -> set[str]:
    """The paths of all parameters that `freeze` or `by_path` keeps fixed in an optimizer; optax's are not detected."""
    found: set[str] = set()
    with setting(_frozen, found):
        jax.eval_shape(lambda params: optimizer.init(params), params)  # a new function, which JAX has not traced yet
    return found


@described
def freeze(optimizer: OptimizerLike | str, where: Where) -> Optimizer:
    """Keep the parameters whose path matches fixed; they get no slots and no update.

    A task's constraint acts on every parameter that its pattern matches, frozen or not.

    Args:
      optimizer: an `Optimizer`, optax's, or a name; it receives None in place of the frozen leaves.
      where: a pattern such as ``"conv*"`` or ``"*/bias"``, several, or a function of the path; one must match.

    >>> import jax.numpy as jnp, fnn
    >>> params = {"body": jnp.ones(2), "head": jnp.ones(2)}
    >>> optimizer = freeze(fnn.sgd(0.5), "body*")
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> print(updates["body"], updates["head"])
    [0. 0.] [-0.5 -0.5]
    """
    inner = inner_optimizer(optimizer)

    def trained(tree: PyTree) -> PyTree:
        return map_with_path(lambda path, leaf: None if matches(where, path) else leaf, tree)

    def init(params: PyTree) -> PyTree:
        check_matches("freeze", where, paths(params))
        note_frozen(path for path in paths(params) if matches(where, path))
        return inner.init(trained(params))

    def update(grads: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        updates, state = inner.update(trained(grads), state, None if params is None else trained(params))
        return jax.tree.map(lambda g, u: jnp.zeros_like(g) if u is None else u, grads, updates), state

    return wrapper(inner, init, update)


class EmaState(NamedTuple):
    """State of `ema`: the averaged parameters with their decay, and the state of the optimizer inside."""

    average: OptState
    inner: PyTree


@described
def ema(optimizer: OptimizerLike | str, decay: Number = 0.999) -> Optimizer:
    """Keep an exponential moving average of the parameters, ``a = decay a + (1 - decay) p`` after each update.

    Training is unchanged; the average starts at the first parameters and ignores a task's constraint. Get it with
    `averaged` (Polyak and Juditsky 1992; Izmailov et al. 2018).

    Args:
      optimizer: an `Optimizer`, optax's, or a name.
      decay: share of the old average kept at each step, in [0, 1]; `set_hyper` calls it ``ema_decay``.
    """
    check_hyper("ema", {"ema_decay": decay}, "decay")
    inner = inner_optimizer(optimizer)
    check_rule("ema", inner, lambda rule: f"fnn.ema({rule})")
    leaves, schedules = split_schedules({"ema_decay": decay})

    def init(params: PyTree) -> EmaState:
        hyper = jax.tree.map(as_hyper, leaves)
        # In float32 at least: beside a bfloat16 average the small steps towards the parameters would be lost.
        average = jax.tree.map(lambda p: jnp.array(p, at_least_float32(p.dtype), copy=True), params)
        return EmaState(OptState(scalar(0, jnp.int32), hyper, {"average": average}), inner.init(params))

    def update(grads: PyTree, state: EmaState, params: PyTree = None) -> tuple[PyTree, EmaState]:
        if params is None:
            fail("ema", expected="the parameters", got="None", hint=UPDATE_CALL)
        updates, inner_state = inner.update(grads, state.inner, params)
        own = state.average
        keep = evaluate_hyper(own.hyper, schedules, own.step)["ema_decay"]

        def move(a: Array, p: Array) -> Array:
            k = keep.astype(a.dtype)
            return k * a + (1 - k) * p.astype(a.dtype)

        average = jax.tree.map(move, own.slots["average"], apply_updates(params, updates))
        return updates, EmaState(own._replace(step=own.step + 1, slots={"average": average}), inner_state)

    return wrapper(inner, init, update)


def averaged(ts: PyTree) -> PyTree:
    """A TrainState whose parameters are the moving average kept by `ema`; a state without one is refused."""
    nodes = jax.tree.leaves(ts.opt_state, is_leaf=lambda node: isinstance(node, EmaState))
    found = [node for node in nodes if isinstance(node, EmaState)]
    if not found:
        fail("averaged", expected="the state of an optimizer with ema(...)", got=kind_of(ts.opt_state))
    # Inside freeze the average holds None for a frozen parameter, which does not move.
    average = found[-1].average.slots["average"]
    return ts._replace(params=jax.tree.map(lambda p, a: p if a is None else a.astype(p.dtype), ts.params, average))
