"""Texts generated with a carry and with windows: against NumPy, against each other, alone and as one batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn import text

SYMBOLS, VOCABULARY, KEY = 5, text.Vocabulary("abcde"), jax.random.key(7)
PROMPT = "adbeca"
LENGTH = 30  # symbols to generate, in most tests the same so that they share programs


def attending(**options):
    return fnn.Residual(fnn.LayerNorm(), fnn.MultiHeadAttention(2, 2, causal=True, **options))


MODELS = {
    "LSTM": lambda each: [fnn.LSTM(6, input_dim=SYMBOLS, return_sequences=each)],
    "two LSTMs": lambda each: [
        fnn.OneHot(SYMBOLS),
        fnn.LSTM(4, return_sequences=True),
        fnn.LayerNorm(),
        fnn.LSTM(3, return_sequences=each),
    ],
    "GRU": lambda each: [fnn.Embedding(SYMBOLS, 4), fnn.GRU(6, return_sequences=each), fnn.Dense(4, "tanh")],
    "GRU before": lambda each: [fnn.GRU(6, input_dim=SYMBOLS, reset_after=False, return_sequences=each)],
    "SimpleRNN": lambda each: [
        fnn.SimpleRNN(4, input_dim=SYMBOLS, return_sequences=True),
        fnn.Repeated(fnn.SimpleRNN(4, return_sequences=True), 2),
        fnn.SimpleRNN(4, return_sequences=each),
    ],
    "attention": lambda each: [
        fnn.Embedding(SYMBOLS, 4),
        attending(rotary=True),
        fnn.LSTM(4, return_sequences=each),
    ],
}
FAST = ("LSTM", "two LSTMs", "GRU")
NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]


@functools.cache
def made(name, each=True):
    """A task and its state, with weights large enough that a text depends on what was read long before."""
    task = fnn.Task(fnn.Sequential(*MODELS[name](each), fnn.Dense(SYMBOLS)), "sparse_categorical_crossentropy")
    ts = fnn.init(task, jax.random.key(0), VOCABULARY.encode(PROMPT)[None])
    return task, ts._replace(params=jax.tree.map(lambda a: 2.5 * np.asarray(a), ts.params))


def write(name, prompt=PROMPT, key=KEY, *, each=True, length=LENGTH, **options):
    return text.generate_text(*made(name, each), VOCABULARY, prompt, key, length=length, **options)


@functools.cache
def outputs(name):
    """The outputs after each step of a padded text; none of these models looks ahead."""
    task, ts = made(name)
    return jax.jit(lambda ids: task.model.apply(ts.params, ts.state, ids[None])[0][0])


noise = jax.jit(jax.vmap(lambda key: jax.random.gumbel(key, (SYMBOLS,))))


def reading(name, prompt, key, *, length=LENGTH, temperature=1.0, width=None):
    """The text from the outputs of the model for all (or the last ``width``) symbols so far, read anew each time."""
    ids = VOCABULARY.encode(prompt).tolist()
    for row in np.asarray(noise(jax.random.split(key, length))):
        seen = ids if width is None else ids[-width:]
        y = np.asarray(outputs(name)(np.array(seen + [0] * (40 - len(seen)))))[len(seen) - 1]
        ids.append(int(np.argmax(y + np.float32(temperature) * row)))
    return VOCABULARY.decode(ids[len(prompt) :])


@pytest.mark.parametrize("name", NAMES)
def test_a_carry_gives_what_reading_the_whole_text_gives(name):
    new = write(name)
    assert new == write(name, memory="carry") == reading(name, PROMPT, KEY)
    assert len(set(new)) > 1
    assert write(name, temperature=0) == reading(name, PROMPT, KEY, temperature=0)
    assert new != write(name, key=jax.random.key(8))
    if name == "LSTM":
        assert write(name, "b", length=1) == reading(name, "b", KEY, length=1)


@pytest.mark.parametrize("each", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_a_carry_and_a_window_agree_until_the_window_is_full(name, each):
    """A window that is not full yet is padded, and padding is not read."""
    width = len(PROMPT) + 5
    carry = write(name, each=each, memory="carry")
    window = write(name, each=each, memory="window", width=width)
    # The symbol after a full window still follows from all before it.
    same = width - len(PROMPT) + 1
    assert window[:same] == carry[:same]
    if name == "LSTM":  # which remembers for long
        assert window != carry
    assert window == reading(name, PROMPT, KEY, width=width)


def test_the_default_is_what_the_model_was_trained_for():
    """Outputs for each step: the carry; the last output only, or a width: windows."""
    assert write("LSTM") == write("LSTM", memory="carry") != write("LSTM", memory="window")
    last = functools.partial(write, "LSTM", each=False)
    assert last() == last(memory="window") == last(width=len(PROMPT)) != last(memory="carry")
    assert write("LSTM", width=3) == write("LSTM", width=3, memory="window")
    assert write("LSTM", width=3) == write("LSTM", PROMPT[-3:], memory="window")


PROMPTS = [PROMPT, "b", "eeaadcbb", "cdaeb", PROMPT]  # alone with a carry, all but the second share a program


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LSTM", {}),
        ("LSTM", {"memory": "window", "width": 7}),
        ("two LSTMs", {"temperature": 0.0}),
        pytest.param("attention", {}, marks=pytest.mark.slow),
        pytest.param("attention", {"width": 7, "top_k": 2}, marks=pytest.mark.slow),
    ],
)
def test_prompts_in_one_batch_give_what_each_gives_alone(name, options):
    together = write(name, PROMPTS, **options)
    assert together == [write(name, one, jax.random.fold_in(KEY, i), **options) for i, one in enumerate(PROMPTS)]
    if options.get("temperature", 1):
        assert together[0] != together[4], "each text has a key of its own"


def test_many_texts_of_one_prompt():
    texts = write("LSTM", [PROMPT] * 6)
    assert [len(new) for new in texts] == [LENGTH] * 6
    assert len(set(texts)) == 6
    assert texts == write("LSTM", (PROMPT,) * 6)
    assert texts[:1] == write("LSTM", [PROMPT]) == [write("LSTM", key=jax.random.fold_in(KEY, 0))]


def lstm_in_numpy(params, ids):
    """The probabilities after each symbol, in float64; gates in the order i, f, c, o."""
    kernel, recurrent, bias = (np.float64(params["lstm"][k]) for k in ("kernel", "recurrent_kernel", "bias"))
    h = c = np.zeros(len(recurrent))
    rows = []
    for symbol in ids:
        i, f, g, o = np.split(kernel[symbol] + h @ recurrent + bias, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        powers = np.exp(h @ np.float64(params["dense"]["kernel"]) + np.float64(params["dense"]["bias"]))
        rows.append(powers / powers.sum())
    return np.array(rows)


def test_probabilities_of_each_next_symbol_equal_numpy():
    """In pieces: a prompt of several symbols at once, and then 20 symbols one at a time."""
    task, ts = made("LSTM")
    ids = np.random.default_rng(0).integers(SYMBOLS, size=26)

    @jax.jit
    def pieces(state, ids):
        first, state = task.model.apply(ts.params, state, ids[None, :6])

        def step(state, symbol):
            y, state = task.model.apply(ts.params, state, symbol[None, None])
            return state, y[0, 0]

        return jnp.concatenate([first[0], jax.lax.scan(step, state, ids[6:])[1]])

    found = jax.nn.softmax(pieces(fnn.with_cache(task.model, ts.state, ids[None], 26), ids))
    right = lstm_in_numpy(ts.params, ids)
    assert right.max(0).min() > 0.25, "the symbols matter"
    np.testing.assert_allclose(found, right, atol=1e-5)


def test_frequencies_of_many_texts_follow_numpy():
    """What is drawn after a prompt, read with the carry, has the probabilities of the reference."""
    _, ts = made("LSTM")
    texts = write("LSTM", [PROMPT] * 4000, length=1)
    found = np.bincount(VOCABULARY.encode("".join(texts)), minlength=SYMBOLS) / len(texts)
    np.testing.assert_allclose(found, lstm_in_numpy(ts.params, VOCABULARY.encode(PROMPT))[-1], atol=0.03)


@pytest.mark.slow
def test_half_precision_and_positions():
    """A task that computes in bfloat16 keeps its carry; learned positions count from the first symbol of each text."""
    layers = [fnn.Embedding(SYMBOLS, 4), fnn.PositionEmbedding(18), attending(), fnn.GRU(4, return_sequences=True)]
    model = fnn.Sequential(*layers, fnn.Dense(SYMBOLS))
    task = fnn.Task(model, "sparse_categorical_crossentropy", compute_dtype="bfloat16")
    ts = fnn.init(task, KEY, VOCABULARY.encode(PROMPT)[None])
    generate = functools.partial(text.generate_text, task, ts, VOCABULARY, key=KEY)
    assert generate(prompt=["abc", "abcde"], length=14)[1] == generate(
        prompt="abcde", key=jax.random.fold_in(KEY, 1), length=14
    )
    # 5 + 14 - 1 = 18 steps are as many as there are positions; a cache of the bucket's length would have too few.
    with pytest.raises(fnn.InputError, match=r"memory='carry' > .*PositionEmbedding.*18.*memory='window'"):
        generate(prompt="abcde", length=15)
    with pytest.raises(fnn.InputError, match=r"at least 8 characters, the window width, got 5.*leave out the padding"):
        generate(prompt="abcde", length=5, width=8)


def built(*layers):
    task = fnn.Task(fnn.Sequential(fnn.Embedding(SYMBOLS, 4), *layers), "sparse_categorical_crossentropy")
    ts = fnn.init(task, KEY, VOCABULARY.encode(PROMPT)[None])
    return task, ts._replace(params=jax.tree.map(lambda a: 4 * np.asarray(a), ts.params))


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (
            lambda: [fnn.Bidirectional(fnn.LSTM(3, return_sequences=True)), fnn.Dense(SYMBOLS)],
            "Bidirectional, which also reads from the end, in 'bidirectional'",
        ),
        (lambda: [fnn.GRU(SYMBOLS, go_backwards=True)], "go_backwards=True in 'gru'"),
        (lambda: [fnn.MultiHeadAttention(1, 2), fnn.LSTM(SYMBOLS)], "causal=False in 'multi_head_attention'"),
        (lambda: [fnn.Dense(SYMBOLS)], "neither recurrent layers nor causal attention"),
    ],
)
def test_models_without_a_carry(layers, reason):
    """Asked for a carry, a model names the layer that has none; otherwise it reads windows."""
    generate = functools.partial(text.generate_text, *built(*layers()), VOCABULARY, PROMPT, KEY, length=8)
    with pytest.raises(fnn.InputError, match=rf"memory='carry' a model .*got {reason}\. Pass memory='window'"):
        generate(memory="carry")
    assert generate() == generate(memory="window")


def test_layers_that_mix_steps_are_found_by_their_outputs():
    layers = [fnn.LSTM(4, return_sequences=True), fnn.Conv(SYMBOLS, 2, padding="causal")]
    generate = functools.partial(text.generate_text, *built(*layers), VOCABULARY, PROMPT, KEY, length=8)
    with pytest.raises(fnn.InputError, match=r"alone look at earlier steps, got other outputs with a carry.*window"):
        generate()
    assert len(generate(memory="window")) == 8


def test_memory_refuses():
    with pytest.raises(fnn.InputError, match="memory to be 'carry', 'window' or None, got 'cache'"):
        write("LSTM", memory="cache")
    with pytest.raises(fnn.InputError, match=r"no window width with memory='carry', got width=4. Leave width= out"):
        write("LSTM", memory="carry", width=4)
    with pytest.raises(fnn.InputError, match=r"prompts of one length, or width=\.\.\., got 2 to 3 characters"):
        write("LSTM", ["abc", "ab"], memory="window")
    with pytest.raises(fnn.InputError, match="at least one prompt, got an empty list"):
        write("LSTM", [])
    with pytest.raises(fnn.InputError, match=r"prompt\[1\]: expected a prompt of at least one character"):
        write("LSTM", ["abc", ""])
    with pytest.raises(fnn.InputError, match=r"prompt\[0\]: expected a string as prompt, got a list"):
        write("LSTM", [["a"], "b"])
    flat = built(fnn.Flatten(), fnn.Dense(SYMBOLS))
    with pytest.raises(fnn.InputError, match="at least 6 characters, the window width, got 5 characters, 1 too few"):
        text.generate_text(*flat, VOCABULARY, "abcde", KEY, width=6)


# ------------------------------------------------------------------------------------------ programs forgotten, so last
def test_noise_drawn_step_by_step_is_the_same(monkeypatch):
    whole = write("LSTM", PROMPTS)
    jax.clear_caches()
    monkeypatch.setattr(text.loops, "NOISE_DRAWN_AT_ONCE", 0)
    assert write("LSTM", PROMPTS) == whole


def test_one_program_for_all_prompts_of_a_bucket():
    """The bucket of a prompt is the next power of two above its length."""
    jax.clear_caches()
    for prompt, temperature, seed in (("abcde", 0, 1), ("eeaabbcc", 1.5, 2), ("dadada", 0.3, 3)):
        write("LSTM", prompt, jax.random.key(seed), temperature=temperature)
    assert text.programs.generate_ids._cache_size() == 1
    write("LSTM", "abcdeabcd")
    assert text.programs.generate_ids._cache_size() == 2
    for prompts in (["abcde", "ab"], ["ad", "eeaabbcc"]):
        write("LSTM", prompts)
    assert text.programs.generate_ids._cache_size() == 3
