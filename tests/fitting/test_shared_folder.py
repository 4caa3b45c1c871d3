"""A folder of checkpoints in several processes, of which this test is the second."""

from types import SimpleNamespace

import jax
import pytest

import fnn
from fnn._core import processes
from fnn.fitting import checkpoints


@pytest.fixture
def second(monkeypatch):
    """Process 1 of two; process 0 has nothing to say."""
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(processes, "texts", lambda own, kind: [own, own])
    monkeypatch.setattr(checkpoints, "by_first", lambda act: None)
    with processes.together(True, "fit"):
        yield


@pytest.fixture
def folder(tmp_path):
    task = fnn.Task(fnn.Dense(1), "mse")
    options = SimpleNamespace(every="epoch", keep=2, callbacks=())
    return checkpoints.Checkpoints(tmp_path, options, {}, task)


def test_a_folder_of_process_0_alone_is_refused(second, folder, monkeypatch):
    monkeypatch.setattr(checkpoints, "SEEN_WITHIN", 0.0)
    with pytest.raises(fnn.InputError, match=r"checkpoint .*one that process 1 does not see\. Pass the same"):
        folder.opened().__enter__()


def test_a_folder_that_is_seen_late_is_waited_for(second, folder, monkeypatch, tmp_path):
    waits = []

    def appear(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            (tmp_path / ".lock").touch()

    monkeypatch.setattr(checkpoints.time, "sleep", appear)
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: 0.0)
    with folder.opened() as opened:
        assert opened is folder
    assert len(waits) == 3
