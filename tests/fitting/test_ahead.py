"""Batches that a thread reads ahead: order, copies, errors, positions, and that no thread is left."""

import itertools
import os
import signal
import threading
import traceback

import jax
import numpy as np
import pytest

import fnn
from fnn.fitting.ahead import ReadAhead, pausing_readers

COUNT, ROWS = 6, 4


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not readers()


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "fnn reads ahead"]


@pytest.fixture(scope="module")
def task():
    return fnn.Task(fnn.Sequential(fnn.Dense(3, activation="relu"), fnn.Dense(1)), "mse", fnn.adam(1e-2))


@pytest.fixture(scope="module")
def ts(task):
    return fnn.init(task, jax.random.key(0), (2,))


def batches(epoch):
    rng = np.random.default_rng(epoch)
    for _ in range(COUNT):
        x = rng.normal(size=(ROWS, 2)).astype("float32")
        yield x, x.sum(1, keepdims=True)


def refilled(epoch):
    """The same batches in one buffer, which is refilled before the next batch is asked for."""
    buffer, targets = np.empty((ROWS, 2), "float32"), np.empty((ROWS, 1), "float32")
    for x, y in batches(epoch):
        buffer[:], targets[:] = x, y
        yield buffer, targets
        buffer[:], targets[:] = np.nan, np.nan


