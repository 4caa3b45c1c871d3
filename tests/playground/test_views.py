"""Frames, networks side by side, and the slice of the loss surface, compared with the network itself."""

import warnings

import jax
import numpy as np
import pytest

import fnn
from fnn.playground.data import features
from fnn.playground.lessons import LANGUAGES, LESSONS
from fnn.playground.server import STATIC
from fnn.playground.settings import RefusalError, Settings


def cells(resolution, reach=6):
    """The places of a map's cells, row by row from the top."""
    steps = (np.arange(resolution) + 0.5) / resolution * 2 * reach - reach
    return np.array([[a, b] for b in steps[::-1] for a in steps], np.float32)


def outputs(page, x, names):
    journey = page.journey
    return fnn.outputs(journey.experiment.task, journey.now.ts, x, names)


def test_a_frame_shows_the_network(page, small):
    small["layers"].append({"units": 2, "activation": "relu"})
    page.do("set", settings=small)
    page.do("view", resolution=20, unit_resolution=10)
    page.do("step", epochs=2)
    frame = page.see()
    logits = np.asarray(outputs(page, cells(20), "dense_2"))[:, 0]
    expected = 2 / (1 + np.exp(-logits.astype(float))) - 1
    np.testing.assert_allclose(frame.real("output").ravel(), expected, atol=1.01 / 255)
    for layer, name in enumerate(("dense", "dense_1")):
        units = np.asarray(outputs(page, cells(10), name))
        for unit in range(units.shape[1]):
            low, high = frame.ranges[f"unit/{layer}/{unit}"]
            assert -low == high >= 1
            np.testing.assert_allclose(
                frame.real(f"unit/{layer}/{unit}").ravel(), units[:, unit], atol=1.01 * high / 255
            )
    for name, leaves in page.journey.now.ts.params.items():
        for leaf, values in leaves.items():
            np.testing.assert_array_equal(frame.arrays[f"weights/{name}/{leaf}"], values)
    np.testing.assert_allclose(frame.real("feature/0")[0] * 6 / 6, cells(10)[:10, 0], atol=6 / 127)
    x, y, _ = page.journey.experiment.train
    np.testing.assert_array_equal(frame.arrays["points/train"], np.column_stack([x, y]))
    assert frame["history"][-1] == [2, frame["loss"]["train"], frame["loss"]["test"]]
    assert not any(name.startswith("points") for name in page.see().arrays)
    rows = {row.path: row for row in fnn.layer_report(page.journey.experiment.task, page.journey.now.ts, (x, y))}
    for fact in frame["layers"]:
        row = rows[fact["name"]]
        assert fact["gradient"] == row.gradient_rms
        assert fact["dead"] == row.dead / row.units
        assert fact["saturated"] == row.saturated


def test_only_what_is_asked_for_is_sent(page, small):
    page.do("set", settings=small)
    page.do("view", show=["output"], discretize=True, resolution=10)
    frame = page.see()
    assert list(frame.arrays) == ["output"]
    assert set(frame.arrays["output"].ravel()) <= {0, 255}
    assert not frame["layers"]


