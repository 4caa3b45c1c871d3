"""Ensembles: many members of one task, trained in one program, that predict together and show where they disagree."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, SupportsIndex, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .._core.checks import check_count, check_key
from .._core.errors import counted, describe, fail, kind_of
from .._core.flags import flagged
from .._core.inputs import as_arrays, on_device
from .._core.random import children, fold_in
from .._core.sharding import on_every_device, parse_trial_devices
from .._core.tables import column_widths, table_line
from .._core.trees import all_finite, is_traced, paths, resized, rows_at, shape_of
from .._core.typed import jit, tree_map
from .._core.types import Array, ArrayLike, Key, PyTree
from .._core.warn import warn
from ..fitting.inputs import check_finite, check_slices, is_stream, pop_nan_rows, warn_of_nan, with_nan_row_metric
from ..training.batch import Batch, Signature, as_batch, rows_of, size_of, take
from ..training.checks import check_fit, check_ids_in_range, input_limits
from ..training.epoch import check_sizes
from ..training.run import run
from ..training.state import TrainState, check_task, init
from ..training.stopping import PureCallback
from ..training.task import Task
from ..training.totals import log_names
from .cost import shape_of_one
from .many import many
from .predictions import Predictions, evaluate_ensemble, members_text, predict_ensemble
from .results import last_value

# Folded into the ensemble's key for the order that all members share, and into a member's key for its own rows. Members
# count from 0 and never reach it.
_ORDER = _ROWS = 0xFFFFFFFF


# ------------------------------------------------------------------------------------------------------------ ensembles
@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Ensemble:
    """Trained members of one task that predict together; made by `ensemble`, or by `Ensemble.of` from any states.

    ``len(ensemble)`` is the number of members, ``ensemble[i]`` the `TrainState` of one, and ``ensemble[:3]`` an
    ensemble of some. It is a pytree of its arrays, so `save` and `load` accept it.

    Members whose parameters or loss are not finite count as failed: they keep their place, but `predict` and `evaluate`
    leave them out.

    Attributes:
      task: the task that the members learned.
      ts: their states, as one `TrainState` whose arrays have the members along their first axis.
      history: arrays (members, epochs) by name, as from `run`; empty for `Ensemble.of`.
      failed: (members,) booleans.
      rows: (members, rows) int32, the rows that each member trained on with ``bootstrap=True``, else None.
    """

    task: Task
    ts: TrainState
    history: Mapping[str, np.ndarray]
    failed: np.ndarray
    rows: Array | None = None

    # The hint of functions that need a TrainState.
    instead_of_state: ClassVar[str] = (
        "Write members.evaluate((x, y)) or members.predict(x) for the ensemble; members[0] is one state."
    )

    @classmethod
    def of(cls, task: Task, states: Sequence[TrainState] | TrainState) -> Ensemble:
        """An ensemble of networks trained elsewhere, e.g. in a `sweep` with ``keep="all"``.

        Args:
          task: the `Task` of all of them; hyper-parameters may differ, shapes may not.
          states: a list of `TrainState`, or one whose arrays have the members along their first axis, as returned by
            `many` and ``jax.vmap`` of `run`.

        Raises:
          InputError: for an empty list, items that are not TrainStates, or states of different shapes.

        >>> import jax, fnn
        >>> task = fnn.Task(fnn.Dense(1), "mse")
        >>> states = [fnn.init(task, jax.random.key(seed), (1,)) for seed in range(4)]
        >>> fnn.Ensemble.of(task, states)
        Ensemble(4 members of 2 parameters)
        """
        check_task(task)
        ts = _stacked(states)
        return cls(task, ts, {}, ~np.asarray(_finite(ts)))

    def __len__(self) -> int:
        return int(self.failed.shape[0])

    @overload
    def __getitem__(self, i: SupportsIndex) -> TrainState: ...
    @overload
    def __getitem__(self, i: slice) -> Ensemble: ...
    def __getitem__(self, i: SupportsIndex | slice) -> TrainState | Ensemble:
        if isinstance(i, slice):
            if len(range(len(self))[i]) == 0:
                fail("ensemble", expected="a slice with at least one member", got=f"none of {len(self)}")
            return tree_map(lambda a: a[i], self)
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)):
            fail("ensemble", expected="the number of a member, or a slice", got=describe(i))
        if not -len(self) <= i < len(self):
            raise IndexError(f"ensemble: no member {i}; there are {len(self)}, numbered from 0")
        member: TrainState = rows_at(self.ts, int(i))
        return member

    def __iter__(self) -> Iterator[TrainState]:
        return (self[i] for i in range(len(self)))

    def predict(self, x: PyTree, *, batch_size: int = 256) -> Predictions | dict[str, PyTree]:
        """The predictions of the members, each and together, in inference mode.

        Args:
          x: the input, as in `fnn.predict`.
          batch_size: examples per batch; default 256.

        Returns:
          `Predictions`: the mean and spread over the members, and votes or intervals; with losses by output, a dict of
          them.

        Raises:
          InputError: as `fnn.predict`; when all members failed.
        """
        check_count("predict", "batch_size", batch_size)
        x = as_arrays(x, defer_checks=True)
        ts = self._working()
        check_ids_in_range(input_limits(self.task, Signature.of(shape_of_one(ts)), Signature.of(x)), x, "x")
        check_finite(x, "x")
        return predict_ensemble(self.task, ts, on_device(x), min(int(batch_size), rows_of(x)))

    def evaluate(self, data: PyTree, *more: object, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics of the ensemble's joint prediction, and the average of its members' own.

        The joint prediction has the form that the task's loss expects: mean probabilities, the Gaussian with the mean
        and variance of the members' mixture (see `Predictions`), or the mean output. Penalties are averaged over the
        members.

        Args:
          data: ``(x, y)`` or ``(x, y, sample_weight)``, arrays.
          batch_size: the most examples per batch; default 256. It does not change the result.

        Returns:
          A dict of floats: "loss" and the task's metrics, and "member_loss" and so on.

        Raises:
          InputError: as `fnn.evaluate`; when all members failed.
        """
        if more:
            hint = "Pass one tuple: members.evaluate((x, y))."
            fail("evaluate", expected="the data as one argument", got=str(1 + len(more)), hint=hint)
        check_count("evaluate", "batch_size", batch_size)
        ts = self._working()
        data = _checked(self.task, shape_of_one(ts), data, "data", train=False)
        task = with_nan_row_metric(self.task)
        own, each = jax.device_get(evaluate_ensemble(task, ts, data, min(int(batch_size), rows_of(data))))
        warn_of_nan("evaluate", pop_nan_rows(task, own))
        names = log_names(self.task)
        return {name: float(own[name]) for name in names} | {f"member_{n}": float(np.mean(each[n])) for n in names}

    def _working(self) -> TrainState:
        """The states of the members that did not fail."""
        if is_traced(self):
            hint = "Inside jit, vmap or grad, use task.model.apply on ensemble.ts."
            fail("ensemble", expected="members with values", got="traced arrays", hint=hint)
        good = np.flatnonzero(~np.asarray(self.failed))
        if len(good) == 0:
            hint = "Train again with a lower learning rate, or fnn.clip_by_global_norm."
            fail("ensemble", expected="a member that did not fail", got=f"none of {len(self)}", hint=hint)
        return self.ts if len(good) == len(self) else jax.tree.map(lambda a: a[good], self.ts)

    def __repr__(self) -> str:
        shapes = [leaf.shape for leaf in jax.tree.leaves(self.ts.params)]
        size = sum(math.prod(shape[1:]) for shape in shapes)
        text = f"Ensemble({members_text(len(self))} of {size:,} parameter{'s' * (size != 1)})"
        if not all(isinstance(leaf, (np.ndarray, jax.Array)) for leaf in jax.tree.leaves((self.history, self.failed))):
            return text
        failed = np.asarray(self.failed)
        last = _last(self.history)
        if not last:
            return text + (f", failed: {_indices_text(failed)}" if failed.any() else "")
        cells = [["member", *last], *([str(i), *(f"{a[i]:.4g}" for a in last.values())] for i in range(len(self)))]
        widths = column_widths(cells)
        lines = [table_line(row, widths) for row in cells]
        lines[1:] = [line + "  failed" * bool(bad) for line, bad in zip(lines[1:], failed, strict=True)]
        return "\n".join([*lines, text])


