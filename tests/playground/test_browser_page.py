"""The page in a browser: languages, colours, keys, phones, addresses, speed, and several visitors."""

import contextlib
import re
from urllib.parse import urlsplit

import pytest
from browsing import Playground, drop
from english import ENGLISH

pytestmark = pytest.mark.slow


@pytest.fixture
def visit(browser, address):
    """A function that opens the page in a browser context of its own."""
    with contextlib.ExitStack() as stack:
        opened = []

        def open_page(fragment="", query="", **context):
            page = stack.enter_context(contextlib.closing(browser.new_context(**context))).new_page()
            opened.append(Playground(page, address).open(fragment, query))
            return opened[-1]

        yield open_page
        assert not any(playground.errors for playground in opened)


def test_nothing_is_fetched_from_elsewhere(playground):
    playground.step()
    for tab in ("many", "compare", "surface", "code", "health"):
        playground.tab(tab)
    hosts = {urlsplit(url).netloc for url in playground.requests if not url.startswith(("data:", "blob:", "about:"))}
    assert hosts == {urlsplit(playground.address).netloc}


def texts(page):
    """All texts of the page that a reader can see or hear, without code, names of settings and numbers."""
    return page.evaluate(
        """() => {
            const found = [];
            const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walk.nextNode()) {
                const parent = walk.currentNode.parentElement;
                const own = 'script, noscript, code, .code, datalist, [lang=en], [translate=no],'
                    + 'option[value]:not([data-word])';
                if (!parent.closest(own)) {
                    found.push(walk.currentNode.textContent);
                }
            }
            for (const node of document.querySelectorAll('[aria-label], [title]')) {
                found.push(node.getAttribute('aria-label') ?? '', node.title);
            }
            return found.map(text => text.trim()).filter(Boolean);
        }"""
    )


NAMES = r"FNN_DATA|'(and|or|xor|not)'"  # of a variable, and of a formula's operators


def test_spanish_has_no_english_word(visit):
    playground = visit(query="lang=es")
    assert playground.page.get_attribute("html", "lang") == "es"
    page = playground.page

    def check():
        for text in (re.sub(NAMES, "", text) for text in texts(page)):
            assert not ENGLISH.intersection(re.findall(r"[a-záéíóúñü]+", text.lower())), text

    page.click("#more-button")
    playground.step(3)
    page.click("#unit-0-0")
    assert "Tasa de aprendizaje" in texts(page)
    check()
    page.keyboard.press("Escape")
    page.click("#options-0")
    playground.tab("many")
    playground.put("#many-count", 2)
    playground.put("#many-epochs", 2)
    page.click("#many-start")
    page.wait_for_selector("#many-result:visible")
    playground.tab("surface")
    page.click("#surface-start")
    page.wait_for_selector("#surface-map:visible")
    playground.go(1)
    check()
    playground.tab("compare")
    page.click("#second-run")
    page.wait_for_selector("#run-1:checked")
    check()
    page.click("#second-run")
    page.click("#share")
    check()
    page.click("#share-close")
    page.click("#data-csv")
    check()
    page.click("#data-points")
    check()
    playground.changed(lambda: page.click("#data-digits"))
    check()
    page.select_option("#lesson", index=3)
    page.wait_for_selector("#lesson-panel:visible")
    check()
    for kind in ("perceptron", "formula"):
        playground.set("#kind", kind)
        check()
    page.fill("#formula", "a b")
    page.press("#formula", "Enter")
    page.wait_for_selector("#problem:visible")
    assert "se esperaba" in page.text_content("#problem")
    check()
    playground.set("#kind", "network")
    drop(playground, "a,b,y\n" + "muchos,2,3\n" + "1,2,0\n" * 6)
    playground.wait("document.getElementById('problem').textContent.includes('columna')")
    check()


