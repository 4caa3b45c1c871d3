"""Checkpoints: every dtype is restored bit for bit, training continues exactly, and bad files are diagnosed."""

import errno
import gzip
import json
import os
import pathlib
import pickle
import re
import resource
import shutil
import stat
import struct
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors
from helpers import assert_same
from safetensors.numpy import load_file, save_file

import fnn
from fnn.checkpoint import file, saving

KEY = jax.random.key(5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def small_task(units=3, optimizer="adam"):
    return fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.BatchNorm(), fnn.Dense(units)), "mse", optimizer)


@pytest.fixture(scope="module")
def state():
    return small_task(), fnn.init(small_task(), KEY, (5,))


def trained(task, ts):
    """The state after a step, which all tests compile for the same shapes."""
    x = np.random.default_rng(0).normal(2, 1, size=(16, 5)).astype("f")
    return fnn.train_step(task, ts, (x, x[:, :3]))[0]


def is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


# ------------------------------------------------------------------------------------------------------------ roundtrip
def test_a_train_state_is_restored_bit_for_bit(state, path):
    task, ts = state
    ts = trained(task, ts)
    assert fnn.save(path, ts) is None
    blank = jax.jit(lambda ts: jax.tree.map(lambda a: a if is_key(a) else jnp.zeros_like(a), ts))(ts)
    blank = blank._replace(key=jax.random.key(77))
    assert_same(fnn.load(path, blank), ts)
    assert_same(fnn.load(str(path), jax.eval_shape(lambda: ts)), ts)
    assert os.listdir(path.parent) == [path.name], "no other file is left"


FLOATS = ["bfloat16", "float16", "float32", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float4_e2m1fn"]
INTEGERS = ["int4", "uint4", "int8", "uint8", "int16", "uint16", "int32", "uint32", "bool"]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "complex64"])
def test_every_dtype_of_jax(dtype, path, rng):
    """All bit patterns of the narrow ones, NaN with its payload and the zero with a sign among them."""
    dtype = np.dtype(dtype)
    bytes_of = {"bool": (0, 2), "int4": (-8, 8), "uint4": (0, 16), "float4_e2m1fn": (0, 16)}
    if dtype.name in bytes_of:
        array = rng.integers(*bytes_of[dtype.name], (3, 4)).astype(dtype)
    else:
        array = rng.integers(0, 256, (6, 4 * dtype.itemsize)).astype(np.uint8).view(dtype)
        array[0, 0] = 0
        array[0, 1:3] = np.array([-1, 1]).astype(dtype) * array[0, 0]
    tree = {"a": jnp.asarray(array), "scalar": jnp.asarray(array[0, 0]), "none": jnp.zeros((0, 3), dtype)}
    fnn.save(path, tree)
    assert_same(fnn.load(path, tree), tree)
    assert {name: (s.shape, s.dtype) for name, s in fnn.load_info(path).leaves.items()} == {
        name: (leaf.shape, leaf.dtype) for name, leaf in tree.items()
    }


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint64", "complex128", ">f4", "<i2"])
def test_numpy_arrays_stay_numpy_arrays(dtype, path, rng):
    array = (
        rng.integers(-9, 9, (3, 4)).astype(dtype) if dtype != "uint64" else rng.integers(0, 1 << 63, (3, 4), "uint64")
    )
    tree = {"a": array, "turned": array.T, "strided": array[:, ::2], "one": array[1, 2]}
    fnn.save(path, tree)
    back = fnn.load(path, tree)
    for name, leaf in tree.items():
        assert type(back[name]) is type(leaf)
        assert back[name].dtype == leaf.dtype
        np.testing.assert_array_equal(back[name], leaf)


