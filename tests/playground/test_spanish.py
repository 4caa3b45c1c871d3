"""What fnn says of files and formulas, in Spanish: no English word, and the reason rather than that there is one."""

import re

import pytest
from english import ENGLISH

from fnn.playground.classic import formula_facts
from fnn.playground.data import prepare
from fnn.playground.settings import RefusalError, parse
from fnn.playground.spanish import formula_error, table_error

ROWS = [f"{i},{i * 3 % 7},{i % 2}" for i in range(8)]
TABLES = {
    "not CSV": 'a,b,y\n"1,2,3\n' + "\n".join(ROWS),
    "columns": "a\n1\n2\n3\n4",
    "rows": "a,b\n1,2",
    "cells": "a,b,y\n1,2,3\n1,2\n" + "\n".join(ROWS),
    "names": "a,a,y\n" + "\n".join(ROWS),
    "missing": "a,b,y\n,2,3\n" + "\n".join(ROWS),
    "missing mark": "a,b,y\nNA,2,3\n" + "\n".join(ROWS),
    "missing text": "a,b,y\nred,1,0\nblue,2,1\n,3,0\nred,4,1\nred,5,1",
    "infinite": "a,b,y\ninf,2,3\n" + "\n".join(ROWS),
    "decimal commas": "a;b;y\n" + "\n".join(f"{i},5;{i};{i % 2}" for i in range(8)),
    "a word among numbers": "a,b,y\nmany,2,3\n" + "\n".join(ROWS),
    "numbers as text": "a,b,y\n" + "\n".join(f"00{i},{i},{i % 2}" for i in range(8)),
    "names as categories": "a,b,y\n" + "\n".join(f"name {i},{i},{i % 2}" for i in range(30)),
    "large numbers": "a,b,y\n" + "\n".join(f"1e{39 + i},{i},{i % 2}" for i in range(8)),
    "ids": "a,b,y\n" + "\n".join(f"{10**9 + i},{i},{i % 2}" for i in range(8)),
    "large integers": "a,b,y\n" + "\n".join(f"{10**17 + i},{i},{i % 2}" for i in range(8)) + "\n,3,1\n2.5,3,1",
    "targets": "a,b,y\n1,2,\n" + "\n".join(ROWS),
    "infinite targets": "a,b,y\n1,2,inf\n" + "\n".join(ROWS),
    "one class": "a,b,y\n" + "\n".join(f"{i},{i},yes" for i in range(8)),
    "many classes": "a,b,y\n" + "\n".join(f"{i},{i},class {i}" for i in range(80)),
    "many inputs": "a,b,y\n" + "\n".join(f"word {i % 70},{i},{i % 2}" for i in range(280)),
}
FORMULAS = ["a b", "a and", "(a or b", "a and (b or c) d", "and", ")", "a ? b", "not", " ", "(" * 400, "a and b)"]


def words(text):
    """The words of a message, without names and cells in quotes."""
    return set(re.findall(r"[a-záéíóúñü]+", re.sub(r"'(?:[^'\\]|\\.)*'", "", text.lower())))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_refused_in_spanish_with_the_reason(name):
    with pytest.raises(RefusalError) as caught:
        prepare(parse({"data": {"name": "csv", "text": TABLES[name]}}))
    error = caught.value
    assert error.where == "data.text"
    assert error.spanish != table_error("")
    assert error.spanish != error.english
    assert not words(error.spanish) & ENGLISH
    # Numbers and names are the same in both.
    quoted = re.findall(r"'[^']*'", error.english.split(". ")[0])
    assert all(one in error.spanish for one in quoted)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_refused_in_spanish_with_the_reason(text):
    with pytest.raises(RefusalError) as caught:
        formula_facts(text)
    error = caught.value
    spanish = error.spanish.partition("\n")[0]
    assert spanish.startswith("fórmula: se esperaba ")
    assert not words(spanish) & ENGLISH
    assert error.spanish.partition("\n")[2] == error.english.partition("\n")[2]


def test_an_unknown_error_holds_no_english():
    assert table_error("table_fit: expected the moon, got cheese.") == table_error("")
    assert formula_error("formula: the world ends.") == formula_error("")


@pytest.mark.parametrize(
    "given",
    [
        {"layers": [{}] * 9}, {"formula": "a" * 600}, {"layers": 5}, {"features": []}, {"data": {"name": "csv"}},
        {"layers": [{"batch_norm": True}] * 5}, {"data": {"name": "points", "x": [[0, 1]] * 2001, "y": [0]}},
    ],
)  # fmt: skip
def test_settings_are_refused_in_spanish(given):
    with pytest.raises(RefusalError) as caught:
        parse(given)
    assert not words(caught.value.spanish.replace("layers", "").replace("features", "")) & (ENGLISH - {"data", "seed"})
