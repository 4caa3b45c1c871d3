"""`Model`: any network, written as a plain function of named layers."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import inspect
import linecache
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._core.described import described, in_words
from .._core.errors import InputError, describe, fail, listed, located
from .._core.jaxprs import trace_state
from .._core.trees import shape_of
from .._core.types import Key, Params, PyTree, State
from .added_loss import AddedLoss, is_added_loss
from .layer import Layer, Output, call_hint
from .observe import call, inside, setting

Path = tuple[str | int, ...]
Entries = Mapping[Path, PyTree]  # parameters or state by layer
Nested = Layer | Sequence["Nested"] | Mapping[str, "Nested"]
_SHAPES: contextvars.ContextVar[dict[Hashable, Any] | None] = contextvars.ContextVar("shapes", default=None)


@described
def Model(
    forward: Callable[..., PyTree],
    /,
    *,
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
        ``forward`` may mix the rows of a batch.
      **layers: layers by name; also lists, tuples and dicts of layers: ``layers.blocks[0](x)``.

    Raises:
      InputError: for an item that is not a Layer and for no layers; from ``init`` for a layer that is never called;
        from either function for an unknown layer, for a layer with state called inside ``scan``, ``vmap``, ``jit`` or
        ``cond``, where its new state would be lost, and for any error of a layer, with the line of ``forward``.

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
    if not callable(forward) or isinstance(forward, Layer):
        hint = "Write forward(layers, x), and pass the layers by name."
        fail("Model", expected="a function forward(layers, x)", got=in_words(forward), hint=hint)
    for option, value, kind in (("name", name, str), ("per_example", per_example, bool)):
        if not isinstance(value, kind):
            hint = f"{option} is an option of Model; give the layer another name."
            fail("Model", expected=f"{option} to be a {kind.__name__}", got=in_words(value), hint=hint)
    network = _Network(name, forward, layers, dict(_flatten("Model", (), layers)), _options(forward))
    if not network.flat:
        fail("Model", expected="layers by name", got="none", hint="Pass them by name: Model(forward, stem=Dense(8)).")

    def init(key: Key, x: PyTree) -> tuple[Params, State]:
        with _shared_shapes() as known:
            x = shape_of(x)
            place = network, _signature(x)
            if place not in known:
                known[place] = _first_inputs(network, key, x)
            made = {}
            for path, layer in network.flat.items():
                with inside(_text(path)):
                    made[path] = layer.init(_child(key, path), known[place][path])
        params, state = (_mirror(layers, {path: out[i] for path, out in made.items()}) for i in range(2))
        return params, state

    def apply(params: Params, state: State, x: PyTree, *, key: Key | None = None, train: bool = False) -> Output:
        given = (_entries(name, kind, layers, tree) for kind, tree in (("parameters", params), ("state", state)))
        evaluation = _Evaluation(network, *given, key=key, train=train)
        y = evaluation.run(x)
        return y, _mirror(layers, {path: evaluation.new_state(path) for path in network.flat})

    return Layer(init, apply, name, "Model", per_example)


@dataclasses.dataclass(frozen=True, eq=False)
class _Network:
    """The arguments of a `Model`, with every layer by path and the options that ``forward`` takes."""

    name: str
    forward: Callable[..., PyTree]
    layers: Mapping[str, Nested]
    flat: dict[Path, Layer]
    options: set[str]


class _Evaluation:
    """One evaluation of ``forward``, which keeps the state after the calls so far."""

    def __init__(
        self, network: _Network, params: Entries, state: Entries, *, key: Key | None = None, train: bool = False
    ) -> None:
        self.network, self.params, self.before, self.key, self.train = network, params, state, key, train
        self.after: dict[Path, State] = {}
        self.calls = dict.fromkeys(network.flat, 0)
        self.transformations = trace_state()

    def run(self, x: PyTree) -> PyTree:
        """The output of ``forward``."""
        network = self.network
        options: dict[str, Key | bool | None] = {"key": self.key_of((), None), "train": self.train}
        with _at_line(network.name, network.forward):
            return network.forward(_Layers(self), x, **{name: options[name] for name in network.options})

    def key_of(self, path: Path, count: int | None) -> Key | None:
        """The key of a call of a layer; that of ``forward`` has the empty path and no count."""
        if self.key is None:
            return None
        key = _child(self.key, path)
        return key if count is None else jax.random.fold_in(key, count)

    def params_of(self, path: Path) -> Params:
        """The parameters of a layer."""
        return self.params.get(path, {})

    def state_of(self, path: Path) -> State:
        """The state of a layer before its next call."""
        return self.after.get(path, self.before.get(path, {}))

    def call(self, path: Path, x: PyTree) -> PyTree:
        """The output of a layer."""
        where, layer = _place(path), self.network.flat[path]
        key = self.key_of(path, self.calls[path])
        self.calls[path] += 1
        params, state = self.params_of(path), self.state_of(path)
        if jax.tree.leaves(state) and trace_state() != self.transformations:
            hint = "Call it outside, or repeat it with a Python loop."
            expected = "a layer without state inside jax.lax.scan, vmap, jit, cond or checkpoint"
            fail(where, expected=expected, got=f"{layer.kind} with state, which would be lost", hint=hint)
        number = self.calls[path]
        y, new = call(_text(path), where, layer, params, state, x, number=number, key=key, train=self.train)
        self.keep(path, new)
        return y

    def keep(self, path: Path, state: State) -> None:
        """Remember the state after a call, with the sum of what all calls add to the loss."""
        if path in self.after:

            def joined(old: PyTree, new: PyTree) -> PyTree:
                return AddedLoss(old.value + new.value) if is_added_loss(new) else new

            state = jax.tree.map(joined, self.after[path], state, is_leaf=is_added_loss)
        self.after[path] = state

    def new_state(self, path: Path) -> State:
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

    def params_of(self, path: Path) -> Params:
        if path not in self.first:
            hint = "In init a layer has parameters after its first call."
            fail(_place(path), expected="a call before its parameters are read", got="none", hint=hint)
        return _zeros(self._made(path)[0])

    def state_of(self, path: Path) -> State:
        return _zeros(self._made(path)[1])

    def keep(self, path: Path, state: State) -> None:
        pass

    def _made(self, path: Path) -> tuple[Params, State]:
        """The shapes of a layer's parameters and state."""
        layer = self.network.flat[path]
        with _shared_shapes() as known, inside(_text(path)), located(_place(path)):
            place = layer, _signature(self.first[path])
            if place not in known:
                # A new function, since JAX remembers what it traced, and `init` may depend on `cache_request`.
                out = jax.eval_shape(lambda key, x: layer.init(key, x), shape_of(self.key), self.first[path])
                if not (isinstance(out, tuple) and len(out) == 2):
                    fail("init", expected="the pair (params, state)", got=describe(out), hint="Return (params, state).")
                known[place] = out
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
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]


