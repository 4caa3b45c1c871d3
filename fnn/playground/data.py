"""The data of an experiment: what the network is trained and tested on, and the plane that its map shows."""

from __future__ import annotations

import csv
import functools
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from .. import data as sets
from .._core.errors import InputError
from .._core.warn import collected
from ..data import files
from ..data.tables import is_number
from .choices import CLASSIFICATION, IMAGES, REGRESSION
from .images import KINDS, images
from .settings import LIMITS, Data, RefusalError, Settings
from .spanish import table_error

PLANE = 6.0
"""The plane of the toy data is the square [-6, 6]^2."""
TARGETS = ("y", "label", "target", "class")
"""Names of the column of a CSV file that is the target; without one it is the last."""


class Prepared(NamedTuple):
    """Data ready for training.

    Attributes:
      train, test: inputs and targets, (rows, inputs) float32 and (rows, 1) float32, or (rows,) int32 for classes.
      points_train, points_test: (rows, 3) float32, the place of each row in the plane and its target.
      problem: "binary", "classes" or "regression".
      outputs: the number of the network's outputs.
      inputs: their names.
      classes: their names, for classification.
      domain: least and largest x1, least and largest x2 of the plane; None if there is no plane.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    points_train: np.ndarray
    points_test: np.ndarray
    problem: str
    outputs: int
    inputs: tuple[str, ...]
    classes: tuple[str, ...]
    domain: tuple[float, float, float, float] | None


def features(x: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Features of points in the plane, (rows, 2) to (rows, features) float32."""
    a, b = x[:, 0], x[:, 1]
    columns = {
        "x1": a, "x2": b, "x1^2": a**2, "x2^2": b**2, "x1*x2": a * b, "sin(x1)": np.sin(a), "sin(x2)": np.sin(b),
    }  # fmt: skip
    return np.stack([columns[name] for name in names], axis=1)


def prepare(settings: Settings) -> Prepared:
    """The data of these settings.

    Raises:
      RefusalError: for a CSV file that cannot be read as a table, and data sets that are not on this machine.
    """
    if settings.data.name == "csv":
        return _prepare_table(settings)
    if settings.data.name in IMAGES:
        return _prepare_images(settings)
    x, y, classes = _points(settings.data, settings.seed)
    reach = max(PLANE, float(np.abs(x).max()) * 1.05) if settings.data.name == "points" else PLANE
    x_train, x_test, y_train, y_test = split(x, y, settings)
    shown = placed(x_train, y_train), placed(x_test, y_test)
    x_train, x_test = (features(one, settings.features) for one in (x_train, x_test))
    return _prepared((x_train, x_test, y_train, y_test), shown, settings.features, classes, reach)


def _prepared(
    rows: tuple[np.ndarray, ...],
    shown: tuple[np.ndarray, np.ndarray],
    inputs: tuple[str, ...],
    classes: tuple[str, ...],
    reach: float | None,
) -> Prepared:
    """Rows as `split` returns them, in the form that the loss takes; the plane reaches from -reach to reach."""
    x_train, x_test, y_train, y_test = rows
    problem = "regression" if not classes else "binary" if len(classes) == 2 else "classes"
    return Prepared(
        train=(x_train, shaped(y_train, problem)),
        test=(x_test, shaped(y_test, problem)),
        points_train=shown[0],
        points_test=shown[1],
        problem=problem,
        outputs=len(classes) if problem == "classes" else 1,
        inputs=inputs,
        classes=classes,
        domain=None if reach is None else (-reach, reach, -reach, reach),
    )


def data_key(seed: int) -> jax.Array:
    """The key from which data are drawn; the other half of the seed's key starts the network."""
    return jax.random.split(jax.random.key(seed))[0]


