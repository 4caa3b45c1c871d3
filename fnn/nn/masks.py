"""Padded sequences: `Masked`, an array with a mask of the steps that count, and checks of layer inputs."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Any, NoReturn, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from .._core.errors import describe, fail, kind_of
from .._core.typed import tree_map
from .._core.types import Array, PyTree

_Operator = Callable[["Masked", PyTree], "Masked"]

SEQUENCE_HINT = "A recurrent layer before it needs return_sequences=True."
"""Advice for a layer over steps that receives an array without them."""

KEEPING_HINT = "Layers over steps keep the mask; recurrent ones need return_sequences=True."
"""Advice for inputs of which only some have a mask."""


def _operators(fn: Callable[[PyTree, PyTree], Array]) -> tuple[_Operator, _Operator]:
    """The methods for ``masked + other`` and ``other + masked``, or another operator: of the arrays, with the mask."""

    def combined(masked: Masked, other: PyTree, *, swap: bool = False) -> Masked:
        if isinstance(other, Masked):
            if other.mask is not masked.mask:
                hint = "Write fnn.Masked(a.x + b.x, a.mask & b.mask), or use fnn.Add, which keeps the steps of either."
                got = "two masks, which may keep different steps"
                fail("Masked", expected="operands with one mask", got=got, hint=hint)
            other = other.x
        values = fn(other, masked.x) if swap else fn(masked.x, other)
        if not _leads(masked.mask, values):
            expected = f"an operand that keeps the shape {tuple(masked.mask.shape)} of the steps"
            fail("Masked", expected=expected, got=describe(other))
        return Masked(values, masked.mask)

    return lambda self, other: combined(self, other), lambda self, other: combined(self, other, swap=True)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Masked:
    """A batch of padded sequences and the mask of the steps that count; a pytree.

    Layers over steps accept it, and `Embedding` with ``mask_zero=True`` and recurrent layers that return sequences
    return it. A tuple of two arrays is never taken for one. As data it replaces an array:
    ``fnn.fit(task, ts, (fnn.Masked(x, mask), y))``. Slicing takes rows of both parts: ``masked[:1]``.

    A loss or metric counts each step that the mask keeps as one example.

    ``+ - * / **`` with a number, an array or a `Masked` of the same mask act on ``x`` and keep the mask, such as
    ``2 * masked`` or ``masked + positions``. For any other function write ``fnn.Masked(f(masked.x), masked.mask)``.

    Attributes:
      x: (batch, time, ...), floats or integer ids.
      mask: (batch, time) booleans, False at the padding. Shape and dtype are checked by the layer that reads it.

    >>> import jax, jax.numpy as jnp, fnn
    >>> sequences = fnn.Masked(jnp.ones((2, 3, 4)), jnp.array([[True, True, False], [True, False, False]]))
    >>> sequences, sequences[:1]
    (Masked(float32[2, 3, 4], bool[2, 3]), Masked(float32[1, 3, 4], bool[1, 3]))
    >>> params, _ = fnn.LSTM(5).init(jax.random.key(0), sequences)
    >>> fnn.LSTM(5).apply(params, {}, sequences)[0].shape
    (2, 5)
    """

    x: PyTree
    mask: PyTree

    __array_priority__ = 1000  # otherwise NumPy would apply its operators to the object, and refuse it

    # Otherwise Python would iterate by index, and `x, mask = masked` would give two rows of a batch of two.
    __iter__ = None

    def __getitem__(self, rows: slice | Array | np.ndarray) -> Masked:
        """Select rows of both arrays by a slice or an array of row numbers."""
        if not isinstance(rows, slice) and np.ndim(rows) != 1:
            hint = "Its parts are masked.x and masked.mask."
            fail("Masked", expected="a slice or row numbers (rows,) as index", got=repr(rows), hint=hint)
        return tree_map(lambda a: a[rows], self)

    __add__, __radd__ = _operators(operator.add)
    __sub__, __rsub__ = _operators(operator.sub)
    __mul__, __rmul__ = _operators(operator.mul)
    __truediv__, __rtruediv__ = _operators(operator.truediv)
    __pow__ = _operators(operator.pow)[0]

    def __neg__(self) -> Masked:
        return Masked(-self.x, self.mask)

    def __jax_array__(self) -> NoReturn:
        """Refuse functions of `jax.numpy`, which would lose the mask."""
        hint = (
            "For a function f write fnn.Masked(f(masked.x), masked.mask), or use a layer such as fnn.Activation; with "
            "operators put the Masked first, masked * array."
        )
        fail("Masked", expected="one array", got=repr(self), hint=hint)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse conversion to one array, which would lose the mask."""
        hint = "Its parts are masked.x and masked.mask; masked.x[masked.mask] are the steps that count."
        fail("Masked", expected="one array", got=repr(self), hint=hint)

    def __repr__(self) -> str:
        return f"Masked({', '.join(describe(a) if hasattr(a, 'dtype') else repr(a) for a in (self.x, self.mask))})"


