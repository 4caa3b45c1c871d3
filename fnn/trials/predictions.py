"""The predictions of an ensemble, and the agreement of its members."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import at_least_float32, is_float, widened
from .._core.errors import describe, fail
from .._core.typed import jit
from .._core.types import Array, PyTree
from ..losses.common import Loss
from ..losses.facts import CLASSES, GAUSSIAN, LABELS, VALUES, distribution, expects
from ..losses.gaussian import Gaussians, gaussian_moments, gaussian_outputs
from ..metrics.calibration import Interval, gaussian_interval
from ..nn.activations import log_sigmoid, log_softmax
from ..nn.added_loss import added_losses
from ..nn.masks import Masked
from ..training.batch import Batch, neutralize_zero_weights
from ..training.forward import ModelOutputs, forward
from ..training.outputs import by_output
from ..training.segments import fold_batches, map_batches
from ..training.state import TrainState
from ..training.task import Task
from ..training.totals import Logs, Totals, measure, merge, penalties_of, results
from .many import many


def members_text(count: int) -> str:
    """A number of members in words."""
    return f"{count} member{'s' * (count != 1)}"


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Predictions:
    """The predictions of the members of an `Ensemble`, each and together.

    A member's prediction depends on the task's loss. With a cross-entropy it is probabilities, whether the model ends
    in logits or not; with "gaussian_nll" the mean of a Gaussian; otherwise the model's output as it is. All are in
    float32 at least.

    Attributes:
      members: (members, rows, ...), the prediction of each.
      mean: (rows, ...), the mean over the members: their joint prediction.
      spread: (rows, ...), the standard deviation over the members, with division by their number. It grows where there
        were no data.
      variances: (members, rows, k), those of each member's Gaussian with the loss "gaussian_nll", else None.
      kind: "classes", "yes or no", "gaussian" or "values".
      mask: (rows, time) booleans where the model's output is a `Masked`: the steps that all members keep; else None.
    """

    members: PyTree
    mean: PyTree
    spread: PyTree
    variances: Array | None
    kind: str
    mask: Array | None = None

    @property
    def vote(self) -> Array:
        """The class that most members find most probable, int32; a tie goes to the larger mean probability.

        Its shape is (rows,) for classes or a single output. With several yes/no labels there is a vote on each, 1 for
        yes.
        """
        return _vote(*self._probabilities("vote"), self.kind)[0]

    @property
    def agreement(self) -> Array:
        """The fraction of members that find the `vote` most probable, of the same shape."""
        return _vote(*self._probabilities("agreement"), self.kind)[1]

    @property
    def entropy(self) -> Array:
        """The entropy of the mean probabilities in nats: the uncertainty of the ensemble, whatever its cause."""
        return _entropies(*self._probabilities("entropy"), self.kind)[0]

    @property
    def mutual_information(self) -> Array:
        """The uncertainty from disagreement, in nats: `entropy` less the mean of the members' own entropies.

        More data could reduce it, while noise in the labels stays (Houlsby et al. 2011, arXiv:1112.5745).
        """
        return _entropies(*self._probabilities("mutual_information"), self.kind)[1]

    @property
    def variance(self) -> Array:
        """The variance of the mixture of the members' Gaussians, ``mean(v_i) + spread^2``: noise and doubt together."""
        return self._variance("variance")

    def interval(self, coverage: float = 0.9) -> Interval:
        """Intervals that hold this fraction of the truth, if the ensemble is right: ``mean -+ z sqrt(variance)``.

        They are those of the Gaussian with the mean and `variance` of the members' mixture, as in Lakshminarayanan et
        al.; see `fnn.metrics.gaussian_interval`. `fnn.metrics.coverage` measures the fraction that they hold.

        Args:
          coverage: in (0, 1); default 0.9.

        Returns:
          An `Interval` ``(low, high)``, each (rows, k).

        Raises:
          InputError: when the loss is not "gaussian_nll", or for a fraction outside (0, 1).
        """
        return gaussian_interval(self.mean, self._variance("interval"), coverage)

    def _variance(self, where: str) -> Array:
        if self.kind != GAUSSIAN or self.variances is None:
            hint = "Train with the loss 'gaussian_nll'; the difference between members is spread."
            fail(where, expected=f"predictions of kind {GAUSSIAN!r}", got=repr(self.kind), hint=hint)
        return self.variances.mean(0) + jnp.square(self.spread)

    def _probabilities(self, where: str) -> tuple[Array, Array]:
        """Those of the members and their mean; a single yes/no output loses its axis, so that ``vote == y`` works."""
        if self.kind not in (CLASSES, LABELS):
            hint = "For losses other than the library's cross-entropies use .members, .mean or .spread."
            fail(where, expected="a task whose loss has classes", got=f"predictions of kind {self.kind!r}", hint=hint)
        single = self.kind == LABELS and self.mean.ndim > 1 and self.mean.shape[-1] == 1
        return (self.members[..., 0], self.mean[..., 0]) if single else (self.members, self.mean)

    def __repr__(self) -> str:
        mean = jax.tree.map(describe, self.mean)
        return f"Predictions({members_text(jax.tree.leaves(self.members)[0].shape[0])}, {self.kind}, mean {mean})"


