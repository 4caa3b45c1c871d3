"""Text as numbers: a character vocabulary, overlapping windows, and sampling of new text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ._core.arrays import as_array
from ._core.checks import check_count, check_float, check_key, check_range, is_concrete
from ._core.dtypes import at_least_float32
from ._core.errors import describe, fail, located
from ._core.jaxprs import last_operations
from ._core.types import Array

Carry = TypeVar("Carry")


class Vocabulary(NamedTuple):
    """The symbols of a text, each numbered by its place. ``size`` is how many there are.

    >>> vocabulary = Vocabulary.of("banana")
    >>> vocabulary.size
    3
    >>> vocabulary.symbols, vocabulary.encode("nab").tolist(), vocabulary.decode([1, 0, 2])
    ('abn', [2, 0, 1], 'ban')
    """

    symbols: str

    @classmethod
    def of(cls, text: str | Iterable[str]) -> Vocabulary:
        """The sorted symbols of a text, or of several texts."""
        return cls("".join(sorted(set("".join(text)))))

    @property
    def size(self) -> int:
        """The number of symbols, for a model's last layer. (``len`` counts the fields of the tuple.)"""
        return len(self.symbols)

    def encode(self, text: str, unknown: str | None = None) -> np.ndarray:
        """Numbers of the characters, (length,) int32.

        Args:
          text: of any length.
          unknown: a symbol of the vocabulary that takes the place of every character that is not in it; by default
            such characters are refused.

        Raises:
          InputError: for characters that are not in the vocabulary, and for an ``unknown`` that is not.

        >>> Vocabulary("abn ").encode("an bad", unknown=" ").tolist()
        [0, 2, 3, 1, 0, 3]
        """
        if not isinstance(text, str):
            fail("encode", expected="a text", got=describe(text))
        number = {symbol: i for i, symbol in enumerate(self.symbols)}
        if unknown is not None:
            if unknown not in number:
                expected = f"unknown to be one of the {self.size} symbols of the vocabulary"
                fail("encode", expected=expected, got=repr(unknown))
            return np.array([number.get(c, number[unknown]) for c in text], np.int32)
        strangers = sorted(set(text) - number.keys())
        if strangers:
            fail(
                "encode",
                expected=f"only the {self.size} symbols of the vocabulary",
                got=f"also {strangers[:10]}",
                hint="Pass unknown=' ', or another symbol, to put that in their place.",
            )
        return np.array([number[c] for c in text], np.int32)

    def decode(self, numbers: Any) -> str:
        """The text of some numbers.

        Raises:
          InputError: for anything but integers in ``[0, size)``.
        """
        numbers = np.asarray(as_array("decode", numbers, fits=False))
        if not numbers.size:
            return ""
        if not np.issubdtype(numbers.dtype, np.integer):
            fail("decode", expected="integers", got=describe(numbers), hint="Numbers of symbols, not their logits.")
        if numbers.min() < 0 or numbers.max() >= self.size:
            fail("decode", expected=f"numbers in [0, {self.size})", got=f"{numbers.min()} to {numbers.max()}")
        return "".join(self.symbols[i] for i in numbers.ravel())


