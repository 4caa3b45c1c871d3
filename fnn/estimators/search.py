"""`GridSearch`: scikit-learn's grid search, in one program."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_array

from .._core.errors import fail
from .._core.types import ArrayLike, PyTree
from ..nn.layer import Layer
from ..training.run import run
from ..training.segments import map_batches
from ..trials.results import Config, Sweep
from ..trials.sweep import sweep
from .network import NetworkEstimator, RowChoice

Grid = Mapping[str, Sequence[object]] | Sequence[Mapping[str, Sequence[object]]]
Split = tuple[np.ndarray, np.ndarray]
# Arguments of the trials, by names that no function of a model can have.
_FOLD, _SIZES = "held out", "sizes of the fold"
# They choose rows and weights, on the host; the trials never see them.
_OF_ROWS = ("class_weight", "early_stopping", "validation_fraction")


class TrialFold(NamedTuple):
    """A split of the data for one trial.

    Attributes:
      number: of the fold.
      rows: those to train on, for this trial's parameters.
      test: the numbers of the held-out rows.
    """

    number: int
    rows: RowChoice
    test: np.ndarray

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """Trials with equal ones share a program."""
        return tuple(None if a is None else len(a) for a in (*self.rows, self.test))


class GridSearch(GridSearchCV):
    """``GridSearchCV`` whose trials, all settings and folds, train in one program by `sweep`.

    The scores are those of ``GridSearchCV`` to floating-point tolerance. Settings that are floats, such as learning
    rates and dropout rates, and seeds vary within a program. Others (widths, ``epochs``, ``batch_size``, names) and
    the sizes of folds set its shapes: there is one program for each of their combinations.

    Args:
      estimator: a `Classifier` or `Regressor`, or a ``Pipeline`` that ends in one. The other steps of a pipeline are
        fitted to the training rows of each fold.
      param_grid: as in ``GridSearchCV``; in a pipeline parameters of the last step alone.
      scoring, refit, cv: as in ``GridSearchCV``, with one score.
      structural: names of floats that set shapes or control flow; see `sweep`.
      verbose: 0 is silent (default), 1 shows a bar.

    Attributes:
      cv_results_, best_index_, best_params_, best_score_, best_estimator_, n_splits_: as in ``GridSearchCV``. Times are
        those of all trials divided by their number. The score of a trial that became non-finite is NaN.
      sweep_: the `Sweep`, with the loss of each epoch and the score of each trial, without states.

    >>> import numpy as np, fnn
    >>> X, y = np.linspace(-1, 1, 40)[:, None], np.repeat(["low", "high"], 20)
    >>> classifier = fnn.Classifier(hidden=(8,), epochs=20, random_state=0)
    >>> search = fnn.GridSearch(classifier, {"learning_rate": [1e-5, 0.05]}, cv=2).fit(X, y)
    >>> search.best_params_, search.predict([[0.5]]).tolist()
    ({'learning_rate': 0.05}, ['high'])
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        param_grid: Grid,
        *,
        scoring: str | Callable[..., float] | None = None,
        refit: bool | Callable[..., int] = True,
        cv: object = None,
        structural: Sequence[str] = (),
        verbose: int = 0,
    ) -> None:
        super().__init__(estimator, param_grid, scoring=scoring, refit=refit, cv=cv, verbose=verbose)
        self.structural = structural

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        """Train every setting on every fold, then the best one on all rows.

        Args:
          X, y, sample_weight: as in `Classifier`; the scores are weighted as in ``GridSearchCV``.
          groups: (rows,), for splitters that need them.

        Raises:
          InputError: for another estimator, parameters of other steps of a pipeline, or as ``fit`` and `sweep`.
        """
        started = time.perf_counter()
        *steps, last = _steps(self.estimator)
        prefix = f"{self.estimator.steps[-1][0]}__" if isinstance(self.estimator, Pipeline) else ""
        candidates = list(ParameterGrid(self.param_grid))
        settings = [_without(prefix, candidate) for candidate in candidates]
        self.scorer_, self.multimetric_ = check_scoring(self.estimator, scoring=self.scoring), False
        splitter = check_cv(self.cv, y, classifier=is_classifier(last))
        splits = list(splitter.split(X, y, groups))
        features = [_transformed(steps, X, y, *split) for split in splits] if steps else [X]
        trials = _Trials(last, features, y, sample_weight, splits, settings)
        found = trials.train(self.structural, self.verbose)
        self.sweep_ = trials.scored(found, self.scorer_, X, y)
        scores = self.sweep_.scores.reshape(len(candidates), len(splits))
        if np.isnan(scores).all():
            fail("GridSearch", expected="a trial with a finite result", got=f"none of {scores.size}")
        self.n_splits_ = len(splits)
        seconds = (time.perf_counter() - started) / scores.size
        self.cv_results_ = _results(candidates, scores, seconds)
        ranks = self.cv_results_["rank_test_score"]
        self.best_index_ = int(self.refit(self.cv_results_) if callable(self.refit) else ranks.argmin())
        self.best_params_ = candidates[self.best_index_]
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        if self.refit:
            weight = {} if sample_weight is None else {f"{prefix}sample_weight": sample_weight}
            started = time.perf_counter()
            self.best_estimator_ = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
            self.best_estimator_.fit(X, y, **weight)
            self.refit_time_ = time.perf_counter() - started
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self


