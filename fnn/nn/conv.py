"""Convolutions over one, two or three spatial axes: plain, grouped, depthwise and transposed.

All of them come from one trilinear form ``<y, convolve(x, kernel)>``. Its derivative with respect to ``y`` is the
convolution, that with respect to ``x`` the transposed convolution (and the gradient of ``x``), and that with respect
to ``kernel`` the gradient of the kernel. `_conv_primitive` makes the three one JAX primitive in which the derivatives
of each are the other two, so derivatives of every order exist in forward and reverse mode. GPU and TPU run XLA's own
convolution; `_conv_cpu` holds the forms that are fast on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Unpack

import jax.numpy as jnp

from .._core.checks import check_count, check_same_dtype, leaf
from .._core.described import described
from .._core.dtypes import spread
from .._core.errors import describe, fail, shape_text
from .._core.flags import flagged
from .._core.types import Array, ArraySpec, DType, Key, Shape
from .._core.warn import warn
from . import _conv_cpu  # noqa: F401  (registers the forms for the CPU)
from ._conv_primitive import Geometry, bind_conv
from .activations import ActivationLike, are_per_example, get_activation
from .initializers import Initializer
from .layer import Layer, get_initializers, initialize, param_dtype, parametric
from .masks import SEQUENCE_HINT
from .regularized import KernelOptions, regularized
from .windows import Padding, Size, check_padding, check_sizes, pads, per_axis, spatial_rank, window_of


@flagged
def conv_init(
    key: Key,
    in_features: int,
    filters: int,
    kernel_size: Sequence[int],
    *,
    groups: int = 1,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of `conv`: ``kernel`` (*kernel_size, in_features / groups, filters) and ``bias`` (filters,).

    Raises:
      InputError: for sizes below 1, more than three spatial axes, or groups that do not divide both channel counts.
    """
    window = window_of("conv_init", kernel_size)
    _check_groups("conv_init", in_features, filters, groups)
    kernel = (kernel_initializer, (*window, in_features // groups, filters))
    return initialize(key, dtype, kernel=kernel, bias=(bias_initializer, (filters,)) if use_bias else None)


def conv(
    params: Mapping[str, Array],
    x: Array,
    *,
    strides: Size = 1,
    padding: Padding = "valid",
    dilation_rate: Size = 1,
    groups: int = 1,
) -> Array:
    """Convolution over 1, 2 or 3 spatial axes: in one dimension ``y[o] = sum_i x[o s + i d - low] @ kernel[i] + bias``.

    As usual in deep learning, the kernel is not flipped. Derivatives of every order exist in both modes. On the CPU,
    convolutions and their gradients run as fast inside a compiled loop as outside, and half precision is summed in
    float32. Under `jax.vmap` over parameters *and* input, the CPU runs the members one after the other, which is faster
    than XLA's grouped convolution.

    Args:
      params: ``kernel`` (*window, in_features / groups, filters) and, optionally, ``bias`` (filters,).
      x: (batch, *spatial, in_features), of the kernel's dtype.
      strides: step of the window, one integer or one for each spatial axis; default 1.
      padding: "valid" (none, the default); "same" (``ceil(size / stride)`` positions, with the larger half at the end);
        "causal" (one axis only: no position sees a later one); or explicit: an integer for both sides of every axis,
        or one integer or ``(low, high)`` pair for each axis.
      dilation_rate: distance between taps, one integer or one for each spatial axis; default 1.
      groups: number of independent groups of channels; default 1.

    Returns:
      (batch, *positions, filters), with ``(size + low + high - d (k - 1) - 1) // s + 1`` positions on an axis.

    Raises:
      InputError: when ``x`` does not fit the kernel or, padded, is smaller than the window, or for invalid options.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(4.0).reshape(1, 4, 1)
    >>> print(conv({"kernel": jnp.array([1.0, 10.0]).reshape(2, 1, 1)}, x)[0, :, 0])
    [10. 21. 32.]
    """
    kernel = leaf("conv", params, "kernel")
    geometry = _conv_geometry("conv", kernel, x, strides, padding, dilation_rate, groups)
    y = bind_conv(x, kernel, result="y", geometry=geometry)
    return y + spread(params["bias"], y) if "bias" in params else y


@flagged
def depthwise_conv_init(
    key: Key,
    in_features: int,
    kernel_size: Sequence[int],
    *,
    depth_multiplier: int = 1,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of `depthwise_conv`: ``kernel`` (*kernel_size, 1, filters) and ``bias`` (filters,).

    There are ``in_features * depth_multiplier`` filters; the initializer sees
    ``(*kernel_size, in_features, depth_multiplier)``, for Keras's fans. Errors as in `conv_init`.
    """
    window = window_of("depthwise_conv_init", kernel_size)
    check_count("depthwise_conv_init", "in_features", in_features)
    check_count("depthwise_conv_init", "depth_multiplier", depth_multiplier)
    filters = in_features * depth_multiplier
    kernel = (kernel_initializer, (*window, in_features, depth_multiplier))
    params = initialize(key, dtype, kernel=kernel, bias=(bias_initializer, (filters,)) if use_bias else None)
    return params | {"kernel": params["kernel"].reshape(*window, 1, filters)}


def depthwise_conv(
    params: Mapping[str, Array], x: Array, *, strides: Size = 1, padding: Padding = "valid", dilation_rate: Size = 1
) -> Array:
    """`conv` of each channel separately: a grouped convolution with one group per channel of ``x``.

    Args:
      params: ``kernel`` (*window, 1, filters), with the filters of one channel next to each other, and, optionally,
        ``bias`` (filters,).
      x, strides, padding, dilation_rate: as in `conv`, and so are result and errors; a number of filters that is not a
        multiple of ``in_features`` is refused.

    >>> import jax.numpy as jnp
    >>> kernel = jnp.array([[1.0, 10.0], [0.0, 1.0]]).reshape(2, 1, 2)
    >>> print(depthwise_conv({"kernel": kernel}, jnp.arange(6.0).reshape(1, 3, 2))[0])
    [[ 0. 13.]
     [ 2. 35.]]
    """
    kernel = leaf("depthwise_conv", params, "kernel")
    _check_depthwise(kernel, x)
    geometry = _conv_geometry("depthwise_conv", kernel, x, strides, padding, dilation_rate, x.shape[-1])
    y = bind_conv(x, kernel, result="y", geometry=geometry)
    return y + spread(params["bias"], y) if "bias" in params else y


@flagged
def conv_transpose_init(
    key: Key,
    in_features: int,
    filters: int,
    kernel_size: Sequence[int],
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of `conv_transpose`: ``kernel`` (*kernel_size, in_features, filters) and ``bias`` (filters,).

    Errors as in `conv_init`.
    """
    window = window_of("conv_transpose_init", kernel_size)
    _check_groups("conv_transpose_init", in_features, filters, 1)
    kernel = (kernel_initializer, (*window, in_features, filters))
    return initialize(key, dtype, kernel=kernel, bias=(bias_initializer, (filters,)) if use_bias else None)


def conv_transpose(
    params: Mapping[str, Array],
    x: Array,
    *,
    strides: Size = 1,
    padding: str = "valid",
    output_padding: Size | None = None,
    dilation_rate: Size = 1,
) -> Array:
    """The transpose of a convolution: in one dimension ``y[o s + i d - low] += x[o] @ kernel[i]``, then ``y += bias``.

    It is the gradient of `conv` with respect to ``x``. The kernel is Keras's with the last two axes swapped.

    Args:
      params: ``kernel`` (*window, in_features, filters) and, optionally, ``bias`` (filters,).
      x, dilation_rate: as in `conv`.
      strides: step of the window in y, one integer or one for each spatial axis; default 1.
      padding: "valid" (default): ``(size - 1) s + max(d (k - 1) + 1, s)`` elements on an axis of y; "same": ``size s``.
      output_padding: None (the default), or the number of elements of y beyond ``(size - 1) s + d (k - 1) + 1``
        ("valid") or ``(size - 1) s + (d (k - 1) + 1) % 2`` ("same"); one integer or one for each spatial axis.

    Returns:
      (batch, *positions, filters). Errors as in `conv`, and when y would be empty.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 2.0]).reshape(1, 2, 1)
    >>> print(conv_transpose({"kernel": jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)}, x, strides=2)[0, :, 0])
    [  1.  10. 102.  20. 200.]
    """
    kernel = leaf("conv_transpose", params, "kernel")
    geometry = _transposed_geometry(kernel, x, strides, padding, output_padding, dilation_rate)
    y = bind_conv(x, jnp.swapaxes(kernel, -1, -2), result="x", geometry=geometry)
    return y + spread(params["bias"], y) if "bias" in params else y


def _check_groups(where: str, in_features: int, filters: int, groups: int) -> None:
    for name, value in (("in_features", in_features), ("filters", filters), ("groups", groups)):
        check_count(where, name, value)
    if in_features % groups or filters % groups:
        expected = f"in_features and filters that groups={groups} divides"
        fail(where, expected=expected, got=f"in_features={in_features} and filters={filters}")


def _check_rank(where: str, kernel: Array, x: Array) -> int:
    """Check rank and dtype of ``x`` against the kernel; return the spatial rank."""
    rank = kernel.ndim - 2
    if not 1 <= rank <= 3:
        fail(where, expected="a kernel (*window, in, out) over 1, 2 or 3 spatial axes", got=describe(kernel))
    if x.ndim != kernel.ndim:
        expected = f"x of shape {shape_text(('batch', *_spatial_names(rank), 'channels'))}"
        fail(where, expected=expected, got=describe(x), hint=_rank_hint(x.ndim, rank))
    check_same_dtype(where, x, kernel)
    return rank


def _spatial_names(rank: int) -> tuple[str, ...]:
    return ("height", "width", "depth")[:rank] if rank > 1 else ("steps",)


def _rank_hint(ndim: int, rank: int) -> str:
    if ndim == rank + 1:
        advice = f" {SEQUENCE_HINT}" if rank == 1 else ""
        return f"Add the channels with x[..., None], or the batch with x[None].{advice}"
    if ndim == 2:
        return f"Add Reshape(({', '.join('hwd'[:rank] if rank > 1 else ['steps'])}, c)) before it."
    return "The spatial rank is that of the kernel."


def _fail_channels(where: str, kernel: Array, x: Array, channels: int, suffix: str = "", hint: str = "") -> None:
    shape: tuple[int | str, ...] = ("batch", *_spatial_names(x.ndim - 2), channels)
    expected = f"x of shape {shape_text(shape)} for a kernel of shape {shape_text(kernel.shape)}{suffix}"
    fail(where, expected=expected, got=describe(x), hint=hint)


def _check_depthwise(kernel: Array, x: Array) -> None:
    _check_rank("depthwise_conv", kernel, x)
    if kernel.shape[-2] != 1 or x.shape[-1] == 0 or kernel.shape[-1] % x.shape[-1]:
        text = f"a kernel of shape (*window, 1, {x.shape[-1]} * depth_multiplier) for x of shape {shape_text(x.shape)}"
        fail("depthwise_conv", expected=text, got=describe(kernel))


def _conv_geometry(
    where: str, kernel: Array, x: Array, strides: Size, padding: Padding, dilation_rate: Size, groups: int
) -> Geometry:
    rank = _check_rank(where, kernel, x)
    check_count(where, "groups", groups)
    channels = kernel.shape[-2] * groups
    if x.shape[-1] != channels:
        inferred, rest = divmod(x.shape[-1], kernel.shape[-2])
        hint = f"These shapes fit groups={inferred}." if not rest and kernel.shape[-1] % max(inferred, 1) == 0 else ""
        _fail_channels(where, kernel, x, channels, f" with groups={groups}", hint)
    _check_groups(where, channels, kernel.shape[-1], groups)
    steps, dilation = per_axis(where, "strides", strides, rank), per_axis(where, "dilation_rate", dilation_rate, rank)
    padding = check_padding(where, padding, ("valid", "same", "causal") if rank == 1 else ("valid", "same"))
    size, window = x.shape[1:-1], kernel.shape[:rank]
    return Geometry(size, window, steps, pads(where, padding, size, window, steps, dilation), dilation, groups)


def _transposed_geometry(
    kernel: Array, x: Array, strides: Size, padding: str, output_padding: Size | None, dilation_rate: Size
) -> Geometry:
    where = "conv_transpose"
    rank = _check_rank(where, kernel, x)
    if x.shape[-1] != kernel.shape[-2]:
        _fail_channels(where, kernel, x, kernel.shape[-2])
    steps, dilation = per_axis(where, "strides", strides, rank), per_axis(where, "dilation_rate", dilation_rate, rank)
    padding = _check_transposed(where, padding, output_padding)
    extra = [None] * rank if output_padding is None else per_axis(where, "output_padding", output_padding, rank, 0)
    window, size, pairs = kernel.shape[:rank], [], []
    for n, k, s, d, more in zip(x.shape[1:-1], window, steps, dilation, extra, strict=True):
        # The windows cover (n - 1) s + reach elements. y starts `low` elements later and has `length` of them.
        reach = d * (k - 1) + 1
        if padding == "valid":
            low, length = 0, (n - 1) * s + reach + (max(s - reach, 0) if more is None else more)
        else:
            total = s + reach - 2 if more is None else reach + reach % 2 - 2 + more
            low, length = max(reach - 1 - (total + 1) // 2, 0), (n - 1) * s + 2 + total - reach
        if length < 1:
            fail(where, expected="at least one element to be left of y", got=f"{length} with padding {padding!r}")
        size.append(length)
        pairs.append((low, (n - 1) * s + reach - length - low))
    return Geometry(tuple(size), window, steps, tuple(pairs), dilation, 1)


def _check_transposed(where: str, padding: str, output_padding: Size | None) -> str:
    """Refuse padding that is invalid for every input; returns its name in lower case."""
    if not isinstance(padding, str) or padding.lower() not in ("valid", "same"):
        fail(where, expected="padding to be 'valid' or 'same'", got=repr(padding))
    check_sizes(where, 0, output_padding=0 if output_padding is None else output_padding)
    return padding.lower()


def _window_for(where: str, x: ArraySpec, kernel_size: Size) -> Shape:
    """The kernel size for the spatial rank of ``x``, which must look like an image or a sequence."""
    axes = len(kernel_size) if isinstance(kernel_size, Sequence) else 2
    rank = spatial_rank(where, x, _rank_hint(2, axes) if len(x.shape) == 2 else "")
    if rank == 1 and isinstance(kernel_size, Sequence) and len(kernel_size) == 2:
        expected = "images of shape (batch, height, width, channels) for a 2-D kernel"
        fail(where, expected=expected, got=describe(x), hint="Add the channel axis: x[..., None].")
    if rank == 1 and x.shape[1] == x.shape[2] >= 8:
        warn(
            f"{where}: x of shape {shape_text(('batch', *x.shape[1:]))} is read as {x.shape[1]} steps of a sequence "
            f"with {x.shape[2]} channels. If these are images, add the channel axis: x[..., None].",
            UserWarning,
        )
    return per_axis(where, "kernel_size", kernel_size, rank)


def conv_layer(
    kind: str,
    name: str,
    init_fn: Callable[..., dict[str, Array]],
    fn: Callable[[Mapping[str, Array], Array], Array],
    kernel_size: Size,
    activation: ActivationLike,
    dtype: DType | None,
) -> Layer:
    """Make a layer of ``activation(fn(params, x))``, whose window has the rank of its input."""
    act = get_activation(activation)

    def init(key: Key, x: ArraySpec) -> dict[str, Array]:
        window = _window_for(kind, x, kernel_size)
        return init_fn(key, x.shape[-1], kernel_size=window, dtype=param_dtype(x, dtype))

    return parametric(init, lambda params, x: act(fn(params, x)), name, kind, per_example=are_per_example(activation))


@described
def Conv(
    filters: int,
    kernel_size: Size,
    strides: Size = 1,
    padding: Padding = "valid",
    dilation_rate: Size = 1,
    groups: int = 1,
    activation: ActivationLike = None,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType | None = None,
    name: str = "conv",
    **weights: Unpack[KernelOptions],
) -> Layer:
    """A convolutional layer over 1, 2 or 3 spatial axes, ``activation(conv(x, kernel) + bias)``; see `conv`.

    Args:
      filters: channels of the output.
      kernel_size: size of the window, one integer for every spatial axis or one for each.
      strides, padding, dilation_rate, groups: as in `conv`.
      activation, use_bias, kernel_initializer, bias_initializer, dtype, name, **weights: as in `Dense`.

    Shapes: (batch, *spatial, in_features) to (batch, *positions, filters); the spatial rank is that of ``x``. Errors
    as in `conv` and `conv_init`, and for unknown names.

    >>> import jax, jax.numpy as jnp
    >>> params, _ = Conv(32, 3).init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
    >>> params["kernel"].shape, params["bias"].shape
    ((3, 3, 1, 32), (32,))
    """
    check_count("Conv", "filters", filters)
    check_count("Conv", "groups", groups)
    if filters % groups:
        fail("Conv", expected=f"filters that groups={groups} divides", got=f"filters={filters}")
    check_padding("Conv", padding, ("valid", "same", "causal"))
    check_sizes("Conv", kernel_size=kernel_size, strides=strides, dilation_rate=dilation_rate)
    initializers = get_initializers(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer)
    init = partial(conv_init, filters=filters, groups=groups, use_bias=use_bias, **initializers)
    fn = partial(conv, strides=strides, padding=padding, dilation_rate=dilation_rate, groups=groups)
    return regularized(conv_layer("Conv", name, init, fn, kernel_size, activation, dtype), weights)


@described
def DepthwiseConv(
    kernel_size: Size,
    strides: Size = 1,
    padding: Padding = "valid",
    depth_multiplier: int = 1,
    dilation_rate: Size = 1,
    activation: ActivationLike = None,
    use_bias: bool = True,
    *,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType | None = None,
    name: str = "depthwise_conv",
    **weights: Unpack[KernelOptions],
) -> Layer:
    """A layer that convolves each channel separately, ``activation(depthwise_conv(x, kernel) + bias)``.

    Args:
      depth_multiplier: filters for each channel.
      kernel_size, strides, padding, dilation_rate, activation, use_bias: as in `Conv`.
      kernel_initializer, bias_initializer, dtype, name, **weights: as in `Conv`.

    Shapes: (batch, *spatial, in_features) to (batch, *positions, in_features * depth_multiplier). Errors as in `Conv`
    and `depthwise_conv`.

    >>> import jax, jax.numpy as jnp
    >>> params, _ = DepthwiseConv(3, depth_multiplier=2).init(jax.random.key(0), jnp.ones((1, 8, 8, 5)))
    >>> params["kernel"].shape, params["bias"].shape
    ((3, 3, 1, 10), (10,))
    """
    check_count("DepthwiseConv", "depth_multiplier", depth_multiplier)
    check_padding("DepthwiseConv", padding, ("valid", "same", "causal"))
    check_sizes("DepthwiseConv", kernel_size=kernel_size, strides=strides, dilation_rate=dilation_rate)
    initializers = get_initializers(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer)
    init = partial(depthwise_conv_init, depth_multiplier=depth_multiplier, use_bias=use_bias, **initializers)
    fn = partial(depthwise_conv, strides=strides, padding=padding, dilation_rate=dilation_rate)
    return regularized(conv_layer("DepthwiseConv", name, init, fn, kernel_size, activation, dtype), weights)


@described
def ConvTranspose(
    filters: int,
    kernel_size: Size,
    strides: Size = 1,
    padding: str = "valid",
    output_padding: Size | None = None,
    dilation_rate: Size = 1,
    activation: ActivationLike = None,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType | None = None,
    name: str = "conv_transpose",
    **weights: Unpack[KernelOptions],
) -> Layer:
    """A transposed convolution as a layer, ``activation(conv_transpose(x, kernel) + bias)``; see `conv_transpose`.

    Args:
      strides, padding, output_padding, dilation_rate: as in `conv_transpose`.
      filters, kernel_size, activation, use_bias, kernel_initializer, bias_initializer, dtype, name, **weights: as in
        `Conv`.

    Shapes: (batch, *spatial, in_features) to (batch, *positions, filters). Errors as in `Conv` and `conv_transpose`.

    >>> import jax, jax.numpy as jnp
    >>> layer = ConvTranspose(3, 4, strides=2, padding="same")
    >>> params, state = layer.init(jax.random.key(0), jnp.ones((1, 8, 8, 5)))
    >>> layer.apply(params, state, jnp.ones((1, 8, 8, 5)))[0].shape
    (1, 16, 16, 3)
    """
    check_count("ConvTranspose", "filters", filters)
    _check_transposed("ConvTranspose", padding, output_padding)
    check_sizes("ConvTranspose", kernel_size=kernel_size, strides=strides, dilation_rate=dilation_rate)
    initializers = get_initializers(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer)
    init = partial(conv_transpose_init, filters=filters, use_bias=use_bias, **initializers)
    fn = partial(
        conv_transpose, strides=strides, padding=padding, output_padding=output_padding, dilation_rate=dilation_rate
    )
    return regularized(conv_layer("ConvTranspose", name, init, fn, kernel_size, activation, dtype), weights)
