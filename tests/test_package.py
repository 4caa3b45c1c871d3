"""The package as a whole: its import, its purity, and that it lowers for every platform."""

import functools
import re
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from helpers import some
from jax import export

import fnn


@pytest.fixture(scope="module")
def after_import():
    """What the import of fnn has changed in a new process."""
    code = (
        "import sys, jax, jax.numpy; flags, before = dict(jax.config.values), set(sys.modules); import fnn;"
        "from jax._src import xla_bridge as b;"
        "print(b.backends_are_initialized(), flags == dict(jax.config.values));"
        "print(*{m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout.splitlines()


def test_import_starts_no_backend_and_changes_no_setting(after_import):
    assert after_import[0] == "False True"


def test_import_is_light(after_import):
    """Nothing heavy, such as Matplotlib, comes in with fnn; the time itself is measured in benchmarks."""
    assert set(after_import[1].split()) <= {"fnn", "jax", "numpy"}


def test_public_names_are_reachable_from_the_top():
    assert fnn.__version__.count(".") == 2
    for name in ("data", "losses", "metrics", "penalties", "plot", "activations", "initializers", "schedules", "text"):
        assert getattr(fnn, name).__doc__


@pytest.mark.parametrize(
    ("name", "here"),
    [("Conv2D", "Use fnn.Conv.$"), ("MaxPooling2D", "Use fnn.MaxPool.$"), ("ZeroPadding2D", "Use fnn.ZeroPadding.$"),
     ("SeparableConv2D", "Use fnn.SeparableConv.$"), ("SpatialDropout1D", "Use fnn.SpatialDropout.$"),
     ("add", "Use fnn.Add.$"),
     ("EarlyStopping", "Use fnn.early_stopping.$"),
     ("Drpout", "Did you mean fnn.Dropout"), ("qqq", "fnn has no 'qqq'.$")],
)  # fmt: skip
def test_names_of_other_libraries_get_a_hint(name, here):
    with pytest.raises(AttributeError, match=here):
        getattr(fnn, name)
    assert not hasattr(fnn, name)


def test_hints_name_existing_functions():
    from fnn._equivalents import EQUIVALENTS

    for name, here in EQUIVALENTS.items():
        assert not hasattr(fnn, name), f"{name} is a name of fnn's own"
        assert here.startswith("=") or hasattr(fnn, re.match(r"\w+", here)[0]), here


@pytest.mark.parametrize(
    ("name", "here"),
    [
        # an exact entry wins over a close match
        ("activations.selu", "Use jax.nn.selu.$"), ("SELU", r"Use fnn.Activation\(jax.nn.selu\).$"),
        ("activations.exponential", "Use jnp.exp.$"), ("initializers.Identity", "Use lambda key, shape, dtype"),
        ("optimizers.Lion", r"Use optax.lion\(1e-3\)"), ("optimizers.masked", "Use fnn.by_path"),
        ("schedules.PolynomialDecay", "Use a function of the step"), ("Dot", "Use jnp.einsum"),
        ("metrics.average_precision_score", r'Use fnn.metrics.auc\(p, y, curve="pr"\)'),
        ("metrics.mcc", "Use sklearn.metrics.matthews_corrcoef"), ("data.LabelEncoder", "np.unique"),
        ("data.cifar10", "keras.datasets.cifar10"), ("losses.Reduction", "one value per example"),
        ("losses.focal_loss", "Use fnn.losses.sparse_categorical_focal_crossentropy.$"),
        ("CenterCrop", "Use fnn.Cropping.$"),
        # a name of another room, in the same or in Keras's spelling
        ("r2_score", "Use fnn.metrics.r2_score.$"), ("iris", "Use fnn.data.iris.$"), ("random", "Use jax.random.$"),
        ("accuracy", "Use fnn.metrics.accuracy.$"),
        ("optimizers.ExponentialDecay", "Use fnn.schedules.exponential_decay"),
        ("plot.plot", "Use fnn.plot.learning_curves.$"), ("activations.Relu", "Use fnn.activations.relu.$"),
        ("penalties.L2", "Use fnn.penalties.l2.$"),
        # a name of JAX
        ("grad", "Use jax.grad.$"), ("jit", "Use jax.jit.$"), ("array", "Use jnp.array.$"),
        # no guess
        ("penalties.qqq", "has no 'qqq'.$"), ("math", "has no 'math'.$"), ("optimizers.mask", "has no 'mask'.$"),
    ],
)  # fmt: skip
def test_hints_of_every_room(name, here):
    *room, name = name.split(".")
    with pytest.raises(AttributeError, match=here):
        getattr(getattr(fnn, *room) if room else fnn, name)


def test_codes_outside_exist():
    from fnn._equivalents import BY_KIND, EQUIVALENTS

    codes = [*EQUIVALENTS.values(), *(here for _, table in BY_KIND.values() for here in table.values())]
    found = {code for here in codes if here.startswith("=") for code in re.findall(r"(?:optax|jnp|jax)\.[\w.]+", here)}
    assert found
    for code in found:
        module, _, path = code.partition(".")
        functools.reduce(getattr, path.split("."), {"optax": optax, "jnp": jax.numpy, "jax": jax}[module])


CASES = {
    "dense": (fnn.Sequential(fnn.Dense(4, "relu"), fnn.BatchNorm(), fnn.Dropout(0.5), fnn.Dense(3)), (5,), "float32"),
    "convolutional": (
        fnn.Sequential(
            fnn.Conv(2, 3, activation="relu"), fnn.Conv(4, 3, strides=2, padding="same"), fnn.MaxPool(2),
            fnn.Flatten(), fnn.Dense(3),
        ),
        (8, 8, 1),
        "float32",
    ),
    "recurrent": (
        fnn.Sequential(fnn.LSTM(4, input_dim=5, return_sequences=True), fnn.Bidirectional(fnn.GRU(3)), fnn.Dense(3)),
        (6,),
        "int32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", some(CASES, "recurrent"))
def test_everything_lowers_for_cpu_cuda_and_tpu(name):
    model, shape, dtype = CASES[name]
    task = fnn.Task(model, "sparse_categorical_crossentropy", metrics=("accuracy",))
    x, y = jax.ShapeDtypeStruct((10, *shape), dtype), jax.ShapeDtypeStruct((10,), "int32")
    ts = jax.eval_shape(functools.partial(fnn.init, task), jax.random.PRNGKey(0), x)

    def step(ts, x, y):
        return fnn.train_step(task, ts, (x, y))

    def epoch(ts, x, y):
        return fnn.train_epoch(task, ts, (x, y), batch_size=4)

    def predict(ts, x, y):
        return task.model.apply(ts.params, ts.state, x)[0]

    for fn in (step, epoch, predict):
        exported = export.export(jax.jit(fn), platforms=("cpu", "cuda", "tpu"))(ts, x, y)
        assert exported.platforms == ("cpu", "cuda", "tpu")


def test_deep_error_messages_name_the_layer():
    deep = [fnn.Dense(4) for _ in range(3)]
    model = fnn.Sequential(*deep, fnn.Sequential(*deep, fnn.Conv(2, 3), name="block"))
    expected = r"layer 'block' \(position 3\) > layer 'conv' \(position 3\) > "
    with pytest.raises(fnn.InputError, match=expected):
        model.init(jax.random.key(0), np.zeros((1, 4), "f"))
