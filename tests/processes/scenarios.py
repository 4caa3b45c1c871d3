"""The scripts that the tests run in several processes: `python scenarios.py NAME PROCESS PROCESSES PORT FOLDER`.

A scenario is a function of a mesh and a folder that returns what it found, in JSON's types. Without a mesh it is the
same training on one device.
"""

import functools
import json
import os
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec as P

import fnn
from fnn._core.processes import Messages

SCENARIOS = {}
RNG = np.random.default_rng(0)
ROWS = 100
X = RNG.normal(size=(ROWS, 6)).astype("float32")
Y = RNG.integers(0, 3, ROWS).astype("int32")
ONES = np.ones(4, "float32")


def scenario(fn):
    SCENARIOS[fn.__name__] = fn
    return fn


def task_of(units=16):
    layers = fnn.Dense(units, activation="relu"), fnn.Dropout(0.2), fnn.BatchNorm(), fnn.Dense(3)
    optimizer = fnn.sgd(0.05, momentum=0.9)
    return fnn.Task(fnn.Sequential(*layers), "sparse_categorical_crossentropy", optimizer, metrics=("accuracy",))


TASK = task_of()


def state(seed=0, task=TASK):
    return fnn.init(task, jax.random.key(seed), X[:1])


def values(history):
    return {name: [float(value) for value in row] for name, row in history.items() if name != "seconds"}


def fit(data=(X, Y), *, seed=0, **options):
    return fnn.fit(TASK, state(seed), data, **{"batch_size": 24, "epochs": 2, "verbose": 0, **options})


def shares(count=None):
    """This process's rows of batches of 24, and 4 at the end."""
    count = count or jax.process_count()
    number = jax.process_index() if count > 1 else 0
    for start in range(0, ROWS, 24):
        size = min(24, ROWS - start) // count
        rows = slice(start + number * size, start + (number + 1) * size)
        yield X[rows], Y[rows]


class Resumable:
    """`shares` with a position that can be saved."""

    def __init__(self):
        self.done = 0

    def __iter__(self):
        batches = list(shares())
        while self.done < len(batches):
            self.done += 1
            yield batches[self.done - 1]
        self.done = 0

    def state(self):
        return {"done": self.done}

    def restore(self, state):
        self.done = state["done"]


@scenario
def drivers(mesh, folder):
    """The functions with files and clocks."""
    placed = {"mesh": mesh}
    ts, history = fit(validation_split=0.1, **placed)
    predicted = fnn.predict(TASK, ts, X, batch_size=24, **placed)
    return {
        "fit": values(history),
        "evaluate": dict(fnn.evaluate(TASK, ts, (X, Y), **placed).items()),
        "predict": np.asarray(predicted).tolist(),
        "params": [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(ts.params)],
    }


@scenario
def pure(mesh, folder):
    """The functions without."""
    placed = {"mesh": mesh}
    ts, logs = fnn.train_step(TASK, state(), (X[:8], Y[:8]), **placed)
    _, uneven = fnn.train_step(TASK, ts, (X[:7], Y[:7]), **placed)
    _, epoch = fnn.train_epoch(TASK, state(), (X, Y), batch_size=24, **placed)
    _, ran = fnn.run(TASK, state(), (X, Y), epochs=2, batch_size=24, validation_data=(X, Y), **placed)
    return {
        "steps": [{name: float(value) for name, value in each.items()} for each in (logs, uneven, epoch)],
        "run": values(jax.device_get(ran)),
    }


@scenario
def streams(mesh, folder):
    """Each process reads its share of the rows; the devices, which compute a step meanwhile, pass no messages."""
    with mock.patch.object(multihost_utils, "process_allgather", side_effect=AssertionError("a message by devices")):
        stream = fnn.data.Stream(lambda epoch: shares(), ahead=2)
        ts, history = fit(stream, validation_data=list(shares()), batch_size=None, mesh=mesh)
        measured = fnn.evaluate(TASK, ts, shares(), mesh=mesh)
    return {"fit": values(history), "evaluate": dict(measured.items())}


@scenario
def uneven_shares(mesh, folder):
    """The first process reads more than half of each batch, so devices need rows of other processes."""
    count, number = (jax.process_count(), jax.process_index()) if mesh else (1, 0)
    given = []
    for start in range(0, 96, 24):
        ends = [0, *(24 - (count - 1 - i) * 2 for i in range(count))]
        rows = slice(start + ends[number], start + ends[number + 1])
        given.append((X[rows], Y[rows]))
    return values(fit(given, batch_size=None, mesh=mesh)[1])


