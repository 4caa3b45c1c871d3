"""Image augmentation against SciPy and Keras, the numbers it draws, and its errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conv_cases import assert_close_in_scale, normal, value_and_pullback
from helpers import few

import fnn

KEY = jax.random.key(3)


def keras_module():
    return pytest.importorskip("keras")


def augment(layer, x, key=KEY):
    return jax.jit(lambda x, key: layer.apply({}, {}, x, key=key, train=True)[0])(x, key)


# ------------------------------------------------------------------------------------------------- the transformation
SCIPY = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap"}


def matrices(rng, count):
    return (np.eye(2, 3) + normal(rng, count, 2, 3) * [0.5, 0.5, 4]).astype("float32")


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill_mode", SCIPY)
def test_affine_transform_equals_scipy(rng, interpolation, fill_mode):
    ndimage = pytest.importorskip("scipy.ndimage")
    x, matrix = normal(rng, 3, 7, 5, 2), matrices(rng, 3)
    options = {"interpolation": interpolation, "fill_mode": fill_mode, "fill_value": 0.7}
    y = jax.jit(lambda x, matrix: fnn.affine_transform(x, matrix, **options))(x, matrix)
    order = {"bilinear": 1, "nearest": 0}[interpolation]
    for b in range(3):
        for c in range(2):
            image = x[b, :, :, c].astype("float64")
            want = ndimage.affine_transform(image, matrix[b], order=order, mode=SCIPY[fill_mode], cval=0.7)
            np.testing.assert_allclose(y[b, :, :, c], want, 1e-5, 1e-5)


@pytest.mark.parametrize(
    ("fill_mode", "size"), [("reflect", (4, 6)), pytest.param("constant", (1, 5), marks=pytest.mark.slow)]
)
def test_affine_transform_equals_keras_with_its_gradients(rng, fill_mode, size):
    ops, options = keras_module().ops, {"fill_mode": fill_mode, "fill_value": -0.4}
    x, matrix = normal(rng, 2, *size, 3), matrices(rng, 2)

    def keras(x, matrix):  # which counts x before y, and takes eight numbers
        rows = [matrix[:, i, j] for i, j in ((1, 1), (1, 0), (1, 2), (0, 1), (0, 0), (0, 2))]
        eight = jnp.stack([*rows, jnp.zeros(2), jnp.zeros(2)], -1)
        return ops.image.affine_transform(x, eight, interpolation="bilinear", **options)

    def ours(x, matrix):
        return fnn.affine_transform(x, matrix, **options)

    assert_close_in_scale(*value_and_pullback((ours, keras), (x, matrix)), 1e-5)


def test_half_precision_reads_at_exact_positions_and_one_matrix_serves_all_images():
    x = np.arange(1200, dtype="float32").reshape(2, 1, 600, 1) % 7
    matrix = np.float32([[1, 0, 0], [0, 1, 0.5]])

    @jax.jit
    def both(x, matrix):
        read = partial(fnn.affine_transform, fill_mode="nearest")
        return read(x.astype(jnp.bfloat16), matrix), read(x, jnp.stack([matrix, matrix]))

    half, single = both(x, matrix)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_array_equal(half.astype("float32"), single)


# ---------------------------------------------------------------------- layers whose range is one number, against Keras
FIXED = {
    "RandomTranslation": ((0.3, 0.3), (-0.2, -0.2)),
    "RandomTranslation, wrap": ((-0.4, -0.4), (0.9, 0.9), "wrap"),
    "RandomRotation": ((0.11, 0.11),),
    "RandomRotation, constant": ((-0.3, -0.3), "constant"),
    "RandomZoom": ((0.4, 0.4), (-0.3, -0.3)),
    "RandomZoom, nearest": ((-0.3, -0.3), None, "nearest", "nearest"),
    "RandomBrightness": ((0.13, 0.13), (-1, 2)),
}


@pytest.mark.parametrize("name", few(FIXED))
def test_layers_equal_keras(rng, name):
    make, arguments = name.partition(",")[0], FIXED[name]
    x = normal(rng, 2, 6, 5, 3)
    keras = keras_module()
    reference = getattr(keras.layers, make)(*arguments)

    @jax.jit
    def both(x, key):
        with keras.StatelessScope():  # which keeps the state of Keras's generator out of the trace
            want = reference(x, training=True)
        return getattr(fnn, make)(*arguments).apply({}, {}, x, key=key, train=True)[0], want

    np.testing.assert_allclose(*both(x, KEY), 1e-4, 1e-5)


# --------------------------------------------------------------------------------------------------- what layers draw
COUNT = 2000
AXIS = np.arange(9, dtype="float32") - 4
RAMPS = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), -1)  # the distance of each pixel from the centre


def read_at(layer, places):
    """Rows and columns, from the centre, that a layer reads at places of the result, by image: (count, places, 2)."""
    y = augment(layer, np.repeat(RAMPS[None], COUNT, 0))
    return np.stack([np.asarray(y, "float64")[:, 4 + i, 4 + j] for i, j in places], 1)


def assert_uniform(values, low, high):
    """By the largest distance between the distribution functions, which is rarely above 1.95 / sqrt(count)."""
    shares = np.sort((values - low) / (high - low))
    assert len(np.unique(shares)) > 0.99 * COUNT, "each example draws its own number"
    assert np.abs(shares - (np.arange(COUNT) + 0.5) / COUNT).max() < 1.95 / COUNT**0.5


def assert_independent(a, b):
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / COUNT**0.5


def test_shifts_are_uniform_and_down_and_right_if_positive():
    layer = fnn.RandomTranslation((-0.1, 0.3), 0.2)
    down, right = -read_at(layer, [(0, 0)])[:, 0].T / 9
    assert_uniform(down, -0.1, 0.3)
    assert_uniform(right, -0.2, 0.2)
    assert_independent(down, right)


def test_angles_are_uniform_and_counterclockwise_if_positive():
    down, right = read_at(fnn.RandomRotation((-0.05, 0.2)), [(0, 3)])[:, 0].T
    # The place right of the centre shows what was clockwise of it, which is further down.
    assert_uniform(np.arctan2(down, right) / (2 * np.pi), -0.05, 0.2)
    np.testing.assert_allclose(np.hypot(down, right), 3, 1e-5)


@pytest.mark.parametrize("width_factor", [None, (0.1, 0.3)])
def test_zooms_are_uniform_and_out_if_positive(width_factor):
    down, right = read_at(fnn.RandomZoom((-0.5, 0.2), width_factor), [(2, 2)])[:, 0].T / 2 - 1
    assert_uniform(down, -0.5, 0.2)
    if width_factor is None:
        np.testing.assert_allclose(right, down, atol=1e-5)
    else:
        assert_uniform(right, 0.1, 0.3)
        assert_independent(down, right)


@pytest.mark.parametrize(
    ("mode", "axes"), [("horizontal", [1]), ("vertical", [0]), ("horizontal_and_vertical", [0, 1])]
)
def test_flips(mode, axes):
    corners = read_at(fnn.RandomFlip(mode), [(1, 3)])[:, 0] / [1, 3]  # 1, or -1 where flipped
    assert set(np.unique(corners)) == {-1, 1}
    for axis in (0, 1):
        expected = 0.5 if axis in axes else 0
        assert (corners[:, axis] < 0).mean() == pytest.approx(expected, abs=2 / COUNT**0.5)
    if len(axes) == 2:
        assert_independent(*corners.T)


def test_contrast_and_brightness(rng):
    x = rng.uniform(0, 255, (COUNT, 2, 3, 2)).astype("float32")
    mean = x.mean((1, 2), keepdims=True, dtype="float64")
    wide = (-1e4, 1e4)
    scaled = np.asarray(augment(fnn.RandomContrast((0.5, 0.2), wide), x), "float64") - mean
    strength = (scaled * (x - mean)).sum((1, 2, 3)) / ((x - mean) ** 2).sum((1, 2, 3))
    assert_uniform(strength, 0.5, 1.2)
    np.testing.assert_allclose(scaled, strength[:, None, None, None] * (x - mean), atol=1e-3)
    added = np.asarray(augment(fnn.RandomBrightness((-0.1, 0.4), wide), x), "float64") - x
    assert_uniform(added[:, 0, 0, 0] / 2e4, -0.1, 0.4)
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1, :1], added.shape), atol=1e-2)


@pytest.mark.parametrize("layer", [fnn.RandomContrast(1.0), fnn.RandomBrightness(0.9)])
def test_values_are_clipped_to_their_range(rng, layer):
    y = augment(layer, rng.uniform(0, 255, (20, 4, 4, 1)).astype("float32"))
    assert (y.min(), y.max()) == (0, 255)
    y = augment(layer.config.make(0.9, (-0.5, 0.3)), normal(rng, 20, 4, 4, 1))
    np.testing.assert_allclose((y.min(), y.max()), (-0.5, 0.3), 1e-6)


def test_crops_are_at_every_place_alike():
    x = np.repeat(np.arange(20, dtype="float32").reshape(1, 4, 5, 1), COUNT, 0)
    layer = fnn.RandomCrop(3, 2)
    y = np.asarray(augment(layer, x))
    assert y.shape == (COUNT, 3, 2, 1)
    np.testing.assert_array_equal(y - y[:, :1, :1], np.float32([[0, 1], [5, 6], [10, 11]])[None, ..., None] + 0 * y)
    places, counts = np.unique(y[:, 0, 0, 0], return_counts=True)
    np.testing.assert_array_equal(places, [0, 1, 2, 3, 5, 6, 7, 8])
    assert np.abs(counts / COUNT - 1 / 8).max() < 4 * (1 / 8 / COUNT) ** 0.5
    centre, _ = layer.apply({}, {}, x[:1])
    np.testing.assert_array_equal(centre[0, :, :, 0], x[0, 0:3, 1:3, 0])


# -------------------------------------------------------------------------------------------------------- as layers
LAYERS = [
    fnn.RandomFlip(),
    fnn.RandomTranslation(0.2, 0.3),
    fnn.RandomRotation(0.2),
    fnn.RandomZoom(0.2),
    fnn.RandomContrast(0.2),
    fnn.RandomBrightness(0.2),
    fnn.RandomCrop(5, 4),
]


def test_rows_draw_the_same_whatever_follows_and_bytes_are_floats(rng):
    x = rng.integers(0, 256, (9, 5, 4, 2)).astype("uint8")

    @jax.jit
    def all_layers(x, key):
        return [layer.apply({}, {}, x, key=key, train=True)[0] for layer in LAYERS]

    for whole, part in zip(all_layers(x, KEY), all_layers(x[:4], KEY), strict=True):
        assert whole.dtype == jnp.float32
        assert len(np.unique(whole)) > 20
        np.testing.assert_array_equal(part, whole[:4])


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.kind)
def test_nothing_changes_outside_training(rng, layer):
    x = normal(rng, 2, 5, 4, 1)
    assert layer.per_example
    assert layer.init(KEY, x) == ({}, {})
    np.testing.assert_array_equal(layer.apply({}, {}, x)[0], x)
    np.testing.assert_array_equal(layer.apply({}, {}, x, key=KEY)[0], x)
    assert layer.apply({}, {}, x.astype("int32"))[0].dtype == jnp.float32


def test_ranges_are_swept_under_vmap(rng):
    x = normal(rng, 2, 5, 4, 1)
    turn = jax.jit(jax.vmap(lambda f: fnn.RandomRotation(f).apply({}, {}, x, key=KEY, train=True)[0]))
    swept = turn(np.float32([0, 0.2]))
    np.testing.assert_array_equal(swept[0], x)
    np.testing.assert_allclose(swept[1], augment(fnn.RandomRotation(0.2), x), 1e-5, 1e-5)


@pytest.mark.slow
def test_a_model_trains_on_augmented_bytes(rng):
    x, y = rng.integers(0, 256, (10, 6, 6, 1)).astype("uint8"), np.arange(10) % 2
    body = (fnn.RandomFlip("horizontal"), fnn.RandomRotation(0.1), fnn.Rescaling(1 / 255), fnn.GaussianNoise(0.1))
    task = fnn.Task(fnn.Sequential(*body, fnn.Flatten(), fnn.Dense(2)), "sparse_categorical_crossentropy", "sgd")
    ts = fnn.init(task, KEY, x[:1])
    after, history = fnn.fit(task, ts, (x, y), epochs=2, batch_size=4, verbose=0)  # the last batch is padded
    assert np.isfinite(history["loss"]).all()
    assert not np.array_equal(after.params["dense"]["kernel"], ts.params["dense"]["kernel"])
    scaled = (x[:3] / 255).reshape(3, -1) @ after.params["dense"]["kernel"] + after.params["dense"]["bias"]
    np.testing.assert_allclose(fnn.predict(task, after, x[:3]), scaled, 1e-4, 1e-5)


IMAGES = np.ones((2, 5, 4, 3), "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.RandomFlip("sideways"), r"mode of RandomFlip: expected the name of a known .* got 'sideways'"),
        (
            lambda: fnn.RandomTranslation(1.5, 0),
            r"RandomTranslation: expected height_factor \(of the height\) in \[-1, 1\], got 1\.5",
        ),
        (
            lambda: fnn.RandomTranslation(0, (0, 0.1, 2)),
            r"expected width_factor \(of the width\) to be a number or a pair of them",
        ),
        (lambda: fnn.RandomRotation("0.1"), r"RandomRotation: expected factor .* to be a number, got '0\.1'"),
        (lambda: fnn.RandomRotation(30), r"RandomRotation: expected factor \(of a whole turn\) in \[-1, 1\], got 30"),
        (
            lambda: fnn.RandomRotation(0.1, "mirror"),
            r"expected fill_mode to be one of constant, nearest, reflect, wrap",
        ),
        (lambda: fnn.RandomZoom(0.1, interpolation="cubic"), r"interpolation to be one of bilinear, nearest"),
        (lambda: fnn.RandomZoom(-1.0), r"RandomZoom: expected height_factor in \(-1, 1\], got -1"),
        (lambda: fnn.RandomContrast((-0.1, 0.2)), r"RandomContrast: expected factor in \[0, 1\], got -0\.1"),
        (lambda: fnn.RandomContrast(0.1, 255), r"expected value_range \(low, high\), such as \(0, 255\), got 255"),
        (lambda: fnn.RandomBrightness(0.1, (1, 0)), r"expected value_range \(low, high\) with low < high"),
        (lambda: fnn.RandomCrop(0, 3), r"RandomCrop: expected height to be an integer of at least 1"),
        (lambda: fnn.RandomCrop(6, 3).apply({}, {}, IMAGES), r"expected images of at least 6 x 3 pixels, got float32"),
        (lambda: fnn.RandomFlip().apply({}, {}, IMAGES, train=True), r"random_flip: expected a key in training"),
        (lambda: fnn.RandomFlip().apply({}, {}, IMAGES, train=True, key=3), r"random_flip: expected one PRNG key"),
        (lambda: fnn.RandomFlip().apply({}, {}, IMAGES[0]), r"expected images of shape \(batch, height.*channel axis"),
        (
            lambda: fnn.RandomFlip().apply({}, {}, fnn.Masked(IMAGES, np.ones((2, 5), bool))),
            r"RandomFlip: expected one array, got Masked",
        ),
        (lambda: fnn.affine_transform(IMAGES, np.eye(3)), r"a floating-point matrix of shape \(2, 3\) or \(2, 2, 3\)"),
        (
            lambda: fnn.affine_transform(IMAGES.astype(int), np.eye(2, 3)),
            r"affine_transform: expected a floating-point",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
