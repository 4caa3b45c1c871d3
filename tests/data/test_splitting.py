"""Splits into training and test rows against scikit-learn."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import model_selection

import fnn
from fnn.data import (
    train_test_split,
)


@given(st.integers(2, 60), st.one_of(st.floats(0.01, 0.99), st.integers(1, 59)), st.integers(0, 9))
def test_split_is_disjoint_complete_and_of_sklearns_sizes(rows, test_size, seed):
    numbers = np.arange(rows)
    try:
        want = model_selection.train_test_split(numbers, test_size=test_size)
    except ValueError:
        with pytest.raises(fnn.InputError, match="test_size"):
            train_test_split(numbers, test_size=test_size)
        return
    pairs = np.stack([numbers, -numbers], 1)
    a_train, a_test, b_train, b_test = train_test_split(numbers, pairs, test_size=test_size, seed=seed)
    assert [len(a_train), len(a_test)] == [len(part) for part in want]
    assert sorted([*a_train, *a_test]) == numbers.tolist()
    np.testing.assert_array_equal(b_train, np.stack([a_train, -a_train], 1))
    np.testing.assert_array_equal(b_test, np.stack([a_test, -a_test], 1))


def test_split_is_random_but_repeatable():
    numbers = np.arange(1000)
    first, again, other = (train_test_split(numbers, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[1], again[1])
    assert len(set(first[1]) & set(other[1])) < 100
    for part in (*first, *train_test_split(numbers, seed=5, stratify=numbers % 3)):
        assert np.abs(np.diff(part)).mean() > 200, "rows come in random order"
    # Every row has the same chance, 0.2 in 400 splits.
    counts = np.bincount(np.concatenate([train_test_split(np.arange(20), test_size=4, seed=s)[1] for s in range(400)]))
    assert counts.min() > 45
    assert counts.max() < 115


@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.floats(0.05, 0.95), st.integers(0, 5))
def test_stratified_split_keeps_the_shares(sizes, test_size, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 10 - 7, sizes))
    numbers = np.arange(len(labels))
    try:
        model_selection.train_test_split(numbers, test_size=test_size, stratify=labels)
    except ValueError:
        with pytest.raises(fnn.InputError, match=r"rows, one for each class|leaves rows for training"):
            train_test_split(numbers, test_size=test_size, stratify=labels)
        return
    train, test, y_train, y_test = train_test_split(numbers, labels, test_size=test_size, seed=seed, stratify=labels)
    assert sorted([*train, *test]) == numbers.tolist()
    assert len(test) == math.ceil(test_size * len(labels))
    np.testing.assert_array_equal(labels[test], y_test)
    np.testing.assert_array_equal(labels[train], y_train)
    for label, size in zip(np.unique(labels), sizes, strict=True):
        due = size * len(test) / len(labels)
        assert math.floor(due + 1e-9) <= (y_test == label).sum() <= math.ceil(due - 1e-9)


def test_stratified_split_equals_sklearns_counts(rng):
    labels = rng.choice(["a", "b", "c"], 200, p=[0.6, 0.3, 0.1])
    _, want = model_selection.train_test_split(labels, test_size=0.3, stratify=labels)
    _, got = train_test_split(labels, test_size=0.3, stratify=labels)
    for name in "abc":
        assert abs((got == name).sum() - (want == name).sum()) <= 1
    # Of rows that are due in equal parts, chance decides which class gets the odd one.
    y = np.array([0, 0, 0, 1, 1, 1])
    odd = {int(train_test_split(y, test_size=3, seed=seed, stratify=y)[1].sum()) for seed in range(20)}
    assert odd == {1, 2}


def test_split_keeps_the_kind_of_array(rng):
    x, y = jnp.asarray(rng.normal(size=(10, 2))), ["a", "b"] * 5
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=3, stratify=y)
    assert isinstance(x_test, jax.Array)
    assert isinstance(y_train, np.ndarray)
    assert (x_train.shape, x_test.shape, y_train.shape, y_test.shape) == ((7, 2), (3, 2), (7,), (3,))
    np.testing.assert_array_equal(x_test, jax.jit(lambda a: train_test_split(a, test_size=3, stratify=y))(x)[1])


@pytest.mark.parametrize(
    ("arrays", "options", "match"),
    [
        ([], {}, "at least one array, got none"),
        ([np.arange(4), np.arange(5)], {}, "arrays of the same length, got 4, 5"),
        ([np.arange(4), 0.3], {}, "arrays of rows, got a single number. Pass options by name"),
        ([np.arange(1)], {}, "at least 2 rows, got 1"),
        ([np.zeros((0, 3))], {}, "at least 2 rows, got 0"),
        ([np.arange(4)], {"test_size": 0}, "test_size from 1 to 3 for 4 rows, got 0"),
        ([np.arange(4)], {"test_size": 4}, "test_size from 1 to 3 for 4 rows, got 4"),
        ([np.arange(4)], {"test_size": 1.0}, r"test_size to be a fraction in \(0, 1\) or a number of rows, got 1.0"),
        ([np.arange(4)], {"test_size": True}, "a fraction in .* got True"),
        ([np.arange(4)], {"test_size": math.nan}, "a fraction in .* got nan"),
        ([np.arange(4)], {"test_size": 0.8}, "a test_size that leaves rows for training, got 0.8 of 4 rows"),
        ([np.arange(4)], {"seed": -1}, "seed to be an integer of at least 0"),
        ([np.arange(4)], {"seed": 0.5}, "seed to be an integer of at least 0"),
        ([np.arange(4)], {"stratify": [0, 1, 1]}, r"stratify of shape \(4,\), a class for each row, got int64\[3\]"),
        ([np.arange(4)], {"stratify": list("aaab")}, "at least 2 rows of each class in stratify, got 1 row of class b"),
        ([np.arange(6)], {"stratify": [0, 0, 1, 1, 2, 2], "test_size": 2}, "at least 3 test rows, one for each class"),
        ([np.arange(6)], {"stratify": [0, 0, 1, 1, 2, 2], "test_size": 4}, "at least 3 train rows, one for each class"),
    ],
)
def test_split_bad_input(arrays, options, match):
    with pytest.raises(fnn.InputError, match=f"train_test_split: expected .*{match}"):
        train_test_split(*arrays, **options)
