import json
import random

import jax
import numpy as np
import pytest

from fnn.playground.choices import OPTIMIZERS
from fnn.playground.data import prepare
from fnn.playground.experiment import make_task
from fnn.playground.messages import read
from fnn.playground.settings import LIMITS, RefusalError, Settings, parse, to_json
from fnn.playground.views import View

RICH = {
    "data": {"name": "spiral", "size": 100, "noise": 0.1, "train": 0.7},
    "features": ["x1", "sin(x2)"],
    "layers": [{"units": 8, "activation": "relu", "dropout": 0.1, "batch_norm": True}],
    "initializer": "he_normal",
    "optimizer": {"name": "adam", "learning_rate": 0.1, "beta_1": 0.8},
    "penalty": {"kind": "l2", "rate": 0.01},
    "batch_size": 16,
    "seed": 5,
}


def test_nothing_given_is_the_default():
    assert parse({}) == Settings()


@pytest.mark.parametrize(
    "given", [{}, RICH, {"kind": "perceptron"}, {"data": {"name": "points", "x": [[0, 1], [1, 0]], "y": [0, 1]}}]
)
def test_completed_settings_are_read_as_the_same(given):
    settings = parse(given)
    assert parse(json.loads(json.dumps(to_json(settings)))) == settings


def test_all_that_is_given_arrives():
    settings = parse(RICH)
    assert settings.optimizer == "adam"
    assert dict(settings.hyper) == {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.999, "epsilon": 1e-7}
    completed = to_json(settings)
    for key, value in RICH.items():
        found = json.loads(json.dumps(completed[key]))
        assert found == value or value.items() <= found.items()


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ([], "settings"),
        ({"kinds": 1}, "settings.kinds"),
        ({"kind": "net"}, "kind"),
        ({"kind": ["network"]}, "kind"),
        ({"layers": [{"units": 900}]}, "layers[0].units"),
        ({"layers": [{"units": True}]}, "layers[0].units"),
        ({"layers": [{"units": 2.5}]}, "layers[0].units"),
        ({"layers": [{}] * 9}, "layers"),
        ({"layers": [{}, {"activation": "softmax"}]}, "layers[1].activation"),
        ({"layers": [{"dropout": 0.95}]}, "layers[0].dropout"),
        ({"layers": [{"batch_norm": 1}]}, "layers[0].batch_norm"),
        ({"layers": [{"batch_norm": True}] * 5}, "layers"),
        ({"layers": [{"name": "a"}]}, "layers[0].name"),
        ({"data": {"name": "moons"}}, "data.name"),
        ({"data": {"size": 1e9}}, "data.size"),
        ({"data": {"noise": -0.1}}, "data.noise"),
        ({"data": {"name": "points"}}, "data.x"),
        ({"data": {"name": "points", "x": [[0, 1], [1]], "y": [0, 1]}}, "data.x[1]"),
        ({"data": {"name": "points", "x": [[0, 1], [1, 0]], "y": [0]}}, "data.y"),
        ({"data": {"name": "points", "x": [[0, 1], [1, 0]], "y": [0, 1, 1]}}, "data.y"),
        ({"data": {"name": "csv"}}, "data.text"),
        ({"data": {"name": "csv", "text": "\ud800"}}, "data.text"),
        ({"data": {"name": "csv", "text": "x" * 1_000_001}}, "data.text"),
        ({"features": []}, "features"),
        ({"features": ["x1", "x1"]}, "features"),
        ({"features": ["x3"]}, "features[0]"),
        ({"optimizer": {"name": "sgd", "momentum": 0.5}}, "optimizer.momentum"),
        ({"optimizer": {"learning_rate": "0.1"}}, "optimizer.learning_rate"),
        ({"optimizer": {"learning_rate": 11}}, "optimizer.learning_rate"),
        ({"penalty": {"kind": "l3"}}, "penalty.kind"),
        ({"penalty": {"kind": "l2", "rate": -1}}, "penalty.rate"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"formula": ""}, "formula"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_place_in_both_languages(given, where):
    with pytest.raises(RefusalError) as caught:
        parse(given)
    error = caught.value.to_json()
    assert error["where"] == where
    assert error["message"].startswith("expected ")
    assert error["es"].startswith("se esperaba ")
    assert len(error["message"]) < 400


