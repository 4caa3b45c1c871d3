"""Losses: against Keras in value and gradient, at extreme logits, with weights, and their errors."""

import re
from functools import partial

import helpers
import hypothesis
import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.stats import norm

import fnn
from fnn import losses
from fnn.losses import LOSSES, common, facts, get_loss, mean_loss, weighted_sum
from fnn.losses.facts import expects

keras = pytest.importorskip("keras", reason="Keras is the reference here")


def values(rng, shape):
    return rng.normal(size=shape), rng.normal(size=shape)


def positive(rng, shape):
    return rng.uniform(-0.2, 3, shape), rng.uniform(0, 3, shape)


def soft(rng, shape):
    return rng.normal(size=shape) * 4, rng.uniform(size=shape)


def probabilities(rng, shape):
    return rng.uniform(size=shape), rng.uniform(size=shape)


def one_hot(rng, shape):
    return rng.normal(size=shape) * 4, np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]


def distribution(rng, shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1]) * 1.3, rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def classes(rng, shape):
    return rng.normal(size=shape) * 4, rng.integers(0, shape[-1], shape[:-1])


def signs(rng, shape):
    return rng.normal(size=shape) * 2, rng.choice([-1.0, 1.0], shape)


def bits(rng, shape):
    return rng.normal(size=shape) * 2, rng.choice([0.0, 1.0], shape)


def counts(rng, shape):
    return rng.uniform(0.01, 5, shape), rng.poisson(2.0, shape)


def distributions(rng, shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1]), rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def logits_and_distributions(rng, shape):
    t = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    t[0] = np.eye(shape[-1])[1]
    return rng.normal(size=shape) * 3, t


class KerasOfLogits:
    """A Keras loss of probabilities, given logits."""

    def __init__(self, **options):
        self.loss = keras.losses.KLDivergence(**options)

    def __call__(self, t, p, **weights):
        return self.loss(t, jax.nn.softmax(p), **weights)


def class_probabilities(rng, shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1]), rng.integers(0, shape[-1], shape[:-1])


K, L = keras.losses, losses
# ours, Keras's class, and the kind of data
CASES = {
    "mse": (L.mean_squared_error, K.MeanSquaredError, values),
    "mae": (L.mean_absolute_error, K.MeanAbsoluteError, values),
    "mape": (L.mean_absolute_percentage_error, K.MeanAbsolutePercentageError, values),
    "msle": (L.mean_squared_logarithmic_error, K.MeanSquaredLogarithmicError, positive),
    "huber": (L.huber, K.Huber, values),
    "huber 0.4": (partial(L.huber, delta=0.4), partial(K.Huber, delta=0.4), values),
    "bce": (L.binary_crossentropy, partial(K.BinaryCrossentropy, from_logits=True), soft),
    "bce smoothed": (
        partial(L.binary_crossentropy, label_smoothing=0.3),
        partial(K.BinaryCrossentropy, from_logits=True, label_smoothing=0.3),
        soft,
    ),
    "bce of probabilities": (partial(L.binary_crossentropy, from_logits=False), K.BinaryCrossentropy, probabilities),
    "cce": (L.categorical_crossentropy, partial(K.CategoricalCrossentropy, from_logits=True), one_hot),
    "cce smoothed": (
        partial(L.categorical_crossentropy, label_smoothing=0.2),
        partial(K.CategoricalCrossentropy, from_logits=True, label_smoothing=0.2),
        one_hot,
    ),
    "cce of probabilities": (
        partial(L.categorical_crossentropy, from_logits=False),
        K.CategoricalCrossentropy,
        distribution,
    ),
    "hinge": (L.hinge, K.Hinge, signs),
    "hinge of 0 and 1": (L.hinge, K.Hinge, bits),
    "squared hinge": (L.squared_hinge, K.SquaredHinge, signs),
    "categorical hinge": (L.categorical_hinge, K.CategoricalHinge, one_hot),
    "log cosh": (L.log_cosh, K.LogCosh, values),
    "poisson": (L.poisson, K.Poisson, counts),
    "cosine": (L.cosine_similarity, K.CosineSimilarity, values),
    "kl": (L.kl_divergence, KerasOfLogits, logits_and_distributions),
    "kl of probabilities": (partial(L.kl_divergence, from_logits=False), K.KLDivergence, distributions),
    "binary focal": (L.binary_focal_crossentropy, partial(K.BinaryFocalCrossentropy, from_logits=True), soft),
    "binary focal balanced": (
        partial(L.binary_focal_crossentropy, apply_class_balancing=True, alpha=0.7, gamma=1.5, label_smoothing=0.2),
        partial(
            K.BinaryFocalCrossentropy,
            from_logits=True,
            apply_class_balancing=True,
            alpha=0.7,
            gamma=1.5,
            label_smoothing=0.2,
        ),
        bits,
    ),
    "binary focal of probabilities": (
        partial(L.binary_focal_crossentropy, from_logits=False),
        K.BinaryFocalCrossentropy,
        probabilities,
    ),
    "focal": (L.categorical_focal_crossentropy, partial(K.CategoricalFocalCrossentropy, from_logits=True), one_hot),
    "focal smoothed": (
        partial(L.categorical_focal_crossentropy, alpha=0.6, gamma=0.5, label_smoothing=0.2),
        partial(K.CategoricalFocalCrossentropy, alpha=0.6, gamma=0.5, label_smoothing=0.2, from_logits=True),
        one_hot,
    ),
    "focal of probabilities": (
        partial(L.categorical_focal_crossentropy, from_logits=False),
        K.CategoricalFocalCrossentropy,
        distribution,
    ),
    "sparse": (L.sparse_categorical_crossentropy, partial(K.SparseCategoricalCrossentropy, from_logits=True), classes),
    "sparse of probabilities": (
        partial(L.sparse_categorical_crossentropy, from_logits=False),
        K.SparseCategoricalCrossentropy,
        class_probabilities,
    ),
}


