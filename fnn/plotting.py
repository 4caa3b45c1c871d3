"""Pictures. Each function draws into an optional matplotlib ``ax`` and returns it; matplotlib loads on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._checks import check_count, fail
from .nn.activations import get_activation

# Okabe and Ito's palette, told apart by colour-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RIGHT, WRONG = "#00734f", "#b3003b"


def _axes(ax: Any, size: tuple[float, float]) -> Any:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def activation(name: str | Callable[[Any], Any], *, low: float = -5.0, high: float = 5.0, ax: Any = None) -> Any:
    """An activation function and its derivative.

    Args:
      name: an activation's name or a function of one array.
      low, high: the range of x.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.
    """
    fn = get_activation(name)
    label = name if isinstance(name, str) else getattr(name, "__name__", "f")
    x = jnp.linspace(low, high, 501)
    # Functions such as softmax see a vector; one unit at a time keeps the picture meaningful for all others.
    y, slope = jax.vmap(lambda v: (fn(v), jax.grad(lambda u: fn(u).sum())(v)))(x[:, None])
    ax = _axes(ax, (5, 3.2))
    ax.plot(x, y[:, 0], color=COLORS[0], label=label)
    ax.plot(x, slope[:, 0], color=COLORS[1], linestyle="--", label="derivative")
    ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.set(xlabel="x", title=label)
    ax.legend(frameon=False)
    return ax


def learning_curves(history: Mapping[str, Any], metric: str = "loss", *, ax: Any = None) -> Any:
    """A metric over the epochs, for training and, where present, validation.

    Args:
      history: what `fit` or `run` returned.
      metric: which of its entries; default "loss".
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: when the history has no such metric.
    """
    if metric not in history:
        fail("learning_curves", expected=f"one of {[k for k in history if not k.startswith('val_')]}", got=repr(metric))
    from matplotlib.ticker import MaxNLocator

    ax = _axes(ax, (5, 3.2))
    for i, (key, label) in enumerate(((metric, "training"), (f"val_{metric}", "validation"))):
        if key in history:
            values = np.asarray(history[key])
            ax.plot(np.arange(1, len(values) + 1), values, marker="o", markersize=3, color=COLORS[i], label=label)
    ax.set(xlabel="epoch", ylabel=metric, title=metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def images(
    x: Any,
    labels: Sequence[Any] | None = None,
    predictions: Sequence[Any] | None = None,
    *,
    columns: int = 8,
    axes: Any = None,
) -> Any:
    """A grid of images, titled with labels, or with "predicted (true)" in green where right and red where wrong.

    Args:
      x: (count, height, width) or (count, height, width, channels), channels 1, 3 or 4.
      labels: the true label of each image; optional.
      predictions: the predicted label of each image; optional, with ``labels``.
      columns: images per row.
      axes: an array of axes to draw into, at least one per image; default a new figure.

    Returns:
      The flat array of axes.

    Raises:
      InputError: for arrays that are no images, or too few axes or labels.
    """
    x = np.asarray(x)
    if x.ndim == 4 and x.shape[-1] == 1:
        x = x[..., 0]
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (3, 4)) or len(x) == 0:
        fail("images", expected="x of shape (count, height, width[, channels])", got=str(x.shape))
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values is not None and len(values) < len(x):
            fail("images", expected=f"{len(x)} {name}", got=str(len(values)))
        if values is not None and np.ndim(values) > 1:
            fail(
                "images", expected=f"one of {name} per image", got=str(np.shape(values)), hint="Use scores.argmax(-1)."
            )
    check_count("images", "columns", columns)
    columns = min(columns, len(x))
    if axes is None:
        import matplotlib.pyplot as plt

        rows = -(-len(x) // columns)
        _, axes = plt.subplots(rows, columns, figsize=(1.25 * columns, 1.5 * rows), layout="constrained")
    axes = np.atleast_1d(np.asarray(axes)).ravel()
    if len(axes) < len(x):
        fail("images", expected=f"{len(x)} axes", got=str(len(axes)))
    for ax in axes:
        ax.set_axis_off()
    for i, (ax, image) in enumerate(zip(axes, x, strict=False)):
        ax.imshow(image, cmap="gray_r" if image.ndim == 2 else None)
        if predictions is not None:
            right = labels is None or predictions[i] == labels[i]
            text = f"{predictions[i]}" if labels is None else f"{predictions[i]} ({labels[i]})"
            ax.set_title(text, fontsize=10, color=RIGHT if right else WRONG, fontweight="normal" if right else "bold")
        elif labels is not None:
            ax.set_title(f"{labels[i]}", fontsize=10)
    return axes
