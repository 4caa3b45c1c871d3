"""Functions that make a layer, a penalty, a schedule and so on, given without being called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn import initializers, metrics, penalties, schedules

X = np.ones((4, 3), "f")
TASK = fnn.Task(fnn.Dense(1), "mse")


def fit(**options):
    ts = fnn.init(TASK, jax.random.key(0), X)
    return fnn.fit(TASK, ts, (X, X[:, :1]), verbose=0, **options)


def run(**options):
    ts = fnn.init(TASK, jax.random.key(0), X)
    return fnn.run(TASK, ts, (X, X[:, :1]), **options)


PLACES = {
    "kernel_regularizer": (penalties.l2, lambda made: fnn.Dense(3, kernel_regularizer=made)),
    "bias_regularizer": (penalties.l1l2, lambda made: fnn.Conv(3, 3, bias_regularizer=made)),
    "kernel_constraint": (penalties.max_norm, lambda made: fnn.LSTM(3, kernel_constraint=made)),
    "a constraint without arguments": (penalties.non_negative, lambda made: fnn.Dense(3, kernel_constraint=made)),
    "embeddings_regularizer": (penalties.l1, lambda made: fnn.Embedding(3, 4, embeddings_regularizer=made)),
    "gamma_constraint": (penalties.unit_norm, lambda made: fnn.BatchNorm(gamma_constraint=made)),
    "initializer": (initializers.uniform, lambda made: fnn.Dense(3, kernel_initializer=made)),
    "penalty of a task": (penalties.l2, lambda made: fnn.Task(fnn.Dense(1), "mse", penalty=made)),
    "constraint of a task": (penalties.max_norm, lambda made: fnn.Task(fnn.Dense(1), "mse", constraint=made)),
    "a sum of penalties": (penalties.l2, lambda made: penalties.total(penalties.l1(0.1), made)),
    "a chain of constraints": (penalties.max_norm, lambda made: penalties.chain(made)),
    "learning rate": (schedules.cosine_decay, lambda made: fnn.adam(made)),
    "momentum": (schedules.exponential_decay, lambda made: fnn.sgd(0.1, momentum=made)),
    "a group's rate": (schedules.cosine_decay, lambda made: fnn.by_path({"*": fnn.adam(made)})),
    "warmup": (schedules.cosine_decay, lambda made: schedules.warmup(made, 10)),
    "optimizer": (fnn.sgd, lambda made: fnn.Task(fnn.Dense(1), "mse", made)),
    "a chain of optimizers": (fnn.clip_by_norm, lambda made: fnn.chain(made, fnn.sgd(0.1))),
    "freeze": (fnn.adam, lambda made: fnn.freeze(made, "*")),
    "ema": (fnn.adam, lambda made: fnn.ema(made)),
    "metric": (metrics.top_k, lambda made: fnn.Task(fnn.Dense(3), "mse", metrics=[made])),
    "the class of metrics": (fnn.Metric, lambda made: fnn.Task(fnn.Dense(3), "mse", metrics=made)),
    "callback of fit": (fnn.early_stopping, lambda made: fit(callbacks=[made])),
    "another of fit": (fnn.csv_log, lambda made: fit(callbacks=made)),
    "callback of run": (fnn.reduce_on_plateau, lambda made: run(callbacks=[made])),
    "data": (fnn.data.Stream, lambda made: fnn.evaluate(TASK, fnn.init(TASK, jax.random.key(0), X), made)),
    "model": (fnn.Dense, lambda made: fnn.Task(made, "mse")),
    "Sequential": (fnn.Dropout, lambda made: fnn.Sequential(fnn.Dense(3), made)),
    "Residual": (fnn.LayerNorm, lambda made: fnn.Residual(made)),
    "shortcut": (fnn.Dense, lambda made: fnn.Residual(fnn.Dense(3), shortcut=made)),
    "Repeated": (fnn.Dense, lambda made: fnn.Repeated(made, 3)),
    "Rematerialized": (fnn.Dense, lambda made: fnn.Rematerialized(made)),
    "TimeDistributed": (fnn.Dense, lambda made: fnn.TimeDistributed(made)),
    "Bidirectional": (fnn.LSTM, lambda made: fnn.Bidirectional(made)),
    "layers of a Model": (fnn.Dense, lambda made: fnn.Model(lambda layers, x: layers.a(x), a=made)),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_called_is_refused_where_it_is_given(place):
    made, give = PLACES[place]
    advice = "Call it" if place == "data" else rf"[Cc]all it: {made.__name__}\("
    with pytest.raises(fnn.InputError, match=advice):
        give(made)


def test_a_layer_in_place_of_forward():
    with pytest.raises(fnn.InputError, match=r"forward\(layers, x\) as first argument, got the function Dense"):
        fnn.Model(fnn.Dense, a=fnn.Dense(3))


def test_functions_of_the_users_own_are_taken_as_they_are():
    def halved(step):
        return 0.1 / (1 + step)

    penalty, constraint = (lambda params: jnp.float32(1)), (lambda params: params)
    layer = fnn.Dense(2, activation=jnp.tanh, kernel_regularizer=lambda w: 0.1 * jnp.sum(w**2))
    task = fnn.Task(layer, "mse", fnn.sgd(halved), penalty=penalty, constraint=constraint)
    ts, logs = fnn.train_step(task, fnn.init(task, jax.random.key(0), X), (X, X[:, :2]))
    assert int(ts.step) == 1
    assert float(logs["loss"]) > 1
