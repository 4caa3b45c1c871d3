"""Folds: each row is held out once, classes keep their share, and unequal sizes change no mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)

import fnn
from fnn.data import folds, folds_from, take_fold


def real(rows, weight):
    """The rows of a fold without those that only fill it up."""
    return np.asarray(rows if weight is None else rows[weight > 0])


@given(st.integers(2, 60), st.integers(2, 9), st.integers(0, 3))
def test_each_row_is_held_out_exactly_once(size, k, seed):
    k = min(k, size)
    found = folds(seed, size, k)
    assert {type(fold) for fold in found} == {fnn.data.Fold}
    assert len(found) == k
    tests = [real(fold.test, fold.test_weight) for fold in found]
    assert sorted(np.concatenate(tests)) == list(range(size))
    reference = KFold(k).split(np.zeros(size))
    for fold, (train, test) in zip(found, reference, strict=True):
        assert len(real(fold.test, fold.test_weight)) == len(test)
        both = np.concatenate([real(fold.train, fold.train_weight), real(fold.test, fold.test_weight)])
        assert sorted(both) == list(range(size))
        assert len(train) + len(test) == len(both)
    assert len({(fold.train.shape, fold.test.shape) for fold in found}) == 1
    assert (found[0].train_weight is None) == (size % k == 0)


@given(st.lists(st.integers(3, 17), min_size=2, max_size=4), st.integers(2, 3), st.integers(0, 3))
def test_classes_keep_their_share_as_in_scikit_learn(counts, k, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    found = folds(seed, len(labels), k, stratify=labels)
    ours = [np.bincount(labels[real(f.test, f.test_weight)], minlength=len(counts)) for f in found]
    splits = StratifiedKFold(k, shuffle=True, random_state=seed).split(labels, labels)
    theirs = [np.bincount(labels[test], minlength=len(counts)) for _, test in splits]
    assert sorted(map(sum, ours)) == sorted(map(sum, theirs))
    for ours_of_class, theirs_of_class in zip(np.transpose(ours), np.transpose(theirs), strict=True):
        assert sorted(ours_of_class) == sorted(theirs_of_class)
        assert max(ours_of_class) - min(ours_of_class) <= 1


def test_names_are_classes_too():
    names = np.array(["cat", "dog"] * 10)
    for fold in folds(0, 20, 5, stratify=names):
        assert sorted(names[fold.test]) == ["cat", "cat", "dog", "dog"]


def test_folds_depend_on_the_seed_or_key():
    def rows(seed):
        return np.concatenate([fold.test for fold in folds(seed, 24, 4)]).tolist()

    assert rows(3) == rows(3) != rows(4)
    assert rows(jax.random.key(3)) == rows(jax.random.key(3)) != rows(jax.random.key(4))
    assert rows(jax.random.PRNGKey(3)) == rows(jax.random.key(3))


@pytest.mark.slow
def test_weighted_means_equal_those_of_the_fold(rng):
    x, y = rng.normal(size=(11, 2)).astype("f"), rng.normal(size=(11, 1)).astype("f")
    task = fnn.Task(fnn.Dense(1), "mse", metrics=("mae", "r2"))
    ts = fnn.init(task, jax.random.key(0), x)
    lengths = set()
    for fold in folds(0, 11, 3):
        train, held_out = take_fold(fold, x, y)
        for data, rows, weight in ((train, fold.train, fold.train_weight), (held_out, fold.test, fold.test_weight)):
            own = real(rows, weight)
            lengths.add((len(rows), len(own)))
            np.testing.assert_array_equal(data[0], x[rows])
            expected = fnn.evaluate(task, ts, (x[own], y[own]))
            seen = fnn.evaluate(task, ts, data)
            for name in expected.keys():  # noqa: SIM118 - iteration gives values
                assert seen[name] == pytest.approx(expected[name], rel=1e-5)
    assert lengths == {(4, 4), (4, 3), (8, 8), (8, 7)}


def test_trees_of_arrays_are_accepted():
    fold = folds(0, 6, 3)[1]
    x = {"a": np.arange(6.0), "b": np.arange(12).reshape(6, 2)}
    (train, y), (held_out, _) = take_fold(fold, x, jnp.arange(6))
    np.testing.assert_array_equal(train["b"], x["b"][fold.train])
    np.testing.assert_array_equal(held_out["a"], x["a"][fold.test])
    np.testing.assert_array_equal(y, fold.train)


def test_folds_of_scikit_learn():
    groups = np.array([0, 0, 1, 2, 2, 2, 3, 3, 1, 0])
    classes = np.arange(10) % 2
    partitions = [
        *(splitter.split(groups, classes) for splitter in (KFold(4), StratifiedKFold(3), LeaveOneOut())),
        *(splitter.split(groups, classes, groups) for splitter in (StratifiedGroupKFold(2), LeaveOneGroupOut())),
        PredefinedSplit(groups).split(),
    ]
    assert [len(folds_from(partition, 10)) for partition in partitions] == [4, 3, 10, 2, 4, 4]
    for splitter in (ShuffleSplit(3), RepeatedKFold(n_splits=2, n_repeats=2), TimeSeriesSplit(3)):
        with pytest.raises(fnn.InputError, match="Splitters that hold out every row once"):
            folds_from(splitter.split(groups), 10)
    splits = list(GroupKFold(3).split(groups, groups=groups))
    for pairs in (splits, [test for _, test in splits], [test.tolist() for _, test in splits]):
        found = folds_from(pairs, 10)
        for fold, (train, test) in zip(found, splits, strict=True):
            np.testing.assert_array_equal(real(fold.train, fold.train_weight), train)
            np.testing.assert_array_equal(real(fold.test, fold.test_weight), test)


def test_repr_of_a_fold():
    assert repr(folds(0, 100)[0]) == "Fold(int32[80] of 100 rows for training, int32[20] held out)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: folds(0, 10, 11), "k of at most 10, the number of rows, got 11"),
        (lambda: folds(0, 10, 1), "k to be an integer of at least 2, got 1"),
        (lambda: folds(0, 1), "size to be an integer of at least 2, got 1"),
        (
            lambda: folds(0, np.zeros((30, 2))),
            r"^folds: expected the number of rows as size, got float64\[30, 2\]. Pass len\(x\): folds\(seed, 30\).$",
        ),
        (lambda: folds_from([[0], [1]], [7, 8]), r"got a list. Pass len\(x\): folds_from\(parts, 2\)."),
        (lambda: folds_from(KFold(2), 4), r"got a KFold. Pass its splits: folds_from\(splitter.split\(x, y\), len"),
        (
            lambda: folds_from(TimeSeriesSplit(3).split(np.zeros(8)), 8),
            "rows left out: 4, 5, 6, 7. Splitters that hold out every row once, such as KFold, .*pass the row indices",
        ),
        (
            lambda: folds_from(ShuffleSplit(3, test_size=4, random_state=0).split(np.zeros(8)), 8),
            "held out once, got row .* in folds .* Splitters that hold out every row once",
        ),
        (lambda: folds(-1, 10), "seed to be an integer of at least 0"),
        (lambda: folds(jax.random.split(jax.random.key(0)), 10), "one PRNG key"),
        (lambda: folds(0, 10, 5, stratify=[0] * 7 + [1] * 3), "at least 5 rows of each class.*got 3 rows of class 1"),
        (lambda: folds(0, 10, stratify=[0] * 9), r"stratify of shape \(10,\)"),
        (lambda: folds_from([[0, 1], [1, 2], [3]], 4), r"got row 1 in folds \[0, 1\]"),
        (lambda: folds_from([[0, 1], [3]], 4), "each of the 4 rows to be held out once, got rows left out: 2"),
        (lambda: folds_from([[0, 1], [2]], 12), "left out: 3, 4, 5, 6, 7 and 4 more"),
        (lambda: folds_from([([0, 1, 2], [2, 3]), ([2, 3], [0, 1])], 4), "fold 0: .* an overlap: 2"),
        (lambda: folds_from([([2, 3], [0, 1]), ([0], [2, 3])], 4), "fold 1: .* rows left out: 1"),
        (lambda: folds_from([[0, 1], [2, 4]], 4), r"fold 1: expected rows held out in \[0, 4\), got 4"),
        (lambda: folds_from([[0, 1, 0], [2, 3]], 4), "fold 0: expected each row held out once, got more than once: 0"),
        (lambda: folds_from([[True, False], [False, True]], 2), "np.flatnonzero"),
        (lambda: folds_from([[0.0, 1.0], [2.0]], 3), r"the numbers of the rows held out, got float64\[2\]"),
        (lambda: folds_from([[0, 1], []], 2), "fold 1: expected the numbers of the rows held out"),
        (lambda: folds_from([[0, 1, 2]], 3), "at least 2 folds, got 1"),
        (lambda: take_fold(folds(0, 10)[0], np.zeros(9)), r"arrays of 10 rows, .* got float64\[9\]"),
        (lambda: take_fold(np.arange(3), np.zeros(9)), r"a Fold from folds .* got int64\[3\]"),
    ],
)  # fmt: skip
def test_invalid_folds_are_rejected(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
