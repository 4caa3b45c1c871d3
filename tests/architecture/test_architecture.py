"""Tasks in files: rebuilt in a new process bit for bit, and compared with another task."""

import functools
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import registry
from own_functions import CUSTOM, cubic, gate, later, two_inputs
from safetensors import safe_open

import fnn
from fnn import losses, metrics, penalties, schedules
from fnn._core import described
from fnn.architecture import names, read, write
from fnn.checkpoint import saving
from fnn.losses import facts

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


SLOW = [pytest.param(make, marks=pytest.mark.slow) for make in (dense, convolutions, recurrent, with_arrays)]


@pytest.mark.slow
@pytest.mark.parametrize("make", [branches, *SLOW])
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
def roundtrip(value, custom=None, arrays=None):
    """A value through the text of JSON; arrays among its arguments are added to a list."""
    writer = write.Writer(custom or {})
    node = json.loads(json.dumps(writer.value(value, "save")))
    arrays = [] if arrays is None else arrays
    arrays += writer.arrays
    defaults = json.loads(json.dumps(writer.defaults))
    reader = read._Reader({"defaults": defaults}, lambda index, kind: writer.arrays[index], custom or {})
    return reader.value(node, "load")


def concrete(value, own):
    """A value anew with numbers in the place of traced ones; functions that no file can name are added to ``own``."""
    if isinstance(value, jax.core.Tracer):
        return np.full(value.shape, 0.5, value.dtype) if value.ndim else 0.5
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
            back = roundtrip(made, own, arrays := [])
            # Arrays equal only themselves.
            assert (repr(back) == repr(made)) if arrays else (back == made), unit
    assert count > 100


def test_every_constructor_is_met_in_the_registry(constructed):
    met = {call.make.__name__ for calls in constructed.values() for call in calls}
    missing = {make.__name__ for make in described._CONSTRUCTORS if make.__module__.startswith("fnn.")} - met
    tested_elsewhere = {"binned_auc", "get_metric", "mean_metric", "normal", "uniform"}
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
            if not (name == "top_k_accuracy" and loss is not None and facts.several_labels(loss)):
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


