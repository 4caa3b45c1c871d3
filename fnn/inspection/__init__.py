"""Inspection of models and training steps: `summary`, `check` and `layer_report`."""