def windows(ids: Any, length: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping windows of a sequence, and the symbol that follows each.

    Args:
      ids: (total,) integers.
      length: of a window.
      step: from the start of one window to the next.

    Returns:
      ``(x, y)``: (count, length) and (count,), with ``count = ceil((total - length) / step)``.

    Raises:
      InputError: when the sequence is no longer than a window.

    >>> x, y = windows([0, 1, 2, 3, 4], length=3)
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2], [1, 2, 3]], [3, 4])
    """
    check_count("windows", "length", length)
    check_count("windows", "step", step)
    if isinstance(ids, str):
        fail("windows", expected="numbers", got="a text", hint="Encode it first: vocabulary.encode(text).")
    ids = np.asarray(as_array("windows, ids", ids, fits=False))
    if ids.ndim != 1:
        fail("windows", expected="a sequence of numbers, (total,)", got=describe(ids))
    if len(ids) <= length:
        hint = "The symbol that follows a window is needed too."
        fail("windows", expected=f"a sequence of more than {length} symbols", got=str(len(ids)), hint=hint)
    starts = np.arange(0, len(ids) - length, step)
    return np.lib.stride_tricks.sliding_window_view(ids, length)[starts], ids[starts + length]


def _check_sampling(where: str, temperature: Any, top_k: Any) -> None:
    check_range(where, "temperature", temperature, 0)
    if top_k is not None:
        check_count(where, "top_k", top_k)


def sample(
    key: Array, logits: Array, temperature: Any = 1.0, top_k: int | None = None, *, from_logits: bool = True
) -> Array:
    """Draw a class number from ``softmax(logits / temperature)``; temperature 0 takes the largest.

    Args:
      key: a PRNG key.
      logits: (..., classes).
      temperature: at least 0; may be traced. Low values keep to what is likely, high ones are bolder.
      top_k: draw from the ``top_k`` most likely classes only (of equally likely ones the first); default all.
      from_logits: False if ``logits`` holds probabilities p; then their logarithms are the logits. A class of
        probability 0 is never drawn.

    Returns:
      (...) int32; -1 where a traced row leaves nothing to draw from, since it holds NaN or nothing but -infinity.

    Raises:
      InputError: for a negative temperature, a ``top_k`` below 1 or above the number of classes, rows that leave
        nothing to draw from, and negative probabilities.

    >>> import jax, jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([0.1, 0.6, 0.3]))
    >>> keys = jax.random.split(jax.random.key(0), 1000)
    >>> drawn = jax.vmap(lambda key: sample(key, logits, top_k=2))(keys)
    >>> sorted(set(drawn.tolist()))
    [1, 2]
    """
    check_key("sample", key)
    logits = jnp.asarray(as_array("sample, logits", logits))
    check_float("sample", logits, "Logits are what the last layer gives, e.g. Dense(symbols) without an activation.")
    if logits.ndim == 0 or logits.shape[-1] == 0:
        fail("sample", expected="logits of shape (..., classes)", got=describe(logits))
    _check_sampling("sample", temperature, top_k)
    if top_k is not None and top_k > logits.shape[-1]:
        fail("sample", expected=f"top_k to be at most {logits.shape[-1]}, the number of classes", got=str(top_k))
    # Narrow types are widened, since they have too few distinct numbers for the noise of an unlikely class.
    wide = logits.astype(at_least_float32(logits.dtype))
    if not from_logits:
        wide = jnp.log(wide)  # NaN for a negative one
    _check_drawable(wide, from_logits)
    empty = jnp.isnan(wide).any(-1) | (wide == -jnp.inf).all(-1)
    # argmax(logits / t + noise) draws from the softmax (Gumbel 1954). Times t it holds at t = 0 too; only above 1,
    # where the noise could overflow, the logits are divided.
    t, one = jnp.asarray(temperature, wide.dtype), jnp.ones((), wide.dtype)
    noise = jnp.minimum(t, one) * jax.random.gumbel(key, wide.shape, wide.dtype)
    # Less the largest: beside large logits the noise would be lost.
    largest = jnp.max(wide, -1, keepdims=True)
    wide = (wide - jnp.where(jnp.isfinite(largest), largest, jnp.zeros_like(largest))) / jnp.maximum(t, one)
    if top_k is None:
        drawn = jnp.argmax(wide + noise, -1)
    else:
        best, classes = jax.lax.top_k(wide, top_k)
        place = jnp.argmax(best + jnp.take_along_axis(noise, classes, -1), -1, keepdims=True)
        drawn = jnp.take_along_axis(classes, place, -1)[..., 0]
    drawn = drawn.astype(jnp.int32)
    return jnp.where(empty, jnp.full_like(drawn, -1), drawn)


def _check_drawable(logits: Array, from_logits: bool) -> None:
    """Refuse rows with known values that leave nothing to draw from."""
    if not is_concrete(logits):
        return
    if np.isnan(np.asarray(logits)).any():
        if from_logits:
            fail("sample", expected="logits without NaN", got="NaN", hint="Has training diverged?")
        fail("sample", expected="probabilities of at least 0", got="a negative one or NaN")
    if (np.asarray(logits) == -np.inf).all(-1).any():
        what = "logits above -infinity" if from_logits else "probabilities above 0"
        fail("sample", expected=f"{what} in each row", got="a row without")


_WITHOUT = (
    "from_logits=True if they are logits, which is best: a last Dense(symbols) without an activation; "
    "from_logits=False if they are probabilities"
)


def _are_logits(where: str, ending: str | None, from_logits: bool | None) -> bool:
    """Whether a model's outputs are logits, as said or as its last operation tells."""
    if not (from_logits is None or isinstance(from_logits, (bool, np.bool_))):
        fail(where, expected="from_logits to be True, False or None", got=repr(from_logits))
    if from_logits is not None:
        return bool(from_logits)
    if ending == "sigmoid":
        fail(
            where,
            expected="logits, or probabilities of a softmax",
            got="the outputs of a sigmoid",
            hint=f"Pass {_WITHOUT}.",
        )
    return ending != "softmax"


