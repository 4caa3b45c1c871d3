"""The layers SimpleRNN, LSTM and GRU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..._core.checks import check_count
from ..._core.described import described
from ..._core.errors import describe, fail
from ..._core.types import Array, Params
from ..activations import all_known, get_activation
from ..initializers import Initializer, get_initializer
from ..layer import Layer, param_dtype, parametric
from ..masks import Masked, sequence_of
from .cells import Activation
from .functions import gru, gru_init, lstm, lstm_init, simple_rnn, simple_rnn_init


def _layer(
    kind: str,
    init_fn: Callable[..., Params],
    sequence: Callable[..., tuple[Array, Any]],
    units: int,
    return_sequences: bool,
    return_state: bool,
    go_backwards: bool,
    input_dim: int | None,
    dtype: Any,
    name: str,
    per_example: bool,
) -> Layer:
    check_count(kind, "units", units)
    if input_dim is not None:
        check_count(kind, "input_dim", input_dim)

    def init(key: Array, x: Any) -> Params:
        if jnp.issubdtype(x.dtype, jnp.integer):
            if input_dim is None:
                hint = "Pass input_dim=n for ids from 0 to n - 1, or add OneHot(n) or Embedding(n, ...) before it."
                fail(kind, expected="the number of symbols with integer ids", got=describe(x), hint=hint)
            features = input_dim
        elif len(x.shape) != 3:
            hint = "Ids need an integer dtype, x.astype('int32'); a single feature needs its axis, x[..., None]."
            hint = hint if len(x.shape) == 2 else ""
            fail(kind, expected="x of shape (batch, time, features)", got=describe(x), hint=hint)
        else:
            features = x.shape[-1]
            if input_dim not in (None, features):
                fail(kind, expected=f"x of width input_dim = {input_dim}", got=describe(x))
        return init_fn(key, features, units, dtype=param_dtype(x, dtype))

    def apply(params: Params, x: Any) -> Any:
        x, mask = sequence_of(kind, x)
        y, carry = sequence(params, x, mask=mask, reverse=go_backwards, return_sequences=return_sequences)
        out: Any = y
        if return_sequences:
            if go_backwards:
                # In the order in which the steps were taken; the mask goes along, as it says which steps count.
                y, mask = jax.tree.map(lambda a: jnp.flip(a, 1), (y, mask))
            out = y if mask is None else Masked(y, mask)
        return (out, carry) if return_state else out

    return parametric(init, apply, name, kind, per_example, masked=True)


@described
def SimpleRNN(
    units: int,
    activation: Activation = "tanh",
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    return_sequences: bool = False,
    return_state: bool = False,
    go_backwards: bool = False,
    *,
    input_dim: int | None = None,
    dtype: Any = None,
    name: str = "simple_rnn",
) -> Layer:
    """A simple (Elman) recurrent layer; see `simple_rnn_cell` for the equation and `LSTM` for inputs and outputs.

    >>> import jax, jax.numpy as jnp
    >>> layer = SimpleRNN(8)
    >>> params, _ = layer.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> layer.apply(params, {}, jnp.ones((2, 5, 3)))[0].shape
    (2, 8)
    """
    init = partial(
        simple_rnn_init,
        use_bias=use_bias,
        kernel_initializer=get_initializer(kernel_initializer),
        recurrent_initializer=get_initializer(recurrent_initializer),
        bias_initializer=get_initializer(bias_initializer),
    )
    sequence = partial(simple_rnn, activation=get_activation(activation))
    known = all_known(activation)
    return _layer(
        "SimpleRNN", init, sequence, units, return_sequences, return_state, go_backwards, input_dim, dtype, name, known
    )


@described
def LSTM(
    units: int,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    unit_forget_bias: bool = True,
    return_sequences: bool = False,
    return_state: bool = False,
    go_backwards: bool = False,
    *,
    input_dim: int | None = None,
    dtype: Any = None,
    name: str = "lstm",
) -> Layer:
    """A long short-term memory layer; see `lstm_cell` for the equation.

    The input is an array, or ``Masked(x, mask)``: the mask (batch, time) is False at steps to be skipped, and
    `Embedding` with ``mask_zero=True`` makes such sequences. The output ``y`` is the last one, (batch, units); with
    ``return_sequences=True`` it is all of them, (batch, time, units), or, if a mask came in, ``Masked(y, mask)``, so
    that recurrent layers can be stacked. With ``return_state=True`` that output becomes the first of the pair
    ``(output, carry)``.

    Args:
      units: width of the output.
      activation: a name or a function; default tanh.
      recurrent_activation: of the gates; default sigmoid.
      use_bias: whether to add a bias.
      kernel_initializer, recurrent_initializer, bias_initializer: a name or a function of key, shape and dtype.
      unit_forget_bias: whether the forget gate's bias starts at 1.
      return_sequences: whether to return the outputs of all steps or the last one.
      return_state: whether to return the carry after the last step too.
      go_backwards: walk from the last step to the first and, as in Keras, return the outputs in that order; the mask
        is turned round with them (Keras leaves it as it was).
      input_dim: the number of symbols; required when the inputs are integer ids (batch, time), which stand for
        one-hot rows.
      dtype: of the parameters; default that of ``x``, float32 for ids.
      name: base name in `Sequential`.

    Shapes: (batch, time, features), or integers (batch, time), to (batch, units) or (batch, time, units).

    Raises:
      InputError: for unknown names, units below 1, integer inputs without ``input_dim``, or (when applied) inputs
        that do not fit the parameters.

    >>> import jax, jax.numpy as jnp
    >>> layer, ids = LSTM(128, input_dim=57), jnp.array([[3, 1, 4, 1, 5]])
    >>> params, _ = layer.init(jax.random.key(0), ids)
    >>> params["kernel"].shape, layer.apply(params, {}, ids)[0].shape
    ((57, 512), (1, 128))
    """
    init = partial(
        lstm_init,
        use_bias=use_bias,
        kernel_initializer=get_initializer(kernel_initializer),
        recurrent_initializer=get_initializer(recurrent_initializer),
        bias_initializer=get_initializer(bias_initializer),
        unit_forget_bias=unit_forget_bias,
    )
    acts = get_activation(activation), get_activation(recurrent_activation)
    sequence = partial(lstm, activation=acts[0], recurrent_activation=acts[1])
    known = all_known(activation, recurrent_activation)
    return _layer(
        "LSTM", init, sequence, units, return_sequences, return_state, go_backwards, input_dim, dtype, name, known
    )


@described
def GRU(
    units: int,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    return_sequences: bool = False,
    return_state: bool = False,
    go_backwards: bool = False,
    reset_after: bool = True,
    *,
    input_dim: int | None = None,
    dtype: Any = None,
    name: str = "gru",
) -> Layer:
    """A layer of gated recurrent units; see `gru_cell` for the equation and `LSTM` for inputs and outputs.

    >>> import jax, jax.numpy as jnp
    >>> layer = GRU(8, return_sequences=True)
    >>> params, _ = layer.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> layer.apply(params, {}, jnp.ones((2, 5, 3)))[0].shape, params["bias"].shape
    ((2, 5, 8), (2, 24))
    """
    init = partial(
        gru_init,
        use_bias=use_bias,
        kernel_initializer=get_initializer(kernel_initializer),
        recurrent_initializer=get_initializer(recurrent_initializer),
        bias_initializer=get_initializer(bias_initializer),
        reset_after=reset_after,
    )
    acts = get_activation(activation), get_activation(recurrent_activation)
    sequence = partial(gru, activation=acts[0], recurrent_activation=acts[1], reset_after=reset_after)
    known = all_known(activation, recurrent_activation)
    return _layer(
        "GRU", init, sequence, units, return_sequences, return_state, go_backwards, input_dim, dtype, name, known
    )
