"""From the floor of a dense network's step to its time: each product alone in several forms, and the update alone.

    python benchmarks/products.py wide tabular
    python benchmarks/products.py --batch 2048 --width 256 --depth 2

XLA's CPU backend computes a product in one of two libraries, by the axes over which it sums, and their speeds differ by
up to ten times. Each product of the network runs in a compiled loop, the forms in turns:

    y = x k        "as written": XLA calls YNNPACK
    dx = dy k^T    "as written": the same
    dk = x^T dy    "as written": XLA calls Eigen
                   "transposed": (dy^T x)^T, also by Eigen, which is faster where dy has few columns
                   "copied": a copy of x^T times dy, by YNNPACK

The update runs alone in the same way, compared with the speed of ``a = c a + b`` on an array as large as the largest
kernel. What a step takes beyond products and update is reading the batch, activations, the loss and calls.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import worker
import workloads
from hotspots import compiled_epoch
from report import table

SECONDS = 0.01  # a timed loop takes about so long


class Product(NamedTuple):
    """A product of a dense layer.

    Attributes:
      name: of the layer and the result.
      shapes: of the two operands.
      operations: multiplications and additions.
      forms: by name, functions of the two operands; the first is the one that fnn writes.
    """

    name: str
    shapes: tuple[tuple[int, int], tuple[int, int]]
    operations: int
    forms: dict[str, Callable[[Any, Any], Any]]


def products(workload: workloads.Workload) -> Iterator[Product]:
    """The products of a step; the gradient of the network's own input is not needed."""
    from jax.lax import optimization_barrier

    def transposed(x: Any, dy: Any) -> Any:
        return optimization_barrier(dy.T @ x).T

    def copied(x: Any, dy: Any) -> Any:
        return optimization_barrier(x.T) @ dy

    batch, width = workload.batch, workload.shape[-1]
    for number, layer in enumerate(workload.layers, 1):
        if not isinstance(layer, workloads.Dense):
            continue
        x, k, dy = (batch, width), (width, layer.units), (batch, layer.units)
        operations = 2 * batch * width * layer.units
        yield Product(f"{number} y", (x, k), operations, {"as written": lambda x, k: x @ k})
        forms = {"as written": lambda x, dy: x.T @ dy, "transposed": transposed, "copied": copied}
        yield Product(f"{number} dk", (x, dy), operations, forms)
        if number > 1:
            yield Product(f"{number} dx", (dy, k), operations, {"as written": lambda dy, k: dy @ k.T})
        width = layer.units


def looped(body: Callable[[Any], Any], carry: Any, guess: float) -> Callable[[], float]:
    """A function that runs ``carry = body(carry)`` often, in one program, and returns the seconds of one round."""
    import jax

    rounds = max(3, round(SECONDS / guess))
    run = jax.jit(lambda carry: jax.lax.fori_loop(0, rounds, lambda _, carry: body(carry), carry), donate_argnums=0)

    def timed() -> float:
        nonlocal carry
        started = time.perf_counter()
        carry = jax.block_until_ready(run(carry))
        return (time.perf_counter() - started) / rounds

    timed()
    return timed


