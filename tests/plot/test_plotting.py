"""Pictures, tested for what they show. What they look like is looked at in docs/gallery.md."""

import itertools
import runpy
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from sklearn import metrics as sk

import fnn
from fnn import classic
from fnn.inspection.report import LayerRow, NonFinite

COLORS, RIGHT, WRONG = fnn.plot.COLORS, fnn.plot.RIGHT, fnn.plot.WRONG
MINUS = "\N{MINUS SIGN}"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def own():
    """Axes of the caller's, in a figure of its own."""
    return plt.figure().add_subplot()


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def shown(ax):
    """Draw, so that tick labels and positions are final."""
    ax.figure.canvas.draw()
    return ax


# ------------------------------------------------------------------------------------------------------------- shared
def test_public_names():
    assert dir(fnn.plot) == sorted(fnn.plot.__all__)
    assert all(getattr(fnn.plot, name) is not None for name in fnn.plot.__all__)


RNG = np.random.default_rng(7)
IMAGES = RNG.random((3, 6, 5)).astype("float32")
P = np.array([[0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 3.0]])
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
    "network": lambda ax: fnn.plot.network(classic.formula("a and b"), ax=ax),
}


def layer_row(path, mean, gradient, update, **changes):
    """A row of a report, of a Dense layer with 10 units."""
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
MANY_AXES = {
    "layer_report": lambda axes: fnn.plot.layer_report(REPORT, axes=axes),
    "activations": lambda axes: fnn.plot.activations(["relu", "tanh"], axes=axes),
    "images": lambda axes: fnn.plot.images(IMAGES, axes=axes),
    "predictions": lambda axes: fnn.plot.predictions(IMAGES, P, axes=axes),
}


@pytest.mark.parametrize("name", ONE_AX)
def test_a_picture_goes_into_the_axes_given_and_else_into_one_new_figure(name, own):
    draw = ONE_AX[name]
    assert draw(own) is own
    assert len(plt.get_fignums()) == 1
    assert own.has_data() or own.patches
    fresh = draw(None)
    assert fresh is not own
    assert len(plt.get_fignums()) == 2
    with pytest.raises(fnn.InputError, match=f"^{name}: expected ax to be one matplotlib axes, got ndarray"):
        draw(np.array([own]))
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("name", MANY_AXES)
def test_a_grid_goes_into_the_axes_given_and_else_into_one_new_figure(name):
    draw = MANY_AXES[name]
    grid = plt.figure().subplots(2, 4)
    assert list(draw(grid)) == list(grid.ravel())
    assert len(plt.get_fignums()) == 1
    assert draw(None)[0].figure is not grid[0, 0].figure
    assert len(plt.get_fignums()) == 2
    with pytest.raises(fnn.InputError, match=f"^{name}: expected [236] axes, got 1"):
        draw(grid[0, :1])
    with pytest.raises(fnn.InputError, match=f"^{name}: expected axes to be an array of matplotlib axes, got list"):
        draw([1, 2, 3])


def test_every_function_is_in_these_tables():
    functions = {name for name in fnn.plot.__all__ if callable(getattr(fnn.plot, name))}
    assert functions == {*ONE_AX, *MANY_AXES}


# -------------------------------------------------------------------------------------------------------- diagnostics
def test_layer_report():
    outputs, gradients, updates, *_ = axes = fnn.plot.layer_report(REPORT)
    assert len(axes) == 3
    shown(outputs)
    assert [label.get_text() for label in updates.get_xticklabels()] == ["dense", "dropout", "dense_1"]
    (bars,) = outputs.containers
    np.testing.assert_allclose(bars[0].get_ydata(), [0.25, 0.3, -1.0])
    np.testing.assert_allclose([segment[:, 1] for segment in bars[2][0].get_segments()],
                               [[-0.25, 0.75], [-0.2, 0.8], [-1.5, -0.5]])  # fmt: skip
    # Dropout hands dead units on, which is not said again.
    assert texts(outputs) == ["3 of 10 dead, 20% saturated"]
    assert legend(gradients) == ["at the output", "of the parameters"]
    np.testing.assert_allclose(gradients.lines[0].get_ydata(), [1e-4, 2e-4, 0.1])
    # A layer without parameters has no point on the line, which goes on to the next one.
    np.testing.assert_allclose(gradients.lines[1].get_xydata(), [[0, 2e-4], [2, 0.2]])
    np.testing.assert_allclose(updates.lines[0].get_xydata(), [[0, 2e-5], [2, 3e-2]])
    assert gradients.get_yscale() == updates.get_yscale() == "log"
    guide = updates.lines[1]
    assert set(guide.get_ydata()) == {1e-3}
    assert legend(updates) == ["customary $10^{-3}$"]
    assert not any(ax.patches for ax in axes)


