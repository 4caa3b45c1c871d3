"""The full text of messages about files, tables, splits, scaling and streams; see helpers.check_messages."""

from pathlib import Path

import numpy as np
from helpers import check_messages, idx

from fnn import data

X = np.arange(12, dtype="f").reshape(6, 2)
Y = np.array([0, 0, 0, 1, 1, 2])
MOMENTS = data.standardize_fit(X)
TABLE = {"size": [1.5, 2.0, 3.0], "colour": ["red", "blue", "red"]}
CODE = data.table_fit(TABLE)


def read(content, **options):
    Path("table.csv").write_text(content)
    return data.read_csv("table.csv", **options)


def read_idx(content):
    Path("images.gz").write_bytes(content)
    return data.read_idx("images.gz")


def mnist_of_fashion():
    """Files of Fashion-MNIST, known by their first labels, in a folder for MNIST."""
    labels = np.array([9, 0, 0, 3, 0, 2, 7, 2, 5, 5], np.uint8)
    for split in ("train", "t10k"):
        Path(f"{split}-images-idx3-ubyte").write_bytes(idx(np.zeros((10, 28, 28), np.uint8), 8))
        Path(f"{split}-labels-idx1-ubyte").write_bytes(idx(labels, 8))
    return data.mnist(".")


def test_messages(tmp_path, monkeypatch):
    path = Path(__file__).resolve().with_name("messages.txt")
    monkeypatch.chdir(tmp_path)
    check_messages(path, CASES)


CASES = {
    "a CSV file that is not there": lambda: data.read_csv("tabel.csv"),
    "a row with too many cells": lambda: read("size,colour\n1,red\n2,blue,dark\n"),
    "decimal commas": lambda: read("size;colour\n1,5;red\n2,5;blue\n", delimiter=";"),
    "an IDX file that is a web page": lambda: read_idx(b"<html><body>404</body></html>"),
    "the files of another data set": mnist_of_fashion,
    "a missing value in a column": lambda: data.table_fit({"size": [1.5, np.nan, 3.0]}),
    "numbers and text in one column": lambda: data.table_fit({"size": [1.5, "large", 3.0]}),
    "a new category": lambda: data.table_encode(CODE, {"size": [1.0], "colour": ["green"]}),
    "a missing column": lambda: data.table_encode(CODE, {"size": [1.0], "color": ["red"]}),
    "test_size without its name": lambda: data.train_test_split(X, Y, 0.2),
    "a class with one row": lambda: data.train_test_split(X, Y, stratify=Y),
    "folds that share a row": lambda: data.folds_from([[0, 1, 2], [2, 3, 4, 5]], 6),
    "rows of another width": lambda: data.standardize(MOMENTS, X[:, :1]),
    "images that are scaled already": lambda: data.scale_images(np.full((2, 8, 8), 0.5, "f")),
    "an iterator to shuffle": lambda: data.Shuffled(iter([(X, Y)]), rows=4),
    "a generator in place of its function": lambda: data.Stream(iter([(X, Y)])),
    "a generator function without the epoch": lambda: data.Stream(lambda: iter([(X, Y)])),
    "a row with a cell too many in a table of one column": lambda: read("size\n1,2\n"),
}
