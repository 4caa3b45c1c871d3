"""Learn learning rates and example weights from the gradient of the validation loss through a whole run.

    python examples/learn_the_learning_rate.py

A run is a function, so it has derivatives: with respect to the learning rate of each epoch and the momentum, and with
respect to the weight of each training example, of which a third are mislabelled here. `remat=True` stores only some of
the intermediate states and recomputes the others.
"""

import argparse
from collections.abc import Callable
from typing import Any

import experiment
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import fnn

BATCH, CLASSES = 25, 10
MODEL = fnn.Sequential(fnn.Dense(32, activation="tanh"), fnn.Dense(CLASSES))


def digits(seed: int, train: int) -> tuple[Any, Any, Any]:
    """Training, validation and test rows, as arrays on the device."""
    x, y = fnn.data.digits()[:2]
    x = x.reshape(len(x), -1)
    x, x_test, y, y_test = fnn.data.train_test_split(x, y, test_size=500, seed=seed, stratify=y)
    x, x_val, y, y_val = fnn.data.train_test_split(x, y, test_size=500, seed=seed, stratify=y)
    return jax.device_put(((x[:train], y[:train]), (x_val, y_val), (x_test, y_test)))


def compiled(loss: Callable[[Any], Any], example: Any) -> Any:
    """Compile the loss and its gradient."""
    return jax.jit(jax.value_and_grad(loss)).lower(example).compile()


def descend(gradient: Any, start: Any, steps: int, rate: float) -> tuple[Any, list[float]]:
    """Minimize over any pytree with Adam; return the best point and the loss at each step."""
    # Near the limit of stable training the slope grows without bound.
    optimizer = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(rate))
    place, state, losses, best = start, optimizer.init(start), [], start
    for _ in range(steps):
        loss, slope = gradient(place)
        losses.append(float(loss))
        best = place if losses[-1] == min(losses) else best
        updates, state = optimizer.update(slope, state, place)
        place = fnn.apply_updates(place, updates)
    return best, losses


# ------------------------------------------------------------------------------------ the learning rate of each epoch
def learn_rates(args: argparse.Namespace, axes: Any) -> None:
    train, validation, test = digits(args.seed, 400)
    epochs, steps = 8, len(train[0]) // BATCH
    # The constants of a schedule are leaves of the optimizer's state, so the loss has derivatives by them.
    schedule = fnn.schedules.piecewise_constant([steps * i - 1 for i in range(1, epochs)], [0.1] * epochs)
    optimizer = fnn.sgd(schedule, momentum=jnp.zeros(()))
    task = fnn.Task(MODEL, "sparse_categorical_crossentropy", optimizer, metrics=("accuracy",))
    ts = fnn.init(task, experiment.key(args.seed), train[0])

    def train_with(settings: dict[str, Any], remat: bool) -> tuple[Any, Any]:
        rates, momentum = jnp.exp(settings["log rates"]), jax.nn.sigmoid(settings["momentum"])
        start = fnn.set_hyper(ts, learning_rate={"values": tuple(rates)}, momentum=momentum)
        options = {"epochs": epochs, "batch_size": BATCH, "validation_data": validation}
        return fnn.run(task, start, train, **options, shuffle=False, remat=remat)

    def loss(settings: dict[str, Any], remat: bool = True) -> Any:
        return train_with(settings, remat)[1]["val_loss"][-1]

    guess = {"log rates": jnp.full(epochs, jnp.log(0.02)), "momentum": jnp.zeros(())}
    gradient = compiled(loss, guess)
    found, losses = descend(gradient, guess, 5 if args.quick else 60, 0.1)
    momentum = float(jax.nn.sigmoid(found["momentum"]))
    rates = " ".join(f"{rate:.3f}" for rate in np.exp(found["log rates"]))
    print(f"learned: momentum 0.50 -> {momentum:.2f}, rates of the epochs 0.02 -> {rates}")
    for name, settings, value in (("guess", guess, losses[0]), ("learned", found, min(losses))):
        accuracy = fnn.evaluate(task, train_with(settings, remat=False)[0], test)["accuracy"]
        print(f"{name:>8}: validation loss {value:.3f}, test accuracy {accuracy:.3f}")

    # The slope in one direction, from the gradient and from the difference of two runs.
    h = 0.02
    moved = jax.jit(lambda by: loss(jax.tree.map(lambda a: a + by, guess), remat=False))
    difference = float(moved(h) - moved(-h)) / (2 * h)
    slope = sum(float(leaf.sum()) for leaf in jax.tree.leaves(gradient(guess)[1]))
    print(f"slope along equal changes: {slope:.4f} from the gradient, {difference:.4f} from finite differences")

    every = compiled(lambda settings: loss(settings, remat=False), guess)
    much, few = (program.memory_analysis().temp_size_in_bytes / 1e6 for program in (every, gradient))
    print(f"memory of the gradient through {epochs * steps} steps: {much:.1f} MB, with remat=True {few:.1f} MB")

    numbers = np.arange(1, epochs + 1)
    axes[0].plot(numbers, np.exp(guess["log rates"]), "o--", color=fnn.plot.COLORS[1], label="guess, momentum 0.50")
    learned = f"learned, momentum {momentum:.2f}"
    axes[0].plot(numbers, np.exp(found["log rates"]), "s-", color=fnn.plot.COLORS[0], label=learned)
    axes[0].set(xlabel="epoch", ylabel="learning rate", title="The learning rate of each epoch")
    axes[0].set_ylim(0, 1.4 * axes[0].get_ylim()[1])  # room for the legend
    axes[0].legend(frameon=False)
    axes[1].plot(losses, color=fnn.plot.COLORS[0])
    axes[1].set(xlabel="training runs", ylabel="validation loss at the end", title="Each point is a whole training run")


