"""Pictures of a sweep, tested for their contents on hand-made sweeps."""

import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.legend import Legend
from matplotlib.patches import Rectangle

import fnn
from fnn.plot import sweep_curves, sweep_line, sweep_map

RATES, DECAYS, SEEDS = [0.001, 0.01, 0.1, 1.0], [0.0, 1e-4, 1e-3, 1e-2], [0, 1, 2]


def made(space, score, *, epochs=6, monitor="val_loss", rising=False, fails=lambda **_: False):
    """A sweep as `fnn.sweep` returns it, without training; each trial's curve falls to its score."""
    if isinstance(space, dict):
        configs = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    else:
        configs = space
    scores, histories = [], []
    failed = np.array([fails(**config) for config in configs])
    for config, bad in zip(configs, failed, strict=True):
        end = score(**config)
        curve = end + np.linspace(1, 0, epochs) * (-end if rising else 2)
        if bad:
            curve[2:] = np.nan
        scores.append(curve[-1])
        histories.append({"loss": curve / 2, monitor: curve, "val_accuracy": 1 - curve / 10})
    return fnn.Sweep(configs, np.array(scores), histories, failed, monitor, rising, None, [])


def loss(rate, decay, seed):
    return 0.2 + abs(np.log10(rate) + 2) / 2 + 0.1 * (rate - 0.01) + 20 * decay + 0.0107 * seed


@pytest.fixture(scope="module")
def found():
    space = {"seed": SEEDS, "rate": RATES, "decay": DECAYS}
    return made(
        space, loss, fails=lambda seed, rate, decay: rate == 1 and (decay == 1e-2 or (decay, seed) == (1e-3, 2))
    )


def legends(ax):
    return [one for one in ax.get_children() if isinstance(one, Legend)]


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def cells(ax):
    """The values of a heat map, (up, across), NaN in empty cells."""
    (mesh,) = (c for c in ax.collections if isinstance(c, QuadMesh))
    return np.ma.filled(mesh.get_array(), np.nan)


def bold(ax):
    return [line for line in ax.lines if line.get_linewidth() > 2]


# -------------------------------------------------------------------------------------------------------------- curves
def test_sweep_curves_draws_every_trial_and_labels_the_best(found):
    ax = sweep_curves(found)
    curves = [line for line in ax.lines if len(line.get_xdata()) == 6]
    assert len(curves) == 48
    assert ax.get_ylabel() == "val_loss"
    assert ax.get_title() == "48 trials, 4 failed"
    named = bold(ax)
    assert [line.get_label() for line in named] == [
        "1. 0.2: seed=0, rate=0.01, decay=0",
        "2. 0.202: seed=0, rate=0.01, decay=0.0001",
        "3. 0.211: seed=1, rate=0.01, decay=0",
    ]
    number = found.configs.index({"seed": 0, "rate": 0.01, "decay": 0.0})
    np.testing.assert_array_equal(named[0].get_xdata(), range(1, 7))
    np.testing.assert_array_equal(named[0].get_ydata(), found.histories[number]["val_loss"])
    assert len({line.get_marker() for line in named}) == 3
    assert len({line.get_zorder() for line in named}) == 3


def test_failed_trials_are_dotted_and_end_in_a_cross(found):
    ax = sweep_curves(found)
    dotted = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata()) == 6]
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert len(dotted) == len(crosses) == 4
    for line, cross in zip(dotted, crosses, strict=True):
        assert cross.get_xdata()[0] == 2
        assert cross.get_ydata()[0] == pytest.approx(np.clip(line.get_ydata()[1], *ax.get_ylim()))
    assert legend_texts(legends(ax)[0])[-1] == "failed" or legend_texts(legends(ax)[1])[-1] == "failed"


