"""Split arrays at random into training and test rows."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from .._core.checks import check_count
from .._core.errors import describe, fail
from .._core.inputs import as_labels, as_rows
from ..nn.masks import Masked


def train_test_split(
    *arrays: object, test_size: float = 0.25, seed: int = 0, stratify: ArrayLike | None = None
) -> tuple[Any, ...]:
    """Split arrays at random into training and test rows, with the same rows from each array.

    Args:
      *arrays: arrays with the same number of rows, at least two; a `Masked` keeps its mask, anything else becomes a
        NumPy array.
      test_size: the fraction of test rows, in (0, 1), rounded up to ``ceil(test_size * rows)`` as in scikit-learn; or
        their number, an integer.
      seed: the same seed gives the same rows.
      stratify: (rows,) class labels or names. Each class then keeps its share of the test rows, rounded down or up.
        Default None: no stratification.

    Returns:
      ``(a_train, a_test, b_train, b_test, ...)``, with the rows in random order.

    Raises:
      InputError: for no arrays, arrays of different lengths, a ``test_size`` that leaves one side without rows, a class
        with a single row, or more classes than rows on one side.

    >>> import numpy as np
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
    converted = [_rows_of(f"{where}, array {i}", a) for i, a in enumerate(arrays)]
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


def _rows_of(where: str, a: object) -> Any:
    """An array as rows, or a `Masked` of such arrays."""
    return jax.tree.map(lambda leaf: as_rows(where, leaf), a) if isinstance(a, Masked) else as_rows(where, a)


def _test_count(where: str, test_size: float, rows: int) -> int:
    """Number of test rows, checked to leave rows on both sides."""
    if isinstance(test_size, (int, np.integer)) and not isinstance(test_size, bool):
        test = int(test_size)
        if not 0 < test < rows:
            fail(where, expected=f"test_size from 1 to {rows - 1} for {rows} rows", got=str(test))
        return test
    if not isinstance(test_size, (float, np.floating)) or not 0 < test_size < 1:
        fail(where, expected="test_size to be a fraction in (0, 1) or a number of rows", got=repr(test_size))
    test = math.ceil(float(test_size) * rows)
    if test == rows:
        fail(where, expected="a test_size that leaves rows for training", got=f"{test_size:g} of {rows} rows")
    return test


def read_classes(where: str, stratify: ArrayLike, rows: int, least: int, why: str) -> tuple[np.ndarray, ...]:
    """The classes of ``stratify``, the class index of each row, and the number of rows of each class."""
    labels = as_labels(f"{where}, stratify", stratify)
    if labels.shape != (rows,):
        fail(where, expected=f"stratify of shape ({rows},), a class for each row", got=describe(labels))
    names, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < least:
        rare = f"{counts.min()} of {names[counts.argmin()]}"
        fail(where, expected=f"at least {least} rows of each class {why}", got=rare)
    return names, number, counts


def _stratify(where: str, stratify: ArrayLike, order: np.ndarray, test: int, rng: np.random.Generator) -> np.ndarray:
    """Reorder shuffled rows so that the first ``test`` contain each class by its share."""
    rows = len(order)
    names, number, counts = read_classes(where, stratify, rows, 2, "in stratify")
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
