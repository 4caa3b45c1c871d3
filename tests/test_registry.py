"""Tests that hold for every unit of `registry.UNITS`, and tests that nothing public is missing from it."""

import inspect
import pathlib
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import registry
from registry import UNITS, compiled, function_of

import fnn
from fnn import activations, initializers, losses, metrics, schedules


def with_marks():
    """Units as parameters; further variants of what an earlier unit covers are slow, since compiling takes the time."""
    seen = set()
    for unit in UNITS:
        fresh = {id(thing) for thing in unit.covers} - seen
        seen |= fresh
        yield pytest.param(unit, id=unit.name, marks=() if fresh else pytest.mark.slow)


each_unit = pytest.mark.parametrize("unit", list(with_marks()))
TESTS = pathlib.Path(__file__).parent


@pytest.fixture(autouse=True)
def strict():
    """Nothing in this file may promote dtypes silently."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def assert_close(got, want, rtol=2e-6, atol=2e-6):
    got, want = jax.tree.leaves_with_path(got), jax.tree.leaves_with_path(want)
    assert [path for path, _ in got] == [path for path, _ in want]
    assert got, "a unit must return something"
    for (path, a), (_, b) in zip(got, want, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol, atol, err_msg=jax.tree_util.keystr(path))


def stack(trees):
    """Trees of arrays as one tree with a new first axis."""

    def join(*leaves):
        if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(np.stack([jax.random.key_data(a) for a in leaves])))
        return jnp.asarray(np.stack(leaves))

    return jax.tree.map(join, *trees)


# Slow because eager execution compiles every operation by itself; values are compared with references elsewhere.
@pytest.mark.slow
@each_unit
def test_jit_equals_eager(unit):
    args = unit.args("float32")
    assert_close(compiled(unit, "float32")(*args), function_of(unit, "float32")(*args), 1e-5, 1e-5)


@each_unit
def test_vmap_equals_a_loop_over_distinct_samples(unit):
    samples = [unit.args("float32", seed) for seed in range(3)]
    assert not all(np.array_equal(a, b) for a, b in zip(*map(_plain, samples[:2]), strict=True)), "samples must differ"
    together = jax.jit(jax.vmap(function_of(unit, "float32")))(*stack(samples))
    one_by_one = [compiled(unit, "float32")(*sample) for sample in samples]
    assert_close(together, stack(one_by_one), 1e-5, 1e-5)


def _plain(tree):
    return [
        jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a for a in jax.tree.leaves(tree)
    ]


@each_unit
def test_second_call_compiles_nothing(unit):
    jitted = compiled(unit, "float32")
    for seed in (0, 1):
        jitted(*unit.args("float32", seed))
    assert jitted._cache_size() == 1


@each_unit
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_kept(unit, dtype):
    out = jax.eval_shape(function_of(unit, dtype), *unit.args(dtype))
    running = {path: leaf for path, leaf in fnn.paths(out).items() if "moving_" in path}
    assert {leaf.dtype for leaf in running.values()} <= {jnp.dtype("float32")}
    others = [leaf for path, leaf in fnn.paths(out).items() if path not in running]
    assert {leaf.dtype for leaf in floats(others)} <= {jnp.dtype(unit.out(dtype))}
    assert not any(getattr(leaf, "weak_type", False) for leaf in jax.tree.leaves(out))


@pytest.mark.slow
@each_unit
def test_bfloat16_is_near_float32(unit):
    args = unit.args("bfloat16")
    wide = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.bfloat16 else a, args)
    got, want = compiled(unit, "bfloat16")(*args), compiled(unit, "float32")(*wide)
    if unit.name.startswith("initializers") or "_init" in unit.name:
        want = got  # draws differ by dtype; that they are finite is what is left to see
    assert_close(got, want, 0.06, 0.06)
    assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in floats(got))


@each_unit
def test_float64_is_kept_and_gradients_are_finite_differences(unit, x64):
    args = unit.args("float64")
    fn = function_of(unit, "float64")
    shapes = jax.eval_shape(fn, *args)
    assert {leaf.dtype for leaf in floats(shapes)} <= {jnp.dtype(unit.out("float64"))}
    if not unit.grad:
        return
    rng = np.random.default_rng(1)
    weights = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape)), shapes)

    def scalar(chosen):
        full = list(args)
        for i, value in zip(unit.grad, chosen, strict=True):
            full[i] = value
        out = fn(*full)
        return sum(jnp.sum(w * o) for w, o in zip(floats(weights), floats(out), strict=True))

    at = [args[i] for i in unit.grad]
    value_and_grad = jax.jit(jax.value_and_grad(scalar))
    _, slope = value_and_grad(at)
    assert any(np.abs(np.asarray(leaf)).max(initial=0) > 0 for leaf in jax.tree.leaves(slope)), (
        "a gradient of zeros sees nothing"
    )
    for _ in range(2):
        direction = jax.tree.map(lambda a: rng.normal(size=a.shape), at)
        step = 1e-6
        up, down = (
            value_and_grad(
                jax.tree.map(lambda a, d, s=s: jnp.asarray(np.asarray(a) + s * np.asarray(d)), at, direction)
            )[0]
            for s in (step, -step)
        )
        along = sum(
            np.sum(np.asarray(g) * d) for g, d in zip(jax.tree.leaves(slope), jax.tree.leaves(direction), strict=True)
        )
        np.testing.assert_allclose(float(along), float(up - down) / (2 * step), rtol=2e-6, atol=2e-8)


# ------------------------------------------------------------------------------------------------- nothing is missing
NAMESPACES = {
    "": fnn,
    "activations.": activations,
    "initializers.": initializers,
    "losses.": losses,
    "metrics.": metrics,
    "schedules.": schedules,
    "data.": fnn.data,
    "text.": fnn.text,
    "classic.": fnn.classic,
}


def public():
    """Everything public by its name: what `fnn` shows, and what the modules of its namespaces define."""
    found = {}
    for prefix, module in NAMESPACES.items():
        for name, value in vars(module).items():
            own = module is fnn or f"{getattr(value, '__module__', '')}.".startswith(f"{module.__name__}.")
            if not name.startswith("_") and own and callable(value) and not isinstance(value, types.GenericAlias):
                found[prefix + name] = value
    return found


def test_every_public_name_is_in_the_table():
    covered = {id(thing) for unit in UNITS for thing in unit.covers}
    missing = [name for name, value in public().items() if id(value) not in covered and name not in registry.NOT_UNITS]
    assert not missing, f"register these in tests/registry.py: {missing}"


def test_the_list_of_exceptions_is_no_longer_than_needed():
    names, covered = public(), {id(thing) for unit in UNITS for thing in unit.covers}
    stale = [name for name in registry.NOT_UNITS if name not in names or id(names[name]) in covered]
    assert not stale


@pytest.mark.parametrize("name", sorted(registry.NOT_UNITS))
def test_exceptions_are_tested_where_the_table_says(name):
    text = next(TESTS.rglob(registry.NOT_UNITS[name])).read_text()
    assert re.search(rf"\b{name.rpartition('.')[2]}\b", text), f"{name} is not in {registry.NOT_UNITS[name]}"


@pytest.mark.parametrize(
    ("table", "module"),
    [(activations.ACTIVATIONS, "activations"), (initializers.INITIALIZERS, "initializers"), (losses.LOSSES, "losses")],
    ids=["activations", "initializers", "losses"],
)
def test_every_name_of_a_lookup_table_is_in_the_table(table, module):
    covered = {id(thing) for unit in UNITS for thing in unit.covers}
    factories = {"uniform": initializers.uniform, "normal": initializers.normal}
    missing = [
        n for n, fn in table.items() if id(fn) not in covered and not (module == "initializers" and n in factories)
    ]
    assert not missing


def test_every_metric_name_and_optimizer_name_is_in_the_table():
    names = {thing for unit in UNITS for thing in unit.covers if isinstance(thing, str)}
    assert set(metrics.METRICS) == names
    covered = {id(thing) for unit in UNITS for thing in unit.covers}
    assert all(id(make) in covered for make in fnn.optimizers.rules.OPTIMIZERS.values())


def test_no_unit_is_registered_twice():
    names = [unit.name for unit in UNITS]
    assert len(set(names)) == len(names)


def test_pascal_case_constructors_make_layers():
    constructors = [n for n, v in public().items() if inspect.isfunction(v) and n[0].isupper()]
    assert {"Dense", "Sequential", "BatchNorm"} <= set(constructors)
    for name in constructors:
        assert inspect.signature(getattr(fnn, name)).return_annotation == "Layer", name


@pytest.mark.parametrize("name", sorted(public()))
def test_every_public_name_has_a_docstring(name):
    value = public()[name]
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc, f"{name} has no docstring"
    assert not doc.startswith(f"{name.rpartition('.')[2]}("), f"{name} has only the docstring that Python makes"
    assert doc.strip().splitlines()[0].rstrip()[-1] in ".:;)]`", f"{name}: the first line is no sentence"