def test_layer_report_marks_what_is_not_finite_and_writes_zeros():
    rows = (
        layer_row("", 0.1, 0.0, 0.0, kind="Mine"),
        layer_row("log", None, np.nan, None, std=None, param_gradient_norm=None, non_finite=NonFinite(2, 1)),
        layer_row("last", 0.1, 0.2, None, non_finite=NonFinite(0, 0, 5, 0)),
    )  # fmt: skip
    outputs, gradients, updates = fnn.plot.layer_report(REPORT._replace(rows=rows))
    shown(outputs)
    assert [label.get_text() for label in updates.get_xticklabels()] == ["Mine", "log", "last"]
    assert [sorted(texts(ax)) for ax in (outputs, gradients, updates)] == [
        ["not finite"], ["0", "0", "not finite"], ["0", "not finite"],
    ]  # fmt: skip
    places = [[round(patch.get_x() + 0.5) for patch in ax.patches] for ax in (outputs, gradients, updates)]
    assert places == [[1], [1], [2]]
    low, high = updates.get_ylim()
    assert low < 1e-3 < high
    np.testing.assert_array_equal(gradients.lines[0].get_ydata(), [np.nan, 0.2])


def test_layer_report_refuses_what_is_no_report():
    for wrong in ({"dense": 1.0}, fnn.summary(fnn.Dense(2), (3,)), REPORT._replace(rows=())):
        with pytest.raises(fnn.InputError, match=r"layer_report: expected a report from fnn\.layer_report"):
            fnn.plot.layer_report(wrong)


# -------------------------------------------------------------------------------------------------------- activations
@pytest.mark.parametrize("name", [*fnn.activations.ACTIVATIONS, fnn.activations.mish])
def test_activation_and_its_derivative(name):
    ax = fnn.plot.activation(name, low=-3, high=3)
    y, slope = (line.get_ydata() for line in ax.lines[-2:])
    x = ax.lines[-1].get_xdata()
    assert (x[0], x[-1]) == (-3, 3)
    label = name if isinstance(name, str) else "mish"
    assert legend(ax) == [label, "derivative"]
    fn = fnn.activations.get_activation(name)
    if label in ("softmax", "log_softmax"):
        assert ax.get_title() == f"{label} of (x, 0), first output"
        want = fn(jnp.stack([x, jnp.zeros(len(x))], -1))[:, 0]
    else:
        assert ax.get_title() == label
        want = fn(jnp.asarray(x))
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
    if label not in ("step", "sign"):
        smooth = np.abs(x[:-1]) > 0.1
        np.testing.assert_allclose((np.diff(y) / np.diff(x))[smooth], (slope[1:] + slope[:-1])[smooth] / 2, atol=2e-3)


def test_activation_refuses_bad_input():
    with pytest.raises(fnn.InputError, match=r"expected the name of a known activation.*Did you mean 'relu'"):
        fnn.plot.activation("reluu")
    with pytest.raises(fnn.InputError, match=r"activation: expected high in \(2, inf\), got 1"):
        fnn.plot.activation("relu", low=2, high=1)


def test_activations_draws_each_function_once():
    names = [name for name in fnn.activations.ACTIVATIONS if name != "silu"]  # another name of swish
    axes = fnn.plot.activations()
    titles = [ax.get_title() for ax in axes]
    assert [title.partition(" of ")[0] for title in titles[: len(names)]] == names
    assert titles[len(names) :] == [""] * (len(axes) - len(names))
    tanh = axes[names.index("tanh")]
    np.testing.assert_allclose(tanh.lines[-2].get_ydata(), np.tanh(np.linspace(-5, 5, 501)), rtol=1e-4, atol=1e-6)
    legends = [ax.get_legend() for ax in axes if ax.get_legend()]
    assert len(legends) == 1
    assert [text.get_text() for text in legends[0].get_texts()] == ["f(x)", "derivative"]
    assert [line.get_linestyle() for line in legends[0].get_lines()] == ["-", "--"]
    assert [ax.axison for ax in axes] == [True] * len(names) + [False] * (len(axes) - len(names))


def test_some_activations():
    def square(x):
        return x**2

    axes = fnn.plot.activations(["relu", square, "softmax"], low=-2, high=4, columns=2)
    assert [ax.get_title() for ax in axes] == ["relu", "square", "softmax of (x, 0)", ""]
    assert axes[1].lines[-1].get_ydata()[-1] == pytest.approx(8)
    # All three places with nothing below have their ticks.
    labelled = [bool(ax.xaxis.get_tick_params()["labelbottom"]) for ax in axes[:3]]
    assert labelled == [False, True, True]
    full = fnn.plot.activations(["relu"])
    assert [ax.get_legend() is not None for ax in full] == [True]
    for wrong in ("relu", []):
        with pytest.raises(fnn.InputError, match="activations: expected a list of at least one activation, got"):
            fnn.plot.activations(wrong)
    with pytest.raises(fnn.InputError, match="columns to be an integer of at least 1"):
        fnn.plot.activations(columns=0)


# ----------------------------------------------------------------------------------------------------------- training
def test_learning_curves():
    ax = fnn.plot.learning_curves({"loss": [3, 2, 1], "val_loss": [4, 3, 2.5], "seconds": [1, 1, 1]})
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 2, 1], [4, 3, 2.5]]
    assert legend(ax) == ["training", "validation"]
    assert [line.get_color() for line in ax.lines] == list(COLORS[:2])
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"]
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("epoch", "loss", "loss")
    ticks = shown(ax).get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))
    only = fnn.plot.learning_curves({"accuracy": jnp.array([0.5, 0.75], jnp.bfloat16)}, "accuracy")
    assert legend(only) == ["training"]
    assert only.lines[0].get_ydata().tolist() == [0.5, 0.75]


