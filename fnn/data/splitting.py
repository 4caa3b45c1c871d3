"""Splitting into training and test sets."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from .._core.checks import check_count
from .._core.errors import describe, fail
from .._core.inputs import as_labels, as_rows
from ..nn.masks import Masked


# --------------------------------------------------------------------------------------------------------------- split
def train_test_split(*arrays: Any, test_size: float = 0.25, seed: int = 0, stratify: Any = None) -> tuple[Any, ...]:
    """Rows for training and rows for testing, chosen at random, the same ones from each array.

    Args:
      *arrays: of the same number of rows, at least two; a `Masked` keeps its mask, anything else becomes
        a NumPy array.
      test_size: the share of rows for testing, in (0, 1), of which ``ceil(test_size * rows)`` is taken as in
        scikit-learn; or their number, an integer.
      seed: the same seed gives the same rows.
      stratify: (rows,) class numbers or names, each of which keeps its share: in the test rows it has the number of
        rows due to it, rounded down or up. Default None: rows are drawn without regard to anything.

    Returns:
      ``(a_train, a_test, b_train, b_test, ...)``, with the rows in random order.

    Raises:
      InputError: for no arrays, arrays of different length, a test_size that leaves no rows on one side, or classes
        to stratify that have one row or are more than the rows of a side.

    >>> import numpy as np
    >>> x, y = np.arange(20).reshape(10, 2), np.array([0] * 5 + [1] * 5)
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, stratify=y)
    >>> x_train.shape, x_test.shape, sorted(y_test.tolist())
    ((6, 2), (4, 2), [0, 0, 1, 1])

    A third part, for validation, is a second split:

    >>> x_train, x_validation = train_test_split(x_train, test_size=2)
    """
    where = "train_test_split"
    if not arrays:
        fail(where, expected="at least one array", got="none")
    kept = [_rows_of(f"{where}, array {i}", a) for i, a in enumerate(arrays)]
    leaves = jax.tree.leaves(kept)
    if any(a.ndim == 0 for a in leaves):
        fail(where, expected="arrays of rows", got="a single number", hint="Options are given by name: test_size=0.3.")
    lengths = [len(a) for a in leaves]
    if len(set(lengths)) > 1:
        fail(where, expected="arrays of the same length", got=", ".join(map(str, lengths)))
    rows = lengths[0]
    if rows < 2:
        fail(where, expected="at least 2 rows", got=str(rows))
    test = _test_rows(where, test_size, rows)
    check_count(where, "seed", seed, 0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows)
    if stratify is not None:
        order = _stratified(where, stratify, order, test, rng)
    parts = [order[test:], order[:test]]
    return tuple(jax.tree.map(lambda leaf, part=part: leaf[part], a) for a in kept for part in parts)


def _rows_of(where: str, a: Any) -> Any:
    return jax.tree.map(lambda leaf: as_rows(where, leaf), a) if isinstance(a, Masked) else as_rows(where, a)


def _test_rows(where: str, test_size: Any, rows: int) -> int:
    if isinstance(test_size, (int, np.integer)) and not isinstance(test_size, bool):
        test = int(test_size)
        if not 0 < test < rows:
            fail(where, expected=f"test_size from 1 to {rows - 1} for {rows} rows", got=str(test))
        return test
    if not isinstance(test_size, (float, np.floating)) or not 0 < test_size < 1:
        fail(where, expected="test_size to be a share in (0, 1) or a number of rows", got=repr(test_size))
    test = math.ceil(float(test_size) * rows)
    if test == rows:
        fail(where, expected="a test_size that leaves rows for training", got=f"{test_size:g} of {rows} rows")
    return test


def _stratified(where: str, stratify: Any, order: np.ndarray, test: int, rng: np.random.Generator) -> np.ndarray:
    """Rows in random order, the first ``test`` of which hold each class by its share."""
    rows = len(order)
    labels = as_labels(f"{where}, stratify", stratify)
    if labels.shape != (rows,):
        fail(where, expected=f"stratify of shape ({rows},), a class for each row", got=describe(labels))
    names, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        fail(where, expected="at least 2 rows of each class in stratify", got=f"1 of {names[counts.argmin()]}")
    for side, size in (("test", test), ("train", rows - test)):
        if size < len(names):
            fail(where, expected=f"at least {len(names)} {side} rows, as many as classes", got=str(size))
    # The largest remainders are rounded up; equal ones in random order.
    share = counts * (test / rows)
    due = np.floor(share).astype(int)
    mixed = rng.permutation(len(names))
    up = mixed[np.argsort(due[mixed] - share[mixed], kind="stable")][: test - due.sum()]
    due[up] += 1
    number = number[order]
    by_class = np.argsort(number, kind="stable")  # rows of class 0, then those of class 1, ..., each in random order
    starts = np.cumsum(counts) - counts
    rank = np.arange(rows) - np.repeat(starts, counts)
    chosen = np.zeros(rows, bool)
    chosen[by_class] = rank < np.repeat(due, counts)
    return np.concatenate([order[chosen], order[~chosen]])
