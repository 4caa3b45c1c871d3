"""What to learn: `Task`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax

from .._core.checks import check_accepts, refuse_uncalled, renamed
from .._core.described import Config, Described, in_words, unshared, written
from .._core.errors import describe, fail, noted
from .._core.sharding import Placement
from .._core.trees import paths, shape_of
from .._core.types import Array, PyTree
from ..metrics.metric import Metric
from ..nn.layer import Layer, call_hint
from ..optimizers.base import OptimizerLike, check_rule
from ..optimizers.rules import get_optimizer, is_optimizer
from .outputs import LossTree, MetricTree, OutputLoss, Path, as_tuple, is_named, parse_outputs


@dataclasses.dataclass(frozen=True, eq=False, repr=False, init=False)
class Task(Described):
    """What to learn; immutable and hashable, so it can be a static argument of compiled functions.

    Args:
      model: a `Layer`, usually a `Sequential` or a `Model`.
      loss: a name, or a function ``(predictions, targets) -> (batch,)``, in this order (Keras has the other); it gets
        the targets as they were given. See `fnn.losses`. Cross-entropies take logits: end the model with a plain
        ``Dense(classes)``, or with fnn's "softmax" or "sigmoid", before which they read the logits. For a model with
        several outputs, a dict of losses with the outputs' names (or a tuple, or nested, as the outputs are); None
        leaves an output out.
      optimizer: a name, an fnn optimizer, or an optax one; default "adam".
      metrics: names, `fnn.Metric`s, or functions ``(predictions, targets) -> (batch,)``; see `fnn.metrics`. With losses
        by output, a dict from outputs to metrics; with a tuple of losses, also a list with an entry for each.
      penalty: a function of the parameters that is added to the loss, ``params -> scalar``, e.g.
        ``fnn.penalties.l2(1e-4)``.
      constraint: a function applied to the parameters after each update, ``params -> params``, e.g.
        ``fnn.penalties.max_norm(3.0)``.
      loss_weights: with losses by output, numbers in the form of the metrics; default 1 each. 0 leaves a loss out, even
        if it is not finite.

    Raises:
      InputError: for unknown names, a model that is not a `Layer`, a penalty or constraint that is not callable, two
        metrics of the same name, or one named "loss"; for metrics or weights of an output without a loss; for names
        that would stand twice in the history, such as an output named "val".

    Names are looked up when the task is made: ``task.loss`` is a function and ``task.metrics`` a tuple of `Metric`.
    Two tasks made alike are equal and share their compiled programs. With losses by output, targets (and sample
    weights, if they differ) come in the same form, the history has keys such as "digit_loss" and "digit_accuracy", and
    "loss" is the sum of the weighted losses and penalties.

    >>> import fnn
    >>> model = fnn.Sequential(fnn.Dense(16, activation="relu"), fnn.Dense(3))
    >>> task = fnn.Task(model, loss="sparse_categorical_crossentropy", metrics=("accuracy",))
    >>> task.loss.__name__, [metric.name for metric in task.metrics]
    ('sparse_categorical_crossentropy', ['accuracy'])
    """

    model: Layer
    loss: LossTree
    optimizer: OptimizerLike
    metrics: tuple[Metric, ...] | dict[str, tuple[Metric, ...]]
    penalty: Callable[[PyTree], Array] | None
    constraint: Callable[[PyTree], PyTree] | None
    parts: tuple[OutputLoss, ...]
    without_loss: tuple[Path, ...]
    former: ClassVar[tuple[OptimizerLike, ...]] = ()  # of an instance: the optimizers that `replace` replaced
    placement: Placement | None  # where it is trained, by which compiled programs differ; no part of the description

    @renamed(
        **dict.fromkeys(("lr", "learning_rate"), "optimizer=fnn.adam({})"),
        sample_weight="the data of fit as (x, y, sample_weight)",
    )
    def __init__(
        self,
        model: Layer,
        loss: LossTree,
        optimizer: str | OptimizerLike = "adam",
        metrics: MetricTree | None = (),
        penalty: Callable[[PyTree], Array] | None = None,
        constraint: Callable[[PyTree], PyTree] | None = None,
        *,
        loss_weights: PyTree = None,
    ) -> None:
        """Look up names and check the parts."""
        if not (isinstance(model, Layer) and callable(model.init) and callable(model.apply)):
            hint = "Use fnn.Sequential(...) or fnn.Layer(init, apply)."
            fail("Task", expected="a Layer as model", got=in_words(model), hint=call_hint(model) or hint)
        for name, fn in (("penalty", penalty), ("constraint", constraint)):
            expected = f"a function of the parameters as {name}"
            refuse_uncalled("Task", expected, fn)
            if fn is not None and not callable(fn):
                fail("Task", expected=expected, got=in_words(fn))
            if fn is not None:
                check_accepts("Task", f"{name}(params)", fn, 1)
        _check_order(loss, optimizer)
        rule = get_optimizer(optimizer)
        check_rule("Task, optimizer", rule)
        metrics = metrics if is_named(metrics) else as_tuple(metrics)
        found = parse_outputs(loss, metrics, loss_weights)
        defaults = {"optimizer": "adam", "metrics": (), "penalty": None, "constraint": None, "loss_weights": None}
        given = {"loss": loss, "optimizer": optimizer, "metrics": metrics, "penalty": penalty, "constraint": constraint}
        given |= {"loss_weights": loss_weights}
        fields = {
            "model": model,
            "loss": found.loss,
            "optimizer": rule,
            "metrics": found.metrics,
            "penalty": penalty,
            "constraint": constraint,
            "parts": found.parts,
            "without_loss": found.without_loss,
            "placement": None,
        }
        written = {name: unshared(value) for name, value in given.items() if name == "loss" or value != defaults[name]}
        for name, value in (*fields.items(), ("config", Config(Task, (model,), written))):
            object.__setattr__(self, name, value)

    def replace(self, **changes: object) -> Task:
        """Another task with some parts changed; names are looked up again.

        A new optimizer needs a new state, or its values in the old one, ``fnn.set_hyper(ts, learning_rate=1e-4)``:
        hyper-parameters are part of the state, and those of the state count. Training gives a `RuntimeWarning` where a
        state still has a value of the optimizer that was replaced.
        """
        assert self.config is not None
        new = Task(**{"model": self.model, **self.config.kwargs, **changes})
        object.__setattr__(new, "former", (*self.former, *([self.optimizer] if "optimizer" in changes else [])))
        return new.placed(self.placement)

    def placed(self, placement: Placement | None) -> Task:
        """The same task, for several devices; None is for one."""
        if placement == self.placement:
            return self
        other = object.__new__(Task)
        other.__dict__.update(self.__dict__, placement=placement)
        other.__dict__.pop("equality_key", None)  # computed from the fields when it is asked for
        return other

    @property
    def penalties(self) -> tuple[Callable[[PyTree], Array], ...]:
        """The penalty of the model's layers and that of the task, those that there are."""
        return tuple(penalty for penalty in (self.model.penalty, self.penalty) if penalty is not None)

    @property
    def constraints(self) -> tuple[Callable[[PyTree], PyTree], ...]:
        """The constraint of the model's layers and that of the task, those that there are."""
        return tuple(constraint for constraint in (self.model.constraint, self.constraint) if constraint is not None)

    @property
    def traced(self) -> bool:
        """Whether a part holds traced values, such as an optimizer made inside a trial."""
        return self.equality_key.traced