jax.tree_util.register_dataclass(Ensemble, ("ts", "history", "failed", "rows"), ("task",))


def _stacked(states: object) -> TrainState:
    """Checked states as one, with the members along the first axis of its arrays."""
    if isinstance(states, TrainState):
        sizes = {leaf.shape[0] if getattr(leaf, "shape", ()) else None for leaf in jax.tree.leaves(states)}
        if np.ndim(states.step) != 1 or len(sizes) != 1 or 0 in sizes:
            hint = "Pass a list of them: [ts, ...]." if np.ndim(states.step) == 0 else ""
            got = f"one with step {describe(states.step)}"
            fail("Ensemble.of", expected="a list of TrainStates, or one with a leading axis", got=got, hint=hint)
        return tree_map(jnp.asarray, states)
    if not isinstance(states, (list, tuple)):
        fail("Ensemble.of", expected="a list of TrainStates", got=describe(states))
    if not states:
        hint = "A sweep keeps its states with keep='all'."
        fail("Ensemble.of", expected="at least one TrainState", got="an empty list", hint=hint)
    first: dict[str, str] = {}
    for i, state in enumerate(states):
        if not isinstance(state, TrainState):
            fail(f"Ensemble.of, state {i}", expected="a TrainState", got=describe(state))
        own = {path: describe(leaf) for path, leaf in paths(state).items()}
        first = first or own
        differ = [path for path in first.keys() | own.keys() if first.get(path) != own.get(path)]
        if differ:
            path = min(differ)
            expected = f"states of the same shapes; the first has {path}: {first.get(path, 'nothing')}"
            hint = "Members share one task; put networks of other shapes into another ensemble."
            fail(f"Ensemble.of, state {i}", expected=expected, got=f"{own.get(path, 'nothing')}", hint=hint)
    stacked: TrainState = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *states)
    return stacked


