"""Many trainings in one compiled program, batched where that is faster and one after the other where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
from jax import lax

from .._checks import check_count, describe, fail
from ..nn.conv import OPERANDS

# On a CPU a product of small matrices costs little more than the call, which a batch of members shares; a product of
# large ones runs at full speed for one member, and at about half of it in a batch. They break even at about this
# many operations per product (see docs/performance.md).
_SMALL_PRODUCT = 2e6
# What the members of a batch carry from step to step should stay in a core's cache, in bytes.
_CACHE = 2 * 2**20


def many(trial: Callable[..., Any], *, at_once: int | None = None) -> Callable[..., Any]:
    """``jax.vmap(trial)``, but never slower than one trial after the other: many trainings in one compiled program.

    On a GPU or TPU all trials run as one batch. On a CPU they run in batches of as many members as fit its cache if
    the trial's matrix products are small, and one after the other in a compiled loop if they are large. The choice is
    made from the traced program, so equal calls make equal choices; the results agree to floating-point tolerance
    whatever the choice.

    Small networks gain most when they visit the rows in the same order: hand one ``order_key`` to all of them.

    Args:
      trial: a pure function of arrays, mostly `init`, `set_hyper` and `run`.
      at_once: how many trials form a batch; default None, chosen as above. 1 is one after the other.

    Returns:
      A function of the same arguments with a leading axis of trials (pytrees too), which returns the trial's results
      with that axis. It is pure; wrap it in ``jax.jit`` when it is called repeatedly.

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
        closed, out = jax.make_jaxpr(trial, return_shape=True)(*one)
        treedef: Any = jax.tree.structure(out)
        run_one = jax.extend.core.jaxpr_as_fun(closed)

        def flat(leaves: tuple[Any, ...]) -> list[Any]:
            return run_one(*leaves)

        def grouped(most: int) -> Callable[..., list[Any]]:
            return lambda *leaves: _in_groups(flat, leaves, size, most)

        leaves = jax.tree.leaves(args)
        if at_once is not None:
            results = grouped(at_once)(*leaves)
        else:
            on_cpu = cpu_batch(closed, size)
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


def cpu_batch(trial: Any, size: int) -> int:
    """How many members of a traced trial should form a batch on a CPU, out of ``size``."""
    products = list(_products(trial.jaxpr, 1.0))
    # Weighted by how often each runs, since the loop over steps decides.
    calls = sum(count for count, _ in products)
    work = sum(count * operations for count, operations in products)
    if calls and work / calls > _SMALL_PRODUCT:
        return 1
    carried = max(_carried(trial.jaxpr), default=0)
    return max(1, min(size, max(8, _CACHE // max(carried, 1))))


def _inner(eqn: Any) -> Iterator[tuple[Any, float]]:
    """The programs inside an operation, and how often each runs (an unknown number of rounds counts as 100)."""
    for name, value in eqn.params.items():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            jaxpr = getattr(item, "jaxpr", item)
            if hasattr(jaxpr, "eqns"):
                rounds = {"scan": eqn.params.get("length", 1), "while": 100 if name == "body_jaxpr" else 1}
                yield jaxpr, float(rounds.get(eqn.primitive.name, 1))


def _products(jaxpr: Any, times: float) -> Iterator[tuple[float, float]]:
    """How often each matrix product or convolution runs, and its operations."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            length = math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
            yield times, 2.0 * length * eqn.outvars[0].aval.size
        elif eqn.primitive.name == "fnn_conv":
            result = eqn.params["result"]
            arrays = dict(zip([*OPERANDS[result], result], [*eqn.invars, *eqn.outvars], strict=True))
            taps = math.prod(eqn.params["geometry"].window)
            yield times, 2.0 * arrays["y"].aval.size * taps * arrays["k"].aval.shape[-2]
        for inner, rounds in _inner(eqn):
            yield from _products(inner, times * rounds)


def _carried(jaxpr: Any) -> Iterator[int]:
    """Bytes that each loop carries from round to round."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("scan", "while"):
            skip = eqn.params["num_consts"] if "num_consts" in eqn.params else eqn.params["cond_nconsts"]
            skip += eqn.params.get("body_nconsts", 0)
            end = skip + eqn.params["num_carry"] if "num_carry" in eqn.params else None
            yield sum(v.aval.size * getattr(v.aval.dtype, "itemsize", 8) for v in eqn.invars[skip:end])
        for inner, _ in _inner(eqn):
            yield from _carried(inner)
