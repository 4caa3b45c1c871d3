"""Ensembles: many members of one task, trained in one program, that predict together and tell how far they agree."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_count, check_key, describe, fail
from .._dtypes import at_least_float32, widened
from .._inputs import as_arrays, as_data, on_device
from .._tree import paths
from ..losses import (
    Gaussians,
    base,
    binary_crossentropy,
    categorical_crossentropy,
    expects,
    gaussian_moments,
    gaussian_nll,
    gaussian_outputs,
    logistic,
    sparse_categorical_crossentropy,
)
from ..metrics import NAN_ROWS, Interval, gaussian_interval
from ..nn.activations import log_sigmoid, log_softmax
from ..nn.activity import added_losses
from ..nn.layer import shape_of
from ..nn.masks import Masked
from .callbacks import PureCallback
from .checks import check_finite, check_fit, check_input, check_slices, counting_rows, warn_of_nan
from .many import many
from .run import run
from .sources import is_stream
from .state import Task, TrainState, check_task, init
from .step import Totals, check_sizes, counted, measure, merge, penalty_of, results, size_of, take, unpack

Array = jax.Array

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
        return _predict(self.task, ts, on_device(x), min(batch_size, size))

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
        own, each = jax.device_get(_evaluate(task, ts, data, min(batch_size, size_of(data))))
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
        text = f"Ensemble({_members(len(self))} of {size:,} parameter{'s' * (size != 1)})"
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
        if jnp.issubdtype(leaf.dtype, jnp.floating):
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


def _members(count: int) -> str:
    return f"{count} member{'s' * (count != 1)}"


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
        print(f"ensemble: {_members(members)}, {span}", flush=True)
    states, history, rows = _train(task, how, key, data, validation_data)
    history = jax.device_get(history)
    failed = ~np.asarray(_finite(states))
    for name, last in _last(history).items():
        if name in ("loss", "val_loss"):
            failed |= ~np.isfinite(last)
    if failed.any():
        warnings.warn(
            f"ensemble: {int(failed.sum())} of {_members(members)} became non-finite ({_numbers(failed)}) and are left "
            "out of predictions. The learning rate may be too high; see history for the epoch.",
            RuntimeWarning,
            stacklevel=2,
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
    data = as_data(data, late=True)
    x, _, _ = unpack(data)
    size_of(data)
    one: TrainState = jax.eval_shape(lambda: init(task, key, _one_row(x)))
    return one


def _one_row(x: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), shape_of(x))


def _checked(task: Task, ts: TrainState, data: Any, where: str, *, train: bool) -> Any:
    """Data as arrays on the device, after the checks of `fit`."""
    if is_stream(data):
        fail(where, expected="arrays, (x, y)", got=f"a {type(data).__name__}", hint="Gather the batches first.")
    data = as_data(data, where, late=True)
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
            init(task, key, _one_row(data[0])),
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


# ---------------------------------------------------------------------------------------------------------- predictions
CLASSES, LABELS, GAUSSIAN, VALUES = "classes", "yes or no", "gaussian", "values"


def _kind(task: Task) -> str:
    """What the outputs of a task's model mean, as far as its loss tells."""
    loss = base(task.loss)
    if loss in (categorical_crossentropy, sparse_categorical_crossentropy):
        return CLASSES
    if loss in (binary_crossentropy, logistic):
        return LABELS
    return GAUSSIAN if loss is gaussian_nll else VALUES


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Predictions:
    """What the members of an `Ensemble` say, each and together.

    What a member says depends on the task's loss. With a cross-entropy it is probabilities, whether the model ends in
    logits or not; with "gaussian_nll" the mean of a Gaussian; else the model's output as it is. All are in float32 at
    least.

    Attributes:
      members: (members, rows, ...), what each says.
      mean: (rows, ...), the mean over the members: their prediction.
      spread: (rows, ...), the standard deviation over the members (of the members themselves, that is divided by their
        number): how far they differ, which grows where there were no data.
      variances: (members, rows, k), those of each member's Gaussian with the loss "gaussian_nll", else None.
      kind: "classes", "yes or no", "gaussian" or "values".
      mask: (rows, time) booleans where the model's output is a `Masked`: the steps that all members keep; else None.
    """

    members: Any
    mean: Any
    spread: Any
    variances: Any
    kind: str
    mask: Any = None

    @property
    def vote(self) -> Array:
        """The class that most members hold most probable, int32; of equal votes the one of the larger mean probability.

        Its shape is (rows,) for classes or a single output. Of several yes/no labels each is voted on, 1 for yes.
        """
        return _vote(self._probabilities("vote"), self._mean(), self.kind)[0]

    @property
    def agreement(self) -> Array:
        """The fraction of members that hold the `vote` most probable, of the same shape."""
        return _vote(self._probabilities("agreement"), self._mean(), self.kind)[1]

    @property
    def entropy(self) -> Array:
        """The entropy of the mean probabilities in nats: how unsure the ensemble is, for whatever reason."""
        return _entropies(self._probabilities("entropy"), self._mean(), self.kind)[0]

    @property
    def mutual_information(self) -> Array:
        """How unsure the ensemble is because members differ, in nats: `entropy` less the members' own, on average.

        It is what more data could take away, while noise in the labels stays (Houlsby et al. 2011, arXiv:1112.5745).
        """
        return _entropies(self._probabilities("mutual_information"), self._mean(), self.kind)[1]

    @property
    def variance(self) -> Array:
        """The variance of the mixture of the members' Gaussians, ``mean(v_i) + spread^2``: noise and doubt together."""
        self._need_gaussians("variance")
        return self.variances.mean(0) + jnp.square(self.spread)

    def interval(self, coverage: float = 0.9) -> Interval:
        """Intervals that hold this fraction of the truth, if the ensemble is right: ``mean -+ z sqrt(variance)``.

        They are those of the Gaussian with the mean and `variance` of the members' mixture, as in Lakshminarayanan et
        al.; see `fnn.metrics.gaussian_interval`. What fraction they do hold, `fnn.metrics.coverage` tells.

        Args:
          coverage: in (0, 1); default 0.9.

        Returns:
          An `Interval` ``(low, high)``, each (rows, k).

        Raises:
          InputError: when the loss is not "gaussian_nll", or for a fraction outside (0, 1).
        """
        self._need_gaussians("interval")
        return gaussian_interval(self.mean, self.variance, coverage)

    def _need_gaussians(self, what: str) -> None:
        if self.kind != GAUSSIAN:
            hint = "Train with the loss 'gaussian_nll'; what members differ by is spread."
            fail(what, expected=f"predictions of kind {GAUSSIAN!r}", got=repr(self.kind), hint=hint)

    def _probabilities(self, what: str) -> Array:
        if self.kind not in (CLASSES, LABELS):
            hint = "Of losses that are no cross-entropy of the library there are members, mean and spread."
            fail(what, expected="a task whose loss has classes", got=f"predictions of kind {self.kind!r}", hint=hint)
        probabilities: Array = _squeezed(self.members, self.kind)
        return probabilities

    def _mean(self) -> Array:
        mean: Array = _squeezed(self.mean, self.kind)
        return mean

    def __repr__(self) -> str:
        mean = jax.tree.map(describe, self.mean)
        return f"Predictions({_members(jax.tree.leaves(self.members)[0].shape[0])}, {self.kind}, mean {mean})"


