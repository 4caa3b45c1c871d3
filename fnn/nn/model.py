"""`Model`: any network, written as a plain function of named layers."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import inspect
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._core.checks import check_name
from .._core.context import setting
from .._core.described import described, in_words, is_constructor, unshared, unwrapped, written
from .._core.errors import InputError, describe, fail, hinted, kind_of, listed, located
from .._core.jaxprs import trace_state
from .._core.random import fold_in
from .._core.reading import last_place, lines_around, reading
from .._core.trees import joined_path, shape_of, zeros
from .._core.types import Key, PyTree
from .._names import IN_FORWARD
from .added_loss import AddedLoss, is_added_loss
from .layer import MISSING, Layer, Output, call_hint, check_apply, check_init, penalties_inside
from .observe import call, init_inside, inside, pair_of

Path = tuple[str | int, ...]
Entries = Mapping[Path, PyTree]  # parameters or state by layer
Nested = Layer | Sequence["Nested"] | Mapping[str, "Nested"]
_TRANSFORMATIONS = "jax.lax.scan, vmap, jit, cond or checkpoint"
_OUTSIDE = "Call it outside, or use fnn.Repeated or fnn.Rematerialized."
_SHAPES: contextvars.ContextVar[dict[Hashable, Any] | None] = contextvars.ContextVar("shapes", default=None)


@described
def Model(
    forward: Callable[..., PyTree] | None = None,
    /,
    *extra: object,
    name: str = "model",
    per_example: bool = False,
    **layers: Nested,
) -> Layer:
    """A network written as a function of its layers: branches, skips, shared layers, several inputs and outputs.

    ``forward(layers, x)`` calls the layers by name and may use any JAX function on the values between them. A layer
    called twice shares its parameters. Keys, state and masks are passed for you: each call of a layer has a key of its
    own, and a layer called again sees the state after its last call.

    `init` traces ``forward`` in training mode on shapes, computes nothing, and makes the parameters of each layer from
    the shape of its first input. Parameters and state mirror the layers: ``params["stem"]``, ``params["blocks"][0]``.

    Args:
      forward: ``forward(layers, x) -> y``, where ``x`` and ``y`` are arrays or trees of arrays. It also receives
        ``key`` or ``train`` if its signature has a keyword of that name; ``key`` is None where none was passed to
        ``apply``. Inside it, ``layers.stem(x)`` calls a layer, ``layers.stem(a, b)`` calls it with the tuple
        ``(a, b)``, and ``layers.stem.params`` are its parameters, for weights that two places share.
      name: base name in a `Sequential`.
      per_example: whether the output for an example depends only on that example; see `Layer`. Default False, since
        ``forward`` may mix the rows of a batch. True is refused if a layer mixes them.
      **layers: layers by name; also lists, tuples and dicts of layers: ``layers.blocks[0](x)``.

    Raises:
      InputError: for an item that is not a Layer, no layers, names with "/" or a leading "_", and a ``forward`` that
        needs other arguments; from ``init`` for a layer that is never called; from either function for an unknown
        layer, an ``x`` without an entry or a part that ``forward`` reads, a ``forward`` that returns nothing, and any
        error of a layer, with the line of ``forward``. Inside
        ``scan``, ``vmap``, ``jit``, ``cond`` or ``checkpoint``, a layer with state would lose it, and one that draws
        random numbers would repeat them: both are refused there.

    >>> import jax, jax.numpy as jnp, fnn
    >>> def forward(layers, x):
    ...     h = jnp.concatenate([layers.image(x["image"]), layers.table(x["table"])], axis=-1)
    ...     return {"digit": layers.digit(h), "angle": layers.angle(h)}
    >>> model = fnn.Model(
    ...     forward,
    ...     image=fnn.Sequential(fnn.Flatten(), fnn.Dense(8, "relu")),
    ...     table=fnn.Dense(4),
    ...     digit=fnn.Dense(10),
    ...     angle=fnn.Dense(1),
    ... )
    >>> x = {"image": jnp.ones((2, 5, 5)), "table": jnp.ones((2, 3))}
    >>> params, state = model.init(jax.random.key(0), x)
    >>> y, state = model.apply(params, state, x)
    >>> y["digit"].shape, y["angle"].shape
    ((2, 10), (2, 1))
    """
    hint = "Write fnn.Model(forward, stem=fnn.Dense(8)), with def forward(layers, x): return layers.stem(x)."
    if not callable(forward) or isinstance(forward, Layer) or is_constructor(forward):
        got = "none" if forward is None else in_words(forward)
        fail("Model", expected="a function forward(layers, x) as first argument", got=got, hint=hint)
    if extra:
        fail("Model", expected="layers by name", got=f"{len(extra) + 1} arguments without one", hint=hint)
    for option, value, kind in (("name", name, str), ("per_example", per_example, bool)):
        if not isinstance(value, kind):
            hint = f"{option} is an option of Model; give the layer another name."
            fail("Model", expected=f"{option} to be a {kind.__name__}", got=in_words(value), hint=hint)
    network = _Network(name, forward, unshared(layers), dict(_flatten((), layers)), _options(forward))
    if not network.flat:
        got = f"none in {listed(layers, 'and')}" if layers else "none"
        fail("Model", expected="layers by name", got=got, hint="Pass them by name: Model(forward, stem=Dense(8)).")
    mixing = [f"{joined_path(path)} ({layer.kind})" for path, layer in network.flat.items() if not layer.per_example]
    if per_example and mixing:
        expected = "layers that treat each example alone, as per_example=True promises"
        fail("Model", expected=expected, got=", ".join(mixing), hint="Leave per_example out.")
    return Layer(network.init, network.apply, name, "Model", per_example, **penalties_inside(network.flat))


@dataclasses.dataclass(frozen=True, eq=False)
class _Network:
    """The arguments of a `Model`, with every layer by path and the options that ``forward`` takes."""

    name: str
    forward: Callable[..., PyTree]
    layers: Mapping[str, Nested]
    flat: dict[Path, Layer]
    options: set[str]

    def init(self, key: Key, x: PyTree = MISSING) -> tuple[PyTree, PyTree]:
        """Parameters and state, from the shape of each layer's first input."""
        check_init(self.name, key, x)
        with _shared_shapes() as known:
            x = shape_of(x)
            place = self, _signature(x)
            if place not in known:
                known[place] = self._first_inputs(key, x)
            made = {}
            for path, layer in self.flat.items():
                made[path] = init_inside(
                    joined_path(path), _in_layer(path), layer, _child(key, path), known[place][path]
                )
        params, state = (_mirror(self.layers, {path: out[i] for path, out in made.items()}) for i in range(2))
        return params, state

    def apply(
        self, params: PyTree, state: PyTree, x: PyTree = MISSING, *, key: Key | None = None, train: bool = False
    ) -> Output:
        """The output of ``forward`` and the state after it."""
        check_apply(self.name, x)
        trees = (("parameters", params), ("state", state))
        given = (_entries(self.name, kind, self.layers, tree) for kind, tree in trees)
        evaluation = _Evaluation(self, *given, key=key, train=train)
        y = evaluation.run(x)
        return y, _mirror(self.layers, {path: evaluation.new_state(path) for path in self.flat})

    def _first_inputs(self, key: Key, x: PyTree) -> dict[Path, PyTree]:
        """The shape of the first input of each layer; a layer without one is refused."""
        first: dict[Path, PyTree] = {}

        def trace(key: Key, x: PyTree) -> PyTree:
            evaluation = _ShapeEvaluation(self, key)
            y = evaluation.run(x)
            first.update(evaluation.first)
            return y

        jax.eval_shape(trace, key, x)
        if missing := [joined_path(path) for path in self.flat if path not in first]:
            hint = "Call it there, or leave it out. init calls forward with train=True."
            fail(self.name, expected="forward to call every layer", got=f"no call of {listed(missing)}", hint=hint)
        return first


