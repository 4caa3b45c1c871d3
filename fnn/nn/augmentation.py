"""Image augmentation: random changes of each image in training, none outside it.

Each layer draws a few numbers for every example; what a row draws does not depend on the rows after it. Images are
(batch, height, width, channels). Integer images become float32 in training and outside it, as in Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, check_range, lookup
from .._core.described import described, in_words
from .._core.dtypes import at_least_float32, is_float, widest
from .._core.errors import describe, fail
from .._core.random import uniform
from .._core.types import Array, Key, Scalar
from .layer import Layer, randomized

Factor = Scalar | Sequence[Scalar]
"""A number f for the range [-f, f], or the two ends of a range."""


def affine_transform(
    x: Array, matrix: Array, *, interpolation: str = "bilinear", fill_mode: str = "constant", fill_value: Scalar = 0.0
) -> Array:
    """Read each image at transformed positions: ``y[i, j] = x[matrix @ (i, j, 1)]``.

    The matrix maps rows and columns of the result to those of ``x``, as in `scipy.ndimage.affine_transform`. Positions
    are computed in float32 at least.

    Args:
      x: (batch, height, width, channels), of a floating-point dtype.
      matrix: (batch, 2, 3), or (2, 3) for all images.
      interpolation: "bilinear" (the default) between the four pixels around a position, or "nearest".
      fill_mode: what lies beyond the edges: "constant" (``fill_value``, the default), "nearest" (the edge),
        "reflect" (the image mirrored, the edge twice), or "wrap" (the image repeated).
      fill_value: default 0.

    Returns:
      (batch, height, width, channels).

    Raises:
      InputError: for other shapes or dtypes, and for unknown names.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(6.0).reshape(1, 2, 3, 1)
    >>> print(affine_transform(x, jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, -0.5]]))[0, :, :, 0])
    [[0.  0.5 1.5]
     [1.5 3.5 4.5]]
    """
    _check_images("affine_transform", x)
    if not is_float(x):
        fail("affine_transform", expected="a floating-point x", got=describe(x))
    if matrix.shape not in ((2, 3), (x.shape[0], 2, 3)) or not is_float(matrix):
        expected = f"a floating-point matrix of shape (2, 3) or ({x.shape[0]}, 2, 3)"
        fail("affine_transform", expected=expected, got=describe(matrix))
    _check_sampling("affine_transform", interpolation, fill_mode)
    wide = widest(x.dtype, matrix.dtype)
    matrix = jnp.broadcast_to(matrix, (x.shape[0], 2, 3)).astype(wide)
    fill = jnp.asarray(fill_value, wide) if fill_mode == "constant" else None
    read = partial(_INTERPOLATION[interpolation], fold=_REINDEX[fill_mode], fill=fill)
    return jax.vmap(read)(x, *_positions(matrix, x.shape[1], x.shape[2])).astype(x.dtype)


def _positions(matrix: Array, height: int, width: int) -> tuple[Array, Array]:
    """The row and the column that each pixel of the result is read at, both (batch, height, width)."""
    i = jnp.arange(height, dtype=matrix.dtype)[None, :, None]
    j = jnp.arange(width, dtype=matrix.dtype)[None, None, :]
    # Without a matrix product, which accelerators round to half precision.
    row, column = (
        matrix[:, k, 0, None, None] * i + matrix[:, k, 1, None, None] * j + matrix[:, k, 2, None, None]
        for k in range(2)
    )
    return row, column


def _bilinear(image: Array, row: Array, column: Array, *, fold: Reindex, fill: Array | None) -> Array:
    top, left = jnp.floor(row), jnp.floor(column)
    down, right = (row - top)[..., None], (column - left)[..., None]
    pixel = partial(_pixels, image, fold=fold, fill=fill, dtype=row.dtype)
    upper = (1 - right) * pixel(top, left) + right * pixel(top, left + 1)
    lower = (1 - right) * pixel(top + 1, left) + right * pixel(top + 1, left + 1)
    return (1 - down) * upper + down * lower


def _nearest(image: Array, row: Array, column: Array, *, fold: Reindex, fill: Array | None) -> Array:
    return _pixels(image, jnp.floor(row + 0.5), jnp.floor(column + 0.5), fold=fold, fill=fill, dtype=row.dtype)


def _pixels(image: Array, row: Array, column: Array, *, fold: Reindex, fill: Array | None, dtype: np.dtype) -> Array:
    """The pixels at whole rows and columns, which may lie outside the image."""
    height, width, channels = image.shape
    inner_row, inner_column = fold(row.astype(jnp.int32), height), fold(column.astype(jnp.int32), width)
    flat = image.reshape(height * width, channels)
    pixels = flat.at[inner_row * width + inner_column].get(mode="promise_in_bounds").astype(dtype)
    if fill is None:
        return pixels
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return jnp.where(inside[..., None], pixels, fill)


Reindex = Callable[[Array, int], Array]
"""``fold(index, size)`` brings an index of any size into [0, size)."""


def _clip(index: Array, size: int) -> Array:
    return jnp.clip(index, 0, size - 1)


def _reflect(index: Array, size: int) -> Array:
    index = index % (2 * size)
    return jnp.minimum(index, 2 * size - 1 - index)


def _wrap(index: Array, size: int) -> Array:
    return index % size


_REINDEX: dict[str, Reindex] = {"constant": _clip, "nearest": _clip, "reflect": _reflect, "wrap": _wrap}
_INTERPOLATION: dict[str, Callable[..., Array]] = {"bilinear": _bilinear, "nearest": _nearest}
_MODES = {"horizontal": (False, True), "vertical": (True, False), "horizontal_and_vertical": (True, True)}


def _check_sampling(where: str, interpolation: str, fill_mode: str) -> None:
    for name, value, table in (("interpolation", interpolation, _INTERPOLATION), ("fill_mode", fill_mode, _REINDEX)):
        if value not in table:
            fail(where, expected=f"{name} to be one of {', '.join(table)}", got=repr(value))


def _check_images(where: str, x: Array) -> None:
    if x.ndim != 4 or 0 in x.shape[1:]:
        hint = "Add the channel axis, x[..., None], or Reshape((height, width, 1)) before it." if x.ndim == 3 else ""
        fail(where, expected="images of shape (batch, height, width, channels)", got=describe(x), hint=hint)


def _ends(kind: str, name: str, factor: Factor, low: float, *, open_low: bool = False) -> tuple[Scalar, Scalar]:
    """The two ends of a factor's range, which must be in [low, 1]."""
    ends = tuple(factor) if isinstance(factor, (tuple, list)) else (factor, factor)
    if len(ends) != 2:
        fail(kind, expected=f"{name} to be a number or a pair of them", got=in_words(factor))
    for end in ends:
        check_range(kind, name, end, -1, 1)
    low_end, high_end = ends if isinstance(factor, (tuple, list)) else (-ends[0], ends[1])
    for end in (low_end, high_end):
        check_range(kind, name, end, low, 1, open_low=open_low)
    return low_end, high_end


