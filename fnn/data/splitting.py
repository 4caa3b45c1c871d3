"""Split rows at random: into training and test rows, or into folds for cross-validation.

A fold is a pytree of row indices, and all folds have one shape, so that they train in one compiled program.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .._core.arrays import as_array
from .._core.checks import check_count, check_key, renamed
from .._core.described import in_words
from .._core.dtypes import is_key
from .._core.errors import counted, describe, fail, kind_of
from .._core.inputs import as_arrays, as_labels, as_rows
from .._core.types import Array, PyTree
from ..nn.masks import Masked


@renamed(train_size="test_size=..., the rest", shuffle="it without: rows are shuffled, as by default in scikit-learn")
def train_test_split(
    *arrays: object, test_size: float = 0.25, seed: int = 0, stratify: ArrayLike | None = None
) -> tuple[Any, ...]:
    """Split arrays at random into training and test rows, with the same rows from each array.

    Args:
      *arrays: arrays of the same number of rows, at least 2; a `Masked` keeps its mask, others become NumPy arrays.
      test_size: the number of test rows, an integer, or their fraction in (0, 1), rounded up as in scikit-learn.
      seed: the same seed gives the same rows.
      stratify: (rows,) class labels or names, optional; each class keeps its share of test rows, rounded up or down.

    Returns:
      ``(a_train, a_test, b_train, b_test, ...)``, with the rows in random order.

    Raises:
      InputError: for no arrays, different lengths, a class of one row, or a side with no rows or fewer than classes.

    >>> x, y = np.arange(20).reshape(10, 2), np.array([0] * 5 + [1] * 5)
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, stratify=y)
    >>> x_train.shape, x_test.shape, sorted(y_test.tolist())
    ((6, 2), (4, 2), [0, 0, 1, 1])

    Split again for a validation set:

    >>> x_train, x_validation = train_test_split(x_train, test_size=2)
    """
    where = "train_test_split"
    if not arrays:
        fail(where, expected="at least one array", got="none")
    converted = []
    for i, a in enumerate(arrays):
        rows_of = partial(as_rows, f"{where}, array {i}")
        converted.append(jax.tree.map(rows_of, a) if isinstance(a, Masked) else rows_of(a))
    leaves = jax.tree.leaves(converted)
    if any(a.ndim == 0 for a in leaves):
        fail(where, expected="arrays of rows", got="a single number", hint="Pass options by name: test_size=0.3.")
    lengths = [len(a) for a in leaves]
    if len(set(lengths)) > 1:
        fail(where, expected="arrays of the same length", got=", ".join(map(str, lengths)))
    rows = lengths[0]
    if rows < 2:
        fail(where, expected="at least 2 rows", got=str(rows))
    test = _test_count(where, test_size, rows)
    check_count(where, "seed", seed, 0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows)
    if stratify is not None:
        order = _stratify(where, stratify, order, test, rng)
    parts = [order[test:], order[:test]]
    return tuple(jax.tree.map(lambda leaf, part=part: leaf[part], a) for a in converted for part in parts)


def _test_count(where: str, test_size: float, rows: int) -> int:
    """Number of test rows, checked to leave rows on both sides."""
    if isinstance(test_size, (int, np.integer)) and not isinstance(test_size, bool):
        test = int(test_size)
        if not 0 < test < rows:
            fail(where, expected=f"test_size from 1 to {rows - 1} for {counted(rows, 'row')}", got=str(test))
        return test
    if not isinstance(test_size, (float, np.floating)) or not 0 < test_size < 1:
        fail(where, expected="test_size to be a fraction in (0, 1) or a number of rows", got=in_words(test_size))
    test = math.ceil(float(test_size) * rows)
    if test == rows:
        fail(
            where, expected="a test_size that leaves rows for training", got=f"{test_size:g} of {counted(rows, 'row')}"
        )
    return test


def _read_classes(where: str, stratify: ArrayLike, rows: int, least: int, why: str) -> tuple[np.ndarray, ...]:
    """The classes of ``stratify``, the class index of each row, and the number of rows of each class."""
    labels = as_labels(f"{where}, stratify", stratify)
    if labels.shape != (rows,):
        fail(where, expected=f"stratify of shape ({rows},), a class for each row", got=describe(labels))
    names, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < least:
        rare = f"{counted(int(counts.min()), 'row')} of class {names[counts.argmin()]}"
        fail(where, expected=f"at least {counted(least, 'row')} of each class {why}", got=rare)
    return names, number, counts


def _stratify(where: str, stratify: ArrayLike, order: np.ndarray, test: int, rng: np.random.Generator) -> np.ndarray:
    """Reorder shuffled rows so that the first ``test`` contain each class by its share."""
    rows = len(order)
    names, number, counts = _read_classes(where, stratify, rows, 2, "in stratify")
    for side, size in (("test", test), ("train", rows - test)):
        if size < len(names):
            fail(where, expected=f"at least {len(names)} {side} rows, one for each class", got=str(size))
    # The shares with the largest remainders are rounded up; ties are broken at random.
    share = counts * (test / rows)
    quota = np.floor(share).astype(int)
    shuffled = rng.permutation(len(names))
    rounded_up = shuffled[np.argsort(quota[shuffled] - share[shuffled], kind="stable")][: test - quota.sum()]
    quota[rounded_up] += 1
    by_class = np.argsort(number[order], kind="stable")  # rows of class 0, then of class 1, ..., each in random order
    starts = np.cumsum(counts) - counts
    rank = np.arange(rows) - np.repeat(starts, counts)
    chosen = np.zeros(rows, bool)
    chosen[by_class] = rank < np.repeat(quota, counts)
    return np.concatenate([order[chosen], order[~chosen]])


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Fold:
    """The training rows and the held-out rows of a fold: a pytree of arrays, from `folds` or `folds_from`.

    All folds of one partition have arrays of the same shapes. If their sizes differ, shorter arrays are padded with
    copies of their first row of weight 0, and a weighted mean over the arrays is the mean over the rows of the fold.

    Attributes:
      train, test: (rows,) int32, indices of the training rows and of the held-out rows in ascending order.
      train_weight, test_weight: (rows,) float32, their weights, of mean 1; None if all folds have the same size.
      size: number of rows of the data.
    """

    train: Array | np.ndarray
    test: Array | np.ndarray
    train_weight: Array | np.ndarray | None
    test_weight: Array | np.ndarray | None
    size: int = field(metadata={"static": True})

    def __repr__(self) -> str:
        return f"Fold({describe(self.train)} of {self.size} rows for training, {describe(self.test)} held out)"


def folds(seed: int | Array, size: int, k: int = 5, *, stratify: ArrayLike | None = None) -> list[Fold]:
    """Assign rows at random to ``k`` folds; each fold is held out once while the others train.

    Every row is held out in exactly one fold. Fold sizes differ by at most one; with ``stratify``, class counts do too.

    Args:
      seed: an integer or a PRNG key; the same seed gives the same folds.
      size: number of rows of the data.
      k: number of folds; default 5. ``k=size`` is leave-one-out cross-validation.
      stratify: (size,) class labels or names; each class then has the same share in every fold.

    Returns:
      ``k`` folds, for `take_fold`, often in a `sweep`; with weights if ``k`` does not divide ``size``, see `Fold`.

    Raises:
      InputError: for a ``k`` below 2 or above ``size``, or a class with fewer than ``k`` rows in ``stratify``.

    >>> found = folds(0, 10, k=5)
    >>> found[0]
    Fold(int32[8] of 10 rows for training, int32[2] held out)
    >>> sorted(int(row) for fold in found for row in fold.test)
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    _check_size("folds", "seed", size)
    check_count("folds", "k", k, 2)
    if k > size:
        fail("folds", expected=f"k of at most {size}, the number of rows", got=str(k))
    order = _numpy_generator(seed).permutation(size)
    if stratify is not None:
        number = _read_classes("folds", stratify, size, k, "in stratify, one for each fold")[1]
        # Sorted by class, each in random order, the rows are dealt to the folds in turn.
        order = order[np.argsort(number[order], kind="stable")]
    return _pad_folds([order[i::k] for i in range(k)], size)


