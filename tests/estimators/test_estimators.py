"""The estimators: scikit-learn's conventions, and the equality of their training with `fit`."""

import functools
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import assert_close, assert_same

import fnn
from fnn.training.evaluation import predict_in_batches

pytest.importorskip("sklearn")

import pandas as pd
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, ShuffleSplit, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 3)).astype("f")
LABELS = np.array(["b", "c", "a"])[(X @ np.eye(3)).argmax(1)]
NUMBERS = X @ np.array([1.0, -2.0, 0.5]) + 3


def two_layers(outputs, units=8, rate=0.0):
    return fnn.Sequential(fnn.Dense(units, activation="tanh"), fnn.Dropout(rate), fnn.Dense(outputs))


def quick(make=fnn.Classifier, model=two_layers, **params):
    """An estimator with few epochs; the same shapes everywhere share compiled programs."""
    return make(model, **{"epochs": 2, "batch_size": 16, "random_state": 0, "learning_rate": 0.05, **params})


def hand_fit(task, data, rate, epochs=2):
    ts = fnn.set_hyper(fnn.init(task, jax.random.key(0), X[:1]), learning_rate=rate)
    return fnn.fit(task, ts, data, epochs=epochs, batch_size=16, verbose=0)


# --------------------------------------------------------------------------------------------------------- conventions
@pytest.fixture
def barely_optimized():
    """The checks of scikit-learn are about conventions, and spend their time on compiling for many shapes."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.clear_caches()  # jit does not see the option, and would share programs with other tests
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()


@pytest.mark.slow
@pytest.mark.parametrize("make", [fnn.Classifier, fnn.Regressor])
def test_scikit_learn_accepts_the_estimators(make, barely_optimized):
    results = check_estimator(make(), on_fail=None, on_skip=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert not failed
    assert len(results) > 50


# Those of scikit-learn's checks that networks and their settings decide, rather than what is done with data before.
OF_SETTINGS = {
    *("check_parameters_default_constructible", "check_estimator_cloneable", "check_estimator_repr"),
    *("check_no_attributes_set_in_init", "check_do_not_raise_errors_in_init_or_set_params", "check_set_params"),
    *("check_get_params_invariance", "check_dont_overwrite_parameters", "check_estimators_overwrite_params"),
    *("check_estimators_pickle", "check_estimators_unfitted", "check_fit_idempotent", "check_dict_unchanged"),
    *("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
    "check_sample_weight_equivalence_on_dense_data",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "learns"),
    [
        (fnn.Classifier(hidden=(20,), dropout=0.1, learning_rate=0.01, batch_size=64), "check_classifiers_train"),
        (fnn.Regressor(two_layers, units=40, loss="huber", learning_rate=0.01, epochs=200), "check_regressors_train"),
    ],
    ids=["Classifier with settings", "Regressor of a function"],
)
def test_scikit_learn_accepts_other_settings(estimator, learns, barely_optimized):
    passed = set()
    for same, check in estimator_checks_generator(estimator):
        if check.func.__name__ in OF_SETTINGS | {learns}:
            check(same)
            passed.add(check.func.__name__)
    assert passed == OF_SETTINGS | {learns}


def test_import_leaves_scikit_learn_alone():
    code = """
import sys
import fnn
from fnn import *
assert "sklearn" not in sys.modules and "Classifier" in dir(fnn)
sys.modules["sklearn"] = None
assert "Classifier" not in dir(fnn)
try:
    fnn.Classifier
except ImportError as error:
    assert 'pip install "scikit-learn>=1.6"' in str(error), error
else:
    raise AssertionError("imported without scikit-learn")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parameters_are_those_of_the_estimator_and_of_the_models_function():
    estimator = quick(units=4)
    assert estimator.get_params()["rate"] == 0.0
    assert "rate" not in estimator.get_params(deep=False)
    estimator.set_params(rate=0.5, epochs=3)
    copied = clone(estimator)
    assert copied.get_params() == estimator.get_params()
    assert (copied.get_params()["units"], copied.get_params()["rate"], copied.epochs) == (4, 0.5, 3)
    assert "units=4" in repr(estimator)
    assert fnn.Classifier().get_params()["hidden"] == (100,)
    other = clone(estimator).set_params(rate=0.1)
    assert estimator.get_params()["rate"] == 0.5 != other.get_params()["rate"]


