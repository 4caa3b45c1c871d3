"""Penalties and constraints that belong to a layer: the options of its constructor, and those of layers inside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import jax.numpy as jnp

from .._core.checks import resolve
from .._core.dtypes import sum_of
from .._core.errors import describe, fail
from .._core.trees import map_with_path, paths
from .._core.types import Array, PyTree
from ..penalties import CONSTRAINTS, PENALTIES
from .layer import Layer

OfArray = str | Callable[[Array], Array] | None
"""A penalty or a constraint of one parameter: a name, a function such as ``fnn.penalties.l2(1e-4)``, or None."""


class KernelOptions(TypedDict, total=False):
    """Options of layers with kernels and biases."""

    kernel_regularizer: OfArray
    bias_regularizer: OfArray
    kernel_constraint: OfArray
    bias_constraint: OfArray


class RecurrentOptions(KernelOptions, total=False):
    """Options of recurrent layers."""

    recurrent_regularizer: OfArray
    recurrent_constraint: OfArray


class SeparableOptions(TypedDict, total=False):
    """Options of `SeparableConv`."""

    depthwise_regularizer: OfArray
    pointwise_regularizer: OfArray
    bias_regularizer: OfArray
    depthwise_constraint: OfArray
    pointwise_constraint: OfArray
    bias_constraint: OfArray


class EmbeddingOptions(TypedDict, total=False):
    """Options of `Embedding`."""

    embeddings_regularizer: OfArray
    embeddings_constraint: OfArray


class ScaleOptions(TypedDict, total=False):
    """Options of normalization layers."""

    gamma_regularizer: OfArray
    beta_regularizer: OfArray
    gamma_constraint: OfArray
    beta_constraint: OfArray


class RMSOptions(TypedDict, total=False):
    """Options of `RMSNorm`."""

    scale_regularizer: OfArray
    scale_constraint: OfArray


# Others are called as in the option.
_PARAMETERS = {name: f"{name}_kernel" for name in ("recurrent", "depthwise", "pointwise")}


def _leaf(path: str) -> str:
    return path.rpartition("/")[2]


def regularized(layer: Layer, options: Mapping[str, Any]) -> Layer:
    """The layer with the penalties and constraints of its constructor's options.

    Raises:
      InputError: for an unknown name, or anything but a function.
    """
    found: dict[str, dict[str, Callable[[Array], Array]]] = {"regularizer": {}, "constraint": {}}
    for option, given in options.items():
        if given is not None:
            parameter, _, role = option.rpartition("_")
            table, usual = (PENALTIES, "l2") if role == "regularizer" else (CONSTRAINTS, "max_norm")
            if isinstance(given, (int, float)):
                hint = f"Write {option}=fnn.penalties.{usual}({given!r})."
                fail(option, expected="the name of a known one or a function", got=repr(given), hint=hint)
            found[role][_PARAMETERS.get(parameter, parameter)] = resolve(option, given, table)
    if not any(found.values()):
        return layer
    penalties, constraints = found["regularizer"], found["constraint"]

    # A parameter that the layer does without, such as a bias, has no penalty.
    def penalty(params: PyTree) -> Array:
        chosen = [(penalties[_leaf(path)], w) for path, w in paths(params).items() if _leaf(path) in penalties]
        values = [jnp.asarray(fn(w)) for fn, w in chosen]
        for value in values:
            if value.shape != ():
                expected = "a function of an array that returns a scalar"
                fail(f"{layer.kind}, regularizer", expected=expected, got=f"one that returns {describe(value)}")
        return sum_of(values)

    def constraint(params: PyTree) -> PyTree:
        return map_with_path(lambda path, w: constraints[_leaf(path)](w) if _leaf(path) in constraints else w, params)

    return layer.replace(penalty=penalty if penalties else None, constraint=constraint if constraints else None)
