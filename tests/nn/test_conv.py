"""Convolutions against XLA's own, and the programs that the CPU backend compiles."""

import functools
import itertools
import re

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conv_cases import assert_close_in_scale, normal, value_and_pullback
from helpers import OPTIMIZED
from hypothesis import given, settings
from jax import lax

from fnn._core.xla import YNNPACK_CONVOLVES_FAST
from fnn.nn.conv import (
    Conv,
    ConvTranspose,
    DepthwiseConv,
    conv,
)
from fnn.nn.pooling import max_pool


def plain(kernel, x, strides, padding, dilation, groups):
    """The reference: XLA's own convolution and gradients."""
    spatial = "DHW"[5 - x.ndim :]
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        feature_group_count=groups,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )


@st.composite
def cases(draw, largest=7):
    """Shapes and arguments, including windows larger than the image and padding larger than the window."""
    rank = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank)))

    groups, c, f = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 18])), draw(st.integers(1, 4))
    window, dilation = each(1, 3), each(1, 2)
    low, high = each(0, 3), each(0, 3)
    reach = [d * (k - 1) + 1 - a - b for k, d, a, b in zip(window, dilation, low, high, strict=True)]
    size = tuple(max(n, r, 1) for n, r in zip(each(1, largest), reach, strict=True))
    arguments = (each(1, 3), tuple(zip(low, high, strict=True)), dilation, groups)
    return (draw(st.integers(1, 3)), *size, groups * c), (*window, c, groups * f), arguments


def pair(case, seed=0, dtype=jnp.float32):
    """Ours and the reference as functions of (kernel, x), with asymmetric random arguments for both."""
    x_shape, k_shape, (strides, padding, dilation, groups) = case
    rng = np.random.default_rng(seed)

    def ours(kernel, x):
        return conv(
            {"kernel": kernel}, x, strides=strides, padding=list(padding), dilation_rate=dilation, groups=groups
        )

    reference = functools.partial(plain, strides=strides, padding=padding, dilation=dilation, groups=groups)
    return ours, reference, (normal(rng, *k_shape, dtype=dtype), normal(rng, *x_shape, dtype=dtype))


def check_case(case, dtype, tolerance):
    ours, reference, arguments = pair(case, dtype=dtype)
    assert_close_in_scale(*value_and_pullback((ours, reference), arguments), tolerance)


@given(cases())
@settings(max_examples=8)
def test_values_and_gradients_equal_xla_float32(case):
    check_case(case, jnp.float32, 1e-5)


@given(cases(largest=5))
@settings(max_examples=3)
def test_values_and_gradients_equal_xla_float64(case):
    with jax.enable_x64(True):
        check_case(case, jnp.float64, 1e-12)


@given(cases(largest=5), st.sampled_from([jnp.bfloat16, jnp.float16]))
@settings(max_examples=3)
def test_values_and_gradients_equal_xla_half(case, dtype):
    check_case(case, dtype, 3e-2)


@pytest.mark.slow
@given(cases(largest=9))
@settings(max_examples=80)
def test_values_and_gradients_equal_xla_float32_many(case):
    check_case(case, jnp.float32, 1e-5)


FIXED = {
    "1-D": ((2, 9, 4), (3, 2, 6), ((2,), ((1, 2),), (2,), 2)),
    "2-D": ((2, 7, 6, 3), (3, 2, 3, 5), ((2, 1), ((0, 1), (1, 0)), (1, 2), 1)),
    "depthwise": ((2, 7, 6, 4), (3, 3, 1, 8), ((1, 2), ((1, 1), (0, 2)), (2, 1), 4)),
    "3-D": ((2, 4, 5, 4, 2), (2, 3, 2, 2, 3), ((1, 2, 1), ((0, 1), (1, 1), (0, 0)), (1, 1, 2), 1)),
    "1x1": ((2, 7, 6, 3), (1, 1, 3, 5), ((2, 1), ((0, 1), (1, 0)), (1, 1), 1)),
}


def mainly(name):
    return [pytest.param(n, marks=[] if n == name else pytest.mark.slow) for n in FIXED]


def test_a_kernel_of_one_tap_and_its_gradients_equal_xla():
    check_case(FIXED["1x1"], jnp.float32, 1e-5)


