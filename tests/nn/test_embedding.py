"""Embedding and OneHot: against Keras and NumPy, ids out of range, and their errors."""

import helpers
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from fnn._core.errors import InputError
from fnn.nn import embedding as emb
from fnn.nn.containers import Sequential
from fnn.nn.embedding import Embedding, OneHot, embedding, embedding_init, one_hot

keras = pytest.importorskip("keras", reason="Keras is the reference here")


@pytest.mark.parametrize("rows", [7, 300])  # both forms of the gradient
def test_values_and_gradients_match_keras(rows, rng):
    ids = rng.integers(0, 7, (4, 5), "int32")
    theirs = keras.layers.Embedding(rows, 3, embeddings_initializer="zeros")
    theirs.build(ids.shape)
    params, _ = jax.eval_shape(Embedding(rows, 3).init, jax.random.key(0), ids)
    assert {n: p.shape for n, p in params.items()} == {w.name: tuple(w.shape) for w in theirs.weights}
    table = rng.normal(size=(rows, 3)).astype("float32")
    weight = rng.normal(size=(4, 5, 3)).astype("float32")

    @jax.jit
    def both(table):
        fns = (lambda t: embedding({"embeddings": t}, ids), lambda t: theirs.stateless_call([t], [], ids)[0])
        return [(f(table), jax.grad(lambda t, f=f: jnp.sum(f(t) * weight))(table)) for f in fns]

    (y, slope), (keras_y, keras_slope) = both(table)
    np.testing.assert_array_equal(y, keras_y)
    np.testing.assert_allclose(slope, keras_slope, 1e-5, 1e-6)


@hypothesis.settings(max_examples=12)
@hypothesis.given(
    st.lists(st.integers(-5, 400), min_size=6, max_size=6),
    st.sampled_from([1, 4, 200, 300]),
    st.sampled_from(["int32", "int16", "uint32"]),
)
def test_an_id_out_of_range_gives_nan(ids, rows, dtype):
    if dtype == "uint32":
        ids = [abs(i) for i in ids]
    table = np.arange(rows * 2.0, dtype="float32").reshape(rows, 2)
    y = jax.jit(embedding)({"embeddings": table}, np.asarray(ids, dtype))
    want = np.stack([table[i] if 0 <= i < rows else np.full(2, np.nan, "float32") for i in ids])
    np.testing.assert_array_equal(y, want)


def test_narrow_and_extreme_ids():
    table = np.arange(600, dtype="float32").reshape(300, 2)
    cases = [np.array([127, 3, -128], "int8"), np.array([2**32 - 1], "uint32"), np.array([255], "uint8")]
    lookup = jax.jit(lambda table, cases: [embedding({"embeddings": table}, ids) for ids in cases])
    nothing = np.full((1, 2), np.nan)
    for few in (table[:200], table):
        signed, unsigned, byte = lookup(few, cases)
        np.testing.assert_array_equal(signed, [few[127], few[3], *nothing])
        np.testing.assert_array_equal(unsigned, nothing)
        np.testing.assert_array_equal(byte, table[255:256] if len(few) > 255 else nothing)
    assert np.isnan(embedding({"embeddings": jnp.asarray(table)}, jnp.asarray([300]))).all()  # without jit too


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize("rows", [5, 300])
def test_derivatives_of_both_kinds(rows, platform, rng):
    """The product with one-hot rows and the scatter-add are derivatives of the same function."""
    with jax.enable_x64(True):
        table = jnp.asarray(rng.normal(size=(rows, 2)))
        ids = jnp.asarray(rng.integers(0, 5, (3, 4)))

        def fn(t):
            return jnp.sin(emb.take_rows(t, ids)) * jnp.arange(24.0).reshape(3, 4, 2)

        def reference(t):
            return jnp.sin(t[ids]) * jnp.arange(24.0).reshape(3, 4, 2)

        direction = jnp.asarray(rng.normal(size=table.shape))
        for f in (
            lambda f: jax.jvp(f, (table,), (direction,))[1],
            lambda f: jax.hessian(lambda t: f(t).sum())(table[:5]),
        ):
            both = jax.jit(helpers.for_platform(platform, lambda f=f: (f(fn), f(reference))))()
            np.testing.assert_allclose(*both, 1e-10, 1e-10)


