"""Figures of the package: lines, `Any`, long functions and files, long argument lists.

    python benchmarks/house.py

The figure with aliases counts names that stand for `Any`, such as `PyTree`, too.

Limits: 15 `Any` per 1,000 lines; 40 lines in the body of a function; 500 lines per file; 7 positional arguments.
"""

from __future__ import annotations

import ast
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


def imported(path: Path, node: ast.ImportFrom) -> Path:
    """The file that a relative import reads."""
    module = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    return module / "__init__.py" if module.is_dir() else module.with_suffix(".py")


def names_of_any(files: list[Path]) -> dict[Path, set[str]]:
    """For each file, `Any` and the names that stand for it, its own and those it imports."""
    trees = {path: ast.parse(path.read_text()) for path in files}
    names = {path: {"Any"} for path in files}
    before = -1
    while before != (before := sum(map(len, names.values()))):  # one may stand for another
        for path, tree in trees.items():
            for node in tree.body:
                if isinstance(node, ast.ImportFrom) and node.level:
                    theirs = names.get(imported(path, node), set())
                    names[path] |= {alias.asname or alias.name for alias in node.names if alias.name in theirs}
                elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and uses(node, names[path]):
                    names[path] |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def uses(tree: ast.AST, names: set[str]) -> int:
    """How often one of the names is read."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return sum(node.id in names for node in nodes)


def main() -> None:
    """Print the figures by room, then everything over a limit."""
    files = sorted(PACKAGE.rglob("*.py"))
    rooms: dict[str, list[Path]] = {}
    for path in files:
        rooms.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(path)
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    trees, names = {path: ast.parse(path.read_text()) for path in files}, names_of_any(files)
    print(f"{'room':14s} {'lines':>7s} {'Any':>5s} {'per 1,000':>10s} {'with aliases':>13s} {'per 1,000':>10s}")
    for room, paths in [*rooms.items(), ("all", files)]:
        lines, plain = sum(lengths[path] for path in paths), sum(uses(trees[path], {"Any"}) for path in paths)
        count = sum(uses(trees[path], names[path]) for path in paths)
        print(
            f"{room:14s} {lines:7,d} {plain:5d} {1000 * plain / lines:10.1f} {count:13d} {1000 * count / lines:10.1f}"
        )
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
