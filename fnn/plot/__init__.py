"""Pictures. Each function draws into an optional matplotlib ``ax`` and returns it; matplotlib loads on first use.

Colours are told apart by colour-blind readers, and whatever a colour says is said a second time: by a marker, a line
style, a bold letter or a word.
"""

# Modules bear other names than the functions in them, which would hide them.
from ._draw import COLORS, RIGHT, WRONG
from .classification import confusion_matrix, images, predictions, probabilities
from .diagnostics import layer_report
from .functions import activation, activations
from .optimizers import optimizer_paths
from .plane import decision_boundary
from .sweeps import sweep_curves, sweep_line, sweep_map
from .training import layer_statistics, learning_curves
from .uncertainty import intervals, reliability
from .units import network, unit

__all__ = [
    "COLORS", "RIGHT", "WRONG",
    "activation", "activations", "confusion_matrix", "decision_boundary", "images", "intervals", "layer_report",
    "layer_statistics", "learning_curves", "network", "optimizer_paths", "predictions", "probabilities", "reliability",
    "sweep_curves", "sweep_line", "sweep_map", "unit",
]  # fmt: skip


def __dir__() -> list[str]:
    """What is public, for completion in notebooks."""
    return list(__all__)
