"""One compiled program that generates texts: with windows read again for each symbol, or with a carry."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.dtypes import at_least_float32
from .._core.errors import counted, describe, fail, hinted, located
from .._core.jaxprs import Ending
from .._core.random import children
from .._core.trees import shape_of
from .._core.typed import array_spec, jit
from .._core.types import Array, ArrayLike, ArraySpec, PyTree
from ..nn.cache import add_caches, cache_shapes
from ..nn.layer import Layer
from ..nn.masks import Masked, sequence_of
from .loops import Prompts, generation_loop
from .sampling import Sampling, are_logits, ending_of, is_1

Memory = Literal["carry", "window"]
WHERE = "generate_text"


class Options(NamedTuple):
    """What the compiled program depends on, besides the model and the shapes of the prompts."""

    memory: Memory
    length: int
    top_k: int | None
    symbols: int
    from_logits: bool | None
    alone: bool  # one prompt, which takes the key as it is
    hint: str  # for errors of the model
    padded: bool = False  # whether a prompt is shorter than the window
    read_at_once: int = 0  # symbols of all prompts that are read in one call of the model
    steps: int = 0  # the length of the caches


@jit(static_argnames=("model", "options"))
def generate_ids(
    model: Layer,
    params: PyTree,
    state: PyTree,
    key: Array,
    ids: ArrayLike,
    counts: ArrayLike,
    *,
    temperature: Array,
    options: Options,
) -> tuple[Array, Array, Array]:
    """Generated ids, whether outputs treated as logits look like probabilities, and whether a carry changes them."""

    ids, counts = jnp.asarray(ids), jnp.asarray(counts)

    def read(state: PyTree, x: PyTree) -> tuple[PyTree, Array]:
        """The new state, and the outputs for the symbol after ``x``."""
        with hinted(options.hint):
            y, state = model.apply(params, state, x)
        scores, _ = sequence_of(WHERE, y)
        if scores.ndim == 3:  # an output for each step
            scores = scores[:, -1]
        if scores.ndim != 2 or scores.shape[1] != options.symbols:
            fail(WHERE, expected=f"logits of the vocabulary's {options.symbols} symbols", got=describe(scores))
        return state, scores

    keys = key[None] if options.alone else children(key, len(ids))
    prompts = Prompts(ids, counts, keys)
    if options.memory == "window":
        return _with_windows(partial(read, state), prompts, temperature, options)

    def empty(x: ArraySpec, steps: int) -> PyTree:
        with hinted(options.hint):
            return add_caches(cache_shapes(model, x, steps)[0], state)

    with located("generating with memory='carry'"):
        return _with_carries(read, state, empty, prompts, temperature, options)


def _with_windows(
    read: Callable[[PyTree], tuple[PyTree, Array]], prompts: Prompts, temperature: Array, options: Options
) -> tuple[Array, Array, Array]:
    """`generate_ids` where each symbol follows from the window before it, which may begin with padding."""
    windows, width = prompts.ids, prompts.ids.shape[1]
    real = jax.lax.iota(jnp.int32, width) >= width - prompts.counts[:, None] if options.padded else None

    def outputs(ids: Array, real: Array | None) -> Array:
        with located(f"a prompt of {counted(width, 'character')}"):
            return read(ids if real is None else Masked(ids, real))[1]

    def step(window: tuple[Array, Array | None], symbols: Array) -> tuple[tuple[Array, Array | None], Array]:
        ids, real = window
        ids = jnp.concatenate([ids[:, 1:], symbols], 1)
        real = None if real is None else jnp.concatenate([real[:, 1:], jnp.ones_like(real[:, :1])], 1)
        return (ids, real), outputs(ids, real)

    ending, _ = ending_of(outputs, windows, real)
    sampling = Sampling(temperature, options.top_k, are_logits(WHERE, ending, options.from_logits))
    # A step appends its symbol, here the last of the prompt, and drops the first element.
    start = jax.tree.map(lambda a: jnp.roll(a, 1, axis=1), (windows, real))
    last = Prompts(windows[:, -1:], np.ones(len(windows), np.int32), prompts.keys)
    ids = generation_loop(step, start, last, sampling, length=options.length)
    unclear = jnp.zeros((), bool)
    if _is_unclear(ending, options):
        unclear = _look_like_probabilities(outputs(windows, real))
    return ids, unclear, jnp.zeros((), bool)


_COMPARED = 64  # symbols; a layer that looks back further is not noticed


def _with_carries(
    read: Callable[[PyTree, PyTree], tuple[PyTree, Array]],
    state: PyTree,
    empty: Callable[[ArraySpec, int], PyTree],
    prompts: Prompts,
    temperature: Array,
    options: Options,
) -> tuple[Array, Array, Array]:
    """`generate_ids` where the model reads each symbol once."""
    # The first symbols of the first text, read at once and in two pieces, show whether all other layers treat each
    # step alone; else a carry changes the outputs.
    carry = empty(shape_of(prompts.ids[:, : max(options.read_at_once, 1)]), options.steps)
    seen = array_spec((1, min(_COMPARED, max(options.length, 2))), jnp.int32)
    ending, _ = ending_of(lambda ids: read(state, ids)[1], seen)
    sampling = Sampling(temperature, options.top_k, are_logits(WHERE, ending, options.from_logits))
    if options.read_at_once:
        carry, _ = read(carry, prompts.ids[:, : options.read_at_once])
    lengths = {"length": options.length, "already_read": options.read_at_once}
    ids = generation_loop(read, carry, prompts, sampling, **lengths)
    first = jnp.concatenate([prompts.ids[0], jnp.zeros(options.length, jnp.int32)])
    first = jax.lax.dynamic_update_slice_in_dim(first, ids[0], prompts.counts[0], 0)[None, : seen.shape[1]]
    whole = read(state, first)[1]
    before, _ = read(empty(seen, seen.shape[1]), first[:, :-1])
    differs = ~_nearly_equal(read(before, first[:, -1:])[1], whole)
    return ids, _look_like_probabilities(whole) & _is_unclear(ending, options), differs


def _is_unclear(ending: Ending | None, options: Options) -> bool:
    """Whether only the values can tell logits from probabilities."""
    return options.from_logits is None and (ending is None or not (ending.in_probabilities or ending.is_product))


def _look_like_probabilities(scores: Array) -> Array:
    row = scores[0].astype(at_least_float32(scores.dtype))
    return (row >= 0).all() & is_1(row.sum())


def _nearly_equal(a: Array, b: Array) -> Array:
    """Whether rows of outputs agree to rounding; NaN agrees with NaN."""
    a, b = (row.astype(at_least_float32(row.dtype)) for row in (a, b))
    tolerance = 0.02 * jnp.maximum(jnp.nanmax(jnp.abs(b)), jnp.ones((), b.dtype))
    return ((jnp.abs(a - b) <= tolerance) | jnp.isnan(a) | jnp.isnan(b)).all()