class BoundLayer:
    """A layer inside the ``forward`` of a `Model`, to be called with its input."""

    def __init__(self, evaluation: _Evaluation, path: Path) -> None:
        self._evaluation, self._path = evaluation, path

    def __call__(self, *x: PyTree) -> PyTree:
        """The output for one input, or for several as a tuple."""
        if not x:
            fail(_place(self._path), expected="an input", got="none")
        return self._evaluation.call(self._path, x[0] if len(x) == 1 else x)

    @property
    def params(self) -> Params:
        """The parameters of the layer."""
        return self._evaluation.params_of(self._path)


def _bound(evaluation: _Evaluation, path: Path, layers: Nested) -> object:
    if isinstance(layers, Layer):
        return BoundLayer(evaluation, path)
    if isinstance(layers, dict):
        return {name: _bound(evaluation, (*path, name), layer) for name, layer in layers.items()}
    return [_bound(evaluation, (*path, i), layer) for i, layer in enumerate(layers)]


def _flatten(where: str, path: Path, layers: object) -> Iterator[tuple[Path, Layer]]:
    """Every layer with its path; anything else among them is refused."""
    if isinstance(layers, dict):
        for name, layer in layers.items():
            if not isinstance(name, str):
                fail(f"{where}, layers {_text(path)!r}", expected="names as keys", got=in_words(name))
            yield from _flatten(where, (*path, name), layer)
    elif isinstance(layers, (list, tuple)):
        for i, layer in enumerate(layers):
            yield from _flatten(where, (*path, i), layer)
    elif isinstance(layers, Layer):
        yield path, layers
    else:
        hint = call_hint(layers) or "Functions need no layer: call them inside forward."
        fail(
            f"{where}, {_text(path)}", expected="a Layer, or a list or dict of layers", got=in_words(layers), hint=hint
        )


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
        got = sorted(map(str, tree)) if isinstance(tree, dict) else describe(tree)
        place = f"{where}, {_text(path)}" if path else where
        fail(
            place,
            expected=f"{kind} of the layers {listed(names, 'and')}",
            got=str(got),
            hint="Are they another model's?",
        )
    found: dict[Path, PyTree] = {}
    for name in names:
        if isinstance(layers, dict) and name not in tree:
            continue
        found |= _entries(where, kind, layers[name], tree[name], (*path, name))
    return found


