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
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


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
