"""Training on several devices: eight of them give the loss curve of one.

    python examples/many_devices.py

Without several accelerators the processor stands in for eight, so the program is that of eight devices but no faster.
Prints where parameters lie, what the devices exchange in a step, and the time of an epoch. Runs offline on the digits
of scikit-learn.
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any

import experiment
import jax
import matplotlib.pyplot as plt
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import fnn

jax.config.update("jax_num_cpu_devices", 8)  # before JAX starts; no effect on accelerators


def task() -> fnn.Task:
    model = fnn.Sequential(
        fnn.Flatten(),
        fnn.Dense(512, activation="relu"),
        fnn.BatchNorm(),
        fnn.Dropout(0.3),
        fnn.Dense(512, activation="relu"),
        fnn.Dense(10),
    )
    return fnn.Task(model, "sparse_categorical_crossentropy", fnn.sgd(0.05), metrics=("accuracy",))


def meshes() -> dict[str, dict[str, Any]]:
    """Ways to train: arguments of `fnn.fit`."""
    devices = np.array(jax.devices() if jax.device_count() > 1 else jax.devices("cpu"))
    row = Mesh(devices, ("data",))
    ways: dict[str, dict[str, Any]] = {
        "one device": {},
        "rows divided": {"mesh": row},
        "parameters too": {"mesh": row, "shard": "fsdp"},
    }
    if len(devices) % 2 == 0:
        square = Mesh(devices.reshape(-1, 2), ("data", "model"))
        ways["columns of kernels"] = {"mesh": square, "shard": {"*/kernel": P(None, "model")}}
    return ways


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    digits = fnn.data.digits()
    epochs, batch_size = 2 if args.quick else 10, 100  # which eight devices do not divide evenly
    curves: dict[str, list[float]] = {}
    memory: dict[str, Mapping[str, int]] = {}
    differences = []
    for seed in experiment.seeds(args):
        start = fnn.init(task(), experiment.key(seed), digits.x[:1])
        for name, where in meshes().items():
            options = {"batch_size": batch_size, "verbose": 0, **where}
            ts, history = fnn.fit(task(), start, (digits.x, digits.y), epochs=epochs, **options)
            began = time.perf_counter()
            fnn.fit(task(), ts, (digits.x, digits.y), **options)
            seconds = time.perf_counter() - began
            curves[name] = history["loss"]
            one = np.array(curves["one device"])
            differences.append(float(np.abs(history["loss"] - one).max() / one[0]))
            plan = fnn.plan(task(), (digits.x, digits.y), batch_size=batch_size, **where)
            memory[name] = plan.memory
            sent = ", ".join(f"{kind} {size:,} bytes" for kind, size in plan.collectives.items()) or "nothing"
            loss = history["loss"][-1]
            print(f"{name:18}  loss {loss:.4f}, {seconds:.2f} s an epoch; a step exchanges {sent}", flush=True)
            kernel = ts.params["dense_1"]["kernel"]
            shapes = {shard.data.shape for shard in kernel.addressable_shards}
            print(f"{'':18}  of the kernel {kernel.shape} each device holds {shapes.pop()}", flush=True)

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for i, (name, curve) in enumerate(curves.items()):
        left.plot(range(1, epochs + 1), curve, color=fnn.plot.COLORS[i], linewidth=8 - 2 * i, alpha=0.8, label=name)
    left.set(xlabel="epoch", ylabel="loss", title="the same training")
    left.legend()
    parts = ("parameters", "temporaries")
    for i, (name, sizes) in enumerate(memory.items()):
        places = np.arange(len(parts)) + (i - 1.5) / 5
        right.bar(places, [sizes[part] / 2**20 for part in parts], 0.2, color=fnn.plot.COLORS[i], label=name)
    right.set_xticks(range(len(parts)), parts)
    right.set(ylabel="MB on each device", title="memory")
    experiment.save(figure, args, "many_devices.png")
    what = "many devices: loss curves apart from that of one device, in parts of its first value"
    return [experiment.Figure(15, what, differences, 1e-3, "at most", digits=6)]


if __name__ == "__main__":
    experiment.main(run, __doc__)
