"""Tasks in files: rebuilt in a new process bit for bit, compared with another task, and refused where they cannot be."""

import functools
import json
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import own_functions
import pytest
import registry
from own_functions import CUSTOM, cubic, gate, later, two_inputs
from safetensors import safe_open

import fnn
from fnn import architecture, losses, metrics, penalties, schedules
from fnn._core import described
from fnn.architecture import names, read, write
from fnn.checkpoint import saving

RNG = np.random.default_rng(3)
TABLE, IMAGES = RNG.normal(size=(8, 5)).astype("f"), RNG.normal(size=(8, 6, 6, 2)).astype("f")
IDS = RNG.integers(0, 7, (8, 4)).astype("int32")
VALUES, CLASSES = RNG.normal(size=(8, 3)).astype("f"), RNG.integers(0, 3, 8).astype("int32")
CROSSENTROPY = "sparse_categorical_crossentropy"


# ------------------------------------------------------------------------------------------------- in a new process
def dense():
    model = fnn.Sequential(
        fnn.Dense(4, "relu", kernel_initializer=fnn.initializers.normal(0, 0.3)),
        fnn.Activation(gate),
        fnn.Dense(3, jnp.tanh),
    )
    optimizer = fnn.chain(fnn.clip_by_global_norm(0.5), fnn.adam(schedules.cosine_decay(1e-2, 100)))
    scaled = {"penalty": penalties.total(penalties.l2(1e-3), penalties.l1(1e-3, "*bias"))}
    loss = functools.partial(losses.huber, delta=0.5)
    return fnn.Task(model, loss, optimizer, ["mae"], **scaled, constraint=penalties.max_norm(1.0)), TABLE, VALUES


def branches():
    model = fnn.Model(
        two_inputs,
        stem=fnn.Sequential(fnn.Flatten(), fnn.Dense(3, activation=jax.nn.gelu)),
        table=fnn.Dense(2),
        blocks=[fnn.Residual(fnn.Dense(8, "tanh"), name="skip"), fnn.BatchNorm()],
        digit=fnn.Dense(3),
        angle=fnn.Dense(1),
    )
    each = {"digit": CROSSENTROPY, "angle": cubic}
    task = fnn.Task(
        model,
        each,
        fnn.sgd(later, 0.9),
        metrics={"digit": ["accuracy", metrics.top_k(2)]},
        loss_weights={"angle": 0.1},
    )
    x = {"image": IMAGES[..., 0], "other": IMAGES[..., 1], "row": TABLE}
    return task, x, {"digit": CLASSES, "angle": VALUES[:, :1]}


def convolutions():
    model = fnn.Sequential(
        fnn.Conv(3, 3, padding="same", activation="elu"),
        fnn.BatchNorm(momentum=0.7),
        fnn.MaxPool((2, 2)),
        fnn.Dropout(0.3),
        fnn.Flatten(),
        fnn.Dense(3),
    )
    weighted = functools.partial(losses.sparse_categorical_crossentropy, from_logits=True)
    return fnn.Task(model, weighted, fnn.ema(fnn.rmsprop(1e-3, momentum=0.5)), ["accuracy", "f1"]), IMAGES, CLASSES


def recurrent():
    model = fnn.Sequential(
        fnn.Embedding(7, 3, mask_zero=True),
        fnn.Bidirectional(fnn.LSTM(2, return_sequences=True), backward_layer=fnn.GRU(2, return_sequences=True)),
        fnn.SimpleRNN(3, activation=fnn.activations.softsign),
    )
    return fnn.Task(model, CROSSENTROPY, fnn.accumulate(fnn.freeze("adam", "embedding"), 2)), IDS, CLASSES


def with_arrays():
    table, scale = RNG.normal(size=(7, 3)).astype("f"), jnp.asarray([0.5, 1.0, 2.0])
    given = functools.partial(fnn.initializers.constant, value=table)
    model = fnn.Sequential(
        fnn.Embedding(7, 3, given()),
        fnn.Flatten(),
        fnn.Dense(3, kernel_initializer=fnn.initializers.constant(np.float32(0.1))),
    )
    return fnn.Task(model, functools.partial(cubic_scaled, scale=scale), optax.sgd(0.1)), IDS, VALUES


