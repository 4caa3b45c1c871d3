"""Metrics: against scikit-learn, merged over any split of the data, and their errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk
from helpers import few
from hypothesis import given, settings
from hypothesis import strategies as st

import fnn
from fnn import losses, metrics
from fnn.metrics import METRICS, get_metric, mean_metric
from fnn.metrics.names import check_labels


@functools.partial(jax.jit, static_argnums=0)
def scored(found, p, t, w):
    """The values of a task's metrics over one batch: of one, or of a tuple of them."""
    values = [metric.result(metric.measure(p, t, w)) for metric in (found if isinstance(found, tuple) else (found,))]
    return values if isinstance(found, tuple) else values[0]


@pytest.fixture(scope="module")
def data():
    """Scores, class labels that partly agree with them, and weights."""
    rng = np.random.default_rng(3)
    t = rng.choice(5, 60, p=[0.1, 0.4, 0.1, 0.15, 0.25]).astype("int32")
    p = rng.normal(size=(60, 5)).astype("float32") + 1.2 * np.eye(5, dtype="float32")[t]
    return p, t, rng.uniform(0, 3, 60).astype("float32")


def test_accuracy_matches_scikit_learn(data):
    p, t, w = data
    for weight in (None, w):
        want = sk.accuracy_score(t, p.argmax(1), sample_weight=weight)
        for predictions, targets in (
            (p, t),
            (p, t[:, None]),
            (p, np.eye(5)[t]),
            (p.argmax(1), t),
            (p, t.astype("uint8")),
        ):
            got = metrics.accuracy(predictions, targets, sample_weight=weight)
            assert float(got) == pytest.approx(want, rel=1e-5)


def test_accuracy_weighted_by_class_is_balanced_accuracy(data):
    p, t, _ = data
    weights = 1 / np.bincount(t)
    got = metrics.accuracy(p, t, sample_weight=fnn.class_weights(t, weights))
    assert float(got) == pytest.approx(sk.balanced_accuracy_score(t, p.argmax(1)), rel=1e-5)


def test_accuracy_of_a_single_score(rng):
    p, t = rng.uniform(size=50).astype("float32"), rng.integers(0, 2, 50)
    for threshold in (0.5, 0.3):
        want = sk.accuracy_score(t, p > threshold)
        for predictions, targets in (
            (p, t),
            (p[:, None], t),
            (p, t[:, None]),
            (p, 2 * t - 1),
            (p, t.astype("float32")),
            (p[:, None], 2.0 * t - 1),
        ):
            assert float(metrics.accuracy(predictions, targets, threshold=threshold)) == pytest.approx(want)


def test_accuracy_of_sequences(rng):
    p, t = rng.normal(size=(4, 6, 3)).astype("float32"), rng.integers(0, 3, (4, 6))
    assert float(metrics.accuracy(p, t)) == pytest.approx((p.argmax(-1) == t).mean())
    w = np.array([1.0, 0, 2, 1])
    want = ((p.argmax(-1) == t).mean(1) * w).sum() / 4
    assert float(metrics.accuracy(p, t, sample_weight=w)) == pytest.approx(want)


def test_binary_accuracy(rng):
    p, t, w = rng.uniform(size=(20, 3)).astype("float32"), rng.integers(0, 2, (20, 3)), rng.uniform(size=20)
    hits = (p > 0.5) == t
    assert float(metrics.binary_accuracy(p, t)) == pytest.approx(hits.mean())
    assert float(metrics.binary_accuracy(p - 0.5, t, threshold=0)) == pytest.approx(hits.mean())
    assert float(metrics.binary_accuracy(p, t, sample_weight=w)) == pytest.approx(
        np.average(hits.mean(1), weights=w), rel=1e-5
    )


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_accuracy_matches_scikit_learn(data, k):
    p, t, w = data
    for weight in (None, w):
        want = sk.top_k_accuracy_score(t, p, k=k, sample_weight=weight) if k < 5 else 1.0
        assert float(metrics.top_k_accuracy(p, t, k=k, sample_weight=weight)) == pytest.approx(want, rel=1e-5)
        assert float(metrics.top_k_accuracy(p, np.eye(5)[t], k=k, sample_weight=weight)) == pytest.approx(
            want, rel=1e-5
        )


def test_top_k_with_equal_scores_counts_at_most_k_classes():
    p = np.zeros((4, 4), "float32")
    assert [float(metrics.top_k_accuracy(p, np.arange(4), k=k)) for k in (1, 2, 4)] == [0.25, 0.5, 1]
    assert float(jax.jit(lambda p: metrics.top_k_accuracy(p, jnp.array([0]), k=3))(jnp.full((1, 3), jnp.nan))) == 0


def test_confusion_matrix_matches_scikit_learn(data):
    p, t, _ = data
    want = sk.confusion_matrix(t, p.argmax(1))
    np.testing.assert_array_equal(metrics.confusion_matrix(p, t), want)
    np.testing.assert_array_equal(metrics.confusion_matrix(p.argmax(1), t), want)
    np.testing.assert_array_equal(jax.jit(metrics.confusion_matrix)(p, t), want)
    wide = metrics.confusion_matrix(p.argmax(1), t, num_classes=7)
    assert wide.shape == (7, 7)
    np.testing.assert_array_equal(wide[:5, :5], want)
    assert int(wide.sum()) == 60
    np.testing.assert_array_equal(metrics.confusion_matrix([0.2, 0.9, 0.7], [0, 1, 0]), [[1, 1], [0, 1]])
    np.testing.assert_array_equal(
        metrics.confusion_matrix([-1.0, 2.0, 0.3], [0, 1, 1], threshold=0.5), [[1, 0], [1, 1]]
    )


def test_precision_recall_f1_and_support_match_scikit_learn(data):
    p, t, _ = data
    p = p.copy()
    p[:, 2] = -9  # a class that is never predicted
    got = metrics.precision_recall_f1(p, t)
    assert isinstance(got, metrics.ClassScores)
    want = sk.precision_recall_fscore_support(t, p.argmax(1), zero_division=0)
    np.testing.assert_allclose(got, want, 1e-5)


