"""Pictures. Each function draws into an optional matplotlib ``ax`` and returns it; matplotlib loads on first use.

Colours are told apart by colour-blind readers, and whatever a colour says is said a second time: by a marker, a line
style, a bold letter or a word.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import metrics
from ._checks import check_count, check_range, describe, fail
from .nn import activations as _activations

__all__ = [
    "COLORS", "RIGHT", "WRONG",
    "activation", "activations", "confusion_matrix", "decision_boundary", "images", "layer_statistics",
    "learning_curves", "network", "optimizer_paths", "predictions", "probabilities", "unit",
]  # fmt: skip

# Okabe and Ito's palette, told apart by colour-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MORE = ("#882255", "#999933", "#332288", "#661100", "#8C8C8C")
RIGHT, WRONG = "#00734f", "#b3003b"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "h", "*", ">")
_STYLES = ("-", "--", ":", "-.")
# A picture with more images than this takes minutes to draw, and nobody can look at it.
_MOST_IMAGES = 400


def __dir__() -> list[str]:
    """What is public, for completion in notebooks."""
    return list(__all__)


# ------------------------------------------------------------------------------------------------------------- helpers
def _axes(where: str, ax: Any, size: tuple[float, float]) -> Any:
    """The axes given, or those of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(figsize=size, layout="constrained")[1]
    if not hasattr(ax, "add_patch"):
        fail(where, expected="ax to be one matplotlib axes", got=type(ax).__name__)
    return ax


def _many_axes(where: str, axes: Any, count: int, make: Callable[[], Any]) -> Any:
    """At least ``count`` axes as a flat array: those given, or those of a new figure."""
    flat = np.atleast_1d(np.asarray(make() if axes is None else axes, dtype=object)).ravel()
    if not all(hasattr(ax, "add_patch") for ax in flat):
        fail(where, expected="axes to be an array of matplotlib axes", got=type(axes).__name__)
    if len(flat) < count:
        fail(where, expected=f"{count} axes", got=str(len(flat)))
    return flat


def _numbers(where: str, name: str, x: Any) -> np.ndarray:
    """An array of plain floats, whatever float dtype or nested list it came as."""
    try:
        return np.asarray(x).astype(np.float64)
    except (TypeError, ValueError):
        fail(where, expected=f"{name} to be numbers", got=describe(x))


def _names(where: str, names: Sequence[Any] | None, count: int) -> list[str]:
    """The names of the classes, by default their numbers."""
    if names is None:
        return [str(i) for i in range(count)]
    if isinstance(names, str) or len(names) != count:
        fail(where, expected=f"{count} names", got=repr(names) if isinstance(names, str) else f"{len(names)} names")
    return [str(name) for name in names]


def _class_number(where: str, label: Any, count: int) -> int:
    if np.ndim(label) or int(label) != label or not 0 <= label < count:
        fail(where, expected=f"a class number in [0, {count})", got=repr(label))
    return int(label)


def _color(i: int) -> str:
    """A colour for the i-th class; beyond the palette come those of Tol's that differ from it most."""
    many = COLORS + _MORE
    return many[i % len(many)]


