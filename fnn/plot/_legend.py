"""Legends that cover no data: in a free corner of the axes, else above them and below their title."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._draw import Artist, Axes, characters_within

if TYPE_CHECKING:  # matplotlib loads on first use
    from matplotlib.axes._base import _AxesBase
    from matplotlib.backend_bases import RendererBase
    from matplotlib.legend import Legend
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

Corner = Literal["upper right", "upper left", "lower left", "lower right"]
CORNERS: tuple[Corner, ...] = ("upper right", "upper left", "lower left", "lower right")
_MARGIN = 0.1  # inches around the legend, for markers and wide lines


def place_legend(
    ax: Axes,
    handles: Sequence[Artist] | None = None,
    labels: Sequence[str] | None = None,
    *,
    corners: Sequence[Corner] = CORNERS,
    **look: Any,
) -> None:
    """A legend in the first of the ``corners`` without data, else above the axes, in as many columns as fit.

    Each time the picture is drawn, the corner is checked again. Titles keep above a legend that is above the axes.
    """
    handles = list(ax.get_legend_handles_labels()[0] if handles is None else handles)
    look = {"frameon": False, "fontsize": 9, **look}
    width = max(12, characters_within(ax, look["fontsize"]) - 5)  # beside the line
    texts = [str(handle.get_label()) for handle in handles] if labels is None else labels
    texts = [textwrap.fill(text, width) for text in texts]
    ax.autoscale_view()  # matplotlib puts it off until it draws
    room = _Room(ax.legend(handles, texts, loc="upper right", **look), corners)
    if not room.find_corner():
        look |= {"frameon": False, "labelspacing": 0.3}
        for columns in range(len(handles), 0, -1):
            legend = ax.legend(handles, texts, loc="upper right", ncols=columns, **look)
            if legend.get_window_extent().width <= ax.bbox.width:
                break
        room = _Room(legend, ())
        room.find_corner()
    # Matplotlib sets titles above child axes. This one is empty and as high as the legend above the axes.
    child = ax.inset_axes((0, 1, 1, 0))
    child.set_axis_off()
    child.set_axes_locator(room)


class _Room:
    """The place of a legend, and the room that it takes above the axes."""

    def __init__(self, legend: Legend, corners: Sequence[Corner]) -> None:
        self.ax, self.legend, self.corners = legend.axes, legend, tuple(corners)

    def find_corner(self, renderer: RendererBase | None = None) -> bool:
        """Move the legend into a corner without data if there is one, else above the axes."""
        legend = self.legend
        legend.set_bbox_to_anchor(None)
        for corner in self.corners:
            legend.set_loc(corner)
            if not _covers_data(self.ax, legend.get_window_extent(renderer).padded(_MARGIN * self.ax.figure.dpi)):
                return True
        legend.set_loc("lower left")
        legend.set_bbox_to_anchor((0, 1), self.ax.transAxes)
        return False

    def __call__(self, child: _AxesBase, renderer: RendererBase | None) -> Bbox:
        """The room above the axes, as a box in the figure, for matplotlib, which calls it before it draws."""
        from matplotlib.transforms import Bbox

        left, _, right, top = self.ax.bbox.extents
        high = top
        shown = self.legend in self.ax.get_children()  # unless the user replaced or removed it
        if shown and not self.find_corner(renderer):
            high = self.legend.get_window_extent(renderer).y1
        return Bbox([[left, top], [right, high]]).transformed(self.ax.figure.transSubfigure.inverted())


def _covers_data(ax: Axes, box: Bbox) -> bool:
    """Whether a box in pixels covers a line, point, bar, band or text. Artists below zorder 1 are the background."""
    return (
        any(path.intersects_bbox(box, filled=filled) for path, filled in _paths(ax))
        or any(box.count_contains(points) for points in _points(ax))
        or any(text.get_text() and text.get_window_extent().overlaps(box) for text in ax.texts)
    )


def _paths(ax: Axes) -> Iterator[tuple[Path, bool]]:
    """Lines, bars and bands as paths in pixels, and whether they are filled."""
    from matplotlib.collections import LineCollection, PolyCollection

    for line in (line for line in ax.lines if line.get_zorder() >= 1 and line.get_linestyle() != "None"):
        yield line.get_transform().transform_path(line.get_path()), False
    for patch in (patch for patch in ax.patches if patch.get_zorder() >= 1):
        yield patch.get_transform().transform_path(patch.get_path()), True
    for collection in (collection for collection in ax.collections if collection.get_zorder() >= 1):
        if isinstance(collection, (LineCollection, PolyCollection)):
            for path in collection.get_paths():
                yield collection.get_transform().transform_path(path), isinstance(collection, PolyCollection)


def _points(ax: Axes) -> Iterator[np.ndarray]:
    """Markers as points in pixels."""
    from matplotlib.collections import PathCollection

    for line in ax.lines:
        if line.get_zorder() >= 1:
            yield line.get_transform().transform(line.get_xydata())
    for marks in ax.collections:
        if isinstance(marks, PathCollection) and marks.get_zorder() >= 1:
            yield marks.get_offset_transform().transform(marks.get_offsets())
