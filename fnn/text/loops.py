"""The loop that generates symbols, and two forms of it: with the step of a model, and with sliding windows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import is_concrete
from .._core.errors import describe, fail
from .._core.jaxprs import Ending
from .._core.typed import array_spec
from .._core.types import Array, ArrayLike, ArraySpec
from .sampling import Sampling, are_logits, check_sampling, check_scores, ending_of, noise
from .vocabulary import ENCODE_HINT

Carry = TypeVar("Carry")
Step = Callable[[Carry, Array], tuple[Carry, Array]]  # (carry, symbol) -> (carry, logits of the next symbol)
Read = Callable[[Carry, Array], tuple[Carry, Array]]
"""``(carry, symbols (texts, 1)) -> (carry, logits (texts, classes))`` of the next symbols."""
NOISE_DRAWN_AT_ONCE = 2**20


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
    check_sampling(where, key, temperature, top_k, length)
    ids = _as_ids(where, "a prompt", prompt)
    carry = jax.tree.map(jnp.asarray, carry)
    sampling = Sampling(temperature, top_k, are_logits(where, _check_step(where, step, carry), from_logits))

    def read(carry: Carry, symbols: Array) -> tuple[Carry, Array]:
        carry, logits = step(carry, symbols[0, 0])
        return carry, logits[None]

    return generation_loop(read, carry, _alone(ids, key), sampling, length=length)[0]


def _check_step(where: str, step: Step[Carry], carry: Carry) -> Ending | None:
    """Check that ``step`` preserves its carry and returns one row of logits; return how it computes them."""
    ending, out = ending_of(step, carry, array_spec((), jnp.int32))
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


def _alone(ids: Array, key: Array) -> Prompts:
    return Prompts(ids[None], np.full(1, len(ids), np.int32), key[None])


class Prompts(NamedTuple):
    """Texts to continue, all at once.

    Attributes:
      ids: (texts, time) int32, of which the first symbols count; what follows them may be anything.
      counts: (texts,) int32, the lengths of the prompts.
      keys: (texts,), one key for each text.
    """

    ids: Array
    counts: Array | np.ndarray
    keys: Array


def generation_loop(
    read: Read[Carry], carry: Carry, prompts: Prompts, sampling: Sampling, *, length: int, already_read: int = 0
) -> Array:
    """The ``length`` symbols that follow each prompt, (texts, length).

    All texts take their steps together. While one of them still reads its prompt, what it draws is dropped.

    Args:
      read: one step of all texts.
      carry: to continue from, after the first ``already_read`` symbols of each prompt; fewer than all.
      prompts: the texts. Lengths that are known while JAX traces make the loop a ``scan``.
      sampling: how to draw.
      length: number of symbols.
      already_read: see ``carry``.
    """
    ids, counts, keys = prompts
    shortest, longest = counts.min() - 1, counts.max() - 1
    written = jnp.concatenate([ids.T, jnp.zeros((length, len(ids)), ids.dtype)])

    def only_read(i: Array, carry: Carry) -> Carry:
        return read(carry, written[i][:, None])[0]

    carry = jax.lax.fori_loop(already_read, shortest, only_read, carry)
    noise_at = _noise(keys, length, jax.eval_shape(read, carry, written[0][:, None])[1], sampling.top_k)

    def body(i: Array, state: tuple[Carry, Array]) -> tuple[Carry, Array]:
        carry, written = state
        carry, scores = read(carry, written[i][:, None])
        drawn = sampling.pick(noise_at(jnp.clip(i + 1 - counts, 0, length - 1)), scores)
        return carry, written.at[i + 1].set(jnp.where(i + 1 < counts, written[i + 1], drawn))

    _, written = jax.lax.fori_loop(shortest, longest + length, body, (carry, written))
    return jax.vmap(partial(jax.lax.dynamic_slice_in_dim, slice_size=length))(written.T, jnp.asarray(counts))


def _noise(keys: Array, length: int, scores: ArraySpec, top_k: int | None) -> Callable[[Array], Array]:
    """A function from the numbers of draws (texts,) to their noise (texts, classes)."""
    check_scores(scores, top_k)
    texts, classes = scores.shape
    keys = jax.vmap(lambda key: jax.random.split(key, length))(keys)
    draw: Callable[[Array], Array] = jax.vmap(lambda key: noise(key, (classes,), scores.dtype))
    rows = jnp.arange(texts)
    if texts * length * classes > NOISE_DRAWN_AT_ONCE:
        return lambda draws: draw(keys[rows, draws])
    # Drawn at once, it takes a third off the time of a step of LSTM(128).
    table: Array = jax.vmap(draw)(keys)
    return lambda draws: table[rows, draws]


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
    check_sampling("generate", key, temperature, top_k, length)
    ids = _as_ids("generate", "a window", window)
    ending, _ = ending_of(predict, array_spec((1, *ids.shape), jnp.int32))
    sampling = Sampling(temperature, top_k, are_logits("generate", ending, from_logits))

    def read(window: Array, symbols: Array) -> tuple[Array, Array]:
        window = jnp.concatenate([window[:, 1:], symbols], 1)
        logits = predict(window)
        if jnp.ndim(logits) != 2 or logits.shape[0] != 1:
            hint = "Is return_sequences=True in the last recurrent layer?" if jnp.ndim(logits) > 2 else ""
            fail("generate", expected="predict to return logits (1, symbols)", got=describe(logits), hint=hint)
        return window, logits

    # The carry is the window before the step, which appends its symbol and drops the first element (here any value).
    start = jnp.roll(ids, 1)[None]
    return generation_loop(read, start, _alone(ids[-1:], key), sampling, length=length)[0]