def test_spanish_numbers_have_a_comma_everywhere(visit):
    """In texts, fields and lists; a dot is read too."""
    playground = visit(query="lang=es")
    page = playground.page
    page.click("#more-button")
    playground.set("#optimizer", "adam")
    assert page.input_value("#learning-rate") == "0,01"
    assert page.input_value("#hyper-beta_1") == "0,9"
    playground.put("#hyper-beta_1", "0,85")
    playground.rest()
    assert playground.settings()["optimizer"]["beta_1"] == 0.85
    playground.put("#hyper-beta_1", "0.8")
    playground.wait("document.getElementById('hyper-beta_1').value === '0,8' || (document.activeElement.blur(), false)")
    playground.set("#penalty", "l2")
    playground.step(2)
    page.click("#options-0")
    playground.set("#dropout-0", 0.2)
    page.click("#output-title")
    page.click("#unit-0-0")
    fields = page.eval_on_selector_all("input.decimal", "all => all.map(one => one.value)")
    assert all(re.fullmatch(r"-?\d+(,\d+)?(e-?\d+)?", value) for value in fields)
    shown = [*texts(page), *page.eval_on_selector_all("#penalty-rate option", "all => all.map(one => one.textContent)")]
    assert not [text for text in shown if re.search(r"\d\.\d", text)]
    page.keyboard.press("Escape")
    page.fill("#learning-rate", "mucho")
    page.press("#learning-rate", "Enter")
    assert page.eval_on_selector("#learning-rate", "node => node.validationMessage") == "Escribe un número de 0 a 10."
    page.fill("#learning-rate", "0,5")
    page.press("#learning-rate", "Enter")
    playground.rest()
    assert playground.settings()["optimizer"]["learning_rate"] == 0.5


def test_six_hidden_layers_fit(visit):
    playground = visit(viewport={"width": 1280, "height": 800})
    page = playground.page
    for _ in range(4):
        playground.changed(lambda: page.click("#add-layer"))
    assert page.evaluate("(node => node.scrollWidth <= node.clientWidth)(document.querySelector('.scroll'))")
    overlapping = page.evaluate(
        """() => {
            const boxes = [...document.querySelectorAll('.layer-head')].map(node => node.getBoundingClientRect());
            return boxes.filter((box, i) => i && box.left < boxes[i - 1].right);
        }"""
    )
    assert not overlapping
    outside = page.evaluate(
        """() => [...document.querySelectorAll('.layer-head > *, .layer-head .counter > *')].filter(node => {
            const [own, head] = [node, node.closest('.layer-head')].map(one => one.getBoundingClientRect());
            return own.left < head.left - 1 || own.right > head.right + 1;
        }).map(node => node.outerHTML)"""
    )
    assert not outside


def test_percentages_are_short(playground):
    found = playground.page.evaluate("import('./words.js').then(m => [1, 0.9999, 0.5, 0.123, 0].map(m.percent))")
    assert found == ["100 %", "99.9 %", "50 %", "12.3 %", "0 %"]


def test_the_language_is_switched_and_remembered(visit):
    playground = visit(locale="en-GB")
    assert playground.page.text_content("#data-title") == "Data"
    playground.page.select_option("#language", "es")
    assert playground.page.text_content("#data-title") == "Datos"
    assert playground.page.get_attribute("#play", "aria-label") == "Entrenar"
    assert playground.page.get_attribute("html", "lang") == "es"
    assert playground.open().page.text_content("#data-title") == "Datos"
    assert visit(locale="es-MX").page.text_content("#data-title") == "Datos"


