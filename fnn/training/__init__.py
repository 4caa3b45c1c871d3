"""Training as pure functions: a step, an epoch and a whole run."""
