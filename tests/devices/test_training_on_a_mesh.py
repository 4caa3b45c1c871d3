"""Eight devices give the numbers of one."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import some
from jax.sharding import PartitionSpec as P

import fnn
from fnn._core.trees import bytes_of
from fnn.training import placed
from fnn.training.evaluation import rows_at_once

ROWS, CLASSES = 100, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(ROWS, 8, 8, 2)).astype("float32")
STEPS = RNG.normal(size=(ROWS, 5, 6)).astype("float32")
IDS = RNG.integers(0, 9, (ROWS, 5)).astype("int32")
VECTORS = RNG.normal(size=(ROWS, 6)).astype("float32")
LABELS = RNG.integers(0, CLASSES, ROWS).astype("int32")


def branches(layers, x):
    return layers.head(jnp.concatenate([layers.left(x), layers.right(x)], axis=-1))


MODELS = {
    "dense": (VECTORS, fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.Dense(CLASSES))),
    "dropout": (VECTORS, fnn.Sequential(fnn.Dense(37), fnn.Dropout(0.4), fnn.GaussianNoise(0.1), fnn.Dense(CLASSES))),
    "batch norm": (VECTORS, fnn.Sequential(fnn.Dense(8), fnn.BatchNorm(), fnn.Dense(CLASSES))),
    "convolution": (
        IMAGES,
        fnn.Sequential(fnn.Conv(4, 3, activation="relu"), fnn.MaxPool(2), fnn.Flatten(), fnn.Dense(CLASSES)),
    ),
    "augmented": (
        IMAGES,
        fnn.Sequential(fnn.RandomRotation(0.1), fnn.RandomFlip(), fnn.Conv(2, 3), fnn.Flatten(), fnn.Dense(CLASSES)),
    ),
    "lstm": (STEPS, fnn.Sequential(fnn.LSTM(7), fnn.Dense(CLASSES))),
    "lstm on ids": (IDS, fnn.Sequential(fnn.LSTM(7, input_dim=9), fnn.Dense(CLASSES))),
    "gru with masks": (IDS, fnn.Sequential(fnn.Embedding(9, 4, mask_zero=True), fnn.GRU(7), fnn.Dense(CLASSES))),
    "bidirectional": (STEPS, fnn.Sequential(fnn.Bidirectional(fnn.SimpleRNN(4)), fnn.Dense(CLASSES))),
    "attention": (
        STEPS,
        fnn.Sequential(fnn.Residual(fnn.MultiHeadAttention(2, 3)), fnn.LayerNorm(), fnn.Flatten(), fnn.Dense(CLASSES)),
    ),
    "branches": (VECTORS, fnn.Model(branches, left=fnn.Dense(4, "tanh"), right=fnn.Dense(3), head=fnn.Dense(CLASSES))),
    "penalized": (VECTORS, fnn.Sequential(fnn.Dense(8, kernel_regularizer="l2"), fnn.Dense(CLASSES))),
}


def task_of(model, **options):
    # SGD: a rule that divides by the size of the gradient would enlarge rounding.
    options = {"optimizer": fnn.sgd(0.05, momentum=0.9), "metrics": ("accuracy",), **options}
    return fnn.Task(model, "sparse_categorical_crossentropy", **options)


def same(one, other, **tolerance):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if not jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), **{"rtol": 2e-5, "atol": 2e-6, **tolerance})


def trained(task, data, **options):
    ts = fnn.init(task, jax.random.key(1), data[0][:1])
    ts, history = fnn.fit(task, ts, data, **{"epochs": 2, "batch_size": 24, "verbose": 0, **options})
    return ts, {name: values for name, values in history.items() if name != "seconds"}


@pytest.mark.parametrize("name", some(MODELS, "dropout"))
def test_fit(name, mesh):
    """100 rows in batches of 24: neither the batches nor the last, smaller one divides by eight."""
    x, model = MODELS[name]
    task = task_of(model)
    ts, history = trained(task, (x, LABELS), validation_split=0.1)
    divided, others = trained(task, (x, LABELS), validation_split=0.1, mesh=mesh)
    same(ts, divided)
    for key, values in history.items():
        np.testing.assert_allclose(others[key], values, rtol=2e-5, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("size", [7, 8, 50, 100])
def test_any_batch_size(size, mesh):
    task = task_of(MODELS["dropout"][1])
    same(
        trained(task, (VECTORS, LABELS), batch_size=size)[0],
        trained(task, (VECTORS, LABELS), batch_size=size, mesh=mesh)[0],
    )


@pytest.mark.slow
def test_weights(mesh):
    """Rows of weight 0 that hold NaN, too."""
    x, weights = VECTORS.copy(), RNG.integers(0, 3, ROWS).astype("float32")
    x[weights == 0] = np.nan
    task = task_of(MODELS["dense"][1])
    same(trained(task, (x, LABELS, weights))[0], trained(task, (x, LABELS, weights), mesh=mesh)[0])


WIDE = fnn.Sequential(fnn.Dense(256, activation="relu"), fnn.Dense(256, activation="relu"), fnn.Dense(CLASSES))
X_WIDE = RNG.normal(size=(ROWS, 20)).astype("float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shard", "spec"),
    [
        ("fsdp", P("data")),
        ({"dense_1/kernel": P("model")}, P("model")),
        # Three columns do not divide: the first rule that matches decides.
        ({"dense_2/kernel": P(), "*/kernel": P(None, "model")}, P(None, "model")),
    ],
    ids=["fsdp", "rows", "columns"],
)
def test_parameters_and_slots_are_divided(shard, spec, mesh, square):
    task = task_of(WIDE)
    one, _ = trained(task, (X_WIDE, LABELS))
    other, _ = trained(task, (X_WIDE, LABELS), mesh=mesh if shard == "fsdp" else square, shard=shard)
    same(one, other)
    kernel, slot = other.params["dense_1"]["kernel"], other.opt_state.slots["momentum"]["dense_1"]["kernel"]
    assert kernel.sharding.spec == slot.sharding.spec == spec
    assert kernel.addressable_shards[0].data.size == kernel.size // (8 if shard == "fsdp" else 2)
    assert other.step.sharding.is_fully_replicated


def test_one_program_for_all_steps(mesh):
    """Results of a call lie where its arguments did, so no call compiles again."""
    from helpers import compilations

    task = task_of(fnn.Sequential(fnn.Dense(11), fnn.Dense(CLASSES)), optimizer="adam")
    ts = fnn.init(task, jax.random.key(1), VECTORS[:1])
    options = {"batch_size": 10, "verbose": 0, "mesh": mesh}
    ts, _ = fnn.fit(task, ts, (VECTORS, LABELS), epochs=1, **options)
    with compilations() as count:
        ts, _ = fnn.fit(task, ts, (VECTORS, LABELS), epochs=3, **options)
        assert count() == 0
    assert int(ts.step) == 40


@pytest.fixture
def received(monkeypatch):
    """For all data that is put on devices from here on: its bytes, and the most that one device receives."""
    found, put = [], placed.put

    def noted(tree, places):
        given = put(tree, places)
        if not isinstance(tree, fnn.TrainState):
            held = Counter()
            for shard in (shard for leaf in jax.tree.leaves(given) for shard in leaf.addressable_shards):
                held[shard.device] += shard.data.nbytes
            # Arrays of the host go to each device at once, not to the first and from there to the others.
            assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(tree))
            found.append((bytes_of(tree), max(held.values())))
        return given

    monkeypatch.setattr(placed, "put", noted)
    return found


def batches_of(size):
    return [(VECTORS[i : i + size], LABELS[i : i + size]) for i in range(0, ROWS // size * size, size)]


def test_devices_receive_only_their_rows(mesh, received):
    task, data = task_of(fnn.Dense(CLASSES)), (VECTORS, LABELS)
    ts = fnn.init(task, jax.random.key(1), VECTORS[:1])
    options = {"mesh": mesh, "verbose": 0}
    evenly = {
        "train_step": lambda: fnn.train_step(task, ts, (VECTORS[:48], LABELS[:48]), mesh=mesh),
        "batches": lambda: fnn.fit(task, ts, batches_of(48), **options),
        "chunks": lambda: fnn.fit(task, ts, (VECTORS[:96], LABELS[:96]), batch_size=48, chunk_bytes=1400, **options),
        "evaluate": lambda: fnn.evaluate(task, ts, (VECTORS[:96], LABELS[:96]), batch_size=48, mesh=mesh),
        "evaluate batches": lambda: fnn.evaluate(task, ts, batches_of(48), batch_size=48, mesh=mesh),
        "predict": lambda: fnn.predict(task, ts, VECTORS[:96], batch_size=48, mesh=mesh),
    }
    for name, call in evenly.items():
        received.clear()
        call()
        assert received, name
        assert all(8 * own == total for total, own in received), name
    received.clear()
    fnn.fit(task, ts, data, batch_size=24, validation_data=(VECTORS[:96], LABELS[:96]), eval_batch_size=48, **options)
    (every, own), (total, eighth) = received
    assert every == own
    assert total == 8 * eighth


@pytest.mark.slow
@pytest.mark.parametrize("size", [30, 24])
def test_streams_and_chunks(size, mesh):
    task = task_of(MODELS["dropout"][1])
    batches = [(VECTORS[i : i + size], LABELS[i : i + size]) for i in range(0, ROWS, size)]
    ts = fnn.init(task, jax.random.key(1), VECTORS[:1])
    one, other = (fnn.fit(task, ts, batches, epochs=2, verbose=0, mesh=where)[0] for where in (None, mesh))
    same(one, other)
    chunks = {"chunk_bytes": 1200}
    same(trained(task, (VECTORS, LABELS))[0], trained(task, (VECTORS, LABELS), mesh=mesh, **chunks)[0])


@pytest.mark.parametrize("shard", some([None, "fsdp"], "fsdp"))
def test_evaluate_and_predict(shard, mesh):
    task = task_of(WIDE)
    ts = fnn.init(task, jax.random.key(1), X_WIDE[:1])
    whole = fnn.evaluate(task, ts, (X_WIDE, LABELS), batch_size=30)
    divided = fnn.evaluate(task, ts, (X_WIDE, LABELS), batch_size=30, mesh=mesh, shard=shard)
    assert dict(divided) == pytest.approx(dict(whole), rel=1e-5)
    predictions = fnn.predict(task, ts, X_WIDE, batch_size=30)
    same(predictions, fnn.predict(task, ts, X_WIDE, batch_size=30, mesh=mesh, shard=shard))
    same(predictions, fnn.predictor(task, ts, batch_size=30, mesh=mesh, shard=shard)(X_WIDE))


def test_batches_of_the_default_size_divide_evenly(mesh):
    ts = fnn.init(task_of(WIDE), jax.random.key(1), X_WIDE[:1])
    task, ts = placed.placed("predict", task_of(WIDE), ts, mesh, None)
    for size, rows in ((1001, 1000), (1000, 1000), (100, 100), (7, 7)):
        assert rows_at_once(task, ts, np.zeros((size, *X_WIDE.shape[1:]), "float32"), None) == rows


@pytest.mark.slow
def test_pure_functions(mesh):
    task, data = task_of(MODELS["batch norm"][1]), (VECTORS, LABELS)
    ts = fnn.init(task, jax.random.key(1), VECTORS[:1])
    same(fnn.train_step(task, ts, data), fnn.train_step(task, ts, data, mesh=mesh))
    same(fnn.train_epoch(task, ts, data, batch_size=24), fnn.train_epoch(task, ts, data, batch_size=24, mesh=mesh))
    options = {"epochs": 2, "batch_size": 24, "validation_data": data}
    same(fnn.run(task, ts, data, **options), fnn.run(task, ts, data, mesh=mesh, **options))
    step = jax.jit(lambda ts, x, y: fnn.train_step(task, ts, (x, y), mesh=mesh))
    same(fnn.train_step(task, ts, data), step(ts, *data))


@pytest.mark.slow
def test_a_loop_of_steps(mesh):
    """100 rows do not divide, and the state lies on the devices after the first step."""
    task = task_of(MODELS["dropout"][1])
    one = other = inside = fnn.init(task, jax.random.key(1), VECTORS[:1])
    step = jax.jit(lambda ts, x, y: fnn.train_step(task, ts, (x, y), mesh=mesh))
    for _ in range(3):
        one, logs = fnn.train_step(task, one, (VECTORS, LABELS))
        other, others = fnn.train_step(task=task, ts=other, batch=(VECTORS, LABELS), mesh=mesh)
        inside, _ = step(inside, VECTORS, LABELS)
    same((one, logs), (other, others))
    same(one, inside)


@pytest.mark.slow
def test_arguments_on_other_devices(mesh):
    task, devices = task_of(MODELS["dense"][1]), jax.devices()
    part = jax.sharding.Mesh(devices[2:5], ("data",))
    ts = fnn.init(task, jax.random.key(1), VECTORS[:1])
    data, last = (VECTORS, LABELS), jax.device_put((VECTORS, LABELS), devices[7])
    whole = jax.sharding.NamedSharding(mesh, P())  # with explicit axes, as jax.make_mesh gives them
    for state in (ts, jax.device_put(ts, devices[3]), jax.device_put(ts, whole)):
        for given, where in ((last, part), (jax.device_put(data, whole), mesh)):
            same(fnn.train_step(task, ts, data), fnn.train_step(task, state, given, mesh=where))
            same(fnn.run(task, ts, data), fnn.run(task, state, given, mesh=where))
            same(fnn.predict(task, ts, VECTORS), fnn.predict(task, state, given[0], mesh=where))
    trial = lambda seed: fnn.run(task, fnn.init(task, jax.random.key(seed), VECTORS[:1]), last)  # noqa: E731
    seeds = jnp.arange(4)
    same(fnn.many(trial)(seeds), fnn.many(trial, mesh=part)(jax.device_put(seeds, devices[6])))
    members = fnn.ensemble(task, jax.random.key(0), last, members=3, verbose=0, mesh=part)
    same(fnn.ensemble(task, jax.random.key(0), data, members=3, verbose=0).ts, members.ts)


@pytest.mark.slow
def test_checkpoints_continue_on_other_devices(mesh, square, tmp_path):
    task, data = task_of(WIDE), (X_WIDE, LABELS)
    folder = tmp_path / "run"
    unbroken, history = trained(task, data, epochs=4)
    trained(task, data, epochs=2, checkpoint=folder)
    trained(task, data, epochs=3, checkpoint=folder, mesh=mesh, shard="fsdp")
    columns = {"dense_1/kernel": P(None, "model")}
    continued, others = trained(task, data, epochs=4, checkpoint=folder, mesh=square, shard=columns)
    same(unbroken, continued)
    np.testing.assert_allclose(others["loss"], history["loss"], rtol=1e-5)


@pytest.mark.slow
def test_callbacks_and_finite_checks(mesh):
    task, data = task_of(MODELS["dense"][1]), (VECTORS, LABELS)

    def halve(epoch, ts, logs):
        return fnn.set_hyper(ts, learning_rate=0.05 / 2**epoch)

    options = {"callbacks": [halve, fnn.early_stopping("val_loss", patience=1)], "validation_split": 0.2, "epochs": 4}
    same(trained(task, data, **options)[0], trained(task, data, mesh=mesh, check="finite", **options)[0])
    hot = task.replace(optimizer=fnn.sgd(1e30))
    with pytest.raises(fnn.NonFiniteError, match="not finite since step 1"):
        trained(hot, data, mesh=mesh, check="finite")
    batches = batches_of(24)
    with pytest.raises(fnn.NonFiniteError, match="not finite since step 1") as caught:
        fnn.fit(hot, fnn.init(hot, jax.random.key(1), VECTORS[:1]), batches, verbose=0, mesh=mesh, check="finite")
    np.testing.assert_array_equal(caught.value.batch[0], batches[caught.value.step][0])
    assert caught.value.replay()


@pytest.mark.slow
def test_the_callers_state_stays_valid(mesh):
    task = task_of(MODELS["dense"][1])
    ts, _ = trained(task, (VECTORS, LABELS), mesh=mesh)
    before = jax.tree.map(np.array, ts.params)
    fnn.fit(task, ts, (VECTORS, LABELS), batch_size=24, verbose=0, mesh=mesh)
    same(before, ts.params)


@pytest.mark.slow
def test_trials_and_members(mesh):
    task, data = task_of(MODELS["dense"][1]), (jnp.asarray(VECTORS), jnp.asarray(LABELS))

    def trial(seed, rate):
        ts = fnn.set_hyper(fnn.init(task, jax.random.key(seed), data[0][:1]), learning_rate=rate)
        return fnn.run(task, ts, data, epochs=2)

    seeds, rates = jnp.arange(11), jnp.linspace(0.01, 0.2, 11)
    same(jax.jit(fnn.many(trial))(seeds, rates), jax.jit(fnn.many(trial, mesh=mesh))(seeds, rates))
    space = {"seed": [0, 1, 2], "rate": [0.01, 0.1, 0.3]}
    one, other = fnn.sweep(trial, space, verbose=0), fnn.sweep(trial, space, verbose=0, mesh=mesh, members=5)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)
    assert one.best == other.best
    options = {"members": 5, "epochs": 2, "verbose": 0}
    one = fnn.ensemble(task, jax.random.key(0), data, **options)
    other = fnn.ensemble(task, jax.random.key(0), data, mesh=mesh, **options)
    same(one.ts, other.ts)
    same(one.predict(data[0]).mean, other.predict(data[0]).mean)


@pytest.mark.slow
def test_functions_jitted_by_the_user_are_traced_for_each_placement():
    drop = jax.jit(lambda x, key: fnn.Dropout(0.5).apply({}, {}, x, key=key, train=True)[0])
    own = fnn.Layer(
        lambda key, x: ({}, {}), lambda p, s, x, *, key=None, train=False: (drop(x, key) if train else x, s)
    )
    task, data = task_of(fnn.Sequential(fnn.Dense(8), own, fnn.Dense(CLASSES))), (VECTORS, LABELS)
    halves = [jax.sharding.Mesh(jax.devices()[i : i + 4], ("data",)) for i in (0, 4)]
    one, other, last = (trained(task, data, mesh=mesh)[0] for mesh in (None, *halves))
    same(one, other)
    same(one, last)


def test_data_divided_over_explicit_axes_need_no_mesh(mesh):
    """Their rows are gathered in any order, for which JAX would ask how the result is divided."""
    assert mesh.axis_types[0] is jax.sharding.AxisType.Explicit
    task, data = task_of(MODELS["dense"][1]), (VECTORS[:96], LABELS[:96])
    divided = jax.device_put(data, jax.sharding.NamedSharding(mesh, P("data")))
    ts = fnn.init(task, jax.random.key(0), VECTORS[:1])
    for call in (fnn.train_step, fnn.train_epoch, lambda *given: fnn.fit(*given, verbose=0)):
        same(call(task, ts, divided)[0].params, call(task, ts, data)[0].params)


@pytest.mark.slow
def test_explicit_axes_are_read_as_automatic(mesh):
    """`jax.make_mesh` gives explicit axes, in which most programs do not trace."""
    assert mesh.axis_types[0] is jax.sharding.AxisType.Explicit
    automatic = jax.sharding.Mesh(mesh.devices, mesh.axis_names)
    task = task_of(MODELS["dense"][1])
    same(trained(task, (VECTORS, LABELS), mesh=mesh)[0], trained(task, (VECTORS, LABELS), mesh=automatic)[0])
