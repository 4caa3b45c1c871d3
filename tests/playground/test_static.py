"""The files of the page, without a browser: short modules, every text in both languages, nothing from elsewhere."""

import re
from pathlib import Path

import pytest

import fnn

STATIC = Path(fnn.__file__).parent / "playground" / "static"
MODULES = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js"))}
PAGE = (STATIC / "index.html").read_text(encoding="utf-8")
TEXTS = MODULES["words.js"] + MODULES["panel_words.js"]
STRING = r'"((?:[^"\\]|\\.)*)"'
WORDS = {
    key or quoted: (english, spanish)
    for key, quoted, english, spanish in re.findall(
        rf'^  (?:(\w+)|"([^"]+)"): \[\s*{STRING},\s*{STRING},?\s*\],$', TEXTS, re.MULTILINE
    )
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_short_and_import_each_other(name):
    assert MODULES[name].startswith("/** ")
    assert MODULES[name].count("\n") < 300
    imports = re.findall(r'(?:from|import) "([^"]+)"', MODULES[name])
    assert all(path.startswith("./") and path[2:] in MODULES for path in imports)


def test_nothing_comes_from_elsewhere():
    files = [PAGE, (STATIC / "style.css").read_text(encoding="utf-8"), *MODULES.values()]
    found = [address for text in files for address in re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"')]*", text)]
    assert set(found) == {"http://www.w3.org/2000/svg"}


def test_every_text_has_both_languages_and_the_same_values():
    assert len(WORDS) > 150
    assert len(WORDS) == len(re.findall(r'^  (?:\w+|"[^"]+"): \[', TEXTS, re.MULTILINE))
    for key, (english, spanish) in WORDS.items():
        assert set(re.findall(r"\{(\w+)", english)) == set(re.findall(r"\{(\w+)", spanish)), key


def test_a_word_after_a_number_has_two_forms():
    """ "1 points" is no English, and "1 puntos" no Spanish."""
    loose = {"lesson_of", "time_back", "csv_large", "surface_said", "largest_weights", "many_said"}
    for key, (english, spanish) in WORDS.items():
        if key not in loose:
            assert not re.search(r"\{(count|units|parameters|rows|columns|epochs)\} [a-z]+s\b", english), key
            assert not re.search(r"\{(count|units|parameters|rows|columns|epochs)\} [a-zé]+s\b", spanish), key


def test_every_text_is_used_and_every_used_text_is_there():
    code = "\n".join(text for name, text in MODULES.items() if "words" not in name)
    named = set(re.findall(r'data-(?:word|label|hint)="(\w+)"', PAGE))
    named |= set(re.findall(r'\bword\(\s*"(\w+)"', code)) | set(re.findall(r'\b(?:word|label|hint): "(\w+)"', code))
    assert named <= set(WORDS)
    written = set(re.findall(r'"([\w ]+)"', code)) | named
    begun = (
        "class:",
        "data_",
        "kind_",
        "panel_",
        "code_",
        "images_",
    )  # the rest of their keys comes from the server or a table
    hints = {f"{name}_hint" for name in ("layer_column", "gradient", "dead", "saturated")}
    parts = {f"{part}_loss" for part in ("train", "test")} | {"train_mistakes", "test_mistakes"}
    assert not [key for key in WORDS if key not in written | hints | parts and not key.startswith(begun)]


def test_spanish_texts_hold_no_english():
    for key, (english, spanish) in WORDS.items():
        same = {"playground", "XOR", "BatchNorm", "Dropout", "drop {rate}", "L1", "L2"}
        assert spanish != english or english in same, key
