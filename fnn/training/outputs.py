"""The losses and metrics of a task, by output of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import jax

from .._core.checks import check_name, check_range, is_concrete
from .._core.described import in_words
from .._core.dtypes import is_float
from .._core.errors import describe, fail, listed
from .._core.trees import joined_path
from .._core.types import Array, PyTree, Scalar, Shape
from ..losses.common import Loss, per_example_hint
from ..losses.facts import facts_of, get_loss, loss_name
from ..metrics.metric import Metric
from ..metrics.names import get_metric
from ..nn.masks import Masked

T = TypeVar("T")
Path = tuple[str | int, ...]
LossTree = str | Loss | None | Mapping[str, "LossTree"] | Sequence["LossTree"]
"""A loss, or losses in a tree like the model's outputs."""
MetricLike = str | Metric | Callable[..., Array]
MetricTree = MetricLike | Sequence["MetricTree"] | Mapping[str, "MetricTree"]
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

    def checked(self, losses: Array, shape: Shape | None = None) -> Array:
        """What the loss returned; anything but one floating-point number per example is refused."""
        given = getattr(losses, "shape", None)
        if given is None or len(given) != 1 or given != (shape or given):
            hint = "Does it end in a return?" if losses is None else "" if given is None else per_example_hint(losses)
            expected = f"one value per example, of shape {shape or '(batch,)'}"
            fail(self.where, expected=expected, got=describe(losses), hint=hint)
        if not is_float(losses):
            hint = "Convert them with .astype('float32')."
            fail(self.where, expected="floating-point numbers", got=describe(losses), hint=hint)
        return losses

    def key(self, name: str) -> str:
        """The key of the loss or of a metric in logs and history: "digit_loss", or "loss" if there is one loss."""
        return "_".join(map(str, (*self.path, name)))

    @property
    def counts(self) -> Array | bool:
        """Whether the weight is other than 0; a Python bool if it is known."""
        counts = self.weight != 0
        return bool(counts) if is_concrete(counts) else counts

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
            entries = entries_of(tree) or {}
            if entry not in entries:
                hint = f"Give one for each loss, as a {'dict' if isinstance(entry, str) else 'tuple'}."
                place = f"{where}, {joined_path(self.path[:i])}" if i else where
                named = isinstance(tree, Mapping) and tree
                got = f"entries {listed(entries, 'and')}" if named else describe(tree)
                fail(place, expected=f"an entry {entry!r}", got=got, hint=hint)
            tree = entries[entry]
        return tree

    def weight_of(self, weight: PyTree) -> Array | None:
        """The sample weights of this output: its entry in a tree of them, or the array for all outputs."""
        own: Array | None = weight if entries_of(weight) is None else self.of("sample_weight", weight)
        return own


class ParsedLosses(NamedTuple):
    """Losses and metrics of a task, looked up.

    Attributes:
      loss: a loss, or losses in the form in which they were given.
      metrics: those of the one loss, or by the name of each output.
      parts: one for each loss.
      without_loss: the outputs that have none.
    """

    loss: LossTree
    metrics: tuple[Metric, ...] | dict[str, tuple[Metric, ...]]
    parts: tuple[OutputLoss, ...]
    without_loss: tuple[Path, ...]


def parse_outputs(loss: LossTree, metrics: Any, weights: Any) -> ParsedLosses:
    """Look up losses and metrics by name; ``metrics`` and ``weights`` may name a part of the outputs."""
    every = dict(_flatten(loss))
    without = tuple(path for path, one in every.items() if one is None and path)
    if len(without) == len(every):
        fail("Task", expected="a loss for at least one output", got="none")
    if () in every and weights is not None:
        fail("Task", expected="loss_weights with losses by output alone", got=f"one loss and {in_words(weights)}")
    _check_form(loss, metrics)
    own = dict(_by_output("metrics", metrics, tuple(every)))
    by_weight = dict(_by_output("loss_weights", weights, tuple(every)))
    for path in without:
        if as_tuple(own.get(path)) or by_weight.get(path) is not None:
            hint = "Give it a loss; with loss_weights 0 it stays out of training."
            got = f"metrics or a weight for {joined_path(path)!r}, which has the loss None"
            fail("Task", expected="metrics and loss_weights of outputs with a loss", got=got, hint=hint)
    for path, weight in by_weight.items():
        if weight is not None:
            check_range("Task", f"loss_weights of {joined_path(path)!r}", weight, 0)

    def part(path: Path, one: str | Loss) -> OutputLoss:
        found = get_loss(one)
        own_metrics = tuple(get_metric(metric, found) for metric in as_tuple(own.get(path)))
        weight = by_weight.get(path)
        return OutputLoss(path, found, own_metrics, 1.0 if weight is None else weight)

    parts = tuple(part(path, one) for path, one in every.items() if path not in without)
    _check_keys(parts)
    if () in every:
        return ParsedLosses(parts[0].loss, parts[0].metrics, parts, ())
    return ParsedLosses(_map(get_loss, loss), {part.name: part.metrics for part in parts}, parts, without)


def by_output(values: Mapping[Path, T]) -> PyTree:
    """Nested dicts with a value at each path; the value itself at the empty path."""
    if () in values:
        return values[()]
    tree: dict[str | int, PyTree] = {}
    for path, value in values.items():
        node = tree
        for entry in path[:-1]:
            node = node.setdefault(entry, {})
        node[path[-1]] = value
    return tree


