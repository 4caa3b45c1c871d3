"""Transforms and wrappers of optimizers: against Keras over whole paths, by their equations, and their errors."""

from types import SimpleNamespace

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trajectories

import fnn

keras = pytest.importorskip("keras", reason="Keras is the reference here")

K = keras.optimizers


@pytest.mark.parametrize(
    ("clip", "option"),
    [
        (fnn.clip_by_value(0.35), {"clipvalue": 0.35}),
        (fnn.clip_by_norm(0.9), {"clipnorm": 0.9}),
        (fnn.clip_by_global_norm(0.9), {"global_clipnorm": 0.9}),
    ],
    ids=["value", "norm", "global norm"],
)
def test_clipping_matches_keras(clip, option):
    params, noise = trajectories.start(4)
    path, _ = trajectories.ours(fnn.chain(clip, fnn.sgd(0.2, 0.6)), params, noise)
    keras_path, _ = trajectories.keras_s(K.SGD(0.2, 0.6, **option), params, noise)
    trajectories.assert_same_path(path, keras_path, 2e-5)
    unclipped, _ = trajectories.ours(fnn.sgd(0.2, 0.6), params, noise)
    assert not np.allclose(unclipped["kernel"], path["kernel"], atol=0.05)


def test_clipping_keeps_small_gradients_and_zeros(rng):
    grads = {"a": rng.normal(size=3).astype("float32"), "b": np.zeros(2, "float32")}
    for clip in (fnn.clip_by_value(9.0), fnn.clip_by_norm(9.0), fnn.clip_by_global_norm(9.0)):
        updates, state = jax.jit(clip.update)(grads, clip.init(grads))
        np.testing.assert_array_equal(updates["a"], grads["a"])
        np.testing.assert_array_equal(updates["b"], 0)
        assert int(state.step) == 1


def test_global_norm_sums_in_float32_and_keeps_float64(x64):
    tree = {"a": jnp.ones((64, 64), jnp.bfloat16), "b": jnp.array([3.0], jnp.float32)}
    with jax.numpy_dtype_promotion("strict"):
        norm = jax.jit(fnn.global_norm)(tree)
        assert float(norm) == pytest.approx((4096 + 9) ** 0.5)
        assert norm.dtype == jnp.float32
        assert jax.eval_shape(fnn.global_norm, {**tree, "c": np.ones(1)}).dtype == jnp.float64
        assert float(fnn.global_norm({})) == 0


def test_set_hyper_changes_the_limits(rng):
    grads = jnp.array([3.0, 4.0])
    for clip, name in (
        (fnn.clip_by_value, "clip_value"),
        (fnn.clip_by_norm, "clip_norm"),
        (fnn.clip_by_global_norm, "clip_global_norm"),
    ):
        transform = clip(100.0)
        state = fnn.set_hyper(transform.init(grads), **{name: 1.0})
        updates, _ = transform.update(grads, state)
        np.testing.assert_allclose(updates, [1, 1] if name == "clip_value" else [0.6, 0.8], 1e-6)


def test_accumulation_makes_one_update_with_the_mean():
    params, noise = trajectories.start(6)
    path, state = trajectories.ours(fnn.accumulate(fnn.adam(0.1), 3), params, noise)
    # the same by hand
    optimizer, p, gathered = fnn.adam(0.1), jax.tree.map(np.asarray, params), []
    opt_state = optimizer.init(p)
    update = jax.jit(optimizer.update)
    for i in range(trajectories.STEPS):
        gathered.append(trajectories.gradients(p, jax.tree.map(lambda n, i=i: np.asarray(n)[i], noise)))
        if len(gathered) == 3:
            updates, opt_state = update(jax.tree.map(lambda *g: sum(g) / 3, *gathered), opt_state, p)
            p, gathered = jax.tree.map(lambda a, u: a + np.asarray(u), p, updates), []
        np.testing.assert_allclose(np.asarray(path["kernel"])[i], p["kernel"], 1e-5, 1e-6)
    assert int(state.inner.step) == 10
    assert int(state.calls) == 0


def test_accumulation_matches_keras():
    params, noise = trajectories.start(6)
    path, _ = trajectories.ours(fnn.accumulate(fnn.rmsprop(0.05), 3), params, noise)
    keras_path, _ = trajectories.keras_s(K.RMSprop(0.05, gradient_accumulation_steps=3), params, noise)
    trajectories.assert_same_path(path, keras_path, 2e-5)


