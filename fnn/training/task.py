"""What to learn: `Task`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_accepts, refuse_uncalled, renamed
from .._core.described import Config, Described, in_words, unshared, written
from .._core.errors import describe, fail, listed, noted
from .._core.sharding import Placement
from .._core.trees import paths, shape_of
from .._core.types import Array, DType, PyTree
from ..metrics.metric import Metric
from ..nn.layer import Layer, call_hint
from ..nn.precision import in_dtype
from ..optimizers.base import OptimizerLike, check_rule, get_hyper
from ..optimizers.loss_scale import dynamic_loss_scale
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
      compute_dtype: the dtype of the model's arithmetic, "bfloat16", "float16", "float32" or "float64"; default that of
        its parameters. Parameters and inputs are cast to it for the model alone: parameters, slots, running statistics,
        losses and metrics stay in float32 at least. "float16" adds `fnn.dynamic_loss_scale` to the optimizer.

    Raises:
      InputError: for unknown names, a model that is not a `Layer`, a penalty or constraint that is not callable, two
        metrics of the same name, or one named "loss"; for metrics or weights of an output without a loss; for names
        that would stand twice in the history, such as an output named "val"; for another ``compute_dtype``, and for
        float64 where JAX has it disabled.

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
    compute_dtype: str | None
    placement: Placement | None  # devices to train on; part of the compilation key, not of the description
    former: tuple[OptimizerLike, ...] = dataclasses.field(compare=False)  # the optimizers that `replace` replaced

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
        compute_dtype: DType | None = None,
    ) -> None:
        """Look up names and check the parts."""
        if not (isinstance(model, Layer) and callable(model.init) and callable(model.apply)):
            hint = "Use fnn.Sequential(...) or fnn.Layer(init, apply)."
            fail("Task", expected="a Layer as model", got=in_words(model), hint=call_hint(model) or hint)
        for name, fn in (("penalty", penalty), ("constraint", constraint)):
            expected = f"a function of the parameters as {name}"
            refuse_uncalled("Task", expected, fn)
            if fn is not None and not callable(fn):
                usual = {"penalty": "l2", "constraint": "max_norm"}[name]
                hint = f"Write {name}=fnn.penalties.{usual}({fn})." if isinstance(fn, (int, float)) else ""
                fail("Task", expected=expected, got=in_words(fn), hint=hint)
            if fn is not None:
                check_accepts("Task", f"{name}(params)", fn, 1)
        _check_order(loss, optimizer)
        rule = get_optimizer(optimizer)
        check_rule("Task, optimizer", rule)
        metrics = metrics if is_named(metrics) else as_tuple(metrics)
        found = parse_outputs(loss, metrics, loss_weights)
        compute_dtype = None if compute_dtype is None else _compute_dtype(compute_dtype)
        defaults = {"optimizer": "adam", "metrics": ()}
        given = {"loss": loss, "optimizer": optimizer, "metrics": metrics, "penalty": penalty, "constraint": constraint}
        given |= {"loss_weights": loss_weights, "compute_dtype": compute_dtype}
        fields = {
            "model": model,
            "loss": found.loss,
            "optimizer": _with_loss_scale(rule) if compute_dtype == "float16" else rule,
            "metrics": found.metrics,
            "penalty": penalty,
            "constraint": constraint,
            "parts": found.parts,
            "without_loss": found.without_loss,
            "compute_dtype": compute_dtype,
            "placement": None,
            "former": (),
        }
        given = {name: value for name, value in given.items() if name == "loss" or value != defaults.get(name)}
        written = {name: unshared(value) for name, value in given.items()}
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
        replaced = (self.optimizer,) if "optimizer" in changes else ()
        return new._with(placement=self.placement, former=(*self.former, *replaced))

    def placed(self, placement: Placement | None) -> Task:
        """The same task, for several devices; None is for one."""
        return self if placement == self.placement else self._with(placement=placement)

    def _with(self, **fields: object) -> Task:
        """The same task with other values of fields that its description leaves out."""
        other = object.__new__(Task)
        other.__dict__.update(self.__dict__, **fields)
        other.__dict__.pop("equality_key", None)  # computed from the fields when it is asked for
        return other

    @functools.cached_property
    def network(self) -> Layer:
        """The model as training, evaluation and prediction apply it: in the compute dtype.

        Its outputs are those of `fnn.predict`. ``model`` is what was written; it computes in its parameters' dtype.
        Call ``network`` to compute; read facts such as ``per_example``, penalties and constraints from ``model``.
        """
        return self.model if self.compute_dtype is None else in_dtype(self.compute_dtype, self.model)

    @property
    def penalties(self) -> tuple[Callable[[PyTree], Array], ...]:
        """The penalty of the model's layers and that of the task, if any."""
        return tuple(penalty for penalty in (self.model.penalty, self.penalty) if penalty is not None)

    @property
    def constraints(self) -> tuple[Callable[[PyTree], PyTree], ...]:
        """The constraint of the model's layers and that of the task, if any."""
        return tuple(constraint for constraint in (self.model.constraint, self.constraint) if constraint is not None)

    def initial_hyper(self, params: PyTree) -> list[dict[str, np.ndarray]]:
        """The hyper-parameters by path with which its optimizer, and then each former one, begins; found once."""
        if "_initial_hyper" not in vars(self):
            found = [_initial_hyper(optimizer, params) for optimizer in (self.optimizer, *self.former)]
            object.__setattr__(self, "_initial_hyper", found)
        known: list[dict[str, np.ndarray]] = vars(self)["_initial_hyper"]
        return known

    @property
    def traced(self) -> bool:
        """Whether a part holds traced values, such as an optimizer made inside a trial."""
        return self.equality_key.traced


def _compute_dtype(dtype: DType) -> str:
    """The name of a dtype to compute in; another one is refused."""
    known = "bfloat16", "float16", "float32", "float64"
    try:
        name = jnp.dtype(dtype).name
    except TypeError:
        name = in_words(dtype)
    if name not in known:
        own = dtype.removeprefix("mixed_") if isinstance(dtype, str) else ""  # a policy of Keras
        hint = f"Write compute_dtype={own!r}." if own in known else ""
        fail("Task", expected=f"compute_dtype to be {listed(known)}", got=name, hint=hint)
    if name == "float64" and jax.dtypes.canonicalize_dtype(name) != jnp.float64:
        hint = 'Enable it first: jax.config.update("jax_enable_x64", True).'
        fail("Task", expected="a compute_dtype that JAX has enabled", got="float64", hint=hint)
    return name


def _initial_hyper(optimizer: OptimizerLike, params: PyTree) -> dict[str, np.ndarray]:
    """The hyper-parameters with which an optimizer begins, by path; empty if it rejects these parameters."""
    # Only the paths of the parameters matter.
    with contextlib.suppress(Exception), jax.ensure_compile_time_eval():
        small = jax.tree.map(lambda a: jnp.asarray(np.zeros((1,) * len(a.shape), a.dtype)), params)
        return {name: np.asarray(value) for name, value in paths(get_hyper(optimizer.init(small))).items()}
    return {}


def _with_loss_scale(optimizer: OptimizerLike) -> OptimizerLike:
    """The optimizer with a loss scale, which it may have already."""
    call = getattr(optimizer, "config", None)
    return optimizer if call is not None and call.make is dynamic_loss_scale else dynamic_loss_scale(optimizer)


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
