"""Keys and numbers that are those of `jax.random`, bit for bit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import compilations

from fnn._core import random

KEYS = {
    "threefry": lambda: jax.random.key(5),
    "raw": lambda: jax.random.PRNGKey(7),
    "committed": lambda: jax.device_put(jax.random.key(5), jax.devices()[0]),
    "rbg": lambda: jax.random.key(5, impl="rbg"),
}


@pytest.fixture(params=KEYS)
def key(request):
    return KEYS[request.param]()


def words(keys):
    return np.asarray(jax.random.key_data(keys))


@pytest.mark.parametrize("number", [0, 3, 2**32 - 1])
def test_fold_in_is_that_of_jax(key, number):
    expected = jax.random.fold_in(key, number)
    inside = jax.jit(lambda key: random.fold_in(key, number))(key)
    for made in random.fold_in(key, number), inside, jax.jit(random.fold_in)(key, jnp.uint32(number)):
        np.testing.assert_array_equal(words(made), words(expected))
        assert (made.dtype, made.shape) == (expected.dtype, expected.shape)


def test_fold_in_follows_a_number_on_the_device(key):
    np.testing.assert_array_equal(words(random.fold_in(key, jnp.int32(7))), words(jax.random.fold_in(key, 7)))


def test_children_are_folded_in(key):
    expected = np.stack([words(jax.random.fold_in(key, i)) for i in range(5)])
    one_by_one = random.child_keys(key, 5)
    np.testing.assert_array_equal(np.stack([words(child) for child in one_by_one]), expected)
    np.testing.assert_array_equal(words(random.children(key, 5)), expected)
    traced = jax.jit(lambda key: random.child_keys(key, 5))(key)
    np.testing.assert_array_equal(np.stack([words(child) for child in traced]), expected)
    assert {child.dtype for child in (*one_by_one, *traced)} == {key.dtype}


@pytest.mark.parametrize("shape", [(), (5, 7), (3, 3, 2, 4)])
def test_numbers_are_those_of_jax(key, shape):
    pairs = [
        (lambda key: random.uniform_between(key, -0.1, 0.3, shape, jnp.float32),
         lambda key: jax.random.uniform(key, shape, jnp.float32, -0.1, 0.3)),
        (lambda key: random.standard_normal(key, shape, jnp.float32),
         lambda key: jax.random.normal(key, shape, jnp.float32)),
        (lambda key: random.truncated_normal(key, 2.0, shape, jnp.float32),
         lambda key: jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32)),
    ]  # fmt: skip
    for ours, expected in pairs:
        # Programs may round the scaling of the same bits differently.
        np.testing.assert_allclose(jax.jit(ours)(key), jax.jit(expected)(key), rtol=3e-7, atol=3e-8)


def test_float64_numbers_are_those_of_jax(strict_promotion):
    with jax.enable_x64(True):
        ours = random.uniform_between(jax.random.key(5), -0.1, 0.3, (99,), jnp.float64)
        expected = jax.random.uniform(jax.random.key(5), (99,), jnp.float64, -0.1, 0.3)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-16)
        assert ours.dtype == jnp.float64


@pytest.mark.parametrize("size", [1, 300, 4096, 4097])
def test_permutation_is_the_same_on_the_host_and_on_the_device(key, size):
    order = random.permutation(key, size)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))
    np.testing.assert_array_equal(order, jax.jit(random.permutation, static_argnums=1)(key, size))
    assert order.dtype == jnp.int32


@pytest.mark.parametrize("size", [4097, 4160, 9999])
def test_long_orders_are_those_of_the_feistel_network_in_numpy(key, size):
    width = int(np.sqrt(size - 1)) + 1
    height = -(-size // width)
    round_keys = np.asarray(random.bits(key, 16)).astype(object).reshape(4, 4)  # Python's integers: nothing wraps

    def hashed(x, multiplier, offset):
        x = (x * (multiplier | 1) + offset) % 2**32
        x = ((x ^ (x >> 16)) * 0x85EBCA6B) % 2**32
        x = ((x ^ (x >> 13)) * 0xC2B2AE35) % 2**32
        return x ^ (x >> 16)

    def shuffle(number):
        high, low = divmod(number, width)
        for a, b, c, d in round_keys:
            high = (high + hashed(low, a, b) % height) % height
            low = (low + hashed(high, c, d) % width) % width
        return high * width + low

    expected = [shuffle(number) for number in range(size)]
    while max(expected) >= size:
        expected = [number if number < size else shuffle(number) for number in expected]
    np.testing.assert_array_equal(random.permutation(key, size), expected)


def test_keys_and_short_orders_compile_nothing():
    key = jax.random.key(11)
    with compilations() as count:
        random.child_keys(random.fold_in(key, 3), 4)
        random.permutation(key, 1234)
    assert count() == 0


def test_keys_of_keys_in_a_program_are_left_to_jax():
    """Hashes written out one inside the other took XLA minutes to compile."""
    program = str(jax.make_jaxpr(lambda key: random.child_keys(random.fold_in(key, 3), 2)[0])(jax.random.key(0)))
    assert program.count("random_fold_in") == 2
    assert "shift_left" not in program
