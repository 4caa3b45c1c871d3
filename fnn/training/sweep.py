"""Sweeps: many configurations of one training, compiled together, as a table with the best one ready to use."""

from __future__ import annotations

import contextlib
import csv
import difflib
import hashlib
import inspect
import io
import itertools
import os
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_count, check_ending, describe, fail
from .._jaxprs import Traced, traced
from ..optimizers.hyper import in_range
from ..optimizers.rules import get_hyper
from .callbacks import is_rising
from .many import many
from .state import TrainState

Config = dict[str, Any]


class Sweep(NamedTuple):
    """What a sweep found; printed as a table with the best trial first.

    Attributes:
      configs: the configurations, in the order in which they were given; one dict per trial.
      scores: (trials,) the monitored value of each, of the epoch that its state is of.
      histories: a dict per trial, with (epochs,) arrays by name.
      failed: (trials,) whether the monitored value, a loss or a parameter is not finite, or a hyper-parameter of the
        optimizer is out of its range, such as a negative learning rate.
      monitor: what was compared.
      rising: whether more of it is better.
      ts: the state that the best trial returned, None when all failed.
      states: the states of all trials, if ``keep="all"``, else an empty list.
    """

    configs: list[Config]
    scores: np.ndarray
    histories: list[dict[str, np.ndarray]]
    failed: np.ndarray
    monitor: str
    rising: bool
    ts: Any
    states: list[Any]

    @property
    def order(self) -> list[int]:
        """Numbers of the trials, the best first and the failed ones last."""
        return _ranked(self.scores, self.failed, self.rising)

    @property
    def best(self) -> Config:
        """The configuration of the best trial.

        Raises:
          InputError: when every trial failed.
        """
        if self.failed.all():
            fail("sweep", expected="a trial with a finite result", got=f"none of {len(self.configs)}")
        return self.configs[self.order[0]]

    def column(self, name: str) -> list[Any]:
        """An argument or a figure of every trial, in the order of ``configs``.

        Args:
          name: an argument, whose values come as numbers or text that tells them apart; or an entry of the history,
            which gives the value of the epoch that a trial's state is of.

        Raises:
          InputError: for an unknown name.
        """
        if name in self.configs[0]:
            return _labels([config[name] for config in self.configs])
        figures = dict.fromkeys(figure for history in self.histories for figure in history)
        _known("a swept argument or a figure of the history", name, [*self.configs[0], *figures])
        return [_last(history, name) if name in history else float("nan") for history in self.histories]

    def rows(self) -> list[dict[str, Any]]:
        """A dict per trial, the best first: its number, its arguments as plain values, and its last figures."""
        figures = list(dict.fromkeys(figure for history in self.histories for figure in history))
        taken = {"trial", "failed", *figures}
        # An argument may bear the name of a figure, such as loss=["mse", "mae"].
        columns = {f"{name} (argument)" if name in taken else name: self.column(name) for name in self.configs[0]}
        found = []
        for i in self.order:
            shown = {name: column[i] for name, column in columns.items()}
            last = {name: _last(self.histories[i], name) for name in figures if name in self.histories[i]}
            found.append({"trial": i, **shown, **last, "failed": bool(self.failed[i])})
        return found

    def averages(self, *over: str) -> list[dict[str, Any]]:
        """The mean score over some arguments, such as seeds or folds, for each combination of the others.

        Args:
          *over: the arguments to average over.

        Returns:
          A dict per combination of the others' values, the best first: these values, the mean under the name of what
          was monitored, its standard deviation "std", the number of "trials", and how many of them "failed", which are
          left out of the mean. Combinations with a failed trial come after those without.

        Raises:
          InputError: for a name that was not swept.
        """
        for name in over:
            _known("a swept argument", name, self.configs[0])
        columns = {name: self.column(name) for name in self.configs[0] if name not in over}
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i in range(len(self.configs)):
            groups.setdefault(tuple(column[i] for column in columns.values()), []).append(i)
        rows = []
        for values, numbers in groups.items():
            failed = self.failed[numbers]
            good = self.scores[numbers][~failed]
            mean, std = (float(good.mean()), float(good.std())) if len(good) else (float("nan"), float("nan"))
            figures = {self.monitor: mean, "std": std, "trials": len(numbers), "failed": int(failed.sum())}
            rows.append({**dict(zip(columns, values, strict=True)), **figures})
        ranked = _ranked([row[self.monitor] for row in rows], [row["failed"] for row in rows], self.rising)
        return [rows[i] for i in ranked]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `rows` as a CSV file, whole or not at all. Missing folders are made.

        Raises:
          InputError: for a file name with the ending of another kind of file, such as ".xlsx".
        """
        check_ending("to_csv", path, ".csv", ".txt")
        rows = self.rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            part.write_text(text.getvalue(), encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def __repr__(self) -> str:
        rows = self.rows()
        shown = rows[:10]
        names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "failed"]
        cells = [names, *([_cell(row.get(name, "")) for name in names] for row in shown)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells]
        lines[1:] = [line + ("  failed" if row["failed"] else "") for line, row in zip(lines[1:], shown, strict=True)]
        failed = int(self.failed.sum())
        tail = f"{_trials(len(rows))} by {self.monitor}" + (f", {failed} of them failed" if failed else "")
        more = [f"... {len(rows) - len(shown)} more"] if len(rows) > len(shown) else []
        return "\n".join([*lines, *more, tail])


def _ranked(scores: Any, failed: Any, rising: bool) -> list[int]:
    """Numbers in the order of their scores, the best first, then those that failed."""
    scores = np.asarray(scores, float)
    return [int(i) for i in np.lexsort((-scores if rising else scores, np.asarray(failed) > 0))]


def _labels(values: list[Any]) -> list[Any]:
    """Values as numbers or text; what would read the same but differs is numbered."""
    known: dict[Any, dict[Any, int]] = {}
    contents = {id(value): _content(value) for value in values}  # a value of a grid comes many times
    pairs = [(_plain(value), contents[id(value)]) for value in values]
    for label, content in pairs:
        different = known.setdefault(label, {})
        different.setdefault(content, len(different))
    return [label if len(known[label]) == 1 else f"{label} #{known[label][content]}" for label, content in pairs]


def _plain(value: Any) -> Any:
    """A value as a number or short text for a table."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return "key " + " ".join(str(int(word)) for word in jax.random.key_data(value).ravel())
    if np.ndim(value) == 0 and hasattr(value, "dtype"):
        number = np.asarray(value)[()]
        # The decimal number that a float of 32 bits stands for, without the digits that it cannot hold.
        return float(str(number)) if jnp.issubdtype(number.dtype, jnp.floating) else number.item()
    if hasattr(value, "shape"):
        return describe(value)
    return getattr(value, "__name__", None) or (type(value).__name__ if _has_arrays(value) else str(value))


