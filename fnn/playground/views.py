"""What a frame shows: the output's map, each unit's map, weights, losses, gradients and dead units by layer."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .._core.types import Array, PyTree
from ..inspection.outputs import outputs
from ..inspection.report import report_of, step_values
from ..nn.activations import softmax
from ..training.batch import Batch
from ..training.probe import LayerValues
from ..training.state import TrainState
from ..training.task import Task
from .experiment import Experiment
from .journey import Journey, Losses
from .programs import Program, compiled

SHOWN = ("output", "units", "weights", "gradients", "points")


@dataclasses.dataclass(frozen=True)
class View:
    """What a visitor wants to see."""

    resolution: int = 100
    unit_resolution: int = 30
    discretize: bool = False
    show: tuple[str, ...] = SHOWN


class Map(NamedTuple):
    """An array of a frame; numbers of 8 bits stand for those from ``low`` to ``high``."""

    name: str
    values: np.ndarray
    low: float | None = None
    high: float | None = None


@compiled(static=2)
def _seen(task: Task, names: tuple[str, ...], ts: TrainState, x: Array) -> dict[str, Array]:
    """The outputs of these layers."""
    found: dict[str, Array] = outputs(task, ts, x, names)
    return found


@compiled(static=1)
def _step(task: Task, ts: TrainState, data: Batch) -> tuple[LayerValues, PyTree]:
    return step_values(task, ts, data)


def view_programs(experiment: Experiment, ts: TrainState, view: View) -> Iterator[Program]:
    """What a frame runs."""
    *hidden, last = experiment.shown
    if experiment.prepared.domain is not None:
        if "output" in view.show:
            yield _seen.program(experiment.task, (last,), ts, experiment.grid(view.resolution))
        if "units" in view.show and hidden:
            yield _seen.program(experiment.task, tuple(hidden), ts, experiment.grid(view.unit_resolution))
    if "gradients" in view.show:
        yield _step.program(experiment.task, ts, experiment.train)


def prediction_program(experiment: Experiment, ts: TrainState, x: np.ndarray) -> Program:
    """What `predict` runs."""
    return _seen.program(experiment.task, experiment.shown[-1:], ts, jnp.asarray(x))


def values(experiment: Experiment, ts: TrainState, x: Array, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Outputs of layers for many inputs, compiled."""
    return {name: np.asarray(y) for name, y in _seen(experiment.task, tuple(names), ts, x).items()}


def output_of(problem: str, y: np.ndarray) -> np.ndarray:
    """What the map shows of the network's output: in [-1, 1] for two classes, or the number itself for regression."""
    if problem == "binary":
        with np.errstate(over="ignore"):
            return np.asarray(np.tanh(y[:, 0] / 2))  # twice the probability of the second class, minus 1
    return np.asarray(y[:, 0])


def output_maps(experiment: Experiment, y: np.ndarray, resolution: int, discretize: bool) -> list[Map]:
    """The map of the output; for several classes that of the most probable one, and of its probability."""
    problem = experiment.prepared.problem
    if problem == "classes":
        p = np.asarray(softmax(jnp.asarray(y)))
        best = p.argmax(1).astype(np.uint8).reshape(resolution, resolution)
        share = scaled(p.max(1), 0, 1).reshape(resolution, resolution)
        return [Map("output", best), Map("confidence", share, 0.0, 1.0)]
    shown = output_of(problem, y)
    if discretize:
        shown = np.where(shown >= 0, 1.0, -1.0)
    return [Map("output", scaled(shown, -1, 1).reshape(resolution, resolution), -1.0, 1.0)]


