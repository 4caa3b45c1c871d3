"""Threshold units, formulas made of them, and the perceptron."""

import inspect
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import linear_model
from sklearn.datasets import load_iris

import fnn
from fnn import classic
from fnn.classic import AND, IDENTITY, NAND, NOR, NOT, OR, Formula, Node, Unit, formula, perceptron, separable

BITS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def bits(count):
    return np.array(list(itertools.product((0, 1), repeat=count)))


# ---------------------------------------------------------------------------------------------------------------- units
@pytest.mark.parametrize(
    ("unit", "logic"),
    [
        (IDENTITY, lambda a: a),
        (NOT, lambda a: not a),
        (AND, lambda a, b: a and b),
        (OR, lambda a, b: a or b),
        (NAND, lambda a, b: not (a and b)),
        (NOR, lambda a, b: not (a or b)),
    ],
    ids=["IDENTITY", "NOT", "AND", "OR", "NAND", "NOR"],
)
def test_units_compute_logic(unit, logic):
    rows = bits(len(unit.weights))
    plain = [int(logic(*map(bool, row))) for row in rows]
    assert 0 < sum(plain) < len(plain)
    one_by_one = [unit(*map(int, row)) for row in rows]
    assert one_by_one == plain
    assert all(type(value) is int for value in one_by_one)
    assert [unit(*map(bool, row)) for row in rows] == plain
    assert [unit(*row) for row in rows] == plain
    together = unit(*rows.T)
    assert together.tolist() == plain
    assert isinstance(together, np.ndarray)
    assert together.dtype == np.int32
    assert [row[-1] for row in unit.table().rows] == plain
    # In JAX arrays in, JAX arrays out, also compiled.
    compiled = jax.jit(lambda *columns: unit(*columns))
    for fn, dtype in ((unit, int), (compiled, int), (compiled, bool), (compiled, "float32")):
        out = fn(*(jnp.asarray(column.astype(dtype)) for column in rows.T))
        assert isinstance(out, jax.Array)
        assert out.tolist() == plain
        assert out.dtype == jnp.int32


fire = jax.jit(classic.threshold_unit)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=4), st.integers(-5, 5))
def test_a_unit_is_a_threshold_of_a_weighted_sum(weights, threshold):
    unit, rows = Unit(tuple(weights), threshold), bits(len(weights))
    plain = (rows @ np.array(weights) >= threshold).astype(int)
    assert unit(*rows.T).tolist() == plain.tolist()
    assert [row[-1] for row in unit.table().rows] == plain.tolist()
    dense = np.asarray(fire(unit.params(), rows.astype("f")))
    assert dense.shape == (len(rows), 1)
    assert dense[:, 0].tolist() == plain.tolist()


def test_units_broadcast():
    unit = Unit((2, -1, 0.5), 1.5)
    a, b, c = np.array([[0], [1]]), np.array([1, 0, 1]), 1
    plain = (2 * a - b + 0.5 * c >= 1.5).astype(int)
    assert unit(a, b, c).tolist() == plain.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert unit(a, jnp.asarray(b), c).tolist() == plain.tolist()


def test_units_promote_nothing_silently(strict_promotion):
    out = jax.jit(lambda a, b: Unit((0.5, -2.0), -1.0)(a, b))(jnp.array([0, 1, 1]), jnp.array([True, False, True]))
    assert out.tolist() == [0, 1, 0]
    assert Unit((0.5, -2.0), 1.5).params(jnp.bfloat16)["kernel"].dtype == jnp.bfloat16


@given(st.integers(1, 6), st.integers(1, 6))
def test_at_least(count, inputs):
    if count > inputs:
        with pytest.raises(fnn.InputError, match=f"count to be at most {inputs}, the number of inputs, got {count}"):
            classic.at_least(count, inputs)
        return
    rows = bits(inputs)
    assert classic.at_least(count, inputs)(*rows.T).tolist() == (rows.sum(1) >= count).astype(int).tolist()


