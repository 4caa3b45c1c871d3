"""Sweeps: many configurations of one training, compiled together."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .._core.checks import check_count
from .._core.errors import counted, describe, fail, kind_of
from .._core.sharding import on_every_device, one_device_each, parse_trial_devices
from .._core.trees import all_finite, rows_at
from .._core.typed import jit
from .._core.types import Array, PyTree
from .._core.warn import warn
from ..optimizers.base import get_hyper
from ..optimizers.hyper import in_range
from ..training.state import TrainState
from ..training.stopping import is_rising, known_rising
from .many import many
from .programs import Program, bytes_available, bytes_needed, compile_program, trace_trial
from .results import Config, Sweep, check_known, has_arrays, last_value

Trial = Callable[..., tuple[PyTree, Mapping[str, Array]]]


def sweep(
    trial: Trial,
    space: Mapping[str, Iterable[object]] | Sequence[Mapping[str, object]],
    *,
    structural: Sequence[str] = (),
    monitor: str | None = None,
    mode: str | None = None,
    keep: str = "best",
    members: int | None = None,
    at_once: int | None = None,
    verbose: int = 1,
    mesh: Mesh | None = None,
) -> Sweep:
    """Train many configurations, in as few compiled programs as their shapes allow.

    Args:
      trial: a pure function of keyword arguments, ``trial(key, rate) -> (ts, history)``, typically `init`, `set_hyper`
        and `run`.
      space: a dict from argument names to the values to try, which trains all combinations; or a list of dicts, one
        per trial. Values are numbers, arrays of one shape (PRNG keys), pytrees of such arrays (the folds of
        `fnn.data.folds`), or, for structural arguments, anything hashable.
      structural: arguments that set shapes or control flow, such as widths, numbers of layers or batch sizes. Trials
        with equal ones form a group, which is compiled once. Strings, functions, tuples, None and booleans are always
        structural.
      monitor: the entry of the history to compare; default "val_loss" if there is one, else "loss".
      mode: "min" or "max"; the names of the library's losses and metrics have a default, see `early_stopping`.
      keep: "best" keeps only the state of the best trial, "all" those of all trials.
      members: the most trials that one call of the compiled program trains; by default as many as need half of the
        device's memory, as reported by the compiled program. The bar moves with each call.
      at_once: the number of trials per batch within a call; see `many`, which chooses by default.
      verbose: 0 is silent, 1 shows a bar.
      mesh: devices that the trials of each call are divided over; default one device.

    Returns:
      A `Sweep`. A trial whose monitored value, loss or parameters are not finite at the end is marked as failed; the
      others are unaffected. If all fail, there is a warning and no state.

    Raises:
      InputError: for an empty space, unknown or missing arguments, values of one argument that differ in shape, an
        argument that must be structural, a history without the monitored value, or a monitored value that needs a
        ``mode``.

    >>> import jax, jax.numpy as jnp, fnn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd())
    >>> def trial(seed, rate):
    ...     ts = fnn.set_hyper(fnn.init(task, jax.random.key(seed), x), learning_rate=rate)
    ...     return fnn.run(task, ts, (x, 3 * x + 1), epochs=10)
    >>> found = fnn.sweep(trial, {"seed": [0, 1], "rate": [0.001, 0.1, 1e9]}, verbose=0)
    >>> found.best["rate"], found.scores.shape, int(found.failed.sum())
    (0.1, (6,), 2)
    """
    configs = _configs(trial, space)
    if keep not in ("best", "all"):
        fail("sweep", expected="keep 'best' or 'all'", got=repr(keep))
    if members is not None:
        check_count("sweep", "members", members)
    if monitor is not None or mode is not None:
        known_rising("sweep", monitor or "loss", mode)
    structural = (structural,) if isinstance(structural, str) else tuple(structural)
    for name in structural:
        check_known("swept arguments in structural", name, configs[0])
    size = len(configs)
    states: list[PyTree] = [None] * size if keep == "all" else []
    found = Sweep(configs, np.full(size, np.nan), [{}] * size, np.ones(size, bool), monitor or "", False, None, states)
    with _bar(verbose, size) as bar:
        for group in _groups(configs, structural):
            found, count, train = _program_of(trial, group, found, mode, members, at_once, mesh)
            for start in range(0, len(group.indices), count):
                part = group.indices[start : start + count]
                found = _added(found, part, *train(start))
                bar.update(len(part))
    if found.failed.all():
        warn(
            f"sweep: {counted(size, 'trial')} became non-finite and none remains, so ts is None. "
            "The learning rates may be too high; see histories for the epoch."
        )
    return found


def _configs(trial: Trial, space: object) -> list[Config]:
    """The arguments of all trials, checked against the signature of the trial."""
    if not callable(trial):
        fail("sweep", expected="a function of one trial's arguments", got=describe(trial))
    if isinstance(space, Mapping):
        listed = {name: _listed(name, values) for name, values in space.items()}
        configs = [dict(zip(listed, values, strict=True)) for values in itertools.product(*listed.values())]
    elif isinstance(space, Sequence) and all(isinstance(config, Mapping) for config in space):
        configs = [dict(config) for config in space]
    else:
        fail("sweep", expected="a dict of lists of values, or a list of dicts, one per trial", got=repr(space)[:80])
    if not configs or not configs[0]:
        fail("sweep", expected="at least one value for each argument", got="an empty space")
    if len({frozenset(config) for config in configs}) > 1:
        fail("sweep", expected="trials with the same arguments", got=str([sorted(config) for config in configs[:3]]))
    parameters = inspect.signature(trial).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in configs[0]:
            check_known("arguments that the trial has", name, [p.name for p in parameters])
    needed = {p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    if needed - configs[0].keys():
        fail("sweep", expected=f"values for {sorted(needed)}", got=f"none for {sorted(needed - configs[0].keys())}")
    return configs


def _listed(name: str, values: object) -> list[object]:
    """The values of an argument; a single value is refused."""
    one = isinstance(values, (str, Mapping)) or hasattr(values, "_fields") or getattr(values, "shape", None) == ()
    if one or not isinstance(values, Iterable):
        fail("sweep", expected=f"a list of values for {name!r}", got=repr(values), hint=f"Pass [{values!r}].")
    return list(values)


class _Group(NamedTuple):
    """Trials with equal structural arguments, which share a compiled program."""

    fixed: Config  # the structural arguments
    configs: list[Config]  # all arguments of each trial
    indices: list[int]  # of the trials in the sweep


def _groups(configs: list[Config], structural: tuple[str, ...]) -> Iterator[_Group]:
    names = [name for name in configs[0] if name in structural or any(_is_structural(c[name]) for c in configs)]
    groups: dict[tuple[Hashable, ...], list[int]] = {}
    for i, config in enumerate(configs):
        groups.setdefault(tuple(_identity(name, config[name]) for name in names), []).append(i)
    for indices in groups.values():
        yield _Group({name: configs[indices[0]][name] for name in names}, [configs[i] for i in indices], indices)


def _is_structural(value: object) -> bool:
    if isinstance(value, tuple):
        return not has_arrays(value)
    return isinstance(value, (str, bool, type(None))) or callable(value)


def _identity(name: str, value: object) -> Hashable:
    """Equal for equal structural values; a function that cannot be hashed equals only itself."""
    try:
        hash(value)
    except TypeError:
        if callable(value):
            return id(value)
        hint = "Pass tuples instead of lists." if isinstance(value, list) else ""
        fail("sweep", expected=f"hashable structural arguments for {name!r}", got=repr(value)[:80], hint=hint)
    return value


def _program_of(
    trial: Trial,
    group: _Group,
    found: Sweep,
    mode: str | None,
    members: int | None,
    at_once: int | None,
    mesh: Mesh | None,
) -> tuple[Sweep, int, Callable[[int], PyTree]]:
    """The program of a group: the number of trials per call, and ``train(start)``, which trains as many from there on.

    Also returns `found` with its monitor set.
    """

    def one(varied: Config) -> tuple[PyTree, dict[str, Array], Array]:
        out = trial(**varied, **group.fixed)
        if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], Mapping)):
            fail("sweep", expected="a trial that returns (ts, history), as fnn.run does", got=describe(out))
        return out[0], dict(out[1]), all_finite(out[0].params if isinstance(out[0], TrainState) else ())

    names = [name for name in group.configs[0] if name not in group.fixed]
    stacked = {name: _stack(name, [config[name] for config in group.configs]) for name in names}
    placement = parse_trial_devices(mesh)
    with one_device_each(placement):
        run, consts, shapes = trace_trial(one, stacked, group.configs[0])
    found = _monitoring(found, shapes[1], mode)
    # Arrays that the trial closes over, such as the data, become arguments; otherwise the program would contain them.
    shared = on_every_device(placement, [jnp.asarray(array) for array in consts])

    @jit
    def batch(shared: list[Array], stacked: Config) -> PyTree:
        if not stacked:  # nothing to batch
            leaves = [leaf[None] for leaf in run(shared)]
        else:
            leaves = many(lambda one: run(shared, *jax.tree.leaves(one)), at_once=at_once, mesh=mesh)(stacked)
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

    size = len(group.indices)

    def arguments(start: int, count: int) -> tuple[list[Array], Config]:
        # The last call repeats a trial, so that it needs no other program.
        rows = rows_at(stacked, np.minimum(np.arange(start, start + count), size - 1))
        return shared, on_every_device(placement, rows)

    each = sum(leaf.size * getattr(leaf.dtype, "itemsize", 8) for leaf in jax.tree.leaves(shapes))
    devices = 1 if placement is None else placement.row_devices
    count, program = _fitting(
        lambda count: compile_program(batch, *arguments(0, count)), size, each / devices, members if names else 1
    )
    return found, count, lambda start: program(*arguments(start, count))


def _fitting(make: Callable[[int], Program], trials: int, each: float, members: int | None) -> tuple[int, Program]:
    """The number of trials per call, ``members`` or as many as fit into memory, and the program for it.

    ``make`` compiles the program for a number of trials; the results of a trial have ``each`` bytes
    on a device.
    """
    room = bytes_available()
    count = members or max(1, int(room // max(each, 1)))
    while True:
        count = -(-trials // -(-trials // count))  # calls of nearly equal size
        program = make(count)
        needed = bytes_needed(program)
        if members is not None or count == 1 or needed <= room:
            return count, program
        count = max(1, min(count // 2, int(count * room / needed)))


def _stack(name: str, values: list[PyTree]) -> PyTree:
    """The values of an argument along a new first axis, leaf by leaf."""
    structures = {jax.tree.structure(value) for value in values}
    if len(structures) > 1:
        got = " and ".join(sorted({kind_of(value) for value in values}))
        fail("sweep", expected=f"values of {name!r} of one structure", got=got, hint="Or name it in structural.")
    return jax.tree.map(lambda *leaves: _stack_leaf(name, leaves), *values)


def _stack_leaf(name: str, values: tuple[PyTree, ...]) -> Array:
    arrays = [value if isinstance(value, jax.Array) else np.asarray(value) for value in values]
    if len({a.shape for a in arrays}) > 1:
        hint = "Pad them to one shape, or name the argument in structural."
        got = str(sorted({a.shape for a in arrays}))
        fail("sweep", expected=f"values of {name!r} of one shape", got=got, hint=hint)
    if not all(isinstance(a, jax.Array) or jnp.issubdtype(a.dtype, np.number) or a.dtype == bool for a in arrays):
        hint = "Or name it in structural."
        fail("sweep", expected=f"numbers or arrays for {name!r}", got=describe(arrays[0]), hint=hint)
    if any(isinstance(a, jax.Array) for a in arrays):
        return jnp.stack([jnp.asarray(a) for a in arrays])
    # A list such as [1, 0.5] holds floats, whatever its first value.
    together = np.stack(arrays)
    stacked = jnp.asarray(together)
    if together.dtype.kind in "iu" and not np.array_equal(stacked, together):
        least, most = together.min(), together.max()
        fail("sweep", expected=f"integers for {name!r} that {stacked.dtype} holds", got=f"{least} to {most}")
    return stacked


def _bar(verbose: int, total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="sweep", unit="trial", file=sys.stdout, disable=verbose == 0)


def _monitoring(found: Sweep, history: Mapping[str, PyTree], mode: str | None) -> Sweep:
    """The results with the monitored value; a history without it is refused before anything is trained."""
    monitor = found.monitor or ("val_loss" if "val_loss" in history else "loss")
    # As in early_stopping.
    validated = any(name.startswith("val_") for name in history)
    hint = "Pass validation_data to fnn.run." if monitor.startswith("val_") and not validated else ""
    check_known("an entry of the history to monitor", monitor, history, hint)
    return dataclasses.replace(found, monitor=monitor, rising=is_rising("sweep", monitor, mode, history))


def _added(found: Sweep, indices: list[int], states: PyTree, history: Mapping[str, Array], finite: Array) -> Sweep:
    """The results with those of these trials, which are the first rows of a call's."""
    history, good, hyper = jax.device_get((dict(history), finite, get_hyper(states)))
    # Hyper-parameters have no values inside the program, so they are checked here.
    good = good & in_range(hyper, len(good))
    for row, i in enumerate(indices):
        own = found.histories[i] = {name: np.atleast_1d(values[row]) for name, values in history.items()}
        score = found.scores[i] = last_value(own, found.monitor)
        figures = [score, *(last_value(own, name) for name in ("loss", "val_loss") if name in own)]
        found.failed[i] = not (good[row] and np.isfinite(figures).all())
        if found.states:
            found.states[i] = rows_at(states, row)
    best = found.order[0]
    if found.failed[best] or best not in indices:
        return found
    return dataclasses.replace(found, ts=rows_at(states, indices.index(best)))
