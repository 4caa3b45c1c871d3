"""Text as numbers: vocabulary, windows, sampling and generation, against plain NumPy."""

import functools
import inspect
import math
import os

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import fnn
from fnn import text


@pytest.mark.skipif("FNN_DATA" not in os.environ, reason="FNN_DATA does not name the folder with real data")
def test_real_text():
    written = fnn.data.nietzsche()
    assert len(written) == 600893
    assert len(text.Vocabulary.of(written.lower()).symbols) == 57
    assert len(text.windows(np.arange(600893), 40, 3)[0]) == 200285


# Any characters, of which some come again; Hypothesis's own text would first read a table of all of Unicode.
CHARACTERS = st.sampled_from("ab") | st.integers(0, 0x10FFFF).filter(lambda n: not 0xD800 <= n < 0xE000).map(chr)


@given(st.lists(CHARACTERS, min_size=1, max_size=30).map("".join))
def test_vocabulary_round_trip(written):
    vocabulary = text.Vocabulary.of(written)
    numbers = vocabulary.encode(written)
    assert vocabulary.decode(numbers) == written
    assert numbers.max() == len(set(written)) - 1
    assert numbers.dtype == np.int32


def test_vocabulary_of_several_texts():
    assert text.Vocabulary.of(["banana", "cab"]).symbols == "abcn"
    assert text.Vocabulary.of("").symbols == ""
    assert text.Vocabulary.of("").decode([]) == text.Vocabulary("ab").decode([]) == ""
    assert text.Vocabulary("ab").encode("").tolist() == []


@given(st.text("abcdxyzß ", max_size=30), st.sampled_from("abc "))
def test_unknown_characters_are_replaced(written, unknown):
    vocabulary = text.Vocabulary("abc ")
    plain = [vocabulary.symbols.index(c if c in "abc " else unknown) for c in written]
    assert vocabulary.encode(written, unknown).tolist() == plain
    assert vocabulary.encode(written, unknown=unknown).dtype == np.int32


def test_vocabulary_refuses_what_is_no_series_of_symbols():
    with pytest.raises(fnn.InputError, match=r"each symbol once, got 'l' 3 times.*Vocabulary\.of"):
        text.Vocabulary("hello world")
    with pytest.raises(fnn.InputError, match="expected a string of symbols, got a list"):
        text.Vocabulary(["a", "b"])
    assert len(text.Vocabulary("helo wrd")) == 8


def test_vocabulary_refuses():
    vocabulary = text.Vocabulary.of("abc")
    with pytest.raises(
        fnn.InputError, match=r"only the 3 symbols of the vocabulary, but the text also contains \['x'\]. Pass unknown="
    ):
        vocabulary.encode("abx")
    with pytest.raises(fnn.InputError, match=r"unknown to be one of the 3 symbols of the vocabulary, got '\?'"):
        vocabulary.encode("abc", unknown="?")
    with pytest.raises(fnn.InputError, match="unknown to be one of the 3 symbols of the vocabulary, got 'ab'"):
        vocabulary.encode("abx", unknown="ab")
    with pytest.raises(fnn.InputError, match="a string, got a list"):
        vocabulary.encode(["a", "b"])
    with pytest.raises(fnn.InputError, match=r"numbers in \[0, 3\), got 0 to 3"):
        vocabulary.decode([0, 3])
    with pytest.raises(fnn.InputError, match=r"numbers in \[0, 3\), got -1 to 2"):
        vocabulary.decode([2, -1])
    with pytest.raises(fnn.InputError, match=r"decode: expected integers, got float64\[2\]"):
        vocabulary.decode([0.0, 1.5])


@given(st.integers(2, 40), st.integers(1, 12), st.integers(1, 5))
def test_windows_equal_a_plain_loop(total, length, step):
    ids = np.arange(total) * 7 % 11
    if total <= length:
        with pytest.raises(fnn.InputError, match=f"a sequence of more than {length} symbols, got {total}"):
            text.windows(ids, length, step)
        return
    x, y = text.windows(ids, length, step)
    plain = [(ids[i : i + length].tolist(), ids[i + length]) for i in range(0, total - length, step)]
    assert x.tolist() == [window for window, _ in plain]
    assert y.tolist() == [symbol for _, symbol in plain]


def test_windows_refuse():
    with pytest.raises(fnn.InputError, match=r"expected numbers, got a string\. Encode it first"):
        text.windows("some text", 3)
    with pytest.raises(fnn.InputError, match=r"a sequence of numbers, \(total,\), got int64\[2, 3\]"):
        text.windows(np.ones((2, 3), int), 1)
    with pytest.raises(fnn.InputError, match="length to be an integer of at least 1, got 0"):
        text.windows([1, 2, 3], 0)
    with pytest.raises(fnn.InputError, match="step to be an integer of at least 1, got -1"):
        text.windows([1, 2, 3], 1, -1)


# ------------------------------------------------------------------------------------------------------------ sampling
LOGITS = np.array([0.0, 1.0, 2.0, -1.0, 1.5], np.float32)
draw = jax.jit(text.sample, static_argnames=("top_k", "from_logits"))


def softmax(logits, temperature, top_k=None):
    powers = np.exp(np.asarray(logits, float) / temperature)
    powers[np.argsort(-logits)[top_k:]] = 0 if top_k else powers[np.argsort(-logits)[top_k:]]
    return powers / powers.sum()


