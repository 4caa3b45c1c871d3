"""The results of a sweep: `Sweep`."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import io
import os
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from .._core.dtypes import is_float
from .._core.errors import counted, describe, fail, listed
from .._core.files import FilePath, check_ending, write_whole
from .._core.random import is_key
from .._core.tables import column_widths, table_line
from .._core.types import PyTree

Config = dict[str, Any]
Label = str | float | None
"""An argument or a figure of a trial as a table shows it."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """The results of a sweep; prints as a table, best trial first. Its length is the number of trials.

    Attributes:
      configs: the arguments of each trial, in the order given.
      scores: (trials,) the monitored value of each trial, at the epoch of the state that it returned.
      histories: for each trial, arrays (epochs,) by name.
      failed: (trials,) whether the monitored value, a loss or a parameter is not finite, or a hyper-parameter of the
        optimizer is out of range, such as a negative learning rate.
      monitor: the name of the monitored value.
      rising: whether higher is better.
      ts: the state of the best trial, None if all failed.
      states: the states of all trials if ``keep="all"``, else an empty list.
    """

    configs: list[Config]
    scores: np.ndarray
    histories: list[dict[str, np.ndarray]]
    failed: np.ndarray
    monitor: str
    rising: bool
    ts: PyTree
    states: list[PyTree]

    def __len__(self) -> int:
        return len(self.configs)

    @property
    def order(self) -> list[int]:
        """Indices of the trials, the best first and the failed ones last."""
        return _ranked(self.scores, self.failed, self.rising)

    @property
    def best(self) -> Config:
        """The arguments of the best trial.

        Raises:
          InputError: when every trial failed.
        """
        if self.failed.all():
            fail("sweep", expected="a trial with a finite result", got=f"none of {len(self.configs)}")
        return self.configs[self.order[0]]

    def column(self, name: str) -> list[Any]:
        """An argument or a figure of every trial, in the order of ``configs``.

        Args:
          name: an argument, whose values are returned as numbers or distinct texts; or an entry of the history, taken
            at the epoch of the state that a trial returned.

        Raises:
          InputError: for an unknown name.
        """
        if name in self.configs[0]:
            return _labels([config[name] for config in self.configs])
        check_known("a swept argument or a figure of the history", name, [*self.configs[0], *self._figures()])
        return [last_value(history, name) if name in history else float("nan") for history in self.histories]

    def rows(self) -> list[dict[str, Any]]:
        """A dict per trial, the best first: its index, its arguments as numbers or text, and its figures."""
        figures = self._figures()
        taken = {"trial", "failed", *figures}
        # An argument may have the name of a figure, such as loss=["mse", "mae"].
        columns = {f"{name} (argument)" if name in taken else name: self.column(name) for name in self.configs[0]}
        found = []
        for i in self.order:
            shown = {name: column[i] for name, column in columns.items()}
            last = {name: last_value(self.histories[i], name) for name in figures if name in self.histories[i]}
            found.append({"trial": i, **shown, **last, "failed": bool(self.failed[i])})
        return found

    def _figures(self) -> list[str]:
        return list(dict.fromkeys(name for history in self.histories for name in history))

    def averages(self, *over: str) -> list[dict[str, Any]]:
        """The mean score over some arguments, such as seeds or folds, for each combination of the others.

        Args:
          *over: the arguments to average over.

        Returns:
          A dict per combination, the best first: the values of the other arguments, the mean under the name of the
          monitored value, its standard deviation "std", the number of "trials" and the number "failed". Failed trials
          do not count in the mean, and combinations with one come after those without.

        Raises:
          InputError: for a name that was not swept.
        """
        for name in over:
            check_known("a swept argument", name, self.configs[0])
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

    def to_csv(self, path: FilePath) -> None:
        """Write `rows` as a CSV file, whole or not at all. Missing folders are created.

        Raises:
          InputError: for a file name with the ending of another kind of file, such as ".xlsx".
        """
        check_ending("to_csv", path, ".csv", ".txt")
        rows = self.rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(path, os.path.realpath(path), [text.getvalue().encode()], "to_csv")

    def __repr__(self) -> str:
        rows = self.rows()
        shown = rows[:10]
        names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "failed"]
        values = [[row.get(name, "") for name in names] for row in shown]
        cells = [names, *([f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in values)]
        widths = column_widths(cells)
        lines = [table_line(line, widths) for line in cells]
        lines[1:] = [line + "  failed" * row["failed"] for line, row in zip(lines[1:], shown, strict=True)]
        failed = int(self.failed.sum())
        tail = f"{counted(len(rows), 'trial')} by {self.monitor}" + (f", {failed} of them failed" if failed else "")
        more = [f"... {len(rows) - len(shown)} more"] if len(rows) > len(shown) else []
        return "\n".join([*lines, *more, tail])


def _ranked(scores: np.ndarray | list[float], failed: np.ndarray | list[int], rising: bool) -> list[int]:
    """Indices by score, the best first, then those with failures."""
    scores = np.asarray(scores, float)
    return [int(i) for i in np.lexsort((-scores if rising else scores, np.asarray(failed) > 0))]


def _labels(values: list[object]) -> list[Label]:
    """Values as numbers or text; different values with the same text are numbered."""
    known: dict[Label, dict[Hashable, int]] = {}
    contents = {id(value): _content(value) for value in values}  # once per value, as those of a grid recur
    pairs = [(_label(value), contents[id(value)]) for value in values]
    for label, content in pairs:
        different = known.setdefault(label, {})
        different.setdefault(content, len(different))
    return [label if len(known[label]) == 1 else f"{label} #{known[label][content]}" for label, content in pairs]


def _label(value: Any) -> Label:
    """A value as a number or short text."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if is_key(value):
        return "key " + " ".join(str(int(word)) for word in jax.random.key_data(value).ravel())
    if np.ndim(value) == 0 and hasattr(value, "dtype"):
        number = np.asarray(value)[()]
        # The shortest decimal number that rounds to this float32.
        return float(str(number)) if is_float(number) else number.item()
    if hasattr(value, "shape"):
        return describe(value)
    return getattr(value, "__name__", None) or (type(value).__name__ if has_arrays(value) else str(value))


def _content(value: PyTree) -> Hashable:
    """Equal for equal values."""
    if has_arrays(value):
        leaves = [jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in jax.tree.leaves(value)]
        return tuple(np.asarray(leaf).tobytes() for leaf in leaves)
    try:
        hash(value)
    except TypeError:
        return id(value)
    found: Hashable = value
    return found


def has_arrays(value: PyTree) -> bool:
    """Whether a value holds arrays."""
    return any(isinstance(leaf, (np.ndarray, jax.Array)) for leaf in jax.tree.leaves(value))


def last_value(history: Mapping[str, np.ndarray], name: str) -> float:
    """A figure at the epoch of the returned state: the last epoch, unless a callback restored another."""
    values, epoch = history[name], history.get("epoch")
    # "epoch", which `run` adds for callbacks, is a single number.
    return float(values[int(epoch[0]) if epoch is not None and epoch.size == 1 < values.size else -1])


def check_known(expected: str, name: object, options: Iterable[str], hint: str = "", where: str = "sweep") -> None:
    """Refuse a name that is not among the options, and suggest close ones."""
    options = list(options)
    if name not in options:
        close = difflib.get_close_matches(str(name), options, n=3, cutoff=0.5)
        guess = f"Did you mean {listed(close)}?" if close else f"Known: {', '.join(sorted(options))}."
        fail(where, expected=expected, got=repr(name), hint=hint or guess)