def test_learning_curves_of_many_trainings():
    members = np.array([[4.0, 3.0, 2.0], [5.0, 1.0, np.nan], [7.0, 2.0, 1.0]])
    ax = fnn.plot.learning_curves({"loss": members, "val_loss": members[:, :2] + 1})
    assert legend(ax) == ["training (median of 3)", "validation (median of 3)"]
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines[:3]], members)
    # The member that went astray counts as infinitely high.
    assert ax.lines[3].get_ydata().tolist() == [5.0, 2.0, 2.0]
    assert [line.get_ydata().tolist() for line in ax.lines[4:]] == [[5, 4], [6, 2], [8, 3], [6, 3]]
    assert ax.lines[3].get_linewidth() > 2 * ax.lines[0].get_linewidth()
    grid = fnn.plot.learning_curves({"loss": RNG.random((2, 5, 4))})
    assert legend(grid) == ["training (median of 10)"]
    assert len(grid.lines) == 11
    one = fnn.plot.learning_curves({"loss": members[:1]})
    assert legend(one) == ["training"]


@pytest.mark.slow
def test_learning_curves_draw_what_many_returns():
    x = jnp.linspace(-1, 1, 16)[:, None]
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))

    def trial(key):
        return fnn.run(task, fnn.init(task, key, x), (x, 2 * x), epochs=3)[1]

    history = jax.jit(fnn.many(trial))(jax.random.split(jax.random.key(0), 2))
    ax = fnn.plot.learning_curves(history)
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines[:2]], history["loss"])
    assert legend(ax) == ["training (median of 2)"]


def test_learning_curves_refuse_bad_input():
    history = {"loss": [1], "val_loss": [1]}
    with pytest.raises(fnn.InputError, match=r"one of \['loss'\], got 'accuracy'"):
        fnn.plot.learning_curves(history, "accuracy")
    with pytest.raises(fnn.InputError, match=r"one of \['loss'\], got 'val_loss'. Its validation is drawn with it"):
        fnn.plot.learning_curves(history, "val_loss")
    with pytest.raises(fnn.InputError, match=r"one of \['loss'\], got \['loss'\]"):
        fnn.plot.learning_curves(history, ["loss"])
    with pytest.raises(fnn.InputError, match=r"at least one epoch of 'loss', got float64\[0\]"):
        fnn.plot.learning_curves({"loss": []})
    with pytest.raises(fnn.InputError, match="expected a history, a dict of lists, got tuple"):
        fnn.plot.learning_curves(("ts", "history"))
    assert not plt.get_fignums()


def test_layer_statistics():
    runs = {"sigmoid": {"first": 1e-6, "middle": 1e-3, "last": 0.1}, "relu": {"first": jnp.array(0.2), "last": 0.3}}
    ax = shown(fnn.plot.layer_statistics(runs, ylabel="norm"))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["first", "middle", "last"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1e-6, 1e-3, 0.1])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.2, np.nan, 0.3], rtol=1e-6)
    assert legend(ax) == ["sigmoid", "relu"]
    assert len({line.get_marker() for line in ax.lines}) == len({line.get_color() for line in ax.lines}) == 2
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "norm")
    plain = fnn.plot.layer_statistics({"a": -1.0, "b": 2.0}, log=False)
    assert plain.get_yscale() == "linear"
    assert plain.get_legend() is None
    assert plain.lines[0].get_ydata().tolist() == [-1, 2]


def test_layer_statistics_write_zeros_below_the_lowest_point():
    ax = fnn.plot.layer_statistics({"a": {"x": 0.0, "y": 1e-4, "z": 1.0}, "b": {"x": 0.0, "y": 1e-2}})
    assert texts(ax) == ["0", "0"]
    assert [text.get_color() for text in ax.texts] == list(COLORS[:2])
    assert ax.texts[0].xy[0] < 0 < ax.texts[1].xy[0]
    assert np.isnan(ax.lines[0].get_ydata()[0])
    assert 1e-6 < ax.get_ylim()[0] < 5e-5
    dead = fnn.plot.layer_statistics({"x": 0.0, "y": 0.0})
    assert texts(dead) == ["0", "0"]
    assert fnn.plot.layer_statistics({"x": 0.0}, log=False).lines[0].get_ydata().tolist() == [0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "a dict of layers, or of runs with their layers, got {}"),
        ([1.0], r"a dict of layers, or of runs with their layers, got \[1.0\]"),
        ({"run": {}}, "at least one layer, got none"),
        ({"run": {"x": 1.0}, "x": 2.0}, "either a dict of layers or a dict of dicts, got a mixture"),
        ({"x": np.ones(3)}, r"one number for layer 'x', got float64\[3\]. For example jnp.linalg.norm"),
        ({"x": -1.0}, "number for layer 'x' that is at least 0 on a logarithmic axis, got -1. Pass log=False"),
        ({"x": np.nan}, "number for layer 'x' that is finite, got nan"),
        ({"x": "much"}, "x: expected an array of numbers, got a text"),
    ],
)
def test_layer_statistics_refuse_bad_input(values, message):
    with pytest.raises(fnn.InputError, match=f"layer_statistics(: expected (a )?|, ){message}"):
        fnn.plot.layer_statistics(values)
    assert not plt.get_fignums()