# Losses on sequences, and on plain rows one of each kind; the other pairs, and variants of new losses, are slow.
PLAIN_ROWS = ("mse", "cce", "sparse")
VARIANTS = ("hinge of 0 and 1", "binary focal", "focal smoothed", "focal of probabilities", "kl of probabilities")
SHAPES = [
    pytest.param(
        name,
        shape,
        marks=pytest.mark.slow if name in VARIANTS or (len(shape) == 2 and name not in PLAIN_ROWS) else (),
    )
    for name in CASES
    for shape in ((5, 3), (3, 2, 4))
]


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_values_gradients_and_weights_match_keras(name, shape, rng):
    ours, theirs, kind = CASES[name]
    p, t = kind(rng, shape)
    p, t = jnp.asarray(p, "float32"), jnp.asarray(t, "int32" if "sparse" in name else "float32")
    w = jnp.asarray(rng.uniform(size=shape[0]), "float32")
    keras_weights = np.asarray(w)
    if len(shape) == 3:
        # Keras averages over positions and batch together, so every position gets the weight of its row.
        keras_weights = np.broadcast_to(keras_weights[:, None], shape[:2])
    plain, none = theirs(), theirs(reduction="none")

    @jax.jit
    def both(p, t, w):
        result = jax.value_and_grad(lambda p: mean_loss(ours, p, t, w))(p)
        keras_result = jax.value_and_grad(lambda p: plain(t, p, sample_weight=keras_weights))(p)
        rows = none(t, p)
        return result, keras_result, ours(p, t), rows.reshape(rows.shape[0], -1).mean(1)

    (value, slope), (keras_value, keras_slope), rows, keras_rows = both(p, t, w)
    np.testing.assert_allclose(rows, keras_rows, 1e-5, 1e-6)
    np.testing.assert_allclose(value, keras_value, 1e-5)
    np.testing.assert_allclose(slope, keras_slope, 1e-5, 1e-6)


def test_every_named_loss_is_compared_with_keras_or_with_numpy():
    compared = {facts.base(case[0]) for case in CASES.values()}
    assert set(LOSSES.values()) - compared == {
        losses.logistic,
        losses.gaussian_nll,
        losses.sparse_categorical_focal_crossentropy,
    }


jitted = {name: jax.jit(fn) for name, fn in LOSSES.items()}


def test_logistic_is_binary_crossentropy_with_labels_of_both_signs(rng):
    f, t = rng.normal(size=(6, 2)) * 3, rng.choice([-1.0, 1.0], (6, 2))
    want = np.log1p(np.exp(-t * f)).mean(1)
    np.testing.assert_allclose(jitted["logistic"](f, t), want, 1e-5)
    np.testing.assert_allclose(jitted["binary_crossentropy"](f, (t + 1) / 2), want, 1e-5)


def test_gaussian_nll_matches_scipy(rng):
    p, t = rng.normal(size=(5, 3, 4)) * 3, rng.normal(size=(5, 3, 2))
    mean, variance = p[..., :2], np.log1p(np.exp(p[..., 2:])) + 1e-6
    want = -norm.logpdf(t, mean, np.sqrt(variance)).mean((1, 2))
    np.testing.assert_allclose(jitted["gaussian_nll"](p, t), want, 1e-5)
    # A single number for each example, with and without a last axis.
    for targets in (t[:, 0, 0], t[:, 0, :1]):
        want = -norm.logpdf(t[:, 0, 0], mean[:, 0, 0], np.sqrt(variance[:, 0, 0]))
        np.testing.assert_allclose(jitted["gaussian_nll"](p[:, 0, [0, 2]], targets), want, 1e-5)


def test_gaussian_nll_is_minimal_at_the_mean_and_variance_of_the_targets(rng):
    t = rng.normal(2, 3, 500).astype("float32")
    value = jax.jit(lambda out: jnp.mean(losses.gaussian_nll(jnp.broadcast_to(out, (500, 2)), t)))
    best = np.asarray(jax.jit(losses.gaussian_outputs)(losses.Gaussians(t.mean()[None], t.var()[None])))
    for change in ([0.1, 0], [-0.1, 0], [0, 0.3], [0, -0.3]):
        assert value(best) < value(best + np.array(change, "float32"))


