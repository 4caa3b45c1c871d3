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
from .common import Loss, align
from .facts import (
    LOSSES,
    base,
    check_distributions,
    check_targets,
    expects,
    get_loss,
    is_per_example,
    of_classes,
    several_labels,
)
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
    "LOSSES", "Gaussians", "Loss", "align", "base", "binary_crossentropy", "binary_focal_crossentropy",
    "categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge", "check_distributions",
    "check_targets", "class_weights", "cosine_similarity", "expects", "gaussian_moments", "gaussian_nll",
    "gaussian_outputs", "get_loss", "hinge", "huber", "is_per_example", "kl_divergence", "log_cosh", "logistic",
    "mean_absolute_error", "mean_absolute_percentage_error", "mean_loss", "mean_squared_error",
    "mean_squared_logarithmic_error", "of_classes", "poisson", "several_labels", "sparse_categorical_crossentropy",
    "sparse_categorical_focal_crossentropy", "squared_hinge", "weighted_sum",
]  # fmt: skip
