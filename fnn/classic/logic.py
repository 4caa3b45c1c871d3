"""Logical formulas as networks of threshold units, and XOR as an fnn model."""

from __future__ import annotations

import itertools
import keyword
import re
import unicodedata
from typing import NamedTuple, NoReturn

import jax.numpy as jnp

from .._core.errors import counted, describe, fail, located
from .._core.flags import flagged
from .._core.types import Array
from ..nn.containers import Sequential
from ..nn.dense import Dense
from ..nn.layer import Layer
from .units import AND, IDENTITY, NOT, OR, Bits, TruthTable, Unit, at_least, truth_table


class Node(NamedTuple):
    """A unit in a network.

    Attributes:
      name: name of its output, such as "AND" or "AND 2".
      unit: its weights and threshold.
      inputs: for each weight, the name of an input of the formula or of an earlier node.
    """

    name: str
    unit: Unit
    inputs: tuple[str, ...]


class Formula(NamedTuple):
    """A logical formula as a network of threshold units; call it with its inputs by position or by name.

    Attributes:
      text: the formula.
      names: names of the inputs in order of first appearance.
      nodes: units in order of computation; the last one is the output.

    Raises (when called):
      InputError: if an input is missing, unknown, given twice, or neither 0 nor 1.

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

    def __call__(self, /, *inputs: Bits, **named: Bits) -> Bits:
        """The output; each input is 0, 1 or an array of them."""
        return self.values(*inputs, **named)[self.nodes[-1].name]

    def values(self, /, *inputs: Bits, **named: Bits) -> dict[str, Bits]:
        """The value of every input and every unit by name, in order of computation.

        >>> formula("a and not b").values(1, 0)
        {'a': 1, 'b': 0, 'NOT': 1, 'AND': 1}
        """
        where = f"formula {self.text!r}"
        known = ", ".join(self.names)
        expected = f"{counted(len(self.names), 'input')}: {known}"
        if len(inputs) > len(self.names):
            fail(where, expected=expected, got=str(len(inputs)))
        found = dict(zip(self.names, inputs, strict=False))
        for name, value in named.items():
            if name not in self.names or name in found:
                got = f"{name} twice" if name in found else f"an unknown {name}"
                fail(where, expected=f"the inputs {known}, each once", got=got)
            found[name] = value
        if missing := [name for name in self.names if name not in found]:
            fail(where, expected=expected, got=f"no value for {', '.join(missing)}")
        values = {name: found[name] for name in self.names}
        with located(where):
            for node in self.nodes:
                values[node.name] = node.unit(*(values[name] for name in node.inputs))
        return values

    @flagged
    def table(self, units: bool = False) -> TruthTable:
        """The truth table of the output, or with ``units`` of every unit.

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
        shown = [node.name for node in self.nodes] if units else [self.nodes[-1].name]

        def outputs(*bits: Bits) -> list[Bits]:
            values = self.values(*bits)
            return [values[name] for name in shown]

        return truth_table("Formula.table", self.names, tuple(shown) if units else (self.text,), outputs)


def formula(text: str) -> Formula:
    """Build a network of threshold units for a logical formula, one unit per operation.

    ``a and b and c`` and ``a or b or c`` take one unit each, `at_least` with a count of 3 or 1; ``not a`` is `NOT`;
    ``a xor b``, also written ``a ^ b``, which no single unit computes, becomes ``(a or b) and not (a and b)``. A
    repeated part is computed once. Precedence from highest to lowest: ``not``, ``xor``, ``and``, ``or``.

    Args:
      text: a formula of names, ``and``, ``or``, ``not``, ``xor`` and parentheses.

    Returns:
      A `Formula`: callable with its inputs, and with its units as an attribute.

    Raises:
      InputError: for invalid text, with the position of the error.

    >>> xor = formula("(a or b) and not (a and b)")
    >>> for node in xor.nodes:
    ...     print(f"{node.name:5}  weights {node.unit.weights}, threshold {node.unit.threshold}, of {node.inputs}")
    OR     weights (1, 1), threshold 1, of ('a', 'b')
    AND    weights (1, 1), threshold 2, of ('a', 'b')
    NOT    weights (-1,), threshold 0, of ('AND',)
    AND 2  weights (1, 1), threshold 2, of ('OR', 'NOT')
    """
    if not isinstance(text, str) or not text.split():
        got = "an empty one" if isinstance(text, str) else describe(text)
        fail("formula", expected="a string such as 'a and not b'", got=got)
    text = " ".join(unicodedata.normalize("NFKC", text).split())  # NFKC, as Python normalizes argument names
    parser = _Parser(text)
    try:
        output = parser.disjunction()
    except RecursionError:
        fail("formula", expected="a formula with less deep nesting", got=f"{len(text):,} characters")
    if parser.tokens[parser.position][0]:
        parser.refuse("'and', 'or', 'xor' or the end")
    if output in parser.names:
        parser.add("IDENTITY", IDENTITY, output)
    return Formula(text, parser.names, tuple(parser.nodes.values()))