@functools.partial(jax.jit, static_argnames="top_k")
def draw_once_per_key(keys, logits, temperature, top_k=None):
    return jax.vmap(lambda key: text.sample(key, logits, temperature, top_k))(keys)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 3])
def test_sample_draws_from_the_softmax(temperature, top_k):
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = draw_once_per_key(keys, LOGITS, temperature, top_k)
    counts = np.bincount(drawn, minlength=5)
    expected = softmax(LOGITS, temperature, top_k) * len(keys)
    possible = expected > 0
    assert possible.sum() == (top_k or 5)
    assert not counts[~possible].any()
    assert stats.chisquare(counts[possible], expected[possible]).pvalue > 1e-3


def plain_sample(key, logits, temperature, top_k=None):
    """The Gumbel trick in NumPy, with the noise that JAX draws for the key."""
    noise = np.asarray(jax.random.gumbel(key, logits.shape))
    kept = np.argsort(-logits, kind="stable")[:top_k]
    return int(kept[np.argmax((logits + np.float32(temperature) * noise)[kept])])


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 1.0, 4.0]), st.sampled_from([None, 1, 2, 6]))
def test_sample_equals_the_rule_in_numpy(seed, temperature, top_k):
    logits = np.random.default_rng(seed).normal(size=6).astype(np.float32)
    key = jax.random.key(seed)
    assert int(draw(key, logits, temperature, top_k)) == plain_sample(key, logits, temperature, top_k)


@pytest.mark.slow
def test_sample_of_many_rows(rng):
    logits = rng.normal(size=(4, 3, 6)).astype("f")
    key = jax.random.key(3)
    drawn = draw(key, logits, 1.3)
    assert drawn.shape == (4, 3)
    assert drawn.dtype == jnp.int32
    np.testing.assert_array_equal(drawn, draw(key, logits, 1.3, top_k=6))
    np.testing.assert_array_equal(drawn, text.sample(key, logits, 1.3))
    np.testing.assert_array_equal(draw(key, logits, 0.0), np.argmax(logits, -1))
    np.testing.assert_array_equal(text.sample(key, logits, 0), np.argmax(logits, -1))
    np.testing.assert_array_equal(draw(key, logits, 5.0, top_k=1), np.argmax(logits, -1))
    two = np.argsort(-logits, -1)[..., :2]
    drawn = np.asarray(draw(key, logits, 9.0, top_k=2))
    assert (two == drawn[..., None]).any(-1).all()
    assert (two[..., 1] == drawn).any()


def test_sample_breaks_ties_by_the_first_class():
    level, keys = np.array([1.0, 3.0, 3.0, 3.0], "f"), jax.random.split(jax.random.key(0), 100)
    drawn = draw_once_per_key(keys, level, 1.0, top_k=2)
    assert sorted(set(drawn.tolist())) == [1, 2]
    for top_k in (None, 1, 2):
        assert int(draw(jax.random.key(0), level, 0.0, top_k)) == 1


def test_sample_from_narrow_types_is_as_fair_as_from_float32():
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = draw_once_per_key(keys, jnp.asarray(np.array([0.0, -6.0]), jnp.bfloat16), 1.0)
    expected = softmax(np.array([0.0, -6.0]), 1.0) * len(keys)
    assert stats.chisquare(np.bincount(drawn, minlength=2), expected).pvalue > 1e-3


def test_sample_refuses():
    key, logits = jax.random.key(0), jnp.asarray(LOGITS)
    with pytest.raises(fnn.InputError, match=r"sample: expected one PRNG key, got 3. Pass jax.random.key\(3\)"):
        text.sample(3, logits)
    with pytest.raises(fnn.InputError, match=r"temperature in \[0, inf\), got -1"):
        text.sample(key, logits, -1.0)
    with pytest.raises(fnn.InputError, match=r"temperature in \[0, inf\), got nan"):
        text.sample(key, logits, np.nan)
    with pytest.raises(fnn.InputError, match=r"temperature in \[0, inf\), got inf"):
        text.sample(key, logits, np.inf)
    with pytest.raises(fnn.InputError, match="top_k to be an integer of at least 1, got 0"):
        text.sample(key, logits, 1.0, 0)
    with pytest.raises(fnn.InputError, match=r"top_k to be an integer of at least 1, got 2\.5"):
        text.sample(key, logits, 1.0, 2.5)
    with pytest.raises(fnn.InputError, match="top_k to be at most 5, the number of classes, got 6"):
        text.sample(key, logits, 1.0, 6)
    with pytest.raises(fnn.InputError, match=r"logits of shape \(..., classes\), got float32\[\]"):
        text.sample(key, jnp.zeros(()))
    with pytest.raises(fnn.InputError, match=r"a floating-point x, got int32\[3\]. Logits are"):
        text.sample(key, jnp.arange(3))


# --------------------------------------------------------------------------------------------------- windows to logits
TABLE = np.random.default_rng(0).normal(size=(3, 5, 5)).astype("f")


def predict(ids, xp=jnp):
    table = xp.asarray(TABLE)
    return table[0, ids[:, -1]] + table[1, ids[:, -2]] + table[2, ids[:, 0]]


def plain_generate(key, window, length, temperature, top_k=None):
    """Windows in NumPy, one symbol at a time."""
    window, out = list(window), []
    for k in jax.random.split(key, length):
        out.append(plain_sample(k, predict(np.array([window]), np)[0], temperature, top_k))
        window = [*window[1:], out[-1]]
    return out