def _ending(fn: Callable[..., Any], *args: Any) -> tuple[str | None, Any]:
    """The last operation before a function's last output, and the shapes of all, from one trace."""
    closed, out = jax.make_jaxpr(fn, return_shape=True)(*args)
    return (last_operations(closed) or [None])[-1], out


def _ids(where: str, name: str, ids: Any) -> Array:
    """A sequence of at least one symbol as an array."""
    if isinstance(ids, str):
        fail(where, expected=f"{name} of numbers", got="a text", hint="Encode it first: vocabulary.encode(text).")
    ids = jnp.asarray(as_array(f"{where}, {name}", ids))
    if ids.ndim != 1 or ids.shape[0] == 0:
        fail(where, expected=f"{name} of at least one symbol, (length,)", got=str(ids.shape))
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        fail(where, expected=f"{name} of integers, the numbers of symbols", got=describe(ids))
    if is_concrete(ids) and (least := np.asarray(ids).min()) < 0:
        fail(where, expected=f"{name} of numbers from 0", got=str(least))
    return ids.astype(jnp.int32)


def generate_from(
    step: Callable[[Carry, Array], tuple[Carry, Array]],
    carry: Carry,
    prompt: Any,
    key: Array,
    length: int,
    temperature: Any = 1.0,
    top_k: int | None = None,
    *,
    from_logits: bool | None = None,
) -> Array:
    """Continue a sequence with a model that keeps a carry: read the prompt, then draw a symbol, read it, and so on.

    Each symbol is read once, so that a new one costs the same however long the text before it is, and all of that
    text counts. Wrap the call in `jax.jit` to compile it once for many calls, and in `jax.vmap` for many texts at once.

    Args:
      step: ``step(carry, symbol) -> (carry, logits)``, from a symbol () int32 to logits (symbols,) for the next one. A
        pure function that JAX can trace; the carry is any pytree and keeps its shapes and dtypes.
      carry: what the first step starts from.
      prompt: (time,) integers, at least one: what comes after that which the carry already stands for.
      key: a PRNG key; the same key gives the same text.
      length: how many symbols to add.
      temperature, top_k: see `sample`.
      from_logits: whether the step gives logits (True) or probabilities (False). Default None: probabilities if a
        softmax is its last operation, else logits.

    Returns:
      (length,) int32; -1 from where the step gives NaN on.

    Raises:
      InputError: for an empty prompt, a length below 1, a negative temperature, a ``top_k`` below 1 or above the number
        of symbols, and a step that returns anything else.

    An LSTM over 5 symbols, at temperature 0, beside the same LSTM that reads the whole text again for each symbol:

    >>> import jax, jax.numpy as jnp, fnn
    >>> keys = jax.random.split(jax.random.key(0))
    >>> params = {"lstm": fnn.lstm_init(keys[0], 5, 8), "dense": fnn.dense_init(keys[1], 8, 5)}
    >>> def step(carry, symbol):
    ...     carry, h = fnn.lstm_cell(params["lstm"], carry, symbol[None])
    ...     return carry, fnn.dense(params["dense"], h)[0]
    >>> start = fnn.LSTMCarry(h=jnp.zeros((1, 8)), c=jnp.zeros((1, 8)))
    >>> new = generate_from(step, start, [3, 1, 4], jax.random.key(1), 4, temperature=0)
    >>> text = [3, 1, 4]
    >>> for _ in range(4):
    ...     hs, _ = fnn.lstm(params["lstm"], jnp.array([text]))
    ...     text.append(int(fnn.dense(params["dense"], hs[0, -1]).argmax()))
    >>> text[3:] == new.tolist()
    True
    """
    where = "generate_from"
    check_key(where, key)
    check_count(where, "length", length)
    _check_sampling(where, temperature, top_k)
    ids = _ids(where, "a prompt", prompt)
    carry = jax.tree.map(jnp.asarray, carry)
    logits = _are_logits(where, _check_step(where, step, carry), from_logits)
    # The last symbol of the prompt is read together with those drawn; logits for the others are not even computed.
    carry, _ = jax.lax.scan(lambda carry, symbol: (step(carry, symbol)[0], None), carry, ids[:-1])
    return _continue(step, carry, ids[-1], key, length, temperature, top_k, logits)


