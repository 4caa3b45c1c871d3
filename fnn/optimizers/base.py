"""The `Optimizer` protocol, its state, and rules on one array lifted to trees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol, Self, TypedDict, TypeVar, Unpack, cast

import jax
import jax.numpy as jnp
import jax.typing
import numpy as np

from .._core.checks import is_concrete, real_numbers
from .._core.described import Described, described, in_words, written
from .._core.dtypes import is_float, widened, widest
from .._core.errors import counted, describe, did_you_mean, fail, kind_of, noted, shape_text
from .._core.trees import Where, check_matches, map_with_path, matches, other_entries, paths, scalar
from .._core.typed import tree_map
from .._core.types import Array, PyTree
from .hyper import RANGES, check_hyper, check_leaves
from .schedules import Schedule, as_hyper

Follower = Schedule | Callable[[Array], jax.typing.ArrayLike]
"""A hyper-parameter that follows the step: a `Schedule`, or any function of it."""
Number = jax.typing.ArrayLike | Follower
"""A hyper-parameter: a number, traced or not, or one that follows the step."""
Slots = dict[str, PyTree]
Fill = Callable[[Array], Array]
Rule = Callable[[Array, dict[str, Array], dict[str, Array], Array], tuple[Array, dict[str, Array]]]
S = TypeVar("S")
UPDATE_CALL = "Call update(grads, opt_state, params)."


class OptimizerLike(Protocol):
    """An `Optimizer`, or one of optax."""

    @property
    def init(self) -> Callable[..., PyTree]:
        """``init(params) -> opt_state``."""

    @property
    def update(self) -> Callable[..., tuple[PyTree, PyTree]]:
        """``update(grads, opt_state, params) -> (updates, opt_state)``."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Optimizer(Described):
    """Turns gradients into updates of the parameters. The protocol is optax's, so either can replace the other.

    Attributes:
      init: ``init(params) -> opt_state``.
      update: ``update(grads, opt_state, params) -> (updates, opt_state)``; add the updates to the parameters.
      rules: the number of rules in it, such as `adam`, which turn gradients into steps: 0 for a transform of gradients
        such as `clip_by_norm`, which is no optimizer alone. None, the default, if that is not known.

    >>> import jax.numpy as jnp, fnn
    >>> optimizer, params = fnn.sgd(0.1), {"w": jnp.array([1.0])}
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update({"w": jnp.array([2.0])}, state, params)
    >>> print(apply_updates(params, updates)["w"], state.step)
    [0.8] 1
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]
    rules: int | None = None

    def replace(self, **changes: object) -> Self:
        """The same optimizer with other fields; resets `rules`, since the new functions may differ."""
        return super().replace(**{"rules": None, **changes})


def check_rule(where: str, optimizer: OptimizerLike, wrap: Callable[[str], str] = str) -> None:
    """Refuse transforms without a rule, whose updates would increase the loss; ``wrap`` completes the advice."""
    if isinstance(optimizer, Optimizer) and optimizer.rules == 0:
        hint = f"Write {wrap(f'fnn.chain({in_code(optimizer)}, fnn.adam())')}."
        fail(where, expected="a rule such as fnn.adam()", got=f"{in_words(optimizer)} alone", hint=hint)


def in_code(optimizer: OptimizerLike) -> str:
    """An optimizer as a user writes it."""
    if not isinstance(optimizer, Described) or optimizer.config is None:
        return "..."
    args = optimizer.config.args
    inner = [in_code(arg) if isinstance(arg, Optimizer) else written(arg) for arg in args]
    inner += [f"{name}={written(value)}" for name, value in optimizer.config.kwargs.items()]
    return f"fnn.{optimizer.config.make.__name__}({', '.join(inner)})"


class OptState(NamedTuple):
    """State of an optimizer.

    Attributes:
      step: updates made so far, an int32 scalar.
      hyper: hyper-parameters by name, each a scalar, or the dict of a `Schedule`'s numbers.
      slots: by name, trees shaped like the parameters.
    """

    step: Array
    hyper: dict[str, PyTree]
    slots: Slots


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """``params + updates``, leaf by leaf, in the dtype of the parameters.

    The sum is computed in the wider dtype of the two, float32 at least, and rounded once.
    """

    def add(p: Array, u: Array) -> Array:
        wide = widest(p.dtype, u.dtype)
        return (p.astype(wide) + u.astype(wide)).astype(p.dtype)

    return jax.tree.map(add, params, updates)


def is_zero(value: Number) -> bool:
    """Whether a hyper-parameter is the plain number 0, whose term is left out."""
    plain = is_concrete(value) and not isinstance(value, jax.Array) and not callable(value)
    return plain and bool(value == 0)


def evaluate_hyper(hyper: Mapping[str, PyTree], schedules: Mapping[str, Follower], step: Array) -> dict[str, Array]:
    """The value of each hyper-parameter at a step; a schedule and its leaves become its value."""
    now = step.astype(jnp.result_type(float))
    values = dict(hyper)
    for name, schedule in schedules.items():
        if isinstance(schedule, Schedule):
            values[name] = as_hyper(schedule.rule(now, hyper[name]))
            continue
        with noted(f"the function of the step for {name}"):
            value = schedule(step)
        if not isinstance(value, (int, float, jax.Array, np.ndarray, np.number)) or jnp.shape(value):
            fail("optimizer", expected=f"a function of the step that returns a number for {name}", got=describe(value))
        values[name] = as_hyper(value)
    return values


def split_schedules(hyper: Mapping[str, Number]) -> tuple[dict[str, PyTree], dict[str, Follower]]:
    """Leaves for the state, and the schedules (or functions of the step) among the hyper-parameters."""
    schedules = {name: value for name, value in hyper.items() if callable(value)}
    leaves = {name: value for name, value in hyper.items() if name not in schedules}
    return leaves | {name: s.hyper for name, s in schedules.items() if isinstance(s, Schedule)}, schedules


def _check_state(grads: PyTree, state: OptState, slots: Iterable[str], hyper: Iterable[str]) -> None:
    """Refuse the state of another optimizer, or of other parameters."""
    want = [*(f"slots/{name}" for name in slots), *(f"hyper/{name}" for name in hyper)]
    have = [*(f"slots/{name}" for name in state.slots), *(f"hyper/{name}" for name in state.hyper)]
    hint = "Make a new one with optimizer.init(params)."
    if got := other_entries(want, have):
        fail("optimizer", expected="a state made by this optimizer", got=got, hint=hint)
    for name, tree in state.slots.items():
        ours, theirs = paths(tree), paths(grads)
        if differ := sorted(ours.keys() ^ theirs.keys()):
            got = f"other paths in {name}: {differ}"
            fail("optimizer", expected="an optimizer state for these parameters", got=got, hint=hint)
        for path, slot in ours.items():
            if slot.ndim and slot.shape != theirs[path].shape:
                shape = shape_text(theirs[path].shape)
                expected = f"an optimizer state for these parameters, with {name}/{path} of shape {shape}"
                fail("optimizer", expected=expected, got=describe(slot), hint=hint)


def _check_parameters(params: PyTree) -> None:
    for path, p in paths(params).items():
        if not is_float(p):
            hint = "Keep numbers that are not trained in the layer's state."
            fail(f"optimizer, parameter {path!r}", expected="a floating-point dtype", got=describe(p), hint=hint)


class Decays(TypedDict, total=False):
    """Options that every optimizer has: decay of the learning rate, and of the parameters at some paths."""

    decay: Number
    weight_decay: Number
    weight_decay_where: Where


def rates_of(decays: Decays) -> dict[str, Number]:
    """The hyper-parameters among the options."""
    return {name: cast(Number, rate) for name, rate in decays.items() if name != "weight_decay_where"}


@described
def from_rule(
    rule: Rule, slots: Mapping[str, Fill], hyper: Mapping[str, Number], **decays: Unpack[Decays]
) -> Optimizer:
    """Lift a rule on one array to an `Optimizer` on trees; use it to write your own optimizer.

    Arithmetic runs in the widest dtype of gradient and parameter, float32 at least, and slots and updates keep it: in
    half precision the update is that of float32, and `apply_updates` rounds the new parameter once.

    Args:
      rule: ``rule(g, slots, h, t) -> (delta, slots)``: ``delta`` is added to the parameter; ``h`` holds the
        hyper-parameters at this step and ``t`` counts updates from 1, all in the dtype of ``g``.
      slots: by name, ``fill(p) -> array``, the first value of that slot for a parameter ``p`` in float32 at least.
      hyper: hyper-parameters by name, with "learning_rate" among them. A name that an optimizer of the library uses
        has the range that it has there; others must not be NaN.
      **decays: ``decay=0.0``, time-based decay, ``lr / (1 + decay * step)``; ``weight_decay=0.0``, decoupled decay,
        ``delta -= lr * weight_decay * p`` (Loshchilov and Hutter 2017, arXiv:1711.05101); ``weight_decay_where="*"``,
        the paths it applies to, e.g. ``"*kernel"``.

    Raises:
      InputError: for a hyper-parameter out of range; from ``init``, for a parameter that is not of a floating-point
        dtype, and a ``weight_decay_where`` that matches none; from ``update``, for another model's state, and for
        weight decay without ``params``.

    >>> import jax.numpy as jnp
    >>> sign_descent = from_rule(lambda g, slots, h, t: (-h["learning_rate"] * jnp.sign(g), slots), {},
    ...                          {"learning_rate": 0.1})
    >>> updates, _ = sign_descent.update(jnp.array([3.0, -2.0]), sign_descent.init(jnp.zeros(2)))
    >>> print(updates)
    [-0.1  0.1]
    """
    rates = {name: rate for name, rate in rates_of(decays).items() if not is_zero(rate)}
    where = decays.get("weight_decay_where", "*")
    check_hyper("from_rule", {**hyper, **rates})
    leaves, schedules = split_schedules({**hyper, **rates})

    def init(params: PyTree) -> OptState:
        _check_parameters(params)
        if "weight_decay" in rates:
            check_matches("weight_decay_where", where, paths(params))
        # In bfloat16 a slot near 1 stops changing: 1e-3 is rounded away.
        state = {name: widened(jax.tree.map(fill, widened(params))) for name, fill in slots.items()}
        return OptState(scalar(0, jnp.int32), jax.tree.map(as_hyper, leaves), state)

    def update(grads: PyTree, state: OptState, params: PyTree = None) -> tuple[PyTree, OptState]:
        if not isinstance(state, OptState):
            fail("optimizer", expected="the OptState of optimizer.init(params)", got=kind_of(state))
        _check_state(grads, state, slots, leaves)
        if "weight_decay" in rates and params is None:
            fail("optimizer", expected="the parameters, for weight decay", got="None", hint=UPDATE_CALL)
        h = evaluate_hyper(state.hyper, schedules, state.step)
        if "decay" in rates:
            h["learning_rate"] = h["learning_rate"] / (1 + h["decay"] * state.step.astype(h["decay"].dtype))
        step = state.step + 1

        def update_one(path: str, g: Array, p: Array, *own: Array) -> tuple[Array, dict[str, Array]]:
            decayed = p if "weight_decay" in rates and matches(where, path) else None
            g = g.astype(widest(g.dtype, p.dtype))
            return _apply_rule(rule, g, dict(zip(state.slots, own, strict=True)), h, step, decayed)

        # The tree of (delta, slots) pairs, turned inside out: a tree of deltas, and a tree for each slot.
        treedef: PyTree = jax.tree.structure(grads)
        pairs = map_with_path(update_one, grads, grads if params is None else params, *state.slots.values())
        pairs = treedef.flatten_up_to(pairs)
        new = {name: treedef.unflatten([slots[name] for _, slots in pairs]) for name in state.slots}
        return treedef.unflatten([delta for delta, _ in pairs]), OptState(step, state.hyper, new)

    return Optimizer(init, update)


def _apply_rule(
    rule: Rule, g: Array, slots: dict[str, Array], h: dict[str, Array], t: Array, decayed: Array | None
) -> tuple[Array, dict[str, Array]]:
    """One parameter's update and new slots, in the dtype of ``g``; ``decayed`` is the parameter if it has decay."""
    wide = g.dtype
    h = {name: value.astype(wide) for name, value in h.items()}
    with noted("the rule of from_rule"):
        delta, new = rule(g, {name: slot.astype(wide) for name, slot in slots.items()}, h, t.astype(wide))
    if decayed is not None:
        delta = delta - h["learning_rate"] * h["weight_decay"] * decayed.astype(wide)
    return delta.astype(wide), {name: new[name].astype(slot.dtype) for name, slot in slots.items()}