# ------------------------------------------------------------------------------------------------------------- images
def test_images_show_right_and_wrong():
    x = np.random.default_rng(0).random((5, 8, 8, 1))
    axes = fnn.plot.images(x, [1, 2, 3, 4, 5], [1, 2, 9, 4, 5], columns=3)
    assert len(axes) == 6
    assert [ax.get_title() for ax in axes] == ["1 (1)", "2 (2)", "9 (3)", "4 (4)", "5 (5)", ""]
    assert [ax.title.get_color() for ax in axes[:5]] == [RIGHT, RIGHT, WRONG, RIGHT, RIGHT]
    assert [ax.title.get_fontweight() for ax in axes[:4]] == ["normal", "normal", "bold", "normal"]
    np.testing.assert_array_equal(axes[3].images[0].get_array(), x[3, ..., 0].astype("float32"))
    # One scale for all, so that a faint image looks faint.
    assert {ax.images[0].get_clim() for ax in axes[:5]} == {(x.astype("float32").min(), x.astype("float32").max())}
    assert not any(ax.axison for ax in axes)
    plain = fnn.plot.images(np.zeros((2, 4, 4, 3)), ["cat", "dog"])
    assert [ax.get_title() for ax in plain] == ["cat", "dog"]
    assert plain[0].images[0].get_array().shape == (4, 4, 3)
    guesses = fnn.plot.images(x, predictions=jnp.arange(5))
    assert [ax.get_title() for ax in guesses[:5]] == ["0", "1", "2", "3", "4"]


def test_images_with_names():
    names = ["T-shirt", "ankle boot", "bag"]
    axes = fnn.plot.images(IMAGES, np.array([1, 2, 1]), jnp.array([1, 1, 0]), names=names)
    assert [ax.get_title() for ax in axes] == ["ankle boot\n(ankle boot)", "ankle boot (bag)", "T-shirt\n(ankle boot)"]
    assert [ax.title.get_color() for ax in axes] == [RIGHT, WRONG, WRONG]
    with pytest.raises(fnn.InputError, match=r"images: expected a class label in \[0, 2\), got .*2"):
        fnn.plot.images(IMAGES, [0, 1, 2], names=["a", "b"])


@pytest.mark.parametrize(
    "x", [np.ones((2, 3, 3), bool), np.full((2, 3, 3), 200, "uint8"), jnp.ones((2, 3, 3, 3), jnp.bfloat16)]
)
def test_images_of_any_dtype(x):
    axes = fnn.plot.images(x)
    shown(axes[0])
    np.testing.assert_array_equal(np.asarray(axes[1].images[0].get_array(), float), np.asarray(x[1], float))


def test_images_refuse_bad_input():
    with pytest.raises(fnn.InputError, match=r"x of shape \(count, height, width\[, channels\]\), got \(4, 4\)"):
        fnn.plot.images(np.zeros((4, 4)))
    with pytest.raises(fnn.InputError, match=r"channels\]\), got \(0, 4, 4\)"):
        fnn.plot.images(np.zeros((0, 4, 4)))
    with pytest.raises(fnn.InputError, match=r"at most 400 images, got 401. Select some, e.g. x\[:40\]"):
        fnn.plot.images(np.zeros((401, 2, 2)))
    with pytest.raises(fnn.InputError, match="expected 3 labels, got 2"):
        fnn.plot.images(np.zeros((3, 4, 4)), [1, 2])
    with pytest.raises(fnn.InputError, match=r"one of predictions per image, got \(3, 10\). Use scores.argmax\(-1\)"):
        fnn.plot.images(np.zeros((3, 4, 4)), [1, 2, 3], np.zeros((3, 10)))
    with pytest.raises(fnn.InputError, match=r"colour images in \[0, 1\], or integers in \[0, 255\], got numbers"):
        fnn.plot.images(np.full((2, 4, 4, 3), 255.0))
    assert not plt.get_fignums()


