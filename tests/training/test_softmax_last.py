"""A model that ends in softmax or sigmoid trains as the same model without it, with losses that take logits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

RNG = np.random.default_rng(3)
X = RNG.normal(size=(14, 4)).astype("float32")
CLASSES = RNG.integers(0, 3, 14).astype("int32")
LABELS = RNG.integers(0, 2, (14, 2)).astype("float32")
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
WEIGHTS = RNG.uniform(0.5, 2.0, 14).astype("float32")
KEY = jax.random.key(1)

CASES = {
    "classes": ("softmax", 3, "sparse_categorical_crossentropy", CLASSES, ("accuracy", "f1", "top_k_accuracy")),
    "one-hot": ("softmax", 3, "categorical_crossentropy", ONE_HOT, ("accuracy", "recall")),
    "labels": ("sigmoid", 2, "binary_crossentropy", LABELS, ("accuracy", "precision")),
    "one label": ("sigmoid", 1, "binary_crossentropy", LABELS[:, 0], ("binary_accuracy",)),
    "signs": ("sigmoid", 1, "logistic", 2 * LABELS[:, :1] - 1, ("accuracy",)),
}


def models(activation, units):
    """Up to logits, and to probabilities in the two ways of writing it."""
    body = fnn.Dense(5, activation="tanh")
    return (
        fnn.Sequential(body, fnn.Dense(units)),
        fnn.Sequential(body, fnn.Dense(units, activation=activation)),
        fnn.Sequential(body, fnn.Dense(units), fnn.Activation(activation)),
    )


def start(task, x=X):
    return fnn.init(task, KEY, x[:1])


def values(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def same(a, b):
    for one, other in zip(values(a), values(b), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["classes", *(pytest.param(c, marks=pytest.mark.slow) for c in ("one label", "one-hot", "labels", "signs"))]
)
def test_losses_metrics_and_gradients_are_those_of_logits(case):
    activation, units, loss, y, metrics = CASES[case]
    tasks = [fnn.Task(model, loss, fnn.sgd(0.5), metrics) for model in models(activation, units)]
    batch = X, y, WEIGHTS
    runs = []
    for task in tasks:
        ts, logs = fnn.train_step(task, start(task), batch)
        runs.append((ts.params, logs, fnn.evaluate(task, ts, batch)))
    for run in runs[1:]:
        same(runs[0], run)
    probabilities = fnn.predict(tasks[1], start(tasks[1]), X)
    logits = fnn.predict(tasks[0], start(tasks[0]), X)
    np.testing.assert_allclose(probabilities, getattr(fnn.activations, activation)(logits), rtol=1e-6)


IMAGES = RNG.integers(0, 2, (6, 3, 4, 1)).astype("float32")
AFTER = {
    "reshape": (fnn.Dense(12), "sigmoid", [fnn.Reshape((3, 4, 1))]),
    "flatten": (fnn.Dense(1), "sigmoid", [fnn.Flatten(), fnn.Reshape((3, 4, 1))]),
    "permute": (fnn.Sequential(fnn.Dense(12), fnn.Reshape((4, 3, 1))), "sigmoid", [fnn.Permute((2, 1, 3))]),
    "cropping": (fnn.Sequential(fnn.Dense(30), fnn.Reshape((5, 6, 1))), "sigmoid", [fnn.Cropping(1)]),
}


@pytest.mark.parametrize("case", [pytest.param(c, marks=[] if c == "reshape" else pytest.mark.slow) for c in AFTER])
def test_layers_that_move_elements_may_follow(case):
    head, activation, after = AFTER[case]
    x = IMAGES if case == "flatten" else IMAGES.reshape(6, 12)
    runs = []
    for ending in ([], [fnn.Activation(activation)]):
        task = fnn.Task(fnn.Sequential(head, *ending, *after), "binary_crossentropy", fnn.sgd(0.5), ["binary_accuracy"])
        ts = start(task, x)
        ts, logs = fnn.train_step(task, ts, (x, IMAGES))
        runs.append((ts.params, logs, fnn.evaluate(task, ts, (x, IMAGES)), fnn.predict(task, ts, x)))
    same(runs[0][:3], runs[1][:3])
    np.testing.assert_allclose(runs[1][3], 1 / (1 + np.exp(-np.asarray(runs[0][3]))), rtol=1e-5)


@pytest.mark.slow
def test_whole_rows_of_a_softmax_may_move():
    x, y = RNG.normal(size=(4, 5)).astype("float32"), RNG.integers(0, 3, (4, 2)).astype("int32")
    for after in (fnn.Permute((2, 1, 3)), fnn.Reshape((2, 3))):
        runs = []
        for ending in ([], [fnn.Activation("softmax")]):
            shape = (2, 1, 3) if after.kind == "Permute" else (1, 2, 3)
            layers = fnn.Dense(6), fnn.Reshape(shape), *ending, after, fnn.Reshape((2, 3))
            task = fnn.Task(fnn.Sequential(*layers), "sparse_categorical_crossentropy", fnn.sgd(0.5))
            runs.append(fnn.train_step(task, start(task, x), (x, y)))
        same((runs[0][0].params, runs[0][1]), (runs[1][0].params, runs[1][1]))


@pytest.mark.parametrize("after", [fnn.Reshape((3, 2)), fnn.Permute((2, 1)), fnn.Flatten()])
def test_broken_rows_of_a_softmax_are_refused(after):
    model = fnn.Sequential(fnn.Dense(6), fnn.Reshape((2, 3)), fnn.Activation("softmax"), after)
    with pytest.raises(fnn.InputError, match="got one that ends in softmax"):
        start(fnn.Task(model, "sparse_categorical_crossentropy"))


def test_against_keras():
    keras = pytest.importorskip("keras")
    model = models("softmax", 3)[1]
    task = fnn.Task(model, "sparse_categorical_crossentropy", metrics=("accuracy",))
    ts = start(task)
    peer = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3, activation="softmax")]
    )
    peer.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    peer.set_weights(
        [np.array(ts.params[layer][leaf]) for layer in ("dense", "dense_1") for leaf in ("kernel", "bias")]
    )
    scores = fnn.evaluate(task, ts, (X, CLASSES))
    np.testing.assert_allclose(list(scores.values()), peer.evaluate(X, CLASSES, verbose=0), rtol=1e-5)
    np.testing.assert_allclose(fnn.predict(task, ts, X), peer.predict(X, verbose=0), rtol=1e-5)


def test_saturated_probabilities_lose_nothing():
    """In float16 exp(-27) is 0: from probabilities the loss could only be infinite, or clipped and without gradient."""
    for activation, loss, logits, y in (
        ("softmax", "sparse_categorical_crossentropy", [[27.0, 0.0]], [1]),
        ("sigmoid", "binary_crossentropy", [[27.0]], [[0.0]]),
    ):
        task = fnn.Task(fnn.Activation(activation), loss)
        x = jnp.asarray(logits, jnp.float16)
        assert fnn.evaluate(task, start(task, x), (x, np.asarray(y)))["loss"] == 27.0


def test_custom_metrics_see_probabilities():
    def top(predictions, targets):
        return predictions.max(-1)

    always = fnn.Metric(
        "sum", lambda p, t, w: (jnp.sum(p * w[:, None]), jnp.sum(w)), lambda totals: totals[0] / totals[1]
    )
    metrics = (top, always, "mse")
    task = fnn.Task(models("softmax", 3)[1], "categorical_crossentropy", metrics=metrics)
    scores = fnn.evaluate(task, start(task), (X, ONE_HOT))
    p = np.asarray(fnn.predict(task, start(task), X), np.float64)
    expected = [p.max(1).mean(), 1.0, np.square(p - ONE_HOT).mean()]
    np.testing.assert_allclose([scores["top"], scores["sum"], scores["mse"]], expected, rtol=1e-6)


def test_several_outputs():
    def forward(layers, x):
        h = layers.body(x)
        return {"class": layers.classes(h), "labels": layers.labels(h), "number": layers.number(h)}

    def model(softmax, sigmoid):
        heads = {"classes": fnn.Dense(3, softmax), "labels": fnn.Dense(2, sigmoid), "number": fnn.Dense(1, "sigmoid")}
        return fnn.Model(forward, body=fnn.Dense(5, "tanh"), **heads)

    losses = {"class": "sparse_categorical_crossentropy", "labels": "binary_crossentropy", "number": "mse"}
    metrics = {"class": ["accuracy"], "labels": ["accuracy"]}
    y = {"class": CLASSES, "labels": LABELS, "number": WEIGHTS[:, None]}
    runs = []
    for endings in ((None, None), ("softmax", "sigmoid"), ("softmax", None)):
        task = fnn.Task(model(*endings), losses, fnn.sgd(0.5), metrics)
        ts, logs = fnn.train_step(task, start(task), (X, y))
        runs.append((ts.params, logs))
    same(runs[0], runs[1])
    same(runs[0], runs[2])


@pytest.mark.slow
def test_masked_steps():
    x = fnn.Masked(RNG.normal(size=(3, 4, 2)).astype("float32"), np.arange(4) < np.array([[4], [2], [3]]))
    y = RNG.integers(0, 3, (3, 4)).astype("int32")
    runs = []
    for activation in (None, "softmax"):
        model = fnn.Sequential(fnn.SimpleRNN(3, return_sequences=True), fnn.Dense(3, activation))
        task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(0.5), ("accuracy", lambda p, t: p.max(-1)))
        ts, logs = fnn.train_step(task, start(task, x), (x, y))
        largest = logs.pop("<lambda>")
        runs.append((ts.params, logs))
    same(*runs)
    p = np.asarray(task.model.apply(start(task, x).params, {}, x)[0].x)
    np.testing.assert_allclose(largest, p.max(-1)[np.asarray(x.mask)].mean(), rtol=1e-6)


@pytest.mark.slow
def test_ensembles_reports_and_derivatives():
    logits, probabilities = (
        fnn.Task(model, "sparse_categorical_crossentropy", metrics=("accuracy",)) for model in models("softmax", 3)[:2]
    )
    batch = X, CLASSES
    found = []
    for task in (logits, probabilities):
        ts = start(task)
        members = fnn.Ensemble.of(task, [ts, fnn.init(task, jax.random.key(2), X[:1])])
        values = fnn.training.probe.layer_values(task, ts, batch)
        found.append(
            (
                members.predict(X).mean,
                members.evaluate(batch),
                fnn.example_gradients(task, ts, batch),
                fnn.run(task, ts, batch, epochs=2, batch_size=8)[0].params,
                (values.losses, values.gradients, values.output_gradients),
            )
        )
    same(*found)


def test_a_softmax_that_does_not_belong_to_the_loss_is_refused():
    for activation, loss in (
        ("softmax", "binary_crossentropy"),
        ("sigmoid", "categorical_crossentropy"),
        (jax.nn.softmax, "categorical_crossentropy"),
    ):
        with pytest.raises(fnn.InputError, match=r"Task: expected a model that ends in logits.*by name"):
            start(fnn.Task(fnn.Dense(3, activation), loss))


def heads(join, activation="softmax", units=2):
    layers = {"a": fnn.Dense(units, activation), "b": fnn.Dense(units, activation)}
    return fnn.Model(lambda layers, x: join(layers.a(x), layers.b(x)), **layers)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (heads(lambda a, b: jnp.concatenate([a, b], -1), "sigmoid", 1), "binary_crossentropy"),
        (heads(lambda a, b: (a + b) / 2), "sparse_categorical_crossentropy"),
        (heads(lambda a, b: 0.3 * a + 0.7 * b), "sparse_categorical_crossentropy"),
        (heads(lambda a, b: jnp.clip(a, 1e-7, 1 - 1e-7)), "sparse_categorical_crossentropy"),
        (heads(lambda a, b: jnp.where(b > a, a, b)), "sparse_categorical_crossentropy"),
        (heads(lambda a, b: jnp.exp(-jnp.sum((a - b) ** 2, -1, keepdims=True)), None), "binary_crossentropy"),
        (fnn.Sequential(fnn.Dense(3, "softmax"), fnn.Repeated(fnn.Dense(3, "softmax"), 2)), "categorical_crossentropy"),
        (fnn.Rematerialized(fnn.Dense(3, "softmax")), "categorical_crossentropy"),
    ],
)
def test_probabilities_of_other_forms_are_refused(model, loss):
    with pytest.raises(fnn.InputError, match=r"(lie between 0 and 1|ends in softmax)"):
        start(fnn.Task(model, loss))
    start(fnn.Task(model, "mse"))


def test_outputs_that_only_look_like_probabilities_are_accepted():
    for join in (lambda a, b: a - b, lambda a, b: 2 * a, lambda a, b: jnp.log(a), lambda a, b: a / (b + 1e-3)):
        start(fnn.Task(heads(join), "sparse_categorical_crossentropy"))
    start(fnn.Task(fnn.Dense(2, "relu"), "sparse_categorical_crossentropy"))


def test_training_and_evaluation_must_read_the_same_logits():
    model = fnn.Sequential(fnn.Dense(3, "softmax"), fnn.Dropout(0.5))
    with pytest.raises(fnn.InputError, match=r"last operation in training too.*Put layers"):
        start(fnn.Task(model, "sparse_categorical_crossentropy"))


def traces_of(activation):
    """How often init, fit and evaluate trace a model in training mode, and outside it."""
    traces, found = [], []

    def apply(params, state, x, *, key=None, train=False):
        traces.append(train)
        return x, state

    counter = fnn.Layer(lambda key, x: ({}, {}), apply, per_example=True)
    task = fnn.Task(fnn.Sequential(counter, fnn.Dense(3, activation)), "sparse_categorical_crossentropy")
    ts = start(task)
    for run in (
        lambda: None,
        lambda: fnn.fit(task, ts, (X, CLASSES), epochs=1, validation_data=(X[:5], CLASSES[:5]), verbose=0),
        lambda: fnn.evaluate(task, ts, (X, CLASSES)),
        lambda: fnn.evaluate(task, ts, (X[:9], CLASSES[:9])),
    ):
        run()
        found.append((traces.count(True), traces.count(False)))
        traces.clear()
    return found


def test_a_last_softmax_costs_one_trace():
    (init, *others), (init_of_softmax, *same) = traces_of(None), traces_of("softmax")
    assert init_of_softmax == (init[0] + 1, init[1])
    assert same == others
    assert [train for train, _ in others] == [1, 0, 0]


def test_softmax_of_each_step():
    x, y = RNG.normal(size=(3, 4, 2)).astype("float32"), RNG.integers(0, 3, (3, 4)).astype("int32")
    runs = []
    for activation in (None, "softmax"):
        model = fnn.TimeDistributed(fnn.Dense(3, activation))
        task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(0.5), ("accuracy",))
        ts, logs = fnn.train_step(task, start(task, x), (x, y))
        runs.append((ts.params, logs))
    same(*runs)


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(fnn.LSTM(3, activation="relu"), marks=pytest.mark.slow),
        fnn.Repeated(fnn.Dense(4, "sigmoid"), 2),
        fnn.Rematerialized(fnn.Dense(3, "tanh")),
    ],
    ids=lambda layer: layer.kind,
)
def test_no_traced_value_is_kept(layer):
    x = RNG.normal(size=(3, 4, 4)).astype("float32")
    x = x if layer.kind == "LSTM" else x[:, 0]
    task = fnn.Task(fnn.Sequential(layer, fnn.Dense(3, "softmax")), "sparse_categorical_crossentropy")
    with jax.checking_leaks():
        fnn.train_step(task, start(task, x), (x, CLASSES[:3]))


def test_from_logits_false_reads_probabilities_as_before():
    loss = partial(fnn.losses.sparse_categorical_crossentropy, from_logits=False)
    task = fnn.Task(models("softmax", 3)[1], loss)
    p = np.asarray(fnn.predict(task, start(task), X), np.float64)
    expected = -np.log(p[np.arange(14), CLASSES]).mean()
    np.testing.assert_allclose(fnn.evaluate(task, start(task), (X, CLASSES))["loss"], expected, rtol=1e-6)


def own(fn):
    """A user's layer without parameters."""
    return fnn.Layer(lambda key, x: ({}, {}), lambda params, state, x, **_: (fn(x), state), name="own")


