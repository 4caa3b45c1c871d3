"""`predictor`: a model made ready to serve."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from .._core.checks import renamed
from .._core.processes import agreeing
from .._core.trees import copied
from .._core.types import PyTree
from ..training.placed import Shard, check_mesh, facts_of_call, placed
from ..training.state import TrainState, check_state, check_task
from ..training.task import Task
from .calls import check_rows, driving, refuse_traced
from .inference import Inference


@renamed(steps="predict(itertools.islice(batches, steps))")
def predictor(
    task: Task,
    ts: TrainState,
    *,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    shard: Shard | None = None,
) -> Callable[[PyTree], PyTree]:
    """A function that predicts with a fixed state, for a service that answers many small requests.

    It holds its own copy of the parameters on the device: training on, or donating or deleting ``ts``, does not change
    what it returns. Several threads may call it at once. The first call with a number of rows compiles a program.

    Args:
      task, ts: the `Task` and the `TrainState`.
      batch_size: examples computed at a time, at most. Default 256, or more while no intermediate result takes more
        than 64 MiB.
      mesh, shard: several devices, as in `fit`; default one device.

    Returns:
      A function of an input ``x``, all that `predict` takes: an array (batch, ...), or a dict or tuple of such arrays.
      It returns what `predict` does, (batch, ...), as read-only NumPy arrays.

    Raises:
      InputError: for anything but a task and its state. The function raises it for an input that does not fit the model
        or holds NaN or infinity.

    >>> import jax, numpy as np, fnn
    >>> task = fnn.Task(fnn.Dense(3), "mse")
    >>> ts = fnn.init(task, jax.random.key(0), (4,))
    >>> classify = fnn.predictor(task, ts)
    >>> classify(np.ones((2, 4), "float32")).shape
    (2, 3)
    """
    check_task(task)
    check_state(ts)
    refuse_traced("predictor", ts)
    params, state, key, step = copied((ts.params, ts.state, ts.key, ts.step))
    own = TrainState(params, state, (), key, step)
    with driving("predictor", mesh):
        check_rows("predictor", batch_size)
        task, own = placed("predictor", task, own, mesh, shard)
        check_mesh("predictor", task, own)
        with agreeing("predictor") as facts:
            facts |= facts_of_call(task, {}, batch_size=batch_size)
    model = Inference(task, own, batch_size, {})

    def predict(x: PyTree) -> PyTree:
        if mesh is None:
            outputs = model.outputs(x)
        else:  # several processes may have these devices
            with driving("predictor", mesh):
                outputs = model.outputs(x)
        # `jax.device_get` would take several times as long.
        return np.asarray(outputs) if isinstance(outputs, jax.Array) else jax.tree.map(np.asarray, outputs)

    return predict
