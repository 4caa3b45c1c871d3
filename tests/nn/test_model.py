"""Model: values and gradients against Keras's functional models, keys, state, shapes, and errors with their line."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import compilations

import fnn

keras = pytest.importorskip("keras", reason="Keras is the reference here")
k = keras.layers
RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def draw(*shape):
    return RNG.normal(size=shape).astype("float32")


# ------------------------------------------------------------------------------------------------------ against Keras
def two_inputs():
    """A picture and a table, to two outputs."""

    def forward(layers, x):
        h = jnp.concatenate([layers.image(x["image"]), layers.table(x["table"])], axis=-1)
        return {"digit": layers.digit(h), "angle": layers.angle(h)}

    image = fnn.Sequential(fnn.Conv(2, 3, activation="relu"), fnn.Flatten(), fnn.Dense(4, "tanh"))
    model = fnn.Model(forward, image=image, table=fnn.Dense(3), digit=fnn.Dense(5), angle=fnn.Dense(1))

    inputs = {"image": keras.Input((6, 5, 1), name="image"), "table": keras.Input((3,), name="table")}
    conv, dense, table = k.Conv2D(2, 3, activation="relu"), k.Dense(4, activation="tanh"), k.Dense(3)
    digit, angle = k.Dense(5), k.Dense(1)
    h = k.Concatenate()([dense(k.Flatten()(conv(inputs["image"]))), table(inputs["table"])])
    theirs = keras.Model(inputs, {"digit": digit(h), "angle": angle(h)})
    places = {"image/conv": conv, "image/dense": dense, "table": table, "digit": digit, "angle": angle}
    return model, theirs, places, {"image": draw(3, 6, 5, 1), "table": draw(3, 3)}


def siamese():
    """Two inputs through one encoder, and their distance through a second layer, called once."""

    def forward(layers, x):
        a, b = layers.encoder(x[0]), layers.encoder(x[1])
        return layers.head(jnp.abs(a - b))

    model = fnn.Model(forward, encoder=fnn.Sequential(fnn.Dense(4, "tanh"), fnn.Dense(3)), head=fnn.Dense(1))
    first, second, head = k.Dense(4, activation="tanh"), k.Dense(3), k.Dense(1)
    inputs = keras.Input((5,)), keras.Input((5,))
    a, b = (second(first(x)) for x in inputs)
    theirs = keras.Model(inputs, head(keras.ops.abs(a - b)))
    return model, theirs, {"encoder/dense": first, "encoder/dense_1": second, "head": head}, (draw(3, 5), draw(3, 5))


def skips():
    """Blocks in a loop, each of which sees the sum of all before."""

    def forward(layers, x):
        total = h = layers.stem(x)
        for block in layers.blocks:
            h = block(total)
            total = total + h
        return layers.tail["out"](h * total)

    blocks = [fnn.Dense(4, "tanh"), fnn.Dense(4, "relu"), fnn.Dense(4)]
    model = fnn.Model(forward, stem=fnn.Dense(4), blocks=blocks, tail={"out": fnn.Dense(2)})
    inputs = keras.Input((3,))
    stem, out = k.Dense(4), k.Dense(2)
    theirs = [k.Dense(4, activation=activation) for activation in ("tanh", "relu", None)]
    total = h = stem(inputs)
    for block in theirs:
        h = block(total)
        total = total + h
    places = {"stem": stem, **{f"blocks/{i}": block for i, block in enumerate(theirs)}, "tail/out": out}
    return model, keras.Model(inputs, out(h * total)), places, draw(3, 3)


def sequences():
    """Masked sequences through two recurrent layers in parallel."""

    def forward(layers, x):
        h = layers.words(x)
        return layers.out(jnp.concatenate([layers.lstm(h), layers.gru(h)], -1))

    words = fnn.Embedding(6, 3, mask_zero=True)
    model = fnn.Model(forward, words=words, lstm=fnn.LSTM(2), gru=fnn.GRU(3), out=fnn.Dense(2))
    inputs = keras.Input((5,), dtype="int32")
    words, lstm, gru, out = k.Embedding(6, 3, mask_zero=True), k.LSTM(2), k.GRU(3), k.Dense(2)
    h = words(inputs)
    theirs = keras.Model(inputs, out(k.Concatenate()([lstm(h), gru(h)])))
    ids = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 1, 2], [5, 0, 0, 0, 0]], np.int32)
    return model, theirs, {"words": words, "lstm": lstm, "gru": gru, "out": out}, ids


def nested():
    """A Model inside a Sequential inside a Model."""
    inner = fnn.Model(lambda layers, x: x * jax.nn.sigmoid(layers.gate(x)), gate=fnn.Dense(4), name="gated")
    middle = fnn.Sequential(fnn.Dense(4), inner)
    model = fnn.Model(lambda layers, x: layers.out(layers.body(x)) + layers.skip(x), body=middle, out=fnn.Dense(2),
                      skip=fnn.Dense(2))  # fmt: skip
    inputs = keras.Input((3,))
    dense, gate, out, skip = k.Dense(4), k.Dense(4, activation="sigmoid"), k.Dense(2), k.Dense(2)
    h = dense(inputs)
    theirs = keras.Model(inputs, out(h * gate(h)) + skip(inputs))
    return model, theirs, {"body/dense": dense, "body/gated/gate": gate, "out": out, "skip": skip}, draw(3, 3)


@pytest.mark.parametrize(
    "make", [two_inputs, skips, *(pytest.param(make, marks=pytest.mark.slow) for make in (siamese, sequences, nested))]
)
def test_values_and_gradients_match_keras(make):
    model, theirs, places, x = make()
    params = jax.tree.map(lambda a: np.float32(0.4) * draw(*a.shape), jax.eval_shape(model.init, KEY, x)[0])
    state = jax.jit(lambda: model.init(KEY, x)[1])()
    leaves, treedef = jax.tree.flatten(params)
    paths = list(fnn.paths(params))
    variables = {}
    for place, layer in places.items():
        for variable in layer.trainable_variables:
            variables[f"{place}/{variable.path.split('/')[-1]}"] = variable
    assert sorted(variables) == sorted(paths)
    order = [variables[path] for path in paths]
    assert [tuple(variable.shape) for variable in order] == [leaf.shape for leaf in leaves]
    cotangent = jax.tree.map(lambda a: draw(*a.shape), jax.eval_shape(lambda: model.apply(params, state, x)[0]))

    def ours(leaves):
        y, _ = model.apply(treedef.unflatten(leaves), state, x)
        return sum(jnp.vdot(a, c) for a, c in zip(jax.tree.leaves(y), jax.tree.leaves(cotangent), strict=True)), y

    index = {id(variable): i for i, variable in enumerate(order)}

    def keras_s(leaves):
        values = [leaves[index[id(variable)]] for variable in theirs.trainable_variables]
        y, _ = theirs.stateless_call(values, [v.value for v in theirs.non_trainable_variables], x)
        return sum(jnp.vdot(a, c) for a, c in zip(jax.tree.leaves(y), jax.tree.leaves(cotangent), strict=True)), y

    both = jax.jit(lambda leaves: [jax.value_and_grad(fn, has_aux=True)(leaves) for fn in (ours, keras_s)])
    ((_, y), grads), ((_, want), want_grads) = both(leaves)
    for a, b in zip(jax.tree.leaves((y, grads)), jax.tree.leaves((want, want_grads)), strict=True):
        np.testing.assert_allclose(a, b, 2e-5, 2e-6)


# -------------------------------------------------------------------------------------------------- keys and parameters
def plain(*names):
    """A chain of layers of one size."""

    def forward(layers, x):
        for name in names:
            x = layers[name](x)
        return x

    return forward


def test_parameters_depend_on_the_name_alone():
    x = draw(2, 3)
    one, _ = fnn.Model(plain("a", "b"), a=fnn.Dense(3), b=fnn.Dense(3)).init(KEY, x)
    two, _ = fnn.Model(plain("c", "b", "a"), c=fnn.Dense(3), b=fnn.Dense(3), a=fnn.Dense(3)).init(KEY, x)
    assert (one["a"]["kernel"] == two["a"]["kernel"]).all()
    assert (one["b"]["kernel"] == two["b"]["kernel"]).all()
    assert not (one["a"]["kernel"] == one["b"]["kernel"]).any()


def test_each_call_has_a_key_of_its_own():
    model = fnn.Model(lambda layers, x: (layers.drop(x), layers.drop(x), layers.other(x)), drop=fnn.Dropout(0.5),
                      other=fnn.Dropout(0.5))  # fmt: skip
    x = np.ones((4, 50), "float32")
    params, state = model.init(KEY, x)
    run = jax.jit(lambda key: model.apply(params, state, x, key=key, train=True)[0])
    masks = run(KEY)
    assert not any((np.asarray(masks[i]) == masks[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
    for a, b in zip(masks, run(KEY), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.apply(params, state, x)[0][0], x)


def test_forward_receives_the_options_that_it_names():
    seen = []

    def forward(layers, x, *, key, train):
        seen.append((key, train))
        return layers.a(x) + (jax.random.normal(key, x.shape) if train else 0)

    model = fnn.Model(forward, a=fnn.Dense(3))
    params, state = model.init(KEY, draw(2, 3))
    assert [train for _, train in seen] == [True]
    x = draw(2, 3)
    quiet, noisy = (model.apply(params, state, x, key=KEY, train=train)[0] for train in (False, True))
    assert model.apply(params, state, x)[0].shape == (2, 3)
    assert [(key is None, train) for key, train in seen[1:]] == [(False, False), (False, True), (True, False)]
    assert (jax.random.key_data(seen[2][0]) != jax.random.key_data(KEY)).any()
    assert (np.asarray(quiet) != noisy).all()


def test_shared_weights_have_both_gradients():
    def forward(layers, x):
        h = layers.words(x)
        return layers.mix(h) @ layers.words.params["embeddings"].T

    model = fnn.Model(forward, words=fnn.Embedding(5, 3), mix=fnn.Dense(3, "tanh"))
    ids = np.array([[0, 2], [3, 2]], np.int32)
    params, state = jax.jit(model.init)(KEY, ids)

    def ours(params):
        return jnp.sum(jnp.sin(model.apply(params, state, ids)[0]))

    def by_hand(params):
        table, mix = params["words"]["embeddings"], params["mix"]
        return jnp.sum(jnp.sin(jnp.tanh(table[ids] @ mix["kernel"] + mix["bias"]) @ table.T))

    got, want = jax.jit(lambda params: [jax.grad(fn)(params) for fn in (ours, by_hand)])(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), got, want)


# --------------------------------------------------------------------------------------------------------------- state
def test_a_layer_called_twice_updates_its_state_twice():
    norm = fnn.BatchNorm(momentum=0.5)
    model = fnn.Model(lambda layers, x: layers.norm(layers.norm(x) + 1.0), norm=norm)
    x = 2 * draw(6, 3) + 1

    @jax.jit
    def both(x):
        params, state = model.init(KEY, x)
        h, once = norm.apply(params["norm"], state["norm"], x, train=True)
        return model.apply(params, state, x, train=True), norm.apply(params["norm"], once, h + 1.0, train=True)

    (y, after), (want, twice) = both(x)
    np.testing.assert_allclose(y, want, 1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), after["norm"], twice)


def test_what_calls_add_to_the_loss_is_summed_and_forgotten():
    def forward(layers, x, *, train):
        h = layers.penalty(layers.penalty(x) * 2)
        return layers.aux(h) if train else h

    model = fnn.Model(forward, penalty=fnn.ActivityRegularization(l1=1.0), aux=fnn.ActivityRegularization(l2=1.0))
    x = np.array([[1.0, -2.0], [3.0, 0.5]], "float32")
    params, state = model.init(KEY, x)
    _, after = model.apply(params, state, x, train=True)
    total = np.abs(x).sum() / 2
    assert float(after["penalty"]["penalty"].value) == pytest.approx(3 * total)
    assert float(after["aux"]["penalty"].value) == pytest.approx(4 * (x**2).sum() / 2)
    _, evaluated = model.apply(params, after, x)
    assert float(evaluated["aux"]["penalty"].value) == 0  # not that of the last batch
    assert float(evaluated["penalty"]["penalty"].value) == pytest.approx(3 * total)


def test_layers_without_state_may_be_called_inside_transformations():
    model = fnn.Model(
        lambda layers, x: jax.lax.scan(lambda c, row: (layers.cell(c + row), c), jnp.zeros(x.shape[1:]), x)[0]
        + jax.checkpoint(layers.cell)(x[0]) + jax.vmap(layers.other)(x).sum(0),
        cell=fnn.Dense(3, "tanh"), other=fnn.Dense(3),
    )  # fmt: skip
    x = draw(4, 2, 3)
    params, state = jax.jit(model.init)(KEY, x)

    def by_hand(x):
        carry = np.zeros((2, 3), "float32")
        for row in x:
            carry = np.tanh((carry + row) @ params["cell"]["kernel"])
        return carry + np.tanh(x[0] @ params["cell"]["kernel"]) + (x @ params["other"]["kernel"]).sum(0)

    np.testing.assert_allclose(jax.jit(model.apply)(params, state, x)[0], by_hand(x), 1e-5, 1e-6)


@pytest.mark.parametrize("transformation", ["scan", "vmap", "jit", "cond", "checkpoint"])
def test_state_inside_a_transformation_is_refused(transformation):
    def forward(layers, x):
        calls = {
            "scan": lambda: jax.lax.scan(lambda c, row: (c, layers.norm(row)), 0, x)[1],
            "vmap": lambda: jax.vmap(layers.norm)(x),
            "jit": lambda: jax.jit(layers.norm)(x),
            "cond": lambda: jax.lax.cond(True, layers.norm, lambda x: x, x),
            "checkpoint": lambda: jax.checkpoint(layers.norm)(x),
        }
        return calls[transformation]()

    model = fnn.Model(forward, norm=fnn.BatchNorm())
    with pytest.raises(fnn.InputError, match=r"layer 'norm': expected a layer without state inside .*BatchNorm"):
        model.init(KEY, draw(4, 2, 3))


def draws(layers, x, call):
    """Two rounds of a layer inside a transformation."""
    rounds = {
        "scan": lambda: jax.lax.scan(lambda c, row: (c, layers.a(row)), 0, x)[1],
        "vmap": lambda: jax.vmap(layers.a)(x),
        "jit": lambda: (lambda fn: fn(x) + fn(x))(jax.jit(lambda x: layers.a(x))),
        "cond": lambda: jax.lax.cond(True, layers.a, lambda x: x, x),
        "checkpoint": lambda: (lambda fn: fn(x) + fn(x))(jax.checkpoint(lambda x: layers.a(x))),
    }
    return rounds[call]()


@pytest.mark.parametrize("transformation", ["scan", "vmap", "jit", "cond", "checkpoint"])
def test_random_numbers_inside_a_transformation_are_refused_in_training(transformation):
    """Each round would draw the same ones; Dropout inside a Sequential too, and with a key of the user's layer."""
    forward = functools.partial(draws, call=transformation)
    noise = fnn.Layer(
        lambda key, x: ({}, {}),
        lambda p, s, x, *, key=None, train=False: (x + jax.random.normal(key, x.shape) if train else x, s),
    )
    x = draw(2, 3)
    for layer, error in (
        (fnn.Dropout(0.5), r"layer 'a' > dropout: expected a key.*no key inside.*fnn\.Repeated"),
        (fnn.Sequential(fnn.Dropout(0.5)), r"'dropout' \(position 0\) > dropout: .*no key inside.*fnn\.Repeated"),
    ):
        model = fnn.Model(forward, a=layer)
        with pytest.raises(fnn.InputError, match=error):
            model.init(KEY, x)
        assert jax.eval_shape(lambda x, m=model: m.apply({}, {}, x, key=KEY)[0], x).shape == (2, 3)
        with pytest.raises(fnn.InputError, match=r"a key in training, got key=None\. Call apply\([^()]*\)\.$"):
            model.apply({}, {}, x, train=True)  # without a key there is nothing to explain
    with pytest.raises(Exception, match="key") as raised:
        fnn.Model(forward, a=noise).init(KEY, x)
    assert any("fnn.Repeated" in note for note in raised.value.__notes__)


