"""Many trainings in one compiled program, batched where that is faster and one after the other where it is not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .._core.checks import check_count
from .._core.errors import describe, fail
from .._core.jaxprs import traced
from .cost import cpu_batch


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