# ------------------------------------------------------------------------------------------------------ probabilities
def test_probabilities_of_a_wrong_prediction():
    ax = shown(fnn.plot.probabilities(jnp.array([0.05, 0.7, 0.25]), label=2, names=["bag", "boot", "coat"]))
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.05, 0.7, 0.25], rtol=1e-6)
    assert [to_hex(bar.get_facecolor()) for bar in ax.patches] == [to_hex("0.75"), WRONG, to_hex("0.75")]
    assert texts(ax) == ["70%", "25% (true)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bag", "boot", "coat"]
    assert [label.get_fontweight() for label in ax.get_yticklabels()] == ["normal", "normal", "bold"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first class is at the top"
    assert ax.get_xlabel() == "probability"


def test_probabilities_of_a_right_prediction_and_without_a_label():
    right = fnn.plot.probabilities([0.9, 0.1], label=0)
    assert to_hex(right.patches[0].get_facecolor()) == RIGHT
    assert texts(right) == ["90% (true)"]
    unknown = fnn.plot.probabilities([0.1, 0.9])
    assert to_hex(unknown.patches[1].get_facecolor()) == COLORS[0].lower()
    assert texts(unknown) == ["90%"]
    single = fnn.plot.probabilities([0.2], label=np.int32(0), names=["no", "yes"])
    np.testing.assert_allclose([bar.get_width() for bar in single.patches], [0.8, 0.2])


def test_probabilities_of_many_classes():
    p = np.arange(1, 31) / np.arange(1, 31).sum()
    ax = shown(fnn.plot.probabilities(p, label=4))
    assert [label.get_text() for label in ax.get_yticklabels()] == [*map(str, range(29, 19, -1)), "4"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [*p[29:19:-1], p[4]])
    few = shown(fnn.plot.probabilities(p[:20] / p[:20].sum(), top=2))
    assert [label.get_text() for label in few.get_yticklabels()] == ["19", "18"]
    assert len(fnn.plot.probabilities(p[:20] / p[:20].sum()).patches) == 20


def test_probabilities_refuse_bad_input():
    with pytest.raises(fnn.InputError, match=r"of shape \(classes,\), got \(3, 2\)"):
        fnn.plot.probabilities(P)
    with pytest.raises(fnn.InputError, match=r"numbers from -2 to 3 that sum to 1. Pass fnn.activations.softmax"):
        fnn.plot.probabilities([-2, 3])
    with pytest.raises(fnn.InputError, match=r"probabilities, which sum to 1, got numbers from 0\.5 to 0\.9"):
        fnn.plot.probabilities([0.5, 0.9])
    with pytest.raises(fnn.InputError, match="which sum to 1, got numbers from nan to nan"):
        fnn.plot.probabilities([np.nan, 0.9])
    with pytest.raises(fnn.InputError, match="expected 2 names, got 3 names"):
        fnn.plot.probabilities(P[0], names=["a", "b", "c"])
    with pytest.raises(fnn.InputError, match="expected 2 names, got 'ab'"):
        fnn.plot.probabilities(P[0], names="ab")
    for label in (2, -1, 0.5, [0, 1]):
        with pytest.raises(fnn.InputError, match=r"a class label in \[0, 2\), got"):
            fnn.plot.probabilities(P[0], label=label)
    with pytest.raises(fnn.InputError, match="top to be an integer of at least 1, got 0"):
        fnn.plot.probabilities(P[0], top=0)
    with pytest.raises(fnn.InputError, match="the probabilities of at least one class, got"):
        fnn.plot.probabilities([])


def test_predictions_are_images_beside_bars():
    axes = fnn.plot.predictions(IMAGES, P, [1, 1, 0], names=["cat", "dog"], columns=2)
    assert len(axes) == 8
    assert [ax.get_title() for ax in axes[::2]] == ["dog (dog)", "cat (dog)", "cat (cat)", ""]
    assert [ax.title.get_color() for ax in axes[:6:2]] == [RIGHT, WRONG, RIGHT]
    np.testing.assert_allclose([[bar.get_width() for bar in ax.patches] for ax in axes[1:6:2]], P)
    assert [texts(ax) for ax in axes[1:6:2]] == [["80% (true)"], ["70%", "30% (true)"], ["60% (true)"]]
    np.testing.assert_array_equal(axes[4].images[0].get_array(), IMAGES[2])
    assert not axes[7].axison
    unknown = fnn.plot.predictions(IMAGES, P[:, 1:])
    assert [ax.get_title() for ax in unknown[::2]] == ["1", "0", "0"]


def test_predictions_refuse_bad_input():
    with pytest.raises(fnn.InputError, match=r"p of shape \(3, classes\), got \(2, 2\)"):
        fnn.plot.predictions(IMAGES, P[:2])
    with pytest.raises(fnn.InputError, match=r"p of shape \(3, classes\), got \(3,\)"):
        fnn.plot.predictions(IMAGES, P[0, 0] * np.ones(3))
    with pytest.raises(fnn.InputError, match=r"predictions: expected 3 labels, got \(2,\)"):
        fnn.plot.predictions(IMAGES, P, [1, 1])
    with pytest.raises(fnn.InputError, match="predictions: expected probabilities"):
        fnn.plot.predictions(IMAGES, 3 * P)
    with pytest.raises(fnn.InputError, match="predictions: expected 2 names, got 1 names"):
        fnn.plot.predictions(IMAGES, P, names=["cat"])


# --------------------------------------------------------------------------------------------------- confusion matrix
@pytest.mark.parametrize("classes", [2, 3, 10, 20])
def test_confusion_matrix_is_that_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    y = np.append(rng.integers(0, classes, 40 * classes), np.arange(classes))
    scores = rng.normal(size=(len(y), classes)) + 3 * np.eye(classes)[y]
    want = sk.confusion_matrix(y, scores.argmax(-1))
    names = [f"class {chr(97 + i)}" for i in range(classes)]
    ax = shown(fnn.plot.confusion_matrix(scores, y, names=names))
    assert texts(ax) == [str(n) for n in want.ravel()]
    assert [text.get_position() for text in ax.texts[:2]] == [(0, 0), (1, 0)], "rows are the true classes"
    assert [label.get_text() for label in ax.get_xticklabels()] == names
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    # The longest number fits into its cell.
    cell = (ax.transData.transform((1, 0)) - ax.transData.transform((0, 0)))[0]
    assert max(text.get_window_extent().width for text in ax.texts) < cell
    share = fnn.plot.confusion_matrix(scores, y, normalize=True)
    want = 100 * sk.confusion_matrix(y, scores.argmax(-1), normalize="true")
    assert np.abs(np.array(texts(share), float) - want.ravel()).max() <= 0.5 + 1e-9
    assert share.get_title() == "% of each true class"


def test_confusion_matrix_of_other_forms():
    assert texts(fnn.plot.confusion_matrix([0, 1, 2, 2], [0, 2, 2, 1])) == list("100001011")
    assert texts(fnn.plot.confusion_matrix([[-1.0], [2.0], [3.0]], [0, 1, 0], threshold=0)) == list("1101")
    # A class that never comes has no share; a class with a name comes even if it never occurs.
    ax = fnn.plot.confusion_matrix([0, 1], [0, 0], names=["a", "b", "c"], normalize=True)
    assert texts(ax) == ["50", "50", "0", "", "", "", "", "", ""]
    many = fnn.plot.confusion_matrix(np.arange(57), np.arange(57))
    assert texts(many) == []
    assert len(many.figure.axes) == 2, "a colour bar stands in for the numbers"


def test_confusion_matrix_refuses_bad_input():
    with pytest.raises(fnn.InputError, match="confusion_matrix: expected 2 names, got 3 names"):
        fnn.plot.confusion_matrix(P, [0, 1, 0], names=["a", "b", "c"])
    with pytest.raises(fnn.InputError, match=r"confusion_matrix: expected class numbers in \[0, 2\), got"):
        fnn.plot.confusion_matrix([0, 1, 2], [0, 1, 0], names=["a", "b"])
    with pytest.raises(fnn.InputError, match=r"expected probabilities in \[0, 1\].*Logits need threshold=0"):
        fnn.plot.confusion_matrix([-1.0, 2.0], [0, 1])
    with pytest.raises(fnn.InputError, match="predictions and targets of the same length"):
        fnn.plot.confusion_matrix(P, [0, 1])
    with pytest.raises(fnn.InputError, match="expected 3 names, got 'abc'"):
        fnn.plot.confusion_matrix([0, 1], [0, 1], names="abc")
    assert not plt.get_fignums()


# ---------------------------------------------------------------------------------------------------------- the plane
def points_of(ax):
    """The drawn points by label."""
    return {
        scatter.get_label(): np.asarray(scatter.get_offsets())
        for scatter in ax.collections
        if scatter.get_offsets().size > 2
    }


def line_of(ax):
    """The vertices of the black line, if there is one."""
    for collection in ax.collections:
        if hasattr(collection, "allsegs") and len(collection.levels) == 1:
            return np.concatenate([segment for segments in collection.allsegs for segment in segments])
    return None


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


def filled_at(ax, place):
    """The colour below the points at a place of the plane."""
    shown(ax)
    for scatter in [c for c in ax.collections if c.get_label() in points_of(ax)]:
        scatter.set_visible(False)
    ax.figure.canvas.draw()
    column, row = ax.transData.transform(place)
    pixels = np.asarray(ax.figure.canvas.buffer_rgba())
    return pixels[round(pixels.shape[0] - row), round(column), :3] / 255


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


def test_the_edge_of_a_threshold_unit_is_a_line_without_stairs():
    ax = fnn.plot.decision_boundary(lambda p: (p @ np.array([1, 3], "f") > 1).astype(int), np.array([[-1, -1], [1, 1]]))
    line = line_of(ax)
    assert np.abs(line @ (1, 3) - 1).max() < 0.012, "within one place of the grid"
    # Stairs run along the axes and diagonals: on average their steps leave the line's direction by far more.
    steps = np.diff(line, axis=0)
    along = np.abs(steps @ (3, -1)) / np.linalg.norm(steps, axis=1) / np.hypot(3, 1)
    assert along.mean() > 0.99


@pytest.mark.parametrize("free", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_legend_stands_in_the_free_corner(free):
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
    y = np.repeat([2, 0, 1], 2)  # not in the order of the outputs, so that colours follow the labels

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
    # Beyond the palette colours go on without repeating.
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
        ({"x": np.ones((4, 3))}, r"x of shape \(count, 2\), two features, got \(4, 3\). Select two columns"),
        ({"x": np.ones(4)}, r"x of shape \(count, 2\), two features, got \(4,\)"),
        ({"x": np.ones((0, 2))}, r"x of shape \(count, 2\), two features, got \(0, 2\)"),
        ({"x": SQUARE * np.nan}, "finite points, got NaN or infinity in x"),
        ({"y": [1, 0, 1]}, r"y of shape \(4,\), got \(3,\)"),
        ({"y": np.eye(4)}, r"y of shape \(4,\), got \(4, 4\)"),
        ({"y": [1, 0, 1, np.inf]}, "finite y, got NaN or infinity"),
        ({"y": ["a", "b", "c", "d"]}, "an array of numbers, got text"),
        ({"names": ["a", "b", "c"]}, "2 names, got 3 names"),
        ({"resolution": 1}, "resolution to be an integer of at least 2, got 1"),
        ({"margin": -0.1}, r"margin in \[0, inf\), got -0.1"),
        ({"predict": lambda p: p[:3, 0]}, r"outputs of shape \(40000,\), .* for 40000 points, got \(3,\)"),
        ({"predict": lambda p: p[:, None]}, r"outputs of shape .* got \(40000, 1, 2\)"),
        (
            {"predict": lambda p: p[:, 0] / 0 * np.nan},
            r"finite outputs, got NaN or infinity. Did the training diverge\?",
        ),
        ({"predict": lambda p: p, "y": [0, 1, 2, 1]}, r"a class label in \[0, 2\), got"),
        ({"predict": lambda p: p, "y": [0, 1, 0.5, 1]}, r"a class label in \[0, 2\), got"),
        ({"predict": lambda p: p, "names": ["a"]}, "2 names, got 1 names"),
    ],
)
def test_decision_boundary_refuses_bad_input(change, message):
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


