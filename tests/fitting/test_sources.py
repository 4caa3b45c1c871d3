"""Data that comes in chunks: from files, from host memory, and from iterables."""

import itertools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_run

import fnn
from fnn.fitting import inputs, pieces, shares, sources, streams


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(70, 5)).astype("float32")
    return x, (x @ rng.normal(size=(5, 3))).argmax(1).astype("int32"), np.linspace(0.5, 2, 70).astype("float32")


@pytest.fixture(scope="module")
def mapped(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapped")
    for i, array in enumerate(data):
        np.save(folder / f"{i}.npy", array)
    return tuple(np.load(folder / f"{i}.npy", mmap_mode="r") for i in range(3))


@pytest.fixture(scope="module")
def task():
    model = fnn.Sequential(fnn.BatchNorm(), fnn.Dropout(0.1), fnn.Dense(3))
    return fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(0.05, momentum=0.9), metrics=("accuracy",))


def assert_close_runs(a, b):
    """To rounding: the last, smaller batch comes from arrays of another shape, hence from another program."""
    assert_close(a[0], b[0], 1e-4, 1e-6)
    assert_close(*(np.asarray(run[1]["loss"]) for run in (a, b)), 1e-5, 0)


@pytest.fixture(scope="module")
def whole(task, ts, data):
    return fnn.fit(task, ts, data, epochs=3, batch_size=16, verbose=0)


@pytest.fixture(scope="module")
def independent():
    """A task in which each example counts alone, so that the last, smaller batch is padded."""
    model = fnn.Sequential(fnn.Dropout(0.3), fnn.LayerNorm(), fnn.Dense(3))
    optimizer = fnn.sgd(0.05, momentum=0.9)
    return fnn.Task(model, "sparse_categorical_crossentropy", optimizer, metrics=("accuracy", "top_k_accuracy"))


def by_hand(task, ts, data, epochs, shuffle=True):
    """Single steps, the last one on the smaller batch as it is; the loss as the mean over the examples."""
    losses = []
    for _ in range(epochs):
        order, total = np.asarray(fnn.epoch_order(ts, 70, shuffle)), 0.0
        for start in range(0, 70, 16):
            batch = jax.tree.map(lambda a, rows=order[start : start + 16]: a[rows], data)
            ts, logs = fnn.train_step(task, ts, batch)
            total += float(logs["loss"]) * len(batch[0]) / 70
        losses.append(total)
    return ts, {"loss": losses}


@pytest.mark.slow
@pytest.mark.parametrize("chunk_bytes", [None, 2 * 16 * 28])
def test_a_padded_batch_equals_the_smaller_batch(independent, data, chunk_bytes):
    """Parameters, loss, metrics and dropout: the rows that fill it up leave no trace."""
    ts = fnn.init(independent, jax.random.key(0), data[0][:1])
    got = fnn.fit(independent, ts, data, epochs=2, batch_size=16, verbose=0, chunk_bytes=chunk_bytes)
    assert_close_runs(got, by_hand(independent, ts, data, 2))
    ran, history = fnn.run(independent, ts, data, epochs=2, batch_size=16)
    assert_close_runs(got, (ran, jax.tree.map(np.asarray, history)))
    np.testing.assert_allclose(got[1]["accuracy"], history["accuracy"], 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("most", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 64])
def test_a_stream_whose_last_batch_is_padded(independent, data, most, monkeypatch):
    gather(monkeypatch, most)
    ts = fnn.init(independent, jax.random.key(0), data[0][:1])
    got = fnn.fit(independent, ts, Loader(data, 16), epochs=2, verbose=0)
    assert_close_runs(got, by_hand(independent, ts, data, 2, shuffle=False))


@pytest.mark.slow
def test_a_padded_batch_compiles_nothing(independent, task, data):
    def programs(task, stream):
        ts = fnn.init(task, jax.random.key(0), data[0][:1])
        before = pieces._advance._cache_size(), pieces._advance_rows._cache_size()
        fnn.fit(task, ts, Loader(data, 16) if stream else data, batch_size=16, verbose=0)
        after = pieces._advance._cache_size(), pieces._advance_rows._cache_size()
        return after[0] - before[0], after[1] - before[1]

    fresh = [task.replace(optimizer=fnn.sgd(0.1)) for task in (independent, independent, task)]
    assert programs(fresh[0], stream=False) == (1, 0)
    assert programs(fresh[1], stream=True) == (1, 0)
    assert programs(fresh[2], stream=False) == (1, 1)  # BatchNorm looks at the whole batch


