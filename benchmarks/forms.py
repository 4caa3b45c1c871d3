"""The forms of an operation that fnn chooses from on a CPU, timed inside a compiled loop, in turns.

    python benchmarks/forms.py                  all of them
    python benchmarks/forms.py conv --repeats 9

The first form of each is the one that fnn runs, as `fnn.nn` holds it; the others are what it was chosen over. Which
one is fastest depends on the version of jaxlib, so that a new version is measured again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import worker
from report import table

Forms = dict[str, Callable[..., Any]]
Case = tuple[str, tuple[Any, ...], float, Forms]
"""A line of the table: its name, the arguments, the additions and multiplications in a run, and the forms."""


def compiled(form: Callable[..., Any], arguments: tuple[Any, ...], rounds: int) -> Any:
    """A loop in which each round needs the result of the one before, so that none is moved out of it."""
    import jax
    import jax.numpy as jnp

    def body(_: Any, arguments: Any) -> Any:
        results = jax.tree.leaves(form(*arguments))
        never = sum(result.ravel()[0] for result in results) < -jnp.inf
        first = arguments[0]
        changed = jnp.where(never, jnp.zeros_like(first.ravel()[0]), first.ravel()[0])
        return first.at[(0,) * first.ndim].set(changed), *arguments[1:]

    loop = jax.jit(lambda arguments: jax.lax.fori_loop(0, rounds, body, arguments), donate_argnums=0)
    return loop.lower(arguments).compile()


def seconds(forms: Forms, arguments: tuple[Any, ...], rounds: int, repeats: int) -> dict[str, float]:
    """The median seconds of each form."""
    import jax

    programs = {name: compiled(form, arguments, rounds) for name, form in forms.items()}
    found: dict[str, list[float]] = {name: [] for name in forms}
    for repeat in range(repeats + 1):
        for name, program in programs.items():
            fresh = jax.block_until_ready(jax.tree.map(lambda a: a.copy(), arguments))
            started = time.perf_counter()
            jax.block_until_ready(program(fresh))
            if repeat:  # the first one warms up
                found[name].append((time.perf_counter() - started) / rounds)
    return {name: median(times) for name, times in found.items()}


def rows() -> Iterator[Case]:
    """The gradient of a table of which rows are read: a scatter-add, and a product with one-hot rows."""
    import jax
    import jax.numpy as jnp

    from fnn.nn.embedding import Rows

    for count, units, ids in ((58, 512, 5120), (10, 64, 640), (256, 64, 640), (256, 512, 5120)):
        draw = np.random.default_rng(0)
        dy = jnp.asarray(draw.normal(size=(ids, units)), jnp.float32)
        numbers = jnp.asarray(draw.integers(0, count, ids), jnp.int32)
        table = jnp.zeros((count, units))

        def gradient(read: Callable[..., Any], table: Any, dy: Any, ids: Any) -> Any:
            return jax.linear_transpose(partial(read, Rows(table, ids)), table)(dy)

        forms = {
            "scatter-add": partial(gradient, Rows.tangent, table),
            "product": partial(gradient, Rows._product, table),
        }
        yield f"rows: {ids} of {count} x {units}", (dy, numbers), 2.0 * ids * units, forms


def conv() -> Iterator[Case]:
    """A convolution and its gradients, by the kernel that fnn chooses, by YNNPACK where it can, and by Eigen."""
    import jax.numpy as jnp

    from fnn.nn import _conv_cpu
    from fnn.nn._conv_primitive import OPERANDS, Geometry

    def spread_as(distance: int | None, operation: Callable[..., Any], geometry: Geometry, *arrays: Any) -> Any:
        chosen = _conv_cpu._spread
        if distance is not None:
            _conv_cpu._spread = lambda geometry: (distance, 1) if len(geometry.size) == 2 else (1,) * len(geometry.size)
        try:
            return operation(*arrays, geometry)
        finally:
            _conv_cpu._spread = chosen

    draw = np.random.default_rng(0)
    operations = {"y": _conv_cpu._output, "x": _conv_cpu._input_gradient, "k": _conv_cpu._kernel_gradient}
    cases = (
        ("26x26x32, 3x3x32", (128, 26, 26, 32), (3, 3, 32, 32), (1, 1), 0, 1),
        ("10x10x64, 3x3x64", (128, 10, 10, 64), (3, 3, 64, 64), (1, 1), 0, 1),
        ("16x16x64, 3x3x64, padded", (32, 16, 16, 64), (3, 3, 64, 64), (1, 1), 1, 1),
        ("17x17x64, 3x3x64, strides 2", (32, 17, 17, 64), (3, 3, 64, 64), (2, 2), 0, 1),
        ("16x16x64, 1x1x128", (32, 16, 16, 64), (1, 1, 64, 128), (1, 1), 0, 1),
        ("32x32x3, 5x5x32", (32, 32, 32, 3), (5, 5, 3, 32), (1, 1), 0, 1),
        ("16x16x64, 3x3x64, 4 groups", (32, 16, 16, 64), (3, 3, 16, 64), (1, 1), 0, 4),
    )
    for name, x, kernel, strides, pad, groups in cases:
        geometry = Geometry(x[1:3], kernel[:2], strides, ((pad, pad),) * 2, (1, 1), groups)
        shapes = {"x": x, "k": kernel, "y": (x[0], *geometry.out, kernel[3])}
        arrays = {array: jnp.asarray(draw.normal(size=shape), jnp.float32) for array, shape in shapes.items()}
        for result, operation in operations.items():
            operands = [arrays[array] for array in OPERANDS[result]]
            work = 2.0 * geometry.multiply_adds(result, *(a.shape for a in operands), shapes[result])
            forms = {
                form: partial(spread_as, distance, operation, geometry)
                for form, distance in (("chosen", None), ("YNNPACK", 1), ("Eigen", 2))
            }
            yield f"{result} of {name}", tuple(operands), work, forms


KINDS: dict[str, Callable[[], Iterator[Case]]] = {"rows": rows, "conv": conv}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="loops of each form (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="cores to run on (default %(default)s)")
    args = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    worker.pin(args.threads)

    import jax

    lines = []
    for kind in args.kinds or KINDS:
        for name, arguments, operations, forms in KINDS[kind]():
            found = seconds(forms, arguments, 5, args.repeats)
            first = next(iter(found.values()))
            for form, spent in found.items():
                speed, ratio = f"{operations / spent / 1e9:.1f}", f"{spent / first:.2f}"
                lines.append((name, form, f"{1e3 * spent:.3f}", speed, ratio))
    print(f"jaxlib {jax.lib.__version__}")
    print(table(("operation", "form", "ms", "GFLOP/s", "relative to fnn's"), lines, markdown=False))


if __name__ == "__main__":
    main()
