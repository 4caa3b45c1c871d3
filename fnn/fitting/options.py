"""The options of `fit`, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, cast

import jax
import numpy as np

from .._core.checks import check_count, check_range
from .._core.errors import fail
from .._core.jaxprs import without_addresses
from .._core.types import PyTree
from .callbacks import Callback, Path, as_callback
from .inputs import ClassWeight

# What the methods below know of an option:
COUNT = {"count": True}  # an integer of at least 1
COUNT_OR_NONE = COUNT | {"or_none": True}
OF_RUN = {"of_run": True}  # must stay the same when a run continues from its checkpoint
PER_PROCESS = {"per_process": True}  # may differ between processes that train together


@dataclasses.dataclass(frozen=True)
class Options:
    """The keyword arguments of `fit`, where their defaults and descriptions are."""

    epochs: int = field(metadata=COUNT)
    batch_size: int | None = field(metadata=COUNT_OR_NONE | OF_RUN)
    validation_data: PyTree | Iterable[PyTree] = field(metadata=PER_PROCESS)
    validation_split: float = field(metadata=OF_RUN)
    shuffle: bool = field(metadata=OF_RUN)
    drop_remainder: bool = field(metadata=OF_RUN)
    class_weight: ClassWeight | None = field(metadata=OF_RUN)
    callbacks: Sequence[Callback] = field(metadata=PER_PROCESS)
    verbose: int = field(metadata=PER_PROCESS)
    eval_batch_size: int = field(metadata=COUNT | OF_RUN)
    chunk_bytes: int | None = field(metadata=COUNT_OR_NONE)
    checkpoint: Path | None = field(metadata=PER_PROCESS)
    every: int | str
    keep: int | None = field(metadata=COUNT_OR_NONE)
    check: str | None
    steps_per_epoch: int | None = field(metadata=COUNT_OR_NONE | OF_RUN)
    validation_steps: int | None = field(metadata=OF_RUN)

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Options:
        """The options among the arguments of `fit`, with counts as Python's integers and callbacks as a tuple."""
        options = cls(**{option.name: given[option.name] for option in dataclasses.fields(cls)})
        counts: dict[str, Any] = {name: getattr(options, name) for name in _names("count")}
        counts = {name: count for name, count in counts.items() if count is not None or name not in _names("or_none")}
        for name, count in counts.items():
            check_count("fit", name, count)
        options._check_validation()
        options._check_choices()
        several = isinstance(options.callbacks, Iterable) and not callable(options.callbacks)
        callbacks = tuple(options.callbacks) if several else (cast(Callback, options.callbacks),)
        # A NumPy integer would compile the step again.
        counts = {name: int(count) for name, count in counts.items()}
        return dataclasses.replace(options, callbacks=tuple(map(as_callback, callbacks)), **counts)

    def _check_validation(self) -> None:
        split = self.validation_split
        if isinstance(split, (int, float, np.number)) and not 0 <= split < 1:
            hint = "All rows would be for validation." if split == 1 else ""
            fail("fit", expected="validation_split in [0, 1)", got=f"{split:g}", hint=hint)
        check_range("fit", "validation_split", split, 0, 1)
        if split and self.validation_data is not None:
            fail("fit", expected="either validation_data or validation_split", got="both")
        if self.validation_steps is not None and self.validation_data is None:
            fail("fit", expected="an iterable as validation_data with validation_steps", got="none")

    def _check_choices(self) -> None:
        if isinstance(self.every, str) and self.every != "epoch":
            fail("fit", expected="every='epoch' or a number of steps", got=repr(self.every))
        if self.every != "epoch":
            check_count("fit", "every", self.every)
        if self.verbose not in (0, 1, 2):
            fail("fit", expected="verbose 0, 1 or 2", got=repr(self.verbose))
        if self.check not in (None, "finite"):
            fail("fit", expected="check='finite' or None", got=repr(self.check))
        if self.checkpoint is None and (self.every, self.keep) != ("epoch", 2):
            hint = "Pass checkpoint='folder'."
            fail("fit", expected="a folder for checkpoints with every or keep", got="none", hint=hint)

    @property
    def rows(self) -> int:
        """Examples per step, for arrays."""
        return 32 if self.batch_size is None else self.batch_size

    def of_run(self) -> dict[str, str | float | None]:
        """The options that must stay the same when a run continues from its checkpoint, as texts and numbers."""
        return {name: comparable(getattr(self, name)) for name in _names("of_run")} | {"batch_size": self.rows}

    def of_all_processes(self) -> dict[str, str]:
        """The options that must be the same on all processes that train together, as texts."""
        names = [option.name for option in dataclasses.fields(self) if option.name not in _names("per_process")]
        return {name: str(comparable(getattr(self, name))) for name in names}


def _names(mark: str) -> list[str]:
    """The options that are marked in this way."""
    return [option.name for option in dataclasses.fields(Options) if mark in option.metadata]


def comparable(value: object) -> str | float | None:
    """A number as Python's, so that equal ones compare equal; anything else as text."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, float, np.number)):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, (np.ndarray, jax.Array)):
        value = np.asarray(value).tolist()  # in full
    return value if value is None or isinstance(value, str) else without_addresses(repr(value))