def test_batches_of_dependent_rows_are_not_padded():
    """A loss, activation or layer of the user's own may look at the whole batch."""
    from fnn.training.epoch import pads_last_batch

    known = fnn.Sequential(fnn.Dense(4, activation="tanh"), fnn.Residual(fnn.Dense(4)))
    centred = fnn.Dense(4, activation=lambda x: x - x.mean(0))
    assert pads_last_batch(fnn.Task(known, "mse"))
    assert not pads_last_batch(fnn.Task(known, lambda predictions, targets: predictions.mean() - targets[:, 0]))
    for layer in (centred, fnn.Activation(lambda x: x), fnn.BatchNorm(), fnn.Layer(known.init, known.apply)):
        assert not pads_last_batch(fnn.Task(fnn.Sequential(known, layer), "mse"))
        assert not pads_last_batch(fnn.Task(fnn.Residual(layer), "mse"))


@pytest.mark.slow
def test_training_on_dependent_rows_equals_a_loop(data):
    task = fnn.Task(fnn.Dense(3, activation=lambda x: x - x.mean(0)), "sparse_categorical_crossentropy", fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(0), data[0][:1])
    assert_close_runs(fnn.fit(task, ts, data, epochs=2, batch_size=16, verbose=0), by_hand(task, ts, data, 2))


# 70 rows in batches of 16: four whole batches and a rest of 6. A row has 28 bytes.
@pytest.mark.parametrize("batches", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 4, 100])
def test_chunks_equal_the_whole(task, ts, data, whole, batches):
    got = fnn.fit(task, ts, data, epochs=3, batch_size=16, verbose=0, chunk_bytes=batches * 16 * 28)
    assert_same_run(got, whole)


@pytest.mark.slow
@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("kind", ["task", pytest.param("independent", marks=pytest.mark.slow)])
def test_a_short_last_chunk(kind, data, drop, request):
    """Five whole batches of 13 and a rest of 5 in chunks of two: the last one holds one batch, and the rest."""
    task, options = request.getfixturevalue(kind), {"epochs": 2, "batch_size": 13, "drop_remainder": drop, "verbose": 0}
    ts = fnn.init(task, jax.random.key(0), data[0][:1])
    assert_same_run(
        fnn.fit(task, ts, data, chunk_bytes=2 * 13 * 28, **options),
        fnn.fit(task, ts, data, **options),
    )


def test_memory_mapped_arrays_equal_the_whole(task, ts, mapped, whole, monkeypatch):
    monkeypatch.setattr("fnn.fitting.plan.CHUNK_BYTES", 2 * 16 * 28)
    read = []
    original = sources.take_from_host
    monkeypatch.setattr(
        sources, "take_from_host", lambda data, rows, *more: read.append(len(rows)) or original(data, rows, *more)
    )
    got = fnn.fit(task, ts, mapped, epochs=3, batch_size=16, verbose=0)
    assert_same_run(got, whole)
    assert read == [32, 38] * 3


@pytest.mark.parametrize(
    "options",
    [
        *(pytest.param(o, marks=pytest.mark.slow) for o in ({"shuffle": False}, {"drop_remainder": True})),
        {"class_weight": "balanced"},
    ],
)
def test_options_have_the_same_effect_with_chunks(task, ts, data, options):
    plain = fnn.fit(task, ts, data, batch_size=16, verbose=0, **options)
    assert_same_run(fnn.fit(task, ts, data, batch_size=16, verbose=0, chunk_bytes=32 * 28, **options), plain)


@pytest.mark.slow
def test_validation_by_chunks_equals_the_whole(task, ts, data, mapped, monkeypatch):
    _, plain = fnn.fit(task, ts, data, validation_split=0.3, batch_size=16, verbose=0)
    _, chunks = fnn.fit(task, ts, data, validation_split=0.3, batch_size=16, verbose=0, chunk_bytes=500)
    for name in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(chunks[name], plain[name], 1e-5)
    monkeypatch.setattr("fnn.fitting.plan.CHUNK_BYTES", 500)
    seen, expected = fnn.evaluate(task, ts, mapped), fnn.evaluate(task, ts, data)
    assert dict(seen) == pytest.approx(dict(expected), rel=1e-5)
    np.testing.assert_allclose(fnn.predict(task, ts, mapped[0]), fnn.predict(task, ts, data[0]), 1e-5, 1e-6)


