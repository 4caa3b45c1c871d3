"""Descriptions: how objects print, when they are equal, and that equal objects share compiled programs."""

import copy
import functools
import pickle
import textwrap
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn import initializers, losses, penalties, schedules
from fnn.nn.activations import ACTIVATIONS
from fnn.nn.initializers import INITIALIZERS

X, Y = np.random.default_rng(0).normal(size=(8, 3)).astype("f"), np.arange(8) % 2


def network():
    return fnn.Sequential(
        fnn.Dense(4, activation="relu"),
        fnn.Residual(fnn.Dense(4), fnn.Dropout(0.1)),
        fnn.Dense(2, kernel_initializer=initializers.normal(0.0, 0.1)),
    )


def test_a_model_prints_the_call_that_made_it():
    want = """\
        Sequential(
            Dense(4, activation='relu'),
            Residual(
                Dense(4),
                Dropout(0.1),
            ),
            Dense(2, kernel_initializer=normal(0.0, 0.1)),
        )"""
    assert repr(network()) == textwrap.dedent(want)
    assert repr(fnn.Conv(8, (3, 3), padding="same")) == "Conv(8, (3, 3), padding='same')"
    assert repr(fnn.Dense(3, jnp.tanh)) == "Dense(3, tanh)"
    assert repr(fnn.freeze(fnn.adam(1e-3), ["a*", "b"])) == "freeze(adam(0.001), ['a*', 'b'])"
    assert (
        repr(penalties.total(penalties.l2(0.1), penalties.l1(0.2, "a"))) == "total(\n    l2(0.1),\n    l1(0.2, 'a'),\n)"
    )
    half = functools.partial(losses.huber, delta=0.5)
    assert "loss=partial(huber, delta=0.5)" in repr(fnn.Task(fnn.Dense(1), half))
    assert repr(fnn.Dense(1, kernel_initializer=initializers.constant(np.ones(3)))) == (
        "Dense(1, kernel_initializer=constant(<float64[3]>))"
    )


@fnn.described
def Scaled(factor=2.0, *, name="scaled"):
    def init(key, x):
        return {"scale": jnp.full(x.shape[-1:], factor)}, {}

    def apply(params, state, x, *, key=None, train=False):
        return params["scale"] * x, state

    return fnn.Layer(init, apply, name=name, kind="Scaled")


def test_a_constructor_of_the_user_is_recorded_like_those_of_the_library():
    layer = Scaled(3.0)
    assert str(fnn.Sequential(layer, fnn.Dense(2))) == "Sequential(\n    Scaled(3.0),\n    Dense(2),\n)"
    assert layer == Scaled(factor=3.0, name="scaled") != Scaled()
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert layer.replace(name="b").config.make is Scaled
    with pytest.raises(TypeError, match=r"Scaled\(\) got an unexpected keyword argument 'factr'.*'factor'"):
        Scaled(factr=3.0)


def test_what_cannot_be_described_is_refused():
    with pytest.raises(fnn.InputError, match=r"described: expected a function that makes a layer, got 3.*@fnn\.descr"):
        fnn.described(3)
    with pytest.raises(fnn.InputError, match=r"pair: expected a Layer or another part of a task as its result, got"):
        fnn.described(pair)()


def pair():
    return fnn.Dense(2), fnn.Dense(2)


def test_a_layer_of_functions_prints_its_functions():
    def scale(params, state, x, *, key=None, train=False):
        return 2 * x, state

    assert repr(fnn.Layer(lambda key, x: ({}, {}), scale, name="twice")) == "Layer(<lambda>, scale, name='twice')"


def test_the_call_is_recorded():
    config = fnn.Dense(4, use_bias=False).config
    assert config.make is fnn.Dense
    assert config.args == (4,)
    assert dict(config.kwargs) == {"use_bias": False}
    layers = [fnn.Dense(2)]
    model = fnn.Sequential(layers)
    layers.append(fnn.Dense(3))
    assert repr(model) == "Sequential([Dense(2)])"


