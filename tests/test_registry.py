"""Tests that hold for every unit of `registry.UNITS`, and tests that nothing public is missing from it."""

import ast
import contextlib
import functools
import inspect
import pathlib
import pkgutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import registry
from helpers import assert_close, some
from registry import UNITS, function_of, to_jax

import fnn
from fnn import activations, initializers, losses, metrics, schedules


def with_marks(units=UNITS, each=1):
    """Units as parameters, of which the default run takes every `each`-th, since compiling takes the time.

    Of further variants of what an earlier unit covers it takes none.
    """
    seen, count = set(), 0
    for unit in units:
        fresh = {id(thing) for thing in unit.covers} - seen
        seen |= fresh
        quick = bool(fresh) and count % each == 0
        count += bool(fresh)
        yield pytest.param(unit, id=unit.name, marks=() if quick else pytest.mark.slow)


DIFFERENTIABLE = [unit for unit in UNITS if unit.grad]
WITHOUT_GRADIENT = [unit for unit in UNITS if not unit.grad]
each_unit = pytest.mark.parametrize("unit", list(with_marks()))
each_differentiable_unit = pytest.mark.parametrize("unit", list(with_marks(DIFFERENTIABLE, 3)))
TESTS = pathlib.Path(__file__).parent


@pytest.fixture(autouse=True)
def strict():
    """Nothing in this file may promote dtypes silently."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def stack(trees):
    """Trees of arrays as one tree with a new first axis."""

    def join(*leaves):
        if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(to_jax(np.stack([jax.random.key_data(a) for a in leaves])))
        return to_jax(np.stack(leaves))

    return jax.tree.map(join, *trees)


def check_vmap(both, unit, dtype, tol, *more):
    """``both(stacked, sample, *more)`` is a program: the results of all samples under vmap, and those of one alone."""
    samples = [unit.args(dtype, seed) for seed in range(3)]
    assert not all(np.array_equal(a, b) for a, b in zip(*map(_plain, samples[:2]), strict=True)), "samples must differ"
    stacked = stack(samples)
    together, one_by_one = zip(*(both(stacked, sample, *more)[:2] for sample in samples), strict=True)
    assert_close(together[0], stack(one_by_one), tol, tol)
    assert both._cache_size() == 1, "the next sample compiles the program again"


def _plain(tree):
    return [
        jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a for a in jax.tree.leaves(tree)
    ]


# Units with a derivative are compared in float64, with their gradients below, and all of them in the slow test that
# follows.
@pytest.mark.parametrize("unit", [unit for unit in with_marks(WITHOUT_GRADIENT, 3) if not unit.marks])
def test_vmap_equals_a_loop_over_distinct_samples_without_compiling_again(unit):
    fn = function_of(unit, "float32")
    check_vmap(jax.jit(lambda stacked, sample: (jax.vmap(fn)(*stacked), fn(*sample))), unit, "float32", 1e-5)


# One optimized program, since compiling takes the time. Eager execution compiles every operation by itself.
@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_jit_equals_eager_and_vmap_equals_a_loop_and_bfloat16_is_near_float32(unit):
    fn, half = function_of(unit, "float32"), function_of(unit, "bfloat16")
    narrow = unit.args("bfloat16")

    @jax.jit
    def program(stacked, sample, narrow):
        return jax.vmap(fn)(*stacked), fn(*sample), half(*narrow)

    check_vmap(program, unit, "float32", 1e-5, narrow)
    args = unit.args("float32")
    stacked = stack([args] * 3)
    assert_close(program(stacked, args, narrow)[1], fn(*args), 1e-5, 1e-5)

    wide = jax.tree.map(lambda a: to_jax(np.asarray(a, np.float32)) if a.dtype == jnp.bfloat16 else a, narrow)
    _, want, got = program(stacked, wide, narrow)
    assert_close(got, want, 0.06, 0.06)


@each_unit
@pytest.mark.parametrize("dtype", some(["float32", "bfloat16", "float16"], "bfloat16"))
def test_dtype_is_kept(unit, dtype):
    out = jax.eval_shape(function_of(unit, dtype), *unit.args(dtype))
    running = {path: leaf for path, leaf in fnn.paths(out).items() if "moving_" in path}
    assert {leaf.dtype for leaf in running.values()} <= {jnp.dtype("float32")}
    others = [leaf for path, leaf in fnn.paths(out).items() if path not in running]
    assert {leaf.dtype for leaf in floats(others)} <= {jnp.dtype(unit.out(dtype))}
    assert not any(getattr(leaf, "weak_type", False) for leaf in jax.tree.leaves(out))


@each_unit
def test_float64_is_kept(unit, x64):
    shapes = jax.eval_shape(function_of(unit, "float64"), *unit.args("float64"))
    assert {leaf.dtype for leaf in floats(shapes)} <= {jnp.dtype(unit.out("float64"))}


@each_differentiable_unit
def test_gradients_are_finite_differences_and_vmap_equals_a_loop(unit, x64):
    """One program for both, since compiling takes the time; its second call compiles nothing."""
    fn = function_of(unit, "float64")

    @jax.jit
    def program(stacked, sample):
        def scalar(chosen):
            full = list(sample)
            for i, value in zip(unit.grad, chosen, strict=True):
                full[i] = value
            out = fn(*full)
            rng = np.random.default_rng(1)
            return sum(jnp.sum(rng.normal(size=o.shape) * o) for o in floats(out)), out

        (value, out), slope = jax.value_and_grad(scalar, has_aux=True)([sample[i] for i in unit.grad])
        return jax.vmap(fn)(*stacked), out, value, slope

    check_vmap(program, unit, "float64", 1e-10)
    args = unit.args("float64")
    stacked, at = stack([args] * 3), [args[i] for i in unit.grad]
    slope = program(stacked, args)[-1]
    assert any(np.abs(np.asarray(leaf)).max(initial=0) > 0 for leaf in jax.tree.leaves(slope)), (
        "a gradient of zeros sees nothing"
    )
    rng, step = np.random.default_rng(2), 1e-6
    for _ in range(2):
        direction = jax.tree.map(lambda a: rng.normal(size=a.shape), at)

        def value(by, direction=direction):
            there = list(args)
            for i, start, d in zip(unit.grad, at, direction, strict=True):
                there[i] = jax.tree.map(lambda a, d: to_jax(np.asarray(a) + by * d), start, d)
            return float(program(stacked, tuple(there))[2])

        along = sum(
            np.sum(np.asarray(g) * d) for g, d in zip(jax.tree.leaves(slope), jax.tree.leaves(direction), strict=True)
        )
        np.testing.assert_allclose(along, (value(step) - value(-step)) / (2 * step), rtol=2e-6, atol=2e-8)


# ------------------------------------------------------------------------------------------------- nothing is missing
NAMESPACES = {
    "": fnn,
    "activations.": activations,
    "initializers.": initializers,
    "losses.": losses,
    "metrics.": metrics,
    "schedules.": schedules,
    "penalties.": fnn.penalties,
    "plot.": fnn.plot,
    "data.": fnn.data,
    "text.": fnn.text,
    "classic.": fnn.classic,
}


def public():
    """Everything public that can be called, by its name."""
    found = {prefix + name: getattr(module, name) for prefix, module in NAMESPACES.items() for name in module.__all__}
    found |= {name: getattr(fnn, name) for name in fnn._ESTIMATORS}
    return {name: fn for name, fn in found.items() if callable(fn) and not isinstance(fn, types.GenericAlias)}


def test_no_other_namespaces():
    """`fnn.nn` and `fnn.optimizers` hold modules alone, whose names are directly in fnn."""
    modules = {name for name, value in vars(fnn).items() if inspect.ismodule(value) and not name.startswith("_")}
    public = {name for name in modules if name in fnn.__all__} - {"nn", "optimizers"}
    assert public == {prefix.rstrip(".") for prefix in NAMESPACES if prefix}
    for module in (fnn.nn, fnn.optimizers):
        assert not [name for name, value in vars(module).items() if name[0] != "_" and not inspect.ismodule(value)]


def test_dir_shows_what_is_public():
    for prefix, module in NAMESPACES.items():
        if prefix:
            assert dir(module) == sorted(module.__all__)


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
    source = next(TESTS.rglob(registry.NOT_UNITS[name])).read_text()
    assert id(public()[name]) in used(source), f"{name} is not used in {registry.NOT_UNITS[name]}"


def test_a_name_in_a_comment_a_text_or_an_import_is_not_used():
    imports = "import fnn\nfrom fnn import losses\nfrom fnn.losses import mean_loss, huber as smooth\n"
    found = used(f"{imports}# losses.hinge\nfit = 'fnn.fit'\nother.losses.poisson, smooth, losses.logistic\n")
    assert found == {id(thing) for thing in (losses, losses.huber, losses.logistic)}


@functools.cache
def used(source):
    """Things of the package that code refers to, by their ids."""
    tree, bound, names = ast.parse(source), {"fnn": "fnn"}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fnn":
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        chain = []
        while isinstance(node, ast.Attribute):
            chain, node = [node.attr, *chain], node.value
        if isinstance(node, ast.Name) and node.id in bound:
            names.add(".".join([bound[node.id], *chain]))
    return {id(thing) for thing in map(_resolved, names) if thing is not None}


@functools.cache
def _resolved(name):
    with contextlib.suppress(AttributeError, ImportError, TypeError):
        return pkgutil.resolve_name(name)


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
