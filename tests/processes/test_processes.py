"""Several processes train as one does."""

import json
import os
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import scenarios
import spawn

MEASURED = ["streams", "checkpoints"]
MORE = ["drivers", "pure", "rules", "uneven_shares", "chunks", "non_finite", "alone"]
MISTAKES = {
    "rows": r"fit, data, x: expected the same on every process, got float32\[100, 6\].* on process 0 and float32\[99",
    "values": r"fit, data, x: .*with the values",
    "validation": r"fit, validation_data, x: .*the same on every process",
    "evaluate": r"evaluate, data, x: .*the same on every process",
    "predict": r"predict, x: .*the same on every process",
    "run": r"run, data, x: .*the same on every process",
    "train_epoch": r"train_epoch, data, x: .*the same on every process",
    "order": r"train_epoch, order_key: .*the same on every process, got uint32\[2\]",
    "shuffle": r"train_epoch, shuffle: .*got False on process 0 and True on process 1",
    "order of a run": r"run, order_key: .*the same on every process, got uint32\[2\]",
    "patience": r"run, callbacks: .*patience=1,.* on process 0 and .*patience=2,.* on process 1",
    "one validates": r"fit, validation_data: .*got None on process 0 and arrays on process 1",
    "train_step": r"train_step, batch, x: .*float32\[100, 6\].* on process 0 and float32\[99, 6\].* on process 1",
    "train_step, values": r"train_step, batch, x: .*with the values",
    "steps": r"train_step, batch, x: .*float32\[6, 6\].* on process 0 and float32\[4, 6\]",
    "data of all": r"data: expected arrays of this process, got one on devices of several. Pass NumPy arrays",
    "no mesh": r"predict, mesh: expected that of a state on several processes, got none. Write fnn.predict\(..., mesh=",
    "nan in predict": r"x: .*NaN or infinite values, the first at index \(3, 0\)",
    "nan in evaluate": r"x: .*NaN or infinite values, the first at index \(3, 0\)",
    "nan, divided": r"NaN or infinite values, the first at index \(3, 0\)",
    "seed": r"fit, state: .*fnn.init from the same key",
    "rules again": r"fit, shard: expected the same on every process, got None on process 0 and .*dense/kernel.* on pro",
    "mesh again": r"fit, mesh: .*got {'data': 2}, .*on process 0 and {'data': 2}, .*order \[2048, 0\] on process 1",
    "axes again": r"fit, mesh: .*got {'data': 2}, .*on process 0 and {'batch': 2}, .* on process 1",
    "epochs": r"fit, epochs: .*got 1 on process 0 and 2 on process 1",
    "checkpoint": r"fit, checkpoint: .*got False on process 0 and True on process 1",
    "lengths": r"fit, data, length: .*got 5 on process 0 and 4 on process 1.*its share of every batch",
    "early end": r"fit, batch 4: .*got one on process 0, and the end of the data on process 1",
    "other arrays": r"differ in their rows alone, got x float32\[rows, 6\].*weight float32\[rows\] on process 1",
    "nan": r"NaN or infinite values, the first at index \(3, 0\)",
    "nan in a stream": r"batch 0.*NaN or infinite values, the first at index \(3, 0\)",
    "loader fails": r"no such disk",
    "a file": r"expected a folder, got a file",
    "changes": r"callback: expected a TrainState from every process or from none, got none on process 0 and one on",
    "one changes": r"callback, new values: expected the same on every process",
    "other changes": r"callback, new values: expected the same on every process",
    "save on one": r"processes: .*the same call on every process, got save on process 0 and evaluate on process 1",
    "save in a callback of one": r"processes: .*same call on every process, got save on process 0 and fit on process 1",
    "option of one": r"fit: .*epochs.*'x'",
    "many": r"mesh: expected devices of this process for trials, got those of several processes. Give each process its",
    "some processes": r"mesh: expected devices of all 2 processes, or of this one alone, got those of the .*\[0\]",
}


def close(got, want):
    """Whether numbers in JSON agree to floating-point tolerance, and everything else exactly."""
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        for name in want:
            close(got[name], want[name])
    elif isinstance(want, float) or (isinstance(want, list) and all(isinstance(item, float) for item in want)):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    elif isinstance(want, list):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            close(one, other)
    else:
        assert got == want