def _steps(estimator: BaseEstimator) -> list[BaseEstimator]:
    """The steps of a pipeline, or the estimator alone; the last one is checked."""
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    if not isinstance(steps[-1], NetworkEstimator):
        hint = "Others belong in scikit-learn's GridSearchCV."
        expected = "an fnn.Classifier or fnn.Regressor, or a Pipeline that ends in one"
        fail("GridSearch", expected=expected, got=type(steps[-1]).__name__, hint=hint)
    return [step for step in steps if step is not None and step != "passthrough"]


def _without(prefix: str, candidate: Config) -> Config:
    """A candidate's parameters by the names that the last step of the pipeline has for them."""
    for name in candidate:
        if not name.startswith(prefix):
            hint = "Search the other steps with scikit-learn's GridSearchCV."
            fail("GridSearch", expected=f"parameters that begin with {prefix!r}", got=repr(name), hint=hint)
    return {name.removeprefix(prefix): value for name, value in candidate.items()}


def _transformed(steps: list[BaseEstimator], X: ArrayLike, y: Any, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The rows of a fold after the first steps of a pipeline, fitted to its training rows; the other rows are 0."""
    pipeline = Pipeline([(str(i), clone(step)) for i, step in enumerate(steps)])
    seen = check_array(pipeline.fit_transform(_safe_indexing(X, train), _safe_indexing(y, train)), allow_nd=True)
    found = np.zeros((len(y), *seen.shape[1:]), seen.dtype)
    found[train], found[test] = seen, pipeline.transform(_safe_indexing(X, test))
    return found


class _Trials:
    """Every setting of an estimator on every fold."""

    def __init__(
        self,
        estimator: NetworkEstimator,
        features: Sequence[ArrayLike],
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        splits: list[Split],
        settings: list[Config],
    ) -> None:
        self.reader = clone(estimator)  # knows the features and the targets
        pairs = [self.reader._read(X, y, reset=True) for X in features]
        self.features, self.y = np.stack([X for X, _ in pairs]), pairs[0][1]
        known = self.reader.get_params()
        names = dict.fromkeys(name for config in settings for name in config)
        self.settings = [{name: config.get(name, known.get(name)) for name in names} for config in settings]
        self.weight = self.reader._sample_weight(sample_weight, self.y)
        self.splits = len(splits)
        self.estimators = [copy.copy(self.reader).set_params(**config) for config in self.settings]
        self.made = [estimator._prepare(self.features[0], self.y) for estimator in self.estimators]
        self.folds = [self._fold(i, n, *split) for i in range(len(settings)) for n, split in enumerate(splits)]

    def _fold(self, setting: int, number: int, train: np.ndarray, test: np.ndarray) -> TrialFold:
        """A split of the data with the rows and weights that the estimator would train on."""
        estimator, (task, _, targets) = self.estimators[setting], self.made[setting]
        x = self.features[number % len(self.features)].astype(estimator._input_dtype)
        given = None if self.weight is None else self.weight[train]
        weight, own = None, estimator._weight(given, self.y[train])
        if own is not None:
            weight = np.zeros(len(x))
            weight[train] = own
        return TrialFold(number, estimator._rows(task, x, targets, weight, train), test)

    def train(self, structural: Sequence[str], verbose: int) -> Sweep:
        """Train all of them."""
        configs = []
        for i, fold in enumerate(self.folds):
            setting = i // self.splits
            config = {name: value for name, value in self.settings[setting].items() if name not in _OF_ROWS}
            config["random_state"] = self.estimators[setting]._seed()
            configs.append({**config, _FOLD: fold, _SIZES: fold.sizes})
        structural = (*structural, *_whole_numbers(configs))
        return sweep(self._trial, configs, structural=structural, monitor="loss", verbose=verbose)

    def _trial(self, **config: PyTree) -> tuple[PyTree, dict[str, PyTree]]:
        """One training, traced: its state, and its history with the outputs for the held-out rows."""
        fold, _ = config.pop(_FOLD), config.pop(_SIZES)
        estimator = copy.copy(self.reader).set_params(**config)
        task, x, targets = estimator._prepare(self.features[0], self.y)
        ts = estimator._start(task, x)
        if len(self.features) > 1:
            x = jnp.asarray(self.features.astype(x.dtype))[fold.number]
        x, targets = jnp.asarray(x), jnp.asarray(targets)
        data, validation = fold.rows.take(x, targets)
        options = {"epochs": estimator.epochs, "batch_size": estimator.batch_size}
        callbacks = estimator._callbacks(fold.rows)
        ts, history = run(task, ts, data, validation_data=validation, callbacks=callbacks, **options)
        size = min(len(fold.test), 256)

        def outputs_of(network: Layer) -> PyTree:
            return map_batches(lambda rows: network.apply(ts.params, ts.state, rows)[0], x[fold.test], size)

        scoring = estimator._scoring(task)
        logits = {} if scoring is task else {"logits": outputs_of(scoring.network)}
        return ts, {**history, "outputs": outputs_of(task.network), **logits}

    def scored(self, found: Sweep, scorer: Callable[..., float], X: ArrayLike, y: ArrayLike) -> Sweep:
        """The results with a score for each trial, in place of the outputs."""
        weighted = getattr(scorer, "_accept_sample_weight", lambda: False)()  # since scikit-learn 1.9
        for i, (fold, history) in enumerate(zip(self.folds, found.histories, strict=True)):
            setting, outputs = i // self.splits, history.pop("outputs").astype(np.float64)
            scores = history.pop("logits", outputs).astype(np.float64)
            known = self.estimators[setting]._with_outputs(self.made[setting][0], outputs, scores)
            weight = {"sample_weight": self.weight[fold.test]} if weighted and self.weight is not None else {}
            score = np.nan
            if not found.failed[i]:
                score = scorer(known, _safe_indexing(X, fold.test), _safe_indexing(y, fold.test), **weight)
            found.scores[i], history["score"] = score, np.array([score])
            own = found.configs[i]
            del own[_FOLD], own[_SIZES]
            own["fold"] = fold.number
        return dataclasses.replace(found, monitor="score", rising=True, ts=None)


def _whole_numbers(configs: list[Config]) -> list[str]:
    """Parameters whose values are all integers, such as widths and epochs: they set shapes. Seeds do not."""
    whole = [
        name
        for name in configs[0]
        if all(isinstance(config[name], (int, np.integer)) and not isinstance(config[name], bool) for config in configs)
    ]
    return [name for name in whole if name not in ("random_state", "learning_rate")]


def _results(candidates: list[Config], scores: np.ndarray, seconds: float) -> dict[str, Any]:
    """The table of a search, in the form of ``GridSearchCV``; ``scores`` is (candidates, folds)."""
    mean, size = scores.mean(1), len(candidates)
    masked_all: Callable[..., np.ma.MaskedArray] = np.ma.masked_all  # which NumPy leaves without a type
    results: dict[str, Any] = {"mean_fit_time": np.full(size, seconds), "std_fit_time": np.zeros(size)}
    for name in dict.fromkeys(name for candidate in candidates for name in candidate):
        column = masked_all(size, dtype=object)
        for i, candidate in enumerate(candidates):
            if name in candidate:
                column[i] = candidate[name]
        results[f"param_{name}"] = column
    results["params"] = candidates
    results |= {f"split{i}_test_score": scores[:, i] for i in range(scores.shape[1])}
    # Settings with a failed trial share the last rank.
    ranks = rankdata(-np.where(np.isnan(mean), -np.inf, mean), method="min").astype(np.int32)
    return results | {"mean_test_score": mean, "std_test_score": scores.std(1), "rank_test_score": ranks}