jax.tree_util.register_dataclass(Predictions, ("members", "mean", "spread", "variances", "mask"), ("kind",))


def _squeezed(p: Any, kind: str) -> Any:
    """A single yes/no output without its last axis, so that ``vote == y`` compares row with row."""
    return p[..., 0] if kind == LABELS and p.ndim > 1 and p.shape[-1] == 1 else p


def _forward(task: Task, ts: TrainState, x: Any) -> tuple[Any, Any]:
    """Outputs (members, rows, ...) and new layer states of all members for one batch."""

    def member(ts: TrainState) -> tuple[Any, Any]:
        out: tuple[Any, Any] = task.model.apply(ts.params, ts.state, x)
        return out

    # The optimizer's numbers have no part in it.
    found: tuple[Any, Any] = many(member)(ts._replace(opt_state=()))
    return found


@partial(jax.jit, static_argnums=(0, 3))
def _predict(task: Task, ts: TrainState, x: Any, batch_size: int) -> Predictions:
    """See `Ensemble.predict`; the last batch reaches back over rows already seen, as in `predict`."""
    size = size_of(x)
    whole, rest = divmod(size, batch_size)

    def body(i: Array) -> Any:
        start = jnp.minimum(i * batch_size, size - batch_size)
        part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, batch_size), x)
        return _forward(task, ts, part)[0]

    def join(a: Array) -> Array:
        a = jnp.moveaxis(a, 0, 1)  # members, batches, rows of a batch
        full = a[:, :whole].reshape(a.shape[0], whole * batch_size, *a.shape[3:])
        return jnp.concatenate([full, a[:, whole, batch_size - rest :]], 1) if rest else full

    outputs = widened(jax.tree.map(join, jax.lax.map(body, jnp.arange(whole + (rest > 0), dtype=jnp.int32))))
    kind, variances, mask = _kind(task), None, None
    if isinstance(outputs, Masked):
        outputs, mask = outputs.x, outputs.mask.all(0)
    if kind == GAUSSIAN:
        outputs, variances = gaussian_moments(outputs)
    elif kind in (CLASSES, LABELS):
        outputs = jnp.exp(_log_probabilities(task, outputs)[0])
    mean = jax.tree.map(lambda a: _over_members(a)[0].astype(a.dtype), outputs)
    spread = jax.tree.map(lambda a: jnp.sqrt(_over_members(a)[1]).astype(a.dtype), outputs)
    return Predictions(outputs, mean, spread, variances, kind, mask)