class GroupState(NamedTuple):
    """State of `fnn.by_path`.

    Attributes:
      groups: by pattern, the state of its rule; None where the parameters are frozen.
    """

    groups: dict[str, PyTree]


Groups = tuple[str, ...]
"""The patterns of the `fnn.by_path`s around a state, outermost first."""


def map_opt_states(fn: Callable[[Groups, OptState], OptState], tree: S, groups: Groups = ()) -> S:
    """A tree with ``fn(groups, state)`` in place of each `OptState`."""

    def change(node: PyTree) -> PyTree:
        if isinstance(node, GroupState):
            return GroupState({name: map_opt_states(fn, part, (*groups, name)) for name, part in node.groups.items()})
        return fn(groups, node) if isinstance(node, OptState) else node

    return tree_map(change, tree, is_leaf=lambda node: isinstance(node, (OptState, GroupState)))


def opt_states(tree: PyTree) -> list[tuple[Groups, OptState]]:
    """Every `OptState` in a tree, with its groups."""
    found: list[tuple[Groups, OptState]] = []

    def note(groups: Groups, node: OptState) -> OptState:
        found.append((groups, node))
        return node

    map_opt_states(note, tree)
    return found


def get_hyper(state: PyTree) -> dict[str, PyTree]:
    """All hyper-parameters inside a TrainState or an optimizer's state, by name.

    Those of `by_path` are in a dict for each pattern. If several transforms share a name, the last one counts.

    >>> import jax.numpy as jnp, fnn
    >>> optimizer = fnn.by_path({"head": fnn.sgd(0.5), "*": fnn.sgd(0.25)})
    >>> hyper = get_hyper(optimizer.init({"body": jnp.zeros(3), "head": jnp.zeros(3)}))
    >>> print(hyper["head"]["learning_rate"], hyper["*"]["learning_rate"])
    0.5 0.25
    """
    _check_holds_states("get_hyper", state)
    found: dict[str, PyTree] = {}
    for groups, node in opt_states(state):
        place = found
        for name in groups:
            place = place.setdefault(name, {})
        place |= node.hyper
    return found


