"""Many trainings in one compiled program, batched where that is faster and one after the other where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .._checks import check_count, describe, fail
from .._jaxprs import Product, loop_carry, operations, product, traced

# On a CPU a product of small matrices costs little more than the call, which a batch of members shares; a product of
# large ones runs at full speed for one member alone. They break even at about so many operations per product: for
# products of members' own matrices, which stay many small products in a batch, and for products with a matrix that all
# members share, such as one batch of data, which become one large product. See docs/performance.md.
_OWN_PRODUCT, _SHARED_PRODUCT = 0.8e6, 4e6
# What the members of a batch carry from step to step should stay in the last cache, in bytes.
_CACHE = 12 * 2**20
# Members when a batch of them is traced to be looked at: a prime, so that no other axis has its length.
_PROBE = 7919


def many(trial: Callable[..., Any], *, at_once: int | None = None) -> Callable[..., Any]:
    """``jax.vmap(trial)``, or one trial after the other where that is faster: many trainings in one compiled program.

    On a GPU or TPU all trials run as one batch. On a CPU they run in batches of as many members as fit its cache if
    the trial's matrix products are small, and one after the other in a compiled loop if they are large. The choice is
    made from the traced program, so equal calls make equal choices; the results agree to floating-point tolerance
    whatever the choice.

    Small networks gain most when they visit the rows in the same order: hand one ``order_key`` to all of them.

    Args:
      trial: a pure function of arrays, mostly `init`, `set_hyper` and `run`.
      at_once: how many trials form a batch; default None, chosen as above. 1 is one after the other.

    Returns:
      A function of the same positional arguments with a leading axis of trials (pytrees too), which returns the
      trial's results with that axis. It is pure; wrap it in ``jax.jit`` when it is called repeatedly.

    Raises:
      InputError: when called with arguments that have no such axis in common.

    >>> import jax, jax.numpy as jnp, fnn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    >>> def trial(key, rate):
    ...     ts = fnn.set_hyper(fnn.init(task, key, x), learning_rate=rate)
    ...     return fnn.run(task, ts, (x, 3 * x + 1), epochs=2, order_key=jax.random.key(1))
    >>> keys, rates = jax.random.split(jax.random.key(0), 6), jnp.logspace(-3, -1, 6)
    >>> ts, history = jax.jit(fnn.many(trial))(keys, rates)
    >>> ts.params["kernel"].shape, history["loss"].shape
    ((6, 1, 1), (6, 2))
    """
    if not callable(trial):
        fail("many", expected="a function of one trial's arguments", got=describe(trial))
    if at_once is not None:
        check_count("many", "at_once", at_once)

    def mapped(*args: Any) -> Any:
        size = _trials(args)
        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), args)
        # Traced once, here: what is examined is what runs.
        program = traced(trial, *one)
        treedef: Any = jax.tree.structure(program.shapes)
        run_one = partial(program.run, program.consts)

        def flat(leaves: tuple[Any, ...]) -> list[Any]:
            return run_one(*leaves)

        def grouped(most: int) -> Callable[..., list[Any]]:
            return lambda *leaves: _in_groups(flat, leaves, size, most)

        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(args)]
        if at_once is not None:
            return treedef.unflatten(grouped(at_once)(*leaves))
        try:
            on_cpu = cpu_batch(run_one, jax.tree.leaves(one), size)
        except NotImplementedError:  # an operation that has no batched form
            return treedef.unflatten(grouped(1)(*leaves))
        if on_cpu == size:
            results = grouped(size)(*leaves)
        else:
            results = lax.platform_dependent(*leaves, cpu=grouped(on_cpu), default=grouped(size))
        return treedef.unflatten(results)

    return mapped


def _trials(args: tuple[Any, ...]) -> int:
    sizes = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        if not getattr(leaf, "shape", ()):
            where = f"many, argument {jax.tree_util.keystr(path)}"
            hint = "Values that all trials share belong into the function itself."
            fail(where, expected="an array with the trials along its first axis", got=describe(leaf), hint=hint)
        sizes.add(leaf.shape[0])
    if len(sizes) != 1 or 0 in sizes:
        got = f"lengths {sorted(sizes)}" if sizes else "no argument"
        fail("many", expected="arguments with one and the same number of trials, at least 1", got=got)
    return int(sizes.pop())


def _in_groups(trial: Callable[[Any], Any], xs: Any, size: int, most: int) -> Any:
    """`jax.vmap` in groups of nearly equal size; the last group repeats a member rather than being compiled anew."""
    rounds = -(-size // most)
    if rounds == 1:
        return jax.vmap(trial)(xs)
    group = -(-size // rounds)
    if group == 1:
        return lax.map(trial, xs)
    members = jnp.minimum(jnp.arange(rounds * group, dtype=jnp.int32), size - 1)
    split = jax.tree.map(lambda a: a[members].reshape(rounds, group, *a.shape[1:]), xs)
    out = lax.map(jax.vmap(trial), split)
    return jax.tree.map(lambda a: a.reshape(rounds * group, *a.shape[2:])[:size], out)


def cpu_batch(trial: Callable[..., Any], one: list[Any], size: int) -> int:
    """How many members of a trial, given the shapes of its arguments, should form a batch on a CPU, out of ``size``."""
    probe = [jax.ShapeDtypeStruct((_PROBE, *a.shape), a.dtype) for a in one]
    batch = jax.make_jaxpr(jax.vmap(trial))(*probe)
    # Weighted by how often each runs, since the loop over steps decides. What a program does not say in a form that is
    # known here counts nothing, so a program of unknown operations is batched.
    calls, strain = 0.0, 0.0
    carried = made = 0
    for eqn, times in operations(batch, unknown=100.0):
        if (one := product(eqn)) is not None:
            counted, weight = _strain(one)
            calls += times * counted
            strain += times * weight
            if one.kind == "dot":
                made = max(made, sum(map(_bytes, one.arrays)))
        carried = max(carried, sum(map(_bytes, loop_carry(eqn))))
    if strain > calls:
        return 1
    return max(1, min(size, max(8, _CACHE // max(carried + made, 1))))


def _strain(one: Product) -> tuple[int, float]:
    """Whether a product counts, and its operations for one member as a part of those at which a batch breaks even."""
    shapes = [a.shape for a in one.arrays]
    if one.kind == "other conv":
        # JAX's own convolution, of which a batch becomes a grouped one, which is slow whatever its size.
        own = all(any(n % _PROBE == 0 for n in shape) for shape in shapes)
        return int(own), math.inf if own else 0.0
    if one.kind == "conv":
        # Members fold into the batch or the channels of a shared convolution; own ones run one after the other.
        own, batched = one.members, any(n % _PROBE == 0 for shape in shapes for n in shape)
    else:
        owners = sum(_PROBE in shape for shape in shapes)  # of the two operands and the result
        own, batched = owners == 3, owners > 0
    operations_of_one = 2.0 * one.multiply_adds / (_PROBE if batched else 1)
    return 1, operations_of_one / (_OWN_PRODUCT if own else _SHARED_PRODUCT)


def _bytes(a: Any) -> int:
    """Of an array, the share of one member; 0 of what all members have in common."""
    return a.size // _PROBE * getattr(a.dtype, "itemsize", 8) if _PROBE in getattr(a, "shape", ()) else 0
