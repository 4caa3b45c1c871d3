"""The area under curves: exact against scikit-learn, binned against Keras, whatever the batches."""

from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import sklearn.metrics as sk
from helpers import over_batches, some

import fnn
from fnn import losses, metrics
from fnn.metrics import get_metric

REFERENCES = {"roc": sk.roc_auc_score, "pr": sk.average_precision_score}


def scores_and_labels(rng, rows=40, labels=None):
    shape = rows if labels is None else (rows, labels)
    t = (rng.uniform(size=shape) < 0.4).astype("int32")
    t[:2] = [0, 1] if labels is None else [[0] * labels, [1] * labels]
    # Rounding makes ties, also between examples of both classes.
    return np.round(rng.normal(size=shape) + 0.8 * t, 1).astype("float32"), t, rng.uniform(0, 2, rows).astype("float32")


@pytest.mark.slow
@pytest.mark.parametrize("curve", some(["roc", "pr"], "roc"))
def test_scores_in_any_range_match_scikit_learn(curve, rng):
    for seed in range(3):
        p, t, w = scores_and_labels(np.random.default_rng(seed))
        assert len(np.unique(p)) < len(p)
        for weights in (None, w):
            want = REFERENCES[curve](t, p, sample_weight=weights)
            for predictions, targets in ((p, t), (p[:, None], t), (p, t[:, None]), (p, 2 * t - 1), (p * 9 - 3, t == 1)):
                got = metrics.auc(predictions, targets, curve=curve, sample_weight=weights)
                assert float(got) == pytest.approx(want, rel=1e-6)
    assert float(jax.jit(partial(metrics.auc, curve=curve))(p, t)) == pytest.approx(REFERENCES[curve](t, p), rel=1e-5)
    same = metrics.auc(np.zeros(5), [0, 1, 1, 0, 1], curve=curve)
    assert float(same) == pytest.approx(0.5 if curve == "roc" else 0.6)


@pytest.mark.parametrize("curve", some(["roc", "pr"], "pr"))
def test_labels_and_classes_match_scikit_learn(curve, rng):
    p, t, w = scores_and_labels(rng, labels=3)
    want = REFERENCES[curve](t, p, average="macro", sample_weight=w)
    assert float(metrics.auc(p, t, curve=curve, sample_weight=w)) == pytest.approx(want, rel=1e-6)
    classes = rng.integers(0, 3, 40)
    q = np.asarray(jax.nn.softmax(p + np.eye(3)[classes]))
    rows = np.eye(3, dtype=int)[classes]
    want = REFERENCES[curve](rows, q, average="macro", sample_weight=w)
    if curve == "roc":
        assert want == pytest.approx(sk.roc_auc_score(classes, q, multi_class="ovr", sample_weight=w))
    for targets in (classes, classes[:, None], rows, rows.astype("float32")):
        assert float(metrics.auc(q, targets, curve=curve, sample_weight=w)) == pytest.approx(want, rel=1e-6)
    two = np.stack([1 - q[:, 1], q[:, 1]], 1)
    want = REFERENCES[curve](classes == 1, q[:, 1])
    assert float(metrics.auc(two, (classes == 1).astype(int), curve=curve)) == pytest.approx(want, rel=1e-6)
    # Steps are examples with the weight of their row.
    steps = metrics.auc(p.reshape(10, 4, 3), t.reshape(10, 4, 3), curve=curve, sample_weight=w[:10])
    want = REFERENCES[curve](t, p, average="macro", sample_weight=np.repeat(w[:10], 4))
    assert float(steps) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(
    ("curve", "thresholds"),
    some([("roc", 200), ("pr", 7), ("pr", 200), ("roc", 7)], ("pr", 7)),
)
def test_binned_areas_match_keras_over_any_batches(curve, thresholds, rng):
    p, t, w = scores_and_labels(rng, 60, 2)
    p = 1 / (1 + np.exp(-2 * p))
    p[:4, 0] = [0, 1, 3 / (thresholds - 1), 0.5]
    for scores, labels, several in ((p, t, True), (p[:, :1], t[:, 0], False)):
        theirs = keras.metrics.AUC(thresholds, curve=curve.upper(), multi_label=several, num_labels=2 * several or None)
        given = None if several else w

        @jax.jit  # as one operation after the other it compiles a hundred programs
        def area(labels, scores, weights, theirs=theirs):
            start = [variable.value for variable in theirs.variables]
            return theirs.stateless_result(theirs.stateless_update_state(start, labels, scores, weights))

        want = float(area(labels.reshape(scores.shape), scores, given))
        metric = metrics.binned_auc(curve, thresholds=thresholds, multi_label=several)
        weights = np.ones(60, "float32") if several else w
        for cuts in ([], [7, 40]):
            got = over_batches(metric, scores, labels, weights, cuts)
            assert got == pytest.approx(want, rel=2e-5)


