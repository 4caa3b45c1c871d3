"""Pictures. Each function draws into an optional matplotlib ``ax`` and returns it; matplotlib loads on first use.

The palette suits colour-blind readers, and a marker, a line style, bold type or a word repeats what colour shows.
"""

# No module shares its name with a function here, which would hide the module.
from ._draw import COLORS, RIGHT, WRONG
from .classification import confusion_matrix, images, predictions, probabilities
from .functions import activation, activations, decision_boundary, optimizer_paths
from .graph import model
from .plans import plan
from .sweeps import sweep_curves, sweep_line, sweep_map
from .training import layer_report, layer_statistics, learning_curves
from .uncertainty import intervals, reliability
from .units import network, unit

__all__ = [
    "COLORS", "RIGHT", "WRONG",
    "activation", "activations", "confusion_matrix", "decision_boundary", "images", "intervals", "layer_report",
    "layer_statistics", "learning_curves", "model", "network", "optimizer_paths", "plan", "predictions",
    "probabilities", "reliability", "sweep_curves", "sweep_line", "sweep_map", "unit",
]  # fmt: skip
