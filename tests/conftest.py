"""Shared by all tests: Keras runs on JAX, and pictures are drawn without a screen."""

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
    # The default tests compile thousands of programs for small arrays, which takes longer than running them. The slow
    # tests are fully optimized, and so are the default ones with JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment.
    if config.option.markexpr == "not slow" and "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
        jax.config.update("jax_disable_most_optimizations", True)
        if jax.__version_info__ < (0, 11):  # whose code for fused operations takes a third of the time to compile
            os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")


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


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Files share few compiled programs, which together would take gigabytes."""
    yield
    jax.clear_caches()
