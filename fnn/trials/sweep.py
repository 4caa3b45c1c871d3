"""Sweeps: many configurations of one training, compiled together, as a table with the best one ready to use."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count
from .._core.errors import describe, fail
from .._core.warn import warn
from ..optimizers.base import get_hyper
from ..optimizers.hyper import in_range
from ..training.state import TrainState
from ..training.stopping import is_rising
from .many import many
from .programs import bytes_available, bytes_needed, compile_program, trace_trial
from .results import Config, Sweep, check_known, has_arrays, last_value, trials_text


def sweep(
    trial: Callable[..., tuple[Any, Mapping[str, Any]]],
    space: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    structural: Sequence[str] = (),
    monitor: str | None = None,
    mode: str | None = None,
    keep: str = "best",
    members: int | None = None,
    at_once: int | None = None,
    verbose: int = 1,
) -> Sweep:
    """Train many configurations, in as few compiled programs as their shapes allow.

    Args:
      trial: a pure function of keyword arguments, ``trial(key, rate) -> (ts, history)``, mostly `init`, `set_hyper`
        and `run`.
      space: a dict from argument names to the values to try, of which all combinations are trained; or a list of
        dicts, one per trial. Values are numbers, arrays of one shape (PRNG keys), pytrees of such arrays (the folds of
        `fnn.data.folds`), or, for structural arguments, anything hashable.
      structural: arguments that set shapes or control flow, such as widths, numbers of layers or batch sizes: trials
        with equal ones form a group, which is compiled once. Text, functions, tuples, None and booleans always do.
      monitor: the entry of the history that is compared; default "val_loss" if there is one, else "loss".
      mode: "min" or "max"; the names of the library's losses and metrics have a default, see `early_stopping`.
      keep: "best" keeps the state of the best trial alone, "all" those of all trials.
      members: how many trials one call of the compiled program trains, at most; by default as many as, by what the
        compiled program says of itself, take half of the device's memory. A bar moves with each call.
      at_once: how many of them form one batch; see `many`, which chooses by default.
      verbose: 0 is silent, 1 shows a bar.

    Returns:
      A `Sweep`. A trial whose monitored value, loss or parameters are not finite at the end is marked as failed and
      does not touch the others. When all failed, there is a warning, and no state.

    Raises:
      InputError: for an empty space, arguments that the trial does not have or that are missing, values of one
        argument that differ in shape, an argument that would have to be structural, a history without the
        monitored value, or a monitored value of which it is not known whether more is better.

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
        is_rising("sweep", monitor or "loss", mode)
    structural = (structural,) if isinstance(structural, str) else tuple(structural)
    for name in structural:
        check_known("swept arguments in structural", name, configs[0])
    collected = _Collected(len(configs), monitor, mode, keep)
    with _bar(verbose, len(configs)) as bar:
        for fixed, numbers in _groups(configs, frozenset(structural)):
            _train(trial, configs, fixed, numbers, members, at_once, collected, bar)
    if collected.failed.all():
        warn(
            f"sweep: {trials_text(len(configs))} became non-finite, which is all, so there is no best and ts is None. "
            "The learning rates may be too high; see histories for the epoch."
        )
    return collected.result(configs)


def _configs(trial: Callable[..., Any], space: Any) -> list[Config]:
    """The configurations of a space, each checked against the arguments of the trial."""
    if not callable(trial):
        fail("sweep", expected="a function of one trial's arguments", got=describe(trial))
    if isinstance(space, Mapping):
        listed = {name: _listed(name, values) for name, values in space.items()}
        configs = [dict(zip(listed, values, strict=True)) for values in itertools.product(*listed.values())]
        if not space:
            configs = []
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


def _listed(name: str, values: Any) -> list[Any]:
    """The values of an argument; what is one value itself is refused."""
    one = isinstance(values, (str, Mapping)) or hasattr(values, "_fields") or getattr(values, "shape", None) == ()
    if one or not isinstance(values, Iterable):
        fail("sweep", expected=f"a list of values for {name!r}", got=repr(values), hint=f"Pass [{values!r}].")
    return list(values)


def _is_structural(value: Any) -> bool:
    if isinstance(value, tuple):
        return not has_arrays(value)
    return isinstance(value, (str, bool, type(None))) or callable(value)


def _groups(configs: list[Config], structural: frozenset[str]) -> Iterator[tuple[Config, list[int]]]:
    """Equal structural arguments, with the numbers of the trials that have them."""
    names = [name for name in configs[0] if name in structural or any(_is_structural(c[name]) for c in configs)]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, config in enumerate(configs):
        groups.setdefault(tuple(_identity(name, config[name]) for name in names), []).append(i)
    for numbers in groups.values():
        yield {name: configs[numbers[0]][name] for name in names}, numbers


def _identity(name: str, value: Any) -> Any:
    """What is equal for equal structural values; a function that cannot be hashed is itself alone."""
    try:
        hash(value)
    except TypeError:
        if callable(value):
            return id(value)
        hint = "Pass tuples in the place of lists." if isinstance(value, list) else ""
        fail("sweep", expected=f"hashable structural arguments for {name!r}", got=repr(value)[:80], hint=hint)
    return value


