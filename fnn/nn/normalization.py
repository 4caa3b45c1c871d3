"""Normalization: BatchNorm with its running statistics as explicit state, LayerNorm, RMSNorm and GroupNorm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Unpack

import jax
import jax.numpy as jnp

from .._core.checks import check_count, check_float, check_range, check_same_dtype, leaf
from .._core.described import described
from .._core.dtypes import at_least_float32, lift, widest
from .._core.errors import describe, fail
from .._core.flags import flagged
from .._core.trees import shape_of
from .._core.types import Array, ArraySpec, DType, Key, Params, PyTree, Scalar, State
from .initializers import Initializer
from .layer import Layer, Output, initialize, param_dtype, parametric
from .masks import Masked, kept, sequence_of
from .regularized import RMSOptions, ScaleOptions, regularized


@flagged
def batch_norm_init(
    features: int, *, center: bool = True, scale: bool = True, dtype: DType = jnp.float32
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Parameters ``gamma``, ``beta`` (features,) and statistics ``moving_mean``, ``moving_variance`` (features,).

    The statistics are float32 at least: in bfloat16, small updates of the running mean would be rounded away.
    """
    params = {"gamma": jnp.ones(features, dtype)} if scale else {}
    if center:
        params["beta"] = jnp.zeros(features, dtype)
    wide = at_least_float32(dtype)
    return params, {"moving_mean": jnp.zeros(features, wide), "moving_variance": jnp.ones(features, wide)}


