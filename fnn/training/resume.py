"""The checkpoints of `fit`: written while it trains, and taken up when the same call is made again."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from .._checks import check_count, describe, fail
from .._fingerprint import fingerprint
from .._tree import from_paths
from ..checkpoint import DamagedError, load, load_beside, load_info, save_with, temporary_files
from .callbacks import Callback, PureCallback
from .sources import Start
from .state import Task, TrainState
from .step import size_of

_NAME = "step-{:09d}.safetensors"
_ROWS = 64  # of the data, by which a run is known again


class CheckpointError(OSError):
    """A checkpoint of `fit` could not be written, such as on a full disk; nothing that was reached is lost.

    Attributes:
      ts: the `TrainState` reached.
      history: the `History` up to it.
    """

    ts: Any = None
    history: Any = None


class Standing(NamedTuple):
    """Where a run of `fit` stands: all that another process needs to go on as if nothing had happened.

    Attributes:
      ts: the state.
      made: training steps made in this run.
      epoch: epochs that are complete.
      start: where in the next epoch; None at its beginning.
      logs: values of that epoch so far.
      seconds: spent on it.
      history: of the complete epochs.
      stopped: whether a callback ended the training.
      stream: what the iterable's ``state()`` said, None without one.
    """

    ts: TrainState
    made: int = 0
    epoch: int = 0
    start: Start | None = None
    logs: dict[str, float] = {}  # noqa: RUF012 (never written to)
    seconds: float = 0.0
    history: dict[str, list[float]] = {}  # noqa: RUF012
    stopped: bool = False
    stream: Any = None


class Checkpoints:
    """A folder with the checkpoints of one run, the newest of which is taken up.

    Args:
      folder: made if missing.
      every: "epoch", or a number of steps.
      keep: how many files stay; None keeps all.
      callbacks: those of `fit`, whose memories are kept too.
      settings: by name texts or numbers that must be the same when the run is taken up.
      describe_model: gives the text that is stored as ``model``.
    """

    def __init__(
        self,
        folder: Any,
        every: Any,
        keep: int | None,
        callbacks: tuple[Callback, ...],
        settings: dict[str, Any],
        describe_model: Callable[[], str],
    ) -> None:
        self.folder, self.keep = os.fspath(folder), keep
        self.callbacks = tuple(callback for callback in callbacks if keeps_memory(callback))
        self.every = None if every == "epoch" else int(every)
        self.settings, self.describe_model = settings, describe_model
        self.text: str | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[Checkpoints]:
        """The folder, made and tried out, while no other process writes into it."""
        where = f"checkpoint {self.folder!r}"
        if os.path.lexists(self.folder) and not os.path.isdir(self.folder):
            fail(where, expected="a folder", got="a file")
        try:
            os.makedirs(self.folder, exist_ok=True)
            lock = open(os.path.join(self.folder, ".lock"), "w")  # noqa: SIM115 (closed below)
        except OSError as error:
            message = f"fit: {error.strerror}; checkpoints cannot be written there, and nothing was trained"
            raise type(error)(error.errno, message, self.folder) from error
        with lock:
            if not _locked(lock):
                hint = "Give each run a folder of its own."
                fail(where, expected="a folder that no other training uses", got="one in use", hint=hint)
            for path in temporary_files(self.folder):  # of a process that was killed while it wrote
                os.unlink(path)
            yield self

    def paths(self) -> list[str]:
        """The files of the run, the oldest first."""
        found = glob.glob(os.path.join(glob.escape(self.folder), "step-*.safetensors"))
        names = {path: re.fullmatch(r"step-(\d{9,})\.safetensors", os.path.basename(path)) for path in found}
        return sorted((path for path, name in names.items() if name), key=lambda path: int(names[path][1]))  # type: ignore[index]

    def latest(self, ts: TrainState) -> Standing | None:
        """The newest undamaged checkpoint, None in an empty folder.

        Args:
          ts: the state that `fit` was given, with which the run must have begun.

        Raises:
          InputError: when the folder holds another run, or when every file in it is damaged.
        """
        damaged = []
        for path in reversed(self.paths()):
            try:
                return self._read(path, ts)
            except DamagedError as error:
                os.replace(path, path + ".damaged")
                damaged.append(path)
                text = f"fit: {error} It was renamed to *.damaged, and the checkpoint before it is taken."
                warnings.warn(text, RuntimeWarning, stacklevel=4)
        if damaged:
            hint = "Give another folder to begin anew."
            fail(f"checkpoint {self.folder!r}", expected="an undamaged file", got="damaged ones only", hint=hint)
        return None

    def _read(self, path: str, ts: TrainState) -> Standing:
        info = load_info(path)
        about = info.extra.get("fit") if isinstance(info.extra, dict) else None
        where = f"checkpoint {self.folder!r}"
        if about is None:
            hint = "Give fit a folder of its own."
            fail(where, expected="checkpoints of fit(checkpoint=...)", got=os.path.basename(path), hint=hint)
        self._compare(where, about["settings"])
        beside = load_beside(path)
        start = None
        if about["start"] is not None:
            totals = {name.removeprefix("totals/"): leaf for name, leaf in beside.items() if name.startswith("totals/")}
            step, done = about["start"]
            start = Start(step, done, totals)
        for i, (callback, memory) in enumerate(zip(self.callbacks, about["callbacks"], strict=True)):
            if isinstance(callback, PureCallback):
                if memory is None:  # it was never called
                    continue
                prefix = f"callbacks/{i}/"
                own = {name.removeprefix(prefix): leaf for name, leaf in beside.items() if name.startswith(prefix)}
                callback.restore(from_paths(f"{where}, callback {i}", callback.start(ts), own))
            elif memory is not None:
                callback.restore(memory)  # type: ignore[attr-defined]
        return Standing(
            load(path, ts),
            about["made"],
            about["epoch"],
            start,
            about["logs"],
            about["seconds"],
            {name: list(values) for name, values in (info.history or {}).items()},
            about["stopped"],
            about["stream"],
        )

    def _compare(self, where: str, theirs: dict[str, Any]) -> None:
        for name, ours in self.settings.items():
            if theirs.get(name) != ours:
                hint = "To go on, make the call that it was begun with (epochs may differ); else give another folder."
                if name == "state":
                    expected, got = "the state (seed, rates, parameters) that the run in it began with", "another one"
                elif name == "data":
                    expected, got = "the data that the run in it began with", "others"
                else:
                    expected, got = f"the {name} that the run in it began with, {theirs.get(name)}", str(ours)
                fail(where, expected=expected, got=got, hint=hint)

    def save(self, standing: Standing) -> None:
        """Write a checkpoint, then remove those that are older than the ones to keep."""
        self.text = self.text or self.describe_model()
        start, beside, memories = standing.start, dict[str, Any](), []
        if start is not None:
            beside["totals"] = start.totals
        for i, callback in enumerate(self.callbacks):
            if isinstance(callback, PureCallback):
                memory = callback.state()
                if memory is not None:
                    beside.setdefault("callbacks", {})[str(i)] = memory
                memories.append(None if memory is None else True)
            else:
                memories.append(callback.state())  # type: ignore[attr-defined]
        about = {
            "settings": self.settings,
            "made": standing.made,
            "epoch": standing.epoch,
            "start": None if start is None else [start.step, start.done],
            "logs": standing.logs,
            "seconds": standing.seconds,
            "stopped": standing.stopped,
            "stream": standing.stream,
            "callbacks": memories,
        }
        path = os.path.join(self.folder, _NAME.format(standing.made))
        try:
            save_with(path, standing.ts, beside, history=standing.history, extra={"fit": about}, model=self.text)
        except OSError as error:
            good = [found for found in self.paths() if found != path]
            last = f"the last good checkpoint is {good[-1]!r}" if good else "there is no earlier checkpoint"
            message = f"{error.strerror}; {last}; the state reached is .ts of this error, its history .history"
            wrapped = CheckpointError(error.errno, message, path)
            wrapped.ts, wrapped.history = standing.ts, standing.history
            raise wrapped from error
        if self.keep is not None:
            for old in self.paths()[: -self.keep]:
                os.unlink(old)


def keeps_memory(callback: Any) -> bool:
    """Whether a callback has something to be kept in a checkpoint: ``state()`` and ``restore(state)``."""
    return all(callable(getattr(callback, name, None)) for name in ("state", "restore"))


def check_every(every: Any, keep: Any) -> None:
    """Refuse other settings than "epoch" or a number of steps, and a number of files."""
    if every != "epoch":
        if isinstance(every, str):
            fail("fit", expected="every='epoch' or a number of steps", got=repr(every))
        check_count("fit", "every", every)
    if keep is not None:
        check_count("fit", "keep", keep)


def settings_of(task: Task, ts: TrainState, data: Any, callbacks: tuple[Callback, ...], **named: Any) -> dict[str, Any]:
    """What a run is known by: if all this is the same, so is every number that follows.

    Args:
      task: by its text, without addresses of functions.
      ts: the state that training starts from, by its fingerprint.
      data: arrays by shape, dtype and some rows; None for an iterable.
      callbacks: by kind.
      **named: arguments of `fit`.
    """
    settings: dict[str, Any] = {
        name: value if isinstance(value, (int, str)) else repr(value) for name, value in named.items()
    }
    settings["task"] = re.sub(r" at 0x[0-9a-f]+", "", repr(task))
    settings["callbacks"] = [type(callback).__name__ for callback in callbacks if keeps_memory(callback)]
    if data is not None:
        rows = np.unique(np.linspace(0, size_of(data) - 1, _ROWS).astype(int))
        some = jax.tree.map(lambda a: np.asarray(a[rows]), data)
        settings["data"] = [*(describe(leaf) for leaf in jax.tree.leaves(data)), fingerprint(some)]
    settings["state"] = fingerprint(ts)
    return settings


def _locked(file: Any) -> bool:
    """Whether the file could be locked; the lock goes with the process, also a killed one."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