# Whether parameters and layer state of each member are finite, (members,).
_finite = jit(jax.vmap(lambda ts: all_finite((ts.params, ts.state))))


def _last(history: Mapping[str, ArrayLike]) -> dict[str, list[float]]:
    """Values by name of all members at the epochs of their states, the losses first."""
    names = sorted(history, key=lambda name: (name != "epoch", name != "loss", name != "val_loss", name))
    rows = zip(*(np.asarray(history[name]) for name in names), strict=True)
    members = [dict(zip(names, map(np.atleast_1d, row), strict=True)) for row in rows]
    return {name: [last_value(own, name) for own in members] for name in names}


def _indices_text(flags: np.ndarray) -> str:
    return ", ".join(map(str, np.flatnonzero(flags)))


# ------------------------------------------------------------------------------------------------------------- training
class _How(NamedTuple):
    """How the members are trained together."""

    members: int
    bootstrap: bool
    same_order: bool
    at_once: int | None
    mesh: Mesh | None


@flagged
def ensemble(
    task: Task,
    key: Key,
    data: PyTree,
    *,
    members: int = 5,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: PyTree = None,
    callbacks: Sequence[PureCallback] = (),
    bootstrap: bool = False,
    same_order: bool = False,
    at_once: int | None = None,
    eval_batch_size: int = 256,
    verbose: int = 1,
    mesh: Mesh | None = None,
) -> Ensemble:
    """Train several networks of one task, each from its own initialization, in one compiled program.

    With the loss "gaussian_nll" they form a deep ensemble (Lakshminarayanan, Pritzel and Blundell 2017,
    arXiv:1612.01474), whose predictions have intervals.

    Member ``i`` is ``run(task, init(task, fold_in(key, i), x[:1]), data, ...)``, whatever the number of
    members: its parameters, dropout and order of rows depend only on its own key.

    Args:
      task: the `Task`.
      key: ``jax.random.key(seed)``.
      data: ``(x, y)`` or ``(x, y, sample_weight)``, arrays, as in `fit`.
      members: the number of members; default 5.
      epochs, batch_size, validation_data, callbacks, eval_batch_size: as in `run`; each member stops on its own.
      bootstrap: whether each member trains on its own sample of the rows, of the same size, drawn with replacement
        (bagging, Breiman 1996). The rows are gathered rather than weighted by their counts, so that batch normalization
        and the like see the sample; this costs a copy of the data for each member that trains at once. The default, all
        rows for all members, is mostly better for networks: initialization and order alone make them differ.
      same_order: whether all members visit the rows in the same order. Small networks then train up to twice as fast,
        since each batch is read once for all of them; members differ only in initialization (and dropout).
      at_once: the number of members that train as one batch; see `many`, which chooses by default.
      verbose: 0 is silent, 1 prints a line at the start and a table of the members at the end.
      mesh: devices that the members are divided over; default one device.

    Returns:
      An `Ensemble`. A member that becomes non-finite is marked as failed, with a warning; the others are unaffected.

    Raises:
      InputError: as `fit`, before anything compiles; for a number of members below 1, or ``bootstrap`` together with
        ``same_order``.

    >>> import jax, jax.numpy as jnp, fnn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> task = fnn.Task(fnn.Sequential(fnn.Dense(8, activation="tanh"), fnn.Dense(2)), "gaussian_nll")
    >>> members = fnn.ensemble(task, jax.random.key(0), (x, jnp.sin(3 * x)), members=3, epochs=10, verbose=0)
    >>> p = members.predict(x)
    >>> low, high = p.interval(0.9)
    >>> p.members.shape, p.mean.shape, bool((low < high).all())
    ((3, 64, 1), (64, 1), True)
    """
    check_task(task)
    check_key("ensemble", key)
    for name, value in (("members", members), ("epochs", epochs), ("eval_batch_size", eval_batch_size)):
        check_count("ensemble", name, value)
    if at_once is not None:
        check_count("ensemble", "at_once", at_once)
    if bootstrap and same_order:
        hint = "Members with different rows cannot share batches."
        fail("ensemble", expected="either bootstrap or same_order", got="both", hint=hint)
    if verbose not in (0, 1):
        fail("ensemble", expected="verbose 0 or 1", got=repr(verbose))
    callbacks = (callbacks,) if isinstance(callbacks, PureCallback) else tuple(callbacks)
    ts = _start(task, key, data)
    data = _checked(task, ts, data, "data", train=True)
    size = rows_of(data)
    check_sizes("ensemble", size, batch_size, False)
    if validation_data is not None:
        validation_data = _checked(task, ts, validation_data, "validation_data", train=False)
    how, placement = _How(members, bootstrap, same_order, at_once, mesh), parse_trial_devices(mesh)
    key, data, validation_data = on_every_device(placement, (key, data, validation_data))
    options = {"epochs": epochs, "batch_size": batch_size, "callbacks": callbacks, "eval_batch_size": eval_batch_size}
    if verbose:
        span = f"{counted(epochs, 'epoch')} of {counted(size, 'row')}"
        print(f"ensemble: {members_text(members)}, {span}", flush=True)
    states, history, rows = _train(task, how, tuple(options.items()), key, data, validation_data)
    history = jax.device_get(history)
    failed = ~np.asarray(_finite(states))
    last = _last(history)
    for name in {"loss", "val_loss"} & last.keys():
        failed |= ~np.isfinite(last[name])
    if failed.any():
        said = f"{int(failed.sum())} of {members_text(members)} became non-finite ({_indices_text(failed)})"
        hint = "The learning rate may be too high; see history for the epoch."
        warn(f"ensemble: {said} and are left out of predictions. {hint}")
    found = Ensemble(task, states, history, failed, rows)
    if verbose:
        print(found, flush=True)
    return found


