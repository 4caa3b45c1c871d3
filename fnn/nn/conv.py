"""Convolutions over one, two or three spatial dimensions: plain, grouped, depthwise and transposed.

Everything here is one trilinear form ``<y, convolve(x, kernel)>``: the convolution is its derivative by ``y``, the
transposed convolution (and the gradient of ``x``) its derivative by ``x``, the gradient of the kernel its derivative
by the kernel. The three are one JAX primitive, and each one's derivatives are the other two, so that derivatives of
every order exist in forward and in reverse mode, and each of them is lowered with care: as XLA's own convolution on
GPU and TPU, and on the CPU as what runs fast there (see `_cpu`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._core.checks import check_count, check_same_dtype, leaf
from .._core.described import described
from .._core.dtypes import lift
from .._core.errors import describe, fail, shape_text
from .._core.types import Array
from .._core.warn import warn
from . import _conv_cpu  # noqa: F401  (registers the forms for the CPU)
from ._conv_primitive import Geometry, bind_conv
from .activations import all_known, get_activation
from .initializers import Initializer, get_initializer
from .layer import Layer, param_dtype, parametric
from .windows import Ints, Padding, check_counts, check_padding, pads, per_axis


def _init(
    key: Array,
    shape: Ints,
    use_bias: bool,
    kernel_initializer: str | Initializer,
    bias_initializer: str | Initializer,
    dtype: Any,
) -> dict[str, Array]:
    kernel_key, bias_key = jax.random.split(key)
    params = {"kernel": get_initializer(kernel_initializer)(kernel_key, shape, dtype)}
    if use_bias:
        params["bias"] = get_initializer(bias_initializer)(bias_key, shape[-1:], dtype)
    return params


def _check_window(where: str, kernel_size: Any) -> Ints:
    check_counts(where, "kernel_size", kernel_size)
    if not isinstance(kernel_size, Sequence):
        fail(where, expected="kernel_size with one entry for each spatial axis", got=repr(kernel_size))
    return tuple(map(int, kernel_size))


def _check_groups(where: str, in_features: int, filters: int, groups: int) -> None:
    for name, value in (("in_features", in_features), ("filters", filters), ("groups", groups)):
        check_count(where, name, value)
    if in_features % groups or filters % groups:
        fail(
            where,
            expected=f"in_features and filters that groups={groups} divides",
            got=f"in_features={in_features} and filters={filters}",
        )


def _check_image(where: str, x: Any, kernel: Any) -> int:
    """Refuse an ``x`` that is not an image for this kernel, but for its channels; returns the spatial rank."""
    rank = kernel.ndim - 2
    if not 1 <= rank <= 3:
        fail(where, expected="a kernel (*window, in, out) over 1, 2 or 3 spatial axes", got=describe(kernel))
    if x.ndim != kernel.ndim:
        spatial = ("height", "width", "depth")[:rank] if rank > 1 else ("steps",)
        expected = f"x of shape {shape_text(('batch', *spatial, 'channels'))}"
        fail(where, expected=expected, got=describe(x), hint=_rank_hint(x.ndim, rank))
    check_same_dtype(where, x, kernel)
    return rank


def _rank_hint(ndim: int, rank: int) -> str:
    if ndim == rank + 1:
        return "Add the channels with x[..., None], or the batch with x[None]."
    if ndim == 2:
        return f"Add Reshape(({', '.join('hwd'[:rank] if rank > 1 else ['steps'])}, c)) before it."
    return "The spatial rank is that of the kernel."


def conv_init(
    key: Array,
    in_features: int,
    filters: int,
    kernel_size: Sequence[int],
    *,
    groups: int = 1,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: Any = jnp.float32,
) -> dict[str, Array]:
    """Parameters of `conv`: ``kernel`` (*kernel_size, in_features / groups, filters) and ``bias`` (filters,).

    Raises:
      InputError: for sizes below 1, more than three spatial axes, or groups that do not divide both channel counts.
    """
    window = _check_window("conv_init", kernel_size)
    _check_groups("conv_init", in_features, filters, groups)
    shape = (*window, in_features // groups, filters)
    return _init(key, shape, use_bias, kernel_initializer, bias_initializer, dtype)


def conv(
    params: dict[str, Array],
    x: Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation_rate: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """Convolution over 1, 2 or 3 spatial axes: in one dimension ``y[o] = sum_i x[o s + i d - low] @ kernel[i] + bias``.

    As everywhere in deep learning the kernel is not flipped. Derivatives of every order exist, in forward and in
    reverse mode. On the CPU it runs as fast inside a compiled loop as outside, and so do its gradients; half precision
    is summed in float32 there. Under `jax.vmap` over the parameters *and* the input the members of the ensemble run
    one after the other on the CPU, which is faster than the grouped convolution that XLA would make of them.

    Args:
      params: ``kernel`` (*window, in_features / groups, filters) and, unless left out, ``bias`` (filters,).
      x: (batch, *spatial, in_features), of the kernel's dtype.
      strides: step of the window, one integer or one for each spatial axis; default 1.
      padding: "valid" (none, the default); "same" (``ceil(size / stride)`` positions, the odd element behind);
        "causal" (one axis only: no position sees a later one); or explicit: an integer for both sides of every axis,
        or one integer or ``(low, high)`` pair for each axis.
      dilation_rate: distance of the taps, one integer or one for each spatial axis; default 1.
      groups: into how many independent groups the channels are split; default 1.

    Returns:
      (batch, *positions, filters), with ``(size + low + high - d (k - 1) - 1) // s + 1`` positions on an axis.

    Raises:
      InputError: when rank, channels or dtype of ``x`` do not fit the kernel, when the window is larger than the padded
        input, or for strides, padding, dilation or groups that make no sense.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(4.0).reshape(1, 4, 1)
    >>> print(conv({"kernel": jnp.array([1.0, 10.0]).reshape(2, 1, 1)}, x)[0, :, 0])
    [10. 21. 32.]
    """
    kernel = leaf("conv", params, "kernel")
    y = _conv("conv", kernel, x, strides, padding, dilation_rate, groups)
    return y + lift(params["bias"], y) if "bias" in params else y


def _conv(
    where: str, kernel: Array, x: Array, strides: Any, padding: Padding, dilation_rate: Any, groups: int
) -> Array:
    rank = _check_image(where, x, kernel)
    check_count(where, "groups", groups)
    channels = kernel.shape[-2] * groups
    if x.shape[-1] != channels:
        shape: tuple[int | str, ...] = ("batch", *("size",) * rank, channels)
        inferred, rest = divmod(x.shape[-1], kernel.shape[-2])
        hint = f"These shapes fit groups={inferred}." if not rest and kernel.shape[-1] % max(inferred, 1) == 0 else ""
        text = f"x of shape {shape_text(shape)} for a kernel of shape {shape_text(kernel.shape)} with groups={groups}"
        fail(where, expected=text, got=describe(x), hint=hint)
    _check_groups(where, channels, kernel.shape[-1], groups)
    steps, dilation = per_axis(where, "strides", strides, rank), per_axis(where, "dilation_rate", dilation_rate, rank)
    check_padding(where, padding, ("valid", "same", "causal") if rank == 1 else ("valid", "same"))
    size, window = x.shape[1:-1], kernel.shape[:rank]
    pairs = pads(where, padding, size, window, steps, dilation)
    return bind_conv(x, kernel, result="y", geometry=Geometry(size, window, steps, pairs, dilation, groups))


def depthwise_conv_init(
    key: Array,
    in_features: int,
    kernel_size: Sequence[int],
    *,
    depth_multiplier: int = 1,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: Any = jnp.float32,
) -> dict[str, Array]:
    """Parameters of `depthwise_conv`: ``kernel`` (*kernel_size, 1, in_features * depth_multiplier) and ``bias``.

    The initializer sees the shape (*kernel_size, in_features, depth_multiplier), hence Keras's fans.

    Raises:
      InputError: for sizes below 1 or more than three spatial axes.
    """
    window = _check_window("depthwise_conv_init", kernel_size)
    check_count("depthwise_conv_init", "in_features", in_features)
    check_count("depthwise_conv_init", "depth_multiplier", depth_multiplier)
    kernel_key, bias_key = jax.random.split(key)
    kernel = get_initializer(kernel_initializer)(kernel_key, (*window, in_features, depth_multiplier), dtype)
    params = {"kernel": kernel.reshape(*window, 1, in_features * depth_multiplier)}
    if use_bias:
        params["bias"] = get_initializer(bias_initializer)(bias_key, (in_features * depth_multiplier,), dtype)
    return params


def depthwise_conv(
    params: dict[str, Array],
    x: Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation_rate: int | Sequence[int] = 1,
) -> Array:
    """`conv` of every channel by itself: the grouped convolution with as many groups as ``x`` has channels.

    Args:
      params: ``kernel`` (*window, 1, in_features * depth_multiplier), in which the filters of one channel are
        neighbours, and, unless left out, ``bias`` (in_features * depth_multiplier,).
      x: (batch, *spatial, in_features), of the kernel's dtype.
      strides, padding, dilation_rate: as in `conv`.

    Returns:
      (batch, *positions, in_features * depth_multiplier).

    Raises:
      InputError: as `conv`, and when the filters are no multiple of the channels.

    >>> import jax.numpy as jnp
    >>> kernel = jnp.array([[1.0, 10.0], [0.0, 1.0]]).reshape(2, 1, 2)
    >>> print(depthwise_conv({"kernel": kernel}, jnp.arange(6.0).reshape(1, 3, 2))[0])
    [[ 0. 13.]
     [ 2. 35.]]
    """
    kernel = leaf("depthwise_conv", params, "kernel")
    _check_image("depthwise_conv", x, kernel)
    if kernel.shape[-2] != 1 or x.shape[-1] == 0 or kernel.shape[-1] % x.shape[-1]:
        text = f"a kernel of shape (*window, 1, {x.shape[-1]} * depth_multiplier) for x of shape {shape_text(x.shape)}"
        fail("depthwise_conv", expected=text, got=describe(kernel))
    y = _conv("depthwise_conv", kernel, x, strides, padding, dilation_rate, x.shape[-1])
    return y + lift(params["bias"], y) if "bias" in params else y


def conv_transpose_init(
    key: Array,
    in_features: int,
    filters: int,
    kernel_size: Sequence[int],
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: Any = jnp.float32,
) -> dict[str, Array]:
    """Parameters of `conv_transpose`: ``kernel`` (*kernel_size, in_features, filters) and ``bias`` (filters,).

    Raises:
      InputError: for sizes below 1 or more than three spatial axes.
    """
    window = _check_window("conv_transpose_init", kernel_size)
    _check_groups("conv_transpose_init", in_features, filters, 1)
    return _init(key, (*window, in_features, filters), use_bias, kernel_initializer, bias_initializer, dtype)


def conv_transpose(
    params: dict[str, Array],
    x: Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    output_padding: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> Array:
    """The transpose of a convolution, its gradient by its input: each ``x[o]`` adds ``x[o] @ kernel`` to a window of y.

    In one dimension ``y[o s + i d - low] += x[o] @ kernel[i]``, and the bias is added at the end. The kernel is Keras's
    with the last two axes swapped.

    Args:
      params: ``kernel`` (*window, in_features, filters) and, unless left out, ``bias`` (filters,).
      x: (batch, *spatial, in_features), of the kernel's dtype.
      strides: step of the window in y, one integer or one for each spatial axis; default 1.
      padding: "valid" (the default): y has ``(size - 1) s + max(d (k - 1) + 1, s)`` elements on an axis; "same":
        ``size s``.
      output_padding: None (the default), or how many elements y has beyond ``(size - 1) s + d (k - 1) + 1`` ("valid")
        or ``(size - 1) s + (d (k - 1) + 1) % 2`` ("same"); one integer or one for each spatial axis.
      dilation_rate: distance of the taps, one integer or one for each spatial axis; default 1.

    Returns:
      (batch, *positions, filters).

    Raises:
      InputError: when rank, channels or dtype of ``x`` do not fit the kernel, for an unknown padding, when nothing
        would be left of y, or for strides or dilation below 1.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 2.0]).reshape(1, 2, 1)
    >>> print(conv_transpose({"kernel": jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)}, x, strides=2)[0, :, 0])
    [  1.  10. 102.  20. 200.]
    """
    where = "conv_transpose"
    kernel = leaf(where, params, "kernel")
    rank = _check_image(where, x, kernel)
    if x.shape[-1] != kernel.shape[-2]:
        shape = ("batch", *("size",) * rank, kernel.shape[-2])
        expected = f"x of shape {shape_text(shape)} for a kernel of shape {shape_text(kernel.shape)}"
        fail(where, expected=expected, got=describe(x))
    steps, dilation = per_axis(where, "strides", strides, rank), per_axis(where, "dilation_rate", dilation_rate, rank)
    _check_transposed(where, padding, output_padding)
    extra = [None] * rank if output_padding is None else per_axis(where, "output_padding", output_padding, rank, 0)
    window, size, pairs = kernel.shape[:rank], [], []
    for n, k, s, d, more in zip(x.shape[1:-1], window, steps, dilation, extra, strict=True):
        # Of the full length (n - 1) s + reach, `low` elements are cut in front; the rest, or zeros, is at the end.
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
    geometry = Geometry(tuple(size), window, steps, tuple(pairs), dilation, 1)
    y = bind_conv(x, jnp.swapaxes(kernel, -1, -2), result="x", geometry=geometry)
    return y + lift(params["bias"], y) if "bias" in params else y


def _check_transposed(where: str, padding: Any, output_padding: Any) -> None:
    if padding not in ("valid", "same"):
        fail(where, expected="padding to be one of valid, same", got=repr(padding))
    if output_padding is not None:
        check_counts(where, "output_padding", output_padding, 0)


def _window_of(where: str, x: Any, kernel_size: int | Sequence[int]) -> Ints:
    """The kernel size for the spatial rank of ``x``."""
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        many = 2 if isinstance(kernel_size, int) else len(kernel_size)
        hint = _rank_hint(len(x.shape), many) if len(x.shape) == 2 else ""
        expected = "x of shape (batch, *spatial, channels) with 1 to 3 spatial axes"
        fail(where, expected=expected, got=describe(x), hint=hint)
    if rank == 1 and isinstance(kernel_size, Sequence) and len(kernel_size) == 2:
        expected = "images of shape (batch, height, width, channels) for a window of two axes"
        fail(where, expected=expected, got=describe(x), hint="Add the channel axis: x[..., None].")
    if rank == 1 and x.shape[1] == x.shape[2] >= 8:
        warn(
            f"{where}: x of shape {shape_text(('batch', *x.shape[1:]))} is read as {x.shape[1]} steps of a sequence "
            f"with {x.shape[2]} channels. If these are images, add the channel axis: x[..., None].",
            UserWarning,
        )
    return per_axis(where, "kernel_size", kernel_size, rank)


@described
def Conv(
    filters: int,
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation_rate: int | Sequence[int] = 1,
    groups: int = 1,
    activation: str | Callable[[Array], Array] | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    *,
    dtype: Any = None,
    name: str = "conv",
) -> Layer:
    """A convolutional layer over 1, 2 or 3 spatial axes, ``activation(conv(x, kernel) + bias)``; see `conv`.

    Args:
      filters: channels of the output.
      kernel_size: size of the window, one integer for every spatial axis or one for each.
      strides, padding, dilation_rate, groups: as in `conv`.
      activation: a name or a function; default none.
      use_bias: whether to add a bias.
      kernel_initializer, bias_initializer: a name or a function ``(key, shape, dtype) -> array``.
      dtype: of the parameters; default that of ``x``.
      name: base name in `Sequential`.

    Shapes: (batch, *spatial, in_features) to (batch, *positions, filters); the spatial rank is that of ``x``.

    Raises:
      InputError: for unknown names, sizes below 1, groups that do not divide the channels, or what `conv` refuses.

    >>> import jax, jax.numpy as jnp
    >>> params, _ = Conv(32, 3).init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
    >>> params["kernel"].shape, params["bias"].shape
    ((3, 3, 1, 32), (32,))
    """
    check_count("Conv", "filters", filters)
    check_count("Conv", "groups", groups)
    if filters % groups:
        fail("Conv", expected=f"filters that groups={groups} divides", got=f"filters={filters}")
    for argument, value in (("kernel_size", kernel_size), ("strides", strides), ("dilation_rate", dilation_rate)):
        check_counts("Conv", argument, value)
    check_padding("Conv", padding, ("valid", "same", "causal"))
    act = get_activation(activation)
    kernel_init, bias_init = get_initializer(kernel_initializer), get_initializer(bias_initializer)

    def init(key: Array, x: Any) -> dict[str, Array]:
        return conv_init(
            key,
            x.shape[-1],
            filters,
            _window_of("Conv", x, kernel_size),
            groups=groups,
            use_bias=use_bias,
            kernel_initializer=kernel_init,
            bias_initializer=bias_init,
            dtype=param_dtype(x, dtype),
        )

    def fn(params: dict[str, Array], x: Array) -> Array:
        return act(conv(params, x, strides=strides, padding=padding, dilation_rate=dilation_rate, groups=groups))

    return parametric(init, fn, name, "Conv", all_known(activation))


@described
def DepthwiseConv(
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = "valid",
    depth_multiplier: int = 1,
    dilation_rate: int | Sequence[int] = 1,
    activation: str | Callable[[Array], Array] | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    *,
    dtype: Any = None,
    name: str = "depthwise_conv",
) -> Layer:
    """A layer that convolves every channel by itself, ``activation(depthwise_conv(x, kernel) + bias)``.

    Args:
      kernel_size: size of the window, one integer for every spatial axis or one for each.
      depth_multiplier: filters for each channel.
      strides, padding, dilation_rate: as in `conv`.
      activation, use_bias, kernel_initializer, bias_initializer, dtype, name: as in `Conv`.

    Shapes: (batch, *spatial, in_features) to (batch, *positions, in_features * depth_multiplier).

    Raises:
      InputError: for unknown names, sizes below 1, or what `depthwise_conv` refuses.

    >>> import jax, jax.numpy as jnp
    >>> params, _ = DepthwiseConv(3, depth_multiplier=2).init(jax.random.key(0), jnp.ones((1, 8, 8, 5)))
    >>> params["kernel"].shape, params["bias"].shape
    ((3, 3, 1, 10), (10,))
    """
    check_count("DepthwiseConv", "depth_multiplier", depth_multiplier)
    for argument, value in (("kernel_size", kernel_size), ("strides", strides), ("dilation_rate", dilation_rate)):
        check_counts("DepthwiseConv", argument, value)
    check_padding("DepthwiseConv", padding, ("valid", "same", "causal"))
    act = get_activation(activation)
    kernel_init, bias_init = get_initializer(kernel_initializer), get_initializer(bias_initializer)

    def init(key: Array, x: Any) -> dict[str, Array]:
        return depthwise_conv_init(
            key,
            x.shape[-1],
            _window_of("DepthwiseConv", x, kernel_size),
            depth_multiplier=depth_multiplier,
            use_bias=use_bias,
            kernel_initializer=kernel_init,
            bias_initializer=bias_init,
            dtype=param_dtype(x, dtype),
        )

    def fn(params: dict[str, Array], x: Array) -> Array:
        return act(depthwise_conv(params, x, strides=strides, padding=padding, dilation_rate=dilation_rate))

    return parametric(init, fn, name, "DepthwiseConv", all_known(activation))


@described
def ConvTranspose(
    filters: int,
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    output_padding: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    activation: str | Callable[[Array], Array] | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    *,
    dtype: Any = None,
    name: str = "conv_transpose",
) -> Layer:
    """A transposed convolution as a layer, ``activation(conv_transpose(x, kernel) + bias)``; see `conv_transpose`.

    Args:
      filters: channels of the output.
      kernel_size: size of the window, one integer for every spatial axis or one for each.
      strides, padding, output_padding, dilation_rate: as in `conv_transpose`.
      activation, use_bias, kernel_initializer, bias_initializer, dtype, name: as in `Conv`.

    Shapes: (batch, *spatial, in_features) to (batch, *positions, filters).

    Raises:
      InputError: for unknown names, sizes below 1, or what `conv_transpose` refuses.

    >>> import jax, jax.numpy as jnp
    >>> layer = ConvTranspose(3, 4, strides=2, padding="same")
    >>> params, state = layer.init(jax.random.key(0), jnp.ones((1, 8, 8, 5)))
    >>> layer.apply(params, state, jnp.ones((1, 8, 8, 5)))[0].shape
    (1, 16, 16, 3)
    """
    check_count("ConvTranspose", "filters", filters)
    for argument, value in (("kernel_size", kernel_size), ("strides", strides), ("dilation_rate", dilation_rate)):
        check_counts("ConvTranspose", argument, value)
    _check_transposed("ConvTranspose", padding, output_padding)
    act = get_activation(activation)
    kernel_init, bias_init = get_initializer(kernel_initializer), get_initializer(bias_initializer)

    def init(key: Array, x: Any) -> dict[str, Array]:
        return conv_transpose_init(
            key,
            x.shape[-1],
            filters,
            _window_of("ConvTranspose", x, kernel_size),
            use_bias=use_bias,
            kernel_initializer=kernel_init,
            bias_initializer=bias_init,
            dtype=param_dtype(x, dtype),
        )

    def fn(params: dict[str, Array], x: Array) -> Array:
        y = conv_transpose(
            params, x, strides=strides, padding=padding, output_padding=output_padding, dilation_rate=dilation_rate
        )
        return act(y)

    return parametric(init, fn, name, "ConvTranspose", all_known(activation))
