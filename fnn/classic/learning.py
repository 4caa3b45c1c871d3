"""Rosenblatt's perceptron."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._core.arrays import as_array
from .._core.checks import check_count, check_key, check_range, is_concrete
from .._core.dtypes import at_least_float32
from .._core.errors import describe, fail, located
from .._core.types import Array, Params
from .._core.warn import warn
from .units import DECIDE_SIZE, threshold_unit


class Perceptron(NamedTuple):
    """What Rosenblatt's rule has found.

    Attributes:
      params: ``kernel`` (features, 1) and ``bias`` (1,), for `threshold_unit` and `fnn.dense`.
      errors: (epochs,) int32, how many rows each epoch corrected; the last number is 0 when the rule has ended.
      updates: their sum, all corrections made.
      converged: whether the last epoch found every row on its side.
      history: ``kernel`` (epochs, features, 1) and ``bias`` (epochs, 1) as they stood after each epoch.
      classes: (2,) the labels that `predict` gives, in the dtype of ``y``: False and True, 0 and 1, or -1 and 1.
    """

    params: Params
    errors: Array
    updates: Any
    converged: Any
    history: Params
    classes: Array

    def predict(self, x: Any) -> Array:
        """The class of each row: ``classes[1]`` where ``x @ kernel + bias >= 0``, else ``classes[0]``.

        Args:
          x: (..., features) numbers.

        Returns:
          (...), of the dtype of ``classes``.

        Raises:
          InputError: for another number of features, or NaN.
        """
        x = _floats("Perceptron.predict", x).astype(self.params["kernel"].dtype)
        with located("Perceptron.predict"):
            fires = threshold_unit(self.params, x)[..., 0] > 0
        return jnp.where(fires, self.classes[1], self.classes[0])


def perceptron(x: Any, y: Any, *, learning_rate: Any = 1.0, epochs: int = 100, key: Array | None = None) -> Perceptron:
    """Learn a threshold unit from examples by Rosenblatt's rule, row by row (Rosenblatt 1958).

    With ``s`` = 1 for rows of the class True and -1 for the others, a row is right if ``s (x @ w + b) > 0``. A row that
    is not right pulls the line towards its own side, and every other row leaves it alone::

        w <- w + learning_rate * s * x        b <- b + learning_rate * s

    A row on the line itself counts as wrong for either class, as in Novikoff's proof (and in scikit-learn), so that in
    the end no row lies there. The weights start at 0, so the learning rate only scales them, and any will do.

    The rule ends with the first epoch in which every row is right. If some ``(w, b)`` of length 1 has
    ``s (x @ w + b) >= g`` for every row, and no ``(x, 1)`` is longer than ``R``, at most ``(R / g)^2`` corrections are
    made before that (Novikoff 1962). If there is no such ``(w, b)``, it never happens: then ``converged`` is False, and
    a warning says whether more epochs can help.

    Args:
      x: (rows, features) numbers.
      y: (rows,) labels of two classes: False and True, 0 and 1, or -1 and 1. Of several classes single out one by
        comparing: ``y == 2``. If all rows are of one class, the rule soon names that class for every row, and has
        learned nothing else.
      learning_rate: a positive number; may be traced.
      epochs: at most so many rounds over the rows.
      key: a PRNG key for a new order of the rows in each epoch; default the order given.

    Returns:
      A `Perceptron`: parameters, history and `predict`. Inside a JAX transformation its arrays have ``epochs`` entries
      (errors of 0 and the last weights stand for epochs that were not needed), and values of x and y are not checked.

    Raises:
      InputError: for shapes that do not fit, labels of three classes or more, NaN, no rows, or numbers out of range.

    >>> x, y = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), jnp.array([0, 0, 0, 1])
    >>> found = perceptron(x, y)
    >>> found.errors.tolist(), found.converged, found.predict(x).tolist()
    ([2, 3, 3, 2, 2, 3, 2, 1, 0], True, [0, 0, 0, 1])
    >>> print(found.params["kernel"].ravel(), found.params["bias"])
    [3. 2.] [-4.]
    """
    where = "perceptron"
    x, y = _examples(where, x, y)
    check_range(where, "learning_rate", learning_rate, 0, open_low=True)
    check_count(where, "epochs", epochs)
    if key is not None:
        check_key(where, key)
    # A comparison of booleans with 0 would have a weak type, and a compilation of its own.
    positive = y if y.dtype == jnp.bool_ else y > 0
    # With weights that start at 0 the rate only scales them: with rate 1, which rounds nothing for whole numbers, the
    # rule makes the same mistakes, and the scale comes last.
    wide = x.astype(at_least_float32(x.dtype))
    params, errors, history, ran = _learn(wide, positive, key, epochs=int(epochs))
    rate = jnp.asarray(learning_rate, wide.dtype)
    params, history = jax.tree.map(lambda a: (rate * a).astype(x.dtype), (params, history))
    if not is_concrete(errors):
        return Perceptron(params, errors, errors.sum(), errors[-1] == 0, history, _classes(y))
    # Cut in NumPy, which compiles nothing for each length.
    errors, history = jax.tree.map(lambda values: jnp.asarray(np.asarray(values)[: int(ran)]), (errors, history))
    *_, left = counts = np.asarray(errors).tolist()
    if left:
        _warn(x, y, left, len(counts))
    return Perceptron(params, errors, sum(counts), left == 0, history, _classes(y))


def _classes(y: Array) -> Array:
    """The two labels of the kind that ``y`` is of."""
    if y.dtype == jnp.bool_:
        return jnp.array([False, True])
    xp = np if is_concrete(y) else jnp
    low = xp.where((xp.asarray(y) < 0).any(), -1, 0)
    return jnp.asarray(xp.stack([low, xp.ones_like(low)]).astype(y.dtype))


@partial(jax.jit, static_argnames="epochs")
def _learn(x: Array, y: Array, key: Array | None, *, epochs: int) -> tuple[Params, Array, Params, Array]:
    """Parameters, errors per epoch, parameters after each epoch, and the number of epochs that were needed."""
    rows, features = x.shape
    side = jnp.where(y, 1, -1).astype(x.dtype)

    def correct(weights: tuple[Array, Array], row: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (kernel, bias), (features, s) = weights, row
        # A sum of products, as a matrix product would have fewer digits on some devices.
        wrong = ~(s * ((features * kernel).sum() + bias) > 0)
        push = jnp.where(wrong, s, jnp.zeros_like(s))
        return (kernel + push * features, bias + push), wrong

    def epoch(state: Any) -> Any:
        t, _, weights, errors, kernels, biases = state
        data = (x, side)
        if key is not None:
            order = jax.random.permutation(jax.random.fold_in(key, t), rows)
            data = (x[order], side[order])
        weights, wrong = jax.lax.scan(correct, weights, data)
        left = wrong.sum(dtype=jnp.int32)
        return t + 1, left, weights, errors.at[t].set(left), kernels.at[t].set(weights[0]), biases.at[t].set(weights[1])

    zero = jnp.zeros((), x.dtype)
    weights = (jnp.zeros(features, x.dtype), zero)
    empty = jnp.zeros(epochs, jnp.int32), jnp.zeros((epochs, features), x.dtype), jnp.zeros(epochs, x.dtype)
    start = (jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32), weights, *empty)
    ran, _, (kernel, bias), errors, kernels, biases = jax.lax.while_loop(
        lambda state: (state[0] < epochs) & (state[1] > 0), epoch, start
    )
    needed = jnp.arange(epochs, dtype=ran.dtype) < ran
    kernels, biases = jnp.where(needed[:, None], kernels, kernel), jnp.where(needed, biases, bias)
    history = {"kernel": kernels[..., None], "bias": biases[:, None]}
    return {"kernel": kernel[:, None], "bias": bias[None]}, errors, history, ran


def _warn(x: Array, y: Array, left: int, epochs: int) -> None:
    """Say why the rule did not end."""
    if x.size > DECIDE_SIZE:
        reason = "More epochs may do; separable(x, y) tells whether any number can."
    elif separable(x, y):
        reason = "A line that separates the classes exists, so more epochs will find one: pass a larger epochs=."
    else:
        reason = "No line separates the classes, so the rule never ends, however many epochs it is given."
    text = f"perceptron: {left} of {len(x)} rows were still wrong in epoch {epochs}. {reason}"
    warn(text)


def separable(x: Any, y: Any) -> bool:
    """Whether some line (or plane) has all rows of one class strictly on one side and the others on the other.

    Decided by a linear programme, not by trying. Such a line exists unless a mixture of rows of one class equals a
    mixture of rows of the other (unless their convex hulls meet). With ``s`` = 1 or -1 by class, the most of a mixture
    that is possible::

        maximize  sum_i l_i   with   sum_i l_i s_i (x_i, 1) = 0,   0 <= l_i <= 1

    is 0 if there is such a line, and at least 2 if not. The multipliers of the solution are the line, which is checked.
    Each feature is scaled to [-1, 1] before, which changes nothing in the answer. Gaps are seen down to a few
    thousand-millionths of the range of the data.

    Args:
      x: (rows, features) numbers.
      y: (rows,) labels of two classes: False and True, 0 and 1, or -1 and 1. One class alone is separable.

    Raises:
      InputError: for shapes that do not fit, labels of three classes or more, NaN, no rows, or traced arrays.

    >>> x = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> separable(x, [0, 0, 0, 1]), separable(x, [0, 1, 1, 0])
    (True, False)
    """
    from scipy.optimize import linprog

    if not (is_concrete(x) and is_concrete(y)):
        fail("separable", expected="arrays of values", got="traced ones", hint="Call it outside of jit and vmap.")
    _, labels = _examples("separable", x, y)
    x, y = np.asarray(x, np.float64), np.asarray(labels) > 0
    low, high = x.min(0), x.max(0)
    x = (x - (low + high) / 2) / np.where(high > low, (high - low) / 2, 1.0)
    rows = np.where(y, 1.0, -1.0)[:, None] * np.column_stack([x, np.ones(len(x))])
    out = linprog(
        -np.ones(len(rows)),
        A_eq=rows.T,
        b_eq=np.zeros(rows.shape[1]),
        bounds=(0, 1),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if out.status != 0:
        raise RuntimeError(f"separable: the linear programme was not solved: {out.message}")
    return bool((rows @ -out.eqlin.marginals > 0).all())


def _floats(where: str, x: Any) -> Array:
    """Numbers as a floating-point array, refused where they are not finite."""
    x = as_array(f"{where}, x", x)
    x = jnp.asarray(x, None if jnp.issubdtype(x.dtype, jnp.floating) else float)
    if is_concrete(x) and not (finite := np.isfinite(np.asarray(x))).all():
        place = tuple(np.argwhere(~finite)[0].tolist())
        fail(where, expected="finite numbers in x", got=f"{np.asarray(x)[place]} at {place}")
    return x


def _examples(where: str, x: Any, y: Any) -> tuple[Array, Array]:
    """Rows of features, and a label of two classes for each."""
    x = _floats(where, x)
    if x.ndim != 2 or 0 in x.shape:
        hint = "Use x[:, None] for one feature." if x.ndim == 1 and x.size else ""
        fail(where, expected="x of shape (rows, features)", got=describe(x), hint=hint)
    names = "labels of two classes: False and True, 0 and 1, or -1 and 1"
    hint = "Compare to single out one class, e.g. y == 2 or y == 'setosa'."
    y = jnp.asarray(as_array(f"{where}, y", y))
    if y.shape != x.shape[:1]:
        fix = "Use y[:, 0]." if y.shape == (x.shape[0], 1) else ""
        fail(where, expected=f"y of shape ({x.shape[0]},), a label per row", got=describe(y), hint=fix)
    if is_concrete(y):
        found = np.unique(np.asarray(y, np.float64))
        if not (set(found) <= {0.0, 1.0} or set(found) <= {-1.0, 1.0}):
            shown = ", ".join(f"{value:g}" for value in found[:5]) + (", ..." if len(found) > 5 else "")
            fail(where, expected=names, got=shown, hint=hint)
    return x, y
