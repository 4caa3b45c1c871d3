"""What to learn: `Task`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from .._core.errors import describe, fail
from .._core.jaxprs import last_operations
from .._core.trees import holds_tracers, paths
from .._core.types import Array
from ..losses.common import Loss
from ..losses.facts import base, expects, get_loss
from ..metrics.metric import Metric
from ..metrics.names import get_metric
from ..nn.layer import Layer, shape_of
from ..optimizers.rules import get_optimizer


class _TaskFields(NamedTuple):
    model: Layer
    loss: Loss
    optimizer: Any
    metrics: tuple[Metric, ...]
    penalty: Callable[[Any], Array] | None
    constraint: Callable[[Any], Any] | None


class Task(_TaskFields):
    """What is to be learned; immutable and hashable, so that it is a static argument of compiled functions.

    Args:
      model: a `Layer`, mostly a `Sequential`.
      loss: a name, or a function ``(predictions, targets) -> (batch,)``, in this order (Keras has the other); targets
        arrive in it as they were given. See `fnn.losses`. Cross-entropies take
        logits: end the model with a plain ``Dense(classes)``, or pass ``partial(loss, from_logits=False)``.
      optimizer: a name, an fnn optimizer, or an optax one; default "adam".
      metrics: names, `fnn.Metric`s, or functions ``(predictions, targets) -> (batch,)``; see `fnn.metrics`.
      penalty: a function of the parameters that is added to the loss, ``params -> scalar``, e.g.
        ``fnn.penalties.l2(1e-4)``.
      constraint: a function applied to the parameters after each update, ``params -> params``, e.g.
        ``fnn.penalties.max_norm(3.0)``.

    Raises:
      InputError: for unknown names, or two metrics of the same name.

    Names are looked up when the task is made: ``task.loss`` is a function and ``task.metrics`` a tuple of `Metric`.
    Two tasks are equal when their parts are the same objects.

    >>> import fnn
    >>> model = fnn.Sequential(fnn.Dense(16, activation="relu"), fnn.Dense(3))
    >>> task = fnn.Task(model, loss="sparse_categorical_crossentropy", metrics=("accuracy",))
    >>> task.loss.__name__, [metric.name for metric in task.metrics]
    ('sparse_categorical_crossentropy', ['accuracy'])
    """

    traced: bool  # whether a part holds traced values, as one made within a trial may: told once, when the task is made

    def __new__(
        cls,
        model: Layer,
        loss: str | Loss,
        optimizer: Any = "adam",
        metrics: Sequence[str | Metric | Callable[..., Array]] = (),
        penalty: Callable[[Any], Array] | None = None,
        constraint: Callable[[Any], Any] | None = None,
    ) -> Task:
        """Look names up, and refuse what is no task."""
        if not (isinstance(model, Layer) and callable(model.init) and callable(model.apply)):
            fail(
                "Task",
                expected="a Layer as model",
                got=repr(model),
                hint="Use fnn.Sequential(...) or fnn.Layer(init, apply).",
            )
        for name, fn in (("penalty", penalty), ("constraint", constraint)):
            if fn is not None and not callable(fn):
                fail("Task", expected=f"a function of the parameters as {name}", got=repr(fn))
        loss = get_loss(loss)
        if isinstance(metrics, (str, Metric)) or callable(metrics):
            metrics = (metrics,)
        found = tuple(get_metric(metric, loss) for metric in metrics)
        names = ["loss", *(metric.name for metric in found)]
        if len(set(names)) < len(names):
            fail("Task", expected="metrics of different names, none of them 'loss'", got=str(names[1:]))
        task = super().__new__(cls, model, loss, get_optimizer(optimizer), found, penalty, constraint)
        task.traced = holds_tracers(tuple(task))
        return task

    def __repr__(self) -> str:
        parts = [repr(self.model), f"loss={_name(self.loss)}", f"optimizer={self.optimizer!r}"]
        if self.metrics:
            parts.append(f"metrics=({', '.join(metric.name for metric in self.metrics)})")
        parts += [f"{name}={getattr(self, name)!r}" for name in ("penalty", "constraint") if getattr(self, name)]
        return f"Task({', '.join(parts)})"

    def _replace(self, **changes: Any) -> Task:
        """Another task with some parts changed; names are looked up again."""
        return Task(**{**self._asdict(), **changes})


def check_penalties(task: Task, params: Any) -> None:
    """Trace penalty and constraint once, so that a pattern without a match is met before any training.

    Raises:
      InputError: when the penalty is no scalar, or the constraint changes shapes or dtypes.
    """
    params = shape_of(params)
    if task.penalty is not None:
        out = jax.eval_shape(task.penalty, params)
        if getattr(out, "shape", None) != ():
            fail("penalty", expected="a function params -> scalar", got=f"a result {describe(out)}")
    if task.constraint is not None:
        out = jax.eval_shape(task.constraint, params)
        before, after = ({path: describe(leaf) for path, leaf in paths(tree).items()} for tree in (params, out))
        if before != after:
            changed = sorted(before.items() ^ after.items())
            expected = "a function params -> params that keeps names, shapes and dtypes"
            fail("constraint", expected=expected, got=f"a difference in {[path for path, _ in changed][:4]}")


def check_output(task: Task, params: Any, state: Any, x: Any) -> Any:
    """Trace the model once: the shapes of its predictions, after a check that the loss fits its last operation.

    Raises:
      InputError: when the model ends in softmax or sigmoid and the loss expects logits.
    """
    program, out = jax.make_jaxpr(lambda p, s, x: task.model.apply(p, s, x)[0], return_shape=True)(
        *shape_of((params, state, x))
    )
    ending = last_operations(program)[0] if expects(task.loss) == "logits" else None
    if ending in ("softmax", "sigmoid"):
        fail(
            "Task",
            expected=f"a model that ends in logits for the loss {_name(task.loss)!r}",
            got=f"a model that ends in {ending}, that is in probabilities",
            hint=f"Leave the {ending} out (better), or use functools.partial(loss, from_logits=False).",
        )
    return out


def _name(fn: Any) -> str:
    return str(getattr(base(fn), "__name__", "loss"))
