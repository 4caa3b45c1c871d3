"""The `Optimizer` protocol, its state, and rules for one array lifted to trees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._core.checks import is_concrete, real_numbers
from .._core.described import Described, described
from .._core.dtypes import is_float, widened, widest
from .._core.errors import describe, fail
from .._core.trees import Where, check_matches, matches, path_text, paths
from .._core.types import Array
from .hyper import RANGES, check_hyper, check_leaves
from .schedules import Schedule, as_hyper

Number = Any  # a float, an array scalar (traced or not), a Schedule, or a function of the step
Slots = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Optimizer(Described):
    """How parameters follow gradients; optax's protocol, so either can stand in for the other.

    Attributes:
      init: ``init(params) -> opt_state``.
      update: ``update(grads, opt_state, params) -> (updates, opt_state)``; add the updates to the parameters.

    >>> import jax.numpy as jnp, fnn
    >>> optimizer, params = fnn.sgd(0.1), {"w": jnp.array([1.0])}
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update({"w": jnp.array([2.0])}, state, params)
    >>> print(apply_updates(params, updates)["w"], state.step)
    [0.8] 1
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


class OptState(NamedTuple):
    """State of an optimizer.

    Attributes:
      step: updates made so far, an int32 scalar.
      hyper: hyper-parameters by name, each a scalar, or the dict of a `Schedule`'s numbers.
      slots: by name, trees shaped like the parameters.
    """

    step: Array
    hyper: dict[str, Any]
    slots: Slots


def apply_updates(params: Any, updates: Any) -> Any:
    """``params + updates``, leaf by leaf, in the dtype of the parameters.

    The sum is computed in the wider dtype of the two, float32 at least, and rounded once.
    """

    def add(p: Array, u: Array) -> Array:
        wide = widest(p.dtype, u.dtype)
        return (p.astype(wide) + u.astype(wide)).astype(p.dtype)

    return jax.tree.map(add, params, updates)


def is_zero(value: Number) -> bool:
    """Whether a hyper-parameter is the plain number 0, whose term is left out."""
    return is_concrete(value) and not isinstance(value, (jax.Array, Schedule)) and not callable(value) and value == 0


def evaluate_hyper(hyper: dict[str, Any], schedules: dict[str, Any], step: Array) -> dict[str, Array]:
    """The value of each hyper-parameter at a step; leaves of a schedule become its value."""
    now = step.astype(jnp.result_type(float))
    values = dict(hyper)
    for name, schedule in schedules.items():
        value = schedule.rule(now, hyper[name]) if isinstance(schedule, Schedule) else schedule(step)
        values[name] = as_hyper(value)
    return values


