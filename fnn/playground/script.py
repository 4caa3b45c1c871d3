"""The code of an experiment: an fnn script that ends with the same losses, and the Keras script of the same network.

Both are written from the settings and the list of events, the one from which the experiment itself was computed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .choices import FEATURES, OPTIMIZERS
from .data import Prepared, read_table
from .experiment import LOSSES, Event, Experiment, Weight, batch_size
from .journey import Journey
from .settings import Layer, Penalty, Settings

_LEFT_OUT = ("momentum", "weight_decay")  # by an optimizer if they are the plain number 0
_KERAS_OPTIMIZERS = {
    "sgd": "SGD", "momentum": "SGD", "nesterov": "SGD", "adagrad": "Adagrad", "rmsprop": "RMSprop",
    "adadelta": "Adadelta", "adam": "Adam", "adamw": "AdamW", "adamax": "Adamax", "nadam": "Nadam",
}  # fmt: skip
_KERAS_LOSSES = {
    "binary": "keras.losses.BinaryCrossentropy(from_logits=True)",
    "classes": "keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
    "regression": '"mse"',
}
_KERAS_METRICS = {
    "binary": "[keras.metrics.BinaryAccuracy(threshold=0.0)]",  # of logits
    "classes": '["accuracy"]',
    "regression": "[]",
}
_KERAS_INITIALIZERS = {"uniform": "random_uniform", "normal": "random_normal"}
_FEATURES = {
    "x1": "a", "x2": "b", "x1^2": "a**2", "x2^2": "b**2", "x1*x2": "a * b", "sin(x1)": "np.sin(a)",
    "sin(x2)": "np.sin(b)",
}  # fmt: skip
assert tuple(_FEATURES) == FEATURES


class Code(NamedTuple):
    """Two scripts, and the files that they read by name."""

    fnn: str
    keras: str
    files: dict[str, str]


def code(journey: Journey) -> Code:
    """The scripts of an experiment up to its current epoch."""
    settings = journey.experiment.settings
    table = read_table(settings.data.text) if settings.data.name == "csv" else None
    return Code(fnn_script(journey), keras_script(journey), {"data.csv": table.text()} if table else {})


class Stretch(NamedTuple):
    """Epochs under one penalty, and the changes after them."""

    epochs: int
    penalty: Penalty
    end: int
    changes: list[Event]


def stretches(journey: Journey) -> Iterator[Stretch]:
    """The way to the current epoch, cut at the changes."""
    epoch, penalty = 0, journey.experiment.settings.penalty
    now = journey.now.epoch
    events = [event for event in journey.events if event.epoch <= now]
    for end in sorted({event.epoch for event in events} | {now}):
        changes = [event for event in events if event.epoch == end]
        yield Stretch(end - epoch, penalty, end, changes)
        epoch = end
        for event in changes:
            penalty = event.change if isinstance(event.change, Penalty) else penalty


def perceptron_script(settings: Settings, prepared: Prepared, passes: int) -> str:
    """A program that ends with the weights of the perceptron's rule after some passes."""
    features = "(train[0], train[1][:, 0].astype(int), epochs="
    parts = [
        '"""The perceptron of the playground. It ends with the same weights."""',
        "import jax\nimport numpy as np\n\nimport fnn",
        data_code(settings, prepared),
        f"found = fnn.classic.perceptron{features}{max(1, passes)})\n"
        'print("kernel", np.asarray(found.params["kernel"]).ravel().tolist())\n'
        'print("bias", found.params["bias"].item())\n'
        'print("errors in each pass", found.errors.tolist())',
    ]
    return _joined(parts)


def fnn_script(journey: Journey) -> str:
    """A program that ends with the losses of the current epoch, to the last digit."""
    experiment = journey.experiment
    parts = [
        '"""An experiment of the playground. It ends with the same losses, to the last digit."""',
        "import jax\nimport jax.numpy as jnp\nimport numpy as np\n\nimport fnn",
        data_code(experiment.settings, experiment.prepared),
        _model_code(experiment),
    ]
    cut = list(stretches(journey))
    for kind in sorted({one.penalty.kind for one in cut if one.epochs} - {"none"}):
        parts.append(_penalty_code(kind, batch_size(experiment)))
    parts += filter(None, (_stretch_code(one, batch_size(experiment)) for one in cut))
    parts.append('print("train loss", fnn.evaluate(task, ts, train)["loss"])')
    parts.append('print("test loss", fnn.evaluate(task, ts, test)["loss"])')
    return _joined(parts)


