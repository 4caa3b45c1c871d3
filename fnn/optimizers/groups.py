"""Different rules for different parameters, chosen by path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._core.described import described, in_words
from .._core.errors import fail, kind_of, located
from .._core.trees import check_matches, map_with_path, matches, paths
from .._core.types import Array, PyTree
from .base import GroupState, Optimizer, OptimizerLike, check_rule
from .transforms import inner_optimizer, note_frozen

Pattern = str | tuple[str, ...]


class _Group(NamedTuple):
    """A pattern, and the rule for its parameters; None freezes them."""

    pattern: Pattern
    rule: OptimizerLike | None


@described
def by_path(rules: Mapping[Pattern, OptimizerLike | str | None]) -> Optimizer:
    """A rule for each group of parameters, such as a higher learning rate for a new head.

    Args:
      rules: a dict from patterns to rules. Each parameter belongs to the first pattern that matches its path. A pattern
        is a glob such as ``"head/*"`` or ``"*/bias"``, or a layer's name with everything in it, or a tuple of those. A
        rule is an `Optimizer`, optax's, or a name; None freezes the parameters, as `freeze` does.

    Raises:
      InputError: for anything but patterns and rules; from ``init``, for a parameter without a pattern, and for a
        pattern without a parameter.

    Every rule has its own state, ``opt_state.groups["head/*"]``, and sees only its own parameters: clipping by a global
    norm inside a rule uses the norm of its group. `get_hyper` returns a dict for each pattern, and
    ``set_hyper(ts, "head/*", learning_rate=1e-3)`` changes one of them.

    >>> import jax.numpy as jnp, fnn
    >>> optimizer = by_path({"head": fnn.sgd(0.5), "*": None})
    >>> params = {"body": jnp.ones(2), "head": jnp.ones(2)}
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> print(updates["body"], updates["head"])
    [0. 0.] [-0.5 -0.5]
    """
    groups = _parse(rules)

    def share(name: str, tree: PyTree) -> PyTree:
        """The leaves of a group, and None for the others."""
        return map_with_path(lambda path, leaf: leaf if _owner(groups, path) == name else None, tree)

    def init(params: PyTree) -> GroupState:
        _check_paths(groups, list(paths(params)))
        states = {}
        for name, group in groups.items():
            own = share(name, params)
            if group.rule is None:
                note_frozen(paths(own))
            states[name] = None if group.rule is None else group.rule.init(own)
        return GroupState(states)

    def update(grads: PyTree, state: GroupState, params: PyTree = None) -> tuple[PyTree, GroupState]:
        if not isinstance(state, GroupState) or state.groups.keys() != groups.keys():
            got = f"one for {list(state.groups)}" if isinstance(state, GroupState) else kind_of(state)
            fail("by_path", expected=f"the state of its init(params), for {list(groups)}", got=got)
        states, updates = dict(state.groups), []
        for name, group in groups.items():
            if group.rule is not None:
                own_params = None if params is None else share(name, params)
                own, states[name] = group.rule.update(share(name, grads), states[name], own_params)
                updates.append(own)

        def chosen(g: Array, *found: Array | None) -> Array:
            return next((update for update in found if update is not None), jnp.zeros_like(g))

        return jax.tree.map(chosen, grads, *updates), GroupState(states)

    return Optimizer(init, update, _rules_of(groups))


def _parse(rules: object) -> dict[str, _Group]:
    """The groups by name, which is the pattern as text."""
    if not isinstance(rules, Mapping) or not rules:
        hint = 'Write {"head/*": fnn.adam(1e-2), "*": fnn.sgd(1e-3)}.'
        fail("by_path", expected="a dict from patterns to optimizers", got=in_words(rules), hint=hint)
    groups = {}
    for pattern, rule in rules.items():
        texts = pattern if isinstance(pattern, tuple) else (pattern,)
        if not texts or not all(isinstance(text, str) for text in texts):
            expected = "a pattern such as 'head/*', or a tuple of patterns, as key"
            fail("by_path", expected=expected, got=in_words(pattern))
        name = ", ".join(texts)
        with located(f"by_path, {name!r}"):
            groups[name] = _Group(pattern, None if rule is None else inner_optimizer(rule))
    if any(_counts(group) for group in groups.values()):
        for name, group in groups.items():
            if group.rule is not None:
                check_rule(f"by_path, {name!r}", group.rule)
    return groups


def _counts(group: _Group) -> int | None:
    return getattr(group.rule, "rules", None)


def _rules_of(groups: Mapping[str, _Group]) -> int | None:
    """The number of rules for each parameter: 0 if all groups have transforms alone, None if not known."""
    counts = {_counts(group) for group in groups.values() if group.rule is not None}
    return counts.pop() if len(counts) == 1 else None


def _owner(groups: Mapping[str, _Group], path: str) -> str | None:
    """The first group whose pattern matches."""
    return next((name for name, group in groups.items() if matches(group.pattern, path)), None)


def _check_paths(groups: Mapping[str, _Group], available: Iterable[str]) -> None:
    """Refuse a parameter without a pattern, and a pattern without a parameter."""
    owners = {path: _owner(groups, path) for path in available}
    for name, group in groups.items():
        check_matches("by_path", group.pattern, owners)
        if name not in owners.values():
            earlier = next(owner for path, owner in owners.items() if matches(group.pattern, path))
            expected = f"parameters of {name!r} that no earlier pattern matches"
            fail("by_path", expected=expected, got="none", hint=f"Put it before {earlier!r}.")
    if rest := [path for path, owner in owners.items() if owner is None]:
        hint = "Add '*' as the last pattern; None as its rule freezes the rest."
        fail("by_path", expected="a pattern for every parameter", got=f"none for {rest}", hint=hint)