# --------------------------------------------------------------------------------------------------- shapes and nesting
def test_init_traces_each_model_once_per_shape():
    counts = []

    def forward(layers, x):
        counts.append(1)
        return layers.a(layers.b(x))

    model = fnn.Dense(3)
    for _ in range(8):
        model = fnn.Model(forward, a=model, b=fnn.Dense(3))
    model.init(KEY, draw(2, 3))
    assert len(counts) <= 8 * 10  # 2 ** 8 times without what the levels share


def test_init_reads_shapes_alone():
    model, _, _, x = two_inputs()
    struct = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), x)
    a, b = model.init(KEY, x), jax.jit(lambda key: model.init(key, struct))(KEY)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6, 1e-7), a, b)
    doubled = fnn.Model(lambda layers, x: layers.out(x.reshape(x.shape[0], -1)), out=fnn.Dense(2))
    assert doubled.init(KEY, jax.ShapeDtypeStruct((1, 2, 3), jnp.bfloat16))[0]["out"]["kernel"].shape == (6, 2)


def test_summary_counts_every_parameter_once():
    model, theirs, _, x = two_inputs()
    table = fnn.summary(model, x)
    assert table.total == theirs.count_params()
    assert [row.path for row in table.rows] == [
        ("image",), ("image", "conv"), ("image", "flatten"), ("image", "dense"), ("table",), ("digit",), ("angle",)
    ]  # fmt: skip
    shared, theirs, _, x = siamese()
    assert fnn.summary(shared, x).total == theirs.count_params()


