"""From threshold units to the perceptron, on paper and on iris (reference experiment 3).

    python examples/perceptron.py

McCulloch-Pitts units compute logical functions; several units compute functions that one cannot, such as XOR.
Rosenblatt's rule learns the weights of one unit from examples, if such weights exist.
"""

import argparse

import experiment
import matplotlib.pyplot as plt
import numpy as np

import fnn
from fnn import classic


def draw_logic(args: argparse.Namespace) -> None:
    """Draw AND and OR as units, and XOR as a network of units."""
    xor = classic.formula("(a or b) and not (a and b)")
    print(f"{xor.text}\n{xor.table()}\n")
    figure = plt.figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.7))
    fnn.plot.unit(classic.AND, ax=left).set_title("AND: both inputs")
    fnn.plot.unit(classic.OR, ax=middle).set_title("OR: one is enough")
    fnn.plot.network(xor, ax=right).set_title("XOR needs several units")
    experiment.save(figure, args, "logic.png")


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    draw_logic(args)
    model, params = classic.xor_network()
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    wired = np.asarray(model.apply(params, {}, corners)[0]).ravel()
    print(f"XOR, wired by hand as two dense layers with a step: {wired}")

    flowers = fnn.data.iris()
    petals, setosa = flowers.x[:, 2:], (flowers.y == 0).astype("int32")
    found = classic.perceptron(petals, setosa)
    right = float((np.asarray(found.predict(petals)).ravel() == setosa).sum())
    questions = np.array([[2.0, 0.5], [3.0, 1.0]], np.float32)
    answers = np.asarray(found.predict(questions)).ravel()
    print(f"setosa? petals of 2 x 0.5 cm: {bool(answers[0])}, of 3 x 1 cm: {bool(answers[1])}")
    print(f"can a single unit compute XOR? {classic.separable(corners, [0, 1, 1, 0])}")

    _, (left, middle) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    fnn.plot.decision_boundary(found.predict, petals, setosa, level=0.5, ax=left)
    left.set(xlabel="petal length, cm", ylabel="petal width, cm", title="perceptron: setosa or not")
    errors = np.asarray(found.errors)
    middle.plot(np.arange(1, len(errors) + 1), errors, marker="o", color=fnn.plot.COLORS[0])
    middle.set(xlabel="epoch", ylabel="rows on the wrong side", title="Rosenblatt's rule until every row is right")
    middle.set_xticks(np.arange(1, len(errors) + 1))
    middle.yaxis.get_major_locator().set_params(integer=True)
    experiment.save(left, args, "perceptron.png")
    return [
        experiment.Figure(3, "perceptron on iris: correct rows of 150", [right], 150, "equal to", digits=0),
        experiment.Figure(3, "perceptron: (2, 0.5) is setosa", [float(answers[0])], 1, "equal to", digits=0),
        experiment.Figure(3, "perceptron: (3, 1) is setosa", [float(answers[1])], 0, "equal to", digits=0),
    ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