def _train(
    trial: Callable[..., Any],
    configs: list[Config],
    fixed: Config,
    numbers: list[int],
    members: int | None,
    at_once: int | None,
    collected: _Collected,
    bar: Any,
) -> None:
    """Trials of one structure, so many per call of one compiled program."""
    names = [name for name in configs[0] if name not in fixed]

    def one(traced: dict[str, Any]) -> tuple[Any, dict[str, Any], Any]:
        out = trial(**traced, **fixed)
        if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], Mapping)):
            fail("sweep", expected="a trial that returns (ts, history), as fnn.run does", got=describe(out))
        return out[0], dict(out[1]), _is_finite(out[0])

    stacked = {name: _stack(name, [configs[i][name] for i in numbers]) for name in names}
    run, consts, shapes = trace_trial(one, stacked, configs[numbers[0]])
    collected.check(shapes[1])
    # Arrays that the trial closes over, such as the data, are handed to the program; else they would become part of it.
    shared = [jnp.asarray(array) for array in consts]
    treedef: Any = jax.tree.structure(shapes)

    def batch(shared: list[Any], stacked: dict[str, Any]) -> Any:
        if not stacked:  # nothing to batch
            leaves = [leaf[None] for leaf in run(shared)]
        else:
            leaves = many(lambda one: run(shared, *jax.tree.leaves(one)), at_once=at_once)(stacked)
        return treedef.unflatten(leaves)

    def rows(start: int, count: int) -> dict[str, Any]:
        # The last call repeats a trial, so that it needs no program of its own.
        places = np.minimum(np.arange(start, start + count), len(numbers) - 1)
        return jax.tree.map(lambda a: a[places], stacked)

    room = bytes_available()
    size = sum(leaf.size * getattr(leaf.dtype, "itemsize", 8) for leaf in jax.tree.leaves(shapes))
    count = (members or max(1, int(room // max(size, 1)))) if names else 1
    while True:
        count = -(-len(numbers) // -(-len(numbers) // count))  # calls of nearly equal size
        program = compile_program(jax.jit(batch), shared, rows(0, count))
        needed = bytes_needed(program)
        if members is not None or count == 1 or needed <= room:
            break
        count = max(1, min(count // 2, int(count * room / needed)))
    for start in range(0, len(numbers), count):
        collected.add(numbers[start : start + count], *program(shared, rows(start, count)))
        bar.update(len(numbers[start : start + count]))


def _is_finite(ts: Any) -> Any:
    """Whether all parameters are finite, traced."""
    leaves = jax.tree.leaves(ts.params) if isinstance(ts, TrainState) else []
    finite = [jnp.isfinite(leaf).all() for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack(finite).all() if finite else jnp.bool_(True)


def _stack(name: str, values: list[Any]) -> Any:
    """The values of an argument along a new first axis, leaf by leaf."""
    structures: set[Any] = {jax.tree.structure(value) for value in values}
    if len(structures) > 1:
        got = " and ".join(sorted({type(value).__name__ for value in values}))
        fail("sweep", expected=f"values of {name!r} of one structure", got=got, hint="Or name it in structural.")
    leaves = zip(*(jax.tree.leaves(value) for value in values), strict=True)
    return structures.pop().unflatten([_stack_leaf(name, list(column)) for column in leaves])


def _stack_leaf(name: str, values: list[Any]) -> Any:
    arrays = [value if isinstance(value, jax.Array) else np.asarray(value) for value in values]
    if len({a.shape for a in arrays}) > 1:
        hint = "Values of one argument share a shape; pad them, or name it in structural."
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


class _Collected:
    """Results of trials as they come, with the best state so far."""

    def __init__(self, size: int, monitor: str | None, mode: str | None, keep: str) -> None:
        self.scores, self.failed = np.full(size, np.nan), np.ones(size, bool)
        self.histories: list[dict[str, np.ndarray]] = [{} for _ in range(size)]
        self.states: list[Any] = [None] * size
        self.monitor, self.mode, self.keep, self.best, self.ts = monitor, mode, keep, np.inf, None
        self.rising = False

    def check(self, history: Mapping[str, Any]) -> None:
        """Refuse a history without the monitored value, before anything is trained."""
        if self.monitor is None:
            self.monitor = "val_loss" if "val_loss" in history else "loss"
        # As in early_stopping.
        validated = any(name.startswith("val_") for name in history)
        hint = "Pass validation_data to fnn.run." if self.monitor.startswith("val_") and not validated else ""
        check_known("an entry of the history to monitor", self.monitor, history, hint)
        self.rising = is_rising("sweep", self.monitor, self.mode)

    def add(self, part: list[int], states: Any, history: Mapping[str, Any], finite: Any) -> None:
        """Take over what a call returned for the trials of these numbers; there may be more rows than trials."""
        history, finite, hyper = jax.device_get((dict(history), finite, get_hyper(states)))
        # Within a program hyper-parameters have no values that could be refused.
        finite = np.asarray(finite) & in_range(hyper, len(finite))
        sign = -1.0 if self.rising else 1.0
        best = None
        for row, number in enumerate(part):
            own = self.histories[number] = {name: np.atleast_1d(values[row]) for name, values in history.items()}
            score = self.scores[number] = last_value(own, str(self.monitor))
            figures = [score, *(last_value(own, name) for name in ("loss", "val_loss") if name in own)]
            self.failed[number] = not (finite[row] and np.isfinite(figures).all())
            if not self.failed[number] and sign * score < self.best:
                self.best, best = sign * score, row
        if best is not None:
            self.ts = jax.tree.map(lambda a: a[best], states)
        if self.keep == "all":
            for row, number in enumerate(part):
                self.states[number] = jax.tree.map(lambda a, row=row: a[row], states)

    def result(self, configs: list[Config]) -> Sweep:
        states = self.states if self.keep == "all" else []
        return Sweep(configs, self.scores, self.histories, self.failed, str(self.monitor), self.rising, self.ts, states)
