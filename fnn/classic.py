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
import keyword
import re
import unicodedata
import warnings
from functools import partial
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from ._checks import check_count, check_key, check_range, describe, fail, is_concrete, located
from ._dtypes import at_least_float32
from ._inputs import as_array
from .nn.activations import step
from .nn.dense import Dense, dense
from .nn.layer import Layer, Sequential

Array = jax.Array
Params = dict[str, Array]

__all__ = [
    "AND",
    "IDENTITY",
    "NAND",
    "NOR",
    "NOT",
    "OR",
    "Formula",
    "Node",
    "Perceptron",
    "TruthTable",
    "Unit",
    "at_least",
    "formula",
    "perceptron",
    "separable",
    "threshold_unit",
    "xor_network",
]

_TABLE_INPUTS = 12
"""A truth table of more inputs has too many rows to be read."""

_DECIDE_SIZE = 100_000
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


def _combinations(where: str, count: int) -> np.ndarray:
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
        rows = _combinations("Unit.table", len(_numbers_of(self)[0]))
        names = tuple(f"x{i + 1}" for i in range(rows.shape[1]))
        return TruthTable(names, ("y",), _table_rows(rows, [self(*rows.T)]))


def _table_rows(inputs: np.ndarray, outputs: list[Any]) -> tuple[tuple[int, ...], ...]:
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
        rows = _combinations("Formula.table", len(self.names))
        values = self.values(*rows.T)
        shown = [node.name for node in self.nodes] if units else [self.nodes[-1].name]
        heads = tuple(shown) if units else (self.text,)
        return TruthTable(self.names, heads, _table_rows(rows, [values[name] for name in shown]))


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


class Perceptron(NamedTuple):
    """What Rosenblatt's rule has found.

    Attributes:
      params: ``kernel`` (features, 1) and ``bias`` (1,), for `threshold_unit` and `fnn.dense`.
      errors: (epochs,) int32, how many rows each epoch corrected; the last number is 0 when the rule has ended.
      updates: their sum, all corrections made.
      converged: whether the last epoch found every row on its side.
      history: ``kernel`` (epochs, features, 1) and ``bias`` (epochs, 1) as they stood after each epoch.
      classes: (2,) the labels that `predict` gives, in the dtype of ``y``: False and True, 0 and 1, or -1 and 1.
    """

    params: Params
    errors: Array
    updates: Any
    converged: Any
    history: Params
    classes: Array

    def predict(self, x: Any) -> Array:
        """The class of each row: ``classes[1]`` where ``x @ kernel + bias >= 0``, else ``classes[0]``.

        Args:
          x: (..., features) numbers.

        Returns:
          (...), of the dtype of ``classes``.

        Raises:
          InputError: for another number of features, or NaN.
        """
        x = _floats("Perceptron.predict", x).astype(self.params["kernel"].dtype)
        with located("Perceptron.predict"):
            fires = threshold_unit(self.params, x)[..., 0] > 0
        return jnp.where(fires, self.classes[1], self.classes[0])