def _check_size(where: str, first: str, size: Any) -> None:
    if np.ndim(size):
        hint = f"Pass len(x): {where}({first}, {len(size)})."
        fail(where, expected="the number of rows as size", got=describe(size), hint=hint)
    check_count(where, "size", size, 2)


def _numpy_generator(seed: Any) -> np.random.Generator:
    """A NumPy generator from an integer or a PRNG key, typed or raw."""
    if is_key(seed) or (hasattr(seed, "dtype") and np.ndim(seed) > 0):
        check_key("folds", seed)
        words = jax.random.key_data(seed) if is_key(seed) else seed
        return np.random.default_rng([int(word) for word in np.ravel(words)])
    check_count("folds", "seed", seed, 0)
    return np.random.default_rng(seed)


_PARTITIONS = (
    "Splitters that hold out every row once, such as KFold, GroupKFold and PredefinedSplit, are accepted; for others, "
    "pass the row indices to the trial as an argument, swept or one at a time."
)


def folds_from(parts: Iterable[Any], size: int) -> list[Fold]:
    """Check and convert user-defined folds, to those of `folds`; each row must be held out exactly once.

    Args:
      parts: for each fold the indices of the held-out rows, or a pair of training rows and held-out rows, as ``split``
        yields them for the scikit-learn splitters that hold out every row once: ``KFold``, ``GroupKFold``,
        ``StratifiedKFold``, ``StratifiedGroupKFold``, ``LeaveOneOut``, ``LeaveOneGroupOut`` and ``PredefinedSplit``,
        but not ``TimeSeriesSplit``, ``ShuffleSplit`` or the repeated ones.
      size: number of rows of the data.

    Raises:
      InputError: if folds overlap, omit rows, or contain indices beyond the data.

    >>> months = [[0, 1, 2], [3, 4], [5, 6, 7]]
    >>> found = folds_from(months, 8)
    >>> print(found[1].test, found[1].test_weight, found[1].train)
    [3 4 3] [1.5 1.5 0. ] [0 1 2 5 6 7]
    """
    _check_size("folds_from", "parts", size)
    if callable(getattr(parts, "split", None)):
        hint = "Pass its splits: folds_from(splitter.split(x, y), len(x))."
        fail("folds_from", expected="rows for each fold", got=kind_of(parts), hint=hint)
    tests, pairs = [], False
    for number, part in enumerate(parts):
        where = f"folds_from, fold {number}"
        pair = isinstance(part, tuple) and len(part) == 2 and all(np.ndim(side) == 1 for side in part)
        tests.append(_check_rows(where, "held out", part[1] if pair else part, size))
        if pair:
            pairs = True
            train = _check_rows(where, "for training", part[0], size)
            if both := np.intersect1d(train, tests[-1]).tolist():
                fail(where, expected="no row on both sides", got=f"an overlap: {_row_list(both)}")
            if missing := np.setdiff1d(np.arange(size), np.concatenate([train, tests[-1]])).tolist():
                got = f"rows left out: {_row_list(missing)}"
                fail(where, expected=f"each of the {size} rows on one side", got=got, hint=_PARTITIONS)
    if len(tests) < 2:
        fail("folds_from", expected="at least 2 folds", got=str(len(tests)))
    _check_partition(tests, size, hint=_PARTITIONS if pairs else "")
    return _pad_folds(tests, size)


