"""An optimizer holds exactly one rule; transforms of gradients alone would increase the loss."""

import jax.numpy as jnp
import optax
import pytest

import fnn

CLIP = fnn.clip_by_norm(1.0)
MODEL = fnn.Dense(2)


def own():
    """An optimizer of the user's, of which nothing is known."""
    return fnn.Optimizer(lambda params: (), lambda grads, state, params=None: (grads, state))


def own_transform():
    return fnn.from_rule(lambda g, slots, h, t: (g * h["scale"], slots), {}, {"scale": 2.0})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: fnn.Task(MODEL, "mse", CLIP),
            r"Task, optimizer: expected a rule such as fnn\.adam\(\), got clip_by_norm\(1\.0\) alone\. "
            r"Write fnn\.chain\(fnn\.clip_by_norm\(1\.0\), fnn\.adam\(\)\)\.",
        ),
        (
            lambda: fnn.Task(MODEL, "mse", fnn.chain(CLIP)),
            r"Task.*Write fnn\.chain\(fnn\.chain\(fnn\.clip_by_norm\(1\.0\)\), fnn\.adam\(\)\)",
        ),
        (lambda: fnn.Task(MODEL, "mse").replace(optimizer=fnn.freeze(CLIP, "bias")), r"Task, optimizer.* alone"),
        (lambda: fnn.Task(MODEL, "mse", fnn.chain()), r"Task, optimizer.*got chain\(\) alone"),
        (lambda: fnn.Task(MODEL, "mse", fnn.by_path({"bias": None, "*": CLIP})), r"Task, optimizer.* alone"),
        (lambda: fnn.chain(fnn.adam(), CLIP, fnn.sgd()), r"chain: expected .*one rule.*, got adam\(\) and sgd\(\)"),
        (lambda: fnn.chain("sgd", "sgd"), r"chain: expected transforms and one rule"),
        (lambda: fnn.chain(fnn.ema("adam"), "sgd"), r"chain: expected.*got ema\('adam'\) and sgd\(\)"),
        (lambda: fnn.accumulate(CLIP, 2), r"accumulate: .* Write fnn\.accumulate\(fnn\.chain\(.*fnn\.adam\(\)\), 2\)"),
        (lambda: fnn.ema(fnn.clip_by_value(1.0)), r"ema: .*Write fnn\.ema\(fnn\.chain\("),
        (lambda: fnn.by_path({"bias": CLIP, "*": "adam"}), r"by_path, 'bias': expected a rule .*clip_by_norm"),
    ],
)
def test_anything_but_one_rule_is_refused(make, message):
    with pytest.raises(fnn.InputError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        own,
        lambda: optax.sgd(0.1),
        lambda: fnn.chain(own(), own_transform(), "adam"),
        lambda: fnn.chain("adam", own_transform()),
        lambda: fnn.chain(CLIP, optax.sgd(0.1)),
        lambda: fnn.chain(CLIP, own()),
        lambda: fnn.accumulate(own(), 2),
        lambda: fnn.by_path({"bias": optax.sgd(0.1), "kernel": own()}),
        lambda: fnn.by_path({"bias": own(), "kernel": fnn.chain(CLIP, "adam")}),
        lambda: fnn.chain(fnn.by_path({"bias": CLIP, "*": fnn.clip_by_value(1.0)}), fnn.freeze("adam", "bias")),
        lambda: fnn.by_path({"*": None}),
        lambda: CLIP.replace(update=own().update),
    ],
)
def test_optimizers_with_one_rule_or_of_the_user_are_accepted(make):
    fnn.Task(MODEL, "mse", make())


def test_a_transform_after_the_rule_is_reported():
    with pytest.warns(
        RuntimeWarning, match=r"not the gradient.*fnn\.chain\(fnn\.clip_by_norm\(1\.0\), fnn\.sgd\(2\.0\)\)"
    ):
        late = fnn.chain(fnn.sgd(2.0), CLIP)
    step, _ = late.update(jnp.ones(1), late.init(jnp.ones(1)))
    assert float(step[0]) == -1


PARAMS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "adamax", "nadam"])
@pytest.mark.parametrize(
    ("given", "got"),
    [(MODEL, r"Dense\(2\)"), (PARAMS, "a dict"), (list(PARAMS.values()), "a list"), (fnn.penalties.l2(0.1), "l2")],
    ids=["model", "dict", "list", "penalty"],
)
def test_rules_refuse_what_other_libraries_pass_first(name, given, got):
    message = rf"{name}: expected learning_rate to be a number or a schedule, got {got}.*write numbers alone"
    with pytest.raises(fnn.InputError, match=message):
        getattr(fnn, name)(given, 1e-3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fnn.clip_by_norm(MODEL),
        lambda: fnn.ema("adam", MODEL),
        lambda: fnn.schedules.exponential_decay(MODEL, 10, 0.9),
        lambda: fnn.sgd(0.1, MODEL),
    ],
)
def test_other_numbers_are_no_layers(make):
    with pytest.raises(fnn.InputError, match=r"to be a number or a schedule, got Dense\(2\)"):
        make()
