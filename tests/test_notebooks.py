"""The stored notebooks: up to date with their sources, alike in both languages, with outputs and no trace of a machine.

They are executed by examples/notebooks/build.py, in quick mode by .ci/run.
"""

import ast
import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "notebooks"
spec = importlib.util.spec_from_file_location("build_notebooks", FOLDER / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

BOTH = [(source, language) for source in build.NAMES for language in build.LANGUAGES]
every_notebook = pytest.mark.parametrize(("source", "language"), BOTH)
every_source = pytest.mark.parametrize("source", build.NAMES)


def stored(source, language):
    """A stored notebook, with the lines of its texts joined."""
    notebook = json.loads(build.path_of(source, language).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
        for output in cell.get("outputs", ()):
            if "text" in output:
                output["text"] = "".join(output["text"])
            output["data"] = {kind: "".join(data) for kind, data in output.get("data", {}).items()}
    return notebook


def code_of(source, language):
    return [cell for cell in stored(source, language)["cells"] if cell["cell_type"] == "code"]


def without_words(code):
    """The syntax tree of code as text, without comments and without what strings say."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def test_each_source_is_stored_in_both_languages():
    assert {path.name for path in FOLDER.glob("*.ipynb")} == {build.path_of(*both).name for both in BOTH}
    assert {path.stem for path in (FOLDER / "source").glob("*.py")} == set(build.NAMES)


@every_notebook
def test_a_stored_notebook_is_that_of_its_source(source, language):
    def kept(notebook):
        return [(cell["id"], cell["cell_type"], cell["source"]) for cell in notebook["cells"]]

    assert kept(stored(source, language)) == kept(build.make(source, language))


@every_notebook
def test_it_is_a_valid_notebook(source, language):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(build.path_of(source, language), as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)


@every_source
def test_both_languages_run_the_same_code(source):
    english, spanish = (code_of(source, language) for language in build.LANGUAGES)
    assert len(english) == len(spanish) > 5
    for first, second in zip(english, spanish, strict=True):
        assert without_words(first["source"]) == without_words(second["source"])
    assert english[0]["source"] != spanish[0]["source"]  # the comments are translated


@every_source
def test_both_languages_say_the_same_in_their_own_words(source):
    english, spanish = (
        [cell["source"] for cell in stored(source, language)["cells"] if cell["cell_type"] == "markdown"]
        for language in build.LANGUAGES
    )
    assert len(english) == len(spanish) > 5
    for first, second in zip(english, spanish, strict=True):
        assert first != second
        for shape in (r"^#+ ", r"^\|", r"^\d+\. ", r"^- ", r"^\$\$", r"```"):
            counts = [len(re.findall(shape, text, re.MULTILINE)) for text in (first, second)]
            assert counts[0] == counts[1], f"{shape} in {first[:60]!r} and {second[:60]!r}"
    assert re.search(r"[áéíóúñ¿]", "".join(spanish))
    assert not re.search(r"[áéíóúñ¿¡]", "".join(english))


@every_notebook
def test_it_holds_the_outputs_of_one_whole_run(source, language):
    notebook, code = stored(source, language), code_of(source, language)
    assert notebook["metadata"] == build.METADATA  # "quick" would stand there
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data"}
    assert {output["name"] for output in outputs if "name" in output} == {"stdout"}
    assert sum("image/png" in output["data"] for output in outputs) >= (1 if source == "text_lstm" else 3)
    for cell in code:
        if "print(" in cell["source"] or "fnn.plot" in cell["source"]:
            shown = cell["outputs"] or cell["source"].lstrip().startswith("def ")
            assert shown, f"nothing came out of\n{cell['source']}"


@every_notebook
def test_it_shows_nothing_of_the_machine(source, language):
    written, shown = build.texts(stored(source, language))
    assert len(written) > 5000
    assert len(shown) > 500
    text = written + shown
    assert not build.MACHINE.search(text)
    assert not re.search(r"\r|\x1b", text)  # progress bars, colours of a terminal
    assert build.path_of(source, language).stat().st_size < build.MOST_BYTES


@every_notebook
def test_formulas_and_names_of_code_end_on_their_line(source, language):
    """A page that renders a notebook may take a formula across two lines for plain text."""
    cells = [cell for cell in stored(source, language)["cells"] if cell["cell_type"] == "markdown"]
    for line in "\n".join(cell["source"] for cell in cells).splitlines():
        assert line.replace("$$", "").count("$") % 2 == 0, line
        assert line.count("`") % 2 == 0, line


@every_notebook
def test_its_links_lead_to_notebooks_of_its_language(source, language):
    cells = stored(source, language)["cells"]
    text = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    assert set(links) <= {build.path_of(name, language).name for name in build.NAMES}


def test_the_index_pages_link_to_every_notebook():
    for language, page in {"en": "notebooks/index.md", "es": "es/cuadernos/index.md"}.items():
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        links = re.findall(r"\]\((?:\.\./)+examples/notebooks/([^)]+)\)", text)
        assert links == [build.path_of(source, language).name for source in build.NAMES]


def test_the_index_pages_open_every_notebook_with_one_command():
    for language, page in {"en": "notebooks/index.md", "es": "es/cuadernos/index.md"}.items():
        commands = re.findall(r"^(?:pip|jupyter) .+$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
        paths = [build.path_of(source, language).relative_to(ROOT).as_posix() for source in build.NAMES]
        assert commands == ['pip install -e ".[notebooks]"', *(f"jupyter lab {path}" for path in paths)]


def test_the_extra_for_notebooks_brings_jupyter_and_what_the_notebooks_import():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {re.split("[>=]", name)[0] for name in extras["notebooks"]} >= {"jupyterlab", "fnn[examples]"}


# ------------------------------------------------------------------------------------------------------ the builder
def test_a_source_becomes_cells_in_two_languages(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    text = '"""Doc."""\n\n# %% [markdown] en\n# # Title\n#\n# text\n# %% [markdown] es\n# # Título\n\n'
    text += '# %%\nx = 1  # «one|uno»\nprint("«a|b»", "«c|d»")\n\n\n# %%\nx\n'
    (tmp_path / "two_cells.py").write_text(text, encoding="utf-8")
    english, spanish = (build.make("two_cells", language)["cells"] for language in ("en", "es"))
    assert [cell["id"] for cell in english] == ["two-cells-00", "two-cells-01", "two-cells-02"]
    assert [cell["source"] for cell in english] == ["# Title\n\ntext", 'x = 1  # one\nprint("a", "c")', "x"]
    assert [cell["source"] for cell in spanish] == ["# Título", 'x = 1  # uno\nprint("b", "d")', "x"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# %% [markdown] en\n# a\n# %%\nx\n", "a text in one language only: 'a'"),
        ("# %% [markdown] es\n# a\n# %% [markdown] en\n# b\n", "a text in one language only: 'a'"),
        ("# %%\nx\n# %% [markdown] en\n# last\n", "a text in one language only: 'last'"),
        ("# %% [markdown]\n# a\n", "line 1: not a header of a cell"),
        ("# %%\n\n# %%\nx\n", "an empty cell after cell 0"),
        ("# %% [markdown] en\ntext\n", "line 2: text that is no comment: text"),
        ("# %% [markdown] en\n#text\n", "line 2: text that is no comment: #text"),
    ],
)
def test_a_source_that_is_wrong_is_refused(tmp_path, text, problem):
    path = tmp_path / "wrong.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(build.BuildError, match=problem):
        build.read_source(path)


@pytest.mark.parametrize("code", ["print('«one')", "# one|uno»", "'«one»'", "'«a|b|c»'"])
def test_half_a_pair_of_words_is_refused(code):
    with pytest.raises(build.BuildError, match="words that are no pair"):
        build.in_language(code, "es")


def notebook_with(*outputs):
    cell = {"cell_type": "code", "id": "a-00", "metadata": {"execution": {"iopub.status.busy": "2024"}}, "source": "x"}
    return {"cells": [cell | {"execution_count": 1, "outputs": list(outputs)}], "metadata": {"widgets": {}}}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def test_outputs_are_tidied():
    picture = {"output_type": "display_data", "data": {"image/png": "iVBOR"}, "metadata": {"needs_background": "light"}}
    log = stream("E0512 10:00:00 slow_operation_alarm.cc:65] very slow compile\n", "stderr")
    raw = notebook_with(stream("a\n"), log, stream("b\n"), picture, stream("c\n"))
    tidied = build.tidy(raw, quick=False)
    assert tidied["cells"][0]["outputs"] == [stream("a\nb\n"), picture | {"metadata": {}}, stream("c\n")]
    assert tidied["cells"][0]["metadata"] == {}
    assert tidied["metadata"] == build.METADATA
    assert build.tidy(raw, quick=True)["metadata"]["quick"] is True


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (stream("Warning: look here\n", "stderr"), "a-00 warns: Warning: look here"),
        ({"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}, "a-00: ValueError: no"),
        (stream("/home/ada/notebook.py:3\n"), "shows the machine"),
        (stream("in '/tmp/x'"), "shows the machine"),
        (stream(r"C:\Users\ada"), "shows the machine"),
        ({"output_type": "execute_result", "data": {"text/plain": "('/root/x')"}, "metadata": {}}, "shows the machine"),
    ],
)
def test_outputs_that_must_not_be_stored_are_refused(output, problem):
    with pytest.raises(build.BuildError, match=problem):
        build.tidy(notebook_with(output), quick=False)


def test_what_only_looks_like_a_path_passes():
    text = "accuracy 3/home 1/tmp/2 https://example.org/home/x"
    assert build.tidy(notebook_with(stream(text)), quick=False)["cells"][0]["outputs"] == [stream(text)]


def test_the_name_of_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr(build.socket, "gethostname", lambda: "babbage")
    with pytest.raises(build.BuildError, match=r"shows the machine it ran on: 'on babbage"):
        build.tidy(notebook_with(stream("on babbage")), quick=False)
