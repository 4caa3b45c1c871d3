"""Derivatives of a task's loss beyond the training gradient: by example, of second order, and influence."""

from __future__ import annotations

from collections.abc import Callable

import jax

from .._core.checks import check_count, check_range
from .._core.errors import describe, fail
from .._core.trees import own_copy, paths
from .._core.typed import jit
from .._core.types import Array, PyTree, Scalar
from ..nn.masks import Masked
from .batch import Batch, as_batch, neutralize_zero_weights, size_of
from .checks import check_params
from .entry import compiled, parsing
from .forward import forward
from .state import TrainState, check_state, check_task
from .task import Task
from .totals import ONE_OUTPUT_HINT, measure, penalties_of
from .values import check_known_targets


def loss_of(task: Task, params: PyTree, state: PyTree, batch: Batch) -> Array:
    """The loss of a batch, with training mode off: ``sum_i w_i l_i / batch + penalty``."""
    return _loss_of_cleaned(task, params, state, neutralize_zero_weights(task.model, batch))


def _loss_of_cleaned(task: Task, params: PyTree, state: PyTree, batch: Batch) -> Array:
    outputs, _ = forward(task, params, state, batch.x)
    return measure(task, outputs, batch, penalties=penalties_of(task, params))[0]


def _loss_of_row(task: Task, params: PyTree, state: PyTree, row: Batch) -> Array:
    """`loss_of` one example of a batch that `neutralize_zero_weights` has made harmless."""
    return _loss_of_cleaned(task, params, state, jax.tree.map(lambda a: a[None], row))


def _check_examples(where: str, task: Task, ts: TrainState, batch: Batch) -> None:
    """Refuse batches without examples, and a masked output, whose examples are steps rather than rows."""
    check_task(task)
    check_state(ts)
    size_of(batch, "batch")
    check_params(task, ts, batch.x)
    out = jax.eval_shape(lambda p, s, x: task.network.apply(p, s, x)[0], ts.params, ts.state, batch.x)
    for own in (part.of("predictions", out) for part in task.parts):
        if isinstance(own, Masked):
            fail(where, expected="a model with one output for each example", got=repr(own), hint=ONE_OUTPUT_HINT)


@parsing("batch")
@compiled
@jit(static_argnums=0)
def example_gradients(task: Task, ts: TrainState, batch: Batch) -> PyTree:
    """The gradient of each example's loss.

    ``g_i = d (w_i l_i + penalty) / d params``, so the mean over the batch is the gradient of the batch's loss (with
    training mode off: no dropout, running means in BatchNorm).

    Args:
      task, ts: the `Task` and the `TrainState`.
      batch: ``(x, y)`` or ``(x, y, sample_weight)``.

    Returns:
      The parameters' tree with a leading axis of examples; it takes the parameters' memory once per example.

    Raises:
      InputError: for shapes that do not fit.

    >>> import jax, jax.numpy as jnp, fnn
    >>> task = fnn.Task(fnn.Dense(1), "mse")
    >>> x = jnp.array([[1.0], [2.0]])
    >>> ts = fnn.init(task, jax.random.key(0), x)
    >>> fnn.example_gradients(task, ts, (x, x))["kernel"].shape
    (2, 1, 1)
    """
    _check_examples("example_gradients", task, ts, batch)

    def one(row: Batch) -> PyTree:
        return jax.grad(lambda params: _loss_of_row(task, params, ts.state, row))(ts.params)

    return jax.vmap(one)(neutralize_zero_weights(task.model, batch))


@parsing("batch")
@compiled
@jit(static_argnums=0)
def hessian_vector_product(task: Task, ts: TrainState, batch: Batch, vector: PyTree) -> PyTree:
    """The Hessian of a batch's loss times a vector, without ever forming the Hessian (Pearlmutter 1994).

    ``H v = d/de grad L(params + e v)`` at 0: a forward derivative of the gradient, about twice its cost.

    Args:
      task, ts, batch: as in `example_gradients`.
      vector: a tree like ``ts.params``.

    Returns:
      A tree like ``ts.params``.

    Raises:
      InputError: for shapes that do not fit, and a vector unlike the parameters.

    >>> import jax, jax.numpy as jnp, fnn
    >>> task = fnn.Task(fnn.Dense(1, use_bias=False), "mse")
    >>> x = jnp.array([[1.0], [2.0]])
    >>> ts = fnn.init(task, jax.random.key(0), x)
    >>> print(fnn.hessian_vector_product(task, ts, (x, x), {"kernel": jnp.ones((1, 1))})["kernel"])
    [[5.]]
    """
    check_task(task)
    check_state(ts)
    size_of(batch, "batch")
    check_params(task, ts, batch.x)
    expected, got = ({path: describe(a) for path, a in paths(tree).items()} for tree in (ts.params, vector))
    if expected != got:
        others = f"others at {sorted({path for path, _ in expected.items() ^ got.items()})}"
        fail("hessian_vector_product", expected="a vector with the parameters' paths and shapes", got=others)
    return _hvp(task, ts, batch, vector)


def _hvp(task: Task, ts: TrainState, batch: Batch, vector: PyTree) -> PyTree:
    gradient = jax.grad(lambda params: loss_of(task, params, ts.state, batch))
    return jax.jvp(gradient, (ts.params,), (vector,))[1]


def influence(
    task: Task, ts: TrainState, data: Batch, test: Batch, *, damping: Scalar = 0.01, iterations: int = 100
) -> Array:
    """How much each training example's weight would change the loss on test examples.

    ``I_i = - g_test^T (H + damping)^-1 g_i`` (Koh and Liang 2017), the derivative of the test loss by the weight of
    example ``i`` in a sum: negative where the example helps. ``H`` is the Hessian over ``data``; conjugate gradients
    solve the system once, for ``g_test``, so it must be positive definite: raise ``damping`` if the result is not
    finite or jumps.

    Args:
      task, ts: the `Task`, and a trained `TrainState`.
      data: ``(x, y)``, the training examples.
      test: ``(x, y)``, the examples whose mean loss would change.
      damping: added to the Hessian's diagonal; default 0.01.
      iterations: the most iterations of the solver; default 100.

    Returns:
      (examples,) influences.

    Raises:
      InputError: for a negative damping or shapes that do not fit.
    """
    check_task(task)
    check_state(ts)
    check_range("influence", "damping", damping, 0)
    check_count("influence", "iterations", iterations)
    data, test = own_copy((as_batch(data), as_batch(test, "test")))
    _check_examples("influence", task, ts, data)
    check_known_targets(task, data, "data")
    check_known_targets(task, test, "test")
    return _influence(task, ts, data, test, damping, iterations)


@compiled
@jit(static_argnums=(0, 5))
def _influence(task: Task, ts: TrainState, data: Batch, test: Batch, damping: Scalar, iterations: int) -> Array:
    target = jax.grad(lambda params: loss_of(task, params, ts.state, test))(ts.params)

    def system(vector: PyTree) -> PyTree:
        return jax.tree.map(lambda h, v: h + damping * v, _hvp(task, ts, data, vector), vector)

    solve: Callable[..., tuple[PyTree, object]] = jax.scipy.sparse.linalg.cg  # JAX gives it no type
    solved, _ = solve(system, target, maxiter=iterations)

    # The directional derivative of each example's loss needs no gradient.
    def along(row: Batch) -> Array:
        slope: Array = jax.jvp(lambda params: _loss_of_row(task, params, ts.state, row), (ts.params,), (solved,))[1]
        return slope

    return -jax.vmap(along)(neutralize_zero_weights(task.model, data))
