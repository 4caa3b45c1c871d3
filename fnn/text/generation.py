"""Sampling symbols, and generating texts from models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import check_count, check_float, check_key, check_range, is_concrete, renamed
from .._core.dtypes import at_least_float32
from .._core.errors import counted, describe, fail, hinted, located
from .._core.jaxprs import Ending, traced_endings
from .._core.trees import shape_of
from .._core.typed import array_spec, jit
from .._core.types import AnyArray, Array, ArrayLike, PyTree
from .._core.warn import warn
from ..nn.cache import add_caches, cache_shapes
from ..nn.layer import Layer
from ..training.state import TrainState, check_state, check_task
from ..training.task import Task
from .vocabulary import ENCODE_HINT, Vocabulary

Carry = TypeVar("Carry")
P = ParamSpec("P")
Step = Callable[[Carry, Array], tuple[Carry, Array]]  # (carry, symbol) -> (carry, logits of the next symbol)


def _check_sampling(where: str, key: Array, temperature: ArrayLike, top_k: int | None, length: int = 1) -> None:
    check_key(where, key)
    check_count(where, "length", length)
    check_range(where, "temperature", temperature, 0)
    if top_k is not None:
        check_count(where, "top_k", top_k)


def sample(
    key: Array,
    logits: ArrayLike,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    *,
    from_logits: bool | None = None,
) -> Array:
    """Draw a class index from ``softmax(logits / temperature)``; at temperature 0, take the most likely class.

    Args:
      key: a PRNG key.
      logits: (..., classes).
      temperature: at least 0; may be traced. Lower values favour likely classes, higher values increase variety.
      top_k: draw only from the ``top_k`` most likely classes (ties: the first ones); default all classes.
      from_logits: True for logits; False for probabilities p, whose logits are log p: a class of probability 0 is never
        drawn. Default None: logits, with a warning for rows that look like probabilities, unless they are traced.

    Returns:
      (...) int32; -1 for a traced row that contains NaN or only -infinity.

    Raises:
      InputError: for a negative temperature or probability, probabilities that do not sum to 1, ``top_k`` outside
        [1, classes], NaN, or rows of -infinity.

    >>> logits = jnp.log(jnp.array([0.1, 0.6, 0.3]))
    >>> keys = jax.random.split(jax.random.key(0), 1000)
    >>> drawn = jax.vmap(lambda key: sample(key, logits, top_k=2))(keys)
    >>> sorted(set(drawn.tolist()))
    [1, 2]
    """
    _check_sampling("sample", key, temperature, top_k)
    scores = jnp.asarray(as_array("sample, logits", logits))
    check_float("sample", scores, "Logits are the outputs of a last layer without an activation: Dense(symbols).")
    if scores.ndim == 0 or scores.shape[-1] == 0:
        fail("sample", expected="logits of shape (..., classes)", got=describe(scores))
    if top_k is not None and top_k > scores.shape[-1]:
        fail("sample", expected=f"top_k to be at most {scores.shape[-1]}, the number of classes", got=str(top_k))
    # Half precision has too few distinct values for the noise of an unlikely class.
    wide = scores.astype(at_least_float32(scores.dtype))
    if is_concrete(wide):
        _check_drawable(np.asarray(wide), from_logits)
    if not _are_logits("sample", None, from_logits):
        wide = jnp.log(wide)  # NaN for a negative probability
    empty = jnp.isnan(wide).any(-1) | (wide == -jnp.inf).all(-1)
    # argmax(logits / t + noise) draws from the softmax (Gumbel 1954). Scaling both terms by t extends this to t = 0;
    # above t = 1, where the scaled noise could overflow, the logits are divided instead.
    t, one = jnp.asarray(temperature, wide.dtype), jnp.ones((), wide.dtype)
    noise = jnp.minimum(t, one) * jax.random.gumbel(key, wide.shape, wide.dtype)
    # Subtracting the maximum keeps the noise from being rounded away beside large logits.
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


def _check_drawable(rows: np.ndarray, from_logits: bool | None) -> None:
    """Reject rows that contain NaN, no class to draw, or no probabilities; warn of logits that may be some."""
    if np.isnan(rows).any():
        what = "logits" if from_logits is None or from_logits else "probabilities"
        fail("sample", expected=f"{what} without NaN", got="NaN", hint="Has training diverged?")
    sums_to_1 = _is_1(rows.sum(-1, dtype=np.float64))
    if from_logits is not None and not from_logits:
        if (least := rows.min(initial=0)) < 0:
            hint = "Are they logits? Leave from_logits=False out."
            fail("sample", expected="probabilities of at least 0", got=f"{least:g}", hint=hint)
        if not sums_to_1.all():
            got = f"a row that sums to {rows[~sums_to_1][0].sum():g}"
            hint = "Divide by the sum; for logits leave from_logits=False out."
            fail("sample", expected="probabilities that sum to 1 in each row", got=got, hint=hint)
    elif (rows == -np.inf).all(-1).any():
        fail("sample", expected="logits above -infinity in each row", got="a row without any")
    elif from_logits is None and rows.shape[-1] > 1 and rows.size and (rows >= 0).all() and sums_to_1.all():
        warn(f"sample: takes these rows for logits, but they sum to 1, like probabilities. {_SAY_WHICH}")


def _is_1(total: AnyArray) -> AnyArray:
    """Whether sums of probabilities are 1, within the rounding of half precision."""
    excess = total - 1
    return (excess < 0.01) & (excess > -0.01)


_SAY_WHICH = (
    "Pass from_logits=True if they are logits, which is best: a last Dense(symbols) without an activation; "
    "pass from_logits=False if they are probabilities."
)


def _are_logits(where: str, ending: Ending | None, from_logits: bool | None) -> bool:
    """Whether a model's outputs are logits, by ``from_logits`` if given, else by how the model ends."""
    if not (from_logits is None or isinstance(from_logits, (bool, np.bool_))):
        fail(where, expected="from_logits to be True, False or None", got=repr(from_logits))
    if from_logits is not None:
        return bool(from_logits)
    if ending is None or not ending.in_probabilities:
        return True
    if ending.activation != "softmax":
        got = "the output of a sigmoid" if ending.activation else "outputs that lie between 0 and 1"
        fail(where, expected="logits or the output of a softmax", got=got, hint=_SAY_WHICH)
    return False


