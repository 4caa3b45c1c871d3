"""Calls of a layer inside another one, which observers can watch and whose errors name the layer.

Containers call their layers with `call`. It keeps the path of names down to the layer, adds it to errors, and passes
each call to the observer, if `observe` set one.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar

import jax

from .._core.errors import describe, fail, located
from .._core.jaxprs import trace_state
from .._core.reading import reading
from .._core.types import Array, Key, PyTree
from .layer import Layer

T = TypeVar("T")


class Trace(NamedTuple):
    """One layer call, as an observer sees it.

    Attributes:
      path: names from the outermost layer inwards.
      numbers: for each name, which call of that layer it is: 1, or more in a `Model` that calls a layer again.
      runs: how often the call runs; above 1 inside a `Repeated`.
    """

    path: tuple[str, ...]
    layer: Layer
    params: PyTree
    state: PyTree
    x: PyTree
    y: PyTree
    numbers: tuple[int, ...] = ()
    runs: int = 1

    @property
    def place(self) -> tuple[tuple[str, int], ...]:
        """Names and numbers, which tell every call from every other one."""
        return tuple(zip(self.path, self.numbers or (1,) * len(self.path), strict=True))


_observer: contextvars.ContextVar[Callable[[Trace], PyTree] | None] = contextvars.ContextVar("observer", default=None)
_place: contextvars.ContextVar[tuple[tuple[str, int], ...]] = contextvars.ContextVar("place", default=())
_runs: contextvars.ContextVar[int] = contextvars.ContextVar("runs", default=1)
# The trace in which activations are noted; and by the id of an output: the output, which activation made it, its input.
_inputs: contextvars.ContextVar[tuple[Hashable, dict[int, tuple[Array, str, Array]]] | None]
_inputs = contextvars.ContextVar("inputs", default=None)


@contextlib.contextmanager
def setting(variable: contextvars.ContextVar[T], value: T) -> Iterator[None]:
    """Inside the block, the variable has this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def observe(observer: Callable[[Trace], PyTree]) -> AbstractContextManager[None]:
    """Call ``observer`` with every layer inside another one that is applied inside the ``with`` block.

    The observer runs after each layer, inner layers first. A return value other than None replaces the layer's output.
    `fnn.summary` uses this to see inside a model without a second set of shape rules, and `fnn.layer_report` to find
    the gradient at each layer's output. The values belong to the trace in which the layer is applied, which may be an
    inner one if a custom layer holds others in a loop.
    """
    return setting(_observer, observer)


def noting_inputs() -> AbstractContextManager[None]:
    """Inside the block, softmax and sigmoid note their inputs: the logits from which a loss is computed stably.

    Those inside another trace, such as the body of a loop, do not: their values mean nothing outside it.
    """
    return setting(_inputs, (trace_state(), {}))


def note_input(activation: str, x: Array, y: Array) -> None:
    """Note that ``y`` is the output of an activation at ``x``."""
    if (noting := _inputs.get()) is not None and noting[0] == trace_state():
        noting[1][id(y)] = y, activation, x


def noted_input(activation: str, y: Array) -> Array | None:
    """The input of an activation whose output is ``y``; None for any other array."""
    noted = _notes().get(id(y))
    return noted[2] if noted is not None and noted[1] == activation else None


def _notes() -> dict[int, tuple[Array, str, Array]]:
    noting = _inputs.get()
    return {} if noting is None else noting[1]


def carry_note(old: Array, new: Array, change: Callable[[Array], Array] = lambda x: x) -> None:
    """Note the input of ``old``, changed, for ``new``, which replaces it; unless ``new`` has a note already."""
    notes = _notes()
    if id(old) in notes and id(new) not in notes:
        _, activation, x = notes[id(old)]
        note_input(activation, change(x), new)


def moved(fn: Callable[[Array], Array], x: Array, *, rows: bool = True) -> Array:
    """``fn(x)`` of a function that only moves or drops elements, such as a reshape; what made ``x`` is noted for it.

    ``rows`` says whether it keeps the rows of the last axis if their length stays; those of a softmax sum to 1.
    """
    y = fn(x)
    if (rows and x.shape[-1:] == y.shape[-1:]) or noted_input("softmax", x) is None:
        carry_note(x, y, fn)
    return y


def inside(name: str, number: int = 1) -> AbstractContextManager[None]:
    """Extend the path that observers see by a name, and the number of the call of that layer."""
    return setting(_place, (*_place.get(), (name, number)))


def looped(count: int) -> AbstractContextManager[None]:
    """Inside the block a loop of ``count`` rounds is traced, as observers learn."""
    return setting(_runs, _runs.get() * count)


def current_path() -> tuple[str, ...]:
    """Names down to the current layer."""
    return tuple(name for name, _ in _place.get())


def call_name(name: str, number: int) -> str:
    """A layer's name, with the number of the call if it is not the first."""
    return name if number == 1 else f"{name} (call {number})"


def is_repeated_call() -> bool:
    """Whether a `Model` calls the current layer, or one around it, for the second time or later."""
    return any(number > 1 for _, number in _place.get())


def pair_of(function: str, form: str, out: object) -> tuple[PyTree, PyTree]:
    """What ``init`` or ``apply`` of a layer returned; anything but a pair of this form is refused."""
    if not (isinstance(out, tuple) and len(out) == 2):
        fail(function, expected=f"the pair ({form})", got=describe(out), hint=f"Return ({form}).")
    if out[0] is None:
        hint = "Does a function in it, such as an activation, end without a return?"
        fail(function, expected=f"the pair ({form})", got=f"None as {form.partition(',')[0]}", hint=hint)
    return out


def init_inside(name: str, where: str, layer: Layer, key: Key, x: PyTree) -> tuple[PyTree, PyTree]:
    """The parameters and state of a layer under a name; ``where`` locates it in errors."""
    with inside(name), located(where):
        return pair_of("init", "params, state", layer.init(key, x))


def call(
    name: str, where: str, layer: Layer, params: PyTree, state: PyTree, x: PyTree, *, number: int = 1, **options: Any
) -> tuple[PyTree, PyTree]:
    """Apply a layer under a name; ``where`` locates it in errors, and the options are those of `Layer.apply`.

    The name also stands in the compiled program, where profilers and `fnn.plan` read it.
    """
    with inside(name, number), jax.named_scope(name):
        with located(where), reading(x):
            out = pair_of("apply", "y, state", layer.apply(params, state, x, **options))
        if (observer := _observer.get()) is not None:
            path, numbers = zip(*_place.get(), strict=True)
            replaced = observer(Trace(path, layer, params, state, x, out[0], numbers, _runs.get()))
            if replaced is not None:
                for old, new in zip(jax.tree.leaves(out[0]), jax.tree.leaves(replaced), strict=False):
                    carry_note(old, new)
                return replaced, out[1]
        return out