def rows_of(report):
    """Numbers of a report by the label of their row."""
    words = [line.rsplit(maxsplit=2 if line.startswith("accuracy") else 4) for line in report.splitlines()[1:] if line]
    return {row[0]: [float(number) for number in row[1:]] for row in words}


def test_classification_report_matches_scikit_learn(data):
    p, t, _ = data
    names = ["ant", "bee", "cat", "dog", "elk"]
    got = rows_of(fnn.classification_report(p, t, names=names, digits=6))
    want = sk.classification_report(t, p.argmax(1), target_names=names, output_dict=True, zero_division=0)
    assert set(got) == set(want)
    for label, numbers in got.items():
        expected = [want[label], 60] if label == "accuracy" else list(want[label].values())
        np.testing.assert_allclose(numbers, expected, atol=1e-6, err_msg=label)
    plain = fnn.classification_report(p.argmax(1), t).splitlines()
    assert plain[1].split()[0] == "0"
    assert len({len(line) for line in plain if line}) == 1, "columns must be aligned"


def test_regression_metrics_match_scikit_learn(rng):
    for shape, weight in (((40,), None), ((40,), rng.uniform(size=40)), ((40, 3), rng.uniform(size=40))):
        p, t = rng.normal(size=shape), rng.normal(size=shape)
        p, t = (0.5 * p + t).astype("float32"), t.astype("float32")
        for ours, theirs in (
            (metrics.rmse, lambda *a, **k: sk.mean_squared_error(*a, **k) ** 0.5),
            (metrics.mae, sk.mean_absolute_error),
            (metrics.r2_score, sk.r2_score),
        ):
            assert float(ours(p, t, sample_weight=weight)) == pytest.approx(
                theirs(t, p, sample_weight=weight), rel=2e-5
            )


def test_r2_of_constant_targets_matches_scikit_learn():
    t = np.array([[1.0, 2.0, 5.0], [1.0, 3.0, 5.0], [1.0, 4.0, 5.0]], "float32")
    for p in (t, t + np.array([[0.1, 0, 0]] * 3, "float32")):
        assert float(metrics.r2_score(p, t)) == pytest.approx(sk.r2_score(t, p))


# ------------------------------------------------------------------------------------------------------------ streaming
def batch_of(name, rng, size):
    if name in ("rmse", "mae", "mse", "mape", "r2", "cosine_similarity"):
        t = rng.normal(size=(size, 2)).astype("float32")
        return (t + rng.normal(size=t.shape)).astype("float32"), t
    if name in ("auc", "pr_auc"):
        return rng.uniform(size=(size, 1)).astype("float32"), (np.arange(size) % 3 == 0).astype("int32")
    if name == "binary_accuracy":
        return rng.uniform(size=(size, 3)).astype("float32"), rng.integers(0, 2, (size, 3)).astype("int32")
    t = rng.integers(0, 7, size).astype("int32")
    return (rng.normal(size=(size, 7)) + 2 * np.eye(7)[t]).astype("float32"), t


measures = {name: jax.jit(get_metric(name).measure) for name in METRICS}
results = {name: jax.jit(get_metric(name).result) for name in METRICS}
merge_r2 = jax.jit(get_metric("r2").merge)


def gather(name, p, t, w, cuts, width=None):
    """The metric over parts, each padded with rows of weight 0 that hold NaN where they can."""
    metric, totals = get_metric(name), None
    for low, high in zip([0, *cuts], [*cuts, len(p)], strict=True):
        rows, pad = slice(low, high), (width or len(p)) - (high - low)
        filler = np.nan if t.dtype.kind == "f" else 0
        padded = [
            np.concatenate([a[rows], np.full((pad, *a.shape[1:]), f, a.dtype)])
            for a, f in ((p, np.nan), (t, filler), (w, 0))
        ]
        part = measures[name](*padded)
        if totals is None:
            totals = jax.tree.map(np.zeros_like, part)  # the neutral element, as the training loop starts
        totals = metric.merge(totals, part)
    return float(results[name](totals))


@pytest.mark.parametrize("name", few(METRICS))
def test_parts_merge_to_the_whole(name):
    @settings(max_examples=8)
    @given(st.lists(st.integers(0, 12), max_size=3), st.integers(0, 2**32 - 1))
    def check(cuts, seed):
        rng = np.random.default_rng(seed)
        p, t = batch_of(name, rng, 12)
        w = rng.uniform(0.1, 2, 12).astype("float32")
        whole = float(results[name](measures[name](p, t, w)))
        assert np.isfinite(whole)
        assert gather(name, p, t, w, sorted(cuts)) == pytest.approx(whole, rel=1e-4, abs=1e-5)

    check()


@pytest.mark.parametrize("name", few(METRICS))
def test_rows_of_weight_zero_do_not_count(name):
    p, t = batch_of(name, np.random.default_rng(5), 9)
    w = np.ones(9, "float32")
    want = float(results[name](measures[name](p, t, w)))
    assert gather(name, p, t, w, [], width=12) == pytest.approx(want, rel=1e-5)
    assert 0 < abs(want) < (1000 if name == "mape" else 10)


def test_r2_with_a_large_mean_in_float32():
    rng = np.random.default_rng(2)
    t = (rng.normal(size=400) + 5000).astype("float32")
    p = (t + 0.3 * rng.normal(size=400)).astype("float32")
    want = sk.r2_score(t.astype("float64"), p.astype("float64"))
    totals = None
    for i in range(0, 400, 50):
        part = measures["r2"](p[i : i + 50], t[i : i + 50], np.ones(50, "float32"))
        totals = merge_r2(jax.tree.map(np.zeros_like, part) if totals is None else totals, part)
    assert float(results["r2"](totals)) == pytest.approx(want, abs=2e-3)


def test_class_metrics_are_macro_means_or_those_of_class_1_of_two(data):
    p, t, w = data
    scores = sk.precision_score, sk.recall_score, sk.f1_score
    found = tuple(get_metric(name) for name in ("precision", "recall", "f1"))
    want = [score(t, p.argmax(1), average="macro", sample_weight=w) for score in scores]
    np.testing.assert_allclose(scored(found, p, t, w), want, 1e-5)
    single, binary = p[:, 0], (t > 1).astype("int32")
    want = [score(binary, single > 0.5, sample_weight=w) for score in scores]
    for outputs in (single, np.stack([0 * single + 0.5, single], 1)):
        np.testing.assert_allclose(scored(found, outputs, binary, w), want, 1e-5)


