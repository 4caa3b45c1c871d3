"""The dense (fully connected) layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Unpack

import jax.numpy as jnp

from .._core.checks import check_count, check_same_dtype, leaf
from .._core.described import described
from .._core.dtypes import spread
from .._core.errors import describe, fail, shape_text
from .._core.flags import flagged
from .._core.types import Array, ArraySpec, DType, Key
from .activations import ActivationLike, are_per_example, get_activation
from .initializers import Initializer
from .layer import Layer, get_initializers, initialize, param_dtype, parametric
from .regularized import KernelOptions, regularized


@flagged
def dense_init(
    key: Key,
    in_features: int,
    units: int,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of a dense layer: ``kernel`` (in_features, units) and ``bias`` (units,).

    Args:
      key: a PRNG key, one for kernel and bias together.
      in_features, units: widths of input and output.
      use_bias: whether there is a bias.
      kernel_initializer, bias_initializer: a name or a function ``(key, shape, dtype) -> array``.
      dtype: of the parameters.

    Raises:
      InputError: for ``in_features`` or ``units`` below 1, and unknown initializers.
    """
    check_count("dense_init", "in_features", in_features)
    check_count("dense_init", "units", units)
    kernel = (kernel_initializer, (in_features, units))
    return initialize(key, dtype, kernel=kernel, bias=(bias_initializer, (units,)) if use_bias else None)


def dense(params: Mapping[str, Array], x: Array) -> Array:
    """``y = x @ kernel + bias`` on the last axis.

    Args:
      params: ``kernel`` (in_features, units) and, optionally, ``bias`` (units,).
      x: (..., in_features), of the kernel's dtype.

    Returns:
      (..., units).

    Raises:
      InputError: when the width or the dtype of ``x``, or the shape of the bias, does not fit the kernel.

    >>> import jax.numpy as jnp
    >>> print(dense({"kernel": jnp.array([[1.0], [2.0]]), "bias": jnp.array([0.5])}, jnp.array([[3.0, 4.0]])))
    [[11.5]]
    """
    kernel: Array = leaf("dense", params, "kernel")
    _check_operands(kernel, params.get("bias"), x)
    y = x @ kernel
    return y + spread(params["bias"], y) if "bias" in params else y


def _check_operands(kernel: Array, bias: Array | None, x: Array) -> None:
    if x.ndim == 0 or x.shape[-1] != kernel.shape[0]:
        expected = f"x of shape (batch, {kernel.shape[0]}) for a kernel of shape {shape_text(kernel.shape)}"
        flat = x.ndim > 2 and math.prod(x.shape[1:]) == kernel.shape[0]
        fail("dense", expected=expected, got=describe(x), hint="Add Flatten() before it." if flat else "")
    check_same_dtype("dense", x, kernel)
    if bias is not None and bias.shape != kernel.shape[1:]:
        fail("dense", expected=f"a bias of shape {shape_text(kernel.shape[1:])} beside its kernel", got=describe(bias))


def _check_batch(x: ArraySpec) -> None:
    if len(x.shape) < 2:
        hint = "Use x[None] for one example, x[:, None] for one feature."
        fail("Dense", expected="x of shape (batch, ..., features)", got=describe(x), hint=hint)


@described
def Dense(
    units: int,
    activation: ActivationLike = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    *,
    dtype: DType | None = None,
    name: str = "dense",
    **weights: Unpack[KernelOptions],
) -> Layer:
    """A dense layer, ``activation(x @ kernel + bias)``.

    Args:
      units: width of the output.
      activation: a name or a function; default none.
      use_bias: whether to add a bias.
      kernel_initializer, bias_initializer: a name or a function ``(key, shape, dtype) -> array``.
      dtype: of the parameters; default that of ``x``.
      name: base name in `Sequential`.
      **weights: kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint: a name, such as "l2" with
        Keras's rate of 0.01, or a function of the array, such as ``fnn.penalties.l2(1e-4)``; default none. A `Task`
        adds the penalties to the loss and applies the constraints after each update.

    Shapes: (batch, ..., in_features) to (batch, ..., units); a `Masked` keeps its mask.

    Raises:
      InputError: for ``units`` below 1 and unknown names; from ``init`` and ``apply``, for several arrays and for
        ``x`` of rank below 2; from ``apply``, as `dense`.

    >>> import jax, jax.numpy as jnp
    >>> params, _ = Dense(10).init(jax.random.key(0), jnp.ones((1, 784)))
    >>> params["kernel"].shape, params["bias"].shape
    ((784, 10), (10,))
    """
    check_count("Dense", "units", units)
    act = get_activation(activation)
    initializers = get_initializers(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer)

    def init(key: Key, x: ArraySpec) -> dict[str, Array]:
        _check_batch(x)
        return dense_init(key, x.shape[-1], units, use_bias=use_bias, dtype=param_dtype(x, dtype), **initializers)

    def apply(params: Mapping[str, Array], x: Array) -> Array:
        _check_batch(x)
        return act(dense(params, x))

    layer = parametric(init, apply, name, "Dense", per_example=are_per_example(activation), mask="keep")
    return regularized(layer, weights)