def test_gaussian_outputs_invert_gaussian_moments(x64):
    mean, variance = np.array([[0.5, -3.0, 1e3, 2.0]]), np.array([[0.7, 1e-5, 400.0, 1e-6]])
    there_and_back = jax.jit(
        lambda mean, variance: losses.gaussian_moments(losses.gaussian_outputs(losses.Gaussians(mean, variance)))
    )
    got = there_and_back(mean, variance)
    np.testing.assert_allclose(got.mean, mean)
    np.testing.assert_allclose(got.variance, variance, 1e-6)
    single = there_and_back(mean.astype("float32"), variance.astype("float32"))
    np.testing.assert_allclose(single.variance, variance, 1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gaussian_nll_in_half_precision_matches_float32(dtype):
    """In float16 a variance of 1e-6 is subnormal, and its inverse infinite."""
    p = jnp.asarray(np.array([[0.25, -20.0], [0.5, 1.0], [-3.0, 9.0]]), dtype)
    t = jnp.asarray(np.array([0.25, 2.0, -1.0]), dtype)
    y, slope = jax.jit(lambda p: (losses.gaussian_nll(p, t), jax.grad(lambda p: losses.gaussian_nll(p, t).sum())(p)))(p)
    want = jitted["gaussian_nll"](np.asarray(p, "float32"), np.asarray(t, "float32"))
    assert y.dtype == "float32"
    assert want[0] < -5
    np.testing.assert_array_equal(y, want)
    assert slope.dtype == dtype
    assert np.isfinite(np.asarray(slope)).all()


def test_gaussian_nll_at_extreme_outputs_is_finite_with_its_gradient():
    p = jnp.array([[0.0, -1e4], [1e4, -1e4], [0.0, 1e4], [-1e4, 0.0]])
    t = jnp.zeros(4)
    y, slope = jax.jit(lambda p: (losses.gaussian_nll(p, t), jax.grad(lambda p: losses.gaussian_nll(p, t).sum())(p)))(p)
    want = [np.log(2e-6 * np.pi), 1e8 / 1e-6, np.log(2e4 * np.pi), 1e8 / np.log(2) + np.log(2 * np.pi * np.log(2))]
    np.testing.assert_allclose(y, np.array(want) / 2, 1e-4)
    assert np.isfinite(np.asarray(slope)).all()


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_crossentropy_is_accurate_for_small_losses(target):
    # softplus(x) - t x would cancel: at 17 it is 0 in float32.
    sign = 1 if target else -1
    x = sign * np.array([5.0, 10.0, 17.0, 30.0])
    loss = jax.vmap(lambda p: losses.binary_crossentropy(p[None], jnp.array([target]))[0])
    y, slope = jax.jit(lambda x: (loss(x), jax.grad(lambda x: loss(x).sum())(x)))(jnp.asarray(x, "float32"))
    np.testing.assert_allclose(y, np.log1p(np.exp(-np.abs(x))), 1e-5)
    np.testing.assert_allclose(slope, -sign / (1 + np.exp(np.abs(x))), 1e-5)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_binary_crossentropy_has_the_same_derivatives_on_a_tpu(target):
    x = jnp.array([-jnp.inf, -100.0, -17.0, -1.0, 0.0, 2.0, 30.0, jnp.inf])

    def derivatives():  # another function each time, since JAX keeps what it traced
        loss = jax.vmap(lambda x, t: losses.binary_crossentropy(x[None, None], t[None, None])[0])
        return jax.jit(jax.grad(lambda x, t: loss(x, t).sum(), (0, 1)))

    t = jnp.full_like(x, target)
    (got, got_by_target), (want, want_by_target) = helpers.for_a_tpu(derivatives())(x, t), derivatives()(x, t)
    np.testing.assert_allclose(got, want, 1e-5)
    np.testing.assert_allclose(got_by_target, want_by_target, 1e-5)


@pytest.mark.parametrize("label", [0, 2, 3])  # 3 is outside the classes
def test_sparse_crossentropy_has_the_same_derivatives_on_a_tpu(label):
    inf = jnp.inf
    x = jnp.array([[1.0, -2.0, 0.5], [90.0, 0.0, -90.0], [-inf, 1.0, 2.0], [inf, 1.0, 2.0], [inf, 1.0, inf]])

    def derivatives():  # another function each time, since JAX keeps what it traced
        def value(x):
            values = losses.sparse_categorical_crossentropy(x, jnp.full(len(x), label))
            return jnp.sum(values * jnp.arange(1.0, len(x) + 1))

        return jax.jit(lambda x: jax.grad(value)(x)), jax.jit(lambda x: jax.hessian(value)(x))

    for on_tpu, here, rows in zip(derivatives(), derivatives(), (x, x[:2]), strict=True):
        np.testing.assert_allclose(helpers.for_a_tpu(on_tpu)(rows), here(rows), 1e-5, 1e-6)


def test_a_tpu_alone_divides_each_logit_for_sparse_crossentropy():
    def divisions(platform):
        slope = jax.jit(jax.grad(lambda p: losses.sparse_categorical_crossentropy(p, jnp.zeros(5, int)).sum()))
        text = jax.export.export(slope, platforms=[platform])(jnp.ones((5, 3))).mlir_module()
        return re.findall(r"stablehlo.divide .* : tensor<(.*)>", text)

    assert "5x3xf32" in divisions("tpu")
    assert "5x3xf32" not in divisions("cpu") + divisions("cuda")


def test_a_tpu_alone_has_a_short_derivative_of_binary_crossentropy():
    def guards(platform):
        slope = jax.jit(jax.grad(lambda p: losses.binary_crossentropy(p, jnp.ones((3, 1))).sum()))
        text = jax.export.export(slope, platforms=[platform])(jnp.ones((3, 1))).mlir_module()
        return text.count("stablehlo.select")

    assert guards("cpu") == guards("cuda") > guards("tpu")


@partial(jax.jit, static_argnames="loss")
def stable(loss, p, t, w):
    """Values and gradients of a loss."""
    return loss(p, t), jax.grad(lambda p: jnp.sum(loss(p, t) * w))(p)


def test_cross_entropies_at_extreme_logits():
    w = jnp.array([1.0, 2.0, 3.0, 4.0])
    p = jnp.array([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0], [1e4, 1e4]])
    t = jnp.array([0, 0, 1, 1])
    want = [0, 2e4, np.log(2), np.log(2)]
    slopes = np.array([[0, 0], [-1, 1], [0.5, -0.5], [0.5, -0.5]]) * np.asarray(w)[:, None]
    for loss, targets in (
        (losses.sparse_categorical_crossentropy, t),
        (losses.categorical_crossentropy, jax.nn.one_hot(t, 2)),
    ):
        y, slope = stable(loss, p, targets, w)
        np.testing.assert_allclose(y, want, 1e-6)
        np.testing.assert_allclose(slope, slopes, 1e-6)


def test_binary_and_logistic_losses_at_extreme_logits():
    w = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0])
    x = jnp.array([1e4, 1e4, -1e4, -1e4, 0.0])
    t = jnp.array([1, 0, 1, 0, 1])
    want, slopes = [0, 1e4, 1e4, 0, np.log(2)], np.array([0, 1, -1, 0, -0.5]) * np.asarray(w)
    for loss, targets in ((losses.binary_crossentropy, t), (losses.logistic, 2 * t - 1)):
        y, slope = stable(loss, x, targets, w)
        np.testing.assert_allclose(y, want, 1e-6)
        np.testing.assert_allclose(slope, slopes, 1e-6)


def test_losses_of_probabilities_are_finite_at_zero_and_one():
    w = jnp.array([1.0, 2.0])
    y, slope = stable(
        partial(losses.binary_crossentropy, from_logits=False), jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]), w
    )
    np.testing.assert_allclose(y, -np.log(1e-7), rtol=0.02)
    assert np.isfinite(slope).all()
    p, t = jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.array([0, 1])
    y, slope = stable(partial(losses.sparse_categorical_crossentropy, from_logits=False), p, t, w)
    np.testing.assert_allclose(y, -np.log(1e-7), rtol=1e-5)
    assert np.isfinite(slope).all()


