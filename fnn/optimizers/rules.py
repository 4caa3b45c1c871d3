"""Optimizers: each is its equation on one array, and one function lifts equations to trees.

The rules are Keras 3's. In their equations ``g`` is the gradient, ``p`` the parameter, ``lr`` the learning rate, and
``t`` counts updates from 1.

Hyper-parameters are leaves of ``OptState.hyper``; `set_hyper` changes them without recompiling. A ``momentum``,
``decay`` or ``weight_decay`` that is the plain number 0 when the optimizer is made is left out of the program and of
the state; pass ``jnp.zeros(())`` to keep it changeable.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Unpack, cast

import jax
import jax.numpy as jnp

from .._core.checks import canonical, lookup
from .._core.described import described
from .._core.dtypes import at_least_float32
from .._core.errors import fail
from .._core.norms import divided, root
from .._core.trees import Where, zeros_like
from .._core.typed import finfo
from .._core.types import Array, Scalar
from .base import Decays, Fill, Number, Optimizer, OptimizerLike, from_rule, is_zero, rates_of
from .hyper import check_hyper

Delta = tuple[Array, Mapping[str, Array | None]]
"""The change of the parameter, and the new slots by their letter in the equation."""


def _optimizer(
    name: str,
    equation: Callable[..., Delta],
    slots: Mapping[str, str],
    hyper: Mapping[str, Number],
    decays: Decays,
    **fills: Fill,
) -> Optimizer:
    """An optimizer from its equation, ``equation(g, t, **slots, **hyper) -> Delta``, for `from_rule`.

    ``slots`` names the slot in the state for each letter in the equation; ``fills`` gives first values other than 0. A
    ``momentum`` of plain 0 is left out, with the slot of the same name.

    Slots have the names that Keras gives them: Adam's ``m`` is "momentum" and its ``v`` "velocity". They are not the
    hyper-parameter ``momentum`` of `sgd` and `rmsprop`, which stands in ``hyper``.
    """
    check_hyper(name, {**hyper, **rates_of(decays)})
    if "momentum" in hyper and is_zero(hyper["momentum"]):
        hyper = {key: value for key, value in hyper.items() if key != "momentum"}
        slots = {letter: slot for letter, slot in slots.items() if slot != "momentum"}

    def lifted(g: Array, s: dict[str, Array], h: dict[str, Array], t: Array) -> tuple[Array, dict[str, Array]]:
        given = {letter: s[slot] for letter, slot in slots.items()}
        delta, new = equation(g, t, **given, **{name: h[name] for name in hyper})
        return delta, {slots[letter]: value for letter, value in new.items() if value is not None}

    starts = {slot: fills.get(slot, zeros_like) for slot in slots.values()}
    return from_rule(lifted, starts, hyper, **decays).replace(rules=1)


def _epsilon(given: Number | None) -> Number:
    """Keras's default for None."""
    return 1e-7 if given is None else given


def _squarable(g: Array, headroom: float = 1.0) -> Array:
    """A gradient whose square is finite: finite elements are clipped to 1.8e19 in float32 and 1.3e154 in float64.

    Beyond that ``v`` would be infinite, and the parameter would never move again or become NaN. NaN and infinities
    pass unchanged, so that they stay visible. The limit is divided by ``headroom``.
    """
    limit = jnp.asarray(0.999 / headroom * float(finfo(g.dtype).max) ** 0.5, g.dtype)
    return jnp.where(jnp.isfinite(g), jnp.clip(g, -limit, limit), g)


def _inverse_root(v: Array) -> Array:
    """``1 / sqrt(v)``, and 0 at 0, so that without an epsilon a gradient of 0 makes no step."""
    zero = v == 0
    return jnp.where(zero, jnp.zeros_like(v), jax.lax.rsqrt(jnp.where(zero, jnp.ones_like(v), v)))


