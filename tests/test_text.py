"""Text as numbers: vocabulary, windows, sampling and generation."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import fnn


@pytest.mark.skipif("FNN_DATA" not in os.environ, reason="FNN_DATA does not name the folder with real data")
def test_real_text():
    text = fnn.data.datasets.nietzsche()
    assert len(text) == 600893
    assert len(fnn.text.Vocabulary.of(text.lower()).symbols) == 57
    assert len(fnn.text.windows(np.arange(600893), 40, 3)[0]) == 200285


@given(st.text(min_size=1, max_size=30))
def test_vocabulary_round_trip(text):
    vocabulary = fnn.text.Vocabulary.of(text)
    numbers = vocabulary.encode(text)
    assert vocabulary.decode(numbers) == text
    assert numbers.max() == len(set(text)) - 1


def test_vocabulary_refuses_unknown_symbols():
    vocabulary = fnn.text.Vocabulary.of("abc")
    with pytest.raises(fnn.InputError, match=r"only the 3 symbols of the vocabulary, got also \['x'\]"):
        vocabulary.encode("abx")
    with pytest.raises(fnn.InputError, match=r"numbers in \[0, 3\), got 0 to 3"):
        vocabulary.decode([0, 3])


@given(st.integers(2, 40), st.integers(1, 12), st.integers(1, 5))
def test_windows_equal_a_plain_loop(total, length, step):
    ids = np.arange(total) * 7 % 11
    if total <= length:
        with pytest.raises(fnn.InputError, match=f"a sequence of more than {length} symbols"):
            fnn.text.windows(ids, length, step)
        return
    x, y = fnn.text.windows(ids, length, step)
    plain = [(ids[i : i + length].tolist(), ids[i + length]) for i in range(0, total - length, step)]
    assert x.tolist() == [window for window, _ in plain]
    assert y.tolist() == [symbol for _, symbol in plain]


def test_sample_draws_from_the_softmax():
    logits = jnp.array([0.0, 1.0, 2.0, -1.0])
    keys = jax.random.split(jax.random.key(0), 20_000)
    for temperature in (0.5, 1.0, 2.0):
        drawn = jax.vmap(lambda k, t=temperature: fnn.text.sample(k, logits, t))(keys)
        powers = np.exp(np.asarray(logits, float) / temperature)
        expected = powers / powers.sum() * len(keys)
        counts = np.bincount(drawn, minlength=4)
        assert stats.chisquare(counts, expected).pvalue > 1e-3
    assert int(fnn.text.sample(keys[0], logits, 0.0)) == 2
    with pytest.raises(fnn.InputError, match=r"temperature in \[0, inf\), got -1"):
        fnn.text.sample(keys[0], logits, -1.0)


def test_generate_equals_a_plain_loop():
    table = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 5)).astype("f"))

    def predict(ids):
        return table[0, ids[:, -1]] + table[1, ids[:, -2]] + table[2, ids[:, 0]]

    key = jax.random.key(4)
    out = fnn.text.generate(predict, key, [1, 4, 2], 30, 0.7)
    window = [1, 4, 2]
    for k, symbol in zip(jax.random.split(key, 30), out, strict=True):
        assert int(fnn.text.sample(k, predict(jnp.array([window]))[0], 0.7)) == int(symbol)
        window = [*window[1:], int(symbol)]
    assert len(set(out.tolist())) > 1
    np.testing.assert_array_equal(out, fnn.text.generate(predict, key, [1, 4, 2], 30, 0.7))
    with pytest.raises(fnn.InputError, match="a window of at least one symbol"):
        fnn.text.generate(predict, key, [], 3)
    with pytest.raises(fnn.InputError, match="length to be an integer of at least 1"):
        fnn.text.generate(predict, key, [1], 0)


def test_generate_text():
    vocabulary = fnn.text.Vocabulary.of("abcd")
    model = fnn.Sequential(fnn.LSTM(4, input_dim=4), fnn.Dense(4))
    params, state = model.init(jax.random.key(0), jnp.zeros((1, 3), jnp.int32))
    options = {"length": 12, "temperature": 1.0}
    out = fnn.text.generate_text(model, params, state, vocabulary, "abc", jax.random.key(1), **options)
    assert len(out) == 12
    assert set(out) <= set("abcd")
    assert out == fnn.text.generate_text(model, params, state, vocabulary, "abc", jax.random.key(1), **options)
    assert out != fnn.text.generate_text(model, params, state, vocabulary, "abc", jax.random.key(2), **options)
    with pytest.raises(fnn.InputError, match=r"got also \['z'\]"):
        fnn.text.generate_text(model, params, state, vocabulary, "abz", jax.random.key(1))
    with pytest.raises(fnn.InputError, match="temperature in"):
        fnn.text.generate_text(model, params, state, vocabulary, "abc", jax.random.key(1), temperature=-0.1)
    with pytest.raises(fnn.InputError, match="at least one symbol"):
        fnn.text.generate_text(model, params, state, vocabulary, "", jax.random.key(1))
