"""fnn: functional neural networks on JAX.

A network, its training step and a whole training run are pure functions over pytrees. The five concepts, in order:
pure functions, `Layer`, `Optimizer`, `Task` with `TrainState`, and the drivers `fit`, `evaluate`, `predict`.
"""

import sys as _sys
from typing import TYPE_CHECKING

from . import classic, data, losses, metrics, nn, optimizers, penalties, plot, text
from ._core.described import described
from ._core.errors import InputError
from ._core.fingerprint import fingerprint
from ._core.trees import paths
from ._moved import Finder as _Finder
from ._names import missing as _missing
from ._version import __version__
from .architecture.names import NAMESPACES as _NAMESPACES
from .checkpoint import CheckpointInfo, load, load_info, save
from .fitting.callbacks import csv_log, model_checkpoint, on_batch
from .fitting.checkpoints import CheckpointError
from .fitting.evaluate import evaluate, predict
from .fitting.fit import fit
from .fitting.guard import NonFiniteError
from .fitting.predictor import predictor
from .fitting.progress import History
from .inspection.check import Check, check
from .inspection.outputs import outputs
from .inspection.report import LayerReport, layer_report
from .inspection.summary import Summary, devices, summary
from .losses import class_weights
from .metrics import Metric, classification_report
from .nn import activations, initializers
from .nn.activations import Activation
from .nn.added_loss import ActivityRegularization, AddedLoss, activity_penalty
from .nn.attention import attention
from .nn.augmentation import (
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    affine_transform,
)
from .nn.cache import KeyValueCache, with_cache
from .nn.containers import Rematerialized, Repeated, Residual, Sequential, TimeDistributed
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
from .nn.dropout import Dropout, GaussianDropout, GaussianNoise, SpatialDropout, dropout
from .nn.embedding import Embedding, OneHot, embedding, embedding_init, one_hot
from .nn.layer import Layer
from .nn.masks import Masked
from .nn.merging import Add, Average, Concatenate, Maximum, Minimum, Multiply, Subtract
from .nn.model import Model
from .nn.multi_head_attention import MultiHeadAttention, multi_head_attention, multi_head_attention_init
from .nn.normalization import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    batch_norm,
    batch_norm_init,
    group_norm,
    layer_norm,
    layer_norm_init,
    rms_norm,
    rms_norm_init,
)
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
from .nn.positions import PositionEmbedding, SinusoidalPositions, rotary, sinusoidal_positions
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
from .nn.separable_conv import SeparableConv, separable_conv, separable_conv_init
from .nn.shape import (
    Cropping,
    Flatten,
    Permute,
    RepeatVector,
    Rescaling,
    Reshape,
    UpSampling,
    ZeroPadding,
    flatten,
    reshape,
)
from .optimizers import schedules
from .optimizers.base import Optimizer, OptState, apply_updates, from_rule, get_hyper, set_hyper
from .optimizers.groups import by_path
from .optimizers.loss_scale import dynamic_loss_scale
from .optimizers.rules import adadelta, adagrad, adam, adamax, adamw, nadam, rmsprop, sgd
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
from .placement.plan import Plan, plan
from .training.derivatives import example_gradients, hessian_vector_product, influence
from .training.epoch import epoch_order, train_epoch
from .training.run import run
from .training.state import TrainState, init, with_optimizer
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
    "batch_norm", "batch_norm_init", "layer_norm", "layer_norm_init", "group_norm", "rms_norm", "rms_norm_init",
    "dense", "dense_init", "flatten", "reshape", "dropout", "embedding", "embedding_init", "one_hot",
    "conv", "conv_init", "depthwise_conv", "depthwise_conv_init", "conv_transpose", "conv_transpose_init",
    "separable_conv", "separable_conv_init", "affine_transform",
    "max_pool", "avg_pool", "global_max_pool", "global_avg_pool",
    "simple_rnn", "simple_rnn_cell", "simple_rnn_init", "SimpleRNNCarry",
    "lstm", "lstm_cell", "lstm_init", "LSTMCarry",
    "gru", "gru_cell", "gru_init", "GRUCarry",
    "attention", "multi_head_attention", "multi_head_attention_init", "rotary", "sinusoidal_positions",
    "activity_penalty", "activations", "initializers", "losses", "metrics", "penalties",
    # 2. layers
    "Layer", "described", "Sequential", "Residual", "Repeated", "Rematerialized", "Model", "Masked", "TimeDistributed",
    "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate",
    "Dense", "Activation", "Flatten", "Reshape", "Permute", "RepeatVector", "Rescaling",
    "ZeroPadding", "Cropping", "UpSampling", "OneHot", "Embedding",
    "Dropout", "SpatialDropout", "GaussianDropout", "GaussianNoise",
    "RandomFlip", "RandomTranslation", "RandomRotation", "RandomZoom",
    "RandomContrast", "RandomBrightness", "RandomCrop",
    "Conv", "DepthwiseConv", "SeparableConv", "ConvTranspose", "MaxPool", "AvgPool", "GlobalMaxPool", "GlobalAvgPool",
    "BatchNorm", "LayerNorm", "RMSNorm", "GroupNorm", "SimpleRNN", "LSTM", "GRU", "Bidirectional",
    "MultiHeadAttention", "PositionEmbedding", "SinusoidalPositions", "with_cache", "KeyValueCache",
    "ActivityRegularization", "AddedLoss",
    # 3. optimizers
    "Optimizer", "OptState", "apply_updates", "from_rule", "get_hyper", "set_hyper",
    "sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "adamax", "nadam",
    "accumulate", "averaged", "by_path", "chain", "clip_by_global_norm", "clip_by_norm", "clip_by_value",
    "dynamic_loss_scale", "ema", "freeze", "global_norm", "schedules",
    # 4. tasks
    "Task", "TrainState", "Metric", "init", "with_optimizer", "train_step", "train_epoch", "epoch_order", "run",
    "many", "sweep", "Sweep", "ensemble", "Ensemble", "Predictions",
    "class_weights", "example_gradients", "hessian_vector_product", "influence",
    # 5. drivers
    "fit", "evaluate", "predict", "predictor", "History", "early_stopping", "reduce_on_plateau", "StopTraining",
    "csv_log", "model_checkpoint", "on_batch", "save", "load", "load_info", "CheckpointInfo", "CheckpointError",
    "NonFiniteError",
    # data, inspection, pictures
    "data", "text", "summary", "Summary", "paths", "devices", "fingerprint", "check", "Check", "outputs",
    "layer_report", "LayerReport", "classification_report", "plan", "Plan", "plot", "classic",
    "InputError", "__version__",
]  # fmt: skip

