"""How training scales to 256 chips of TPU v5e, by their compiler: what each chip holds, computes and sends in a step.

    pip install -e ".[tpu]"
    JAX_PLATFORMS=cpu python benchmarks/scale.py --json scale.json
    JAX_PLATFORMS=cpu python benchmarks/scale.py cnn --chips 1 4
    python benchmarks/scale.py --draw scale.json docs/scale.png

Nothing runs. The time of a step lies between two estimates: "at best" the links work while the chip computes, "at
worst" one waits for the other. Computing is the compiler's cycles at the chip's clock, or a roofline of memory traffic
and products if that is longer; sending is the bytes of the collective operations over all links of a chip.

cnn: the convolutional network of the other benchmarks, one batch of 4,096 images divided over the chips.
cnn-weak: the same with 1,024 images per chip.
transformer: 110 million parameters, bfloat16 products, 16 sequences of 512 symbols per chip, parameters on every chip.
transformer-fsdp: the same with parameters and slots divided over the chips.
networks: 65,536 networks of 1,153 parameters, each on 32 rows of its own, divided over the chips by `many`, which
exchange nothing; the compiled program is that of one chip.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import jax
import jax.numpy as jnp
import workloads as w
from peers import with_fnn

import fnn
from fnn.placement.compiler import Request, compile_for
from fnn.placement.devices import DEVICES, target

SLICES = {1: "v5e", 4: "v5e:2x2", 16: "v5e:4x4", 64: "v5e:8x8", 256: "v5e:16x16"}
CHIP = DEVICES["v5e"]
LOSS = "sparse_categorical_crossentropy"


def transformer(symbols: int = 16_384, features: int = 768, heads: int = 12, blocks: int = 12) -> fnn.Layer:
    """A pre-norm decoder with rotary positions."""
    attend = fnn.MultiHeadAttention(heads, features // heads, causal=True, rotary=True, use_bias=False)
    block = fnn.Sequential(
        fnn.Residual(fnn.RMSNorm(), attend),
        fnn.Residual(fnn.RMSNorm(), fnn.Dense(4 * features, activation="gelu"), fnn.Dense(features)),
    )
    return fnn.Sequential(
        fnn.Embedding(symbols, features), fnn.Repeated(block, blocks), fnn.RMSNorm(), fnn.Dense(symbols)
    )


def planned(name: str, chips: int) -> fnn.placement.Plan:
    """The plan of a step on a slice of so many chips."""
    if name.startswith("cnn"):
        cnn = w.WORKLOADS["cnn"]
        batch = 1024 * chips if name == "cnn-weak" else 4096
        x, y = jax.ShapeDtypeStruct((batch, *cnn.shape), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.int32)
        return fnn.plan(with_fnn.task_of(cnn), (x, y), batch_size=batch, device=SLICES[chips], largest_batch=False)
    task = fnn.Task(transformer(), LOSS, fnn.adamw(3e-4), compute_dtype="bfloat16")
    batch = 16 * chips
    ids = jax.ShapeDtypeStruct((batch, 512), jnp.int32)
    shard = "fsdp" if name == "transformer-fsdp" and chips > 1 else None
    return fnn.plan(
        task, (ids, ids), batch_size=batch, device=SLICES[chips], largest_batch=False,
        mesh=jax.sharding.AbstractMesh((chips,), ("data",)) if chips > 1 else None, shard=shard,
    )  # fmt: skip


def row_of(name: str, chips: int) -> dict[str, Any]:
    """What a chip holds, sends and computes in a step of a plan."""
    plan = planned(name, chips)
    step, times = plan.step, plan.times
    links = times.pop("links", 0.0)
    computing = max(step.cycles / CHIP.clock, *times.values())
    return {
        "memory": plan.bytes_needed,
        "sent": sum(plan.collectives.values()),
        "kinds": dict(plan.collectives),
        "computing": computing,
        "sending": links,
    }


def row_of_networks(chips: int, networks: int = 65_536, steps: int = 100) -> dict[str, Any]:
    """The same of small networks, a chip's share of which trains by itself."""
    share = networks // chips
    task = fnn.Task(
        fnn.Sequential(fnn.Dense(32, activation="tanh"), fnn.Dense(32, activation="tanh"), fnn.Dense(1)), "mse"
    )
    one = jax.ShapeDtypeStruct((share, 32, 1), jnp.float32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), share))

    def trial(key: Any, x: Any, y: Any) -> Any:
        return fnn.run(task, fnn.init(task, key, x[:1]), (x, y), epochs=steps, batch_size=32)

    request = Request(fnn.many(trial, at_once=share), (keys, one, one), donated=0)
    (compiled,) = compile_for(target("v5e"), [request])
    program = compiled.program
    ran = list(program.running(program.entry))
    cycles = sum(times * (one.cycles or 0) for _, one, times in ran)
    traffic = sum(times * program.traffic(holder, one) for holder, one, times in ran)
    computing = max(cycles / CHIP.clock, traffic / CHIP.bandwidth) / steps
    return {"memory": compiled.total, "sent": 0, "kinds": {}, "computing": computing, "sending": 0.0}


