"""Placements: on which devices rows and parameters lie, and constraints that keep them there while a program is traced.

Programs are written as for one device. Within `placing`, what reads rows asks for them to be spread over devices; the
compiler divides the work accordingly and adds the communication. Without a placement nothing is asked for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeVar

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from .checks import lookup
from .described import in_words
from .errors import describe, fail, kind_of
from .processes import spread
from .trees import check_matches, is_traced, map_with_path, matches, paths
from .typed import UserContext, device_put, make_user_context, partition_spec, tree_map, with_sharding_constraint
from .types import Array, ArraySpec, PyTree

T = TypeVar("T")
Axes = tuple[str, ...]
Spec = tuple[Axes, ...]
"""For each axis of an array, the mesh axes that it is divided over."""

# Smaller arrays stay whole with shard="fsdp": to gather them would take longer than to keep them.
_LARGE = 2**16
_ROW_AXES = ("data", "batch", "fsdp")  # usual names of the mesh axis that rows are divided over


class Placement(NamedTuple):
    """Where the arrays of a training lie.

    Attributes:
      mesh: the devices, with axes whose communication the compiler chooses.
      rows: the axes that the rows of a batch are divided over.
      rules: by pattern of parameter paths, how these parameters are divided; the first that matches decides.
      fully_sharded: whether every large parameter is divided over the axes of the rows.
    """

    mesh: Mesh | AbstractMesh
    rows: Axes
    rules: tuple[tuple[str, Spec], ...] = ()
    fully_sharded: bool = False

    @property
    def spans(self) -> bool:
        """Whether the devices belong to several processes."""
        return isinstance(self.mesh, Mesh) and self.mesh.is_multi_process

    @property
    def row_devices(self) -> int:
        """The number of devices that rows are divided over."""
        return math.prod(self.mesh.shape[axis] for axis in self.rows)

    def sharding(self, *axes: Axes) -> NamedSharding:
        """The sharding that divides the first axes of an array over these mesh axes."""
        return NamedSharding(self.mesh, partition_spec(*(one or None for one in axes)))

    def of_parameter(self, path: str, leaf: ArraySpec) -> NamedSharding:
        """Where a parameter lies."""
        for pattern, spec in self.rules:
            if matches(pattern, path):
                return self.sharding(*spec)
        count = self.row_devices
        axes = [i for i, size in enumerate(leaf.shape) if size % count == 0]
        if not (self.fully_sharded and axes and math.prod(leaf.shape) >= _LARGE):
            return self.sharding()
        longest = max(axes, key=lambda i: leaf.shape[i])
        return self.sharding(*((),) * longest, self.rows)

    def beside(self, params: PyTree, tree: PyTree) -> PyTree:
        """The shardings of a tree of values for parameters, such as an optimizer's slots.

        A leaf whose path ends in that of a parameter, and which has its shape, lies where the parameter does; all
        others are copied to every device.
        """
        known = paths(params)

        def of(path: str, leaf: Array) -> NamedSharding:
            for start in (0, *(i + 1 for i, letter in enumerate(path) if letter == "/")):
                if (end := path[start:]) in known and known[end].shape == leaf.shape:
                    return self.of_parameter(end, leaf)
            return self.sharding()

        return map_with_path(of, tree)

    def check(self, params: PyTree) -> None:
        """Refuse rules that match no parameter, or that do not divide those they match."""
        known = paths(params)
        left = dict.fromkeys(known)
        for pattern, spec in self.rules:
            check_matches("shard", pattern, known)
            if not any(matches(pattern, path) for path in left):
                hint = "The first pattern that matches a parameter decides: put this one before it, or leave it out."
                expected = "a pattern that applies to at least one parameter"
                got = "one that only matches parameters of earlier patterns"
                fail(f"shard[{pattern!r}]", expected=expected, got=got, hint=hint)
            for path in [path for path in left if matches(pattern, path)]:
                del left[path]
                shape = known[path].shape
                counts = [math.prod(self.mesh.shape[axis] for axis in axes) for axes in spec]
                if len(counts) > len(shape) or any(n % count for n, count in zip(shape, counts, strict=False)):
                    expected = f"a parameter that {_spec_text(spec)} divides into {'x'.join(map(str, counts))} parts"
                    hint = "Give each axis at most one entry, of mesh axes whose size divides it; None leaves it whole."
                    fail(f"shard[{pattern!r}]", expected=expected, got=f"{path!r}, {describe(known[path])}", hint=hint)


def _spec_text(spec: Spec) -> str:
    names = (axes[0] if len(axes) == 1 else axes or None for axes in spec)
    return f"P({', '.join(map(repr, names))})"


def parse_trial_devices(mesh: object) -> Placement | None:
    """The placement of trials that ``mesh`` of a public function asks for, on devices of this process."""
    placement = parse_placement(mesh)
    if placement is not None and placement.spans:
        hint = "Give each process its own trials, settings[jax.process_index() :: jax.process_count()], and no mesh."
        fail("mesh", expected="devices of this process for trials", got="those of several processes", hint=hint)
    return placement


def parse_placement(mesh: object, shard: object = None, *, abstract: bool = False) -> Placement | None:
    """The placement that ``mesh`` and ``shard`` of a public function ask for; None without a mesh.

    With ``abstract``, the mesh may have names and sizes of axes without devices.
    """
    if mesh is None:
        if shard is not None:
            fail("shard", expected="mesh= as well", got="none", hint="Write mesh=jax.make_mesh((8,), ('data',)).")
        return None
    if not isinstance(mesh, (Mesh, AbstractMesh) if abstract else Mesh):
        hint = "Write jax.make_mesh((jax.device_count(),), ('data',))."
        fail("mesh", expected="a jax.sharding.Mesh of devices", got=kind_of(mesh), hint=hint)
    names = tuple(map(str, mesh.axis_names))
    if isinstance(mesh, Mesh):
        mesh = _checked(mesh, names)
    else:
        mesh = AbstractMesh(mesh.axis_sizes, names, axis_types=_automatic(names))
    if _trials_divided.value:
        hint = "Leave mesh out inside the trial: each trial trains on one device."
        fail("mesh", expected="either that of many or sweep, or that of a trial inside", got="both", hint=hint)
    check_outside(mesh.abstract_mesh)
    if shard is not None and shard != "fsdp" and not (isinstance(shard, Mapping) and shard):
        expected = "'fsdp', or a dict from patterns to PartitionSpecs such as {'*/kernel': P(None, 'model')}"
        fail("shard", expected=expected, got=in_words(shard))
    given = shard if isinstance(shard, Mapping) else {}
    rules = tuple((str(pattern), _spec(pattern, spec, names)) for pattern, spec in given.items())
    used = {axis for _, spec in rules for axes in spec for axis in axes}
    rows = tuple(axis for axis in names if axis in _ROW_AXES or axis not in used)
    return Placement(mesh, rows, rules, shard == "fsdp")


def _automatic(names: Axes) -> tuple[jax.sharding.AxisType, ...]:
    return (jax.sharding.AxisType.Auto,) * len(names)


@functools.lru_cache(maxsize=16)  # a loop over `train_step` passes the same mesh again and again
def _checked(mesh: Mesh, names: Axes) -> Mesh:
    """A mesh with automatic axes; refuses devices of some processes, which the others would wait for."""
    found = {device.process_index for device in mesh.devices.flat}
    if found != {jax.process_index()} and len(found) < jax.process_count():
        hint = "Write jax.make_mesh((jax.device_count(),), ('data',)), or use jax.local_devices() alone."
        expected = f"devices of all {jax.process_count()} processes, or of this one alone"
        fail("mesh", expected=expected, got=f"those of the processes {sorted(found)}", hint=hint)
    return Mesh(mesh.devices, names, axis_types=_automatic(names))


def check_outside(allowed: AbstractMesh | None = None) -> None:
    """Refuse a call inside of `jax.set_mesh` or `jax.shard_map`, but for one with the same mesh."""
    around = jax.sharding.get_abstract_mesh()
    if not around.empty and around != allowed:
        kinds = ", ".join(
            f"{name!r} ({kind.name})" for name, kind in zip(around.axis_names, around.axis_types, strict=True)
        )
        hint = "The argument mesh says where everything lies; leave the other out."
        expected = "a call outside of jax.set_mesh and jax.shard_map"
        fail("mesh", expected=expected, got=f"one inside, with axes {kinds}", hint=hint)


def _flat(axes: object) -> tuple[object, ...]:
    """The mesh axes that an entry of a PartitionSpec names."""
    return tuple(axes) if isinstance(axes, (tuple, list)) else (axes,)


def _spec(pattern: object, spec: object, names: Axes) -> Spec:
    """A PartitionSpec as plain tuples, with axes that the mesh has."""
    if not isinstance(spec, (PartitionSpec, tuple, list)):
        hint = "With from jax.sharding import PartitionSpec as P, write P(None, 'model')."
        fail(f"shard[{pattern!r}]", expected="a PartitionSpec such as P(None, 'model')", got=in_words(spec), hint=hint)
    if not all(isinstance(axis, (str, type(None))) for axes in spec for axis in _flat(axes)):
        expected = "names of mesh axes, tuples of them, or None for an axis that stays whole"
        fail(f"shard[{pattern!r}]", expected=expected, got=in_words(spec))
    parsed = tuple(tuple(axis for axis in _flat(axes) if isinstance(axis, str)) for axes in spec)
    for axis in (axis for axes in parsed for axis in axes):
        lookup("mesh axis", axis, dict.fromkeys(names), or_else=f" in shard[{pattern!r}]")
    used = [axis for axes in parsed for axis in axes]
    if len(set(used)) < len(used):
        fail(f"shard[{pattern!r}]", expected="each axis of the mesh at most once", got=_spec_text(parsed))
    return parsed


def put(tree: T, places: PyTree) -> T:
    """Arrays with values moved to their shardings, wherever they lie; traced ones as they are."""
    if is_traced(tree):
        return tree
    if all(place.is_fully_addressable for place in jax.tree.leaves(places)):
        return device_put(tree, places)
    everywhere: PyTree = jax.tree.broadcast(places, tree)
    moved: T = tree_map(spread, tree, everywhere)
    return moved


def automatic(a: T) -> T:
    """An array with the explicit axes of its mesh made automatic; anything else as it is, also in `jax.set_mesh`."""
    place = a.sharding if isinstance(a, jax.Array) and not isinstance(a, jax.core.Tracer) else None
    if not isinstance(place, NamedSharding) or jax.sharding.AxisType.Explicit not in place.mesh.axis_types:
        return a
    if not isinstance(place.mesh, Mesh) or not jax.sharding.get_abstract_mesh().empty:
        return a
    names = place.mesh.axis_names
    return device_put(a, NamedSharding(Mesh(place.mesh.devices, names, axis_types=_automatic(names)), place.spec))


def on_every_device(placement: Placement | None, tree: T) -> T:
    """Arrays copied to every device of a placement; as they are without one."""
    return tree if placement is None else put(tree, placement.sharding())


# ------------------------------------------------------------------------------------- while a program is traced
# JAX caches jitted functions by these too, so user functions called by a model are retraced for each placement.
_current: UserContext[Placement | None] = make_user_context(None)
_trials_divided: UserContext[bool] = make_user_context(False)


def placing(placement: Placement | None) -> AbstractContextManager[None]:
    """Trace with a placement; without one if None."""
    return _current(placement)


def one_device_each(placement: Placement | None) -> AbstractContextManager[None]:
    """Trace a trial; one of those that a placement divides may not ask for several devices again."""
    return _trials_divided(placement is not None or _trials_divided.value)


def row_devices() -> int:
    """The number of devices that rows are divided over in the program being traced."""
    placement = _current.value
    return 1 if placement is None else placement.row_devices


def is_divided() -> bool:
    """Whether rows are divided over devices in the program being traced."""
    return row_devices() > 1


def by_row(tree: T) -> T:
    """The same arrays, with their rows, along the first axis, divided over devices."""
    placement = _current.value
    if placement is None:
        return tree
    return tree_map(lambda a: with_sharding_constraint(a, placement.sharding(placement.rows)), tree)


def everywhere(placement: Placement | None, tree: T) -> T:
    """The same arrays, whole on every device."""
    if placement is None:
        return tree
    return tree_map(lambda a: with_sharding_constraint(a, placement.sharding()), tree)
