"""What a process of several makes of the signs of life of the others."""

import json
import math
import threading
from collections import Counter
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import fnn
from fnn._core import processes
from fnn._core.errors import InputError
from fnn.fitting import watchdog
from fnn.fitting.watchdog import Place, Watchdog

LIMIT = 20.0


@pytest.fixture
def dog():
    """The watch of process 0 of three, at time 0."""
    dog = Watchdog(None, LIMIT, "fit", "")
    dog.own, dog.count, dog.place = 0, 3, Place("", 0.0)
    dog.answer, dog.heard, dog.judged = (0.0, {}), 0.0, 0.0
    return dog


def sign(beat, state="at work", text="", seconds=0.0, limit=LIMIT):
    return [state, beat, text, seconds, limit]


def signs(beat, state="at work", text="", seconds=0.0, limit=LIMIT):
    """Process 1 is well and process 2 says this."""
    return {1: sign(beat), 2: sign("same", state, text, seconds, limit)}


def test_a_silent_process(dog):
    for now in range(21):
        assert not dog.problem(signs(now), now)
    assert dog.problem(signs(21), 21) == "process 2 has given no sign for 21 s: it was ended, or hangs"


def test_a_process_that_has_not_called_fit(dog):
    """It may draw a figure before."""
    for now in range(201):
        assert not dog.problem({1: sign(now)}, now)
    assert dog.problem({1: sign(201)}, 201) == "process 2 has not called fit with this mesh for 201 s"


def test_a_late_process_has_the_whole_limit_from_its_first_sign(dog):
    assert not dog.problem({1: sign(0)}, 0)
    assert not dog.problem(signs(1), 100)
    assert not dog.problem(signs(2), 120)
    assert "process 2 has given no sign for 21 s" in dog.problem(signs(3), 121)


@pytest.mark.parametrize(
    ("waits_since", "inside", "problem"), [(0, "", True), (25, "", False), (0, "in a callback", False)]
)
def test_a_process_in_code_of_the_user(waits_since, inside, problem, dog):
    """It matters if this process has waited for it as long."""
    dog.place = Place(inside, waits_since)
    said = dog.problem(signs(30, text="in a callback", seconds=29.6), 30)
    assert said == ("process 2 has been in a callback for 30 s, while this one waits for it" if problem else "")


def test_a_process_that_waits_for_a_message_in_a_callback(dog):
    """As in an `evaluate` there; to the others it is in no callback while it waits."""
    dog.place, dog.store = Place("in a callback", 0.0), Store()
    stuck = {1: sign(30), 2: sign(30, text="in a callback", seconds=29.6)}
    dog.waits_since = 15.0
    assert not dog.problem(stuck, 30)
    dog.waits_since = 5.0
    assert dog.problem(stuck, 30) == "process 2 has been in a callback for 30 s, while this one waits for it"
    dog._say()
    assert dog.store.said() == ["at work", ""]


def test_a_process_that_reads_or_writes_may_take_longer(dog):
    for now in (0, 199):
        beat = {1: sign(now), 2: sign(now, text="writing a checkpoint", seconds=now, limit=200.0)}
        assert not dog.problem(beat, now)
    dog.latest.clear()
    said = dog.problem(signs(0, text="writing a checkpoint", seconds=201, limit=200.0), 201)
    assert said == "process 2 has been writing a checkpoint for 201 s, while this one waits for it"


