"""Make the pages of the course, in English and in Spanish, from one source for each chapter.

    python docs/course.py             # run all chapters, draw their pictures, write their pages (some minutes)
    python docs/course.py 02 07       # only these

A source in course/source/ has the cells of a notebook's source (examples/notebooks/build.py): texts in both languages,
code once. Besides,

- a text that starts with a picture shows what the code before it drew;
- the cells from an exercise to the next one, or to the next heading, are its answer, hidden until a reader opens it;
- what code prints goes below it, and tests/test_docs.py compares it with what the code prints there. If a comment says
  that it varies, only its numbers are compared, roughly. If a comment says that it warns, the warning goes below it.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import io
import os
import re
import tempfile
import textwrap
import warnings
from pathlib import Path
from types import CodeType
from typing import NamedTuple

HERE = Path(__file__).parent
SOURCES = HERE / "course" / "source"
PLACES = {"en": "course", "es": "es/curso"}
# Each chapter's file name in both languages; the first is also that of its source.
NAMES = [
    ("01_neuron", "01_neurona"),
    ("02_perceptron", "02_perceptron"),
    ("03_gradient_descent", "03_descenso_de_gradiente"),
    ("04_hidden_layers", "04_capas_ocultas"),
    ("05_activations", "05_activaciones"),
    ("06_optimizers", "06_optimizadores"),
    ("07_overfitting", "07_sobreajuste"),
    ("08_images", "08_imagenes"),
    ("09_sequences", "09_secuencias"),
    ("10_project", "10_proyecto"),
]
ANSWER = {"en": "Answer", "es": "Respuesta"}
EXERCISE = re.compile(r"\*\*(?:Exercise|Ejercicio) \d")
PICTURE = re.compile(r"!\[[^]]+\]\((\w+\.png)\)")
VARIES = re.compile(r"# (?:varies|varía)")
WARNS = re.compile(r"# (?:warns|avisa)")
OUTPUT = re.compile(
    r'\n```text title="(?:prints|for example|message)"\n.*?\n```\n', re.DOTALL
)

_spec = importlib.util.spec_from_file_location(
    "build_notebooks", HERE.parent / "examples" / "notebooks" / "build.py"
)
notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(notebooks)


class Page(NamedTuple):
    """The Markdown of a page, without what its code prints, and the digest of the code of each picture."""

    text: str
    digests: dict[str, str]


def page_names() -> list[tuple[str, str]]:
    """(English, Spanish) source path of the page of each chapter."""
    english, spanish = PLACES.values()
    return [(f"{english}/{one}.md", f"{spanish}/{two}.md") for one, two in NAMES]


def cells_of(source: str, language: str) -> list[tuple[str, str]]:
    """(Kind, text) of each cell of a chapter in one language."""
    return [
        (cell.kind, notebooks.in_language(cell.text, language))
        if cell.kind == "code"
        else (cell.kind, cell.text)
        for cell in notebooks.read_source(SOURCES / f"{source}.py")
        if cell.kind in ("code", language)
    ]


def make(source: str, language: str, outputs: dict[int, str] | None = None) -> Page:
    """Make a page; outputs holds what its code cells print, by their number."""
    parts, digests = list[str](), dict[str, str]()
    seen, hidden, number = hashlib.sha256(), False, 0
    for kind, text in cells_of(source, language):
        if kind == "code":
            seen.update(text.encode())
            warns = WARNS.search(text) is not None
            title = ' title="warns"' if warns else ""
            parts.append(f"```python{title}\n{text}\n```")
            if printed := (outputs or {}).get(number):
                title = "for example" if VARIES.search(text) else "prints"
                title = "message" if warns else title
                parts.append(f'```text title="{title}"\n{printed.rstrip()}\n```')
            number += 1
            continue
        exercise = EXERCISE.match(text) is not None
        if hidden and (exercise or text.startswith("#")):
            parts.append("</details>")
            hidden = False
        parts.append(text)
        if picture := PICTURE.match(text):
            digests[picture[1]] = seen.hexdigest()
        if exercise:
            parts.append(f"<details markdown>\n<summary>{ANSWER[language]}</summary>")
            hidden = True
    if hidden:
        parts.append("</details>")
    return Page("\n\n".join(parts) + "\n", digests)


def write(source: str, language: str, name: str, out: Path) -> None:
    """Run a chapter, draw its picture and write its page."""
    import matplotlib.pyplot as plt

    folder = out / PLACES[language]
    folder.mkdir(parents=True, exist_ok=True)
    digests = make(source, language).digests
    names, outputs = {"__name__": "__page__"}, dict[int, str]()
    for kind, text in cells_of(source, language):
        if kind == "code":
            code = compile(text, f"{name}, cell {len(outputs)}", "exec")
            outputs[len(outputs)] = shown(code, names)
        elif picture := PICTURE.match(text):
            save(folder / picture[1], digests[picture[1]])
    if plt.get_fignums():
        raise notebooks.BuildError(f"{name}: no text shows what the code draws")
    text = make(source, language, outputs).text
    (folder / f"{name}.md").write_text(text, encoding="utf-8")


def shown(code: CodeType, names: dict[str, object]) -> str:
    """Run code; what it prints, or else its warning."""
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        warnings.catch_warnings(record=True) as warned,
    ):
        exec(code, names)
    return printed.getvalue() or "".join(
        textwrap.fill(str(warning.message), 88) for warning in warned
    )


def save(path: Path, digest: str) -> None:
    """Store the current picture, with few colours and the digest of the code that drew it."""
    import matplotlib.pyplot as plt
    from PIL import Image, PngImagePlugin

    plt.gcf().savefig(path, dpi=100)
    plt.close("all")
    about = PngImagePlugin.PngInfo()
    about.add_text("code", digest)
    small = Image.open(path).convert("RGB")
    small = small.quantize(256, kmeans=5, dither=Image.Dither.NONE)
    small.save(path, optimize=True, pnginfo=about)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Write the chapters named on the command line, or all."""
    import matplotlib

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", nargs="*", help="first letters of file names")
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder of course/ and es/curso/"
    )
    arguments = parser.parse_args()
    matplotlib.use("Agg")  # draw to files; needs no display
    chosen, out = tuple(arguments.chapters) or ("",), arguments.out.resolve()
    for both in NAMES:
        for language, name in zip(PLACES, both, strict=True):
            if not both[0].startswith(chosen):
                continue
            before = Path.cwd()
            with tempfile.TemporaryDirectory() as folder:  # of what a chapter saves
                os.chdir(folder)
                write(both[0], language, name, out)
                os.chdir(before)


if __name__ == "__main__":
    main()