@scenario
def alone(mesh, folder):
    """Each process trains by itself, on its own device, and with a rate that a callback sets."""
    own = jax.make_mesh((1,), ("data",), devices=jax.local_devices()[:1]) if mesh else None
    _, history = fit(mesh=own)
    _, changed = fit(callbacks=[lambda epoch, ts, logs: fnn.set_hyper(ts, learning_rate=0.01)], mesh=mesh)
    return {"fit": values(history), "changed": values(changed)}


@scenario
def rules(mesh, folder):
    """Parameters divided between processes, so that several of them compute the same rows."""
    options = {}
    if mesh:
        square = jax.sharding.Mesh(np.reshape(mesh.devices, (2, -1)), ("data", "model"))
        options = {"mesh": square, "shard": {"dense/kernel": P(None, "model")}}
    ts, history = fit(list(shares()), validation_data=(X, Y), batch_size=None, **options)
    _, other = fit(check="finite", **options)
    return {"fit": values(history), "other": values(other), "state": fnn.evaluate(TASK, ts, (X, Y), **options)["loss"]}


@scenario
def chunks(mesh, folder):
    """Arrays that are read in parts."""
    return values(fit(chunk_bytes=1000, mesh=mesh)[1])


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


@scenario
def checkpoints(mesh, folder, shard=None):
    """Interrupted after three steps, continued, and once more with a larger number of epochs."""
    options = {"mesh": mesh, "shard": shard, "checkpoint": f"{folder}/run", "every": 2}

    def stop(step, logs):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    log = fnn.csv_log(f"{folder}/log.csv")
    _, first = fit(callbacks=[log, fnn.on_batch(stop)], **options)
    ts, history = fit(callbacks=[log], **options)
    ts, more = fit(epochs=3, callbacks=[log], **options)
    fnn.save(f"{folder}/whole.safetensors", ts, TASK)
    saved = fnn.load_info(f"{folder}/whole.safetensors").step  # every process can read it at once
    return {"interrupted": first.interrupted, "fit": values(history), "more": values(more), "step": saved}


@scenario
def moved(mesh, folder):
    """A training that another number of processes may continue, up to the step that the environment names."""

    def stop(step, logs):
        if step == int(os.environ["UNTIL"]):
            signal.raise_signal(signal.SIGINT)

    options = {"mesh": mesh, "checkpoint": os.environ["RUN"], "every": 1, "epochs": 3}
    with mock.patch.object(fnn.fitting.interrupts, "_MOST", 1):  # the processes ask each other after each step
        ts, history = fit(validation_split=0.1, callbacks=[fnn.on_batch(stop)], **options)
    return {"step": int(ts.step), "interrupted": history.interrupted, "fit": values(history)}


@scenario
def sharded_checkpoints(mesh, folder):
    """The same with parameters that no process holds whole."""
    wide = task_of(4096 * 3)
    ts, history = fnn.fit(
        wide,
        fnn.init(wide, jax.random.key(0), X[:1]),
        (X, Y),
        batch_size=50,
        verbose=0,
        checkpoint=f"{folder}/run",
        callbacks=[fnn.model_checkpoint(f"{folder}/last.safetensors")],
        **({"mesh": mesh, "shard": "fsdp"} if mesh else {}),
    )
    kernel = ts.params["dense"]["kernel"]
    return {"fit": values(history), "whole": kernel.is_fully_addressable, "files": written(folder)}


@scenario
def resumed_stream(mesh, folder):
    """A stream interrupted within an epoch."""

    def stop(step, logs):
        if step == 3 and jax.process_index() == jax.process_count() - 1:
            raise fnn.StopTraining

    options = {"batch_size": None, "mesh": mesh, "every": 1, "checkpoint": f"{folder}/stream"}
    _, history = fit(Resumable(), **options)
    for path in sorted(Path(f"{folder}/stream").glob("*.safetensors"))[-1:]:
        if jax.process_index() == 0:
            path.unlink()
    _, again = fit(Resumable(), **options)
    return {"fit": values(history), "again": values(again)}


def message_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


FEW = (
    *("rows", "steps", "nan in predict", "seed", "rules again", "mesh again", "lengths", "early end"),
    *("nan in a stream", "a file", "changes", "one changes", "some processes"),
    *("save on one", "save in a callback of one", "option of one"),
)


@scenario
def few_mistakes(mesh, folder):
    """Some of the mistakes."""
    return mistakes(mesh, folder, FEW)


