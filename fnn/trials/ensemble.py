"""Ensembles: many members of one task, trained in one program, that predict together and tell how far they agree."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, check_key
from .._core.dtypes import is_float
from .._core.errors import describe, fail
from .._core.inputs import as_arrays, on_device
from .._core.trees import paths
from .._core.types import Array
from .._core.warn import warn
from ..fitting.inputs import check_finite, check_slices, counting_rows, is_stream, warn_of_nan
from ..metrics.names import NAN_ROWS
from ..nn.layer import shape_of
from ..training.batch import as_batch, size_of, take
from ..training.checks import check_fit, check_input
from ..training.epoch import check_sizes
from ..training.run import run
from ..training.state import TrainState, check_task, init
from ..training.stopping import PureCallback
from ..training.task import Task
from .many import many
from .predictions import Predictions, evaluate_ensemble, members_text, predict_ensemble

# Folded into the key of the ensemble for the order that all members share, and into a member's for its own rows.
# Members count from 0 and never reach it.
_ORDER = _ROWS = 0xFFFFFFFF


# ------------------------------------------------------------------------------------------------------------ ensembles
@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Ensemble:
    """Trained members of one task that predict together; made by `ensemble`, or by `Ensemble.of` from any states.

    ``len(ensemble)`` is the number of members, ``ensemble[i]`` the `TrainState` of one, and ``ensemble[:3]`` an
    ensemble of some. It is a pytree of its arrays, so `save` and `load` take it as it is.

    Members that failed, whose parameters or loss are not finite, keep their place but have no part in `predict` and
    `evaluate`.

    Attributes:
      task: what the members learned.
      ts: their states, a `TrainState` whose arrays have the members along their first axis.
      history: by name (members, epochs) arrays, as of `run`; empty for `Ensemble.of`.
      failed: (members,) booleans.
      rows: (members, rows) int32, the rows that each member trained on under ``bootstrap=True``, else None.
    """

    task: Task
    ts: TrainState
    history: dict[str, Any]
    failed: Any
    rows: Any = None

    # What a function that takes a TrainState says to an ensemble.
    instead_of_state: ClassVar[str] = (
        "An ensemble has members.evaluate((x, y)) and members.predict(x) of its own; members[0] is one state."
    )

    @classmethod
    def of(cls, task: Task, states: Sequence[TrainState] | TrainState) -> Ensemble:
        """An ensemble of networks trained otherwise, e.g. those of a `sweep` with ``keep="all"``.

        Args:
          task: the `Task` of all of them. Optimizers may differ in their numbers, models may not differ in shape.
          states: a list of `TrainState`, or one whose arrays have the members along their first axis, as `many` and
            ``jax.vmap`` of `run` return it.

        Raises:
          InputError: for an empty list, things that are no TrainState, or states of different shapes.

        >>> import jax, jax.numpy as jnp, fnn
        >>> x = jnp.linspace(-1, 1, 64)[:, None]
        >>> task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd())
        >>> def trial(seed, rate):
        ...     ts = fnn.set_hyper(fnn.init(task, jax.random.key(seed), x), learning_rate=rate)
        ...     return fnn.run(task, ts, (x, 3 * x + 1), epochs=5)
        >>> found = fnn.sweep(trial, {"seed": [0, 1], "rate": [0.1, 0.2]}, keep="all", verbose=0)
        >>> fnn.Ensemble.of(task, found.states)
        Ensemble(4 members of 2 parameters)
        """
        check_task(task)
        ts = _stacked(states) if isinstance(states, TrainState) else _stack(states)
        return cls(task, ts, {}, ~np.asarray(_finite(ts)))

    def __len__(self) -> int:
        return int(self.failed.shape[0])

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            if len(range(len(self))[i]) == 0:
                fail("ensemble", expected="a slice with at least one member", got=f"none of {len(self)}")
            return jax.tree.map(lambda a: a[i], self)
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)):
            fail("ensemble", expected="the number of a member, or a slice", got=describe(i))
        if not -len(self) <= i < len(self):
            raise IndexError(f"ensemble: member {i} of {len(self)}")
        return jax.tree.map(lambda a: a[i], self.ts)

    def __iter__(self) -> Iterator[TrainState]:
        return (self[i] for i in range(len(self)))

    def predict(self, x: Any, *, batch_size: int = 256) -> Predictions:
        """What the members say, each and together, with training mode off.

        Args:
          x: the input, as in `fnn.predict`.
          batch_size: examples computed at a time; default 256.

        Returns:
          `Predictions`: the mean and spread over the members, and what follows from them: votes, or intervals.

        Raises:
          InputError: as `fnn.predict`; when all members failed.
        """
        check_count("predict", "batch_size", batch_size)
        x = as_arrays(x, late=True)
        size = size_of(x)
        ts = self._working()
        check_input(self.task, _first(ts), x)
        check_finite(x, "x")
        return predict_ensemble(self.task, ts, on_device(x), min(batch_size, size))

    def evaluate(self, data: Any, *more: Any, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics of the ensemble, and beside them those of its members on average.

        The ensemble's are those of what the members say together, in the form the task's loss expects: of the mean of
        probabilities, of the Gaussian with the mean and variance of the members' mixture (see `Predictions`), or of the
        mean output. Penalties count in the mean over the members.

        Args:
          data: ``(x, y)`` or ``(x, y, sample_weight)``, arrays.
          batch_size: examples computed at a time, at most; default 256. It does not change the result.

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
        data = _checked(self.task, _first(ts), data, "data", train=False)
        task = counting_rows(self.task)
        own, each = jax.device_get(evaluate_ensemble(task, ts, data, min(batch_size, size_of(data))))
        warn_of_nan("evaluate", own.pop(NAN_ROWS.name))
        names = ["loss", *(metric.name for metric in self.task.metrics)]
        return {name: float(own[name]) for name in names} | {f"member_{n}": float(np.mean(each[n])) for n in names}

    def _working(self) -> TrainState:
        """The states of the members that did not fail."""
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self)):
            hint = "Inside jit, vmap or grad use task.model.apply on ensemble.ts."
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
        lasts = _last(self.history)
        if not lasts:
            return text + (f", failed: {_numbers(failed)}" if failed.any() else "")
        names = ["member", *lasts]
        cells = [names, *([str(i), *(f"{lasts[n][i]:.4g}" for n in lasts)] for i in range(len(self)))]
        widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in cells]
        lines[1:] = [line + "  failed" * bool(bad) for line, bad in zip(lines[1:], failed, strict=True)]
        return "\n".join([*lines, text])


jax.tree_util.register_dataclass(Ensemble, ("ts", "history", "failed", "rows"), ("task",))


def _stack(states: Any) -> TrainState:
    """A list of states as one with a leading axis, after a check that they are alike."""
    if not isinstance(states, (list, tuple)):
        fail("Ensemble.of", expected="a list of TrainStates", got=describe(states))
    if not states:
        hint = "A sweep keeps its states with keep='all'."
        fail("Ensemble.of", expected="at least one TrainState", got="an empty list", hint=hint)
    for i, state in enumerate(states):
        if not isinstance(state, TrainState):
            fail(f"Ensemble.of, state {i}", expected="a TrainState", got=describe(state))
    first = {path: describe(leaf) for path, leaf in paths(states[0]).items()}
    for i, state in enumerate(states[1:], 1):
        own = {path: describe(leaf) for path, leaf in paths(state).items()}
        differ = [path for path in first.keys() | own.keys() if first.get(path) != own.get(path)]
        if differ:
            path = min(differ)
            expected = f"states of the same shapes; the first has {path}: {first.get(path, 'nothing')}"
            hint = "Members are of one task; networks of other shapes form an ensemble of their own."
            fail(f"Ensemble.of, state {i}", expected=expected, got=f"{own.get(path, 'nothing')}", hint=hint)
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *states)


def _stacked(ts: TrainState) -> TrainState:
    """A state with the members along the first axis of its arrays."""
    sizes = {leaf.shape[0] if getattr(leaf, "shape", ()) else None for leaf in jax.tree.leaves(ts)}
    if np.ndim(ts.step) != 1 or len(sizes) != 1 or 0 in sizes:
        hint = "Pass a list of them: [ts, ...]." if np.ndim(ts.step) == 0 else ""
        got = f"one with step {describe(ts.step)}"
        fail("Ensemble.of", expected="a list of TrainStates, or one with a leading axis", got=got, hint=hint)
    return jax.tree.map(jnp.asarray, ts)


def _first(ts: TrainState) -> TrainState:
    """The shapes of one member."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), ts)


