"""Optimizers: rules from SGD to Nadam, transforms that compose with them, and schedules."""
