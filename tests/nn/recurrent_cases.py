"""What the tests of recurrent layers share: the kinds of cells, random arguments, losses and comparisons."""

import functools

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.nn.rnn import functions as rec
from fnn.nn.rnn.cells import GRUCarry, LSTMCarry, SimpleRNNCarry

assert_close = functools.partial(helpers.assert_close, dtypes=True)
KINDS = {
    "simple_rnn": (rec.simple_rnn_init, rec.simple_rnn, rec.simple_rnn_cell, SimpleRNNCarry, 1),
    "lstm": (rec.lstm_init, rec.lstm, rec.lstm_cell, LSTMCarry, 4),
    "gru": (rec.gru_init, rec.gru, rec.gru_cell, GRUCarry, 3),
    "gru_before": (
        functools.partial(rec.gru_init, reset_after=False),
        functools.partial(rec.gru, reset_after=False),
        functools.partial(rec.gru_cell, reset_after=False),
        GRUCarry,
        3,
    ),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def mainly(*main):
    """Every run tests these kinds, and `-m slow` the others."""
    return pytest.mark.parametrize(
        "kind", [kind if kind in main else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
    )


def draw(rng, tree, scale=0.5, dtype=None):
    """The same tree of shapes with distinct random numbers, from NumPy, which compiles nothing."""
    return jax.tree.map(lambda a: (rng.normal(size=a.shape) * scale).astype(dtype or a.dtype), tree)


def case(kind, rng, batch=3, time=5, width=4, units=3, dtype="float32", use_bias=True):
    init, sequence, cell, carry_type, _ = KINDS[kind]
    shapes = jax.eval_shape(lambda: init(jax.random.key(0), width, units, use_bias=use_bias, dtype=dtype))
    params = draw(rng, shapes)
    x = rng.normal(size=(batch, time, width)).astype(jnp.dtype(dtype))
    carry = carry_type(*(rng.normal(size=(batch, units)).astype(jnp.dtype(dtype)) for _ in carry_type._fields))
    return sequence, cell, params, x, carry


def scalar(fn, rng_seed=7):
    """A loss with a different weight for every element of the output."""

    def loss(*args):
        rng = np.random.default_rng(rng_seed)
        leaves = jax.tree.leaves(fn(*args))
        return sum(jnp.sum(leaf * jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)) for leaf in leaves)

    return loss


def value_and_gradients(fn, *args):
    """The value of a function and the gradients of the weighted sum of `scalar`, from one forward pass."""
    y, pullback = jax.vjp(fn, *args)
    rng = np.random.default_rng(7)
    return y, pullback(jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), y))
