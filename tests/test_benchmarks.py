"""The benchmarks' own arithmetic: what they say of a network, and how they judge. Speed itself is no test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import fnn

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def on_path():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


NAMES = ("mlp", "wide", "tabular", "lstm", "cnn")


@pytest.mark.parametrize("name", NAMES)
def test_parameter_counts_match_the_network(name):
    import workloads
    from peers import with_fnn

    workload = workloads.WORKLOADS[name]
    x = jax.ShapeDtypeStruct((1, *workload.shape), "int32" if name == "lstm" else "float32")
    ts = jax.eval_shape(lambda key: fnn.init(with_fnn.task_of(workload), key, x), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(ts.params)) == workload.parameters


def test_operations_by_hand():
    import workloads

    wide = workloads.WORKLOADS["wide"]
    # forward and kernel gradient of both layers; the input's gradient of the second alone
    assert wide.operations == 128 * 2 * (2 * 784 * 512 + 3 * 512 * 10)


def test_least_calls_by_hand():
    import workloads

    # forward: a product and a group each; backward: a product and a group of the second, two kernels; batch and update
    assert workloads.WORKLOADS["wide"].calls == 2 * 2 + 2 * 1 + 2 + 2
    # 41 products in a row forward and 40 backward, a group after each, three kernels; batch and update
    assert workloads.WORKLOADS["lstm"].calls == 2 * 41 + 2 * 40 + 3 + 2


def test_least_bytes_by_hand():
    import workloads

    wide, cnn = workloads.WORKLOADS["wide"], workloads.WORKLOADS["cnn"]
    assert wide.batch_bytes == 128 * (784 + 1) * 4
    assert wide.data_bytes == wide.steps * wide.batch_bytes
    # SGD reads parameter and gradient and writes the parameter; 512 outputs are saved and read again
    assert wide.moved_bytes == 12 * wide.parameters + 128 * 512 * 4 * 2
    assert wide.held_bytes == 8 * wide.parameters + 128 * 512 * 4
    # Adam adds two slots; what is saved are the inputs of all products but the first, after pooling
    saved = 26 * 26 * 32 + 12 * 12 * 32 + 10 * 10 * 64 + 4 * 4 * 64 + 64
    assert cnn.moved_bytes == 28 * cnn.parameters + 128 * saved * 8


@pytest.mark.parametrize("name", NAMES)
def test_the_update_of_the_floor_moves_what_the_optimizer_holds(name):
    import workloads
    from peers import with_fnn

    workload = workloads.WORKLOADS[name]
    x = jax.ShapeDtypeStruct((1, *workload.shape), "int32" if name == "lstm" else "float32")
    ts = jax.eval_shape(lambda key: fnn.init(with_fnn.task_of(workload), key, x), jax.random.key(0))
    held = sum(leaf.size for leaf in jax.tree.leaves((ts.params, ts.opt_state)) if leaf.ndim)
    scalars = 4 + workload.parameters - held % workload.parameters  # counts and rates are no slots
    traffic, bytes_held = workloads.UPDATE_BYTES[workload.optimizer]
    assert scalars > 0
    assert bytes_held == 4 * (held // workload.parameters + 1)  # and the gradient
    assert traffic == 2 * bytes_held - 4  # all are read; all but the gradient are written


@pytest.mark.parametrize("name", ["mlp", "wide", "tabular"])
def test_the_products_are_those_of_a_step_and_their_forms_agree(name):
    import products
    import workloads

    workload = workloads.WORKLOADS[name]
    found = list(products.products(workload))
    assert sum(product.operations for product in found) == workload.operations
    rng = np.random.default_rng(0)
    for product in found:
        left, right = (rng.normal(size=shape).astype("float32") for shape in product.shapes)
        axes = {"y": (1, 0), "dk": (0, 0), "dx": (1, 1)}[product.name.split()[1]]
        right_answer = np.tensordot(left.astype("float64"), right, axes)
        assert product.operations == 2 * right_answer.size * left.shape[axes[0]]
        for form in product.forms.values():
            np.testing.assert_allclose(jax.jit(form)(left, right), right_answer, rtol=1e-4, atol=1e-4)


def test_a_product_is_timed_in_each_form():
    """XLA would fold a transpose into a product if nothing stood between them."""
    import products
    import workloads

    gradient = next(p for p in products.products(workloads.WORKLOADS["wide"]) if p.name == "2 dk")
    specs = [jax.ShapeDtypeStruct(shape, "float32") for shape in gradient.shapes]
    shapes = {"as written": "f32[512,10]", "transposed": "f32[10,512]", "copied": "f32[512,10]"}
    for name, form in gradient.forms.items():
        program = jax.jit(form).lower(*specs).compile().as_text()
        (product,) = (line for line in program.splitlines() if " dot(" in line)
        assert f"= {shapes[name]}" in product
        assert ("lhs_contracting_dims={1}" in product) == (name == "copied")


@pytest.mark.parametrize("name", NAMES)
def test_synthetic_data_fits_and_can_be_learned(name, monkeypatch):
    import workloads

    monkeypatch.delenv("FNN_DATA", raising=False)
    workload = workloads.WORKLOADS[name]._replace(steps=2)
    x, y = workloads.data(workload)
    assert x.shape == (workload.rows, *workload.shape)
    assert len(y) == workload.rows
    if name in ("mlp", "wide", "cnn"):
        flat = x.reshape(len(x), -1)
        means = np.stack([flat[y == c].mean(0) for c in range(10)])
        nearest = ((flat[:, None] - means) ** 2).sum(-1).argmin(1)
        assert (nearest == y).mean() > 0.95


LIMITS = {"gflops": 100.0, "memory": {"1048576": 200.0, "4194304": 100.0, "67108864": 20.0}, "call us": 0.5}


def record(times, losses):
    """What `compare` stores, for two repeats of the workload wide."""
    import report
    import workloads

    measured = [
        {
            "workload": "wide",
            "library": library,
            "ms per step": time * scale,
            "losses": [1.0, losses[library]],
            "first step s": 1.0,
            "peak MB": 100.0,
        }
        for library, time in times.items()
        for scale in (1.0, 1.2)
    ]
    out = {
        "machine": {"limits at the beginning": LIMITS, "limits at the end": {**LIMITS, "gflops": 200.0}},
        "workloads": {"wide": report.facts(workloads.WORKLOADS["wide"])},
        "groups": {"fnn": "fnn", "haiku": "jax", "pytorch": "other", "jax in a scan": "by hand"},
        "measurements": measured,
    }
    return out | {"medians": report.medians(out)}


def test_medians_floor_and_best_peers():
    import report

    same = dict.fromkeys(("fnn", "haiku", "pytorch", "jax in a scan"), 0.5)
    seen = record({"fnn": 1.0, "haiku": 3.0, "pytorch": 2.0, "jax in a scan": 0.5}, same)
    assert seen["medians"]["wide"]["haiku"]["ms per step"] == pytest.approx(3.3)
    assert report.best(seen, "wide", ["jax"]) == ("haiku", pytest.approx(3.3))
    assert report.best(seen, "wide", ["jax", "other"])[0] == "pytorch"


def test_the_floor_has_three_parts_at_the_speed_of_the_size():
    import floors
    import report
    import workloads

    wide, same = workloads.WORKLOADS["wide"], dict.fromkeys(("fnn", "haiku"), 0.5)
    seen = record({"fnn": 1.0, "haiku": 3.0}, same)
    found = floors.floor(seen, "wide")
    assert found.operations.ms == pytest.approx(wide.operations / 200e6)  # at the better of two speeds
    assert found.calls.ms == pytest.approx(wide.calls * 0.5e-3)
    # 169 MB of data are beyond the cache; 3.4 MB of arrays count with the speed of 1 MiB, which is not exceeded
    assert found.memory.ms == pytest.approx((wide.batch_bytes / 20 + wide.moved_bytes / 200) / 1e6)
    assert found.ms == pytest.approx(sum(part.ms for part in found))
    shown = report.text(
        {**seen, "settings": {"repeats": 2, "epochs": 1}, "skipped": []}
        | {
            "machine": {
                **seen["machine"],
                "cpu": "a",
                "cores used": 2,
                "cores": 2,
                "memory GiB": 1,
                "os": "b",
                "python": "3",
                "date": "today",
                "versions": {"jax": "0.12.0"},
            }
        }
    )
    assert f"{1.1 / found.ms:.2f}" in shown
    assert f"{wide.calls} at 0.50 microseconds" in shown
    assert floors.floor({**seen, "machine": {}}, "wide") is None


def test_memory_speed_is_that_of_the_size_or_better():
    import floors

    speeds = {1: 5.0, 4: 8.0, 16: 2.0}
    assert [floors.memory_speed(speeds, size) for size in (0.5, 1, 3, 4, 15, 16, 99)] == [8, 8, 8, 8, 8, 2, 2]


def test_verdicts_depend_on_the_version_of_jax_and_on_the_floor():
    import report

    seen = record({"fnn": 1.0, "haiku": 2.3, "pytorch": 1.2}, dict.fromkeys(("fnn", "haiku", "pytorch"), 0.5))
    target = report.Target(1.3, on_jax=(((0, 10), 4.5), ((0, 12), 2.2)), floor=0.5)
    verdicts = {}
    for version in ("0.10.2", "0.11.0", "0.12.0.1"):
        seen["machine"]["versions"] = {"jax": version}
        verdicts[version] = [row[-1] for row in report._step_rows(seen, "wide", target)]
    short = "falls short: 2.30 of 4.5"
    assert [found[0] for found in verdicts.values()] == [short, short, "reached"]
    assert verdicts["0.10.2"][1] == "falls short: 1.20 of 1.3"
    assert verdicts["0.10.2"][2].startswith("falls short: ")
    assert verdicts["0.10.2"][2].endswith(" of 0.5")


def test_limits_of_this_machine_are_measured():
    import machine

    assert 0 < machine.call() < 1000
    assert machine.memory(2**18) > 0
    text = "ENTRY a {\n  p = f32[] parameter(0)\n}\n\nb {\n  x = f32[2]{0} dot(p, p)\n  ROOT y = (f32[2]) tuple(x)\n}"
    assert machine.operations_of_loop(text) == 1


def test_operations_belong_to_parts_of_the_step():
    import hotspots

    within = "jit(epoch)/while/body/closed_call"
    assert hotspots.part_of(f"{within}/jvp(model)/dense_1/dot_general") == "dense_1, forward"
    assert hotspots.part_of(f"{within}/transpose(jvp(model))/dense_1/dot_general") == "dense_1, backward"
    assert hotspots.part_of(f"{within}/jvp(model)/slice") == "model, forward"
    assert hotspots.part_of(f"{within}/transpose(jvp(loss))/mul") == "loss"
    assert hotspots.part_of(f"{within}/update/cond/branch_0_fun/abs") == "update"
    assert hotspots.part_of(f"{within}/batch/gather") == "batch"
    assert hotspots.part_of("jit(epoch)/xor") == hotspots.OTHER
    text = """%fused (a: f32[2]) -> f32[2] {
  %a = f32[2]{0} parameter(0)
  ROOT %m = f32[2]{0} multiply(%a, %a), metadata={op_name="jit(e)/update/mul"}
}