def test_accumulation_of_an_optax_optimizer():
    params, noise = trajectories.start(6)
    path, _ = trajectories.ours(fnn.accumulate(optax.sgd(0.1, 0.5), 2), params, noise)
    want, _ = trajectories.ours(optax.MultiSteps(optax.sgd(0.1, 0.5), 2), params, noise)
    trajectories.assert_same_path(path, want, 1e-5)


def test_frozen_parameters_are_constant_and_have_no_slots():
    params, noise = trajectories.start(8)
    alone, _ = trajectories.ours(fnn.adam(0.1, weight_decay=0.1), params, noise)
    path, state = trajectories.ours(fnn.freeze(fnn.adam(0.1, weight_decay=0.1), "bias"), params, noise)
    np.testing.assert_array_equal(path["bias"], np.broadcast_to(params["bias"], path["bias"].shape))
    np.testing.assert_allclose(path["kernel"], alone["kernel"], 1e-5, 1e-6)
    assert set(fnn.paths(state.slots)) == {"momentum/kernel", "velocity/kernel"}
    for where in (("b*", "x"), lambda path: path == "bias"):
        same = fnn.freeze(fnn.adam(0.1, weight_decay=0.1), where).init(params)
        assert set(fnn.paths(same.slots)) == {"momentum/kernel", "velocity/kernel"}
    path, _ = trajectories.ours(fnn.freeze(optax.adam(0.1), "bias"), params, noise)
    np.testing.assert_array_equal(path["bias"][-1], params["bias"])


def test_frozen_parameters_do_not_count_in_a_chained_norm():
    params = {"a": jnp.array([3.0]), "b": jnp.array([400.0])}
    optimizer = fnn.freeze(fnn.chain(fnn.clip_by_global_norm(1.0), fnn.sgd(1.0)), "b")
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["a"], [-1])
    np.testing.assert_array_equal(updates["b"], [0])


def test_ema_follows_its_equation_without_changing_training():
    params, noise = trajectories.start(10)
    plain, _ = trajectories.ours(fnn.sgd(0.1), params, noise)
    path, state = trajectories.ours(fnn.ema(fnn.sgd(0.1), 0.8), params, noise)
    np.testing.assert_array_equal(path["kernel"], plain["kernel"])
    average = np.asarray(params["kernel"])
    for p in np.asarray(path["kernel"]):
        average = 0.8 * average + 0.2 * p
    np.testing.assert_allclose(state.average.slots["average"]["kernel"], average, 1e-5, 1e-6)


def test_ema_matches_keras_from_the_first_update():
    # Keras starts the average at the parameters after the first update, we start at those before it.
    params, noise = trajectories.start(10)
    optimizer = fnn.ema(fnn.sgd(0.1), 0.8)
    grads = trajectories.gradients(params, jax.tree.map(lambda n: n[0], noise))
    _, state = optimizer.update(grads, fnn.set_hyper(optimizer.init(params), ema_decay=0.0), params)
    first = fnn.apply_updates(params, jax.tree.map(lambda g: -0.1 * g, grads))
    np.testing.assert_allclose(state.average.slots["average"]["kernel"], first["kernel"], 1e-6)
    rest = jax.tree.map(lambda n: n[1:], noise)
    _, state = trajectories.ours(optimizer, first, rest, fnn.set_hyper(state, ema_decay=0.8))
    _, variables = trajectories.keras_s(K.SGD(0.1, use_ema=True, ema_momentum=0.8), params, noise)
    averages = [value[-1] for name, value in variables.items() if "average" in name]
    assert [a.shape for a in averages] == [(3,), (2, 3)]
    np.testing.assert_allclose(state.average.slots["average"]["bias"], averages[0], 2e-5, 1e-6)
    np.testing.assert_allclose(state.average.slots["average"]["kernel"], averages[1], 2e-5, 1e-6)


def averaged_params(optimizer, params):
    """The averaged parameters after one update with the gradient 1."""
    updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    ts = fnn.TrainState(fnn.apply_updates(params, updates), {}, state, None, jnp.int32(1))
    return fnn.averaged(ts).params, ts.params