@pytest.mark.parametrize("name", mainly("depthwise"))
def test_second_derivatives_in_both_modes(name):
    ours, reference, arguments = pair(FIXED[name])
    rng = np.random.default_rng(1)
    direction = tuple(normal(rng, *a.shape) for a in arguments)

    def derivatives(fn, arguments):
        def loss(arguments):
            return jnp.sum(jnp.sin(fn(*arguments)))

        def along(arguments):
            return sum(jnp.vdot(a, b) for a, b in zip(jax.grad(loss)(arguments), direction, strict=True))

        forward = jax.jvp(loss, (arguments,), (direction,))
        over_reverse = jax.jvp(jax.grad(loss), (arguments,), (direction,))[1]
        return forward, over_reverse, jax.grad(along)(arguments)

    ours_, reference_ = jax.jit(lambda *a: [derivatives(fn, a) for fn in (ours, reference)])(*arguments)
    assert_close_in_scale(ours_, reference_, 1e-4)
    assert_close_in_scale(ours_[1], ours_[2], 1e-4)


def test_third_derivative():
    def loss(fn):
        return lambda k: jnp.sum(jnp.sin(fn(k)))

    x, kernel = jnp.array([[[0.3], [-1.0], [2.0], [0.7]]]), jnp.array([[[0.5]], [[-0.2]]])
    third = jax.jacfwd(jax.jacrev(jax.grad(loss(lambda k: conv({"kernel": k}, x)))))
    expected = jax.jacrev(jax.jacfwd(jax.grad(loss(lambda k: plain(k, x, (1,), "VALID", (1,), 1)))))
    assert_close_in_scale(*jax.jit(lambda k: (third(k), expected(k)))(kernel), 1e-5)


# Every run tests one of each; `-m slow` tests the others.
SOME = {((0, None), "depthwise"), ((None, 0), "2-D")}


@pytest.mark.parametrize(
    ("axes", "name"),
    [
        pytest.param(*each, marks=[] if each in SOME else pytest.mark.slow)
        for each in itertools.product([(0, 0), (0, None), (None, 0)], FIXED)
    ],
)
def test_vmap_equals_a_loop(axes, name):
    ours, _, (kernel, x) = pair(FIXED[name])
    rng = np.random.default_rng(2)
    members = [normal(rng, 3, *a.shape) if d == 0 else a for a, d in zip((kernel, x), axes, strict=True)]

    def gradients(kernel, x):
        return jax.value_and_grad(lambda *a: jnp.sum(jnp.sin(ours(*a))), (0, 1))(kernel, x)

    together = jax.jit(jax.vmap(gradients, axes))(*members)
    each = jax.jit(gradients)
    one_by_one = [each(*(a[i] if d == 0 else a for a, d in zip(members, axes, strict=True))) for i in range(3)]
    assert_close_in_scale(together, jax.tree.map(lambda *a: np.stack(a), *one_by_one), 1e-5)


def test_nested_vmap():
    ours, reference, (kernel, x) = pair(FIXED["2-D"])
    kernels = np.stack([kernel, 2 * kernel, -kernel])
    xs = np.stack([x, x + 1])
    for axes in [((0, None), (None, 0)), ((0, 0), (0, None)), ((None, 0), (0, 0))]:
        a = kernels[:2] if axes[1][0] == axes[0][0] == 0 else kernels
        a = np.stack([a, a + 1], 0)[:, :2] if axes in (((0, 0), (0, None)),) else a
        b = np.stack([xs, xs + 2, xs - 1]) if axes == ((None, 0), (0, 0)) else xs
        nested = [jax.vmap(jax.vmap(fn, axes[0]), axes[1]) for fn in (ours, reference)]
        assert_close_in_scale(*jax.jit(lambda a, b, fns=nested: [fn(a, b) for fn in fns])(a, b), 1e-5)


def test_jit_equals_eager_and_scan():
    ours, _, (kernel, x) = pair(FIXED["2-D"])
    eager = ours(jnp.asarray(kernel), jnp.asarray(x))
    assert_close_in_scale(jax.jit(ours)(kernel, x), eager, 1e-6)
    assert_close_in_scale(np.asarray(lax.map(lambda x: ours(kernel, x), x[None]))[0], eager, 1e-6)
    assert_close_in_scale(jax.checkpoint(ours)(kernel, x), eager, 1e-6)


def test_empty_batch_has_empty_output_and_zero_gradient():
    arguments = np.ones((3, 3, 2, 4), "float32"), np.ones((0, 5, 5, 2), "float32")
    ((y, (kernel_gradient, _)),) = value_and_pullback([lambda k, x: conv({"kernel": k}, x)], arguments)
    assert y.shape == (0, 3, 3, 4)
    assert not kernel_gradient.any()


