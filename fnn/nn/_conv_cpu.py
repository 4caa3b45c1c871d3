"""Convolution on the CPU: the same products in the forms that XLA's CPU compiler runs fast."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from .._core.dtypes import lift
from .._core.types import Array
from ._conv_primitive import Geometry, lower_on, result_shape
from .windows import Ints, Pairs

# Up to this many taps, a kernel with one input channel in each group is a sum of scaled, shifted images, in one fused
# loop; beyond, the loop body grows too long.
_MOST_TAPS = 32


def _cpu(a: Array, b: Array, *, result: str, geometry: Geometry, members: bool) -> Array:
    """What XLA's CPU backend runs fast, in the entry computation and inside a loop alike.

    Its fast kernel (Eigen's) takes float32 in the layout NHWC, HWIO to NHWC; inside a loop every other convolution,
    JAX's own gradients among them, falls to a naive one that is a hundred times slower. So everything becomes a plain
    forward convolution of explicitly transposed arrays, or sums of shifted images, or matrix products.
    """
    if members:
        # One after the other: as one grouped convolution the members would leave the fast kernel.
        return lax.map(lambda ab: _cpu(*ab, result=result, geometry=geometry, members=False), (a, b))
    if 0 in (*a.shape, *b.shape):
        return jnp.zeros(result_shape(a.shape, b.shape, result, geometry), a.dtype)
    if a.dtype in (jnp.float16, jnp.bfloat16):
        wide = (a.astype(jnp.float32), b.astype(jnp.float32))
        return _cpu(*wide, result=result, geometry=geometry, members=False).astype(a.dtype)
    return {"y": _cpu_y, "x": _cpu_x, "k": _cpu_k}[result](a, b, geometry)


def _crop_and_pad(x: Array, padding: Sequence[tuple[int, int]]) -> Array:
    """Zeros around the spatial axes; negative padding crops."""
    if all(pair == (0, 0) for pair in padding):
        return x
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)])


def _shifted(x: Array, geometry: Geometry) -> Iterator[Array]:
    """For each tap of the window the elements of ``x`` that it meets: (batch, *out, channels)."""
    out, limit = geometry.out, x.shape[-1]
    # The high side may be padded more than the last position reaches, or (in a gradient) be cropped.
    x = _crop_and_pad(x, geometry.padding)
    for tap in np.ndindex(*geometry.window):
        start = [i * d for i, d in zip(tap, geometry.dilation, strict=True)]
        stop = [b + (o - 1) * s + 1 for b, o, s in zip(start, out, geometry.strides, strict=True)]
        yield lax.slice(x, (0, *start, 0), (x.shape[0], *stop, limit), (1, *geometry.strides, 1))


def _patches(x: Array, geometry: Geometry) -> Array:
    """What each position meets: (batch and positions, taps, groups, channels of a group).

    The way of other dtypes than float32, and of windows larger than the image, where XLA would swap image and kernel
    and so leave the fast kernel.
    """
    taps, groups = math.prod(geometry.window), geometry.groups
    return jnp.stack(list(_shifted(x, geometry)), -2).reshape(-1, taps, groups, x.shape[-1] // groups)


def _cpu_y(x: Array, kernel: Array, geometry: Geometry) -> Array:
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


def _cpu_x(y: Array, kernel: Array, geometry: Geometry) -> Array:
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


def _phase(y: Array, turned: Array, residues: Ints, blocks: Ints, geometry: Geometry) -> Array:
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
    part = Geometry(y.shape[1:-1], kernel.shape[:rank], (1,) * rank, tuple(padding), tuple(dilation), geometry.groups)
    return _cpu_y(y, kernel, part)


def _cpu_k(x: Array, y: Array, geometry: Geometry) -> Array:
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


def _fold_depth(x: Array, geometry: Geometry) -> tuple[Array, Geometry]:
    """Three spatial axes as two: the taps of the first become channels, its positions join the batch."""
    k, s, (low, high), d = geometry.window[0], geometry.strides[0], geometry.padding[0], geometry.dilation[0]
    out, groups = geometry.out[0], geometry.groups
    x = _crop_and_pad(x, [(low, high), (0, 0), (0, 0)])
    x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    taps = [lax.slice_in_dim(x, i * d, i * d + (out - 1) * s + 1, s, axis=1) for i in range(k)]
    x = jnp.stack(taps, axis=-2)
    x = x.reshape(x.shape[0] * out, *x.shape[2:4], -1)
    size, window, strides, padding, dilation, _ = geometry
    return x, Geometry(size[1:], window[1:], strides[1:], padding[1:], dilation[1:], groups)


def _eigen(x: Array, kernel: Array, strides: Ints, padding: Pairs, dilation: Ints, groups: int) -> Array:
    """A plain float32 convolution that XLA hands to Eigen."""
    rank = len(strides)
    if rank == 3:
        geometry = Geometry(x.shape[1:-1], kernel.shape[:3], strides, padding, dilation, groups)
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


lower_on("cpu", _cpu)