# ---------------------------------------------------------------------------------------------------------------- names
def test_get_metric():
    custom = fnn.Metric("mine", lambda p, t, w: jnp.sum(p), lambda total: total)
    assert get_metric(custom) is custom
    assert get_metric(metrics.accuracy).name == "accuracy"
    assert get_metric(metrics.r2_score).name == "r2"
    assert get_metric(losses.huber).name == "huber"
    made = mean_metric("gap", lambda p, t: p - t)
    assert float(made.result(made.measure(jnp.array([3.0, 5.0]), jnp.array([1.0, 1.0]), jnp.array([1.0, 3.0])))) == 3.5
    assert [get_metric(name).name for name in METRICS] == list(METRICS)
    assert metrics.top_k(2).name == "top_k_accuracy"


def test_a_metric_prints_as_the_call_that_makes_it():
    assert repr(get_metric("mse", losses.huber)) == "get_metric('mse')"
    assert repr(get_metric("f1", losses.logistic)) == "get_metric('f1', logistic)"
    assert repr(metrics.top_k(2)) == "top_k(2)"


def test_the_threshold_follows_the_loss():
    p, t, w = np.array([0.3, 0.7, -0.2], "float32"), np.array([1, 1, 0]), np.ones(3, "float32")

    def value(loss):
        metric = get_metric("accuracy", loss)
        assert metric.name == "accuracy"
        return float(scored(metric, p, t, w))

    assert value(losses.binary_crossentropy) == value(losses.logistic) == 1
    assert value(losses.hinge) == 1
    assert value(losses.mean_squared_error) == value(None) == pytest.approx(2 / 3)
    # several labels per example
    metric = get_metric("accuracy", losses.binary_crossentropy)
    many = scored(metric, np.array([[1.0, -1.0], [2.0, 3.0]], "float32"), np.array([[1, 0], [0, 1]]), w[:2])
    assert float(many) == 0.75