def _joined(parts: Iterable[str]) -> str:
    """Paragraphs, with two empty lines around functions, as formatters want it; imports that nothing needs left out."""
    text = ""
    for part in parts:
        wide = part.startswith(("def ", "@")) or text.rpartition("\n\n")[2].startswith(("def ", "@", "    "))
        together = part.startswith("print(") and text.endswith('["loss"])')
        text += ("" if not text else "\n" if together else "\n\n\n" if wide else "\n\n") + part
    for name, line in (("jnp", "import jax.numpy as jnp\n"), ("np", "import numpy as np\n")):
        if f"{name}." not in text.replace(line, ""):
            text = text.replace(line, "")
    return text + "\n"


def data_code(settings: Settings, prepared: Prepared) -> str:
    """The lines that make ``train`` and ``test``, and ``init_key``."""
    lines = [f"data_key, init_key = jax.random.split(jax.random.key({settings.seed}))"]
    match settings.data.name:
        case "csv":
            lines += _table_code(settings, prepared)
        case "digits" | "mnist":
            lines += [
                *_image_code(settings),
                _split_code(settings, prepared),
                "train = jax.device_put((x_train, y_train))",
                "test = jax.device_put((x_test, y_test))",
            ]
        case _:
            lines += _plane_code(settings, prepared)
    return "\n".join(lines)


def _image_code(settings: Settings) -> list[str]:
    count = settings.data.size
    if settings.data.name == "digits":
        return ["data = fnn.data.digits()", f"x, y = data.x.reshape(len(data.x), -1)[:{count}], data.y[:{count}]"]
    return [
        "data = fnn.data.mnist()",
        f"x = data.x_train[:{count}].reshape(-1, 14, 2, 14, 2).mean((2, 4)) / 255  # squares of four pixels",
        f"x, y = x.astype(np.float32).reshape(len(x), -1), data.y_train[:{count}]",
    ]


def _split_code(settings: Settings, prepared: Prepared) -> str:
    count = len(prepared.test[0])
    return (
        f"x_train, x_test, y_train, y_test = fnn.data.train_test_split(x, y, test_size={count}, seed={settings.seed})"
    )


def _targets(problem: str, name: str) -> str:
    """A target in the form that the loss takes."""
    return f"{name}.astype(np.int32)" if problem == "classes" else f"{name}.astype(np.float32)[:, None]"


def _plane_code(settings: Settings, prepared: Prepared) -> list[str]:
    data, problem = settings.data, prepared.problem
    if data.name == "points":
        x = "\n".join(textwrap.wrap(", ".join(f"[{a!r}, {b!r}]" for a, b in data.x), 100))
        y = "\n".join(textwrap.wrap(", ".join(map(repr, data.y)), 100))
        lines = [
            f"x = np.array([\n{textwrap.indent(x, '    ')}\n], np.float32)",
            f"y = np.array([\n{textwrap.indent(y, '    ')}\n], np.float32)",
        ]
    else:
        lines = [
            f"data = fnn.data.{data.name}(data_key, {data.size}, noise={data.noise!r})",
            "x, y = np.asarray(data.x), np.asarray(data.y).reshape(-1)",
        ]
    lines.append(_split_code(settings, prepared))
    if settings.features == ("x1", "x2"):
        inputs = {part: f"x_{part}" for part in ("train", "test")}
    else:
        columns = ", ".join(_FEATURES[name] for name in settings.features)
        lines += [
            "\n",
            "def features(x):",
            "    a, b = x[:, 0], x[:, 1]",
            f"    return np.stack([{columns}], axis=1)\n\n",
        ]
        inputs = {part: f"features(x_{part})" for part in ("train", "test")}
    return lines + [f"{part} = jax.device_put(({x}, {_targets(problem, f'y_{part}')}))" for part, x in inputs.items()]


