"""Threshold units: `Unit` for logical inputs, with its truth table, and `threshold_unit` for real inputs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from .._core.checks import check_count, is_concrete
from .._core.described import in_words
from .._core.errors import counted, describe, fail, listed, located
from .._core.tables import Table
from .._core.types import Array
from ..nn.activations import step
from ..nn.dense import dense

Bits = int | np.ndarray | Array  # 0 or 1, or an array of them
_MAX_TABLE_INPUTS = 12  # a larger truth table has too many rows to read


@dataclasses.dataclass(frozen=True, repr=False)
class TruthTable(Table[tuple[int, ...]]):
    """The outputs for every combination of inputs; prints as a table. It iterates over its rows.

    Attributes:
      inputs: names of the input columns.
      outputs: names of the output columns.
      rows: one row per combination, inputs first; each entry is 0 or 1.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]

    def __repr__(self) -> str:
        heads, count = (*self.inputs, *self.outputs), len(self.inputs)
        lines = []
        for cells in (heads, *self.rows):
            padded = [str(cell).ljust(len(head)) for cell, head in zip(cells, heads, strict=True)]
            lines.append(f"{'  '.join(padded[:count])} | {'  '.join(padded[count:])}".rstrip())
        return "\n".join(lines)


def truth_table(
    where: str, inputs: tuple[str, ...], outputs: tuple[str, ...], evaluate: Callable[..., Sequence[Bits]]
) -> TruthTable:
    """The outputs that ``evaluate`` returns for all combinations of the inputs, in binary order."""
    count = len(inputs)
    if count > _MAX_TABLE_INPUTS:
        fail(where, expected=f"at most {_MAX_TABLE_INPUTS} inputs for a table", got=f"{count}, i.e. {2**count:,} rows")
    bits = np.array(list(itertools.product((0, 1), repeat=count)), np.int32).reshape(-1, count)
    rows = np.column_stack([bits, *evaluate(*bits.T)]).tolist()
    return TruthTable(inputs, outputs, tuple(map(tuple, rows)))


class Unit(NamedTuple):
    """A threshold unit for logic: 1 if ``sum_i w_i x_i >= threshold``, else 0 (McCulloch and Pitts 1943).

    Call it with one argument per weight: 0, 1, a boolean, or an array of those; arrays broadcast and give an array.

    Attributes:
      weights: one number per input. (In 1943 an inhibitory input vetoes the others; here it has a negative weight.)
      threshold: the sum at which the unit fires.

    Raises (when called):
      InputError: for a wrong number of inputs, inputs not 0 or 1, shapes that do not broadcast, or a unit not finite.

    >>> two_of_three = Unit(weights=(1, 1, 1), threshold=2)
    >>> two_of_three(1, 0, 1), two_of_three(0, 0, 1)
    (1, 0)
    >>> print(AND(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])))
    [0 0 0 1]
    """

    weights: tuple[float, ...]
    threshold: float

    def __call__(self, *inputs: Bits) -> Bits:
        """1 where the weighted sum reaches the threshold, else 0: an int for numbers, else an int32 array."""
        weights, threshold = _check_unit(self)
        if len(inputs) != len(weights):
            one = len(inputs) == 1 and np.ndim(inputs[0]) > 0
            hint = "Pass the inputs one by one, e.g. unit(x[:, 0], x[:, 1])." if one else ""
            fail("Unit", expected=f"{counted(len(weights), 'input')}, one per weight", got=str(len(inputs)), hint=hint)
        bits = [_check_bits("Unit", value) for value in inputs]
        try:
            np.broadcast_shapes(*map(np.shape, bits))
        except ValueError:
            got = f"shapes {listed(map(np.shape, bits), 'and')}"
            fail("Unit", expected="inputs whose shapes broadcast", got=got)
        if any(isinstance(bit, jax.Array) for bit in bits):
            total = sum(w * jnp.asarray(bit, float) for w, bit in zip(weights, bits, strict=True))
            return jnp.asarray(total >= threshold, jnp.int32)
        fires = sum(w * bit for w, bit in zip(weights, bits, strict=True)) >= threshold
        return int(fires) if np.ndim(fires) == 0 else np.asarray(fires, np.int32)

    def params(self, dtype: DTypeLike = jnp.float32) -> dict[str, Array]:
        """The unit as parameters for `fnn.dense`: ``kernel`` (inputs, 1) and ``bias`` (1,), the negative threshold.

        >>> print(threshold_unit(OR.params(), jnp.array([[0.0, 0.0], [1.0, 0.0]])))
        [[0.]
         [1.]]
        """
        weights, threshold = _check_unit(self)
        return {"kernel": jnp.asarray(weights, dtype)[:, None], "bias": jnp.asarray([-threshold], dtype)}

    def table(self) -> TruthTable:
        """The truth table of the unit.

        Raises:
          InputError: for more than 12 inputs.

        >>> OR.table()
        x1  x2 | y
        0   0  | 0
        0   1  | 1
        1   0  | 1
        1   1  | 1
        """
        names = tuple(f"x{i + 1}" for i in range(len(_check_unit(self)[0])))
        return truth_table("Unit.table", names, ("y",), lambda *bits: [self(*bits)])