def _between(ends: Sequence[Scalar], share: Array) -> Array:
    """The number at a share, in [0, 1), of the way between two ends."""
    low, high = (jnp.asarray(end, share.dtype) for end in ends)
    return low + (high - low) * share


def _random_layer(
    kind: str,
    name: str,
    draws: int,
    change: Callable[[Array, Array], Array],
    *,
    otherwise: Callable[[Array], Array] = lambda x: x,
) -> Layer:
    """Make a layer of ``change(x, shares)`` in training; ``shares`` (batch, draws) are uniform in [0, 1)."""

    def floats(x: Array) -> Array:
        _check_images(name, x)
        return x if is_float(x) else x.astype(jnp.float32)

    def fn(key: Key, x: Array) -> Array:
        x = floats(x)
        return change(x, uniform(key, (x.shape[0], draws), at_least_float32(x.dtype)))

    return randomized(fn, name, kind, otherwise=lambda x: otherwise(floats(x)))


def _affine_layer(
    kind: str,
    name: str,
    matrix_of: Callable[[Array, int, int], Array],
    fill_mode: str,
    interpolation: str,
    fill_value: Scalar,
) -> Layer:
    """Make a layer of `affine_transform` by ``matrix_of(shares, height, width)``; ``shares`` are (batch, 2)."""
    _check_sampling(kind, interpolation, fill_mode)
    check_range(kind, "fill_value", fill_value)
    read = partial(affine_transform, interpolation=interpolation, fill_mode=fill_mode, fill_value=fill_value)
    return _random_layer(kind, name, 2, lambda x, shares: read(x, matrix_of(shares, x.shape[1], x.shape[2])))


def _matrices(a: Array, b: Array, c: Array, d: Array, e: Array, f: Array) -> Array:
    """The matrices ``[[a, b, c], [d, e, f]]`` of a batch, from its entries (batch,)."""
    return jnp.stack([a, b, c, d, e, f], axis=-1).reshape(-1, 2, 3)


