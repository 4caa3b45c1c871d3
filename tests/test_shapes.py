"""The shapes stated in docstrings, compared with those in calls of each function of arrays in the table of units.

The form:

- A shape is a tuple of sizes: a name (``units``), a number, a multiple (``4 units``), or a sum, difference, product or
  quotient (``in_features / groups``). ``*spatial`` and ``...`` match any number of axes. In one docstring a name
  has one value, as has ``...``; the name of an integer argument has the argument's value.
- Under Args, an entry states the argument's shape, ``x: (batch, features)``. Arrays of a dict or named tuple are named
  before their shapes, ``params: ``kernel`` (in_features, units) and ``bias`` (units,)``; the class of a named tuple may
  state them in its own docstring.
- Returns states the shape of the result in the same way; without that section, the text above the sections does.
- Several shapes are alternatives: ``x: (batch, features), or (batch,) integer ids``. Scalars need no shape.
- A missing shape is looked up in the functions that the docstring refers to: "as in `other`" for arguments and result,
  "from `other`" in the entry of an argument that `other` returns. The module's docstring is the last resort.
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import registry

import fnn
from fnn import losses, metrics

# Functions that the form does not fit.
FREE = {
    "apply_updates": "trees of any shapes",
    "global_norm": "a tree of any shapes",
    "generate_from": "the carry is a tree of any shapes",
    **dict.fromkeys(("top_k", "binned_auc"), "makes a metric"),
    **dict.fromkeys(("constant", "normal", "uniform"), "makes an initializer"),
}
# The units of functions of arrays; optimizers, penalties and schedules take trees and scalars.
ROOMS = ("ACTIVATION", "INITIALIZER", "FUNCTION", "LOSS", "METRIC", "DATA", "TEXT", "CLASSIC")

floats, integers, booleans = (partial(jnp.zeros, dtype=dtype) for dtype in (float, int, bool))
key = partial(jax.random.key, 0)


def more(function, run):
    """A call with other shapes than those in the table."""
    return registry.function(run, lambda draw, dtype: (), function, name="more")


MORE_UNITS = [
    more(fnn.lstm, lambda: fnn.lstm(fnn.lstm_init(key(), 7, 4), integers((2, 5)), mask=booleans((2, 5)))),
    more(fnn.lstm, lambda: fnn.lstm(fnn.lstm_init(key(), 3, 4), floats((2, 5, 3)), return_sequences=False)),
    more(fnn.gru, lambda: fnn.gru(fnn.gru_init(key(), 7, 4), integers((2, 5)), mask=booleans((2, 5)))),
    more(fnn.gru_init, lambda: fnn.gru_init(key(), 3, 4, reset_after=False)),
    more(
        fnn.simple_rnn_cell,
        lambda: fnn.simple_rnn_cell(
            fnn.simple_rnn_init(key(), 7, 4), fnn.SimpleRNNCarry(floats((2, 4))), integers((2,))
        ),
    ),
    more(fnn.batch_norm, lambda: fnn.batch_norm(*fnn.batch_norm_init(3), floats((2, 5, 3)), mask=booleans((2, 5)))),
    more(fnn.global_max_pool, lambda: fnn.global_max_pool(floats((2, 5, 4, 3)), True, mask=booleans((2, 5, 4)))),
    more(losses.mean_squared_error, lambda: losses.mean_squared_error(floats((2, 1)), floats((2,)))),
    more(
        losses.sparse_categorical_crossentropy,
        lambda: losses.sparse_categorical_crossentropy(floats((2, 5, 3)), integers((2, 5, 1))),
    ),
    more(metrics.accuracy, lambda: metrics.accuracy(floats((4, 1)), integers((4,)), sample_weight=floats((4,)))),
    more(metrics.accuracy, lambda: metrics.accuracy(floats((4, 3)), integers((4, 3)))),
    more(metrics.accuracy, lambda: metrics.accuracy(integers((4,)), integers((4,)))),
    more(
        metrics.confusion_matrix, lambda: metrics.confusion_matrix(floats((4, 3)), integers((4, 3)), multi_label=True)
    ),
    more(metrics.top_k_accuracy, lambda: metrics.top_k_accuracy(floats((4, 3)), integers((4, 3)), k=2)),
    more(metrics.rmse, lambda: metrics.rmse(floats((4, 1)), floats((4,)), sample_weight=floats((4,)))),
    more(metrics.reliability, lambda: metrics.reliability(floats((4, 1)), integers((4,)))),
    more(metrics.reliability, lambda: metrics.reliability(floats((4, 3)), integers((4, 3)))),
]
UNITS = [*(unit for room in ROOMS for unit in getattr(registry, f"{room}_UNITS")), *MORE_UNITS]
EXAMPLES = [
    (function, unit)
    for unit in UNITS
    for function in (getattr(covered, "func", covered) for covered in unit.covers)
    if inspect.isfunction(function)
]
FUNCTIONS = {function.__name__: function for function, _ in EXAMPLES}

TERM = r"(?:(?:\d+ )?[a-z]\w*|\d+)"
SIZE = rf"(?:\.\.\.|\*[a-z]\w*|{TERM}(?: [*/+-] {TERM})*)"
SHAPE = rf"\((?:|\.\.\.|{SIZE},|{SIZE}(?:, {SIZE})+)\)"
NAMED = rf"((?:``\w+``(?:,? and |, )?)+)(?:, each)? ({SHAPE}(?:,? or {SHAPE})*)"


def entries(thing):
    """The text of each argument or attribute in a docstring, and under "return" that of the result."""
    texts, names, section = {"return": ""}, ["return"], ""
    for line in (inspect.getdoc(thing) or "").partition(">>>")[0].splitlines():
        entry = re.match(r"  (\w+(?:, \w+)*): ", line)
        if re.fullmatch(r"\w+:", line):
            section, names = line, ["return"] if line == "Returns:" else []
            texts.update(dict.fromkeys(names, ""))
        elif section and line and not line.startswith(" "):
            section, names = "text below", []
        elif section in ("Args:", "Attributes:") and entry:
            names, line = entry[1].split(", "), line[entry.end() :]
        for name in names:
            texts[name] = f"{texts.get(name, '')} {line.strip()}"
    return texts


def stated(text):
    """The shapes in a text by the name before them, or under "" without one; other code is not read."""
    text = re.sub("``(.*?)``", lambda code: code[0] if code[1].isidentifier() else "", text)
    shapes = {"": re.findall(SHAPE, re.sub(NAMED, "", text))}
    for names, alternatives in re.findall(NAMED, text):
        shapes.update(dict.fromkeys(re.findall(r"``(\w+)``", names), re.findall(SHAPE, alternatives)))
    return shapes


def sources(function, argument):
    """The texts that may state a shape: the docstring's, then those it refers to, then the module's."""
    text = entries(function).get(argument, "")
    made = [name for name in re.findall(r"from `(\w+)`", text) if name in FUNCTIONS]
    others = [name for name in re.findall(r"as in `(\w+)`", inspect.getdoc(function) or "") if name in FUNCTIONS]
    yield text
    yield from (entries(FUNCTIONS[name])["return"] for name in made)
    yield from (entries(FUNCTIONS[name]).get(argument, "") for name in others)
    yield entries(sys.modules[function.__module__]).get(argument, "")


def fits(pairs, sizes):
    """Whether stated shapes, paired with those of arrays, agree; ``sizes`` holds the names known before."""
    sizes, terms = dict(sizes), []
    for text, shape in pairs:
        names, axes = re.findall(SIZE, text), list(shape)
        for i, name in enumerate(names):
            if name[0] in ".*":
                end = i + len(axes) - len(names) + 1
                axes[i:end] = [tuple(axes[i:end])]
        if len(names) != len(axes):
            return False
        for name, size in zip(names, axes, strict=True):
            if not re.fullmatch(r"[a-z]\w*|\*\w+|\.\.\.", name):
                terms.append((name, size))
            elif sizes.setdefault(name.lstrip("*"), size) != size:
                return False
    return all(evaluate(term, sizes) == size for term, size in terms)


def evaluate(term, sizes):
    """The value of a number, sum or product; None if it has an unknown name."""
    try:
        return eval(re.sub(r"(\d) (?=[a-z])", r"\1 * ", term), {"__builtins__": {}}, sizes)
    except NameError:
        return None


def arrays(value, name="", own=None):
    """The name and shape of each array in a value, and what the class states; a bare array has the name ""."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from arrays(part, key, own)
    elif hasattr(value, "_asdict"):
        texts = entries(type(value))
        for key, part in value._asdict().items():
            yield from arrays(part, key, stated(texts["return"]) | stated(texts.get(key, "")))
    elif isinstance(value, tuple):
        for part in value:
            yield from arrays(part)
    elif isinstance(value, jax.Array | np.ndarray) and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        yield name, value.shape, own.get(name) or own[""] if own else []


