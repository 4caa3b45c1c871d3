"""The full text of messages about layers; see helpers.check_messages."""

import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from helpers import check_messages

import fnn

KEY = jax.random.key(0)
IMAGES = np.ones((2, 8, 8, 3), "f")
ROWS = np.ones((2, 4), "f")
STEPS = np.ones((2, 5, 3), "f")
ATTENTION = fnn.MultiHeadAttention(2, 4)


def apply(layer, x, given, **options):
    """With parameters from NumPy, which compiles nothing."""
    return layer.apply(*ones(layer, x), given, **options)


def ones(layer, x):
    return jax.tree.map(lambda a: np.ones(a.shape, a.dtype), jax.eval_shape(layer.init, KEY, x))


def chain(layers, x):
    return layers.a(x)


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "an unknown activation": lambda: fnn.Dense(3, activation="rellu"),
    "an unknown initializer": lambda: fnn.Dense(3, kernel_initializer="xavier"),
    "the name of an activation among the layers": lambda: fnn.Sequential(fnn.Dense(3), "relu"),
    "a function among the layers": lambda: fnn.Sequential(fnn.Dense(3), jax.nn.relu),
    "a layer that is not called": lambda: fnn.Sequential(fnn.Flatten, fnn.Dense(3)),
    "a recurrent layer that is not called": lambda: fnn.Bidirectional(fnn.LSTM),
    "a float of NumPy as units": lambda: fnn.Dense(np.float32(3.0)),
    "a flag as text": lambda: fnn.Dense(3, use_bias="False"),
    "rows of another width": lambda: apply(fnn.Sequential(fnn.Dense(8), fnn.Dense(3)), ROWS, ROWS[:, :3]),
    "images of bytes": lambda: fnn.summary(fnn.Dense(3), np.ones((2, 784), np.uint8)),
    "parameters in float32, input in bfloat16": lambda: apply(fnn.Dense(3), ROWS, jnp.ones((2, 4), jnp.bfloat16)),
    "the parameters of another model": lambda: fnn.Sequential(fnn.Dense(8), fnn.Dense(3)).apply(
        *ones(fnn.Sequential(fnn.Dense(8), fnn.BatchNorm()), ROWS), ROWS
    ),
    "images without a channel axis": lambda: fnn.summary(fnn.Conv(8, (3, 3)), IMAGES[..., 0]),
    "images with four channels": lambda: apply(fnn.Conv(8, 3), IMAGES, np.ones((2, 8, 8, 4), "f")),
    "the padding of another library": lambda: fnn.Conv(8, 3, padding="zeros"),
    "a window larger than the image": lambda: fnn.summary(fnn.Conv(8, 9), IMAGES),
    "Dropout without a key": lambda: apply(fnn.Dropout(0.5), ROWS, ROWS, train=True),
    "Add of one array": lambda: apply(fnn.Add(), (ROWS, ROWS), ROWS),
    "arrays of other shapes to be added": lambda: fnn.Add().apply({}, {}, (ROWS, ROWS[:, :3])),
    "a mask with one of two inputs": lambda: fnn.Add().apply({}, {}, (fnn.Masked(STEPS, np.ones((2, 5), bool)), STEPS)),
    "sequences of other lengths to be concatenated": lambda: fnn.Concatenate().apply({}, {}, (STEPS, STEPS[:, :4])),
    "grey images without a channel axis": lambda: fnn.summary(fnn.RandomFlip("horizontal"), IMAGES[..., 0]),
    "degrees as a part of a turn": lambda: fnn.RandomRotation(20),
    "an unknown fill_mode": lambda: fnn.RandomZoom(0.1, fill_mode="mirror"),
    "augmentation without a key": lambda: apply(fnn.RandomFlip(), IMAGES, IMAGES, train=True),
    "a layer of rows in TimeDistributed": lambda: fnn.summary(fnn.TimeDistributed(fnn.Dense(3)), ROWS),
    "padding for other axes": lambda: fnn.summary(fnn.ZeroPadding((1, 2, 3)), IMAGES),
    "floats as ids": lambda: fnn.summary(fnn.Embedding(10, 4), ROWS),
    "rows without a time axis": lambda: fnn.summary(fnn.LSTM(8), ROWS),
    "a mask of another length": lambda: apply(fnn.LSTM(8), STEPS, fnn.Masked(STEPS, np.ones((2, 4), bool))),
    "a body that changes the shape": lambda: fnn.summary(fnn.Residual(fnn.Dense(3)), ROWS),
    "attention to a sequence of another width": lambda: apply(ATTENTION, (STEPS, ROWS[None]), (ROWS[None], ROWS[None])),
    "attention without a time axis": lambda: fnn.summary(ATTENTION, ROWS),
    "four sequences": lambda: fnn.summary(ATTENTION, (STEPS,) * 4),
    "a mask by another name": lambda: fnn.summary(ATTENTION, {"query": STEPS, "attention_mask": STEPS}),
    "a mask without a batch axis": lambda: apply(ATTENTION, STEPS, {"query": STEPS, "mask": np.ones((5, 5), bool)}),
    "a mask of numbers": lambda: apply(ATTENTION, STEPS, {"query": STEPS, "mask": np.ones((2, 5, 5))}),
    "a mask of another length, for attention": lambda: apply(
        ATTENTION, STEPS, {"query": STEPS, "mask": np.ones((2, 5, 4), bool)}
    ),
    "causal attention to a longer sequence": lambda: apply(
        fnn.MultiHeadAttention(2, 4, causal=True), (STEPS, STEPS), (STEPS, STEPS[:, :4])
    ),
    "key heads that do not divide the heads": lambda: fnn.MultiHeadAttention(4, 8, num_key_value_heads=3),
    "no heads": lambda: fnn.MultiHeadAttention(0, 8),
    "attention in bfloat16, parameters in float32": lambda: apply(ATTENTION, STEPS, jnp.ones((2, 5, 3), jnp.bfloat16)),
    "attention dropout without a key": lambda: apply(
        fnn.MultiHeadAttention(2, 4, dropout=0.5), STEPS, STEPS, train=True
    ),
    "an unknown implementation": lambda: fnn.MultiHeadAttention(2, 4, implementation="flash"),
    "cuDNN without a GPU": lambda: fnn.attention(*[np.ones((1, 5, 2, 4), "f")] * 3, implementation="cudnn"),
    "heads that differ": lambda: fnn.attention(*(np.ones((1, 5, n, 4), "f") for n in (3, 2, 2))),
    "a cache of a model that is not causal": lambda: fnn.with_cache(fnn.Residual(ATTENTION), {}, STEPS, 9),
    "a sequence longer than its positions": lambda: apply(fnn.PositionEmbedding(4), STEPS[:, :2], STEPS),
    "groups that do not divide the features": lambda: fnn.summary(fnn.GroupNorm(), STEPS),
    "a repeated layer that changes the shape": lambda: apply(fnn.Repeated(fnn.Dense(4), 2), STEPS, STEPS),
    "a function among the layers of a Model": lambda: fnn.Model(chain, a=jax.nn.relu),
    "a layer of a Model that is called name": lambda: fnn.Model(chain, name=fnn.Dense(3)),
    "a Model without layers": lambda: fnn.Model(chain),
    "a Model of empty lists": lambda: fnn.Model(chain, blocks=[]),
    "a forward with Keras's name for train": lambda: fnn.Model(lambda layers, x, training: x, a=fnn.Dense(3)),
    "a forward of two inputs": lambda: fnn.Model(lambda layers, left, right: left, a=fnn.Dense(3)),
    "a forward without return": lambda: fnn.summary(fnn.Model(lambda layers, x: None, a=fnn.Dense(3)), ROWS),
    "a promise that a layer breaks": lambda: fnn.Model(chain, a=fnn.BatchNorm(), per_example=True),
    "a layer's name with a slash": lambda: fnn.Dense(3, name="head/out"),
    "a layer in the place of forward": lambda: fnn.Model(fnn.Dense(3), a=fnn.Dense(3)),
    "a layer that forward does not call": lambda: fnn.summary(fnn.Model(chain, a=fnn.Dense(3), b=fnn.Dense(3)), ROWS),
    "the parameters of another Model": lambda: fnn.Model(chain, a=fnn.Dense(3)).apply({"dense": {}}, {}, ROWS),
    "an initializer of Keras": lambda: fnn.Dense(3, kernel_initializer="RandomNormal"),
    "an initializer with a value": lambda: fnn.Dense(3, bias_initializer="constant"),
    "an activation of scikit-learn": lambda: fnn.Dense(3, activation="logistic"),
    "padding by the word explicit": lambda: fnn.MaxPool(2, padding="explicit"),
    "an activation of two arguments": lambda: fnn.Dense(3, activation=lambda x, slope: x),
    "an activation without a return": lambda: apply(fnn.Sequential(fnn.Activation(lambda x: None)), ROWS, ROWS),
    "a layer whose apply lacks key and train": lambda: fnn.Layer(lambda key, x: ({}, {}), lambda p, s, x: (x, s)),
    "a class of a layer": (TypeError, lambda: type("Gate", (fnn.Layer,), {})),
    "a class of a constructor": (TypeError, lambda: types.new_class("Block", (fnn.Sequential,))),
}
