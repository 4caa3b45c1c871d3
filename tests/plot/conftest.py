"""Fixtures of the picture tests."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def own():
    """Axes in a figure that the caller made."""
    return plt.figure().add_subplot()
