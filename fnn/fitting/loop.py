"""The loop of `fit`."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._core.checks import keeps_state
from .._core.errors import describe, fail
from .._core.trees import copied, paths
from .._core.warn import warn
from ..metrics.names import NAN_ROWS
from ..training.state import TrainState
from ..training.stopping import PureCallback, StopTraining
from ..training.task import Task
from .callbacks import Callback
from .checkpoints import Checkpoints, Standing
from .evaluate import evaluate_checked
from .guard import NonFiniteError
from .history import History
from .inputs import Slices, is_stream, warn_of_nan
from .pieces import Start
from .progress import Progress, as_floats
from .sources import Source
from .streams import restore_stream


def _place(at: Standing) -> Any:
    """What tells one standing of a run from another."""
    return at.made, at.epoch, at.start is None, at.stopped


class Loop:
    """The loop of `fit`: epochs with progress, validation, callbacks and checkpoints."""

    def __init__(
        self,
        task: Task,
        source: Source,
        validation_data: Any,
        eval_batch_size: int,
        callbacks: Sequence[Callback],
        epochs: int,
        kept: Checkpoints | None,
        interrupted: Callable[[], bool],
        progress: Progress,
    ) -> None:
        self.task, self.source = task, source
        self.validation_data, self.eval_batch_size = validation_data, eval_batch_size
        self.callbacks, self.epochs, self.kept = callbacks, epochs, kept
        self.interrupted, self.progress = interrupted, progress
        self.saved: Any = None  # where the last checkpoint was written
        self.warned = False

    def run(self, ts: TrainState) -> tuple[TrainState, History]:
        """Train from the state given, or from a checkpoint of the same run."""
        at = self._resumed(ts) or self._begun(ts)
        history = History({name: list(values) for name, values in at.history.items()})
        while at.epoch < self.epochs and not at.stopped:
            at, complete = self._epoch(at, history)
            if not complete or self.interrupted():
                break
        ts = at.ts if at.stopped or at.epoch < self.epochs else _finish(self.callbacks, at.ts)
        if at.start is None:
            self._save(at)
        history.interrupted = self.interrupted()
        if history.interrupted and self.progress.verbose:
            kept = self.kept is not None and self.saved != _place(at)
            note = "; the checkpoint is that of the epoch's beginning" if kept else ""
            print(f"interrupted at step {int(ts.step)}; the state reached is returned{note}", flush=True)
        return ts, history

    def _begun(self, ts: TrainState) -> Standing:
        """The beginning, of which there is a checkpoint too: what cannot be written is met before any training."""
        at = Standing(copied(ts), stream=self.source.standing(), validation=self._validation())
        if self.kept is not None:
            self.kept.begin()
            self._save(at)
        return at

    def _resumed(self, ts: TrainState) -> Standing | None:
        """Where an earlier process left off, if one did."""
        at = None if self.kept is None else self.kept.latest(ts)
        if at is None or self.kept is None:
            return None
        if at.epoch > self.epochs:
            hint = "Raise epochs, or give another folder."
            got = f"{self.epochs}, where the run in {self.kept.folder!r} is behind {at.epoch} epochs"
            fail("fit", expected="epochs that are not over", got=got, hint=hint)
        self.saved = _place(at)
        over = at.stopped or at.epoch >= self.epochs
        if self.progress.verbose and at.stopped:
            print(f"complete: a callback ended this training after epoch {at.epoch} ({self.kept.folder})", flush=True)
        elif self.progress.verbose and over:
            print(f"complete: all {at.epoch} epochs are done ({self.kept.folder})", flush=True)
        elif self.progress.verbose and at.made:
            print(f"resumed at epoch {at.epoch + 1}, step {int(at.ts.step)} from {self.kept.folder}", flush=True)
        if not over:
            self.source.restore(at.stream)
            if is_stream(self.validation_data) and not isinstance(self.validation_data, Slices):
                restore_stream(self.validation_data, at.validation)
        return at._replace(ts=copied(at.ts))

    def _validation(self) -> Any:
        """Where an iterable of validation data stands."""
        return self.validation_data.state() if keeps_state(self.validation_data) else None

    def _save(self, at: Standing) -> None:
        if self.kept is not None and self.saved != _place(at):
            self.kept.save(at)
            self.saved = _place(at)

    def _epoch(self, at: Standing, history: History) -> tuple[Standing, bool]:
        """The standing behind the next epoch, and True; or within it, and False, when Ctrl-C came before its end."""
        started = time.perf_counter() - at.seconds
        self.progress.start(at.epoch, self.source.total, 0 if at.start is None else at.start.done)
        logs: dict[str, float] = {}
        try:
            at, logs = self._steps(at, started)
            if at.start is None and self.validation_data is not None:
                seen = evaluate_checked(self.task, at.ts, self.validation_data, self.eval_batch_size)
                rows = seen.pop(NAN_ROWS.name)
                # A loss that is not finite is told anyway.
                if math.isfinite(seen["loss"]) and not self.warned:
                    self.warned = warn_of_nan("fit, validation_data", rows)
                logs |= {f"val_{name}": value for name, value in seen.items()}
        except NonFiniteError as error:
            error.history = History({name: values[: error.epoch] for name, values in history.items()})
            raise
        finally:
            self.progress.end(at.epoch, logs if at.start is None else {}, time.perf_counter() - started)
        if at.start is not None:
            return at, False
        history.record({**logs, "seconds": time.perf_counter() - started})
        _warn_once(history, self.source.guard is not None)
        ts, stop = _call_back(self.callbacks, at.epoch, at.ts, history)
        stream, validation = self.source.standing(), self._validation()
        at = Standing(ts, at.made, at.epoch + 1, history=history, stopped=stop, stream=stream, validation=validation)
        if stop and self.progress.verbose:
            print(f"stopped after epoch {at.epoch}; the state at step {int(ts.step)} is returned", flush=True)
        if self.kept is not None and (self.kept.every is None or at.made % self.kept.every == 0):
            self._save(at)
        return at, True

    def _steps(self, at: Standing, started: float) -> tuple[Standing, dict[str, float]]:
        """The standing behind the epoch's last step, with its values; or within it, without, after Ctrl-C."""
        source, every = self.source, None if self.kept is None else self.kept.every
        begin, done = (int(at.ts.step), 0) if at.start is None else (at.start.step, at.start.done)
        source.before = at.made - done
        guard, totals = source.guard, None
        if guard is not None:
            guard.epoch = at.epoch
        ts, logs, shown, refreshed = at.ts, dict(at.logs), done, time.perf_counter()
        with contextlib.closing(source.steps(ts, self.progress.period, at.start)) as chunks:
            for reached in chunks:
                ts, totals, logs = reached.ts, reached.totals, reached.logs
                done, now = done + reached.made, time.perf_counter()
                # Reading values waits for the device, so the bar does it a few times a second, not at every step.
                if self.progress.bar is not None and now - refreshed >= self.progress.period:
                    self.progress.advance(done - shown, as_floats(logs))
                    refreshed, shown = now, done
                made, asked = source.before + done, self.interrupted()
                due = every is not None and made % every == 0
                if done != source.total and (due or asked):
                    if guard is not None:
                        guard.look(ts, totals)
                    start, seconds, validation = Start(begin, done, paths(totals)), now - started, self._validation()
                    at = Standing(
                        ts,
                        made,
                        at.epoch,
                        start,
                        as_floats(logs),
                        seconds,
                        at.history,
                        False,
                        reached.stream,
                        validation,
                    )
                    if source.resumable:
                        self._save(at)
                    if asked:
                        return at, {}
        logs = as_floats(logs)
        self.progress.advance(done - shown, logs)
        if guard is not None and totals is not None:
            # Behind the epoch others see the state; else a look now and then will do.
            seen = bool(self.callbacks) or self.kept is not None or at.epoch + 1 == self.epochs
            if seen or self.interrupted() or not math.isfinite(logs["loss"]):
                guard.look(ts, totals)
        return Standing(ts, source.before + done, at.epoch, history=at.history), logs