def test_features_are_those_of_the_playground():
    x = np.array([[1, 2], [-0.5, 3]], np.float32)
    a, b = x.astype(float).T
    expected = np.stack([a, b, a**2, b**2, a * b, np.sin(a), np.sin(b)], 1)
    found = features(x, ("x1", "x2", "x1^2", "x2^2", "x1*x2", "sin(x1)", "sin(x2)"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_units_after_batch_norm_and_dropout_are_shown(page, small):
    small["layers"] = [
        {"units": 3, "batch_norm": True, "dropout": 0.2, "activation": "relu"},
        {"units": 2, "batch_norm": True},
    ]
    answer = page.do("set", settings=small)
    assert answer["shown"] == ["relu", "tanh", "dense_2"]
    page.do("view", unit_resolution=10)
    units = np.asarray(outputs(page, cells(10), "relu"))
    frame = page.see()
    high = frame.ranges["unit/0/2"][1]
    np.testing.assert_allclose(frame.real("unit/0/2").ravel(), units[:, 2], atol=1.01 * high / 255)
    assert [fact["name"] for fact in frame["layers"]] == answer["shown"]


def test_one_of_several_is_the_run_with_its_seed_and_rate(page, small):
    page.do("set", settings=small)
    page.do("view", resolution=10)
    experiment = page.journey.experiment
    for over in ("seed", "learning_rate"):
        *news, picture, answer = page.frames_of("many", over=over, count=3, epochs=4)
        assert [one["epoch"] for one in news] == [1, 2, 3, 4]
        frame = type(page.see())(picture.encode())
        for i, value in enumerate(answer["values"]):
            key = jax.random.split(jax.random.key(int(value) if over == "seed" else 0))[1]
            ts = fnn.init(experiment.task, key, experiment.train.x[:1])
            ts = fnn.set_hyper(ts, learning_rate=0.03 if over == "seed" else value)
            ts, history = fnn.run(
                experiment.task, ts, experiment.train, epochs=4, batch_size=10, validation_data=experiment.test
            )
            np.testing.assert_allclose(answer["train"][i], history["loss"], rtol=1e-5)
            np.testing.assert_allclose(answer["test"][i], history["val_loss"], rtol=1e-5)
            logits = np.asarray(experiment.task.model.apply(ts.params, ts.state, cells(10))[0])[:, 0]
            np.testing.assert_allclose(frame.real(f"member/{i}").ravel(), np.tanh(logits / 2), atol=1.01 / 255)
        maps = np.stack([frame.real(f"member/{i}") for i in range(3)])
        np.testing.assert_allclose(frame.real("mean"), maps.mean(0), atol=2.1 / 255)
        np.testing.assert_allclose(frame.real("spread"), maps.std(0), atol=2.1 / 255)
    rates = np.asarray(answer["values"])
    np.testing.assert_allclose(rates, [0.003, 0.03, 0.3], rtol=1e-6)


def test_the_surface_goes_through_the_path(page, small):
    page.do("set", settings=small)
    with pytest.raises(RefusalError, match="train for a few epochs"):
        page.do("surface")
    for _ in range(4):
        page.do("step")
    picture, answer = page.frames_of("surface", resolution=9)
    frame = type(page.see())(picture.encode())
    assert frame.arrays["surface"].shape == (9, 9)
    losses = {epoch: page.journey.history[epoch].train for epoch in range(5)}
    for epoch, _, _, loss in answer["path"]:
        assert loss == pytest.approx(losses[epoch], rel=1e-5)
    assert answer["path"][-1][1:3] == pytest.approx([0, 0], abs=1e-6)
    assert 0.9 < sum(answer["explained"]) <= 1 + 1e-6
    # Each cell is the loss at its coordinates along two directions of length 1, which the path determines.
    from fnn.playground.surface import Plane

    plane = Plane.through(page.journey, 9)
    u, v = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(one)]) for one in plane.directions)
    np.testing.assert_allclose([u @ u, v @ v, u @ v], [1, 1, 0], atol=1e-5)
    ts = page.journey.now.ts
    left, right, low, high = answer["extent"]
    a, b = left + (right - left) * 2 / 8, high - (high - low) * 3 / 8
    moved = jax.tree.map(lambda p, d, e: p + np.float32(a) * d + np.float32(b) * e, ts.params, *plane.directions)
    expected = fnn.evaluate(page.journey.experiment.task, ts._replace(params=moved), page.journey.experiment.train)
    assert frame.arrays["surface"][3, 2] == pytest.approx(expected["loss"], rel=1e-5)


