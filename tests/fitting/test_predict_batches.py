"""`predict` on inputs that come in batches."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

X = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
Y = np.arange(10) % 3
TASK = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy")
PARTS = (slice(0, 4), slice(4, 8), slice(8, 10))
PAIRS = [(X[part], Y[part]) for part in PARTS]


class Loader:
    def __iter__(self):
        return iter([list(pair) for pair in PAIRS])


def refilled():
    x = np.empty((4, 4), "float32")
    for part in PARTS:
        count = part.stop - part.start
        x[:count] = X[part]
        yield x[:count]


@pytest.fixture(scope="module")
def ts():
    return fnn.init(TASK, jax.random.key(0), X[:1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: PAIRS,
        lambda: iter(PAIRS),
        Loader,
        lambda: (x for x, _ in PAIRS),
        lambda: iter([x for x, _ in PAIRS]),
        lambda: ((x, y, np.ones(len(y))) for x, y in PAIRS),
        lambda: fnn.data.Stream(lambda epoch: PAIRS),
        lambda: itertools.islice(itertools.cycle(PAIRS), 3),
        refilled,
    ],
    ids=["list", "iterator", "loader", "generator", "inputs", "weights", "stream", "cut", "buffer"],
)
def test_batches_give_the_predictions_of_their_rows(make, ts):
    np.testing.assert_allclose(fnn.predict(TASK, ts, make()), fnn.predict(TASK, ts, X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("x", [X.tolist(), [tuple(row) for row in X.tolist()], [list(X[0])]])
def test_lists_of_numbers_are_arrays(x, ts):
    np.testing.assert_allclose(fnn.predict(TASK, ts, x), fnn.predict(TASK, ts, X[: len(x)]), rtol=1e-5, atol=1e-6)


def test_inputs_of_several_arrays():
    task = fnn.Task(fnn.Model(lambda layers, x: layers.d(x["a"] + x["b"]), d=fnn.Dense(2)), "mse")
    ts = fnn.init(task, jax.random.key(0), {"a": X, "b": X})
    whole = fnn.predict(task, ts, {"a": X, "b": X})
    np.testing.assert_allclose(
        fnn.predict(task, ts, ({"a": X[p], "b": X[p]} for p in PARTS)), whole, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (iter([]), "x: expected at least one batch, got none"),
        (itertools.cycle(PAIRS), r"predict: expected an iterable that ends, .*Write itertools\.islice\(x, count\)"),
        (iter([X[:4], X[4:, :3]]), r"x, batch 1 > .*kernel|x, batch 1 > .*4 features"),
        (iter([X, np.full((1, 4), np.nan)]), "x, batch 1 > x: expected finite"),
        ([X[:4], X[4:]], r"of the same length, .*If these are batches, write iter\(x\)"),
        ([X[:5], X[5:]], r"got a list of 2.*If these are batches, write iter\(x\)"),
        (iter([1.0, 2.0]), "x, batch 0"),
    ],
)
def test_what_is_refused(x, message, ts):
    with pytest.raises(fnn.InputError, match=message):
        fnn.predict(TASK, ts, x)


def test_two_inputs_in_a_batch_are_told_from_targets():
    model = fnn.Model(lambda layers, x: layers.d(jnp.concatenate(x, -1)), d=fnn.Dense(3))
    task = fnn.Task(model, "sparse_categorical_crossentropy")
    ts = fnn.init(task, jax.random.key(0), (X, X))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what forward raises
        fnn.predict(task, ts, iter([(X, X)]))
    said = str(caught.value) + " ".join(getattr(caught.value, "__notes__", ()))
    assert "for two inputs write ((a, b),)" in said
    np.testing.assert_array_equal(fnn.predict(task, ts, iter([((X, X),)])), fnn.predict(task, ts, (X, X)))


def test_the_model_is_traced_once_for_inputs_of_one_shape():
    """Even the shapes are checked once: what Python does in a call is most of the time of a single row."""
    traces = []

    def counted(x):
        traces.append(x.shape)
        return x

    task = fnn.Task(fnn.Sequential(fnn.Activation(counted), fnn.Dense(2)), "mse")
    ts = fnn.init(task, jax.random.key(0), np.zeros((1, 3), "f"))
    fnn.predict(task, ts, np.ones((4, 3), "f"))
    known = len(traces)
    fnn.predict(task, ts, np.full((4, 3), 2.0, "f"))
    assert len(traces) == known
    fnn.predict(task, ts, np.ones((5, 3), "f"))
    assert len(traces) > known
