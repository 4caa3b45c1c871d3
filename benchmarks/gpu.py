"""What to measure where there is a GPU: one command, each part in a process of its own.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py lstm networks --quick       small sizes, also on a CPU

Parts: lstm (widths 128 to 2048 against PyTorch's cuDNN LSTM, float32 and bfloat16), cnn (float32 and bfloat16),
commands (epochs of small networks with and without XLA's command buffers), mnist (seconds to 99 % test accuracy, from
a cold process and from one that finds its compiled programs in a cache), networks (1,024 small networks in one
program). PyTorch is left out where it is not installed or sees no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import runner
from workloads import WORKLOADS, data

Row = dict[str, Any]
COMMAND_BUFFERS = "--xla_gpu_enable_command_buffer="


def timed(call: Callable[[], Any], repeats: int = 5) -> float:
    """Median seconds of a call that waits for its result, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def lstm(quick: bool) -> list[Row]:
    """Forward and both gradients of a sequence of 128 steps, batch 64, for growing widths."""
    import jax
    import jax.numpy as jnp

    import fnn

    rows, (batch, steps) = [], (8, 10) if quick else (64, 128)
    for dtype in ("float32", "bfloat16"):
        for units in (128,) if quick else (128, 256, 512, 1024, 2048):
            params = fnn.lstm_init(jax.random.key(0), units, units, dtype=jnp.dtype(dtype))
            x = jax.random.normal(jax.random.key(1), (batch, steps, units), jnp.dtype(dtype))

            def loss(params: Any, x: Any) -> Any:
                return fnn.lstm(params, x, return_sequences=True)[0].astype(jnp.float32).sum()

            grad = jax.jit(jax.grad(loss, (0, 1)))
            ours = timed(lambda grad=grad, params=params, x=x: jax.block_until_ready(grad(params, x)))
            # Two products forward, four for the gradients.
            operations = 3 * 2 * 2 * batch * steps * units * 4 * units
            row = {"dtype": dtype, "units": units, "fnn ms": ours * 1e3, "fnn TFLOP/s": operations / ours / 1e12}
            rows.append(row | _torch_lstm(dtype, batch, steps, units))
    return rows


def _torch_lstm(dtype: str, batch: int, steps: int, units: int) -> Row:
    try:
        import torch
    except ImportError:
        return {"pytorch": "not installed"}
    if not torch.cuda.is_available():
        return {"pytorch": "sees no GPU"}
    kind = {"device": "cuda", "dtype": getattr(torch, dtype)}
    layer = torch.nn.LSTM(units, units, batch_first=True, **kind)
    x = torch.randn(batch, steps, units, requires_grad=True, **kind)

    def call() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x)[0].float().sum().backward()
        torch.cuda.synchronize()

    return {"pytorch ms": timed(call) * 1e3}


def _epoch(name: str, steps: int, dtype: str = "float32") -> float:
    """Milliseconds per step of a compiled epoch."""
    import jax
    import jax.numpy as jnp
    from peers import with_fnn

    import fnn

    workload = WORKLOADS[name]._replace(steps=steps)
    task, (x, y) = with_fnn.task_of(workload), data(workload)
    if x.dtype == "float32":
        x = x.astype(jnp.dtype(dtype))
    state, arrays = fnn.init(task, jax.random.key(0), x[:1]), jax.device_put((x, y))
    train = jax.jit(lambda state: fnn.train_epoch(task, state, arrays, batch_size=workload.batch))
    return timed(lambda: jax.block_until_ready(train(state))) / steps * 1e3


def cnn(quick: bool) -> list[Row]:
    """The CNN of the comparison in both precisions; images and kernels are channels-last in fnn."""
    steps = 2 if quick else 200
    return [{"dtype": dtype, "fnn ms per step": _epoch("cnn", steps, dtype)} for dtype in ("float32", "bfloat16")]


def commands(quick: bool) -> list[Row]:
    """Small steps are bound by launches: which command buffers help?"""
    names, steps = ("mlp",) if quick else ("mlp", "tabular", "lstm"), 5 if quick else 300
    return [{"workload": name, "fnn ms per step": _epoch(name, steps)} for name in names]