def test_a_table_is_trained_on(page):
    rows = [f"{i % 10};{i // 10};{'high' if i % 10 > 4 else 'low'}" for i in range(60)]
    settings = {
        "data": {"name": "csv", "text": "\n".join(["length;width;label", *rows])},
        "layers": [],
        "batch_size": 10,
    }
    answer = page.do("set", settings=settings)
    assert answer["problem"] == "binary"
    assert answer["inputs"] == ["length", "width"]
    assert answer["classes"] == ["high", "low"]
    page.do("step", epochs=60)
    assert page.see()["accuracy"]["test"] > 0.9
    chance = page.do("predict", x=[1.5, 0])["probabilities"]
    assert chance[0] > 0.9
    assert sum(chance) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n1,2,3\n4,5\n6,7", "line 3: expected 2 cells"),
        ("a\n1\n2\n3\n4", "2 to 33 columns"),
        ("a,b\n1,2", "4 to 5000 rows"),
        ("a,a\n1,2\n3,4\n5,6\n7,8", "different name"),
        ('a,b\n"1,2\n3,4\n5,6\n7,8', "not a row of a CSV file"),
        ("a,b\n1,2\n,4\n5,6\n7,8", "column 'a'"),
        ("a,y\n1,2\n3,\n5,6\n7,8", "column 'y'"),
        ("\x00\x01\x02,\x7f", "rows"),
    ],
)
def test_a_file_that_is_no_table_is_refused(page, small, text, message):
    page.do("set", settings=small)
    journey = page.journey
    with pytest.raises(RefusalError, match=message) as caught:
        page.do("set", settings={"data": {"name": "csv", "text": text}})
    assert caught.value.where == "data.text"
    assert page.journey is journey


@pytest.mark.parametrize(
    ("y", "problem", "outputs"), [([0, 1], "binary", 1), ([0, 1, 2], "classes", 3), ([0.5, -1], "regression", 1)]
)
def test_drawn_points_are_trained_on(page, y, problem, outputs):
    points = {"name": "points", "x": [[i, -i] for i in range(12)], "y": [y[i % len(y)] for i in range(12)]}
    answer = page.do("set", settings={"data": points, "layers": []})
    assert (answer["problem"], answer["outputs"]) == (problem, outputs)
    assert answer["domain"][1] > 11
    page.do("step")
    frame = page.see()
    assert ("confidence" in frame.arrays) == (problem == "classes")


def test_digits_are_recognized(page):
    settings = {"data": {"name": "digits", "size": 600, "train": 0.8}, "layers": [{"units": 16, "activation": "relu"}]}
    answer = page.do("set", settings=settings | {"optimizer": {"name": "adam"}})
    assert answer["domain"] is None
    page.do("step", epochs=10)
    frame = page.see()
    assert frame["accuracy"]["test"] > 0.85
    assert not any(name.startswith(("output", "unit")) for name in frame.arrays)
    digits = fnn.data.digits()
    right = 0
    for x, y in zip(digits.x[1000:1020, ..., 0], digits.y[1000:1020], strict=True):
        right += int(np.argmax(page.do("predict", x=x.tolist())["probabilities"])) == y
    assert right > 14
    with pytest.raises(RefusalError, match="64 numbers"):
        page.do("predict", x=[0.5])


