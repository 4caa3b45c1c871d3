"""Images as arrays that matplotlib can draw, from the forms in which users have them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from .._core.arrays import as_array
from .._core.described import in_words
from .._core.errors import fail
from ._draw import Style

_MOST_IMAGES = 400  # more take minutes to draw and cannot be viewed
_WIDEST = 3.2  # inches of a single image
_LARGEST = 12.0  # inches of a figure of many images
_PIL_MODES = ("1", "L", "I", "F", "I;16", "RGB", "RGBA")  # those whose arrays hold grey levels or colours


def as_images(where: str, x: ArrayLike | Sequence[ArrayLike]) -> list[np.ndarray]:
    """Images of shape (height, width), grey, or (height, width, 3 or 4), colours that matplotlib can draw."""
    if any(isinstance(image, (str, os.PathLike)) for image in (x if isinstance(x, (list, tuple)) else [x])):
        fail(f"{where}, x", expected="images", got="a path", hint="Read it: plt.imread(path).")
    if isinstance(x, (list, tuple)) and any(hasattr(image, "shape") or _is_pil(image) for image in x):
        pictures = [_as_array(f"{where}, x[{i}]", image) for i, image in enumerate(x)]
        for i, picture in enumerate(pictures):
            if not _is_image(picture):
                _fail_shape(f"{where}, x[{i}]", "an image of shape (height, width[, channels])", picture)
    else:
        array = _as_array(f"{where}, x", x)
        # (5, 3, 3) is five grey images: nobody has a colour image as wide as its number of channels.
        colour = array.ndim == 3 and array.shape[2] in (1, 3, 4) and array.shape[1] != array.shape[2]
        pictures = [array] if array.ndim == 2 or colour else list(array) if array.ndim > 2 else []
        if not pictures or not _is_image(pictures[0]):
            _fail_shape(where, "x of shape ([count, ]height, width[, channels])", array)
    if len(pictures) > _MOST_IMAGES:
        fail(where, expected=f"at most {_MOST_IMAGES} images", got=str(len(pictures)), hint="Select some, e.g. x[:40].")
    if any(not np.isfinite(picture).all() for picture in pictures):
        fail(where, expected="finite numbers in x", got="NaN or infinity")
    pictures = [picture[..., 0] if picture.shape[2:] == (1,) else picture for picture in pictures]
    return _with_colours(pictures)


def _is_pil(image: object) -> bool:
    return isinstance(getattr(image, "mode", None), str) and hasattr(image, "convert")


def _as_array(where: str, image: Any) -> np.ndarray:
    """Images of any library; floats in float32."""
    if _is_pil(image):
        image = np.asarray(image if image.mode in _PIL_MODES else image.convert("RGBA"))
    array = np.asarray(as_array(where, image, fits=False))
    return array if array.dtype.kind in "biu" else array.astype(np.float32)


def _is_image(picture: np.ndarray) -> bool:
    return picture.size > 0 and (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (1, 3, 4)))


def _fail_shape(where: str, expected: str, array: np.ndarray) -> NoReturn:
    first = array.ndim in (3, 4) and array.shape[-3] in (1, 3, 4) and array.size > 0
    hint = "Move the channels to the end: np.moveaxis(x, -3, -1)." if first else ""
    fail(where, expected=expected, got=f"shape {array.shape}", hint=hint)


def _with_colours(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Colours as floats in [0, 1] or 8-bit integers; those of another range are scaled, all images alike."""
    pictures = list(pictures)
    for kinds in ("iu", "bf"):
        rows = [i for i, picture in enumerate(pictures) if picture.ndim == 3 and picture.dtype.kind in kinds]
        if not rows:
            continue
        low = min(float(pictures[i][..., :3].min()) for i in rows)
        high = max(float(pictures[i][..., :3].max()) for i in rows)
        for i in rows:
            if kinds == "iu" and low >= 0 and high <= 255:
                pictures[i] = pictures[i].astype(np.uint8)
                continue
            picture = pictures[i].astype(np.float32)
            if low >= 0 and 2 < high <= 255:
                picture /= 255
            elif not 0 <= low <= high <= 1:
                picture[..., :3] = (picture[..., :3] - low) / max(high - low, 1e-30)
                picture[..., 3:] /= max(1.0, float(picture[..., 3:].max(initial=1.0)))
            pictures[i] = picture
    return pictures


def grey_scales(where: str, pictures: list[np.ndarray], cmap: object) -> list[Style]:
    """The colour map of each grey image and the values at its ends: one scale for all integers, one for all floats."""
    import matplotlib
    from matplotlib import colors

    if not isinstance(cmap, colors.Colormap) and not (isinstance(cmap, str) and cmap in matplotlib.colormaps):
        fail(where, expected="cmap as 'gray', 'gray_r', 'viridis' or another of matplotlib", got=in_words(cmap))
    scales: list[Style] = [{} for _ in pictures]
    for kinds in ("iu", "bf"):
        rows = [i for i, picture in enumerate(pictures) if picture.ndim == 2 and picture.dtype.kind in kinds]
        if not rows:
            continue
        low = min(float(pictures[i].min()) for i in rows)
        high = max(float(pictures[i].max()) for i in rows)
        if low == high:  # a constant image has the shade of its value
            whole = kinds == "iu" or high > 1
            low, high = (0.0, 255.0 if whole else 1.0) if low >= 0 and high <= 255 else (low - 1, high + 1)
        for i in rows:
            scales[i] = {"cmap": cmap, "vmin": low, "vmax": high}
    return scales


def cell_size(pictures: list[np.ndarray], columns: int, titles: Sequence[str], least: float) -> tuple[float, float]:
    """Width and height of one image of a grid with its title, in inches: few images are large, many are small."""
    ratios = {picture.shape[0] / picture.shape[1] for picture in pictures}
    ratio = float(np.clip(max(ratios), 0.4, 2.5))
    side = float(np.clip(10 / columns, 1.25, _WIDEST))
    width = max(least, side / max(ratio, 1.0))
    height = width * ratio + (0.25 if len(ratios) == 1 else 0.5)
    rows = -(-len(pictures) // columns)
    shrink = float(np.clip(_LARGEST / max(rows * height, columns * width), 0.4, 1.0))
    across = 10 * shrink * width  # characters
    lines = max((sum(-(-len(line) // across) for line in title.split("\n")) for title in titles), default=1)
    return shrink * width, shrink * height + 0.17 * max(0, lines - 1)
