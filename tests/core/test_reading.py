"""Inputs in another form than a model reads them: a missing or misspelt key, a tuple of too few parts."""

import linecache
import pickle

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
    got = r"got a dict with 'image' and 'rows'\. Did you mean 'rows'\?"
    text = rf"layers\.b\(x\[\"row\"\]\) > x: expected an entry 'row', {got}"
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


CFG = {"rate": 1.0}


def lines(layers, x):
    return (
        CFG[
            "zz"
        ]
        * x["image"]
    )  # fmt: skip


def of_a_display(layers, x):
    return {**x}["row"]


def of_functions(layers, x):
    return {"relu": jax.nn.relu}["gelu"](x["image"])


def of_a_shape(layers, x):
    _batch, _time, _features = x["image"].shape
    return x["image"]


def of_a_split(layers, x):
    _query, _keys, _values = np.split(np.arange(4), 2)
    return x["image"]


def of_a_list(layers, x):
    first, _second = [x][:1]
    return first


def of_parts(layers, x):
    (a, _b), _c = x["pair"]
    return a


def of_a_helper(layers, x):
    return unpacks(x["image"])


def unpacks(image):
    raise ValueError("not enough values to unpack (expected 2, got 1)")


def by_another_index(layers, x):
    return x["pair"][np.float32(1)]


@pytest.mark.parametrize(
    ("forward", "kind", "text"),
    [
        (options, KeyError, "'rate'"),
        (lines, KeyError, "'zz'"),
        (of_a_display, KeyError, "'row'"),
        (of_functions, KeyError, "'gelu'"),
        (of_a_shape, ValueError, r"not enough values to unpack \(expected 3, got 2\)"),
        (of_a_split, ValueError, r"not enough values to unpack \(expected 3, got 2\)"),
        (of_a_list, ValueError, r"not enough values to unpack \(expected 2, got 1\)"),
        (of_parts, ValueError, "too many values to unpack"),
        (of_a_helper, ValueError, r"not enough values to unpack \(expected 2, got 1\)"),
        (by_another_index, TypeError, "tuple indices must be"),
    ],
)
def test_other_errors_of_forward_pass_as_they_are(forward, kind, text):
    with pytest.raises(kind, match=f"^{text}") as caught:
        init(forward, {"image": X, "pair": (X, X)})
    assert caught.type is kind
    assert any("in model, line" in note for note in caught.value.__notes__)


def test_a_part_of_the_same_length_as_expected_is_not_blamed():
    with pytest.raises(ValueError, match="too many values to unpack") as caught:
        init(nested_parts, (X, X))
    assert caught.type is ValueError


def nested_parts(layers, x):
    (a, _b), _c = x
    return a


def test_some_parts_at_least_are_expected():
    def forward(layers, x):
        first, second, *_others = x
        return layers.a(first) + layers.b(second)

    with pytest.raises(fnn.InputError, match="> x: expected a tuple of at least 2, got a tuple of 1"):
        init(forward, (X,))


@pytest.mark.parametrize(
    ("read", "full", "x", "kind"),
    [
        (lambda x: x["row"], GIVEN, {"image": X}, KeyError),
        (lambda x: x[1], (X, X), (X,), IndexError),
        (lambda x: x["row"], GIVEN, (X,), TypeError),
        (lambda x: x["pair"]["row"], {"pair": GIVEN}, {"pair": {"image": X}}, KeyError),
    ],
)
def test_a_function_may_catch_the_error_of_an_inner_one(read, full, x, kind):
    def forward(layers, x):
        y = layers.other(jax.tree.leaves(x)[0])
        try:
            return y + layers.optional(x)
        except kind as error:
            caught.append(error)
            return y

    caught = []
    optional = fnn.Model(lambda layers, x: layers.dense(read(x)), dense=fnn.Dense(3))
    model = fnn.Model(forward, optional=optional, other=fnn.Dense(3))
    params, state = model.init(jax.random.key(0), full)
    expected, _ = fnn.Dense(3).apply(params["other"], {}, X)
    np.testing.assert_allclose(model.apply(params, state, x)[0], expected, rtol=1e-6)
    (error,) = caught
    assert isinstance(error, fnn.InputError)
    assert "> x: expected a" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_source_that_cannot_be_read_leaves_the_error_as_it_is():
    scope = {}
    exec("def forward(layers, x):\n    return x['row']", scope)
    with pytest.raises(KeyError, match=r"^'row'") as caught:
        init(scope["forward"], {"image": X})
    assert caught.type is KeyError


def test_a_custom_layer_that_reads_a_dict():
    def apply(params, state, x, *, key=None, train=False):
        return x["image"] + x["row"], state

    model = fnn.Sequential(fnn.Layer(lambda key, x: ({}, {}), apply, name="join"), fnn.Dense(3))
    with pytest.raises(fnn.InputError, match=r"layer 'join' \(position 0\) > x: expected an entry 'row'"):
        fnn.init(fnn.Task(model, "mse"), jax.random.key(0), {"image": X})


def test_only_frames_of_jax_itself_are_left_out():
    """Code in a folder beside it whose name begins alike, such as jaxtyping, is a user's."""
    path = jax.__file__.replace("__init__.py", "").rstrip("/\\") + "typing/helpers.py"
    source = "def forward(layers, x):\n    return x['row']\n"
    linecache.cache[path] = (len(source), None, source.splitlines(True), path)
    scope = {}
    exec(compile(source, path, "exec"), scope)
    try:
        with pytest.raises(fnn.InputError, match="> x: expected an entry 'row', got a dict with 'image'"):
            init(scope["forward"], {"image": X})
    finally:
        del linecache.cache[path]
