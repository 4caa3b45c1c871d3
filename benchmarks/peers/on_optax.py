"""What the libraries on JAX share: loss, optimizer, initial values of the LSTM, and a loop with one dispatch a step.

The loop is the fastest way to call a compiled step: data and order lie on the device, the step cuts its own batch out
of them, counts itself and adds up the loss, so that nothing but the dispatch is left in Python and nothing is read
back before the epoch ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


class Counters(NamedTuple):
    """What a step hands on besides network and optimizer: its key, its number in the epoch, the sum of the losses."""

    key: Any
    step: Any
    total: Any

    def next(self, loss: Any) -> Counters:
        """After a step with this loss."""
        return Counters(self.key, self.step + 1, self.total + loss)


class Fixed(NamedTuple):
    """What all steps of an epoch read: inputs, labels, and the order of the rows."""

    x: Any
    y: Any
    order: Any

    def batch(self, step: Any, size: int) -> tuple[Any, Any]:
        """Inputs and labels of a step."""
        import jax

        rows = jax.lax.dynamic_slice_in_dim(self.order, step * size, size)
        return tuple(a.at[rows].get(mode="promise_in_bounds") for a in (self.x, self.y))


def mean_loss(workload: Workload, logits: Any, y: Any) -> Any:
    import optax

    if workload.loss == "sigmoid":
        return optax.sigmoid_binary_cross_entropy(logits, y).mean()
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def optimizer_of(workload: Workload) -> Any:
    """The optax optimizer with Keras's constants."""
    import optax

    if workload.optimizer == "rmsprop":
        return optax.rmsprop(workload.rate, decay=0.9, eps=1e-7)
    return optax.adam(workload.rate, eps=1e-7) if workload.optimizer == "adam" else optax.sgd(workload.rate)


def activation_of(name: str | None) -> Callable[[Any], Any]:
    import jax

    return {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jax.numpy.tanh, None: lambda x: x}[name]


def lstm_kernels(key: Any, symbols: int, units: int) -> tuple[Any, Any]:
    """Glorot-uniform input kernel (symbols, 4 units) and orthogonal recurrent kernel (units, 4 units)."""
    import jax

    keys, init = jax.random.split(key), jax.nn.initializers
    return init.glorot_uniform()(keys[0], (symbols, 4 * units)), init.orthogonal()(keys[1], (units, 4 * units))


def epoch_of(step: Callable[[Fixed, Any], Any], state: Any, x: Any, y: Any, workload: Workload, seed: int) -> Epoch:
    """The epoch of ``step(fixed, (state, counters)) -> (state, counters)``, which must be compiled."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    x, y = jax.block_until_ready(jax.device_put((x, y)))
    shuffler, key = np.random.default_rng(seed), jax.random.key(seed)

    def epoch() -> float:
        nonlocal state, key
        order = jax.device_put(shuffler.permutation(workload.rows).astype(np.int32))
        fixed, counters = Fixed(x, y, order), Counters(key, jnp.int32(0), jnp.float32(0))
        for _ in range(workload.steps):
            state, counters = step(fixed, state, counters)
        key = jax.random.fold_in(counters.key, 1)
        return float(counters.total) / workload.steps

    epoch.step, epoch.state = step, state  # for those who compile the step and do not run it
    return epoch
