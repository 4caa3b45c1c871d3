"""Calibration: reliability curves and coverage against scikit-learn and NumPy, and their pictures."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.calibration import calibration_curve

import fnn
from fnn import metrics
from fnn.metrics import CoverageCurve, Reliability


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def classes(rng):
    """Probabilities of four classes with labels drawn roughly from them."""
    p = rng.dirichlet([0.5, 1, 0.7, 0.3], 400).astype("float32")
    y = np.array([rng.choice(4, p=row / row.sum()) for row in (p + 0.1).astype(float)])
    return p, y


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# ---------------------------------------------------------------------------------------------------------- reliability
@pytest.mark.parametrize("bins", [4, pytest.param(15, marks=pytest.mark.slow)])
def test_reliability_of_one_score_matches_scikit_learn(bins, rng):
    p = rng.beta(0.6, 0.8, 500).astype("float32")
    y = (rng.uniform(size=500) < p**2).astype(int)
    accuracy, confidence = calibration_curve(y, p, n_bins=bins)
    forms = [(p, y), (p[:, None], y), (p, y[:, None]), (p[:, None], 2 * y - 1), (p, y * 1.0)]
    compiled = jax.jit(lambda forms: [metrics.reliability(*pair, bins=bins) for pair in forms])
    for found in (metrics.reliability(p, y, bins=bins), *compiled(forms)):
        found = Reliability(*map(np.asarray, found))
        full = found.counts > 0
        np.testing.assert_allclose(found.accuracy[full], accuracy, 1e-5)
        np.testing.assert_allclose(found.confidence[full], confidence, 1e-5)
        assert found.counts.sum() == 500


def test_reliability_of_classes_uses_their_largest_probability(classes):
    p, y = classes
    right = p.argmax(1) == y
    accuracy, confidence = calibration_curve(right, p.max(1), n_bins=10)
    for found in (jax.jit(metrics.reliability)(p, np.eye(4)[y]), metrics.reliability(p, y)):
        found = Reliability(*map(np.asarray, found))
        full = found.counts > 0
        assert not full[:2].any()  # of four classes the most probable has at least 1/4
        np.testing.assert_allclose(found.accuracy[full], accuracy, 1e-5)
        np.testing.assert_allclose(found.confidence[full], confidence, 1e-5)
        assert np.isnan(found.accuracy[~full]).all()
    counts = np.histogram(p.max(1), np.linspace(0, 1, 11))[0]
    np.testing.assert_array_equal(found.counts, counts)
    want = sum(
        abs(right[inside].mean() - p.max(1)[inside].mean()) * inside.mean()
        for i in range(10)
        if (inside := (p.max(1) > i / 10) & (p.max(1) <= (i + 1) / 10)).any()
    )
    assert float(found.error) == pytest.approx(want, 1e-4)
    assert float(metrics.calibration_error(p, y)) == pytest.approx(want, 1e-4)


def test_edges_belong_to_the_bin_below():
    found = metrics.reliability([0.0, 0.25, 0.25, 0.5, 1.0], [0, 1, 0, 1, 1], bins=4)
    np.testing.assert_array_equal(found.counts, [3, 1, 0, 1])
    np.testing.assert_allclose(found.accuracy, [1 / 3, 1, np.nan, 1], 1e-6)


@pytest.mark.slow
def test_reliability_of_sequences(rng):
    p, y = rng.dirichlet([1, 2, 1], (5, 7)).astype("float32"), rng.integers(0, 3, (5, 7))
    flat = metrics.reliability(p.reshape(-1, 3), y.ravel())
    for a, b in zip(metrics.reliability(p, y), flat, strict=True):
        np.testing.assert_array_equal(a, b)


HALF = np.full((4, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.reliability([0.2, 3.0], [0, 1]), r"\[0, 1\], got values from 0\.2 to 3\. .*sigmoid\(logits\)"),
        (lambda: metrics.reliability([[-1.0, 2.0]], [0]), r"expected probabilities in .*softmax\(logits\)"),
        (lambda: metrics.reliability([[np.nan, 0.5]], [0]), r"reliability: expected predictions without NaN"),
        (lambda: metrics.reliability([[0.9, 0.9]], [0]), r"rows that sum to 1, got sums from 1\.8 .*y\.ravel\(\)"),
        (lambda: metrics.reliability(HALF, [0, 1, 1]), r"targets of the same length"),
        (lambda: metrics.reliability([0, 1], [0, 1]), r"expected a floating-point x, got int\d+\[2\]"),
        (lambda: metrics.reliability(np.zeros((0, 3)), []), r"expected at least one example"),
        (lambda: metrics.reliability(HALF, [0] * 4, bins=0), r"bins to be an integer of at least 1, got 0"),
        (lambda: metrics.calibration_error(HALF, ["a"] * 4), r"calibration_error, targets: expected an array"),
        (lambda: metrics.coverage([0.0], [1.0, 2.0], [0.0]), r"coverage: expected low and high of the same shape"),
        (
            lambda: metrics.coverage([1.0], [0.0], [0.0]),
            r"coverage: expected low <= high in every row, got low > high in 1 of 1",
        ),
        (lambda: metrics.coverage([np.nan], [0.0], [0.0]), r"coverage: expected low <= high in every row"),
        (lambda: metrics.coverage(HALF, HALF, np.zeros(4)), r"coverage: expected targets of the predictions' shape"),
        (lambda: metrics.coverage([1], [2], [1]), r"coverage, low: expected a floating-point x"),
        (lambda: metrics.gaussian_interval([0.0], [1.0], 90), r"a fraction in \(0, 1\), got 90\. Write 0\.9\."),
        (lambda: metrics.gaussian_interval([0.0], [1.0], 1), r"expected a fraction in \(0, 1\), got 1\."),
        (lambda: metrics.gaussian_interval([0.0], [1.0], "0.9"), r"expected a fraction in \(0, 1\), got '0\.9'"),
        (lambda: metrics.gaussian_interval([0.0], [-1.0]), r"expected variances of at least 0, got -1"),
        (lambda: metrics.gaussian_interval([0.0], [1.0, 2.0]), r"expected mean and variance of the same shape"),
        (lambda: metrics.coverage_curve([0.0], [1.0], [0.0], levels=()), r"expected at least one level"),
        (lambda: metrics.coverage_curve([0.0], [1.0], [0.0], levels=(0.5, 1.5)), r"got 1\.5\. Write 0\.015\."),
        (lambda: metrics.coverage_curve([[0.0]], [[1.0]], [[0.0, 1.0]]), r"coverage_curve: expected targets of"),
    ],
)
def test_metrics_refuse_bad_input(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


# ------------------------------------------------------------------------------------------------------------- coverage
def test_coverage_and_width(rng):
    low, high = (a.astype("float32") for a in np.sort(rng.normal(size=(2, 60, 2)), 0))
    t = rng.normal(size=(60, 2)).astype("float32")
    assert float(metrics.coverage(low, high, t)) == pytest.approx(((low <= t) & (t <= high)).mean())
    assert float(metrics.interval_width(low, high)) == pytest.approx((high - low).mean(), 1e-5)
    # One number for each example, with or without a last axis.
    want = ((low[:, 0] <= t[:, 0]) & (t[:, 0] <= high[:, 0])).mean()
    assert float(metrics.coverage(low[:, :1], high[:, :1], t[:, 0])) == pytest.approx(want)
    assert float(metrics.coverage(low[:, 0], high[:, 0], t[:, 0])) == pytest.approx(want)


def test_intervals_match_scipy(rng):
    mean, variance = rng.normal(size=(7, 2)), rng.uniform(0.2, 3, (7, 2))
    for level in (0.5, 0.9, 0.99):
        low, high = metrics.gaussian_interval(mean.astype("float32"), variance.astype("float32"), level)
        want = norm.interval(level, mean, np.sqrt(variance))
        np.testing.assert_allclose((low, high), want, 1e-4, 1e-5)


def test_the_curve_matches_the_coverage_of_each_level(rng):
    mean, variance = rng.normal(size=(300, 1)).astype("float32"), rng.uniform(0.2, 3, (300, 1)).astype("float32")
    t = (mean + rng.standard_t(3, (300, 1)) * np.sqrt(variance)).astype("float32")
    curve = metrics.coverage_curve(mean, variance, t[:, 0])
    assert curve.nominal.shape == (len(metrics.LEVELS),)
    for level, observed, width in zip(metrics.LEVELS, *curve[1:], strict=True):
        ends = metrics.gaussian_interval(mean, variance, level)
        assert float(observed) == pytest.approx(float(metrics.coverage(*ends, t)))
        assert float(width) == pytest.approx(float(metrics.interval_width(*ends)), 1e-5)
    assert float(curve.error) == pytest.approx(float(np.abs(curve.observed - curve.nominal).mean()), 1e-5)


def test_the_curve_of_calibrated_gaussians_is_the_diagonal(rng):
    mean, deviation = rng.normal(size=20000), rng.uniform(0.5, 2, 20000)
    t = rng.normal(mean, deviation)
    curve = metrics.coverage_curve(*(a.astype("float32") for a in (mean, deviation**2, t)))
    np.testing.assert_allclose(curve.observed, curve.nominal, atol=0.012)  # more than three standard errors
    wide = metrics.coverage_curve(*(a.astype("float32") for a in (mean, 4 * deviation**2, t)))
    assert (wide.observed > wide.nominal).all()


# ------------------------------------------------------------------------------------------------------------- pictures
def test_picture_of_one_curve(classes):
    p, y = classes
    curve = metrics.reliability(p, y, bins=12)
    ax = fnn.plot.reliability(curve)
    diagonal, line = ax.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    points, counts = np.stack([curve.confidence, curve.accuracy], 1), np.asarray(curve.counts)
    few = (counts > 0) & (counts < 10)
    assert (few.sum(), (counts == 0).sum()) == (1, 3)
    np.testing.assert_allclose(line.get_xydata(), points[counts >= 10], 1e-6)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), points[few], 1e-6)
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, np.asarray(curve.counts) / 400, 1e-6)
    assert [text.get_text() for text in ax.texts] == [str(n) if n else "" for n in np.asarray(curve.counts)]
    assert legend(ax) == ["perfect calibration", f"ECE {float(curve.error):.3f}", "share of the examples"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("confidence", "accuracy")


def test_the_legend_covers_no_curve(rng):
    """An underconfident curve lies where the legend of an overconfident one has room."""
    p = rng.uniform(0.3, 0.9, 3000)
    bounds = {}
    for name, chance in (("too sure", 0.5 * p), ("not sure enough", np.full(3000, 0.93))):
        curve = metrics.reliability(p, (rng.uniform(size=3000) < chance).astype(int))
        ax = fnn.plot.reliability({name: curve})
        box = ax.get_legend().get_window_extent()
        assert not box.count_contains(ax.transData.transform(ax.lines[1].get_xydata()))
        bounds[name] = box.transformed(ax.transAxes.inverted())
    assert bounds["too sure"].y0 > 0.5
    assert bounds["not sure enough"].y0 > 1, "the bars leave no room below the curve"


def test_picture_of_several_curves(classes):
    p, y = classes
    sharp = p**3 / (p**3).sum(1, keepdims=True)
    curves = {"plain": metrics.reliability(p, y), "sharp": metrics.reliability(sharp, y)}
    ax = fnn.plot.reliability(curves)
    assert len(ax.lines) == 3
    assert ax.lines[1].get_marker() != ax.lines[2].get_marker()
    assert legend(ax)[1:3] == [f"{name}: ECE {float(curve.error):.3f}" for name, curve in curves.items()]
    left, right = ax.patches[9], ax.patches[19]  # of the last bin, side by side
    assert left.get_x() + left.get_width() <= right.get_x() + 1e-9
    assert not ax.texts


def test_picture_of_coverage():
    curve = CoverageCurve(*map(jnp.asarray, ([0.5, 0.9], [0.4, 0.8], [1.0, 2.0])))
    ax = fnn.plot.reliability({"one": curve})
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[0.5, 0.4], [0.9, 0.8]], 1e-6)
    assert legend(ax) == ["perfect calibration", "one: off by 0.100"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("nominal coverage", "observed coverage")
    assert not ax.patches


def test_picture_of_intervals_by_prediction(rng):
    mean = rng.permutation(30).astype(float)
    low, high = mean - rng.uniform(0.5, 2, 30), mean + rng.uniform(0.5, 2, 30)
    truth = mean + rng.normal(0, 1.5, 30)
    inside = (low <= truth) & (truth <= high)
    ax = fnn.plot.intervals(low[:, None], high, truth, mean=mean)
    bars, ticks, hits, misses = ax.collections
    order = np.argsort(mean)
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, np.stack([low, high], 1)[order])
    np.testing.assert_allclose(ticks.get_offsets()[:, 1], mean[order])
    np.testing.assert_allclose(hits.get_offsets()[:, 1], truth[order][inside[order]])
    np.testing.assert_allclose(misses.get_offsets()[:, 1], truth[order][~inside[order]])
    np.testing.assert_allclose(misses.get_offsets()[:, 0], np.flatnonzero(~inside[order]))
    assert ax.get_title() == f"{inside.sum()} of 30 rows inside ({100 * inside.mean():.1f} %)"
    assert ax.get_xlabel() == "rows, by prediction"
    assert legend(ax) == ["interval", "prediction", "truth inside", "truth outside"]
    # Fewer rows than there are: the first and the last are among them, and the title counts all.
    few = fnn.plot.intervals(low, high, truth, mean=mean, most=7)
    shown = few.collections[1].get_offsets()[:, 1]
    assert (len(shown), shown[0], shown[-1]) == (7, 0, 29)
    assert few.get_title() == ax.get_title()
    assert few.get_xlabel() == "7 of 30 rows, by prediction"


def test_picture_of_intervals_along_x(rng):
    x = rng.normal(size=25)
    low, high, truth = np.sin(x) - 0.5, np.sin(x) + 0.7, np.cos(x)
    ax = fnn.plot.intervals(low, high, truth, x=x[:, None])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), np.stack([np.sort(x), np.sin(np.sort(x)) + 0.1], 1), 1e-5)
    assert len(ax.collections[1].get_offsets()) + len(ax.collections[2].get_offsets()) == 25
    alone = fnn.plot.intervals(low, high, x=x)
    assert (len(alone.collections), alone.get_title()) == (1, "")


ONE = Reliability(*(np.ones(3) for _ in "abc"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.plot.reliability({}), r"reliability: expected curves of one kind, .* got an empty dict"),
        (lambda: fnn.plot.reliability([0.1, 0.2]), r"got a list\. Make them with fnn\.metrics\.reliability"),
        (lambda: fnn.plot.reliability({"a": ONE, "b": CoverageCurve(*ONE)}), r"got a CoverageCurve and a Reliability"),
        (lambda: fnn.plot.intervals([0, 1], [1, 2], [0]), r"the same length, got low: 2, high: 2, targets: 1"),
        (
            lambda: fnn.plot.intervals([0, 3], [1, 2], [0, 0]),
            r"expected low <= high in every row, got low > high in 1 of 2",
        ),
        (
            lambda: fnn.plot.intervals(HALF, HALF, HALF),
            r"low of shape \(rows,\) or .*, got float64\[4, 2\]\. Select one",
        ),
        (lambda: fnn.plot.intervals([0], [1], ["a"]), r"intervals, targets: expected an array of numbers, got text"),
        (lambda: fnn.plot.intervals([0], [1], [1], most=0), r"most to be an integer of at least 1"),
        (lambda: fnn.plot.intervals([], [], []), r"low of shape \(rows,\)"),
    ],
)
def test_pictures_refuse_bad_input(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
    assert not plt.get_fignums()
