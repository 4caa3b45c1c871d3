"""The full text of messages about many, sweep and ensemble; see helpers.check_messages."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from helpers import check_messages

import fnn

X = np.ones((8, 4), "f")
Y = np.zeros((8, 1), "f")
TASK = fnn.Task(fnn.Dense(1), "mse")


@functools.cache
def state(task=TASK, features=4):
    return fnn.init(task, jax.random.key(0), (features,))


def trial(seed, rate):
    ts = fnn.set_hyper(fnn.init(TASK, jax.random.key(seed), X), learning_rate=rate)
    return fnn.run(TASK, ts, (X, Y), epochs=1)


def wide(units):
    task = fnn.Task(fnn.Sequential(fnn.Dense(units), fnn.Dense(1)), "mse")
    return fnn.run(task, fnn.init(task, jax.random.key(0), X), (X, Y), epochs=1)


def sweep(space, trial=trial, **options):
    return fnn.sweep(trial, space, verbose=0, **options)


def ensemble(task=TASK, data=(X, Y), **options):
    return fnn.ensemble(task, jax.random.key(0), data, members=2, epochs=1, verbose=0, **options)


def members(task=TASK):
    return fnn.Ensemble.of(task, [state(task), state(task)])


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "arguments of different lengths": lambda: fnn.many(jnp.add)(jnp.ones(3), jnp.ones(4)),
    "a single value to try": lambda: sweep({"seed": [0, 1], "rate": 0.1}),
    "a width that is not structural": lambda: sweep({"units": [8, 16]}, wide),
    "a forgotten argument": lambda: sweep({"rate": [0.1, 0.01]}),
    "a misspelled argument": lambda: sweep({"seed": [0], "rates": [0.1]}),
    "an unknown structural argument": lambda: sweep({"seed": [0], "rate": [0.1]}, structural=["units"]),
    "a misspelled monitor": lambda: sweep({"seed": [0], "rate": [0.1]}, monitor="val_los", mode="min"),
    "a trial that returns only the state": lambda: sweep({"seed": [0]}, lambda seed: trial(seed, 0.1)[0]),
    "bootstrap in one common order": lambda: ensemble(bootstrap=True, same_order=True),
    "batches for an ensemble": lambda: ensemble(data=[(X, Y)]),
    "no members": lambda: fnn.Ensemble.of(TASK, []),
    "members of different widths": lambda: fnn.Ensemble.of(TASK, [state(), state(TASK, 5)]),
    "a member that does not exist": (IndexError, lambda: members()[2]),
    "probabilities of numbers": lambda: members().predict(X).entropy,
    "an ensemble where a state is needed": lambda: fnn.predict(TASK, members(), X),
    "a number in place of the name to compare by": lambda: fnn.sweep(trial, {"seed": [0], "rate": [0.1]}, monitor=3),
    "fit in many": lambda: fnn.many(lambda x: fnn.fit(TASK, state(), (x, Y)))(np.stack([X, X])),
    "a task among the arguments of trials": lambda: fnn.many(fnn.run)(TASK, state(), (X, Y)),
}
