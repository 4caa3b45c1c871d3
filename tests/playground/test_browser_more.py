"""The page in a browser: what the TensorFlow Playground lacks. Each test uses a control and reads the page."""

import contextlib
import re
import subprocess
import sys

import numpy as np
import pytest
from browsing import Playground, drop, users_environment
from strokes import HANDS

from fnn.playground.images import has_mnist

pytestmark = pytest.mark.slow


def test_time_travel_returns_the_same_numbers(playground):
    playground.page.click("#more-button")
    seen = {}
    for epoch in range(1, 7):
        playground.step()
        seen[epoch] = playground.losses(), playground.pixels("#map-0"), playground.pixels("#unit-0-0 canvas")
    for epoch in (3, 1, 5, 6, 2):
        playground.go(epoch)
        assert (playground.losses(), playground.pixels("#map-0"), playground.pixels("#unit-0-0 canvas")) == seen[epoch]
    assert "epoch 2 of 6" in playground.page.text_content("#time-text")
    # Training goes on from there, in the same way.
    playground.step()
    assert (playground.losses(), playground.pixels("#map-0"), playground.pixels("#unit-0-0 canvas")) == seen[3]
    assert playground.page.get_attribute("#time", "max") == "3"


def test_time_travel_brings_back_hyper_parameters(playground):
    page = playground.page
    playground.step(2)
    playground.put("#learning-rate", 0.3)
    playground.rest()
    playground.step(2)
    reached = playground.losses()
    playground.go(1)
    playground.wait("document.getElementById('learning-rate').value === '0.03'")
    playground.go(4)
    playground.wait("document.getElementById('learning-rate').value === '0.3'")
    assert playground.losses() == reached
    assert page.input_value("#time") == "4"


NAMES = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "adamax", "nadam"]


def test_all_optimizers_train_with_their_hyper_parameters(playground):
    page = playground.page
    page.click("#more-button")
    assert page.eval_on_selector_all("#optimizer option", "all => all.map(one => one.value)") == NAMES
    ends = set()
    for name in NAMES[1:]:
        playground.set("#optimizer", name)
        playground.step()
        ends.add(playground.losses()[0])
        hypers = page.eval_on_selector_all("#hypers input", "all => all.map(one => one.id)")
        assert hypers
        playground.put(f"#{hypers[0]}", 0.5)
        playground.rest()
        assert playground.epoch() == 1
        assert playground.settings()["optimizer"][hypers[0].removeprefix("hyper-")] == 0.5
        playground.step()
    assert len(ends) == len(NAMES) - 1


def test_each_layer_has_its_own_activation_dropout_and_batch_norm(playground):
    page = playground.page
    assert playground.set("#activation-1", "relu")["layers"][1]["activation"] == "relu"
    assert page.input_value("#activation") == ""
    page.click("#options-0")
    settings = playground.set("#dropout-0", 0.2)
    assert [layer["dropout"] for layer in settings["layers"]] == [0.2, 0]
    settings = playground.changed(lambda: page.check("#batch-norm-0"))
    assert [layer["batch_norm"] for layer in settings["layers"]] == [True, False]
    assert page.text_content("#options-0") == "drop 0.2 · BN"
    start = playground.losses()
    playground.step(3)
    assert playground.losses() != start
    assert page.locator("#network g path.negative").count()


def test_the_options_of_a_layer_close_with_escape_or_a_press_elsewhere(playground):
    page = playground.page
    page.click("#options-0")
    page.focus("#number-0")
    page.keyboard.press("Escape")
    assert page.locator(".layer-details").count() == 0
    assert page.evaluate("document.activeElement.id") == "options-0"
    page.click("#options-0")
    assert page.locator(".layer-details").count() == 1
    page.click("#options-1")
    assert page.locator("#activation-1 ~ .layer-details").count() == 1
    page.click("#output-title")
    assert page.locator(".layer-details").count() == 0
    assert page.get_attribute("#options-1", "aria-expanded") == "false"


def test_a_larger_network_trains(playground):
    page = playground.page
    page.click("#options-0")
    playground.set("#number-0", 64)
    page.click("#options-1")
    playground.set("#number-1", 12)
    playground.set("#activation", "relu")
    assert page.locator("#network [id^=unit-0-]").count() == 64
    assert "largest weights" in page.text_content("#network-note")
    start = playground.losses()
    playground.step(3)
    assert playground.losses()[0] < start[0]


