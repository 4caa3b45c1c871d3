"""Time travel, changes on the way, and what they are compared with: the public functions of fnn."""

import jax
import numpy as np
import pytest

import fnn
from fnn.playground import experiment as experiments
from fnn.playground import journey as journeys
from fnn.playground.programs import PROGRAMS
from fnn.playground.settings import RefusalError, parse


def bits(page):
    ts = page.journey.now.ts
    return [np.asarray(jax.random.key_data(leaf) if leaf is ts.key else leaf).tobytes() for leaf in jax.tree.leaves(ts)]


def test_it_trains_as_the_public_functions_do(page, small):
    page.do("set", settings=small)
    page.do("step", epochs=3)
    data_key, init_key = jax.random.split(jax.random.key(0))
    data = fnn.data.circles(data_key, 60)
    x, y = np.asarray(data.x), np.asarray(data.y)
    x_train, x_test, y_train, y_test = fnn.data.train_test_split(x, y, test_size=30, seed=0)
    model = fnn.Sequential(fnn.Dense(3, activation="tanh"), fnn.Dense(1))
    task = fnn.Task(model, "binary_crossentropy", fnn.sgd(0.03), metrics=("accuracy",))
    ts = fnn.init(task, init_key, x_train[:1])
    for _ in range(3):
        ts, _ = fnn.train_epoch(task, ts, (x_train, y_train.astype(np.float32)[:, None]), batch_size=10)
    jax.tree.map(np.testing.assert_array_equal, ts.params, page.journey.now.ts.params)
    scores = fnn.evaluate(task, ts, (x_test, y_test.astype(np.float32)[:, None]))
    losses = page.journey.history[3]
    assert (losses.test, losses.test_accuracy) == (scores["loss"], scores["accuracy"])


def test_time_travel_returns_the_same_bits(page, small):
    small["layers"][0] |= {"dropout": 0.2, "batch_norm": True}
    page.do("set", settings=small)
    seen, frames = {}, {}
    for epoch in range(8):
        page.do("step")
        if epoch == 2:
            page.do("hyper", values={"learning_rate": 0.5})
        if epoch == 4:
            page.do("weight", layer="dense", leaf="kernel", index=[0, 1], value=0.25)
            page.do("penalty", kind="l2", rate=0.05)
        seen[epoch + 1], frames[epoch + 1] = bits(page), page.see()
    page.journey._states = {0: page.journey._states[0]}  # the replay is exact without any kept state
    for epoch in (3, 8, 5, 1, 6):
        page.do("go", epoch=epoch)
        assert bits(page) == seen[epoch]
        again = page.see()
        for name, array in frames[epoch].arrays.items():
            np.testing.assert_array_equal(array, again.arrays.get(name, array))
        assert again["loss"] == frames[epoch]["loss"]
        assert again["hyper"] == frames[epoch]["hyper"]
        assert again["reached"] == 8


def test_training_from_an_earlier_epoch_drops_what_was_later(page, small):
    page.do("set", settings=small)
    page.do("step", epochs=4)
    page.do("hyper", values={"learning_rate": 0.3})
    page.do("step", epochs=4)
    page.do("go", epoch=2)
    assert page.journey.reached == 8
    page.do("step", epochs=4)
    assert page.journey.reached == 6
    assert not page.journey.events
    assert max(page.journey.history) == 6
    straight = type(page)()
    straight.do("set", settings=small)
    straight.do("step", epochs=6)
    assert bits(page) == bits(straight)


def test_epochs_in_parts_are_the_same(page, small):
    page.do("set", settings=small)
    rounds = []
    stop = lambda: lambda: rounds.append(1) or len(rounds) % 2 == 0  # noqa: E731
    parts = list(page.work({"do": "step", "epochs": 7}, stop))
    assert parts.count(None) == 3
    assert page.journey.now.epoch == 7
    page.journey._states = {0: page.journey._states[0]}
    before = bits(page)
    page.journey.go(0)
    parts = list(page.work({"do": "go", "epoch": 7}, stop))
    assert parts.count(None) >= 3
    assert bits(page) == before


def test_kept_states_stay_within_their_memory(page, small, monkeypatch):
    page.do("set", settings=small)
    monkeypatch.setattr(journeys, "STORED_BYTES", 10 * journeys.size_of(page.journey.now))
    page.do("step", epochs=50)
    assert 5 <= len(page.journey._states) <= 10
    for epoch in (33, 7, 49, 21, 40, 3):
        page.do("go", epoch=epoch)
        assert page.journey.now.epoch == epoch
        assert len(page.journey._states) <= 10
    page.do("go", epoch=50)
    page.do("step", epochs=4)
    assert max(page.journey._states) > 40, "jumps do not make the kept states rarer"