def test_an_argument_sets_the_colours(found):
    ax = sweep_curves(found, color="decay")
    named, beside = sorted(legends(ax), key=lambda legend: legend.get_title().get_text())
    assert len(legend_texts(named)) == 4
    assert beside.get_title().get_text() == "decay"
    assert legend_texts(beside) == ["0", "0.0001", "0.001", "0.01"]
    colours = [line.get_color() for line in beside.get_lines()]
    assert len(set(colours)) == 4
    by_decay = {}
    lines = [line for line in ax.lines if len(line.get_xdata()) == 6 and line.get_linestyle() != ":"]
    for line in lines:
        end = line.get_ydata()[-1]
        (decay,) = {c["decay"] for c, s in zip(found.configs, found.scores, strict=True) if s == end}
        by_decay.setdefault(decay, set()).add(line.get_color())
    assert [by_decay[decay] for decay in DECAYS] == [{colour} for colour in colours]
    titles = {legend.get_title().get_text() for legend in legends(sweep_curves(found))}
    assert titles == {"", "rate"}  # floats come before integers


def test_text_sets_line_styles_and_many_numbers_get_a_colour_bar():
    names = made({"act": ["relu", "tanh"], "seed": [0]}, lambda act, seed: len(act) + (act == "tanh"))
    ax = sweep_curves(names)
    assert [line.get_linestyle() for line in bold(ax)] == ["-", "--"]
    many = made({"rate": np.logspace(-3, 0, 10).tolist()}, lambda rate: abs(np.log(rate * 30)))
    figure = sweep_curves(many).figure
    assert len(figure.axes) == 2
    assert figure.axes[1].get_yscale() == "log"
    assert figure.axes[1].get_ylabel() == "rate"


def test_rising_metrics_and_a_chosen_metric(found):
    ax = sweep_curves(made({"a": [0.1, 0.9]}, lambda a: a, monitor="val_accuracy", rising=True), top=1)
    assert [line.get_label() for line in bold(ax)] == ["1. 0.9: a=0.9"]
    ax = sweep_curves(found, "val_accuracy", top=1)
    assert ax.get_ylabel() == "val_accuracy"
    assert [line.get_label() for line in bold(ax)] == ["1. 0.98: seed=0, rate=0.01, decay=0"]
    assert not bold(sweep_curves(found, top=0))


def test_a_diverged_trial_does_not_squeeze_the_others():
    found = made({"rate": [0.1, 0.2, 0.3, 9.0]}, lambda rate: 1e9 if rate > 1 else rate)
    low, high = sweep_curves(found).get_ylim()
    assert high < 100
    assert 0 < low < 0.1


def test_only_crosses_if_every_trial_failed():
    found = made({"a": [1.0, 2.0]}, lambda a: a, fails=lambda a: True)
    found.histories[0]["val_loss"][:] = np.nan
    ax = sweep_curves(found)
    assert ax.get_title() == "2 trials, 2 failed"
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == [1, 2]


# ---------------------------------------------------------------------------------------------------------------- line
def test_sweep_line_draws_means_and_ranges(found):
    ax = sweep_line(found, "rate")
    lines = {line.get_label(): line for line in ax.lines}
    mean = lines["mean over seed and decay"]
    np.testing.assert_allclose(mean.get_xdata(), RATES)
    good = ~found.failed
    expected = [
        np.mean([s for s, c, g in zip(found.scores, found.configs, good, strict=True) if g and c["rate"] == rate])
        for rate in RATES
    ]
    np.testing.assert_allclose(mean.get_ydata(), expected)
    assert ax.get_xscale() == "log"
    assert np.isfinite(lines["trial"].get_ydata()).sum() == 44
    assert lines["best mean: rate=0.01"].get_xdata() == 0.01
    np.testing.assert_array_equal(lines["failed"].get_xdata(), [1.0] * 4)
    (band,) = ax.collections
    vertices = band.get_paths()[0].vertices
    at = vertices[np.isclose(vertices[:, 0], 0.01)][:, 1]
    own = [s for s, c, g in zip(found.scores, found.configs, good, strict=True) if g and c["rate"] == 0.01]
    assert (at.min(), at.max()) == pytest.approx((min(own), max(own)))