P = np.zeros((4, 3), "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: get_metric("acuracy"), r"metric: .* got 'acuracy'\. Did you mean 'accuracy'"),
        (lambda: metrics.accuracy(P, np.zeros(4)), r"targets: expected integer .*Use y\.astype"),
        (lambda: metrics.accuracy(np.zeros(4, int), np.array([0.0, 1, 2, 3])), r"integer class numbers, or one-hot"),
        (lambda: metrics.confusion_matrix(P, np.zeros(4)), r"integer class numbers, or one-hot"),
        (lambda: metrics.top_k_accuracy(P, np.zeros(4)), r"integer class numbers, or one-hot"),
        (lambda: metrics.accuracy(P, np.zeros((4, 2), "int32")), r"accuracy: expected targets that fit"),
        (lambda: metrics.accuracy(P, np.zeros(3, int)), r"accuracy: .* of the same length"),
        (lambda: metrics.accuracy(P[:0], np.zeros(0, int)), r"accuracy: .*one example, got float32\[0, 3\]"),
        (lambda: metrics.accuracy(0.5, 1), r"accuracy: expected at least one example"),
        (lambda: metrics.accuracy(P, np.zeros(4, int), sample_weight=np.ones(3)), r"sample weights of shape \(4,\)"),
        (lambda: metrics.binary_accuracy(P, np.zeros(4)), r"binary_accuracy: expected targets of"),
        (lambda: metrics.top_k_accuracy(P[:, 0], np.zeros(4, int)), r"top_k_accuracy: .*classes\)"),
        (lambda: metrics.top_k_accuracy(P, np.zeros(4, int), k=0), r"top_k_accuracy: expected k .*at least 1, got 0"),
        (lambda: metrics.rmse(P, P[:, :2]), r"mean_squared_error: expected targets of the predictions' shape"),
        (lambda: metrics.r2_score(P, P[:, 0]), r"r2: expected targets of the predictions' shape"),
        (lambda: get_metric("f1").measure(P, np.zeros((4, 2), int), np.ones(4)), r"f1: expected targets that fit"),
        (lambda: mean_metric("mine", lambda p, t: p).measure(P, P, np.ones(4)), r"metric 'mine': .*of shape \(4,\)"),
        (lambda: metrics.confusion_matrix([0, 1], [0, 1, 1]), r"confusion_matrix: .* of the same length"),
        (lambda: metrics.confusion_matrix([0, 1], [0, 4], num_classes=3), r"in \[0, 3\), got numbers from 0 to 4"),
        (lambda: metrics.confusion_matrix(P, [0, -1, 0, 0]), r"for 3 scores, got numbers from -1 to 0"),
        (lambda: metrics.confusion_matrix([0], [0], num_classes=0), r"num_classes .*at least 1, got 0"),
        (lambda: fnn.classification_report(P, [0, 1, 2, 0], names=["a", "b"]), r"expected 3 names, got 2"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


def test_logits_in_place_of_probabilities_are_refused():
    labels = (metrics.accuracy, metrics.binary_accuracy)
    for fn in (*labels, metrics.confusion_matrix, metrics.classification_report, metrics.precision_recall_f1):
        match = r"in \[0, 1\], to be thresholded at 0.5, got scores from -1 to 2. Logits need threshold=0.0"
        with pytest.raises(fnn.InputError, match=f"^{fn.__name__}: expected probabilities {match}"):
            fn([-1.0, 2.0], [0.0, 1.0] if fn is metrics.binary_accuracy else [0, 1])
    assert float(metrics.accuracy([-1.0, 2.0], [0, 1], threshold=0)) == 1


def test_swapped_arguments_and_text_are_refused(data):
    p, t, _ = data
    tables = (metrics.confusion_matrix, metrics.classification_report, metrics.precision_recall_f1)
    for fn in (metrics.accuracy, metrics.top_k_accuracy, *tables):
        for targets in (p, 2 * np.eye(5, dtype="f")[t]):
            for predictions in (t, p):
                with pytest.raises(fnn.InputError, match=f"^{fn.__name__}: .*swapped. Predictions come first"):
                    fn(predictions, targets)
        for targets in (list("ab"), np.array(["a", "b"]), np.array(["a", "b"], object)):
            match = rf"^{fn.__name__}, targets: expected an array of numbers, got text, .*names, y = np.unique\(labels"
            with pytest.raises(fnn.InputError, match=match):
                fn([[0.1, 0.9], [0.8, 0.2]], targets)
        with pytest.raises(fnn.InputError, match="predictions: expected an array of numbers, got text"):
            fn(["a", "b"], [0, 1])
    with pytest.raises(
        fnn.InputError, match=r"^binary_accuracy: expected targets of 0 and 1, or -1 and \+1, .* swapped"
    ):
        metrics.binary_accuracy([[0.0, 1.0], [1.0, 1.0]], [[0.3, 0.8], [0.9, 0.2]])
    assert float(metrics.binary_accuracy([[0.1, 0.9], [0.8, 0.9]], [[0.0, 1.0], [1.0, 1.0]])) == 1
    # Values that are not known are not checked, and neither are those of a task's metrics.
    soft = 0.9 * np.eye(5, dtype="f")[t] + 0.02
    assert float(jax.jit(metrics.accuracy)(p, soft)) == pytest.approx(float(metrics.accuracy(p, t)))
    assert float(get_metric("accuracy").measure(p, soft, jnp.ones(60))[0]) == pytest.approx((p.argmax(1) == t).sum())


def test_the_macro_average_counts_classes_without_rows():
    lines = metrics.classification_report(np.eye(3, dtype="f")[[0, 1]], [0, 1]).splitlines()
    assert [line.split()[2] for line in lines if line.startswith("macro")] == ["0.667"]


def test_r2_of_a_constant():
    constant = np.full(7, 0.1, "f")
    assert float(metrics.r2_score(constant + 1e-4, constant)) == 0
    assert float(metrics.r2_score(constant, constant)) == 1


# ------------------------------------------------------------------------------------------------ several yes/no labels
def labelled(seed, rows=12, labels=3, steps=None):
    """Probabilities and labels; some rows have no label and some have all."""
    rng = np.random.default_rng(seed)
    shape = (rows, labels) if steps is None else (rows, steps, labels)
    t = (rng.uniform(size=shape) < rng.uniform(0.1, 0.9, labels)).astype("int32")
    t[0], t[1] = 0, 1
    p = np.clip(0.4 * t + rng.uniform(0, 0.6, shape), 0.01, 0.99).astype("float32")
    return p, t, rng.uniform(0, 2, rows).astype("float32") * (rng.uniform(size=rows) > 0.2) + (np.arange(rows) < 2)


def macro(t, p, weights=None):
    """scikit-learn's macro scores; steps are further examples."""
    labels = t.shape[-1]
    weights = None if weights is None else np.repeat(weights, t.size // labels // len(t))
    rows = t.reshape(-1, labels), p.reshape(-1, labels)
    return [
        score(*rows, average="macro", zero_division=0, sample_weight=weights)
        for score in (sk.precision_score, sk.recall_score, sk.f1_score)
    ]


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("logits", 4),
        ("probabilities", None),
        *(pytest.param(kind, None, marks=pytest.mark.slow) for kind in ("logits", "logistic")),
        *(pytest.param(kind, 4, marks=pytest.mark.slow) for kind in ("probabilities", "logistic")),
    ],
)
def test_a_task_scores_several_labels_by_its_loss(kind, steps):
    loss = {
        "logits": losses.binary_crossentropy,
        "probabilities": functools.partial(losses.binary_crossentropy, from_logits=False),
        "logistic": losses.logistic,
    }[kind]
    found = {name: get_metric(name, loss) for name in ("accuracy", "binary_accuracy", "precision", "recall", "f1")}

    @jax.jit
    def over_two_batches(*arrays):
        first, second = ([a[rows] for a in arrays] for rows in (slice(0, 5), slice(5, 12)))
        return {
            name: metric.result(metric.merge(metric.measure(*first), metric.measure(*second)))
            for name, metric in found.items()
        }

    dtypes = ("float32", "uint8", "bool") if kind == "logits" and steps is None else ("float32", "int32")
    for seed in range(2):
        p, t, w = labelled(seed, steps=steps)
        outputs = p if kind == "probabilities" else np.log(p / (1 - p))
        given = 2 * t - 1 if kind == "logistic" else t
        for dtype in dtypes:
            got = {name: float(value) for name, value in over_two_batches(outputs, given.astype(dtype), w).items()}
            hits = np.average(((p > 0.5) == t).reshape(12, -1).mean(1), weights=w)
            assert got["accuracy"] == got["binary_accuracy"] == pytest.approx(hits, rel=1e-5)
            scores = [got[name] for name in ("precision", "recall", "f1")]
            np.testing.assert_allclose(scores, macro(t, p > 0.5, w), rtol=1e-5, atol=1e-6)


def test_all_labels_true_and_predicted():
    x, y = np.ones((10, 3), "float32"), np.ones((10, 3), "int32")
    model = fnn.Dense(3, kernel_initializer="ones")
    task = fnn.Task(model, "binary_crossentropy", metrics=("accuracy", "precision", "recall", "f1"))
    ts = fnn.init(task, jax.random.key(0), x)
    logs = fnn.evaluate(task, ts, (x, y))
    assert [logs[name] for name in ("accuracy", "precision", "recall", "f1")] == [1, 1, 1, 1]
    # Rows that are one-hot by chance are labels too: the loss decides.
    logs = fnn.evaluate(task, ts, (x, np.eye(3, dtype="int32")[[0] * 10]))
    assert logs["accuracy"] == pytest.approx(1 / 3)
    assert logs["precision"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("dtype", "weighted"),
    [
        ("float32", True),
        pytest.param("int64", False, marks=pytest.mark.slow),
        pytest.param("bool", True, marks=pytest.mark.slow),
        pytest.param("float64", False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("seed", few(range(3)))
def test_functions_of_several_labels_match_scikit_learn(seed, dtype, weighted):
    p, t, w = labelled(seed)
    w = w if weighted else None
    given = t.astype(dtype)
    want = sk.precision_recall_fscore_support(t, p > 0.5, zero_division=0, sample_weight=w)
    for predictions, threshold in (
        (p, None),
        (np.log(p / (1 - p)), 0.0),
        (p > 0.5, None),
        ((p > 0.5).astype(int), None),
    ):
        options = {"threshold": threshold, "sample_weight": w}
        got = metrics.precision_recall_f1(predictions, given, **options)
        np.testing.assert_allclose(got, want, 1e-5)
        matrices = metrics.confusion_matrix(predictions, given, **options)
        np.testing.assert_allclose(matrices, sk.multilabel_confusion_matrix(t, p > 0.5, sample_weight=w), 1e-5)
        np.testing.assert_allclose(metrics.scores_from_confusion(matrices), want, 1e-5)
        hits = np.average(((p > 0.5) == t).mean(1), weights=w)
        assert float(metrics.accuracy(predictions, given, **options)) == pytest.approx(hits, rel=1e-5)
        assert float(metrics.binary_accuracy(predictions, given, **options)) == pytest.approx(hits, rel=1e-5)
    names = ["red", "round", "ripe"]
    report = rows_of(fnn.classification_report(p, given, names=names, digits=6, sample_weight=w))
    want = sk.classification_report(t, p > 0.5, target_names=names, output_dict=True, zero_division=0, sample_weight=w)
    assert list(report) == [*names, "micro avg", "macro avg", "weighted avg", "samples avg"] == list(want)
    for label, numbers in report.items():
        np.testing.assert_allclose(numbers[:3], list(want[label].values())[:3], atol=2e-6, err_msg=label)
        assert numbers[3] == pytest.approx(want[label]["support"], abs=0.051)


def test_one_hot_rows_are_classes_unless_multi_label_is_true():
    p, t = np.array([[0.9, 0.8, 0.1], [0.2, 0.6, 0.7]], "float32"), np.eye(3)[[0, 1]]
    assert float(metrics.accuracy(p, t)) == 0.5
    assert float(metrics.accuracy(p, t, multi_label=True)) == pytest.approx(4 / 6)
    assert float(metrics.accuracy(p, 2 * t - 1)) == pytest.approx(4 / 6)  # -1 does not occur in one-hot rows
    assert metrics.confusion_matrix(p, t).shape == (3, 3)
    assert metrics.confusion_matrix(p, t, multi_label=True).shape == (3, 2, 2)
    rows = np.array([[1, 1, 0], [0, 0, 0]])
    with pytest.raises(fnn.InputError, match=r"^accuracy: .* class numbers or one-hot rows.*multi_label=True"):
        metrics.accuracy(p, rows, multi_label=False)
    assert float(jax.jit(functools.partial(metrics.accuracy, multi_label=True))(p, rows)) == pytest.approx(4 / 6)
    # Steps of sequences of two classes, as numbers.
    assert float(metrics.accuracy(np.array([[0, 1], [1, 1]]), np.array([[0, 1], [0, 1]]), multi_label=False)) == 0.75
    with pytest.raises(fnn.InputError, match=r"^precision_recall_f1: expected num_classes=3, the number of labels"):
        metrics.precision_recall_f1(p, rows, num_classes=2)
    with pytest.raises(fnn.InputError, match=r"^classification_report: expected 3 names, got 2 names"):
        metrics.classification_report(p, rows, names=["a", "b"])
    with pytest.raises(fnn.InputError, match=r"^accuracy: expected multi_label True, False or None, got 'yes'"):
        metrics.accuracy(p, rows, multi_label="yes")


def test_top_k_of_several_labels_is_refused():
    for loss in (losses.binary_crossentropy, losses.logistic):
        for metric in ("top_k_accuracy", metrics.top_k(2), metrics.top_k_accuracy):
            with pytest.raises(fnn.InputError, match=r"metric 'top_k_accuracy': expected a loss of classes"):
                get_metric(metric, loss)
    kept = metrics.top_k(2)
    assert get_metric(kept, losses.categorical_crossentropy) is kept
    for dtype in ("int32", "float32", "bool"):
        with pytest.raises(fnn.InputError, match=r"^top_k_accuracy: .* Rows of several labels have no true class"):
            metrics.top_k_accuracy(np.eye(3, dtype="f"), np.ones((3, 3), dtype), k=2)
        with pytest.raises(fnn.InputError, match=r"^reliability: .* pass p\.ravel\(\) and y\.ravel"):
            metrics.reliability(np.eye(3, dtype="f"), np.ones((3, 3), dtype))


def test_the_threshold_of_soft_labels_is_one_half():
    metric = get_metric("recall", losses.binary_crossentropy)
    p, t = np.array([1.0, 1.0, -1.0], "f"), np.array([0.3, 0.8, 0.9], "f")
    assert float(scored(metric, p, t, np.ones(3, "f"))) == 0.5


# ---------------------------------------------------------------------------------------------------------- offset data
@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, -1e3, 1e6, -1e9]), st.booleans())
def test_r2_of_offset_data_matches_scikit_learn(seed, offset, weighted):
    rng = np.random.default_rng(seed)
    t = offset + 0.5 * rng.normal(size=(30, 2)) * (1, 3)
    p = t + 0.1 * rng.normal(size=t.shape)
    w = rng.uniform(0.1, 2, 30) if weighted else None
    assert float(metrics.r2_score(p, t, sample_weight=w)) == pytest.approx(sk.r2_score(t, p, sample_weight=w), rel=1e-5)
    for ours, theirs in ((metrics.rmse, sk.mean_squared_error), (metrics.mae, sk.mean_absolute_error)):
        want = theirs(t, p, sample_weight=w) ** (0.5 if ours is metrics.rmse else 1)
        assert float(ours(p, t, sample_weight=w)) == pytest.approx(want, rel=1e-5)
    # Over batches, of float32 values, which are exact in float64.
    p, t = p.astype("float32"), t.astype("float32")
    w = np.ones(30, "float32") if w is None else w.astype("float32")
    want = sk.r2_score(t.astype(float), p.astype(float), sample_weight=w, force_finite=True)
    totals = jax.tree.map(np.zeros_like, measures["r2"](p[:10], t[:10], w[:10]))
    for i in (0, 10, 20):
        totals = merge_r2(totals, measures["r2"](p[i : i + 10], t[i : i + 10], w[i : i + 10]))
    assert float(results["r2"](totals)) == pytest.approx(want, abs=1e-4 * max(1, abs(want)))


def test_r2_of_targets_far_from_0():
    rng = np.random.default_rng(1)
    t = 1e6 + 0.5 * rng.normal(size=1000)
    p = t + 0.1 * rng.normal(size=1000)
    want = sk.r2_score(t, p)
    assert 0.95 < want < 0.97
    assert float(metrics.r2_score(p, t)) == pytest.approx(want, abs=1e-6)
    assert float(metrics.r2_score(jnp.asarray(p), jnp.asarray(t))) == pytest.approx(want, abs=5e-3)  # rounded to 1/16
    # A constant output far from 0 is recognized over batches of different sizes.
    constant = np.full((9, 1), 123456.789, "float32")
    parts = [measures["r2"](constant[:n] + 1, constant[:n], np.full(n, 0.3, "float32")) for n in (4, 9)]
    assert float(results["r2"](merge_r2(*parts))) == 0
    assert np.isnan(results["r2"](jax.tree.map(np.zeros_like, parts[0])))


def test_values_beyond_float32_are_infinite_without_a_warning():
    assert metrics.mae(np.array([1e300, 1.0, 1.0]), np.zeros(3)) == np.inf


def test_close_float64_scores_and_bounds_are_distinguished():
    assert float(metrics.accuracy([[1e6, 1e6 + 0.01], [1e6 + 0.01, 1e6]], [1, 0])) == 1
    assert float(metrics.accuracy([0.5 + 1e-9, 0.5 - 1e-9], [1, 0])) == 1
    low = np.array([1e6, 1e6])
    assert float(metrics.coverage(low, low + 0.01, low + [0.005, 0.02])) == 0.5
    curve = metrics.coverage_curve(low, np.full(2, 1e-4), low + [0.005, 0.02], levels=(0.5,))
    assert curve.observed.tolist() == [0.5]
    assert curve.observed.dtype == jnp.float32


# ----------------------------------------------------------------------------------------- NaN, and labels out of range
CLASS_FUNCTIONS = (
    metrics.accuracy, metrics.top_k_accuracy, metrics.confusion_matrix, metrics.precision_recall_f1,
    metrics.classification_report, metrics.reliability, metrics.calibration_error,
)  # fmt: skip
YES_NO_FUNCTIONS = (metrics.accuracy, metrics.binary_accuracy, metrics.confusion_matrix, metrics.precision_recall_f1)


@pytest.mark.parametrize("fn", CLASS_FUNCTIONS)
def test_nan_among_predictions_is_refused(fn):
    p = np.array([[0.2, 0.8], [np.nan, 0.5], [0.5, 0.5]], "float32")
    for predictions in (p, p.astype("float64"), jnp.asarray(p), jnp.asarray(p, jnp.bfloat16), p.tolist()):
        with pytest.raises(fnn.InputError, match=rf"{fn.__name__}: .*without NaN, got NaN in 1 of 3"):
            fn(predictions, [1, 0, 1])


def test_nan_among_yes_no_scores_and_bounds_is_refused():
    for fn in (*YES_NO_FUNCTIONS, metrics.classification_report):
        for p, t in (([0.2, np.nan], [0, 0]), ([[0.2, np.nan], [0.5, 0.9]], [[0, 0], [1, 1]])):
            with pytest.raises(fnn.InputError, match=rf"^{fn.__name__}: .*without NaN, got NaN in 1 of 2 rows"):
                fn(p, t)
    with pytest.raises(fnn.InputError, match=r"^coverage: expected targets without NaN, got 1 NaN of 2"):
        metrics.coverage([0.0, 0.0], [1.0, 1.0], [0.5, np.nan])
    with pytest.raises(fnn.InputError, match=r"^coverage_curve: expected mean without NaN"):
        metrics.coverage_curve([0.0, np.nan], [1.0, 1.0], [0.5, 0.5])


def test_nan_counts_as_wrong_in_compiled_code():
    p, t, w = np.array([[np.nan, 1, 0], [5, 1, 0], [np.nan] * 3], "f"), np.array([0, 0, 0]), np.ones(3, "f")

    @jax.jit
    def compiled(p, targets):
        of_tasks = tuple(get_metric(name) for name in ("accuracy", "top_k_accuracy", "recall"))
        return (
            [metrics.accuracy(p, targets), metrics.top_k_accuracy(p, targets, k=3)],
            scored(of_tasks, p, targets, w),
            metrics.precision_recall_f1(p, targets),
            metrics.confusion_matrix(p, targets),
        )

    for targets in (t, np.eye(3, dtype="f")[t]):
        functions, of_tasks, scores, matrix = compiled(p, targets)
        np.testing.assert_allclose(functions, [1 / 3, 1 / 3], 1e-6)
        np.testing.assert_allclose(of_tasks, [1 / 3, 1 / 3, 1 / 9], 1e-6)
        np.testing.assert_allclose(scores.recall, [1 / 3, 0, 0], 1e-6)  # they still count as examples of class 0
        np.testing.assert_allclose(scores.precision, [1, 0, 0], 1e-6)
        np.testing.assert_array_equal(matrix, np.diag([1, 0, 0]))
    labels, metric = np.array([[1, 0, 0]] * 3), get_metric("accuracy", losses.binary_crossentropy)
    assert float(scored(metric, p, labels, w)) == pytest.approx(3 / 9)  # NaN is wrong for 0 as for 1
    assert float(scored(metric, p[:, :1], t, w)) == 0


@pytest.mark.parametrize(
    "labels",
    [np.array([0, 3]), np.array([0, -1]), np.array([255, 0], "uint8"), np.array([0, 2**32]), np.array([0, 2**40 + 1])],
)
def test_labels_outside_the_classes_are_refused(labels):
    p = np.eye(3, dtype="f")[[0, 1]]
    for fn in CLASS_FUNCTIONS:
        with pytest.raises(fnn.InputError, match=r"expected class numbers in \[0, 3\)|targets that int32 holds"):
            fn(p, labels)
    for fn in YES_NO_FUNCTIONS:
        with pytest.raises(fnn.InputError, match=r"expected targets of 0 and 1, or -1|targets that int32 holds"):
            fn(np.array([0.1, 0.9], "f"), labels)


def test_labels_outside_the_classes_count_as_wrong_in_compiled_code():
    p, w = np.eye(3, dtype="f")[[0, 1, 0]], np.ones(3, "f")
    found = tuple(get_metric(name) for name in ("accuracy", "top_k_accuracy", "recall", "precision"))
    for targets in (
        np.array([0, -1, 3]),
        np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], "f"),
        np.array([0, 255, 7], "uint8"),
    ):
        np.testing.assert_allclose(scored(found, p, targets, w), [1 / 3, 1 / 3, 1 / 3, 1 / 6], 1e-6)
    fractions = np.array([0.0, 0.5, 1.0])
    with pytest.raises(fnn.InputError, match="expected targets of 0 and 1"):
        metrics.accuracy(np.array([0.1, 0.9, 0.2], "f"), fractions)