def _style(i: int) -> dict[str, Any]:
    """Colour, marker and line style of the i-th line; colour and marker together repeat after 77."""
    return {
        "color": COLORS[i % len(COLORS)],
        "marker": _MARKERS[i % len(_MARKERS)],
        "linestyle": _STYLES[i // len(COLORS) % len(_STYLES)],
    }


def _light(color: Any, share: float = 0.65) -> Any:
    """A colour mixed with white, so that what is drawn over it stands out."""
    from matplotlib.colors import to_rgb

    return tuple(share + (1 - share) * part for part in to_rgb(color))


def _two_sided() -> Any:
    """From the colour of class 0 over white to that of class 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("sides", [_light(COLORS[0], 0.4), "white", _light(COLORS[1], 0.4)])


def _free_corner(ax: Any, points: np.ndarray) -> str:
    """Where a legend hides least: the corner whose nearest point is the farthest."""
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    places = ((points - low) / (high - low))[np.isfinite(points).all(1)]
    corners = {"upper right": (1, 1), "upper left": (0, 1), "lower left": (0, 0), "lower right": (1, 0)}
    return max(corners, key=lambda name: np.hypot(*(places - corners[name]).T).min())


def _tilt(labels: Iterable[str], room: int) -> dict[str, Any]:
    """How to turn tick labels that would run into each other."""
    return {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len("  ".join(labels)) > room else {}


# --------------------------------------------------------------------------------------------------------- activations
def activation(name: str | Callable[[Any], Any], *, low: float = -5.0, high: float = 5.0, ax: Any = None) -> Any:
    """An activation function and its derivative.

    Softmax and log-softmax, which are functions of a vector, are shown by their first output for the vector (x, 0).

    Args:
      name: an activation's name or a function of one array.
      low, high: the range of x.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for an unknown name, with the close matches; for an empty range.

    >>> activation("tanh").get_title()
    'tanh'
    """
    fn = _activations.get_activation(name)
    label = name if isinstance(name, str) else getattr(name, "__name__", "f")
    check_range("activation", "low", low, -np.inf)
    check_range("activation", "high", high, float(low), open_low=True)
    vector = fn in (_activations.softmax, _activations.log_softmax)

    def first(x: Any) -> Any:
        return fn(jnp.stack([x, jnp.zeros_like(x)]) if vector else x[None])[0]

    x = jnp.linspace(low, high, 501)
    y, slope = jax.jit(jax.vmap(jax.value_and_grad(first)))(x)
    ax = _axes("activation", ax, (5, 3.2))
    ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.plot(x, y, color=COLORS[0], linewidth=2, label=label)
    ax.plot(x, slope, color=COLORS[1], linestyle="--", label="derivative")
    ax.set(xlabel="x", title=f"{label} of (x, 0), first output" if vector else label)
    ax.legend(frameon=False)
    return ax


def activations(
    names: Sequence[str | Callable[[Any], Any]] | None = None,
    *,
    low: float = -5.0,
    high: float = 5.0,
    columns: int = 5,
    axes: Any = None,
) -> Any:
    """A gallery: each activation function (solid) with its derivative (dashed).

    Args:
      names: which ones, as in `activation`; default all that have a name.
      low, high: the range of x.
      columns: pictures per row.
      axes: an array of axes to draw into, at least one per function; default a new figure.

    Returns:
      The flat array of axes.

    Raises:
      InputError: for an unknown name, an empty list or too few axes.
    """
    if names is None:
        # A second name of the same function is left out.
        names = list({fn: name for name, fn in reversed(_activations.ACTIVATIONS.items())}.values())[::-1]
    if isinstance(names, str) or len(names) == 0:
        fail("activations", expected="a list of at least one activation", got=repr(names))
    check_count("activations", "columns", columns)
    columns = min(columns, len(names))

    def make() -> Any:
        import matplotlib.pyplot as plt

        rows = -(-len(names) // columns)
        size = (2.0 * columns, 1.6 * rows)
        return plt.subplots(rows, columns, figsize=size, sharex=True, layout="constrained")[1]

    axes = _many_axes("activations", axes, len(names), make)
    for i, (name, ax) in enumerate(zip(names, axes, strict=False)):
        activation(name, low=low, high=high, ax=ax)
        handles = ax.lines[-2:]
        ax.get_legend().remove()
        ax.set_title(ax.get_title().removesuffix(", first output"), fontsize=9)
        ax.set_xlabel("x" if i >= len(names) - columns else "", fontsize=8)
        # What stands above an empty place has lost its ticks to it.
        ax.tick_params(labelsize=7, labelbottom=i >= len(names) - columns)
        ax.set_xticks([low, (low + high) / 2, high])
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    # An empty place is the best one for the legend.
    place = {"loc": "center"} if len(axes) > len(names) else {"loc": "best"}
    axes[len(names) if len(axes) > len(names) else 0].legend(
        handles, ["f(x)", "derivative"], fontsize=8, frameon=False, **place
    )
    return axes


# ------------------------------------------------------------------------------------------------------------ training
def learning_curves(history: Mapping[str, Any], metric: str = "loss", *, ax: Any = None) -> Any:
    """A metric over the epochs, for training and, where present, validation.

    The history of many trainings at once (`many`, ``vmap``), with leading axes for the members, is drawn as one thin
    line for each member and a thick one for their median.

    Args:
      history: what `fit` or `run` returned.
      metric: which of its entries; default "loss".
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: when the history has no such metric or no epoch.

    >>> ax = learning_curves({"loss": [2.0, 1.0, 0.7], "val_loss": [2.1, 1.3, 1.2]})
    >>> ax.get_xlabel(), [line.get_label() for line in ax.lines]
    ('epoch', ['training', 'validation'])
    """
    if not isinstance(history, Mapping):
        fail("learning_curves", expected="a history, a dict of lists", got=type(history).__name__)
    known = [key for key in history if not key.startswith("val_")]
    if not isinstance(metric, str) or metric not in known:
        hint = "Its validation is drawn with it." if isinstance(metric, str) and metric in history else ""
        fail("learning_curves", expected=f"one of {known}", got=repr(metric), hint=hint)
    from matplotlib.ticker import MaxNLocator

    curves = {}
    for key, label in ((metric, "training"), (f"val_{metric}", "validation")):
        if key in history:
            values = _numbers("learning_curves", key, history[key])
            if values.ndim == 0 or values.size == 0:
                fail("learning_curves", expected=f"at least one epoch of {key!r}", got=describe(values))
            curves[label] = values.reshape(-1, values.shape[-1])
    ax = _axes("learning_curves", ax, (5, 3.2))
    for i, (label, members) in enumerate(curves.items()):
        epochs = np.arange(1, members.shape[-1] + 1)
        line = {"color": COLORS[i], "linestyle": "--" if i else "-", "markersize": 3}
        if len(epochs) <= 30:  # more would run together, and hide the dashes
            line["marker"] = "o"
        if len(members) > 1:
            ax.plot(
                epochs, members.T, color=COLORS[i], linewidth=0.7, alpha=float(np.clip(3 / len(members), 0.15, 0.6))
            )
            # The median stands even where some members went astray, which count as infinitely high.
            middle = np.median(np.where(np.isnan(members), np.inf, members), axis=0)
            ax.plot(epochs, middle, **line, linewidth=2.2, label=f"{label} (median of {len(members)})")
        else:
            ax.plot(epochs, members[0], **line, label=label)
    ax.set(xlabel="epoch", ylabel=metric, title=metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def layer_statistics(
    values: Mapping[str, Any], *, ylabel: str = "gradient norm", log: bool = True, ax: Any = None
) -> Any:
    """A number for each layer, such as the norm of its gradient, for one run or several.

    Args:
      values: layer to number, or run to (layer to number); the layers stand in the order in which they come.
      ylabel: what the numbers are.
      log: whether the axis of the numbers is logarithmic; a 0 is then written at the lower edge.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for nothing to draw, for what is not one number for each layer, and for negative numbers on a
        logarithmic axis.

    >>> ax = layer_statistics({"sigmoid": {"dense": 1e-5, "dense_1": 1e-2}, "relu": {"dense": 0.1, "dense_1": 0.2}})
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['dense', 'dense_1']
    """
    where = "layer_statistics"
    if not isinstance(values, Mapping) or not values:
        fail(where, expected="a dict of layers, or of runs with their layers", got=repr(values))
    nested = [isinstance(value, Mapping) for value in values.values()]
    runs: Mapping[str, Any] = values if any(nested) else {"": values}
    if any(nested) and not all(nested):
        fail(where, expected="either a dict of layers or a dict of dicts", got="a mixture")
    layers = list(dict.fromkeys(str(layer) for run in runs.values() for layer in run))
    if not layers:
        fail(where, expected="at least one layer", got="none")
    table = np.full((len(runs), len(layers)), np.nan)
    for i, by_layer in enumerate(runs.values()):
        for layer, value in by_layer.items():
            number = _numbers(where, str(layer), value)
            if number.ndim:
                hint = "For example jnp.linalg.norm of it."
                fail(where, expected=f"one number for layer {str(layer)!r}", got=describe(number), hint=hint)
            if not np.isfinite(number) or (log and number < 0):
                kind, hint = ("at least 0 on a logarithmic axis", "Pass log=False.") if number < 0 else ("finite", "")
                fail(where, expected=f"a number for layer {str(layer)!r} that is {kind}", got=f"{number:g}", hint=hint)
            table[i, layers.index(str(layer))] = number
    # A logarithm has no place for 0: it is written below the lowest point instead.
    zero = (table == 0) & log
    table[zero] = np.nan

    ax = _axes(where, ax, (max(4.5, 0.55 * len(layers) + 1.5), 3.4))
    for i, run in enumerate(runs):
        ax.plot(np.arange(len(layers)), table[i], **_style(i), markersize=6, label=str(run))
        for place in np.flatnonzero(zero[i]):
            spot = (place + 0.13 * (i - (len(runs) - 1) / 2), 0.02)
            ax.annotate("0", spot, xycoords=("data", "axes fraction"), color=_style(i)["color"], ha="center")
    if not log:
        ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    elif np.isfinite(table).any():
        ax.set_yscale("log")
        low, high = np.nanmin(table), np.nanmax(table)
        if zero.any():
            ax.set_ylim(bottom=low / max(2.0, (high / low) ** 0.2))
    ax.set_xticks(np.arange(len(layers)), layers, **_tilt(layers, 48))
    ax.set(xlabel="layer, from input to output", ylabel=ylabel, xlim=(-0.5, len(layers) - 0.5))
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    if len(runs) > 1:
        ax.legend(frameon=False)
    return ax


# -------------------------------------------------------------------------------------------------------------- images
def _as_images(where: str, x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim == 4 and x.shape[-1] == 1:
        x = x[..., 0]
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (3, 4)) or x.size == 0:
        fail(where, expected="x of shape (count, height, width[, channels])", got=str(x.shape))
    if len(x) > _MOST_IMAGES:
        hint = "Choose some, e.g. x[:40]."
        fail(where, expected=f"at most {_MOST_IMAGES} images", got=str(len(x)), hint=hint)
    if not np.issubdtype(x.dtype, np.integer) and x.dtype != bool:
        x = x.astype(np.float32)
        if x.ndim == 4 and not (x.min() >= 0 and x.max() <= 1):
            got = f"numbers from {x.min():g} to {x.max():g}"
            fail(where, expected="coloured images in [0, 1], or integers in [0, 255]", got=got)
    return x


def images(
    x: Any,
    labels: Sequence[Any] | None = None,
    predictions: Sequence[Any] | None = None,
    *,
    names: Sequence[Any] | None = None,
    columns: int = 8,
    axes: Any = None,
) -> Any:
    """A grid of images, titled with labels, or with "predicted (true)": green where right, red and bold where wrong.

    Grey images share one scale: the smallest number of all is white, the largest black.

    Args:
      x: (count, height, width) or (count, height, width, channels), channels 1, 3 or 4.
      labels: the true label of each image; optional.
      predictions: the predicted label of each image; optional, with ``labels``.
      names: of the classes, if labels and predictions are class numbers; optional.
      columns: images per row.
      axes: an array of axes to draw into, at least one per image; default a new figure.

    Returns:
      The flat array of axes.

    Raises:
      InputError: for arrays that are no images, more than 400 of them, or too few axes or labels.

    >>> axes = images(np.eye(16).reshape(4, 4, 4, 4)[0], [0, 1, 0, 1], [0, 1, 1, 1], names=["cat", "dog"])
    >>> [ax.get_title() for ax in axes]
    ['cat (cat)', 'dog (dog)', 'dog (cat)', 'dog (dog)']
    """
    x = _as_images("images", x)
    given = {}
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values is None:
            continue
        if np.ndim(values) != 1:
            hint = "Use scores.argmax(-1)."
            fail("images", expected=f"one of {name} per image", got=str(np.shape(values)), hint=hint)
        if len(values) < len(x):
            fail("images", expected=f"{len(x)} {name}", got=str(len(values)))
        given[name] = [str(value) for value in np.asarray(values)[: len(x)]]
        if names is not None:
            numbers = [_class_number("images", value, len(names)) for value in np.asarray(values)[: len(x)]]
            given[name] = [_names("images", names, len(names))[i] for i in numbers]
    check_count("images", "columns", columns)
    columns = min(columns, len(x))
    wide = max((len(text) for texts in given.values() for text in texts), default=0)

    def make() -> Any:
        import matplotlib.pyplot as plt

        rows = -(-len(x) // columns)
        # Two long names, one for the prediction and one for the truth, need more room than two digits.
        width = 1.25 if wide < 7 or "labels" not in given or "predictions" not in given else 1.7
        return plt.subplots(rows, columns, figsize=(width * columns, 1.5 * rows), layout="constrained")[1]

    axes = _many_axes("images", axes, len(x), make)
    for ax in axes:
        ax.set_axis_off()
    scale = {"cmap": "gray_r", "vmin": x.min(), "vmax": x.max()} if x.ndim == 3 else {}
    for i, (ax, image) in enumerate(zip(axes, x, strict=False)):
        ax.imshow(image, **scale)
        _title(ax, *(texts[i] if texts else None for texts in (given.get("labels"), given.get("predictions"))))
    return axes


def _title(ax: Any, label: str | None, prediction: str | None) -> None:
    """The title of one image."""
    if prediction is None:
        if label is not None:
            ax.set_title(label, fontsize=10)
        return
    right = label is None or prediction == label
    text = prediction if label is None else f"{prediction} ({label})"
    # Long names go on two lines.
    text, size = (text.replace(" (", "\n("), 9) if len(text) > 16 else (text, 10)
    ax.set_title(text, fontsize=size, color=RIGHT if right else WRONG, fontweight="normal" if right else "bold")


def _as_probabilities(where: str, p: Any) -> np.ndarray:
    """Probabilities with the classes last; a single one is that of class 1."""
    p = _numbers(where, "p", p)
    if p.ndim and p.shape[-1] == 1:
        p = np.concatenate([1 - p, p], -1)
    if p.size == 0:
        fail(where, expected="the probabilities of at least one class", got=describe(p))
    off = np.abs(p.sum(-1) - 1).max()
    # Half precision rounds each of many probabilities.
    if not (p.min() >= 0 and p.max() <= 1 and off < 0.02):
        got = f"numbers from {p.min():g} to {p.max():g} that sum to {p.sum(-1).ravel()[0]:g}"
        fail(where, expected="probabilities, which sum to 1", got=got, hint="Pass fnn.activations.softmax(logits).")
    return p


def probabilities(
    p: Any, *, label: int | None = None, names: Sequence[Any] | None = None, top: int | None = None, ax: Any = None
) -> Any:
    """The class probabilities of one example as bars.

    The bar of the most probable class is green if it is the true one and else red; the true class has a bold name and
    the word "true". Without a label it is blue.

    Args:
      p: (classes,), or (1,) for the probability of class 1 out of two.
      label: the number of the true class; optional.
      names: of the classes; default their numbers.
      top: how many of the most probable classes to show, in order (the true one is always shown); default all in
        their own order if there are no more than 20, else 10.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for numbers that are no probabilities, and names or labels that do not fit.

    >>> ax = probabilities([0.1, 0.7, 0.2], label=2, names=["bag", "boot", "coat"])
    >>> [text.get_text() for text in ax.texts]
    ['70%', '20% (true)']
    """
    where = "probabilities"
    if np.ndim(p) != 1:
        fail(where, expected="the probabilities of one example, of shape (classes,)", got=str(np.shape(p)))
    p = _as_probabilities(where, p)
    names = _names(where, names, len(p))
    true = None if label is None else _class_number(where, label, len(p))
    if top is not None:
        check_count(where, "top", top)
    shown = list(range(len(p)))
    if top is not None or len(p) > 20:
        shown = np.argsort(-p, kind="stable")[: top or 10].tolist()
        if true is not None and true not in shown:
            shown.append(true)
    best = int(p.argmax())
    ax = _axes(where, ax, (3.6, 0.6 + 0.24 * len(shown)))
    colors = ["0.75"] * len(shown)
    colors[shown.index(best)] = COLORS[0] if true is None else RIGHT if best == true else WRONG
    ax.barh(np.arange(len(shown)), p[shown], color=colors, height=0.75)
    size = 9 if len(shown) <= 6 else 8
    ax.set_yticks(np.arange(len(shown)), [names[i] for i in shown], fontsize=size)
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
    x: Any,
    p: Any,
    labels: Sequence[Any] | None = None,
    *,
    names: Sequence[Any] | None = None,
    columns: int = 3,
    axes: Any = None,
) -> Any:
    """Images, each beside the bars of its class probabilities.

    Args:
      x: images as in `images`.
      p: (count, classes) probabilities.
      labels: the number of the true class of each image; optional.
      names: of the classes; default their numbers.
      columns: examples per row.
      axes: an array of axes to draw into, at least two per image, alternately for the image and its bars; default a
        new figure.

    Returns:
      The flat array of axes: image, bars, image, bars, ...

    Raises:
      InputError: as in `images` and `probabilities`.
    """
    where = "predictions"
    x = _as_images(where, x)
    if np.ndim(p) != 2 or len(p) < len(x):
        fail(where, expected=f"p of shape ({len(x)}, classes)", got=str(np.shape(p)))
    p = _as_probabilities(where, p)[: len(x)]
    if labels is not None and (np.ndim(labels) != 1 or len(labels) < len(x)):
        fail(where, expected=f"{len(x)} labels", got=str(np.shape(labels)))
    names = _names(where, names, p.shape[1])
    check_count(where, "columns", columns)
    columns = min(columns, len(x))

    def make() -> Any:
        import matplotlib.pyplot as plt

        rows = -(-len(x) // columns)
        wide = 1.9 + 0.07 * max(map(len, names))
        size = ((1.45 + wide) * columns, max(1.6, 0.5 + 0.16 * min(p.shape[1], 20)) * rows)
        ratios = [1.45, wide] * columns
        return plt.subplots(rows, 2 * columns, figsize=size, layout="constrained", width_ratios=ratios)[1]

    axes = _many_axes(where, axes, 2 * len(x), make)
    images(x, labels, p.argmax(-1), names=names, axes=axes[: 2 * len(x) : 2])
    for i in range(len(x)):
        ax = probabilities(p[i], label=None if labels is None else labels[i], names=names, ax=axes[2 * i + 1])
        ax.set_xlabel("")
    for ax in axes[2 * len(x) :]:
        ax.set_axis_off()
    return axes


def confusion_matrix(
    predictions: Any,
    targets: Any,
    *,
    names: Sequence[Any] | None = None,
    normalize: bool = False,
    threshold: Any = None,
    ax: Any = None,
) -> Any:
    """How often each true class (rows) was predicted as each class (columns), as numbers over shades.

    The shades grow with the root of the numbers, so that single mistakes can be seen beside many right ones.

    Args:
      predictions: (count, classes) scores, (count,) or (count, 1) scores of one class, or (count,) class numbers.
      targets: (count,) class numbers.
      names: of the classes; default their numbers.
      normalize: show each number as a percentage of its row, the true class.
      threshold: for scores of one class; default 0.5, for probabilities. Pass 0 for logits.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for class numbers without a name, and as `metrics.confusion_matrix`.

    >>> ax = confusion_matrix([0, 1, 1, 0], [0, 1, 0, 0], names=["no", "yes"])
    >>> [text.get_text() for text in ax.texts]
    ['2', '1', '0', '1']
    """
    where = "confusion_matrix"
    scores = jnp.asarray(predictions)
    several = jnp.issubdtype(scores.dtype, jnp.floating) and scores.ndim > 1 and scores.shape[-1] > 1
    if names is not None:
        _names(where, names, scores.shape[-1] if several else len(names))
    count = None if names is None or several else len(names)
    matrix = np.asarray(metrics.confusion_matrix(predictions, targets, num_classes=count, threshold=threshold))
    classes = len(matrix)
    labels = _names(where, names, classes)
    total = matrix.sum(1, keepdims=True)
    share = matrix / np.maximum(total, 1)
    shown = share if normalize else matrix
    side = float(np.clip(1.6 + 0.42 * classes, 3.2, 9))
    ax = _axes(where, ax, (side - 0.2, side))
    from matplotlib.colors import PowerNorm

    top = max(float(shown.max()), 1e-9)
    norm = PowerNorm(0.5, 0, top)
    picture = ax.imshow(shown, cmap="Blues", norm=norm)
    if classes <= 30:
        box = ax.get_window_extent()
        # A cell in points, and a size at which its longest number fills no more than most of it.
        cell = min(box.width, box.height) / ax.figure.dpi * 72 / classes
        longest = max(3, len(str(100 if normalize else matrix.max())))
        size = float(np.clip(1.15 * cell / longest, 4, 11))
        for row in range(classes):
            for column in range(classes):
                value = matrix[row, column]
                text = (
                    "" if normalize and total[row] == 0 else f"{100 * share[row, column]:.0f}" if normalize else value
                )
                color = "0.65" if value == 0 else "white" if norm(shown[row, column]) > 0.6 else "black"
                ax.text(column, row, str(text), ha="center", va="center", color=color, fontsize=size)
    else:
        ax.figure.colorbar(
            picture, ax=ax, fraction=0.045, pad=0.03, label="share of the true class" if normalize else "count"
        )
    places, size = np.arange(classes), 10 if classes <= 12 else 8
    if classes > 30:
        places = places[:: -(-classes // 20)]
    short = [labels[i] for i in places]
    ax.set_xticks(places, short, fontsize=size, **_tilt(short, 4 * max(classes, 6)))
    ax.set_yticks(places, short, fontsize=size)
    title = "% of each true class" if normalize else "confusion matrix"
    ax.set(xlabel="predicted", ylabel="true", title=title)
    return ax


# ----------------------------------------------------------------------------------------------------------- the plane
def _field(where: str, predict: Callable[[Any], Any], grid: np.ndarray) -> np.ndarray:
    """Outputs of a function of points, of shape (points, outputs)."""
    out = predict(grid)
    if np.ndim(out) not in (1, 2) or len(out) != len(grid) or np.shape(out)[-1] == 0:
        shapes = f"({len(grid)},), ({len(grid)}, 1) or ({len(grid)}, classes)"
        fail(where, expected=f"outputs of shape {shapes} for {len(grid)} points", got=str(np.shape(out)))
    values = _numbers(where, "outputs", out).reshape(len(grid), -1)
    if not np.isfinite(values).all():
        fail(where, expected="finite outputs", got="NaN or infinity", hint="Did the training diverge?")
    return values


def _grid(low: Any, high: Any, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both axes, and all points, of shape (resolution^2, 2)."""
    a, b = (np.linspace(low[i], high[i], resolution, dtype=np.float32) for i in (0, 1))
    return a, b, np.stack(np.meshgrid(a, b), -1).reshape(-1, 2)


def _dot(count: int) -> float:
    """The size of a point among so many."""
    return float(np.clip(9000 / count, 9, 40))


def _draw_points(ax: Any, x: np.ndarray, classes: np.ndarray, labels: Sequence[str]) -> None:
    """Points with colour and marker by class, and a legend."""
    for i in np.unique(classes).tolist():
        style = {"color": _color(i), "marker": _MARKERS[i % len(_MARKERS)], "edgecolor": "white", "linewidth": 0.6}
        ax.scatter(*x[classes == i].T, s=_dot(len(x)), **style, label=labels[i], zorder=3)
    ax.legend(fontsize=8, framealpha=0.85, loc=_free_corner(ax, x))


def decision_boundary(
    predict: Callable[[Any], Any],
    x: Any,
    y: Any = None,
    *,
    names: Sequence[Any] | None = None,
    level: float | None = None,
    resolution: int = 200,
    margin: float = 0.1,
    ax: Any = None,
) -> Any:
    """What a function of two features says everywhere around some points.

    - Several outputs are the scores of classes: each place has the colour of the class with the highest score.
    - A single output with two classes: colours on both sides of ``level``, which is drawn as a line.
    - A single output with numbers for ``y``: shades for the outputs and, on the same scale, for the points.

    Args:
      predict: a function from (n, 2) float32 to (n,), (n, 1) or (n, classes), e.g.
        ``lambda points: fnn.predict(task, ts, points)``.
      x: (count, 2) points; the picture shows their surroundings.
      y: (count,) or (count, 1): for several outputs class numbers; for one 0 and 1, or -1 and 1, or else numbers of a
        regression; optional.
      names: of the classes; default their numbers.
      level: where a single output passes from one class to the other; default 0, for logits, but 0.5 if each output is
        0 or 1. Pass 0.5 for probabilities.
      resolution: places on each axis at which the function is computed.
      margin: how far the picture reaches beyond the points, as a fraction of their range.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for points without two features, labels or names that do not fit, or outputs of another shape.

    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> ax = decision_boundary(lambda p: p.sum(1) - 1.5, x, [0, 0, 0, 1], names=["no", "yes"])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['no', 'yes']
    """
    where = "decision_boundary"
    x = _numbers(where, "x", x)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) == 0:
        hint = "Choose two columns, e.g. x[:, [0, 2]]." if x.ndim == 2 and x.shape[1] > 2 else ""
        fail(where, expected="x of shape (count, 2), two features", got=str(x.shape), hint=hint)
    if not np.isfinite(x).all():
        fail(where, expected="finite points", got="NaN or infinity in x")
    check_count(where, "resolution", resolution, 2)
    check_range(where, "margin", margin, 0)
    if y is not None:
        if np.shape(y) not in ((len(x),), (len(x), 1)):
            fail(where, expected=f"y of shape ({len(x)},)", got=str(np.shape(y)))
        y = _numbers(where, "y", y).reshape(-1)
        if not np.isfinite(y).all():
            fail(where, expected="finite y", got="NaN or infinity")
    low, high = x.min(0), x.max(0)
    # A feature that is constant gets some room, too.
    border = margin * (high - low) + np.where(high > low, 0.0, 0.5)
    a, b, grid = _grid(low - border, high + border, resolution)
    field = _field(where, predict, grid).reshape(resolution, resolution, -1)
    outputs = field.shape[-1]
    if outputs == 1 and y is not None and not (set(y) <= {0, 1} or set(y) <= {-1, 1}):
        if names is not None:
            fail(where, expected="labels 0 and 1, or -1 and 1, if there are names", got="numbers")
        ax = _axes(where, ax, (5.6, 4))
        _draw_surface(ax, a, b, field[..., 0], x, y)
    else:
        texts = _names(where, names, max(outputs, 2))
        numbers = np.zeros(len(x)) if y is None else y
        if outputs > 1:
            classes = np.array([_class_number(where, number, outputs) for number in numbers])
            ax = _axes(where, ax, (5, 4))
            _draw_regions(ax, a, b, field)
        else:
            classes = (numbers > 0).astype(int)
            if names is None and -1 in numbers:
                texts = ["-1", "1"]
            if level is None:
                level = 0.5 if np.isin(field, (0, 1)).all() else 0.0
            ax = _axes(where, ax, (5, 4))
            _draw_sides(ax, a, b, field[..., 0], float(level))
        if y is None:
            ax.scatter(*x.T, s=_dot(len(x)), color="0.25", edgecolor="white", linewidth=0.6, zorder=3)
        else:
            _draw_points(ax, x, classes, texts)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    return ax


