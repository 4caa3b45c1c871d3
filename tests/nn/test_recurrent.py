"""Recurrent functions against a plain loop over the cell, and the errors of functions and layers."""

import functools
import itertools
import re

import helpers
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.extend.core import jaxprs_in_params
from recurrent_cases import KINDS, assert_close, case, draw, kinds, mainly, scalar, value_and_gradients

from fnn._core.errors import InputError
from fnn._core.sharding import parse_placement, placing
from fnn.nn.rnn import functions as rec
from fnn.nn.rnn.bidirectional import Bidirectional
from fnn.nn.rnn.cells import GRUCarry, LSTMCarry
from fnn.nn.rnn.layers import GRU, LSTM, SimpleRNN
from fnn.nn.rnn.sequence import GPU_STEPS


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

# Compiling takes the time: in the slow test every example is a program. Other tests here are optimized when slow.
BARELY_OPTIMIZED = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    **({"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}),
}


def check_against_plain(kind, dtype, numbers, seed, reverse, masked, use_bias, with_carry):
    rng = np.random.default_rng(seed)
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        sequence, cell, params, x, carry = case(kind, rng, **numbers, dtype=dtype, use_bias=use_bias)
        mask = jnp.asarray(rng.random((numbers["batch"], numbers["time"])) < 0.6) if masked else None

        zeros = jax.tree.map(np.zeros_like, carry)

        def ours(params, x, carry=None):
            return sequence(params, x, carry, mask=mask, reverse=reverse)

        def theirs(params, x, carry=zeros):
            return plain(cell, params, x, carry, mask, reverse)

        # The value alone too: without derivatives another function computes it.
        both = jax.jit(
            lambda *args: [(fn(*args), value_and_gradients(fn, *args)) for fn in (ours, theirs)],
            compiler_options=BARELY_OPTIMIZED,
        )
        results = both(params, x, carry) if with_carry else both(params, x)
    tolerance = {"float32": (1e-5, 1e-5), "float64": (1e-12, 1e-12), "bfloat16": (0.06, 0.15)}[dtype]
    assert_close(*results, *tolerance)


@pytest.mark.parametrize(
    ("kind", "dtype", "reverse", "masked", "use_bias", "with_carry"),
    [
        ("simple_rnn", "float64", True, True, True, True),
        pytest.param("simple_rnn", "bfloat16", False, False, False, False, marks=pytest.mark.slow),
        ("lstm", "float64", False, True, True, True),
        ("lstm", "bfloat16", True, False, False, True),
        ("gru", "float64", True, True, True, False),
        pytest.param("gru", "bfloat16", False, False, False, True, marks=pytest.mark.slow),
        pytest.param("gru_before", "float32", True, True, False, True, marks=pytest.mark.slow),
        ("gru_before", "float64", False, False, True, False),
    ],
)
def test_values_and_gradients_match_a_plain_loop(kind, dtype, reverse, masked, use_bias, with_carry):
    numbers = {"batch": 3, "time": 4, "width": 2, "units": 3}
    check_against_plain(kind, dtype, numbers, 0, reverse, masked, use_bias, with_carry)


@pytest.mark.slow
@kinds
@hypothesis.settings(max_examples=40)
@hypothesis.given(data=st.data())
def test_more_values_and_gradients_match_a_plain_loop(kind, data):
    dtype = data.draw(st.sampled_from(["float64", "float32", "bfloat16"]), label="dtype")
    numbers = {n: data.draw(st.integers(1, 4), label=n) for n in ("batch", "time", "width", "units")}
    seed = data.draw(st.integers(0, 99), label="seed")
    flags = {n: data.draw(st.booleans(), label=n) for n in ("reverse", "masked", "use_bias", "with_carry")}
    check_against_plain(kind, dtype, numbers, seed, **flags)


@pytest.mark.parametrize(
    ("kind", "reverse"),
    [("lstm", False), ("gru", True)]
    + [
        pytest.param(kind, reverse, marks=pytest.mark.slow)
        for kind, reverse in [
            ("lstm", True),
            ("gru", False),
            *itertools.product(("simple_rnn", "gru_before"), (False, True)),
        ]
    ],
)
def test_returning_only_the_last_output_keeps_the_gradients(kind, reverse, rng):
    sequence, _, params, x, carry = case(kind, rng)
    mask = jnp.asarray(rng.random(x.shape[:2]) < 0.6)

    def fn(params, x, carry, sequences):
        ys, last = sequence(params, x, carry, mask=mask, reverse=reverse, return_sequences=sequences)
        return (ys[:, 0 if reverse else -1] if sequences else ys), last

    @jax.jit
    def both(*args):
        calls = [functools.partial(fn, sequences=sequences) for sequences in (False, True)]
        return [(call(*args), value_and_gradients(call, *args)) for call in calls]

    assert_close(*both(params, x, carry))


@pytest.mark.parametrize(
    ("kind", "activation", "recurrent_activation"),
    [
        pytest.param("simple_rnn", "relu", None, marks=pytest.mark.slow),
        ("lstm", "softsign", "sigmoid"),
        pytest.param("gru", "relu", "linear", marks=pytest.mark.slow),
        ("gru_before", "tanh", "softmax"),
    ],
)
def test_other_activations(kind, activation, recurrent_activation, rng):
    sequence, cell, params, x, carry = case(kind, rng)
    acts = {"activation": activation}
    if kind != "simple_rnn":
        acts["recurrent_activation"] = recurrent_activation

    @jax.jit
    def both(*args):
        fns = functools.partial(sequence, **acts), functools.partial(plain, cell, **acts)
        return [value_and_gradients(fn, *args) for fn in fns]

    assert_close(*both(params, x, carry), 1e-5, 1e-5)


@pytest.mark.slow
@kinds
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
    assert_close(ours, theirs, 1e-10, 1e-10)


@mainly("gru")
def test_two_halves_equal_the_whole(kind, rng):
    sequence, _, params, x, carry = case(kind, rng, time=6)
    sequence = jax.jit(sequence, static_argnames="reverse")
    ys, last = sequence(params, x, carry)
    first, middle = sequence(params, x[:, :3], carry)
    second, end = sequence(params, x[:, 3:], middle)
    assert_close((np.concatenate([first, second], 1), end), (ys, last))
    # In reverse the second half comes first.
    ys, last = sequence(params, x, carry, reverse=True)
    second, middle = sequence(params, x[:, 3:], carry, reverse=True)
    first, end = sequence(params, x[:, :3], middle, reverse=True)
    assert_close((np.concatenate([first, second], 1), end), (ys, last))
    flipped, _ = sequence(params, np.flip(x, 1), carry)
    assert_close(np.flip(flipped, 1), ys)


@mainly("lstm")
def test_values_at_masked_steps_are_ignored(kind, rng):
    sequence, _, params, x, _ = case(kind, rng)
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
    spoilt = np.where(mask[..., None], x, np.float32(np.nan))

    @jax.jit
    def both(x, mask):
        return value_and_gradients(lambda p: sequence(p, x, mask=mask), params)

    right = both(x, mask)
    assert_close(both(spoilt, mask), right)
    ids = rng.integers(0, 4, (3, 5), "int32")
    assert_close(both(np.where(mask, ids, np.int32(-1)), mask), both(ids, mask))
    ys = np.asarray(right[0][0])
    np.testing.assert_array_equal(ys[2], np.zeros_like(ys[2]))  # a row without any step keeps the zero carry
    np.testing.assert_array_equal(ys[0, 2], ys[0, 1])
    # Rows that end early give the output of the shorter sequence.
    full = np.array([[1, 1, 1, 0, 0]] * 3, bool)
    assert_close(both(x, full)[0][1], jax.jit(sequence)(params, x[:, :3])[1])


@pytest.mark.parametrize(
    ("kind", "dtype", "symbols"),
    [("lstm", "int32", 5), ("gru", "int8", 300)]
    + [
        pytest.param(kind, *ids, marks=pytest.mark.slow)
        for kind, ids in itertools.product(KINDS, [("int32", 5), ("int8", 300)])
        if (kind, *ids) not in [("lstm", "int32", 5), ("gru", "int8", 300)]
    ],
)
def test_integers_equal_one_hot(kind, dtype, symbols, rng):
    init, sequence, cell, carry_type, _ = KINDS[kind]
    params = draw(rng, jax.eval_shape(lambda: init(jax.random.key(0), symbols, 3)))
    ids = rng.integers(0, min(symbols, 100), (4, 6)).astype(dtype)
    rows = np.eye(symbols, dtype="float32")[ids]
    carry = carry_type(*(np.full((4, 3), 1 + i, "float32") for i in range(len(carry_type._fields))))

    @jax.jit
    def both(params, ids, rows):
        return [
            (value_and_gradients(lambda p, x=x: sequence(p, x), params), cell(params, carry, x[:, 2]))
            for x in (ids, rows)
        ]

    assert_close(*both(params, ids, rows), 1e-5, 1e-5)
    wrong = ids.astype("int32")
    wrong[1, 2], wrong[2, 3] = symbols, -1
    ys = np.asarray(jax.jit(sequence)(params, wrong)[0])
    bad = np.isnan(ys).all(-1)
    np.testing.assert_array_equal(bad, [[0] * 6, [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0] * 6])
    assert not np.isnan(ys[~bad]).any()


@pytest.mark.slow
@mainly("lstm")
def test_vmap_over_parameters_equals_a_loop(kind, rng):
    sequence, _, params, x, _ = case(kind, rng)
    many = draw(rng, jax.tree.map(lambda p: jnp.zeros((3, *p.shape)), params))
    ids = jnp.asarray(rng.integers(0, 4, (3, 5)))
    mask = jnp.asarray(rng.random((3, 5)) < 0.7)
    for inputs in (x, ids) if kind == "lstm" else (x,):

        def fn(p, inputs=inputs):
            return value_and_gradients(lambda p: sequence(p, inputs, mask=mask), p)

        together, one = jax.jit(jax.vmap(fn))(many), jax.jit(fn)
        apart = [one(jax.tree.map(lambda p, i=i: p[i], many)) for i in range(3)]
        assert_close(together, jax.tree.map(lambda *leaves: np.stack(leaves), *apart), 1e-5, 1e-5)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        pytest.param(*each, marks=[] if each == ("lstm", "float32") else pytest.mark.slow)
        for each in itertools.product(KINDS, ("float32", "bfloat16"))
    ],
)
def test_jit_equals_eager(kind, dtype, rng):
    sequence, _, params, x, carry = case(kind, rng, dtype=dtype)
    eager = sequence(*jax.tree.map(jnp.asarray, (params, x, carry)))
    assert_close(jax.jit(sequence)(params, x, carry), eager, *((1e-5, 1e-6) if dtype == "float32" else (0.05, 0.05)))


