"""One table of every mathematical unit of the library, each registered once: a factory and an example of its input.

`test_registry.py` loops over it. A `Unit` is seen as a pure function of arrays, ``build(dtype, seed) -> (fn, args)``:
the same ``seed`` gives the same arrays, another one gives distinct ones.
"""

from __future__ import annotations

import functools
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from fnn import activations, classic, initializers, losses, metrics, penalties, schedules
from fnn.nn import shape as shape_module


class Unit(NamedTuple):
    """A unit of the table.

    Attributes:
      name: the test's id.
      covers: the public objects it stands for.
      make_fn: ``make_fn(dtype) -> fn``, a pure function of arrays.
      make_args: ``make_args(draw, dtype) -> args``, a tuple of pytrees of arrays, from a `Draw`.
      grad: positions of the arguments it is differentiated by; none for units without a derivative.
      out: the dtype of floating-point results from that of the arguments.
    """

    name: str
    covers: tuple[Any, ...]
    make_fn: Callable[[Any], Callable[..., Any]]
    make_args: Callable[[Draw, Any], tuple[Any, ...]]
    grad: tuple[int, ...] = ()
    out: Callable[[Any], Any] = jnp.dtype

    def args(self, dtype: Any, seed: int = 0) -> tuple[Any, ...]:
        """Example arguments; each seed gives others."""
        return self.make_args(Draw(zlib.crc32(f"{self.name} {seed}".encode())), dtype)


def to_jax(array: np.ndarray) -> jax.Array:
    """A NumPy array as a JAX array; other than `jnp.asarray` it compiles nothing for a new shape."""
    return jax.device_put(array)


