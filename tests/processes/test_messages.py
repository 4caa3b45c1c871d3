"""The messages between processes, with a store in place of that of `jax.distributed`."""

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from fnn._core import processes


class Store:
    """A key-value store in which process 1 answers once this process has waited for it."""

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
        self.entries[key] = next(self.answers)

    def key_value_delete(self, folder):
        self.entries = {key: text for key, text in self.entries.items() if not key.startswith(folder)}


@pytest.fixture
def two(monkeypatch):
    """Process 0 of two; the function sets its store."""
    monkeypatch.setattr(processes.Messages, "sent", 0)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with processes.together(True):
        yield lambda store: monkeypatch.setattr(processes, "store", lambda: store)


def test_a_process_waits_for_the_others_and_removes_what_all_have_read(two):
    store = Store(["[3, 4]", "late"])
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


@pytest.mark.parametrize("own", ["", "own", "a longer text, of more than 64 characters, which takes 128 bytes: é"])
def test_without_a_store_devices_pass_the_messages(own, two, monkeypatch):
    two(None)
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda a: np.stack([a, a]))
    assert processes.texts(own) == [own, own]