def _content(value: Any) -> Any:
    """What two equal values have in common, hashable."""
    if _has_arrays(value):
        leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(value)]
        return tuple(np.asarray(leaf).tobytes() for leaf in leaves)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _has_arrays(value: Any) -> bool:
    return any(isinstance(leaf, (np.ndarray, jax.Array)) for leaf in jax.tree.leaves(value))


def _last(history: Mapping[str, np.ndarray], name: str) -> float:
    """The value of the epoch that a trial's state is of: the last, if no callback gave back another."""
    values, epoch = history[name], history.get("epoch")
    # What `run` says of callbacks is one number.
    return float(values[int(epoch[0]) if epoch is not None and epoch.size == 1 < values.size else -1])


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
        _known("swept arguments in structural", name, configs[0])
    collected = _Collected(len(configs), monitor, mode, keep)
    with _bar(verbose, len(configs)) as bar:
        for fixed, numbers in _groups(configs, frozenset(structural)):
            _train(trial, configs, fixed, numbers, members, at_once, collected, bar)
    if collected.failed.all():
        warnings.warn(
            f"sweep: {_trials(len(configs))} became non-finite, which is all, so there is no best and ts is None. "
            "The learning rates may be too high; see histories for the epoch.",
            RuntimeWarning,
            stacklevel=2,
        )
    return collected.result(configs)


def _trials(count: int) -> str:
    return f"{count} trial{'s' * (count != 1)}"


