"""Plans for devices that need not be there."""

import dataclasses
import importlib.util
import re
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import fnn
from fnn.placement import compiler
from fnn.placement.devices import DEVICES, target
from fnn.placement.largest import with_largest

MODEL = fnn.Sequential(fnn.Dense(16, activation="relu"), fnn.Residual(fnn.Dense(16)), fnn.Dense(10))
TASK = fnn.Task(MODEL, "sparse_categorical_crossentropy", fnn.adam(), metrics=["accuracy"])
X, Y = jax.ShapeDtypeStruct((1000, 20), jnp.float32), jax.ShapeDtypeStruct((1000,), jnp.int32)
PARAMETERS = 20 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10


@pytest.fixture(scope="module")
def here():
    return fnn.plan(TASK, (X, Y), batch_size=32)


def test_memory_by_what_it_holds(here):
    assert isinstance(here, fnn.Plan)
    assert here.memory["parameters"] == 4 * PARAMETERS
    # Two slots, a count and the hyper-parameters, of which there are fewer than ten.
    assert 8 * PARAMETERS < here.memory["optimizer"] <= 8 * PARAMETERS + 40
    assert here.memory["data"] == 1000 * (20 * 4 + 4)
    assert here.bytes_needed == sum(here.memory.values())


def test_operations_by_layer(here):
    rows = {row.name: row.operations for row in here}
    # Forward and the kernel's gradient; the gradient of the input only where there is a layer before.
    assert rows["dense"] == 2 * 32 * 20 * 16 * 2
    assert rows["residual/body/dense"] == 2 * 32 * 16 * 16 * 3
    assert rows["dense_1"] == 2 * 32 * 16 * 10 * 3
    assert here.step.operations == sum(rows.values())
    assert next(row.name for row in here) == "(batch)"
    assert {"(loss)", "(update)"} <= rows.keys()
    assert all(row.kernels > 0 for row in here if row.name.startswith("dense"))
    assert all(row.half == 0 for row in here)


def test_a_plan_prints_as_a_table(here):
    text = str(here)
    assert text.startswith("a step of 32 examples on this machine")
    assert "residual/body" in text
    assert "memory: " in text
    assert "estimated" not in text
    assert here.seconds is None
    assert here.fits is None
    assert here.bound == ""
    assert here.largest_batch is None


def test_the_picture_shows_every_row_and_part(here):
    costs, memory = fnn.plot.plan(here)
    assert [label.get_text() for label in costs.get_yticklabels()] == [row.name for row in here]
    assert [bar.get_width() for bar in costs.patches] == [row.operations for row in here]
    assert [label.get_text() for label in memory.get_yticklabels()] == [name for name, n in here.memory.items() if n]
    assert "32 examples on this machine" in costs.get_title()
    plt.close(costs.figure)
    with pytest.raises(fnn.InputError, match="Plan"):
        fnn.plot.plan(here.memory)


def test_estimates_of_a_named_device(here):
    step = here.step
    plan = dataclasses.replace(here, device=DEVICES["h200"], largest_batch=500, all_rows=False)
    assert plan.times["launches"] == pytest.approx(2e-6 * step.kernels)
    assert plan.times["products"] == pytest.approx(step.operations / 494.7e12)
    assert plan.seconds == plan.times["launches"]
    assert (plan.bound, plan.fits) == ("launches", True)
    assert "largest batch that fits: 500" in str(plan)
    small = dataclasses.replace(DEVICES["v5e"], memory=10_000.0)
    plan = dataclasses.replace(here, device=small, rows=(fnn.placement.PlanRow("dense", 10, 0, 10, 1, 1500),))
    assert (plan.seconds, plan.bound, plan.fits) == (None, "", False)
    assert "IT DOES NOT FIT: the largest part is data" in str(plan)
    plan = dataclasses.replace(plan, device=DEVICES["v5e"], largest_batch=0)
    assert (plan.seconds, plan.bound, plan.fits) == (1e-6, "latency", True)
    assert "no batch that fits was found" in str(plan)
    half = dataclasses.replace(plan, device=DEVICES["h200"], rows=(fnn.placement.PlanRow("dense", 10**12, 10**12),))
    assert half.seconds == pytest.approx(1e12 / 989.4e12)


