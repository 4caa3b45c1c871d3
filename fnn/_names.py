"""Names from other libraries and their equivalents here, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_WITH_RANK = {
    "Conv": "Conv",
    "SeparableConv": "DepthwiseConv, followed by fnn.Conv(filters, 1)",
    "DepthwiseConv": "DepthwiseConv",
    "MaxPooling": "MaxPool",
    "MaxPool": "MaxPool",
    "AveragePooling": "AvgPool",
    "AvgPool": "AvgPool",
    "GlobalMaxPooling": "GlobalMaxPool",
    "GlobalAveragePooling": "GlobalAvgPool",
}
_EQUIVALENTS = {
    **{f"{name}{rank}{d}": here for name, here in _WITH_RANK.items() for rank in (1, 2, 3) for d in "Dd"},
    **{f"Conv{rank}DTranspose": "ConvTranspose" for rank in (1, 2, 3)},
    **{f"ConvTranspose{rank}d": "ConvTranspose" for rank in (1, 2, 3)},
    **{f"BatchNorm{rank}d": "BatchNorm" for rank in (1, 2, 3)},
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "Linear": "Dense",
    "Module": "Layer, two pure functions",
    "Model": "Task(model, loss, optimizer)",
    "Input": "init(task, key, x), which reads the shape from the data",
    "InputLayer": "init(task, key, x), which reads the shape from the data",
    "ReLU": 'Activation("relu")',
    "LeakyReLU": 'Activation("leaky_relu")',
    "ELU": 'Activation("elu")',
    "Softmax": 'Activation("softmax"), usually omitted, since losses take logits',
    "Sigmoid": 'Activation("sigmoid"), usually omitted, since losses take logits',
    "Tanh": 'Activation("tanh")',
    "RNN": "SimpleRNN, LSTM or GRU",
    "SGD": "sgd",
    "RMSprop": "rmsprop",
    "Adagrad": "adagrad",
    "Adadelta": "adadelta",
    "Adam": "adam",
    "AdamW": "adam(weight_decay=...)",
    "adamw": "adam(weight_decay=...)",
    "Adamax": "adamax",
    "Nadam": "nadam",
    "momentum": "sgd(momentum=0.9)",
    "EarlyStopping": "early_stopping",
    "ReduceLROnPlateau": "reduce_on_plateau",
    "ModelCheckpoint": "model_checkpoint",
    "CSVLogger": "csv_log",
    "BackupAndRestore": "fit(checkpoint=...)",
    "TerminateOnNaN": "fit(check='finite')",
    "to_categorical": "one_hot",
    "regularizers": "penalties",
    "constraints": "penalties",
    "callbacks": "early_stopping (and reduce_on_plateau, csv_log, model_checkpoint; any function works)",
    "compile": "Task(model, loss, optimizer)",
    "datasets": "data",
    "layers": "Dense (all layers are directly in fnn)",
    "save_model": "save",
    "load_model": "load",
    "save_weights": "save",
    "load_weights": "load",
}


def missing(name: str, known: Iterable[str]) -> str:
    """The error message for a name that fnn does not have, with its equivalent or similar names.

    >>> missing("Conv2D", [])
    "fnn has no 'Conv2D'. It is called fnn.Conv here."
    >>> missing("Drpout", ["Dropout", "Dense"])
    "fnn has no 'Drpout'. Did you mean fnn.Dropout?"
    """
    message = f"fnn has no {name!r}."
    if name in _EQUIVALENTS:
        return f"{message} It is called fnn.{_EQUIVALENTS[name]} here."
    close = difflib.get_close_matches(name, list(known), n=2)
    return f"{message} Did you mean {' or '.join(f'fnn.{other}' for other in close)}?" if close else message
