"""Batches from functions and files, and their rows mixed within a buffer."""

import itertools

import jax
import numpy as np
import pytest

import fnn


def parts(sizes, width=3):
    """Batches whose rows are told apart."""
    ends = np.cumsum(sizes)
    x = np.arange(ends[-1] * width, dtype="float32").reshape(-1, width)
    return [
        (x[end - size : end], np.arange(end - size, end, dtype="int32")) for size, end in zip(sizes, ends, strict=True)
    ]


def rows(batches):
    return np.concatenate([y for _, y in batches])


def make(epoch):
    batches = parts([4, 4, 4, 2])
    return (batches[i] for i in np.random.default_rng(epoch).permutation(4))


def test_a_stream_counts_its_passes():
    stream = fnn.data.Stream(make)
    for epoch in range(3):
        assert stream.state() == {"epoch": epoch, "given": 0}
        np.testing.assert_array_equal(rows(stream), rows(make(epoch)))


@pytest.mark.parametrize("given", range(5))
@pytest.mark.parametrize(
    "new",
    [
        lambda: fnn.data.Stream(make),
        lambda: fnn.data.Shuffled(fnn.data.Stream(make), rows=5, batch_size=4, seed=3),
        lambda: fnn.data.Shuffled(parts([4, 4, 4, 2]), rows=100, seed=3),
    ],
)
def test_a_restored_stream_yields_the_remaining_batches(new, given):
    whole = new()
    next(iter(whole))  # a pass that is broken off does not count
    first, second, third = rows(whole), list(whole), list(whole)
    assert not np.array_equal(first, rows(second))
    broken = new()
    list(broken)
    taken = list(itertools.islice(iter(broken), given)) if given < 4 else list(broken)  # to its very end
    again = new()
    again.restore(broken.state())
    rest = [] if given == 4 else list(again)
    np.testing.assert_array_equal(rows([*taken, *rest]), rows(second))
    np.testing.assert_array_equal(rows(again), rows(third))


def test_state_at_the_last_batch_before_the_pass_has_ended():
    stream, again = fnn.data.Stream(make), fnn.data.Stream(make)
    for _ in zip(range(4), stream):  # noqa: B905 (the pass must not end)
        pass
    again.restore(stream.state())
    assert list(again) == []
    np.testing.assert_array_equal(rows(again), rows(make(1)))


