"""`fit`: training with progress, validation, callbacks and checkpoints."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence

from jax.sharding import Mesh

from .._core.checks import renamed
from .._core.processes import agreeing
from .._core.types import PyTree
from ..training.placed import DATA_HINTS, Shard, placed
from ..training.state import TrainState
from ..training.task import Task
from .callbacks import Callback, Path
from .calls import check_call, driving
from .inputs import ClassWeight
from .interrupts import interrupts
from .loop import FitLoop
from .options import Options
from .plan import make_plan
from .progress import History
from .watchdog import busy, busy_for_all

_TASK = "it in the task: fnn.Task(model, loss, optimizer, metrics)"


@renamed(
    **dict.fromkeys(("x", "X", "y", "train_data"), "the data as one tuple, fit(task, ts, (x, y))"),
    sample_weight="the data as (x, y, sample_weight)",
    initial_epoch="checkpoint='folder', which continues an earlier run",
    **dict.fromkeys(("lr", "learning_rate"), "fnn.Task(model, loss, fnn.adam({})): the rate belongs to the optimizer"),
    **dict.fromkeys(("model", "loss", "optimizer", "metrics"), _TASK),
    **dict.fromkeys(("early_stopping", "patience"), "callbacks=[fnn.early_stopping(patience=...)]"),
    validation_freq="it without: fit validates after each epoch",
    **dict.fromkeys(("workers", "use_multiprocessing", "max_queue_size"), "it without: a loader has its own workers"),
)
def fit(
    task: Task,
    ts: TrainState,
    data: PyTree | Iterable[PyTree] = None,
    *extra: object,
    epochs: int = 1,
    batch_size: int | None = None,
    validation_data: PyTree | Iterable[PyTree] = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    drop_remainder: bool = False,
    class_weight: ClassWeight | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: int = 1,
    eval_batch_size: int = 256,
    chunk_bytes: int | None = None,
    checkpoint: Path | None = None,
    every: int | str = "epoch",
    keep: int | None = 2,
    check: str | None = None,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    mesh: Mesh | None = None,
    shard: Shard | None = None,
) -> tuple[TrainState, History]:
    """Train with progress, validation and callbacks; the given state stays valid.

    Args:
      task: the `Task`.
      ts: the initial `TrainState`, from `init` or an earlier `fit`. Its hyper-parameters count, such as the learning
        rate, not those of the task's optimizer, from which `init` takes them; `set_hyper` changes them.
      data: ``(x, y)`` or ``(x, y, sample_weight)`` as a tuple of NumPy or JAX arrays (x may be a dict or tuple of
        arrays), or an iterable of such batches, such as a list or a data loader. Several epochs need one that can
        be iterated over again. Shapes: ``y`` (batch, ...), ``sample_weight`` (batch,), or (batch, time) for a `Masked`
        output.
      epochs: passes over the data; default 1.
      batch_size: for arrays, examples per step; default 32. The last, smaller batch trains too. An iterable has its own
        batches; another batch_size is refused.
      validation_data: data to evaluate after each epoch, in the same forms as ``data``.
      validation_split: fraction of the rows to validate on instead, taken from the end before shuffling.
      shuffle: whether each epoch visits the rows in a new order; for arrays only, default True.
      drop_remainder: for arrays; whether to leave out the last, smaller batch; default False.
      class_weight: weights by class number, as a dict or a sequence, or (for arrays) "balanced"; they multiply the
        sample weights of the training rows. Weights are finite and at least 0. Rows of several yes/no labels have no
        class: pass sample weights instead.
      callbacks: functions ``callback(epoch, ts, logs)``, called after each epoch (counted from 0). A callback may
        return a TrainState to continue with, such as ``fnn.set_hyper(ts, learning_rate=1e-4)``, or raise
        `StopTraining`; its own state stays valid. Every callback runs each epoch, even if an earlier one asked to stop.
        A function of two arguments receives ``(epoch, logs)``. See `early_stopping`, `reduce_on_plateau`, `csv_log`,
        `model_checkpoint`, and `on_batch` for functions that are called after steps.
      verbose: 0 silent, 1 a progress bar per epoch, which says "compiling" while JAX compiles, 2 a line per epoch.
      eval_batch_size: examples per batch of validation; default 256.
      chunk_bytes: for arrays. By default they are copied to the device whole, except memory-mapped ones
        (``np.load(path, mmap_mode="r")``), which are read in chunks of 64 MiB, each while the device trains on the one
        before; the file is read once in advance to check its values. A number sets the chunk size and streams any
        arrays, for data larger than the device's memory. The rows and their order are the same either way.
      checkpoint: a folder for the checkpoints of this training, created if missing; default none. The same call with
        the same initial state continues from the newest checkpoint, however the run ended, and reaches the same
        numbers bit for bit, including the history; ``epochs`` may be raised. An iterable continues where it was if it
        has ``state()`` and ``restore(state)`` or is a list, see docs/how-to/resume.md.
      every: the checkpoint interval: "epoch" (default) or a number of steps. A checkpoint is also written at the
        beginning, at the end, and at Ctrl-C if the data can be continued within an epoch.
      keep: the number of newest files to keep; default 2, None keeps all.
      check: "finite" stops at the first NaN or infinite value in a training step. The `NonFiniteError` names the step
        and the layer, parameter or input, and holds the state before it. The cost is negligible. Metrics and validation
        are not checked.
      steps_per_epoch: for iterables, the number of batches in an epoch; required if the iterable is endless. Each epoch
        takes the next batches, and a new pass begins when one ends, within an epoch too. Training ends with a warning
        when an iterator runs out. By default an epoch is a pass.
      validation_steps: for an iterable as ``validation_data``, the number of its batches to validate on; required if
        the iterable is endless. They are read before training and kept in memory, so every epoch is measured on the
        same ones. By default the iterable is read to its end after each epoch.
      mesh: a `jax.sharding.Mesh` of several devices, such as ``jax.make_mesh((8,), ("data",))``. The rows of each batch
        are divided over its axes, and the results are those of one device to floating-point tolerance: batch
        normalization sees the whole batch, and dropout and the order of the rows are the same. Default one device. The
        devices may belong to several processes that make the same call, see docs/how-to/processes.md.
      shard: with a mesh, how parameters and the optimizer's slots are divided; by default every device has a copy.
        "fsdp" divides every parameter of at least 65,536 numbers over the devices, which gather it for each step. A
        dict from patterns of parameter paths to PartitionSpecs, such as ``{"*/kernel": P(None, "model")}``, divides
        those that match; the rows are then divided over the mesh axes that no rule uses, and those named "data",
        "batch" or "fsdp".

    Returns:
      ``(ts, history)``: the new state and a `History`, a dict of lists.

    Raises:
      InputError: before anything compiles, for shapes that do not fit the model (with the layer's name and
        position), labels outside the classes, NaN or infinity, empty data, lengths that differ, a state of another
        model, arguments out of range, a rule of ``shard`` that matches no parameter or does not divide it, or a folder
        with checkpoints of another training. For an iterable, each batch is
        checked when it arrives, also during training. After an epoch, for a callback that returns anything but None or
        a TrainState.
      NonFiniteError: with ``check="finite"``.
      CheckpointError: when a checkpoint cannot be written, for example on a full disk; it holds the current state.
      OSError: before training, when the checkpoint folder cannot be created.

    Warns (`RuntimeWarning`) when the loss turns NaN or infinite, or predictions on the validation data hold NaN; and
    for a state with a hyper-parameter of an optimizer that ``task.replace(optimizer=...)`` replaced.
    Ctrl-C ends the training after the current steps and returns the current state, with
    ``history.interrupted = True``; a second Ctrl-C interrupts at once.

    The same steps as `train_epoch`, `run` and a loop over `train_step`: results agree to floating-point tolerance,
    see docs/design.md.

    >>> import jax, numpy as np, fnn
    >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    >>> task = fnn.Task(fnn.Dense(1), "mse", fnn.sgd(0.1))
    >>> ts = fnn.init(task, jax.random.key(0), x[:1])
    >>> ts, history = fnn.fit(task, ts, (x, 3 * x + 1), epochs=50, batch_size=16, verbose=0)
    >>> len(history["loss"]), round(fnn.evaluate(task, ts, (x, 3 * x + 1))["loss"], 3)
    (50, 0.0)
    """
    given = locals()  # on the first line, where these are the arguments alone; `Options` takes its fields from them
    with driving("fit", mesh, _advice(checkpoint)):
        check_call("fit", task, ts, data, extra)
        options = Options.checked(given)
        task, ts = placed("fit", task, ts, mesh, shard)
        with agreeing("fit", DATA_HINTS) as facts, busy("checking its data"):
            plan = make_plan(task, ts, data, options)
            facts |= plan.facts
        with interrupts() as interrupted, contextlib.ExitStack() as stack:
            with busy_for_all("opening the checkpoint folder"):
                checkpoints = stack.enter_context(plan.opened(ts))
            return FitLoop(plan, checkpoints, interrupted).run(ts)


def _advice(folder: Path | None) -> str:
    """What a process says at last if another one ends."""
    return "There is no checkpoint." if folder is None else f"The same call continues from {os.fspath(folder)!r}."