def _check_unit(unit: Unit) -> tuple[list[float], float]:
    """Weights and threshold as floats, which must be finite."""
    try:
        weights, threshold = np.asarray(unit.weights, float), np.asarray(unit.threshold, float)
    except (TypeError, ValueError):
        weights = threshold = np.asarray(np.nan)
    if weights.ndim != 1 or threshold.ndim != 0 or not len(weights) or not np.isfinite([*weights, threshold]).all():
        fail("Unit", expected="one finite weight per input and a finite threshold", got=repr(tuple(unit)))
    return weights.tolist(), float(threshold)


def _check_bits(where: str, value: Bits) -> Bits:
    """An input of a unit; if concrete, it must contain only 0 and 1."""
    if not is_concrete(value):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "bifu" or not ((array == 0) | (array == 1)).all():
        got = in_words(value) if array.ndim == 0 else f"{describe(array)} with other values"
        fail(where, expected="inputs that are 0 or 1", got=got, hint="threshold_unit accepts any numbers.")
    return value if isinstance(value, jax.Array) else array.astype(float)


def at_least(count: int, inputs: int) -> Unit:
    """A unit that fires if at least ``count`` of its inputs are 1: weights of 1, and ``count`` as threshold.

    A count of all inputs gives AND, a count of 1 gives OR, and more than half gives a majority vote.

    Raises:
      InputError: unless ``1 <= count <= inputs``.

    >>> at_least(2, inputs=2) == AND, at_least(1, inputs=2) == OR
    (True, True)
    """
    check_count("at_least", "inputs", inputs)
    check_count("at_least", "count", count)
    if count > inputs:
        fail("at_least", expected=f"count to be at most {inputs}, the number of inputs", got=str(count))
    return Unit((1,) * int(inputs), int(count))


IDENTITY = Unit((1,), 1)
NOT = Unit((-1,), 0)
AND = at_least(2, 2)
OR = at_least(1, 2)
NAND = Unit((-1, -1), -1)
NOR = Unit((-1, -1), 0)


def threshold_unit(params: Mapping[str, Array], x: Array) -> Array:
    """The threshold unit for real inputs, ``y = step(x @ kernel + bias)``.

    It is 1 on one side of a line (in general a hyperplane) and on the line, as in `fnn.activations.step`, else 0.

    Args:
      params: ``kernel`` (features, units) and ``bias`` (units,), as in `fnn.dense`; one column per unit.
      x: (..., features), with the kernel's dtype.

    Returns:
      (..., units), with the kernel's dtype.

    Raises:
      InputError: if ``x`` does not match the kernel.

    >>> params = {"kernel": jnp.array([[1.0], [-2.0]]), "bias": jnp.array([1.0])}
    >>> print(threshold_unit(params, jnp.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.5]])))
    [[0.]
     [1.]
     [1.]]
    """
    with located("threshold_unit"):
        return step(dense(params, x))
