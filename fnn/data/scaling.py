"""Scale inputs and targets: standardized columns, and images in [0, 1].

Functions compute with NumPy arrays in float64 and with JAX arrays in at least float32, and check values unless traced.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .._core.arrays import as_array
from .._core.checks import check_range, is_concrete
from .._core.dtypes import at_least_float32, is_float, lift
from .._core.errors import describe, fail, shape_text
from .._core.tables import refuse_len
from .._core.types import AnyArray


@refuse_len("Write len(moments.mean) for columns.")
class Moments(NamedTuple):
    """Mean and standard deviation of each column, from `standardize_fit`.

    Attributes:
      mean: (...), the mean of each column.
      std: (...), the population standard deviation of each column (divided by n); 1 for a constant column.
    """

    mean: AnyArray
    std: AnyArray


def _as_array(where: str, x: ArrayLike, *, finite: bool = True) -> AnyArray:
    """Convert to an array of numbers, which must be finite if concrete."""
    array: AnyArray = as_array(f"{where}, x", x, fits=False)
    if finite and is_concrete(array):
        values = np.asarray(array)
        good = np.isfinite(values)
        if not good.all():
            first = tuple(int(i) for i in np.argwhere(~good)[0])
            place = f"row {first[0]}" if first else "it"
            place += f", column {', '.join(map(str, first[1:]))}" if first[1:] else ""
            more = int((~good).sum()) - 1
            got = f"{values[first]} in {place}, counted from 0" + (f", and {more} more like it" if more else "")
            fail(where, expected="finite numbers", got=got)
    return array


def _result_dtype(x: AnyArray) -> np.dtype:
    return x.dtype if is_float(x) else jnp.dtype("float32")


def _work_dtype(x: AnyArray) -> np.dtype:
    """The dtype to compute in: at least float64 in NumPy, where it costs no speed, and at least float32 in JAX."""
    if not isinstance(x, jax.Array):
        return np.promote_types(np.float64, x.dtype) if x.dtype.kind == "f" else np.dtype("float64")
    return at_least_float32(_result_dtype(x))


def standardize_fit(x: ArrayLike) -> Moments:
    """Compute the mean and standard deviation of each column, for `standardize`.

    ``mean = 1/n sum_i x_i`` and ``std = sqrt(1/n sum_i (x_i - mean)^2)`` over the first axis, as in scikit-learn's
    StandardScaler. A constant column, or one of a single row, gets a standard deviation of 1, so that it becomes 0.

    Args:
      x: (rows, ...) numbers, NumPy or JAX. Fit on the training rows only, or the test rows leak into training.

    Returns:
      `Moments` of each column: float64 for NumPy arrays, else the dtype of ``x``, at least float32.

    Raises:
      InputError: for no rows, text, or numbers that are not finite.

    >>> moments = standardize_fit(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> moments.mean.tolist(), moments.std.tolist()
    ([2.0, 7.0], [1.0, 1.0])
    """
    rows = _as_array("standardize_fit", x)
    if rows.ndim == 0 or rows.size == 0:
        fail("standardize_fit", expected="at least one row of numbers", got=describe(rows))
    xp: Any = jnp if isinstance(rows, jax.Array) else np
    rows = rows.astype(_work_dtype(rows))
    # Subtracting the first row is exact for a constant column, and keeps precision if the mean is far from 0.
    shifted = rows - rows[:1]
    shift = shifted.mean(0)
    deviation = shifted - shift[None]
    # Dividing by the largest deviation keeps the squares within the range of the dtype.
    scale = xp.abs(deviation).max(0)
    constant = scale == 0
    one = xp.ones_like(scale)
    scale = xp.where(constant, one, jax.lax.stop_gradient(scale) if xp is jnp else scale)
    variance = xp.square(deviation / scale[None]).mean(0)
    return Moments(rows[0] + shift, scale * xp.sqrt(xp.where(constant, one, variance)))


def _aligned(where: str, moments: Moments, x: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray, np.dtype]:
    """``x``, mean and standard deviation in the dtype to compute in, and the dtype of the result."""
    if not isinstance(moments, Moments):
        fail(where, expected="Moments from standardize_fit as the first argument", got=describe(moments))
    shape = np.shape(moments.mean)
    if x.ndim < len(shape) or x.shape[x.ndim - len(shape) :] != shape:
        fail(where, expected=f"rows of shape {shape_text(shape)}, as in standardize_fit", got=describe(x))
    xp: Any = jnp if any(isinstance(a, jax.Array) for a in (x, *moments)) else np
    x = xp.asarray(x)
    work = _work_dtype(x)
    return x.astype(work), xp.asarray(moments.mean, work), xp.asarray(moments.std, work), _result_dtype(x)


def standardize(moments: Moments, x: ArrayLike) -> AnyArray:
    """Standardize each column: ``z = (x - mean) / std``.

    Args:
      moments: from `standardize_fit`.
      x: (rows, ...) numbers with the fitted columns, or (...), one row.

    Returns:
      (rows, ...) or (...), like ``x``, in its floating dtype; float32 for integers.

    Raises:
      InputError: for other columns, text, or numbers that are not finite.

    >>> standardize(Moments(np.array([2.0, 7.0]), np.array([0.5, 1.0])), np.array([[3.0, 7.0], [1.0, 9.0]])).tolist()
    [[2.0, 0.0], [-2.0, 2.0]]
    """
    array, mean, std, dtype = _aligned("standardize", moments, _as_array("standardize", x))
    return ((array - lift(mean, array)) / lift(std, array)).astype(dtype)


def standardize_invert(moments: Moments, z: ArrayLike) -> AnyArray:
    """Convert standardized values, e.g. predictions of a target, back to the original units: ``x = z * std + mean``.

    Args:
      moments: from `standardize_fit`.
      z: (rows, ...) numbers with the fitted columns, or (...), one row. Values that are not finite remain so.

    Returns:
      (rows, ...) or (...), like ``z``, in its floating dtype; float32 for integers.

    Raises:
      InputError: for other columns, or text.

    >>> standardize_invert(Moments(np.array([2.0, 7.0]), np.array([0.5, 1.0])), np.array([[2.0, 0.0]])).tolist()
    [[3.0, 7.0]]
    """
    z = _as_array("standardize_invert", z, finite=False)
    array, mean, std, dtype = _aligned("standardize_invert", moments, z)
    return (array * lift(std, array) + lift(mean, array)).astype(dtype)


def scale_images(x: ArrayLike, top: ArrayLike = 255) -> AnyArray:
    """Scale images to float32 in [0, 1], with a channel axis.

    Args:
      x: (count, height, width) or (count, height, width, channels) numbers from 0 to ``top``.
      top: the value of full brightness: 255 for bytes, 16 for scikit-learn's digits, 1 for images already scaled.

    Returns:
      (count, height, width, channels) float32, ``x / top``; images without a channel axis get one of length 1.

    Raises:
      InputError: for another rank, values outside [0, top] or not finite, or values in [0, 1] if ``top`` is 255.

    >>> y = scale_images(np.array([[[0, 51], [255, 102]]], np.uint8))
    >>> y.shape, y.dtype.name
    ((1, 2, 2, 1), 'float32')
    >>> print(y[0, ..., 0])
    [[0.  0.2]
     [1.  0.4]]
    """
    where = "scale_images"
    check_range(where, "top", top, 0, open_low=True)
    images = _as_array(where, x)
    if images.ndim not in (3, 4):
        expected = "(count, height, width) or (count, height, width, channels)"
        hint = "Add an axis to a single image: x[None]." if images.ndim == 2 else ""
        fail(where, expected=expected, got=describe(images), hint=hint)
    if is_concrete(top):
        _check_brightness(where, images, float(np.asarray(top)))
    xp: Any = jnp if isinstance(images, jax.Array) or isinstance(top, jax.Array) else np
    y: AnyArray = xp.asarray(images, np.float32) / xp.asarray(top, np.float32)
    return y[..., None] if images.ndim == 3 else y


def _check_brightness(where: str, images: AnyArray, top: float) -> None:
    """Reject concrete values outside [0, top], and images in [0, 1] where 255 is expected."""
    # Bytes are always valid, and checking them would cost more than scaling them.
    if not is_concrete(images) or not images.size or (images.dtype == np.uint8 and top >= 255):
        return
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > top:
        hint = "Give the value of full brightness as top=..." if low >= 0 else ""
        fail(where, expected=f"values from 0 to {top:g}", got=f"{low:g} to {high:g}", hint=hint)
    if top == 255 and 0 < high <= 1 and is_float(images):
        hint = "The images seem to be scaled already: pass top=1, or skip this step."
        fail(where, expected="values up to 255", got=f"values from {low:g} to {high:g}", hint=hint)
