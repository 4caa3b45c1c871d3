"""Hinge, log-cosh, divergence, similarity and focal losses: where Keras is no reference, names, and in training."""

from functools import partial

import jax
import numpy as np
import pytest
from helpers import some

import fnn
from fnn import losses
from fnn.losses import facts, get_loss


@partial(jax.jit, static_argnames="loss")
def with_slope(loss, p, t):
    return loss(p, t), jax.grad(lambda p: loss(p, t).sum())(p)


def test_log_cosh_near_0_and_far_away_matches_float64():
    e = np.array([0, 1e-6, -1e-4, 3e-3, -0.2, 0.999, -1.0, 1.001, 7, -40, 1e4, -3e38], "float32")
    y, slope = with_slope(losses.log_cosh, e, np.zeros_like(e))
    wide = e.astype("float64")
    want = np.where(np.abs(wide) < 20, np.log1p(2 * np.sinh(np.clip(wide, -20, 20) / 2) ** 2), np.abs(wide) - np.log(2))
    np.testing.assert_allclose(y, want, 3e-7)
    np.testing.assert_allclose(slope, np.tanh(wide), 3e-7)


@pytest.mark.parametrize("steps", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_sparse_losses_are_those_of_one_hot_rows(steps, rng):
    shape = (5, 4) if steps is None else (5, steps, 4)
    p, t = (3 * rng.normal(size=shape)).astype("float32"), rng.integers(0, 4, shape[:-1])
    rows = np.eye(4, dtype="float32")[t]
    focus = {"alpha": 0.6, "gamma": 1.5, "label_smoothing": 0.1}
    pairs = (
        (losses.sparse_categorical_focal_crossentropy, losses.categorical_focal_crossentropy, focus),
        (losses.sparse_categorical_crossentropy, losses.categorical_crossentropy, {"label_smoothing": 0.2}),
    )
    cases = [(*pair, from_logits) for pair in pairs for from_logits in (True, False)]

    @jax.jit  # one program, since compiling takes the time
    def every(p, t, rows, outside):
        found = []
        for sparse, dense, options, from_logits in cases:
            outputs = p if from_logits else jax.nn.softmax(p)
            ours, theirs = (partial(loss, **options, from_logits=from_logits) for loss in (sparse, dense))
            found.append((with_slope(ours, outputs, t), with_slope(theirs, outputs, rows), ours(outputs, outside)))
        return found

    outside = np.where(np.arange(5).reshape(-1, *[1] * (t.ndim - 1)) == 2, 9, t)
    for got, want, y in every(p, t, rows, outside):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, 1e-5, 1e-6)
        assert np.isnan(y).tolist() == [False, False, True, False, False]


def test_label_smoothing_of_class_numbers_matches_torch(rng):
    torch = pytest.importorskip("torch")
    p, t = rng.normal(size=(6, 5)).astype("float32"), rng.integers(0, 5, 6)
    theirs = torch.tensor(p, requires_grad=True)
    want = torch.nn.functional.cross_entropy(theirs, torch.tensor(t), label_smoothing=0.3, reduction="none")
    want.sum().backward()
    y, slope = with_slope(partial(losses.sparse_categorical_crossentropy, label_smoothing=0.3), p, t)
    np.testing.assert_allclose(y, want.detach().numpy(), 1e-5)
    np.testing.assert_allclose(slope, theirs.grad.numpy(), 1e-5, 1e-6)