def _table_code(settings: Settings, prepared: Prepared) -> list[str]:
    problem, classes = prepared.problem, prepared.classes
    target = read_table(settings.data.text).target
    lines = [
        'columns = fnn.data.read_csv("data.csv")',
        f"y = columns.pop({target!r})",
        "x = fnn.data.table_encode(fnn.data.table_fit(columns), columns)",
        "y = np.searchsorted(np.unique(y), y)  # class numbers" if classes else "y = y.astype(np.float64)",
        _split_code(settings, prepared),
        "moments = fnn.data.standardize_fit(x_train)",
        "x_train, x_test = fnn.data.standardize(moments, x_train), fnn.data.standardize(moments, x_test)",
    ]
    if not classes:
        lines += [
            "scale = fnn.data.standardize_fit(y_train[:, None])",
            "y_train, y_test = (fnn.data.standardize(scale, y[:, None])[:, 0] for y in (y_train, y_test))",
        ]
    return lines + [
        f"{part} = jax.device_put((x_{part}, {_targets(problem, f'y_{part}')}))" for part in ("train", "test")
    ]


def _model_code(experiment: Experiment) -> str:
    settings, prepared = experiment.settings, experiment.prepared
    kernel = "" if settings.initializer == "glorot_uniform" else f", kernel_initializer={settings.initializer!r}"
    layers = [*_fnn_layers(settings.layers, kernel), f"fnn.Dense({prepared.outputs}{kernel})"]
    chosen = OPTIMIZERS[settings.optimizer]
    numbers = [*(f"{key}={value}" for key, value in chosen.options.items())]
    for key, value in settings.hyper:
        numbers.append(f"{key}=jnp.zeros(())" if key in _LEFT_OUT and not value else f"{key}={value!r}")
    metrics = "" if prepared.problem == "regression" else ', metrics=("accuracy",)'
    return "\n".join(
        [
            "model = fnn.Sequential(",
            *(f"    {layer}," for layer in layers),
            ")",
            f"optimizer = fnn.{chosen.make.__name__}({', '.join(numbers)})",
            f'task = fnn.Task(model, "{LOSSES[prepared.problem]}", optimizer{metrics})',
            "ts = fnn.init(task, init_key, train[0][:1])",
        ]
    ).replace("'", '"')


def _fnn_layers(layers: tuple[Layer, ...], kernel: str) -> Iterator[str]:
    for layer in layers:
        if layer.batch_norm:
            yield f"fnn.Dense({layer.units}{kernel})"
            yield "fnn.BatchNorm()"
            yield f"fnn.Activation({layer.activation!r})"
        else:
            yield f"fnn.Dense({layer.units}, activation={layer.activation!r}{kernel})"
        if layer.dropout:
            yield f"fnn.Dropout({layer.dropout!r})"


def _penalty_code(kind: str, rows: int) -> str:
    return (
        f"@jax.jit\ndef {kind}_epoch(ts, train, rate):\n"
        f'    """One epoch with a penalty, compiled once for all rates."""\n'
        f"    penalized = task.replace(penalty=fnn.penalties.{kind}(rate))\n"
        f"    return fnn.train_epoch(penalized, ts, train, batch_size={rows})[0]"
    )


def _stretch_code(one: Stretch, rows: int) -> str:
    lines = []
    if one.epochs:
        lines.append(f"for epoch in range({one.end - one.epochs}, {one.end}):")
        if one.penalty.kind == "none":
            lines.append(f"    ts, logs = fnn.train_epoch(task, ts, train, batch_size={rows})")
        else:
            lines.append(f"    ts = {one.penalty.kind}_epoch(ts, train, jnp.float32({one.penalty.rate!r}))")
    for event in one.changes:
        match event.change:
            case Weight(layer, leaf, index, value):
                place = ", ".join(map(str, index))
                old = f'ts.params["{layer}"]["{leaf}"]'
                lines.append(f"{old} = {old}.at[{place}].set({value!r})  # after epoch {one.end}")
            case dict() as values:
                given = ", ".join(f"{key}={value!r}" for key, value in values.items())
                lines.append(f"ts = fnn.set_hyper(ts, {given})  # after epoch {one.end}")
    return "\n".join(lines)


