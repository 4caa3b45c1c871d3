"""The classification report."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import is_float
from .._core.errors import counted, fail
from .._core.tables import table_line
from .._core.types import Array, ArrayLike, Scalar
from .arguments import ClassArguments, class_arguments
from .classification import ClassScores, class_scores, count_labels, count_pairs, of_pairs, pairs_and_number
from .metric import float64_on_host


@float64_on_host
def classification_report(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    names: Sequence[object] | None = None,
    threshold: Scalar | None = None,
    multi_label: bool | None = None,
    sample_weight: ArrayLike | None = None,
    digits: int = 3,
) -> str:
    """A text table of precision, recall, F1 and support by class or label, with averages.

    Predictions come first; scikit-learn has the other order. Scores as targets are refused, but two arrays of class
    numbers do not tell which is which.

    Classes are followed by the accuracy and the macro and weighted averages; yes/no labels by the micro average (over
    all labels of all examples), the macro and weighted averages (over labels) and the samples average (over examples,
    each by its own labels), as in scikit-learn.

    The macro average is the mean over every class of the outputs (or of ``names``), even one that no row has, which
    counts 0; scikit-learn leaves out classes that are neither among the targets nor predicted.

    Args:
      predictions, targets, threshold, multi_label, sample_weight: as in `confusion_matrix`, and so are the errors.
      names: of all classes or labels, another number is refused; default their indices.
      digits: after the decimal point.

    >>> print(classification_report([0, 1, 1, 0], [0, 1, 0, 0], names=["no", "yes"], digits=2))
                  precision  recall    f1  support
    no                 1.00    0.67  0.80        3
    yes                0.50    1.00  0.67        1
    <BLANKLINE>
    accuracy                         0.75        4
    macro avg          0.75    0.83  0.73        4
    weighted avg       0.88    0.75  0.77        4
    """
    given = class_arguments("classification_report", predictions, targets, threshold, multi_label, sample_weight)
    rows, averages = _report_rows(given, names)
    widths = (max(len("weighted avg"), *(len(label) for label, *_ in rows)), 9, 6, digits + 2, 7)

    def line(label: str, values: Sequence[float | None], support: float) -> str:
        cells = ["" if v is None else f"{v:.{digits}f}" for v in values]
        # Sums of weights are not integers.
        count = f"{support:.1f}" if isinstance(support, float) else str(support)
        return table_line([label, *cells, count], widths, left=1)

    head = table_line(["", "precision", "recall", "f1", "support"], widths, left=1)
    return "\n".join([head, *(line(*row) for row in rows), "", *(line(*row) for row in averages)])


_ReportRow = tuple[str, Sequence[float | None], float]


def _report_rows(given: ClassArguments, names: Sequence[object] | None) -> tuple[list[_ReportRow], list[_ReportRow]]:
    """The rows of classes or labels, and those of averages: label; precision, recall and F1; and support."""
    where = "classification_report"
    scored, count = given.several or is_float(given.predictions), None if names is None else len(names)
    p, t, classes = pairs_and_number(where, given, None if scored else count)
    if count not in (None, classes):
        fail(where, expected=counted(classes, "name"), got=counted(count, "name"))
    right, scores, averages = of_pairs(_scores_and_averages, p, t, classes, given.weights, given.several)
    columns, support = [np.asarray(column) for column in scores[:3]], np.asarray(scores.support)
    total = support.sum().item()
    labels = [str(n) for n in (names if names is not None else range(classes))]
    values = zip(*(column.tolist() for column in columns), strict=True)
    rows: list[_ReportRow] = list(zip(labels, values, support.tolist(), strict=True))
    means: dict[str, Sequence[float | None]] = {"macro avg": [c.mean() for c in columns]}
    means["weighted avg"] = [(c * support).sum() / total if total else 0.0 for c in columns]
    if given.several:
        micro, samples = averages
        weights = None
        if given.weights is not None:
            each = np.asarray(given.weights).reshape(-1, *(1,) * (p.ndim - 2))
            weights = np.broadcast_to(each, p.shape[:-1]).ravel()
        means = {"micro avg": [c.item() for c in micro[:3]], **means}
        means["samples avg"] = [np.average(np.asarray(c), weights=weights) for c in samples[:3]]
    else:
        means = {"accuracy": [None, None, right.item() / total], **means}
    return rows, [(label, values, total) for label, values in means.items()]


def _scores_and_averages(
    p: Array, t: Array, classes: int, weights: Array | None, several: bool
) -> tuple[Array, ClassScores, tuple[ClassScores, ...]]:
    """The weight of what is right, the scores of each class or label, and for labels those of all and of each row."""
    counts = count_pairs(p, t, classes, weights, several)
    averages: tuple[ClassScores, ...] = ()
    if several:
        micro = class_scores(jax.tree.map(lambda a: jnp.sum(a, keepdims=True), counts))
        averages = micro, class_scores(count_labels(p.reshape(-1, classes).T, t.reshape(-1, classes).T, None))
    return jnp.sum(counts.right), class_scores(counts), averages