def cubic_scaled(predictions, targets, scale):
    return cubic(predictions * scale, targets)


SCRIPT = """
import sys, json, pickle, numpy as np, jax, fnn, optax
from own_functions import CUSTOM, cubic
def scaled(predictions, targets, scale): return cubic(predictions * scale, targets)
path, data = sys.argv[1:]
x, y = pickle.load(open(data, "rb"))
task, ts = fnn.load(path, custom=CUSTOM | {"scaled": scaled, "optimizer": optax.sgd(0.1)})
print(fnn.fingerprint(ts), fnn.fingerprint(fnn.predict(task, ts, x)), fnn.fingerprint(fnn.train_step(task, ts, (x, y))))
"""


@pytest.mark.parametrize(
    "make", [dense, branches, *(pytest.param(m, marks=pytest.mark.slow) for m in (convolutions, recurrent, with_arrays))]
)
def test_a_new_process_continues_bit_for_bit(make, tmp_path):
    task, x, y = make()
    ts = fnn.init(task, jax.random.key(1), x)
    ts, _ = fnn.train_step(task, ts, (x, y))
    custom = CUSTOM | {"scaled": cubic_scaled, "optimizer": task.optimizer}
    custom |= {} if make is with_arrays else {"optimizer": None}
    fnn.save(tmp_path / "model", ts, task, custom={name: fn for name, fn in custom.items() if fn is not None})
    (tmp_path / "data").write_bytes(pickle.dumps((x, y)))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model"), str(tmp_path / "data")]
    paths = os.pathsep.join([str(Path(fnn.__file__).parent.parent), str(Path(__file__).parent)])
    optimized = {"JAX_DISABLE_MOST_OPTIMIZATIONS": str(jax.config.values["jax_disable_most_optimizations"])}
    env = os.environ | optimized | {"PYTHONPATH": paths}
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    here = [ts, fnn.predict(task, ts, x), fnn.train_step(task, ts, (x, y))]
    assert out.stdout.split() == list(map(fnn.fingerprint, here))


# ------------------------------------------------------------------------------------------------------ every unit
def roundtrip(value, custom=None):
    """A value through the text of JSON."""
    writer = write.Writer(custom or {})
    node = json.loads(json.dumps(writer.value(value, "save")))
    defaults = json.loads(json.dumps(writer.defaults))
    reader = read._Reader({"defaults": defaults}, lambda index, kind: writer.arrays[index], custom or {})
    return reader.value(node, "load")


def concrete(value, own):
    """A value anew with numbers in the place of traced ones; functions that no file can name are added to ``own``."""
    if isinstance(value, jax.core.Tracer):
        return 0.5
    if isinstance(value, described.Described):
        call = value.call
        return call.make(*concrete(call.args, own), **concrete(dict(call.kwargs), own))
    if type(value) in (list, tuple):
        return type(value)(concrete(item, own) for item in value)
    if isinstance(value, dict):
        return {name: concrete(item, own) for name, item in value.items()}
    if isinstance(value, functools.partial):
        return functools.partial(concrete(value.func, own), *concrete(value.args, own), **concrete(value.keywords, own))
    if callable(value) and names.name_of(value) is None:
        own[f"own_{len(own)}"] = value
    return value


@pytest.fixture(scope="module")
def constructed():
    """The calls of all constructors in the units of the registry, by unit."""
    calls, plain = [], described.Config

    def config(*args):
        calls.append(plain(*args))
        return calls[-1]

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(described, "Config", config)
        for unit in registry.UNITS:
            calls.clear()
            args = unit.args("float32")
            jax.eval_shape(lambda *args, unit=unit: unit.make_fn(jnp.dtype("float32"))(*args), *args)
            found[unit.name] = [call for call in calls if described.is_constructor(call.make)]
    return found


