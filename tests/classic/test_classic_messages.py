"""The full text of messages about threshold units and perceptrons; see helpers.check_messages."""

from pathlib import Path

import jax
import numpy as np
from helpers import check_messages

from fnn import classic

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "f")
AND = np.array([0, 0, 0, 1])
XOR = np.array([0, 1, 1, 0])


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "one array for all inputs": lambda: classic.AND(INPUTS),
    "an input between 0 and 1": lambda: classic.OR(0.5, 1),
    "inputs of different lengths": lambda: classic.OR(np.array([0, 1]), np.array([0, 1, 1])),
    "a count above the number of inputs": lambda: classic.at_least(4, 3),
    "a formula that ends early": lambda: classic.formula("a and (b or"),
    "an operator of another language": lambda: classic.formula("a && b"),
    "a bracket that is not closed": lambda: classic.formula("not (a xor b and c"),
    "a formula without one of its inputs": lambda: classic.formula("a and b")(a=1),
    "a formula with an unknown input": lambda: classic.formula("a and b")(a=1, c=1),
    "labels as a column": lambda: classic.perceptron(INPUTS, AND[:, None]),
    "three classes": lambda: classic.separable(INPUTS, np.arange(4)),
    "infinity in the input": lambda: classic.separable(np.where(INPUTS == 1, np.inf, 0), AND),
    "separable inside jit": lambda: jax.jit(classic.separable)(INPUTS, AND),
    "classes that no line separates": lambda: classic.perceptron(INPUTS, XOR, epochs=10),
    "too few epochs": lambda: classic.perceptron(INPUTS, AND, epochs=1),
}
