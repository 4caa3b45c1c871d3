"""Messages about names and arguments of other libraries, which say what to write in fnn."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from ._equivalents import BY_KIND, EQUIVALENTS

_FREEZE = (
    "Freeze parameters in the optimizer: fnn.freeze(fnn.adam(), 'dense_1'); fnn.with_optimizer trains them again later."
)
# The names that arguments have here, of which a function has one at most.
_ARGUMENTS_HERE = {
    **dict.fromkeys(("lr", "learn_rate"), ("learning_rate",)),
    **dict.fromkeys(("features", "out_features", "hidden_size", "num_units"), ("units", "filters", "output_dim")),
    **dict.fromkeys(("out_channels", "nb_filter"), ("filters",)),
    "border_mode": ("padding",),
    **dict.fromkeys(("init", "kernel_init"), ("kernel_initializer",)),
    "output_dim": ("units",),
    "num_embeddings": ("input_dim",),
    "embedding_dim": ("output_dim",),
    **dict.fromkeys(("bias", "with_bias"), ("use_bias",)),
    "use_bias": ("center",),
    "use_scale": ("scale",),
    **dict.fromkeys(("nonlinearity", "fn", "func", "function"), ("activation",)),
    **dict.fromkeys(("stride", "subsample"), ("strides",)),
    **dict.fromkeys(("dilation", "kernel_dilation", "rhs_dilation"), ("dilation_rate",)),
    **dict.fromkeys(("feature_group_count", "num_groups"), ("groups",)),
    **dict.fromkeys(("kernel_size", "window_shape"), ("pool_size",)),
    "scale_factor": ("size",),
    "mode": ("interpolation",),
    **dict.fromkeys(("p", "drop_prob", "dropout_rate", "dropout_prob"), ("rate",)),
    **dict.fromkeys(("std", "sigma"), ("stddev",)),
    **dict.fromkeys(("eps", "epsilon"), ("epsilon", "min_delta")),
    **dict.fromkeys(("tol", "threshold"), ("min_delta",)),
    **{f"{b}{i}": (f"beta_{i}",) for b in ("b", "beta") for i in (1, 2)},
    "alpha": ("rho",),
    "decay_rate": ("rho",),
    **dict.fromkeys(("initial_learning_rate", "initial_value", "init_value"), ("initial",)),
    **dict.fromkeys(("T_max", "transition_steps"), ("decay_steps",)),
    **dict.fromkeys(("use_causal_mask", "is_causal"), ("causal",)),
    "shape": ("target_shape",),
    "downsample": ("shortcut",),
    "factor": ("height_factor",),
    **dict.fromkeys(("epoch", "n_epochs", "num_epochs", "nb_epoch", "max_epochs", "max_iter"), ("epochs",)),
    **dict.fromkeys(("val_data", "validation", "eval_data", "eval_set"), ("validation_data",)),
    **dict.fromkeys(("val_split", "validation_fraction"), ("validation_split",)),
    "steps": ("steps_per_epoch",),
    **dict.fromkeys(("criterion", "loss_fn", "loss_function", "objective", "losses"), ("loss",)),
    **dict.fromkeys(("opt", "optim", "optimiser", "solver", "tx"), ("optimizer",)),
    **dict.fromkeys(("metric", "weighted_metrics", "scoring"), ("metrics",)),
    **dict.fromkeys(("module", "net", "network"), ("model",)),
    **dict.fromkeys(("regularizer", "regularization"), ("penalty",)),
    **dict.fromkeys(("filename", "filepath", "dirpath", "file"), ("path",)),
    **dict.fromkeys(("min_lr", "min_learning_rate"), ("min_rate",)),
    "restore_best_weights": ("restore_best",),
    **dict.fromkeys(("rng", "rngs"), ("key",)),
    "random_state": ("seed",),
    "max_length": ("length",),
    "validation_batch_size": ("eval_batch_size",),
    **dict.fromkeys(("data", "inputs"), ("x",)),
    "dataset": ("data",),
}

_SHAPE = "Leave it out: fnn.init(task, key, x) reads the shape from x."
# Other advice, with {} for the value given.
_ARGUMENTS = {
    **dict.fromkeys(
        ("input_shape", "input_dim", "batch_input_shape", "batch_shape", "in_features", "in_channels", "input_length"),
        _SHAPE,
    ),
    **dict.fromkeys(("input_size", "num_features", "num_channels", "normalized_shape"), _SHAPE),
    "activity_regularizer": "Add fnn.ActivityRegularization(l1=..., l2=...) after the layer.",
    "trainable": _FREEZE,
    "weights": "Replace values in the state: ts._replace(params=...).",
    "betas": "Write beta_1=..., beta_2=... for {}.",
    "data_format": "Channels are last: (batch, height, width, channels).",
    **dict.fromkeys(("batch_first", "time_major"), "Leave it out: sequences are (batch, time, features)."),
    "num_layers": "Write {} layers in fnn.Sequential, with return_sequences=True in all but the last.",
    "bidirectional": "Write fnn.Bidirectional(layer).",
    **dict.fromkeys(
        ("seed", "rng", "rngs", "key", "random_state"), "Randomness comes from the key of fnn.init(task, key, x)."
    ),
    "stateful": "Pass the carry yourself: return_state=True and fnn.lstm(params, x, carry).",
    "dropout": "Add fnn.Dropout({}) before the layer.",
    **dict.fromkeys(("affine", "elementwise_affine"), "Write center={}, scale={}."),
    **dict.fromkeys(
        ("training", "is_training", "deterministic", "use_running_average", "track_running_stats"),
        "Leave it out: fit trains in training mode, predict and evaluate leave it; by hand, apply(..., train=True).",
    ),
    **dict.fromkeys(("start_dim", "end_dim"), "Leave it out: all axes but the batch become one."),
    "padding_idx": "Write mask_zero=True, for steps of the id 0.",
    "padding_mode": "Leave it out: padding is with zeros.",
    "broadcast_dims": "Write noise_shape=..., with 1 for these axes.",
    "clipnorm": "Write fnn.chain(fnn.clip_by_norm({}), optimizer).",
    **dict.fromkeys(
        ("global_clipnorm", "max_grad_norm", "clip_norm"), "Write fnn.chain(fnn.clip_by_global_norm({}), optimizer)."
    ),
    "clipvalue": "Write fnn.chain(fnn.clip_by_value({}), optimizer).",
    "use_ema": "Write fnn.ema(optimizer).",
    "ema_momentum": "Write fnn.ema(optimizer, {}).",
    "params": "Leave it out: fnn.init makes the state of the optimizer.",
    "recurrent_dropout": "It is not included; add fnn.Dropout before or after the layer.",
    **dict.fromkeys(("embed_dim", "qkv_features", "d_model"), "Write key_dim=..., the size of one head."),
    "decode": "Write fnn.with_cache(model, state, x, length), for a state with caches.",
    "num_thresholds": "It is fixed at 200, as by default in Keras.",
    "gradient_accumulation_steps": "Write fnn.accumulate(optimizer, {}).",
    "layers": "Write fnn.Sequential(layer, layer, ...).",
    "weight_decay": "Write kernel_regularizer=fnn.penalties.l2({}), or fnn.adamw(weight_decay={}) as the optimizer.",
    "size": "Write height=..., width=... for {}.",
    "degrees": "Write factor={} / 360, the fraction of a turn.",
    **dict.fromkeys(
        ("jit_compile", "run_eagerly", "steps_per_execution", "unroll"), "Leave it out: training is always compiled."
    ),
    "device": "Leave it out: JAX computes on jax.default_device.",
    "inplace": "Leave it out: nothing changes in place.",
    "axis": "Leave it out: features are on the last axis; jnp.moveaxis moves others there.",
    "implementation": "Leave it out: there is one implementation.",
}

INSTEAD = {
    "top_k": "Of arrays, write fnn.metrics.top_k_accuracy(p, y, k=5).",
    **dict.fromkeys(("check", "summary"), "It takes no state."),
}
"""For functions with too many positional arguments."""

IN_FORWARD = {
    "training": "train",
    "is_training": "train",
    "deterministic": "train, the opposite,",
    **dict.fromkeys(("rng", "rngs"), "key"),
}
"""Arguments of the function of a `Model`."""

OF_ESTIMATORS = {
    "hidden_layer_sizes": "hidden",
    "solver": "optimizer",
    **dict.fromkeys(("learning_rate_init", "lr"), "learning_rate"),
    **dict.fromkeys(("max_iter", "max_epochs"), "epochs"),
    "n_iter_no_change": "patience",
    "seed": "random_state",
}
"""Parameters of scikit-learn's networks and of skorch, for a `Classifier` or `Regressor`."""

