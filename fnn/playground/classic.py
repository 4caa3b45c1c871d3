"""The classics as tasks: the perceptron's rule, correction by correction, and formulas as threshold units."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from .._core.errors import InputError
from ..classic import Perceptron, formula, perceptron, separable
from .data import Prepared, grid, prepare
from .programs import compiled
from .settings import RefusalError, Settings
from .spanish import formula_error
from .views import Frame, Map, View, scaled

PASSES = 200
"""Passes over the rows at most."""
INPUTS = 6
"""Inputs of a formula at most: its table has 64 rows then."""


def formula_facts(text: str) -> dict[str, object]:
    """A formula as a network of threshold units, with its truth table.

    Raises:
      RefusalError: for a formula that cannot be read, or one with too many inputs.
    """
    try:
        found = formula(text)
    except InputError as error:
        raise RefusalError("formula", str(error), formula_error(str(error))) from None
    if len(found.names) > INPUTS:
        english = f"expected at most {INPUTS} inputs, got {len(found.names)}."
        spanish = f"se esperaban como mucho {INPUTS} entradas, hay {len(found.names)}."
        raise RefusalError("formula", english, spanish)
    rows = [
        [(i >> (len(found.names) - 1 - j)) & 1 for j in range(len(found.names))] for i in range(2 ** len(found.names))
    ]
    values = found.values(*np.array(rows).T)
    return {
        "formula": found.text,
        "names": list(found.names),
        "nodes": [
            {
                "name": node.name,
                "weights": list(node.unit.weights),
                "threshold": node.unit.threshold,
                "inputs": list(node.inputs),
            }
            for node in found.nodes
        ],
        "table": [{name: int(np.asarray(value)[i]) for name, value in values.items()} for i in range(len(rows))],
        "code": f"import fnn\n\nunits = fnn.classic.formula({found.text!r})\nprint(units.table(units=True))\n",
    }


@compiled(static=0)
def _learn(x: np.ndarray, y: np.ndarray) -> Perceptron:
    """The rule for all passes."""
    return perceptron(x, y, epochs=PASSES)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the rule is: after some passes and the rows of the next one seen so far, with the weights there."""

    epoch: int
    row: int
    kernel: np.ndarray
    bias: np.float32
    corrections: int
    corrected: int | None = None  # the row that was corrected last


class PerceptronJourney:
    """The perceptron's rule on its way; all passes are computed by `fnn.classic.perceptron` at the start.

    Attributes:
      now: the current place.
      reached: the last pass that time travel can go to.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.prepared: Prepared = prepare(settings)
        if self.prepared.problem != "binary":
            raise RefusalError("data.name", "expected data of two classes.", "se esperaban datos de dos clases.")
        x, y = self.prepared.train[0], self.prepared.train[1][:, 0].astype(np.int32)
        found = _learn(x, y)  # traced, it does not warn of rows that stay wrong
        self.side = np.where(y > 0, 1, -1).astype(np.float32)
        errors = np.asarray(found.errors).tolist()
        self.errors = errors[: errors.index(0) + 1] if 0 in errors else errors
        self.kernels = np.asarray(found.history["kernel"])[..., 0]
        self.biases = np.asarray(found.history["bias"])[:, 0]
        self.separable = separable(x, y)
        self.converged = self.errors[-1] == 0
        self.now = self._start(0)
        self.reached = 0

    def _start(self, epoch: int) -> Place:
        """The place after a pass."""
        kernel = self.kernels[epoch - 1] if epoch else np.zeros(self.prepared.train[0].shape[1], np.float32)
        bias = self.biases[epoch - 1] if epoch else np.float32(0)
        return Place(epoch, 0, kernel, bias, sum(self.errors[:epoch]))

    @property
    def finished(self) -> bool:
        """Whether there is no pass left."""
        return self.now.epoch >= len(self.errors)

    def train(self, epochs: int, stop: Callable[[], bool] = lambda: False) -> int:
        """Go on by whole passes."""
        epoch = min(self.now.epoch + epochs, len(self.errors))
        self.now = self._start(epoch)
        self.reached = max(self.reached, epoch)
        return epochs

    def correct(self) -> None:
        """Go on to the next row that is wrong, and correct it; or to the end of the pass."""
        if self.finished:
            return
        x, now = self.prepared.train[0], self.now
        for row in range(now.row, len(x)):
            if not self.side[row] * ((x[row] * now.kernel).sum() + now.bias) > 0:
                kernel, bias = now.kernel + self.side[row] * x[row], now.bias + self.side[row]
                self.now = Place(now.epoch, row + 1, kernel, bias, now.corrections + 1, row)
                return
        self.train(1)

    def go(self, epoch: int, stop: Callable[[], bool] = lambda: False) -> bool:
        """Return to the weights after a pass."""
        self.now = self._start(epoch)
        return True

    def facts(self) -> dict[str, object]:
        """What the page is told when the rule begins."""
        return {"separable": self.separable, "passes": len(self.errors), "converged": self.converged}

    def frame(self, view: View, number: int, *, fresh: bool) -> Frame:
        """The frame of the current place."""
        now, prepared = self.now, self.prepared
        wrong = {
            part: float(((x @ now.kernel + now.bias >= 0) != (y[:, 0] > 0)).mean())
            for part, (x, y) in (("train", prepared.train), ("test", prepared.test))
        }
        header: dict[str, object] = {
            "type": "frame",
            "frame": number,
            "epoch": now.epoch,
            "reached": self.reached,
            "fresh": fresh,
            "loss": wrong,
            "accuracy": {part: 1 - share for part, share in wrong.items()},
            "history": [[i + 1, errors / len(self.side), None] for i, errors in enumerate(self.errors[: self.reached])],
            "layers": [],
            "corrections": now.corrections,
            "corrected": now.corrected,
            "finished": self.finished,
            "converged": self.finished and self.converged,
        }
        maps = []
        if "output" in view.show and prepared.domain is not None:
            size = view.resolution
            y = np.where(grid(prepared, self.settings, size) @ now.kernel + now.bias >= 0, 1.0, -1.0)
            maps.append(Map("output", scaled(y, -1, 1).reshape(size, size), -1.0, 1.0))
        maps.append(Map("weights/perceptron/kernel", now.kernel[:, None].astype(np.float32)))
        maps.append(Map("weights/perceptron/bias", np.array([now.bias], np.float32)))
        if fresh and "points" in view.show:
            maps += [Map("points/train", prepared.points_train), Map("points/test", prepared.points_test)]
        return Frame(header, tuple(maps))
