"""Schedules: against Keras at every step, as leaves of the optimizer's state, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn import schedules

keras = pytest.importorskip("keras", reason="Keras is the reference here")

K = keras.optimizers.schedules
CASES = {
    "exponential_decay": (schedules.exponential_decay(0.3, 7, 0.8), K.ExponentialDecay(0.3, 7, 0.8)),
    "in stairs": (
        schedules.exponential_decay(0.3, 7, 0.8, staircase=True),
        K.ExponentialDecay(0.3, 7, 0.8, staircase=True),
    ),
    "inverse_time_decay": (schedules.inverse_time_decay(0.3, 0.6, 4), K.InverseTimeDecay(0.3, 4, 0.6)),
    "piecewise_constant": (
        schedules.piecewise_constant([5, 9, 20], [0.4, 0.1, 0.2, 0.03]),
        K.PiecewiseConstantDecay([5, 9, 20], [0.4, 0.1, 0.2, 0.03]),
    ),
    "cosine_decay": (schedules.cosine_decay(0.3, 23, 0.15), K.CosineDecay(0.3, 23, 0.15)),
    "warmup": (
        schedules.warmup(schedules.cosine_decay(0.7, 23, 0.15), 6, 0.05),
        K.CosineDecay(0.05, 23, 0.15, warmup_target=0.7, warmup_steps=6),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_match_keras_at_every_step(name):
    ours, theirs = CASES[name]
    steps = jnp.arange(40)
    got, want = jax.jit(lambda steps: (jax.vmap(ours)(steps), jax.lax.map(theirs, steps)))(steps)
    np.testing.assert_allclose(got, want, 1e-5, 1e-7)
    assert len(np.unique(np.round(got, 5))) > 2


def test_constant_and_warmup_to_a_number():
    assert float(schedules.constant(0.25)(1000)) == 0.25
    line = schedules.warmup(0.8, 4)
    np.testing.assert_allclose([line(step) for step in range(6)], [0, 0.2, 0.4, 0.6, 0.8, 0.8], 1e-6)


def test_as_hyper_returns_strongly_typed_scalars_of_the_default_dtype(x64):
    assert schedules.as_hyper(1).dtype == jnp.float64
    assert not schedules.as_hyper(1).weak_type


@pytest.mark.parametrize("name", CASES)
def test_an_optimizer_follows_its_schedule(name):
    schedule, _ = CASES[name]
    assert isinstance(schedule, schedules.Schedule)
    optimizer = fnn.sgd(schedule)
    update = jax.jit(optimizer.update)
    state, rates = optimizer.init(jnp.zeros(())), []
    for _ in range(25):
        delta, state = update(jnp.float32(1), state)
        rates.append(-delta)
    np.testing.assert_allclose(rates, jax.jit(jax.vmap(schedule))(jnp.arange(25)), 1e-5)
    assert update._cache_size() == 1


def test_set_hyper_changes_the_numbers_of_a_schedule_without_recompiling():
    optimizer = fnn.sgd(schedules.warmup(schedules.exponential_decay(1.0, 2, 0.5), 2))
    update, state = jax.jit(optimizer.update), optimizer.init(jnp.zeros(()))
    first, _ = update(jnp.float32(1), state._replace(step=jnp.int32(4)))
    assert float(first) == -0.5
    changed = fnn.set_hyper(state, learning_rate={"then": {"initial": 3.0}, "warmup_steps": 0.5})
    second, _ = update(jnp.float32(1), changed._replace(step=jnp.asarray(2, jnp.int32)))
    assert float(second) == pytest.approx(-3 * 0.5**0.75)
    assert update._cache_size() == 1
    np.testing.assert_array_equal(fnn.get_hyper(changed)["learning_rate"]["then"]["initial"], 3)
    state = fnn.sgd(schedules.piecewise_constant([3], [1.0, 0.1])).init(jnp.zeros(()))
    changed = fnn.set_hyper(state, learning_rate={"values": (2.0, 0.2)})
    np.testing.assert_allclose(changed.hyper["learning_rate"]["values"], (2, 0.2), 1e-6)


def test_plain_functions_of_the_step_and_optax_schedules_work():
    for fn in (lambda step: 0.5 / (1 + step), optax.polynomial_schedule(0.5, 0.1, 1, 8)):
        optimizer = fnn.sgd(fn)
        update, wanted = jax.jit(optimizer.update), jax.jit(fn)
        state = optimizer.init(jnp.zeros(()))
        for step in range(4):
            delta, state = update(jnp.float32(1), state)
            assert -delta.item() == pytest.approx(wanted(step).item(), rel=1e-6)


def test_any_hyper_parameter_may_follow_a_schedule():
    optimizer = fnn.sgd(1.0, momentum=schedules.piecewise_constant([0], [0.0, 0.5]))
    state, deltas = optimizer.init(jnp.zeros(())), []
    for _ in range(3):
        delta, state = optimizer.update(jnp.float32(1), state)
        deltas.append(float(delta))
    assert deltas == [-1.0, -1.5, -1.75]


def test_a_schedule_is_swept_under_vmap():
    @jax.vmap
    def second_rate(rate):
        optimizer = fnn.sgd(schedules.exponential_decay(1.0, 1, rate))
        state = optimizer.init(jnp.zeros(()))
        _, state = optimizer.update(jnp.float32(1), state)
        return optimizer.update(jnp.float32(1), state)[0]

    np.testing.assert_allclose(second_rate(jnp.array([0.5, 0.25])), [-0.5, -0.25])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedules.exponential_decay(1, 0, 0.5), r"exponential_decay: expected decay_steps"),
        (lambda: schedules.inverse_time_decay(1, 0.5, -1), r"inverse_time_decay: expected decay_steps"),
        (lambda: schedules.cosine_decay(1, 0), r"cosine_decay: expected decay_steps in \(0, inf\), got 0"),
        (lambda: schedules.warmup(1.0, 0), r"warmup: expected warmup_steps in \(0, inf\), got 0"),
        (
            lambda: schedules.exponential_decay(100, 1e-2, 0.9),
            r"decay_steps of at least 1, got 0\.01\. .*_rate, in",
        ),
        (lambda: schedules.exponential_decay(1e-2, 0.9, 100), r"decay_steps of at least 1, got 0\.9"),
        (lambda: schedules.inverse_time_decay(1e-2, 100, 0.9), r"decay_steps of at least 1, .*decay_rate, decay_steps"),
        (lambda: schedules.cosine_decay(100, 1e-2), r"cosine_decay: expected decay_steps of at least 1, got 0\.01"),
        (
            lambda: schedules.warmup(100, 1e-2),
            r"warmup_steps of at least 1, .*are then, warmup_steps, start",
        ),
        (lambda: schedules.piecewise_constant([0.5, 0.7], [1, 2, 3]), r"boundaries of at least 1, got 0\.5"),
        (lambda: schedules.warmup(lambda step: 1.0, 5), r"warmup: expected a number or a Schedule"),
        (lambda: schedules.constant(float("nan")), r"constant: expected value to be finite, got nan"),
        (lambda: schedules.constant(None), r"constant: expected value to be a number, got None"),
        (lambda: schedules.exponential_decay(1, 5, -0.5), r"decay: expected decay_rate in \[0, inf\), got -0\.5"),
        (lambda: schedules.exponential_decay("1", 5, 0.5), r"decay: expected initial to be a number, got '1'"),
        (lambda: schedules.exponential_decay(1, float("nan"), 0.5), r"expected decay_steps in \(0, inf\), got nan"),
        (lambda: schedules.inverse_time_decay(1, float("nan")), r"expected decay_rate in \[0, inf\), got nan"),
        (lambda: schedules.cosine_decay(float("inf"), 5), r"cosine_decay: expected initial to be finite, got inf"),
        (lambda: schedules.cosine_decay(1, 5, float("nan")), r"cosine_decay: expected alpha in \[0, inf\), got nan"),
        (lambda: schedules.warmup(float("nan"), 5), r"expected value to be finite, got nan"),
        (lambda: schedules.warmup(1.0, 5, True), r"warmup: expected start to be a number, got True"),
        (lambda: schedules.piecewise_constant([1, float("nan")], [1, 2, 3]), r"boundaries to be finite, got nan"),
        (lambda: schedules.piecewise_constant([1], [1.0, float("nan")]), r"constant: expected values to be finite"),
        (lambda: schedules.piecewise_constant([1, 2], [1.0, 2.0]), r"piecewise_constant: expected 3 values, got 2"),
        (lambda: schedules.piecewise_constant([2, 2], [1, 2, 3]), r"expected increasing boundaries, got \[2, 2\]"),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()
