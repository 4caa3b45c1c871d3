"""Normalization: BatchNorm with its running statistics as explicit state, and LayerNorm."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from .._core.checks import check_float, check_range, check_same_dtype, leaf
from .._core.described import described
from .._core.dtypes import at_least_float32, lift, widest
from .._core.errors import describe, fail
from .._core.types import Array
from .initializers import Initializer, get_initializer
from .layer import Layer, param_dtype, parametric, shape_of
from .masks import Masked, kept, over_steps, sequence_of


def _affine(params: dict[str, Array], where: str, x: Array) -> tuple[Array | None, Array | None]:
    """gamma and beta, where used, after a check against the last axis of x."""
    for name in ("gamma", "beta"):
        if name in params and (x.ndim == 0 or params[name].shape != x.shape[-1:]):
            fail(where, expected=f"x of shape (batch, ..., {params[name].shape[-1]}) for its {name}", got=describe(x))
    if "gamma" in params or "beta" in params:
        name = "gamma" if "gamma" in params else "beta"
        check_same_dtype(where, x, params[name], name)
    return params.get("gamma"), params.get("beta")


def _check_features(where: str, x: Any) -> None:
    if len(x.shape) < 2:
        fail(where, expected="x of shape (batch, ..., features)", got=describe(x))


def _moments(x: Array, axes: tuple[int, ...], mask: Array | None = None) -> tuple[Array, Array]:
    """Mean and biased variance, computed in float32 at least and kept as size-1 axes, of the steps that count."""
    wide = x.astype(at_least_float32(x.dtype))
    if mask is not None:
        places = math.prod(x.shape[mask.ndim : -1])
        count = jnp.maximum(jnp.sum(mask, dtype=wide.dtype) * places, jnp.ones((), wide.dtype))
        mean = jnp.sum(kept(mask, wide), axes, keepdims=True) / count
        return mean, jnp.sum(kept(mask, jnp.square(kept(mask, wide) - mean)), axes, keepdims=True) / count
    mean = jnp.mean(wide, axes, keepdims=True)
    return mean, jnp.mean(jnp.square(wide - mean), axes, keepdims=True)


def _normalize(x: Array, mean: Array, variance: Array, epsilon: Any, gamma: Array | None, beta: Array | None) -> Array:
    wide = mean.dtype
    mean, scale = lift(mean, x), lift(jax.lax.rsqrt(variance + jnp.asarray(epsilon, wide)), x)
    if gamma is not None:
        scale = scale * lift(gamma.astype(wide), x)
    y = (x.astype(wide) - mean) * scale
    return (y if beta is None else y + lift(beta.astype(wide), x)).astype(x.dtype)


def batch_norm_init(
    features: int,
    *,
    center: bool = True,
    scale: bool = True,
    dtype: Any = jnp.float32,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Parameters ``gamma``, ``beta`` and statistics ``moving_mean``, ``moving_variance``, each (features,).

    The statistics are in float32 at least, whatever the dtype of the parameters: beside a running mean in bfloat16 the
    changes of further steps would be lost.
    """
    params = {"gamma": jnp.ones(features, dtype)} if scale else {}
    if center:
        params["beta"] = jnp.zeros(features, dtype)
    wide = at_least_float32(dtype)
    return params, {"moving_mean": jnp.zeros(features, wide), "moving_variance": jnp.ones(features, wide)}