def leaf_paths(tree: PyTree, is_leaf: Callable[[object], bool] | None = None) -> list[Path]:
    """The path of each leaf."""

    def entry(key: Any) -> str | int:
        return cast(str | int, next(getattr(key, kind) for kind in ("key", "idx", "name") if hasattr(key, kind)))

    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return [tuple(map(entry, path)) for path, _ in leaves]


def check_outputs(parts: Sequence[OutputLoss], without_loss: Sequence[Path], predictions: PyTree) -> None:
    """Refuse a loss without an output, an output without a loss, and one known loss for several outputs."""
    outputs = leaf_paths(predictions, lambda node: isinstance(node, Masked))
    every = [*(part.path for part in parts), *without_loss]
    for path in every:
        if not any(output[: len(path)] == path for output in outputs):
            expected = f"losses for the outputs {_names(outputs)}" if outputs[0] else "one loss for the one output"
            fail("Task", expected=expected, got=f"a loss for {joined_path(path)!r}")
    for output in outputs:
        if not any(output[: len(path)] == path for path in every):
            hint = f"Write {joined_path(output)!r}: None in loss to train without it."
            fail("Task", expected="a loss for each output", got=f"none for {joined_path(output)!r}", hint=hint)
    for part in parts:
        own = [output for output in outputs if output[: len(part.path)] == part.path]
        if len(own) > 1 and facts_of(part.loss).per_example:
            hint = "Write loss={...} with a loss for each."
            fail(
                "Task", expected="a loss for each output", got=f"{loss_name(part.loss)!r} for {_names(own)}", hint=hint
            )


def _check_form(loss: LossTree, metrics: Any) -> None:
    """Refuse metrics in another form than the losses: a list for one loss, and by output for several."""
    entries = entries_of(loss)
    if entries is None:
        if isinstance(metrics, Mapping):
            hint = "Give the losses in the same form."
            fail("Task", expected="a list of metrics for one loss", got="metrics by output", hint=hint)
    elif isinstance(next(iter(entries)), str) and not is_named(metrics) and (given := list(as_tuple(metrics))):
        hint = f"Write metrics={{{next(iter(entries))!r}: {in_words(given)}}}."
        fail("Task", expected="metrics by output, as the losses", got=in_words(given), hint=hint)


def _check_keys(parts: Sequence[OutputLoss]) -> None:
    """Refuse names that would stand twice in the history, or for another value."""
    for part in parts:
        names = ["loss", *(metric.name for metric in part.metrics)]
        if len(set(names)) < len(names):
            where = f"metrics of {joined_path(part.path)!r}" if part.path else "Task"
            fail(where, expected="metrics of different names, none of them 'loss'", got=str(names[1:]))
    keys = [part.key(name) for part in parts for name in ("loss", *(metric.name for metric in part.metrics))]
    if len(set(keys)) < len(keys):
        fail("Task", expected="outputs and metrics with different names in the history", got=str(keys))
    for key in keys:
        if key == "seconds" or key.startswith("val_"):
            hint = "Rename the output or the metric: fit adds 'seconds', and 'val_...' for validation data."
            fail("Task", expected="another name in the history", got=repr(key), hint=hint)


def as_tuple(metrics: Any) -> tuple[Any, ...]:
    """Metrics as a tuple, also if there is only one, or None."""
    if metrics is None:
        return ()
    return (metrics,) if isinstance(metrics, (str, Metric)) or callable(metrics) else tuple(metrics)


def is_named(tree: object) -> bool:
    """Whether a tree has entries with names: a dict or a named tuple."""
    return isinstance(tree, Mapping) or (isinstance(tree, tuple) and hasattr(tree, "_fields"))


def entries_of(tree: PyTree) -> dict[Any, Any] | None:
    """The entries of a dict, a tuple or a list, or the fields of a named tuple; None for anything else."""
    if is_named(tree):
        return dict(tree if isinstance(tree, Mapping) else tree._asdict())
    return dict(enumerate(tree)) if isinstance(tree, (tuple, list)) else None


def _flatten(tree: PyTree, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    entries = entries_of(tree)
    if entries is None:
        yield path, tree
        return
    for name, entry in entries.items():
        if isinstance(name, str):
            check_name("Task, loss", name)
        yield from _flatten(entry, (*path, name))


def _map(fn: Callable[[Any], object], tree: PyTree) -> PyTree:
    """The tree with a function applied to each loss."""
    entries = entries_of(tree)
    if entries is None:
        return None if tree is None else fn(tree)
    made = {name: _map(fn, entry) for name, entry in entries.items()}
    if isinstance(tree, Mapping):
        return made
    return type(tree)(**made) if is_named(tree) else tuple(made.values())


def _by_output(argument: str, tree: PyTree, every: Sequence[Path], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Entries of a tree by the output that they belong to; one that belongs to none is refused."""
    if path in every:
        yield path, tree
        return
    if tree is None or (isinstance(tree, (tuple, list)) and not tree):
        return
    names = list(dict.fromkeys(output[len(path)] for output in every if output[: len(path)] == path))
    entries = entries_of(tree)
    if entries is None:
        place = f"{argument} of {joined_path(path)!r}" if path else argument
        fail("Task", expected=f"{place} by output, for {listed(names)}", got=in_words(tree))
    for name, entry in entries.items():
        if name not in names:
            fail("Task", expected=f"{argument} for the outputs {listed(names)}", got=f"an entry {name!r}")
        yield from _by_output(argument, entry, every, (*path, name))
    if not is_named(tree) and len(entries) < len(names):
        fail("Task", expected=f"{argument} for each of the outputs {listed(names, 'and')}", got=in_words(tree))


def _names(outputs: Sequence[Path]) -> str:
    return ", ".join(repr(joined_path(path)) for path in outputs)
