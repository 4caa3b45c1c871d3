"""Losses: functions ``(predictions, targets) -> one value per example``, and their weighted sum.

Losses are computed and returned in float32 at least, whatever the dtype of the predictions; targets are cast to that
dtype. Gradients have the predictions' dtype.
"""

from .classification import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    kl_divergence,
    logistic,
    sparse_categorical_crossentropy,
    sparse_categorical_focal_crossentropy,
)
from .common import Loss
from .facts import LOSSES, get_loss
from .gaussian import Gaussians, gaussian_moments, gaussian_nll, gaussian_outputs
from .margins import categorical_hinge, hinge, squared_hinge
from .regression import (
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from .weighting import class_weights, mean_loss, weighted_sum

__all__ = [
    "LOSSES", "Gaussians", "Loss", "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_hinge", "class_weights", "cosine_similarity", "gaussian_moments",
    "gaussian_nll", "gaussian_outputs", "get_loss", "hinge", "huber", "kl_divergence", "log_cosh", "logistic",
    "mean_absolute_error", "mean_absolute_percentage_error", "mean_loss", "mean_squared_error",
    "mean_squared_logarithmic_error", "poisson", "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy", "squared_hinge", "weighted_sum",
]  # fmt: skip
