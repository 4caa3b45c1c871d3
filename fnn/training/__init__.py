"""Training: a step, an epoch and a whole run as pure functions, and the drivers fit, evaluate and predict on top."""