def test_a_training_compiles_once_and_states_are_saved(tmp_path):
    def task():
        def forward(layers, x):
            return layers.out(jnp.concatenate([layers.left(x["a"]), layers.right(x["b"])], -1))

        model = fnn.Model(forward, left=fnn.Dense(4, "tanh"), right=[fnn.Dense(2)][0], out=fnn.Dense(3))
        return fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(0.05), metrics=["accuracy"])

    x = {"a": draw(24, 3), "b": draw(24, 2)}
    y = (x["a"].sum(1) > x["b"].sum(1)).astype("int32") + (x["b"][:, 0] > 1)
    ts = fnn.init(task(), KEY, x)
    after, history = fnn.fit(task(), ts, (x, y), epochs=30, batch_size=8, verbose=0)
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    with compilations() as count:
        again, _ = fnn.fit(task(), ts, (x, y), epochs=30, batch_size=8, verbose=0)
    assert count() == 0
    assert fnn.fingerprint(after) == fnn.fingerprint(again)
    fnn.save(tmp_path / "state.safetensors", after)
    assert fnn.fingerprint(fnn.load(tmp_path / "state.safetensors", ts)) == fnn.fingerprint(after)
    assert fnn.predict(task(), after, x, batch_size=10).shape == (24, 3)


def test_lists_of_layers_are_saved(tmp_path):
    model, _, _, x = skips()
    params, _ = model.init(KEY, x)
    assert [sorted(block) for block in params["blocks"]] == [["bias", "kernel"]] * 3
    fnn.save(tmp_path / "params.safetensors", params)
    loaded = fnn.load(tmp_path / "params.safetensors", jax.tree.map(jnp.zeros_like, params))
    assert fnn.fingerprint(loaded) == fnn.fingerprint(params)


