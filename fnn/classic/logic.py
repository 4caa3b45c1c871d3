"""Networks of units that compute any formula of propositional logic."""

from __future__ import annotations

import itertools
import keyword
import re
import unicodedata
from typing import Any, NamedTuple, NoReturn

import jax.numpy as jnp

from .._core.errors import describe, fail, located
from .._core.types import Params
from ..nn.containers import Sequential
from ..nn.dense import Dense
from ..nn.layer import Layer
from .units import AND, IDENTITY, NOT, OR, TruthTable, Unit, at_least, input_combinations, table_rows


# -------------------------------------------------------------------------------------------------- formulas from units
class Node(NamedTuple):
    """A unit in a network.

    Attributes:
      name: what others call its output, such as "AND" or "AND 2".
      unit: its weights and threshold.
      inputs: for each weight the name of an input of the formula, or of a node before this one.
    """

    name: str
    unit: Unit
    inputs: tuple[str, ...]


class Formula(NamedTuple):
    """A logical formula as a network of threshold units; a function of its inputs by place or by name.

    Attributes:
      text: the formula.
      names: of its inputs, in the order in which they first appear.
      nodes: units in order of computation; the last one is the output.

    Raises (when called):
      InputError: for inputs that are missing, unknown, given twice, or neither 0 nor 1.

    >>> import numpy as np
    >>> xor = formula("(a or b) and not (a and b)")
    >>> xor(1, 0), xor(a=1, b=1)
    (1, 0)
    >>> print(xor(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])))
    [0 1 1 0]
    """

    text: str
    names: tuple[str, ...]
    nodes: tuple[Node, ...]

    def __call__(self, /, *inputs: Any, **named: Any) -> Any:
        """The output for some inputs, each 0 or 1 or an array of them."""
        return self.values(*inputs, **named)[self.nodes[-1].name]

    def values(self, /, *inputs: Any, **named: Any) -> dict[str, Any]:
        """What every input and every unit says, by name, in order of computation.

        >>> formula("a and not b").values(1, 0)
        {'a': 1, 'b': 0, 'NOT': 1, 'AND': 1}
        """
        where = f"formula {self.text!r}"
        known = ", ".join(self.names)
        if len(inputs) > len(self.names):
            fail(where, expected=f"{len(self.names)} inputs: {known}", got=str(len(inputs)))
        found = dict(zip(self.names, inputs, strict=False))
        for name, value in named.items():
            if name not in self.names or name in found:
                got = f"{name} twice" if name in found else f"also {name}"
                fail(where, expected=f"the inputs {known}, each once", got=got)
            found[name] = value
        if missing := [name for name in self.names if name not in found]:
            fail(where, expected=f"{len(self.names)} inputs: {known}", got=f"none for {', '.join(missing)}")
        found = {name: found[name] for name in self.names}
        with located(where):
            for node in self.nodes:
                found[node.name] = node.unit(*(found[name] for name in node.inputs))
        return found

    def table(self, units: bool = False) -> TruthTable:
        """What comes out for every combination of inputs; with ``units``, what every unit says.

        Raises:
          InputError: for more than 12 inputs.

        >>> formula("a and not b").table()
        a  b | a and not b
        0  0 | 0
        0  1 | 0
        1  0 | 1
        1  1 | 0
        >>> formula("a and not b").table(units=True)
        a  b | NOT  AND
        0  0 | 1    0
        0  1 | 0    0
        1  0 | 1    1
        1  1 | 0    0
        """
        rows = input_combinations("Formula.table", len(self.names))
        values = self.values(*rows.T)
        shown = [node.name for node in self.nodes] if units else [self.nodes[-1].name]
        heads = tuple(shown) if units else (self.text,)
        return TruthTable(self.names, heads, table_rows(rows, [values[name] for name in shown]))


_TOKEN = re.compile(r"[^\W\d]\w*|\S")
_OPERATORS = ("and", "or", "not", "xor")


