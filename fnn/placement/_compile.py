"""Compile exported programs for a device that this machine does not have: run as a script, in a separate process.

Compilers of accelerators read environment variables when they load, and end the process over a description that they
cannot read. ``python _compile.py request response`` reads and writes pickles of plain values.
"""

from __future__ import annotations

import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

_SIZES = {"arguments": "argument", "results": "output", "shared": "alias", "temporaries": "temp"}
Result = tuple[str, dict[str, int]]


def compile_all(request: dict[str, Any]) -> list[Result]:
    """Compile the programs of a request for its topology: their texts and the fields of `Compiled`."""
    import jax
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(**request["topology"]).devices
    mesh = None
    if request["mesh"] is not None:
        sizes, names = request["mesh"]
        mesh = jax.make_mesh(sizes, names, (jax.sharding.AxisType.Auto,) * len(names), devices=devices)
    return [_compile(program, donated, devices[0], mesh) for program, donated in request["programs"]]


def _compile(program: bytes, donated: tuple[int, ...], device: Any, mesh: Any) -> Result:
    import jax
    from jax import export

    exported = export.deserialize(bytearray(program))
    alone = [jax.sharding.SingleDeviceSharding(device)] * len(exported.in_avals)
    places = alone if mesh is None else exported.in_shardings_jax(mesh)
    spec: Any = jax.ShapeDtypeStruct  # untyped; nothing of fnn is imported here
    arguments = [
        spec(aval.shape, aval.dtype, sharding=place) for aval, place in zip(exported.in_avals, places, strict=True)
    ]
    try:
        compiled = jax.jit(exported.call, donate_argnums=donated).lower(*arguments).compile()
    except jax.errors.JaxRuntimeError as error:
        needed = re.search(r"(?:required|[Uu]sed|needs?)[^(\d]*\(?([\d.]+)([KMGTP]?)", str(error))
        if "RESOURCE_EXHAUSTED" not in str(error) or needed is None:
            raise
        return "", {"too_much": int(float(needed[1]) * 1024 ** " KMGTP".index(needed[2] or " "))}
    return text_and_memory(compiled)


def text_and_memory(compiled: Any) -> Result:
    """The text of a compiled program, and its bytes by the fields of `Compiled`."""
    memory = compiled.memory_analysis()
    sizes = {name: int(getattr(memory, f"{size}_size_in_bytes")) for name, size in _SIZES.items()}
    return compiled.as_text() or "", sizes


if __name__ == "__main__":
    os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_autotune_level=0"
    question, answer = map(Path, sys.argv[1:])
    answer.write_bytes(pickle.dumps(compile_all(pickle.loads(question.read_bytes()))))