@pytest.mark.parametrize("size", [1, 4, 5, 100])
@pytest.mark.parametrize("buffer", [1, 3, 9, 1000])
def test_each_row_is_emitted_once_with_its_target(buffer, size):
    mixed = fnn.data.Shuffled(parts([3, 7, 1, 20, 2, 4]), rows=buffer, batch_size=size, seed=1)
    batches = list(mixed)
    got = rows(batches)
    np.testing.assert_array_equal(np.sort(got), np.arange(37))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches])[:, 0], 3 * got)
    assert [len(y) for _, y in batches] == [size] * (37 // size) + [37 % size] * (37 % size > 0)


def test_a_buffer_of_all_rows_shuffles_evenly():
    """Every row comes to every place equally often (chi-square with 81 degrees of freedom)."""
    mixed = fnn.data.Shuffled(parts([5, 5]), rows=10, seed=0)
    counts = np.zeros((10, 10))
    for _ in range(2000):
        counts[np.arange(10), rows(mixed)] += 1
    assert ((counts - 200) ** 2 / 200).sum() < 140


def test_a_row_waits_about_a_buffer_long():
    """In a long stream the wait is geometric with the mean of the buffer's rows."""
    mixed = fnn.data.Shuffled(parts([50] * 400), rows=300, seed=0)
    waits = np.arange(20000) - rows(mixed)
    assert (waits >= -300).all()
    assert abs(waits[:15000].mean()) < 30  # those given are as late as those behind them are early
    assert 200 < np.abs(waits[1000:15000]).mean() < 300


def test_the_order_depends_on_pass_and_seed():
    mixed, other = (fnn.data.Shuffled(parts([10] * 5), rows=20, seed=seed) for seed in (0, 1))
    a, b, c = rows(mixed), rows(mixed), rows(other)
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_dicts_weights_and_lists():
    batches = [[{"a": np.full((2, 3), i), "b": np.full(2, i)}, np.full(2, i), np.full(2, 1.0 + i)] for i in range(4)]
    for x, y, w in fnn.data.Shuffled(batches, rows=3, seed=0):
        np.testing.assert_array_equal(x["a"][:, 0], y)
        np.testing.assert_array_equal(x["b"] + 1.0, w)


def test_shuffled_batches_may_be_lists_and_tuples():
    x, y = np.arange(4.0, dtype="float32")[:, None], np.arange(4)
    batches = list(fnn.data.Shuffled([(x, y), [x + 4, y + 4]], rows=3, seed=0))
    assert all(type(batch) is tuple for batch in batches)
    np.testing.assert_array_equal(np.sort(np.concatenate([b[1] for b in batches])), np.arange(8))
    with pytest.raises(fnn.InputError, match="batch 1, y: "):
        list(fnn.data.Shuffled([(x, y), (x, ["a", "b", "c", "d"])], rows=3))


def test_fit_on_a_shuffled_stream_learns(capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype("float32")
    y = (x @ np.float32([[1.0], [-2.0], [0.5]])).astype("float32")
    order = np.argsort(y[:, 0])  # sorted rows, which a buffer must mix

    def batches(epoch):
        return ((x[order[i : i + 20]], y[order[i : i + 20]]) for i in range(0, 400, 20))

    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    stream = fnn.data.Shuffled(fnn.data.Stream(batches, length=20), rows=200)
    ts, _ = fnn.fit(task, fnn.init(task, jax.random.key(0), x), stream, epochs=4)
    assert fnn.evaluate(task, ts, (x, y))["loss"] < 1e-3
    assert "epoch 4/4" in capsys.readouterr().out


def test_length_sets_the_progress_bar(capsys):
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    ts = fnn.init(task, jax.random.key(0), x)
    fnn.fit(task, ts, fnn.data.Stream(lambda epoch: [(x, y)] * 6, length=6))
    assert "6/6" in capsys.readouterr().out
    with pytest.warns(RuntimeWarning, match="the iterable has a length of 6 but gave 2 batches in this epoch"):
        fnn.fit(task, ts, fnn.data.Stream(lambda epoch: [(x, y)] * 2, length=6), verbose=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fnn.data.Stream([1]),
            "expected a function of the epoch, got a list. A list of batches needs",
        ),
        (lambda: fnn.data.Stream(make, length=0), "length to be an integer of at least 1"),
        (lambda: list(fnn.data.Stream(lambda epoch: None)), "a function that returns an iterable of batches, got None"),
        (lambda: fnn.data.Stream(make).restore(3), "expected a dict from state.., got 3"),
        (lambda: fnn.data.Shuffled(parts([2]), rows=0), "rows to be an integer of at least 1"),
        (lambda: fnn.data.Shuffled(parts([2]), rows=2, batch_size=0), "batch_size to be an integer of at least 1"),
        (
            lambda: fnn.data.Shuffled(np.ones(3), rows=2),
            r"an iterable of batches, got float64\[3\]. fit shuffles arrays",
        ),
        (lambda: fnn.data.Shuffled(iter(parts([2])), rows=2), "batches for every pass, got a list_iterator"),
        (lambda: fnn.data.Shuffled(make, rows=2), "an iterable of batches, got a function. Call it"),
        (
            lambda: list(fnn.data.Shuffled([*parts([2]), *parts([2], width=4)], rows=9)),
            r"Shuffled, batch 1: expected rows as before, of float32\[3\], int32\[\], got float32\[4\], int32\[\]",
        ),
        (
            lambda: list(fnn.data.Shuffled([(np.ones((2, 1)), np.ones(3))], rows=9)),
            "Shuffled, batch 0: expected arrays of the same length",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


def test_a_batch_of_another_shape_is_named():
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    stream = [(x, y), (x, y), (np.ones((4, 3), "float32"), y)]
    with pytest.raises(fnn.InputError, match="batch 2 > data"):
        fnn.fit(task, fnn.init(task, jax.random.key(0), x), stream, verbose=0)
