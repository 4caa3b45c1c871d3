"""The house: which room may import which, what a pure room must not use, and how long its parts may be."""

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fnn

ROOT = Path(fnn.__file__).parent
# From the ground up: a room imports rooms that stand before it here, and no other. The table of packages in
# docs/design.md lists them from the top down, without the private modules below `_core`.
TABLE = (ROOT.parent / "docs" / "design.md").read_text(encoding="utf-8").partition("| package | contents |")[2]
LISTED = re.findall(r"^\| `(\w+)` \|", TABLE.partition("\n\n")[0], re.MULTILINE)
FLOORS = ["_version", "_equivalents", "_names", "_moved", *reversed(LISTED)]
DYNAMIC = "importlib.import_module"
# Modules of files, clocks, threads and the network, and the built-in function `open`.
HOSTS = {
    "asyncio", "builtins.open", "concurrent", "csv", "fcntl", "glob", "io", "logging", "matplotlib", "mmap",
    "multiprocessing", "os", "pathlib", "pickle", "pooch", "queue", "requests", "safetensors", "selectors", "shutil",
    "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "tqdm", "urllib", "zipfile",
}  # fmt: skip
PURE = ("penalties", "nn", "losses", "optimizers", "metrics", "training")


def name_of(path):
    """A module's full name."""
    return ".".join(["fnn", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@functools.cache
def parsed(source):
    return list(ast.walk(ast.parse(source)))


def named(source, module):
    """The full names that the source of a module imports anywhere, and those of calls that import or open unseen."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in parsed(source):
        match node:
            case ast.ImportFrom(module=origin, names=names, level=level):
                parts = package.split(".")[: package.count(".") + 2 - level] if level else []
                base = ".".join([*parts, *filter(None, [origin])])
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
                yield from (alias.name.split(".")[0] for alias in names if not alias.asname)  # the name that is bound
            case ast.Name(id="__import__") | ast.Attribute(attr="import_module"):
                yield DYNAMIC
            case ast.Name(id="open"):
                yield "builtins.open"


def imported(source, module):
    """The modules of the package that the source of a module imports; any other name of the package means all of it."""
    for name in named(source, module):
        if name.split(".")[0] == "fnn":
            while name not in MODULES:
                name = name.rpartition(".")[0]
            yield name


def upward(source, module):
    """What the source of a module must not import: the package as a whole, rooms above, and names found at run time."""
    rooms = {"fnn": len(FLOORS)} | {f"fnn.{room}": floor for floor, room in enumerate(FLOORS)}
    floors = {name: rooms[".".join(name.split(".")[:2])] for name in {*imported(source, module), module}}
    dynamic = {DYNAMIC}.intersection(named(source, module))
    return {name for name, floor in floors.items() if floor > floors[module]} | dynamic


def hosts(source, module):
    """What the source of a pure module must not use."""
    return {name for name in named(source, module) if HOSTS & {name, name.split(".")[0]}}


def test_every_room_has_a_floor():
    assert sorted(FLOORS) == sorted({name.split(".")[1] for name in MODULES if name != "fnn"})


def test_every_room_imports_only_the_rooms_below_it():
    found = {module: upward(path.read_text(), module) for module, path in MODULES.items() if module != "fnn"}
    assert not {module: names for module, names in found.items() if names}


@pytest.mark.parametrize(
    "source",
    [
        "from ..fitting.fit import fit",
        "from ..fitting import fit",
        "from .. import fit",
        "from .. import fitting",
        "from .. import *",
        "from fnn.fitting.fit import fit",
        "from fnn import fit",
        "import fnn",
        "import fnn.fitting.fit",
        "import fnn.fitting.fit as fit",
        "import fnn.nn.dense",  # binds fnn
        "def late():\n    from ..training.task import Task",
        "if TYPE_CHECKING:\n    from ..training.task import Task",
        "import importlib\nimportlib.import_module('fnn')",
        "from importlib import import_module",
        "__import__('fnn')",
    ],
)
def test_an_upward_import_is_seen(source):
    assert upward(source, "fnn.nn.dense")
    assert not upward("import math\nfrom .._core import checks\nfrom .layer import Layer", "fnn.nn.dense")
    assert not upward("import fnn.nn.layer as layer\nfrom fnn._core.errors import fail", "fnn.nn.dense")


def test_an_import_is_resolved_from_the_package_of_the_module():
    found = set(imported("from . import sgd\nfrom .rules import adam\nfrom .. import fit", "fnn.optimizers"))
    assert found == {"fnn.optimizers", "fnn.optimizers.rules", "fnn"}
    found = set(imported("from ..dense import dense\nfrom ... import fit", "fnn.nn.rnn.cells"))
    assert found == {"fnn.nn.dense", "fnn"}


def test_no_circles():
    found = {module: {*imported(path.read_text(), module)} - {module} for module, path in MODULES.items()}
    TopologicalSorter(found).prepare()


def test_pure_rooms_use_no_files_clocks_or_threads():
    """Their modules, and all that training loads without the package above it."""
    code = f"""
import importlib, sys, types
package = types.ModuleType("fnn"); package.__path__ = [{str(ROOT)!r}]; sys.modules["fnn"] = package
importlib.import_module("fnn.training.run"), importlib.import_module("fnn.training.derivatives")
print(*sorted(name for name in sys.modules if name.startswith("fnn.")))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    rooms = {name.split(".")[1] for name in loaded}
    assert rooms <= set(FLOORS[: FLOORS.index("training") + 1])
    pure = {*loaded, *(name for name in MODULES if name.split(".")[1:2] and name.split(".")[1] in PURE)}
    found = {name: hosts(MODULES[name].read_text(), name) for name in sorted(pure)}
    assert not {name: used for name, used in found.items() if used}


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import os.path",
        "import os.path as paths",
        "import time, math",
        "from pathlib import Path",
        "from threading import Thread",
        "from tqdm import tqdm",
        "from concurrent.futures import ThreadPoolExecutor",
        "def read(path):\n    with open(path) as file:\n        return file.read()",
        "def read(path, how=open):\n    return how(path)",
        "from builtins import open as opened",
        "def draw():\n    import matplotlib.pyplot as plt",
    ],
)
def test_files_clocks_and_threads_are_seen(source):
    assert hosts(source, "fnn.nn.dense")
    assert not hosts("import math\nimport contextlib\nfrom .layer import Layer\nx.open()", "fnn.nn.dense")


