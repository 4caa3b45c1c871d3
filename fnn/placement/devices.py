"""Accelerators and what is known about them: memory, bandwidth, speed, and what their compilers ask for."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping

from .._core.checks import lookup
from .._core.errors import fail

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Device:
    """Published facts about one accelerator chip.

    Attributes:
      name: the name that `plan` accepts, e.g. "v5e".
      kind: the name in full.
      platform: "tpu" or "cuda".
      memory: bytes of memory: on a TPU those that its compiler gives to programs, on a GPU all.
      bandwidth: bytes of memory read or written per second.
      flops: operations per second of products of dense float32 arrays, as JAX computes them by default: through
        bfloat16 on a TPU, through TF32 on a GPU.
      half_flops: the same for bfloat16.
      links: links to other chips: ICI on a TPU, NVLink on a GPU.
      link_bandwidth: bytes per second that one link carries in each direction.
      clock: cycles per second, in which a TPU's compiler counts.
      launch: seconds that a kernel costs, whatever it computes; 0 on a TPU, whose compiler counts it.
      source: title and address of the pages with the figures.
    """

    name: str
    kind: str
    platform: str
    memory: float
    bandwidth: float
    flops: float
    half_flops: float
    links: int
    link_bandwidth: float
    clock: float = 0.0
    launch: float = 0.0
    source: str = ""


def _tpu(
    name: str, memory: float, bandwidth: float, flops: float, links: int, link_bandwidth: float, clock: float
) -> Device:
    kind = "TPU v6e (Trillium)" if name == "v6e" else f"TPU {name}"
    source = f"TPU {name}, https://docs.cloud.google.com/tpu/docs/{name}"
    return Device(name, kind, "tpu", memory, bandwidth, flops, flops, links, link_bandwidth, clock, 0.0, source)


def _gpu(
    name: str,
    kind: str,
    memory: float,
    bandwidth: float,
    flops: tuple[float, float],  # of 32 bits (TF32) and of 16
    links: tuple[int, float],  # their number and bandwidth
    pages: tuple[str, str],  # of XLA's description, and of the peaks
) -> Device:
    spec, page = pages
    source = (
        f"{spec}.txtpb, https://github.com/openxla/xla/tree/main/xla/backends/gpu/target_config/specs; "
        f"{page}, https://glennklockwood.com/garden/processors/{page}"
    )
    # A launch within a CUDA graph or stream takes about 2 microseconds on all of them; not verified.
    return Device(name, kind, "cuda", memory, bandwidth, *flops, *links, launch=2e-6, source=source)


# TPUs: a whole chip, so both cores of v4 and v5p. Peak, bandwidth and links are on the page that is the source, but for
# the links of v4, from "How to Think About TPUs", https://github.com/jax-ml/scaling-book, tpus.md (six of 45e9 make the
# 1.1 PB/s per pod of the page). For the others that book has a tenth less than the pages. Memory is what libtpu 0.0.50
# gives to programs. The clock is the peak over the operations per cycle, which are two for each multiplier in the units
# on the page; of v6e it names two units, but libtpu counts up to 455,000 operations per cycle, which takes four.
#
# GPUs: the SXM form. Memory, bandwidth and number of links are those of the descriptions published with XLA; bandwidth
# of a link, and number on an A100, of "How to Think About GPUs" in the same book, gpus.md. Peaks are of dense products,
# half of those with sparsity in the data sheets. They are from pages that quote NVIDIA's papers; in NVIDIA's own pages
# they are not verified. Those of H100 and H200 follow from the descriptions too; for B200 1113e12 and 2225e12 would.
DEVICES = {
    d.name: d
    for d in (
        _tpu("v4", 30.75 * _GIB, 1.2e12, 275e12, 6, 45e9, 1.05e9),
        _tpu("v5e", 15.75 * _GIB, 0.819e12, 197e12, 4, 50e9, 1.5e9),
        _tpu("v5p", 95.73 * _GIB, 2.765e12, 459e12, 6, 100e9, 1.75e9),
        _tpu("v6e", 31.24 * _GIB, 1.638e12, 918e12, 4, 100e9, 1.75e9),
        _gpu(
            "a100",
            "NVIDIA A100 SXM 80 GB",
            85100068864,
            2.039e12,
            (156e12, 312e12),
            (12, 25e9),
            ("a100_sxm_80", "A100"),
        ),
        _gpu(
            "h100",
            "NVIDIA H100 SXM 80 GB",
            84942979072,
            3.352e12,
            (494.7e12, 989.4e12),
            (18, 25e9),
            ("h100_sxm", "h100"),
        ),
        _gpu(
            "h200", "NVIDIA H200 SXM 141 GB", 151397597184, 4.8e12, (494.7e12, 989.4e12), (18, 25e9), ("h200", "h100")
        ),
        _gpu(
            "b200", "NVIDIA B200 SXM 180 GB", 191514411008, 7.672e12, (1100e12, 2250e12), (18, 50e9), ("b200", "B200")
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices to compile for.

    Attributes:
      device: what each of them is.
      topology: the name by which the compiler knows them together.
      count: how many there are.
      options: further arguments for `jax.experimental.topologies.get_topology_desc`.
    """

    device: Device
    topology: str
    count: int
    options: Mapping[str, str]


