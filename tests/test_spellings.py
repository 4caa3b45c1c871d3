"""Spellings of other libraries, and arguments in another order: each works, or one line says what to write."""

import functools
import inspect

import jax
import numpy as np
import optax
import pytest
from helpers import few

import fnn
from fnn import _names
from fnn.fitting.progress import Scores

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("f")
QUERY = np.ones((1, 3, 2, 4), "f")
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
@pytest.mark.parametrize("kind", few(PADDED))
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


DATA = np.zeros((8, 4), "f"), np.zeros((8, 3), "f")


@pytest.mark.parametrize(
    ("call", "write"),
    [
        (lambda: fnn.LSTM(hidden_size=4), r"Write units=4\."),
        (lambda: fnn.LSTM(input_size=3, hidden_size=4), r"Leave it out.*shape from x"),
        (lambda: fnn.LSTM(4, num_layers=2), "Write 2 layers in fnn.Sequential"),
        (lambda: fnn.GRU(4, batch_first=True), r"Leave it out: sequences are \(batch, time, features\)"),
        (lambda: fnn.GRU(4, bidirectional=True), r"fnn\.Bidirectional"),
        (lambda: fnn.SimpleRNN(4, nonlinearity="relu"), "Write activation='relu'"),
        (lambda: fnn.Conv(3, features=8), r"Write filters=8\."),
        (
            lambda: fnn.Conv(3, 16, kernel_size=3),
            r"multiple values for argument 'kernel_size'\. Write Conv\(filters, ker",
        ),
        (lambda: fnn.Conv(8, 3, kernel_dilation=2), "Write dilation_rate=2"),
        (lambda: fnn.MaxPool(kernel_size=2), "Write pool_size=2"),
        (lambda: fnn.UpSampling(scale_factor=2), "Write size=2"),
        (lambda: fnn.Embedding(num_embeddings=9, embedding_dim=2), "Write input_dim=9"),
        (lambda: fnn.Embedding(9, features=2), "Write output_dim=2"),
        (lambda: fnn.BatchNorm(num_features=4), "Leave it out"),
        (lambda: fnn.BatchNorm(use_bias=False), "Write center=False"),
        (lambda: fnn.LayerNorm(elementwise_affine=False), "Write center=False, scale=False"),
        (lambda: fnn.GroupNorm(num_groups=2), "Write groups=2"),
        (lambda: fnn.Dropout(drop_prob=0.5), "Write rate=0.5"),
        (lambda: fnn.Dropout(0.5, deterministic=True), "Leave it out: fit trains in training mode"),
        (lambda: fnn.GaussianNoise(std=0.5), "Write stddev=0.5"),
        (lambda: fnn.Flatten((8, 8)), r"too many positional arguments\. Write Flatten\(\)"),
        (
            lambda: fnn.metrics.top_k(X, X),
            r"Write top_k\(k\)\. Of arrays, write fnn\.metrics\.top_k_accuracy\(",
        ),
        (lambda: fnn.check(TASK, TS, X), r"too many.*Write check\(model, x\)\. It takes no state\.$"),
        (lambda: fnn.RandomCrop(6), r"missing a required argument: 'width'\. Write RandomCrop\(height, width\)"),
        (lambda: fnn.Sequential(layers=[fnn.Dense(3)]), r"Write fnn\.Sequential\(layer"),
        (lambda: fnn.Dense(3, kernel_init="zeros"), "Write kernel_initializer='zeros'"),
        (lambda: fnn.Dense(3, kernel_regulariser="l2"), "Did you mean 'kernel_regularizer'"),
        (lambda: fnn.adam(b1=0.5), "Write beta_1=0.5"),
        (lambda: fnn.rmsprop(alpha=0.5), "Write rho=0.5"),
        (lambda: fnn.adam(max_grad_norm=1.0), r"fnn\.clip_by_global_norm\(1\.0\)"),
        (lambda: fnn.schedules.cosine_decay(0.1, T_max=3), "Write decay_steps=3"),
        (lambda: fnn.early_stopping(tol=0.1), "Write min_delta=0.1"),
        (lambda: fnn.Task(fnn.Dense(2), "mse", metric="mae"), "Task.. got an .*Write metrics='mae'"),
        (lambda: fnn.Task(fnn.Dense(2), criterion="mse"), "Write loss='mse'"),
        (lambda: fnn.Task(fnn.Dense(2), "mse", lr=0.1), r"Write optimizer=fnn\.adam\(0\.1\)"),
        (lambda: fnn.Task(fnn.Dense(2)), r"missing a required argument: 'loss'\. Write Task\(model, loss\)"),
        (lambda: fnn.fit(TASK, TS, DATA, val_split=0.2), "Write validation_split=0.2"),
        (lambda: fnn.fit(TASK, TS, DATA, learning_rate=0.2), r"Write fnn\.Task\(model, loss, fnn\.adam\(0\.2\)\)"),
        (lambda: fnn.fit(TASK, TS, DATA, n_epochs=3), "Write epochs=3"),
        (lambda: fnn.fit(TASK, TS, DATA, key=KEY), "Randomness comes from the key of"),
        (lambda: fnn.fit(TASK, TS, DATA, batchsize=3), "Did you mean 'batch_size'"),
        (lambda: fnn.evaluate(TASK, TS, x=X, y=X), r"evaluate\(task, ts, \(x, y\)\)"),
        (lambda: fnn.init(TASK, seed=3, x=X), r"Write key=jax\.random\.key\(3\)"),
        (lambda: fnn.summary(TASK), r"missing a required argument: 'x'\. Write summary\(model, x\)"),
        (lambda: fnn.check(TASK, input_shape=(4,)), r"Write the shape second, fnn\.check\(model, \(4,\)\)"),
        (lambda: fnn.outputs(TASK, TS, X), r"Write outputs\(task, ts, x, names\)"),
        (lambda: fnn.BatchNorm(axis=1), "Leave it out: features are on the last axis"),
        (lambda: fnn.Conv(3, 3, border_mode="same"), "Write padding='same'"),
        (lambda: fnn.LSTM(3, implementation=2), "Leave it out"),
        (lambda: fnn.Dense(3, init="zeros"), "Write kernel_initializer='zeros'"),
        (lambda: fnn.Dense(3, wibble=1), "unexpected keyword argument 'wibble'.$"),
        (lambda: TASK.model[0], r"A layer has no items, got \[0\]\. Keep layers in variables"),
        (lambda: fnn.losses.huber(delta=2.0), r"Write functools\.partial\(fnn\.losses\.huber, delta=2\.0\)"),
        (lambda: fnn.losses.mean_squared_error(), r"Write fnn\.losses\.mean_squared_error, without"),
    ],
)
def test_arguments_that_other_libraries_have(call, write):
    with pytest.raises(TypeError, match=write):
        call()


