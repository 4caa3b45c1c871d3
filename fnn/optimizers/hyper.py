"""Ranges of hyper-parameters by name: the same for constructors, schedules and `set_hyper`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_accepts, check_inside, real_numbers, refuse_uncalled
from .._core.described import Described, in_words
from .._core.errors import fail, kind_of
from .._core.types import PyTree


class Range(NamedTuple):
    """Allowed values: from ``low`` to ``high``, both included unless ``open_low`` or ``open_high`` excludes them."""

    low: float = 0.0
    high: float = np.inf
    open_low: bool = False
    open_high: bool = False


RANGES: dict[str, Range] = {
    **dict.fromkeys(("learning_rate", "decay", "weight_decay", "epsilon", "initial_accumulator_value"), Range()),
    **dict.fromkeys(("momentum", "rho", "ema_decay"), Range(0, 1)),
    **dict.fromkeys(("beta_1", "beta_2"), Range(0, 1, open_high=True)),
    **dict.fromkeys(("clip_value", "clip_norm", "clip_global_norm"), Range(open_low=True)),
}
"""Ranges of the library's hyper-parameters. Those of a user's rule may have other names and must only not be NaN."""
FINITE = Range(-np.inf)
SCHEDULES: dict[str, Range | None] = {
    # None: the range is that of the hyper-parameter that follows the schedule.
    **dict.fromkeys(("value", "values", "initial", "start"), None),
    **dict.fromkeys(("decay_rate", "alpha"), Range()),
    **dict.fromkeys(("decay_steps", "warmup_steps"), Range(open_low=True)),
    "boundaries": FINITE,
}
"""Ranges of the numbers of schedules."""


def in_range(hyper: Mapping[str, PyTree], trials: int) -> np.ndarray:
    """Whether each trial's known hyper-parameters, arrays (trials,) by name, are finite and in range; (trials,)."""
    good = np.ones(trials, bool)
    for name, value in hyper.items():
        if isinstance(value, Mapping):  # those of a pattern in by_path, or the numbers of a schedule
            good &= in_range(value, trials)
        elif name in RANGES and np.shape(value) == (trials,):
            numbers, limits = np.asarray(value), RANGES[name]
            above = numbers > limits.low if limits.open_low else numbers >= limits.low
            below = numbers < limits.high if limits.open_high else numbers <= limits.high
            good &= np.isfinite(numbers) & above & below
    return good


def check_hyper(where: str, hyper: Mapping[str, PyTree], shown: str = "") -> None:
    """Refuse hyper-parameters out of range; the message calls them ``shown`` if that is given.

    Functions of the step and traced numbers pass; the numbers of a schedule are checked.
    """
    for name, value in hyper.items():
        what = shown or name
        refuse_uncalled(where, f"{what} to be a number or a schedule", value)
        _refuse_other(where, what, value)
        numbers = getattr(value, "hyper", None)  # a Schedule's
        if callable(value) and numbers is None:
            check_accepts(f"{where}, {what}", "(step)", value, 1)
        if numbers is None and name in RANGES and not callable(value):
            single = real_numbers(where, what, value)
            if single is not None and single.ndim:
                fail(where, expected=f"{what} to be a number", got=in_words(value))
        check_leaves(where, what, value if numbers is None else numbers, RANGES.get(name))


def _refuse_other(where: str, name: str, value: object) -> None:
    """Refuse a layer, parameters or a state, which optimizers of other libraries take, and other objects of fnn."""
    arrays = isinstance(value, (Mapping, list, tuple)) and any(getattr(a, "ndim", 0) for a in jax.tree.leaves(value))
    if arrays or (isinstance(value, Described) and not hasattr(value, "hyper")):
        hint = "It gets the parameters from fnn.init: write numbers alone." if name == "learning_rate" else ""
        got = kind_of(value) if arrays else in_words(value)
        fail(where, expected=f"{name} to be a number or a schedule", got=got, hint=hint)


def check_leaves(where: str, name: str, value: PyTree, limits: Range | None) -> None:
    """Refuse numbers out of range in a hyper-parameter's leaves: one number, one per trial, or those of a schedule."""
    if isinstance(value, Mapping):
        for inner, number in value.items():
            nested = isinstance(number, Mapping)
            own = (SCHEDULES[inner] or limits) if inner in SCHEDULES else limits if nested else None
            check_leaves(where, f"{name}/{inner}" if name else inner, number, own)
        found = [real_numbers(where, "boundaries", bound) for bound in value.get("boundaries", ())]
        bounds = [bound for bound in found if bound is not None]
        if bounds and len(bounds) == len(found) and np.any(np.diff(np.stack(bounds), axis=0) <= 0):
            fail(where, expected="increasing boundaries", got=str(list(value["boundaries"])))
    elif isinstance(value, tuple):
        for number in value:
            check_leaves(where, name, number, limits)
    elif callable(value) and isinstance(value, Described):
        _refuse_other(where, name, value)
    elif not callable(value) and (numbers := real_numbers(where, name, value)) is not None:
        _check_numbers(where, name, numbers, limits)


def _check_numbers(where: str, name: str, numbers: np.ndarray, limits: Range | None) -> None:
    if limits is None:
        if np.isnan(numbers).any():
            fail(where, expected=f"{name} to be a number", got="nan")
        return
    with np.errstate(over="ignore", under="ignore"):
        # As the optimizer's state will hold it: in float32 a beta of 0.99999999 is 1.
        numbers = numbers.astype(jnp.result_type(float))
    check_inside(where, name, numbers, limits.low, limits.high, open_low=limits.open_low)
    if limits.open_high and (numbers == limits.high).any():
        fail(where, expected=f"{name} below {limits.high:g}", got=f"{limits.high:g}")