def _check_step(where: str, step: Callable[..., Any], carry: Any) -> str | None:
    """The last operation of a step, after a check that it gives the carry it was given and one row of logits."""
    ending, out = _ending(step, carry, jax.ShapeDtypeStruct((), jnp.int32))
    if not (isinstance(out, tuple) and len(out) == 2):
        fail(where, expected="step(carry, symbol) to return (carry, logits)", got=describe(out))
    came, was = (jax.tree.map(describe, tree) for tree in (out[0], carry))
    if jax.tree.flatten(came) != jax.tree.flatten(was):
        hint = "Each step gets the carry of the step before, so its structure, shapes and dtypes stay."
        fail(where, expected=f"step to return a carry like the one it got, {was}", got=str(came), hint=hint)
    if jnp.ndim(out[1]) != 1:
        hint = "A step reads one symbol; take row 0 of a batch of one." if jnp.ndim(out[1]) == 2 else ""
        fail(where, expected="step to return logits of shape (symbols,)", got=describe(out[1]), hint=hint)
    return ending


def _continue(
    step: Callable[[Any, Array], tuple[Any, Array]],
    carry: Any,
    symbol: Array,
    key: Array,
    length: int,
    temperature: Any,
    top_k: int | None,
    from_logits: bool,
) -> Array:
    """Read a symbol, draw the next, ``length`` times: the one loop behind all generation."""

    def body(state: tuple[Any, Array], key: Array) -> tuple[tuple[Any, Array], Array]:
        carry, logits = step(*state)
        symbol = sample(key, logits, temperature, top_k, from_logits=from_logits)
        return (carry, symbol), symbol

    return jax.lax.scan(body, (carry, symbol), jax.random.split(key, length))[1]


def generate(
    predict: Callable[[Array], Array],
    key: Array,
    window: Any,
    length: int,
    temperature: Any = 1.0,
    top_k: int | None = None,
    *,
    from_logits: bool | None = None,
) -> Array:
    """Continue a sequence: predict the next symbol from the last window, draw it, move the window, and so on.

    Args:
      predict: from windows (1, width) int32 to logits (1, symbols); e.g.
        ``lambda ids: task.model.apply(ts.params, ts.state, ids)[0]``. A pure function that JAX can trace.
      key: a PRNG key; the same key gives the same text.
      window: (width,) integers to start from.
      length: how many symbols to add.
      temperature, top_k: see `sample`.
      from_logits: whether ``predict`` gives logits (True) or probabilities (False). Default None: probabilities if a
        softmax is its last operation, else logits.

    Returns:
      (length,) int32; -1 from where ``predict`` gives NaN on.

    Raises:
      InputError: for an empty window, a length below 1, a negative temperature, a ``top_k`` below 1 or above the number
        of symbols, and a ``predict`` that returns anything else.

    Here the next symbol is the first of the window plus 1, modulo 7:

    >>> import jax
    >>> print(generate(lambda ids: jax.nn.one_hot((ids[:, 0] + 1) % 7, 7), jax.random.key(0), [0, 3], 6, temperature=0))
    [1 4 2 5 3 6]
    """
    check_key("generate", key)
    check_count("generate", "length", length)
    _check_sampling("generate", temperature, top_k)
    ids = _ids("generate", "a window", window)
    ending, _ = _ending(predict, jax.ShapeDtypeStruct((1, *ids.shape), jnp.int32))
    are_logits = _are_logits("generate", ending, from_logits)

    def step(window: Array, symbol: Array) -> tuple[Array, Array]:
        window = jnp.concatenate([window[1:], symbol[None]])
        logits = predict(window[None])
        if jnp.ndim(logits) != 2 or logits.shape[0] != 1:
            hint = "Is return_sequences=True in the last recurrent layer?" if jnp.ndim(logits) > 2 else ""
            fail("generate", expected="predict to return logits (1, symbols)", got=describe(logits), hint=hint)
        return window, logits[0]

    # A window is a carry that each step pushes its symbol into: here one place back, with anything in front.
    return _continue(step, jnp.roll(ids, 1), ids[-1], key, length, temperature, top_k, are_logits)


@partial(jax.jit, static_argnames=("model", "length", "top_k", "symbols", "from_logits"))
def _generate(
    model: Any,
    params: Any,
    state: Any,
    key: Array,
    window: Array,
    temperature: Any,
    *,
    length: int,
    top_k: int | None,
    symbols: int,
    from_logits: bool | None,
) -> tuple[Array, Array]:
    """The new symbols, and whether outputs taken for logits look like probabilities."""

    def predict(ids: Array) -> Array:
        with located(f"a prompt of {ids.shape[1]} characters"):
            logits = model.apply(params, state, ids)[0]
        if jnp.ndim(logits) == 2 and logits.shape[1] != symbols:
            expected = f"a model that gives logits of the vocabulary's {symbols} symbols"
            fail("generate_text", expected=expected, got=describe(logits))
        return logits

    ids = generate(predict, key, window, length, temperature, top_k, from_logits=from_logits)
    if from_logits is not None or _ending(predict, window[None])[0] is not None:
        return ids, jnp.zeros((), bool)
    row = predict(window[None])[0]
    row = row.astype(at_least_float32(row.dtype))
    return ids, (row >= 0).all() & (jnp.abs(row.sum() - 1) < _NEAR_ONE)


