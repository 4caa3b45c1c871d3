"""The documentation: every Python block runs and prints what it says, and the API pages name everything public.

Blocks of one page run in order, in one namespace. The title of a block says what is special about it:

- ``python title="Keras"`` (or another library of `LIBRARIES`): runs in a namespace of that library, and is skipped
  where it is not installed.
- ``python title="refused"``: must raise `InputError`; ``title="warns"``: must warn. The message is the next text block.
- ``python title="needs FNN_DATA"``: real data; skipped without it.
- ``text title="prints"``: what the block before it prints, with ``...`` for anything;
  ``text title="for example"``: as many lines, with numbers close to these.
"""

import contextlib
import doctest
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax
import matplotlib.pyplot as plt
import pytest
from links import Page, broken_in_site
from test_course_pages import course as chapters
from test_registry import public

import fnn

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]}
LIBRARIES = {
    "Keras": "keras",
    "PyTorch": "torch",
    "Flax": "flax",
    "Equinox": "equinox",
    "optax": "optax",
    "scikit-learn": "sklearn",
}
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>\S[^\n]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block: its language, its title, the line of its first line of code, and the code."""

    language: str
    title: str
    line: int
    code: str


def blocks(path):
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match["info"].partition(" ")
        title = re.search(r'title="([^"]*)"', rest)
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(language, title[1] if title else "", line, textwrap.dedent(match["code"])))
    return found


def run(block, path, names):
    """Run a block; what it prints. Lines of the page are those of its traceback."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), names)
    return printed.getvalue()


def said(want, got):
    """Whether the text of a page, with ``...`` for anything, is what came."""
    return doctest.OutputChecker().check_output(want.strip() + "\n", got.strip() + "\n", SAME)


def alike(want, got):
    """Whether a text has as many lines as another, and numbers close to its numbers, which training decides."""
    wanted, numbers = ([float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text)] for text in (want, got))
    same = len(wanted) == len(numbers) and len(want.strip().splitlines()) == len(got.strip().splitlines())
    return same and all(abs(a - b) <= 0.1 + 0.2 * abs(a) for a, b in zip(wanted, numbers, strict=True))


def run_page(path, chosen, names):
    """Run the blocks of a page whose title is chosen, in order, and compare with what the page says about them."""
    ran, previous = 0, None
    for block in blocks(path):
        where = f"{path.name}, line {block.line}"
        if block.language == "text" and previous is not None:
            kind, got = previous
            if block.title == "prints" or kind in ("refused", "warns"):
                assert said(block.code, got), f"{where}: the page says\n{block.code}\nbut what came is\n{got}"
            if block.title == "for example":
                assert alike(block.code, got), f"{where}: the page says\n{block.code}\nbut what came is\n{got}"
            previous = None
        if block.language != "python":
            continue
        previous = None
        if not chosen(block.title):
            continue
        ran += 1
        if block.title == "refused":
            with pytest.raises(fnn.InputError, match=r": expected |: parameters hold ") as error:
                run(block, path, names)
            previous = "refused", str(error.value)
        elif block.title == "warns":
            with pytest.warns(RuntimeWarning, match="^(fit|perceptron): ") as warned:
                run(block, path, names)
            previous = "warns", str(warned[0].message)
        else:
            previous = "", run(block, path, names)
    return ran


def own(title):
    return title not in LIBRARIES and not (title == "needs FNN_DATA" and not os.environ.get("FNN_DATA"))


@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    """A folder for what a page writes; its pictures are closed and its settings of JAX must be gone at the end."""
    monkeypatch.chdir(tmp_path)
    settings = dict(jax.config.values)
    with plt.rc_context({"figure.max_open_warning": 0}):  # a gallery has many pictures
        yield tmp_path
    plt.close("all")
    assert dict(jax.config.values) == settings


