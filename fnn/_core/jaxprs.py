"""What traced programs hold: the only file that looks inside them.

The insides of a program differ between versions of JAX. What a reader here does not know, such as a user-defined
operation or a renamed parameter, it leaves out, and its caller makes the plain choice.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, get_opaque_trace_state


def _or_none(read: Callable[..., Any]) -> Callable[..., Any]:
    """None from a reader that meets an operation which is not built as it expects."""

    @functools.wraps(read)
    def careful(*args: Any) -> Any:
        try:
            return read(*args)
        except Exception:  # a program may hold anything
            return None

    return careful


# --------------------------------------------------------------------------------------------------- a traced function
class Traced(NamedTuple):
    """A function as a program, traced once.

    Attributes:
      run: ``run(consts, *leaves) -> leaves``.
      consts: the arrays that the function closes over.
      shapes: of the results, as a tree.
    """

    run: Callable[..., list[Any]]
    consts: list[Any]
    shapes: Any


def traced(fn: Callable[..., Any], *args: Any) -> Traced:
    """Trace a function of trees of arrays or shapes."""
    program, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)

    def run(consts: list[Any], *leaves: Any) -> list[Any]:
        found: list[Any] = jax.core.eval_jaxpr(program.jaxpr, consts, *leaves)
        return found

    return Traced(run, list(program.consts), shapes)


def trace_state() -> Any:
    """The transformations under way: equal for two places that see the same values."""
    return get_opaque_trace_state(convention="fnn")


def program_text(program: Any) -> str:
    """A program as text, without addresses; empty if it holds something that has no text."""
    return without_addresses(_or_none(str)(program) or "")


def without_addresses(text: str) -> str:
    """A text without the addresses that Python prints of functions and objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


# ---------------------------------------------------------------------------------------------------------- operations
def _within(value: Any) -> Iterator[Any]:
    """The programs in a parameter of an operation."""
    if isinstance(value, ClosedJaxpr):  # in newer versions a Jaxpr, whose .jaxpr is itself
        yield value.jaxpr
    elif isinstance(value, Jaxpr):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _within(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _within(item)


def _inside(eqn: Any, unknown: float) -> Iterator[tuple[Any, float]]:
    """The programs inside an operation, and how often each runs; of alternatives, the one with the most work."""
    name, params = eqn.primitive.name, eqn.params
    if name == "cond":
        branches = list(_within(params.get("branches", ())))
        if branches:
            yield max(branches, key=multiply_adds), 1.0
        return
    for key, value in params.items():
        rounds = 1.0
        if name == "scan":
            length = params.get("length")
            rounds = float(length) if isinstance(length, int) else unknown
        elif name == "while" and key != "cond_jaxpr":
            rounds = unknown
        for program in _within(value):
            yield program, rounds


def operations(program: Any, unknown: float = 1.0, times: float = 1.0) -> Iterator[tuple[Any, float]]:
    """All operations of a program and of the programs inside it, and how often each runs.

    Args:
      program: a jaxpr, closed or not.
      unknown: the rounds of a loop whose number of rounds the program does not say.
      times: how often the program itself runs.
    """
    for eqn in program.eqns:
        yield eqn, times
        for inner, rounds in _inside(eqn, unknown):
            yield from operations(inner, unknown, times * rounds)


class Product(NamedTuple):
    """A product of matrices or a convolution.

    Attributes:
      kind: "dot", "conv" (fnn's own) or "other conv".
      multiply_adds: how many it takes.
      arrays: shape and dtype of the two operands and of the result.
      members: whether a leading axis of all three holds a convolution each.
    """

    kind: str
    multiply_adds: int
    arrays: tuple[Any, ...]
    members: bool = False


@_or_none
def product(eqn: Any) -> Product | None:
    """An operation as a product; None if it is another one."""
    name, params = eqn.primitive.name, eqn.params
    if name not in ("dot_general", "conv_general_dilated", "fnn_conv"):
        return None
    arrays = tuple(v.aval for v in (*eqn.invars, *eqn.outvars))
    left, right, out = (a.shape for a in arrays)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return Product("dot", math.prod(out) * math.prod(left[axis] for axis in contracted), arrays)
    if name == "conv_general_dilated":
        channels = right[params["dimension_numbers"].rhs_spec[0]]
        return Product("other conv", math.prod(out) * (math.prod(right) // max(channels, 1)), arrays)
    work = params["geometry"].multiply_adds(params["result"], left, right, out)
    return Product("conv", work, arrays, params["members"])


def multiply_adds(program: Any) -> int:
    """Multiply-adds of the products and convolutions of a program; a loop of unknown length counts once."""
    found = ((product(eqn), times) for eqn, times in operations(program))
    return sum(int(times) * one.multiply_adds for one, times in found if one)


@_or_none
def _loop_carry(eqn: Any) -> list[Any]:
    if eqn.primitive.name not in ("scan", "while"):
        return []
    # A loop returns what it carries as its body does; whatever else a scan returns has an axis of rounds in front.
    (body,) = _within(eqn.params["jaxpr" if eqn.primitive.name == "scan" else "body_jaxpr"])
    pairs = [(whole.aval, one.aval) for whole, one in zip(eqn.outvars, body.outvars, strict=True)]
    return [whole for whole, one in pairs if whole.shape == one.shape]


def loop_carry(eqn: Any) -> list[Any]:
    """Shape and dtype of what a loop carries from round to round; empty for another operation."""
    return _loop_carry(eqn) or []


# -------------------------------------------------------------------------------------------------------------- endings
# Operations that leave the values as they are, and those that only hold another program.
_PASSING = {"reshape", "squeeze", "convert_element_type", "copy", "broadcast_in_dim", "transpose", "slice"}
_CALLS = {"pjit", "jit", "custom_jvp_call", "custom_vjp_call", "closed_call", "remat2", "checkpoint"}


def last_operations(program: Any) -> list[str | None]:
    """For each result: "softmax", "sigmoid" or "tanh" if that is its last operation, through reshapes and calls."""
    program = program.jaxpr
    return [_last_operation(program, v) for v in program.outvars]


@_or_none
def _last_operation(program: Any, result: Any) -> str | None:
    made_by = {out: eqn for eqn in program.eqns for out in eqn.outvars}

    def origin(v: Any) -> Any:
        while not hasattr(v, "val") and v in made_by and made_by[v].primitive.name in _PASSING:
            v = made_by[v].invars[0]
        return v

    def back(v: Any) -> Any:
        v = origin(v)
        return None if hasattr(v, "val") else made_by.get(v)

    def named(eqn: Any, *names: str) -> bool:
        return eqn is not None and eqn.primitive.name in names

    eqn = back(result)
    if named(eqn, "logistic"):
        return "sigmoid"
    if named(eqn, "tanh"):
        return "tanh"
    if named(eqn, "div"):
        # exp(...) / sum(exp(...)) of the same exponentials
        above, below = map(back, eqn.invars)
        whole = named(above, "exp") and named(below, "reduce_sum") and back(below.invars[0]) is above
        return "softmax" if whole else None
    if named(eqn, *_CALLS):
        (inner,) = _within(eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")))
        found: str | None = _last_operation(inner, inner.outvars[eqn.outvars.index(origin(result))])
        return found
    return None