def test_python_numbers_stay_python_numbers(path):
    tree = {"int": 3, "float": 0.1, "bool": True, "complex": 1 - 2j}
    fnn.save(path, tree)
    back = fnn.load(path, {"int": 0, "float": 0.0, "bool": False, "complex": 0j})
    assert back == tree
    assert {name: type(value) for name, value in back.items()} == {name: eval(name) for name in tree}
    with pytest.raises(fnn.InputError, match=r"Different: int \(int64\[\] in the file, the float 0.5 here\)"):
        fnn.load(path, {**tree, "int": 0.5})


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_keys_typed_and_raw(impl, path):
    tree = {"one": jax.random.key(1, impl=impl), "many": jax.random.split(jax.random.key(2, impl=impl), (2, 3))}
    tree["raw"] = jax.random.key_data(tree["one"])
    fnn.save(path, tree)
    back = fnn.load(path, jax.eval_shape(lambda: tree))
    assert_same(back, tree)
    assert float(jax.random.uniform(back["one"])) == float(jax.random.uniform(tree["one"]))
    leaves = fnn.load_info(path).leaves
    assert (leaves["many"].shape, leaves["many"].dtype) == ((2, 3), tree["many"].dtype)
    other = {**tree, "one": jax.random.key(1, impl="unsafe_rbg"), "raw": tree["one"]}
    with pytest.raises(
        fnn.InputError, match=r"Different: one \(key<\w+>\[\] in the file, key<urbg>\[\] here\), raw \(uin"
    ):
        fnn.load(path, other)


def test_any_pytree_can_be_saved(path, state):
    _, ts = state
    for tree in (ts.params, (jnp.ones(2), [jnp.zeros(3), {"a": jnp.ones(())}]), jnp.arange(5), ts.opt_state, {}):
        fnn.save(path, tree)
        assert_same(fnn.load(path, tree), tree)


def test_many_states_in_one(path, state):
    task, _ = state
    together = jax.jit(jax.vmap(lambda key: fnn.init(task, key, (5,))))(jax.random.split(KEY, 3))
    fnn.save(path, together)
    assert_same(fnn.load(path, together), together)
    assert fnn.load_info(path).step == [0, 0, 0]


def test_other_programs_read_the_file(path, state):
    _, ts = state
    tree = {"params": ts.params, "half": jnp.ones(3, jnp.bfloat16)}
    fnn.save(path, tree)
    read = load_file(path)
    assert set(read) == set(fnn.paths(tree))
    for name, leaf in fnn.paths(tree).items():
        assert read[name].dtype == leaf.dtype
        np.testing.assert_array_equal(read[name], leaf)
    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert (8 + size) % 8 == 0, "arrays are aligned"


def test_metadata_of_a_file(path, state):
    _, ts = state
    history = fnn.History({"loss": [1.5, float("nan"), 0.1], "many": np.arange(4).reshape(2, 2)})
    extra = {
        "data": "mnist",
        "rates": (0.1, np.float32(0.5)),
        "none": None,
        "on": True,
        "é/ü": [1, {"a": jnp.int32(3)}],
    }
    fnn.save(path, ts._replace(step=jnp.int32(7)), history=history, extra=extra)
    info = fnn.load_info(path)
    assert isinstance(info, fnn.CheckpointInfo)
    assert info.format == file.FORMAT == 1
    assert info.version == fnn.__version__
    assert info.step == 7
    assert info.history["loss"][::2] == [1.5, 0.1]
    assert np.isnan(info.history["loss"][1])
    assert info.history["many"] == [[0, 1], [2, 3]]
    assert info.extra == {"data": "mnist", "rates": [0.1, 0.5], "none": None, "on": True, "é/ü": [1, {"a": 3}]}
    assert set(info.leaves) == set(fnn.paths(ts))
    assert info.leaves["params/dense/kernel"].shape == (5, 4)
    assert info.size == sum(leaf.nbytes for leaf in jax.tree.leaves(ts))
    fnn.save(path, ts.params)
    assert fnn.load_info(path)[2:6:3] == (None, None)


def test_loading_compiles_nothing(path, state):
    """Loaded arrays are uncommitted, like those of a new state."""
    task, ts = state
    trained(task, ts)
    before = fnn.train_step._cache_size()
    fnn.save(path, ts)
    trained(task, fnn.load(path, ts))
    assert fnn.train_step._cache_size() == before
    bound = jax.device_put(ts, jax.devices()[0])
    assert fnn.load(path, bound).params["dense"]["kernel"].committed


def test_loaded_arrays_own_their_memory(path):
    """A later step may donate their memory, and overwriting the file does not change them."""
    tree = {"a": jnp.arange(1000.0)}
    fnn.save(path, tree)
    back = fnn.load(path, tree)
    fnn.save(path, {"a": jnp.zeros(1000)})
    np.testing.assert_array_equal(back["a"], tree["a"])
    doubled = jax.jit(lambda t: jax.tree.map(lambda a: 2 * a, t), donate_argnums=0)(back)
    np.testing.assert_array_equal(doubled["a"], 2 * tree["a"])
    loaded = fnn.load(path, {"a": np.zeros(1000, "f")})["a"]
    loaded += 1  # an array that can be written to


