"""An experiment as mathematics: a task, its start, its epochs, and the events that change it on the way.

Everything is a pure function of the settings and of a list of events. An event ``(epoch, kind, value)`` acts after that
epoch: "hyper" sets hyper-parameters, "penalty" the penalty, "weight" one weight. Time travel is a stored state and an
exact replay; `fnn.playground.script` writes the same list as a program.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import penalties
from .._core.types import Array, PyTree
from ..fitting.inputs import with_nan_row_metric
from ..fitting.progress import as_floats
from ..nn.activations import Activation
from ..nn.containers import Sequential, unique_names
from ..nn.dense import Dense
from ..nn.dropout import Dropout
from ..nn.layer import Layer as Network
from ..nn.normalization import BatchNorm
from ..optimizers.base import Optimizer, set_hyper
from ..training.batch import Batch
from ..training.epoch import epoch
from ..training.evaluation import measure_all, rows_at_once
from ..training.state import TrainState, init
from ..training.task import Task
from ..training.totals import Logs, Totals, results
from .choices import OPTIMIZERS
from .data import Prepared, grid, prepare
from .programs import Program, compiled
from .settings import Layer, Penalty, RefusalError, Settings

LOSSES = {
    "binary": "binary_crossentropy",
    "classes": "sparse_categorical_crossentropy",
    "regression": "mse",
}


class Weight(NamedTuple):
    """A weight that a visitor sets: a layer, "kernel" or "bias", the place of the number, its new value."""

    layer: str
    leaf: str
    place: tuple[int, ...]
    value: float


class Event(NamedTuple):
    """A change after an epoch: hyper-parameters by name, a `Penalty`, or a `Weight`."""

    epoch: int
    change: dict[str, float] | Penalty | Weight


class Moment(NamedTuple):
    """A place on the way of an experiment."""

    epoch: int
    ts: TrainState
    penalty: Penalty


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """Settings with what follows from them.

    Attributes:
      task: without a penalty, whose rate may change while training.
      train, test: inputs and targets on the device.
      shown: names of the layers whose outputs are the units of each hidden layer, and that of the output.
      grids: the network's inputs on the map's cells by resolution, filled on demand.
    """

    settings: Settings
    prepared: Prepared
    task: Task
    train: Batch
    test: Batch
    shown: tuple[str, ...]
    grids: dict[int, Array] = dataclasses.field(default_factory=dict)

    def grid(self, resolution: int) -> Array:
        """The network's inputs on the cells of a map of this resolution."""
        if resolution not in self.grids:
            self.grids[resolution] = jax.device_put(grid(self.prepared, self.settings, resolution))
        return self.grids[resolution]


def build(settings: Settings) -> Experiment:
    """The experiment of these settings.

    Raises:
      RefusalError: for data that cannot be read.
    """
    prepared = prepare(settings)
    task = make_task(settings.layers, settings.initializer, settings.optimizer, prepared.problem, prepared.outputs)
    train, test = jax.device_put((prepared.train, prepared.test))
    return Experiment(settings, prepared, task, Batch(*train), Batch(*test), shown_layers(settings.layers))


# One object for equal settings, so that visitors share compiled programs.
@functools.lru_cache(maxsize=256)
def make_task(layers: tuple[Layer, ...], initializer: str, optimizer: str, problem: str, outputs: int) -> Task:
    """The task of a network. Learning rates and the like are set in the state, so that all of them share a program."""
    metrics = () if problem == "regression" else ("accuracy",)
    return Task(make_model(layers, initializer, outputs), LOSSES[problem], _optimizer(optimizer), metrics)


@functools.cache
def _optimizer(name: str) -> Optimizer:
    return OPTIMIZERS[name].optimizer()


def hidden_layers(layers: tuple[Layer, ...], initializer: str) -> list[list[Network]]:
    """The layers of each hidden layer: BatchNorm stands before the activation, dropout after it."""
    found: list[list[Network]] = []
    for layer in layers:
        if layer.batch_norm:
            dense = Dense(layer.units, kernel_initializer=initializer)
            parts = [dense, BatchNorm(), Activation(layer.activation)]
        else:
            parts = [Dense(layer.units, layer.activation, kernel_initializer=initializer)]
        found.append([*parts, Dropout(layer.dropout)] if layer.dropout else parts)
    return found


def make_model(layers: tuple[Layer, ...], initializer: str, outputs: int) -> Network:
    """The network, with a linear last layer."""
    hidden = itertools.chain(*hidden_layers(layers, initializer))
    return Sequential(*hidden, Dense(outputs, kernel_initializer=initializer))


