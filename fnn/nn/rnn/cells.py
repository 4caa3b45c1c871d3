"""The equations of the recurrent cells, one step at a time, with the slopes that their derivatives need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
from jax import lax

from ..._core.dtypes import lift
from ..._core.types import Array
from ..activations import linear, relu, sigmoid, tanh

Activation = str | Callable[[Array], Array] | None
Carry = TypeVar("Carry", bound="SimpleRNNCarry | LSTMCarry | GRUCarry")


class SimpleRNNCarry(NamedTuple):
    """What a simple recurrent cell hands on: its output ``h`` of shape (batch, units)."""

    h: Array


class LSTMCarry(NamedTuple):
    """What an LSTM cell hands on: its output ``h`` and its memory ``c``, each of shape (batch, units)."""

    h: Array
    c: Array


class GRUCarry(NamedTuple):
    """What a GRU cell hands on: its output ``h`` of shape (batch, units)."""

    h: Array


# Derivatives of activations as functions of their output; with these the saved slopes need nothing but the output.
SLOPES: dict[Callable[[Array], Array], Callable[[Array], Array]] = {
    tanh: lambda y: 1.0 - y * y,
    sigmoid: lambda y: y * (1.0 - y),
    linear: jnp.ones_like,
    relu: lambda y: jnp.where(y <= 0, jnp.zeros_like(y), jnp.ones_like(y)),
}


class CellActivations(NamedTuple):
    """The two activations of a cell: of its candidate and of its gates."""

    main: Callable[[Array], Array]
    gate: Callable[[Array], Array]


class Cell(NamedTuple):
    """One kind of cell.

    Attributes:
      carry: its NamedTuple.
      gates: how many blocks of ``units`` the packed kernels have.
      step: ``(weights, carry, zx, acts) -> (carry, gates)``, the cell behind the input projection ``zx``.
      slopes: ``(carry, gates, acts') -> slopes``, what the tangent of the step multiplies with.
      source: ``(weights', zx', hs, slopes) -> entering``, tangents that enter from outside, for all steps at once.
      push: ``(transposed kernel, carry', entering, slopes) -> carry'``, the tangent of the step.
    """

    name: str
    carry: Any
    gates: int
    step: Callable[..., tuple[Any, tuple[Array, ...]]]
    slopes: Callable[..., tuple[Array, ...]]
    source: Callable[..., Any]
    push: Callable[..., Any]


class Weights(NamedTuple):
    """The weights that a step reads, without the input projection."""

    recurrent: Array
    bias: Array | None = None  # GRU with reset_after: the recurrent bias of the candidate


def _split(packed: Array, parts: int) -> Sequence[Array]:
    # lax.split, since its transpose is one concatenation; that of slices is a sum of padded arrays.
    return lax.split(packed, [packed.shape[-1] // parts] * parts, axis=packed.ndim - 1)


def all_steps(xs: Array, kernel: Array) -> Array:
    """``xs @ kernel`` for (time, batch, in) as one product of two matrices."""
    # In two dimensions, since XLA would copy the long operand for a gradient that contracts time and batch apart.
    return (xs.reshape(-1, xs.shape[-1]) @ kernel).reshape(*xs.shape[:-1], kernel.shape[-1])


def _times(a: Array, kernel_t: Array) -> Array:
    # The kernel comes transposed, so that the backward loop, where this is transposed again, has it in plain order.
    return lax.dot_general(a, kernel_t, (((1,), (1,)), ((), ())))


def _activate(packed: Array, acts: Sequence[Callable[[Array], Array]]) -> Sequence[Array]:
    """The gates of a packed array, each with its activation function."""
    if all(act in (tanh, sigmoid) for act in acts) and len(set(acts)) > 1:
        # sigmoid(x) = (1 + tanh(x / 2)) / 2 makes them one function of the packed array. XLA's CPU backend computes
        # functions of slices four times slower, because it fuses the sum behind all of them into each slice.
        units = packed.shape[-1] // len(acts)
        half = jnp.repeat(jnp.array([0.5 if act is sigmoid else 1.0 for act in acts], packed.dtype), units)
        half = lift(half, packed)
        packed = half * tanh(half * packed) + (1.0 - half)
        return _split(packed, len(acts))
    if len(set(acts)) == 1 and acts[0] in SLOPES:  # elementwise, unlike softmax
        return _split(acts[0](packed), len(acts))
    return [act(part) for act, part in zip(acts, _split(packed, len(acts)), strict=True)]


def _simple_rnn_step(
    weights: Weights, carry: SimpleRNNCarry, zx: Array, acts: CellActivations
) -> tuple[SimpleRNNCarry, tuple[Array, ...]]:
    h = acts.main(zx + carry.h @ weights.recurrent)
    return SimpleRNNCarry(h), (h,)


def _simple_rnn_slopes(carry: SimpleRNNCarry, gates: tuple[Array, ...], slopes: CellActivations) -> tuple[Array, ...]:
    return (slopes.main(gates[0]),)


def _simple_rnn_push(kernel_t: Array, d: SimpleRNNCarry, entering: Array, slopes: tuple[Array, ...]) -> SimpleRNNCarry:
    return SimpleRNNCarry(slopes[0] * (entering + _times(d.h, kernel_t)))


def _packed_source(d: Weights, dzx: Array, hs: Array, slopes: tuple[Array, ...]) -> Array:
    return dzx + all_steps(hs, d.recurrent)


def _lstm_step(
    weights: Weights, carry: LSTMCarry, zx: Array, acts: CellActivations
) -> tuple[LSTMCarry, tuple[Array, ...]]:
    i, f, g, o = _activate(zx + carry.h @ weights.recurrent, (acts.gate, acts.gate, acts.main, acts.gate))
    c = f * carry.c + i * g
    s = acts.main(c)
    return LSTMCarry(o * s, c), (i, f, g, o, s)


def _lstm_slopes(carry: LSTMCarry, gates: tuple[Array, ...], slopes: CellActivations) -> tuple[Array, ...]:
    i, f, g, o, s = gates
    to_c = slopes.gate(i) * g, slopes.gate(f) * carry.c, slopes.main(g) * i
    return *to_c, slopes.gate(o) * s, f, o * slopes.main(s)


def _lstm_push(kernel_t: Array, d: LSTMCarry, entering: Array, slopes: tuple[Array, ...]) -> LSTMCarry:
    i_c, f_c, g_c, o_h, c_c, c_h = slopes
    i, f, g, o = _split(entering + _times(d.h, kernel_t), 4)
    c = c_c * d.c + i_c * i + f_c * f + g_c * g
    return LSTMCarry(c_h * c + o_h * o, c)


def _gru_after_step(
    weights: Weights, carry: GRUCarry, zx: Array, acts: CellActivations
) -> tuple[GRUCarry, tuple[Array, ...]]:
    x_z, x_r, x_n = _split(zx, 3)
    z, r, q = _split(carry.h @ weights.recurrent, 3)
    z, r, q = acts.gate(x_z + z), acts.gate(x_r + r), q if weights.bias is None else q + lift(weights.bias, q)
    n = acts.main(x_n + r * q)
    return GRUCarry(z * carry.h + (1.0 - z) * n), (z, r, n, q)


def _gru_after_slopes(carry: GRUCarry, gates: tuple[Array, ...], slopes: CellActivations) -> tuple[Array, ...]:
    z, r, n, q = gates
    n_h = (1.0 - z) * slopes.main(n)
    return z, (carry.h - n) * slopes.gate(z), n_h * q * slopes.gate(r), n_h * r, n_h


def _gru_after_source(d: Weights, dzx: Array, hs: Array, slopes: tuple[Array, ...]) -> tuple[Array, Array]:
    dq = all_steps(hs, d.recurrent)
    if d.bias is not None:
        z, r, q = _split(dq, 3)
        dq = jnp.concatenate([z, r, q + lift(d.bias, q)], axis=-1)
    return dzx, dq


def _gru_after_push(kernel_t: Array, d: GRUCarry, entering: tuple[Array, Array], slopes: tuple[Array, ...]) -> GRUCarry:
    z, z_h, r_h, q_h, n_h = slopes
    (x_z, x_r, x_n), (u_z, u_r, u_q) = _split(entering[0], 3), _split(entering[1] + _times(d.h, kernel_t), 3)
    return GRUCarry(z * d.h + z_h * (x_z + u_z) + r_h * (x_r + u_r) + q_h * u_q + n_h * x_n)


def _gru_before_step(
    weights: Weights, carry: GRUCarry, zx: Array, acts: CellActivations
) -> tuple[GRUCarry, tuple[Array, ...]]:
    units = carry.h.shape[-1]
    x_z, x_r, x_n = _split(zx, 3)
    z, r = _split(carry.h @ weights.recurrent[:, : 2 * units], 2)
    z, r = acts.gate(x_z + z), acts.gate(x_r + r)
    n = acts.main(x_n + (r * carry.h) @ weights.recurrent[:, 2 * units :])
    return GRUCarry(z * carry.h + (1.0 - z) * n), (z, r, n)


def _gru_before_slopes(carry: GRUCarry, gates: tuple[Array, ...], slopes: CellActivations) -> tuple[Array, ...]:
    z, r, n = gates
    return z, (carry.h - n) * slopes.gate(z), (1.0 - z) * slopes.main(n), r, carry.h * slopes.gate(r)


def _gru_before_source(d: Weights, dzx: Array, hs: Array, slopes: tuple[Array, ...]) -> Array:
    units, r = hs.shape[-1], slopes[3]
    zr, n = all_steps(hs, d.recurrent[:, : 2 * units]), all_steps(r * hs, d.recurrent[:, 2 * units :])
    return dzx + jnp.concatenate([zr, n], axis=-1)


def _gru_before_push(kernel_t: Array, d: GRUCarry, entering: Array, slopes: tuple[Array, ...]) -> GRUCarry:
    z, z_h, n_h, r, r_m = slopes
    units = d.h.shape[-1]
    x_z, x_r, x_n = _split(entering, 3)
    u_z, u_r = _split(_times(d.h, kernel_t[: 2 * units]), 2)
    n = x_n + _times(r * d.h + r_m * (x_r + u_r), kernel_t[2 * units :])
    return GRUCarry(z * d.h + z_h * (x_z + u_z) + n_h * n)


SIMPLE_RNN = Cell(
    "simple_rnn", SimpleRNNCarry, 1, _simple_rnn_step, _simple_rnn_slopes, _packed_source, _simple_rnn_push
)
LSTM_CELL = Cell("lstm", LSTMCarry, 4, _lstm_step, _lstm_slopes, _packed_source, _lstm_push)
GRU_AFTER = Cell("gru", GRUCarry, 3, _gru_after_step, _gru_after_slopes, _gru_after_source, _gru_after_push)
GRU_BEFORE = Cell("gru", GRUCarry, 3, _gru_before_step, _gru_before_slopes, _gru_before_source, _gru_before_push)