def _check_rows(where: str, what: str, indices: ArrayLike, size: int) -> np.ndarray:
    """Convert row indices to an array; they must be in range and distinct."""
    rows = np.asarray(as_array(where, indices, fits=False))
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.size == 0:
        hint = "np.flatnonzero converts a mask to row numbers." if rows.dtype == bool else ""
        fail(where, expected=f"the numbers of the rows {what}", got=describe(rows), hint=hint)
    if rows.min() < 0 or rows.max() >= size:
        fail(where, expected=f"rows {what} in [0, {size})", got=_row_list(rows[(rows < 0) | (rows >= size)].tolist()))
    distinct, times = np.unique(rows, return_counts=True)
    if (times > 1).any():
        fail(where, expected=f"each row {what} once", got=f"more than once: {_row_list(distinct[times > 1].tolist())}")
    return rows


def _check_partition(tests: list[np.ndarray], size: int, hint: str) -> None:
    times = np.bincount(np.concatenate(tests), minlength=size)
    if (times > 1).any():
        row = int(np.argmax(times > 1))
        owners = [number for number, test in enumerate(tests) if row in test]
        more = int((times > 1).sum()) - 1
        got = f"row {row} in folds {owners}" + (f", and {more} more" if more else "")
        fail("folds_from", expected="each row to be held out once", got=got, hint=hint)
    if (times == 0).any():
        got = f"rows left out: {_row_list(np.flatnonzero(times == 0).tolist())}"
        fail("folds_from", expected=f"each of the {size} rows to be held out once", got=got, hint=hint)


