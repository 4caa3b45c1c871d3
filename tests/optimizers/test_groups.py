"""Rules by parameter path: against optax and separate optimizers, hyper-parameters by group, and errors."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, compilations

import fnn

STEPS = 10
SHAPES = {
    "blocks": [{"kernel": (2, 3), "bias": (3,)}, {"kernel": (3, 3), "bias": (3,)}],
    "head": {"kernel": (3, 2), "bias": (2,)},
    "scale": (),
}


def is_shape(x):
    return isinstance(x, tuple)


@pytest.fixture
def params(rng):
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s), jnp.float32), SHAPES, is_leaf=is_shape)


@pytest.fixture
def noise(rng):
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(size=(STEPS, *s)), jnp.float32), SHAPES, is_leaf=is_shape)


def walk(optimizer, params, noise, state=None):
    """Parameters after each step, and the last state; the gradient depends on the path."""

    def body(carry, noise):
        params, state = carry
        grads = jax.tree.map(lambda p, n: n + 0.3 * p, params, noise)
        updates, state = optimizer.update(grads, state, params)
        params = fnn.apply_updates(params, updates)
        return (params, state), params

    state = optimizer.init(params) if state is None else state
    (_, state), path = jax.jit(lambda *start: jax.lax.scan(body, start, noise))(params, state)
    return path, state


def labels(params):
    """The groups of `RULES`, written by hand."""
    blocks = [{"kernel": "first", "bias": "biases"}, {"kernel": "rest", "bias": "biases"}]
    return {"blocks": blocks, "head": {"kernel": "rest", "bias": "biases"}, "scale": "scale"}


RULES = {
    "*/bias": fnn.adam(0.05, epsilon=0),
    "blocks/0": fnn.sgd(0.02, 0.9),
    "scale": None,
    "*": fnn.adagrad(0.1, weight_decay=0.0),
}
OPTAX = {
    "biases": optax.adam(0.05, eps=0),
    "first": optax.chain(optax.trace(0.9), optax.scale(-0.02)),
    "scale": optax.set_to_zero(),
    "rest": optax.adagrad(0.1),
}


@pytest.mark.slow
def test_ten_steps_match_multi_transform(params, noise):
    path, state = walk(fnn.by_path(RULES), params, noise)
    want, _ = walk(optax.multi_transform(OPTAX, labels), params, noise)
    assert_close(path, want)
    moved = jax.tree.map(lambda a, p: float(jnp.abs(a[-1] - p).min()), path, params)
    assert moved.pop("scale") == 0
    assert min(jax.tree.leaves(moved)) > 1e-4
    assert list(state.groups) == sorted(RULES)  # a dict, as JAX orders it
    assert set(fnn.paths(state.groups["blocks/0"].slots)) == {"momentum/blocks/0/kernel"}
    assert state.groups["scale"] is None


def test_ten_steps_match_masked_optimizers_of_optax(params, noise):
    """Rules of optax inside by_path, and the same ones masked by hand."""
    rules = {("head", "scale"): optax.adam(0.1), "*": optax.sgd(0.02, 0.9)}
    head = {"blocks": False, "head": True, "scale": True}
    body = {name: not chosen for name, chosen in head.items()}
    masked = optax.chain(optax.masked(optax.adam(0.1), head), optax.masked(optax.sgd(0.02, 0.9), body))
    assert_close(walk(fnn.by_path(rules), params, noise)[0], walk(masked, params, noise)[0])


def test_ten_steps_match_two_separate_optimizers_bit_for_bit(params, noise):
    """With clipping by the norm of a group, weight decay and a schedule."""
    schedule = fnn.schedules.cosine_decay(0.1, 8)
    head = fnn.chain(fnn.clip_by_global_norm(0.5), fnn.adamw(schedule, 0.1, weight_decay_where="*kernel"))
    body = fnn.sgd(0.02, 0.9, nesterov=True, decay=0.3)
    path, _ = walk(fnn.by_path({"head": head, "*": body}), params, noise)
    parts = [
        [{name: tree[name] for name in names} for tree in (params, noise)] for names in (["head"], ["blocks", "scale"])
    ]
    want = walk(head, *parts[0])[0] | walk(body, *parts[1])[0]
    jax.tree.map(np.testing.assert_array_equal, path, want)


def test_wrappers_around_it(params, noise):
    """The norm of all gradients is clipped outside, and `freeze`, `ema` and `accumulate` take it as any rule."""
    rules = {"head": fnn.sgd(0.1), "*": fnn.sgd(0.1)}
    path, _ = walk(fnn.chain(fnn.clip_by_global_norm(0.5), fnn.by_path(rules)), params, noise)
    want, _ = walk(fnn.chain(fnn.clip_by_global_norm(0.5), fnn.sgd(0.1)), params, noise)
    assert_close(path, want)
    frozen = fnn.freeze(fnn.accumulate(fnn.ema(fnn.by_path(rules), 0.9), 2), "scale")
    path, state = walk(frozen, params, noise)
    assert_close(path["scale"], jnp.broadcast_to(params["scale"], STEPS))
    assert float(fnn.get_hyper(state)["head"]["learning_rate"]) == np.float32(0.1)
    assert not np.allclose(path["head"]["bias"][-1], params["head"]["bias"])


def test_the_first_pattern_counts(params):
    def sizes(rules):
        found = fnn.by_path(rules).init(params).groups
        return {name: len(fnn.paths(part.slots)) for name, part in found.items()}

    momentum = fnn.sgd(0.1, 0.5)
    assert sizes({"*bias": momentum, "blocks": momentum, "*": momentum}) == {"*bias": 3, "blocks": 2, "*": 2}
    assert sizes({"blocks": momentum, "*bias": momentum, "*": momentum}) == {"blocks": 4, "*bias": 1, "*": 2}
    one, other = ({"*bias": "sgd", "blocks": "adam", "*": "sgd"}, {"blocks": "adam", "*bias": "sgd", "*": "sgd"})
    assert fnn.by_path(one) == fnn.by_path(dict(one)) != fnn.by_path(other)
    optimizer = fnn.by_path(one)
    one["blocks"] = "rmsprop"
    assert repr(optimizer) == "by_path({'*bias': 'sgd', 'blocks': 'adam', '*': 'sgd'})", "the dict was copied"
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer


def test_hyper_parameters_by_group(params):
    optimizer = fnn.by_path({"head": fnn.adam(0.1), "*": fnn.sgd(fnn.schedules.cosine_decay(0.2, 5), 0.5)})
    state = optimizer.init(params)
    hyper = jax.tree.map(float, fnn.get_hyper(state))
    assert hyper["*"]["momentum"] == 0.5
    assert hyper["*"]["learning_rate"] == pytest.approx({"initial": 0.2, "decay_steps": 5, "alpha": 0})
    assert hyper["head"]["learning_rate"] == pytest.approx(0.1)
    changed = fnn.set_hyper(state, "head", learning_rate=0.7)
    assert fnn.get_hyper(changed)["head"]["learning_rate"] == np.float32(0.7)
    assert fnn.get_hyper(changed)["*"] == fnn.get_hyper(state)["*"]
    assert fnn.get_hyper(state)["head"]["learning_rate"] == np.float32(0.1), "the given state stays"
    assert fnn.get_hyper(fnn.set_hyper(state, **fnn.get_hyper(changed))) == fnn.get_hyper(changed)
    changed = fnn.set_hyper(state, "*", learning_rate={"initial": 0.9}, momentum=0.0)
    assert fnn.get_hyper(changed)["*"]["learning_rate"]["initial"] == np.float32(0.9)
    both = fnn.by_path({"head": fnn.adam(0.1), "*": fnn.sgd(0.2)}).init(params)
    assert {float(h["learning_rate"]) for h in fnn.get_hyper(fnn.set_hyper(both, learning_rate=0.5)).values()} == {0.5}
    inner = fnn.by_path({"blocks": fnn.by_path({"*bias": "sgd", "*": "adam"}), "*": "sgd"}).init(params)
    nested = fnn.set_hyper(inner, blocks={"*bias": {"learning_rate": 0.3}})
    assert fnn.get_hyper(nested)["blocks"]["*bias"]["learning_rate"] == np.float32(0.3)
    assert fnn.get_hyper(nested)["blocks"]["*"] == fnn.get_hyper(inner)["blocks"]["*"]


def forward(layers, x):
    for block in layers.blocks:
        x = block(x)
    return layers.head(x)


MODEL = fnn.Model(forward, blocks=[fnn.Dense(3, activation="tanh"), fnn.Dense(3)], head=fnn.Dense(1))
X = np.linspace(-1, 1, 24, dtype="f").reshape(8, 3)
Y = np.sin(X.sum(1, keepdims=True))


def make_task(rate=0.1):
    rules = {"blocks/0/*": None, "blocks/1/*": fnn.adam(1e-3), "head": fnn.sgd(rate, 0.9)}
    return fnn.Task(MODEL, "mse", fnn.by_path(rules))


def test_in_training(tmp_path):
    task = make_task()
    ts = fnn.init(task, jax.random.key(0), X)
    trained, _ = fnn.fit(task, ts, (X, Y), epochs=2, batch_size=4, verbose=0)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), ts.params, trained.params)
    assert same == {"blocks": [{"kernel": True, "bias": True}, {"kernel": False, "bias": False}],
                    "head": {"kernel": False, "bias": False}}  # fmt: skip
    assert fnn.summary(task, X[:1]).trainable == 12 + 4
    fnn.save(tmp_path / "a", trained)
    jax.tree.map(np.testing.assert_array_equal, fnn.load(tmp_path / "a", ts)[:3], trained[:3])
    with compilations() as count:
        changed = fnn.set_hyper(ts, "head", learning_rate=0.0)
        still, _ = fnn.fit(make_task(), changed, (X, Y), batch_size=4, verbose=0)
    assert count() == 0
    np.testing.assert_array_equal(still.params["head"]["kernel"], ts.params["head"]["kernel"])
    assert not np.array_equal(still.params["blocks"][1]["kernel"], ts.params["blocks"][1]["kernel"])
    # A folder of checkpoints continues with the states of all groups.
    options = {"batch_size": 4, "verbose": 0, "checkpoint": tmp_path / "run"}
    fnn.fit(task, ts, (X, Y), epochs=1, **options)
    resumed, _ = fnn.fit(task, ts, (X, Y), epochs=2, **options)
    assert fnn.fingerprint(resumed) == fnn.fingerprint(trained)


@pytest.mark.slow
def test_sweeps_and_plateaus_act_on_every_group():
    task = make_task()

    def trial(rate):
        ts = fnn.set_hyper(fnn.init(task, jax.random.key(0), X), "head", learning_rate=rate)
        plateau = fnn.reduce_on_plateau("loss", patience=1, min_delta=10.0, factor=0.5)
        return fnn.run(task, ts, (X, Y), epochs=2, callbacks=[plateau])

    found = fnn.sweep(trial, {"rate": [0.1, -1.0]}, keep="all", verbose=0)
    assert found.failed.tolist() == [False, True]
    hyper = fnn.get_hyper(found.ts)
    assert hyper["head"]["learning_rate"] == np.float32(0.05)
    assert hyper["blocks/1/*"]["learning_rate"] == np.float32(0.0005)


def test_a_rate_that_follows_a_schedule_cannot_be_reduced(params):
    optimizer = fnn.by_path({"head": fnn.adam(0.1), "*": fnn.sgd(fnn.schedules.cosine_decay(0.2, 5))})
    ts = fnn.TrainState(params, {}, optimizer.init(params), jax.random.key(0), jnp.int32(0))
    callback = fnn.reduce_on_plateau("loss", patience=1)
    callback(0, ts, {"loss": 1.0})
    with pytest.raises(fnn.InputError, match=r"a learning rate that is a number, got a dict"):
        callback(1, ts, {"loss": 1.0})


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, r"a dict from patterns to optimizers, got \{\}\. Write"),
        (fnn.adam(), r"a dict from patterns to optimizers, got adam\(\)"),
        ([("*", "adam")], r"a dict from patterns to optimizers, got \["),
        ({0: "adam"}, r"a pattern such as 'head/\*', or a tuple of patterns, as key, got 0"),
        ({(): "adam"}, r"a pattern such as .*got \(\)"),
        ({str.islower: "adam"}, r"a pattern such as .*islower"),
        ({"*": "adm"}, r"'\*' > optimizer: .*Did you mean 'adam'"),
        ({"*": fnn.adam}, r"'\*' > optimizer: .*Call it: adam\(1e-3\)"),
        ({"conv": "sgd", "*": "sgd"}, r"a pattern that matches some parameter, got 'conv'\. Paths: \['blocks/0/bias'"),
        (
            {"head": "sgd", "scale": "sgd"},
            r"for every parameter, got none for \['blocks/0/bias'.* Add '\*' as the",
        ),
        ({"*": "sgd", "head": "sgd"}, r"parameters of 'head' that no earlier .*got none\. Put it before '\*'"),
        ({"head": fnn.adamw(weight_decay_where="scale"), "*": "sgd"}, r"weight_decay_where: .*got 'scale'"),
    ],
)
def test_errors_of_rules(rules, message, params):
    with pytest.raises(fnn.InputError, match=message):
        fnn.by_path(rules).init(params)


def test_errors_of_states(params):
    optimizer = fnn.by_path({"head": "adam", "*": "sgd"})
    state = optimizer.init(params)
    with pytest.raises(fnn.InputError, match=r"by_path: expected the state of its init\(params\).*got an OptState"):
        optimizer.update(params, fnn.sgd().init(params), params)
    with pytest.raises(fnn.InputError, match=r"for \['head', '\*'\], got one for \['scale', '\*'\]"):
        optimizer.update(params, fnn.by_path({"scale": "adam", "*": "sgd"}).init(params), params)
    with pytest.raises(fnn.InputError, match=r"of by_path in this state, got 'h'\. Patterns: \['head', '\*'\]"):
        fnn.set_hyper(state, "h", learning_rate=0.1)
    with pytest.raises(fnn.InputError, match=r"got 'beta_1'\. Known here: learning_rate"):
        fnn.set_hyper(state, "*", beta_1=0.5)
    with pytest.raises(fnn.InputError, match=r"set_hyper, 'head': expected a dict of hyper-parameters, got 0\.1"):
        fnn.set_hyper(state, head=0.1)
    with pytest.raises(fnn.InputError, match=r"set_hyper: expected learning_rate in \[0, inf\), got -1"):
        fnn.set_hyper(state, learning_rate=-1.0)