@described
def sgd(
    learning_rate: Number = 0.01, momentum: Number = 0.0, nesterov: bool = False, **decays: Unpack[Decays]
) -> Optimizer:
    """Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's momentum (Sutskever et al. 2013).

    Without momentum ``p += -lr g``; with it ``v = momentum v - lr g`` and ``p += v``; Nesterov's
    ``p += momentum v - lr g``. PyTorch and optax keep ``v = momentum v + g`` and multiply by lr afterwards, which
    differs once the learning rate changes.

    Args:
      learning_rate: a number, a schedule, or a function of the step.
      momentum: 0 for none.
      nesterov: whether to use Nesterov's form.
      **decays: ``decay=0.0``, time-based decay of the learning rate, ``lr / (1 + decay * step)``; ``weight_decay=0.0``,
        decoupled weight decay; ``weight_decay_where="*"``, the paths of the parameters that it applies to.

    Raises:
      InputError: for a hyper-parameter out of range, or Nesterov's form without momentum; from ``init``, for a
        ``weight_decay_where`` that matches no parameter.
    """
    check_hyper("sgd", {"momentum": momentum})
    if nesterov and is_zero(momentum):
        fail("sgd", expected="a momentum above 0 with nesterov=True", got="momentum=0")

    def equation(
        g: Array, t: Array, v: Array | None = None, *, learning_rate: Array, momentum: Array | None = None
    ) -> Delta:
        delta = -learning_rate * g
        if v is None or momentum is None:
            return delta, {}
        v = momentum * v + delta
        return (momentum * v + delta if nesterov else v), {"v": v}

    hyper = {"learning_rate": learning_rate, "momentum": momentum}
    return _optimizer("sgd", equation, {"v": "momentum"}, hyper, decays)


@described
def adagrad(
    learning_rate: Number = 0.01,
    initial_accumulator_value: Scalar = 0.1,
    epsilon: Number | None = 1e-7,
    **decays: Unpack[Decays],
) -> Optimizer:
    """Adagrad (Duchi et al. 2011): ``a += g^2``, ``p -= lr g / sqrt(a + epsilon)``.

    ``initial_accumulator_value`` is the first ``a``. PyTorch adds epsilon outside the root and starts at 0; optax does
    as here. Other arguments and errors as in `sgd`.
    """
    check_hyper("adagrad", {"initial_accumulator_value": initial_accumulator_value})

    def equation(g: Array, t: Array, a: Array, *, learning_rate: Array, epsilon: Array) -> Delta:
        g = _squarable(g, 1024)  # a million squares have a finite sum
        a = a + jnp.square(g)
        return -learning_rate * g * _inverse_root(a + epsilon), {"a": a}

    fill = functools.partial(jnp.full_like, fill_value=initial_accumulator_value)
    slots, hyper = {"a": "accumulator"}, {"learning_rate": learning_rate, "epsilon": _epsilon(epsilon)}
    return _optimizer("adagrad", equation, slots, hyper, decays, accumulator=fill)


@described
def rmsprop(
    learning_rate: Number = 0.001,
    rho: Number = 0.9,
    momentum: Number = 0.0,
    epsilon: Number | None = 1e-7,
    centered: bool = False,
    **decays: Unpack[Decays],
) -> Optimizer:
    """RMSprop (Tieleman and Hinton 2012): ``v = rho v + (1 - rho) g^2``, ``p -= lr g / sqrt(v + epsilon)``.

    ``centered`` subtracts the square of the running mean gradient from ``v`` inside the root (Graves 2013,
    arXiv:1308.0850). With momentum, ``m = momentum m + lr g / sqrt(...)`` and ``p -= m``. PyTorch adds epsilon
    outside the root. Other arguments and errors as in `sgd`.
    """

    def equation(
        g: Array,
        t: Array,
        v: Array,
        mean: Array | None = None,
        m: Array | None = None,
        *,
        learning_rate: Array,
        rho: Array,
        epsilon: Array,
        momentum: Array | None = None,
    ) -> Delta:
        g = _squarable(g)
        v = spread = rho * v + (1 - rho) * jnp.square(g)
        if mean is not None:
            mean = rho * mean + (1 - rho) * g
            # Rounding can make the difference slightly negative where the gradient hardly changes.
            spread = jnp.maximum(v - jnp.square(mean), 0.0)
        delta = -learning_rate * g * _inverse_root(spread + epsilon)
        if m is not None and momentum is not None:
            delta = m = momentum * m + delta
        return delta, {"v": v, "mean": mean, "m": m}

    slots = {"v": "velocity", **({"mean": "average"} if centered else {}), "m": "momentum"}
    hyper = {"learning_rate": learning_rate, "rho": rho, "epsilon": _epsilon(epsilon), "momentum": momentum}
    return _optimizer("rmsprop", equation, slots, hyper, decays)


