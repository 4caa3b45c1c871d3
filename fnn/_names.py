"""Names in other libraries and their equivalents in fnn, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_WITH_RANK = {
    "Conv": "Conv",
    "SeparableConv": "SeparableConv",
    "DepthwiseConv": "DepthwiseConv",
    "MaxPooling": "MaxPool",
    "MaxPool": "MaxPool",
    "AveragePooling": "AvgPool",
    "AvgPool": "AvgPool",
    "GlobalMaxPooling": "GlobalMaxPool",
    "GlobalMaxPool": "GlobalMaxPool",
    "GlobalAvgPool": "GlobalAvgPool",
    "GlobalAveragePooling": "GlobalAvgPool",
    "SpatialDropout": "SpatialDropout",
    "Dropout": "SpatialDropout",
    "ZeroPadding": "ZeroPadding",
    "ZeroPad": "ZeroPadding",
    "Cropping": "Cropping",
    "UpSampling": "UpSampling",
}
_LOSSES = {
    **dict.fromkeys(
        ("CrossEntropy", "CrossEntropyLoss", "SCCE", "NLLLoss", "NLL", "softmax_cross_entropy_with_integer_labels"),
        "sparse_categorical_crossentropy",
    ),
    **dict.fromkeys(("CCE", "softmax_cross_entropy"), "categorical_crossentropy"),
    **dict.fromkeys(
        ("BCE", "BCELoss", "BCEWithLogits", "BCEWithLogitsLoss", "BinaryCrossEntropyWithLogits"), "binary_crossentropy"
    ),
    **dict.fromkeys(("log_loss", "sigmoid_binary_cross_entropy"), "binary_crossentropy"),
    **dict.fromkeys(("MSELoss", "MSE", "squared_error", "L2Loss", "L2"), "mean_squared_error"),
    **dict.fromkeys(("RMSE", "root_mean_squared_error"), 'losses.mean_squared_error as loss, with metrics=("rmse",)'),
    **dict.fromkeys(("L1Loss", "L1", "MAE", "absolute_error"), "mean_absolute_error"),
    "MAPE": "mean_absolute_percentage_error",
    "MSLE": "mean_squared_logarithmic_error",
    **dict.fromkeys(("SmoothL1Loss", "HuberLoss"), "huber"),
    **dict.fromkeys(("KLDivLoss", "kl_div", "KLD"), "kl_divergence"),
    "PoissonNLLLoss": "poisson",
    "GaussianNLLLoss": "gaussian_nll",
}
_INITIALIZERS = {
    "RandomNormal": "normal",
    **dict.fromkeys(("Random", "RandomUniform"), "uniform"),
    **dict.fromkeys(("Xavier", "XavierUniform"), "glorot_uniform"),
    "XavierNormal": "glorot_normal",
    **dict.fromkeys(("Kaiming", "KaimingUniform"), "he_uniform"),
    **dict.fromkeys(("He", "KaimingNormal"), "he_normal"),
    **dict.fromkeys(("TruncatedNormal", "VarianceScaling"), "initializers.lecun_normal, glorot_normal or he_normal"),
    **dict.fromkeys(("Constant", "Const"), "initializers.constant(value)"),
}
_ACTIVATIONS = {
    **dict.fromkeys(("logistic", "expit", "sigm"), "sigmoid"),
    **dict.fromkeys(("identity", "none", "lin"), "linear"),
    "PReLU": "leaky_relu",
    "heaviside": "step",
}
_METRICS = {  # those with a function of another name are known by name to a task alone
    **{
        f"{here}{ending}": f'metrics.precision_recall_f1, or metrics=("{here}",) in a task'
        for here in ("precision", "recall", "f1")
        for ending in ("", "_score")
    },
    **dict.fromkeys(
        ("pr_auc", "average_precision", "average_precision_score"),
        'metrics.binned_auc, or metrics=("pr_auc",) in a task',
    ),
    **dict.fromkeys(("mse", "mean_squared_error"), 'losses.mean_squared_error, or metrics=("mse",) in a task'),
    **dict.fromkeys(("acc", "accuracy_score", "categorical_accuracy", "sparse_categorical_accuracy"), "accuracy"),
    **dict.fromkeys(("roc_auc", "roc_auc_score"), "auc"),
    "r2": "r2_score",
    **dict.fromkeys(("top5", "top_k_accuracy_score", "top_k_categorical_accuracy"), "top_k_accuracy"),
    "sparse_top_k_categorical_accuracy": "top_k_accuracy",
    "iou": "mean_iou",
    "root_mean_squared_error": "rmse",
    "mean_absolute_error": "mae",
    "mean_absolute_percentage_error": "mape",
}
_OPTIMIZERS = {"momentum": "sgd(momentum=0.9)", "nesterov": "sgd(momentum=0.9, nesterov=True)"}
_SCHEDULES = {
    **dict.fromkeys(("StepLR", "step", "staircase"), "schedules.exponential_decay(..., staircase=True)"),
    **dict.fromkeys(("PiecewiseConstantDecay", "MultiStepLR"), "piecewise_constant"),
    **dict.fromkeys(("ExponentialLR", "exponential"), "exponential_decay"),
    **dict.fromkeys(("CosineAnnealingLR", "CosineAnnealing", "cosine"), "cosine_decay"),
    **dict.fromkeys(("LinearLR", "LinearWarmup"), "warmup"),
}
_PLOTS = {
    **dict.fromkeys(("history", "curves", "loss", "accuracy", "plot_history", "plot_curves"), "learning_curves"),
    **dict.fromkeys(("decision_regions", "plot_decision_regions"), "decision_boundary"),
    **dict.fromkeys(("plot_model", "model_graph", "draw_graph", "graph"), "model"),
    **dict.fromkeys(("image", "imshow", "digits", "kernels", "filters"), "images"),
    "plot_confusion_matrix": "confusion_matrix",
    **dict.fromkeys(("calibration", "calibration_curve"), "reliability"),
}
_BY_KIND = {
    "loss": ("losses", _LOSSES),
    "initializer": ("initializers", _INITIALIZERS),
    "activation": ("activations", _ACTIVATIONS),
    "metric": ("metrics", _METRICS),
    "optimizer": ("optimizers", _OPTIMIZERS),
    "schedule": ("schedules", _SCHEDULES),
    "plot": ("plot", _PLOTS),
}
"""For each kind of function its module, and the function's name in it, or other code below fnn, by other names."""
_EQUIVALENTS = {
    **{f"{name}{rank}{d}": here for name, here in _WITH_RANK.items() for rank in (1, 2, 3) for d in "Dd"},
    **{name.format(rank): "ConvTranspose" for name in ("Conv{}DTranspose", "ConvTranspose{}d") for rank in (1, 2, 3)},
    **{f"BatchNorm{rank}d": "BatchNorm" for rank in (1, 2, 3)},
    **{name: name.lower() for name in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam")},
    **dict.fromkeys(("multi_transform", "partition"), "by_path"),
    **dict.fromkeys(("Input", "InputLayer"), "init(task, key, x), which reads the shape from the data"),
    "compile": "Task(model, loss, optimizer)",
    **dict.fromkeys(("regularizers", "constraints"), "penalties"),
    **dict.fromkeys(("save_model", "save_weights"), "save"),
    **dict.fromkeys(("load_model", "load_weights"), "load"),
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "RMSNormalization": "RMSNorm",
    "GroupNormalization": "GroupNorm",
    **dict.fromkeys(("InstanceNorm", "InstanceNormalization"), "GroupNorm(groups=-1)"),
    **dict.fromkeys(("MultiheadAttention", "Attention"), "MultiHeadAttention"),
    "GroupQueryAttention": "MultiHeadAttention(num_key_value_heads=...)",
    **dict.fromkeys(("scaled_dot_product_attention", "dot_product_attention"), "attention"),
    **dict.fromkeys(("SinePositionEncoding", "PositionalEncoding"), "SinusoidalPositions()"),
    **dict.fromkeys(("RotaryEmbedding", "RoPE"), "MultiHeadAttention(rotary=True)"),
    "remat": "Rematerialized",
    **dict.fromkeys(("MLPClassifier", "NeuralNetClassifier", "KerasClassifier"), "Classifier"),
    **dict.fromkeys(("MLPRegressor", "NeuralNetRegressor", "KerasRegressor"), "Regressor"),
    "GridSearchCV": "GridSearch",
    "Linear": "Dense",
    "Embed": "Embedding",
    **{f"Adaptive{kind}Pool{rank}d": f"Global{kind}Pool" for kind in ("Avg", "Max") for rank in (1, 2, 3)},
    "ModuleList": "Sequential",
    "TensorBoard": "csv_log, or fit(callbacks=[fn]) with fn(epoch, logs)",
    **dict.fromkeys(("clip_grad_norm", "clip_grad_norm_"), "clip_by_global_norm"),
    "Masking": "Masked(x, mask)",
    "Upsample": "UpSampling",
    **{name: name.capitalize() for name in ("add", "subtract", "multiply", "average", "maximum", "minimum")},
    **dict.fromkeys(("concatenate", "Concat"), "Concatenate"),
    "Lambda": "Activation(fn)",
    "Identity": 'Activation("linear")',
    "Resizing": "Activation(fn), with a function fn that calls jax.image.resize",
    "Module": "Layer, two pure functions",
    "ReLU": 'Activation("relu")',
    "LeakyReLU": 'Activation("leaky_relu")',
    "ELU": 'Activation("elu")',
    "Softmax": 'Activation("softmax"), usually omitted, since losses take logits',
    "Sigmoid": 'Activation("sigmoid"), usually omitted, since losses take logits',
    "Tanh": 'Activation("tanh")',
    "LSTMCell": "lstm_cell",
    "GRUCell": "gru_cell",
    "SimpleRNNCell": "simple_rnn_cell",
    "RNN": "SimpleRNN, LSTM or GRU",
    "EarlyStopping": "early_stopping",
    "ReduceLROnPlateau": "reduce_on_plateau",
    "ModelCheckpoint": "model_checkpoint",
    "CSVLogger": "csv_log",
    "BackupAndRestore": "fit(checkpoint=...)",
    "TerminateOnNaN": "fit(check='finite')",
    **dict.fromkeys(("LambdaCallback", "Callback"), "fit(callbacks=[fn]) with fn(epoch, logs), or on_batch(fn)"),
    "to_categorical": "one_hot",
    "callbacks": "early_stopping (and reduce_on_plateau, csv_log, model_checkpoint, on_batch; any function works)",
    "datasets": "data",
    "layers": "Dense (all layers are directly in fnn)",
    **dict.fromkeys(("models", "linen", "nnx"), "Sequential (all layers are directly in fnn)"),
    **dict.fromkeys(("utils", "preprocessing"), "data"),
    **dict.fromkeys(("Tokenizer", "TextVectorization", "StringLookup"), "text.Vocabulary.of(text)"),
    "load_iris": "data.iris",
    "load_digits": "data.digits",
    "load_data": "data.mnist() and its neighbours",
    "fetch_california_housing": "data.california_housing",
    "make_circles": "data.circles",
    **dict.fromkeys(("StandardScaler", "Normalization"), "data.standardize_fit, with fnn.data.standardize"),
    **dict.fromkeys(("OneHotEncoder", "CategoryEncoding"), "data.table_encode"),
    **dict.fromkeys(("KFold", "StratifiedKFold"), "data.folds"),
    **dict.fromkeys(("DataLoader", "from_generator"), "data.Stream"),
    "train_test_split": "data.train_test_split",
    "confusion_matrix": "metrics.confusion_matrix",
    **dict.fromkeys(
        ("manual_seed", "set_random_seed", "seed_everything", "Rngs"), "init(task, jax.random.key(0), x): the key"
    ),
    **dict.fromkeys(("no_grad", "stop_gradient"), "predict, or jax.lax.stop_gradient"),
    **{
        name: f"activations.{name}"
        for name in ("relu", "sigmoid", "softmax", "log_softmax", "tanh", "gelu", "softplus", "swish")
    },
    **{name: f'Activation("{name.lower()}")' for name in ("GELU", "SiLU", "Swish", "Mish", "Softplus", "Softsign")},
    "LogSoftmax": 'Activation("log_softmax")',
    "PReLU": 'Activation("leaky_relu"), whose slope is fixed',
    **{name: f"penalties.{name.replace('_', '')}" for name in ("l1", "l2", "l1_l2")},
    "pad_sequences": "Masked(x, mask), of an array padded with NumPy",
    **dict.fromkeys(
        ("TransformerEncoder", "TransformerEncoderLayer"), "Sequential of fnn.Residual and fnn.MultiHeadAttention"
    ),
    **dict.fromkeys(("L1", "L2", "L1L2"), "penalties.l1, fnn.penalties.l2 or fnn.penalties.l1l2"),
    "MaxNorm": "penalties.max_norm",
    "UnitNorm": "penalties.unit_norm",
    "NonNeg": "penalties.non_negative",
    "LearningRateScheduler": "schedules, e.g. fnn.adam(fnn.schedules.exponential_decay(...))",
    "value_and_grad": "train_step, or jax.value_and_grad of a loss of your own",
}

_FREEZE = (
    "Freeze parameters in the optimizer: fnn.freeze(fnn.adam(), 'dense_1'); fnn.with_optimizer trains them again later."
)
# The names that arguments have here, of which a function has one at most.
_ARGUMENTS_HERE = {
    **dict.fromkeys(("lr", "learn_rate"), ("learning_rate",)),
    **dict.fromkeys(("features", "out_features", "hidden_size", "num_units"), ("units", "filters", "output_dim")),
    "out_channels": ("filters",),
    "num_embeddings": ("input_dim",),
    "embedding_dim": ("output_dim",),
    **dict.fromkeys(("bias", "with_bias"), ("use_bias",)),
    "use_bias": ("center",),
    "use_scale": ("scale",),
    **dict.fromkeys(("nonlinearity", "fn", "func", "function"), ("activation",)),
    "stride": ("strides",),
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
    "use_causal_mask": ("causal",),
    "is_causal": ("causal",),
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

# Other advice, with {} for the value given.
_ARGUMENTS = {
    **dict.fromkeys(
        ("input_shape", "input_dim", "batch_input_shape", "batch_shape", "in_features", "in_channels", "input_length"),
        "Leave it out: fnn.init(task, key, x) reads the shape from x.",
    ),
    **dict.fromkeys(
        ("input_size", "num_features", "num_channels", "normalized_shape"),
        "Leave it out: fnn.init(task, key, x) reads the shape from x.",
    ),
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
}

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

_VALUES = "Values are in the state: ts.params['dense']['kernel']"
_SUMMARY = "Write print(fnn.summary(model, x[:1]))."
_METHODS = {
    **dict.fromkeys(("add", "pop", "append"), "Write all layers at once: fnn.Sequential(layer, layer, ...)."),
    "compile": "Write task = fnn.Task(model, loss, optimizer, metrics).",
    "build": "Write ts = fnn.init(task, jax.random.key(0), x[:1]).",
    "fit": "Write ts, history = fnn.fit(task, ts, (x, y)).",
    "evaluate": "Write fnn.evaluate(task, ts, (x, y)).",
    "predict": "Write fnn.predict(task, ts, x).",
    "score": "Write fnn.evaluate(task, ts, (x, y)).",
    "train_on_batch": "Write ts, logs = fnn.train_step(task, ts, (x, y)).",
    "summary": _SUMMARY,
    "layers": "Keep layers in variables of yours; print(model) shows them.",
    "get_layer": "Write fnn.outputs(task, ts, x, 'conv_2') for its output, ts.params['conv_2'] for its values.",
    **dict.fromkeys(
        ("weights", "get_weights", "parameters", "state_dict", "variables", "trainable_weights"), f"{_VALUES}."
    ),
    **dict.fromkeys(("trainable_variables", "named_parameters", "kernel", "bias"), f"{_VALUES}."),
    **dict.fromkeys(("set_weights", "load_state_dict"), "Write ts._replace(params=...)."),
    **dict.fromkeys(("save", "save_weights"), "Write fnn.save('model.safetensors', ts, task)."),
    **dict.fromkeys(("load", "load_weights"), "Write task, ts = fnn.load('model.safetensors')."),
    "count_params": "Write fnn.summary(model, x[:1]).total.",
    "trainable": _FREEZE,
    "train": "fit trains in training mode; by hand, apply(..., train=True).",
    "eval": "predict and evaluate leave training mode; by hand, apply(..., train=False).",
    **dict.fromkeys(("call", "forward"), "Write y, state = layer.apply(params, state, x)."),
    "apply_gradients": "Write ts, logs = fnn.train_step(task, ts, (x, y)).",
    "zero_grad": "Nothing is accumulated: ts, logs = fnn.train_step(task, ts, (x, y)).",
    "backward": "Write ts, logs = fnn.train_step(task, ts, (x, y)).",
    "tabulate": _SUMMARY,
    "apply_fn": "Write y, state = task.model.apply(ts.params, ts.state, x).",
    **{name: f"It is in the task: task.{name}." for name in ("model", "loss", "optimizer", "metrics")},
    **dict.fromkeys(
        ("lr", "learning_rate", "set_learning_rate"),
        "Write fnn.get_hyper(ts)['learning_rate'] to read it, fnn.set_hyper(ts, learning_rate=...) to change it.",
    ),
    **dict.fromkeys(("step", "minimize"), "Write ts, logs = fnn.train_step(task, ts, (x, y))."),
    "param_groups": "Write fnn.by_path({'head/*': fnn.adam(1e-2), '*': fnn.adam(1e-3)}).",
    **dict.fromkeys(("to", "cuda", "cpu", "device"), "JAX computes on jax.default_device; fnn.devices() lists them."),
    **dict.fromkeys(("input_shape", "output_shape", "modules", "named_modules", "children"), _SUMMARY),
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
    names = {one if one.startswith("fnn.") else f"{module}.{one}": one.removeprefix("fnn.") for one in known}
    if code := _equivalent(name, names, module):
        return f"{message} Use {code}."
    paths = {one: path for path, one in names.items()}
    own = [one for path, one in names.items() if path.startswith(f"{module}.") and not one.isupper()]
    # A name of another module is meant only if nearly all of it is the same.
    close = [paths[one] for one in close_matches(name, own, 2) or close_matches(name, paths, 2, surely=True)]
    return f"{message} Did you mean {' or '.join(close)}?" if close else message


def _equivalent(name: str, names: Mapping[str, str], module: str) -> str:
    """The code for a name of another library, or in another spelling; ``names`` are the last parts of known paths."""
    if f"fnn.{name}" in names and module != "fnn":
        return f"fnn.{name}"
    kinds = sorted(_BY_KIND, key=lambda kind: f"fnn.{_BY_KIND[kind][0]}" != module)  # the module's own comes first
    if f"fnn.{_BY_KIND[kinds[0]][0]}" == module and (code := synonym(kinds[0], name, quoted=False)):
        return code

    def other_kind(path: str) -> tuple[bool, bool]:  # of another module; a class where a function was meant
        return not path.startswith(f"{module}."), path.rpartition(".")[2][:1].isupper() != name[:1].isupper()

    plain: dict[str, str] = {}
    for path in sorted(names, key=other_kind):
        plain.setdefault(_folded(names[path]), path)
    if name in _EQUIVALENTS:
        return f"fnn.{_EQUIVALENTS[name]}"
    if found := plain.get(_folded(name), plain.get(_folded(name.removesuffix("Loss").removesuffix("Layer")))):
        return found
    if other := {_folded(one): here for one, here in _EQUIVALENTS.items()}.get(_folded(name)):
        return f"fnn.{other}"
    return next((code for kind in kinds if (code := synonym(kind, name, quoted=False))), "")


def synonym(kind: str, name: str, *, quoted: bool = True) -> str:
    """What a function of another library is here: its name, or code, or "" for an unknown one.

    >>> synonym("loss", "mse_loss"), synonym("initializer", "Const"), synonym("loss", "mine")
    ("'mean_squared_error'", 'fnn.initializers.constant(value)', '')
    >>> synonym("loss", "mse_loss", quoted=False)
    'fnn.losses.mean_squared_error'
    """
    module, table = _BY_KIND.get(kind, ("", {}))
    here = {_folded(other): code for other, code in table.items()}.get(_folded(name).removesuffix("initializer"), "")
    if not here.isidentifier():
        return here and f"fnn.{here}"
    return repr(here) if quoted else f"fnn.{module}.{here}"


def close_matches(name: str, known: Iterable[str], count: int = 3, *, surely: bool = False) -> list[str]:
    """Known names that ``name`` may be a misspelling of, the closest first, whatever their case and underscores.

    With ``surely``, for a name that may be right as it is, only those that are nearly the same.
    """
    plain = {_folded(one): one for one in known}
    likeness = 0.8 if surely else 0.6 if len(name) > 2 else 0.5  # l1 and l2 share half of their letters
    return [plain[one] for one in difflib.get_close_matches(_folded(name), plain, count, likeness)]


def _folded(name: str) -> str:
    """A name without case and underscores, so that HeNormal and he_normal are one."""
    return name.replace("_", "").lower()