def module_forward(layers, x):
    return layers.b(layers.a(x))


def test_models_print_compare_and_pickle():
    def make(units=3):
        return fnn.Model(lambda layers, x: layers.b(layers.a[0](x)), a=[fnn.Dense(units)], b=fnn.Dense(2))

    assert make() == make()
    assert make() != make(4)
    assert repr(make()) == "Model(<lambda>, a=[Dense(3)], b=Dense(2))"
    model = fnn.Model(module_forward, a=fnn.Dense(2), b=fnn.Dense(3), name="pair")
    assert pickle.loads(pickle.dumps(model)) == model
    assert list(fnn.Sequential(model, model).init(KEY, draw(2, 2))[0]) == ["pair", "pair_1"]


def test_containers_changed_later_do_not_change_the_model():
    def make(blocks, tail):
        return fnn.Model(lambda layers, x: layers.tail["out"](layers.blocks[0][0](x)), blocks=blocks, tail=tail)

    blocks, tail = [[fnn.Dense(2)]], {"out": fnn.Dense(3)}
    model, same = make(blocks, tail), make([[fnn.Dense(2)]], {"out": fnn.Dense(3)})
    blocks[0].append(fnn.Dense(4))
    blocks.append(fnn.Dense(4))
    tail["out"] = fnn.Dense(9)
    tail["more"] = fnn.Dense(9)
    assert model == same
    assert hash(model) == hash(same)
    assert repr(model) == repr(same)
    assert make(blocks, tail) != model
    params, _ = jax.eval_shape(model.init, KEY, draw(2, 2))
    assert jax.tree.map(lambda a: a.shape, params["tail"]) == {"out": {"bias": (3,), "kernel": (2, 3)}}