def keras_script(journey: Journey) -> str:
    """The same network, data and changes in Keras, whose chance differs."""
    experiment = journey.experiment
    settings, problem = experiment.settings, experiment.prepared.problem
    chosen = OPTIMIZERS[settings.optimizer]
    numbers = [f"{key}={value}" for key, value in (chosen.options | dict(settings.hyper)).items()]
    name = _KERAS_OPTIMIZERS[settings.optimizer]
    cut = list(stretches(journey))
    penalized = any(one.penalty.kind != "none" for one in cut)
    model = [
        f"keras.utils.set_random_seed({settings.seed})",
        "model = keras.Sequential([",
        f"    keras.Input(({len(experiment.prepared.inputs)},)),",
        *(f"    {layer}," for layer in _keras_layers(experiment)),
        "])",
        f"optimizer = keras.optimizers.{name}({', '.join(numbers)})",
        f"model.compile(optimizer, {_KERAS_LOSSES[problem]}, metrics={_KERAS_METRICS[problem]})",
    ]
    penalize = (
        "def penalize(regularizer):\n"
        "    for layer in model.layers:\n"
        '        if hasattr(layer, "kernel"):\n'
        "            layer.kernel.regularizer = regularizer\n"
        "    model.make_train_function(force=True)"
    )
    parts = [
        '"""The same network in Keras, with data from fnn. Its random numbers differ, and so do its losses."""',
        "import jax\nimport keras\nimport numpy as np\n\nimport fnn",
        data_code(experiment.settings, experiment.prepared),
        "\n".join(model),
        *([penalize] if penalized else []),
        *filter(None, (_keras_stretch(one, batch_size(experiment), old) for one, old in _with_before(cut))),
        'print("train loss", model.evaluate(*map(np.asarray, train), verbose=0, return_dict=True)["loss"])',
        'print("test loss", model.evaluate(*map(np.asarray, test), verbose=0, return_dict=True)["loss"])',
    ]
    return _joined(parts)


def _with_before(cut: list[Stretch]) -> Iterator[tuple[Stretch, Penalty]]:
    """Each stretch with the penalty before it."""
    before = Penalty()
    for one in cut:
        yield one, before
        before = one.penalty if one.epochs else before


def _keras_layers(experiment: Experiment) -> Iterator[str]:
    settings = experiment.settings
    initializer = _KERAS_INITIALIZERS.get(settings.initializer, settings.initializer)
    kernel = "" if initializer == "glorot_uniform" else f', kernel_initializer="{initializer}"'
    numbers = iter(f"dense_{i}" if i else "dense" for i in range(len(settings.layers) + 1))
    for layer in settings.layers:
        name = next(numbers)
        if layer.batch_norm:
            yield f'keras.layers.Dense({layer.units}{kernel}, name="{name}")'
            yield "keras.layers.BatchNormalization()"
            yield f'keras.layers.Activation("{layer.activation}")'
        else:
            yield f'keras.layers.Dense({layer.units}, activation="{layer.activation}"{kernel}, name="{name}")'
        if layer.dropout:
            yield f"keras.layers.Dropout({layer.dropout!r})"
    yield f'keras.layers.Dense({experiment.prepared.outputs}{kernel}, name="{next(numbers)}")'


def _keras_stretch(one: Stretch, rows: int, before: Penalty) -> str:
    lines = []
    if one.epochs:
        if one.penalty != before:
            name = {"none": "None", "l1": "keras.regularizers.L1", "l2": "keras.regularizers.L2"}[one.penalty.kind]
            lines.append(f"penalize({name if name == 'None' else f'{name}({one.penalty.rate!r})'})")
        start = one.end - one.epochs
        given = f"batch_size={rows}, initial_epoch={start}, epochs={one.end}, verbose=0"
        lines.append(f"model.fit(*map(np.asarray, train), {given})")
    for event in one.changes:
        match event.change:
            case Weight(layer, leaf, index, value):
                place = ", ".join(map(str, index))
                lines += [
                    f'{leaf} = np.array(model.get_layer("{layer}").{leaf})',
                    f"{leaf}[{place}] = {value!r}",
                    f'model.get_layer("{layer}").{leaf}.assign({leaf})  # after epoch {one.end}',
                ]
            case dict() as values:
                lines += [f"optimizer.{key} = {value!r}  # after epoch {one.end}" for key, value in values.items()]
                if set(values) - {"learning_rate"}:
                    lines.append("model.make_train_function(force=True)  # Keras reads these numbers when it compiles")
    return "\n".join(lines)
