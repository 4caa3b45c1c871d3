"""Rules that hold for every picture, and the gallery. The appearance is reviewed in docs/gallery.md."""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import few
from pictures import IMAGES, REPORT, SQUARE, P

import fnn
from fnn import classic

DOCS = Path(__file__).parents[2] / "docs"


FOUND = fnn.Sweep(
    [{"rate": rate, "drop": drop} for rate in (0.1, 1.0) for drop in (0.0, 0.5)],
    np.array([0.4, 0.3, 0.6, 0.5]),
    [{"loss": np.array([1.0, score])} for score in (0.4, 0.3, 0.6, 0.5)],
    np.zeros(4, bool), "loss", False, None, [],
)  # fmt: skip
ONE_AX = {
    "sweep_curves": lambda ax: fnn.plot.sweep_curves(FOUND, ax=ax),
    "sweep_line": lambda ax: fnn.plot.sweep_line(FOUND, ax=ax),
    "sweep_map": lambda ax: fnn.plot.sweep_map(FOUND, ax=ax),
    "activation": lambda ax: fnn.plot.activation("relu", ax=ax),
    "learning_curves": lambda ax: fnn.plot.learning_curves({"loss": [2.0, 1.0]}, ax=ax),
    "layer_statistics": lambda ax: fnn.plot.layer_statistics({"dense": 0.1}, ax=ax),
    "probabilities": lambda ax: fnn.plot.probabilities(P[0], ax=ax),
    "confusion_matrix": lambda ax: fnn.plot.confusion_matrix(P, [0, 1, 0], ax=ax),
    "decision_boundary": lambda ax: fnn.plot.decision_boundary(lambda p: p[:, 0] - 1, SQUARE, ax=ax),
    "optimizer_paths": lambda ax: fnn.plot.optimizer_paths(
        lambda w: (w**2).sum(), {"SGD": SQUARE}, low=(-1, -1), high=(4, 4), ax=ax
    ),
    "unit": lambda ax: fnn.plot.unit(classic.OR, ax=ax),
    "reliability": lambda ax: fnn.plot.reliability(fnn.metrics.reliability(P, [0, 1, 0]), ax=ax),
    "intervals": lambda ax: fnn.plot.intervals([0.0, 1.0], [2.0, 3.0], [1.0, 4.0], ax=ax),
    "model": lambda ax: fnn.plot.model(fnn.Dense(2), (3,), ax=ax),
    "network": lambda ax: fnn.plot.network(classic.formula("a and b"), ax=ax),
}


PLAN = fnn.placement.Plan((fnn.placement.PlanRow("dense", 10),), None, 32, {"data": 100}, None, False, None)
MANY_AXES = {
    "plan": lambda axes: fnn.plot.plan(PLAN, axes=axes),
    "layer_report": lambda axes: fnn.plot.layer_report(REPORT, axes=axes),
    "activations": lambda axes: fnn.plot.activations(["relu", "tanh"], axes=axes),
    "images": lambda axes: fnn.plot.images(IMAGES, axes=axes),
    "predictions": lambda axes: fnn.plot.predictions(IMAGES, P, axes=axes),
}


@pytest.mark.parametrize("name", few(ONE_AX))
def test_a_picture_uses_the_given_axes_or_one_new_figure(name, own):
    draw = ONE_AX[name]
    assert draw(own) is own
    assert len(plt.get_fignums()) == 1
    assert own.has_data() or own.patches
    fresh = draw(None)
    assert fresh is not own
    assert len(plt.get_fignums()) == 2
    with pytest.raises(fnn.InputError, match=f"^{name}: expected ax to be one matplotlib axes, got an ndarray"):
        draw(np.array([own]))
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("name", few(MANY_AXES))
def test_a_grid_uses_the_given_axes_or_one_new_figure(name):
    draw = MANY_AXES[name]
    grid = plt.figure().subplots(2, 4)
    assert list(draw(grid)) == list(grid.ravel())
    assert len(plt.get_fignums()) == 1
    assert draw(None)[0].figure is not grid[0, 0].figure
    assert len(plt.get_fignums()) == 2
    with pytest.raises(fnn.InputError, match=f"^{name}: expected [236] axes, got 1"):
        draw(grid[0, :1])
    with pytest.raises(fnn.InputError, match=f"^{name}: expected axes to be an array of matplotlib axes, got a list"):
        draw([1, 2, 3])


@pytest.mark.parametrize("name", MANY_AXES)
def test_a_notebook_shows_no_array_of_axes(name):
    formatters = pytest.importorskip("IPython.core.formatters")
    axes = MANY_AXES[name](None)
    assert formatters.DisplayFormatter().format(axes) == ({}, {})
    assert formatters.DisplayFormatter().format(axes[:2]) == ({}, {})
    assert str(axes) == f"<{len(axes)} axes>"
    assert isinstance(axes, np.ndarray)
    assert axes[0].figure.axes[: len(axes)] == list(axes.flat)
    assert len(plt.get_fignums()) == 1, "the picture stays open, so that the notebook shows it once"


def test_every_function_is_in_these_tables():
    functions = {name for name in fnn.plot.__all__ if callable(getattr(fnn.plot, name))}
    assert functions == {*ONE_AX, *MANY_AXES}


def test_the_gallery_matches_its_script_and_shows_every_picture():
    """The blocks of the page run in test_docs.py."""
    script = runpy.run_path(str(DOCS / "gallery.py"))
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert text == script["page"](), "run python docs/gallery.py"
    for name in {*ONE_AX, *MANY_AXES}:
        assert f"fnn.plot.{name}(" in text
    files = {entry.file for entry in script["ENTRIES"]}
    assert {path.name for path in (DOCS / "gallery").iterdir()} == files
    for name in files:
        size = (DOCS / "gallery" / name).stat().st_size
        assert 1000 < size < 60_000, f"{name}: {size}"
