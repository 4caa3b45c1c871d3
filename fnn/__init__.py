"""fnn: functional neural networks on JAX.

A network, its training step and a whole training run are pure functions over pytrees. The five concepts, in order:
pure functions, `Layer`, `Optimizer`, `Task` with `TrainState`, and the drivers `fit`, `evaluate`, `predict`.
"""

from . import data, losses, metrics
from . import plotting as plot
from ._checks import InputError
from ._tree import paths
from .data import datasets, text
from .losses import class_weights
from .metrics import Metric, classification_report
from .nn import activations, initializers
from .nn.activations import Activation
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
from .nn.dense import Dense, Flatten, Reshape, dense, dense_init
from .nn.dropout import Dropout, dropout
from .nn.embedding import Embedding, OneHot, embedding, embedding_init, one_hot
from .nn.layer import Layer, Residual, Sequential
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
from .nn.recurrent import (
    GRU,
    LSTM,
    Bidirectional,
    GRUCarry,
    LSTMCarry,
    SimpleRNN,
    SimpleRNNCarry,
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
from .optimizers import schedules
from .optimizers.rules import (
    Optimizer,
    OptState,
    adadelta,
    adagrad,
    adam,
    adamax,
    apply_updates,
    from_rule,
    get_hyper,
    nadam,
    rmsprop,
    set_hyper,
    sgd,
)
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
from .summary import Summary, devices, summary
from .training.fit import History, StopTraining, evaluate, fit, predict
from .training.run import run
from .training.state import Task, TrainState, init
from .training.step import epoch_order, train_epoch, train_step

from ._version import __version__
