"""Plans for the devices at hand."""

import jax
import jax.numpy as jnp
import pytest

import fnn

TASK = fnn.Task(fnn.Sequential(fnn.Dense(256), fnn.Dense(256), fnn.Dense(3)), "sparse_categorical_crossentropy")
DATA = jax.ShapeDtypeStruct((1000, 40), jnp.float32), jax.ShapeDtypeStruct((1000,), jnp.int32)


@pytest.mark.slow
@pytest.mark.parametrize("shard", [None, "fsdp"])
def test_plan(shard, mesh):
    one, many = fnn.plan(TASK, DATA, batch_size=64), fnn.plan(TASK, DATA, batch_size=64, mesh=mesh, shard=shard)
    assert (one.devices, many.devices) == (1, 8)
    assert many.step.operations == one.step.operations // 8
    assert not one.collectives
    assert many.collectives["all-reduce"] >= one.memory["parameters"]
    assert "on each of 8 devices" in str(many)
    assert "exchanged: all-reduce" in str(many) or "exchanged: all-gather" in str(many)
    if shard == "fsdp":
        assert one.memory["parameters"] - many.memory["parameters"] == 4 * 256 * 256 * 7 // 8
        assert many.collectives["all-gather"] >= 4 * 256 * 256
