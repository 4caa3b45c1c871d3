"""Text as numbers: a character vocabulary, overlapping windows, and sampling of new text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_count, check_key, check_range, fail

Array = jax.Array


class Vocabulary(NamedTuple):
    """The symbols of a text, each numbered by its place.

    >>> vocabulary = Vocabulary.of("banana")
    >>> vocabulary.symbols, vocabulary.encode("nab").tolist(), vocabulary.decode([1, 0, 2])
    ('abn', [2, 0, 1], 'ban')
    """

    symbols: str

    @classmethod
    def of(cls, text: Iterable[str]) -> Vocabulary:
        """The sorted symbols of a text."""
        return cls("".join(sorted(set(text))))

    def encode(self, text: str) -> np.ndarray:
        """Numbers of the characters, (length,) int32.

        Raises:
          InputError: for characters that are not in the vocabulary.
        """
        number = {symbol: i for i, symbol in enumerate(self.symbols)}
        unknown = sorted(set(text) - number.keys())
        if unknown:
            fail(
                "encode", expected=f"only the {len(self.symbols)} symbols of the vocabulary", got=f"also {unknown[:10]}"
            )
        return np.array([number[c] for c in text], np.int32)

    def decode(self, numbers: Any) -> str:
        """The text of some numbers.

        Raises:
          InputError: for numbers outside ``[0, len(symbols))``.
        """
        numbers = np.asarray(numbers)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(self.symbols)):
            fail("decode", expected=f"numbers in [0, {len(self.symbols)})", got=f"{numbers.min()} to {numbers.max()}")
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
    ids = np.asarray(ids)
    if ids.ndim != 1 or len(ids) <= length:
        fail("windows", expected=f"a sequence of more than {length} symbols", got=str(ids.shape))
    starts = np.arange(0, len(ids) - length, step)
    return np.lib.stride_tricks.sliding_window_view(ids, length)[starts], ids[starts + length]


def sample(key: Array, logits: Array, temperature: Any = 1.0) -> Array:
    """Draw a class number from ``softmax(logits / temperature)``; temperature 0 takes the largest.

    Args:
      key: a PRNG key.
      logits: (..., classes).
      temperature: at least 0; may be traced. Low values keep to what is likely, high ones are bolder.

    Returns:
      (...) int32.

    Raises:
      InputError: for a negative temperature.
    """
    check_range("sample", "temperature", temperature, 0)
    t = jnp.asarray(temperature, logits.dtype)
    noise = jax.random.gumbel(key, logits.shape, logits.dtype)
    # argmax(logits / t + noise) draws from the softmax (Gumbel 1954); times t it also holds at t = 0.
    return jnp.argmax(logits + t * noise, -1).astype(jnp.int32)


def generate(predict: Callable[[Array], Array], key: Array, window: Any, length: int, temperature: Any = 1.0) -> Array:
    """Continue a sequence: predict the next symbol from the last window, draw it, move the window, and so on.

    Args:
      predict: from windows (1, width) int32 to logits (1, classes); e.g.
        ``lambda ids: task.model.apply(ts.params, ts.state, ids)[0]``. A pure function that JAX can trace.
      key: a PRNG key; the same key gives the same text.
      window: (width,) integers to start from.
      length: how many symbols to add.
      temperature: see `sample`.

    Returns:
      (length,) int32.

    Raises:
      InputError: for an empty window, a length below 1, or a negative temperature.
    """
    check_key("generate", key)
    check_count("generate", "length", length)
    window = jnp.asarray(window, jnp.int32)
    if window.ndim != 1 or window.shape[0] == 0:
        fail("generate", expected="a window of at least one symbol", got=str(window.shape))

    def body(window: Array, key: Array) -> tuple[Array, Array]:
        symbol = sample(key, predict(window[None])[0], temperature)
        return jnp.concatenate([window[1:], symbol[None]]), symbol

    return jax.lax.scan(body, window, jax.random.split(key, length))[1]


@partial(jax.jit, static_argnums=(0, 5))
def _generate(model: Any, params: Any, state: Any, key: Array, window: Array, length: int, temperature: Any) -> Array:
    return generate(lambda ids: model.apply(params, state, ids)[0], key, window, length, temperature)


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
) -> str:
    """Continue a text with a model of windows, compiled once per model, prompt length and length.

    Args:
      model: a `Layer` from windows (batch, width) of symbol numbers to logits (batch, symbols).
      params, state: its parameters and state, e.g. ``ts.params, ts.state``.
      vocabulary: of the model's symbols.
      prompt: the window to start from, of any length that the model takes.
      key: a PRNG key; the same key gives the same text.
      length: how many characters to add.
      temperature: at least 0; 0 always takes the most likely character.

    Returns:
      The new characters, without the prompt.

    Raises:
      InputError: for an empty prompt, unknown characters, or a negative temperature.
    """
    check_range("generate_text", "temperature", temperature, 0)
    window = jnp.asarray(vocabulary.encode(prompt))
    return vocabulary.decode(
        _generate(model, params, state, key, window, length, jnp.asarray(temperature, jnp.float32))
    )
