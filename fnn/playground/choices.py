"""What a visitor can choose from, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..optimizers import rules
from ..optimizers.base import Optimizer

KINDS = ("network", "perceptron", "formula")
CLASSIFICATION = ("circles", "xor", "gaussians", "spiral")
REGRESSION = ("plane", "multi_gaussian")
IMAGES = ("digits", "mnist")
DATA = (*CLASSIFICATION, *REGRESSION, "points", "csv", *IMAGES)
FEATURES = ("x1", "x2", "x1^2", "x2^2", "x1*x2", "sin(x1)", "sin(x2)")
ACTIVATIONS = (
    "tanh", "relu", "sigmoid", "linear", "leaky_relu", "elu", "gelu", "softplus", "softsign", "swish", "mish",
)  # fmt: skip
INITIALIZERS = (
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal",
    "uniform", "normal", "ones", "zeros",
)  # fmt: skip
PENALTIES = ("none", "l1", "l2")

_RANGES = {
    "learning_rate": (0.0, 10.0),
    "momentum": (0.0, 0.999),
    "rho": (0.0, 0.9999),
    "beta_1": (0.0, 0.9999),
    "beta_2": (0.0, 0.99999),
    "epsilon": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
}


class Chosen(NamedTuple):
    """An optimizer: its constructor, the arguments that stay, and its hyper-parameters with their defaults."""

    make: Callable[..., Optimizer]
    options: dict[str, bool]
    hyper: dict[str, float]

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The least and the largest value of each hyper-parameter."""
        return {name: _RANGES[name] for name in self.hyper}

    def optimizer(self) -> Optimizer:
        """The optimizer with its defaults."""
        return self.make(**self.options, **self.hyper)


_BETAS = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
OPTIMIZERS = {
    "sgd": Chosen(rules.sgd, {}, {"learning_rate": 0.03}),
    "momentum": Chosen(rules.sgd, {}, {"learning_rate": 0.03, "momentum": 0.9}),
    "nesterov": Chosen(rules.sgd, {"nesterov": True}, {"learning_rate": 0.03, "momentum": 0.9}),
    "adagrad": Chosen(rules.adagrad, {}, {"learning_rate": 0.1, "epsilon": 1e-7}),
    "rmsprop": Chosen(rules.rmsprop, {}, {"learning_rate": 0.01, "rho": 0.9, "epsilon": 1e-7}),
    "adadelta": Chosen(rules.adadelta, {}, {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7}),
    "adam": Chosen(rules.adam, {}, {"learning_rate": 0.01, **_BETAS}),
    "adamw": Chosen(rules.adamw, {}, {"learning_rate": 0.01, "weight_decay": 0.004, **_BETAS}),
    "adamax": Chosen(rules.adamax, {}, {"learning_rate": 0.01, **_BETAS}),
    "nadam": Chosen(rules.nadam, {}, {"learning_rate": 0.01, **_BETAS}),
}
"""The optimizers by name; momentum and Nesterov's are those of `fnn.sgd`."""