PAIRS = [
    (network, network),
    (lambda: fnn.Dense(4), lambda: fnn.Dense(units=4, use_bias=True)),
    (lambda: fnn.Dense(4, dtype="float32"), lambda: fnn.Dense(4, dtype=jnp.float32)),
    (lambda: fnn.Conv(4, 3, padding="SAME"), lambda: fnn.Conv(4, 3, padding="same")),
    (lambda: fnn.MaxPool(padding="Valid"), lambda: fnn.MaxPool()),
    (lambda: fnn.Dense(4, "ReLU"), lambda: fnn.Dense(4, activation="relu")),
    (lambda: fnn.Dense(4, kernel_initializer="HeNormal"), lambda: fnn.Dense(4, kernel_initializer="he_normal")),
    (lambda: fnn.Bidirectional(fnn.GRU(2), "SUM"), lambda: fnn.Bidirectional(fnn.GRU(2), merge_mode="sum")),
    (lambda: fnn.Dense(4, kernel_regularizer="L2"), lambda: fnn.Dense(4, kernel_regularizer="l2")),
    (lambda: fnn.Dense(4, bias_constraint="NonNegative"), lambda: fnn.Dense(4, bias_constraint="non_negative")),
    (lambda: fnn.adam(0.1), lambda: fnn.adam(np.float64(0.1))),
    (lambda: fnn.sgd(schedules.warmup(0.1, 10)), lambda: fnn.sgd(schedules.warmup(0.1, 10))),
    (lambda: optax.adam(0.1), lambda: optax.adam(0.1)),
    (lambda: fnn.Activation(lambda x: x * 2), lambda: fnn.Activation(lambda x: x * 2)),
    (lambda: functools.partial(losses.huber, delta=0.5), lambda: functools.partial(losses.huber, delta=0.5)),
    (lambda: penalties.l2(0.1, lambda path: "a" in path), lambda: penalties.l2(0.1, lambda path: "a" in path)),
    (lambda: fnn.Metric("m", lambda p, t, w: w, jnp.sum), lambda: fnn.Metric("m", lambda p, t, w: w, jnp.sum)),
]


def of(made):
    """A task that contains the thing."""
    if isinstance(made, fnn.Layer):
        return fnn.Task(made, "mse")
    if hasattr(made, "update"):
        return fnn.Task(fnn.Dense(1), "mse", made)
    if isinstance(made, fnn.Metric):
        return fnn.Task(fnn.Dense(1), "mse", metrics=(made,))
    if isinstance(made, functools.partial):
        return fnn.Task(fnn.Dense(1), made)
    return fnn.Task(fnn.Dense(1), "mse", penalty=made)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_equal_constructions_are_equal(one, other):
    assert of(one()) == of(other())
    assert hash(of(one())) == hash(of(other()))


@pytest.mark.parametrize("table", [ACTIVATIONS, INITIALIZERS])
def test_no_two_functions_differ_by_case_or_underscores_alone(table):
    names = {name.replace("_", "").lower(): table[name] for name in table}
    assert all(names[name.replace("_", "").lower()] is fn for name, fn in table.items())


SCALE = 2.0


def reads_a_number(x):
    return SCALE * x


DIFFERENT = [
    (lambda: fnn.Dense(4), lambda: fnn.Dense(4, "relu")),
    (lambda: fnn.Dense(4), lambda: fnn.Dense(4, name="other")),
    (lambda: fnn.Dense(4, name="first"), lambda: fnn.Dense(4, name="First")),
    (lambda: fnn.Conv(4, 3, padding="same"), lambda: fnn.Conv(4, 3, padding="valid")),
    (lambda: fnn.sgd(1), lambda: fnn.sgd(1.5)),
    (lambda: fnn.Dropout(0.0), lambda: fnn.Dropout(-0.0)),
    (lambda: fnn.Dense(4), lambda: fnn.Dense(4).replace(apply=lambda p, s, x, **_: (x, s))),
    (lambda: fnn.adam(0.1), lambda: fnn.adam(0.2)),
    (lambda: fnn.adam(jnp.float32(0.1)), lambda: fnn.adam(jnp.float32(0.1))),
    (lambda: fnn.Activation(lambda x: x * 2), lambda: fnn.Activation(lambda x: x * 3)),
    (lambda: fnn.Activation(lambda x: SCALE * x), lambda: fnn.Activation(lambda x: SCALE * x)),
    (lambda: fnn.Activation(lambda x: eval("2") * x), lambda: fnn.Activation(lambda x: eval("2") * x)),
    (lambda: penalties.l2(0.1), lambda: penalties.l2(0.1, "*bias")),
    (lambda: functools.partial(losses.huber, delta=0.5), lambda: functools.partial(losses.huber, delta=0.6)),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_constructions_that_may_differ_are_not_equal(one, other):
    assert of(one()) != of(other())


def test_closures_compare_by_value_and_arrays_by_identity():
    def of_number(c):
        return fnn.Activation(lambda x: c * x)

    array = jnp.ones(3)
    assert of_number(2.0) == of_number(2.0) != of_number(3.0)
    assert of_number(array) == of_number(array) != of_number(jnp.ones(3))
    table = {"rate": 2.0}
    assert of_number(table) == of_number(table) != of_number(dict(table))  # it may change before the trace


def test_a_notebook_function_is_compared_by_its_code():
    def cell(text):
        scope = {"fnn": fnn, "__name__": "__main__"}
        exec(text, scope)
        return scope["task"]

    text = "def twice(x):\n    return 2 * x\ntask = fnn.Task(fnn.Activation(lambda x: twice(x)), 'mse')"
    assert cell(text) == cell(text)
    assert cell(text) != cell(text.replace("2 * x", "3 * x"))
    recursive = "def f(x, n=2):\n    return x if n == 0 else f(x, n - 1)\ntask = fnn.Task(fnn.Activation(f), 'mse')"
    assert cell(recursive) == cell(recursive) != cell(recursive.replace("n=2", "n=3"))


CELL = """
def forward(x):
    return jnp.sin(x)
model = fnn.Sequential(fnn.Dense(2, activation=lambda x: jnp.tanh(x)), fnn.Activation(forward))
task = fnn.Task(model, lambda p, t: ((p - t[:, None]) ** 2).mean(-1), fnn.sgd(1e-2), metrics=[lambda p, t: p[:, 0]])
ts = fnn.init(task, jax.random.key(0), x[:1])
ts, history = fnn.fit(task, ts, (x, y), epochs=2, batch_size=4, verbose=0)
fnn.evaluate(task, ts, (x, y))
"""


def test_rerunning_a_cell_compiles_nothing():
    scope = {"fnn": fnn, "jax": jax, "jnp": jnp, "x": X, "y": Y.astype("f"), "__name__": "__main__"}
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, _, **__: compiled.append(name) if name.endswith("backend_compile_duration") else None
    )

    def count(text):
        before = len(compiled)
        exec(text, scope)
        return len(compiled) - before

    assert count(CELL) > 0
    assert count(CELL) == 0
    assert count(CELL.replace("jnp.sin(x)", "jnp.cos(x)")) > 0