@pytest.mark.slow
def test_a_task_bins_scores_by_its_loss(rng):
    p, t, w = scores_and_labels(rng, 60, 3)
    classes, q = t.argmax(1), np.asarray(jax.nn.softmax(p))
    probabilities = partial(losses.binary_crossentropy, from_logits=False)
    shares = partial(losses.categorical_crossentropy, from_logits=False)
    each = np.eye(3)[classes]
    cases = (
        ("binary_crossentropy", p, t, sk.roc_auc_score(t, p, sample_weight=w)),
        ("hinge", p, 2 * t - 1, sk.roc_auc_score(t, p, sample_weight=w)),
        (probabilities, np.asarray(jax.nn.sigmoid(p)), t, sk.roc_auc_score(t, p, sample_weight=w)),
        ("sparse_categorical_crossentropy", p, classes, sk.roc_auc_score(each, q, sample_weight=w)),
        ("categorical_hinge", p, each, sk.roc_auc_score(each, q, sample_weight=w)),
        (shares, q, each, sk.roc_auc_score(each, q, sample_weight=w)),
        ("binary_crossentropy", p[:, :1], t[:, 0], sk.roc_auc_score(t[:, 0], p[:, 0], sample_weight=w)),
    )
    for loss, outputs, targets, want in cases:
        metric = get_metric("auc", losses.get_loss(loss))
        assert metric.name == "auc"
        assert over_batches(metric, outputs, targets, w, [13]) == pytest.approx(want, abs=5e-3)
        finer = get_metric(metrics.binned_auc(thresholds=5000), losses.get_loss(loss))
        assert over_batches(finer, outputs, targets, w, []) == pytest.approx(want, abs=1e-3)


def test_the_metric_says_that_it_is_binned():
    assert repr(get_metric("auc")) == "binned_auc('roc')"
    assert repr(get_metric("AUC", losses.binary_crossentropy)) == (
        "binned_auc('roc', name='AUC', from_logits=True, multi_label=True)"
    )
    assert repr(get_metric("pr_auc", losses.mean_squared_error)) == "binned_auc('pr')"
    given = metrics.binned_auc(thresholds=50, from_logits=False)
    assert repr(get_metric(given, losses.categorical_crossentropy)) == "binned_auc(thresholds=50, from_logits=True)"
    assert get_metric(metrics.auc, losses.hinge) == get_metric("auc", losses.hinge)
    names = [get_metric(name).name for name in ("auc", "AUC", "roc_auc", "pr_auc", metrics.binned_auc("pr", name="a"))]
    assert names == ["auc", "AUC", "roc_auc", "pr_auc", "a"]


def test_undefined_areas():
    w = np.ones(3, "float32")
    metric = get_metric("auc")
    assert np.isnan(over_batches(metric, np.array([0.1, 0.5, 0.7], "f"), np.array([1, 1, 1]), w, []))
    several = metrics.binned_auc(multi_label=True)
    p, t = np.array([[0.1, 0.2], [0.5, 0.9], [0.7, 0.4]], "f"), np.array([[1, 0], [1, 1], [1, 0]])
    assert over_batches(several, p, t, w, [2]) == 1  # the first label is left out
    assert float(jax.jit(partial(metrics.auc, multi_label=True))(p, t)) == 1
    outside = np.array([0.1, 1.5, -0.7], "f")
    assert np.isnan(over_batches(metric, outside, np.array([1, 0, 1]), w, []))
    assert over_batches(metric, outside, np.array([1, 0, 0]), np.array([1, 0, 0], "f") + [0, 0, 0], []) != 1


