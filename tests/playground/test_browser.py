"""The page in a browser: everything that the TensorFlow Playground has. Each test uses a control and reads the page."""

import pytest

pytestmark = pytest.mark.slow


def test_play_trains_and_pause_stops(playground):
    start, before = playground.losses(), playground.pixels("#map-0")
    playground.play(30)
    epoch = playground.epoch()
    assert epoch >= 30
    assert playground.losses()[0] < start[0]
    assert playground.pixels("#map-0") != before
    playground.step()
    assert playground.epoch() == epoch + 1


def test_reset_returns_to_the_same_start(playground):
    start, before = playground.losses(), playground.pixels("#map-0")
    playground.step(3)
    assert playground.losses() != start
    playground.page.click("#reset")
    playground.wait("document.getElementById('epoch').textContent === '0'")
    playground.rest()
    assert playground.losses() == start
    assert playground.pixels("#map-0") == before


@pytest.mark.parametrize("name", ["xor", "gaussians", "spiral", "plane", "multi_gaussian", "circles"])
def test_each_data_set_is_drawn_and_trained(playground, name):
    if name == "circles":
        playground.changed(lambda: playground.page.click("#data-xor"))
    before = playground.pixels("#points-0")
    settings = playground.changed(lambda: playground.page.click(f"#data-{name}"))
    assert settings["data"]["name"] == name
    assert playground.page.get_attribute(f"#data-{name}", "aria-pressed") == "true"
    playground.rest()
    assert playground.pixels("#points-0") != before
    start = playground.losses()
    playground.step(4)
    assert playground.losses() != start
    regression = name in ("plane", "multi_gaussian")
    assert (playground.page.locator("#legend .classes").count() == 0) == regression
    assert ("%" in playground.page.text_content("#losses")) != regression


@pytest.mark.parametrize(
    ("control", "value", "key"), [("#noise", 0.3, "noise"), ("#train-ratio", 0.8, "train"), ("#rows", 200, "size")]
)
def test_sliders_change_the_data(playground, control, value, key):
    before = playground.pixels("#points-0")
    settings = playground.set(control, value)
    assert settings["data"][key] == value
    playground.rest()
    assert playground.pixels("#points-0") != before


def test_new_data_come_from_another_seed(playground):
    before, start = playground.pixels("#points-0"), playground.losses()
    assert playground.changed(lambda: playground.page.click("#regenerate"))["seed"] == 7
    playground.rest()
    assert playground.pixels("#points-0") != before
    assert playground.losses() != start
    playground.page.click("#more-button")
    assert playground.changed(lambda: playground.page.click("#new-seed"))["seed"] == 8


def test_features_are_added_and_removed(playground):
    start = playground.losses()
    settings = playground.changed(lambda: playground.page.click("#feature-4"))
    assert settings["features"] == ["x1", "x2", "x1*x2"]
    assert playground.page.locator("#network g").first.locator("path").count() == 3 * 4
    assert playground.losses() != start
    for feature in (0, 1):
        playground.changed(lambda feature=feature: playground.page.click(f"#feature-{feature}"))
    assert playground.settings()["features"] == ["x1*x2"]
    playground.page.click("#feature-4")
    playground.page.wait_for_selector("#problem:visible")
    assert "at least one feature" in playground.page.text_content("#problem")
    playground.page.click("#problem button")
    assert playground.page.is_hidden("#problem")
    assert playground.settings()["features"] == ["x1*x2"]


def test_layers_and_units_are_added_and_removed(playground):
    page = playground.page
    units = lambda: [layer["units"] for layer in playground.settings()["layers"]]  # noqa: E731
    playground.changed(lambda: page.click("#add-layer"))
    assert units() == [4, 2, 2]
    assert page.locator("#network .unit:not(.feature)").count() == 9
    playground.changed(lambda: page.click("#more-2"))
    playground.changed(lambda: page.click("#fewer-0"))
    assert units() == [3, 2, 3]
    page.click("#options-1")
    playground.changed(lambda: playground.put("#number-1", 20))
    assert units() == [3, 20, 3]
    assert "26 hidden units" in page.text_content("#network-size")
    for _ in range(3):
        playground.changed(lambda: page.click("#remove-layer"))
    assert units() == []
    assert page.is_disabled("#remove-layer")
    start = playground.losses()
    playground.step(2)
    assert playground.losses() != start


def test_changes_that_follow_each_other_at_once_all_count(playground):
    """Also before the server has answered the first one; and playing begins after the last."""
    playground.page.evaluate(
        """() => {
            for (let i = 0; i < 3; i++) document.getElementById('add-layer').click();
            document.getElementById('more-0').click();
            document.getElementById('data-xor').click();
            document.getElementById('play').click();
        }"""
    )
    playground.wait("Number(document.getElementById('epoch').textContent) >= 3")
    playground.page.click("#play")
    playground.rest()
    settings = playground.settings()
    assert settings["data"]["name"] == "xor"
    assert [layer["units"] for layer in settings["layers"]] == [5, 2, 2, 2, 2]
    epoch = playground.epoch()
    playground.step()
    assert playground.epoch() == epoch + 1


def test_no_more_layers_than_the_server_takes(playground):
    for _ in range(6):
        playground.changed(lambda: playground.page.click("#add-layer"))
    assert len(playground.settings()["layers"]) == 8
    assert playground.page.is_disabled("#add-layer")


