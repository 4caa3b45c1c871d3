"""Metrics: against scikit-learn, gathered over any split of the data, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

import fnn
from fnn import losses, metrics
from fnn.metrics import METRICS, get_metric, mean_metric


@pytest.fixture(scope="module")
def data():
    """Scores, class numbers that follow them now and then, and weights."""
    rng = np.random.default_rng(3)
    t = rng.choice(5, 60, p=[0.1, 0.4, 0.1, 0.15, 0.25]).astype("int32")
    p = rng.normal(size=(60, 5)).astype("float32") + 1.2 * np.eye(5, dtype="float32")[t]
    return p, t, rng.uniform(0, 3, 60).astype("float32")


def test_accuracy_is_scikit_learn_s(data):
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
def test_top_k_accuracy_is_scikit_learn_s(data, k):
    p, t, w = data
    for weight in (None, w):
        want = sk.top_k_accuracy_score(t, p, k=k, sample_weight=weight) if k < 5 else 1.0
        assert float(metrics.top_k_accuracy(p, t, k=k, sample_weight=weight)) == pytest.approx(want, rel=1e-5)
        assert float(metrics.top_k_accuracy(p, np.eye(5)[t], k=k, sample_weight=weight)) == pytest.approx(
            want, rel=1e-5
        )


def test_top_k_with_equal_scores_counts_k_classes_at_most():
    p = np.zeros((4, 4), "float32")
    assert [float(metrics.top_k_accuracy(p, np.arange(4), k=k)) for k in (1, 2, 4)] == [0.25, 0.5, 1]
    assert float(metrics.top_k_accuracy(np.full((1, 3), np.nan, "float32"), [0], k=3)) == 0


def test_confusion_matrix_is_scikit_learn_s(data):
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


def test_precision_recall_f1_and_support_are_scikit_learn_s(data):
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


def test_classification_report_has_scikit_learn_s_numbers(data):
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


def test_regression_metrics_are_scikit_learn_s(rng):
    for shape in ((40,), (40, 3)):
        p, t, w = rng.normal(size=shape), rng.normal(size=shape), rng.uniform(size=40)
        p, t = (0.5 * p + t).astype("float32"), t.astype("float32")
        for weight in (None, w):
            for ours, theirs in (
                (metrics.rmse, lambda *a, **k: sk.mean_squared_error(*a, **k) ** 0.5),
                (metrics.mae, sk.mean_absolute_error),
                (metrics.r2_score, sk.r2_score),
            ):
                assert float(ours(p, t, sample_weight=weight)) == pytest.approx(
                    theirs(t, p, sample_weight=weight), rel=2e-5
                )


def test_r2_of_constant_targets_is_scikit_learn_s():
    t = np.array([[1.0, 2.0, 5.0], [1.0, 3.0, 5.0], [1.0, 4.0, 5.0]], "float32")
    for p in (t, t + np.array([[0.1, 0, 0]] * 3, "float32")):
        assert float(metrics.r2_score(p, t)) == pytest.approx(sk.r2_score(t, p))


# ----------------------------------------------------------------------------------------------------------- streaming
def batch_of(name, rng, size):
    if name in ("rmse", "mae", "mse", "r2"):
        t = rng.normal(size=(size, 2)).astype("float32")
        return (t + rng.normal(size=t.shape)).astype("float32"), t
    if name == "binary_accuracy":
        return rng.uniform(size=(size, 3)).astype("float32"), rng.integers(0, 2, (size, 3)).astype("int32")
    t = rng.integers(0, 7, size).astype("int32")
    return (rng.normal(size=(size, 7)) + 2 * np.eye(7)[t]).astype("float32"), t


measures = {name: jax.jit(get_metric(name).measure) for name in METRICS}


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
    return float(metric.result(totals))


@pytest.mark.parametrize("name", METRICS)
def test_parts_merge_to_the_whole(name):
    @settings(max_examples=8)
    @given(st.lists(st.integers(0, 12), max_size=3), st.integers(0, 2**32 - 1))
    def check(cuts, seed):
        rng = np.random.default_rng(seed)
        p, t = batch_of(name, rng, 12)
        w = rng.uniform(0.1, 2, 12).astype("float32")
        metric = get_metric(name)
        whole = float(metric.result(jax.tree.map(np.asarray, measures[name](p, t, w))))
        assert np.isfinite(whole)
        assert gather(name, p, t, w, sorted(cuts)) == pytest.approx(whole, rel=1e-4, abs=1e-5)

    check()


@pytest.mark.parametrize("name", METRICS)
def test_rows_of_weight_zero_do_not_count(name):
    p, t = batch_of(name, np.random.default_rng(5), 9)
    w = np.ones(9, "float32")
    want = float(get_metric(name).result(measures[name](p, t, w)))
    assert gather(name, p, t, w, [], width=12) == pytest.approx(want, rel=1e-5)
    assert 0 < abs(want) < 10


def test_r2_with_a_large_mean_in_float32():
    rng = np.random.default_rng(2)
    t = (rng.normal(size=400) + 5000).astype("float32")
    p = (t + 0.3 * rng.normal(size=400)).astype("float32")
    want = sk.r2_score(t.astype("float64"), p.astype("float64"))
    measure, metric = jax.jit(get_metric("r2").measure), get_metric("r2")
    totals = None
    for i in range(0, 400, 50):
        part = measure(p[i : i + 50], t[i : i + 50], np.ones(50, "float32"))
        totals = metric.merge(jax.tree.map(jnp.zeros_like, part) if totals is None else totals, part)
    assert float(metric.result(totals)) == pytest.approx(want, abs=2e-3)


def test_class_metrics_are_macro_means_and_class_one_of_two(data):
    p, t, w = data
    for name in ("precision", "recall", "f1"):
        score = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}[name]
        metric = get_metric(name)
        got = metric.result(metric.measure(p, t, w))
        assert float(got) == pytest.approx(score(t, p.argmax(1), average="macro", sample_weight=w), rel=1e-5)
        single, binary = p[:, 0], (t > 1).astype("int32")
        got = metric.result(metric.measure(single, binary, w))
        want = score(binary, single > 0.5, sample_weight=w)
        assert float(got) == pytest.approx(want, rel=1e-5)
        got = metric.result(metric.measure(np.stack([0 * single + 0.5, single], 1), binary, w))
        assert float(got) == pytest.approx(want, rel=1e-5)


# --------------------------------------------------------------------------------------------------------------- names
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


def test_the_threshold_follows_the_loss():
    p, t, w = np.array([0.3, 0.7, -0.2], "float32"), np.array([1, 1, 0]), np.ones(3, "float32")

    def value(loss):
        metric = get_metric("accuracy", loss)
        assert metric.name == "accuracy"
        return float(metric.result(metric.measure(p, t, w)))

    assert value(losses.binary_crossentropy) == value(losses.logistic) == 1
    assert value(losses.mean_squared_error) == value(None) == pytest.approx(2 / 3)
    # several labels per example
    metric = get_metric("accuracy", losses.binary_crossentropy)
    many = metric.measure(np.array([[1.0, -1.0], [2.0, 3.0]], "float32"), np.array([[1, 0], [0, 1]]), w[:2])
    assert float(metric.result(many)) == 0.75


P = np.zeros((4, 3), "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: get_metric("acuracy"), r"metric: .* got 'acuracy'\. Did you mean 'accuracy'"),
        (
            lambda: metrics.accuracy(P, np.zeros(4)),
            r"targets: expected integer class numbers, or one-hot rows, got float\d+\[4\]\. Use y\.astype\('int32'\)",
        ),
        (
            lambda: metrics.accuracy(np.zeros(4, int), np.array([0.0, 1, 2, 3])),
            r"expected integer class numbers, or one-hot rows",
        ),
        (lambda: metrics.confusion_matrix(P, np.zeros(4)), r"expected integer class numbers, or one-hot rows"),
        (lambda: metrics.top_k_accuracy(P, np.zeros(4)), r"expected integer class numbers, or one-hot rows"),
        (
            lambda: metrics.accuracy(P, np.zeros((4, 2), int)),
            r"accuracy: expected targets that fit the predictions, got float32\[4, 3\] and int32\[4, 2\]",
        ),
        (
            lambda: metrics.accuracy(P, np.zeros(3, int)),
            r"accuracy: expected predictions and targets of the same length",
        ),
        (
            lambda: metrics.accuracy(P[:0], np.zeros(0, int)),
            r"accuracy: expected at least one example, got float32\[0, 3\]",
        ),
        (lambda: metrics.accuracy(0.5, 1), r"accuracy: expected at least one example"),
        (
            lambda: metrics.accuracy(P, np.zeros(4, int), sample_weight=np.ones(3)),
            r"accuracy: expected sample weights of shape \(4,\), got float32\[3\]",
        ),
        (
            lambda: metrics.binary_accuracy(P, np.zeros(4)),
            r"binary_accuracy: expected targets of the predictions' shape",
        ),
        (
            lambda: metrics.top_k_accuracy(P[:, 0], np.zeros(4, int)),
            r"top_k_accuracy: expected predictions \(batch, \.\.\., classes\)",
        ),
        (
            lambda: metrics.top_k_accuracy(P, np.zeros(4, int), k=0),
            r"top_k: expected k to be an integer of at least 1, got 0",
        ),
        (lambda: metrics.rmse(P, P[:, :2]), r"mean_squared_error: expected targets of the predictions' shape"),
        (lambda: metrics.r2_score(P, P[:, 0]), r"r2: expected targets of the predictions' shape"),
        (
            lambda: get_metric("f1").measure(P, np.zeros((4, 2), int), np.ones(4)),
            r"f1: expected targets that fit the predictions",
        ),
        (
            lambda: mean_metric("mine", lambda p, t: p).measure(P, P, np.ones(4)),
            r"metric 'mine': expected one value per example, of shape \(4,\), got float32\[4, 3\]",
        ),
        (
            lambda: metrics.confusion_matrix([0, 1], [0, 1, 1]),
            r"confusion_matrix: expected predictions and targets of the same, positive length",
        ),
        (
            lambda: metrics.confusion_matrix([0, 1], [0, 4], num_classes=3),
            r"expected class numbers in \[0, 3\), got numbers from 0 to 4",
        ),
        (
            lambda: metrics.confusion_matrix(P, [0, -1, 0, 0]),
            r"expected class numbers in \[0, 3\), got numbers from -1 to 0",
        ),
        (
            lambda: metrics.confusion_matrix([0], [0], num_classes=0),
            r"expected num_classes to be an integer of at least 1, got 0",
        ),
        (
            lambda: fnn.classification_report(P, [0, 1, 2, 0], names=["a", "b"]),
            r"classification_report: expected 3 names, got 2 names",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


def test_negative_labels_count_for_no_class():
    scores, labels = np.eye(3, dtype="f")[[0, 1, 2]], np.array([0, 1, -1])
    metric = fnn.metrics.get_metric("f1")
    totals = metric.measure(jnp.asarray(scores), jnp.asarray(labels), jnp.ones(3))
    np.testing.assert_array_equal(totals, np.diag([1, 1, 0]))
    assert float(fnn.metrics.top_k_accuracy(scores, labels, k=1)) == pytest.approx(2 / 3)


def test_scores_that_are_logits_are_seen():
    labels = (metrics.accuracy, metrics.binary_accuracy)
    for fn in (*labels, metrics.confusion_matrix, metrics.classification_report, metrics.precision_recall_f1):
        match = r"in \[0, 1\], which are cut at 0.5, got scores from -1 to 2. Logits need threshold=0.0"
        with pytest.raises(fnn.InputError, match=f"^{fn.__name__}: expected probabilities {match}"):
            fn([-1.0, 2.0], [0.0, 1.0] if fn is metrics.binary_accuracy else [0, 1])
    assert float(metrics.accuracy([-1.0, 2.0], [0, 1], threshold=0)) == 1


def test_swapped_arguments_and_text_are_refused(data):
    p, t, _ = data
    tables = (metrics.confusion_matrix, metrics.classification_report, metrics.precision_recall_f1)
    for fn in (metrics.accuracy, metrics.top_k_accuracy, *tables):
        for targets in (p, 2 * np.eye(5, dtype="f")[t], np.ones_like(p)):
            for predictions in (t, p):
                with pytest.raises(fnn.InputError, match=f"^{fn.__name__}: .*swapped. Predictions come first"):
                    fn(predictions, targets)
        for targets in (list("ab"), np.array(["a", "b"]), np.array(["a", "b"], object)):
            match = rf"^{fn.__name__} targets: expected an array of numbers, got text, .*names, y = np.unique\(labels"
            with pytest.raises(fnn.InputError, match=match):
                fn([[0.1, 0.9], [0.8, 0.2]], targets)
        with pytest.raises(fnn.InputError, match="predictions: expected an array of numbers, got text"):
            fn(["a", "b"], [0, 1])
    with pytest.raises(fnn.InputError, match=r"^binary_accuracy: expected targets of 0 and 1, .* swapped"):
        metrics.binary_accuracy([[0.0, 1.0], [1.0, 1.0]], [[0.3, 0.8], [0.9, 0.2]])
    assert float(metrics.binary_accuracy([[0.1, 0.9], [0.8, 0.9]], [[0.0, 1.0], [1.0, 1.0]])) == 1
    # Where values are not known they are not looked at, nor by the metrics of a task.
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