def test_optimizer_paths_that_differ_in_start_or_go_astray():
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
        ({"paths": [SQUARE]}, "a dict of at least one path, got list"),
        ({"paths": {"SGD": SQUARE.T}}, r"path 'SGD' of shape \(steps \+ 1, 2\), got \(2, 4\)"),
        ({"paths": {"SGD": SQUARE * np.nan}}, "path 'SGD' to start at a finite point"),
        ({"minimum": (1, 2, 3)}, r"minimum of two numbers, got \(3,\)"),
        ({"surface": lambda w: w}, r"a surface with one number for each point, got shape \(2,\)"),
        ({"surface": lambda w: 0 * w[0]}, "a surface of finite numbers that differ, got a constant"),
        ({"surface": lambda w: jnp.log(w[0])}, "a surface of finite numbers that differ, got NaN or infinity"),
        ({"resolution": 1}, "resolution to be an integer of at least 2"),
    ],
)
def test_optimizer_paths_refuse_bad_input(change, message):
    args = {"surface": bowl, "paths": {"SGD": SQUARE}, "low": (-1, -1), "high": (2, 3), **change}
    with pytest.raises(fnn.InputError, match=f"^optimizer_paths: expected {message}"):
        fnn.plot.optimizer_paths(**args)
    assert not plt.get_fignums()