jax.tree_util.register_dataclass(Masked, ["x", "mask"], [])


def unmasked(x: PyTree) -> PyTree:
    """The array of a `Masked`; anything else as it is."""
    return x.x if isinstance(x, Masked) else x


def array_of(where: str, x: PyTree) -> Array:
    """Return ``x`` if it is one array; refuse anything else."""
    if _is_array(x):
        return x
    hint = _conversion_hint(x)
    if isinstance(x, Masked) or _looks_old(x):
        hint = (
            "It cannot use a mask. docs/how-to/sequences.md lists the layers that can; a layer of your own may return "
            "masked.x."
        )
    fail(where, expected="one array", got=_got(x), hint=hint)


def sequence_of(where: str, x: PyTree) -> tuple[Array, PyTree]:
    """Return ``(x, None)`` for one array and ``(x, mask)`` for a `Masked`, after a check; refuse anything else."""
    if _is_array(x):
        return x, None
    if not isinstance(x, Masked):
        hint = "Write fnn.Masked(x, mask) for a padded sequence." if _looks_old(x) else _conversion_hint(x)
        fail(where, expected="one array, or fnn.Masked(x, mask)", got=_got(x), hint=hint)
    values, mask = x.x, x.mask
    if not _is_array(values):
        fail(f"{where}, x of a Masked", expected="an array", got=_got(values))
    if not _is_array(mask):
        hint = "Convert it with jnp.asarray(mask)." if isinstance(mask, (list, tuple)) else ""
        fail(f"{where}, mask", expected="a boolean array (batch, time)", got=_got(mask), hint=hint)
    if mask.dtype != np.bool_ or not mask.shape or not _leads(mask, values):
        expected = f"a boolean mask of shape (batch, time) = {tuple(values.shape[:2])} for x {describe(values)}"
        hint = "Convert it with mask.astype(bool)." if mask.shape and _leads(mask, values) else ""
        if values.dtype == np.bool_ and mask.shape[: len(values.shape)] == values.shape:
            hint = "The order is fnn.Masked(x, mask)."
        fail(f"{where}, mask", expected=expected, got=describe(mask), hint=hint)
    return values, mask


def over_steps(where: str, fn: Callable[[Array], Array], x: PyTree) -> Array | Masked:
    """Apply ``fn`` to one array, or to the array of a `Masked`, which keeps its mask."""
    values, mask = sequence_of(where, x)
    return fn(values) if mask is None else Masked(fn(values), mask)


def pairs(tree: PyTree) -> PyTree:
    """Replace each `Masked` in a tree by the tuple ``(x, mask)``, which compares by value."""

    def pair(node: PyTree) -> PyTree:
        return (node.x, node.mask) if isinstance(node, Masked) else node

    return jax.tree.map(pair, tree, is_leaf=lambda node: isinstance(node, Masked))


def kept(mask: Array, x: Array) -> Array:
    """``x`` with zeros at the steps that the mask drops, even where ``x`` is not finite."""
    return jnp.where(jnp.reshape(mask, mask.shape + (1,) * (x.ndim - mask.ndim)), x, jnp.zeros_like(x))


def _is_array(x: PyTree) -> TypeGuard[Array]:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _got(x: PyTree) -> str:
    if isinstance(x, (tuple, list)) and type(x) in (tuple, list) and any(map(_is_array, x)):
        items = ", ".join(map(describe, x[:4])) + (", ..." if len(x) > 4 else "")
        return f"{kind_of(x)} of {len(x)}: {items}"
    return repr(x) if isinstance(x, Masked) else kind_of(x)


def _looks_old(x: PyTree) -> bool:
    """Whether ``x`` is a tuple of a sequence and a boolean mask, the form of earlier versions."""
    pair = isinstance(x, (tuple, list)) and len(x) == 2 and all(map(_is_array, x))
    return bool(pair and x[1].dtype == np.bool_ and len(x[1].shape) > 0 and _leads(x[1], x[0]))


def _leads(mask: Array, x: Array) -> bool:
    return tuple(mask.shape) == tuple(x.shape[: len(mask.shape)])


def _conversion_hint(x: PyTree) -> str:
    if isinstance(x, (tuple, list, dict)) and any(map(_is_array, jax.tree.leaves(x))):
        return "Join several inputs in the forward of an fnn.Model."
    return "Convert it with jnp.asarray(x)." if isinstance(x, (list, tuple, int, float)) else ""