def assert_same(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


def params_and_loss(result):
    ts, history = result
    return ts.params, ts.opt_state, history["loss"]


@pytest.mark.parametrize("ahead", [1, 2, 3, 100])
@pytest.mark.parametrize("make", [batches, refilled])
def test_training_on_batches_read_ahead_has_the_same_bits(task, ts, make, ahead):
    want = fnn.fit(task, ts, fnn.data.Stream(batches), epochs=3, verbose=0)
    got = fnn.fit(task, ts, fnn.data.Stream(make, ahead=ahead), epochs=3, verbose=0)
    assert_same(params_and_loss(got), params_and_loss(want))


def test_a_batch_is_read_while_the_one_before_is_used():
    used, read = threading.Event(), threading.Event()

    def make(epoch):
        yield 0
        assert used.wait(10), "the first batch is in use only after the second one was read"
        read.set()
        yield 1

    given = iter(fnn.data.Stream(make, ahead=1))
    assert next(given) == 0
    used.set()
    assert read.wait(10)
    assert list(given) == [1]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_more_is_read_than_asked_for(count):
    asked, enough = [], threading.Semaphore(0)

    def source():
        for number in itertools.count():
            asked.append(number)
            enough.release()
            yield number

    reader = ReadAhead(source(), count)
    assert next(reader) == 0
    for _ in range(1 + count):
        assert enough.acquire(timeout=10)
    reader.pause()  # which waits for a read that began
    assert asked == list(range(1 + count))
    assert [next(reader) for _ in range(3)] == [1, 2, 3]  # nothing is lost
    reader.pause()
    assert len(asked) <= 4 + count


def test_a_pass_that_ends_early_leaves_no_thread():
    for _, _ in fnn.data.Stream(batches, ahead=2):
        break
    assert not readers()
    given = iter(fnn.data.Stream(batches, ahead=2))
    next(given)
    assert readers()
    given.close()


class LoaderError(Exception):
    pass


def failing(epoch):
    yield from itertools.islice(batches(epoch), 2)
    raise LoaderError("disk 7")


def test_an_error_is_raised_in_place_of_its_batch_with_its_traceback(task, ts):
    given = iter(fnn.data.Stream(failing, ahead=5))
    assert len(list(itertools.islice(given, 2))) == 2
    with pytest.raises(LoaderError, match="disk 7") as caught:
        next(given)
    assert "failing" in "".join(traceback.format_tb(caught.tb))
    assert list(given) == []
    reached = []
    callback = fnn.on_batch(lambda step, logs: reached.append(step), every=1)
    with pytest.raises(LoaderError, match="disk 7"):
        fnn.fit(task, ts, fnn.data.Stream(failing, ahead=5), callbacks=[callback], verbose=0)
    assert reached == [1, 2]


def endless(epoch):
    for i in itertools.count():
        yield from batches(i)


def test_errors_of_a_batch_and_of_a_callback_leave_no_thread(task, ts):
    def wrong(epoch):
        yield from itertools.islice(batches(epoch), 2)
        yield np.zeros((ROWS, 5), "float32"), np.zeros((ROWS, 1), "float32")
        yield from endless(epoch)

    def stop(step, logs):
        raise LoaderError("a callback")

    # The traceback keeps the frames of the iteration, and their variables, while it is looked at.
    with pytest.raises(fnn.InputError, match=r"batch 2 .* float32\[4, 5\]") as caught:
        fnn.fit(task, ts, fnn.data.Stream(wrong, ahead=2), verbose=0)
    assert caught.tb is not None
    assert not readers()
    callback = fnn.on_batch(stop, every=3)
    with pytest.raises(LoaderError, match="a callback") as caught:
        fnn.fit(task, ts, fnn.data.Stream(endless, ahead=2), callbacks=[callback], verbose=0)
    assert not readers()


def test_an_endless_stream_stops_with_the_call(task, ts):
    want, _ = fnn.fit(task, ts, fnn.data.Stream(endless), epochs=3, steps_per_epoch=5, verbose=0)
    got, _ = fnn.fit(task, ts, fnn.data.Stream(endless, ahead=3), epochs=3, steps_per_epoch=5, verbose=0)
    assert not readers()
    assert_same(got.params, want.params)
    scores = [fnn.evaluate(task, ts, fnn.data.Stream(endless, ahead=ahead), steps=4) for ahead in (0, 3)]
    assert not readers()
    assert scores[0] == scores[1]


def test_an_iterator_goes_on_after_the_call_that_began_it(task, ts):
    def two_fits(ahead):
        given = iter(fnn.data.Stream(endless, ahead=ahead))
        now, _ = fnn.fit(task, ts, given, steps_per_epoch=5, verbose=0)
        assert not readers()
        return fnn.fit(task, now, given, steps_per_epoch=5, verbose=0)[0].params

    assert_same(two_fits(3), two_fits(0))


def test_predictions_and_a_shuffle_buffer(task, ts):
    plain, ahead = fnn.data.Stream(batches), fnn.data.Stream(batches, ahead=2)
    np.testing.assert_array_equal(fnn.predict(task, ts, ahead), fnn.predict(task, ts, plain))
    assert not readers()
    plain, ahead = (fnn.data.Shuffled(fnn.data.Stream(batches, ahead=n), rows=9, batch_size=3) for n in (0, 2))
    want, got = (fnn.fit(task, ts, given, epochs=2, verbose=0)[0].params for given in (plain, ahead))
    assert_same(got, want)
    assert plain.state() == ahead.state()


@pytest.mark.parametrize("used", range(COUNT + 1))
def test_the_state_is_that_of_the_last_batch_used(used):
    stream = fnn.data.Stream(batches, ahead=3)
    given = iter(stream)
    list(itertools.islice(given, used))
    assert stream.state() == {"epoch": 0, "given": used}
    given.close()
    other = fnn.data.Stream(batches, ahead=3)
    other.restore(stream.state())
    assert_same(list(other), list(batches(0))[used:])


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_killed_run_continues_with_the_same_bits(task, ts, tmp_path, shuffled):
    def source(ahead):
        stream = fnn.data.Stream(batches, ahead=ahead)
        return fnn.data.Shuffled(stream, rows=8, batch_size=ROWS) if shuffled else stream

    def kill(at):
        def callback(step, logs):
            if step == at:
                raise KilledError

        return fnn.on_batch(callback, every=1)

    options = {"epochs": 3, "verbose": 0}
    want = params_and_loss(fnn.fit(task, ts, source(0), **options))
    for at in (1, 4, 6, 7, 11, 16):
        with pytest.raises(KilledError):
            fnn.fit(task, ts, source(3), callbacks=[kill(at)], checkpoint=tmp_path / "run", every=1, **options)
        assert not readers()
    got = fnn.fit(task, ts, source(3), checkpoint=tmp_path / "run", every=1, **options)
    assert_same(params_and_loss(got), want)


def test_ctrl_c_while_a_batch_is_awaited_ends_the_thread(task, ts):
    def make(epoch):
        for number, batch in enumerate(endless(epoch)):
            if number == 3:
                signal.raise_signal(signal.SIGINT)  # handled by the main thread, which waits
            yield batch

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        now, history = fnn.fit(task, ts, fnn.data.Stream(make, ahead=1), verbose=0)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert history.interrupted
    assert 0 < int(now.step) < 10


@pytest.mark.parametrize("wait", [False, True])
def test_a_read_that_hangs_is_left_behind_and_taken_up_again(monkeypatch, wait):
    monkeypatch.setattr("fnn.fitting.ahead._PATIENCE", 0.01)
    begun, release = threading.Event(), threading.Event()

    def source():
        yield 0
        begun.set()
        release.wait(30)
        yield 1
        yield 2

    reader = ReadAhead(source(), 1)
    assert next(reader) == 0
    assert begun.wait(10)
    reader.pause()
    (thread,) = readers()
    release.set()
    if wait:  # else the thread may go on
        thread.join(10)
        assert not readers()
    assert list(reader) == [1, 2]


def test_only_the_readers_of_the_inner_call_are_paused():
    outer = ReadAhead(itertools.count(), 1)
    with pausing_readers():
        next(outer)
        with pausing_readers():
            inner = ReadAhead(itertools.count(), 1)
            next(inner)
            assert len(readers()) == 2
        assert len(readers()) == 1
        assert next(outer) == 1
    assert not readers()


def test_batches_of_any_kind_are_copied():
    class Unknown:
        def __init__(self):
            self.values = [1]

    array, unknown, on_device = np.zeros(2), Unknown(), jax.numpy.ones(2)
    batch = {"a": [array, on_device, "text", None], "b": unknown}
    (found,) = ReadAhead([batch], 1)
    array[:], unknown.values[0] = 1, 2
    assert found["a"][0].tolist() == [0, 0]
    assert found["a"][1] is on_device
    assert found["a"][2:] == ["text", None]
    assert found["b"].values == [1]
    lock = threading.Lock()
    assert list(ReadAhead([lock], 1)) == [lock]  # refused where it is used


def test_settings_of_the_context_hold_in_the_thread():
    def make(epoch):
        yield float(np.float64(1) / np.float64(0))

    with np.errstate(divide="ignore"):
        assert list(fnn.data.Stream(make, ahead=1)) == [np.inf]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_loader_may_fork_workers():
    def make(epoch):
        for number in range(3):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(writing, bytes([number]))
                os._exit(0)
            yield os.read(reading, 1)[0]
            os.waitpid(child, 0)
            os.close(reading)
            os.close(writing)

    assert list(fnn.data.Stream(make, ahead=1)) == [0, 1, 2]


@pytest.mark.parametrize("ahead", [-1, 1.5, None, "2"])
def test_bad_numbers(ahead):
    with pytest.raises(fnn.InputError, match="ahead"):
        fnn.data.Stream(batches, ahead=ahead)