# -------------------------------------------------------------------------------------------------------- the classics
@pytest.mark.parametrize(
    ("unit", "title"),
    [
        (classic.AND, r"fires where $x_1 + x_2 \geq {2}$"),
        (classic.NOR, None),
        (classic.Unit((-1.0, 0.5), -0.25), r"fires where $- x_1 + 0.5\,x_2 \geq {-0.25}$"),
        (classic.Unit((2, -1), 2), r"fires where $2\,x_1 - x_2 \geq {2}$"),
        (classic.Unit((0.0, 0.0), 1.0), r"fires where $0\,x_1 + 0\,x_2 \geq {1}$"),
    ],
)
def test_unit_of_two_inputs(unit, title):
    ax = fnn.plot.unit(unit)
    if title is not None:
        assert ax.get_title() == title
    corners = {text.get_position(): text.get_text() for text in ax.texts}
    assert corners == {(a, b): str(unit(int(a), int(b))) for a in (0.0, 1.0) for b in (0.0, 1.0)}
    line = line_of(ax)
    assert (line is None) == (not any(unit.weights))
    if line is not None:
        np.testing.assert_allclose(line @ unit.weights, unit.threshold, atol=1e-5)
    # The side that fires is orange, whatever the signs of the weights.
    for place in ((-0.4, -0.35), (-0.4, 1.4), (1.4, -0.45), (1.45, 1.4)):
        fires = np.dot(unit.weights, place) >= unit.threshold
        assert np.argmax(filled_at(ax, place)) == (0 if fires else 2), place
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_unit_of_one_input():
    ax = fnn.plot.unit(classic.NOT)
    assert texts(ax) == ["1", "0"]
    assert ax.get_title() == r"fires where $- x_1 \geq {0}$"
    assert len(ax.get_yticks()) == 0
    np.testing.assert_allclose(line_of(ax)[:, 0], 0, atol=1e-6)


def test_unit_refuses_other_things():
    hint = "expected a threshold unit of one or two inputs, got 3 weights. fnn.plot.network draws units"
    with pytest.raises(fnn.InputError, match=hint):
        fnn.plot.unit(classic.Unit((1, 1, 1), 2))
    with pytest.raises(fnn.InputError, match=r"unit: expected a threshold unit, such as fnn\.classic\.AND, got 'AND'"):
        fnn.plot.unit("AND")
    for wrong in (((1, np.nan), 1), ((1, 1), np.inf), ((1, 1), (1, 2))):
        with pytest.raises(fnn.InputError, match="unit: expected finite weights and one finite threshold, got Unit"):
            fnn.plot.unit(classic.Unit(*wrong))
    assert not plt.get_fignums()