def test_fit_equals_the_drivers_bit_for_bit():
    estimator = quick().fit(X, LABELS)
    task = fnn.Task(two_layers(3), "sparse_categorical_crossentropy", metrics=("accuracy",))
    assert estimator.task_ == task
    ts, history = hand_fit(task, (X, np.unique(LABELS, return_inverse=True)[1].astype("i")), 0.05)
    assert_same(estimator.state_.params, ts.params)
    assert estimator.history_["accuracy"] == history["accuracy"]
    p = np.exp(jax.nn.log_softmax(fnn.predict(task, ts, X)))
    np.testing.assert_allclose(estimator.predict_proba(X), p, atol=1e-6)
    assert estimator.predict(X).tolist() == np.array(["a", "b", "c"])[p.argmax(1)].tolist()
    assert estimator.classes_.tolist() == ["a", "b", "c"]
    assert estimator.score(X, LABELS) == np.mean(estimator.predict(X) == LABELS)


def test_regressor_equals_the_drivers_and_keeps_the_shape_of_the_targets():
    estimator = quick(fnn.Regressor).fit(X, NUMBERS)
    ts, _ = hand_fit(fnn.Task(two_layers(1), "mse"), (X, NUMBERS[:, None].astype("f")), 0.05)
    assert_same(estimator.state_.params, ts.params)
    assert estimator.predict(X).shape == (48,)
    assert quick(fnn.Regressor).fit(X, NUMBERS[:, None]).predict(X).shape == (48, 1)
    both = np.stack([NUMBERS, X[:, 0]], 1)
    estimator = quick(fnn.Regressor).fit(X, both)
    assert estimator.predict(X).shape == (48, 2)
    assert np.isclose(estimator.score(X, both), r2_score(both, estimator.predict(X)))


@pytest.mark.slow
def test_gaussian_loss_predicts_means_and_standard_deviations():
    estimator = quick(fnn.Regressor, loss="gaussian_nll").fit(X, NUMBERS)
    mean, std = estimator.predict(X, return_std=True)
    want = fnn.losses.gaussian_moments(fnn.predict(estimator.task_, estimator.state_, X))
    np.testing.assert_allclose(mean, want.mean[:, 0], rtol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(want.variance[:, 0]), rtol=1e-6)
    np.testing.assert_array_equal(estimator.predict(X), mean)


# -------------------------------------------------------------------------------------------------------------- models
@pytest.mark.slow
def test_models_are_layers_tasks_or_functions():
    two = np.where(NUMBERS > 3, "yes", "no")
    numbers = (NUMBERS > 3).astype("f")[:, None]
    single = fnn.Task(two_layers(1), "binary_crossentropy", "sgd")
    for model in (two_layers(1), single, lambda outputs: single):
        estimator = quick(model=model, optimizer="sgd").fit(X, two)
        ts, _ = hand_fit(single, (X, numbers), 0.05)
        assert_close(estimator.state_.params, ts.params)
        p = estimator.predict_proba(X)
        assert p.shape == (48, 2)
        np.testing.assert_allclose(p.sum(1), 1)
        assert set(estimator.predict(X)) <= {"no", "yes"}
        np.testing.assert_array_equal(estimator.predict(X) == "yes", p[:, 1] > 0.5)


@pytest.mark.parametrize(
    "loss",
    [
        "categorical_crossentropy",
        *(pytest.param(loss, marks=pytest.mark.slow) for loss in ("binary_crossentropy", "logistic")),
    ],
)
def test_targets_have_the_form_that_the_loss_takes(loss):
    y = LABELS if loss == "categorical_crossentropy" else np.where(NUMBERS > 3, "yes", "no")
    estimator = quick(loss=loss, epochs=30).fit(X, y)
    assert estimator.score(X, y) > 0.85
    assert estimator.predict_proba(X).shape == (48, len(set(y)))


def test_a_loss_of_your_own_gets_class_numbers():
    def wrong_class(predictions, targets):
        return 1 - jax.nn.softmax(predictions)[np.arange(len(targets)), targets]

    assert quick(loss=wrong_class, epochs=30).fit(X, LABELS).score(X, LABELS) > 0.85


