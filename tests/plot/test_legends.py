"""Legends and titles of every picture, tested by their geometry, with data everywhere."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import few
from matplotlib.legend import Legend
from pictures import REPORT
from test_plotting import FOUND

import fnn

RNG = np.random.default_rng(3)
FULL = RNG.uniform(0, 1, (2, 200))  # curves that fill the axes
POINTS = np.stack(np.meshgrid(np.linspace(0, 1, 12), np.linspace(0, 1, 12)), -1).reshape(-1, 2)
LONG = "a_metric_with_a_name_that_is_much_longer_than_the_picture_is_wide"
PLACES = np.linspace(0.05, 0.95, 10)
CURVES = {
    name: fnn.metrics.calibration.Reliability(PLACES, accuracy, np.full(10, 30))
    for name, accuracy in {"up": PLACES, "down": PLACES[::-1], "high": np.full(10, 0.98)}.items()
}


def layers(run):
    return {f"layer_{i}": 10.0 ** RNG.uniform(-4, 1) for i in range(40)} | {"x": run}


FULL_PICTURES = {
    "learning_curves": lambda ax: fnn.plot.learning_curves({"loss": FULL[0], "val_loss": FULL[1]}, ax=ax),
    "learning_curves of a long name": lambda ax: fnn.plot.learning_curves(
        {LONG: FULL[0], f"val_{LONG}": FULL[1]}, LONG, ax=ax
    ),
    "learning_curves of many runs": lambda ax: fnn.plot.learning_curves({"loss": RNG.random((20, 30))}, ax=ax),
    "layer_statistics": lambda ax: fnn.plot.layer_statistics(
        {f"a run with a name of some length, {i}": layers(10.0 ** (i - 3)) for i in range(5)}, ax=ax
    ),
    "decision_boundary": lambda ax: fnn.plot.decision_boundary(
        lambda p: p[:, 0] - 0.5, POINTS, np.arange(144) % 2, names=["one", "other"], resolution=20, margin=0, ax=ax
    ),
    "optimizer_paths": lambda ax: fnn.plot.optimizer_paths(
        lambda w: (w**2).sum(), {"SGD": POINTS, "Adam": POINTS[:, ::-1]}, low=(0, 0), high=(1, 1), resolution=20, ax=ax
    ),
    "reliability": lambda ax: fnn.plot.reliability(CURVES, ax=ax),
    "intervals": lambda ax: fnn.plot.intervals(*np.sort(RNG.normal(size=(2, 300)), 0), RNG.normal(size=300), ax=ax),
    "intervals along x": lambda ax: fnn.plot.intervals(-np.ones(50), np.ones(50), x=np.arange(50.0), ax=ax),
    "sweep_curves": lambda ax: fnn.plot.sweep_curves(FOUND, ax=ax),
    "sweep_line": lambda ax: fnn.plot.sweep_line(FOUND, ax=ax),
}  # fmt: skip


def inside(figure, box):
    return box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1


def check(ax):
    """No legend covers data, another legend or the title; nothing is cut off."""
    figure = ax.figure
    boxes = [one.get_window_extent() for one in ax.get_children() if isinstance(one, Legend)]
    assert boxes
    if ax.get_title():
        boxes.append(ax.title.get_window_extent())
    assert all(inside(figure, box) for box in [*boxes, ax.get_tightbbox()])
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
    for box in boxes:
        for line in (line for line in ax.lines if line.get_zorder() >= 1):
            assert not box.count_contains(ax.transData.transform(line.get_xydata()))
        for marks in ax.collections:
            if marks.get_offsets().size > 2:
                assert not box.count_contains(ax.transData.transform(marks.get_offsets()))
        for text in (text for text in ax.texts if text.get_text()):
            assert not box.overlaps(text.get_window_extent())


@pytest.mark.parametrize("name", few(FULL_PICTURES))
def test_no_legend_covers_data(name):
    ax = FULL_PICTURES[name](None)
    ax.figure.canvas.draw()
    check(ax)
    boxes = [one.get_window_extent() for one in ax.get_children() if isinstance(one, Legend)]
    assert not any(box.padded(-2).overlaps(ax.bbox) for box in boxes), "full axes leave no room"
    assert min(ax.bbox.size) > 100, "enough is left for the picture"
    ax.set_title("a title of the user")
    ax.figure.canvas.draw()
    check(ax)


def test_the_margin_of_a_legend_grows_with_the_resolution():
    covered = {}
    for dpi in (100, 400):
        figure, ax = plt.subplots(figsize=(4, 3), dpi=dpi)
        ax.plot([0, 1], [0, 0], label="line")
        fnn.plot._legend.place_legend(ax)
        box = ax.get_legend().get_window_extent()
        # A marker whose middle is a little to the left of the legend.
        beside = ax.transData.inverted().transform((box.x0 - 0.07 * dpi, (box.y0 + box.y1) / 2))
        ax.plot(*beside, "o", markersize=12)
        figure.canvas.draw()
        covered[dpi] = ax.get_legend().get_window_extent().x1 > ax.bbox.x0 + 0.8 * ax.bbox.width
    assert covered == {100: False, 400: False}, "the legend moved to another corner"


def test_beside_other_axes_and_after_more_data():
    figure, axes = plt.subplots(2, 3, figsize=(12, 6), layout="constrained")
    for ax in axes.flat:
        fnn.plot.learning_curves({"loss": [3.0, 1.0, 0.5], "val_loss": [3.2, 1.5, 1.0]}, ax=ax)
        ax.set_title("a title\nof two lines")
    figure.canvas.draw()
    for ax in axes.flat:
        check(ax)
        assert ax.get_legend().get_window_extent().overlaps(ax.bbox), "a falling curve leaves a corner"
    free = axes[0, 0].get_legend().get_window_extent().transformed(axes[0, 0].transData.inverted())
    axes[0, 0].plot([free.x0, free.x1], [free.y0, free.y1], "o")  # where the legend was
    axes[0, 1].plot(np.linspace(1, 3, 300), 3 * RNG.random(300), "o")  # everywhere
    axes[0, 2].legend(["mine"], loc="center")
    figure.canvas.draw()
    for ax in axes[0, :2]:
        check(ax)
    assert axes[0, 2].title.get_window_extent().y0 < axes[0, 2].bbox.y1 + 20, "no room for a legend that is gone"


def test_grids_and_functions():
    def a_function_with_a_very_long_name_that_does_not_fit_over_its_curve(x):
        return 0 * x + 5

    names = ["relu", a_function_with_a_very_long_name_that_does_not_fit_over_its_curve]
    for grid in (fnn.plot.activations(names), [fnn.plot.activation(names[1])], fnn.plot.layer_report(REPORT)):
        grid[0].figure.canvas.draw()
        with_legends = [ax for ax in grid if ax.get_legend()]
        assert with_legends
        for ax in with_legends:
            check(ax)


def test_legends_survive_pickling():
    import pickle

    figure = pickle.loads(pickle.dumps(FULL_PICTURES["learning_curves"](None).figure))
    figure.canvas.draw()
    check(figure.axes[0])
