"""`Classifier`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import validate_data

from .._core.errors import fail
from .._core.types import ArrayLike, F, Scalar
from ..fitting.callbacks import Callback
from ..losses.classification import logistic
from ..losses.common import Loss
from ..losses.facts import LOSSES, base, facts_of, get_loss, loss_name, of_classes, several_labels
from ..optimizers.base import OptimizerLike
from ..training.task import Task
from .network import Model, NetworkEstimator, only_loss_of

# scikit-learn has no types.
_available_if: Callable[[Callable[[Classifier], bool]], Callable[[F], F]] = available_if


class Classifier(ClassifierMixin, NetworkEstimator):
    """A network as a scikit-learn classifier, of classes of any kind or of several yes/no labels.

    It works in ``Pipeline``, ``cross_val_score`` and ``GridSearchCV``; `GridSearch` trains a whole grid in one program.
    Training is that of `fit` from ``init(task, jax.random.key(random_state), X)``.

    Args:
      model: what to train. None (default) is a network of Dense layers with the settings ``hidden=(100,)``, their
        widths, ``activation="relu"`` and ``dropout=0.0``. Otherwise a function ``(outputs, ...)`` that returns a
        `Layer` or a `Task`, where ``outputs`` is the number of classes; or a `Layer` or a `Task` with that many
        outputs (one is enough for two classes).
      loss: default "sparse_categorical_crossentropy", "binary_crossentropy" for yes/no labels or a single output, or
        that of the Task. A function of your own gets class numbers, and its outputs are logits.
      optimizer: default "adam", or that of the Task.
      learning_rate: default None, that of the optimizer.
      epochs: passes over the data; default 100.
      batch_size: examples per step; default 32.
      class_weight: a dict from classes to weights, or "balanced"; default None. They multiply the sample weights.
      early_stopping: whether to hold out ``validation_fraction`` of the rows, by class, and to stop when their loss has
        not improved for ``patience`` epochs; the best state is kept. Default False.
      validation_fraction, patience: see ``early_stopping``; default 0.1 and 10.
      callbacks: as in `fit`.
      random_state: a seed, a ``RandomState`` or None; default None, another network at each call of ``fit``.
      verbose: 0 is silent (default), 1 shows a bar, 2 a line per epoch.
      **settings: arguments of the model's function. Like other parameters they can be searched.

    Attributes:
      classes_: the classes, sorted. With several yes/no labels the numbers of the labels.
      task_: the `Task`.
      state_: the `TrainState`, for `evaluate`, `save` and the other functions.
      history_: the `History` of the last training.
      n_features_in_, feature_names_in_: the features of ``X``, and their names if it has any.

    Integers in ``X`` stay integers if the model takes them, as `Embedding` does, and become floats otherwise. ``X`` may
    have more than two axes, such as images.

    >>> import numpy as np, fnn
    >>> X, y = np.linspace(-1, 1, 40)[:, None], np.repeat(["low", "high"], 20)
    >>> classifier = fnn.Classifier(hidden=(8,), learning_rate=0.03, random_state=0).fit(X, y)
    >>> classifier.predict([[-0.8], [0.8]]).tolist(), classifier.score(X, y) > 0.9
    (['low', 'high'], True)
    """

    def __init__(
        self,
        model: Model = None,
        *,
        loss: str | Loss | None = None,
        optimizer: str | OptimizerLike | None = None,
        learning_rate: Scalar | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        class_weight: Mapping[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        callbacks: Sequence[Callback] = (),
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        **settings: object,
    ) -> None:
        super().__init__(
            model,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            patience=patience,
            callbacks=callbacks,
            random_state=random_state,
            verbose=verbose,
            **settings,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # -------------------------------------------------------------------------------------------------------- training
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: np.typing.ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one more epoch, from the state of the last call; without early stopping.

        Args:
          X, y, sample_weight: as in ``fit``.
          classes: all classes, for the first call if its ``y`` lacks some.

        Raises:
          InputError: as ``fit``; for classes that the first call did not have.
        """
        X, y = self._read(X, y, reset=not hasattr(self, "state_"), classes=classes)
        return self._partial(X, y, self._weight(sample_weight, y))

    def _read(
        self, X: ArrayLike, y: ArrayLike, *, reset: bool, classes: np.typing.ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        x, labels = validate_data(self, X, y, reset=reset, allow_nd=True, multi_output=True)
        labels = labels.toarray() if hasattr(labels, "toarray") else labels
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = column_or_1d(labels, warn=True)
        kind = type_of_target(labels, input_name="y", raise_unknown=True)
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            hint = "Numbers are for fnn.Regressor." if kind.startswith("continuous") else ""
            fail("Classifier, y", expected="classes, or rows of 0 and 1", got=f"Unknown label type: {kind}", hint=hint)
        if reset:
            self._several = labels.ndim == 2
            known: np.typing.ArrayLike = labels if classes is None else classes
            self.classes_: np.ndarray = np.arange(labels.shape[1]) if self._several else np.unique(known)
            if len(self.classes_) == 1 and not self._several:
                fail("Classifier, y", expected="at least two classes", got=f"one class, {self.classes_.tolist()}")
        return x, labels

    def _groups(self, y: np.ndarray) -> np.ndarray | None:
        return None if self._several else y.reshape(len(y), -1)

    def _weight(self, sample_weight: ArrayLike | None, y: np.ndarray) -> np.ndarray | None:
        weight = self._sample_weight(sample_weight, y)
        if self.class_weight is None:
            return weight
        own: np.ndarray = compute_sample_weight(self.class_weight, y)
        return own if weight is None else own * weight

    def _count(self, loss: Loss | None) -> int:
        one = len(self.classes_) == 2 and not self._several and loss is not None and several_labels(loss)
        return 1 if one else len(self.classes_)

    def _defaults(self, outputs: int) -> dict[str, Any]:
        labels = self._several or (outputs == 1 and len(self.classes_) == 2)
        loss = "binary_crossentropy" if labels else "sparse_categorical_crossentropy"
        return {"loss": loss, "metrics": ("accuracy",)}

    def _targets(self, task: Task, y: np.ndarray) -> np.ndarray:
        yes_or_no = several_labels(only_loss_of(task))
        self._check_loss(only_loss_of(task), yes_or_no)
        numbers = y if self._several else self._numbers(y)
        if yes_or_no:
            labels = numbers.reshape(len(y), -1).astype(np.float32)
            return 2 * labels - 1 if base(only_loss_of(task)) is logistic else labels
        one_hot = of_classes(only_loss_of(task)) and not loss_name(only_loss_of(task)).startswith("sparse")
        return np.eye(len(self.classes_), dtype=np.float32)[numbers] if one_hot else numbers.astype(np.int32)

    def _check_loss(self, loss: Loss, yes_or_no: bool) -> None:
        """Refuse a loss of the library that does not fit the targets."""
        expected = "a loss of classes, such as 'sparse_categorical_crossentropy'"
        if self._several:
            expected, fits = "a loss of yes/no labels, such as 'binary_crossentropy'", yes_or_no
        elif yes_or_no:
            fits = len(self.classes_) == 2
        else:
            fits = of_classes(loss) or base(loss) not in LOSSES.values()
        if not fits:
            targets = f"{len(self.classes_)} {'labels' if self._several else 'classes'}"
            fail("Classifier", expected=expected, got=f"the loss {loss_name(loss)!r} for {targets}")

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        """The number of each row's class."""
        new = np.setdiff1d(y, self.classes_)
        if len(new):
            hint = "Pass all of them to the first call: partial_fit(X, y, classes=classes)."
            fail("Classifier, y", expected=f"classes among {self.classes_.tolist()}", got=str(new.tolist()), hint=hint)
        return np.searchsorted(self.classes_, y)

    # ------------------------------------------------------------------------------------------------------ prediction
    def predict(self, X: ArrayLike) -> np.ndarray:
        """The most probable class of each row, (rows,), or 0 and 1 for each label, (rows, labels)."""
        scores = self.decision_function(X)
        if self._several:
            return (scores > 0).astype(int)
        labels: np.ndarray = self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]
        return labels

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """The model's scores: logits, or the margins of a loss such as "hinge".

        (rows, classes); of two classes (rows,), above 0 for the second; of several yes/no labels (rows, labels), above
        0 for yes. Probabilities of a model become finite logits: the input of its last softmax or sigmoid, if known.
        """
        scores = self._outputs(X, logits=True)
        if self._several or len(self.classes_) > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

    def _gives_probabilities(self) -> bool:
        """Whether outputs stand for probabilities, as far as the loss is known; an `AttributeError` if not."""
        made = self.model if isinstance(self.model, Task) else None
        task = getattr(self, "task_", made)
        loss = self.loss if task is None or self.loss is not None else only_loss_of(task)
        if loss is not None and facts_of(get_loss(loss)).margin:
            name = loss_name(get_loss(loss))
            raise AttributeError(f"The loss {name!r} gives margins, not probabilities. Use decision_function.")
        return True

    @_available_if(_gives_probabilities)
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """The probability of each class in the order of ``classes_``, or of yes for each label; (rows, classes).

        There is no such method with a loss of margins, such as "hinge": use `decision_function`.
        """
        outputs, loss = self._outputs(X), only_loss_of(self.task_)
        ready = self._ends_in_probabilities
        p: np.ndarray
        if several_labels(loss):
            p = outputs if ready else expit(outputs)
            return p if self._several else np.concatenate([1 - p, p], 1)
        p = outputs / outputs.sum(1, keepdims=True) if ready else softmax(outputs, 1)
        return p

    @_available_if(_gives_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """The logarithms of `predict_proba`, computed from logits, which keeps them finite; (rows, classes)."""
        scores = self._outputs(X, logits=True)
        if not several_labels(only_loss_of(self.task_)):
            logs: np.ndarray = log_softmax(scores, 1)
            return logs
        yes = log_expit(scores)
        return yes if self._several else np.concatenate([log_expit(-scores), yes], 1)