# The README in every run of the tests, the other pages with the slow ones.
def slow(cases):
    return [case if case == "README.md" else pytest.param(case, marks=pytest.mark.slow) for case in cases]


with_python = [name for name, path in PAGES.items() if any(b.language == "python" for b in blocks(path))]
of_libraries = [
    (name, library)
    for name, path in PAGES.items()
    for library in LIBRARIES
    if any(b.language == "python" and b.title == library for b in blocks(path))
]


# The chapters of the course run the same code in both languages: one after the other, they compile it once.
CHAPTERS = {f"docs/course/{english}.md": f"docs/es/curso/{spanish}.md" for english, spanish in chapters.NAMES}


@pytest.mark.parametrize("name", slow([name for name in with_python if name not in CHAPTERS.values()]))
def test_the_blocks_of_a_page_run(name, page_folder):
    if name in CHAPTERS:
        assert run_page(PAGES[CHAPTERS[name]], own, {"__name__": "__page__"}) > 0
    names = {"__name__": "__page__"}
    assert run_page(PAGES[name], own, names) > 0
    if name == "README.md":
        assert names["history"]["accuracy"][-1] > 0.95
        assert names["history_all"]["val_accuracy"].shape == (4, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "library"), of_libraries)
def test_the_blocks_for_another_library_run(name, library, page_folder):
    if importlib.util.find_spec(LIBRARIES[library]) is None:
        pytest.skip(f"{library} is not installed")
    assert run_page(PAGES[name], lambda title: title == library, {"__name__": "__page__"}) > 0


def test_pages_have_python_to_run():
    """The pages with code are those that teach; a parser that finds nothing would pass everything else."""
    assert {"README.md", "docs/getting-started.md", "docs/es/primeros-pasos.md", "docs/concepts.md"} <= set(with_python)
    assert {"docs/es/conceptos.md", *CHAPTERS, *CHAPTERS.values()} <= set(with_python)
    assert ("docs/from-keras.md", "Keras") in of_libraries


def test_titles_are_known():
    known = {"", "fnn", "refused", "warns", "needs FNN_DATA", *LIBRARIES}
    for name, path in PAGES.items():
        for block in blocks(path):
            if block.language == "python":
                assert block.title in known, f"{name}, line {block.line}: {block.title}"