jax.tree_util.register_dataclass(Predictions, ("members", "mean", "spread", "variances", "mask"), ("kind",))


def _forward(task: Task, ts: TrainState, x: PyTree) -> tuple[ModelOutputs, PyTree]:
    """`ModelOutputs` (members, rows, ...) and new layer states of all members for one batch."""
    members = many(lambda ts: forward(task, ts.params, ts.state, x))
    out, state = members(ts._replace(opt_state=()))  # the optimizer's numbers play no part
    return out, state


@jit(static_argnums=(0, 3))
def predict_ensemble(task: Task, ts: TrainState, x: PyTree, batch_size: int) -> Predictions | dict[str, PyTree]:
    """See `Ensemble.predict`."""
    outputs = widened(map_batches(lambda rows: _forward(task, ts, rows)[0].scores, x, batch_size, axis=1))
    found: Predictions | dict[str, PyTree] = _by_loss(_predictions, task, outputs)
    return found


def _by_loss(fn: Callable[[Loss, PyTree], PyTree], task: Task, outputs: PyTree) -> PyTree:
    """A function of each loss and its output; one value, or nested dicts by output."""
    return by_output({part.path: fn(part.loss, part.of("predictions", outputs)) for part in task.parts})


def _predictions(loss: Loss, outputs: PyTree) -> Predictions:
    """The predictions from an output (members, rows, ...) and its loss."""
    kind, variances, mask = distribution(loss), None, None
    if isinstance(outputs, Masked):
        outputs, mask = outputs.x, outputs.mask.all(0)
    if kind == GAUSSIAN:
        outputs, variances = gaussian_moments(outputs)
    elif kind in (CLASSES, LABELS):
        outputs = jnp.exp(_log_probabilities(loss, outputs)[0])
    mean = jax.tree.map(lambda a: _over_members(a)[0].astype(a.dtype), outputs)
    spread = jax.tree.map(lambda a: jnp.sqrt(_over_members(a)[1]).astype(a.dtype), outputs)
    return Predictions(outputs, mean, spread, variances, kind, mask)


def _over_members(a: Array) -> tuple[Array, Array]:
    """Mean and variance over the first axis, in float32 at least.

    They are computed from differences to the first member, which are exact where all agree and lose little precision
    where the outputs are far from 0.
    """
    a = a.astype(at_least_float32(a.dtype) if is_float(a) else jnp.float32)
    shifted = a - a[:1]
    shift = shifted.mean(0)
    return a[0] + shift, jnp.square(shifted - shift[None]).mean(0)


