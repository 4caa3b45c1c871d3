"""Nine optimizers race over two test surfaces.

    python examples/optimizer_race.py

All start at the same point, each with a suitable learning rate; each path is one compiled loop. No optimizer is best on
every surface, and the pictures do not show which is best for your network.
"""

import argparse
from collections.abc import Callable

import experiment
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn


def beale(p: jax.Array) -> jax.Array:
    """Beale (1958): flat valleys and steep corners; 0 at (3, 0.5)."""
    x, y = p
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def rosenbrock(p: jax.Array) -> jax.Array:
    """Rosenbrock (1960), with 20 instead of 100: a curved valley; 0 at (1, 1)."""
    x, y = p
    return (1 - x) ** 2 + 20 * (y - x**2) ** 2


SURFACES = {
    "Beale": (beale, (1.0, 1.5), (3.0, 0.5), (-0.5, -1.5), (4.5, 2.2)),
    "Rosenbrock": (rosenbrock, (-1.2, 1.2), (1.0, 1.0), (-1.7, -0.7), (1.7, 1.9)),
}


def optimizers(scale: float) -> dict[str, fnn.Optimizer]:
    """The nine optimizers; ``scale`` sets the rates of SGD, momentum and Nesterov."""
    return {
        "SGD": fnn.sgd(scale),
        "Momentum": fnn.sgd(scale / 3, momentum=0.9),
        "Nesterov": fnn.sgd(scale / 3, momentum=0.9, nesterov=True),
        "Adagrad": fnn.adagrad(0.3),
        "RMSprop": fnn.rmsprop(0.02),
        "Adadelta": fnn.adadelta(10.0),
        "Adam": fnn.adam(0.05),
        "Adamax": fnn.adamax(0.05),
        "Nadam": fnn.nadam(0.05),
    }


def path(
    optimizer: fnn.Optimizer, surface: Callable[[jax.Array], jax.Array], start: jax.Array, steps: int
) -> np.ndarray:
    """The optimizer's path, (steps + 1, 2) points, computed in one compiled loop."""

    def body(carry, _):
        p, state = carry
        updates, state = optimizer.update(jax.grad(surface)(p), state, p)
        p = fnn.apply_updates(p, updates)
        return (p, state), p

    _, points = jax.lax.scan(body, (start, optimizer.init(start)), length=steps)
    return np.concatenate([start[None], points])


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    steps = 50 if args.quick else 400
    figure, axes = plt.subplots(1, 2, figsize=(13, 6), layout="constrained")
    for ax, (name, (surface, start, minimum, low, high)) in zip(axes, SURFACES.items(), strict=True):
        race = optimizers(0.005 if name == "Beale" else 0.003)
        paths = {label: path(optimizer, surface, jnp.array(start), steps) for label, optimizer in race.items()}
        ends = {label: float(surface(points[-1])) for label, points in paths.items()}
        print(f"{name} after {steps} steps: " + ", ".join(f"{label} {value:.1e}" for label, value in ends.items()))
        fnn.plot.optimizer_paths(surface, paths, low=low, high=high, minimum=minimum, ax=ax)
        ax.set_title(f"{name}, {steps} steps")
    axes[1].get_legend().remove()  # the same as the first
    experiment.save(figure, args, "optimizer_race.png")
    return []


if __name__ == "__main__":
    experiment.main(run, __doc__)