CSV = "length,width,kind\n" + "\n".join(
    f"{a:.3f},{b:.3f},{['short', 'long', 'wide'][k]}"
    for k, (x, y) in enumerate([(0, 0), (3, 0), (0, 3)])
    for a, b in np.random.default_rng(k).normal((x, y), 0.5, (40, 2))
)


def test_a_dropped_csv_file_is_trained(playground):
    page = playground.page
    settings = playground.changed(lambda: drop(playground, CSV))
    assert settings["data"]["name"] == "csv"
    assert page.text_content("#legend") == "longshortwide"
    assert "2 inputs" in page.text_content("#csv-name")
    assert page.locator("#network .final").count() == 3
    start, before = playground.losses(), playground.pixels("#map-0")
    playground.put("#learning-rate", 0.3)
    playground.play(30)
    assert playground.losses()[0] < start[0] / 2
    assert playground.pixels("#map-0") != before
    playground.tab("code")
    with page.expect_download() as saved:
        page.click("#code-files button")
    assert saved.value.suggested_filename == "data.csv"
    assert saved.value.path().read_text().split() == CSV.split()


def test_a_chosen_csv_file_of_numbers_is_a_regression(playground, tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (80, 3))
    path = tmp_path / "numbers.csv"
    path.write_text("a;b;c;y\n" + "\n".join(f"{a};{b};{c};{a - b + 0.1 * c}" for a, b, c in rows))
    playground.page.click("#data-csv")
    playground.changed(lambda: playground.page.set_input_files("#csv-file", path))
    assert "%" not in playground.page.text_content("#losses")
    assert playground.page.locator("#network .feature").count() == 3
    start = playground.losses()
    playground.play(30)
    assert playground.losses()[0] < start[0] / 2


def test_a_broken_csv_file_is_refused_and_changes_nothing(playground):
    before = playground.settings()
    drop(playground, "a,b\n1\n2,3,4\n")
    playground.page.wait_for_selector("#problem:visible")
    assert "data.text" in playground.page.text_content("#problem")
    assert playground.settings() == before
    drop(playground, "x" * 1_500_000)
    playground.wait("document.getElementById('problem').textContent.includes('1500 kB')")
    playground.step()


def test_points_are_drawn_and_trained(playground):
    page = playground.page
    page.click("#data-points")
    box = page.locator("#points-0").bounding_box()

    def stroke(brush, corners):
        page.check(f"#brush-{brush}")
        for i, (x, y) in enumerate(corners):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
            if i == 0:
                page.mouse.down()
        page.mouse.up()

    stroke(0, [(0.1, 0.2), (0.9, 0.2)])
    settings = playground.changed(lambda: stroke(1, [(0.1, 0.8), (0.9, 0.8)]))
    drawn = len(settings["data"]["x"])
    assert drawn >= 10
    assert set(settings["data"]["y"]) == {0, 1}
    assert f"{drawn} points" in page.text_content("#points-count")
    rows = zip(settings["data"]["x"], settings["data"]["y"], strict=True)
    assert all(abs(x2 - (3.6 if kind == 0 else -3.6)) < 0.1 for (_, x2), kind in rows)
    start = playground.losses()
    playground.play(25)
    assert playground.losses()[0] < start[0]
    settings = playground.changed(lambda: stroke(3, [(0.1, 0.2), (0.3, 0.2)]))
    assert len(settings["data"]["x"]) < drawn
    # By keyboard: the cross stands in the middle.
    page.check("#brush-2")
    page.focus("#points-0")
    page.keyboard.press("ArrowRight")
    settings = playground.changed(lambda: page.keyboard.press("Enter"))
    assert settings["data"]["x"][-1] == [0.3, 0]
    assert page.text_content("#legend") == "012"
    page.click("#clear-points")
    assert "0 points" in page.text_content("#points-count")


def draw_digit(playground, strokes):
    """Draw lines on the field with the mouse."""
    page = playground.page
    box = page.locator("#digit-pad").bounding_box()
    for line in strokes:
        for i, (x, y) in enumerate(line):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3 if i else 1)
            if i == 0:
                page.mouse.down()
        page.mouse.up()