@pytest.mark.slow
def test_probabilities_of_a_model_that_ends_in_them():
    def network(outputs):
        return fnn.Sequential(fnn.Dense(outputs), fnn.Activation("softmax"))

    loss = functools.partial(fnn.losses.sparse_categorical_crossentropy, from_logits=False)
    estimator = quick(model=network, loss=loss).fit(X, LABELS)
    np.testing.assert_allclose(estimator.predict_proba(X), fnn.predict(estimator.task_, estimator.state_, X), rtol=1e-5)


def test_several_labels():
    y = (X > 0).astype(int)
    estimator = quick(epochs=30).fit(X, y)
    assert estimator.predict(X).shape == (48, 3)
    assert np.mean(estimator.predict(X) == y) > 0.9
    np.testing.assert_array_equal(estimator.predict(X), estimator.predict_proba(X) > 0.5)


# ------------------------------------------------------------------------------------------- margins and probabilities
@pytest.mark.parametrize(
    ("loss", "classes"),
    [
        ("hinge", 2),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("squared_hinge", 2), ("categorical_hinge", 3))),
    ],
)
def test_margins_are_no_probabilities(loss, classes):
    y = LABELS if classes == 3 else np.where(NUMBERS > 3, "yes", "no")
    for estimator in (quick(loss=loss), quick(loss=loss, epochs=30).fit(X, y)):
        assert not hasattr(estimator, "predict_proba")
        assert not hasattr(estimator, "predict_log_proba")
        with pytest.raises(AttributeError) as caught:
            estimator.predict_proba(X)
        assert "margins, not probabilities. Use decision_function." in str(caught.value.__cause__ or caught.value)
    outputs = np.asarray(fnn.predict(estimator.task_, estimator.state_, X))
    scores = estimator.decision_function(X)
    np.testing.assert_allclose(scores, outputs[:, 0] if classes == 2 else outputs, rtol=1e-5)
    assert estimator.score(X, y) > 0.85
    chosen = (scores > 0).astype(int) if classes == 2 else scores.argmax(1)
    np.testing.assert_array_equal(estimator.predict(X), estimator.classes_[chosen])


def test_margins_are_known_from_a_task():
    task = fnn.Task(two_layers(1), "hinge")
    assert not hasattr(quick(model=task), "predict_proba")
    assert hasattr(quick(model=task.replace(loss="binary_crossentropy")), "predict_proba")
    assert hasattr(quick(model=task, loss="binary_crossentropy"), "predict_proba")


def ending_in_softmax(outputs):
    return fnn.Sequential(fnn.Dense(outputs), fnn.Activation("softmax"))


@pytest.mark.slow
def test_decision_function_gives_logits():
    two = np.where(NUMBERS > 3, "yes", "no")
    several = (X > 0).astype(int)
    ends = functools.partial(fnn.losses.sparse_categorical_crossentropy, from_logits=False)
    for y, options in (
        (LABELS, {}),
        (two, {}),
        (two, {"loss": "binary_crossentropy"}),
        (several, {}),
        (two, {"loss": ends, "model": ending_in_softmax}),
    ):
        estimator = quick(epochs=20, **options).fit(X, y)
        scores, p = estimator.decision_function(X), estimator.predict_proba(X)
        np.testing.assert_allclose(np.exp(estimator.predict_log_proba(X)), p, atol=1e-6)
        if y is LABELS:
            np.testing.assert_allclose(softmax(scores, 1), p, atol=1e-6)
        else:
            np.testing.assert_allclose(expit(scores), p if y is several else p[:, 1], atol=1e-6)
            assert scores.shape == (several.shape if y is several else (len(X),))
        assert y is not two or roc_auc_score(y == "yes", scores) > 0.8


def clipped_sigmoids(outputs):
    """Probabilities that no activation made last."""
    return fnn.Model(
        lambda layers, x: jax.numpy.clip(layers.dense(x), 0, 1), dense=fnn.Dense(outputs, activation="sigmoid")
    )