def formula(text: str) -> Formula:
    """A network of threshold units that computes a logical formula, one unit per operation.

    ``a and b and c`` and ``a or b or c`` are one unit each, `at_least` with all or one of three; ``not a`` is `NOT`;
    ``a xor b``, also written ``a ^ b``, which no single unit computes, becomes ``(a or b) and not (a and b)``. A part
    that appears twice is computed once. ``not`` binds most, then ``xor``, ``and``, ``or``.

    Args:
      text: of names, ``and``, ``or``, ``not``, ``xor`` and parentheses.

    Returns:
      A `Formula`: a function of its inputs that also holds its units.

    Raises:
      InputError: for anything else, with its place in the text.

    >>> xor = formula("(a or b) and not (a and b)")
    >>> for node in xor.nodes:
    ...     print(f"{node.name:5}  weights {node.unit.weights}, threshold {node.unit.threshold}, of {node.inputs}")
    OR     weights (1, 1), threshold 1, of ('a', 'b')
    AND    weights (1, 1), threshold 2, of ('a', 'b')
    NOT    weights (-1,), threshold 0, of ('AND',)
    AND 2  weights (1, 1), threshold 2, of ('OR', 'NOT')
    """
    if not isinstance(text, str):
        fail("formula", expected="a text such as 'a and not b'", got=describe(text))
    text = " ".join(unicodedata.normalize("NFKC", text).split())  # as Python has the names of arguments
    if not text:
        fail("formula", expected="a text such as 'a and not b'", got="an empty one")
    tokens = [(match[0], match.start()) for match in _TOKEN.finditer(text)] + [("", len(text))]
    names = tuple(dict.fromkeys(token for token, _ in tokens if _is_name(token)))
    nodes: dict[tuple[Unit, tuple[str, ...]], Node] = {}
    taken = set(names)
    at = 0

    def take(*options: str) -> str:
        """The next token, if it is one of these."""
        nonlocal at
        token = tokens[at][0]
        at += token in options
        return token if token in options else ""

    def refuse(expected: str) -> NoReturn:
        token, start = tokens[at]
        got = f"{token!r} at character {start + 1}" if token else "the end"
        mark = "^" * max(1, len(token))
        fail("formula", expected=expected, got=got, hint=f"\n    {text}\n    {' ' * start}{mark}")

    def add(kind: str, unit: Unit, *inputs: str) -> str:
        """The name of the node with this unit and these inputs, made if there is none yet."""
        if (unit, inputs) not in nodes:
            free = itertools.chain([kind], (f"{kind} {i}" for i in itertools.count(2)))
            name = next(name for name in free if name not in taken)
            taken.add(name)
            nodes[unit, inputs] = Node(name, unit, inputs)
        return nodes[unit, inputs].name

    # One function per level of binding, from the loosest to the tightest; each gives the name of its output.
    def either() -> str:
        inputs = [every()]
        while take("or"):
            inputs.append(every())
        return inputs[0] if len(inputs) == 1 else add("OR", at_least(1, len(inputs)), *inputs)

    def every() -> str:
        inputs = [exclusive()]
        while take("and"):
            inputs.append(exclusive())
        return inputs[0] if len(inputs) == 1 else add("AND", at_least(len(inputs), len(inputs)), *inputs)

    def exclusive() -> str:
        a = negation()
        while take("xor", "^"):
            b = negation()
            one, both = add("OR", OR, a, b), add("AND", AND, a, b)
            a = add("AND", AND, one, add("NOT", NOT, both))
        return a

    def negation() -> str:
        return add("NOT", NOT, negation()) if take("not") else single()

    def single() -> str:
        start = at
        if take("("):
            inside = either()
            if not take(")"):
                refuse(f"and, or, xor, or a ) for the ( at character {tokens[start][1] + 1}")
            return inside
        return take(*names) or refuse("a name, not, or (")

    try:
        output = either()
    except RecursionError:
        fail("formula", expected="a formula that is not nested so deeply", got=f"{len(text):,} characters")
    if tokens[at][0]:
        refuse("and, or, xor, or the end")
    if output in names:
        add("IDENTITY", IDENTITY, output)
    return Formula(text, names, tuple(nodes.values()))


def _is_name(token: str) -> bool:
    return token.isidentifier() and not keyword.iskeyword(token) and token not in _OPERATORS


def xor_network() -> tuple[Layer, dict[str, Params]]:
    """XOR wired by hand: two dense layers with the step function, as a model and its parameters.

    No single threshold unit computes XOR, since no line separates {(0, 1), (1, 0)} from {(0, 0), (1, 1)} (Minsky and
    Papert 1969). Two layers do: ``h1 = step(a + b - 0.5)`` says a or b, ``h2 = step(a + b - 1.5)`` says a and b, and
    the output ``step(h1 - h2 - 0.5)`` says h1 and not h2. Thresholds lie half-way between the sums that occur.

    Returns:
      ``(model, params)``: ``model.apply(params, {}, x)[0]`` is XOR of the two columns of ``x``, shape (batch, 1).

    >>> model, params = xor_network()
    >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> print(model.apply(params, {}, x)[0].ravel())
    [0. 1. 1. 0.]
    """
    model = Sequential(Dense(2, "step"), Dense(1, "step"))
    params = {
        "dense": {
            "kernel": jnp.array([[1.0, 1.0], [1.0, 1.0]], jnp.float32),
            "bias": jnp.array([-0.5, -1.5], jnp.float32),
        },
        "dense_1": {"kernel": jnp.array([[1.0], [-1.0]], jnp.float32), "bias": jnp.array([-0.5], jnp.float32)},
    }
    return model, params
