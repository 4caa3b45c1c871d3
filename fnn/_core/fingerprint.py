"""Whether two trees are the same, bit for bit, told by a short text."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import jax
import numpy as np

from .errors import describe, fail
from .random import is_key
from .trees import path_text

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def fingerprint(tree: Any) -> str:
    """A text of 16 hexadecimal digits that is the same for two trees only if every bit of them is.

    Counted are the structure with the names of its types, the paths, and of each array shape, dtype and bits: 0.0 and
    -0.0 differ, and so do NaNs with different bits. Not counted is where an array lies: in JAX or NumPy, on which
    device, in which byte order or memory layout. The text is the same on every machine and for every version of JAX.

    Two trees that differ have the same text by accident once in 2^64 cases (it is their BLAKE2b hash, RFC 7693).

    Args:
      tree: a pytree, such as a `TrainState`, of arrays, PRNG keys, Python numbers and texts; a `History` counts as the
        dict that it is.

    Returns:
      The text.

    Raises:
      InputError: for values that are not known yet (inside ``jit``, ``grad`` or ``vmap``), arrays given up to another
        call, and leaves or static data whose bits have no meaning elsewhere, such as functions.

    >>> import jax.numpy as jnp
    >>> fingerprint({"kernel": jnp.zeros((2, 3)), "bias": jnp.ones(3)})
    '943325252dab13e9'
    >>> fingerprint(0.0) == fingerprint(-0.0), fingerprint([1, 2]) == fingerprint((1, 2))
    (False, False)
    """
    hasher = hashlib.blake2b(digest_size=8, person=b"fnn tree 1")
    _add_tree(hasher, tree, ())
    return hasher.hexdigest()


def _add(hasher: Any, kind: str, content: Any) -> None:
    """One item behind its kind and its length, so that no two series of items are the same bytes."""
    head = f"{kind}:{len(content)}:".encode()
    hasher.update(head)
    hasher.update(content)


def _add_tree(hasher: Any, tree: Any, path: tuple[Any, ...]) -> None:
    # JAX takes a dict with methods of its own, such as a History, for a leaf, unless told otherwise.
    if isinstance(tree, dict) and jax.tree_util.all_leaves([tree]):
        tree = dict(tree)
    # One level at a time, since the text that JAX has for a structure differs between its versions.
    children, treedef = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    if len(children) == 1 and children[0][0] == ():
        return _add_leaf(hasher, tree, path)
    _add(hasher, "node", type(tree).__name__.encode())
    if tree is not None and not isinstance(tree, (dict, list, tuple)):
        _add_plain(hasher, treedef.node_data()[1], path)  # type: ignore[attr-defined]
    _add(hasher, "children", str(len(children)).encode())
    for keys, child in children:
        # Dicts have their keys themselves, since 1 and "1" read the same; a class may flatten into several keys.
        key = keys[0]
        _add_plain(hasher, key.key if isinstance(key, jax.tree_util.DictKey) else path_text(keys), path)
        _add_tree(hasher, child, (*path, *keys))
    return None


def _add_leaf(hasher: Any, leaf: Any, path: tuple[Any, ...]) -> None:
    if isinstance(leaf, _PLAIN) and not isinstance(leaf, np.generic):
        return _add_plain(hasher, leaf, path)
    if isinstance(leaf, jax.core.Tracer):
        hint = "Call it on what the compiled function returns."
        fail(_where(path), expected="values that are known", got=f"a traced {describe(leaf)}", hint=hint)
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        hint = "It was donated; take the fingerprint before that call, or of what the call returned."
        fail(_where(path), expected="an array that still exists", got=f"a deleted {describe(leaf)}", hint=hint)
    if isinstance(leaf, jax.Array) and is_key(leaf):
        _add(hasher, "key", str(jax.random.key_impl(leaf)).encode())
        leaf = jax.random.key_data(leaf)
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        fail(_where(path), expected="an array, a PRNG key, a number or a text", got=type(leaf).__name__)
    array = np.asarray(leaf)
    # Objects are addresses, and the 80 bits of long double lie in 128, of which the rest is whatever was there before.
    if array.dtype.hasobject or array.dtype.names is not None or array.dtype.char in "gG":
        fail(_where(path), expected="an array of numbers", got=describe(array))
    name = array.dtype.name
    if name.removeprefix("u") in ("int2", "int4"):
        array = array.astype(np.int8)  # held in bytes, of which only a part counts
    if array.dtype.byteorder != "|":
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    _add(hasher, "array", f"{name}{list(array.shape)}".encode())
    # As bytes without a copy; a dtype such as bfloat16 is unknown to the buffer protocol.
    _add(hasher, "bits", np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return None


def _add_plain(hasher: Any, value: Any, path: tuple[Any, ...]) -> None:
    """A Python value, with its type."""
    kind = type(value).__name__
    if isinstance(value, float):
        return _add(hasher, kind, struct.pack("<d", value))
    if isinstance(value, complex):
        return _add(hasher, kind, struct.pack("<dd", value.real, value.imag))
    if isinstance(value, bytes):
        return _add(hasher, kind, value)
    if isinstance(value, _PLAIN):
        return _add(hasher, kind, str(value).encode())
    if isinstance(value, (tuple, list)):
        _add(hasher, kind, str(len(value)).encode())
        for item in value:
            _add_plain(hasher, item, path)
        return None
    hint = "Its bits mean nothing in another process."
    fail(_where(path), expected="plain values as keys and static data", got=describe(value), hint=hint)


def _where(path: tuple[Any, ...]) -> str:
    return "fingerprint" + (f", {path_text(path)}" if path else "")
