"""One sigmoid unit, computed by hand and by fnn (reference experiment 1).

python examples/one_unit.py
"""

import argparse

import experiment
import jax
import jax.numpy as jnp

import fnn


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    # fnn computes in the dtype of its input; float64 shows all digits.
    with jax.enable_x64(True):
        x = jnp.array([[0.4, 1.2, 3.5]])
        params = {"kernel": jnp.array([[1.0], [2.0], [1.0]]), "bias": jnp.array([1.3])}
        y = fnn.activations.sigmoid(fnn.dense(params, x))
        print(f"sigmoid(0.4 * 1 + 1.2 * 2 + 3.5 * 1 + 1.3) = {float(y[0, 0])!r}")
        experiment.save(fnn.plot.activation("sigmoid"), args, "one_unit.png")
        return [
            experiment.Figure(
                1, "output of one sigmoid unit", [float(y[0, 0])], 0.9994997988929205, "equal to", 1e-15, digits=16
            )
        ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
