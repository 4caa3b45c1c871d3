"""Figures of the package: lines, `Any`, long functions and files, long argument lists.

    python benchmarks/house.py

The figures with aliases count names that stand for `Any`, such as `PyTree`, too.

Limits: 15 `Any` per 1,000 lines of a room; 60 lines in a function, 40 of them in its body; 500 lines per file;
7 positional arguments. tests/test_house.py enforces them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "fnn"
ANY, LINES, BODY, FILE, POSITIONAL = 15, 60, 40, 500, 7


class Function(NamedTuple):
    """A function or method, without its docstring."""

    name: str
    line: int
    lines: int
    body: int
    positional: int


class Room(NamedTuple):
    """Lines of a package or module right below ``fnn``, and the uses of `Any` in it, without and with its aliases."""

    lines: int
    uses: int
    aliased: int

    def per_1000(self, count: int) -> float:
        """A count per 1,000 lines."""
        return 1000 * count / self.lines


def length(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text().splitlines())


def functions(path: Path) -> Iterator[Function]:
    """All functions of a file, the nested ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node, clean=False)
            first = node.body[1] if text is not None and len(node.body) > 1 else node.body[0]
            body = int(node.end_lineno or 0) - first.lineno + 1
            signature = node.body[0].lineno - node.lineno
            arguments = [arg.arg for arg in node.args.posonlyargs + node.args.args if arg.arg not in ("self", "cls")]
            yield Function(node.name, node.lineno, signature + body, body, len(arguments))


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


def rooms(paths: list[Path]) -> dict[str, Room]:
    """The figures of each room, and of all together."""
    found: dict[str, Room] = {}
    for path, names in names_of_any(paths).items():
        tree = ast.parse(path.read_text())
        figures = length(path), uses(tree, {"Any"}), uses(tree, names)
        for name in (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), "all"):
            found[name] = Room(*map(sum, zip(found.get(name, Room(0, 0, 0)), figures, strict=True)))
    found["all"] = found.pop("all")  # last
    return found


def over_the_limits(paths: list[Path]) -> dict[str, str]:
    """Everything over a limit, by place: a room, a file, or a function in a file."""
    rates = {name: room.per_1000(room.uses) for name, room in rooms(paths).items()}
    found = {name: f"{rate:.1f} Any per 1,000 lines" for name, rate in rates.items() if rate >= ANY}
    for path in paths:
        place, lines = path.relative_to(PACKAGE.parent).as_posix(), length(path)
        if lines > FILE:
            found[place] = f"{lines} lines"
        for one in functions(path):
            if one.lines > LINES or one.body > BODY or one.positional > POSITIONAL:
                figures = f"{one.lines} lines, body {one.body}, {one.positional} positional"
                found[f"{place} {one.name}"] = f"line {one.line}: {figures}"
    return found


def main() -> None:
    """Print the figures by room, then everything over a limit."""
    paths = sorted(PACKAGE.rglob("*.py"))
    print(f"{'room':14s} {'lines':>7s} {'Any':>5s} {'per 1,000':>10s} {'with aliases':>13s} {'per 1,000':>10s}")
    for name, room in rooms(paths).items():
        figures = (
            f"{room.uses:5d} {room.per_1000(room.uses):10.1f} {room.aliased:13d} {room.per_1000(room.aliased):10.1f}"
        )
        print(f"{name:14s} {room.lines:7,d} {figures}")
    print(f"\nlongest function: {max((one for path in paths for one in functions(path)), key=lambda one: one.body)}")
    for place, figures in over_the_limits(paths).items():
        print(f"over the limit: {place}: {figures}")


if __name__ == "__main__":
    main()