def test_units_refuse():
    with pytest.raises(fnn.InputError, match="2 inputs, one per weight, got 3"):
        AND(1, 0, 1)
    with pytest.raises(fnn.InputError, match=r"2 inputs, one per weight, got 1. Pass the inputs one by one"):
        AND(BITS)
    for value in (2, -1, 0.5, np.nan, "1", None):
        with pytest.raises(fnn.InputError, match=f"inputs that are 0 or 1, got {value!r}. threshold_unit accepts any"):
            OR(1, value)
    with pytest.raises(fnn.InputError, match=r"inputs that are 0 or 1, got int64\[3\] with other values"):
        OR(1, np.array([0, 1, 2]))
    with pytest.raises(fnn.InputError, match=r"inputs that are 0 or 1, got float32\[2\] with other values"):
        OR(1, jnp.array([0.0, 0.2]))
    with pytest.raises(fnn.InputError, match=r"inputs whose shapes broadcast, got shapes \(2,\) and \(3,\)"):
        AND(np.array([0, 1]), np.array([0, 1, 1]))
    for broken in (
        Unit((), 1),
        Unit(1, 1),
        Unit((1, np.nan), 1),
        Unit((1, 1), np.inf),
        Unit(("a",), 1),
        Unit((1,), None),
    ):
        with pytest.raises(fnn.InputError, match="one finite weight per input and a finite threshold, got"):
            broken(1, 1)
    with pytest.raises(fnn.InputError, match=r"at most 12 inputs for a table, got 13, i\.e\. 8,192 rows"):
        classic.at_least(1, 13).table()
    with pytest.raises(fnn.InputError, match="count to be an integer of at least 1, got 0"):
        classic.at_least(0, 2)
    with pytest.raises(fnn.InputError, match="inputs to be an integer of at least 1, got 0"):
        classic.at_least(1, 0)


def test_tables_print_and_hold_data():
    table = Unit((1, -1, 1), 1).table()
    assert (table.inputs, table.outputs) == (("x1", "x2", "x3"), ("y",))
    assert table.rows[1] == (0, 0, 1, 1)
    assert len(table.rows) == 8
    assert str(table).splitlines()[:3] == ["x1  x2  x3 | y", "0   0   0  | 0", "0   0   1  | 1"]
    assert isinstance(table, classic.TruthTable)


# ------------------------------------------------------------------------------------------------------------- formulas
def expressions():
    """Formulas that mean the same in Python: all in parentheses."""

    def grow(inner):
        return st.one_of(
            st.builds("(not {})".format, inner),
            st.builds("({} and {})".format, inner, inner),
            st.builds("({} or {} or {})".format, inner, inner, inner),
            st.builds("({} ^ {})".format, inner, inner),
        )

    return st.recursive(st.sampled_from(["a", "b", "c", "long_name"]), grow, max_leaves=8)


def chains():
    """Formulas without parentheses, whose meaning depends on what binds most."""
    exclusive = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3).map(" ^ ".join)
    negated = st.builds("{}{}".format, st.sampled_from(["", "not ", "not not "]), exclusive)
    every = st.lists(negated, min_size=1, max_size=3).map(" and ".join)
    return st.lists(every, min_size=1, max_size=3).map(" or ".join)


@settings(max_examples=100)
@given(st.one_of(expressions(), chains()))
def test_formulas_mean_what_they_mean_in_python(text):
    found = formula(text)
    rows = bits(len(found.names))
    plain = [int(eval(text, {}, dict(zip(found.names, map(bool, row), strict=True)))) for row in rows]
    assert found(*rows.T).tolist() == plain
    assert [found(*map(int, row)) for row in rows[-3:]] == plain[-3:]
    assert formula(text.replace("^", "xor")) == found._replace(text=text.replace("^", "xor"))
    # A network: each unit gets one name per weight, of an input or of a unit before it.
    known = set(found.names)
    for node in found.nodes:
        assert set(node.inputs) <= known
        assert len(node.inputs) == len(node.unit.weights)
        assert node.name not in known
        known.add(node.name)
    assert len({(node.unit, node.inputs) for node in found.nodes}) == len(found.nodes)
    assert {row[-1] for row in found.table().rows} == set(plain)
    assert found.table(units=True).rows == tuple(
        tuple(int(value) for value in found.values(*row).values()) for row in rows
    )


