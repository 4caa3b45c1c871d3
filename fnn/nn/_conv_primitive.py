"""Convolution as one JAX primitive: a trilinear form in x, y and kernel whose derivatives are the form itself.

The primitive takes two of the three arrays and gives the third: the output y of a convolution from x and kernel, the
gradient of x from y and kernel, or the gradient of the kernel from x and y. Differentiating one of them with respect
to an operand gives another of the three, and `jax.vmap` folds its axis into one that an operand already has, so
nothing else is needed for derivatives of any order and for batches. `lower_on` sets the form that a platform runs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.extend
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad, batching, mlir

from .._core.typed import array_spec, partition_spec
from .._core.types import Array, Shape
from .windows import Pairs


class Geometry(NamedTuple):
    """A convolution without its batch and channels: tap i of position o reads ``x[o stride + i dilation - low]``."""

    size: Shape  # spatial sizes of x
    window: Shape
    strides: Shape
    padding: Pairs
    dilation: Shape
    groups: int

    @property
    def out(self) -> Shape:
        """Spatial sizes of y."""
        return tuple(
            (n + low + high - d * (k - 1) - 1) // s + 1 for n, k, s, (low, high), d in zip(*self[:5], strict=True)
        )

    def multiply_adds(self, result: str, *shapes: Shape) -> int:
        """The number of multiply-adds, given the shapes of the two operands and the result."""
        # Each number of y takes every tap of the window for each input channel of its group.
        arrays = dict(zip([*OPERANDS[result], result], shapes, strict=True))
        return math.prod(arrays["y"]) * math.prod(self.window) * int(arrays["k"][-2])


# The two operands of each result, in the order x, y, kernel, where x is (batch, *size, groups * c), y is
# (batch, *out, groups * f) and kernel is (*window, c, groups * f).
OPERANDS = {"y": "xk", "x": "yk", "k": "xy"}


def result_shape(a: Shape, b: Shape, result: str, geometry: Geometry) -> Shape:
    """The shape of a result for operands of these shapes, without the axis of members."""
    if result == "y":
        return (a[0], *geometry.out, b[-1])
    if result == "x":
        return (a[0], *geometry.size, b[-2] * geometry.groups)
    return (*geometry.window, a[-1] // geometry.groups, b[-1])


conv_p = jax.extend.core.Primitive("fnn_conv")
# JAX leaves these without types.
_bind: Callable[..., Array] = conv_p.bind
_set_impl: Callable[[Callable[..., Array]], object] = conv_p.def_impl
_set_abstract: Callable[[Callable[..., object]], object] = conv_p.def_abstract_eval
_set_transposes: Callable[[jax.extend.core.Primitive, Callable[..., Array], Callable[..., Array]], None] = (
    ad.defbilinear
)


def _varying(a: Array) -> frozenset[str]:
    """The mesh axes over which an array varies inside `jax.shard_map`."""
    manual = getattr(jax.typeof(a), "manual_axis_type", None)
    return frozenset() if manual is None else manual.varying


def bind_conv(a: Array, b: Array, *, result: str, geometry: Geometry, members: bool = False) -> Array:
    """Apply the primitive to two operands, made to vary over the same mesh axes first.

    With ``members`` both operands have a leading axis of independent convolutions.
    """
    if (over_a := _varying(a)) != (over_b := _varying(b)):
        a = lax.pcast(a, tuple(over_b - over_a), to="varying") if over_b - over_a else a
        b = lax.pcast(b, tuple(over_a - over_b), to="varying") if over_a - over_b else b
    return _bind(a, b, result=result, geometry=geometry, members=members)


@functools.cache
def _jitted(**static: Any) -> Callable[..., Array]:
    return jax.jit(functools.partial(bind_conv, **static))


def _impl(a: Array, b: Array, **static: Any) -> Array:
    with jax.disable_jit(False):  # a single operation is always compiled, even under disable_jit
        return _jitted(**static)(a, b)


_set_impl(_impl)


def _abstract(a: Any, b: Any, *, result: str, geometry: Geometry, members: bool) -> Any:
    lead = int(members)
    shape = (*a.shape[:lead], *result_shape(a.shape[lead:], b.shape[lead:], result, geometry))
    # Only the shape differs from a's type, which also says how it varies inside shard_map.
    return a.update(shape=shape, sharding=a.sharding.update(spec=partition_spec(*(None,) * len(shape))))


_set_abstract(_abstract)


def _transpose(position: int, cotangent: Array, a: Array, b: Array, *, result: str, **static: Any) -> Array:
    """The transpose with respect to one operand: that operand's array from the other one and the cotangent."""
    operands = {OPERANDS[result][0]: a, OPERANDS[result][1]: b, result: cotangent}
    wanted = OPERANDS[result][position]
    left, right = (operands[name] for name in OPERANDS[wanted])
    return bind_conv(left, right, result=wanted, **static)


