"""JAX and optax without a library, the whole epoch as one compiled scan: what an expert writes by hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import on_optax

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


def load() -> None:
    import jax  # noqa: F401
    import optax  # noqa: F401


def init(workload: Workload, key: Any) -> list[dict[str, Any]]:
    """Parameters of each layer."""
    import jax
    import jax.numpy as jnp
    import workloads as w

    glorot = jax.nn.initializers.glorot_uniform()
    shape, params = workload.shape, []
    for i, layer in enumerate(workload.layers):
        k, own = jax.random.fold_in(key, i), {}
        match layer:
            case w.Dense(units):
                own = {"kernel": glorot(k, (shape[-1], units)), "bias": jnp.zeros(units)}
                shape = (units,)
            case w.LSTM(units, symbols):
                kernel, recurrent = on_optax.lstm_kernels(k, symbols, units)
                bias = jnp.zeros(4 * units).at[units : 2 * units].set(1)  # gates i, f, g, o
                own = {"kernel": kernel, "recurrent": recurrent, "bias": bias}
                shape = (units,)
        params.append(own)
    return params


def lstm(params: dict[str, Any], x: Any) -> Any:
    """The last output; the inputs of all steps are projected before the loop."""
    import jax
    import jax.numpy as jnp

    symbols, units = params["kernel"].shape[0], params["recurrent"].shape[0]
    inputs = jax.nn.one_hot(x.T, symbols) @ params["kernel"] + params["bias"]
    zeros = jnp.zeros((x.shape[0], units))

    def step(carry: Any, projected: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(projected + h @ params["recurrent"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    (h, _), _ = jax.lax.scan(step, (zeros, zeros), inputs)
    return h


def build(workload: Workload, x: Any, y: Any, seed: int) -> Epoch:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    import workloads as w

    optimizer = on_optax.optimizer_of(workload)
    params = jax.jit(partial(init, workload))(jax.random.key(seed))
    state = (params, optimizer.init(params), jax.random.key(seed + 1))
    x, y = jax.block_until_ready(jax.device_put((x, y)))
    shuffler = np.random.default_rng(seed)

    def forward(params: Any, x: Any, key: Any) -> Any:
        for i, (layer, own) in enumerate(zip(workload.layers, params, strict=True)):
            match layer:
                case w.Dense(_, activation):
                    x = on_optax.activation_of(activation)(x @ own["kernel"] + own["bias"])
                case w.Dropout(rate):
                    keep = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - rate, x.shape)
                    x = jnp.where(keep, x / (1 - rate), 0)
                case w.LSTM():
                    x = lstm(own, x)
                case _:
                    raise NotImplementedError(layer)
        return x

    @partial(jax.jit, donate_argnums=0)
    def train(state: Any, x: Any, y: Any, order: Any) -> Any:
        def step(state: Any, rows: Any) -> Any:
            params, moments, key = state
            key, dropout_key = jax.random.split(key)
            bx, by = (a.at[rows].get(mode="promise_in_bounds") for a in (x, y))
            loss_of = lambda params: on_optax.mean_loss(workload, forward(params, bx, dropout_key), by)  # noqa: E731
            loss, grads = jax.value_and_grad(loss_of)(params)
            updates, moments = optimizer.update(grads, moments, params)
            return (optax.apply_updates(params, updates), moments, key), loss

        state, losses = jax.lax.scan(step, state, order.reshape(workload.steps, workload.batch))
        return state, losses.mean()

    def epoch() -> float:
        nonlocal state
        order = shuffler.permutation(workload.rows).astype(np.int32)
        state, loss = train(state, x, y, order)
        return float(loss)

    return epoch