@kinds
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_dtype_is_kept(kind, dtype, rng, strict_promotion):
    sequence, cell, params, x, carry = case(kind, rng, dtype=dtype)
    out = jax.eval_shape(lambda p, x, c: (sequence(p, x, c), cell(p, c, x[:, 0])), params, x, carry)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(out)} == {dtype}


@mainly("gru")
def test_the_cell_scans(kind, rng):
    sequence, cell, params, x, carry = case(kind, rng)
    last, ys = jax.lax.scan(functools.partial(cell, params), carry, np.swapaxes(x, 0, 1))
    assert_close((np.swapaxes(ys, 0, 1), last), jax.jit(sequence)(params, x, carry))


@mainly("lstm")
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

    def operations(jaxpr):  # of the default where platforms differ, which is the last branch
        for eqn in jaxpr.eqns:
            inside = [eqn.params["branches"][-1]] if eqn.primitive.name == "cond" else jaxprs_in_params(eqn.params)
            yield eqn
            for sub in inside if eqn.primitive.name != "scan" else ():
                yield from operations(getattr(sub, "jaxpr", sub))

    loops = [eqn.params["jaxpr"].jaxpr for eqn in operations(jaxpr.jaxpr) if eqn.primitive.name == "scan"]
    forward, backward = ([eqn.primitive.name for eqn in operations(loop)] for loop in loops)
    assert forward.count("tanh") == 2
    assert "tanh" not in backward
    assert "logistic" not in backward
    assert forward.count("dot_general") == backward.count("dot_general") == 1


