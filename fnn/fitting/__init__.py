"""The drivers: `fit`, `evaluate` and `predict`. The only room with files, clocks, threads and signals."""
