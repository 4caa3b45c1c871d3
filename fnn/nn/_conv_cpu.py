"""Convolution on the CPU, in forms that XLA's CPU compiler runs fast in the entry computation and inside loops alike.

XLA's fast kernels (of Eigen and YNNPACK) take float32 in the layout NHWC, HWIO to NHWC. Inside a loop every other
convolution, JAX's own gradients among them, falls back to a naive kernel a hundred times slower. So each of the three
results becomes plain forward convolutions of explicitly transposed arrays, sums of shifted images, or matrix products.
With window size k, stride s, dilation d and padding low on each axis:

    y[o]  = sum_i x[o s + i d - low] @ kernel[i]             the output
    dx[p] = sum_{o, i: o s + i d - low = p} y[o] @ kernel[i].T      the gradient of x, one convolution for each phase
    dk[i] = sum_o x[o s + i d - low].T @ y[o]                the gradient of the kernel, a convolution with kernel y
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from .._core.dtypes import lift
from .._core.types import Array, Shape
from .._core.xla import YNNPACK_CONVOLVES_FAST
from ._conv_primitive import Geometry, lower_on, result_shape, xla_forward
from .windows import Pairs

# A kernel with one input channel per group and at most this many taps becomes a sum of scaled, shifted images in one
# fused loop; with more taps the loop body grows too long.
_MOST_TAPS = 32


def _conv_on_cpu(a: Array, b: Array, *, result: str, geometry: Geometry, members: bool) -> Array:
    if members:
        # One after the other: as one grouped convolution the members would leave the fast kernel.
        each: Array = lax.map(lambda ab: _conv_on_cpu(*ab, result=result, geometry=geometry, members=False), (a, b))
        return each
    if 0 in (*a.shape, *b.shape):
        return jnp.zeros(result_shape(a.shape, b.shape, result, geometry), a.dtype)
    if a.dtype in (jnp.float16, jnp.bfloat16):
        wide = (a.astype(jnp.float32), b.astype(jnp.float32))
        return _conv_on_cpu(*wide, result=result, geometry=geometry, members=False).astype(a.dtype)
    return {"y": _output, "x": _input_gradient, "k": _kernel_gradient}[result](a, b, geometry)


def _output(x: Array, kernel: Array, geometry: Geometry) -> Array:
    groups, taps = geometry.groups, math.prod(geometry.window)
    c, f = kernel.shape[-2], kernel.shape[-1] // groups
    if c == 1 and taps <= _MOST_TAPS:
        scale = kernel.reshape(taps, groups, f)
        parts = [part[..., None] * lift(scale[i], part[..., None]) for i, part in enumerate(_shifted(x, geometry))]
        return functools.reduce(jnp.add, parts).reshape(x.shape[0], *geometry.out, groups * f)
    if x.dtype != jnp.float32 or taps > math.prod(geometry.size):
        patches = _patches(x, geometry)
        if groups == 1:
            # As one product of two matrices, since XLA would transpose the patches of groups first.
            y = patches.reshape(-1, taps * c) @ kernel.reshape(taps * c, f)
        else:
            y = jnp.einsum("ptgc,tcgf->pgf", patches, kernel.reshape(taps, c, groups, f))
        return y.reshape(x.shape[0], *geometry.out, groups * f)
    return _plain(x, kernel, *geometry[2:])


def _input_gradient(y: Array, kernel: Array, geometry: Geometry) -> Array:
    """The gradient of x, computed for each phase ``r`` of positions ``p = q s + r`` and interleaved; see `_phase`.

    No product has a factor from the zeros that a dilated y would hold.
    """
    groups, rank = geometry.groups, len(geometry.size)
    c, f = kernel.shape[-2], kernel.shape[-1] // groups
    transposed = jnp.moveaxis(kernel.reshape(*geometry.window, c, groups, f), -1, -3)
    transposed = jnp.moveaxis(transposed, -2, -1).reshape(*geometry.window, f, groups * c)
    blocks = tuple(-(-n // s) for n, s in zip(geometry.size, geometry.strides, strict=True))
    phases = [_phase(y, transposed, residues, blocks, geometry) for residues in np.ndindex(*geometry.strides)]
    if len(phases) == 1:
        return phases[0]
    x = jnp.stack(phases).reshape(*geometry.strides, *phases[0].shape)
    order = itertools.chain([rank], *((rank + 1 + i, i) for i in range(rank)), [2 * rank + 1])
    padded = (n * s for n, s in zip(blocks, geometry.strides, strict=True))
    x = x.transpose(*order).reshape(y.shape[0], *padded, groups * c)
    return x[(slice(None), *map(slice, geometry.size))]


def _phase(y: Array, transposed: Array, residues: Shape, blocks: Shape, geometry: Geometry) -> Array:
    """The gradient of x at the positions ``p = q s + r``, a convolution of y with stride 1.

    ``o s + i d - low = q s + r`` has the solution ``o = q + (r + low - i d) / s`` for taps i that make the division
    exact. These are ``i0, i0 + m, ...`` with ``m = s / gcd(d, s)``, and each reads y ``step = d / gcd(d, s)`` earlier:

        dx[q s + r] = sum_j y[q + (r + low - i0 d) / s - j step] @ kernel[i0 + j m].T
    """
    index, padding, dilation = [], [], []
    for axis, (k, s, (low, _), d) in enumerate(zip(*geometry[1:5], strict=True)):
        taps = [i for i in range(k) if (residues[axis] + low - i * d) % s == 0]
        if not taps:
            return jnp.zeros((y.shape[0], *blocks, transposed.shape[-1]), y.dtype)
        step = d // math.gcd(d, s)
        reach = (len(taps) - 1) * step
        before = reach - (residues[axis] + low - taps[0] * d) // s
        padding.append((before, blocks[axis] - y.shape[1 + axis] - before + reach))
        dilation.append(step)
        index.append(slice(taps[-1], taps[0] - 1 if taps[0] else None, -(s // math.gcd(d, s))))
    kernel = transposed[tuple(index)]
    rank = len(index)
    part = Geometry(y.shape[1:-1], kernel.shape[:rank], (1,) * rank, tuple(padding), tuple(dilation), geometry.groups)
    return _output(y, kernel, part)


def _kernel_gradient(x: Array, y: Array, geometry: Geometry) -> Array:
    groups, taps = geometry.groups, math.prod(geometry.window)
    c, f = x.shape[-1] // groups, y.shape[-1] // groups
    if c == 1 and groups > 1 and taps <= _MOST_TAPS:
        split = y.reshape(*y.shape[:-1], groups, f)
        axes = tuple(range(y.ndim - 1))
        parts = [jnp.sum(part[..., None] * split, axes) for part in _shifted(x, geometry)]
        return jnp.stack(parts).reshape(*geometry.window, 1, groups * f)
    one_product = (c == 1 and taps <= _MOST_TAPS) or (groups == 1 and taps == 1)
    if x.dtype != jnp.float32 or one_product or math.prod(geometry.out) > math.prod(geometry.size):
        patches = _patches(x, geometry)
        if groups == 1:
            rows = (((0,), (0,)), ((), ()))  # contracted as they lie, without a transpose
            kernel = lax.dot_general(patches.reshape(-1, taps * c), y.reshape(-1, f), rows)
        else:
            kernel = jnp.einsum("ptgc,pgf->tcgf", patches, y.reshape(-1, groups, f))
        return kernel.reshape(*geometry.window, c, groups * f)
    if len(geometry.size) == 3:
        x, flat = _fold_depth(x, geometry)
        kernel = _kernel_gradient(x, y.reshape(-1, *y.shape[2:]), flat)
        depth = geometry.window[0]
        return jnp.moveaxis(kernel.reshape(*kernel.shape[:2], depth, c, groups * f), 2, 0)
    # A convolution with the kernel y, in which stride and dilation swap places, and so do batch and channels of x.
    swapped = jnp.moveaxis(x.reshape(*x.shape[:-1], groups, c), (-1, 0), (0, -1))
    swapped = swapped.reshape(c, *geometry.size, groups * x.shape[0])
    padding = tuple(
        (low, (o - 1) * s + d * (k - 1) + 1 - n - low)
        for n, k, s, (low, _), d, o in zip(*geometry[:5], geometry.out, strict=True)
    )
    kernel = _plain(swapped, jnp.moveaxis(y, 0, -2), geometry.dilation, padding, geometry.strides, groups)
    return jnp.moveaxis(kernel, 0, -2)


def _crop_and_pad(x: Array, padding: Sequence[tuple[int, int]]) -> Array:
    """Put zeros around the spatial axes; negative padding crops."""
    if all(pair == (0, 0) for pair in padding):
        return x
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)])


def _shifted(x: Array, geometry: Geometry) -> Iterator[Array]:
    """For each tap of the window, the elements of ``x`` that it reads at all positions: (batch, *out, channels)."""
    out, limit = geometry.out, x.shape[-1]
    # The high side may be padded beyond the reach of the last position or, in a gradient, be cropped.
    x = _crop_and_pad(x, geometry.padding)
    for tap in np.ndindex(*geometry.window):
        start = [i * d for i, d in zip(tap, geometry.dilation, strict=True)]
        stop = [b + (o - 1) * s + 1 for b, o, s in zip(start, out, geometry.strides, strict=True)]
        yield lax.slice(x, (0, *start, 0), (x.shape[0], *stop, limit), (1, *geometry.strides, 1))


def _patches(x: Array, geometry: Geometry) -> Array:
    """The elements that each position reads: (batch and positions, taps, groups, channels of a group).

    Used for dtypes other than float32, and for windows larger than the image, where XLA would swap image and kernel
    and so leave the fast kernel.
    """
    taps, groups = math.prod(geometry.window), geometry.groups
    return jnp.stack(list(_shifted(x, geometry)), -2).reshape(-1, taps, groups, x.shape[-1] // groups)


def _fold_depth(x: Array, geometry: Geometry) -> tuple[Array, Geometry]:
    """Reduce three spatial axes to two: the taps of the first become channels, its positions join the batch."""
    k, s, (low, high), d = geometry.window[0], geometry.strides[0], geometry.padding[0], geometry.dilation[0]
    out, groups = geometry.out[0], geometry.groups
    x = _crop_and_pad(x, [(low, high), (0, 0), (0, 0)])
    x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    taps = [lax.slice_in_dim(x, i * d, i * d + (out - 1) * s + 1, s, axis=1) for i in range(k)]
    x = jnp.stack(taps, axis=-2)
    x = x.reshape(x.shape[0] * out, *x.shape[2:4], -1)
    size, window, strides, padding, dilation, _ = geometry
    return x, Geometry(size[1:], window[1:], strides[1:], padding[1:], dilation[1:], groups)


def _plain(x: Array, kernel: Array, strides: Shape, padding: Pairs, dilation: Shape, groups: int) -> Array:
    """A plain float32 convolution, in a form that XLA hands to a fast kernel."""
    rank = len(strides)
    if rank == 3:
        geometry = Geometry(x.shape[1:-1], kernel.shape[:3], strides, padding, dilation, groups)
        batch, out = x.shape[0], geometry.out
        x, flat = _fold_depth(x, geometry)
        kernel = jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
        return _plain(x, kernel, *flat[2:]).reshape(batch, *out, kernel.shape[-1])
    x = _crop_and_pad(x, [(min(low, 0), min(high, 0)) for low, high in padding])
    padding = tuple((max(low, 0), max(high, 0)) for low, high in padding)
    spread = _spread(Geometry(x.shape[1:-1], kernel.shape[:rank], strides, padding, dilation, groups))
    strides, dilation = (tuple(n * t for n, t in zip(ns, spread, strict=True)) for ns in (strides, dilation))
    padding = tuple((low * t, high * t) for (low, high), t in zip(padding, spread, strict=True))
    return xla_forward(x, kernel, strides, padding, dilation, groups, spread)


def _spread(geometry: Geometry) -> Shape:
    """The distance to put between the elements of x, stretching the convolution likewise, which gives the same result.

    A distance of 2 keeps XLA from handing it to YNNPACK, which is slow with groups, but makes Eigen a twentieth slower.
    YNNPACK never takes a convolution whose output is larger than its input.
    """
    rank = len(geometry.size)
    grows = any(o > n for o, n in zip(geometry.out, geometry.size, strict=True))
    ynnpack = rank == 2 and not grows
    return (2, 1) if ynnpack and (geometry.groups > 1 or not YNNPACK_CONVOLVES_FAST) else (1,) * rank


lower_on("cpu", _conv_on_cpu)
