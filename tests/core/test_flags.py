"""Arguments that are True or False: text such as "False", which counts as true, is refused."""

import functools
import inspect

import jax
import numpy as np
import pytest
from test_registry import public

import fnn
from fnn._core.flags import check_flags

X, Y = np.ones((4, 2), "f"), np.ones((4, 1), "f")
TASK = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
TS = fnn.init(TASK, jax.random.key(0), X)
# Results, which users read; estimators check in fit, as scikit-learn demands, and compiled functions in a trace.
MADE_HERE = {"Classifier", "GridSearch", "Regressor", "Plan", "Sweep", "train_epoch", "epoch_order"}


FUNCTIONS = {name: fn for name, fn in public().items() if name not in MADE_HERE}


def flags(fn):
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in parameters if one.annotation in (bool, "bool")]


FLAGS = [(name, fn, flag) for name, fn in FUNCTIONS.items() for flag in flags(fn)]


@pytest.mark.parametrize(("name", "fn", "flag"), FLAGS, ids=lambda part: part if isinstance(part, str) else "")
def test_text_is_no_flag(name, fn, flag):
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    parameters = [one for one in inspect.signature(fn).parameters.values() if one.kind not in variable]
    given = {one.name: None for one in parameters if one.default is one.empty}
    with pytest.raises(fnn.InputError, match=f"{flag} to be True or False, got 'False'"):
        fn(**{**given, flag: "False"})


def test_the_doors_refuse_text_as_a_flag():
    assert len(FLAGS) > 60
    for call in (
        lambda: fnn.train_epoch(TASK, TS, (X, Y), shuffle="False"),
        lambda: fnn.train_epoch(TASK, TS, (X, Y), drop_remainder="no"),
        lambda: fnn.epoch_order(TS, 4, "False"),
        lambda: fnn.Dense(3, None, "False"),
        lambda: fnn.Classifier(early_stopping="False").fit(X, [0, 1, 0, 1]),
        lambda: functools.partial(fnn.losses.binary_crossentropy, from_logits="False")(X, X),
    ):
        with pytest.raises(fnn.InputError, match=r"to be True or False, got '(False|no)'"):
            call()


@pytest.mark.parametrize("value", [True, False, np.True_, 0, 1, np.int64(1)])
def test_what_is_true_or_false_passes(value):
    check_flags("here", flag=value)


@pytest.mark.parametrize("value", [None, 2, 0.0, "", [], np.array([True]), jax.numpy.ones(2, bool)])
def test_anything_else_is_refused(value):
    with pytest.raises(fnn.InputError, match="here: expected flag to be True or False"):
        check_flags("here", flag=value)


def test_a_flag_does_not_change_with_its_type():
    assert "bias" not in fnn.Dense(2, use_bias=np.False_).init(jax.random.key(0), X)[0]
    one, other = (fnn.run(TASK, TS, (X, Y), shuffle=flag, batch_size=2)[0].params for flag in (0, False))
    assert fnn.fingerprint(one) == fnn.fingerprint(other)
