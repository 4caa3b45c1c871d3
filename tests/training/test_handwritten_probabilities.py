"""A sigmoid or softmax written by hand is not taken for logits, and logits are not taken for one."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import some

import fnn

X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
CLASSES = np.arange(20) % 3
YES = (X[:, :1] > 0).astype("float32")


def total(a):
    return jnp.sum(a, -1, keepdims=True)


SIGMOIDS = {
    "1 / (1 + exp)": lambda z: 1 / (1 + jnp.exp(-z)),
    "exp / (1 + exp)": lambda z: jnp.exp(z) / (1 + jnp.exp(z)),
    "power": lambda z: jnp.power(1 + jnp.exp(-z), -1),
    "power of a float": lambda z: (1 + jnp.exp(-z)) ** -1.0,
    "normal distribution": jax.scipy.stats.norm.cdf,
    "part of 1 + part": lambda z: jnp.abs(z) / (1 + jnp.abs(z)),
    "exp of log sigmoid": lambda z: jnp.exp(jax.nn.log_sigmoid(z)),
    "complement": lambda z: 1 - 1 / (1 + jnp.exp(z)),
}
SOFTMAXES = {
    "two exponentials": lambda z: jnp.exp(z) / total(jnp.exp(z)),
    "less the maximum": lambda z: jnp.exp(z - z.max(-1)[:, None]) / total(jnp.exp(z - z.max(-1)[:, None])),
    "exp of log softmax": lambda z: jnp.exp(jax.nn.log_softmax(z)),
    "exp less logsumexp": lambda z: jnp.exp(z - jax.nn.logsumexp(z, -1, keepdims=True)),
    "exp less log of a sum": lambda z: jnp.exp(z - jnp.log(total(jnp.exp(z)))),
    "squares": lambda z: z**2 / total(z**2),
    "a total with an epsilon": lambda z: jnp.abs(z) / (total(jnp.abs(z)) + 1e-6),
}


def start(model, loss, seed=0, x=X):
    task = fnn.Task(model, loss, fnn.sgd(0.1))
    return task, fnn.init(task, jax.random.key(seed), x[:1])


@pytest.mark.parametrize("name", [*SIGMOIDS, *SOFTMAXES])
def test_operations_that_give_probabilities_are_refused(name):
    fn, loss, units = SIGMOIDS.get(name), "binary_crossentropy", 1
    if fn is None:
        fn, loss, units = SOFTMAXES[name], "sparse_categorical_crossentropy", 3
    for model in (fnn.Dense(units, fn), fnn.Model(lambda layers, x: fn(layers.d(x)), d=fnn.Dense(units))):
        with pytest.raises(fnn.InputError, match=r"Task: expected a model that ends in logits.*by name"):
            start(model, loss)


LOGITS = {
    "log softmax": jax.nn.log_softmax,
    "negative": lambda z: -1 / (1 + jnp.exp(-z)),
    "twice": lambda z: 2 / (1 + jnp.exp(-z)),
    "pole": lambda z: 1 / (0.5 + jnp.exp(-z)),
    "another total": lambda z: jnp.exp(2 * z) / total(jnp.exp(z)),
    "part of a sum that is no total": lambda z: jnp.exp(z) / jnp.exp(z)[:, :1].sum(-1, keepdims=True),
    "signs": lambda z: z / total(z),
    "difference": lambda z: jnp.abs(z) / (jnp.abs(z) - 1),
    "softplus": jax.nn.softplus,
}


@pytest.mark.parametrize("name", LOGITS)
def test_operations_that_may_leave_the_interval_are_accepted(name):
    start(fnn.Dense(3, LOGITS[name]), "sparse_categorical_crossentropy")


def unseen(z):
    """A sigmoid from operations of which no bounds are known."""
    return jnp.arctan(z) / jnp.pi + 0.5


def test_probabilities_that_only_their_values_show():
    model = fnn.Dense(3, lambda z: unseen(z) / total(unseen(z)))
    task, ts = start(model, "sparse_categorical_crossentropy")
    for call in (fnn.fit, fnn.evaluate):
        with pytest.raises(fnn.InputError, match=r"lie between 0 and 1 and sum to 1.*'softmax'"):
            call(task, ts, (X, CLASSES))
    with pytest.raises(fnn.InputError, match="sum to 1"):
        fnn.fit(task, ts, [(X, CLASSES)], verbose=0)

    task, ts = start(fnn.Dense(1, unseen), "binary_crossentropy")
    with pytest.warns(RuntimeWarning, match=r"fit: the outputs lie between 0 and 1.*'sigmoid'") as found:
        fnn.fit(task, ts, (X, YES), verbose=0, validation_data=(X, YES), epochs=2)
    assert len(found) == 1
    with pytest.warns(RuntimeWarning, match="evaluate: the outputs lie"):
        fnn.evaluate(task, ts, (X[:1], YES[:1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fnn.evaluate(*start(fnn.Dense(1, unseen), "mse"), (X, YES))


ENDS = {
    "temperature": (fnn.Dense(1), lambda z: z / 2),
    "rectified": (fnn.Dense(1), jax.nn.relu),
    "softplus": (fnn.Dense(1), jax.nn.softplus),
    "started at zero": (fnn.Dense(1, kernel_initializer="zeros"), lambda z: z / 2),
    "started at a bias": (
        fnn.Dense(1, kernel_initializer="zeros", bias_initializer=lambda *a: jnp.full(a[1], 0.4)),
        lambda z: z * 1,
    ),
    "unit length": (fnn.Dense(3), lambda z: z / jnp.linalg.norm(z, axis=-1, keepdims=True)),
    "mean": (fnn.Dense(3), lambda z: z.mean(-1, keepdims=True)),
}


@pytest.mark.parametrize("name", some(ENDS, "temperature", "unit length"))
def test_logits_give_no_false_alarm(name):
    """Networks whose last operation is not known, of many seeds, also with a single row."""
    last, fn = ENDS[name]
    units = 3 if name == "unit length" else 1
    loss = "sparse_categorical_crossentropy" if units == 3 else "binary_crossentropy"
    task, _ = start(fnn.Sequential(fnn.Dense(5, "tanh"), last, fnn.Activation(fn)), loss)
    y = CLASSES if units == 3 else YES
    for seed in range(12):
        ts = fnn.init(task, jax.random.key(seed), X[:1])
        fnn.evaluate(task, ts, (X[seed : seed + 1], y[seed : seed + 1]))
        fnn.evaluate(task, ts, (abs(X), y))


def test_usual_models_are_not_computed_for_the_check(monkeypatch):
    monkeypatch.setattr("fnn.fitting.logits._counts", None)
    for after in (fnn.Activation("linear"), fnn.Activation("softmax"), fnn.Reshape((3,))):
        model = fnn.Sequential(fnn.Dense(3), after)
        fnn.evaluate(*start(model, "sparse_categorical_crossentropy"), (X, CLASSES))


def test_logits_between_0_and_1_are_accepted_where_the_loss_says_so():
    bell = lambda z: jnp.exp(-(z**2))  # noqa: E731
    for model in (fnn.Dense(1, bell), fnn.Dense(1, unseen)):
        task, ts = start(model, functools.partial(fnn.losses.binary_crossentropy, from_logits=True))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fnn.fit(task, ts, (X, YES), verbose=0)
    with pytest.raises(fnn.InputError, match="or from_logits=True if they are logits"):
        start(fnn.Dense(1, bell), "binary_crossentropy")
    with pytest.raises(fnn.InputError, match="ends in softmax"):  # of which the name tells that they are none
        start(
            fnn.Sequential(fnn.Dense(6), fnn.Reshape((2, 3)), fnn.Activation("softmax"), fnn.Flatten()),
            functools.partial(fnn.losses.sparse_categorical_crossentropy, from_logits=True),
        )
