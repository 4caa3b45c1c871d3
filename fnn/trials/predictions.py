"""The predictions of an ensemble, and how far its members agree."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import at_least_float32, widened
from .._core.errors import describe, fail
from .._core.types import Array
from ..losses.facts import CLASSES, GAUSSIAN, LABELS, VALUES, expects, facts_of
from ..losses.gaussian import Gaussians, gaussian_moments, gaussian_outputs
from ..metrics.calibration import Interval, gaussian_interval
from ..nn.activations import log_sigmoid, log_softmax
from ..nn.added_loss import added_losses
from ..nn.masks import Masked
from ..training.batch import counted, size_of
from ..training.state import TrainState
from ..training.task import Task
from ..training.totals import Totals, measure, merge, penalty_of, results
from .many import many


def members_text(count: int) -> str:
    """A number of members in words."""
    return f"{count} member{'s' * (count != 1)}"


# ---------------------------------------------------------------------------------------------------------- predictions
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
        return f"Predictions({members_text(jax.tree.leaves(self.members)[0].shape[0])}, {self.kind}, mean {mean})"


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
def predict_ensemble(task: Task, ts: TrainState, x: Any, batch_size: int) -> Predictions:
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
    kind, variances, mask = facts_of(task.loss).outputs, None, None
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
    if facts_of(task.loss).outputs == LABELS:
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
    kind, outputs = facts_of(task.loss).outputs, widened(outputs)
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
def evaluate_ensemble(task: Task, ts: TrainState, data: Any, batch_size: int) -> tuple[Any, Any]:
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
