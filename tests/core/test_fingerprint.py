"""Fingerprints of trees are equal for equal bits, and only for these."""

import collections
import dataclasses
import functools
import hashlib
import struct
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fnn
from fnn import fingerprint


class Pair(NamedTuple):
    a: object
    b: object


class Twin(NamedTuple):
    a: object
    b: object


@functools.partial(jax.tree_util.register_dataclass, data_fields=["a"], meta_fields=["label"])
@dataclasses.dataclass
class Box:
    a: object
    label: object


def test_the_fingerprint_is_a_documented_hash():
    """Written out item by item: every version of fnn, Python and JAX must compute the same hash."""
    items = [
        ("node", b"dict"), ("children", b"2"),
        ("str", b"a"), ("array", b"float32[2, 1]"), ("bits", struct.pack("<ff", 1.5, -0.0)),
        ("str", b"b"), ("node", b"tuple"), ("children", b"3"),
        ("str", b"0"), ("int", b"7"), ("str", b"1"), ("float", struct.pack("<d", 0.1)),
        ("str", b"2"), ("array", b"bfloat16[]"), ("bits", b"\x80\x3f"),
    ]  # fmt: skip
    stream = b"".join(f"{kind}:{len(content)}:".encode() + content for kind, content in items)
    expected = hashlib.blake2b(stream, digest_size=8, person=b"fnn tree 1").hexdigest()
    tree = {"a": jnp.array([[1.5], [-0.0]]), "b": (7, 0.1, jnp.ones((), jnp.bfloat16))}
    assert fingerprint(tree) == expected
    assert len(expected) == 16


def test_a_history_counts_as_a_plain_dict():
    lists = {"loss": [0.5, 0.25], "seconds": [1.0, 2.0]}
    history = fnn.History(lists)
    assert fingerprint(history) == fingerprint(lists)
    assert fingerprint({"of": [history, 1]}) == fingerprint({"of": [lists, 1]})
    assert fingerprint(history) != fingerprint(fnn.History(loss=[0.5, 0.25]))
    assert fingerprint(fnn.History()) == fingerprint({})
    # A dict type registered with JAX keeps its name.
    ordered = collections.OrderedDict(lists)
    assert fingerprint(ordered) != fingerprint(lists)


NAN = np.array([0x7FC00000], "uint32").view("float32")
OTHER_NAN = np.array([0x7FC00001], "uint32").view("float32")
DIFFERENT = {
    "nothing": None, "empty dict": {}, "empty list": [], "empty tuple": (), "empty text": "", "empty bytes": b"",
    "array without numbers": np.zeros(0, "f"), "another": np.zeros((0, 2), "f"),
    "zero": 0, "false": False, "zero as float": 0.0, "minus zero": -0.0, "complex zero": 0j, "zero as text": "0",
    "float32 0": np.float32(0), "float32 -0": np.float32(-0.0), "float64 0": np.float64(0), "int32 0": np.int32(0),
    "bfloat16 0": np.zeros((), ml_dtypes.bfloat16), "float16 0": np.float16(0), "bool 0": np.zeros((), bool),
    "vector": np.float32([0]), "matrix": np.float32([[0]]), "pair of zeros": np.float32([0, 0]),
    "row": np.float32([[1, 2, 3]]), "column": np.float32([[1], [2], [3]]), "numbers": np.float32([1, 2, 3]),
    "turned": np.float32([3, 2, 1]), "nan": NAN, "other nan": OTHER_NAN, "infinity": np.float32([np.inf]),
    "list": [1, 2], "tuple": (1, 2), "turned list": [2, 1], "nested": [[1], 2], "other nested": [[1, 2]],
    "named": Pair(1, 2), "of another name": Twin(1, 2), "dict": {"a": 1, "b": 2}, "other keys": {"a": 1, "c": 2},
    "number as key": {1: 1}, "text as key": {"1": 1}, "ordered": collections.OrderedDict(a=1, b=2),
    "ordered the other way": collections.OrderedDict(b=2, a=1), "with nothing": {"a": 1, "b": 2, "c": None},
    "box": Box(1, "x"), "other box": Box(1, "y"), "box in pairs": Box(1, ("x", 1)), "and": Box(1, ("x", 1.0)),
    "key": jax.random.key(3), "its data": jax.random.key_data(jax.random.key(3)), "other key": jax.random.key(4),
    "two keys": jax.random.split(jax.random.key(3)), "key of another kind": jax.random.key(3, impl="rbg"),
    "int4": np.array([-2, 7], ml_dtypes.int4), "int8": np.array([-2, 7], "int8"),
    "uint4": np.array([2], ml_dtypes.uint4), "text": "ab", "texts": ["a", "b"], "bytes": b"ab", "long": 2**70,
    "array of text": np.array(["ab"]), "date": np.datetime64("2020-01-01"),
}  # fmt: skip