class _Evaluation:
    """One evaluation of ``forward``, which keeps the state after the calls so far."""

    def __init__(
        self, network: _Network, params: Entries, state: Entries, *, key: Key | None = None, train: bool = False
    ) -> None:
        self.network, self.params, self.before, self.key, self.train = network, params, state, key, train
        self.after: dict[Path, PyTree] = {}
        self.calls = dict.fromkeys(network.flat, 0)
        self.transformations = trace_state()

    def run(self, x: PyTree) -> PyTree:
        """The output of ``forward``."""
        network = self.network
        options: dict[str, Key | bool | None] = {"key": self.key_of((), None), "train": self.train}
        advice = functools.partial(_swapped, network)
        with located(lambda error: f"{network.name}{_line(network.forward, error)}"), hinted(advice), reading(x):
            y = network.forward(_Layers(self), x, **{name: options[name] for name in network.options})
        for leaf in (leaves := jax.tree.leaves(y)):
            if not hasattr(leaf, "dtype") and not isinstance(leaf, (int, float, complex)):
                hint = "Call the layer." if isinstance(leaf, BoundLayer) else ""
                fail(network.name, expected="forward to return arrays", got=kind_of(leaf), hint=hint)
        if not leaves:
            hint = "Does it end in a return?" if y is None else ""
            fail(network.name, expected="forward to return arrays", got=in_words(y), hint=hint)
        return _arrays(y)

    def key_of(self, path: Path, count: int | None) -> Key | None:
        """The key of a call of a layer; that of ``forward`` has the empty path and no count."""
        if self.key is None:
            return None
        key = _child(self.key, path)
        return key if count is None else fold_in(key, count)

    def params_of(self, path: Path) -> PyTree:
        """The parameters of a layer."""
        return self.params.get(path, {})

    def state_of(self, path: Path) -> PyTree:
        """The state of a layer before its next call."""
        return self.after.get(path, self.before.get(path, {}))

    def call(self, path: Path, x: PyTree) -> PyTree:
        """The output of a layer."""
        where, layer = _in_layer(path), self.network.flat[path]
        outside = trace_state() == self.transformations
        # Inside a scan or vmap every round would draw the same numbers; a cached trace of jit or checkpoint too.
        key = self.key_of(path, self.calls[path]) if outside else None
        self.calls[path] += 1
        number = self.calls[path]
        params, state = self.params_of(path), self.state_of(path)
        if not outside and jax.tree.leaves(state):
            expected = f"a layer without state inside {_TRANSFORMATIONS}"
            fail(where, expected=expected, got=f"{layer.kind} with state, which would be lost", hint=_OUTSIDE)

        def hint(error: Exception) -> str:
            withheld = not outside and self.train and self.key is not None and "key" in str(error)
            return f"A layer has no key inside {_TRANSFORMATIONS}. {_OUTSIDE}" if withheld else ""

        with hinted(hint):
            y, new = call(joined_path(path), where, layer, params, state, x, number=number, key=key, train=self.train)
        self.keep(path, new)
        return y

    def keep(self, path: Path, state: PyTree) -> None:
        """Remember the state after a call, with the sum of what all calls add to the loss."""
        if path in self.after:

            def joined(old: PyTree, new: PyTree) -> PyTree:
                return AddedLoss(old.value + new.value) if is_added_loss(new) else new

            state = jax.tree.map(joined, self.after[path], state, is_leaf=is_added_loss)
        self.after[path] = state

    def new_state(self, path: Path) -> PyTree:
        """The state of a layer after all calls; a layer that was not called adds nothing to the loss."""

        def without_loss(node: PyTree) -> PyTree:
            return AddedLoss(jnp.zeros_like(node.value)) if is_added_loss(node) else node

        if path in self.after:
            return self.after[path]
        return jax.tree.map(without_loss, self.before.get(path, {}), is_leaf=is_added_loss)


