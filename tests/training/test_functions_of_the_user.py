"""Mistakes in a user's functions: the message or a note names the place and says what to write."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(6, 4)).astype("f")
Y = np.arange(6) % 3
SPARSE = "sparse_categorical_crossentropy"


def train(model=None, loss=SPARSE, y=Y, **options):
    task = fnn.Task(model or fnn.Sequential(fnn.Dense(3)), loss, **options)
    ts = fnn.init(task, KEY, X)
    return fnn.fit(task, ts, (X, y), verbose=0)


def notes(call, kind):
    """The notes that fnn adds to an error of a user's function."""
    with pytest.raises(kind) as caught:
        call()
    return [
        note for note in caught.value.__notes__ if "JAX has removed its internal frames" not in note and note[0] != "-"
    ]


def with_numpy(x):
    return np.maximum(x, 0)


def with_if(x):
    return x if x.sum() > 0 else -x


def with_float(x):
    return x * float(x.ravel()[0])


def with_range(x):
    return x * sum(range(x.ravel()[0].astype(int)))


def with_mask(x):
    return x[x > 0]


TRACED = [
    (with_numpy, jax.errors.TracerArrayConversionError, "write jnp in place of np."),
    (with_if, jax.errors.TracerBoolConversionError, "write jnp.where(condition, a, b) or jax.lax.cond"),
    (with_float, jax.errors.ConcretizationTypeError, "In place of float(x), int(x) or x.item(), write x"),
    (with_range, jax.errors.TracerIntegerConversionError, "write jax.lax.fori_loop"),
    (with_mask, jax.errors.NonConcreteBooleanIndexError, "write jnp.where(mask, x, 0)"),
]


@pytest.mark.parametrize(("fn", "kind", "advice"), TRACED)
def test_each_error_of_tracing_has_its_advice(fn, kind, advice):
    found = notes(lambda: train(fnn.Sequential(fnn.Dense(3, activation=fn), fnn.Dense(3))), kind)
    assert found[0].startswith("JAX traces this function, so its arrays have no values yet. ")
    assert advice in found[0]
    assert found[1:] == ["in layer 'dense' (position 0)"]


def first_column(fn):
    return lambda predictions, targets: fn(predictions)[:, 0]


def layer(fn):
    return fnn.Layer(lambda key, x: ({}, {}), lambda params, state, x, *, key=None, train=False: (fn(x), state), "mine")


def rule(g, slots, h, t):
    return with_if(g), slots


def trial(rate):
    return with_if(rate)


PLACES = {
    "a loss": (lambda: train(loss=first_column(with_if)), ["in loss", "in data"]),
    "a metric": (lambda: train(metrics=[first_column(with_if)]), ["in metric '<lambda>'", "in data"]),
    "a penalty": (lambda: train(penalty=lambda p: with_if(p["dense"]["bias"]).sum()), ["in penalty"]),
    "a constraint": (lambda: train(constraint=lambda p: jax.tree.map(with_if, p)), ["in constraint"]),
    "a schedule": (
        lambda: train(optimizer=fnn.adam(lambda step: with_if(1.0 * step))),
        ["in the function of the step for learning_rate"],
    ),
    "a rule": (
        lambda: train(optimizer=fnn.from_rule(rule, {}, {"learning_rate": 0.1})),
        ["in the rule of from_rule"],
    ),
    "a layer": (lambda: train(fnn.Sequential(layer(with_if), fnn.Dense(3))), ["in layer 'mine' (position 0)"]),
    "the only layer": (lambda: train(layer(with_if)), ["in model 'mine'"]),
    "a trial": (lambda: fnn.many(trial)(jnp.ones(3)), ["in the trial"]),
}


@pytest.mark.parametrize("place", PLACES)
def test_advice_stands_once_with_the_place(place):
    call, places = PLACES[place]
    advice, *found = notes(call, jax.errors.TracerBoolConversionError)
    assert "jax.lax.cond" in advice
    assert found == places


def broken(x):
    raise RuntimeError("a bug")


