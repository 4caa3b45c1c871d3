"""The full text of messages about tasks in files; see helpers.check_messages."""

import functools
from pathlib import Path

import jax
import optax
from helpers import check_messages

import fnn

KEY = jax.random.key(0)
SMALL = fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(1)), "mse", fnn.sgd(0.1))
LARGE = fnn.Task(fnn.Sequential(fnn.Dense(8), fnn.Dense(1)), "mse", fnn.sgd(0.1))


def doubled(x):
    return 2 * x


def step(carry, symbol):
    return carry, symbol


def mean_squares(p, t):
    return ((p - t) ** 2).mean(-1)


def penalty(params):
    return 0.0


OWN = fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Activation(doubled), fnn.Dense(1)), "mse", fnn.sgd(0.1))
OPTAX = SMALL.replace(optimizer=optax.sgd(0.1))


@functools.cache
def state(task):
    return fnn.init(task, KEY, (2,))


def test_messages(tmp_path, monkeypatch):
    path = Path(__file__).resolve().with_name("messages.txt")
    monkeypatch.chdir(tmp_path)
    fnn.save("small", state(SMALL))
    fnn.save("with_task", state(SMALL), SMALL)
    fnn.save("own", state(OWN), OWN, custom={"doubled": doubled})
    check_messages(path, CASES)


CASES = {
    "a function without a name": lambda: fnn.save("own", state(OWN), OWN),
    "several functions without names": lambda: fnn.save(
        "own", state(OWN), OWN.replace(loss=mean_squares, penalty=penalty)
    ),
    "a number as a function": lambda: fnn.load("own", custom={"doubled": 3}),
    "a lambda": lambda: fnn.save("own", state(SMALL), SMALL.replace(loss=lambda p, t: (p - t)[:, 0])),
    "another function of that name": lambda: fnn.save("own", state(OWN), OWN, custom={"doubled": step}),
    "an optimizer of optax": lambda: fnn.save("own", state(OPTAX), OPTAX),
    "a layer changed by replace": lambda: fnn.save(
        "own", state(SMALL), SMALL.replace(model=fnn.Dense(1).replace(per_example=False))
    ),
    "a set as an argument": lambda: fnn.save(
        "own", state(SMALL), SMALL.replace(loss=functools.partial(fnn.losses.huber, delta={1, 2}))
    ),
    "a traced number": lambda: jax.jit(
        lambda rate: fnn.save("own", state(SMALL), SMALL.replace(optimizer=fnn.sgd(rate)))
    )(0.1),
    "functions as a list": lambda: fnn.save("own", state(OWN), OWN, custom=[doubled]),
    "before the state": lambda: fnn.save("own", SMALL, state(SMALL)),
    "with another optimizer": lambda: fnn.save("own", state(SMALL), SMALL.replace(optimizer="adam")),
    "with parameters alone": lambda: fnn.save("own", state(SMALL).params, SMALL),
    "loaded from a file without one": lambda: fnn.load("small"),
    "loaded without its functions": lambda: fnn.load("own"),
    "in place of a state": lambda: fnn.load("with_task", SMALL),
    "without a state": lambda: fnn.load("with_task", task=SMALL),
    "of a part of the file": lambda: fnn.load("with_task", state(SMALL), SMALL, where="dense"),
    "another network": lambda: fnn.load("with_task", state(LARGE), LARGE),
}
