"""Loaders of files, and text as numbers."""

import gzip
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import fnn
from fnn.data.datasets import read_idx


def idx(array, code):
    head = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize(("dtype", "code"), [("u1", 8), ("i1", 9), ("i2", 11), ("i4", 12), ("f4", 13), ("f8", 14)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx(dtype, code, pack, tmp_path):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(pack(idx(array, code)))
    read = read_idx(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda b: b[:-1], "expected 24 bytes of data for shape"),
        (lambda b: b + b"0", "got 25"),
        (lambda b: b[:9], "a header of 16 bytes, got 9"),
        (lambda b: b"PK\x03\x04" + b, "a file in IDX format, got one that starts with 50 4b 03 04"),
        (lambda b: b"", "IDX format"),
        (lambda b: gzip.compress(b)[:-9], "damaged or cut off"),
        (lambda b: gzip.compress(b)[:20] + b"xxxx" + gzip.compress(b)[24:], "damaged or cut off"),
    ],
)
def test_damaged_idx(change, match, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(change(idx(np.arange(24, dtype="u1").reshape(2, 3, 4), 8)))
    with pytest.raises(fnn.InputError, match=match):
        read_idx(path)


def write_mnist(folder, lengths=(5, 5, 3, 3)):
    folder.mkdir(parents=True, exist_ok=True)
    for i, split in enumerate(("train", "t10k")):
        x = np.arange(lengths[2 * i] * 784, dtype="u1").reshape(-1, 28, 28)
        y = np.arange(lengths[2 * i + 1], dtype="u1")
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(x, 8))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(y, 8)))


def test_mnist_from_a_folder(tmp_path, monkeypatch):
    write_mnist(tmp_path / "mnist")
    for folder in (tmp_path, tmp_path / "mnist"):
        out = fnn.datasets.mnist(folder)
        assert [a.shape for a in out] == [(5, 28, 28), (5,), (3, 28, 28), (3,)]
        assert out.y_test.tolist() == [0, 1, 2]
        assert out.x_train[1, 0, 0] == 784 % 256
    monkeypatch.setenv("FNN_DATA", str(tmp_path))
    np.testing.assert_array_equal(fnn.datasets.mnist().x_train, out.x_train)


def test_missing_and_foreign_files(tmp_path, monkeypatch):
    monkeypatch.delenv("FNN_DATA", raising=False)
    with pytest.raises(fnn.InputError, match="Set FNN_DATA, or pass folder="):
        fnn.datasets.mnist()
    with pytest.raises(fnn.InputError, match="an existing folder"):
        fnn.datasets.mnist(tmp_path / "nowhere")
    with pytest.raises(
        fnn.InputError, match=r"train-images-idx3-ubyte.gz or train-images-idx3-ubyte in the data folder"
    ):
        fnn.datasets.mnist(tmp_path)
    write_mnist(tmp_path, (5, 4, 3, 3))
    with pytest.raises(fnn.InputError, match="as many uint8 images as labels"):
        fnn.datasets.mnist(tmp_path)
    with pytest.raises(fnn.InputError, match=r"nietzsche.txt in the data folder"):
        fnn.datasets.nietzsche(tmp_path)
    (tmp_path / "nietzsche.txt").write_bytes(b"\xff\xfe bad")
    with pytest.raises(fnn.InputError, match="not a UTF-8 text"):
        fnn.datasets.nietzsche(tmp_path)


@pytest.mark.skipif("FNN_DATA" not in os.environ, reason="FNN_DATA does not name the folder with real data")
def test_real_files():
    mnist = fnn.datasets.mnist()
    assert [a.shape for a in mnist] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    text = fnn.datasets.nietzsche()
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