def kinds(ax):
    patches = ax.patches
    return [[p for p in patches if isinstance(p, kind)] for kind in (Circle, FancyBboxPatch, FancyArrowPatch)]


def corners_of(arrow):
    """The corners of a line, without its head."""
    return arrow.get_path().to_polygons(closed_only=False)[0]


def test_network_of_xor():
    xor = classic.formula("(a or b) and not (a and b)")
    ax = fnn.plot.network(xor)
    units, inputs, arrows = kinds(ax)
    assert len(units) == len(xor.nodes)
    assert len(inputs) == 2
    assert len(arrows) == sum(len(node.inputs) for node in xor.nodes)
    assert ax.get_title() == xor.text
    written = texts(ax)
    for node in xor.nodes:
        assert node.name in written
    assert sorted(t for t in written if t[0] == "≥") == sorted(f"≥ {node.unit.threshold:g}" for node in xor.nodes)
    weights = [w for node in xor.nodes for w in node.unit.weights]
    assert sorted(t for t in written if t[0] in f"+{MINUS}") == sorted(f"{w:+g}".replace("-", MINUS) for w in weights)
    dashed = [arrow for arrow in arrows if arrow.get_linestyle() != "-" and arrow.get_linestyle() != "solid"]
    assert len(dashed) == sum(w < 0 for w in weights)
    assert {to_hex(arrow.get_edgecolor()) for arrow in dashed} == {COLORS[1].lower()}
    # The result is on the right, in a heavier circle, and nothing overlaps.
    last = max(units, key=lambda circle: circle.center[0])
    assert last.get_linewidth() == max(circle.get_linewidth() for circle in units) > units[0].get_linewidth()
    centers = np.array([circle.center for circle in units])
    gaps = np.linalg.norm(centers[:, None] - centers, axis=-1)[~np.eye(len(units), dtype=bool)]
    assert gaps.min() > 4 * units[0].radius / 2
    assert not ax.axison


def by_hand(*nodes, names):
    """A formula of the shape of `classic.Formula`, free of the parser."""
    made = [
        SimpleNamespace(name=name, unit=SimpleNamespace(weights=weights, threshold=threshold), inputs=inputs)
        for name, weights, threshold, inputs in nodes
    ]
    return SimpleNamespace(text="by hand", names=names, nodes=tuple(made))


def test_lines_go_around_units_and_do_not_cross_needlessly():
    formula = by_hand(
        ("first", (1.0,), 1.0, ("b",)),
        ("second", (-2.0, 1.0), -0.5, ("first", "a")),
        ("third", (1.0, 0.5), 1.0, ("second", "a")),
        names=("a", "b"),
    )
    ax = fnn.plot.network(formula)
    units, _, arrows = kinds(ax)
    centers = np.array([circle.center for circle in units])
    for arrow in arrows:
        corners = corners_of(arrow)
        dense = np.concatenate([np.linspace(p, q, 50) for p, q in itertools.pairwise(corners)])
        distance = np.linalg.norm(dense[:, None] - centers, axis=-1).min(0)
        assert (distance < units[0].radius).sum() == 0, "lines end at the edges of units and pass through none"
    assert f"{MINUS}2" in texts(ax)
    assert f"≥ {MINUS}0.5" in texts(ax)


def test_an_input_used_twice_has_one_line_with_both_weights():
    ax = fnn.plot.network(by_hand(("both", (1.0, -3.0), 0.0, ("a", "a")), names=("a",)))
    assert len(kinds(ax)[2]) == 1
    assert f"+1, {MINUS}3" in texts(ax)


def test_network_puts_units_where_lines_cross_least():
    formula = by_hand(
        ("p", (1.0,), 1.0, ("b",)),
        ("q", (1.0,), 1.0, ("a",)),
        ("result", (1.0, 1.0), 1.0, ("p", "q")),
        names=("a", "b"),
    )
    heights = {round(circle.center[1], 3) for circle in kinds(fnn.plot.network(formula))[0]}
    arrows = kinds(plt.gcf().axes[0])[2]
    flat = [arrow for arrow in arrows[:2] if np.ptp(corners_of(arrow)[:, 1]) < 1e-9]
    assert len(flat) == 2, "each input faces its own unit"
    assert len(heights) == 3


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("a and b", "a formula of at least one unit, got str"),
        (
            by_hand(("x", (1.0,), 1.0, ("y",)), names=("a",)),
            r"unit 'x' to have inputs that come before it, got \['y'\]",
        ),
        (by_hand(("x", (), 1.0, ()), names=("a",)), r"unit 'x' to have inputs that come before it, got \[\]"),
        (
            by_hand(("x", (1.0, 2.0), 1.0, ("a",)), names=("a",)),
            "a weight for each input of unit 'x', got 1 inputs and 2",
        ),
    ],
)
def test_network_refuses_other_things(formula, message):
    with pytest.raises(fnn.InputError, match=f"^network: expected {message}"):
        fnn.plot.network(formula)
    assert not plt.get_fignums()


# ---------------------------------------------------------------------------------------------------------- the gallery
def test_the_gallery_is_what_its_script_writes_and_shows_everything():
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
