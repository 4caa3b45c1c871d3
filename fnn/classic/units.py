"""The classics: threshold units that compute logic, and the perceptron that learns from its mistakes.

In the order of a first lecture. A `Unit` adds up weighted inputs and fires at a threshold (McCulloch and Pitts 1943).
One unit computes AND, OR or NOT; `formula` builds any other formula from several; `xor_network` is the most famous
case, wired by hand as an fnn model. The `threshold_unit` is the same thing for any numbers as inputs, and `perceptron`
finds its weights from examples (Rosenblatt 1958) whenever there are such weights, which `separable` decides.

W. S. McCulloch and W. Pitts, "A logical calculus of the ideas immanent in nervous activity", Bulletin of Mathematical
Biophysics 5 (1943). F. Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in
the brain", Psychological Review 65 (1958). A. B. J. Novikoff, "On convergence proofs on perceptrons", Symposium on the
Mathematical Theory of Automata (1962). M. Minsky and S. Papert, "Perceptrons" (1969).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, is_concrete
from .._core.errors import describe, fail, located
from .._core.types import Array, Params
from ..nn.activations import step
from ..nn.dense import dense

_TABLE_INPUTS = 12
"""A truth table of more inputs has too many rows to be read."""
DECIDE_SIZE = 100_000
"""Up to so many numbers in ``x``, `perceptron` says by itself whether they can be separated at all."""


# ------------------------------------------------------------------------------------------------------ threshold logic
class TruthTable(NamedTuple):
    """All combinations of inputs and what comes out; printed as a table.

    Attributes:
      inputs: names of the columns that go in.
      outputs: names of those that come out.
      rows: one per combination, inputs first, each 0 or 1.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]

    def __repr__(self) -> str:
        heads = (*self.inputs, *self.outputs)
        lines = [heads, *(tuple(map(str, row)) for row in self.rows)]

        def line(cells: tuple[str, ...]) -> str:
            padded = [cell.ljust(len(head)) for cell, head in zip(cells, heads, strict=True)]
            sides = padded[: len(self.inputs)], padded[len(self.inputs) :]
            return " | ".join("  ".join(side) for side in sides).rstrip()

        return "\n".join(map(line, lines))


def input_combinations(where: str, count: int) -> np.ndarray:
    """All rows of ``count`` bits, (2^count, count), counting up."""
    if count > _TABLE_INPUTS:
        fail(where, expected=f"at most {_TABLE_INPUTS} inputs for a table", got=f"{count}, hence {2**count:,} rows")
    return np.array(list(itertools.product((0, 1), repeat=count)), np.int32).reshape(-1, count)


