"""Locate data files: in a local folder, else by a download that is verified by checksum and cached."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .._core.errors import fail
from .._core.files import FilePath


class DownloadError(OSError):
    """A data file is not on this machine and could not be downloaded.

    The message lists each attempt with the reason for its failure, and says how to continue without a download.
    """


class RemoteFile(NamedTuple):
    """A published file."""

    name: str  # in the cache and in a local folder
    checksum: str  # "algorithm:digits"
    urls: tuple[str, ...]  # in the order of attempts


def _mirrored(bases: Sequence[str], checksums: Mapping[str, str]) -> dict[str, RemoteFile]:
    """Sources of files that sites publish under the same names."""
    return {
        name: RemoteFile(name, checksum, tuple(base + name for base in bases)) for name, checksum in checksums.items()
    }


# By data set and file name. The checksums are those of the publishers, torchvision or scikit-learn. Only downloads are
# verified: a file in a local folder may be compressed differently.
SOURCES: dict[str, dict[str, RemoteFile]] = {
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
        "cal_housing.tgz": RemoteFile(
            "cal_housing.tgz",
            "sha256:aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
            (
                "https://ndownloader.figshare.com/files/5976036",
                "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.tgz",
            ),
        )
    },
    "nietzsche": _mirrored(
        ("https://s3.amazonaws.com/text-datasets/",),
        {"nietzsche.txt": "sha256:23cf69874ab69d3d256099ab530ea4be24d47d9675b673bcc67cbcd6298ec647"},
    ),
}
TIMEOUT = 30.0  # seconds to wait for a server before the next URL is tried


def existing_folder(where: str, folder: FilePath) -> Path:
    """The folder as a path; an error if there is no such folder."""
    path = Path(folder)
    if not path.is_dir():
        got = f"{path}, which is a file" if path.exists() else f"{path}, which does not exist"
        fail(where, expected="a folder", got=got)
    return path


def environment_folder() -> Path | None:
    """The folder named by ``FNN_DATA``, if set; it must exist, since downloading instead would hide a typo."""
    chosen = os.environ.get("FNN_DATA")
    return existing_folder("FNN_DATA", chosen) if chosen else None


def first_file(root: Path, names: Sequence[str], inside: Sequence[str] = ()) -> Path | None:
    """The first existing file with one of these names, in the subfolders ``inside`` of ``root`` or in ``root``."""
    paths = (folder / name for folder in (*map(root.joinpath, inside), root) for name in names)
    return next(filter(Path.is_file, paths), None)


def require_file(dataset: str, root: Path, names: Sequence[str], inside: Sequence[str]) -> Path:
    """The same, but a missing file raises an error."""
    found = first_file(root, names, inside)
    if found is None:
        where = f"{root}" + (f" or its subfolder {' or '.join(inside)}" if inside else "")
        hint = "Leave the folder out to have it downloaded." if dataset in SOURCES else ""
        fail(dataset, expected=f"{' or '.join(names)} in {where}", got="no such file", hint=hint)
    return found


def find_file(
    dataset: str, source: str, others: Sequence[str] = (), inside: Sequence[str] = (), folder: FilePath | None = None
) -> Path:
    """The path of a data file: in ``folder`` if given, else in the folder named by ``FNN_DATA``, else downloaded.

    In a local folder the names ``others`` are accepted too, and the subfolders ``inside`` are searched first.
    """
    names = (source, *others)
    if folder is not None:
        return require_file(dataset, existing_folder(dataset, folder), names, inside)
    root = environment_folder()
    return (root and first_file(root, names, inside)) or download(dataset, SOURCES[dataset][source])


def is_here(dataset: str, inside: Sequence[str] = ()) -> bool:
    """Whether all files of a data set are on this machine, plain or gzipped, so that nothing would be downloaded."""
    root = environment_folder()

    def found(name: str) -> bool:
        own = root and first_file(root, (name, name.removesuffix(".gz")), inside)
        return bool(own) or (cache_folder() / dataset / name).is_file()

    return all(map(found, SOURCES[dataset]))


def cache_folder() -> Path:
    """The folder of downloads: pooch's cache for this user and system, e.g. ``~/.cache/fnn``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm, which pooch loads, warns where notebook widgets are missing
        import pooch

    return Path(pooch.os_cache("fnn"))


def download(dataset: str, source: RemoteFile) -> Path:
    """The path of a published file in the cache, downloaded if it is missing or its checksum is wrong.

    pooch renames its temporary file once the checksum is verified, so the cache never holds a partial file.
    """
    folder = cache_folder() / dataset
    import pooch
    import requests

    fetch = partial(_fetch, source.name)
    tried = [f"FNN_DATA={own}: no such file" if (own := os.environ.get("FNN_DATA")) else "FNN_DATA: not set"]
    for url in source.urls:
        try:
            return Path(pooch.retrieve(url, source.checksum, source.name, folder, downloader=fetch))
        except requests.RequestException as error:
            tried.append(f"{url}: {_reason(error)}")
        except ValueError:
            tried.append(f"{url}: a damaged or different file; its checksum is not {source.checksum}")
        except OSError as error:
            tried.append(f"{folder}: cannot be written to ({error})")
            break
    lines = "".join(f"\n  {line}" for line in tried)
    raise DownloadError(
        f"{dataset}: {source.name} is not on this machine and could not be downloaded.{lines}\n"
        f"To continue, put {', '.join(SOURCES[dataset])} into a folder and set FNN_DATA to its path, or pass folder=..."
    )


def _fetch(name: str, url: str, path: str, _: object) -> None:
    """Download a URL to a file, with a progress bar; a downloader for pooch."""
    import requests
    from tqdm.auto import tqdm

    with requests.get(url, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        total = int(answer.headers.get("Content-Length", 0)) or None
        with open(path, "wb") as file, tqdm(desc=name, total=total, unit="B", unit_scale=True) as bar:
            for chunk in answer.iter_content(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no answer within {TIMEOUT:g} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the end of the file"
    if type(error) is requests.ConnectionError:
        return "no connection"
    return f"{type(error).__name__}: {error}"  # e.g. SSLError, which points to the certificates
