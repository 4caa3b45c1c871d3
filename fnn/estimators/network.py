"""`NetworkEstimator`: the model, the training and the parameters of a `Classifier` and a `Regressor`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._core.described import in_words
from .._core.errors import describe, did_you_mean, fail, kind_of
from .._core.flags import check_flags
from .._core.jaxprs import Ending, traced_endings
from .._core.typed import array_spec, finfo
from .._core.types import AnyArray, Array, ArrayLike, DType, Key, PyTree, Scalar
from .._names import OF_ESTIMATORS
from ..fitting.callbacks import Callback
from ..fitting.evaluate import predict
from ..fitting.fit import fit
from ..losses.common import Loss
from ..losses.facts import activation_of, expects, get_loss, several_labels
from ..nn.activations import ActivationLike
from ..nn.containers import Sequential
from ..nn.dense import Dense
from ..nn.dropout import Dropout
from ..nn.layer import Layer, Output
from ..nn.observe import noted_input, noting_inputs
from ..nn.shape import Flatten
from ..optimizers.base import OptimizerLike, set_hyper
from ..training.state import TrainState, init
from ..training.stopping import early_stopping
from ..training.task import Task

Model = Layer | Task | Callable[..., Layer | Task] | None

_PREDICTED = 256  # rows of a batch


def mlp(
    outputs: int, hidden: int | Sequence[int] = (100,), activation: ActivationLike = "relu", dropout: Scalar = 0.0
) -> Layer:
    """The default model: for each width in ``hidden`` a Dense layer and Dropout, then ``Dense(outputs)``."""
    widths = hidden if isinstance(hidden, Sequence) else (hidden,)
    layers = [layer for units in widths for layer in (Dense(units, activation=activation), Dropout(dropout))]
    return Sequential(Flatten(), *layers, Dense(outputs))


class RowChoice(NamedTuple):
    """The rows of a data set that a fit uses, and their weights.

    Attributes:
      train, stop: row numbers for training, and for early stopping (None without it).
      train_weight, stop_weight: their weights, None if all are 1.
    """

    train: np.ndarray
    train_weight: np.ndarray | None
    stop: np.ndarray | None
    stop_weight: np.ndarray | None

    def take(self, x: AnyArray, y: AnyArray) -> tuple[tuple[AnyArray, ...], tuple[AnyArray, ...] | None]:
        """The data for training and for early stopping, as `fit` and `run` take them."""

        def taken(rows: np.ndarray, weight: np.ndarray | None) -> tuple[AnyArray, ...]:
            return (x[rows], y[rows]) if weight is None else (x[rows], y[rows], weight)

        return taken(self.train, self.train_weight), None if self.stop is None else taken(self.stop, self.stop_weight)


def only_loss_of(task: Task) -> Loss:
    """The one loss of a task."""
    return task.parts[0].loss


class NetworkEstimator(BaseEstimator):
    """What `Classifier` and `Regressor` share. Subclasses say what targets are, and how outputs become predictions."""

    random_state: int | np.random.RandomState | Array | None
    task_: Task
    state_: TrainState
    _known: tuple[np.ndarray, np.ndarray] | None = None

    def __init__(
        self,
        model: Model = None,
        *,
        loss: str | Loss | None = None,
        optimizer: str | OptimizerLike | None = None,
        learning_rate: Scalar | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        callbacks: Sequence[Callback] = (),
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        **settings: Any,
    ) -> None:
        self.model, self.loss, self.optimizer, self.learning_rate = model, loss, optimizer, learning_rate
        self.epochs, self.batch_size, self.early_stopping = epochs, batch_size, early_stopping
        self.validation_fraction, self.patience, self.callbacks = validation_fraction, patience, callbacks
        self.random_state, self.verbose, self._settings = random_state, verbose, settings
        if model is None or inspect.isfunction(model):
            self._check_settings()

    # ------------------------------------------------------------------------------------------------------ parameters
    def get_params(self, deep: bool = True) -> dict[str, object]:
        """The parameters by name, with those of the model's function that were given.

        Args:
          deep: whether to include the defaults of the model's function; default True.
        """
        own: dict[str, object] = super().get_params(deep)
        given = own | self._settings
        return self._settings_of_model() | given if deep else given

    def set_params(self, **params: object) -> Self:
        """Change parameters, those of the model's function too.

        Raises:
          InputError: for a name that neither has.
        """
        own = self._get_param_names()
        super().set_params(**{name: value for name, value in params.items() if name in own})
        known = self.get_params()
        for name in params.keys() - known.keys():
            self._refuse_setting(name, known)
        self._settings = self._settings | {name: value for name, value in params.items() if name not in own}
        return self

    def _settings_of_model(self) -> dict[str, object]:
        """The arguments of the model's function with their defaults, without its first one, the number of outputs."""
        model = mlp if self.model is None else self.model
        if isinstance(model, (Layer, Task)) or not callable(model):
            return {}
        try:
            _, *others = inspect.signature(model).parameters.values()
        except (TypeError, ValueError):
            return {}
        return {p.name: p.default for p in others if p.default is not p.empty}

    def _check_settings(self) -> None:
        model = mlp if self.model is None else self.model
        known = {} if isinstance(model, (Layer, Task)) else inspect.signature(model).parameters
        if any(p.kind is p.VAR_KEYWORD for p in known.values()):
            return
        for name in self._settings.keys() - list(known)[1:]:
            self._refuse_setting(name, [*self._get_param_names(), *list(known)[1:]])

    def _refuse_setting(self, name: str, known: Sequence[str] | Mapping[str, object]) -> None:
        """Refuse an unknown parameter, and suggest one."""
        meant = OF_ESTIMATORS.get(name, name)
        hint = did_you_mean(meant if meant in known else name, known) or f"Known: {', '.join(sorted(known))}."
        where = type(self).__name__
        fail(where, expected=f"a parameter of {where} or of its model's function", got=repr(name), hint=hint)

    # ----------------------------------------------------------------------------------------------------------- model
    def _make(self, X: np.ndarray) -> Task:
        """The task for these data. It also notes what the model takes and returns."""
        given = {name: getattr(self, name) for name in ("loss", "optimizer") if getattr(self, name) is not None}
        known = get_loss(given["loss"]) if "loss" in given else None
        if known is None and isinstance(self.model, Task):
            known = only_loss_of(self.model)
        made = self._made(self._count(known))
        layer = made.model if isinstance(made, Task) else made
        self._input_dtype = _input_dtype(layer, X)
        out, ending = _output_of(layer, array_spec((1, *X.shape[1:]), self._input_dtype))
        found = out.shape[1] if hasattr(out, "shape") and len(out.shape) == 2 else 0
        task = made.replace(**given) if isinstance(made, Task) else Task(made, **{**self._defaults(found), **given})
        if task.parts[0].path:
            fail(type(self).__name__, expected="a task with one loss", got="losses by output")
        if found != (count := self._count(only_loss_of(task))):
            hint = f"End it with Dense({count}), or pass a function: lambda outputs: fnn.Sequential(...)."
            got = describe(out) if hasattr(out, "shape") else kind_of(out)
            fail(type(self).__name__, expected=f"a model with outputs (batch, {count})", got=got, hint=hint)
        self._ends_in_probabilities = expects(only_loss_of(task)) == "probabilities" or ending.in_probabilities
        return task

    def _made(self, outputs: int) -> Layer | Task:
        """The model, or what its function returns."""
        where, model = type(self).__name__, mlp if self.model is None else self.model
        expected = "a Layer, a Task, or a function (outputs, ...) that returns one, as model"
        if not isinstance(model, (Layer, Task)) and (not callable(model) or isinstance(model, type)):
            fail(where, expected=expected, got=in_words(model))
        self._check_settings()
        if callable(model) and not inspect.signature(model).parameters:
            hint = "Write lambda outputs: fnn.Dense(outputs), or pass the model itself."
            fail(where, expected=expected, got=f"{in_words(model)} without arguments", hint=hint)
        made = model if isinstance(model, (Layer, Task)) else model(outputs, **self._settings)
        if not isinstance(made, (Layer, Task)):
            fail(where, expected=expected, got=f"one that returns {in_words(made)}")
        return made

    def _count(self, loss: Loss | None) -> int:
        """The number of outputs of the model with this loss; None is the default loss."""
        raise NotImplementedError

    def _defaults(self, outputs: int) -> dict[str, Any]:
        """Loss and metrics for a model with this many outputs, where none are given."""
        raise NotImplementedError

    def _start(self, task: Task, x: AnyArray) -> TrainState:
        """The initial state."""
        ts = init(task, jax.random.key(self._seed()), x[:1])
        return ts if self.learning_rate is None else set_hyper(ts, learning_rate=self.learning_rate)

    def _seed(self) -> Scalar:
        seed = self.random_state
        if isinstance(seed, jax.Array):
            return seed
        random = check_random_state(seed)
        return random.randint(2**31 - 1) if seed is None or isinstance(seed, np.random.RandomState) else int(seed)

    # -------------------------------------------------------------------------------------------------------- training
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train a new network.

        Args:
          X: (rows, features), or more axes.
          y: (rows,) classes or numbers, or (rows, targets) labels of 0 and 1 or numbers.
          sample_weight: (rows,), at least 0. Only proportions matter: the weights are scaled to a mean of 1.

        Raises:
          InputError: as `fnn.fit`; for a model with another number of outputs, unknown settings, or weights that are
            negative or all zero. scikit-learn's checks of ``X`` and ``y`` raise a ValueError too.
        """
        X, y = self._read(X, y, reset=True)
        weight = self._weight(sample_weight, y)
        task, x, targets = self._prepare(X, y)
        rows = self._rows(task, x, targets, weight, np.arange(len(x)))
        return self._train(task, self._start(task, x), x, targets, rows, self.epochs)

    def _read(self, X: ArrayLike, y: ArrayLike, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Checked arrays. With ``reset`` it remembers the features and the targets, else it compares with them."""
        raise NotImplementedError

    def _groups(self, y: np.ndarray) -> np.ndarray | None:
        """The classes by which rows for early stopping are chosen."""
        return None

    def _prepare(self, X: np.ndarray, y: np.ndarray) -> tuple[Task, np.ndarray, np.ndarray]:
        """The task, its inputs and its targets."""
        task = self._make(X)
        return task, np.asarray(X, self._input_dtype), self._targets(task, y)

    def _targets(self, task: Task, y: np.ndarray) -> np.ndarray:
        """Targets in the form that the loss takes."""
        raise NotImplementedError

    def _rows(self, task: Task, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, of: np.ndarray) -> RowChoice:
        """Which of the rows ``of`` to train on: those of weight 0 are left out, some held out for early stopping."""
        check_flags(type(self).__name__, early_stopping=self.early_stopping)
        rows, stop = of if weight is None else of[weight[of] > 0], None
        if self.early_stopping:
            rows, stop = train_test_split(
                rows, test_size=self.validation_fraction, random_state=self.random_state, stratify=self._groups(y[rows])
            )
        elif len(rows) <= self.batch_size and task.model.per_example:
            rows, weight = _distinct(rows, x, y, weight)
        return RowChoice(rows, _with_mean_one(rows, weight), stop, _with_mean_one(stop, weight))

    def _train(self, task: Task, ts: TrainState, x: np.ndarray, y: np.ndarray, rows: RowChoice, epochs: int) -> Self:
        data, validation = rows.take(x, y)
        self.state_, self.history_ = fit(
            task,
            ts,
            data,
            epochs=epochs,
            batch_size=self.batch_size,
            validation_data=validation,
            callbacks=self._callbacks(rows),
            verbose=self.verbose,
        )
        self.task_ = task
        return self

    def _callbacks(self, rows: RowChoice) -> list[Callback]:
        given = list(self.callbacks) if isinstance(self.callbacks, Iterable) else [self.callbacks]
        return given if rows.stop is None else [early_stopping(patience=self.patience), *given]

    def _partial(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> Self:
        """One more epoch, from the state of the last training if there is one."""
        rows = RowChoice(np.arange(len(y)), _with_mean_one(np.arange(len(y)), weight), None, None)
        if hasattr(self, "state_"):
            task, ts = self.task_, self.state_
            x, targets = np.asarray(X, self._input_dtype), self._targets(task, y)
        else:
            task, x, targets = self._prepare(X, y)
            ts = self._start(task, x)
        return self._train(task, ts, x, targets, rows, 1)

    def _weight(self, sample_weight: ArrayLike | None, y: np.ndarray) -> np.ndarray | None:
        """The weights of rows."""
        return self._sample_weight(sample_weight, y)

    def _sample_weight(self, sample_weight: ArrayLike | None, y: np.ndarray) -> np.ndarray | None:
        """Sample weights in float64, checked."""
        if sample_weight is None:
            return None
        where = f"{type(self).__name__}, sample_weight"
        weight: np.ndarray = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
        if weight.shape != (len(y),):
            fail(where, expected=f"shape ({len(y)},), a weight for each row", got=describe(weight))
        if weight.min() < 0 or not weight.any():
            fail(where, expected="weights of at least 0, not all zero", got=f"{weight.min():g} to {weight.max():g}")
        return weight

    # ------------------------------------------------------------------------------------------------------ prediction
    def _outputs(self, X: ArrayLike, *, logits: bool = False) -> np.ndarray:
        """The outputs of the model, (rows, outputs); with ``logits`` those in place of probabilities."""
        check_is_fitted(self)
        if self._known is not None:
            return self._known[logits]
        x = np.asarray(validate_data(self, X, reset=False, allow_nd=True), self._input_dtype)
        outputs = predict(
            self._scoring(self.task_) if logits else self.task_, self.state_, _padded(x), batch_size=_PREDICTED
        )
        return np.asarray(outputs, np.float64)[: len(x)]

    def _with_outputs(self, task: Task, outputs: np.ndarray, logits: np.ndarray) -> Self:
        """A copy that predicts from outputs already computed, whatever rows it is asked for."""
        known = copy.copy(self)
        known.task_, known._known = task, (outputs, logits)
        return known

    def _scoring(self, task: Task) -> Task:
        """The task with logits for outputs; itself if they are no probabilities."""
        return _with_logits(task) if self._ends_in_probabilities else task

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = super().__getstate__()
        return state | {"state_": jax.device_get(state["state_"])} if "state_" in state else state


def _input_dtype(layer: Layer, X: np.ndarray) -> DType:
    """The default float dtype, or int32 for integers that the layer takes as they are."""
    if X.dtype.kind in "iu":
        try:
            jax.eval_shape(layer.init, jax.random.key(0), array_spec((1, *X.shape[1:]), jnp.int32))
        except Exception:  # the layer takes floats
            pass
        else:
            return np.dtype(np.int32)
    return jnp.result_type(float)


def _output_of(layer: Layer, x: jax.ShapeDtypeStruct) -> tuple[PyTree, Ending]:
    """The shapes of a layer's outputs outside training, and how it computes the first."""
    params, state = jax.eval_shape(layer.init, jax.random.key(0), x)
    out, ends = traced_endings(lambda *args: layer.apply(*args)[0], params, state, x)
    return out, ends[0]


def _with_logits(task: Task) -> Task:
    """The task with logits for outputs, where its model returns probabilities; they stay finite.

    They are the input of a last softmax or sigmoid, which tells rows apart whose probabilities are all 0 or 1.
    """
    model, loss = task.model, only_loss_of(task)

    def apply(params: PyTree, state: PyTree, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        with noting_inputs():
            p, state = model.apply(params, state, x, key=key, train=train)
            logits = noted_input(activation_of(loss), p)
        if logits is None:
            info = finfo(p.dtype)
            p = jnp.clip(p, info.tiny, 1 - info.epsneg)
            logits = jnp.log(p) - jnp.log1p(-p) if several_labels(loss) else jnp.log(p)
        return logits, state

    return task.replace(model=model.replace(apply=apply))


def _padded(x: np.ndarray) -> np.ndarray:
    """The rows, padded by copies of the first, so that few programs serve any number of rows.

    No row is then in the remainder of a vectorized loop, where the last bits may differ from those of other rows.
    """
    size = len(x)
    if size < _PREDICTED:
        size = max(16, 1 << (size - 1).bit_length())
    return np.concatenate([x, np.repeat(x[:1], -len(x) % min(size, _PREDICTED), 0)])


def _distinct(
    rows: np.ndarray, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of one batch with equal ones merged, so that a weight of 2 and a repeated row train alike, bit for bit."""
    table = np.concatenate([a[rows].reshape(len(rows), -1) for a in (x, y)], 1)
    _, first, group = np.unique(table, axis=0, return_index=True, return_inverse=True)
    if weight is None and len(first) == len(rows):
        return rows, None
    merged = np.zeros(len(y))
    merged[rows[first]] = np.bincount(group.ravel(), None if weight is None else weight[rows])
    return rows[first], merged


def _with_mean_one(rows: np.ndarray | None, weight: np.ndarray | None) -> np.ndarray | None:
    """The weights of rows, scaled to a mean of 1."""
    if rows is None or weight is None:
        return None
    return np.asarray(weight[rows] / weight[rows].mean(), np.float32)
