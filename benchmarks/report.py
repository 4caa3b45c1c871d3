"""Tables, verdicts and the picture of a run of `compare`, from its record alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import floors
from workloads import Workload


class Target(NamedTuple):
    """What a workload's step should reach.

    Attributes:
      best: how many times as long as fnn the best peer of all takes.
      on_jax: likewise the best peer on JAX, by the version of JAX from which it holds; where none is given, ``best``.
      floor: how many times as long as the floor fnn takes, at most.
    """

    best: float
    on_jax: tuple[tuple[tuple[int, int], float], ...] = ()
    floor: float | None = None


TARGETS = {
    "mlp": Target(2.0),
    "wide": Target(1.25, floor=1.3),
    "tabular": Target(1.6),
    "lstm": Target(1.7, on_jax=(((0, 10), 2.5),)),
    "cnn": Target(1.3, on_jax=(((0, 10), 4.5), ((0, 12), 2.2))),
}
# Losses after the last epoch may differ by so much of their median: other draws of parameters, order and dropout.
TOLERANCE = 0.15
OURS = "fnn"
SUMMED = (
    "ms per step",
    "import s",
    "build s",
    "first epoch s",
    "first step s",
    "trace s",
    "lower s",
    "compile s",
    "compilations",
    "memory after import MB",
    "peak MB",
)

# Okabe and Ito's palette, told apart by colour-blind readers, and labels of the legend, by group.
COLORS = {
    "fnn": ("#D55E00", "fnn"),
    "jax": ("#0072B2", "other libraries on JAX"),
    "other": ("#56B4E9", "libraries on other engines"),
    "by hand": ("#999999", "plain JAX, written by hand"),
}

Rows = list[list[str]]


def facts(workload: Workload) -> dict[str, Any]:
    """What the record says of a workload."""
    return {
        "description": workload.description,
        "batch": workload.batch,
        "steps": workload.steps,
        "parameters": workload.parameters,
        **floors.facts(workload),
    }


def medians(record: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """By workload and library: medians over the repeats, with the least and the most time of a step."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for workload in record["workloads"]:
        found[workload] = {}
        for library in record["groups"]:
            runs = [m for m in record["measurements"] if (m["workload"], m["library"]) == (workload, library)]
            good = [run for run in runs if "failed" not in run]
            if good:
                seen = {key: median(run[key] for run in good) for key in SUMMED if key in good[0]}
                steps = [run["ms per step"] for run in good]
                seen |= {"least ms": min(steps), "most ms": max(steps), "runs": len(good)}
                seen["loss"] = median(run["losses"][-1] for run in good)
                found[workload][library] = seen
    return found


def gflops(record: dict[str, Any]) -> float | None:
    """The best speed of a large product that was seen in a run."""
    speeds = [speed for key, speed in record["machine"].items() if key.startswith("gflops") and speed]
    known = floors.limits(record)
    return max([*speeds, *([known["gflops"]] if known else [])], default=None)


def best(record: dict[str, Any], workload: str, groups: Sequence[str], key: str = "ms per step") -> tuple[str, float]:
    """The peer with the least, and its value; ("", nan) without one."""
    seen = record["medians"].get(workload, {})
    found = [(value[key], name) for name, value in seen.items() if record["groups"][name] in groups and key in value]
    return min(found)[::-1] if found else ("", float("nan"))


