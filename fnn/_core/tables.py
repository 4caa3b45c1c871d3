"""Result types that print as tables; text tables and sizes for printed results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np

Row = TypeVar("Row")
Kind = TypeVar("Kind", bound=type)


class Table(Generic[Row]):
    """A result with rows, which is measured, iterated and indexed by them."""

    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...

    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self.rows[index]


def refuse_len(advice: str) -> Callable[[Kind], Kind]:
    """Decorate a NamedTuple whose fields could be taken for rows: ``len`` fails and says what to write.

    Otherwise it stays a tuple: the `TypeError` also means an unknown length to ``tuple(x)`` and ``list(x)``.
    """

    def without_len(kind: Kind) -> Kind:
        def no_len(self: object) -> int:
            raise TypeError(f"{kind.__name__}: len() would count its fields. {advice}")

        def make(cls: type, fields: Iterable[object]) -> object:  # that of NamedTuple compares lengths
            return cls(*fields)

        def array(self: tuple[Any, ...], dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            return np.array(tuple(self), dtype)  # NumPy's own way begins with the length

        methods = {"__len__": no_len, "__bool__": lambda self: True, "__array__": array, "_make": classmethod(make)}
        for name, method in methods.items():
            setattr(kind, name, method)
        return kind

    return without_len


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of the longest cell in each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def table_line(cells: Sequence[str], widths: Sequence[int], left: int = 0) -> str:
    """One line of a table: the first ``left`` columns aligned left, the others right."""
    pairs = list(zip(cells, widths, strict=True))
    return "  ".join([cell.ljust(w) for cell, w in pairs[:left]] + [cell.rjust(w) for cell, w in pairs[left:]])


def table_lines(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """The lines of a table: its header (the first row), a rule, and the other rows."""
    widths = column_widths(rows)
    head, *body = (table_line(cells, widths, left).rstrip() for cells in rows)
    return [head, "-" * (sum(widths) + 2 * len(widths) - 2), *body]


def bytes_text(size: float) -> str:
    """A byte count in a readable unit, such as ``30.66 KB``."""
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def number_text(number: float) -> str:
    """A count in a readable unit, such as ``6.52 M``."""
    for unit in ("", " k", " M", " G"):
        if number < 1000:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} T"
