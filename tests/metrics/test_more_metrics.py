"""Balanced accuracy, IoU, percentage errors, losses as metrics, Keras's names, and rows that must not be mixed."""

import functools

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


@pytest.fixture(scope="module")
def data():
    """Scores of five classes, of which one is never true, one never predicted and one neither; labels and weights."""
    rng = np.random.default_rng(4)
    t = rng.choice(5, 40, p=[0.2, 0.5, 0.3, 0, 0]).astype("int32")
    p = rng.normal(size=(40, 5)).astype("float32") + 1.5 * np.eye(5, dtype="float32")[t]
    p[:, 2] = p[:, 4] = -9
    return p, t, rng.uniform(0, 2, 40).astype("float32")


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:Explicitly requested dtype int64")
def test_classes_match_scikit_learn_and_keras(data):
    p, t, w = data
    best = p.argmax(1).astype("int32")
    theirs = keras.metrics.MeanIoU(5)
    theirs.update_state(t, best)
    assert float(theirs.result()) == pytest.approx(sk.jaccard_score(t, best, average="macro"), 1e-5)
    for name, reference in (
        ("balanced_accuracy", sk.balanced_accuracy_score),
        ("mean_iou", functools.partial(sk.jaccard_score, average="macro")),
    ):
        want, fn = reference(t, best, sample_weight=w), getattr(metrics, name)
        for pair in ((p, t), (best, t)):
            assert float(fn(*pair, sample_weight=w)) == pytest.approx(want, rel=1e-5)
        forms = [(p, t[:, None]), (p, np.eye(5)[t]), (best, t.astype("uint8"))]
        pixels = p.reshape(5, 4, 2, 5), t.reshape(5, 4, 2)

        @jax.jit  # one program, since compiling takes the time
        def compiled(forms, w, *plain, fn=fn):
            weighted = [fn(*pair, num_classes=5, sample_weight=w) for pair in forms]
            return weighted, [fn(*pair) for pair in plain]

        found, plain = compiled([(p, t), (best, t), *forms], w, (p, t), pixels)
        assert [float(value) for value in found] == pytest.approx([want] * 5, rel=1e-5)
        assert [float(value) for value in plain] == pytest.approx([reference(t, best)] * 2, rel=1e-5)
        assert over_batches(get_metric(name, losses.categorical_crossentropy), p, t, w) == pytest.approx(want, rel=1e-5)
        assert over_batches(get_metric(name), p, np.eye(5)[t], w) == pytest.approx(want, rel=1e-5)


def test_a_single_score_and_several_labels(rng):
    p = rng.uniform(size=(30, 3)).astype("float32")
    t, w = (rng.uniform(size=(30, 3)) < 0.4).astype("int32"), rng.uniform(0, 2, 30).astype("float32")
    balanced = [sk.balanced_accuracy_score(t[:, k], p[:, k] > 0.5, sample_weight=w) for k in range(3)]
    overlap = sk.jaccard_score(t, p > 0.5, average="macro", sample_weight=w)
    first = sk.jaccard_score(t[:, 0], p[:, 0] > 0.5, average="macro", sample_weight=w)
    logits = np.log(p / (1 - p))
    for name, of_labels, of_one in (
        ("balanced_accuracy", np.mean(balanced), balanced[0]),
        ("mean_iou", overlap, first),
    ):
        fn, metric = getattr(metrics, name), get_metric(name, losses.binary_crossentropy)
        assert float(fn(p, t, sample_weight=w)) == pytest.approx(of_labels, rel=1e-5)
        assert over_batches(metric, logits, t, w) == pytest.approx(of_labels, rel=1e-5)

        @jax.jit
        def compiled(p, logits, t, w, fn=fn):
            several = fn(logits, 2 * t - 1, threshold=0, multi_label=True, sample_weight=w)
            forms = ((p[:, 0], t[:, 0]), (p[:, :1], t[:, 0]), (p[:, 0], t[:, :1]))
            return several, [fn(*pair, sample_weight=w) for pair in forms]

        several, one = compiled(p, logits, t, w)
        assert float(several) == pytest.approx(of_labels, rel=1e-5)
        assert [float(value) for value in one] == pytest.approx([of_one] * 3, rel=1e-5)
        assert over_batches(get_metric(name), p[:, :1], t[:, 0], w) == pytest.approx(of_one, rel=1e-5)