def test_text_and_values_with_a_zero_are_evenly_spaced(found):
    ax = sweep_line(found, "decay", metric="val_accuracy")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "0.0001", "0.001", "0.01"]
    assert ax.get_xscale() == "linear"
    assert {line.get_label() for line in ax.lines} >= {"best mean: decay=0"}
    assert ax.get_ylabel() == "val_accuracy"
    ax = sweep_line(made({"act": ["relu", "tanh"], "seed": SEEDS}, lambda act, seed: seed + len(act[1:])), "act")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["relu", "tanh"]
    mean = next(line for line in ax.lines if line.get_label() == "mean over seed")
    assert mean.get_linestyle() == "None"


def test_no_mean_with_one_trial_per_value():
    ax = sweep_line(made({"rate": RATES}, lambda rate: rate))
    assert [line.get_label() for line in ax.lines] == ["trial", "best: rate=0.001"]
    rng = np.random.default_rng(0)
    samples = [{"rate": float(10**r), "drop": float(d)} for r, d in rng.uniform((-4, 0), (0, 1), (30, 2))]
    ax = sweep_line(made(samples, lambda rate, drop: rate + drop), "rate")
    dots = ax.lines[0]
    assert dots.get_linestyle() == "None"
    np.testing.assert_allclose(dots.get_xdata(), [sample["rate"] for sample in samples])
    assert ax.get_xscale() == "log"
    assert len(ax.get_xticklabels()) < 12


# ----------------------------------------------------------------------------------------------------------------- map
def test_sweep_map_draws_the_mean_of_each_cell(found):
    ax = sweep_map(found, "rate", "decay")
    expected = np.full((4, 4), np.nan)
    for (i, decay), (j, rate) in itertools.product(enumerate(DECAYS), enumerate(RATES)):
        own = [loss(rate, decay, seed) for seed in SEEDS if not (rate == 1 and (decay, seed) == (1e-3, 2))]
        expected[i, j] = np.nan if (rate, decay) == (1.0, 1e-2) else np.mean(own)
    np.testing.assert_allclose(cells(ax), expected)
    assert ax.get_title() == "val_loss, mean over seed\nbest: 0.211 at rate=0.01, decay=0"
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.001", "0.01", "0.1", "1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "0.0001", "0.001", "0.01"]
    texts = {(text.get_position()): text.get_text() for text in ax.texts}
    assert texts[(0.01, 0.0)] == "0.211"
    assert texts[(1.0, 3.0)] == "failed"
    assert len(texts) == 16


def test_failed_cells_are_hatched_and_the_best_is_framed(found):
    ax = sweep_map(found, "rate", "decay")
    boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    hatched = {patch.get_hatch(): patch for patch in boxes if patch.get_hatch()}
    assert set(hatched) == {"xxx", ".."}  # all trials of the cell, some of them
    assert hatched["xxx"].get_y() == 2.5
    assert hatched[".."].get_y() == 1.5
    frames = [patch for patch in boxes if not patch.get_hatch()]
    for frame in frames:
        assert frame.get_x() == pytest.approx(10**-2.5)
        assert frame.get_x() + frame.get_width() == pytest.approx(10**-1.5)
        assert frame.get_y() == -0.5
    assert len(frames) == 2


def test_better_is_brighter_for_rising_and_falling_metrics(found):
    def brightness(ax, at):
        (mesh,) = (c for c in ax.collections if isinstance(c, QuadMesh))
        return np.dot(mesh.to_rgba(at)[:3], (0.3, 0.6, 0.1))

    falling = sweep_map(found, "rate", "decay")
    assert brightness(falling, 0.21) > brightness(falling, 0.6)
    rising = sweep_map(found, "rate", "decay", metric="val_accuracy")
    assert rising.get_title().startswith("val_accuracy, mean over seed\nbest: 0.979 at rate=0.01, decay=0")
    assert brightness(rising, 0.97) > brightness(rising, 0.9)


def test_default_arguments(found):
    ax = sweep_map(found)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rate", "decay")
    ax = sweep_map(found, y="rate")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("decay", "rate")
    assert sweep_line(found).get_xlabel() == "rate"
    folds = fnn.data.folds(0, 12, 3)
    space = {"fold": folds, "act": ["a", "b"], "units": [4, 8], "one": [1.5]}
    ax = sweep_map(made(space, lambda fold, act, units, one: units))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("units", "act")
    assert ax.get_title().startswith("val_loss, mean over fold")


