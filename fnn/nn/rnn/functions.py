"""SimpleRNN, LSTM and GRU as pure functions: initial parameters, one step, a whole sequence.

Unknown initializers or activations, and sizes below 1, raise `InputError`.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp

from ..._core.checks import check_count
from ..._core.flags import flagged
from ..._core.types import Array, DType, Key, Shape
from ..activations import ActivationLike
from ..initializers import Initializer, Initializers
from ..layer import initialize
from .cells import GRU_AFTER, GRU_BEFORE, LSTM_CELL, SIMPLE_RNN, Carry, Cell, GRUCarry, LSTMCarry, SimpleRNNCarry
from .sequence import SequenceOptions, run_cell, run_sequence


@flagged
def simple_rnn_init(
    key: Key,
    in_features: int,
    units: int,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of a simple RNN.

    ``kernel`` (in_features, units), ``recurrent_kernel`` (units, units) and, unless ``use_bias=False``, ``bias``
    (units,). Errors as in `dense_init`.
    """
    initializers = (kernel_initializer, recurrent_initializer, bias_initializer)
    return _recurrent_init("simple_rnn_init", SIMPLE_RNN, key, (in_features, units), use_bias, initializers, dtype)


def simple_rnn_cell(
    params: Mapping[str, Array], carry: SimpleRNNCarry, x: Array, *, activation: ActivationLike = "tanh"
) -> tuple[SimpleRNNCarry, Array]:
    """One step, ``h' = activation(x @ kernel + h @ recurrent_kernel + bias)`` (Elman 1990).

    Args:
      params: from `simple_rnn_init`; ``bias`` is optional.
      carry: from the previous step.
      x: (batch, in_features) of the kernel's dtype, or (batch,) integer ids, which stand for their one-hot rows.
      activation: a name or a function; default tanh.

    Returns:
      The new carry and the output (batch, units), which is ``carry.h``; the order is that of `jax.lax.scan`.

    Raises:
      InputError: when shapes or dtypes of x, carry and parameters do not fit.

    >>> import jax.numpy as jnp
    >>> params = {"kernel": jnp.array([[2.0]]), "recurrent_kernel": jnp.array([[0.5]])}
    >>> carry, y = simple_rnn_cell(params, SimpleRNNCarry(jnp.array([[4.0]])), jnp.array([[3.0]]), activation=None)
    >>> print(y)
    [[8.]]
    """
    return run_cell("simple_rnn_cell", SIMPLE_RNN, params, carry, x, (activation, None))


@flagged
def simple_rnn(
    params: Mapping[str, Array],
    x: Array,
    carry: SimpleRNNCarry | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    activation: ActivationLike = "tanh",
) -> tuple[Array, SimpleRNNCarry]:
    """A whole sequence through `simple_rnn_cell`; result and errors as in `lstm`.

    Args:
      params: from `simple_rnn_init`; ``bias`` is optional.
      x, carry, mask, reverse, return_sequences: as in `lstm`.
      activation: as in `simple_rnn_cell`.

    >>> import jax, jax.numpy as jnp
    >>> ys, carry = simple_rnn(simple_rnn_init(jax.random.key(0), 3, 8), jnp.ones((2, 5, 3)))
    >>> ys.shape, carry.h.shape
    ((2, 5, 8), (2, 8))
    """
    options = SequenceOptions(mask, reverse, return_sequences)
    return run_sequence("simple_rnn", SIMPLE_RNN, params, x, carry, (activation, None), options)


