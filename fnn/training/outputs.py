"""The losses and metrics of a task, by output of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import jax

from .._core.checks import check_range
from .._core.described import in_words
from .._core.errors import describe, fail, listed
from .._core.types import Array, PyTree, Scalar
from ..losses.common import Loss
from ..losses.facts import facts_of, get_loss, loss_name
from ..metrics.metric import Metric
from ..metrics.names import get_metric
from ..nn.masks import Masked

T = TypeVar("T")
Path = tuple[str | int, ...]
LossTree = str | Loss | None | Mapping[str, "LossTree"] | Sequence["LossTree"]
"""A loss, or losses in a tree like the model's outputs."""
MetricLike = str | Metric | Callable[..., Array]
MetricTree = MetricLike | Sequence[MetricLike] | Mapping[str, "MetricTree"]
"""Metrics, or metrics by output."""


class OutputLoss(NamedTuple):
    """A loss with the output of the model that it reads, and the metrics of that output.

    Attributes:
      path: keys from the tree of outputs down to that output; () if the task has one loss for all of them.
      loss, metrics: as in `Task`.
      weight: of this loss in the loss of the task.
    """

    path: Path
    loss: Loss
    metrics: tuple[Metric, ...]
    weight: Scalar = 1.0

    @property
    def name(self) -> str:
        """The path as text: "digit"."""
        return "_".join(map(str, self.path))

    def key(self, name: str) -> str:
        """The key of the loss or of a metric in logs and history: "digit_loss", or "loss" if there is one loss."""
        return f"{self.name}_{name}" if self.path else name

    @property
    def subscript(self) -> str:
        """The path as Python writes it: "['digit']"."""
        return "".join(f"[{entry!r}]" for entry in self.path)

    @property
    def where(self) -> str:
        """The place of the loss in messages."""
        return f"loss of {self.name!r}" if self.path else "loss"

    def of(self, where: str, tree: PyTree) -> PyTree:
        """The part of a tree of outputs, targets or weights that belongs to this output."""
        for i, entry in enumerate(self.path):
            if not _has(tree, entry):
                hint = f"Give one for each loss, as a {'dict' if isinstance(entry, str) else 'tuple'}."
                place = f"{where}, {_text(self.path[:i])}" if i else where
                fail(place, expected=f"an entry {entry!r}", got=_entries_text(tree), hint=hint)
            tree = tree[entry]
        return tree

    def weight_of(self, weight: PyTree) -> Array | None:
        """The sample weights of this output: its entry in a tree of them, or the array for all outputs."""
        is_tree = isinstance(weight, (dict, tuple, list)) and self.path
        return self.of("sample_weight", weight) if is_tree else weight


class Outputs(NamedTuple):
    """Losses and metrics of a task, looked up.

    Attributes:
      loss: a loss, or losses in the form in which they were given.
      metrics: those of the one output, or by the name of each output.
      parts: one for each loss.
      without_loss: the outputs that have none.
    """

    loss: LossTree
    metrics: tuple[Metric, ...] | dict[str, tuple[Metric, ...]]
    parts: tuple[OutputLoss, ...]
    without_loss: tuple[Path, ...]


def parse_outputs(loss: LossTree, metrics: Any, weights: Any) -> Outputs:
    """Look up losses and metrics by name; ``metrics`` and ``weights`` may name a part of the outputs."""
    if not _is_tree(loss):
        if isinstance(metrics, Mapping):
            hint = "Give the losses in the same form."
            fail("Task", expected="a list of metrics for one loss", got="metrics by output", hint=hint)
        if weights is not None:
            fail("Task", expected="loss_weights with losses by output alone", got=f"one loss and {in_words(weights)}")
        found = get_loss(cast(str | Loss, loss))
        only = OutputLoss((), found, _metrics_of("Task", metrics, found))
        return Outputs(found, only.metrics, (only,), ())
    losses = {path: get_loss(one) for path, one in _flatten(loss) if one is not None}
    if not losses:
        fail("Task", expected="a loss for at least one output", got="none")
    every = [path for path, _ in _flatten(loss)]
    if not (isinstance(metrics, Mapping) or not as_tuple(metrics)):
        example = f"metrics={{{every[0][0]!r}: {in_words(list(as_tuple(metrics)))}}}"
        fail("Task", expected="metrics by output, as the losses", got=in_words(list(metrics)), hint=f"Write {example}.")
    given = dict(_by_output("metrics", metrics or {}, every))
    by_weight = dict(_by_output("loss_weights", {} if weights is None else weights, every))
    for path, weight in by_weight.items():
        check_range("Task", f"loss_weights of {_text(path)!r}", weight, 0)

    def part(path: Path, one: Loss) -> OutputLoss:
        own = _metrics_of(f"metrics of {_text(path)!r}", given.get(path, ()), one)
        return OutputLoss(path, one, own, by_weight.get(path, 1.0))

    parts = tuple(part(path, one) for path, one in losses.items())
    keys = ["loss", *(part.key(name) for part in parts for name in ("loss", *(m.name for m in part.metrics)))]
    if len(set(keys)) < len(keys):
        fail("Task", expected="outputs and metrics with different names in the history", got=str(keys[1:]))
    without = tuple(path for path in every if path not in losses)
    return Outputs(_map(get_loss, loss), {part.name: part.metrics for part in parts}, parts, without)