_TOKEN = re.compile(r"[^\W\d]\w*|\S")


class _Parser:
    """A recursive-descent parser with one method per level of precedence; each returns the name of its output."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0
        self.tokens = [(match[0], match.start()) for match in _TOKEN.finditer(text)] + [("", len(text))]
        words = [token for token, _ in self.tokens if token.isidentifier() and not keyword.iskeyword(token)]
        self.names = tuple(dict.fromkeys(word for word in words if word != "xor"))
        self.nodes: dict[tuple[Unit, tuple[str, ...]], Node] = {}
        self.taken = set(self.names)

    def take(self, *options: str) -> str:
        """Consume and return the next token if it is one of these, else return ""."""
        token = self.tokens[self.position][0]
        self.position += token in options
        return token if token in options else ""

    def refuse(self, expected: str) -> NoReturn:
        token, start = self.tokens[self.position]
        got = f"{token!r} at character {start + 1}" if token else "the end of the formula"
        mark = "^" * max(1, len(token))
        fail("formula", expected=expected, got=got, hint=f"\n    {self.text}\n    {' ' * start}{mark}")

    def add(self, kind: str, unit: Unit, *inputs: str) -> str:
        """The name of the node with this unit and these inputs, added unless it exists."""
        if (unit, inputs) not in self.nodes:
            candidates = itertools.chain([kind], (f"{kind} {i}" for i in itertools.count(2)))
            name = next(name for name in candidates if name not in self.taken)
            self.taken.add(name)
            self.nodes[unit, inputs] = Node(name, unit, inputs)
        return self.nodes[unit, inputs].name

    def disjunction(self) -> str:
        inputs = [self.conjunction()]
        while self.take("or"):
            inputs.append(self.conjunction())
        return inputs[0] if len(inputs) == 1 else self.add("OR", at_least(1, len(inputs)), *inputs)

    def conjunction(self) -> str:
        inputs = [self.exclusive()]
        while self.take("and"):
            inputs.append(self.exclusive())
        return inputs[0] if len(inputs) == 1 else self.add("AND", at_least(len(inputs), len(inputs)), *inputs)

    def exclusive(self) -> str:
        a = self.negation()
        while self.take("xor", "^"):
            b = self.negation()
            one, both = self.add("OR", OR, a, b), self.add("AND", AND, a, b)
            a = self.add("AND", AND, one, self.add("NOT", NOT, both))
        return a

    def negation(self) -> str:
        return self.add("NOT", NOT, self.negation()) if self.take("not") else self.operand()

    def operand(self) -> str:
        start = self.tokens[self.position][1]
        if self.take("("):
            inside = self.disjunction()
            if not self.take(")"):
                self.refuse(f"'and', 'or', 'xor' or a ')' for the '(' at character {start + 1}")
            return inside
        return self.take(*self.names) or self.refuse("a name, 'not' or '('")


def xor_network() -> tuple[Layer, dict[str, dict[str, Array]]]:
    """XOR wired by hand: a model of two dense layers with step activations, and its parameters.

    No single threshold unit computes XOR, since no line separates {(0, 1), (1, 0)} from {(0, 0), (1, 1)} (Minsky and
    Papert 1969). Two layers do: ``h1 = step(a + b - 0.5)`` is a or b, ``h2 = step(a + b - 1.5)`` is a and b, and the
    output ``step(h1 - h2 - 0.5)`` is h1 and not h2. The thresholds lie halfway between the possible sums.

    Returns:
      ``(model, params)``: ``model.apply(params, {}, x)[0]`` is XOR of the two columns of ``x``, shape (batch, 1).

    >>> model, params = xor_network()
    >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> print(model.apply(params, {}, x)[0].ravel())
    [0. 1. 1. 0.]
    """
    model = Sequential(Dense(2, "step"), Dense(1, "step"))
    params = {
        "dense": {"kernel": jnp.ones((2, 2), jnp.float32), "bias": jnp.array([-0.5, -1.5], jnp.float32)},
        "dense_1": {"kernel": jnp.array([[1.0], [-1.0]], jnp.float32), "bias": jnp.array([-0.5], jnp.float32)},
    }
    return model, params
