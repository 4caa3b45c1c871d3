"""Optimizers: each rule is a few lines of arithmetic on one array, and one function lifts rules to trees.

The rules are Keras 3's. Where t counts updates from 1, g is the gradient, p the parameter and lr the learning rate.
An `Optimizer` has the protocol of optax, ``init(params) -> state`` and ``update(grads, state, params) -> (updates,
state)``, and the new parameters are ``params + updates``.

Hyper-parameters are leaves of ``OptState.hyper``; `set_hyper` changes them without compiling anew. A term whose
hyper-parameter is the plain number 0 when the optimizer is made (``momentum``, ``decay``, ``weight_decay``) is left out
of the program and of the state; pass ``jnp.zeros(())`` to keep it changeable.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._core.checks import lookup
from .._core.described import described
from .._core.dtypes import at_least_float32
from .._core.errors import fail
from .._core.norms import divided, root
from .._core.trees import Where
from .._core.types import Array
from .base import Number, Optimizer, Slots, from_rule, is_zero
from .hyper import check_hyper


def _squarable(g: Array, headroom: float = 1.0) -> Array:
    """A gradient whose square is finite: finite elements are limited to 1.8e19 in float32 and 1.3e154 in float64.

    Beyond that ``v`` would be infinite, and the parameter would never move again or become NaN. NaN and infinities
    stay as they are, so that they are seen. With a headroom the limit is smaller by this factor.
    """
    limit = jnp.asarray(0.999 / headroom * float(jnp.finfo(g.dtype).max) ** 0.5, g.dtype)
    return jnp.where(jnp.isfinite(g), jnp.clip(g, -limit, limit), g)


def _inverse_root(v: Array) -> Array:
    """``1 / sqrt(v)``, and 0 at 0: without an epsilon a gradient of 0 makes no step."""
    zero = v == 0
    return jnp.where(zero, jnp.zeros_like(v), jax.lax.rsqrt(jnp.where(zero, jnp.ones_like(v), v)))


@described
def sgd(
    learning_rate: Number = 0.01,
    momentum: Number = 0.0,
    nesterov: bool = False,
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's momentum (Sutskever et al. 2013).

    Without momentum ``p += -lr g``; with it ``v = momentum v - lr g`` and ``p += v``; Nesterov's
    ``p += momentum v - lr g``. PyTorch and optax keep ``v = momentum v + g`` and multiply by lr afterwards, which
    differs once the learning rate changes.

    Args:
      learning_rate: a number, a schedule, or a function of the step.
      momentum: 0 for none.
      nesterov: whether to use Nesterov's form.
      decay: time-based decay of the learning rate, ``lr / (1 + decay * step)``.
      weight_decay: decoupled weight decay; ``weight_decay_where`` chooses the parameters by path.

    Raises:
      InputError: for a hyper-parameter out of range.
    """
    check_hyper("sgd", momentum=momentum)
    common = _common("sgd", learning_rate, decay, weight_decay, weight_decay_where)
    moves = not is_zero(momentum)
    if nesterov and not moves:
        fail("sgd", expected="a momentum above 0 with nesterov=True", got="momentum=0")

    def rule(g: Array, s: Slots, h: dict[str, Array], t: Array) -> tuple[Array, Slots]:
        delta = -h["learning_rate"] * g
        if not moves:
            return delta, s
        v = h["momentum"] * s["momentum"] + delta
        return (h["momentum"] * v + delta if nesterov else v), {"momentum": v}

    slots = {"momentum": jnp.zeros_like} if moves else {}
    hyper = {"learning_rate": learning_rate} | ({"momentum": momentum} if moves else {})
    return from_rule(rule, slots, hyper, **common)


