"""Figures of the package: lines, `Any`, long functions and files, long argument lists.

    python benchmarks/house.py

Limits: 15 `Any` per 1,000 lines; 40 lines in the body of a function; 500 lines per file; 7 positional arguments.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "fnn"
ANY, BODY, FILE, POSITIONAL = 15, 40, 500, 7


class Function(NamedTuple):
    """A function or method, without its docstring."""

    place: str
    lines: int
    body: int
    positional: int


def functions(path: Path) -> Iterator[Function]:
    """All functions of a file, the nested ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            text = ast.get_docstring(node, clean=False)
            first = node.body[1] if text is not None and len(node.body) > 1 else node.body[0]
            body = int(node.end_lineno or 0) - first.lineno + 1
            signature = node.body[0].lineno - node.lineno
            place = f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name}"
            arguments = [arg.arg for arg in node.args.posonlyargs + node.args.args if arg.arg not in ("self", "cls")]
            yield Function(place, signature + body, body, len(arguments))


def uses_of_any(path: Path) -> int:
    """How often `Any` stands in a file, its import aside."""
    tokens = list(tokenize.generate_tokens(io.StringIO(path.read_text()).readline))
    return sum(token.string == "Any" and not token.line.lstrip().startswith("from typing") for token in tokens)


def main() -> None:
    """Print the figures by room, then everything over a limit."""
    files = sorted(PACKAGE.rglob("*.py"))
    rooms: dict[str, list[Path]] = {}
    for path in files:
        rooms.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(path)
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    print(f"{'room':14s} {'lines':>7s} {'Any':>5s} {'per 1,000':>10s}")
    for room, paths in [*rooms.items(), ("all", files)]:
        lines, count = sum(lengths[path] for path in paths), sum(map(uses_of_any, paths))
        print(f"{room:14s} {lines:7,d} {count:5d} {1000 * count / lines:10.1f}")
    found = [function for path in files for function in functions(path)]
    print(f"\nlongest function: {max(found, key=lambda one: one.body)}")
    for one in found:
        if one.body > BODY or one.positional > POSITIONAL:
            print(f"over the limit: {one.place}: {one.lines} lines, body {one.body}, {one.positional} positional")
    for path, lines in lengths.items():
        if lines > FILE:
            print(f"over the limit: {path.relative_to(PACKAGE.parent)}: {lines} lines")


if __name__ == "__main__":
    main()
