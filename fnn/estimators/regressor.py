"""`Regressor`."""

from __future__ import annotations

from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from .._core.errors import describe, fail
from .._core.types import ArrayLike
from ..losses.common import Loss
from ..losses.facts import GAUSSIAN, facts_of, loss_name, of_classes, several_labels
from ..losses.gaussian import gaussian_moments
from ..training.task import Task
from .network import NetworkEstimator, only_loss_of


class Regressor(RegressorMixin, NetworkEstimator):
    """A network as a scikit-learn regressor, of one or several numbers.

    It works in ``Pipeline``, ``cross_val_score`` and ``GridSearchCV``; `GridSearch` trains a whole grid in one program.
    Networks learn best from features and targets of about unit scale: put ``StandardScaler`` before it and
    ``TransformedTargetRegressor`` around it.

    Args:
      model: as in `Classifier`, with an output for each target, or two for each with the loss "gaussian_nll".
      loss: default "mse", or the loss of the Task.
      optimizer, learning_rate, epochs, batch_size: as in `Classifier`.
      early_stopping, validation_fraction, patience: as in `Classifier`.
      callbacks, random_state, verbose: as in `Classifier`.
      **settings: as in `Classifier`.

    Attributes:
      task_, state_, history_, n_features_in_, feature_names_in_: as in `Classifier`.

    >>> import numpy as np, fnn
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> regressor = fnn.Regressor(hidden=(16,), learning_rate=0.01, random_state=0).fit(X, X[:, 0] ** 2)
    >>> regressor.predict(X[:3]).shape, regressor.score(X, X[:, 0] ** 2) > 0.9
    ((3,), True)
    """

    _target_shape: tuple[int, ...]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # -------------------------------------------------------------------------------------------------------- training
    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one more epoch, from the state of the last call; without early stopping.

        Args:
          X, y, sample_weight: as in ``fit``.
        """
        X, y = self._read(X, y, reset=not hasattr(self, "state_"))
        return self._partial(X, y, self._weight(sample_weight, y))

    def _read(self, X: ArrayLike, y: ArrayLike, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        x, targets = validate_data(self, X, y, reset=reset, allow_nd=True, multi_output=True, y_numeric=True)
        if not reset and targets.shape[1:] != self._target_shape:
            fail("Regressor, y", expected=f"targets of shape {('rows', *self._target_shape)}", got=describe(targets))
        self._target_shape = targets.shape[1:]
        return x, targets

    def _count(self, loss: Loss | None) -> int:
        targets = int(np.prod(self._target_shape))
        return 2 * targets if loss is not None and facts_of(loss).outputs == GAUSSIAN else targets

    def _defaults(self, outputs: int) -> dict[str, Any]:
        return {"loss": "mse"}

    def _targets(self, task: Task, y: np.ndarray) -> np.ndarray:
        if of_classes(only_loss_of(task)) or several_labels(only_loss_of(task)):
            got = f"the loss {loss_name(only_loss_of(task))!r}"
            fail("Regressor", expected="a loss of numbers, such as 'mse'", got=got, hint="Use fnn.Classifier.")
        return y.reshape(len(y), -1).astype(jnp.result_type(float))

    # ------------------------------------------------------------------------------------------------------ prediction
    def predict(self, X: ArrayLike, *, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The predicted numbers, in the shape of ``y``.

        Args:
          X: (rows, features), or more axes.
          return_std: whether to return ``(mean, standard deviation)``, with the loss "gaussian_nll"; default False.
        """
        outputs = self._outputs(X)
        shape = (len(outputs), *self._target_shape)
        if facts_of(only_loss_of(self.task_)).outputs == GAUSSIAN:
            mean, variance = (np.asarray(part).reshape(shape) for part in gaussian_moments(jnp.asarray(outputs)))
            return (mean, np.sqrt(variance)) if return_std else mean
        if return_std:
            got = f"the loss {loss_name(only_loss_of(self.task_))!r}"
            fail("predict", expected="the loss 'gaussian_nll' with return_std", got=got)
        return outputs.reshape(shape)