FROM_PROBABILITIES = functools.partial(fnn.losses.sparse_categorical_crossentropy, from_logits=False)
BINARY = functools.partial(fnn.losses.binary_crossentropy, from_logits=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "loss", "keeps_order"),
    [
        (ending_in_softmax, None, True),
        (ending_in_softmax, FROM_PROBABILITIES, True),
        (lambda outputs: fnn.Dense(outputs, activation="sigmoid"), "binary_crossentropy", True),
        (clipped_sigmoids, BINARY, False),
    ],
)
def test_decision_function_is_finite_where_probabilities_are_0_or_1(model, loss, keeps_order):
    rows, y = 3000 * X, np.where(NUMBERS > 3, "yes", "no")
    estimator = quick(model=model, loss=loss, epochs=20).fit(rows, y)
    p, scores = estimator.predict_proba(rows), estimator.decision_function(rows)
    assert np.mean((p == 0) | (p == 1)) > 0.5, "the test needs saturated outputs"
    assert np.isfinite(scores).all()
    assert np.isfinite(estimator.predict_log_proba(rows)).all()
    assert scores.shape == (len(X),)
    np.testing.assert_allclose(expit(scores), p[:, 1], atol=1e-6)
    assert 0.5 < roc_auc_score(y, scores) <= 1
    assert (len(np.unique(scores)) == len(X)) == keeps_order
    compiled = predict_in_batches._cache_size()
    np.testing.assert_array_equal(estimator.decision_function(rows), scores)
    assert predict_in_batches._cache_size() == compiled


@pytest.mark.slow
def test_cross_validation_by_auc_of_saturated_outputs():
    y = np.where(NUMBERS > 3, "yes", "no")
    rows, estimator = 3000 * X, quick(model=ending_in_softmax)
    found = cross_val_score(estimator, rows, y, cv=2, scoring="roc_auc")
    assert np.isfinite(found).all()
    search = fnn.GridSearch(estimator, {"learning_rate": [0.05]}, cv=2, scoring="roc_auc", refit=False).fit(rows, y)
    scores = [search.cv_results_[f"split{i}_test_score"][0] for i in range(2)]
    np.testing.assert_allclose(scores, found, atol=0.02)


class Subclass(fnn.Classifier):
    """A classifier with few parameters, one of its own."""

    def __init__(self, epochs=3, extra=1):
        super().__init__(epochs=epochs)
        self.extra = extra


class SubRegressor(fnn.Regressor):
    """A regressor with a default of its own, and settings."""

    def __init__(self, epochs=3, **settings):
        super().__init__(epochs=epochs, **settings)


@pytest.mark.slow
def test_subclasses_with_their_own_signature():
    estimator = Subclass(epochs=2, extra=5)
    assert estimator.get_params(deep=False) == {"epochs": 2, "extra": 5}
    assert (clone(estimator).extra, estimator.batch_size) == (5, 32)
    assert estimator.set_params(extra=7, epochs=1).extra == 7
    assert estimator.fit(X, LABELS).predict(X).shape == (48,)
    assert len(estimator.history_["loss"]) == 1
    other = clone(SubRegressor(hidden=(4,)).set_params(epochs=1))
    assert other.get_params(deep=False) == {"epochs": 1, "hidden": (4,)}
    assert other.fit(X, NUMBERS).predict(X).shape == (48,)


@pytest.mark.slow
def test_integers_stay_integers_for_layers_that_take_ids():
    def network(outputs):
        return fnn.Sequential(fnn.Embedding(10, 4), fnn.Flatten(), fnn.Dense(outputs))

    ids = RNG.integers(0, 10, (48, 3))
    estimator = quick(model=network).fit(ids, LABELS)
    assert "embedding" in estimator.state_.params
    assert estimator.predict(ids).shape == (48,)
    quick().fit(ids, LABELS)  # Dense takes floats


@pytest.mark.slow
def test_images():
    images = X.reshape(48, 3, 1, 1)
    estimator = quick(model=lambda outputs: fnn.Sequential(fnn.Flatten(), fnn.Dense(outputs))).fit(images, LABELS)
    assert estimator.predict(images).shape == (48,)
    assert fnn.Classifier(hidden=(4,), epochs=1).fit(images, LABELS).predict(images).shape == (48,)