BROKEN = layer(broken)
UNMADE = fnn.Layer(lambda key, x: broken(x), lambda params, state, x, *, key=None, train=False: (x, state), "mine")
AROUND = {
    "sequential": (
        lambda one: fnn.Sequential(fnn.Sequential(one), fnn.Dense(3)),
        ["in layer 'mine' (position 0)", "in layer 'sequential' (position 0)"],
    ),
    "residual": (
        lambda one: fnn.Sequential(fnn.Residual(one), fnn.Dense(3)),
        ["in layer 'mine' (position 0)", "in residual body", "in layer 'residual' (position 0)"],
    ),
    "repeated": (
        lambda one: fnn.Sequential(fnn.Repeated(one, 2), fnn.Dense(3)),
        ["in repeated 'mine'", "in layer 'repeated' (position 0)"],
    ),
    "rematerialized": (
        lambda one: fnn.Sequential(fnn.Rematerialized(one), fnn.Dense(3)),
        ["in layer 'mine' (position 0)"],
    ),
    "time_distributed": (
        lambda one: fnn.Sequential(fnn.Reshape((4, 1)), fnn.TimeDistributed(one), fnn.Flatten(), fnn.Dense(3)),
        ["in time_distributed 'mine'", "in layer 'time_distributed' (position 1)"],
    ),
    "bidirectional": (
        lambda one: fnn.Sequential(fnn.Reshape((4, 1)), fnn.Bidirectional(one), fnn.Flatten(), fnn.Dense(3)),
        ["in bidirectional forward", "in layer 'bidirectional' (position 1)"],
    ),
    "alone": (lambda one: one, ["in model 'mine'"]),
}


@pytest.mark.parametrize("one", [BROKEN, UNMADE], ids=["apply", "init"])
@pytest.mark.parametrize("around", AROUND)
def test_a_bug_in_a_layer_keeps_its_type_and_gets_its_place(around, one):
    make, places = AROUND[around]
    assert notes(lambda: train(make(one)), RuntimeError) == places


@pytest.mark.parametrize("one", [BROKEN, UNMADE], ids=["apply", "init"])
def test_a_bug_in_a_layer_of_a_model(one):
    def forward(layers, x):
        return layers.head(layers.mine(x))

    name, line = notes(lambda: train(fnn.Model(forward, mine=one, head=fnn.Dense(3))), RuntimeError)
    assert name == "in layer 'mine'"
    assert line.startswith("in model, line ")
    assert "layers.mine(x)" in line