_set_transposes(conv_p, functools.partial(_transpose, 0), functools.partial(_transpose, 1))


def _fold_axis(name: str, other: str, groups: int) -> tuple[int, int]:
    """The axis that ``name`` shares only with ``other`` (batch, c or f), and the number of groups leading in it."""
    if {name, other} == {"x", "y"}:
        return 0, 1
    return (-2, 1) if {name, other} == {"x", "k"} and name == "k" else (-1, groups)


def _fold(a: Array, axis: int, groups: int) -> Array:
    """Fold the leading axis into another one, after its groups."""
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


def _batch(
    args: tuple[Array, Array], dims: tuple[int | None, int | None], *, result: str, geometry: Geometry, members: bool
) -> tuple[Array, int]:
    """`jax.vmap`: fold one batched operand into an axis that the other lacks; two become members."""
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    a, b = (x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(args, dims, strict=True))
    if not members and None in dims:
        position = 0 if dims[1] is None else 1
        operands = [a, b]
        axis, groups = _fold_axis(OPERANDS[result][position], result, geometry.groups)
        operands[position] = _fold(operands[position], axis, groups)
        out = bind_conv(*operands, result=result, geometry=geometry)
        return _unfold(out, *_fold_axis(result, OPERANDS[result][position], geometry.groups), size), 0
    if not members:
        return bind_conv(a, b, result=result, geometry=geometry, members=True), 0
    a, b = (jnp.broadcast_to(x, (size, *x.shape)) if d is None else x for x, d in zip((a, b), dims, strict=True))
    out = bind_conv(*(x.reshape(-1, *x.shape[2:]) for x in (a, b)), result=result, geometry=geometry, members=True)
    return out.reshape(size, -1, *out.shape[1:]), 0


batching.primitive_batchers[conv_p] = _batch


def xla_forward(
    x: Array, kernel: Array, strides: Shape, padding: Pairs, dilation: Shape, groups: int, spread: Shape | None = None
) -> Array:
    """XLA's convolution; ``spread`` is the distance between the elements of x, with zeros between them."""
    spatial = "DHW"[-len(strides) :]
    layout, filters = f"N{spatial}C", f"{spatial}IO"
    return lax.conv_general_dilated(
        x, kernel, strides, padding, spread, dilation, (layout, filters, layout), feature_group_count=groups
    )


def xla_conv(a: Array, b: Array, *, result: str, geometry: Geometry, members: bool) -> Array:
    """XLA's own convolution and JAX's own gradients of it."""
    if members:
        return jax.vmap(functools.partial(xla_conv, result=result, geometry=geometry, members=False))(a, b)
    if result == "y":
        return xla_forward(a, b, *geometry[2:])
    wanted = array_spec(result_shape(a.shape, b.shape, result, geometry), a.dtype)
    gradient: Array
    if result == "x":
        (gradient,) = jax.linear_transpose(lambda x: xla_forward(x, b, *geometry[2:]), wanted)(a)
    else:
        (gradient,) = jax.linear_transpose(lambda kernel: xla_forward(a, kernel, *geometry[2:]), wanted)(b)
    return gradient


def lower_on(platform: str | None, form: Callable[..., Array]) -> None:
    """Lower the primitive to a JAX function on one platform, or with None on all others.

    The form is chosen for each platform that a program is lowered for; `jax.export` may lower for several at once.
    """
    mlir.register_lowering(conv_p, mlir.lower_fun(form, multiple_results=False), platform=platform)


lower_on(None, xla_conv)
