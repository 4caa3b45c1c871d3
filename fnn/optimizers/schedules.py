"""Schedules: hyper-parameters as functions of the step, whose numbers are leaves of the optimizer's state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import jax.typing

from .._core.checks import real_numbers, refuse_uncalled
from .._core.described import Described, described, in_words
from .._core.errors import counted, fail
from .._core.trees import scalar
from .._core.types import Array, PyTree, Scalar
from .hyper import FINITE, check_leaves

__all__ = [
    "Schedule", "constant", "cosine_decay", "exponential_decay", "inverse_time_decay", "piecewise_constant", "warmup",
]  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Schedule(Described):
    """A value that changes with the optimizer's step, counted in updates from 0.

    Pass one wherever an optimizer takes a number: ``fnn.adam(fnn.schedules.cosine_decay(1e-3, 10_000))``.
    Its numbers become leaves of the optimizer's state, so that `fnn.set_hyper` changes them without recompiling:
    ``fnn.set_hyper(ts, learning_rate={"initial": 1e-4})``. Call it to see its values.

    Attributes:
      rule: ``rule(step, hyper) -> value``, with ``step`` a floating-point scalar.
      hyper: its numbers by name.

    >>> print(exponential_decay(1.0, decay_steps=10, decay_rate=0.5)(20))
    0.25
    """

    rule: Callable[[Array, PyTree], Array]
    hyper: dict[str, PyTree]

    def __call__(self, step: jax.typing.ArrayLike) -> Array:
        """The value at a step."""
        hyper = jax.tree.map(as_hyper, self.hyper)
        return self.rule(jnp.asarray(step, jnp.result_type(float)), hyper)


def as_hyper(value: jax.typing.ArrayLike) -> Array:
    """A hyper-parameter as a leaf: the default floating-point dtype, never weakly typed."""
    return scalar(value, jnp.result_type(float))


def _schedule(where: str, rule: Callable[..., Array], **hyper: PyTree) -> Schedule:
    """A schedule from its equation, ``rule(step, **hyper) -> value``; numbers out of range are refused.

    So are fractions of a step, which come from arguments in the wrong order; `set_hyper` accepts them.
    """
    check_leaves(where, "", hyper, FINITE)
    for name in hyper.keys() & {"decay_steps", "warmup_steps", "boundaries"}:
        for number in jax.tree.leaves(hyper[name]):
            steps = real_numbers(where, name, number)
            if steps is not None and ((steps > 0) & (steps < 1)).any():
                hint = f"It counts updates. The arguments are {', '.join(hyper)}, in this order."
                fail(where, expected=f"{name} of at least 1", got=f"{steps.min():g}", hint=hint)
    return Schedule(lambda step, hyper: rule(step, **hyper), hyper)


@described
def constant(value: Scalar) -> Schedule:
    """Always ``value``, a finite number."""
    return _schedule("constant", lambda step, value: value, value=value)


@described
def exponential_decay(initial: Scalar, decay_steps: Scalar, decay_rate: Scalar, *, staircase: bool = False) -> Schedule:
    """``initial * decay_rate ** (step / decay_steps)``; a staircase with ``staircase=True`` (step decay).

    Args:
      initial: the value at step 0.
      decay_steps: steps after which the value has been multiplied by ``decay_rate`` once, at least 1.
      decay_rate: the factor, at least 0.
      staircase: whether ``step / decay_steps`` is rounded down.

    Raises:
      InputError: for numbers out of range, or not finite.
    """

    def rule(step: Array, initial: Array, decay_steps: Array, decay_rate: Array) -> Array:
        periods = step / decay_steps
        return initial * decay_rate ** (jnp.floor(periods) if staircase else periods)

    return _schedule("exponential_decay", rule, initial=initial, decay_steps=decay_steps, decay_rate=decay_rate)


@described
def inverse_time_decay(initial: Scalar, decay_rate: Scalar, decay_steps: Scalar = 1.0) -> Schedule:
    """``initial / (1 + decay_rate * step / decay_steps)``, the optimizers' ``decay``; errors as `exponential_decay`."""

    def rule(step: Array, initial: Array, decay_rate: Array, decay_steps: Array) -> Array:
        return initial / (1 + decay_rate * step / decay_steps)

    return _schedule("inverse_time_decay", rule, initial=initial, decay_rate=decay_rate, decay_steps=decay_steps)


@described
def piecewise_constant(boundaries: Sequence[Scalar], values: Sequence[Scalar]) -> Schedule:
    """``values[i]`` with ``i`` the number of boundaries below the step; a boundary itself has the value before it.

    Args:
      boundaries: increasing steps; between 0 and 1 there is none.
      values: one more than boundaries. Errors as in `exponential_decay`, and for another number of values
        or boundaries that do not increase.

    >>> schedule = piecewise_constant([10, 20], [1.0, 0.5, 0.25])
    >>> [float(schedule(step)) for step in (10, 11, 21)]
    [1.0, 0.5, 0.25]
    """
    if len(values) != len(boundaries) + 1:
        fail("piecewise_constant", expected=counted(len(boundaries) + 1, "value"), got=str(len(values)))

    def rule(step: Array, boundaries: Sequence[Array], values: Sequence[Array]) -> Array:
        value = values[0]
        for boundary, after in zip(boundaries, values[1:], strict=True):
            value = jnp.where(step > boundary, after, value)
        return value

    return _schedule("piecewise_constant", rule, boundaries=tuple(boundaries), values=tuple(values))


@described
def cosine_decay(initial: Scalar, decay_steps: Scalar, alpha: Scalar = 0.0) -> Schedule:
    """``initial * ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha)``, then constant.

    Loshchilov and Hutter 2016, arXiv:1608.03983. From ``initial`` at step 0 to the fraction ``alpha`` of it, at least
    0, at ``decay_steps``; errors as in `exponential_decay`.
    """

    def rule(step: Array, initial: Array, decay_steps: Array, alpha: Array) -> Array:
        wave = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / decay_steps, 1.0)))
        return initial * ((1 - alpha) * wave + alpha)

    return _schedule("cosine_decay", rule, initial=initial, decay_steps=decay_steps, alpha=alpha)


@described
def warmup(then: Scalar | Schedule, warmup_steps: Scalar, start: Scalar = 0.0) -> Schedule:
    """A line from ``start`` to the first value of ``then`` over ``warmup_steps``, then ``then`` from its step 0.

    Args:
      then: a number or a `Schedule`, not a plain function.
      warmup_steps: length of the line, in steps, at least 1.
      start: the value at step 0. Errors as in `exponential_decay`, and for a plain function as ``then``.

    >>> schedule = warmup(cosine_decay(1.0, 100), warmup_steps=10)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 60)]
    [0.0, 0.5, 1.0, 0.5]
    """
    refuse_uncalled("warmup", "a number or a Schedule to follow", then)
    if isinstance(then, str) or (callable(then) and not isinstance(then, Schedule)):
        fail("warmup", expected="a number or a Schedule to follow", got=in_words(then))
    follow = then if isinstance(then, Schedule) else constant(then)

    def rule(step: Array, warmup_steps: Array, start: Array, then: PyTree) -> Array:
        after = follow.rule(jnp.maximum(step - warmup_steps, 0.0), then)
        line = start + (after - start) * step / warmup_steps
        return jnp.where(step < warmup_steps, line, after)

    return _schedule("warmup", rule, then=follow.hyper, warmup_steps=warmup_steps, start=start)