@pytest.mark.slow
def test_arrays_shapes_and_batches_of_streams_are_taken():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 20)).astype(np.float32), rng.integers(0, 10, 40)
    arrays = fnn.plan(TASK, (x, y), batch_size=8)
    assert arrays.memory["data"] == 40 * 84
    stream = fnn.plan(TASK, (x[:1], y[:1]), batch_size=8)
    assert stream.memory["data"] == 8 * 84
    assert arrays.step.operations == stream.step.operations
    assert not arrays.all_rows
    wide = jax.ShapeDtypeStruct((40, 20), jnp.dtype("float64")), jax.ShapeDtypeStruct((40,), jnp.dtype("int64"))
    assert fnn.plan(TASK, wide, batch_size=8).memory == arrays.memory  # narrowed, as JAX narrows arrays


@pytest.mark.slow
def test_products_of_16_bits_are_told_apart():
    half = fnn.plan(TASK, (jax.ShapeDtypeStruct((64, 20), jnp.bfloat16), jax.ShapeDtypeStruct((64,), jnp.int32)))
    assert half.step.half == half.step.operations > 0


def test_a_step_is_traced_once():
    seen = []

    def apply(params, state, x, *, key=None, train=False):
        seen.append(x.shape[0])
        return x, state

    model = fnn.Sequential(fnn.Layer(lambda key, x: ({}, {}), apply), fnn.Dense(10))
    fnn.plan(fnn.Task(model, "sparse_categorical_crossentropy"), (X, Y), batch_size=96)
    assert seen.count(96) == 1


@pytest.mark.slow
def test_names_with_brackets_keep_their_row():
    task = fnn.Task(fnn.Sequential(fnn.Dense(4, name="f(x)"), fnn.Dense(3)), "sparse_categorical_crossentropy")
    assert {row.name for row in fnn.plan(task, (X, Y)) if row.operations} == {"f(x)", "dense"}


@pytest.mark.parametrize(
    "layer", [fnn.LSTM(8), pytest.param(fnn.Bidirectional(fnn.GRU(4)), marks=pytest.mark.slow)], ids=["LSTM", "GRU"]
)
def test_loops_count_every_round(layer):
    task = fnn.Task(fnn.Sequential(layer, fnn.Dense(3)), "sparse_categorical_crossentropy")
    y = jax.ShapeDtypeStruct((16,), jnp.int32)
    long, half = (
        fnn.plan(task, (jax.ShapeDtypeStruct((16, time, 5), jnp.float32), y), batch_size=4).step for time in (12, 6)
    )
    dense = 2 * 4 * 8 * 3 * 3
    assert (long.operations - dense) / (half.operations - dense) == pytest.approx(2, rel=0.1)
    assert long.kernels > 1.4 * half.kernels


@pytest.mark.parametrize(("limit", "most"), [(None, 1014), (500, 500), (64, 64), (20, 20)])
@pytest.mark.parametrize("constant", [0, 5000])
def test_the_largest_batch_fits(limit, most, constant):
    """A little more than linear in the batch, above a minimum that hides the growth at first."""

    def total(size):
        return max(constant, 1000 + 10.3 * size + 5e-5 * size**2)

    tried = []

    def compile_sizes(sizes):
        tried.extend(sizes)
        return [compiler.Compiled(None, int(total(size))) for size in sizes]

    size = min(32, limit or 32)
    program, found = with_largest(compile_sizes, size, limit, 11_500)
    assert program.total == int(total(size))
    assert len(tried) <= 6
    assert 0.75 * most <= found <= most


