"""Toy data sets in the plane, as in the TensorFlow Playground: pure functions of a key.

Each takes ``(key, size=500, noise=0.0)``; ``size`` is static and ``noise`` may be traced, so that data can be drawn
inside `jax.jit`, and many sets at once with `jax.vmap`. The playground's noise slider from 0 to 50 is a ``noise`` from
0 to 0.5 here. Except in `gaussians` and `spiral`, noise does not move the point itself: the label is computed at a
displaced position, so a point may carry the label of a place nearby. Rows are shuffled, so a slice is a random sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._core.checks import check_count, check_key, check_range
from .._core.typed import jit, wraps
from .._core.types import Array
from .datasets import Dataset

D = TypeVar("D", bound=Callable[..., Dataset])
_FEATURES = ("x1", "x2")


def _checked(draw: D) -> D:
    """Check the arguments, then call the compiled function; an eager call would run many small programs."""
    compiled = jit(draw, static_argnums=1)

    @wraps(draw)
    def checked(key: Array, size: int = 500, noise: ArrayLike = 0.0) -> Dataset:
        check_key(draw.__name__, key)
        check_count(draw.__name__, "size", size, 2)
        check_range(draw.__name__, "noise", noise, 0, 0.5)
        return compiled(key, int(size), jnp.asarray(noise, jnp.float32))

    return checked


def _uniform(key: Array, count: int, size: int) -> Array:
    """Uniform numbers in [0, 1), (count, size); drawn flat, since XLA compiles multidimensional draws slowly."""
    return jax.random.uniform(key, (count * size,), jnp.float32).reshape(count, size)


def _square(u: Array, radius: float) -> Array:
    """Points in the square [-radius, radius)^2, from two rows of `_uniform`."""
    return radius * (2 * u.T - 1)


def _on_circles(radius: Array, angle: Array) -> Array:
    return radius[:, None] * jnp.stack([jnp.sin(angle), jnp.cos(angle)], 1)


def _first_half(size: int) -> Array:
    """Mask of the first half of the rows, which has one more if their number is odd."""
    return jnp.arange(size) < size - size // 2


def _shuffled(u: Array, x: Array, y: Array, classes: tuple[str, str]) -> Dataset:
    order = jnp.argsort(u)
    return Dataset(x[order], y[order].astype(jnp.int32), _FEATURES, classes)


@_checked
def circles(key: Array, size: int = 500, noise: ArrayLike = 0.0) -> Dataset:
    """A disc inside a ring, which no straight line separates.

    The radius of half of the points is uniform in [0, 2.5), that of the other half in [3.5, 5); the angle is uniform.
    The class is 1 where ``|x + noise * u| < 2.5``, with ``u`` uniform in the square [-5, 5)^2.

    Args:
      key: a PRNG key.
      size: number of points, at least 2.
      noise: in [0, 0.5].

    Returns:
      `Dataset` with ``x`` (size, 2) float32 and ``y`` (size,) int32: 0 for the ring, 1 for the disc.

    Raises:
      InputError: for a size below 2, or a noise outside [0, 0.5].

    >>> data = circles(jax.random.key(0), 200)
    >>> data.x.shape, data.y.sum().item(), data.classes
    ((200, 2), 100, ('ring', 'disc'))
    """
    u = _uniform(key, 5, size)
    radius = jnp.where(_first_half(size), 2.5 * u[0], 3.5 + 1.5 * u[0])
    x = _on_circles(radius, 2 * jnp.pi * u[1])
    moved = x + noise * _square(u[2:4], 5)
    return _shuffled(u[4], x, jnp.hypot(*moved.T) < 2.5, ("ring", "disc"))


@_checked
def xor(key: Array, size: int = 500, noise: ArrayLike = 0.0) -> Dataset:
    """Four squares with opposite ones in the same class: the exclusive or of the signs, which no single unit computes.

    Points are uniform in the square [-5, 5)^2, then moved away from both axes by 0.3. With ``(a, b) = x + noise * u``
    and ``u`` uniform in [-5, 5)^2, the class is 1 where ``a b >= 0``.

    Args:
      key, size, noise: as in `circles`.

    Returns:
      `Dataset` with ``x`` (size, 2) float32 and ``y`` (size,) int32: 1 for equal signs, else 0; class sizes are random.

    Raises:
      InputError: as in `circles`.

    >>> x, y, *_ = xor(jax.random.key(0), 100)
    >>> bool(((x[:, 0] * x[:, 1] > 0) == y).all())
    True
    """
    u = _uniform(key, 4, size)
    x = _square(u[:2], 5)
    x = x + jnp.where(x > 0, 0.3, -0.3).astype(x.dtype)
    a, b = (x + noise * _square(u[2:], 5)).T
    return Dataset(x, (a * b >= 0).astype(jnp.int32), _FEATURES, ("different signs", "same sign"))


@_checked
def gaussians(key: Array, size: int = 500, noise: ArrayLike = 0.0) -> Dataset:
    """Two Gaussian clouds that a straight line separates, or nearly so.

    Half of the points are normal around (2, 2), half around (-2, -2), with variance ``0.5 + 7 noise`` on each axis.

    Args:
      key, size, noise: as in `circles`.

    Returns:
      `Dataset` with ``x`` (size, 2) float32 and ``y`` (size,) int32: 1 for the cloud around (2, 2), 0 for the other.

    Raises:
      InputError: as in `circles`.

    >>> x, y, *_ = gaussians(jax.random.key(0), 1000)
    >>> x[y == 1].mean().round().item(), x[y == 0].mean().round().item()
    (2.0, -2.0)
    """
    place, order = jax.random.split(key)
    first = _first_half(size)
    centre = jnp.where(first, 2.0, -2.0).astype(jnp.float32)[:, None]
    x = centre + jnp.sqrt(0.5 + 7 * noise) * jax.random.normal(place, (2 * size,), jnp.float32).reshape(size, 2)
    return _shuffled(_uniform(order, 1, size)[0], x, first, ("around (-2, -2)", "around (2, 2)"))


@_checked
def spiral(key: Array, size: int = 500, noise: ArrayLike = 0.0) -> Dataset:
    """Two spiral arms of 1.75 turns each: the hardest of the four classification sets.

    Point ``i`` of ``m`` on an arm has radius ``5 i / m`` and angle ``1.75 * 2 pi i / m``, plus pi in class 0. It is at
    ``radius * (sin angle, cos angle) + noise * u``, ``u`` uniform in [-1, 1)^2. Without noise only the order is random.

    Args:
      key, noise: as in `circles`.
      size: number of points, at least 2; if odd, class 1 has one more.

    Returns:
      `Dataset` with ``x`` (size, 2) float32 and ``y`` (size,) int32, the number of the arm.

    Raises:
      InputError: as in `circles`.

    >>> data = spiral(jax.random.key(0), 200, noise=0.1)
    >>> data.x.shape, data.y.sum().item(), data.classes
    ((200, 2), 100, ('arm 0', 'arm 1'))
    """
    u = _uniform(key, 3, size)
    first = _first_half(size)
    along = jnp.concatenate([jnp.arange(m, dtype=jnp.float32) / m for m in (size - size // 2, size // 2)])
    angle = 2 * jnp.pi * 1.75 * along + jnp.where(first, 0.0, jnp.pi).astype(jnp.float32)
    x = _on_circles(5 * along, angle) + noise * _square(u[:2], 1)
    return _shuffled(u[2], x, first, ("arm 0", "arm 1"))


@_checked
def plane(key: Array, size: int = 500, noise: ArrayLike = 0.0) -> Dataset:
    """Regression of a plane, ``y = (a + b) / 10``, which a single linear unit can learn.

    Points ``x`` are uniform in the square [-6, 6)^2; ``(a, b) = x + noise * u`` with ``u`` uniform in the same square.

    Args:
      key, size, noise: as in `circles`.

    Returns:
      `Dataset` with ``x`` (size, 2) and ``y`` (size, 1), both float32. As in the playground, most ``y`` are in [-1, 1],
      but they reach 1.2 in magnitude at the corners, and 1.8 with full noise.

    Raises:
      InputError: as in `circles`.

    >>> x, y, *_ = plane(jax.random.key(0), 4)
    >>> bool(abs(x.sum(1, keepdims=True) / 10 - y).max() < 1e-6)
    True
    """
    u = _uniform(key, 4, size)
    x = _square(u[:2], 6)
    return Dataset(x, (x + noise * _square(u[2:], 6)).sum(1, keepdims=True) / 10, _FEATURES, ())


@_checked
def multi_gaussian(key: Array, size: int = 500, noise: ArrayLike = 0.0) -> Dataset:
    """Regression of three hills and three hollows in a flat surface.

    Points ``x`` are uniform in the square [-6, 6)^2. With ``p = x + noise * u`` and ``u`` uniform in the same square,
    ``y = sum_k s_k max(0, 1 - |p - c_k| / 2)``: hills (``s = 1``) at (-4, 2.5), (4, 2.5) and (0, -2.5), hollows
    (``s = -1``) at (0, 2.5), (-4, -2.5) and (4, -2.5). Each is a cone, although the playground calls it a Gaussian.

    Args:
      key, size, noise: as in `circles`.

    Returns:
      `Dataset` with ``x`` (size, 2) float32 and ``y`` (size, 1) float32 in [-1, 1].

    Raises:
      InputError: as in `circles`.

    >>> data = multi_gaussian(jax.random.key(0), 1000)
    >>> data.y.shape, bool(data.y.max() > 0.9), bool(data.y.min() < -0.9)
    ((1000, 1), True, True)
    """
    u = _uniform(key, 4, size)
    x = _square(u[:2], 6)
    moved = x + noise * _square(u[2:], 6)
    centres = jnp.asarray([(a, b) for b in (2.5, -2.5) for a in (-4, 0, 4)], jnp.float32)
    signs = jnp.asarray([1, -1, 1, -1, 1, -1], jnp.float32)  # a hill or a hollow
    distance = jnp.linalg.norm(moved[:, None] - centres[None], axis=-1)
    # The playground takes the value of largest magnitude; no two cones overlap, so the sum equals it.
    y = (signs[None] * jnp.maximum(0, 1 - distance / 2)).sum(1, keepdims=True)
    return Dataset(x, y, _FEATURES, ())
