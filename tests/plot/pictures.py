"""Data and helpers of the picture tests."""

import numpy as np

import fnn
from fnn.inspection.report import LayerRow, NonFinite

RNG = np.random.default_rng(7)
IMAGES = RNG.random((3, 6, 5)).astype("float32")
P = np.array([[0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 3.0]])


def layer_row(path, mean, gradient, update, **changes):
    """A report row of a Dense layer with 10 units."""
    row = LayerRow(path, "Dense", (4, 10), mean, 0.5, 0.0, 10, 0, None, gradient, gradient, 3.0, 2 * gradient, update,
                   NonFinite())  # fmt: skip
    return row._replace(**changes)


REPORT = fnn.LayerReport(
    (
        layer_row("dense", 0.25, 1e-4, 2e-5, dead=3, saturated=0.2),
        layer_row("dropout", 0.3, 2e-4, None, dead=4, kind="Dropout", param_gradient_norm=None),
        layer_row("dense_1", -1.0, 0.1, 3e-2),
    ),
    (), 0.5, 4,
)  # fmt: skip


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def shown(ax):
    """Draw, so that tick labels and positions are final."""
    ax.figure.canvas.draw()
    return ax


def line_of(ax):
    """The vertices of the black line, if there is one."""
    for collection in ax.collections:
        if hasattr(collection, "allsegs") and len(collection.levels) == 1:
            return np.concatenate([segment for segments in collection.allsegs for segment in segments])
    return None


def points_of(ax):
    """The drawn points by label."""
    return {
        scatter.get_label(): np.asarray(scatter.get_offsets())
        for scatter in ax.collections
        if scatter.get_offsets().size > 2
    }


def filled_at(ax, place):
    """The colour below the points at a place of the plane."""
    shown(ax)
    for scatter in [c for c in ax.collections if c.get_label() in points_of(ax)]:
        scatter.set_visible(False)
    ax.figure.canvas.draw()
    column, row = ax.transData.transform(place)
    pixels = np.asarray(ax.figure.canvas.buffer_rgba())
    return pixels[round(pixels.shape[0] - row), round(column), :3] / 255
