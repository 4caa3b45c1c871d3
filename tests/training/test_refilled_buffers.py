"""A loader may refill its arrays as soon as a call returns, though the device may not have read them yet."""

import jax
import numpy as np
import pytest

import fnn
from fnn._core.trees import own_copy, to_jax
from fnn.training.batch import Batch
from fnn.training.probe import layer_values

ROWS = 2048
TASK = fnn.Task(fnn.Sequential(fnn.Dense(256, activation="relu"), fnn.Dense(1)), "mse", fnn.sgd(0.01))
SMALL = fnn.Task(fnn.Sequential(fnn.Flatten(), fnn.Dense(1)), "mse", fnn.sgd(0.01))


def placed_at(address, like):
    """A copy of an array at an address with this distance from a page."""
    space = np.empty(like.nbytes + 8192, np.uint8)
    out = np.ndarray(like.shape, like.dtype, space, offset=-space.ctypes.data % 4096 + address)
    out[...] = like
    return out


def given():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 512)).astype("float32"), rng.normal(size=(ROWS, 1)).astype("float32")


X, Y = given()
TS = fnn.init(TASK, jax.random.key(0), X[:1])
SMALL_TS = fnn.init(SMALL, jax.random.key(0), X[:1])
CALLS = {
    "train_step": lambda x, y: fnn.train_step(TASK, TS, (x, y))[0].params,
    "train_epoch": lambda x, y: fnn.train_epoch(TASK, TS, (x, y), batch_size=256)[0].params,
    "run": lambda x, y: fnn.run(TASK, TS, (x, y), epochs=1, batch_size=256, validation_data=(x, y))[1],
    "example_gradients": lambda x, y: fnn.example_gradients(SMALL, SMALL_TS, (x, y)),
    "hessian_vector_product": lambda x, y: fnn.hessian_vector_product(TASK, TS, (x, y), TS.params),
    "influence": lambda x, y: fnn.influence(SMALL, SMALL_TS, (x, y), (x[:8], y[:8]), damping=1.0, iterations=2),
    "layer_values": lambda x, y: layer_values(TASK, TS, Batch(x, y)).gradients,
    "mean_loss": lambda x, y: fnn.losses.mean_loss("mse", x, 2 * x),
    "mae": lambda x, y: fnn.metrics.mae(x, x[:, ::-1]),
    "r2_score": lambda x, y: fnn.metrics.r2_score(x, x[:, ::-1]),
}


@pytest.mark.parametrize("address", [0, 16, 64])  # JAX reads the first and the last in place, and copies the second
@pytest.mark.parametrize("call", CALLS)
def test_a_call_keeps_no_reference_to_the_callers_arrays(call, address):
    expected = jax.tree.map(np.array, CALLS[call](X, Y))
    x, y = placed_at(address, X), placed_at(address, Y)
    for _ in range(3):
        x[...], y[...] = X, Y
        found = CALLS[call](x, y)
        x[...], y[...] = 99, 7
        jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, found), expected)


@pytest.mark.parametrize("address", [0, 16, 64])
@pytest.mark.parametrize("rows", [3, ROWS])
def test_an_array_on_the_device_does_not_change_with_the_one_it_was_made_from(rows, address):
    x = placed_at(address, X[:rows])
    found = to_jax(x)
    x[...] = 99
    np.testing.assert_array_equal(found, X[:rows])


@pytest.mark.parametrize(
    "array",
    [
        X[:5],
        X[:5].T,
        X[::-2, 3:7],
        np.array(2.5),
        np.empty((0, 3)),
        np.array([True, False]),
        X[:2].astype(jax.numpy.bfloat16),
        np.arange(6, dtype=">i4").reshape(2, 3),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_a_copy_is_equal_and_apart(array):
    copy = own_copy({"a": array})["a"]
    np.testing.assert_array_equal(copy, array)
    assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
    assert copy.flags.c_contiguous
    assert not np.shares_memory(copy, array)
    assert copy.ctypes.data % 64 == 0 or not copy.size