class Forward:
    """Functions of other kinds, which all scale by three."""

    def __call__(self, layers, x):
        return layers.a(x) * 3

    def method(self, layers, x, *, train):
        return layers.a(x) * (3 if train else 4)


def scaled(layers, x, scale, *, train):
    return layers.a(x) * (scale if train else scale + 1)


def logged(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return fn(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("forward", "evaluated"),
    [
        (functools.partial(scaled, scale=3), 4),
        (functools.partial(scaled, scale=3, train=True), 3),
        (functools.partial(functools.partial(scaled, train=False), scale=2), 3),
        (Forward(), 3),
        (Forward().method, 4),
        (logged(Forward().method), 4),
        (lambda *args, **options: args[0].a(args[1]) * (3 if options["train"] else 4), 4),
        (lambda layers, x, scale=3: layers.a(x) * scale, 3),
    ],
)
def test_forward_may_be_any_callable(forward, evaluated):
    model = fnn.Model(forward, a=fnn.Activation("linear"))
    x = draw(2, 3)
    np.testing.assert_allclose(model.apply({}, {}, x, key=KEY, train=True)[0], 3 * x, 1e-6)
    np.testing.assert_allclose(model.apply({}, {}, x)[0], evaluated * x, 1e-6)
    assert "a=Activation('linear')" in repr(model)


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (functools.partial(lambda layers, x, scale: layers.a(x[0, 0]), scale=1), "<lambda>"),
        (type("Fails", (), {"__call__": lambda self, layers, x: layers.a(x[0, 0])})(), "<lambda>"),
    ],
)
def test_errors_name_the_line_of_any_callable(forward, name):
    with pytest.raises(
        fnn.InputError, match=rf"^model, line \d+ of {name}: .*layers.a\(x\[0, 0\]\).* > layer 'a' > Dense"
    ):
        fnn.Model(forward, a=fnn.Dense(2)).init(KEY, draw(2, 3))