def batch_norm(
    params: dict[str, Array],
    stats: dict[str, Array],
    x: Array,
    *,
    train: bool = False,
    momentum: Any = 0.99,
    epsilon: Any = 1e-3,
    mask: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` (Ioffe and Szegedy 2015, arXiv:1502.03167).

    In training, mean and biased variance are those of the batch over all axes but the last, and the running
    values move: ``moving = momentum * moving + (1 - momentum) * batch``. Otherwise the running values are used.
    PyTorch's momentum is one minus this one, and its running variance is the unbiased one.

    Args:
      params: ``gamma``, ``beta``, each (features,) and each optional.
      stats: ``moving_mean``, ``moving_variance``, each (features,); new ones are in float32 at least.
      x: (batch, ..., features).
      train: whether to use and record the statistics of this batch.
      momentum: share of the old running value that is kept.
      epsilon: added to the variance.
      mask: (batch, time) booleans; statistics are those of the steps where it is True. Default all.

    Returns:
      ``(y, stats)``: y of the shape of x, and the new running statistics.

    Raises:
      InputError: when the features or the dtype of ``x`` do not fit, or for a momentum or epsilon out of range.
    """
    check_range("batch_norm", "momentum", momentum, 0, 1)
    check_range("batch_norm", "epsilon", epsilon, 0)
    mean, variance = leaf("batch_norm", stats, "moving_mean"), leaf("batch_norm", stats, "moving_variance")
    check_float("batch_norm", x)
    if x.ndim < 2 or x.shape[-1:] != mean.shape:
        fail("batch_norm", expected=f"x of shape (batch, ..., {mean.shape[0]}) for its statistics", got=describe(x))
    gamma, beta = _affine(params, "batch_norm", x)
    if train:
        batch_mean, batch_variance = _moments(x, tuple(range(x.ndim - 1)), mask)

        def move(old: Array, new: Array) -> Array:
            wide = widest(old.dtype, new.dtype)
            keep = jnp.asarray(momentum, wide)
            moved: Array = keep * old.astype(wide) + (1 - keep) * new.reshape(-1).astype(wide)
            return moved.astype(at_least_float32(old.dtype))

        stats = {"moving_mean": move(mean, batch_mean), "moving_variance": move(variance, batch_variance)}
        return _normalize(x, batch_mean, batch_variance, epsilon, gamma, beta), stats
    wide = widest(x.dtype, mean.dtype)
    shape = (1,) * (x.ndim - 1) + mean.shape
    mean, variance = mean.astype(wide).reshape(shape), variance.astype(wide).reshape(shape)
    return _normalize(x, mean, variance, epsilon, gamma, beta), stats


@described
def BatchNorm(
    momentum: Any = 0.99,
    epsilon: Any = 1e-3,
    center: bool = True,
    scale: bool = True,
    *,
    dtype: Any = None,
    name: str = "batch_norm",
) -> Layer:
    """Batch normalization over all axes but the last; its state holds the running mean and variance.

    Args:
      momentum: share of the old running value kept at each training step, in [0, 1]. The default, Keras's, needs
        some 500 steps until the running values are right; with fewer use 0.9, or evaluation looks wrong.
      epsilon: added to the variance.
      center: whether to add ``beta``.
      scale: whether to multiply by ``gamma``.
      dtype: of the parameters; default that of ``x``. The running values are in float32 at least.
      name: base name in `Sequential`.

    Shapes: (batch, ..., features) to the same. See `batch_norm` for the equation. Of a `Masked` the statistics are
    those of the steps that the mask keeps, as in Keras.

    Raises:
      InputError: for a momentum outside [0, 1], a negative epsilon, or (when applied) another number of features.
    """
    check_range("BatchNorm", "momentum", momentum, 0, 1)
    check_range("BatchNorm", "epsilon", epsilon, 0)

    def init(key: Array, x: Any) -> tuple[Any, Any]:
        x = shape_of(sequence_of("BatchNorm", x)[0])
        _check_features("BatchNorm", x)
        return batch_norm_init(x.shape[-1], center=center, scale=scale, dtype=param_dtype(x, dtype))

    def apply(params: Any, state: Any, x: Any, *, key: Array | None = None, train: bool = False) -> Any:
        x, mask = sequence_of("BatchNorm", x)
        y, state = batch_norm(params, state, x, train=train, momentum=momentum, epsilon=epsilon, mask=mask)
        return (y if mask is None else Masked(y, mask)), state

    return Layer(init, apply, name, "BatchNorm")


def layer_norm_init(
    key: Array,
    features: int,
    *,
    center: bool = True,
    scale: bool = True,
    gamma_initializer: str | Initializer = "ones",
    beta_initializer: str | Initializer = "zeros",
    dtype: Any = jnp.float32,
) -> dict[str, Array]:
    """Parameters ``gamma`` and ``beta``, each (features,)."""
    gamma_key, beta_key = jax.random.split(key)
    params = {"gamma": get_initializer(gamma_initializer)(gamma_key, (features,), dtype)} if scale else {}
    if center:
        params["beta"] = get_initializer(beta_initializer)(beta_key, (features,), dtype)
    return params


def layer_norm(params: dict[str, Array], x: Array, *, epsilon: Any = 1e-3) -> Array:
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` over the last axis (Ba et al. 2016, arXiv:1607.06450).

    Args:
      params: ``gamma``, ``beta``, each (features,) and each optional.
      x: (..., features).
      epsilon: added to the biased variance; 1e-3 as in Keras (1e-5 in PyTorch, 1e-6 in Flax).

    Raises:
      InputError: when the features or the dtype of ``x`` do not fit, or for an epsilon out of range.
    """
    check_range("layer_norm", "epsilon", epsilon, 0)
    check_float("layer_norm", x)
    if x.ndim == 0:
        fail("layer_norm", expected="x of shape (..., features)", got=describe(x))
    gamma, beta = _affine(params, "layer_norm", x)
    mean, variance = _moments(x, (-1,))
    return _normalize(x, mean, variance, epsilon, gamma, beta)


@described
def LayerNorm(
    epsilon: Any = 1e-3,
    center: bool = True,
    scale: bool = True,
    *,
    dtype: Any = None,
    name: str = "layer_norm",
) -> Layer:
    """Layer normalization over the last axis; see `layer_norm` for the equation.

    Args:
      epsilon: added to the biased variance.
      center: whether to add ``beta``.
      scale: whether to multiply by ``gamma``.
      dtype: of the parameters; default that of ``x``.
      name: base name in `Sequential`.

    Shapes: (batch, ..., features) to the same.

    Raises:
      InputError: for a negative epsilon, or (when applied) another number of features.
    """
    check_range("LayerNorm", "epsilon", epsilon, 0)

    def init(key: Array, x: Any) -> dict[str, Array]:
        _check_features("LayerNorm", x)
        return layer_norm_init(key, x.shape[-1], center=center, scale=scale, dtype=param_dtype(x, dtype))

    return parametric(
        init,
        lambda params, x: over_steps("LayerNorm", lambda values: layer_norm(params, values, epsilon=epsilon), x),
        name,
        "LayerNorm",
        masked=True,
    )