@pytest.fixture
def places(dog, monkeypatch):
    """What the watch says of the place of its process, at a time that the test sets."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: clock.now)
    token = watchdog._current.set(dog)
    yield dog, clock
    watchdog._current.reset(token)


def test_a_place_within_a_place(places):
    """A callback may evaluate on an iterable, and hang afterwards."""
    dog, clock = places
    with watchdog.inside("a callback"):
        clock.now = 3.0
        with watchdog.busy("reading its data"):
            assert dog.place == Place("reading its data", 3.0, 200.0)
            clock.now = 5.0
        assert dog.place == Place("in a callback", 0.0, 20.0)
        clock.now = 7.0
    assert dog.place.text == ""
    assert dog.place.since == 7.0


@pytest.mark.parametrize(("longest", "limit"), [(3.0, 200.0), (30.0, 300.0)])
def test_devices_that_hang(longest, limit, places):
    """The first call may take long to compile; later ones take about as long."""
    dog, clock = places
    watchdog.computing("training")
    dog.answer = 1.0, {1: sign(1), 2: sign(1)}
    assert not dog.judge(10_000)
    clock.now = longest
    watchdog.computing("training")
    assert not dog.judge(longest + limit - 1)
    said = f"this process has waited for its devices for {limit + 1:.0f} s in training, where it never waited for more"
    assert dog.judge(longest + limit + 1) == f"{said} than {longest:.0f} s before"
    with dog.waiting():  # another process may hang, or write a file
        assert not dog.judge(longest + limit + 1)


def test_the_first_time_of_the_devices_is_measured(places, monkeypatch):
    """Calls return before the devices have computed."""
    dog, clock = places
    monkeypatch.setattr(
        watchdog, "block_until_ready", lambda results: setattr(clock, "now", clock.now + (results or 0.0))
    )
    watchdog.computing("training")
    for _ in range(2):
        watchdog.computing("training", 300.0)
        assert clock.now == dog.longest["training"] == 300.0
    with dog.waiting():
        clock.now += 5000.0
    assert dog.place == Place("", 5300.0, 3000.0)


def test_a_call_in_a_callback(places, monkeypatch):
    """All compute it together, and a process that has finished it waits for the others."""
    dog, clock = places
    monkeypatch.setattr(watchdog, "store", lambda: dog.store)
    watchdog.computing("training")
    for joined, text in ((True, ""), (False, "in a callback")):
        monkeypatch.setattr(watchdog, "is_together", lambda joined=joined: joined)
        dog.store = Store()
        with watchdog.inside("a callback"):
            clock.now += 1.0
            with watchdog.watching("evaluate"):
                assert dog.place.text == text
                watchdog.computing("evaluation")
            assert dog.place == Place("in a callback", clock.now - 1.0, 20.0)
            assert dog.work == "training"


class Places(Watchdog):
    """A watch that keeps every place."""

    def __init__(self):
        self.found = Counter()
        super().__init__(None, LIMIT, "fit", "")

    @property
    def place(self):
        return self.now

    @place.setter
    def place(self, place):
        self.now = place
        self.found[place.text] += 1


class Rows(list):
    """Batches with a position, which may hang as those of a loader."""

    def state(self):
        return 0

    def restore(self, state):
        pass


def test_what_may_hang_is_marked(tmp_path):
    places = Places()
    token = watchdog._current.set(places)
    x = np.ones((4, 2), "float32")
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(0), x)
    best = fnn.early_stopping("loss")
    data = Rows([(x, x[:, :1])])
    try:
        for epochs in (1, 2):
            options = {"validation_data": Rows(data), "callbacks": [best], "checkpoint": tmp_path / "run"}
            fnn.fit(task, ts, data, epochs=epochs, verbose=0, **options)
    finally:
        watchdog._current.reset(token)
    assert places.found["in a callback"] == 4  # after an epoch and at the end, in each of the two trainings
    assert set(places.found) == {
        "",
        "looking for the folder of the checkpoints",
        "checking its data",
        "in a callback",
        "in the restore of its iterables",
        "in the state() of its iterable",
        "in the state() of its validation data",
        "opening the checkpoint folder",
        "reading a checkpoint",
        "writing a checkpoint",
    }
    assert set(places.longest) == {"training", "evaluation"}


def test_only_process_0_is_busy_for_all(places, monkeypatch):
    """The others wait for it."""
    dog, _ = places
    for first, text in ((True, "writing a checkpoint"), (False, "")):
        monkeypatch.setattr(watchdog, "is_first", lambda first=first: first)
        with watchdog.busy_for_all("writing a checkpoint"):
            assert dog.place.text == text


def test_a_process_that_failed(dog):
    """The others may be about to raise the same error."""
    failed = {"state": "failed", "text": "OSError: no disk"}
    assert not dog.problem(signs(0, **failed), 0)
    assert not dog.problem(signs(4, **failed), 4)
    still = {1: sign(6), 2: sign("another beat", **failed)}
    assert dog.problem(still, 6) == "process 2 failed: OSError: no disk"


def test_a_process_that_finished(dog):
    for now in range(0, 100, 10):
        assert not dog.problem(signs(now, state="finished"), now)


def test_a_failed_collective_operation(dog):
    """The silent process is found sooner, and an error that all have is left to each."""
    dog.failure = "Gloo all-reduce failed"
    assert not dog.problem(signs(0), 0)
    assert "process 2 has given no sign for 4 s" in dog.problem(signs(4), 4)
    failed = sign(1, "failed", "RESOURCE_EXHAUSTED")
    assert not dog.closed.is_set()
    assert not dog.problem({0: failed, 1: failed, 2: failed}, 5)
    assert dog.closed.is_set()


def test_a_store_that_does_not_answer(dog):
    """The processes of which it would tell are not to blame."""
    dog.answer = 1.0, signs(0)
    for now in range(1, 22):
        assert not dog.judge(now)
    assert dog.judge(22) == "process 0, which coordinates the others, has not answered for 21 s"
    dog.answer = 22.5, signs(1)
    assert dog.judge(23) == "process 2 has given no sign for 22 s: it was ended, or hangs"


def test_a_process_that_was_stopped_itself(dog):
    """Its silence is not that of the store."""
    dog.answer = 1.0, signs(0)
    assert not dog.judge(1)
    assert not dog.judge(1000)
    dog.answer = 1000.5, {1: sign(1), 2: sign(1)}
    assert not dog.judge(1001)


class Stuck:
    """A store that never answers until it is released."""

    def __init__(self):
        self.released = threading.Event()

    def key_value_set(self, key, text, allow_overwrite):
        self.released.wait()

    def key_value_dir_get(self, folder):
        return []


def test_a_store_that_never_returns_is_noticed(monkeypatch):
    ended, said = threading.Event(), []

    def end(dog, problem):
        said.append(problem)
        ended.set()

    monkeypatch.setattr(Watchdog, "end", end)
    store = Stuck()
    dog = Watchdog(store, 0.1, "fit", "")
    dog.start()
    try:
        assert ended.wait(60)
        assert "process 0, which coordinates the others, has not answered" in said[0]
    finally:
        dog.closed.set()
        store.released.set()


@pytest.mark.parametrize("text", ["soon", "0", "nan"])
def test_the_time_limit(text, monkeypatch):
    assert watchdog._limit() == LIMIT
    monkeypatch.setenv("FNN_PROCESS_TIMEOUT", "90")
    assert watchdog._limit() == 90
    monkeypatch.setenv("FNN_PROCESS_TIMEOUT", text)
    with pytest.raises(InputError, match=f"environment: expected FNN_PROCESS_TIMEOUT.*got {text!r}"):
        watchdog._limit()


def test_one_process_needs_no_watch():
    with watchdog.watching("fit"), watchdog.inside("a callback"):
        assert watchdog._current.get() is None


class Store:
    """A key-value store that this process alone uses."""

    def __init__(self):
        self.entries = {}

    def key_value_set(self, key, text, allow_overwrite):
        self.entries[key] = text

    def key_value_dir_get(self, folder):
        return list(self.entries.items())

    def said(self):
        """The latest state of this process, with its text."""
        (text,) = self.entries.values()
        return json.loads(text)[::2][:2]


@pytest.fixture
def store(monkeypatch):
    store = Store()
    monkeypatch.setattr(watchdog, "store", lambda: store)
    monkeypatch.setattr(watchdog, "is_together", lambda: True)
    return store


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (watchdog.AgreedExit(143), ["finished", ""]),
        (SystemExit(3), ["failed", "SystemExit: 3"]),
        (OSError("no disk"), ["failed", "OSError: no disk"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_last_sign(error, state, store):
    """Only an end to which all have agreed is no failure."""
    with pytest.raises(type(error)), watchdog.watching("fit"):
        raise error
    assert store.said() == state


def test_waits_for_messages_are_marked(store):
    with watchdog.watching("fit"):
        dog = watchdog._current.get()
        with processes.waiting.get()():
            assert dog.waits_since < math.inf
        assert dog.waits_since == math.inf
    with processes.waiting.get()():
        assert dog.waits_since == math.inf


def test_an_error_of_the_runtime_is_printed_before_the_process_waits(store, monkeypatch, capsys):
    """It may be the error of another process, of which the watch then tells."""
    printed = []

    class Closed(threading.Event):
        def wait(self, timeout=None):
            if threading.current_thread() is threading.main_thread():
                printed.append(capsys.readouterr().err)
                self.set()
            return super().wait(timeout)

    monkeypatch.setattr(watchdog.threading, "Event", Closed)
    monkeypatch.setattr(Watchdog, "start", lambda dog: None)
    with pytest.raises(ValueError, match="Gloo"), watchdog.watching("fit"):
        raise ValueError("INTERNAL: Gloo all-reduce failed")
    assert len(printed) == 1
    assert "Traceback (most recent call last)" in printed[0]
    assert "raise ValueError(" in printed[0]
    assert "INTERNAL: Gloo all-reduce failed" in printed[0]