def test_no_batch_fits():
    sizes_of = lambda sizes: [compiler.Compiled(None, 1000 + size) for size in sizes]  # noqa: E731
    assert with_largest(sizes_of, 32, None, 500)[1] == 0
    assert with_largest(sizes_of, 32, None, 1010)[1] in range(7, 11)


def test_every_device_has_a_target():
    for name, device in DEVICES.items():
        one = target(name)
        assert one.count == 1
        assert one.device is device
        assert device.flops <= device.half_flops
        assert ("target_config" in one.options) == (device.platform == "cuda")
    assert target("V5E").device.name == "v5e"


def test_peaks_follow_from_the_units_that_multiply():
    """Those of TPUs from units of 128 x 128, of which v6e has as many as four of 256 x 256."""
    for name, units in {"v4": 8, "v5e": 4, "v5p": 8, "v6e": 16}.items():
        assert 2 * 128**2 * units * DEVICES[name].clock == pytest.approx(DEVICES[name].flops, rel=3e-3)
    for name in ("h100", "h200", "b200"):
        text = target(name).options["target_config"]
        cores = int(re.search(r"core_count: (\d+)", text)[1])
        rates = re.findall(r"key: (\d+) value \{ clock_rate_ghz: (\S+) units_per_core: 4 ops_per_clock: (\d+)", text)
        peaks = {int(key): 2 * 4 * cores * int(products) * float(clock) * 1e9 for key, clock, products in rates}
        float32, bfloat16, float64 = 11, 16, 12
        rounded = 2e-2 if name == "b200" else 1e-3
        assert peaks[float32] == pytest.approx(DEVICES[name].flops, rel=rounded)
        assert peaks[bfloat16] == pytest.approx(DEVICES[name].half_flops, rel=rounded)
        assert name == "b200" or peaks[float64] == pytest.approx(66.9e12, rel=3e-3)


def test_the_page_has_the_facts_of_every_device():
    page = (Path(__file__).parents[2] / "docs/how-to/plan.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{d.name}` | {d.kind} | {d.memory / 2**30:.1f} GiB | {d.bandwidth / 1e9:,.0f} | {d.flops / 1e12:g} "
        f"| {d.half_flops / 1e12:g} | {d.links} of {d.link_bandwidth / 1e9:g} |"
        for d in DEVICES.values()
    ]
    addresses = {word.strip(",;") for d in DEVICES.values() for word in d.source.split() if word.startswith("https:")}
    assert [address for address in addresses if f"({address})" not in page] == []


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(fnn.InputError, match=r"Run pip install -e '\.\[tpu\]' in a clone of fnn\.$"):
        fnn.plan(TASK, (X, Y), device="v5e")


def test_a_compiler_that_fails_is_quoted(monkeypatch):
    pytest.importorskip("flatbuffers")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    failed = subprocess.CompletedProcess([], -8, "", "first\nlast words")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: failed)
    with pytest.raises(fnn.InputError, match="last words"):
        fnn.plan(TASK, (X, Y), device="v5e", largest_batch=False)


@pytest.mark.parametrize("device", ["v5e", "h200"])
def test_the_compilers_of_accelerators(device):
    needed = "libtpu" if device == "v5e" else "jax_plugins"
    if importlib.util.find_spec(needed) is None or importlib.util.find_spec("flatbuffers") is None:
        pytest.skip(f"needs the compiler of {device}: pip install -e '.[tpu,cuda]'")
    plan = fnn.plan(TASK, (X, Y), batch_size=32, device=device)
    here = fnn.plan(TASK, (X, Y), batch_size=32)
    assert [row.operations for row in plan if row.operations] == [row.operations for row in here if row.operations]
    assert plan.fits
    assert plan.largest_batch == 1000
    assert plan.all_rows
    assert plan.memory["parameters"] == here.memory["parameters"]
    assert 0 < plan.seconds < 1e-3
    assert (plan.step.cycles > 0) == (device == "v5e")
    assert "nothing was measured" in str(plan)
    # A batch is read out of the data: ten times as many rows are no more traffic in a step.
    more = [jax.ShapeDtypeStruct((10 * a.shape[0], *a.shape[1:]), a.dtype) for a in (X, Y)]
    larger = fnn.plan(TASK, tuple(more), batch_size=32, device=device, largest_batch=False)
    assert larger.step.traffic <= 1.1 * plan.step.traffic + 1000


