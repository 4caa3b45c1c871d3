"""Pictures of activation functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .._core.checks import check_count, check_range
from .._core.errors import fail
from .._core.types import Array
from ..nn import activations as _activations
from ._draw import COLORS, Axes, many_axes, one_axes


def activation(
    name: str | Callable[[Array], Array], *, low: float = -5.0, high: float = 5.0, ax: Axes | None = None
) -> Axes:
    """Draw an activation function and its derivative.

    Softmax and log-softmax, which take a vector, are shown by their first output for the vector (x, 0).

    Args:
      name: the name of an activation, or a function of one array.
      low, high: the range of x.
      ax: the axes to draw into; default a new figure.

    Returns:
      The axes.

    Raises:
      InputError: for an unknown name, with close matches, or an empty range.

    >>> activation("tanh").get_title()
    'tanh'
    """
    fn = _activations.get_activation(name)
    label = name if isinstance(name, str) else getattr(name, "__name__", "f")
    check_range("activation", "low", low, -np.inf)
    check_range("activation", "high", high, float(low), open_low=True)
    vector = fn in (_activations.softmax, _activations.log_softmax)

    def first(x: Array) -> Array:
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
    names: Sequence[str | Callable[[Array], Array]] | None = None,
    *,
    low: float = -5.0,
    high: float = 5.0,
    columns: int = 5,
    axes: ArrayLike | None = None,
) -> np.ndarray:
    """Draw a gallery of activation functions (solid) and their derivatives (dashed).

    Args:
      names: the functions, as in `activation`; default all that have a name.
      low, high: the range of x.
      columns: pictures per row.
      axes: an array of axes to draw into, at least one per function; default a new figure.

    Returns:
      The flat array of axes.

    Raises:
      InputError: for an unknown name, an empty list or too few axes.
    """
    if names is None:
        # A function with two names is shown once.
        names = list({fn: name for name, fn in reversed(_activations.ACTIVATIONS.items())}.values())[::-1]
    if isinstance(names, str) or len(names) == 0:
        fail("activations", expected="a list of at least one activation", got=repr(names))
    check_count("activations", "columns", columns)
    columns = min(columns, len(names))
    grid = many_axes("activations", axes, len(names), columns, (2.0, 1.6), sharex=True)
    for i, (name, ax) in enumerate(zip(names, grid, strict=False)):
        activation(name, low=low, high=high, ax=ax)
        handles = ax.lines[-2:]
        ax.get_legend().remove()
        ax.set_title(ax.get_title().removesuffix(", first output"), fontsize=9)
        lowest = i >= len(names) - columns  # nothing drawn below
        ax.set_xlabel("x" if lowest else "", fontsize=8)
        ax.tick_params(labelsize=7, labelbottom=lowest)
        ax.set_xticks([low, (low + high) / 2, high])
    for ax in grid[len(names) :]:
        ax.set_axis_off()
    # The legend goes into an empty place if there is one.
    empty = len(grid) > len(names)
    ax = grid[len(names) if empty else 0]
    ax.legend(handles, ["f(x)", "derivative"], fontsize=8, frameon=False, loc="center" if empty else "best")
    return grid