class Draw:
    """Random arrays without symmetry."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int, dtype: Any = jnp.float32, scale: float = 1.0) -> jax.Array:
        return to_jax(self.rng.normal(0.1, scale, shape).astype(dtype))

    def positive(self, *shape: int, dtype: Any = jnp.float32) -> jax.Array:
        return to_jax(self.rng.uniform(0.3, 2.0, shape).astype(dtype))

    def probabilities(self, *shape: int, dtype: Any = jnp.float32) -> jax.Array:
        return to_jax(self.rng.uniform(0.1, 0.9, shape).astype(dtype))

    def integers(self, high: int, *shape: int) -> jax.Array:
        return to_jax(self.rng.integers(0, high, shape).astype("int32"))

    def key(self) -> jax.Array:
        return jax.random.wrap_key_data(to_jax(self.rng.integers(1 << 30, size=2).astype("uint32")))

    def number(self, low: float, high: float, dtype: Any) -> jax.Array:
        return to_jax(np.asarray(self.rng.uniform(low, high), dtype))

    def like(self, tree: Any) -> Any:
        """Numbers in the shapes of ``tree``; variances are positive."""

        def fill(path: Any, leaf: Any) -> jax.Array:
            draw = self.positive if "variance" in fnn._core.trees.path_text(path) else self.normal
            return draw(*leaf.shape, dtype=leaf.dtype)

        return jax.tree_util.tree_map_with_path(fill, tree)


def default_float(_: Any = None) -> Any:
    """The dtype of hyper-parameters."""
    return jnp.result_type(float)


def at_least_float32(dtype: Any) -> Any:
    """The dtype in which metrics are gathered."""
    return jnp.dtype("float32") if jnp.finfo(dtype).bits < 32 else jnp.dtype(dtype)


def layer(
    make: Callable[[Any], fnn.Layer], *covers: Any, x: Any, name: str, train: bool = False, key: bool = False
) -> Unit:
    """A layer; ``make(dtype)`` builds it, ``x`` is a shape, or ``(shape, classes)`` for integers."""
    integers = isinstance(x[0], tuple)

    def make_fn(dtype: Any) -> Callable[..., Any]:
        built = make(dtype)

        def fn(params: Any, state: Any, x: Any, key: Any = None) -> Any:
            return built.apply(params, state, x, key=key, train=train)

        return fn

    @functools.cache
    def shapes(dtype: Any) -> Any:
        shape, kind = (x[0], "int32") if integers else (x, dtype)
        return _shapes_of(make(dtype).init, jax.ShapeDtypeStruct(shape, kind))

    def make_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
        value = draw.integers(x[1], *x[0]) if integers else draw.normal(*x, dtype=dtype)
        params, state = shapes(jnp.dtype(dtype))
        return (draw.like(params), draw.like(state), value, *((draw.key(),) if key else ()))

    trained = bool(jax.tree.leaves(shapes(jnp.dtype("float32"))[0]))
    return Unit(name, covers, make_fn, make_args, (0,) * trained if integers else (0, 2))


def _shapes_of(init: Callable[..., Any], *args: Any) -> Any:
    return jax.eval_shape(lambda *args: init(jax.random.key(0), *args), *args)


def function(
    fn: Callable[..., Any], make_args: Any, *covers: Any, name: str, grad: tuple[int, ...] = (), **more: Any
) -> Unit:
    """A pure function as it is."""
    return Unit(name, covers or (fn,), lambda dtype: fn, make_args, grad, **more)


def _keyed(fn: Callable[..., Any], *covers: Any, name: str) -> Unit:
    """A function of a key and, by keyword, a dtype."""

    def make_fn(dtype: Any) -> Callable[..., Any]:
        return lambda key: fn(key, dtype=dtype)

    return Unit(name, covers or (fn,), make_fn, lambda draw, dtype: (draw.key(),))


# ---------------------------------------------------------------------------------------------------------- activations
def _activation_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return (draw.normal(4, 3, dtype=dtype, scale=2.0),)


_FLAT = ("step", "sign")  # without a derivative

ACTIVATION_UNITS = [
    function(
        getattr(activations, name), _activation_args, name=f"activations.{name}", grad=() if name in _FLAT else (0,)
    )
    for name in [
        "linear",
        "step",
        "sign",
        "sigmoid",
        "log_sigmoid",
        "tanh",
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "softplus",
        "softsign",
        "swish",
        "mish",
        "sinc",
        "softmax",
        "log_softmax",
    ]
] + [
    function(
        partial(activations.gelu, approximate=True), _activation_args, name="activations.gelu approximate", grad=(0,)
    ),
    function(
        partial(activations.leaky_relu, negative_slope=0.7),
        _activation_args,
        name="activations.leaky_relu 0.7",
        grad=(0,),
    ),
    function(partial(activations.elu, alpha=0.3), _activation_args, name="activations.elu 0.3", grad=(0,)),
    function(partial(activations.softmax, axis=0), _activation_args, name="activations.softmax axis 0", grad=(0,)),
]

# --------------------------------------------------------------------------------------------------------- initializers
_SHAPE = (5, 3)


def _with_shape(init: Callable[..., Any]) -> Callable[..., Any]:
    return lambda key, dtype: init(key, _SHAPE, dtype)


INITIALIZER_UNITS = [
    _keyed(_with_shape(getattr(initializers, name)), getattr(initializers, name), name=f"initializers.{name}")
    for name in [
        "zeros",
        "ones",
        "glorot_uniform",
        "glorot_normal",
        "he_uniform",
        "he_normal",
        "lecun_uniform",
        "lecun_normal",
        "orthogonal",
    ]
] + [
    _keyed(_with_shape(initializers.uniform(-0.2, 0.3)), initializers.uniform, name="initializers.uniform"),
    _keyed(_with_shape(initializers.normal(0.1, 0.3)), initializers.normal, name="initializers.normal"),
    function(
        lambda key, value: initializers.constant(value)(key, _SHAPE, value.dtype),
        lambda draw, dtype: (draw.key(), draw.normal(3, dtype=dtype)),
        initializers.constant,
        name="initializers.constant",
        grad=(1,),
    ),
]

# --------------------------------------------------------------------------------------------------------------- layers
_MERGING = (fnn.Add, fnn.Subtract, fnn.Multiply, fnn.Average, fnn.Maximum, fnn.Minimum)

LAYER_UNITS = [
    layer(lambda d: fnn.Dense(4, activation="tanh", dtype=d), fnn.Dense, x=(4, 3), name="Dense"),
    layer(lambda d: fnn.Dense(4, use_bias=False), x=(2, 5, 3), name="Dense without bias, on sequences"),
    layer(lambda d: fnn.Activation("swish"), fnn.Activation, x=(4, 3), name="Activation"),
    layer(lambda d: fnn.Flatten(), fnn.Flatten, x=(4, 2, 3), name="Flatten"),
    layer(lambda d: fnn.Reshape((3, -1)), fnn.Reshape, x=(4, 2, 6), name="Reshape"),
    layer(lambda d: fnn.Dropout(0.4), fnn.Dropout, x=(4, 8), name="Dropout in training", train=True, key=True),
    layer(lambda d: fnn.Dropout(0.4), x=(4, 8), name="Dropout"),
    layer(lambda d: fnn.BatchNorm(momentum=0.7), fnn.BatchNorm, x=(4, 2, 3), name="BatchNorm in training", train=True),
    layer(lambda d: fnn.BatchNorm(), x=(4, 3), name="BatchNorm"),
    layer(lambda d: fnn.BatchNorm(center=False, scale=False), x=(4, 3), name="BatchNorm plain", train=True),
    layer(lambda d: fnn.LayerNorm(), fnn.LayerNorm, x=(4, 2, 5), name="LayerNorm"),
    layer(lambda d: fnn.LayerNorm(center=False, scale=False), x=(4, 5), name="LayerNorm plain"),
    layer(
        lambda d: fnn.Sequential(
            fnn.Dense(4, activation="relu"), fnn.Sequential(fnn.BatchNorm(), fnn.Dropout(0.3)), fnn.Dense(2)
        ),
        fnn.Sequential,
        x=(4, 3),
        name="Sequential in training",
        train=True,
        key=True,
    ),
    layer(
        lambda d: fnn.Model(
            lambda layers, x: layers.out(layers.drop(layers.norm(layers.body(x)) * layers.body(x))),
            body=fnn.Dense(4, activation="tanh"),
            norm=fnn.BatchNorm(),
            drop=fnn.Dropout(0.3),
            out=fnn.Dense(2),
        ),
        fnn.Model,
        x=(4, 3),
        name="Model in training",
        train=True,
        key=True,
    ),
    layer(
        lambda d: fnn.Residual(fnn.Dense(4, activation="tanh"), fnn.Dense(2), shortcut=fnn.Dense(2)),
        fnn.Residual,
        x=(4, 3),
        name="Residual with shortcut",
    ),
    layer(lambda d: fnn.Residual(fnn.BatchNorm(), fnn.Dense(3)), x=(4, 3), name="Residual", train=True),
    layer(
        lambda d: fnn.Conv(4, 3, strides=2, padding="same", activation="tanh"), fnn.Conv, x=(2, 5, 4, 3), name="Conv 2d"
    ),
    layer(lambda d: fnn.Conv(4, 2, groups=2, dilation_rate=2), x=(2, 6, 4), name="Conv 1d, groups, dilation"),
    layer(lambda d: fnn.Conv(2, 2, padding="same"), x=(2, 3, 2, 3, 2), name="Conv 3d"),
    layer(lambda d: fnn.DepthwiseConv(3, depth_multiplier=2), fnn.DepthwiseConv, x=(2, 5, 4, 3), name="DepthwiseConv"),
    layer(
        lambda d: fnn.ConvTranspose(2, 3, strides=2, padding="same"),
        fnn.ConvTranspose,
        x=(2, 3, 2, 3),
        name="ConvTranspose",
    ),
    layer(lambda d: fnn.MaxPool(2), fnn.MaxPool, x=(2, 5, 4, 3), name="MaxPool"),
    layer(lambda d: fnn.AvgPool(3, strides=2, padding="same"), fnn.AvgPool, x=(2, 5, 4, 3), name="AvgPool"),
    layer(lambda d: fnn.GlobalMaxPool(), fnn.GlobalMaxPool, x=(2, 3, 4, 3), name="GlobalMaxPool"),
    layer(lambda d: fnn.GlobalAvgPool(), fnn.GlobalAvgPool, x=(2, 3, 4, 3), name="GlobalAvgPool"),
    layer(lambda d: fnn.SimpleRNN(4, go_backwards=True), fnn.SimpleRNN, x=(2, 5, 3), name="SimpleRNN backwards"),
    layer(lambda d: fnn.LSTM(4, return_sequences=True), fnn.LSTM, x=(2, 5, 3), name="LSTM"),
    layer(lambda d: fnn.LSTM(3, input_dim=6, dtype=d), x=((2, 5), 6), name="LSTM on integers"),
    layer(lambda d: fnn.GRU(4), fnn.GRU, x=(2, 5, 3), name="GRU"),
    layer(lambda d: fnn.GRU(4, reset_after=False, return_sequences=True), x=(2, 5, 3), name="GRU, reset before"),
    layer(lambda d: fnn.Bidirectional(fnn.LSTM(3)), fnn.Bidirectional, x=(2, 4, 3), name="Bidirectional"),
    layer(lambda d: fnn.RMSNorm(), fnn.RMSNorm, x=(4, 2, 5), name="RMSNorm"),
    layer(lambda d: fnn.GroupNorm(2), fnn.GroupNorm, x=(3, 2, 2, 4), name="GroupNorm"),
    layer(
        lambda d: fnn.MultiHeadAttention(2, 4, 3, dropout=0.3, causal=True, rotary=True),
        fnn.MultiHeadAttention,
        x=(2, 4, 3),
        name="MultiHeadAttention in training",
        train=True,
        key=True,
    ),
    layer(lambda d: fnn.PositionEmbedding(6), fnn.PositionEmbedding, x=(2, 4, 3), name="PositionEmbedding"),
    layer(lambda d: fnn.SinusoidalPositions(), fnn.SinusoidalPositions, x=(2, 4, 3), name="SinusoidalPositions"),
    layer(
        lambda d: fnn.Repeated(fnn.Sequential(fnn.Dense(3, "tanh"), fnn.BatchNorm(), fnn.Dropout(0.3)), 3),
        fnn.Repeated,
        x=(4, 3),
        name="Repeated in training",
        train=True,
        key=True,
    ),
    layer(
        lambda d: fnn.Rematerialized(fnn.Sequential(fnn.Dense(4, "tanh"), fnn.Dropout(0.3), fnn.Dense(2))),
        fnn.Rematerialized,
        x=(4, 3),
        name="Rematerialized in training",
        train=True,
        key=True,
    ),
    layer(lambda d: fnn.Embedding(7, 3, dtype=d), fnn.Embedding, x=((2, 5), 7), name="Embedding"),
    layer(lambda d: fnn.OneHot(7, dtype=d), fnn.OneHot, x=((2, 5), 7), name="OneHot"),
    layer(
        lambda d: fnn.SeparableConv(4, 3, padding="same", depth_multiplier=2),
        fnn.SeparableConv,
        x=(2, 5, 4, 3),
        name="SeparableConv",
    ),
    layer(
        lambda d: fnn.Sequential(
            *(fnn.TimeDistributed(fnn.Dense(3)), fnn.Rescaling(0.7, offset=(0.1, 0.2, 0.3))),
            *(fnn.ZeroPadding((1, 2)), fnn.UpSampling(2, "bilinear"), fnn.Cropping(1), fnn.Permute((2, 1))),
        ),
        *(fnn.TimeDistributed, fnn.Rescaling, fnn.ZeroPadding, fnn.UpSampling, fnn.Cropping, fnn.Permute),
        x=(2, 3, 2),
        name="layers of shape",
    ),
    layer(lambda d: fnn.RepeatVector(3), fnn.RepeatVector, x=(2, 4), name="RepeatVector"),
    layer(
        lambda d: fnn.Sequential(
            *(fnn.RandomFlip(), fnn.RandomTranslation(0.3, 0.2, "wrap", "nearest")),
            *(fnn.RandomRotation(0.1, "constant"), fnn.RandomZoom(0.3, 0.2, "nearest", "nearest")),
            *(fnn.RandomContrast(0.3, (-9, 9)), fnn.RandomBrightness(0.1, (-9, 9)), fnn.RandomCrop(3, 3)),
        ),
        *(fnn.RandomFlip, fnn.RandomTranslation, fnn.RandomRotation, fnn.RandomZoom),
        *(fnn.RandomContrast, fnn.RandomBrightness, fnn.RandomCrop),
        x=(2, 5, 4, 2),
        name="augmentation in training",
        train=True,
        key=True,
    ),
    layer(
        lambda d: fnn.Sequential(fnn.SpatialDropout(0.4), fnn.GaussianNoise(0.3), fnn.GaussianDropout(0.3)),
        *(fnn.SpatialDropout, fnn.GaussianNoise, fnn.GaussianDropout),
        x=(4, 3, 5),
        name="noise in training",
        train=True,
        key=True,
    ),
    function(
        lambda a, b: [make().apply({}, {}, (a, b))[0] for make in _MERGING],
        lambda draw, d: (draw.normal(2, 1, 3, dtype=d), draw.normal(2, 4, 3, dtype=d)),
        *_MERGING,
        name="merging",
        grad=(0, 1),
    ),
    function(
        lambda a, b: fnn.Concatenate(1).apply({}, {}, (a, b))[0],
        lambda draw, d: (draw.normal(2, 1, 3, dtype=d), draw.normal(2, 4, 3, dtype=d)),
        fnn.Concatenate,
        name="Concatenate",
        grad=(0, 1),
    ),
]


def _dense_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return {"kernel": draw.normal(3, 2, dtype=dtype), "bias": draw.normal(2, dtype=dtype)}, draw.normal(
        4, 3, dtype=dtype
    )


def _norm_args(draw: Draw, dtype: Any, stats: bool) -> tuple[Any, ...]:
    params = {"gamma": draw.normal(3, dtype=dtype), "beta": draw.normal(3, dtype=dtype)}
    wide = at_least_float32(dtype)  # as batch_norm_init makes them
    moving = {"moving_mean": draw.normal(3, dtype=wide), "moving_variance": draw.positive(3, dtype=wide)}
    return (params, *((moving,) if stats else ()), draw.normal(4, 3, dtype=dtype))


def _params(init: Callable[..., Any], draw: Draw, dtype: Any, *sizes: Any) -> Any:
    return draw.like(_param_shapes(init, sizes, jnp.dtype(dtype)))


@functools.cache
def _param_shapes(init: Callable[..., Any], sizes: tuple[Any, ...], dtype: Any) -> Any:
    return _shapes_of(lambda key: init(key, *sizes, dtype=dtype))


def _with_params(
    fn: Callable[..., Any], init: Callable[..., Any], sizes: tuple[Any, ...], x: tuple[int, ...], name: str = ""
) -> list[Unit]:
    """A function ``fn(params, x)`` and the function that makes its parameters."""

    def make_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
        return _params(init, draw, dtype, *sizes), draw.normal(*x, dtype=dtype)

    return [
        function(fn, make_args, getattr(fn, "func", fn), name=name or fn.__name__, grad=(0, 1)),
        _keyed(lambda key, dtype: init(key, *sizes, dtype=dtype), init, name=init.__name__),
    ]


def _cell(fn: Callable[..., Any], init: Callable[..., Any], carry: Any) -> Unit:
    """A recurrent cell, ``(params, carry, x) -> (carry, y)``."""

    def make_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
        states = carry(*(draw.normal(2, 4, dtype=dtype) for _ in carry._fields))
        return _params(init, draw, dtype, 3, 4), states, draw.normal(2, 3, dtype=dtype)

    return function(fn, make_args, name=fn.__name__, grad=(0, 1, 2))


def _image(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return (draw.normal(2, 5, 4, 3, dtype=dtype),)


def _table_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return _params(fnn.embedding_init, draw, dtype, 7, 3), draw.integers(7, 2, 5)


_CONV = (3, 4, (2, 3))


def _heads(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    """Queries, keys, values and a mask in which the first query of the first sequence may look nowhere."""
    shapes = (2, 3, 4, 6), (2, 5, 2, 6), (2, 5, 2, 3)
    mask = np.ones((2, 3, 5), bool)
    mask[0, 0] = mask[1, :, 2] = False
    return (*(draw.normal(*shape, dtype=dtype) for shape in shapes), to_jax(mask))


FUNCTION_UNITS = [
    function(fnn.attention, _heads, name="attention", grad=(0, 1, 2)),
    *_with_params(
        partial(fnn.multi_head_attention, causal=True),
        fnn.multi_head_attention_init,
        (3, 2, 4),
        (2, 5, 3),
        "multi_head_attention",
    ),
    function(
        lambda x, positions: fnn.rotary(x, positions),
        lambda draw, d: (draw.normal(2, 3, 2, 4, dtype=d), draw.integers(9, 2, 3)),
        fnn.rotary,
        name="rotary",
        grad=(0,),
    ),
    Unit(
        "sinusoidal_positions",
        (fnn.sinusoidal_positions,),
        lambda d: lambda positions: fnn.sinusoidal_positions(positions, 5, dtype=d),
        lambda draw, d: (draw.integers(99, 2, 3),),
    ),
    *_with_params(fnn.rms_norm, fnn.rms_norm_init, (3,), (4, 3)),
    function(
        lambda params, x: fnn.group_norm(params, x, 2),
        lambda draw, d: (_params(fnn.layer_norm_init, draw, d, 4), draw.normal(3, 2, 4, dtype=d)),
        fnn.group_norm,
        name="group_norm",
        grad=(0, 1),
    ),
    *_with_params(partial(fnn.conv, strides=(2, 1)), fnn.conv_init, _CONV, (2, 5, 4, 3), "conv"),
    *_with_params(fnn.depthwise_conv, fnn.depthwise_conv_init, (3, (2, 3)), (2, 5, 4, 3)),
    *_with_params(fnn.separable_conv, fnn.separable_conv_init, _CONV, (2, 5, 4, 3)),
    *_with_params(
        partial(fnn.conv_transpose, strides=2), fnn.conv_transpose_init, _CONV, (2, 3, 2, 3), "conv_transpose"
    ),
    *_with_params(partial(fnn.simple_rnn, reverse=True), fnn.simple_rnn_init, (3, 4), (2, 5, 3), "simple_rnn reversed"),
    *_with_params(fnn.lstm, fnn.lstm_init, (3, 4), (2, 5, 3)),
    *_with_params(fnn.gru, fnn.gru_init, (3, 4), (2, 5, 3)),
    _cell(fnn.simple_rnn_cell, fnn.simple_rnn_init, fnn.SimpleRNNCarry),
    _cell(fnn.lstm_cell, fnn.lstm_init, fnn.LSTMCarry),
    _cell(fnn.gru_cell, fnn.gru_init, fnn.GRUCarry),
    function(
        partial(fnn.affine_transform, fill_mode="reflect"),
        lambda draw, d: (*_image(draw, d), draw.normal(2, 2, 3, dtype=d)),
        fnn.affine_transform,
        name="affine_transform",
        grad=(0, 1),
    ),
    function(fnn.max_pool, _image, name="max_pool", grad=(0,)),
    function(fnn.avg_pool, _image, name="avg_pool", grad=(0,)),
    function(fnn.global_max_pool, _image, name="global_max_pool", grad=(0,)),
    function(fnn.global_avg_pool, _image, name="global_avg_pool", grad=(0,)),
    function(fnn.embedding, _table_args, name="embedding", grad=(0,)),
    _keyed(lambda key, dtype: fnn.embedding_init(key, 7, 3, dtype=dtype), fnn.embedding_init, name="embedding_init"),
    Unit(
        "one_hot",
        (fnn.one_hot,),
        lambda d: lambda ids: fnn.one_hot(ids, 7, d),
        lambda draw, d: (draw.integers(7, 2, 5),),
    ),
    function(fnn.dense, _dense_args, name="dense", grad=(0, 1)),
    _keyed(lambda key, dtype: fnn.dense_init(key, 3, 2, dtype=dtype), fnn.dense_init, name="dense_init"),
    function(shape_module.flatten, lambda draw, d: (draw.normal(2, 3, 2, dtype=d),), name="flatten", grad=(0,)),
    function(
        lambda x: shape_module.reshape(x, (-1, 3)),
        lambda draw, d: (draw.normal(2, 3, 2, dtype=d),),
        shape_module.reshape,
        name="reshape",
        grad=(0,),
    ),
    function(
        fnn.dropout,
        lambda draw, d: (
            draw.key(),
            draw.normal(4, 5, dtype=d),
            draw.number(0.2, 0.8, default_float()),
        ),
        name="dropout",
        grad=(1,),
    ),
    function(
        partial(fnn.batch_norm, train=True, momentum=0.6),
        partial(_norm_args, stats=True),
        fnn.batch_norm,
        name="batch_norm in training",
        grad=(0, 1, 2),
    ),
    function(fnn.batch_norm, partial(_norm_args, stats=True), name="batch_norm", grad=(0, 1, 2)),
    function(fnn.layer_norm, partial(_norm_args, stats=False), name="layer_norm", grad=(0, 1)),
    _keyed(lambda key, dtype: fnn.layer_norm_init(key, 3, dtype=dtype), fnn.layer_norm_init, name="layer_norm_init"),
    _keyed(lambda key, dtype: fnn.batch_norm_init(3, dtype=dtype), fnn.batch_norm_init, name="batch_norm_init"),
    function(
        fnn.global_norm,
        lambda draw, d: ({"a": draw.normal(3, dtype=d), "b": draw.normal(2, 2, dtype=d)},),
        name="global_norm",
        grad=(0,),
        out=at_least_float32,
    ),
    function(
        fnn.apply_updates,
        lambda draw, d: ({"a": draw.normal(3, dtype=d)}, {"a": draw.normal(3, dtype=d)}),
        name="apply_updates",
        grad=(0, 1),
    ),
]


# ------------------------------------------------------------------------------------------------------------ penalties
def _penalty(make: Callable[[Any], Any], *covers: Any, name: str, **more: Any) -> Unit:
    """A penalty or constraint as a function of parameters and of its number, which ``make`` gets."""

    def fn(params: Any, number: Any) -> Any:
        return make(number)(params)

    def make_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
        params = {"dense": {"kernel": draw.normal(3, 2, dtype=dtype), "bias": draw.normal(2, dtype=dtype)}}
        return params, draw.number(0.3, 0.9, default_float())

    return function(fn, make_args, *covers, name=name, **{"grad": (0, 1), **more})


def _activity_regularization(x: Any) -> Any:
    """What the layer adds, in float32 at least; ``x`` itself passes on."""
    built = fnn.ActivityRegularization(0.3, 0.2)
    return built.apply({}, built.init(jax.random.key(0), x)[1], x)[1]


PENALTY_UNITS = [
    function(
        _activity_regularization,
        lambda draw, d: (draw.normal(4, 3, dtype=d),),
        fnn.ActivityRegularization,
        fnn.AddedLoss,
        name="ActivityRegularization",
        grad=(0,),
        out=at_least_float32,
    ),
    _penalty(penalties.l1, penalties.l1, name="penalties.l1", out=at_least_float32),
    _penalty(penalties.l2, penalties.l2, name="penalties.l2", out=at_least_float32),
    _penalty(lambda n: penalties.l1l2(n, n / 2), penalties.l1l2, name="penalties.l1l2", out=at_least_float32),
    _penalty(
        lambda n: penalties.total(penalties.l1(n), penalties.l2(n, "*bias")),
        penalties.total,
        name="penalties.total",
        out=at_least_float32,
    ),
    _penalty(penalties.max_norm, penalties.max_norm, name="penalties.max_norm"),
    _penalty(lambda n: penalties.unit_norm(), penalties.unit_norm, name="penalties.unit_norm", grad=(0,)),
    _penalty(lambda n: penalties.non_negative(), penalties.non_negative, name="penalties.non_negative", grad=(0,)),
    _penalty(
        lambda n: penalties.chain(penalties.max_norm(n), penalties.non_negative("*bias")),
        penalties.chain,
        name="penalties.chain",
    ),
    function(
        lambda x, l1, l2: fnn.activity_penalty(x, l1, l2),
        lambda draw, d: (draw.normal(4, 3, dtype=d), *(draw.number(0.3, 2, default_float()) for _ in "ab")),
        fnn.activity_penalty,
        name="activity_penalty",
        grad=(0, 1, 2),
        out=at_least_float32,
    ),
]


# --------------------------------------------------------------------------------------------------------------- losses
def _values(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(4, 3, dtype=dtype), draw.normal(4, 3, dtype=dtype)


def _positive_values(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.positive(4, 3, dtype=dtype), draw.positive(4, 3, dtype=dtype)


def _labels(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(4, 3, dtype=dtype, scale=3.0), draw.probabilities(4, 3, dtype=dtype)


def _label_probabilities(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.probabilities(4, 3, dtype=dtype), draw.probabilities(4, 3, dtype=dtype)


def _yes_or_no(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.probabilities(4, 3, dtype=dtype), draw.integers(2, 4, 3).astype(dtype)


def _classes(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(4, 3, dtype=dtype), draw.integers(3, 4)


def _class_probabilities(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.probabilities(4, 3, dtype=dtype), draw.integers(3, 4)


def _outputs_of_gaussians(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(4, 6, dtype=dtype), draw.normal(4, 3, dtype=dtype)


def _gaussians(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(4, 3, dtype=dtype), draw.positive(4, 3, dtype=dtype)


def _signs(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(4, dtype=dtype), to_jax(draw.rng.choice([-1, 1], 4).astype("int32"))


def _one_hot(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(4, 3, dtype=dtype), to_jax(np.eye(3)[draw.rng.integers(0, 3, 4)].astype(dtype))


def _distributions(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(4, 3, dtype=dtype), to_jax(draw.rng.dirichlet([1, 2, 3], 4).astype(dtype))


def _two_distributions(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return tuple(to_jax(draw.rng.dirichlet([1, 2, 3], 4).astype(dtype)) for _ in range(2))


def _loss(loss: Any, args: Any, note: str = "", grad: tuple[int, ...] = (0,), **options: Any) -> Unit:
    fn = partial(loss, **options) if options else loss
    name = f"losses.{loss.__name__} {note}".strip()
    return function(fn, args, loss, name=name, grad=grad, out=at_least_float32)


LOSS_UNITS = [
    _loss(losses.mean_squared_error, _values, grad=(0, 1)),
    _loss(losses.mean_absolute_error, _values, grad=(0, 1)),
    _loss(losses.mean_absolute_percentage_error, _values),
    _loss(losses.mean_squared_logarithmic_error, _positive_values, grad=(0, 1)),
    _loss(losses.huber, _values, "0.7", delta=0.7),
    _loss(losses.log_cosh, _values, grad=(0, 1)),
    _loss(losses.poisson, _positive_values, grad=(0, 1)),
    _loss(losses.cosine_similarity, _values, grad=(0, 1)),
    _loss(losses.hinge, _signs),
    _loss(losses.squared_hinge, _signs),
    _loss(losses.categorical_hinge, _one_hot),
    _loss(losses.kl_divergence, _distributions, grad=(0, 1)),
    _loss(losses.kl_divergence, _two_distributions, "of probabilities", from_logits=False),
    _loss(losses.binary_focal_crossentropy, _labels, grad=(0, 1)),
    _loss(losses.categorical_focal_crossentropy, _labels, grad=(0, 1)),
    _loss(losses.sparse_categorical_focal_crossentropy, _classes),
    _loss(losses.binary_crossentropy, _labels, grad=(0, 1)),
    _loss(losses.binary_crossentropy, _labels, "smoothed", label_smoothing=0.2),
    _loss(losses.binary_crossentropy, _label_probabilities, "of probabilities", from_logits=False),
    _loss(losses.categorical_crossentropy, _labels, grad=(0, 1)),
    _loss(losses.categorical_crossentropy, _labels, "smoothed", label_smoothing=0.2),
    _loss(losses.categorical_crossentropy, _label_probabilities, "of probabilities", from_logits=False),
    _loss(losses.sparse_categorical_crossentropy, _classes),
    _loss(losses.sparse_categorical_crossentropy, _class_probabilities, "of probabilities", from_logits=False),
    _loss(losses.logistic, _signs),
    _loss(losses.gaussian_nll, _outputs_of_gaussians, grad=(0, 1)),
    function(
        losses.gaussian_moments,
        lambda draw, d: _outputs_of_gaussians(draw, d)[:1],
        losses.gaussian_moments,
        losses.Gaussians,
        name="losses.gaussian_moments",
        grad=(0,),
    ),
    function(
        lambda mean, variance: losses.gaussian_outputs(losses.Gaussians(mean, variance)),
        _gaussians,
        losses.gaussian_outputs,
        name="losses.gaussian_outputs",
        grad=(0, 1),
    ),
    function(
        lambda p, t, w: losses.mean_loss("mse", p, t, w),
        lambda draw, d: (*_values(draw, d), draw.positive(4, dtype=d)),
        losses.mean_loss,
        name="losses.mean_loss",
        grad=(0, 2),
        out=at_least_float32,
    ),
    function(
        losses.weighted_sum,
        lambda draw, d: (
            draw.normal(4, dtype=d),
            draw.positive(4, dtype=d),
            to_jax(draw.rng.choice([False, True], 4)),
        ),
        name="losses.weighted_sum",
        grad=(0, 1),
        out=at_least_float32,
    ),
]


# -------------------------------------------------------------------------------------------------------------- metrics
def _metric(name: str, args: Any, *covers: Any) -> Unit:
    metric = metrics.get_metric(name)

    def fn(p: Any, t: Any, w: Any) -> Any:
        return metric.result(metric.measure(p, t, w))

    def make_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
        p, t = args(draw, dtype)
        return p, t, draw.positive(p.shape[0], dtype=at_least_float32(dtype))

    return Unit(f"metric {name}", (name, *covers), lambda dtype: fn, make_args, out=at_least_float32)


def _yes_or_no_scores(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.probabilities(8, dtype=dtype), to_jax(draw.rng.permutation([0, 1, 0, 1, 1, 0, 0, 1]).astype("int32"))


def _many_classes(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(8, 7, dtype=dtype), draw.integers(7, 8)


def _probabilities_of_classes(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    p = np.asarray(draw.positive(8, 3))
    return to_jax((p / p.sum(1, keepdims=True)).astype(dtype)), draw.integers(3, 8)


def _ends(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    low = draw.normal(4, 3, dtype=dtype)
    return low, low + draw.positive(4, 3, dtype=dtype)


def _gaussians_and_targets(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return (*_gaussians(draw, dtype), draw.normal(4, 3, dtype=dtype))


METRIC_UNITS = [
    _metric("accuracy", _classes),
    _metric("binary_accuracy", _yes_or_no),
    _metric("top_k_accuracy", _many_classes),
    _metric("categorical_accuracy", _classes),
    _metric("balanced_accuracy", _classes),
    _metric("mean_iou", _classes),
    _metric("auc", _yes_or_no_scores, metrics.binned_auc),
    _metric("pr_auc", _yes_or_no_scores),
    _metric("mape", _positive_values),
    _metric("cosine_similarity", _values),
    _metric("precision", _classes),
    _metric("recall", _classes),
    _metric("f1", _classes),
    _metric("rmse", _values),
    _metric("mae", _values),
    _metric("mse", _values),
    _metric("r2", _values),
    function(metrics.accuracy, _classes, name="metrics.accuracy", out=at_least_float32),
    function(metrics.binary_accuracy, _yes_or_no, name="metrics.binary_accuracy", out=at_least_float32),
    function(
        lambda p, t: metrics.top_k_accuracy(p, t, k=2),
        _classes,
        metrics.top_k_accuracy,
        metrics.top_k,
        name="metrics.top_k_accuracy",
        out=at_least_float32,
    ),
    function(metrics.rmse, _values, name="metrics.rmse", grad=(0, 1), out=at_least_float32),
    function(metrics.mae, _values, name="metrics.mae", grad=(0, 1), out=at_least_float32),
    function(metrics.mape, _positive_values, name="metrics.mape", grad=(0, 1), out=at_least_float32),
    function(metrics.auc, _yes_or_no_scores, name="metrics.auc", out=default_float),
    function(metrics.balanced_accuracy, _classes, name="metrics.balanced_accuracy", out=lambda d: jnp.dtype("float32")),
    function(metrics.mean_iou, _classes, name="metrics.mean_iou", out=lambda d: jnp.dtype("float32")),
    function(metrics.r2_score, _values, name="metrics.r2_score", grad=(0, 1), out=at_least_float32),
    function(metrics.confusion_matrix, _classes, name="metrics.confusion_matrix"),
    function(
        metrics.precision_recall_f1, _classes, name="metrics.precision_recall_f1", out=lambda d: jnp.dtype("float32")
    ),
    function(
        metrics.scores_from_confusion,
        lambda draw, d: (draw.positive(3, 3, dtype=d),),
        name="metrics.scores_from_confusion",
        grad=(0,),
        out=at_least_float32,
    ),
    function(
        lambda p, t: metrics.reliability(p, t, bins=2),
        _probabilities_of_classes,
        metrics.reliability,
        metrics.Reliability,
        name="metrics.reliability",
        out=at_least_float32,
    ),
    function(
        metrics.calibration_error,
        _probabilities_of_classes,
        name="metrics.calibration_error",
        grad=(0,),
        out=at_least_float32,
    ),
    function(
        metrics.coverage,
        lambda draw, d: (*_ends(draw, d), draw.normal(4, 3, dtype=d)),
        name="metrics.coverage",
        out=at_least_float32,
    ),
    function(metrics.interval_width, _ends, name="metrics.interval_width", grad=(0, 1), out=at_least_float32),
    function(
        lambda mean, variance: metrics.gaussian_interval(mean, variance, 0.8),
        _gaussians,
        metrics.gaussian_interval,
        metrics.Interval,
        name="metrics.gaussian_interval",
        grad=(0, 1),
    ),
    function(
        lambda mean, variance, t: metrics.coverage_curve(mean, variance, t, levels=(0.3, 0.9)),
        _gaussians_and_targets,
        metrics.coverage_curve,
        metrics.CoverageCurve,
        name="metrics.coverage_curve",
        grad=(1,),
        out=at_least_float32,
    ),
]


# ----------------------------------------------------------------------------------------------------------- optimizers
def _optimizer(make: Callable[[Any], Any], *covers: Any, name: str) -> Unit:
    """Two updates of a tree, as a function of parameters, gradients and a hyper-parameter, which ``make`` gets."""

    def fn(params: Any, first: Any, second: Any, number: Any) -> Any:
        optimizer = make(number)
        state = optimizer.init(params)
        for grads in (first, second):
            updates, state = optimizer.update(grads, state, params)
            params = fnn.apply_updates(params, updates)
        return params

    def make_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
        shapes = {"dense": {"kernel": (3, 2)}, "head": {"bias": (2,)}}
        trees = [
            jax.tree.map(lambda s: draw.normal(*s, dtype=dtype), shapes, is_leaf=lambda s: isinstance(s, tuple))
            for _ in "pgg"
        ]
        return (*trees, draw.number(0.1, 0.6, default_float()))

    return Unit(name, covers, lambda dtype: fn, make_args, (0, 1, 2, 3))


OPTIMIZER_UNITS = [
    _optimizer(lambda n: fnn.sgd(n), fnn.sgd, name="sgd"),
    _optimizer(lambda n: fnn.sgd(0.1, momentum=n), name="sgd momentum"),
    _optimizer(lambda n: fnn.sgd(n, 0.8, nesterov=True, decay=n), name="sgd nesterov, decay"),
    _optimizer(lambda n: fnn.rmsprop(n, rho=0.7), fnn.rmsprop, name="rmsprop"),
    _optimizer(lambda n: fnn.rmsprop(0.1, momentum=n, centered=True), name="rmsprop momentum, centered"),
    _optimizer(lambda n: fnn.adagrad(n), fnn.adagrad, name="adagrad"),
    _optimizer(lambda n: fnn.adadelta(n, epsilon=1e-3), fnn.adadelta, name="adadelta"),
    _optimizer(lambda n: fnn.adam(n, 0.8, 0.95), fnn.adam, name="adam"),
    _optimizer(
        lambda n: fnn.adam(0.1, weight_decay=n, weight_decay_where="*kernel", amsgrad=True),
        name="adam amsgrad, weight decay",
    ),
    _optimizer(lambda n: fnn.adamw(n), fnn.adamw, name="adamw"),
    _optimizer(lambda n: fnn.adamax(n), fnn.adamax, name="adamax"),
    _optimizer(lambda n: fnn.nadam(n), fnn.nadam, name="nadam"),
    _optimizer(
        lambda n: fnn.from_rule(
            lambda g, s, h, t: (-h["learning_rate"] * g * t, {"sum": s["sum"] + g}),
            {"sum": jnp.zeros_like},
            {"learning_rate": n},
        ),
        fnn.from_rule,
        name="from_rule",
    ),
    _optimizer(lambda n: fnn.clip_by_value(n), fnn.clip_by_value, name="clip_by_value"),
    _optimizer(lambda n: fnn.clip_by_norm(n), fnn.clip_by_norm, name="clip_by_norm"),
    _optimizer(lambda n: fnn.clip_by_global_norm(n), fnn.clip_by_global_norm, name="clip_by_global_norm"),
    _optimizer(lambda n: fnn.chain(fnn.clip_by_norm(0.5), fnn.sgd(n, 0.5)), fnn.chain, name="chain"),
    _optimizer(lambda n: fnn.accumulate(fnn.adam(n), 2), fnn.accumulate, name="accumulate"),
    _optimizer(lambda n: fnn.freeze(fnn.adam(n), "dense/*"), fnn.freeze, name="freeze"),
    _optimizer(lambda n: fnn.ema(fnn.sgd(n), 0.9), fnn.ema, name="ema"),
    _optimizer(lambda n: fnn.dynamic_loss_scale(fnn.adam(n)), fnn.dynamic_loss_scale, name="dynamic_loss_scale"),
    _optimizer(lambda n: fnn.by_path({"head": fnn.adam(n), "*": fnn.sgd(n, 0.5)}), fnn.by_path, name="by_path"),
]


# ------------------------------------------------------------------------------------------------------------ schedules
def _schedule(make: Callable[[Any], Any], *covers: Any, name: str, grad: tuple[int, ...] = (0, 1)) -> Unit:
    """A schedule as a function of the step and of its first number."""

    def fn(step: Any, number: Any) -> Any:
        return make(number)(step)

    def make_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
        return tuple(draw.number(low, high, default_float()) for low, high in ((0, 25), (0.1, 2)))

    return Unit(name, covers, lambda dtype: fn, make_args, grad, default_float)


SCHEDULE_UNITS = [
    _schedule(schedules.constant, schedules.constant, name="schedules.constant", grad=(1,)),
    _schedule(
        lambda n: schedules.exponential_decay(n, 7, 0.6),
        schedules.exponential_decay,
        name="schedules.exponential_decay",
    ),
    _schedule(
        lambda n: schedules.exponential_decay(n, 7, 0.6, staircase=True),
        name="schedules.exponential_decay in stairs",
        grad=(1,),
    ),
    _schedule(
        lambda n: schedules.inverse_time_decay(n, 0.6, 7),
        schedules.inverse_time_decay,
        name="schedules.inverse_time_decay",
    ),
    _schedule(
        lambda n: schedules.piecewise_constant([5, 12], [n, n / 2, n / 5]),
        schedules.piecewise_constant,
        name="schedules.piecewise_constant",
        grad=(1,),
    ),
    _schedule(lambda n: schedules.cosine_decay(n, 20, 0.1), schedules.cosine_decay, name="schedules.cosine_decay"),
    _schedule(
        lambda n: schedules.warmup(schedules.cosine_decay(n, 30), 10, 0.01), schedules.warmup, name="schedules.warmup"
    ),
]


# ----------------------------------------------------------------------------------------------------------------- data
def _toy(name: str) -> Unit:
    """A toy set as a function of key and noise; always float32."""
    make = getattr(fnn.data, name)

    def make_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
        return draw.key(), draw.number(0, 0.5, jnp.float32)

    def fn(key: Any, noise: Any) -> Any:
        return make(key, 20, noise)

    return Unit(f"data.{name}", (make,), lambda dtype: fn, make_args, out=lambda d: jnp.dtype("float32"))


def _moments_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    wide = at_least_float32(dtype)
    return fnn.data.Moments(draw.normal(3, dtype=wide), draw.positive(3, dtype=wide)), draw.normal(4, 3, dtype=dtype)


DATA_UNITS = [
    *map(_toy, ("circles", "xor", "gaussians", "spiral", "plane", "multi_gaussian")),
    function(
        fnn.data.standardize_fit,
        lambda draw, d: (draw.normal(5, 3, dtype=d),),
        name="data.standardize_fit",
        grad=(0,),
        out=at_least_float32,
    ),
    function(fnn.data.standardize, _moments_args, name="data.standardize", grad=(0, 1)),
    function(fnn.data.standardize_invert, _moments_args, name="data.standardize_invert", grad=(0, 1)),
    function(
        partial(fnn.data.scale_images, top=2),
        lambda draw, d: (draw.positive(2, 3, 4, dtype=d),),
        fnn.data.scale_images,
        name="data.scale_images",
        out=lambda d: jnp.dtype("float32"),
    ),
]


# ---------------------------------------------------------------------------------------------------- text and classics
def _text_args(draw: Draw, dtype: Any) -> tuple[Any, ...]:
    return draw.normal(5, 5, dtype=dtype), draw.integers(5, 3), draw.key()


def _step(table: Any) -> Callable[..., Any]:
    """A step of generation whose carry is made of all rows read so far, in operations that round nothing."""

    def step(carry: Any, symbol: Any) -> Any:
        carry = jnp.maximum(jnp.roll(carry, 1), table[symbol])
        return carry, carry

    return step


TEXT_UNITS = [
    function(
        lambda logits, key: fnn.text.sample(key, logits, 0.8, top_k=4),
        lambda draw, d: (draw.normal(3, 6, dtype=d), draw.key()),
        fnn.text.sample,
        name="text.sample",
    ),
    function(
        lambda table, ids, key: fnn.text.generate(lambda window: table[window].max(1), key, ids, 6),
        _text_args,
        fnn.text.generate,
        name="text.generate",
    ),
    function(
        lambda table, ids, key: fnn.text.generate_from(_step(table), jnp.zeros_like(table[0]), ids, key, 6, 0.5),
        _text_args,
        fnn.text.generate_from,
        name="text.generate_from",
    ),
]


def _perceptron(x: Any, y: Any, key: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows that no line separates
        found = classic.perceptron(x, y, epochs=4, key=key)
    return found.params, found.updates, found.predict(x)


CLASSIC_UNITS = [
    function(
        classic.threshold_unit,
        lambda draw, d: (
            {"kernel": draw.normal(3, 2, dtype=d), "bias": draw.normal(2, dtype=d)},
            draw.normal(8, 3, dtype=d),
        ),
        name="classic.threshold_unit",
    ),
    function(
        _perceptron,
        # Whole numbers, which every dtype adds up exactly, as a single correction more or less changes all that follow.
        lambda draw, d: (draw.integers(4, 6, 2).astype(d), draw.integers(2, 6), draw.key()),
        classic.perceptron,
        name="classic.perceptron",
    ),
    function(
        lambda a, b: classic.Unit((2, -1), 1)(a, b),
        lambda draw, d: (draw.integers(2, 8), draw.integers(2, 8)),
        classic.Unit,
        name="classic.Unit",
    ),
]

UNITS: list[Unit] = [
    *ACTIVATION_UNITS,
    *INITIALIZER_UNITS,
    *LAYER_UNITS,
    *FUNCTION_UNITS,
    *LOSS_UNITS,
    *METRIC_UNITS,
    *OPTIMIZER_UNITS,
    *SCHEDULE_UNITS,
    *DATA_UNITS,
    *TEXT_UNITS,
    *CLASSIC_UNITS,
    *PENALTY_UNITS,
]

# Public names that are no mathematical units, each with the test file that covers it.
NOT_UNITS: dict[str, str] = {
    **dict.fromkeys(("SimpleRNNCarry", "LSTMCarry", "GRUCarry"), "recurrent_cases.py"),
    **dict.fromkeys(
        ("Task", "init", "with_optimizer", "run", "train_epoch", "train_step", "epoch_order"),
        "test_training.py",
    ),
    "TrainState": "test_probe.py",
    "many": "test_many.py",
    **dict.fromkeys(("sweep", "Sweep"), "test_sweep.py"),
    **dict.fromkeys(("ensemble", "Ensemble", "Predictions"), "test_ensemble.py"),
    **dict.fromkeys(("example_gradients", "hessian_vector_product", "influence"), "test_derivatives.py"),
    "Masked": "test_masks.py",
    **dict.fromkeys(("KeyValueCache", "with_cache"), "test_cache.py"),
    **dict.fromkeys(("History", "StopTraining", "evaluate", "fit", "predict"), "test_fit.py"),
    "predictor": "test_predictor.py",
    **dict.fromkeys(("early_stopping", "reduce_on_plateau", "csv_log", "model_checkpoint"), "test_callbacks.py"),
    "on_batch": "test_steps.py",
    **dict.fromkeys(("data.Shuffled", "data.Stream"), "test_streams.py"),
    "NonFiniteError": "test_finite.py",
    "CheckpointError": "test_resume.py",
    **dict.fromkeys(("CheckpointInfo", "load", "load_info", "save"), "test_checkpoint.py"),
    **dict.fromkeys(("Summary", "devices", "summary"), "test_summary.py"),
    **dict.fromkeys(("Plan", "plan"), "test_plan.py"),
    "described": "test_described.py",
    "fingerprint": "test_fingerprint.py",
    **dict.fromkeys(("Classifier", "GridSearch", "Regressor"), "test_estimators.py"),
    **dict.fromkeys(("Check", "LayerReport", "check", "layer_report"), "test_inspection.py"),
    "outputs": "test_inner_outputs.py",
    "InputError": "test_layer.py",
    **dict.fromkeys(("text.Vocabulary", "text.windows", "text.generate_text"), "test_text.py"),
    **dict.fromkeys((f"classic.{name}" for name in ("IDENTITY", "NOT", "AND", "OR", "NAND", "NOR")), "test_classic.py"),
    **dict.fromkeys((f"classic.{name}" for name in ("Formula", "Node", "Perceptron", "TruthTable")), "test_classic.py"),
    **dict.fromkeys(
        (f"classic.{name}" for name in ("at_least", "formula", "separable", "xor_network")), "test_classic.py"
    ),
    **dict.fromkeys(
        (
            *("data.Dataset", "data.DownloadError", "data.Images", "data.california_housing", "data.digits"),
            *("data.fashion_mnist", "data.iris", "data.mnist", "data.nietzsche", "data.shipping"),
        ),
        "test_datasets.py",
    ),
    **dict.fromkeys(("data.read_csv", "data.read_idx"), "test_files.py"),
    "data.Moments": "test_scaling.py",
    "data.train_test_split": "test_splitting.py",
    **dict.fromkeys(("data.TableCode", "data.table_encode", "data.table_fit"), "test_tables.py"),
    **dict.fromkeys(("data.Fold", "data.folds", "data.folds_from", "data.take_fold"), "test_cross_validation.py"),
    **{f"plot.{name}": "test_plotting.py" for name in fnn.plot.__all__ if name.islower()},
    "Layer": "test_layer.py",
    "paths": "test_layer.py",
    "activations.get_activation": "test_activations.py",
    "initializers.fans": "test_initializers.py",
    "initializers.get_initializer": "test_initializers.py",
    "losses.class_weights": "test_losses.py",
    "losses.get_loss": "test_losses.py",
    "class_weights": "test_losses.py",
    "metrics.ClassScores": "test_metrics.py",
    "metrics.Metric": "test_metrics.py",
    "metrics.classification_report": "test_metrics.py",
    "metrics.direction": "test_metrics.py",
    "metrics.get_metric": "test_metrics.py",
    "metrics.mean_metric": "test_metrics.py",
    "Metric": "test_metrics.py",
    "classification_report": "test_metrics.py",
    "Optimizer": "test_optimizers.py",
    "OptState": "test_optimizers.py",
    "get_hyper": "test_optimizers.py",
    "set_hyper": "test_optimizers.py",
    "averaged": "test_transforms.py",
    "schedules.Schedule": "test_schedules.py",
}


@functools.cache
def function_of(unit: Unit, dtype: str) -> Callable[..., Any]:
    """The unit's function, the same object at each call, so that compilations are shared."""
    return unit.make_fn(jnp.dtype(dtype))