def test_examples_of_half_precision():
    """Values by hand; computed in bfloat16 and float16 they would be inf, 0 and inf."""

    @jax.jit
    def values(p, logits, large, many, added):
        return {
            "bce": losses.binary_crossentropy(p, jnp.array([[0]]), from_logits=False)[0],
            "cce": losses.categorical_crossentropy(logits, jnp.array([[1, 0, 0]]))[0],
            "sparse": losses.sparse_categorical_crossentropy(logits, jnp.array([0]))[0],
            "mse": losses.mean_squared_error(large[:1], jnp.array([[0.0]]))[0],
            "mae": losses.mean_absolute_error(many, jnp.zeros((1, 3000)))[0],
            "mean": mean_loss("mse", large, jnp.zeros(2), jnp.array([1.0, 0.0])),
            "added": fnn.nn.added_loss.added_losses({"own": fnn.AddedLoss(added)})[0],
        }

    arrays = [[0.9999]], [[9, 0, 0]], np.full((2, 1), 300.0), np.full((1, 3000), 200.0), np.full(4, 4e4)
    dtypes = "bfloat16", "bfloat16", "float16", "float16", "float16"
    got = values(*(jnp.asarray(np.array(a), dtype) for a, dtype in zip(arrays, dtypes, strict=True)))
    assert got["bce"].dtype == "float32"
    assert 15.9 < float(got["bce"]) <= 16.12
    for name in ("cce", "sparse"):
        np.testing.assert_allclose(got[name], np.log1p(2 * np.exp(-9.0)), 1e-3)
    assert float(got["mse"]) == 90000
    np.testing.assert_allclose(got["mae"], 200)  # a mean over many outputs, whose sum overflows float16
    assert float(got["mean"]) == 45000
    np.testing.assert_allclose(got["added"], 1.6e5, 1e-3)


# By default float16 for losses that may leave its range, and bfloat16 for the others.
FLOAT16 = ("mse", "msle", "bce of probabilities", "cce smoothed", "sparse of probabilities", "gaussian")
HALF = [
    pytest.param(
        name,
        dtype,
        marks=() if (dtype == "float16") == (name in FLOAT16) and name not in VARIANTS else pytest.mark.slow,
    )
    for name in [*CASES, "logistic", "gaussian"]
    for dtype in ("bfloat16", "float16")
]


@pytest.mark.parametrize(("name", "dtype"), HALF)
def test_half_precision_matches_float64(name, dtype, rng, x64):
    """Values match in float32 for any dtype of the targets; gradients are rounded once to the predictions' dtype."""
    own = {"logistic": losses.logistic, "gaussian": losses.gaussian_nll}
    kinds = {"logistic": values, "gaussian": lambda rng, shape: (rng.normal(size=shape), rng.normal(size=(5, 2)))}
    loss, kind = (own[name], kinds[name]) if name in own else (CASES[name][0], CASES[name][2])
    p, t = kind(rng, (5, 4))
    t = np.where(t > 0, 1, -1) if name == "logistic" else t
    narrow = jnp.asarray(p, dtype)
    sparse = np.asarray(t).dtype.kind == "i"
    targets = [np.asarray(t, target) for target in (("int8", "int64") if sparse else ("float32", "float64"))]

    @jax.jit
    def values_and_slopes(cases):
        return [(loss(p, t), jax.grad(lambda p, t=t: loss(p, t).sum())(p)) for p, t in cases]

    cases = [(np.asarray(narrow, "float64"), np.asarray(t)), *((narrow, target) for target in targets)]
    (want, want_slope), *got = values_and_slopes(cases)
    for y, slope in got:
        assert y.dtype == "float32"
        assert slope.dtype == dtype
        np.testing.assert_allclose(y, want, 2e-4, 1e-6)
        step = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(np.asarray(slope, "float64"), want_slope, step, step * 1e-2)


LOG_1_E = np.log1p(1 / np.e)


@partial(jax.jit, static_argnames="loss")
def tangent(loss, p, t):
    """The change of a loss if all logits grow alike."""
    return jax.jvp(lambda p: loss(p, t), (p,), (jnp.ones_like(p),))[1]


@pytest.mark.parametrize("low", [-np.inf, np.finfo(np.float32).min])
def test_cross_entropies_of_masked_logits(low):
    p = np.array([[low, 0.0, 1.0], [1.0, low, 0.0], [low, low, 3.0], [low, low, low]], "float32")
    t, w = np.array([2, 0, 2, 1]), np.array([1.0, 2.0, 3.0, 4.0], "float32")
    want = np.array([LOG_1_E, LOG_1_E, 0, np.log(3)])
    s = 1 / (1 + np.e)
    slopes = np.array([[0, s, -s], [-2 * s, 0, 2 * s], [0, 0, 0]])
    for loss, targets in (
        (losses.sparse_categorical_crossentropy, t),
        (losses.categorical_crossentropy, np.eye(3, dtype="float32")[t]),
    ):
        y, slope = stable(loss, p, targets, w)
        np.testing.assert_allclose(y, want, 1e-5, 1e-7)
        np.testing.assert_allclose(np.asarray(slope)[:3], slopes, 1e-5, 1e-7)
        assert np.isfinite(slope).all()
        np.testing.assert_allclose(tangent(loss, p, targets), np.zeros(4), atol=1e-6)


@pytest.mark.parametrize("p", [(-np.inf, 0.0, 1.0), (-np.inf, -np.inf, 2.0), (0.5, -np.inf, 0.5)], ids=str)
def test_masked_logits_match_torch(p):
    torch = pytest.importorskip("torch")
    for t in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.4, 0.6)):
        theirs = torch.tensor([p], requires_grad=True)
        index = int(np.argmax(t))
        value = torch.nn.functional.cross_entropy(theirs, torch.tensor([index]))
        value.backward()
        x = np.array([p], "float32")
        y, slope = stable(losses.sparse_categorical_crossentropy, x, np.array([index]), np.ones(1, "float32"))
        np.testing.assert_allclose(y, [value.item()], 1e-6)
        np.testing.assert_allclose(slope, theirs.grad.numpy(), 1e-6, 1e-7)
        # The same with one-hot rows: the limit for a large finite logit.
        rows = jitted["categorical_crossentropy"](x, np.array([t], "float32")).item()
        x = np.maximum(np.array(p), -1e30)
        log_p = x - np.log(np.exp(x).sum())
        limit = -sum(a * b for a, b in zip(t, log_p, strict=True) if a)
        assert rows == pytest.approx(limit, rel=1e-5) if limit < 1e20 else rows == np.inf


def test_positive_infinite_logits():
    x, w = np.array([[np.inf, 0.0, 1.0], [np.inf, np.inf, 0.0]], "float32"), np.ones(2, "float32")
    sparse = partial(stable, losses.sparse_categorical_crossentropy)
    np.testing.assert_allclose(sparse(x, np.array([0, 1]), w)[0], [0, np.log(2)], 1e-6)
    np.testing.assert_array_equal(sparse(x, np.array([1, 2]), w)[0], [np.inf, np.inf])
    assert np.isfinite(sparse(x, np.array([0, 2]), w)[1]).all()
    x[0, 1] = np.nan
    assert np.isnan(sparse(x, np.array([0, 1]), w)[0].tolist()[0])


