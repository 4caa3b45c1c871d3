"""The checkpoints of `fit`: written during training, read when the same call runs again."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import NoReturn, TextIO

import jax

from .._core.checks import Stateful, keeps_state
from .._core.errors import InputError, describe, fail
from .._core.files import ENDINGS, temporary_files
from .._core.fingerprint import fingerprint
from .._core.jaxprs import program_text, without_addresses
from .._core.processes import agreeing, by_first, is_first, is_together
from .._core.trees import from_paths, shape_of
from .._core.types import Array, PyTree
from .._core.warn import warn
from .._version import __version__
from ..architecture.write import describe_by_own_names
from ..checkpoint import DamagedError, load, load_beside, load_info, save_with
from ..training.batch import Batch, rows_of
from ..training.placed import some_rows
from ..training.state import TrainState
from ..training.step import step_and_totals
from ..training.stopping import PureCallback
from ..training.task import Task
from .callbacks import Path
from .inputs import Data
from .options import Options
from .progress import History
from .shares import of_all_processes, of_this_process
from .sources import EpochPosition, RunPosition
from .watchdog import busy

_NAME, _LOCK = "step-{:09d}.safetensors", ".lock"
SEEN_WITHIN = 30.0  # seconds in which a file of one process is seen by the others; network file systems take a while
_VERSIONS = f"fnn {__version__}, jax {jax.__version__}"  # others may write the same task differently
# Fields of a position that are stored as they are; the others are arrays or have a place in every checkpoint.
_PLAIN = ("made", "epoch", "logs", "seconds", "stopped", "stream", "validation")


class CheckpointError(OSError):
    """A checkpoint of `fit` could not be written, for example on a full disk; the training so far is not lost.

    Attributes:
      ts: the current `TrainState`.
      history: the `History` up to it.
    """

    def __init__(
        self,
        errno: int | None,
        message: str,
        path: str,
        *,
        ts: TrainState | None = None,
        history: History | None = None,
    ) -> None:
        super().__init__(errno, message, path)
        self.ts, self.history = ts, history


class Checkpoints:
    """A folder with the checkpoints of one run.

    ``settings`` must be the same when the run continues.

    The files hold the description of ``task`` too, so that ``fnn.load(file)`` returns task and state. User-defined
    functions are stored under their names; a task that holds an unnamed one, or two of the same name, is left out.
    """

    def __init__(self, folder: Path, options: Options, settings: Mapping[str, object], task: Task) -> None:
        self.folder, self.keep, self.settings, self.task = os.fspath(folder), options.keep, settings, task
        self.callbacks: list[Stateful] = [callback for callback in options.callbacks if keeps_state(callback)]
        self.every = None if options.every == "epoch" else int(options.every)

    def due(self, made: int, *, within: bool = False) -> bool:
        """Whether a checkpoint is due after this many steps, at the end of an epoch or within one."""
        return not within if self.every is None else made % self.every == 0

    @contextlib.contextmanager
    def opened(self) -> Iterator[Checkpoints]:
        """Create, check and lock the folder, for all processes together."""
        with contextlib.ExitStack() as stack:

            def open_folder() -> None:
                stack.enter_context(self._locked())

            by_first(open_folder)
            with agreeing(f"checkpoint {self.folder!r}"), busy("looking for the folder of the checkpoints"):
                self._check_seen()
            yield self

    def _check_seen(self) -> None:
        """Refuse a folder that process 0 has alone: a run that continues elsewhere would start from the beginning."""
        end = time.monotonic() + SEEN_WITHIN
        while is_together() and not os.path.exists(os.path.join(self.folder, _LOCK)):
            if time.monotonic() > end:
                hint = "Pass the same folder on every process, on a file system that all of them share."
                got = f"one that process {jax.process_index()} does not see"
                fail(f"checkpoint {self.folder!r}", expected="a folder of all processes", got=got, hint=hint)
            time.sleep(0.1)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        where = f"checkpoint {self.folder!r}"
        if os.path.lexists(self.folder) and not os.path.isdir(self.folder):
            fail(where, expected="a folder", got="a file")
        if os.path.splitext(self.folder)[1].lower() in ENDINGS and not os.path.isdir(self.folder):
            fail(where, expected="a folder", got="the name of a file", hint="To write a single file, use fnn.save.")
        try:
            os.makedirs(self.folder, exist_ok=True)
            lock = open(os.path.join(self.folder, _LOCK), "w")  # noqa: SIM115 (closed below)
        except OSError as error:
            message = f"fit: {error.strerror}; checkpoints cannot be written there, and nothing was trained"
            raise type(error)(error.errno, message, self.folder) from error
        with lock, _lock(lock) as locked:
            if not locked:
                hint = "Give each run its own folder."
                fail(where, expected="a folder that no other training uses", got="one in use", hint=hint)
            for path in temporary_files(self.folder):  # left by a process that was killed while writing
                os.unlink(path)
            yield

    def paths(self) -> list[str]:
        """The files of the run, the oldest first."""
        found = glob.glob(os.path.join(glob.escape(self.folder), "step-*.safetensors"))
        names = ((re.fullmatch(r"step-(\d{9,})\.safetensors", os.path.basename(path)), path) for path in found)
        return [path for _, path in sorted((int(name[1]), path) for name, path in names if name)]

    def latest(self, ts: TrainState) -> RunPosition | None:
        """The position of the newest undamaged checkpoint of the run that begins at ``ts``; None in an empty folder.

        Of several processes, the first chooses the file that all read.
        """
        found: RunPosition | None = None

        def choose() -> str | None:
            nonlocal found
            path, found = self._newest(ts)
            return path

        path = by_first(choose)
        if path is not None and is_together():
            where = f"checkpoint {self.folder!r}, which all processes must be able to read"
            with agreeing(where), busy("reading a checkpoint"):
                found = found or self._read(path, ts)
        return found

    def _newest(self, ts: TrainState) -> tuple[str, RunPosition] | tuple[None, None]:
        damaged: list[tuple[str, DamagedError]] = []
        for path in reversed(self.paths()):
            try:
                found = self._read(path, ts)
            except DamagedError as error:
                damaged.append((path, error))
                continue
            for bad, problem in damaged:
                os.replace(bad, bad + ".damaged")
                warn(f"fit: {problem} It was renamed to *.damaged; training continues from the checkpoint before it.")
            return path, found
        if damaged:
            hint = "To start over, remove them or pass another folder."
            fail(f"checkpoint {self.folder!r}", expected="an undamaged file", got="damaged ones only", hint=hint)
        return None, None

    def _read(self, path: str, ts: TrainState) -> RunPosition:
        """The position in a file, after a check that it is of this run; callbacks get their memories back."""
        info = load_info(path)
        about = info.extra.get("fit") if isinstance(info.extra, dict) else None
        where = f"checkpoint {self.folder!r}"
        if about is None:
            hint = "Give each run its own folder."
            fail(where, expected="checkpoints of fit(checkpoint=...)", got=os.path.basename(path), hint=hint)
        self._check_settings(where, about["settings"], path)
        state, beside = load(path, ts), load_beside(path)
        within = None
        if about["start"] is not None:
            first_step, done = about["start"]
            within = EpochPosition(first_step=first_step, done=done, totals=_below("totals", beside))
        memories = []
        for i, (callback, memory) in enumerate(zip(self.callbacks, about["callbacks"], strict=True)):
            if isinstance(callback, PureCallback) and memory is not None:
                memory = from_paths(f"{where}, callback {i}", callback.start(ts), _below(f"callbacks/{i}", beside))
            memories.append(memory)
        # Only now: everything was read and is valid.
        for callback, memory in zip(self.callbacks, memories, strict=True):
            callback.restore(memory)
        history = History({name: list(values) for name, values in (info.history or {}).items()})
        plain = {name: about[name] for name in _PLAIN}
        plain |= {name: of_this_process(where, plain[name]) for name in ("stream", "validation")}
        return RunPosition(ts=state, history=history, within_epoch=within, **plain)

    def _check_settings(self, where: str, saved: Mapping[str, object], path: str) -> None:
        """Refuse the checkpoint of another run."""
        for name, ours in self.settings.items():
            theirs = saved.get(name)
            if name in ("task", "program") and not (isinstance(theirs, list) and theirs[:1] == [_VERSIONS]):
                continue
            if theirs != ours and not (name == "task" and self._holds_task(path)):
                _refuse_other_run(where, name, theirs, ours)

    def _holds_task(self, path: str) -> bool:
        """Whether a file holds an equal task, whose text may differ: "MSE" for "mse"."""
        try:
            task, _ = load(path)
        except InputError:  # it holds none, or user-defined functions
            return False
        return bool(task == self.task)

    def save(self, position: RunPosition) -> None:
        """Write a checkpoint, then remove the oldest ones."""
        within, memories = position.within_epoch, []
        beside: dict[str, dict[str, PyTree]] = {} if within is None else {"totals": dict(within.totals)}
        for i, callback in enumerate(self.callbacks):
            memory = callback.state()
            if isinstance(callback, PureCallback) and memory is not None:
                beside.setdefault("callbacks", {})[str(i)] = memory
                memory = True  # its arrays are stored beside the state
            memories.append(memory)
        about = {name: getattr(position, name) for name in _PLAIN}
        about |= {name: of_all_processes(about[name]) for name in ("stream", "validation")}
        about["settings"], about["callbacks"] = self.settings, memories
        about["start"] = None if within is None else [within.first_step, within.done]
        path = os.path.join(self.folder, _NAME.format(position.made))
        try:
            description = describe_by_own_names(self.task, position.ts)
            more = {"history": position.history, "extra": {"fit": about}, "model": self.task}
            save_with(path, position.ts, beside, description=description, **more)
        except (OSError, InputError) as error:
            good = [found for found in self.paths() if found != path]
            last = f"the last good checkpoint is {good[-1]!r}" if good else "there is no earlier checkpoint"
            reason = error.strerror if isinstance(error, OSError) else str(error)
            message = f"{reason}; {last}; the current state is .ts of this error, its history .history"
            number = getattr(error, "errno", None)
            raise CheckpointError(number, message, path, ts=position.ts, history=position.history) from error
        if self.keep is not None and is_first():
            for old in self.paths()[: -self.keep]:
                with contextlib.suppress(OSError):  # another program may be reading it; it is removed the next time
                    os.unlink(old)


def _refuse_other_run(where: str, name: str, theirs: object, ours: object) -> NoReturn:
    """Refuse a checkpoint with another value of a setting."""
    expected, got = f"{name} {theirs}, as in the run saved there", str(ours)
    hint = "To continue, repeat the original call (epochs may differ); otherwise pass another folder."
    match name, theirs, ours:
        case "data" | "validation_data", _, _:
            expected, got = f"the {name} of the run saved there", "none" if ours is None else "others"
        case "task" | "program", _, _:
            expected, got = "the task of the run saved there (model, loss, optimizer, metrics)", "another"
        case "state", [_, their_step], [_, step]:
            expected = f"the initial state of the run saved there (seed, rates, parameters), at step {their_step}"
            got = f"another one, at step {step}"
            hint = (
                "Pass the state of fnn.init again, as in the first call: fit loads the newest one from the folder. "
                "To train another network, pass another folder."
            )
    fail(where, expected=expected, got=got, hint=hint)


def _below(prefix: str, leaves: Mapping[str, Array]) -> dict[str, Array]:
    """The leaves under a prefix, by the rest of their path."""
    return {name.removeprefix(f"{prefix}/"): leaf for name, leaf in leaves.items() if name.startswith(f"{prefix}/")}


def settings_of(
    task: Task, ts: TrainState, data: Data, validation_data: Data | None, options: Options
) -> dict[str, object]:
    """The settings that identify a run, as texts and numbers; `identity_of_state` is the last of them.

    A task is identified by its text, without addresses of functions, and, with arrays as data, by the program of a
    step, which covers everything inside layers and losses but the values of arrays that they close over. Arrays are
    identified by their shape, dtype and some rows, iterables by their type.
    """
    settings: dict[str, object] = {**options.of_run()}
    settings["task"] = [_VERSIONS, without_addresses(repr(task))]
    settings["callbacks"] = [
        type(callback).__name__ + (repr(callback.settings) if isinstance(callback, PureCallback) else "")
        for callback in options.callbacks
        if keeps_state(callback)
    ]
    settings |= {"data": _identity(data), "validation_data": _identity(validation_data)}
    if isinstance(data, Batch):
        settings["program"] = [_VERSIONS, _program(task, ts, data, options.rows)]
    return settings


def identity_of_state(ts: TrainState) -> list[object]:
    """The initial state of a run in its settings; a divided state is gathered, so all processes call it together."""
    return [fingerprint(ts), int(ts.step)]


def _program(task: Task, ts: TrainState, data: Batch, batch_size: int) -> str:
    """A fingerprint of the traced training step."""
    rows = min(batch_size, rows_of(data))
    batch = jax.tree.map(lambda a: a[:rows], data)
    task = task.placed(None)  # a run may continue on other devices
    program = jax.make_jaxpr(lambda ts, batch: step_and_totals(task, ts, batch))(*shape_of((ts, batch)))
    return hashlib.blake2b(program_text(program).encode(), digest_size=8).hexdigest()


def _identity(data: Data | None) -> object:
    """The text that identifies data, see `settings_of`."""
    if data is None:
        return None
    if not isinstance(data, Batch):
        return type(data).__name__
    some = jax.tree.map(some_rows, data.parts)
    return [*(describe(leaf) for leaf in jax.tree.leaves(data)), fingerprint(some)]


@contextlib.contextmanager
def _lock(file: TextIO) -> Iterator[bool]:
    """Whether the file could be locked; the lock ends with the process, even if it is killed."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    except (ImportError, OSError):  # Windows, or a file system without locks
        yield True
        return
    try:
        yield True
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough if a child process has the file open too