# -------------------------------------------------------------------------------------------------------------- weights
@pytest.mark.parametrize("name", few(METRICS))
def test_a_row_of_weight_zero_is_ignored(name):
    p, t = batch_of(name, np.random.default_rng(5), 9)
    w = np.random.default_rng(6).uniform(0.5, 2, 9).astype("float32")
    w[[2, 7]] = 0
    valid = p.copy(), t.copy()
    p[[2, 7]] = np.nan
    t[2] = np.nan if t.dtype.kind == "f" else -5
    metric, rest = get_metric(name), w > 0
    want = scored(metric, p[rest], t[rest], w[rest])
    assert np.isfinite(want)
    assert float(results[name](measures[name](p, t, w))) == pytest.approx(float(want), rel=1e-5)
    fn = getattr(metrics, {"r2": "r2_score"}.get(name, name), None)
    if fn is not None and name != "auc":  # exact there, binned here
        got = float(fn(p, t, sample_weight=w))
        assert got == pytest.approx(float(want), rel=1e-5)
        assert got == pytest.approx(float(fn(*valid, sample_weight=w)), rel=1e-6)


def test_tables_ignore_rows_of_weight_zero(data):
    p, t, w = data
    p, t, w = p.copy(), t.copy(), w.copy()
    w[[1, 4]], p[1], t[4] = 0, np.nan, 99
    rest = w > 0
    for weights in (w, rest.astype("f")):
        options = {"sample_weight": weights}
        less = t[rest], p[rest].argmax(1)
        want = sk.precision_recall_fscore_support(*less, zero_division=0, sample_weight=weights[rest])
        np.testing.assert_allclose(metrics.precision_recall_f1(p, t, **options), want, 1e-5)
        want = sk.confusion_matrix(*less, sample_weight=weights[rest])
        np.testing.assert_allclose(metrics.confusion_matrix(p, t, **options), want, 1e-5)
        assert metrics.confusion_matrix(np.nan_to_num(p).argmax(1), t, **options).shape == (5, 5)
        plain = metrics.classification_report(p[rest], t[rest], sample_weight=weights[rest])
        assert metrics.classification_report(p, t, **options) == plain


