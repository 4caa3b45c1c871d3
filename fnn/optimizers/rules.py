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
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._checks import describe, fail, is_concrete, lookup, real_numbers
from .._dtypes import at_least_float32, widened, widest
from .._norms import divided, root
from .._tree import Where, matches, path_text, paths
from .hyper import RANGES, check_hyper, check_leaves
from .schedules import Schedule, as_hyper

Array = jax.Array
Number = Any  # a float, an array scalar (traced or not), a Schedule, or a function of the step
Slots = dict[str, Any]


class Optimizer(NamedTuple):
    """How parameters follow gradients; optax's protocol, so either can stand in for the other.

    Attributes:
      init: ``init(params) -> opt_state``.
      update: ``update(grads, opt_state, params) -> (updates, opt_state)``; add the updates to the parameters.

    >>> import jax.numpy as jnp
    >>> optimizer, params = sgd(0.1), {"w": jnp.array([1.0])}
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update({"w": jnp.array([2.0])}, state, params)
    >>> print(apply_updates(params, updates)["w"], state.step)
    [0.8] 1
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]

    def __repr__(self) -> str:
        return "<Optimizer>"  # two closures say nothing to a reader


class OptState(NamedTuple):
    """State of an optimizer.

    Attributes:
      step: updates made so far, an int32 scalar.
      hyper: hyper-parameters by name, each a scalar, or the dict of a `Schedule`'s numbers.
      slots: by name, trees shaped like the parameters.
    """

    step: Array
    hyper: dict[str, Any]
    slots: Slots


def apply_updates(params: Any, updates: Any) -> Any:
    """``params + updates``, leaf by leaf, in the dtype of the parameters.

    The sum is computed in the wider dtype of the two, float32 at least, and rounded once.
    """

    def add(p: Array, u: Array) -> Array:
        wide = widest(p.dtype, u.dtype)
        return (p.astype(wide) + u.astype(wide)).astype(p.dtype)

    return jax.tree.map(add, params, updates)


def _is_zero(value: Number) -> bool:
    return is_concrete(value) and not isinstance(value, (jax.Array, Schedule)) and not callable(value) and value == 0


def evaluate_hyper(hyper: dict[str, Any], schedules: dict[str, Any], step: Array) -> dict[str, Array]:
    """The value of each hyper-parameter at a step; leaves of a schedule become its value."""
    now = step.astype(jnp.result_type(float))
    values = dict(hyper)
    for name, schedule in schedules.items():
        value = schedule.rule(now, hyper[name]) if isinstance(schedule, Schedule) else schedule(step)
        values[name] = as_hyper(value)
    return values


def split_schedules(hyper: dict[str, Number]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Leaves for the state, and the schedules (or functions of the step) among the hyper-parameters."""
    leaves, schedules = {}, {}
    for name, value in hyper.items():
        if isinstance(value, Schedule):
            leaves[name], schedules[name] = value.hyper, value
        elif callable(value):
            schedules[name] = value
        else:
            leaves[name] = value
    return leaves, schedules


def _flatten(tree: Any) -> tuple[list[tuple[Any, Array]], Any]:
    return jax.tree_util.tree_flatten_with_path(tree)


def _check_slots(grads: Any, slots: Slots) -> None:
    for name, tree in slots.items():
        ours, theirs = paths(tree), paths(grads)
        if ours.keys() != theirs.keys():
            differ = sorted(ours.keys() ^ theirs.keys())
            fail(
                "optimizer",
                expected=f"an optimizer state of this model; {name!r} differs",
                got=f"other paths: {differ}",
            )
        for path, slot in ours.items():
            if slot.ndim and slot.shape != theirs[path].shape:
                fail(
                    "optimizer",
                    expected=f"an optimizer state of this model, {name}/{path} of shape {theirs[path].shape}",
                    got=describe(slot),
                    hint="Make a new one with optimizer.init(params).",
                )


