"""Folds for cross-validation: row numbers in arrays of one shape, so that all folds train in one program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import check_count, check_key
from .._core.errors import describe, fail
from .._core.inputs import as_arrays, as_labels


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Fold:
    """Which rows train and which are held out; a pytree of arrays, made by `folds` or `folds_from`.

    All folds of one division have arrays of the same shapes. Where their sizes differ, the shorter arrays end in
    copies of their first row that have a weight of 0, and the weights of the other rows are above 1 by as much as makes
    up for it: a mean over the arrays is the mean over the rows of the fold.

    Attributes:
      train: (rows,) int32, the numbers of the rows to train on, in rising order.
      test: (rows,) int32, those of the rows held out.
      train_weight: (rows,) float32, a weight for each of ``train``; None where all folds have the same size.
      test_weight: the same for ``test``.
      size: how many rows the data has.
    """

    train: Any
    test: Any
    train_weight: Any
    test_weight: Any
    size: int = field(metadata={"static": True})

    def __repr__(self) -> str:
        return f"Fold({describe(self.train)} of {self.size} rows to train on, {describe(self.test)} held out)"


def folds(seed: Any, size: int, k: int = 5, *, stratify: Any = None) -> list[Fold]:
    """Rows dealt out at random to ``k`` folds, each of which is held out once while the others train.

    Every row is held out in exactly one fold. The sizes of folds differ by one row at most, and with ``stratify`` the
    number of rows of a class differs by one at most from fold to fold too.

    Args:
      seed: an integer or a PRNG key; the same one gives the same folds.
      size: how many rows the data has.
      k: how many folds; default 5. ``k=size`` holds out one row at a time.
      stratify: (size,) class numbers or names, which then have the same share in each fold.

    Returns:
      ``k`` folds, for `take_fold`, mostly within a `sweep`. When ``k`` does not divide ``size``, they have weights; see
      `Fold`.

    Raises:
      InputError: for a ``k`` below 2 or above ``size``, or a class of fewer than ``k`` rows to stratify.

    >>> found = folds(0, 10, k=5)
    >>> found[0]
    Fold(int32[8] of 10 rows to train on, int32[2] held out)
    >>> sorted(int(row) for fold in found for row in fold.test)
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    _check_size("folds", "seed", size)
    check_count("folds", "k", k, 2)
    if k > size:
        fail("folds", expected=f"k of at most {size}, the number of rows", got=str(k))
    order = _generator(seed).permutation(size)
    if stratify is not None:
        labels = as_labels("folds, stratify", stratify)
        if labels.shape != (size,):
            fail("folds", expected=f"stratify of shape ({size},), a class for each row", got=describe(labels))
        names, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if counts.min() < k:
            rare = f"{counts.min()} of {names[counts.argmin()]}"
            fail("folds", expected=f"at least {k} rows of each class, one for each fold", got=rare)
        # The rows of one class follow those of another, each in random order, and are dealt out like cards.
        order = order[np.argsort(number[order], kind="stable")]
    return _made([order[i::k] for i in range(k)], size)


def _check_size(where: str, first: str, size: Any) -> None:
    """Refuse anything but a number of rows, the rows themselves with the remedy."""
    if np.ndim(size):
        hint = f"Pass len(x): {where}({first}, {len(size)})."
        fail(where, expected="the number of rows as size", got=describe(size), hint=hint)
    check_count(where, "size", size, 2)


def _generator(seed: Any) -> np.random.Generator:
    if hasattr(seed, "dtype") and np.ndim(seed) == 0 and jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return np.random.default_rng([int(word) for word in np.ravel(jax.random.key_data(seed))])
    if hasattr(seed, "dtype") and np.ndim(seed) > 0:
        check_key("folds", seed)
        return np.random.default_rng([int(word) for word in np.ravel(seed)])
    check_count("folds", "seed", seed, 0)
    return np.random.default_rng(seed)


# What to do about splitters such as TimeSeriesSplit or ShuffleSplit.
_PARTITIONS = (
    "Splitters that hold out every row once, such as KFold, GroupKFold and PredefinedSplit, are taken; of others pass "
    "the row numbers to the trial yourself, as an argument that is swept or one by one."
)