def test_binary_losses_of_infinite_logits():
    x, w = jnp.array([np.inf, -np.inf, np.inf, -np.inf]), jnp.array([1.0, 2.0, 3.0, 4.0])
    t, want, slopes = jnp.array([1, 0, 0, 1]), [0, 0, np.inf, np.inf], np.array([0, 0, 3, -4.0])
    for loss, targets in ((losses.binary_crossentropy, t), (losses.logistic, 2 * t - 1)):
        y, slope = stable(loss, x, targets, w)
        np.testing.assert_array_equal(y, want)
        np.testing.assert_array_equal(slope, slopes)
    smooth = jax.jit(partial(losses.binary_crossentropy, label_smoothing=0.1))
    np.testing.assert_array_equal(smooth(x, t), np.full(4, np.inf))
    smooth = jax.jit(partial(losses.categorical_crossentropy, label_smoothing=0.1))
    y = smooth(np.array([[-np.inf, 0.0, 1.0]], "float32"), np.array([[0, 0, 1]]))
    np.testing.assert_array_equal(y, [np.inf])


def test_gradient_with_respect_to_targets_of_0(rng):
    """A term of weight 0 keeps its derivative if its value is finite, such as that by the smoothing at 0."""
    x, t = rng.normal(size=(1, 3)).astype("float32"), np.array([[0.0, 1.0, 0.0]], "float32")
    slope = jax.jit(jax.grad(lambda t: losses.categorical_crossentropy(x, t)[0]))(t)
    np.testing.assert_allclose(slope, np.log(np.exp(x).sum()) - x, 1e-5)


def test_probabilities_of_exactly_0_and_1():
    bound = -np.log(1e-7)
    loss = partial(losses.sparse_categorical_crossentropy, from_logits=False)
    for row, target, want in (([1.0, 0.0], 0, 0), ([1.0, 0.0], 1, bound), ([0.0, 0.0], 0, bound)):
        y, slope = stable(loss, np.array([row], "float32"), np.array([target]), np.ones(1, "float32"))
        np.testing.assert_allclose(y, want, 1e-5, 2e-7)
        assert np.isfinite(slope).all()


@pytest.mark.slow
@pytest.mark.parametrize("eager", [False, True])
def test_no_loss_has_nan_in_its_intermediate_results(eager, rng):
    """Without compilation `jax.debug_nans` checks every operation."""
    logits = jnp.array([[-np.inf, 0.0, 1.0], [0.5, np.inf, -1.0]])
    with jax.debug_nans(True), jax.disable_jit(eager):
        for name, loss in LOSSES.items():
            p, t = jnp.asarray(rng.normal(size=(2, 4)), "float32"), jnp.array([[0, 1, 0, 0], [1, 0, 0, 0]])
            t = jnp.array([1, 0]) if name.startswith("sparse") else t[:, :2] if name == "gaussian_nll" else t
            p = jnp.abs(p) if name == "poisson" else p
            jax.value_and_grad(lambda p, loss=loss, t=t: mean_loss(loss, p, t, jnp.array([1.0, 0.0])))(p)
        for loss, t in (
            (losses.sparse_categorical_crossentropy, jnp.array([2, 1])),
            (losses.categorical_crossentropy, jnp.array([[0, 0, 1], [0, 1, 0]])),
            (losses.binary_crossentropy, jnp.array([[0, 0, 1], [0, 1, 0]])),
        ):
            jax.value_and_grad(lambda p, loss=loss, t=t: loss(p, t).sum())(logits)
        with pytest.raises(FloatingPointError, match="nan"):
            losses.sparse_categorical_crossentropy(jnp.zeros((1, 3)), jnp.array([3]))


def test_labels_outside_the_classes_give_nan_without_affecting_others():
    for dtype in ("int8", "uint8", "int32"):
        t = np.array([0, 3, 2, 255 if dtype == "uint8" else -1], dtype)
        with jax.numpy_dtype_promotion("strict"):
            y = jitted["sparse_categorical_crossentropy"](np.zeros((4, 3), "float32"), t)
        np.testing.assert_allclose(y, [np.log(3), np.nan, np.log(3), np.nan], 1e-6)


def test_many_classes_do_not_overflow_a_small_label_dtype():
    p, t = np.zeros((2, 400), "float32"), np.array([5, 250], "uint8")
    p[1, 250] = 9
    y = jitted["sparse_categorical_crossentropy"](p, t)
    np.testing.assert_allclose(y, [np.log(400), np.log(399 + np.exp(9)) - 9], 1e-4)


finite = hnp.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


@hypothesis.given(
    finite,
    hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)),
    st.sampled_from(sorted({loss.__name__ for loss in LOSSES.values()})),
)
def test_losses_are_finite_and_not_negative(p, t, name):
    if name.startswith("sparse"):
        t = t.argmax(-1).astype("int32")
    elif name in ("logistic", "hinge", "squared_hinge"):
        t = np.where(t > 0.5, 1, -1)
    elif name == "categorical_hinge":
        t = np.eye(4, dtype="float32")[t.argmax(-1)]
    elif name == "kl_divergence":
        t = (t + 0.1) / (t + 0.1).sum(-1, keepdims=True)
    elif name == "poisson":
        p, t = np.abs(p), np.round(t)
    elif name == "gaussian_nll":
        t = t[:, :2]
    y = np.asarray(jitted[name](p, t))
    assert y.shape == (3,)
    assert np.isfinite(y).all()
    # A log density has another bound, that of the least variance; rates of 100 and counts of 1 give -4.6 at least.
    least = {"gaussian_nll": np.log(2e-6 * np.pi) / 2, "cosine_similarity": -1, "poisson": -np.log(100)}
    assert (y >= least.get(name, 0) - 1e-3).all()


def test_options_may_be_traced(rng):
    p, t = rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))
    options = 0.2, 0.9
    for loss, name in (
        (losses.huber, "delta"),
        (losses.binary_focal_crossentropy, "gamma"),
        (losses.categorical_focal_crossentropy, "alpha"),
        (losses.binary_crossentropy, "label_smoothing"),
        (losses.categorical_crossentropy, "label_smoothing"),
    ):
        value = lambda v, loss=loss, name=name: loss(jnp.asarray(p), jnp.asarray(t), **{name: v})  # noqa: E731
        both, each = jax.jit(lambda v, f=value: (jax.vmap(f)(v), [f(option) for option in options]))(np.array(options))
        assert not np.allclose(*each)
        np.testing.assert_allclose(both, each, 1e-5)


