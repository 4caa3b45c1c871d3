"""Pictures of layer reports, activation functions and training runs, tested for their contents."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import REPORT, RNG, layer_row, legend, shown, texts

import fnn
from fnn.inspection.report import NonFinite

COLORS = fnn.plot.COLORS


# --------------------------------------------------------------------------------------------------------- layer report
def test_layer_report():
    outputs, gradients, updates, *_ = axes = fnn.plot.layer_report(REPORT)
    assert len(axes) == 3
    shown(outputs)
    assert [label.get_text() for label in updates.get_xticklabels()] == ["dense", "dropout", "dense_1"]
    (bars,) = outputs.containers
    np.testing.assert_allclose(bars[0].get_ydata(), [0.25, 0.3, -1.0])
    np.testing.assert_allclose([segment[:, 1] for segment in bars[2][0].get_segments()],
                               [[-0.25, 0.75], [-0.2, 0.8], [-1.5, -0.5]])  # fmt: skip
    # Dropout passes dead units through; the note is not repeated.
    assert texts(outputs) == ["3 of 10 dead, 20% saturated"]
    assert legend(gradients) == ["at the output", "of the parameters"]
    np.testing.assert_allclose(gradients.lines[0].get_ydata(), [1e-4, 2e-4, 0.1])
    # The line skips a layer without parameters.
    np.testing.assert_allclose(gradients.lines[1].get_xydata(), [[0, 2e-4], [2, 0.2]])
    np.testing.assert_allclose(updates.lines[0].get_xydata(), [[0, 2e-5], [2, 3e-2]])
    assert gradients.get_yscale() == updates.get_yscale() == "log"
    guide = updates.lines[1]
    assert set(guide.get_ydata()) == {1e-3}
    assert legend(updates) == ["customary $10^{-3}$"]
    assert not any(ax.patches for ax in axes)


def test_layer_report_marks_non_finite_layers_and_writes_zeros():
    rows = (
        layer_row("", 0.1, 0.0, 0.0, kind="Mine"),
        layer_row("log", None, np.nan, None, std=None, param_gradient_norm=None, non_finite=NonFinite(2, 1)),
        layer_row("last", 0.1, 0.2, None, non_finite=NonFinite(0, 0, 5, 0)),
    )  # fmt: skip
    outputs, gradients, updates = fnn.plot.layer_report(dataclasses.replace(REPORT, rows=rows))
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


def test_layer_report_rejects_other_objects():
    for wrong in ({"dense": 1.0}, fnn.summary(fnn.Dense(2), (3,)), dataclasses.replace(REPORT, rows=())):
        with pytest.raises(fnn.InputError, match=r"layer_report: expected a report from fnn\.layer_report"):
            fnn.plot.layer_report(wrong)


# ---------------------------------------------------------------------------------------------------------- activations
KINDS = ["relu", "step", "gelu", "softmax"]  # with and without a derivative, smooth, and of several outputs


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in KINDS)) for name in fnn.activations.ACTIVATIONS]
    + [fnn.activations.mish],
)
def test_activation_and_its_derivative(name):
    ax = fnn.plot.activation(name, low=-3, high=3)
    y, slope = (line.get_ydata() for line in ax.lines[-2:])
    x = ax.lines[-1].get_xdata()
    assert (x[0], x[-1]) == (-3, 3)
    label = name if isinstance(name, str) else "mish"
    assert legend(ax) == [label, "derivative"]
    fn = jax.jit(fnn.activations.get_activation(name))
    if label in ("softmax", "log_softmax"):
        assert ax.get_title() == f"{label} of (x, 0), first output"
        want = np.asarray(fn(np.stack([x, np.zeros(len(x), x.dtype)], -1)))[:, 0]
    else:
        assert ax.get_title() == label
        want = fn(x)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
    if label not in ("step", "sign"):
        smooth = np.abs(x[:-1]) > 0.1
        np.testing.assert_allclose((np.diff(y) / np.diff(x))[smooth], (slope[1:] + slope[:-1])[smooth] / 2, atol=2e-3)


def test_activation_rejects_bad_input():
    with pytest.raises(fnn.InputError, match=r"expected the name of a known activation.*Did you mean 'relu'"):
        fnn.plot.activation("reluu")
    with pytest.raises(fnn.InputError, match=r"activation: expected high in \(2, inf\), got 1"):
        fnn.plot.activation("relu", low=2, high=1)


@pytest.mark.slow
def test_activations_draws_each_function_once():
    names = [name for name in fnn.activations.ACTIVATIONS if name != "silu"]  # an alias of swish
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
    # The three pictures with nothing below have ticks.
    labelled = [bool(ax.xaxis.get_tick_params()["labelbottom"]) for ax in axes[:3]]
    assert labelled == [False, True, True]
    full = fnn.plot.activations(["relu"])
    assert [ax.get_legend() is not None for ax in full] == [True]
    for wrong in ("relu", []):
        with pytest.raises(fnn.InputError, match="activations: expected a list of at least one activation, got"):
            fnn.plot.activations(wrong)
    with pytest.raises(fnn.InputError, match="columns to be an integer of at least 1"):
        fnn.plot.activations(columns=0)


# ------------------------------------------------------------------------------------------------------------- training
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


def test_learning_curves_of_a_data_frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: its frames are not drawn")
    history = fnn.History(loss=[3.0, 2.0], val_loss=[4.0, 3.0], seconds=[1.0, 1.0])
    ax = fnn.plot.learning_curves(pandas.DataFrame(history))
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 2], [4, 3]]
    with pytest.raises(fnn.InputError, match="learning_curves: expected one of"):
        fnn.plot.learning_curves(pandas.DataFrame(history), "accuracy")


def test_learning_curves_of_many_members():
    members = np.array([[4.0, 3.0, 2.0], [5.0, 1.0, np.nan], [7.0, 2.0, 1.0]])
    ax = fnn.plot.learning_curves({"loss": members, "val_loss": members[:, :2] + 1})
    assert legend(ax) == ["training (median of 3)", "validation (median of 3)"]
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines[:3]], members)
    # The diverged member counts as infinity.
    assert ax.lines[3].get_ydata().tolist() == [5.0, 2.0, 2.0]
    assert [line.get_ydata().tolist() for line in ax.lines[4:]] == [[5, 4], [6, 2], [8, 3], [6, 3]]
    assert ax.lines[3].get_linewidth() > 2 * ax.lines[0].get_linewidth()
    grid = fnn.plot.learning_curves({"loss": RNG.random((2, 5, 4))})
    assert legend(grid) == ["training (median of 10)"]
    assert len(grid.lines) == 11
    one = fnn.plot.learning_curves({"loss": members[:1]})
    assert legend(one) == ["training"]


@pytest.mark.slow
def test_learning_curves_of_a_history_from_many():
    x = jnp.linspace(-1, 1, 16)[:, None]
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))

    def trial(key):
        return fnn.run(task, fnn.init(task, key, x), (x, 2 * x), epochs=3)[1]

    history = jax.jit(fnn.many(trial))(jax.random.split(jax.random.key(0), 2))
    ax = fnn.plot.learning_curves(history)
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines[:2]], history["loss"])
    assert legend(ax) == ["training (median of 2)"]


def test_learning_curves_reject_bad_input():
    history = {"loss": [1], "val_loss": [1]}
    with pytest.raises(fnn.InputError, match=r"one of \['loss'\], got 'accuracy'"):
        fnn.plot.learning_curves(history, "accuracy")
    with pytest.raises(fnn.InputError, match=r"one of \['loss'\], got 'val_loss'. Its validation is drawn with it"):
        fnn.plot.learning_curves(history, "val_loss")
    with pytest.raises(fnn.InputError, match=r"one of \['loss'\], got \['loss'\]"):
        fnn.plot.learning_curves(history, ["loss"])
    with pytest.raises(fnn.InputError, match=r"at least one epoch of 'loss', got float64\[0\]"):
        fnn.plot.learning_curves({"loss": []})
    with pytest.raises(fnn.InputError, match="expected a history, a dict of lists, got a tuple"):
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


def test_layer_statistics_of_many_layers_fit_a_page():
    ax = shown(fnn.plot.layer_statistics({f"layer_{i}": 1.0 + i for i in range(150)}))
    assert ax.figure.get_size_inches()[0] <= 14
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == ["layer_0", "layer_3", "layer_6"]
    assert len(ax.lines[0].get_ydata()) == 150


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
        ({"x": np.ones(3)}, r"one number for layer 'x', got float64\[3\]. Reduce it first, e.g. with jnp.linalg.norm"),
        ({"x": -1.0}, "number for layer 'x' that is at least 0 on a logarithmic axis, got -1. Pass log=False"),
        ({"x": np.nan}, "number for layer 'x' that is finite, got nan"),
        ({"x": "much"}, "x: expected an array of numbers, got a string"),
    ],
)
def test_layer_statistics_reject_bad_input(values, message):
    with pytest.raises(fnn.InputError, match=f"layer_statistics(: expected (a )?|, ){message}"):
        fnn.plot.layer_statistics(values)
    assert not plt.get_fignums()
