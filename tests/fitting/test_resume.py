"""Training that is taken up where it broke off: `fit` with checkpoints."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import assert_same_run

import fnn
from fnn.checkpoint import saving
from fnn.fitting import checkpoints, pace, pieces, streams

SIZE, BATCH = 70, 16  # 5 steps in an epoch, the last of 6 rows


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(SIZE, 5)).astype("float32")
    return x, (x @ rng.normal(size=(5, 3))).argmax(1).astype("int32"), np.linspace(0.5, 2, SIZE).astype("float32")


@pytest.fixture(scope="module")
def task():
    """With state, random numbers in training, and a last batch of its own shape."""
    model = fnn.Sequential(fnn.BatchNorm(), fnn.Dropout(0.1), fnn.Dense(3))
    return fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(0.05, momentum=0.9), metrics=("accuracy",))


class Killed(BaseException):
    """Stands for the end of the process: nothing of fnn catches it."""


def killed_at(monkeypatch, count, after):
    """Let the ``count``-th checkpoint be the last thing the process does, before or after it is written."""
    original, calls = checkpoints.save_with, []

    def save(*args, **kwargs):
        calls.append(1)
        if len(calls) < count or after:
            original(*args, **kwargs)
        if len(calls) >= count:
            raise Killed

    monkeypatch.setattr(checkpoints, "save_with", save)


class Batches:
    """An iterable with the protocol, written as a user would: its order differs from pass to pass."""

    def __init__(self, data):
        self.data, self.epoch, self.given = data, 0, 0

    def __iter__(self):
        order = np.random.default_rng(self.epoch).permutation(SIZE)
        for start in range(self.given * BATCH, SIZE, BATCH):
            self.given += 1
            yield tuple(a[order[start : start + BATCH]] for a in self.data)
        self.epoch, self.given = self.epoch + 1, 0

    def state(self):
        return [self.epoch, self.given]

    def restore(self, state):
        self.epoch, self.given = state


def as_lists(data):
    return [tuple(a[i : i + BATCH] for a in data) for i in range(0, SIZE, BATCH)]


def shuffled_stream(data):
    def make(epoch):
        order = np.random.default_rng(epoch).permutation(5)
        return (as_lists(data)[i] for i in order)

    return fnn.data.Shuffled(fnn.data.Stream(make), rows=30, batch_size=BATCH, seed=3)


SOURCES = {
    "arrays": lambda data: (data, {}),
    "chunks": lambda data: (data, {"chunk_bytes": 2 * BATCH * 28}),
    "a list of batches": lambda data: (as_lists(data), {}),
    "an iterable with a state": lambda data: (Batches(data), {}),
    "a shuffled stream": lambda data: (shuffled_stream(data), {}),
}


AT_EPOCH_ENDS = ("an iterable with a state",)  # the others are slow


# A source continues within an epoch in its own way.
@pytest.mark.parametrize(
    ("source", "every"),
    [pytest.param(source, 3, marks=[pytest.mark.slow] * (source != "arrays")) for source in SOURCES]
    + [pytest.param(source, "epoch", marks=[pytest.mark.slow] * (source not in AT_EPOCH_ENDS)) for source in SOURCES],
)
def test_a_run_killed_at_every_checkpoint_ends_with_the_same_bits(source, every, task, ts, data, tmp_path, monkeypatch):
    def train(**options):
        given, own = SOURCES[source](data)
        stop = fnn.early_stopping("loss", patience=50)
        return fnn.fit(task, ts, given, epochs=3, batch_size=BATCH, callbacks=[stop], verbose=0, **own, **options)

    want = train()
    for after in (False, True):
        folder, kills = tmp_path / f"{after}", 0
        while True:
            with monkeypatch.context() as patch:
                # Each process writes one more checkpoint, and is killed behind it or before the next.
                killed_at(patch, 1 + (not after), after)
                try:
                    got = train(checkpoint=folder, every=every)
                    break
                except Killed:
                    kills += 1
        assert kills >= (3 if every == "epoch" else 5) - (not after)
        assert_same_run(got, want)


SCRIPT = """
import sys
import jax, numpy as np
import fnn