def test_a_page_that_is_wrong_fails(tmp_path, page_folder):
    page = tmp_path / "page.md"
    page.write_text('```python\nprint(1)\n```\n\n```text title="prints"\n2\n```\n')
    with pytest.raises(AssertionError, match="line 6: the page says"):
        run_page(page, own, {})
    page.write_text('```python\nprint("a 1.4")\n```\n\n```text title="for example"\nb 1.0\n```\n')
    with pytest.raises(AssertionError, match="line 6: the page says"):
        run_page(page, own, {})
    page.write_text('```python\nprint("a 1.29")\n```\n\n```text title="for example"\nb 1.0\n```\n')
    assert run_page(page, own, {}) == 1
    page.write_text('```python\nprint(1, "\\n")\n```\n\n```text title="for example"\n1\n2\n```\n')
    with pytest.raises(AssertionError, match="line 6: the page says"):
        run_page(page, own, {})
    page.write_text('```python title="refused"\nimport fnn\n```\n')
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        run_page(page, own, {})
    page.write_text("text\n\n```python\nx = 1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError, match="division") as error:
        run_page(page, own, {})
    assert error.traceback[-1].lineno == 3  # counted from 0


def documented():
    """Names that the API pages show: ``::: fnn.name``, and the members listed for a module."""
    found, module = set(), ""
    for path in sorted((DOCS / "api").glob("*.md")):
        for line in path.read_text().splitlines():
            if line.startswith("::: "):
                module = line.removeprefix("::: ").strip()
                found.add(module)
            elif member := re.fullmatch(r" {8}- (\w+)", line):
                found.add(f"{module}.{member[1]}")
    return {name.removeprefix("fnn.") for name in found}


def test_every_public_name_is_in_the_api_pages():
    wanted = {name for name in fnn.__all__ if not name.startswith("__")} | public().keys()
    aliases = {name for name in wanted if "." in name and name.rpartition(".")[2] in documented()}
    assert wanted - documented() - aliases == set()


def test_the_api_pages_name_nothing_that_does_not_exist():
    for name in documented():
        thing = fnn
        for part in name.split("."):
            assert part in dir(thing), f"::: fnn.{name}"
            thing = getattr(thing, part)


NAME = re.compile(r"(?<![\w./-])(?<!-m )fnn\.((?:[A-Za-z]\w*\.)*[A-Za-z]\w*)")
ELSEWHERE = {"Conv2D"}  # of Keras, and mentioned as such


def test_names_in_the_pages_exist():
    """Every ``fnn.name``, in text, tables and code, so that a table of counterparts cannot be wrong in a name."""
    seen = set()
    for page, path in PAGES.items():
        for name in set(NAME.findall(path.read_text(encoding="utf-8"))) - ELSEWHERE:
            thing = fnn
            for part in name.split("."):
                assert hasattr(thing, part), f"{page}: fnn.{name}"
                thing = getattr(thing, part)
            seen.add(name)
    assert {"adam", "penalties.l2", "losses.huber", "schedules.cosine_decay"} <= seen


def test_pages_show_no_paths_of_a_machine():
    for name, path in PAGES.items():
        assert not re.search(r"(?<!\w)/(home|root|tmp|work|Users)/", path.read_text(encoding="utf-8")), name


@pytest.mark.parametrize("name", PAGES)
def test_code_fits_the_column(name):
    for block in blocks(PAGES[name]):
        # Tables of `check` and `layer_report` are wider, and have no narrower form: readers see what is printed.
        printed = block.language == "text" and re.search(r"^-{5,}$", block.code, re.MULTILINE)
        for number, line in enumerate(block.code.splitlines(), block.line):
            assert len(line) <= (100 if printed else 88), f"{name}, line {number}: {line}"


# ------------------------------------------------------------------------------------------------------------ the site
@pytest.fixture
def hook(monkeypatch):
    """Load a module of MkDocs hooks from docs/."""
    monkeypatch.syspath_prepend(DOCS)

    def load(name):
        spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_menu_lists_every_translation_in_the_same_order(hook):
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"(?:: |- )([\w/-]+\.md)$", menu, re.MULTILINE)
    translations = hook("languages").TRANSLATIONS
    assert len(translations) == 21
    assert [path for path in listed if path in translations] == list(translations)
    assert [path for path in listed if path.startswith("es/")] == list(translations.values())


def test_the_menu_shows_the_titles_of_the_chapters(hook):
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    for page in [page for both in hook("course").page_names() for page in both]:
        shown = re.search(rf"- (.+): {page}$", menu, re.MULTILINE)[1].strip('"')
        title = (DOCS / page).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        assert title.startswith(shown), page  # the menu may leave out the second half


@pytest.mark.parametrize("language", ["en", "es"])
def test_notebook_pages_hold_text_code_output_and_pictures(language, hook):
    pages = hook("notebook_pages")
    for names in pages.NAMES.values():
        name = names[["en", "es"].index(language)]
        path = pages.FOLDER / f"{name}.{language}.ipynb"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        text, pictures = pages.page_text(notebook, name, language)
        assert re.match(r"# \d\. .+\n\n.+" + re.escape(path.name), text)
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        outputs = [output["output_type"] for cell in code for output in cell["outputs"]]
        assert len(re.findall(r"^```python$", text, re.MULTILINE)) == len(code)
        assert text.count("{ .text .output }") == outputs.count("stream")
        assert len(pictures) == outputs.count("display_data")
        for picture, content in pictures.items():
            assert f"({picture})" in text
            assert content.startswith(b"\x89PNG")
        for cell in code:
            assert max(map(len, "".join(cell["source"]).splitlines())) <= 88