def test_the_perceptron_corrects_row_by_row(page):
    settings = {"kind": "perceptron", "data": {"name": "gaussians", "size": 200, "noise": 0.2}}
    answer = page.do("set", settings=settings)
    assert answer["separable"] == answer["converged"]
    journey = page.journey
    x, y = journey.prepared.train
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these classes overlap
        found = fnn.classic.perceptron(x, y[:, 0].astype(int), epochs=len(journey.errors))
    for epoch in range(min(3, len(journey.errors))):
        corrections = 0
        while journey.now.epoch == epoch:
            row = journey.now.row
            page.do("step")
            corrections += journey.now.epoch == epoch
            assert journey.now.row > row or journey.now.epoch > epoch
        assert corrections == found.errors[epoch]
        np.testing.assert_allclose(journey.now.kernel, found.history["kernel"][epoch, :, 0], rtol=1e-6)
        np.testing.assert_allclose(journey.now.bias, found.history["bias"][epoch, 0], rtol=1e-6)
    page.do("go", epoch=1)
    np.testing.assert_array_equal(journey.now.kernel, found.history["kernel"][0, :, 0])
    frame = page.see()
    assert frame["epoch"] == 1
    np.testing.assert_array_equal(frame.arrays["weights/perceptron/kernel"][:, 0], journey.now.kernel)
    page.do("play", epochs_per_frame=100)
    page.train()
    page.train()
    assert page.see()["finished"]
    assert not page.playing
    with pytest.raises(RefusalError, match="network"):
        page.do("hyper", values={"learning_rate": 1})
    with pytest.raises(RefusalError, match="two classes"):
        page.do("set", settings={"kind": "perceptron", "data": {"name": "plane"}})


def test_a_formula_is_a_network_of_units(page):
    answer = page.do("set", settings={"kind": "formula", "formula": "a and (b or not c)"})
    assert answer["names"] == ["a", "b", "c"]
    assert len(answer["table"]) == 8
    for row in answer["table"]:
        values = {name: row[name] for name in answer["names"]}
        for node in answer["nodes"]:
            total = sum(w * values[name] for w, name in zip(node["weights"], node["inputs"], strict=True))
            values[node["name"]] = int(total >= node["threshold"])
        assert values == row
        assert row[answer["nodes"][-1]["name"]] == (row["a"] and (row["b"] or not row["c"]))
    with pytest.raises(RefusalError, match="'and'"):
        page.do("set", settings={"kind": "formula", "formula": "a b"})
    with pytest.raises(RefusalError, match="at most 6 inputs"):
        page.do("set", settings={"kind": "formula", "formula": "a or b or c or d or e or f or g"})


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_settings_and_words_in_both_languages(page, name):
    found = {language: page.do("lesson", name=name, language=language) for language in LANGUAGES}
    assert found["en"]["settings"] == found["es"]["settings"]
    assert len(found["en"]["look"]) == len(found["es"]["look"]) >= 3
    for key in ("title", "text"):
        assert found["en"][key] != found["es"][key]


def test_xor_needs_a_hidden_layer(page):
    settings = page.do("lesson", name="xor")["settings"]
    page.do("set", settings=settings)
    page.do("step", epochs=20)
    assert page.journey.measure().test_accuracy < 0.75
    page.do("set", settings=settings | {"layers": [{"units": 4}], "optimizer": {"name": "adam", "learning_rate": 0.03}})
    page.do("step", epochs=60)
    assert page.journey.measure().test_accuracy > 0.9


def test_the_gradient_vanishes_through_sigmoids(page):
    settings = page.do("lesson", name="sigmoid-relu")["settings"]
    ratios = []
    for activation in ("sigmoid", "relu"):
        layers = [layer | {"activation": activation} for layer in settings["layers"]]
        page.do("set", settings={**settings, "layers": list(layers)})
        first, *_, last = page.see()["layers"]
        ratios.append(first["gradient"] / last["gradient"])
    assert ratios[0] < 1e-2 < 0.1 < ratios[1]


@pytest.mark.parametrize("data", ["circles", "xor", "gaussians"])
def test_the_first_network_lives_with_relu(page, data):
    """So that a second run with relu beside the first is no flat map."""
    layers = [{"units": layer.units, "activation": "relu"} for layer in Settings().layers]
    page.do("set", settings={"data": {"name": data}, "layers": layers})
    page.do("step", epochs=100)
    assert page.journey.measure().train < 0.1
    assert not any(layer["dead"] for layer in page.see()["layers"])


def test_the_page_begins_with_the_settings_of_the_server():
    text = (STATIC / "settings.js").read_text(encoding="utf-8")
    assert f"seed: {Settings().seed}," in text
    assert f"batch_size: {Settings().batch_size}," in text