rng = np.random.default_rng(1)
x = rng.normal(size=(70, 5)).astype("float32")
y = (x @ rng.normal(size=(5, 3))).argmax(1).astype("int32")
model = fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.BatchNorm(), fnn.Dropout(0.1), fnn.Dense(3))
task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(1e-2), metrics=("accuracy",))
ts = fnn.init(task, jax.random.key(0), x[:1])
print("begun", flush=True)
ts, history = fnn.fit(task, ts, (x, y), batch_size=16, verbose=0, **eval(sys.argv[1]))
print(fnn.fingerprint((ts, history["loss"], history["accuracy"])), flush=True)
if len(sys.argv) > 2:  # to be killed, and if that comes late, here
    open(sys.argv[2], "w").close()
    sys.stdin.read()
"""


def in_a_process(options, *done):
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SCRIPT, repr(options), *done]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_times_ends_with_the_same_bits(kills, tmp_path):
    epochs = 20 * kills + 20
    want = in_a_process({"epochs": epochs}).communicate()[0].split()[-1]
    rng, folder, done = random.Random(kills), tmp_path / "run", tmp_path / "done"
    options = {"epochs": epochs, "checkpoint": str(folder), "every": 7, "keep": 2}
    folder.mkdir()
    for _ in range(kills):
        process = in_a_process(options, str(done))
        assert process.stdout.readline() == "begun\n"
        # It has to come a little further each time than its first compilation.
        before = set(os.listdir(folder))
        while set(os.listdir(folder)) <= before | {".lock"} and not done.exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = in_a_process(options)
    out = process.communicate()[0]
    assert process.returncode == 0
    assert out.split()[-1] == want
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]


@pytest.fixture
def run(task, ts, data, tmp_path):
    """A training with checkpoints in a folder of its own."""

    def train(**options):
        given = {"checkpoint": tmp_path / "run", "epochs": 3, "batch_size": BATCH, "verbose": 0}
        return fnn.fit(task, ts, options.pop("data", data), **{**given, **options})

    return train


@pytest.fixture(scope="module")
def want(task, ts, data):
    return fnn.fit(task, ts, data, epochs=3, batch_size=BATCH, verbose=0)


def names(folder):
    return sorted(name for name in os.listdir(folder) if name != ".lock")


def test_contents_of_the_folder(run, want, tmp_path, task, ts):
    assert_same_run(run(every=4, keep=3), want)
    assert names(tmp_path / "run") == [
        "step-000000008.safetensors",
        "step-000000012.safetensors",
        "step-000000015.safetensors",
    ]
    last = tmp_path / "run" / "step-000000015.safetensors"
    assert fnn.fingerprint(fnn.load(last, ts)) == fnn.fingerprint(want[0])  # an ordinary checkpoint
    info = fnn.load_info(last)
    assert info.history["loss"] == want[1]["loss"]
    assert "Dropout(" in info.model
    assert "sparse_categorical_crossentropy" in info.model
    within = fnn.load_info(tmp_path / "run" / "step-000000012.safetensors")
    assert (within.step, list(within.leaves)) == (12, list(info.leaves))
    assert len(within.history["loss"]) == 2


def test_fewer_epochs_than_completed_are_rejected(run):
    run(epochs=3)
    with pytest.raises(fnn.InputError, match=r"got 2, but the run in '.*run' has completed 3 epochs\. Raise epochs"):
        run(epochs=2)


def test_files_sort_by_step_number(run, tmp_path):
    options = types.SimpleNamespace(every="epoch", keep=2, callbacks=())
    kept = checkpoints.Checkpoints(tmp_path, options, settings={}, task="")
    for step in (1_000_000_000, 999_999_999, 12, 10_000_000_000):
        (tmp_path / f"step-{step:09d}.safetensors").write_text("")
    assert [int(path[:-12].rpartition("-")[2]) for path in kept.paths()] == [12, 999999999, 1000000000, 10000000000]


def test_keep_none_keeps_all_files(run, tmp_path):
    run(keep=None)
    assert names(tmp_path / "run") == [f"step-{step:09d}.safetensors" for step in (0, 5, 10, 15)]


def test_a_complete_run_is_not_repeated(run, want, monkeypatch):
    run()
    monkeypatch.setattr(pieces, "_advance", None)
    assert_same_run(run(), want)


def test_more_epochs_continue_the_run(run, task, ts, data, capsys):
    run(every=10)  # the last checkpoint is at the end all the same
    capsys.readouterr()
    got = run(every=10, epochs=5, verbose=2)
    assert "resumed at epoch 4, step 15" in capsys.readouterr().out
    assert_same_run(got, fnn.fit(task, ts, data, epochs=5, batch_size=BATCH, verbose=0))


def test_resuming_recompiles_nothing(run, want, monkeypatch):  # `want` has compiled both programs
    with monkeypatch.context() as patch:
        killed_at(patch, 2, after=False)
        with pytest.raises(Killed):
            run(every=3)
    before = pieces._advance._cache_size(), pieces._advance_rows._cache_size()
    run(every=3)
    assert (pieces._advance._cache_size(), pieces._advance_rows._cache_size()) == before


def test_early_stopping_resumes_and_stays_stopped(run, task, ts, data, monkeypatch):
    def callbacks():
        return [
            fnn.early_stopping("loss", patience=2, min_delta=0.3),
            fnn.reduce_on_plateau("loss", patience=1, factor=0.5),
        ]

    plain = fnn.fit(task, ts, data, epochs=30, batch_size=BATCH, verbose=0, callbacks=callbacks())
    assert 3 < len(plain[1]["loss"]) < 30
    while True:
        try:
            with monkeypatch.context() as patch:
                killed_at(patch, 2, after=False)
                got = run(epochs=30, callbacks=callbacks())
            break
        except Killed:
            pass
    assert_same_run(got, plain)
    assert_same_run(run(epochs=40, callbacks=callbacks()), plain)


def test_logs_and_best_files_match_an_uninterrupted_run(run, task, ts, data, tmp_path, monkeypatch):
    def callbacks(where):
        best = fnn.model_checkpoint(tmp_path / where / "best", monitor="accuracy")
        return [fnn.csv_log(tmp_path / where / "log.csv"), best]

    def rows(where):
        text = (tmp_path / where / "log.csv").read_text()
        return [line.rpartition(",")[0] for line in text.splitlines()]  # without the seconds

    fnn.fit(task, ts, data, epochs=6, batch_size=BATCH, verbose=0, callbacks=callbacks("plain"))
    while True:
        try:
            with monkeypatch.context() as patch:
                killed_at(patch, 2, after=False)  # the log has its row by then
                run(epochs=6, callbacks=callbacks("broken"))
            break
        except Killed:
            pass
    assert rows("broken") == rows("plain")
    assert len(rows("plain")) == 7
    a, b = (fnn.load_info(tmp_path / where / "best") for where in ("plain", "broken"))
    assert (a.step, a.extra, a.history["loss"]) == (b.step, b.extra, b.history["loss"])


def test_a_custom_callback_with_state(run, monkeypatch):
    class Sum:
        def __init__(self):
            self.total = 0.0

        def __call__(self, epoch, ts, logs):
            self.total += logs["loss"]

        def state(self):
            return {"total": self.total}

        def restore(self, state):
            self.total = state["total"]

    plain, broken = Sum(), Sum()
    run(callbacks=[plain], checkpoint=None)
    with monkeypatch.context() as patch:
        killed_at(patch, 2, after=True)
        with pytest.raises(Killed):
            run(callbacks=[Sum()])
    run(callbacks=[broken])
    assert broken.total == plain.total > 0


def test_ctrl_c_leaves_a_checkpoint_within_the_epoch(run, want, monkeypatch, capsys):
    original, calls = pieces._advance, []

    def advance(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    advance.lower = original.lower
    monkeypatch.setattr(pace.Pace, "steps", lambda self, period: 1)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "_advance", advance)
        reached, history = run(verbose=2)
    assert (history.interrupted, int(reached.step), history.get("loss")) == (True, 3, None)
    assert_same_run(run(), want)


def test_validation_is_part_of_the_history(task, ts, data, tmp_path, monkeypatch):
    x, y, w = data
    more = tuple(map(np.concatenate, ([x, x[:30] + 1], [y, y[:30]], [w, w[:30]])))  # a split of 0.3 leaves SIZE rows

    def train(**options):
        return fnn.fit(task, ts, more, epochs=3, batch_size=BATCH, validation_split=0.3, verbose=0, **options)

    with monkeypatch.context() as patch:
        killed_at(patch, 2, after=True)
        with pytest.raises(Killed):
            train(checkpoint=tmp_path, every=2)
    assert_same_run(train(checkpoint=tmp_path, every=2), train())


# ----------------------------------------------------------------------------------------------------------- what fails
def test_another_run_is_rejected(run, data):
    run(epochs=1)
    x, y, w = data
    cases = [
        ({"batch_size": 8}, r"batch_size 16, as in the run saved there, got 8\. To continue, repeat the original call"),
        ({"eval_batch_size": 16}, "eval_batch_size 256, as in the run saved there, got 16"),
        ({"validation_data": data}, "the validation_data of the run saved there, got others"),
        ({"shuffle": False}, "shuffle True, as in the run saved there, got False"),
        ({"data": (x + 1, y, w)}, "the data of the run saved there, got others"),
        ({"data": (x[:60], y[:60], w[:60])}, "the data of the run saved there"),
        ({"callbacks": [fnn.early_stopping("loss")]}, r"callbacks \[\], as in the run saved there"),
    ]
    for options, message in cases:
        with pytest.raises(fnn.InputError, match=message):
            run(epochs=1, **options)


def test_an_equal_task_in_other_words_continues(data, tmp_path):
    def task(loss, optimizer, activation, **options):
        return fnn.Task(fnn.Sequential(fnn.Dense(3, activation), fnn.Dense(3)), loss, optimizer, **options)

    first = task("SparseCategoricalCrossentropy", "Adam", "ReLU")
    ts = fnn.init(first, jax.random.key(0), data[0][:1])
    call = {"checkpoint": tmp_path, "verbose": 0}
    fnn.fit(first, ts, data, **call)
    again = task("sparse_categorical_crossentropy", fnn.adam(), "relu")
    _, history = fnn.fit(again, ts, data, **call, epochs=2)
    assert len(history["loss"]) == 2
    for other in (again.replace(metrics=["acc"]), task("sparse_categorical_crossentropy", "adam", "elu")):
        with pytest.raises(fnn.InputError, match="the task of the run saved there"):
            fnn.fit(other, ts, data, **call, epochs=3)


def test_another_initial_state_is_rejected(run, task, ts, data, tmp_path):
    run(epochs=1)
    for state in (fnn.init(task, jax.random.key(1), data[0][:1]), fnn.set_hyper(ts, learning_rate=0.5)):
        with pytest.raises(fnn.InputError, match=r"the initial state of the run saved there \(seed.* step 0, got"):
            fnn.fit(task, state, data, batch_size=BATCH, checkpoint=tmp_path / "run", verbose=0)
    with pytest.raises(fnn.InputError, match="the task of the run saved there"):
        fnn.fit(task.replace(metrics=()), ts, data, batch_size=BATCH, checkpoint=tmp_path / "run", verbose=0)


def test_function_bodies_are_compared(run, task, ts, data, tmp_path):
    def five_times(predictions, targets):
        return 5 * sparse(predictions, targets)

    sparse = fnn.losses.sparse_categorical_crossentropy
    five_times.__name__ = "sparse_categorical_crossentropy"
    run(epochs=1)
    other_rate = task.replace(model=fnn.Sequential(fnn.BatchNorm(), fnn.Dropout(0.2), fnn.Dense(3)))
    for other in (task.replace(loss=five_times), other_rate):
        with pytest.raises(fnn.InputError, match="the task of the run saved there"):
            fnn.fit(other, ts, data, epochs=2, batch_size=BATCH, checkpoint=tmp_path / "run", verbose=0)


def test_running_a_notebook_cell_twice(run, task, data, tmp_path):
    later, _ = run(epochs=1)
    with pytest.raises(fnn.InputError, match=r"got another one, at step 5\. Pass the state of fnn\.init again"):
        fnn.fit(task, later, data, epochs=2, batch_size=BATCH, checkpoint=tmp_path / "run", verbose=0)


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "a flipped bit":
        content[-3] ^= 4
    else:
        content = bytearray(b"something else")
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "a flipped bit", "another file"])
def test_a_damaged_file_is_reported_and_the_previous_one_used(how, run, want, tmp_path):
    run(epochs=2)
    spoil(tmp_path / "run" / "step-000000010.safetensors", how)
    with pytest.warns(
        RuntimeWarning, match=r"step-000000010.*renamed to \*\.damaged; training continues from the checkpoint before"
    ):
        got = run()
    assert_same_run(got, want)
    assert names(tmp_path / "run") == [
        "step-000000010.safetensors",
        "step-000000010.safetensors.damaged",
        "step-000000015.safetensors",
    ]


def test_only_damaged_files(run, tmp_path):
    run(epochs=1, keep=1)
    spoil(tmp_path / "run" / "step-000000005.safetensors", "truncated")
    for _ in range(2):  # also a program that is started again by itself
        with pytest.raises(fnn.InputError, match=r"got damaged ones only\. To start over, remove them or"):
            run(keep=1)
    assert names(tmp_path / "run") == ["step-000000005.safetensors"]


def test_files_not_written_by_fit(run, ts, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "step-notes.safetensors").write_text("of no concern")
    fnn.save(tmp_path / "run" / "step-000000007.safetensors", ts)
    with pytest.raises(fnn.InputError, match=r"expected checkpoints of fit\(checkpoint=\.\.\.\), got step-000000007"):
        run()
    os.unlink(tmp_path / "run" / "step-000000007.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(saving, "FORMAT", 99)
        run(epochs=1)
    with pytest.raises(fnn.InputError, match=r"format 99, written by fnn .*\. Update fnn"):
        run()
    assert (tmp_path / "run" / "step-000000005.safetensors").exists()  # not taken for damaged


def test_a_full_disk_loses_nothing(run, want, monkeypatch, tmp_path):
    def full(descriptor):
        calls.append(1)
        if len(calls) > 4:  # a file is synced, then its folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            fnn.CheckpointError, match=r"No space left.*last good checkpoint is .*step-000000005"
        ) as info:
            run()
    assert info.value.errno == errno.ENOSPC
    assert (int(info.value.ts.step), len(info.value.history["loss"])) == (10, 2)
    assert names(tmp_path / "run") == ["step-000000000.safetensors", "step-000000005.safetensors"]
    assert_same_run(run(), want)


def test_unusable_folders(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(fnn.InputError, match="expected a folder, got a file"):
        run(checkpoint=tmp_path / "file")

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "makedirs", refuse)
    with pytest.raises(PermissionError, match="fit: Permission denied; checkpoints cannot be written there"):
        run()


def test_two_processes_in_one_folder_are_rejected(run):
    def second(epoch, ts, logs):
        with pytest.raises(fnn.InputError, match="expected a folder that no other training uses"):
            run()

    run(epochs=1, callbacks=[second])


def test_leftovers_of_killed_writers_are_removed(run, tmp_path):
    (tmp_path / "run").mkdir()
    for name in (".step-000000005.safetensors.0123abcd.tmp", ".mine.tmp", "notes.txt"):
        (tmp_path / "run" / name).write_text("")
    run(epochs=1, keep=1)
    assert names(tmp_path / "run") == [".mine.tmp", "notes.txt", "step-000000005.safetensors"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every to be an integer of at least 1, got 0"),
        ({"every": "step"}, "every='epoch' or a number of steps, got 'step'"),
        ({"keep": 0}, "keep to be an integer of at least 1"),
        ({"every": 5, "checkpoint": None}, r"a folder for checkpoints with every or keep, got none\. Pass checkpoint="),
        ({"checkpoint": "run.safetensors"}, r"expected a folder, got the name of a file\. To write a single file"),
    ],
)
def test_bad_settings(options, message, run):
    with pytest.raises(fnn.InputError, match=message):
        run(**options)


class Plain:
    """An iterable that cannot tell where it stands."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter(as_lists(self.data))


