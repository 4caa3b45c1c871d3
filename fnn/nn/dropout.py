"""Dropout, with an explicit key."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from .._core.checks import check_float, check_key, check_range, is_concrete
from .._core.described import described
from .._core.dtypes import at_least_float32
from .._core.errors import fail
from .._core.random import bernoulli
from .._core.types import Array, Key, Params, PyTree, Scalar, State
from .layer import Layer, Output
from .masks import over_steps, sequence_of


def dropout(key: Key, x: Array, rate: Scalar) -> Array:
    """Zero each element with probability ``rate`` and scale the others by ``1 / (1 - rate)``.

    Srivastava et al. 2014; the scaling keeps the expectation of every element (inverted dropout).

    Args:
      key: a PRNG key.
      x: (...), of a floating-point dtype.
      rate: the fraction dropped, in [0, 1]; may be traced. Other rates and other dtypes of ``x`` are refused.

    Returns:
      (...).

    >>> import jax, jax.numpy as jnp
    >>> print(dropout(jax.random.key(0), jnp.ones(4), 0.0))
    [1. 1. 1. 1.]
    """
    check_key("dropout", key)
    check_range("dropout", "rate", rate, 0, 1)
    check_float("dropout", x)
    if is_concrete(rate) and np.ndim(rate) == 0 and float(rate) == 0:
        return x
    keep = 1 - jnp.asarray(rate, at_least_float32(x.dtype))
    # Rate 1 keeps nothing; the guard keeps the scale and its gradient finite there.
    scale = 1 / jnp.where(keep > 0, keep, jnp.ones_like(keep))
    return jnp.where(bernoulli(key, keep, x.shape), (x.astype(scale.dtype) * scale).astype(x.dtype), jnp.zeros_like(x))


@described
def Dropout(rate: Scalar, *, name: str = "dropout") -> Layer:
    """Dropout in training, the identity otherwise; see `dropout`.

    Args:
      rate: the fraction dropped, in [0, 1]; may be traced, so that it can be swept under ``vmap``.

    Raises:
      InputError: for a rate outside [0, 1]; when applied to other than one array or a `Masked`, or without a key in
        training.
    """
    check_range("Dropout", "rate", rate, 0, 1)

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        sequence_of("Dropout", x)  # refuses the same inputs outside training
        if not train:
            return x, state
        if key is None:
            fail("dropout", expected="a key in training", got="key=None", hint="Call apply(..., key=key, train=True).")
        return over_steps("Dropout", partial(dropout, key, rate=rate), x), state

    return Layer(lambda key, x: ({}, {}), apply, name, "Dropout", per_example=True)