_VALUES = "Values are in the state: ts.params['dense']['kernel']."
_METHODS = {
    **dict.fromkeys(("add", "pop", "append"), "Write all layers at once: fnn.Sequential(layer, layer, ...)."),
    "compile": "Write task = fnn.Task(model, loss, optimizer, metrics).",
    "build": "Write ts = fnn.init(task, jax.random.key(0), x[:1]).",
    **dict.fromkeys(("fit", "fit_generator"), "Write ts, history = fnn.fit(task, ts, (x, y))."),
    **dict.fromkeys(("evaluate", "test_on_batch", "evaluate_generator"), "Write fnn.evaluate(task, ts, (x, y))."),
    **dict.fromkeys(("predict", "predict_on_batch", "predict_generator"), "Write fnn.predict(task, ts, x)."),
    "predict_classes": "Write fnn.predict(task, ts, x).argmax(-1).",
    "predict_proba": "Write fnn.activations.softmax(fnn.predict(task, ts, x)).",
    **dict.fromkeys(("inputs", "input"), "The input is the argument of fnn.predict(task, ts, x)."),
    **dict.fromkeys(("outputs", "output"), "Write fnn.predict(task, ts, x), or fnn.outputs(task, ts, x, 'conv_2')."),
    **dict.fromkeys(
        ("get_config", "to_json", "to_yaml"), "Write print(model) or model.config; fnn.save(path, ts, task) keeps it."
    ),
    "history": "fit returns it: ts, history = fnn.fit(task, ts, (x, y)).",
    "stop_training": "Write raise fnn.StopTraining in a callback.",
    "score": "Write fnn.evaluate(task, ts, (x, y)).",
    **dict.fromkeys(
        ("train_on_batch", "apply_gradients", "backward", "step", "minimize"),
        "Write ts, logs = fnn.train_step(task, ts, (x, y)).",
    ),
    "layers": "Keep layers in variables of yours; print(model) shows them.",
    "get_layer": "Write fnn.outputs(task, ts, x, 'conv_2') for its output, ts.params['conv_2'] for its values.",
    **dict.fromkeys(("weights", "get_weights", "parameters", "state_dict", "variables", "trainable_weights"), _VALUES),
    **dict.fromkeys(("trainable_variables", "named_parameters", "kernel", "bias"), _VALUES),
    **dict.fromkeys(("set_weights", "load_state_dict"), "Write ts._replace(params=...)."),
    **dict.fromkeys(("save", "save_weights"), "Write fnn.save('model.safetensors', ts, task)."),
    **dict.fromkeys(("load", "load_weights"), "Write task, ts = fnn.load('model.safetensors')."),
    "count_params": "Write fnn.summary(model, x[:1]).total.",
    "trainable": _FREEZE,
    "train": "fit trains in training mode; by hand, apply(..., train=True).",
    "eval": "predict and evaluate leave training mode; by hand, apply(..., train=False).",
    **dict.fromkeys(("call", "forward"), "Write y, state = layer.apply(params, state, x)."),
    "zero_grad": "Nothing is accumulated: ts, logs = fnn.train_step(task, ts, (x, y)).",
    "apply_fn": "Write y, state = task.model.apply(ts.params, ts.state, x).",
    **{name: f"It is in the task: task.{name}." for name in ("model", "loss", "optimizer", "metrics")},
    **dict.fromkeys(
        ("lr", "learning_rate", "set_learning_rate"),
        "Write fnn.get_hyper(ts)['learning_rate'] to read it, fnn.set_hyper(ts, learning_rate=...) to change it.",
    ),
    "param_groups": "Write fnn.by_path({'head/*': fnn.adam(1e-2), '*': fnn.adam(1e-3)}).",
    **dict.fromkeys(("to", "cuda", "cpu", "device"), "JAX computes on jax.default_device; fnn.devices() lists them."),
    **dict.fromkeys(
        ("summary", "tabulate", "input_shape", "output_shape", "modules", "named_modules", "children"),
        "Write print(fnn.summary(model, x[:1])).",
    ),
    "_replace": "Write .replace(...).",
    "replace": "Write ._replace(...).",
}