def folds_from(parts: Iterable[Any], size: int) -> list[Fold]:
    """Folds of your own, checked: each row is held out exactly once.

    Args:
      parts: for each fold the numbers of the rows held out, or a pair of those to train on and those held out, as the
        ``split`` of those splitters of scikit-learn that hold out every row once gives them: ``KFold``, ``GroupKFold``,
        ``StratifiedKFold``, ``StratifiedGroupKFold``, ``LeaveOneOut``, ``LeaveOneGroupOut`` and ``PredefinedSplit``.
        ``TimeSeriesSplit``, ``ShuffleSplit`` and the repeated ones do not.
      size: how many rows the data has.

    Returns:
      The same as `folds`.

    Raises:
      InputError: for folds that overlap, that leave out rows, or that have rows beyond the data.

    >>> months = [[0, 1, 2], [3, 4], [5, 6, 7]]
    >>> found = folds_from(months, 8)
    >>> print(found[1].test, found[1].test_weight, found[1].train)
    [3 4 3] [1.5 1.5 0. ] [0 1 2 5 6 7]
    """
    _check_size("folds_from", "parts", size)
    if callable(getattr(parts, "split", None)):
        hint = "Pass what it gives: folds_from(splitter.split(x, y), len(x))."
        fail("folds_from", expected="rows for each fold", got=f"a {type(parts).__name__}", hint=hint)
    tests, pairs = [], False
    for number, part in enumerate(parts):
        where = f"folds_from, fold {number}"
        pair = isinstance(part, tuple) and len(part) == 2 and all(np.ndim(side) == 1 for side in part)
        pairs = pairs or pair
        train, test = part if pair else (None, part)
        tests.append(_rows(where, "held out", test, size))
        if train is not None:
            train = _rows(where, "to train on", train, size)
            if both := np.intersect1d(train, tests[-1]).tolist():
                fail(where, expected="no row to be trained on and held out", got=f"an overlap: {_some(both)}")
            if left := np.setdiff1d(np.arange(size), np.concatenate([train, tests[-1]])).tolist():
                got = f"rows left out: {_some(left)}"
                fail(where, expected=f"each of the {size} rows on one side", got=got, hint=_PARTITIONS)
    if len(tests) < 2:
        fail("folds_from", expected="at least 2 folds", got=str(len(tests)))
    times = np.bincount(np.concatenate(tests), minlength=size)
    if (times > 1).any():
        row = int(np.argmax(times > 1))
        owners = [number for number, test in enumerate(tests) if row in test]
        got = f"an overlap: {_some(np.flatnonzero(times > 1).tolist())}, of which {row} is in folds {owners}"
        fail("folds_from", expected="each row to be held out once", got=got, hint=_PARTITIONS if pairs else "")
    if (times == 0).any():
        got = f"rows left out: {_some(np.flatnonzero(times == 0).tolist())}"
        hint = _PARTITIONS if pairs else ""
        fail("folds_from", expected=f"each of the {size} rows to be held out once", got=got, hint=hint)
    return _made(tests, size)


def _rows(where: str, what: str, rows: Any, size: int) -> np.ndarray:
    """Row numbers in range, each once."""
    rows = np.asarray(as_array(where, rows, fits=False))
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.size == 0:
        hint = "np.flatnonzero makes row numbers of a mask." if rows.dtype == bool else ""
        fail(where, expected=f"the numbers of the rows {what}", got=describe(rows), hint=hint)
    if rows.min() < 0 or rows.max() >= size:
        wrong = rows[(rows < 0) | (rows >= size)].tolist()
        fail(where, expected=f"rows {what} in [0, {size})", got=_some(wrong))
    numbers, times = np.unique(rows, return_counts=True)
    if (times > 1).any():
        fail(where, expected=f"each row {what} once", got=f"more than once: {_some(numbers[times > 1].tolist())}")
    return rows


def _some(rows: list[int]) -> str:
    """Some row numbers, and how many more there are."""
    return ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def _made(tests: list[np.ndarray], size: int) -> list[Fold]:
    """Folds in arrays of one shape from what each holds out."""
    sizes = [len(test) for test in tests]
    if max(sizes) == size:
        fail("folds", expected="rows to train on in each fold", got="a fold that holds out all of them")
    equal = len(set(sizes)) == 1
    found = []
    for test in tests:
        test = np.sort(test)
        train = np.delete(np.arange(size), test)
        train, train_weight = _filled(train, size - min(sizes))
        test, test_weight = _filled(test, max(sizes))
        found.append(Fold(train, test, None if equal else train_weight, None if equal else test_weight, size))
    return found


def _filled(rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows up to a length, and weights whose sum is that length."""
    short = length - len(rows)
    weight = np.full(length, length / len(rows), np.float32)
    weight[len(rows) :] = 0
    return np.concatenate([rows, np.repeat(rows[:1], short)]).astype(np.int32), weight


def take_fold(fold: Fold, *arrays: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The data to train on and the data held out.

    Args:
      fold: of `folds` or `folds_from`, traced or not.
      *arrays: ``x, y``, or pytrees of arrays, with the rows along their first axis.

    Returns:
      ``(x, y)`` of the rows to train on and ``(x, y)`` of those held out, as JAX arrays; triples with the weights of
      the rows where the fold has weights, as `run` and `evaluate` take them.

    Raises:
      InputError: for arrays of another length than the folds were made for.

    >>> import numpy as np
    >>> x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    >>> train, held_out = take_fold(folds(0, 10)[0], x, y)
    >>> [array.shape for array in (*train, *held_out)]
    [(8, 2), (8,), (2, 2), (2,)]
    """
    if not isinstance(fold, Fold):
        hint = "Its arguments are (fold, x, y), with one of the list that folds gives."
        fail("take_fold", expected="a Fold of folds or folds_from first", got=describe(fold), hint=hint)
    arrays = as_arrays(arrays, "take_fold, arrays")
    for leaf in jax.tree.leaves(arrays):
        if np.ndim(leaf) == 0 or len(leaf) != fold.size:
            got = describe(leaf)
            fail("take_fold", expected=f"arrays of {fold.size} rows, for which the folds were made", got=got)
    sides = []
    for rows, weight in ((fold.train, fold.train_weight), (fold.test, fold.test_weight)):
        taken = jax.tree.map(lambda a, rows=rows: jnp.asarray(a).at[rows].get(mode="promise_in_bounds"), arrays)
        sides.append(taken if weight is None else (*taken, jnp.asarray(weight)))
    return sides[0], sides[1]
