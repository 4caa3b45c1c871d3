"""Pictures of activation functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, check_range
from .._core.errors import fail
from ..nn import activations as _activations
from ._draw import COLORS, many_axes, one_axes


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
    ax = one_axes("activation", ax, (5, 3.2))
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

    axes = many_axes("activations", axes, len(names), make)
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