# ------------------------------------------------------------------------------------------------------------- weights
@pytest.mark.slow
def test_weights_are_relative_and_equal_to_repeats():
    weight = RNG.integers(0, 4, 16)
    few, y = X[:16], LABELS[:16]
    weighted = quick(batch_size=64).fit(few, y, sample_weight=weight)
    scaled = quick(batch_size=64).fit(few, y, sample_weight=0.25 * weight)
    repeated = quick(batch_size=64).fit(few.repeat(weight, 0), y.repeat(weight))
    assert_same(weighted.state_.params, scaled.state_.params)
    assert_same(weighted.state_.params, repeated.state_.params)
    plain = quick(batch_size=64).fit(few, y)
    assert not np.array_equal(plain.predict_proba(few), weighted.predict_proba(few))


def test_class_weights():
    by_class = {"a": 2.0, "b": 0.5, "c": 1.0}
    own = quick(class_weight=by_class).fit(X, LABELS)
    given = quick().fit(X, LABELS, sample_weight=[by_class[label] for label in LABELS])
    assert_same(own.state_.params, given.state_.params)
    balanced = quick(class_weight="balanced").fit(X, LABELS)
    counts = {label: (label == LABELS).mean() for label in set(LABELS)}
    given = quick().fit(X, LABELS, sample_weight=[1 / counts[label] for label in LABELS])
    assert_close(balanced.state_.params, given.state_.params)


# ------------------------------------------------------------------------------------------------------------ training
@pytest.mark.slow
def test_early_stopping_holds_out_rows_and_keeps_the_best_state():
    estimator = quick(early_stopping=True, validation_fraction=0.25, patience=2, epochs=60, learning_rate=0.5)
    estimator.fit(X, LABELS)
    losses = estimator.history_["val_loss"]
    assert len(losses) < 60
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    _, held_out = train_test_split(np.arange(48), test_size=0.25, random_state=0, stratify=LABELS)
    y = np.searchsorted(estimator.classes_, LABELS).astype("i")
    found = fnn.evaluate(estimator.task_, estimator.state_, (X[held_out], y[held_out]))
    assert np.isclose(found["loss"], min(losses), rtol=1e-5)


def test_partial_fit_continues():
    estimator = quick()
    for _ in range(2):
        estimator.partial_fit(X, LABELS, classes=["a", "b", "c"])
    assert_same(estimator.state_.params, quick().fit(X, LABELS).state_.params)
    estimator.partial_fit(X, np.full(48, "a"))
    with pytest.raises(fnn.InputError, match=r"y: expected classes among \['a', 'b', 'c'\], got \['d'\]"):
        estimator.partial_fit(X, np.full(48, "d"))
    regressor = quick(fnn.Regressor).partial_fit(X, NUMBERS).partial_fit(X, NUMBERS)
    assert_same(regressor.state_.params, quick(fnn.Regressor).fit(X, NUMBERS).state_.params)


def test_seeds():
    def params(seed):
        return jax.tree.leaves(quick(random_state=seed, epochs=1).fit(X, LABELS).state_.params)

    assert_same(params(3), params(np.int64(3)))
    assert_same(params(np.random.RandomState(3)), params(np.random.RandomState(3)))
    assert not np.array_equal(params(None)[-1], params(None)[-1])
    assert not np.array_equal(params(3)[-1], params(4)[-1])


def test_predictions_of_any_number_of_rows():
    estimator = quick().fit(X, LABELS)
    many = np.tile(X, (6, 1))[:270]
    found = estimator.predict_proba(many)
    assert found.shape == (270, 3)
    np.testing.assert_allclose(found[-1], estimator.predict_proba(many[-1:])[0], rtol=1e-6)
    np.testing.assert_allclose(found[100:130], estimator.predict_proba(many[100:130]), rtol=1e-6)


def test_callbacks_are_called():
    seen = []
    quick(callbacks=[lambda epoch, ts, logs: seen.append(logs["accuracy"])]).fit(X, LABELS)
    assert len(seen) == 2


def test_pickle_and_data_frames():
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    estimator = quick().fit(frame, pd.Series(LABELS))
    assert estimator.feature_names_in_.tolist() == ["u", "v", "w"]
    copied = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copied.predict_proba(frame), estimator.predict_proba(frame))
    copied.partial_fit(frame, LABELS)  # the state is complete
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(frame[["w", "v", "u"]])


