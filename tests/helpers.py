"""Helpers that several test files share."""

import difflib
import functools
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

# Compiler options of a program as users run it; conftest.py turns most optimizations off for the default tests.
OPTIMIZED = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
    **({"xla_cpu_use_fusion_emitters": True} if jax.__version_info__ < (0, 11) else {}),
}
update_messages = False  # set by pytest --update-messages


class compilations:
    """Counts XLA compilations inside a with block."""

    def __enter__(self):
        self.seen = []
        self.active = True
        jax.monitoring.register_event_duration_secs_listener(self.note)
        return lambda: len(self.seen)

    def note(self, event, duration, **kwargs):
        if self.active and event.endswith("backend_compile_duration"):
            self.seen.append(event)

    def __exit__(self, *exc):
        self.active = False


def _numbers(leaf):
    """A leaf as NumPy's array, a key by its data."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _pairs(got, want):
    """The leaves of two trees of the same structure, by path."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for (path, a), b in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True):
        assert np.shape(a) == np.shape(b), jax.tree_util.keystr(path)
        yield jax.tree_util.keystr(path), a, b


def assert_same(got, want):
    """Trees bit for bit, with the dtypes and the kinds of arrays."""
    for path, a, b in _pairs(got, want):
        assert (type(a), getattr(a, "dtype", None)) == (type(b), getattr(b, "dtype", None)), path
        if _numbers(a).tobytes() != _numbers(b).tobytes():
            np.testing.assert_array_equal(_numbers(a), _numbers(b), err_msg=path)
            raise AssertionError(f"{path}: bits such as the sign of 0 differ")


def assert_close(got, want, rtol=1e-5, atol=1e-6, *, dtypes=False):
    """Trees of finite numbers that differ by rounding; ``dtypes``: whether they must have the same ones too."""
    pairs = list(_pairs(got, want))
    assert pairs, "nothing to compare"
    for path, a, b in pairs:
        assert not dtypes or a.dtype == b.dtype, path
        a, b = _numbers(a).astype(np.float64), _numbers(b).astype(np.float64)
        assert np.isfinite(b).all(), path
        np.testing.assert_allclose(a, b, rtol, atol, err_msg=path)


def assert_same_run(got, want):
    """Pairs of a state and a history bit for bit, times left out."""
    assert_same(got[0], want[0])
    assert {**got[1], "seconds": 0} == {**want[1], "seconds": 0}


def for_platform(platform, fn):
    """``fn`` with the forms for another platform, on the one here; it must not have been traced before."""

    def other(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            pick = lambda *operands, default, **forms: forms.get(platform, default)(*operands)  # noqa: E731
            patch.setattr(jax.lax, "platform_dependent", pick)
            return fn(*arguments)

    return other


for_a_tpu = functools.partial(for_platform, "tpu")


def over_batches(metric, p, t, w, cuts=(5,)):
    """The metric of batches that end at ``cuts``, in one program, since compiling takes the time."""

    @jax.jit
    def whole(p, t, w):
        pairs = zip([0, *cuts], [*cuts, len(p)], strict=True)
        parts = [metric.measure(p[low:high], t[low:high], w[low:high]) for low, high in pairs]
        return metric.result(functools.reduce(metric.merge, parts, jax.tree.map(jnp.zeros_like, parts[0])))

    return float(whole(p, t, w))


def some(names, *quick):
    """Parameters of a test, of which the default run takes some and the slow run the others."""
    return [name if name in quick else _slow(name) for name in names]


def few(names, each=3):
    """Parameters of a test, of which the default run takes every third (or `each`-th) and the slow run the others."""
    return [name if i % each == 0 else _slow(name) for i, name in enumerate(names)]


def _slow(name):
    values = name if isinstance(name, tuple) else (name,)
    return pytest.param(*values, marks=pytest.mark.slow)


def idx(array, code):
    head = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def check_messages(path, cases):
    """Compare the messages of mistakes with the snapshot in `path`, or rewrite it under `pytest --update-messages`.

    `cases` maps the name of a mistake to a call that raises `fnn.InputError` or warns, or to (exception, call).
    """
    path = Path(path)
    text = "\n".join(f"{name}\n{textwrap.indent(_message(name, case), '    ')}\n" for name, case in cases.items())
    if update_messages:
        path.write_text(text, encoding="utf-8")
        return
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if text != before:
        diff = difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), "now", n=1, lineterm="")
        files = path.with_name("test_*messages.py")
        advice = f"Messages have changed. If the new ones are right, run: pytest -n 0 --update-messages {files}"
        pytest.fail("\n".join([advice, *diff]), pytrace=False)


def _message(name, case):
    expected, call = case if isinstance(case, tuple) else (fnn.InputError, case)
    try:
        call()
    except (expected, Warning) as error:  # pytest turns warnings into errors
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"{name}: the call neither raises nor warns")
