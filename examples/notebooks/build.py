"""Make the notebooks, in English and in Spanish, from one source for each.

    pip install -e ".[notebooks]"
    python examples/notebooks/build.py                    # write all of them, with their outputs
    python examples/notebooks/build.py --quick --check    # run them with short trainings, write nothing

A source is a Python file in cells: ``# %% [markdown] en`` and ``# %% [markdown] es`` hold the same text twice, as
comments; ``# %%`` holds code for both languages. In code, ``«words|palabras»`` stands for the words of one language.
"""

import argparse
import json
import os
import re
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SOURCES = HERE / "source"
LANGUAGES = ("en", "es")
# Source: the notebook's name in each language.
NAMES = {
    "first_network": ("01_first_network", "01_primera_red"),
    "images_cnn": ("02_images_cnn", "02_imagenes_cnn"),
    "text_lstm": ("03_text_lstm", "03_texto_lstm"),
    "tables": ("04_tables", "04_tablas"),
    "neuron_to_network": ("05_neuron_to_network", "05_de_la_neurona_a_la_red"),
}
MOST_BYTES = 600_000
HEADER = re.compile(r"# %%(?: \[markdown\] (en|es))?")
WORDS = re.compile(r"«([^«»|]*)\|([^«»|]*)»")
# Folders of somebody's machine, which a stored notebook must not show.
MACHINE = re.compile(
    r"(?<![\w.:/])/(?:home|root|tmp|work|usr|opt|var|mnt|private|Users)/|\b[A-Z]:\\+Users",
    re.ASCII,
)
# What XLA tells its developers, e.g. that a program took long to compile on a busy machine, and what pooch fetches.
LOG = re.compile(
    r"^[IWE]\d{4} .*$|^\*{10,}[\s\S]*?\*{10,}$|^Downloading data from '.*$",
    re.MULTILINE,
)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "name": "python",
        "file_extension": ".py",
        "mimetype": "text/x-python",
    },
}
Notebook = dict[str, Any]


class Cell(NamedTuple):
    """A cell of a source: "en", "es" or "code", and its text."""

    kind: str
    text: str


class BuildError(Exception):
    """A source or an output that must not be stored."""


# ------------------------------------------------------------------------------------------------------------- sources
def read_source(path: Path) -> list[Cell]:
    """The cells of a source; every text stands there in English and then in Spanish."""
    cells: list[Cell] = []
    kind, lines = "", list[str]()

    def close() -> None:
        text = "\n".join(lines).strip("\n")
        if not kind:
            return  # the docstring above the first cell
        if not text:
            raise BuildError(f"{path.name}: an empty cell after cell {len(cells)}")
        cells.append(Cell(kind, text))

    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("# %%"):
            header = HEADER.fullmatch(line)
            if not header:
                raise BuildError(
                    f"{path.name}, line {number}: not a header of a cell: {line}"
                )
            close()
            kind, lines = header[1] or "code", []
        elif kind in LANGUAGES:
            if not re.match(r"# |#?$", line):
                raise BuildError(
                    f"{path.name}, line {number}: text that is no comment: {line}"
                )
            lines.append(line[2:].rstrip())
        else:
            lines.append(line.rstrip())
    close()
    for before, after in zip(
        [Cell("code", ""), *cells], [*cells, Cell("code", "")], strict=True
    ):
        if (before.kind == "en") != (after.kind == "es"):
            lone = before.text if before.kind == "en" else after.text
            raise BuildError(f"{path.name}: a text in one language only: {lone[:60]!r}")
    return cells


def in_language(code: str, language: str) -> str:
    """Code with the words of one language."""
    text = WORDS.sub(lambda match: match[1 + LANGUAGES.index(language)], code)
    if stray := re.search(r".*[«»].*", text):
        raise BuildError(f"words that are no pair: {stray[0].strip()}")
    return text