def perceptron(x: Any, y: Any, *, learning_rate: Any = 1.0, epochs: int = 100, key: Array | None = None) -> Perceptron:
    """Learn a threshold unit from examples by Rosenblatt's rule, row by row (Rosenblatt 1958).

    With ``s`` = 1 for rows of the class True and -1 for the others, a row is right if ``s (x @ w + b) > 0``. A row that
    is not right pulls the line towards its own side, and every other row leaves it alone::

        w <- w + learning_rate * s * x        b <- b + learning_rate * s

    A row on the line itself counts as wrong for either class, as in Novikoff's proof (and in scikit-learn), so that in
    the end no row lies there. The weights start at 0, so the learning rate only scales them, and any will do.

    The rule ends with the first epoch in which every row is right. If some ``(w, b)`` of length 1 has
    ``s (x @ w + b) >= g`` for every row, and no ``(x, 1)`` is longer than ``R``, at most ``(R / g)^2`` corrections are
    made before that (Novikoff 1962). If there is no such ``(w, b)``, it never happens: then ``converged`` is False, and
    a warning says whether more epochs can help.

    Args:
      x: (rows, features) numbers.
      y: (rows,) labels of two classes: False and True, 0 and 1, or -1 and 1. Of several classes single out one by
        comparing: ``y == 2``. If all rows are of one class, the rule soon names that class for every row, and has
        learned nothing else.
      learning_rate: a positive number; may be traced.
      epochs: at most so many rounds over the rows.
      key: a PRNG key for a new order of the rows in each epoch; default the order given.

    Returns:
      A `Perceptron`: parameters, history and `predict`. Inside a JAX transformation its arrays have ``epochs`` entries
      (errors of 0 and the last weights stand for epochs that were not needed), and values of x and y are not checked.

    Raises:
      InputError: for shapes that do not fit, labels of three classes or more, NaN, no rows, or numbers out of range.

    >>> x, y = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), jnp.array([0, 0, 0, 1])
    >>> found = perceptron(x, y)
    >>> found.errors.tolist(), found.converged, found.predict(x).tolist()
    ([2, 3, 3, 2, 2, 3, 2, 1, 0], True, [0, 0, 0, 1])
    >>> print(found.params["kernel"].ravel(), found.params["bias"])
    [3. 2.] [-4.]
    """
    where = "perceptron"
    x, y = _examples(where, x, y)
    check_range(where, "learning_rate", learning_rate, 0, open_low=True)
    check_count(where, "epochs", epochs)
    if key is not None:
        check_key(where, key)
    # A comparison of booleans with 0 would have a weak type, and a compilation of its own.
    positive = y if y.dtype == jnp.bool_ else y > 0
    # With weights that start at 0 the rate only scales them: with rate 1, which rounds nothing for whole numbers, the
    # rule makes the same mistakes, and the scale comes last.
    wide = x.astype(at_least_float32(x.dtype))
    params, errors, history, ran = _learn(wide, positive, key, epochs=int(epochs))
    rate = jnp.asarray(learning_rate, wide.dtype)
    params, history = jax.tree.map(lambda a: (rate * a).astype(x.dtype), (params, history))
    if not is_concrete(errors):
        return Perceptron(params, errors, errors.sum(), errors[-1] == 0, history, _classes(y))
    # Cut in NumPy, which compiles nothing for each length.
    errors, history = jax.tree.map(lambda values: jnp.asarray(np.asarray(values)[: int(ran)]), (errors, history))
    *_, left = counts = np.asarray(errors).tolist()
    if left:
        _warn(x, y, left, len(counts))
    return Perceptron(params, errors, sum(counts), left == 0, history, _classes(y))


def _classes(y: Array) -> Array:
    """The two labels of the kind that ``y`` is of."""
    if y.dtype == jnp.bool_:
        return jnp.array([False, True])
    xp = np if is_concrete(y) else jnp
    low = xp.where((xp.asarray(y) < 0).any(), -1, 0)
    return jnp.asarray(xp.stack([low, xp.ones_like(low)]).astype(y.dtype))


@partial(jax.jit, static_argnames="epochs")
def _learn(x: Array, y: Array, key: Array | None, *, epochs: int) -> tuple[Params, Array, Params, Array]:
    """Parameters, errors per epoch, parameters after each epoch, and the number of epochs that were needed."""
    rows, features = x.shape
    side = jnp.where(y, 1, -1).astype(x.dtype)

    def correct(weights: tuple[Array, Array], row: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (kernel, bias), (features, s) = weights, row
        # A sum of products, as a matrix product would have fewer digits on some devices.
        wrong = ~(s * ((features * kernel).sum() + bias) > 0)
        push = jnp.where(wrong, s, jnp.zeros_like(s))
        return (kernel + push * features, bias + push), wrong

    def epoch(state: Any) -> Any:
        t, _, weights, errors, kernels, biases = state
        data = (x, side)
        if key is not None:
            order = jax.random.permutation(jax.random.fold_in(key, t), rows)
            data = (x[order], side[order])
        weights, wrong = jax.lax.scan(correct, weights, data)
        left = wrong.sum(dtype=jnp.int32)
        return t + 1, left, weights, errors.at[t].set(left), kernels.at[t].set(weights[0]), biases.at[t].set(weights[1])

    zero = jnp.zeros((), x.dtype)
    weights = (jnp.zeros(features, x.dtype), zero)
    empty = jnp.zeros(epochs, jnp.int32), jnp.zeros((epochs, features), x.dtype), jnp.zeros(epochs, x.dtype)
    start = (jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32), weights, *empty)
    ran, _, (kernel, bias), errors, kernels, biases = jax.lax.while_loop(
        lambda state: (state[0] < epochs) & (state[1] > 0), epoch, start
    )
    needed = jnp.arange(epochs, dtype=ran.dtype) < ran
    kernels, biases = jnp.where(needed[:, None], kernels, kernel), jnp.where(needed, biases, bias)
    history = {"kernel": kernels[..., None], "bias": biases[:, None]}
    return {"kernel": kernel[:, None], "bias": bias[None]}, errors, history, ran


