"""Positions of steps: learned and sinusoidal vectors that are added, and rotations of queries and keys."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import check_count, check_float, check_range, check_same_dtype, leaf
from .._core.described import described
from .._core.dtypes import at_least_float32, spread
from .._core.errors import counted, describe, fail
from .._core.trees import shape_of
from .._core.types import Array, ArrayLike, ArraySpec, DType, Key, Params, PyTree, Scalar, State
from .cache import Position, cache_request, check_called_once, steps_from
from .embedding import take_rows
from .initializers import Initializer, get_initializer
from .layer import Layer, Output, param_dtype
from .masks import SEQUENCE_HINT, over_steps, sequence_of


def sinusoidal_positions(
    positions: ArrayLike, features: int, *, max_wavelength: Scalar = 10_000.0, dtype: DType = jnp.float32
) -> Array:
    """``y[2i] = sin(p w_i)``, ``y[2i + 1] = cos(p w_i)``, ``w_i = max_wavelength^(-2i / features)`` for position p.

    Vaswani et al. 2017, arXiv:1706.03762.

    Args:
      positions: (...) integers.
      features: length of the vectors, at least 1.
      max_wavelength: the longest wavelength, divided by 2 pi; above 0.
      dtype: of the result; default float32.

    Returns:
      (..., features).

    >>> sinusoidal_positions([0, 1, 2], 4).shape, round(float(sinusoidal_positions(1, 4)[0]), 3)  # the sine of 1
    ((3, 4), 0.841)
    """
    check_count("sinusoidal_positions", "features", features)
    angles = _angles("sinusoidal_positions", positions, features, max_wavelength, at_least_float32(dtype))
    pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return pairs.reshape(*angles.shape[:-1], -1)[..., :features].astype(dtype)


def rotary(x: Array, positions: ArrayLike | None = None, *, max_wavelength: Scalar = 10_000.0) -> Array:
    """Rotate each pair of features by an angle that grows with the position p (Su et al. 2021, arXiv:2104.09864).

    ``y_i = x_i cos(p w_i) - x_j sin(p w_i)``, ``y_j = x_j cos(p w_i) + x_i sin(p w_i)``,
    ``w_i = max_wavelength^(-2i / size)``, ``j = i + size / 2``. The product of a rotated query and a rotated key then
    depends on their distance alone. Pairs of neighbours, as in the paper, are the same up to the order of features.

    Args:
      x: (batch, time, heads, size), of an even size.
      positions: (time,) or (batch, time) integers; default from 0 to time - 1.
      max_wavelength: the longest wavelength, divided by 2 pi; above 0.

    Returns:
      (batch, time, heads, size).

    >>> import jax.numpy as jnp
    >>> print(rotary(jnp.ones((1, 2, 1, 2)))[0, 0, 0])  # nothing is rotated at position 0
    [1. 1.]
    """
    check_float("rotary", x)
    if x.ndim != 4 or x.shape[-1] % 2 or not x.shape[-1]:
        fail("rotary", expected="x of shape (batch, time, heads, size) with an even size", got=describe(x))
    if positions is None:
        positions = np.arange(x.shape[1], dtype=np.int32)
    wide = at_least_float32(x.dtype)
    angles = _angles("rotary", positions, x.shape[-1], max_wavelength, wide)
    if angles.shape[:-1] not in (x.shape[1:2], x.shape[:2]):
        expected = f"positions of shape (time,) or (batch, time) for x {describe(x)}"
        fail("rotary", expected=expected, got=str(angles.shape[:-1]))
    angles = jnp.expand_dims(angles, -2 if angles.ndim == 3 else (0, -2))
    sin, cos = jnp.sin(angles), jnp.cos(angles)
    first, second = jnp.split(x.astype(wide), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def _angles(where: str, positions: ArrayLike, features: int, max_wavelength: Scalar, dtype: DType) -> Array:
    """``p max_wavelength^(-2i / features)`` for each position and each pair of features."""
    check_range(where, "max_wavelength", max_wavelength, 0, open_low=True)
    numbers = jnp.asarray(as_array(f"{where}, positions", positions))
    if not jnp.issubdtype(numbers.dtype, jnp.integer):
        fail(where, expected="integer positions", got=describe(numbers))
    exponents = -2 * np.arange((features + 1) // 2) / features
    speeds = jnp.asarray(max_wavelength, dtype) ** jnp.asarray(exponents, dtype)
    return numbers.astype(dtype)[..., None] * speeds.reshape((1,) * numbers.ndim + speeds.shape)


def _check_steps(where: str, x: ArraySpec) -> None:
    if len(x.shape) != 3:
        fail(where, expected="x of shape (batch, time, features)", got=describe(x), hint=SEQUENCE_HINT)


def _first_position() -> State:
    return {} if cache_request() is None else {"position": Position(jnp.zeros((), jnp.int32))}


def _next_position(where: str, state: State, x: PyTree) -> tuple[Array | np.ndarray, State]:
    """The positions of the steps of ``x``, and the state after them."""
    values, _ = sequence_of(where, x)
    _check_steps(where, values)
    steps, position = values.shape[1], state.get("position")
    if position is None:
        return steps_from(None, steps), state
    check_called_once(where)
    return steps_from(position.value, steps), {"position": Position(position.value + steps)}


@described
def PositionEmbedding(
    length: int,
    embeddings_initializer: str | Initializer = "glorot_uniform",
    *,
    dtype: DType | None = None,
    name: str = "position_embedding",
) -> Layer:
    """Add a learned vector for each position, ``y[:, p] = x[:, p] + embeddings[p]`` (Gehring et al. 2017).

    Args:
      length: number of positions; longer sequences are refused.
      embeddings_initializer: a name or a function ``(key, shape, dtype) -> array``; the default is KerasHub's.
      dtype: of the vectors; default that of ``x``.

    Shapes: (batch, time, features), unchanged; a `Masked` keeps its mask, and padding counts as a position. With a
    cache (`with_cache`), positions go on from those read before.

    Raises:
      InputError: for a length below 1, sequences or caches longer than it, and another rank or dtype of ``x``.

    >>> import jax, jax.numpy as jnp
    >>> params, _ = PositionEmbedding(100).init(jax.random.key(0), jnp.ones((2, 5, 8)))
    >>> params["embeddings"].shape
    (100, 8)
    """
    where = "PositionEmbedding"
    check_count(where, "length", length)
    initializer = get_initializer(embeddings_initializer)

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        x = shape_of(sequence_of(where, x)[0])
        _check_steps(where, x)
        if (request := cache_request()) is not None and request.length > length:
            expected = f"a cache of at most {counted(length, 'step')}, its length"
            fail(where, expected=expected, got=str(request.length), hint="Make it longer, or read less.")
        return {"embeddings": initializer(key, (length, x.shape[-1]), param_dtype(x, dtype))}, _first_position()

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        table = leaf(where, params, "embeddings")
        positions, state = _next_position(where, state, x)
        if len(positions) > len(table):
            expected = f"at most {counted(len(table), 'step')}, its length"
            fail(where, expected=expected, got=counted(len(positions), "step"))

        def add(x: Array) -> Array:
            check_same_dtype(where, x, table, "embeddings")
            if x.shape[-1] != table.shape[-1]:
                fail(where, expected=f"x of width {table.shape[-1]}, that of its embeddings", got=describe(x))
            rows = table[: len(positions)] if isinstance(positions, np.ndarray) else take_rows(table, positions)
            return x + spread(rows, x)

        return over_steps(where, add, x), state

    return Layer(init, apply, name, where, per_example=True)


@described
def SinusoidalPositions(max_wavelength: Scalar = 10_000.0, *, name: str = "sinusoidal_positions") -> Layer:
    """Add sines and cosines of the position, ``y[:, p] = x[:, p] + sinusoidal_positions(p)``.

    Args:
      max_wavelength: as in `sinusoidal_positions`.

    Shapes: (batch, time, features), unchanged; a `Masked` keeps its mask, and padding counts as a position. With a
    cache (`with_cache`), positions go on from those read before. Other ranks and dtypes raise `InputError`.

    >>> import jax.numpy as jnp
    >>> print(SinusoidalPositions().apply({}, {}, jnp.zeros((2, 1, 4)))[0][0])
    [[0. 1. 0. 1.]]
    """
    where = "SinusoidalPositions"
    check_range(where, "max_wavelength", max_wavelength, 0, open_low=True)
    vectors = partial(sinusoidal_positions, max_wavelength=max_wavelength)

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        _check_steps(where, sequence_of(where, x)[0])
        return {}, _first_position()

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        positions, state = _next_position(where, state, x)

        def add(x: Array) -> Array:
            check_float(where, x)
            return x + vectors(positions, x.shape[-1], dtype=x.dtype)[None]

        return over_steps(where, add, x), state

    return Layer(init, apply, name, where, per_example=True)
