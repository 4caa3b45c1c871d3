"""Inputs in another form than a model reads them: a missing or misspelt key, a tuple of too few parts."""

import jax
import numpy as np
import pytest

import fnn

X = np.linspace(-1, 1, 32, dtype="f").reshape(8, 4)
Y = np.arange(8) % 3
GIVEN = {"image": X, "row": X}
OPTIONS = {"scale": 2.0}


def by_name(layers, x):
    image = x["image"]
    return layers.a(image) + layers.b(x["row"])


def unpacked(layers, x):
    image, row = x
    return layers.a(image) + layers.b(row)


def by_number(layers, x):
    return layers.a(x[0]) + layers.b(x[1])


def nested(layers, x):
    return layers.a(x["pair"]["image"]) + layers.b(x["pair"]["row"])


def options(layers, x):
    return OPTIONS["rate"] * layers.a(x["image"]) + layers.b(x["row"])


def helper(layers, x):
    return layers.a(x["image"]) + layers.b(second(x))


def second(parts):
    return parts["row"]


def task_of(forward):
    model = fnn.Model(forward, a=fnn.Dense(3), b=fnn.Dense(3))
    return fnn.Task(model, "sparse_categorical_crossentropy")


def init(forward, x):
    return fnn.init(task_of(forward), jax.random.key(0), x)


TASK, TS = task_of(by_name), init(by_name, GIVEN)
DOORS = {
    "init": lambda x: init(by_name, x),
    "summary": lambda x: fnn.summary(TASK.model, x),
    "check": lambda x: fnn.check(TASK, x),
    "fit": lambda x: fnn.fit(TASK, TS, (x, Y), verbose=0),
    "validation_data": lambda x: fnn.fit(TASK, TS, (GIVEN, Y), validation_data=(x, Y), verbose=0),
    "a stream": lambda x: fnn.fit(TASK, TS, [(x, Y)], verbose=0),
    "evaluate": lambda x: fnn.evaluate(TASK, TS, (x, Y)),
    "predict": lambda x: fnn.predict(TASK, TS, x),
    "outputs": lambda x: fnn.outputs(TASK, TS, x, "a"),
    "train_step": lambda x: fnn.train_step(TASK, TS, (x, Y)),
    "run": lambda x: fnn.run(TASK, TS, (x, Y)),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_misspelt_key_is_named_with_those_given(door):
    text = (
        r"layers\.b\(x\[\"row\"\]\) > x: expected an entry 'row', got a dict with 'image' and 'rows'. Is 'rows' meant?"
    )
    with pytest.raises(fnn.InputError, match=text):
        DOORS[door]({"image": X, "rows": X})


@pytest.mark.parametrize(
    ("door", "place"), [("fit", "^data"), ("validation_data", "^validation_data"), ("evaluate", "^evaluate, data")]
)
def test_the_call_is_named(door, place):
    with pytest.raises(fnn.InputError, match=f"{place} > model, line"):
        DOORS[door]({"image": X})


@pytest.mark.parametrize(
    ("forward", "x", "text"),
    [
        (by_name, {"image": X}, "expected an entry 'row', got a dict with 'image'"),
        (by_name, (X, X), r"expected a dict, for x\[\"image\"\], got a tuple of 2"),
        (by_name, X, r"expected a dict, for x\[\"image\"\], got float32\[8, 4\]"),
        (unpacked, (X,), "expected a tuple of 2, got a tuple of 1"),
        (unpacked, (X, X, X), "expected a tuple of 2, got a tuple of 3"),
        (unpacked, X, r"expected a tuple of 2, got float32\[8, 4\]"),
        (by_number, (X,), r"expected a tuple with a part for x\[1\], got a tuple of 1"),
        (by_number, GIVEN, "expected an entry 0, got a dict with 'image' and 'row'"),
        (nested, {"pair": {"image": X}}, "expected an entry 'row', got a dict with"),
        (helper, {"image": X}, "expected an entry 'row', got a dict with 'image'"),
    ],
)
def test_the_form_that_forward_reads_is_named(forward, x, text):
    with pytest.raises(fnn.InputError, match=f"> x: {text}"):
        init(forward, x)


def test_other_errors_of_forward_pass_as_they_are():
    with pytest.raises(KeyError, match="rate") as caught:
        init(options, GIVEN)
    assert any("in model, line" in note for note in caught.value.__notes__)


def test_a_custom_layer_that_reads_a_dict():
    def apply(params, state, x, *, key=None, train=False):
        return x["image"] + x["row"], state

    model = fnn.Sequential(fnn.Layer(lambda key, x: ({}, {}), apply, name="join"), fnn.Dense(3))
    with pytest.raises(fnn.InputError, match=r"layer 'join' \(position 0\) > x: expected an entry 'row'"):
        fnn.init(fnn.Task(model, "mse"), jax.random.key(0), {"image": X})