def table(head: Sequence[str], rows: Rows, markdown: bool) -> str:
    """Columns of numbers to the right, all others to the left."""
    columns = list(zip(head, *rows, strict=True))
    right = [all(cell[:1].isdigit() or not cell for cell in column[1:]) for column in columns]
    if markdown:
        lines = [list(head), ["---:" if r else "---" for r in right], *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(map(len, column)) for column in columns]

    def line(row: Sequence[str]) -> str:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, rows)])


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _milliseconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _short(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _workload_rows(record: dict[str, Any], workload: str) -> Rows:
    """One row per library, the fastest first."""
    seen = record["medians"].get(workload, {})
    ours = seen.get(OURS, {}).get("ms per step")
    rows = []
    for name, value in sorted(seen.items(), key=lambda item: item[1]["ms per step"]):
        step = value["ms per step"]
        rows.append(
            [
                name,
                _milliseconds(step),
                f"{_milliseconds(value['least ms'])} .. {_milliseconds(value['most ms'])}",
                f"{step / ours:.2f}" if ours else "",
                _number(value["first step s"]),
                _number(value.get("trace s")),
                _number(value.get("lower s")),
                _number(value.get("compile s")),
                _number(value.get("compilations"), 0),
                _number(value["peak MB"], 0),
                f"{value['loss']:.4f}",
            ]
        )
    return rows


def _absent(record: dict[str, Any], workload: str) -> list[str]:
    """A line for each library that was skipped or failed."""
    skipped = [s for s in record["skipped"] if s["workload"] == workload]
    lines = [f"{s['library']}: skipped, {s['reason']}" for s in skipped]
    for m in record["measurements"]:
        if m["workload"] == workload and "failed" in m:
            lines.append(f"{m['library']}: failed in repeat {m['repeat'] + 1}, {m['failed']}")
    return lines


def losses(record: dict[str, Any], workload: str) -> str:
    """Whether the losses after the last epoch agree."""
    seen = {name: value["loss"] for name, value in record["medians"].get(workload, {}).items()}
    if not seen:
        return "no losses"
    middle = median(seen.values())
    far = {n: v for n, v in seen.items() if not abs(v - middle) <= TOLERANCE * abs(middle)}
    if far:
        names = ", ".join(f"{name} {value:.4f}" for name, value in far.items())
        return f"LOSSES DIFFER by more than {TOLERANCE:.0%} from their median {middle:.4f}: {names}"
    spread = max(abs(v - middle) for v in seen.values()) / abs(middle)
    return f"losses agree: {len(seen)} within {spread:.1%} of their median {middle:.4f} ({TOLERANCE:.0%} allowed)"


def _verdict(reached: bool, value: str, target: str) -> str:
    return "reached" if reached else f"falls short: {value} of {target}"


def _jax_version(record: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(number) for number in record["machine"].get("versions", {}).get("jax", "0.10").split(".")[:2])


def _step_rows(record: dict[str, Any], workload: str, target: Target) -> Rows:
    """The verdicts on a workload's step."""
    ours, rows = record["medians"].get(workload, {}).get(OURS), []
    if not ours:
        return rows
    version = _jax_version(record)
    wanted = [target.best, *(ratio for since, ratio in target.on_jax if since <= version)]
    for label, groups, least in (("on JAX", ("jax",), wanted[-1]), ("of all", ("jax", "other"), target.best)):
        name, value = best(record, workload, groups)
        if name:
            ratio = value / ours["ms per step"]
            verdict = _verdict(ratio >= least, f"{ratio:.2f}", f"{least:g}")
            rows.append([f"{workload}: step, best {label}", name, f"{ratio:.2f}", f"{least:g}", verdict])
    floor = floors.floor(record, workload)
    if floor and target.floor:
        ratio = ours["ms per step"] / floor.ms
        verdict = _verdict(ratio <= target.floor, f"{ratio:.2f}", f"{target.floor:g}")
        rows.append([f"{workload}: step, fnn / floor", "the floor", f"{ratio:.2f}", f"{target.floor:g}", verdict])
    return rows


def _target_rows(record: dict[str, Any]) -> Rows:
    rows = [row for workload, target in TARGETS.items() for row in _step_rows(record, workload, target)]
    for workload, seen in record["medians"].items():
        name, value = best(record, workload, ("jax",), "peak MB")
        if OURS in seen and name:
            mine = seen[OURS]["peak MB"]
            verdict = _verdict(mine <= 1.02 * value, f"{mine:.0f}", f"{value:.0f} MB")  # 2 % are noise
            rows.append([f"{workload}: peak memory", name, f"{value / mine:.2f}", "1", verdict])
    for workload, seen in record["medians"].items():
        if OURS in seen and "flax nnx" in seen:
            mine, value = seen[OURS]["first step s"], seen["flax nnx"]["first step s"]
            verdict = _verdict(mine <= value, f"{mine:.2f}", f"{value:.2f} s")
            rows.append([f"{workload}: first step", "flax nnx", f"{value / mine:.2f}", "1", verdict])
    return rows


def _floor_rows(record: dict[str, Any]) -> Rows:
    """By workload: the parts of the floor, their sum, and fnn's step beside it."""
    rows = []
    for workload in record["workloads"]:
        floor = floors.floor(record, workload)
        ours = record["medians"].get(workload, {}).get(OURS, {}).get("ms per step")
        if floor:
            values = [part.ms for part in floor] + [floor.ms]
            times = [_milliseconds(ours), f"{ours / floor.ms:.2f}"] if ours else ["", ""]
            rows.append([workload, *(f"{value:.4f}" for value in values), *times])
    return rows


def _floor_text(record: dict[str, Any], bullet: str, markdown: bool) -> str:
    """The table of floors, and what each part follows from."""
    head = ("workload", "operations ms", "memory ms", "calls ms", "floor ms", "fnn ms", "fnn / floor")
    lines = []
    for workload in record["workloads"]:
        floor = floors.floor(record, workload)
        if floor:
            parts = (
                "operations: " + floor.operations.said,
                "memory: " + floor.memory.said,
                "calls: " + floor.calls.said,
            )
            lines.append(f"{bullet}{workload}: " + "; ".join(parts))
    return table(head, _floor_rows(record), markdown) + "\n\n" + "\n".join(lines)


def _machine_lines(record: dict[str, Any]) -> list[str]:
    about, settings = record["machine"], record["settings"]
    seen = [(about.get(f"limits at the {when}"), about.get(f"gflops at the {when}")) for when in ("beginning", "end")]
    speeds = [limits["gflops"] if limits else alone for limits, alone in seen]
    speed = " and ".join(f"{s:.0f}" if s else "unknown" for s in speeds)
    return [
        f"{about['cpu']}, {about['cores used']} of {about['cores']} cores, {about['memory GiB']} GiB, {about['os']}, "
        f"Python {about['python']}, {about['date']}",
        f"float32 matrix product: {speed} GFLOP/s at the beginning and the end",
        *_memory_lines(record),
        ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        f"{settings['repeats']} repeats of {settings['epochs']} epochs after the first"
        + ("; QUICK: of no value as a measurement" if settings.get("quick") else "")
        + ("; INTERRUPTED" if record.get("interrupted") else ""),
    ]


def _memory_lines(record: dict[str, Any]) -> list[str]:
    known = floors.limits(record)
    if known is None:
        return []
    speeds = ", ".join(f"{speed:.0f} at {size / 2**20:g} MiB" for size, speed in known["memory"].items())
    return [f"memory, reads and writes in GB/s: {speeds}", f"an operation's call: {known['call us']:.2f} microseconds"]


def text(record: dict[str, Any], *, markdown: bool = False) -> str:
    """All tables, plain or as markdown."""
    head = ("library", "ms/step", "least .. most", "ratio", "first step s", "trace s", "lower s", "compile s")
    head += ("programs", "peak MB", "loss")
    bullet, heading = ("- ", "## ") if markdown else ("  ", "")
    parts = ["\n".join(_machine_lines(record))]
    if markdown:
        parts = ["\n".join(f"- {line}" for line in _machine_lines(record))]
    for name, about in record["workloads"].items():
        least = floors.floor(record, name)
        title = f"{heading}{name}: {about['description']} (batch {about['batch']})"
        facts = f"{about['parameters']:,} parameters, {about['operations'] / 1e6:,.1f} million operations a step"
        facts += f"; floor {_milliseconds(least.ms)} ms" if least else ""
        facts += f"; {about['steps']} steps an epoch"
        rows = _workload_rows(record, name)
        body = table(head, rows, markdown) if rows else "nothing was measured"
        said = losses(record, name)
        said = f"**{said}**" if markdown and said.startswith("LOSSES DIFFER") else said
        rest = "\n".join(bullet + line for line in [said, *_absent(record, name)])
        parts.append(f"{title}\n{chr(10) if markdown else ''}{facts}\n\n{body}\n\n{rest}")
    if _floor_rows(record):
        parts.append(f"{heading}Floors\n\n" + _floor_text(record, bullet, markdown))
    rows = _target_rows(record)
    if rows:
        title = heading + "Targets (ratio: the peer's value / fnn's, or fnn's / the floor)"
        parts.append(f"{title}\n\n" + table(("what", "peer", "ratio", "target", "verdict"), rows, markdown))
    return "\n\n".join(parts) + "\n"


def picture(record: dict[str, Any], path: Path) -> None:
    """A panel per workload: bars of the median step, the fastest on top, with least and most."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = [name for name in record["workloads"] if record["medians"].get(name)]
    columns = min(2, len(shown))
    lines = -(-len(shown) // columns)
    most = max(len(record["medians"][name]) for name in shown)
    figure = Figure(figsize=(4.8 * columns, 0.8 + lines * (0.7 + 0.22 * most)), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, name in zip(axes, shown, strict=False):
        _panel(ax, record, name)
    figure.suptitle("Milliseconds per training step (how many times as long as fnn)", size=11)
    marks = [Patch(color=color, label=label) for color, label in COLORS.values()]
    marks.append(Line2D([], [], color="black", linewidth=1.2, label="least to most of the repeats"))
    marks.append(Line2D([], [], color="black", linestyle=":", label="floor: operations, memory and calls"))
    spare = axes[len(shown) :]
    for ax in spare:
        ax.set_axis_off()
    if len(spare):
        spare[0].legend(handles=marks, loc="center", frameon=False, fontsize=9, labelspacing=0.9)
    else:
        figure.legend(handles=marks, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _panel(ax: Any, record: dict[str, Any], workload: str) -> None:
    seen = sorted(record["medians"][workload].items(), key=lambda item: item[1]["ms per step"])
    names, steps = [name for name, _ in seen], [value["ms per step"] for _, value in seen]
    ours = record["medians"][workload].get(OURS, {}).get("ms per step")
    # Bars far longer than the others are cut, with their value, lest the others shrink to nothing.
    end = max([s for s in steps if s <= 4 * median(steps)])
    cut = 1.08 * end
    for i, (name, step) in enumerate(zip(names, steps, strict=True)):
        ax.barh(i, min(step, cut), color=COLORS[record["groups"][name]][0], height=0.72)
        if step > end:
            ax.plot([cut * 0.95, cut * 0.97], [i - 0.5, i + 0.5], color="white", linewidth=3)
    for i, (_, value) in enumerate(seen):
        step, high = value["ms per step"], value["most ms"]
        if step <= end:
            ax.plot([value["least ms"], min(high, cut)], [i, i], color="black", linewidth=1.2)
        ratio = f"  ({step / ours:.1f}x)" if ours else ""
        ax.text(max(min(high, cut), min(step, cut)), i, f" {_short(step)}{ratio}", va="center", size=8)
    ax.set_yticks(range(len(names)), names, size=8)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if record["groups"][name] == "fnn" else "normal")
    ax.invert_yaxis()
    ax.set_xlim(0, 1.55 * end)
    ax.tick_params(axis="x", labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(f"{workload} (batch {record['workloads'][workload]['batch']})", size=10, loc="left")
    least = floors.floor(record, workload)
    if least:
        ax.axvline(least.ms, color="black", linewidth=1, linestyle=":")