def mnist(quick: bool) -> list[Row]:
    """Seconds from the start of the process until a CNN reaches 99 % on the test set (in quick mode one epoch)."""
    import jax

    import fnn

    images = fnn.data.mnist()
    x, y = images.x_train[..., None].astype("float32") / 255, images.y_train
    test = images.x_test[..., None].astype("float32") / 255, images.y_test
    if quick:
        x, y, test = x[:2048], y[:2048], (test[0][:512], test[1][:512])
    relu = {"activation": "relu"}
    model = fnn.Sequential(
        *(fnn.Conv(32, 3, **relu), fnn.Conv(32, 3, **relu), fnn.MaxPool(2), fnn.Conv(64, 3, **relu), fnn.MaxPool(2)),
        *(fnn.Flatten(), fnn.Dropout(0.5), fnn.Dense(128, **relu), fnn.Dense(10)),
    )
    task = fnn.Task(model, "sparse_categorical_crossentropy", fnn.adam(2e-3), metrics=("accuracy",))
    state, best, epochs = fnn.init(task, jax.random.key(0), x[:1]), 0.0, 0
    while best < 0.99 and epochs < (1 if quick else 20):
        state, _ = fnn.fit(task, state, (x, y), batch_size=256, verbose=0)
        best, epochs = fnn.evaluate(task, state, test, batch_size=1000)["accuracy"], epochs + 1
    return [{"epochs": epochs, "test accuracy": best, "seconds": time.time() - float(os.environ["STARTED"])}]


def networks(quick: bool) -> list[Row]:
    """Small networks in one program, with one order of the data, against one by itself."""
    import jax
    from peers import with_fnn

    import fnn

    workload = WORKLOADS["mlp"]._replace(steps=5 if quick else 200)
    task, (x, y) = with_fnn.task_of(workload), data(workload)
    arrays, order = jax.device_put((x, y)), jax.random.key(1)

    def trial(key: Any) -> Any:
        state = fnn.init(task, key, x[:1])
        return fnn.train_epoch(task, state, arrays, batch_size=workload.batch, order_key=order)

    rows = []
    for count in (1, 4) if quick else (1, 16, 128, 1024):
        keys = jax.random.split(jax.random.key(0), count)
        train = jax.jit(fnn.many(trial))
        seconds = timed(lambda train=train, keys=keys: jax.block_until_ready(train(keys)), 3)
        rows.append({"networks": count, "microseconds per step and network": seconds / workload.steps / count * 1e6})
    return rows


def device(quick: bool) -> list[Row]:
    """What there is to measure on."""
    import jax

    return [{"device": jax.devices()[0].device_kind, "backend": jax.default_backend(), "jax": jax.__version__}]


PARTS = {part.__name__: part for part in (lstm, cnn, commands, mnist, networks)}
WORKERS = {**PARTS, "device": device}


def runs(part: str, cache: str) -> list[tuple[str, dict[str, str]]]:
    """What to run a part with: a label, and environment variables."""
    if part == "commands":
        flags = os.environ.get("XLA_FLAGS", "")
        choices = {"default": None, "none": "", "fusions, products": "FUSION,CUBLAS,CUBLASLT", "loops too": "+WHILE"}
        return [(k, {} if v is None else {"XLA_FLAGS": f"{flags} {COMMAND_BUFFERS}{v}"}) for k, v in choices.items()]
    if part == "mnist":
        keep = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        return [("cold process", keep), ("compiled before", keep)]
    return [("", {})]


def main() -> None:
    """Run the parts, each in its own process, print and store what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--quick", action="store_true", help="small sizes, also for a CPU")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(WORKERS[args.worker](args.quick)))
        return
    runner.check_names(parser, "part", args.parts, PARTS)
    # In processes of their own, since JAX takes most of a GPU's memory for itself as soon as it is asked for devices.
    found = in_process("device", args.quick, {})[0]
    record: dict[str, Any] = {**found, "parts": {}}
    print(", ".join(f"{key} {value}" for key, value in found.items()))
    if found.get("backend") == "cpu" and not args.quick:
        sys.exit("no GPU here; --quick runs everything at small sizes")
    with tempfile.TemporaryDirectory() as cache:
        for part in args.parts or PARTS:
            for label, environment in runs(part, cache):
                rows = in_process(part, args.quick, environment)
                record["parts"].setdefault(part, []).append({"run": label, "rows": rows})
                print(f"\n{part} {label}".rstrip())
                for row in rows:
                    shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
                    print("  " + ", ".join(shown), flush=True)
            if args.json:
                runner.store(args.json, record)


def in_process(part: str, quick: bool, environment: dict[str, str]) -> list[Row]:
    """The rows of a part, or why there are none."""
    command = [sys.executable, __file__, "--worker", part, *(["--quick"] if quick else [])]
    variables = {**os.environ, **environment, "STARTED": str(time.time())}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode:
        return [{"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}]
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return rows


if __name__ == "__main__":
    main()
