"""BatchNorm and LayerNorm: against Keras in value, gradient and running statistics, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

keras = pytest.importorskip("keras", reason="Keras is the reference here")


def randomize(tree, rng):
    return {
        name: (rng.uniform(0.5, 2, a.shape) if "variance" in name else rng.normal(size=a.shape)).astype("float32")
        for name, a in tree.items()
    }


CASES = [
    ((6, 3), {}),
    ((4, 2, 3), {"momentum": 0.6, "epsilon": 0.1}),
    ((3, 2, 2, 4), {"center": False, "momentum": 0.8}),
    ((5, 3), {"scale": False, "momentum": 0.9}),
]


@pytest.mark.parametrize(("shape", "options"), CASES, ids=str)
def test_batch_norm_matches_keras_over_several_updates(shape, options, rng):
    ours, theirs = fnn.BatchNorm(**options), keras.layers.BatchNormalization(**options)
    theirs.build(shape)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    params, state = jax.jit(lambda key: ours.init(key, x))(jax.random.key(0))
    assert {**params, **state}.keys() == {v.name for v in theirs.weights}
    for variable in theirs.weights:
        np.testing.assert_array_equal({**params, **state}[variable.name], variable.value)
    params, state = randomize(params, rng), randomize(state, rng)
    trained = [params[v.name] for v in theirs.trainable_variables]
    other = [state[v.name] for v in theirs.non_trainable_variables]
    cotangent = rng.normal(size=shape).astype("float32")

    @jax.jit
    def both(state, other, x):
        out = []
        for train in (True, False):
            y, back, new = jax.vjp(
                lambda p, x, train=train: ours.apply(p, state, x, train=train), params, x, has_aux=True
            )

            def call(w, x, train=train):
                return theirs.stateless_call(w, other, x, training=train)

            keras_y, keras_back, keras_new = jax.vjp(call, trained, x, has_aux=True)
            out.append(((y, back(cotangent), new), (keras_y, keras_back(cotangent), keras_new)))
        return out

    for _ in range(4):
        x = (rng.normal(size=shape) * 2 + 1).astype("float32")
        results = both(state, other, x)
        for (y, (slope, x_slope), new), (keras_y, (keras_slope, keras_x_slope), keras_new) in results:
            np.testing.assert_allclose(y, keras_y, 1e-5, 1e-5)
            np.testing.assert_allclose(x_slope, keras_x_slope, 1e-4, 1e-5)
            for i, variable in enumerate(theirs.trainable_variables):
                np.testing.assert_allclose(slope[variable.name], keras_slope[i], 1e-5, 1e-5)
            for i, variable in enumerate(theirs.non_trainable_variables):
                np.testing.assert_allclose(new[variable.name], keras_new[i], 1e-5, 1e-6)
        (state, other), evaluated = (results[0][0][2], results[0][1][2]), results[1][0][2]
        assert set(evaluated) == {"moving_mean", "moving_variance"}
    assert not np.allclose(results[0][0][0], results[1][0][0], atol=0.05), "training and evaluation must differ"


def test_evaluation_leaves_the_statistics_alone(rng):
    layer = fnn.BatchNorm()
    x = jnp.asarray(rng.normal(size=(4, 3)).astype("float32"))
    params, state = jax.tree.map(lambda a: np.full(a.shape, 2, a.dtype), jax.eval_shape(layer.init, KEY, x))
    _, after = layer.apply(params, state, x)
    for name in state:
        np.testing.assert_array_equal(after[name], state[name])


@pytest.mark.parametrize(
    ("shape", "options"),
    [((4, 5), {}), ((2, 3, 4), {"epsilon": 0.2}), ((3, 4), {"center": False}), ((3, 4), {"scale": False})],
    ids=str,
)
def test_layer_norm_matches_keras(shape, options, rng):
    ours, theirs = fnn.LayerNorm(**options), keras.layers.LayerNormalization(**options)
    theirs.build(shape)
    params, state = jax.eval_shape(ours.init, jax.random.key(0), np.ones(shape, "float32"))
    assert state == {}
    assert set(params) == {v.name for v in theirs.weights}
    params = randomize(params, rng)
    weights = [params[v.name] for v in theirs.weights]
    x, cotangent = ((rng.normal(size=shape) * 3 - 1).astype("float32") for _ in "xc")

    @jax.jit
    def both(x):
        y, back = jax.vjp(lambda p, x: ours.apply(p, {}, x)[0], params, x)
        keras_y, keras_back = jax.vjp(lambda w, x: theirs.stateless_call(w, [], x)[0], weights, x)
        return (y, back(cotangent)), (keras_y, keras_back(cotangent))

    (y, (slope, x_slope)), (keras_y, (keras_slope, keras_x_slope)) = both(x)
    np.testing.assert_allclose(y, keras_y, 1e-5, 1e-5)
    np.testing.assert_allclose(x_slope, keras_x_slope, 1e-4, 1e-5)
    for i, variable in enumerate(theirs.weights):
        np.testing.assert_allclose(slope[variable.name], keras_slope[i], 1e-5, 1e-5)


def test_a_large_mean_does_not_cancel(rng):
    # E[x^2] - E[x]^2 would lose every digit of the variance here.
    x = (rng.normal(size=(64, 3)) + 3000).astype("float32")

    @jax.jit
    def both(x):
        return fnn.batch_norm({}, STATS, x, train=True, momentum=0.0), fnn.layer_norm({}, x.T)

    (y, stats), by_rows = both(x)
    want = np.asarray(x, "float64")
    np.testing.assert_allclose(stats["moving_variance"], want.var(0), 1e-3)
    np.testing.assert_allclose(y, (want - want.mean(0)) / np.sqrt(want.var(0) + 1e-3), atol=2e-3)
    rows = want.T
    np.testing.assert_allclose(
        by_rows, (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-3), atol=2e-3
    )


def test_half_precision_is_normalized_in_float32(rng):
    x = jnp.asarray((rng.normal(size=(200, 2)) + 8).astype("bfloat16"))
    wide = np.asarray(x, "float64")
    y, _ = fnn.batch_norm({}, fnn.batch_norm_init(2, dtype=jnp.bfloat16)[1], x, train=True)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(y, "float64"), (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-3), atol=0.02)


def test_momentum_and_epsilon_may_be_traced(rng):
    x = rng.normal(size=(5, 3)).astype("float32")

    @jax.jit
    @jax.vmap
    def swept(momentum, epsilon):
        return fnn.batch_norm({}, STATS, x, train=True, momentum=momentum, epsilon=epsilon)

    y, stats = swept(np.array([0, 1], "float32"), np.array([0.1, 0.5], "float32"))
    np.testing.assert_allclose(stats["moving_mean"], [x.mean(0), [0, 0, 0]], 1e-5)
    want = [(x - x.mean(0)) / np.sqrt(x.var(0) + epsilon) for epsilon in (0.1, 0.5)]
    np.testing.assert_allclose(y, want, 1e-5, 1e-6)


def test_layer_norm_of_one_vector_inside_vmap(rng):
    x = rng.normal(size=(5, 4)).astype("float32")
    params = {"gamma": np.arange(4, dtype="float32"), "beta": np.ones(4, "float32")}
    both = jax.jit(lambda x: (jax.vmap(lambda row: fnn.layer_norm(params, row))(x), fnn.layer_norm(params, x)))
    np.testing.assert_allclose(*both(x), 1e-5)


def test_initializers_of_layer_norm():
    params = fnn.layer_norm_init(jax.random.key(0), 5, gamma_initializer="normal", beta_initializer="normal")
    assert not np.array_equal(params["gamma"], params["beta"]), "they must not share a key"


STATS = fnn.batch_norm_init(3)[1]
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.BatchNorm(momentum=1.5), r"BatchNorm: expected momentum in \[0, 1\], got 1\.5"),
        (lambda: fnn.BatchNorm(epsilon=-1), r"BatchNorm: expected epsilon in \[0, 1\], got -1"),
        (lambda: fnn.LayerNorm(epsilon=-1), r"LayerNorm: expected epsilon in \[0, 1\], got -1"),
        (
            lambda: fnn.BatchNorm().init(KEY, jnp.ones(3)),
            r"BatchNorm: expected x of shape \(batch, \.\.\., features\), got float32\[3\]",
        ),
        (
            lambda: fnn.LayerNorm().init(KEY, jnp.ones(())),
            r"LayerNorm: expected x of shape \(batch, \.\.\., features\), got float32\[\]",
        ),
        (
            lambda: fnn.batch_norm({}, STATS, jnp.ones((2, 4))),
            r"batch_norm: expected x of shape \(batch, \.\.\., 3\) for its statistics, got float32\[2, 4\]",
        ),
        (
            lambda: fnn.batch_norm({}, STATS, jnp.ones(3)),
            r"batch_norm: expected x of shape \(batch, \.\.\., 3\) for its statistics",
        ),
        (
            lambda: fnn.batch_norm({}, {}, jnp.ones((2, 3))),
            r"batch_norm: expected parameters with a leaf 'moving_mean', got \[\]",
        ),
        (
            lambda: fnn.batch_norm({}, STATS, jnp.ones((2, 3), int)),
            r"batch_norm: expected a floating-point x, got int32\[2, 3\]",
        ),
        (
            lambda: fnn.batch_norm({"gamma": jnp.ones(4)}, STATS, jnp.ones((2, 3))),
            r"expected x of shape \(batch, \.\.\., 4\) for its gamma",
        ),
        (
            lambda: fnn.batch_norm({"beta": jnp.ones(3, jnp.bfloat16)}, STATS, jnp.ones((2, 3))),
            r"expected x of dtype bfloat16, the dtype of its beta",
        ),
        (
            lambda: fnn.layer_norm({"beta": jnp.ones(4)}, jnp.ones((2, 3))),
            r"layer_norm: expected x of shape \(batch, \.\.\., 4\) for its beta, got float32\[2, 3\]",
        ),
        (
            lambda: fnn.layer_norm({}, jnp.ones(())),
            r"layer_norm: expected x of shape \(\.\.\., features\), got float32\[\]",
        ),
        (lambda: fnn.layer_norm({}, jnp.ones((2, 3), int)), r"layer_norm: expected a floating-point x, got int32"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_running_values_converge_to_those_of_the_data(dtype):
    layer, x = fnn.BatchNorm(), np.array([[1.0, 10.0], [5.0, -2.0]], dtype)

    @jax.jit
    def run(key, x):
        params, state = layer.init(key, x)
        state = jax.lax.fori_loop(0, 5000, lambda _, state: layer.apply(params, state, x, train=True)[1], state)
        return params, state, layer.apply(params, state, x)[0]

    params, state, y = run(jax.random.key(0), x)
    assert {leaf.dtype for leaf in state.values()} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in params.values()} == {jnp.dtype(dtype)}
    np.testing.assert_allclose(state["moving_mean"], [3, 4], 1e-4)
    np.testing.assert_allclose(state["moving_variance"], [4, 36], 1e-4)
    assert y.dtype == jnp.dtype(dtype)
    np.testing.assert_allclose(np.asarray(y, "float32"), [[-1, 1], [1, -1]], 0.01)


def test_running_values_are_float32_at_least(x64):
    for dtype, want in (
        ("bfloat16", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ):
        x = jax.ShapeDtypeStruct((2, 2), dtype)
        for stats in (
            jax.eval_shape(lambda dtype=dtype: fnn.batch_norm_init(2, dtype=jnp.dtype(dtype))[1]),
            jax.eval_shape(fnn.BatchNorm(dtype=dtype).init, jax.random.key(0), x)[1],
        ):
            assert {leaf.dtype for leaf in stats.values()} == {jnp.dtype(want)}
    # Half-precision ones, such as those of an earlier version, are widened.
    narrow = jax.tree.map(lambda a: np.asarray(a, "bfloat16"), STATS)
    x = jax.ShapeDtypeStruct((3, 3), jnp.bfloat16)
    _, stats = jax.eval_shape(lambda narrow, x: fnn.batch_norm({}, narrow, x, train=True), narrow, x)
    assert {leaf.dtype for leaf in stats.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1, True, None, "0.5", 1j], ids=repr)
def test_momentum_and_epsilon_out_of_range(bad):
    x = jnp.ones((2, 3))
    for call, message in (
        (lambda: fnn.BatchNorm(momentum=bad), "BatchNorm: expected momentum"),
        (lambda: fnn.BatchNorm(epsilon=bad), "BatchNorm: expected epsilon"),
        (lambda: fnn.LayerNorm(epsilon=bad), "LayerNorm: expected epsilon"),
        (lambda: fnn.batch_norm({}, STATS, x, momentum=bad), "batch_norm: expected momentum"),
        (lambda: fnn.batch_norm({}, STATS, x, epsilon=bad), "batch_norm: expected epsilon"),
        (lambda: fnn.layer_norm({}, x, epsilon=bad), "layer_norm: expected epsilon"),
    ):
        with pytest.raises(fnn.InputError, match=message):
            call()


def test_no_false_alarm_under_strict_settings():
    x = np.array([[1, 0], [0, 0], [0, 0]], "float32")
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        for layer in (fnn.BatchNorm(), fnn.LayerNorm()):
            params, state = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), jax.eval_shape(layer.init, KEY, x))

            def loss(params, layer=layer, state=state):
                return sum(layer.apply(params, state, x, train=train)[0].sum() for train in (True, False))

            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(params)))


NEW_CASES = [
    (fnn.RMSNorm(), "RMSNormalization", {}, (4, 3, 5)),
    (fnn.RMSNorm(0.5), "RMSNormalization", {"epsilon": 0.5}, (6, 5)),
    (fnn.GroupNorm(2), "GroupNormalization", {"groups": 2}, (3, 2, 4, 6)),
    (
        fnn.GroupNorm(-1, 0.1, center=False),
        "GroupNormalization",
        {"groups": -1, "epsilon": 0.1, "center": False},
        (3, 4, 6),
    ),
]


@pytest.mark.parametrize(("ours", "kind", "options", "shape"), NEW_CASES, ids=lambda case: str(case)[:24])
def test_rms_and_group_norm_equal_keras(ours, kind, options, shape, rng):
    theirs = getattr(keras.layers, kind)(**options)
    theirs.build(shape)
    x = (rng.normal(size=shape) * 2 + 1).astype("float32")
    params, state = jax.eval_shape(ours.init, KEY, x)
    assert state == {}
    assert params.keys() == {v.name for v in theirs.weights}
    params = randomize(params, rng)
    weights = [params[v.name] for v in theirs.weights]
    cotangent = rng.normal(size=shape).astype("float32")

    @jax.jit
    def both(params, weights, x):
        y, back = jax.vjp(lambda params, x: ours.apply(params, {}, x)[0], params, x)
        right, right_back = jax.vjp(lambda weights, x: theirs.stateless_call(weights, [], x)[0], weights, x)
        return (y, back(cotangent)), (right, right_back(cotangent))

    (y, (slope, x_slope)), (right, (right_slope, right_x_slope)) = both(params, weights, x)
    np.testing.assert_allclose(y, right, 1e-5, 1e-5)
    np.testing.assert_allclose(x_slope, right_x_slope, 1e-4, 2e-5)
    for v, want in zip(theirs.weights, right_slope, strict=True):
        np.testing.assert_allclose(slope[v.name], want, 1e-5, 2e-5)


def test_rms_and_group_norm_equal_torch(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the second reference")
    x = (rng.normal(size=(3, 2, 4, 6)) * 3 + 1).astype("float32")
    gamma, beta = rng.normal(size=(2, 6)).astype("float32")
    right = torch.nn.functional.group_norm(
        torch.tensor(x.transpose(0, 3, 1, 2), dtype=torch.float64),
        3,
        *map(torch.tensor, (gamma.astype(float), beta.astype(float))),
        1e-3,
    )
    y = fnn.group_norm({"gamma": gamma, "beta": beta}, jnp.asarray(x), 3)
    np.testing.assert_allclose(y, right.numpy().transpose(0, 2, 3, 1), 1e-5, 1e-5)
    right = torch.nn.functional.rms_norm(
        torch.tensor(x, dtype=torch.float64), (6,), torch.tensor(gamma.astype(float)), 1e-6
    )
    np.testing.assert_allclose(fnn.rms_norm({"scale": gamma}, jnp.asarray(x)), right, 1e-5, 1e-5)


def test_rms_and_group_norm_refuse():
    x = np.ones((2, 3, 6), "f")
    for call, message in (
        (lambda: fnn.GroupNorm(), None),
        (lambda: fnn.summary(fnn.GroupNorm(), x), r"GroupNorm: .*divides the 6 features, got 32\. Pass groups=\.\.\."),
        (lambda: fnn.GroupNorm(0), "GroupNorm: expected groups to be an integer of at least 1, got 0"),
        (
            lambda: fnn.group_norm({}, x, 4),
            "group_norm: expected a number of groups that divides the 6 features, got 4",
        ),
        (lambda: fnn.group_norm({"gamma": x[0, 0, :3]}, x, 2), r"group_norm: .*\(batch, \.\.\., 3\) for its gamma"),
        (
            lambda: fnn.summary(fnn.GroupNorm(2), fnn.Masked(x, x[..., 0] > 0)),
            "GroupNorm: expected one array, got Masked",
        ),
        (lambda: fnn.rms_norm({"scale": x[0, 0, :3]}, x), r"rms_norm: expected x of shape \(batch, \.\.\., 3\)"),
        (lambda: fnn.rms_norm({}, x), "rms_norm: expected parameters with a leaf 'scale'"),
        (lambda: fnn.RMSNorm(-1), "RMSNorm: expected epsilon"),
    ):
        if message is None:
            call()
            continue
        with pytest.raises(fnn.InputError, match=message):
            call()