@flagged
def lstm_init(
    key: Key,
    in_features: int,
    units: int,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    unit_forget_bias: bool = True,
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of an LSTM, the gates packed in Keras's order i, f, c, o.

    ``kernel`` (in_features, 4 units), ``recurrent_kernel`` (units, 4 units) and, unless ``use_bias=False``, ``bias``
    (4 units,). With ``unit_forget_bias`` the forget gate's part of the bias is 1 (Jozefowicz et al. 2015). Errors as in
    `dense_init`.
    """
    initializers = (kernel_initializer, recurrent_initializer, bias_initializer)
    params = _recurrent_init("lstm_init", LSTM_CELL, key, (in_features, units), use_bias, initializers, dtype)
    if use_bias and unit_forget_bias:
        params["bias"] = params["bias"].at[units : 2 * units].set(1.0)
    return params


def lstm_cell(
    params: Mapping[str, Array],
    carry: LSTMCarry,
    x: Array,
    *,
    activation: ActivationLike = "tanh",
    recurrent_activation: ActivationLike = "sigmoid",
) -> tuple[LSTMCarry, Array]:
    """One step of long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    With ``z_i, z_f, z_c, z_o = x @ kernel + h @ recurrent_kernel + bias``, ``s`` the recurrent activation and ``t``
    the activation: ``c' = s(z_f) * c + s(z_i) * t(z_c)`` and ``h' = s(z_o) * t(c')``.

    Args:
      params: from `lstm_init`; ``bias`` is optional.
      carry, x, activation: as in `simple_rnn_cell`, and so are result and errors.
      recurrent_activation: of the gates; default sigmoid.

    >>> import jax, jax.numpy as jnp
    >>> params = lstm_init(jax.random.key(0), 3, 8)
    >>> carry = LSTMCarry(h=jnp.zeros((2, 8)), c=jnp.zeros((2, 8)))
    >>> carry, y = lstm_cell(params, carry, jnp.ones((2, 3)))
    >>> y.shape
    (2, 8)
    """
    return run_cell("lstm_cell", LSTM_CELL, params, carry, x, (activation, recurrent_activation))


@flagged
def lstm(
    params: Mapping[str, Array],
    x: Array,
    carry: LSTMCarry | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    activation: ActivationLike = "tanh",
    recurrent_activation: ActivationLike = "sigmoid",
) -> tuple[Array, LSTMCarry]:
    """A whole sequence through `lstm_cell`.

    Args:
      params: from `lstm_init`; ``bias`` is optional.
      x: (batch, time, in_features) of the kernel's dtype, or (batch, time) integer ids. Ids stand for their one-hot
        rows, which are not built; an id outside [0, in_features) makes the outputs of its row NaN from there on.
      carry: the initial carry; default zeros.
      mask: (batch, time) booleans. At a step where it is False, the carry stays, the output repeats the previous one
        (at the first step, the initial carry's ``h``), and the values of x are ignored.
      reverse: run from the last step to the first. Outputs stay aligned with inputs: ``ys[:, t]`` belongs to
        ``x[:, t]``, and the returned carry is the one after the first step.
      return_sequences: False returns only the last output, (batch, units), and does not store the others.
      activation, recurrent_activation: as in `lstm_cell`.

    Returns:
      ``(ys, carry)``: the outputs (batch, time, units), or (batch, units), and the final carry.

    Raises:
      InputError: when rank, width or dtype of x, the shape or dtype of the mask, or the carry does not fit.

    Derivatives of every order work in both modes. With tanh, sigmoid, linear and relu the loop has a fast custom
    derivative (see `fnn.nn.rnn.sequence`); other activations use JAX's, which is slower.

    >>> import jax, jax.numpy as jnp
    >>> params = lstm_init(jax.random.key(0), 57, 8)
    >>> ys, carry = lstm(params, jnp.array([[3, 1, 4, 1, 5]]))
    >>> ys.shape, carry.c.shape, bool((ys[:, -1] == carry.h).all())
    ((1, 5, 8), (1, 8), True)
    """
    options = SequenceOptions(mask, reverse, return_sequences)
    return run_sequence("lstm", LSTM_CELL, params, x, carry, (activation, recurrent_activation), options)


@flagged
def gru_init(
    key: Key,
    in_features: int,
    units: int,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    reset_after: bool = True,
    dtype: DType = jnp.float32,
) -> dict[str, Array]:
    """Parameters of a GRU, the gates packed in Keras's order z, r, h.

    ``kernel`` (in_features, 3 units), ``recurrent_kernel`` (units, 3 units) and, unless ``use_bias=False``, ``bias``
    (2, 3 units), or (3 units,) with ``reset_after=False``. The two rows are for input and recurrent product. Errors
    as in `dense_init`.
    """
    initializers = (kernel_initializer, recurrent_initializer, bias_initializer)
    return _recurrent_init("gru_init", _gru_kind(reset_after), key, (in_features, units), use_bias, initializers, dtype)


@flagged
def gru_cell(
    params: Mapping[str, Array],
    carry: GRUCarry,
    x: Array,
    *,
    activation: ActivationLike = "tanh",
    recurrent_activation: ActivationLike = "sigmoid",
    reset_after: bool = True,
) -> tuple[GRUCarry, Array]:
    """One step of a gated recurrent unit (Cho et al. 2014, arXiv:1406.1078).

    With ``x_z, x_r, x_n = x @ kernel + bias``, blocks ``U`` of the recurrent kernel, ``s`` the recurrent activation
    and ``t`` the activation: ``z = s(x_z + h @ U_z)``, ``r = s(x_r + h @ U_r)`` and ``h' = z * h + (1 - z) * n``, where
    ``n = t(x_n + (r * h) @ U_n)`` as in the paper with ``reset_after=False``, and ``n = t(x_n + r * (h @ U_n))`` with
    ``reset_after=True``, the default as in Keras (with a separate bias for each ``h @ U``).

    Args:
      params: from `gru_init` with the same ``reset_after``; ``bias`` is optional.
      carry, x, activation: as in `simple_rnn_cell`, and so are result and errors.
      recurrent_activation: as in `lstm_cell`.
      reset_after: whether the reset gate acts after the recurrent product.

    >>> import jax, jax.numpy as jnp
    >>> carry, y = gru_cell(gru_init(jax.random.key(0), 3, 8), GRUCarry(jnp.zeros((2, 8))), jnp.ones((2, 3)))
    >>> y.shape
    (2, 8)
    """
    return run_cell("gru_cell", _gru_kind(reset_after), params, carry, x, (activation, recurrent_activation))


@flagged
def gru(
    params: Mapping[str, Array],
    x: Array,
    carry: GRUCarry | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    activation: ActivationLike = "tanh",
    recurrent_activation: ActivationLike = "sigmoid",
    reset_after: bool = True,
) -> tuple[Array, GRUCarry]:
    """A whole sequence through `gru_cell`; result and errors as in `lstm`.

    Args:
      params: from `gru_init` with the same ``reset_after``; ``bias`` is optional.
      x, carry, mask, reverse, return_sequences: as in `lstm`.
      activation, recurrent_activation, reset_after: as in `gru_cell`.

    >>> import jax, jax.numpy as jnp
    >>> ys, carry = gru(gru_init(jax.random.key(0), 3, 8), jnp.ones((2, 5, 3)))
    >>> ys.shape, carry.h.shape
    ((2, 5, 8), (2, 8))
    """
    options = SequenceOptions(mask, reverse, return_sequences)
    return run_sequence("gru", _gru_kind(reset_after), params, x, carry, (activation, recurrent_activation), options)


def _gru_kind(reset_after: bool) -> Cell[GRUCarry]:
    return GRU_AFTER if reset_after else GRU_BEFORE


def _recurrent_init(
    where: str, kind: Cell[Carry], key: Key, size: Shape, use_bias: bool, initializers: Initializers, dtype: DType
) -> dict[str, Array]:
    in_features, units = size
    check_count(where, "in_features", in_features)
    check_count(where, "units", units)
    width, (kernel, recurrent_kernel, bias) = kind.gates * units, initializers
    return initialize(
        key,
        dtype,
        kernel=(kernel, (in_features, width)),
        recurrent_kernel=(recurrent_kernel, (units, width)),
        bias=(bias, kind.bias_shape(units)) if use_bias else None,
    )