def test_random_samples_are_points():
    rng = np.random.default_rng(1)
    pairs = zip(10 ** rng.uniform(-4, 0, 40), 10 ** rng.uniform(-5, -1, 40), strict=True)
    samples = [{"rate": float(r), "decay": float(d)} for r, d in pairs]
    found = made(samples, lambda rate, decay: rate + decay, fails=lambda rate, decay: rate > 0.3)
    ax = sweep_map(found)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    good = found.scores[~found.failed]
    points = ax.collections[0]
    np.testing.assert_allclose(np.sort(points.get_array()), np.sort(good))
    assert not [c for c in ax.collections if isinstance(c, QuadMesh)]
    crosses, star = ax.lines
    assert len(crosses.get_xdata()) == found.failed.sum() > 0
    assert (star.get_xdata()[0], star.get_ydata()[0]) == tuple(found.best.values())
    assert ax.get_title().startswith("val_loss\nbest: ")


def test_a_real_sweep_is_drawn():
    found = fnn.sweep(
        lambda a, b: ({}, {"loss": a * b * jax.numpy.arange(3.0)[::-1] + a}), {"a": [0.1, 0.2], "b": [1, 2]}, verbose=0
    )
    np.testing.assert_allclose(cells(sweep_map(found)), [[0.1, 0.2], [0.1, 0.2]], 1e-6)
    sweep_curves(found).figure.canvas.draw()
    sweep_line(found).figure.canvas.draw()


@pytest.mark.parametrize("draw", [sweep_curves, sweep_line, sweep_map])
def test_pictures_use_the_given_axes(draw, found):
    ax = plt.figure().add_subplot()
    assert draw(found, ax=ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.get_title()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: sweep_curves({"loss": [1.0]}), "^sweep_curves: expected the result of fnn.sweep, got a dict"),
        (lambda f: sweep_curves(f, "val_los"), "Did you mean 'val_loss'"),
        (lambda f: sweep_curves(f, color="rat"), "Did you mean 'rate'"),
        (lambda f: sweep_curves(f, top=-1), "top to be an integer of at least 0"),
        (lambda f: sweep_line(f, "seeds"), "Did you mean 'seed'"),
        (lambda f: sweep_line(f, metric="accuracy"), "Did you mean 'val_accuracy'"),
        (lambda f: sweep_map(f, "rate", "rate"), "two different arguments"),
        (lambda f: sweep_map(f, ax=3), "ax to be one matplotlib axes"),
        (lambda f: sweep_map(made({"a": [1, 2]}, lambda a: a)), "2 arguments with several values.*sweep_line"),
        (lambda f: sweep_line(made({"a": [1]}, lambda a: a)), "1 argument with several values, got 0"),
    ],
)  # fmt: skip
def test_bad_input_is_rejected(call, message, found):
    with pytest.raises(fnn.InputError, match=message):
        call(found)


def test_curves_of_one_epoch_have_one_tick():
    found = fnn.sweep(lambda rate: ({}, {"loss": rate[None]}), {"rate": [0.1, 0.5]}, verbose=0)
    ax = fnn.plot.sweep_curves(found)
    assert ax.get_xlim() == (0.5, 1.5)
    assert [tick for tick in ax.get_xticks() if 0.5 <= tick <= 1.5] == [1]


@pytest.mark.parametrize("start", [3.0, np.nan])
def test_crosses_are_inside_the_axes_if_every_trial_failed(start):
    with pytest.warns(RuntimeWarning, match="2 trials became non-finite"):
        found = fnn.sweep(
            lambda rate: ({}, {"loss": jnp.array([start, jnp.nan]) * rate}), {"rate": [1.0, 2.0]}, verbose=0
        )
    ax = fnn.plot.sweep_curves(found)
    low, high = ax.get_ylim()
    crosses = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "x"]
    assert len(crosses) == 2
    for x, y in crosses:
        assert x == 1
        assert low < y < high
        assert np.isnan(start) or y in (3.0, 6.0)
