"""Readers of traced programs: the only file that looks inside them.

Programs differ between versions of JAX. A reader leaves out what it does not know, such as a user-defined operation or
a renamed parameter, and suppresses any error over it; its caller then makes the plain choice.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, get_opaque_trace_state

from .types import Array, PyTree, Shaped

T = TypeVar("T")
AnyJaxpr = Jaxpr | ClosedJaxpr
Value = Var | Literal
Makers = Mapping[Value, JaxprEqn]


# --------------------------------------------------------------------------------------------------- a traced function
class Traced(NamedTuple):
    """A function traced once, ``run(consts, *leaves) -> leaves``; ``consts`` are the arrays that it closes over."""

    run: Callable[..., list[Array]]
    consts: list[Array]
    shapes: PyTree  # of its result


def traced(fn: Callable[..., PyTree], *args: PyTree) -> Traced:
    """Trace a function of trees of arrays or shapes."""
    program, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    return Traced(functools.partial(jax.core.eval_jaxpr, program.jaxpr), list(program.consts), shapes)


def trace_state() -> Hashable:
    """The active transformations; equal at two places that see the same values."""
    state: Callable[..., Hashable] = get_opaque_trace_state
    return state(convention="fnn")


def program_text(program: object) -> str:
    """A program as text, without addresses; empty if part of it cannot be printed."""
    with contextlib.suppress(Exception):
        return without_addresses(str(program))
    return ""


def without_addresses(text: str) -> str:
    """A text without the addresses that Python prints for functions and objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


# ---------------------------------------------------------------------------------------------------------- operations
def _aval(v: Value) -> Shaped:
    return cast(Shaped, v.aval)