write_windows = jax.jit(lambda key, window, temperature: text.generate(predict, key, window, 30, temperature))


@pytest.mark.parametrize(("temperature", "top_k"), [(1.5, 3), (0.0, None)])
def test_generate_equals_a_plain_loop(temperature, top_k):
    key, window = jax.random.key(4), np.array([1, 4, 2])
    plain = plain_generate(key, window, 30, temperature, top_k)
    assert len(set(plain)) > 1
    if top_k:
        out = text.generate(predict, key, window, 30, temperature, top_k)
    else:
        out = write_windows(key, window, temperature)
    assert out.tolist() == plain
    assert out.dtype == jnp.int32


def test_generate_is_deterministic():
    """Again, compiled, with temperature and window as arguments, and as one of several."""
    keys = jnp.stack([jax.random.key(9), jax.random.key(4)])
    plain = text.generate(predict, keys[1], [1, 4, 2], 30, 0.7).tolist()
    assert plain == plain_generate(keys[1], [1, 4, 2], 30, 0.7)
    for _ in range(2):
        assert write_windows(keys[1], np.array([1, 4, 2]), 0.7).tolist() == plain
    together = jax.jit(jax.vmap(lambda k: text.generate(predict, k, [1, 4, 2], 30, 0.7)))(keys)
    assert together[1].tolist() == plain != together[0].tolist()


def test_generate_from_a_window_of_one_symbol():
    out = text.generate(lambda ids: jax.nn.one_hot((ids[:, -1] * 3 + 1) % 7, 7), jax.random.key(0), [2], 5, 0)
    assert out.tolist() == [0, 1, 4, 6, 5]


def test_generate_refuses():
    key = jax.random.key(0)
    with pytest.raises(fnn.InputError, match="a window of at least one symbol"):
        text.generate(predict, key, [], 3)
    with pytest.raises(fnn.InputError, match=r"a window of at least one symbol, \(length,\), got shape \(1, 2\)"):
        text.generate(predict, key, [[1, 2]], 3)
    with pytest.raises(fnn.InputError, match=r"a window of numbers, got a string\. Encode it first"):
        text.generate(predict, key, "abc", 3)
    with pytest.raises(fnn.InputError, match=r"a window of integer symbol ids, got float32\[2\]"):
        text.generate(predict, key, jnp.array([1.0, 2.0]), 3)
    with pytest.raises(fnn.InputError, match="a window of non-negative ids, got -3"):
        text.generate(predict, key, [1, -3], 3)
    with pytest.raises(fnn.InputError, match="length to be an integer of at least 1"):
        text.generate(predict, key, [1, 2], 0)
    with pytest.raises(fnn.InputError, match=r"generate: expected temperature in \[0, inf\), got -2"):
        text.generate(predict, key, [1, 2], 3, -2)
    with pytest.raises(fnn.InputError, match="generate: expected top_k to be an integer of at least 1, got -1"):
        text.generate(predict, key, [1, 2], 3, top_k=-1)
    with pytest.raises(fnn.InputError, match="top_k to be at most 5, the number of classes, got 8"):
        text.generate(predict, key, [1, 2], 3, top_k=8)
    with pytest.raises(
        fnn.InputError, match=r"logits \(1, symbols\), got float32\[1, 2, 5\]. Is return_sequences=True"
    ):
        text.generate(lambda ids: jnp.zeros((*ids.shape, 5)), key, [1, 2], 3)
    with pytest.raises(fnn.InputError, match=r"logits \(1, symbols\), got float32\[5\]"):
        text.generate(lambda ids: jnp.zeros(5), key, [1, 2], 3)
    with pytest.raises(fnn.InputError, match=r"one PRNG key, got 7. Pass jax.random.key\(7\)"):
        text.generate(predict, 7, [1, 2], 3)


# --------------------------------------------------------------------------------------------------- carries to logits
@functools.cache
def lstm_model(symbols=5, units=6):
    """Parameters large enough that the text depends on what was read long before."""

    @jax.jit
    def init(keys):
        params = {"lstm": fnn.lstm_init(keys[0], symbols, units), "dense": fnn.dense_init(keys[1], units, symbols)}
        return jax.tree.map(lambda a: 2.5 * a, params)

    params = init(jax.random.split(jax.random.key(0)))

    def step(carry, symbol):
        carry, h = fnn.lstm_cell(params["lstm"], carry, symbol[None])
        return carry, fnn.dense(params["dense"], h)[0]

    return params, step, fnn.LSTMCarry(jnp.zeros((1, units)), jnp.zeros((1, units)))


def plain_logits(params, ids):
    """Logits after all of ``ids``, the LSTM written out in NumPy (gates in the order i, f, c, o)."""
    kernel, recurrent, bias = (np.asarray(params["lstm"][k]) for k in ("kernel", "recurrent_kernel", "bias"))
    h = c = np.zeros(len(recurrent), np.float32)
    for symbol in ids:
        i, f, g, o = np.split(kernel[symbol] + h @ recurrent + bias, 4)
        sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return (h @ np.asarray(params["dense"]["kernel"]) + np.asarray(params["dense"]["bias"])).astype(np.float32)


@functools.cache
def lstm_writer():
    _, step, _ = lstm_model()
    return jax.jit(lambda carry, ids, key, t: text.generate_from(step, carry, ids, key, 12, t))


