"""The equations of the recurrent cells: one step, and its tangent as a linear function of the incoming tangents.

Each cell is four functions, collected in a `Cell`: the step, the slopes that its tangent multiplies with, the forcing
(the tangents of weights and inputs, formed for all steps at once), and the tangent of the step. In the equations
``U`` is the recurrent kernel, ``zx`` the projected input, ``i'`` the slope of the activation at gate ``i``, and ``d``
marks tangents. `fnn.nn.rnn.sequence` runs these functions in loops over time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import jax.numpy as jnp
from jax import lax

from ..._core.dtypes import lift, spread
from ..._core.sharding import is_divided
from ..._core.types import Array, Shape
from ..activations import linear, relu, sigmoid, tanh


class SimpleRNNCarry(NamedTuple):
    """The state of a simple recurrent cell: its output ``h`` (batch, units)."""

    h: Array


class LSTMCarry(NamedTuple):
    """The state of an LSTM cell: its output ``h`` (batch, units) and its memory ``c`` (batch, units)."""

    h: Array
    c: Array


class GRUCarry(NamedTuple):
    """The state of a GRU cell: its output ``h`` (batch, units)."""

    h: Array


Arrays = tuple[Array, ...]
Carry = TypeVar("Carry", SimpleRNNCarry, LSTMCarry, GRUCarry)

# Derivatives of activations as functions of their output, so that slopes need nothing but the saved output.
DERIVATIVES: dict[Callable[[Array], Array], Callable[[Array], Array]] = {
    tanh: lambda y: 1.0 - y * y,
    sigmoid: lambda y: y * (1.0 - y),
    linear: jnp.ones_like,
    relu: lambda y: jnp.where(y <= 0, jnp.zeros_like(y), jnp.ones_like(y)),
}


class CellActivations(NamedTuple):
    """The two activations of a cell, of its candidate and of its gates, or their derivatives."""

    main: Callable[[Array], Array]
    gate: Callable[[Array], Array]


class Weights(NamedTuple):
    """The weights that a step reads, without the input projection."""

    recurrent: Array
    bias: Array | None = None  # GRU with reset_after: the recurrent bias of the candidate


@dataclasses.dataclass(frozen=True)
class Packed(Generic[Carry]):
    """Slopes and tangent of a cell in few operations per step, for a TPU, where each costs as much as a small product.

    Attributes:
      saved: ``(carry, gates, derivatives) -> saved`` at one step; slopes and output follow from it elementwise.
      restored: ``(saved, derivatives) -> (h, slopes)``, for all steps; ``h`` is the output of each.
      pack: ``slopes -> slopes`` in the form that ``tangent`` takes, for all steps.
      tangent: as that of the `Cell`.
    """

    saved: Callable[..., Arrays]
    restored: Callable[..., tuple[Array, Arrays]]
    pack: Callable[[Arrays], Arrays]
    tangent: Callable[..., Carry]


@dataclasses.dataclass(frozen=True)
class Cell(Generic[Carry]):
    """One kind of cell.

    Attributes:
      carry: the type of its carry.
      gates: number of blocks of ``units`` columns in the packed kernels.
      step: ``(weights, carry, zx, acts) -> (carry, gates)``, one step after the input projection ``zx``.
      slopes: ``(carry, gates, derivatives) -> slopes`` at one step.
      forcing: ``(dweights, dzx, hs, slopes) -> forcing``, for all steps.
      tangent: ``(U.T, dcarry, forcing, slopes) -> dcarry``, the tangent of one step.
      recurrent_bias: whether the recurrent product has a separate bias.
      packed: the same for a TPU, if there is a faster form.
    """

    carry: type[Carry]
    gates: int
    step: Callable[..., tuple[Carry, Arrays]]
    slopes: Callable[..., Arrays]
    forcing: Callable[..., Array | tuple[Array, Array]]
    tangent: Callable[..., Carry]
    recurrent_bias: bool = False
    packed: Packed[Carry] | None = None

    def bias_shape(self, units: int) -> Shape:
        """The shape of the bias of a layer of this width."""
        width = self.gates * units
        return (2, width) if self.recurrent_bias else (width,)


def all_steps(xs: Array, kernel: Array) -> Array:
    """``xs @ kernel`` for (time, batch, in) as one product of two matrices."""
    if is_divided():
        # Merging time with a divided batch would gather all steps for the gradient of the kernel.
        return jnp.einsum("tbi,io->tbo", xs, kernel)
    # In two dimensions, since XLA would copy the long operand for a gradient that contracts time and batch separately.
    return (xs.reshape(-1, xs.shape[-1]) @ kernel).reshape(*xs.shape[:-1], kernel.shape[-1])


def _split(packed: Array, parts: int) -> Sequence[Array]:
    # lax.split transposes to one concatenation; slices would transpose to a sum of padded arrays.
    return lax.split(packed, [packed.shape[-1] // parts] * parts, axis=packed.ndim - 1)


def _times(a: Array, kernel_t: Array) -> Array:
    # The kernel comes transposed, so that the backward loop, which transposes it again, has it in plain order.
    return lax.dot_general(a, kernel_t, (((1,), (1,)), ((), ())))


def _activate(packed: Array, acts: Sequence[Callable[[Array], Array]]) -> Sequence[Array]:
    """Split a packed array into gates and apply the activation of each."""
    if all(act in (tanh, sigmoid) for act in acts) and len(set(acts)) > 1:
        gates: Sequence[Array] = lax.platform_dependent(
            packed, tpu=partial(_each_activated, acts=acts), default=partial(_activated_as_one, acts=acts)
        )
        return gates
    if len(set(acts)) == 1 and acts[0] in DERIVATIVES:  # elementwise, unlike softmax
        return _split(acts[0](packed), len(acts))
    return _each_activated(packed, acts)


def _each_activated(packed: Array, acts: Sequence[Callable[[Array], Array]]) -> Sequence[Array]:
    return [act(part) for act, part in zip(acts, _split(packed, len(acts)), strict=True)]


def _activated_as_one(packed: Array, acts: Sequence[Callable[[Array], Array]]) -> Sequence[Array]:
    # sigmoid(x) = (1 + tanh(x / 2)) / 2 makes them one function of the packed array. XLA's CPU backend computes
    # functions of slices four times slower, because it fuses the sum that they share into each slice.
    units = packed.shape[-1] // len(acts)
    half = jnp.repeat(jnp.array([0.5 if act is sigmoid else 1.0 for act in acts], packed.dtype), units)
    half = lift(half, packed)
    packed = half * tanh(half * packed) + (1.0 - half)
    return _split(packed, len(acts))


def _packed_forcing(d: Weights, dzx: Array, hs: Array, slopes: Arrays) -> Array:
    return dzx + all_steps(hs, d.recurrent)


def _simple_rnn_step(
    weights: Weights, carry: SimpleRNNCarry, zx: Array, acts: CellActivations
) -> tuple[SimpleRNNCarry, Arrays]:
    h = acts.main(zx + carry.h @ weights.recurrent)
    return SimpleRNNCarry(h), (h,)


def _simple_rnn_slopes(carry: SimpleRNNCarry, gates: Arrays, acts: CellActivations) -> Arrays:
    return (acts.main(gates[0]),)


def _simple_rnn_tangent(kernel_t: Array, d: SimpleRNNCarry, forcing: Array, slopes: Arrays) -> SimpleRNNCarry:
    """The tangent of one step, ``dh_new = a'(h_new) (dzx + h @ dU + dh @ U)``; the first two terms are the forcing."""
    return SimpleRNNCarry(slopes[0] * (forcing + _times(d.h, kernel_t)))