ANY_SHAPE = (
    "mse", "mae", "mape", "msle", "huber", "log_cosh", "poisson", "binary_crossentropy", "binary_focal_crossentropy",
    "logistic", "hinge", "squared_hinge",
)  # fmt: skip


@pytest.mark.parametrize("name", ANY_SHAPE)
def test_a_last_axis_of_size_1_is_aligned_rather_than_broadcast(name, rng):
    p, t = rng.uniform(0.1, 1, (4, 1)).astype("float32"), rng.uniform(0.1, 1, 4).astype("float32")
    pairs = [(p, t[:, None]), (p, t), (p[:, 0], t[:, None]), (p[:, 0], t)]
    want, *rest = jax.jit(lambda pairs: [LOSSES[name](*pair) for pair in pairs])(pairs)
    for got in rest:
        np.testing.assert_array_equal(got, want)
    for other in (rng.uniform(size=(4, 2)), rng.uniform(size=5), rng.uniform(size=(4, 1, 2)), np.float32(1)):
        with pytest.raises(
            fnn.InputError,
            match=r"expected targets of the predictions' shape \(batch, \.\.\.\), got predictions float32\[4, 1\]",
        ):
            LOSSES[name](p, np.asarray(other, "float32"))
    with pytest.raises(fnn.InputError, match="expected targets of the predictions' shape"):
        LOSSES[name](np.ones((4, 2), "float32"), t)


def test_align_casts_targets_to_the_predictions():
    for dtype, wide in (("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32")):
        p, t = common.align("here", jnp.ones((3, 1), dtype), np.array([1, 2, 70001]))
        assert t.shape == (3, 1)
        assert t.dtype == p.dtype == wide
        assert t[2, 0] == 70001  # not narrowed first


def test_weighted_sum_and_mean_loss(rng):
    v, w, valid = rng.normal(size=5), rng.uniform(size=5), np.array([True, False, True, True, False])
    np.testing.assert_allclose(weighted_sum(jnp.asarray(v)), (v.sum(), 5), 1e-5)
    np.testing.assert_allclose(weighted_sum(jnp.asarray(v), jnp.asarray(w)), ((v * w).sum(), 5), 1e-5)
    v[1] = np.nan  # padding
    total, count = weighted_sum(jnp.asarray(v), jnp.asarray(w), jnp.asarray(valid))
    np.testing.assert_allclose((total, count), ((v * w)[valid].sum(), 3), 1e-5)
    # 4,096 ones sum to 256 in bfloat16, and 3 * 40,000 is infinite in float16.
    assert float(weighted_sum(jnp.ones(4096, jnp.bfloat16))[0]) == 4096
    assert float(weighted_sum(jnp.full(2, 4e4, jnp.float16), jnp.array([3.0, 0.5]))[0]) == pytest.approx(
        1.4e5, rel=1e-3
    )
    assert float(mean_loss("mse", jnp.array([1.0, 2.0]), jnp.array([0.0, 0.0]), jnp.array([3.0, 1.0]))) == 3.5


def test_class_weights():
    np.testing.assert_array_equal(fnn.class_weights([2, 0, 1, 2], [1, 2, 5]), [5, 1, 2, 5])
    np.testing.assert_array_equal(fnn.class_weights([[2], [0]], {2: 7.0, 9: 3}), [7, 1])
    np.testing.assert_array_equal(fnn.class_weights(np.eye(3)[[2, 0, 1]], [1, 2, 5]), [5, 1, 2])
    np.testing.assert_array_equal(fnn.class_weights(np.array([1.0, 0.0]), [1, 2]), [2, 1])
    assert fnn.class_weights([0], [2]).dtype == jnp.float32


def test_names_and_what_they_expect():
    assert get_loss("mse") is losses.mean_squared_error
    assert get_loss(pow) is pow
    assert facts.base(partial(partial(losses.huber, delta=2.0))) is losses.huber
    sparse = losses.sparse_categorical_crossentropy
    assert expects(sparse) == expects(losses.logistic) == expects(partial(sparse)) == "logits"
    assert expects(partial(sparse, from_logits=False)) == "probabilities"
    assert expects(partial(partial(sparse, from_logits=False))) == "probabilities"
    assert expects(losses.huber) == expects(lambda p, t: p) == expects(losses.gaussian_nll) == "values"


