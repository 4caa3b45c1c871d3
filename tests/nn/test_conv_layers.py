"""Convolutional layers and functions against Keras, their parameters and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conv_cases import assert_close_in_scale, normal, value_and_pullback

import fnn
from fnn._core.errors import InputError
from fnn.nn.conv import (
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


def keras_ops():
    return pytest.importorskip("keras").ops


@pytest.mark.parametrize("seed", range(6))
def test_conv_equals_keras(seed):
    ops, rng = keras_ops(), np.random.default_rng(seed)
    rank, groups = 1 + seed % 3, int(rng.choice([1, 2]))
    strides, dilation = ([int(rng.integers(1, 4)), 1], [1, int(rng.integers(1, 3))])[:: int(rng.choice([1, -1]))]
    strides, dilation = max(strides), 1 if max(strides) > 1 else max(dilation)
    padding = rng.choice(["valid", "same"])
    x = normal(rng, 2, *rng.integers(5, 9, rank), 2 * groups)
    kernel = normal(rng, *rng.integers(1, 4, rank), 2, 3 * groups)

    def keras_conv(kernel, x):
        return ops.conv(x, kernel, strides=strides, padding=padding, dilation_rate=dilation)

    def ours(kernel, x):
        arguments = {"strides": strides, "padding": str(padding), "dilation_rate": dilation, "groups": groups}
        return conv({"kernel": kernel}, x, **arguments)

    assert_close_in_scale(*value_and_pullback((ours, keras_conv), (kernel, x)), 1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_depthwise_conv_equals_keras(seed):
    ops, rng = keras_ops(), np.random.default_rng(seed)
    rank, multiplier = 1 + seed % 2, 1 + seed // 2
    strides, padding = int(rng.integers(1, 3)), str(rng.choice(["valid", "same"]))
    x = normal(rng, 2, *rng.integers(5, 9, rank), 3)
    kernel = normal(rng, *rng.integers(2, 4, rank), 3, multiplier)

    def keras_conv(kernel, x):
        return ops.depthwise_conv(x, kernel, strides=strides, padding=padding)

    def ours(kernel, x):
        kernel = kernel.reshape(*kernel.shape[:-2], 1, 3 * multiplier)
        return depthwise_conv({"kernel": kernel}, x, strides=strides, padding=padding)

    assert_close_in_scale(*value_and_pullback((ours, keras_conv), (kernel, x)), 1e-5)


# Three spatial axes, which compile slowly, are tested with one padding in every run.
@pytest.mark.parametrize(
    ("seed", "padding"),
    [(seed, padding) for seed in (0, 1, 3) for padding in ("valid", "same")]
    + [pytest.param(2, "valid", marks=pytest.mark.slow), (2, "same")],
)
def test_conv_transpose_equals_keras(seed, padding):
    ops, rng = keras_ops(), np.random.default_rng(seed)
    rank, strides = 1 + seed % 3, int(rng.integers(1, 4))
    dilation = int(rng.integers(1, 3)) if strides == 1 else 1
    output_padding = None if seed % 2 else int(rng.integers(0, strides))
    x = normal(rng, 2, *rng.integers(2, 5, rank), 3)
    kernel = normal(rng, *rng.integers(1, 5, rank), 2, 3)  # Keras: (*window, out, in)
    arguments = {
        "strides": strides,
        "padding": padding,
        "output_padding": output_padding,
        "dilation_rate": dilation,
    }

    def keras_conv(kernel, x):
        return ops.conv_transpose(x, kernel, **arguments)

    def ours(kernel, x):
        return conv_transpose({"kernel": jnp.swapaxes(kernel, -1, -2)}, x, **arguments)

    assert_close_in_scale(*value_and_pullback((ours, keras_conv), (kernel, x)), 1e-5)


def test_layers_equal_keras_layers():
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    image = normal(rng, 2, 8, 7, 4)
    both = [
        (
            image,
            Conv(6, (3, 2), padding="same", groups=2, activation="relu"),
            keras.layers.Conv2D(6, (3, 2), padding="same", groups=2, activation="relu", kernel_initializer="zeros"),
        ),
        (
            image[:, 0],
            Conv(3, 3, strides=2, padding="causal"),
            keras.layers.Conv1D(3, 3, strides=2, padding="causal", kernel_initializer="zeros"),
        ),
    ]
    for x, ours, theirs in both:
        shapes, state = jax.eval_shape(ours.init, jax.random.key(1), x)
        params = {name: normal(rng, *leaf.shape) for name, leaf in shapes.items()}
        theirs.build(x.shape)
        assert [v.shape for v in theirs.weights] == [params["kernel"].shape, params["bias"].shape]

        @jax.jit
        def outputs(params, x, ours=ours, theirs=theirs):
            weights = [params["kernel"], params["bias"]]
            return ours.apply(params, {}, x)[0], theirs.stateless_call(weights, [], x)[0]

        assert_close_in_scale(*outputs(params, x), 1e-5)
        assert state == {}


def test_parameter_shapes_and_spatial_rank_from_the_input():
    layer = Conv(8, 3, groups=2)
    for rank in (1, 2, 3):
        x = jax.ShapeDtypeStruct((1, *(5,) * rank, 4), jnp.float32)
        params, _ = jax.eval_shape(layer.init, jax.random.key(0), x)
        assert params["kernel"].shape == (*(3,) * rank, 2, 8)
        assert params["bias"].shape == (8,)
    params, _ = jax.eval_shape(Conv(8, 3, use_bias=False).init, jax.random.key(0), x)
    assert sorted(params) == ["kernel"]


def test_depthwise_initializer_has_keras_fans():
    params = jax.jit(lambda key: depthwise_conv_init(key, 64, (3, 3), depth_multiplier=1))(jax.random.key(0))
    # fan_in = 9 * 64 and fan_out = 9: the limit of glorot_uniform is sqrt(6 / 585).
    limit = np.abs(params["kernel"]).max()
    assert 0.09 < limit <= (6 / 585) ** 0.5


def test_messages():
    x, params = np.ones((2, 6, 6, 4), "float32"), {"kernel": np.ones((3, 3, 4, 8), "float32")}
    bad = [
        (
            lambda: conv(params, np.ones((2, 144), "float32")),
            r"x of shape \(batch, height, width, channels\).*Reshape\(\(h, w, c\)\)",
        ),
        (lambda: conv(params, x[0]), r"got float32\[6, 6, 4\].*x\[None\]"),
        (lambda: conv(params, x[..., :3]), r"x of shape \(batch, height, width, 4\).*got float32\[2, 6, 6, 3\]"),
        (lambda: conv(params, np.ones((2, 6, 6, 8), "float32")), "These shapes fit groups=2"),
        (lambda: conv(params, x.astype(jnp.bfloat16)), "x of dtype float32"),
        (lambda: conv(params, x.astype(jnp.int32)), "a floating-point x"),
        (lambda: conv(params, x[:, :2]), "at least 3 elements on spatial axis 0.*got 2"),
        (lambda: conv(params, x, strides=0), "strides to be an integer of at least 1, got 0"),
        (lambda: conv(params, x, strides=(1, 1, 1)), "strides to be an integer or 2 of them"),
        (lambda: conv(params, x, dilation_rate=1.5), "dilation_rate to be an integer of at least 1, got 1.5"),
        (lambda: conv(params, x, groups=0), "groups to be an integer of at least 1, got 0"),
        (lambda: conv(params, x, padding="full"), "padding to be 'valid'"),
        (lambda: conv(params, x, padding="causal"), "padding to be 'valid'"),
        (lambda: conv(params, x, padding=-1), "padding to be an integer of at least 0"),
        (lambda: conv(params, x, padding=(1, 2, 3)), "padding for 2 spatial axes"),
        (lambda: conv(params, x, padding=[(1, 2, 3), 1]), r"padding of one axis to be an integer or \(low, high\)"),
        (lambda: conv({"weights": 1}, x), "a leaf 'kernel'"),
        (lambda: conv_init(jax.random.key(0), 4, 8, 3), "kernel_size with one entry for each spatial axis"),
        (lambda: conv_init(jax.random.key(0), 4, 9, (3,), groups=2), "groups=2 divides"),
        (lambda: depthwise_conv(params, x), r"a kernel of shape \(\*window, 1, 4 \* depth_multiplier\)"),
        (lambda: conv_transpose(params, x[..., :3]), r"x of shape \(batch, height, width, 4\)"),
        (lambda: conv_transpose(params, x, padding="causal"), "padding to be 'valid'"),
        (lambda: conv_transpose(params, x, output_padding=-1), "output_padding to be an integer of at least 0"),
        (lambda: conv_transpose_init(jax.random.key(0), 0, 8, (3,)), "in_features to be an integer of at least 1"),
        (lambda: Conv(0, 3), "filters to be an integer of at least 1, got 0"),
        (lambda: Conv(8, 0), "kernel_size to be an integer of at least 1, got 0"),
        (lambda: Conv(8, (3, 3, 3, 3)), "kernel_size to be an integer or a sequence of 1, 2 or 3"),
        (lambda: Conv(8, 3, groups=3), "filters that groups=3 divides"),
        (lambda: Conv(8, 3, padding="smae"), "padding to be 'valid', 'same', 'causal', an integer, or"),
        (lambda: Conv(8, 3, activation="rleu"), "Did you mean 'relu'"),
        (lambda: Conv(8, 3).init(jax.random.key(0), np.ones((2, 144), "float32")), "1 to 3 spatial axes"),
        (lambda: Conv(8, (3, 3)).init(jax.random.key(0), np.ones((2, 144), "float32")), r"Reshape\(\(h, w, c\)\)"),
        (lambda: Conv(8, (3,)).init(jax.random.key(0), x), "kernel_size to be an integer or 2 of them"),
        (lambda: DepthwiseConv(3, depth_multiplier=0), "depth_multiplier to be an integer of at least 1"),
        (lambda: ConvTranspose(8, 3, padding=1), "padding to be 'valid'"),
    ]
    for call, message in bad:
        with pytest.raises(InputError, match=message):
            call()


def test_convolutions_run_without_jit(rng):
    x = jnp.asarray(normal(rng, 2, 6, 6, 3))
    params = {"kernel": jnp.asarray(normal(rng, 3, 3, 3, 4)), "bias": jnp.asarray(normal(rng, 4))}
    grad = jax.grad(lambda params, x: jnp.square(conv(params, x)).sum(), argnums=(0, 1))
    expected = jax.jit(lambda params, x: (conv(params, x), grad(params, x)))(params, x)
    with jax.disable_jit():
        found = conv(params, x), grad(params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-5), found, expected)


def test_images_without_a_channel_axis_warn():
    """A convolution reads (batch, 28, 28) as a sequence of 28 steps, which is usually a mistake."""
    x = jax.ShapeDtypeStruct((1, 28, 28), jnp.float32)
    with pytest.warns(
        UserWarning, match=r"Conv: x of shape \(batch, 28, 28\) is read as 28 steps .* x\[\.\.\., None\]"
    ):
        jax.eval_shape(Conv(4, 3).init, jax.random.key(0), x)
    with pytest.raises(InputError, match="Add the channel axis"):
        Conv(4, (3, 3)).init(jax.random.key(0), x)
    jax.eval_shape(Conv(4, 3).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 28, 27), jnp.float32))


@pytest.mark.parametrize("size", [3, np.int64(3), (3, 3)])
def test_sizes_may_be_numpy_integers(size):
    x = jax.ShapeDtypeStruct((1, 6, 6, 2), jnp.float32)
    for layer in (fnn.Conv(4, size), fnn.DepthwiseConv(size), fnn.ConvTranspose(4, size)):
        params, _ = jax.eval_shape(layer.init, jax.random.key(0), x)
        assert params["kernel"].shape[:2] == (3, 3)
