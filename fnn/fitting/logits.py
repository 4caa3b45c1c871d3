"""A check by value that a loss of logits is not given probabilities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import is_float
from .._core.typed import finfo, jit
from .._core.types import Array, PyTree
from .._core.warn import warn
from ..losses.facts import loss_name, of_classes
from ..nn.masks import Masked, unmasked
from ..training.checks import Expected
from ..training.forward import forward, probabilities_hint, refuse_probabilities
from ..training.outputs import OutputLoss
from ..training.state import TrainState
from ..training.task import Task

_ROWS = 16
# Factors of the parameters and of the input. A sigmoid or softmax stays a probability; logits leave [0, 1].
_SCALES = ((1.0, 1.0), (64.0, 1.0), (-64.0, 1.0), (1.0, -64.0), (8.0, 8.0))
_SLACK = 1e-3  # of float32; half precision has 0.02


def check_logits(task: Task, ts: TrainState, expected: Expected, x: PyTree, where: str) -> None:
    """Refuse or report a loss of logits whose output holds probabilities that its operations do not reveal.

    The first rows are computed, and again with the parameters and the input scaled, only for an output in `Expected`
    that may hold probabilities: in most models the last operation is a product, and nothing is computed.

    Raises:
      InputError: where every row sums to 1, for a loss of classes. Other outputs in [0, 1] give a `RuntimeWarning`.
    """
    parts = [part for part in task.parts if part.path in expected.unclear]
    if not parts or task.traced:
        return
    task = task.placed(None)  # the rows are too few to divide
    x = jax.tree.map(lambda a: np.asarray(a[:_ROWS]), x)
    if not any(is_float(leaf) for leaf in jax.tree.leaves((ts.params, x))):
        return
    with jax.debug_nans(False), jax.debug_infs(False):  # at the larger parameters, where NaN is expected
        found = [jax.tree.map(np.asarray, _counts(task, ts.params, ts.state, x, *scale)) for scale in _SCALES]
    for part in parts:
        own = [counts[task.parts.index(part)] for counts in found]
        inside = own[0][0]  # with the values themselves; zeros and ones are inconclusive
        if not inside or any(outside for _, outside, _ in own):
            continue
        if of_classes(part.loss) and not any(others for *_, others in own):
            refuse_probabilities(part, "one whose outputs lie between 0 and 1 and sum to 1")
        place = f" in {part.name!r}" if part.path else ""
        warn(
            f"{where}: the outputs{place} lie between 0 and 1, but the loss {loss_name(part.loss)!r} takes logits, "
            f"which may be any number. If they are probabilities: {probabilities_hint(part)}"
        )


@jit(static_argnums=0)
def _counts(
    task: Task, params: PyTree, state: PyTree, x: PyTree, param_scale: float, x_scale: float
) -> list[tuple[Array, Array, Array]]:
    """For each loss: outputs strictly inside (0, 1), outputs outside [0, 1], and rows that do not sum to 1."""

    def scaled(tree: PyTree, scale: float) -> PyTree:
        return jax.tree.map(lambda a: (a * scale).astype(a.dtype) if is_float(a) else a, tree)

    outputs, _ = forward(task, scaled(params, param_scale), state, scaled(x, x_scale))
    return [_of_output(part, part.of("predictions", outputs.predictions)) for part in task.parts]


def _of_output(part: OutputLoss, out: PyTree) -> tuple[Array, Array, Array]:
    p = jax.tree.leaves(unmasked(out))[0]
    slack = _SLACK if finfo(p.dtype).bits >= 32 else 0.02
    p = p.astype(jnp.float32)
    if isinstance(out, Masked):
        mask = jnp.reshape(out.mask, out.mask.shape + (1,) * (p.ndim - out.mask.ndim))
        p = jnp.where(mask, p, jnp.full_like(p, jnp.nan))
    sums = jnp.sum(p, -1) if p.ndim else p
    return (
        jnp.sum((p > 0) & (p < 1)),
        jnp.sum((p < -slack) | (p > 1 + slack)),
        jnp.sum(jnp.abs(sums - 1) > slack),  # False for NaN
    )