def _draw_regions(ax: Any, a: np.ndarray, b: np.ndarray, scores: np.ndarray) -> None:
    """The class of the highest score at each place, with lines between the classes."""
    from matplotlib.colors import ListedColormap

    count = scores.shape[-1]
    colors = ListedColormap([_light(_color(i)) for i in range(count)])
    ax.pcolormesh(a, b, scores.argmax(-1), cmap=colors, vmin=-0.5, vmax=count - 0.5, shading="nearest", rasterized=True)
    for i in range(count):
        # The lead over the best other class is smooth, so its line of 0 has no steps.
        lead = scores[..., i] - np.delete(scores, i, -1).max(-1)
        _line(ax, a, b, lead, 0.0, colors="white", linewidths=1.5)


def _line(ax: Any, a: np.ndarray, b: np.ndarray, values: np.ndarray, level: float, **style: Any) -> None:
    """The line of one level, if there is any."""
    if values.min() < level < values.max():
        ax.contour(a, b, values, levels=[level], **style)


def _draw_sides(ax: Any, a: np.ndarray, b: np.ndarray, values: np.ndarray, level: float) -> None:
    """Both sides of a level, the stronger in colour the farther from it, up to the odds of a logit of 4."""
    reach = float(np.clip(np.abs(values - level).max(), 1e-6, 4))
    steps = np.linspace(level - reach, level + reach, 17)
    ax.contourf(a, b, values, levels=steps, cmap=_two_sided(), extend="both")
    if len(np.unique(values)) == 2:
        # The output of a threshold unit has stairs for an edge; weighted means of neighbours make it a line again.
        for axis in (0, 1, 0, 1):
            padded = np.pad(values, [(1, 1) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
            before, after = np.roll(padded, 1, axis), np.roll(padded, -1, axis)
            values = ((before + 2 * padded + after) / 4).take(range(1, values.shape[axis] + 1), axis)
    _line(ax, a, b, values, level, colors="black", linewidths=1.5)


def _draw_surface(ax: Any, a: np.ndarray, b: np.ndarray, values: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Shades of the outputs, and points in the same shades."""
    low, high = (y.min(), y.max()) if y.min() < y.max() else (values.min(), values.max())
    if low == high:
        low, high = low - 1, high + 1
    from matplotlib.colors import Normalize

    norm = Normalize(low, high)
    ax.contourf(a, b, values, levels=np.linspace(low, high, 21), cmap="viridis", norm=norm, extend="both")
    points = ax.scatter(
        *x.T, c=y, cmap="viridis", norm=norm, s=_dot(len(x)), edgecolor="white", linewidth=0.6, zorder=3
    )
    ax.figure.colorbar(points, ax=ax, label="output, and target of the points")


def optimizer_paths(
    surface: Callable[[Any], Any],
    paths: Mapping[str, Any],
    *,
    low: Sequence[float],
    high: Sequence[float],
    minimum: Sequence[float] | None = None,
    resolution: int = 200,
    ax: Any = None,
) -> Any:
    """Paths of optimizers over a surface of two parameters, whose levels are a constant factor apart.

    Args:
      surface: a function of a (2,) vector, written with jax.numpy, since it is mapped over the picture.
      paths: name to (steps + 1, 2) points, from the start (a ring) to the end (a marker of its own); what leaves the
        picture is cut off, and points that are not finite are left out.
      low, high: the corners of the picture, two numbers each.
      minimum: where the surface is lowest, marked by a star; optional.
      resolution: places on each axis at which the surface is computed.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for an empty or crossed picture, paths of another shape, and a constant or infinite surface.

    >>> line = np.linspace([1.0, 1.0], [0.0, 0.0], 5)
    >>> ax = optimizer_paths(lambda w: (w**2).sum(), {"SGD": line}, low=(-1, -1), high=(2, 2), minimum=(0, 0))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['SGD', 'start', 'minimum']
    """
    where = "optimizer_paths"
    first, last = _numbers(where, "low", low), _numbers(where, "high", high)
    if first.shape != (2,) or last.shape != (2,) or not (first < last).all():
        fail(where, expected="low below high, two numbers each", got=f"low={low!r}, high={high!r}")
    check_count(where, "resolution", resolution, 2)
    if not isinstance(paths, Mapping) or not paths:
        fail(where, expected="a dict of at least one path", got=repr(paths) if not paths else type(paths).__name__)
    lines = {str(name): _numbers(where, f"path {name!r}", path) for name, path in paths.items()}
    for name, line in lines.items():
        if line.ndim != 2 or line.shape[1] != 2 or len(line) == 0:
            fail(where, expected=f"path {name!r} of shape (steps + 1, 2)", got=str(line.shape))
        if not np.isfinite(line[0]).all():
            fail(where, expected=f"path {name!r} to start at a finite point", got=str(line[0]))
    best = None if minimum is None else _numbers(where, "minimum", minimum)
    if best is not None and best.shape != (2,):
        fail(where, expected="minimum of two numbers", got=str(best.shape))
    a, b, grid = _grid(first, last, resolution)
    places = grid if best is None else np.concatenate([grid, best[None].astype(np.float32)])
    heights = _numbers(where, "the surface", jax.jit(jax.vmap(surface))(places))
    if heights.shape != (len(places),):
        fail(where, expected="a surface with one number for each point", got=f"shape {heights.shape[1:]}")
    if not np.isfinite(heights).all() or heights.min() == heights.max():
        got = "a constant" if np.isfinite(heights).all() else "NaN or infinity"
        fail(where, expected="a surface of finite numbers that differ", got=got)
    heights = heights[: len(grid)].reshape(resolution, resolution) - heights.min()

    ax = _axes(where, ax, (6.4, 4.6))
    import matplotlib

    levels = [0.0, *np.geomspace(heights.max() / 1e4, heights.max(), 15)]
    greys = matplotlib.colormaps["Greys"](np.linspace(0.0, 0.4, len(levels) - 1))
    ax.contourf(a, b, heights, levels=levels, colors=list(greys))
    ax.contour(a, b, heights, levels=levels[1:-1], colors="white", linewidths=0.5)
    for i, (name, line) in enumerate(lines.items()):
        whole = line[np.isfinite(line).all(1)]
        style = {**_style(i), "markevery": [len(whole) - 1], "markersize": 8, "markeredgecolor": "white"}
        ax.plot(*whole.T, **style, linewidth=1.6, label=name, zorder=3)
    starts = np.unique(np.stack([line[0] for line in lines.values()]), axis=0)
    ring = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgecolor": "black", "linestyle": "none"}
    ax.plot(*starts.T, **ring, label="start", zorder=4)
    if best is not None:
        star = {"marker": "*", "markersize": 14, "markerfacecolor": "gold", "markeredgecolor": "black"}
        ax.plot(*best[:, None], **star, linestyle="none", label="minimum", zorder=4)
    ax.set(xlabel="$w_1$", ylabel="$w_2$", xlim=(a[0], a[-1]), ylim=(b[0], b[-1]))
    busy = np.concatenate([*lines.values(), *([] if best is None else [best[None]])])
    ax.legend(fontsize=8, framealpha=0.85, loc=_free_corner(ax, busy))
    return ax


# --------------------------------------------------------------------------------------------------------- the classics
def _signed(number: float) -> str:
    """A weight with a sign, and a true minus."""
    return f"{number:+g}".replace("-", "\u2212")


def _sum_text(weights: np.ndarray) -> str:
    """A weighted sum as mathematics: 2 x_1 - x_2."""
    text = ""
    for i, weight in enumerate(weights):
        sign = "-" if weight < 0 else "+" if text else ""
        size = "" if abs(weight) == 1 else f"{abs(weight):g}\\,"
        text += f" {sign} {size}x_{i + 1}"
    return text.strip()


def unit(unit: Any, *, ax: Any = None) -> Any:
    """A threshold unit of one or two inputs: where it fires, and what it says at the corners 0 and 1.

    Args:
      unit: a `classic.Unit`: ``weights`` and ``threshold``; it fires where the weighted sum reaches the threshold.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for another number of inputs.
    """
    if not hasattr(unit, "weights") or not hasattr(unit, "threshold"):
        fail("unit", expected="a threshold unit, such as fnn.classic.AND", got=repr(unit))
    weights = _numbers("unit", "weights", unit.weights).reshape(-1)
    threshold = _numbers("unit", "threshold", unit.threshold)
    if threshold.ndim or not np.isfinite([*weights, threshold]).all():
        fail("unit", expected="finite weights and one finite threshold", got=repr(unit))
    if len(weights) not in (1, 2):
        hint = "Pictures of more are drawn by fnn.plot.network."
        fail("unit", expected="a threshold unit of one or two inputs", got=f"{len(weights)} weights", hint=hint)
    ax = _axes("unit", ax, (3.6, 3.4 if len(weights) == 2 else 1.6))
    low, high = -0.5, 1.5
    a, b, grid = _grid((low, low), (high, high), 201)
    full = np.append(weights, 0.0)[:2]
    total = (grid.astype(np.float64) @ full - threshold).reshape(len(b), len(a))
    # Filling by the sign of the sum keeps the edge straight; it is drawn again as a line.
    reach = max(np.abs(total).max(), 1.0) + 1
    ax.contourf(a, b, total, levels=[-reach, 0, reach], colors=[_light(COLORS[0], 0.85), _light(COLORS[1], 0.7)])
    _line(ax, a, b, total, 0.0, colors="black", linewidths=1.8)
    corners = [(p, q) for p in (0.0, 1.0) for q in ((0.0, 1.0) if len(weights) == 2 else (0.5,))]
    for corner in corners:
        fires = np.dot(full[: len(weights)], corner[: len(weights)]) >= threshold
        style = {"color": "black" if fires else "white", "edgecolor": "black"}
        ax.scatter(*corner, s=190, **style, zorder=3)
        text = {"color": "white" if fires else "black", "fontsize": 9, "fontweight": "bold"}
        ax.text(*corner, "1" if fires else "0", ha="center", va="center_baseline", **text, zorder=4)
    ax.set(
        title=rf"fires where ${_sum_text(weights)} \geq {{{threshold:g}}}$",
        xlabel="$x_1$",
        xlim=(low, high),
        ylim=(low, high),
    )
    ax.set_xticks([0, 1])
    ax.set_yticks([0, 1] if len(weights) == 2 else [])
    if len(weights) == 2:
        ax.set_ylabel("$x_2$")
        ax.set_aspect("equal")
    return ax


def network(formula: Any, *, ax: Any = None) -> Any:
    """The units of a logic formula: inputs on the left, the result on the right, weights on the lines.

    The number in a unit is its threshold, which the weighted sum must reach. Lines of negative weights are dashed.

    Args:
      formula: a `classic.Formula`: ``text``, ``names`` of the inputs, and ``nodes``, each with ``name``, ``unit`` and
        the names of its ``inputs``.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for a formula without units, or a unit whose inputs come after it.
    """
    where = "network"
    names, nodes = tuple(getattr(formula, "names", ())), tuple(getattr(formula, "nodes", ()))
    if not nodes:
        fail(where, expected="a formula of at least one unit", got=type(formula).__name__)
    level: dict[Any, int] = dict.fromkeys(names, 0)
    for node in nodes:
        unknown = [name for name in node.inputs if name not in level]
        if unknown or not node.inputs:
            fail(where, expected=f"unit {node.name!r} to have inputs that come before it", got=str(unknown))
        if len(node.inputs) != np.size(node.unit.weights):
            got = f"{len(node.inputs)} inputs and {np.size(node.unit.weights)} weights"
            fail(where, expected=f"a weight for each input of unit {node.name!r}", got=got)
        level[node.name] = 1 + max(level[name] for name in node.inputs)

    # A line that passes over columns gets a free place in each of them, so that it does not cross a unit.
    columns: list[list[Any]] = [[key for key in level if level[key] == i] for i in range(max(level.values()) + 1)]
    chains: dict[tuple[str, str], list[Any]] = {}
    for node in nodes:
        for source in dict.fromkeys(node.inputs):
            between = [(source, node.name, i) for i in range(level[source] + 1, level[node.name])]
            for place in between:
                columns[place[2]].append(place)
            chains[source, node.name] = [source, *between, node.name]
    pieces = [piece for chain in chains.values() for piece in itertools.pairwise(chain)]
    columns = _untangle(columns, pieces)

    wide = max(len(str(node.name)) for node in nodes)
    step = float(np.clip(0.085 * wide + 0.5, 1.9, 3.0))
    at = {
        key: (i * step, (len(column) - 1) / 2 * 1.35 - j * 1.35)
        for i, column in enumerate(columns)
        for j, key in enumerate(column)
    }
    tall = max(len(column) for column in columns)
    ax = _axes(where, ax, (0.95 * (step * (len(columns) - 0.5) + 0.7), 0.95 * (1.35 * tall + 0.15)))
    from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path

    radius = 0.34
    for node in nodes:
        for source in dict.fromkeys(node.inputs):
            weights = [
                float(w) for name, w in zip(node.inputs, np.ravel(node.unit.weights), strict=True) if name == source
            ]
            points = np.array([at[key] for key in chains[source, node.name]])
            # From edge to edge, not from middle to middle.
            first, last = points[1] - points[0], points[-1] - points[-2]
            points[0] += first / np.hypot(*first) * (radius + 0.02)
            points[-1] -= last / np.hypot(*last) * (radius + 0.03)
            down = sum(weights) < 0
            style: dict[str, Any] = {
                "color": COLORS[1] if down else COLORS[0],
                "linestyle": (0, (4, 2)) if down else "solid",
            }
            ax.add_patch(
                FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=11, linewidth=1.6, **style)
            )
            spot = points[0] + 0.28 * (points[1] - points[0])
            text = ", ".join(_signed(w) for w in weights)
            box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
            ax.text(*spot, text, color=style["color"], ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    for name in names:
        x, y = at[name]
        square = FancyBboxPatch(
            (x - 0.22, y - 0.22), 0.44, 0.44, boxstyle="round,pad=0.1", facecolor="0.93", edgecolor="0.4"
        )
        ax.add_patch(square)
        ax.text(x, y, str(name), ha="center", va="center", fontsize=10 if len(str(name)) < 5 else 7, zorder=4)
    for node in nodes:
        x, y = at[node.name]
        result = node is nodes[-1]
        ax.add_patch(
            Circle((x, y), radius, facecolor="white", edgecolor="black", linewidth=2.4 if result else 1.4, zorder=2)
        )
        ax.text(
            x,
            y,
            f"\u2265 {float(node.unit.threshold):g}".replace("-", "\u2212"),
            ha="center",
            va="center",
            fontsize=9,
            zorder=4,
        )
        label = textwrap.fill(str(node.name), max(12, int(step / 0.085)), break_long_words=False)
        ax.text(x, y - radius - 0.08, label, ha="center", va="top", fontsize=8, color="0.25", zorder=4)
    ax.set(
        title=str(getattr(formula, "text", "")),
        xlim=(-0.7, step * (len(columns) - 0.5)),
        ylim=(-(tall - 1) / 2 * 1.35 - 0.75, (tall - 1) / 2 * 1.35 + 0.45),
    )
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _untangle(columns: list[list[Any]], pieces: list[tuple[Any, Any]]) -> list[list[Any]]:
    """Order each column by the middle of its neighbours, to and fro, and keep the order with the fewest crossings."""
    neighbours: dict[Any, list[Any]] = {}
    for left, right in pieces:
        neighbours.setdefault(left, []).append(right)
        neighbours.setdefault(right, []).append(left)

    def crossings(order: list[list[Any]]) -> int:
        place = {key: (i, j) for i, column in enumerate(order) for j, key in enumerate(column)}
        ends = [(place[left], place[right]) for left, right in pieces]
        return sum(
            (a[1] - c[1]) * (b[1] - d[1]) < 0 for k, (a, b) in enumerate(ends) for c, d in ends[:k] if a[0] == c[0]
        )

    best, fewest = columns, crossings(columns)
    order = [list(column) for column in columns]
    for sweep in range(8):
        for i in range(len(order)) if sweep % 2 == 0 else reversed(range(len(order))):
            beside = order[i - 1] if sweep % 2 == 0 and i else order[i + 1] if sweep % 2 and i + 1 < len(order) else []
            place = {key: j - (len(beside) - 1) / 2 for j, key in enumerate(beside)}

            def middle(key: Any, place: dict[Any, float] = place) -> float:
                seen = [place[other] for other in neighbours.get(key, ()) if other in place]
                return sum(seen) / len(seen) if seen else 0.0

            if beside:
                order[i].sort(key=middle)
        if (found := crossings(order)) < fewest:
            best, fewest = [list(column) for column in order], found
    return best
