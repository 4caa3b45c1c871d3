"""The full text of messages about meshes, rules and plans; see helpers.check_messages. One device is enough."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from helpers import check_messages
from jax.sharding import PartitionSpec as P

import fnn

X = jnp.arange(24.0).reshape(6, 4)
TASK = fnn.Task(fnn.Sequential(fnn.Dense(3), fnn.Dense(5)), "mse")
# Rules are checked against the names and sizes of axes alone, so one device may stand in every place.
MESH = jax.sharding.Mesh(np.array(jax.devices() * 8)[:8].reshape(4, 2), ("data", "model"))
ONE = jax.make_mesh((1,), ("data",))


def inside(mesh, call):
    with jax.set_mesh(mesh):
        call()


def trials(**options):
    ts, data = fnn.init(TASK, jax.random.key(0), X), (X, jnp.zeros((6, 5)))
    fnn.many(lambda rate: fnn.run(TASK, fnn.set_hyper(ts, learning_rate=rate), data, **options), mesh=ONE)(jnp.ones(2))


SQUARE = jax.sharding.AbstractMesh((4, 2), ("data", "model"))


def shapes(inputs, targets):
    return jax.ShapeDtypeStruct((inputs, 4), jnp.float32), jax.ShapeDtypeStruct((targets, 5), jnp.float32)


def plan(**options):
    fnn.plan(TASK, shapes(1000, 1000), **options)


def fit(**options):
    ts = fnn.init(TASK, jax.random.key(0), X)
    fnn.fit(TASK, ts, (X, jnp.zeros((6, 5))), verbose=0, **options)


def test_messages():
    cases = {
        "a number of devices as mesh": lambda: fit(mesh=8),
        "a list of devices as mesh": lambda: fit(mesh=jax.devices()),
        "rules without a mesh": lambda: fit(shard="fsdp"),
        "an unknown way to divide": lambda: fit(mesh=MESH, shard="ddp"),
        "no rules": lambda: fit(mesh=MESH, shard={}),
        "a PartitionSpec for all parameters": lambda: fit(mesh=MESH, shard=P("model")),
        "an axis in place of a PartitionSpec": lambda: fit(mesh=MESH, shard={"*/kernel": "model"}),
        "an axis that the mesh lacks": lambda: fit(mesh=MESH, shard={"*/kernel": P(None, "modle")}),
        "a pattern that matches nothing": lambda: fit(mesh=MESH, shard={"*/kernal": P("model")}),
        "a rule that does not divide": lambda: fit(mesh=MESH, shard={"*/kernel": P(None, "model")}),
        "a rule with more axes than the parameter": lambda: fit(mesh=MESH, shard={"dense/*": P(None, "model")}),
        "an axis that is used twice": lambda: fit(mesh=MESH, shard={"dense/kernel": P("model", "model")}),
        "a rule after one that matches the same": lambda: fit(mesh=MESH, shard={"*": P(), "*/kernel": P("model")}),
        "an entry that names no axis": lambda: fit(mesh=MESH, shard={"dense/kernel": P(P.UNCONSTRAINED)}),
        "a mesh without devices": lambda: fit(mesh=MESH.abstract_mesh),
        "a mesh of jax.set_mesh around the call": lambda: inside(ONE, lambda: fit(mesh=ONE)),
        "a mesh of jax.set_mesh around trials": lambda: inside(ONE, trials),
        "a mesh inside a trial that has a device": lambda: trials(mesh=ONE),
        # Of plans.
        "an unknown device": lambda: plan(device="h20"),
        "a number of devices that cannot be read": lambda: plan(device="h200:4x"),
        "a slice without a shape": lambda: plan(device="v5e:4"),
        "a slice by the name of its machines": lambda: plan(device="v5litepod-16"),
        "a mesh of another size than the devices": lambda: plan(device="v5e:2x2", mesh=SQUARE),
        "a mesh for one device": lambda: plan(device="v5e", mesh=SQUARE),
        "rules for one device": lambda: plan(device="v5e", shard="fsdp"),
        "a rule that matches nothing": lambda: plan(device="v5e:2x4", mesh=SQUARE, shard={"a": P()}),
        "a mesh without devices on this machine": lambda: plan(mesh=SQUARE),
        "more rows than can be numbered": lambda: fnn.plan(TASK, shapes(3 * 10**9, 3 * 10**9)),
        "a batch size of 0": lambda: plan(batch_size=0),
        "lengths that differ": lambda: fnn.plan(TASK, shapes(1000, 999)),
        "a model in place of a task": lambda: fnn.plan(TASK.model, shapes(6, 6)),
    }
    check_messages(Path(__file__).with_name("messages.txt"), cases)
