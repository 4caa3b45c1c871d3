"""Recurrent functions against a plain loop over the cell, and the errors of functions and layers."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.extend.core import jaxprs_in_params
from recurrent_cases import KINDS, case, close, draw, kinds, main_kinds, scalar

from fnn._core.errors import InputError
from fnn.nn.embedding import one_hot
from fnn.nn.rnn import functions as rec
from fnn.nn.rnn.bidirectional import Bidirectional
from fnn.nn.rnn.cells import GRUCarry, LSTMCarry
from fnn.nn.rnn.layers import GRU, LSTM, SimpleRNN


def plain(cell, params, x, carry, mask=None, reverse=False, **kwargs):
    """The reference: a scan over the cell, differentiated by JAX, with the mask as documented."""
    mask = jnp.ones(x.shape[:2], bool) if mask is None else mask

    def body(old, step):
        new, _ = cell(params, old, step[0], **kwargs)
        new = jax.tree.map(lambda n, o: jnp.where(step[1][:, None], n, o), new, old)
        return new, new.h

    carry, ys = jax.lax.scan(body, carry, (jnp.swapaxes(x, 0, 1), mask.T), reverse=reverse)
    return jnp.swapaxes(ys, 0, 1), carry


# The loop against the plain one --------------------------------------------------------------------------------------


def check_against_plain(kind, data):
    dtype = data.draw(st.sampled_from(["float64", "float32", "bfloat16"]), label="dtype")
    numbers = {n: data.draw(st.integers(1, 4), label=n) for n in ("batch", "time", "width", "units")}
    seed, reverse, masked, use_bias, with_carry = (
        data.draw(s, label="seed, reverse, masked, use_bias, with_carry")
        for s in (st.integers(0, 99), st.booleans(), st.booleans(), st.booleans(), st.booleans())
    )
    rng = np.random.default_rng(seed)
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        sequence, cell, params, x, carry = case(kind, rng, **numbers, dtype=dtype, use_bias=use_bias)
        if not with_carry:
            carry = jax.tree.map(jnp.zeros_like, carry)
        mask = jnp.asarray(rng.random((numbers["batch"], numbers["time"])) < 0.6) if masked else None

        @jax.jit
        def both(params, x, carry):
            def ours(params, x, carry):
                return sequence(params, x, carry if with_carry else None, mask=mask, reverse=reverse)

            def theirs(params, x, carry):
                return plain(cell, params, x, carry, mask, reverse)

            argnums = (0, 1, 2) if with_carry else (0, 1)
            return [(fn(params, x, carry), jax.grad(scalar(fn), argnums)(params, x, carry)) for fn in (ours, theirs)]

        ours, theirs = both(params, x, carry)
    tolerance = {"float32": (1e-5, 1e-5), "float64": (1e-12, 1e-12), "bfloat16": (0.06, 0.15)}[dtype]
    close(ours, theirs, *tolerance)


@kinds
@hypothesis.settings(max_examples=3)
@hypothesis.given(data=st.data())
def test_values_and_gradients_match_a_plain_loop(kind, data):
    check_against_plain(kind, data)


@pytest.mark.slow
@kinds
@hypothesis.settings(max_examples=40)
@hypothesis.given(data=st.data())
def test_more_values_and_gradients_match_a_plain_loop(kind, data):
    check_against_plain(kind, data)


@main_kinds
@pytest.mark.parametrize("reverse", [False, True])
def test_returning_only_the_last_output_keeps_the_gradients(kind, reverse, rng):
    sequence, _, params, x, carry = case(kind, rng)
    mask = jnp.asarray(rng.random(x.shape[:2]) < 0.6)

    def of(sequences):
        def fn(params, x, carry):
            ys, last = sequence(params, x, carry, mask=mask, reverse=reverse, return_sequences=sequences)
            return (ys[:, 0 if reverse else -1] if sequences else ys), last

        return jax.jit(lambda *a: (fn(*a), jax.grad(scalar(fn), (0, 1, 2))(*a)))(params, x, carry)

    close(of(False), of(True))


@pytest.mark.parametrize(
    ("kind", "activation", "recurrent_activation"),
    [
        ("simple_rnn", "relu", None),
        ("lstm", "softsign", "sigmoid"),
        ("gru", "relu", "linear"),
        ("gru_before", "tanh", "softmax"),
    ],
)
def test_other_activations(kind, activation, recurrent_activation, rng):
    sequence, cell, params, x, carry = case(kind, rng)
    acts = {"activation": activation}
    if kind != "simple_rnn":
        acts["recurrent_activation"] = recurrent_activation

    def both(*args):
        fns = functools.partial(sequence, **acts), functools.partial(plain, cell, **acts)
        return [(fn(*args), jax.grad(scalar(fn), (0, 1, 2))(*args)) for fn in fns]

    close(*jax.jit(both)(params, x, carry), 1e-5, 1e-5)


@pytest.mark.slow
@main_kinds
def test_second_derivatives_and_forward_mode(kind, rng):
    with jax.enable_x64(True):
        sequence, cell, params, x, carry = case(kind, rng, time=4, units=2, width=2, dtype="float64")
        mask = jnp.asarray(rng.random(x.shape[:2]) < 0.7)
        directions = draw(rng, (params, x, carry))

        def looks(fn):
            loss = scalar(fn)
            slope = jax.grad(loss, (0, 1, 2))
            primals = params, x, carry
            return {
                "jvp": jax.jvp(fn, primals, directions),
                "reverse over reverse": jax.grad(lambda *a: scalar(lambda: slope(*a), 3)(), (0, 1, 2))(*primals),
                "forward over reverse": jax.jvp(slope, primals, directions)[1],
                "reverse over forward": jax.grad(lambda p: scalar(lambda: jax.jvp(fn, (p, x, carry), directions)[1])())(
                    params
                ),
            }

        ours = jax.jit(lambda: looks(functools.partial(sequence, mask=mask)))()
        theirs = jax.jit(lambda: looks(functools.partial(plain, cell, mask=mask)))()
    close(ours, theirs, 1e-10, 1e-10)


@main_kinds
def test_two_halves_equal_the_whole(kind, rng):
    sequence, _, params, x, carry = case(kind, rng, time=7)
    sequence = jax.jit(sequence, static_argnames="reverse")
    ys, last = sequence(params, x, carry)
    first, middle = sequence(params, x[:, :3], carry)
    second, end = sequence(params, x[:, 3:], middle)
    close((jnp.concatenate([first, second], 1), end), (ys, last))
    # In reverse the second half comes first.
    ys, last = sequence(params, x, carry, reverse=True)
    second, middle = sequence(params, x[:, 3:], carry, reverse=True)
    first, end = sequence(params, x[:, :3], middle, reverse=True)
    close((jnp.concatenate([first, second], 1), end), (ys, last))
    flipped, _ = sequence(params, jnp.flip(x, 1), carry)
    close(jnp.flip(flipped, 1), ys)


@main_kinds
def test_values_at_masked_steps_are_ignored(kind, rng):
    sequence, _, params, x, _ = case(kind, rng)
    mask = jnp.asarray([[1, 1, 0, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
    spoilt = jnp.where(mask[..., None], x, jnp.nan)

    @jax.jit
    def both(x):
        fn = functools.partial(sequence, mask=mask)
        return fn(params, x), jax.grad(scalar(fn))(params, x)

    close(both(spoilt), both(x))
    ids = jnp.asarray(rng.integers(0, 4, (3, 5)))
    close(both(jnp.where(mask, ids, -1)), both(ids))
    sequence = jax.jit(sequence)
    ys, _ = sequence(params, x, mask=mask)
    np.testing.assert_array_equal(ys[2], np.zeros_like(ys[2]))  # a row without any step keeps the zero carry
    np.testing.assert_array_equal(ys[0, 2], ys[0, 1])
    # Rows that end early give the output of the shorter sequence.
    full = jnp.asarray([[1, 1, 1, 0, 0]] * 3, bool)
    close(sequence(params, x, mask=full)[1], sequence(params, x[:, :3])[1])


@main_kinds
@pytest.mark.parametrize(("dtype", "symbols"), [("int32", 5), ("int8", 300)])
def test_integers_equal_one_hot(kind, dtype, symbols, rng):
    init, sequence, cell, carry_type, _ = KINDS[kind]
    params = draw(rng, jax.eval_shape(lambda: init(jax.random.key(0), symbols, 3)))
    ids = jnp.asarray(rng.integers(0, min(symbols, 100), (4, 6)), dtype)
    rows = one_hot(ids, symbols)

    @jax.jit
    def both(params):
        return [(sequence(params, x), jax.grad(scalar(lambda p: sequence(p, x)))(params)) for x in (ids, rows)]  # noqa: B023

    close(*both(params), 1e-5, 1e-5)
    carry = carry_type(*(jnp.ones((4, 3)) * (1 + i) for i in range(len(carry_type._fields))))
    close(cell(params, carry, ids[:, 2]), cell(params, carry, rows[:, 2]))
    wrong = ids.astype("int32").at[1, 2].set(symbols).at[2, 3].set(-1)
    ys, _ = sequence(params, wrong)
    bad = np.isnan(ys).all(-1)
    np.testing.assert_array_equal(bad, [[0] * 6, [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0] * 6])
    assert not np.isnan(ys[~bad]).any()


@main_kinds
def test_vmap_over_parameters_equals_a_loop(kind, rng):
    sequence, _, params, x, _ = case(kind, rng)
    many = draw(rng, jax.tree.map(lambda p: jnp.zeros((3, *p.shape)), params))
    ids = jnp.asarray(rng.integers(0, 4, (3, 5)))
    mask = jnp.asarray(rng.random((3, 5)) < 0.7)
    for inputs in (x, ids) if kind == "lstm" else (x,):

        def fn(p, inputs=inputs):
            f = functools.partial(sequence, mask=mask)
            return f(p, inputs), jax.grad(scalar(lambda p: f(p, inputs)))(p)

        together, one = jax.jit(jax.vmap(fn))(many), jax.jit(fn)
        apart = [one(jax.tree.map(lambda p, i=i: p[i], many)) for i in range(3)]
        close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *apart), 1e-5, 1e-5)


@main_kinds
def test_jit_equals_eager_and_keeps_the_dtype(kind, rng):
    for dtype in ("float32", "bfloat16"):
        sequence, cell, params, x, carry = case(kind, rng, dtype=dtype)
        with jax.numpy_dtype_promotion("strict"):
            eager = sequence(params, x, carry)
            close(jax.jit(sequence)(params, x, carry), eager, *((1e-5, 1e-6) if dtype == "float32" else (0.05, 0.05)))
            assert {leaf.dtype.name for leaf in jax.tree.leaves((eager, cell(params, carry, x[:, 0])))} == {dtype}


@main_kinds
def test_the_cell_scans(kind, rng):
    sequence, cell, params, x, carry = case(kind, rng)
    last, ys = jax.lax.scan(functools.partial(cell, params), carry, jnp.swapaxes(x, 0, 1))
    close((jnp.swapaxes(ys, 0, 1), last), sequence(params, x, carry))


@main_kinds
def test_lowers_for_every_platform(kind, rng):
    sequence, _, params, x, _ = case(kind, rng)
    ids = jnp.zeros((3, 5), "int32")
    for inputs in (x, ids):
        slope = jax.jit(jax.grad(lambda p, x: jnp.sum(sequence(p, x, mask=jnp.ones((3, 5), bool))[0])))
        exported = jax.export.export(slope, platforms=("cpu", "cuda", "tpu"))(params, inputs)
        assert exported.platforms == ("cpu", "cuda", "tpu")


def test_the_backward_pass_is_one_loop_without_activations_and_one_product_per_weight(rng):
    """It is fast because no loop accumulates weight gradients and only the first computes tanh."""
    sequence, _, params, x, _ = case("lstm", rng, time=6, batch=5)
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: jnp.sum(sequence(p, x)[0])))(params)

    def loops(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "scan":
                yield str(eqn.params["jaxpr"])
            else:
                for sub in jaxprs_in_params(eqn.params):
                    yield from loops(getattr(sub, "jaxpr", sub))

    forward, backward = loops(jaxpr.jaxpr)
    assert forward.count("tanh") == 2
    assert "tanh" not in backward
    assert "logistic" not in backward
    assert forward.count("dot_general") == backward.count("dot_general") == 1


# Errors --------------------------------------------------------------------------------------------------------------

OK = {"kernel": jnp.ones((3, 8)), "recurrent_kernel": jnp.ones((2, 8)), "bias": jnp.ones(8)}
X = jnp.ones((4, 5, 3))
H = jnp.ones((4, 2))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: rec.lstm(OK, X[..., :2]), r"lstm: expected x of shape \(batch, time, 3\).*float32\[4, 5, 2\]"),
        (lambda: rec.lstm(OK, X[:, 0]), r"expected x of shape \(batch, time, 3\).*float32\[4, 3\].*x\[\.\.\., None\]"),
        (lambda: rec.lstm(OK, X.astype(int)), r"ids of shape \(batch, time\).*int32\[4, 5, 3\].*floating-point"),
        (lambda: rec.lstm(OK, X > 0), r"expected a floating-point x, got bool"),
        (lambda: rec.lstm(OK, X.astype("bfloat16")), r"expected x of dtype float32.*bfloat16"),
        (
            lambda: rec.lstm(OK, X, mask=jnp.ones((4, 6), bool)),
            r"boolean mask of shape \(batch, time\) = \(4, 5\).*4, 6",
        ),
        (lambda: rec.lstm(OK, X, mask=jnp.ones((4, 5))), r"boolean mask.*float32\[4, 5\].*mask.astype\(bool\)"),
        (lambda: rec.lstm(OK, X, mask=[True]), r"a mask that is a boolean array, got a list"),
        (lambda: rec.lstm(OK, X, (H, H)), r"expected carry to be an LSTMCarry, got a tuple"),
        (lambda: rec.lstm(OK, X, GRUCarry(H)), r"expected carry to be an LSTMCarry, got a GRUCarry"),
        (
            lambda: rec.simple_rnn(rec.simple_rnn_init(jax.random.key(0), 3, 2), X, LSTMCarry(H, H)),
            r"simple_rnn: expected carry to be a SimpleRNNCarry, got an LSTMCarry",
        ),
        (
            lambda: rec.lstm(OK, X, LSTMCarry(H, H[:3])),
            r"carry\.c of dtype float32 and shape .* = \(4, 2\), got .*3, 2",
        ),
        (lambda: rec.lstm(OK, X, LSTMCarry(H.astype("bfloat16"), H)), r"carry\.h of dtype float32.*got bfloat16"),
        (lambda: rec.gru(OK, X), r"gru: expected a kernel \(in, 3 \* units\).*Are these another layer's"),
        (lambda: rec.lstm({**OK, "bias": jnp.ones(2)}, X), r"expected a bias of shape \(8,\), got float32\[2\]"),
        (lambda: rec.lstm({"kernel": OK["kernel"]}, X), r"parameters with a leaf 'recurrent_kernel'"),
        (lambda: rec.lstm(OK, X, activation="tahn"), r"unknown|known activation.*'tahn'.*tanh"),
        (lambda: rec.lstm_cell(OK, LSTMCarry(H, H), X), r"lstm_cell: expected x of shape \(batch, 3\)"),
        (lambda: rec.lstm_cell(OK, H, X[:, 0]), r"lstm_cell: expected carry to be an LSTMCarry"),
        (
            lambda: rec.gru(rec.gru_init(jax.random.key(0), 3, 2), X, reset_after=False),
            r"bias of shape \(6,\).*reset_after",
        ),
        (lambda: rec.lstm_init(jax.random.key(0), 3, 0), r"units to be an integer of at least 1"),
        (lambda: rec.gru_init(jax.random.key(0), 0, 3), r"in_features to be an integer of at least 1"),
        (lambda: LSTM(0), r"LSTM: expected units"),
        (lambda: GRU(2, input_dim=0), r"GRU: expected input_dim"),
        (lambda: SimpleRNN(2, activation="tahn"), r"'tahn'"),
        (lambda: LSTM(2, kernel_initializer="glorot"), r"'glorot'.*glorot_normal"),
        (lambda: LSTM(2).init(jax.random.key(0), jnp.ones((4, 5), int)), r"LSTM: .*Pass input_dim=n.*OneHot\(n\)"),
        (lambda: LSTM(2).init(jax.random.key(0), jnp.ones((4, 5))), r"\(batch, time, features\), got float32\[4, 5\]"),
        (lambda: LSTM(2, input_dim=9).init(jax.random.key(0), X), r"x of width input_dim = 9, got float32\[4, 5, 3\]"),
        (
            lambda: LSTM(2).apply(OK, {}, (X, LSTMCarry(H, H))),
            r"LSTM: expected one array, or fnn.Masked\(x, mask\), got a tuple of 2: float32\[4, 5, 3\], an LSTMCarry",
        ),
        (lambda: Bidirectional(LSTM(2), "avg"), r"merge_mode.*'avg'"),
        (lambda: Bidirectional("lstm"), r"Bidirectional, forward: expected a Layer"),
        (
            lambda: (b := Bidirectional(LSTM(2), backward_layer=LSTM(2, return_sequences=True))).apply(
                b.init(jax.random.key(0), X)[0], {}, X
            ),
            r"both directions to return sequences, or neither",
        ),
        (lambda: Bidirectional(LSTM(2)).apply({"forward": OK}, {}, X), r"parameters with a leaf 'backward'"),
        (
            lambda: Bidirectional(LSTM(2)).apply({"forward": OK, "backward": OK}, {}, X[..., :2]),
            r"bidirectional forward > lstm: expected x of shape \(batch, time, 3\)",
        ),
    ],
)
def test_errors(call, match):
    with pytest.raises(InputError, match=match):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_long_sequences_agree_with_the_plain_loop(kind, rng):
    sequence, cell, params, x, carry = case(kind, rng, batch=8, time=60, width=5, units=16)
    params = jax.tree.map(lambda p: p * 0.5, params)

    def scan(params, x, carry):
        last, ys = jax.lax.scan(functools.partial(cell, params), carry, jnp.swapaxes(x, 0, 1))
        return jnp.swapaxes(ys, 0, 1), last

    both = jax.jit(lambda *a: [(f(*a), jax.grad(scalar(f), (0, 1, 2))(*a)) for f in (sequence, scan)])
    close(*both(params, x, carry), 1e-4, 1e-4)


def test_gates_of_one_activation_that_is_not_elementwise():
    """Softmax for gates and candidate acts on each gate separately."""
    rng = np.random.default_rng(0)
    kernel, recurrent = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 12), (3, 12)))
    x = jnp.asarray(rng.normal(size=(2, 1, 2)), jnp.float32)
    y, _ = rec.lstm(
        {"kernel": kernel, "recurrent_kernel": recurrent}, x, activation="softmax", recurrent_activation="softmax"
    )
    i, _, g, o = (jax.nn.softmax(part) for part in jnp.split(x[:, 0] @ kernel, 4, axis=-1))
    np.testing.assert_allclose(y[:, 0], o * jax.nn.softmax(i * g), 1e-5)