def test_formulas_have_one_unit_per_operation():
    xor = formula("(a or b) and not (a and b)")
    assert xor == Formula(
        "(a or b) and not (a and b)",
        ("a", "b"),
        (
            Node("OR", OR, ("a", "b")),
            Node("AND", AND, ("a", "b")),
            Node("NOT", NOT, ("AND",)),
            Node("AND 2", AND, ("OR", "NOT")),
        ),
    )
    assert formula("a ^ b").nodes == formula("a xor b").nodes == xor.nodes
    assert formula("rain").nodes == (Node("IDENTITY", IDENTITY, ("rain",)),)
    assert formula("z or a or not z or k").nodes[-1] == Node("OR", classic.at_least(1, 4), ("z", "a", "NOT", "k"))
    assert formula("z or a or not z or k").names == ("z", "a", "k")
    # What appears twice is computed once; parentheses keep their own unit.
    assert [node.name for node in formula("(a and b) or not (a and b)").nodes] == ["AND", "NOT", "OR"]
    assert [node.inputs for node in formula("(a and b) and c").nodes] == [("a", "b"), ("AND", "c")]
    # Units never take the name of an input.
    assert [node.name for node in formula("AND and b and (b and AND)").nodes] == ["AND 2", "AND 3"]


def test_formulas_are_tidied():
    assert formula("  a\n  and\tb ").text == "a and b"
    assert formula("größe and ﬁ").names == ("größe", "fi")
    assert formula("größe and ﬁ")(größe=1, ﬁ=1) == 1


def test_formulas_are_called_by_place_or_name():
    found = formula("light and not (dark or night)")
    assert found(1, 0, 0) == found(light=1, dark=0, night=0) == found(1, night=0, dark=0) == 1
    assert found(1, 0, 1) == found(1, dark=0, night=1) == found(night=1, dark=0, light=1) == 0
    assert formula("self and inputs")(self=1, inputs=1) == 1
    assert list(found.values(True, 0, 0)) == ["light", "dark", "night", "OR", "NOT", "AND"]
    out = jax.jit(lambda *inputs: found(*inputs))(jnp.array([1, 1, 0]), jnp.array([0, 1, 0]), 0)
    assert out.tolist() == [1, 0, 0]
    with pytest.raises(fnn.InputError, match="3 inputs: light, dark, night, got no value for dark, night"):
        found(1)
    with pytest.raises(fnn.InputError, match="3 inputs: light, dark, night, got 4"):
        found(1, 0, 1, 0)
    with pytest.raises(fnn.InputError, match="the inputs light, dark, night, each once, got light twice"):
        found(1, 0, light=1)
    with pytest.raises(fnn.InputError, match="the inputs light, dark, night, each once, got an unknown moon"):
        found(1, 0, 1, moon=1)
    with pytest.raises(fnn.InputError, match=r"formula 'light and .* > Unit: expected inputs that are 0 or 1, got 3"):
        found(1, 0, 3)


def test_tables_of_formulas():
    found = formula("a and not b")
    assert str(found.table()).splitlines() == ["a  b | a and not b", "0  0 | 0", "0  1 | 0", "1  0 | 1", "1  1 | 0"]
    assert str(found.table(units=True)).splitlines()[0] == "a  b | NOT  AND"
    assert found.table(units=True).rows == ((0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 1, 1), (1, 1, 0, 0))
    many = " or ".join(f"x{i}" for i in range(13))
    with pytest.raises(fnn.InputError, match=r"Formula\.table: expected at most 12 inputs"):
        formula(many).table()


@pytest.mark.parametrize(
    ("text", "expected", "got", "place"),
    [
        ("a and", "a name, 'not' or '('", "the end of the formula", 5),
        ("(a and b", "'and', 'or', 'xor' or a ')' for the '(' at character 1", "the end of the formula", 8),
        ("b or (a c)", "'and', 'or', 'xor' or a ')' for the '(' at character 6", "'c' at character 9", 8),
        ("a and 3", "a name, 'not' or '('", "'3' at character 7", 6),
        ("a + b", "'and', 'or', 'xor' or the end", "'+' at character 3", 2),
        ("ä and and b", "a name, 'not' or '('", "'and' at character 7", 6),
        ("f(a)", "'and', 'or', 'xor' or the end", "'(' at character 2", 1),
        ("a and b # c", "'and', 'or', 'xor' or the end", "'#' at character 9", 8),
        ("a AND b", "'and', 'or', 'xor' or the end", "'AND' at character 3", 2),
        ("not", "a name, 'not' or '('", "the end of the formula", 3),
        ("a)", "'and', 'or', 'xor' or the end", "')' at character 2", 1),
        ("a and True", "a name, 'not' or '('", "'True' at character 7", 6),
        ("or b", "a name, 'not' or '('", "'or' at character 1", 0),
        ("a if b", "'and', 'or', 'xor' or the end", "'if' at character 3", 2),
        ("__import__('os')", "'and', 'or', 'xor' or the end", "'(' at character 11", 10),
    ],
)
def test_invalid_formulas_are_rejected_with_their_position(text, expected, got, place):
    with pytest.raises(fnn.InputError, match=r"^formula: expected ") as error:
        formula(text)
    first, shown, mark = str(error.value).split("\n")
    assert first.strip() == f"formula: expected {expected}, got {got}."
    assert shown == f"    {text}"
    assert mark.index("^") == 4 + place
    assert set(mark) == {" ", "^"}


