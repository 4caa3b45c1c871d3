"""What the devices compute and send each other, as the compiled programs say."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import OPTIMIZED, some

import fnn
from fnn._core.hlo import read_program
from fnn._core.sharding import on_every_device, parse_placement
from fnn._core.trees import bytes_of
from fnn.fitting.pieces import _advance
from fnn.training.batch import Batch
from fnn.training.checks import zero_totals
from fnn.training.evaluation import measure_all, predict_in_batches
from fnn.training.placed import placed

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
    task, ts = placed(task, ts, mesh, shard)
    return task, ts, on_every_device(task.placement, Batch(x, LABELS))


def epoch(name, mesh=None, shard=None):
    """The compiled loop over the steps of an epoch."""
    task, ts, data = start(name, mesh, shard)
    order = on_every_device(task.placement, jnp.arange(ROWS, dtype=jnp.int32))
    arguments = task, ts, zero_totals(task, ts, data), data, order, 0, ROWS // BATCH
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
    alone, _ = epoch(name)
    divided, gradients = epoch(name, mesh)
    traffic = sent(divided)
    assert set(traffic) == {"all-reduce"}
    # Of the totals, a few numbers; an embedding's row for NaN has no gradient.
    assert 0.99 * gradients < traffic["all-reduce"] < gradients + 100
    operations = [program.cost_analysis()["flops"] for program in (alone, divided)]
    # The optimizer's update of every parameter is not divided.
    assert operations[1] < 1.3 / 8 * operations[0]


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
    compiled = jax.jit(measure_all, static_argnums=(0, 4)).lower(task, ts.params, ts.state, data, BATCH)
    assert sum(sent(compiled.compile(OPTIMIZED)).values()) < 100


@pytest.mark.slow
def test_predictions_are_gathered_and_no_more(mesh):
    task, ts, data = start("dense", mesh)
    compiled = predict_in_batches.lower(task, ts.params, ts.state, data.x, BATCH).compile(OPTIMIZED)
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
