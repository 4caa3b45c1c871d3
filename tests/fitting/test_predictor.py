"""`predictor`, and the number of rows that `predict` and `evaluate` compute at a time by default."""

import gc
import itertools
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.training import evaluation
from fnn.training.evaluation import rows_at_once

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype("float32")
Y = np.arange(12) % 3
TASK = fnn.Task(fnn.Sequential(fnn.Dense(8, activation="relu"), fnn.Dense(3)), "sparse_categorical_crossentropy")
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def ts():
    return fnn.init(TASK, KEY, X[:1])


# ----------------------------------------------------------------------------------------------------------- results
@pytest.mark.parametrize(
    "x",
    [
        X,
        X[:1],
        jnp.asarray(X),
        X.astype("float64"),
        X.astype("longdouble"),
        X.astype(">f4"),
        np.asfortranarray(X),
        X.tolist(),
    ],
    ids=["float32", "row", "jax", "float64", "long", "big-endian", "columns", "list"],
)
def test_it_returns_what_predict_does_as_numpy(x, ts):
    predict = fnn.predictor(TASK, ts)
    expected = fnn.predict(TASK, ts, x)
    for _ in range(2):  # the second call skips the checks of shapes
        found = predict(x)
        assert isinstance(found, np.ndarray)
        assert not found.flags.writeable
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_new_values_in_the_same_memory_are_read_anew(ts):
    predict, x = fnn.predictor(TASK, ts), X.copy()
    first = predict(x)
    x[:] = X[::-1]
    np.testing.assert_array_equal(first, fnn.predict(TASK, ts, X))
    np.testing.assert_array_equal(predict(x), fnn.predict(TASK, ts, X[::-1].copy()))


def test_predict_has_read_an_array_when_it_returns():
    """JAX computes in another thread, on the memory of the array itself where that is aligned to 64 bytes."""
    task = fnn.Task(fnn.Sequential(fnn.Dense(512), fnn.Dense(512), fnn.Dense(3)), "mse")
    ts = fnn.init(task, KEY, (64,))
    memory = np.empty(20_000 * 64 * 4 + 64, np.uint8)
    start = -memory.ctypes.data % 64
    x = memory[start : start + 20_000 * 64 * 4].view("float32").reshape(20_000, 64)
    x[:] = RNG.normal(size=x.shape)
    expected = np.asarray(fnn.predict(task, ts, x.copy()))
    found = fnn.predict(task, ts, x)
    x[:] = 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_trees_of_inputs_and_outputs():
    model = fnn.Model(lambda layers, x: {"sum": layers.d(x["a"] + x["b"]), "a": x["a"]}, d=fnn.Dense(2))
    task = fnn.Task(model, loss={"sum": "mse", "a": None})
    x = {"a": X, "b": X[::-1].copy()}
    ts = fnn.init(task, KEY, x)
    predict = fnn.predictor(task, ts)
    for _ in range(2):
        found = predict(x)
        assert set(map(type, jax.tree.leaves(found))) == {np.ndarray}
        jax.tree.map(np.testing.assert_array_equal, found, fnn.predict(task, ts, x))
    np.testing.assert_array_equal(predict({"a": X, "b": -X})["sum"], fnn.predict(task, ts, {"a": X, "b": -X})["sum"])


def test_masks():
    model = fnn.Sequential(fnn.Embedding(5, 3, mask_zero=True), fnn.LSTM(2, return_sequences=True), fnn.Dense(2))
    task = fnn.Task(model, "mse")
    ids = RNG.integers(0, 5, (6, 4)).astype("int32")
    ts = fnn.init(task, KEY, ids)
    predict = fnn.predictor(task, ts)
    for _ in range(2):
        found, expected = predict(ids), fnn.predict(task, ts, ids)
        assert isinstance(found, fnn.Masked)
        np.testing.assert_array_equal(found.x, expected.x)
        np.testing.assert_array_equal(found.mask, expected.mask)


def test_batches_and_a_batch_size(ts):
    predict = fnn.predictor(TASK, ts, batch_size=5)
    whole = fnn.predict(TASK, ts, X)
    np.testing.assert_allclose(predict(X), whole, rtol=1e-5, atol=1e-6)
    for batches in ([(X[:7], Y[:7]), (X[7:], Y[7:])], iter([X[:7], X[7:]])):
        np.testing.assert_allclose(predict(batches), whole, rtol=1e-5, atol=1e-6)