def unexpected_argument(
    function: str, name: str, value: str, known: Iterable[str], advice: Mapping[str, str] | None = None
) -> str:
    """The error message for an argument that a function does not have, and its value as text.

    The advice is the function's own, or that for the arguments it has, which are ``known``.

    >>> unexpected_argument("adam", "lr", "0.1", ["learning_rate", "epsilon"])
    "adam() got an unexpected keyword argument 'lr'. Write learning_rate=0.1."
    >>> unexpected_argument("Dense", "activaton", "'relu'", ["units", "activation"])
    "Dense() got an unexpected keyword argument 'activaton'. Did you mean 'activation'?"
    """
    known = list(known)
    options = [
        (advice or {}).get(name),
        *(f"Write {other}={{}}." for other in _ARGUMENTS_HERE.get(name, ()) if other in known),
        _ARGUMENTS.get(name),
        *(f"Did you mean {other!r}?" for other in close_matches(name, known, 1)),
    ]
    text = next(filter(None, options), "")
    return f"{function}() got an unexpected keyword argument {name!r}. {text.replace('{}', value)}".strip()


def missing_attribute(kind: str, name: str) -> str:
    """The error message for an attribute that an object does not have.

    >>> missing_attribute("Layer", "compile")
    "'Layer' object has no attribute 'compile'. Write task = fnn.Task(model, loss, optimizer, metrics)."
    """
    return f"{kind!r} object has no attribute {name!r}. {_METHODS.get(name, '')}".strip()