@pytest.mark.parametrize(
    ("prompt", "temperature", "top_k"),
    [
        pytest.param([3], 1.0, None, marks=pytest.mark.slow),
        pytest.param([3, 1, 4, 1, 0, 2], 0.0, None, marks=pytest.mark.slow),
        ([3, 1, 4, 1, 0, 2], 1.5, 2),
    ],
)
def test_generate_from_equals_reading_the_whole_text_each_time(prompt, temperature, top_k):
    params, step, start = lstm_model()
    key = jax.random.key(8)
    read = list(prompt)
    for k in jax.random.split(key, 12):
        read.append(plain_sample(k, plain_logits(params, read), temperature, top_k))
    for _ in range(2):
        if top_k:
            out = text.generate_from(step, start, prompt, key, 12, temperature, top_k)
        else:
            out = lstm_writer()(start, np.array(prompt), key, temperature)
        assert out.tolist() == read[len(prompt) :]
        assert out.dtype == jnp.int32


def test_generate_from_continues_from_the_state_of_a_whole_sequence():
    """The carry that `fnn.lstm` returns is one to go on from."""
    params, _, start = lstm_model()
    prompt, key, write = np.array([2, 0, 4, 4, 1, 3]), jax.random.key(5), lstm_writer()
    _, carry = jax.jit(fnn.lstm)(params["lstm"], prompt[None, :-1])
    whole = write(start, prompt, key, 1.0).tolist()
    assert len(set(whole)) > 2
    assert write(carry, prompt[-1:], key, 1.0).tolist() == whole
    assert write(start, prompt[-1:], key, 1.0).tolist() != whole
    assert write(start, prompt, jax.random.key(6), 1.0).tolist() != whole


@pytest.mark.slow
def test_generate_from_of_many_texts_at_once():
    _, _, start = lstm_model()
    prompts = np.array([[1, 2, 3, 0, 1, 4], [4, 0, 0, 1, 1, 2], [2, 2, 1, 0, 3, 3]])
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(lambda ids, k: lstm_writer()(start, ids, k, 1.0)))(prompts, keys)
    alone = [lstm_writer()(start, ids, k, 1.0).tolist() for ids, k in zip(prompts, keys, strict=True)]
    assert together.tolist() == alone
    assert len({tuple(ids) for ids in alone}) == 3


def test_windows_are_a_special_case_of_carries():
    """A carry that holds the last symbols gives what `generate` gives for the same key."""

    def step(carry, symbol):
        window = jnp.append(carry, symbol)
        return window[1:], predict(window[None])[0]

    key = jax.random.key(11)
    windows = write_windows(key, np.array([1, 4, 2]), 0.9)
    np.testing.assert_array_equal(text.generate_from(step, jnp.array([1, 4]), [2], key, 30, 0.9), windows)


def test_generate_from_refuses():
    _, step, start = lstm_model()
    key = jax.random.key(0)
    with pytest.raises(fnn.InputError, match="generate_from: expected a prompt of at least one symbol"):
        text.generate_from(step, start, [], key, 3)
    with pytest.raises(fnn.InputError, match="length to be an integer of at least 1, got -1"):
        text.generate_from(step, start, [1], key, -1)
    with pytest.raises(fnn.InputError, match=r"generate_from: expected temperature in \[0, inf\), got -0.5"):
        text.generate_from(step, start, [1], key, 3, -0.5)
    with pytest.raises(fnn.InputError, match="generate_from: expected top_k to be an integer of at least 1, got 0"):
        text.generate_from(step, start, [1], key, 3, 1.0, 0)
    with pytest.raises(fnn.InputError, match="top_k to be at most 5"):
        text.generate_from(step, start, [1], key, 3, 1.0, 6)
    with pytest.raises(fnn.InputError, match="one PRNG key, got 1"):
        text.generate_from(step, start, [1], 1, 3)
    with pytest.raises(fnn.InputError, match=r"step\(carry, symbol\) to return \(carry, logits\), got float32\[5\]"):
        text.generate_from(lambda carry, symbol: jnp.zeros(5), start, [1], key, 3)
    with pytest.raises(fnn.InputError, match=r"logits of shape \(symbols,\), got float32\[1, 5\]. .* take row 0"):
        text.generate_from(lambda carry, symbol: (carry, jnp.zeros((1, 5))), start, [1], key, 3)
    longer = r"a carry like its argument, float32\[2\], got float32\[3\]. The carry is passed to the next step"
    with pytest.raises(fnn.InputError, match=longer):
        text.generate_from(lambda carry, symbol: (jnp.zeros(3), jnp.zeros(5)), jnp.zeros(2), [1], key, 3)
    with pytest.raises(fnn.InputError, match=r"a carry like its argument, LSTMCarry\(.*got \('float32"):
        text.generate_from(lambda carry, symbol: (tuple(carry), jnp.zeros(5)), start, [1], key, 3)


# ---------------------------------------------------------------------------------------------------------- characters
@functools.cache
def small_model(symbols=4):
    model = fnn.Sequential(fnn.LSTM(4, input_dim=symbols), fnn.Dense(symbols))
    params, state = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 3), jnp.int32))
    return model, jax.tree.map(lambda a: 3 * a, params), state


