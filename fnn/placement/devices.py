"""Accelerators and what is known about them: memory, bandwidth, speed, and what their compilers ask for."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re

from .._core.errors import fail

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Device:
    """Published facts about one accelerator chip.

    Attributes:
      name: the name that `plan` accepts, e.g. "v5e".
      kind: the name in full.
      platform: "tpu", "cuda" or "cpu".
      memory: bytes that a program may use.
      bandwidth: bytes of memory read or written per second.
      flops: operations per second of products of float32 numbers, as JAX computes them by default: through bfloat16
        on a TPU, through TF32 on a GPU.
      half_flops: the same for bfloat16.
      clock: cycles per second, in which a TPU's compiler counts.
      launch: seconds that a kernel costs, whatever it computes; 0 on a TPU, whose compiler counts it.
      source: where the figures are published.
    """

    name: str
    kind: str
    platform: str
    memory: float
    bandwidth: float
    flops: float
    half_flops: float
    clock: float = 0.0
    launch: float = 0.0
    source: str = ""


def _tpu(name: str, kind: str, memory: float, bandwidth: float, flops: float, clock: float, page: str) -> Device:
    # The clock follows from the peak and the number of multipliers, which the pages give too.
    source = f"cloud.google.com/tpu/docs/{page}"
    return Device(name, kind, "tpu", memory, bandwidth, flops, flops, clock, 0.0, source)


def _gpu(name: str, kind: str, memory: float, bandwidth: float, flops: float, half_flops: float, page: str) -> Device:
    # A launch within a CUDA graph or stream takes about this long on all of them.
    source = f"nvidia.com/en-us/data-center/{page}"
    return Device(name, kind, "cuda", memory, bandwidth, flops, half_flops, 0.0, 2e-6, source)


DEVICES = {
    d.name: d
    for d in (
        _tpu("v4", "TPU v4, one of two cores", 15.25 * _GIB, 0.614e12, 137.5e12, 1.05e9, "v4"),
        _tpu("v5e", "TPU v5e", 15.75 * _GIB, 0.819e12, 197e12, 1.5e9, "v5e"),
        _tpu("v5p", "TPU v5p", 95.73 * _GIB, 2.765e12, 459e12, 1.75e9, "v5p"),
        _tpu("v6e", "TPU v6e (Trillium)", 31.24 * _GIB, 1.638e12, 918e12, 1.75e9, "v6e"),
        _gpu("a100", "NVIDIA A100 SXM 80 GB", 85100068864, 2.039e12, 156e12, 312e12, "a100"),
        _gpu("h100", "NVIDIA H100 SXM 80 GB", 84942979072, 3.352e12, 494e12, 989e12, "h100"),
        _gpu("h200", "NVIDIA H200 SXM 141 GB", 151397597184, 4.8e12, 494e12, 989e12, "h200"),
        _gpu("b200", "NVIDIA B200 SXM 180 GB", 191514411008, 7.672e12, 1100e12, 2250e12, "b200"),
    )
}


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices to compile for.

    Attributes:
      device: what each of them is.
      topology: the name by which the compiler knows them together.
      count: how many there are.
      description: for a GPU, what its compiler must know about it, as text.
    """

    device: Device
    topology: str
    count: int
    description: str = ""


def target(name: str) -> Target:
    """The devices of a name such as "v5e", "v5e:4x4", "h200" or "h200:8".

    Raises:
      InputError: for an unknown device, with those of similar names, or a number of devices that cannot be read.
    """
    family, _, size = str(name).strip().lower().partition(":")
    if family not in DEVICES:
        close = difflib.get_close_matches(family, DEVICES, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        hint += f"Known: {', '.join(DEVICES)}."
        fail("plan", expected="the name of a device", got=repr(name), hint=hint)
    device = DEVICES[family]
    form = r"\d+(x\d+)*" if device.platform == "tpu" else r"\d+"
    if size and (not re.fullmatch(form, size) or "0" in size.split("x")):
        example = f"{family}:4x4" if device.platform == "tpu" else f"{family}:8"
        fail("plan", expected=f"devices in a form such as {example!r}", got=repr(name))
    count = math.prod(map(int, size.split("x"))) if size else 1
    if device.platform == "tpu":
        # The smallest slice that the compiler knows; a plan for one chip uses its first.
        smallest = {"v4": "2x2x1", "v5p": "2x2x1"}.get(family, "2x2")
        return Target(device, f"{family}:{size if count > 1 else smallest}", count)
    return Target(device, f"1x{count}x1", count, _description(device))


# By device: processors, float32 units in each, bytes of shared memory in each and of the second-level cache, clock in
# GHz, compute capability, products per clock of 8-bit, 16-bit, 32-bit and 64-bit numbers of each matrix unit (of which
# a processor has four) and their clock. From the descriptions published with XLA, xla/backends/gpu/target_config/specs.
_GPUS = {
    "a100": (108, 64, 167936, 41943040, 1.41, (8, 0), None),
    "h100": (132, 128, 233472, 52428800, 1.98, (9, 0), ((1024, 512, 256, 32), 1.82952)),
    "h200": (132, 128, 233472, 52428800, 1.98, (9, 0), ((1024, 512, 256, 32), 1.82952)),
    "b200": (148, 128, 233472, 132644864, 1.965, (10, 0), ((2048, 1024, 512, 16), 1.83531)),
}
# XLA's numbers of the types of 8 bits (integers and floats), 16, 32 and 64 bits.
_TYPES = ((2, 6, 19, 20), (10, 16), (11,), (12,))


def _description(device: Device) -> str:
    """The text of XLA's GpuTargetConfigProto.

    Limits that all these devices share stand here; without some of them the compiler ends the process.
    """
    cores, units, shared, cache, clock, (major, minor), matrix = _GPUS[device.name]
    fields = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49152,
        "shared_memory_per_core": shared,
        "shared_memory_per_block_optin": shared - 1024,
        "threads_per_core_limit": 2048,
        "core_count": cores,
        "fpus_per_core": units,
        "block_dim_limit_x": 2147483647,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "thread_dim_limit_x": 1024,
        "thread_dim_limit_y": 1024,
        "thread_dim_limit_z": 64,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
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
            f"{{ clock_rate_ghz: {matrix[1]} units_per_core: 4 ops_per_clock: {ops} }} }}"
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