def test_drawn_digits_are_read(playground):
    """All ten, after MNIST where it is here; the picture shown is what the network gets."""
    page = playground.page
    settings = playground.changed(lambda: page.click("#data-digits"))
    name = "mnist" if has_mnist() else "digits"
    assert settings["data"]["name"] == page.input_value("#image-size") == name
    assert settings["data"]["size"] == {"mnist": 5000, "digits": 1750}[name]
    assert page.is_visible("#mnist-absent") == (name == "digits")
    playground.play(15)
    assert float(re.match(r"([\d.]+) %", page.text_content("#losses .extra >> nth=0"))[1]) > 90
    assert playground.colors("#unit-0-3 canvas") > 5
    assert playground.colors("#unit-1-3 canvas") > 5, "the tiles of the output show what its units see"
    wrong = {}
    for digit, strokes in HANDS["round"].items():
        draw_digit(playground, strokes)
        # No question is left on its way.
        playground.wait("import('./app.js').then(({app}) => app.run.socket.waiting.size === 0)")
        playground.rest()
        read = page.text_content("#digit-answer")
        if read != f"The network sees: {digit}":
            wrong[digit] = read
        assert page.locator(".unit.best").count() == 1
        shares = page.eval_on_selector_all("#digit-bars output", "all => all.map(one => parseFloat(one.textContent))")
        assert sum(shares) == pytest.approx(100, abs=1)
        page.click("#digit-clear")
        playground.wait("document.getElementById('digit-answer').textContent === ''")
    assert len(wrong) <= (0 if name == "mnist" else 2), wrong
    page.focus("#digit-pad")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    playground.wait("document.getElementById('digit-answer').textContent !== ''")
    assert playground.colors("#pixels") > 5
    assert playground.colors("#digit-seen") > 2


def test_images_of_both_sizes_are_trained(playground):
    page = playground.page
    playground.changed(lambda: page.click("#data-digits"))
    if not has_mnist():
        pytest.skip("MNIST is not on this machine")
    assert playground.set("#image-size", "digits")["data"] == {
        "name": "digits", "size": 1750, "noise": 0, "train": 0.8,
    }  # fmt: skip
    assert playground.set("#rows", 500)["data"]["size"] == 500
    playground.step()
    assert playground.set("#image-size", "mnist")["data"]["size"] == 5000


