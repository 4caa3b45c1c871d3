"""The largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .compiler import Compiled

_TRIALS = 4


def with_largest(
    compile_sizes: Callable[[Sequence[int]], list[Compiled]], size: int, limit: int | None, room: float
) -> tuple[Compiled, int]:
    """The program for one batch size, and the largest batch whose program needs at most ``room`` bytes.

    Memory grows about linearly with the batch, so two sizes give a guess, which is compiled and improved.

    Args:
      compile_sizes: compiles the step for some batch sizes.
      size: the batch size of the program to return.
      limit: the largest batch there is; None for no limit.
      room: bytes.

    Returns:
      The program, and the batch size; 0 if none was found.
    """
    second = 4 * size if limit is None else min(4 * size, limit)
    sizes = [size, second] if second > size else [size]
    compiled = dict(zip(sizes, compile_sizes(sizes), strict=True))
    best = 0
    for _ in range(_TRIALS):
        needed = {size: program.total for size, program in sorted(compiled.items())}
        best = max((size for size, total in needed.items() if total <= room), default=0)
        guess = _guess(needed, limit, room)
        if guess < 1 or guess in compiled or best <= guess < 9 / 8 * best:
            break
        compiled[guess] = compile_sizes([guess])[0]
        best = guess if compiled[guess].total <= room else best
    return compiled[size], best


def _guess(needed: Mapping[int, int], limit: int | None, room: float) -> int:
    """The next size to try, from the bytes that other sizes need, in ascending order."""
    fitting = [size for size, total in needed.items() if total <= room]
    beyond = [size for size, total in needed.items() if total > room]
    known = [0, *needed] if len(needed) == 1 else list(needed)
    low, high = known[-2:] if not beyond else known[:2] if not fitting else (fitting[-1], beyond[0])
    growth = (needed[high] - needed.get(low, 0)) / (high - low)
    # A small network may need the same memory for both; then the next guess is far away.
    guess = low + int((room - needed.get(low, 0)) / growth) if growth > 0 else 64 * high
    guess = min([guess, *([] if limit is None else [limit]), *(size * 7 // 8 for size in beyond)])
    return guess if guess == limit else _rounded(guess)


def _rounded(size: int) -> int:
    """Down to a size of three significant bits, such as 96, 112 or 128."""
    if size < 8:
        return size
    step = 1 << (size.bit_length() - 3)
    return size // step * step
