"""The check of links finds what is broken, and the Markdown files of the repository have nothing broken."""

from pathlib import Path

import pytest
from links import REPOSITORY, broken_in_markdown, broken_in_site

ROOT = Path(__file__).parent.parent
FOLDERS = (".", ".github", "benchmarks", "docs", "docs/how-to", "docs/course", "docs/es", "docs/es/curso")
MARKDOWN = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))


@pytest.mark.parametrize("path", MARKDOWN, ids=[path.relative_to(ROOT).as_posix() for path in MARKDOWN])
def test_links_of_markdown_files_lead_somewhere(path):
    assert broken_in_markdown(path, ROOT) == []


def test_there_are_markdown_files_to_look_at():
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "01_neuron.md"} <= {path.name for path in MARKDOWN}


@pytest.fixture
def small_site(tmp_path):
    """A site of three pages; `body` is that of its first page."""

    def make(body):
        for name, text in (("", body), ("a", '<h1 id="top">A</h1><a href="../">up</a>'), ("é b", '<p id="ñ">')):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "index.html").write_text(f'<html lang="en">{text}</html>', encoding="utf-8")
        (tmp_path / "picture.png").write_bytes(b"")
        return broken_in_site(tmp_path, ROOT)

    return make


@pytest.mark.parametrize(
    "body",
    [
        '<a href="a/">A</a> <a href="a/#top">top</a> <a href="a/index.html">A</a> <a href="/a/">A</a>',
        '<a href="%C3%A9%20b/#%C3%B1">é</a> <p id="here"></p><a href="#here">here</a> <a href=".">home</a>',
        '<img src="picture.png" srcset="picture.png 1x, /picture.png 2x">',
        '<a href="https://example.org/x?y=1#z">x</a> <a href="mailto:a@example.org">m</a> <img src="data:,x">',
        f'<a href="{REPOSITORY}/blob/main/README.md#set-up">s</a> <a href="{REPOSITORY}/tree/main/docs">d</a>',
    ],
)
def test_good_links_pass(body, small_site):
    broken, count = small_site(body)
    assert broken == []
    assert count > 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="b/">B</a>', "b/: no such file"),
        ('<a href="/b/">B</a>', "/b/: no such file"),
        ('<a href="a/#bottom">A</a>', "a/#bottom: no such anchor"),
        ('<a href="#bottom">A</a>', "#bottom: no such anchor"),
        ('<img src="no.png">', "no.png: no such file"),
        ('<img src="picture.png" srcset="picture.png 1x, no.png 2x">', "no.png: no such file"),
        ('<video poster="no.png"><source src="picture.png"></video>', "no.png: no such file"),
        ('<a href="../b/">B</a>', "../b/: outside the site"),
        ('<a href="http://example.org">x</a>', "http://example.org: not https"),
        ('<a href="//example.org/x">x</a>', "//example.org/x: not https"),
        ('<a href="https://example">x</a>', "https://example: not a host"),
        ('<a href="https://example.org/a b">x</a>', "https://example.org/a b: not an address"),
        (f'<a href="{REPOSITORY}/blob/main/no.md">x</a>', f"{REPOSITORY}/blob/main/no.md: no such file"),
        (f'<a href="{REPOSITORY}/blob/main/README.md#no">x</a>', "README.md#no: no such heading"),
    ],
)
def test_broken_links_of_a_site_are_found(body, problem, small_site):
    broken, _ = small_site(body)
    assert len(broken) == 1
    assert broken[0].startswith("index.html: ")
    assert broken[0].endswith(problem)


def test_broken_links_of_a_markdown_file_are_found(tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# A `b`, and ñ\n\n```text\n# No heading\n```\n", encoding="utf-8")
    page.write_text(
        "[a](other.md#a-b-and-ñ) [b](other.md#b) [c](no.md) ![d](no.png) [e](../x.md) [f](http://example.org)\n"
        "[g](other.md#no-heading) [h](#none) `[i](no.md)`\n\n```python\n[j](no.md)\n```\n",
        encoding="utf-8",
    )
    assert broken_in_markdown(page, tmp_path) == [
        "page.md: other.md#b: no such heading",
        "page.md: no.md: no such file",
        "page.md: no.png: no such file",
        "page.md: ../x.md: outside the repository",
        "page.md: http://example.org: not https",
        "page.md: other.md#no-heading: no such heading",
        "page.md: #none: no such heading",
    ]
