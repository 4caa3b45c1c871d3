"""Optimizers: against Keras over whole paths, the protocol with optax, hyper-parameters as leaves, and their errors."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import registry
import trajectories
from helpers import few

import fnn
from fnn.optimizers.rules import OPTIMIZERS, get_optimizer

keras = pytest.importorskip("keras", reason="Keras is the reference here")

K = keras.optimizers
# our optimizer, Keras's, fixed options, and hyper-parameters to draw, which have the same name in both
RULES = {
    "sgd": (fnn.sgd, K.SGD, {}, ()),
    "sgd momentum": (fnn.sgd, K.SGD, {}, ("momentum",)),
    "sgd nesterov": (fnn.sgd, K.SGD, {"nesterov": True}, ("momentum",)),
    "rmsprop": (fnn.rmsprop, K.RMSprop, {}, ("rho", "epsilon")),
    "rmsprop momentum": (fnn.rmsprop, K.RMSprop, {}, ("rho", "epsilon", "momentum")),
    "rmsprop centered": (fnn.rmsprop, K.RMSprop, {"centered": True}, ("rho", "epsilon")),
    "rmsprop centered momentum": (fnn.rmsprop, K.RMSprop, {"centered": True}, ("rho", "epsilon", "momentum")),
    "adagrad": (fnn.adagrad, K.Adagrad, {}, ("initial_accumulator_value", "epsilon")),
    "adadelta": (fnn.adadelta, K.Adadelta, {}, ("rho", "epsilon")),
    "adam": (fnn.adam, K.Adam, {}, ("beta_1", "beta_2", "epsilon")),
    "adam amsgrad": (fnn.adam, K.Adam, {"amsgrad": True}, ("beta_1", "beta_2", "epsilon")),
    "adamw": (fnn.adamw, K.AdamW, {}, ("beta_1", "beta_2", "epsilon")),
    "adamax": (fnn.adamax, K.Adamax, {}, ("beta_1", "beta_2", "epsilon")),
    "nadam": (fnn.nadam, K.Nadam, {}, ("beta_1", "beta_2", "epsilon")),
}
RANGES = {
    "momentum": (0.3, 0.95),
    "rho": (0.6, 0.97),
    "beta_1": (0.5, 0.95),
    "beta_2": (0.8, 0.999),
    "initial_accumulator_value": (0.05, 1.0),
}


def draw(names, rng):
    """Random hyper-parameters; epsilons are large enough for their place in the equation to matter."""
    values = {name: float(rng.uniform(*RANGES[name])) for name in names if name != "epsilon"}
    return values | ({"epsilon": float(10 ** rng.uniform(-4, -1))} if "epsilon" in names else {})


@pytest.fixture
def float64(x64):
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


# Each optimizer with most of its options.
FULL = ("sgd nesterov", "rmsprop centered momentum", "adagrad", "adadelta", "adam amsgrad", "adamax", "nadam")


def slow_unless(names, chosen):
    return [pytest.param(name, marks=() if name in chosen else pytest.mark.slow) for name in names]


# Every rule once by default, `FULL` with both decays, whose code all rules share; the other pairs are slow.
EXTRAS = ("plain", "decay", "weight_decay", "decay and weight_decay")
PAIRS = [
    pytest.param(name, extra, marks=() if extra == EXTRAS[-1 if name in FULL else 0] else pytest.mark.slow)
    for name in RULES
    for extra in EXTRAS
]


@pytest.mark.parametrize(("name", "extra"), PAIRS)
def test_thirty_steps_match_keras_to_nine_digits(name, extra, float64):
    make, theirs, fixed, drawn = RULES[name]
    rng = np.random.default_rng(len(name))
    hyper, rate = fixed | draw(drawn, rng), float(10 ** rng.uniform(-2, -0.5))
    keras_hyper, keras_rate = dict(hyper), rate
    if extra.startswith("decay"):
        hyper["decay"] = 0.13
        keras_rate = K.schedules.InverseTimeDecay(rate, 1, 0.13)
    if extra.endswith("weight_decay"):
        hyper["weight_decay"] = keras_hyper["weight_decay"] = 0.21
    params, noise = trajectories.start(len(name))
    path, state = trajectories.ours(make(rate, **hyper), params, noise)
    keras_path, _ = trajectories.keras_s(theirs(keras_rate, **keras_hyper), params, noise)
    trajectories.assert_same_path(path, keras_path)
    assert int(state.step) == trajectories.STEPS


@pytest.mark.parametrize("name", slow_unless(FULL, ("rmsprop centered momentum", "nadam")))
def test_thirty_steps_match_keras_in_float32(name):
    make, theirs, fixed, drawn = RULES[name]
    hyper = fixed | draw(drawn, np.random.default_rng(3))
    params, noise = trajectories.start(3)
    path, _ = trajectories.ours(make(0.02, **hyper), params, noise)
    keras_path, _ = trajectories.keras_s(theirs(0.02, **hyper), params, noise)
    trajectories.assert_same_path(path, keras_path, 2e-5)


def test_weight_decay_applies_only_to_chosen_parameters(float64):
    params, noise = trajectories.start(5)
    theirs = K.Adam(0.05, weight_decay=0.3)
    theirs.exclude_from_weight_decay(var_names=["bias"])
    keras_path, _ = trajectories.keras_s(theirs, params, noise)
    path, _ = trajectories.ours(fnn.adam(0.05, weight_decay=0.3, weight_decay_where="*kernel"), params, noise)
    trajectories.assert_same_path(path, keras_path)
    # A gradient of 0 shows the decay alone.
    zeros = jax.tree.map(np.zeros_like, params)
    for where, bias in (("*kernel", 0), (("ker*", "nothing"), 0), (lambda path: path == "kernel", 0), ("*", -0.06)):
        optimizer = fnn.sgd(0.2, weight_decay=0.3, weight_decay_where=where)
        updates, _ = jax.jit(optimizer.update)(zeros, optimizer.init(params), params)
        np.testing.assert_allclose(updates["kernel"], -0.06 * np.asarray(params["kernel"]))
        np.testing.assert_allclose(updates["bias"], bias * np.asarray(params["bias"]))


def test_defaults():
    rates = {
        "sgd": 0.01,
        "rmsprop": 0.001,
        "adagrad": 0.01,
        "adadelta": 1,
        "adam": 0.001,
        "adamax": 0.002,
        "nadam": 0.002,
    }
    for name, make in OPTIMIZERS.items():
        ours, theirs = inspect.signature(make).parameters, inspect.signature(getattr(K, make.__name__.title(), K.SGD))
        if name in ("sgd", "rmsprop"):
            theirs = inspect.signature({"sgd": K.SGD, "rmsprop": K.RMSprop}[name])
        assert ours["learning_rate"].default == rates[name]
        for parameter in (
            "momentum",
            "rho",
            "beta_1",
            "beta_2",
            "epsilon",
            "initial_accumulator_value",
            "nesterov",
            "centered",
            "amsgrad",
        ):
            if parameter in ours:
                assert ours[parameter].default == theirs.parameters[parameter].default, (name, parameter)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_signatures_conform(name):
    parameters = inspect.signature(OPTIMIZERS[name]).parameters
    assert next(iter(parameters)) == "learning_rate"
    *named, decays = parameters.values()
    assert (decays.name, decays.kind) == ("decays", inspect.Parameter.VAR_KEYWORD)
    assert all(p.default is not inspect.Parameter.empty for p in named)
    with pytest.raises(TypeError, match=rf"{name}\(\) .* 'weight_deca'. Did you mean 'weight_decay'\?"):
        OPTIMIZERS[name](weight_deca=0.1)
    optimizer = OPTIMIZERS[name]()
    assert optimizer == OPTIMIZERS[name](decay=0.0, weight_decay=0.0, weight_decay_where="*")
    assert optimizer != OPTIMIZERS[name](decay=0.5)
    assert isinstance(optimizer, fnn.Optimizer)
    assert list(inspect.signature(optimizer.init).parameters) == ["params"]
    update = inspect.signature(optimizer.update).parameters
    assert list(update) == ["grads", "state", "params"]
    assert update["params"].default is None
    numbers = {"learning_rate", "rho", "beta_1", "beta_2", "epsilon"} & set(parameters)
    assert set(optimizer.init(jnp.zeros(2)).hyper) == numbers


@pytest.mark.parametrize("name", RULES)
def test_the_state_keeps_its_shapes_and_dtypes(name):
    make, _, fixed, drawn = RULES[name]
    optimizer = make(0.1, **fixed, **draw(drawn, np.random.default_rng(0)))
    for dtype in (jnp.float32, jnp.bfloat16):
        params = {"a": jnp.zeros(3, dtype), "b": jnp.zeros((), dtype)}
        state = jax.eval_shape(optimizer.init, params)
        with jax.numpy_dtype_promotion("strict"):
            updates, after = jax.eval_shape(optimizer.update, params, state, params)
            new = jax.eval_shape(fnn.apply_updates, params, updates)
        described = [jax.tree.map(lambda a: (a.shape, a.dtype, a.weak_type), tree) for tree in (state, after)]
        assert described[0] == described[1]
        assert jax.tree.structure(state) == jax.tree.structure(after)
        assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype(dtype)}
        assert {leaf.dtype for leaf in jax.tree.leaves((updates, state.slots, state.hyper))} == {jnp.dtype("float32")}


def test_bfloat16_parameters_are_updated_in_float32_arithmetic():
    params, noise = trajectories.start(7)
    small = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.bfloat16), (params, noise))
    path, state = trajectories.ours(fnn.adam(0.05), *small)
    wide, _ = trajectories.ours(fnn.adam(0.05), *jax.tree.map(lambda a: jnp.asarray(np.asarray(a), "float32"), small))
    assert path["kernel"].dtype == jnp.bfloat16
    assert state.slots["velocity"]["kernel"].dtype == jnp.float32
    # in bfloat16 beta_2 = 0.999 would be 1, and v would stay 0
    np.testing.assert_allclose(path["kernel"].astype(jnp.float32), wide["kernel"], atol=0.05)


def test_centered_rmsprop_stays_finite_where_the_gradient_hardly_changes():
    # v - m^2 is 0 then, and in float32 often a little less: without a floor the root is NaN.
    optimizer = fnn.rmsprop(1e-3, centered=True)
    grads = jnp.asarray(np.random.default_rng(0).lognormal(sigma=4, size=2000).astype("float32"))

    @jax.jit
    def run(state):
        return jax.lax.scan(lambda state, _: optimizer.update(grads, state)[::-1], state, None, length=200)

    _, deltas = run(optimizer.init(grads))
    assert np.isfinite(deltas).all()


# ------------------------------------------------------------------------------------------------------------- optax
def test_an_fnn_optimizer_in_an_optax_loop_and_in_optax_chain():
    params, noise = trajectories.start(1)
    want, _ = trajectories.ours(fnn.chain(fnn.clip_by_global_norm(0.8), fnn.nadam(0.05)), params, noise)
    optimizer = optax.chain(optax.clip_by_global_norm(0.8), fnn.nadam(0.05))
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, noise):
        updates, state = optimizer.update(trajectories.gradients(params, noise), state, params)
        return optax.apply_updates(params, updates), state

    for i in range(trajectories.STEPS):
        params, state = step(params, state, jax.tree.map(lambda n, i=i: np.asarray(n)[i], noise))
    np.testing.assert_allclose(params["kernel"], want["kernel"][-1], 1e-5, 1e-6)


def test_an_optax_optimizer_in_a_task_and_in_chain(rng):
    x, y = rng.normal(size=(6, 3)).astype("float32"), rng.normal(size=(6, 2)).astype("float32")
    states = []
    # At a constant rate SGD with momentum gives the same path in optax and here.
    for optimizer in (optax.sgd(0.1, momentum=0.7), fnn.sgd(0.1, 0.7), fnn.chain(optax.trace(0.7), fnn.sgd(0.1))):
        task = fnn.Task(fnn.Dense(2), "mse", optimizer)
        ts = fnn.init(task, jax.random.key(0), x)
        for _ in range(5):
            ts, _ = fnn.train_step(task, ts, (x, y))
        states.append(ts)
    for ts in states[1:]:
        np.testing.assert_allclose(ts.params["kernel"], states[0].params["kernel"], 1e-5)


def test_rules_match_optax_where_they_agree():
    params, noise = trajectories.start(9)
    for ours, theirs in (
        (fnn.sgd(0.03, 0.8, nesterov=True), optax.sgd(0.03, 0.8, nesterov=True)),
        (fnn.adam(0.03, epsilon=0), optax.adam(0.03, eps=0)),
        (fnn.adagrad(0.03), optax.adagrad(0.03)),
    ):
        path, _ = trajectories.ours(ours, params, noise)
        optax_path, _ = trajectories.ours(theirs, params, noise)
        trajectories.assert_same_path(path, optax_path, 5e-5)


# -------------------------------------------------------------------------------------------------- hyper-parameters
WRAPPED = {
    "plain": lambda rate: fnn.adam(rate),
    "chained": lambda rate: fnn.chain(fnn.clip_by_norm(1.0), fnn.adam(rate)),
    "in optax.chain": lambda rate: optax.chain(optax.clip(1.0), fnn.adam(rate)),
    "accumulated": lambda rate: fnn.accumulate(fnn.adam(rate), 1),
    "frozen": lambda rate: fnn.freeze(fnn.adam(rate), "bias"),
    "averaged": lambda rate: fnn.ema(fnn.adam(rate), 0.9),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_set_hyper_works_in_every_wrapper_without_recompiling(name):
    optimizer = WRAPPED[name](0.1)
    params = {"kernel": jnp.array([1.0, 2.0]), "bias": jnp.array([3.0])}
    grads = {"kernel": jnp.array([0.3, -0.2]), "bias": jnp.array([0.1])}
    update, state = jax.jit(optimizer.update), optimizer.init(params)
    before, _ = update(grads, state, params)
    changed = fnn.set_hyper(state, learning_rate=0.4)
    after, _ = update(grads, changed, params)
    np.testing.assert_allclose(after["kernel"], 4 * before["kernel"], 1e-6)
    assert float(fnn.get_hyper(changed)["learning_rate"]) == pytest.approx(0.4)
    assert float(fnn.get_hyper(state)["learning_rate"]) == pytest.approx(0.1), "the given state must not change"
    # and later in training
    _, state = update(grads, changed, params)
    update(grads, fnn.set_hyper(state, learning_rate=jnp.float32(0.2)), params)
    assert update._cache_size() == 1


def test_set_hyper_of_a_train_state_does_not_recompile(rng):
    x, y = rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    task = fnn.Task(fnn.Dense(2), "mse", fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(0), x)
    first, _ = fnn.train_step(task, ts, (x, y))
    size = fnn.train_step._cache_size()
    second, _ = fnn.train_step(task, fnn.set_hyper(ts, learning_rate=0.3), (x, y))
    third, _ = fnn.train_step(task, fnn.set_hyper(first, learning_rate=0), (x, y))
    assert fnn.train_step._cache_size() == size
    moved = [
        np.asarray(a.params["kernel"] - b.params["kernel"]) for a, b in ((first, ts), (second, ts), (third, first))
    ]
    np.testing.assert_allclose(moved[1], 3 * moved[0], 1e-4, 1e-6)
    np.testing.assert_array_equal(moved[2], 0)


def test_set_hyper_of_a_vmapped_state():
    optimizer, params = fnn.sgd(0.1, momentum=0.5), jnp.ones((3, 2))
    states = jax.vmap(optimizer.init)(params)
    swept = fnn.set_hyper(states, learning_rate=jnp.array([1.0, 2.0, 3.0]), momentum=0.9)
    np.testing.assert_allclose(swept.hyper["momentum"], [0.9] * 3)
    updates, _ = jax.vmap(optimizer.update)(params, swept)
    np.testing.assert_allclose(updates, -np.array([[1, 1], [2, 2], [3, 3]]), 1e-6)
    with pytest.raises(
        fnn.InputError, match=r"set_hyper, 'learning_rate': expected a value of shape \(3,\), got float32\[2\]"
    ):
        fnn.set_hyper(states, learning_rate=jnp.ones(2))
    # inside vmap every trial has its own
    inside = jax.vmap(lambda p, r: fnn.set_hyper(optimizer.init(p), learning_rate=r))(
        params, jnp.array([1.0, 2.0, 3.0])
    )
    np.testing.assert_allclose(inside.hyper["learning_rate"], [1, 2, 3])


def test_traced_hyper_parameters_under_vmap_match_separate_runs():
    params, noise = trajectories.start(2)
    rates, betas = jnp.array([0.01, 0.1]), jnp.array([0.5, 0.9])

    def last(rate, beta):
        optimizer = fnn.adam(rate, beta_1=beta, weight_decay=rate, decay=beta)
        path, _ = trajectories.ours(optimizer, params, noise)
        return path["kernel"][-1]

    together = jax.vmap(last)(rates, betas)
    np.testing.assert_allclose(
        together, [last(float(r), float(b)) for r, b in zip(rates, betas, strict=True)], 1e-5, 1e-6
    )


def test_a_plain_zero_omits_the_term_and_an_array_keeps_it():
    params = jnp.ones(2)
    assert set(fnn.sgd(0.1).init(params).hyper) == {"learning_rate"}
    assert fnn.sgd(0.1).init(params).slots == {}
    optimizer = fnn.sgd(0.1, momentum=jnp.zeros(()), decay=jnp.zeros(()), weight_decay=jnp.zeros(()))
    state = optimizer.init(params)
    assert set(state.hyper) == {"learning_rate", "momentum", "decay", "weight_decay"}
    updates, _ = optimizer.update(params, fnn.set_hyper(state, weight_decay=2.0), params)
    np.testing.assert_allclose(updates, -0.1 - 0.1 * 2, 1e-6)


def test_get_hyper():
    state = fnn.chain(fnn.clip_by_value(2.0), fnn.sgd(0.5, 0.25)).init(jnp.zeros(1))
    assert {name: float(v) for name, v in fnn.get_hyper(state).items()} == {
        "clip_value": 2,
        "learning_rate": 0.5,
        "momentum": 0.25,
    }
    assert isinstance(state[1], fnn.OptState)
    assert fnn.get_hyper(optax.sgd(0.1).init(jnp.zeros(1))) == {}


def state_of(**kwargs):
    return fnn.sgd(**kwargs).init(jnp.ones(2))


TREE = {"a": jnp.ones(3), "b": jnp.ones(2)}
ADAM = fnn.adam()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.sgd(-1.0), r"sgd: expected learning_rate in \[0, inf\), got -1"),
        (lambda: fnn.sgd(float("nan")), r"sgd: expected learning_rate in \[0, inf\), got nan"),
        (lambda: fnn.adam("fast"), r"adam: expected learning_rate to be a number, got 'fast'"),
        (lambda: fnn.sgd(0.1, momentum=1.1), r"sgd: expected momentum in \[0, 1\], got 1\.1"),
        (lambda: fnn.sgd(0.1, nesterov=True), r"sgd: expected a momentum above 0 with nesterov=True, got momentum=0"),
        (lambda: fnn.sgd(0.1, np.ones(2), nesterov=True), "sgd: expected momentum to be a number"),
        (lambda: fnn.adam(decay=-1), r"adam: expected decay in \[0, inf\), got -1"),
        (lambda: fnn.nadam(weight_decay=-1), r"nadam: expected weight_decay in \[0, inf\), got -1"),
        (lambda: fnn.rmsprop(rho=2), r"rmsprop: expected rho in \[0, 1\], got 2"),
        (lambda: fnn.rmsprop(momentum=-1), r"rmsprop: expected momentum in \[0, 1\], got -1"),
        (lambda: fnn.rmsprop(epsilon=-1), r"rmsprop: expected epsilon in \[0, inf\), got -1"),
        (lambda: fnn.adagrad(initial_accumulator_value=-1), r"adagrad: .*initial_accumulator_value"),
        (lambda: fnn.adagrad(epsilon=-1), r"adagrad: expected epsilon in \[0, inf\), got -1"),
        (lambda: fnn.adadelta(rho=-1), r"adadelta: expected rho in \[0, 1\], got -1"),
        (lambda: fnn.adadelta(epsilon=-1), r"adadelta: expected epsilon in \[0, inf\), got -1"),
        (lambda: fnn.adam(beta_1=1), r"adam: expected beta_1 below 1, got 1"),
        (lambda: fnn.adamw(1e-3, -1), r"adamw: expected weight_decay in \[0, inf\), got -1"),
        (lambda: fnn.adam(None), r"adam: expected learning_rate to be a number, got None"),
        (lambda: fnn.adamax(beta_2=1.5), r"adamax: expected beta_2 in \[0, 1\], got 1\.5"),
        (lambda: fnn.nadam(epsilon=-1), r"nadam: expected epsilon in \[0, inf\), got -1"),
        (lambda: get_optimizer("adm"), r"optimizer: .* got 'adm'\. Did you mean 'adam'"),
        (lambda: get_optimizer(fnn.adam), r"optimizer: .* the function adam\. Call it: adam\(1e-3\)"),
        (lambda: get_optimizer(3), r"optimizer: .* got 3\. Known: adadelta, adagrad"),
        (lambda: ADAM.init({"a": jnp.ones(2, int)}), r"optimizer, parameter 'a': .*floating-point dtype"),
        (lambda: ADAM.update(TREE, (), TREE), r"optimizer: expected the OptState .*, got a tuple"),
        (lambda: ADAM.update(TREE, ADAM.init({"a": jnp.ones(3)}), TREE), r"got other paths in momentum: \['b'\]"),
        (lambda: ADAM.update(TREE, fnn.sgd(0.1).init(TREE)), r"expected a state made by this optimizer.*lacks"),
        (lambda: fnn.sgd(0.1).update(TREE, ADAM.init(TREE)), r"unexpected entries .*'slots/momentum'"),
        (lambda: ADAM.update(TREE, fnn.nadam().init(TREE)), r"one that has unexpected entries \['slots/product'\]"),
        (
            lambda: ADAM.update(TREE, ADAM.init({"a": jnp.ones(3), "b": jnp.ones((2, 1))}), TREE),
            r"momentum/b of shape \(2,\)",
        ),
        (
            lambda: fnn.adam(weight_decay=0.1).update(TREE, fnn.adam(weight_decay=0.1).init(TREE)),
            r"the parameters, for weight decay, got None\. Call update\(grads, opt_state, params\)",
        ),
        (lambda: fnn.set_hyper(state_of(), rate=1), r"set_hyper: .* got 'rate'\. Known here: learning_rate"),
        (lambda: fnn.set_hyper(state_of(), momentum=1), r"A momentum of plain 0 .*pass jnp\.zeros"),
        (lambda: fnn.set_hyper(optax.sgd(0.1).init(TREE), learning_rate=1), r"got 'learning_rate'\. Known here: none"),
        (
            lambda: fnn.set_hyper(state_of(learning_rate=lambda step: 0.1, momentum=0.5), learning_rate=1),
            r"use a schedule from",
        ),
        (lambda: fnn.set_hyper(state_of(), learning_rate=[0.1, 0.2]), r"a value of shape \(\), got float32\[2\]"),
        (
            lambda: fnn.set_hyper(state_of(), learning_rate={"initial": 1}),
            r"'learning_rate': expected a number, got \{",
        ),
        (lambda: fnn.set_hyper(state_of(), learning_rate="fast"), r"'learning_rate': expected a number, got 'fast'"),
        (
            lambda: fnn.set_hyper(state_of(), learning_rate=fnn.schedules.constant(1.0)),
            r"got constant\(1.0\)\. Pass a schedule",
        ),
        (
            lambda: fnn.set_hyper(state_of(learning_rate=fnn.schedules.cosine_decay(0.1, 5)), learning_rate=0.1),
            r"got 0\.1\. It follows",
        ),
        (
            lambda: fnn.set_hyper(
                state_of(learning_rate=fnn.schedules.cosine_decay(0.1, 5)), learning_rate={"first": 0.1}
            ),
            r"got \{'first': 0\.1\}",
        ),
        (
            lambda: fnn.set_hyper(
                state_of(learning_rate=fnn.schedules.piecewise_constant([1], [1.0, 2.0])),
                learning_rate={"values": [1.0]},
            ),
            r"learning_rate/values': expected 2 numbers",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


@pytest.mark.parametrize("make", [*OPTIMIZERS.values(), fnn.adamw], ids=lambda make: make.__name__)
def test_epsilon_may_be_none_and_lr_is_explained(make):
    if "epsilon" in inspect.signature(make).parameters:
        hyper = fnn.get_hyper(make(epsilon=None).init(jnp.ones(1)))
        assert hyper == fnn.get_hyper(make().init(jnp.ones(1)))
        assert hyper["epsilon"] == np.float32(1e-7)
    for name, value, advice in (
        ("lr", 0.5, "learning_rate"),
        ("clipvalue", 0.5, "fnn.clip_by_value"),
        ("clipnorm", 0.5, "fnn.clip_by_norm"),
        ("global_clipnorm", 0.5, "fnn.clip_by_global_norm"),
        ("use_ema", True, "fnn.ema"),
        ("gradient_accumulation_steps", 4, r"fnn.accumulate\(optimizer, 4\)"),
        ("betas", (0.9, 0.99), "beta_1=..., beta_2=..."),
        *([("eps", 1e-8, "epsilon")] if "epsilon" in inspect.signature(make).parameters else []),
    ):
        with pytest.raises(TypeError, match=rf"^{make.__name__}\(\) got an unexpected .* '{name}'\. .*{advice}"):
            make(**{name: value})
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        make(rate=0.5)


def test_adamw_is_adam_with_a_decay():
    ours, theirs = (inspect.signature(make).parameters for make in (fnn.adamw, K.AdamW))
    shared = ["learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad"]
    assert list(ours)[:6] == list(theirs)[:6] == shared
    assert [ours[name].default for name in shared] == [theirs[name].default for name in shared]
    params, noise = trajectories.start(7)
    for ours, same in (
        (fnn.adamw(0.1, 0.3), fnn.adam(0.1, weight_decay=0.3)),
        (
            fnn.adamw(0.1, weight_decay=0.3, weight_decay_where="*kernel", amsgrad=True, decay=0.1),
            fnn.adam(0.1, weight_decay=0.3, weight_decay_where="*kernel", amsgrad=True, decay=0.1),
        ),
    ):
        jax.tree.map(
            np.testing.assert_array_equal,
            trajectories.ours(ours, params, noise),
            trajectories.ours(same, params, noise),
        )
    assert repr(fnn.adamw(0.1)) == "adamw(0.1)"
    assert fnn.adamw(0.1) == fnn.adamw(0.1) != fnn.adam(0.1)


def test_names_give_the_defaults():
    for name, make in OPTIMIZERS.items():
        state, want = get_optimizer(name).init(jnp.ones(1)), make().init(jnp.ones(1))
        assert jax.tree.map(float, state.hyper) == jax.tree.map(float, want.hyper)
    assert get_optimizer("AdamW") == fnn.adamw()
    own = fnn.Optimizer(lambda p: (), lambda g, s, p=None: (g, s))
    assert get_optimizer(own) is own


def test_weight_decay_where_must_match_something():
    optimizer = fnn.adam(0.1, weight_decay=0.1, weight_decay_where="*kernl")
    with pytest.raises(fnn.InputError, match=r"weight_decay_where: .*matches some parameter, got '\*kernl'"):
        optimizer.init({"kernel": jnp.ones(2)})


# ---------------------------------------------------------------------------------------------------------- precision
@pytest.mark.parametrize("name", slow_unless(RULES, FULL))
def test_a_thousand_updates_in_half_precision_match_float32(name):
    make, _, fixed, drawn = RULES[name]
    optimizer = make(0.01, **fixed, **({"momentum": 0.9} if "momentum" in drawn else {}))
    # Squares that underflow or overflow in float16, or are lost beside the sum in bfloat16.
    rng, scales = np.random.default_rng(0), np.array([1e-4, 1e-3, 1.0, 300.0])
    noise = np.where(np.arange(1000)[:, None] % 5, 1.0, rng.normal(size=(1000, 4)))
    grads = {dtype: jnp.asarray(scales * noise, dtype) for dtype in ("float16", "bfloat16")}
    want = {f"{dtype} as float32": g.astype(jnp.float32) for dtype, g in grads.items()}

    @jax.jit
    def run(grads):
        params = jax.tree.map(lambda g: jnp.zeros_like(g[0]), grads)  # of which weight decay takes nothing
        state = optimizer.init(params)
        return jax.lax.scan(lambda state, g: optimizer.update(g, state, params)[::-1], state, grads)

    state, updates = run({**grads, **want})
    for dtype in grads:
        assert updates[dtype].dtype == jnp.float32
        # The four runs are one program, whose fusions may round differently by some units in the last place.
        np.testing.assert_allclose(updates[dtype], updates[f"{dtype} as float32"], 2e-6, err_msg=dtype)
        assert np.all(np.asarray(updates[dtype][-1]) != 0)
    assert {leaf.dtype for leaf in jax.tree.leaves((state.slots, state.hyper))} == {jnp.dtype("float32")}


def test_steps_of_adam_do_not_shrink():
    optimizer = fnn.adam(1e-3)
    grads = {dtype: jnp.asarray(np.full(1, 1e-3), dtype) for dtype in ("float16", "bfloat16", "float32")}
    run = jax.jit(lambda state: jax.lax.scan(lambda s, _: optimizer.update(grads, s)[::-1], state, length=3000)[1])
    for dtype, updates in run(optimizer.init(grads)).items():
        np.testing.assert_allclose(updates, -1e-3, 4e-3, err_msg=dtype)  # epsilon takes 0.3 % at first


def test_apply_updates_adds_in_the_wider_dtype_and_rounds_once(rng, x64):
    p, u = rng.normal(size=200), rng.normal(size=200) * 1e-2
    pairs = (("bfloat16", "float32"), ("float16", "float32"), ("float32", "float64"), ("float64", "float32"))
    a = {dtype: jnp.asarray(p, dtype) for dtype, _ in pairs}
    b = {dtype: jnp.asarray(u, wide) for dtype, wide in pairs}
    with jax.numpy_dtype_promotion("strict"):
        new = jax.jit(fnn.apply_updates)(a, b)
    for dtype in a:
        want = (np.asarray(a[dtype], "float64") + np.asarray(b[dtype], "float64")).astype(jnp.dtype(dtype))
        assert new[dtype].dtype == jnp.dtype(dtype)
        assert np.mean(np.asarray(new[dtype], "float64") == want.astype("float64")) > 0.98, dtype


def test_float64_parameters_have_float64_slots_for_any_gradients(x64):
    params, g = jnp.zeros(2, jnp.float64), jnp.zeros(2, jnp.float32)
    for make in OPTIMIZERS.values():
        optimizer = make(0.01)
        updates, state = jax.eval_shape(lambda o=optimizer: o.update(g, o.init(params), params))
        assert {leaf.dtype for leaf in jax.tree.leaves((updates, state.slots, state.hyper))} == {jnp.dtype("float64")}
        narrow = jax.eval_shape(optimizer.init, g)
        assert {leaf.dtype for leaf in jax.tree.leaves(narrow.slots)} <= {jnp.dtype("float32")}


def test_slots_of_a_custom_rule_are_at_least_float32():
    fills = {"like": jnp.zeros_like, "narrow": lambda p: jnp.zeros(p.shape, jnp.bfloat16)}
    optimizer = fnn.from_rule(lambda g, s, h, t: (-h["learning_rate"] * g, s), fills, {"learning_rate": 0.1})
    state = optimizer.init({"w": jnp.ones(2, jnp.float16)})
    assert {leaf.dtype for leaf in jax.tree.leaves(state.slots)} == {jnp.dtype("float32")}


def updates_of(optimizer, grads):
    state = optimizer.init(jax.tree.map(lambda g: g[0], grads))
    return jax.jit(lambda s: jax.lax.scan(lambda s, g: optimizer.update(g, s)[::-1], s, grads)[1])(state)


@pytest.mark.parametrize("name", few(OPTIMIZERS))
def test_gradients_whose_squares_overflow_or_underflow(name, x64):
    # With v = inf a parameter would never move again, or become NaN at the next step.
    constant = np.full((6, 3), [1e25, 1e-25, 2e18])
    optimizer = OPTIMIZERS[name](0.01)
    want = updates_of(optimizer, jnp.asarray(constant))
    updates = updates_of(optimizer, jnp.asarray(np.concatenate([constant, np.ones((3, 3))]), "float32"))
    np.testing.assert_allclose(updates[:6], want, 1e-4)
    assert np.isfinite(updates).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_that_is_not_finite_stays_visible(name):
    updates = updates_of(OPTIMIZERS[name](0.01), jnp.array([[jnp.nan, jnp.inf, -jnp.inf, 1.0]]))
    assert np.isfinite(updates[0]).tolist() == [False, False, False, True]


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "sgd"])
def test_without_epsilon_a_gradient_of_zero_makes_no_step(name):
    make = OPTIMIZERS[name]
    options = {"initial_accumulator_value": 0.0} if name == "adagrad" else {}
    updates = updates_of(make(0.01, epsilon=0.0, **options), jnp.array([[0.0, 2.0], [0.0, 1.0]]))
    assert np.all(np.asarray(updates)[:, 0] == 0)
    # Adadelta without an epsilon never starts to move.
    assert name == "adadelta" or np.all(np.asarray(updates)[:, 1] < 0)


# ------------------------------------------------------------------------------------------ ranges of hyper-parameters
BAD = [float("nan"), float("inf"), -float("inf"), -1.0, True, "0.1", None, 1j, [0.1, 0.1], np.float32("nan"), jnp.nan]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_constructors_refuse_numbers_out_of_range(name):
    make = OPTIMIZERS[name]
    numbers = [n for n, p in inspect.signature(make).parameters.items() if isinstance(p.default, float)]
    assert "learning_rate" in numbers
    for number in (*numbers, "decay", "weight_decay"):
        for value in [
            *(bad for bad in BAD if (number, bad) != ("epsilon", None)),
            jnp.array(jnp.nan),
            fnn.schedules.Schedule(None, {"value": -1.0}),
        ]:
            with pytest.raises(fnn.InputError, match=rf"{name}: expected {number}"):
                make(**{number: value})
    assert make(jnp.float32(0.1), decay=np.float64(0.1), weight_decay=0)


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_set_hyper_and_transforms_refuse_numbers_out_of_range(value):
    state = fnn.sgd(0.1, momentum=0.5, decay=0.1, weight_decay=0.1).init(jnp.ones(2))
    for name in ("learning_rate", "momentum", "decay", "weight_decay"):
        with pytest.raises(fnn.InputError, match=rf"set_hyper.*{name}"):
            fnn.set_hyper(state, **{name: value})
    for name, make, argument in (
        ("clip_value", fnn.clip_by_value, "limit"),
        ("clip_norm", fnn.clip_by_norm, "max_norm"),
        ("clip_global_norm", fnn.clip_by_global_norm, "max_norm"),
        ("ema_decay", lambda decay: fnn.ema("sgd", decay), "decay"),
    ):
        with pytest.raises(fnn.InputError, match=rf"(clip_by|ema).*: expected {argument}"):
            make(value)
        with pytest.raises(fnn.InputError, match=rf"set_hyper.*{name}"):
            fnn.set_hyper(make(0.5).init(jnp.ones(2)), **{name: value})


def test_set_hyper_checks_each_trial_of_a_sweep_but_no_traced_values():
    states = jax.vmap(fnn.adam().init)(jnp.ones((3, 2)))
    with pytest.raises(fnn.InputError, match=r"set_hyper: expected learning_rate in \[0, inf\), got -2"):
        fnn.set_hyper(states, learning_rate=jnp.array([0.1, -2.0, 0.3]))
    with pytest.raises(fnn.InputError, match=r"set_hyper: expected beta_1 below 1, got 1"):
        fnn.set_hyper(states, beta_1=[0.1, 1.0, 0.3])
    traced = jax.jit(lambda rate: fnn.set_hyper(states, learning_rate=rate).hyper["learning_rate"])(-1.0)
    assert traced.tolist() == [-1, -1, -1]
    assert jax.vmap(lambda r: fnn.adam(r).init(jnp.ones(1)).hyper["learning_rate"])(jnp.array([-1.0])).tolist() == [-1]


def test_values_are_checked_in_the_dtype_of_the_state():
    with pytest.raises(fnn.InputError, match=r"adam: expected beta_2 below 1, got 1"):
        fnn.adam(beta_2=1 - 1e-9)  # 1 in float32: v would stay 0
    with pytest.raises(fnn.InputError, match=r"sgd: expected learning_rate in \[0, inf\), got inf"):
        fnn.sgd(1e39)
    state = fnn.adam(beta_2=0.999).init(jnp.ones(1, jnp.bfloat16))
    assert float(state.hyper["beta_2"]) == np.float32(0.999)


def test_set_hyper_checks_the_numbers_of_schedules():
    schedule = fnn.schedules.warmup(fnn.schedules.cosine_decay(0.1, 10), 5)
    state = fnn.sgd(schedule, momentum=fnn.schedules.piecewise_constant([2, 4], [0.1, 0.2, 0.3])).init(jnp.ones(1))
    for values, message in (
        ({"warmup_steps": 0.0}, r"learning_rate/warmup_steps in \(0, inf\), got 0"),
        ({"start": float("nan")}, r"learning_rate/start in \[0, inf\), got nan"),
        ({"then": {"initial": -0.1}}, r"learning_rate/then/initial in \[0, inf\), got -0.1"),
        ({"then": {"decay_steps": float("inf")}}, r"learning_rate/then/decay_steps in \(0, inf\), got inf"),
    ):
        with pytest.raises(fnn.InputError, match=rf"set_hyper: expected {message}"):
            fnn.set_hyper(state, learning_rate=values)
    with pytest.raises(fnn.InputError, match=r"set_hyper: expected momentum/values in \[0, 1\], got 3"):
        fnn.set_hyper(state, momentum={"values": (0.1, 3.0, 0.2)})
    with pytest.raises(fnn.InputError, match=r"set_hyper: expected increasing boundaries"):
        fnn.set_hyper(state, momentum={"boundaries": (4, 2)})
    with pytest.raises(fnn.InputError, match=r"sgd: expected learning_rate/initial in \[0, inf\), got -1"):
        fnn.sgd(fnn.schedules.cosine_decay(-1.0, 5))


def test_hyper_parameters_of_a_custom_rule_may_have_any_range():
    def make(**hyper):
        return fnn.from_rule(lambda g, s, h, t: (-h["learning_rate"] * g, s), {}, {"learning_rate": 0.1, **hyper})

    state = make(slope=-3.0, far=np.inf, several=jnp.ones(2)).init(jnp.ones(1))
    assert float(fnn.set_hyper(state, slope=-7.0).hyper["slope"]) == -7
    with pytest.raises(fnn.InputError, match=r"from_rule: expected slope to be a number, got nan"):
        make(slope=float("nan"))
    with pytest.raises(fnn.InputError, match=r"set_hyper: expected slope to be a number, got nan"):
        fnn.set_hyper(state, slope=jnp.nan)
    with pytest.raises(fnn.InputError, match=r"from_rule: expected momentum in \[0, 1\], got 2"):
        make(momentum=2.0)


def test_strict_settings_raise_no_error():
    units = [*registry.OPTIMIZER_UNITS, *registry.SCHEDULE_UNITS]
    args = [jax.tree.map(np.array, unit.args("float32")) for unit in units]
    for array in jax.tree.leaves(args):
        if array.ndim:
            array[..., 0] = 0
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        out = jax.jit(lambda args: [registry.function_of(u, "float32")(*a) for u, a in zip(units, args, strict=True)])(
            args
        )
    for unit, leaves in zip(units, out, strict=True):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(leaves)), unit.name