# ----------------------------------------------------------------------------------------------- another architecture
def small(activation="relu", optimizer="adam", loss="mse", units=4, dtype="float32", **more):
    layers = fnn.Dense(units, activation, dtype=dtype), fnn.Dense(3, name="head")
    return fnn.Task(fnn.Sequential(*layers), loss, optimizer, **more)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file with its state."""
    path = tmp_path_factory.mktemp("saved") / "small.safetensors"
    ts = fnn.init(small(), jax.random.key(0), (5,))
    fnn.save(path, ts, small())
    return path, ts


def metadata(path):
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["fnn"])


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (small("tanh"), r"layer 'dense': activation 'relu' in the file, 'tanh' in the task. fnn.load"),
        (small(units=6), r"layer 'dense': units 4 in the file, 6 in the task"),
        (small(fnn.activations.elu), r"layer 'dense': activation 'relu' in the file, elu in the task"),
        (small(gate), r"layer 'dense': activation 'relu' in the file, the function gate in the task"),
        (small(optimizer=fnn.adam(1e-2)), r"optimizer: learning_rate 0.001 in the file, 0.01 in the task"),
        (small(optimizer="nadam"), r"optimizer 'adam' in the file, nadam\(\) in the task"),
        (small(loss="mae"), r"got another: loss 'mse' in the file, 'mae' in the task"),
        (small(penalty=penalties.l2(0.1)), r"penalty None in the file, l2\(0.1\) in the task"),
        (
            fnn.Task(fnn.Dense(3), "mse"),
            r"model Sequential\(Dense\(4, 'relu', dtype='float32'\), D.* in the file, Dense\(3\) in",
        ),
        (
            fnn.Task(fnn.Sequential(fnn.Dense(3)), "mse"),
            r"model: layers \(Dense\(4, 'relu', dtype='float32'\), Dense\(3, name='hea",
        ),
        (
            fnn.Task(fnn.Sequential(fnn.Dense(4, "relu", dtype="float32"), fnn.GRU(3)), "mse"),
            r"layer 'gru' Dense\(.*, GRU\(3\) in the",
        ),
    ],
    ids=range(11),
)
def test_loading_into_another_task_says_what_differs(saved, task, message):
    path, ts = saved
    with pytest.raises(fnn.InputError, match=message):
        fnn.load(path, ts, task)


@pytest.mark.parametrize(
    "task",
    [
        small(),
        small(metrics=["mae"]),
        small("ReLU"),
        small(loss="MSE"),
        small(loss="MeanSquaredError", optimizer="Adam"),
        small(fnn.activations.relu),
        small(optimizer=fnn.adam()),
        small(optimizer=fnn.adam(learning_rate=1e-3)),
        small(loss="mean_squared_error"),
        small(loss=losses.mean_squared_error),
        small(dtype=np.float32),
        fnn.Task(
            fnn.Sequential([fnn.Dense(units=4, activation="relu", dtype=jnp.float32), fnn.Dense(3, None, name="head")]),
            "mse",
        ),
    ],
    ids=range(12),
)
def test_the_same_task_in_other_words_does_not_differ(saved, task):
    path, ts = saved
    assert fnn.fingerprint(fnn.load(path, ts, task)) == fnn.fingerprint(ts)


def test_names_in_any_spelling_do_not_differ(tmp_path):
    def task(initializer, regularizer, padding, activation):
        conv = fnn.Conv(2, 2, padding=padding, kernel_initializer=initializer, kernel_regularizer=regularizer)
        return fnn.Task(fnn.Sequential(conv, fnn.Flatten(), fnn.Dense(1, activation)), "mse")

    saved, other = task("HeNormal", "L2", "SAME", "ReLU"), task("he_normal", "l2", "same", "relu")
    assert saved == other
    ts = fnn.init(saved, jax.random.key(0), (4, 4, 1))
    fnn.save(tmp_path / "saved", ts, saved)
    assert fnn.fingerprint(fnn.load(tmp_path / "saved", ts, other)) == fnn.fingerprint(ts)
    with pytest.raises(fnn.InputError, match=r"kernel_initializer 'HeNormal' in the file, 'he_uniform' in the task"):
        fnn.load(tmp_path / "saved", ts, task("he_uniform", "l2", "same", "relu"))


def test_differences_inside_models_name_the_layer(tmp_path):
    def task(width, rate=0.1):
        model = fnn.Model(
            two_inputs,
            stem=fnn.Sequential(fnn.Flatten(), fnn.Dense(3, activation=width)),
            table=fnn.Dense(2),
            blocks=[fnn.Residual(fnn.Dense(8), fnn.Dropout(rate)), fnn.BatchNorm()],
            digit=fnn.Dense(3),
            angle=fnn.Dense(1),
        )
        return fnn.Task(model, {"digit": CROSSENTROPY, "angle": cubic}, loss_weights={"angle": rate})

    x = {"image": IMAGES[..., 0], "other": IMAGES[..., 1], "row": TABLE}
    ts = fnn.init(task("relu"), jax.random.key(0), x)
    fnn.save(tmp_path / "m", ts, task("relu"), custom=CUSTOM)
    fnn.load(tmp_path / "m", ts, task("relu"))
    with pytest.raises(fnn.InputError) as error:
        fnn.load(tmp_path / "m", ts, task("elu", 0.2), custom=CUSTOM)
    for line in (
        "layer 'stem/dense': activation 'relu' in the file, 'elu' in the task",
        "layer 'blocks/0/body/dropout': rate 0.1 in the file, 0.2 in the task",
        "loss_weights['angle'] 0.1 in the file, 0.2 in the task",
    ):
        assert line in str(error.value)

    def other(layers, x):
        return two_inputs(layers, x)

    changed = task("relu").replace(model=fnn.Model(other, **task("relu").model.config.kwargs))
    with pytest.raises(fnn.InputError, match=r"model: forward forward in the file, other in the task"):
        fnn.load(tmp_path / "m", ts, changed, custom={**CUSTOM, "other": other})


def test_parameters_alone_are_compared_by_the_model(saved):
    path, ts = saved
    fnn.load(path, ts.params, small(loss="mae", optimizer="sgd"))
    with pytest.raises(fnn.InputError, match="activation 'relu' in the file, 'tanh' in the task"):
        fnn.load(path, ts.params, small("tanh"))


def test_a_file_without_a_task_is_not_compared(tmp_path, saved):
    _, ts = saved
    fnn.save(tmp_path / "plain", ts)
    fnn.load(tmp_path / "plain", ts, small("tanh"))
    with pytest.raises(fnn.InputError, match=r"expected a file saved with its task, .*, got one without. Write"):
        fnn.load(tmp_path / "plain")


# --------------------------------------------------------------------------------------------- versions and bad files
def test_a_default_that_changes_later_does_not_change_a_loaded_model(saved, monkeypatch):
    path, _ = saved
    make = fnn.Dense

    @functools.wraps(make)
    def later_dense(units, activation="tanh", use_bias=False, kernel_initializer="glorot_uniform",
                    bias_initializer="zeros", *, dtype=None, name="dense", invented=None):  # fmt: skip
        return make(units, activation, use_bias, kernel_initializer, bias_initializer, dtype=dtype, name=name)

    del later_dense.__wrapped__
    described._CONSTRUCTORS.add(later_dense)
    monkeypatch.setattr(read, "parts", lambda: dict(names.parts()) | {"Dense": later_dense})
    task, _ = fnn.load(path)
    described._CONSTRUCTORS.discard(later_dense)
    assert repr(task.model) == repr(
        fnn.Sequential(
            fnn.Dense(4, "relu", True, "glorot_uniform", "zeros", dtype="float32", name="dense"),
            fnn.Dense(3, None, True, "glorot_uniform", "zeros", dtype=None, name="head"),
        )
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 2},
            r"expected a description in form 1 or older, got one in form 2, written by fnn 9.0. Upd",
        ),
        (
            {"task": {"call": "Hologram", "args": [4]}},
            r"parts known to fnn \S+, got 'Hologram', written by fnn 9.0",
        ),
        ({"task": {"call": "Dense", "args": [4], "kwargs": {"glow": 1}}}, r"got an unexpected keyword .*'glow'"),
        ({"task": {"call": "Dense", "args": [0]}}, r"Dense > Dense: expected units to be an integer of at least 1"),
        ({"task": {"call": "Dense", "args": [4]}}, r"expected a description of a task, got one of Layer"),
        ({"task": {"quaternion": [1]}}, r"expected values known to fnn \S+, got 'quaternion', written by fnn 9.0"),
        (
            {"task": {"call": "losses.huber", "args": [1, 2]}},
            r"expected a call of a constructor, got one of 'losses",
        ),
        ({"task": {"call": "jax.nn.relu", "args": [1]}}, r"expected a call of a constructor, got one of 'jax.nn.relu'"),
        ({"task": {"call": "builtins.int", "args": [1]}}, r"expected a call of a constructor"),
        ({"task": {"name": "os.system"}}, r"parts known to fnn"),
        ({"task": {"name": "save"}}, r"parts known to fnn"),
        ({"task": {"call": "data.mnist"}}, r"parts known to fnn"),
        ({"task": {"array": 5, "kind": "jax"}}, r"expected a description of a task, got one that cannot be read"),
        ({"task": {"call": 3}}, r"cannot be read|parts known"),
        ({"task": {}}, r"expected values known to fnn"),
        ({"task": {"custom": "gate"}}, r"expected the functions that the file calls 'gate'.*custom=\{'gate': gate\}"),
    ],
    ids=range(16),
)
def test_a_description_holds_names_and_nothing_else(saved, change, message, tmp_path, monkeypatch):
    _, ts = saved
    json = write.describe_task(small(), ts, {}).json | {"version": "9.0"} | change
    saving.save_with(
        tmp_path / "a", ts, {}, history=None, extra=None, model=None, description=write.Description(json, {})
    )
    with pytest.raises(fnn.InputError, match=message):
        fnn.load(tmp_path / "a")


def test_older_readers_see_the_same_format(saved):
    """The description is an addition: format 1, and the leaves that `load` compares are those of the state."""
    path, ts = saved
    about = metadata(path)
    assert about["format"] == 1
    assert set(about["leaves"]) == set(fnn.paths(ts))
    assert fnn.load_info(path).model == repr(small())
    assert about["task"]["task"] == {
        "call": "Task",
        "args": [
            {
                "call": "Sequential",
                "args": [
                    {"call": "Dense", "args": [4, "relu"], "kwargs": {"dtype": "float32"}},
                    {"call": "Dense", "args": [3], "kwargs": {"name": "head"}},
                ],
            }
        ],
        "kwargs": {"loss": "mse"},
    }


# ---------------------------------------------------------------------------------------------------------- your own
def test_functions_are_recognized_by_what_they_do(tmp_path):
    """As when a notebook cell that defines one has run again."""

    def make():
        def twice(x):
            return 2 * x

        return twice

    task = small(make())
    ts = fnn.init(task, jax.random.key(0), (5,))
    fnn.save(tmp_path / "a", ts, task, custom={"twice": make()})
    assert fnn.load(tmp_path / "a", custom={"twice": make()})[0] == task
    with pytest.raises(fnn.InputError, match=r"the function twice, which is not custom\['twice'\]"):
        fnn.save(tmp_path / "a", ts, task, custom={"twice": lambda x: 3 * x})


def test_layers_of_functions_states_of_tuples_and_optax(tmp_path):
    class Count(tuple):
        __slots__ = ()

    def init(key, x):
        return {"scale": [jnp.ones(x.shape[-1]), ()]}, {"seen": fnn.AddedLoss(jnp.zeros(())), "none": None}

    def apply(params, state, x, *, key=None, train=False):
        return params["scale"][0] * x, state

    task = fnn.Task(fnn.Sequential(fnn.Layer(init, apply, name="scale"), fnn.Dense(3)), "mse", optax.adam(1e-3))
    ts = fnn.init(task, jax.random.key(0), (5,))
    custom = {"init": init, "apply": apply, "optimizer": task.optimizer}
    fnn.save(tmp_path / "a", ts, task, custom=custom)
    again, back = fnn.load(tmp_path / "a", custom=custom)
    assert again == task
    assert jax.tree.structure(back) == jax.tree.structure(ts)
    whole = {"scale": task.model.config.args[0], "optimizer": task.optimizer}
    fnn.save(tmp_path / "b", ts, task, custom=whole)
    assert fnn.load(tmp_path / "b", custom=whole)[0] == task


@fnn.described
def Power(exponent):
    return fnn.Activation(lambda x: x**exponent, name="power")


def test_a_constructor_of_the_user_is_saved_by_its_call(tmp_path):
    task = fnn.Task(fnn.Sequential(Power(3), fnn.Dense(3)), "mse")
    ts = fnn.init(task, jax.random.key(0), TABLE)
    with pytest.raises(fnn.InputError, match=r"position 0: expected .* the function Power.*custom=\{'Power': P"):
        fnn.save(tmp_path / "a", ts, task)
    fnn.save(tmp_path / "a", ts, task, custom={"Power": Power})
    assert fnn.load(tmp_path / "a", custom={"Power": Power})[0] == task
    fnn.load(tmp_path / "a", ts, task)  # compared as far as it can be
    other = fnn.Task(fnn.Sequential(Power(2), fnn.Dense(3)), "mse")
    with pytest.raises(fnn.InputError, match="layer 'power': exponent 3 in the file, 2 in the task"):
        fnn.load(tmp_path / "a", ts, other, custom={"Power": Power})


def test_checkpoints_name_a_constructor_of_the_user(tmp_path):
    task = fnn.Task(fnn.Sequential(Power(3), fnn.Dense(3)), "mse")
    ts = fnn.init(task, jax.random.key(0), TABLE)
    ts, _ = fnn.fit(task, ts, (TABLE, VALUES), verbose=0, checkpoint=tmp_path / "runs")
    (newest, *_) = sorted((tmp_path / "runs").glob("step-*"), reverse=True)
    assert fnn.load(newest, custom={"Power": Power})[0] == task


@pytest.mark.slow
def test_many_trainings_in_one_state(tmp_path):
    task = small()
    many = jax.vmap(lambda key: fnn.init(task, key, jnp.zeros((1, 5))))(jax.random.split(jax.random.key(0), 3))
    fnn.save(tmp_path / "many", many, task)
    assert fnn.fingerprint(fnn.load(tmp_path / "many")[1]) == fnn.fingerprint(many)


def test_checkpoints_of_fit_hold_the_task(tmp_path):
    task = small(gate)
    ts = fnn.init(task, jax.random.key(0), TABLE)
    ts, _ = fnn.fit(task, ts, (TABLE, VALUES), verbose=0, checkpoint=tmp_path / "runs")
    (newest, *_) = sorted((tmp_path / "runs").glob("step-*"), reverse=True)
    again, back = fnn.load(newest, custom={"gate": gate})
    assert again == task
    assert fnn.fingerprint(back) == fnn.fingerprint(ts)
    assert write.describe_by_own_names(small(lambda x: x), ts) is None
    assert write.describe_by_own_names(small(optimizer=optax.sgd(0.1)), ts) is None