ENTRY %main (a: f32[2]) -> f32[2] {
  ROOT %f = f32[2]{0} fusion(%a), kind=kLoop, calls=%fused
}"""
    found = hotspots.parse(text)
    assert (found["f"].part, found["f"].kind) == ("update", "fusion of 2")
    rows = [("f", 3.0, found["f"]), ("g", 1.0, found["f"]._replace(kind="fusion of 3 with dot by ynn"))]
    rows.append(("h", 0.01, found["f"]._replace(part="loss")))
    assert hotspots.by_part(rows) == [
        ("update", "elementwise", 3.0),
        ("update", "product", 1.0),
        ("all else", "", pytest.approx(0.01)),
    ]


@pytest.mark.slow
def test_the_command_runs_and_stores_its_results(tmp_path):
    command = [sys.executable, str(FOLDER / "compare.py"), "mlp", "--libraries", "fnn", "fnn epoch", "--quick"]
    where = ["--json", str(tmp_path / "seen.json"), "--picture", str(tmp_path / "seen.png")]
    done = subprocess.run(command + where, capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "Agg"})
    assert done.returncode == 0, done.stderr
    assert "losses agree" in done.stdout
    stored = json.loads((tmp_path / "seen.json").read_text())
    assert {run["library"] for run in stored["measurements"]} == {"fnn", "fnn epoch"}
    assert (tmp_path / "seen.png").stat().st_size > 5000
    assert str(Path.home()) not in (tmp_path / "seen.json").read_text()


@pytest.mark.slow
def test_the_gpu_command_runs_at_small_sizes_anywhere(tmp_path):
    command = [
        sys.executable,
        str(FOLDER / "gpu.py"),
        "lstm",
        "networks",
        "--quick",
        "--json",
        str(tmp_path / "g.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parts = json.loads((tmp_path / "g.json").read_text())["parts"]
    assert [row["networks"] for row in parts["networks"][0]["rows"]] == [1, 4]
    assert all(row["fnn ms"] > 0 for row in parts["lstm"][0]["rows"])


def many_trials_record(sweep, fits, keras, losses=(0.30, 0.31, 0.32)):
    import many_trials as m

    runs = {
        m.SWEEP: [{"s": s, "losses": [losses[0]] * 8} for s in sweep],
        m.FITS: [{"s": s, "losses": [losses[1]] * 8} for s in fits],
        m.KERAS: [{"s": s, "losses": [losses[2]] * 2, "epoch s": [0.25, 0.35]} for s in keras],
    }
    return {
        "settings": {"trainings": 8, "epochs": 5, "steps": 937, "repeats": len(sweep)},
        "parameters": 13434,
        "trained": {m.SWEEP: 8, m.FITS: 8, m.KERAS: 2},
        "first s": {m.SWEEP: 4.0, m.FITS: 1.0, m.KERAS: 5.0},
        "runs": runs,
    }


def test_many_trials_are_judged_by_medians_and_scaled_up():
    import many_trials as m

    record = many_trials_record([1.0, 2.0, 9.0], [9.0, 8.0, 8.5], [3.0, 4.0, 5.0])
    seconds = m.seconds_for_all(record)
    assert seconds == pytest.approx({m.SWEEP: 2.0, m.FITS: 8.5, m.KERAS: 16.0, m.AT_BEST: 8 * 5 * 0.3})
    lines = m.verdicts(record)
    assert lines[0] == "fnn.fit, in turn: 4.25 times as long as the sweep; target 4: reached"
    assert lines[1] == "keras on jax: 8.00 times as long as the sweep; target 8: reached"
    assert any("EXTRAPOLATED: 2 Keras models" in line for line in lines)
    assert "losses agree" in lines[-1]
    missed = m.verdicts(many_trials_record([2.5], [8.5], [3.0], losses=(0.3, 0.3, 0.4)))
    assert [line.rsplit(" ", 2)[1:] for line in missed[:2]] == [["FALLS", "SHORT"]] * 2
    assert "losses DIFFER" in missed[-1]
    assert len(m.configurations(16, 4)) == 64


def text_record(ours, theirs, windows, difference=1e-7):
    sides = [("fnn", "carry", ours), ("fnn", "window", windows)]
    sides += [("PyTorch, 1 thread", "carry", theirs), ("PyTorch, 2 threads", "carry", [9.0])]
    sides += [("PyTorch, 1 thread", "window", windows)]
    runs = [{"way": [library, memory, "one text"], "s": seconds} for library, memory, seconds in sides]
    settings = {"length": 400, "texts": 64, "repeats": len(ours)}
    return {"settings": settings, "difference": difference, "runs": runs}


def test_generation_is_judged_by_medians_against_the_faster_number_of_threads():
    import text as t

    record = text_record([0.5, 1.0, 9.0], [7.0, 8.0, 8.5], [4.0])
    assert t.ratios(record) == {("carry", "one text"): 8.0, ("window", "one text"): 4.0}
    lines = t.verdicts(record)
    assert lines[0].endswith("takes 8.0 times as long as fnn with a carry; target 8: reached")
    assert "agree" in lines[-1]
    lines = t.verdicts(text_record([1.0], [7.9], [4.0], difference=1e-3))
    assert lines[0].endswith("target 8: FALLS SHORT")
    assert lines[1].endswith("no target")
    assert "DIFFER" in lines[-1]
    assert "400" in t.report(record, markdown=True)


@pytest.mark.slow
def test_generation_runs_and_is_stored(tmp_path):
    command = [sys.executable, str(FOLDER / "text.py"), "--quick", "--json", str(tmp_path / "seen.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "seen.json").read_text())
    assert {tuple(run["way"][:2]) for run in stored["runs"]} >= {("fnn", "carry"), ("fnn", "window")}
    assert str(Path.home()) not in (tmp_path / "seen.json").read_text()


@pytest.mark.slow
def test_many_trials_run_and_are_stored(tmp_path):
    command = [sys.executable, str(FOLDER / "many_trials.py"), "--quick", "--json", str(tmp_path / "seen.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for text in ("4 trainings of 13,434 parameters", "times as long as the sweep; target 4", "EXTRAPOLATED: 1 Keras"):
        assert text in done.stdout
    stored = json.loads((tmp_path / "seen.json").read_text())
    assert [len(runs[0]["losses"]) for runs in stored["runs"].values()] == [4, 4, 1]
    assert str(Path.home()) not in (tmp_path / "seen.json").read_text()


def prediction_record(ours, torch):
    """What `predict` stores for two processes, from milliseconds by call and rows."""
    import predict as p

    def run(times, scale):
        return {f"{name}, {rows}": ms * scale for (name, rows), ms in times.items()}

    both = {p.FNN: [run(ours, 1), run(ours, 3)], p.TORCH: [run(torch, 1), run(torch, 3)], p.KERAS: []}
    about = {"cpu": "a", "cores": 2, "cores used": 2, "python": "3", "date": "today", "versions": {}}
    settings = {"repeats": 2, "threads": 2, "quick": False, "synchronous": False}
    return {"machine": about, "settings": settings, "runs": both, "failed": {p.KERAS: "it is not here"}}


def test_predictions_are_judged_by_medians_and_taken_apart():
    import predict as p

    steps = {p.ON_DEVICE: 0.01, p.FROM_NUMPY: 0.03, p.PREDICTOR: 0.05, p.PREDICT: 0.2}
    ours = {(name, 1): ms for name, ms in steps.items()} | {(p.EVALUATE, 10_000): 20.0}
    record = prediction_record(ours, {(p.PREDICT, 1): 0.04, (p.EVALUATE, 10_000): 20.0})
    assert p.medians(record)[p.FNN, p.PREDICTOR, 1] == pytest.approx(0.1)  # between 0.05 and 0.15
    assert p.parts(record) == [["1", "0.020", "0.040", "0.040", "0.340"]]
    assert p.verdicts(record) == [
        "fnn.predict of 1: PyTorch takes 0.20 times as long; target 0.3: FALLS SHORT",
        "fnn.predictor of 1: PyTorch takes 0.80 times as long; target 0.3: reached",
        "fnn.evaluate of 10,000: PyTorch takes 1.00 times as long; target 1.0: reached",
        "fnn.predict of 1: 0.400 ms; target 0.12 ms: FALLS SHORT",
        "fnn.predictor of 1: 0.100 ms; target 0.12 ms: reached",
    ]
    assert "keras on jax: it is not here" in p.text(record)


@pytest.mark.slow
def test_predictions_are_measured_and_stored(tmp_path):
    command = [sys.executable, str(FOLDER / "predict.py"), "--quick", "--json", str(tmp_path / "seen.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Parts of a call of fnn" in done.stdout
    assert json.loads((tmp_path / "seen.json").read_text())["runs"]["fnn"][0]["predictor, 1"] > 0
    assert str(Path.home()) not in (tmp_path / "seen.json").read_text()


def test_a_slow_loader_is_judged_with_batches_read_ahead():
    import data

    assert data.verdict(data.AHEAD, 1.1) == "1.1: reached"
    assert data.verdict(data.AHEAD, 1.11) == "1.1: falls short"
    assert data.verdict("slow loader", 9.0).startswith("none")