class _ShapeEvaluation(_Evaluation):
    """An evaluation on shapes, which notes the first input of each layer and makes parameters from it.

    Every call makes its parameters and state anew, since those made inside a ``scan`` do not exist outside it.
    """

    def __init__(self, network: _Network, key: Key) -> None:
        super().__init__(network, {}, {}, key=key, train=True)
        self.first: dict[Path, PyTree] = {}

    def call(self, path: Path, x: PyTree) -> PyTree:
        self.first.setdefault(path, shape_of(x))
        return super().call(path, x)

    def params_of(self, path: Path) -> PyTree:
        if path not in self.first:
            hint = "In init a layer has parameters after its first call."
            fail(_in_layer(path), expected="a call before its parameters are read", got="none", hint=hint)
        return zeros(self._made(path)[0])

    def state_of(self, path: Path) -> PyTree:
        return zeros(self._made(path)[1])

    def keep(self, path: Path, state: PyTree) -> None:
        pass

    def _made(self, path: Path) -> tuple[PyTree, PyTree]:
        """The shapes of a layer's parameters and state."""
        layer = self.network.flat[path]
        with _shared_shapes() as known, inside(joined_path(path)), located(_in_layer(path)):
            place = layer, _signature(self.first[path])
            if place not in known:
                # A new function, since JAX remembers what it traced, and `init` may depend on `cache_request`.
                out = jax.eval_shape(lambda key, x: layer.init(key, x), shape_of(self.key), self.first[path])
                known[place] = pair_of("init", "params, state", out)
            params, state = known[place]
        return params, state


