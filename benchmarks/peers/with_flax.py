"""Flax NNX and optax: the functional training loop of its performance guide, `jax.jit` over `nnx.split` state."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import on_optax

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


def load() -> None:
    import optax  # noqa: F401
    from flax import nnx  # noqa: F401


def model_of(workload: Workload, rngs: Any) -> Any:
    import jax
    import jax.numpy as jnp
    import workloads as w
    from flax import nnx

    class LastOutput(nnx.Module):
        def __init__(self, symbols: int, units: int) -> None:
            cell = nnx.OptimizedLSTMCell(symbols, units, kernel_init=glorot, rngs=rngs)
            # Gates i, f, g, o; the bias of all is with the recurrent kernel.
            cell.dense_h.bias[...] = cell.dense_h.bias[...].at[units : 2 * units].set(1)
            self.rnn, self.symbols = nnx.RNN(cell, return_carry=True), symbols

        def __call__(self, x: Any) -> Any:
            (_, h), _ = self.rnn(jax.nn.one_hot(x, self.symbols))
            return h

    glorot = nnx.initializers.glorot_uniform()
    shape, layers = workload.shape, []
    for layer in workload.layers:
        match layer:
            case w.Dense(units, activation):
                layers.append(nnx.Linear(shape[-1], units, kernel_init=glorot, rngs=rngs))
                if activation:
                    layers.append(on_optax.activation_of(activation))
                shape = (units,)
            case w.Dropout(rate):
                layers.append(nnx.Dropout(rate, rngs=rngs))
            case w.Conv(filters):
                conv = nnx.Conv(shape[-1], filters, (3, 3), padding="VALID", kernel_init=glorot, rngs=rngs)
                layers += [conv, nnx.relu]
                shape = (shape[0] - 2, shape[1] - 2, filters)
            case w.Pool():
                layers.append(partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2)))
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            case w.Flatten():
                layers.append(lambda x: jnp.reshape(x, (x.shape[0], -1)))
                shape = (shape[0] * shape[1] * shape[2],)
            case w.LSTM(units, symbols):
                layers.append(LastOutput(symbols, units))
                shape = (units,)
    return nnx.Sequential(*layers)


def build(workload: Workload, x: Any, y: Any, seed: int) -> Epoch:
    import jax
    from flax import nnx

    model = model_of(workload, nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, on_optax.optimizer_of(workload), wrt=nnx.Param)
    graph, state = nnx.split((model, optimizer))

    @partial(jax.jit, donate_argnums=(1, 2))
    def step(fixed: on_optax.Fixed, state: Any, counters: on_optax.Counters) -> Any:
        model, optimizer = nnx.merge(graph, state)
        x, y = fixed.batch(counters.step, workload.batch)
        loss, grads = nnx.value_and_grad(lambda model: on_optax.mean_loss(workload, model(x), y))(model)
        optimizer.update(model, grads)
        return nnx.state((model, optimizer)), counters.next(loss)

    return on_optax.epoch_of(step, state, x, y, workload, seed)