_NEAR_ONE = 0.01  # how far sums of half-precision probabilities may be from 1


def generate_text(
    model: Any,
    params: Any,
    state: Any,
    vocabulary: Vocabulary,
    prompt: str,
    key: Array,
    *,
    length: int = 200,
    temperature: Any = 1.0,
    top_k: int | None = None,
    width: int | None = None,
    unknown: str | None = None,
    from_logits: bool | None = None,
) -> str:
    """Continue a text with a model of windows, compiled once per model, window width, length and ``top_k``.

    Args:
      model: a `Layer` from windows (batch, width) of symbol numbers to logits, or the probabilities of a softmax,
        (batch, ``vocabulary.size``); of a task it is ``task.model``.
      params, state: its parameters and state, e.g. ``ts.params, ts.state``.
      vocabulary: of the model's symbols.
      prompt: the text to continue.
      key: a PRNG key; the same key gives the same text.
      length: how many characters to add.
      temperature: at least 0; 0 always takes the most likely character.
      top_k: draw from the ``top_k`` most likely characters only; default all.
      width: of the window. Only the last ``width`` characters of the prompt are used then. By default the whole prompt
        is the window, of any length that the model takes. A prompt longer than the windows in training should be cut
        to their length with it, since the model has never seen longer ones.
      unknown: a symbol that takes the place of characters which the vocabulary lacks; by default they are refused.
      from_logits: whether the model gives logits (True) or probabilities (False), which give the same text. Default
        None: probabilities if the model ends in a softmax, else logits; outputs of another model that look like
        probabilities are refused.

    Returns:
      The new characters, without the prompt.

    Raises:
      InputError: for something else than a model, an empty prompt or one shorter than ``width``, unknown characters, a
        negative temperature, a ``top_k`` below 1 or above the number of symbols, a model of another number of
        symbols or one that gives NaN, or outputs of which it is not clear whether they are logits.

    >>> import jax, jax.numpy as jnp, fnn
    >>> vocabulary = Vocabulary.of("hello world")
    >>> model = fnn.Sequential(fnn.LSTM(8, input_dim=8), fnn.Dense(8))
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((1, 5), int))
    >>> new = generate_text(model, params, state, vocabulary, "a whole world", jax.random.key(1), length=20,
    ...                     width=5, unknown=" ")
    >>> len(new), set(new) <= set("hello world")
    (20, True)
    """
    where = "generate_text"
    if not callable(getattr(model, "apply", None)):
        hint = "Pass task.model." if hasattr(model, "model") else ""
        fail(where, expected="a Layer as model", got=f"a {type(model).__name__}", hint=hint)
    check_key(where, key)
    check_count(where, "length", length)
    _check_sampling(where, temperature, top_k)
    if not isinstance(prompt, str):
        fail(where, expected="a text as prompt", got=describe(prompt))
    if width is not None:
        check_count(where, "width", width)
        if len(prompt) < width:
            missing = f"{len(prompt)}, {width - len(prompt)} too few"
            fail(where, expected=f"a prompt of at least {width} characters, the width of the window", got=missing)
        prompt = prompt[len(prompt) - width :]
    if not prompt:
        fail(where, expected="a prompt of at least one character", got="an empty one")
    window = jnp.asarray(vocabulary.encode(prompt, unknown))
    _are_logits(where, None, from_logits)
    ids, unclear = _generate(
        model,
        params,
        state,
        key,
        window,
        jnp.asarray(temperature, jnp.float32),
        length=int(length),
        top_k=None if top_k is None else int(top_k),
        symbols=vocabulary.size,
        from_logits=None if from_logits is None else bool(from_logits),
    )
    if unclear:
        fail(where, expected="logits", got="outputs that sum to 1, like probabilities", hint=f"Pass {_WITHOUT}.")
    if (np.asarray(ids) < 0).any():
        fail(where, expected="a model that gives numbers", got="NaN", hint="Has training diverged?")
    return vocabulary.decode(ids)
