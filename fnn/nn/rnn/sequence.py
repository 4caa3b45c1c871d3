"""A recurrent cell run over a whole sequence, and the derivative of that loop.

The inputs of all steps are projected before the loop, by one matrix product or, for integer ids, by a row gather. The
loop body is one product with the packed recurrent kernel and elementwise arithmetic. A custom JVP states the tangent
of a step as a *linear* recurrence,

    dcarry[t] = J[t] dcarry[t-1] + forcing[t],

where the entries of the Jacobian J[t] are elementwise slopes saved by the forward loop (times the recurrent kernel),
and the forcing collects the tangents of inputs and weights, formed for all steps at once; `cells` has the equations.
JAX transposes this into the ideal backward pass: one backward loop without activation functions, which emits the
gradient at each step's gates, and then one product over all steps for each weight gradient. Since the rule is ordinary
JAX code, forward mode, reverse mode, higher derivatives and ``vmap`` all work.

On a TPU each operation of a loop costs about as much as the product itself (``benchmarks/accelerators.py lstm``), so
that there the loops do less: rows are read before the loop, by one product with one-hot rows; the slopes are computed
after it, for all steps at once; and the backward loop multiplies with them packed into one array. For a wide layer,
whose packed arrays do not fit in on-chip memory, that costs more than it saves.

On a GPU, starting a kernel takes longer than the arithmetic of a small step. There a round of a loop is several steps,
so that one kernel stores an array's results for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..._core.checks import check_same_dtype, leaf
from ..._core.dtypes import spread
from ..._core.errors import describe, fail, shape_text, with_article
from ..._core.sharding import row_devices
from ..._core.typed import tree_map
from ..._core.types import Array, PyTree, Shape
from ..activations import ActivationLike, get_activation
from ..embedding import ONE_HOT_ROWS, Rows, note_ids, take_rows
from ..masks import SEQUENCE_HINT, kept
from .cells import DERIVATIVES, Carry, Cell, CellActivations, GRUCarry, Packed, Weights, all_steps

IDS_HINT = f"Ids need an integer dtype, x.astype('int32'); a single feature its axis, x[..., None]. {SEQUENCE_HINT}"
ON_CHIP_BYTES = 64 * 2**20
GPU_STEPS = 4  # in a round of a loop
Activations = tuple[ActivationLike, ActivationLike]
"""The activations of the candidate and of the gates."""


class SequenceOptions(NamedTuple):
    """How to run over the steps; the options of `fnn.lstm`."""

    mask: Array | None
    reverse: bool
    return_sequences: bool


def run_cell(
    where: str, kind: Cell[Carry], params: Mapping[str, Array], carry: Carry, x: Array, activations: Activations
) -> tuple[Carry, Array]:
    """One step of a cell: the new carry, and its ``h`` as output."""
    x = jnp.asarray(x)
    kernel, bias, weights = _split_weights(where, kind, params)
    _check_x(where, kernel, x, ("batch",))
    _check_carry(where, kind, carry, x.shape[0], weights.recurrent)
    acts = CellActivations(*map(get_activation, activations))
    carry, _ = kind.step(weights, carry, _project(kernel, bias, x), acts)
    return carry, carry.h


def run_sequence(
    where: str,
    kind: Cell[Carry],
    params: Mapping[str, Array],
    x: Array,
    carry: Carry | None,
    activations: Activations,
    options: SequenceOptions,
) -> tuple[Array, Carry]:
    """A whole sequence: its outputs, or the last one, and the final carry."""
    x, mask = jnp.asarray(x), options.mask
    kernel, bias, weights = _split_weights(where, kind, params)
    _check_x(where, kernel, x, ("batch", "time"))
    if mask is not None:
        _check_mask(where, mask, x.shape[:2])
        # Values at masked steps must not matter, not even NaN or an id out of range.
        x = kept(jnp.asarray(mask), x)
        mask = jnp.asarray(mask).T
    if carry is None:
        zeros = jnp.zeros((x.shape[0], weights.recurrent.shape[0]), weights.recurrent.dtype)
        carry = kind.carry(*(zeros for _ in kind.carry._fields))
    _check_carry(where, kind, carry, x.shape[0], weights.recurrent)
    acts = CellActivations(*map(get_activation, activations))
    plan = _Static(kind, acts, bool(options.reverse), bool(options.return_sequences))
    known = all(act in DERIVATIVES for act in acts)
    # Time comes first inside, so that each step reads and writes one block of memory.
    zx = _project(kernel, bias, jnp.swapaxes(x, 0, 1), lazy=known)
    if known:
        ys, carry = _sequence(plan, weights, zx, carry, mask)
    else:
        # The slope does not follow from the output alone: the same loop, differentiated by JAX.
        carry, (ys, _) = _scan(plan, None, weights, zx, carry, mask)
    return (carry.h if ys is None else jnp.swapaxes(ys, 0, 1)), carry


class _Static(NamedTuple):
    """Everything that is fixed before tracing."""

    kind: Cell[Any]
    acts: CellActivations
    reverse: bool
    sequences: bool
    unroll: int = 1

    @property
    def derivatives(self) -> CellActivations:
        """Those of its activations, as functions of their outputs."""
        return CellActivations(*(DERIVATIVES[act] for act in self.acts))


Save = Callable[[Any, tuple[Array, ...]], PyTree]
"""What the loop saves of a step, a function of the carry before it and the gates."""


def _scan(
    plan: _Static, save: Save | None, weights: Weights, zx: Array | Rows, carry: Carry, mask: Array | None
) -> tuple[Carry, tuple[Array | None, PyTree]]:
    """The loop over time: ``(carry, (outputs, saved))``, with None for parts not needed."""

    def body(old: Carry, xs: tuple[Array, Array | None]) -> tuple[Carry, PyTree]:
        now, mask = xs
        # Rows are read inside the loop, so that the projections of all steps never lie in memory.
        now = Rows(zx.table, now).read() if isinstance(zx, Rows) else now
        stepped, gates = plan.kind.step(weights, old, now, plan.acts)
        new = _select(mask, stepped, old)
        return new, (new.h if plan.sequences else None, None if save is None else save(old, gates))

    xs = zx.ids if isinstance(zx, Rows) else zx, mask
    return lax.scan(body, carry, xs, reverse=plan.reverse, unroll=plan.unroll)


def _scan_for_tpu(
    plan: _Static, save: Save | None, weights: Weights, zx: Array | Rows, carry: Carry, mask: Array | None
) -> tuple[Carry, tuple[Array | None, PyTree]]:
    """`_scan` with all rows read before the loop."""
    return _scan(plan, save, weights, zx.read_by_product() if isinstance(zx, Rows) else zx, carry, mask)


def _by_platform(
    plan: _Static, zx: Array | Rows, tpu: Callable[..., Any], default: Callable[..., Any]
) -> Callable[..., Any]:
    """The form of a loop for each platform, as a function of the arguments after the plan.

    That for a TPU holds arrays of the gates of all steps, which are as large as the projected inputs ``zx``. It is
    taken where a device's part of one lies in half of the on-chip memory, which is 128 MiB since v5e.
    """
    gpu = partial(default, plan._replace(unroll=GPU_STEPS))
    forms = {"cuda": gpu, "rocm": gpu, "default": partial(default, plan)}
    size, dtype = (zx.ids.size * zx.table.shape[1], zx.table.dtype) if isinstance(zx, Rows) else (zx.size, zx.dtype)
    if size * dtype.itemsize <= ON_CHIP_BYTES * row_devices():
        forms["tpu"] = partial(tpu, plan)
    return partial(lax.platform_dependent, **forms)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sequence(
    plan: _Static, weights: Weights, zx: Array | Rows, carry: Carry, mask: Array | None
) -> tuple[Array | None, Carry]:
    carry, (ys, _) = _by_platform(plan, zx, _scan_for_tpu, _scan)(None, weights, zx, carry, mask)
    return ys, carry


@_sequence.defjvp
def _sequence_jvp(plan: _Static, primals: tuple[PyTree, ...], tangents: tuple[PyTree, ...]) -> tuple[PyTree, PyTree]:
    weights, zx, carry, mask = primals
    dweights, dzx, dcarry, _ = tangents
    carry, (ys, hs, slopes) = _by_platform(plan, zx, _saving_for_tpu, _saving)(weights, zx, carry, mask)
    if isinstance(zx, Rows):
        dzx = zx.tangent(dzx.table)
    forcing = plan.kind.forcing(dweights, dzx, hs, slopes)
    run = _by_platform(plan, zx, _tangents_for_tpu, _tangents)
    dcarry, dys = run(weights.recurrent.T, dcarry, forcing, slopes, mask)
    return (ys, carry), (dys, dcarry)


Saved = tuple[Array | None, Array, tuple[Array, ...]]
"""Outputs if they are needed, ``h`` before each step, and slopes."""


def _saving(
    plan: _Static,
    weights: Weights,
    zx: Array | Rows,
    carry: Carry,
    mask: Array | None,
    scan: Callable[..., tuple[Carry, PyTree]] = _scan,
) -> tuple[Carry, Saved]:
    """The loop with what its derivative needs."""

    def save(old: Carry, gates: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        return old.h, plan.kind.slopes(old, gates, plan.derivatives)

    carry, (ys, (hs, slopes)) = scan(plan, save, weights, zx, carry, mask)
    return carry, (ys, hs, slopes)


def _saving_for_tpu(
    plan: _Static, weights: Weights, zx: Array | Rows, carry: Carry, mask: Array | None
) -> tuple[Carry, Saved]:
    """`_saving` with little in the loop, and the slopes computed after it, for all steps at once."""
    packed = plan.kind.packed
    if packed is None or mask is not None:
        # After a masked step, h is not what follows from the gates of the step before.
        return _saving(plan, weights, zx, carry, mask, _scan_for_tpu)
    save = partial(packed.saved, acts=plan.derivatives)
    last, (_, saved) = _scan_for_tpu(plan._replace(sequences=False), save, weights, zx, carry, mask)
    ys, slopes = packed.restored(saved, plan.derivatives)
    hs = [ys[1:], carry.h[None]] if plan.reverse else [carry.h[None], ys[:-1]]
    return last, (ys if plan.sequences else None, jnp.concatenate(hs), slopes)


def _tangents(
    plan: _Static,
    kernel_t: Array,
    carry: Carry,
    forcing: PyTree,
    slopes: tuple[Array, ...],
    mask: Array | None,
    packed: Packed[Any] | None = None,
) -> tuple[Carry, Array | None]:
    """The loop over tangents: the last one of the carry, and those of the outputs if needed."""
    tangent = plan.kind.tangent if packed is None else packed.tangent

    def body(old: Carry, xs: tuple[PyTree, ...]) -> tuple[Carry, Array | None]:
        forcing, slopes, mask = xs
        new = _select(mask, tangent(kernel_t, old, forcing, slopes), old)
        return new, new.h if plan.sequences else None

    return lax.scan(body, carry, (forcing, slopes, mask), reverse=plan.reverse, unroll=plan.unroll)


def _tangents_for_tpu(
    plan: _Static, kernel_t: Array, carry: Carry, forcing: PyTree, slopes: tuple[Array, ...], mask: Array | None
) -> tuple[Carry, Array | None]:
    """`_tangents` with the slopes at all gates in one array."""
    packed = plan.kind.packed
    slopes = slopes if packed is None else packed.pack(slopes)
    return _tangents(plan, kernel_t, carry, forcing, slopes, mask, packed)


def _select(mask: Array | None, new: Carry, old: Carry) -> Carry:
    if mask is None:
        return new
    return tree_map(lambda n, o: lax.select(jnp.broadcast_to(mask[:, None], n.shape), n, o), new, old)


def _project(kernel: Array, bias: Array | None, x: Array, lazy: bool = False) -> Array | Rows:
    """``x @ kernel + bias``, or kernel rows for integer ids; with ``lazy``, rows of a small kernel are not read yet."""
    if not jnp.issubdtype(x.dtype, jnp.integer):
        y = all_steps(x, kernel)
    elif kernel.shape[0] <= min(x.size, ONE_HOT_ROWS):
        table = kernel if bias is None else kernel + bias[None]  # fewer additions than after taking the rows
        return Rows.of(table, x) if lazy else take_rows(table, x)
    else:
        y = take_rows(kernel, x)
    return y if bias is None else y + spread(bias, y)


def _split_weights(where: str, kind: Cell[Carry], params: Mapping[str, Array]) -> tuple[Array, Array | None, Weights]:
    """The kernel, the bias to add to the input projection, and the weights that the loop needs."""
    kernel, recurrent = leaf(where, params, "kernel"), leaf(where, params, "recurrent_kernel")
    width = kind.gates * recurrent.shape[0]
    if recurrent.shape[1:] != (width,) or kernel.shape[1:] != (width,):
        expected = f"a kernel (in, {kind.gates} * units) and a recurrent_kernel (units, {kind.gates} * units)"
        got = f"{describe(kernel)} and {describe(recurrent)}"
        fail(where, expected=expected, got=got, hint="Are these another layer's?")
    bias = params.get("bias")
    if bias is None:
        return kernel, None, Weights(recurrent)
    shape = kind.bias_shape(recurrent.shape[0])
    if bias.shape != shape:
        hint = "The bias has two rows with reset_after=True (the default) and is a vector with reset_after=False."
        hint = hint if kind.carry is GRUCarry else "Are these another layer's?"
        fail(where, expected=f"a bias of shape {shape_text(shape)}", got=describe(bias), hint=hint)
    if not kind.recurrent_bias:
        return kernel, bias, Weights(recurrent)
    # The recurrent biases of z and r just add to the input's; that of the candidate sits inside the product with r.
    gates = 2 * recurrent.shape[0]
    joined = jnp.concatenate([bias[0, :gates] + bias[1, :gates], bias[0, gates:]])
    return kernel, joined, Weights(recurrent, bias[1, gates:])


def _check_x(where: str, kernel: Array, x: Array, axes: tuple[str, ...]) -> None:
    """Check that integer ids have just the leading ``axes``, and floating-point features one more."""
    rank, features = len(axes), kernel.shape[0]
    if jnp.issubdtype(x.dtype, jnp.integer):
        if x.ndim != rank:
            hint = "Features need a floating-point dtype: x.astype('float32')." if x.ndim == rank + 1 else ""
            fail(where, expected=f"integer ids of shape {shape_text(axes)}", got=describe(x), hint=hint)
        note_ids(where, x, features)
        return
    if x.ndim != rank + 1 or x.shape[-1] != features:
        expected = f"x of shape {shape_text((*axes, features))} or integer ids of shape {shape_text(axes)}"
        fail(where, expected=expected, got=describe(x), hint=IDS_HINT if x.ndim == rank else "")
    check_same_dtype(where, x, kernel)


def _check_carry(where: str, kind: Cell[Carry], carry: Carry, batch: int, recurrent: Array) -> None:
    shape = (batch, recurrent.shape[0])
    if not isinstance(carry, kind.carry):
        hint = f"Make one of arrays of shape (batch, units) = {shape}."
        fail(where, expected=f"carry to be {with_article(kind.carry.__name__)}", got=describe(carry), hint=hint)
    for field, value in zip(kind.carry._fields, carry, strict=True):
        if jnp.shape(value) != shape or value.dtype != recurrent.dtype:
            expected = f"carry.{field} of dtype {recurrent.dtype} and shape (batch, units) = {shape}"
            fail(where, expected=expected, got=describe(value))


def _check_mask(where: str, mask: Array, shape: Shape) -> None:
    if not (hasattr(mask, "shape") and hasattr(mask, "dtype")):
        fail(where, expected="a mask that is a boolean array", got=describe(mask))
    if tuple(mask.shape) != shape or mask.dtype != jnp.bool_:
        hint = "Convert it with mask.astype(bool)." if tuple(mask.shape) == shape else ""
        fail(where, expected=f"a boolean mask of shape (batch, time) = {shape}", got=describe(mask), hint=hint)
