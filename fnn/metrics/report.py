"""The classification report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._core.dtypes import is_float
from .._core.errors import fail
from .._core.tables import table_line
from .classification import Counts, answers_of, counts_by_class, counts_by_label, scores_of
from .given import check_given
from .metric import in_double


def classification_report(
    predictions: Any,
    targets: Any,
    *,
    names: Sequence[Any] | None = None,
    threshold: Any = None,
    multi_label: bool | None = None,
    sample_weight: Any = None,
    digits: int = 3,
) -> str:
    """A text table of precision, recall, F1 and support by class or label, with averages.

    Of classes there are accuracy and the macro and weighted averages. Of several yes/no labels there is a row for each
    label, and below them the micro average (over all labels of all examples), the macro and weighted averages (over
    labels) and the samples average (over examples, each by its own labels), as in scikit-learn.

    The macro average is the mean over every class of the outputs (or of ``names``), also over one that no row has,
    which counts 0; scikit-learn leaves out classes that are neither among the targets nor predicted.

    Args:
      predictions, targets, threshold, multi_label, sample_weight: as in `confusion_matrix`.
      names: of the classes or labels; default their numbers.
      digits: behind the decimal point.

    Raises:
      InputError: as `confusion_matrix`, and when the number of names is not that of the classes.

    >>> print(classification_report([0, 1, 1, 0], [0, 1, 0, 0], names=["no", "yes"], digits=2))
                  precision  recall    f1  support
    no                 1.00    0.67  0.80        3
    yes                0.50    1.00  0.67        1
    <BLANKLINE>
    accuracy                         0.75        4
    macro avg          0.75    0.83  0.73        4
    weighted avg       0.88    0.75  0.77        4
    """
    rows, averages = _report_rows(predictions, targets, names, threshold, multi_label, sample_weight)
    widths = (max(len("weighted avg"), *(len(label) for label, *_ in rows)), 9, 6, digits + 2, 7)

    def line(label: str, values: Sequence[Any], count: Any) -> str:
        cells = ["" if v is None else f"{v:.{digits}f}" for v in values]
        # Sums of weights are no integers.
        support = f"{count:.1f}" if isinstance(count, float) else str(count)
        return table_line([label, *cells, support], widths, left=1)

    head = table_line(["", "precision", "recall", "f1", "support"], widths, left=1)
    return "\n".join([head, *(line(*row) for row in rows), "", *(line(*row) for row in averages)])


_ReportRow = tuple[str, tuple[Any, ...], Any]


@in_double
def _report_rows(
    predictions: Any, targets: Any, names: Any, threshold: Any, multi_label: Any, sample_weight: Any
) -> tuple[list[_ReportRow], list[_ReportRow]]:
    """The rows of classes or labels, and those of averages: label, precision, recall and F1, and support."""
    where = "classification_report"
    given = check_given(where, predictions, targets, threshold, multi_label, sample_weight)
    scored, count = given.several or is_float(given.predictions), None if names is None else len(names)
    p, t, classes = answers_of(where, given, None if scored else count)
    if count not in (None, classes):
        fail(where, expected=f"{classes} names", got=f"{count} names")
    counts = counts_by_label(p, t, given.weights) if given.several else counts_by_class(p, t, given.weights, classes)
    columns = [np.asarray(column) for column in scores_of(counts)[:3]]
    support = np.asarray(counts.true)
    total = support.sum().item()
    labels = [str(n) for n in (names if names is not None else range(classes))]
    values = zip(*(column.tolist() for column in columns), strict=True)
    rows = list(zip(labels, values, support.tolist(), strict=True))
    means: dict[str, tuple[Any, ...]] = {"macro avg": tuple(c.mean() for c in columns)}
    means["weighted avg"] = tuple((c * support).sum() / total if total else 0.0 for c in columns)
    if given.several:
        micro = scores_of(Counts(*(jnp.sum(a, keepdims=True) for a in counts)))[:3]
        weights = (
            None
            if given.weights is None
            else np.broadcast_to(np.asarray(given.weights).reshape(-1, *(1,) * (p.ndim - 2)), p.shape[:-1]).ravel()
        )
        samples = scores_of(counts_by_label(p.reshape(-1, classes).T, t.reshape(-1, classes).T, None))[:3]
        means = {"micro avg": tuple(c.item() for c in micro), **means}
        means["samples avg"] = tuple(np.average(np.asarray(c), weights=weights) for c in samples)
    else:
        means = {"accuracy": (None, None, np.asarray(counts.right).sum() / total), **means}
    return rows, [(label, values, total) for label, values in means.items()]