def mistakes(function, arguments, result):
    """The shapes that the docstring of a function does not state, or not as in this example of a call."""
    found, wanted = [], []
    for argument, value in {**arguments, "return": result}.items():
        texts = [stated(text) for text in sources(function, argument)]
        parts = list(arrays(value))
        for name, shape, own in parts:
            # Scalars need no shape: for them, only the docstring itself is read.
            shapes = next(filter(None, (text.get(name) for text in texts if shape or text is texts[0])), own)
            if shapes:
                wanted.append([(text, shape) for text in shapes])
            elif shape:
                found.append(f"no shape of {argument} {name}".strip())
        if parts:
            found += [f"no {name} in {argument}" for name in texts[0].keys() - {"", *(name for name, *_ in parts)}]
        elif value is None and "Array" in inspect.signature(function).parameters[argument].annotation:
            found += [] if any(text[""] for text in texts) else [f"no shape of {argument}"]
    sizes = {name: value for name, value in arguments.items() if is_size(value)}
    if not any(fits(choice, sizes) for choice in itertools.product(*wanted)):
        example = (f"{pairs[0][1]} for {' or '.join(text for text, _ in pairs)}" for pairs in wanted)
        found.append(f"shapes that do not agree: {', '.join(example)}")
    return found


def is_size(value):
    values = value if isinstance(value, tuple) else (value,)
    return all(type(size) is int and size > 0 for size in values)