def _check_order(loss: object, optimizer: object) -> None:
    """Refuse an optimizer passed as the loss, and metrics passed as the optimizer."""
    if is_optimizer(loss):
        other = "loss" if is_optimizer(optimizer) else written(optimizer)
        hint = f"Write fnn.Task(model, {other}, {written(loss)})."
        fail("Task", expected="the loss before the optimizer", got=f"the optimizer {in_words(loss)} as loss", hint=hint)
    if isinstance(optimizer, (list, tuple)) and not is_optimizer(optimizer):
        hint = f"Write metrics={written(optimizer)}."
        fail("Task", expected="an optimizer after the loss", got=in_words(optimizer), hint=hint)


def check_penalties(task: Task, params: PyTree) -> None:
    """Trace penalty and constraint once, so that mistakes such as a pattern without a match are found at once."""
    params = shape_of(params)
    for penalty in task.penalties:
        with noted("penalty"):
            out = jax.eval_shape(penalty, params)
        if getattr(out, "shape", None) != ():
            fail("penalty", expected="a function params -> scalar", got=f"one that returns {describe(out)}")
    for constraint in task.constraints:
        with noted("constraint"):
            out = jax.eval_shape(constraint, params)
        before, after = ({path: describe(leaf) for path, leaf in paths(tree).items()} for tree in (params, out))
        if before != after:
            changed = sorted(before.items() ^ after.items())
            expected = "a function params -> params that keeps names, shapes and dtypes"
            fail("constraint", expected=expected, got=f"a difference in {[path for path, _ in changed][:4]}")
