"""Pictures for classification: images, class probabilities and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .. import metrics
from .._core.arrays import as_array
from .._core.checks import check_count
from .._core.errors import describe, fail
from .._core.inputs import as_labels
from ._draw import COLORS, RIGHT, WRONG, Axes, as_float64, class_label, class_names, many_axes, one_axes, tick_tilt

_MOST_IMAGES = 400  # more take minutes to draw and cannot be viewed


def _as_images(where: str, images: ArrayLike) -> np.ndarray:
    """Images as an array, (count, height, width) or (count, height, width, 3 or 4); floats in float32."""
    x = np.asarray(as_array(f"{where}, x", images, fits=False))
    if x.ndim == 4 and x.shape[-1] == 1:
        x = x[..., 0]
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (3, 4)) or x.size == 0:
        fail(where, expected="x of shape (count, height, width[, channels])", got=f"shape {x.shape}")
    if len(x) > _MOST_IMAGES:
        fail(where, expected=f"at most {_MOST_IMAGES} images", got=str(len(x)), hint="Select some, e.g. x[:40].")
    if not np.issubdtype(x.dtype, np.integer) and x.dtype != bool:
        x = x.astype(np.float32)
        if x.ndim == 4 and not (x.min() >= 0 and x.max() <= 1):
            got = f"numbers from {x.min():g} to {x.max():g}"
            fail(where, expected="colour images in [0, 1], or integers in [0, 255]", got=got)
    return x


def images(
    x: ArrayLike,
    labels: ArrayLike | None = None,
    predictions: ArrayLike | None = None,
    *,
    names: Sequence[object] | None = None,
    columns: int = 8,
    axes: ArrayLike | None = None,
) -> np.ndarray:
    """Draw a grid of images with labels or "predicted (true)" as titles: correct ones green, wrong ones red and bold.

    Grey images share one scale: the smallest value of all is white, the largest black.

    Args:
      x: (count, height, width) or (count, height, width, channels) with 1, 3 or 4 channels.
      labels: the true label of each image; optional.
      predictions: the predicted label of each image; optional, with ``labels``.
      names: of the classes, if labels and predictions are integer class labels; optional.
      columns: images per row.
      axes: an array of axes to draw into, at least one per image; default a new figure.

    Returns:
      The flat array of axes.

    Raises:
      InputError: for arrays that are not images, more than 400 of them, or too few axes or labels.

    >>> axes = images(np.eye(16).reshape(4, 4, 4, 4)[0], [0, 1, 0, 1], [0, 1, 1, 1], names=["cat", "dog"])
    >>> [ax.get_title() for ax in axes]
    ['cat (cat)', 'dog (dog)', 'dog (cat)', 'dog (dog)']
    """
    x = _as_images("images", x)
    true, predicted = (
        None if values is None else _label_texts(name, values, len(x), names)
        for name, values in (("labels", labels), ("predictions", predictions))
    )
    longest = max(map(len, [*(true or ()), *(predicted or ())]), default=0)
    # Two long names, of the predicted and the true class, need a wider title.
    width = 1.7 if longest >= 7 and true and predicted else 1.25
    grid = many_axes("images", axes, len(x), columns, (width, 1.5))
    for ax in grid:
        ax.set_axis_off()
    scale = {"cmap": "gray_r", "vmin": x.min(), "vmax": x.max()} if x.ndim == 3 else {}
    for i, (ax, image) in enumerate(zip(grid, x, strict=False)):
        ax.imshow(image, **scale)
        _title(ax, true[i] if true else None, predicted[i] if predicted else None)
    return grid


def _label_texts(name: str, values: ArrayLike, count: int, names: Sequence[object] | None) -> list[str]:
    """The label of each image as text, by its class name if there are names."""
    labels = as_labels(f"images, {name}", values)
    if labels.ndim != 1:
        hint = "Use scores.argmax(-1)."
        fail("images", expected=f"one {name[:-1]} per image", got=f"shape {labels.shape}", hint=hint)
    if len(labels) < count:
        fail("images", expected=f"{count} {name}", got=str(len(labels)))
    if names is None:
        return [str(label) for label in labels[:count]]
    texts = class_names("images", names, len(names))
    return [texts[class_label("images", label, len(texts))] for label in labels[:count]]


def _title(ax: Axes, label: str | None, prediction: str | None) -> None:
    if prediction is None:
        if label is not None:
            ax.set_title(label, fontsize=10)
        return
    right = label is None or prediction == label
    text = prediction if label is None else f"{prediction} ({label})"
    # Long names go on two lines.
    text, size = (text.replace(" (", "\n("), 9) if len(text) > 16 else (text, 10)
    ax.set_title(text, fontsize=size, color=RIGHT if right else WRONG, fontweight="normal" if right else "bold")


def _as_probabilities(where: str, values: ArrayLike) -> np.ndarray:
    """Probabilities with the classes last; a single one is that of class 1."""
    p = as_float64(where, "p", values)
    if p.ndim and p.shape[-1] == 1:
        p = np.concatenate([1 - p, p], -1)
    if p.size == 0:
        fail(where, expected="the probabilities of at least one class", got=describe(p))
    off = np.abs(p.sum(-1) - 1).max()
    # The tolerance allows for half precision, which rounds each probability.
    if not (p.min() >= 0 and p.max() <= 1 and off < 0.02):
        got = f"numbers from {p.min():g} to {p.max():g} that sum to {p.sum(-1).ravel()[0]:g}"
        fail(where, expected="probabilities, which sum to 1", got=got, hint="Pass fnn.activations.softmax(logits).")
    return p


def probabilities(
    p: ArrayLike,
    *,
    label: int | None = None,
    names: Sequence[object] | None = None,
    top: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the class probabilities of one example as bars.

    The most probable class is green if correct, red if not, blue without a label; the true class is bold, with "true".

    Args:
      p: (classes,), or (1,) for the probability of class 1 out of two.
      label: the true class, an integer; optional.
      names: of the classes; default their labels.
      top: number of classes to show, most probable first, plus the true one; default 10, or all in order if at most 20.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for numbers that are not probabilities, and names or labels that do not fit.

    >>> ax = probabilities([0.1, 0.7, 0.2], label=2, names=["bag", "boot", "coat"])
    >>> [text.get_text() for text in ax.texts]
    ['70%', '20% (true)']
    """
    where = "probabilities"
    if np.ndim(p) != 1:
        fail(where, expected="the probabilities of one example, of shape (classes,)", got=f"shape {np.shape(p)}")
    p = _as_probabilities(where, p)
    texts = class_names(where, names, len(p))
    true = None if label is None else class_label(where, label, len(p))
    if top is not None:
        check_count(where, "top", top)
    shown = list(range(len(p)))
    if top is not None or len(p) > 20:
        shown = np.argsort(-p, kind="stable")[: top or 10].tolist()
        if true is not None and true not in shown:
            shown.append(true)
    best = int(p.argmax())
    ax = one_axes(where, ax, (3.6, 0.6 + 0.24 * len(shown)))
    colors = ["0.75"] * len(shown)
    colors[shown.index(best)] = COLORS[0] if true is None else RIGHT if best == true else WRONG
    ax.barh(np.arange(len(shown)), p[shown], color=colors, height=0.75)
    size = 9 if len(shown) <= 6 else 8
    ax.set_yticks(np.arange(len(shown)), [texts[i] for i in shown], fontsize=size)
    for place, i in enumerate(shown):
        if i in (best, true):
            text = f"{p[i]:.0%}" + (" (true)" if i == true else "")
            ax.text(p[i] + 0.02, place, text, va="center", fontsize=size, fontweight="bold" if i == true else None)
        if i == true:
            ax.get_yticklabels()[place].set_fontweight("bold")
    ax.set(xlim=(0, 1.42), ylim=(len(shown) - 0.5, -0.5))
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=size)
    ax.spines["bottom"].set_bounds(0, 1)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("probability", fontsize=size, x=0.5 / 1.42)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def predictions(
    x: ArrayLike,
    p: ArrayLike,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    names: Sequence[object] | None = None,
    columns: int = 3,
    axes: ArrayLike | None = None,
) -> np.ndarray:
    """Draw images, each beside the bars of its class probabilities.

    Args:
      x: images as in `images`.
      p: (count, classes) probabilities.
      labels: the true class of each image, an integer; optional.
      names: of the classes; default their labels.
      columns: examples per row.
      axes: an array of axes to draw into, alternately for an image and its bars; default a new figure.

    Returns:
      The flat array of axes: image, bars, image, bars, ...

    Raises:
      InputError: as in `images` and `probabilities`.
    """
    where = "predictions"
    x = _as_images(where, x)
    if np.ndim(p) != 2 or np.shape(p)[0] < len(x):
        fail(where, expected=f"p of shape ({len(x)}, classes)", got=f"shape {np.shape(p)}")
    p = _as_probabilities(where, p)[: len(x)]
    if labels is not None and (np.ndim(labels) != 1 or len(labels) < len(x)):
        fail(where, expected=f"{len(x)} labels", got=f"shape {np.shape(labels)}")
    texts = class_names(where, names, p.shape[1])
    check_count(where, "columns", columns)
    columns = min(columns, len(x))
    ratios = [1.45, 1.9 + 0.07 * max(map(len, texts))]
    cell = (sum(ratios) / 2, max(1.6, 0.5 + 0.16 * min(p.shape[1], 20)))
    grid = many_axes(where, axes, 2 * len(x), 2 * columns, cell, width_ratios=ratios * columns)
    images(x, labels, p.argmax(-1), names=texts, axes=grid[: 2 * len(x) : 2])
    for i in range(len(x)):
        ax = probabilities(p[i], label=None if labels is None else labels[i], names=texts, ax=grid[2 * i + 1])
        ax.set_xlabel("")
    for ax in grid[2 * len(x) :]:
        ax.set_axis_off()
    return grid