def test_nan_counts_as_wrong_in_compiled_code():
    p, t = jnp.array([[jnp.nan, 0], [1, 0], [0, 1.0]]), jnp.array([0, 0, 1])
    assert float(jax.jit(metrics.balanced_accuracy)(p, t)) == 0.75
    assert float(jax.jit(metrics.mean_iou)(p, t)) == 0.75  # class 0 is predicted once of two
    with pytest.raises(fnn.InputError, match=r"balanced_accuracy: .*without NaN"):
        metrics.balanced_accuracy(p, t)


def test_percentage_errors_match_scikit_learn(rng):
    p, t, w = rng.normal(size=(20, 2)), rng.uniform(0.5, 3, (20, 2)), rng.uniform(size=20)
    want = 100 * sk.mean_absolute_percentage_error(t, p, sample_weight=w)
    assert float(metrics.mape(p, t, sample_weight=w)) == pytest.approx(want, rel=1e-6)
    assert over_batches(get_metric("mape"), *(a.astype("float32") for a in (p, t, w))) == pytest.approx(want, rel=1e-5)


# ---------------------------------------------------------------------------------------------------------- names
KERAS_NAMES = {
    "accuracy": ("acc", "Accuracy"),
    "categorical_accuracy": ("sparse_categorical_accuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy"),
    "binary_accuracy": ("BinaryAccuracy",),
    "top_k_accuracy": ("top_k", "top_k_categorical_accuracy", "SparseTopKCategoricalAccuracy"),
    "precision": ("Precision",),
    "f1": ("f1_score", "F1Score"),
    "mse": ("MSE", "mean_squared_error", "MeanSquaredError"),
    "mae": ("MAE", "mean_absolute_error"),
    "mape": ("mean_absolute_percentage_error",),
    "rmse": ("root_mean_squared_error", "RootMeanSquaredError"),
    "r2": ("r2_score", "R2Score"),
    "auc": ("AUC",),
    "mean_iou": ("MeanIoU", "mean_io_u"),
    "kl_divergence": ("kld", "KLDivergence"),
    "log_cosh": ("logcosh", "LogCoshError"),
    "cosine_similarity": ("CosineSimilarity",),
    "binary_crossentropy": ("bce", "BinaryCrossentropy"),
    "mean_squared_logarithmic_error": ("msle",),
}


@pytest.mark.slow
def test_keras_names_are_the_keys_as_they_are_written():
    for name, others in KERAS_NAMES.items():
        for other in (name, *others):
            metric = get_metric(other)
            assert (metric.name, metric.spec) == (other, name)
            assert metrics.direction(f"val_{other}") == metrics.direction(name)
    x, y = np.ones((8, 2), "float32"), np.zeros(8, "int32")
    task = fnn.Task(fnn.Dense(3), "SparseCategoricalCrossentropy", metrics=["acc", "sparse_categorical_accuracy"])
    ts = fnn.init(task, jax.random.key(0), x)
    stop = fnn.early_stopping("val_acc", patience=2)
    _, history = fnn.fit(task, ts, (x, y), validation_data=(x, y), epochs=2, callbacks=[stop], verbose=0)
    assert {"acc", "val_acc", "sparse_categorical_accuracy", "val_sparse_categorical_accuracy"} <= set(history)
    assert repr(task.metrics[0]) == "get_metric('acc', sparse_categorical_crossentropy)"


def test_a_metric_keeps_its_name_with_another_loss():
    assert repr(get_metric(get_metric("Accuracy"), losses.hinge)) == "get_metric('Accuracy', hinge)"
    for given, name in ((get_metric("acc"), "acc"), (get_metric("accuracy").replace(name="hits"), "hits")):
        made = get_metric(given, losses.binary_crossentropy)
        assert made.name == name
        assert over_batches(made, np.array([[0.2, -3]] * 6, "f"), np.array([[1, 0]] * 6), np.ones(6, "f")) == 1


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "auc",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("f1", "mean_iou", "top_k_accuracy", "mse")),
    ],
)
def test_a_task_keeps_what_was_replaced_in_a_metric(name, rng):
    loss = "mse" if name == "mse" else "sparse_categorical_crossentropy"
    x, y = rng.normal(size=(30, 3)).astype("f"), rng.integers(0, 6, 30)
    y = np.eye(6, dtype="f")[y] if name == "mse" else y
    own = get_metric(name, losses.LOSSES[loss])
    changed = (
        own.replace(name="half", result=lambda totals: own.result(totals) / 2),
        own.replace(name="some", measure=lambda p, t, w: own.measure(p, t, w * (p[:, 0] > 0))),
        own.replace(name="last", merge=lambda a, b: b),
    )
    task = fnn.Task(fnn.Dense(6), loss, metrics=[name, get_metric(name).replace(name="other"), *changed])
    ts = fnn.init(task, jax.random.key(0), x)
    found = fnn.evaluate(task, ts, (x, y), batch_size=20)
    chosen = np.flatnonzero(fnn.predict(task, ts, x)[:, 0] > 0)
    last, some = (fnn.evaluate(task, ts, (x[rows], y[rows]))[name] for rows in (np.arange(20, 30), chosen))
    assert found["other"] == found[name]
    assert len({found[name], last, some}) == 3
    assert found["half"] == pytest.approx(found[name] / 2)
    assert (found["last"], found["some"]) == (pytest.approx(last), pytest.approx(some))


