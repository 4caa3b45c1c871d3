"""Texts from a model: prompts and options, checked and laid out for the compiled program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._core.checks import check_count, renamed
from .._core.errors import InputError, counted, describe, fail
from .._core.typed import array_spec
from .._core.types import Array, ArrayLike, PyTree
from ..nn.cache import cache_shapes, has_positions, is_read_in_pieces
from ..nn.layer import Layer
from ..nn.masks import Masked, sequence_of
from ..training.state import TrainState, check_state, check_task
from ..training.task import Task
from .programs import WHERE, Memory, Options, generate_ids
from .sampling import SAY_WHICH, are_logits, check_sampling
from .vocabulary import Vocabulary

P = ParamSpec("P")
R = TypeVar("R")
Prompt = TypeVar("Prompt", str, list[str])
_WIDTH = "Pass width=..., the length of the training windows, to read a window again for each character."
_WINDOW = "Pass memory='window' to read a window again for each character."


class _Ability(NamedTuple):
    """What a model can do with a carry."""

    refusal: str  # the layer that cannot read a text symbol by symbol, or that there is none that has to
    each_step: bool  # whether it has an output for each step


@functools.lru_cache(maxsize=64)
def _ability(model: Layer, steps: int) -> _Ability:
    """Whether a model can carry its state, and was trained on whole sequences, found from shapes."""
    ids = array_spec((1, steps), jnp.int32)
    try:
        shapes, refusals = cache_shapes(model, ids, steps)
        y = jax.eval_shape(lambda key, ids: model.apply(*model.init(key, ids), ids)[0], jax.random.key(0), ids)
    except Exception:  # a function of the user's may refuse this length in any way; what is run then says why
        return _Ability("", False)
    refusals += [] if is_read_in_pieces(shapes) else ["neither recurrent layers nor causal attention"]
    return _Ability(next(iter(refusals), ""), jnp.ndim(sequence_of(WHERE, y)[0]) == 3)


@functools.lru_cache(maxsize=64)
def _has_room(model: Layer, steps: int) -> bool:
    """Whether a model has positions for this number of steps."""
    try:
        cache_shapes(model, array_spec((1, 1), jnp.int32), steps)
    except InputError:
        return False
    return True


@functools.lru_cache(maxsize=64)
def _reads_padding(model: Layer, width: int) -> bool:
    """Whether a model leaves out the padding before a short prompt: it reads a `Masked`, and counts no positions."""
    ids, real = array_spec((1, width), jnp.int32), array_spec((1, width), jnp.bool_)

    def output(key: Array, ids: Array, real: Array) -> PyTree:
        return model.apply(*model.init(key, ids), Masked(ids, real))[0]

    try:
        jax.eval_shape(output, jax.random.key(0), ids, real)
        return not has_positions(cache_shapes(model, ids, width)[0])
    except Exception:  # as in `_ability`
        return False


def _memory(model: Layer, memory: Memory | None, width: int | None, longest: int) -> Memory:
    """How a model remembers what it has read: as asked for, else as it was trained."""
    if memory not in (None, "carry", "window"):
        fail(WHERE, expected="memory to be 'carry', 'window' or None", got=repr(memory))
    if memory == "carry" and width is not None:
        hint = "Leave width= out, or pass memory='window'."
        fail(WHERE, expected="no window width with memory='carry'", got=f"width={width}", hint=hint)
    if memory == "window" or width is not None:
        return "window"
    able = _ability(model, _power_of_two(longest))
    if memory is None:
        return "carry" if able.each_step and not able.refusal else "window"
    if able.refusal:
        expected = "with memory='carry' a model that reads a text symbol by symbol"
        fail(WHERE, expected=expected, got=able.refusal, hint=_WINDOW)
    return "carry"


def _power_of_two(n: int) -> int:
    """The largest power of two up to ``n``; 0 for 0."""
    return 1 << n.bit_length() - 1 if n else 0


def _layout(
    model: Layer, ids: list[np.ndarray], width: int | None, options: Options
) -> tuple[np.ndarray, np.ndarray, Options]:
    """The prompts as one array, their lengths, and the options that follow from them."""
    counts = np.array([len(row) for row in ids], np.int32)
    shortest, longest = int(counts.min()), int(counts.max())
    if options.memory == "window":
        columns = longest if width is None else width
        if width is None and shortest < longest:
            got = f"{shortest} to {longest} characters"
            fail(WHERE, expected="prompts of one length, or width=...", got=got, hint=_WIDTH)
        options = options._replace(padded=shortest < columns)
        if options.padded and not _reads_padding(model, columns):
            expected = f"a prompt of at least {columns} characters, the window width"
            got = f"{counted(shortest, 'character')}, {columns - shortest} too few"
            fail(WHERE, expected=expected, got=got, hint="This model cannot leave out the padding of a shorter one.")
    else:
        # Powers of two, so that prompts of many lengths share a program.
        columns = 2 * _power_of_two(longest - 1) or 1
        exact = longest + options.length - 1
        steps = columns + options.length - 1
        steps = steps if _has_room(model, steps) else exact
        options = options._replace(read_at_once=_power_of_two(shortest - 1), steps=steps)
    prompts = np.zeros((len(ids), columns), np.int32)
    for row, one in zip(prompts, ids, strict=True):
        row[slice(columns - len(one), None) if options.memory == "window" else slice(len(one))] = one
    return prompts, counts, options


def _prompts(prompt: Any, width: int | None) -> list[str]:
    """The prompts, each cut to the end that counts."""
    if not (several := isinstance(prompt, (list, tuple))):
        prompt = [prompt]
    if not prompt:
        fail(WHERE, expected="at least one prompt", got="an empty list")
    if width is not None:
        check_count(WHERE, "width", width)
    for i, one in enumerate(prompt):
        where = f"{WHERE}, prompt[{i}]" if several else WHERE
        if not isinstance(one, str):
            fail(where, expected="a string as prompt", got=describe(one))
        if not one:
            fail(where, expected="a prompt of at least one character", got="an empty one")
    return [one if width is None else one[-width:] for one in prompt]


def _or_model(fn: Callable[P, R]) -> Callable[P, R]:
    """Accept (model, params, state, ...) in place of (task, ts, ...), the form of version 0.1."""

    whole: Callable[..., R] = fn

    def of_model(model: Layer, params: PyTree, state: PyTree, *args: Any, **options: Any) -> R:
        # Of the task and its state, only these three are read.
        ts = TrainState(params, state, (), jnp.zeros(()), jnp.zeros(()))
        return whole(Task(model, "mse"), ts, *args, **options)

    @functools.wraps(fn)
    def either(*args: P.args, **options: P.kwargs) -> R:
        first = args[0] if args else options.get("model")
        called: Callable[..., R] = of_model if isinstance(first, Layer) else whole
        return called(*args, **options)

    return either


@_or_model
@renamed(top_p="top_k=..., the only cut")
def generate_text(
    task: Task,
    ts: TrainState,
    vocabulary: Vocabulary,
    prompt: Prompt,
    key: Array,
    *,
    length: int = 200,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    memory: Memory | None = None,
    width: int | None = None,
    unknown: str | None = None,
    from_logits: bool | None = None,
) -> Prompt:
    """Continue a text, or many texts as one batch, with a model.

    With ``memory="carry"`` the model reads each character once and remembers the whole text: recurrent layers pass on
    their carry, and causal attention keeps a cache. With ``memory="window"`` it reads the last ``width`` characters
    again for each new one and forgets all earlier ones. Up to ``width`` characters, prompt included, both give the same
    text.

    All characters are generated by one compiled program. It depends on the model, ``length``, ``top_k`` and the number
    of prompts; with windows on their width, and with a carry on the next power of two above the longest prompt and the
    last below the shortest.

    Args:
      task, ts: the `Task` and the `TrainState`. The model is from ids (batch, width) to logits or probabilities
        (batch, symbols), or (batch, width, symbols), of which the last step counts. Three arguments in their place, a
        model, its parameters and its state, as in version 0.1, are accepted too.
      vocabulary: the model's symbols.
      prompt: the text to continue, or a list of texts, of any lengths.
      key: a PRNG key; the same key gives the same text. Text ``i`` of a list is, up to rounding and for threefry keys,
        the one that its prompt alone gives with ``jax.random.fold_in(key, i)``; ``[prompt] * n`` gives ``n`` different
        texts.
      length: number of characters to generate.
      temperature, top_k: see `sample`.
      memory: "carry" or "window". Default: "carry" for a model with an output for each step, as trained on whole
        sequences, unless one of its layers keeps none; "window" with ``width`` and for all other models, such as an
        LSTM with only its last output, whose carry has never passed the end of a training window. Layers without a
        carry that mix steps, such as `Conv`, raise an error if that shows within 64 characters.
      width: window width; only the last ``width`` characters of a prompt are used. Default with windows: the whole
        prompt. Set it to the length of the training windows. A shorter prompt is padded on the left, as a `Masked`.
      unknown: the symbol that replaces characters outside the vocabulary; by default they raise an error.
      from_logits: True for logits, False for probabilities; both give the same text. Default None: probabilities if
        the model ends in a softmax, logits if it ends in `Dense` or another product; of other models, outputs that
        look like probabilities raise an error.

    Returns:
      The new characters, without the prompt: a string, or a list of strings for a list.

    Raises:
      InputError: for another number of symbols, outputs that are NaN or look like probabilities, unknown characters,
        an empty prompt, and one shorter than ``width`` for a model that does not mask padding or counts positions; with
        windows, for prompts of several lengths without ``width``; with a carry, for a model with a layer that looks
        ahead (``causal=False``, `Bidirectional`, ``go_backwards=True``), mixes steps in another way (convolutions
        and pooling over time), or has too few positions; as in `generate_from`.

    >>> import jax, fnn
    >>> vocabulary = Vocabulary.of("hello world")
    >>> model = fnn.Sequential(fnn.LSTM(8, input_dim=8, return_sequences=True), fnn.Dense(8))
    >>> task = fnn.Task(model, "sparse_categorical_crossentropy")
    >>> ts = fnn.init(task, jax.random.key(0), vocabulary.encode("hello")[None])
    >>> key = jax.random.key(1)
    >>> new = generate_text(task, ts, vocabulary, ["a whole world", "he"], key, length=20, unknown=" ")
    >>> [len(text) for text in new], new[1] == generate_text(
    ...     task, ts, vocabulary, "he", jax.random.fold_in(key, 1), length=20
    ... )
    ([20, 20], True)
    """
    check_task(task)
    check_state(ts)
    check_sampling(WHERE, key, temperature, top_k, length)
    prompts = _prompts(prompt, width)
    are_logits(WHERE, None, from_logits)
    kept = _memory(task.network, memory, width, max(map(len, prompts)))
    options = Options(
        memory=kept,
        length=int(length),
        top_k=None if top_k is None else int(top_k),
        symbols=vocabulary.size,
        from_logits=None if from_logits is None else bool(from_logits),
        alone=isinstance(prompt, str),
        hint=_WINDOW if kept == "carry" else _WIDTH if width is None else "",
    )
    ids = [vocabulary.encode(one, unknown) for one in prompts]
    rows, counts, options = _layout(task.network, ids, width, options)
    new = generate_ids(
        *(task.network, ts.params, ts.state, key, rows, counts),
        temperature=jnp.asarray(temperature, jnp.float32),
        options=options,
    )
    texts = _decoded(vocabulary, *map(np.asarray, new))
    return texts[0] if isinstance(prompt, str) else texts


def _decoded(vocabulary: Vocabulary, ids: np.ndarray, unclear: np.ndarray, differs: np.ndarray) -> list[str]:
    """The texts, unless something was found while they were generated."""
    if differs:
        expected = "a model in which attention and recurrent layers alone look at earlier steps"
        fail(WHERE, expected=expected, got="other outputs with a carry", hint=_WINDOW)
    if unclear:
        fail(WHERE, expected="logits", got="outputs that sum to 1, like probabilities", hint=SAY_WHICH)
    if (ids < 0).any():
        fail(WHERE, expected="a model with finite outputs", got="NaN", hint="Has training diverged?")
    return [vocabulary.decode(row) for row in ids]