def test_gradient_is_a_scatter_add_on_the_cpu_and_a_product_elsewhere():
    table, ids = jnp.ones((5, 2)), jnp.zeros((3,), "int32")
    slope = jax.jit(jax.grad(lambda t, ids: jnp.sum(embedding({"embeddings": t}, ids))))

    def operations(platform, dtype="float32"):
        text = jax.export.export(slope, platforms=[platform])(table.astype(dtype), ids).mlir_module()
        return "stablehlo.scatter" in text, "stablehlo.dot_general" in text

    assert operations("cpu") == (True, False)
    assert operations("cuda") == operations("tpu") == (False, True)
    assert operations("cpu", "bfloat16") == (False, True)  # a scatter-add would sum in bfloat16


@pytest.mark.parametrize("rows", [5, 300])
def test_vmap_and_dtype_and_promotion(rows, rng):
    tables = rng.normal(size=(3, rows, 2)).astype("bfloat16")
    ids = rng.integers(0, 5, (3, 4), "int32")
    with jax.numpy_dtype_promotion("strict"):
        fn = jax.value_and_grad(lambda t, i: jnp.sum(embedding({"embeddings": t}, i) ** 2))
        values, slopes = map(np.asarray, jax.jit(jax.vmap(fn))(tables, ids))
        one = jax.jit(fn)
        assert values.dtype == slopes.dtype == jnp.bfloat16
        for i in range(3):
            value, slope = one(tables[i], ids[i])
            np.testing.assert_allclose(values[i].astype(float), np.asarray(value, float), 0.02)
            np.testing.assert_allclose(slopes[i].astype(float), np.asarray(slope, float), 0.02, 0.02)


def test_lowers_for_every_platform():
    for rows in (5, 300):
        table, ids = jnp.ones((rows, 2)), jnp.zeros((3,), "int32")
        slope = jax.jit(jax.grad(lambda t, ids: jnp.sum(embedding({"embeddings": t}, ids))))
        assert jax.export.export(slope, platforms=("cpu", "cuda", "tpu"))(table, ids).platforms == (
            "cpu",
            "cuda",
            "tpu",
        )


def test_init_defaults_and_dtype():
    table = jax.jit(lambda key: embedding_init(key, 500, 4)["embeddings"])(jax.random.key(0))
    assert table.dtype == "float32"
    assert 0.049 < np.abs(table).max() <= 0.05
    ids = jax.ShapeDtypeStruct((2, 3), "int32")
    narrow, _ = jax.eval_shape(Embedding(5, 2, dtype="bfloat16").init, jax.random.key(0), ids)
    assert narrow["embeddings"].dtype == "bfloat16"
    ones = Embedding(5, 2, embeddings_initializer="ones").init(jax.random.key(0), ids)[0]["embeddings"]
    np.testing.assert_array_equal(ones, np.ones((5, 2)))


def test_mask_zero_gives_a_masked_sequence():
    layer, ids = Embedding(5, 2, mask_zero=True), np.array([[3, 0, 1], [0, 0, 4]], "int32")
    table = np.arange(10, dtype="float32").reshape(5, 2)
    y, _ = jax.jit(layer.apply)({"embeddings": table}, {}, ids)
    np.testing.assert_array_equal(y.x, table[ids])
    np.testing.assert_array_equal(y.mask, [[True, False, True], [False, False, True]])
    assert layer.name == "embedding"
    assert layer.kind == "Embedding"


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int8"])
def test_one_hot(dtype):
    y = one_hot(np.array([[2, 0], [1, 1]], dtype), 3)
    np.testing.assert_array_equal(y, [[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]]])
    assert y.dtype == "float32"
    one = np.array([1], dtype)
    assert jax.eval_shape(lambda ids: one_hot(ids, 3, "bfloat16"), one).dtype == "bfloat16"
    # more classes than the dtype can count
    np.testing.assert_array_equal(jax.jit(lambda ids: one_hot(ids, 300))(one), np.arange(300)[None] == 1)
    assert one_hot(np.zeros((0, 2), dtype), 3).shape == (0, 2, 3)


