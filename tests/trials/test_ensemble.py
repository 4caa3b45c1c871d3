"""Ensembles: members equal their own runs, predictions and evaluation equal NumPy's, failures are left out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from scipy.special import expit, log_softmax, softmax
from scipy.stats import norm

import fnn
from fnn.trials import ensemble
from fnn.trials import predictions as module

RNG = np.random.default_rng(5)
RULE = RNG.normal(size=(4, 3))


def labelled(rows):
    x = RNG.normal(size=(rows, 4)).astype("float32")
    return x, (x @ RULE + RNG.normal(size=(rows, 3))).argmax(1).astype("int32")


(X, Y), V = labelled(44), labelled(20)
NUMBERS = (X[:, :2] @ RNG.normal(size=(2, 2)) + 0.3 * RNG.normal(size=(44, 2))).astype("float32")
KEY = jax.random.key(7)
MODEL = fnn.Sequential(fnn.Dense(6, activation="tanh"), fnn.Dropout(0.2), fnn.Dense(3))
TASK = fnn.Task(MODEL, "sparse_categorical_crossentropy", fnn.sgd(0.1, momentum=0.5), metrics=("accuracy",))
HOW = {"epochs": 4, "batch_size": 8, "validation_data": V}
train = partial(fnn.ensemble, TASK, KEY, (X, Y), members=3, verbose=0, **HOW)


close = partial(assert_close, rtol=1e-4)


def start(i, task=TASK):
    return fnn.init(task, jax.random.fold_in(KEY, i), X[:1])


def untrained(task, members=3, x=X):
    """Members that differ, with no training."""
    return fnn.Ensemble.of(task, [fnn.init(task, jax.random.key(10 + i), x[:1]) for i in range(members)])


@pytest.fixture(scope="module")
def found():
    return train()


# ------------------------------------------------------------------------------------------------------------- training
def test_each_member_equals_its_own_run(found):
    assert len(found) == 3
    for i in range(3):
        ts, history = fnn.run(TASK, start(i), (X, Y), **HOW)
        close(found[i].params, ts.params)
        close(found[i].opt_state, ts.opt_state)
        np.testing.assert_array_equal(jax.random.key_data(found[i].key), jax.random.key_data(ts.key))
        assert int(found[i].step) == int(ts.step) == 4 * 6
        for name, values in history.items():
            np.testing.assert_allclose(found.history[name][i], values, 1e-4)
    assert not found.failed.any()
    assert found.rows is None
    kernels = found.ts.params["dense"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1


@pytest.mark.slow
def test_members_do_not_depend_on_their_number_or_on_how_they_are_batched(found):
    fewer = fnn.ensemble(TASK, KEY, (X, Y), members=2, verbose=0, at_once=1, **HOW)
    close(fewer.ts.params, jax.tree.map(lambda a: a[:2], found.ts.params))


@pytest.mark.slow
def test_members_can_share_one_order():
    same = train(same_order=True, epochs=2)
    order_key = jax.random.fold_in(KEY, 0xFFFFFFFF)
    for i in (0, 2):
        ts, _ = fnn.run(TASK, start(i), (X, Y), **{**HOW, "epochs": 2}, order_key=order_key)
        close(same[i].params, ts.params)
    assert np.abs(same[0].params["dense"]["kernel"] - train(epochs=2)[0].params["dense"]["kernel"]).max() > 1e-4


@pytest.mark.slow
def test_bootstrap_draws_rows_with_replacement_for_each_member():
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.01))
    x, weights = RNG.normal(size=(600, 1)).astype("float32"), RNG.uniform(0.5, 2, 600).astype("float32")
    bagged = fnn.ensemble(task, KEY, (x, 3 * x, weights), members=3, batch_size=200, bootstrap=True, verbose=0)
    assert bagged.rows.shape == (3, 600)
    assert bagged.rows.dtype == jnp.int32
    counts = np.stack([np.bincount(rows, minlength=600) for rows in np.asarray(bagged.rows)])
    assert counts.shape == (3, 600)  # no row beyond the last
    np.testing.assert_allclose((counts == 0).mean(1), 1 / np.e, atol=0.05)
    assert len({tuple(row) for row in counts}) == 3
    for i in range(3):
        rows = np.asarray(bagged.rows[i])
        ts = fnn.init(task, jax.random.fold_in(KEY, i), x[:1])
        ts, _ = fnn.run(task, ts, (x[rows], 3 * x[rows], weights[rows]), batch_size=200)
        close(bagged[i].params, ts.params)


@pytest.mark.slow
def test_each_member_stops_independently():
    stop = fnn.early_stopping("val_loss", patience=3)
    stopped = train(epochs=30, callbacks=stop)
    ends = np.isfinite(stopped.history["val_loss"]).sum(1)
    assert len(set(ends)) > 1
    ts, history = fnn.run(TASK, start(1), (X, Y), **{**HOW, "epochs": 30}, callbacks=(stop,))
    close(stopped[1].params, ts.params)
    assert stopped.history["epoch"][1] == history["epoch"]
    # Epochs after the end are NaN, and are no failure; the table shows the epoch that the state is of.
    assert not stopped.failed.any()
    best = np.nanmin(stopped.history["val_loss"], 1)
    first = repr(stopped).splitlines()
    assert first[0].split() == ["member", "epoch", "loss", "val_loss", "accuracy", "val_accuracy"]
    assert [float(line.split()[3]) for line in first[1:4]] == pytest.approx(best, rel=1e-3)


def test_a_second_ensemble_compiles_nothing(found):
    size = ensemble._train._cache_size()
    other = fnn.ensemble(TASK, jax.random.key(8), (X[::-1].copy(), Y), members=3, verbose=0, **HOW)
    assert ensemble._train._cache_size() == size
    other.predict(X)
    size = module.predict_ensemble._cache_size()
    found.predict(X + 1)
    assert module.predict_ensemble._cache_size() == size


def test_repr(found, capsys):
    train(verbose=1)
    said = capsys.readouterr().out
    assert said == f"ensemble: 3 members, 4 epochs of 44 rows\n{found!r}\n"
    lines = repr(found).splitlines()
    assert lines[0].split() == ["member", "loss", "val_loss", "accuracy", "val_accuracy"]
    assert lines[2].split()[:2] == ["1", f"{found.history['loss'][1, -1]:.4g}"]
    assert lines[-1] == "Ensemble(3 members of 51 parameters)"
    assert repr(jax.eval_shape(lambda: found)) == lines[-1]


# ------------------------------------------------------------------------------------------------------------- failures
FAST = fnn.Task(fnn.Dense(2), "mse", fnn.sgd(), metrics=("rmse",))


@pytest.fixture(scope="module")
def mixed():
    """Two members that learn and one whose learning rate is absurd."""

    def trial(key, rate):
        ts = fnn.set_hyper(fnn.init(FAST, key, X), learning_rate=rate)
        return fnn.run(FAST, ts, (X, NUMBERS), epochs=6, shuffle=False)[0]

    ts = jax.jit(fnn.many(trial))(jax.random.split(KEY, 3), jnp.array([0.1, 1e30, 0.05]))
    return fnn.Ensemble.of(FAST, ts)


@pytest.mark.slow
def test_a_failed_member_is_excluded(mixed):
    assert mixed.failed.tolist() == [False, True, False]
    assert repr(mixed) == "Ensemble(3 members of 10 parameters), failed: 1"
    p, good = mixed.predict(X), fnn.Ensemble.of(FAST, [mixed[0], mixed[2]])
    assert p.members.shape == (2, 44, 2)
    close(p.mean, good.predict(X).mean)
    assert mixed.evaluate((X, NUMBERS)) == pytest.approx(good.evaluate((X, NUMBERS)), rel=1e-5)
    assert mixed[:2].failed.tolist() == [False, True]
    with pytest.raises(fnn.InputError, match=r"expected a member that did not fail, got none of 1\. Train again"):
        mixed[1:2].predict(X)
    with pytest.raises(fnn.InputError, match="expected a member that did not fail"):
        mixed[1:2].evaluate((X, NUMBERS))


def test_mean_and_spread_of_members_far_from_zero():
    """Members that differ by little beside their values, and such that agree, as exact numbers of float32."""
    task = fnn.Task(fnn.Dense(2), "mse")
    ts = fnn.init(task, KEY, X)
    biases = np.array([[1e6, 0.1], [1e6 + 0.5, 0.1], [1e6 + 1.125, 0.1]], "float32")
    states = [ts._replace(params={"kernel": ts.params["kernel"] * 0, "bias": jnp.asarray(b)}) for b in biases]
    p = fnn.Ensemble.of(task, states).predict(X[:2])
    assert_close(p.spread, np.broadcast_to(biases.astype("float64").std(0) * (1, 0), (2, 2)), 1e-6)
    np.testing.assert_array_equal(p.spread[:, 1], 0)
    np.testing.assert_array_equal(p.mean, np.broadcast_to(biases.astype("float64").mean(0).astype("float32"), (2, 2)))
    mean, variance = module._over_members(jnp.asarray(biases[:, 1:], jnp.bfloat16))
    assert mean.dtype == variance.dtype == jnp.float32


def test_evaluate_warns_of_nan():
    scale = {"scale": jnp.ones(3)}
    model = fnn.Layer(lambda key, x: (scale, {}), lambda p, s, x, **_: (x * p["scale"] * jnp.nan, s))
    task = fnn.Task(model, "sparse_categorical_crossentropy", metrics=("accuracy",))
    members = fnn.Ensemble.of(task, [fnn.init(task, KEY, jnp.ones((1, 3)))] * 2)
    with pytest.warns(RuntimeWarning, match="^evaluate: the predictions of 4 examples hold NaN"):
        logs = members.evaluate((np.ones((4, 3), "f"), np.zeros(4, int)))
    assert (logs["accuracy"], logs["member_accuracy"]) == (0, 0)
    assert list(logs) == ["loss", "accuracy", "member_loss", "member_accuracy"]


def test_training_warns_of_failures():
    task = FAST.replace(optimizer=fnn.sgd(1e30))
    with pytest.warns(RuntimeWarning, match=r"^ensemble: 2 of 2 members became non-finite \(0, 1\) and are left out"):
        lost = fnn.ensemble(task, KEY, (X, NUMBERS), members=2, epochs=3, verbose=0)
    assert lost.failed.all()
    assert repr(lost).count("  failed") == 2
    with pytest.raises(fnn.InputError, match="expected a member that did not fail, got none of 2"):
        lost.predict(X)


@pytest.mark.slow
def test_a_non_finite_loss_is_a_failure_even_with_finite_parameters():
    """A validation row far away overflows, and so would predictions."""
    far = np.full((1, 4), 1e30, "float32"), np.zeros((1, 2), "float32")
    with pytest.warns(RuntimeWarning, match="2 of 2 members became non-finite"):
        lost = fnn.ensemble(FAST, KEY, (X, NUMBERS), members=2, validation_data=far, verbose=0)
    assert np.isfinite(lost.ts.params["kernel"]).all()
    assert lost.failed.all()


# ---------------------------------------------------------------------------------------------------------- as a value
def test_members_are_states(found):
    assert [int(ts.step) for ts in found] == [24] * 3
    close(found[-1].params, found[2].params)
    close(found[np.int64(1)].params, found[1].params)
    part = found[1:]
    assert isinstance(part, fnn.Ensemble)
    assert len(part) == 2
    close(part[0].params, found[1].params)
    np.testing.assert_array_equal(part.history["loss"], found.history["loss"][1:])
    scores = fnn.evaluate(TASK, found[0], V)
    assert scores["loss"] == pytest.approx(found.history["val_loss"][0, -1], rel=1e-4)
    with pytest.raises(IndexError, match="no member 3; there are 3, numbered from 0"):
        found[3]
    with pytest.raises(fnn.InputError, match=r"expected the number of a member, or a slice, got a str"):
        found["loss"]
    with pytest.raises(fnn.InputError, match="expected a slice with at least one member, got none of 3"):
        found[5:]


def test_of_a_list_and_of_a_stack(found):
    of_list = fnn.Ensemble.of(TASK, list(found))
    of_stack = fnn.Ensemble.of(TASK, found.ts)
    for other in (of_list, of_stack):
        assert other.history == {}
        close(other.predict(X).mean, found.predict(X).mean)


@pytest.mark.slow
def test_of_a_sweep():
    def trial(seed, rate):
        ts = fnn.set_hyper(fnn.init(FAST, jax.random.key(seed), X), learning_rate=rate)
        return fnn.run(FAST, ts, (X, NUMBERS), epochs=1)

    swept = fnn.sweep(trial, {"seed": [0, 1], "rate": [0.01, 0.1]}, keep="all", verbose=0)
    four = fnn.Ensemble.of(FAST, swept.states)
    assert repr(four) == "Ensemble(4 members of 10 parameters)"
    want = np.stack([fnn.predict(FAST, ts, X) for ts in swept.states])
    close(four.predict(X).members, want)


def test_saved_and_loaded(found, tmp_path):
    fnn.save(tmp_path / "whole.safetensors", found)
    other = train()  # something else of the same structure
    again = fnn.load(tmp_path / "whole.safetensors", jax.tree.map(lambda a: a, other))
    assert repr(again) == repr(found)
    assert_close(again.predict(X).mean, found.predict(X).mean, 0, 0)
    # The states alone, into an ensemble that was never trained.
    fnn.save(tmp_path / "states.safetensors", found.ts)
    blank = jax.jit(jax.vmap(lambda key: fnn.init(TASK, key, X[:1])))(jax.random.split(jax.random.key(9), 3))
    loaded = fnn.Ensemble.of(TASK, fnn.load(tmp_path / "states.safetensors", blank))
    assert_close(loaded.predict(X).members, found.predict(X).members, 0, 0)
    assert fnn.load_info(tmp_path / "states.safetensors").step == [24, 24, 24]


def test_singular_for_one_member(found):
    assert repr(fnn.Ensemble.of(TASK, [start(9)])) == "Ensemble(1 member of 51 parameters)"
    assert repr(found[:1].predict(X)) == "Predictions(1 member, classes, mean float32[44, 3])"


def test_functions_of_one_state_name_those_of_an_ensemble(found):
    for call in (lambda: fnn.evaluate(TASK, found, (X, Y)), lambda: fnn.predict(TASK, found, X)):
        with pytest.raises(
            fnn.InputError, match=r"got an Ensemble\. .* members\.evaluate\(\(x, y\)\) or members\.pred"
        ):
            call()
    with pytest.raises(fnn.InputError, match=r"evaluate: .* got 2\. Pass one tuple: members\.evaluate\(\(x, y\)\)"):
        found.evaluate(X, Y)


def test_it_is_a_pytree_whose_task_is_static(found):
    total = jax.jit(lambda e: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(e.ts.params)))(found)
    want = sum(float((np.asarray(leaf) ** 2).sum()) for leaf in jax.tree.leaves(found.ts.params))
    assert float(total) == pytest.approx(want, rel=1e-5)
    p = jax.jit(lambda p: p)(found.predict(X))
    assert isinstance(p, fnn.Predictions)
    assert p.kind == "classes"
    with pytest.raises(fnn.InputError, match="expected members with values, got traced arrays"):
        jax.jit(lambda e: e.predict(X).mean)(found)


# ---------------------------------------------------------------------------------------------------------- predictions
def outputs_of(e, x):
    return np.stack([fnn.predict(e.task, ts, x) for ts in e]).astype(float)


def entropy(p, axis=None):
    h = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0)
    return h if axis is None else h.sum(axis)


@pytest.mark.parametrize(
    "batch_size", [256, 10, pytest.param(44, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.slow)]
)
def test_predictions_of_classes(found, batch_size):
    p = found.predict(X, batch_size=batch_size)
    want = softmax(outputs_of(found, X), -1)
    close(p.members, want)
    close(p.mean, want.mean(0))
    assert_close(p.spread, want.std(0), 1e-3, 1e-5)
    votes = np.stack([np.bincount(column, minlength=3) for column in want.argmax(-1).T])
    clear = (votes == votes.max(1, keepdims=True)).sum(1) == 1
    assert clear.any()
    np.testing.assert_array_equal(np.asarray(p.vote)[clear], votes.argmax(1)[clear])
    close(p.agreement, votes.max(1) / 3)
    close(p.entropy, entropy(want.mean(0), -1))
    assert_close(p.mutual_information, entropy(want.mean(0), -1) - entropy(want, -1).mean(0), 1e-2, 2e-6)
    assert (p.mutual_information >= 0).all()
    assert repr(p) == "Predictions(3 members, classes, mean float32[44, 3])"
    assert p.variances is None


def predictions(members, kind):
    members = jnp.asarray(members, jnp.float32)
    return fnn.Predictions(members, members.mean(0), members.std(0), None, kind)


def test_ties_are_broken_by_the_mean_probability():
    p = predictions(
        [
            [[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.1, 0.5, 0.4]],
            [[0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.1, 0.5, 0.4]],
            [[0.4, 0.5, 0.1], [0.5, 0.4, 0.1], [0.0, 0.1, 0.9]],
            [[0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.4, 0.3, 0.3]],
        ],
        "classes",
    )
    # Two against two: class 0 by the mean, then class 1. The last row's most probable class on average has one vote.
    assert p.mean[2].argmax() == 2
    assert p.vote.tolist() == [0, 1, 1]
    np.testing.assert_allclose(p.agreement, [0.5, 0.5, 0.5])
    yes = predictions([[[0.9], [0.6]], [[0.4], [0.1]]], "yes or no")
    assert yes.vote.tolist() == [1, 0]
    np.testing.assert_allclose(yes.agreement, [0.5, 0.5])


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["binary_crossentropy", "logistic", "probabilities"])
def test_predictions_of_yes_or_no(loss):
    logits = loss != "probabilities"
    last = fnn.Dense(1, activation=None if logits else "sigmoid")
    task = fnn.Task(
        fnn.Sequential(fnn.Dense(5, activation="tanh"), last),
        loss if logits else partial(fnn.losses.binary_crossentropy, from_logits=False),
        metrics=("accuracy",),
    )
    e = untrained(task, 4)
    p, want = e.predict(X), outputs_of(e, X)
    want = expit(want) if logits else want
    close(p.members, want)
    assert p.mean.shape == (44, 1)
    assert p.vote.shape == p.agreement.shape == p.entropy.shape == (44,)
    yes = (want[..., 0] > 0.5).sum(0)
    vote = np.where(yes == 2, want[..., 0].mean(0) > 0.5, yes > 2)
    np.testing.assert_array_equal(p.vote, vote)
    close(p.agreement, np.where(vote, yes, 4 - yes) / 4)
    mean = want.mean(0)[:, 0]
    close(p.entropy, entropy(mean) + entropy(1 - mean))
    # The loss and the accuracy of the mean probability.
    y = (X[:, 0] + X[:, 1] > 0).astype("int32")
    got = e.evaluate((X, 2 * y - 1 if loss == "logistic" else y))
    assert got["loss"] == pytest.approx(-np.log(np.where(y == 1, mean, 1 - mean)).mean(), rel=1e-4)
    assert got["accuracy"] == pytest.approx(((mean > 0.5) == y).mean())
    assert got["member_accuracy"] == pytest.approx(((want[..., 0] > 0.5) == y).mean())


@pytest.mark.slow
def test_predictions_of_several_labels():
    task = fnn.Task(fnn.Dense(3), "binary_crossentropy")
    p = untrained(task).predict(X)
    assert p.vote.shape == p.agreement.shape == p.mutual_information.shape == (44, 3)
    np.testing.assert_array_equal(p.vote, (np.asarray(p.members) > 0.5).sum(0) > 1.5)


@pytest.mark.slow
def test_predictions_of_sequences():
    task = fnn.Task(fnn.SimpleRNN(3, return_sequences=True), "sparse_categorical_crossentropy")
    x = RNG.normal(size=(9, 5, 4)).astype("float32")
    p = untrained(task, x=x).predict(x, batch_size=4)
    assert p.members.shape == (3, 9, 5, 3)
    assert p.vote.shape == p.entropy.shape == (9, 5)


GAUSS = fnn.Task(
    fnn.Sequential(fnn.Dense(6, activation="tanh"), fnn.Dense(4)),
    "gaussian_nll",
    fnn.adam(0.02),
    metrics=("rmse", "mae"),
)


def test_predictions_of_gaussians():
    e = untrained(GAUSS)
    p, out = e.predict(X, batch_size=16), outputs_of(e, X)
    means, variances = out[..., :2], np.log1p(np.exp(out[..., 2:])) + 1e-6
    assert_close(p.members, means, 1e-4, 1e-5)
    close(p.variances, variances)
    assert_close(p.mean, means.mean(0), 1e-4, 1e-5)
    total = (variances + means**2).mean(0) - means.mean(0) ** 2  # as the paper writes it
    assert_close(p.variance, total, 1e-4)
    for level in (0.5, 0.9):
        assert_close(tuple(p.interval(level)), norm.interval(level, means.mean(0), np.sqrt(total)), 1e-3, 1e-4)
    assert_close(p.interval(), p.interval(0.9), 0, 0)
    got = e.evaluate((X, NUMBERS))
    assert got["loss"] == pytest.approx(-norm.logpdf(NUMBERS, means.mean(0), np.sqrt(total)).mean(), rel=1e-4)
    assert got["rmse"] == pytest.approx(np.sqrt(((means.mean(0) - NUMBERS) ** 2).mean()), rel=1e-4)
    assert got["member_mae"] == pytest.approx(np.abs(means - NUMBERS).mean(), rel=1e-4)


@pytest.mark.slow
def test_metrics_of_a_gaussian_task_use_the_mean():
    ts = fnn.init(GAUSS, KEY, X[:1])
    mean = fnn.losses.gaussian_moments(fnn.predict(GAUSS, ts, X)).mean
    scores = fnn.evaluate(GAUSS, ts, (X, NUMBERS))
    assert scores["rmse"] == pytest.approx(float(fnn.metrics.rmse(mean, NUMBERS)), rel=1e-5)
    assert scores["mae"] == pytest.approx(float(fnn.metrics.mae(mean, NUMBERS)), rel=1e-5)
    r2 = GAUSS.replace(metrics=(fnn.metrics.r2_score, "mse"))
    scores = fnn.evaluate(r2, ts, (X, NUMBERS))
    assert scores["r2"] == pytest.approx(float(fnn.metrics.r2_score(mean, NUMBERS)), rel=1e-4)
    assert scores["mse"] == pytest.approx(float(fnn.metrics.rmse(mean, NUMBERS)) ** 2, rel=1e-5)
    # Tasks made alike are equal, and another loss looks the metric up again.
    assert GAUSS.replace(metrics=("rmse",)) == GAUSS.replace(metrics=("rmse",))
    plain = fnn.Task(fnn.Dense(2), "mse", metrics=GAUSS.replace(metrics=("rmse",)).metrics)
    assert fnn.evaluate(plain, fnn.init(plain, KEY, X[:1]), (X, NUMBERS))["rmse"] > 0


def two_heads(predictions, targets):
    return jnp.abs(predictions["a"] - targets[:, :1])[:, 0] + jnp.square(predictions["b"] - targets[:, 1:])[:, 0]


@pytest.mark.slow
def test_predictions_of_any_tree():
    def init(key, x):
        return {"w": jax.random.normal(key, (4, 2))}, {}

    def apply(params, state, x, *, key=None, train=False):
        out = x @ params["w"]
        return {"a": out[:, :1], "b": out[:, 1:]}, state

    e = untrained(fnn.Task(fnn.Layer(init, apply), two_heads, fnn.sgd()))
    p, w = e.predict(X, batch_size=20), np.asarray(e.ts.params["w"])
    out = np.einsum("ri,mij->mrj", X, w)
    assert_close(p.mean, {"a": out.mean(0)[:, :1], "b": out.mean(0)[:, 1:]}, 1e-4, 1e-5)
    assert_close(p.spread["b"], out.std(0)[:, 1:], 1e-4, 1e-5)
    assert p.kind == "values"
    mean = out.mean(0)
    want = (np.abs(mean[:, 0] - NUMBERS[:, 0]) + (mean[:, 1] - NUMBERS[:, 1]) ** 2).mean()
    assert e.evaluate((X, NUMBERS))["loss"] == pytest.approx(want, rel=1e-4)


# ----------------------------------------------------------------------------------------------------------- evaluation
@pytest.mark.parametrize("batch_size", [13, pytest.param(256, marks=pytest.mark.slow)])
def test_evaluation_of_classes_with_weights(found, batch_size):
    weights = RNG.uniform(0, 2, 44).astype("float32")
    got = found.evaluate((X, Y, weights), batch_size=batch_size)
    log_p = log_softmax(outputs_of(found, X), -1)
    mean = np.log(np.exp(log_p).mean(0))
    assert got["loss"] == pytest.approx(-(mean[np.arange(44), Y] * weights).mean(), rel=1e-4)
    assert got["accuracy"] == pytest.approx(((mean.argmax(1) == Y) * weights).sum() / weights.sum(), rel=1e-4)
    each = [fnn.evaluate(TASK, ts, (X, Y, weights)) for ts in found]
    for name in ("loss", "accuracy"):
        assert got[f"member_{name}"] == pytest.approx(np.mean([scores[name] for scores in each]), rel=1e-4)
    assert list(got) == ["loss", "accuracy", "member_loss", "member_accuracy"]
    assert got["loss"] < got["member_loss"]  # as the logarithm is concave


@pytest.mark.slow
def test_evaluation_with_penalties_running_means_and_added_losses():
    model = fnn.Sequential(
        fnn.Dense(5, activation="relu"), fnn.ActivityRegularization(l2=0.1), fnn.BatchNorm(), fnn.Dense(2)
    )
    task = fnn.Task(model, "mse", fnn.adam(0.01), metrics=("r2",), penalty=fnn.penalties.l2(0.05))
    e = fnn.ensemble(task, KEY, (X, NUMBERS), members=2, epochs=2, verbose=0)
    got = e.evaluate((X, NUMBERS), batch_size=12)
    each = [fnn.evaluate(task, ts, (X, NUMBERS), batch_size=12) for ts in e]
    assert got["member_loss"] == pytest.approx(np.mean([scores["loss"] for scores in each]), rel=1e-4)
    assert got["member_r2"] == pytest.approx(np.mean([scores["r2"] for scores in each]), rel=1e-3)
    # What is added is the mean of what the members add; the rest is the loss of the mean.
    bare = fnn.Task(model, "mse", fnn.adam(0.01))
    errors = [np.mean((np.asarray(fnn.predict(bare, ts, X)) - NUMBERS) ** 2) for ts in e]
    added = got["member_loss"] - np.mean(errors)
    assert added > 0.01
    error = np.mean((outputs_of(e, X).mean(0) - NUMBERS) ** 2)
    assert got["loss"] == pytest.approx(error + added, rel=1e-4)


@pytest.mark.slow
def test_evaluation_of_probabilities():
    model = fnn.Sequential(fnn.Dense(3), fnn.Activation("softmax"))
    task = fnn.Task(model, partial(fnn.losses.categorical_crossentropy, from_logits=False), metrics=("accuracy",))
    e = untrained(task)
    mean = outputs_of(e, X).mean(0)
    got = e.evaluate((X, np.eye(3, dtype="float32")[Y]))
    assert got["loss"] == pytest.approx(-np.log(mean[np.arange(44), Y]).mean(), rel=1e-4)
    close(e.predict(X).mean, mean)


@pytest.mark.slow
def test_confident_members_do_not_overflow():
    task = fnn.Task(fnn.Dense(2, use_bias=False), "sparse_categorical_crossentropy", metrics=("accuracy",))
    e = untrained(task, 2, x=np.eye(2, dtype="float32"))
    kernel = jnp.array([[[500.0, -500.0], [0.0, 300.0]], [[900.0, 0.0], [0.0, 800.0]]])
    e = fnn.Ensemble.of(task, e.ts._replace(params={"kernel": kernel}))
    got = e.evaluate((np.eye(2, dtype="float32"), np.array([1, 1])))
    assert got["loss"] == pytest.approx((900 + np.log(2)) / 2, rel=1e-4)
    p = e.predict(np.eye(2, dtype="float32"))
    assert (np.asarray(p.entropy) == 0).all()


# ------------------------------------------------------------------------------------------------------------ bad input
def other_width():
    task = TASK.replace(model=fnn.Sequential(fnn.Dense(7, activation="tanh"), fnn.Dense(3)))
    return fnn.Ensemble.of(TASK, [start(0), start(1), fnn.init(task, KEY, X[:1])])


MSE = untrained(FAST)
NAN = np.where(np.arange(44)[:, None] == 3, np.nan, X).astype("float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train(members=0), r"ensemble: expected members to be an integer of at least 1, got 0"),
        (lambda: train(epochs=0), r"expected epochs to be an integer"),
        (lambda: train(batch_size=0), r"expected batch_size to be an integer"),
        (lambda: train(at_once=0), r"expected at_once to be an integer"),
        (lambda: train(verbose=3), r"expected verbose 0 or 1, got 3"),
        (lambda: train(bootstrap=True, same_order=True), r"expected either bootstrap or same_order, got both"),
        (lambda: train(callbacks=[print]), r"expected callbacks such as early_stopping\(\)"),
        (lambda: train(callbacks=[fnn.early_stopping("val_los")]), r"Did you mean 'val_loss'"),
        (lambda: train(validation_data=(V[0], V[1] + 3)), r"validation_data > .* labels in \[0, 3\) .*from 3 to 5"),
        (lambda: train(validation_data=(V[0][:, :2], V[1])), r"^validation_data > layer 'dense'"),
        (lambda: fnn.ensemble(MODEL, KEY, (X, Y)), r"task: expected an fnn\.Task as first argument"),
        (lambda: fnn.ensemble(TASK, 3, (X, Y)), r"expected one PRNG key, got 3\. Pass jax\.random\.key\(3\)"),
        (lambda: fnn.ensemble(TASK, KEY, X), r"data: expected \(x, y\) or \(x, y, sample_weight\)"),
        (lambda: fnn.ensemble(TASK, KEY, (X, Y[:-1])), r"the same length, got x: 44, y: 43"),
        (lambda: fnn.ensemble(TASK, KEY, (X[:0], Y[:0])), r"at least one example, got none"),
        (
            lambda: fnn.ensemble(TASK, KEY, (X, Y + 1)),
            r"data > .* labels in \[0, 3\) for 3 outputs, got labels from 1 to 3",
        ),
        (lambda: fnn.ensemble(TASK, KEY, (NAN, Y)), r"data, x: expected finite numbers, got 4 NaN .* index \(3, 0\)"),
        (lambda: fnn.ensemble(TASK, KEY, (X, Y, -np.ones(44))), r"sample_weight: expected weights of at least 0"),
        (lambda: fnn.ensemble(TASK, KEY, [(X, Y)]), r"ensemble: expected arrays, \(x, y\), got a list"),
        (lambda: fnn.ensemble(FAST, KEY, (X, NUMBERS[:, :1])), r"mean_squared_error: expected targets of the pred"),
        (
            lambda: jax.jit(lambda x: fnn.ensemble(TASK, KEY, (x, Y)).ts)(X),
            r"expected concrete values, got traced ones\. .* fnn\.run under fnn\.many",
        ),
        (
            lambda: MSE.predict(X).vote,
            r"vote: expected a task whose loss has classes, got .* of kind 'values'",
        ),
        (lambda: MSE.predict(X).agreement, r"agreement: expected a task whose loss has classes"),
        (lambda: MSE.predict(X).entropy, r"entropy: expected a task whose loss has classes"),
        (lambda: MSE.predict(X).mutual_information, r"mutual_information: expected a task whose loss"),
        (lambda: MSE.predict(X).interval(), r"interval: expected predictions of kind 'gaussian', got 'values'\. Train"),
        (lambda: MSE.predict(X).variance, r"variance: expected predictions of kind 'gaussian'"),
        (lambda: untrained(GAUSS).predict(X).interval(90), r"expected a fraction in \(0, 1\), got 90\. Write 0\.9"),
        (lambda: MSE.predict(X[:, :3]), r"expected .*4"),
        (lambda: MSE.predict(NAN), r"x: expected finite numbers"),
        (lambda: MSE.predict(X, batch_size=0), r"expected batch_size to be an integer"),
        (lambda: MSE.evaluate((X, NUMBERS[:3])), r"the same length"),
        (lambda: MSE.evaluate([(X, NUMBERS)]), r"data: expected arrays, \(x, y\), got a list"),
        (lambda: fnn.Ensemble.of(TASK, []), r"at least one TrainState, got an empty list\. A sweep keeps"),
        (lambda: fnn.Ensemble.of(TASK, [start(0), 3]), r"Ensemble\.of, state 1: expected a TrainState, got an int"),
        (lambda: fnn.Ensemble.of(TASK, start(0)), r"expected a list of TrainStates, or .* Pass a list of them: \[ts"),
        (lambda: fnn.Ensemble.of(TASK, {"a": start(0)}), r"expected a list of TrainStates, got a dict"),
        (lambda: fnn.Ensemble.of(start(0), [start(0)]), r"expected an fnn\.Task"),
        (other_width, r"state 2: expected states of the same shapes; the first has .*float32\[6\].*, got float32\[7\]"),
    ],
)
def test_invalid_input_is_rejected(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("task", [TASK, GAUSS], ids=["classes", "gaussian"])
def test_dtypes_are_kept_and_nothing_promotes(task, dtype):
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        x, y = jnp.asarray(X, dtype), Y if task is TASK else jnp.asarray(NUMBERS, dtype)
        e = fnn.ensemble(task, KEY, (x, y), members=2, epochs=2, bootstrap=True, validation_data=(x, y), verbose=0)
        p, scores = e.predict(x, batch_size=16), e.evaluate((x, y))
        own = [p.mean, p.spread, *((p.agreement, p.entropy) if task is TASK else (p.variance, *p.interval()))]
        assert {leaf.dtype for leaf in own} == {jnp.dtype("float64" if dtype == "float64" else "float32")}
    assert np.isfinite(list(scores.values())).all()