def test_an_iterable_without_a_state(run, data, task, ts, monkeypatch, capsys):
    with pytest.raises(fnn.InputError, match=r"got a Plain, which cannot continue within an epoch\. Give it"):
        run(data=Plain(data), every=2)
    plain = fnn.fit(task, ts, Plain(data), epochs=3, verbose=0)
    with monkeypatch.context() as patch:
        killed_at(patch, 2, after=True)
        with pytest.raises(Killed):
            run(data=Plain(data))
    with pytest.warns(RuntimeWarning, match="the Plain cannot report its position"):
        got = run(data=Plain(data))
    assert_same_run(got, plain)


def test_gathered_batches_between_checkpoints_that_do_not_divide_an_epoch(task, ts, data, tmp_path, monkeypatch):
    """Each checkpoint holds the state of the iterable, also where batches are gathered over several steps."""
    monkeypatch.setattr(streams, "_LOOK_AFTER", 1)
    monkeypatch.setattr(streams, "_SHORT", 1e9)
    monkeypatch.setattr(streams.StreamSource, "_idle", lambda self: self.most == 1)

    monkeypatch.setattr(streams, "_MOST_GATHERED", 2)

    def make(epoch):
        rows = np.random.default_rng(epoch).integers(SIZE, size=(7, BATCH))
        return (tuple(a[batch] for a in data) for batch in rows)

    def train(**options):
        return fnn.fit(task, ts, fnn.data.Stream(make), epochs=3, verbose=0, **options)

    want = train()
    while True:
        try:
            with monkeypatch.context() as patch:
                killed_at(patch, 2, after=True)
                got = train(checkpoint=tmp_path, every=5)
            break
        except Killed:
            newest = sorted(tmp_path.glob("step-*"))[-1]
            assert fnn.load_info(newest).extra["fit"]["stream"] is not None
    assert_same_run(got, want)