def split_schedules(hyper: dict[str, Number]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Leaves for the state, and the schedules (or functions of the step) among the hyper-parameters."""
    leaves, schedules = {}, {}
    for name, value in hyper.items():
        if isinstance(value, Schedule):
            leaves[name], schedules[name] = value.hyper, value
        elif callable(value):
            schedules[name] = value
        else:
            leaves[name] = value
    return leaves, schedules


def _flatten(tree: Any) -> tuple[list[tuple[Any, Array]], Any]:
    return jax.tree_util.tree_flatten_with_path(tree)


def _check_slots(grads: Any, slots: Slots) -> None:
    for name, tree in slots.items():
        ours, theirs = paths(tree), paths(grads)
        if ours.keys() != theirs.keys():
            differ = sorted(ours.keys() ^ theirs.keys())
            fail(
                "optimizer",
                expected=f"an optimizer state of this model; {name!r} differs",
                got=f"other paths: {differ}",
            )
        for path, slot in ours.items():
            if slot.ndim and slot.shape != theirs[path].shape:
                fail(
                    "optimizer",
                    expected=f"an optimizer state of this model, {name}/{path} of shape {theirs[path].shape}",
                    got=describe(slot),
                    hint="Make a new one with optimizer.init(params).",
                )


@described
def from_rule(
    rule: Callable[[Array, dict[str, Array], dict[str, Array], Array], tuple[Array, dict[str, Array]]],
    slots: Mapping[str, Callable[[Array], Array]],
    hyper: Mapping[str, Number],
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """Lift a rule on one array to an `Optimizer` on trees; this is also how to write your own.

    Arithmetic runs in the widest dtype of gradient and parameter, float32 at least, and slots and updates keep it: in
    half precision the update is that of float32, and `apply_updates` rounds the new parameter once.

    Args:
      rule: ``rule(g, slots, h, t) -> (delta, slots)``: ``delta`` is added to the parameter; ``h`` holds the
        hyper-parameters of this step and ``t`` counts updates from 1, all in the dtype of ``g``.
      slots: by name, ``fill(p) -> array``, the first value of that slot for a parameter, which comes in float32 at
        least.
      hyper: hyper-parameters by name, with "learning_rate" among them. Those that an optimizer here has by the same
        name must be in its range; others must not be NaN.
      decay: time-based decay, ``lr / (1 + decay * step)``.
      weight_decay: decoupled weight decay, ``delta -= lr * weight_decay * p`` (Loshchilov and Hutter 2017,
        arXiv:1711.05101).
      weight_decay_where: the paths it applies to, e.g. ``"*kernel"``.

    Raises:
      InputError: for a hyper-parameter out of range.

    >>> import jax.numpy as jnp
    >>> sign_descent = from_rule(lambda g, slots, h, t: (-h["learning_rate"] * jnp.sign(g), slots), {},
    ...                          {"learning_rate": 0.1})
    >>> updates, _ = sign_descent.update(jnp.array([3.0, -2.0]), sign_descent.init(jnp.zeros(2)))
    >>> print(updates)
    [-0.1  0.1]
    """
    has_decay, has_weight_decay = not is_zero(decay), not is_zero(weight_decay)
    optional = {"decay": decay} if has_decay else {}
    optional |= {"weight_decay": weight_decay} if has_weight_decay else {}
    check_hyper("from_rule", **hyper, **optional)
    leaves, schedules = split_schedules({**hyper, **optional})

    def init(params: Any) -> OptState:
        for path, p in paths(params).items():
            if not is_float(p):
                hint = "Keep numbers that are not trained in the layer's state."
                fail(f"optimizer, parameter {path!r}", expected="a floating-point dtype", got=describe(p), hint=hint)
        if has_weight_decay:
            check_matches("weight_decay_where", weight_decay_where, paths(params))
        # Half-precision slots would stop moving: beside 1 a change of 1e-3 is lost.
        state = {name: widened(jax.tree.map(fill, widened(params))) for name, fill in slots.items()}
        return OptState(jnp.zeros((), jnp.int32), jax.tree.map(as_hyper, leaves), state)

    def update(grads: Any, state: OptState, params: Any = None) -> tuple[Any, OptState]:
        if not isinstance(state, OptState):
            fail("optimizer", expected="the OptState of optimizer.init(params)", got=type(state).__name__)
        _check_slots(grads, state.slots)
        h = evaluate_hyper(state.hyper, schedules, state.step)
        if has_decay:
            h["learning_rate"] = h["learning_rate"] / (1 + h["decay"] * state.step.astype(h["decay"].dtype))
        if has_weight_decay and params is None:
            fail("optimizer", expected="update(grads, opt_state, params) with weight decay", got="params=None")
        step = state.step + 1

        flat, treedef = _flatten(grads)
        flat_params = [None] * len(flat) if params is None else treedef.flatten_up_to(params)
        flat_slots = {name: treedef.flatten_up_to(tree) for name, tree in state.slots.items()}
        deltas: list[Array] = []
        new_slots: dict[str, list[Array]] = {name: [] for name in flat_slots}
        for i, ((path, g), p) in enumerate(zip(flat, flat_params, strict=True)):
            wide = widest(g.dtype, *([] if p is None else [p.dtype]))
            own = {name: column[i].astype(wide) for name, column in flat_slots.items()}
            local = {name: value.astype(wide) for name, value in h.items()}
            delta, own = rule(g.astype(wide), own, local, step.astype(wide))
            if has_weight_decay and matches(weight_decay_where, path_text(path)):
                delta = delta - local["learning_rate"] * local["weight_decay"] * p.astype(wide)
            deltas.append(delta.astype(wide))
            for name, column in new_slots.items():
                column.append(own[name].astype(flat_slots[name][i].dtype))
        slots_out = {name: treedef.unflatten(column) for name, column in new_slots.items()}
        return treedef.unflatten(deltas), OptState(step, state.hyper, slots_out)

    return Optimizer(init, update)


def _is_opt_state(node: Any) -> bool:
    return isinstance(node, OptState)


def get_hyper(state: Any) -> dict[str, Any]:
    """All hyper-parameters inside a TrainState or an optimizer's state, by name.

    Where several transforms have one of the same name, the last counts.
    """
    nodes = jax.tree.leaves(state, is_leaf=_is_opt_state)
    return {name: value for node in nodes if _is_opt_state(node) for name, value in node.hyper.items()}


def set_hyper(state: Any, **values: Any) -> Any:
    """A TrainState, or an optimizer's state, with other hyper-parameters; nothing is compiled anew.

    Args:
      state: a TrainState, or the state of any fnn optimizer, chained and wrapped ones too.
      **values: new values by name, traced or not; for a hyper-parameter that follows a `Schedule`, a dict of the
        numbers to change. Every transform that has the name is changed.

    Returns:
      The same tree with other leaves; the given one is unchanged.

    Raises:
      InputError: for a name that no optimizer in ``state`` has, or a value of another shape or outside the range
        that the constructor allows.

    >>> import jax.numpy as jnp, fnn
    >>> state = set_hyper(fnn.adam(1e-3).init(jnp.zeros(3)), learning_rate=0.5)
    >>> print(state.hyper["learning_rate"])
    0.5
    """
    known = get_hyper(state)
    for name in values:
        if name not in known:
            hint = f"Known here: {', '.join(sorted(known)) or 'none'}."
            if name in ("momentum", "decay", "weight_decay"):
                hint += f" A {name} of plain 0 is left out when the optimizer is made; pass jnp.zeros(()) to keep it."
            elif name == "learning_rate" and known:
                hint += " It follows a function of the step; use a schedule from fnn.schedules to have leaves."
            fail("set_hyper", expected="the name of a hyper-parameter of this state", got=repr(name), hint=hint)

    def change(node: Any) -> Any:
        if not _is_opt_state(node):
            return node
        new = {n: _renew(n, v, values[n]) for n, v in node.hyper.items() if n in values}
        for name, value in new.items():
            check_leaves("set_hyper", name, value, RANGES.get(name))
        return node._replace(hyper={**node.hyper, **new})

    return jax.tree.map(change, state, is_leaf=_is_opt_state)


def _renew(name: str, old: Any, new: Any) -> Any:
    if isinstance(old, dict):
        if not isinstance(new, dict) or not new.keys() <= old.keys():
            hint = f"It follows a schedule: pass a dict with some of {sorted(old)}."
            fail(f"set_hyper, {name!r}", expected="the numbers of its schedule", got=repr(new), hint=hint)
        return {n: _renew(f"{name}/{n}", v, new[n]) if n in new else v for n, v in old.items()}
    if isinstance(old, tuple):
        if not isinstance(new, (tuple, list)) or len(new) != len(old):
            fail(f"set_hyper, {name!r}", expected=f"{len(old)} numbers", got=repr(new))
        return tuple(_renew(name, o, n) for o, n in zip(old, new, strict=True))
    if isinstance(new, (str, Mapping)) or callable(new):
        hint = "A schedule is given when the optimizer is made: learning_rate=fnn.schedules.cosine_decay(...)."
        fail(f"set_hyper, {name!r}", expected="a number", got=repr(new), hint=hint)
    real_numbers("set_hyper", name, new)
    leaf = jnp.asarray(new, old.dtype)
    if leaf.shape != old.shape:
        if leaf.ndim:
            fail(f"set_hyper, {name!r}", expected=f"a value of shape {old.shape}", got=describe(leaf))
        leaf = jnp.broadcast_to(leaf, old.shape)
    return leaf
