"""Files written completely or not at all, under names that match their content."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import zipfile
from collections.abc import Iterable

from .described import in_words
from .errors import fail

FilePath = str | os.PathLike[str]
"""The path of a file or folder."""

# Endings that stand for one file format, so that a file of another format must not have them.
ENDINGS = {
    ".h5", ".hdf5", ".keras", ".tf", ".pb", ".tflite", ".pt", ".pth", ".bin", ".ckpt", ".onnx", ".gguf", ".eqx",
    ".mlmodel", ".msgpack", ".npz", ".npy", ".pkl", ".pickle", ".joblib", ".mat", ".json", ".jsonl", ".yaml",
    ".yml", ".toml", ".xml", ".html", ".csv", ".tsv", ".txt", ".xls", ".xlsx", ".ods", ".parquet", ".feather",
    ".arrow", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".png", ".jpg", ".jpeg", ".gif", ".pdf",
    ".svg", ".py", ".ipynb", ".safetensors",
}  # fmt: skip


def check_ending(where: str, path: FilePath, right: str, *also: str) -> None:
    """Refuse anything but a file name, and one with the ending of a format other than ``right`` and ``also``."""
    if not isinstance(path, (str, os.PathLike)):
        fail(where, expected=f"a file name that ends in {right}", got=in_words(path))
    stem, ending = os.path.splitext(path)
    if ending.lower() in ENDINGS - {right, *also}:
        kind = "a CSV file" if right == ".csv" else "a safetensors file"
        hint = f"fnn writes {kind} here: write {stem + right!r}."
        fail(where, expected=f"a file name that ends in {right}", got=repr(os.fspath(path)), hint=hint)


def write_whole(path: FilePath, target: str, parts: Iterable[bytes | memoryview], where: str = "save") -> None:
    """Write ``target`` completely or not at all; errors name ``path``.

    The safetensors package also writes files, but neither syncs them nor keeps the system's error number.
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
    if os.name == "posix":  # the new name itself, which the folder holds
        with contextlib.suppress(OSError):  # some file systems refuse it; the file itself is safe
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def temporary_files(folder: str) -> list[str]:
    """Temporary files that killed writers left in a folder."""
    names = glob.glob(os.path.join(glob.escape(folder), ".*.tmp"))
    return [name for name in names if re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", os.path.basename(name))]


_ELSEWHERE = "Load it with the library that wrote it and copy its arrays into a tree like ts.params"
# Other kinds of files, by a pattern of their first bytes, and for zip files by the end of a member's name.
_KINDS = {
    rb"\Z": "an empty file",
    rb"\x89HDF\r\n\x1a\n": f"an HDF5 file, as written by Keras. {_ELSEWHERE}",
    rb"\x93NUMPY": "a NumPy array. Read it with numpy.load",
    rb"\x80[\x02-\x05]": f"a pickle, as written by torch.save and joblib. {_ELSEWHERE}",
    rb"\x1f\x8b": "a gzip file. Unpack it first",
}
_ZIPPED = {
    "data.pkl": f"a file written by torch.save. {_ELSEWHERE}",
    ".weights.h5": f"a Keras model. {_ELSEWHERE}",
    ".npy": "NumPy arrays. Read them with numpy.load",
}


def foreign_kind(path: str) -> str:
    """The kind of a file that is no checkpoint, empty if unknown; nothing in it is executed."""
    with open(path, "rb") as file:
        head = file.read(512)
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile:
            return "a damaged zip file"
        return next((kind for end, kind in _ZIPPED.items() if any(name.endswith(end) for name in names)), "a zip file")
    for start, kind in _KINDS.items():
        if re.match(start, head):
            return kind
    if path.lower().endswith(".onnx"):
        return f"an ONNX model. {_ELSEWHERE}"
    with contextlib.suppress(UnicodeDecodeError):
        # A safetensors file is never text: it begins with the length of its header.
        return "a text file" if head.decode() and b"\0" not in head else ""
    return ""