@pytest.mark.parametrize(
    ("call", "write"),
    [
        (lambda: fnn.Dense(64, 32), r"size of the input is read from x: pass the number of outputs alone, here 32"),
        (lambda: fnn.LSTM(8, 16), r"pass the number of outputs alone, here 16"),
        (lambda: fnn.LayerNorm(64), r"LayerNorm: expected epsilon in \[0, 1\], got 64"),
        (
            lambda: fnn.attention(QUERY, QUERY, QUERY, np.ones((1, 3, 3), "i")),
            r"got int32\[1, 3, 3\]\. Write mask\.astype\(bool\)",
        ),
        (lambda: fnn.set_hyper(TASK, learning_rate=0.1), r"a TrainState.*got a Task\. Write ts = fnn\.set_hyper\(ts"),
        (lambda: fnn.set_hyper(TS, TS), r"got a TrainState\. Write values by name"),
        (lambda: fnn.set_hyper(TS, 0.1), "got a float. Write values by name"),
        (lambda: fnn.get_hyper(TASK), r"got a Task\. Write fnn\.get_hyper\(ts\)"),
        (lambda: fnn.fit(TASK, TS, DATA, validation_data=[*DATA]), "validation_data, batch 0.*Pass a tuple"),
    ],
)
def test_values_that_other_libraries_take(call, write):
    with pytest.raises(fnn.InputError, match=write):
        call()


@pytest.mark.parametrize(
    ("module", "name", "write"),
    [
        (fnn.metrics, "precision", r'fnn\.metrics\.precision_recall_f1, or metrics=\("precision",\) in a task'),
        (fnn.metrics, "Recall", r'metrics=\("recall",\)'),
        (fnn.metrics, "r2", r"fnn\.metrics\.r2_score"),
        (fnn.metrics, "MeanSquaredError", r'metrics=\("mse",\)'),
        (fnn.metrics, "SparseCategoricalAccuracy", r"Use fnn\.metrics\.accuracy\.$"),
        (fnn.losses, "mse", r"fnn\.losses\.mean_squared_error"),
        (fnn.losses, "bce_with_logits", r"fnn\.losses\.binary_crossentropy"),
        (fnn.losses, "nll_loss", r"fnn\.losses\.sparse_categorical_crossentropy"),
        (fnn, "AdaptiveMaxPool2d", r"fnn\.GlobalMaxPool"),
        (fnn, "linear", r"fnn\.Dense"),
        (fnn, "Mish", r'fnn\.Activation\("mish"\)'),
        (TASK, "learning_rate", r"fnn\.set_hyper\(ts, learning_rate"),
        (TASK.model, "predict_classes", r"fnn\.predict\(task, ts, x\)\.argmax\(-1\)"),
        (TASK.model, "to_json", r"model\.config"),
        (TASK.model, "output", r"fnn\.outputs\(task"),
        (TASK.optimizer, "step", r"fnn\.train_step"),
        (TS, "optimizer", r"in the task: task\.optimizer"),
    ],
)
def test_names_that_other_libraries_have(module, name, write):
    with pytest.raises(AttributeError, match=write):
        getattr(module, name)


