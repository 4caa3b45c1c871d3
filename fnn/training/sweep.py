"""Sweeps: many configurations of one training, compiled together, as a table with the best one ready to use."""

from __future__ import annotations

import csv
import inspect
import io
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import InputError, check_count, describe, fail, lookup
from .callbacks import is_rising
from .many import many

Config = dict[str, Any]


class Sweep(NamedTuple):
    """What a sweep found; printed as a table with the best trial first.

    Attributes:
      configs: the configurations, in the order in which they were given; one dict per trial.
      scores: (trials,) the monitored value of each, of the epoch that its state is of.
      histories: a dict per trial, with (epochs,) arrays by name.
      failed: (trials,) whether a score is not finite.
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
        keys = np.where(self.failed, np.inf, -self.scores if self.rising else self.scores)
        return [int(i) for i in np.argsort(keys, kind="stable")]

    @property
    def best(self) -> Config:
        """The configuration of the best trial.

        Raises:
          InputError: when every trial failed.
        """
        if self.failed.all():
            fail("sweep", expected="a trial with a finite result", got=f"none of {len(self.configs)}")
        return self.configs[self.order[0]]

    def rows(self) -> list[dict[str, Any]]:
        """A dict per trial, the best first: its number, its configuration as plain values, and its last figures."""
        found = []
        for i in self.order:
            last = {name: _last(self.histories[i], name) for name in self.histories[i]}
            shown = {name: _plain(value) for name, value in self.configs[i].items()}
            found.append({"trial": i, **shown, **last, "failed": bool(self.failed[i])})
        return found

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `rows` as a CSV file, whole or not at all."""
        rows = self.rows()
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = Path(path)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as file:
            file.write(text.getvalue())
        os.replace(file.name, path)

    def __repr__(self) -> str:
        rows = self.rows()
        shown = rows[:10]
        names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "failed"]
        cells = [names, *([_cell(row.get(name, "")) for name in names] for row in shown)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells]
        lines[1:] = [line + ("  failed" if row["failed"] else "") for line, row in zip(lines[1:], shown, strict=True)]
        failed = int(self.failed.sum())
        tail = f"{len(rows)} trials by {self.monitor}" + (f", {failed} of them failed" if failed else "")
        more = [f"... {len(rows) - len(shown)} more"] if len(rows) > len(shown) else []
        return "\n".join([*lines, *more, tail])


def _plain(value: Any) -> Any:
    """A value as a number or short text for a table."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return "key " + " ".join(str(int(word)) for word in jax.random.key_data(value).ravel())
    if np.ndim(value) == 0 and hasattr(value, "dtype"):
        return np.asarray(value).item()
    if hasattr(value, "shape"):
        return describe(value)
    return getattr(value, "__name__", None) or str(value)


def _last(history: Mapping[str, np.ndarray], name: str) -> float:
    """The value of the epoch that a trial's state is of: the last, if no callback gave back another."""
    return float(history[name][int(history["epoch"][0]) if "epoch" in history and name != "epoch" else -1])


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
        dicts, one per trial. Values are numbers, arrays of one shape (PRNG keys, index sets of data folds), or, for
        structural arguments, anything hashable.
      structural: arguments that set shapes or control flow, such as widths, numbers of layers or batch sizes: trials
        with equal ones form a group, which is compiled once. Text, functions, tuples, None and booleans always do.
      monitor: the entry of the history that is compared; default "val_loss" if there is one, else "loss".
      mode: "min" or "max"; default "max" for accuracies, precision, recall, F1 and R2, else "min".
      keep: "best" keeps the state of the best trial alone, "all" those of all trials.
      members: how many trials one call of the compiled program trains, at most; by default as many as leave three
        quarters of the memory free. A bar moves with each call.
      at_once: how many of them form one batch; see `many`, which chooses by default.
      verbose: 0 is silent, 1 shows a bar.

    Returns:
      A `Sweep`. A trial whose monitored value is not finite is marked as failed and does not touch the others.

    Raises:
      InputError: for an empty space, arguments that the trial does not have or that are missing, values of one
        argument that differ in shape, an argument that would have to be structural, or a history without the
        monitored value.

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
    if mode not in (None, "min", "max"):
        fail("sweep", expected="mode 'min', 'max' or None", got=repr(mode))
    for name in structural:
        lookup("swept argument", name, dict.fromkeys(configs[0]), or_else="")
    collected = _Collected(len(configs), monitor, mode, keep)
    with _bar(verbose, len(configs)) as bar:
        for fixed, numbers in _groups(configs, frozenset(structural)):
            for part, states, history in _train(trial, configs, fixed, numbers, members, at_once, collected.check):
                collected.add(part, states, history)
                bar.update(len(part))
    return collected.result(configs)