def _over_members(a: Array) -> tuple[Array, Array]:
    """Mean and variance over the first axis, in float32 at least.

    Of differences from the first member, which are exact where all agree and lose little where they are far from 0.
    """
    a = a.astype(at_least_float32(a.dtype)) if jnp.issubdtype(a.dtype, jnp.inexact) else a.astype(jnp.float32)
    shifted = a - a[:1]
    shift = shifted.mean(0)
    return a[0] + shift, jnp.square(shifted - shift[None]).mean(0)


def _log_probabilities(task: Task, outputs: Array) -> tuple[Array, Array | None]:
    """Logarithms of probabilities from outputs as the task's loss takes them; of yes/no labels those of no too."""
    logits = expects(task.loss) == "logits"
    if _kind(task) == LABELS:
        return (log_sigmoid(outputs), log_sigmoid(-outputs)) if logits else (jnp.log(outputs), jnp.log1p(-outputs))
    return log_softmax(outputs) if logits else jnp.log(outputs / jnp.sum(outputs, -1, keepdims=True)), None


def _log_mean(log_p: Array) -> Array:
    """The logarithm of the mean over the members."""
    together = jax.nn.logsumexp(log_p, 0) - jnp.asarray(math.log(log_p.shape[0]), log_p.dtype)
    # A member's NaN is one of the ensemble; in the compiled evaluation it came out finite without this.
    return jnp.where(jnp.isnan(log_p).any(0), jnp.asarray(np.nan, log_p.dtype), together)


def _together(task: Task, outputs: Any) -> Any:
    """Outputs (rows, ...) that say what the members say together, in the form that the task's loss takes."""
    if isinstance(outputs, Masked):
        return Masked(_together(task, outputs.x), outputs.mask.all(0))
    kind, outputs = _kind(task), widened(outputs)
    if kind == VALUES:
        return jax.tree.map(lambda a: _over_members(a)[0].astype(a.dtype), outputs)
    if kind == GAUSSIAN:
        mean, variances = gaussian_moments(outputs)
        middle, spread = _over_members(mean)
        return gaussian_outputs(Gaussians(middle, variances.mean(0) + spread))
    yes, no = _log_probabilities(task, outputs)
    if expects(task.loss) != "logits":
        return jnp.exp(_log_mean(yes))
    return _log_mean(yes) if no is None else _log_mean(yes) - _log_mean(no)