def call(function, unit):
    """The arguments and the result of a function, traced, when a unit calls it with its example."""
    code, arguments, results = inspect.unwrap(function).__code__, [], []

    def watch(frame, event, value):
        if frame.f_code is code:
            if event == "call":
                arguments.append(dict(frame.f_locals))
            elif event == "return":
                results.append(value)

    fn, before = unit.make_fn(jnp.dtype("float32")), sys.getprofile()
    sys.setprofile(watch)
    try:
        jax.eval_shape(lambda *args: fn(*args), *unit.args(jnp.dtype("float32")))
    finally:
        sys.setprofile(before)
    return arguments[0], results[0]


@pytest.mark.parametrize(
    ("function", "unit"),
    [pytest.param(f, unit, id=f"{f.__name__} in {unit.name}") for f, unit in EXAMPLES if f.__name__ not in FREE],
)
def test_docstring_states_the_shapes(function, unit):
    assert mistakes(function, *call(function, unit)) == []


def test_free_functions_exist():
    assert FREE.keys() <= FUNCTIONS.keys()


GOOD = """Made up.

Args:
  params: ``kernel`` (features, 2 units) and, optionally,
    ``bias`` (2, units).
  x: (batch, ..., features), or (batch, ...) integer ids.
  mask: (batch,), read ``(never, here)``.

Returns:
  (batch, ..., units + 1).
"""


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("", "", None),
        ("(batch, ..., units + 1)", "(batch, 4, units + 1)", None),
        ("(batch, ..., units + 1)", "(batch, *steps, units + 1)", None),
        ("(batch, ..., units + 1)", "(batch, ..., units)", "do not agree"),
        ("(batch, ..., units + 1)", "(batch, ..., unit + 1)", "do not agree"),
        ("(batch, ..., units + 1)", "(batch, 5, units + 1)", "do not agree"),
        ("(batch, ..., units + 1)", "(..., batch, units + 1)", "do not agree"),
        ("(batch, ..., units + 1)", "(batch, units + 1)", "do not agree"),
        ("(batch, ..., features)", "(..., batch, features, other)", "do not agree"),
        ("(features, 2 units)", "(2 units, features)", "do not agree"),
        ("(batch, ..., features), or (batch, ...) integer ids", "of any shape", "no shape of x"),
        ("(batch,), read", "read", "no shape of mask"),
        ("  mask", "  masks", "no shape of mask"),
        ("(batch, ..., units + 1)", "(batch)", "no shape of return"),
        ("Returns", "Raises", "no shape of return"),
        ("``bias``", "``offset``", "no offset in params"),
        ("``bias``", "``offset``", "no shape of params bias"),
    ],
)
def test_mistakes_are_found(old, new, mistake):
    def made_up(params, x, mask: jax.Array | None = None): ...

    made_up.__doc__ = GOOD.replace(old, new)
    made_up.__module__ = registry.__name__
    params = {"kernel": jnp.zeros((3, 10)), "bias": jnp.zeros((2, 5))}
    found = mistakes(made_up, {"params": params, "x": jnp.zeros((7, 4, 3)), "mask": None}, jnp.zeros((7, 4, 6)))
    assert any(mistake in text for text in found) if mistake else not found


def test_references_hold_one_step():
    def made_up(predictions, targets):
        """Made up, as in `huber`, which refers to another."""

    p = jnp.zeros((4, 3))
    assert mistakes(made_up, {"predictions": p, "targets": p}, p[:, 0])[0] == "no shape of predictions"
    made_up.__doc__ = made_up.__doc__.replace("huber", "mean_squared_error")
    assert mistakes(made_up, {"predictions": p, "targets": p}, p[:, 0]) == []
    assert "do not agree" in mistakes(made_up, {"predictions": p, "targets": p}, p)[0]
