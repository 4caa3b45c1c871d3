"""fnn: functional neural networks on JAX.

A network, its training step and a whole training run are pure functions over pytrees. The five concepts, in order:
pure functions, `Layer`, `Optimizer`, `Task` with `TrainState`, and the drivers `fit`, `evaluate`, `predict`.
"""

from typing import TYPE_CHECKING

from . import classic, data, losses, metrics, penalties, plot, text
from ._core.errors import InputError
from ._core.fingerprint import fingerprint
from ._core.trees import paths
from ._names import missing as _missing
from ._version import __version__
from .checkpoint import CheckpointInfo, load, load_info, save
from .fitting.callbacks import csv_log, model_checkpoint
from .fitting.checkpoints import CheckpointError
from .fitting.evaluate import evaluate, predict
from .fitting.fit import fit
from .fitting.guard import NonFiniteError
from .fitting.progress import History
from .inspection.check import Check, check
from .inspection.report import LayerReport, layer_report
from .inspection.summary import Summary, devices, summary
from .losses import class_weights
from .metrics import Metric, classification_report
from .nn import activations, initializers
from .nn.activations import Activation
from .nn.added_loss import ActivityRegularization, AddedLoss, activity_penalty
from .nn.containers import Residual, Sequential
from .nn.conv import (
    Conv,
    ConvTranspose,
    DepthwiseConv,
    conv,
    conv_init,
    conv_transpose,
    conv_transpose_init,
    depthwise_conv,
    depthwise_conv_init,
)
from .nn.dense import Dense, dense, dense_init
from .nn.dropout import Dropout, dropout
from .nn.embedding import Embedding, OneHot, embedding, embedding_init, one_hot
from .nn.layer import Layer
from .nn.masks import Masked
from .nn.model import Model
from .nn.normalization import BatchNorm, LayerNorm, batch_norm, batch_norm_init, layer_norm, layer_norm_init
from .nn.pooling import (
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    avg_pool,
    global_avg_pool,
    global_max_pool,
    max_pool,
)
from .nn.rnn.bidirectional import Bidirectional
from .nn.rnn.cells import GRUCarry, LSTMCarry, SimpleRNNCarry
from .nn.rnn.functions import (
    gru,
    gru_cell,
    gru_init,
    lstm,
    lstm_cell,
    lstm_init,
    simple_rnn,
    simple_rnn_cell,
    simple_rnn_init,
)
from .nn.rnn.layers import GRU, LSTM, SimpleRNN
from .nn.shape import Flatten, Reshape, flatten, reshape
from .optimizers import schedules
from .optimizers.base import Optimizer, OptState, apply_updates, from_rule, get_hyper, set_hyper
from .optimizers.rules import adadelta, adagrad, adam, adamax, nadam, rmsprop, sgd
from .optimizers.transforms import (
    accumulate,
    averaged,
    chain,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    ema,
    freeze,
    global_norm,
)
from .training.derivatives import example_gradients, hessian_vector_product, influence
from .training.epoch import epoch_order, train_epoch
from .training.run import run
from .training.state import TrainState, init
from .training.step import train_step
from .training.stopping import StopTraining, early_stopping, reduce_on_plateau
from .training.task import Task
from .trials.ensemble import Ensemble, ensemble
from .trials.many import many
from .trials.predictions import Predictions
from .trials.results import Sweep
from .trials.sweep import sweep

__all__ = [
    # 1. pure functions
    "batch_norm", "batch_norm_init", "layer_norm", "layer_norm_init",
    "dense", "dense_init", "flatten", "reshape", "dropout", "embedding", "embedding_init", "one_hot",
    "conv", "conv_init", "depthwise_conv", "depthwise_conv_init", "conv_transpose", "conv_transpose_init",
    "max_pool", "avg_pool", "global_max_pool", "global_avg_pool",
    "simple_rnn", "simple_rnn_cell", "simple_rnn_init", "SimpleRNNCarry",
    "lstm", "lstm_cell", "lstm_init", "LSTMCarry",
    "gru", "gru_cell", "gru_init", "GRUCarry",
    "activity_penalty", "activations", "initializers", "losses", "metrics", "penalties",
    # 2. layers
    "Layer", "Sequential", "Residual", "Model", "Masked",
    "Dense", "Activation", "Flatten", "Reshape", "Dropout", "OneHot", "Embedding",
    "Conv", "DepthwiseConv", "ConvTranspose", "MaxPool", "AvgPool", "GlobalMaxPool", "GlobalAvgPool",
    "BatchNorm", "LayerNorm", "SimpleRNN", "LSTM", "GRU", "Bidirectional",
    "ActivityRegularization", "AddedLoss",
    # 3. optimizers
    "Optimizer", "OptState", "apply_updates", "from_rule", "get_hyper", "set_hyper",
    "sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam",
    "accumulate", "averaged", "chain", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "ema", "freeze",
    "global_norm", "schedules",
    # 4. tasks
    "Task", "TrainState", "Metric", "init", "train_step", "train_epoch", "epoch_order", "run", "many", "sweep", "Sweep",
    "ensemble", "Ensemble", "Predictions",
    "class_weights", "example_gradients", "hessian_vector_product", "influence",
    # 5. drivers
    "fit", "evaluate", "predict", "History", "early_stopping", "reduce_on_plateau", "StopTraining",
    "csv_log", "model_checkpoint", "save", "load", "load_info", "CheckpointInfo", "CheckpointError", "NonFiniteError",
    # data, inspection, pictures
    "data", "text", "summary", "Summary", "paths", "devices", "fingerprint", "check", "Check", "layer_report",
    "LayerReport", "classification_report", "plot", "classic",
    "InputError", "__version__",
]  # fmt: skip

# They need scikit-learn, which is optional: imported on first use, and not by ``from fnn import *``.
_ESTIMATORS = ("Classifier", "Regressor", "GridSearch")

if TYPE_CHECKING:
    from .estimators import Classifier as Classifier
    from .estimators import GridSearch as GridSearch
    from .estimators import Regressor as Regressor
else:  # type checkers know the names

    def __getattr__(name):
        """Import the estimators, or name the equivalent of another library's name."""
        if name in _ESTIMATORS:
            from . import estimators

            return getattr(estimators, name)
        plain = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(plain if name.startswith("_") else _missing(name, (*__all__, *_ESTIMATORS)))

    def __dir__():
        from importlib.util import find_spec

        return [*globals(), *(_ESTIMATORS if find_spec("sklearn") else ())]