def test_a_forward_may_ask_for_a_layer():
    def forward(layers, x):
        assert hasattr(layers, "a")
        assert not hasattr(layers, "b")
        assert getattr(layers, "b", None) is None
        return layers.a(x, 2.0)  # a Python number among the inputs

    inner = fnn.Model(lambda layers, x: (x[0] * x[1], 5.0), unused=[], a=fnn.Dense(1))
    with pytest.raises(fnn.InputError, match="got no call of 'a'"):
        fnn.Model(forward, a=inner).init(KEY, draw(2, 3))
    inner = fnn.Model(lambda layers, x: (layers.a(x[0]) * x[1], 5.0), unused=[], a=fnn.Dense(1))
    params, state = fnn.Model(forward, a=inner).init(KEY, draw(2, 3))
    assert list(params["a"]) == ["a"]
    assert fnn.Model(forward, a=inner).apply(params, state, draw(2, 3))[0][1] == 5


def test_keys_of_every_kind():
    """In init the values of parameters are not known, those of keys neither."""
    seen = []
    keyed = fnn.Layer(lambda key, x: ({"key": jax.random.key(1, impl="rbg")}, {}), lambda p, s, x, **_: (x, s))

    def forward(layers, x, *, key):
        y = layers.a(x)
        seen.append((key.dtype, layers.a.params["key"].dtype))
        return y

    model = fnn.Model(forward, a=keyed)
    for impl in ("rbg", "threefry2x32"):
        key = jax.random.key(0, impl=impl)
        params, state = model.init(key, draw(2, 3))
        model.apply(params, state, draw(2, 3), key=key)
        assert seen[-2:] == [(key.dtype, params["key" if "key" in params else "a"]["key"].dtype)] * 2


