"""A griffe extension: what docstrings mean here, in terms that mkdocstrings shows well.

Doctests become blocks of code, ``a, b: text`` in a list of arguments becomes an entry for each of them, and a class
that is made by ``__new__`` shows its signature.
"""

import re
from typing import Any

import griffe

_SEVERAL = re.compile(r"^(?P<indent> +)(?P<names>\w+(?:, \*{0,2}\w+)+):(?P<text>| .*)$")


def fence_doctests(lines: list[str]) -> list[str]:
    """Each doctest, from ``>>>`` to the next blank line, as a block of code."""
    out, inside = [], ""
    for line in [*lines, ""]:
        indent = line[: len(line) - len(line.lstrip())]
        if not inside and line.lstrip().startswith(">>> "):
            inside = f"{indent}```"
            out.append(f"{inside}pycon")
        elif inside and not line.strip():
            out.append(inside)
            inside = ""
        out.append(line)
    return out[:-1]


def split_arguments(lines: list[str]) -> list[str]:
    """Under ``Args:`` and ``Attributes:`` one entry for each name, with the same text."""
    out: list[str] = []
    section, i = "", 0
    while i < len(lines):
        line = lines[i]
        if re.match(r"^\w+:$", line):
            section = line
        elif line.strip() and not line.startswith(" "):
            section = ""
        several = _SEVERAL.match(line)
        i += 1
        if several is None or section not in ("Args:", "Attributes:"):
            out.append(line)
            continue
        rest = []
        while i < len(lines) and lines[i].startswith(several["indent"] + " "):
            rest.append(lines[i])
            i += 1
        for name in several["names"].split(", "):
            out += [
                f"{several['indent']}{name}:{several['text'] or ' ' + rest[0].strip()}",
                *rest[not several["text"] :],
            ]
    return out


class Docstrings(griffe.Extension):
    """See the head of this module."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite a docstring before it is parsed."""
        if obj.docstring is not None:
            lines = obj.docstring.value.split("\n")
            obj.docstring.value = "\n".join(fence_doctests(split_arguments(lines)))

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Show the parameters of ``__new__``."""
        made = cls.members.get("__new__")
        if isinstance(made, griffe.Function) and "__init__" not in cls.members:
            parameters = griffe.Parameters(*list(made.parameters)[1:])
            shown = griffe.Function(
                "__init__",
                parameters=griffe.Parameters(griffe.Parameter("self"), *parameters),
            )
            cls.set_member("__init__", shown)