_sys.meta_path.append(_Finder())  # after those that find modules

# The names that a saved task may hold.
_NAMESPACES[""] = globals()
for _module in (activations, initializers, losses, metrics, penalties, schedules):
    _NAMESPACES[_module.__name__.rpartition(".")[2]] = vars(_module)

# They need scikit-learn, which is optional: imported on first use, and not by ``from fnn import *``.
_ESTIMATORS = ("Classifier", "Regressor", "GridSearch")

if TYPE_CHECKING:
    from . import playground as playground
    from .estimators import Classifier as Classifier
    from .estimators import GridSearch as GridSearch
    from .estimators import Regressor as Regressor
else:  # type checkers know the names

    def _hinted(module):
        """A module's ``__getattr__`` that names the equivalent of another library's name."""
        known = [*getattr(module, "__all__", ()), *(f"fnn.{name}" for name in (*__all__, *_ESTIMATORS))]
        for room in (metrics, losses, schedules, initializers, activations, penalties, data, text, plot):
            known += [f"fnn.{room.__name__.rpartition('.')[2]}.{name}" for name in room.__all__]
        place = "fnn" if module.__name__ == "fnn" else f"fnn.{module.__name__.rpartition('.')[2]}"

        def missing(name):
            text = f"module {module.__name__!r} has no attribute {name!r}"
            raise AttributeError(text if name.startswith("_") else _missing(name, known, place))

        return missing

    _modules = activations, classic, data, initializers, losses, metrics, penalties, plot, schedules, text
    for _module in (*_modules, nn, optimizers):
        _module.__getattr__ = _hinted(_module)
    for _module in _modules:
        _module.__dir__ = _module.__all__.copy
    _unknown = _hinted(_sys.modules[__name__])

    def __getattr__(name):
        """Import the estimators or the playground, or name the equivalent of another library's name."""
        if name in _ESTIMATORS:
            from . import estimators

            return getattr(estimators, name)
        if name == "playground":  # needs a web server, which is optional
            from importlib import import_module

            return import_module("fnn.playground")
        return _unknown(name)

    def __dir__():
        from importlib.util import find_spec

        served = ("playground",) if find_spec("starlette") else ()
        return [*globals(), *(_ESTIMATORS if find_spec("sklearn") else ()), *served]