def _known(expected: str, name: Any, options: Iterable[str], hint: str = "") -> None:
    """Refuse a name that is not among the options, with the close ones."""
    options = list(options)
    if name not in options:
        close = difflib.get_close_matches(str(name), options, n=3, cutoff=0.5)
        guess = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Known: {', '.join(sorted(options))}."
        fail("sweep", expected=expected, got=repr(name), hint=hint or guess)


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
            _known("arguments that the trial has", name, [p.name for p in parameters])
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
        return not _has_arrays(value)
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
    run, consts, shapes = _trace(one, stacked, configs[numbers[0]])
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

    room = _room()
    size = sum(leaf.size * getattr(leaf.dtype, "itemsize", 8) for leaf in jax.tree.leaves(shapes))
    count = (members or max(1, int(room // max(size, 1)))) if names else 1
    while True:
        count = -(-len(numbers) // -(-len(numbers) // count))  # calls of nearly equal size
        program = _compiled(jax.jit(batch), shared, rows(0, count))
        needed = _needed(program)
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


def _trace(one: Callable[..., Any], stacked: dict[str, Any], config: Config) -> Traced:
    """One trial as a program, and the shapes of its results; if it has none, the arguments to blame are looked for."""
    first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), stacked)
    try:
        return traced(one, first)
    except Exception:
        blamed = _to_blame(one, first, config)
        if not blamed:
            raise
        names = " and ".join(map(repr, blamed))
        hint = f"Pass structural=({', '.join(map(repr, blamed))},): each of its values is then compiled by itself."
        got = f"{names}, which sets shapes or control flow"
        fail("sweep", expected="arguments that can vary within one program", got=got, hint=hint)


def _to_blame(one: Callable[..., Any], first: dict[str, Any], config: Config) -> list[str]:
    """The fewest arguments, if any, without which the others can be traced."""

    def works(fixed: set[str]) -> bool:
        rest = {name: value for name, value in first.items() if name not in fixed}
        try:
            jax.eval_shape(lambda rest: one({**rest, **{name: config[name] for name in fixed}}), rest)
        except Exception:
            return False
        return True

    blamed = set(first)
    if not works(blamed):
        return []
    for name in first:
        if works(blamed - {name}):
            blamed.remove(name)
    return [name for name in first if name in blamed]


def _room() -> float:
    """The bytes that one call may take: half of the memory, on an accelerator of what is free now."""
    device = jax.devices()[0]
    stats = (device.memory_stats() if device.platform != "cpu" else None) or {}
    if "bytes_limit" in stats:
        return 0.5 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")
    with contextlib.suppress(OSError, ValueError):  # a container may have less than its machine
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return 0.5 * total


# The last programs, by what they do: another sweep of as many trials compiles nothing, whatever its values. JAX's own
# caches go by the function, which a notebook's cell makes anew; see docs/performance.md.
_PROGRAMS: OrderedDict[Any, Any] = OrderedDict()
_MOST_PROGRAMS = 16


def _compiled(batch: Any, *args: Any) -> Any:
    """The program, which may have been compiled before."""
    if jax.config.values.get("jax_disable_jit"):  # there is no program then
        return batch
    lowered = batch.lower(*args)
    key = _key(lowered, args)
    if key is None:
        return lowered.compile()
    program = _PROGRAMS.pop(key, None) or lowered.compile()
    _PROGRAMS[key] = program
    while len(_PROGRAMS) > _MOST_PROGRAMS:
        _PROGRAMS.popitem(last=False)
    return program


def _key(lowered: Any, args: Any) -> Any:
    """What is equal for equal programs; None for one that its text does not tell whole."""
    settings: dict[str, Any] | None = getattr(jax.config, "values", None)
    # With this setting arrays may be hidden arguments of a program, whose values are not in its text.
    if settings is None or getattr(jax.config, "jax_use_simplified_jaxpr_constants", True):
        return None
    text = lowered.as_text()
    if "callback" in text:  # it stands there by its number alone, whatever it does
        return None
    # The same text becomes another program on another device, or by other settings; names of arguments and of results
    # are not in it.
    places = tuple((leaf.sharding, leaf.committed) for leaf in jax.tree.leaves(args))
    now = repr([(name, getattr(jax.config, name, value)) for name, value in sorted(settings.items())])
    names = lowered.in_tree, lowered.out_tree
    return hashlib.sha256(text.encode()).digest(), names, jax.devices()[0], places, now


def _needed(program: Any) -> int:
    """The bytes that a compiled program takes for its results and on the way to them, 0 where it does not say."""
    stats = program.memory_analysis() if hasattr(program, "memory_analysis") else None
    return 0 if stats is None else int(stats.temp_size_in_bytes + stats.output_size_in_bytes)


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
        _known("an entry of the history to monitor", self.monitor, history, hint)
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
            score = self.scores[number] = _last(own, str(self.monitor))
            figures = [score, *(_last(own, name) for name in ("loss", "val_loss") if name in own)]
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