def scaled(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers from ``low`` to ``high`` in 8 bits; NaN becomes the middle."""
    share = (np.nan_to_num(x, nan=(low + high) / 2, posinf=high, neginf=low) - low) / (high - low)
    found: np.ndarray = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return found


def unit_maps(name: str, y: np.ndarray, resolution: int) -> list[Map]:
    """A map for each unit, (cells, units), on a scale symmetric about 0 that reaches at least 1."""
    reach = np.maximum(1.0, np.where(np.isfinite(y), np.abs(y), 0).max(0))
    shown = scaled(y.T / reach[:, None], -1, 1).reshape(-1, resolution, resolution)
    return [
        Map(f"{name}/{j}", one, -high, high) for j, (one, high) in enumerate(zip(shown, reach.tolist(), strict=True))
    ]


def weights(ts: TrainState) -> list[Map]:
    """Kernels and biases, and what else the layers train."""
    return [
        Map(f"weights/{layer}/{leaf}", np.asarray(values, np.float32))
        for layer, leaves in ts.params.items()
        for leaf, values in leaves.items()
    ]


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame before it is encoded."""

    header: dict[str, object]
    maps: tuple[Map, ...]

    def encode(self) -> bytes:
        """A header of JSON after its length, then the arrays, each at a multiple of 4 bytes."""
        entries, offset, chunks = [], 0, []
        for name, array, low, high in self.maps:
            entry = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}
            entries.append(entry if low is None else entry | {"low": low, "high": high})
            data = array.tobytes()
            data += bytes(-len(data) % 4)
            chunks.append(data)
            offset += len(data)
        text = json.dumps(finite({**self.header, "arrays": entries}), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        return b"".join([struct.pack("<I", len(text)), text, *chunks])


def finite(value: object) -> object:
    """JSON without NaN and infinity, which become null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: finite(one) for key, one in value.items()}
        case list() | tuple():
            return [finite(one) for one in value]
    return value


def frame(journey: Journey, view: View, number: int, known: int, *, fresh: bool) -> Frame:
    """The frame of the current moment.

    Args:
      journey: the experiment on its way.
      view: what to show.
      number: of the frame.
      known: the last epoch whose losses the page has; those after it are sent.
      fresh: whether the page begins anew: all losses are sent, and the points of the data.
    """
    experiment, now = journey.experiment, journey.now
    losses = journey.history.get(now.epoch) or journey.measure()
    binary = experiment.prepared.problem != "regression"
    header: dict[str, object] = {
        "type": "frame",
        "frame": number,
        "epoch": now.epoch,
        "reached": journey.reached,
        "fresh": fresh,
        "loss": {"train": losses.train, "test": losses.test},
        "accuracy": {"train": losses.train_accuracy, "test": losses.test_accuracy} if binary else None,
        "history": points_of(journey.history, -1 if fresh else known),
        "hyper": {name: float(value) for name, value in now.ts.opt_state.hyper.items()},
        "penalty": dataclasses.asdict(now.penalty),
        "layers": layer_facts(experiment, now.ts) if "gradients" in view.show else [],
    }
    maps: list[Map] = []
    if experiment.prepared.domain is not None:
        maps += plane_maps(experiment, now.ts, view)
    if "weights" in view.show:
        maps += weights(now.ts)
    if fresh and "points" in view.show:
        prepared = experiment.prepared
        maps += [Map("points/train", prepared.points_train), Map("points/test", prepared.points_test)]
    return Frame(header, tuple(maps))


def points_of(history: dict[int, Losses], known: int) -> list[list[float | int]]:
    """The losses after an epoch as ``[epoch, train, test]``."""
    return [[epoch, one.train, one.test] for epoch, one in sorted(history.items()) if epoch > known]


def plane_maps(experiment: Experiment, ts: TrainState, view: View) -> list[Map]:
    """The maps of the plane: features, units and output."""
    maps: list[Map] = []
    *hidden, last = experiment.shown
    if "output" in view.show:
        x = experiment.grid(view.resolution)
        maps += output_maps(experiment, values(experiment, ts, x, [last])[last], view.resolution, view.discretize)
    if "units" in view.show:
        size = view.unit_resolution
        x = experiment.grid(size)
        maps += unit_maps("feature", np.asarray(x), size)
        if hidden:
            found = values(experiment, ts, x, hidden)
            for i, name in enumerate(hidden):
                maps += unit_maps(f"unit/{i}", found[name], size)
    return maps


def layer_facts(experiment: Experiment, ts: TrainState) -> list[dict[str, object]]:
    """The root of the mean square of the gradient, the dead and the saturated units of each layer."""
    task, data = experiment.task, experiment.train
    report = report_of(task, ts, data, *_step(task, ts, data))
    wanted = set(experiment.shown)
    return [
        {
            "name": row.path,
            "gradient": row.gradient_rms,
            "weight_gradient": row.param_gradient_norm,
            "dead": None if row.dead is None or not row.units else row.dead / row.units,
            "saturated": row.saturated,
        }
        for row in report
        if row.path in wanted
    ]


def predict(experiment: Experiment, ts: TrainState, x: np.ndarray) -> dict[str, object]:
    """The output for one row of inputs: a number, or the probability of each class."""
    y = values(experiment, ts, jnp.asarray(x), experiment.shown[-1:])[experiment.shown[-1]]
    match experiment.prepared.problem:
        case "regression":
            return {"value": float(y[0, 0])}
        case "binary":
            second = (float(np.tanh(y[0, 0] / 2)) + 1) / 2
            return {"probabilities": [1 - second, second]}
        case _:
            return {"probabilities": np.asarray(softmax(jnp.asarray(y)))[0].tolist()}
