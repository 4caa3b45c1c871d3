"""Images of digits to learn from, and digits drawn by hand made into such images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import data as sets
from .._core.errors import InputError
from ..data.download import DownloadError, is_here
from .choices import IMAGES
from .settings import LIMITS, RefusalError

Strokes = Sequence[Sequence[tuple[float, float]]]
"""Lines of a pen, each a list of places: across and down, from 0 to 1."""


class Kind(NamedTuple):
    """How the images of a data set were made.

    Attributes:
      side: pixels of an image, across and down.
      tall, wide: the height and the width that a digit has at most, in pixels.
      pen: half the width of the pen in pixels; None where all images have the same `ink`.
      ink: the sum of an image's pixels.
      by_mass: whether a digit stands with its centre of mass in the middle, rather than its box.
    """

    side: int
    tall: float
    wide: float
    pen: float | None
    ink: float
    by_mass: bool


KINDS = {
    # Boxes of 8 by 8 dots, cut out of forms and counted: a digit is as high as its image (Alpaydin and Kaynak 1998).
    "digits": Kind(8, 8.0, 7.0, None, 19.5, by_mass=False),
    # The longer side of a digit has 20 of 28 pixels, and its centre of mass lies in the middle (LeCun et al. 1998).
    "mnist": Kind(14, 10.0, 10.0, 0.75, 25.5, by_mass=True),
}
assert tuple(KINDS) == IMAGES
FINE = 4
"""Samples of a pixel, across and down."""


def has_mnist() -> bool:
    """Whether MNIST is on this machine; the playground downloads nothing."""
    try:
        return is_here("mnist", ("mnist",))
    except InputError:  # FNN_DATA names no folder
        return False


def images(name: str, count: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The first images, (count, pixels) float32 from 0 to 1, their digits as int32, and the names of these.

    Raises:
      RefusalError: for data sets that are not on this machine.
    """
    x, y = _mnist() if name == "mnist" else _digits()
    return x[:count], y[:count], tuple("0123456789")


@functools.lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    try:
        x, y, *_ = sets.digits()
    except ImportError:
        text = 'install scikit-learn: pip install "scikit-learn>=1.6"'
        english, spanish = "the digits need scikit-learn", "los dígitos necesitan scikit-learn"
        spanish_text = text.replace("install", "instala", 1)
        raise RefusalError("data.name", f"{english}; {text}.", f"{spanish}; {spanish_text}.") from None
    return np.asarray(x).reshape(len(x), -1), np.asarray(y)


@functools.lru_cache(maxsize=1)
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    absent = RefusalError(
        "data.name",
        "MNIST is not on this machine: choose the images of 8 by 8, or set FNN_DATA to its folder.",
        "MNIST no está en esta máquina: elige las imágenes de 8 por 8 o pon su carpeta en FNN_DATA.",
    )
    if not has_mnist():
        raise absent
    try:
        data = sets.mnist()
    except (InputError, DownloadError):
        raise absent from None
    most = int(LIMITS["images"][1])
    x = data.x_train[:most].reshape(-1, 14, 2, 14, 2).mean((2, 4)) / 255  # squares of four pixels
    return x.astype(np.float32).reshape(len(x), -1), data.y_train[:most]


def drawn_image(name: str, strokes: Strokes) -> np.ndarray:
    """A drawing as an image of a data set, (side, side) float32: as large, as thick and in the same place.

    Lines rather than dots are scaled, so a digit that is drawn small becomes no thicker than a large one.
    """
    kind = KINDS[name]
    pairs = [pair for line in strokes for pair in zip(line, [*line[1:], line[-1]], strict=True)]
    if not pairs:
        return np.zeros((kind.side, kind.side), np.float32)
    lines = np.array(pairs, np.float64)  # (segments, ends, 2)
    low, high = lines.min((0, 1)), lines.max((0, 1))
    radius = kind.pen or 1.0
    for _ in range(1 if kind.pen else 3):  # the pen decides how large the lines may be, and they how thick it is
        room = np.array([kind.wide, kind.tall]) - 2 * radius
        scale = min(*(room / np.maximum(high - low, 1e-3)), 10.0 * kind.side)
        middle = _centre_of_mass(lines) if kind.by_mass else (low + high) / 2
        far = _distances((lines - middle) * scale + kind.side / 2, kind.side)
        if kind.pen is None:
            radius = _pen_for(far, kind.ink)
    return _inked(far, radius).astype(np.float32)


def _centre_of_mass(lines: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1) + 1e-9
    centre: np.ndarray = (lines.mean(1) * lengths[:, None]).sum(0) / lengths.sum()
    return centre


def _distances(lines: np.ndarray, side: int) -> np.ndarray:
    """The distance of each sample of an image from the nearest line, (side * FINE, side * FINE), in pixels."""
    place = (np.arange(side * FINE) + 0.5) / FINE
    samples = np.stack(np.meshgrid(place, place), -1)  # across, down
    nearest = np.full(samples.shape[:2], np.inf)
    for start, end in lines:
        along = end - start
        share = ((samples - start) @ along / max(along @ along, 1e-12)).clip(0, 1)
        np.minimum(nearest, np.linalg.norm(samples - start - share[..., None] * along, axis=-1), out=nearest)
    return nearest


def _inked(far: np.ndarray, radius: float) -> np.ndarray:
    """The pixels that a pen covers; its edge is as soft as a sample is wide."""
    covered = ((radius - far) * FINE + 0.5).clip(0, 1)
    side = len(far) // FINE
    pixels: np.ndarray = covered.reshape(side, FINE, side, FINE).mean((1, 3))
    return pixels


def _pen_for(far: np.ndarray, ink: float) -> float:
    """Half the width of a pen with which an image has this ink, found by halving."""
    low, high = 0.4, 1.8
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if _inked(far, middle).sum() > ink else (middle, high)
    return low
