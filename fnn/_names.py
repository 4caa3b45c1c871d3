"""Names that other libraries use, and what they are called here, for people who type the one they know."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_RANKED = {
    "Conv": "Conv",
    "SeparableConv": "DepthwiseConv, with fnn.Conv(filters, 1) behind it",
    "DepthwiseConv": "DepthwiseConv",
    "MaxPooling": "MaxPool",
    "MaxPool": "MaxPool",
    "AveragePooling": "AvgPool",
    "AvgPool": "AvgPool",
    "GlobalMaxPooling": "GlobalMaxPool",
    "GlobalAveragePooling": "GlobalAvgPool",
}
_ELSEWHERE = {
    **{f"{name}{rank}{d}": here for name, here in _RANKED.items() for rank in (1, 2, 3) for d in "Dd"},
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
    "Softmax": 'Activation("softmax"), mostly left out, since losses take logits',
    "Sigmoid": 'Activation("sigmoid"), mostly left out, since losses take logits',
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
    "callbacks": "early_stopping (and reduce_on_plateau, csv_log, model_checkpoint; any function will do)",
    "compile": "Task(model, loss, optimizer)",
    "datasets": "data",
    "layers": "Dense (and so on: all layers are right below fnn)",
    "save_model": "save",
    "load_model": "load",
    "save_weights": "save",
    "load_weights": "load",
}


def missing(name: str, known: Iterable[str]) -> str:
    """What to say of a name that fnn does not have.

    >>> missing("Conv2D", [])
    "fnn has no 'Conv2D'. It is called fnn.Conv here."
    >>> missing("Drpout", ["Dropout", "Dense"])
    "fnn has no 'Drpout'. Did you mean fnn.Dropout?"
    """
    said = f"fnn has no {name!r}."
    if name in _ELSEWHERE:
        return f"{said} It is called fnn.{_ELSEWHERE[name]} here."
    close = difflib.get_close_matches(name, list(known), n=2)
    return f"{said} Did you mean {' or '.join(f'fnn.{other}' for other in close)}?" if close else said