def test_a_validation_stream_resumes(task, ts, data, tmp_path, monkeypatch):
    def train(**options):
        return fnn.fit(task, ts, data, epochs=4, batch_size=BATCH, validation_data=noisy(data), verbose=0, **options)

    def noisy(data):
        x, y, w = data

        def make(epoch):
            yield x + np.random.default_rng(epoch).normal(size=x.shape).astype("float32"), y, w

        return fnn.data.Stream(make)

    with monkeypatch.context() as patch:
        killed_at(patch, 3, after=True)
        with pytest.raises(Killed):
            train(checkpoint=tmp_path)
    assert_same_run(train(checkpoint=tmp_path), train())


def test_unserializable_callback_state_is_reported_before_training(run, monkeypatch):
    class Names:
        def __call__(self, epoch, ts, logs):
            raise AssertionError("trained")

        def state(self):
            return {1: "one"}

        def restore(self, state):
            raise AssertionError("restored")

    with pytest.raises(
        fnn.CheckpointError, match=r"expected strings as keys, got 1\.*; there is no earlier checkpoint"
    ) as info:
        run(callbacks=[Names()])
    assert int(info.value.ts.step) == 0


def test_a_reused_callback_starts_afresh(run, want, tmp_path, monkeypatch):
    stop = fnn.early_stopping("loss", patience=50)
    run(checkpoint=None, callbacks=[stop])
    with monkeypatch.context() as patch:
        killed_at(patch, 2, after=True)
        with pytest.raises(Killed):
            run(every=2, callbacks=[stop])
    assert_same_run(run(every=2, callbacks=[fnn.early_stopping("loss", patience=50)]), want)


