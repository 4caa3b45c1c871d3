"""Haiku and optax: `hk.transform`, one jitted step that gives its buffers back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import on_optax

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


def load() -> None:
    import haiku  # noqa: F401
    import optax  # noqa: F401


def build(workload: Workload, x: Any, y: Any, seed: int) -> Epoch:
    import haiku as hk
    import jax
    import optax
    import workloads as w

    glorot = hk.initializers.VarianceScaling(1.0, "fan_avg", "uniform")

    def forward(x: Any) -> Any:
        for layer in workload.layers:
            match layer:
                case w.Dense(units, activation):
                    x = on_optax.activation_of(activation)(hk.Linear(units, w_init=glorot)(x))
                case w.Dropout(rate):
                    x = hk.dropout(hk.next_rng_key(), rate, x)
                case w.Conv(filters):
                    x = jax.nn.relu(hk.Conv2D(filters, 3, padding="VALID", w_init=glorot)(x))
                case w.Pool():
                    x = hk.max_pool(x, (2, 2, 1), (2, 2, 1), "VALID")
                case w.Flatten():
                    x = hk.Flatten()(x)
                case w.LSTM(units, symbols):
                    core = hk.LSTM(units)  # it adds 1 to the forget gate by itself
                    steps = jax.nn.one_hot(x.T, symbols)
                    _, state = hk.dynamic_unroll(core, steps, core.initial_state(x.shape[0]))
                    x = state.hidden
        return x

    network, optimizer = hk.transform(forward), on_optax.optimizer_of(workload)
    key = jax.random.key(seed)
    params = jax.jit(network.init)(key, x[:1])
    if isinstance(workload.layers[0], w.LSTM):
        # hk.LSTM takes no initializer; its one matrix is both kernels, one above the other.
        first = params["lstm/linear"]
        kernels = on_optax.lstm_kernels(key, workload.layers[0].symbols, workload.layers[0].units)
        params = {**params, "lstm/linear": {**first, "w": jax.numpy.concatenate(kernels)}}

    @partial(jax.jit, donate_argnums=(1, 2))
    def step(fixed: on_optax.Fixed, state: Any, counters: on_optax.Counters) -> Any:
        params, moments = state
        x, y = fixed.batch(counters.step, workload.batch)

        def loss_of(params: Any) -> Any:
            key = jax.random.fold_in(counters.key, counters.step)
            return on_optax.mean_loss(workload, network.apply(params, key, x), y)

        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, moments = optimizer.update(grads, moments, params)
        return (optax.apply_updates(params, updates), moments), counters.next(loss)

    return on_optax.epoch_of(step, (params, optimizer.init(params)), x, y, workload, seed)