def target(name: str) -> Target:
    """The devices of a name such as "v5e", "v5e:4x4", "h200" or "h200:8".

    Raises:
      InputError: for an unknown device, with those of similar names, or a number of devices that cannot be read.
    """
    family, _, size = str(name).strip().lower().partition(":")
    if re.fullmatch(r"v\d\w*-\d+", family):  # as Google Cloud names slices, by their chips or cores
        fail("device", expected="the shape of a slice in chips, such as 'v5e:4x4'", got=repr(name))
    device = lookup("device", family, DEVICES, or_else="")
    form = r"1|\d+x\d+(x\d+)?" if device.platform == "tpu" else r"\d+"
    if size and (not re.fullmatch(form, size) or "0" in size.split("x")):
        example = f"{family}:4x4" if device.platform == "tpu" else f"{family}:8"
        fail("plan", expected=f"devices in a form such as {example!r}", got=repr(name))
    count = math.prod(map(int, size.split("x"))) if size else 1
    if device.platform == "tpu":
        # The smallest slice that the compiler knows; a plan for one chip uses its first.
        smallest = {"v4": "2x2x1", "v5p": "2x2x1"}.get(family, "2x2")
        # JAX has one device for the two cores of a chip; a description of v4 has two unless it is asked for one.
        options = {"chip_config_name": "megacore"} if family == "v4" else {}
        return Target(device, f"{family}:{size if count > 1 else smallest}", count, options)
    topology = f"1x{count}x1"
    return Target(device, topology, count, {"topology": topology, "target_config": _description(device)})


# By device: processors, float32 units in each, bytes of shared memory in each and of the second-level cache, clock in
# GHz, compute capability, products per clock of 8-bit, 16-bit, 32-bit and 64-bit numbers of each matrix unit (of which
# a processor has four) and their clock; those of 64 bits have the processor's. From the same descriptions.
_GPUS = {
    "a100": (108, 64, 167936, 41943040, 1.41, (8, 0), None),
    "h100": (132, 128, 233472, 52428800, 1.98, (9, 0), ((1024, 512, 256, 32), 1.82952)),
    "h200": (132, 128, 233472, 52428800, 1.98, (9, 0), ((1024, 512, 256, 32), 1.82952)),
    "b200": (148, 128, 233472, 132644864, 1.965, (10, 0), ((2048, 1024, 512, 16), 1.83531)),
}
# XLA's numbers of the types of 8 bits (integers and floats), 16, 32 and 64 bits.
_TYPES = ((2, 6, 19, 20), (10, 16), (11,), (12,))
# Limits that all these devices share; without some of them the compiler ends the process.
_LIMITS = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 49152,
    "threads_per_core_limit": 2048,
    "block_dim_limit_x": 2147483647,
    "block_dim_limit_y": 65535,
    "block_dim_limit_z": 65535,
    "thread_dim_limit_x": 1024,
    "thread_dim_limit_y": 1024,
    "thread_dim_limit_z": 64,
    "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536,
}


def _description(device: Device) -> str:
    """The text of XLA's GpuTargetConfigProto."""
    cores, units, shared, cache, clock, (major, minor), matrix = _GPUS[device.name]
    fields = _LIMITS | {
        "shared_memory_per_core": shared,
        "shared_memory_per_block_optin": shared - 1024,
        "core_count": cores,
        "fpus_per_core": units,
        "memory_bandwidth": int(device.bandwidth),
        "l2_cache_size": cache,
        "clock_rate_ghz": clock,
        "device_memory_size": int(device.memory),
    }
    lines = [f"  {name}: {value}" for name, value in fields.items()]
    feature = "ACCELERATED_FEATURES" if major >= 9 else "NONE"
    lines.append(f"  cuda_compute_capability {{ major: {major} minor: {minor} feature_extension: {feature} }}")
    if matrix is not None:
        rates = [
            f"    rate_infos {{ key: {key} value "
            f"{{ clock_rate_ghz: {clock if keys == (12,) else matrix[1]} units_per_core: 4 ops_per_clock: {ops} }} }}"
            for keys, ops in zip(_TYPES, matrix[0], strict=True)
            for key in keys
        ]
        lines += ["  matrix_unit_description {", *rates, "  }"]
    name = f'"{device.kind}"'
    return "\n".join(
        [
            "gpu_device_info {",
            *lines,
            f"  name: {name}",
            "}",
            'platform_name: "CUDA"',
            "dnn_version_info { major: 9 minor: 10 }",
            f"device_description_str: {name}",
        ]
    )
