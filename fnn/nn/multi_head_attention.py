"""Multi-head attention: attention between projections, as pure functions and as a layer with a cache.

Args:
  mask: (batch, time, steps) or (batch, heads, time, steps) booleans, True where to look; default everywhere. Axes of
    size 1 are broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Unpack

import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, check_range, check_same_dtype, leaf
from .._core.described import described
from .._core.dtypes import spread
from .._core.errors import describe, fail
from .._core.flags import flagged
from .._core.random import child_keys
from .._core.trees import shape_of
from .._core.types import Array, DType, Key, Params, PyTree, Scalar, State
from .attention import Implementation, attention, check_mask, known_implementation, where_to_look
from .cache import KeyValueCache, cache_request, empty_cache, extend, overflows, refuse_cache, steps_from, visible
from .initializers import Initializer
from .layer import Layer, Output, get_initializers, initialize, param_dtype
from .masks import SEQUENCE_HINT, Masked, kept, sequence_of
from .positions import rotary as rotated
from .regularized import KernelOptions, regularized


@flagged
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
            part_key, dtype, kernel=(kernel_initializer, kernel), bias=(bias_initializer, bias) if use_bias else None
        )
        for part_key, (name, (kernel, bias)) in zip(child_keys(key, 4), shapes.items(), strict=True)
    }


def _check_sizes(where: str, num_heads: int, key_dim: int, value_dim: int, key_heads: int) -> None:
    sizes = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim, "num_key_value_heads": key_heads}
    for name, size in sizes.items():
        check_count(where, name, size)
    if num_heads % key_heads:
        fail(where, expected=f"num_key_value_heads to divide num_heads, {num_heads}", got=str(key_heads))


@flagged
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
    return _merged(params, _attended(where, heads, mask, None, None, options)[0])


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
        heads[name] = y + spread(part["bias"], y) if "bias" in part else y
    return _Heads(**heads)


def _merged(params: Params, y: Array) -> Array:
    part = leaf("multi_head_attention", params, "output")
    y = jnp.einsum("btnh,nhf->btf", y, leaf("multi_head_attention, output", part, "kernel"))
    return y + spread(part["bias"], y) if "bias" in part else y


def _attended(
    where: str, heads: _Heads, mask: Array | None, real: Array | None, cache: KeyValueCache | None, options: _Options
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
            see, steps_to_see = where_to_look(where, mask, False, q, k), jnp.asarray(real)[:, None, None]
            mask = steps_to_see if see is None else steps_to_see & see
        return attend(q, k, v, mask, causal=causal), None
    cache = extend(where, cache, k, v, real)
    y = attend(q, cache.key.astype(q.dtype), cache.value.astype(q.dtype), visible(cache, steps))
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
            fail(f"{where}, {name}", expected=expected, got=describe(sequences[-1][0]), hint=SEQUENCE_HINT)
    (query, query_real), (value, value_real), (key, key_real) = sequences
    real = value_real if key_real is None else key_real
    if real is not None and value_real is not None and real is not value_real:
        real = jnp.logical_and(value_real, real)
    if (mask := parts.get("mask")) is not None:
        check_mask(where, mask)
    return _Inputs(query, value, key, query_real, real, mask, all(parts.get(n) is None for n in ("value", "key")))


def _first_state(name: str, given: _Inputs, params: Params, causal: bool) -> State:
    """The state of a new layer: an empty cache if `with_cache` asks for one."""
    request = cache_request()
    if request is None or not given.is_self:
        return {}
    if not causal:
        refuse_cache(name, "causal=False")
        return {}
    kernels = params["key"]["kernel"], params["value"]["kernel"]
    keys, values = ((given.query.shape[0], request.length, *kernel.shape[1:]) for kernel in kernels)
    return {"cache": empty_cache(keys, values, kernels[0].dtype)}


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
    **weights: Unpack[KernelOptions],
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
      **weights: as in `Dense`, for the kernels and biases of all four projections.

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
    known_implementation(implementation)
    if rotary and key_dim % 2:
        fail(where, expected="an even key_dim with rotary=True", got=str(key_dim))
    initializers = get_initializers(kernel_initializer=kernel_initializer, bias_initializer=bias_initializer)
    sizes = {"value_dim": value_dim, "num_key_value_heads": key_heads, "output_shape": output_shape}
    options = {"num_heads": num_heads, "key_dim": key_dim, "use_bias": use_bias, **sizes, **initializers}
    make: Callable[..., Params] = partial(multi_head_attention_init, **options)

    def inputs(x: PyTree) -> _Inputs:
        given = _inputs(where, x)
        if rotary and not given.is_self:
            fail(where, expected="one sequence with rotary=True", got="a query and a value")
        return given

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        given = inputs(x)
        query, widths = given.query, {"key_features": given.key.shape[-1], "value_features": given.value.shape[-1]}
        params = make(key, query.shape[-1], dtype=param_dtype(shape_of(query), dtype), **widths)
        return params, _first_state(name, given, params, causal)

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        given, cache = inputs(x), state.get("cache")
        if cache is not None and (given.mask is not None or not given.is_self):
            fail(where, expected="one sequence with a cache", got="a mask or a second one", hint="Padding is a Masked.")
        # Padding may hold anything, and 0 times NaN is NaN in the gradients of the projections.
        sequences = (given.query, given.query_real), (given.value, given.real), (given.key, given.real)
        query, value, other = (x if real is None else kept(real, x) for x, real in sequences)
        heads = _projected(where, params, query, value, other)
        how = _Options(causal, rotary, dropout if train else 0.0, key, implementation)
        y, cache = _attended(where, heads, given.mask, given.real, cache, how)
        y = _merged(params, y)
        new_state = state if cache is None else {"cache": cache}
        return (y if given.query_real is None else Masked(y, given.query_real)), new_state

    return regularized(Layer(init, apply, name, where, per_example=True), weights)