def test_categorical_accuracy_is_of_one_class_with_any_loss(rng):
    p, t, w = rng.normal(size=(12, 3)).astype("float32"), rng.integers(0, 3, 12), rng.uniform(size=12).astype("float32")
    want = sk.accuracy_score(t, p.argmax(1), sample_weight=w)
    for loss in (losses.binary_crossentropy, losses.categorical_crossentropy, None):
        assert over_batches(get_metric("categorical_accuracy", loss), p, np.eye(3)[t], w) == pytest.approx(want)
    x, y = np.ones((4, 2), "f"), np.array([[1, 1, 0]] * 4)
    task = fnn.Task(fnn.Dense(3), "bce", metrics=["categorical_accuracy"])
    with pytest.raises(fnn.InputError, match=r"metric 'categorical_accuracy': expected .*one-hot rows"):
        fnn.evaluate(task, fnn.init(task, jax.random.key(0), x), (x, y))


@pytest.mark.slow
def test_losses_are_metrics_of_the_form_that_the_task_has(rng):
    p, t = rng.normal(size=(9, 3)).astype("float32"), rng.integers(0, 3, 9)
    w, q = rng.uniform(size=9).astype("float32"), np.asarray(jax.nn.softmax(p))
    want = float(keras.metrics.SparseCategoricalCrossentropy()(t, q, w))
    on_shares = functools.partial(losses.sparse_categorical_crossentropy, from_logits=False)
    name = "sparse_categorical_crossentropy"
    assert over_batches(get_metric(name, losses.sparse_categorical_crossentropy), p, t, w) == pytest.approx(want, 1e-5)
    assert over_batches(get_metric(name, on_shares), q, t, w) == pytest.approx(want, 1e-5)
    assert over_batches(get_metric(name), q, t, w) == pytest.approx(want, 1e-5)
    other = rng.normal(size=(9, 3)).astype("float32")
    want = float(keras.metrics.CosineSimilarity()(other, p, w))
    assert over_batches(get_metric("cosine_similarity", losses.cosine_similarity), p, other, w) == pytest.approx(
        want, 1e-5
    )
    signs = np.sign(other)
    assert over_batches(get_metric("hinge"), p, signs, w) == pytest.approx(
        float(keras.metrics.Hinge()(signs, p, w)), 1e-5
    )
    means = np.concatenate([p, other], 1)
    got = over_batches(get_metric("log_cosh", losses.gaussian_nll), means, other, w)
    assert got == pytest.approx(float(keras.metrics.LogCoshError()(other, p, w)), 1e-4)


def test_targets_of_a_loss_as_a_metric_are_checked():
    x = np.ones((4, 2), "float32")
    task = fnn.Task(fnn.Dense(1), "mse", metrics=["hinge", "mae"])
    ts = fnn.init(task, jax.random.key(0), x)
    with pytest.raises(fnn.InputError, match=r"metric 'hinge' > hinge: expected targets of 0 and 1, or -1 and \+1"):
        fnn.evaluate(task, ts, (x, np.array([0.0, 2.0, 1.0, 0.5], "f")))
    with pytest.raises(fnn.InputError, match=r"^metric: expected a metric, got a loss.*Write 'cosine_similarity'"):
        fnn.Task(fnn.Dense(2), "mse", metrics=[losses.cosine_similarity])


