"""Activation functions: pure functions of one array that keep its shape and dtype.

Functions of several operations compute in float32 at least and round once, as in PyTorch.

Args:
  x: (...), any shape.

Returns:
  (...), the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from .._core.checks import check_accepts, resolve
from .._core.described import described
from .._core.dtypes import widened
from .._core.errors import fail
from .._core.flags import flagged
from .._core.norms import below_maximum
from .._core.typed import wraps
from .._core.types import Array, Scalar
from .layer import Layer, stateless
from .observe import note_input

__all__ = [
    "ACTIVATIONS", "elu", "gelu", "get_activation", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish",
    "relu", "sigmoid", "sign", "silu", "sinc", "softmax", "softplus", "softsign", "step", "swish", "tanh",
]  # fmt: skip

ActivationLike = str | Callable[[Array], Array] | None
"""The name of an activation, a function, or None for the identity."""
_F = TypeVar("_F", bound=Callable[..., Array])


def _rounded_once(fn: _F) -> _F:
    """Compute ``fn`` in float32 for half-precision inputs and round the result to their dtype."""

    @wraps(fn)
    def rounded(x: Array, *args: object, **options: object) -> Array:
        wide = widened(x)
        return fn(x, *args, **options) if wide.dtype == x.dtype else fn(wide, *args, **options).astype(x.dtype)

    return rounded


def _noted(fn: _F) -> _F:
    """Note the input, so that a loss that takes logits can read them; for an activation over the last axis alone."""

    @wraps(fn)
    def noted(x: Array, *args: object, **options: object) -> Array:
        y = fn(x, *args, **options)
        if {*args, *options.values()} <= {-1, x.ndim - 1}:
            note_input(fn.__name__, x, y)
        return y

    return noted


def linear(x: Array) -> Array:
    """The identity, ``f(x) = x``."""
    return x


def step(x: Array) -> Array:
    """Heaviside's step, ``f(x) = 1 if x >= 0 else 0``; its derivative is 0 everywhere (McCulloch and Pitts 1943)."""
    return jnp.where(x >= 0, jnp.ones_like(x), jnp.zeros_like(x))


def sign(x: Array) -> Array:
    """The sign, -1, 0 or 1; its derivative is 0 everywhere."""
    return jnp.sign(x)


@_noted
def sigmoid(x: Array) -> Array:
    """The logistic function, ``f(x) = 1 / (1 + exp(-x))``.

    >>> import jax.numpy as jnp
    >>> print(sigmoid(jnp.zeros(())))
    0.5
    """
    return jax.lax.logistic(x)


@_rounded_once
def log_sigmoid(x: Array) -> Array:
    """``log(sigmoid(x))`` without overflow, ``f(x) = -softplus(-x)``."""
    return -softplus(-x)


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return jnp.tanh(x)


def relu(x: Array) -> Array:
    """The rectifier, ``f(x) = max(x, 0)``, with derivative 0 at 0; NaN stays NaN (Nair and Hinton 2010)."""
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


def leaky_relu(x: Array, negative_slope: Scalar = 0.2) -> Array:
    """``f(x) = x if x > 0 else negative_slope * x`` (Maas et al. 2013); the default slope is Keras's."""
    return jnp.where(x > 0, x, jnp.asarray(negative_slope, x.dtype) * x)


@_rounded_once
def elu(x: Array, alpha: Scalar = 1.0) -> Array:
    """``f(x) = x if x > 0 else alpha * (exp(x) - 1)`` (Clevert et al. 2015, arXiv:1511.07289)."""
    # The inner where keeps exp in the untaken branch from overflowing, which would make the gradient NaN.
    negative = jnp.where(x > 0, jnp.zeros_like(x), x)
    return jnp.where(x > 0, x, jnp.asarray(alpha, x.dtype) * jnp.expm1(negative))


