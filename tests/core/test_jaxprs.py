"""Readers of traced programs: exact for operations they know, cautious for all others."""

import re
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.interpreters import ad, batching, mlir

import fnn
from fnn._core import jaxprs
from fnn.trials.cost import cpu_batch

ROWS = np.linspace(-1, 1, 24, dtype="float32").reshape(12, 2)
DATA = (ROWS, (np.arange(12) % 2).astype("int32"))


def operation(name, *, batched=True, **params):
    """A user-defined operation that does nothing."""
    primitive = jax.extend.core.Primitive(name)
    primitive.def_impl(lambda x, **_: x)
    primitive.def_abstract_eval(lambda x, **_: x)
    mlir.register_lowering(primitive, mlir.lower_fun(lambda x, **_: x, multiple_results=False))
    ad.defjvp(primitive, lambda g, x, **_: g)
    if batched:
        batching.primitive_batchers[primitive] = lambda args, dims, **own: (primitive.bind(*args, **own), dims[0])
    return lambda x: primitive.bind(x, **params)


class Nameless:
    def __repr__(self):
        raise RuntimeError("no text")


def program(fn, *shapes):
    return jax.make_jaxpr(fn)(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))


INNER = program(lambda x: x @ jnp.ones((2, 2)), (3, 2))  # 12 multiply-adds
UNKNOWN = {
    "unknown": {},
    "programs under unknown names": {"what": INNER, "more": ((INNER.jaxpr,), 3), "odd": object()},
    "scan": {},
    "scan with half of its parameters": {"jaxpr": INNER, "length": "many"},
    "while": {},
    "while with half of its parameters": {"body_jaxpr": (INNER, INNER)},
    "cond": {},
    "cond without programs": {"branches": 3},
    "dot_general": {},
    "dot_general of another kind": {"dimension_numbers": 3},
    "conv_general_dilated": {"dimension_numbers": None},
    "fnn_conv": {"geometry": None, "result": "z"},
    "div": {},
    "jit": {},
    "pjit with another program": {"jaxpr": 3},
    "closed_call with two programs": {"jaxpr": (INNER, INNER)},
    "custom_jvp_call": {"call_jaxpr": None},
    "reshape": {"new_sizes": "?"},
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_operations_are_left_out(name):
    apply = operation(name.split()[0], **UNKNOWN[name])
    found = program(lambda x: apply(x @ jnp.ones((2, 2))), (3, 2))
    within = {"programs under unknown names": 2, "scan with": 1, "while with": 2, "closed_call": 2}
    inside = max((count for start, count in within.items() if name.startswith(start)), default=0)
    assert jaxprs.multiply_adds(found) == 12 * (1 + inside)
    assert [end.activation for end in jaxprs.endings(found)] == [None]
    assert name.split()[0] in jaxprs.program_text(found)
    carried = [jaxprs.loop_carry(eqn) for eqn, _ in jaxprs.operations(found)]
    assert any(carried) == (name == "scan with half of its parameters")  # which returns what its program does
    # All members in one batch.
    assert cpu_batch(lambda x: [apply(x)], [jax.ShapeDtypeStruct((3, 2), jnp.float32)], 64) == 64


def test_program_text_is_empty_if_it_cannot_be_printed():
    apply = operation("unknown", odd=Nameless())
    assert jaxprs.program_text(program(apply, (3,))) == ""
    at = jaxprs.program_text(program(operation("unknown", odd=object()), (3,)))
    assert "object" in at
    assert not re.search("0x[0-9a-f]", at)


def test_public_functions_accept_unknown_operations(tmp_path):
    names = ("programs under unknown names", "while", "scan with half of its parameters")
    unknown = [fnn.Activation(operation(name.split()[0], **UNKNOWN[name])) for name in names]
    task = fnn.Task(fnn.Sequential(fnn.Dense(2), *unknown), "sparse_categorical_crossentropy", fnn.sgd(0.1))
    plain = task.replace(model=fnn.Sequential(fnn.Dense(2), fnn.Activation(lambda x: x)))
    ts = fnn.init(task, jax.random.key(0), ROWS)

    def trial(rate):
        return fnn.run(task, fnn.set_hyper(ts, learning_rate=rate), DATA, epochs=1, batch_size=6)

    found = fnn.sweep(trial, {"rate": [0.1, 0.2]}, verbose=0)
    _, history = fnn.fit(plain, ts, DATA, epochs=1, batch_size=6, verbose=0)
    assert found.scores[0] == pytest.approx(history["loss"][0], 1e-5)

    assert fnn.check(task, ROWS).operations >= 4
    report = fnn.layer_report(task, ts, DATA)
    logits = ROWS @ np.asarray(ts.params["dense"]["kernel"])  # the bias is 0
    own = np.log(np.exp(logits).sum(1)) - logits[np.arange(12), DATA[1]]
    assert report.loss == pytest.approx(own.mean(), 1e-5)
    assert report.rows[-1].saturated is None

    first, _ = fnn.fit(task, ts, DATA, epochs=1, verbose=0, checkpoint=tmp_path, every="epoch")
    again, _ = fnn.fit(task, ts, DATA, epochs=1, verbose=0, checkpoint=tmp_path, every="epoch")
    assert fnn.fingerprint(first) == fnn.fingerprint(again)


def test_trials_that_cannot_be_batched_run_one_by_one():
    alone = operation("alone", batched=False)
    np.testing.assert_array_equal(jax.jit(fnn.many(lambda x: 2 * alone(x)))(ROWS), 2 * ROWS)
    found = fnn.sweep(lambda a: ({}, {"loss": alone(a)[None]}), {"a": [1.0, 2.0, 0.5]}, verbose=0)
    assert found.scores.tolist() == [1.0, 2.0, 0.5]
    with pytest.raises(NotImplementedError, match="alone"):
        fnn.many(alone, at_once=2)(ROWS)


# ---------------------------------------------------------------------------------------------------- known operations
def loops(x, w):
    """4 + 5 (4 + 3 * 4) + 2 * 4 + 4 products of 4 by 4 matrices with 64 multiply-adds each, and a while loop's one."""

    def inner(a, _):
        return a @ w, None

    def outer(carry, t):
        a, count = carry
        a, _ = lax.scan(inner, a @ w, None, length=3)
        return (a + t, count + 1), a[0]

    (a, _), rows = lax.scan(outer, (x, 0), jnp.arange(5.0))
    a = lax.cond(a.sum() > 0, lambda a: a @ w @ w, lambda a: a @ w, a)
    a = lax.while_loop(lambda a: a.sum() > 1, lambda a: a @ w, a)
    return jax.checkpoint(jax.jit(lambda a: jnp.dot(a, w)))(a), rows


def test_operations_in_loops_count_once_per_round():
    found = program(loops, (4, 4), (4, 4))
    assert jaxprs.multiply_adds(found) == 64 * (5 * (1 + 3) + 2 + 1 + 1)
    assert jaxprs.multiply_adds(found.jaxpr) == jaxprs.multiply_adds(found)
    times = [times for eqn, times in jaxprs.operations(found, unknown=100.0) if jaxprs.product(eqn)]
    assert sorted(times) == [1, 1, 1, 5, 15, 100]


def test_the_largest_result_is_found_inside_loops_too():
    def program(x):
        wide = lax.map(lambda row: jnp.outer(row, row).sum(), x[:, :64])
        return wide + (x * 2).sum()

    x = jax.ShapeDtypeStruct((3, 100), "float32")
    assert jaxprs.largest_result(jax.make_jaxpr(program)(x)) == 64 * 64 * 4
    assert jaxprs.largest_result(jax.make_jaxpr(lambda x: x)(x)) == 0
    broken = SimpleNamespace(eqns=[SimpleNamespace(primitive=None, params=None, outvars=[None])])
    assert jaxprs.largest_result(broken) is None


def test_loop_carry():
    """Neither constants, nor inputs per round, nor collected results count, even with the same shapes."""

    def fn(x, w, rows):
        def body(carry, row):
            a, count, _ = carry
            return (a @ w, count + 1, row), (a, row)

        carry, collected = lax.scan(body, (x, 0, rows[0]), rows)
        bound = collected[1].sum()
        return lax.while_loop(lambda c: c[1] < bound, lambda c: (c[0] @ w, c[1] + x.sum()), (carry[0], 0.0))

    found = program(fn, (4, 4), (4, 4), (4, 4))
    carried = [jaxprs.loop_carry(eqn) for eqn, _ in jaxprs.operations(found)]
    assert [[a.shape for a in one] for one in carried if one] == [[(4, 4), (), (4,)], [(4, 4), ()]]
    batch = jax.make_jaxpr(jax.vmap(fn, (0, None, None)))(jnp.ones((3, 4, 4)), jnp.ones((4, 4)), jnp.ones((4, 4)))
    carried = [jaxprs.loop_carry(eqn) for eqn, _ in jaxprs.operations(batch)]
    assert [[a.shape for a in one] for one in carried if one] == [[(3, 4, 4), (), (4,)], [(3, 4, 4), (3,)]]


@pytest.mark.parametrize("groups", [1, 2])
def test_multiply_adds_of_a_convolution_and_its_gradients(groups):
    """Output, input gradient and kernel gradient each take as many multiply-adds as JAX's own convolution."""
    params = {"kernel": jnp.ones((3, 2, 4 // groups, 6)), "bias": jnp.ones(6)}
    x = jnp.ones((2, 8, 9, 4))
    layer = fnn.Conv(6, (3, 2), groups=groups, padding="valid")
    work = 2 * 6 * 8 * 6 * 3 * 2 * 4 // groups

    def apply(params, x):
        return layer.apply(params, {}, x)[0]

    def own(kernel, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", None, None, numbers, groups)

    assert jaxprs.multiply_adds(jax.make_jaxpr(own)(params["kernel"], x)) == work
    assert jaxprs.multiply_adds(jax.make_jaxpr(apply)(params, x)) == work
    whole = jax.make_jaxpr(jax.grad(lambda p, x: (apply(p, x) ** 2).sum(), (0, 1)))(params, x)
    assert jaxprs.multiply_adds(whole) == 3 * work
    members = jax.tree.map(lambda a: jnp.stack([a] * 5), params)
    assert jaxprs.multiply_adds(jax.make_jaxpr(jax.vmap(apply, (0, None)))(members, x)) == 5 * work


@pytest.mark.parametrize(
    ("fn", "ending"),
    [
        (jax.nn.softmax, "softmax"),
        (jax.nn.sigmoid, "sigmoid"),
        (jnp.tanh, "tanh"),
        (jax.jit(lambda x: jax.nn.softmax(x).reshape(2, 3)), "softmax"),
        (jax.checkpoint(jax.nn.sigmoid), "sigmoid"),
        (lambda x: jax.nn.sigmoid(x)[None, :, :2].astype(jnp.float16), "sigmoid"),
        (lambda x: jnp.exp(x) / jnp.exp(x + 1).sum(), None),
        (lambda x: x / 3, None),
        (lambda x: 2 * jnp.tanh(x), None),
        (lambda x: x, None),
        (lambda x: jnp.float32(1), None),
    ],
)
def test_endings(fn, ending):
    assert [end.activation for end in jaxprs.endings(program(fn, (3, 2)))] == [ending]
    both = program(lambda x: (x + 1, fn(x)), (3, 2))
    assert [end.activation for end in jaxprs.endings(both)] == [None, ending]


def repeated(fn, x, n):
    return jax.lax.scan(lambda x, _: (fn(x), None), x, length=n)[0]


KERNEL, MIXED = jnp.ones((2, 2)), jnp.ones((3, 2, 2)) / 2


@pytest.mark.parametrize(
    ("fn", "is_product"),
    [
        (lambda x: x @ KERNEL, True),
        (lambda x: x @ KERNEL + 1, True),
        (lambda x: (1 + x @ KERNEL)[:, None].astype("float16"), True),
        (jax.jit(lambda x: x @ KERNEL), True),
        (lambda x: jnp.abs(x @ KERNEL), False),
        (lambda x: x @ KERNEL / 2, False),
        (lambda x: jnp.einsum("bk,bks->bs", jax.nn.relu(x), jnp.abs(MIXED)), False),  # may be a mean of probabilities
        (jax.jit(lambda x: jnp.einsum("bk,bks->bs", jax.nn.relu(x), jnp.exp(MIXED))), False),
        (jax.nn.softmax, False),
    ],
    ids=range(9),
)
def test_products_at_the_end(fn, is_product):
    (end,) = jaxprs.endings(program(fn, (3, 2)))
    assert (end.is_product, end.activation is None) == (is_product, fn is not jax.nn.softmax)


@pytest.mark.parametrize(
    ("fn", "low", "high"),
    [
        (jax.nn.sigmoid, 0, 1),
        (jax.nn.softmax, 0, 1),
        (lambda x: jax.nn.softmax(x).mean(-1), 0, 1),
        (lambda x: jnp.exp(-jnp.square(x).sum(-1)), 0, 1),
        (lambda x: jnp.clip(x, -2.0, 3.0), -2, 3),
        (lambda x: 1 - 2 * jax.nn.sigmoid(x), -1, 1),
        (lambda x: jnp.concatenate([jnp.tanh(x), jax.nn.sigmoid(x)]), -1, 1),
        (lambda x: jnp.where(x > 0, jax.nn.sigmoid(x), jnp.tanh(x)), -1, 1),
        (lambda x: repeated(lambda c: (jax.nn.softmax(c) + 1) / 2, x, 2), 0.5, 1),
        (lambda x: repeated(jax.nn.sigmoid, x, 0), -np.inf, np.inf),
        (jax.nn.relu, 0, np.inf),
        (lambda x: x, -np.inf, np.inf),
        (lambda x: jnp.log(jax.nn.sigmoid(x)), -np.inf, 0),
        (lambda x: jax.nn.sigmoid(x) / jax.nn.sigmoid(-x), -np.inf, np.inf),
        (lambda x: jnp.sort(x) * jnp.inf, -np.inf, np.inf),
    ],
)
def test_bounds_hold(fn, low, high):
    (found,) = jaxprs.endings(jax.make_jaxpr(fn)(jnp.zeros((2, 3))))
    assert found.bounds == pytest.approx((low, high))
    assert found.in_probabilities == (low >= 0 and high == 1)
    values = np.asarray(fn(jnp.asarray(np.random.default_rng(0).normal(0, 5, (2, 3)), jnp.float32)))
    assert ((values >= low - 1e-6) & (values <= high + 1e-6) | np.isnan(values)).all()


def test_a_traced_function_accepts_other_constants():
    array = jnp.arange(3.0)
    calls = []

    def fn(tree):
        calls.append(1)
        return {"a": (array * tree["b"]).sum()}

    found = jaxprs.traced(fn, {"b": jax.ShapeDtypeStruct((), jnp.float32)})
    assert found.shapes["a"].shape == ()
    (constant,) = found.consts
    np.testing.assert_array_equal(constant, array)
    assert [float(value) for value in found.run([constant + 1], 2.0)] == [12.0]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("layers", "rows", "want"),
    [
        ((fnn.Dense(32, activation="relu"), fnn.Dense(10)), 128, 29),
        ((fnn.Dense(512, activation="relu"), fnn.Dense(10)), 128, 1),
    ],
)
def test_the_group_size_is_the_same_with_every_version(layers, rows, want):
    """A network of the quickstart's size runs in groups that fit the cache; a large one runs alone."""
    task = fnn.Task(fnn.Sequential(*layers), "sparse_categorical_crossentropy")
    x, y = jnp.zeros((4 * rows, 784)), jnp.zeros(4 * rows, jnp.int32)

    def trial(key):
        options = {"batch_size": rows, "order_key": jax.random.key(0)}
        return jax.tree.leaves(fnn.run(task, fnn.init(task, key, x[:1]), (x, y), **options))

    assert cpu_batch(trial, [jax.ShapeDtypeStruct((), jax.random.key(0).dtype)], 1000) == want


def test_only_one_file_reads_traced_programs():
    inside = re.compile(r"jax\.extend|jax\.interpreters|\.eqns|\.jaxpr\b|\.primitive\b|\.outvars")
    folder = Path(fnn.__file__).parent
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if inside.search(path.read_text())}
    assert found == {str(Path("_core", "jaxprs.py")), str(Path("nn", "_conv_primitive.py"))}
    private = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if "jax._src" in path.read_text()}
    assert private == {str(Path("_core", "processes.py"))}  # for a key-value store that has no public name


def test_of_forms_for_platforms_the_one_for_the_platform_here_counts():
    def of(**forms):
        program = jax.make_jaxpr(lambda x: jax.lax.platform_dependent(x, **forms))(jnp.ones((3, 3)))
        return jaxprs.multiply_adds(program.jaxpr)

    def product(x):
        return x @ x

    def nothing(x):
        return x

    here = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    other = "cpu" if here == "tpu" else "tpu"
    assert of(**{other: product}, default=nothing) == of(**{here: nothing}, default=product) == 0
    assert of(**{other: nothing}, default=product) == of(**{here: product}, default=nothing) == 27
