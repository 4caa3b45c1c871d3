"""Whether the members of a batch train faster together or one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax

from .._core.jaxprs import Product, loop_carry, operations, product
from .._core.typed import array_spec
from .._core.types import Array, PyTree, Shaped

# On a CPU, a product of small matrices costs little more than its call, which a batch of members shares; a product of
# large ones runs at full speed for a single member. The break-even is at about this many operations per product: for
# products of each member's own matrices, which remain many small products in a batch, and for products with a matrix
# that all members share, such as one batch of data, which become one large product. See docs/performance.md.
_OWN_PRODUCT, _SHARED_PRODUCT = 0.8e6, 4e6
# The values that a batch of members carries from step to step should fit into the last-level cache, in bytes.
_CACHE = 12 * 2**20
# The number of members in the batch that is traced for inspection: a prime, so that no other axis has this length.
PROBE = 7919


def shape_of_one(stacked: PyTree) -> PyTree:
    """Shapes and dtypes of one member from arrays with the members along their first axis."""
    return jax.tree.map(lambda a: array_spec(a.shape[1:], a.dtype), stacked)


def cpu_batch(trial: Callable[..., list[Array]], arguments: list[jax.ShapeDtypeStruct], size: int) -> int:
    """The best number of trials per batch on a CPU, at most ``size``; ``arguments`` are the shapes of one trial's."""
    probe = [array_spec((PROBE, *a.shape), a.dtype) for a in arguments]
    batch = jax.make_jaxpr(jax.vmap(trial))(*probe)
    # Weighted by how often each product runs, since the loop over steps decides. Unknown operations count nothing, so
    # that a program made of them is batched.
    calls, strain = 0.0, 0.0
    carried = made = 0
    for eqn, times in operations(batch, unknown=100.0):
        if (found := product(eqn)) is not None:
            counted, weight = _strain(found)
            calls += times * counted
            strain += times * weight
            if found.kind == "dot":
                made = max(made, sum(map(_bytes, found.arrays)))
        carried = max(carried, sum(map(_bytes, loop_carry(eqn))))
    if strain > calls:
        return 1
    return max(1, min(size, max(8, _CACHE // max(carried + made, 1))))


def _strain(one: Product) -> tuple[int, float]:
    """Whether a product counts (0 or 1), and a member's operations in it relative to the break-even."""
    shapes = [a.shape for a in one.arrays]
    if one.kind == "other conv":
        # In a batch, JAX's own convolution becomes a grouped one, which is slow whatever its size.
        own = all(any(n % PROBE == 0 for n in shape) for shape in shapes)
        return int(own), math.inf if own else 0.0
    if one.kind == "conv":
        # In a shared convolution, members fold into the batch or the channels; own ones run one after the other.
        own, batched = one.members, any(n % PROBE == 0 for shape in shapes for n in shape)
    else:
        owners = sum(PROBE in shape for shape in shapes)  # among the two operands and the result
        own, batched = owners == 3, owners > 0
    operations_of_one = 2.0 * one.multiply_adds / (PROBE if batched else 1)
    return 1, operations_of_one / (_OWN_PRODUCT if own else _SHARED_PRODUCT)


def _bytes(a: Shaped) -> int:
    """Bytes per member; 0 for an array that all members share."""
    return math.prod(a.shape) // PROBE * getattr(a.dtype, "itemsize", 8) if PROBE in getattr(a, "shape", ()) else 0
