"""Equinox and optax: one jitted step that gives its buffers back, with the state passed as flat lists.

The flat lists are the low-overhead training loop of Equinox's own collection of tricks: modules are put together and
taken apart inside the compiled step, not around it. With them `jax.jit` does all that `eqx.filter_jit` would, and
spares its work in Python: 0.15 against 0.29 ms a step on the small network.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import on_optax

if TYPE_CHECKING:
    from workloads import Workload

    from . import Epoch


def load() -> None:
    import equinox  # noqa: F401
    import optax  # noqa: F401


def model_of(workload: Workload, key: Any) -> Any:
    """An `eqx.nn.Sequential` for one example; images have their channels first, as Equinox wants them."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import workloads as w

    class LastOutput(eqx.Module):
        cell: eqx.nn.LSTMCell
        symbols: int = eqx.field(static=True)

        def __init__(self, symbols: int, units: int, key: Any) -> None:
            cell = eqx.nn.LSTMCell(symbols, units, key=key)
            kernel, recurrent = on_optax.lstm_kernels(key, symbols, units)
            bias = jnp.zeros(4 * units).at[units : 2 * units].set(1)  # gates i, f, g, o
            where = lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias)  # noqa: E731
            self.cell = eqx.tree_at(where, cell, (kernel.T, recurrent.T, bias))
            self.symbols = symbols

        def __call__(self, x: Any, *, key: Any = None) -> Any:
            zeros = jnp.zeros(self.cell.hidden_size)
            inputs = jax.nn.one_hot(x, self.symbols)
            (h, _), _ = jax.lax.scan(lambda carry, x: (self.cell(x, carry), None), (zeros, zeros), inputs)
            return h

    def glorot(layer: Any, key: Any) -> Any:
        # Kernels are (out, in, ...) here.
        init = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=1, out_axis=0)
        weights = (init(key, layer.weight.shape), jnp.zeros_like(layer.bias))
        return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, weights)

    shape, layers = workload.shape, []
    for i, layer in enumerate(workload.layers):
        k = jax.random.fold_in(key, i)
        match layer:
            case w.Dense(units, activation):
                layers.append(glorot(eqx.nn.Linear(shape[-1], units, key=k), k))
                if activation:
                    layers.append(eqx.nn.Lambda(on_optax.activation_of(activation)))
                shape = (units,)
            case w.Dropout(rate):
                layers.append(eqx.nn.Dropout(rate))
            case w.Conv(filters):
                layers += [glorot(eqx.nn.Conv2d(shape[-1], filters, 3, key=k), k), eqx.nn.Lambda(jax.nn.relu)]
                shape = (shape[0] - 2, shape[1] - 2, filters)
            case w.Pool():
                layers.append(eqx.nn.MaxPool2d(2, 2))
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            case w.Flatten():
                layers.append(eqx.nn.Lambda(jnp.ravel))
                shape = (shape[0] * shape[1] * shape[2],)
            case w.LSTM(units, symbols):
                layers.append(LastOutput(symbols, units, k))
                shape = (units,)
    return eqx.nn.Sequential(layers)


def build(workload: Workload, x: Any, y: Any, seed: int) -> Epoch:
    import equinox as eqx
    import jax

    model, optimizer = model_of(workload, jax.random.key(seed)), on_optax.optimizer_of(workload)
    if len(workload.shape) == 3:
        x = x.transpose(0, 3, 1, 2).copy()
    params, static = eqx.partition(model, eqx.is_array)
    flat, treedef = jax.tree.flatten((params, optimizer.init(params)))

    @eqx.filter_value_and_grad
    def loss_of(model: Any, x: Any, y: Any, key: Any) -> Any:
        keys = jax.random.split(key, workload.batch)
        logits = jax.vmap(lambda x, key: model(x, key=key))(x, keys)
        return on_optax.mean_loss(workload, logits, y)

    @partial(jax.jit, donate_argnums=(1, 2))
    def step(fixed: on_optax.Fixed, flat: list[Any], counters: on_optax.Counters) -> Any:
        params, moments = jax.tree.unflatten(treedef, flat)
        x, y = fixed.batch(counters.step, workload.batch)
        key = jax.random.fold_in(counters.key, counters.step)
        loss, grads = loss_of(eqx.combine(params, static), x, y, key)
        updates, moments = optimizer.update(grads, moments, params)
        return jax.tree.leaves((eqx.apply_updates(params, updates), moments)), counters.next(loss)

    return on_optax.epoch_of(step, flat, x, y, workload, seed)