@partial(jax.jit, static_argnums=2)
def _vote(p: Array, mean: Array, kind: str) -> tuple[Array, Array]:
    """The majority's choice, and the fraction of members that made it."""
    members = p.shape[0]
    if kind == LABELS:
        yes = jnp.sum(p > 0.5, 0, dtype=jnp.int32)
        vote = jnp.where(2 * yes == members, mean > 0.5, 2 * yes > members).astype(jnp.int32)
        count = jnp.where(vote == 1, yes, members - yes)
    else:
        chosen = jnp.argmax(p, -1)[..., None] == jnp.arange(p.shape[-1])
        counts = jnp.sum(chosen, 0, dtype=jnp.int32)
        first = counts == jnp.max(counts, -1, keepdims=True)
        vote = jnp.argmax(jnp.where(first, mean, jnp.full_like(mean, -1)), -1).astype(jnp.int32)
        count = jnp.max(counts, -1)
    return vote, count.astype(mean.dtype) / members


@partial(jax.jit, static_argnums=2)
def _entropies(p: Array, mean: Array, kind: str) -> tuple[Array, Array]:
    """The entropy of the mean, and by how much it exceeds the mean of the entropies."""

    def entropy(p: Array) -> Array:
        own = jax.scipy.special.entr(p)
        return own + jax.scipy.special.entr(1 - p) if kind == LABELS else jnp.sum(own, -1)

    total = entropy(mean)
    return total, jnp.maximum(total - entropy(p).mean(0), jnp.zeros_like(total))  # rounding may make it negative


# ----------------------------------------------------------------------------------------------------------- evaluation
@partial(jax.jit, static_argnums=(0, 3))
def _evaluate(task: Task, ts: TrainState, data: Any, batch_size: int) -> tuple[Any, Any]:
    """Results of the ensemble, and of each member, from one pass over the data; rows as in `step.measure_all`."""
    size, adds = size_of(data), bool(added_losses(ts.state))

    def penalties(params: Any, state: Any) -> list[Array]:
        return [*penalty_of(task, params), *added_losses(state)]

    def totals_of(start: Any, rows: int, first: Any) -> tuple[Totals, Totals]:
        part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, rows), data)
        x, y, weight = counted(task.model, part)
        outputs, after = _forward(task, ts, x)
        valid = start + jnp.arange(rows, dtype=jnp.int32) >= first
        added = jax.vmap(penalties)(ts.params, after)
        own = measure(task, _together(task, outputs), y, weight, valid, [a.mean(0) for a in added])[1]
        each = jax.vmap(lambda out, added: measure(task, out, y, weight, valid, added)[1])(outputs, added)
        return own, each

    def batch(i: Any) -> tuple[Totals, Totals]:
        return totals_of(jnp.minimum(i * batch_size, size - batch_size), batch_size, i * batch_size)

    def join(a: tuple[Totals, Totals], b: tuple[Totals, Totals]) -> tuple[Totals, Totals]:
        both: Callable[..., Any] = partial(merge, task)
        return both(a[0], b[0]), jax.vmap(both)(a[1], b[1])

    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(batch, jnp.int32(0)))
    whole, rest = divmod(size, batch_size)
    count = whole if adds else whole + (rest > 0)
    totals = jax.lax.fori_loop(0, count, lambda i, totals: join(totals, batch(jnp.int32(i))), zeros)
    if adds and rest:
        totals = join(totals, totals_of(jnp.int32(size - rest), rest, size - rest))
    return results(task, totals[0]), jax.vmap(partial(results, task))(totals[1])
