"""Starts the processes that measure, all under the same conditions, and stores what they say."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import workloads
from peers import VARIANTS
from workloads import Workload

HERE = Path(__file__).parent


def environment(threads: int, scratch: Path) -> dict[str, str]:
    """The variables of a worker: one processor, so many threads, and no cache from an earlier run."""
    ours = {
        **dict.fromkeys(
            (
                "BENCHMARK_THREADS",
                "OMP_NUM_THREADS",
                "MKL_NUM_THREADS",
                "OPENBLAS_NUM_THREADS",
                "TF_NUM_INTRAOP_THREADS",
                "TF_NUM_INTEROP_THREADS",
            ),
            str(threads),
        ),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "KERAS_HOME": str(scratch / "keras"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    # Without the files of compiled Python code every import would be slow.
    return {**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, **ours}


def add_options(parser: argparse.ArgumentParser, *, repeats: int) -> None:
    """The options that every command that measures has."""
    whole = {"type": _at_least_one, "metavar": "N"}
    parser.add_argument("--repeats", **whole, default=repeats, help="processes for each (default %(default)s)")
    parser.add_argument("--epochs", **whole, default=3, help="timed after the first (default %(default)s)")
    parser.add_argument("--threads", **whole, default=2, help="cores and threads for each (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which all take turns")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one process (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="store all measurements here, after every repeat")
    parser.add_argument("--picture", type=Path, metavar="PATH", help="draw the result")
    parser.add_argument("--from", type=Path, metavar="JSON", dest="source", help="measure nothing; show this run")
    parser.add_argument("--markdown", action="store_true", help="print the tables as markdown")


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def check_names(parser: argparse.ArgumentParser, kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """End the program with the known names if one of those given is not among them."""
    for name in names:
        if name not in known:
            parser.error(f"no {kind} {name!r}; there are: {', '.join(known)}")


class Data:
    """The arrays of workloads, written once to a folder from which every worker reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, workload: Workload) -> Path:
        """The folder with ``x.npy`` and ``y.npy``."""
        folder = self.folder / f"{workload.name}-{workload.rows}"
        if not folder.exists():
            x, y = workloads.data(workload)
            folder.mkdir()
            np.save(folder / "x.npy", x)
            np.save(folder / "y.npy", y)
        return folder

    @classmethod
    @contextmanager
    def scratch(cls) -> Iterator[Data]:
        """In a folder that is deleted afterwards."""
        with tempfile.TemporaryDirectory(prefix="fnn-benchmark-") as folder:
            yield cls(Path(folder))


def measure(
    library: str,
    workload: Workload | None = None,
    *,
    data: Data,
    threads: int,
    epochs: int = 1,
    seed: int = 0,
    limit: float = 600,
    ensemble: dict[str, Any] | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """What `worker` says of a library and a workload; where it fails or exceeds the limit in seconds, ``failed``.

    Args:
      library: of `VARIANTS`; "gflops" and "limits" measure the machine.
      workload: what to train.
      data: where the arrays are.
      threads: cores and threads.
      epochs: timed after the first.
      seed: of parameters, order and dropout.
      limit: in seconds.
      ensemble: arguments for `ensembles.build`, which then takes the place of the library's own epoch.
      variables: further environment variables of the process.
    """
    with tempfile.TemporaryDirectory(dir=data.folder) as name:
        scratch = Path(name)
        request = {"library": library, "threads": threads, "epochs": epochs, "seed": seed, "ensemble": ensemble}
        variables = {**environment(threads, scratch), **variables}
        if workload is not None:
            request |= {"workload": workloads.to_dict(workload), "data": str(data.of(workload))}
            variables |= VARIANTS[library].environment
        (scratch / "request.json").write_text(json.dumps(request))
        command = [sys.executable, str(HERE / "worker.py"), str(scratch / "request.json"), str(scratch / "result.json")]
        try:
            done = subprocess.run(
                command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"not done after {limit:g} s"}
        if not (scratch / "result.json").exists():
            said = done.stderr.strip().splitlines()
            return {"failed": without_paths(said[-1] if said else f"ended with status {done.returncode}")}
        result = json.loads((scratch / "result.json").read_text())
        if "failed" in result:
            result["failed"] = without_paths(result["failed"])
        return result


def gflops(data: Data, threads: int) -> float | None:
    """The speed of a large float32 product now, if it can be measured."""
    return measure("gflops", data=data, threads=threads).get("gflops")


def limits(data: Data, threads: int) -> dict[str, Any] | None:
    """`machine.limits` now, if they can be measured."""
    found = measure("limits", data=data, threads=threads)
    return None if "failed" in found else found


def without_paths(text: str) -> str:
    """The text with nothing left of absolute paths but their last part."""
    return re.sub(r"(?<![\w.])/(?:[^\s/'\":]+/)+", "", text)


def store(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