def from_rule(
    rule: Callable[[Array, dict[str, Array], dict[str, Array], Array], tuple[Array, dict[str, Array]]],
    slots: Mapping[str, Callable[[Array], Array]],
    hyper: Mapping[str, Number],
    *,
    decay: Number = 0.0,
    weight_decay: Number = 0.0,
    weight_decay_where: Where = "*",
) -> Optimizer:
    """Lift a rule on one array to an `Optimizer` on trees; this is also how to write your own.

    Arithmetic runs in the widest dtype of gradient and parameter, float32 at least, and slots and updates keep it: in
    half precision the update is that of float32, and `apply_updates` rounds the new parameter once.

    Args:
      rule: ``rule(g, slots, h, t) -> (delta, slots)``: ``delta`` is added to the parameter; ``h`` holds the
        hyper-parameters of this step and ``t`` counts updates from 1, all in the dtype of ``g``.
      slots: by name, ``fill(p) -> array``, the first value of that slot for a parameter, which comes in float32 at
        least.
      hyper: hyper-parameters by name, with "learning_rate" among them. Those that an optimizer here has by the same
        name must be in its range; others must not be NaN.
      decay: time-based decay, ``lr / (1 + decay * step)``.
      weight_decay: decoupled weight decay, ``delta -= lr * weight_decay * p`` (Loshchilov and Hutter 2017,
        arXiv:1711.05101).
      weight_decay_where: the paths it applies to, e.g. ``"*kernel"``.

    Raises:
      InputError: for a hyper-parameter out of range.

    >>> import jax.numpy as jnp
    >>> sign_descent = from_rule(lambda g, slots, h, t: (-h["learning_rate"] * jnp.sign(g), slots), {},
    ...                          {"learning_rate": 0.1})
    >>> updates, _ = sign_descent.update(jnp.array([3.0, -2.0]), sign_descent.init(jnp.zeros(2)))
    >>> print(updates)
    [-0.1  0.1]
    """
    has_decay, has_weight_decay = not _is_zero(decay), not _is_zero(weight_decay)
    optional = {"decay": decay} if has_decay else {}
    optional |= {"weight_decay": weight_decay} if has_weight_decay else {}
    check_hyper("from_rule", **hyper, **optional)
    leaves, schedules = split_schedules({**hyper, **optional})

    def init(params: Any) -> OptState:
        for path, p in paths(params).items():
            if not jnp.issubdtype(p.dtype, jnp.floating):
                hint = "Keep numbers that are not trained in the layer's state."
                fail(f"optimizer, parameter {path!r}", expected="a floating-point dtype", got=describe(p), hint=hint)
        if has_weight_decay and not any(matches(weight_decay_where, path) for path in paths(params)):
            hint = f"Paths: {list(paths(params))}."
            fail("weight_decay_where", expected="a pattern that matches", got=repr(weight_decay_where), hint=hint)
        # Half-precision slots would stop moving: beside 1 a change of 1e-3 is lost.
        state = {name: widened(jax.tree.map(fill, widened(params))) for name, fill in slots.items()}
        return OptState(jnp.zeros((), jnp.int32), jax.tree.map(as_hyper, leaves), state)

    def update(grads: Any, state: OptState, params: Any = None) -> tuple[Any, OptState]:
        if not isinstance(state, OptState):
            fail("optimizer", expected="the OptState of optimizer.init(params)", got=type(state).__name__)
        _check_slots(grads, state.slots)
        h = evaluate_hyper(state.hyper, schedules, state.step)
        if has_decay:
            h["learning_rate"] = h["learning_rate"] / (1 + h["decay"] * state.step.astype(h["decay"].dtype))
        if has_weight_decay and params is None:
            fail("optimizer", expected="update(grads, opt_state, params) with weight decay", got="params=None")
        step = state.step + 1

        flat, treedef = _flatten(grads)
        flat_params = [None] * len(flat) if params is None else treedef.flatten_up_to(params)
        flat_slots = {name: treedef.flatten_up_to(tree) for name, tree in state.slots.items()}
        deltas: list[Array] = []
        new_slots: dict[str, list[Array]] = {name: [] for name in flat_slots}
        for i, ((path, g), p) in enumerate(zip(flat, flat_params, strict=True)):
            wide = widest(g.dtype, *([] if p is None else [p.dtype]))
            own = {name: column[i].astype(wide) for name, column in flat_slots.items()}
            local = {name: value.astype(wide) for name, value in h.items()}
            delta, own = rule(g.astype(wide), own, local, step.astype(wide))
            if has_weight_decay and matches(weight_decay_where, path_text(path)):
                delta = delta - local["learning_rate"] * local["weight_decay"] * p.astype(wide)
            deltas.append(delta.astype(wide))
            for name, column in new_slots.items():
                column.append(own[name].astype(flat_slots[name][i].dtype))
        slots_out = {name: treedef.unflatten(column) for name, column in new_slots.items()}
        return treedef.unflatten(deltas), OptState(step, state.hyper, slots_out)

    return Optimizer(init, update)


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
    moves = not _is_zero(momentum)
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
    moves = not _is_zero(momentum)

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


