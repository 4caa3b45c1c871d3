"""What the calls in a Model are connected to."""

import jax
import jax.numpy as jnp
import pytest

import fnn
from fnn.nn.graph import connections, source_name


def edges(model, x):
    return {
        "/".join(row.path) + (f" {row.call}" if row.call > 1 else ""): row.connected
        for row in fnn.summary(model, x).rows
    }


def test_branches_skips_and_shared_layers():
    def forward(layers, x):
        h = layers.a(x["left"]) + layers.a(x["right"])
        for block in layers.blocks:
            h = h + block(h)
        return layers.drop(h), layers.out(jnp.zeros(1)[0] * x["left"] + 1)

    dense = fnn.Dense(4)
    model = fnn.Model(forward, a=dense, blocks=[dense, dense], drop=fnn.Dropout(0.5), out=fnn.Dense(1))
    assert edges(model, {"left": jnp.ones((2, 3)), "right": jnp.ones((2, 3))}) == {
        "a": ("x['left']",),
        "a 2": ("x['right']",),
        "blocks/0": ("a", "a (call 2)"),
        "blocks/1": ("a", "a (call 2)", "blocks/0"),
        "drop": ("a", "a (call 2)", "blocks/0", "blocks/1"),
        "out": ("x['left']",),
    }


def test_a_value_passed_on_unchanged_is_the_call_that_passed_it_on():
    model = fnn.Model(lambda layers, x: layers.b(layers.a(x)), a=fnn.Dropout(0.5), b=fnn.Dropout(0.5))
    assert edges(model, (3,)) == {"a": ("x",), "b": ("a",)}


def test_nested_models():
    gate = fnn.Model(lambda layers, x: layers.value(x) * layers.gate(x), value=fnn.Dense(3), gate=fnn.Dense(3))
    model = fnn.Model(lambda layers, x: layers.out(layers.gated(layers.stem(x))), stem=fnn.Dense(3),
                      gated=fnn.Sequential(gate, fnn.Dense(2)), out=fnn.Dense(1))  # fmt: skip
    assert edges(model, (4,)) == {
        "stem": ("x",),
        "gated": ("stem",),
        "gated/model": (),
        "gated/model/value": ("x",),
        "gated/model/gate": ("x",),
        "gated/dense": (),
        "out": ("gated",),
    }
    assert edges(fnn.Sequential(fnn.Dense(2), fnn.Dense(1)), (4,)) == {"dense": (), "dense_1": ()}


def test_calls_inside_transformations_have_no_connections():
    def forward(layers, x):
        carry = jax.lax.scan(lambda c, row: (layers.cell(c + row), None), jnp.zeros(x.shape[1:]), x)[0]
        return layers.out(carry) + layers.out(x[0])

    model = fnn.Model(forward, cell=fnn.Dense(3), out=fnn.Dense(3))
    # The scan's result is computed from x; the call inside it is not seen.
    assert edges(model, jnp.ones((4, 2, 3))) == {"cell": (), "out": ("x",), "out 2": ("x",)}


def test_constants_and_inputs_given_twice():
    """A constant comes from nowhere, and one value given as two inputs is both of them."""
    both = fnn.Model(lambda layers, x: (layers.m(x[0]), x[1] * 2, 3.0), m=fnn.Dense(2))

    def forward(layers, x):
        h = layers.a(x)
        twice, once = layers.both(h, h), layers.both(h, 1.0)
        return twice[0] + once[0], jnp.float32(1), 2.0, layers.c(jnp.ones((2, 3)))

    model = fnn.Model(forward, a=fnn.Dense(3), both=both, c=fnn.Dense(1))
    assert edges(model, (3,)) == {
        "a": ("x",),
        "both": ("a",),
        "both/m": ("x[0]", "x[1]"),
        "both 2": ("a",),
        "c": (),
    }
    x = jnp.ones((2, 3))
    params, state = jax.eval_shape(model.init, jax.random.key(0), x)
    found, ends = connections(model, params, state, x)
    assert [list(map(source_name, end)) for end in ends] == [["both", "both (call 2)"], [], [], ["c"]]
    assert [found[(("both", 2), ("m", 1))]] == [["x[0]"]]


def test_a_layer_called_only_in_training_has_a_row():
    def forward(layers, x, *, train):
        h = layers.noise(layers.a(x)) if train else layers.a(x)
        return (h, layers.aux(h)) if train else (h,)

    aux = fnn.Sequential(fnn.Dense(7), fnn.Dropout(0.5))
    model = fnn.Model(forward, a=fnn.Dense(3), noise=fnn.Dropout(0.5), aux=aux)
    for nested in (model, fnn.Sequential(fnn.Dense(3), model)):
        table = fnn.summary(nested, (3,))
        own = [row for row in table.rows if row.path[-1] != "model" and row.path[0] != "dense"]
        assert [(row.path[-1], row.params) for row in own] == [
            ("a", 12), ("noise", 0), ("aux", 0), ("dense", 28), ("dropout", 0)
        ]  # fmt: skip
        assert [row.connected for row in own] == [("x",), ("a",), ("noise",), (), ()]
        assert sum(row.params for row in table.rows) == table.total == 40 + 12 * (nested is not model)
        assert [row.params for row in fnn.check(nested, (3,)).rows] == [row.params for row in table.rows]


def test_models_without_a_model_are_not_traced_again(monkeypatch):
    calls = []
    monkeypatch.setattr("fnn.inspection.summary.connections", lambda *args: calls.append(args) or ({}, []))
    fnn.summary(fnn.Sequential(fnn.Dense(2), fnn.Residual(fnn.Dense(2))), (3,))
    assert not calls
    fnn.summary(fnn.Residual(fnn.Model(lambda layers, x: layers.a(x), a=fnn.Dense(3))), (3,))
    assert len(calls) == 1


def test_the_table_shows_connections_and_repeats_no_parameters():
    encoder = fnn.Sequential(fnn.Dense(4), fnn.BatchNorm())
    model = fnn.Model(lambda layers, x: layers.e(x[0]) - layers.e(x[1]), e=encoder)
    table = fnn.summary(model, (jnp.ones((2, 3)), jnp.ones((2, 3))))
    text = str(table)
    assert "connected to" in text
    assert "e (call 2) (Sequential)" in text
    assert [line.split()[-3] for line in text.splitlines() if "Sequential" in line] == ["x[0]", "x[1]"]
    assert [(row.path, row.call, row.params) for row in table.rows] == [
        (("e",), 1, 0), (("e", "dense"), 1, 16), (("e", "batch_norm"), 1, 16), (("e",), 2, 0)
    ]  # fmt: skip
    assert "connected to" not in str(fnn.summary(encoder, (3,)))
    assert table.total == 32


@pytest.mark.parametrize("model", [fnn.Dense(2), fnn.Residual(fnn.Dense(3))])
def test_other_layers_have_none(model):
    assert not any(row.connected for row in fnn.summary(model, (3,)).rows)