def test_without_mnist_the_page_says_that_the_small_images_are_used(browser, serve, tmp_path):
    with contextlib.closing(browser.new_context(locale="en-GB")) as context:
        address = serve(FNN_DATA=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
        playground = Playground(context.new_page(), address).open()
        page = playground.page
        assert playground.changed(lambda: page.click("#data-digits"))["data"]["name"] == "digits"
        assert page.input_value("#image-size") == "digits"
        assert "MNIST is not on this machine" in page.text_content("#mnist-absent")
        assert page.is_visible("#mnist-absent")
        assert page.get_attribute("#image-size option[value=mnist]", "disabled") is not None
        playground.step()
        assert not playground.errors


def test_points_can_be_drawn_after_digits(playground):
    page = playground.page
    playground.changed(lambda: page.click("#data-digits"))
    playground.changed(lambda: page.click("#data-points"))
    page.click("#points-0", position={"x": 50, "y": 50})
    assert page.text_content("#points-count") == "1 point"
    page.check("#brush-1")
    settings = playground.changed(lambda: page.click("#points-0", position={"x": 150, "y": 150}))
    assert settings["data"]["name"] == "points"
    assert settings["data"]["y"] == [0, 1]


def test_the_vanishing_gradient_is_seen(playground):
    page = playground.page
    for _ in range(3):
        playground.changed(lambda: page.click("#add-layer"))

    def gradients(activation):
        playground.set("#activation", activation)
        playground.step(2)
        playground.tab("health")
        playground.rest()
        texts = page.locator("#health-rows tr td:nth-child(2) output").all_text_contents()
        return [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts]

    sigmoid, tanh = gradients("sigmoid"), gradients("tanh")
    assert len(sigmoid) == 6
    assert sigmoid[0] < 0.05 * sigmoid[-1]
    assert tanh[0] / tanh[-1] > 10 * sigmoid[0] / sigmoid[-1]
    assert page.locator("#health-rows tr").count() == 6
    before = playground.pixels("#health-chart")
    playground.step()
    assert playground.pixels("#health-chart") != before


def test_dead_units_are_counted(playground):
    page = playground.page
    playground.set("#activation", "relu")
    playground.step()
    page.click("#unit-1-0")
    page.fill(".card .row input >> nth=0", "-1000")
    page.press(".card .row input >> nth=0", "Enter")
    playground.rest()
    page.keyboard.press("Escape")
    dead = page.text_content("#health-rows tr:nth-child(2) td:nth-child(3) output")
    assert int(dead.split()[0]) >= 50


def test_two_runs_beside_each_other(playground):
    page = playground.page
    playground.tab("compare")
    page.click("#second-run")
    page.wait_for_selector("#run-1:checked")
    playground.wait("document.querySelectorAll('#losses output').length === 4")
    playground.rest()
    assert playground.losses(0) == playground.losses(1)
    playground.set("#activation", "relu")
    assert page.text_content("#compare-rows tr.differs") == "Hidden layers4 tanh, 2 tanh4 relu, 2 relu"
    playground.step(3)
    assert playground.losses(0) != playground.losses(1)
    assert playground.pixels("#map-0") != playground.pixels("#map-1")
    page.check("#run-0")
    playground.rest()
    assert page.input_value("#activation") == "tanh"
    three = playground.losses(0), playground.losses(1)
    playground.step()
    playground.go(3)
    playground.wait("value => document.querySelectorAll('#losses output')[2].dataset.value == value", three[1][0])
    assert playground.losses(0) == three[0]
    page.click("#second-run")
    playground.wait("document.querySelectorAll('#losses output').length === 2")
    assert page.locator("#map-1").count() == 0


@pytest.mark.parametrize("over", ["seed", "learning_rate"])
def test_many_at_once(playground, over):
    page = playground.page
    playground.tab("many")
    playground.put("#many-over", over)
    playground.put("#many-count", 4)
    playground.put("#many-epochs", 12)
    page.click("#many-start")
    page.wait_for_selector("#many-result:visible")
    page.wait_for_selector("#many-start:enabled")
    captions = page.eval_on_selector_all("#many-members figcaption", "all => all.map(one => one.textContent)")
    assert len(set(captions)) == 4
    assert all(caption.startswith("seed" if over == "seed" else "rate") for caption in captions)
    pictures = page.eval_on_selector_all("#many-members canvas", "all => all.map(one => one.toDataURL())")
    assert len(set(pictures)) == 4
    assert "4 networks after 12 epochs" in page.text_content("#many-said")
    assert playground.pixels("#many-mean") != playground.pixels("#many-spread")


def test_the_loss_surface_shows_the_path(playground):
    page = playground.page
    playground.step(6)
    playground.tab("surface")
    page.click("#surface-start")
    page.wait_for_selector("#surface-map:visible")
    first, second = map(int, re.findall(r"(\d+) %", page.text_content("#surface-said")))
    assert 50 < first + second <= 101
    assert playground.colors("#surface-map") > 5
    drawn = playground.pixels("#surface-path")
    playground.step(4)
    page.click("#surface-start")
    playground.wait("before => document.getElementById('surface-path').toDataURL() !== before", drawn)


def test_the_shown_script_ends_with_the_same_loss(browser, serve, tmp_path):
    """Also after a change of the learning rate, of the penalty and of a weight on the way."""
    with contextlib.closing(browser.new_context()) as context:
        playground = Playground(context.new_page(), serve(quick=False)).open()
        page = playground.page
        playground.step(2)
        playground.put("#learning-rate", 0.1)
        playground.rest()
        playground.put("#penalty", "l2")
        playground.rest()
        page.click("#unit-0-0")
        page.fill(".card .row input >> nth=1", "0.75")
        page.press(".card .row input >> nth=1", "Enter")
        playground.rest()
        page.keyboard.press("Escape")
        playground.step(3)
        playground.tab("code")
        playground.wait("document.getElementById('code-fnn').textContent.includes('import fnn')")
        assert "import keras" in page.text_content("#code-keras")
        script = tmp_path / "shown.py"
        script.write_text(page.text_content("#code-fnn"))
        loss = playground.losses()[0]
    command = [sys.executable, script]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=users_environment())
    assert run.returncode == 0, run.stderr
    assert repr(loss) in run.stdout


def test_the_code_is_copied_and_saved(playground):
    page = playground.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    playground.tab("code")
    playground.wait("document.getElementById('code-keras').textContent.length > 100")
    for kind in ("fnn", "keras"):
        page.click(f"#copy-{kind}")
        playground.wait(f"document.getElementById('copy-{kind}').textContent === 'Copied'")
        text = page.text_content(f"#code-{kind}")
        assert page.evaluate("navigator.clipboard.readText()") == text
        with page.expect_download() as saved:
            page.click(f"#save-{kind}")
        with open(saved.value.path()) as file:
            assert file.read() == text
    before = page.text_content("#code-fnn")
    playground.step()
    page.click("#code-refresh")
    playground.wait("before => document.getElementById('code-fnn').textContent !== before", before)


