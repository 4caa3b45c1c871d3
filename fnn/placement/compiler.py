"""Compilers of devices that this machine does not have."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from .._core.errors import fail
from .._core.hlo import HloProgram, read_program
from .._core.typed import jit
from .._core.types import Array, PyTree
from ..training.placed import AnyMesh
from ._compile import Result, text_and_memory
from .devices import Target

_NEEDS = {
    "tpu": (("libtpu", "flatbuffers"), "pip install -e '.[tpu]' in a clone of fnn"),
    "cuda": (("jax_plugins", "flatbuffers"), "pip install -e '.[cuda]' in a clone of fnn"),
}


class Compiled(NamedTuple):
    """A compiled program: what it runs, and bytes on the device.

    Attributes:
      program: its operations; without any if it did not fit.
      arguments, results, shared, temporaries: bytes; ``shared`` are those of results that lie where arguments lay.
      too_much: the bytes that a program needs whose compiler found that it does not fit; else 0.
    """

    program: HloProgram
    arguments: int = 0
    results: int = 0
    shared: int = 0
    temporaries: int = 0
    too_much: int = 0

    @property
    def total(self) -> int:
        """Bytes that the program needs."""
        return self.too_much or self.arguments + self.results - self.shared + self.temporaries


class Request(NamedTuple):
    """A function to compile for shapes.

    Attributes:
      function: of the arguments.
      arguments: trees with shapes in place of arrays, with their shardings if there are several devices.
      donated: how many of the arguments, from the first, give their memory to the results.
    """

    function: Callable[..., PyTree]
    arguments: tuple[PyTree, ...]
    donated: int


def compile_here(request: Request) -> Compiled:
    """Compile for the machine at hand."""
    compiled = jit(request.function, donate_argnums=range(request.donated)).lower(*request.arguments).compile()
    return _compiled(text_and_memory(compiled))


def _compiled(result: Result) -> Compiled:
    text, memory = result
    return Compiled(read_program(text), **memory)


def compile_for(target: Target, requests: Sequence[Request], mesh: AnyMesh | None = None) -> list[Compiled]:
    """Compile for devices that this machine does not have, in another process.

    Raises:
      InputError: if the compiler is not installed, or fails; then with the end of its output.
    """
    platform = target.device.platform
    modules, command = _NEEDS[platform]
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        fail("plan", expected=f"the compiler of {target.device.kind}", got=f"no {missing[0]}", hint=f"Run {command}.")
    asked = {
        "topology": {"platform": platform, "topology_name": target.topology, **target.options},
        "mesh": None if mesh is None else (mesh.axis_sizes, mesh.axis_names),
        "programs": [_exported(request, platform) for request in requests],
    }
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "request", Path(folder) / "response"
        question.write_bytes(pickle.dumps(asked))
        script = Path(__file__).with_name("_compile.py")
        done = subprocess.run([sys.executable, script, question, answer], capture_output=True, text=True, check=False)
        if done.returncode or not answer.exists():
            words = "\n".join(done.stderr.strip().splitlines()[-5:]) or f"exit status {done.returncode}"
            fail("plan", expected=f"a program that compiles for {target.device.kind}", got=f"this:\n{words}\n")
        results = pickle.loads(answer.read_bytes())
    return list(map(_compiled, results))


def _exported(request: Request, platform: str) -> tuple[bytes, tuple[int, ...]]:
    """The serialized program of a request on flat arguments, and the numbers of those that are donated."""
    from jax import export

    leaves, tree = jax.tree.flatten(request.arguments)
    donated = len(jax.tree.leaves(request.arguments[: request.donated]))

    def flat(*leaves: Array) -> list[Array]:
        return jax.tree.leaves(request.function(*jax.tree.unflatten(tree, leaves)))

    exported = export.export(jax.jit(flat), platforms=[platform])(*leaves)
    return bytes(exported.serialize()), tuple(range(donated))
