"""A server of the playground in a process of its own, and its page in a browser, used as a reader uses it."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest

DISABLED = "JAX_DISABLE_MOST_OPTIMIZATIONS"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def users_environment():
    """The environment without what makes other tests compile quickly."""
    return {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", DISABLED)}


class Playground:
    """The page as a reader uses it. Each method waits for what it causes; none waits for a fixed time."""

    def __init__(self, page, address):
        self.page, self.address = page, address
        self.errors, self.requests = [], []
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, fragment="", query=""):
        """Open the page, or open it anew."""
        self.page.goto("about:blank")
        address = self.address + ("&" if "?" in self.address else "?") + query if query else self.address
        self.page.goto(address + fragment)
        self.page.wait_for_selector("body[data-ready]")
        self.wait("document.querySelector('#losses output')?.dataset.value")
        return self

    def wait(self, condition, argument=None):
        """Wait until a condition of JavaScript holds: an expression, or a function of the argument."""
        if not re.match(r"\w+ => ", condition):
            condition = f"() => ({condition})"
        # Playwright's own wait evaluates text in the page, which the page's policy forbids.
        self.page.evaluate(
            f"""async argument => {{
                const end = performance.now() + 60_000;
                while (!(await ({condition})(argument))) {{
                    if (performance.now() > end) throw new Error({json.dumps("waited for " + condition)});
                    await new Promise(resolve => setTimeout(resolve, 10));
                }}
            }}""",
            argument,
        )

    def epoch(self):
        return int(self.page.text_content("#epoch"))

    def losses(self, run=0):
        """Training and test loss as the page received them, not as it rounds them."""
        values = self.page.eval_on_selector_all("#losses output", "all => all.map(one => one.dataset.value)")
        return tuple(map(float, values[2 * run : 2 * run + 2]))

    def pixels(self, canvas):
        """What is drawn on a canvas."""
        return self.page.eval_on_selector(canvas, "canvas => canvas.toDataURL()")

    def colors(self, canvas):
        """How many colours a canvas has."""
        return self.page.eval_on_selector(
            canvas,
            """canvas => new Set(new Uint32Array(
                canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size""",
        )

    def settings(self):
        """The settings in the address of the page."""
        text = self.page.evaluate(
            "import('./settings.js').then(module => JSON.stringify(module.fromFragment(location.hash).settings))"
        )
        return json.loads(text)

    def changed(self, act):
        """Do what builds the network anew, and wait until it is at epoch 0 with other settings."""
        before = self.page.evaluate("location.hash")
        act()
        self.wait("before => location.hash !== before", before)
        self.rest()
        return self.settings()

    def set(self, selector, value):
        """Choose in a list, or type a number, and wait for the new settings."""
        self.changed(lambda: self.put(selector, value))
        return self.settings()

    def put(self, selector, value):
        """Choose in a list, move a slider or type."""
        node = self.page.locator(selector)
        if node.evaluate("node => node.localName") == "select":
            node.select_option(str(value))
        elif node.get_attribute("type") == "range":
            node.evaluate("(node, to) => { node.value = to; node.dispatchEvent(new Event('input')); }", str(value))
        else:
            node.fill(str(value))
            node.press("Enter")

    def step(self, count=1):
        """Step some epochs."""
        for _ in range(count):
            before = self.epoch()
            self.page.click("#step")
            self.wait("before => Number(document.getElementById('epoch').textContent) === before + 1", before)

    def play(self, epochs=20):
        """Play until some more epochs are done, and pause."""
        goal = self.epoch() + epochs
        self.page.click("#play")
        self.wait("goal => Number(document.getElementById('epoch').textContent) >= goal", goal)
        self.page.click("#play")
        self.wait("document.body.dataset.playing === 'false'")
        self.rest()

    def rest(self):
        """Wait for the answer to a question, which comes after all frames on their way."""
        self.page.evaluate("import('./app.js').then(({app}) => app.run.ask('view', {}))")
        self.wait("new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => resolve(true))))")

    def go(self, epoch):
        """Travel to an epoch."""
        self.put("#time", epoch)
        self.wait("epoch => document.getElementById('epoch').textContent === String(epoch)", epoch)
        self.rest()

    def tab(self, name):
        self.page.click(f"#tab-{name}")


def drop(playground, text, name="mine.csv"):
    """Drop a file on the page."""
    transfer = playground.page.evaluate_handle(
        """([text, name]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], name, {type: 'text/csv'}));
            return transfer;
        }""",
        [text, name],
    )
    playground.page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def wait_for(address):
    """Wait until a server accepts connections."""
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((address.hostname, address.port)):
            return


@pytest.fixture(scope="session")
def serve():
    """A function that starts a server and returns its address; the servers end with the tests.

    With ``quick=False`` programs are optimized, as they are for users.
    """
    pytest.importorskip("starlette", reason="the extra fnn[playground] is not installed: no server to test")
    with contextlib.ExitStack() as stack:

        def start(quick=True, **variables):
            command = [sys.executable, "-m", "fnn.playground", "--no-browser", "--port", "0"]
            environment = users_environment() | variables
            if quick:
                # Compiling takes most of the time here.
                environment |= {DISABLED: "1"}
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
            )
            stack.callback(process.kill)
            printed = []
            for line in process.stdout:
                printed.append(line)
                if found := re.search(r"http://\S+", line):
                    wait_for(urlsplit(found[0]))
                    # The pipe must not fill.
                    threading.Thread(target=process.stdout.read, daemon=True).start()
                    return found[0]
            pytest.fail("the server ended:\n" + "".join(printed))

        yield start


@pytest.fixture(scope="module")
def address(serve):
    """The address of a server, with its token."""
    return serve()


@pytest.fixture(scope="session")
def browser():
    """Chromium from the system, driven by Playwright."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH: the page is not tested in a browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no test in a browser")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def playground(browser, address):
    """The page, newly opened, in a browser of its own; errors in it fail the test."""
    with contextlib.closing(browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")) as context:
        playground = Playground(context.new_page(), address).open()
        yield playground
        assert not playground.errors
