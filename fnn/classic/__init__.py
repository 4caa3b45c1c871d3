"""The classics: threshold units that compute logic, and the perceptron that learns from its mistakes.

The order is that of a first lecture. A `Unit` sums weighted inputs and fires at a threshold (McCulloch and Pitts 1943).
One unit computes AND, OR or NOT, and `formula` builds a network of units for any other formula. `xor_network` is the
most famous example, wired by hand as an fnn model. `threshold_unit` is the same unit for real inputs. `perceptron`
learns its weights from examples (Rosenblatt 1958) whenever suitable weights exist, which `separable` decides.

W. S. McCulloch and W. Pitts, "A logical calculus of the ideas immanent in nervous activity", Bulletin of Mathematical
Biophysics 5 (1943). F. Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in
the brain", Psychological Review 65 (1958). A. B. J. Novikoff, "On convergence proofs on perceptrons", Symposium on the
Mathematical Theory of Automata (1962). M. Minsky and S. Papert, "Perceptrons" (1969).
"""

from .learning import Perceptron, perceptron, separable
from .logic import Formula, Node, formula, xor_network
from .units import AND, IDENTITY, NAND, NOR, NOT, OR, TruthTable, Unit, at_least, threshold_unit

__all__ = [
    "AND", "IDENTITY", "NAND", "NOR", "NOT", "OR", "Formula", "Node", "Perceptron", "TruthTable", "Unit", "at_least",
    "formula", "perceptron", "separable", "threshold_unit", "xor_network",
]  # fmt: skip