def measure(names: list[str], chips: list[int]) -> Iterator[dict[str, Any]]:
    """The rows, each with its efficiency against the first number of chips."""
    for name in names:
        first: dict[str, Any] | None = None
        for count in chips:
            row = row_of_networks(count) if name == "networks" else row_of(name, count)
            row |= {"workload": name, "chips": count}
            first = first or row
            # Work per chip stays the same in weak scaling, and falls with their number otherwise.
            ideal = 1.0 if name.startswith(("transformer", "cnn-weak")) else first["chips"] / count
            base = ideal * (first["computing"] + first["sending"])
            row["at best"] = base / max(row["computing"], row["sending"])
            row["at worst"] = base / (row["computing"] + row["sending"])
            yield row


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The efficiency and the memory of a chip against the number of chips."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    efficiency, memory = figure.subplots(1, 2)
    chips = list(SLICES)
    # Different markers and dashes, so that lines on top of each other can be told apart.
    styles = zip(dict.fromkeys(row["workload"] for row in rows), "osD^v", ("-", "--", "-", "--", ":"), strict=False)
    for name, marker, dash in styles:
        own = [row for row in rows if row["workload"] == name]
        at = [row["chips"] for row in own]
        (line,) = efficiency.plot(at, [row["at worst"] for row in own], dash, marker=marker, label=name, ms=5)
        memory.plot(at, [row["memory"] / 1e6 for row in own], dash, marker=marker, color=line.get_color(), ms=5)
    efficiency.set(title="efficiency, at worst", ylim=(0, None))
    efficiency.axhline(1, color="grey", lw=0.8)
    memory.set(title="memory of a chip, MB", yscale="log", ylim=(None, 4 * CHIP.memory / 1e6))
    memory.axhline(CHIP.memory / 1e6, color="grey", lw=0.8)
    memory.annotate("what a chip has", (1, CHIP.memory / 1e6), xytext=(0, 3), textcoords="offset points", color="grey")
    for axes in efficiency, memory:
        axes.set(xscale="log", xlabel="chips", xticks=chips, xticklabels=chips)
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Compile, print and write; or draw what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ["cnn", "cnn-weak", "transformer", "transformer-fsdp", "networks"]
    parser.add_argument("workloads", nargs="*", default=known, metavar="workload", help=", ".join(known))
    parser.add_argument("--chips", nargs="+", type=int, default=list(SLICES), choices=list(SLICES))
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--draw", nargs=2, metavar=("JSON", "PNG"), help="draw such a file, and compile nothing")
    args = parser.parse_args()
    if args.draw:
        draw(json.loads(Path(args.draw[0]).read_text()), Path(args.draw[1]))
        return
    if unknown := set(args.workloads) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    rows = []
    print("workload          chips  memory MB   sent MB  computing ms  sending ms  efficiency", flush=True)
    for row in measure(args.workloads, args.chips):
        rows.append(row)
        print(
            f"{row['workload']:16}  {row['chips']:5}  {row['memory'] / 1e6:9,.0f}  {row['sent'] / 1e6:8,.1f}"
            f"  {row['computing'] * 1e3:12,.3f}  {row['sending'] * 1e3:10,.3f}"
            f"  {row['at worst']:.2f} to {row['at best']:.2f}",
            flush=True,
        )
        if args.json:
            Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
