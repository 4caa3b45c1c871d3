"""Compile exported programs for devices that are not there: run as a script, in a process of its own.

Compilers of accelerators read environment variables when they load, and end the process over a description that they
cannot read. ``python _compile.py request response`` reads and writes pickles of plain values.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any


def compile_all(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Compile the programs of a request: their texts and their memory."""
    import jax
    import numpy as np
    from jax import export
    from jax.experimental import topologies
    from jax.sharding import Mesh

    options = {"target_config": request["description"]} if request["description"] else {}
    if request["platform"] == "cuda":
        options["topology"] = request["topology"]
    found = topologies.get_topology_desc(
        platform=request["platform"], topology_name=request["topology"], **options
    ).devices
    devices = np.asarray(found[: request["count"]]).reshape(request["mesh_shape"])
    mesh = Mesh(devices, request["axes"])
    results = []
    for program, donated in request["programs"]:
        exported = export.deserialize(bytearray(program))
        shardings = exported.in_shardings_jax(mesh)
        arguments = [
            jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding or jax.sharding.NamedSharding(mesh, jax.P()))
            for aval, sharding in zip(exported.in_avals, shardings, strict=True)
        ]
        compiled = jax.jit(exported.call, donate_argnums=donated).lower(*arguments).compile()
        memory = compiled.memory_analysis()
        sizes = {
            name: int(getattr(memory, f"{name}_in_bytes", 0))
            for name in ("argument_size", "output_size", "alias_size", "temp_size", "peak_memory")
        }
        results.append({"text": compiled.as_text(), "memory": sizes})
    return results


if __name__ == "__main__":
    os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_autotune_level=0"
    question, answer = map(Path, sys.argv[1:])
    answer.write_bytes(pickle.dumps(compile_all(pickle.loads(question.read_bytes()))))
