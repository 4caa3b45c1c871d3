"""The messages between processes, with a store in place of that of `jax.distributed`."""

import contextlib
import json

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from fnn._core import processes
from fnn._core.errors import InputError


class Store:
    """A key-value store in which process 1 answers once this process has waited for it; texts are those of `fit`."""

    def __init__(self, answers, error="DEADLINE_EXCEEDED: timed out"):
        self.entries, self.answers, self.error, self.waits = {}, iter(answers), error, 0

    def key_value_set(self, key, text):
        assert key not in self.entries
        self.entries[key] = text

    def key_value_dir_get(self, folder):
        return [(key, text) for key, text in self.entries.items() if key.startswith(folder)]

    def blocking_key_value_get(self, key, milliseconds):
        self.waits += 1
        if self.waits % 2:  # the other one is late
            raise jax.errors.JaxRuntimeError(self.error)
        answer = next(self.answers)
        self.entries[key] = json.dumps(["fit", "text", answer] if isinstance(answer, str) else answer)

    def key_value_delete(self, folder):
        self.entries = {key: text for key, text in self.entries.items() if not key.startswith(folder)}


@pytest.fixture
def two(monkeypatch):
    """Process 0 of two; the function sets its store."""
    monkeypatch.setattr(processes.Messages, "sent", 0)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with processes.together(True, "fit"):
        yield lambda store: monkeypatch.setattr(processes, "store", lambda: store)


def test_a_process_waits_for_the_others_and_removes_what_all_have_read(two):
    store = Store([["fit", "numbers", "[3, 4]"], "late"])
    two(store)
    assert processes.exchanged(1, True).tolist() == [[1, 1], [3, 4]]
    assert processes.texts("") == ["", "late"]
    assert store.waits == 4
    assert processes.Messages.sent == 2
    assert sorted(store.entries) == ["fnn/messages/1/0", "fnn/messages/1/1"]


def test_an_error_of_the_store_is_raised(two):
    two(Store([], "UNAVAILABLE: Socket closed"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="Socket closed"):
        processes.texts("own")


MISMATCHES = {
    "save": ([["save", "text", ""]], r"processes: expected the same call .*got fit on process 0 and save on process 1"),
    "kind": ([["fit", "numbers", "[]"]], r"fit: .*the same messages .*got text on process 0 and numbers on process 1"),
    "failure": ([["fit", "failure", "OSError: no disk"]], r"fit: process 1 failed, so this one .* OSError: no disk"),
    "other failure": ([["save", "failure", "OSError"]], r"processes: .*got fit on process 0 and save on process 1"),
}


@pytest.mark.parametrize(("answers", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_messages_of_another_call_are_refused(answers, message, two):
    two(Store(answers))
    with pytest.raises(InputError, match=message):
        processes.texts("own")
    assert processes.Messages.sent == 1  # as on the other process, so the next messages are of one call again


@pytest.mark.parametrize("inside", [contextlib.nullcontext(), processes.agreeing("data")], ids=["call", "agreement"])
def test_an_error_is_told_without_a_wait(inside, two):
    """Before the first message of a call by the call itself, and later by what agrees."""
    store = Store([])
    two(store)
    with pytest.raises(OSError, match="no disk"), processes.together(True, "evaluate"), inside:
        raise OSError("no disk")
    (told,) = store.entries.values()
    assert json.loads(told) == ["evaluate", "failure", "OSError: no disk"]
    assert processes.Messages.sent == 1
    assert store.waits == 0


@pytest.mark.parametrize("joined", [True, False])
def test_an_error_is_not_told_after_a_message_or_by_one_process_alone(joined, two):
    """The watch tells of the former, since others may wait in a collective operation."""
    store = Store([["evaluate", "text", "theirs"]])
    two(store)

    def fail_later():
        with processes.together(joined, "evaluate"):
            assert processes.texts("own") == ["own", "theirs"][: 1 + joined]
            raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        fail_later()
    assert len(store.entries) == 2 * joined


def test_a_wait_without_a_watch_ends(two, monkeypatch):
    store, waits = Store([]), []
    store.blocking_key_value_get = lambda key, milliseconds: waits.append(milliseconds)
    two(store)
    monkeypatch.setenv("FNN_PROCESS_TIMEOUT", "30")
    with pytest.raises(InputError, match=r"fit: expected a message of every process within 300 s, got none from proc"):
        processes.texts("own")
    assert sum(waits) == 300_000
    monkeypatch.setattr(processes.Messages, "sent", 1)
    store.key_value_set("fnn/messages/1/1", json.dumps(["fit", "text", "there"]))
    assert processes.texts("own") == ["own", "there"]


@pytest.mark.parametrize("own", ["", "own", "a longer text, of more than 64 characters, which takes 128 bytes: é"])
def test_without_a_store_devices_pass_the_messages(own, two, monkeypatch):
    two(None)
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda a: np.stack([a, a]))
    assert processes.texts(own) == [own, own]