def test_a_resumed_log_has_no_duplicate_rows(run, tmp_path, monkeypatch):
    def log():
        return fnn.csv_log(tmp_path / "log.csv", append=True)

    run(checkpoint=None, epochs=2, callbacks=[log()])  # another training before
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_NAME", checkpoints._NAME)
        killed_at(patch, 2, after=False)
        with pytest.raises(Killed):
            run(every=12, callbacks=[log()])  # two epochs, of which no checkpoint tells
    run(every=12, callbacks=[log()])
    epochs = [line.split(",")[0] for line in (tmp_path / "log.csv").read_text().splitlines()]
    assert epochs == ["epoch", "1", "2", "1", "2", "3"]


def test_the_lock_is_released_even_if_the_file_is_held_open(run, tmp_path):
    held = []

    def keep_open(epoch, ts, logs):
        """As a child process does that was forked meanwhile: the same open file, by another number."""
        for number in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{number}").endswith(".lock"):
                    held.append(os.dup(int(number)))
            except OSError:
                continue

    run(epochs=1, callbacks=[keep_open])
    assert held
    run(epochs=2)
    for number in held:
        os.close(number)


def test_a_complete_run_returns_jax_arrays(task, ts, data, tmp_path):
    on_host = ts._replace(params=jax.tree.map(np.asarray, ts.params))
    for _ in range(2):
        got, _ = fnn.fit(task, on_host, data, batch_size=BATCH, checkpoint=tmp_path, verbose=0)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(got))