def set_hyper(state: S, group: str | None = None, **values: PyTree) -> S:
    """A TrainState, or an optimizer's state, with other hyper-parameters; the given one stays, nothing is recompiled.

    Args:
      state: a TrainState, or the state of any fnn optimizer, chained and wrapped ones too.
      group: for `by_path`, the pattern whose parameters to change; default all that have the name.
      **values: new values by name, traced or not; for a hyper-parameter that follows a `Schedule`, a dict of the
        numbers to change. Every transform that has the name is changed. Dicts by pattern, as `get_hyper` returns them,
        are accepted.

    Raises:
      InputError: for a name that no optimizer in ``state`` has, or a value of another shape or out of range.

    >>> import jax.numpy as jnp, fnn
    >>> state = set_hyper(fnn.adam(1e-3).init(jnp.zeros(3)), learning_rate=0.5)
    >>> print(state.hyper["learning_rate"])
    0.5
    """
    _check_holds_states("set_hyper", state)
    states = opt_states(state)
    patterns = {groups[0]: None for groups, _ in states if groups}
    if group is not None and not (isinstance(group, str) and group in patterns):
        expected, hint = "a pattern of by_path in this state", f"Patterns: {list(patterns)}."
        if not isinstance(group, str):
            hint = "Write values by name: fnn.set_hyper(ts, learning_rate=...)."
        fail("set_hyper", expected=expected, got=repr(group) if isinstance(group, str) else kind_of(group), hint=hint)
    values = values if group is None else {group: values}
    _check_names(states, values)

    def change(groups: Groups, node: OptState) -> OptState:
        own = values
        for name in groups:
            own = {**own, **own.get(name, {})}
        new = {n: _new_leaves(n, v, own[n]) for n, v in node.hyper.items() if n in own}
        for name, value in new.items():
            check_leaves("set_hyper", name, value, RANGES.get(name))
        return node._replace(hyper={**node.hyper, **new})

    return map_opt_states(change, state)