@flagged
def batch_norm(
    params: Mapping[str, Array],
    stats: Mapping[str, Array],
    x: Array,
    *,
    train: bool = False,
    momentum: Scalar = 0.99,
    epsilon: Scalar = 1e-3,
    mask: Array | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` (Ioffe and Szegedy 2015, arXiv:1502.03167).

    In training, mean and biased variance are taken over all axes of the batch but the last, and the running values are
    updated: ``moving = momentum * moving + (1 - momentum) * batch``. Otherwise the running values are used. PyTorch's
    momentum is one minus this one, and its running variance is unbiased.

    Args:
      params, stats: from `batch_norm_init`; ``gamma`` and ``beta`` are optional.
      x: (batch, ..., features).
      train: whether to use and record the statistics of this batch.
      momentum: weight of the old running value.
      epsilon: added to the variance.
      mask: (batch, time) booleans; only steps where it is True count in the statistics. Default all.

    Returns:
      (batch, ..., features), and the new statistics ``moving_mean``, ``moving_variance`` (features,), float32 at least.

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
        m, v = _moments(x, tuple(range(x.ndim - 1)), mask)
        stats = {"moving_mean": _moving(mean, m, momentum), "moving_variance": _moving(variance, v, momentum)}
        return _normalize(x, m, v, epsilon, gamma, beta), stats
    wide = widest(x.dtype, mean.dtype)
    shape = (1,) * (x.ndim - 1) + mean.shape
    mean, variance = mean.astype(wide).reshape(shape), variance.astype(wide).reshape(shape)
    return _normalize(x, mean, variance, epsilon, gamma, beta), stats


@flagged
def layer_norm_init(
    key: Key,
    features: int,
    *,
    center: bool = True,
    scale: bool = True,
    gamma_initializer: str | Initializer = "ones",
    beta_initializer: str | Initializer = "zeros",
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters ``gamma`` and ``beta``, each (features,)."""
    gamma = (gamma_initializer, (features,)) if scale else None
    return initialize(key, dtype, gamma=gamma, beta=(beta_initializer, (features,)) if center else None)


def layer_norm(params: Mapping[str, Array], x: Array, *, epsilon: Scalar = 1e-3) -> Array:
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` over the last axis (Ba et al. 2016, arXiv:1607.06450).

    Args:
      params: from `layer_norm_init`; ``gamma`` and ``beta`` are optional. Errors as in `batch_norm`.
      x: (..., features).
      epsilon: added to the biased variance; 1e-3 as in Keras (1e-5 in PyTorch, 1e-6 in Flax).

    Returns:
      (..., features).
    """
    check_range("layer_norm", "epsilon", epsilon, 0)
    check_float("layer_norm", x)
    if x.ndim == 0:
        fail("layer_norm", expected="x of shape (..., features)", got=describe(x))
    gamma, beta = _affine(params, "layer_norm", x)
    mean, variance = _moments(x, (-1,))
    return _normalize(x, mean, variance, epsilon, gamma, beta)


def rms_norm_init(
    key: Key, features: int, *, scale_initializer: str | Initializer = "ones", dtype: DType = jnp.float32
) -> dict[str, Array]:
    """The parameter ``scale`` (features,)."""
    return initialize(key, dtype, scale=(scale_initializer, (features,)))


def rms_norm(params: Mapping[str, Array], x: Array, *, epsilon: Scalar = 1e-6) -> Array:
    """``y = scale x / sqrt(mean(x^2) + epsilon)`` over the last axis (Zhang and Sennrich 2019, arXiv:1910.07467).

    Args:
      params: ``scale`` from `rms_norm_init`. Errors as in `batch_norm`.
      x: (..., features).
      epsilon: added to the mean square; 1e-6 as in Keras (the machine epsilon in PyTorch).

    Returns:
      (..., features).
    """
    check_range("rms_norm", "epsilon", epsilon, 0)
    scale: Array = leaf("rms_norm", params, "scale")
    check_same_dtype("rms_norm", x, scale, "scale")
    if x.shape[-1:] != scale.shape:
        fail("rms_norm", expected=f"x of shape (batch, ..., {scale.shape[0]}) for its scale", got=describe(x))
    wide = x.astype(at_least_float32(x.dtype))
    size = jax.lax.rsqrt(jnp.mean(jnp.square(wide), -1, keepdims=True) + jnp.asarray(epsilon, wide.dtype))
    return (wide * size * lift(scale.astype(wide.dtype), x)).astype(x.dtype)


def group_norm(params: Mapping[str, Array], x: Array, groups: int = 32, *, epsilon: Scalar = 1e-3) -> Array:
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` by example and group of features.

    Mean and biased variance of an example are taken over all axes between the first and the last, and over each of
    ``groups`` runs of neighbouring features (Wu and He 2018, arXiv:1803.08494).

    Args:
      params: from `layer_norm_init`; ``gamma`` and ``beta`` are optional. Errors as in `batch_norm`.
      x: (batch, ..., features).
      groups: number of groups, a divisor of ``features``; -1 for one per feature (instance normalization).
      epsilon: added to the variance; 1e-3 as in Keras (1e-5 in PyTorch).

    Returns:
      (batch, ..., features).
    """
    check_range("group_norm", "epsilon", epsilon, 0)
    check_float("group_norm", x)
    groups = _groups("group_norm", x, groups)
    gamma, beta = _affine(params, "group_norm", x)
    apart = jnp.reshape(x, (*x.shape[:-1], groups, -1))
    axes = (*range(1, x.ndim - 1), x.ndim)
    # One number for each feature, as `_normalize` needs.
    mean, variance = (jnp.repeat(a[..., 0], x.shape[-1] // groups, -1) for a in _moments(apart, axes))
    return _normalize(x, mean, variance, epsilon, gamma, beta)


def _groups(where: str, x: ArraySpec, groups: int) -> int:
    """The number of groups, with -1 replaced; one that does not divide the features is refused."""
    features = _features(where, x)
    count = features if groups == -1 else groups
    check_count(where, "groups", count)
    if features % count:
        hint = "Pass groups=..., or -1 for one per feature."
        fail(where, expected=f"a number of groups that divides the {features} features", got=str(groups), hint=hint)
    return count


def _affine(params: Mapping[str, Array], where: str, x: Array) -> tuple[Array | None, Array | None]:
    for name in ("gamma", "beta"):
        if name in params and (x.ndim == 0 or params[name].shape != x.shape[-1:]):
            fail(where, expected=f"x of shape (batch, ..., {params[name].shape[-1]}) for its {name}", got=describe(x))
    if "gamma" in params or "beta" in params:
        name = "gamma" if "gamma" in params else "beta"
        check_same_dtype(where, x, params[name], name)
    return params.get("gamma"), params.get("beta")


def _features(where: str, x: ArraySpec) -> int:
    if len(x.shape) < 2:
        fail(where, expected="x of shape (batch, ..., features)", got=describe(x))
    return x.shape[-1]


def _moments(x: Array, axes: tuple[int, ...], mask: Array | None = None) -> tuple[Array, Array]:
    """Mean and biased variance over the steps that count, in float32 at least, with the axes kept at size 1."""
    wide = x.astype(at_least_float32(x.dtype))
    if mask is not None:
        places = math.prod(x.shape[mask.ndim : -1])
        count = jnp.maximum(jnp.sum(mask, dtype=wide.dtype) * places, jnp.ones((), wide.dtype))
        mean = jnp.sum(kept(mask, wide), axes, keepdims=True) / count
        return mean, jnp.sum(kept(mask, jnp.square(kept(mask, wide) - mean)), axes, keepdims=True) / count
    mean = jnp.mean(wide, axes, keepdims=True)
    return mean, jnp.mean(jnp.square(wide - mean), axes, keepdims=True)


def _moving(old: Array, new: Array, momentum: Scalar) -> Array:
    """``momentum * old + (1 - momentum) * new``, in float32 at least."""
    wide = widest(old.dtype, new.dtype)
    keep = jnp.asarray(momentum, wide)
    moved: Array = keep * old.astype(wide) + (1 - keep) * new.reshape(-1).astype(wide)
    return moved.astype(at_least_float32(old.dtype))


def _normalize(
    x: Array, mean: Array, variance: Array, epsilon: Scalar, gamma: Array | None, beta: Array | None
) -> Array:
    wide = mean.dtype
    mean, scale = lift(mean, x), lift(jax.lax.rsqrt(variance + jnp.asarray(epsilon, wide)), x)
    if gamma is not None:
        scale = scale * lift(gamma.astype(wide), x)
    y = (x.astype(wide) - mean) * scale
    return (y if beta is None else y + lift(beta.astype(wide), x)).astype(x.dtype)


@described
def BatchNorm(
    momentum: Scalar = 0.99,
    epsilon: Scalar = 1e-3,
    center: bool = True,
    scale: bool = True,
    *,
    dtype: DType | None = None,
    name: str = "batch_norm",
    **weights: Unpack[ScaleOptions],
) -> Layer:
    """Batch normalization over all axes but the last; its state holds the running mean and variance.

    Args:
      momentum: weight of the old running value at each training step, in [0, 1]. With Keras's default the running
        values take some 500 steps to converge; use 0.9 for shorter runs, or evaluation looks wrong.
      epsilon: added to the variance, in [0, 1].
      center, scale: whether to add ``beta`` and to multiply by ``gamma``.
      dtype: of the parameters; default that of ``x``. The running values are float32 at least.
      **weights: gamma_regularizer, beta_regularizer, gamma_constraint, beta_constraint; as in `Dense`.

    Shapes: (batch, ..., features), unchanged. See `batch_norm` for the equation and errors. For a `Masked`, only the
    steps that the mask keeps count in the statistics, as in Keras.
    """
    check_range("BatchNorm", "momentum", momentum, 0, 1)
    check_range("BatchNorm", "epsilon", epsilon, 0, 1)

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        x = shape_of(sequence_of("BatchNorm", x)[0])
        return batch_norm_init(_features("BatchNorm", x), center=center, scale=scale, dtype=param_dtype(x, dtype))

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        x, mask = sequence_of("BatchNorm", x)
        y, state = batch_norm(params, state, x, train=train, momentum=momentum, epsilon=epsilon, mask=mask)
        return (y if mask is None else Masked(y, mask)), state

    return regularized(Layer(init, apply, name, "BatchNorm"), weights)


@described
def LayerNorm(
    epsilon: Scalar = 1e-3,
    center: bool = True,
    scale: bool = True,
    *,
    dtype: DType | None = None,
    name: str = "layer_norm",
    **weights: Unpack[ScaleOptions],
) -> Layer:
    """Layer normalization over the last axis; see `layer_norm` for the equation.

    Arguments, shapes and errors as in `BatchNorm`; the variance is biased.
    """
    check_range("LayerNorm", "epsilon", epsilon, 0, 1)

    def init(key: Key, x: ArraySpec) -> dict[str, Array]:
        return layer_norm_init(key, _features("LayerNorm", x), center=center, scale=scale, dtype=param_dtype(x, dtype))

    layer = parametric(init, partial(layer_norm, epsilon=epsilon), name, "LayerNorm", mask="keep")
    return regularized(layer, weights)


@described
def RMSNorm(
    epsilon: Scalar = 1e-6,
    *,
    dtype: DType | None = None,
    name: str = "rms_norm",
    **weights: Unpack[RMSOptions],
) -> Layer:
    """Normalization by the root mean square over the last axis; see `rms_norm` for the equation.

    Arguments, shapes and errors as in `BatchNorm`; the parameter is called ``scale``, as in Keras.
    """
    check_range("RMSNorm", "epsilon", epsilon, 0, 1)

    def init(key: Key, x: ArraySpec) -> dict[str, Array]:
        return rms_norm_init(key, _features("RMSNorm", x), dtype=param_dtype(x, dtype))

    layer = parametric(init, partial(rms_norm, epsilon=epsilon), name, "RMSNorm", mask="keep")
    return regularized(layer, weights)


@described
def GroupNorm(
    groups: int = 32,
    epsilon: Scalar = 1e-3,
    center: bool = True,
    scale: bool = True,
    *,
    dtype: DType | None = None,
    name: str = "group_norm",
    **weights: Unpack[ScaleOptions],
) -> Layer:
    """Normalization by example and group of features; see `group_norm` for the equation.

    Args:
      groups: number of groups, a divisor of the features; -1 for one per feature (instance normalization).
      epsilon, center, scale, dtype: as in `BatchNorm`, and so are shapes and errors. A `Masked` is refused.
    """
    check_range("GroupNorm", "epsilon", epsilon, 0, 1)
    check_count("GroupNorm", "groups", 1 if groups == -1 else groups)

    def init(key: Key, x: ArraySpec) -> dict[str, Array]:
        _groups("GroupNorm", x, groups)
        return layer_norm_init(key, x.shape[-1], center=center, scale=scale, dtype=param_dtype(x, dtype))

    layer = parametric(init, partial(group_norm, groups=groups, epsilon=epsilon), name, "GroupNorm")
    return regularized(layer, weights)
