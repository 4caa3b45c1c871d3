"""The full text of messages about checkpoints; see helpers.check_messages."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
from helpers import check_messages

import fnn

KEY = jax.random.key(0)
PARAMS = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}}
SMALL = fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(1)), "mse", fnn.sgd(0.1))
LARGE = fnn.Task(fnn.Sequential(fnn.Dense(8), fnn.Dense(1)), "mse", fnn.sgd(0.1))


@functools.cache
def state(task):
    return fnn.init(task, KEY, (2,))


def load(content, like=PARAMS):
    Path("other").write_bytes(content)
    return fnn.load("other", like)


def damaged(place):
    content = bytearray(Path("small.safetensors").read_bytes())
    content[place] ^= 1
    return load(bytes(content), state(SMALL))


def test_messages(tmp_path, monkeypatch):
    path = Path(__file__).resolve().with_name("messages.txt")
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    fnn.save("small", state(SMALL))
    fnn.save("params", state(SMALL).params)
    check_messages(path, CASES)


CASES = {
    "the ending of Keras": lambda: fnn.save("model.h5", PARAMS),
    "a folder to save to": lambda: fnn.save("runs", PARAMS),
    "a function as a leaf": lambda: fnn.save("tanh", {"activation": jnp.tanh}),
    "a set as extra": lambda: fnn.save("extra", PARAMS, extra={"classes": {"cat", "dog"}}),
    "a misspelled name": (FileNotFoundError, lambda: fnn.load("smal", PARAMS)),
    "a folder that does not exist": (FileNotFoundError, lambda: fnn.load("rusn/small", PARAMS)),
    "a folder to load": lambda: fnn.load("runs", PARAMS),
    "an empty file": lambda: load(b""),
    "an HDF5 file": lambda: load(b"\x89HDF\r\n\x1a\n and more"),
    "a pickle": lambda: load(b"\x80\x04\x95 and more"),
    "another model's state": lambda: fnn.load("small", state(LARGE)),
    "another optimizer": lambda: fnn.load("small", fnn.init(SMALL.replace(optimizer="adam"), KEY, (2,))),
    "parameters into a state": lambda: fnn.load("params", state(SMALL)),
    "a pattern that matches nothing": lambda: fnn.load("small", state(SMALL), where="conv*"),
    "a damaged array": lambda: damaged(-1),
}
