"""The cost of a dense layer on an image, and the convolution that replaces it (reference experiment 14).

    python examples/dense_or_conv.py

1,024 dense units on a 200x200 image have 40,960,000 weights; 1,024 filters of 3x3 pixels have 9,216. The script trains
nothing: a summary needs only shapes.
"""

import argparse

import experiment
import matplotlib.pyplot as plt

import fnn


def run(args: argparse.Namespace) -> list[experiment.Figure]:
    shape = (200, 200, 1)
    dense = fnn.summary(fnn.Sequential(fnn.Flatten(), fnn.Dense(1024, use_bias=False)), shape)
    conv = fnn.summary(fnn.Conv(1024, 3, use_bias=False), shape)
    for table in (dense, conv):
        print(f"{table}\n")
    print(f"the dense layer has {dense.total / conv.total:,.0f} times as many weights")

    _, ax = plt.subplots(figsize=(5, 2.2), layout="constrained")
    bars = ax.barh(
        ["dense, 1,024 units", "3x3 convolution, 1,024 filters"], [dense.total, conv.total], color=fnn.plot.COLORS[:2]
    )
    ax.bar_label(bars, labels=[f"{dense.total:,}", f"{conv.total:,}"], padding=4)
    ax.set(xscale="log", xlim=(1e3, 3e10), xlabel="weights", title="on a 200x200 image")
    ax.invert_yaxis()
    experiment.save(ax, args, "dense_or_conv.png")
    return [
        experiment.Figure(
            14, "200x200 image, 1,024 dense units: weights", [dense.total], 40_960_000, "equal to", digits=0
        )
    ]


if __name__ == "__main__":
    experiment.main(run, __doc__)
