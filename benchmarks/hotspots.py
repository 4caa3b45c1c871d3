"""The slowest operations of a workload's compiled epoch, and the Python line that each comes from.

    python benchmarks/hotspots.py cnn --top 15
    python benchmarks/hotspots.py tabular --hlo tabular.txt      also keep the compiled program
    python benchmarks/hotspots.py wide --parts --markdown        only the table by part of the step, to paste

The times come from jax.profiler: on the CPU its trace holds an event for every operation that is started, with the
operation's name in the compiled program as ``hlo_op``, and another one for its end, which is later where the operation
runs on other threads; `jax.profiler.ProfileData` reads them. Where several operations are under way they share that
time evenly, so that the times add up to that of the step. Loops are left out, what they run is counted. Names are
looked up in the program's text, which tells kind, shape, source, and the part of the step (a layer forward or backward,
the loss, the update, the batch).
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import worker
import workloads
from report import table

CONTAINERS = ("while", "conditional", "call", "async-start", "async-done")
OTHER = "other"
WORTH_NAMING = ("convolution", "dot", "custom-call", "reduce-window", "scatter", "sort", "gather", "reduce")


class Instruction(NamedTuple):
    """What the program's text says of an operation."""

    opcode: str
    shape: str
    kind: str
    phase: str
    source: str
    part: str