def confusion_matrix(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    names: Sequence[object] | None = None,
    normalize: bool = False,
    threshold: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often each true class (rows) was predicted as each class (columns), as numbers on shades.

    The shade follows the square root of the count, so that single mistakes remain visible beside large counts.

    Args:
      predictions: (count, classes) scores, (count,) or (count, 1) scores of one class, or (count,) class labels.
      targets: (count,) integer class labels.
      names: of the classes; default their labels.
      normalize: show each count as a percentage of its row, the true class.
      threshold: for scores of one class; default 0.5, for probabilities. Pass 0 for logits.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for class labels without a name, and as `metrics.confusion_matrix`.

    >>> ax = confusion_matrix([0, 1, 1, 0], [0, 1, 0, 0], names=["no", "yes"])
    >>> [text.get_text() for text in ax.texts]
    ['2', '1', '0', '1']
    """
    from matplotlib.colors import PowerNorm

    where = "confusion_matrix"
    scores = jnp.asarray(as_array(f"{where}, predictions", predictions))
    several = jnp.issubdtype(scores.dtype, jnp.floating) and scores.ndim > 1 and scores.shape[-1] > 1
    # A class for each column of scores or each name.
    count = None if names is None or several else len(names)
    matrix = np.asarray(metrics.confusion_matrix(predictions, targets, num_classes=count, threshold=threshold))
    if matrix.ndim == 3:
        hint = "Draw one label: confusion_matrix(p[:, 0], y[:, 0], names=['no', 'yes'])."
        fail(where, expected="one class for each example", got=f"rows of {len(matrix)} labels", hint=hint)
    classes = len(matrix)
    labels = class_names(where, names, classes)
    shown = matrix / np.maximum(matrix.sum(1, keepdims=True), 1) if normalize else matrix
    side = float(np.clip(1.6 + 0.42 * classes, 3.2, 9))
    ax = one_axes(where, ax, (side - 0.2, side))
    norm = PowerNorm(0.5, 0, max(float(shown.max()), 1e-9))
    picture = ax.imshow(shown, cmap="Blues", norm=norm)
    places, size = np.arange(classes), 10 if classes <= 12 else 8
    if classes <= 30:
        _write_counts(ax, matrix, shown, norm(shown) > 0.6, normalize)
    else:
        label = "share of the true class" if normalize else "count"
        ax.figure.colorbar(picture, ax=ax, fraction=0.045, pad=0.03, label=label)
        places = places[:: -(-classes // 20)]
    short = [labels[i] for i in places]
    ax.set_xticks(places, short, fontsize=size, **tick_tilt(short, 4 * max(classes, 6)))
    ax.set_yticks(places, short, fontsize=size)
    ax.set(xlabel="predicted", ylabel="true", title="% of each true class" if normalize else "confusion matrix")
    return ax


def _write_counts(ax: Axes, matrix: np.ndarray, shown: np.ndarray, dark: np.ndarray, normalize: bool) -> None:
    """Write each count, or its percentage, into its cell; percentages of a class without examples are left out."""
    classes = len(matrix)
    box = ax.get_window_extent()
    # The longest number must fit a cell, whose width is in points.
    cell = min(box.width, box.height) / ax.figure.dpi * 72 / classes
    longest = max(3, len(str(100 if normalize else matrix.max())))
    size = float(np.clip(1.15 * cell / longest, 4, 11))
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        text = str(value)
        if normalize:
            text = f"{100 * shown[row, column]:.0f}" if matrix[row].any() else ""
        color = "0.65" if value == 0 else "white" if dark[row, column] else "black"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