P = jnp.zeros((4, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: get_loss("mean_square_error"), r"loss: .*'mean_square_error'\. Did you mean 'mean_squared_error'"),
        (lambda: losses.huber(P, P, delta=0), r"huber: expected delta in \(0, inf\), got 0"),
        (lambda: losses.huber(P, P, delta="big"), r"huber: expected delta to be a number, got 'big'"),
        (lambda: losses.binary_crossentropy(P, P, label_smoothing=1.5), r"label_smoothing in \[0, 1\], got 1\.5"),
        (lambda: losses.categorical_crossentropy(P, P, label_smoothing=-1), r"label_smoothing in \[0, 1\], got -1"),
        (lambda: losses.mean_squared_error(jnp.zeros(3, int), jnp.zeros(3)), r"got int32\[3\]\. Losses and metrics"),
        (
            lambda: losses.categorical_crossentropy(P, jnp.zeros(4)),
            r"For class numbers use the loss 'sparse_categorical_crossentropy', or write fnn.one_hot\(y, 3\)",
        ),
        (
            lambda: losses.categorical_crossentropy(jnp.zeros((4, 1)), jnp.zeros((4, 1))),
            r"at least 2 classes, got float32\[4, 1\]\. For one output",
        ),
        (lambda: losses.sparse_categorical_crossentropy(P[0], jnp.zeros(3, int)), r"predictions of shape .*classes"),
        (
            lambda: losses.sparse_categorical_crossentropy(P.astype(int), jnp.zeros(4, int)),
            r"expected a floating-point x, got int32",
        ),
        (lambda: losses.sparse_categorical_crossentropy(P, jnp.zeros(4)), r"integer class .*, got float32\[4\]"),
        (
            lambda: losses.sparse_categorical_crossentropy(P, jnp.zeros(5, int)),
            r"targets of shape \(4,\) .* int32\[5\]",
        ),
        (
            lambda: losses.sparse_categorical_crossentropy(P, P.astype(int)),
            r"For one-hot rows write y\.argmax\(-1\), or use the loss 'categorical_cross",
        ),
        (lambda: losses.gaussian_nll(P, jnp.zeros((4, 1))), r"2 k\), .*, got float32\[4, 3\]\. End the model"),
        (lambda: losses.gaussian_nll(jnp.zeros(4), jnp.zeros(2)), r"gaussian_nll: expected .*, got float32\[4\]"),
        (lambda: losses.gaussian_nll(jnp.zeros((4, 2)), jnp.zeros((4, 2))), r"gaussian_nll: expected targets"),
        (lambda: losses.gaussian_moments(jnp.zeros((4, 2), int)), r"gaussian_nll: .*floating-point x"),
        (lambda: weighted_sum(P), r"loss: expected one value per example, of shape \(batch,\), got float32\[4, 3\]"),
        (lambda: weighted_sum(P[0], jnp.ones(4)), r"loss: expected sample weights of shape \(3,\), got float32\[4\]"),
        (lambda: fnn.class_weights([0, 1, 3], [1.0, 2.0]), r"4 weights, since labels go up to 3, got 2"),
        (lambda: fnn.class_weights([0, -1], [1.0, 2.0]), r"expected labels of at least 0, got the label -1"),
        (lambda: fnn.class_weights([0, 1], {0: -2.0}), r"a finite weight of at least 0 for class 0, got -2\."),
        (lambda: fnn.class_weights([0, 1], {-1: 2.0}), r"expected class numbers of at least 0 as keys, got -1"),
        (lambda: fnn.class_weights([0.5], [1.0]), r"class_weights: expected class numbers, got float64\[1\]"),
        (lambda: fnn.class_weights(3, [1.0]), r"expected labels of shape \(batch,\) or \(batch, classes\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        (
            "sparse_categorical_crossentropy",
            [0, 3],
            r"labels in \[0, 3\) for 3 outputs, got labels from 0 to 3\. Number the classes from 0",
        ),
        ("sparse_categorical_crossentropy", [-1, 2], r"got labels from -1 to 2"),
        (
            "binary_crossentropy",
            [-1, 1],
            r"targets in \[0, 1\], got targets from -1 to 1\. Labels of -1 and \+1 belong to the 'logistic'",
        ),
        ("categorical_crossentropy", [0, 2.5], r"expected targets in \[0, 1\], got targets from 0 to 2\.5"),
        ("logistic", [0, 1], r"expected targets -1 or \+1, got targets from 0 to 1\. Use 2 \* y - 1"),
    ],
)
def test_check_targets(loss, targets, message):
    with pytest.raises(fnn.InputError, match=message):
        facts.check_targets(get_loss(loss), P, np.array(targets))


def test_check_targets_accepts_valid_targets():
    facts.check_targets(losses.sparse_categorical_crossentropy, P, np.array([0, 2]))
    facts.check_targets(partial(losses.binary_crossentropy, from_logits=False), P, np.array([0, 0.5, 1]))
    facts.check_targets(losses.logistic, P, np.array([-1, 1]))
    facts.check_targets(losses.mean_squared_error, P, np.array([-1e9, 1e9]))


@pytest.mark.parametrize(
    ("labels", "weights", "message"),
    [
        ([0, 1], {0: np.nan}, "expected a finite weight of at least 0 for class 0, got nan"),
        ([0, 1], {5: np.inf}, "expected a finite weight of at least 0 for class 5, got inf"),
        ([0, 1], [1.0, np.nan], "expected a finite weight of at least 0 for class 1, got nan"),
        ([0, 1], np.array([1.0, -1]), "expected a finite weight of at least 0 for class 1, got -1"),
        ([0, 1], {0: "2"}, "expected a number as the weight of class 0, got '2'"),
        ([0, 1], {0: None}, "expected a number as the weight of class 0, got None"),
        ([0, 1], {"1": 2.0}, r"as keys, got '1'\. Write 1 without quotes"),
        ([0, 1], {"cat": 2.0}, "as keys, got 'cat'"),
        ([0, 1], {1.5: 2.0}, r"as keys, got 1\.5"),
        ([0, 1], {np.nan: 2.0}, "as keys, got nan"),
        ([0, 1], 2.0, "expected a weight for each class, a dict, or 'balanced', got 2.0"),
        ([0.0, np.nan], {}, "with fractions, NaN or infinity"),
        ([0.0, np.inf], {}, "with fractions, NaN or infinity"),
        (["a", "b"], {}, r"expected an array of numbers, got text.*names, y = np\.unique"),
        ([-1, 1], {1: 2.0}, r"got the label -1\. For labels of -1 and \+1 use class_weights\(y > 0"),
        ([[1, 1, 0], [0, 0, 1]], {0: 2.0}, "expected one-hot rows.*no single class: pass sample weights"),
        (np.zeros((2, 3)), {0: 2.0}, "expected one-hot rows"),
    ],
)
def test_invalid_class_weights_are_refused(labels, weights, message):
    with pytest.raises(fnn.InputError, match=f"^class_weights(, labels)?: .*{message}"):
        fnn.class_weights(labels, weights)


def test_class_weights_of_a_series_use_its_index():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    y = np.r_[np.full(5, 0), np.full(15, 1), np.full(40, 2)]
    by_frequency = len(y) / (3 * pandas.Series(y).value_counts())
    np.testing.assert_allclose(fnn.class_weights(y, by_frequency), fnn.class_weights(y, "balanced"), 1e-6)
    with pytest.raises(fnn.InputError, match="as keys, got 'a'"):
        fnn.class_weights(y, pandas.Series({"a": 1.0}))


def test_class_weights_by_keys_of_any_type():
    for one in (1, 1.0, True, np.int64(1), np.uint8(1), np.float32(1), np.bool_(True)):
        np.testing.assert_array_equal(fnn.class_weights(np.array([0, 1, 1], "uint8"), {one: 3}), [1, 3, 3])
    np.testing.assert_array_equal(fnn.class_weights([True, False], {True: 2, False: 0.5}), [2, 0.5])
    np.testing.assert_array_equal(fnn.class_weights([10**12, 0], {10**12: 2.0}), [2, 1])