WEIGHTED = (
    metrics.accuracy, metrics.binary_accuracy, metrics.top_k_accuracy, metrics.confusion_matrix, metrics.mae,
    metrics.precision_recall_f1, metrics.classification_report, metrics.rmse, metrics.r2_score,
)  # fmt: skip


@pytest.mark.parametrize("fn", WEIGHTED)
def test_invalid_weights_are_refused(fn):
    p, t = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], "f"), np.array([[0, 1], [0, 1], [1, 0]], "f")
    assert fn(p, t, sample_weight=[1, 0.5, 0]) is not None
    for bad, match in (
        ([1, np.nan, 1], "expected finite sample weights, got nan in row 1"),
        ([1, 1, np.inf], "expected finite sample weights, got inf in row 2"),
        ([-0.5, 1, 1], "expected weights of at least 0, got -0.5 in row 0"),
        ([0, 0, 0], "expected at least one weight above 0, got none"),
        (["a", "b", "c"], "sample weights: expected an array of numbers, got text"),
        ([1, 1], r"expected sample weights of shape \(3,\)"),
    ):
        with pytest.raises(fnn.InputError, match=match):
            fn(p, t, sample_weight=bad)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)])
def test_half_precision_counts_more_than_256(dtype, rng):
    p = rng.uniform(size=(3000, 2)).astype(dtype)
    t = p.argmax(-1) ^ (np.arange(3000) % 5 == 0)
    assert float(metrics.accuracy(p, t)) == pytest.approx(0.8)
    assert np.sum(metrics.confusion_matrix(p, t)) == 3000
    found = get_metric("accuracy"), get_metric("f1")
    low, high = (scored(found, q, t, np.ones(3000, q.dtype)) for q in (p, p.astype("float32")))
    np.testing.assert_allclose(low, high, 1e-6)
    numbers = (rng.normal(size=3000) + 300).astype(dtype)
    targets = (numbers.astype("float64") - 300).astype("float32")
    found = tuple(get_metric(name) for name in ("mse", "rmse", "mae"))
    got = scored(found, numbers, targets, np.ones(3000, dtype))
    assert {value.dtype for value in got} == {jnp.dtype("float32")}
    np.testing.assert_allclose(got, [90000, 300, 300], 1e-5)