def test_strict_promotion_and_dtype_kept(strict_promotion):
    layers = [Conv(4, 3, activation="relu"), DepthwiseConv(3, depth_multiplier=2), ConvTranspose(3, 3, strides=2)]
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        x = jax.ShapeDtypeStruct((2, 6, 6, 2), dtype)
        for layer in layers:
            params, _ = jax.eval_shape(layer.init, jax.random.key(0), x)

            def both(params, x, layer=layer):
                y, pullback = jax.vjp(lambda p, x: layer.apply(p, {}, x)[0], params, x)
                return y, pullback(y)

            # Lowering, where the CPU's form is chosen, follows the strict rules too.
            out = jax.jit(both).lower(params, x).out_info
            assert all(leaf.dtype == dtype for leaf in jax.tree.leaves((params, out)))


def test_shard_map():
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    ours, reference, (kernel, x) = pair(FIXED["2-D"])

    def gradient(fn, kernel, x):
        def loss(kernel, x):
            return lax.psum(jnp.sum(jnp.sin(fn(kernel, x))), "batch")

        local = jax.shard_map(loss, mesh=mesh, in_specs=(spec(), spec("batch")), out_specs=spec())
        return jax.grad(local, (0, 1))(kernel, x)

    assert_close_in_scale(*jax.jit(lambda *a: [gradient(fn, *a) for fn in (ours, reference)])(kernel, x), 1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Compiled programs


def slow_operations(hlo):
    """The operations of an optimized HLO module that XLA's CPU backend runs slowly.

    Eigen takes a convolution in float32, in this layout, without reversal; any other one is compiled naively, and one
    inside a fusion of kind ``__ynn_fusion`` is YNNPACK's, slow in some versions. (Three spatial axes have a slow path
    in Eigen too.)
    """
    ynnpack = set(re.findall(r"calls=%?([\w.\-]+),[^\n]*__ynn_fusion", hlo))
    found, computation = [], ""
    for line in hlo.splitlines():
        if header := re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            computation = header.group(1)
        if " select-and-scatter(" in line or " scatter(" in line:  # on the CPU the former becomes the latter
            found.append("select-and-scatter")
        if " convolution(" in line:
            labels = re.search(r"dim_labels=(\S+?)(?:,|$)", line).group(1)
            if computation in ynnpack:
                found += [] if YNNPACK_CONVOLVES_FAST else ["ynnpack"]
            elif labels not in ("b01f_01io->b01f", "b0f_0io->b0f") or "rhs_reversal" in line or "= f32[" not in line:
                found.append("naive")
    return found


def plain_conv(params, x, strides=1, padding="valid", groups=1):
    rank = x.ndim - 2
    y = plain(params["kernel"], x, (strides,) * rank, padding.upper(), (1,) * rank, groups)
    return y + params["bias"]


def plain_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def training_loop(conv, pool):
    """Three steps of gradient descent for a convolutional network, inside a compiled loop."""

    def loss(params, x):
        x = pool(jax.nn.relu(conv(params[0], x)))
        x = pool(jax.nn.relu(conv(params[1], x, padding="same")))
        x = conv(params[2], x, strides=2)
        return jnp.mean(jnp.sin(x))

    def train(params, x):
        def body(_, params):
            gradients = jax.grad(loss)(params, x)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)

        return lax.fori_loop(0, 3, body, params)

    rng = np.random.default_rng(0)
    params = [
        {"kernel": normal(rng, 3, 3, *shape) / 8, "bias": normal(rng, shape[1])}
        for shape in [(1, 32), (32, 32), (32, 64)]
    ]
    return train, params, normal(rng, 8, 20, 20, 1)


@pytest.mark.slow
def test_ensemble_takes_the_fast_path_on_the_cpu():
    train, params, x = training_loop(conv, max_pool)
    members = jax.tree.map(lambda p: jax.ShapeDtypeStruct((2, *p.shape), p.dtype), params)
    text = jax.jit(jax.vmap(train, (0, None))).lower(members, x).compile(OPTIMIZED).as_text()
    assert text.count(" convolution(") >= 4
    assert slow_operations(text) == []