@pytest.mark.parametrize("wrap", ["alone", "in chain", "in accumulate"])
def test_averaged_finds_the_average(wrap):
    optimizer = fnn.ema(fnn.sgd(1.0), 0.75)
    optimizer = {
        "alone": optimizer,
        "in chain": fnn.chain(fnn.clip_by_value(9.0), optimizer),
        "in accumulate": fnn.accumulate(optimizer, 1),
    }[wrap]
    average, params = averaged_params(optimizer, {"a": jnp.array([2.0])})
    np.testing.assert_allclose(params["a"], [1])
    np.testing.assert_allclose(average["a"], [0.75 * 2 + 0.25])


def test_averaged_keeps_frozen_parameters():
    average, _ = averaged_params(
        fnn.freeze(fnn.ema(fnn.sgd(1.0), 0.75), "b"), {"a": jnp.array([2.0]), "b": jnp.array([5.0])}
    )
    np.testing.assert_allclose(average["a"], [1.75])
    np.testing.assert_allclose(average["b"], [5])


def test_the_average_does_not_alias_the_parameters():
    params = {"a": jnp.array([2.0])}
    state = fnn.ema(fnn.sgd(1.0)).init(params)
    assert state.average.slots["average"]["a"] is not params["a"]
    assert state.average.slots["average"]["a"].unsafe_buffer_pointer() != params["a"].unsafe_buffer_pointer()


def test_chain_applies_from_left_to_right():
    grads = jnp.array([4.0])
    first = fnn.chain(fnn.clip_by_value(1.0), fnn.sgd(3.0))
    with pytest.warns(RuntimeWarning, match="changes its step"):
        then = fnn.chain(fnn.sgd(3.0), fnn.clip_by_value(1.0))
    assert float(first.update(grads, first.init(grads))[0][0]) == -3
    assert float(then.update(grads, then.init(grads))[0][0]) == -1
    nested = fnn.chain(first, optax.scale(2.0))
    assert float(nested.update(grads, nested.init(grads), grads)[0][0]) == -6


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    "name", ["accumulate", "ema", "freeze", "clip_by_value", "clip_by_norm", "clip_by_global_norm"]
)
def test_the_state_keeps_its_shapes_and_dtypes(name, dtype):
    made = {
        "accumulate": lambda: fnn.accumulate("adam", 2),
        "ema": lambda: fnn.ema("nadam"),
        "freeze": lambda: fnn.freeze("adam", "a"),
    }
    optimizer = made[name]() if name in made else getattr(fnn, name)(1.0)
    params = {"a": jnp.zeros(3, dtype), "b": jnp.zeros((), dtype)}
    with jax.numpy_dtype_promotion("strict"):
        state = jax.eval_shape(optimizer.init, params)
        updates, after = jax.eval_shape(optimizer.update, params, state, params)
    described = [jax.tree.map(lambda a: (a.shape, a.dtype, a.weak_type), tree) for tree in (state, after)]
    assert described[0] == described[1]
    # Clipping keeps the dtype of the gradients; wrappers of a rule return its updates in float32.
    want = dtype if name.startswith("clip") else "float32"
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(updates)} == ({want, dtype} if name == "freeze" else {want})


