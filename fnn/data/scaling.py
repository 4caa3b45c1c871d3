"""Scaling."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import check_range, is_concrete
from .._core.dtypes import lift
from .._core.errors import describe, fail, shape_text


# ------------------------------------------------------------------------------------------------------------- scaling
class Moments(NamedTuple):
    """What `standardize` needs to know.

    Attributes:
      mean: of each column.
      std: the standard deviation of each column, by the number of rows; 1 for a column that is constant.
    """

    mean: Any
    std: Any


def _as_array(where: str, x: Any, *, finite: bool = True) -> Any:
    """An array of numbers; those that are not concrete pass the check of their values."""
    x = as_array(f"{where}, x", x, fits=False)
    if finite and is_concrete(x):
        values = np.asarray(x)
        good = np.isfinite(values)
        if not good.all():
            first = tuple(int(i) for i in np.argwhere(~good)[0])
            place = f"row {first[0]}" if first else "it"
            place += f", column {', '.join(map(str, first[1:]))}" if first[1:] else ""
            more = int((~good).sum()) - 1
            got = f"{values[first]} in {place}, counted from 0" + (f", and {more} more like it" if more else "")
            fail(where, expected="finite numbers", got=got)
    return x


def _result_dtype(x: Any) -> Any:
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.dtype("float32")


def _work_dtype(x: Any) -> Any:
    """Where sums are taken: NumPy has float64 at no cost in speed; JAX has float32, or what is wider."""
    if not isinstance(x, jax.Array):
        return np.promote_types(np.float64, x.dtype) if x.dtype.kind == "f" else np.dtype("float64")
    dtype = _result_dtype(x)
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype("float32")


def standardize_fit(x: Any) -> Moments:
    """Mean and standard deviation of each column, for `standardize`.

    ``mean = 1/n sum_i x_i`` and ``std = sqrt(1/n sum_i (x_i - mean)^2)`` over the first axis, as in scikit-learn's
    StandardScaler. A column whose rows are all equal has the standard deviation 1, so that it becomes 0 instead of a
    division by 0; one row therefore is a mean with standard deviations of 1.

    Args:
      x: (rows, ...) numbers, NumPy or JAX. Fit on the training rows only, or the test rows leak into training.

    Returns:
      `Moments`, each of the shape of a row: float64 of NumPy arrays, else of the dtype of ``x``, at least float32.

    Raises:
      InputError: for no rows, text, or numbers that are not finite.

    >>> import numpy as np
    >>> moments = standardize_fit(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> moments.mean.tolist(), moments.std.tolist()
    ([2.0, 7.0], [1.0, 1.0])
    """
    x = _as_array("standardize_fit", x)
    if x.ndim == 0 or x.size == 0:
        fail("standardize_fit", expected="at least one row of numbers", got=describe(x))
    xp: Any = jnp if isinstance(x, jax.Array) else np
    x = x.astype(_work_dtype(x))
    # Differences from the first row are exact for a constant column, and lose little where a mean is far from 0.
    shifted = x - x[:1]
    shift = shifted.mean(0)
    deviation = shifted - shift[None]
    # Squares of very small or large numbers leave the range of the dtype; those of numbers up to 1 don't.
    scale = xp.abs(deviation).max(0)
    constant = scale == 0
    one = xp.ones_like(scale)
    scale = xp.where(constant, one, jax.lax.stop_gradient(scale) if xp is jnp else scale)
    variance = xp.square(deviation / scale[None]).mean(0)
    return Moments(x[0] + shift, scale * xp.sqrt(xp.where(constant, one, variance)))


def _aligned(where: str, moments: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """``x``, mean and deviation in the dtype in which to compute, and the dtype of the result."""
    if not isinstance(moments, Moments):
        fail(where, expected="Moments from standardize_fit first", got=describe(moments))
    shape = np.shape(moments.mean)
    if x.ndim < len(shape) or x.shape[x.ndim - len(shape) :] != shape:
        fail(where, expected=f"rows of shape {shape_text(shape)}, as in standardize_fit", got=describe(x))
    if any(isinstance(a, jax.Array) for a in (x, *moments)):
        x = jnp.asarray(x)
        work = _work_dtype(x)
        return x.astype(work), jnp.asarray(moments.mean, work), jnp.asarray(moments.std, work), _result_dtype(x)
    work = _work_dtype(x)
    return x.astype(work), np.asarray(moments.mean, work), np.asarray(moments.std, work), _result_dtype(x)


def standardize(moments: Moments, x: Any) -> Any:
    """``z = (x - mean) / std``, column by column.

    Args:
      moments: from `standardize_fit`.
      x: (rows, ...) numbers with the columns that were fitted, or one row.

    Returns:
      An array of the shape of ``x``. Its floating dtype is kept; integers give float32.

    Raises:
      InputError: for other columns, text, or numbers that are not finite.

    >>> import numpy as np
    >>> standardize(Moments(np.array([2.0, 7.0]), np.array([0.5, 1.0])), np.array([[3.0, 7.0], [1.0, 9.0]])).tolist()
    [[2.0, 0.0], [-2.0, 2.0]]
    """
    x = _as_array("standardize", x)
    x, mean, std, out = _aligned("standardize", moments, x)
    return ((x - lift(mean, x)) / lift(std, x)).astype(out)


def standardize_invert(moments: Moments, z: Any) -> Any:
    """``x = z * std + mean``: back to the units of before, e.g. for the predictions of a scaled target.

    Args:
      moments: from `standardize_fit`.
      z: (rows, ...) numbers with the columns that were fitted, or one row. What is not finite stays so.

    Returns:
      An array of the shape of ``z``. Its floating dtype is kept; integers give float32.

    Raises:
      InputError: for other columns, or text.

    >>> import numpy as np
    >>> standardize_invert(Moments(np.array([2.0, 7.0]), np.array([0.5, 1.0])), np.array([[2.0, 0.0]])).tolist()
    [[3.0, 7.0]]
    """
    z = _as_array("standardize_invert", z, finite=False)
    z, mean, std, out = _aligned("standardize_invert", moments, z)
    return (z * lift(std, z) + lift(mean, z)).astype(out)


def scale_images(x: Any, top: Any = 255) -> Any:
    """Images as a model takes them: float32 in [0, 1], with a channel axis.

    Args:
      x: (count, height, width) or (count, height, width, channels) numbers from 0 to ``top``.
      top: the value of full brightness: 255 for bytes, 16 for scikit-learn's digits, 1 for what is scaled already.

    Returns:
      (count, height, width, channels) float32, ``x / top``; images without a channel axis get one of length 1.

    Raises:
      InputError: for another rank, values outside [0, top] or not finite, or fractions where ``top`` is 255.

    >>> import numpy as np
    >>> y = scale_images(np.array([[[0, 51], [255, 102]]], np.uint8))
    >>> y.shape, y.dtype.name
    ((1, 2, 2, 1), 'float32')
    >>> print(y[0, ..., 0])
    [[0.  0.2]
     [1.  0.4]]
    """
    where = "scale_images"
    check_range(where, "top", top, 0, open_low=True)
    x = _as_array(where, x)
    if x.ndim not in (3, 4):
        hint = "Add an axis to a single image: x[None]." if x.ndim == 2 else ""
        fail(where, expected="(count, height, width) or (count, height, width, channels)", got=describe(x), hint=hint)
    # Bytes can't be wrong, and looking at all of them would cost more than scaling them.
    if is_concrete(x) and is_concrete(top) and x.size and not (x.dtype == np.uint8 and top >= 255):
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > float(top):
            hint = "Say what full brightness is, with top=..." if low >= 0 else ""
            fail(where, expected=f"values from 0 to {float(top):g}", got=f"{low:g} to {high:g}", hint=hint)
        if float(top) == 255 and 0 < high <= 1 and jnp.issubdtype(x.dtype, jnp.floating):
            hint = "They seem to be scaled already: pass top=1, or leave this step out."
            fail(where, expected="values up to 255", got=f"fractions from {low:g} to {high:g}", hint=hint)
    xp: Any = jnp if isinstance(x, jax.Array) or isinstance(top, jax.Array) else np
    y = xp.asarray(x, np.float32) / xp.asarray(top, np.float32)
    return y[..., None] if x.ndim == 3 else y
