"""What a training step costs on accelerators that are not here, by their own compilers, for fnn and its peers.

    pip install -e ".[tpu,cuda]" flax equinox dm-haiku keras optax
    JAX_PLATFORMS=cpu python benchmarks/accelerators.py --json accelerators.json
    JAX_PLATFORMS=cpu python benchmarks/accelerators.py mlp wide --devices v5e --require 1.0
    JAX_PLATFORMS=cpu python benchmarks/accelerators.py cnn lstm-1024 --devices v5e --compute-dtype bfloat16 --peers
    JAX_PLATFORMS=cpu python benchmarks/accelerators.py --many --peers "flax nnx" equinox

Nothing runs, so the numbers are the same on every machine. TPUs: the compiler's estimated cycles, summed over a step,
loops times their rounds. GPUs: the kernels that a step starts. Two comparisons: a step that reads its batch out of
data of one batch, and a step within an epoch of MNIST's length, where every step reads out of the whole data set; fnn
runs an epoch as one program, whose cost at its entry is shared by its steps, and its peers one program per step.

With ``--many``: many networks that train together on batches that they share, under `fnn.many` as it chooses and in
four batches of members, and the step of a peer under `jax.vmap`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
sys.path.insert(0, str(Path(__file__).parent))

import jax
import jax.numpy as jnp
import workloads as w
from peers import VARIANTS, on_optax, with_fnn, with_keras

import fnn
from fnn._core.hlo import HloProgram
from fnn.placement.compiler import Compiled, Request, compile_for
from fnn.placement.devices import target
from fnn.placement.plan import loop_request
from fnn.training.batch import Batch, take
from fnn.training.step import step_and_totals
from fnn.training.totals import merge, total_shapes

PEERS = ("flax nnx", "equinox", "haiku", "keras on jax")
STEPS_TOGETHER = 100
"""Steps of the epoch that many networks train."""


def workloads() -> dict[str, w.Workload]:
    """Those of the other benchmarks, and the LSTM in other widths."""
    lstm = w.WORKLOADS["lstm"]
    wider = {f"lstm-{units}": lstm._replace(layers=(w.LSTM(units, 57), w.Dense(57))) for units in (256, 512, 1024)}
    return {**w.WORKLOADS, **{name: workload._replace(name=name) for name, workload in wider.items()}}


def shapes(tree: Any, rows: int | None = None) -> Any:
    """Shapes in place of arrays, with another number of rows if given."""
    resize = lambda a: a.shape if rows is None else (rows, *a.shape[1:])  # noqa: E731
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(resize(a), a.dtype), tree)


def request_of(name: str, workload: w.Workload, rows: int) -> Request:
    """The program of a library for data of this many rows: a step of a peer, the loop over the steps of fnn.

    "fnn bfloat16" is fnn with that ``compute_dtype``.
    """
    x, y = map(jnp.asarray, w.data(workload._replace(steps=1)))
    data = shapes((x, y), rows)
    if is_fnn(name):
        task = with_fnn.task_of(workload).replace(compute_dtype=name.partition(" ")[2] or None)
        ts = shapes(fnn.init(task, jax.random.key(0), x))
        return (
            _step(task, ts, Batch(*data))
            if rows == workload.batch
            else loop_request(task, ts, Batch(*data), workload.batch)
        )
    if name == "keras on jax":
        return _keras(workload, x, data)
    epoch = VARIANTS[name].build(workload._replace(steps=1), *w.data(workload._replace(steps=1)), 0)
    if name == "equinox" and len(workload.shape) == 3:  # which has the channels first
        data = (jax.ShapeDtypeStruct((rows, *workload.shape[2:], *workload.shape[:2]), x.dtype), data[1])
    fixed = on_optax.Fixed(*data, jax.ShapeDtypeStruct((rows,), jnp.int32))
    counters = on_optax.Counters(*shapes((jax.random.key(0), jnp.int32(0), jnp.float32(0))))

    def step(state: Any, counters: Any, fixed: Any) -> Any:
        return epoch.step(fixed, state, counters)

    return Request(step, (shapes(epoch.state), counters, fixed), donated=2)


def is_fnn(name: str) -> bool:
    """Whether the library is fnn, in whatever dtype."""
    return name.partition(" ")[0] == "fnn"


def _step(task: fnn.Task, ts: Any, data: Batch) -> Request:
    """One step on a batch that is read out of the data, as in the programs of the peers."""
    rows = data.y.shape[0]
    totals = total_shapes(task, ts, data)

    def step(ts: Any, totals: Any, order: Any, data: Any) -> Any:
        ts, more = step_and_totals(task, ts, take(data, jax.lax.dynamic_slice_in_dim(order, 0, rows)))
        return ts, merge(task, totals, more)

    return Request(step, (ts, totals, jax.ShapeDtypeStruct((rows,), jnp.int32), data), donated=2)


def _keras(workload: w.Workload, x: Any, data: Any) -> Request:
    model = with_keras.model_of(workload, x, 0)
    model.train_on_batch(*map(jnp.zeros_like, w.data(workload._replace(steps=1))))  # which builds the metrics
    variables = (
        model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables
    )  # fmt: skip
    state = [[shapes(variable.value) for variable in several] for several in variables]

    def step(state: Any, order: Any, data: Any) -> Any:
        rows = jax.lax.dynamic_slice_in_dim(order, 0, workload.batch)
        x, y = (a.at[rows].get(mode="promise_in_bounds") for a in data)
        return model.train_step(state, (x, y))

    order = jax.ShapeDtypeStruct((data[1].shape[0],), jnp.int32)
    return Request(step, (state, order, data), donated=1)


def cost(program: HloProgram, computation: str) -> dict[str, float]:
    """Cycles, kernels and memory traffic of a computation."""
    ran = list(program.running(computation))
    return {
        "cycles": sum(times * (one.cycles or 0) for _, one, times in ran),
        "kernels": sum(times for _, _, times in ran),
        "traffic": sum(times * program.traffic(holder, one) for holder, one, times in ran),
    }


def step_cost(name: str, compiled: Compiled, steps: int) -> dict[str, float]:
    """The cost of one step; of fnn, its share of what an epoch does once included if ``steps`` is above 1."""
    program = compiled.program
    whole = cost(program, program.entry)
    if is_fnn(name) and steps > 1:
        inside = cost(program, program.largest_loop())
        whole = {key: inside[key] + (whole[key] - inside[key]) / steps for key in whole}
    return {**whole, "temporaries": compiled.temporaries}


def measure(workload: w.Workload, device: str, libraries: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """A row for each library and comparison."""
    where = target(device)
    for steps in (1, workload.steps):
        requests = {name: request_of(name, workload, steps * workload.batch) for name in libraries}
        for name, compiled in zip(requests, compile_for(where, list(requests.values())), strict=True):
            kind = "step" if steps == 1 else "epoch"
            yield {"workload": workload.name, "device": device, "in": kind, "library": name} | step_cost(
                name, compiled, steps
            )


def many() -> dict[int, w.Workload]:
    """Small networks, by the number of them that train together."""
    layers = (w.Dense(16, "tanh"), w.Dense(16, "tanh"), w.Dense(1))
    small = w.Workload("small", "18-16-16-1, tanh, Adam", (18,), layers, "sigmoid", "adam", 1e-3, 32, STEPS_TOGETHER)
    return {1024: w.WORKLOADS["mlp"]._replace(steps=STEPS_TOGETHER), 65536: small}


def together(name: str, workload: w.Workload, members: int, at_once: int | None = None) -> Request:
    """The program of many networks: an epoch of `fnn.many`, or the step of a peer under `jax.vmap`."""
    x, y = map(jnp.asarray, w.data(workload._replace(steps=1)))
    data = shapes((x, y), workload.rows)
    stacked = lambda tree: jax.tree.map(lambda a: jax.ShapeDtypeStruct((members, *a.shape), a.dtype), tree)  # noqa: E731
    if is_fnn(name):
        task = with_fnn.task_of(workload)

        def epoch(ts: Any, data: Any, key: Any) -> Any:
            train = partial(fnn.train_epoch, task, data=data, batch_size=workload.batch, order_key=key)
            return fnn.many(lambda ts: train(ts), at_once=at_once)(ts)

        states = stacked(shapes(fnn.init(task, jax.random.key(0), x)))
        return Request(epoch, (states, data, shapes(jax.random.key(0))), donated=1)
    one = request_of(name, workload, workload.rows)
    state, counters, fixed = one.arguments
    # The members share the number of the step, so that they share its batch, and have keys and losses of their own.
    axes = on_optax.Counters(0, None, 0)
    counters = on_optax.Counters(stacked(counters.key), counters.step, stacked(counters.total))
    step = jax.vmap(one.function, in_axes=(0, axes, None), out_axes=(0, axes))
    return Request(step, (stacked(state), counters, fixed), donated=2)


def measure_many(members: int, workload: w.Workload, device: str, peers: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """A row for each plan: the cost of a step of all members, and the memory of the program."""
    where = target(device)
    plans = {"fnn.many": together("fnn", workload, members)}
    plans["fnn.many, 4 batches"] = together("fnn", workload, members, members // 4)
    # The step of Keras is a method of its model.
    plans |= {f"{name}, vmap": together(name, workload, members) for name in peers if name != "keras on jax"}
    for name, compiled in zip(plans, compile_for(where, list(plans.values())), strict=True):
        steps = workload.steps if is_fnn(name.partition(".")[0]) else 1
        whole = cost(compiled.program, compiled.program.entry)
        yield {
            "workload": workload.name,
            "device": device,
            "members": members,
            "plan": name,
            **{key: value / steps for key, value in whole.items()},
            "temporaries": compiled.temporaries,
            "memory": compiled.total,
            "fits": compiled.total <= where.device.memory,
        }


def table_of_many(rows: list[dict[str, Any]]) -> None:
    """Print the rows of one network and device, each beside the plan that `fnn.many` chooses."""
    first = rows[0]
    counted = "cycles" if first["cycles"] else "kernels"
    for row in rows:
        each = f"{row['cycles'] / row['members']:8,.1f} a member  " if row["cycles"] else ""
        size = f"temporaries {row['temporaries'] / 1e6:,.0f} MB, in all {row['memory'] / 1e6:,.0f} MB"
        size += "" if row["fits"] else ": DOES NOT FIT"
        ratio = f"{row[counted] / first[counted]:6.2f} x" if row[counted] and first[counted] else ""
        what = f"{row['members']} x {row['workload']}"
        print(f"{what:12} {row['device']:5} {row['plan']:20} {row[counted]:12,.0f} {counted}  {each}{ratio}  {size}")
    sys.stdout.flush()


def table(rows: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """Print the rows of one workload, device and comparison, and return the ratios of the best peer to fnn."""
    ratios = []
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["workload"], row["device"], row["in"]), []).append(row)
    for (workload, device, kind), group in groups.items():
        counted = "cycles" if any(row["cycles"] for row in group) else "kernels"
        by_name = {row["library"]: row[counted] for row in group}
        cells = "  ".join(f"{name} {value:,.0f}" for name, value in by_name.items())
        if peers := [value for name, value in by_name.items() if not is_fnn(name)]:
            ratios.append((f"{workload} on {device}, {kind}", min(peers) / by_name["fnn"]))
            cells += f"  best peer / fnn {ratios[-1][1]:.2f}"
        for name in (name for name in by_name if is_fnn(name) and name != "fnn"):
            cells += f"  {name} / fnn {by_name[name] / by_name['fnn']:.2f}"
        print(f"{workload:8} {device:5} {kind:5} {counted}: {cells}", flush=True)
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=list(w.WORKLOADS), help=f"of {', '.join(workloads())}")
    parser.add_argument("--devices", nargs="+", default=["v5e", "v6e", "h200"])
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--compute-dtype", choices=("bfloat16", "float16"), help="fnn in this dtype too")
    parser.add_argument("--many", action="store_true", help="many networks together, in place of the workloads")
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--require", type=float, help="fail if the best peer / fnn is below this anywhere")
    args = parser.parse_args()
    libraries = ("fnn", *([f"fnn {args.compute_dtype}"] if args.compute_dtype else []), *args.peers)
    rows, ratios = [], []
    for members, workload in many().items() if args.many else ():
        for device in args.devices:
            found = list(measure_many(members, workload, device, tuple(args.peers)))
            rows += found
            table_of_many(found)
    for name in () if args.many else args.workloads:
        for device in args.devices:
            found = list(measure(workloads()[name], device, libraries))
            rows += found
            ratios += table(found)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))
    below = [f"{what}: {ratio:.2f}" for what, ratio in ratios if args.require is not None and ratio < args.require]
    if below:
        sys.exit("below the required ratio: " + "; ".join(below))


if __name__ == "__main__":
    main()
