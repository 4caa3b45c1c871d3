"""Convolutions over one, two or three spatial dimensions: plain, grouped, depthwise and transposed.

Everything here is one trilinear form ``<y, convolve(x, kernel)>``: the convolution is its derivative by ``y``, the
transposed convolution (and the gradient of ``x``) its derivative by ``x``, the gradient of the kernel its derivative
by the kernel. The three are one JAX primitive, and each one's derivatives are the other two, so that derivatives of
every order exist in forward and in reverse mode, and each of them is lowered with care: as XLA's own convolution on
GPU and TPU, and on the CPU as what runs fast there (see `_cpu`).
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters import ad, batching, mlir

from .._checks import check_count, check_same_dtype, describe, fail, leaf, shape_text
from .._dtypes import lift
from .activations import all_known, get_activation
from .initializers import Initializer, get_initializer
from .layer import Layer, param_dtype, parametric

Array = jax.Array
Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]

# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def per_axis(where: str, name: str, value: Any, rank: int, least: int = 1) -> Ints:
    """One integer for all spatial axes, or one for each, as a tuple of ``rank`` integers."""
    check_counts(where, name, value, least)
    if isinstance(value, (int, np.integer)):
        return (int(value),) * rank
    if len(value) != rank:
        fail(where, expected=f"{name} to be an integer or {rank} of them, one for each spatial axis", got=repr(value))
    return tuple(map(int, value))


def check_counts(where: str, name: str, value: Any, least: int = 1) -> None:
    """Refuse anything but an integer of at least ``least``, or one to three of them."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return check_count(where, name, value, least)
    if not 1 <= len(value) <= 3:
        fail(where, expected=f"{name} to be an integer or a sequence of 1, 2 or 3 of them", got=repr(value))
    for item in value:
        check_count(where, f"each of {name}", item, least)
    return None


def check_padding(where: str, padding: Any, known: Sequence[str] = ("valid", "same")) -> None:
    """Refuse what cannot be a padding for any input."""
    if isinstance(padding, str):
        if padding not in known:
            fail(where, expected=f"padding to be one of {', '.join(known)}, or explicit", got=repr(padding))
    elif not isinstance(padding, Sequence):
        check_count(where, "padding", padding, 0)
    elif not 1 <= len(padding) <= 3:
        fail(where, expected="padding for 1, 2 or 3 spatial axes", got=repr(padding), hint="Pairs are [(low, high)].")
    else:
        for item in padding:
            pair = item if isinstance(item, Sequence) and not isinstance(item, str) else (item, item)
            if len(pair) != 2:
                fail(where, expected="padding of one axis to be an integer or (low, high)", got=repr(item))
            for value in pair:
                check_count(where, "padding", value, 0)


