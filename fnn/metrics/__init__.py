"""Metrics: functions of whole arrays, and `Metric`, the same values accumulated batch by batch in compiled code.

The functions see values, so they refuse invalid ones: NaN among predictions of classes, labels outside the classes,
weights that are negative or not finite. They compute in float64 if an argument comes from NumPy. Compiled code does not
see values: there a prediction that holds NaN, or a label outside the classes, counts as wrong. An example of weight 0
never counts, whatever it holds.
"""

from .auc import auc, binned_auc
from .calibration import (
    LEVELS,
    CoverageCurve,
    Interval,
    Reliability,
    calibration_error,
    coverage,
    coverage_curve,
    gaussian_interval,
    interval_width,
    reliability,
)
from .classification import (
    ClassScores,
    accuracy,
    balanced_accuracy,
    binary_accuracy,
    confusion_matrix,
    mean_iou,
    precision_recall_f1,
    scores_from_confusion,
    top_k,
    top_k_accuracy,
)
from .metric import Metric, mean_metric
from .names import METRICS, direction, get_metric
from .regression import mae, mape, r2_score, rmse
from .report import classification_report

__all__ = [
    "LEVELS", "METRICS", "ClassScores", "CoverageCurve", "Interval", "Metric", "Reliability", "accuracy", "auc",
    "balanced_accuracy", "binary_accuracy", "binned_auc", "calibration_error", "classification_report",
    "confusion_matrix", "coverage", "coverage_curve", "direction", "gaussian_interval", "get_metric", "interval_width",
    "mae", "mape", "mean_iou", "mean_metric", "precision_recall_f1", "r2_score", "reliability", "rmse",
    "scores_from_confusion", "top_k", "top_k_accuracy",
]  # fmt: skip