@pytest.mark.parametrize(("device", "shard"), [("v5e:2x4", None), ("v5e:2x4", "fsdp"), ("h200:8", None)])
def test_the_compilers_of_several_accelerators(device, shard):
    needed = "libtpu" if device.startswith("v5e") else "jax_plugins"
    if importlib.util.find_spec(needed) is None or importlib.util.find_spec("flatbuffers") is None:
        pytest.skip(f"needs the compiler of {device}: pip install -e '.[tpu,cuda]'")
    model = fnn.Sequential(fnn.Dense(512, activation="relu"), fnn.Dense(512, activation="relu"), fnn.Dense(10))
    task = fnn.Task(model, "sparse_categorical_crossentropy")
    data = jax.ShapeDtypeStruct((4096, 784), jnp.float32), jax.ShapeDtypeStruct((4096,), jnp.int32)
    one = fnn.plan(task, data, batch_size=1024, device=device.split(":")[0], largest_batch=False)
    many = fnn.plan(task, data, batch_size=1024, device=device, shard=shard, largest_batch=False)
    assert many.devices == 8
    assert many.step.operations == one.step.operations // 8
    assert "on each of 8" in str(many)
    gradients = one.memory["parameters"]
    if shard is None:
        assert set(many.collectives) == {"all-reduce"}
        assert gradients <= many.collectives["all-reduce"] < gradients + 1000
        assert many.memory["parameters"] == gradients
        # The slower way: 7 of 8 parts are sent twice, over all links of the chip.
        links = many.device.links * many.device.link_bandwidth
        assert many.times["links"] == pytest.approx(many.collectives["all-reduce"] * 2 * 7 / 8 / links)
    else:
        assert many.collectives["all-gather"] >= 4 * (784 + 512) * 512
        assert many.memory["parameters"] == 4 * ((784 + 512) * 512 // 8 + 512 + 512 + 5120 + 10)
        assert many.memory["optimizer"] < one.memory["optimizer"] / 7


@pytest.mark.parametrize("name", [name for name, device in DEVICES.items() if device.platform == "tpu"])
def test_the_compilers_of_tpus_give_programs_the_memory_of_the_table(name):
    if importlib.util.find_spec("libtpu") is None or importlib.util.find_spec("flatbuffers") is None:
        pytest.skip(f"needs the compiler of {name}: pip install -e '.[tpu]'")
    rows = [int(share * DEVICES[name].memory / 4096) for share in (0.995, 1.005)]
    arrays = [jax.ShapeDtypeStruct((n, 1024), jnp.float32) for n in rows]
    fits, does_not = compiler.compile_for(target(name), [compiler.Request(lambda a: 2 * a, (a,), 1) for a in arrays])
    assert fits.too_much == 0
    assert does_not.too_much > DEVICES[name].memory


def test_the_compilers_of_tpus_plan_what_does_not_fit():
    if importlib.util.find_spec("libtpu") is None or importlib.util.find_spec("flatbuffers") is None:
        pytest.skip("needs the compiler of v5e: pip install -e '.[tpu]'")
    rows = 10**8
    data = jax.ShapeDtypeStruct((rows, 4096), jnp.float32), jax.ShapeDtypeStruct((rows,), jnp.int32)
    plan = fnn.plan(fnn.Task(fnn.Dense(10), "sparse_categorical_crossentropy"), data, device="v5e")
    assert (plan.fits, plan.largest_batch, plan.seconds) == (False, 0, None)
    assert plan.bytes_needed > rows * 4096 * 4
