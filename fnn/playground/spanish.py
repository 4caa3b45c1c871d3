"""Errors of fnn in Spanish, by their kind: those that a file or a formula of a visitor can cause.

An error that is not known here is told without its reason, so that no Spanish message holds English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Rule = tuple[str, str]
"""A pattern of the English text, and the Spanish one with the groups of the pattern."""

_CELL = r"('(?:[^'\\]|\\.)*'|\"[^\"]*\"|[-+.\w]+)"
_EXPECTED = {
    "a number as in most rows": "un número como en la mayoría de las filas",
    "a number within float32": "un número que quepa en float32",
    "a finite number": "un número finito",
    "a number": "un número",
    "a value": "un valor",
    "numbers or categories": "números o categorías",
    "categories that many rows share": "categorías que compartan muchas filas",
    "only numbers or only text": "solo números o solo texto",
    "at least one column": "al menos una columna",
    "'and', 'or', 'xor' or the end": "'and', 'or', 'xor' o el final",
    "a name, 'not' or '('": "un nombre, 'not' o '('",
    "a formula with less deep nesting": "una fórmula con menos paréntesis anidados",
    "a string such as 'a and not b'": "un texto como 'a and not b'",
}
_PLURAL = ("números", "categorías", "solo")
_GOT: Sequence[Rule] = (
    (rf"a missing value \({_CELL}\)", r"falta un valor (\1)"),
    (rf"a missing one \({_CELL}\)", r"falta (\1)"),
    (rf"decimal commas, such as {_CELL}", r"hay comas decimales, como \1"),
    (rf"text such as {_CELL}", r"hay texto como \1"),
    (r"(\d+) in (\d+) rows", r"hay \1 en \2 filas"),
    (rf"{_CELL} after {_CELL}", r"llegó \1 tras \2"),
    (rf"{_CELL} at character (\d+)", r"llegó \1 en la posición \2"),
    (r"the end of the formula", "llegó el final de la fórmula"),
    (r"([\d,]+) characters", r"llegaron \1 caracteres"),
    (r"an empty one", "llegó uno vacío"),
    (r"none", "no hay"),
    (_CELL, r"llegó \1"),
)
_WHOLE: Sequence[Rule] = (
    (r"data\.csv, line (\d+): not a row of a CSV file .*", r"línea \1: no es una fila de un archivo CSV."),
    (
        r"data\.csv, column (.+?): whole numbers such as (\S+) are read as text, since .*",
        r"columna \1: los enteros como \2 se leen como texto, porque la columna tiene otros números o huecos.",
    ),
    (
        r"data\.csv, column (.+?): numbers such as (\S+) are read as text\. .*",
        r"columna \1: los números como \2 tienen coma decimal; escríbelos con punto.",
    ),
    (
        r"table_fit, column (.+?): (\d+) of the whole numbers become equal to others in float32\. .*",
        r"columna \1: \2 enteros se confunden con otros en float32; deja fuera la columna.",
    ),
)
_PLACE: Sequence[Rule] = (
    (r"table_\w+, column (.+), row (\d+), counted from 0", r"columna \1, fila \2 (desde 0)"),
    (r"table_\w+, column (.+)", r"columna \1"),
    (r"table_fit", "tabla"),
    (r"formula", "fórmula"),
)
_OPEN = r"'and', 'or', 'xor' or a '\)' for the '\(' at character (\d+)"


def table_error(english: str) -> str:
    """The reason why a table cannot be read."""
    return _spanish(english) or "no se puede leer la tabla."


def formula_error(english: str) -> str:
    """The reason why a formula cannot be read, with the marks under its text."""
    text, _, marks = english.partition("\n")
    return (_spanish(text.rstrip()) or "no se puede leer la fórmula.") + (f"\n{marks}" if marks else "")


def _spanish(english: str) -> str:
    if whole := _first(_WHOLE, english):
        return whole
    found = re.fullmatch(r"(.+?): expected (.+?), got (.+?)\.(?: .*)?", english, re.DOTALL)
    if not found:
        return ""
    place, expected, got = found.groups()
    place, got = _first(_PLACE, place), _first(_GOT, got)
    expected = _EXPECTED.get(expected) or _first(
        [(_OPEN, r"'and', 'or', 'xor' o un ')' para el '(' de la posición \1")], expected
    )
    verb = "se esperaban" if expected.startswith(_PLURAL) else "se esperaba"
    return f"{place}: {verb} {expected}, {got}." if place and expected and got else ""


def _first(rules: Sequence[Rule], text: str) -> str:
    """What the first rule makes of a whole text; empty if none fits."""
    for pattern, spanish in rules:
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return found.expand(spanish)
    return ""