def test_class_weights_of_label_rows_are_refused_by_fit():
    x = np.ones((3, 2), "float32")
    for loss, rows in (("binary_crossentropy", np.eye(3, dtype="f")), ("logistic", 2 * np.eye(3, dtype="f") - 1)):
        task = fnn.Task(fnn.Dense(3), loss)
        ts = fnn.init(task, jax.random.key(0), x)
        for data in ((x, rows), [(x, rows)]):
            with pytest.raises(fnn.InputError, match=r"^class_weight: expected one class .*, got rows of 3"):
                fnn.fit(task, ts, data, class_weight={0: 2.0}, verbose=0)


def test_rows_without_a_class_are_refused():
    rows = np.eye(3, dtype="f")[[0, 2, 1, 1]]
    rows[2] = 0
    loss = losses.categorical_crossentropy
    for bad, match in (
        (rows, r"which sum to 1, got 1 row that is not, at index 2 \(sum 0\)\. A row of zeros has no class"),
        (rows[:, ::-1].astype("int8"), r"got 1 row that is not, at index 2 \(sum 0\)"),
        (np.stack([rows, rows]), r"got 2 rows that are not, the first at index \(0, 2\)"),
        (rows * 0 + 1, r"\(sum 3\)\. For several yes/no labels use the loss 'binary_crossentropy'"),
        (np.full((2, 3), np.nan, "f"), r"expected targets in \[0, 1\], got targets from nan to nan"),
    ):
        with pytest.raises(fnn.InputError, match=f"^categorical_crossentropy: .*{match}"):
            facts.check_targets(loss, bad, bad)
    third = np.full((2, 3), 1 / 3)
    for dtype in ("float64", "float32", "float16", jnp.bfloat16):
        facts.check_targets(loss, third, third.astype(dtype))
    x, task = np.ones((4, 2), "float32"), fnn.Task(fnn.Dense(3), loss)
    ts = fnn.init(task, jax.random.key(0), x)
    for call in (fnn.evaluate, partial(fnn.fit, verbose=0)):
        with pytest.raises(fnn.InputError, match=r"data > categorical_crossentropy: .* at index 2"):
            call(task, ts, (x, rows))
    # A row of weight 0 is ignored.
    rest = np.array([1, 1, 0, 1], "float32")
    assert np.isfinite(fnn.evaluate(task, ts, (x, rows, rest))["loss"])


def test_balanced_class_weights_match_scikit_learn():
    y = np.array([0, 0, 0, 1, 2, 2])
    want = pytest.importorskip("sklearn.utils").compute_sample_weight("balanced", y)
    np.testing.assert_allclose(losses.class_weights(y, "balanced"), want, 1e-6)
    with pytest.raises(fnn.InputError, match="weights by class, or 'balanced'"):
        losses.class_weights(y, "equal")
    with pytest.raises(fnn.InputError, match="expected one-hot rows"):
        losses.class_weights(np.array([[0, 0, 1], [1, 1, 0]]), [1.0, 5.0])


def test_is_per_example_only_for_the_librarys_losses():
    assert facts.is_per_example(losses.get_loss("mse"))
    assert facts.is_per_example(partial(losses.binary_crossentropy, from_logits=False))
    assert not facts.is_per_example(lambda predictions, targets: predictions[:, 0])
    assert not facts.is_per_example(partial(lambda predictions, targets, scale: scale * predictions[:, 0], scale=2))


def test_losses_of_labels_and_of_classes():
    of_labels = "binary_crossentropy", "binary_focal_crossentropy", "logistic", "hinge", "squared_hinge"
    of_classes = {name for name in losses.LOSSES if "categorical" in name} | {"kl_divergence"}
    for name, loss in ((loss.__name__, loss) for loss in losses.LOSSES.values()):
        for one in (loss, partial(loss)):
            assert facts.several_labels(one) == (name in of_labels)
            assert facts.of_classes(one) == (name in of_classes)


def test_rows_that_are_not_a_distribution_are_refused():
    good = np.array([[0.25, 0.75], [1.0, 0.0]])
    facts.check_distributions("here", good)
    facts.check_distributions("here", np.array([[0, 1], [1, 0]]))
    for row, said in (
        ([0.0, 0.0], "sum 0.*row of zeros"),
        ([1.0, 1.0], "sum 2.*binary_crossentropy"),
        ([-0.5, 1.5], "sum 1"),
    ):
        with pytest.raises(fnn.InputError, match=rf"^here: .*1 row that is not, at index 1 \({said}"):
            facts.check_distributions("here", np.stack([good[0], row]))


def test_mean_loss_takes_lists_and_refuses_text():
    assert float(losses.mean_loss("mse", [[1.0], [2.0]], [[2.0], [5.0]], [1.0, 0.5])) == pytest.approx((1 + 4.5) / 2)
    with pytest.raises(fnn.InputError, match="mean_loss: expected an array of numbers, got text"):
        losses.mean_loss("mse", ["a"], [1.0])


def test_int64_labels_and_ids_of_numpy_give_no_warning():
    scores, labels = np.array([[0.5, -1.0, 2.0]], "float32"), np.array([2], np.int64)
    same = losses.sparse_categorical_crossentropy(scores, labels.astype("int32"))
    np.testing.assert_array_equal(losses.sparse_categorical_crossentropy(scores, labels), same)
    np.testing.assert_array_equal(fnn.one_hot(labels, 4), [[0, 0, 1, 0]])
    layer = fnn.OneHot(4)
    np.testing.assert_array_equal(layer.apply({}, {}, labels)[0], [[0, 0, 1, 0]])


def test_options_count_in_every_partial_of_a_partial():
    """One with attributes of its own is not joined with the one around it."""
    inner = partial(losses.binary_crossentropy, from_logits=False)
    inner.note = "such as a cache leaves"
    outer = partial(inner, label_smoothing=0.1)
    assert isinstance(outer.func, partial)
    assert expects(outer) == "probabilities"
    assert expects(partial(outer, from_logits=True)) == "logits"
    assert not facts.states_logits(outer)
    assert facts.states_logits(partial(outer, from_logits=True))
    p, t = np.array([[0.2], [0.9]], "f"), np.array([[0.0], [1.0]], "f")
    task = fnn.Task(fnn.Sequential(fnn.Flatten()), outer)
    want = float(np.mean(np.asarray(outer(p, t))))
    assert fnn.evaluate(task, fnn.init(task, jax.random.key(0), p), (p, t))["loss"] == pytest.approx(want, rel=1e-6)
