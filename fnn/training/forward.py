"""The model's outputs, and what the losses of a task read of them."""

from __future__ import annotations

import dataclasses
import functools
from typing import NoReturn, cast

import jax

from .._core.errors import fail, noted
from .._core.jaxprs import traced_endings
from .._core.trees import resized, shape_of
from .._core.types import Array, Key, PyTree
from ..losses.facts import activation_of, expects, loss_name, states_logits
from ..metrics.names import check_bounded_scores
from ..nn.observe import noted_input, noting_inputs, pair_of
from .batch import Signature
from .outputs import OutputLoss, Path, check_outputs, leaf_paths
from .task import Task


@dataclasses.dataclass(frozen=True)
class ModelOutputs:
    """The outputs of a model; a pytree.

    Attributes:
      predictions: as the model returns them.
      scores: the same tree, with logits in place of probabilities where a loss takes logits and the model ends in the
        softmax or sigmoid that belongs to it. Losses and metrics of classes read these.
      activated: the paths of those probabilities.
    """

    predictions: PyTree
    scores: PyTree
    activated: tuple[Path, ...] = ()

    def of(self, part: OutputLoss) -> tuple[PyTree, PyTree]:
        """Predictions and scores that belong to a loss; one object if they are equal."""
        scores = part.of("predictions", self.scores)
        if any(path[: len(part.path)] == part.path for path in self.activated):
            return part.of("predictions", self.predictions), scores
        return scores, scores


jax.tree_util.register_dataclass(ModelOutputs, ["predictions", "scores"], ["activated"])


def forward(
    task: Task, params: PyTree, state: PyTree, x: PyTree, *, key: Key | None = None, train: bool = False
) -> tuple[ModelOutputs, PyTree]:
    """The outputs of a task's model, and its new state.

    Layers note the input of a last activation beside the array that they return (`fnn.nn.observe`), so that a loss can
    be computed from logits though the model ends in a softmax or sigmoid.
    """
    with noting_inputs():
        with noted(f"model {task.model.name!r}", innermost=True):
            out = task.network.apply(params, state, x, key=key, train=train)
            predictions, state = pair_of("apply", "y, state", out)
        return outputs_of(task, predictions), state


def outputs_of(task: Task, predictions: PyTree) -> ModelOutputs:
    """`ModelOutputs` from the model's own, inside ``noting_inputs()`` around the call of the model."""
    leaves, treedef = jax.tree.flatten(predictions)
    paths = leaf_paths(predictions)
    logits = {path: _logits(task, path, leaf) for path, leaf in zip(paths, leaves, strict=True)}
    scores = [leaf if logits[path] is None else logits[path] for path, leaf in zip(paths, leaves, strict=True)]
    activated = tuple(path for path, one in logits.items() if one is not None)
    return ModelOutputs(predictions, jax.tree.unflatten(treedef, scores), activated)


def _logits(task: Task, path: Path, prediction: Array) -> Array | None:
    """The logits from which a prediction was computed, if its loss takes them and they are known."""
    for part in task.parts:
        if path[: len(part.path)] == part.path and expects(part.loss) == "logits":
            return noted_input(activation_of(part.loss), prediction)
    return None


def check_output(task: Task, params: PyTree, state: PyTree, x: PyTree) -> tuple[PyTree, tuple[Path, ...]]:
    """Trace the model, and check that the losses fit its last operations.

    Returns:
      The shapes of its predictions, and the paths of the losses of logits that may be given probabilities: those
      whose last operation is not known.
    """

    shapes = shape_of((params, state, x))
    outputs, found = traced_endings(lambda *args: forward(task, *args)[0], *shapes)
    out = outputs.predictions
    # The scores follow the predictions, so the paths are fewer.
    ends = list(zip(leaf_paths(out), found, strict=False))
    check_outputs(task.parts, task.without_loss, out)
    unclear = []
    for part in task.parts:
        own = [end for end in ends if end[0][: len(part.path)] == part.path]
        if any(ending.is_constant for _, ending in own):
            hint = "Leave it out; also use the loss 'binary_crossentropy' for yes/no targets."
            got = "one over a single output, which is always 1"
            fail("Task", expected=f"a softmax over several outputs{_in_output(part)}", got=got, hint=hint)
        if expects(part.loss) == "logits":
            path, ending = own[0]
            bounded = ending.activation is None and states_logits(part.loss)  # on purpose
            if ending.in_probabilities and path not in outputs.activated and not bounded:
                activation = ending.activation
                got = f"one that ends in {activation}" if activation else "one whose outputs lie between 0 and 1"
                refuse_probabilities(part, got, surely=activation is not None)
            if not (ending.activation or ending.is_product or bounded or path in outputs.activated):
                unclear.append(part.path)
        elif len(own) == 1 and (own[0][1].is_product or own[0][1].activation == "tanh"):
            check_bounded_scores(part.metrics)
    # Otherwise the loss of training would not be that of evaluation.
    if outputs.activated and _activated_in_training(task, *shapes) != outputs.activated:
        hint = "Put layers that act in training alone, such as Dropout, before the activation."
        expected = "a model whose softmax or sigmoid is the last operation in training too"
        fail("Task", expected=expected, got="one where another follows", hint=hint)
    return out, tuple(unclear)


def _activated_in_training(task: Task, params: PyTree, state: PyTree, x: PyTree) -> tuple[Path, ...]:
    """`ModelOutputs.activated` in training; the model is traced once for any number of rows."""
    trace = _trace_in_training.__wrapped__ if task.traced else _trace_in_training
    return trace(task, Signature.of((params, state, resized(x, 1))))


@functools.lru_cache(maxsize=64)
def _trace_in_training(task: Task, args: Signature) -> tuple[Path, ...]:
    traced = jax.eval_shape(lambda *args: forward(task, *args, key=jax.random.key(0), train=True)[0], *args.tree())
    return cast(ModelOutputs, traced).activated


def _in_output(part: OutputLoss) -> str:
    return f" in {part.name!r}" if part.path else ""


def refuse_probabilities(part: OutputLoss, got: str, *, surely: bool = False) -> NoReturn:
    """Refuse an output that is a probability, and comes from no activation before which the loss could read.

    Without ``surely`` it may be a logit that is bounded, which the loss can be told.
    """
    expected = f"a model that ends in logits{_in_output(part)} for the loss {loss_name(part.loss)!r}"
    fail("Task", expected=expected, got=got, hint=probabilities_hint(part, surely))


def probabilities_hint(part: OutputLoss, surely: bool = False) -> str:
    """What to write for a model that gives a loss of logits probabilities."""
    doubt = "" if surely else ", or from_logits=True if they are logits"
    return (
        f"Leave the activation out; or write it by name, {activation_of(part.loss)!r}, in the last layer, outside "
        f"Repeated and Rematerialized; or pass functools.partial(loss, from_logits=False){doubt}."
    )
