"""Depthwise separable convolution against Keras, its parameters and its errors."""

import jax
import numpy as np
import pytest
from conv_cases import assert_close_in_scale, normal, value_and_pullback

import fnn

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("window", "options"),
    [
        ((3,), {"padding": "same", "strides": 2}),
        ((2, 3), {"padding": "valid", "strides": 1}),
        pytest.param((3, 3), {"padding": "same", "dilation_rate": 2}, marks=pytest.mark.slow),
    ],
)
def test_values_and_gradients_equal_keras(rng, window, options):
    ops = pytest.importorskip("keras").ops
    x = normal(rng, 2, *(7, 6)[: len(window)], 3)
    depthwise, pointwise, bias = normal(rng, *window, 3, 2), normal(rng, *(1,) * len(window), 6, 4), normal(rng, 4)

    def keras(x, depthwise, pointwise, bias):
        return ops.separable_conv(x, depthwise, pointwise, **options) + bias

    def ours(x, depthwise, pointwise, bias):
        kernel = depthwise.reshape(*window, 1, 6)
        params = {"depthwise_kernel": kernel, "pointwise_kernel": pointwise, "bias": bias}
        return fnn.separable_conv(params, x, **options)

    assert_close_in_scale(*value_and_pullback((ours, keras), (x, depthwise, pointwise, bias)), 1e-5)


def test_the_layer():
    layer = fnn.SeparableConv(4, (3, 2), 2, "same", 1, 2, "relu")
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype("float32")
    params, state = jax.jit(layer.init)(KEY, x)
    shapes = {name: leaf.shape for name, leaf in params.items()}
    assert shapes == {"depthwise_kernel": (3, 2, 1, 6), "pointwise_kernel": (1, 1, 6, 4), "bias": (4,)}
    # The limits of "glorot_uniform": fans of (3, 2, 3, 2) and (1, 1, 6, 4).
    for name, fans in (("depthwise_kernel", 6 * 3 + 6 * 2), ("pointwise_kernel", 6 + 4)):
        assert 0.7 * (6 / fans) ** 0.5 < np.abs(params[name]).max() <= (6 / fans) ** 0.5
    y, _ = jax.jit(layer.apply)(params, state, x)
    want = jax.jit(lambda params, x: fnn.separable_conv(params, x, strides=2, padding="same"))(params, x)
    np.testing.assert_array_equal(y, np.maximum(want, 0))
    assert "bias" not in jax.eval_shape(fnn.SeparableConv(4, 3, use_bias=False).init, KEY, x)[0]


X = np.ones((2, 5, 3), "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.SeparableConv(0, 3), r"SeparableConv: expected filters to be an integer of at least 1"),
        (lambda: fnn.SeparableConv(4, 3, depth_multiplier=0), r"SeparableConv: expected depth_multiplier to be"),
        (lambda: fnn.SeparableConv(4, 3, padding="full"), r"SeparableConv: expected padding to be 'valid'"),
        (lambda: fnn.SeparableConv(4, 3).init(KEY, X[0]), r"SeparableConv: expected x of shape"),
        (
            lambda: fnn.separable_conv({"kernel": X}, X),
            r"separable_conv: expected parameters with a leaf 'depthwise_kernel'",
        ),
        (
            lambda: fnn.SeparableConv(4, 3).apply(fnn.SeparableConv(4, 3).init(KEY, X)[0], {}, X[..., :2]),
            r"depthwise_conv: expected a kernel of shape .* got float32\[3, 1, 3\]",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
