"""The full text of messages about penalties, checkpoints and text; see helpers.check_messages."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers import check_messages

import fnn
from fnn import penalties, text

KEY = jax.random.key(0)
PARAMS = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}}
SMALL = fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(1)), "mse", fnn.sgd(0.1))
LARGE = fnn.Task(fnn.Sequential(fnn.Dense(8), fnn.Dense(1)), "mse", fnn.sgd(0.1))
VOCABULARY = text.Vocabulary.of("hello world")
LOGITS = np.zeros((1, 8), "f")
LSTM = fnn.Sequential(fnn.LSTM(4, input_dim=8), fnn.Dense(8))


def doubled(x):
    return 2 * x


OWN = fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Activation(doubled), fnn.Dense(1)), "mse", fnn.sgd(0.1))
OPTAX = SMALL.replace(optimizer=optax.sgd(0.1))


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


def generate(prompt, model=LSTM, **options):
    params, states = LSTM.init(KEY, jnp.zeros((1, 5), int))
    return text.generate_text(model, params, states, VOCABULARY, prompt, KEY, length=5, **options)


def step(carry, symbol):
    return carry, jnp.zeros(8)


def test_messages(tmp_path, monkeypatch):
    path = Path(__file__).resolve().with_name("messages.txt")
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    fnn.save("small", state(SMALL))
    fnn.save("params", state(SMALL).params)
    fnn.save("with_task", state(SMALL), SMALL)
    fnn.save("own", state(OWN), OWN, custom={"doubled": doubled})
    check_messages(path, PENALTIES | CHECKPOINTS | TASKS | TEXT)


PENALTIES = {
    "penalties: a negative rate": lambda: penalties.l2(-1e-4),
    "penalties: the pattern before the rate": lambda: penalties.l2("*kernel", 1e-4),
    "penalties: an index as a pattern": lambda: penalties.l1(1e-4, 0),
    "penalties: a pattern that matches nothing": lambda: penalties.l2(1e-4, "conv*")(PARAMS),
    "penalties: a constraint of norm 0": lambda: penalties.max_norm(0.0),
    "penalties: an axis that a bias does not have": lambda: penalties.unit_norm("*bias", axis=1)(PARAMS),
    "penalties: a name as an axis": lambda: penalties.max_norm(1.0, axis="rows"),
    "penalties: a rate among penalties": lambda: penalties.total(penalties.l2(1e-4), 0.1),
    "penalties: an array among penalties": lambda: penalties.total(jnp.ones(2)),
    "penalties: a chain of nothing": lambda: penalties.chain(),
    "penalties: integer parameters": lambda: penalties.l2(1e-4)({"kernel": jnp.arange(3)}),
}
CHECKPOINTS = {
    "checkpoint: the ending of Keras": lambda: fnn.save("model.h5", PARAMS),
    "checkpoint: a folder to save to": lambda: fnn.save("runs", PARAMS),
    "checkpoint: a function as a leaf": lambda: fnn.save("tanh", {"activation": jnp.tanh}),
    "checkpoint: a set as extra": lambda: fnn.save("extra", PARAMS, extra={"classes": {"cat", "dog"}}),
    "checkpoint: a misspelled name": (FileNotFoundError, lambda: fnn.load("smal", PARAMS)),
    "checkpoint: a folder that does not exist": (FileNotFoundError, lambda: fnn.load("rusn/small", PARAMS)),
    "checkpoint: a folder to load": lambda: fnn.load("runs", PARAMS),
    "checkpoint: an empty file": lambda: load(b""),
    "checkpoint: an HDF5 file": lambda: load(b"\x89HDF\r\n\x1a\n and more"),
    "checkpoint: a pickle": lambda: load(b"\x80\x04\x95 and more"),
    "checkpoint: another model's state": lambda: fnn.load("small", state(LARGE)),
    "checkpoint: another optimizer": lambda: fnn.load("small", fnn.init(SMALL.replace(optimizer="adam"), KEY, (2,))),
    "checkpoint: parameters into a state": lambda: fnn.load("params", state(SMALL)),
    "checkpoint: a pattern that matches nothing": lambda: fnn.load("small", state(SMALL), where="conv*"),
    "checkpoint: a damaged array": lambda: damaged(-1),
}
TASKS = {
    "task: a function without a name": lambda: fnn.save("own", state(OWN), OWN),
    "task: a lambda": lambda: fnn.save("own", state(SMALL), SMALL.replace(loss=lambda p, t: (p - t)[:, 0])),
    "task: another function of that name": lambda: fnn.save("own", state(OWN), OWN, custom={"doubled": step}),
    "task: an optimizer of optax": lambda: fnn.save("own", state(OPTAX), OPTAX),
    "task: a layer changed by replace": lambda: fnn.save(
        "own", state(SMALL), SMALL.replace(model=fnn.Dense(1).replace(per_example=False))
    ),
    "task: a set as an argument": lambda: fnn.save(
        "own", state(SMALL), SMALL.replace(loss=functools.partial(fnn.losses.huber, delta={1, 2}))
    ),
    "task: a traced number": lambda: jax.jit(
        lambda rate: fnn.save("own", state(SMALL), SMALL.replace(optimizer=fnn.sgd(rate)))
    )(0.1),
    "task: functions as a list": lambda: fnn.save("own", state(OWN), OWN, custom=[doubled]),
    "task: before the state": lambda: fnn.save("own", SMALL, state(SMALL)),
    "task: with another optimizer": lambda: fnn.save("own", state(SMALL), SMALL.replace(optimizer="adam")),
    "task: with parameters alone": lambda: fnn.save("own", state(SMALL).params, SMALL),
    "task: loaded from a file without one": lambda: fnn.load("small"),
    "task: loaded without its functions": lambda: fnn.load("own"),
    "task: in place of a state": lambda: fnn.load("with_task", SMALL),
    "task: without a state": lambda: fnn.load("with_task", task=SMALL),
    "task: of a part of the file": lambda: fnn.load("with_task", state(SMALL), SMALL, where="dense"),
    "task: another network": lambda: fnn.load("with_task", state(LARGE), LARGE),
}
TEXT = {
    "text: a text as the symbols of a vocabulary": lambda: text.Vocabulary("hello world"),
    "text: a symbol outside the vocabulary": lambda: VOCABULARY.encode("Hello!"),
    "text: a replacement outside the vocabulary": lambda: VOCABULARY.encode("Hello!", unknown="?"),
    "text: logits to decode": lambda: VOCABULARY.decode(LOGITS),
    "text: an id outside the vocabulary": lambda: VOCABULARY.decode([0, 8]),
    "text: text that is not encoded": lambda: text.windows("hello world", 3),
    "text: a text shorter than a window": lambda: text.windows(VOCABULARY.encode("hello"), 5),
    "text: a negative temperature": lambda: text.sample(KEY, LOGITS, -1.0),
    "text: top_k beyond the symbols": lambda: text.sample(KEY, LOGITS, top_k=20),
    "text: logits of NaN": lambda: text.sample(KEY, LOGITS * np.nan),
    "text: logits before the key": lambda: text.sample(LOGITS, KEY),
    "text: an empty prompt": lambda: generate(""),
    "text: a prompt shorter than the window": lambda: generate("hello", width=8),
    "text: a task in place of its model": (
        TypeError,
        lambda: generate("hello", fnn.Task(LSTM, "sparse_categorical_crossentropy")),
    ),
    "text: parameters in place of the state": lambda: text.generate_text(SMALL, {}, VOCABULARY, "hello", KEY),
    "text: a step that returns only logits": lambda: text.generate_from(lambda c, s: jnp.zeros(8), 0, [1], KEY, 3),
    "text: a prompt of text for a step": lambda: text.generate_from(step, jnp.zeros(4), "hello", KEY, 3),
}