def _warn(x: Array, y: Array, left: int, epochs: int) -> None:
    """Say why the rule did not end."""
    if x.size > _DECIDE_SIZE:
        reason = "More epochs may do; separable(x, y) tells whether any number can."
    elif separable(x, y):
        reason = "A line that separates the classes exists, so more epochs will find one: pass a larger epochs=."
    else:
        reason = "No line separates the classes, so the rule never ends, however many epochs it is given."
    text = f"perceptron: {left} of {len(x)} rows were still wrong in epoch {epochs}. {reason}"
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def separable(x: Any, y: Any) -> bool:
    """Whether some line (or plane) has all rows of one class strictly on one side and the others on the other.

    Decided by a linear programme, not by trying. Such a line exists unless a mixture of rows of one class equals a
    mixture of rows of the other (unless their convex hulls meet). With ``s`` = 1 or -1 by class, the most of a mixture
    that is possible::

        maximize  sum_i l_i   with   sum_i l_i s_i (x_i, 1) = 0,   0 <= l_i <= 1

    is 0 if there is such a line, and at least 2 if not. The multipliers of the solution are the line, which is checked.
    Each feature is scaled to [-1, 1] before, which changes nothing in the answer. Gaps are seen down to a few
    thousand-millionths of the range of the data.

    Args:
      x: (rows, features) numbers.
      y: (rows,) labels of two classes: False and True, 0 and 1, or -1 and 1. One class alone is separable.

    Raises:
      InputError: for shapes that do not fit, labels of three classes or more, NaN, no rows, or traced arrays.

    >>> x = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> separable(x, [0, 0, 0, 1]), separable(x, [0, 1, 1, 0])
    (True, False)
    """
    from scipy.optimize import linprog

    if not (is_concrete(x) and is_concrete(y)):
        fail("separable", expected="arrays of values", got="traced ones", hint="Call it outside of jit and vmap.")
    _, labels = _examples("separable", x, y)
    x, y = np.asarray(x, np.float64), np.asarray(labels) > 0
    low, high = x.min(0), x.max(0)
    x = (x - (low + high) / 2) / np.where(high > low, (high - low) / 2, 1.0)
    rows = np.where(y, 1.0, -1.0)[:, None] * np.column_stack([x, np.ones(len(x))])
    out = linprog(
        -np.ones(len(rows)),
        A_eq=rows.T,
        b_eq=np.zeros(rows.shape[1]),
        bounds=(0, 1),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if out.status != 0:
        raise RuntimeError(f"separable: the linear programme was not solved: {out.message}")
    return bool((rows @ -out.eqlin.marginals > 0).all())


def _floats(where: str, x: Any) -> Array:
    """Numbers as a floating-point array, refused where they are not finite."""
    x = as_array(f"{where}, x", x)
    x = jnp.asarray(x, None if jnp.issubdtype(x.dtype, jnp.floating) else float)
    if is_concrete(x) and not (finite := np.isfinite(np.asarray(x))).all():
        place = tuple(np.argwhere(~finite)[0].tolist())
        fail(where, expected="finite numbers in x", got=f"{np.asarray(x)[place]} at {place}")
    return x


def _examples(where: str, x: Any, y: Any) -> tuple[Array, Array]:
    """Rows of features, and a label of two classes for each."""
    x = _floats(where, x)
    if x.ndim != 2 or 0 in x.shape:
        hint = "Use x[:, None] for one feature." if x.ndim == 1 and x.size else ""
        fail(where, expected="x of shape (rows, features)", got=describe(x), hint=hint)
    names = "labels of two classes: False and True, 0 and 1, or -1 and 1"
    hint = "Compare to single out one class, e.g. y == 2 or y == 'setosa'."
    y = jnp.asarray(as_array(f"{where}, y", y))
    if y.shape != x.shape[:1]:
        fix = "Use y[:, 0]." if y.shape == (x.shape[0], 1) else ""
        fail(where, expected=f"y of shape ({x.shape[0]},), a label per row", got=describe(y), hint=fix)
    if is_concrete(y):
        found = np.unique(np.asarray(y, np.float64))
        if not (set(found) <= {0.0, 1.0} or set(found) <= {-1.0, 1.0}):
            shown = ", ".join(f"{value:g}" for value in found[:5]) + (", ..." if len(found) > 5 else "")
            fail(where, expected=names, got=shown, hint=hint)
    return x, y
