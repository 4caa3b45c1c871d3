"""Drawing symbols from the outputs of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import check_count, check_float, check_key, check_range, is_concrete
from .._core.dtypes import at_least_float32
from .._core.errors import describe, fail
from .._core.jaxprs import Ending, traced_endings
from .._core.types import AnyArray, Array, ArrayLike, ArraySpec, DType, PyTree
from .._core.warn import warn


def check_sampling(where: str, key: Array, temperature: ArrayLike, top_k: int | None, length: int = 1) -> None:
    """Refuse arguments that no form of sampling accepts."""
    check_key(where, key)
    check_count(where, "length", length)
    check_range(where, "temperature", temperature, 0)
    if top_k is not None:
        check_count(where, "top_k", top_k)


def sample(
    key: Array,
    logits: ArrayLike,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    *,
    from_logits: bool | None = None,
) -> Array:
    """Draw a class index from ``softmax(logits / temperature)``; at temperature 0, take the most likely class.

    Args:
      key: a PRNG key.
      logits: (..., classes).
      temperature: at least 0; may be traced. Lower values favour likely classes, higher values increase variety.
      top_k: draw only from the ``top_k`` most likely classes (ties: the first ones); default all classes.
      from_logits: True for logits; False for probabilities p, whose logits are log p: a class of probability 0 is never
        drawn. Default None: logits, with a warning for rows that look like probabilities, unless they are traced.

    Returns:
      (...) int32; -1 for a traced row that contains NaN or only -infinity.

    Raises:
      InputError: for a negative temperature or probability, probabilities that do not sum to 1, ``top_k`` outside
        [1, classes], NaN, or rows of -infinity.

    >>> logits = jnp.log(jnp.array([0.1, 0.6, 0.3]))
    >>> keys = jax.random.split(jax.random.key(0), 1000)
    >>> drawn = jax.vmap(lambda key: sample(key, logits, top_k=2))(keys)
    >>> sorted(set(drawn.tolist()))
    [1, 2]
    """
    check_sampling("sample", key, temperature, top_k)
    scores = jnp.asarray(as_array("sample, logits", logits))
    check_scores(scores, top_k)
    if is_concrete(scores):
        _check_drawable(np.asarray(scores.astype(at_least_float32(scores.dtype))), from_logits)
    sampling = Sampling(temperature, top_k, are_logits("sample", None, from_logits))
    return sampling.pick(noise(key, scores.shape, scores.dtype), scores)


def check_scores(scores: Array | ArraySpec, top_k: int | None) -> None:
    """Refuse outputs of a model from which no class can be drawn, by their shape and dtype."""
    check_float("sample", scores, "Logits are the outputs of a last layer without an activation: Dense(symbols).")
    if scores.ndim == 0 or scores.shape[-1] == 0:
        fail("sample", expected="logits of shape (..., classes)", got=describe(scores))
    if top_k is not None and top_k > scores.shape[-1]:
        fail("sample", expected=f"top_k to be at most {scores.shape[-1]}, the number of classes", got=str(top_k))


def noise(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    """The random part of a draw from logits of this shape and dtype; it does not depend on their values."""
    # Half precision has too few distinct values for the noise of an unlikely class.
    return jax.random.gumbel(key, shape, at_least_float32(dtype))


class Sampling(NamedTuple):
    """How a symbol is drawn; see `sample`."""

    temperature: ArrayLike
    top_k: int | None
    are_logits: bool

    def pick(self, noise: Array, scores: Array) -> Array:
        """The classes drawn from the scores (..., classes) with this noise, int32; -1 where there are none."""
        wide = scores.astype(noise.dtype)
        if not self.are_logits:
            wide = jnp.log(wide)  # NaN for a negative probability
        empty = jnp.isnan(wide).any(-1) | (wide == -jnp.inf).all(-1)
        # argmax(logits / t + noise) draws from the softmax (Gumbel 1954). Scaling both terms by t extends this to
        # t = 0; above t = 1, where the scaled noise could overflow, the logits are divided instead.
        t, one = jnp.asarray(self.temperature, wide.dtype), jnp.ones((), wide.dtype)
        noise = jnp.minimum(t, one) * noise
        # Subtracting the maximum keeps the noise from being rounded away beside large logits.
        largest = jnp.max(wide, -1, keepdims=True)
        wide = (wide - jnp.where(jnp.isfinite(largest), largest, jnp.zeros_like(largest))) / jnp.maximum(t, one)
        if self.top_k is None:
            drawn = jnp.argmax(wide + noise, -1)
        else:
            best, classes = jax.lax.top_k(wide, self.top_k)
            place = jnp.argmax(best + jnp.take_along_axis(noise, classes, -1), -1, keepdims=True)
            drawn = jnp.take_along_axis(classes, place, -1)[..., 0]
        drawn = drawn.astype(jnp.int32)
        return jnp.where(empty, jnp.full_like(drawn, -1), drawn)


def _check_drawable(rows: np.ndarray, from_logits: bool | None) -> None:
    """Reject rows that contain NaN, no class to draw, or no probabilities; warn of logits that may be some."""
    if np.isnan(rows).any():
        what = "logits" if from_logits is None or from_logits else "probabilities"
        fail("sample", expected=f"{what} without NaN", got="NaN", hint="Has training diverged?")
    sums_to_1 = is_1(rows.sum(-1, dtype=np.float64))
    if from_logits is not None and not from_logits:
        if (least := rows.min(initial=0)) < 0:
            hint = "Are they logits? Leave from_logits=False out."
            fail("sample", expected="probabilities of at least 0", got=f"{least:g}", hint=hint)
        if not sums_to_1.all():
            got = f"a row that sums to {rows[~sums_to_1][0].sum():g}"
            hint = "Divide by the sum; for logits leave from_logits=False out."
            fail("sample", expected="probabilities that sum to 1 in each row", got=got, hint=hint)
    elif (rows == -np.inf).all(-1).any():
        fail("sample", expected="logits above -infinity in each row", got="a row without any")
    elif from_logits is None and rows.shape[-1] > 1 and rows.size and (rows >= 0).all() and sums_to_1.all():
        warn(f"sample: takes these rows for logits, but they sum to 1, like probabilities. {SAY_WHICH}")


def is_1(total: AnyArray) -> AnyArray:
    """Whether sums of probabilities are 1, within the rounding of half precision."""
    excess = total - 1
    return (excess < 0.01) & (excess > -0.01)


SAY_WHICH = (
    "Pass from_logits=True if they are logits, which is best: a last Dense(symbols) without an activation; "
    "pass from_logits=False if they are probabilities."
)


def are_logits(where: str, ending: Ending | None, from_logits: bool | None) -> bool:
    """Whether a model's outputs are logits, by ``from_logits`` if given, else by how the model ends."""
    if not (from_logits is None or isinstance(from_logits, (bool, np.bool_))):
        fail(where, expected="from_logits to be True, False or None", got=repr(from_logits))
    if from_logits is not None:
        return bool(from_logits)
    if ending is None or not ending.in_probabilities:
        return True
    if ending.activation != "softmax":
        got = "the output of a sigmoid" if ending.activation else "outputs that lie between 0 and 1"
        fail(where, expected="logits or the output of a softmax", got=got, hint=SAY_WHICH)
    return False


def ending_of(fn: Callable[..., PyTree], *args: PyTree) -> tuple[Ending | None, PyTree]:
    """How a function computes its last output, and the shapes of all."""
    out, ends = traced_endings(fn, *args)
    return ends[-1] if ends else None, out