def test_generate_text():
    vocabulary = text.Vocabulary.of("abcd")
    model, params, state = small_model()
    key = jax.random.key(1)

    def write(prompt, key=key, **options):
        return text.generate_text(model, params, state, vocabulary, prompt, key, length=12, **options)

    predict = jax.jit(lambda ids: model.apply(params, state, ids)[0][0])

    def plain(prompt, temperature=1.0, top_k=None):
        window, out = vocabulary.encode(prompt).tolist(), ""
        for k in jax.random.split(key, 12):
            logits = np.asarray(predict(np.array([window])))
            window = [*window[1:], plain_sample(k, logits, temperature, top_k)]
            out += vocabulary.symbols[window[-1]]
        return out

    assert write("abc") == write("abc") == plain("abc")
    assert write("abc", temperature=0) == plain("abc", 0)
    assert write("abc", temperature=2.0, top_k=2) == plain("abc", 2.0, 2)
    assert write("abc") != write("abc", jax.random.key(2))
    assert write("abc") != write("abc", temperature=2.0)
    # With a width only the end of the prompt counts, and what comes before it may hold anything.
    assert write("dddabc", width=3) == write("€abc", width=3) == write("abc", width=3) == plain("abc")
    assert write("a?c", unknown="b") == plain("abc")


def test_generate_text_compiles_once_for_all_prompts_of_a_width():
    vocabulary = text.Vocabulary.of("abcd")
    model, params, state = small_model()
    jax.clear_caches()  # another file may have run the same program
    for prompt, temperature in (("abca", 0), ("cabdda", 1.5), ("bbbbbbbb", 0.2)):
        options = {"length": 7, "width": 4, "temperature": temperature}
        text.generate_text(model, params, state, vocabulary, prompt, jax.random.key(0), **options)
    assert text.programs.generate_ids._cache_size() == 1


def test_generate_text_refuses():
    vocabulary = text.Vocabulary.of("abcd")
    model, params, state = small_model()

    def write(prompt, vocabulary=vocabulary, **options):
        return text.generate_text(model, params, state, vocabulary, prompt, jax.random.key(1), **options)

    with pytest.raises(fnn.InputError, match=r"the text also contains \['z'\]"):
        write("abz")
    with pytest.raises(fnn.InputError, match="unknown to be one of the 4 symbols"):
        write("abz", unknown="z")
    with pytest.raises(fnn.InputError, match=r"generate_text: expected temperature in \[0, inf\), got -0.1"):
        write("abc", temperature=-0.1)
    with pytest.raises(fnn.InputError, match="a prompt of at least one character, got an empty one"):
        write("")
    with pytest.raises(fnn.InputError, match=r"a string as prompt, got int64\[2\]"):
        write(np.array([1, 2]))
    with pytest.raises(fnn.InputError, match="width to be an integer of at least 1, got 0"):
        write("abc", width=0)
    with pytest.raises(fnn.InputError, match="length to be an integer of at least 1, got 0"):
        write("abc", length=0)
    with pytest.raises(fnn.InputError, match="top_k to be an integer of at least 1, got 0"):
        write("abc", top_k=0)
    with pytest.raises(fnn.InputError, match="top_k to be at most 4, the number of classes, got 5"):
        write("abc", top_k=5)
    with pytest.raises(fnn.InputError, match=r"logits of the vocabulary's 3 symbols, got float32\[1, 4\]"):
        write("abc", text.Vocabulary("abc"))


def test_vocabulary_size_and_a_task_passed_as_model():
    vocabulary = text.Vocabulary.of("banana")
    assert vocabulary.size == len(vocabulary.symbols) == 3
    assert vocabulary.replace(symbols="ab").size == 2
    task = fnn.Task(fnn.Dense(3), "mse")
    with pytest.raises(fnn.InputError, match=r"a TrainState .* as second argument, got a dict"):
        text.generate_text(task, {}, vocabulary, "ban", jax.random.key(0))
    with pytest.raises(fnn.InputError, match=r"an fnn\.Task as first argument, got a dict"):
        text.generate_text({}, {}, vocabulary, "ban", jax.random.key(0))


def test_a_task_and_its_state_or_a_model_and_its_values():
    vocabulary, key = text.Vocabulary.of("abcd"), jax.random.key(1)
    model, params, state = small_model()
    task = fnn.Task(model, "sparse_categorical_crossentropy")
    ts = fnn.init(task, key, vocabulary.encode("abc")[None])._replace(params=params, state=state)
    new = text.generate_text(task, ts, vocabulary, "abc", key, length=12)
    assert new == text.generate_text(task=task, ts=ts, vocabulary=vocabulary, prompt="abc", key=key, length=12)
    assert new == text.generate_text(model, params, state, vocabulary, "abc", key, length=12)
    assert new == text.generate_text(
        model=model, params=params, state=state, vocabulary=vocabulary, prompt="abc", key=key, length=12
    )
    assert text.generate_text(task, ts, vocabulary, "dabc", key, length=12, width=3) == new
    assert list(inspect.signature(text.generate_text).parameters)[:5] == ["task", "ts", "vocabulary", "prompt", "key"]


