"""The drivers: `fit`, `evaluate` and `predict`, with the files, clocks, threads and signals of a training.

Those never appear in nn, losses, optimizers, metrics, penalties, training.
"""