# --------------------------------------------------------------------------------------------------------- exact resume
@pytest.mark.slow
def test_six_epochs_equal_three_and_three_more(path, rng):
    x, y = rng.normal(size=(20, 6)).astype("f"), rng.normal(size=(20, 2)).astype("f")
    model = fnn.Sequential(
        fnn.Dense(8, activation="relu"),
        fnn.BatchNorm(),
        fnn.Dropout(0.3),
        fnn.ActivityRegularization(l2=0.01),
        fnn.Dense(2),
    )
    rate = fnn.schedules.cosine_decay(0.01, 40)
    task = fnn.Task(model, "mse", fnn.ema(fnn.adam(rate, amsgrad=True)))
    ts = fnn.init(task, KEY, x[:1])
    six, _ = fnn.fit(task, ts, (x, y), epochs=6, batch_size=10, verbose=0)
    three, history = fnn.fit(task, ts, (x, y), epochs=3, batch_size=10, verbose=0)
    fnn.save(path, three, history=history)
    again, _ = fnn.fit(task, fnn.load(path, ts), (x, y), epochs=3, batch_size=10, verbose=0)
    assert_same(again, six)
    assert not np.array_equal(three.params["dense"]["kernel"], six.params["dense"]["kernel"])


# ------------------------------------------------------------------------------------------------------ partial loading
def test_parts_by_path(path, state):
    _, ts = state
    fnn.save(path, ts._replace(step=jnp.int32(9)))
    other = fnn.init(small_task(units=7), jax.random.key(1), (5,))
    new = fnn.load(path, other, where=["dense", "batch_norm*"])
    assert_same(new.params["dense"], ts.params["dense"])
    assert_same(new.params["batch_norm"], ts.params["batch_norm"])
    assert_same(new.state, ts.state)
    assert_same(new.params["dense_1"], other.params["dense_1"])
    assert_same(new[2:], other[2:])
    kernel = fnn.load(path, other, where=lambda p: p == "dense/kernel")
    assert_same(kernel.params["dense"]["kernel"], ts.params["dense"]["kernel"])
    assert_same(kernel.params["dense"]["bias"], other.params["dense"]["bias"])


def test_running_means_come_with_their_layer(path, state):
    task, ts = state
    ts = trained(task, ts)
    fnn.save(path, ts)
    fresh = fnn.init(small_task(optimizer="sgd"), jax.random.key(1), (5,))
    everything = fnn.load(path, fresh, where="*")
    assert_same((everything.params, everything.state), (ts.params, ts.state))
    assert_same(everything[2:], fresh[2:])
    assert_same(fnn.load(path, fresh, where="dense").state, fresh.state)


def test_between_states_and_bare_parameters(path, state):
    _, ts = state
    other = jax.tree.map(jnp.zeros_like, ts.params)
    fnn.save(path, ts)
    assert_same(fnn.load(path, other), ts.params)
    part = fnn.load(path, other, where="dense")
    assert_same(part, {**other, "dense": ts.params["dense"]})
    fnn.save(path, ts.params)
    fresh = fnn.init(small_task(), jax.random.key(1), (5,))
    assert_same(fnn.load(path, fresh, where="*"), fresh._replace(params=ts.params))
    assert_same(fnn.load(path, other, where="*/kernel")["dense_1"]["kernel"], ts.params["dense_1"]["kernel"])
    with pytest.raises(
        fnn.InputError, match=r"a checkpoint of a TrainState, got one of parameters or another tree. Load it into the p"
    ):
        fnn.load(path, fresh)
    single = fnn.TrainState(jnp.ones(3), {}, (), KEY, jnp.int32(0))
    fnn.save(path, single)
    assert_same(fnn.load(path, jnp.zeros(3)), jnp.ones(3))
    assert_same(fnn.load(path, jnp.zeros(3), where="*"), jnp.ones(3))