@described
def adagrad(
    learning_rate: Number = 0.01,
    initial_accumulator_value: Any = 0.1,
    epsilon: Number = 1e-7,
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """Adagrad (Duchi et al. 2011): ``a += g^2``, ``p -= lr g / sqrt(a + epsilon)``.

    PyTorch adds epsilon outside the root and starts at 0; optax as here.

    Args:
      learning_rate: a number, a schedule, or a function of the step.
      initial_accumulator_value: the first value of ``a``.
      epsilon: inside the root.
      decay, weight_decay, weight_decay_where: as in `sgd`.

    Raises:
      InputError: for a hyper-parameter out of range.
    """
    check_hyper("adagrad", initial_accumulator_value=initial_accumulator_value, epsilon=epsilon)
    common = _common("adagrad", learning_rate, decay, weight_decay, weight_decay_where)

    def rule(g: Array, s: Slots, h: dict[str, Array], t: Array) -> tuple[Array, Slots]:
        g = _squarable(g, 1024)  # a million squares have a finite sum
        a = s["accumulator"] + jnp.square(g)
        return -h["learning_rate"] * g * _inverse_root(a + h["epsilon"]), {"accumulator": a}

    def fill(p: Array) -> Array:
        return jnp.full_like(p, initial_accumulator_value)

    hyper = {"learning_rate": learning_rate, "epsilon": epsilon}
    return from_rule(rule, {"accumulator": fill}, hyper, **common)


@described
def rmsprop(
    learning_rate: Number = 0.001,
    rho: Number = 0.9,
    momentum: Number = 0.0,
    epsilon: Number = 1e-7,
    centered: bool = False,
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """RMSprop (Tieleman and Hinton 2012): ``v = rho v + (1 - rho) g^2``, ``p -= lr g / sqrt(v + epsilon)``.

    ``centered`` subtracts the square of the running mean gradient from ``v`` inside the root (Graves 2013,
    arXiv:1308.0850). With momentum, ``m = momentum m + lr g / sqrt(...)`` and ``p -= m``. PyTorch adds epsilon
    outside the root.

    Args:
      learning_rate: a number, a schedule, or a function of the step.
      rho: decay of the running means.
      momentum: 0 for none.
      epsilon: inside the root.
      centered: see above.
      decay, weight_decay, weight_decay_where: as in `sgd`.

    Raises:
      InputError: for a hyper-parameter out of range.
    """
    check_hyper("rmsprop", rho=rho, momentum=momentum, epsilon=epsilon)
    common = _common("rmsprop", learning_rate, decay, weight_decay, weight_decay_where)
    moves = not is_zero(momentum)

    def rule(g: Array, s: Slots, h: dict[str, Array], t: Array) -> tuple[Array, Slots]:
        g = _squarable(g)
        new = {"velocity": h["rho"] * s["velocity"] + (1 - h["rho"]) * jnp.square(g)}
        spread = new["velocity"]
        if centered:
            new["average"] = h["rho"] * s["average"] + (1 - h["rho"]) * g
            # Rounding can make the difference a little negative where the gradient hardly changes.
            spread = jnp.maximum(spread - jnp.square(new["average"]), 0.0)
        delta = -h["learning_rate"] * g * _inverse_root(spread + h["epsilon"])
        if moves:
            delta = new["momentum"] = h["momentum"] * s["momentum"] + delta
        return delta, new

    names = ["velocity"] + ["average"] * centered + ["momentum"] * moves
    hyper = {"learning_rate": learning_rate, "rho": rho, "epsilon": epsilon} | ({"momentum": momentum} if moves else {})
    return from_rule(rule, dict.fromkeys(names, jnp.zeros_like), hyper, **common)


@described
def adadelta(
    learning_rate: Number = 1.0,
    rho: Number = 0.95,
    epsilon: Number = 1e-7,
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """Adadelta (Zeiler 2012, arXiv:1212.5701).

    ``a = rho a + (1 - rho) g^2``, ``d = -sqrt((u + epsilon) / (a + epsilon)) g``, ``u = rho u + (1 - rho) d^2``,
    ``p += lr d``. The default learning rate is the paper's 1 (Keras's is 0.001).

    Args:
      learning_rate: a number, a schedule, or a function of the step.
      rho: decay of the running means.
      epsilon: inside the roots.
      decay, weight_decay, weight_decay_where: as in `sgd`.

    Raises:
      InputError: for a hyper-parameter out of range.
    """
    check_hyper("adadelta", rho=rho, epsilon=epsilon)
    common = _common("adadelta", learning_rate, decay, weight_decay, weight_decay_where)

    def rule(g: Array, s: Slots, h: dict[str, Array], t: Array) -> tuple[Array, Slots]:
        g, rho, epsilon = _squarable(g), h["rho"], h["epsilon"]
        a = rho * s["squared_gradient"] + (1 - rho) * jnp.square(g)
        d = -root(s["squared_delta"] + epsilon) * _inverse_root(a + epsilon) * g
        u = rho * s["squared_delta"] + (1 - rho) * jnp.square(d)
        return h["learning_rate"] * d, {"squared_gradient": a, "squared_delta": u}

    slots = dict.fromkeys(("squared_gradient", "squared_delta"), jnp.zeros_like)
    hyper = {"learning_rate": learning_rate, "rho": rho, "epsilon": epsilon}
    return from_rule(rule, slots, hyper, **common)


@described
def adam(
    learning_rate: Number = 0.001,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number = 1e-7,
    amsgrad: bool = False,
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """Adam (Kingma and Ba 2014, arXiv:1412.6980); with ``weight_decay`` AdamW (arXiv:1711.05101).

    ``m += (1 - beta_1)(g - m)``, ``v += (1 - beta_2)(g^2 - v)``, and
    ``p -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon)``.
    ``amsgrad`` uses the largest v so far (Reddi et al. 2018). The correction is folded into the step size, as in
    section 2 of the paper and in Keras; PyTorch and optax correct ``m`` and ``v`` first, which makes their epsilon
    (1e-8) a little larger in effect.

    Args:
      learning_rate: a number, a schedule, or a function of the step.
      beta_1, beta_2: decay of the running means of ``g`` and ``g^2``.
      epsilon: outside the root.
      amsgrad: see above.
      decay, weight_decay, weight_decay_where: as in `sgd`.

    Raises:
      InputError: for a hyper-parameter out of range.
    """
    check_hyper("adam", beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
    common = _common("adam", learning_rate, decay, weight_decay, weight_decay_where)

    def rule(g: Array, s: Slots, h: dict[str, Array], t: Array) -> tuple[Array, Slots]:
        g = _squarable(g)
        m = s["momentum"] + (1 - h["beta_1"]) * (g - s["momentum"])
        v = s["velocity"] + (1 - h["beta_2"]) * (jnp.square(g) - s["velocity"])
        new = {"momentum": m, "velocity": v}
        if amsgrad:
            v = new["velocity_max"] = jnp.maximum(s["velocity_max"], v)
        rate = h["learning_rate"] * jnp.sqrt(1 - h["beta_2"] ** t) / (1 - h["beta_1"] ** t)
        return -rate * divided(m, root(v) + h["epsilon"]), new

    names = ["momentum", "velocity"] + ["velocity_max"] * amsgrad
    hyper = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    return from_rule(rule, dict.fromkeys(names, jnp.zeros_like), hyper, **common)


@described
def adamax(
    learning_rate: Number = 0.002,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number = 1e-7,
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """Adamax (Kingma and Ba 2014, arXiv:1412.6980, section 7).

    ``m += (1 - beta_1)(g - m)``, ``u = max(beta_2 u, |g|)``, ``p -= lr / (1 - beta_1^t) m / (u + epsilon)``.

    Args:
      learning_rate: a number, a schedule, or a function of the step; default 0.002 as in the paper.
      beta_1, beta_2: decay of the running mean and of the running maximum.
      epsilon: beside the maximum; PyTorch and optax add theirs to ``|g|`` inside it.
      decay, weight_decay, weight_decay_where: as in `sgd`.

    Raises:
      InputError: for a hyper-parameter out of range.
    """
    check_hyper("adamax", beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
    common = _common("adamax", learning_rate, decay, weight_decay, weight_decay_where)

    def rule(g: Array, s: Slots, h: dict[str, Array], t: Array) -> tuple[Array, Slots]:
        m = s["momentum"] + (1 - h["beta_1"]) * (g - s["momentum"])
        u = jnp.maximum(h["beta_2"] * s["norm"], jnp.abs(g))
        delta = -h["learning_rate"] / (1 - h["beta_1"] ** t) * divided(m, u + h["epsilon"])
        return delta, {"momentum": m, "norm": u}

    slots = dict.fromkeys(("momentum", "norm"), jnp.zeros_like)
    hyper = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    return from_rule(rule, slots, hyper, **common)


@described
def nadam(
    learning_rate: Number = 0.002,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number = 1e-7,
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """Nadam, Adam with Nesterov's momentum and the momentum schedule of Dozat 2016.

    With ``mu_t = beta_1 (1 - 0.5 * 0.96^t)``, ``P_t = mu_1 ... mu_t``, and Adam's m and v,
    ``m' = mu_{t+1} m / (1 - P_{t+1}) + (1 - mu_t) g / (1 - P_t)``, ``v' = v / (1 - beta_2^t)``,
    ``p -= lr m' / (sqrt(v') + epsilon)``. PyTorch's schedule is ``0.96^(0.004 t)``; optax has none.

    Args:
      learning_rate: a number, a schedule, or a function of the step.
      beta_1, beta_2: decay of the running means of ``g`` and ``g^2``.
      epsilon: outside the root.
      decay, weight_decay, weight_decay_where: as in `sgd`.

    Raises:
      InputError: for a hyper-parameter out of range.
    """
    check_hyper("nadam", beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
    common = _common("nadam", learning_rate, decay, weight_decay, weight_decay_where)

    def rule(g: Array, s: Slots, h: dict[str, Array], t: Array) -> tuple[Array, Slots]:
        now, later = (h["beta_1"] * (1 - 0.5 * 0.96**n) for n in (t, t + 1))
        product = s["product"] * now
        g = _squarable(g)
        m = s["momentum"] + (1 - h["beta_1"]) * (g - s["momentum"])
        v = s["velocity"] + (1 - h["beta_2"]) * (jnp.square(g) - s["velocity"])
        m_hat = later * m / (1 - product * later) + (1 - now) * g / (1 - product)
        v_hat = v / (1 - h["beta_2"] ** t)
        delta = -h["learning_rate"] * divided(m_hat, root(v_hat) + h["epsilon"])
        return delta, {"momentum": m, "velocity": v, "product": product}

    def one(p: Array) -> Array:
        return jnp.ones((), at_least_float32(p.dtype))

    slots: dict[str, Callable[[Array], Array]] = {
        "momentum": jnp.zeros_like,
        "velocity": jnp.zeros_like,
        "product": one,
    }
    hyper = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    return from_rule(rule, slots, hyper, **common)


def _common(where: str, learning_rate: Number, decay: Number, weight_decay: Number, chosen: Where) -> dict[str, Any]:
    """The arguments that all rules share, checked."""
    check_hyper(where, learning_rate=learning_rate, decay=decay, weight_decay=weight_decay)
    return {"decay": decay, "weight_decay": weight_decay, "weight_decay_where": chosen}


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "adam": adam,
    "adamax": adamax,
    "nadam": nadam,
}


@functools.cache
def _named(name: str) -> Optimizer:
    """One object for each name, so that tasks made alike have equal optimizers."""
    return OPTIMIZERS[name]()


def get_optimizer(optimizer: Any) -> Any:
    """An optimizer by name, with its default hyper-parameters; an `Optimizer` or optax's is returned as it is.

    Raises:
      InputError: for an unknown name, with the close matches, or for an object of another kind.
    """
    if callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None)):
        return optimizer
    if callable(optimizer):
        name = getattr(optimizer, "__name__", "optimizer")
        fail("optimizer", expected="an Optimizer or a name", got=f"the function {name}", hint=f"Call it: {name}(1e-3).")
    lookup("optimizer", optimizer, OPTIMIZERS)
    return _named(optimizer.lower())
