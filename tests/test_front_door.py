"""The files at the entrance: what they say about the code, the commands and the version is true."""

import re
from pathlib import Path

import pytest

import fnn

ROOT = Path(__file__).parent.parent
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_pages_name_files_that_exist(page):
    text = (ROOT / page).read_text()
    named = set(re.findall(r"(?<![\w./])((?:fnn|tests|docs|examples|benchmarks|\.ci)/[\w./-]*)", text))
    named |= {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    assert named
    missing = [name for name in sorted(named) if not (ROOT / name.rstrip(".")).exists()]
    assert not missing


def test_the_workflow_runs_the_commands_of_the_readme():
    block = (ROOT / "README.md").read_text().partition("<!-- set-up -->")[2].partition("<!-- end -->")[0]
    commands = [line for line in block.splitlines() if line.startswith("pip ")]
    assert len(commands) == 2
    for command in commands:
        assert f"run: {command}\n" in WORKFLOW
        assert command in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("start", ["ruff check", "ruff format", "mypy", "python -m pytest --doctest", "NO_MKDOCS_2"])
def test_the_workflow_runs_the_commands_of_ci(start):
    lines = [line.strip() for line in (ROOT / ".ci/run").read_text().splitlines() if line.strip().startswith(start)]
    assert len(lines) == 1
    assert f"run: {lines[0]}\n" in WORKFLOW


def test_the_version_is_the_same_everywhere():
    assert f"\nversion: {fnn.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    first = re.search(r"^## \[(.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first[1] == fnn.__version__
