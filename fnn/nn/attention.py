"""Attention, the equation on heads of queries, keys and values.

Args:
  mask: (batch, time, steps) or (batch, heads, time, steps) booleans, True where to look; default everywhere. Axes of
    size 1 are broadcast.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_float, check_range, is_concrete, lookup
from .._core.dtypes import at_least_float32
from .._core.errors import describe, fail
from .._core.flags import flagged
from .._core.typed import finfo
from .._core.types import Array, Key, PyTree, Scalar
from .dropout import dropout as drop

Implementation = Literal["xla", "cudnn"]


@flagged
def attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    *,
    causal: bool = False,
    dropout: Scalar = 0.0,
    dropout_key: Key | None = None,
    implementation: Implementation = "xla",
) -> Array:
    """``softmax(query key^T / sqrt(size)) value`` for each head (Vaswani et al. 2017, arXiv:1706.03762).

    The softmax is computed in float32 at least. A query whose keys are all masked gives 0, with a gradient of
    0. NaN and infinity reach only the queries that attend to them, as NaN. With fewer key heads than query heads, each
    key head serves a group of neighbouring query heads (grouped queries; Ainslie et al. 2023, arXiv:2305.13245).

    Args:
      query: (batch, time, heads, size).
      key: (batch, steps, key_heads, size); ``heads`` is a multiple of ``key_heads``.
      value: (batch, steps, key_heads, value_size).
      causal: whether each query attends only to its own and to earlier steps. This needs as many queries as keys,
        since libraries align sequences of different lengths differently.
      dropout: fraction of the weights dropped, in [0, 1]; may be traced.
      dropout_key: a PRNG key, required if ``dropout`` is not 0.
      implementation: "xla", or "cudnn" for NVIDIA's kernel: on GPUs only, in float16 or bfloat16, without dropout.
        There, a query whose keys are all masked gives the mean of all values, and NaN spreads.

    Returns:
      (batch, time, heads, value_size).

    Raises:
      InputError: for other shapes, different dtypes, a mask that is not boolean, and options that do not go together.

    >>> import jax.numpy as jnp
    >>> steps = jnp.array([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1)
    >>> print(attention(0 * steps, steps, steps, causal=True).ravel())
    [1.  1.5 3. ]
    """
    where = "attention"
    _check_heads(where, query, key, value)
    check_range(where, "dropout", dropout, 0, 1)
    see = where_to_look(where, mask, causal, query, key)
    if known_implementation(implementation) == "cudnn":
        return _cudnn(query, key, value, None if mask is None else see, causal=causal, dropout=dropout)
    query, key, value = map(jnp.asarray, (query, key, value))
    if (group := query.shape[2] // key.shape[2]) > 1:
        key, value = jnp.repeat(key, group, axis=2), jnp.repeat(value, group, axis=2)
    if see is None:
        weights = _weights(query, key, None)
    else:
        # 0 times NaN is NaN: rows with a value that is not finite take no part, and spoil what depends on them.
        (query, own), (key, keys), (value, values) = map(_finite_rows, (query, key, value))
        weights = _weights(query, key, see)
        others = jnp.einsum("bnts,bsn->btn", jax.lax.stop_gradient(weights), (keys | values).astype(weights.dtype))
        spoiled = (own & see.any(-1).swapaxes(1, 2) | (others > 0))[..., None]
    if not (is_concrete(dropout) and float(dropout) == 0):
        weights = _dropped(where, weights, dropout, dropout_key)
    y = jnp.einsum("bnts,bsnh->btnh", weights.astype(value.dtype), value)
    if see is not None:
        y = y + jnp.where(spoiled, np.asarray(np.nan, y.dtype), jnp.zeros_like(y))
    return y


def known_implementation(implementation: Implementation) -> Implementation:
    """The implementation; an unknown name is refused."""
    return lookup("implementation", implementation, {name: name for name in get_args(Implementation)}, or_else="")


def _weights(query: Array, key: Array, see: Array | None) -> Array:
    """``softmax(query key^T / sqrt(size))`` over the steps to see, (batch, heads, time, steps)."""
    wide = at_least_float32(query.dtype)
    scores = (_products if query.dtype == wide else _half_products)(query, key) * query.shape[-1] ** -0.5
    if see is None:
        return jax.nn.softmax(scores)
    low = jnp.asarray(0.7 * finfo(wide).min, wide)
    return jnp.where(see, jax.nn.softmax(jnp.where(see, scores, low)), jnp.zeros_like(scores))


def _products(query: Array, key: Array) -> Array:
    """The product of each query with each key, (batch, heads, time, steps), in float32 at least."""
    return jnp.einsum("btnh,bsnh->bnts", query, key, preferred_element_type=at_least_float32(query.dtype))


@jax.custom_jvp
def _half_products(query: Array, key: Array) -> Array:
    """The same; the gradient at them is rounded to half precision, in which its own products are then computed."""
    return _products(query, key)


@_half_products.defjvp
def _half_products_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (query, key), (dquery, dkey) = primals, tangents
    products = _half_products(query, key)
    tangent = jnp.einsum("btnh,bsnh->bnts", dquery, key) + jnp.einsum("btnh,bsnh->bnts", query, dkey)
    return products, tangent.astype(products.dtype)


def _finite_rows(x: Array) -> tuple[Array, Array]:
    """``x`` with zeros for each last axis that is not finite, and which those are."""
    finite = jnp.isfinite(x).all(-1)
    return jnp.where(finite[..., None], x, jnp.zeros_like(x)), ~finite


def _dropped(where: str, weights: Array, rate: Scalar, key: Key | None) -> Array:
    if key is None:
        fail(where, expected="a key for its dropout", got="None", hint="In training, call apply(..., key=key).")
    return drop(key, weights, rate)


def where_to_look(where: str, mask: Array | None, causal: bool, query: Array, key: Array) -> Array | None:
    """Mask and causality as one array that broadcasts to (batch, heads, time, steps)."""
    (batch, time, heads, _), steps = query.shape, key.shape[1]
    see = None
    if mask is not None:
        check_mask(where, mask)
        whole = (batch, heads, time, steps)
        shape = tuple(mask.shape) if len(mask.shape) == 4 else (mask.shape[0], 1, *mask.shape[1:])
        if any(m not in (1, n) for m, n in zip(shape, whole, strict=True)):
            expected = f"a mask that broadcasts to (batch, heads, time, steps) = {whole}"
            fail(f"{where}, mask", expected=expected, got=describe(mask))
        see = jnp.reshape(jnp.asarray(mask), shape)
    if causal:
        if time != steps:
            hint = "Pass a mask, such as jnp.tril(jnp.ones((time, steps), bool), steps - time)[None]."
            fail(where, expected="as many queries as keys for causal=True", got=f"{time} and {steps}", hint=hint)
        earlier = jnp.tril(jnp.ones((1, 1, time, steps), bool))
        see = earlier if see is None else see & earlier
    return see


def check_mask(where: str, mask: PyTree) -> None:
    """Require a boolean mask of rank 3 or 4."""
    shape, dtype = getattr(mask, "shape", ()), getattr(mask, "dtype", None)
    if dtype != np.bool_ or len(shape) not in (3, 4):
        hint = "Write mask.astype(bool)." if str(dtype).startswith(("int", "uint")) else ""
        hint = "Write mask[:, None] for (batch, steps), mask[None] for (time, steps)." if len(shape) == 2 else hint
        expected = "a boolean array (batch, time, steps) or (batch, heads, time, steps)"
        fail(f"{where}, mask", expected=expected, got=describe(mask), hint=hint)


def _check_heads(where: str, query: Array, key: Array, value: Array) -> None:
    got = ", ".join(map(describe, (query, key, value)))
    if any(getattr(a, "ndim", 0) != 4 for a in (query, key, value)):
        fail(where, expected="query, key and value of shape (batch, time, heads, size)", got=got)
    check_float(where, query)
    if not query.dtype == key.dtype == value.dtype:
        fail(where, expected="query, key and value of one dtype", got=got)
    if not query.shape[0] == key.shape[0] == value.shape[0] or key.shape[1:3] != value.shape[1:3]:
        fail(where, expected="query, key and value of one batch, and a value for each key", got=got)
    if query.shape[3] != key.shape[3] or not key.shape[2] or query.shape[2] % key.shape[2]:
        fail(where, expected="keys of the queries' size, and a multiple of their heads in the query", got=got)


def _cudnn(query: Array, key: Array, value: Array, see: Array | None, *, causal: bool, dropout: Scalar) -> Array:
    where = "attention, implementation='cudnn'"
    if jax.default_backend() not in ("gpu", "cuda"):
        hint = "Use implementation='xla', the default."
        fail(where, expected="an NVIDIA GPU", got=f"the platform {jax.default_backend()!r}", hint=hint)
    if query.dtype not in (jnp.float16, jnp.bfloat16):
        fail(where, expected="float16 or bfloat16", got=str(query.dtype))
    if not (is_concrete(dropout) and float(dropout) == 0):
        fail(where, expected="dropout=0.0", got=str(dropout), hint="Use implementation='xla'.")
    causal = causal and see is None  # where to look includes it
    return jax.nn.dot_product_attention(query, key, value, mask=see, is_causal=causal, implementation="cudnn")