@pytest.mark.parametrize(
    "text", ["", "[", "[1]", "null", '{"a": NaN}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\x00"]
)
def test_text_that_is_no_object_is_refused(text):
    with pytest.raises(RefusalError, match="JSON object"):
        read(text)


def test_every_optimizer_starts_with_the_hyper_parameters_that_the_page_is_told():
    for chosen in OPTIMIZERS.values():
        found = chosen.optimizer().init({"w": np.zeros(1, np.float32)}).hyper
        assert {name: float(value) for name, value in found.items()} == pytest.approx(chosen.hyper)
        for name, (low, high) in chosen.ranges.items():
            assert low <= chosen.hyper[name] <= high


def test_equal_settings_share_a_task():
    first, second = (parse({"seed": seed, "optimizer": {"learning_rate": seed + 0.1}}) for seed in (0, 1))
    tasks = [make_task(s.layers, s.initializer, s.optimizer, "binary", 1) for s in (first, second)]
    assert tasks[0] is tasks[1]


VALUES = [
    *(None, True, -1, 0, 1, 3, 0.5, 1e308, -1e308, 10**30, "", "x1", "sgd", "circles", "ñ\u2028", "a" * 300),
    *([], [[]], [0, 1], [[0, 1]], ["x1"] * 40, [{"units": 65}], [{"units": {}}], {}, {"learning_rate": None}),
    *({"name": "csv"}, {"name": "csv", "text": "a,b\n1,2"}, {"name": "csv", "text": "\x00"}),
    *({"name": "points", "x": [], "y": []}, {"name": "sgd", "beta_1": 0.5}),
]
FIELDS = "settings epochs epoch values kind rate layer leaf index value resolution unit_resolution discretize"
FIELDS = [*FIELDS.split(), "show", "over", "count", "seed", "x", "name", "language", "frame", "id", "extra"]
INSIDE = [
    "data",
    "features",
    "layers",
    "optimizer",
    "penalty",
    "batch_size",
    "seed",
    "initializer",
    "formula",
    "kind",
    "other",
]


def malformed(rng):
    """A random message, most of them wrong."""
    from fnn.playground.messages import _ACTIONS

    message = {"do": rng.choice([*_ACTIONS, "nothing", "", None, 7, []])}
    for _ in range(rng.randrange(4)):
        message[rng.choice(FIELDS)] = rng.choice(VALUES)
    if message["do"] == "set" or rng.random() < 0.2:
        # One mistake at least, since valid settings change something.
        inside = {rng.choice(INSIDE): rng.choice(VALUES) for _ in range(3)}
        message["settings"] = {**inside, rng.choice(INSIDE): {"wrong": 1}}
    return message


def state_of(page):
    journey = page.journey
    leaves = jax.tree.leaves((journey.now.ts.params, journey.now.ts.opt_state))
    return (
        journey.now.epoch, journey.reached, journey.now.penalty, list(journey.events), dict(journey.history),
        b"".join(np.asarray(leaf).tobytes() for leaf in leaves),
    )  # fmt: skip


def test_a_thousand_malformed_messages_are_answered_and_change_nothing(page, small):
    page.do("set", settings=small)
    page.do("step", epochs=2)
    before, rng, refused = state_of(page), random.Random(0), 0
    for _ in range(1000):
        message = malformed(rng)
        try:
            error = None
            page.answer(message)
        except RefusalError as caught:
            error = caught
        if error is not None:
            refused += 1
            assert error.english
            assert error.spanish
            assert len(json.dumps(error.to_json())) < 3000
        else:  # a correct message, such as a step or a change: undo it
            page.journey = None
            page.view = View()
            page.do("set", settings=small)
            page.do("step", epochs=2)
        assert state_of(page) == before
    assert refused > 500


def test_damaged_files_are_read_or_refused():
    """A table with characters changed, doubled or left out: data of finite numbers, or a refusal of the text."""
    rows = [f"{i % 7},{i * 0.5},{'red' if i % 3 else 'blue'},{i % 2}" for i in range(12)]
    good = "\n".join(["width,height,colour,label", *rows])
    rng, counts = random.Random(0), {True: 0, False: 0}
    for _ in range(400):
        text = list(good)
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(text))
            text[place] = rng.choice(
                ["", ",", "\n", '"', "\x00", "ñ", "-", "e", "9" * 40, text[place] * 2, "inf", ";;;"]
            )
        try:
            found = prepare(parse({"data": {"name": "csv", "text": "".join(text)}}))
        except RefusalError as error:
            refusal = error
            found = None
        counts[found is not None] += 1
        if found is None:
            assert refusal.where == "data.text"
        else:
            assert all(np.isfinite(array).all() for array in (*found.train, *found.test))
    assert min(counts.values()) > 20


def test_a_table_of_one_class_is_refused():
    with pytest.raises(RefusalError, match="two or more classes") as caught:
        prepare(parse({"data": {"name": "csv", "text": "a,b,y\n" + "1,2,yes\n3,1,yes\n" * 8}}))
    assert "dos clases" in caught.value.to_json()["es"]


def test_limits_are_in_order():
    assert all(low <= high for low, high in LIMITS.values())
