"""Layer, Sequential and Residual: names, nesting, custom layers, shapes, and errors that name the place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import few

import fnn
from fnn.nn.observe import observe

keras = pytest.importorskip("keras", reason="Keras is the reference here")

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def scale_init(key, x):
    return {"scale": jax.random.normal(key, (x.shape[-1],), x.dtype)}, {"count": jnp.zeros((), jnp.int32)}


def scale_apply(params, state, x, *, key=None, train=False):
    return params["scale"] * x, {"count": state["count"] + train}


Scale = fnn.Layer(scale_init, scale_apply, name="scale")


def forward(model, x=X, **kwargs):
    params, state = start(model, x)
    return apply(model, params, state, x, **kwargs)[0], params, state


def apply(model, params, state, x=X, **kwargs):
    return jax.jit(lambda params, state, x: model.apply(params, state, x, **kwargs))(params, state, x)


def start(model, x=X):
    """Parameters from NumPy, all distinct, and a state of zeros: neither needs a compilation."""
    rng = np.random.default_rng(1)
    params, state = jax.eval_shape(model.init, KEY, x)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(a.dtype), params)
    return params, jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), state)


def linear(params, x):
    return x @ params["kernel"] + params["bias"]


# --------------------------------------------------------------------------------------------------------------- names
def test_names_match_keras():
    ours = fnn.Sequential(
        fnn.Dense(3), fnn.Flatten(), fnn.Dense(4), fnn.Dropout(0.1), fnn.Dense(2), fnn.Flatten(), fnn.Dense(3)
    )
    keras.utils.clear_session()
    k, dense = keras.layers, functools.partial(keras.layers.Dense, kernel_initializer="zeros")
    theirs = keras.Sequential([dense(3), k.Flatten(), dense(4), k.Dropout(0.1), dense(2), k.Flatten(), dense(3)])
    theirs.build((None, 3))
    params, _ = start(ours)
    assert list(params) == [layer.name for layer in theirs.layers if layer.weights]
    assert list(params) == ["dense", "dense_1", "dense_2", "dense_3"]
    want = {f"{layer.name}/{v.name}": tuple(v.shape) for layer in theirs.layers for v in layer.weights}
    assert {path: leaf.shape for path, leaf in fnn.paths(params).items()} == want


def test_explicit_names():
    model = fnn.Sequential(
        fnn.Dense(3, name="head"), fnn.Dense(3, name="dense_1"), fnn.Dense(3), fnn.Dense(3), fnn.Dense(2, name="head")
    )
    names = []  # in the order of the layers, which a compiled program would sort
    jax.eval_shape(lambda key: names.extend(model.init(key, X)[0]), KEY)
    assert names == ["head", "dense_1", "dense", "dense_2", "head_1"]


def test_nesting():
    inner = fnn.Sequential(fnn.Dense(5), fnn.BatchNorm())
    model = fnn.Sequential(inner, inner, fnn.Sequential(fnn.Dense(2), name="tail"), Scale)
    y, params, state = forward(model)
    assert y.shape == (4, 2)
    leaves = ("dense/kernel", "dense/bias", "batch_norm/gamma", "batch_norm/beta")
    inside = {f"{outer}/{leaf}" for outer in ("sequential", "sequential_1") for leaf in leaves}
    assert set(fnn.paths(params)) == inside | {"tail/dense/kernel", "tail/dense/bias", "scale/scale"}
    assert set(state) == {"sequential", "sequential_1", "scale"}
    assert params["sequential"]["dense"]["kernel"].shape == (3, 5)
    assert params["sequential_1"]["dense"]["kernel"].shape == (5, 5)
    # the same layers flat give the same function of the same parameters
    flat = fnn.Sequential(fnn.Dense(5), fnn.BatchNorm(), fnn.Dense(5), fnn.BatchNorm(), fnn.Dense(2), Scale)
    names = {"dense": "sequential/dense", "batch_norm": "sequential/batch_norm", "dense_1": "sequential_1/dense",
             "batch_norm_1": "sequential_1/batch_norm", "dense_2": "tail/dense", "scale": "scale"}  # fmt: skip

    def find(tree, path):
        for part in path.split("/"):
            tree = tree[part]
        return tree

    flat_params = {name: find(params, path) for name, path in names.items()}
    flat_state = {n: find(state, p) for n, p in names.items() if "batch_norm" in n or n == "scale"}
    np.testing.assert_allclose(apply(flat, flat_params, flat_state)[0], y, 1e-6)


def test_a_list_of_layers_and_no_layers():
    y, params, _ = forward(fnn.Sequential([fnn.Dense(2)]))
    assert y.shape == (4, 2)
    assert list(params) == ["dense"]
    params, state = start(fnn.Sequential())
    assert fnn.Sequential().apply({}, {}, X)[0] is X
    assert (params, state) == ({}, {})


# ----------------------------------------------------------------------------------------------------------- behaviour
def test_a_custom_layer():
    model = fnn.Sequential(fnn.Dense(5), Scale, Scale)
    params, state = start(model)
    assert list(state) == ["scale", "scale_1"]
    y, new = apply(model, params, state, train=True)
    want = linear(params["dense"], X) * params["scale"]["scale"] * params["scale_1"]["scale"]
    np.testing.assert_allclose(y, want, 1e-5, 1e-6)
    assert int(new["scale"]["count"]) == 1
    assert int(apply(model, params, new)[1]["scale"]["count"]) == 1
    assert int(state["scale"]["count"]) == 0


def test_layers_of_the_same_kind_start_with_different_parameters():
    model = fnn.Sequential(fnn.Dense(3), fnn.Dense(3), fnn.Sequential(fnn.Dense(3), fnn.Dense(3)))
    params, _ = jax.jit(model.init)(KEY, X)
    kernels = [leaf for path, leaf in fnn.paths(params).items() if path.endswith("kernel")]
    assert len({np.asarray(k).tobytes() for k in kernels}) == 4


def test_init_reads_only_shape_and_dtype_and_is_pure():
    model = fnn.Sequential(fnn.Flatten(), fnn.Dense(2), fnn.BatchNorm())
    x = np.full((2, 3, 1), np.nan, "float32")
    for argument in (x, jax.ShapeDtypeStruct((7, 3, 1), jnp.float32)):
        a, b = model.init(KEY, argument), model.init(KEY, np.ones((1, 3, 1), "float32"))
        jax.tree.map(np.testing.assert_array_equal, a, b)
    shapes = jax.eval_shape(model.init, KEY, x)
    assert shapes[0]["dense"]["kernel"].shape == (3, 2)


def test_inputs_and_outputs_may_be_trees():
    pair = fnn.Layer(
        lambda key, x: ({}, {}), lambda p, s, x, *, key=None, train=False: ({"a": x[0], "b": x[1]}, s), "pair"
    )
    add = fnn.Layer(lambda key, x: ({}, {}), lambda p, s, x, *, key=None, train=False: (x["a"] + x["b"], s), "add")
    model = fnn.Sequential(pair, add, fnn.Dense(2))
    y, _, _ = forward(model, (X, X))
    assert y.shape == (4, 2)


def test_residual_is_its_equation():
    model = fnn.Residual(fnn.Dense(5, activation="tanh"), fnn.Dense(3))
    y, params, _ = forward(model)
    body = params["body"]
    want = X + linear(body["dense_1"], np.tanh(linear(body["dense"], X)))
    np.testing.assert_allclose(y, want, 1e-5, 1e-6)
    y, params, _ = forward(fnn.Residual(fnn.Dense(2), shortcut=fnn.Dense(2)))
    assert set(params) == {"body", "shortcut"}
    np.testing.assert_allclose(y, linear(params["body"]["dense"], X) + linear(params["shortcut"], X), 1e-5, 1e-6)
    params, _ = jax.jit(fnn.Residual(fnn.Dense(2), shortcut=fnn.Dense(2)).init)(KEY, X)
    assert not np.array_equal(params["body"]["dense"]["kernel"], params["shortcut"]["kernel"])


def test_residual_passes_state_key_and_train():
    model = fnn.Residual(fnn.BatchNorm(), fnn.Dropout(0.5), shortcut=fnn.Sequential(Scale, fnn.Dropout(0.5)))
    params, state = start(model)
    y, new = apply(model, params, state, key=KEY, train=True)
    assert set(new) == {"body", "shortcut"}
    assert int(new["shortcut"]["scale"]["count"]) == 1
    assert np.abs(new["body"]["batch_norm"]["moving_mean"]).min() > 0
    assert not np.array_equal(y, apply(model, params, state, key=jax.random.key(1), train=True)[0])


def test_observers_see_every_layer_with_its_path():
    model = fnn.Sequential(fnn.Dense(3), fnn.Residual(fnn.Dense(3)))
    params, state = start(model)
    seen = []
    with observe(seen.append):
        model.apply(params, state, X)
    assert ["/".join(trace.path) for trace in seen] == ["dense", "residual/body/dense", "residual/body", "residual"]
    assert [trace.layer.kind for trace in seen] == ["Dense", "Dense", "Sequential", "Residual"]
    assert all(trace.y.shape == (4, 3) for trace in seen)
    model.apply(params, state, X)
    assert len(seen) == 4


def test_an_observer_may_replace_the_output():
    model = fnn.Sequential(fnn.Dense(3), fnn.Residual(fnn.Dense(3)), fnn.Dense(2))
    params, state = start(model)
    seen = []

    def double(trace):
        seen.append(trace.y)
        return 2 * trace.y if trace.path == ("residual", "body", "dense") else None

    with observe(double):
        y, _ = model.apply(params, state, X)
    plain, _ = model.apply(params, state, X)
    with observe(lambda trace: None):
        np.testing.assert_array_equal(model.apply(params, state, X)[0], plain)
    first = linear(params["dense"], X)
    second = first + 2 * linear(params["residual"]["body"]["dense"], first)
    np.testing.assert_allclose(seen[3], second, rtol=1e-5)
    np.testing.assert_allclose(y, linear(params["dense_1"], second), rtol=1e-5)


def test_paths_of_a_tree():
    assert fnn.paths({"b": [1, {"c": 2}], "a": 3}) == {"a": 3, "b/0": 1, "b/1/c": 2}


# -------------------------------------------------------------------------------------------------------------- errors
def deep(layer):
    """A model with ``layer`` three levels down."""
    return fnn.Sequential(
        fnn.Dense(3), fnn.Sequential(fnn.Flatten(), fnn.Residual(fnn.Dense(3), layer), name="block"), fnn.Dense(2)
    )


def broken(message):
    def apply(params, state, x, *, key=None, train=False):
        raise KeyError(message)

    return fnn.Layer(lambda key, x: ({}, {}), apply, name="mine")


PLACE = r"^layer 'block' \(position 1\) > layer 'residual' \(position 1\) > residual body > "


def test_errors_name_the_layer_and_its_position_at_any_depth():
    with pytest.raises(
        fnn.InputError, match=PLACE + r"layer 'reshape' \(position 1\) > reshape: expected x with \(batch, 7\)"
    ):
        forward(deep(fnn.Reshape(7)))
    body = fnn.Residual(fnn.Activation(lambda x: x[0], name="dense"), fnn.Dense(3))
    model = fnn.Sequential(fnn.Dense(3), fnn.Sequential(fnn.Flatten(), body, name="block"))
    with pytest.raises(fnn.InputError, match=PLACE + r"layer 'dense_1' \(position 1\) > Dense: expected x of shape"):
        model.init(KEY, X)
    model = deep(fnn.Dense(3))
    params, state = start(model)
    params["block"]["residual"]["body"]["dense_1"]["kernel"] = np.ones((9, 3), "float32")
    with pytest.raises(
        fnn.InputError, match=PLACE + r"layer 'dense_1' \(position 1\) > dense: expected x of shape \(batch, 9\)"
    ):
        model.apply(params, state, X)


def test_errors_of_a_custom_layer_keep_their_type_and_get_a_note():
    with pytest.raises(KeyError, match="oops") as caught:
        forward(deep(broken("oops")))
    notes = caught.value.__notes__
    assert "in layer 'mine' (position 1)" in notes
    assert "in layer 'block' (position 1)" in notes


def test_wrong_input_of_a_deep_model():
    model = fnn.Sequential(fnn.Dense(8), fnn.Dense(2))
    params, state = start(model)
    with pytest.raises(
        fnn.InputError,
        match=r"^layer 'dense' \(position 0\) > dense: expected x of shape \(batch, 3\) .* got float32\[4, 5\]",
    ):
        model.apply(params, state, np.ones((4, 5), "float32"))
    with pytest.raises(
        fnn.InputError, match=r"^layer 'dense' \(position 0\) > dense: .*got uint8\[4, 3\]\. Convert it first"
    ):
        model.apply(params, state, np.ones((4, 3), "uint8"))


def test_parameters_of_another_model():
    model = fnn.Sequential(fnn.Dense(8), fnn.Dense(2))
    params, state = start(model)
    other, _ = start(fnn.Sequential(fnn.Dense(8), fnn.Dense(2), fnn.Dense(2)))
    for call, message in (
        (
            lambda: model.apply(other, state, X),
            r"sequential: expected parameters of the layers \['dense', 'dense_1'\], got \['dense_2'\]\. Do they belong",
        ),
        (
            lambda: model.apply(params, {"batch_norm": {}}, X),
            r"sequential: expected state of the layers .*, got \['batch_norm'\]",
        ),
        (lambda: model.apply(None, state, X), r"sequential: expected parameters of the layers .*, got None"),
        (
            lambda: model.apply({}, state, X),
            r"layer 'dense' \(position 0\) > dense: expected parameters with a leaf 'kernel', got \[\]",
        ),
        (
            lambda: model.apply({"dense": params["dense"]}, state, X),
            r"layer 'dense_1' \(position 1\) > dense: expected parameters with a leaf 'kernel'",
        ),
    ):
        with pytest.raises(fnn.InputError, match=message):
            call()


def lone(init=lambda key, x: ({}, {}), apply=lambda p, s, x, *, key=None, train=False: (x, s)):
    return fnn.Layer(init, apply, name="mine")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fnn.Sequential(fnn.Dense(2), jnp.tanh),
            r"Sequential, position 1: expected a Layer, got .*\. Wrap a plain function as Activation\(fn\)",
        ),
        (
            lambda: fnn.Sequential(fnn.Dense(2), 3),
            r"Sequential, position 1: expected a Layer, got 3\. Use fnn\.Layer\(init, apply\)",
        ),
        (lambda: fnn.Sequential(fnn.Dense), r"Sequential, position 0: expected a Layer"),
        (lambda: fnn.Sequential(fnn.Layer(None, None)), r"Sequential, position 0: expected a Layer"),
        (lambda: fnn.Residual(3), r"Sequential, position 0: expected a Layer, got 3"),
        (
            lambda: forward(fnn.Sequential(lone(init=lambda key, x: {}))),
            r"layer 'mine' \(position 0\) > init: expected the pair \(params, state\), got a dict",
        ),
        (
            lambda: forward(fnn.Sequential(fnn.Flatten(), lone(apply=lambda p, s, x, *, key=None, train=False: x))),
            r"layer 'mine' \(position 1\) > apply: expected the pair \(y, state\), got float32\[4, 3\]\. Return",
        ),
        (
            lambda: forward(fnn.Residual(fnn.Dense(2))),
            r"residual: .* body's output to match its input, .*3\], got float32\[4, 2\]\. Pass shortcut=Dense",
        ),
        (
            lambda: forward(fnn.Residual(fnn.Dense(2), shortcut=fnn.Dense(3))),
            r"residual: .* to match that of the shortcut, float32\[4, 3\], got float32\[4, 2\]",
        ),
        (
            lambda: fnn.Sequential(fnn.Residual(fnn.Flatten(), shortcut=fnn.Dense(2))).init(KEY, jnp.ones(3)),
            r"layer 'residual' \(position 0\) > residual shortcut > Dense: expected x of shape",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


def test_an_input_error_is_a_value_error():
    assert issubclass(fnn.InputError, ValueError)


IMAGE, SEQUENCE, VECTOR = (4, 6, 6, 2), (4, 5, 3), (4, 6)
INDEPENDENT = {
    "Dense": (lambda: fnn.Dense(3, activation="softmax"), VECTOR),
    "Activation": (lambda: fnn.Activation("gelu"), VECTOR),
    "Flatten": (lambda: fnn.Flatten(), IMAGE),
    "Reshape": (lambda: fnn.Reshape((3, 2)), VECTOR),
    "Dropout": (lambda: fnn.Dropout(0.5), VECTOR),
    "Dropout of images": (lambda: fnn.Dropout(0.5), (4, 9, 9, 3)),
    "LayerNorm": (lambda: fnn.LayerNorm(), VECTOR),
    "Conv": (lambda: fnn.Conv(3, 3, padding="same"), IMAGE),
    "DepthwiseConv": (lambda: fnn.DepthwiseConv(3), IMAGE),
    "ConvTranspose": (lambda: fnn.ConvTranspose(3, 3), IMAGE),
    "MaxPool": (lambda: fnn.MaxPool(2), IMAGE),
    "AvgPool": (lambda: fnn.AvgPool(2), IMAGE),
    "GlobalMaxPool": (lambda: fnn.GlobalMaxPool(), IMAGE),
    "GlobalAvgPool": (lambda: fnn.GlobalAvgPool(), IMAGE),
    "SimpleRNN": (lambda: fnn.SimpleRNN(3), SEQUENCE),
    "LSTM": (lambda: fnn.LSTM(3), SEQUENCE),
    "GRU": (lambda: fnn.GRU(3), SEQUENCE),
    "Bidirectional": (lambda: fnn.Bidirectional(fnn.LSTM(3)), SEQUENCE),
    "Residual": (lambda: fnn.Residual(fnn.Dense(6), fnn.Dropout(0.5)), VECTOR),
    "Sequential": (lambda: fnn.Sequential(fnn.Dense(6), fnn.Dropout(0.5)), VECTOR),
}


@pytest.mark.parametrize("name", few(INDEPENDENT))
def test_per_example_layers_treat_examples_independently(name):
    """Even in training, later rows change nothing, neither by their values nor by their presence."""
    layer, shape = INDEPENDENT[name][0](), INDEPENDENT[name][1]
    assert layer.per_example
    rng = np.random.default_rng(1)
    x = rng.normal(size=shape).astype("float32")
    changed = x.copy()
    changed[3] = 100
    params, state = start(layer, x)

    @jax.jit
    def outputs(*inputs):
        return [layer.apply(params, state, x, key=jax.random.key(2), train=True)[0] for x in inputs]

    whole, other, fewer = map(np.asarray, outputs(x, changed, x[:3]))
    np.testing.assert_array_equal(whole[:3], other[:3])
    np.testing.assert_allclose(whole[:3], fewer, 1e-5, 1e-6)


def test_batch_norm_is_not_per_example():
    assert not fnn.BatchNorm().per_example
    assert not fnn.Sequential(fnn.Dense(2), fnn.BatchNorm()).per_example
    assert not fnn.Bidirectional(fnn.LSTM(3, activation=lambda x: x)).per_example