def test_a_mesh_gives_the_same(ts):
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    predict = fnn.predictor(TASK, ts, mesh=mesh)
    for _ in range(2):
        np.testing.assert_allclose(predict(X), fnn.predict(TASK, ts, X), rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------ serving
def test_the_state_is_fixed(ts):
    expected = np.asarray(fnn.predict(TASK, ts, X))
    own = jax.tree.map(jnp.copy, ts)
    predict = fnn.predictor(TASK, own)
    trained, _ = fnn.fit(TASK, own, (X, Y), epochs=1, verbose=0)
    for leaf in jax.tree.leaves((own, trained)):
        leaf.delete()  # as a program does that reuses the memory of its arguments
    np.testing.assert_array_equal(predict(X), expected)


def test_several_threads_may_call_it(ts):
    predict = fnn.predictor(TASK, ts)
    inputs = [RNG.normal(size=(1 + i % 3, 4)).astype("float32") for i in range(24)]
    expected = [np.asarray(fnn.predict(TASK, ts, x)) for x in inputs]
    found = [None] * len(inputs)
    barrier = threading.Barrier(4)

    def work(first):
        barrier.wait()
        for i in range(first, len(inputs), 4):
            found[i] = [predict(inputs[i]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for many, one in zip(found, expected, strict=True):
        assert all(np.array_equal(result, one) for result in many)


def test_the_model_is_traced_once_for_each_shape():
    traces = []

    def counted(x):
        traces.append(x.shape)
        return x

    task = fnn.Task(fnn.Sequential(fnn.Activation(counted), fnn.Dense(2)), "mse")
    predict = fnn.predictor(task, fnn.init(task, KEY, X[:1]))
    predict(X)
    known = len(traces)
    predict(-X)
    assert len(traces) == known
    predict(X[:5])
    assert len(traces) > known


# ------------------------------------------------------------------------------------------------------------- checks
@pytest.mark.parametrize("calls", [0, 1], ids=["at once", "after a good call"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.where(X[3, 2] == X, np.nan, X), r"x: expected finite numbers, got 1 NaN .* the first at index \(3, 2\)"),
        (np.where(X[3, 2] == X, np.inf, X), r"x: expected finite numbers, got 1 NaN or infinite"),
        (X[:, :3], r"predict > .*kernel|predict > .*4 features"),
        (X[0], r"predict > .*x\[None\] for one example"),
        (X[:0], "x: expected at least one example"),
        ((X, Y), "If y is among them, leave it out"),
        (np.array([["a"] * 4] * 12), "expected an array of numbers, got text"),
        (np.full((12, 4), 1e300), "expected"),
        (itertools.cycle([X]), "expected an iterable that ends"),
        (None, "x: expected at least one example, got none"),
    ],
    ids=["nan", "inf", "width", "one", "none", "pair", "text", "beyond", "endless", "None"],
)
def test_the_checks_are_those_of_predict(x, message, calls, ts):
    predict = fnn.predictor(TASK, ts)
    for _ in range(calls):
        predict(X)
        predict(X.astype("float64"))
    with pytest.raises(fnn.InputError, match=message):
        predict(x)


def test_ids_are_checked_in_every_call():
    task = fnn.Task(fnn.Sequential(fnn.Embedding(5, 3), fnn.Flatten(), fnn.Dense(2)), "mse")
    ids = np.zeros((3, 2), "int32")
    predict = fnn.predictor(task, fnn.init(task, KEY, ids))
    predict(ids)
    with pytest.raises(fnn.InputError, match=r"x: expected ids in \[0, 5\) for embedding, got ids from 5 to 5"):
        predict(ids + 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ts: fnn.predictor(TASK.model, ts), "task: expected an fnn.Task as first argument"),
        (lambda ts: fnn.predictor(TASK, ts.params), "state: expected a TrainState"),
        (lambda ts: fnn.predictor(TASK, fnn.Ensemble.of(TASK, [ts, ts])), r"Write .*members\.predict\(x\)"),
        (lambda ts: fnn.predictor(TASK, ts, batch_size=0), "predictor: expected batch_size to be an integer"),
        (lambda ts: jax.jit(lambda ts: fnn.predictor(TASK, ts)(X))(ts), "predictor: expected concrete values, .*apply"),
        (lambda ts: jax.jit(fnn.predictor(TASK, ts))(X), "predict: expected concrete values, .*apply"),
    ],
)
def test_wrong_arguments(call, message, ts):
    with pytest.raises(fnn.InputError, match=message):
        call(ts)


def test_an_argument_of_predict_with_another_name(ts):
    with pytest.raises(TypeError, match=r"predictor\(\).*steps"):
        fnn.predictor(TASK, ts, steps=3)


def test_a_type_error_of_the_model_is_its_own():
    """`predict` binds its arguments only after Python refused a call, which must not hide other errors."""

    def refuse(x):
        raise TypeError("the layer's own")

    task = fnn.Task(fnn.Sequential(fnn.Dense(2), fnn.Activation(refuse)), "mse")
    sound = fnn.Task(fnn.Sequential(fnn.Dense(2), fnn.Activation("relu")), "mse")
    with pytest.raises(TypeError, match="the layer's own"):
        fnn.predict(task, fnn.init(sound, KEY, X), X)


