"""Warnings name the line of the user's code, however deep in the library they arise."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

import fnn
from fnn._core.warn import collected, warn


def test_the_innermost_line_outside_the_library():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jax.tree.map(lambda _: warn("a"), 1)
        warn("b", UserWarning)
    assert [(str(w.message), w.category, w.filename) for w in caught] == [
        ("a", RuntimeWarning, __file__),
        ("b", UserWarning, __file__),
    ]
    assert caught[0].lineno + 1 == caught[1].lineno


def test_the_line_is_found_through_constructors_drivers_and_streams():
    x, y = np.ones((8, 9, 9), "f"), np.zeros((8, 1), "f")
    model = fnn.Sequential(fnn.Conv(1, 3), fnn.GlobalAvgPool())
    with pytest.warns(UserWarning, match="steps of a sequence") as caught:
        fnn.summary(model, x)
    assert {w.filename for w in caught} == {__file__}
    task = fnn.Task(fnn.Sequential(fnn.Flatten(), fnn.Dense(1)), "mse", fnn.sgd(1e30))
    ts = fnn.init(task, jax.random.key(0), x)
    with pytest.warns(RuntimeWarning, match="the loss is") as caught:
        fnn.fit(task, ts, [(x, y)] * 2, epochs=3, verbose=0)
    assert {w.filename for w in caught} == {__file__}


def test_collected_warnings_are_texts_of_this_thread_alone():
    with collected() as texts:
        warn("here")
        with ThreadPoolExecutor(1) as pool, pytest.warns(RuntimeWarning, match="elsewhere"):
            pool.submit(warn, "elsewhere").result()
    assert texts == ["here"]
    with pytest.warns(RuntimeWarning, match="after"):
        warn("after")