@described
def adadelta(
    learning_rate: Number = 1.0, rho: Number = 0.95, epsilon: Number | None = 1e-7, **decays: Unpack[Decays]
) -> Optimizer:
    """Adadelta (Zeiler 2012, arXiv:1212.5701).

    ``a = rho a + (1 - rho) g^2``, ``d = -sqrt((u + epsilon) / (a + epsilon)) g``, ``u = rho u + (1 - rho) d^2``,
    ``p += lr d``. The default learning rate is the paper's 1 (Keras's is 0.001). Otherwise as `sgd`.
    """

    def equation(g: Array, t: Array, a: Array, u: Array, *, learning_rate: Array, rho: Array, epsilon: Array) -> Delta:
        g = _squarable(g)
        a = rho * a + (1 - rho) * jnp.square(g)
        d = -root(u + epsilon) * _inverse_root(a + epsilon) * g
        u = rho * u + (1 - rho) * jnp.square(d)
        return learning_rate * d, {"a": a, "u": u}

    slots = {"a": "squared_gradient", "u": "squared_delta"}
    hyper = {"learning_rate": learning_rate, "rho": rho, "epsilon": _epsilon(epsilon)}
    return _optimizer("adadelta", equation, slots, hyper, decays)


@described
def adam(
    learning_rate: Number = 0.001,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number | None = 1e-7,
    amsgrad: bool = False,
    **decays: Unpack[Decays],
) -> Optimizer:
    """Adam (Kingma and Ba 2014, arXiv:1412.6980); with ``weight_decay`` it is `adamw`.

    ``m += (1 - beta_1)(g - m)``, ``v += (1 - beta_2)(g^2 - v)``, and
    ``p -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon)``.
    ``amsgrad`` uses the largest v so far (Reddi et al. 2018). The correction is folded into the step size, as in
    section 2 of the paper and in Keras; PyTorch and optax correct ``m`` and ``v`` first, which makes their epsilon
    (1e-8) a little larger in effect. Other arguments and errors as in `sgd`.
    """

    def equation(
        g: Array,
        t: Array,
        m: Array,
        v: Array,
        v_max: Array | None = None,
        *,
        learning_rate: Array,
        beta_1: Array,
        beta_2: Array,
        epsilon: Array,
    ) -> Delta:
        g = _squarable(g)
        m = m + (1 - beta_1) * (g - m)
        v = v + (1 - beta_2) * (jnp.square(g) - v)
        v_max = None if v_max is None else jnp.maximum(v_max, v)
        rate = learning_rate * jnp.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        delta = -rate * divided(m, root(v if v_max is None else v_max) + epsilon)
        return delta, {"m": m, "v": v, "v_max": v_max}

    slots = {"m": "momentum", "v": "velocity", **({"v_max": "velocity_max"} if amsgrad else {})}
    hyper = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": _epsilon(epsilon)}
    return _optimizer("adam", equation, slots, hyper, decays)