def test_a_dict_of_arrays_by_chunks(data):
    def apply(params, state, x, **_):
        return x["a"] * params["w"] + x["b"][:, :1], state

    model = fnn.Layer(lambda key, x: ({"w": jnp.ones(1)}, {}), apply)
    task = fnn.Task(model, "mse", fnn.sgd(0.1))
    x, y = {"a": data[0][:, :1], "b": data[0]}, data[0][:, 1:2]
    ts = fnn.init(task, jax.random.key(0), jax.tree.map(lambda a: a[:1], x))
    whole = fnn.fit(task, ts, (x, y), batch_size=16, verbose=0)
    assert_same_run(fnn.fit(task, ts, (x, y), batch_size=16, verbose=0, chunk_bytes=2 * 16 * 28), whole)


def test_invalid_values_are_reported_with_their_index_before_training(task, ts, data, mapped, tmp_path, monkeypatch):
    def no_training(*args, **kwargs):
        raise AssertionError("trained")

    monkeypatch.setattr(pieces, "_advance", no_training)
    x = data[0].copy()
    x[69, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    x_mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    message = r"1 NaN or infinite values, the first at index \(69, 2\)"
    with pytest.raises(fnn.InputError, match=f"data, x: .*{message}"):
        fnn.fit(task, ts, (x, data[1]), batch_size=16, verbose=0, chunk_bytes=500)
    with pytest.raises(fnn.InputError, match=f"validation_data, x: .*{message}"):
        fnn.fit(task, ts, mapped, batch_size=16, verbose=0, validation_data=(x, data[1]))
    monkeypatch.setattr("fnn.fitting.plan.CHUNK_BYTES", 500)
    for call in (lambda: fnn.evaluate(task, ts, (x_mapped, data[1])), lambda: fnn.predict(task, ts, x_mapped)):
        with pytest.raises(fnn.InputError, match=message):
            call()
    with pytest.raises(fnn.InputError, match=r"labels in \[0, 3\)"):
        fnn.fit(task, ts, (data[0], np.where(np.arange(70) == 69, 3, data[1])), verbose=0, chunk_bytes=500)


def test_rows_that_are_not_wanted_fill_no_batch(data, monkeypatch):
    """A process that reads a part of each batch pads the last one with a row of the data, and not with any memory."""
    rows = np.array([4, 1, 3, 0])
    monkeypatch.setattr(np, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))
    got = inputs.take_from_host(data[0], rows, 6, np.array([False, True, False, True]))
    np.testing.assert_array_equal(got[[1, 3, 4, 5]], data[0][[1, 0, 4, 4]])


@pytest.mark.parametrize(("saved", "before"), [({"fnn processes": [3, 3]}, "2 processes"), (3, "process whose")])
def test_shares_continue_with_as_many_processes_as_before(saved, before, monkeypatch):
    """Positions that are equal are of different shares."""
    count = 1 if before == "2 processes" else 2
    monkeypatch.setattr(shares, "is_together", lambda: count > 1)
    monkeypatch.setattr(jax, "process_count", lambda: count)
    with pytest.raises(fnn.InputError, match=rf"f: expected the {before}.* saved, got {count} of them. Each process"):
        shares.of_this_process("f", saved)
    assert shares.of_this_process("f", None) is None


def test_the_reader_ends_with_the_training(task, ts, data, monkeypatch):
    """Also when reading fails, or the training is left in the middle of an epoch."""
    original, calls = sources.take_from_host, []

    def read(*args):
        calls.append(args)
        if len(calls) == 3:
            raise OSError("the disk is gone")
        return original(*args)

    monkeypatch.setattr(sources, "take_from_host", read)
    with pytest.raises(OSError, match="the disk is gone"):
        fnn.fit(task, ts, data, epochs=2, batch_size=16, verbose=0, chunk_bytes=32 * 28)
    monkeypatch.setattr(fnn.fitting.progress.Progress, "advance", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fnn.fit(task, ts, data, batch_size=16, verbose=0, chunk_bytes=32 * 28)
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def test_chunk_bytes_is_for_arrays(task, ts, data):
    with pytest.raises(fnn.InputError, match="expected arrays with chunk_bytes"):
        fnn.fit(task, ts, [data], verbose=0, chunk_bytes=100)
    with pytest.raises(fnn.InputError, match="chunk_bytes"):
        fnn.fit(task, ts, data, verbose=0, chunk_bytes=0)


def rows_of(data, start, stop):
    return tuple(a[start:stop] for a in data)


class Loader:
    """Batches in order, in one buffer that is filled again and again, as loaders like to do."""

    def __init__(self, data, size):
        self.data, self.size = data, size
        self.buffer = tuple(np.empty((size, *a.shape[1:]), a.dtype) for a in data)

    def __iter__(self):
        for start in range(0, 70, self.size):
            count = min(self.size, 70 - start)
            for buffer, array in zip(self.buffer, self.data, strict=True):
                buffer[:count] = array[start : start + count]
            yield tuple(buffer[:count] for buffer in self.buffer)


def gather(monkeypatch, most):
    """As if batches were quick and the device always busy, so that from the fourth on they are gathered."""
    monkeypatch.setattr(streams, "_MOST_GATHERED", most)
    monkeypatch.setattr(streams, "_LOOK_AFTER", 1)
    monkeypatch.setattr(streams, "_SHORT", 1e9)
    monkeypatch.setattr(streams.StreamSource, "_idle", lambda self: self.most == 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "pieces"),
    [
        pytest.param(1, [1] * 9, marks=pytest.mark.slow),
        pytest.param(2, [1, 1, 1, 2, 2, 1, 1], marks=pytest.mark.slow),
        (64, [1, 1, 1, 5, 1]),
    ],
)
def test_gathered_batches_equal_arrays_in_order(task, ts, data, most, pieces, monkeypatch):
    gather(monkeypatch, most)
    seen, original = [], streams.StreamSource.pieces

    def counted(self, ts, done, made):
        for piece in original(self, ts, done, made):
            seen.append(piece.whole)
            yield piece

    monkeypatch.setattr(streams.StreamSource, "pieces", counted)
    want = fnn.fit(task, ts, data, epochs=2, batch_size=8, shuffle=False, verbose=0)
    assert_close_runs(fnn.fit(task, ts, Loader(data, 8), epochs=2, verbose=0), want)
    assert seen[: len(pieces)] == pieces