def _row_list(rows: list[int]) -> str:
    """The first five row numbers, and how many more there are."""
    return ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def _pad_folds(tests: list[np.ndarray], size: int) -> list[Fold]:
    """Folds with arrays of one shape, from the held-out rows of each."""
    sizes = [len(test) for test in tests]
    if max(sizes) == size:
        fail("folds", expected="rows for training in each fold", got="a fold that holds out all of them")
    equal = len(set(sizes)) == 1
    padded = []
    for rows in map(np.sort, tests):
        train, train_weight = _pad_rows(np.delete(np.arange(size), rows), size - min(sizes))
        test, test_weight = _pad_rows(rows, max(sizes))
        padded.append(Fold(train, test, None if equal else train_weight, None if equal else test_weight, size))
    return padded


def _pad_rows(rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pad rows to a length, and weights whose sum is that length."""
    weight = np.full(length, length / len(rows), np.float32)
    weight[len(rows) :] = 0
    return np.concatenate([rows, np.repeat(rows[:1], length - len(rows))]).astype(np.int32), weight


def take_fold(fold: Fold, *arrays: PyTree) -> tuple[tuple[PyTree, ...], tuple[PyTree, ...]]:
    """Select the training data and the held-out data of a fold.

    Args:
      fold: from `folds` or `folds_from`, traced or not.
      *arrays: ``x, y``, or pytrees of arrays, with rows along the first axis.

    Returns:
      ``(x, y)`` of the training and of the held-out rows, as JAX arrays; ``(x, y, weight)`` if the fold has weights.

    Raises:
      InputError: for arrays with another number of rows than the fold.

    >>> x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    >>> train, held_out = take_fold(folds(0, 10)[0], x, y)
    >>> [array.shape for array in (*train, *held_out)]
    [(8, 2), (8,), (2, 2), (2,)]
    """
    if not isinstance(fold, Fold):
        hint = "Its arguments are (fold, x, y), with one fold of the list that folds returns."
        fail(
            "take_fold", expected="a Fold from folds or folds_from as the first argument", got=describe(fold), hint=hint
        )
    arrays = as_arrays(arrays, "take_fold, arrays")
    for leaf in jax.tree.leaves(arrays):
        if np.ndim(leaf) == 0 or len(leaf) != fold.size:
            fail("take_fold", expected=f"arrays of {counted(fold.size, 'row')}, as the folds have", got=describe(leaf))
    sides = []
    for rows, weight in ((fold.train, fold.train_weight), (fold.test, fold.test_weight)):
        taken = jax.tree.map(lambda a, rows=rows: jnp.asarray(a).at[rows].get(mode="promise_in_bounds"), arrays)
        sides.append(taken if weight is None else (*taken, jnp.asarray(weight)))
    return sides[0], sides[1]