def make(source: str, language: str) -> Notebook:
    """A notebook without outputs."""
    cells: list[dict[str, Any]] = []
    for cell in read_source(SOURCES / f"{source}.py"):
        made: dict[str, Any] = {
            "id": f"{source.replace('_', '-')}-{len(cells):02d}",
            "metadata": {},
        }
        if cell.kind == "code":
            made |= {"cell_type": "code", "source": in_language(cell.text, language)}
            made |= {"execution_count": None, "outputs": []}
        elif cell.kind == language:
            made |= {"cell_type": "markdown", "source": cell.text}
        else:
            continue
        cells.append(made)
    return {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def path_of(source: str, language: str) -> Path:
    """Where a notebook is stored."""
    return HERE / f"{NAMES[source][LANGUAGES.index(language)]}.{language}.ipynb"


# ------------------------------------------------------------------------------------------------------------- outputs
def execute(notebook: Notebook, *, quick: bool, offline: bool) -> Notebook:
    """Run all cells in a kernel of this Python, in an empty folder; the first error ends it."""
    import nbclient
    import nbformat
    import traitlets.config

    with tempfile.TemporaryDirectory() as folder:
        # The kernel draws into the notebook, whatever this process is told to draw into.
        env = {
            name: value
            for name, value in os.environ.items()
            if name not in ("MPLBACKEND", "FNN_QUICK")
        }
        env |= {"IPYTHONDIR": folder, "TQDM_DISABLE": "1"}
        if offline:
            nowhere = "http://127.0.0.1:9"
            env |= {
                "XDG_CACHE_HOME": folder,
                "HTTP_PROXY": nowhere,
                "HTTPS_PROXY": nowhere,
            }
            env |= {"http_proxy": nowhere, "https_proxy": nowhere}
            env.pop("FNN_DATA", None)
        elif env.get("FNN_DATA"):
            env["FNN_DATA"] = str(Path(env["FNN_DATA"]).resolve())
        if quick:
            env["FNN_QUICK"] = "1"
        node = nbformat.from_dict(notebook)
        # Talk through files in a folder of one's own rather than through open ports, where that can be done.
        private = (
            {"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}}
            if os.name == "posix"
            else {}
        )
        client = nbclient.NotebookClient(
            node,
            config=traitlets.config.Config(private),
            kernel_name="python3",
            timeout=900,
            record_timing=False,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--HistoryManager.enabled=False"],
        )
        try:
            client.execute(env=env)
        except nbclient.exceptions.CellExecutionError as error:
            raise BuildError(re.sub(r"\x1b\[[\d;]*m", "", str(error))) from None
    return json.loads(nbformat.writes(node, split_lines=False))


def tidy(notebook: Notebook, *, quick: bool) -> Notebook:
    """Pieces of text joined, what belongs to one run only left out, and refused what must not be stored."""
    cells = []
    for cell in notebook["cells"]:
        cell = cell | {"metadata": {}}
        if cell["cell_type"] == "code":
            cell["outputs"] = _tidy_outputs(cell["id"], cell["outputs"])
        cells.append(cell)
    notebook = notebook | {
        "cells": cells,
        "metadata": METADATA | ({"quick": True} if quick else {}),
    }
    written, shown = texts(notebook)
    host = re.compile(rf"\b{re.escape(socket.gethostname())}\b")
    for found in (MACHINE.search(written), MACHINE.search(shown), host.search(shown)):
        if found:
            around = found.string[max(0, found.start() - 60) : found.end() + 60]
            raise BuildError(f"shows the machine it ran on: {around!r}")
    return notebook


def _tidy_outputs(cell: str, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    joined: list[dict[str, Any]] = []
    for output in outputs:
        if output["output_type"] == "error":
            raise BuildError(f"{cell}: {output['ename']}: {output['evalue']}")
        if output.get("name") == "stderr":
            if warned := LOG.sub("", output["text"]).strip():
                raise BuildError(f"{cell} warns: {warned}")
        elif (
            output["output_type"] == "stream"
            and joined
            and joined[-1]["output_type"] == "stream"
        ):
            joined[-1]["text"] += output["text"]
        else:
            joined.append(output | ({"metadata": {}} if "metadata" in output else {}))
    return joined


def texts(notebook: Notebook) -> tuple[str, str]:
    """All that a reader sees as text: what was written, and what came out."""
    written, shown = [], []
    for cell in notebook["cells"]:
        written.append(cell["source"])
        for output in cell.get("outputs", ()):
            shown.append(output.get("text", ""))
            shown += [
                data
                for kind, data in output.get("data", {}).items()
                if kind.startswith("text/")
            ]
    return "\n".join(written), "\n".join(shown)


def build(
    source: str, language: str, *, quick: bool, check: bool, offline: bool
) -> None:
    """Make, run and, unless it is only a check, write one notebook."""
    import nbformat

    started, path = time.perf_counter(), path_of(source, language)
    notebook = nbformat.from_dict(
        tidy(execute(make(source, language), quick=quick, offline=offline), quick=quick)
    )
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    size = len(text.encode())
    if size > MOST_BYTES:
        raise BuildError(f"{size:,} bytes, more than {MOST_BYTES:,}")
    if not check:
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    print(
        f"{path.name}: {time.perf_counter() - started:.0f} s, {size / 1000:.0f} kB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sources", nargs="*", help=f"which ones, of {', '.join(NAMES)}; default all"
    )
    parser.add_argument("--language", choices=LANGUAGES, help="default both")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short trainings: the notebooks see FNN_QUICK=1",
    )
    parser.add_argument("--check", action="store_true", help="run, but write nothing")
    parser.add_argument(
        "--offline",
        action="store_true",
        help="without data files or downloads, to see what is done then",
    )
    args = parser.parse_args()
    if unknown := set(args.sources) - set(NAMES):
        parser.error(
            f"no source {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
        )
    for source in args.sources or NAMES:
        for language in (args.language,) if args.language else LANGUAGES:
            try:
                build(
                    source,
                    language,
                    quick=args.quick,
                    check=args.check,
                    offline=args.offline,
                )
            except BuildError as error:
                sys.exit(f"{path_of(source, language).name}: {error}")


if __name__ == "__main__":
    main()