@pytest.mark.slow
def test_cross_validation_in_a_pipeline():
    scores = cross_val_score(make_pipeline(StandardScaler(), quick(epochs=30)), 100 * X + 7, LABELS, cv=2)
    assert scores.shape == (2,)
    assert scores.min() > 0.7


# -------------------------------------------------------------------------------------------------------------- search
def assert_same_search(estimator, grid, y, sample_weight=None, features=X, tolerance=1e-5, **options):
    """A search in one program has the results of scikit-learn's, fit by fit."""
    weight = {} if sample_weight is None else {"sample_weight": sample_weight}
    ours = fnn.GridSearch(estimator, grid, **options).fit(features, y, **weight)
    theirs = GridSearchCV(estimator, grid, **options).fit(features, y, **weight)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    for name, want in theirs.cv_results_.items():
        if name.endswith("test_score") and not name.startswith("rank"):
            np.testing.assert_allclose(ours.cv_results_[name], want, rtol=tolerance, atol=tolerance, err_msg=name)
        elif name.startswith("param_"):
            assert ours.cv_results_[name].tolist() == want.tolist()
    assert theirs.cv_results_["rank_test_score"][ours.best_index_] == 1
    assert ours.best_params_ == theirs.cv_results_["params"][ours.best_index_]
    assert np.isclose(ours.best_score_, theirs.best_score_, atol=tolerance)
    assert ours.n_splits_ == theirs.n_splits_
    return ours, theirs


def test_search_trains_what_one_fit_after_the_other_does():
    assert_same_search(quick(), {"learning_rate": [0.001, 0.1]}, LABELS, cv=2, refit=False)


@pytest.mark.slow
def test_search_equals_one_fit_after_the_other():
    grid = {"learning_rate": [0.001, 0.1], "rate": [0.0, 0.5]}
    ours, theirs = assert_same_search(quick(epochs=4), grid, LABELS, cv=2, scoring="neg_log_loss")
    assert ours.predict(X).tolist() == theirs.predict(X).tolist()
    assert np.isclose(ours.score(X, LABELS), theirs.score(X, LABELS))
    assert ours.classes_.tolist() == ["a", "b", "c"]
    assert set(ours.sweep_.column("fold")) == {0, 1}
    assert "score" in str(ours.sweep_)
    assert clone(ours).get_params().keys() == ours.get_params().keys()


@pytest.mark.slow
def test_search_with_pipelines_widths_unequal_folds_weights_and_early_stopping():
    pipeline = make_pipeline(StandardScaler(), quick(fnn.Regressor, epochs=4))
    grid = [{"regressor__units": [4], "regressor__epochs": [2, 3]}, {"regressor__learning_rate": [0.01]}]
    assert_same_search(pipeline, grid, NUMBERS, features=3 + 2 * X, cv=5, scoring="neg_mean_absolute_error")
    estimator = quick(class_weight="balanced", early_stopping=True, validation_fraction=0.3, epochs=6)
    weight = RNG.integers(0, 3, 48).astype(float)
    grid = {"learning_rate": [0.05, 0.1], "class_weight": [None, "balanced"], "model": [two_layers]}
    assert_same_search(estimator, grid, LABELS, weight, cv=2, scoring="neg_log_loss")
    splits = ShuffleSplit(2, train_size=12, test_size=9, random_state=1)  # one batch, and rows on no side
    assert_same_search(quick(), {"random_state": [0, 1]}, LABELS, cv=splits, scoring="neg_log_loss")
    assert_same_search(quick(), {"rate": [0.1, 0.2]}, (X > 0).astype(int), cv=2)


@pytest.mark.slow
def test_search_marks_trials_that_diverge_and_passes_groups():
    groups = np.arange(48) // 24
    grid = {"learning_rate": [0.01, 1e30]}
    estimator = quick(fnn.Regressor, optimizer="sgd")
    search = fnn.GridSearch(estimator, grid, cv=LeaveOneGroupOut(), refit=False).fit(X, NUMBERS, groups=groups)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert search.cv_results_["rank_test_score"].tolist() == [1, 2]
    assert search.best_params_ == {"learning_rate": 0.01}
    assert not hasattr(search, "best_estimator_")