def test_other_objects_are_not_formulas():
    with pytest.raises(fnn.InputError, match="a string such as 'a and not b', got an empty one"):
        formula(" \n ")
    with pytest.raises(fnn.InputError, match="a string such as 'a and not b', got an int"):
        formula(3)
    for text in ("(" * 2000 + "a" + ")" * 2000, "not " * 5000 + "a"):
        with pytest.raises(fnn.InputError, match=r"a formula with less deep nesting, got [0-9,]+ characters"):
            formula(text)


def test_xor_network(strict_promotion):
    model, params = classic.xor_network()
    x = jnp.asarray(BITS, jnp.float32)
    like, state = jax.eval_shape(model.init, jax.random.key(0), x)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), like) == jax.tree.map(lambda a: (a.shape, a.dtype), params)
    assert state == {}
    out, hidden = jax.jit(
        lambda params, x: (model.apply(params, {}, x)[0], fnn.activations.step(fnn.dense(params["dense"], x)))
    )(params, x)
    assert out.ravel().tolist() == [0, 1, 1, 0] == formula("a xor b")(*BITS.T).tolist()
    assert np.asarray(hidden).T.tolist() == [OR(*BITS.T).tolist(), AND(*BITS.T).tolist()]


# ------------------------------------------------------------------------------------------------------- threshold unit
def test_threshold_unit(rng):
    x = rng.normal(size=(7, 3)).astype("f")
    params = {"kernel": rng.normal(size=(3, 1)).astype("f"), "bias": np.array([0.3], "f")}
    plain = (x @ params["kernel"] + params["bias"] >= 0).astype("f")
    assert 0 < plain.sum() < 7
    for fn in (classic.threshold_unit, fire):
        np.testing.assert_array_equal(fn(params, x), plain)
    # On the line itself it fires, as the step function does.
    on = {"kernel": np.array([[2.0], [-4.0]], "f"), "bias": np.array([1.0], "f")}
    points = np.array([[1.5, 1.0], [1.5, 1.25], [1.5, 0.75]], "f")
    assert fire(on, points).ravel().tolist() == [1, 0, 1]
    assert fire({"kernel": on["kernel"]}, points[0]).tolist() == [0]


def test_threshold_unit_refuses():
    params = {"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}
    with pytest.raises(fnn.InputError, match=r"threshold_unit > dense: expected x of shape \(batch, 2\)"):
        classic.threshold_unit(params, jnp.ones((4, 3)))
    with pytest.raises(fnn.InputError, match="threshold_unit > dense: expected a floating-point x"):
        classic.threshold_unit(params, jnp.ones((4, 2), int))
    with pytest.raises(fnn.InputError, match="parameters with a leaf 'kernel'"):
        classic.threshold_unit({"bias": jnp.zeros(1)}, jnp.ones((4, 2)))


# ----------------------------------------------------------------------------------------------------------- perceptron
def plain_perceptron(x, y, rate, epochs, orders):
    """Rosenblatt's rule in NumPy: weights and bias after each epoch, and errors of each."""
    w, b, history, errors = np.zeros(x.shape[1]), 0.0, [], []
    for epoch in range(epochs):
        wrong = 0
        for i in orders(epoch):
            s = 1 if y[i] > 0 else -1
            if s * (x[i] @ w + b) <= 0:
                w, b, wrong = w + rate * s * x[i], b + rate * s, wrong + 1
        errors.append(wrong)
        history.append((*w, b))
        if not wrong:
            break
    return np.array(history), errors


def blobs(rng, rows=40, gap=0.2):
    """Rows on both sides of a plane in 3-D, ``gap`` away from it; all distinct, and more of one class."""
    normal = np.array([0.6, -0.64, 0.48])
    x = rng.normal(size=(rows, 3)) * [1.0, 2.0, 0.5] + [1.5, 1.2, 0.2]
    distance = x @ normal - 0.6
    x += normal * (np.sign(distance) * gap)[:, None]
    return x, distance > 0


@pytest.mark.parametrize("key", [None, 5])
def test_rosenblatts_rule_equals_a_plain_loop(key, rng, x64):
    x, y = blobs(rng)
    key = None if key is None else jax.random.key(key)
    orders = lambda epoch: (  # noqa: E731
        range(len(x)) if key is None else np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), len(x)))
    )
    history, errors = plain_perceptron(x, y, 0.5, 12, orders)
    found = perceptron(x, y, learning_rate=0.5, epochs=12, key=key)
    assert isinstance(found, classic.Perceptron)
    assert found.converged is True
    assert found.errors.tolist() == errors
    assert len(errors) > 2
    assert errors[-1] == 0
    assert found.updates == sum(errors)
    kernels, biases = (np.asarray(found.history[name]) for name in ("kernel", "bias"))
    np.testing.assert_allclose(kernels[..., 0], history[:, :3], rtol=1e-12)
    np.testing.assert_allclose(biases[:, 0], history[:, 3], rtol=1e-12)
    np.testing.assert_array_equal(found.params["kernel"], kernels[-1])
    np.testing.assert_array_equal(found.params["bias"], biases[-1])
    assert found.params["kernel"].dtype == jnp.float64
    np.testing.assert_array_equal(found.predict(x), y)