# -------------------------------------------------------------------------------------------------------------- errors
def test_errors_name_the_line_of_forward():
    def forward(layers, x):
        h = layers.stem(x)
        return layers.head(h[0, 0])

    model = fnn.Model(forward, stem=fnn.Dense(4), head=fnn.Dense(2), name="net")
    message = r"^net, line \d+ of forward: return layers.head\(h\[0, 0\]\) > layer 'head' > Dense: expected x of shape"
    with pytest.raises(fnn.InputError, match=message):
        model.init(KEY, draw(2, 3))
    outer = fnn.Sequential(fnn.Dense(3), model)
    with pytest.raises(fnn.InputError, match=r"^layer 'net' \(position 1\) > net, line \d+ of forward: "):
        outer.init(KEY, draw(2, 3))
    wrong = fnn.Model(lambda layers, x: layers.a(x) @ jnp.ones((7, 7)), a=fnn.Dense(2))
    with pytest.raises(TypeError, match="contracting dimensions") as raised:
        wrong.init(KEY, draw(2, 3))
    assert any("in model, line" in note and "jnp.ones((7, 7))" in note for note in raised.value.__notes__)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fnn.Model(plain("a"), name=fnn.Dense(2)), r"Model: expected name to be a str, got Dense\(2\)\."),
        (lambda: fnn.Model(plain("a"), per_example=fnn.Dense(2)), "Model: expected per_example to be True or False"),
        (lambda: fnn.Model(plain("a")), "Model: expected layers by name, got none"),
        (lambda: fnn.Model(fnn.Dense(2)), r"Model: expected a function forward\(layers, x\) as .*, got Dense\(2\)"),
        (lambda: fnn.Model(plain("a"), a=jax.nn.relu), "Model, a: expected a Layer.*got the function relu. Functions"),
        (lambda: fnn.Model(plain("a"), a=fnn.Dense), r"Model, a: .*got the function Dense. Call it: Dense\(\.\.\.\)"),
        (lambda: fnn.Model(plain("a"), a=[fnn.Dense(2), 3]), "Model, a/1: expected a Layer.*got 3"),
        (lambda: fnn.Model(plain("a"), a={1: fnn.Dense(2)}), "Model, a: expected a name without '/' that .* got 1"),
        (
            lambda: fnn.Model(plain("a"), a=fnn.Dense(2), b=fnn.Dense(3), c=fnn.Dense(4)).init(KEY, draw(2, 3)),
            "model: expected forward to call every layer, got no call of 'b' or 'c'",
        ),
        (
            lambda: fnn.Model(plain("stme"), stem=fnn.Dense(2)).init(KEY, draw(2, 3)),
            "model, line .* > model: expected one of the layers 'stem', got layers.stme",
        ),
        (
            lambda: fnn.Model(lambda layers, x: layers.a(), a=fnn.Dense(2)).init(KEY, draw(2, 3)),
            "layer 'a': expected an input, got none",
        ),
        (
            lambda: fnn.Model(lambda layers, x: layers.a.params, a=fnn.Dense(2)).init(KEY, draw(2, 3)),
            "layer 'a': expected a call before its parameters are read, got none",
        ),
        (
            lambda: fnn.Model(plain("a"), a=fnn.Layer(lambda key, x: {}, lambda *a, **o: a)).init(KEY, draw(2, 3)),
            r"layer 'a' > init: expected the pair \(params, state\), got a dict",
        ),
        (
            lambda: fnn.Model(plain("a"), a=fnn.Dense(2)).apply({"dense": {}}, {}, draw(2, 3)),
            r"model: expected parameters of the layers 'a', got \['dense'\]\. Do they belong to another model\?",
        ),
        (lambda: fnn.Model(plain("a"), **{"a/b": fnn.Dense(2)}), "Model: expected a name without '/'.* got 'a/b'"),
        (lambda: fnn.Model(plain("a"), _bound=fnn.Dense(2)), "Model: expected a name .* begin with '_', got '_bound'"),
        (lambda: fnn.Model(plain("a"), a={"": fnn.Dense(2)}), "Model, a: expected a name without '/'.* got ''"),
        (lambda: fnn.Model(plain("a"), a=fnn.Dense(2), name="a/b"), "Model, name: expected a name .* got 'a/b'"),
        (lambda: fnn.Dense(2, name="a/b"), "Dense, name: expected a name without '/'.* got 'a/b'"),
        (lambda: fnn.Sequential(fnn.Dense(2), name=3), "Sequential, name: expected a name .* got 3"),
        (lambda: fnn.Layer(None, None, name="_a"), "Layer, name: expected a name .* got '_a'"),
        (lambda: fnn.Model(plain("a"), blocks=[], heads={}), "layers by name, got none in 'blocks' and 'heads'"),
        (
            lambda: fnn.Model(plain("a"), a=[fnn.Sequential(fnn.BatchNorm())], b=fnn.Dense(1), per_example=True),
            r"alone, as per_example=True promises, got a/0 \(Sequential\)\. Leave",
        ),
        (lambda: fnn.Model(lambda layers, x, *, training: x, a=fnn.Dense(2)), "got <lambda>.*Write train for training"),
        (lambda: fnn.Model(lambda layers, x, training=False: x, a=fnn.Dense(2)), "Write train for training"),
        (lambda: fnn.Model(lambda layers, x, rng: x, a=fnn.Dense(2)), r"\(layers, x, rng\)\. Write key for rng"),
        (lambda: fnn.Model(lambda x: x, a=fnn.Dense(2)), r"forward\(layers, x\), .* got <lambda>\(x\)\."),
        (lambda: fnn.Model(lambda layers, a, b: a, a=fnn.Dense(2)), "Pass several inputs as one tuple or dict"),
        (lambda: fnn.Model(lambda layers, x, key, /: x, a=fnn.Dense(2)), r"got <lambda>\(layers, x, key\)"),
        (
            lambda: fnn.Model(lambda layers, x: None, a=fnn.Dense(2), name="net").init(KEY, draw(2, 3)),
            r"^net: expected forward to return arrays, got None\. Does it end in a return\?",
        ),
        (
            lambda: fnn.Model(lambda layers, x: {"y": layers.a}, a=fnn.Dense(2)).init(KEY, draw(2, 3)),
            r"model: expected forward to return arrays, got a BoundLayer\. Call the layer",
        ),
        (
            lambda: fnn.Model(lambda layers, x: {}, a=fnn.Dense(2)).init(KEY, draw(2, 3)),
            r"model: expected forward to return arrays, got \{\}\.",
        ),
        *(
            (
                lambda option=option: fnn.Model(
                    lambda layers, x: layers.a(x, **{option: True}), a=fnn.Dense(2)
                ).init(KEY, draw(2, 3)),
                rf"layer 'a': expected inputs without options, got {option}=\. The model passes key and train",
            )
            for option in ("training", "train", "key")
        ),
        (
            lambda: fnn.Model(plain("a"), a=[fnn.Dense(2)]).apply({"a": []}, {}, draw(2, 3)),
            "model, a: expected parameters of the layers 0, got a list",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_explained(call, message):
    with pytest.raises(fnn.InputError, match=message):
        call()


def test_swapped_arguments_of_forward_are_told():
    def two(x, layers):
        return layers.a(x[0]) + layers.a(x[1])

    for forward, x in (
        (lambda x, layers: layers.a(x), draw(2, 3)),
        (lambda x, layers: jnp.exp(x) + layers.a(x), draw(2, 3)),
        (two, (draw(2, 3), draw(2, 3))),
        (two, {0: draw(2, 3), 1: draw(2, 3)}),
    ):
        with pytest.raises((AttributeError, TypeError)) as caught:
            fnn.Model(forward, a=fnn.Dense(2)).init(KEY, x)
        assert "forward takes the layers first: forward(layers, x)." in caught.value.__notes__
    with pytest.raises(AttributeError) as caught:  # an error of the user's own
        fnn.Model(lambda layers, x: x.b, a=fnn.Dense(2)).init(KEY, draw(2, 3))
    assert not any("layers first" in note for note in caught.value.__notes__)
