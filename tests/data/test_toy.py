"""Toy sets against the TensorFlow Playground's definitions, written again as plain loops over single points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import fnn

CLASSES = {"circles": fnn.data.circles, "xor": fnn.data.xor, "gaussians": fnn.data.gaussians, "spiral": fnn.data.spiral}
SURFACES = {"plane": fnn.data.plane, "multi_gaussian": fnn.data.multi_gaussian}
SETS = CLASSES | SURFACES


# ------------------------------------------------------------------------------- one point at a time, as the playground
def a_circle_point(i, size, noise, rng):
    r = rng.uniform(0, 2.5) if i < size / 2 else rng.uniform(5 * 0.7, 5)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = r * np.sin(angle), r * np.cos(angle)
    shifted = x + rng.uniform(-5, 5) * noise, y + rng.uniform(-5, 5) * noise
    return x, y, int(np.sqrt(shifted[0] ** 2 + shifted[1] ** 2) < 2.5)


def an_xor_point(i, size, noise, rng):
    x, y = rng.uniform(-5, 5), rng.uniform(-5, 5)
    x += 0.3 if x > 0 else -0.3
    y += 0.3 if y > 0 else -0.3
    return x, y, int((x + rng.uniform(-5, 5) * noise) * (y + rng.uniform(-5, 5) * noise) >= 0)


def a_gaussian_point(i, size, noise, rng):
    variance = np.interp(noise, [0, 0.5], [0.5, 4])
    middle = 2 if i < size / 2 else -2
    return rng.normal(middle, np.sqrt(variance)), rng.normal(middle, np.sqrt(variance)), int(middle == 2)


def a_spiral_point(i, size, noise, rng):
    n = size / 2
    first = i < n
    i = i if first else i - n
    r, t = i / n * 5, 1.75 * i / n * 2 * np.pi + (0 if first else np.pi)
    return r * np.sin(t) + rng.uniform(-1, 1) * noise, r * np.cos(t) + rng.uniform(-1, 1) * noise, int(first)


def a_plane_point(i, size, noise, rng):
    x, y = rng.uniform(-6, 6), rng.uniform(-6, 6)
    return x, y, np.interp(x + rng.uniform(-6, 6) * noise + y + rng.uniform(-6, 6) * noise, [-99, 99], [-9.9, 9.9])


def a_multi_gaussian_point(i, size, noise, rng):
    x, y = rng.uniform(-6, 6), rng.uniform(-6, 6)
    u, v = x + rng.uniform(-6, 6) * noise, y + rng.uniform(-6, 6) * noise
    label = 0.0
    for cx, cy, sign in [(-4, 2.5, 1), (0, 2.5, -1), (4, 2.5, 1), (-4, -2.5, -1), (0, -2.5, 1), (4, -2.5, -1)]:
        new = sign * np.interp(np.hypot(u - cx, v - cy), [0, 2], [1, 0])
        label = new if abs(new) > abs(label) else label
    return x, y, label


POINTS = {
    "circles": a_circle_point,
    "xor": an_xor_point,
    "gaussians": a_gaussian_point,
    "spiral": a_spiral_point,
    "plane": a_plane_point,
    "multi_gaussian": a_multi_gaussian_point,
}
SIZE = 3000


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("name", SETS)
def test_the_same_distribution_as_the_playground(name, noise, rng):
    """Rows, and what is learned of them, come from one distribution: many functions of both are compared."""
    plain = np.array([POINTS[name](i, SIZE, noise, rng) for i in range(SIZE)])
    data = SETS[name](jax.random.key(3), SIZE, noise)
    drawn = np.column_stack([np.asarray(data.x), np.asarray(data.y).reshape(SIZE)]).astype(float)
    turns = np.arange(4) * 0.7
    for label in (0, 1) if name in CLASSES else (None,):
        a, b = (rows if label is None else rows[rows[:, 2] == label] for rows in (plain, drawn))
        # Shares of a class differ by chance only: four standard deviations of a difference of two counts.
        assert abs(len(a) - len(b)) <= (4 * np.sqrt(SIZE / 2) if noise or name == "xor" else 0)
        for turn in turns:
            along = np.array([np.cos(turn), np.sin(turn)])
            assert stats.ks_2samp(a[:, :2] @ along, b[:, :2] @ along).pvalue > 1e-4
        assert stats.ks_2samp(np.hypot(*a[:, :2].T), np.hypot(*b[:, :2].T)).pvalue > 1e-4
        if label is None:
            for i in range(3):
                left, right = (rows[:, 2] * np.column_stack([np.ones(SIZE), rows])[:, i] for rows in (a, b))
                assert stats.ks_2samp(left, right).pvalue > 1e-4


MANY, NOISE = 20_000, 0.3


def with_and_without_noise(name):
    """A key draws the same points in the same order whatever the noise."""
    return (
        [np.asarray(part, float) for part in SETS[name](jax.random.key(11), MANY, noise)[:2]] for noise in (NOISE, 0.0)
    )


def plainly(name, rng):
    rows = np.array([POINTS[name](i, MANY, NOISE, rng) for i in range(MANY)])
    return rows[:, :2], rows[:, 2]


@pytest.mark.parametrize("name", ["circles", "xor"])
def test_noise_changes_as_many_labels_as_in_the_playground(name, rng):
    (x, y), (still, clean) = with_and_without_noise(name)
    np.testing.assert_array_equal(x, still)
    plain_x, plain_y = plainly(name, rng)
    plain_clean = np.hypot(*plain_x.T) < 2.5 if name == "circles" else plain_x.prod(1) >= 0
    for label in (0, 1):
        got, want = ((y != clean)[clean == label].mean(), (plain_y != plain_clean)[plain_clean == label].mean())
        assert 0.02 < want < 0.3
        assert abs(got - want) < 4 * np.sqrt(2 * want / (MANY / 2))


def test_noise_of_gaussians():
    (x, y), _ = with_and_without_noise("gaussians")
    for label, middle in ((0, -2), (1, 2)):
        cloud = x[y == label]
        np.testing.assert_allclose(cloud.mean(0), middle, atol=0.07)
        np.testing.assert_allclose(cloud.var(0), 0.5 + 3.5 * NOISE / 0.5, rtol=0.06)
        assert abs(np.corrcoef(cloud.T)[0, 1]) < 0.04


def test_noise_of_spiral_and_plane():
    (x, y), (still, clean) = with_and_without_noise("spiral")
    np.testing.assert_array_equal(y, clean)
    for moved in (x - still).T:
        assert stats.kstest(moved, stats.uniform(-NOISE, 2 * NOISE).cdf).pvalue > 1e-3
    assert abs(np.corrcoef((x - still).T)[0, 1]) < 0.03
    (x, y), (still, clean) = with_and_without_noise("plane")
    np.testing.assert_array_equal(x, still)
    # the sum of two numbers uniform in [-6, 6)
    assert stats.kstest((y - clean)[:, 0] * 10 / NOISE, stats.triang(0.5, -12, 24).cdf).pvalue > 1e-3


def test_noise_of_multi_gaussian(rng):
    (x, y), (still, _) = with_and_without_noise("multi_gaussian")
    np.testing.assert_array_equal(x, still)
    plain_x, plain_y = plainly("multi_gaussian", rng)
    middles = np.array([[-4, 2.5], [4, 2.5], [0, -2.5], [0, 2.5], [-4, -2.5], [4, -2.5]])
    near = [np.sort(v[np.hypot(*(p[:, None] - middles).T).min(0) < 1]) for p, v in ((x, y[:, 0]), (plain_x, plain_y))]
    assert min(map(len, near)) > 2000
    assert stats.ks_2samp(*map(np.abs, near)).pvalue > 1e-3


def test_the_comparison_detects_a_wrong_label():
    """The distribution of y alone, and of y times a coordinate, tells a swapped sign."""
    x, y, *_ = fnn.data.plane(jax.random.key(3), SIZE)
    (x1, x2), y = np.asarray(x).T, np.asarray(y)[:, 0]
    right, wrong = y * x1, (x1 - x2) / 10 * x2
    assert stats.ks_2samp(right, wrong).pvalue < 1e-4


# -------------------------------------------------------------------------------------------------------- without noise
def test_circles_without_noise():
    x, y, *_ = fnn.data.circles(jax.random.key(0), 801)
    radius = np.hypot(*np.asarray(x, float).T)
    assert np.bincount(y).tolist() == [400, 401]
    assert radius[y == 1].max() < 2.5
    assert radius[y == 1].min() < 0.1
    assert radius[y == 0].min() > 3.4999
    assert radius[y == 0].max() < 5.0001


def test_xor_without_noise():
    x, y, *_ = fnn.data.xor(jax.random.key(1), SIZE)
    x = np.asarray(x, float)
    assert np.abs(x).min() >= 0.3
    assert 5 < np.abs(x).max() <= 5.3
    np.testing.assert_array_equal(y, x.prod(1) > 0)


def test_spiral_without_noise_is_fixed_up_to_the_order():
    x, y, *_ = fnn.data.spiral(jax.random.key(2), SIZE)
    expected = np.array([a_spiral_point(i, SIZE, 0, np.random.default_rng(0)) for i in range(SIZE)])
    drawn = np.column_stack([np.asarray(x, float), y])
    order = [np.lexsort((np.hypot(*rows[:, :2].T).round(4), rows[:, 2])) for rows in (expected, drawn)]
    np.testing.assert_allclose(drawn[order[1]], expected[order[0]], atol=1e-5)


def test_surfaces_without_noise():
    x, y, *_ = fnn.data.plane(jax.random.key(4), SIZE)
    np.testing.assert_allclose(y[:, 0], np.asarray(x, float).sum(1) / 10, atol=1e-6)
    x, y, *_ = fnn.data.multi_gaussian(jax.random.key(5), SIZE)
    middles = np.array([[-4, 2.5], [4, 2.5], [0, -2.5], [0, 2.5], [-4, -2.5], [4, -2.5]])
    distance = np.sqrt(((np.asarray(x, float)[:, None] - middles) ** 2).sum(-1))
    cone = np.clip(1 - distance / 2, 0, None)
    np.testing.assert_allclose(y[:, 0], cone[:, :3].sum(1) - cone[:, 3:].sum(1), atol=1e-6)
    assert np.abs(y).max() <= 1


@pytest.mark.parametrize("name", SETS)
def test_shapes_names_and_keys(name):
    make = SETS[name]
    data = make(jax.random.key(0), 41, noise=0.2)
    assert (data.x.shape, data.x.dtype) == ((41, 2), jnp.float32)
    assert (data.y.shape, data.y.dtype) == (((41,), jnp.int32) if name in CLASSES else ((41, 1), jnp.float32))
    assert data.features == ("x1", "x2")
    assert len(data.classes) == (2 if name in CLASSES else 0)
    assert jax.eval_shape(make, jax.random.key(0)).x.shape == (500, 2)
    assert jax.eval_shape(lambda key: make(key, 2), jax.random.key(0)).x.shape == (2, 2)
    jax.tree.map(np.testing.assert_array_equal, make(jax.random.key(0), 41, noise=0.2), data)
    if name != "spiral":
        other = make(jax.random.key(1), 41, noise=0.2)
        assert not set(np.asarray(data.x)[:, 0].tolist()) & set(np.asarray(other.x)[:, 0].tolist())
    assert {len(set(column)) for column in np.asarray(data.x).T.tolist()} == {41}


@pytest.mark.parametrize("name", CLASSES)
def test_any_subset_of_rows_is_a_fair_sample(name):
    """`fit` takes the last rows for validation, so these may not be of one class, nor of one end of an arm."""
    x, y, *_ = CLASSES[name](jax.random.key(7), SIZE)
    part = np.asarray(y)[-500:]
    assert 200 < part.sum() < 300
    assert np.count_nonzero(np.diff(y)) > SIZE / 3
    radius = np.hypot(*np.asarray(x).T)
    assert stats.ks_2samp(radius[-500:], radius[:-500]).pvalue > 1e-3


# test_registry.py compares every set with itself under vmap and jit.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("circles", "plane") else pytest.mark.slow) for name in SETS]
)
def test_under_jit_and_vmap(name):
    make = SETS[name]
    keys = jax.random.split(jax.random.key(9), 3)
    noises = np.array([0.0, 0.1, 0.5], "f")
    together = jax.jit(jax.vmap(lambda key, noise: make(key, 41, noise)))(keys, noises)
    assert isinstance(together, fnn.data.Dataset)
    for i in range(3):
        one = make(keys[i], 41, float(noises[i]))
        np.testing.assert_allclose(np.asarray(together.x)[i], one.x, atol=2e-6)
        np.testing.assert_allclose(np.asarray(together.y)[i], one.y, atol=2e-6)
        assert together[2:] == one[2:]


@pytest.mark.usefixtures("strict_promotion")
@pytest.mark.parametrize("name", SETS)
def test_data_are_float32_with_and_without_x64(name, x64):
    data = jax.eval_shape(lambda noise: SETS[name](jax.random.key(0), 10, noise), np.float64(0.1))
    assert data.x.dtype == jnp.float32
    assert data.y.dtype == (jnp.int32 if name in CLASSES else jnp.float32)


@pytest.mark.parametrize("name", SETS)
def test_bad_input(name):
    make, key = SETS[name], jax.random.key(0)
    for size in (1, 0, -3, 2.0, "many", True):
        with pytest.raises(fnn.InputError, match=f"{name}: expected size to be an integer of at least 2, got {size!r}"):
            make(key, size)
    for noise, got in ((-0.1, "-0.1"), (25, "25"), (float("nan"), "nan")):
        with pytest.raises(fnn.InputError, match=rf"{name}: expected noise in \[0, 0.5\], got {got}"):
            make(key, 10, noise)
    with pytest.raises(fnn.InputError, match="expected noise to be a number"):
        make(key, 10, "much")
    with pytest.raises(fnn.InputError, match=rf"{name}: expected one PRNG key, got 0. Pass jax.random.key\(0\)"):
        make(0, 10)
    with pytest.raises(fnn.InputError, match=rf"{name}: expected one PRNG key"):
        make(jax.random.split(key), 10)
