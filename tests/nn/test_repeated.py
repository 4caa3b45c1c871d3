"""Repeated and Rematerialized: the same as the copies one by one, and what they save."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

N = 3
KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(4, 5)).astype("f")


def spread(rate):
    """A layer that adds to the loss."""

    def init(key, x):
        return {}, {"spread": fnn.AddedLoss(jnp.zeros(()))}

    def apply(params, state, x, *, key=None, train=False):
        return x, {"spread": fnn.AddedLoss(rate * jnp.square(x).mean())}

    return fnn.Layer(init, apply, name="spread")


def block():
    return fnn.Residual(fnn.Dense(5, "tanh"), fnn.BatchNorm(momentum=0.5), fnn.Dropout(0.3), spread(0.1))


def test_repeated_equals_the_copies_one_by_one():
    layer, repeated = block(), fnn.Repeated(block(), N)

    @jax.jit
    def both(key, x):
        params, state = repeated.init(key, x)
        keys = [jax.random.fold_in(key, i) for i in range(N)]
        made = [layer.init(keys[i], x) for i in range(N)]

        def one_by_one(made, x):
            states = []
            for i in range(N):
                x, state = layer.apply(*made[i], x, key=keys[i], train=True)
                states.append(state)
            return jnp.square(x).sum(), (x, states)

        def at_once(params, x):
            x, new = repeated.apply(params, state, x, key=key, train=True)
            return jnp.square(x).sum(), (x, new)

        first = jax.grad(one_by_one, has_aux=True)(made, x)
        return (params, state), made, jax.grad(at_once, has_aux=True)(params, x), first

    (params, state), made, (slope, (y, new)), (right_slope, (right, states)) = both(KEY, X)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *made)
    jax.tree.map(np.testing.assert_array_equal, (params, state), stacked)
    np.testing.assert_allclose(y, right, 1e-5, 1e-6)
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-5)  # noqa: E731
    jax.tree.map(close, slope, jax.tree.map(lambda *leaves: np.stack(leaves), *(s[0] for s in right_slope)))
    jax.tree.map(close, new, jax.tree.map(lambda *leaves: np.stack(leaves), *states))
    assert len(np.unique(params["body"]["dense"]["kernel"])) == N * 25


@pytest.mark.slow
def test_a_mask_is_carried():
    x = fnn.Masked(np.ones((2, 4, 3), "f"), np.arange(4) < [[4], [2]])
    layer = fnn.Repeated(fnn.Residual(fnn.LayerNorm(), fnn.MultiHeadAttention(1, 2, causal=True)), 2)
    y, _ = layer.apply(*layer.init(KEY, x), x)
    np.testing.assert_array_equal(y.mask, x.mask)


def test_programs_do_not_grow_with_the_number_of_copies():
    def length(n):
        model = fnn.Repeated(block(), n)
        params, state = jax.eval_shape(model.init, KEY, X)
        run = lambda params, state, x: model.apply(params, state, x, key=KEY, train=True)  # noqa: E731
        return len(str(jax.make_jaxpr(run)(params, state, X)).splitlines())

    assert length(2) == length(30)


@pytest.mark.slow
def test_rematerialized_gives_the_same_and_stores_less():
    plain = fnn.Sequential(fnn.Dense(64, "tanh"), fnn.Dropout(0.3), fnn.BatchNorm(), fnn.Dense(5))
    lean = fnn.Rematerialized(plain)
    assert lean.name == plain.name
    params, state = jax.jit(lean.init)(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, (params, state), jax.jit(plain.init)(KEY, X))

    def loss(params, layer):
        y, new = layer.apply(params, state, X, key=KEY, train=True)
        return jnp.square(y).sum(), (y, new)

    run = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-5), run(params, lean), run(params, plain))

    def stored(layer):
        """The largest number of elements kept for the gradient, other than parameters and input."""

        def backward(params, x):
            return jax.vjp(lambda params, x: layer.apply(params, state, x, key=KEY, train=True)[0], params, x)[1]

        back = jax.eval_shape(backward, params, X)
        given = {leaf.shape for leaf in jax.tree.leaves((params, state, X))}
        return max((a.size for a in jax.tree.leaves(back) if hasattr(a, "size") and a.shape not in given), default=0)

    assert stored(plain) >= 4 * 64
    assert stored(lean) <= 20


def test_summary_counts_all_copies():
    model = fnn.Sequential(fnn.Dense(5), fnn.Repeated(fnn.Rematerialized(block()), N), fnn.Dense(2))
    rows = {"/".join(row.path): row for row in fnn.summary(model, X).rows}
    assert rows["repeated"].kind == "Rematerialized x 3"
    assert rows["repeated/body/dense"].params == N * 30
    assert rows["repeated/body/batch_norm"].output_shape == (None, 5)
    assert sum(row.params for row in rows.values()) == fnn.summary(model, X).total


@pytest.mark.slow
def test_training_equals_that_of_the_layers_one_by_one():
    """Gradients, updated parameters and state of one step, with a penalty and weights; dropout would draw others."""

    def inner():
        dense = fnn.Dense(5, "tanh", kernel_regularizer=fnn.penalties.l2(0.1))
        return fnn.Residual(dense, fnn.BatchNorm(), spread(0.1))

    first, last = fnn.Dense(5), fnn.Dense(2)
    looped = fnn.Sequential(first, fnn.Repeated(fnn.Rematerialized(inner()), N), last)
    unrolled = fnn.Sequential(first, *(inner() for _ in range(N)), last)
    tasks = [fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(0.5, 0.9)) for model in (looped, unrolled)]
    at_once = fnn.init(tasks[0], KEY, X)

    def unstacked(tree):
        """The entries of the unrolled model from those of the other."""
        names = ("residual", *(f"residual_{i}" for i in range(1, N)))
        copies = {name: jax.tree.map(lambda a, i=i: a[i], tree["repeated"]) for i, name in enumerate(names)}
        return {name: entry for name, entry in tree.items() if name != "repeated"} | copies

    one_by_one = fnn.init(tasks[1], KEY, X)._replace(params=unstacked(at_once.params), state=unstacked(at_once.state))
    batch = X, np.arange(4) % 2, np.array([1, 0.5, 2, 0], "f")
    (ts, logs), (right, right_logs) = map(fnn.train_step, tasks, (at_once, one_by_one), (batch, batch))
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-5)  # noqa: E731
    velocity = lambda ts: ts.opt_state.slots["momentum"]  # minus half the gradients  # noqa: E731
    close(logs["loss"], right_logs["loss"])
    for mine, want in ((velocity(ts), velocity(right)), (ts.params, right.params), (ts.state, right.state)):
        jax.tree.map(close, unstacked(mine), want)
    pairs = zip(jax.tree.leaves(ts.params["repeated"]), jax.tree.leaves(at_once.params["repeated"]), strict=True)
    assert min(np.abs(a - b).reshape(N, -1).max(1).min() for a, b in pairs) > 0.01
    assert min(value.min() for value in jax.tree.leaves(ts.state["repeated"]["body"]["spread"])) > 0


@pytest.mark.slow
def test_observers_of_values_leave_out_what_is_inside_the_loop():
    model = fnn.Sequential(fnn.Dense(5), fnn.Repeated(fnn.Rematerialized(block()), N), fnn.Dense(2))
    task = fnn.Task(model, "sparse_categorical_crossentropy")
    report = fnn.layer_report(task, fnn.init(task, KEY, X), (X, np.arange(4) % 2))
    assert "repeated (Rematerialized x 3)" in str(report)
    assert "batch_norm" not in str(report)


def test_containers_refuse():
    cases = {
        "Repeated: expected a Layer": lambda: fnn.Repeated(fnn.Dense, 2),
        "Repeated: expected n to be an integer of at least 1, got 0": lambda: fnn.Repeated(fnn.Dense(2), 0),
        "Rematerialized: expected a Layer": lambda: fnn.Rematerialized("relu"),
        r"repeated: expected a layer that keeps the shape, float32\[2, 5\], got float32\[2, 3\] from Dense": lambda: (
            fnn.summary(fnn.Repeated(fnn.Dense(3), 2), X)
        ),
        r"parameters and state of 2 copies, got first axes \[\(3,\)\]": lambda: fnn.Repeated(fnn.Dense(5), 2).apply(
            fnn.Repeated(fnn.Dense(5), 3).init(KEY, X)[0], {}, X
        ),
    }
    for message, call in cases.items():
        with pytest.raises(fnn.InputError, match=message):
            call()
