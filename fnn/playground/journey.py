"""The way of one experiment through time: epochs, changes, and the states that are kept to go back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from .experiment import Event, Experiment, Moment, Weight, advance, apply, check_weight, evaluate, start
from .settings import Penalty, RefusalError

STORED_BYTES = 8 * 2**20
"""Memory for the states that one visitor keeps; beyond it every other one is dropped."""
CHANGES = 2000
"""Changes on the way of one experiment at most; one that replaces another of the same epoch does not count."""
HISTORY = 4000
"""Points of the loss curve; beyond it every other one is dropped."""


class Losses(NamedTuple):
    """Loss and accuracy (None for regression) on the training and the test rows."""

    train: float
    test: float
    train_accuracy: float | None
    test_accuracy: float | None


class Journey:
    """An experiment, the current moment, what happened on the way, and the states kept to go back to.

    Attributes:
      now: the current moment.
      reached: the last epoch that time travel can go to.
      events: all changes in order, those after ``now`` too until training goes on from there.
      history: loss and accuracy by epoch, where they were measured.
    """

    def __init__(self, experiment: Experiment, moment: Moment | None = None) -> None:
        self.experiment = experiment
        self.now = start(experiment) if moment is None else moment
        self.reached = 0
        self.events: list[Event] = []
        self.history: dict[int, Losses] = {}
        self._states = {0: self.now}
        self._every = 1  # epochs between kept states
        self._underway: Moment | None = None  # where `go` was when it made room
        self.measure()

    def measure(self) -> Losses:
        """Loss and accuracy now, which the history keeps."""
        experiment, ts = self.experiment, self.now.ts
        if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(ts.params)):
            train = evaluate(experiment, ts, experiment.train)
            test = evaluate(experiment, ts, experiment.test)
            found = Losses(train["loss"], test["loss"], train.get("accuracy"), test.get("accuracy"))
        else:  # training diverged
            found = Losses(math.nan, math.nan, math.nan, math.nan)
        self.history[self.now.epoch] = found
        if len(self.history) > HISTORY:
            thinned = dict(sorted(self.history.items())[::2])
            self.history = thinned | {self.now.epoch: found}
        return found

    def train(self, epochs: int, stop: Callable[[], bool] = lambda: False) -> int:
        """Train for some epochs, or until ``stop`` says so after one of them; returns how many."""
        self._forget_later()
        for done in range(1, epochs + 1):
            self.now = advance(self.experiment, self.now)
            self.reached = self.now.epoch
            self._keep(self.now)
            if stop():
                return done
        return epochs

    def change(self, change: dict[str, float] | Penalty | Weight) -> None:
        """Change something now.

        Raises:
          RefusalError: for a weight that the network does not have, and for too many changes.
        """
        if isinstance(change, Weight):
            check_weight(self.experiment, self.now.ts, change)
        event = Event(self.now.epoch, change)
        changed = apply(self.now, event)
        kept = [one for one in self.events if one.epoch <= self.now.epoch and not replaces(event, one)]
        if len(kept) >= CHANGES:
            spanish = f"hay {CHANGES} cambios ya; reinicia el experimento."
            raise RefusalError("do", f"there are {CHANGES} changes already; reset the experiment.", spanish)
        self._forget_later()
        self.events = [*kept, event]
        self._underway = None
        self.now = changed

    def go(self, epoch: int, stop: Callable[[], bool] = lambda: False) -> bool:
        """Return to the state after an epoch, bit for bit; False if ``stop`` came before it, to be called again.

        Raises:
          RefusalError: for an epoch that was not reached.
        """
        if not 0 <= epoch <= self.reached:
            spanish = f"se esperaba una época de 0 a {self.reached}, llegó {epoch}."
            raise RefusalError("epoch", f"expected an epoch from 0 to {self.reached}, got {epoch}.", spanish)
        moment = self._states[max(kept for kept in self._states if kept <= epoch)]
        if self._underway is not None and moment.epoch < self._underway.epoch <= epoch:
            moment = self._underway
        self._underway = None
        while True:
            for event in self.events:
                if event.epoch == moment.epoch:
                    moment = apply(moment, event)
            if moment.epoch == epoch:
                self.now = moment
                return True
            moment = advance(self.experiment, moment)
            if (len(self._states) + 1) * size_of(moment) <= STORED_BYTES:
                self._states[moment.epoch] = moment
            if stop() and moment.epoch < epoch:
                self._underway = moment
                return False

    def path(self, most: int) -> list[Moment]:
        """The kept states up to now and the current one, thinned evenly to about ``most``."""
        kept = [moment for epoch, moment in sorted(self._states.items()) if epoch < self.now.epoch]
        step = -(-len(kept) // max(1, most - 1)) or 1
        return [*kept[::step], self.now]

    def _forget_later(self) -> None:
        """Drop what was reached after the current epoch."""
        now = self.now.epoch
        self._underway = None
        if self.reached == now:
            return
        self.reached = now
        self.events = [event for event in self.events if event.epoch <= now]
        self._states = {epoch: kept for epoch, kept in self._states.items() if epoch <= now}
        self.history = {epoch: losses for epoch, losses in self.history.items() if epoch <= now}

    def _keep(self, moment: Moment) -> None:
        """Keep a state as it is before the events of its epoch."""
        if moment.epoch % self._every == 0:
            self._states[moment.epoch] = moment
        while len(self._states) * size_of(moment) > STORED_BYTES and self._every < 2**30:
            self._every *= 2
            self._states = {epoch: kept for epoch, kept in self._states.items() if epoch % self._every == 0}


def replaces(event: Event, old: Event) -> bool:
    """Whether nothing is left of an old change after this one: a slider that was dragged is one change."""
    if event.epoch != old.epoch:
        return False
    match event.change, old.change:
        case Penalty(), Penalty():
            return True
        case Weight() as new, Weight() as before:
            return new[:3] == before[:3]
        case dict() as new, dict() as before:
            return before.keys() <= new.keys()
    return False


def size_of(moment: Moment) -> int:
    """The memory of a kept state, in bytes; every array costs some beside its numbers."""
    return sum(leaf.nbytes + 500 for leaf in jax.tree.leaves(moment.ts))
