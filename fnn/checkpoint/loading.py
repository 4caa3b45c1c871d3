"""Reading a checkpoint into a tree, or a task with its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import renamed
from .._core.described import Described
from .._core.errors import InputError, describe, fail, kind_of
from .._core.files import FilePath
from .._core.trees import Where, check_matches, map_with_path, matches, paths
from .._core.typed import array_spec
from .._core.types import PyTree
from ..architecture.compare import differences
from ..architecture.read import check_format, read_task
from ..training.state import TrainState
from ..training.task import Task
from .file import BESIDE, NUMBERS, OF_TASK, File, Leaf, check_custom, opened, restored, struct_of, widens

_SHOWN = 4  # differences of each kind in a message


@renamed(custom_objects="custom={}")
def load(
    path: FilePath,
    like: PyTree = None,
    task: Task | None = None,
    *,
    where: Where | None = None,
    custom: Mapping[str, object] | None = None,
) -> PyTree:
    """Read a checkpoint: task and state, or values for a tree of the same structure. Every bit is checked.

    ``fnn.load(path)`` returns ``(task, ts)`` from a file that was saved with its task. With ``like``, the values of the
    file take the place of those in ``like``.

    Args:
      path: a file written by `save`; the ending ".safetensors" may be left out.
      like: a tree with the expected structure, shapes and dtypes: a `TrainState`, such as a new one from `init`, or
        whatever was saved; its leaves are arrays or `jax.ShapeDtypeStruct`. If the file holds a TrainState, any other
        tree receives its parameters: ``fnn.load(path, ts.params)``.
      task: the task of ``like``. It is compared with the one in the file, whose arrays may have the same shapes without
        being the same network: for a TrainState model, loss, optimizer, penalty and constraint, for parameters the
        model. A file without a task (such as one written by 0.1) is not compared.
      where: a pattern of paths such as ``"conv*"``, several patterns, or a function of the path; all other leaves stay
        as in ``like``, and the file may hold more. In a TrainState the paths are those of parameters and, with them, of
        layer state such as running means; optimizer, key and step stay.
      custom: what `save` got as ``custom``: functions of your own by name. The file holds names only.

    Returns:
      The pair ``(task, ts)``; or a tree like ``like`` of JAX arrays, or of NumPy arrays and plain numbers where
      ``like`` has those. Arrays that are committed to a device in ``like`` are placed on it. Optimizer slots and
      running values that earlier versions saved in half precision become float32 where ``like`` has float32; the values
      are the same.

    Raises:
      FileNotFoundError: when there is no such file.
      InputError: for another architecture, with what differs: arguments of the task, or the paths of leaves that are
        missing, unexpected or of another shape or dtype; without ``like`` for a file without a task, and for names that
        ``custom`` or this version lacks; for a pattern that matches nothing; and as `load_info`.

    >>> import jax, tempfile, fnn
    >>> small, large = (fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(n)), "mse") for n in (2, 5))
    >>> ts, other = fnn.init(small, jax.random.key(0), (3,)), fnn.init(large, jax.random.key(1), (3,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fnn.save(f"{folder}/small.safetensors", ts, small)
    ...     other = fnn.load(f"{folder}/small.safetensors", other, where="dense")
    ...     task, again = fnn.load(f"{folder}/small.safetensors")
    >>> bool((other.params["dense"]["kernel"] == ts.params["dense"]["kernel"]).all()), task == small
    (True, True)
    """
    if (
        isinstance(like, Described)
        or any(isinstance(leaf, Task) for leaf in jax.tree.leaves(like))
        or not (task is None or isinstance(task, Task))
    ):
        hint = "fnn.load(path) returns (task, ts)."
        fail("load", expected="load(path, ts, task)", got=f"{kind_of(like)} and {kind_of(task)}", hint=hint)
    if task is not None and like is None:
        hint = "Write fnn.load(path, ts, task), or fnn.load(path) for the task and state of the file."
        fail("load", expected="a state with the task", got="none", hint=hint)
    if task is not None and where is not None:
        fail("load", expected="a task or where, since whole tasks are compared", got="both")
    names = check_custom("load", custom)
    with opened(path) as file:
        if like is None:
            return _load_task(file, names)
        if task is not None:
            _check_task(file, task, names, training=isinstance(like, TrainState))
        return _load_tree(file, like, where)


def _load_task(file: File, custom: Mapping[str, object]) -> tuple[Task, TrainState]:
    """The task that a file describes, and its state."""
    json = file.about.get("task")
    if json is None:
        hint = "Write fnn.load(path, ts), with ts = fnn.init(task, key, x) for the values to replace."
        fail(file.place, expected="a file saved with its task, fnn.save(path, ts, task)", got="one without", hint=hint)

    def array(index: int, kind: str) -> PyTree:
        name = f"{BESIDE}{OF_TASK}/{index}"
        leaf = file.leaves[name]
        spec = np.empty((), leaf.dtype) if kind == "numpy" else struct_of(file.place, leaf)
        return restored(file, name, name, spec)

    task, params, state = read_task(json, array, custom, file.place)
    specs = {name: struct_of(file.place, leaf) for name, leaf in file.leaves.items() if not leaf.beside}
    like = TrainState(params, state, {}, jnp.zeros(()), jnp.zeros(()))
    like = map_with_path(lambda name, leaf: specs.get(name, array_spec((), "float32")), like)
    # Only the structure; many trainings in one state have more axes.
    like = like._replace(opt_state=jax.eval_shape(task.optimizer.init, like.params))
    return task, _load_tree(file, map_with_path(lambda name, leaf: specs.get(name, leaf), like), None)


def _check_task(file: File, task: Task, custom: Mapping[str, object], *, training: bool) -> None:
    """Refuse a task other than the one that a file describes."""
    json = file.about.get("task")
    if json is None:
        return
    check_format(json, file.place)
    if found := differences(json, task, custom, training=training):
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        hint = "fnn.load(path) returns the task of the file; fnn.load(path, ts) compares shapes alone."
        got = f"another: {'; '.join(found[:_SHOWN])}{more}"
        fail(file.place, expected="the task of the file", got=got, hint=hint)


def _load_tree(file: File, like: PyTree, where: Where | None) -> PyTree:
    """The values of a file in a tree like ``like``."""
    ours = paths(like)
    if not (where is None or isinstance(where, (str, tuple, list)) or callable(where)):
        fail(file.place, expected="where to be a pattern, a tuple of patterns, or a function", got=describe(where))
    to_state = isinstance(like, TrainState)
    sources = _sources(file, ours, to_state, where)
    stored = {name: leaf for name, leaf in file.leaves.items() if not leaf.beside}
    found = {name: stored[theirs] for name, theirs in sources.items() if theirs in stored}
    differences = (_difference(file.place, name, ours[name], leaf) for name, leaf in found.items())
    unused = set(stored) - set(sources.values()) if where is None else set()
    if file.about["kind"] == "TrainState" and not to_state:
        unused = {name for name in unused if name.partition("/")[0] == "params"}
    problems = {
        "different": list(filter(None, differences)),
        "missing in the file": [name for name in sources if name not in found],
        "only in the file": sorted(unused),
    }
    shown = [
        f"{kind}: {', '.join(names[:_SHOWN])}" + f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
        for kind, names in problems.items()
        if names
    ]
    if shown:
        text = "; ".join(shown)
        hint = " Was it saved with another model or optimizer? To load some leaves only, pass e.g. where='dense*'."
        message = f"{file.place}: the leaves differ from those of like. {text[0].upper()}{text[1:]}."
        raise InputError(message + hint if where is None else message)
    new = {name: restored(file, sources[name], name, ours[name]) for name in found}
    return jax.tree.unflatten(jax.tree.structure(like), [new.get(name, leaf) for name, leaf in ours.items()])


def _sources(file: File, names: Iterable[str], to_state: bool, where: Where | None) -> dict[str, str]:
    """The path in the file of each leaf to load."""
    from_state = file.about["kind"] == "TrainState"
    if where is None and to_state and not from_state:
        hint = "Load it into the parameters: ts._replace(params=fnn.load(path, ts.params))."
        fail(file.place, expected="a checkpoint of a TrainState", got="one of parameters or another tree", hint=hint)
    sources, choice = {}, []
    for name in names:
        part, _, inner = name.partition("/") if to_state else ("params", "", name)
        # The parameters may themselves be a leaf. A file of bare parameters has no layer state.
        if part == "params" or (part == "state" and from_state) or where is None:
            choice.append(inner)
            if where is None or matches(where, inner):
                sources[name] = "/".join(filter(None, (part, inner))) if from_state else inner
    if where is not None:
        check_matches(file.place, where, choice)
    return sources


def _difference(place: str, name: str, ours: object, leaf: Leaf) -> str:
    """How a leaf of the file differs from ours in shape or dtype; empty if it does not."""
    theirs = struct_of(place, leaf)
    if hasattr(ours, "shape") and hasattr(ours, "dtype"):
        dtype = ours.dtype.newbyteorder("=") if isinstance(ours.dtype, np.dtype) else ours.dtype
        same = tuple(ours.shape) == theirs.shape and (dtype == theirs.dtype or widens(name, dtype, theirs.dtype))
        here = describe(ours)
    elif isinstance(ours, NUMBERS):
        kind = next(kind for kind in NUMBERS if isinstance(ours, kind))
        wanted = {bool: np.bool_, int: np.integer, float: np.floating, complex: np.complexfloating}[kind]
        same, here = theirs.shape == () and jnp.issubdtype(theirs.dtype, wanted), f"the {kind.__name__} {ours}"
    else:
        fail(f"load, leaf {name!r} of like", expected="an array or a number", got=describe(ours))
    return "" if same else f"{name} ({describe(theirs)} in the file, {here} here)"