# ---------------------------------------------------------------------------------------------- during training
def test_evaluate_warns_of_nan_and_counts_it_as_wrong():
    x, y = np.ones((6, 2), "float32"), np.zeros(6, "int32")
    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", metrics=("accuracy", "recall", "top_k_accuracy"))
    ts = fnn.init(task, jax.random.key(0), x)
    ts = ts._replace(params=jax.tree.map(lambda a: np.full_like(a, np.nan), ts.params))
    for data in ((x, y), [(x, y)], (x, y, np.array([1, 1, 1, 0, 0, 2], "f"))):
        rows = 4 if len(data) == 3 else 6
        with pytest.warns(RuntimeWarning, match=rf"evaluate: the predictions of {rows} examples hold NaN"):
            logs = fnn.evaluate(task, ts, data)
        assert [logs[name] for name in ("accuracy", "recall", "top_k_accuracy")] == [0, 0, 0]
        assert list(logs.keys()) == ["loss", "accuracy", "recall", "top_k_accuracy"]

    def forgiving(p, t):
        return jnp.nan_to_num(losses.sparse_categorical_crossentropy(p, t))

    scale = jnp.array([jnp.nan, 1, 1])
    model = fnn.Layer(lambda key, x: ({}, {}), lambda p, s, x, *, key=None, train=False: (x * scale, s))
    task = fnn.Task(model, forgiving, metrics=("accuracy",))
    ts = fnn.init(task, jax.random.key(0), np.ones((1, 3), "f"))
    data = np.ones((6, 3), "f"), y
    with pytest.warns(RuntimeWarning, match=r"fit, validation_data: the predictions of 6 examples hold NaN") as told:
        _, history = fnn.fit(task, ts, data, epochs=2, validation_data=data, verbose=0)
    assert len(told) == 1
    assert history["val_accuracy"] == [0, 0] == history["accuracy"]


