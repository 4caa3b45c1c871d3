"""Inspection: the summary table, parameter paths, devices."""

import jax
import jax.numpy as jnp
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


def test_summary_finds_the_batch_wherever_it_is():
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


def test_summary_refuses_bad_input():
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
    params, _ = fnn.Sequential(fnn.Dense(2), fnn.Residual(fnn.Dense(2))).init(jax.random.key(0), jnp.ones((1, 3)))
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


def test_what_a_layer_adds_to_the_loss_is_no_parameter():
    model = fnn.Sequential(fnn.Dense(4), fnn.ActivityRegularization(l2=0.1), fnn.Dense(2))
    table = fnn.summary(model, (3,))
    assert (table.total, table.non_trainable) == (3 * 4 + 4 + 4 * 2 + 2, 0)
    assert [row.params for row in table.rows] == [16, 0, 10]