# ------------------------------------------------------------------------------------------------- another architecture
def test_differences_are_listed(path, state):
    _, ts = state
    fnn.save(path, ts)
    wider = fnn.init(small_task(units=7), KEY, (5,))
    message = (
        r"Different: params/dense_1/bias \(float32\[3\] in the file, float32\[7\] here\), .* and 2 more. "
        r"Was it saved with another model or optimizer\?"
    )
    with pytest.raises(fnn.InputError, match=message):
        fnn.load(path, wider)
    longer = fnn.Task(fnn.Sequential(fnn.Dense(4), fnn.Dense(3), fnn.Dense(2)), "mse", "sgd")
    with pytest.raises(fnn.InputError) as caught:
        fnn.load(path, fnn.init(longer, KEY, (5,)))
    text = str(caught.value)
    assert "Missing in the file: params/dense_2/bias, params/dense_2/kernel; only in the file: " in text
    assert "opt_state/slots/" in text
    assert " more" in text
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), ts.params)
    with pytest.raises(fnn.InputError, match=r"dense/kernel \(float32\[5, 4\] in the file, bfloat16\[5, 4\] here\)"):
        fnn.load(path, half)
    with pytest.raises(
        fnn.InputError, match=r"Missing in the file: dense_2/kernel$|Missing in the file: dense_2/kernel\."
    ):
        fnn.load(path, {"dense_2": {"kernel": jnp.ones(2)}, "dense": ts.params["dense"]}, where="*kernel")
    with pytest.raises(fnn.InputError, match=r"Only in the file: params/dense_1/bias, params/dense_1/kernel"):
        fnn.load(path, {name: ts.params[name] for name in ("dense", "batch_norm")})


def test_patterns_without_a_match(path, state):
    _, ts = state
    fnn.save(path, ts)
    with pytest.raises(fnn.InputError, match=r"matches some parameter, got 'conv\*'. Paths: \['batch_norm/beta', "):
        fnn.load(path, ts, where="conv*")
    with pytest.raises(fnn.InputError, match=r"where to be a pattern, a tuple of patterns, or a function, got an int"):
        fnn.load(path, ts, where=3)


def test_dtypes_that_need_x64(path):
    fnn.save(path, {"a": np.arange(3.0)})
    with pytest.raises(fnn.InputError, match=r"leaf 'a': expected dtype float64 in JAX, got float32. Enable JAX's x64"):
        fnn.load(path, {"a": jax.ShapeDtypeStruct((3,), np.float64)})
    with jax.enable_x64(True):
        assert fnn.load(path, {"a": jax.ShapeDtypeStruct((3,), np.float64)})["a"].dtype == np.float64


# ---------------------------------------------------------------------------------------------- damaged, foreign, newer
def test_other_file_types_are_rejected(path, tmp_path, state):
    _, ts = state
    kinds = {
        b"": "an empty file", b"hello": "a text file", b"PK\x03\x04" + bytes(300): "a damaged zip file",
        bytes([9]) * 2 + bytes(100): "a file that is truncated, damaged or of",
    }  # fmt: skip
    for content, said in kinds.items():
        path.write_bytes(content)
        for read in (lambda: fnn.load(path, ts), lambda: fnn.load_info(path)):
            with pytest.raises(fnn.InputError, match=rf"a checkpoint written by fnn.save, got {said}"):
                read()
    save_file({"a": np.ones(2)}, path)
    with pytest.raises(
        fnn.InputError, match=r"got a safetensors file from another program, .* Read it with safetensors"
    ):
        fnn.load(path, ts)
    with pytest.raises(fnn.InputError, match="expected the path of a file, got a folder"):
        fnn.load(tmp_path, ts)
    with pytest.raises(FileNotFoundError, match=r"no such file: '.*missing'"):
        fnn.load(tmp_path / "missing", ts)


def test_a_newer_version(path, monkeypatch):
    monkeypatch.setattr(saving, "FORMAT", 2)
    fnn.save(path, {"a": jnp.ones(2)})
    monkeypatch.undo()
    with pytest.raises(
        fnn.InputError, match=r"a checkpoint of format 1 or older, got format 2, written by fnn .* Update"
    ):
        fnn.load(path, {"a": jnp.ones(2)})


