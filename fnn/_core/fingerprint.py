"""A hash of a pytree; equal hashes mean equal bits."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import jax
import numpy as np

from .dtypes import is_key
from .errors import describe, fail, kind_of
from .processes import on_host
from .trees import path_text
from .types import KeyPath, PyTree

Item = tuple[str, bytes | memoryview]
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def fingerprint(tree: PyTree) -> str:
    """A hash of a pytree, in 16 hexadecimal digits; equal hashes mean equal bits.

    It depends on the structure with the names of its types, the paths, and the shape, dtype and bits of each array:
    0.0 and -0.0 differ, and so do NaNs with different bits. It does not depend on where an array is held: in JAX or
    NumPy, on which device, in which byte order or memory layout. It is the same on every machine and in every version
    of JAX. Trees that differ share their hash with probability 2^-64 (BLAKE2b, RFC 7693).

    Args:
      tree: a pytree, such as a `TrainState`, of arrays, PRNG keys, Python numbers and strings; a `History` counts as a
        plain dict.

    Raises:
      InputError: for traced values (inside ``jit``, ``grad`` or ``vmap``), arrays donated to another call, and leaves
        or static data whose bits have no meaning elsewhere, such as functions.

    >>> import jax.numpy as jnp
    >>> fingerprint({"kernel": jnp.zeros((2, 3)), "bias": jnp.ones(3)})
    '943325252dab13e9'
    >>> fingerprint(0.0) == fingerprint(-0.0), fingerprint([1, 2]) == fingerprint((1, 2))
    (False, False)
    """
    hasher = hashlib.blake2b(digest_size=8, person=b"fnn tree 1")
    for kind, content in _items(tree, ()):
        # Kind and length come first, so that different sequences never produce the same bytes.
        hasher.update(f"{kind}:{len(content)}:".encode())
        hasher.update(content)
    return hasher.hexdigest()


def _items(tree: PyTree, path: KeyPath) -> Iterator[Item]:
    """What the hash of a tree counts, in order: the kind and content of its nodes, keys and leaves."""
    # JAX takes a dict with methods, such as a History, for a leaf.
    if isinstance(tree, dict) and jax.tree_util.all_leaves([tree]):
        tree = dict(tree)
    # One level at a time, since JAX prints a structure differently in different versions.
    children, treedef = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    if len(children) == 1 and children[0][0] == ():
        yield from _leaf(tree, path)
        return
    yield "node", type(tree).__name__.encode()
    if tree is not None and not isinstance(tree, (dict, list, tuple)):
        yield from _python_value(treedef.node_data()[1], path)  # type: ignore[attr-defined]
    yield "children", str(len(children)).encode()
    for keys, child in children:
        # The keys of dicts as values, since 1 and "1" print alike; a class may flatten into several keys.
        key = keys[0]
        yield from _python_value(key.key if isinstance(key, jax.tree_util.DictKey) else path_text(keys), path)
        yield from _items(child, (*path, *keys))


def _leaf(leaf: PyTree, path: KeyPath) -> Iterator[Item]:
    if isinstance(leaf, _PLAIN) and not isinstance(leaf, np.generic):
        yield from _python_value(leaf, path)
        return
    if isinstance(leaf, jax.core.Tracer):
        hint = "Call it on the result of the compiled function."
        fail(_where(path), expected="concrete values", got="traced ones", hint=hint)
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        hint = "It was donated; take the fingerprint before that call, or of what the call returned."
        fail(_where(path), expected="an array that still exists", got=f"a deleted {describe(leaf)}", hint=hint)
    if isinstance(leaf, jax.Array) and is_key(leaf):
        yield "key", str(jax.random.key_impl(leaf)).encode()
        leaf = jax.random.key_data(leaf)
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        fail(_where(path), expected="an array, a PRNG key, a number or a string", got=kind_of(leaf))
    array = on_host(leaf)
    # Objects are addresses, and the 80 bits of a long double are padded with undefined ones to 128.
    if array.dtype.hasobject or array.dtype.names is not None or array.dtype.char in "gG":
        fail(_where(path), expected="an array of numbers", got=describe(array))
    name = array.dtype.name
    if name.removeprefix("u") in ("int2", "int4"):
        array = array.astype(np.int8)  # each fills a byte, whose other bits do not count
    if array.dtype.byteorder != "|":
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    yield "array", f"{name}{list(array.shape)}".encode()
    # As bytes without a copy; the buffer protocol does not know dtypes such as bfloat16.
    yield "bits", np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _python_value(value: object, path: KeyPath) -> Iterator[Item]:
    """A Python value, with its type."""
    kind = type(value).__name__
    if isinstance(value, float):
        yield kind, struct.pack("<d", value)
    elif isinstance(value, complex):
        yield kind, struct.pack("<dd", value.real, value.imag)
    elif isinstance(value, bytes):
        yield kind, value
    elif isinstance(value, _PLAIN):
        yield kind, str(value).encode()
    elif isinstance(value, (tuple, list)):
        yield kind, str(len(value)).encode()
        for item in value:
            yield from _python_value(item, path)
    else:
        hint = "Its bits mean nothing in another process."
        fail(_where(path), expected="plain values as keys and static data", got=describe(value), hint=hint)


def _where(path: KeyPath) -> str:
    return "fingerprint" + (f", {path_text(path)}" if path else "")
