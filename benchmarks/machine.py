"""What a measurement was made on, without anything that names the machine or its user."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTIONS = (
    "fnn",
    "jax",
    "jaxlib",
    "numpy",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "torch",
    "flax",
    "equinox",
    "dm-haiku",
    "optax",
    "scikit-learn",
)


def describe(threads: int) -> dict[str, Any]:
    """Processor, memory, system and versions."""
    versions = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores used": threads,
        "cores": os.cpu_count(),
        "memory GiB": _memory(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    """The model, and the widest vectors, which say more than the names that virtual machines go by."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    vectors = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    return " ".join(filter(None, (facts.get("model name", platform.machine()), vectors)))


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None