NESTED = fnn.Sequential(fnn.Dense(5, "tanh"), fnn.Sequential(fnn.Dense(3), fnn.Activation("softmax")))
SHARED = fnn.Model(lambda layers, x: layers.head(layers.head(x)), head=fnn.Dense(4, "tanh"))
ENDINGS = {
    "logits": ("logits", fnn.Dense(3)),
    "logits of a block": ("logits", fnn.Sequential(SHARED, fnn.Repeated(fnn.Dense(4, "tanh"), 2), fnn.Dense(3))),
    "differences of probabilities": ("logits", heads(lambda a, b: a - b, units=3)),
    "nested": ("read", NESTED),
    "model": ("read", fnn.Model(lambda layers, x: layers.inner(x), inner=NESTED)),
    "own softmax of fnn": ("read", fnn.Sequential(fnn.Dense(3), own(fnn.activations.softmax))),
    "jax": ("softmax", fnn.Dense(3, jax.nn.softmax)),
    "own": ("softmax", fnn.Sequential(fnn.Dense(3), own(jax.nn.softmax))),
    "repeated": ("softmax", fnn.Sequential(fnn.Dense(3), fnn.Repeated(fnn.Dense(3, "softmax"), 2))),
    "rematerialized": ("softmax", fnn.Rematerialized(NESTED)),
    "sigmoid": ("probabilities", fnn.Dense(3, "sigmoid")),
    "mean": ("probabilities", heads(lambda a, b: (a + b) / 2, units=3)),
    "own mean": ("probabilities", fnn.Sequential(fnn.Dense(3), own(lambda x: (jax.nn.softmax(x) + 1 / 3) / 2))),
    "repeated mean": (
        "probabilities",
        fnn.Sequential(fnn.Dense(3), fnn.Repeated(heads(lambda a, b: (a + b) / 2, units=3), 2)),
    ),
}