@described
def RandomFlip(mode: str = "horizontal_and_vertical", *, name: str = "random_flip") -> Layer:
    """Mirror each image with probability 1/2 in training.

    Args:
      mode: "horizontal" (left and right), "vertical" (top and bottom), or "horizontal_and_vertical" (the default):
        each with probability 1/2, independently. (Keras draws once for both.)
      name: base name in `Sequential`.

    Shapes: (batch, height, width, channels), unchanged. Integer images become float32, in training and outside it.

    Raises:
      InputError: for an unknown mode; when applied to other than images, or without a key in training.

    >>> import jax, jax.numpy as jnp
    >>> images = jnp.arange(12).reshape(3, 1, 4, 1)
    >>> y, _ = RandomFlip("horizontal").apply({}, {}, images, key=jax.random.key(0), train=True)
    >>> print(y[:, 0, :, 0])
    [[ 3.  2.  1.  0.]
     [ 4.  5.  6.  7.]
     [11. 10.  9.  8.]]
    """
    vertical, horizontal = lookup("mode of RandomFlip", mode, _MODES, or_else="")

    def change(x: Array, shares: Array) -> Array:
        for axis, chosen in ((1, vertical), (2, horizontal)):
            if chosen:
                x = jnp.where(shares[:, axis - 1, None, None, None] < 0.5, jnp.flip(x, axis), x)
        return x

    return _random_layer("RandomFlip", name, 2, change)


@described
def RandomTranslation(
    height_factor: Factor,
    width_factor: Factor,
    fill_mode: str = "reflect",
    interpolation: str = "bilinear",
    *,
    fill_value: Scalar = 0.0,
    name: str = "random_translation",
) -> Layer:
    """Shift each image down and right by random parts of its height and width, in training.

    Args:
      height_factor, width_factor: a number f for shifts between -f and f, or a pair for shifts between its entries, as
        parts of the height or width in [-1, 1]; negative ones shift up and left.
      fill_mode, interpolation, fill_value: as in `affine_transform`; the default fill_mode is "reflect".
      name: base name in `Sequential`.

    Shapes: (batch, height, width, channels), unchanged. Dtypes and errors as in `RandomFlip`.
    """
    down = _ends("RandomTranslation", "height_factor (of the height)", height_factor, -1)
    right = _ends("RandomTranslation", "width_factor (of the width)", width_factor, -1)

    def matrix_of(shares: Array, height: int, width: int) -> Array:
        zero, one = jnp.zeros_like(shares[:, 0]), jnp.ones_like(shares[:, 0])
        dy, dx = height * _between(down, shares[:, 0]), width * _between(right, shares[:, 1])
        return _matrices(one, zero, -dy, zero, one, -dx)

    return _affine_layer("RandomTranslation", name, matrix_of, fill_mode, interpolation, fill_value)


@described
def RandomRotation(
    factor: Factor,
    fill_mode: str = "reflect",
    interpolation: str = "bilinear",
    *,
    fill_value: Scalar = 0.0,
    name: str = "random_rotation",
) -> Layer:
    """Rotate each image about its centre by a random angle, in training.

    Args:
      factor: a number f for angles between -f and f, or a pair for angles between its entries, as parts of a whole turn
        in [-1, 1]; positive ones turn counterclockwise. 0.1 means 36 degrees.
      fill_mode, interpolation, fill_value, name: as in `RandomTranslation`.

    Shapes: (batch, height, width, channels), unchanged. Dtypes and errors as in `RandomFlip`.
    """
    turn = _ends("RandomRotation", "factor (of a whole turn)", factor, -1)

    def matrix_of(shares: Array, height: int, width: int) -> Array:
        angle = 2 * np.pi * _between(turn, shares[:, 0])
        cos, sin, y, x = jnp.cos(angle), jnp.sin(angle), (height - 1) / 2, (width - 1) / 2
        return _matrices(cos, sin, y - cos * y - sin * x, -sin, cos, x + sin * y - cos * x)

    return _affine_layer("RandomRotation", name, matrix_of, fill_mode, interpolation, fill_value)


@described
def RandomZoom(
    height_factor: Factor,
    width_factor: Factor | None = None,
    fill_mode: str = "reflect",
    interpolation: str = "bilinear",
    *,
    fill_value: Scalar = 0.0,
    name: str = "random_zoom",
) -> Layer:
    """Zoom each image out (positive factors) or in (negative ones) about its centre, in training.

    Args:
      height_factor: a number f for factors between -f and f, or a pair for factors between its entries, in (-1, 1]. The
        image shows ``1 + factor`` times its height.
      width_factor: the same for the width; by default, the factor drawn for the height, which keeps proportions.
      fill_mode, interpolation, fill_value, name: as in `RandomTranslation`.

    Shapes: (batch, height, width, channels), unchanged. Dtypes and errors as in `RandomFlip`.
    """
    tall = _ends("RandomZoom", "height_factor", height_factor, -1, open_low=True)
    wide = None if width_factor is None else _ends("RandomZoom", "width_factor", width_factor, -1, open_low=True)

    def matrix_of(shares: Array, height: int, width: int) -> Array:
        zero = jnp.zeros_like(shares[:, 0])
        y = _between(tall, shares[:, 0])
        x = y if wide is None else _between(wide, shares[:, 1])
        return _matrices(1 + y, zero, -y * ((height - 1) / 2), zero, 1 + x, -x * ((width - 1) / 2))

    return _affine_layer("RandomZoom", name, matrix_of, fill_mode, interpolation, fill_value)


