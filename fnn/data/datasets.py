"""Data sets, each loaded by one call: from a local folder, from scikit-learn, or by a download that is kept.

A loader looks in this order: the argument ``folder`` (the files must be there if it is given); the folder named by the
environment variable ``FNN_DATA``; the cache of earlier downloads; the URLs in `fnn.data.download.SOURCES`.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.tree_util import GetAttrKey, register_pytree_with_keys

from .._core.errors import InputError, fail
from .._core.files import FilePath
from .._core.tables import refuse_len
from .._core.types import Array
from .._core.warn import warn
from .download import DownloadError, environment_folder, find_file, first_file, require_file
from .files import TextTable, parse_numbers, read_idx, read_table, read_text
from .tables import TableCode, check_columns, table_encode


@refuse_len("Write len(data.x_train) or len(data.x_test).")
class Images(NamedTuple):
    """Labelled images with their published split. The leaves of this pytree are its four arrays.

    Attributes:
      x_train, x_test: (count, height, width) uint8, 0 for the background.
      y_train, y_test: (count,) int32 class indices.
      classes: class names.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]


@refuse_len("Write len(data.x).")
class Dataset(NamedTuple):
    """Inputs and targets. The leaves of this pytree are its two arrays.

    Attributes:
      x: (rows, ...) inputs.
      y: (rows,) class indices, or (rows, 1) numbers for regression.
      features: names of the columns of ``x``; () for images.
      classes: class names; () for regression.
    """

    x: Array | np.ndarray
    y: Array | np.ndarray
    features: tuple[str, ...]
    classes: tuple[str, ...]


def _register(kind: type[Images] | type[Dataset], arrays: int) -> None:
    """Register a pytree of the first fields; the others are static: `jax.jit` returns and `jax.tree.map` skips them."""
    keys = tuple(map(GetAttrKey, kind._fields[:arrays]))
    register_pytree_with_keys(
        kind,
        lambda data: (tuple(zip(keys, data[:arrays], strict=True)), data[arrays:]),
        lambda static, children: kind(*children, *static),
    )


_register(Images, 4)
_register(Dataset, 2)

