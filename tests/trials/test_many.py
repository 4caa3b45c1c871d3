"""Many trainings in one program: against one after the other, and the choice between batch and loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import fnn
from fnn.trials.cost import cpu_batch


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 5)).astype("float32")
    return x, (x @ rng.normal(size=(5, 3))).argmax(1).astype("int32")


@pytest.fixture(scope="module")
def trial(data):
    model = fnn.Sequential(fnn.Dropout(0.2), fnn.Dense(3))
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(1e-2, momentum=0.9))

    def trial(arguments, scale):
        ts = fnn.set_hyper(fnn.init(task, arguments["key"], data[0][:1]), learning_rate=arguments["rate"])
        ts, history = fnn.run(task, ts, (data[0] * scale, data[1]), epochs=2, batch_size=20)
        return {"params": ts.params, "history": history}

    return trial


def arguments(count):
    rates = jnp.logspace(-3, -1, count)
    return {"key": jax.random.split(jax.random.key(0), count), "rate": rates}, jnp.linspace(0.5, 1.5, count)


@pytest.fixture(scope="module")
def one_by_one(trial):
    """The results of seven trials, each from a call of its own."""
    args, one = arguments(7), jax.jit(trial)
    return [one(*jax.tree.map(lambda a, i=i: a[i], args)) for i in range(7)]


@pytest.mark.parametrize(
    "at_once",
    # As chosen is a batch, too.
    [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3, 7)), None],
    ids=["a loop", "groups of 3", "a batch", "as chosen"],
)
def test_many_equals_a_loop(trial, one_by_one, at_once):
    got = jax.tree.map(np.asarray, jax.jit(fnn.many(trial, at_once=at_once))(*arguments(7)))
    for i, want in enumerate(one_by_one):
        assert_close(jax.tree.map(lambda a, i=i: a[i], got), want, 2e-5, 2e-6)


def test_one_trial_is_enough(trial):
    assert jax.eval_shape(fnn.many(trial), *arguments(1))["history"]["loss"].shape == (1, 2)
    np.testing.assert_array_equal(jax.jit(fnn.many(lambda x: 2 * x))(np.array([3.0], "f")), [6])


@pytest.mark.slow
def test_a_shared_order_is_shared_and_changes_nothing_else(data):
    """With one order key, members that differ only in their own key see equal batches: without dropout, equal runs."""
    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", fnn.sgd(0.1))
    start = fnn.init(task, jax.random.key(0), data[0][:1])

    def trial(key, order_key):
        return fnn.run(task, start._replace(key=key), data, epochs=2, batch_size=20, order_key=order_key)[0].params

    keys = jax.random.split(jax.random.key(1), 3)
    shared = np.asarray(jax.jit(fnn.many(lambda key: trial(key, jax.random.key(5))))(keys)["kernel"])
    own = np.asarray(jax.jit(fnn.many(lambda key: trial(key, None)))(keys)["kernel"])
    np.testing.assert_allclose(shared[0], shared[1], 1e-6)
    assert np.abs(own[0] - own[1]).max() > 1e-4
    np.testing.assert_allclose(own[0], trial(keys[0], None)["kernel"], 1e-5, 1e-6)
    by_epoch = start._replace(key=keys[0])
    for i in range(2):
        order_key = jax.random.fold_in(jax.random.key(5), i)
        by_epoch, _ = fnn.train_epoch(task, by_epoch, data, batch_size=20, order_key=order_key)
    np.testing.assert_allclose(shared[0], by_epoch.params["kernel"], 1e-5, 1e-6)
    order = fnn.epoch_order(start, 40, order_key=jax.random.key(5))
    assert sorted(order.tolist()) == list(range(40))
    assert order.tolist() != fnn.epoch_order(start, 40).tolist()


def test_stacked_states_share_the_order_too(data):
    """However many steps the members have made, the program holds one permutation, not one for each."""
    task = fnn.Task(fnn.Dense(3), "sparse_categorical_crossentropy", fnn.sgd(0.1))
    keys = jax.random.split(jax.random.key(0), 4)
    states = jax.vmap(lambda key: fnn.init(task, key, data[0][:1]))(keys)
    train = jax.vmap(lambda ts, key: fnn.train_epoch(task, ts, data, batch_size=16, order_key=key), (0, None))
    assert "tensor<4x40x" not in jax.jit(train).lower(states, keys[0]).as_text()
    own = jax.vmap(lambda ts: fnn.train_epoch(task, ts, data, batch_size=16))
    assert "tensor<4x40x" in jax.jit(own).lower(states).as_text()


@pytest.mark.slow
def test_differentiable():
    """The gradient of a sum over members is that of each member."""
    task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    x = jnp.linspace(-1, 1, 8)[:, None]
    start = fnn.init(task, jax.random.key(0), x)

    def loss(rate):
        ts = fnn.set_hyper(start, learning_rate=rate)
        return fnn.run(task, ts, (x, 3 * x), batch_size=4, epochs=2)[1]["loss"][-1]

    rates = jnp.array([0.01, 0.1, 0.3])
    want = [jax.grad(loss)(rate) for rate in rates]
    for at_once in (2, None):
        got = jax.grad(lambda rates, at_once=at_once: fnn.many(loss, at_once=at_once)(rates).sum())(rates)
        np.testing.assert_allclose(got, want, 1e-5)


def test_numpy_arguments_inside_jit():
    got = jax.jit(lambda: fnn.many(lambda x: 2 * x, at_once=2)(np.arange(5.0, dtype="float32")))()
    np.testing.assert_array_equal(got, 2 * np.arange(5))


def test_convolutions_of_jax_itself_are_not_batched():
    def trial(kernel):
        return jax.lax.conv(jnp.ones((2, 3, 8, 8)), kernel, (1, 1), "SAME")

    assert cpu_batch(lambda k: [trial(k)], [jax.ShapeDtypeStruct((4, 3, 3, 3), jnp.float32)], 16) == 16

    def own(kernel):
        return [jax.lax.conv(trial(kernel), kernel, (1, 1), "SAME")]

    assert cpu_batch(own, [jax.ShapeDtypeStruct((3, 3, 3, 3), jnp.float32)], 16) == 1


def chosen(model, x, y, size, loss="sparse_categorical_crossentropy", **options):
    task = fnn.Task(model, loss)

    def trial(key):
        return jax.tree.leaves(fnn.run(task, fnn.init(task, key, x[:1]), (x, y), batch_size=len(x) // 4, **options))

    return cpu_batch(trial, [jax.ShapeDtypeStruct((), jax.random.key(0).dtype)], size)


def small():
    return fnn.Sequential(fnn.Dense(16, activation="relu"), fnn.Dense(10))


def wide():
    return fnn.Sequential(fnn.Dense(512, activation="relu"), fnn.Dense(10))


def cnn():
    return fnn.Sequential(fnn.Reshape((28, 28, 1)), fnn.Conv(32, 3), fnn.Conv(32, 3), fnn.GlobalAvgPool())


def lstm(units):
    return fnn.Sequential(fnn.LSTM(units), fnn.Dense(10))


@pytest.mark.parametrize(("model", "batched"), [(small(), True), (wide(), False), (cnn(), False)])
def test_small_products_are_batched_and_large_ones_are_not(model, batched):
    x, y = np.zeros((256, 784), "float32"), np.zeros(256, "int32")
    assert (chosen(model, x, y, 64) > 1) == batched


@pytest.mark.parametrize(("units", "batched"), [(16, True), (128, False)])
def test_the_inner_loop_decides(units, batched):
    x, y = np.zeros((128, 20, 8), "float32"), np.zeros(128, "int32")
    assert (chosen(lstm(units), x, y, 16) > 1) == batched


def test_a_shared_order_allows_larger_products():
    """A product with one batch of data for all members is one product; with a batch for each it is many."""
    model = fnn.Sequential(fnn.Dense(64, activation="relu"), fnn.Dense(10))
    x, y = np.zeros((256, 784), "float32"), np.zeros(256, "int32")
    assert chosen(model, x, y, 32) == 1
    assert chosen(model, x, y, 32, order_key=jax.random.key(0)) > 1


def test_the_batch_fits_the_cache():
    """Of members that carry much, fewer are batched; of few members all."""
    x, y = np.zeros((32, 20), "float32"), np.zeros(32, "int32")
    small_state, large_state = (
        chosen(small(), x, y, 10_000),
        chosen(fnn.Sequential(*[fnn.Dense(96)] * 12), x, y, 10_000),
    )
    assert small_state > large_state >= 8
    assert chosen(fnn.Sequential(*[fnn.Dense(96)] * 12), x, y, 3) == 3


@pytest.mark.parametrize(("platform", "loops"), [("cpu", True), ("tpu", False), ("cuda", False)])
def test_only_a_cpu_has_the_limits_of_one(platform, loops):
    """Large products run one after the other on a CPU; an accelerator gets all members in one batch."""
    many = jax.jit(fnn.many(lambda kernel: jnp.tanh(jnp.ones((128, 784)) @ kernel)))
    kernels = jax.ShapeDtypeStruct((5, 784, 512), jnp.float32)
    text = many.trace(kernels).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.while" in text) == loops
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert ["tensor<5x784x512xf32>" in line for line in products] == [not loops]


def test_the_loop_over_members_compiles_their_training_once():
    """In groups, and with a remainder, there is one loop over steps in the program, not one for each kind of group."""
    x, y = np.zeros((32, 20), "float32"), np.zeros(32, "int32")
    task = fnn.Task(small(), "sparse_categorical_crossentropy", fnn.sgd(0.1))

    def trial(key):
        return fnn.run(task, fnn.init(task, key, x[:1]), (x, y), batch_size=8)[1]["loss"]

    keys = jax.random.split(jax.random.key(0), 7)
    grouped = jax.jit(fnn.many(trial, at_once=3)).lower(keys).as_text().count("stablehlo.while")
    one = jax.jit(trial).lower(keys[0]).as_text().count("stablehlo.while")
    assert grouped <= one + 1


START = fnn.init(fnn.Task(fnn.Dense(1), "mse"), jax.random.key(0), (2,))
BAD = {
    "not a function": (lambda: fnn.many(3), "a function of one trial's arguments, got 3|a function"),
    "at_once": (lambda: fnn.many(lambda x: x, at_once=0), "at_once"),
    "a scalar": (lambda: fnn.many(lambda x: x)(jnp.zeros(())), "trials along its first axis"),
    "lengths": (lambda: fnn.many(lambda x, y: x)(jnp.zeros(3), jnp.zeros(4)), r"lengths \[3, 4\]"),
    "none": (lambda: fnn.many(lambda x: x)(jnp.zeros((0, 2))), "at least 1"),
    "no argument": (lambda: fnn.many(lambda: 1)(), "no argument"),
    "order key": (
        lambda: fnn.train_epoch(
            task := fnn.Task(fnn.Dense(1), "mse"),
            fnn.init(task, jax.random.key(0), (2,)),
            (np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32")),
            order_key=jnp.zeros(3),
        ),
        "order_key: expected one PRNG key",
    ),
    "order key of an order": (
        lambda: fnn.epoch_order(START, 10, order_key=jnp.zeros(3)),
        "order_key: expected one PRNG key",
    ),
    "order key without shuffling": (
        lambda: fnn.epoch_order(START, 10, False, jax.random.key(0)),
        "epoch_order: expected shuffle=True with order_key",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(fnn.InputError, match=message):
        call()
