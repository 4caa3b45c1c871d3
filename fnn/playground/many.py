"""Many networks at once, with other seeds or learning rates, trained as one compiled program."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.types import Array
from ..optimizers.base import set_hyper
from ..training.batch import Batch
from ..training.run import run
from ..training.state import TrainState, init
from ..training.task import Task
from ..trials.many import many
from .experiment import Epoch, Experiment, epoch_of, init_key, penalty_of
from .programs import Program, compiled
from .views import Frame, Map, scaled

SPREAD = 10.0
"""The learning rates reach from a tenth to ten times that of the settings."""


class Trials(NamedTuple):
    """Networks side by side.

    Attributes:
      over: "seed" or "learning_rate".
      values: the seed or the learning rate of each.
      ts: their states.
      train_losses, test_losses: for each epoch the losses of all; those of the training rows as they were met.
    """

    over: str
    values: tuple[float, ...]
    ts: TrainState
    train_losses: tuple[np.ndarray, ...] = ()
    test_losses: tuple[np.ndarray, ...] = ()

    @staticmethod
    def start(experiment: Experiment, over: str, count: int) -> Generator[Program, None, Trials]:
        """Networks that differ in their seed, or in their learning rate around that of the settings.

        It gives the program that it runs, and returns the networks.
        """
        settings = experiment.settings
        rate = dict(settings.hyper)["learning_rate"]
        seeds, rates = [settings.seed] * count, [rate] * count
        if over == "seed":
            seeds = [(settings.seed + i) % 2**31 for i in range(count)]
        else:
            rates = [min(10.0, float(rate * SPREAD**share)) for share in np.linspace(-1, 1, count)]
        hyper = {name: jnp.full(count, value, jnp.float32) for name, value in settings.hyper}
        hyper["learning_rate"] = jnp.asarray(rates, jnp.float32)
        keys = jnp.stack([init_key(seed) for seed in seeds])
        arguments = experiment.task, keys, hyper, experiment.train.x[:1]
        yield _start.program(*arguments)
        ts = _start(*arguments)
        return Trials(over, tuple(map(float, seeds)) if over == "seed" else tuple(rates), ts)

    def programs(self, experiment: Experiment, resolution: int) -> Iterator[Program]:
        """What `train` and `picture` run."""
        yield _epoch.program(*self._arguments(experiment))
        if experiment.prepared.domain is not None:
            grid = experiment.grid(resolution)
            yield _outputs.program(experiment.task, experiment.prepared.problem, self.ts, grid)

    def _arguments(self, experiment: Experiment) -> tuple[Epoch, TrainState, tuple[Batch, Batch], Array]:
        penalty = experiment.settings.penalty
        data = experiment.train, experiment.test
        return epoch_of(experiment, penalty.kind), self.ts, data, jnp.float32(penalty.rate)

    def train(self, experiment: Experiment) -> Trials:
        """One epoch later."""
        ts, losses = _epoch(*self._arguments(experiment))
        train, test = (np.asarray(losses[name]) for name in ("loss", "val_loss"))
        return self._replace(ts=ts, train_losses=(*self.train_losses, train), test_losses=(*self.test_losses, test))

    def facts(self) -> dict[str, object]:
        """Values, and the loss curve of each network."""
        curves = {"train": self.train_losses, "test": self.test_losses}
        found = {name: np.stack(losses, 1).tolist() for name, losses in curves.items()}
        return {"over": self.over, "values": list(self.values), **found}

    def picture(self, experiment: Experiment, resolution: int) -> Frame:
        """The map of each network, their mean, and the spread of their outputs."""
        if experiment.prepared.domain is None:
            return Frame({"type": "many"}, ())
        shown = np.asarray(_outputs(experiment.task, experiment.prepared.problem, self.ts, experiment.grid(resolution)))
        square = (resolution, resolution)
        if experiment.prepared.problem == "classes":
            mean = shown.mean(0)
            best = mean.argmax(1)
            maps = [Map(f"member/{i}", one.argmax(1).astype(np.uint8).reshape(square)) for i, one in enumerate(shown)]
            spread = np.take_along_axis(shown, best[None, :, None], 2)[..., 0].std(0)
            maps.append(Map("mean", best.astype(np.uint8).reshape(square)))
        else:
            members = scaled(shown, -1, 1).reshape(-1, *square)
            maps = [Map(f"member/{i}", one, -1.0, 1.0) for i, one in enumerate(members)]
            spread = shown.std(0)
            maps.append(Map("mean", scaled(shown.mean(0), -1, 1).reshape(square), -1.0, 1.0))
        maps.append(Map("spread", scaled(spread, 0, 1).reshape(square), 0.0, 1.0))
        return Frame({"type": "many", "over": self.over, "values": self.values}, tuple(maps))


@compiled(static=1)
def _start(task: Task, keys: Array, hyper: dict[str, Array], x: Array) -> TrainState:
    return many(lambda key, own: set_hyper(init(task, key, x), **own))(keys, hyper)


@compiled(static=1)
def _epoch(how: Epoch, ts: TrainState, data: tuple[Batch, Batch], rate: Array) -> tuple[TrainState, dict[str, Array]]:
    """An epoch of all networks, and their losses on the training and the test rows."""
    task, (train, test) = how.task.replace(penalty=penalty_of(how.penalty, rate)), data

    def one(ts: TrainState) -> tuple[TrainState, dict[str, Array]]:
        ts, history = run(task, ts, train, batch_size=how.batch_size, validation_data=test)
        return ts, {name: history[name][0] for name in ("loss", "val_loss")}

    return many(one)(ts)


@compiled(static=2)
def _outputs(task: Task, problem: str, ts: TrainState, x: Array) -> Array:
    """What the maps show: (networks, cells), or (networks, cells, classes) probabilities."""

    def one(ts: TrainState) -> Array:
        y = task.model.apply(ts.params, ts.state, x)[0]
        if problem == "classes":
            return jax.nn.softmax(y)
        return jnp.tanh(y[:, 0] / 2) if problem == "binary" else jnp.clip(y[:, 0], -1, 1)

    found: Array = jax.vmap(one)(ts)
    return found