def pads(where: str, padding: Padding, size: Ints, window: Ints, strides: Ints, dilation: Ints) -> Pairs:
    """Padding as one (low, high) pair for each spatial axis; "same" puts the odd element behind, as Keras does."""
    reach = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "valid":
        pairs = [(0, 0)] * len(size)
    elif padding == "causal":
        pairs = [(r - 1, 0) for r in reach]
    elif padding == "same":
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(size, strides, reach, strict=True)]
        pairs = [(t // 2, t - t // 2) for t in total]
    else:
        items: list[Any] = list(padding) if isinstance(padding, Sequence) else [padding] * len(size)
        if len(items) != len(size):
            hint = "Pairs are [(low, high)], one for each axis."
            fail(where, expected=f"padding for {len(size)} spatial axes", got=repr(padding), hint=hint)
        pairs = [(int(low), int(high)) for low, high in (p if isinstance(p, Sequence) else (p, p) for p in items)]
    for axis, (n, r, (low, high)) in enumerate(zip(size, reach, pairs, strict=True)):
        if low + n + high < r:
            fail(
                where,
                expected=f"at least {r} elements on spatial axis {axis}, the reach of its window",
                got=f"{n}" + (f" with padding {low} and {high}" if low + high else ""),
                hint='Use a smaller window, or padding="same".',
            )
    return tuple(pairs)


# ---------------------------------------------------------------------------------------------------------------------
# The primitive


class _Geometry(NamedTuple):
    """All of a convolution but its batch and channels: tap i of position o meets ``x[o stride + i dilation - low]``."""

    size: Ints  # spatial sizes of x
    window: Ints
    strides: Ints
    padding: Pairs
    dilation: Ints
    groups: int

    @property
    def out(self) -> Ints:
        """Spatial sizes of y."""
        return tuple(
            (n + low + high - d * (k - 1) - 1) // s + 1 for n, k, s, (low, high), d in zip(*self[:5], strict=True)
        )

    def multiply_adds(self, result: str, *shapes: Ints) -> int:
        """The work of a result, given the shapes of its two operands and of itself."""
        # Each number of the side without padding, y, meets the window's taps of each channel in its group.
        arrays = dict(zip([*OPERANDS[result], result], shapes, strict=True))
        return math.prod(arrays["y"]) * math.prod(self.window) * int(arrays["k"][-2])


# The two operands of each result, always in the order x, y, kernel: the form is symmetric, so nothing else is needed
# to transpose any of the three. x is (batch, *size, groups * c), y (batch, *out, groups * f), kernel
# (*window, c, groups * f).
OPERANDS = {"y": "xk", "x": "yk", "k": "xy"}


def _result_shape(a: Any, b: Any, result: str, geometry: _Geometry) -> Ints:
    """Shape of a result, without the axis of members."""
    if result == "y":
        return (a[0], *geometry.out, b[-1])
    if result == "x":
        return (a[0], *geometry.size, b[-2] * geometry.groups)
    return (*geometry.window, a[-1] // geometry.groups, b[-1])


_conv_p = jax.extend.core.Primitive("fnn_conv")


def _varying(a: Any) -> frozenset[Any]:
    """The mesh axes over which an array varies inside `jax.shard_map`."""
    manual = getattr(jax.typeof(a), "manual_axis_type", None)
    return frozenset() if manual is None else manual.varying


def _bind(a: Array, b: Array, *, result: str, geometry: _Geometry, members: bool = False) -> Array:
    if (over_a := _varying(a)) != (over_b := _varying(b)):
        a = lax.pcast(a, tuple(over_b - over_a), to="varying") if over_b - over_a else a
        b = lax.pcast(b, tuple(over_a - over_b), to="varying") if over_a - over_b else b
    return _conv_p.bind(a, b, result=result, geometry=geometry, members=members)


@functools.cache
def _compiled(**static: Any) -> Callable[..., Array]:
    return jax.jit(functools.partial(_bind, **static))


@_conv_p.def_impl
def _impl(a: Array, b: Array, **static: Any) -> Array:
    with jax.disable_jit(False):  # one operation is compiled even where programs are not
        return _compiled(**static)(a, b)


@_conv_p.def_abstract_eval
def _abstract(a: Any, b: Any, *, result: str, geometry: _Geometry, members: bool) -> Any:
    lead = int(members)
    shape = (*a.shape[:lead], *_result_shape(a.shape[lead:], b.shape[lead:], result, geometry))
    # Of a's type all but the shape stays: how it varies inside shard_map.
    return a.update(shape=shape, sharding=a.sharding.update(spec=jax.sharding.PartitionSpec(*(None,) * len(shape))))


def _transpose(position: int, cotangent: Array, a: Any, b: Any, *, result: str, **static: Any) -> Array:
    operands = {OPERANDS[result][0]: a, OPERANDS[result][1]: b, result: cotangent}
    wanted = OPERANDS[result][position]
    left, right = (operands[name] for name in OPERANDS[wanted])
    return _bind(left, right, result=wanted, **static)


ad.defbilinear(_conv_p, functools.partial(_transpose, 0), functools.partial(_transpose, 1))


def _fold_axis(name: str, other: str, groups: int) -> tuple[int, int]:
    """The axis of ``name`` for what it shares with ``other`` alone (batch, c or f), and how many groups lead in it."""
    if {name, other} == {"x", "y"}:
        return 0, 1
    return (-2, 1) if {name, other} == {"x", "k"} and name == "k" else (-1, groups)


def _fold(a: Array, axis: int, groups: int) -> Array:
    """Put the leading axis into another one, behind its groups."""
    members, *shape = a.shape
    axis %= len(shape)
    a = a.reshape(members, *shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    shape[axis] *= members
    return jnp.moveaxis(a, 0, axis + 1).reshape(shape)


def _unfold(a: Array, axis: int, groups: int, members: int) -> Array:
    """Undo `_fold`."""
    shape = list(a.shape)
    axis %= len(shape)
    shape[axis] //= members
    a = a.reshape(*shape[:axis], groups, members, shape[axis] // groups, *shape[axis + 1 :])
    return jnp.moveaxis(a, axis + 1, 0).reshape(members, *shape)


def _batch(args: Any, dims: Any, *, result: str, geometry: _Geometry, members: bool) -> tuple[Array, int]:
    """`jax.vmap`: one batched operand joins an axis that the other operand does not have; two become members."""
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    a, b = (x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(args, dims, strict=True))
    if not members and None in dims:
        position = 0 if dims[1] is None else 1
        operands = [a, b]
        axis, groups = _fold_axis(OPERANDS[result][position], result, geometry.groups)
        operands[position] = _fold(operands[position], axis, groups)
        out = _bind(*operands, result=result, geometry=geometry)
        return _unfold(out, *_fold_axis(result, OPERANDS[result][position], geometry.groups), size), 0
    if not members:
        return _bind(a, b, result=result, geometry=geometry, members=True), 0
    a, b = (jnp.broadcast_to(x, (size, *x.shape)) if d is None else x for x, d in zip((a, b), dims, strict=True))
    out = _bind(*(x.reshape(-1, *x.shape[2:]) for x in (a, b)), result=result, geometry=geometry, members=True)
    return out.reshape(size, -1, *out.shape[1:]), 0


batching.primitive_batchers[_conv_p] = _batch


def _xla(a: Array, b: Array, *, result: str, geometry: _Geometry, members: bool) -> Array:
    """XLA's own convolution and its own gradients."""
    if members:
        return jax.vmap(functools.partial(_xla, result=result, geometry=geometry, members=False))(a, b)
    spatial = "DHW"[3 - len(geometry.size) :]

    def forward(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            geometry.strides,
            geometry.padding,
            rhs_dilation=geometry.dilation,
            feature_group_count=geometry.groups,
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        )

    if result == "y":
        return forward(a, b)
    wanted = jax.ShapeDtypeStruct(_result_shape(a.shape, b.shape, result, geometry), a.dtype)
    if result == "x":
        return jax.linear_transpose(lambda x: forward(x, b), wanted)(a)[0]
    return jax.linear_transpose(lambda kernel: forward(a, kernel), wanted)(b)[0]


# ---------------------------------------------------------------------------------------------------------------------
# On the CPU

# Up to this many taps, a kernel with one input channel in each group is a sum of scaled, shifted images, in one fused
# loop; beyond, the loop body grows too long.
_MOST_TAPS = 32


def _cpu(a: Array, b: Array, *, result: str, geometry: _Geometry, members: bool) -> Array:
    """What XLA's CPU backend runs fast, in the entry computation and inside a loop alike.

    Its fast kernel (Eigen's) takes float32 in the layout NHWC, HWIO to NHWC; inside a loop every other convolution,
    JAX's own gradients among them, falls to a naive one that is a hundred times slower. So everything becomes a plain
    forward convolution of explicitly transposed arrays, or sums of shifted images, or matrix products.
    """
    if members:
        # One after the other: as one grouped convolution the members would leave the fast kernel.
        return lax.map(lambda ab: _cpu(*ab, result=result, geometry=geometry, members=False), (a, b))
    if 0 in (*a.shape, *b.shape):
        return jnp.zeros(_result_shape(a.shape, b.shape, result, geometry), a.dtype)
    if a.dtype in (jnp.float16, jnp.bfloat16):
        wide = (a.astype(jnp.float32), b.astype(jnp.float32))
        return _cpu(*wide, result=result, geometry=geometry, members=False).astype(a.dtype)
    return {"y": _cpu_y, "x": _cpu_x, "k": _cpu_k}[result](a, b, geometry)


def _crop_and_pad(x: Array, padding: Sequence[tuple[int, int]]) -> Array:
    """Zeros around the spatial axes; negative padding crops."""
    if all(pair == (0, 0) for pair in padding):
        return x
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)])


def _shifted(x: Array, geometry: _Geometry) -> Iterator[Array]:
    """For each tap of the window the elements of ``x`` that it meets: (batch, *out, channels)."""
    out, limit = geometry.out, x.shape[-1]
    # The high side may be padded more than the last position reaches, or (in a gradient) be cropped.
    x = _crop_and_pad(x, geometry.padding)
    for tap in np.ndindex(*geometry.window):
        start = [i * d for i, d in zip(tap, geometry.dilation, strict=True)]
        stop = [b + (o - 1) * s + 1 for b, o, s in zip(start, out, geometry.strides, strict=True)]
        yield lax.slice(x, (0, *start, 0), (x.shape[0], *stop, limit), (1, *geometry.strides, 1))


def _patches(x: Array, geometry: _Geometry) -> Array:
    """What each position meets: (batch and positions, taps, groups, channels of a group).

    The way of other dtypes than float32, and of windows larger than the image, where XLA would swap image and kernel
    and so leave the fast kernel.
    """
    taps, groups = math.prod(geometry.window), geometry.groups
    return jnp.stack(list(_shifted(x, geometry)), -2).reshape(-1, taps, groups, x.shape[-1] // groups)


def _cpu_y(x: Array, kernel: Array, geometry: _Geometry) -> Array:
    groups, taps = geometry.groups, math.prod(geometry.window)
    c, f = kernel.shape[-2], kernel.shape[-1] // groups
    if c == 1 and taps <= _MOST_TAPS:
        scale = kernel.reshape(taps, groups, f)
        parts = [part[..., None] * lift(scale[i], part[..., None]) for i, part in enumerate(_shifted(x, geometry))]
        return functools.reduce(jnp.add, parts).reshape(x.shape[0], *geometry.out, groups * f)
    if x.dtype != jnp.float32 or taps > math.prod(geometry.size):
        y = jnp.einsum("ptgc,tcgf->pgf", _patches(x, geometry), kernel.reshape(taps, c, groups, f))
        return y.reshape(x.shape[0], *geometry.out, groups * f)
    return _eigen(x, kernel, *geometry[2:])


def _cpu_x(y: Array, kernel: Array, geometry: _Geometry) -> Array:
    # Positions p of x with the same p modulo the stride meet the same taps, and in each such phase the gradient is a
    # convolution of y without strides. Nothing is multiplied with the zeros that a dilated y would hold.
    groups, rank = geometry.groups, len(geometry.size)
    c, f = kernel.shape[-2], kernel.shape[-1] // groups
    turned = jnp.moveaxis(kernel.reshape(*geometry.window, c, groups, f), -1, -3)
    turned = jnp.moveaxis(turned, -2, -1).reshape(*geometry.window, f, groups * c)
    blocks = tuple(-(-n // s) for n, s in zip(geometry.size, geometry.strides, strict=True))
    phases = [_phase(y, turned, residues, blocks, geometry) for residues in np.ndindex(*geometry.strides)]
    if len(phases) == 1:
        return phases[0]
    x = jnp.stack(phases).reshape(*geometry.strides, *phases[0].shape)
    order = itertools.chain([rank], *((rank + 1 + i, i) for i in range(rank)), [2 * rank + 1])
    x = x.transpose(*order).reshape(y.shape[0], *map(int.__mul__, blocks, geometry.strides), groups * c)
    return x[(slice(None), *map(slice, geometry.size))]


def _phase(y: Array, turned: Array, residues: Ints, blocks: Ints, geometry: _Geometry) -> Array:
    """The part of x's gradient at positions ``q * stride + residue``."""
    index, padding, dilation = [], [], []
    for axis, (k, s, (low, _), d) in enumerate(zip(*geometry[1:5], strict=True)):
        # The taps that meet this residue; between two of them lie `step` output positions.
        met = [i for i in range(k) if (residues[axis] + low - i * d) % s == 0]
        if not met:
            return jnp.zeros((y.shape[0], *blocks, turned.shape[-1]), y.dtype)
        step = d // math.gcd(d, s)
        reach = (len(met) - 1) * step
        before = reach - (residues[axis] + low - met[0] * d) // s
        padding.append((before, blocks[axis] - y.shape[1 + axis] - before + reach))
        dilation.append(step)
        index.append(slice(met[-1], met[0] - 1 if met[0] else None, -(s // math.gcd(d, s))))
    kernel = turned[tuple(index)]
    rank = len(index)
    part = _Geometry(y.shape[1:-1], kernel.shape[:rank], (1,) * rank, tuple(padding), tuple(dilation), geometry.groups)
    return _cpu_y(y, kernel, part)


def _cpu_k(x: Array, y: Array, geometry: _Geometry) -> Array:
    groups, taps = geometry.groups, math.prod(geometry.window)
    c, f = x.shape[-1] // groups, y.shape[-1] // groups
    if c == 1 and groups > 1 and taps <= _MOST_TAPS:
        split = y.reshape(*y.shape[:-1], groups, f)
        axes = tuple(range(y.ndim - 1))
        parts = [jnp.sum(part[..., None] * split, axes) for part in _shifted(x, geometry)]
        return jnp.stack(parts).reshape(*geometry.window, 1, groups * f)
    if x.dtype != jnp.float32 or (c == 1 and taps <= _MOST_TAPS) or math.prod(geometry.out) > math.prod(geometry.size):
        kernel = jnp.einsum("ptgc,pgf->tcgf", _patches(x, geometry), y.reshape(-1, groups, f))
        return kernel.reshape(*geometry.window, c, groups * f)
    if len(geometry.size) == 3:
        x, flat = _fold_depth(x, geometry)
        kernel = _cpu_k(x, y.reshape(-1, *y.shape[2:]), flat)
        depth = geometry.window[0]
        return jnp.moveaxis(kernel.reshape(*kernel.shape[:2], depth, c, groups * f), 2, 0)
    # Batch and channels change places: the batch is what is summed over, and y is the kernel.
    turned = jnp.moveaxis(x.reshape(*x.shape[:-1], groups, c), (-1, 0), (0, -1))
    turned = turned.reshape(c, *geometry.size, groups * x.shape[0])
    padding = tuple(
        (low, (o - 1) * s + d * (k - 1) + 1 - n - low)
        for n, k, s, (low, _), d, o in zip(*geometry[:5], geometry.out, strict=True)
    )
    kernel = _eigen(turned, jnp.moveaxis(y, 0, -2), geometry.dilation, padding, geometry.strides, groups)
    return jnp.moveaxis(kernel, 0, -2)


def _fold_depth(x: Array, geometry: _Geometry) -> tuple[Array, _Geometry]:
    """Three spatial axes as two: the taps of the first become channels, its positions join the batch."""
    k, s, (low, high), d = geometry.window[0], geometry.strides[0], geometry.padding[0], geometry.dilation[0]
    out, groups = geometry.out[0], geometry.groups
    x = _crop_and_pad(x, [(low, high), (0, 0), (0, 0)])
    x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    taps = [lax.slice_in_dim(x, i * d, i * d + (out - 1) * s + 1, s, axis=1) for i in range(k)]
    x = jnp.stack(taps, axis=-2)
    x = x.reshape(x.shape[0] * out, *x.shape[2:4], -1)
    size, window, strides, padding, dilation, _ = geometry
    return x, _Geometry(size[1:], window[1:], strides[1:], padding[1:], dilation[1:], groups)


def _eigen(x: Array, kernel: Array, strides: Ints, padding: Pairs, dilation: Ints, groups: int) -> Array:
    """A plain float32 convolution that XLA hands to Eigen."""
    rank = len(strides)
    if rank == 3:
        geometry = _Geometry(x.shape[1:-1], kernel.shape[:3], strides, padding, dilation, groups)
        batch, out = x.shape[0], geometry.out
        x, flat = _fold_depth(x, geometry)
        kernel = jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
        return _eigen(x, kernel, *flat[2:]).reshape(batch, *out, kernel.shape[-1])
    x = _crop_and_pad(x, [(min(low, 0), min(high, 0)) for low, high in padding])
    padding = tuple((max(low, 0), max(high, 0)) for low, high in padding)
    # Twice the stride and the dilation on an x with a zero between any two elements is the same convolution; XLA does
    # not hand it to YNNPACK, which takes the other two-dimensional ones, and which needs up to ten times as long.
    spread = (2, 1) if rank == 2 else (1,)
    spatial = "HW"[:rank]
    return lax.conv_general_dilated(
        x,
        kernel,
        tuple(map(int.__mul__, strides, spread)),
        [(low * t, high * t) for (low, high), t in zip(padding, spread, strict=True)],
        lhs_dilation=spread,
        rhs_dilation=tuple(map(int.__mul__, dilation, spread)),
        feature_group_count=groups,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )


# The choice is made for each platform that a program is lowered for, several at once in `jax.export`.
mlir.register_lowering(_conv_p, mlir.lower_fun(_xla, multiple_results=False))
mlir.register_lowering(_conv_p, mlir.lower_fun(_cpu, multiple_results=False), platform="cpu")


# ---------------------------------------------------------------------------------------------------------------------
# Public functions


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
    return _bind(x, kernel, result="y", geometry=_Geometry(size, window, steps, pairs, dilation, groups))


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
    geometry = _Geometry(tuple(size), window, steps, tuple(pairs), dilation, 1)
    y = _bind(x, jnp.swapaxes(kernel, -1, -2), result="x", geometry=geometry)
    return y + lift(params["bias"], y) if "bias" in params else y


def _check_transposed(where: str, padding: Any, output_padding: Any) -> None:
    if padding not in ("valid", "same"):
        fail(where, expected="padding to be one of valid, same", got=repr(padding))
    if output_padding is not None:
        check_counts(where, "output_padding", output_padding, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Layers


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
        warnings.warn(
            f"{where}: x of shape {shape_text(('batch', *x.shape[1:]))} is read as {x.shape[1]} steps of a sequence "
            f"with {x.shape[2]} channels. If these are images, add the channel axis: x[..., None].",
            stacklevel=2,
        )
    return per_axis(where, "kernel_size", kernel_size, rank)


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