def in_turns(timers: dict[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """The median of each."""
    seen = [{name: run() for name, run in timers.items()} for _ in range(repeats)]
    return {name: median(one[name] for one in seen) for name in timers}


def product_timer(product: Product, form: Callable[[Any, Any], Any]) -> Callable[[], float]:
    """The time of a form; its result feeds one number of its next operand, so that no round can be left out."""
    import jax
    import jax.numpy as jnp

    left, right = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(product.shapes))
    out = jax.eval_shape(form, left, right)

    def body(carry: Any) -> Any:
        left, right, out = carry
        left = left.at[0, 0].set(1e-30 * out[0, 0])
        return left, right, form(left, right)

    return looped(body, (left, right, jnp.zeros(out.shape)), product.operations / 1e11 + 2e-6)


def update_timers(state: Any, optimizer: Any) -> dict[str, Callable[[], float]]:
    """The optimizer's update of all parameters, and ``a = c a + b`` on the largest kernel."""
    import jax
    import jax.numpy as jnp

    from fnn.optimizers.base import apply_updates

    params, grads = state.params, jax.tree.map(lambda p: 1e-3 * jnp.ones_like(p), state.params)

    def body(carry: Any) -> Any:
        params, grads, opt_state = carry
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return apply_updates(params, updates), grads, opt_state

    largest = max(jax.tree.leaves(params), key=lambda p: p.size)
    a, b = (jax.random.normal(jax.random.key(i), largest.shape) for i in range(2))
    count = sum(p.size for p in jax.tree.leaves(params))
    return {
        "update": looped(body, jax.tree.map(jnp.copy, (params, grads, state.opt_state)), 1e-9 * count),
        "a = c a + b": looped(lambda carry: (0.999 * carry[0] + carry[1], carry[1]), (a, b), 1e-10 * largest.size),
    }


def step_timer(workload: workloads.Workload) -> Callable[[], float]:
    """The time of a step of the compiled epoch."""
    import jax

    program, state, data = compiled_epoch(workload)

    def timed() -> float:
        nonlocal state
        started = time.perf_counter()
        state, _ = jax.block_until_ready(program(state, data))
        return (time.perf_counter() - started) / workload.steps

    timed()
    return timed


def report(workload: workloads.Workload, repeats: int) -> None:
    """Print the tables of a workload."""
    import jax
    from peers import with_fnn

    import fnn

    found, rows = list(products(workload)), []
    timers = {
        f"{product.name}, {form}": product_timer(product, run)
        for product in found
        for form, run in product.forms.items()
    }
    task = with_fnn.task_of(workload)
    state = fnn.init(task, jax.random.key(0), workloads.data(workload)[0][:1])
    seconds = in_turns({**timers, **update_timers(state, task.optimizer), "step": step_timer(workload)}, repeats)
    fastest = max(p.operations / seconds[f"{p.name}, {form}"] for p in found for form in p.forms)
    for product in found:
        shapes = " by ".join(str(shape) for shape in product.shapes)
        for form in product.forms:
            own = seconds[f"{product.name}, {form}"]
            rows.append([product.name, form, shapes, f"{1e6 * own:.1f}", f"{product.operations / own / 1e9:.0f}"])
    print(f"{workload.name}: {workload.description}, batch {workload.batch}, jax {jax.__version__}\n")
    print(table(("layer, result", "form", "operands", "microseconds", "GFLOP/s"), rows, markdown=False))
    written = sum(seconds[f"{product.name}, as written"] for product in found)
    chosen = sum(min(seconds[f"{product.name}, {form}"] for form in product.forms) for product in found)
    leaves = jax.tree.leaves(state.params)
    moved = workloads.UPDATE_BYTES[workload.optimizer][0] * workload.parameters / seconds["update"] / 1e9
    plain = 12 * max(p.size for p in leaves) / seconds["a = c a + b"] / 1e9
    lines = [
        (f"products at {fastest / 1e9:.0f} GFLOP/s, the fastest of them", workload.operations / fastest),
        ("products, each in its fastest form", chosen),
        ("products, all as written", written),
        (f"update, {moved:.0f} GB/s (a = c a + b: {plain:.0f} GB/s)", seconds["update"]),
        ("step", seconds["step"]),
    ]
    print(table(("part", "ms"), [[part, f"{1e3 * own:.3f}"] for part, own in lines], markdown=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    dense = [name for name, one in workloads.WORKLOADS.items() if isinstance(one.layers[0], workloads.Dense)]
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(dense)} (default: all)")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="cores to run on (default %(default)s)")
    for name in ("batch", "width", "depth"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="of a dense network instead, see workloads.py")
    args = parser.parse_args()
    if unknown := set(args.workloads) - set(dense):
        parser.error(f"no dense network: {', '.join(sorted(unknown))}")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    worker.pin(args.threads)
    sizes = {name: size for name in ("batch", "width", "depth") if (size := getattr(args, name))}
    asked = [workloads.parametric("dense", **sizes)] if sizes else []
    asked += [workloads.WORKLOADS[name] for name in args.workloads or ([] if sizes else dense)]
    for workload in asked:
        report(workload._replace(steps=20), args.repeats)


if __name__ == "__main__":
    main()