def test_every_description_of_the_registry_is_rebuilt_from_json(constructed):
    count = 0
    for unit, calls in constructed.items():
        for call in calls:
            own = {}
            args, kwargs = concrete(tuple(call.args), own), concrete(dict(call.kwargs), own)
            try:
                made = call.make(*args, **kwargs)
            except fnn.InputError:  # the number that stands for the traced one is out of range here
                continue
            count += 1
            if "<" in repr(made) and any(isinstance(leaf, (jax.Array, np.ndarray)) for leaf in jax.tree.leaves(args)):
                assert repr(roundtrip(made, own)) == repr(made), unit  # arrays equal only themselves
            else:
                assert roundtrip(made, own) == made, unit
    assert count > 100


def test_every_constructor_is_met_in_the_registry(constructed):
    met = {call.make.__name__ for calls in constructed.values() for call in calls}
    missing = {make.__name__ for make in described._CONSTRUCTORS if make.__module__.startswith("fnn.")} - met
    tested_elsewhere = {"get_metric", "mean_metric", "normal", "uniform"}
    assert missing <= tested_elsewhere, "give these a unit in tests/registry.py"


def test_every_name_is_that_of_its_part():
    for name, part in names.parts().items():
        found = names.name_of(part)
        assert names.parts()[found] is part, name
        if not isinstance(part, described.Described):
            assert roundtrip(part) is part, name


def test_every_metric_and_name_of_a_table():
    for name in metrics.METRICS:
        for loss in (None, losses.get_loss("binary_crossentropy"), losses.mean_squared_error):
            if not (name == "top_k_accuracy" and loss is not None and losses.several_labels(loss)):
                metric = metrics.get_metric(name, loss)
                assert roundtrip(metric) == metric
    for made in (
        metrics.mean_metric("cubic", cubic),
        fnn.initializers.normal(stddev=0.1),
        fnn.initializers.uniform(-1, 1.0),
    ):
        assert roundtrip(made, CUSTOM) == made


# ---------------------------------------------------------------------------------------------------------- values
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        1 << 70,
        0.1,
        -0.0,
        5e-324,
        math.inf,
        -math.inf,
        1 - 2j,
        complex(0, math.inf),
        "größer/\n\"'",
        (),
        (1,),
        [1, (2.0, [3])],
        {"a": 1, "b": (None,)},
        {1: 2, (3, "x"): "y"},
        np.float32(0.1),
        np.int8(-4),
        np.bool_(True),
        jnp.bfloat16(1.5),
        np.dtype("int16"),
        np.dtype(jnp.bfloat16),
    ],
    ids=repr,
)
def test_plain_values_are_exact(value):
    back = roundtrip(value)
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)


def test_nan_dtypes_and_partials():
    assert math.isnan(roundtrip(math.nan))
    for name in (jnp.float32, jnp.bfloat16, np.float64, float, jnp.zeros_like, jax.nn.relu):
        assert roundtrip(name) is name
    back = roundtrip(functools.partial(gate, 1, y=(2,)), CUSTOM)
    assert (back.func, back.args, back.keywords) == (gate, (1,), {"y": (2,)})


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), jnp.ones(3, jnp.bfloat16)], ids=["numpy", "jax"])
def test_arrays_among_the_arguments_are_stored_in_the_file(array, tmp_path):
    layer = fnn.Dense(3, bias_initializer=fnn.initializers.constant(array[..., :3].reshape(-1)[:3]))
    task = fnn.Task(layer, "mse")
    ts = fnn.init(task, jax.random.key(0), (2,))
    fnn.save(tmp_path / "a", ts, task)
    again, _ = fnn.load(tmp_path / "a")
    (given,), (back,) = (t.model.config.kwargs["bias_initializer"].config.args for t in (task, again))
    assert type(back) is type(given)
    assert back.dtype == given.dtype
    np.testing.assert_array_equal(back, given)
    assert set(fnn.load_info(tmp_path / "a").leaves) == set(fnn.paths(ts)), "they are no part of the state"
    fnn.load(tmp_path / "a", ts, task)
    other = task.replace(model=fnn.Dense(3, bias_initializer=fnn.initializers.constant(np.zeros(3))))
    with pytest.raises(fnn.InputError, match=r"bias_initializer: value an array \(\w+\) in the file, an array"):
        fnn.load(tmp_path / "a", ts, other)
