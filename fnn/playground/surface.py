"""A slice of the loss surface through the optimizer's path, along the two directions in which the path extends most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._core.types import Array, PyTree
from ..training.batch import Batch
from ..training.state import TrainState
from ..training.task import Task
from .journey import Journey
from .programs import Program, compiled
from .settings import RefusalError

POINTS = 60
"""Points of the path at most."""
LEAST = 3
"""Points of the path that a plane needs."""


class Plane(NamedTuple):
    """A plane through the path in the space of all weights; BatchNorm's statistics are those of now.

    Attributes:
      directions: two unit vectors, shaped as the parameters.
      across, down: coordinates of the columns, and of the rows from the largest down.
      path: for each point its epoch, its coordinates, and its own loss.
      explained: shares of the path's variance along the two directions.
    """

    directions: tuple[PyTree, PyTree]
    across: np.ndarray
    down: np.ndarray
    path: list[list[float]]
    explained: list[float]

    @staticmethod
    def through(journey: Journey, resolution: int) -> Plane:
        """The plane of the first two right singular vectors of the path's differences from the current parameters.

        The path consists of the states that are kept for time travel (Lorch 2016; Li et al. 2018, arXiv:1712.09913).

        Raises:
          RefusalError: for a path of fewer than three points, and weights that are not finite.
        """
        moments = journey.path(POINTS)
        if len(moments) < LEAST:
            raise RefusalError("", "train for a few epochs first.", "primero hay que entrenar unas épocas.")
        base, unravel = ravel_pytree(journey.now.ts.params)
        points = np.stack([np.asarray(ravel_pytree(moment.ts.params)[0], np.float64) for moment in moments])
        moves = points - np.asarray(base, np.float64)
        if not np.isfinite(moves).all():
            raise RefusalError("", "some weights are not finite.", "algunos pesos no son finitos.")
        _, sizes, vectors = np.linalg.svd(moves, full_matrices=False)
        plane = np.zeros((2, len(base)))
        plane[: len(vectors[:2])] = vectors[:2]
        places = moves @ plane.T
        low, high = places.min(0), places.max(0)
        margin = 0.25 * np.maximum(high - low, 0.25 * float((high - low).max()) or 1.0)
        across, down = np.linspace(low - margin, high + margin, resolution).astype(np.float32).T
        task, train = journey.experiment.task, journey.experiment.train
        state = journey.now.ts.state  # of BatchNorm, for all points of the path
        losses = [float(_loss(task, moment.ts._replace(state=state), train)) for moment in moments]
        path = [
            [float(moment.epoch), float(a), float(b), loss]
            for moment, (a, b), loss in zip(moments, places, losses, strict=True)
        ]
        explained = (sizes[:2] ** 2 / max(float((sizes**2).sum()), 1e-30)).tolist()
        u, v = (unravel(jnp.asarray(one, base.dtype)) for one in plane)
        return Plane((u, v), across, down[::-1], path, explained)

    @property
    def extent(self) -> list[float]:
        """Least and largest coordinate along the first direction, then along the second."""
        return [float(self.across[0]), float(self.across[-1]), float(self.down[-1]), float(self.down[0])]

    def row(self, journey: Journey, i: int) -> np.ndarray:
        """The losses of the training rows in row i of the plane."""
        across = jnp.asarray(self.across)
        places = jnp.stack([across, jnp.full_like(across, self.down[i])], 1)
        experiment = journey.experiment
        found = _slice(experiment.task, journey.now.ts, self.directions, experiment.train, places)
        return np.asarray(found, np.float32)


def surface_programs(journey: Journey, resolution: int) -> Iterator[Program]:
    """What a plane of this resolution runs."""
    task, train, ts = journey.experiment.task, journey.experiment.train, journey.now.ts
    yield _loss.program(task, ts, train)
    yield _slice.program(task, ts, (ts.params, ts.params), train, jnp.zeros((resolution, 2)))


@compiled(static=1)
def _slice(task: Task, ts: TrainState, plane: tuple[PyTree, PyTree], data: Batch, places: Array) -> Array:
    """Losses at ``params + a plane[0] + b plane[1]`` for each row ``(a, b)`` of ``places``."""

    def one(place: Array) -> Array:
        a, b = place
        moved = jax.tree.map(lambda p, u, v: p + a * u + b * v, ts.params, *plane)
        return _mean_loss(task, ts._replace(params=moved), data)

    losses: Array = jax.lax.map(one, places)
    return losses


def _mean_loss(task: Task, ts: TrainState, data: Batch) -> Array:
    loss: Array = task.parts[0].loss(task.model.apply(ts.params, ts.state, data.x)[0], data.y).mean()
    return loss


_loss = compiled(static=1)(_mean_loss)
