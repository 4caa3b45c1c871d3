"""Tables, verdicts and the picture of a run of `compare`, from its record alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from workloads import Workload

# How many times as long as fnn the best peer takes: on JAX, and of all.
TARGETS = {"mlp": (2.0, 2.0), "wide": (1.4, 1.4), "tabular": (1.5, 1.5), "lstm": (2.5, 1.5), "cnn": (4.0, 1.0)}
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
        "operations": workload.operations,
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
    return max((speed for key, speed in record["machine"].items() if key.startswith("gflops") and speed), default=None)


def floor(record: dict[str, Any], workload: str) -> float | None:
    """Milliseconds that the operations of a step take at the speed of a large matrix product."""
    speed = gflops(record)
    return record["workloads"][workload]["operations"] / speed / 1e6 if speed else None


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


def _target_rows(record: dict[str, Any]) -> Rows:
    rows = []
    for workload, wanted in TARGETS.items():
        ours = record["medians"].get(workload, {}).get(OURS)
        for label, groups, target in (("on JAX", ("jax",), wanted[0]), ("of all", ("jax", "other"), wanted[1])):
            name, value = best(record, workload, groups)
            if ours and name:
                ratio = value / ours["ms per step"]
                verdict = _verdict(ratio >= target, f"{ratio:.2f}", f"{target:.1f}")
                rows.append([f"{workload}: step, best {label}", name, f"{ratio:.2f}", f"{target:.1f}", verdict])
    for workload, seen in record["medians"].items():
        name, value = best(record, workload, ("jax",), "peak MB")
        if OURS in seen and name:
            mine = seen[OURS]["peak MB"]
            verdict = _verdict(mine <= 1.02 * value, f"{mine:.0f}", f"{value:.0f} MB")  # 2 % are noise
            rows.append([f"{workload}: peak memory", name, f"{value / mine:.2f}", "1.0", verdict])
    for workload, seen in record["medians"].items():
        if OURS in seen and "flax nnx" in seen:
            mine, value = seen[OURS]["first step s"], seen["flax nnx"]["first step s"]
            verdict = _verdict(mine <= value, f"{mine:.2f}", f"{value:.2f} s")
            rows.append([f"{workload}: first step", "flax nnx", f"{value / mine:.2f}", "1.0", verdict])
    return rows


def _machine_lines(record: dict[str, Any]) -> list[str]:
    about, settings = record["machine"], record["settings"]
    speeds = [about.get(f"gflops at the {when}") for when in ("beginning", "end")]
    speed = " and ".join(f"{s:.0f}" if s else "unknown" for s in speeds)
    return [
        f"{about['cpu']}, {about['cores used']} of {about['cores']} cores, {about['memory GiB']} GiB, {about['os']}, "
        f"Python {about['python']}, {about['date']}",
        f"float32 matrix product: {speed} GFLOP/s at the beginning and the end",
        ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        f"{settings['repeats']} repeats of {settings['epochs']} epochs after the first"
        + ("; QUICK: of no value as a measurement" if settings.get("quick") else "")
        + ("; INTERRUPTED" if record.get("interrupted") else ""),
    ]


def text(record: dict[str, Any], *, markdown: bool = False) -> str:
    """All tables, plain or as markdown."""
    head = ("library", "ms/step", "least .. most", "ratio", "first step s", "trace s", "lower s", "compile s")
    head += ("programs", "peak MB", "loss")
    bullet, parts = "- " if markdown else "  ", ["\n".join(_machine_lines(record))]
    if markdown:
        parts = ["\n".join(f"- {line}" for line in _machine_lines(record))]
    for name, about in record["workloads"].items():
        least = floor(record, name)
        title = f"{'## ' if markdown else ''}{name}: {about['description']} (batch {about['batch']})"
        facts = f"{about['parameters']:,} parameters, {about['operations'] / 1e6:,.1f} million operations a step"
        facts += f": at least {_milliseconds(least)} ms; {about['steps']} steps an epoch" if least else ""
        rows = _workload_rows(record, name)
        body = table(head, rows, markdown) if rows else "nothing was measured"
        said = losses(record, name)
        said = f"**{said}**" if markdown and said.startswith("LOSSES DIFFER") else said
        rest = "\n".join(bullet + line for line in [said, *_absent(record, name)])
        parts.append(f"{title}\n{chr(10) if markdown else ''}{facts}\n\n{body}\n\n{rest}")
    rows = _target_rows(record)
    if rows:
        title = ("## " if markdown else "") + "Targets (ratio: the peer's value / fnn's)"
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
    marks.append(Line2D([], [], color="black", linestyle=":", label="floor by operation count"))
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
    least = floor(record, workload)
    if least:
        ax.axvline(least, color="black", linewidth=1, linestyle=":")