@pytest.mark.slow
def test_the_order_of_rows_comes_from_the_key(rng):
    x, y = blobs(rng)
    runs = [perceptron(x, y, key=key) for key in (None, jax.random.key(1), jax.random.key(2), jax.random.key(1))]
    kernels = [np.ravel(run.params["kernel"]).tolist() for run in runs]
    assert kernels[1] == kernels[3]
    assert len(set(map(tuple, kernels))) == 3
    assert all(np.array_equal(run.predict(x), y) for run in runs)


@pytest.mark.parametrize("rate", [1.0, 0.1])
@pytest.mark.parametrize("noise", [False, True])
def test_rosenblatts_rule_equals_scikit_learn(rate, noise, rng, x64):
    x, y = blobs(rng)
    y = np.where(rng.uniform(size=len(y)) < 0.2, ~y, y) if noise else y
    epochs = 12
    reference = linear_model.Perceptron(eta0=rate, max_iter=epochs, tol=None, shuffle=False).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if noise else "error", RuntimeWarning)
        found = perceptron(x, y, learning_rate=rate, epochs=epochs)
    assert found.converged is not noise
    np.testing.assert_allclose(np.ravel(found.params["kernel"]), reference.coef_[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.params["bias"], reference.intercept_, rtol=1e-12, atol=1e-12)
    points = rng.normal(size=(40, 3)) * 2
    np.testing.assert_array_equal(found.predict(points), reference.predict(points))
    assert len(set(found.predict(points).tolist())) == 2


@pytest.mark.parametrize("gap", [0.3, 0.1, 0.02])
def test_corrections_stay_within_novikoffs_bound(gap, rng):
    x, y = blobs(rng, gap=gap)
    found = perceptron(x, y, epochs=2000)
    plane = np.array([0.6, -0.64, 0.48, -0.6])
    plane /= np.linalg.norm(plane)
    rows = np.column_stack([x, np.ones(len(x))])
    margin = (np.where(y, 1, -1) * (rows @ plane)).min()
    assert margin > 0
    bound = (np.linalg.norm(rows, axis=1).max() / margin) ** 2
    assert found.converged
    assert 1 < found.updates <= bound
    assert found.updates == int(np.sum(found.errors))


@pytest.mark.slow
def test_iris():
    """Reference experiment 3."""
    iris = load_iris()
    x, y = iris.data[:, 2:], iris.target == 0
    found = perceptron(x, y)
    assert found.converged
    np.testing.assert_array_equal(found.predict(x), y)
    assert found.predict([2.0, 0.5]).tolist() is True
    assert found.predict([[2, 0.5], [3, 1]]).tolist() == [True, False]
    assert found.params["kernel"].shape == (2, 1)
    np.testing.assert_array_equal(np.ravel(fire(found.params, x.astype("f"))), y)
    # The other two kinds overlap.
    assert not separable(x, iris.target == 1)
    with pytest.warns(
        RuntimeWarning, match=r"of 150 rows were still misclassified after epoch 20. No line separates the classes"
    ):
        assert not perceptron(x, iris.target == 1, epochs=20).converged


def test_xor_is_reported_as_not_separable():
    with pytest.warns(
        RuntimeWarning, match=r"^perceptron: 4 of 4 rows were still misclassified after epoch 100. No line sep"
    ):
        found = perceptron(BITS, [0, 1, 1, 0])
    assert found.converged is False
    assert found.errors.shape == (100,)
    assert np.asarray(found.errors)[-1] == 4


def test_too_few_epochs_are_reported_as_such(rng, monkeypatch):
    x, y = blobs(rng, gap=0.05)
    needed = len(perceptron(x, y).errors)
    with pytest.warns(RuntimeWarning, match="so more epochs will find one: pass a larger epochs=") as caught:
        found = perceptron(x, y, epochs=needed - 1)
    assert caught[0].filename == __file__
    assert not found.converged
    assert perceptron(x, y, epochs=needed).converged
    monkeypatch.setattr("fnn.classic.learning._MAX_DECIDED_SIZE", 10)
    with pytest.warns(RuntimeWarning, match=r"More epochs may help; separable\(x, y\) says"):
        perceptron(x, y, epochs=needed - 1)


@pytest.mark.parametrize(
    ("make", "low", "dtype"),
    [
        (lambda y: y, False, bool),
        (lambda y: y.astype("int32"), 0, np.int32),
        (lambda y: y.astype("uint8"), 0, np.uint8),
        (lambda y: y.astype("float32"), 0.0, np.float32),
        (lambda y: np.where(y, 1, -1), -1, np.int32),
        (lambda y: jnp.where(y, 1.0, -1.0), -1.0, np.float32),
        (lambda y: y.astype(int).tolist(), 0, np.int32),
    ],
    ids=["bool", "int", "byte", "float", "signs", "signs in JAX", "list"],
)
def test_labels_of_each_kind(make, low, dtype, rng):
    x, y = blobs(rng)
    found = perceptron(x, make(y))
    assert found.classes.tolist() == [low, 1]
    assert found.classes.dtype == dtype
    np.testing.assert_array_equal(found.predict(x), make(y))
    np.testing.assert_array_equal(found.params["kernel"], perceptron(x, y).params["kernel"])


@pytest.mark.parametrize(("label", "low"), [(True, False), (0, 0), (1, 0), (-1, -1)])
def test_a_single_class_is_learned_immediately(label, low, rng):
    x, _ = blobs(rng)
    found = perceptron(x, np.full(40, label))
    assert found.converged
    assert found.classes.tolist() == [low, 1]
    np.testing.assert_array_equal(found.predict(x), np.full(40, label))
    assert separable(x, np.full(40, label))


def test_the_learning_rate_only_scales_the_weights(rng):
    x, y = blobs(rng)
    one, half = perceptron(x, y), perceptron(x, y, learning_rate=0.5)
    np.testing.assert_array_equal(one.params["kernel"], 2 * np.asarray(half.params["kernel"]))
    np.testing.assert_array_equal(one.errors, half.errors)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool"])
def test_floating_point_dtypes_are_kept(dtype, strict_promotion):
    found = perceptron(jnp.asarray(BITS, dtype), [0, 0, 0, 1])
    kept = jnp.dtype(dtype) if jnp.issubdtype(dtype, jnp.floating) else jnp.dtype("float32")
    assert {a.dtype for a in jax.tree.leaves((found.params, found.history))} == {kept}
    assert found.predict(BITS).tolist() == [0, 0, 0, 1]
    assert np.ravel(found.params["kernel"]).tolist() == [3, 2]


def test_perceptron_inside_transformations(rng):
    """The same numbers; arrays keep the length of all epochs."""
    sets = [blobs(rng) for _ in range(3)]
    xs, ys = (np.stack(part).astype(dtype) for part, dtype in zip(zip(*sets, strict=True), ("f", "i4"), strict=True))
    rates = np.array([1.0, 0.5, 2.0], "f")
    learn = jax.jit(jax.vmap(lambda x, y, rate: perceptron(x, y, learning_rate=rate)))
    together = jax.tree.map(np.asarray, learn(xs, ys, rates))
    assert together.errors.shape == (3, 100)
    lengths = set()
    for i in range(3):
        alone = perceptron(xs[i], ys[i], learning_rate=float(rates[i]))
        needed = len(alone.errors)
        lengths.add(needed)
        assert together.errors[i, :needed].tolist() == alone.errors.tolist()
        assert not together.errors[i, needed:].any()
        assert bool(together.converged[i]) is alone.converged
        assert int(together.updates[i]) == alone.updates
        assert together.classes[i].tolist() == [0, 1]
        np.testing.assert_allclose(together.params["kernel"][i], alone.params["kernel"], rtol=1e-6)
        np.testing.assert_allclose(together.history["bias"][i, :needed], alone.history["bias"], rtol=1e-6)
        last = np.broadcast_to(alone.params["kernel"], (100 - needed, 3, 1))
        np.testing.assert_allclose(together.history["kernel"][i, needed:], last, rtol=1e-6)
    assert len(lengths) > 1


def test_a_second_call_compiles_nothing(rng):
    x, y = blobs(rng)
    perceptron(x, y)
    before = classic.learning._learn._cache_size()
    perceptron(x[::-1], y[::-1].astype(int), learning_rate=0.3)
    assert classic.learning._learn._cache_size() == before


def test_perceptron_refuses():
    x, y = np.arange(8.0).reshape(4, 2), [0, 0, 1, 1]
    for where, fn in (("perceptron", perceptron), ("separable", separable)):
        with pytest.raises(
            fnn.InputError, match=rf"{where}: expected x of shape \(rows, features\), got .* one feature"
        ):
            fn(np.arange(4.0), y)
        with pytest.raises(
            fnn.InputError, match=rf"{where}: expected x of shape \(rows, features\), got float32\[0, 2\]"
        ):
            fn(np.zeros((0, 2)), [])
        with pytest.raises(
            fnn.InputError, match=rf"{where}: expected y of shape \(4,\), a label per row, got int32\[3\]"
        ):
            fn(x, [0, 1, 1])
        with pytest.raises(fnn.InputError, match=r"a label per row, got int32\[4, 1\]. Use y\[:, 0\]"):
            fn(x, np.array(y)[:, None])
        with pytest.raises(
            fnn.InputError, match=rf"{where}: expected labels of two classes: .* got 0, 1, 2. Compare to"
        ):
            fn(x, [0, 1, 2, 1])
        with pytest.raises(fnn.InputError, match=r"labels of two classes: .* got 1, 2. Compare to"):
            fn(x, [1, 2, 2, 1])
        with pytest.raises(fnn.InputError, match=r"labels of two classes: .* got -1, 0, 1. Compare to"):
            fn(x, [0, 1, -1, 1])
        with pytest.raises(fnn.InputError, match=r"labels of two classes: .* got 0, nan"):
            fn(x, [0, 0, np.nan, 0])
        with pytest.raises(fnn.InputError, match=rf"{where}, y: expected an array of numbers, got text, <U\d+\[4\]"):
            fn(x, ["no", "no", "yes", "yes"])
        with pytest.raises(fnn.InputError, match=rf"{where}: expected finite numbers in x, got nan at \(1, 0\)"):
            fn(np.where(x == 2, np.nan, x), y)
        with pytest.raises(fnn.InputError, match=rf"{where}: expected finite numbers in x, got -inf at \(3, 1\)"):
            fn(np.where(x == 7, -np.inf, x), y)
        with pytest.raises(fnn.InputError, match=f"{where}, x: expected rows of the same length, got a ragged list"):
            fn([[1.0, 2.0], [3.0]], [0, 1])
        with pytest.raises(fnn.InputError, match=rf"{where}, x: expected an array of numbers, got text, <U1\[2, 2\]"):
            fn([["a", "b"], ["c", "d"]], [0, 1])
    for rate in (0.0, -1.0, np.nan):
        with pytest.raises(fnn.InputError, match=r"perceptron: expected learning_rate in \(0, inf\), got"):
            perceptron(x, y, learning_rate=rate)
    with pytest.raises(fnn.InputError, match="epochs to be an integer of at least 1, got 0"):
        perceptron(x, y, epochs=0)
    with pytest.raises(fnn.InputError, match=r"one PRNG key, got 0. Pass jax.random.key\(0\)"):
        perceptron(x, y, key=0)
    with pytest.raises(
        fnn.InputError, match=r"concrete values, got traced ones. Call it on the result of the compiled function"
    ):
        jax.jit(separable)(x, jnp.array(y))
    found = perceptron(x, y)
    with pytest.raises(fnn.InputError, match=r"Perceptron.predict > .*expected x of shape \(batch, 2\)"):
        found.predict(np.ones((4, 3)))
    with pytest.raises(fnn.InputError, match=r"Perceptron.predict: expected finite numbers in x, got nan at \(1,\)"):
        found.predict([1.0, np.nan])


# --------------------------------------------------------------------------------------------------------- separability
def hulls_meet(a, b):
    """Whether the convex hulls of two sets of points of the plane meet, in whole numbers, hence exactly."""

    def cross(o, p, q):
        return (p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0])

    def on(p, q, r):
        return cross(p, q, r) == 0 and all(min(q[i], r[i]) <= p[i] <= max(q[i], r[i]) for i in (0, 1))

    def segments(p, q, r, s):
        ends = on(p, r, s) or on(q, r, s) or on(r, p, q) or on(s, p, q)
        return ends or (cross(p, q, r) * cross(p, q, s) < 0 and cross(r, s, p) * cross(r, s, q) < 0)

    def inside(p, corners):
        turns = [cross(corners[i], corners[i - 2], p) for i in range(3)]
        return cross(*corners) != 0 and (min(turns) >= 0 or max(turns) <= 0)

    pairs = itertools.product(itertools.product(a, repeat=2), itertools.product(b, repeat=2))
    return (
        any(segments(*one, *other) for one, other in pairs)
        or any(inside(p, corners) for p in a for corners in itertools.combinations(b, 3))
        or any(inside(p, corners) for p in b for corners in itertools.combinations(a, 3))
    )


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=2, max_size=9))
def test_separable_equals_exact_geometry(points):
    sides = [[(p, q) for p, q, label in points if label is side] for side in (False, True)]
    x, y = np.array([point[:2] for point in points]), np.array([point[2] for point in points])
    assert separable(x, y) is not hulls_meet(*sides)