QUICK = ("logits", "mean")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in ENDINGS])
def test_every_door_sees_the_same_ending(name):
    """A task, an estimator and a text generator, which is to read logits or probabilities alike."""
    ending, model = ENDINGS[name]
    params, state = model.init(KEY, X[:1])
    params = jax.tree.map(lambda a: 4 * a, params)
    y = np.asarray(model.apply(params, state, X)[0])
    raw = ending == "logits"

    # A task with a loss that takes logits: it reads those before the softmax, or refuses.
    task = fnn.Task(model, "sparse_categorical_crossentropy")
    if ending in ("logits", "read"):
        p = np.asarray(jax.nn.softmax(y)) if raw else y
        loss = fnn.evaluate(task, start(task)._replace(params=params), (X, CLASSES))["loss"]
        np.testing.assert_allclose(loss, -np.log(p[np.arange(14), CLASSES]).mean(), rtol=1e-5)
    else:
        with pytest.raises(fnn.InputError, match="Task: expected a model that ends in logits"):
            start(task)

    # An estimator with a loss of the user's, whose outputs may be either.
    fitted = fnn.Classifier(model, loss=lambda p, t: p.sum(-1), epochs=1, batch_size=14, verbose=0).fit(X, CLASSES)
    outputs = np.asarray(fitted.task_.model.apply(fitted.state_.params, fitted.state_.state, X)[0])
    p = np.asarray(jax.nn.softmax(outputs)) if raw else outputs / outputs.sum(1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X), p, rtol=1e-4)

    # A generator, which refuses what may be other than a distribution.
    def write(from_logits):
        predict = lambda ids: model.apply(params, state, jnp.asarray(X)[ids[:, -1]])[0]  # noqa: E731
        return fnn.text.generate(predict, KEY, [0, 1], 60, from_logits=from_logits).tolist()

    if ending == "probabilities":
        with pytest.raises(fnn.InputError, match="expected logits or the output of a softmax"):
            write(None)
    else:
        assert write(None) == write(raw) != write(not raw)