P = {"a": jnp.ones(2)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.clip_by_value(0), r"clip_by_value: expected limit in \(0, inf\), got 0"),
        (lambda: fnn.clip_by_norm(-1), r"clip_by_norm: expected max_norm in \(0, inf\), got -1"),
        (lambda: fnn.clip_by_global_norm("x"), r"clip_by_global_norm: expected max_norm to be a number, got 'x'"),
        (lambda: fnn.clip_by_norm(1.0).update(P, ()), r"transform: expected the OptState .* got a tuple"),
        (lambda: fnn.accumulate("sgd", 0), r"accumulate: expected every to be an integer of at least 1, got 0"),
        (lambda: fnn.accumulate("sgd", 2.0), r"accumulate: expected every to be an integer of at least 1, got 2\.0"),
        (lambda: fnn.freeze("sgd", "b*").init(P), r"freeze: expected a pattern .*got 'b\*'\. Paths: \['a'\]"),
        (lambda: fnn.ema("sgd", 1.5), r"ema: expected decay in \[0, 1\], got 1\.5"),
        (
            lambda: fnn.ema("sgd").update(P, fnn.ema("sgd").init(P)),
            r"ema: expected the parameters, got None\. Call update",
        ),
        (lambda: fnn.averaged(SimpleNamespace(opt_state=fnn.sgd().init(P))), r"averaged: .*ema.*, got an OptState"),
        (lambda: fnn.chain(fnn.sgd(0.1), "adm"), r"optimizer: .* got 'adm'"),
        (lambda: fnn.chain(jnp.sin), r"got the function sin"),
        (lambda: fnn.chain(fnn.clip_by_norm(1.0), "sgd").update(P, ()), r"chain: .* 2 parts .*, got a tuple"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


@pytest.mark.parametrize(
    "wrap",
    [lambda o: o, lambda o: fnn.chain(fnn.clip_by_norm(1.0), o), lambda o: fnn.accumulate(o, 1), lambda o: fnn.ema(o)],
)
def test_the_state_of_another_model_is_refused(wrap):
    optimizer, other = wrap(fnn.adam()), {"a": jnp.ones(3)}
    state = optimizer.init(P)
    if hasattr(state, "total"):
        state = state._replace(total=other)
    if hasattr(state, "average"):
        state = state._replace(average=state.average._replace(slots={"average": other}))
    with pytest.raises(
        fnn.InputError,
        match=r"an optimizer state for these parameters, with momentum/a of shape \(3,\), got float32\[2\]",
    ):
        optimizer.update(other, state, other)


def test_accumulate_sums_half_precision_in_float32():
    params = jnp.zeros(2, jnp.bfloat16)
    optimizer = fnn.accumulate(fnn.sgd(1.0), 300)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for _ in range(300):
        updates, state = update(jnp.array([1.0, 0.5], jnp.bfloat16), state, params)
    # A sum in bfloat16 would stop growing at 256.
    assert updates.dtype == jnp.float32
    assert updates.tolist() == [-1.0, -0.5]


def test_the_name_of_a_layer_matches_all_its_parameters():
    params = {"dense": {"kernel": jnp.ones(2)}, "dense_1": {"kernel": jnp.ones(2)}}
    optimizer = fnn.freeze(fnn.sgd(1.0), "dense")
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert updates["dense"]["kernel"].tolist() == [0, 0]
    assert updates["dense_1"]["kernel"].tolist() == [-1, -1]


def test_ema_in_half_precision_moves():
    params, optimizer = jnp.ones(1, jnp.bfloat16), fnn.ema(fnn.sgd(0.0), 0.999)
    state, update = optimizer.init(jnp.zeros(1, jnp.bfloat16)), jax.jit(optimizer.update)
    for _ in range(100):
        _, state = update(jnp.zeros(1, jnp.bfloat16), state, params)
    assert float(state.average.slots["average"][0]) == pytest.approx(1 - 0.999**100, 1e-3)


# -------------------------------------------------------------------------------------------------------------- norms
VECTORS = [(3e20, 4e20), (3e38, 3e38), (3e-30, 4e-30), (3e-20, 4e-20), (3e38, 1e-30), (2e-38, 0.0), (3.0, 4.0)]


@jax.jit
def norm_slope_and_clipped(g, limit):
    norm, slope = jax.value_and_grad(fnn.global_norm)({"a": g[:1], "b": g[1:]})
    clips = fnn.clip_by_norm(limit), fnn.clip_by_global_norm(limit)
    return norm, [*slope["a"], *slope["b"]], [clip.update(g, clip.init(g))[0] for clip in clips]


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_norms_are_accurate_for_huge_and_tiny_values(vector):
    g = np.array(vector, "float32")
    exact = g.astype("float64")
    size = np.sqrt(np.square(exact).sum())
    for limit in (1.0, 1e-3, 1e-25, 1e30):
        norm, slope, clipped = norm_slope_and_clipped(g, limit)
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(norm, np.float32(size), 1e-6)
        np.testing.assert_allclose(slope, exact / size, 1e-6, 1e-30)
        for updates in clipped:
            np.testing.assert_allclose(updates, exact * min(1, limit / size), 1e-6, 1e-37)


CLIP_TO_2 = jax.jit(fnn.clip_by_global_norm(2.0).update)


@hypothesis.given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.integers(-120, 126))
def test_clipping_by_global_norm_against_float64(values, power):
    exact = np.ldexp(np.array(values), power).astype(np.float32).astype("float64")
    updates, _ = CLIP_TO_2(jnp.asarray(exact, jnp.float32), fnn.clip_by_global_norm(2.0).init(0.0))
    np.testing.assert_allclose(updates, exact * min(1, 2 / max(np.linalg.norm(exact), 1e-300)), 2e-6, 2e-38)