def test_every_truncation_is_detected(path):
    fnn.save(path, {"a": jnp.arange(5.0), "b": jnp.ones(3, bool)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(fnn.InputError, match=r"truncated, damaged or of another kind|an empty file"):
            fnn.load(path, {"a": jnp.zeros(5), "b": jnp.zeros(3, bool)})


def test_every_flipped_bit_is_detected(path):
    like = {"a": np.arange(3, dtype="f"), "b": np.array([True, False]), "none": np.zeros((0, 2), "f")}
    fnn.save(path, like, extra={"note": "text"})
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(fnn.InputError, match="damaged"):
            fnn.load(path, like)


def test_leaves_are_named_in_the_message(path):
    like = {"first": np.arange(100, dtype="f"), "second": np.arange(100, dtype="f")}
    fnn.save(path, like)
    whole = bytearray(path.read_bytes())
    whole[-10] ^= 4
    path.write_bytes(whole)
    with pytest.raises(
        fnn.InputError, match=r"got a damaged one: 'second' does not match its checksum. Use an earlier"
    ):
        fnn.load(path, like)
    np.testing.assert_array_equal(fnn.load(path, like, where="first")["first"], like["first"])
    assert fnn.load_info(path).step is None


def rewrite(path, change):
    """Change a file's metadata and keep its checksum right, as no accident would."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    about = json.loads(header["__metadata__"]["fnn"])
    change(header, about)
    text = json.dumps(about)
    header["__metadata__"] |= {"fnn": text, "fnn_checksum": file.checksum(text.encode())}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + raw[8 + size :])


def test_metadata_that_does_not_match_the_arrays(path):
    fnn.save(path, {"a": jnp.ones(3)})
    rewrite(path, lambda header, about: about["leaves"].update(b=about["leaves"]["a"]))
    with pytest.raises(fnn.InputError, match="got a damaged one: its leaves differ from those in its metadata"):
        fnn.load(path, {"a": jnp.ones(3)})
    fnn.save(path, {"a": jnp.ones(3)})
    rewrite(path, lambda header, about: header["a"].update(dtype="I32"))
    with pytest.raises(fnn.InputError, match="a damaged one: 'a' does not match"):
        fnn.load(path, {"a": jnp.ones(3)})
    fnn.save(path, {"key": KEY})
    rewrite(path, lambda header, about: about["leaves"]["key"].update(key="own"))
    for read in (lambda: fnn.load(path, {"key": KEY}), lambda: fnn.load_info(path)):
        with pytest.raises(fnn.InputError, match="PRNG keys of an implementation known to this JAX, got 'own'"):
            read()


# -------------------------------------------------------------------------------------------------------- bad arguments
@pytest.mark.parametrize(
    ("tree", "options", "message"),
    [
        ({"a": "text"}, {}, "save, leaf 'a': expected an array or a number, got a str"),
        ({"a": lambda: 0}, {}, "leaf 'a': expected an array or a number, got a function"),
        ({"a": np.array(["x"])}, {}, "leaf 'a': expected numbers or booleans, got <U1"),
        ({"a": np.array([None])}, {}, "leaf 'a': expected numbers or booleans, got object"),
        ({"a": np.array(["2020-01-01"], "M8[D]")}, {}, "leaf 'a': expected numbers or booleans, got datetime64"),
        ({"a": 1 << 70}, {}, "leaf 'a': expected numbers or booleans, got object"),
        ({"a/b": 1, "a": {"b": 2}}, {}, "a unique path for each leaf, got 'a/b' twice. A name with '/'"),
        ({"__metadata__": 1}, {}, "a unique path for each leaf, got '__metadata__' twice"),
        ({}, {"extra": {1: 2}}, "save, extra: expected strings as keys, got 1"),
        (
            {},
            {"extra": {"a": [1, {2}]}},
            r"save, extra\['a'\]\[1\]: expected numbers, strings, lists or dicts, got a set",
        ),
        ({}, {"history": {"loss": [object()]}}, r"save, history\['loss'\]\[0\]: expected numbers"),
        (
            {},
            {"extra": {"z": np.array([1j])}},
            r"save, extra\['z'\]\[0\]: expected numbers, strings, .*, got a complex",
        ),
        ({}, {"extra": KEY}, "save, extra: expected numbers, strings, lists or dicts, got key"),
    ],
)
def test_what_cannot_be_saved(tree, options, message, path):
    with pytest.raises(fnn.InputError, match=message):
        fnn.save(path, tree, **options)
    assert not os.listdir(path.parent)


def test_save_inside_jit_is_rejected(path):
    with pytest.raises(fnn.InputError, match=r"leaf '': expected concrete values, got traced ones. Save outside jit"):
        jax.jit(lambda x: fnn.save(path, x))(jnp.ones(2))


# ------------------------------------------------------------------------------------------------------- a file or none
def failing(code):
    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("open", errno.EROFS, OSError),
        ("open", errno.EACCES, PermissionError),
        ("fsync", errno.ENOSPC, OSError),
        ("replace", errno.EDQUOT, OSError),
    ],
)
def test_a_write_that_fails_leaves_the_old_file(name, code, kind, path, monkeypatch):
    fnn.save(path, {"a": jnp.ones(3)})
    monkeypatch.setattr(os, name, failing(code))
    message = rf"save: {os.strerror(code)}; nothing was written, and an older file stays as it was: '.*run.safetensors'"
    with pytest.raises(kind, match=message) as caught:
        fnn.save(path, {"a": jnp.zeros(3)})
    monkeypatch.undo()
    assert caught.value.errno == code
    assert os.listdir(path.parent) == [path.name]
    np.testing.assert_array_equal(fnn.load(path, {"a": jnp.zeros(3)})["a"], 1)


def test_a_disk_that_fills_up_during_a_write(path):
    """The system's own limit on the size of a file, reached in the middle of writing."""
    fnn.save(path, {"a": jnp.ones(3)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(OSError, match="save: File too large; nothing was written"):
            fnn.save(path, {"a": jnp.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(path.parent) == [path.name]
    np.testing.assert_array_equal(fnn.load(path, {"a": jnp.zeros(3)})["a"], 1)


def test_a_folder_that_cannot_be_synced_is_tolerated(path, monkeypatch):
    """Some file systems refuse it; the file is complete by then."""
    original = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    fnn.save(path, {"a": jnp.ones(3)})
    np.testing.assert_array_equal(fnn.load(path, {"a": jnp.zeros(3)})["a"], 1)


def test_an_interrupted_write_leaves_nothing(path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fnn.save(path, {"a": jnp.zeros(3)})
    assert not os.listdir(path.parent)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="save: Permission denied; nothing was written"):
        fnn.save(folder / "run.safetensors", {"a": jnp.zeros(3)})


def test_a_killed_process_leaves_the_old_file_or_the_new_one(path, tmp_path):
    """SIGKILL in the middle of saving again and again: whatever the moment, the file is whole.

    The process tells too that fnn imports safetensors on demand.
    """
    code = (
        "import sys, jax.numpy as jnp, fnn\n"
        "print('safetensors' in sys.modules, flush=True)\n"
        "for i in range(1, 10_000):\n"
        "    fnn.save(sys.argv[1], {'a': jnp.full(200_000, i, 'f'), 'b': jnp.full(3, i, 'f')})\n"
        "    print(i, flush=True)\n"
    )
    like = {"a": np.zeros(200_000, "f"), "b": np.zeros(3, "f")}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "False\n"
        for line in process.stdout:
            if int(line) == 3:
                process.kill()
                break
    back = fnn.load(path, like)
    assert back["b"][0] >= 3
    assert (back["a"] == back["b"][0]).all()
    assert all(
        name == path.name or re.fullmatch(r"\.run\.safetensors\.\w{8}\.tmp", name) for name in os.listdir(tmp_path)
    )


def test_folders_links_and_modes(tmp_path):
    target = tmp_path / "a" / "b" / "run.safetensors"
    fnn.save(target, {"a": jnp.ones(2)})
    link = tmp_path / "latest.safetensors"
    link.symlink_to(target)
    fnn.save(link, {"a": jnp.zeros(2)})
    assert link.is_symlink()
    np.testing.assert_array_equal(fnn.load(target, {"a": jnp.ones(2)})["a"], 0)
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask, "as the user's other files"
    with pytest.raises(fnn.InputError, match=r"the path of a file, got '.*/a', which is a folder or a device"):
        fnn.save(tmp_path / "a", {"a": jnp.ones(2)})
    with pytest.raises(fnn.InputError, match="got '/dev/null', which is a folder or a device"):
        fnn.save("/dev/null", {"a": jnp.ones(2)})
    assert pathlib.Path("/dev/null").is_char_device()


def test_names_of_dtypes_are_those_of_numpy():
    assert issubclass(safetensors.SafetensorError, Exception)
    assert {np.dtype(name).name for name in file.NATIVE} == set(file.NATIVE)
    assert ml_dtypes.bfloat16 == np.dtype("bfloat16")


# --------------------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    "ending", ["h5", "keras", "pt", "pth", "npz", "onnx", "tf", "json", "pkl", "bin", "H5", "ckpt"]
)
def test_endings_of_other_formats_are_refused(tmp_path, ending):
    path = str(tmp_path / f"m.{ending}")
    with pytest.raises(
        fnn.InputError, match=rf"save: .*ends in \.safetensors, got .*m\.{ending}'.*write '.*m\.safetensors'"
    ):
        fnn.save(path, {"a": jnp.ones(2)})
    with pytest.raises(fnn.InputError, match=r"model_checkpoint: .*write '.*m-\{epoch\}\.safetensors'"):
        fnn.model_checkpoint(tmp_path / f"m-{{epoch}}.{ending}")
    task = fnn.Task(fnn.Dense(1), "mse")
    ts = fnn.init(task, KEY, (2,))
    with pytest.raises(fnn.InputError, match=r"expected a folder, got the name of a file"):
        fnn.fit(task, ts, (jnp.ones((2, 2)), jnp.ones((2, 1))), checkpoint=path, verbose=0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["run", "digits-0.125", "a.b", "run.SafeTensors", ".hidden"])
def test_other_names_get_the_extension(tmp_path, name):
    path = tmp_path / name
    fnn.save(path, {"a": jnp.arange(3)})
    assert os.listdir(tmp_path) == [name if name.lower().endswith(".safetensors") else f"{name}.safetensors"]
    for read in (path, str(path), tmp_path / os.listdir(tmp_path)[0]):
        np.testing.assert_array_equal(fnn.load(read, {"a": jnp.zeros(3, int)})["a"], [0, 1, 2])
        assert list(fnn.load_info(read).leaves) == ["a"]


def test_a_file_from_an_older_version_without_the_extension_is_loaded(tmp_path):
    fnn.save(tmp_path / "m.safetensors", {"a": jnp.arange(3)})
    for old in ("m.h5", "m"):
        shutil.copy(tmp_path / "m.safetensors", tmp_path / old)
        np.testing.assert_array_equal(fnn.load(tmp_path / old, {"a": jnp.zeros(3, int)})["a"], [0, 1, 2])


def foreign(folder):
    """Files of other kinds, with the expected description of each."""
    zipped = {
        "torch": ["archive/data.pkl", "archive/data/0"],
        "keras": ["config.json", "model.weights.h5"],
        "zip": ["a"],
    }
    for name, members in zipped.items():
        with zipfile.ZipFile(folder / name, "w") as archive:
            for member in members:
                archive.writestr(member, "x")
    np.savez(folder / "npz", a=np.ones(2))
    np.save(folder / "npy", np.ones(2))
    (folder / "pickle").write_bytes(pickle.dumps({"a": 1}))
    (folder / "hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (folder / "gzip").write_bytes(gzip.compress(b"x"))
    (folder / "text").write_text('{"a": 1}')
    (folder / "empty").write_bytes(b"")
    (folder / "m.onnx").write_bytes(b"\x08\x07" + bytes(100))
    return {
        "torch": "a file written by torch.save", "keras": "a Keras model", "zip": "a zip file", "npz.npz": "numpy.load",
        "npy.npy": "numpy.load", "pickle": "a pickle", "hdf5": "an HDF5 file", "gzip": "a gzip file",
        "text": "a text file", "empty": "an empty file", "m.onnx": "an ONNX model",
    }  # fmt: skip


def test_files_of_other_kinds_are_named(tmp_path):
    for name, said in foreign(tmp_path).items():
        with pytest.raises(
            fnn.InputError, match=rf"load .*{name}': expected a checkpoint written by fnn.save, got .*{said}"
        ):
            fnn.load(tmp_path / name, {"a": jnp.ones(2)})


def test_a_missing_file_is_reported_with_similar_names(tmp_path):
    fnn.save(tmp_path / "digits.safetensors", {"a": jnp.ones(2)})
    for wrong in ("digit.safetensors", "digts", "Digits.safetensor"):
        with pytest.raises(FileNotFoundError, match=r"no such file \(did you mean '.*digits\.safetensors'\?\)"):
            fnn.load(tmp_path / wrong, {"a": jnp.ones(2)})
    with pytest.raises(FileNotFoundError, match=r"no such file: "):
        fnn.load(tmp_path / "other", {"a": jnp.ones(2)})
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere'\)"):
        fnn.load(tmp_path / "nowhere" / "digits", {"a": jnp.ones(2)})


def test_tables_refuse_endings_of_other_formats(tmp_path):
    found = fnn.sweep(lambda rate: ({}, {"loss": jnp.asarray([rate])}), {"rate": [0.1, 0.2]}, verbose=0)
    for ending in ("xlsx", "json", "tsv", "parquet"):
        with pytest.raises(
            fnn.InputError, match=rf"to_csv: expected a file name that ends in \.csv, got .*t\.{ending}'"
        ):
            found.to_csv(tmp_path / f"t.{ending}")
        with pytest.raises(
            fnn.InputError, match=rf"csv_log: expected a file name that ends in \.csv, got .*t\.{ending}'"
        ):
            fnn.csv_log(tmp_path / f"t.{ending}")
    assert os.listdir(tmp_path) == []
    for name in ("t.csv", "t.txt", "t"):
        found.to_csv(tmp_path / name)
        fnn.csv_log(tmp_path / name)


# ------------------------------------------------------------------------------------------------------ half precision
def half_state(optimizer="adam"):
    task = small_task(optimizer=optimizer)
    return task, fnn.init(task, KEY, jax.ShapeDtypeStruct((2, 5), jnp.bfloat16))


def narrowed(tree):
    """Running values as in earlier versions: in the dtype of the parameters."""
    return jax.jit(lambda tree: jax.tree.map(lambda a: a.astype(jnp.bfloat16) if a.dtype == jnp.float32 else a, tree))(
        tree
    )


@pytest.mark.parametrize("optimizer", [fnn.nadam(), fnn.ema(fnn.accumulate(fnn.adagrad(), 2))], ids=["nadam", "ema"])
def test_running_values_of_half_precision_are_float32_in_the_file(path, optimizer):
    _, ts = half_state(optimizer)
    fnn.save(path, ts)
    floats = {name: str(leaf.dtype) for name, leaf in fnn.load_info(path).leaves.items() if "float" in str(leaf.dtype)}
    assert {dtype for name, dtype in floats.items() if name.startswith("params/")} == {"bfloat16"}
    assert {dtype for name, dtype in floats.items() if not name.startswith("params/")} == {"float32"}
    again = fnn.load(path, ts)
    assert jax.tree.map(lambda a: a.dtype, again) == jax.tree.map(lambda a: a.dtype, ts)


@pytest.mark.parametrize("numpy", [False, True])
def test_a_file_with_narrow_running_values_is_widened(path, numpy):
    task, ts = half_state()
    x, y = np.ones((2, 5), jnp.bfloat16), np.zeros((2, 3), jnp.bfloat16)
    x[0, 1] = 3
    ts, _ = fnn.train_step(task, ts, (x, y))
    old = ts._replace(state=narrowed(ts.state), opt_state=ts.opt_state._replace(slots=narrowed(ts.opt_state.slots)))
    fnn.save(path, old)
    like = ts._replace(state=jax.tree.map(np.asarray, ts.state)) if numpy else ts
    again = fnn.load(path, like)
    assert jax.tree.map(lambda a: a.dtype, again) == jax.tree.map(lambda a: a.dtype, ts)
    for part in ("state", "opt_state"):
        for got, want in zip(*(jax.tree.leaves(getattr(t, part)) for t in (again, old)), strict=True):
            np.testing.assert_array_equal(got, np.asarray(want).astype(got.dtype))
    fnn.train_step(task, fnn.load(path, ts), (x, y))
    chosen = fnn.load(path, ts, where="batch_norm")
    assert chosen.state["batch_norm"]["moving_mean"].dtype == jnp.float32


def test_parameters_are_not_widened_and_nothing_is_narrowed(path):
    _, ts = half_state()
    wide = fnn.init(small_task(), KEY, (5,))
    fnn.save(path, ts)
    with pytest.raises(fnn.InputError, match=r"params/.*\(bfloat16.* in the file, float32.* here\)"):
        fnn.load(path, wide)
    fnn.save(path, ts)
    with pytest.raises(fnn.InputError, match=r"state/.*\(float32.* in the file, bfloat16.* here\)"):
        fnn.load(path, ts._replace(state=narrowed(ts.state)))


def test_a_folder_is_rejected_as_a_file_name(tmp_path):
    for name in ("folder/", ".safetensors", ".h5"):
        with pytest.raises(fnn.InputError, match="save: expected the name of a file"):
            fnn.save(f"{tmp_path}/{name}", {"a": jnp.ones(2)})
    assert os.listdir(tmp_path) == []
