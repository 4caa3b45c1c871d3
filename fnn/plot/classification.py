"""Pictures for classification: images, class probabilities and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .. import metrics
from .._core.arrays import as_array
from .._core.checks import check_count
from .._core.dtypes import is_float
from .._core.errors import counted, describe, fail
from .._core.flags import flagged
from .._core.inputs import as_labels
from ._draw import (
    COLORS,
    RIGHT,
    WRONG,
    Axes,
    Style,
    as_float64,
    class_label,
    class_names,
    many_axes,
    one_axes,
    tick_tilt,
    write_title,
)
from ._images import as_images, cell_size, grey_scales


def images(
    x: ArrayLike | Sequence[ArrayLike],
    labels: ArrayLike | None = None,
    predictions: ArrayLike | None = None,
    *,
    names: Sequence[object] | None = None,
    columns: int | None = None,
    cmap: object = "gray",
    axes: ArrayLike | None = None,
) -> np.ndarray:
    """Draw one image or a grid, with labels or "predicted (true)" as titles: correct ones green, wrong ones red, bold.

    Grey images share one scale (integers and floats each their own): the smallest value of all is black, the largest
    white. Digits as in MNIST look like ink on paper with ``cmap="gray_r"``. Colours are integers in [0, 255], or floats
    in [0, 1] or [0, 255]; those of another range, such as standardized ones, are scaled to [0, 1], all images alike.

    Args:
      x: (height, width) or (height, width, channels) for one image, (count, height, width) or
        (count, height, width, channels) for several, with 1, 3 or 4 channels; or a list of images, which may differ in
        size, or of PIL images. Three axes are one image if the last is 1, 3 or 4 long and not as long as the second.
      labels: the true label of each image; optional.
      predictions: the predicted label of each image; optional, with ``labels``.
      names: of the classes, if labels and predictions are integer class labels; optional.
      columns: images per row; default 8, or more if there are more than 64 images.
      cmap: the matplotlib colour map of grey images; default "gray".
      axes: axes to draw into, which are returned as a flat array, at least one per image; default a new figure.

    Raises:
      InputError: for arrays that are not images, more than 400 of them, too few axes, another number of labels, or an
        unknown ``cmap``.

    >>> axes = images(np.eye(16).reshape(4, 4, 4, 4)[0], [0, 1, 0, 1], [0, 1, 1, 1], names=["cat", "dog"])
    >>> [ax.get_title() for ax in axes]
    ['cat (cat)', 'dog (dog)', 'dog (cat)', 'dog (dog)']
    """
    where = "images"
    pictures = as_images(where, x)
    if len(pictures) == 1 and getattr(x, "ndim", 0) == 2 and labels is not None and np.size(labels) > 1:
        got, hint = "several", "Reshape rows to images, e.g. x.reshape(-1, 28, 28)."
        fail(where, expected=f"one label for one image of shape {pictures[0].shape}", got=got, hint=hint)
    true, predicted = (
        [None] * len(pictures) if values is None else _label_texts(name, values, len(pictures), names)
        for name, values in (("labels", labels), ("predictions", predictions))
    )
    titles = [_title(*pair) for pair in zip(true, predicted, strict=True)]
    scales = grey_scales(where, pictures, cmap)
    if columns is None:
        columns = max(8, int(np.ceil(len(pictures) ** 0.5)))
    check_count(where, "columns", columns)
    # Two long names, of the predicted and the true class, need a wider title.
    least = 1.7 if any("\n" in title for title in titles) else 1.25
    size = cell_size(pictures, min(columns, len(pictures)), titles, least)
    # Constrained layout cuts off titles of axes with a fixed aspect, and compressed layout shrinks unequal ones.
    layout = "compressed" if len({picture.shape[:2] for picture in pictures}) == 1 else "constrained"
    grid = many_axes(where, axes, len(pictures), columns, size, layout=layout)
    for ax in grid:
        ax.set_axis_off()
    for ax, picture, scale in zip(grid, pictures, scales, strict=False):
        ax.imshow(picture, **scale)
    for ax, title, label, prediction in zip(grid, titles, true, predicted, strict=False):
        _write_title(ax, title, None if prediction is None else label in (None, prediction))
    return grid


def _write_title(ax: Axes, title: str, right: bool | None) -> None:
    """Write the title of an image, coloured if it holds a prediction."""
    size = 7 if ax.bbox.width < 0.6 * ax.figure.dpi else 9 if "\n" in title else 10
    style: Style = {}
    if right is not None:
        style = {"color": RIGHT if right else WRONG, "fontweight": "normal" if right else "bold"}
    write_title(ax, title, size, **style)


def _label_texts(name: str, values: ArrayLike, count: int, names: Sequence[object] | None) -> list[str]:
    """The label of each image as text, by its class name if there are names."""
    labels = as_labels(f"images, {name}", values)
    if count == 1 and labels.ndim == 0:
        labels = labels[None]
    if labels.ndim != 1:
        hint = "Use scores.argmax(-1)."
        fail("images", expected=f"one {name[:-1]} per image", got=f"shape {labels.shape}", hint=hint)
    if len(labels) != count:
        hint = "Pass those of the same rows, such as x[:16] with y[:16]." if len(labels) > count else ""
        fail("images", expected=f"{count} {name}", got=str(len(labels)), hint=hint)
    if names is None:
        return [str(label) for label in labels]
    texts = class_names("images", names, len(names))
    return [texts[class_label("images", label, len(texts))] for label in labels]


def _title(label: str | None, prediction: str | None) -> str:
    """The title of an image, long names on two lines."""
    if label is None or prediction is None:
        return label or prediction or ""
    text = f"{prediction} ({label})"
    return text.replace(" (", "\n(") if len(text) > 16 else text


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
      ax: the axes to draw into, which are returned; default a new figure.

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
    cmap: object = "gray",
    axes: ArrayLike | None = None,
) -> np.ndarray:
    """Draw images, each beside the bars of its class probabilities.

    Args:
      x, cmap: images as in `images`.
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
    x = as_images(where, x)
    if len(x) == 1:
        p = np.reshape(p, (1, -1)) if np.ndim(p) == 1 else p
        labels = np.reshape(labels, 1) if labels is not None and np.ndim(labels) == 0 else labels
    if np.ndim(p) != 2 or np.shape(p)[0] != len(x):
        fail(where, expected=f"p of shape ({len(x)}, classes)", got=f"shape {np.shape(p)}")
    p = _as_probabilities(where, p)
    if labels is not None and (np.ndim(labels) != 1 or len(labels) != len(x)):
        fail(where, expected=counted(len(x), "label"), got=f"shape {np.shape(labels)}")
    texts = class_names(where, names, p.shape[1])
    check_count(where, "columns", columns)
    columns = min(columns, len(x))
    ratios = [1.45, 1.9 + 0.07 * max(map(len, texts))]
    cell = (sum(ratios) / 2, max(1.6, 0.5 + 0.16 * min(p.shape[1], 20)))
    grid = many_axes(where, axes, 2 * len(x), 2 * columns, cell, width_ratios=ratios * columns)
    images(x, labels, p.argmax(-1), names=texts, cmap=cmap, axes=grid[: 2 * len(x) : 2])
    for i in range(len(x)):
        ax = probabilities(p[i], label=None if labels is None else labels[i], names=texts, ax=grid[2 * i + 1])
        ax.set_xlabel("")
    for ax in grid[2 * len(x) :]:
        ax.set_axis_off()
    return grid


@flagged
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
      ax: the axes to draw into, which are returned; default a new figure.

    Raises:
      InputError: for class labels without a name, and as `metrics.confusion_matrix`.

    >>> ax = confusion_matrix([0, 1, 1, 0], [0, 1, 0, 0], names=["no", "yes"])
    >>> [text.get_text() for text in ax.texts]
    ['2', '1', '0', '1']
    """
    from matplotlib.colors import PowerNorm

    where = "confusion_matrix"
    scores = jnp.asarray(as_array(f"{where}, predictions", predictions))
    several = is_float(scores) and scores.ndim > 1 and scores.shape[-1] > 1
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
