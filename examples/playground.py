"""The TensorFlow Playground's tasks on one page (reference experiment 13), offline.

    python examples/playground.py

The script also plots the vanishing gradient of a deep sigmoid network and animates how a network learns a decision
boundary. Sampling, splitting, training and testing a task is one pure function of a key, so all seeds train in one
program.
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import experiment
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn

SIZE = 500


class Problem(NamedTuple):
    """A data set, a network and a number of epochs."""

    title: str
    data: Callable[..., fnn.data.Dataset]
    hidden: tuple[int, ...]
    activation: str
    epochs: int
    noise: float = 0.1
    optimizer: fnn.Optimizer = fnn.adam(0.03)

    @property
    def task(self) -> fnn.Task:
        """Network, loss and optimizer."""
        layers = [fnn.Dense(units, activation=self.activation) for units in self.hidden]
        model = fnn.Sequential(*layers, fnn.Dense(1))
        if self.data in (fnn.data.plane, fnn.data.multi_gaussian):
            return fnn.Task(model, "mse", self.optimizer)
        return fnn.Task(model, "binary_crossentropy", self.optimizer, metrics=("accuracy",))


PROBLEMS = {
    "circles sigmoid": Problem("circles: 1 hidden layer, sigmoid", fnn.data.circles, (8,), "sigmoid", 60),
    "circles relu": Problem("circles: 1 hidden layer, relu", fnn.data.circles, (8,), "relu", 60),
    "xor 0": Problem("XOR: no hidden layer", fnn.data.xor, (), "linear", 60),
    "xor 1": Problem("XOR: 1 hidden layer, relu", fnn.data.xor, (8,), "relu", 100, 0.0),
    "gaussians": Problem("two Gaussians: no hidden layer", fnn.data.gaussians, (), "linear", 20),
    "spiral": Problem(
        "spiral: 3 hidden layers, relu", fnn.data.spiral, (32, 32, 32), "relu", 200, 0.0, fnn.adam(0.005)
    ),
    "plane": Problem("plane: no hidden layer", fnn.data.plane, (), "linear", 30),
    "surface": Problem(
        "six Gaussians: 2 hidden layers", fnn.data.multi_gaussian, (24, 24), "tanh", 250, 0.0, fnn.adam(0.01)
    ),
}
DEEP = {
    name: Problem(f"circles: 8 layers, {name}", fnn.data.circles, (16,) * 8, name, 100, 0.0, fnn.sgd(0.05))
    for name in ("sigmoid", "relu")
}


def draw_data(problem: Problem, key: jax.Array) -> tuple[Any, Any]:
    """Equally many training and test rows."""
    data_key, split_key = jax.random.split(key)
    x, y = problem.data(data_key, SIZE, noise=problem.noise)[:2]
    order = jax.random.permutation(split_key, SIZE)
    x, y = x[order], y.reshape(SIZE, 1)[order].astype(x.dtype)
    return (x[: SIZE // 2], y[: SIZE // 2]), (x[SIZE // 2 :], y[SIZE // 2 :])


def learn(problem: Problem, seeds: list[int], epochs: int) -> tuple[fnn.TrainState, dict[str, np.ndarray]]:
    """Train once for each seed, all in one program."""
    task = problem.task

    def trial(key: jax.Array) -> tuple[fnn.TrainState, dict[str, jax.Array]]:
        train, test = draw_data(problem, key)
        ts = fnn.init(task, jax.random.fold_in(key, 1), train[0][:1])
        return fnn.run(task, ts, train, epochs=epochs, batch_size=10, validation_data=test)

    ts, history = jax.jit(fnn.many(trial))(jnp.stack([experiment.key(seed) for seed in seeds]))
    return ts, {name: np.asarray(values) for name, values in history.items()}


def gradient_by_layer(problem: Problem, key: jax.Array) -> dict[str, float]:
    """The norm of the kernel gradient in each layer, before training."""
    task, (train, _) = problem.task, draw_data(problem, key)
    ts = fnn.init(task, key, train[0][:1])

    def loss(params: Any) -> jax.Array:
        return task.loss(task.model.apply(params, ts.state, train[0])[0], train[1]).mean()

    grads = jax.grad(loss)(ts.params)
    # JAX sorts dicts by key, so take the order of the layers from the number in each name.
    names = sorted(grads, key=lambda name: int(name.partition("_")[2] or 0))
    return {f"{i + 1}": float(jnp.linalg.norm(grads[name]["kernel"])) for i, name in enumerate(names)}


def draw(problem: Problem, params: Any, key: jax.Array, ax: Any, score: str) -> None:
    """Draw the learned decision boundary and the test rows."""
    task, (_, test) = problem.task, draw_data(problem, key)
    x, y = np.asarray(test[0]), np.asarray(test[1])[:, 0]
    y = y.astype(int) if "accuracy" in score else y
    fnn.plot.decision_boundary(lambda points: task.model.apply(params, {}, points)[0], x, y, ax=ax)
    ax.set_title(f"{problem.title}\n{score}", fontsize=9)
    ax.set(xlabel="", ylabel="")


def animate(problem: Problem, args: argparse.Namespace, frames: int = 40) -> None:
    """Animate the decision boundary, one frame for every few epochs."""
    from matplotlib.animation import FuncAnimation, PillowWriter

    key, task = experiment.key(args.seed), problem.task
    train, test = draw_data(problem, key)
    ts = fnn.init(task, jax.random.fold_in(key, 1), train[0][:1])
    frames = 3 if args.quick else frames
    seen = [ts.params]
    for _ in range(frames - 1):
        ts, _ = fnn.run(task, ts, train, epochs=max(1, problem.epochs // frames), batch_size=10)
        seen.append(ts.params)
    figure, ax = plt.subplots(figsize=(4, 4), layout="constrained")

    def frame(i: int) -> None:
        ax.clear()
        epoch = i * max(1, problem.epochs // frames)
        draw(problem, seen[i], key, ax, f"test accuracy, epoch {epoch}")
        logits = task.model.apply(seen[i], {}, test[0])[0]
        ax.set_title(f"epoch {epoch}: test accuracy {fnn.metrics.accuracy(logits, test[1], threshold=0.0):.2f}")

    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "spiral.gif"
    FuncAnimation(figure, frame, frames=frames).save(path, PillowWriter(fps=8), dpi=80)
    plt.close(figure)
    print(f"animation: {path}")


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    seeds, scores = experiment.seeds(args), {}
    figure, axes = plt.subplots(2, 5, figsize=(15, 6.4), layout="constrained")
    problems = PROBLEMS | {f"deep {name}": problem for name, problem in DEEP.items()}
    # The two plots with a colour bar go into the last column to keep the others aligned.
    names = [name for name in problems if name not in ("plane", "surface")]
    problems = {name: problems[name] for name in [*names[:4], "plane", *names[4:], "surface"]}
    for ax, (name, problem) in zip(axes.ravel(), problems.items(), strict=True):
        ts, history = learn(problem, seeds, 3 if args.quick else problem.epochs)
        metric = "accuracy" if "val_accuracy" in history else "loss"
        scores[name] = history[f"val_{metric}"][:, -1].tolist()
        shown = f"test {metric} {np.mean(scores[name]):.3f}"
        print(f"{problem.title}: {shown}")
        draw(problem, jax.tree.map(lambda a: a[0], ts.params), experiment.key(seeds[0]), ax, shown)
        if ax is not axes[0, 0] and ax.get_legend() is not None:
            ax.get_legend().remove()  # the first one serves all
    experiment.save(figure, args, "playground.png")

    norms = {name: gradient_by_layer(problem, experiment.key(args.seed)) for name, problem in DEEP.items()}
    ax = fnn.plot.layer_statistics(norms, ylabel="norm of the kernel's gradient")
    ax.set(title="the gradient before training, by layer", xlabel="layer")
    experiment.save(ax, args, "vanishing_gradient.png")
    animate(PROBLEMS["spiral"], args)

    ratio = [norms["sigmoid"]["1"] / norms["sigmoid"]["9"]]
    return [
        experiment.Figure(13, "circles, 1 hidden layer, sigmoid: test accuracy", scores["circles sigmoid"], 0.95),
        experiment.Figure(13, "circles, 1 hidden layer, relu: test accuracy", scores["circles relu"], 0.95),
        experiment.Figure(13, "XOR, no hidden layer: test accuracy", scores["xor 0"], 0.5, "equal to", 0.12),
        experiment.Figure(13, "XOR, 1 hidden layer: test accuracy", scores["xor 1"], 0.99),
        experiment.Figure(13, "spiral: test accuracy", scores["spiral"], 0.97),
        experiment.Figure(13, "plane: test MSE", scores["plane"], 0.02, "at most"),
        experiment.Figure(13, "six Gaussians: test MSE", scores["surface"], 0.02, "at most"),
        experiment.Figure(13, "8 sigmoid layers do not learn: test accuracy", scores["deep sigmoid"], 0.6, "at most"),
        experiment.Figure(13, "8 ReLU layers learn: test accuracy", scores["deep relu"], 0.95),
        experiment.Figure(13, "sigmoid: gradient of the first layer / the last", ratio, 1e-3, "at most", digits=6),
    ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
