"""Recurrent layers: SimpleRNN, LSTM and GRU as cells, as whole sequences and as layers, and Bidirectional.

How a whole sequence is computed, and differentiated. The inputs of all steps are projected by one matrix product (a
row gather for integer ids) before the loop, whose body is one product with the packed recurrent kernel and arithmetic
per element. Differentiation goes through a custom JVP that states the tangent of a step as a *linear* recurrence

    dcarry[t] = J[t] dcarry[t-1] + (what enters from outside at step t)

where the entries of the Jacobian J[t] are elementwise slopes that the forward loop saves, and what enters from
outside (tangents of inputs and weights) is formed for all steps at once. JAX transposes it into the ideal backward
pass by itself: one walk back without any activation function, which emits the gradient at each step's gates, and then
one product over all steps for each weight gradient. Since the rule is ordinary JAX code, forward mode, reverse mode,
higher derivatives and ``vmap`` all work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from .._checks import check_count, check_same_dtype, describe, fail, leaf, lookup, shape_text
from .._dtypes import lift
from .activations import all_known, get_activation, linear, relu, sigmoid, tanh
from .embedding import ONE_HOT_ROWS, Rows, note_ids, take_rows
from .initializers import Initializer, get_initializer
from .layer import Layer, call, param_dtype, parametric, shape_of
from .masks import Masked, kept, sequence_of

Array = jax.Array
Params = dict[str, Array]
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
_SLOPES: dict[Callable[[Array], Array], Callable[[Array], Array]] = {
    tanh: lambda y: 1.0 - y * y,
    sigmoid: lambda y: y * (1.0 - y),
    linear: jnp.ones_like,
    relu: lambda y: jnp.where(y <= 0, jnp.zeros_like(y), jnp.ones_like(y)),
}


class _Acts(NamedTuple):
    main: Callable[[Array], Array]
    gate: Callable[[Array], Array]


class _Kind(NamedTuple):
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


class _Weights(NamedTuple):
    recurrent: Array
    bias: Array | None = None  # GRU with reset_after: the recurrent bias of the candidate


def _split(packed: Array, parts: int) -> Sequence[Array]:
    # lax.split, since its transpose is one concatenation; that of slices is a sum of padded arrays.
    return lax.split(packed, [packed.shape[-1] // parts] * parts, axis=packed.ndim - 1)


def _all_steps(xs: Array, kernel: Array) -> Array:
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
    if len(set(acts)) == 1 and acts[0] in _SLOPES:  # elementwise, unlike softmax
        return _split(acts[0](packed), len(acts))
    return [act(part) for act, part in zip(acts, _split(packed, len(acts)), strict=True)]


def _simple_rnn_step(
    weights: _Weights, carry: SimpleRNNCarry, zx: Array, acts: _Acts
) -> tuple[SimpleRNNCarry, tuple[Array, ...]]:
    h = acts.main(zx + carry.h @ weights.recurrent)
    return SimpleRNNCarry(h), (h,)


def _simple_rnn_slopes(carry: SimpleRNNCarry, gates: tuple[Array, ...], slopes: _Acts) -> tuple[Array, ...]:
    return (slopes.main(gates[0]),)


def _simple_rnn_push(kernel_t: Array, d: SimpleRNNCarry, entering: Array, slopes: tuple[Array, ...]) -> SimpleRNNCarry:
    return SimpleRNNCarry(slopes[0] * (entering + _times(d.h, kernel_t)))


def _packed_source(d: _Weights, dzx: Array, hs: Array, slopes: tuple[Array, ...]) -> Array:
    return dzx + _all_steps(hs, d.recurrent)


def _lstm_step(weights: _Weights, carry: LSTMCarry, zx: Array, acts: _Acts) -> tuple[LSTMCarry, tuple[Array, ...]]:
    i, f, g, o = _activate(zx + carry.h @ weights.recurrent, (acts.gate, acts.gate, acts.main, acts.gate))
    c = f * carry.c + i * g
    s = acts.main(c)
    return LSTMCarry(o * s, c), (i, f, g, o, s)


def _lstm_slopes(carry: LSTMCarry, gates: tuple[Array, ...], slopes: _Acts) -> tuple[Array, ...]:
    i, f, g, o, s = gates
    to_c = slopes.gate(i) * g, slopes.gate(f) * carry.c, slopes.main(g) * i
    return *to_c, slopes.gate(o) * s, f, o * slopes.main(s)


def _lstm_push(kernel_t: Array, d: LSTMCarry, entering: Array, slopes: tuple[Array, ...]) -> LSTMCarry:
    i_c, f_c, g_c, o_h, c_c, c_h = slopes
    i, f, g, o = _split(entering + _times(d.h, kernel_t), 4)
    c = c_c * d.c + i_c * i + f_c * f + g_c * g
    return LSTMCarry(c_h * c + o_h * o, c)


# GRU with the reset gate after the recurrent product: n = act(x_h + r * (h @ R_h + b_h)).


def _gru_after_step(weights: _Weights, carry: GRUCarry, zx: Array, acts: _Acts) -> tuple[GRUCarry, tuple[Array, ...]]:
    x_z, x_r, x_n = _split(zx, 3)
    z, r, q = _split(carry.h @ weights.recurrent, 3)
    z, r, q = acts.gate(x_z + z), acts.gate(x_r + r), q if weights.bias is None else q + lift(weights.bias, q)
    n = acts.main(x_n + r * q)
    return GRUCarry(z * carry.h + (1.0 - z) * n), (z, r, n, q)


def _gru_after_slopes(carry: GRUCarry, gates: tuple[Array, ...], slopes: _Acts) -> tuple[Array, ...]:
    z, r, n, q = gates
    n_h = (1.0 - z) * slopes.main(n)
    return z, (carry.h - n) * slopes.gate(z), n_h * q * slopes.gate(r), n_h * r, n_h


def _gru_after_source(d: _Weights, dzx: Array, hs: Array, slopes: tuple[Array, ...]) -> tuple[Array, Array]:
    dq = _all_steps(hs, d.recurrent)
    if d.bias is not None:
        z, r, q = _split(dq, 3)
        dq = jnp.concatenate([z, r, q + lift(d.bias, q)], axis=-1)
    return dzx, dq


def _gru_after_push(kernel_t: Array, d: GRUCarry, entering: tuple[Array, Array], slopes: tuple[Array, ...]) -> GRUCarry:
    z, z_h, r_h, q_h, n_h = slopes
    (x_z, x_r, x_n), (u_z, u_r, u_q) = _split(entering[0], 3), _split(entering[1] + _times(d.h, kernel_t), 3)
    return GRUCarry(z * d.h + z_h * (x_z + u_z) + r_h * (x_r + u_r) + q_h * u_q + n_h * x_n)


# GRU with the reset gate before the recurrent product: n = act(x_h + (r * h) @ R_h).


def _gru_before_step(weights: _Weights, carry: GRUCarry, zx: Array, acts: _Acts) -> tuple[GRUCarry, tuple[Array, ...]]:
    units = carry.h.shape[-1]
    x_z, x_r, x_n = _split(zx, 3)
    z, r = _split(carry.h @ weights.recurrent[:, : 2 * units], 2)
    z, r = acts.gate(x_z + z), acts.gate(x_r + r)
    n = acts.main(x_n + (r * carry.h) @ weights.recurrent[:, 2 * units :])
    return GRUCarry(z * carry.h + (1.0 - z) * n), (z, r, n)


def _gru_before_slopes(carry: GRUCarry, gates: tuple[Array, ...], slopes: _Acts) -> tuple[Array, ...]:
    z, r, n = gates
    return z, (carry.h - n) * slopes.gate(z), (1.0 - z) * slopes.main(n), r, carry.h * slopes.gate(r)


def _gru_before_source(d: _Weights, dzx: Array, hs: Array, slopes: tuple[Array, ...]) -> Array:
    units, r = hs.shape[-1], slopes[3]
    zr, n = _all_steps(hs, d.recurrent[:, : 2 * units]), _all_steps(r * hs, d.recurrent[:, 2 * units :])
    return dzx + jnp.concatenate([zr, n], axis=-1)


def _gru_before_push(kernel_t: Array, d: GRUCarry, entering: Array, slopes: tuple[Array, ...]) -> GRUCarry:
    z, z_h, n_h, r, r_m = slopes
    units = d.h.shape[-1]
    x_z, x_r, x_n = _split(entering, 3)
    u_z, u_r = _split(_times(d.h, kernel_t[: 2 * units]), 2)
    n = x_n + _times(r * d.h + r_m * (x_r + u_r), kernel_t[2 * units :])
    return GRUCarry(z * d.h + z_h * (x_z + u_z) + n_h * n)


_SIMPLE_RNN = _Kind(
    "simple_rnn", SimpleRNNCarry, 1, _simple_rnn_step, _simple_rnn_slopes, _packed_source, _simple_rnn_push
)
_LSTM = _Kind("lstm", LSTMCarry, 4, _lstm_step, _lstm_slopes, _packed_source, _lstm_push)
_GRU_AFTER = _Kind("gru", GRUCarry, 3, _gru_after_step, _gru_after_slopes, _gru_after_source, _gru_after_push)
_GRU_BEFORE = _Kind("gru", GRUCarry, 3, _gru_before_step, _gru_before_slopes, _gru_before_source, _gru_before_push)


class _Plan(NamedTuple):
    """What is fixed before tracing."""

    kind: _Kind
    acts: _Acts
    reverse: bool
    sequences: bool


def _keep(mask: Array | None, new: Carry, old: Carry) -> Carry:
    """The new carry where the mask is True, the old one elsewhere."""
    if mask is None:
        return new
    return jax.tree.map(lambda n, o: lax.select(jnp.broadcast_to(mask[:, None], n.shape), n, o), new, old)


def _scan(
    plan: _Plan, weights: _Weights, zx: Array | Rows, carry: Any, mask: Array | None, slopes: _Acts | None
) -> Any:
    """The loop over time, ``(carry, (outputs, h before each step, slopes))``, with None for what is not asked for."""

    def body(old: Any, xs: tuple[Array, Array | None]) -> Any:
        now, mask = xs
        # Rows are read inside the loop, so that the projections of all steps never lie in memory.
        now = Rows(zx.table, now).read() if isinstance(zx, Rows) else now
        stepped, gates = plan.kind.step(weights, old, now, plan.acts)
        new = _keep(mask, stepped, old)
        saved = (None, None) if slopes is None else (old.h, plan.kind.slopes(old, gates, slopes))
        return new, (new.h if plan.sequences else None, *saved)

    return lax.scan(body, carry, (zx.ids if isinstance(zx, Rows) else zx, mask), reverse=plan.reverse)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sequence(
    plan: _Plan, weights: _Weights, zx: Array | Rows, carry: Any, mask: Array | None
) -> tuple[Array | None, Any]:
    carry, (ys, _, _) = _scan(plan, weights, zx, carry, mask, None)
    return ys, carry


@_sequence.defjvp
def _sequence_jvp(plan: _Plan, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    weights, zx, carry, mask = primals
    dweights, dzx, dcarry, _ = tangents
    slope_fns = _Acts(*(_SLOPES[act] for act in plan.acts))
    carry, (ys, hs, slopes) = _scan(plan, weights, zx, carry, mask, slope_fns)
    if isinstance(zx, Rows):
        dzx = zx.product(dzx.table)
    entering = plan.kind.source(dweights, dzx, hs, slopes)
    kernel_t = weights.recurrent.T

    def body(old: Any, xs: Any) -> Any:
        entering, slopes, mask = xs
        new = _keep(mask, plan.kind.push(kernel_t, old, entering, slopes), old)
        return new, new.h if plan.sequences else None

    dcarry, dys = lax.scan(body, dcarry, (entering, slopes, mask), reverse=plan.reverse)
    return (ys, carry), (dys, dcarry)


def _weights(where: str, kind: _Kind, params: Params) -> tuple[Array, Array | None, _Weights]:
    """The kernel, the bias that joins the input projection, and what the loop needs."""
    kernel, recurrent = leaf(where, params, "kernel"), leaf(where, params, "recurrent_kernel")
    width = kind.gates * recurrent.shape[0]
    if recurrent.shape[1:] != (width,) or kernel.shape[1:] != (width,):
        fail(
            where,
            expected=f"a kernel (in, {kind.gates} * units) and a recurrent_kernel (units, {kind.gates} * units)",
            got=f"{describe(kernel)} and {describe(recurrent)}",
            hint="Are these another layer's?",
        )
    bias = params.get("bias")
    if bias is None:
        return kernel, None, _Weights(recurrent)
    shape = (2, width) if kind is _GRU_AFTER else (width,)
    if bias.shape != shape:
        hint = "Are these another layer's?"
        if kind.carry is GRUCarry:
            hint = "The bias has two rows with reset_after=True (the default) and is a vector with reset_after=False."
        fail(where, expected=f"a bias of shape {shape_text(shape)}", got=describe(bias), hint=hint)
    if kind is not _GRU_AFTER:
        return kernel, bias, _Weights(recurrent)
    # The recurrent biases of z and r only add to the input's; that of the candidate sits inside the product with r.
    gates = 2 * recurrent.shape[0]
    joined = jnp.concatenate([bias[0, :gates] + bias[1, :gates], bias[0, gates:]])
    return kernel, joined, _Weights(recurrent, bias[1, gates:])


def _check_x(where: str, kernel: Array, x: Array, axes: tuple[str, ...]) -> None:
    """Integer ids have the leading ``axes`` alone, floating-point features one axis more."""
    rank, features = len(axes), kernel.shape[0]
    if jnp.issubdtype(x.dtype, jnp.integer):
        if x.ndim != rank:
            hint = "Features need a floating-point dtype: x.astype('float32')." if x.ndim == rank + 1 else ""
            fail(where, expected=f"integer ids of shape {shape_text(axes)}", got=describe(x), hint=hint)
        note_ids(where, x, features)
        return
    if x.ndim != rank + 1 or x.shape[-1] != features:
        expected = f"x of shape {shape_text((*axes, features))} or integer ids of shape {shape_text(axes)}"
        hint = ""
        if x.ndim == rank:
            hint = "Ids need an integer dtype, x.astype('int32'); a single feature needs its axis, x[..., None]."
        fail(where, expected=expected, got=describe(x), hint=hint)
    check_same_dtype(where, x, kernel)


def _check_carry(where: str, kind: _Kind, carry: Any, batch: int, recurrent: Array) -> None:
    shape = (batch, recurrent.shape[0])
    if not isinstance(carry, kind.carry):
        hint = f"Make one of arrays of shape (batch, units) = {shape}."
        fail(where, expected=f"carry to be a {kind.carry.__name__}", got=describe(carry), hint=hint)
    for field, value in zip(kind.carry._fields, carry, strict=True):
        if jnp.shape(value) != shape or value.dtype != recurrent.dtype:
            expected = f"carry.{field} of dtype {recurrent.dtype} and shape (batch, units) = {shape}"
            fail(where, expected=expected, got=describe(value))


def _check_mask(where: str, mask: Any, shape: tuple[int, ...]) -> None:
    if not (hasattr(mask, "shape") and hasattr(mask, "dtype")):
        fail(where, expected="a mask that is a boolean array", got=describe(mask))
    if tuple(mask.shape) != shape or mask.dtype != jnp.bool_:
        hint = "Convert it with mask.astype(bool)." if tuple(mask.shape) == shape else ""
        fail(where, expected=f"a boolean mask of shape (batch, time) = {shape}", got=describe(mask), hint=hint)


def _project(kernel: Array, bias: Array | None, x: Array, lazy: bool = False) -> Array | Rows:
    """``x @ kernel + bias``, or rows of the kernel for integer ids, if ``lazy`` and few not read yet."""
    if not jnp.issubdtype(x.dtype, jnp.integer):
        y = _all_steps(x, kernel)
    elif kernel.shape[0] <= min(x.size, ONE_HOT_ROWS):
        table = kernel if bias is None else kernel + bias[None]  # fewer additions than after taking the rows
        return Rows.of(table, x) if lazy else take_rows(table, x)
    else:
        y = take_rows(kernel, x)
    return y if bias is None else y + lift(bias, y)


def _cell(
    where: str, kind: _Kind, params: Params, carry: Any, x: Array, main: Activation, gate: Activation
) -> tuple[Any, Array]:
    x = jnp.asarray(x)
    kernel, bias, weights = _weights(where, kind, params)
    _check_x(where, kernel, x, ("batch",))
    _check_carry(where, kind, carry, x.shape[0], weights.recurrent)
    acts = _Acts(get_activation(main), get_activation(gate))
    carry, _ = kind.step(weights, carry, _project(kernel, bias, x), acts)
    return carry, carry.h


def _run(
    where: str,
    kind: _Kind,
    params: Params,
    x: Array,
    carry: Any,
    mask: Array | None,
    reverse: bool,
    return_sequences: bool,
    main: Activation,
    gate: Activation,
) -> tuple[Array, Any]:
    x = jnp.asarray(x)
    kernel, bias, weights = _weights(where, kind, params)
    _check_x(where, kernel, x, ("batch", "time"))
    if mask is not None:
        _check_mask(where, mask, x.shape[:2])
        # What stands at masked steps must not matter, not even NaN or an id out of range.
        x = kept(jnp.asarray(mask), x)
        mask = jnp.asarray(mask).T
    if carry is None:
        zeros = jnp.zeros((x.shape[0], weights.recurrent.shape[0]), weights.recurrent.dtype)
        carry = kind.carry(*(zeros for _ in kind.carry._fields))
    _check_carry(where, kind, carry, x.shape[0], weights.recurrent)
    # Time first inside, so that each step reads and writes one block of memory.
    plan = _Plan(kind, _Acts(get_activation(main), get_activation(gate)), bool(reverse), bool(return_sequences))
    known = all(act in _SLOPES for act in plan.acts)
    zx = _project(kernel, bias, jnp.swapaxes(x, 0, 1), lazy=known)
    if known:
        ys, carry = _sequence(plan, weights, zx, carry, mask)
    else:
        # No slope from the output alone: the same loop, differentiated by JAX.
        carry, (ys, _, _) = _scan(plan, weights, zx, carry, mask, None)
    return (carry.h if ys is None else jnp.swapaxes(ys, 0, 1)), carry


def _init(
    where: str,
    kind: _Kind,
    key: Array,
    in_features: int,
    units: int,
    kernel_initializer: str | Initializer,
    recurrent_initializer: str | Initializer,
    dtype: Any,
) -> tuple[Params, Array]:
    """Both kernels, and a key for the bias."""
    check_count(where, "in_features", in_features)
    check_count(where, "units", units)
    kernel_key, recurrent_key, bias_key = jax.random.split(key, 3)
    width = kind.gates * units
    kernel = get_initializer(kernel_initializer)(kernel_key, (in_features, width), dtype)
    recurrent = get_initializer(recurrent_initializer)(recurrent_key, (units, width), dtype)
    return {"kernel": kernel, "recurrent_kernel": recurrent}, bias_key


def simple_rnn_init(
    key: Array,
    in_features: int,
    units: int,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    dtype: Any = jnp.float32,
) -> Params:
    """Parameters of a simple RNN.

    ``kernel`` (in_features, units), ``recurrent_kernel`` (units, units) and, with ``use_bias``, ``bias`` (units,).

    Raises:
      InputError: for unknown initializers and for sizes below 1.
    """
    params, bias_key = _init(
        "simple_rnn_init", _SIMPLE_RNN, key, in_features, units, kernel_initializer, recurrent_initializer, dtype
    )
    if use_bias:
        params["bias"] = get_initializer(bias_initializer)(bias_key, (units,), dtype)
    return params


def simple_rnn_cell(
    params: Params, carry: SimpleRNNCarry, x: Array, *, activation: Activation = "tanh"
) -> tuple[SimpleRNNCarry, Array]:
    """One step, ``h' = activation(x @ kernel + h @ recurrent_kernel + bias)`` (Elman 1990).

    Args:
      params: as `simple_rnn_init` makes them; ``bias`` may be left out.
      carry: what the step before handed on.
      x: (batch, in_features) of the kernel's dtype, or integer ids (batch,), which stand for their one-hot rows.
      activation: a name or a function; default tanh.

    Returns:
      The new carry and the output, which is ``carry.h``; the order is that of `jax.lax.scan`.

    Raises:
      InputError: when shapes or dtypes of x, carry and parameters do not fit.

    >>> import jax.numpy as jnp
    >>> params = {"kernel": jnp.array([[2.0]]), "recurrent_kernel": jnp.array([[0.5]])}
    >>> carry, y = simple_rnn_cell(params, SimpleRNNCarry(jnp.array([[4.0]])), jnp.array([[3.0]]), activation=None)
    >>> print(y)
    [[8.]]
    """
    return _cell("simple_rnn_cell", _SIMPLE_RNN, params, carry, x, activation, None)


def simple_rnn(
    params: Params,
    x: Array,
    carry: SimpleRNNCarry | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    activation: Activation = "tanh",
) -> tuple[Array, SimpleRNNCarry]:
    """A whole sequence through `simple_rnn_cell`. Arguments, result and errors are those of `lstm`.

    >>> import jax, jax.numpy as jnp
    >>> ys, carry = simple_rnn(simple_rnn_init(jax.random.key(0), 3, 8), jnp.ones((2, 5, 3)))
    >>> ys.shape, carry.h.shape
    ((2, 5, 8), (2, 8))
    """
    return _run("simple_rnn", _SIMPLE_RNN, params, x, carry, mask, reverse, return_sequences, activation, None)


def lstm_init(
    key: Array,
    in_features: int,
    units: int,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    unit_forget_bias: bool = True,
    dtype: Any = jnp.float32,
) -> Params:
    """Parameters of an LSTM, the gates packed in Keras's order i, f, c, o.

    ``kernel`` (in_features, 4 units), ``recurrent_kernel`` (units, 4 units) and ``bias`` (4 units,), if any.
    With ``unit_forget_bias`` the forget gate's part of the bias is 1 (Jozefowicz et al. 2015).

    Raises:
      InputError: for unknown initializers and for sizes below 1.
    """
    params, bias_key = _init(
        "lstm_init", _LSTM, key, in_features, units, kernel_initializer, recurrent_initializer, dtype
    )
    if use_bias:
        bias = get_initializer(bias_initializer)(bias_key, (4 * units,), dtype)
        params["bias"] = bias.at[units : 2 * units].set(1.0) if unit_forget_bias else bias
    return params


def lstm_cell(
    params: Params,
    carry: LSTMCarry,
    x: Array,
    *,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
) -> tuple[LSTMCarry, Array]:
    """One step of long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    With ``z_i, z_f, z_c, z_o = x @ kernel + h @ recurrent_kernel + bias``, ``s`` the recurrent activation and ``t``
    the activation: ``c' = s(z_f) * c + s(z_i) * t(z_c)`` and ``h' = s(z_o) * t(c')``.

    Args:
      params: as `lstm_init` makes them; ``bias`` may be left out.
      carry: what the step before handed on.
      x: (batch, in_features) of the kernel's dtype, or integer ids (batch,), which stand for their one-hot rows.
      activation: a name or a function; default tanh.
      recurrent_activation: of the gates; default sigmoid.

    Returns:
      The new carry and the output, which is ``carry.h``; the order is that of `jax.lax.scan`.

    Raises:
      InputError: when shapes or dtypes of x, carry and parameters do not fit.

    >>> import jax, jax.numpy as jnp
    >>> params = lstm_init(jax.random.key(0), 3, 8)
    >>> carry = LSTMCarry(h=jnp.zeros((2, 8)), c=jnp.zeros((2, 8)))
    >>> carry, y = lstm_cell(params, carry, jnp.ones((2, 3)))
    >>> y.shape
    (2, 8)
    """
    return _cell("lstm_cell", _LSTM, params, carry, x, activation, recurrent_activation)


def lstm(
    params: Params,
    x: Array,
    carry: LSTMCarry | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
) -> tuple[Array, LSTMCarry]:
    """A whole sequence through `lstm_cell`.

    Args:
      params: as `lstm_init` makes them; ``bias`` may be left out.
      x: (batch, time, in_features) of the kernel's dtype, or integer ids (batch, time). Ids stand for their one-hot
        rows, which are not built; an id outside [0, in_features) makes its row's outputs NaN from there on.
      carry: where to start; default zeros.
      mask: booleans (batch, time). At a step where it is False the carry is kept and the output repeats the one
        before (that of the starting carry at the first step); what x holds there does not matter.
      reverse: walk from the last step to the first. Outputs stay aligned with inputs: ``ys[:, t]`` belongs to
        ``x[:, t]``, and the carry returned is that after the first step.
      return_sequences: False returns the last output alone, (batch, units), and saves keeping the others.
      activation: a name or a function; default tanh.
      recurrent_activation: of the gates; default sigmoid.

    Returns:
      ``(ys, carry)``: the outputs (batch, time, units), or (batch, units), and the carry after the last step.

    Raises:
      InputError: when rank, width or dtype of x, the shape or dtype of the mask, or the carry does not fit.

    Derivatives of every order and both modes work. With tanh, sigmoid, linear and relu the loop has a derivative of
    its own (see the head of this module); other activations go through JAX's, more slowly.

    >>> import jax, jax.numpy as jnp
    >>> params = lstm_init(jax.random.key(0), 57, 8)
    >>> ys, carry = lstm(params, jnp.array([[3, 1, 4, 1, 5]]))
    >>> ys.shape, carry.c.shape, bool((ys[:, -1] == carry.h).all())
    ((1, 5, 8), (1, 8), True)
    """
    return _run("lstm", _LSTM, params, x, carry, mask, reverse, return_sequences, activation, recurrent_activation)


def gru_init(
    key: Array,
    in_features: int,
    units: int,
    *,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    recurrent_initializer: str | Initializer = "orthogonal",
    bias_initializer: str | Initializer = "zeros",
    reset_after: bool = True,
    dtype: Any = jnp.float32,
) -> Params:
    """Parameters of a GRU, the gates packed in Keras's order z, r, h.

    ``kernel`` (in_features, 3 units), ``recurrent_kernel`` (units, 3 units) and, with ``use_bias``, ``bias``:
    (2, 3 units), the input's and the recurrent one, with ``reset_after``, else (3 units,).

    Raises:
      InputError: for unknown initializers and for sizes below 1.
    """
    kind = _gru_kind(reset_after)
    params, bias_key = _init(
        "gru_init", kind, key, in_features, units, kernel_initializer, recurrent_initializer, dtype
    )
    if use_bias:
        shape = (2, 3 * units) if reset_after else (3 * units,)
        params["bias"] = get_initializer(bias_initializer)(bias_key, shape, dtype)
    return params


def _gru_kind(reset_after: bool) -> _Kind:
    return _GRU_AFTER if reset_after else _GRU_BEFORE


def gru_cell(
    params: Params,
    carry: GRUCarry,
    x: Array,
    *,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
    reset_after: bool = True,
) -> tuple[GRUCarry, Array]:
    """One step of a gated recurrent unit (Cho et al. 2014, arXiv:1406.1078).

    With ``x_z, x_r, x_n = x @ kernel + bias``, blocks ``U`` of the recurrent kernel, ``s`` the recurrent activation
    and ``t`` the activation: ``z = s(x_z + h @ U_z)``, ``r = s(x_r + h @ U_r)`` and ``h' = z * h + (1 - z) * n``, where
    ``n = t(x_n + (r * h) @ U_n)`` as in the paper with ``reset_after=False``, and ``n = t(x_n + r * (h @ U_n))`` with
    ``reset_after=True``, the default as in Keras (then every ``h @ U`` has a bias of its own).

    Args:
      params: as `gru_init` makes them with the same ``reset_after``; ``bias`` may be left out.
      carry: what the step before handed on.
      x: (batch, in_features) of the kernel's dtype, or integer ids (batch,), which stand for their one-hot rows.
      activation: a name or a function; default tanh.
      recurrent_activation: of the gates; default sigmoid.
      reset_after: whether the reset gate acts after the recurrent product.

    Returns:
      The new carry and the output, which is ``carry.h``; the order is that of `jax.lax.scan`.

    Raises:
      InputError: when shapes or dtypes of x, carry and parameters do not fit.

    >>> import jax, jax.numpy as jnp
    >>> carry, y = gru_cell(gru_init(jax.random.key(0), 3, 8), GRUCarry(jnp.zeros((2, 8))), jnp.ones((2, 3)))
    >>> y.shape
    (2, 8)
    """
    return _cell("gru_cell", _gru_kind(reset_after), params, carry, x, activation, recurrent_activation)


def gru(
    params: Params,
    x: Array,
    carry: GRUCarry | None = None,
    *,
    mask: Array | None = None,
    reverse: bool = False,
    return_sequences: bool = True,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
    reset_after: bool = True,
) -> tuple[Array, GRUCarry]:
    """A whole sequence through `gru_cell`. Arguments, result and errors are those of `lstm`, and ``reset_after``.

    >>> import jax, jax.numpy as jnp
    >>> ys, carry = gru(gru_init(jax.random.key(0), 3, 8), jnp.ones((2, 5, 3)))
    >>> ys.shape, carry.h.shape
    ((2, 5, 8), (2, 8))
    """
    kind = _gru_kind(reset_after)
    return _run("gru", kind, params, x, carry, mask, reverse, return_sequences, activation, recurrent_activation)


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


def merge(forward: Array, backward: Array, merge_mode: str | None) -> Any:
    """Join the outputs of two directions: "concat" (last axis), "sum", "mul", "ave", or None for the pair.

    >>> import jax.numpy as jnp
    >>> print(merge(jnp.array([1.0]), jnp.array([3.0]), "ave"))
    [2.]
    """
    if merge_mode is None:
        return forward, backward
    return lookup("merge_mode", merge_mode, _MERGE)(forward, backward)


_MERGE: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) * 0.5,
}
_CARRIES = (SimpleRNNCarry, LSTMCarry, GRUCarry)


def Bidirectional(
    layer: Layer,
    merge_mode: str | None = "concat",
    *,
    backward_layer: Layer | None = None,
    name: str = "bidirectional",
) -> Layer:
    """A recurrent layer in both directions of time (Schuster and Paliwal 1997).

    The second direction is the same layer with parameters of its own, applied to the sequence turned round; where it
    returns sequences they are turned back, so that both belong to the inputs step by step. With a `Masked` in and
    sequences out, the outputs at masked steps are zero, as in Keras, and the output is again a `Masked`. With
    ``return_state=True`` in the layer, the output becomes ``(output, (forward carry, backward carry))``.

    Args:
      layer: a layer made by `SimpleRNN`, `LSTM` or `GRU`, or any that takes sequences in the same way.
      merge_mode: how to join the outputs: "concat" (the default), "sum", "mul", "ave"; None gives the pair of them,
        each a `Masked` if one came in.
      backward_layer: another layer for the second direction, likewise to be given without ``go_backwards``.
      name: base name in `Sequential`.

    The parameters are ``{"forward": ..., "backward": ...}``.

    Raises:
      InputError: for an unknown merge mode, something that is no Layer, and whatever the layers refuse.

    >>> import jax, jax.numpy as jnp
    >>> layer = Bidirectional(LSTM(8, return_sequences=True))
    >>> params, _ = layer.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> layer.apply(params, {}, jnp.ones((2, 5, 3)))[0].shape, sorted(params)
    ((2, 5, 16), ['backward', 'forward'])
    """
    if merge_mode is not None:
        lookup("merge_mode", merge_mode, _MERGE)
    layers = {"forward": layer, "backward": layer if backward_layer is None else backward_layer}
    for part, one in layers.items():
        if not isinstance(one, Layer):
            fail(f"Bidirectional, {part}", expected="a Layer such as LSTM(64)", got=repr(one))

    def init(key: Array, x: Any) -> tuple[Any, Any]:
        made = {p: one.init(jax.random.fold_in(key, i), shape_of(x)) for i, (p, one) in enumerate(layers.items())}
        return {p: params for p, (params, _) in made.items()}, {p: state for p, (_, state) in made.items() if state}

    def apply(params: Any, state: Any, x: Any, *, key: Array | None = None, train: bool = False) -> Any:
        _, mask = sequence_of(name, x)
        outputs, carries, new_state = [], [], {}
        for i, (part, one) in enumerate(layers.items()):
            part_key = None if key is None else jax.random.fold_in(key, i)
            part_x = x if part == "forward" else jax.tree.map(lambda a: jnp.flip(a, 1), x)
            p, s = leaf(name, params, part), state.get(part, {})
            y, s = call(part, f"{name} {part}", one, p, s, part_x, key=part_key, train=train)
            if s:
                new_state[part] = s
            if isinstance(y, tuple) and len(y) == 2 and isinstance(y[-1], _CARRIES):
                y, carry = y
                carries.append(carry)
            y, _ = sequence_of(f"{name} {part}", y)
            outputs.append(jnp.flip(y, 1) if part == "backward" and y.ndim == 3 else y)
        if len({y.ndim for y in outputs}) > 1:
            got = " and ".join(map(describe, outputs))
            fail(name, expected="both directions to return sequences, or neither", got=got)
        sequences = outputs[0].ndim == 3
        if mask is not None and sequences:
            outputs = [kept(jnp.asarray(mask), y) for y in outputs]
        out = merge(outputs[0], outputs[1], merge_mode)
        if mask is not None and sequences:
            out = tuple(Masked(y, mask) for y in out) if merge_mode is None else Masked(out, mask)
        return ((out, tuple(carries)) if carries else out), new_state

    return Layer(init, apply, name, "Bidirectional", all(one.per_example for one in layers.values()))
