"""Pictures in the plane: decision boundaries and the paths of optimizers, tested for their contents."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from pictures import SQUARE, filled_at, legend, line_of, points_of, shown

import fnn

COLORS = fnn.plot.COLORS


def test_decision_boundary_of_logits():
    x = np.random.default_rng(1).normal(size=(30, 2)) * (1, 3)
    y = (x[:, 0] > 0.3).astype(int)
    seen = []

    def predict(points):
        seen.append(points)
        return 5 * (points[:, :1] - 0.3)

    ax = fnn.plot.decision_boundary(predict, x, y, names=["left", "right"], resolution=50, margin=0.5)
    assert len(seen) == 1
    assert (seen[0].shape, seen[0].dtype) == ((2500, 2), np.float32)
    low, high = x.min(0), x.max(0)
    np.testing.assert_allclose(seen[0].min(0), low - 0.5 * (high - low), rtol=1e-5)
    np.testing.assert_allclose(seen[0].max(0), high + 0.5 * (high - low), rtol=1e-5)
    np.testing.assert_allclose(ax.get_xlim(), (seen[0][:, 0].min(), seen[0][:, 0].max()))
    np.testing.assert_allclose(ax.get_ylim(), (seen[0][:, 1].min(), seen[0][:, 1].max()))
    np.testing.assert_allclose(line_of(ax)[:, 0], 0.3, atol=1e-5)
    assert legend(ax) == ["left", "right"]
    drawn = points_of(ax)
    np.testing.assert_allclose(drawn["left"], x[y == 0])
    np.testing.assert_allclose(drawn["right"], x[y == 1])
    colors = [to_hex(s.get_facecolor()[0]) for s in ax.collections if s.get_label() in drawn]
    assert colors == [COLORS[0].lower(), COLORS[1].lower()]


@pytest.mark.parametrize("labels", [(0, 1), (-1, 1), (False, True), (0.0, 1.0)])
def test_sides_have_the_colours_of_their_points(labels):
    x = np.array([[-1.0, 0.0], [-1.0, 1.0], [1.0, 0.2], [2.0, 0.0]])
    y = np.array(labels)[[0, 0, 1, 1]]
    ax = fnn.plot.decision_boundary(lambda p: 8 * p[:, 0], x, y[:, None])
    assert legend(ax) == (["-1", "1"] if labels[0] == -1 else ["0", "1"])
    left, right = filled_at(ax, (-0.9, 0.5)), filled_at(ax, (1.9, 0.5))
    assert np.argmax(left) == 2, "blue"
    assert np.argmax(right) == 0, "orange"
    assert np.abs(left - to_rgb(COLORS[0])).max() < 0.45


@pytest.mark.parametrize(
    ("predict", "level", "edge"),
    [
        (lambda p: (p[:, 0] >= 0.4).astype(int), None, 0.4),  # a threshold unit
        (lambda p: jnp.where(p[:, 0] >= 0.4, 1, -1), None, 0.4),
        (lambda p: p[:, 0] >= 0.4, None, 0.4),
        (lambda p: jax.nn.sigmoid(p[:, 0] - 0.4), 0.5, 0.4),
        (lambda p: jax.nn.sigmoid(p[:, 0] - 0.4), None, 0.4),
        (lambda p: p[:, 0], 0.1, 0.1),
    ],
    ids=["0 and 1", "-1 and 1", "booleans", "probabilities", "probabilities by themselves", "a level"],
)
def test_the_level_of_a_single_output(predict, level, edge):
    x = np.array([[-1.0, 0.0], [1.0, 1.0], [0.0, 0.5]])
    ax = fnn.plot.decision_boundary(predict, x, [0, 1, 0], level=level)
    np.testing.assert_allclose(line_of(ax)[:, 0], edge, atol=0.013)
    np.testing.assert_allclose(np.ptp(line_of(ax)[:, 1]), 1.2, rtol=0.02)


def test_the_edge_of_a_threshold_unit_is_smooth():
    ax = fnn.plot.decision_boundary(lambda p: (p @ np.array([1, 3], "f") > 1).astype(int), np.array([[-1, -1], [1, 1]]))
    line = line_of(ax)
    assert np.abs(line @ (1, 3) - 1).max() < 0.012, "within one place of the grid"
    # The steps of a staircase would deviate from the direction of the line far more on average.
    steps = np.diff(line, axis=0)
    along = np.abs(steps @ (3, -1)) / np.linalg.norm(steps, axis=1) / np.hypot(3, 1)
    assert along.mean() > 0.99


@pytest.mark.parametrize("free", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_legend_is_in_the_free_corner(free):
    x = np.array([corner for corner in ((0, 0), (0, 1), (1, 0), (1, 1)) if corner != free]) * (3, 50)
    ax = shown(fnn.plot.decision_boundary(lambda p: p[:, 0], x, [0, 1, 0]))
    box = ax.get_legend().get_window_extent().transformed(ax.transAxes.inverted())
    assert (box.x0 > 0.5, box.y0 > 0.5) == (free[0] == 1, free[1] == 1)


def test_one_side_only_and_no_labels():
    x = np.array([[3.0, 1.0], [3.0, 2.0]])
    ax = fnn.plot.decision_boundary(lambda p: 1 + p[:, 1] ** 2, x)
    assert line_of(ax) is None
    assert ax.get_legend() is None
    np.testing.assert_allclose(ax.get_xlim(), (2.5, 3.5), err_msg="a constant feature has some room")
    np.testing.assert_allclose(ax.get_ylim(), (0.9, 2.1), rtol=1e-6)
    constant = fnn.plot.decision_boundary(lambda p: np.zeros(len(p)), x, [1, 1])
    assert legend(constant) == ["1"]


def test_decision_boundary_of_several_classes():
    middles = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], "float32")
    x = np.repeat(middles, 2, 0) + np.array([0.2, -0.1])
    y = np.repeat([2, 0, 1], 2)  # not in the order of the outputs: colours follow the labels

    def predict(points):
        return -((points[:, None] - middles) ** 2).sum(-1)[:, [1, 2, 0]]

    ax = fnn.plot.decision_boundary(predict, x, y, names=["right", "top", "corner"], margin=0.3, resolution=61)
    assert legend(ax) == ["right", "top", "corner"]
    regions = ax.collections[0].get_array().reshape(61, 61)
    a, b = (np.linspace(*limits, 61, dtype="float32") for limits in (ax.get_xlim(), ax.get_ylim()))
    grid = np.stack(np.meshgrid(a, b), -1)
    np.testing.assert_array_equal(regions, predict(grid.reshape(-1, 2)).argmax(-1).reshape(61, 61))
    np.testing.assert_allclose(points_of(ax)["right"], x[y == 0])
    lines = [c for c in ax.collections if hasattr(c, "levels")]
    assert len(lines) == 3
    for i, line in enumerate(lines):
        corners = np.concatenate([part for parts in line.allsegs for part in parts])
        scores = predict(corners.astype("float32"))
        np.testing.assert_allclose(scores[:, i], np.delete(scores, i, 1).max(1), atol=0.2)
        assert len(corners) > 20
    for place, color in (((3.9, 0.3), COLORS[0]), ((0.3, 3.9), COLORS[1]), ((0.4, 0.4), COLORS[2])):
        assert np.argmax(filled_at(ax, place)) == np.argmax(to_rgb(color))
    # Colours beyond the palette do not repeat.
    many = fnn.plot.decision_boundary(
        lambda p: np.tile(np.arange(10.0), (len(p), 1)), np.arange(20.0).reshape(10, 2), range(10)
    )
    colors = [to_hex(s.get_facecolor()[0]) for s in many.collections if s.get_label() in map(str, range(10))]
    assert len(set(colors)) == 10


def test_decision_boundary_of_a_regression():
    x = np.random.default_rng(2).uniform(-1, 1, (40, 2))
    y = (3 * x.sum(1)).astype("float32")
    ax = fnn.plot.decision_boundary(lambda p: 3 * p.sum(1, keepdims=True), x, y[:, None])
    scatter = ax.collections[-1]
    np.testing.assert_allclose(scatter.get_offsets(), x)
    np.testing.assert_allclose(scatter.get_array(), y)
    field = ax.collections[0]
    assert scatter.norm is field.norm, "shades of points and field are on the same scale"
    np.testing.assert_allclose(scatter.get_clim(), (y.min(), y.max()))
    assert len(ax.figure.axes) == 2
    assert ax.figure.axes[1].get_ylabel() == "output, and target of the points"
    # Where field and targets agree, so do their shades.
    shade = filled_at(ax, (0.3, 0.4))
    np.testing.assert_allclose(shade, scatter.to_rgba(2.1)[:3], atol=0.06)
    fnn.plot.decision_boundary(lambda p: p[:, 0], x, np.full(40, 7.5))
    with pytest.raises(fnn.InputError, match="labels 0 and 1, or -1 and 1, if there are names, got numbers"):
        fnn.plot.decision_boundary(lambda p: p[:, 0], x, y, names=["a", "b"])


def test_decision_boundary_of_a_task():
    x, y, _, classes = fnn.data.gaussians(jax.random.key(0), 60)
    task = fnn.Task(fnn.Dense(1), "binary_crossentropy", fnn.adam(0.1))
    ts = fnn.init(task, jax.random.key(0), x)
    ax = fnn.plot.decision_boundary(lambda p: fnn.predict(task, ts, p), x, y, names=classes, resolution=40)
    line = line_of(ax).astype("float32")
    np.testing.assert_allclose(fnn.predict(task, ts, line), 0, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones((4, 3))}, r"x of shape \(count, 2\), two features, got shape \(4, 3\). Select two columns"),
        ({"x": np.ones(4)}, r"x of shape \(count, 2\), two features, got shape \(4,\)"),
        ({"x": np.ones((0, 2))}, r"x of shape \(count, 2\), two features, got shape \(0, 2\)"),
        ({"x": SQUARE * np.nan}, "finite points, got NaN or infinity in x"),
        ({"y": [1, 0, 1]}, r"y of shape \(4,\), got shape \(3,\)"),
        ({"y": np.eye(4)}, r"y of shape \(4,\), got shape \(4, 4\)"),
        ({"y": [1, 0, 1, np.inf]}, "finite y, got NaN or infinity"),
        ({"y": ["a", "b", "c", "d"]}, "an array of numbers, got text"),
        ({"names": ["a", "b", "c"]}, "2 names, got 3 names"),
        ({"resolution": 1}, "resolution to be an integer of at least 2, got 1"),
        ({"margin": -0.1}, r"margin in \[0, inf\), got -0.1"),
        ({"predict": lambda p: p[:3, 0]}, r"outputs of shape \(40000,\), .* for 40000 points, got shape \(3,\)"),
        ({"predict": lambda p: p[:, None]}, r"outputs of shape .* got shape \(40000, 1, 2\)"),
        (
            {"predict": lambda p: p[:, 0] / 0 * np.nan},
            r"finite outputs, got NaN or infinity. Did the training diverge\?",
        ),
        ({"predict": lambda p: p, "y": [0, 1, 2, 1]}, r"a class label in \[0, 2\), got"),
        ({"predict": lambda p: p, "y": [0, 1, 0.5, 1]}, r"a class label in \[0, 2\), got"),
        ({"predict": lambda p: p, "names": ["a"]}, "2 names, got 1 name"),
    ],
)
def test_decision_boundary_rejects_bad_input(change, message):
    args = {"predict": lambda p: p[:, 0], "x": SQUARE, "y": [0, 1, 0, 1], **change}
    with (
        np.errstate(all="ignore"),
        pytest.raises(fnn.InputError, match=f"^decision_boundary(: |, y: )expected {message}"),
    ):
        fnn.plot.decision_boundary(**args)
    assert not plt.get_fignums()


def bowl(w):
    return w[0] ** 2 + 10 * (w[1] - 0.5) ** 2


def test_optimizer_paths():
    paths = {"SGD": np.array([[1.0, 1.0], [0.5, 0.7], [0.1, 0.5]]), "Adam": jnp.array([[1.0, 1.0], [0.0, 0.4]])}
    ax = fnn.plot.optimizer_paths(bowl, paths, low=(-1, -2), high=(1.5, 2), minimum=(0, 0.5))
    assert legend(ax) == ["SGD", "Adam", "start", "minimum"]
    sgd, adam, start, minimum = ax.lines
    np.testing.assert_allclose(sgd.get_xydata(), paths["SGD"])
    np.testing.assert_allclose(adam.get_xydata(), paths["Adam"])
    assert sgd.get_marker() != adam.get_marker()
    assert sgd.get_color() != adam.get_color()
    assert (sgd.get_markevery(), adam.get_markevery()) == ([2], [1]), "the marker is at the end"
    assert start.get_xydata().tolist() == [[1, 1]]
    assert minimum.get_xydata().tolist() == [[0, 0.5]]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1.5), (-2, 2))
    levels = ax.collections[0].levels
    factors = levels[2:] / levels[1:-1]
    np.testing.assert_allclose(factors, factors[0])
    assert levels[0] == 0
    assert levels[-1] == pytest.approx(float(bowl((1.5, -2))), rel=1e-5)


def test_optimizer_paths_with_different_starts_and_diverging_paths():
    astray = np.array([[2.0, 0.0], [np.nan, 1.0], [0.5, 9.0]])
    ax = fnn.plot.optimizer_paths(bowl, {"a": astray, "b": astray[:1] / 2}, low=(-1, -1), high=(3, 1))
    assert legend(ax) == ["a", "b", "start"]
    assert ax.lines[0].get_xydata().tolist() == [[2, 0], [0.5, 9]]
    assert ax.lines[2].get_xydata().tolist() == [[1, 0], [2, 0]]
    nine = fnn.plot.optimizer_paths(bowl, {str(i): SQUARE for i in range(9)}, low=(-1, -1), high=(3, 4))
    assert len({line.get_marker() for line in nine.lines[:9]}) == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": (2, 0)}, r"low below high, two numbers each, got low=\(2, 0\), high=\(2, 3\)"),
        ({"high": 3}, "low below high, two numbers each"),
        ({"paths": {}}, "a dict of at least one path, got {}"),
        ({"paths": [SQUARE]}, "a dict of at least one path, got a list"),
        ({"paths": {"SGD": SQUARE.T}}, r"path 'SGD' of shape \(steps \+ 1, 2\), got shape \(2, 4\)"),
        ({"paths": {"SGD": SQUARE * np.nan}}, "path 'SGD' to start at a finite point"),
        ({"minimum": (1, 2, 3)}, r"minimum of two numbers, got shape \(3,\)"),
        ({"surface": lambda w: w}, r"a surface with one number for each point, got shape \(2,\)"),
        ({"surface": lambda w: 0 * w[0]}, "a surface of finite numbers that differ, got a constant"),
        ({"surface": lambda w: jnp.log(w[0])}, "a surface of finite numbers that differ, got NaN or infinity"),
        ({"resolution": 1}, "resolution to be an integer of at least 2"),
    ],
)
def test_optimizer_paths_reject_bad_input(change, message):
    args = {"surface": bowl, "paths": {"SGD": SQUARE}, "low": (-1, -1), "high": (2, 3), **change}
    with pytest.raises(fnn.InputError, match=f"^optimizer_paths: expected {message}"):
        fnn.plot.optimizer_paths(**args)
    assert not plt.get_fignums()