@described
def adamw(
    learning_rate: Number = 0.001,
    weight_decay: Number = 0.004,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number | None = 1e-7,
    amsgrad: bool = False,
    *,
    decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101): `adam` with ``p -= lr weight_decay p`` beside its update.

    Every parameter decays, biases too, as in Keras, PyTorch and optax; ``weight_decay_where="*kernel"`` leaves biases
    and the scales of normalization out. The default of ``weight_decay`` is Keras's (PyTorch 0.01, optax 1e-4). Other
    arguments and errors as in `adam`; their order is Keras's.
    """
    hyper = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": _epsilon(epsilon)}
    decays = {"decay": decay, "weight_decay": weight_decay}
    check_hyper("adamw", {**hyper, **decays})
    return adam(**hyper, **decays, amsgrad=amsgrad, weight_decay_where=weight_decay_where)


@described
def adamax(
    learning_rate: Number = 0.002,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number | None = 1e-7,
    **decays: Unpack[Decays],
) -> Optimizer:
    """Adamax (Kingma and Ba 2014, arXiv:1412.6980, section 7).

    ``m += (1 - beta_1)(g - m)``, ``u = max(beta_2 u, |g|)``, ``p -= lr / (1 - beta_1^t) m / (u + epsilon)``.
    PyTorch and optax add epsilon to ``|g|`` inside the maximum. The default rate is the paper's; otherwise as `sgd`.
    """

    def equation(
        g: Array, t: Array, m: Array, u: Array, *, learning_rate: Array, beta_1: Array, beta_2: Array, epsilon: Array
    ) -> Delta:
        m = m + (1 - beta_1) * (g - m)
        u = jnp.maximum(beta_2 * u, jnp.abs(g))
        return -learning_rate / (1 - beta_1**t) * divided(m, u + epsilon), {"m": m, "u": u}

    slots = {"m": "momentum", "u": "norm"}
    hyper = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": _epsilon(epsilon)}
    return _optimizer("adamax", equation, slots, hyper, decays)


@described
def nadam(
    learning_rate: Number = 0.002,
    beta_1: Number = 0.9,
    beta_2: Number = 0.999,
    epsilon: Number | None = 1e-7,
    **decays: Unpack[Decays],
) -> Optimizer:
    """Nadam, Adam with Nesterov's momentum and the momentum schedule of Dozat 2016.

    With ``mu_t = beta_1 (1 - 0.5 * 0.96^t)``, ``P_t = mu_1 ... mu_t``, and Adam's m and v,
    ``m' = mu_{t+1} m / (1 - P_{t+1}) + (1 - mu_t) g / (1 - P_t)``, ``v' = v / (1 - beta_2^t)``,
    ``p -= lr m' / (sqrt(v') + epsilon)``. PyTorch's schedule is ``0.96^(0.004 t)``; optax has none. Otherwise as `sgd`.
    """

    def equation(
        g: Array,
        t: Array,
        m: Array,
        v: Array,
        P: Array,
        *,
        learning_rate: Array,
        beta_1: Array,
        beta_2: Array,
        epsilon: Array,
    ) -> Delta:
        mu, next_mu = (beta_1 * (1 - 0.5 * 0.96**n) for n in (t, t + 1))
        P = P * mu
        g = _squarable(g)
        m = m + (1 - beta_1) * (g - m)
        v = v + (1 - beta_2) * (jnp.square(g) - v)
        m_hat = next_mu * m / (1 - P * next_mu) + (1 - mu) * g / (1 - P)
        v_hat = v / (1 - beta_2**t)
        return -learning_rate * divided(m_hat, root(v_hat) + epsilon), {"m": m, "v": v, "P": P}

    def one(p: Array) -> Array:
        return jnp.ones((), at_least_float32(p.dtype))

    slots = {"m": "momentum", "v": "velocity", "P": "product"}
    hyper = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": _epsilon(epsilon)}
    return _optimizer("nadam", equation, slots, hyper, decays, product=one)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    make.__name__: make for make in (sgd, rmsprop, adagrad, adadelta, adam, adamax, nadam)
}
"""The optimizers with an equation of their own."""
_NAMES = {**OPTIMIZERS, "adamw": adamw}
# One object for each name, so that tasks made alike have equal optimizers.
_named = functools.cache(lambda name: _NAMES[name]())


def is_optimizer(thing: object) -> bool:
    """Whether something is an optimizer, a name of one, or a function that makes one."""
    named = isinstance(thing, str) and canonical(thing, _NAMES) in _NAMES
    made = callable(getattr(thing, "init", None)) and callable(getattr(thing, "update", None))
    return named or made or any(thing is make for make in _NAMES.values())


def get_optimizer(optimizer: OptimizerLike | str) -> OptimizerLike:
    """An optimizer by name, with its defaults, or an fnn or optax optimizer unchanged; anything else is refused."""
    if callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None)):
        return cast(OptimizerLike, optimizer)
    if callable(optimizer):
        name = getattr(optimizer, "__name__", "optimizer")
        fail("optimizer", expected="an Optimizer or a name", got=f"the function {name}", hint=f"Call it: {name}(1e-3).")
    lookup("optimizer", optimizer, _NAMES, or_else=" or an Optimizer")
    return _named(str(optimizer).lower())