def test_every_text_is_in_both_languages(playground):
    words = playground.page.evaluate("import('./words.js').then(module => module.WORDS)")
    assert all(len(pair) == 2 and all(pair) for pair in words.values())
    for english, spanish in words.values():
        assert set(re.findall(r"\{(\w+)", english)) == set(re.findall(r"\{(\w+)", spanish))
    used = playground.page.evaluate(
        "[...document.querySelectorAll('[data-word], [data-label], [data-hint]')]"
        ".flatMap(node => [node.dataset.word, node.dataset.label, node.dataset.hint]).filter(Boolean)"
    )
    assert set(used) <= set(words)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light(visit, scheme):
    playground = visit(color_scheme=scheme)
    page = playground.page
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.get_attribute("html", "data-theme") == scheme
    before, drawn = page.evaluate(background), playground.pixels("#map-0")
    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == ("light" if scheme == "dark" else "dark")
    assert page.evaluate(background) != before
    playground.wait("before => document.querySelector('#map-0').toDataURL() !== before", drawn)
    assert playground.open().page.get_attribute("html", "data-theme") != scheme


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(visit, scheme):
    """At least 4.5 to 1, as WCAG asks for."""
    playground = visit(color_scheme=scheme)
    playground.page.click("#more-button")
    found = playground.page.evaluate(
        """() => {
            const channels = color => color.match(/[\\d.]+/g).map(Number);
            const light = color => channels(color).slice(0, 3).map(c => c / 255)
                .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
                .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
            const background = node => {
                for (; node; node = node.parentElement) {
                    const color = getComputedStyle(node).backgroundColor;
                    if ((channels(color)[3] ?? 1) > 0.5) return color;
                }
            };
            return [...document.querySelectorAll('body *')]
                .filter(node => node.checkVisibility() && !node.closest(':disabled, svg')
                    && [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim()))
                .map(node => {
                    const [a, b] = [light(getComputedStyle(node).color), light(background(node))];
                    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.textContent.trim().slice(0, 40)];
                }).filter(([ratio]) => ratio < 4.5);
        }"""
    )
    assert not found


def test_every_control_has_a_name(playground):
    playground.page.click("#more-button")
    for tab in ("many", "compare", "surface", "code", "health"):
        playground.tab(tab)
        nameless = playground.page.evaluate(
            """() => [...document.querySelectorAll('button, input, select, textarea, [role=img], [tabindex="0"]')]
                .filter(node => node.checkVisibility() && !node.closest('[aria-hidden=true]'))
                .filter(node => !(node.getAttribute('aria-label') || node.getAttribute('aria-labelledby')
                    || node.labels?.[0]?.textContent.trim()
                    || (node.localName === 'button' && node.textContent.trim())))
                .map(node => node.outerHTML.slice(0, 120))"""
        )
        assert not nameless


def test_keys(playground):
    page = playground.page
    page.focus("#main")
    page.keyboard.press("s")
    playground.wait("document.getElementById('epoch').textContent === '1'")
    page.keyboard.press("Space")
    playground.wait("Number(document.getElementById('epoch').textContent) >= 5")
    page.keyboard.press("Space")
    playground.wait("document.body.dataset.playing === 'false'")
    playground.rest()
    page.focus("#time")
    epoch = playground.epoch()
    page.keyboard.press("ArrowLeft")
    playground.wait("epoch => document.getElementById('epoch').textContent === String(epoch - 1)", epoch)
    page.keyboard.press("r")
    playground.wait("document.getElementById('epoch').textContent === '0'")
    page.focus("#tab-health")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-many", "aria-selected") == "true"
    # Letters typed into a field stay there.
    page.focus("#learning-rate")
    page.keyboard.press("s")
    playground.rest()
    assert playground.epoch() == 0


def test_the_focus_can_be_seen(playground):
    page = playground.page
    page.keyboard.press("Tab")
    seen = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id"))
        assert page.evaluate(
            "(() => { const style = getComputedStyle(document.activeElement);"
            "return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; })()"
        ), page.evaluate("document.activeElement.outerHTML")
    assert {"play", "step", "reset"} <= seen