def test_norms_of_float64_and_of_half_precision(x64):
    norm_of, clip = jax.jit(fnn.global_norm), fnn.clip_by_norm(1e-3)
    update = jax.jit(clip.update)
    for vector in ((3e200, 4e200), (3e-200, 4e-200), (3.0, 4.0)):
        np.testing.assert_allclose(norm_of(np.array(vector)), 5 * vector[0] / 3, 1e-14)
    for dtype, vector in (("float16", (3e4, 4e4)), ("float16", (3e-6, 4e-6)), ("bfloat16", (3e30, 4e30))):
        g = jnp.asarray(np.array(vector), dtype)
        norm = norm_of(g)
        assert norm.dtype == jnp.float32
        np.testing.assert_allclose(norm, np.linalg.norm(np.asarray(g, "float64")), 1e-6)
        updates, _ = update(g, clip.init(g))
        assert updates.dtype == jnp.dtype(dtype)
        want = np.asarray(g, "float64") * min(1, 1e-3 / float(norm))
        np.testing.assert_allclose(np.asarray(updates, "float64"), want, 1e-2)


def test_clipping_propagates_nan_and_infinity_as_optax_does():
    theirs = jax.jit(optax.clip_by_global_norm(1.0).update)
    ours = [(clip, jax.jit(clip.update)) for clip in (fnn.clip_by_norm(1.0), fnn.clip_by_global_norm(1.0))]
    for g in (np.array([1.0, np.nan], "float32"), np.array([1.0, np.inf], "float32")):
        want, _ = theirs(g, optax.EmptyState())
        for clip, update in ours:
            updates, _ = update(g, clip.init(g))
            np.testing.assert_array_equal(updates, want)
            assert np.isnan(np.asarray(updates)[1])


def test_gradients_through_norms_are_finite_everywhere():
    vectors = np.array([(0.0, 0.0), *VECTORS], "float32")
    clip = fnn.clip_by_global_norm(1.0)
    weighted = jax.grad(lambda g: clip.update(g, clip.init(g))[0] @ jnp.array([1.0, 2.0]))
    clipped, norms = jax.jit(jax.vmap(lambda g: (weighted(g), jax.grad(fnn.global_norm)(g))))(vectors)
    assert np.isfinite(clipped).all()
    np.testing.assert_allclose(np.asarray(norms)[0], [0, 0])


# ---------------------------------------------------------------------------------------------------- half precision
@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "make",
    [
        lambda: fnn.chain(fnn.clip_by_global_norm(0.01), fnn.adam(0.01)),
        lambda: fnn.chain(fnn.clip_by_norm(0.01), optax.trace(0.9), optax.scale(-0.1)),
        lambda: fnn.chain(fnn.sgd(0.1), optax.trace(0.9)),
        lambda: fnn.accumulate(fnn.rmsprop(0.01), 3),
        lambda: fnn.accumulate(optax.adam(0.01), 3),
        lambda: fnn.ema(optax.sgd(0.1, momentum=0.9), 0.9),
        lambda: fnn.freeze(optax.adam(0.01), "b"),
        lambda: optax.chain(optax.clip(1.0), fnn.adam(0.01, weight_decay=0.1)),
    ],
    ids=["clip", "optax", "into optax", "accumulate", "accumulate optax", "ema", "freeze", "in optax"],
)
def test_wrappers_in_half_precision_match_float32(make, dtype, rng):
    optimizer, params = make(), {"a": jnp.asarray(np.ones(3), dtype), "b": jnp.asarray(np.ones(2), dtype)}
    noise = {name: jnp.asarray(rng.normal(size=(50, *p.shape)) * 1e-3, dtype) for name, p in params.items()}

    def run(params, noise):
        def body(state, g):
            updates, state = optimizer.update(g, state, params)
            return state, updates

        return jax.lax.scan(body, optimizer.init(params), noise)

    wide = jax.tree.map(lambda a: np.asarray(a, "float32"), (params, noise))
    (state, updates), (_, want) = jax.jit(lambda *pairs: [run(*pair) for pair in pairs])((params, noise), wide)
    np.testing.assert_allclose(updates["a"], want["a"], 1e-5, 1e-9)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype("float32"), jnp.dtype("int32")}


def test_ema_averages_the_rounded_parameters():
    params, optimizer = jnp.ones(1, jnp.bfloat16), fnn.ema(fnn.sgd(1.0), 0.5)
    _, state = optimizer.update(jnp.full(1, 1e-3, jnp.bfloat16), optimizer.init(params), params)
    assert state.average.slots["average"].tolist() == [1.0]  # the update is lost beside 1