SPEED = "jax_disable_most_optimizations"  # the same bits come from the same optimizations of the compiler


def trained(task, ts, setting):
    jax.config.update(SPEED, setting)
    return jax.device_get(fnn.train_step(task, ts, (X, Y))[0].params)


def test_pickle_and_deepcopy():
    task = fnn.Task(network(), "sparse_categorical_crossentropy", fnn.nadam(1e-2), metrics=("accuracy",))
    assert copy.deepcopy(task) is task
    assert copy.copy(task.model) is task.model
    for thing in (task, task.model, task.optimizer, task.metrics[0], penalties.l2(0.1), schedules.constant(1.0)):
        assert pickle.loads(pickle.dumps(thing)) == thing
    ts = fnn.init(task, jax.random.PRNGKey(0), X[:1])
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        there = pool.submit(trained, task, ts, jax.config.read(SPEED)).result()
    jax.tree.map(np.testing.assert_array_equal, there, trained(task, ts, jax.config.read(SPEED)))


def _forward(layers, x):
    return layers.a(x)


@pytest.mark.parametrize(
    ("made", "right"),
    [
        (fnn.Dense(4, "relu"), fnn.Dense(4, "relu", name="b")),
        (fnn.Activation("relu", "a"), fnn.Activation("relu", "b")),
        (fnn.Sequential(fnn.Dense(4), fnn.Dense(2), name="a"), fnn.Sequential(fnn.Dense(4), fnn.Dense(2), name="b")),
        (fnn.Repeated(fnn.Dense(4), 2), fnn.Repeated(fnn.Dense(4), 2, name="b")),
        (fnn.Model(_forward, a=fnn.Dense(4)), fnn.Model(_forward, a=fnn.Dense(4), name="b")),
        (fnn.metrics.binned_auc("pr", thresholds=9), fnn.metrics.binned_auc("pr", thresholds=9, name="b")),
    ],
    ids=lambda made: made.name,
)
def test_a_new_name_enters_the_description(made, right):
    renamed = made.replace(name="b")
    assert renamed == right != made
    assert renamed.name == "b"
    assert renamed.config.make is made.config.make


def test_replace_drops_the_description():
    layer = fnn.Dense(4).replace(per_example=False)
    assert layer.config is None
    task = fnn.Task(fnn.Dense(4), "mse").replace(optimizer="sgd")
    assert repr(task) == "Task(Dense(4), loss='mse', optimizer='sgd')"
    with pytest.raises(AttributeError, match=r"Write \.replace\(\.\.\.\)"):
        task._replace(loss="mae")
    with pytest.raises(AttributeError, match="has no attribute 'units'"):
        getattr(layer, "units")  # noqa: B009 (the message is the point)