def _points(data: Data, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Places (rows, 2), targets (rows,) and the names of the classes, none for regression."""
    if data.name == "points":
        x, y = np.asarray(data.x, np.float32), np.asarray(data.y, np.float32)
        whole = bool(((y == np.round(y)) & (y >= 0) & (y < 10)).all())
        return x, y, tuple(map(str, range(max(2, int(y.max()) + 1)))) if whole else ()
    assert data.name in CLASSIFICATION + REGRESSION
    drawn = getattr(sets, data.name)(data_key(seed), data.size, noise=data.noise)
    return np.asarray(drawn.x), np.asarray(drawn.y, np.float32).reshape(-1), drawn.classes


def split(x: np.ndarray, y: np.ndarray, settings: Settings) -> tuple[np.ndarray, ...]:
    """Rows for training and for testing, as `fnn.data.train_test_split` returns them."""
    found: tuple[np.ndarray, ...]
    found = sets.train_test_split(x, y, test_size=test_rows(len(x), settings.data.train), seed=settings.seed)
    return found


def test_rows(rows: int, share: float) -> int:
    """The number of rows for testing if this share is for training; at least one on either side."""
    return min(max(rows - round(share * rows), 1), rows - 1)


def shaped(y: np.ndarray, problem: str) -> np.ndarray:
    """Targets in the form that the loss takes."""
    return y.astype(np.int32) if problem == "classes" else y.astype(np.float32)[:, None]


def placed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points for the map: the first two columns and the target."""
    plane = np.zeros((len(x), 3), np.float32)
    plane[:, : min(2, x.shape[1])] = x[:, :2]
    plane[:, 2] = y
    return plane


def _prepare_images(settings: Settings) -> Prepared:
    x, y, classes = images(settings.data.name, settings.data.size)
    side = range(KINDS[settings.data.name].side)
    nothing = np.zeros((0, 3), np.float32)
    inputs = tuple(f"{i},{j}" for i in side for j in side)
    return _prepared(split(x, y, settings), (nothing, nothing), inputs, classes, None)


class Table(NamedTuple):
    """A CSV file: the names of its columns, its cells, and the column that is the target."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    target: str

    def text(self) -> str:
        """The file with a header and commas, as `fnn.data.read_csv` reads it."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.names, *self.rows])
        return out.getvalue()


def _refuse_table(english: str, spanish: str) -> RefusalError:
    return RefusalError("data.text", english, spanish)


@functools.lru_cache(maxsize=8)
def read_table(text: str) -> Table:
    """Read a CSV file with or without a header, separated by commas, semicolons or tabs.

    Raises:
      RefusalError: for a text that is not such a table, or one over the limits.
    """
    text = text.lstrip("\ufeff")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        rows, lines = files.read_rows(text, "data.csv", delimiter)
    except InputError as error:
        raise _refuse_table(str(error), table_error(str(error))) from None
    rows, lines = rows or [[]], lines or [1]
    width = len(rows[0])
    _check_number("csv_columns", width, ("columns", "columnas"))
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise _refuse_table(
                f"line {line}: expected {width} cells, got {len(row)}.",
                f"línea {line}: se esperaban {width} celdas, hay {len(row)}.",
            )
    header = not any(map(is_number, rows[0])) and (len(rows) < 2 or any(map(is_number, rows[1])))
    names = tuple(rows[0]) if header else (*(f"x{i + 1}" for i in range(width - 1)), "y")
    if len(set(names)) < width or "" in names:
        raise _refuse_table("expected a different name for each column.", "cada columna necesita un nombre distinto.")
    cells = tuple(map(tuple, rows[header:]))
    _check_number("csv_rows", len(cells), ("rows", "filas"))
    target = next((name for name in names if name.lower() in TARGETS), names[-1])
    return Table(names, cells, target)


def _check_number(limit: str, got: int, what: tuple[str, str]) -> None:
    low, high = map(int, LIMITS[limit])
    if not low <= got <= high:
        english = f"expected {low} to {high} {what[0]}, got {got}."
        raise _refuse_table(english, f"se esperaban de {low} a {high} {what[1]}, hay {got}.")


def read_columns(table: Table) -> dict[str, np.ndarray]:
    """The columns as `fnn.data.read_csv` reads them from the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.csv")
        path.write_text(table.text(), encoding="utf-8")
        return sets.read_csv(path)


def _prepare_table(settings: Settings) -> Prepared:
    table = read_table(settings.data.text)
    try:
        with collected() as warned:  # the visitor reads what would be printed on the server
            columns = read_columns(table)
            y = columns.pop(table.target)
            code = sets.table_fit(columns)
            x = sets.table_encode(code, columns)
    except InputError as error:
        raise _refuse_table(str(error), table_error(str(error))) from None
    if warned:
        raise _refuse_table(warned[0], table_error(warned[0]))
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        english, spanish = "expected finite numbers", "se esperaban números finitos"
        raise _refuse_table(f"column {table.target!r}: {english}.", f"columna {table.target!r}: {spanish}.")
    classes = classes_of(y)
    most = int(LIMITS["units"][1])
    if len(classes) == 1:
        raise _refuse_table("expected two or more classes, got 1.", "se esperaban dos clases o más, hay 1.")
    if len(classes) > most:
        raise _refuse_table(f"{len(classes)} classes are too many.", f"{len(classes)} clases son demasiadas.")
    if x.shape[1] > most:
        raise _refuse_table(f"{x.shape[1]} inputs are too many.", f"{x.shape[1]} entradas son demasiadas.")
    y = np.searchsorted(np.unique(y), y) if classes else y.astype(np.float64)
    x_train, x_test, y_train, y_test = split(x, y, settings)
    moments = sets.standardize_fit(x_train)
    x_train, x_test = (np.asarray(sets.standardize(moments, a)) for a in (x_train, x_test))
    if not classes:
        scale = sets.standardize_fit(y_train[:, None])
        y_train, y_test = (np.asarray(sets.standardize(scale, a[:, None]))[:, 0] for a in (y_train, y_test))
    reach = max(2.0, 1.05 * max(float(np.abs(a[:, :2]).max()) for a in (x_train, x_test)))
    shown = placed(x_train, y_train), placed(x_test, y_test)
    return _prepared((x_train, x_test, y_train, y_test), shown, code.names, classes, reach)


def classes_of(y: np.ndarray) -> tuple[str, ...]:
    """The names of the classes of a target column; none for numbers, unless they are two whole numbers."""
    found = np.unique(y)
    text = y.dtype.kind not in "iuf"
    return tuple(map(str, found)) if text or (y.dtype.kind in "iu" and len(found) <= 2) else ()


def grid(prepared: Prepared, settings: Settings, resolution: int) -> np.ndarray:
    """The inputs at the centres of the map's cells, rows from the largest x2 down, columns from the least x1."""
    assert prepared.domain is not None
    left, right, low, high = prepared.domain
    place = (np.arange(resolution, dtype=np.float32) + np.float32(0.5)) / np.float32(resolution)
    a, b = np.meshgrid(left + (right - left) * place, high - (high - low) * place)
    plane = np.stack([a.ravel(), b.ravel()], 1).astype(np.float32)
    if settings.data.name != "csv":
        return features(plane, settings.features)
    inputs = np.zeros((len(plane), len(prepared.inputs)), np.float32)
    inputs[:, :2] = plane[:, : inputs.shape[1]]
    return inputs
