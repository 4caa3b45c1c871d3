"""Whether members of a batch train faster together or one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax

from .._core.jaxprs import Product, loop_carry, operations, product

# On a CPU a product of small matrices costs little more than the call, which a batch of members shares; a product of
# large ones runs at full speed for one member alone. They break even at about so many operations per product: for
# products of members' own matrices, which stay many small products in a batch, and for products with a matrix that all
# members share, such as one batch of data, which become one large product. See docs/performance.md.
_OWN_PRODUCT, _SHARED_PRODUCT = 0.8e6, 4e6
# What the members of a batch carry from step to step should stay in the last cache, in bytes.
_CACHE = 12 * 2**20
# Members when a batch of them is traced to be looked at: a prime, so that no other axis has its length.
PROBE = 7919


def cpu_batch(trial: Callable[..., Any], one: list[Any], size: int) -> int:
    """How many members of a trial, given the shapes of its arguments, should form a batch on a CPU, out of ``size``."""
    probe = [jax.ShapeDtypeStruct((PROBE, *a.shape), a.dtype) for a in one]
    batch = jax.make_jaxpr(jax.vmap(trial))(*probe)
    # Weighted by how often each runs, since the loop over steps decides. What a program does not say in a form that is
    # known here counts nothing, so a program of unknown operations is batched.
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
    """Whether a product counts, and its operations for one member as a part of those at which a batch breaks even."""
    shapes = [a.shape for a in one.arrays]
    if one.kind == "other conv":
        # JAX's own convolution, of which a batch becomes a grouped one, which is slow whatever its size.
        own = all(any(n % PROBE == 0 for n in shape) for shape in shapes)
        return int(own), math.inf if own else 0.0
    if one.kind == "conv":
        # Members fold into the batch or the channels of a shared convolution; own ones run one after the other.
        own, batched = one.members, any(n % PROBE == 0 for shape in shapes for n in shape)
    else:
        owners = sum(PROBE in shape for shape in shapes)  # of the two operands and the result
        own, batched = owners == 3, owners > 0
    operations_of_one = 2.0 * one.multiply_adds / (PROBE if batched else 1)
    return 1, operations_of_one / (_OWN_PRODUCT if own else _SHARED_PRODUCT)


def _bytes(a: Any) -> int:
    """Of an array, the share of one member; 0 of what all members have in common."""
    return a.size // PROBE * getattr(a.dtype, "itemsize", 8) if PROBE in getattr(a, "shape", ()) else 0
