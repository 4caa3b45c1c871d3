"""Rosenblatt's perceptron: learn a threshold unit from examples, and decide whether one exists."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from .._core.arrays import as_array
from .._core.checks import check_count, check_key, check_range, is_concrete
from .._core.dtypes import at_least_float32, is_float
from .._core.errors import describe, fail, located
from .._core.trees import to_jax
from .._core.typed import jit
from .._core.types import Array, Params
from .._core.warn import warn
from .units import threshold_unit

_MAX_DECIDED_SIZE = 100_000  # the largest x.size for which the warning of perceptron decides separability


class Perceptron(NamedTuple):
    """The result of `perceptron`.

    Attributes:
      params: ``kernel`` (features, 1) and ``bias`` (1,), for `threshold_unit` and `fnn.dense`.
      errors: (epochs,) int32, the number of rows corrected in each epoch; the last is 0 if the rule converged.
      updates: total number of corrections.
      converged: whether every row was right in the last epoch.
      history: ``kernel`` (epochs, features, 1) and ``bias`` (epochs, 1) after each epoch.
      classes: (2,) the labels returned by `predict`, in the dtype of ``y``: False and True, 0 and 1, or -1 and 1.
    """

    params: Params
    errors: Array
    updates: int | Array
    converged: bool | Array
    history: Params
    classes: Array

    def predict(self, x: ArrayLike) -> Array:
        """Predict the class of each row: ``classes[1]`` where ``x @ kernel + bias >= 0``, else ``classes[0]``.

        Args:
          x: (..., features) numbers.

        Returns:
          (...), in the dtype of ``classes``.

        Raises:
          InputError: for another number of features, or numbers that are not finite.
        """
        inputs = _as_floats("Perceptron.predict", x).astype(self.params["kernel"].dtype)
        with located("Perceptron.predict"):
            fires = threshold_unit(self.params, inputs)[..., 0] > 0
        return jnp.where(fires, self.classes[1], self.classes[0])


def perceptron(
    x: ArrayLike, y: ArrayLike, *, learning_rate: ArrayLike = 1.0, epochs: int = 100, key: Array | None = None
) -> Perceptron:
    """Learn a threshold unit from examples by Rosenblatt's rule, row by row (Rosenblatt 1958).

    With ``s`` = 1 for rows of the second class and -1 for the others, a row is right if ``s (x @ w + b) > 0``. Only a
    row that is wrong changes the weights, and moves the line towards its side::

        w <- w + learning_rate * s * x        b <- b + learning_rate * s

    A row on the line itself is wrong for either class, as in Novikoff's proof (and in scikit-learn), so that no row
    remains there. The weights start at 0, so the learning rate only scales them and does not affect the predictions.

    The rule ends with the first epoch in which every row is right. If some ``(w, b)`` of length 1 has
    ``s (x @ w + b) >= g`` for every row, and no ``(x, 1)`` is longer than ``R``, this takes at most ``(R / g)^2``
    corrections (Novikoff 1962). Else it never ends: ``converged`` is False, and a warning says if more epochs can help.

    Args:
      x: (rows, features) numbers.
      y: (rows,) labels of two classes: False and True, 0 and 1, or -1 and 1. To single out one of several classes,
        compare: ``y == 2``. If all rows have the same class, the rule only learns to predict it for every row.
      learning_rate: a positive number; may be traced.
      epochs: maximum number of passes over the rows.
      key: a PRNG key that shuffles the rows in each epoch; default: the given order.

    Returns:
      A `Perceptron`. Inside a JAX transformation its arrays have ``epochs`` entries (unneeded ones have errors of 0 and
      the last weights), and the values of ``x`` and ``y`` are not checked.

    Raises:
      InputError: for shapes that do not match, no rows, more than two classes, NaN or infinity, or invalid options.

    >>> x, y = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), jnp.array([0, 0, 0, 1])
    >>> found = perceptron(x, y)
    >>> found.errors.tolist(), found.converged, found.predict(x).tolist()
    ([2, 3, 3, 2, 2, 3, 2, 1, 0], True, [0, 0, 0, 1])
    >>> print(found.params["kernel"].ravel(), found.params["bias"])
    [3. 2.] [-4.]
    """
    where = "perceptron"
    inputs, labels = _as_examples(where, x, y)
    check_range(where, "learning_rate", learning_rate, 0, open_low=True)
    check_count(where, "epochs", epochs)
    if key is not None:
        check_key(where, key)
    # Comparing booleans with 0 would give a weak type, which costs another compilation.
    positive = labels if labels.dtype == jnp.bool_ else labels > 0
    # The rate only scales weights that start at 0. Learning with rate 1, which is exact for integers, makes the same
    # mistakes; the weights are scaled at the end.
    wide = inputs.astype(at_least_float32(inputs.dtype))
    params, errors, history, ran = _learn(wide, positive, key, epochs=int(epochs))
    rate = jnp.asarray(learning_rate, wide.dtype)
    params, history = jax.tree.map(lambda a: (rate * a).astype(inputs.dtype), (params, history))
    if not is_concrete(errors):
        return Perceptron(params, errors, errors.sum(), errors[-1] == 0, history, _classes(labels))
    # NumPy slices without a compilation per length.
    errors, history = jax.tree.map(lambda values: to_jax(np.asarray(values)[: int(ran)]), (errors, history))
    *_, left = counts = np.asarray(errors).tolist()
    if left:
        border = "line" if inputs.shape[1] <= 2 else "hyperplane"
        if inputs.size > _MAX_DECIDED_SIZE:
            reason = "More epochs may help; separable(x, y) says whether any number can."
        elif separable(inputs, labels):
            reason = (
                f"A {border} that separates the classes exists, so more epochs will find one: pass a larger epochs=."
            )
        else:
            reason = f"No {border} separates the classes, so no number of epochs is enough."
        warn(f"perceptron: {left} of {len(inputs)} rows were still misclassified after epoch {len(counts)}. {reason}")
    return Perceptron(params, errors, sum(counts), left == 0, history, _classes(labels))


def _classes(y: Array) -> Array:
    """The two labels, in the dtype of ``y``."""
    if y.dtype == jnp.bool_:
        return jnp.array([False, True])
    xp = np if is_concrete(y) else jnp
    low = xp.where((xp.asarray(y) < 0).any(), -1, 0)
    return jnp.asarray(xp.stack([low, xp.ones_like(low)]).astype(y.dtype))


# Epochs run, errors of the last one, kernel and bias; then for each epoch the errors, kernels and biases.
_LearnState = tuple[Array, Array, tuple[Array, Array], Array, Array, Array]


@jit(static_argnames="epochs")
def _learn(x: Array, y: Array, key: Array | None, *, epochs: int) -> tuple[Params, Array, Params, Array]:
    """Parameters, errors per epoch, parameters after each epoch, and the number of epochs run."""
    rows, features = x.shape
    side = jnp.where(y, 1, -1).astype(x.dtype)

    def correct(weights: tuple[Array, Array], row: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (kernel, bias), (features, s) = weights, row
        # A sum of products; a matrix product would be less precise on some devices.
        wrong = ~(s * ((features * kernel).sum() + bias) > 0)
        push = jnp.where(wrong, s, jnp.zeros_like(s))
        return (kernel + push * features, bias + push), wrong

    def epoch(state: _LearnState) -> _LearnState:
        t, _, weights, errors, kernels, biases = state
        data = (x, side)
        if key is not None:
            order = jax.random.permutation(jax.random.fold_in(key, t), rows)
            data = (x[order], side[order])
        weights, wrong = jax.lax.scan(correct, weights, data)
        left = wrong.sum(dtype=jnp.int32)
        return t + 1, left, weights, errors.at[t].set(left), kernels.at[t].set(weights[0]), biases.at[t].set(weights[1])

    weights = (jnp.zeros(features, x.dtype), jnp.zeros((), x.dtype))
    empty = jnp.zeros(epochs, jnp.int32), jnp.zeros((epochs, features), x.dtype), jnp.zeros(epochs, x.dtype)
    start = (jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32), weights, *empty)
    ran, _, (kernel, bias), errors, kernels, biases = jax.lax.while_loop(
        lambda state: (state[0] < epochs) & (state[1] > 0), epoch, start
    )
    needed = jnp.arange(epochs, dtype=ran.dtype) < ran
    kernels, biases = jnp.where(needed[:, None], kernels, kernel), jnp.where(needed, biases, bias)
    history = {"kernel": kernels[..., None], "bias": biases[:, None]}
    return {"kernel": kernel[:, None], "bias": bias[None]}, errors, history, ran


def separable(x: ArrayLike, y: ArrayLike) -> bool:
    """Whether a line (a hyperplane in general) strictly separates the rows of the two classes.

    A linear program decides this. The classes are separable unless some convex combination of rows of one class equals
    one of the other, i.e. unless their convex hulls intersect. With ``s`` = 1 or -1 by class, the optimum of::

        maximize  sum_i l_i   subject to   sum_i l_i s_i (x_i, 1) = 0,   0 <= l_i <= 1

    is 0 if they are separable, and at least 2 if not. The dual solution is a separating line, which is verified. Each
    feature is first scaled to [-1, 1]. Gaps are detected down to a few billionths of the range of the data.

    Args:
      x: (rows, features) numbers.
      y: (rows,) labels of two classes: False and True, 0 and 1, or -1 and 1. A single class is separable.

    Raises:
      InputError: for shapes that do not match, no rows, more than two classes, NaN or infinity, or traced arrays.

    >>> x = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> separable(x, [0, 0, 0, 1]), separable(x, [0, 1, 1, 0])
    (True, False)
    """
    from scipy.optimize import linprog

    if not (is_concrete(x) and is_concrete(y)):
        hint = "Call it on the result of the compiled function."
        fail("separable", expected="concrete values", got="traced ones", hint=hint)
    _, labels = _as_examples("separable", x, y)
    points, positive = np.asarray(x, np.float64), np.asarray(labels) > 0
    low, high = points.min(0), points.max(0)
    points = (points - (low + high) / 2) / np.where(high > low, (high - low) / 2, 1.0)
    rows = np.where(positive, 1.0, -1.0)[:, None] * np.column_stack([points, np.ones(len(points))])
    zeros = np.zeros(rows.shape[1])
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    out = linprog(-np.ones(len(rows)), A_eq=rows.T, b_eq=zeros, bounds=(0, 1), method="highs", options=tight)
    if out.status != 0:
        raise RuntimeError(f"separable: the linear program was not solved: {out.message}")
    return bool((rows @ -out.eqlin.marginals > 0).all())


def _as_floats(where: str, x: ArrayLike) -> Array:
    """Convert to a floating-point array, which must be finite if concrete."""
    array = as_array(f"{where}, x", x)
    floats = to_jax(array if is_float(array) else array.astype(jnp.result_type(float)))
    if is_concrete(floats) and not (finite := np.isfinite(np.asarray(floats))).all():
        place = tuple(np.argwhere(~finite)[0].tolist())
        fail(where, expected="finite numbers in x", got=f"{np.asarray(floats)[place]} at {place}")
    return floats


def _as_examples(where: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Convert to (rows, features) floats and (rows,) labels of two classes."""
    inputs = _as_floats(where, x)
    if inputs.ndim != 2 or 0 in inputs.shape:
        hint = "Use x[:, None] for one feature." if inputs.ndim == 1 and inputs.size else ""
        fail(where, expected="x of shape (rows, features)", got=describe(inputs), hint=hint)
    rows = inputs.shape[0]
    labels = to_jax(as_array(f"{where}, y", y))
    if labels.shape != (rows,):
        hint = "Use y[:, 0]." if labels.shape == (rows, 1) else ""
        fail(where, expected=f"y of shape ({rows},), a label per row", got=describe(labels), hint=hint)
    if is_concrete(labels):
        found = np.unique(np.asarray(labels, np.float64))
        if not (set(found) <= {0.0, 1.0} or set(found) <= {-1.0, 1.0}):
            expected = "labels of two classes: False and True, 0 and 1, or -1 and 1"
            got = ", ".join(f"{value:g}" for value in found[:5]) + (", ..." if len(found) > 5 else "")
            hint = "Compare to single out one class, e.g. y == 2 or y == 'setosa'."
            fail(where, expected=expected, got=got, hint=hint)
    return inputs, labels