def missing(name: str, known: Iterable[str], module: str = "fnn") -> str:
    """The error message for a name that a module does not have; it suggests an equivalent or similar names.

    ``known`` are the names of the module, and those of fnn with "fnn." in front.

    >>> missing("Conv2D", [])
    "fnn has no 'Conv2D'. Use fnn.Conv."
    >>> missing("Drpout", ["Dropout", "Dense"])
    "fnn has no 'Drpout'. Did you mean fnn.Dropout?"
    >>> missing("mse", ["mean_squared_error"], "fnn.losses")
    "fnn.losses has no 'mse'. Use fnn.losses.mean_squared_error."
    """
    message = f"{module} has no {name!r}."
    paths = {one if one.startswith("fnn.") else f"{module}.{one}": one.rpartition(".")[2] for one in known}
    if code := _equivalent(name, paths, module):
        return f"{message} Use {code}."
    own = {one: path for path, one in paths.items() if _room(path) == module and not one.isupper()}
    # A name of another room is meant only if the case is the same too.
    others = {one: path for path, one in paths.items() if one[:1].isupper() == name[:1].isupper()}
    close = [own[one] for one in close_matches(name, own, 2, surely=True)]
    close = close or [others[one] for one in close_matches(name, others, 2, surely=True)]
    return f"{message} Did you mean {' or '.join(close)}?" if close else message