def _ending(fn: Callable[..., PyTree], *args: PyTree) -> tuple[Ending | None, PyTree]:
    """How a function computes its last output, and the shapes of all."""
    out, ends = traced_endings(fn, *args)
    return ends[-1] if ends else None, out


def _as_ids(where: str, name: str, ids: ArrayLike) -> Array:
    """Convert a sequence of at least one symbol id to an int32 array."""
    if isinstance(ids, str):
        fail(where, expected=f"{name} of numbers", got="a string", hint=ENCODE_HINT)
    sequence = jnp.asarray(as_array(f"{where}, {name}", ids))
    if sequence.ndim != 1 or sequence.shape[0] == 0:
        fail(where, expected=f"{name} of at least one symbol, (length,)", got=f"shape {sequence.shape}")
    if not jnp.issubdtype(sequence.dtype, jnp.integer):
        fail(where, expected=f"{name} of integer symbol ids", got=describe(sequence))
    if is_concrete(sequence) and (least := np.asarray(sequence).min()) < 0:
        fail(where, expected=f"{name} of non-negative ids", got=str(least))
    return sequence.astype(jnp.int32)


def generate_from(
    step: Step[Carry],
    carry: Carry,
    prompt: ArrayLike,
    key: Array,
    length: int,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    *,
    from_logits: bool | None = None,
) -> Array:
    """Continue a sequence with a recurrent step: read the prompt, then repeatedly draw a symbol and read it.

    Each symbol is read once, so the cost per symbol does not grow with the text, and the whole text so far counts.
    Wrap the call in `jax.jit` to compile it once for many calls, and in `jax.vmap` to generate many texts at once.

    Args:
      step: ``step(carry, symbol) -> (carry, logits)``, from a symbol () int32 to logits (symbols,) for the next one. A
        pure function that JAX can trace; the carry is any pytree and keeps its shapes and dtypes.
      carry: the initial carry.
      prompt: (time,) integers, at least one: the symbols after those already summarized by ``carry``.
      key: a PRNG key; the same key gives the same text.
      length: number of symbols to generate.
      temperature, top_k: see `sample`.
      from_logits: whether ``step`` returns logits, not probabilities; default: unless its last operation is a softmax;
        other values that can only lie between 0 and 1 raise an error.

    Returns:
      (length,) int32; -1 from the first NaN of ``step`` on.

    Raises:
      InputError: for an empty prompt, a length below 1, or another result of ``step``, else as in `sample`.

    An LSTM over 5 symbols at temperature 0, compared with the same LSTM that rereads the whole text for each symbol:

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
    _check_sampling(where, key, temperature, top_k, length)
    ids = _as_ids(where, "a prompt", prompt)
    carry = jax.tree.map(jnp.asarray, carry)
    logits = _are_logits(where, _check_step(where, step, carry), from_logits)
    # The generation loop reads the last symbol of the prompt. Logits of the earlier ones are never computed.
    carry, _ = jax.lax.scan(lambda carry, symbol: (step(carry, symbol)[0], None), carry, ids[:-1])
    draw = partial(sample, temperature=temperature, top_k=top_k, from_logits=logits)
    return _generation_loop(step, (carry, ids[-1]), key, length, draw)


def _check_step(where: str, step: Step[Carry], carry: Carry) -> Ending | None:
    """Check that ``step`` preserves its carry and returns one row of logits; return how it computes them."""
    ending, out = _ending(step, carry, array_spec((), jnp.int32))
    if not (isinstance(out, tuple) and len(out) == 2):
        fail(where, expected="step(carry, symbol) to return (carry, logits)", got=describe(out))
    returned, passed = (jax.tree.map(describe, tree) for tree in (out[0], carry))
    if jax.tree.flatten(returned) != jax.tree.flatten(passed):
        hint = "The carry is passed to the next step, so its structure, shapes and dtypes must not change."
        fail(where, expected=f"step to return a carry like its argument, {passed}", got=str(returned), hint=hint)
    if jnp.ndim(out[1]) != 1:
        hint = "A step reads one symbol; take row 0 of a batch of one." if jnp.ndim(out[1]) == 2 else ""
        fail(where, expected="step to return logits of shape (symbols,)", got=describe(out[1]), hint=hint)
    return ending


def _generation_loop(
    step: Step[Carry], start: tuple[Carry, Array], key: Array, length: int, draw: Callable[[Array, Array], Array]
) -> Array:
    """Read a symbol and draw the next one, ``length`` times, from a carry and a first symbol."""

    def body(state: tuple[Carry, Array], key: Array) -> tuple[tuple[Carry, Array], Array]:
        carry, logits = step(*state)
        return (carry, symbol := draw(key, logits)), symbol

    return jax.lax.scan(body, start, jax.random.split(key, length))[1]


def generate(
    predict: Callable[[Array], Array],
    key: Array,
    window: ArrayLike,
    length: int,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    *,
    from_logits: bool | None = None,
) -> Array:
    """Continue a sequence with a sliding window: predict the next symbol, draw it, append it, drop the oldest.

    Args:
      predict: from windows (1, width) int32 to logits (1, symbols); e.g.
        ``lambda ids: task.model.apply(ts.params, ts.state, ids)[0]``. A pure function that JAX can trace.
      key: a PRNG key; the same key gives the same text.
      window: (width,) integers, the first window.
      length: number of symbols to generate.
      temperature, top_k, from_logits: see `generate_from`.

    Returns:
      (length,) int32; -1 from the first NaN of ``predict`` on.

    Raises:
      InputError: for an empty window or another result of ``predict``, else as in `generate_from`.

    Here the next symbol is the first one of the window plus 1, modulo 7:

    >>> print(generate(lambda ids: jax.nn.one_hot((ids[:, 0] + 1) % 7, 7), jax.random.key(0), [0, 3], 6, temperature=0))
    [1 4 2 5 3 6]
    """
    _check_sampling("generate", key, temperature, top_k, length)
    ids = _as_ids("generate", "a window", window)
    ending, _ = _ending(predict, array_spec((1, *ids.shape), jnp.int32))
    are_logits = _are_logits("generate", ending, from_logits)

    def step(window: Array, symbol: Array) -> tuple[Array, Array]:
        window = jnp.concatenate([window[1:], symbol[None]])
        logits = predict(window[None])
        if jnp.ndim(logits) != 2 or logits.shape[0] != 1:
            hint = "Is return_sequences=True in the last recurrent layer?" if jnp.ndim(logits) > 2 else ""
            fail("generate", expected="predict to return logits (1, symbols)", got=describe(logits), hint=hint)
        return window, logits[0]

    # The carry is the window before the step, which appends its symbol and drops the first element (here any value).
    draw = partial(sample, temperature=temperature, top_k=top_k, from_logits=are_logits)
    return _generation_loop(step, (jnp.roll(ids, 1), ids[-1]), key, length, draw)


@jit(static_argnames=("model", "length", "top_k", "symbols", "from_logits", "rereads"))
def _generate(
    model: Layer,
    params: PyTree,
    state: PyTree,
    key: Array,
    window: Array,
    *,
    temperature: Array,
    length: int,
    top_k: int | None,
    symbols: int,
    from_logits: bool | None,
    rereads: bool,
) -> tuple[Array, Array, Array]:
    """Generated ids, whether outputs treated as logits look like probabilities, and whether a cache changes them."""

    def read(state: PyTree, ids: Array) -> tuple[PyTree, Array]:
        """The new state, and the outputs for the symbol after ``ids`` (1, steps)."""
        with hinted(lambda error: "" if rereads else _WIDTH):
            logits, state = model.apply(params, state, ids)
        if jnp.ndim(logits) == 3:  # an output for each step
            logits = logits[:, -1]
        if jnp.ndim(logits) == 2 and logits.shape[1] != symbols:
            fail("generate_text", expected=f"logits of the vocabulary's {symbols} symbols", got=describe(logits))
        return state, logits

    def predict(ids: Array) -> Array:
        with located(f"a prompt of {ids.shape[1]} characters"):
            return read(state, ids)[1]

    draw: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "from_logits": from_logits}
    caches = None if rereads else _caches(model, window[None], length)
    differs = jnp.zeros((), bool)
    if caches is None:
        ids = generate(predict, key, window, length, **draw)
    else:
        with located("generating without width="):
            ids, first = _generate_cached(read, add_caches(caches, state), key, window, length, draw)
        # Only if other layers treat each step alone does a cache leave the outputs as they are.
        differs = ~_nearly_equal(first, predict(window[None])[0])
    ending, _ = _ending(predict, window[None])
    if from_logits is not None or (ending is not None and (ending.in_probabilities or ending.is_product)):
        return ids, jnp.zeros((), bool), differs
    row = predict(window[None])[0]
    row = row.astype(at_least_float32(row.dtype))
    return ids, (row >= 0).all() & _is_1(row.sum()), differs


_WIDTH = "Pass width=..., the length of the training windows, to read a window again for each character."


def _caches(model: Layer, window: Array, length: int) -> PyTree | None:
    """The shapes of a state with caches; None for a model without attention, or with one that is not causal."""
    with hinted(lambda error: _WIDTH), located("generating without width="):
        shapes, refusals = cache_shapes(model, shape_of(window), window.shape[1] + length - 1)
    return None if refusals else shapes


def _generate_cached(
    read: Callable[[PyTree, Array], tuple[PyTree, Array]],
    state: PyTree,
    key: Array,
    window: Array,
    length: int,
    draw: dict[str, Any],
) -> tuple[Array, Array]:
    """Generated ids, and the outputs from which the first one was drawn."""
    if len(window) > 1:
        state, _ = read(state, window[None, :-1])

    def step(state: PyTree, symbol: Array) -> tuple[PyTree, Array]:
        state, logits = read(state, symbol[None, None])
        return state, logits[0]

    return generate_from(step, state, window[-1:], key, length, **draw), step(state, window[-1])[1]


def _nearly_equal(a: Array, b: Array) -> Array:
    """Whether rows of outputs agree to rounding; NaN agrees with NaN."""
    a, b = (row.astype(at_least_float32(row.dtype)) for row in (a, b))
    tolerance = 0.02 * jnp.maximum(jnp.nanmax(jnp.abs(b)), jnp.ones((), b.dtype))
    return ((jnp.abs(a - b) <= tolerance) | jnp.isnan(a) | jnp.isnan(b)).all()


def _or_model(fn: Callable[P, str]) -> Callable[P, str]:
    """Accept (model, params, state, ...) in place of (task, ts, ...), the form of version 0.1."""

    whole: Callable[..., str] = fn

    def of_model(model: Layer, params: PyTree, state: PyTree, *args: Any, **options: Any) -> str:
        # Of the task and its state, only these three are read.
        ts = TrainState(params, state, (), jnp.zeros(()), jnp.zeros(()))
        return whole(Task(model, "mse"), ts, *args, **options)

    @wraps(fn)
    def either(*args: P.args, **options: P.kwargs) -> str:
        first = args[0] if args else options.get("model")
        called: Callable[..., str] = of_model if isinstance(first, Layer) else whole
        return called(*args, **options)

    return either


@_or_model
@renamed(top_p="top_k=..., the only cut")
def generate_text(
    task: Task,
    ts: TrainState,
    vocabulary: Vocabulary,
    prompt: str,
    key: Array,
    *,
    length: int = 200,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    width: int | None = None,
    unknown: str | None = None,
    from_logits: bool | None = None,
) -> str:
    """Continue a text with a model, compiled once per model, window width, length and ``top_k``.

    A model with causal attention (`fnn.MultiHeadAttention`) reads each character once, with a cache, and looks back at
    the whole text. Any other model, and any model with ``width``, reads a window again for each character.

    Args:
      task, ts: the `Task` and the `TrainState`. The model is from ids (batch, width) to logits or probabilities
        (batch, symbols), or (batch, width, symbols), of which the last step counts. Three arguments in their place, a
        model, its parameters and its state, as in version 0.1, are accepted too.
      vocabulary: the model's symbols.
      prompt: the text to continue.
      key: a PRNG key; the same key gives the same text.
      length: number of characters to generate.
      temperature, top_k: see `sample`.
      width: window width; only the last ``width`` characters of the prompt are used. Default: the whole prompt. Set it
        to the length of the training windows if the prompt is longer, since the model has never seen longer ones; with
        attention, also if the prompt and the new text together are.
      unknown: the symbol that replaces characters outside the vocabulary; by default they raise an error.
      from_logits: True for logits, False for probabilities; both give the same text. Default None: probabilities if
        the model ends in a softmax, logits if it ends in `Dense` or another product; of other models, outputs that
        look like probabilities raise an error.

    Returns:
      The new characters, without the prompt.

    Raises:
      InputError: for another number of symbols, outputs that are NaN or look like probabilities, unknown characters,
        and a prompt that is empty or shorter than ``width``; as in `generate_from`.

    >>> import jax, fnn
    >>> vocabulary = Vocabulary.of("hello world")
    >>> model = fnn.Sequential(fnn.LSTM(8, input_dim=8), fnn.Dense(8))
    >>> task = fnn.Task(model, "sparse_categorical_crossentropy")
    >>> ts = fnn.init(task, jax.random.key(0), vocabulary.encode("hello")[None])
    >>> new = generate_text(task, ts, vocabulary, "a whole world", jax.random.key(1), length=20, width=5, unknown=" ")
    >>> len(new), set(new) <= set("hello world")
    (20, True)
    """
    where = "generate_text"
    check_task(task)
    check_state(ts)
    _check_sampling(where, key, temperature, top_k, length)
    if not isinstance(prompt, str):
        fail(where, expected="a string as prompt", got=describe(prompt))
    if width is not None:
        check_count(where, "width", width)
        if (lacking := width - len(prompt)) > 0:
            expected = f"a prompt of at least {width} characters, the window width"
            fail(where, expected=expected, got=f"{counted(len(prompt), 'character')}, {lacking} too few")
        prompt = prompt[len(prompt) - width :]
    if not prompt:
        fail(where, expected="a prompt of at least one character", got="an empty one")
    window = jnp.asarray(vocabulary.encode(prompt, unknown))
    _are_logits(where, None, from_logits)
    ids, unclear, differs = _generate(
        task.network,
        ts.params,
        ts.state,
        key,
        window,
        temperature=jnp.asarray(temperature, jnp.float32),
        length=int(length),
        top_k=None if top_k is None else int(top_k),
        symbols=vocabulary.size,
        from_logits=None if from_logits is None else bool(from_logits),
        rereads=width is not None,
    )
    if differs:
        expected = "a model in which attention alone looks at earlier steps"
        fail(where, expected=expected, got="other outputs with a cache", hint=_WIDTH)
    if unclear:
        fail(where, expected="logits", got="outputs that sum to 1, like probabilities", hint=_SAY_WHICH)
    if (np.asarray(ids) < 0).any():
        fail(where, expected="a model with finite outputs", got="NaN", hint="Has training diverged?")
    return vocabulary.decode(ids)