# ----------------------------------------------------------------------------------------- the weight of each example
def learn_weights(args: argparse.Namespace, axes: Any) -> None:
    (x, y), validation, test = digits(args.seed, 600)
    rng = np.random.default_rng(args.seed)
    wrong = rng.permutation(len(y)) < len(y) // 3
    labels = jnp.where(wrong, (y + rng.integers(1, CLASSES, len(y))) % CLASSES, y).astype(y.dtype)
    task = fnn.Task(MODEL, "sparse_categorical_crossentropy", fnn.sgd(0.05, momentum=0.9), metrics=("accuracy",))
    ts = fnn.init(task, experiment.key(args.seed), x)
    options = {"epochs": 4, "batch_size": BATCH, "shuffle": False}

    def weights_of(logits: Any) -> Any:
        return 2 * jax.nn.sigmoid(logits)  # between 0 and 2, initially 1

    def loss(logits: Any) -> Any:
        data = (x, labels, weights_of(logits))
        _, history = fnn.run(task, ts, data, validation_data=validation, **options, remat=True)
        return history["val_loss"][-1]

    start = jnp.zeros(len(x))
    logits, _ = descend(compiled(loss, start), start, 5 if args.quick else 60, 0.5)
    weights = np.asarray(weights_of(logits))
    print(f"mean weight of correct labels {weights[~wrong].mean():.2f}, of wrong ones {weights[wrong].mean():.2f}")
    lightest = np.argsort(weights)[: wrong.sum()]
    print(f"of the {wrong.sum()} lightest examples {wrong[lightest].mean():.0%} have a wrong label (by chance 33%)")
    choices = {"equal weights": np.ones(len(x)), "learned weights": weights, "only right labels": 1.0 - wrong}
    for name, chosen in choices.items():
        after, _ = fnn.run(task, ts, (x, labels, jnp.asarray(chosen, jnp.float32)), **options)
        print(f"{name:>17}: test accuracy {fnn.evaluate(task, after, test)['accuracy']:.3f}")

    bins = np.linspace(0, 2, 21)
    for name, chosen, color, hatch in (("right", ~wrong, 0, None), ("wrong", wrong, 1, "///")):
        look = {"color": fnn.plot.COLORS[color], "alpha": 0.6, "hatch": hatch, "edgecolor": "white"}
        axes[0].hist(weights[chosen], bins, **look, label=f"{name} label ({chosen.sum()})")
    axes[0].set(xlabel="weight learned", ylabel="examples", title="The weight of each example")
    axes[0].legend(frameon=False)
    _show(axes[1], np.asarray(x).reshape(-1, 8, 8), np.asarray(labels), np.asarray(y), weights)


def _show(ax: Any, images: np.ndarray, labels: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> None:
    """Draw the examples of least weight, with the given and the true label."""
    count = 6
    least = np.argsort(weights)[: count * 4]
    size = images.shape[1]
    canvas = np.ones((4 * (size + 4), count * (size + 2)))
    for place, i in enumerate(least):
        row, column = divmod(place, count)
        top, left = row * (size + 4) + 3, column * (size + 2) + 1
        canvas[top : top + size, left : left + size] = 1 - images[i] / images.max()
        right = labels[i] == truth[i]
        text = f"{labels[i]}" if right else f"{labels[i]} ({truth[i]})"
        style = {"color": fnn.plot.RIGHT} if right else {"color": fnn.plot.WRONG, "weight": "bold"}
        ax.text(left + size / 2, top - 1.6, text, ha="center", va="center", fontsize=8, **style)
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=1)
    ax.set_axis_off()
    ax.set_title("Least weight: given label (true label if different)", fontsize=10)


def run(args: argparse.Namespace) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.4), layout="constrained")
    learn_rates(args, axes[0])
    print()
    learn_weights(args, axes[1])
    experiment.save(figure, args, "learn_the_learning_rate.png")


if __name__ == "__main__":
    run(experiment.parser(__doc__).parse_args())