def by_output(values: Mapping[Path, T]) -> PyTree:
    """Nested dicts with a value at each path."""
    tree: dict[str | int, PyTree] = {}
    for path, value in values.items():
        node = tree
        for entry in path[:-1]:
            node = node.setdefault(entry, {})
        node[path[-1]] = value
    return tree


def leaf_paths(tree: PyTree, is_leaf: Callable[[object], bool] | None = None) -> list[Path]:
    """The path of each leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return [tuple(getattr(entry, "key", getattr(entry, "idx", str(entry))) for entry in path) for path, _ in leaves]


def check_outputs(parts: Sequence[OutputLoss], without_loss: Sequence[Path], predictions: PyTree) -> None:
    """Refuse a loss without an output, an output without a loss, and one known loss for several outputs."""
    outputs = leaf_paths(predictions, lambda node: isinstance(node, Masked))
    names = ", ".join(repr(_text(path)) for path in outputs)
    if not parts[0].path:
        if len(outputs) > 1 and facts_of(parts[0].loss).per_example:
            hint = "Write loss={...} with a loss for each."
            fail("Task", expected="a loss for each output", got=f"{loss_name(parts[0].loss)!r} for {names}", hint=hint)
        return
    every = [*(part.path for part in parts), *without_loss]
    for path in every:
        if not any(output[: len(path)] == path for output in outputs):
            expected = f"losses for the outputs {names}" if outputs[0] else "one loss for the one output"
            fail("Task", expected=expected, got=f"a loss for {_text(path)!r}")
    for output in outputs:
        if not any(output[: len(path)] == path for path in every):
            hint = f"Write {_text(output)!r}: None in loss to train without it."
            fail("Task", expected="a loss for each output", got=f"none for {_text(output)!r}", hint=hint)


def _metrics_of(where: str, metrics: Any, loss: Loss) -> tuple[Metric, ...]:
    found = tuple(get_metric(metric, loss) for metric in as_tuple(metrics))
    names = ["loss", *(metric.name for metric in found)]
    if len(set(names)) < len(names):
        fail(where, expected="metrics of different names, none of them 'loss'", got=str(names[1:]))
    return found


def as_tuple(metrics: MetricLike | Sequence[MetricLike]) -> tuple[MetricLike, ...]:
    """Metrics as a tuple, also if there is only one."""
    return (metrics,) if isinstance(metrics, (str, Metric)) or callable(metrics) else tuple(metrics)


def _is_tree(node: object) -> bool:
    return isinstance(node, (Mapping, tuple, list))


def _flatten(tree: PyTree, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if not _is_tree(tree):
        yield path, tree
        return
    for name, entry in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
        yield from _flatten(entry, (*path, name))


def _map(fn: Callable[[Any], object], tree: PyTree) -> PyTree:
    """The tree with a function applied to each loss."""
    if isinstance(tree, Mapping):
        return {name: _map(fn, entry) for name, entry in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(_map(fn, entry) for entry in tree)
    return None if tree is None else fn(tree)


def _by_output(argument: str, tree: PyTree, every: Sequence[Path], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Entries of a tree by the output that they belong to; one that belongs to none is refused."""
    if path in every:
        yield path, tree
        return
    below = [output for output in every if output[: len(path)] == path]
    names = list(dict.fromkeys(output[len(path)] for output in below))
    if not _is_tree(tree):
        place = f"{argument} of {_text(path)!r}" if path else argument
        fail("Task", expected=f"{place} by output, for {listed(names)}", got=in_words(tree))
    for name, entry in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
        if name not in names:
            fail("Task", expected=f"{argument} for the outputs {listed(names)}", got=f"an entry {name!r}")
        yield from _by_output(argument, entry, every, (*path, name))


def _has(tree: PyTree, entry: str | int) -> bool:
    if isinstance(tree, Mapping):
        return entry in tree
    return isinstance(tree, (tuple, list)) and isinstance(entry, int) and entry < len(tree)


def _entries_text(tree: PyTree) -> str:
    return f"entries {listed(tree, 'and')}" if isinstance(tree, Mapping) and tree else describe(tree)


def _text(path: Path) -> str:
    return "/".join(map(str, path))