def shown_layers(layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Names of the layers whose outputs are the units of each hidden layer, and of the last one."""
    parts = [*hidden_layers(layers, "zeros"), [Dense(1)]]
    names = iter(unique_names(tuple(itertools.chain(*parts))))
    own = [list(itertools.islice(names, len(part))) for part in parts]
    shown = [2 if layer.batch_norm else 0 for layer in layers] + [0]
    return tuple(part[i] for part, i in zip(own, shown, strict=True))


def init_key(seed: int) -> Array:
    """The key from which a network starts; the other half of the seed's key draws the data."""
    return jax.random.split(jax.random.key(seed))[1]


def start(experiment: Experiment) -> Moment:
    """The experiment before its first epoch."""
    settings = experiment.settings
    ts = init(experiment.task, init_key(settings.seed), experiment.train.x[:1])
    hyper: dict[str, PyTree] = dict(settings.hyper)
    return Moment(0, set_hyper(ts, **hyper), settings.penalty)


def batch_size(experiment: Experiment) -> int:
    """The batch size, which is at most the number of rows."""
    return min(experiment.settings.batch_size, len(experiment.train.x))


class Epoch(NamedTuple):
    """What an epoch's program depends on: the task without a penalty, the penalty's kind, and the batch size."""

    task: Task
    penalty: str
    batch_size: int


def epoch_of(experiment: Experiment, kind: str) -> Epoch:
    """An epoch of an experiment with a penalty of this kind."""
    return Epoch(experiment.task, kind, batch_size(experiment))


def advance(experiment: Experiment, moment: Moment) -> Moment:
    """One epoch later."""
    penalty = moment.penalty
    ts, _ = _epoch(epoch_of(experiment, penalty.kind), moment.ts, experiment.train, jnp.float32(penalty.rate))
    return moment._replace(epoch=moment.epoch + 1, ts=ts)


@compiled(static=1)
def _epoch(how: Epoch, ts: TrainState, train: Batch, rate: Array) -> tuple[TrainState, Logs]:
    """An epoch, the same for all rates of a penalty: the program of `fnn.train_epoch`, to the last bit."""
    task = how.task if how.penalty == "none" else how.task.replace(penalty=penalty_of(how.penalty, rate))
    ts, totals = epoch(task, ts, train, how.batch_size, True, False, None)
    return ts, results(task, totals)


def epoch_program(experiment: Experiment, ts: TrainState, kind: str) -> Program:
    """What `advance` runs with a penalty of this kind."""
    return _epoch.program(epoch_of(experiment, kind), ts, experiment.train, jnp.float32(0))


def evaluate(experiment: Experiment, ts: TrainState, data: Batch) -> dict[str, float]:
    """Loss and accuracy, as `fnn.evaluate` computes them, to the last bit."""
    task = with_nan_row_metric(experiment.task)
    totals = _totals(task, rows_at_once(task, ts, data.x, None), ts.params, ts.state, data)
    return as_floats(experiment.task, results(task, totals))


@compiled(static=2)
def _totals(task: Task, rows: int, params: PyTree, state: PyTree, data: Batch) -> Totals:
    return measure_all(task, params, state, data, rows)


def evaluation_programs(experiment: Experiment, ts: TrainState) -> list[Program]:
    """What `evaluate` runs."""
    task = with_nan_row_metric(experiment.task)
    return [
        _totals.program(task, rows_at_once(task, ts, data.x, None), ts.params, ts.state, data)
        for data in (experiment.train, experiment.test)
    ]


def penalty_of(kind: str, rate: Array) -> penalties.Penalty | None:
    """The penalty of a kind, None for "none"."""
    return {"none": None, "l1": penalties.l1(rate), "l2": penalties.l2(rate)}[kind]


def apply(moment: Moment, event: Event) -> Moment:
    """The moment after a change."""
    match event.change:
        case Penalty():
            return moment._replace(penalty=event.change)
        case Weight(layer, leaf, place, value):
            values = np.array(moment.ts.params[layer][leaf])
            values[place] = value
            params = {**moment.ts.params, layer: {**moment.ts.params[layer], leaf: jnp.asarray(values)}}
            return moment._replace(ts=moment.ts._replace(params=params))
        case _:
            hyper: dict[str, PyTree] = dict(event.change)
            return moment._replace(ts=set_hyper(moment.ts, **hyper))


def check_weight(experiment: Experiment, ts: TrainState, weight: Weight) -> None:
    """Refuse a weight that the network does not have."""
    layer, leaf, place, _ = weight
    if layer not in ts.params or leaf not in ts.params[layer]:
        known = ", ".join(f"{name}/{one}" for name, leaves in ts.params.items() for one in leaves)
        where = "layer" if layer not in ts.params else "leaf"
        raise RefusalError(where, f"expected one of {known}.", f"se esperaba uno de {known}.")
    shape = ts.params[layer][leaf].shape
    if len(place) != len(shape) or not all(0 <= i < n for i, n in zip(place, shape, strict=True)):
        raise RefusalError("index", f"expected an index into {shape}.", f"se esperaba un índice de {shape}.")