@pytest.mark.parametrize(
    ("page", "link", "wanted"),
    [
        ("index.md", "../examples/sweep.py", "https://x/blob/main/examples/sweep.py"),
        ("how-to/text.md", "../../README.md#ten", "https://x/blob/main/README.md#ten"),
        ("how-to/text.md", "../concepts.md", "../concepts.md"),
        ("index.md", "../examples/notebooks/04_tables.en.ipynb", "notebooks/04_tables.md"),
        ("notebooks/index.md", "../../examples/notebooks/04_tables.en.ipynb", "04_tables.md"),
        ("how-to/text.md", "../../examples/notebooks/04_tablas.es.ipynb", "../es/cuadernos/04_tablas.md"),
    ],
)
def test_links_that_leave_docs_lead_to_the_repository_or_a_notebook_page(page, link, wanted, hook):
    arguments = {
        "page": SimpleNamespace(file=SimpleNamespace(src_uri=page)),
        "config": SimpleNamespace(repo_url="https://x"),
    }
    assert hook("hooks").on_page_markdown(f"a [b]({link}).", **arguments) == f"a [b]({wanted})."


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Every page of the built site, by its folder."""
    for module in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, {path.parent.relative_to(folder).as_posix(): Page(path) for path in folder.rglob("index.html")}


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere(site):
    folder, pages = site
    broken, looked_at = broken_in_site(folder, ROOT)
    assert not broken
    assert looked_at > 20 * len(pages)


@pytest.mark.slow
def test_every_page_links_to_its_neighbours_and_the_repository(site):
    _, pages = site
    ends = {"prev": {".", "es"}, "next": {"performance", "es/cuadernos/05_de_la_neurona_a_la_red"}}
    for name, page in pages.items():
        assert "https://github.com/fnn-jax/fnn" in page.links["md-source"].values(), name
        for direction, without in ends.items():
            assert (f"md-footer__link--{direction}" in page.links) == (name not in without), f"{name}: {direction}"


def url(path):
    """The folder of a page in the built site."""
    return re.sub(r"(^|/)index$", "", path.removesuffix(".md")) or "."


@pytest.mark.slow
def test_spanish_pages_have_a_spanish_menu_and_link_to_their_english_page(site, hook):
    folder, pages = site
    for name, page in pages.items():
        assert page.language == ("es" if name.split("/")[0] == "es" else "en"), name
    translations = hook("languages").TRANSLATIONS
    spanish = {name for name in pages if name.split("/")[0] == "es"}
    assert {url(path) for path in translations.values()} == spanish
    for english_path, spanish_path in translations.items():
        for here, there, language in (
            (url(english_path), url(spanish_path), "es"),
            (url(spanish_path), url(english_path), "en"),
        ):
            for kind in ("alternate", "md-select__link"):
                found = folder / here / pages[here].links[kind][language]
                assert found.resolve() == (folder / there).resolve(), f"{here}: {kind}"
    for name in spanish:
        menu = pages[name].text.partition("md-nav--primary")[2].partition("md-content")[0]
        for words in ("Primeros pasos", "Conceptos", "Curso", "Playground", "Cuadernos"):
            assert words in menu
        assert "Getting started" not in menu
        assert not re.search(
            'class="filename">(prints|output|refused|message|warns|output, for example)<', pages[name].text
        )
    assert "Primeros pasos" not in pages["concepts"].text


@pytest.mark.slow
def test_formulas_are_mathml(site, hook):
    _, pages = site
    notebooks, course = (hook(name).page_names() for name in ("notebook_pages", "course"))
    for path in [path for both in notebooks + course for path in both]:
        page = pages[path.removesuffix(".md")]
        assert "arithmatex" not in page.text
        assert ("<math " in page.text) == (path not in course[-1]), path  # the last chapter has none
