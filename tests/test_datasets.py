"""Loaders of files."""

import gzip
import os

import numpy as np
import pytest

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