@scenario
def mistakes(mesh, folder, which=None):
    """What differs between processes, and what fails on one of them."""
    number = jax.process_index()
    missing = X.copy()
    missing[3] = np.nan
    on = {"mesh": mesh}
    own = {**on, "epochs": 3}

    def set_rate(value):
        return lambda epoch, ts, logs: fnn.set_hyper(ts, learning_rate=value)

    calls = {
        "rows": lambda: fit((X[number:], Y[number:]), **own),
        "values": lambda: fit((X + number, Y), **own),
        "validation": lambda: fit(validation_data=(X + number, Y), **own),
        "evaluate": lambda: fnn.evaluate(TASK, state(), (X + number, Y), mesh=mesh),
        "predict": lambda: fnn.predict(TASK, state(), X + number, mesh=mesh),
        "run": lambda: fnn.run(TASK, state(), (X + number, Y), mesh=mesh),
        "train_epoch": lambda: fnn.train_epoch(TASK, state(), (X + number, Y), mesh=mesh),
        "order": lambda: fnn.train_epoch(TASK, state(), (X, Y), order_key=jax.random.key(number), mesh=mesh),
        "shuffle": lambda: fnn.train_epoch(TASK, state(), (X, Y), shuffle=bool(number), mesh=mesh),
        "order of a run": lambda: fnn.run(TASK, state(), (X, Y), order_key=jax.random.key(number), mesh=mesh),
        "patience": lambda: fnn.run(
            TASK, state(), (X, Y), callbacks=[fnn.early_stopping(monitor="loss", patience=1 + number)], mesh=mesh
        ),
        "one validates": lambda: fit(validation_data=(X, Y) if number else None, **own),
        "train_step": lambda: fnn.train_step(TASK, state(), (X[number:], Y[number:]), mesh=mesh),
        "train_step, values": lambda: fnn.train_step(TASK, state(), (X + number, Y), mesh=mesh),
        "steps": lambda: [steps(rows, mesh) for rows in (8, 4, 4 if number else 6)],
        "data of all": lambda: fit((trained(mesh), Y), **own),
        "no mesh": lambda: fnn.predict(TASK, fit(mesh=mesh)[0], X),
        "nan in predict": lambda: fnn.predict(TASK, state(), missing if number else X, mesh=mesh),
        "nan in evaluate": lambda: fnn.evaluate(TASK, state(), (missing if number else X, Y), mesh=mesh),
        "nan, divided": lambda: fit((missing if number else X, Y), shard="fsdp", checkpoint=f"{folder}/two", **own),
        "seed": lambda: fit(seed=number, **own),
        "rules again": lambda: again(mesh, mesh, {"dense/kernel": P(None, "data")} if number else None),
        "mesh again": lambda: again(mesh, jax.sharding.Mesh(mesh.devices[:: 1 - 2 * number], ("data",))),
        "axes again": lambda: again(mesh, jax.make_mesh((jax.device_count(),), ("batch" if number else "data",))),
        "epochs": lambda: fit(**{**own, "epochs": 1 + number}),
        "checkpoint": lambda: fit(checkpoint=f"{folder}/one" if number else None, **own),
        "lengths": lambda: fit(list(shares())[number:], batch_size=None, **own),
        "early end": lambda: fit((each for each in list(shares())[number:]), batch_size=None, mesh=mesh, epochs=1),
        "other arrays": lambda: fit([(X[:4], Y[:4]), (X[:4], Y[:4], *[ONES] * number)], batch_size=None, **own),
        "nan": lambda: fit((missing if number else X, Y), **own),
        "nan in a stream": lambda: fit([((missing if number else X)[:4], Y[:4])], batch_size=None, **own),
        "loader fails": lambda: fit(Failing(number), batch_size=None, **own),
        "a file": lambda: fit(checkpoint=__file__, **own),
        "changes": lambda: fit(callbacks=[lambda epoch, ts, logs: ts if number else None], **own),
        "one changes": lambda: fit(callbacks=[set_rate(0.1) if number else lambda epoch, ts, logs: ts], **own),
        "other changes": lambda: fit(callbacks=[set_rate(0.1 * (1 + number))], **own),
        "many": lambda: fnn.many(lambda key: jax.random.normal(key), mesh=mesh)(jax.random.split(jax.random.key(0), 2)),
        "save on one": lambda: [
            saved_by_first(folder, ts := trained_state(mesh)),
            fnn.evaluate(TASK, ts, (X, Y), **on),
        ],
        "save in a callback of one": lambda: fit(callbacks=[lambda *now: saved_by_first(folder, now[1])], **own),
        "option of one": lambda: fit(**{**own, "epochs": "x" if number else 1}),
        "some processes": lambda: fit(mesh=jax.make_mesh((1,), ("data",), devices=jax.devices()[:1]), epochs=1),
    }
    return {name: message_of(calls[name]) for name in which or calls}