@mainly("lstm")
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"return_sequences": False}, {"mask": True}])
@pytest.mark.parametrize("as_ids", [False, True])
def test_the_forms_for_other_platforms_give_the_same_values_and_gradients(kind, options, as_ids, rng):
    sequence, _, params, x, carry = case(kind, rng, time=GPU_STEPS + 1, batch=3)
    if as_ids:
        x = rng.integers(0, params["kernel"].shape[0], x.shape[:2])
    if "mask" in options:
        options = {"mask": jnp.asarray(rng.random(x.shape[:2]) > 0.4)}

    def compiled():  # another function each time, since JAX keeps what it traced
        return jax.jit(lambda *inputs: value_and_gradients(lambda p, c: sequence(p, x, c, **options), *inputs))

    want = compiled()(params, carry)
    for platform in "tpu", "cuda":
        assert_close(helpers.for_platform(platform, compiled())(params, carry), want)


@mainly("lstm")
def test_on_a_gpu_alone_a_round_of_a_loop_is_several_steps(kind, rng):
    sequence, _, params, x, _ = case(kind, rng)

    def loops(platform):
        def slope(params, x):  # another function each time, since JAX keeps what it traced
            return jax.grad(lambda p: jnp.sum(sequence(p, x)[0]))(params)

        text = str(helpers.for_platform(platform, jax.make_jaxpr(slope))(params, x))
        return [int(unroll) for unroll in re.findall(r"unroll=(\d+)", text)]

    assert loops("cuda") == loops("rocm") == [GPU_STEPS] * 2
    assert loops("cpu") == loops("tpu") == [1] * 2


