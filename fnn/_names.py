"""Names in other libraries and their equivalents in fnn, for error messages."""

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
    **{name.format(rank): "ConvTranspose" for name in ("Conv{}DTranspose", "ConvTranspose{}d") for rank in (1, 2, 3)},
    **{f"BatchNorm{rank}d": "BatchNorm" for rank in (1, 2, 3)},
    **{name: name.lower() for name in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam")},
    **dict.fromkeys(("AdamW", "adamw"), "adam(weight_decay=...)"),
    **dict.fromkeys(("Input", "InputLayer"), "init(task, key, x), which reads the shape from the data"),
    "compile": "Task(model, loss, optimizer)",
    **dict.fromkeys(("regularizers", "constraints"), "penalties"),
    **dict.fromkeys(("save_model", "save_weights"), "save"),
    **dict.fromkeys(("load_model", "load_weights"), "load"),
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    **dict.fromkeys(("MLPClassifier", "NeuralNetClassifier", "KerasClassifier"), "Classifier"),
    **dict.fromkeys(("MLPRegressor", "NeuralNetRegressor", "KerasRegressor"), "Regressor"),
    "GridSearchCV": "GridSearch",
    "Linear": "Dense",
    "Module": "Layer, two pure functions",
    "ReLU": 'Activation("relu")',
    "LeakyReLU": 'Activation("leaky_relu")',
    "ELU": 'Activation("elu")',
    "Softmax": 'Activation("softmax"), usually omitted, since losses take logits',
    "Sigmoid": 'Activation("sigmoid"), usually omitted, since losses take logits',
    "Tanh": 'Activation("tanh")',
    "RNN": "SimpleRNN, LSTM or GRU",
    "momentum": "sgd(momentum=0.9)",
    "EarlyStopping": "early_stopping",
    "ReduceLROnPlateau": "reduce_on_plateau",
    "ModelCheckpoint": "model_checkpoint",
    "CSVLogger": "csv_log",
    "BackupAndRestore": "fit(checkpoint=...)",
    "TerminateOnNaN": "fit(check='finite')",
    "to_categorical": "one_hot",
    "callbacks": "early_stopping (and reduce_on_plateau, csv_log, model_checkpoint; any function works)",
    "datasets": "data",
    "layers": "Dense (all layers are directly in fnn)",
}


def missing(name: str, known: Iterable[str]) -> str:
    """The error message for a name that fnn does not have; it suggests an equivalent or similar names.

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
