"""The full text of messages about names, arrays and keys; see helpers.check_messages."""

from pathlib import Path

import helpers
import jax
import numpy as np
import pytest
import scipy.sparse
from helpers import check_messages

import fnn

ONES = np.ones(3, "f")
FIRST = fnn.Task(fnn.Dense(1), "mse")


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a layer by its name in Keras": (AttributeError, lambda: fnn.Conv2D),
    "a misspelled layer": (AttributeError, lambda: fnn.Drpout),
    "a layer is no longer a tuple": (AttributeError, lambda: fnn.Dense(3)._replace(name="first")),
    "a seed in place of a key": lambda: fnn.init(FIRST, 0, (4,)),
    "text as numbers": lambda: fnn.metrics.mae(["low", "high", "low"], ONES),
    "None as an array": lambda: fnn.metrics.mae(None, ONES),
    "rows of different lengths": lambda: fnn.data.standardize_fit([[1.0, 2.0], [3.0]]),
    "complex numbers": lambda: fnn.data.standardize_fit(np.ones((2, 2)) * 1j),
    "a traced count": lambda: jax.jit(fnn.Dense)(3),
    "a missing value among objects": lambda: fnn.data.standardize_fit(np.array([[1.0, 2.0], [3.0, None]], object)),
    "dates": lambda: fnn.data.standardize_fit(np.array([["2024-01-01"], ["2024-01-02"]], "datetime64[D]")),
    "a sparse matrix": lambda: fnn.data.standardize_fit(scipy.sparse.csr_matrix(np.eye(3))),
    "a masked array": lambda: fnn.data.standardize_fit(np.ma.masked_equal(np.eye(3), 0)),
    "integers as predictions": lambda: fnn.metrics.mae(np.array([1, 2, 3]), ONES),
    "a fingerprint of a function": lambda: fnn.fingerprint({"activation": lambda x: x}),
    "a fingerprint inside jit": lambda: jax.jit(fnn.fingerprint)(ONES),
    "a file name with the ending of another format": lambda: fnn.csv_log("log.xlsx"),
}


def test_a_changed_message_shows_a_difference(tmp_path, monkeypatch):
    monkeypatch.setattr(helpers, "update_messages", False)
    path = tmp_path / "messages.txt"
    path.write_text("a wrong number\n    InputError: expected 3, got 2.\n")

    def wrong():
        raise fnn.InputError("expected 3, got 4.")

    with pytest.raises(pytest.fail.Exception, match="--update-messages") as caught:
        check_messages(path, {"a wrong number": wrong})
    assert "-    InputError: expected 3, got 2.\n+    InputError: expected 3, got 4." in str(caught.value)
    with pytest.raises(AssertionError, match="all is well: the call neither raises nor warns"):
        check_messages(path, {"all is well": lambda: None})