@pytest.mark.parametrize(
    "ids",
    [
        [0, 1, 12],
        [-1],
        [10],
        np.array([255], "uint8"),
        np.array([2**32]),
        np.array([2**63], "uint64"),
        jnp.array([3, 10]),
    ],
)
def test_one_hot_refuses_ids_out_of_range(ids):
    with pytest.raises(InputError, match=r"^one_hot: expected ids in \[0, 10\), got ids from "):
        one_hot(ids, 10)
    with pytest.raises(InputError, match=r"layer 'one_hot' \(position 0\) > one_hot: expected ids in \[0, 10\)"):
        Sequential(OneHot(10)).apply({"one_hot": {}}, {}, np.asarray(ids) if isinstance(ids, list) else ids)


def test_one_hot_of_ids_out_of_range_is_nan_in_compiled_code():
    for dtype in ("int32", "uint8", "int8"):
        y = jax.jit(lambda ids: one_hot(ids, 3))(np.array([1, 3, 100], dtype))
        np.testing.assert_array_equal(y, [[0, 1, 0], [np.nan] * 3, [np.nan] * 3])
    np.testing.assert_array_equal(jax.jit(lambda ids: one_hot(ids, 3))(np.array([-1], "int32")), [[np.nan] * 3])
    for kind in ("int32", "bool"):
        np.testing.assert_array_equal(
            jax.jit(lambda ids, k=kind: one_hot(ids, 2, k))(np.array([1, 2], "int32")), [[0, 1], [0, 0]]
        )
    batched = jax.jit(jax.vmap(lambda ids: one_hot(ids, 2)))
    np.testing.assert_array_equal(batched(np.array([[1], [0]], "int32")), [[[0, 1]], [[1, 0]]])


@pytest.mark.parametrize("ids", [[0.0, 1.0], [0.5], [np.nan], [True]])
def test_one_hot_refuses_non_integers(ids):
    with pytest.raises(InputError, match=r"^one_hot: expected integer ids, got "):
        one_hot(ids, 3)


def test_one_hot_layer():
    model = Sequential(OneHot(4), OneHot(4, name="again"))
    assert OneHot(4).name == "one_hot"
    assert OneHot(4).kind == "OneHot"
    with pytest.raises(InputError, match=r"layer 'again' \(position 1\) > one_hot: expected integer ids, got float32"):
        model.apply({}, {}, jnp.asarray([1, 2]))
    y, _ = OneHot(4, dtype="bfloat16").apply({}, {}, jnp.asarray([1, 2]))
    np.testing.assert_array_equal(y, np.eye(4)[1:3])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: embedding({"embeddings": jnp.ones((3, 2))}, jnp.ones(2)), r"embedding: expected integer ids.*astype"),
        (lambda: embedding({"kernel": jnp.ones((3, 2))}, jnp.ones(2, int)), r"a leaf 'embeddings', got \['kernel'\]"),
        (lambda: Embedding(3, 2).init(jax.random.key(0), jnp.ones(2)), r"Embedding: expected integer ids, got float32"),
        (lambda: Embedding(0, 2), r"Embedding: expected input_dim"),
        (lambda: Embedding(3, 1.5), r"Embedding: expected output_dim"),
        (lambda: Embedding(3, 2, "unifrom"), r"'unifrom'.*uniform"),
        (lambda: embedding_init(jax.random.key(0), 3, 0), r"embedding_init: expected output_dim"),
        (lambda: one_hot(jnp.ones(2), 3), r"one_hot: expected integer ids, got float32\[2\]"),
        (lambda: one_hot(jnp.ones(2, int), 0), r"one_hot: expected num_classes"),
        (lambda: OneHot(-1), r"OneHot: expected num_classes"),
    ],
)
def test_errors(call, match):
    with pytest.raises(InputError, match=match):
        call()