def same_as_alone(found, names, tmp_path):
    for name in names:
        folder = tmp_path / "alone" / name
        folder.mkdir(parents=True)
        want = json.loads(json.dumps(scenarios.SCENARIOS[name](None, str(folder))))
        for each in found[name]:
            close(each, want)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What two processes found."""
    folder = tmp_path_factory.mktemp("pair")
    return folder, spawn.run([*MEASURED, "few_mistakes", "agreement"], folder)


@pytest.mark.parametrize("name", MEASURED)
def test_two_processes_train_as_one(name, pair, tmp_path):
    same_as_alone(pair[1], [name], tmp_path)


def check_messages(found, names):
    for number, messages in enumerate(found):
        assert messages.keys() == set(names)
        for name in names:
            if name != "some processes" or number:  # which are those of process 0
                assert re.search(MISTAKES[name], messages[name], re.DOTALL), (name, number, messages[name])


def test_what_differs_between_processes_is_refused_on_each(pair):
    check_messages(pair[1]["few_mistakes"], scenarios.FEW)


def test_one_process_decides(pair):
    first, second = pair[1]["agreement"]
    assert first == second
    assert first["stopped"] == 1
    assert first["messages of a step"] == 1
    assert first["messages and values inside jit"] == [0, True]
    assert first["paced"] == 4
    assert first["interrupted"][0]
    assert first["interrupted"][1] < 100


def test_one_process_prints_and_writes(pair):
    folder, _ = pair
    bars = [Path(folder, f"log-{number}.txt").read_text().count("epoch 4/4") for number in (0, 1)]
    assert bars[0] > 0
    assert bars[1] == 0
    rows = Path(folder, "checkpoints", "log.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["epoch", "1", "2", "3"]
    kept = [f"run/step-0000000{made}.safetensors" for made in (14, 15)]
    assert scenarios.written(folder / "checkpoints") == ["log.csv", "run/.lock", *kept, "whole.safetensors"]


def test_checkpoints_of_two_processes_are_whole(pair):
    import fnn

    task, ts = fnn.load(pair[0] / "checkpoints" / "whole.safetensors")
    assert task == scenarios.TASK
    params = fnn.load(pair[0] / "checkpoints" / "run" / "step-000000015.safetensors", scenarios.state()).params
    assert fnn.fingerprint(params) == fnn.fingerprint(ts.params)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices"), [(2, 1), (4, 1), (2, 2)])
def test_any_number_of_processes_and_devices(count, devices, tmp_path):
    names = [*MORE, *(MEASURED if count * devices > 2 else ["mistakes"])]
    found = spawn.run(names, tmp_path, count, devices)
    same_as_alone(found, [name for name in names if name != "mistakes"], tmp_path)
    if "mistakes" in found:
        check_messages(found["mistakes"], MISTAKES)


@pytest.mark.slow
def test_parameters_that_no_process_holds_are_gathered_into_one_file(tmp_path):
    names = ["sharded_checkpoints", "resumed_stream"]
    found = spawn.run(names, tmp_path)
    sharded = found["sharded_checkpoints"]
    assert [each["whole"] for each in sharded] == [False, False]
    kept = [f"run/step-00000000{made}.safetensors" for made in (0, 2)]
    assert sharded[0]["files"] == ["last.safetensors", "run/.lock", *kept]
    folder = tmp_path / "alone"
    folder.mkdir()
    alone = scenarios.sharded_checkpoints(None, str(folder))
    close(sharded[1]["fit"], alone["fit"])
    for each in found["resumed_stream"]:
        assert each["fit"] == each["again"]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_continues_a_checkpoint(before, after, tmp_path):
    """Within the second epoch, to the losses of an unbroken training."""
    found = []
    for part, (count, until) in enumerate([(before, 6), (after, 0)]):
        folder = tmp_path / str(part)
        folder.mkdir()
        found.append(spawn.run(["moved"], folder, count, RUN=str(tmp_path / "run"), UNTIL=str(until))["moved"])
    with mock.patch.dict(os.environ, RUN=str(tmp_path / "unbroken"), UNTIL="0"):
        whole = json.loads(json.dumps(scenarios.moved(None, str(tmp_path))))
    assert len(whole["fit"]["val_loss"]) == 3
    first, second = found
    for each in first:
        assert (each["step"], each["interrupted"], len(each["fit"]["loss"])) == (6, True, 1)
    for each in second:
        close(each, whole)


# For each fault and the process that has it, what the other one says.
FAULTS = {
    ("kill", 1): r"process 1 has given no sign for .*Process 0 of 2 therefore ends. .* continues from 'run'",
    ("kill", 0): r"coordinat|process 0 has",
    ("hang", 1): r"process 1 has been in a callback for .*, while this one waits for it",
    ("evaluate", 1): r"fit: process 1 has been in its iterable of data for .*, while this one waits for it",
    ("evaluate alone", 1): r"evaluate: process 1 has been in its iterable of data for .*, while this one waits for it",
    ("elsewhere", 1): r"fit: process 1 has not called fit with this mesh for .*Process 0 of 2 therefore ends",
    ("stop", 1): r"process 1 has given no sign for .*: it was ended, or hangs",
    ("stop", 0): r"process 0, which coordinates the others, has not answered for",
    ("fail", 1): r"process 1 failed: RuntimeError: a mistake of the user",
    ("exit", 1): r"process 1 failed: SystemExit: 3",
    ("end", 1): r"fit: SIGTERM ends all processes at step \d+; the same call continues from the checkpoint in 'run'",
}
CONTINUED = [("kill", 1), ("kill", 0), ("end", 1)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What a training gives that nothing interrupts."""
    first, second = spawn.run(["faulty"], tmp_path_factory.mktemp("unbroken"))["faulty"]
    assert first == second
    return first


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "number"), FAULTS, ids=lambda value: str(value))
def test_a_process_that_ends_or_hangs_ends_the_other(fault, number, unbroken, tmp_path):
    """And the same call continues to the same bits."""
    limit = "3" if fault == "elsewhere" else "15"  # the watch waits ten times as long for a process that never comes
    settings = {"FAULT": fault, "FAULTY": str(number), "FNN_PROCESS_TIMEOUT": limit}
    with spawn.Processes(["faulty"], tmp_path, **settings) as processes:
        other = processes.running[1 - number]
        processes.wait([other])
        said = processes.said()[0 if fault == "end" else 1 - number]
        assert re.search(FAULTS[fault, number], said), said
        if fault == "end":
            assert processes.wait() == [143, 143]
        else:
            assert other.returncode not in (0, None)
    if (fault, number) in CONTINUED:
        for each in spawn.run(["faulty"], tmp_path)["faulty"]:
            assert each == unbroken