# -------------------------------------------------------------------------------------------------------------- errors
def test_errors():
    def refused(match, estimator, y=LABELS, **fit):
        with pytest.raises(fnn.InputError, match=match):
            estimator.fit(X, y, **fit)

    refused(r"a Layer, a Task, or a function .* as model, got the class int", quick(model=int))
    refused("function .* got one that returns 3", quick(model=lambda outputs: outputs))
    refused(r"outputs \(batch, 3\), got float32\[1, 4\]. End it with Dense\(3\)", quick(model=two_layers(4)))
    refused("model's function, got 'units'", fnn.Classifier(fnn.Dense(3), units=3))
    refused("a loss of classes, .*, got the loss 'mean_squared_error'", quick(loss="mse"))
    refused("a loss of classes, .* for 3 classes", quick(loss="binary_crossentropy"))
    refused("a loss of yes/no labels", quick(loss="sparse_categorical_crossentropy"), y=(X > 0).astype(int))
    refused("at least two classes, got one class, ", quick(), y=np.full(48, "a"))
    refused("Unknown label type: continuous. Numbers are for fnn.Regressor", quick(), y=NUMBERS)
    refused("a loss of numbers.* Use fnn.Classifier", quick(fnn.Regressor, loss="binary_crossentropy"), y=NUMBERS)
    refused("sample_weight: expected weights of at least 0", quick(), sample_weight=np.full(48, -1.0))
    refused(r"sample_weight: expected shape \(48,\)", quick(), sample_weight=np.ones(3))
    refused("batch_size", quick(batch_size=0))
    refused("one loss", quick(model=fnn.Task(fnn.Dense(3), {"a": "mse"})))
    with pytest.raises(NotFittedError):
        quick().predict(X)
    with pytest.raises(fnn.InputError, match=r"got 'epoch'. Did you mean 'epochs'"):
        fnn.Classifier(epoch=3)
    with pytest.raises(fnn.InputError, match=r"got 'hidden_layer_sizes'. Did you mean 'hidden'"):
        fnn.Classifier(hidden_layer_sizes=(3,))
    with pytest.raises(fnn.InputError, match="got 'width'"):
        quick().set_params(width=3)
    with pytest.raises(fnn.InputError, match="return_std"):
        quick(fnn.Regressor).fit(X, NUMBERS).predict(X, return_std=True)


def test_errors_of_a_search():
    def refused(match, estimator, grid, **options):
        with pytest.raises(ValueError, match=match):
            fnn.GridSearch(estimator, grid, cv=2, **options).fit(X, LABELS)

    refused("GridSearch: expected an fnn.Classifier or fnn.Regressor", MLPClassifier(), {"alpha": [1]})
    pipeline = make_pipeline(StandardScaler(), quick())
    grid = {"standardscaler__with_mean": [True]}
    refused("begin with 'classifier__', got 'standardscaler__with_mean'", pipeline, grid)
    refused("got 'width'", quick(), {"width": [1, 2]})
    printing = quick(callbacks=(lambda epoch, ts, logs: None,))
    refused("Functions with side effects belong in fit", printing, {"rate": [0.1]})


# ----------------------------------------------------------------------------------------------------------- reference
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # they stop after as many epochs as ours
@pytest.mark.parametrize("load", [load_iris, load_digits])
def test_accuracy_is_that_of_scikit_learns_network(load):
    features, y = load(return_X_y=True)
    options = {"learning_rate_init": 0.01, "max_iter": 60, "n_iter_no_change": 60, "random_state": 0}
    theirs = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(32,), batch_size=32, alpha=0, **options))
    ours = make_pipeline(StandardScaler(), fnn.Classifier(hidden=(32,), learning_rate=0.01, epochs=60, random_state=0))
    scores = [np.mean(cross_val_score(estimator, features, y, cv=3)) for estimator in (ours, theirs)]
    assert scores[0] > scores[1] - 0.02


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_error_is_that_of_scikit_learns_regressor():
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    options = {"learning_rate_init": 0.01, "max_iter": 200, "n_iter_no_change": 200, "random_state": 0}
    theirs = MLPRegressor(hidden_layer_sizes=(32,), batch_size=32, alpha=0, **options).fit(X, y)
    ours = fnn.Regressor(hidden=(32,), learning_rate=0.01, epochs=200, random_state=0).fit(X, y)
    assert ours.score(X, y) > theirs.score(X, y) - 0.03