def steps(rows, mesh):
    return fnn.train_step(TASK, state(), (X[:rows], Y[:rows]), mesh=mesh)


def again(mesh, other, shard=None):
    """A second training, of a state that lies on the devices already."""
    ts, _ = fit(mesh=mesh)
    return fnn.fit(TASK, ts, (X, Y), verbose=0, mesh=other, shard=shard)


def trained_state(mesh):
    return fit(mesh=mesh)[0]


def saved_by_first(folder, ts):
    """What all processes would have to do."""
    if jax.process_index() == 0:
        fnn.save(f"{folder}/first.safetensors", ts)


def trained(mesh):
    """Outputs on devices of all processes."""
    return fnn.predict(TASK, state(), X, mesh=mesh)


class Failing:
    """An iterable that fails after its first batch on one process."""

    def __init__(self, number):
        self.number = number

    def __iter__(self):
        for batch in shares():
            yield batch
            if self.number:
                raise OSError("no such disk")


@scenario
def agreement(mesh, folder):
    """What is decided by one process."""
    number = jax.process_index()

    def stop(epoch, ts, logs):
        if number == 0:
            raise fnn.StopTraining

    def slow(epoch, ts, logs):
        time.sleep(0.05 * number)  # the processes measure different times

    def interrupt(step, logs):
        if number and step == 2:
            signal.raise_signal(signal.SIGINT)

    _, stopped = fit(epochs=5, callbacks=[stop], mesh=mesh)
    _, paced = fit(epochs=4, verbose=1, callbacks=[slow], mesh=mesh)
    ts, interrupted = fit(epochs=20, batch_size=24, callbacks=[fnn.on_batch(interrupt)], mesh=mesh)
    before = Messages.sent
    batch = X[:24], Y[:24]
    stepped, logs = fnn.train_step(TASK, ts, batch, mesh=mesh)
    messages = Messages.sent - before
    jitted = jax.jit(lambda ts, batch: fnn.train_step(TASK, ts, batch, mesh=mesh))(ts, batch)
    numbers = [jax.tree.leaves((ts._replace(key=()), logs)) for ts, logs in (jitted, (stepped, logs))]
    close = all(map(functools.partial(np.allclose, rtol=1e-5, atol=1e-6), *numbers))
    return {
        "messages of a step": messages,
        "messages and values inside jit": [Messages.sent - before - messages, close],
        "stopped": len(stopped["loss"]),
        "paced": len(paced["loss"]),
        "interrupted": [interrupted.interrupted, int(ts.step)],
    }


@scenario
def faulty(mesh, folder):
    """A training in which a process does what the environment says, at its seventh step."""
    fault = os.environ.get("FAULT")

    def hanging():
        for batch in shares():
            yield batch
            if jax.process_index() == int(os.environ["FAULTY"]):
                time.sleep(10_000)

    def act(step, logs):
        if step == 7 and fault == "evaluate":
            fnn.evaluate(TASK, state(), hanging(), mesh=mesh)
        if step != 7 or not fault or jax.process_index() != int(os.environ["FAULTY"]):
            return
        if fault == "hang":
            time.sleep(10_000)
        if fault == "fail":
            raise RuntimeError("a mistake of the user")
        if fault == "exit":
            sys.exit(3)
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "end": signal.SIGTERM}[fault])

    if fault == "elsewhere" and jax.process_index() == int(os.environ["FAULTY"]):
        fit(mesh=jax.make_mesh((1,), ("data",), devices=jax.local_devices()[:1]))
        time.sleep(10_000)
    if fault == "evaluate alone":
        fnn.evaluate(TASK, state(), hanging(), mesh=mesh)
    os.chdir(folder)
    ts, history = fit(epochs=3, callbacks=[fnn.on_batch(act)], checkpoint="run", every=5, mesh=mesh)
    return {"fit": values(history), "state": fnn.fingerprint(ts)}


@scenario
def non_finite(mesh, folder):
    """The error names the same place on every process."""
    ts = fnn.set_hyper(state(), learning_rate=1e30)
    return message_of(lambda: fnn.fit(TASK, ts, (X, Y), check="finite", epochs=3, verbose=0, mesh=mesh))


def main(names, number, count, port, folder):
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, number, initialization_timeout=240)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    for name in names.split(","):
        print(name, time.process_time(), flush=True)
        inside = os.path.join(folder, name)
        os.makedirs(inside, exist_ok=True)
        found = SCENARIOS[name](mesh, inside)
        Path(folder, f"{name}-{number}.json").write_text(json.dumps(found))
    print("finished", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