@flagged
@_rounded_once
def gelu(x: Array, approximate: bool = False) -> Array:
    """``f(x) = x * Phi(x)`` with the normal distribution function Phi (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    With ``approximate=True``: ``0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``.
    """
    if approximate:
        return 0.5 * x * (1.0 + jnp.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    return 0.5 * x * jax.lax.erfc(-x * 0.7071067811865476)


@_rounded_once
def softplus(x: Array) -> Array:
    """``f(x) = log(1 + exp(x))`` without overflow (Dugas et al. 2001)."""
    return jnp.logaddexp(x, jnp.zeros_like(x))


@_rounded_once
def softsign(x: Array) -> Array:
    """``f(x) = x / (1 + |x|)``."""
    return x / (1.0 + jnp.abs(x))


@_rounded_once
def swish(x: Array) -> Array:
    """``f(x) = x * sigmoid(x)``, also called SiLU (Ramachandran et al. 2017, arXiv:1710.05941)."""
    return x * sigmoid(x)


@_rounded_once
def mish(x: Array) -> Array:
    """``f(x) = x * tanh(softplus(x))`` (Misra 2019, arXiv:1908.08681)."""
    return x * jnp.tanh(softplus(x))


@_rounded_once
def sinc(x: Array) -> Array:
    """``f(x) = sin(x) / x``, and 1 at 0 (not the normalized form with pi; Gashler and Ashmore 2014)."""
    # The derivative cos(x) / x - sin(x) / x^2 cancels near 0; use a Taylor polynomial there, exact to float64.
    near = jnp.abs(x) < 0.5
    square = jnp.square(jnp.where(near, x, jnp.zeros_like(x)))
    series = jnp.ones_like(x)
    for n in (13, 11, 9, 7, 5, 3):
        series = 1.0 - square / ((n - 1) * n) * series
    far = jnp.where(near, jnp.ones_like(x), x)
    return jnp.where(near, series, jnp.sin(far) / far)


@_rounded_once
def log_softmax(x: Array, axis: int = -1) -> Array:
    """``f(x)_i = x_i - log(sum_j exp(x_j))`` along ``axis``, stable for large ``x``; see `softmax` for infinities."""
    shifted = below_maximum(x, axis)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=axis, keepdims=True))


@_noted
@_rounded_once
def softmax(x: Array, axis: int = -1) -> Array:
    """``f(x)_i = exp(x_i) / sum_j exp(x_j)`` along ``axis``, stable for large ``x``.

    Infinite elements give the limit of large finite ones: -inf has probability 0, and equal infinite maxima share
    the probability equally, with derivative 0 (PyTorch and ``jax.nn.softmax`` give NaN).

    >>> import jax.numpy as jnp
    >>> print(softmax(jnp.array([0.0, 0.0])))
    [0.5 0.5]
    """
    powers = jnp.exp(below_maximum(x, axis))
    return powers / jnp.sum(powers, axis=axis, keepdims=True)


def _by_name(*fns: Callable[..., Array]) -> dict[str, Callable[..., Array]]:
    return {fn.__name__: fn for fn in fns}


silu = swish
ACTIVATIONS: dict[str, Callable[..., Array]] = {
    **_by_name(linear, step, sign, sigmoid, log_sigmoid, tanh, relu, leaky_relu, elu, gelu, softplus, softsign, swish),
    "silu": silu,
    **_by_name(mish, sinc, softmax, log_softmax),
}


def get_activation(activation: ActivationLike) -> Callable[[Array], Array]:
    """Look an activation up by name; a function is unchanged, and None is `linear`.

    An unknown name raises `InputError` with the close matches.
    """
    if isinstance(activation, int) and not isinstance(activation, bool):
        hint = f"The size of the input is read from x: pass the number of outputs alone, here {activation}."
        fail("activation", expected="the name of a known activation or a function", got=str(activation), hint=hint)
    found = linear if activation is None else resolve("activation", activation, ACTIVATIONS)
    if found is activation:
        check_accepts("activation", "(x)", found, 1)
    return found


def are_per_example(*activations: ActivationLike) -> bool:
    """Whether all act on each example separately, as the library's do; custom functions make no such promise."""
    return all(get_activation(activation) in ACTIVATIONS.values() for activation in activations)


@described
def Activation(activation: str | Callable[[Array], Array], name: str | None = None) -> Layer:
    """An activation, or any function of one array, as a layer.

    Args:
      activation: a name from the activations of this module, or a function ``x -> y``; errors as in `get_activation`.
      name: base name in `Sequential`; default the activation's name, or "activation" for a function.
    """
    name = name or (activation if isinstance(activation, str) else "activation")
    fn = get_activation(activation)
    return stateless(fn, name, "Activation", per_example=are_per_example(fn), mask="keep")
