"""A recurrent layer run in both directions."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ..._core.checks import leaf, lookup
from ..._core.described import described, in_words
from ..._core.errors import describe, fail
from ..._core.random import fold_in
from ..._core.trees import shape_of
from ..._core.types import Array, Key, Params, PyTree, State
from ..cache import refuse_cache
from ..layer import Layer, Output, call_hint, penalties_inside
from ..masks import Masked, kept, sequence_of
from ..observe import call, init_inside
from .cells import GRUCarry, LSTMCarry, SimpleRNNCarry


def merge_directions(forward: Array, backward: Array, merge_mode: str | None) -> Array | tuple[Array, Array]:
    """Join the outputs of two directions: "concat" (last axis), "sum", "mul", "ave", or None for the pair.

    >>> import jax.numpy as jnp
    >>> print(merge_directions(jnp.array([1.0]), jnp.array([3.0]), "ave"))
    [2.]
    """
    if merge_mode is None:
        return forward, backward
    join: Callable[[Array, Array], Array] = lookup("merge_mode", merge_mode, _MERGE)
    return join(forward, backward)


_MERGE: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) * 0.5,
}


@described
def Bidirectional(
    layer: Layer, merge_mode: str | None = "concat", *, backward_layer: Layer | None = None, name: str = "bidirectional"
) -> Layer:
    """A recurrent layer in both directions of time (Schuster and Paliwal 1997).

    The backward direction is the same layer with separate parameters, applied to the reversed sequence; if it returns
    sequences they are reversed back, so that both outputs are aligned with the input. If the input is a `Masked` and
    the layers return sequences, the output is a `Masked` with zeros at masked steps, as in Keras. If the layers have
    ``return_state=True``, the output is ``(output, (forward carry, backward carry))``.

    Args:
      layer: a layer made by `SimpleRNN`, `LSTM` or `GRU`, or another layer that takes sequences in the same way.
      merge_mode: how to join the outputs: "concat" (the default), "sum", "mul", "ave"; None returns the pair, each a
        `Masked` if the input is one.
      backward_layer: another layer for the backward direction, without ``go_backwards`` too.

    The parameters are ``{"forward": ..., "backward": ...}``.

    Raises:
      InputError: for an unknown merge mode, a layer that is not a `Layer` or treats all steps alike (`Dense`,
        `Dropout`, normalizations and others of the library), and as the layers.

    >>> import jax, jax.numpy as jnp, fnn
    >>> layer = Bidirectional(fnn.LSTM(8, return_sequences=True))
    >>> params, _ = layer.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> layer.apply(params, {}, jnp.ones((2, 5, 3)))[0].shape, sorted(params)
    ((2, 5, 16), ['backward', 'forward'])
    """
    if merge_mode is not None:
        lookup("merge_mode", merge_mode, _MERGE)
    layers = {"forward": layer, "backward": layer if backward_layer is None else backward_layer}
    for part, one in layers.items():
        if not isinstance(one, Layer):
            fail(f"Bidirectional, {part}", expected="a Layer such as LSTM(64)", got=in_words(one), hint=call_hint(one))
        if _ignores_order(one):
            expected = "a layer that reads steps in order, such as LSTM(64)"
            fail(f"Bidirectional, {part}", expected=expected, got=in_words(one), hint="Use the layer alone.")

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        refuse_cache(name, "Bidirectional, which also reads from the end,")
        made = {}
        for i, (part, one) in enumerate(layers.items()):
            made[part] = init_inside(part, f"{name} {part}", one, fold_in(key, i), shape_of(x))
        return {p: params for p, (params, _) in made.items()}, {p: state for p, (_, state) in made.items() if state}

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        _, mask = sequence_of(name, x)
        outputs, carries, new_state = [], [], {}
        for i, (part, one) in enumerate(layers.items()):
            part_key = None if key is None else fold_in(key, i)
            part_x = x if part == "forward" else jax.tree.map(lambda a: jnp.flip(a, 1), x)
            p, s = leaf(name, params, part), state.get(part, {})
            y, s = call(part, f"{name} {part}", one, p, s, part_x, key=part_key, train=train)
            if s:
                new_state[part] = s
            if isinstance(y, tuple) and len(y) == 2 and isinstance(y[-1], (SimpleRNNCarry, LSTMCarry, GRUCarry)):
                y, carry = y
                carries.append(carry)
            y, _ = sequence_of(f"{name} {part}", y)
            outputs.append(jnp.flip(y, 1) if part == "backward" and y.ndim == 3 else y)
        out = _merge_outputs(name, outputs, mask, merge_mode)
        return ((out, tuple(carries)) if carries else out), new_state

    per_example = all(one.per_example for one in layers.values())
    inner = penalties_inside({(part,): one for part, one in layers.items()})
    return Layer(init, apply, name, "Bidirectional", per_example, **inner)


# Layers that treat all steps alike, and layers that do so if those inside them do.
_IGNORE_ORDER = {
    *("Dense", "Activation", "Dropout", "SpatialDropout", "GaussianNoise", "GaussianDropout", "Rescaling"),
    *("BatchNorm", "LayerNorm", "RMSNorm", "GroupNorm", "Embedding", "OneHot", "TimeDistributed"),
    *("GlobalMaxPool", "GlobalAvgPool", "ActivityRegularization"),
}
_HOLDERS = {"Sequential", "Residual", "Repeated", "Rematerialized"}


def _ignores_order(layer: Layer) -> bool:
    """Whether a layer of the library is known to treat all steps alike, unless a function given to it does not."""
    if layer.config is None:
        return False
    make = layer.config.make.__name__
    given = jax.tree.leaves((layer.config.args, dict(layer.config.kwargs)))
    inner = [part for part in given if isinstance(part, Layer)]
    if any(callable(part) and not isinstance(part, (Layer, type)) for part in given):  # a dtype is a type
        return False
    return make in _IGNORE_ORDER or (make in _HOLDERS and all(map(_ignores_order, inner)))


def _merge_outputs(name: str, outputs: list[Array], mask: Array | None, merge_mode: str | None) -> PyTree:
    if len({y.ndim for y in outputs}) > 1:
        got = " and ".join(map(describe, outputs))
        fail(name, expected="both directions to return sequences, or neither", got=got)
    if mask is None or outputs[0].ndim != 3:
        return merge_directions(outputs[0], outputs[1], merge_mode)
    forward, backward = (kept(jnp.asarray(mask), y) for y in outputs)
    out = merge_directions(forward, backward, merge_mode)
    return tuple(Masked(y, mask) for y in out) if merge_mode is None else Masked(out, mask)
