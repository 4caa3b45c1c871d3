"""Arrays of the host on the device."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from helpers import assert_same, compilations

import fnn
from fnn._core.trees import copied, to_jax


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", ml_dtypes.bfloat16, "float64"])
def test_numpy_arrays_become_those_of_jnp_asarray(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    got, want = to_jax(array), jnp.asarray(array)
    assert_same(got, want)
    assert (got.weak_type, got.committed) == (want.weak_type, want.committed) == (False, False)
    assert_same(jax.jit(lambda: to_jax(array))(), want)


def test_new_shapes_compile_nothing():
    with compilations() as count:
        for rows in (101, 102, 103):
            to_jax(np.ones((rows, 7), np.float32))
        assert count() == 0


@pytest.mark.parametrize("place", [lambda tree: tree, lambda tree: jax.device_put(tree, jax.devices()[-1])])
def test_copies_survive_the_donation_of_the_original(place):
    values, key = np.arange(6.0), jax.random.key(5)
    words = np.array(jax.random.key_data(key))
    array, key = place((to_jax(values), key))
    with compilations() as count:
        same, same_key = copied((array, key))
        assert count() == array.committed  # a program where a device was chosen
    jax.jit(lambda a: a + a, donate_argnums=0)(array)
    key.delete()
    assert (same.committed, same_key.committed) == (array.committed, array.committed)
    assert same.devices() == same_key.devices() == {jax.devices()[-1 if array.committed else 0]}
    np.testing.assert_array_equal(same, values)
    np.testing.assert_array_equal(jax.random.key_data(same_key), words)


def test_a_metric_of_a_new_number_of_rows_compiles_one_program():
    fnn.metrics.accuracy(np.array([0, 1, 1]), np.array([0, 1, 0]))
    with compilations() as count:
        fnn.metrics.accuracy(np.array([0, 1, 1, 0] * 27), np.array([0, 1, 0, 0] * 27))
        assert count() == 1


def test_the_memory_of_the_user_is_copied():
    memory = np.zeros(1024 + 64, np.uint8)
    aligned = memory[-memory.ctypes.data % 64 :][:1024].view(np.float32)  # JAX could use such memory itself
    copy = to_jax(aligned)
    aligned[:] = 1
    np.testing.assert_array_equal(copy, 0)