@pytest.mark.slow
def test_training_loop_takes_the_fast_path_on_the_cpu():
    ours, params, x = training_loop(conv, max_pool)
    compiled = jax.jit(ours).lower(params, x).compile(OPTIMIZED)
    text = compiled.as_text()
    assert text.count(" convolution(") >= 4  # otherwise this test would check nothing
    assert slow_operations(text) == []

    reference, _, _ = training_loop(plain_conv, plain_pool)
    plain_compiled = jax.jit(reference).lower(params, x).compile(OPTIMIZED)
    # The test can fail: JAX's own operations are slow in each of the three ways.
    slow = {"naive", "select-and-scatter"} | (set() if YNNPACK_CONVOLVES_FAST else {"ynnpack"})
    assert set(slow_operations(plain_compiled.as_text())) == slow
    assert_close_in_scale(compiled(params, x), plain_compiled(params, x), 1e-4)


@pytest.mark.parametrize(
    "case",
    [
        ((4, 30, 3), (5, 3, 4), ((2,), ((1, 2),), (1,), 1)),
        ((4, 9, 8, 4), (3, 3, 4, 32), ((2, 2), ((1, 1), (1, 1)), (1, 1), 1)),
        ((4, 9, 8, 4), (3, 3, 4, 32), ((1, 1), ((2, 2), (2, 2)), (2, 2), 1)),
        ((4, 9, 8, 36), (3, 3, 18, 40), ((1, 1), ((1, 1), (1, 1)), (1, 1), 2)),
        ((4, 9, 8, 36), (3, 3, 1, 36), ((1, 1), ((1, 1), (1, 1)), (1, 1), 36)),
        ((4, 2, 2, 32), (3, 3, 32, 32), ((1, 1), ((2, 2), (2, 2)), (1, 1), 1)),
        ((2, 6, 7, 6, 3), (3, 2, 3, 3, 32), ((1, 2, 1), ((1, 1), (0, 0), (1, 1)), (1, 1, 1), 1)),
    ],
    ids=["1-D", "strides", "dilation", "groups", "depthwise", "small", "3-D"],
)
@pytest.mark.parametrize("ensemble", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["one", "ensemble"])
def test_every_kind_takes_the_fast_path_on_the_cpu(case, ensemble):
    ours, _, arguments = pair(case)
    if ensemble:
        ours, arguments = jax.vmap(ours), tuple(jax.ShapeDtypeStruct((2, *a.shape), a.dtype) for a in arguments)

    def loop(arguments):
        def body(_, arguments):
            gradients = jax.grad(lambda a: jnp.sum(jnp.sin(ours(*a))))(arguments)
            return jax.tree.map(jnp.subtract, arguments, gradients)

        return lax.fori_loop(0, 2, body, arguments)

    assert slow_operations(jax.jit(loop).lower(arguments).compile(OPTIMIZED).as_text()) == []


def test_dilates_the_base_only_where_that_keeps_a_slow_kernel_away():
    x, y, params = jnp.ones((2, 9, 9, 32)), jnp.ones((2, 7, 7, 32)), {"kernel": jnp.ones((3, 3, 32, 32))}
    operations = {
        "forward": lambda: conv(params, x),
        "gradient of x": lambda: jax.linear_transpose(lambda x: conv(params, x), x)(y),
        "groups": lambda: conv({"kernel": jnp.ones((3, 3, 16, 32))}, x, groups=2),
    }
    dilated = {name: "lhs_dilate = [2, 1]" in jax.jit(f).lower().as_text() for name, f in operations.items()}
    # YNNPACK takes no convolution that grows the image.
    assert dilated == {"forward": not YNNPACK_CONVOLVES_FAST, "gradient of x": False, "groups": True}


def test_exports_for_every_platform_with_the_native_convolution_off_the_cpu():
    def loss(params, x):
        return jnp.sum(jnp.sin(max_pool(conv(params, x))))

    gradient = jax.jit(jax.grad(loss, (0, 1)))
    rng = np.random.default_rng(0)
    params, x = {"kernel": normal(rng, 3, 3, 32, 32), "bias": normal(rng, 32)}, normal(rng, 8, 20, 20, 32)
    gpu = jax.export.export(gradient, platforms=["cuda"])(params, x).mlir_module()
    cpu = jax.export.export(gradient, platforms=["cpu"])(params, x).mlir_module()
    assert "x[f, 0, 1, b]" in gpu.replace("[f, 0, 1, b]x", "x[f, 0, 1, b]")  # XLA's own kernel gradient
    assert "[f, 0, 1, b]" not in cpu
    together = jax.export.export(gradient, platforms=["cpu", "cuda", "tpu"])(params, x)
    assert_close_in_scale(together.call(params, x), gradient(params, x), 1e-5)