def _check_holds_states(where: str, state: object) -> None:
    """Refuse a task or an optimizer, which says what to learn and holds no values."""
    if isinstance(state, Described):
        hint = (
            "Write ts = fnn.set_hyper(ts, learning_rate=...)." if where == "set_hyper" else "Write fnn.get_hyper(ts)."
        )
        expected = "a TrainState, or the state of an optimizer, as first argument"
        fail(where, expected=expected, got=kind_of(state), hint=hint)


def _check_names(states: list[tuple[Groups, OptState]], values: Mapping[str, PyTree]) -> None:
    """Refuse values whose name no state has."""
    known = {name for _, node in states for name in node.hyper}
    patterns = {groups[0] for groups, _ in states if groups}
    for name, value in values.items():
        if name in patterns:
            if not isinstance(value, Mapping):
                fail(f"set_hyper, {name!r}", expected="a dict of hyper-parameters", got=in_words(value))
            _check_names([(groups[1:], node) for groups, node in states if groups[:1] == (name,)], value)
        elif name not in known:
            meant = did_you_mean("learning_rate" if name == "lr" else name, known)
            hint = meant or f"Known here: {', '.join(sorted(known)) or 'none'}."
            if name in ("momentum", "decay", "weight_decay"):
                hint += f" A {name} of plain 0 is left out when the optimizer is made; pass jnp.zeros(()) to keep it."
            elif name == "learning_rate" and known:
                hint += " It follows a function of the step; use a schedule from fnn.schedules to have leaves."
            fail("set_hyper", expected="the name of a hyper-parameter of this state", got=repr(name), hint=hint)


