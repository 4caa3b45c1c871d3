"""Many trainings in one compiled program, as a batch or one after the other, whichever is faster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from .._core.checks import check_count
from .._core.errors import describe, fail, noted
from .._core.jaxprs import traced
from .._core.sharding import Placement, check_outside, on_every_device, one_device_each, parse_trial_devices, put
from .._core.typed import tree_map
from .._core.types import Array, PyTree
from .cost import cpu_batch, shape_of_one

T = TypeVar("T")


def many(trial: Callable[..., T], *, at_once: int | None = None, mesh: Mesh | None = None) -> Callable[..., T]:
    """``jax.vmap(trial)``, or one trial after the other where that is faster: many trainings in one compiled program.

    On a GPU or TPU all trials run as one batch. On a CPU, trials with small matrix products run in batches that fit the
    cache; trials with large ones run one after the other in a compiled loop. The choice depends only on the traced
    program, so equal calls make equal choices; results agree to floating-point tolerance either way.

    Small networks gain most if they visit the rows in the same order: pass one ``order_key`` to all of them.

    Args:
      trial: a pure function of arrays, typically `init`, `set_hyper` and `run`.
      at_once: the number of trials per batch; default None, chosen as above. 1 runs them one after the other.
      mesh: devices that the trials are divided over, each with equally many but for the last; default one device.
        They need no communication.

    Returns:
      A function of the same positional arguments with a leading axis of trials (pytrees too), which returns the
      trial's results with that axis. It is pure; wrap it in ``jax.jit`` if you call it repeatedly.

    Raises:
      InputError: when called with arguments that do not share such an axis.

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

    placement = parse_trial_devices(mesh)

    def mapped(*args: PyTree) -> T:
        trials, one = _trial_count(args), shape_of_one(args)
        size = trials if placement is None else -(-trials // placement.row_devices)  # on each device
        if placement is not None:
            check_outside()
        with noted("the trial"), one_device_each(placement):
            program = traced(trial, *one)  # once, so that the program examined is the one that runs
        run_one = partial(program.run, on_every_device(placement, program.consts))

        def grouped(most: int) -> Callable[..., list[Array]]:
            return lambda *leaves: _in_groups(lambda leaves: run_one(*leaves), leaves, size, most)

        on_cpu = elsewhere = size if at_once is None else at_once
        if at_once is None:
            try:
                on_cpu = cpu_batch(run_one, jax.tree.leaves(one), size)
            except NotImplementedError:  # an operation that cannot be batched
                on_cpu = elsewhere = 1
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(args)]

        def run_all(*leaves: Array) -> list[Array]:
            if on_cpu == elsewhere:
                return grouped(on_cpu)(*leaves)
            out: list[Array] = lax.platform_dependent(*leaves, cpu=grouped(on_cpu), default=grouped(elsewhere))
            return out

        results = run_all(*leaves) if placement is None else _on_mesh(run_all, leaves, trials, placement)
        out: T = jax.tree.unflatten(jax.tree.structure(program.shapes), results)
        return out

    return mapped


def _on_mesh(
    run_all: Callable[..., list[Array]], leaves: list[Array], trials: int, placement: Placement
) -> list[Array]:
    """The results of trials that are divided over devices; the last trial is repeated where they do not divide."""
    count = placement.row_devices
    members = np.minimum(np.arange(-(-trials // count) * count), trials - 1)
    place = placement.sharding(placement.rows)
    padded = put([leaf[members] for leaf in leaves], place)
    run = jax.shard_map(run_all, mesh=placement.mesh, in_specs=place.spec, out_specs=place.spec, check_vma=False)
    return [leaf[:trials] for leaf in jax.jit(run)(*padded)]


def _trial_count(args: tuple[PyTree, ...]) -> int:
    sizes = set[int]()
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        if not getattr(leaf, "shape", ()):
            where = f"many, argument {jax.tree_util.keystr(path)}"
            hint = "Values that all trials share belong in the function, as in lambda key: fnn.run(task, ...)."
            fail(where, expected="an array with the trials along its first axis", got=describe(leaf), hint=hint)
        sizes.add(leaf.shape[0])
    if len(sizes) != 1 or 0 in sizes:
        got = f"lengths {sorted(sizes)}" if sizes else "no argument"
        fail("many", expected="arguments with the same number of trials, at least 1", got=got)
    return sizes.pop()


def _in_groups(trial: Callable[..., list[Array]], xs: tuple[Array, ...], size: int, most: int) -> list[Array]:
    """`jax.vmap` in groups of nearly equal size; the last one repeats a trial, so that it needs no other program."""
    rounds = -(-size // most)
    if rounds == 1:
        return jax.vmap(trial)(xs)
    group = -(-size // rounds)
    out: list[Array]
    if group == 1:
        out = lax.map(trial, xs)
        return out
    members = jnp.minimum(jnp.arange(rounds * group, dtype=jnp.int32), size - 1)
    split = jax.tree.map(lambda a: a[members].reshape(rounds, group, *a.shape[1:]), xs)
    out = lax.map(jax.vmap(trial), split)
    return tree_map(lambda a: a.reshape(rounds * group, *a.shape[2:])[:size], out)
