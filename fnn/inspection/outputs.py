"""Outputs of inner layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import cast

import jax

from .._core.checks import is_concrete, renamed
from .._core.described import in_words
from .._core.errors import fail, listed
from .._core.inputs import as_arrays
from .._core.trees import shape_of
from .._core.types import Array, PyTree
from ..fitting.evaluate import predict
from ..nn.layer import Layer, Output
from ..nn.observe import Trace, observe
from ..training.batch import size_of
from ..training.probe import observed
from ..training.state import TrainState, check_state, check_task
from ..training.task import Task


@renamed()
def outputs(
    task: Task, ts: TrainState, x: PyTree, names: str | Sequence[str], *, batch_size: int = 256
) -> PyTree | dict[str, PyTree]:
    """The outputs of inner layers for many examples, in batches, with training mode off.

    Under ``jit``, ``vmap`` or ``grad`` it is a pure function of ``ts`` and ``x``, and computes all examples at once.

    Args:
      task, ts: the `Task` and the `TrainState`.
      x: the input, as for `predict`.
      names: a layer by its name, ``"conv_2"``, or by its path if several have that name, ``"encoder/conv_2"``; or
        several of them. `summary` shows the names. The second call of a shared layer is ``"stem (call 2)"``.
      batch_size: examples computed at a time; default 256.

    Returns:
      The output of that layer, with the examples along the first axis; for several names a dict by name.

    Raises:
      InputError: for a name that no layer or more than one layer has, with the paths there are; for a layer inside a
        `Repeated`, a `Rematerialized`, or a loop, ``jit`` or ``vmap`` of your own, outside of which its values do not
        exist; and as `predict`.

    Inside a `TimeDistributed` the steps of all examples are rows, (batch * time, ...).

    >>> import jax, jax.numpy as jnp, fnn
    >>> model = fnn.Sequential(fnn.Dense(4, activation="relu"), fnn.Dense(2))
    >>> task, x = fnn.Task(model, "mse"), jnp.ones((3, 5))
    >>> ts = fnn.init(task, jax.random.key(0), x)
    >>> fnn.outputs(task, ts, x, "dense").shape
    (3, 4)
    """
    check_task(task)
    check_state(ts)
    wanted = tuple(names) if isinstance(names, (list, tuple)) else (names,)
    if not wanted or not all(isinstance(name, str) for name in wanted):
        fail("outputs", expected="the name of a layer, or several", got=in_words(names))
    inner = partial(_inner, task.model, cast(tuple[str, ...], wanted))
    view = task.replace(model=Layer(task.model.init, inner, per_example=task.model.per_example))
    if all(map(is_concrete, jax.tree.leaves((ts, x)))) and _by_row(view.network.apply, ts, x):
        found = predict(view, ts, x, batch_size=batch_size)
    else:
        found = view.network.apply(ts.params, ts.state, as_arrays(x))[0]
    return found[names] if isinstance(names, str) else {name: found[name] for name in wanted}


def _by_row(inner: Callable[..., Output], ts: TrainState, x: PyTree) -> bool:
    """Whether the first axis of each output has an entry for each example."""
    x = shape_of(as_arrays(x, defer_checks=True))
    found = jax.eval_shape(lambda *args: inner(*args)[0], ts.params, ts.state, x)
    size = size_of(x, "x")
    return all(leaf.shape[:1] == (size,) for leaf in jax.tree.leaves(found))


def _inner(
    model: Layer,
    names: tuple[str, ...],
    params: PyTree,
    state: PyTree,
    x: PyTree,
    *,
    key: Array | None = None,
    train: bool = False,
) -> Output:
    """Apply a model and return the outputs of inner layers by name."""
    (_, state), seen = observed(model, None, params, state, x, key=key, train=train)
    by_path = {path or model.name: trace for path, trace in seen.items()}
    every = list(by_path)
    if not all(_named(name, by_path) for name in names):
        with observe(lambda trace: every.append("/".join(trace.path))):
            # A new function, since JAX remembers what it traced.
            jax.eval_shape(lambda *args: model.apply(*args), *shape_of((params, state, x)))
    return {name: _find(name, by_path, every).y for name in names}, state


def _named(name: str, paths: Iterable[str]) -> list[str]:
    """The path of this name, or else those that end in it."""
    return [path for path in paths if path == name] or [path for path in paths if path.endswith(f"/{name}")]


def _find(name: str, by_path: Mapping[str, Trace], every: Iterable[str]) -> Trace:
    """The layer of this name; ``every`` has the paths of those in loops too."""
    found = _named(name, by_path)
    if len(found) == 1:
        return by_path[found[0]]
    if found:
        fail("outputs", expected=f"the path of one of {listed(found)}", got=repr(name))
    for path in _named(name, every):
        around = next((outer for outer in by_path if path.startswith(f"{outer}/")), list(by_path)[-1])
        got = f"{path!r}, whose values do not exist outside {around!r}"
        fail("outputs", expected=f"one of the layers {listed(by_path)}", got=got)
    fail("outputs", expected=f"one of the layers {listed(by_path)}", got=repr(name))
