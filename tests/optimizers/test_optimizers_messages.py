"""The full text of messages about optimizers and schedules; see helpers.check_messages."""

from pathlib import Path

import jax
import jax.numpy as jnp
from helpers import check_messages

import fnn
from fnn import schedules

KEY = jax.random.key(0)
PARAMS = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}}


def update(optimizer, params=None):
    return optimizer.update(PARAMS, optimizer.init(PARAMS), params)


def set_hyper(optimizer, **values):
    return fnn.set_hyper(optimizer.init(PARAMS), **values)


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a misspelled optimizer": lambda: fnn.Task(fnn.Dense(1), "mse", "adamm"),
    "an optimizer that is not called": lambda: fnn.Task(fnn.Dense(1), "mse", fnn.adam),
    "a negative learning rate": lambda: fnn.adam(-1e-3),
    "a learning rate as text": lambda: fnn.sgd("0.1"),
    "several learning rates": lambda: fnn.sgd(jnp.array([0.1, 0.2])),
    "nesterov without momentum": lambda: fnn.sgd(0.1, nesterov=True),
    "beta_2 above 1": lambda: fnn.adam(beta_2=999),
    "weight decay without the parameters": lambda: update(fnn.adam(weight_decay=0.01)),
    "the state of another optimizer": lambda: fnn.adam().update(PARAMS, fnn.sgd(0.1, 0.9).init(PARAMS)),
    "a pattern that matches nothing": lambda: fnn.freeze("adam", "conv*").init(PARAMS),
    "a pattern that matches nothing in by_path": lambda: fnn.by_path({"conv": "adam", "*": "sgd"}).init(PARAMS),
    "a parameter without a pattern": lambda: fnn.by_path({"dense/kernel": "adam"}).init(PARAMS),
    "a pattern after the one for everything": lambda: fnn.by_path({"*": "sgd", "dense": "adam"}).init(PARAMS),
    "one optimizer in place of rules": lambda: fnn.by_path(fnn.adam()),
    "a rate for a group that does not exist": lambda: fnn.set_hyper(
        fnn.by_path({"dense": "adam"}).init(PARAMS), "conv", learning_rate=0.1
    ),
    "the learning rate by its old name": (TypeError, lambda: fnn.adam(lr=1e-3)),
    "clipping as an argument": (TypeError, lambda: fnn.sgd(0.1, clipnorm=1.0)),
    "integer parameters": lambda: fnn.adam().init({"table": jnp.arange(3)}),
    "a hyper-parameter by its short name": lambda: set_hyper(fnn.adam(), lr=1e-4),
    "a misspelled hyper-parameter": lambda: set_hyper(fnn.adam(), learning_rat=1e-4),
    "a number for a schedule": lambda: set_hyper(fnn.adam(schedules.cosine_decay(1e-3, 100)), learning_rate=1e-4),
    "as many values as boundaries": lambda: schedules.piecewise_constant([10, 20], [0.1, 0.01]),
    "boundaries that do not increase": lambda: schedules.piecewise_constant([20, 10], [0.1, 0.01, 0.001]),
    "the rate of a schedule after its steps": lambda: schedules.exponential_decay(100, 1e-2, 0.9),
    "boundaries as fractions": lambda: schedules.piecewise_constant([0.5, 0.75], [0.1, 0.01, 0.001]),
    "a name after the warm-up": lambda: schedules.warmup("cosine", 100),
    "no averaging to read": lambda: fnn.averaged(fnn.init(fnn.Task(fnn.Dense(1), "mse"), KEY, (2,))),
    "a schedule without an argument": lambda: fnn.adam(lambda: 0.1),
    "a schedule without a return": lambda: update(fnn.adam(lambda step: None)),
}
