"""Attention: the equation on heads, and multi-head attention with its projections and its cache.

Args:
  mask: (batch, time, steps) or (batch, heads, time, steps) booleans, True where to look; default everywhere. Axes of
    size 1 are broadcast.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, check_float, check_range, check_same_dtype, is_concrete, leaf, lookup
from .._core.described import described
from .._core.dtypes import at_least_float32, lift
from .._core.errors import describe, fail
from .._core.random import split
from .._core.trees import shape_of
from .._core.types import Array, DType, Key, Params, PyTree, Scalar, State
from .cache import KeyValueCache, cache_request, empty_cache, extend, overflows, refuse_cache, steps_from, visible
from .dropout import dropout as drop
from .initializers import Initializer
from .layer import Layer, Output, get_initializers, initialize, param_dtype
from .masks import Masked, kept, sequence_of
from .positions import rotary as rotated

Implementation = Literal["xla", "cudnn"]


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

    The softmax is computed in float32 at least. A query that may look nowhere gives 0, with a gradient of 0. NaN and
    infinity reach only the queries that may look at them, as NaN. With fewer heads of keys than of queries, each
    serves a run of neighbouring queries' heads (grouped queries; Ainslie et al. 2023, arXiv:2305.13245).

    Args:
      query: (batch, time, heads, size).
      key: (batch, steps, key_heads, size); ``heads`` is a multiple of ``key_heads``.
      value: (batch, steps, key_heads, value_size).
      causal: whether each query looks only at its own and at earlier steps. Then there must be as many queries as
        keys: libraries disagree on where others start.
      dropout: fraction of the weights dropped, in [0, 1]; may be traced.
      dropout_key: a PRNG key, required if ``dropout`` is not 0.
      implementation: "xla", or "cudnn" for NVIDIA's kernel: on GPUs only, in float16 or bfloat16, without dropout.
        There, a query that may look nowhere gives the mean of all values, and NaN spreads.

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
    see = _where_to_look(where, mask, causal, query, key)
    if _known(implementation) == "cudnn":
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


def _known(implementation: Implementation) -> Implementation:
    return lookup("implementation", implementation, {name: name for name in get_args(Implementation)}, or_else="")


def _weights(query: Array, key: Array, see: Array | None) -> Array:
    """``softmax(query key^T / sqrt(size))`` over the steps to see, (batch, heads, time, steps)."""
    wide = at_least_float32(query.dtype)
    scores = jnp.einsum("btnh,bsnh->bnts", query, key, preferred_element_type=wide) * query.shape[-1] ** -0.5
    if see is None:
        return jax.nn.softmax(scores)
    low = jnp.asarray(0.7 * jnp.finfo(wide).min, wide)
    return jnp.where(see, jax.nn.softmax(jnp.where(see, scores, low)), jnp.zeros_like(scores))


def _finite_rows(x: Array) -> tuple[Array, Array]:
    """``x`` with zeros for each last axis that is not finite, and which those are."""
    finite = jnp.isfinite(x).all(-1)
    return jnp.where(finite[..., None], x, jnp.zeros_like(x)), ~finite


def _dropped(where: str, weights: Array, rate: Scalar, key: Key | None) -> Array:
    if key is None:
        fail(where, expected="a key for its dropout", got="None", hint="In training, call apply(..., key=key).")
    return drop(key, weights, rate)


def _where_to_look(where: str, mask: Array | None, causal: bool, query: Array, key: Array) -> Array | None:
    """Mask and causality as one array that broadcasts to (batch, heads, time, steps)."""
    (batch, time, heads, _), steps = query.shape, key.shape[1]
    see = None
    if mask is not None:
        _check_mask(where, mask)
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


def _check_mask(where: str, mask: PyTree) -> None:
    shape, dtype = getattr(mask, "shape", ()), getattr(mask, "dtype", None)
    if dtype != np.bool_ or len(shape) not in (3, 4):
        hint = "Write mask[:, None] for (batch, steps), mask[None] for (time, steps)." if len(shape) == 2 else ""
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


def multi_head_attention_init(
    key: Key,
    features: int,
    num_heads: int,
    key_dim: int,
    *,
    value_dim: int | None = None,
    num_key_value_heads: int | None = None,
    key_features: int | None = None,
    value_features: int | None = None,
    output_shape: int | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType = jnp.float32,
) -> dict[str, dict[str, Array]]:
    """Parameters of multi-head attention, in Keras's layout.

    As in Keras, the fans of ``glorot_uniform`` are those of a convolution of the same shape, so that kernels start
    smaller than PyTorch's.

    Args:
      key: a PRNG key.
      features: width of the queries, and of the output by default.
      num_heads, key_dim: number of heads, and size of a head of queries and keys.
      value_dim: size of a head of values; default ``key_dim``.
      num_key_value_heads: heads of keys and values, a divisor of ``num_heads``; default ``num_heads``.
      key_features, value_features: widths of keys and values; defaults ``value_features`` and ``features``.
      output_shape: width of the output; default ``features``.
      use_bias: whether there are biases.
      kernel_initializer, bias_initializer: a name or a function ``(key, shape, dtype) -> array``.
      dtype: of the parameters.

    Returns:
      A dict with ``query``, ``key``, ``value`` and ``output``, each a ``kernel`` (features, num_heads, key_dim) or
      (num_heads, value_dim, output_shape) and a ``bias`` (num_heads, key_dim) or (output_shape,). The second forms are
      those of the output; keys and values have widths, heads and sizes of their own.

    Raises:
      InputError: for sizes below 1, key heads that do not divide the heads, and unknown initializers.
    """
    where = "multi_head_attention_init"
    value_dim = key_dim if value_dim is None else value_dim
    key_heads = num_heads if num_key_value_heads is None else num_key_value_heads
    value_features = features if value_features is None else value_features
    key_features = value_features if key_features is None else key_features
    output = features if output_shape is None else output_shape
    sizes = {"features": features, "key_features": key_features, "value_features": value_features}
    for name, size in {**sizes, "output_shape": output}.items():
        check_count(where, name, size)
    _check_sizes(where, num_heads, key_dim, value_dim, key_heads)
    shapes = {
        "query": ((features, num_heads, key_dim), (num_heads, key_dim)),
        "key": ((key_features, key_heads, key_dim), (key_heads, key_dim)),
        "value": ((value_features, key_heads, value_dim), (key_heads, value_dim)),
        "output": ((num_heads, value_dim, output), (output,)),
    }
    return {
        name: initialize(
            part_key,
            dtype,
            kernel=(kernel_initializer, kernel),
            bias=(bias_initializer, bias) if use_bias else None,
        )
        for part_key, (name, (kernel, bias)) in zip(split(key, 4), shapes.items(), strict=True)
    }


def _check_sizes(where: str, num_heads: int, key_dim: int, value_dim: int, key_heads: int) -> None:
    sizes = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim, "num_key_value_heads": key_heads}
    for name, size in sizes.items():
        check_count(where, name, size)
    if num_heads % key_heads:
        fail(where, expected=f"num_key_value_heads to divide num_heads, {num_heads}", got=str(key_heads))


def multi_head_attention(
    params: Params,
    query: Array,
    value: Array | None = None,
    key: Array | None = None,
    mask: Array | None = None,
    *,
    causal: bool = False,
    rotary: bool = False,
    dropout: Scalar = 0.0,
    dropout_key: Key | None = None,
    implementation: Implementation = "xla",
) -> Array:
    """``attention(query Q, key K, value V) O``: attention of several heads between projections.

    Each projection adds its bias. Vaswani et al. 2017, arXiv:1706.03762; arguments in Keras's order.

    Args:
      params: ``query``, ``key``, ``value`` and ``output`` from `multi_head_attention_init`.
      query: (batch, time, features).
      value: (batch, steps, value_features); default ``query``.
      key: (batch, steps, key_features); default ``value``.
      rotary: whether to rotate queries and keys by their positions, with `rotary`; for self-attention.
      causal, dropout, dropout_key, implementation: as in `attention`, and so are the errors.

    Returns:
      (batch, time, output_features).
    """
    where = "multi_head_attention"
    value = query if value is None else value
    heads = _projected(where, params, query, value, value if key is None else key)
    options = _Options(causal, rotary, dropout, dropout_key, implementation)
    return _joined(params, _attended(where, heads, mask, None, None, options)[0])


class _Options(NamedTuple):
    """Options of `multi_head_attention`."""

    causal: bool
    rotary: bool
    dropout: Scalar
    dropout_key: Key | None
    implementation: Implementation


class _Heads(NamedTuple):
    """Queries (batch, time, heads, size), keys and values (batch, steps, key_heads, size)."""

    query: Array
    key: Array
    value: Array


def _projected(where: str, params: Params, query: Array, value: Array, key: Array) -> _Heads:
    heads = {}
    for name, x in (("query", query), ("key", key), ("value", value)):
        part = leaf(where, params, name)
        kernel = leaf(f"{where}, {name}", part, "kernel")
        if x.ndim != 3 or x.shape[-1] != kernel.shape[0]:
            expected = f"{name} of shape (batch, time, {kernel.shape[0]}) for its kernel"
            fail(where, expected=expected, got=describe(x))
        check_same_dtype(f"{where}, {name}", x, kernel)
        y = jnp.einsum("btf,fnh->btnh", x, kernel)
        heads[name] = y + lift(part["bias"], y) if "bias" in part else y
    return _Heads(**heads)


def _joined(params: Params, y: Array) -> Array:
    part = leaf("multi_head_attention", params, "output")
    y = jnp.einsum("btnh,nhf->btf", y, leaf("multi_head_attention, output", part, "kernel"))
    return y + lift(part["bias"], y) if "bias" in part else y


def _attended(
    where: str,
    heads: _Heads,
    mask: Array | None,
    real: Array | None,
    cache: KeyValueCache | None,
    options: _Options,
) -> tuple[Array, KeyValueCache | None]:
    """The output of every head, and the cache after these steps; ``real`` (batch, steps) is False at padding."""
    causal, rotary, rate, key, implementation = options
    q, k, v = heads
    steps = q.shape[1]
    if rotary:
        positions = steps_from(None if cache is None else cache.position, steps)
        q, k = rotated(q, positions), rotated(k, positions)
    attend = partial(attention, dropout=rate, dropout_key=key, implementation=implementation)
    if cache is None:
        if real is not None:
            see = jnp.reshape(jnp.asarray(real), (real.shape[0], 1, 1, real.shape[1]))
            mask = see if mask is None else see & (mask if mask.ndim == 4 else mask[:, None])
        return attend(q, k, v, mask, causal=causal), None
    cache = extend(where, cache, k, v, real)
    y = attend(q, cache.key, cache.value, visible(cache, steps))
    return jnp.where(overflows(cache), np.asarray(np.nan, y.dtype), y), cache


class _Inputs(NamedTuple):
    """The inputs of an attention layer: arrays, or shapes in `init`; masks (batch, steps) are False at padding."""

    query: Array
    value: Array
    key: Array
    query_real: Array | None
    real: Array | None  # of value and key
    mask: Array | None
    is_self: bool


def _inputs(where: str, x: PyTree) -> _Inputs:
    """Inputs from one array, a tuple (query, value) or (query, value, key), or a dict with these and "mask"."""
    parts = x if isinstance(x, dict) else {"query": x}
    if isinstance(x, (tuple, list)):
        parts = dict(zip(("query", "value", "key"), x, strict=False)) if 2 <= len(x) <= 3 else {}
    if not {"query"} <= parts.keys() <= {"query", "value", "key", "mask"}:
        expected = "one sequence, (query, value), (query, value, key), or a dict of query, value, key and mask"
        fail(where, expected=expected, got=f"the keys {sorted(x)}" if isinstance(x, dict) else f"a tuple of {len(x)}")
    sequences: list[tuple[Array, Array | None]] = []
    for name in ("query", "value", "key"):
        # A value that is not given is the query, and a key that is not given is the value.
        given = parts.get(name)
        sequences.append(sequences[-1] if given is None else sequence_of(f"{where}, {name}", given))
        if len(sequences[-1][0].shape) != 3:
            expected = "an array (batch, time, features)"
            fail(f"{where}, {name}", expected=expected, got=describe(sequences[-1][0]))
    (query, query_real), (value, value_real), (key, key_real) = sequences
    real = value_real if key_real is None else key_real
    if real is not None and value_real is not None and real is not value_real:
        real = jnp.logical_and(value_real, real)
    if (mask := parts.get("mask")) is not None:
        _check_mask(where, mask)
    return _Inputs(query, value, key, query_real, real, mask, all(parts.get(n) is None for n in ("value", "key")))


def _without_padding(x: Array, real: Array | None) -> Array:
    return x if real is None else kept(real, x)


@described
def MultiHeadAttention(
    num_heads: int,
    key_dim: int,
    value_dim: int | None = None,
    dropout: Scalar = 0.0,
    use_bias: bool = True,
    *,
    output_shape: int | None = None,
    causal: bool = False,
    rotary: bool = False,
    num_key_value_heads: int | None = None,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    implementation: Implementation = "xla",
    dtype: DType | None = None,
    name: str = "multi_head_attention",
) -> Layer:
    """Multi-head attention of a sequence to itself or to another one; see `multi_head_attention` for the equation.

    The input is one of:

    - a sequence, an array or a `Masked`: self-attention. No step looks at padding, and the mask is passed on.
    - ``(query, value)`` or ``(query, value, key)``, in Keras's order, each an array or a `Masked`. In a `Model`, write
      ``layers.attention(query, value)``. The output has the mask of the query.
    - a dict with ``"query"`` and, as needed, ``"value"``, ``"key"`` and ``"mask"``, which is True where to look, of
      shape (batch, time, steps) or (batch, heads, time, steps): ``layers.attention({"query": x, "mask": mask})``.

    Args:
      num_heads, key_dim, value_dim, num_key_value_heads, output_shape, use_bias, kernel_initializer, bias_initializer:
        as in `multi_head_attention_init`.
      dropout: fraction of the attention weights dropped in training, in [0, 1]; may be traced.
      causal: whether each step looks only at itself and at earlier ones, which a cache needs (`with_cache`).
      rotary: whether to rotate queries and keys by their positions, with `rotary`; for self-attention.
      implementation: as in `attention`.
      dtype: of the parameters; default that of the query.
      name: base name in `Sequential`.

    Shapes: (batch, time, features) to (batch, time, output_shape or features).

    Raises:
      InputError: for sizes below 1 and unknown names; for an input of another form; without a key in training with
        dropout; for ``rotary`` with two sequences; and as `attention`.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = MultiHeadAttention(num_heads=2, key_dim=4), jnp.ones((3, 5, 8))
    >>> params, _ = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, {}, x)[0].shape, params["query"]["kernel"].shape
    ((3, 5, 8), (8, 2, 4))
    """
    where = "MultiHeadAttention"
    key_heads = num_heads if num_key_value_heads is None else num_key_value_heads
    value_dim = key_dim if value_dim is None else value_dim
    _check_sizes(where, num_heads, key_dim, value_dim, key_heads)
    check_range(where, "dropout", dropout, 0, 1)
    _known(implementation)
    if rotary and key_dim % 2:
        fail(where, expected="an even key_dim with rotary=True", got=str(key_dim))
    initializers = get_initializers(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer)

    def inputs(x: PyTree) -> _Inputs:
        given = _inputs(where, x)
        if rotary and not given.is_self:
            fail(where, expected="one sequence with rotary=True", got="a query and a value")
        return given

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        given = inputs(x)
        dt = param_dtype(shape_of(given.query), dtype)
        params = multi_head_attention_init(
            key,
            given.query.shape[-1],
            num_heads,
            key_dim,
            value_dim=value_dim,
            num_key_value_heads=key_heads,
            key_features=given.key.shape[-1],
            value_features=given.value.shape[-1],
            output_shape=output_shape,
            use_bias=use_bias,
            dtype=dt,
            **initializers,
        )
        request = cache_request()
        if request is None or not given.is_self:
            return params, {}
        if not causal:
            refuse_cache(name, "causal=False")
            return params, {}
        steps = given.query.shape[0], request.length, key_heads
        return params, {"cache": empty_cache((*steps, key_dim), (*steps, value_dim), dt)}

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        given, cache = inputs(x), state.get("cache")
        if cache is not None and (given.mask is not None or not given.is_self):
            fail(where, expected="one sequence with a cache", got="a mask or a second one", hint="Padding is a Masked.")
        # Padding may hold anything, and 0 times NaN is NaN in the gradients of the projections.
        query, value, other = map(_without_padding, given[:3], (given.query_real, given.real, given.real))
        heads = _projected(where, params, query, value, other)
        options = _Options(causal, rotary, dropout if train else 0.0, key, implementation)
        y, cache = _attended(where, heads, given.mask, given.real, cache, options)
        y = _joined(params, y)
        new_state = state if cache is None else {"cache": cache}
        return (y if given.query_real is None else Masked(y, given.query_real)), new_state

    return Layer(init, apply, name, where, per_example=True)