@pytest.mark.parametrize(
    "model",
    [fnn.Sequential(fnn.Dense(3)), fnn.Dense(3), fnn.Model(lambda layers, x: layers.d(x), d=fnn.Dense(3))],
    ids=str,
)
def test_init_and_apply_in_another_form(model):
    x = np.zeros((2, 4), "f")
    params, state = model.init(KEY, x)
    for arguments in ((x, KEY), (KEY,), (0,)):
        with pytest.raises(TypeError, match=r"init expects.*Write params, state = model\.init\(jax\.random\.key"):
            model.init(*arguments)
    with pytest.raises(fnn.InputError, match=r"expected one PRNG key, got 0\. Pass jax\.random\.key\(0\)\."):
        model.init(0, x)
    with pytest.raises(fnn.InputError, match=r"expected one PRNG key, got float32\[2, 4\]"):
        model.init(x, x)
    for arguments in ((params, x), ({"params": params}, x)):
        with pytest.raises(TypeError, match=r"apply expects.*Write y, state = model\.apply\(params, state, x\)"):
            model.apply(*arguments)
    assert model.apply(params, state, x)[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("make", "write"),
    [
        (lambda: fnn.Dense(3, "selu"), r"got 'selu'\. Use jax\.nn\.selu\."),
        (lambda: fnn.Dense(3, "hardswish"), r"Use jax\.nn\.hard_swish\."),
        (lambda: fnn.Dense(3, "exponential"), r"Use jnp\.exp\."),
        (lambda: fnn.Dense(3, "leakyrelu"), "Use 'leaky_relu'"),
        (lambda: fnn.Task(fnn.Dense(3), "mse", "lion"), r"Use optax\.lion\(1e-3\)"),
        (lambda: fnn.Task(fnn.Dense(3), "mse", metrics=("mcc",)), r"Use sklearn\.metrics\.matthews_corrcoef"),
        (lambda: fnn.Task(fnn.Dense(3), "brier"), "got 'brier'. Known: bce"),
        (lambda: fnn.Dense(3, kernel_regularizer=0.01), r"Write kernel_regularizer=fnn\.penalties\.l2\(0\.01\)\."),
        (lambda: fnn.LSTM(3, bias_constraint=3), r"Write bias_constraint=fnn\.penalties\.max_norm\(3\)\."),
        (lambda: fnn.Task(fnn.Dense(3), "mse", penalty=0.01), r"Write penalty=fnn\.penalties\.l2\(0\.01\)\."),
    ],
)
def test_names_of_functions_as_text(make, write):
    with pytest.raises(fnn.InputError, match=write):
        make()


def test_a_history_names_what_it_holds():
    history = fnn.History(loss=[1.0], accuracy=[0.5])
    with pytest.raises(KeyError, match=r"'acc'\. Known: loss, accuracy"):
        history["acc"]
    with pytest.raises(AttributeError, match=r"no attribute 'loss'\. Write history\['loss'\]"):
        _ = history.loss
    assert history.get("acc") is None
    history.record({"acc": 1.0})
    assert history["acc"] == [1.0]


def test_scores_are_found_by_place_and_a_single_one_is_a_number():
    one, two = Scores(loss=0.25), Scores(loss=0.25, accuracy=np.float32(0.5))
    assert (two[0], two[1], two[-1]) == (0.25, 0.5, 0.5)
    assert (float(one), f"{one:.3f}", f"{one}") == (0.25, "0.250", "{'loss': 0.25}")
    assert 1 not in two
    for wrong in (2, -3):
        with pytest.raises(KeyError, match=rf"{wrong}\. Known: loss, accuracy\."):
            two[wrong]
    for number in (float, "{:.3f}".format):
        with pytest.raises(TypeError, match=r"2 scores.*Write scores\['loss'\] or scores\['accuracy'\]"):
            number(two)


def test_arguments_named_in_hints_exist():
    """Each name that a hint gives for an argument is one of a public function."""
    made = [getattr(fnn, name) for name in fnn.__all__] + [getattr(fnn.schedules, name) for name in dir(fnn.schedules)]
    made += [fnn.data.train_test_split, fnn.text.generate_text]
    known = set()
    for function in filter(callable, made):
        try:
            known |= set(inspect.signature(function).parameters)
        except ValueError:
            continue
    assert {here for names in _names._ARGUMENTS_HERE.values() for here in names} <= known


def test_losses_are_called_with_names_too():
    p, t = np.ones((2, 3), "f"), np.zeros((2, 3), "f")
    np.testing.assert_array_equal(fnn.losses.huber(predictions=p, targets=t, delta=0.5), [0.375, 0.375])
    partial = functools.partial(fnn.losses.huber, delta=0.5)
    np.testing.assert_array_equal(partial(p, t), [0.375, 0.375])
    assert fnn.Task(fnn.Dense(2), partial) == fnn.Task(fnn.Dense(2), functools.partial(fnn.losses.huber, delta=0.5))
