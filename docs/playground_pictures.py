"""Draw the pictures of the playground's pages: ``python docs/playground_pictures.py`` (needs Chromium and playwright).

A browser plays through each part of the page, in English and in Spanish; the animation is made of its screenshots.
`FNN_DATA` names the folder with MNIST.
"""

import argparse
import io
import itertools
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fnn.playground.server import Server
from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "playground"
WIDTH, HEIGHT = 1280, 800


def wait(page: Any, condition: str) -> None:
    """Wait until a condition of JavaScript holds."""
    page.evaluate(
        "async () => { while (!("
        + condition
        + ")) await new Promise(resolve => setTimeout(resolve, 20)); }"
    )


def train(page: Any, epochs: int) -> None:
    """Play until this epoch, and pause."""
    page.click("#play")
    wait(page, f"Number(document.getElementById('epoch').textContent) >= {epochs}")
    page.click("#play")
    wait(page, "document.body.dataset.playing === 'false'")
    page.mouse.move(5, 790)


def save(page: Any, name: str, selector: str | None = None) -> None:
    """Save the window, or a part of the page, in at most 256 colours; Spanish ones as ``name.es.png``."""
    if page.get_attribute("html", "lang") == "es":
        name = name.replace(".", ".es.")
    data = page.locator(selector).screenshot() if selector else page.screenshot()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)


def network(page: Any) -> None:
    """The page while a network learns."""
    train(page, 120)
    save(page, "network.png")


def own_data(page: Any) -> None:
    """Points drawn by hand."""
    page.click("#data-points")
    box = page.locator("#points-0").bounding_box()
    strokes = {
        0: [(0.15, 0.2), (0.5, 0.55), (0.85, 0.2)],
        1: [(0.15, 0.55), (0.5, 0.9), (0.85, 0.55)],
    }
    for brush, corners in strokes.items():
        page.check(f"#brush-{brush}")
        for i, (x, y) in enumerate(corners):
            page.mouse.move(
                box["x"] + x * box["width"], box["y"] + y * box["height"], steps=10
            )
            if i == 0:
                page.mouse.down()
        page.mouse.up()
    page.fill("#learning-rate", "0.1")
    page.press("#learning-rate", "Enter")
    train(page, 150)
    save(page, "own-data.png")


def digits(page: Any) -> None:
    """A digit drawn by hand."""
    page.click("#data-digits")
    wait(page, "document.body.dataset.busy === 'false'")
    train(page, 20)
    box = page.locator("#digit-pad").bounding_box()
    turns = [0.75 * math.pi * (i / 12 - 1) for i in range(13)]
    bow = [(0.5 + 0.2 * math.cos(turn), 0.35 + 0.2 * math.sin(turn)) for turn in turns]
    for i, (x, y) in enumerate([*bow, (0.3, 0.85), (0.75, 0.85)]):
        page.mouse.move(
            box["x"] + x * box["width"], box["y"] + y * box["height"], steps=10
        )
        if i == 0:
            page.mouse.down()
    page.mouse.up()
    wait(page, "document.getElementById('digit-answer').textContent")
    save(page, "digits.png")


def layers(page: Any) -> None:
    """The vanishing gradient."""
    for _ in range(3):
        page.click("#add-layer")
    page.select_option("#activation", "sigmoid")
    train(page, 40)
    save(page, "layers.png", ".panels")


def many(page: Any) -> None:
    """Eight seeds at once."""
    page.click("#data-xor")
    page.click("#tab-many")
    page.fill("#many-epochs", "60")
    page.click("#many-start")
    page.wait_for_selector("#many-result:visible")
    page.wait_for_selector("#many-start:enabled")
    save(page, "many.png", ".panels")


def compare(page: Any) -> None:
    """Two runs."""
    page.set_viewport_size(
        {"width": WIDTH, "height": 1100}
    )  # nothing scrolls below the bar
    page.click("#tab-compare")
    page.click("#second-run")
    page.wait_for_selector("#run-1:checked")
    page.select_option("#activation", "relu")
    # Compiled for both before they play, so that neither is ahead.
    steps = "app.all(run => run.step()).then(() => app.all(run => run.reset()))"
    page.evaluate(f"import('./app.js').then(({{app}}) => {steps})")
    train(page, 80)
    save(page, "two-runs.png", ".output")


def surface(page: Any) -> None:
    """The loss surface."""
    train(page, 60)
    page.click("#tab-surface")
    page.click("#surface-start")
    page.wait_for_selector("#surface-map:visible")
    save(page, "surface.png", ".panels")


def code(page: Any) -> None:
    """The scripts."""
    train(page, 30)
    page.click("#tab-code")
    wait(page, "document.getElementById('code-fnn').textContent.length > 100")
    save(page, "code.png", ".panels")


def lesson(page: Any) -> None:
    """A lesson."""
    page.select_option("#lesson", index=2)
    page.wait_for_selector("#lesson-panel:visible")
    train(page, 100)
    save(page, "lesson.png")


def animation(page: Any) -> None:
    """Training on the spiral, and the way back in time."""
    page.click("#data-spiral")
    for feature in (5, 6):
        page.click(f"#feature-{feature}")
    page.select_option("#optimizer", "adam")
    wait(
        page,
        "document.getElementById('feature-6').ariaPressed === 'true' && document.querySelector('#losses output')",
    )
    images = []
    place = page.locator("main").bounding_box()
    clip = {
        "x": 0,
        "y": 48,
        "width": WIDTH,
        "height": min(place["y"] + place["height"], HEIGHT) - 48,
    }

    def shoot() -> None:
        image = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
        images.append(
            image.resize(
                (image.width // 2, image.height // 2), Image.Resampling.LANCZOS
            )
        )

    for epoch in range(0, 120, 5):
        wait(page, f"Number(document.getElementById('epoch').textContent) >= {epoch}")
        shoot()
        for _ in range(5):
            page.click("#step")
    for _ in range(6):
        shoot()
    for epoch in range(110, -1, -15):
        page.eval_on_selector(
            "#time",
            f"node => {{ node.value = {epoch}; node.dispatchEvent(new Event('input')); }}",
        )
        wait(page, f"document.getElementById('epoch').textContent === '{epoch}'")
        shoot()
    palette = images[len(images) // 2].quantize(96, dither=Image.Dither.NONE)
    frames = [
        image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images
    ]
    frames[0].save(
        FOLDER / "playground.gif",
        save_all=True,
        append_images=frames[1:],
        duration=140,
        loop=0,
        optimize=True,
    )


PARTS: list[Callable[[Any], None]] = [
    network, own_data, digits, layers, many, compare, surface, code, lesson, animation,
]  # fmt: skip


def main() -> None:
    """Draw all pictures, or some by name."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [part.__name__ for part in PARTS]
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}"
    )
    wanted = parser.parse_args().parts or names
    FOLDER.mkdir(exist_ok=True)
    server = Server()
    server.start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for language, part in itertools.product(("en", "es"), PARTS):
            if part.__name__ in wanted and (language, part) != ("es", animation):
                page = browser.new_page(
                    viewport={"width": WIDTH, "height": HEIGHT}, locale=language
                )
                page.goto(server.address)
                page.wait_for_selector("body[data-ready]")
                part(page)
                page.close()
        browser.close()
    server.stop()


if __name__ == "__main__":
    main()
