"""Derivatives of a whole run with respect to what it was given, with and without memory for all of its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import fnn

EPOCHS, BATCH, STEPS = 5, 2, 9  # with `remat`, segments of 3 and 2 epochs, and of 3 steps each


def problem():
    rng = np.random.default_rng(0)
    x = 0.2 * rng.normal(size=(28, 100))
    y = np.sin(x @ rng.normal(size=(100, 1))) + 0.1 * rng.normal(size=(28, 1))
    return (x[:17], y[:17]), (x[17:], y[17:]), rng.uniform(0.5, 1.5, 17)  # the last step of an epoch is smaller


def final_loss(remat, random):
    """The validation loss after a run, as a function of hyper-parameters and of weights of the examples."""
    (x, y), held_out, _ = problem()
    # Compiling takes the time: two layers and dropout are for the slow test.
    hidden = [fnn.Dense(4, "tanh"), fnn.Dropout(0.2)] if random else []
    net = fnn.Sequential(*hidden, fnn.Dense(1, "tanh"))
    schedule = fnn.schedules.piecewise_constant([STEPS * epoch - 1 for epoch in range(1, EPOCHS)], [0.1] * EPOCHS)
    optimizer = fnn.sgd(schedule, momentum=jnp.zeros(()), weight_decay=jnp.zeros(()))
    task = fnn.Task(net, "mse", optimizer)
    ts = fnn.init(task, jax.random.key(1), x)

    def final(rates, momentum, decay, weights):
        hyper = {"learning_rate": {"values": tuple(rates)}, "momentum": momentum, "weight_decay": decay}
        options = {"epochs": EPOCHS, "batch_size": BATCH, "validation_data": held_out, "eval_batch_size": 4}
        data = (x, y, weights)
        _, history = fnn.run(task, fnn.set_hyper(ts, **hyper), data, **options, shuffle=random, remat=remat)
        return history["val_loss"][-1], history

    return final


def point():
    return jnp.array([0.2, 0.15, 0.1, 0.1, 0.05]), jnp.array(0.6), jnp.array(0.02), jnp.asarray(problem()[2])


def compiled(remat, random):
    """Value, history, and the derivatives with respect to all arguments."""
    function = jax.value_and_grad(final_loss(remat, random), argnums=(0, 1, 2, 3), has_aux=True)
    return jax.jit(function).lower(*point()).compile()


def differences_of(random):
    """Central differences, one number at a time, all in one program without a derivative in it."""
    h = 1e-6
    flat, unravel = ravel_pytree(point())
    moved = jnp.concatenate([flat + h * jnp.eye(len(flat)), flat - h * jnp.eye(len(flat))])
    up, down = jax.jit(jax.vmap(lambda args: final_loss(False, random)(*unravel(args))[0]))(moved).reshape(2, -1)
    return unravel((up - down) / (2 * h))


def assert_derivatives(slopes, differences):
    for slope, difference in zip(slopes, differences, strict=True):
        assert slope.dtype == jnp.float64
        assert np.abs(difference).min() > 1e-6
        np.testing.assert_allclose(slope, difference, 1e-5, 1e-9)


@pytest.fixture(scope="module")
def programs():
    with jax.enable_x64(True):
        return {remat: compiled(remat, random=False) for remat in (False, True)}


@pytest.fixture(scope="module")
def derivatives(programs):
    with jax.enable_x64(True):
        return {remat: program(*point()) for remat, program in programs.items()}


@pytest.fixture(scope="module")
def differences():
    with jax.enable_x64(True):
        return differences_of(random=False)


@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True])
def test_derivatives_match_finite_differences(remat, derivatives, differences):
    """Of the learning rate of each epoch, momentum, weight decay, and the weight of each example."""
    assert_derivatives(derivatives[remat][1], differences)


@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True])
def test_derivatives_with_dropout_and_a_random_order(remat, x64):
    assert_derivatives(compiled(remat, random=True)(*point())[1], differences_of(random=True))


@pytest.mark.slow
def test_remat_does_not_change_training(derivatives):
    ((value, history), slopes), ((other, other_history), other_slopes) = derivatives[False], derivatives[True]
    np.testing.assert_allclose(other, value, 1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12), other_history, history)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-15), other_slopes, slopes)


@pytest.mark.slow
def test_memory_is_bounded(programs):
    plain, few = (programs[remat].memory_analysis().temp_size_in_bytes for remat in (False, True))
    assert few < plain / 4


def primitives(jaxpr, found):
    for eqn in jaxpr.eqns:
        found.add(eqn.primitive.name)
        for value in eqn.params.values():
            for item in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(item, "jaxpr", item)
                if hasattr(inner, "eqns"):
                    primitives(inner, found)
    return found


def small_run(**options):
    (x, y), held_out, _ = problem()
    x, y = x.astype("f"), y.astype("f")
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    ts = fnn.init(task, jax.random.key(1), x)
    options |= {"batch_size": BATCH, "validation_data": tuple(a.astype("f") for a in held_out)}
    return lambda rate: fnn.run(task, fnn.set_hyper(ts, learning_rate=rate), (x, y), **options)


def test_run_does_not_rematerialize_by_default():
    def asks(**options):
        names = primitives(jax.make_jaxpr(small_run(epochs=2, **options))(0.1).jaxpr, set())
        return any(name.startswith(("remat", "checkpoint")) for name in names)

    assert not asks()
    assert not asks(remat=False)
    assert asks(remat=True)


@pytest.mark.slow
def test_remat_without_a_derivative_changes_nothing():
    (ts, history), (ts_again, history_again) = (small_run(epochs=7, remat=remat)(0.1) for remat in (False, True))
    np.testing.assert_allclose(ts_again.params["kernel"], ts.params["kernel"], 1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), history_again, history)
    assert int(ts_again.step) == int(ts.step) == 7 * STEPS


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9, 10, 23])
def test_a_segmented_loop_equals_the_plain_loop(count):
    from fnn.training.segments import in_segments

    def body(carry, x):
        carry = jnp.sin(carry) + x
        return carry, (carry * 2, x)

    xs, start = np.arange(count, dtype="f") / 10, np.float32(0.3)
    seen, expected = jax.jit(lambda: (in_segments(body, start, xs), jax.lax.scan(body, start, xs)))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), seen, expected)


@pytest.mark.slow
def test_derivatives_through_early_stopping():
    stop = fnn.early_stopping(patience=1)

    def slope(remat):
        run = small_run(epochs=3, shuffle=False, callbacks=(stop,), remat=remat)
        return float(jax.grad(lambda rate: run(rate)[1]["loss"][0])(0.1))

    assert slope(True) == pytest.approx(slope(False), rel=1e-4)
    assert slope(False) != 0