def _lstm_step(weights: Weights, carry: LSTMCarry, zx: Array, acts: CellActivations) -> tuple[LSTMCarry, Arrays]:
    i, f, g, o = _activate(zx + carry.h @ weights.recurrent, (acts.gate, acts.gate, acts.main, acts.gate))
    c = f * carry.c + i * g
    s = acts.main(c)
    return LSTMCarry(o * s, c), (i, f, g, o, s)


def _lstm_slopes(carry: LSTMCarry, gates: Arrays, acts: CellActivations) -> Arrays:
    i, f, g, o, s = gates
    to_c = acts.gate(i) * g, acts.gate(f) * carry.c, acts.main(g) * i
    return *to_c, acts.gate(o) * s, f, o * acts.main(s)


def _lstm_tangent(kernel_t: Array, d: LSTMCarry, forcing: Array, slopes: Arrays) -> LSTMCarry:
    """The tangent of one step, with ``dz = dzx + h @ dU + dh @ U`` (the first two terms are the forcing).

    With slopes ``i', f', g', o', s'`` of the activations at the gates i, f, g, o and at the memory, ``s = t(c)``:

        dc_new = f dc + (i' g) dz_i + (f' c) dz_f + (g' i) dz_g
        dh_new = (o s') dc_new + (o' s) dz_o
    """
    i_c, f_c, g_c, o_h, c_c, c_h = slopes
    i, f, g, o = _split(forcing + _times(d.h, kernel_t), 4)
    c = c_c * d.c + i_c * i + f_c * f + g_c * g
    return LSTMCarry(c_h * c + o_h * o, c)