# ------------------------------------------------------------------------------------- repeated calls of predict
def test_a_second_call_of_predict_makes_the_checks_of_values(ts):
    for _ in range(2):
        fnn.predict(TASK, ts, X)
        with pytest.raises(fnn.InputError, match=r"x: expected finite numbers, got 1 NaN .* at index \(3, 2\)"):
            fnn.predict(TASK, ts, np.where(X[3, 2] == X, np.nan, X))
        with pytest.raises(fnn.InputError, match=r"4 features|kernel"):
            fnn.predict(TASK, ts, X[:, :3])
        with pytest.raises(fnn.InputError, match="data as third argument, got none"):
            fnn.predict(TASK, ts)
        with pytest.raises(fnn.InputError, match="expected batch_size to be an integer"):
            fnn.predict(TASK, ts, X, batch_size=0)


def test_predict_tells_states_apart(ts):
    """What it remembers of one state must not be taken for another of the same, or of other, shapes."""
    first = np.asarray(fnn.predict(TASK, ts, X))
    other = fnn.init(TASK, jax.random.key(1), X[:1])
    mixed = ts._replace(params={**ts.params, "dense": other.params["dense"]})
    for state in (other, mixed):
        expected = TASK.model.apply(state.params, state.state, X)[0]
        np.testing.assert_allclose(fnn.predict(TASK, state, X), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(fnn.predict(TASK, ts, X), first)
    narrow, wide = (fnn.Dense(3),), (fnn.Dense(9, activation="relu"), fnn.Dense(3))
    for layers, message in ((narrow, "expected parameters with a leaf"), (wide, "state, dense")):
        wrong = fnn.init(fnn.Task(fnn.Sequential(*layers), "mse"), KEY, X[:1])
        fnn.predict(TASK, ts, X)
        with pytest.raises(fnn.InputError, match=message):
            fnn.predict(TASK, wrong, X)
    fnn.predict(TASK, ts, X)
    with pytest.raises(fnn.InputError, match="expected a TrainState"):
        fnn.predict(TASK, tuple(ts), X)
    with pytest.raises(fnn.InputError, match="expected concrete values, got traced"):
        jax.jit(lambda ts: fnn.predict(TASK, ts, X))(ts)


def test_predict_keeps_no_state_alive():
    own = fnn.init(TASK, jax.random.key(2), X[:1])
    arrays = [weakref.ref(leaf) for leaf in jax.tree.leaves(own.params)]
    fnn.predict(TASK, own, X)
    fnn.predict(TASK, own, X)
    del own
    gc.collect()
    assert not any(reference() is not None for reference in arrays)


# ------------------------------------------------------------------------------------------------- rows at a time
def rows(model, size, shape=(4,), **options):
    task = fnn.Task(model, "mse")
    ts = fnn.init(task, KEY, shape)
    return rows_at_once(task, ts, np.broadcast_to(np.float32(0), (size, *shape)), options.get("batch_size"))


def test_the_default_is_what_fits(monkeypatch):
    wide = fnn.Sequential(fnn.Dense(1000), fnn.Dense(1))
    assert rows(wide, 10_000) == 10_000  # 40 MB
    assert rows(wide, 40_000) == -(-40_000 // 3)  # 160 MB in batches of equal size
    assert rows(fnn.Dense(1), 40_000, shape=(1000,)) == -(-40_000 // 3)  # the input counts too
    assert rows(wide, 100) == 100
    assert rows(wide, 40_000, batch_size=7) == 7
    monkeypatch.setattr(evaluation, "RESULT_BYTES", 4000 * 300)
    assert rows(fnn.Sequential(fnn.Dense(1000), fnn.Dense(2)), 900) == 300
    monkeypatch.setattr(evaluation, "RESULT_BYTES", 1)
    assert rows(fnn.Sequential(fnn.Dense(1000), fnn.Dense(3)), 1000) == 250  # no less than 256 before they are evened


def test_what_a_layer_computes_inside_counts():
    attention, steps, heads = fnn.MultiHeadAttention(4, 8), 128, 4
    scores = 2000 * heads * steps * steps * 4  # bytes, of which neither input nor output has a fifth
    assert rows(attention, 2000, shape=(steps, 16)) == -(-2000 // -(-scores // evaluation.RESULT_BYTES))


def test_terms_of_whole_batches_keep_their_batch():
    model = fnn.Sequential(fnn.Dense(2), fnn.ActivityRegularization(l2=0.1))
    assert rows(model, 1000) == 256


def test_the_number_of_rows_does_not_change_the_results(monkeypatch, ts):
    x = RNG.normal(size=(700, 4)).astype("float32")
    y = RNG.integers(0, 3, 700)
    task = TASK.replace(metrics=("accuracy",))
    whole, scores = fnn.predict(task, ts, x), fnn.evaluate(task, ts, (x, y))
    monkeypatch.setattr(evaluation, "RESULT_BYTES", 1)
    evaluation._rows_at_once.cache_clear()
    np.testing.assert_allclose(fnn.predict(task, ts, x), whole, rtol=1e-5, atol=1e-6)
    found = fnn.evaluate(task, ts, (x, y))
    assert dict(found) == pytest.approx(dict(scores), rel=1e-5)
    evaluation._rows_at_once.cache_clear()