def test_a_bug_of_training_alone_gets_its_place():
    def apply(params, state, x, *, key=None, train=False):
        return (broken(x) if train else x), state

    model = fnn.Sequential(fnn.Dense(3), fnn.Layer(lambda key, x: ({}, {}), apply, "mine"))
    assert notes(lambda: train(model), RuntimeError) == ["in layer 'mine' (position 1)"]


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda p: None, r"data > loss: expected one value per example, of shape \(6,\), got None\. Does it end in"),
        (lambda p: p, r"loss: expected one value.*, got float32\[6, 3\]\. Take the mean over the other axes"),
        (lambda p: p.mean(), r"loss: expected one value.*, got float32\[\]\. Leave out the mean"),
        (lambda p: (p[:, 0], p[:, 1]), r"loss: expected one value.*, got a tuple\."),
        (lambda p: p.argmax(-1), r"loss: expected floating-point numbers, got int32\[6\]\. .*astype\('float32'\)"),
    ],
)
def test_what_a_loss_returns(returned, words):
    task = fnn.Task(fnn.Sequential(fnn.Dense(3)), lambda predictions, targets: returned(predictions))
    ts = fnn.init(task, KEY, X)
    with pytest.raises(fnn.InputError, match=words):
        fnn.fit(task, ts, (X, Y), verbose=0)
    with pytest.raises(fnn.InputError, match=words.replace("data > ", "").replace(r"\(6,\)", r"\(batch,\)")):
        fnn.train_step(task, ts, (X, Y))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda p: None, r"data > metric '<lambda>': expected one value per example.*got None\. Does it end in a"),
        (lambda p: p, r"got float32\[6, 3\]\. Take the mean over the other axes"),
        (lambda p: p.mean(), r"got float32\[\]\. Leave out the mean"),
    ],
)
def test_what_a_metric_returns(returned, words):
    with pytest.raises(fnn.InputError, match=words):
        train(metrics=[lambda predictions, targets: returned(predictions)])


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: fnn.Sequential(fnn.Dense(3), one)])
def test_what_a_layer_returns(wrap):
    def init(key, x):
        return {}, {}

    def apply(params, state, x, *, key=None, train=False):
        return x, state

    with pytest.raises(fnn.InputError, match=r"init: expected the pair \(params, state\), got a dict\. Return \("):
        train(wrap(fnn.Layer(lambda key, x: {}, apply)))
    with pytest.raises(
        fnn.InputError, match=r"apply: expected the pair \(y, state\), got float32.*Return \(y, state\)"
    ):
        train(wrap(fnn.Layer(init, lambda params, state, x, *, key=None, train=False: x)))
    with pytest.raises(
        fnn.InputError, match=r"got None as y\. Does a function in it, such as an activation, end without"
    ):
        train(wrap(layer(lambda x: None)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: fnn.Task(fnn.Dense(1), lambda p: p),
            r"loss: expected a function \(predictions, targets\), got <lambda>\(p\)",
        ),
        (lambda: fnn.Task(fnn.Dense(1), "mse", metrics=[lambda p: p]), r"metric '<lambda>': .*got <lambda>\(p\)"),
        (lambda: fnn.Task(fnn.Dense(1), "mse", penalty=lambda: 0), r"Task: expected a function penalty\(params\)"),
        (
            lambda: fnn.Task(fnn.Dense(1), "mse", constraint=lambda p, q: p),
            r"constraint\(params\), got <lambda>\(p, q\)",
        ),
        (
            lambda: fnn.Dense(1, activation=lambda x, y: x),
            r"activation: expected a function \(x\), got <lambda>\(x, y\)",
        ),
        (
            lambda: fnn.Dense(1, kernel_initializer=lambda key: key).init(KEY, X),
            r"initializer: .*\(key, shape, dtype\)",
        ),
        (lambda: fnn.adam(lambda: 0.1), r"adam, learning_rate: expected a function \(step\), got <lambda>\(\)"),
        (lambda: fnn.Layer(lambda key: ({}, {}), BROKEN.apply), r"init: expected a function init\(key, x\), got"),
        (lambda: fnn.Layer(BROKEN.init, lambda p, s, x: (x, s)), r"apply: expected a function apply\(params, state, x"),
        (lambda: fnn.data.Stream(lambda: [(X, Y)]), r"Stream: expected a function batches\(epoch\), got <lambda>\(\)"),
    ],
)
def test_functions_of_other_arguments(call, words):
    with pytest.raises(fnn.InputError, match=words):
        call()


def test_functions_whose_arguments_are_unknown_or_have_defaults_are_taken():
    def loss(predictions, targets, margin=1.0):
        return (predictions[:, 0] - targets) ** 2 + margin

    assert np.isfinite(train(loss=loss)[1]["loss"]).all()
    fnn.Dense(1, activation=jnp.tanh)
    fnn.Dense(1, activation=jax.nn.relu)
    fnn.Activation(np.tanh)  # a function in C


@pytest.mark.parametrize("value", [None, "0.1", jnp.ones(2), [0.1]])
def test_a_function_of_the_step_returns_a_number(value):
    with pytest.raises(
        fnn.InputError, match="optimizer: expected a function of the step that returns a number for learn"
    ):
        train(optimizer=fnn.adam(lambda step: value))


def test_a_class_of_a_layer():
    with pytest.raises(TypeError, match=r"two functions, not a class.*class Mine, write.*fnn\.Layer\(init, apply\)"):

        class Mine(fnn.Layer):
            def init(self, key, x):
                return {}, {}


@pytest.mark.parametrize("base", [fnn.Sequential, fnn.Model, fnn.Dense])
def test_a_class_of_a_constructor_of_layers(base):
    with pytest.raises(
        TypeError, match=r"is a function, not a class to inherit from\..*write fnn\.Layer\(init, apply\)"
    ):

        class Mine(base):
            pass


def test_a_class_of_another_constructor():
    with pytest.raises(TypeError, match=r"^l2 is a function, not a class to inherit from\.$"):

        class Mine(fnn.penalties.l2):
            pass
