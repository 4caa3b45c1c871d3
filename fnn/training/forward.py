"""The model's outputs, and what the losses of a task read of them."""

from __future__ import annotations

from typing import NamedTuple

import jax

from .._core.errors import fail
from .._core.jaxprs import last_operations
from .._core.trees import shape_of
from .._core.types import Array, Key, Params, PyTree, State
from ..losses.facts import activation_of, expects, loss_name
from ..nn.observe import noted_input, noting_inputs
from .outputs import Path, check_outputs, leaf_paths
from .task import Task


class Outputs(NamedTuple):
    """The outputs of a model.

    Attributes:
      predictions: as the model returns them.
      scores: the same tree, with logits in place of probabilities where a loss takes logits and the model ends in the
        softmax or sigmoid that belongs to it. Losses and metrics of classes read these.
    """

    predictions: PyTree
    scores: PyTree


def forward(
    task: Task, params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False
) -> tuple[Outputs, State]:
    """The outputs of a task's model, and its new state."""
    with noting_inputs():
        predictions, state = task.model.apply(params, state, x, key=key, train=train)
        return Outputs(predictions, scores_of(task, predictions)), state


def scores_of(task: Task, predictions: PyTree) -> PyTree:
    """See `Outputs`; inside ``noting_inputs()``, around the call of the model."""
    leaves, treedef = jax.tree.flatten(predictions)
    logits = [_logits(task, path, leaf) for path, leaf in zip(leaf_paths(predictions), leaves, strict=True)]
    if all(one is None for one in logits):
        return predictions
    scores = [leaf if one is None else one for leaf, one in zip(leaves, logits, strict=True)]
    return jax.tree.unflatten(treedef, scores)


def _logits(task: Task, path: Path, prediction: Array) -> Array | None:
    """The logits from which a prediction was computed, if its loss takes them and they are known."""
    for part in task.outputs:
        if path[: len(part.path)] == part.path and expects(part.loss) == "logits":
            return noted_input(activation_of(part.loss), prediction)
    return None


def check_output(task: Task, params: Params, state: State, x: PyTree) -> PyTree:
    """Trace the model once: the shapes of its predictions, after a check that the losses fit its last operations."""
    found: list[bool] = []

    def trace(params: Params, state: State, x: PyTree) -> PyTree:
        (predictions, scores), _ = forward(task, params, state, x)
        found.extend(p is not s for p, s in zip(*map(jax.tree.leaves, (predictions, scores)), strict=True))
        return predictions

    program, out = jax.make_jaxpr(trace, return_shape=True)(*shape_of((params, state, x)))
    check_outputs(task.outputs, task.without_loss, out)
    endings = list(zip(leaf_paths(out), last_operations(program), found, strict=True))
    for part in task.outputs:
        ending, has_logits = next((last, has) for path, last, has in endings if path[: len(part.path)] == part.path)
        if expects(part.loss) == "logits" and ending in ("softmax", "sigmoid") and not has_logits:
            place = f" in {part.name!r}" if part.path else ""
            expected = f"a model that ends in logits{place} for the loss {loss_name(part.loss)!r}"
            hint = (
                f"Remove the {ending}, make fnn's {activation_of(part.loss)!r} by name the last operation, or use "
                "functools.partial(loss, from_logits=False)."
            )
            fail("Task", expected=expected, got=f"one that ends in {ending}", hint=hint)
    return out