@pytest.mark.parametrize("width", [360, 768, 1024])
@pytest.mark.parametrize("language", ["en", "es"])
def test_narrow_screens(visit, width, language):
    playground = visit(query=f"lang={language}", viewport={"width": width, "height": 740}, has_touch=True)
    page = playground.page
    page.click("#more-button")
    for tab in ("many", "compare", "surface", "code", "health"):
        playground.tab(tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    playground.step()
    # What is cut off at the right cannot be reached, except in what scrolls.
    outside = page.evaluate(
        """width => [...document.querySelectorAll('body *')]
            .filter(node => node.checkVisibility())
            .filter(node => !node.closest('.scroll, .tabs, .code, .hidden, .skip, svg, option'))
            .filter(node => node.getBoundingClientRect().right > width + 1)
            .map(node => node.outerHTML.slice(0, 100))""",
        width,
    )
    assert not outside


def test_the_address_holds_the_settings(playground, visit):
    playground.changed(lambda: playground.page.click("#data-xor"))
    playground.set("#activation", "relu")
    settings = playground.settings()
    playground.step(2)
    playground.page.click("#share")
    url = playground.page.input_value("#share-address")
    assert urlsplit(url).fragment
    playground.page.click("#share-close")
    other = visit(fragment="#" + urlsplit(url).fragment)
    assert other.settings() == settings
    other.step(2)
    assert other.losses() == playground.losses()
    # A fragment that is typed into the address is followed at once.
    default = visit().page.evaluate("location.hash")
    other.changed(lambda: other.page.evaluate("hash => { location.hash = hash; }", default))
    assert other.settings()["data"]["name"] == "circles"


@pytest.mark.parametrize("fragment", ["#s=%%%", "#s=bm90IGpzb24", "#s=eyJsYXllcnMiOiA1fQ", "#lesson=nothing"])
def test_a_broken_address_is_said_and_does_no_harm(visit, fragment):
    playground = visit(fragment=fragment)
    assert playground.page.is_visible("#problem")
    assert playground.settings()["data"]["name"] == "circles"
    playground.step()


def test_the_share_dialog_copies(visit):
    playground = visit(permissions=["clipboard-read", "clipboard-write"])
    playground.page.click("#share")
    playground.page.click("#share-copy")
    playground.wait("document.getElementById('share-copied').textContent === 'Copied'")
    assert playground.page.evaluate("navigator.clipboard.readText()") == playground.page.input_value("#share-address")


def test_two_visitors_do_not_disturb_each_other(visit):
    one, two = visit(), visit()
    two.changed(lambda: two.page.click("#data-spiral"))
    one.step(2)
    two.step(2)
    alone = visit()
    alone.step(2)
    assert one.losses() == alone.losses()
    assert two.losses() != one.losses()


def test_maps_are_drawn_often_enough(browser, serve):
    """20 maps of 100 x 100 a second, in some two seconds of the first minute: other processes may be busy as well."""
    with contextlib.closing(browser.new_context()) as context:
        playground = Playground(context.new_page(), serve(quick=False)).open()
        rate = playground.page.evaluate(
            """async () => {
                const {app} = await import('./app.js');
                const times = [];
                app.on('frame', () => times.push(performance.now()));
                document.getElementById('play').click();
                const end = performance.now() + 60_000;
                let best = 0;
                while (best < 20 && performance.now() < end) {
                    await new Promise(resolve => setTimeout(resolve, 100));
                    const now = performance.now();
                    best = Math.max(best, times.filter(time => time > now - 2000).length / 2);
                }
                document.getElementById('play').click();
                return best;
            }"""
        )
        size = "[document.getElementById('map-0').width, document.getElementById('map-0').height]"
        assert playground.page.evaluate(size) == [100, 100]
        assert rate >= 20


def test_a_lost_connection_is_said(browser, serve):
    playground = Playground(browser.new_context().new_page(), serve()).open()
    playground.page.evaluate("import('./app.js').then(({app}) => app.run.socket.socket.close())")
    playground.page.wait_for_selector("#problem #reload")
    assert "connection" in playground.page.text_content("#problem")
    playground.page.context.close()
