"""Shared by all tests: Keras runs on JAX, and pictures are drawn without a screen."""

import gc
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("MPLBACKEND", "Agg")
# Two cores are enough for the small shapes here, and results must not depend on the machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import helpers
import hypothesis
import jax
import numpy as np
import pytest

# Compiling takes the time here, so no clock decides about an example, and the same examples come every time.
slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile(
    "fnn", deadline=None, derandomize=True, max_examples=25, suppress_health_check=slow
)
hypothesis.settings.load_profile("fnn")


def pytest_addoption(parser):
    parser.addoption("--update-messages", action="store_true", help="rewrite the snapshots of messages, messages.txt")


def pytest_configure(config):
    helpers.update_messages = config.getoption("--update-messages")
    # The tests compile thousands of programs for small arrays, which takes longer than running them. They are compiled
    # as users' programs are with JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment.
    if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
        jax.config.update("jax_disable_most_optimizations", True)
        if jax.__version_info__ < (0, 11):
            # Older code for fused operations compiles in a third of the time, and a program as one piece in two thirds.
            flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
            os.environ.setdefault("XLA_FLAGS", flags)
    # Tracing makes much that lives on, which the collector walks through again and again.
    gc.set_threshold(20_000, 10, 10)


_STATES = {}


def pytest_collection_finish(session):
    """Note the state of each file's generator, from which files draw weights and rows."""
    for item in session.items:
        if isinstance(generator := getattr(getattr(item, "module", None), "RNG", None), np.random.Generator):
            _STATES.setdefault(id(generator), generator.bit_generator.state)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order(request):
    """Let each test begin with its file's generator in the same state, whatever tests came before it."""
    if isinstance(generator := getattr(request.module, "RNG", None), np.random.Generator):
        generator.bit_generator.state = _STATES[id(generator)]


@pytest.fixture
def rng():
    """A NumPy generator; draw weights and rows from it, so that all differ."""
    return np.random.default_rng(0)


@pytest.fixture
def x64():
    """float64 for finite differences."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def strict_promotion():
    """An error where dtypes would promote silently."""
    with jax.numpy_dtype_promotion("strict"):
        yield


_COMPILED = []


def _count(event, *args, **kwargs):
    if event == "/jax/core/compile/backend_compile_duration":
        _COMPILED.append(event)


jax.monitoring.register_event_duration_secs_listener(_count)  # returns None, so it is no decorator


@pytest.fixture(autouse=True, scope="module")
def _forget_programs(request):
    """Files share small programs, which all together would take gigabytes; one that patches the library shares none."""
    alone = any(
        getattr(item, "module", None) is request.module and "monkeypatch" in item.fixturenames
        for item in request.session.items
    )
    if alone:
        _forget()
    yield
    if alone or len(_COMPILED) > 500:
        _forget()


def _forget():
    _COMPILED.clear()
    jax.clear_caches()
