"""Inspection: the summary table, parameter paths, devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn


def mnist_cnn():
    conv = [fnn.Conv(filters, 3, activation="relu") for filters in (32, 32, 64, 64, 64)]
    pool = fnn.MaxPool(2)
    return fnn.Sequential(
        *conv[:2], pool, *conv[2:4], pool, conv[4], pool, fnn.Flatten(), fnn.Dropout(0.5), fnn.Dense(10)
    )


def test_summary_of_the_mnist_cnn():
    table = fnn.summary(mnist_cnn(), (28, 28, 1))
    counts = [row.params for row in table.rows if row.params]
    assert counts == [320, 9248, 18496, 36928, 36928, 650]
    assert (table.total, table.trainable, table.non_trainable, table.size) == (102570, 102570, 0, 410280)
    assert [row.path[-1] for row in table.rows] == [
        "conv", "conv_1", "max_pool", "conv_2", "conv_3", "max_pool_1", "conv_4", "max_pool_2",
        "flatten", "dropout", "dense",
    ]  # fmt: skip
    assert [row.output_shape for row in table.rows][:3] == [(None, 26, 26, 32), (None, 24, 24, 32), (None, 12, 12, 32)]
    text = str(table)
    for part in ("conv_1 (Conv)", "(None, 26, 26, 32)", "9,248", "36,992", "total params: 102,570 (400.66 KB)"):
        assert part in text
    assert len({len(line) for line in text.splitlines()[2:13]}) == 1


def test_summary_computes_nothing():
    big = fnn.Sequential(fnn.Dense(10_000_000), fnn.Dense(1))
    assert fnn.summary(big, jax.ShapeDtypeStruct((1, 1_000_000), jnp.float32)).trainable == 10_000_020_000_001


def test_summary_of_nested_models_state_and_frozen_parameters():
    block = fnn.Residual(fnn.Dense(4), fnn.BatchNorm(), shortcut=fnn.Dense(4))
    model = fnn.Sequential(fnn.Dense(4), block, fnn.Sequential(fnn.Dense(2), name="head"))
    table = fnn.summary(model, (3,), frozen="dense/*")
    assert [(row.path, row.params) for row in table.rows] == [
        (("dense",), 16),
        (("residual",), 0),
        (("residual", "body"), 0),
        (("residual", "body", "dense"), 20),
        (("residual", "body", "batch_norm"), 16),
        (("residual", "shortcut"), 20),
        (("head",), 0),
        (("head", "dense"), 10),
    ]
    assert (table.trainable, table.non_trainable) == (20 + 8 + 20 + 10, 16 + 8)
    assert "    dense (Dense)" in str(table)


def test_summary_finds_the_batch_axis():
    def apply(params, state, x, *, key=None, train=False):
        return (x.T, {"sum": x.sum()}), state

    swap = fnn.Layer(lambda key, x: ({}, {}), apply, "swap", "Swap")
    (row,) = fnn.summary(swap, (5,)).rows
    assert row.output_shape == ((5, None), {"sum": ()})
    assert "(5, None), ()" in str(fnn.summary(swap, (5,)))


def test_summary_takes_tasks_arrays_and_single_layers():
    task = fnn.Task(fnn.Dense(2), "mse")
    table = fnn.summary(task, jnp.ones((7, 3)))
    assert table == fnn.summary(fnn.Dense(2), (3,))
    assert table.rows[0].path == ("dense",)
    half = fnn.summary(fnn.Dense(2), jnp.ones((1, 3), jnp.bfloat16))
    assert (half.total, half.size) == (8, 16)


def test_summary_rejects_bad_input():
    with pytest.raises(fnn.InputError, match="a Layer or a Task"):
        fnn.summary(3, (3,))
    with pytest.raises(fnn.InputError, match=r"each length in the input shape to be an integer of at least 1, got 0"):
        fnn.summary(fnn.Dense(2), (0,))
    deep = fnn.Sequential(fnn.Dense(2), fnn.Sequential(fnn.Dense(2), fnn.Reshape((3,))))
    with pytest.raises(
        fnn.InputError, match=r"layer 'sequential' \(position 1\) > layer 'reshape' \(position 1\) > reshape"
    ):
        fnn.summary(deep, (3,))


def test_paths():
    model, x = fnn.Sequential(fnn.Dense(2), fnn.Residual(fnn.Dense(2))), jax.ShapeDtypeStruct((1, 3), "float32")
    params, _ = jax.eval_shape(model.init, jax.random.key(0), x)
    assert list(fnn.paths(params)) == [
        "dense/bias",
        "dense/kernel",
        "residual/body/dense/bias",
        "residual/body/dense/kernel",
    ]


def test_devices():
    assert jax.devices()[0].platform in fnn.devices()
    assert "1 device" in fnn.devices() or "devices" in fnn.devices()


def test_summary_returns_a_summary():
    assert isinstance(fnn.summary(fnn.Dense(2), jax.ShapeDtypeStruct((1, 3), jnp.float32)), fnn.Summary)


def test_added_losses_are_not_counted():
    model = fnn.Sequential(fnn.Dense(4), fnn.ActivityRegularization(l2=0.1), fnn.Dense(2))
    table = fnn.summary(model, (3,))
    assert (table.total, table.non_trainable) == (3 * 4 + 4 + 4 * 2 + 2, 0)
    assert [row.params for row in table.rows] == [16, 0, 10]


def holder(apply=None):
    """A user-defined layer that applies a model twice and holds parameters in lists and tuples."""
    inner = fnn.Sequential(fnn.Dense(4), fnn.BatchNorm(), fnn.Dense(3))

    def init(key, x):
        p, s = inner.init(key, x)
        own = {"scale": jnp.ones(7), "more": [jnp.ones(2), (jnp.ones(3, "bfloat16"),)]}
        return {**own, "inner": p}, {"inner": s, "count": jnp.zeros((), "int32")}

    def call(p, s, x, *, key=None, train=False):
        y, _ = inner.apply(p["inner"], s["inner"], x, train=train)
        return y + inner.apply(p["inner"], s["inner"], x, train=train)[0], s

    return fnn.Layer(init, call if apply is None else apply(call), name="holder")


INSIDE = [(("dense",), 16, 64), (("batch_norm",), 16, 64), (("dense_1",), 15, 60)]


def test_every_parameter_is_in_exactly_one_row():
    outer = (("holder",), 12 + 1, 7 * 4 + 2 * 4 + 3 * 2 + 4)
    nested = [(("holder", *path), count, size) for path, count, size in INSIDE]
    alone = fnn.summary(holder(), (3,))
    assert [(row.path, row.params, row.size) for row in alone.rows] == [outer, *nested]
    model = fnn.Sequential(fnn.Dense(3), holder(), fnn.Dense(1))
    table = fnn.summary(model, (3,))
    assert [(row.path, row.params, row.size) for row in table.rows] == [
        (("dense",), 12, 48),
        outer,
        *nested,
        (("dense_1",), 4, 16),
    ]
    params, state = jax.jit(model.init)(jax.random.key(0), np.ones((1, 3), "f"))
    leaves = jax.tree.leaves((params, state))
    assert table.total == sum(row.params for row in table.rows) == sum(leaf.size for leaf in leaves)
    assert table.size == sum(row.size for row in table.rows) == sum(leaf.nbytes for leaf in leaves)
    assert table.trainable == sum(row.trainable for row in table.rows) == sum(a.size for a in jax.tree.leaves(params))
    assert sum(row.params for row in fnn.check(model, (3,)).rows) == table.total


def test_parameters_behind_transformations_are_counted_once():
    def jitted(call):
        return jax.jit(call, static_argnames="train")

    def looped(call):
        def apply(p, s, x, *, key=None, train=False):
            return jax.lax.fori_loop(0, 2, lambda _, x: call(p, s, x, train=train)[0], x), s

        return apply

    for wrap in (jitted, looped):
        for model in (holder(wrap), fnn.Sequential(holder(wrap), fnn.Dense(1))):
            table = fnn.summary(model, (3,))
            assert sum(row.params for row in table.rows) == table.total == 60 + 4 * (model.name == "sequential")
            assert sum(row.size for row in table.rows) == table.size
    # The paths of Sequential name the layer, so its parameters are found in a compiled model too.
    inner = fnn.Sequential(fnn.Dense(4), fnn.Dense(2))
    compiled = fnn.Layer(inner.init, jax.jit(inner.apply, static_argnames="train"), name="compiled")
    assert [row.params for row in fnn.summary(compiled, (3,)).rows] == [0, 16, 10]


def test_parameters_frozen_by_the_optimizer_are_named():
    model = fnn.Sequential(fnn.Dense(3), fnn.BatchNorm(), fnn.Dense(1))
    frozen = ("dense/bias", "dense/kernel")
    for optimizer in (
        fnn.freeze("adam", "dense"),
        fnn.chain(fnn.clip_by_norm(1.0), fnn.freeze(fnn.sgd(), "dense")),
        fnn.accumulate(fnn.ema(fnn.freeze(fnn.freeze("sgd", "dense/kernel"), "dense/bias")), 2),
        optax.chain(optax.clip(1.0), fnn.freeze(optax.sgd(0.1), "dense")),
    ):
        task = fnn.Task(model, "mse", optimizer)
        for _ in range(2):  # before and after JAX has traced it
            table = fnn.summary(task, (2,))
            assert table.frozen == frozen
            assert (table.trainable, table.non_trainable) == (6 + 4, 9 + 6)
            assert [row.trainable for row in table.rows] == [0, 6, 4]
    text = str(table)
    assert "trainable: 10\nnot trainable: 15\nfrozen: dense/bias, dense/kernel" in text
    assert text.splitlines()[0].endswith("bytes  trainable")
    both = fnn.summary(task, (2,), frozen="dense_1/bias")
    assert both.frozen == ("dense/bias", "dense/kernel", "dense_1/bias")
    for plain in (model, fnn.Task(model, "mse"), fnn.Task(model, "mse", optax.adam(0.1))):
        assert fnn.summary(plain, (2,)).frozen == ()
        assert "frozen" not in str(fnn.summary(plain, (2,)))
    many = fnn.Sequential(*(fnn.Dense(2) for _ in range(4)))
    assert str(fnn.summary(many, (2,), frozen="*")).endswith("dense_2/bias, dense_2/kernel and 2 more")
    with pytest.raises(
        fnn.InputError, match=r"summary, frozen: expected a pattern that matches some parameter, got 'dens'.*dense/bias"
    ):
        fnn.summary(model, (2,), frozen="dens")


def test_totals_match_keras():
    keras = pytest.importorskip("keras", reason="Keras is the reference here")
    layers = keras.layers
    theirs = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3),
            layers.BatchNormalization(scale=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5),
        ]
    )
    theirs.layers[0].trainable = False
    ours = fnn.Sequential(
        fnn.Conv(4, 3, activation="relu"),
        fnn.BatchNorm(),
        fnn.MaxPool(),
        fnn.Conv(8, 3),
        fnn.BatchNorm(scale=False),
        fnn.GlobalAvgPool(),
        fnn.Dense(5),
    )
    table = fnn.summary(fnn.Task(ours, "mse", fnn.freeze("adam", "conv")), (12, 12, 3))
    assert [row.params for row in table.rows] == [layer.count_params() for layer in theirs.layers]
    assert table.trainable == sum(int(np.prod(w.shape)) for w in theirs.trainable_weights)
    assert table.non_trainable == sum(int(np.prod(w.shape)) for w in theirs.non_trainable_weights)


BLOCK = fnn.Residual(fnn.LayerNorm(), fnn.Dense(8, activation="relu"), fnn.Dense(4))
INNER = fnn.Sequential(fnn.Conv(4, 3), fnn.Flatten(), fnn.Dense(2))
HOLDING = {
    "repeated": (fnn.Repeated(BLOCK, 3), (4,)),
    "repeated twice": (fnn.Repeated(fnn.Repeated(BLOCK, 2), 3), (4,)),
    "time_distributed": (fnn.TimeDistributed(INNER), (5, 6, 6, 1)),
    "time_distributed repeated": (fnn.TimeDistributed(fnn.Repeated(BLOCK, 3)), (5, 4)),
    "residual": (BLOCK, (4,)),
    "bidirectional": (fnn.Bidirectional(fnn.LSTM(3)), (5, 4)),
    "rematerialized": (fnn.Rematerialized(INNER), (6, 6, 1)),
}


@pytest.mark.parametrize("case", HOLDING)
def test_a_layer_that_holds_others_has_a_row_above_theirs(case):
    layer, shape = HOLDING[case]
    for table in (fnn.summary, fnn.check):
        alone, inside = table(layer, shape), table(fnn.Sequential(layer), shape)
        assert alone.rows == inside.rows
        assert alone.rows[0].path == (layer.name,)
        assert all(row.path[0] == layer.name for row in alone.rows)
    costs = fnn.check(layer, shape)
    assert sum(row.operations for row in costs.rows) == costs.operations
    if case != "bidirectional":  # the others compute nothing but what the layers inside do
        assert costs.rows[0].operations == 0


def test_costs_inside_are_those_of_all_copies_and_steps():
    rows = {row.path[-1]: row for row in fnn.check(fnn.Repeated(fnn.Repeated(BLOCK, 2), 3), (4,)).rows}
    assert (rows["dense"].params, rows["dense"].operations, rows["dense"].size) == (6 * 40, 6 * 32, 6 * 32)
    rows = {row.path[-1]: row for row in fnn.check(fnn.TimeDistributed(INNER), (5, 6, 6, 1)).rows}
    assert (rows["conv"].params, rows["conv"].operations) == (40, 5 * 16 * 9 * 4)
    assert (rows["dense"].operations, rows["dense"].size) == (5 * 64 * 2, 5 * 8)


def test_frozen_parameters_of_a_single_layer():
    table = fnn.summary(fnn.Task(fnn.Repeated(BLOCK, 3), "mse", fnn.freeze(fnn.adam(), "body/dense/*")), (4,))
    assert table.frozen == ("body/dense/bias", "body/dense/kernel")
    assert [row.path[-1] for row in table.rows if row.trainable < row.params] == ["dense"]
    assert table.trainable == sum(row.trainable for row in table.rows) == 3 * (8 + 36)