def _new_leaves(name: str, old: PyTree, new: PyTree) -> PyTree:
    if isinstance(old, dict):
        if not isinstance(new, dict) or not new.keys() <= old.keys():
            hint = f"It follows a schedule: pass a dict with some of {sorted(old)}."
            fail(f"set_hyper, {name!r}", expected="the numbers of its schedule", got=in_words(new), hint=hint)
        return {n: _new_leaves(f"{name}/{n}", v, new[n]) if n in new else v for n, v in old.items()}
    if isinstance(old, tuple):
        if not isinstance(new, (tuple, list)) or len(new) != len(old):
            fail(f"set_hyper, {name!r}", expected=counted(len(old), "number"), got=in_words(new))
        return tuple(_new_leaves(name, o, n) for o, n in zip(old, new, strict=True))
    if isinstance(new, (str, Mapping)) or callable(new):
        hint = "Pass a schedule when you make the optimizer: learning_rate=fnn.schedules.cosine_decay(...)."
        fail(f"set_hyper, {name!r}", expected="a number", got=in_words(new), hint=hint)
    real_numbers("set_hyper", name, new)
    leaf = jnp.asarray(new, old.dtype)
    if leaf.ndim and leaf.shape != old.shape:
        fail(f"set_hyper, {name!r}", expected=f"a value of shape {old.shape}", got=describe(leaf))
    return jnp.broadcast_to(leaf, old.shape)
