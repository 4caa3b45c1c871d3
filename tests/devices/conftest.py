"""Tests on several devices, which a process must have from its start; tests/placement/test_devices.py runs them."""

import jax
import pytest

collect_ignore_glob = [] if jax.config.jax_num_cpu_devices == 8 else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def _eight_devices():
    if jax.device_count() != 8:
        pytest.skip("needs JAX_NUM_CPU_DEVICES=8")


@pytest.fixture(scope="session")
def mesh():
    """Eight simulated devices in a row."""
    return jax.make_mesh((8,), ("data",))


@pytest.fixture(scope="session")
def square():
    """The same, four that rows are divided over times two for parameters."""
    return jax.make_mesh((4, 2), ("data", "model"))