def test_nan_is_the_worst_score_in_compiled_code():
    p, t, w = jnp.array([0.9, 0.1, jnp.nan, jnp.nan]), jnp.array([1, 0, 1, 0]), jnp.ones(4)
    want = sk.roc_auc_score([1, 0, 1, 0], [0.9, 0.1, 0, 1])
    assert float(jax.jit(metrics.auc)(p, t)) == pytest.approx(want)
    assert over_batches(get_metric("auc"), np.asarray(p), np.asarray(t), np.asarray(w), []) == pytest.approx(want)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.auc([0, 1, 1], [0.2, 0.6, 0.7]), r"floating-point x, .*Predictions come first"),
        (lambda: metrics.auc([0.0, 1.0, 1.0], [0.2, 0.6, 0.7]), r"targets of 0 and 1, .*swapped"),
        (lambda: metrics.auc([0.2, 0.6], [1, 1]), "with examples of both classes, .* got none of class 0"),
        (lambda: metrics.auc([[0.2, 0.6], [0.1, 0.2]], [[1, 0], [0, 0]]), "got no example of column 1"),
        (lambda: metrics.auc([[0.2, 0.6], [0.1, 0.2]], [[1, 1], [0, 1]]), "got only examples of column 1"),
        (lambda: metrics.auc([[2.0, 1, 0], [1, 0, 3]], [0, 2]), r"probabilities in \[0, 1\].*softmax"),
        (lambda: metrics.auc([[0.9, 0.9, 0.1], [1, 0, 0.0]], [0, 2]), "rows that sum to 1"),
        (lambda: metrics.auc([0.2, np.nan], [0, 1]), "predictions without NaN"),
        (lambda: metrics.auc([0.2, 0.3, 0.1], [0, 1]), "of the same length"),
        (lambda: metrics.auc([0.2, 0.3], [0, 2]), "targets of 0 and 1"),
        (lambda: metrics.auc([0.2, 0.3], [0, 1], curve="prg"), "curve 'roc' or 'pr', got 'prg'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=f"^auc: .*{message}"):
        call()


def test_errors_of_binned_auc():
    with pytest.raises(fnn.InputError, match="binned_auc: expected thresholds to be an integer of at least 2, got 1"):
        metrics.binned_auc(thresholds=1)
    with pytest.raises(fnn.InputError, match="binned_auc: expected curve 'roc' or 'pr', got 'ROC'"):
        metrics.binned_auc("ROC")


@pytest.mark.slow
def test_history_and_evaluate_know_the_area(rng):
    x = rng.normal(size=(50, 3)).astype("float32")
    y = (x[:, 0] + 0.3 * rng.normal(size=50) > 0).astype("float32")
    task = fnn.Task(fnn.Dense(1), "bce", fnn.adam(0.1), metrics=["AUC", "pr_auc", "acc"])
    ts = fnn.init(task, jax.random.key(0), x)
    stop = fnn.early_stopping("val_AUC", patience=20)
    ts, history = fnn.fit(
        task, ts, (x, y), epochs=3, batch_size=16, validation_data=(x, y), callbacks=[stop], verbose=0
    )
    assert {"AUC", "val_AUC", "pr_auc", "acc", "val_acc"} <= set(history)
    logs = fnn.evaluate(task, ts, (x, y), batch_size=11)
    p = np.asarray(fnn.predict(task, ts, x))[:, 0]
    assert logs["AUC"] == pytest.approx(sk.roc_auc_score(y, p), abs=5e-3)
    assert logs["pr_auc"] == pytest.approx(sk.average_precision_score(y, p), abs=2e-2)
    assert logs["acc"] == pytest.approx(((p > 0) == y).mean())


@pytest.mark.slow
def test_a_sweep_compares_areas(rng):
    x = rng.normal(size=(40, 2)).astype("float32")
    y = (x[:, 0] - x[:, 1] + rng.normal(size=40) > 0).astype("float32")
    task = fnn.Task(fnn.Dense(1), "bce", fnn.sgd(0.1), metrics=["auc", "mean_iou", "balanced_accuracy", "hinge"])

    def trial(seed, rate):
        ts = fnn.set_hyper(fnn.init(task, jax.random.key(seed), x), learning_rate=rate)
        return fnn.run(task, ts, (x, y), epochs=2, batch_size=16, validation_data=(x, y))

    found = fnn.sweep(trial, {"seed": [3], "rate": [0.0, 0.5]}, monitor="val_auc", keep="all", verbose=0)
    logs = [fnn.evaluate(task, ts, (x, y)) for ts in found.states]
    assert logs[0]["auc"] != logs[1]["auc"]
    assert found.best["rate"] == (0.5 if logs[1]["auc"] > logs[0]["auc"] else 0.0)
    for i in range(2):
        for name in ("auc", "mean_iou", "balanced_accuracy", "hinge"):
            assert float(found.histories[i][f"val_{name}"][-1]) == pytest.approx(logs[i][name], rel=1e-4)


def test_outputs_that_may_be_any_number_are_refused_in_bins():
    """They were NaN wherever an output left [0, 1]."""
    x = np.array([[-2.0], [0.5], [3.0]], np.float32)
    y = np.array([0.0, 1.0, 1.0], np.float32)

    def evaluate(model, loss, metric):
        task = fnn.Task(model, loss, metrics=[metric])
        ts = fnn.init(task, jax.random.key(0), x)
        return fnn.evaluate(task, ts._replace(params=jax.tree.map(jnp.ones_like, ts.params)), (x, y))

    def own(p, t):
        return jnp.logaddexp(0.0, p[:, 0]) - t * p[:, 0]

    message = r"metric 'auc': expected scores in \[0, 1\].*any number.*from_logits=True"
    for model, loss in ((fnn.Dense(1), "mse"), (fnn.Dense(1, "tanh"), "mse"), (fnn.Dense(1), own)):
        with pytest.raises(fnn.InputError, match=message):
            evaluate(model, loss, "auc")
    assert evaluate(fnn.Dense(1), own, metrics.binned_auc(from_logits=True))["auc"] == 1
    assert evaluate(fnn.Dense(1, "sigmoid"), "mse", "auc")["auc"] == 1
    fnn.init(fnn.Task(fnn.Dense(1), "hinge", metrics=["auc"]), jax.random.key(0), x)
