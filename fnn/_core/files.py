"""Files: written as a whole or not at all, under names that say what they are."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
from collections.abc import Iterable
from typing import Any

from .errors import fail

FilePath = str | os.PathLike[str]
"""The path of a file or folder."""

# Endings of files that are of a kind of their own, which a file of another kind must not bear.
ENDINGS = {
    ".h5", ".hdf5", ".keras", ".tf", ".pb", ".tflite", ".pt", ".pth", ".bin", ".ckpt", ".onnx", ".gguf", ".eqx",
    ".mlmodel", ".msgpack", ".npz", ".npy", ".pkl", ".pickle", ".joblib", ".mat", ".json", ".jsonl", ".yaml",
    ".yml", ".toml", ".xml", ".html", ".csv", ".tsv", ".txt", ".xls", ".xlsx", ".ods", ".parquet", ".feather",
    ".arrow", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".png", ".jpg", ".jpeg", ".gif", ".pdf",
    ".svg", ".py", ".ipynb", ".safetensors",
}  # fmt: skip


def check_ending(where: str, path: Any, right: str, *also: str) -> None:
    """Refuse a file name with the ending of another kind of file than ``right``; those of ``also`` pass."""
    stem, ending = os.path.splitext(os.fspath(path))
    if ending.lower() in ENDINGS - {right, *also}:
        kind = "a CSV file" if right == ".csv" else "a safetensors file"
        hint = f"fnn writes {kind} here: write {stem + right!r}."
        fail(where, expected=f"a file name that ends in {right}", got=repr(os.fspath(path)), hint=hint)


def write_whole(path: Any, target: str, parts: Iterable[bytes | memoryview], where: str = "save") -> None:
    """Write a file as a whole or not at all.

    The safetensors package writes files too, but neither syncs them nor keeps the number of the system's error.
    """
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")  # see temporary_files
    try:
        os.makedirs(folder, exist_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            message = f"{where}: {reason}; nothing was written, and an older file stays as it was"
            raise OSError(error.errno, message, str(path)) from error
        raise
    if os.name == "posix":  # the new name itself, which belongs to the folder
        with contextlib.suppress(OSError):  # some file systems refuse it; the file itself is safe
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def temporary_files(folder: str) -> list[str]:
    """What writers that were killed have left in a folder."""
    names = glob.glob(os.path.join(glob.escape(folder), ".*.tmp"))
    return [name for name in names if re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", os.path.basename(name))]