def _log_probabilities(loss: Loss, outputs: Array) -> tuple[Array, Array | None]:
    """Log-probabilities from outputs in the form that the task's loss takes; for yes/no labels also those of no."""
    logits = expects(loss) == "logits"
    if distribution(loss) == LABELS:
        return (log_sigmoid(outputs), log_sigmoid(-outputs)) if logits else (jnp.log(outputs), jnp.log1p(-outputs))
    return log_softmax(outputs) if logits else jnp.log(outputs / jnp.sum(outputs, -1, keepdims=True)), None


def _log_mean(log_p: Array) -> Array:
    """The logarithm of the mean over the members."""
    together = jax.nn.logsumexp(log_p, 0) - jnp.asarray(math.log(log_p.shape[0]), log_p.dtype)
    # NaN of a member must remain; in the compiled evaluation it came out finite without this.
    return jnp.where(jnp.isnan(log_p).any(0), jnp.asarray(np.nan, log_p.dtype), together)


def _joint(loss: Loss, outputs: PyTree) -> PyTree:
    """The joint prediction as outputs (rows, ...) in the form that the loss takes."""
    if isinstance(outputs, Masked):
        return Masked(_joint(loss, outputs.x), outputs.mask.all(0))
    kind, outputs = distribution(loss), widened(outputs)
    if kind == VALUES:
        return jax.tree.map(lambda a: _over_members(a)[0].astype(a.dtype), outputs)
    if kind == GAUSSIAN:
        mean, variances = gaussian_moments(outputs)
        middle, spread = _over_members(mean)
        return gaussian_outputs(Gaussians(middle, variances.mean(0) + spread))
    yes, no = _log_probabilities(loss, outputs)
    if expects(loss) != "logits":
        return jnp.exp(_log_mean(yes))
    return _log_mean(yes) if no is None else _log_mean(yes) - _log_mean(no)


@jit(static_argnums=2)
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


@jit(static_argnums=2)
def _entropies(p: Array, mean: Array, kind: str) -> tuple[Array, Array]:
    """The entropy of the mean, and by how much it exceeds the mean of the entropies."""

    def entropy(p: Array) -> Array:
        own = jax.scipy.special.entr(p)
        return own + jax.scipy.special.entr(1 - p) if kind == LABELS else jnp.sum(own, -1)

    total = entropy(mean)
    return total, jnp.maximum(total - entropy(p).mean(0), jnp.zeros_like(total))  # rounding may make it negative


def _together(task: Task, outputs: ModelOutputs) -> ModelOutputs:
    """The joint outputs of the members."""
    scores = _by_loss(_joint, task, outputs.scores)
    if not outputs.activated:
        return ModelOutputs(scores, scores)
    means = {part.path: _predictions(part.loss, part.of("predictions", outputs.scores)).mean for part in task.parts}
    return ModelOutputs(by_output(means), scores, outputs.activated)


@jit(static_argnums=(0, 3))
def evaluate_ensemble(task: Task, ts: TrainState, data: Batch, batch_size: int) -> tuple[Logs, Logs]:
    """Results of the ensemble, and of each member, from one pass over the data; see `measure_all`."""

    def totals_of(batch: Batch, valid: Array) -> tuple[Totals, Totals]:
        batch = neutralize_zero_weights(task.model, batch)
        outputs, after = _forward(task, ts, batch.x)
        added = jax.vmap(partial(penalties_of, task))(ts.params, after)
        own = measure(task, _together(task, outputs), batch, valid, [a.mean(0) for a in added])[1]
        each = jax.vmap(lambda out, added: measure(task, out, batch, valid, added)[1])(outputs, added)
        return own, each

    def join(a: tuple[Totals, Totals], b: tuple[Totals, Totals]) -> tuple[Totals, Totals]:
        return merge(task, a[0], b[0]), jax.vmap(partial(merge, task))(a[1], b[1])

    own, each = fold_batches(totals_of, join, data, batch_size, own_shape=bool(added_losses(ts.state)))
    return results(task, own), jax.vmap(partial(results, task))(each)