def test_changes_of_one_epoch_replace_each_other_and_are_bounded(page, small, monkeypatch):
    monkeypatch.setattr(journeys, "CHANGES", 3)
    page.do("set", settings=small)
    page.do("step")
    for rate in np.linspace(0.01, 0.5, 20):
        page.do("hyper", values={"learning_rate": float(rate)})
    page.do("penalty", kind="l1", rate=0.01)
    page.do("penalty", kind="l2", rate=0.02)
    page.do("weight", layer="dense", leaf="kernel", index=[0, 1], value=0.25)
    assert [event.epoch for event in page.journey.events] == [1, 1, 1]
    assert page.journey.events[0].change == {"learning_rate": 0.5}
    before = bits(page)
    with pytest.raises(RefusalError, match="3 changes"):
        page.do("weight", layer="dense", leaf="kernel", index=[1, 1], value=0.5)
    assert bits(page) == before
    page.do("step")
    after = bits(page)
    page.do("go", epoch=0)
    page.journey._states = {0: page.journey._states[0]}
    page.do("go", epoch=2)
    assert bits(page) == after


def test_the_history_stays_within_its_length(page, small, monkeypatch):
    monkeypatch.setattr(journeys, "HISTORY", 8)
    page.do("set", settings=small)
    for _ in range(20):
        page.do("step")
    assert len(page.journey.history) <= 9
    assert 20 in page.journey.history


def test_a_penalty_changes_its_rate_without_compiling_again(page, small):
    page.do("set", settings=small)
    page.do("penalty", kind="l1", rate=0.01)
    page.do("step")
    compiled = set(PROGRAMS.kept)
    for rate in (0.02, 0.3, 0.0):
        page.do("penalty", kind="l1", rate=rate)
        page.do("step")
    assert set(PROGRAMS.kept) == compiled


def test_a_penalty_acts_as_that_of_a_task(page, small):
    small["penalty"] = {"kind": "l2", "rate": 0.1}
    page.do("set", settings=small)
    experiment, moment = page.journey.experiment, page.journey.now
    task = experiment.task.replace(penalty=fnn.penalties.l2(0.1))
    expected, _ = fnn.train_epoch(task, moment.ts, experiment.train, batch_size=10)
    found = experiments.advance(experiment, moment).ts
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), expected.params, found.params)


def test_nothing_is_compiled_for_another_seed_noise_or_learning_rate(page, small):
    page.do("set", settings=small)
    page.do("step")
    page.see()
    before = set(PROGRAMS.kept)
    small |= {"seed": 9, "optimizer": {"learning_rate": 0.7}}
    small["data"]["noise"] = 0.2
    page.do("set", settings=small)
    page.do("weight", layer="dense", leaf="bias", index=[0], value=1)
    page.do("hyper", values={"learning_rate": 0.2})
    page.do("step")
    page.see()
    assert set(PROGRAMS.kept) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"layer": "nothing", "leaf": "kernel", "index": [0, 0], "value": 1},
        {"layer": "dense", "leaf": "scale", "index": [0, 0], "value": 1},
        {"layer": "dense", "leaf": "kernel", "index": [0, 3], "value": 1},
        {"layer": "dense", "leaf": "kernel", "index": [0], "value": 1},
        {"layer": "dense", "leaf": "kernel", "index": [-1, 0], "value": 1},
        {"layer": "dense", "leaf": "bias", "index": [0], "value": None},
    ],
)
def test_a_weight_that_does_not_exist_is_refused(page, small, fields):
    page.do("set", settings=small)
    before = bits(page)
    with pytest.raises(RefusalError):
        page.do("weight", **fields)
    assert bits(page) == before


def test_a_loss_that_is_not_finite_is_null(page, small):
    small |= {"data": {"name": "plane", "size": 60}, "optimizer": {"learning_rate": 10}}
    small["layers"][0]["activation"] = "linear"
    page.do("set", settings=small)
    page.do("step", epochs=60)
    frame = page.see()
    assert frame["loss"]["train"] is None
    assert frame.arrays["output"].shape == (100, 100)


def test_messages_before_settings_are_refused(page):
    for do in ("play", "pause", "step", "reset", "code", "surface", "many"):
        with pytest.raises(RefusalError, match="settings first"):
            page.do(do)


def test_settings_of_everything_can_be_built():
    for optimizer in experiments.OPTIMIZERS:
        built = experiments.build(parse({"optimizer": {"name": optimizer}, "layers": []}))
        assert experiments.start(built).epoch == 0
