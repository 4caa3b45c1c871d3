"""What the devices compute and send each other, as the compiled programs say."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import OPTIMIZED, some

import fnn
from fnn._core.hlo import read_program
from fnn._core.sharding import on_every_device, parse_placement, put
from fnn._core.trees import bytes_of
from fnn.fitting.pieces import _advance
from fnn.training.batch import Batch, InBatches
from fnn.training.checks import zero_totals
from fnn.training.evaluation import measure_all, predict_in_batches
from fnn.training.placed import data_on_devices, placed, read_in_order

ROWS, BATCH, CLASSES = 512, 128, 4
RNG = np.random.default_rng(0)
STEPS = RNG.normal(size=(ROWS, 12, 16)).astype("float32")
MODELS = {
    "dense": (
        RNG.normal(size=(ROWS, 100)).astype("float32"),
        (fnn.Dense(512, activation="relu"), fnn.Dropout(0.3), fnn.Dense(256, activation="relu")),
    ),
    "lstm": (STEPS, (fnn.LSTM(64),)),
    "lstm on ids": (RNG.integers(0, 50, (ROWS, 12)).astype("int32"), (fnn.LSTM(64, input_dim=50),)),
    "gru with masks": (
        RNG.integers(0, 3000, (ROWS, 12)).astype("int32"),
        (fnn.Embedding(3000, 32, mask_zero=True), fnn.GRU(64)),
    ),
    "convolution": (
        RNG.normal(size=(ROWS, 16, 16, 3)).astype("float32"),
        (fnn.Conv(16, 3, activation="relu"), fnn.MaxPool(2), fnn.Flatten()),
    ),
    "attention": (
        STEPS,
        (fnn.Residual(fnn.MultiHeadAttention(4, 8)), fnn.LayerNorm(), fnn.Flatten()),
    ),
}
LABELS = RNG.integers(0, CLASSES, ROWS).astype("int32")


def start(name, mesh=None, shard=None):
    x, layers = MODELS[name]
    task = fnn.Task(
        fnn.Sequential(*layers, fnn.Dense(CLASSES)), "sparse_categorical_crossentropy", metrics=("accuracy",)
    )
    ts = fnn.init(task, jax.random.key(0), x[:1])
    return *placed("fit", task, ts, mesh, shard), Batch(x, LABELS)


def shuffled(task, data):
    """Data in memory, which are read in any order."""
    order = on_every_device(task.placement, jnp.arange(ROWS, dtype=jnp.int32))
    return data_on_devices(task, data, in_any_order=True), order


def streamed(task, data):
    """The same rows as they come from an iterable, or in a chunk."""
    return data_on_devices(task, InBatches.of(data, BATCH)).full, None


def scattered(task, data):
    """What `shuffled` avoids: each device has some rows, which may be in any batch."""
    whole, order = shuffled(task, data)
    return put(whole, task.placement.sharding(task.placement.rows)), order


def epoch(name, mesh=None, shard=None, data=shuffled):
    """The compiled loop over the steps of an epoch."""
    task, ts, rows = start(name, mesh, shard)
    arguments = task, ts, zero_totals(task, ts, rows), *data(task, rows), 0, ROWS // BATCH
    return _advance.lower(*arguments, size=None, batch_size=BATCH).compile(OPTIMIZED), bytes_of(ts.params)


def sent(compiled):
    """Bytes by kind of collective operation in a round of the loop."""
    program = read_program(compiled.as_text())
    found = Counter()
    for kind, size, times in program.exchanges(program.entry):
        found[kind] += int(size * times)
    return dict(found)


@pytest.mark.parametrize("name", some(MODELS, "dense"))
def test_a_step_sends_the_gradients_and_no_more(name, mesh):
    # Not one device: there the gradient of a table takes another form, with fewer operations.
    pair, _ = epoch(name, jax.make_mesh((2,), ("data",), devices=jax.devices()[:2]))
    divided, gradients = epoch(name, mesh)
    traffic = sent(divided)
    assert set(traffic) == {"all-reduce"}
    # Of the totals, a few numbers; an embedding's row for NaN has no gradient.
    assert 0.99 * gradients < traffic["all-reduce"] < gradients + 100
    operations = [program.cost_analysis()["flops"] for program in (pair, divided)]
    # The optimizer's update of every parameter is not divided.
    assert operations[1] < 1.3 * 2 / 8 * operations[0]


@pytest.mark.parametrize("name", some(("dense", "gru with masks", "convolution"), "dense"))
def test_batches_of_a_stream_lie_where_they_are_computed(name, mesh):
    alone, gradients = epoch(name, mesh, data=shuffled)
    divided, _ = epoch(name, mesh, data=streamed)
    traffic = sent(divided)
    assert set(traffic) == {"all-reduce"}
    assert 0.99 * gradients < traffic["all-reduce"] < gradients + 100
    whole, own = (program.memory_analysis().argument_size_in_bytes for program in (alone, divided))
    saved = 7 / 8 * bytes_of(Batch(MODELS[name][0], LABELS)) + 4 * ROWS  # there is no order either
    assert whole - own == pytest.approx(saved, abs=100)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "convolution"])
def test_rows_in_any_order_would_cost_their_batch_in_every_step(name, mesh):
    """Why data in memory lie whole on every device."""
    whole, own = (sent(epoch(name, mesh, data=data)[0]) for data in (shuffled, scattered))
    batch = bytes_of(MODELS[name][0]) * BATCH / ROWS
    assert sum(own.values()) > sum(whole.values()) + batch


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "gru with masks"])
def test_fully_sharded_steps_gather_each_parameter_once(name, mesh):
    divided, parameters = epoch(name, mesh, "fsdp")
    traffic = sent(divided)
    assert set(traffic) <= {"all-reduce", "all-gather", "reduce-scatter"}
    assert 0 < traffic["all-gather"] <= parameters
    assert traffic["all-reduce"] + traffic.get("reduce-scatter", 0) < parameters + 100
    one = epoch(name, mesh)[0].memory_analysis().argument_size_in_bytes
    assert divided.memory_analysis().argument_size_in_bytes < one - parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "lstm on ids"])
def test_evaluation_sends_totals_alone(name, mesh):
    task, ts, data = start(name, mesh)
    data = read_in_order(task, data, BATCH)
    compiled = jax.jit(measure_all, static_argnums=(0, 4)).lower(task, ts.params, ts.state, data, BATCH)
    assert sum(sent(compiled.compile(OPTIMIZED)).values()) < 100


@pytest.mark.slow
def test_predictions_are_gathered_and_no_more(mesh):
    task, ts, data = start("dense", mesh)
    x = read_in_order(task, data.x, BATCH)
    compiled = predict_in_batches.lower(task, ts.params, ts.state, x, BATCH).compile(OPTIMIZED)
    assert sum(sent(compiled).values()) <= ROWS * CLASSES * 4 + 100


@pytest.mark.slow
def test_trials_send_nothing(mesh):
    task = fnn.Task(fnn.Sequential(fnn.Dense(8), fnn.Dense(CLASSES)), "sparse_categorical_crossentropy")
    x, y = jnp.asarray(STEPS[:, 0]), jnp.asarray(LABELS)

    def trial(seed):
        return fnn.run(task, fnn.init(task, jax.random.key(seed), x[:1]), (x, y), epochs=1)

    seeds = jax.device_put(jnp.arange(16), parse_placement(mesh).sharding(("data",)))
    compiled = jax.jit(fnn.many(trial, mesh=mesh)).lower(seeds).compile(OPTIMIZED)
    assert not sent(compiled)