@jax.jit
def _finite(ts: TrainState) -> Array:
    """Of each member, whether its parameters and its layers' state are finite."""
    good = jnp.ones(ts.step.shape, bool)
    for leaf in jax.tree.leaves((ts.params, ts.state)):
        if is_float(leaf):
            good &= jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(1)
    return good


def _last(history: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Of each member the values of the epoch that its state is of: the last, if no callback gave back another."""
    # Trees of dicts come in the order of their keys; the loss belongs first.
    values = {name: np.asarray(history[name]) for name in sorted(history, key=_rank)}
    epochs = values.pop("epoch", None)
    if epochs is None:
        return {name: a[:, -1] for name, a in values.items()}
    found = {name: np.take_along_axis(a, epochs[:, None], 1)[:, 0] for name, a in values.items()}
    return {"epoch": epochs, **found}


def _rank(name: str) -> tuple[bool, bool, str]:
    return name != "loss", name != "val_loss", name


def _numbers(flags: np.ndarray) -> str:
    return ", ".join(map(str, np.flatnonzero(flags)))


# ------------------------------------------------------------------------------------------------------------- training
class _How(NamedTuple):
    """What is fixed before tracing."""

    members: int
    epochs: int
    batch_size: int
    callbacks: tuple[PureCallback, ...]
    bootstrap: bool
    same_order: bool
    at_once: int | None
    eval_batch_size: int


def ensemble(
    task: Task,
    key: Array,
    data: Any,
    *,
    members: int = 5,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Any = None,
    callbacks: Sequence[PureCallback] = (),
    bootstrap: bool = False,
    same_order: bool = False,
    at_once: int | None = None,
    eval_batch_size: int = 256,
    verbose: int = 1,
) -> Ensemble:
    """Train several networks of one task, each from its own start, in one compiled program.

    With the loss "gaussian_nll" they are a deep ensemble (Lakshminarayanan, Pritzel and Blundell 2017,
    arXiv:1612.01474), whose predictions come with intervals.

    Member ``i`` is ``run(task, init(task, jax.random.fold_in(key, i), x[:1]), data, ...)``, whatever the number of
    members: its parameters, dropout and order of rows follow from its own key.

    Args:
      task: the `Task`.
      key: ``jax.random.key(seed)``.
      data: ``(x, y)`` or ``(x, y, sample_weight)``, arrays, as in `fit`.
      members: how many; default 5.
      epochs, batch_size: of each member, as in `run`.
      validation_data: like ``data``; measured after every epoch.
      callbacks: of `early_stopping` and `reduce_on_plateau`; each member stops for itself.
      bootstrap: whether each member trains on rows of its own, as many as there are, drawn with replacement (bagging,
        Breiman 1996). They are gathered, not weighted by how often they came, so that batch normalization and the like
        see what the member sees; a copy of the data for each member that trains at once is the price. The default, all
        rows for all, is mostly better for networks: their starts and orders alone make them differ.
      same_order: whether all visit the rows in the same order. Small networks then train up to twice as fast, since
        each batch is read once for all of them; members differ in their starts (and dropout) alone.
      at_once: how many train as one batch; see `many`, which chooses by default.
      eval_batch_size: examples per batch of validation; default 256.
      verbose: 0 is silent, 1 prints a line at the start and a table of the members at the end.

    Returns:
      An `Ensemble`. A member that became non-finite is marked as failed, with a warning, and does not touch the others.

    Raises:
      InputError: as `fit`, before anything compiles; for a member count below 1, or a shared order of rows that each
        member draws for itself.

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
        hint = "With rows of its own, no member shares a batch with another."
        fail("ensemble", expected="either bootstrap or same_order", got="both", hint=hint)
    if verbose not in (0, 1):
        fail("ensemble", expected="verbose 0 or 1", got=repr(verbose))
    callbacks = (callbacks,) if isinstance(callbacks, PureCallback) else tuple(callbacks)
    ts = _start(task, key, data)
    data = _checked(task, ts, data, "data", train=True)
    check_sizes(size_of(data), batch_size, False)
    if validation_data is not None:
        validation_data = _checked(task, ts, validation_data, "validation_data", train=False)
    how = _How(members, epochs, batch_size, callbacks, bootstrap, same_order, at_once, eval_batch_size)
    if verbose:
        span = f"{epochs} epoch{'s' * (epochs != 1)} of {size_of(data)} rows"
        print(f"ensemble: {members_text(members)}, {span}", flush=True)
    states, history, rows = _train(task, how, key, data, validation_data)
    history = jax.device_get(history)
    failed = ~np.asarray(_finite(states))
    for name, last in _last(history).items():
        if name in ("loss", "val_loss"):
            failed |= ~np.isfinite(last)
    if failed.any():
        warn(
            f"ensemble: {int(failed.sum())} of {members_text(members)} became non-finite ({_numbers(failed)}) and are "
            "left out of predictions. The learning rate may be too high; see history for the epoch."
        )
    found = Ensemble(task, states, history, failed, rows)
    if verbose:
        print(found, flush=True)
    return found


def _start(task: Task, key: Array, data: Any) -> TrainState:
    """The shapes of a state for these data, of which x is looked at alone."""
    if is_stream(data):
        hint = "Gather the batches, or train the members one by one and pass their states to fnn.Ensemble.of."
        fail("ensemble", expected="arrays, (x, y)", got=f"a {type(data).__name__}", hint=hint)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((key, data))):
        hint = "Inside jit, vmap or grad use fnn.run under fnn.many."
        fail("ensemble", expected="arrays with values", got="a traced array", hint=hint)
    data = as_batch(data, late=True)
    size_of(data)
    one: TrainState = jax.eval_shape(lambda: init(task, key, _one_row(data.x)))
    return one


