"""Fixtures of the tests of fitting."""

import jax
import pytest

import fnn


@pytest.fixture(scope="module")
def ts(task, data):
    """The first state of the file's task on its data."""
    return fnn.init(task, jax.random.key(0), data[0][:1])
