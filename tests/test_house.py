"""The house: which room may import which, and what a pure room must not load."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import fnn

# From the ground up: a room imports rooms that stand before it here, and no other.
FLOORS = [
    "_version", "_names", "_core", "penalties", "nn", "losses", "optimizers", "metrics", "training", "architecture",
    "placement", "checkpoint", "fitting", "trials", "estimators", "inspection", "text", "data", "classic", "plot",
]  # fmt: skip
ROOT = Path(fnn.__file__).parent


def imports():
    """Each module of the package with the modules that it imports when it is loaded."""
    files = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in ROOT.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items() if name != "__init__"}
    for module, path in modules.items():
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
                names = {f"{base}.{alias.name}".strip(".") for alias in node.names}
                found |= (names & modules.keys()) | ({base} if names - modules.keys() else set())
        yield module, found - {module, ""}


def test_every_room_imports_only_the_rooms_below_it():
    for module, found in imports():
        room = module.split(".")[0]
        above = {name for name in found if FLOORS.index(name.split(".")[0]) > FLOORS.index(room)}
        assert not above, f"{module} imports {above}"


def test_no_circles():
    TopologicalSorter(dict(imports())).prepare()


def test_pure_rooms_load_no_files_clocks_or_threads():
    """Their modules, loaded without the package above them."""
    code = f"""
import importlib, sys, types
package = types.ModuleType("fnn"); package.__path__ = [{str(ROOT)!r}]; sys.modules["fnn"] = package
importlib.import_module("fnn.training.run"), importlib.import_module("fnn.training.derivatives")
print(*sorted(name for name in sys.modules if name.startswith("fnn.")))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    rooms = {name.split(".")[1] for name in loaded}
    assert rooms <= set(FLOORS[: FLOORS.index("training") + 1])
    hosts = {"csv", "signal", "threading", "time", "os", "tempfile", "tqdm", "pathlib", "io", "concurrent.futures"}
    for name in loaded:
        path = ROOT / Path(*name.split(".")[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        tree = ast.walk(ast.parse(path.read_text()))
        found = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
        assert not found & hosts, f"{name} imports {found & hosts}"