def test_the_picture_is_saved(playground, tmp_path):
    image = pytest.importorskip("PIL.Image")
    playground.step(2)
    with playground.page.expect_download() as saved:
        playground.page.click("#picture")
    assert saved.value.suggested_filename == "fnn-playground.png"
    picture = np.asarray(image.open(saved.value.path()).convert("RGB"))
    assert picture.shape[1] > 1600
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 500


def test_an_animation_is_recorded(playground):
    page = playground.page
    page.click("#record")
    assert page.text_content("#record") == "Stop recording"
    playground.play(10)
    with page.expect_download() as saved:
        page.click("#record")
    assert saved.value.suggested_filename == "fnn-playground.webm"
    assert saved.value.path().stat().st_size > 2000
    assert page.text_content("#record") == "Record"


def test_lessons_set_the_page_up(playground):
    page = playground.page
    names = page.eval_on_selector_all("#lesson option", "all => all.map(one => one.value)")[1:]
    assert len(names) >= 5
    for name in names:
        page.select_option("#lesson", name)
        title = page.text_content(f"#lesson [value={name}]")
        playground.wait("title => document.querySelector('#lesson-panel h2')?.textContent === title", title)
        playground.rest()
        assert len(page.text_content("#lesson-panel .lesson-text")) > 80
        assert page.is_hidden("#problem")
    english = page.text_content("#lesson-panel")
    page.select_option("#language", "es")
    playground.wait("before => document.getElementById('lesson-panel').textContent !== before", english)
    page.click("#lesson-before")
    playground.wait("name => document.getElementById('lesson').value === name", names[-2])
    page.click("#lesson-next")
    playground.wait("name => document.getElementById('lesson').value === name", names[-1])
    page.click("#lesson-close")
    assert page.is_hidden("#lesson-panel")


def test_a_lesson_by_address(browser, address, playground):
    names = playground.page.eval_on_selector_all("#lesson option", "all => all.map(one => one.value)")
    playground.open(fragment=f"#lesson={names[2]}")
    assert playground.page.input_value("#lesson") == names[2]
    assert playground.page.is_visible("#lesson-panel")


def test_the_perceptron_corrects_row_by_row(playground):
    page = playground.page
    said = "document.getElementById('classic-said').textContent"
    assert playground.set("#kind", "perceptron")["kind"] == "perceptron"
    assert page.is_hidden("#optimizer")
    assert "No line separates" in page.text_content("#classic-said")
    lines = set()
    for count in (1, 2, 3):
        page.click("#step")
        playground.wait(f"{said}.includes('Corrections so far: {count}.')")
        lines.add(page.text_content("#classic-said"))
    assert len(lines) == 3
    assert playground.colors("#map-0") == 2
    playground.changed(lambda: page.click("#data-gaussians"))
    wrong = playground.losses()[0]
    page.click("#play")
    playground.wait(f"{said}.includes('the rule ends')")
    assert playground.losses()[0] == 0 < wrong
    playground.wait("document.body.dataset.playing === 'false'")
    assert playground.set("#kind", "network")["kind"] == "network"
    playground.step()


def test_a_formula_becomes_threshold_units(playground):
    page = playground.page
    playground.set("#kind", "formula")
    table = (
        "[...document.querySelectorAll('#truth tbody tr')].map(row => [...row.children].map(cell => cell.textContent))"
    )
    last = [(row[0], row[1], row[-1]) for row in page.evaluate(table)]
    assert last == [("0", "0", "0"), ("0", "1", "1"), ("1", "0", "1"), ("1", "1", "0")]
    assert "The output is 0" in page.text_content("#classic-said")
    page.click("#bit-a")
    assert "The output is 1" in page.text_content("#classic-said")
    assert page.locator("#truth .now").text_content().startswith("10")
    playground.set("#formula", "a and not b")
    assert page.text_content("#truth thead") == "abNOTAND"
    assert page.locator("#diagram .neuron").count() == 4
    page.fill("#formula", "a and (")
    page.press("#formula", "Enter")
    page.wait_for_selector("#problem:visible")
    assert "formula" in page.text_content("#problem")
    assert page.text_content("#truth thead") == "abNOTAND"
    playground.changed(lambda: page.click("#formula-1"))
    assert page.input_value("#formula") == "a or b"
    assert "fnn.classic.formula('a or b')" in page.text_content("#code-fnn")