def parse(text: str) -> dict[str, Instruction]:
    """All instructions of a compiled program by name."""
    tables = _tables(text)
    # One pass for what the fused computations hold, one for the instructions, of which fusions refer to them.
    held: dict[str, list[str]] = {}
    scopes: dict[str, list[str]] = {}
    found: list[tuple[str, str, str, str]] = []
    computation = ""
    for line in text.splitlines():
        start = re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$", line)
        if start:
            computation = start[1]
        match = re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(", line)
        if match:
            name, shape, opcode = match.groups()
            held.setdefault(computation, []).append(opcode)
            scopes.setdefault(computation, []).append(_scope(line))
            found.append((name, shape, opcode, line))
    return {
        name: Instruction(
            opcode, _short(shape), _kind(opcode, line, held), _phase(line), _source(line, tables), _part(line, scopes)
        )
        for name, shape, opcode, line in found
    }


def _scope(line: str) -> str:
    op = re.search(r'op_name="([^"]*)"', line)
    return op[1] if op else ""


def _part(line: str, scopes: dict[str, list[str]]) -> str:
    """The part of the step; a fusion without a scope has that of most operations in it."""
    calls = re.search(r"calls=%?([\w.\-]+)", line)
    inside = [part_of(scope) for scope in scopes.get(calls[1], [])] if calls else []
    own = part_of(_scope(line))
    if own == OTHER and inside:
        named = Counter(part for part in inside if part != OTHER)
        return named.most_common(1)[0][0] if named else OTHER
    return own


def part_of(scope: str) -> str:
    """The part of a training step that an operation's ``op_name`` tells."""
    model = re.search(r"(transpose\(jvp\(model\)\)|jvp\(model\))/(?:([A-Za-z]\w*)/)?", scope)
    if model:
        direction = "backward" if model[1].startswith("transpose") else "forward"
        return f"{model[2] or 'model'}, {direction}"
    for name, part in (("(loss)", "loss"), ("/update", "update"), ("/batch/", "batch")):
        if name in scope:
            return part
    return OTHER


def family(kind: str) -> str:
    """A kind of operation in one word."""
    names = {"product": r"\bdot\b|convolution|matmul", "gather": "gather", "reduction": r"\breduce\b|reduce-window"}
    names |= {"copy": r"^(copy|concatenate|broadcast|transpose|slice|pad)", "sort": "sort"}
    return next((name for name, pattern in names.items() if re.search(pattern, kind)), "elementwise")


def by_part(rows: list[tuple[str, float, Instruction]], least: float = 0.01) -> list[tuple[str, str, float]]:
    """Part, kind and seconds, the longest first; what takes less than ``least`` of all is one line at the end."""
    seconds = Counter[tuple[str, str]]()
    for _, spent, about in rows:
        seconds[about.part, family(about.kind)] += spent
    total = seconds.total()
    shown = [(part, kind, spent) for (part, kind), spent in seconds.most_common() if spent >= least * total]
    rest = total - sum(spent for _, _, spent in shown)
    return [*shown, ("all else", "", rest)] if rest > 0 else shown


def _kind(opcode: str, line: str, held: dict[str, list[str]]) -> str:
    if opcode == "custom-call":
        target = re.search(r'custom_call_target="([^"]+)"', line)
        return f"custom-call {target[1]}" if target else opcode
    if opcode != "fusion":
        return opcode
    calls = re.search(r"calls=%?([\w.\-]+)", line)
    inside = held.get(calls[1], []) if calls else []
    engine = re.search(r'"kind":"__(\w+?)_fusion"', line)
    main = [op for op in WORTH_NAMING if op in inside]
    parts = [f"fusion of {len(inside)}", f"with {', '.join(main)}" if main else "", f"by {engine[1]}" if engine else ""]
    return " ".join(filter(None, parts))


def _phase(line: str) -> str:
    """Whether automatic differentiation made the operation; a custom rule's backward pass is told by its name only."""
    op = re.search(r'op_name="([^"]*)"', line)
    return "" if not op else "backward" if "transpose(" in op[1] else "forward" if "jvp(" in op[1] else ""


def _short(shape: str) -> str:
    """Without layouts, and of a tuple only the first."""
    plain = re.sub(r"\{[^}]*\}|/\*.*?\*/", "", shape)
    return plain.split("]")[0].lstrip("(") + "], ..." if plain.startswith("(") and "]" in plain else plain


def _tables(text: str) -> dict[str, dict[str, str]]:
    """The lists of files, functions, places and frames that a program's text begins with."""
    tables: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        if line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
            current = tables.setdefault(line, {})
        elif match := re.match(r"(\d+) (.+)$", line):
            current[match[1]] = match[2]
    return tables


def _source(line: str, tables: dict[str, dict[str, str]]) -> str:
    """The innermost line within fnn and the function that it was called from, else the innermost line at all."""
    direct = re.search(r'source_file="([^"]+)" source_line=(\d+)', line)
    if direct:
        return f"{_relative(direct[1])}:{direct[2]}"
    frame, places = re.search(r"stack_frame_id=(\d+)", line), []
    number = frame[1] if frame else None
    while number and number in tables.get("StackFrames", {}):
        fields = dict(re.findall(r"(\w+)=(\d+)", tables["StackFrames"][number]))
        at = dict(re.findall(r"(\w+)=(\d+)", tables["FileLocations"][fields["file_location_id"]]))
        file = tables["FileNames"][at["file_name_id"]].strip('"')
        function = tables["FunctionNames"].get(at["function_name_id"], "").strip('"').split(".")[-1]
        places.append((f"{_relative(file)}:{at['line']} {function}", function))
        parent = fields.get("parent_frame_id")
        number = parent if parent != number else None
    within = [place for place in places if place[0].startswith("fnn/")]
    if len(within) > 1 and "<lambda>" not in within[1][1]:
        return f"{within[0][0]} < {within[1][1]}"
    return (within or places or [("the compiler's own",)])[0][0]


def _relative(file: str) -> str:
    return "fnn/" + file.rsplit("/fnn/", 1)[1] if "/fnn/" in file else Path(file).name


def compiled_epoch(workload: workloads.Workload) -> tuple[Any, Any, Any]:
    """The program of an epoch with donation, and its arguments."""
    import jax
    from peers import with_fnn

    import fnn

    x, y = workloads.data(workload)
    task = with_fnn.task_of(workload)
    state = fnn.init(task, jax.random.key(0), x[:1])

    def epoch(state: Any, data: Any) -> Any:
        return fnn.train_epoch(task, state, data, batch_size=workload.batch)

    data = jax.device_put((x, y))
    return jax.jit(epoch, donate_argnums=0).lower(state, data).compile(), state, data


def trace(program: Any, state: Any, data: Any) -> tuple[list[tuple[float, float, str]], float, float]:
    """Start, end and name of each operation of an epoch, and an epoch's seconds without and with the profiler."""
    import jax

    def run() -> float:
        nonlocal state
        started = time.perf_counter()
        state, _ = jax.block_until_ready(program(state, data))
        return time.perf_counter() - started

    run()
    plain = min(run() for _ in range(3))
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level, options.host_tracer_level = 0, 2
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            traced = run()
        file = next(Path(folder).rglob("*.xplane.pb"))
        events = [
            (event.start_ns, event.duration_ns, dict(event.stats))
            for plane in jax.profiler.ProfileData.from_file(str(file)).planes
            for line in plane.lines
            for event in line.events
        ]
    # The event of an end consumes ("_c") what that of the start produced ("_p").
    ends = {stats["_c"]: start + duration for start, duration, stats in events if "_c" in stats}
    spans = [
        (start, max(start + duration, ends.get(stats.get("_p"), 0)), stats["hlo_op"])
        for start, duration, stats in events
        if "hlo_op" in stats
    ]
    return spans, plain, traced


def shares(spans: list[tuple[float, float, str]]) -> Counter[str]:
    """Seconds by operation, each moment being divided among the operations under way."""
    seconds, active, before = Counter[str](), Counter[str](), 0.0
    edges = [(start, 1, name) for start, _, name in spans] + [(end, -1, name) for _, end, name in spans]
    for now, change, name in sorted(edges):
        count = active.total()
        for other, times in active.items():
            seconds[other] += (now - before) * times / count / 1e9
        active[name] += change
        if not active[name]:
            del active[name]
        before = now
    return seconds


def profiled(workload: workloads.Workload, hlo: Path | None) -> tuple[list[tuple[str, float, Instruction]], str]:
    """Name, seconds and description of each operation of an epoch, the slowest first; and the times in words."""
    program, state, data = compiled_epoch(workload)
    text = program.as_text()
    if hlo:
        hlo.write_text(text)
    instructions, unknown = parse(text), Instruction("?", "", "?", "", "", OTHER)
    spans, plain, traced = trace(program, state, data)
    spans = [span for span in spans if instructions.get(span[2], unknown).opcode not in CONTAINERS]
    calls, seconds = Counter(name for _, _, name in spans), shares(spans)
    rows = [(name, spent, instructions.get(name, unknown)) for name, spent in seconds.most_common()]
    ms = 1e3 / workload.steps
    said = f"a step takes {plain * ms:.3f} ms, {traced * ms:.3f} under the profiler, {seconds.total() * ms:.3f} in "
    return rows, f"{said}operations, {sum(calls.values()) / workload.steps:.0f} calls"


def slowest(rows: list[tuple[str, float, Instruction]], ms: float, top: int, markdown: bool) -> str:
    """The slowest operations, and the lines of code that take longest."""
    total = sum(spent for _, spent, _ in rows)
    head = ("share", "ms/step", "operation", "kind", "pass", "shape", "source")
    lines = [
        [f"{spent / total:.1%}", f"{spent * ms:.4f}", name, about.kind, about.phase, about.shape, about.source]
        for name, spent, about in rows[:top]
    ]
    rest = f"and {max(0, len(rows) - top)} more: {sum(spent for _, spent, _ in rows[top:]) / total:.1%}"
    places = Counter[str]()
    for _, spent, about in rows:
        places[about.source] += spent
    sources = [[f"{spent / total:.1%}", f"{spent * ms:.4f}", place] for place, spent in places.most_common(top // 2)]
    return "\n\n".join(
        [table(head, lines, markdown) + f"\n\n{rest}", table(("share", "ms/step", "source"), sources, markdown)]
    )


def parts_table(rows: list[tuple[str, float, Instruction]], ms: float, markdown: bool) -> str:
    """`by_part` as a table."""
    total = sum(spent for _, spent, _ in rows)
    lines = [[part, kind, f"{spent * ms:.4f}", f"{spent / total:.1%}"] for part, kind, spent in by_part(rows)]
    return table(("part", "kind", "ms/step", "share"), lines, markdown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=workloads.WORKLOADS)
    parser.add_argument("--top", type=int, default=20, help="how many operations (default %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="in the epoch that is traced (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="cores to run on (default %(default)s)")
    parser.add_argument("--hlo", type=Path, metavar="PATH", help="write the compiled program's text here")
    parser.add_argument("--parts", action="store_true", help="only the table by part of the step")
    parser.add_argument("--markdown", action="store_true", help="print the tables as markdown")
    args = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    worker.pin(args.threads)

    workload = workloads.WORKLOADS[args.workload]._replace(steps=args.steps)
    rows, said = profiled(workload, args.hlo)
    ms = 1e3 / workload.steps
    print(f"{workload.name}: {workload.description}, batch {workload.batch}, {workload.steps} steps")
    print(said, "", parts_table(rows, ms, args.markdown), sep="\n")
    if not args.parts:
        print("", slowest(rows, ms, args.top, args.markdown), sep="\n")


if __name__ == "__main__":
    main()
