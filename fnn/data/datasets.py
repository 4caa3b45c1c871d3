"""Real data sets, read from a folder on this machine: the argument ``folder``, else the variable ``FNN_DATA``."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._checks import InputError, fail


class Images(NamedTuple):
    """Labelled images, split by their makers.

    Attributes:
      x_train, x_test: (count, height, width) uint8, 0 for the background.
      y_train, y_test: (count,) int32 class numbers.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def data_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder with data files: the argument, else ``FNN_DATA``.

    Raises:
      InputError: when neither is given, or it is no folder.
    """
    chosen = folder if folder is not None else os.environ.get("FNN_DATA")
    if not chosen:
        fail("data folder", expected="a folder", got="none", hint="Set FNN_DATA, or pass folder=...")
    path = Path(chosen)
    if not path.is_dir():
        fail("data folder", expected="an existing folder", got=str(path))
    return path


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    fail("data file", expected=f"{' or '.join(names)} in the data folder", got="neither" if len(names) > 1 else "none")


_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """An array from a file in the IDX format of MNIST, plain or gzipped.

    The format: two zero bytes, a type code, the number of axes, the lengths as big-endian 32-bit integers, the data.

    Raises:
      InputError: for a file that is damaged, cut off, or of another format.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path.name}: the gzip file is damaged or cut off ({error}). Fetch it again.") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        fail(path.name, expected="a file in IDX format", got=f"one that starts with {content[:4].hex(' ')}")
    dtype, axes = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        fail(path.name, expected=f"a header of {start} bytes", got=f"{len(content)} bytes", hint="Fetch it again.")
    shape = tuple(int(n) for n in np.frombuffer(content, ">i4", axes, 4))
    size = int(np.prod(shape)) * dtype.itemsize
    if len(content) != start + size:
        fail(
            path.name,
            expected=f"{size} bytes of data for shape {shape}",
            got=str(len(content) - start),
            hint="Fetch it again.",
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def mnist(folder: str | os.PathLike[str] | None = None) -> Images:
    """Handwritten digits (LeCun et al. 1998): 60,000 images to train and 10,000 to test, 28 by 28, classes 0 to 9.

    Args:
      folder: with the four IDX files under their original names, plain or gzipped, or with a folder ``mnist`` that
        has them; default the folder named by ``FNN_DATA``.

    Raises:
      InputError: when files are missing, damaged, or of other sizes.
    """
    root = data_folder(folder)
    root = root / "mnist" if (root / "mnist").is_dir() else root
    parts = []
    for split in ("train", "t10k"):
        x = read_idx(_find(root, f"{split}-images-idx3-ubyte.gz", f"{split}-images-idx3-ubyte"))
        y = read_idx(_find(root, f"{split}-labels-idx1-ubyte.gz", f"{split}-labels-idx1-ubyte"))
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y) or x.dtype != np.uint8:
            fail(f"mnist {split}", expected="as many uint8 images as labels", got=f"{x.shape} {x.dtype} and {y.shape}")
        parts += [x, y.astype(np.int32)]
    return Images(*parts)


def nietzsche(folder: str | os.PathLike[str] | None = None) -> str:
    """The text of Nietzsche's "Beyond Good and Evil" in English, 600,893 characters.

    Args:
      folder: with the file ``nietzsche.txt``; default the folder named by ``FNN_DATA``.

    Raises:
      InputError: when the file is missing or not UTF-8.
    """
    path = _find(data_folder(folder), "nietzsche.txt")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not a UTF-8 text ({error}). Fetch it again.") from None