def _one_row(x: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), shape_of(x))


def _checked(task: Task, ts: TrainState, data: Any, where: str, *, train: bool) -> Any:
    """Data as arrays on the device, after the checks of `fit`."""
    if is_stream(data):
        fail(where, expected="arrays, (x, y)", got=f"a {type(data).__name__}", hint="Gather the batches first.")
    data = as_batch(data, where, late=True)
    check_slices(task, check_fit(task, ts, data, where, train), data, size_of(data), where)
    return on_device(data)


@partial(jax.jit, static_argnums=(0, 1))
def _train(
    task: Task, how: _How, key: Array, data: Any, validation_data: Any
) -> tuple[TrainState, dict[str, Array], Any]:
    """See `ensemble`."""
    size, order_key = size_of(data), jax.random.fold_in(key, jnp.uint32(_ORDER)) if how.same_order else None

    def member(key: Array) -> tuple[TrainState, dict[str, Array], Any]:
        own, rows = data, None
        if how.bootstrap:
            rows = jax.random.randint(jax.random.fold_in(key, jnp.uint32(_ROWS)), (size,), 0, size, jnp.int32)
            own = take(data, rows)
        ts, history = run(
            task,
            init(task, key, _one_row(data.x)),
            own,
            epochs=how.epochs,
            batch_size=how.batch_size,
            validation_data=validation_data,
            order_key=order_key,
            callbacks=how.callbacks,
            eval_batch_size=how.eval_batch_size,
        )
        return ts, history, rows

    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(how.members, dtype=jnp.uint32))
    found: tuple[TrainState, dict[str, Array], Any] = many(member, at_once=how.at_once)(keys)
    return found