def test_weights_that_are_all_zero_are_refused():
    x, y, none = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32"), np.zeros(4, "float32")
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.0), metrics=("r2", "mae"))
    ts = fnn.init(task, jax.random.key(0), x)
    match = r"sample_weight: expected at least one weight above 0, got none"
    for call in (
        lambda: fnn.evaluate(task, ts, (x, y, none)),
        lambda: fnn.evaluate(task, ts, [(x, y, none)]),
        lambda: fnn.fit(task, ts, (x, y, none), verbose=0),
        lambda: fnn.fit(task, ts, (x, y), validation_data=(x, y, none), verbose=0),
    ):
        with pytest.raises(fnn.InputError, match=match):
            call()
    logs = fnn.evaluate(task, ts, [(x, y, none), (x, y, none + 1)])  # one batch of several may have none
    assert np.isfinite(list(logs.values())).all()


def test_labels_are_checked_for_metrics_of_other_losses():
    x = np.ones((4, 2), "float32")

    def own(p, t):
        return jnp.mean(p, tuple(range(1, p.ndim)))

    @functools.cache
    def state(units):
        return fnn.init(fnn.Task(fnn.Dense(units), own), jax.random.key(0), x)

    def call(targets, units=3, loss=own, metric="accuracy", weight=None):
        task = fnn.Task(fnn.Dense(units), loss, metrics=(metric,))
        data = (x, targets) if weight is None else (x, targets, weight)
        return fnn.evaluate(task, state(units), data)

    assert call(np.array([0, 1, 2, 2])).keys() == {"loss", "accuracy"}
    assert call(np.eye(3, dtype="f")[[0, 1, 2, 2]] * 0.7 + 0.1).keys() == {"loss", "accuracy"}  # soft labels
    assert call(np.array([0, 1, 2, -1]), weight=np.array([1, 1, 1, 0.0])).keys() == {"loss", "accuracy"}
    for metric in ("accuracy", "f1", metrics.top_k(2)):
        for wrong in (np.array([0, 1, 2, 3]), np.array([0, 1, -1, 2]), np.array([0, 255, 1, 1], "uint8")):
            with pytest.raises(fnn.InputError, match=r"metric '\w+': expected class numbers in \[0, 3\) for 3 scores"):
                call(wrong, metric=metric)
    labels = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])
    for loss in (own, "mse"):
        with pytest.raises(fnn.InputError, match=r"metric 'accuracy': .*'binary_accuracy', or the loss 'binary_cross"):
            call(labels, loss=loss)
        with pytest.raises(
            fnn.InputError, match=r"metric 'accuracy': .*which sum to 1, got 2 rows that are not, the first at index 0"
        ):
            call(labels.astype("f"), loss=loss)
    found = (get_metric("f1", losses.mean_squared_error),)
    with pytest.raises(fnn.InputError, match=r"^metric 'f1': expected class numbers in"):
        check_labels(found, losses.mean_squared_error, jnp.ones((2, 3)), np.array([0, 3]))
    assert call(labels, metric="binary_accuracy").keys() == {"loss", "binary_accuracy"}
    with pytest.raises(fnn.InputError, match=r"metric 'accuracy': expected targets of 0 and 1, or -1 and \+1"):
        call(np.array([0, 1, 2, 0]), units=1)


# -------------------------------------------------------------------------------------------------- directions
def test_direction():
    for name in set(losses.LOSSES) - {"cosine_similarity"}:
        assert metrics.direction(name) == metrics.direction(f"val_{name}") == "min"
    want = dict.fromkeys(METRICS, "max") | dict.fromkeys(("rmse", "mae", "mse", "mape"), "min")
    assert {name: metrics.direction(name) for name in METRICS} == want
    for name, better in (("val_acc", "max"), ("val_AUC", "max"), ("val_MeanSquaredError", "min"), ("R2Score", "max")):
        assert metrics.direction(name) == better
    for name in ("auc_2", "val_bias", "my_accuracy", "inaccuracy", "neg_mse", "seconds", "lossy", ""):
        assert metrics.direction(name) is None
    assert metrics.direction("digit_loss") == metrics.direction("val_digit_loss") == "min"


def test_one_hot_rows_mean_classes_in_every_dtype():
    p, t = np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[0, 1, 2, 2]]
    for dtype in ("float32", "int8", "bool"):
        for multi_label in (None, False):
            rows = p.astype(dtype), t.astype(dtype)
            assert float(metrics.accuracy(*rows, multi_label=multi_label)) == 0.75
            np.testing.assert_array_equal(
                metrics.confusion_matrix(*rows, multi_label=multi_label), [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
            )


def test_invalid_thresholds_are_refused():
    for threshold, said in ((np.nan, "finite"), ("0.5", "number"), (np.inf, "finite")):
        with pytest.raises(fnn.InputError, match=rf"accuracy: expected threshold to be .*{said}"):
            metrics.accuracy([0.3], [1], threshold=threshold)
