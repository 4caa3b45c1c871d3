"""The layers SimpleRNN, LSTM and GRU: the functions of `fnn.nn.rnn.functions` with the options of Keras's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp

from ..._core.checks import check_count, leaf
from ..._core.described import described
from ..._core.errors import describe, fail
from ..._core.trees import shape_of
from ..._core.types import Array, ArraySpec, DType, Key, Params, PyTree, State
from ..activations import ActivationLike, are_per_example, get_activation
from ..cache import Recurrence, cache_request, check_called_once, refuse_cache
from ..initializers import Initializer, Initializers, get_initializer
from ..layer import MISSING, Layer, Output, check_apply, check_init, param_dtype
from ..masks import Masked, sequence_of
from ..regularized import RecurrentOptions, regularized
from .functions import gru, gru_init, lstm, lstm_init, simple_rnn, simple_rnn_init
from .sequence import IDS_HINT


class _Options(NamedTuple):
    """The options that SimpleRNN, LSTM and GRU share."""

    units: int
    initializers: Initializers
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    input_dim: int | None
    dtype: DType | None


def _recurrent_layer(
    kind: str,
    name: str,
    init_fn: Callable[..., dict[str, Array]],
    fn: Callable[..., tuple[Array, Any]],
    activations: Mapping[str, ActivationLike],
    options: _Options,
) -> Layer:
    units, initializers, return_sequences, return_state, go_backwards, input_dim, dtype = options
    check_count(kind, "units", units)
    if input_dim is not None:
        check_count(kind, "input_dim", input_dim)
    acts = {argument: get_activation(activation) for argument, activation in activations.items()}
    sequence = partial(fn, reverse=go_backwards, return_sequences=return_sequences, **acts)
    names = ("kernel_initializer", "recurrent_initializer", "bias_initializer")
    chosen = dict(zip(names, map(get_initializer, initializers), strict=True))

    def init(key: Key, x: PyTree = MISSING) -> tuple[Params, State]:
        check_init(kind, key, x)
        x = shape_of(sequence_of(kind, x)[0])
        params = init_fn(key, _features(kind, x, input_dim), units, dtype=param_dtype(x, dtype), **chosen)
        if go_backwards:
            refuse_cache(name, "go_backwards=True")
        return params, {} if go_backwards or cache_request() is None else _first_state(sequence, params, x)

    def apply(
        params: Params, state: State, x: PyTree = MISSING, *, key: Key | None = None, train: bool = False
    ) -> Output:
        check_apply(kind, x)
        x, mask = sequence_of(kind, x)
        cached: Recurrence | None = state.get("carry")
        start = None if cached is None else _start(kind, cached, params)
        y, carry = sequence(params, x, start, mask=mask)
        if return_sequences and go_backwards:
            # Return outputs in the order of computation, and the mask with them: it says which of them count.
            y, mask = jax.tree.map(lambda a: jnp.flip(a, 1), (y, mask))
        out = Masked(y, mask) if return_sequences and mask is not None else y
        new_state = state if cached is None else {"carry": Recurrence(jax.tree.map(_cast_like, carry, cached.carry))}
        return ((out, carry) if return_state else out), new_state

    return Layer(init, apply, name, kind, are_per_example(*activations.values()))


def _first_state(sequence: Callable[..., tuple[Array, Any]], params: Params, x: ArraySpec) -> State:
    """The state for reading piece by piece, before the first step: a carry of zeros."""
    _, carry = jax.eval_shape(sequence, params, x)
    return {"carry": Recurrence(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), carry))}


def _start(kind: str, cached: Recurrence, params: Params) -> Any:
    """The carry from which the next piece continues, in the dtype of the parameters."""
    check_called_once(kind)
    # A task may compute in half precision what its state holds in float32.
    dtype = leaf(kind, params, "recurrent_kernel").dtype
    return jax.tree.map(lambda a: a.astype(dtype), cached.carry)


def _cast_like(new: Array, old: Array) -> Array:
    return new.astype(old.dtype)


def _features(kind: str, x: ArraySpec, input_dim: int | None) -> int:
    """The width of the input: ``input_dim`` for integer ids, else the last axis of ``x``."""
    if jnp.issubdtype(x.dtype, jnp.integer):
        if input_dim is None:
            hint = "Pass input_dim=n for ids from 0 to n - 1, or add OneHot(n) or Embedding(n, ...) before it."
            fail(kind, expected="the number of symbols with integer ids", got=describe(x), hint=hint)
        return input_dim
    if len(x.shape) != 3:
        hint = IDS_HINT if len(x.shape) == 2 else ""
        fail(kind, expected="x of shape (batch, time, features)", got=describe(x), hint=hint)
    if input_dim not in (None, x.shape[-1]):
        fail(kind, expected=f"x of width input_dim = {input_dim}", got=describe(x))
    return x.shape[-1]


@described
def SimpleRNN(
    units: int,
    activation: ActivationLike = "tanh",
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    return_sequences: bool = False,
    *,
    return_state: bool = False,
    go_backwards: bool = False,
    input_dim: int | None = None,
    dtype: DType | None = None,
    name: str = "simple_rnn",
    **weights: Unpack[RecurrentOptions],
) -> Layer:
    """An Elman recurrent layer; see `simple_rnn_cell` for the equation and `LSTM` for inputs, outputs and errors.

    >>> import jax, jax.numpy as jnp
    >>> layer = SimpleRNN(8)
    >>> params, _ = layer.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> layer.apply(params, {}, jnp.ones((2, 5, 3)))[0].shape
    (2, 8)
    """
    initializers = (kernel_initializer, recurrent_initializer, bias_initializer)
    options = _Options(units, initializers, return_sequences, return_state, go_backwards, input_dim, dtype)
    init = partial(simple_rnn_init, use_bias=use_bias)
    return regularized(
        _recurrent_layer("SimpleRNN", name, init, simple_rnn, {"activation": activation}, options), weights
    )


@described
def LSTM(
    units: int,
    activation: ActivationLike = "tanh",
    recurrent_activation: ActivationLike = "sigmoid",
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    *,
    unit_forget_bias: bool = True,
    return_sequences: bool = False,
    return_state: bool = False,
    go_backwards: bool = False,
    input_dim: int | None = None,
    dtype: DType | None = None,
    name: str = "lstm",
    **weights: Unpack[RecurrentOptions],
) -> Layer:
    """A long short-term memory layer; see `lstm_cell` for the equation.

    The input is an array or ``Masked(x, mask)``, whose mask (batch, time) is False at steps to skip; `Embedding` with
    ``mask_zero=True`` makes such sequences.

    Args:
      units, use_bias, kernel_initializer, recurrent_initializer, bias_initializer, name: as in `Dense`.
      activation, recurrent_activation: as in `lstm`.
      unit_forget_bias: whether the forget gate's bias starts at 1.
      return_sequences: return all steps, (batch, time, units), as a `Masked` if the input is one, so that recurrent
        layers can be stacked; default only the last one, (batch, units).
      return_state: return ``(output, carry)``, with the final carry.
      go_backwards: run from the last step to the first and, as in Keras, return the outputs in that order; the mask
        is reversed with them (Keras does not reverse it).
      input_dim: number of symbols; required for integer ids (batch, time), which stand for one-hot rows.
      dtype: of the parameters; default that of ``x``, float32 for ids.
      **weights: those of `Dense`, recurrent_regularizer and recurrent_constraint.

    Shapes: (batch, time, features) or integers (batch, time) to (batch, units) or (batch, time, units). Errors as in
    `lstm` and `lstm_init`, for unknown names, and for integers without ``input_dim``.

    >>> import jax, jax.numpy as jnp
    >>> layer, ids = LSTM(128, input_dim=57), jnp.array([[3, 1, 4, 1, 5]])
    >>> params, _ = layer.init(jax.random.key(0), ids)
    >>> params["kernel"].shape, layer.apply(params, {}, ids)[0].shape
    ((57, 512), (1, 128))
    """
    initializers = (kernel_initializer, recurrent_initializer, bias_initializer)
    options = _Options(units, initializers, return_sequences, return_state, go_backwards, input_dim, dtype)
    init = partial(lstm_init, use_bias=use_bias, unit_forget_bias=unit_forget_bias)
    acts = {"activation": activation, "recurrent_activation": recurrent_activation}
    return regularized(_recurrent_layer("LSTM", name, init, lstm, acts, options), weights)


@described
def GRU(
    units: int,
    activation: ActivationLike = "tanh",
    recurrent_activation: ActivationLike = "sigmoid",
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    *,
    return_sequences: bool = False,
    return_state: bool = False,
    go_backwards: bool = False,
    reset_after: bool = True,
    input_dim: int | None = None,
    dtype: DType | None = None,
    name: str = "gru",
    **weights: Unpack[RecurrentOptions],
) -> Layer:
    """A layer of gated recurrent units; see `gru_cell` for the equation and `LSTM` for inputs, outputs and errors.

    >>> import jax, jax.numpy as jnp
    >>> layer = GRU(8, return_sequences=True)
    >>> params, _ = layer.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> layer.apply(params, {}, jnp.ones((2, 5, 3)))[0].shape, params["bias"].shape
    ((2, 5, 8), (2, 24))
    """
    initializers = (kernel_initializer, recurrent_initializer, bias_initializer)
    options = _Options(units, initializers, return_sequences, return_state, go_backwards, input_dim, dtype)
    init = partial(gru_init, use_bias=use_bias, reset_after=reset_after)
    acts = {"activation": activation, "recurrent_activation": recurrent_activation}
    return regularized(
        _recurrent_layer("GRU", name, init, partial(gru, reset_after=reset_after), acts, options), weights
    )
