"""Penalties and constraints on parameters chosen by path, for ``Task(penalty=..., constraint=...)``, or on one array.

A penalty is a function ``params -> scalar`` that is added to the loss, a constraint a function ``params -> params``
that is applied after each update; any function of your own will do. Those made here are Keras's regularizers and
constraints. As in Keras, a layer takes them too: ``Dense(64, kernel_regularizer=fnn.penalties.l2(1e-4))``.

Numbers may be traced, so that each trial under ``vmap`` may have its own. Two penalties or constraints made alike from
plain numbers are equal, so that tasks made alike share their compiled programs.

>>> import fnn
>>> model = fnn.Sequential(fnn.Dense(16, activation="relu"), fnn.Dense(3))
>>> task = fnn.Task(model, "mse", penalty=fnn.penalties.l2(1e-4), constraint=fnn.penalties.max_norm(3.0))
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ._core.checks import check_range, refuse_uncalled
from ._core.described import DescribedFunction, described, in_words
from ._core.dtypes import is_float, sum_of, widened
from ._core.errors import describe, fail
from ._core.norms import scaled_norm, shrunk
from ._core.trees import Where, check_matches, map_with_path, matches, paths
from ._core.types import Array, PyTree, Scalar

__all__ = [
    "CONSTRAINTS", "PENALTIES", "Constraint", "Penalty", "chain", "l1", "l1l2", "l2", "max_norm", "non_negative",
    "total", "unit_norm",
]  # fmt: skip

Penalty = Callable[[PyTree], Array]
Constraint = Callable[[PyTree], PyTree]
Axis = int | tuple[int, ...]
_EPSILON = 1e-7  # Keras's backend epsilon


def _number(where: str, name: str, value: Scalar, *, open_low: bool = False) -> Scalar:
    """A scalar of at least 0: unchanged if JAX holds it, else a plain float."""
    if isinstance(value, jax.Array) and not (value.shape == () and is_float(value)):
        fail(where, expected=f"{name} to be a floating-point scalar", got=describe(value))
    check_range(where, name, value, 0, open_low=open_low)
    return value if isinstance(value, jax.Array) else float(value)


def _patterns(where: str, patterns: Where | list[str]) -> Where:
    """Patterns with a list as a tuple; anything that is not a pattern is refused."""
    if isinstance(patterns, str) or callable(patterns):
        return patterns
    if isinstance(patterns, (tuple, list)) and patterns and all(isinstance(p, str) for p in patterns):
        return tuple(patterns)
    fail(where, expected="a pattern such as '*kernel', a tuple of patterns, or a function", got=in_words(patterns))


def _axis(where: str, axis: Axis | list[int]) -> Axis:
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if not axes or any(isinstance(a, bool) or not isinstance(a, (int, np.integer)) for a in axes):
        fail(where, expected="axis to be an integer or a tuple of integers", got=in_words(axis))
    return tuple(map(int, axes)) if isinstance(axis, (tuple, list)) else int(axis)


def _check_functions(where: str, parts: tuple[Callable[..., PyTree], ...]) -> None:
    if not parts:
        fail(where, expected="at least one function of the parameters", got="none")
    for part in parts:
        refuse_uncalled(where, "functions of the parameters", part)
        if not callable(part):
            fail(where, expected="functions of the parameters", got=in_words(part))


def _chosen(where: str, params: PyTree, patterns: Where) -> dict[str, Array]:
    """The parameters that match, by path; refuses a pattern without a match, and dtypes that are not floating-point.

    A single array, as a layer's ``kernel_regularizer`` receives it, is chosen whatever the pattern.
    """
    given = paths(params)
    alone = given.keys() == {""}
    for pattern in () if alone else patterns if isinstance(patterns, tuple) else (patterns,):
        check_matches(where, pattern, given)
    chosen = {path: w for path, w in given.items() if alone or matches(patterns, path)}
    for path, w in chosen.items():
        if not is_float(w):
            fail(f"{where}, parameter {path!r}", expected="a floating-point dtype", got=describe(w))
    return chosen


def _penalty(name: str, where: Where, **terms: tuple[Scalar, Callable[[Array], Array]]) -> Penalty:
    """The sum of ``rate * sum(fn(w))`` over the chosen parameters, for terms ``(rate, fn)`` by the name of the rate."""
    label = f"penalties.{name}"
    rates = [(_number(label, argument, rate), fn) for argument, (rate, fn) in terms.items()]
    rates = [(rate, fn) for rate, fn in rates if isinstance(rate, jax.Array) or rate != 0]
    where = _patterns(label, where)

    def penalty(params: PyTree) -> Array:
        ws = [widened(w) for w in _chosen(label, params, where).values()]
        return sum_of([jnp.asarray(rate, w.dtype) * jnp.sum(fn(w)) for w in ws for rate, fn in rates])

    return DescribedFunction(penalty)


@described
def l1(rate: Scalar, where: Where = "*kernel") -> Penalty:
    """``rate * sum|w|`` over the chosen parameters, which draws them to exactly 0 (the lasso).

    Keras's ``regularizers.L1``. The derivative at 0 is 0, and the sum is in float32 at least.

    Args:
      rate: at least 0; may be traced.
      where: paths of the parameters: a pattern, several, or a function of the path. The default "*kernel" is every
        kernel, recurrent ones included (``"*/kernel"`` leaves those out); ``"dense_1"`` is a whole layer.

    Raises:
      InputError: for a negative rate; when the task is initialized, for a pattern that matches no parameter.

    >>> import jax.numpy as jnp
    >>> print(l1(0.5)({"kernel": jnp.array([1.0, -3.0]), "bias": jnp.array([7.0])}))
    2.0
    """
    return _penalty("l1", where, rate=(rate, jnp.abs))


@described
def l2(rate: Scalar, where: Where = "*kernel") -> Penalty:
    """``rate * sum w^2`` over the chosen parameters (ridge; Keras's ``regularizers.L2``).

    Its gradient is ``2 rate w``: PyTorch's ``weight_decay`` of ``d`` is a rate of ``d / 2``. With Adam and its kin it
    differs from the decoupled ``weight_decay`` of the optimizer. Arguments, result and errors as in `l1`.

    >>> import jax.numpy as jnp
    >>> print(l2(0.5)({"kernel": jnp.array([1.0, -3.0]), "bias": jnp.array([7.0])}))
    5.0
    """
    return _penalty("l2", where, rate=(rate, jnp.square))


@described
def l1l2(l1: Scalar = 0.0, l2: Scalar = 0.0, where: Where = "*kernel") -> Penalty:
    """``l1 * sum|w| + l2 * sum w^2`` over the chosen parameters (the elastic net; Keras's ``regularizers.L1L2``).

    Both rates, ``where``, result and errors as in `l1`.

    >>> import jax.numpy as jnp
    >>> print(l1l2(1.0, 0.5)({"kernel": jnp.array([1.0, -3.0])}))
    9.0
    """
    return _penalty("l1l2", where, l1=(l1, jnp.abs), l2=(l2, jnp.square))


@described
def total(*parts: Penalty) -> Penalty:
    """The sum of penalties, those made here or any functions ``params -> scalar``.

    >>> import jax.numpy as jnp
    >>> both = total(l2(1.0, "dense/kernel"), l1(0.5, "dense/bias"))
    >>> print(both({"dense": {"kernel": jnp.array([3.0]), "bias": jnp.array([-2.0])}}))
    10.0
    """
    _check_functions("penalties.total", parts)

    def penalty(params: PyTree) -> Array:
        values = [jnp.asarray(part(params)) for part in parts]
        for part, value in zip(parts, values, strict=True):
            if value.shape != ():
                fail(f"penalties.total, {in_words(part)}", expected="a scalar", got=describe(value))
        return sum_of(values)

    return DescribedFunction(penalty)


def _constraint(name: str, where: Where, fn: Callable[[str, Array], Array]) -> Constraint:
    """``fn(place, w)`` of the chosen parameters, computed in float32 at least; the others are unchanged."""
    label = f"penalties.{name}"
    where = _patterns(label, where)

    def constraint(params: PyTree) -> PyTree:
        chosen = _chosen(label, params, where)
        new = {path: fn(f"{label}, parameter {path!r}", widened(w)).astype(w.dtype) for path, w in chosen.items()}
        return map_with_path(lambda path, w: new.get(path, w), params)

    return DescribedFunction(constraint)


def _norms(place: str, w: Array, axis: Axis) -> tuple[Array, Array]:
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(-w.ndim <= a < w.ndim for a in axes) or len({a % w.ndim for a in axes}) < len(axes):
        count = "1 axis" if w.ndim == 1 else f"{w.ndim} axes"
        fail(place, expected=f"distinct axes of an array with {count}", got=f"axis={axis}")
    return scaled_norm(w, axes=axes)


@described
def max_norm(limit: Scalar, where: Where = "*kernel", *, axis: Axis = 0) -> Constraint:
    """Scale weights whose norm along ``axis`` exceeds ``limit`` down to it, after each update.

    ``w * min(1, limit / n)`` with ``n = sqrt(sum_axis w^2)``, whose squares neither overflow nor underflow (Srebro and
    Shraibman 2005; with dropout Srivastava et al. 2014). Keras's ``constraints.MaxNorm`` adds 1e-7 to ``n``, which
    also shrinks weights within the limit, and very small ones to 0.

    Args:
      limit: above 0; may be traced.
      where: paths of the parameters, as in `l1`.
      axis: the axes that one norm is taken over. 0 is right for Dense, whose column ``kernel[:, j]`` leads to unit
        ``j``; the filters of a two-dimensional Conv need ``(0, 1, 2)``.

    Raises:
      InputError: as `l1`, and, when the task is initialized, for an axis that a matching parameter does not have.

    >>> import jax.numpy as jnp
    >>> params = max_norm(2.0)({"kernel": jnp.array([[3.0, 0.0], [4.0, 1.0]])})
    >>> print(jnp.linalg.norm(params["kernel"], axis=0).round(3))
    [2. 1.]
    """
    limit = _number("penalties.max_norm", "limit", limit, open_low=True)
    axis = _axis("penalties.max_norm", axis)

    def scaled(place: str, w: Array) -> Array:
        return shrunk(w, *_norms(place, w, axis), jnp.asarray(limit, w.dtype))

    return _constraint("max_norm", where, scaled)


@described
def unit_norm(where: Where = "*kernel", *, axis: Axis = 0) -> Constraint:
    """Scale weights to norm 1 along ``axis`` after each update: ``w / (1e-7 + sqrt(sum_axis w^2))``.

    Keras's ``constraints.UnitNorm``. Arguments, result and errors as for `max_norm`.

    >>> import jax.numpy as jnp
    >>> print(unit_norm()({"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]])})["kernel"])
    [[0.6 0. ]
     [0.8 1. ]]
    """
    axis = _axis("penalties.unit_norm", axis)

    def rescaled(place: str, w: Array) -> Array:
        scale, norms = _norms(place, w, axis)
        return w * scale / (_EPSILON * scale + norms)

    return _constraint("unit_norm", where, rescaled)


@described
def non_negative(where: Where = "*kernel") -> Constraint:
    """Set negative weights to 0 after each update: ``max(w, 0)``, Keras's ``constraints.NonNeg``.

    Arguments, result and errors as for `max_norm`.

    >>> import jax.numpy as jnp
    >>> print(non_negative("bias")({"bias": jnp.array([-1.0, 2.0])})["bias"])
    [0. 2.]
    """
    return _constraint("non_negative", where, lambda place, w: jnp.maximum(w, jnp.zeros_like(w)))


@described
def chain(*parts: Constraint) -> Constraint:
    """Constraints in sequence, those made here or any functions ``params -> params``.

    >>> import jax.numpy as jnp
    >>> both = chain(non_negative("dense/kernel"), unit_norm("dense/kernel"))
    >>> print(both({"dense": {"kernel": jnp.array([[-3.0], [2.0]])}})["dense"]["kernel"])
    [[0.]
     [1.]]
    """
    _check_functions("penalties.chain", parts)
    return DescribedFunction(lambda params: functools.reduce(lambda params, part: part(params), parts, params))


PENALTIES: dict[str, Penalty] = {"l1": l1(0.01), "l2": l2(0.01), "l1_l2": l1l2(0.01, 0.01), "l1l2": l1l2(0.01, 0.01)}
"""Penalties of a layer's parameter by name, with Keras's rates."""
CONSTRAINTS: dict[str, Constraint] = {
    "max_norm": max_norm(2.0), "unit_norm": unit_norm(), "non_neg": non_negative(), "non_negative": non_negative(),
}  # fmt: skip
"""Constraints of a layer's parameter by name, with Keras's limit."""