def test_different_trees_have_different_fingerprints():
    found = {name: fingerprint(tree) for name, tree in DIFFERENT.items()}
    assert len(set(found.values())) == len(found), [n for n, f in found.items() if list(found.values()).count(f) > 1]
    assert found == {name: fingerprint(tree) for name, tree in DIFFERENT.items()}


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool", "float16", "bfloat16", "complex64", "int4"])
def test_placement_and_layout_do_not_count(dtype):
    x = np.arange(6).reshape(2, 3).astype(jnp.dtype(dtype))
    expected = fingerprint(x)
    wide = np.zeros((4, 6), x.dtype)
    wide[::2, ::2] = x
    for same in (jnp.asarray(x), np.asfortranarray(x), wide[::2, ::2], jax.jit(lambda x: x)(x)):
        assert fingerprint(same) == expected
    if x.dtype.itemsize > 1 and dtype != "bfloat16":
        swapped = x.astype(x.dtype.newbyteorder(">"))
        assert swapped.tobytes() != x.tobytes()
        assert fingerprint(swapped) == expected
    changed = x.copy()
    changed[1, 2] = 0
    assert fingerprint(changed) != expected


def test_the_insertion_order_of_a_dict_does_not_count():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@given(
    hnp.arrays(
        st.sampled_from(["float32", "float64", "int16", "uint8"]), hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
    ),
    st.data(),
)
def test_every_bit_matters(x, data):
    bits = bytearray(x.tobytes())
    place = data.draw(st.integers(0, 8 * len(bits) - 1))
    bits[place // 8] ^= 1 << place % 8
    flipped = np.frombuffer(bytes(bits), x.dtype).reshape(x.shape)
    assert fingerprint(x) == fingerprint(x.copy())
    assert fingerprint([flipped]) != fingerprint([x])


def test_fingerprints_of_training_states():
    task = fnn.Task(fnn.Sequential(fnn.BatchNorm(), fnn.Dense(1)), "mse", "adam")
    x = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
    ts = fnn.init(task, jax.random.key(0), x)
    once, _ = fnn.train_step(task, ts, (x, x[:, :1]))
    again, _ = fnn.train_step(task, ts, (x, x[:, :1]))
    assert fingerprint(once) == fingerprint(again) != fingerprint(ts)
    assert fingerprint(once._replace(key=jax.random.key(1))) != fingerprint(once)
    kernel = np.asarray(once.params["dense"]["kernel"])
    nudged = once.params | {
        "dense": {"bias": once.params["dense"]["bias"], "kernel": np.nextafter(kernel, np.float32(9))}
    }
    assert fingerprint(once._replace(params=nudged)) != fingerprint(once)
    assert fingerprint(jax.device_get(once._replace(key=0))) == fingerprint(once._replace(key=0))


def test_every_process_computes_the_same_fingerprint():
    """Python's own hashes of strings differ from process to process."""
    code = "import numpy as np, fnn; print(fnn.fingerprint({'b': (1.5, 'x'), 'a': np.arange(5.0)}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == fingerprint({"a": np.arange(5.0), "b": (1.5, "x")}), out.stderr


def test_leaves_without_bits_are_refused():
    with pytest.raises(fnn.InputError, match=r"fingerprint, b/0: expected concrete values, got traced ones"):
        jax.jit(lambda x: fingerprint({"a": 1, "b": [x]}))(jnp.ones(2))
    with pytest.raises(fnn.InputError, match=r"fingerprint: expected concrete values"):
        jax.grad(lambda x: float(fingerprint(x), 16))(1.0)
    with pytest.raises(fnn.InputError, match=r"an array, a PRNG key, a number or a string, got a function"):
        fingerprint([lambda x: x])
    with pytest.raises(fnn.InputError, match=r"an array, a PRNG key, a number or a string, got a ShapeDtypeStruct"):
        fingerprint(jax.ShapeDtypeStruct((2,), jnp.float32))
    with pytest.raises(fnn.InputError, match=r"fingerprint, 0: expected an array of numbers, got object\[2\]"):
        fingerprint([np.array([1, "a"], object)])
    with pytest.raises(fnn.InputError, match=r"an array of numbers, got \[\('a', '<i4'\)\]\[1\]"):
        fingerprint(np.zeros(1, [("a", "<i4")]))
    with pytest.raises(fnn.InputError, match="plain values as keys and static data, got a function"):
        fingerprint(Box(1, lambda: 1))
    gone = jnp.ones(3)
    gone.delete()
    with pytest.raises(fnn.InputError, match=r"fingerprint, w: expected an array that still exists, got a deleted"):
        fingerprint({"w": gone})