@pytest.mark.slow
def test_batches_of_changing_size(task, ts, data):
    sizes = [16, 16, 5, 16, 9, 8]
    starts = np.cumsum([0, *sizes])
    stream = [rows_of(data, a, b) for a, b in itertools.pairwise(starts)]
    got, _ = fnn.fit(task, ts, stream, verbose=0)
    want = ts
    for batch in stream:
        want, _ = fnn.train_step(task, want, batch)
    for a, b in zip(jax.tree.leaves(got.params), jax.tree.leaves(want.params), strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)
    assert int(got.step) == len(sizes)


@pytest.mark.slow
def test_batches_on_the_device(task, ts, data):
    want = fnn.fit(task, ts, data, batch_size=16, shuffle=False, verbose=0)
    stream = [jax.tree.map(jnp.asarray, rows_of(data, i, i + 16)) for i in range(0, 70, 16)]
    assert_close_runs(fnn.fit(task, ts, stream, verbose=0), want)


def test_class_weights_of_a_stream(task, ts, data):
    stream = [rows_of(data[:2], i, i + 16) for i in range(0, 70, 16)]
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    want = fnn.fit(task, ts, data[:2], batch_size=16, shuffle=False, class_weight=weights, verbose=0)
    assert_close_runs(fnn.fit(task, ts, stream, class_weight=weights, verbose=0), want)
    with pytest.raises(fnn.InputError, match="numbers as class_weight with an iterable"):
        fnn.fit(task, ts, stream, class_weight="balanced", verbose=0)


def test_an_error_in_the_loader_propagates(task, ts, data):
    def stream():
        yield rows_of(data, 0, 16)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fnn.fit(task, ts, stream(), verbose=0)


def test_the_bar_counts_the_steps_of_a_stream(task, ts, data, capsys):
    fnn.fit(task, ts, [rows_of(data, i, i + 16) for i in range(0, 70, 16)], verbose=1)
    assert "5/5" in capsys.readouterr().out


def test_an_iterable_is_iterated_once_per_epoch(task, ts, data):
    """A data loader starts its workers in ``__iter__``."""
    started = []

    class Loader:
        def __iter__(self):
            started.append(None)
            return iter([rows_of(data, 0, 16)])

    fnn.fit(task, ts, Loader(), epochs=3, verbose=0)
    assert len(started) == 3


def test_a_batch_size_other_than_that_of_the_iterable_is_refused(independent, data):
    def fit(stream, **options):
        return fnn.fit(independent, fnn.init(independent, jax.random.key(0), data[0][:1]), stream, verbose=0, **options)

    for size in (7, 17, 32, np.int64(20)):
        with pytest.raises(fnn.InputError, match=rf"fit: expected batches of {size} rows, as batch_size says, got"):
            fit(Loader(data, 16), batch_size=size)
    small = tuple(a[:5] for a in data)
    for stream, size in ((Loader(data, 16), 16), (Loader(data, 16), None), ([small], 32)):
        fit(stream, batch_size=size)  # a single batch may be the smaller last one
    with pytest.raises(fnn.InputError, match="batch_size to be an integer of at least 1, got 0"):
        fit([small], batch_size=0)