def _lstm_saved(carry: LSTMCarry, gates: Arrays, acts: CellActivations) -> Arrays:
    i, f, g, o, s = gates
    return acts.gate(i) * g, acts.gate(f) * carry.c, acts.main(g) * i, f, o, s


def _lstm_restored(saved: Arrays, acts: CellActivations) -> tuple[Array, Arrays]:
    i_c, f_c, g_c, f, o, s = saved
    return o * s, (i_c, f_c, g_c, acts.gate(o) * s, f, o * acts.main(s))


def _lstm_pack(slopes: Arrays) -> Arrays:
    return jnp.concatenate(slopes[:4], axis=-1), *slopes[4:]


def _lstm_packed_tangent(kernel_t: Array, d: LSTMCarry, forcing: Array, slopes: Arrays) -> LSTMCarry:
    """`_lstm_tangent` with the slopes at the four gates in one array, (batch, 4 units)."""
    gates, c_c, c_h = slopes
    i, f, g, o = _split(gates * (forcing + _times(d.h, kernel_t)), 4)
    c = c_c * d.c + i + f + g
    return LSTMCarry(c_h * c + o, c)


def _gru_after_step(weights: Weights, carry: GRUCarry, zx: Array, acts: CellActivations) -> tuple[GRUCarry, Arrays]:
    x_z, x_r, x_n = _split(zx, 3)
    z, r, q = _split(carry.h @ weights.recurrent, 3)
    z, r, q = acts.gate(x_z + z), acts.gate(x_r + r), q if weights.bias is None else q + lift(weights.bias, q)
    n = acts.main(x_n + r * q)
    return GRUCarry(z * carry.h + (1.0 - z) * n), (z, r, n, q)


def _gru_after_slopes(carry: GRUCarry, gates: Arrays, acts: CellActivations) -> Arrays:
    z, r, n, q = gates
    n_h = (1.0 - z) * acts.main(n)
    return z, (carry.h - n) * acts.gate(z), n_h * q * acts.gate(r), n_h * r, n_h


def _gru_after_forcing(d: Weights, dzx: Array, hs: Array, slopes: Arrays) -> tuple[Array, Array]:
    du = all_steps(hs, d.recurrent)
    if d.bias is not None:
        z, r, q = _split(du, 3)
        du = jnp.concatenate([z, r, q + spread(d.bias, q)], axis=-1)
    return dzx, du


