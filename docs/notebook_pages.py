"""MkDocs hooks that make pages of the stored notebooks, with formulas as MathML.

Nothing is executed: code, text, outputs and pictures are read from the files that
examples/notebooks/build.py wrote.
"""

import base64
import html
import json
import re
import runpy
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "examples" / "notebooks"
NAMES = runpy.run_path(str(FOLDER / "build.py"))["NAMES"]
PLACES = {"en": "notebooks", "es": "es/cuadernos"}
INTRODUCTIONS = {
    "en": "A notebook, shown with its stored outputs. [Download it]({file}), or [open it](index.md#run-them) in a "
    "clone of the repository: `jupyter lab examples/notebooks/{file}`.",
    "es": "Un cuaderno, con sus resultados guardados. [Descárgalo]({file}) o [ábrelo](index.md#como-ejecutarlos) en "
    "una copia del repositorio: `jupyter lab examples/notebooks/{file}`.",
}
PICTURES = {
    "en": "Picture drawn by the code above",
    "es": "Figura dibujada por el código anterior",
}
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


def page_names() -> list[tuple[str, str]]:
    """(English, Spanish) source path of the page of each notebook."""
    return [
        (f"{PLACES['en']}/{english}.md", f"{PLACES['es']}/{spanish}.md")
        for english, spanish in NAMES.values()
    ]


def page_text(
    notebook: dict[str, Any], name: str, language: str
) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a notebook's page, and its pictures by file name."""
    parts, pictures = list[str](), dict[str, bytes]()
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            # Links between notebooks become links between their pages.
            parts.append(re.sub(r"\]\((\w+)\.(?:en|es)\.ipynb", r"](\1.md", source))
            continue
        parts.append(_fenced(source, "python"))
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                parts.append(_fenced("".join(output["text"]), "{ .text .output }"))
                continue
            picture = f"{name}-{len(pictures) + 1}.png"
            pictures[picture] = base64.b64decode("".join(output["data"]["image/png"]))
            parts.append(f"![{PICTURES[language]}]({picture})")
    title, _, first = parts[0].partition("\n")
    introduction = INTRODUCTIONS[language].format(file=f"{name}.{language}.ipynb")
    return "\n\n".join([title, introduction, first.strip(), *parts[1:], ""]), pictures


def _fenced(text: str, language: str) -> str:
    """Text as a block of code, with a fence longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, their pictures and the notebooks themselves, for download."""
    from mkdocs.structure.files import File

    for both in NAMES.values():
        for name, (language, place) in zip(both, PLACES.items(), strict=True):
            path = FOLDER / f"{name}.{language}.ipynb"
            stored = path.read_text(encoding="utf-8")
            text, pictures = page_text(json.loads(stored), name, language)
            written = {f"{name}.md": text, path.name: stored, **pictures}
            for file, content in written.items():
                files.append(File.generated(config, f"{place}/{file}", content=content))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML, which browsers show without scripts."""
    return _FORMULA.sub(_mathml, content)


def _mathml(formula: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    latex = html.unescape(formula["latex"]).strip().replace("{aligned}", "{align*}")
    mathml = convert(latex, display="block" if formula["tag"] == "div" else "inline")
    if re.search(r"<mi>(&<|\\)", mathml):
        raise ValueError(f"a formula that latex2mathml cannot convert: {latex}")
    # TeX's thin space between a function and an argument without parentheses
    return re.sub(r"<mi>ln</mi>(?!<mo)", r'\g<0><mspace width="0.167em" />', mathml)