def test_logits_that_happen_to_sum_to_1_are_logits():
    """A last product says what its values are; of another function that hides a softmax, only the values can tell."""
    vocabulary, key = text.Vocabulary.of("abcd"), jax.random.key(1)
    for last, ready in ((fnn.Dense(4), True), (fnn.Sequential(fnn.Dense(4), fnn.Activation(jnp.abs)), False)):
        task = fnn.Task(fnn.Sequential(fnn.Embedding(4, 2), fnn.Flatten(), last), "sparse_categorical_crossentropy")
        ts = fnn.init(task, key, vocabulary.encode("abc")[None])
        params = jax.tree.map(jnp.zeros_like, ts.params)
        inner = params["dense"] if ready else params["sequential"]["dense"]
        inner["bias"] = jnp.array([0.1, 0.2, 0.3, 0.4])
        ts = ts._replace(params=params)
        if ready:
            new = text.generate_text(task, ts, vocabulary, "abc", key, length=12)
            assert new == text.generate_text(task, ts, vocabulary, "abc", key, length=12, from_logits=True)
        else:
            with pytest.raises(fnn.InputError, match="expected logits, got outputs that sum to 1"):
                text.generate_text(task, ts, vocabulary, "abc", key, length=12)


# ------------------------------------------------------------------------------------------- logits and probabilities
@functools.cache
def endings(symbols=4):
    """The same network up to logits, to a softmax in several forms, and to one that no look at the program finds."""
    head = fnn.Sequential(fnn.Embedding(symbols, 2), fnn.Flatten())
    hidden = fnn.Layer(  # the softmax too, in powers of 2
        lambda key, x: ({}, {}), lambda p, s, x, **_: (jnp.exp2(jax.nn.log_softmax(x) / math.log(2)), s)
    )
    return {
        "logits": fnn.Sequential(head, fnn.Dense(symbols)),
        "layer": fnn.Sequential(head, fnn.Dense(symbols), fnn.Activation("softmax")),
        "argument": fnn.Sequential(head, fnn.Dense(symbols, activation="softmax")),
        "jax": fnn.Sequential(head, fnn.Dense(symbols), fnn.Activation(jax.nn.softmax)),
        "hidden": fnn.Sequential(head, fnn.Dense(symbols), hidden),
    }


@functools.cache
def weights_of_endings():
    params, state = jax.jit(endings()["logits"].init)(jax.random.key(0), jnp.zeros((1, 3), jnp.int32))
    return jax.tree.map(lambda a: 9 * np.asarray(a), params), state


@pytest.mark.slow
@pytest.mark.parametrize("names", [("argument", "jax"), pytest.param(("layer",), marks=pytest.mark.slow)])
def test_generation_from_probabilities_equals_generation_from_logits(names):
    vocabulary, models = text.Vocabulary.of("abcd"), endings()
    params, state = weights_of_endings()

    def write(name, temperature, **more):
        options = {"length": 12, "temperature": temperature, **more}
        return text.generate_text(models[name], params, state, vocabulary, "abc", jax.random.key(1), **options)

    for temperature in (0, 0.2, 1.2):
        right = write("logits", temperature)
        assert len(set(right)) > 1
        for name in names:
            assert write(name, temperature) == right, name
        assert write("hidden", temperature, from_logits=False) == right
        assert write("logits", temperature, from_logits=True) == right
    # What would be written from probabilities taken for logits.
    assert write(names[0], 1.2, from_logits=True) != right
    with pytest.raises(
        fnn.InputError, match=r"generate_text: expected logits, got outputs that sum to 1.*from_logits="
    ):
        write("hidden", 1.2)


def test_a_prompt_of_the_wrong_length_is_reported():
    vocabulary = text.Vocabulary.of("abcd")
    params, state = weights_of_endings()
    write = lambda prompt, **options: text.generate_text(  # noqa: E731
        endings()["logits"], params, state, vocabulary, prompt, jax.random.key(0), length=12, **options
    )
    with pytest.raises(fnn.InputError, match=r"a prompt of 5 characters > .*x of shape \(batch, 6\)"):
        write("abcda")
    assert len(write("abcda", width=3)) == 12


@pytest.mark.slow
def test_generate_and_generate_from_detect_a_softmax():
    table = jnp.array([[0.0, 2.0, 1.0, -1.0], [1.0, 0.5, 0.0, 2.0], [3.0, 0.0, 1.0, 1.0], [0.5, 1.0, 2.0, 0.0]])
    key = jax.random.key(3)
    for softmax in (fnn.activations.softmax, jax.nn.softmax):
        for temperature in (0.2, 1.0, 1.2):
            right = text.generate(lambda ids: table[ids[:, -1]], key, [0, 1], 20, temperature)
            found = text.generate(lambda ids, f=softmax: f(table[ids[:, -1]]), key, [0, 1], 20, temperature)
            np.testing.assert_array_equal(found, right)
            step = lambda carry, symbol, f=softmax: (carry, f(table[symbol]))  # noqa: E731
            np.testing.assert_array_equal(text.generate_from(step, 0, [0, 1], key, 20, temperature), right)
    p = jnp.exp(jax.nn.log_softmax(table))
    said = text.generate(lambda ids: p[ids[:, -1]], key, [0, 1], 20, 1.2, from_logits=False)
    np.testing.assert_array_equal(said, right)
    with pytest.raises(fnn.InputError, match=r"the output of a softmax, got the output of a sigmoid.*from_logits"):
        text.generate(lambda ids: jax.nn.sigmoid(table[ids[:, -1]]), key, [0, 1], 3)
    with pytest.raises(fnn.InputError, match="from_logits to be True, False or None, got 'no'"):
        text.generate(lambda ids: table[ids[:, -1]], key, [0, 1], 3, from_logits="no")


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(st.integers(0, 2**31), st.sampled_from([0.2, 0.7, 1.0, 1.2]))
def test_sampling_from_probabilities_equals_sampling_from_their_logarithms(seed, temperature):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(5, 0.5), 50).astype("f")
    p[:, 2] = 0
    key = jax.random.key(seed)
    drawn = np.asarray(draw(key, p, temperature, from_logits=False))
    assert not (drawn == 2).any()
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(drawn, draw(key, np.log(p), temperature))