@pytest.fixture(scope="module")
def house():
    """benchmarks/house.py, which measures the package."""
    spec = importlib.util.spec_from_file_location("house", ROOT.parent / "benchmarks" / "house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_and_functions_are_short(house):
    found = house.over_the_limits(list(MODULES.values()))
    assert not found, "split these, or type them"


def test_what_is_over_a_limit_is_seen(house, tmp_path, monkeypatch):
    def measured(text):
        path = tmp_path / "fnn" / "room.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return set(house.over_the_limits([path]))

    monkeypatch.setattr(house, "PACKAGE", tmp_path / "fnn")
    lines = "".join(f"    x = {i}\n" for i in range(40))
    docstring = f'    """{lines}"""\n'
    arguments = "".join(f"    a{i}=0,\n" for i in range(20))
    assert not measured(f"def f(self, a, b, c, d, e, f, g):\n{docstring}{lines}{house.FILE * '#'}")
    assert measured(f"def f():\n{lines}    y = 0\n") == {"fnn/room.py f"}
    assert measured(f"class A:\n    async def f(self): pass\n\ndef g(*,\n{arguments}):\n{lines}") == {"fnn/room.py g"}
    assert measured("def f(a, b, c, d, e, f, g, h): pass") == {"fnn/room.py f"}
    assert measured("#\n" * (house.FILE + 1)) == {"fnn/room.py"}
    assert measured("from typing import Any\n\nx: Any = 0\n") == {"room", "all"}
