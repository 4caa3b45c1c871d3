"""User-defined functions, which a process that loads a model has without the code of the model."""

import jax
import jax.numpy as jnp


def gate(x):
    return x * jax.nn.sigmoid(1.7 * x)


def two_inputs(layers, x):
    h = jnp.concatenate([layers.stem(x["image"]), layers.stem(x["other"]), layers.table(x["row"])], axis=-1)
    for block in layers.blocks:
        h = block(h)
    return {"digit": layers.digit(h), "angle": layers.angle(h)}


def cubic(predictions, targets):
    return jnp.mean(jnp.abs(predictions - targets) ** 3, axis=tuple(range(1, predictions.ndim)))


def later(step):
    return 0.1 / (1 + step)


CUSTOM = {"gate": gate, "forward": two_inputs, "cubic": cubic, "later": later}