def test_frequencies_from_probabilities_follow_the_temperature():
    p, temperature = np.array([0.5, 0.3, 0.0, 0.2]), 0.6
    expected = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
    rows = np.broadcast_to(p.astype("f"), (40_000, 4))
    drawn = draw(jax.random.key(0), rows, temperature, from_logits=False)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 40_000, expected, atol=0.01)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_extreme_logits_and_temperatures(dtype):
    key = jax.random.key(0)
    large = float(jnp.finfo(dtype).max)

    def counts(logits, temperature):
        rows = np.broadcast_to(np.array(logits, jnp.dtype(dtype)), (4000, 4))
        return np.bincount(draw(key, rows, temperature), minlength=4)

    drawn = counts([-large, large, large, 0], 1e-3)
    assert drawn[[0, 3]].tolist() == [0, 0]
    assert abs(drawn[1] - 2000) < 150
    flat = counts(range(4), 3e38)
    assert (np.abs(flat - 1000) < 150).all()


@pytest.mark.parametrize(
    ("logits", "options", "message"),
    [
        ([0.0, np.nan], {}, r"logits without NaN, got NaN.*diverged"),
        ([[0.0, 1.0], [-np.inf, -np.inf]], {}, r"logits above -infinity in each row"),
        ([0.5, -0.5], {"from_logits": False}, r"probabilities of at least 0"),
        ([0.0, 0.0], {"from_logits": False}, r"probabilities that sum to 1 in each row, got a row that sums to 0\."),
        ([[0.5, 0.5], [2.0, 3.0]], {"from_logits": False}, r"that sum to 1.*got a row that sums to 5\..*for logits"),
        ([0.5, np.nan], {"from_logits": False}, r"probabilities without NaN, got NaN"),
        ([0.0, 1.0], {"temperature": np.nan}, r"temperature in \[0, inf\), got nan"),
        ([0.0, 1.0], {"temperature": np.inf}, r"temperature in \[0, inf\), got inf"),
        ([0.0, 1.0], {"temperature": -1}, r"temperature in \[0, inf\), got -1"),
    ],
)
def test_sample_refuses_rows_without_a_valid_class(logits, options, message):
    with pytest.raises(fnn.InputError, match=message):
        text.sample(jax.random.key(0), jnp.asarray(logits), **options)


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([[0.25, 0.75], [0.0, 2.0]], {}),  # one row is like probabilities, the other is not
        ([[1.5, -0.5]], {}),
        ([[1.0]], {}),  # a single class
        ([[0.25, 0.75]], {"from_logits": True}),
        (np.float16([[0.1] * 10]), {"from_logits": False}),
    ],
)
def test_sample_takes_rows_that_may_be_what_it_is_told(rows, options):
    drawn = text.sample(jax.random.key(0), jnp.asarray(rows), **options)
    assert drawn.shape == (len(rows),)
    assert (drawn >= 0).all()


@pytest.mark.parametrize(
    "rows", [[0.0, 0.0, 1.0], np.full(4, 0.25), [[0.25, 0.75], [0.0, 1.0]], np.float16([0.1] * 10)]
)
def test_sample_warns_of_logits_that_look_like_probabilities(rows):
    key, logits = jax.random.key(0), jnp.asarray(rows)
    with pytest.warns(RuntimeWarning, match="rows for logits, but they sum to 1.*from_logits=False if") as caught:
        drawn = text.sample(key, logits)
    assert [warning.filename for warning in caught] == [__file__]
    np.testing.assert_array_equal(drawn, text.sample(key, logits, from_logits=True))


def test_traced_rows_without_a_valid_class_give_minus_one():
    rows = np.array([[0.0, np.nan], [-np.inf, -np.inf], [-np.inf, 0.0], [np.inf, 0.0]], "f")
    for top_k in (None, 2):
        drawn = draw(jax.random.key(0), rows, 1.0, top_k)
        assert drawn.tolist() == [-1, -1, 1, 0]
    vocabulary = text.Vocabulary.of("abcd")
    model, params, state = small_model()
    broken = jax.tree.map(lambda a: a * jnp.nan, params)
    with pytest.raises(fnn.InputError, match=r"generate_text: expected a model with finite outputs, got NaN"):
        text.generate_text(model, broken, state, vocabulary, "abc", jax.random.key(0), length=12)


# ---------------------------------------------------------------------------------------------------------- attention
@functools.cache
def transformer(symbols=4):
    block = fnn.Residual(fnn.LayerNorm(), fnn.MultiHeadAttention(2, 2, causal=True, rotary=True), fnn.Dense(4, "tanh"))
    model = fnn.Sequential(
        fnn.Embedding(symbols, 4), fnn.PositionEmbedding(20), fnn.Repeated(block, 2), fnn.Dense(symbols)
    )
    params, state = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 3), jnp.int32))
    return model, jax.tree.map(lambda a: 4 * a, params), state


