"""The full text of messages about text; see helpers.check_messages."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from helpers import check_messages

import fnn
from fnn import text

KEY = jax.random.key(0)
TASK = fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(1)), "mse", fnn.sgd(0.1))
VOCABULARY = text.Vocabulary.of("hello world")
LOGITS = np.zeros((1, 8), "f")
LSTM = fnn.Sequential(fnn.LSTM(4, input_dim=8), fnn.Dense(8))
FLAT = fnn.Sequential(fnn.Embedding(8, 2), fnn.Flatten(), fnn.Dense(8))
BOTH = fnn.Sequential(fnn.Bidirectional(fnn.LSTM(4, input_dim=8)), fnn.Dense(8))


def generate(prompt, model=LSTM, **options):
    params, states = LSTM.init(KEY, jnp.zeros((1, 5), int))
    return text.generate_text(model, params, states, VOCABULARY, prompt, KEY, length=5, **options)


def step(carry, symbol):
    return carry, jnp.zeros(8)


def test_messages():
    check_messages(Path(__file__).with_name("messages.txt"), CASES)


CASES = {
    "a text as the symbols of a vocabulary": lambda: text.Vocabulary("hello world"),
    "a symbol outside the vocabulary": lambda: VOCABULARY.encode("Hello!"),
    "a replacement outside the vocabulary": lambda: VOCABULARY.encode("Hello!", unknown="?"),
    "logits to decode": lambda: VOCABULARY.decode(LOGITS),
    "an id outside the vocabulary": lambda: VOCABULARY.decode([0, 8]),
    "text that is not encoded": lambda: text.windows("hello world", 3),
    "a text shorter than a window": lambda: text.windows(VOCABULARY.encode("hello"), 5),
    "a negative temperature": lambda: text.sample(KEY, LOGITS, -1.0),
    "top_k beyond the symbols": lambda: text.sample(KEY, LOGITS, top_k=20),
    "logits of NaN": lambda: text.sample(KEY, LOGITS * np.nan),
    "logits before the key": lambda: text.sample(LOGITS, KEY),
    "an empty prompt": lambda: generate(""),
    "a prompt shorter than the window": lambda: generate("hello", FLAT, width=8),
    "prompts of several lengths without a width": lambda: generate(["hello", "he"], memory="window"),
    "a width with a carry": lambda: generate("hello", memory="carry", width=4),
    "a carry for a model that looks ahead": lambda: generate("hello", BOTH, memory="carry"),
    "a carry for a model without one": lambda: generate("hello", FLAT, memory="carry"),
    "another memory": lambda: generate("hello", memory="cache"),
    "a task in place of its model": (
        TypeError,
        lambda: generate("hello", fnn.Task(LSTM, "sparse_categorical_crossentropy")),
    ),
    "parameters in place of the state": lambda: text.generate_text(TASK, {}, VOCABULARY, "hello", KEY),
    "a step that returns only logits": lambda: text.generate_from(lambda c, s: jnp.zeros(8), 0, [1], KEY, 3),
    "a prompt of text for a step": lambda: text.generate_from(step, jnp.zeros(4), "hello", KEY, 3),
}