# The first labels of the published files. Both data sets use the same file names, so they are easily confused.
_FIRST_LABELS = {
    ("mnist", "train"): [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
    ("mnist", "t10k"): [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
    ("fashion_mnist", "train"): [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
    ("fashion_mnist", "t10k"): [9, 2, 1, 1, 6, 1, 4, 6, 5, 7],
}


def _images(dataset: str, folder: FilePath | None, inside: Sequence[str], classes: tuple[str, ...]) -> Images:
    parts = []
    for split in ("train", "t10k"):
        names = [f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"]
        paths = [find_file(dataset, f"{name}.gz", (name,), inside, folder) for name in names]
        x, y = (read_idx(path) for path in paths)
        where = f"{dataset}, {paths[0].name} and {paths[1].name}"
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y) or x.dtype != np.uint8 or not len(x):
            fail(where, expected="as many uint8 images as labels", got=f"{x.shape} {x.dtype} and {y.shape}")
        if x.shape[1:] != (28, 28):
            fail(where, expected="images of 28 by 28 pixels", got=f"{x.shape[1]} by {x.shape[2]}")
        if y.dtype.kind not in "iu" or y.min() < 0 or y.max() > 9:
            fail(where, expected="integer labels from 0 to 9", got=f"{y.dtype} from {y.min()} to {y.max()}")
        for (other, part), labels in _FIRST_LABELS.items():
            if part == split and other != dataset and y[:10].tolist() == labels:
                hint = f"Keep them in separate folders, {inside[0]!r} for {dataset}."
                fail(where, expected=f"the files of {dataset}", got=f"those of {other}", hint=hint)
        parts += [x, y.astype(np.int32)]
    return Images._make((*parts, classes))


def mnist(folder: FilePath | None = None) -> Images:
    """Handwritten digits (LeCun et al. 1998): 60,000 training and 10,000 test images, 28 by 28, classes 0 to 9.

    Args:
      folder: a folder with the four IDX files under their original names, plain or gzipped, directly or in a subfolder
        ``mnist``; default the folder named by ``FNN_DATA``, else a download of 11 MB.

    Returns:
      `Images`. Files with fewer images of the same size are accepted.

    Raises:
      InputError: if files are missing from ``folder``, damaged, or of other sizes.
      DownloadError: if the files are not on this machine and cannot be downloaded.

    >>> data = mnist()  # doctest: +SKIP
    >>> data.x_train.shape, data.y_train[:5]  # doctest: +SKIP
    ((60000, 28, 28), array([5, 0, 4, 1, 9], dtype=int32))
    """
    return _images("mnist", folder, ("mnist",), tuple("0123456789"))


def fashion_mnist(folder: FilePath | None = None) -> Images:
    """Images of clothes (Xiao et al. 2017): 60,000 training and 10,000 test images, 28 by 28, ten classes.

    Args:
      folder: as in `mnist`, with a subfolder ``fashion-mnist`` or ``fashion_mnist``, or a download of 30 MB.

    Result and errors as in `mnist`; files that belong to MNIST are an error too.

    >>> data = fashion_mnist()  # doctest: +SKIP
    >>> data.classes[data.y_train[0]]  # doctest: +SKIP
    'Ankle boot'
    """
    classes = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
    return _images("fashion_mnist", folder, ("fashion-mnist", "fashion_mnist"), tuple(classes.split(", ")))


def _from_sklearn(name: str) -> Any:
    try:
        import sklearn.datasets
    except ImportError:
        raise ImportError(f"fnn.data.{name}() needs scikit-learn: pip install scikit-learn") from None
    return getattr(sklearn.datasets, f"load_{name}")()


def digits() -> Dataset:
    """1,797 handwritten digits, 8 by 8 pixels, included in scikit-learn: nothing is downloaded.

    Returns:
      `Dataset` with ``x`` (1797, 8, 8, 1) float32 in [0, 1] and ``y`` (1797,) int32.

    Raises:
      ImportError: if scikit-learn is not installed.

    >>> data = digits()
    >>> data.x.shape, data.x.max().item(), data.y[:5].tolist()
    ((1797, 8, 8, 1), 1.0, [0, 1, 2, 3, 4])
    """
    bunch = _from_sklearn("digits")
    x = (bunch.images[..., None] / 16).astype(np.float32)
    return Dataset(x, bunch.target.astype(np.int32), (), tuple(map(str, bunch.target_names)))


def _warn_if_size_differs(what: str, expected: int, got: int, path: Path) -> None:
    if got != expected:
        warn(f"{path} has {got:,} {what}, the published file {expected:,}. Is it truncated?", UserWarning)


_HOUSING = (
    *("longitude", "latitude", "housingMedianAge", "totalRooms", "totalBedrooms"),
    *("population", "households", "medianIncome", "medianHouseValue"),
)


def _read_archive(path: Path) -> str:
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if Path(member.name).name == "cal_housing.data" and (file := archive.extractfile(member)):
                    return file.read().decode("utf-8")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: the archive is damaged or truncated ({error}). Fetch it again.") from None
    fail(path.name, expected="an archive with cal_housing.data", got="one without it")


def california_housing(folder: FilePath | None = None) -> Dataset:
    """Median house values of 20,640 districts of California in the census of 1990 (Pace and Barry 1997, StatLib).

    The eight inputs are those of scikit-learn's ``fetch_california_housing``: median income in 10,000 dollars, median
    house age, rooms and bedrooms per household, population, people per household, latitude and longitude.

    Args:
      folder: a folder with ``cal_housing.data`` or ``cal_housing.tgz``, directly or in a subfolder
        ``CaliforniaHousing``; default the folder named by ``FNN_DATA``, else a download of 0.4 MB.

    Returns:
      `Dataset` with ``x`` (20640, 8) and ``y`` (20640, 1) in 100,000 dollars, float32; another size gives a warning.

    Raises:
      InputError: if the file is missing from ``folder``, or damaged (with line and column).
      DownloadError: if the file is not on this machine and cannot be downloaded.

    >>> data = california_housing()  # doctest: +SKIP
    >>> data.features[0], data.x[0, 0].item(), data.y[0].item()  # doctest: +SKIP
    ('MedInc', 8.325200080871582, 4.526000022888184)
    """
    path = find_file("california_housing", "cal_housing.tgz", ("cal_housing.data",), ("CaliforniaHousing",), folder)
    table = read_table(_read_archive(path) if path.suffix == ".tgz" else read_text(path), path.name, header=_HOUSING)
    raw = {name: parse_numbers(table, name) for name in _HOUSING}
    homes = raw["households"]
    if (homes <= 0).any():
        row = int(np.argmax(homes <= 0))
        fail(table.place("households", row), expected="a number above 0", got=f"{homes[row]:g}")
    _warn_if_size_differs("rows", 20640, len(homes), path)
    columns = {
        "MedInc": raw["medianIncome"],
        "HouseAge": raw["housingMedianAge"],
        "AveRooms": raw["totalRooms"] / homes,
        "AveBedrms": raw["totalBedrooms"] / homes,
        "Population": raw["population"],
        "AveOccup": raw["population"] / homes,
        "Latitude": raw["latitude"],
        "Longitude": raw["longitude"],
    }
    x = np.stack(list(columns.values()), 1).astype(np.float32)
    return Dataset(x, (raw["medianHouseValue"][:, None] / 100_000).astype(np.float32), tuple(columns), ())


# Categories, fixed rather than learned from the file, so that a part of the file gives the same inputs.
_SHIPPING_COLUMNS: dict[str, tuple[str, ...] | None] = {
    "Warehouse_block": ("A", "B", "C", "D", "F"),
    "Mode_of_Shipment": ("Flight", "Road", "Ship"),
    **dict.fromkeys(("Customer_care_calls", "Customer_rating", "Cost_of_the_Product", "Prior_purchases")),
    "Product_importance": ("high", "low", "medium"),
    "Gender": ("F", "M"),
    **dict.fromkeys(("Discount_offered", "Weight_in_gms")),
}
_SHIPPING = TableCode(tuple(_SHIPPING_COLUMNS), tuple(_SHIPPING_COLUMNS.values()))
_SHIPPING_LABEL = "Reached.on.Time_Y.N"
_SHIPPING_FILES = ("ecommerce_shipping.csv", "Train.csv")


def _shipping_file(path: FilePath | None) -> Path:
    if path is not None:
        return require_file("shipping", Path(path), _SHIPPING_FILES, ()) if Path(path).is_dir() else Path(path)
    root = environment_folder()
    if root and (found := first_file(root, _SHIPPING_FILES)):
        return found
    raise DownloadError(
        f"shipping: {' or '.join(_SHIPPING_FILES)} is not on this machine "
        f"({f'FNN_DATA={root}: no such file' if root else 'FNN_DATA: not set'}), and it cannot be downloaded "
        'automatically, since its publisher requires a login. Fetch "E-Commerce Shipping Data" from Kaggle '
        "(https://www.kaggle.com/datasets/prachi13/customer-analytics, file Train.csv) and pass its path, or put "
        "it into the folder that FNN_DATA names."
    )


def shipping(path: FilePath | None = None) -> Dataset:
    """10,999 shipments of an online shop, on time or not: "E-Commerce Shipping Data" from Kaggle.

    The 18 inputs are the columns except ``ID``: categories as one-hot columns, the gender as one column (1 for "M"),
    numbers unchanged. The label is the column ``Reached.on.Time_Y.N``, where despite its name 1 means *not* on time.

    Args:
      path: the CSV file, or a folder with ``ecommerce_shipping.csv`` or ``Train.csv``; default the folder named by
        ``FNN_DATA``. There is no download, since Kaggle requires a login.

    Returns:
      `Dataset` with ``x`` (10999, 18) float32 and ``y`` (10999,) int32. A file with fewer rows gives the same columns.

    Raises:
      InputError: for a missing file, missing columns or values, text instead of a number, an unknown category, or a
        row of another length, with line and column.
      DownloadError: if the file is not on this machine; the message says where to get it.

    >>> data = shipping()  # doctest: +SKIP
    >>> data.x.shape, data.classes  # doctest: +SKIP
    ((10999, 18), ('on time', 'not on time'))
    """
    file = _shipping_file(path)
    table = read_table(read_text(file), file.name)
    check_columns(file.name, (*_SHIPPING_COLUMNS, _SHIPPING_LABEL), table.columns)
    columns = {
        name: parse_numbers(table, name) if categories is None else _parse_categories(table, name, categories)
        for name, categories in _SHIPPING_COLUMNS.items()
    }
    y = _parse_categories(table, _SHIPPING_LABEL, ("0", "1")).astype(np.int32)
    return Dataset(table_encode(_SHIPPING, columns), y, _SHIPPING.names, ("on time", "not on time"))


def _parse_categories(table: TextTable, column: str, categories: Sequence[str]) -> np.ndarray:
    for row, cell in enumerate(table.columns[column]):
        if cell not in categories:
            got = repr(cell) if cell else "nothing"
            fail(table.place(column, row), expected=f"one of {', '.join(categories)}", got=got)
    return np.array(table.columns[column])


def iris() -> Dataset:
    """150 iris flowers of three species (Fisher 1936), included in scikit-learn: nothing is downloaded.

    Returns:
      `Dataset` with ``x`` (150, 4) float32, lengths and widths in cm, and ``y`` (150,) int32.

    Raises:
      ImportError: if scikit-learn is not installed.

    >>> data = iris()
    >>> data.x[0].tolist(), data.classes
    ([5.099999904632568, 3.5, 1.399999976158142, 0.20000000298023224], ('setosa', 'versicolor', 'virginica'))
    """
    bunch = _from_sklearn("iris")
    names, classes = (tuple(map(str, part)) for part in (bunch.feature_names, bunch.target_names))
    return Dataset(bunch.data.astype(np.float32), bunch.target.astype(np.int32), names, classes)


def nietzsche(folder: FilePath | None = None) -> str:
    """The text of Nietzsche's "Beyond Good and Evil" in English, 600,893 characters.

    Args:
      folder: a folder with ``nietzsche.txt``; default the folder named by ``FNN_DATA``, else a download of 0.6 MB.

    Returns:
      The text. A file of another length is read with a warning.

    Raises:
      InputError: if the file is missing from ``folder``, empty, or not UTF-8.
      DownloadError: if the file is not on this machine and cannot be downloaded.

    >>> nietzsche()[:32]  # doctest: +SKIP
    'PREFACE\\n\\n\\nSUPPOSING that Truth i'
    """
    path = find_file("nietzsche", "nietzsche.txt", folder=folder)
    text = read_text(path).replace("\r\n", "\n")
    if not text:
        fail(path.name, expected="a text", got="an empty file", hint="Fetch it again.")
    _warn_if_size_differs("characters", 600_893, len(text), path)
    return text
