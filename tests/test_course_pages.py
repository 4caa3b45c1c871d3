"""The pages of the course: made from their sources, alike in both languages, with pictures of the code they show.

tests/test_docs.py runs their code, the answers of the exercises included.
"""

import ast
import importlib.util
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from PIL import Image
from test_notebooks import without_words

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
spec = importlib.util.spec_from_file_location("docs_course", DOCS / "course.py")
course = importlib.util.module_from_spec(spec)
spec.loader.exec_module(course)

LESSONS = {"one-neuron", "xor", "sigmoid-relu", "learning-rate", "overfitting"}
CHAPTERS = [
    (both[0], language, name) for both in course.NAMES for language, name in zip(course.PLACES, both, strict=True)
]
every_page = pytest.mark.parametrize(("source", "language", "name"), CHAPTERS)
every_chapter = pytest.mark.parametrize("both", course.NAMES)


def stored(language, name):
    return (DOCS / course.PLACES[language] / f"{name}.md").read_text(encoding="utf-8")


def code_of(text):
    return re.findall(r"^```python.*?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@every_page
def test_a_page_is_that_of_its_source(source, language, name):
    page = course.make(source, language)
    assert course.OUTPUT.sub("", stored(language, name)) == page.text, f"run python docs/course.py {source[:2]}"


@every_page
def test_a_picture_is_that_of_the_code_above_it(source, language, name):
    digests = course.make(source, language).digests
    assert digests
    for file, digest in digests.items():
        path = DOCS / course.PLACES[language] / file
        assert Image.open(path).text["code"] == digest, f"run python docs/course.py {source[:2]}"
        assert 1000 < path.stat().st_size < 60_000, file


@pytest.mark.parametrize("language", course.PLACES)
def test_there_are_no_other_pages_or_pictures(language):
    folder = DOCS / course.PLACES[language]
    pages = {"index.md"} | {f"{name}.md" for _, spoken, name in CHAPTERS if spoken == language}
    pictures = {
        file for source, spoken, _ in CHAPTERS if spoken == language for file in course.make(source, spoken).digests
    }
    assert {path.name for path in folder.iterdir() if path.is_file()} == pages | pictures


@every_chapter
def test_both_languages_run_the_same_code(both):
    english, spanish = (code_of(stored(language, name)) for language, name in zip(course.PLACES, both, strict=True))
    assert len(english) == len(spanish) > 5
    for first, second in zip(english, spanish, strict=True):
        assert without_words(first) == without_words(second)
    assert english != spanish


@every_chapter
def test_both_languages_say_the_same_in_their_own_words(both):
    english, spanish = (
        re.sub(r"^```.*?^```$", "", stored(language, name), flags=re.MULTILINE | re.DOTALL)
        for language, name in zip(course.PLACES, both, strict=True)
    )
    for shape in (r"^#+ ", r"^\|", r"^- ", r"^\$\$", r"^!\[", r"^\*\*(Exercise|Ejercicio) \d", r"<details markdown>"):
        counts = [len(re.findall(shape, text, re.MULTILINE)) for text in (english, spanish)]
        assert counts[0] == counts[1], shape
    assert len(re.findall("[áéíóúñ¿]", spanish)) > 25
    assert not re.search("[áéíóúñ¿¡]", english)
    assert not re.search(r"\b(the|and|with|of|which|is)\b", re.sub(r"`[^`]*`|\*[^*]*\*|\(.*?\)|\$.*?\$", "", spanish))


@every_page
def test_a_chapter_has_a_lesson_and_three_exercises_with_answers(source, language, name):
    text = stored(language, name)
    assert "](../playground.md)" in text
    lessons = set(re.findall(r"python -m fnn\.playground --lesson ([\w-]+)", text))
    assert lessons <= LESSONS
    assert lessons or "`python -m fnn.playground`" in text
    word = {"en": "Exercise", "es": "Ejercicio"}[language]
    numbers = re.findall(rf"^\*\*{word} (\d)\.\*\* ", text, re.MULTILINE)
    assert numbers == ["1", "2", "3"]
    answers = re.findall(r"<details markdown>\n<summary>[^<]+</summary>\n\n(.*?)\n\n</details>", text, re.DOTALL)
    assert len(answers) == 3
    for answer in answers:
        assert code_of(answer)
    for block in code_of(text):
        ast.parse(block)


def test_the_lessons_exist():
    lessons = pytest.importorskip("fnn.playground.lessons", exc_type=ImportError)
    assert lessons.LESSONS.keys() >= LESSONS


@pytest.mark.parametrize("language", course.PLACES)
def test_the_index_links_to_every_chapter_in_order(language):
    wanted = [f"{name}.md" for _, spoken, name in CHAPTERS if spoken == language]
    assert re.findall(r"^\| \d+\. \[.+?\]\((\w+\.md)\)", stored(language, "index"), re.MULTILINE) == wanted


# -------------------------------------------------------------------------------------------------------- the builder
SOURCE = '''"""Doc."""

# %% [markdown] en
# # Title
# %% [markdown] es
# # Título
# %%
print("«a|b»")
# %%
print(1)  # «varies|varía»
# %%
x = 2  # «warns|avisa»
# %% [markdown] en
# ![a curve](one.png)
# %% [markdown] es
# ![una curva](uno.png)
# %% [markdown] en
# **Exercise 1.** Why?
# %% [markdown] es
# **Ejercicio 1.** ¿Por qué?
# %%
x = 3
# %% [markdown] en
# **Exercise 2.** How?
# %% [markdown] es
# **Ejercicio 2.** ¿Cómo?
# %%
x = 4
# %% [markdown] en
# ## More
# %% [markdown] es
# ## Más
'''
PAGE = """# Título

```python
print("b")
```

```text title="prints"
b
```

```python
print(1)  # varía
```

```text title="for example"
1
```

```python title="warns"
x = 2  # avisa
```

```text title="message"
careful
```

![una curva](uno.png)

**Ejercicio 1.** ¿Por qué?

<details markdown>
<summary>Respuesta</summary>

```python
x = 3
```

</details>

**Ejercicio 2.** ¿Cómo?

<details markdown>
<summary>Respuesta</summary>

```python
x = 4
```

</details>

## Más
"""


def test_a_source_becomes_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "SOURCES", tmp_path)
    (tmp_path / "short.py").write_text(SOURCE, encoding="utf-8")
    outputs = {0: "b\n", 1: "1\n", 2: "careful"}
    page = course.make("short", "es", outputs)
    assert page.text == PAGE
    assert course.OUTPUT.sub("", page.text) == course.make("short", "es").text
    before = page.digests["uno.png"]
    (tmp_path / "short.py").write_text(SOURCE.replace("x = 3", "x = 5"), encoding="utf-8")
    assert course.make("short", "es").digests["uno.png"] == before  # below the picture
    (tmp_path / "short.py").write_text(SOURCE.replace("x = 2", "x = 5"), encoding="utf-8")
    assert course.make("short", "es").digests["uno.png"] != before


def test_a_chapter_is_written_with_what_it_prints_and_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "SOURCES", tmp_path)
    drawn = "import matplotlib.pyplot as plt\nfigure, ax = plt.subplots()\n# %% [markdown] en\n# !["
    source = SOURCE.replace("x = 2  # «warns|avisa»\n# %% [markdown] en\n# ![", drawn)
    (tmp_path / "short.py").write_text(source, encoding="utf-8")
    course.write("short", "es", "corto", tmp_path / "out")
    folder = tmp_path / "out" / "es" / "curso"
    assert Image.open(folder / "uno.png").text["code"] == course.make("short", "es").digests["uno.png"]
    assert '```text title="prints"\nb\n```' in (folder / "corto.md").read_text(encoding="utf-8")
    (tmp_path / "short.py").write_text(f"{source}# %%\nplt.figure()\n", encoding="utf-8")
    with pytest.raises(course.notebooks.BuildError, match="corto: no text shows what the code draws"):
        course.write("short", "es", "corto", tmp_path / "out")
    plt.close("all")