def _within(value: object) -> Iterator[Jaxpr]:
    """The programs in a parameter of an operation."""
    if isinstance(value, (ClosedJaxpr, Jaxpr)):
        yield value.jaxpr if isinstance(value, ClosedJaxpr) else value
    elif isinstance(value, (Mapping, tuple, list)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _within(item)


def _inside(eqn: JaxprEqn, unknown: float) -> Iterator[tuple[Jaxpr, float]]:
    """The programs inside an operation, and how often each runs; of alternatives, the one with the most work.

    Of those that `jax.lax.platform_dependent` chooses from, it is the one for JAX's default platform.
    """
    name, params = eqn.primitive.name, eqn.params
    if name == "cond":
        branches = list(_within(params.get("branches", ())))
        platforms = params.get("branches_platforms") or ()
        here = {"gpu": ("cuda", "rocm")}.get(jax.default_backend(), (jax.default_backend(),))
        for branch, its in zip(branches, platforms, strict=False):
            if its is None or set(here) & set(its):
                branches = [branch]
                break
        if branches:
            yield max(branches, key=multiply_adds), 1.0
        return
    length = params.get("length")  # of a scan
    rounds = float(length) if isinstance(length, int) else unknown
    for key, value in params.items():
        loops = name == "scan" or (name == "while" and key != "cond_jaxpr")
        for program in _within(value):
            yield program, rounds if loops else 1.0


def operations(program: AnyJaxpr, unknown: float = 1.0, times: float = 1.0) -> Iterator[tuple[JaxprEqn, float]]:
    """All operations of a program that runs ``times`` times, and inside it; a loop may have ``unknown`` rounds."""
    for eqn in program.eqns:
        yield eqn, times
        for inner, rounds in _inside(eqn, unknown):
            yield from operations(inner, unknown, times * rounds)


def largest_result(program: AnyJaxpr) -> int | None:
    """The bytes of the largest array that an operation of a program makes; None if one is unknown."""
    with contextlib.suppress(Exception):
        made = (_aval(v) for eqn, _ in operations(program) for v in eqn.outvars)
        return max((math.prod(a.shape) * a.dtype.itemsize for a in made), default=0)
    return None


class Product(NamedTuple):
    """A product of matrices or a convolution.

    Attributes:
      kind: "dot", "conv" (fnn's own) or "other conv".
      multiply_adds: their number.
      arrays: shape and dtype of the two operands and of the result.
      members: whether all three have a leading axis with one convolution per entry.
    """

    kind: str
    multiply_adds: int
    arrays: tuple[Shaped, ...]
    members: bool = False


def product(eqn: JaxprEqn) -> Product | None:
    """An operation as a product; None for any other operation."""
    name, params = eqn.primitive.name, eqn.params
    arrays = tuple(_aval(v) for v in (*eqn.invars, *eqn.outvars))
    with contextlib.suppress(Exception):
        if name == "dot_general":
            left, _, out = (a.shape for a in arrays)
            (contracted, _), _ = params["dimension_numbers"]
            return Product("dot", math.prod(out) * math.prod(left[axis] for axis in contracted), arrays)
        if name == "conv_general_dilated":
            _, kernel, out = (a.shape for a in arrays)
            channels = kernel[params["dimension_numbers"].rhs_spec[0]]
            return Product("other conv", math.prod(out) * (math.prod(kernel) // max(channels, 1)), arrays)
        if name == "fnn_conv":
            work = params["geometry"].multiply_adds(params["result"], *(a.shape for a in arrays))
            return Product("conv", work, arrays, params["members"])
    return None


def multiply_adds(program: AnyJaxpr) -> int:
    """Multiply-adds of the products and convolutions of a program; a loop of unknown length counts once."""
    found = ((product(eqn), times) for eqn, times in operations(program))
    return sum(int(times) * one.multiply_adds for one, times in found if one)


def products_by_scope(program: AnyJaxpr, scope: str = "", times: float = 1.0) -> Iterator[tuple[str, Product, int]]:
    """Each product or convolution of a program that runs ``times`` times: the names around it, and how often it runs.

    The names are those of `jax.named_scope` and of transformations, with "/" between them.
    """
    for eqn in program.eqns:
        inner_scope = f"{scope}/{_scope(eqn)}"
        if (one := product(eqn)) is not None:
            yield inner_scope, one, int(times)
        for inner, rounds in _inside(eqn, 1.0):
            yield from products_by_scope(inner, inner_scope, times * rounds)


def _scope(eqn: JaxprEqn) -> str:
    with contextlib.suppress(Exception):
        return str(eqn.source_info.name_stack)
    return ""


def loop_carry(eqn: JaxprEqn) -> Sequence[Shaped]:
    """Shape and dtype of the arrays that a loop carries from round to round; empty for another operation."""
    body_name = {"scan": "jaxpr", "while": "body_jaxpr"}.get(eqn.primitive.name, "")
    with contextlib.suppress(Exception):
        # A loop returns its carry with the shapes of its body; a scan's other results have a leading axis of rounds.
        (body,) = _within(eqn.params[body_name])
        pairs = [(_aval(whole), _aval(one)) for whole, one in zip(eqn.outvars, body.outvars, strict=True)]
        return [whole for whole, one in pairs if whole.shape == one.shape]
    return ()


# -------------------------------------------------------------------------------------------------------------- endings
# Operations that keep the values, and those that only hold another program.
_PASSING = {"reshape", "squeeze", "convert_element_type", "copy", "broadcast_in_dim", "transpose", "slice"}
_PRODUCT, _PRODUCTS = "product", {"dot_general", "conv_general_dilated", "fnn_conv"}
_CALLS = {"pjit", "jit", "custom_jvp_call", "custom_vjp_call", "closed_call", "remat2", "checkpoint"}


def origins(
    program: ClosedJaxpr, results: Sequence[int], labels: Mapping[int, T], inputs: Sequence[T | None]
) -> list[T]:
    """The nearest labelled values from which some results are computed.

    Args:
      results: positions among the results of the program.
      labels: by position, the labels of results at which the search ends.
      inputs: the label of each input of the program; None for one that does not count.

    Returns:
      Labels in the order of ``inputs`` and then of ``labels``.
    """
    jaxpr = program.jaxpr
    made_by = {out: eqn for eqn in jaxpr.eqns for out in eqn.outvars}
    known: dict[Value, list[T]] = {
        v: [label] for v, label in zip(jaxpr.invars, inputs, strict=True) if label is not None
    }
    for i, label in labels.items():
        if not isinstance(v := jaxpr.outvars[i], Literal):
            known[v] = [*known.get(v, ()), label]
    seen, found, left = set[Value](), set[T | None](), [jaxpr.outvars[i] for i in results]
    while left:
        v = left.pop()
        if isinstance(v, Literal) or v in seen:
            continue
        seen.add(v)
        if v in known:
            found.update(known[v])
        elif v in made_by:
            left += made_by[v].invars
    return [label for label in dict.fromkeys((*inputs, *labels.values())) if label is not None and label in found]


Bounds = tuple[float, float]
_ANY = (-math.inf, math.inf)


class Ending(NamedTuple):
    """How a program computes a result.

    Attributes:
      activation: "softmax", "sigmoid" or "tanh" if that is the last operation, through reshapes and calls; else None.
      bounds: the bounds that follow from the operations alone, such as 0 and 1 after a mean of softmaxes. They hold for
        any inputs; an operation that is not known has none.
      is_product: whether the last operation is a product with an array that is not computed, such as a kernel, or such
        a convolution; with or without a bias. Its values are any real numbers.
    """

    activation: str | None
    bounds: Bounds
    is_product: bool = False

    @property
    def in_probabilities(self) -> bool:
        """Whether the result is a probability, whatever the inputs."""
        return self.activation in ("softmax", "sigmoid") or 0 <= self.bounds[0] < self.bounds[1] <= 1

    @property
    def is_constant(self) -> bool:
        """Whether the last operation is a softmax over a single entry, which is 1 whatever the inputs."""
        return self.activation == "softmax" and self.bounds == (1.0, 1.0)


def endings(program: ClosedJaxpr) -> list[Ending]:
    """How a program computes each of its results."""

    def last(v: Value) -> str | None:
        with contextlib.suppress(Exception):
            return _last_operation(program.jaxpr, v)
        return None

    bounds = _bounds_of(program.jaxpr, [_ANY] * len(program.jaxpr.invars))
    ends = [(last(v), one) for v, one in zip(program.jaxpr.outvars, bounds, strict=True)]
    return [Ending(None if name == _PRODUCT else name, one, name == _PRODUCT) for name, one in ends]


def traced_endings(fn: Callable[..., PyTree], *args: PyTree) -> tuple[PyTree, list[Ending]]:
    """The shapes of a function's result, and how it computes each array in it; from one trace."""
    program, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    return shapes, endings(program)


def _makers(program: Jaxpr) -> dict[Value, JaxprEqn]:
    """The operation that makes each value."""
    return {out: eqn for eqn in program.eqns for out in eqn.outvars}


def _origin(made_by: Makers, v: Value, passing: set[str] = _PASSING) -> Value:
    """The value before operations that keep it."""
    while isinstance(v, Var) and v in made_by and made_by[v].primitive.name in passing:
        v = made_by[v].invars[0]
    return v


def _last_operation(program: Jaxpr, result: Value) -> str | None:
    made_by = _makers(program)
    origin = functools.partial(_origin, made_by)

    def maker(v: Value) -> JaxprEqn | None:
        v = origin(v)
        return made_by.get(v) if isinstance(v, Var) else None

    eqn = maker(result)
    if eqn is None:
        return None
    name = eqn.primitive.name
    if name in (*_PRODUCTS, "add"):
        factors = [eqn] if name != "add" else [one for one in map(maker, eqn.invars) if one]
        # Of two computed values, the product may be a mean of probabilities.
        given = (one.primitive.name in _PRODUCTS and None in map(maker, one.invars) for one in factors)
        return _PRODUCT if any(given) else None
    if name in ("logistic", "tanh"):
        return "sigmoid" if name == "logistic" else name
    if name == "div":
        above, below = map(maker, eqn.invars)
        if above and below and (above.primitive.name, below.primitive.name) == ("exp", "reduce_sum"):
            return "softmax" if _is_same(made_by, below.invars[0], eqn.invars[0]) else None
    if name in _CALLS or (name == "scan" and eqn.params["length"]):  # a loop's results are those of its body
        (inner,) = _within(eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")))
        outer: list[Value] = [*eqn.outvars]
        last = _last_operation(inner, inner.outvars[outer.index(origin(result))])
        return None if last == _PRODUCT and None not in map(maker, eqn.invars) else last
    return None


# -------------------------------------------------------------------------------------------------------------- bounds
_RANGES: dict[str, Bounds] = {"logistic": (0.0, 1.0), "tanh": (-1.0, 1.0), "erf": (-1.0, 1.0), "erfc": (0.0, 2.0)}
_NONNEGATIVE = {"abs", "sqrt", "square"}
_INCREASING: dict[str, Callable[[float], float]] = {
    "exp": lambda a: math.exp(a) if a < 700 else math.inf,
    "log": lambda a: math.log(a) if 0 < a < math.inf else a if a > 0 else -math.inf,
    "log1p": lambda a: math.log1p(a) if -1 < a < math.inf else a if a > -1 else -math.inf,
}
_KEEPING = _PASSING | {"reduce_max", "reduce_min", "rev", "dynamic_slice", "gather", "stop_gradient", "squeeze"}


def _bounds_of(program: Jaxpr, given: Sequence[Bounds]) -> list[Bounds]:
    known: dict[Var, Bounds] = dict(zip(program.invars, given, strict=True))
    made_by = _makers(program)

    def bounds(v: Value) -> Bounds:
        if isinstance(v, Literal):
            with contextlib.suppress(Exception):
                return float(v.val), float(v.val)
            return _ANY
        return known.get(v, _ANY)

    for eqn in program.eqns:
        found = [_ANY] * len(eqn.outvars)
        with contextlib.suppress(Exception):
            found = _bounds_after(program, eqn, [bounds(v) for v in eqn.invars])
            found = _related(made_by, bounds, eqn) or found
        known |= {out: one for out, one in zip(eqn.outvars, found, strict=True) if isinstance(out, Var)}
    return [bounds(v) for v in program.outvars]


def _bounds_after(program: Jaxpr, eqn: JaxprEqn, given: list[Bounds]) -> list[Bounds]:
    """The bounds of the results of an operation from those of its operands."""
    name, (low, high) = eqn.primitive.name, given[0] if given else _ANY
    if name in _CALLS:
        (inner,) = _within(eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")))
        return _bounds_of(inner, given[-len(inner.invars) :] if inner.invars else [])
    if name == "scan" and eqn.params["length"]:  # whatever its rounds begin with
        (inner,) = _within(eqn.params["jaxpr"])
        return _bounds_of(inner, [_ANY] * len(inner.invars))
    if name == "div" and _last_operation(program, eqn.outvars[0]) == "softmax":
        made_by = _makers(program)
        exponentials, total = (math.prod(_aval(_origin(made_by, v)).shape) for v in eqn.invars)
        return [(float(exponentials == total), 1.0)]  # over an axis of one entry it is always 1
    if name in ("concatenate", "select_n"):
        cases = given[1:] if name == "select_n" else given
        return [(min(a for a, _ in cases), max(b for _, b in cases))]
    if name in _KEEPING:
        return [(low, high)]
    if name in _INCREASING:
        return [(_INCREASING[name](low), _INCREASING[name](high))]
    if name in ("reduce_sum", "neg", "add", "sub", "mul", "div", "max", "min", "clamp", "integer_pow", "pow"):
        return [_arithmetic(eqn, name, given)]
    if name in _NONNEGATIVE:
        return [(0.0, math.inf)]
    return [_RANGES.get(name, _ANY)] * len(eqn.outvars)


def _related(made_by: Makers, bounds: Callable[[Value], Bounds], eqn: JaxprEqn) -> list[Bounds] | None:
    """The bounds that follow from how operands depend on each other, such as those of a part divided by its total."""
    name, values = eqn.primitive.name, eqn.invars
    if name == "div" and bounds(values[0])[0] >= 0 and _covers(made_by, bounds, values[1], values[0]):
        part, total = (math.prod(_aval(_origin(made_by, v)).shape) for v in values)
        return None if part == total and _sum_of(made_by, values[1]) is not None else [(0.0, 1.0)]
    if name == "sub" and _is_log_softmax(made_by, eqn):
        return [(-math.inf, 0.0)]
    if name == "select_n" and _is_nan_test(made_by, values[0]):
        return [bounds(values[1])]
    return None


def _arithmetic(eqn: JaxprEqn, name: str, given: list[Bounds]) -> Bounds:
    (low, high), other = given[0], given[-1]
    if name == "reduce_sum":
        count = math.prod(_aval(eqn.invars[0]).shape) // max(math.prod(_aval(eqn.outvars[0]).shape), 1)
        return (low * count if low else 0.0), (high * count if high else 0.0)
    if name == "clamp":  # of the middle operand between the others
        return max(given[0][0], given[1][0]), min(given[2][1], given[1][1])
    if name == "neg":
        return -high, -low
    if name in ("integer_pow", "pow"):
        power = eqn.params["y"] if name == "integer_pow" else other[0]
        if low >= 0 and (name == "integer_pow" or other[0] == other[1]):
            ends = [end**power if end or power >= 0 else math.inf for end in (low, high)]
            return min(ends), max(ends)
        return (0.0, math.inf) if name == "integer_pow" and power % 2 == 0 else _ANY
    if name in ("add", "sub"):
        a, b = other if name == "add" else (-other[1], -other[0])
        return low + a, high + b
    if name in ("max", "min"):
        choose = max if name == "max" else min
        return choose(low, other[0]), choose(high, other[1])
    if name == "div" and other[0] > 0:
        corners = [a / b for a in (low, high) for b in other]  # NaN for a ratio of infinities
        return _ANY if any(map(math.isnan, corners)) else (min(corners), max(corners))
    if name == "mul":
        corners = [a * b for a in (low, high) for b in other]  # NaN for 0 times infinity
        return _ANY if any(map(math.isnan, corners)) else (min(corners), max(corners))
    return _ANY


# -------------------------------------------------------------------------------- relations between values of a program
_UNMOVED = {"convert_element_type", "copy", "stop_gradient"}  # they keep each element in its place


def _maker(made_by: Makers, v: Value, name: str) -> JaxprEqn | None:
    """The operation that makes a value, if it is of that name."""
    v = _origin(made_by, v, _UNMOVED)
    eqn = made_by.get(v) if isinstance(v, Var) else None
    return eqn if eqn is not None and eqn.primitive.name == name else None


def _is_same(made_by: Makers, a: Value, b: Value, depth: int = 8) -> bool:
    """Whether two values are known to be equal: one value, or the same operations on the same values."""
    a, b = (_origin(made_by, v, _UNMOVED) for v in (a, b))
    if isinstance(a, Literal) or isinstance(b, Literal):
        return isinstance(a, Literal) and isinstance(b, Literal) and bool(a.val == b.val)
    if a is b:
        return True
    one, other = made_by.get(a), made_by.get(b)
    if one is None or other is None or depth == 0 or one.primitive.name != other.primitive.name:
        return False
    if one.params != other.params or one.outvars.index(a) != other.outvars.index(b):
        return False
    pairs = zip(one.invars, other.invars, strict=True)
    return bool(one.invars) and all(_is_same(made_by, *pair, depth - 1) for pair in pairs)


def _sum_of(made_by: Makers, v: Value) -> Value | None:
    """The value of which another is a sum over some axes that are kept with length 1 or repeated."""
    axes = None
    if (eqn := _maker(made_by, v, "broadcast_in_dim")) or (eqn := _maker(made_by, v, "reshape")):
        shape, axes = _aval(v).shape, eqn.params.get("broadcast_dimensions")
        if axes is None and 1 not in shape:
            return None
        v = eqn.invars[0]
        axes = axes if axes is not None else tuple(i for i, length in enumerate(shape) if length > 1)
    total = _maker(made_by, v, "reduce_sum")
    if total is None:
        return None
    whole, summed = _aval(total.invars[0]).shape, total.params["axes"]
    left = tuple(i for i in range(len(whole)) if i not in summed)
    fits = not left if axes is None else tuple(axes) == left
    return total.invars[0] if fits else None


def _covers(made_by: Makers, bounds: Callable[[Value], Bounds], above: Value, part: Value) -> bool:
    """Whether a value is at least ``part``, which is at least 0, because it is a sum or a maximum that contains it."""
    if _is_same(made_by, above, part):
        return True
    if (summed := _sum_of(made_by, above)) is not None:
        return _is_same(made_by, summed, part)
    for name in ("add", "max"):
        if eqn := _maker(made_by, above, name):
            pairs = eqn.invars, eqn.invars[::-1]
            return any(_covers(made_by, bounds, a, part) and (name == "max" or bounds(b)[0] >= 0) for a, b in pairs)
    return False


def _is_log_softmax(made_by: Makers, eqn: JaxprEqn) -> bool:
    """Whether a difference is ``z - log(sum(exp(z)))``, or ``z - (log(sum(exp(z - offset))) + offset)``."""
    z, total = eqn.invars
    logs, offset = total, None
    if both := _maker(made_by, total, "add"):
        logs, offset = both.invars if _maker(made_by, both.invars[0], "log") else both.invars[::-1]
    if (log := _maker(made_by, logs, "log")) is None:
        return False
    absolute = _maker(made_by, log.invars[0], "abs")
    summed = _sum_of(made_by, (absolute or log).invars[0])
    if summed is None or (exp := _maker(made_by, summed, "exp")) is None:
        return False
    if offset is None:
        return _is_same(made_by, exp.invars[0], z)
    if (shifted := _maker(made_by, exp.invars[0], "sub")) is None:
        return False
    return _is_same(made_by, shifted.invars[0], z) and _is_same(made_by, shifted.invars[1], offset)


def _is_nan_test(made_by: Makers, v: Value) -> bool:
    """Whether a value is ``a != a``."""
    eqn = _maker(made_by, v, "ne")
    return eqn is not None and _is_same(made_by, eqn.invars[0], eqn.invars[1])
