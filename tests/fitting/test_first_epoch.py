"""What `fit` compiles before its first step, and when."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.fitting import pieces

X = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)


def a_task(units):
    model = fnn.Sequential(fnn.Dense(units, activation="relu"), fnn.Dropout(0.1), fnn.Dense(2))
    return fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(1e-3))


@pytest.fixture
def compiled():
    """The names of the programs that are compiled, each with its thread."""
    found = []

    def note(event, seconds, fun_name="", **_):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append((fun_name, threading.current_thread() is threading.main_thread()))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)


def loops(compiled):
    return [in_main_thread for name, in_main_thread in compiled if "_advance" in name]


@pytest.mark.parametrize(
    ("units", "options"),
    [(3, {}), (4, {"shuffle": False}), (5, {"batch_size": 35}), (6, {"drop_remainder": True}), (7, {"epochs": 2})],
    ids=str,
)
def test_the_loop_is_compiled_once_and_in_a_thread(compiled, units, options):
    task = a_task(units)
    ts = fnn.init(task, jax.random.key(0), X[:1])
    ts, _ = fnn.fit(task, ts, (X, Y), verbose=0, **options)
    assert loops(compiled) == [False]
    fnn.fit(task, ts, (X, Y), verbose=0, **options)
    assert loops(compiled) == [False]


def test_the_loop_is_the_only_program(compiled):
    """A network is drawn, its state made and copied, and a short order shuffled without one."""
    task, key = a_task(11), jax.random.key(0)
    compiled.clear()
    ts = fnn.init(task, key, X[:1])
    assert not compiled
    fnn.fit(task, ts, (X, Y), batch_size=35, verbose=0)
    assert len(compiled) == len(loops(compiled)) == 1


@pytest.mark.parametrize("part", ["key", "data"])
def test_the_loop_is_compiled_once_for_arrays_that_were_put_on_a_device(compiled, part):
    task, device = a_task(8 if part == "key" else 9), jax.devices()[0]
    key, data = jax.random.key(0), (jnp.asarray(X), jnp.asarray(Y))
    if part == "key":
        key = jax.device_put(key, device)
    else:
        data = jax.device_put(data, device)
    fnn.fit(task, fnn.init(task, key, X[:1]), data, verbose=0)
    assert len(loops(compiled)) == 1


def test_settings_of_the_calling_thread_hold_for_the_loop(compiled):
    task = a_task(10)
    with jax.enable_x64(True):
        ts = fnn.init(task, jax.random.key(0), X[:1].astype(np.float64))
        ts, _ = fnn.fit(task, ts, (X.astype(np.float64), Y), verbose=0)
    assert {leaf.dtype for leaf in jax.tree.leaves(ts.params)} == {np.dtype("float64")}
    assert loops(compiled) == [False]


def test_an_error_in_the_thread_is_that_of_the_call():
    def fail():
        raise MemoryError("no room for the program")

    with pytest.raises(MemoryError, match="no room"), pieces._in_thread(fail):
        pass


def test_whole_arrays_on_the_host_are_looked_at_without_a_program(compiled):
    task = fnn.Task(fnn.Dense(2), "sparse_categorical_crossentropy", fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(0), X[:1])
    rows = jnp.asarray(np.broadcast_to(X[:1], (40_000, 5)))
    compiled.clear()
    bad = rows.at[33_333, 2].set(np.nan)
    compiled.clear()
    with pytest.raises(fnn.InputError, match=r"\(33333, 2\)"):
        fnn.fit(task, ts, (bad, np.zeros(40_000, np.int32)), verbose=0)
    assert not compiled