def test_divergence_similarity_and_poisson_match_torch(rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    p, t = rng.normal(size=(6, 5)).astype("float32"), rng.dirichlet(np.ones(5), 6).astype("float32")
    t[0] = [0, 1, 0, 0, 0]
    counts, rates = rng.poisson(2.0, (6, 5)).astype("float32"), np.exp(p)
    cases = (
        (losses.kl_divergence, p, t, lambda p, t: functional.kl_div(p.log_softmax(-1), t, reduction="none").sum(-1)),
        (losses.cosine_similarity, p, t, lambda p, t: -functional.cosine_similarity(p, t)),
        (
            losses.poisson,
            rates,
            counts,
            lambda p, t: functional.poisson_nll_loss(p, t, log_input=False, eps=1e-7, reduction="none").mean(-1),
        ),
    )
    for loss, predictions, targets, reference in cases:
        theirs = torch.tensor(predictions, requires_grad=True)
        want = reference(theirs, torch.tensor(targets))
        want.sum().backward()
        y, slope = with_slope(loss, predictions, targets)
        np.testing.assert_allclose(y, want.detach().numpy(), 1e-5, 1e-6)
        np.testing.assert_allclose(slope, theirs.grad.numpy(), 1e-5, 1e-6)


def test_focal_losses_without_focus_are_cross_entropies(rng):
    p, t = rng.normal(size=(4, 3)).astype("float32"), np.eye(3, dtype="float32")[[0, 2, 1, 1]]
    for focal, plain, options in (
        (losses.binary_focal_crossentropy, losses.binary_crossentropy, {}),
        (losses.categorical_focal_crossentropy, losses.categorical_crossentropy, {"alpha": 1.0}),
    ):
        for a, b in zip(with_slope(partial(focal, gamma=0.0, **options), p, t), with_slope(plain, p, t), strict=True):
            np.testing.assert_allclose(a, b, 1e-5, 1e-7)


@pytest.mark.parametrize("gamma", some([0.0, 0.5, 2.0], 0.5))
def test_focal_losses_of_extreme_logits_are_finite_and_exact(gamma):
    x = np.array([[200.0], [-200.0], [17.0], [30.0]], "float32")
    wide = x[:, 0].astype("float64")
    binary = partial(losses.binary_focal_crossentropy, gamma=gamma)
    categorical = partial(losses.categorical_focal_crossentropy, alpha=1.0, gamma=gamma)
    for t, sign in ((1, 1), (0, -1)):
        want = (1 / (1 + np.exp(sign * wide))) ** gamma * np.logaddexp(0, -sign * wide)
        y, slope = with_slope(binary, x, np.full_like(x, t))
        np.testing.assert_allclose(y, want, 1e-4, 1e-37)
        assert np.isfinite(slope).all()
        rows = np.eye(2, dtype="float32")[[t] * 4]
        logits = np.concatenate([0 * x, x], 1)
        y, slope = with_slope(categorical, logits, rows)
        np.testing.assert_allclose(y, want, 1e-4, 1e-7)
        assert np.isfinite(slope).all()


def test_similarity_of_zeros_and_of_very_large_and_small_vectors():
    p = np.array([[0, 0], [3, 4], [3e30, 4e30], [3e-30, 4e-30]], "float32")
    t = np.array([[1, 1], [0, 0], [3, 4], [-6, -8]], "float32")
    y, slope = with_slope(losses.cosine_similarity, p, t)
    np.testing.assert_allclose(y, [0, 0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(slope, 0, atol=1e-30)


def test_hinge_of_a_batch_of_one_label_does_not_depend_on_the_others():
    f = np.array([0.5, 0.5, -2.0], "float32")
    np.testing.assert_allclose(losses.hinge(f, np.array([1, 1, 1])), [0.5, 0.5, 3])
    np.testing.assert_allclose(losses.hinge(f, np.array([0, 0, 0])), [1.5, 1.5, 0])
    np.testing.assert_allclose(losses.squared_hinge(f, np.array([-1, 1, 1])), [2.25, 0.25, 9])


NAMES = {
    "mean_squared_error": ("mse", "MSE", "MeanSquaredError"),
    "mean_absolute_percentage_error": ("mape", "MAPE", "MeanAbsolutePercentageError"),
    "kl_divergence": ("kld", "KLD", "KLDivergence", "kullback_leibler_divergence"),
    "log_cosh": ("logcosh", "LogCosh"),
    "binary_crossentropy": ("bce", "BinaryCrossentropy"),
    "binary_focal_crossentropy": ("BinaryFocalCrossentropy",),
    "sparse_categorical_crossentropy": ("SparseCategoricalCrossentropy",),
    "squared_hinge": ("SquaredHinge",),
    "cosine_similarity": ("CosineSimilarity",),
}


def test_keras_names():
    for name, others in NAMES.items():
        for other in (name, *others):
            assert get_loss(other) is getattr(losses, name)
    task = fnn.Task(fnn.Dense(1), "MeanSquaredError", metrics=["MeanAbsoluteError"])
    assert task.loss is losses.mean_squared_error
    with pytest.raises(fnn.InputError, match=r"^loss: .* got 'KLDiv'\. Use 'kl_divergence'\.$"):
        get_loss("KLDiv")


@pytest.mark.parametrize(
    "name",
    [
        "hinge",
        "cosine_similarity",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("kl_divergence", "poisson", "log_cosh")),
    ],
)
def test_training_with_weights_and_masks(name, rng):
    """Steps that a mask leaves out and examples of weight 0 change nothing, even where they are not finite."""
    x = rng.normal(size=(6, 3, 2)).astype("float32")
    t = rng.dirichlet(np.ones(2), (6, 3)).astype("float32")
    t = np.where(t > 0.5, 1, -1).astype("float32") if name == "hinge" else t
    mask = rng.uniform(size=(6, 3)) < 0.7
    mask[:, 0] = True
    activation = "softplus" if name == "poisson" else None
    model = fnn.Layer(
        lambda key, x: fnn.Dense(2).init(key, jax.ShapeDtypeStruct((*x.shape[:-1], 2), x.dtype)),
        lambda p, s, x, **_: (
            fnn.Masked(getattr(fnn.activations, activation or "linear")(fnn.Dense(2).apply(p, s, x[..., :2])[0]),
                       x[..., 2] > 0), s),
    )  # fmt: skip
    data = np.concatenate([x, mask[..., None]], -1).astype("float32")
    task = fnn.Task(model, name, fnn.sgd(0.1), metrics=[name])
    ts = fnn.init(task, jax.random.key(0), data)
    w = np.array([1, 2, 0, 0.5, 1, 3], "float32")
    spoiled = t.copy()
    spoiled[~mask] = np.nan
    spoiled[2] = np.nan
    outputs = jax.jit(model.apply)(ts.params, ts.state, data)[0].x
    values = np.asarray(jax.jit(losses.get_loss(name))(outputs.reshape(18, 2), t.reshape(18, 2))).reshape(6, 3)
    counted = np.where(mask, values * w[:, None], 0)
    # Outside jit, where values are known, NaN in targets is refused, since the mask is not known yet.
    steps, logs = jax.jit(lambda ts, batch: fnn.train_step(task, ts, batch))(ts, (data, spoiled, w))
    assert float(logs["loss"]) == pytest.approx(counted.sum() / mask.sum(), rel=1e-4)
    sign = -1 if name == "cosine_similarity" else 1
    want = sign * counted.sum() / (mask * w[:, None]).sum()
    assert float(logs[name]) == pytest.approx(want, rel=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(steps.params))


P = np.zeros((4, 3), "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.hinge(P, P[:, 0]), "hinge: expected targets of the predictions' shape"),
        (lambda: losses.categorical_hinge(P[:, :1], P[:, :1]), "categorical_hinge: expected predictions of shape"),
        (lambda: losses.categorical_hinge(P, np.zeros(4, int)), "categorical_hinge: .*For class numbers"),
        (lambda: losses.kl_divergence(P[:, 0], P[:, 0]), r"kl_divergence: .*classes, got float32\[4\]"),
        (lambda: losses.cosine_similarity(P[:, 0], P[:, 0]), r"cosine_similarity: expected vectors of shape .*got"),
        (lambda: losses.binary_focal_crossentropy(P, P, alpha=2), r"binary_focal.*: expected alpha in \[0, 1\], got 2"),
        (lambda: losses.categorical_focal_crossentropy(P, P, gamma=-1), r"expected gamma in \[0, inf\), got -1"),
        (lambda: losses.sparse_categorical_focal_crossentropy(P, P), "integer class numbers as targets"),
        (lambda: losses.sparse_categorical_crossentropy(P, np.zeros(4, int), label_smoothing=2), "label_smoothing in"),
        (lambda: losses.log_cosh(P.astype(int), P), "log_cosh: expected a floating-point x.*predictions come first"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=f"^.*{message}"):
        call()


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("hinge", [0, 2], r"hinge: expected targets of 0 and 1, or -1 and \+1, got targets from 0 to 2"),
        ("squared_hinge", [-1, 0, 1], r"squared_hinge: expected targets of 0 and 1"),
        ("poisson", [3, -1], r"poisson: expected counts of at least 0 as targets, got targets from -1 to 3"),
        ("kl_divergence", [[0.5, 0.1]], r"kl_divergence: expected rows of probabilities"),
        ("categorical_hinge", [[1, 1]], r"categorical_hinge: expected rows of probabilities or one-hot"),
        ("binary_focal_crossentropy", [0, 3], r"binary_focal_crossentropy: expected targets in \[0, 1\]"),
        ("sparse_categorical_focal_crossentropy", [0, 3], r"labels in \[0, 3\) for 3 outputs"),
    ],
)
def test_invalid_targets_are_refused(loss, targets, message):
    with pytest.raises(fnn.InputError, match=message):
        facts.check_targets(get_loss(loss), P, np.array(targets))
    facts.check_targets(losses.hinge, P, np.array([0, 1]))
    facts.check_targets(losses.hinge, P, np.array([-1, 1]))


def test_an_ensemble_averages_scores_of_margins(rng):
    """Hinge losses give no probabilities: the joint prediction is the mean score."""
    x, y = rng.normal(size=(8, 2)).astype("float32"), rng.integers(0, 2, 8)
    task = fnn.Task(fnn.Dense(1), "hinge", metrics=["accuracy"])
    group = fnn.Ensemble.of(task, [fnn.init(task, jax.random.key(seed), x) for seed in range(3)])
    predictions = group.predict(x)
    assert predictions.kind == "values"
    np.testing.assert_allclose(predictions.mean, predictions.members.mean(0), 1e-5)
    logs = group.evaluate((x, y))
    assert logs["accuracy"] == pytest.approx(((np.asarray(predictions.mean)[:, 0] > 0) == y).mean())
