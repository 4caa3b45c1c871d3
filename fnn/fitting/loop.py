"""The loop of `fit`."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Generator, Sequence
from typing import NoReturn

import numpy as np

from .._core.checks import keeps_state
from .._core.errors import counted, describe, fail
from .._core.fingerprint import fingerprint
from .._core.processes import agreeing, exchanged, is_first, is_together, spans
from .._core.trees import copied, paths
from .._core.warn import warn
from ..training.placed import on_devices
from ..training.state import TrainState, check_state
from ..training.stopping import PureCallback, StopTraining
from ..training.task import Task
from .callbacks import Callback, OnBatch, WithoutState
from .checkpoints import Checkpoints
from .evaluate import measure_data
from .guard import NonFiniteError
from .inputs import Slices, is_stream, warn_of_nan
from .interrupts import Interrupt
from .plan import FitPlan
from .progress import History, Progress, as_floats
from .sources import EpochPosition, EpochUpdate, RunPosition
from .streams import restore_stream
from .watchdog import AgreedExit, busy_for_all, computing, inside


class FitLoop:
    """The loop of `fit`: epochs with progress, validation, callbacks and checkpoints."""

    def __init__(self, plan: FitPlan, checkpoints: Checkpoints | None, interrupted: Interrupt) -> None:
        self.plan, self.checkpoints, self.interrupted = plan, checkpoints, interrupted
        self.options, self.source, self.callbacks = plan.options, plan.source, plan.options.callbacks
        self.on_batch = [callback for callback in self.callbacks if isinstance(callback, OnBatch)]
        self.progress = Progress(self.options.verbose if is_first() else 0, self.options.epochs)
        self.saved: object = None  # the identity of the position that was written last
        self.warned_of_nan = False

    def run(self, ts: TrainState) -> tuple[TrainState, History]:
        """Train from the given state, or continue from a checkpoint of the same run."""
        position = self._resume(ts) or self._begin(ts)
        history = position.history
        while position.epoch < self.options.epochs and not (position.stopped or self.source.exhausted):
            position = self._epoch(position)
            if self.interrupted():
                break
        if self.source.exhausted:
            asked = f"{counted(self.options.epochs, 'epoch')} of {self.source.total} steps"
            warn(f"fit: the iterable ran out of batches after step {position.made} of {asked}. Training ends here.")
        over = not position.stopped and (position.epoch >= self.options.epochs or self.source.exhausted)
        ts = _finish(self.callbacks, position.ts) if over else position.ts
        if position.within_epoch is None:
            self._save(position)
        history.interrupted = self.interrupted.at_the_end()
        if history.interrupted and self.progress.verbose:
            older = self.checkpoints is not None and self.saved != position.identity
            note = "; the checkpoint is that of the start of the epoch" if older else ""
            print(f"interrupted at step {int(ts.step)}; the current state is returned{note}", flush=True)
        if self.interrupted.signal == signal.SIGTERM:
            self._exit_together(position)
        return ts, history

    def _exit_together(self, position: RunPosition) -> NoReturn:
        """End all processes, as SIGTERM asked one of them to."""
        saved = "nothing is saved"
        if self.checkpoints is not None:
            older = " (the start of the epoch)" * (self.saved != position.identity)
            saved = f"the same call continues from the checkpoint in {self.checkpoints.folder!r}{older}"
        text = f"fit: SIGTERM ends all processes at step {int(position.ts.step)}; {saved}"
        if is_first():
            print(text, file=sys.stderr, flush=True)
        raise AgreedExit(128 + signal.SIGTERM)

    def _begin(self, ts: TrainState) -> RunPosition:
        """The initial position. It is also saved, so that an unwritable folder is reported before training starts."""
        ts, stream, validation = _private_copy(self.plan.task, ts), self._stream_state(), self._validation_state()
        position = RunPosition(ts=ts, history=History(), stream=stream, validation=validation)
        if self.checkpoints is not None:
            for callback in self.callbacks:
                if isinstance(callback, PureCallback):
                    callback.restore(None)  # it may have served an earlier training
            self._save(position)
        return position

    def _resume(self, ts: TrainState) -> RunPosition | None:
        """The position of the newest checkpoint, if there is one."""
        if self.checkpoints is None:
            return None
        with busy_for_all("reading a checkpoint"):
            position = self.checkpoints.latest(ts)
        if position is None:
            return None
        folder, epochs = self.checkpoints.folder, self.options.epochs
        if position.epoch > epochs:
            hint = "Raise epochs, or pass another folder."
            got = f"{epochs}, but the run in {folder!r} has completed {counted(position.epoch, 'epoch')}"
            fail("fit", expected="a number of epochs that is not exceeded yet", got=got, hint=hint)
        self.saved = position.identity
        over, note = position.stopped or position.epoch >= epochs, ""
        if position.stopped:
            note = f"complete: a callback stopped this training after epoch {position.epoch} ({folder})"
        elif over:
            note = f"complete: all {position.epoch} epochs are done ({folder})"
        elif position.made:
            note = f"resumed at epoch {position.epoch + 1}, step {int(position.ts.step)} from {folder}"
        if note and self.progress.verbose:
            print(note, flush=True)
        if not over:
            validation_data = self.plan.validation_data
            with inside("the restore of its iterables"):
                self.source.restore(position.stream)
                if is_stream(validation_data) and not isinstance(validation_data, Slices):
                    restore_stream(validation_data, position.validation)
        return position._replace(ts=_private_copy(self.plan.task, position.ts))

    def _stream_state(self) -> object:
        """The saved position of an iterable of training data."""
        with inside("the state() of its iterable"):
            return self.source.state()

    def _validation_state(self) -> object:
        """The saved position of an iterable of validation data."""
        data = self.plan.validation_data
        with inside("the state() of its validation data"):
            return data.state() if keeps_state(data) else None

    def _save(self, position: RunPosition) -> None:
        if self.checkpoints is not None and self.saved != position.identity:
            with busy_for_all("writing a checkpoint"):
                self.checkpoints.save(position)
            self.saved = position.identity

    def _epoch(self, position: RunPosition) -> RunPosition:
        """The position after the next epoch; after Ctrl-C the position within it."""
        started = time.perf_counter() - position.seconds
        history, within = position.history, position.within_epoch
        self.progress.start(position.epoch, self.source.total, 0 if within is None else within.done)
        logs: dict[str, float] = {}
        try:
            position, logs = self._train(position, started)
            if logs:
                logs |= self._validate(position.ts)
        except NonFiniteError as error:
            error.keep(History({name: values[: error.epoch] for name, values in history.items()}))
            raise
        finally:
            self.progress.end(position.epoch, logs, time.perf_counter() - started)
        if not logs:  # Ctrl-C within the epoch, or an iterable that ran out before its first step
            return position
        history.record({**logs, "seconds": time.perf_counter() - started})
        _warn_once(history, self.source.hooks.guard is not None)
        latest = {name: values[-1] for name, values in history.items()}
        ts, stop = _call_back(self.plan.task, self.callbacks, position.epoch, position.ts, latest, position.stopped)
        stream, validation = self._stream_state(), self._validation_state()
        position = position._replace(
            ts=ts, epoch=position.epoch + 1, stopped=stop, stream=stream, validation=validation
        )
        if stop and self.progress.verbose:
            print(f"stopped after epoch {position.epoch}; the state of step {int(ts.step)} is returned", flush=True)
        if self.checkpoints is not None and self.checkpoints.due(position.made):
            self._save(position)
        return position

    def _validate(self, ts: TrainState) -> dict[str, float]:
        """The values of the validation data, with their names in the history."""
        data = self.plan.validation_data
        if data is None:
            return {}
        values, nan_rows = measure_data(self.plan.task, ts, data, self.options.eval_batch_size)
        computing("training")
        # A loss that is not finite has its own warning.
        if math.isfinite(values["loss"]) and not self.warned_of_nan:
            self.warned_of_nan = warn_of_nan("fit, validation_data", nan_rows)
        return {f"val_{name}": value for name, value in values.items()}

    def _train(self, position: RunPosition, started: float) -> tuple[RunPosition, dict[str, float]]:
        """The position after the epoch's last step, with its logs.

        Without logs: the position within the epoch, after Ctrl-C, or the same one, where the iterable has run out.
        """
        source, task, within = self.source, self.plan.task, position.within_epoch
        first_step = int(position.ts.step) if within is None else within.first_step
        update, stopped = None, False
        computing("training")
        with contextlib.closing(source.updates(position, self.progress.period)) as updates:
            while not stopped and (following := _next(updates, update)) is not None:
                computing("training", following.logs)
                update, stopped = self._after_steps(first_step, following)
                self.progress.refresh(update.done, task, update.logs)
                interrupted = self.interrupted()
                due = self.checkpoints is not None and self.checkpoints.due(update.made, within=True)
                # At the end of an epoch, _epoch saves after validation and callbacks.
                if update.done != source.total and (due or interrupted):
                    position = self._pause(position, update, first_step, started)
                    if interrupted:
                        return position, {}
        if update is None:  # no step was left of a continued epoch, or of an iterable
            logs = as_floats(task, position.logs)
        else:
            logs = as_floats(task, update.logs)
            self.progress.advance(update.done, logs)
            # After the epoch others may read the state; otherwise an occasional check is enough.
            last = position.epoch + 1 == self.options.epochs or self.interrupted()
            if last or self.callbacks or self.checkpoints is not None or not math.isfinite(logs["loss"]):
                self._look(update)
            position = position._replace(ts=update.ts, made=update.made)
        if not logs:
            return position, {}
        ts, history, made, epoch = position.ts, position.history, position.made, position.epoch
        return RunPosition(ts=ts, history=history, made=made, epoch=epoch, stopped=stopped), logs

    def _pause(self, position: RunPosition, update: EpochUpdate, first_step: int, started: float) -> RunPosition:
        """The position within an epoch after an update; saved if training can continue from there."""
        self._look(update)
        position = position._replace(
            ts=update.ts,
            made=update.made,
            within_epoch=EpochPosition(first_step=first_step, done=update.done, totals=paths(update.totals)),
            logs=as_floats(self.plan.task, update.logs),
            seconds=time.perf_counter() - started,
            stream=update.stream,
            validation=self._validation_state(),
        )
        if self.source.resumable:
            self._save(position)
        return position

    def _look(self, update: EpochUpdate) -> None:
        """Let the guard look at a state before others read it."""
        if self.source.hooks.guard is not None:
            self.source.hooks.guard.look(update.ts, update.totals)

    def _after_steps(self, first_step: int, update: EpochUpdate) -> tuple[EpochUpdate, bool]:
        """Call the functions that are due: the update with the state that they leave, and whether one stopped."""
        due = [callback.fn for callback in self.on_batch if update.made % callback.every == 0]
        if not due:
            return update, False
        step, logs = first_step + update.done, as_floats(self.plan.task, update.logs)
        ts, stop = _call_back(self.plan.task, due, step, update.ts, logs, False)
        if ts is not update.ts:
            self._look(update)  # the guard cannot repeat such a change
        return update._replace(ts=ts), stop


def _next(updates: Generator[EpochUpdate, TrainState | None, None], latest: EpochUpdate | None) -> EpochUpdate | None:
    """The update after the latest one, whose state a function may have replaced; None after the last."""
    try:
        return updates.send(None if latest is None else latest.ts)
    except StopIteration:
        return None


def _warn_once(history: History, guarded: bool) -> None:
    """Warn when the loss stops being finite."""
    *before, val_loss = history.get("val_loss", [0.0])
    if not np.isfinite(val_loss) and np.isfinite(before).all() and np.isfinite(history["loss"][-1]):
        warn(f"fit: val_loss is {val_loss} in epoch {len(before) + 1}, while the training loss is finite.")
    *before, loss = history["loss"]
    if not np.isfinite(loss) and np.isfinite(before).all():
        more = "" if guarded else " With fit(..., check='finite') the first step and layer are named."
        warn(
            f"fit: the loss is {loss} in epoch {len(before) + 1}. The learning rate may be too high (or clip the "
            f"gradients: fnn.clip_by_global_norm), or ids may be outside the range of the layer that reads them.{more}"
        )


def _private_copy(task: Task, ts: TrainState) -> TrainState:
    """A copy of the state that nobody else holds, since training steps donate it; on the devices of the task."""
    if is_together():  # all compare, also a process whose callback changed nothing
        with agreeing("callback", {"new values": "The state is the same on every process."}) as facts:
            own = {path: leaf for path, leaf in paths(ts).items() if not spans(leaf)}
            facts["new values"] = fingerprint(own)
        ts = on_devices(task, ts)
    return on_devices(task, copied(ts))


def _call_back(
    task: Task, callbacks: Sequence[Callback], number: int, ts: TrainState, logs: dict[str, float], stop: bool
) -> tuple[TrainState, bool]:
    """Call every callback: the state after their changes, and whether one asked to stop, or ``stop`` said so before.

    All of them run, so that a log gets its last row. The first request with a state decides which one to return.
    """
    chosen = None
    for callback in callbacks:
        if isinstance(callback, OnBatch):  # which is called after steps
            continue
        asked, state = _agreed(*_called(callback, number, ts, logs))
        if asked:
            stop, chosen = True, chosen or state
        elif state is not None:
            ts = _private_copy(task, state)
    if chosen is not None:
        return _private_copy(task, chosen), True
    return (_finish(callbacks, ts) if stop else ts), stop


def _called(callback: Callback, number: int, ts: TrainState, logs: dict[str, float]) -> tuple[bool, TrainState | None]:
    """Whether a callback asked to stop, and the state that it returned or stopped with."""
    # A callback may keep its state, so it gets a copy that no later step donates.
    try:
        with inside("a callback"):
            changed = callback(number, ts if isinstance(callback, WithoutState) else copied(ts), dict(logs))
    except StopTraining as request:
        if request.ts is not None:
            check_state(request.ts, "StopTraining", "a TrainState to return")
        return True, request.ts
    if changed is not None and not isinstance(changed, TrainState):
        hint = "To stop, raise fnn.StopTraining."
        if callable(changed) and not isinstance(changed, type):
            hint = "Is it a function that makes a callback? Call it, and pass what it returns."
        fail("callback", expected="None or a TrainState", got=describe(changed), hint=hint)
    return False, changed


def _agreed(stop: bool, state: TrainState | None) -> tuple[bool, TrainState | None]:
    """Whether to stop, as process 0 says; refuses a state from some processes alone."""
    if not is_together():
        return stop, state
    found = exchanged(stop, state is not None)
    if len(set(found[:, 1].tolist())) > 1:
        got = " and ".join(f"{'one' if given else 'none'} on process {i}" for i, given in enumerate(found[:, 1]))
        fail("callback", expected="a TrainState from every process or from none", got=got)
    return bool(found[0, 0]), state


def _finish(callbacks: Sequence[Callback], ts: TrainState) -> TrainState:
    """The state to return after the last epoch; early stopping may choose the best one."""
    for callback in callbacks:
        if isinstance(callback, PureCallback):
            with inside("a callback"):
                ts = callback.finish(ts)
    return ts
