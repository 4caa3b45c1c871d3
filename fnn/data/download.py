"""Where data files come from: a folder on this machine, else a download with checksum, kept in a cache."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .._core.errors import fail

Folder = str | os.PathLike[str]


class DownloadError(OSError):
    """A data file is neither on this machine nor to be had from where it is published.

    The message says what was tried, why each try failed, and how to go on without a download.
    """


class Source(NamedTuple):
    """A published file.

    Attributes:
      name: of the file, in the cache and in a folder of one's own.
      checksum: ``algorithm:digits``.
      urls: where it is, in the order in which they are tried.
    """

    name: str
    checksum: str
    urls: tuple[str, ...]


def _mirrored(bases: Sequence[str], checksums: Mapping[str, str]) -> dict[str, Source]:
    """Files that lie under the same names at several places."""
    return {name: Source(name, checksum, tuple(base + name for base in bases)) for name, checksum in checksums.items()}


# By data set and file. Checksums are those that the publishers, torchvision or scikit-learn give. They are for
# downloads only: a file in a folder of one's own may be packed in another way.
SOURCES: dict[str, dict[str, Source]] = {
    "mnist": _mirrored(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion_mnist": _mirrored(
        (
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        {
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "california_housing": {
        "cal_housing.tgz": Source(
            "cal_housing.tgz",
            "sha256:aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
            (
                "https://ndownloader.figshare.com/files/5976036",
                "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.tgz",
            ),
        )
    },
    "nietzsche": {
        "nietzsche.txt": Source(
            "nietzsche.txt",
            "sha256:23cf69874ab69d3d256099ab530ea4be24d47d9675b673bcc67cbcd6298ec647",
            ("https://s3.amazonaws.com/text-datasets/nietzsche.txt",),
        )
    },
}
TIMEOUT = 30.0
"""Seconds without an answer after which the next address is tried."""


def existing_folder(where: str, folder: Folder) -> Path:
    """The folder as a path, or an error that says that it is none."""
    path = Path(folder)
    if not path.is_dir():
        got = f"{path}, which is a file" if path.exists() else f"{path}, which does not exist"
        fail(where, expected="a folder", got=got)
    return path


def own_folder() -> Path | None:
    """The folder that ``FNN_DATA`` names, if it is set.

    Raises:
      InputError: when it names no folder; to download in silence would hide a slip of the pen.
    """
    chosen = os.environ.get("FNN_DATA")
    return existing_folder("FNN_DATA", chosen) if chosen else None


def look(root: Path, names: Sequence[str], inside: Sequence[str] = ()) -> Path | None:
    """The first of some files that is there, in one of the folders ``inside`` of ``root`` or in ``root`` itself."""
    for folder in (*(root / name for name in inside), root):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def place_of(dataset: str, root: Path, names: Sequence[str], inside: Sequence[str]) -> Path:
    """The path of a file that must be in a folder of one's own."""
    found = look(root, names, inside)
    if found is None:
        where = f"{root}" + (f" or its folder {' or '.join(inside)}" if inside else "")
        hint = "Leave the folder out to have it downloaded." if dataset in SOURCES else ""
        fail(dataset, expected=f"{' or '.join(names)} in {where}", got="no such file", hint=hint)
    return found


def find(dataset: str, source: str, others: Sequence[str] = (), inside: Sequence[str] = (), folder: Any = None) -> Path:
    """The path of a data file: in ``folder`` if that is given, else in ``FNN_DATA`` if it is there, else downloaded.

    Args:
      dataset: a key of `SOURCES`.
      source: the name of the published file.
      others: further names under which a folder of one's own may have the data.
      inside: folders within it to look in first.
      folder: the folder of one's own; then the file must be there.

    Raises:
      InputError: when it is not in ``folder``, or when ``FNN_DATA`` names no folder.
      DownloadError: when it can't be downloaded.
    """
    names = (source, *others)
    if folder is not None:
        return place_of(dataset, existing_folder(dataset, folder), names, inside)
    root = own_folder()
    return (root and look(root, names, inside)) or download(dataset, SOURCES[dataset][source])


def cache_folder() -> Path:
    """Where downloads are kept: pooch's folder for this user and system, e.g. ``~/.cache/fnn``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm, which pooch loads, warns where notebook widgets are missing
        import pooch

    return Path(pooch.os_cache("fnn"))


def download(dataset: str, source: Source) -> Path:
    """The path of a published file in the cache, downloaded if it is not there or no longer what was published.

    pooch asks nobody for a file that is there with the right checksum. It writes into a temporary file, which gets its
    name when its checksum is right, so nothing half-written stays.

    Raises:
      DownloadError: when no address has given the file.
    """
    folder = cache_folder() / dataset
    import pooch
    import requests

    get = partial(_get, source.name)
    tried = [f"FNN_DATA={own}: no such file" if (own := os.environ.get("FNN_DATA")) else "FNN_DATA: not set"]
    for url in source.urls:
        try:
            return Path(pooch.retrieve(url, source.checksum, source.name, folder, downloader=get))
        except requests.RequestException as error:
            tried.append(f"{url}: {_reason(error)}")
        except ValueError:
            tried.append(f"{url}: a file that is damaged or another one, since its checksum is not {source.checksum}")
        except OSError as error:
            tried.append(f"{folder}: cannot be written to ({error})")
            break
    lines = "".join(f"\n  {line}" for line in tried)
    raise DownloadError(
        f"{dataset}: {source.name} is not on this machine and could not be downloaded.{lines}\n"
        f"To go on, put {', '.join(SOURCES[dataset])} into a folder and set FNN_DATA to that folder, or pass folder=..."
    )


def _get(name: str, url: str, path: str, _: Any) -> None:
    """Write what is at an address into a file, with a progress bar: a downloader as pooch takes them."""
    import requests
    from tqdm.auto import tqdm

    with requests.get(url, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        total = int(answer.headers.get("Content-Length", 0)) or None
        with open(path, "wb") as file, tqdm(desc=name, total=total, unit="B", unit_scale=True) as bar:
            for chunk in answer.iter_content(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))


def _reason(error: Any) -> str:
    """Why an address gave nothing, in few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no answer within {TIMEOUT:g} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the end of the file"
    if type(error) is requests.ConnectionError:
        return "no connection"
    return f"{type(error).__name__}: {error}"  # such as SSLError, which asks for a look at the certificates
