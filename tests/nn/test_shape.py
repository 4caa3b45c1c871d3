"""Layers that rearrange, pad, cut, enlarge or rescale, against Keras, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conv_cases import assert_close_in_scale, normal, value_and_pullback

import fnn

# Each layer of fnn, that of Keras, and the shape of an example batch.
CASES = [
    (fnn.Permute((2, 1)), ("Permute", (2, 1)), (2, 3, 4)),
    (fnn.Permute((3, 1, 2)), ("Permute", (3, 1, 2)), (2, 3, 4, 5)),
    (fnn.RepeatVector(3), ("RepeatVector", 3), (2, 4)),
    (fnn.ZeroPadding(), ("ZeroPadding1D",), (2, 3, 4)),
    (fnn.ZeroPadding((2, 1)), ("ZeroPadding1D", (2, 1)), (2, 3, 4)),
    (fnn.ZeroPadding((2, 1)), ("ZeroPadding2D", (2, 1)), (2, 3, 4, 2)),
    (fnn.ZeroPadding(((2, 1), (0, 3))), ("ZeroPadding2D", ((2, 1), (0, 3))), (2, 3, 4, 2)),
    (fnn.ZeroPadding(2), ("ZeroPadding3D", 2), (2, 1, 2, 3, 2)),
    (fnn.Cropping((1, 2)), ("Cropping1D", (1, 2)), (2, 5, 3)),
    (fnn.Cropping(1), ("Cropping2D", 1), (2, 4, 5, 2)),
    (fnn.Cropping([(2, 0), (1, 3)]), ("Cropping2D", ((2, 0), (1, 3))), (2, 4, 6, 2)),
    (fnn.UpSampling(3), ("UpSampling1D", 3), (2, 4, 3)),
    (fnn.UpSampling((1, 3)), ("UpSampling2D", (1, 3)), (2, 3, 2, 2)),
    (fnn.UpSampling((2, 3), "bilinear"), ("UpSampling2D", (2, 3), None, "bilinear"), (2, 3, 4, 2)),
    (fnn.UpSampling(2, "bicubic"), ("UpSampling2D", 2, None, "bicubic"), (2, 3, 4, 2)),
    (fnn.UpSampling(2), ("UpSampling3D", 2), (2, 1, 2, 3, 2)),
    (fnn.Rescaling(0.3, offset=-0.2), ("Rescaling", 0.3, -0.2), (2, 3)),
    (fnn.Rescaling((0.3, 2.0), (1.0, -1.0)), ("Rescaling", (0.3, 2.0), (1.0, -1.0)), (2, 3, 2)),
]


def test_values_are_those_of_numpy(rng):
    """Which side, which axis and which element: the slow test has gradients and all cases."""
    x = normal(rng, 2, 4, 6, 2)
    cases = [
        (fnn.ZeroPadding(((2, 1), (0, 3))), np.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)))),
        (fnn.Cropping([(2, 0), (1, 3)]), x[:, 2:, 1:-3]),
        (fnn.UpSampling((1, 3)), x.repeat(3, 2)),
        (fnn.Permute((3, 1, 2)), x.transpose(0, 3, 1, 2)),
    ]
    found = jax.jit(lambda x: [layer.apply({}, {}, x)[0] for layer, _ in cases])(x)
    for y, (layer, want) in zip(found, cases, strict=True):
        np.testing.assert_array_equal(y, want, err_msg=layer.name)


@pytest.mark.slow
def test_values_and_gradients_equal_keras(rng):
    """In one program, since compiling takes the time."""
    layers = pytest.importorskip("keras").layers
    inputs = [normal(rng, *shape) for *_, shape in CASES]
    references = [getattr(layers, name)(*arguments) for _, (name, *arguments), _ in CASES]

    def flat(ys):
        return jnp.concatenate([jnp.ravel(y) for y in ys])

    def ours(*inputs):
        return flat(layer.apply({}, {}, x)[0] for (layer, *_), x in zip(CASES, inputs, strict=True))

    def keras(*inputs):
        return flat(layer(x) for layer, x in zip(references, inputs, strict=True))

    assert_close_in_scale(*value_and_pullback((ours, keras), inputs), 1e-5)
    for (layer, *_), reference, x in zip(CASES, references, inputs, strict=True):
        assert jax.eval_shape(lambda x, layer=layer: layer.apply({}, {}, x)[0], x).shape == reference(x).shape, layer


def test_rescaling_bytes_and_half_precision():
    x = np.arange(256, dtype="uint8").reshape(1, 256)
    y, _ = fnn.Rescaling(1 / 255).apply({}, {}, x)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, x / 255, 1e-6)
    half, _ = fnn.Rescaling(1 / 255, -0.5).apply({}, {}, x.astype(jnp.bfloat16))
    np.testing.assert_array_equal(half, (np.asarray(y) - np.float32(0.5)).astype(jnp.bfloat16))  # rounded once
    masked, _ = fnn.Rescaling(2).apply({}, {}, fnn.Masked(np.ones((2, 3, 1), "float32"), np.eye(2, 3) > 0))
    np.testing.assert_array_equal(masked.mask, np.eye(2, 3) > 0)


def test_the_dtype_of_class_maps_is_kept():
    x = np.arange(4, dtype="int32").reshape(1, 2, 2, 1)
    for layer in (fnn.UpSampling(2), fnn.ZeroPadding(1), fnn.Cropping(((1, 0), 0)), fnn.Permute((2, 1, 3))):
        assert layer.apply({}, {}, x)[0].dtype == x.dtype


ROWS = np.ones((2, 3), "float32")
STEPS = np.ones((2, 3, 4), "float32")
IMAGES = np.ones((2, 4, 5, 3), "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.Permute((0, 1)), r"Permute: expected dims with the axes from 1 in any order, such as \(2, 1\)"),
        (lambda: fnn.Permute(2), r"Permute: expected dims .* got 2"),
        (lambda: fnn.Permute((2, 1)).apply({}, {}, IMAGES), r"expected x with 2 axes after the batch, got float32"),
        (lambda: fnn.RepeatVector(0), r"RepeatVector: expected n to be an integer of at least 1, got 0"),
        (lambda: fnn.RepeatVector(2).apply({}, {}, STEPS), r"expected x of shape \(batch, features\), got float32"),
        (lambda: fnn.ZeroPadding(-1), r"ZeroPadding: expected padding to be an integer of at least 0, got -1"),
        (lambda: fnn.ZeroPadding("same"), r"ZeroPadding: expected padding to be an integer of at least 0, got 'same'"),
        (
            lambda: fnn.ZeroPadding([(1, 2, 3)]),
            r"padding of one axis to be an integer or \(low, high\), got \(1, 2, 3\)",
        ),
        (
            lambda: fnn.ZeroPadding((1, 2, 3)).apply({}, {}, IMAGES),
            r"zero_padding: expected padding for 2 spatial axes",
        ),
        (
            lambda: fnn.ZeroPadding().apply({}, {}, ROWS),
            r"zero_padding: expected x of shape \(batch, \*spatial, channels\)",
        ),
        (lambda: fnn.Cropping(1.5), r"Cropping: expected cropping to be an integer of at least 0, got 1\.5"),
        (
            lambda: fnn.Cropping(2).apply({}, {}, IMAGES),
            r"more than 4 elements on spatial axis 0, of which 2 and 2 are cut",
        ),
        (lambda: fnn.UpSampling(0), r"UpSampling: expected size to be an integer of at least 1, got 0"),
        (lambda: fnn.UpSampling(2, "linear"), r"expected interpolation to be one of nearest, bilinear, bicubic"),
        (lambda: fnn.UpSampling((2, 2)).apply({}, {}, STEPS), r"expected size to be an integer or 1 of them"),
        (lambda: fnn.UpSampling(2, "bilinear").apply({}, {}, IMAGES.astype(int)), r"expected a floating-point x"),
        (lambda: fnn.Rescaling("1/255"), r"Rescaling: expected scale to be a number, got '1/255'"),
        (lambda: fnn.Rescaling(1, float("nan")), r"Rescaling: expected offset to be finite, got nan"),
        (
            lambda: fnn.Rescaling((1, 2)).apply({}, {}, ROWS),
            r"rescaling: expected x with as many channels as scale float32",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