def _configs(trial: Callable[..., Any], space: Any) -> list[Config]:
    """The configurations of a space, each checked against the arguments of the trial."""
    if not callable(trial):
        fail("sweep", expected="a function of one trial's arguments", got=describe(trial))
    if isinstance(space, Mapping):
        for name, values in space.items():
            if isinstance(values, str) or not hasattr(values, "__len__"):
                fail("sweep", expected=f"a list of values for {name!r}", got=repr(values), hint=f"Pass [{values!r}].")
        configs = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
        if not space:
            configs = []
    else:
        configs = [dict(config) for config in space]
    if not configs:
        fail("sweep", expected="at least one value for each argument", got="an empty space")
    if len({frozenset(config) for config in configs}) > 1:
        fail("sweep", expected="trials with the same arguments", got=str([sorted(config) for config in configs[:3]]))
    parameters = inspect.signature(trial).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in configs[0]:
            lookup("argument of the trial", name, {p.name: p for p in parameters}, or_else="")
    needed = {p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    if needed - configs[0].keys():
        fail("sweep", expected=f"values for {sorted(needed)}", got=f"none for {sorted(needed - configs[0].keys())}")
    return configs


def _is_structural(value: Any) -> bool:
    return isinstance(value, (str, bool, tuple, type(None))) or callable(value)


def _groups(configs: list[Config], structural: frozenset[str]) -> Iterator[tuple[Config, list[int]]]:
    """Equal structural arguments, with the numbers of the trials that have them."""
    names = [name for name in configs[0] if name in structural or any(_is_structural(c[name]) for c in configs)]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, config in enumerate(configs):
        try:
            groups.setdefault(tuple(config[name] for name in names), []).append(i)
        except TypeError:
            got = str({name: type(config[name]).__name__ for name in names})
            fail("sweep", expected="hashable structural arguments", got=got)
    for values, numbers in groups.items():
        yield dict(zip(names, values, strict=True)), numbers


def _train(
    trial: Callable[..., Any],
    configs: list[Config],
    fixed: Config,
    numbers: list[int],
    members: int | None,
    at_once: int | None,
    check: Callable[[Mapping[str, Any]], None],
) -> Iterator[tuple[list[int], Any, dict[str, np.ndarray]]]:
    """Trials of one structure, so many per call of one compiled program: their numbers, states and histories."""
    names = [name for name in configs[0] if name not in fixed]

    def one(traced: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        out = trial(**traced, **fixed)
        if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], Mapping)):
            fail("sweep", expected="a trial that returns (ts, history), as fnn.run does", got=describe(out))
        return out[0], dict(out[1])

    stacked = {name: _stack(name, [configs[i][name] for i in numbers]) for name in names}
    shapes = _shapes(one, stacked)
    check(shapes[1])
    if not names:  # nothing to batch
        for number in numbers:
            states, history = jax.jit(lambda: jax.tree.map(lambda a: a[None], one({})))()
            yield [number], states, jax.device_get(history)
        return
    count = min(len(numbers), members or _members_in_memory(shapes))
    rounds = -(-len(numbers) // count)
    count = -(-len(numbers) // rounds)  # of nearly equal size
    run = jax.jit(many(one, at_once=at_once))
    for start in range(0, len(numbers), count):
        part = numbers[start : start + count]
        # The last call repeats a trial, so that it needs no program of its own.
        rows = np.minimum(np.arange(start, start + count), len(numbers) - 1)
        states, history = run(jax.tree.map(lambda a, rows=rows: a[rows], stacked))
        yield part, states, {name: values[: len(part)] for name, values in jax.device_get(history).items()}


def _stack(name: str, values: list[Any]) -> Any:
    arrays = [value if isinstance(value, jax.Array) else np.asarray(value) for value in values]
    if len({a.shape for a in arrays}) > 1:
        hint = "Values of one argument share a shape; pad them, or name it in structural."
        fail(
            "sweep", expected=f"values of {name!r} of one shape", got=str(sorted({a.shape for a in arrays})), hint=hint
        )
    if not all(isinstance(a, jax.Array) or a.dtype.kind in "iufb" for a in arrays):
        fail(
            "sweep",
            expected=f"numbers or arrays for {name!r}",
            got=describe(arrays[0]),
            hint="Or name it in structural.",
        )
    # A list such as [1, 0.5] holds floats, whatever its first value.
    kinds = {a.dtype for a in arrays if not isinstance(a, jax.Array)}
    if len(kinds) > 1:
        arrays = [np.asarray(a, np.result_type(*kinds)) for a in arrays]
    return jnp.stack([jnp.asarray(a) for a in arrays])


def _shapes(one: Callable[[dict[str, Any]], Any], stacked: dict[str, Any]) -> Any:
    """Shapes of the results of one trial; where it cannot be traced, the argument to blame is looked for."""
    first = {name: values[0] for name, values in stacked.items()}
    try:
        return jax.eval_shape(one, first)
    except Exception as error:
        for name, value in first.items():
            if jnp.issubdtype(value.dtype, jnp.integer) and value.ndim == 0:
                rest = {other: v for other, v in first.items() if other != name}
                try:
                    jax.eval_shape(lambda rest, name=name, value=value: one({**rest, name: int(value)}), rest)
                except Exception:  # not this one, or not it alone
                    continue
                hint = f"Pass structural=({name!r},): each of its values is then compiled by itself."
                raise InputError(
                    f"sweep: expected arguments that can vary within one program, got {name!r}, which sets shapes or "
                    f"control flow. {hint}"
                ) from error
        raise


def _members_in_memory(shapes: Any) -> int:
    """How many trials' results take a quarter of the memory at most."""
    size = sum(leaf.size * getattr(leaf.dtype, "itemsize", 8) for leaf in jax.tree.leaves(shapes))
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    total = (stats or {}).get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, int(total // 4 // max(size, 1)))


def _bar(verbose: int, total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="sweep", unit="trial", file=sys.stdout, disable=verbose == 0)


class _Collected:
    """Results of trials as they come, with the best state so far."""

    def __init__(self, size: int, monitor: str | None, mode: str | None, keep: str) -> None:
        self.scores = np.full(size, np.nan)
        self.histories: list[dict[str, np.ndarray]] = [{} for _ in range(size)]
        self.states: list[Any] = [None] * size
        self.monitor, self.mode, self.keep, self.best, self.ts = monitor, mode, keep, np.inf, None

    def check(self, history: Mapping[str, Any]) -> None:
        """Refuse a history without the monitored value, before anything is trained."""
        if self.monitor is None:
            self.monitor = "val_loss" if "val_loss" in history else "loss"
        lookup("entry of the history", self.monitor, history, or_else="")

    def add(self, part: list[int], states: Any, history: dict[str, np.ndarray]) -> None:
        sign = -1.0 if self.rising else 1.0
        for row, number in enumerate(part):
            self.histories[number] = {name: np.atleast_1d(values[row]) for name, values in history.items()}
            score = self.scores[number] = _last(self.histories[number], str(self.monitor))
            if self.keep == "all":
                self.states[number] = jax.tree.map(lambda a, row=row: a[row], states)
            if np.isfinite(score) and sign * score < self.best:
                self.best, self.ts = sign * score, jax.tree.map(lambda a, row=row: a[row], states)

    @property
    def rising(self) -> bool:
        return self.mode == "max" or (self.mode is None and is_rising(str(self.monitor)))

    def result(self, configs: list[Config]) -> Sweep:
        states = self.states if self.keep == "all" else []
        failed = ~np.isfinite(self.scores)
        return Sweep(configs, self.scores, self.histories, failed, str(self.monitor), self.rising, self.ts, states)