class Unit(NamedTuple):
    """A threshold unit for logic: 1 if ``sum_i w_i x_i >= threshold``, else 0 (McCulloch and Pitts 1943).

    It is a function of one argument per weight. Each is 0 or 1 (or a boolean), or an array of them; arrays of several
    inputs broadcast, and give an array.

    Attributes:
      weights: one number per input. (In 1943 an inhibitory input vetoes the others; here it has a negative weight.)
      threshold: the sum at which the unit fires.

    Raises (when called):
      InputError: for another number of inputs than weights, inputs that are neither 0 nor 1, shapes that do not fit
        together, or weights and threshold that are no finite numbers.

    >>> two_of_three = Unit(weights=(1, 1, 1), threshold=2)
    >>> two_of_three(1, 0, 1), two_of_three(0, 0, 1)
    (1, 0)
    >>> print(AND(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])))
    [0 0 0 1]
    """

    weights: tuple[float, ...]
    threshold: float

    def __call__(self, *inputs: Any) -> Any:
        """1 where the weighted sum reaches the threshold, else 0: an int for numbers, else an int32 array."""
        weights, threshold = _numbers_of(self)
        if len(inputs) != len(weights):
            one = len(inputs) == 1 and np.ndim(inputs[0]) > 0
            hint = "Pass the inputs one by one, e.g. unit(x[:, 0], x[:, 1])." if one else ""
            fail("Unit", expected=f"{len(weights)} inputs, one per weight", got=str(len(inputs)), hint=hint)
        bits = [_bit("Unit", value) for value in inputs]
        try:
            np.broadcast_shapes(*map(np.shape, bits))
        except ValueError:
            shapes = ", ".join(str(np.shape(bit)) for bit in bits)
            fail("Unit", expected="inputs of shapes that fit together", got=shapes)
        if any(isinstance(bit, jax.Array) for bit in bits):
            total = sum(w * jnp.asarray(bit, float) for w, bit in zip(weights, bits, strict=True))
            return jnp.asarray(total >= threshold, jnp.int32)
        fires = sum(w * bit for w, bit in zip(weights, bits, strict=True)) >= threshold
        return int(fires) if np.ndim(fires) == 0 else np.asarray(fires, np.int32)

    def params(self, dtype: Any = jnp.float32) -> Params:
        """The same unit as parameters of `fnn.dense`: ``kernel`` (inputs, 1), and the threshold as a ``bias`` of -it.

        >>> print(threshold_unit(OR.params(), jnp.array([[0.0, 0.0], [1.0, 0.0]])))
        [[0.]
         [1.]]
        """
        weights, threshold = _numbers_of(self)
        return {"kernel": jnp.asarray(weights, dtype)[:, None], "bias": jnp.asarray([-threshold], dtype)}

    def table(self) -> TruthTable:
        """What the unit gives for every combination of inputs.

        Raises:
          InputError: for more than 12 inputs.

        >>> OR.table()
        x1  x2 | y
        0   0  | 0
        0   1  | 1
        1   0  | 1
        1   1  | 1
        """
        rows = input_combinations("Unit.table", len(_numbers_of(self)[0]))
        names = tuple(f"x{i + 1}" for i in range(rows.shape[1]))
        return TruthTable(names, ("y",), table_rows(rows, [self(*rows.T)]))


def table_rows(inputs: np.ndarray, outputs: list[Any]) -> tuple[tuple[int, ...], ...]:
    """The rows of a truth table, each with its outputs last."""
    return tuple(tuple(row) for row in np.column_stack([inputs, *outputs]).tolist())


def _numbers_of(unit: Unit) -> tuple[list[float], float]:
    """Weights and threshold as finite numbers."""
    try:
        weights, threshold = np.asarray(unit.weights, float), np.asarray(unit.threshold, float)
    except (TypeError, ValueError):
        weights = threshold = np.asarray(np.nan)
    if weights.ndim != 1 or threshold.ndim != 0 or not len(weights) or not np.isfinite([*weights, threshold]).all():
        fail("Unit", expected="weights, one finite number per input, and a finite threshold", got=repr(tuple(unit)))
    return weights.tolist(), float(threshold)


def _bit(where: str, value: Any) -> Any:
    """An input of a logic unit, refused unless it is made of 0 and 1."""
    if not is_concrete(value):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "bifu" or not ((array == 0) | (array == 1)).all():
        got = repr(value) if array.ndim == 0 else f"{describe(array)} with other values"
        fail(where, expected="inputs that are 0 or 1", got=got, hint="threshold_unit takes any numbers.")
    return value if isinstance(value, jax.Array) else array.astype(float)


def at_least(count: int, inputs: int) -> Unit:
    """The unit that fires when at least ``count`` of its inputs do: weights of 1 and the count as threshold.

    All of them is AND, one of them is OR, and more than half is a vote.

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


# ----------------------------------------------------------------------------------------------------------- perceptron
def threshold_unit(params: Params, x: Array) -> Array:
    """The threshold logic unit for any numbers, ``y = step(x @ kernel + bias)``.

    It is 1 on one side of a line (in more dimensions a plane) and 0 on the other. On the line itself, where the sum is
    exactly 0, it is 1, as `fnn.activations.step` has it.

    Args:
      params: ``kernel`` (features, 1) and ``bias`` (1,), as for `fnn.dense`; more columns are more units side by side.
      x: (..., features), of the kernel's dtype.

    Returns:
      (..., 1), of the kernel's dtype.

    Raises:
      InputError: for an ``x`` that does not fit the kernel.

    >>> params = {"kernel": jnp.array([[1.0], [-2.0]]), "bias": jnp.array([1.0])}
    >>> print(threshold_unit(params, jnp.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.5]])))
    [[0.]
     [1.]
     [1.]]
    """
    with located("threshold_unit"):
        return step(dense(params, x))
