"""A slice of the loss surface through the optimizer's path, along the two directions in which the path extends most."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._core.typed import jit
from .._core.types import Array, PyTree
from ..training.task import Task
from .experiment import Experiment
from .journey import Journey
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
        losses = _path_losses(journey.experiment, journey.now.ts.state, [moment.ts.params for moment in moments])
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
        ts, across = journey.now.ts, jnp.asarray(self.across)
        task, data = journey.experiment.task, journey.experiment.train
        found = _slice(task, ts.params, ts.state, self.directions, data, across, jnp.full_like(across, self.down[i]))
        return np.asarray(found, np.float32)


@jit(static_argnums=0)
def _slice(
    task: Task,
    params: PyTree,
    state: PyTree,
    plane: tuple[PyTree, PyTree],
    data: tuple[Array, Array],
    a: Array,
    b: Array,
) -> Array:
    """Losses at ``params + a plane[0] + b plane[1]``, for several ``a`` and ``b``."""

    def one(a: Array, b: Array) -> Array:
        moved = jax.tree.map(lambda p, u, v: p + a * u + b * v, params, *plane)
        return _loss(task, moved, state, data)

    losses: Array = jax.lax.map(lambda place: one(*place), (a, b))
    return losses


@jit(static_argnums=0)
def _loss(task: Task, params: PyTree, state: PyTree, data: tuple[Array, Array]) -> Array:
    x, y = data
    loss: Array = task.parts[0].loss(task.model.apply(params, state, x)[0], y).mean()
    return loss


def _path_losses(experiment: Experiment, state: PyTree, path: list[PyTree]) -> list[float]:
    return [float(_loss(experiment.task, params, state, experiment.train)) for params in path]
