"""Spellings of other libraries, and arguments in another order: each works, or one line says what to write."""

import jax
import numpy as np
import optax
import pytest

import fnn

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("f")
TASK = fnn.Task(fnn.Dense(3), "mse")
TS = fnn.init(TASK, KEY, (4,))
PADDED = {
    "Conv": lambda padding: fnn.Conv(3, 3, padding=padding),
    "DepthwiseConv": lambda padding: fnn.DepthwiseConv(3, padding=padding),
    "ConvTranspose": lambda padding: fnn.ConvTranspose(3, 3, strides=2, padding=padding),
    "SeparableConv": lambda padding: fnn.SeparableConv(3, 3, padding=padding),
    "MaxPool": lambda padding: fnn.MaxPool(3, padding=padding),
    "AvgPool": lambda padding: fnn.AvgPool(3, padding=padding),
}


@pytest.mark.parametrize("name", ["same", "valid"])
@pytest.mark.parametrize("kind", PADDED)
def test_padding_in_any_case(kind, name):
    def output(padding):
        layer = PADDED[kind](padding)
        params, state = layer.init(KEY, X)
        return layer.apply(params, state, X)[0]

    for other in (name.upper(), name.capitalize()):
        np.testing.assert_array_equal(output(other), output(name))


def test_causal_padding_in_capitals():
    x = X[:, 0]
    causal, other = (fnn.Conv(3, 3, padding=padding) for padding in ("causal", "CAUSAL"))
    params, _ = causal.init(KEY, x)
    np.testing.assert_array_equal(causal.apply(params, {}, x)[0], other.apply(params, {}, x)[0])


@pytest.mark.parametrize("make", [lambda: fnn.Model(inputs=1, outputs=2), lambda: fnn.Model(stem=fnn.Dense(3))])
def test_a_model_without_forward(make):
    with pytest.raises(fnn.InputError, match=r"a function forward\(layers, x\) as first argument, got none\. Write"):
        make()


def test_a_functional_model_of_keras():
    with pytest.raises(fnn.InputError, match=r"Model: expected a function.*got Dense\(3\)\. Write fnn\.Model\("):
        fnn.Model(fnn.Dense(3), fnn.Dense(2))
    with pytest.raises(fnn.InputError, match=r"layers by name, got 2 arguments without one\. Write fnn\.Model\("):
        fnn.Model(lambda layers, x: layers.stem(x), fnn.Dense(3))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X,), {}, "after the task, got no input"),
        (((4,),), {}, "after the task, got no input"),
        ((KEY,), {}, "after the task, got no input"),
        ((), {}, "after the task, got no input"),
        ((), {"x": X}, "after the task, got no key"),
        ((X, KEY), {}, "one PRNG key, got float32"),
    ],
)
def test_init_without_a_key_or_an_input(arguments, options, message):
    with pytest.raises(fnn.InputError, match=rf"init: expected .*{message}.*jax\.random\.key"):
        fnn.init(TASK, *arguments, **options)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("get_weights", r"ts\.params\["),
        ("state_dict", r"ts\.params\["),
        ("set_weights", r"ts\._replace\(params="),
        ("fit", r"fnn\.fit\(task, ts"),
        ("predict", r"fnn\.predict\(task, ts, x\)"),
        ("save", r"fnn\.save\("),
        ("apply_gradients", r"fnn\.train_step"),
        ("replace", r"Write \._replace\(\.\.\.\)"),
    ],
)
def test_methods_of_a_model_on_a_state(name, advice):
    with pytest.raises(AttributeError, match=f"'TrainState' object has no attribute '{name}'.*{advice}"):
        getattr(TS, name)
    assert not hasattr(TS, "anything")


@pytest.mark.parametrize(
    ("loss", "optimizer", "write"),
    [
        ("adam", "mse", r"fnn\.Task\(model, 'mse', 'adam'\)"),
        ("Adam", fnn.losses.huber, r"fnn\.Task\(model, huber, 'Adam'\)"),
        (fnn.sgd(0.1), "mse", r"fnn\.Task\(model, 'mse', sgd\(0\.1\)\)"),
        (fnn.sgd, fnn.losses.huber, r"fnn\.Task\(model, huber, sgd\)"),
        ("adam", fnn.sgd(0.1), r"fnn\.Task\(model, loss, 'adam'\)"),
        (optax.sgd(0.1), "mse", r"fnn\.Task\(model, 'mse', "),
    ],
)
def test_an_optimizer_in_the_place_of_the_loss(loss, optimizer, write):
    match = rf"Task: expected the loss before the optimizer, got the optimizer .*as loss\. Write {write}"
    with pytest.raises(fnn.InputError, match=match):
        fnn.Task(fnn.Dense(3), loss, optimizer)


def test_metrics_in_the_place_of_the_optimizer():
    with pytest.raises(fnn.InputError, match=r"an optimizer after the loss.*Write metrics=\['accuracy'\]"):
        fnn.Task(fnn.Dense(3), "mse", ["accuracy"])


def test_an_optax_optimizer_after_the_loss_is_accepted():
    assert fnn.Task(fnn.Dense(3), "mse", optax.adam(0.1)).loss is fnn.losses.mean_squared_error