@pytest.mark.parametrize("prompt", [pytest.param("abcad", marks=pytest.mark.slow), "b"])
def test_generation_with_a_cache_equals_reading_the_whole_text_each_time(prompt):
    vocabulary, key, length = text.Vocabulary.of("abcd"), jax.random.key(1), 12
    model, params, state = transformer()

    # One program for all lengths: what stands after the end is not seen.
    outputs = jax.jit(lambda ids: model.apply(params, state, ids)[0][0])

    def plain(temperature):
        ids = vocabulary.encode(prompt).tolist()
        for k in jax.random.split(key, length):
            logits = np.asarray(outputs(np.array([ids + [0] * (20 - len(ids))])))[len(ids) - 1]
            ids.append(plain_sample(k, logits, temperature))
        return vocabulary.decode(ids[len(prompt) :])

    for temperature in (0, 1.5):
        new = text.generate_text(model, params, state, vocabulary, prompt, key, length=length, temperature=temperature)
        assert new == plain(temperature)
    assert len(set(new)) > 1


@pytest.mark.slow
def test_models_that_a_cache_does_not_suit():
    vocabulary, key = text.Vocabulary.of("abcd"), jax.random.key(1)
    model, params, state = transformer()

    def write(model, params, state, **options):
        return text.generate_text(model, params, state, vocabulary, "abcad", key, length=6, **options)

    with pytest.raises(
        fnn.InputError, match=r"with memory='carry' > .*a cache of at most 20 steps.*got 24.*memory='window'"
    ):
        text.generate_text(model, params, state, vocabulary, "abcad", key, length=20)
    assert write(model, params, state, width=5)[0] == write(model, params, state)[0]
    mean = fnn.Activation(lambda x: x.mean(1))
    mixed = fnn.Sequential(fnn.Embedding(4, 4), fnn.MultiHeadAttention(2, 2, causal=True), mean)
    made = mixed.init(key, jnp.zeros((1, 3), jnp.int32))
    made = jax.tree.map(lambda a: 4 * a, made)
    with pytest.raises(
        fnn.InputError, match=r"generate_text: .*alone look at earlier steps, got other.*memory='window'"
    ):
        write(mixed, *made, memory="carry")
    assert write(mixed, *made) == write(mixed, *made, memory="window") == write(mixed, *made, width=5)
    assert len(write(mixed, *made, width=5)) == 6
    # A convolution over the prompt has no cache either, and is not applied to a single step.
    conv = fnn.Sequential(fnn.Embedding(4, 4), fnn.Conv(4, 3), fnn.GlobalAvgPool())
    made = conv.init(key, jnp.zeros((1, 5), jnp.int32))
    assert write(conv, *made) == write(conv, *made, width=5)
    # Without causality, there is no cache, and the window is read each time.
    pooled = fnn.Sequential(fnn.Embedding(4, 4), fnn.MultiHeadAttention(2, 2), fnn.LSTM(4))
    made = pooled.init(key, jnp.zeros((1, 3), jnp.int32))
    assert write(pooled, *made) == write(pooled, *made, width=5)


def reading_alike(layers, x):
    return layers.out(layers.attention(layers.attention(layers.embedding(x))))


def flattening(layers, x):
    return layers.out(layers.attention(layers.embedding(x)).reshape(x.shape[0], -1))


@pytest.mark.parametrize(
    ("forward", "prompt", "problem"),
    [
        (reading_alike, "hello", "one call of a layer with a cache"),
        (flattening, "hello", r"kernel of shape \(40, 8\), got float32\[1, 32\]"),
    ],
)
def test_models_that_cannot_read_symbol_by_symbol_need_a_window(forward, prompt, problem):
    vocabulary = text.Vocabulary.of("hello world")
    attention = fnn.MultiHeadAttention(2, 4, causal=True)
    model = fnn.Model(forward, embedding=fnn.Embedding(8, 8), attention=attention, out=fnn.Dense(8))
    params, state = model.init(jax.random.key(0), jnp.zeros((1, 5), int))
    write = functools.partial(text.generate_text, model, params, state, vocabulary, key=jax.random.key(1), length=4)
    with pytest.raises(fnn.InputError, match=rf"with memory='carry' > .*{problem}.* Pass memory='window'"):
        write(prompt, memory="carry")
    assert write(prompt) == write(prompt, width=5) == write(prompt, memory="window")


def test_a_long_prompt_for_a_model_of_one_width_needs_a_width():
    vocabulary = text.Vocabulary.of("hello world")
    model = fnn.Sequential(fnn.Embedding(8, 8), fnn.Flatten(), fnn.Dense(8))
    params, state = model.init(jax.random.key(0), jnp.zeros((1, 5), int))
    write = functools.partial(text.generate_text, model, params, state, vocabulary, key=jax.random.key(1), length=4)
    with pytest.raises(fnn.InputError, match=r"a prompt of 11 characters > .* Pass width=\.\.\."):
        write("hello world")
    assert len(write("hello world", width=5)) == 4
    model, other = fnn.Sequential(model, fnn.Dense(3)), text.Vocabulary.of("hello")
    params, state = model.init(jax.random.key(0), jnp.zeros((1, 5), int))
    with pytest.raises(fnn.InputError, match="logits of the vocabulary's 4 symbols") as caught:
        text.generate_text(model, params, state, other, "hello", jax.random.key(1), length=4)
    assert "width=" not in str(caught.value)