def _room(path: str) -> str:
    return path.rpartition(".")[0]


def _equivalent(name: str, paths: Mapping[str, str], module: str) -> str:
    """The code for a name of another library, or in another spelling; ``paths`` map to their last parts.

    An exact entry comes first, then the module's own names in another spelling, then those of other modules.
    """
    if f"fnn.{name}" in paths and module not in ("fnn", f"fnn.{name}"):
        return f"fnn.{name}"
    kinds = sorted(BY_KIND, key=lambda kind: f"fnn.{BY_KIND[kind][0]}" != module)  # the module's own comes first
    own = {_folded(one): path for path, one in paths.items() if _room(path) == module}
    # A class of another library may be a function here, hardly the other way round.
    others = {_folded(one): path for path, one in [*paths.items()][::-1] if name[:1].isupper() or one[:1].islower()}
    if module != "fnn" and (found := own.get(_folded(name))):
        return found
    if f"fnn.{BY_KIND[kinds[0]][0]}" == module and (code := synonym(kinds[0], name, quoted=False)):
        return code
    if name in EQUIVALENTS:
        return _code(EQUIVALENTS[name])
    shorter = name.removesuffix("Loss").removesuffix("Layer")
    if found := next((here[_folded(n)] for here in (own, others) for n in (name, shorter) if _folded(n) in here), ""):
        return found
    if other := {_folded(one): here for one, here in EQUIVALENTS.items()}.get(_folded(name)):
        return _code(other)
    kinds = [kind for kind in kinds if kind != "plot" or "_" in name]  # whose other words say too little elsewhere
    if code := next((code for kind in kinds if (code := synonym(kind, name, quoted=False))), ""):
        return f"fnn.Activation({code})" if code.startswith("jax.nn.") and name[:1].isupper() else code
    outside = {"jax": vars(jax), "jnp": vars(jnp)}
    return next((f"{place}.{name}" for place, names in outside.items() if module == "fnn" and name in names), "")


def _code(here: str) -> str:
    """An entry of a table as code."""
    return here.removeprefix("=") if here.startswith("=") else f"fnn.{here}"


def synonym(kind: str, name: str, *, quoted: bool = True) -> str:
    """What a function of another library is here: its name, or code, or "" for an unknown one.

    >>> synonym("loss", "mse_loss"), synonym("initializer", "Const"), synonym("loss", "mine")
    ("'mean_squared_error'", 'fnn.initializers.constant(value)', '')
    >>> synonym("loss", "mse_loss", quoted=False)
    'fnn.losses.mean_squared_error'
    """
    module, table = BY_KIND.get(kind, ("", {}))
    here = {_folded(other): code for other, code in table.items()}.get(_folded(name).removesuffix("initializer"), "")
    if kind == "activation" and not here:
        return {_folded(other): f"jax.nn.{other}" for other in vars(jax.nn)}.get(_folded(name), "")
    if not here.isidentifier():
        return here and _code(here)
    return repr(here) if quoted else f"fnn.{module}.{here}"


def close_matches(name: str, known: Iterable[str], count: int = 3, *, surely: bool = False) -> list[str]:
    """Known names that ``name`` may be a misspelling of, the closest first, whatever their case and underscores.

    With ``surely``, for a name that may be right as it is, only those that are nearly the same. If none is close, those
    of which ``name`` is the first word.
    """
    plain = {_folded(one): one for one in known}
    likeness = 0.8 if surely else 0.7 if len(name) > 2 else 0.5  # l1 and l2 share half of their letters
    found = [plain[one] for one in difflib.get_close_matches(_folded(name), plain, count, likeness)]
    first_words = [one for one in plain.values() if not surely and one.startswith(f"{name}_")]
    return found or first_words[:count]


def _folded(name: str) -> str:
    """A name without case and underscores, so that HeNormal and he_normal are one."""
    return name.replace("_", "").lower()