# ---------------------------------------------------------------------------------------------- rows and columns
def squares(p, t):
    return jnp.mean((p - t) ** 2, -1)


def squares_of_columns(p, t):
    return (p[:, 0] - t) ** 2


def size(p, t):
    return jnp.abs(p[:, 0])


@pytest.mark.parametrize(
    "name", some(["rmse", "mae", "mape", "r2_score", "auc", "accuracy", "balanced_accuracy"], "rmse", "auc", "accuracy")
)
def test_a_column_and_a_row_are_the_same_targets(name, rng):
    p, t = rng.uniform(size=(9, 1)).astype("float32"), (np.arange(9) % 2).astype("float32")
    fn = getattr(metrics, name)
    pairs = [(p, t), (p, t[:, None]), (p[:, 0], t[:, None]), (p[:, 0], t)]
    got = [float(value) for value in jax.jit(lambda pairs: [fn(*pair) for pair in pairs])(pairs)]
    assert got == [got[0]] * 4
    assert float(fn(*pairs[0])) == pytest.approx(got[0], rel=1e-6)


def test_custom_functions_that_mix_rows_are_refused():
    x, y = np.arange(12, dtype="float32").reshape(6, 2) / 9, np.arange(6, dtype="float32")
    hint = r"broadcasts against each other\. Give the targets .*y\[:, None\]"

    def evaluate(loss, metric, y):
        task = fnn.Task(fnn.Dense(1), loss, metrics=[metric])
        return fnn.evaluate(task, fnn.init(task, jax.random.key(0), x), (x, y))

    with pytest.raises(
        fnn.InputError, match=rf"loss: expected a function that compares each .*float32\[6, 1\].*{hint}"
    ):
        evaluate(squares, "mae", y)
    with pytest.raises(fnn.InputError, match=rf"metric 'squares': .*{hint}"):
        evaluate("mse", squares, y)
    with pytest.raises(fnn.InputError, match=hint):
        evaluate(squares, "mae", y.astype("int64"))
    logs = evaluate(squares, squares, y[:, None])
    assert logs["loss"] == pytest.approx(logs["squares"])
    assert evaluate(squares_of_columns, squares_of_columns, y)["loss"] == pytest.approx(logs["loss"])
    assert evaluate("mse", size, y)["size"] > 0
    with pytest.raises(fnn.InputError, match=hint):
        metrics.mean_metric("own", squares).measure(y, y[:, None], jnp.ones(6))


def test_swapped_arguments_are_noticed():
    """Classes given first, as in scikit-learn; two arrays of classes cannot be told apart."""
    classes, labels = np.array([0, 1, 2, 1]), np.array([0, 1, 1, 0])
    shares = np.eye(3)[[0, 1, 1, 1]] * 0.7 + 0.1
    tables = (metrics.confusion_matrix, fnn.classification_report, metrics.precision_recall_f1, metrics.mean_iou)
    functions = (*tables, metrics.accuracy, metrics.balanced_accuracy, metrics.auc, metrics.top_k_accuracy)
    for fn in (*functions, metrics.reliability):
        for first, second in (
            (classes, shares),
            (classes[:, None], shares),
            (np.eye(3)[classes], shares),
            (labels, shares[:, 1]),
            (labels, shares[:, 1:2]),
            (labels.astype("float32"), shares[:, 1]),
        ):
            with pytest.raises(fnn.InputError, match=rf"{fn.__name__}.*(swapped|come first)"):
                fn(first, second)
    for fn in (metrics.rmse, metrics.r2_score, metrics.mape):
        with pytest.raises(fnn.InputError, match="predictions come first"):
            fn(labels, shares[:, 1])


def test_one_hot_finds_the_number_of_classes():
    np.testing.assert_array_equal(fnn.one_hot([2, 0]), [[0, 0, 1], [1, 0, 0]])
    assert fnn.one_hot(np.zeros((2, 3), "uint8")).shape == (2, 3, 1)
    assert fnn.one_hot(jnp.array([1, 4]), dtype="bfloat16").shape == (2, 5)
    for call in (lambda: jax.jit(fnn.one_hot)(jnp.array([1])), lambda: fnn.one_hot(np.zeros(0, int))):
        with pytest.raises(fnn.InputError, match=r"one_hot: expected num_classes, got .*one_hot\(ids, num_classes\)"):
            call()
    with pytest.raises(fnn.InputError, match="one_hot"):
        fnn.one_hot([-1])