def _gru_after_tangent(kernel_t: Array, d: GRUCarry, forcing: tuple[Array, Array], slopes: Arrays) -> GRUCarry:
    """The tangent of one step, with ``du = h @ dU + dbias + dh @ U`` (all but the last term are the forcing).

    With slopes ``z', r', n'`` of the activations at the gates and at the candidate ``n = t(x_n + r q)``:

        dz = z' (dx_z + du_z),  dr = r' (dx_r + du_r),  dn = n' (dx_n + q dr + r du_q)
        dh_new = z dh + (h - n) dz + (1 - z) dn
    """
    z, z_h, r_h, q_h, n_h = slopes
    (x_z, x_r, x_n), (u_z, u_r, u_q) = _split(forcing[0], 3), _split(forcing[1] + _times(d.h, kernel_t), 3)
    return GRUCarry(z * d.h + z_h * (x_z + u_z) + r_h * (x_r + u_r) + q_h * u_q + n_h * x_n)


def _gru_before_step(weights: Weights, carry: GRUCarry, zx: Array, acts: CellActivations) -> tuple[GRUCarry, Arrays]:
    units = carry.h.shape[-1]
    x_z, x_r, x_n = _split(zx, 3)
    z, r = _split(carry.h @ weights.recurrent[:, : 2 * units], 2)
    z, r = acts.gate(x_z + z), acts.gate(x_r + r)
    n = acts.main(x_n + (r * carry.h) @ weights.recurrent[:, 2 * units :])
    return GRUCarry(z * carry.h + (1.0 - z) * n), (z, r, n)


def _gru_before_slopes(carry: GRUCarry, gates: Arrays, acts: CellActivations) -> Arrays:
    z, r, n = gates
    return z, (carry.h - n) * acts.gate(z), (1.0 - z) * acts.main(n), r, carry.h * acts.gate(r)


def _gru_before_forcing(d: Weights, dzx: Array, hs: Array, slopes: Arrays) -> Array:
    units, r = hs.shape[-1], slopes[3]
    zr, n = all_steps(hs, d.recurrent[:, : 2 * units]), all_steps(r * hs, d.recurrent[:, 2 * units :])
    return dzx + jnp.concatenate([zr, n], axis=-1)


def _gru_before_tangent(kernel_t: Array, d: GRUCarry, forcing: Array, slopes: Arrays) -> GRUCarry:
    """The tangent of one step; the terms with dx and dU are the forcing.

    With slopes ``z', r', n'`` of the activations at the gates and at the candidate ``n = t(x_n + (r h) @ U_n)``:

        dz = z' (dx_z + h @ dU_z + dh @ U_z),  dr = r' (dx_r + h @ dU_r + dh @ U_r)
        dn = n' (dx_n + (r h) @ dU_n + (r dh + h dr) @ U_n)
        dh_new = z dh + (h - n) dz + (1 - z) dn
    """
    z, z_h, n_h, r, r_m = slopes
    units = d.h.shape[-1]
    x_z, x_r, x_n = _split(forcing, 3)
    u_z, u_r = _split(_times(d.h, kernel_t[: 2 * units]), 2)
    n = x_n + _times(r * d.h + r_m * (x_r + u_r), kernel_t[2 * units :])
    return GRUCarry(z * d.h + z_h * (x_z + u_z) + n_h * n)


SIMPLE_RNN = Cell(SimpleRNNCarry, 1, _simple_rnn_step, _simple_rnn_slopes, _packed_forcing, _simple_rnn_tangent)
_PACKED_LSTM = Packed(_lstm_saved, _lstm_restored, _lstm_pack, _lstm_packed_tangent)
LSTM_CELL = Cell(LSTMCarry, 4, _lstm_step, _lstm_slopes, _packed_forcing, _lstm_tangent, packed=_PACKED_LSTM)
GRU_AFTER = Cell(GRUCarry, 3, _gru_after_step, _gru_after_slopes, _gru_after_forcing, _gru_after_tangent, True)
GRU_BEFORE = Cell(GRUCarry, 3, _gru_before_step, _gru_before_slopes, _gru_before_forcing, _gru_before_tangent)