def test_equal_numbers_are_the_same_setting(run, want):
    run(epochs=1, batch_size=np.int64(BATCH), validation_split=0)
    assert_same_run(run(), want)


def test_the_end_of_a_stream_of_unknown_length(run, data, task, ts, monkeypatch):
    """Ctrl-C behind its last batch: what is left of the epoch is its end."""
    original, calls = pieces._advance, []

    def advance(*args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pieces, "_advance", advance)
        patch.setattr(pieces, "_advance_rows", advance)
        _, history = run(data=Batches(data), epochs=1, every=100)
    assert history.interrupted
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "_advance", None)
        first = run(data=Batches(data), epochs=1, every=100)
        again = run(data=Batches(data), epochs=1, every=100)
    plain = fnn.fit(task, ts, Batches(data), verbose=0)
    assert_same_run(first, plain)
    assert first[1]["seconds"] == again[1]["seconds"]  # it was not made again


def test_a_run_started_by_version_0_1_resumes(tmp_path):
    """Its files name the task by another text, so that only what does not depend on the version is compared."""
    shutil.copytree(Path(__file__).parent / "written_by_0_1", tmp_path / "run")
    x = np.linspace(-1, 1, 24, dtype="f").reshape(8, 3)
    task = fnn.Task(
        fnn.Sequential(fnn.Dense(2, activation="tanh"), fnn.BatchNorm(), fnn.Dense(1)), "mse", "adam", metrics=("mae",)
    )
    # The folder belongs to one initial state, whose last bits depend on processor and compiler.
    ts = fnn.load(Path(__file__).parent / "initial_of_0_1.safetensors", fnn.init(task, jax.random.key(0), x[:1]))

    def train(**options):
        stop = fnn.early_stopping("loss")
        return fnn.fit(task, ts, (x, 2 * x[:, :1]), epochs=3, batch_size=4, callbacks=[stop], verbose=0, **options)

    (continued, seen), (whole, expected) = train(checkpoint=tmp_path / "run"), train()
    assert continued.step == whole.step  # of the best epoch
    assert len(seen["loss"]) > 1
    np.testing.assert_allclose(seen["loss"], expected["loss"], 1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-3, 1e-5), continued.params, whole.params)
    old = fnn.load(Path(__file__).parent / "written_by_0_1" / "step-000000002.safetensors", ts)
    assert int(old.step) == 2
