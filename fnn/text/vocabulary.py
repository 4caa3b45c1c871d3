"""Symbols as numbers: a vocabulary, and training windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from .._core.arrays import as_array
from .._core.checks import check_count
from .._core.described import Described
from .._core.errors import InputError, counted, describe, fail

ENCODE_HINT = "Encode it first: vocabulary.encode(text)."


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Vocabulary(Described):
    """The symbols of a text; the index of a symbol is its id. ``len(vocabulary)`` is their number.

    Args:
      symbols: a string of different symbols, in the order of their ids; `Vocabulary.of` finds those of a text.

    Raises:
      InputError: for a symbol that occurs twice, and for anything but a string.

    >>> vocabulary = Vocabulary.of("banana")
    >>> len(vocabulary), vocabulary.symbols, vocabulary.encode("nab").tolist(), vocabulary.decode([1, 0, 2])
    (3, 'abn', [2, 0, 1], 'ban')
    """

    symbols: str

    def __post_init__(self) -> None:
        """Refuse a text in place of its symbols."""
        hint = "For the symbols of a text write fnn.text.Vocabulary.of(text)."
        if not isinstance(self.symbols, str):
            fail("Vocabulary", expected="a string of symbols", got=describe(self.symbols), hint=hint)
        if len(set(self.symbols)) < len(self.symbols):
            twice = next(symbol for symbol in self.symbols if self.symbols.count(symbol) > 1)
            got = f"{twice!r} {self.symbols.count(twice)} times"
            fail("Vocabulary", expected="each symbol once", got=got, hint=hint)

    @classmethod
    def of(cls, text: str | Iterable[str]) -> Vocabulary:
        """Build a vocabulary from the sorted symbols of one or several texts."""
        return cls("".join(sorted(set("".join(text)))))

    @property
    def size(self) -> int:
        """Number of symbols, e.g. for the units of the last layer."""
        return len(self.symbols)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[str]:
        return iter(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in list(self.symbols)

    def encode(self, text: str, unknown: str | None = None) -> np.ndarray:
        """Convert a text to symbol ids, (length,) int32.

        Args:
          text: a string of any length.
          unknown: the symbol of the vocabulary that replaces characters outside it; by default they raise an error.

        Raises:
          InputError: if a character or ``unknown`` is not in the vocabulary.

        >>> Vocabulary("abn ").encode("an bad", unknown=" ").tolist()
        [0, 2, 3, 1, 0, 3]
        """
        if not isinstance(text, str):
            fail("encode", expected="a string", got=describe(text))
        id_of = {symbol: i for i, symbol in enumerate(self.symbols)}
        known = f"the {self.size} symbols of the vocabulary"
        if unknown is not None and unknown not in id_of:
            fail("encode", expected=f"unknown to be one of {known}", got=repr(unknown))
        outside = sorted(set(text) - id_of.keys())
        if outside and unknown is None:
            text = f"encode: expected only {known}, but the text also contains {outside[:10]}."
            raise InputError(f"{text} Pass unknown=' ', or another symbol, to replace them.")
        other = 0 if unknown is None else id_of[unknown]
        return np.array([id_of.get(c, other) for c in text], np.int32)

    def decode(self, numbers: ArrayLike) -> str:
        """Convert symbol ids back to a text.

        Raises:
          InputError: for anything but integers in ``[0, size)``.
        """
        ids = np.asarray(as_array("decode", numbers, fits=False))
        if not ids.size:
            return ""
        if not np.issubdtype(ids.dtype, np.integer):
            fail("decode", expected="integers", got=describe(ids), hint="Pass symbol ids, not logits.")
        if ids.min() < 0 or ids.max() >= self.size:
            fail("decode", expected=f"numbers in [0, {self.size})", got=f"{ids.min()} to {ids.max()}")
        return "".join(self.symbols[i] for i in ids.ravel())


def windows(ids: ArrayLike, length: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Cut a sequence into overlapping windows, each paired with the symbol that follows it.

    Args:
      ids: (total,) integers.
      length: symbols per window.
      step: distance between the starts of consecutive windows.

    Returns:
      ``(x, y)``: (count, length) and (count,), with ``count = ceil((total - length) / step)``.

    Raises:
      InputError: if the sequence is not longer than a window.

    >>> x, y = windows([0, 1, 2, 3, 4], length=3)
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2], [1, 2, 3]], [3, 4])
    """
    check_count("windows", "length", length)
    check_count("windows", "step", step)
    if isinstance(ids, str):
        fail("windows", expected="numbers", got="a string", hint=ENCODE_HINT)
    sequence = np.asarray(as_array("windows, ids", ids, fits=False))
    if sequence.ndim != 1:
        fail("windows", expected="a sequence of numbers, (total,)", got=describe(sequence))
    if len(sequence) <= length:
        expected, got = f"a sequence of more than {counted(length, 'symbol')}", counted(len(sequence), "symbol")
        fail("windows", expected=expected, got=got, hint="The symbol that follows a window is needed too.")
    starts = np.arange(0, len(sequence) - length, step)
    return np.lib.stride_tricks.sliding_window_view(sequence, length)[starts], sequence[starts + length]