def _is_opt_state(node: Any) -> bool:
    return isinstance(node, OptState)


def get_hyper(state: Any) -> dict[str, Any]:
    """All hyper-parameters inside a TrainState or an optimizer's state, by name.

    Where several transforms have one of the same name, the last counts.
    """
    nodes = jax.tree.leaves(state, is_leaf=_is_opt_state)
    return {name: value for node in nodes if _is_opt_state(node) for name, value in node.hyper.items()}


def set_hyper(state: Any, **values: Any) -> Any:
    """A TrainState, or an optimizer's state, with other hyper-parameters; nothing is compiled anew.

    Args:
      state: a TrainState, or the state of any fnn optimizer, chained and wrapped ones too.
      **values: new values by name, traced or not; for a hyper-parameter that follows a `Schedule`, a dict of the
        numbers to change. Every transform that has the name is changed.

    Returns:
      The same tree with other leaves; the given one is unchanged.

    Raises:
      InputError: for a name that no optimizer in ``state`` has, or a value of another shape or outside the range
        that the constructor allows.

    >>> import jax.numpy as jnp
    >>> state = set_hyper(adam(1e-3).init(jnp.zeros(3)), learning_rate=0.5)
    >>> print(state.hyper["learning_rate"])
    0.5
    """
    known = get_hyper(state)
    for name in values:
        if name not in known:
            hint = f"Known here: {', '.join(sorted(known)) or 'none'}."
            if name in ("momentum", "decay", "weight_decay"):
                hint += f" A {name} of plain 0 is left out when the optimizer is made; pass jnp.zeros(()) to keep it."
            elif name == "learning_rate" and known:
                hint += " It follows a function of the step; use a schedule from fnn.schedules to have leaves."
            fail("set_hyper", expected="the name of a hyper-parameter of this state", got=repr(name), hint=hint)

    def change(node: Any) -> Any:
        if not _is_opt_state(node):
            return node
        new = {n: _renew(n, v, values[n]) for n, v in node.hyper.items() if n in values}
        for name, value in new.items():
            check_leaves("set_hyper", name, value, RANGES.get(name))
        return node._replace(hyper={**node.hyper, **new})

    return jax.tree.map(change, state, is_leaf=_is_opt_state)


def _renew(name: str, old: Any, new: Any) -> Any:
    if isinstance(old, dict):
        if not isinstance(new, dict) or not new.keys() <= old.keys():
            hint = f"It follows a schedule: pass a dict with some of {sorted(old)}."
            fail(f"set_hyper, {name!r}", expected="the numbers of its schedule", got=repr(new), hint=hint)
        return {n: _renew(f"{name}/{n}", v, new[n]) if n in new else v for n, v in old.items()}
    if isinstance(old, tuple):
        if not isinstance(new, (tuple, list)) or len(new) != len(old):
            fail(f"set_hyper, {name!r}", expected=f"{len(old)} numbers", got=repr(new))
        return tuple(_renew(name, o, n) for o, n in zip(old, new, strict=True))
    if isinstance(new, (str, Mapping)) or callable(new):
        hint = "A schedule is given when the optimizer is made: learning_rate=fnn.schedules.cosine_decay(...)."
        fail(f"set_hyper, {name!r}", expected="a number", got=repr(new), hint=hint)
    real_numbers("set_hyper", name, new)
    leaf = jnp.asarray(new, old.dtype)
    if leaf.shape != old.shape:
        if leaf.ndim:
            fail(f"set_hyper, {name!r}", expected=f"a value of shape {old.shape}", got=describe(leaf))
        leaf = jnp.broadcast_to(leaf, old.shape)
    return leaf