def test_separable_sees_both_answers_among_random_points(rng):
    """So that the test above cannot hold by one answer only."""
    answers = [separable(rng.integers(0, 6, (7, 2)), rng.integers(0, 2, 7)) for _ in range(60)]
    assert 10 < sum(answers) < 50


@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (1e-6, 1.0, 1e7)])
def test_separable_in_more_dimensions_and_at_all_scales(scale, rng):
    x, y = blobs(rng, rows=300, gap=1e-3)
    x = (x + [0.0, 30.0, -1000.0]) * scale
    assert separable(x, y)
    assert separable(np.column_stack([x, np.full(300, 7.0)]), y), "a constant feature changes nothing"
    middle = x[y].mean(0)
    assert not separable(np.vstack([x, middle]), np.append(y, False))
    assert not separable(np.vstack([x, x[:1]]), np.append(y, ~y[0])), "one row with both labels"


def test_separable_sees_the_smallest_gaps_of_float32():
    half = np.float32(0.5)
    x = np.array([[0.0], [half], [np.nextafter(half, np.float32(1))], [1.0]], np.float32)
    assert separable(x, [0, 0, 1, 1])
    assert separable(jnp.asarray(x), jnp.array([1, 1, -1, -1]))
    assert not separable(x[[0, 2, 1, 3]], [0, 0, 1, 1])
    assert not separable(x[[0, 1, 1, 3]], [0, 0, 1, 1])


def test_every_public_name_is_listed_and_explained():
    public = {name for name, value in vars(classic).items() if not (name.startswith("_") or inspect.ismodule(value))}
    assert public == set(classic.__all__)
    for name in classic.__all__:
        value = getattr(classic, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert vars(value).get("__doc__", value.__doc__).count("\n") > 2, name


@pytest.mark.parametrize("rate", [0.1, 3.0, 1e-30])
def test_the_rate_of_the_perceptron_only_scales(rate):
    """Also where rows lie on the line, where rounding would decide."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        x, y = rng.integers(-2, 3, (6, 2)).astype("float32"), rng.integers(0, 2, 6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one, other = classic.perceptron(x, y, epochs=20), classic.perceptron(x, y, learning_rate=rate, epochs=20)
        np.testing.assert_array_equal(one.errors, other.errors)
        np.testing.assert_allclose(rate * np.asarray(one.params["kernel"]), other.params["kernel"], 1e-6)