@pytest.mark.parametrize(("units", "devices", "packs"), [(512, 1, True), (1024, 1, False), (1024, 2, True)])
def test_on_a_tpu_slopes_of_an_lstm_are_packed_where_they_fit_in_on_chip_memory(units, devices, packs, rng):
    sequence, _, params, x, _ = case("lstm", rng, time=40, batch=128, units=units)
    params, x = jax.eval_shape(lambda: (params, x))

    def slope(params, x):
        return jax.grad(lambda p: jnp.sum(sequence(p, x, return_sequences=False)[0]))(params)

    with placing(parse_placement(jax.sharding.AbstractMesh((devices,), ("data",)), abstract=True)):
        text = str(helpers.for_a_tpu(jax.make_jaxpr(slope))(params, x))
    assert ("concatenate[dimension=2]" in text) == packs


@mainly("lstm")
def test_on_a_tpu_an_id_out_of_range_gives_nan(kind, rng):
    sequence, _, params, *_ = case(kind, rng)
    count = params["kernel"].shape[0]
    ys, _ = helpers.for_a_tpu(sequence)(params, jnp.array([[0, count - 1], [count, 0], [0, -1]]))
    np.testing.assert_array_equal(np.isnan(ys).all(axis=-1), [[False, False], [True, True], [False, True]])


@mainly("lstm")
def test_a_tpu_alone_reads_rows_by_a_product(kind, rng):
    sequence, _, params, *_ = case(kind, rng)
    ids = jnp.zeros((3, 5), "int32")

    def precise(platform):
        return "HIGHEST" in jax.export.export(jax.jit(sequence), platforms=[platform])(params, ids).mlir_module()

    assert [precise(platform) for platform in ("cpu", "cuda", "tpu")] == [False, False, True]


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
            lambda: rec.simple_rnn({"kernel": H[:3], "recurrent_kernel": H[:2]}, X, LSTMCarry(H, H)),
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
            lambda: rec.gru(
                jax.jit(rec.gru_init, static_argnums=(1, 2))(jax.random.key(0), 3, 2), X, reset_after=False
            ),
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
            lambda: jax.eval_shape(
                lambda x: Bidirectional(LSTM(2), backward_layer=LSTM(2, return_sequences=True)).apply(
                    {"forward": OK, "backward": OK}, {}, x
                ),
                X,
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

    both = jax.jit(lambda *a: [value_and_gradients(f, *a) for f in (sequence, scan)])
    assert_close(*both(params, x, carry), 1e-4, 1e-4)


def test_gates_of_one_activation_that_is_not_elementwise():
    """Softmax for gates and candidate acts on each gate separately."""
    rng = np.random.default_rng(0)
    kernel, recurrent = (rng.normal(size=shape).astype("float32") for shape in ((2, 12), (3, 12)))
    x = rng.normal(size=(2, 1, 2)).astype("float32")
    lstm = jax.jit(functools.partial(rec.lstm, activation="softmax", recurrent_activation="softmax"))
    y, _ = lstm({"kernel": kernel, "recurrent_kernel": recurrent}, x)

    def softmax(a):
        return np.exp(a) / np.exp(a).sum(-1, keepdims=True)

    i, _, g, o = (softmax(part) for part in np.split(x[:, 0] @ kernel, 4, axis=-1))
    np.testing.assert_allclose(np.asarray(y)[:, 0], o * softmax(i * g), 1e-5)
