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

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..._core.checks import check_same_dtype, leaf
from ..._core.dtypes import lift
from ..._core.errors import describe, fail, shape_text
from ..._core.types import Array, Params
from ..activations import get_activation
from ..embedding import ONE_HOT_ROWS, Rows, note_ids, take_rows
from ..masks import kept
from .cells import GRU_AFTER, SLOPES, Activation, Carry, Cell, CellActivations, GRUCarry, Weights, all_steps


class _Plan(NamedTuple):
    """What is fixed before tracing."""

    kind: Cell
    acts: CellActivations
    reverse: bool
    sequences: bool


def _keep(mask: Array | None, new: Carry, old: Carry) -> Carry:
    """The new carry where the mask is True, the old one elsewhere."""
    if mask is None:
        return new
    return jax.tree.map(lambda n, o: lax.select(jnp.broadcast_to(mask[:, None], n.shape), n, o), new, old)


def _scan(
    plan: _Plan, weights: Weights, zx: Array | Rows, carry: Any, mask: Array | None, slopes: CellActivations | None
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
    plan: _Plan, weights: Weights, zx: Array | Rows, carry: Any, mask: Array | None
) -> tuple[Array | None, Any]:
    carry, (ys, _, _) = _scan(plan, weights, zx, carry, mask, None)
    return ys, carry


@_sequence.defjvp
def _sequence_jvp(plan: _Plan, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    weights, zx, carry, mask = primals
    dweights, dzx, dcarry, _ = tangents
    slope_fns = CellActivations(*(SLOPES[act] for act in plan.acts))
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


def _weights(where: str, kind: Cell, params: Params) -> tuple[Array, Array | None, Weights]:
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
        return kernel, None, Weights(recurrent)
    shape = (2, width) if kind is GRU_AFTER else (width,)
    if bias.shape != shape:
        hint = "Are these another layer's?"
        if kind.carry is GRUCarry:
            hint = "The bias has two rows with reset_after=True (the default) and is a vector with reset_after=False."
        fail(where, expected=f"a bias of shape {shape_text(shape)}", got=describe(bias), hint=hint)
    if kind is not GRU_AFTER:
        return kernel, bias, Weights(recurrent)
    # The recurrent biases of z and r only add to the input's; that of the candidate sits inside the product with r.
    gates = 2 * recurrent.shape[0]
    joined = jnp.concatenate([bias[0, :gates] + bias[1, :gates], bias[0, gates:]])
    return kernel, joined, Weights(recurrent, bias[1, gates:])


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


def _check_carry(where: str, kind: Cell, carry: Any, batch: int, recurrent: Array) -> None:
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
        y = all_steps(x, kernel)
    elif kernel.shape[0] <= min(x.size, ONE_HOT_ROWS):
        table = kernel if bias is None else kernel + bias[None]  # fewer additions than after taking the rows
        return Rows.of(table, x) if lazy else take_rows(table, x)
    else:
        y = take_rows(kernel, x)
    return y if bias is None else y + lift(bias, y)


def run_cell(
    where: str, kind: Cell, params: Params, carry: Any, x: Array, main: Activation, gate: Activation
) -> tuple[Any, Array]:
    """One step of a cell: the new carry, and its ``h`` as output."""
    x = jnp.asarray(x)
    kernel, bias, weights = _weights(where, kind, params)
    _check_x(where, kernel, x, ("batch",))
    _check_carry(where, kind, carry, x.shape[0], weights.recurrent)
    acts = CellActivations(get_activation(main), get_activation(gate))
    carry, _ = kind.step(weights, carry, _project(kernel, bias, x), acts)
    return carry, carry.h


def run_sequence(
    where: str,
    kind: Cell,
    params: Params,
    x: Array,
    carry: Any,
    mask: Array | None,
    reverse: bool,
    return_sequences: bool,
    main: Activation,
    gate: Activation,
) -> tuple[Array, Any]:
    """A whole sequence: its outputs, or the last one, and the final carry."""
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
    plan = _Plan(
        kind, CellActivations(get_activation(main), get_activation(gate)), bool(reverse), bool(return_sequences)
    )
    known = all(act in SLOPES for act in plan.acts)
    zx = _project(kernel, bias, jnp.swapaxes(x, 0, 1), lazy=known)
    if known:
        ys, carry = _sequence(plan, weights, zx, carry, mask)
    else:
        # No slope from the output alone: the same loop, differentiated by JAX.
        carry, (ys, _, _) = _scan(plan, weights, zx, carry, mask, None)
    return (carry.h if ys is None else jnp.swapaxes(ys, 0, 1)), carry