def _warn_once(history: History, guarded: bool) -> None:
    """Say when the loss stops being finite."""
    *before, val_loss = history.get("val_loss", [0.0])
    if not np.isfinite(val_loss) and np.isfinite(before).all() and np.isfinite(history["loss"][-1]):
        text = f"fit: val_loss is {val_loss} in epoch {len(before) + 1}, while the training loss is finite."
        warn(text)
    *before, loss = history["loss"]
    if not np.isfinite(loss) and np.isfinite(before).all():
        more = "" if guarded else " With fit(..., check='finite') the first step and layer are named."
        warn(
            f"fit: the loss is {loss} in epoch {len(before) + 1}. The learning rate may be too high (or clip the "
            f"gradients: fnn.clip_by_global_norm), or ids may be outside the range of the layer that reads them.{more}"
        )


def _call_back(callbacks: Sequence[Callback], epoch: int, ts: TrainState, history: History) -> tuple[TrainState, bool]:
    """The state after each callback has seen it and possibly changed it, and whether one asked to stop.

    All are called, also behind one that asks to stop, so that a log has its last row. The state to return is that of
    the first such request which names one.
    """
    chosen, stop = None, False
    for callback in callbacks:
        # A callback may keep the state it is given, so it gets one that no later step gives up.
        try:
            changed = callback(epoch, copied(ts), {name: values[-1] for name, values in history.items()})
        except StopTraining as request:
            stop, chosen = True, chosen if request.ts is None else (chosen or request.ts)
            continue
        if changed is not None:
            if not isinstance(changed, TrainState):
                hint = "To stop, raise fnn.StopTraining."
                if callable(changed) and not isinstance(changed, type):
                    hint = "Is it a function that makes a callback? Call it, and pass what it returns."
                fail("callback", expected="None or a TrainState", got=describe(changed), hint=hint)
            ts = copied(changed)
    if chosen is not None:
        return copied(chosen), True
    return (_finish(callbacks, ts) if stop else ts), stop


def _finish(callbacks: Sequence[Callback], ts: TrainState) -> TrainState:
    """The state to return after the last epoch: early stopping may put the best in the place of the last."""
    for callback in callbacks:
        if isinstance(callback, PureCallback):
            ts = callback.finish(ts)
    return ts
