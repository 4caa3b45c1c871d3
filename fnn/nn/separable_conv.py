"""Depthwise separable convolution: a convolution of each channel, then a mixture of the channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Unpack

import jax.numpy as jnp

from .._core.checks import check_count, leaf
from .._core.described import described
from .._core.flags import flagged
from .._core.random import child_keys
from .._core.types import Array, DType, Key
from .activations import ActivationLike
from .conv import conv, conv_layer, depthwise_conv, depthwise_conv_init
from .initializers import Initializer
from .layer import Layer, get_initializers, initialize
from .regularized import SeparableOptions, regularized
from .windows import Padding, Size, check_padding, check_sizes


@flagged
def separable_conv_init(
    key: Key,
    in_features: int,
    filters: int,
    kernel_size: Sequence[int],
    *,
    depth_multiplier: int = 1,
    use_bias: bool = True,
    depthwise_initializer: str | Initializer = "glorot_uniform",
    pointwise_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of `separable_conv`.

    They are ``depthwise_kernel`` (*kernel_size, 1, channels) with ``in_features * depth_multiplier`` channels, which
    its initializer sees as in `depthwise_conv_init`, ``pointwise_kernel`` (*ones, channels, filters) and ``bias``
    (filters,). Errors as in `conv_init`.
    """
    check_count("separable_conv_init", "filters", filters)
    depthwise_key, pointwise_key = child_keys(key, 2)
    depthwise = depthwise_conv_init(
        depthwise_key,
        in_features,
        kernel_size,
        depth_multiplier=depth_multiplier,
        use_bias=False,
        kernel_initializer=depthwise_initializer,
        dtype=dtype,
    )["kernel"]
    pointwise = (pointwise_initializer, (*(1,) * len(kernel_size), depthwise.shape[-1], filters))
    bias = (bias_initializer, (filters,)) if use_bias else None
    return {"depthwise_kernel": depthwise} | initialize(pointwise_key, dtype, pointwise_kernel=pointwise, bias=bias)


def separable_conv(
    params: Mapping[str, Array], x: Array, *, strides: Size = 1, padding: Padding = "valid", dilation_rate: Size = 1
) -> Array:
    """`depthwise_conv`, then a `conv` with a window of one element (Chollet 2016, arXiv:1610.02357).

    Args:
      params: ``depthwise_kernel`` (*window, 1, channels), as in `depthwise_conv`, ``pointwise_kernel``
        (*ones, channels, filters) and, optionally, ``bias`` (filters,).
      x: (batch, *spatial, in_features), of the kernels' dtype.
      strides, padding, dilation_rate: of the depthwise convolution, as in `conv`, and so are the errors.

    Returns:
      (batch, *positions, filters).

    >>> import jax.numpy as jnp
    >>> params = {"depthwise_kernel": jnp.ones((2, 1, 2)), "pointwise_kernel": jnp.array([[[1.0], [10.0]]])}
    >>> print(separable_conv(params, jnp.arange(6.0).reshape(1, 3, 2))[0, :, 0])
    [42. 86.]
    """
    depthwise = {"kernel": leaf("separable_conv", params, "depthwise_kernel")}
    pointwise = {"kernel": leaf("separable_conv", params, "pointwise_kernel")}
    if "bias" in params:
        pointwise["bias"] = params["bias"]
    h = depthwise_conv(depthwise, x, strides=strides, padding=padding, dilation_rate=dilation_rate)
    return conv(pointwise, h)


@described
def SeparableConv(
    filters: int,
    kernel_size: Size,
    strides: Size = 1,
    padding: Padding = "valid",
    dilation_rate: Size = 1,
    depth_multiplier: int = 1,
    activation: ActivationLike = None,
    *,
    use_bias: bool = True,
    depthwise_initializer: str | Initializer = "glorot_uniform",
    pointwise_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType | None = None,
    name: str = "separable_conv",
    **weights: Unpack[SeparableOptions],
) -> Layer:
    """A convolution of each channel, then a mixture of the channels; see `separable_conv`.

    Args:
      filters: channels of the output.
      depth_multiplier: channels between the two convolutions for each channel of the input.
      depthwise_initializer, pointwise_initializer: of the two kernels, as ``kernel_initializer`` in `Dense`.
      kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer, dtype, name: as in `Conv`.
      **weights: bias_regularizer, bias_constraint, and those of ``depthwise_`` and ``pointwise_``; as in `Dense`.

    Shapes: (batch, *spatial, in_features) to (batch, *positions, filters). Errors as in `Conv` and `separable_conv`.

    >>> import jax, jax.numpy as jnp
    >>> params, _ = SeparableConv(32, 3).init(jax.random.key(0), jnp.ones((1, 8, 8, 5)))
    >>> params["depthwise_kernel"].shape, params["pointwise_kernel"].shape, params["bias"].shape
    ((3, 3, 1, 5), (1, 1, 5, 32), (32,))
    """
    check_count("SeparableConv", "filters", filters)
    check_count("SeparableConv", "depth_multiplier", depth_multiplier)
    check_padding("SeparableConv", padding, ("valid", "same", "causal"))
    check_sizes("SeparableConv", kernel_size=kernel_size, strides=strides, dilation_rate=dilation_rate)
    initializers = get_initializers(
        depthwise_initializer=depthwise_initializer,
        pointwise_initializer=pointwise_initializer,
        bias_initializer=bias_initializer,
    )
    init = partial(
        separable_conv_init, filters=filters, depth_multiplier=depth_multiplier, use_bias=use_bias, **initializers
    )
    fn = partial(separable_conv, strides=strides, padding=padding, dilation_rate=dilation_rate)
    layer = conv_layer("SeparableConv", name, init, fn, kernel_size, activation, dtype)
    return regularized(layer, weights)
