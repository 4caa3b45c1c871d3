"""Shapes and costs before a step, and the report of activations, gradients and updates in one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn._core.jaxprs import multiply_adds
from fnn.inspection.report import NonFinite, _notes

RNG = np.random.default_rng(5)


# --------------------------------------------------------------------------------------------------------------- shapes
def test_shapes_dtypes_operations_and_bytes_of_an_image_model():
    model = fnn.Sequential(
        fnn.Conv(8, 3, activation="relu"), fnn.DepthwiseConv((3, 2), strides=2),
        fnn.Conv(6, 3, padding="same", groups=2), fnn.ConvTranspose(4, 3, strides=2),
        fnn.Residual(fnn.Conv(4, 3, padding="same"), fnn.BatchNorm()), fnn.GlobalAvgPool(), fnn.Dense(10),
    )  # fmt: skip
    table = fnn.check(model, (14, 12, 3))
    assert isinstance(table, fnn.Check)
    assert [row.path[-1] for row in table.rows] == [
        "conv", "depthwise_conv", "conv_1", "conv_transpose", "residual", "body", "conv", "batch_norm",
        "global_avg_pool", "dense",
    ]  # fmt: skip
    # The outputs times the terms of each: the window and the channels of its group.
    conv = [12 * 10 * 8 * 9 * 3, 5 * 5 * 8 * 6, 5 * 5 * 6 * 9 * 4]
    transposed = 5 * 5 * 6 * 9 * 4  # each input is multiplied by the whole window of every output channel
    assert [row.operations for row in table.rows] == [*conv, transposed, 0, 0, 11 * 11 * 4 * 9 * 4, 0, 0, 40]
    assert table.operations == sum(row.operations for row in table.rows)
    first, *_, last = table.rows
    assert (first.input_shape, first.input_dtype) == ((None, 14, 12, 3), "float32")
    assert (first.output_shape, first.output_dtype) == ((None, 12, 10, 8), "float32")
    assert first.size == 4 * 12 * 10 * 8
    assert [row.params for row in table.rows] == [row.params for row in fnn.summary(model, (14, 12, 3)).rows]
    # The body repeats the output of its last layer, so its bytes count once.
    assert table.size == sum(row.size for row in table.rows if row.path[-1] != "body")
    assert (last.input_shape, last.size) == ((None, 4), 40)


def test_operations_agree_with_xla_s_own_count():
    """XLA counts a multiply-add as two operations, and also the few elementwise operations."""
    model = fnn.Sequential(fnn.Conv(16, 3), fnn.Conv(16, 3), fnn.Flatten(), fnn.Dense(64), fnn.Dense(10))
    x = jax.ShapeDtypeStruct((1, 16, 16, 16), "float32")
    params, state = jax.eval_shape(model.init, jax.random.key(0), x)
    compiled = jax.jit(lambda p, x: model.apply(p, state, x)[0]).lower(params, x).compile()
    flops = compiled.cost_analysis()["flops"]
    np.testing.assert_allclose(2 * fnn.check(model, x).operations, flops, rtol=0.02)


def test_operations_of_recurrent_layers_with_a_mask():
    model = fnn.Sequential(
        fnn.Embedding(7, 4, mask_zero=True), fnn.Bidirectional(fnn.LSTM(3, return_sequences=True)), fnn.GRU(2)
    )
    table = fnn.check(model, jnp.zeros((1, 5), jnp.int32))
    lstm, gru = 5 * 4 * 3 * (4 + 3), 5 * 3 * 2 * (6 + 2)
    assert [row.operations for row in table.rows] == [0, 0, lstm, lstm, gru]
    bidirectional = table.rows[1]
    assert bidirectional.input_shape == ((None, 5, 4), (None, 5))
    assert bidirectional.input_dtype == ("float32", "bool")
    assert bidirectional.size == 5 * 6 * 4 + 5
    text = str(table)
    assert "  forward (LSTM)               float32 (None, 5, 4), bool (None, 5)  float32 (None, 5, 3)" in text
    assert text.endswith(f"for each example: {2 * lstm + gru:,} multiply-adds, 348.00 B of outputs")
    plain = fnn.check(fnn.SimpleRNN(6, input_dim=9), jnp.zeros((3, 4), jnp.int32))
    assert plain.operations == 4 * 6 * 6  # ids read rows of the kernel
    assert plain.rows[0].path == ("simple_rnn",)


def test_operations_of_a_traced_program():
    def count(fn, *shapes):
        return multiply_adds(jax.make_jaxpr(fn)(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)).jaxpr)

    assert count(lambda a, b: a @ b, (3, 4), (4, 5)) == 60
    assert count(jax.vmap(lambda a, b: a @ b), (7, 3, 4), (7, 4, 5)) == 7 * 60
    assert count(jax.jit(lambda a, b: jnp.tanh(a @ b)), (3, 4), (4, 5)) == 60
    assert count(lambda a: jax.lax.fori_loop(0, 6, lambda i, a: a @ a, a), (4, 4)) == 6 * 64
    assert count(lambda a: jax.lax.cond(a.sum() > 0, lambda a: a @ a @ a, lambda a: a, a), (4, 4)) == 128
    assert count(jax.checkpoint(lambda a: a @ a), (4, 4)) == 64
    image, kernel = (2, 8, 8, 6), (3, 3, 3, 10)
    numbers = ("NHWC", "HWIO", "NHWC")
    convolution = functools.partial(
        jax.lax.conv_general_dilated, window_strides=(1, 1), padding="VALID", feature_group_count=2
    )
    assert count(lambda x, k: convolution(x, k, dimension_numbers=numbers), image, kernel) == 2 * 36 * 10 * 9 * 3
    conv = fnn.conv
    one, many = (5, 8, 8, 3), (4, 3, 3, 3, 10)
    assert count(jax.vmap(lambda k, x: conv({"kernel": k}, x), (0, None)), many, one) == 4 * 5 * 36 * 10 * 27
    assert count(jax.vmap(lambda k, x: conv({"kernel": k}, x)), many, (4, *one)) == 4 * 5 * 36 * 10 * 27


def test_check_computes_nothing_and_takes_tasks_and_shapes():
    big = fnn.Sequential(fnn.Dense(10_000_000), fnn.Dense(1))
    table = fnn.check(big, jax.ShapeDtypeStruct((1, 1_000_000), jnp.float32))
    assert table.operations == 10**13 + 10**7
    task = fnn.Task(fnn.Dense(2), "mse")
    assert fnn.check(task, np.ones((7, 3))) == fnn.check(fnn.Dense(2), (3,)) == fnn.check(fnn.Dense(2), (None, 3))
    half = fnn.check(fnn.Dense(2), jnp.ones((1, 3), jnp.bfloat16))
    assert (half.rows[0].output_dtype, half.size) == ("bfloat16", 4)
    with pytest.raises(fnn.InputError, match="ends in softmax"):
        fnn.check(fnn.Task(fnn.Dense(3, jax.nn.softmax), "categorical_crossentropy"), (2,))
    with pytest.raises(fnn.InputError, match="check: expected a Layer or a Task, got an int"):
        fnn.check(3, (3,))
    with pytest.raises(fnn.InputError, match=r"check: expected a batch .*, got a TrainState\. It needs no parameters"):
        fnn.check(TASK, state_of(TASK, PARAMS))
    words = fnn.Sequential(fnn.Embedding(50, 8), fnn.Flatten(), fnn.Dense(2))
    with pytest.raises(fnn.InputError, match=r'integer ids, .* pass jax.ShapeDtypeStruct\(\(1, 20\), "int32"\)'):
        fnn.check(words, (20,))
    assert fnn.check(words, jax.ShapeDtypeStruct((1, 20), "int32")).rows[-1].output_shape == (None, 2)
    with pytest.raises(fnn.InputError, match="check, x: expected an array"):
        fnn.check(fnn.Dense(2), "images")


def test_a_user_defined_layer_with_children_has_its_own_operations():
    inner = fnn.Sequential(fnn.Dense(4))

    def apply(params, state, x, *, key=None, train=False):
        return inner.apply(params, {}, x)[0] @ jnp.ones((4, 6)), state

    mine = fnn.Layer(lambda key, x: (inner.init(key, x)[0], {}), apply, "mine", "Mine")
    table = fnn.check(fnn.Sequential(mine, fnn.Dense(2)), (3,))
    assert [(row.path, row.operations) for row in table.rows] == [
        (("mine",), 24), (("mine", "dense"), 12), (("dense",), 12),
    ]  # fmt: skip
    assert fnn.check(mine, (3,)).operations == 36


def test_a_rejected_input_shows_the_table_up_to_that_layer():
    block = fnn.Sequential(fnn.Dense(4), fnn.Residual(fnn.Dense(4), fnn.Conv(8, 3)), name="block")
    with pytest.raises(fnn.InputError, match=r"^layer 'block' \(position 1\) > layer 'residual'") as error:
        fnn.check(fnn.Sequential(fnn.Dense(16, "relu"), block, fnn.Dense(1)), (784,))
    first, *lines = str(error.value).splitlines()
    assert "> Conv: expected x of shape (batch, *spatial, channels)" in first
    assert lines[0] == "The layers before it:"
    assert [line.split("  ")[0] for line in lines[3:]] == [
        "dense (Dense)", "block/dense (Dense)", "block/residual/body/dense (Dense)",
    ]  # fmt: skip
    assert "float32 (None, 784)  float32 (None, 16)  12,560" in lines[3]
    # The first layer has no table before it.
    with pytest.raises(fnn.InputError, match=r"layer 'conv' \(position 0\)") as error:
        fnn.check(fnn.Sequential(fnn.Conv(8, 3), fnn.Dense(2)), (784,))
    assert str(error.value).endswith("Add Reshape((h, w, c)) before it.")
    # The last layer fails only when it is applied.
    with pytest.raises(fnn.InputError, match="The layers before it:\nlayer"):
        fnn.check(fnn.Sequential(fnn.Flatten(), fnn.Reshape(7)), (4, 2))

    def apply(params, state, x, *, key=None, train=False):
        raise KeyError("oh")

    broken = fnn.Layer(lambda key, x: ({}, {}), apply, "mine")
    with pytest.raises(KeyError, match="oh") as error:
        fnn.check(fnn.Sequential(fnn.Dense(16), broken), (3,))
    assert error.value.__notes__[-1].startswith("The layers before it:\nlayer (type)")


# -------------------------------------------------------------------------------------------------------------- numbers
X = RNG.normal(size=(40, 6)).astype("float32")
Y = RNG.integers(0, 3, 40).astype("int32")
# One task for most tests, so that it is compiled once; the parameters hold the faults.
TASK = fnn.Task(
    fnn.Sequential(fnn.Dense(8, "tanh"), fnn.Dense(5, "relu"), fnn.Dense(3)),
    "sparse_categorical_crossentropy",
    fnn.sgd(0.3),
)


def normal(*shape):
    return RNG.normal(size=shape) / np.sqrt(shape[0])


PARAMS = {
    "dense": {"kernel": normal(6, 8), "bias": normal(8)},
    "dense_1": {"kernel": normal(8, 5), "bias": normal(5)},
    "dense_2": {"kernel": normal(5, 3), "bias": normal(3)},
}


def state_of(task, params, state=None):
    """A TrainState of given parameters, made without compiling anything."""
    params = jax.tree.map(lambda a: jax.device_put(np.asarray(a, "float32")), params)
    return fnn.TrainState(params, state or {}, task.optimizer.init(params), jax.random.key(0), jnp.int32(0))


def changed(**layers):
    """The parameters with some leaves changed: layer="leaf", function of it."""
    params = {name: dict(leaves) for name, leaves in PARAMS.items()}
    for layer, (leaf, change) in layers.items():
        params[layer][leaf] = change(params[layer][leaf])
    return params


def report_of(params, x=X, y=Y):
    return fnn.layer_report(TASK, state_of(TASK, params), (x, y))


def test_every_number_matches_numpy():
    p = changed(dense_1=("bias", lambda b: b + np.linspace(-4, 1, 5)), dense=("kernel", lambda k: 2 * k))
    report = report_of(p)

    first = np.tanh(X @ p["dense"]["kernel"] + p["dense"]["bias"])
    second = np.maximum(first @ p["dense_1"]["kernel"] + p["dense_1"]["bias"], 0)
    logits = second @ p["dense_2"]["kernel"] + p["dense_2"]["bias"]
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    at = {"dense_2": (softmax - np.eye(3)[Y]) / 40}
    at["dense_1"] = at["dense_2"] @ p["dense_2"]["kernel"].T
    at["dense"] = (at["dense_1"] * (second > 0)) @ p["dense_1"]["kernel"].T
    before = {"dense": (X, at["dense"] * (1 - first**2)), "dense_1": (first, at["dense_1"] * (second > 0))}
    before["dense_2"] = second, at["dense_2"]

    assert [row.path for row in report.rows] == ["dense", "dense_1", "dense_2"]
    for row, y in zip(report.rows, (first, second, logits), strict=True):
        x, g = before[row.path]
        own = np.concatenate([v.ravel() for v in p[row.path].values()])
        slope = np.concatenate([(x.T @ g).ravel(), g.sum(0)])
        expected = {
            "mean": y.mean(), "std": y.std(), "zeros": (y == 0).mean(),
            "gradient_norm": np.linalg.norm(at[row.path]), "gradient_rms": np.sqrt((at[row.path] ** 2).mean()),
            "param_norm": np.linalg.norm(own), "param_gradient_norm": np.linalg.norm(slope),
            "update_ratio": 0.3 * np.linalg.norm(slope) / np.linalg.norm(own),
        }  # fmt: skip
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(row, name), value, rtol=2e-4, atol=1e-6, err_msg=f"{row.path} {name}")
        assert row.shape == y.shape
        assert row.units == y.shape[1]
        assert row.dead == int((y == 0).all(0).sum())
        assert row.non_finite == NonFinite(0, 0, 0, 0)
    assert 1 <= report.rows[1].dead <= 4
    assert report.rows[1].zeros > 0.3
    assert [row.saturated is None for row in report.rows] == [False, True, True]
    share = (np.abs(first) > 0.99).mean()
    assert share > 0.01
    np.testing.assert_allclose(report.rows[0].saturated, share, atol=1e-6)
    np.testing.assert_allclose(report.loss, -np.log(softmax[np.arange(40), Y]).mean(), rtol=1e-5)
    assert report.examples == 40


def test_updates_match_the_optimizer():
    """Including clipping, earlier moments and frozen layers."""
    optimizer = fnn.freeze(fnn.chain(fnn.clip_by_global_norm(0.1), fnn.adam(0.02)), "dense_1/*")
    task = TASK.replace(optimizer=optimizer)
    ts, _ = fnn.train_step(task, state_of(task, PARAMS), (X, Y))
    after, logs = fnn.train_step(task, ts, (X[::-1], Y))
    report = fnn.layer_report(task, ts, (X[::-1], Y))
    ratios = []
    for row in report.rows:
        moved = jax.tree.map(lambda a, b: np.float64(a) - np.float64(b), after.params[row.path], ts.params[row.path])
        ratios.append(np.linalg.norm(np.concatenate([m.ravel() for m in moved.values()])) / row.param_norm)
    np.testing.assert_allclose([row.update_ratio for row in report.rows], ratios, rtol=1e-3)
    assert [ratio > 0 for ratio in ratios] == [True, False, True]
    np.testing.assert_allclose(report.loss, logs["loss"], rtol=1e-6)


def test_rows_of_nested_models():
    """An inner Sequential repeats its last layer and has no row; every parameter counts once."""
    model = fnn.Sequential(
        fnn.Sequential(fnn.Reshape((2, 3)), fnn.Dense(4, "relu"), fnn.Dropout(0.5), name="block"),
        fnn.Residual(fnn.Dense(6), fnn.BatchNorm(), shortcut=fnn.Dense(6)), fnn.Flatten(), fnn.Dense(3),
    )  # fmt: skip
    task = TASK.replace(model=model)
    params, state = jax.eval_shape(model.init, jax.random.key(0), X[:1])
    params = jax.tree.map(lambda a: normal(*a.shape), params)
    params["block"]["dense"]["bias"][1] = -50
    params["residual"]["body"]["batch_norm"]["gamma"] = np.ones(6)
    params["residual"]["body"]["batch_norm"]["beta"] = np.zeros(6)
    ts = state_of(task, params, jax.tree.map(lambda a: jnp.ones(a.shape, a.dtype), state))
    report = fnn.layer_report(task, ts, (X, Y))
    rows = {row.path: row for row in report.rows}
    assert list(rows) == [
        "block/reshape", "block/dense", "block/dropout", "residual/body/dense", "residual/body/batch_norm",
        "residual/shortcut", "residual", "flatten", "dense",
    ]  # fmt: skip
    assert [path for path, row in rows.items() if row.param_norm is not None] == [
        "block/dense", "residual/body/dense", "residual/body/batch_norm", "residual/shortcut", "dense",
    ]  # fmt: skip
    # Zero in both places of every example.
    assert (rows["block/dense"].dead, rows["block/dense"].units, rows["block/dense"].shape) == (1, 4, (40, 2, 4))
    assert rows["block/dropout"].zeros > rows["block/dense"].zeros + 0.1
    np.testing.assert_allclose(rows["residual/body/batch_norm"].param_norm, np.sqrt(6), rtol=1e-6)
    # Dropout passes dead units through; the note is not repeated.
    assert [note for note in report.notes if "dead" in note] == [
        "block/dense: 1 of 4 units are dead, 0 for all 40 examples"
    ]


def test_integer_outputs_have_no_statistics_and_masked_steps_do_not_count():
    ids = RNG.integers(1, 7, (8, 5)).astype("int32")
    ids[:, 3:] = 0
    table = np.float32(RNG.normal(size=(7, 4)))
    table[0] = 1e6
    task = fnn.Task(fnn.Sequential(fnn.Flatten(), fnn.Embedding(7, 4, mask_zero=True), fnn.SimpleRNN(3)), "mse")
    rnn = {"kernel": normal(4, 3), "recurrent_kernel": normal(3, 3), "bias": normal(3)}
    ts = state_of(task, {"embedding": {"embeddings": table}, "simple_rnn": rnn})
    flat, embedded, _ = fnn.layer_report(task, ts, (ids, np.float32(RNG.normal(size=(8, 3))))).rows
    assert (flat.mean, flat.zeros, flat.units, flat.gradient_norm, flat.param_norm) == (None,) * 5
    seen = table[ids[:, :3]]
    np.testing.assert_allclose([embedded.mean, embedded.std], [seen.mean(), seen.std()], rtol=1e-5)
    assert (embedded.units, embedded.dead) == (4, 0)
    assert embedded.shape == ((8, 5, 4), (8, 5))
    np.testing.assert_allclose(embedded.param_norm, np.linalg.norm(table), rtol=1e-6)


def test_notes_on_dead_units_and_gradients():
    assert report_of(PARAMS).notes == ()
    few = report_of(changed(dense_1=("bias", lambda b: np.where(np.arange(5) % 3 == 0, -50, b + 0.5))))
    assert few.notes == ("dense_1: 2 of 5 units are dead, 0 for all 40 examples",)
    gone = report_of(changed(dense_1=("bias", lambda b: b - 50)))
    assert gone.notes == ("no gradient reaches dense", "dense_1: 5 of 5 units are dead, 0 for all 40 examples")
    assert gone.rows[0].gradient_norm == 0 < gone.rows[1].gradient_norm
    # A last layer that starts at 0 has a gradient, so its units are not dead.
    zero = report_of(PARAMS | {"dense_2": {"kernel": np.zeros((5, 3)), "bias": np.zeros(3)}})
    assert (zero.rows[2].zeros, zero.rows[2].dead) == (1, 0)
    steep = report_of(changed(dense=("kernel", lambda k: 60 * k)))
    assert steep.rows[0].saturated > 0.9
    said = f"dense: {steep.rows[0].saturated:.0%} of the outputs are at their bounds: saturated, hardly any slope"
    assert steep.notes == (said,)


def test_notes_name_three_layers_and_count_the_others():
    """Many layers share one note, which gives the worst value."""
    row = report_of(PARAMS).rows[0]
    rows = [row._replace(path=f"d{i}", dead=2 + i, units=8, saturated=0.6 + i / 10) for i in range(4)]
    assert _notes([*rows, row], 1.0, 9) == [
        "d0, d1, d2 and 1 more: up to 62% of the units are dead, 0 for all 9 examples",
        "d0, d1, d2 and 1 more: up to 90% of the outputs are at their bounds: saturated, hardly any slope",
    ]
    passing = [one._replace(kind="MaxPool") for one in rows]
    assert _notes([*passing, row], 1.0, 9) == []


def test_saturation_of_a_sigmoid():
    task = fnn.Task(
        fnn.Sequential(fnn.Dense(6, "sigmoid"), fnn.Flatten(), fnn.Dense(1, "sigmoid")),
        functools.partial(fnn.losses.binary_crossentropy, from_logits=False),
    )
    params = {"dense": {"kernel": 60 * normal(6, 6), "bias": normal(6)}}
    params["dense_1"] = {"kernel": 60 * normal(6, 1), "bias": normal(1)}
    report = fnn.layer_report(task, state_of(task, params), (X, np.float32(Y > 1)))
    first = 1 / (1 + np.exp(-(X @ params["dense"]["kernel"] + params["dense"]["bias"])))
    share = ((first < 0.01) | (first > 0.99)).mean()
    np.testing.assert_allclose(report.rows[0].saturated, share, atol=0.01)
    # Flatten passes its input through, and a last layer may be confident.
    assert report.rows[2].saturated > 0.5
    assert [note.split(":")[0] for note in report.notes if "saturated" in note] == ["dense"]


def test_a_gradient_that_vanishes_or_explodes():
    weak = changed(dense_1=("kernel", lambda k: 1e-6 * k))
    weak["dense_1"]["bias"] = np.arange(1.0, 6.0)
    falls = report_of(weak)
    ratio = falls.rows[0].gradient_norm / falls.rows[2].gradient_norm
    assert 1e-8 < ratio < 1e-5
    way = "of itself from dense_2, the last layer, to dense, the first: vanishing"
    assert falls.notes[0] == f"the gradient falls to {ratio:.1e} {way}"
    still = falls.rows[0].update_ratio
    assert falls.notes[-1] == f"dense: an update of {still:.1e} times the parameters hardly moves them"

    steep = report_of(changed(dense_1=("kernel", lambda k: 1e5 * k)))
    ratio = steep.rows[0].gradient_norm / steep.rows[2].gradient_norm
    assert ratio > 1e3
    way = "times itself from dense_2, the last layer, to dense, the first: exploding"
    most = max(row.update_ratio for row in (steep.rows[0], steep.rows[2]))
    update = f"dense, dense_2: an update of up to {most:.2g} times the parameters; is the learning rate too high?"
    assert steep.notes[:2] == (f"the gradient grows to {ratio:.1e} {way}", update)


def test_outputs_of_nan_have_no_statistics():
    spoiled = report_of(changed(dense_2=("bias", lambda b: b + np.nan)))
    row = spoiled.rows[2]
    assert (row.mean, row.std, row.zeros, row.dead) == (None, None, None, None)
    assert "0.0e+00" not in str(spoiled).splitlines()[4]
    assert str(spoiled).splitlines()[4].split()[2:6] == ["-"] * 4


def test_a_note_on_a_non_finite_update():
    ts = state_of(TASK, PARAMS)
    lost = jax.tree.map(lambda a: a * jnp.nan if jnp.issubdtype(a.dtype, jnp.floating) else a, ts.opt_state)
    report = fnn.layer_report(TASK, ts._replace(opt_state=lost), (X, Y))
    assert report.notes == ("dense: the optimizer's update is not finite, although the gradient is finite",)


def test_non_finite_values_are_counted_and_the_first_layer_named():
    spoiled = report_of(changed(dense_1=("bias", lambda b: np.where(np.arange(5) == 2, np.nan, b))))
    assert [row.non_finite.params for row in spoiled.rows] == [0, 1, 0]
    assert spoiled.rows[1].non_finite.outputs == 40
    assert spoiled.notes == ("dense_1: 1 parameter is not finite",)
    assert np.isfinite(spoiled.rows[1].mean)
    assert np.isnan([spoiled.rows[1].param_norm, spoiled.rows[1].update_ratio]).all()
    lines = str(spoiled).splitlines()
    assert "not finite" in lines[0]
    assert "outputs 40, gradients 200, params 1, their gradients" in lines[3]
    over = report_of(changed(dense_1=("kernel", lambda k: 0 * k + 3e38)))
    count = over.rows[1].non_finite.outputs
    assert 0 < count < 200
    assert over.rows[0].non_finite.outputs == 0
    assert over.notes == (f"dense_1: {count} outputs are not finite, the first in the forward pass",)

    zero = {"kernel": np.zeros((6, 2)), "bias": np.zeros(2)}
    # The square root has an infinite slope at 0, the error of a perfect fit.
    rooted = fnn.Task(fnn.Dense(2), lambda p, t: jnp.sqrt(jnp.square(p - t).sum(-1)))
    back = fnn.layer_report(rooted, state_of(rooted, zero), (X, np.zeros((40, 2), "float32")))
    assert back.rows[0].non_finite == NonFinite(0, 80, 0, 14)
    assert back.notes == ("the model: the gradient at its output is not finite, the first in the backward pass",)
    assert np.isnan([back.rows[0].gradient_rms, back.rows[0].gradient_norm, back.rows[0].param_gradient_norm]).all()
    assert back.rows[0].dead is None
    assert str(back).splitlines()[2].split()[1:9] == ["0", "0", "100%", "-", "nan", "0", "nan", "-"]
    assert str(back).splitlines()[2].endswith("  gradients 80, their gradients 14")
    large = fnn.Task(fnn.Dense(2), lambda p, t: jnp.exp(1e4 + p.sum(-1)))
    loss = fnn.layer_report(large, state_of(large, zero), (X, Y))
    assert loss.notes == ("the loss is not finite, inf, although all outputs are finite",)
    assert isinstance(loss, fnn.LayerReport)
    assert [(row.path, row.kind) for row in loss.rows] == [("", "Dense")]
    assert "\n(Dense)  " in str(loss)
    flat = fnn.Task(fnn.Dense(2), lambda p, t: 0.0 * p[:, 0])
    assert fnn.layer_report(flat, state_of(flat, zero), (X, Y)).notes == ("the gradient of the loss is 0",)


def test_the_table():
    dead = changed(dense_1=("bias", lambda b: b - 50))
    text = str(report_of(dead, X[:1], Y[:1])).splitlines()
    assert text[0].split() == [
        "layer", "(type)", "mean", "std", "zeros", "dead", "saturated", "gradient", "rms", "params", "their",
        "gradient", "update/params",
    ]  # fmt: skip
    assert len({len(line) for line in text[:6]}) == 1
    assert text[3].split()[:7] == ["dense_1", "(Dense)", "0", "0", "100%", "5/5", "-"]
    assert text[6].startswith("loss ")
    assert text[6].endswith(" on 1 example")
    assert text[7:9] == ["! no gradient reaches dense", "! dense_1: 5 of 5 units are dead, 0 for that example"]


def test_the_report_rejects_traced_values_and_bad_data():
    ts = state_of(TASK, PARAMS)
    with pytest.raises(fnn.InputError, match="layer_report: expected a state and a batch with concrete values"):
        jax.jit(lambda ts: fnn.layer_report(TASK, ts, (X, Y)))(ts)
    with pytest.raises(fnn.InputError, match=r"an fnn\.Task as first argument"):
        fnn.layer_report(TASK.model, ts, (X, Y))
    with pytest.raises(fnn.InputError, match=r"labels in \[0, 3\) for 3 outputs, got labels from 1 to 3"):
        fnn.layer_report(TASK, ts, (X, Y + 1))
    with pytest.raises(fnn.InputError, match=r"batch, x: expected finite numbers, got 1 NaN .* index \(2, 5\)"):
        fnn.layer_report(TASK, ts, (np.where(np.arange(240).reshape(40, 6) == 17, np.nan, X), Y))
    with pytest.raises(fnn.InputError, match=r"\(x, y\) or \(x, y, sample_weight\), got 1 item"):
        fnn.layer_report(TASK, ts, (X,))
    with pytest.raises(fnn.InputError, match="of the same length"):
        fnn.layer_report(TASK, ts, (X, Y[:3]))


@pytest.mark.slow
def test_reports_of_half_precision(strict_promotion):
    wide = state_of(TASK, PARAMS)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16) if a.dtype == jnp.float32 else a, wide)
    rows = [
        fnn.layer_report(TASK, ts, (X.astype(dtype), Y)).rows for ts, dtype in ((wide, "float32"), (half, jnp.bfloat16))
    ]
    for a, b in zip(*rows, strict=True):
        for name in ("mean", "std", "gradient_norm", "param_norm", "param_gradient_norm", "update_ratio"):
            np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=0.05, atol=0.02, err_msg=name)