@described
def RandomContrast(factor: Factor, value_range: Sequence[float] = (0, 255), *, name: str = "random_contrast") -> Layer:
    """Scale each image's distance from its mean, ``y = mean + c (x - mean)``, by a random c in training.

    Args:
      factor: a number f for c between 1 - f and 1 + f, or a pair (f, g) for c between 1 - f and 1 + g, in [0, 1]. (For
        a number, Keras draws between 1 and 1 + f, against its own documentation.)
      value_range: the range of the pixels, to which the result is clipped; write ``(0, 1)`` for scaled images.
      name: base name in `Sequential`.

    The mean is that of each channel. Shapes: (batch, height, width, channels), unchanged. Dtypes and errors as in
    `RandomFlip`.
    """
    given = factor if isinstance(factor, (tuple, list)) else (factor, factor)
    less, more = _ends("RandomContrast", "factor", given, 0)
    low, high = _value_range("RandomContrast", value_range)

    def change(x: Array, shares: Array) -> Array:
        wide = x.astype(shares.dtype)
        contrast = _between((1 - less, 1 + more), shares[:, 0])[:, None, None, None]
        mean = jnp.mean(wide, axis=(1, 2), keepdims=True)
        return jnp.clip(mean + contrast * (wide - mean), low, high).astype(x.dtype)

    return _random_layer("RandomContrast", name, 1, change)


@described
def RandomBrightness(
    factor: Factor, value_range: Sequence[float] = (0, 255), *, name: str = "random_brightness"
) -> Layer:
    """Add a random part of the range of values to each image, in training.

    Args:
      factor: a number f for parts between -f and f, or a pair for parts between its entries, in [-1, 1].
      value_range, name: as in `RandomContrast`.

    Shapes: (batch, height, width, channels), unchanged. Dtypes and errors as in `RandomFlip`.
    """
    ends = _ends("RandomBrightness", "factor", factor, -1)
    low, high = _value_range("RandomBrightness", value_range)

    def change(x: Array, shares: Array) -> Array:
        added = (high - low) * _between(ends, shares[:, 0])
        return jnp.clip(x.astype(shares.dtype) + added[:, None, None, None], low, high).astype(x.dtype)

    return _random_layer("RandomBrightness", name, 1, change)


def _value_range(kind: str, value_range: Sequence[float]) -> tuple[float, float]:
    if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
        fail(kind, expected="value_range (low, high), such as (0, 255)", got=in_words(value_range))
    for end in value_range:
        check_range(kind, "each end of value_range", end)
    low, high = map(float, value_range)
    if low >= high:
        fail(kind, expected="value_range (low, high) with low < high", got=in_words(value_range))
    return low, high


@described
def RandomCrop(height: int, width: int, *, name: str = "random_crop") -> Layer:
    """Cut a window from each image, at a random place in training and at the centre outside it.

    Args:
      height, width: size of the window, at most that of the image.
      name: base name in `Sequential`.

    Shapes: (batch, *size, channels) to (batch, height, width, channels). Dtypes and errors as in `RandomFlip`, and for
    an image smaller than the window. (Keras cuts a whole batch at one place, and resizes smaller images.)
    """
    check_count("RandomCrop", "height", height)
    check_count("RandomCrop", "width", width)

    def change(x: Array, shares: Array) -> Array:
        free = _free(name, x, height, width)
        top, left = (jnp.floor(shares[:, i] * (n + 1)).astype(jnp.int32) for i, n in enumerate(free))

        def cut(image: Array, top: Array, left: Array) -> Array:
            return jax.lax.dynamic_slice(image, (top, left, jnp.int32(0)), (height, width, image.shape[-1]))

        return jax.vmap(cut)(x, top, left)

    def centre(x: Array) -> Array:
        top, left = (n // 2 for n in _free(name, x, height, width))
        return x[:, top : top + height, left : left + width]

    return _random_layer("RandomCrop", name, 2, change, otherwise=centre)


def _free(where: str, x: Array, height: int, width: int) -> tuple[int, int]:
    """The rows and columns of an image beyond those of the window."""
    if x.shape[1] < height or x.shape[2] < width:
        fail(where, expected=f"images of at least {height} x {width} pixels", got=describe(x))
    return x.shape[1] - height, x.shape[2] - width