def _first_inputs(network: _Network, key: Key, x: PyTree) -> dict[Path, PyTree]:
    """The shape of the first input of each layer; a layer without one is refused."""
    first: dict[Path, PyTree] = {}

    def trace(key: Key, x: PyTree) -> PyTree:
        evaluation = _ShapeEvaluation(network, key)
        y = evaluation.run(x)
        first.update(evaluation.first)
        return y

    jax.eval_shape(trace, key, x)
    if missing := [_text(path) for path in network.flat if path not in first]:
        hint = "Call it there, or leave it out. init calls forward with train=True."
        fail(network.name, expected="forward to call every layer", got=f"no call of {listed(missing)}", hint=hint)
    return first


def _options(forward: Callable[..., PyTree]) -> set[str]:
    """Which of key and train a function takes by name."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):  # written in C
        return set()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return {"key", "train"}
    return {p.name for p in parameters if p.name in ("key", "train") and p.kind is not p.POSITIONAL_ONLY}


def _child(key: Key, path: Path) -> Key:
    """The key of a layer, which depends on its path alone; that of ``forward`` has the empty path."""
    return jax.random.fold_in(key, zlib.crc32(_text(path).encode()))


def _text(path: Path) -> str:
    return "/".join(map(str, path))


def _place(path: Path) -> str:
    return f"layer {_text(path)!r}"


def _zeros(shapes: PyTree) -> PyTree:
    """Arrays of given shapes, in the current trace."""
    return jax.tree.map(_zero, shapes)


def _zero(a: jax.ShapeDtypeStruct) -> jax.Array:
    if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), a.shape)
    return jnp.zeros(a.shape, a.dtype)


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


@contextlib.contextmanager
def _at_line(name: str, forward: Callable[..., PyTree]) -> Iterator[None]:
    """Prefix errors raised inside with the line of ``forward`` that runs."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}{_line(forward, error)} > {error}") from None
    except Exception as error:
        error.add_note(f"in {name}{_line(forward, error)}")
        raise


def _line(forward: Callable[..., PyTree], error: Exception) -> str:
    """The line of a function that an error came through, as text to be appended to a name."""
    code = getattr(inspect.unwrap(forward), "__code__", None)
    traceback, found = error.__traceback__, None
    while traceback is not None:
        if traceback.tb_frame.f_code is code:
            found = traceback.tb_lineno
        traceback = traceback.tb_next
    if code is None or found is None:
        return ""
    text = linecache.getline(code.co_filename, found).strip()
    return f", line {found} of {code.co_name}" + (f": {text}" if text else "")