class _Layers:
    """The layers of a `Model` as ``forward`` sees them: attributes by name."""

    def __init__(self, evaluation: _Evaluation) -> None:
        self._name = evaluation.network.name
        self._bound = {name: _bound(evaluation, (name,), layer) for name, layer in evaluation.network.layers.items()}

    def __getitem__(self, name: str) -> Any:
        if name not in self._bound:
            fail(self._name, expected=f"one of the layers {listed(self._bound)}", got=f"layers.{name}")
        return self._bound[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except InputError as error:
            raise _NoLayerError(str(error)) from None


class _NoLayerError(InputError, AttributeError):
    """An unknown layer, for which `hasattr` is False."""


class BoundLayer:
    """A layer inside the ``forward`` of a `Model`, to be called with its input."""

    def __init__(self, evaluation: _Evaluation, path: Path) -> None:
        self._evaluation, self._path = evaluation, path

    def __call__(self, *x: PyTree, **options: object) -> PyTree:
        """The output for one input, or for several as a tuple."""
        if options:
            got, hint = ", ".join(f"{name}=" for name in options), "The model passes key and train to its layers."
            fail(_in_layer(self._path), expected="inputs without options", got=got, hint=hint)
        if not x:
            fail(_in_layer(self._path), expected="an input", got="none")
        return self._evaluation.call(self._path, _arrays(x[0] if len(x) == 1 else x))

    @property
    def params(self) -> PyTree:
        """The parameters of the layer."""
        return self._evaluation.params_of(self._path)


def _bound(evaluation: _Evaluation, path: Path, layers: Nested) -> object:
    if isinstance(layers, Layer):
        return BoundLayer(evaluation, path)
    if isinstance(layers, dict):
        return {name: _bound(evaluation, (*path, name), layer) for name, layer in layers.items()}
    return [_bound(evaluation, (*path, i), layer) for i, layer in enumerate(layers)]


def _flatten(path: Path, layers: object) -> Iterator[tuple[Path, Layer]]:
    """Every layer with its path; anything else among them is refused."""
    where = f"Model, {joined_path(path)}" if path else "Model"
    if isinstance(layers, (dict, list, tuple)):
        for name, layer in layers.items() if isinstance(layers, dict) else enumerate(layers):
            if isinstance(layers, dict):
                check_name(where, name)
            yield from _flatten((*path, name), layer)
    elif isinstance(layers, Layer):
        yield path, layers
    else:
        hint = call_hint(layers) or "Functions need no layer: call them inside forward."
        fail(where, expected="a Layer, or a list or dict of layers", got=in_words(layers), hint=hint)


def _mirror(layers: Nested, values: Entries, path: Path = ()) -> PyTree:
    """A tree like that of the layers with a value for each; dicts leave out empty values."""
    if isinstance(layers, dict):
        entries = {name: _mirror(layer, values, (*path, name)) for name, layer in layers.items()}
        return {name: entry for name, entry in entries.items() if jax.tree.leaves(entry)}
    if isinstance(layers, (list, tuple)):
        return [_mirror(layer, values, (*path, i)) for i, layer in enumerate(layers)]
    return values[path]


def _entries(where: str, kind: str, layers: Nested, tree: PyTree, path: Path = ()) -> dict[Path, PyTree]:
    """The inverse of `_mirror`; a tree of another form is refused."""
    if isinstance(layers, Layer):
        return {path: tree}
    names: Any = layers if isinstance(layers, dict) else range(len(layers))
    fits = (
        isinstance(tree, dict) and tree.keys() <= set(names)
        if isinstance(layers, dict)
        else (isinstance(tree, (list, tuple)) and len(tree) == len(names))
    )
    if not fits:
        got = str(sorted(map(str, tree))) if isinstance(tree, dict) else describe(tree)
        place = f"{where}, {joined_path(path)}" if path else where
        expected = f"{kind} of the layers {listed(names, 'and')}"
        fail(place, expected=expected, got=got, hint="Do they belong to another model?")
    found: dict[Path, PyTree] = {}
    for name in names:
        if isinstance(layers, dict) and name not in tree:
            continue
        found |= _entries(where, kind, layers[name], tree[name], (*path, name))
    return found


def _options(forward: Callable[..., PyTree]) -> set[str]:
    """Which of key and train a function takes by name; one that needs anything else is refused."""
    try:
        parameters = (signature := inspect.signature(forward)).parameters
    except (TypeError, ValueError):  # written in C
        return set()
    given = unwrapped(forward)[1]
    any_name = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    options = {name for name in ("key", "train") if (any_name or name in parameters) and name not in given}
    others = [name for name in IN_FORWARD if name in parameters and name not in given]
    try:
        signature.bind(None, None, **dict.fromkeys(options))
    except TypeError:
        fits = False
    else:
        fits = not others
    if not fits:
        hint = "Pass several inputs as one tuple or dict."
        hint = f"Write {IN_FORWARD[others[0]]} for {others[0]}." if others else hint
        got = f"{written(forward)}({', '.join(parameters)})"
        fail("Model", expected="forward(layers, x), with key or train by name if it needs them", got=got, hint=hint)
    return options


def _swapped(network: _Network, error: Exception) -> str:
    """Advice for a ``forward(x, layers)``, which looks for a layer in the input, or computes with the layers."""
    names, inputs = {path[0] for path in network.flat}, (jax.Array, tuple, list, dict)
    looked = isinstance(error, AttributeError) and isinstance(error.obj, inputs) and error.name in names
    computed = isinstance(error, TypeError) and _Layers.__name__ in str(error)
    return "forward takes the layers first: forward(layers, x)." if looked or computed else ""


def _child(key: Key, path: Path) -> Key:
    """The key of a layer, which depends on its path alone; that of ``forward`` has the empty path."""
    return fold_in(key, zlib.crc32(joined_path(path).encode()))


def _in_layer(path: Path) -> str:
    return f"layer {joined_path(path)!r}"


def _arrays(tree: PyTree) -> PyTree:
    """A tree with arrays in place of Python numbers."""
    return jax.tree.map(lambda a: a if hasattr(a, "dtype") else jnp.asarray(a), tree)


def _signature(x: PyTree) -> Hashable:
    leaves, treedef = jax.tree.flatten(x)
    return treedef, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


@contextlib.contextmanager
def _shared_shapes() -> Iterator[dict[Hashable, Any]]:
    """What is known of shapes, shared by all Models inside the outermost `init`; else nesting would double the work."""
    known = _SHAPES.get()
    if known is not None:
        yield known
        return
    known = {}
    with setting(_SHAPES, known):
        yield known


def _line(forward: Callable[..., PyTree], error: Exception) -> str:
    """The line of a function that an error came through, as text to be appended to a name."""
    forward = inspect.unwrap(unwrapped(forward)[0])
    code = getattr(forward, "__code__", None) or getattr(type(forward).__call__, "__code__", None)
    place = last_place(error, lambda passed: passed is code)
    if place is None:
        return ""
    number = place.tb_lineno
    text = "".join(lines_around(place)[number - 1 : number]).strip()
    return f", line {number} of {place.tb_frame.f_code.co_name}" + (f": {text}" if text else "")