def _start(task: Task, key: Key, data: PyTree) -> TrainState:
    """The shapes of a member's state, from the shape of x alone."""
    if is_stream(data):
        hint = "Gather the batches, or train the members one by one and pass their states to fnn.Ensemble.of."
        fail("ensemble", expected="arrays, (x, y)", got=kind_of(data), hint=hint)
    if is_traced((key, data)):
        hint = "Inside jit, vmap or grad, use fnn.run under fnn.many."
        fail("ensemble", expected="concrete values", got="traced ones", hint=hint)
    batch = as_batch(data, defer_checks=True)
    size_of(batch)  # checks it
    shapes: TrainState = jax.eval_shape(lambda: init(task, key, resized(shape_of(batch.x), 1)))
    return shapes


def _checked(task: Task, ts: TrainState, data: PyTree, where: str, *, train: bool) -> Batch:
    """Data as arrays on the device, after the checks of `fit`."""
    if is_stream(data):
        fail(where, expected="arrays, (x, y)", got=kind_of(data), hint="Gather the batches first.")
    batch = as_batch(data, where, defer_checks=True)
    check_slices(task, check_fit(task, ts, batch, where, train), batch, size_of(batch), where)
    ready: Batch = on_device(batch)
    return ready


@jit(static_argnums=(0, 1, 2))
def _train(
    task: Task, how: _How, options: tuple[tuple[str, Any], ...], key: Key, data: Batch, validation_data: Batch | None
) -> tuple[TrainState, dict[str, Array], Array | None]:
    """States, history and rows of all members; ``options`` are arguments of `run`."""
    size, order_key = rows_of(data), fold_in(key, jnp.uint32(_ORDER)) if how.same_order else None

    def member(key: Key) -> tuple[TrainState, dict[str, Array], Array | None]:
        own, rows = data, None
        if how.bootstrap:
            rows = jax.random.randint(fold_in(key, jnp.uint32(_ROWS)), (size,), 0, size, jnp.int32)
            own = take(data, rows)
        ts = init(task, key, resized(data.x, 1))
        ts, history = run(task, ts, own, validation_data=validation_data, order_key=order_key, **dict(options))
        return ts, history, rows

    keys = children(key, how.members)
    return many(member, at_once=how.at_once, mesh=how.mesh)(keys)