@pytest.mark.parametrize(
    ("control", "value", "read"),
    [
        ("#activation", "relu", lambda settings: {layer["activation"] for layer in settings["layers"]}),
        ("#batch-size", 30, lambda settings: {settings["batch_size"]}),
        ("#seed", 9, lambda settings: {settings["seed"]}),
        ("#initializer", "he_normal", lambda settings: {settings["initializer"]}),
        ("#optimizer", "adam", lambda settings: {settings["optimizer"]["name"]}),
    ],
)
def test_settings_change_the_training(playground, control, value, read):
    playground.step()
    start = playground.losses()
    playground.page.click("#more-button")
    assert read(playground.set(control, value)) == {value}
    assert playground.epoch() == 0
    playground.step()
    assert playground.losses() != start


def test_the_learning_rate_changes_while_it_trains(playground):
    playground.step(2)
    playground.put("#learning-rate", 0.3)
    playground.wait("!location.hash.includes('undefined')")
    playground.rest()
    assert playground.epoch() == 2
    playground.step()
    faster = playground.losses()
    playground.go(2)
    playground.put("#learning-rate", 0.001)
    playground.rest()
    playground.step()
    assert playground.losses() != faster
    assert playground.settings()["optimizer"]["learning_rate"] == 0.001


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_penalties_shrink_the_weights(playground, kind):
    size = (
        "[...document.querySelectorAll('#network g path')]"
        ".reduce((sum, path) => sum + Number(path.getAttribute('stroke-width')), 0)"
    )
    playground.play(25)
    free = playground.page.evaluate(size)
    playground.page.click("#reset")
    playground.wait("document.getElementById('epoch').textContent === '0'")
    playground.put("#penalty", kind)
    playground.page.wait_for_selector("#penalty-rate:enabled")
    playground.put("#penalty-rate", 0.1)
    playground.rest()
    playground.play(25)
    assert playground.settings()["penalty"] == {"kind": kind, "rate": 0.1}
    assert playground.page.evaluate(size) < free


def test_epochs_per_frame(playground):
    playground.page.click("#more-button")
    playground.put("#speed", 10)
    playground.play(20)
    assert playground.epoch() % 10 == 0


def test_discretized_output_and_test_points(playground):
    page = playground.page
    playground.step(2)
    assert playground.colors("#map-0") > 10
    page.check("#discretize")
    playground.rest()
    assert playground.colors("#map-0") <= 2
    before = playground.pixels("#points-0")
    page.check("#show-test")
    playground.rest()
    shown = playground.pixels("#points-0")
    assert shown != before
    page.uncheck("#show-test")
    playground.rest()
    assert playground.pixels("#points-0") == before


def test_a_unit_shows_its_map_large(playground):
    playground.step()
    output = playground.pixels("#map-0")
    playground.page.hover("#unit-0-1")
    playground.wait("document.querySelector('#maps figcaption').textContent === 'Layer 1, unit 2'")
    unit = playground.pixels("#map-0")
    assert unit != output
    assert unit == playground.pixels("#unit-0-1 canvas")
    playground.page.hover("#data-title")
    playground.wait("document.querySelector('#maps figcaption').textContent === ''")
    assert playground.pixels("#map-0") == output


def middle_of_line(playground, gap, line):
    """Where a line of the network has its middle, in the window."""
    return playground.page.evaluate(
        """([gap, line]) => {
            const path = document.querySelectorAll('#network g')[gap].querySelectorAll('path')[line];
            const point = path.getPointAtLength(path.getTotalLength() * 0.12);
            const box = path.ownerSVGElement.getBoundingClientRect();
            return [box.left + point.x, box.top + point.y];
        }""",
        [gap, line],
    )


def test_a_weight_is_read_and_changed(playground):
    page = playground.page
    playground.step()
    start, before = playground.losses(), playground.pixels("#map-0")
    place = middle_of_line(playground, 0, 0)
    page.mouse.move(*place)
    page.wait_for_selector("#tip:visible")
    assert page.text_content("#tip").startswith("x₁ → Layer 1, unit 1: ")
    page.mouse.click(*place)
    page.wait_for_selector(".card[role=dialog]")
    page.fill(".card .row input", "2.5")
    page.press(".card .row input", "Enter")
    playground.wait("before => document.querySelector('#losses output').dataset.value !== before", repr(start[0]))
    assert playground.pixels("#map-0") != before
    typed = playground.losses()
    playground.put(".card input[type=range]", -1.5)
    playground.wait("before => document.querySelector('#losses output').dataset.value !== before", repr(typed[0]))
    assert page.input_value(".card .row input") == "-1.5"
    page.keyboard.press("Escape")
    page.wait_for_selector(".card[role=dialog]", state="detached")
    page.mouse.move(0, 0)
    page.mouse.move(*place)
    assert page.text_content("#tip").endswith(": \N{MINUS SIGN}1.500")


def test_a_bias_is_changed_by_keyboard(playground):
    page = playground.page
    start = playground.losses()
    page.focus("#unit-1-0")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card[role=dialog]")
    assert page.locator(".card .row").count() == 1 + 4
    page.keyboard.type("1.5")
    page.keyboard.press("Enter")
    playground.wait("before => document.querySelector('#losses output').dataset.value !== before", repr(start[0]))
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "unit-1-0"


def test_curves_and_numbers_follow_the_run(playground):
    empty = playground.pixels("#loss-chart")
    playground.step(3)
    assert playground.pixels("#loss-chart") != empty
    label = playground.page.get_attribute("#loss-chart", "aria-label")
    assert "Epoch 3" in label
    assert playground.page.text_content("#live") in label
    shown = float(playground.page.text_content("#losses output >> nth=0"))
    assert shown == pytest.approx(playground.losses()[0], abs=0.0006)
