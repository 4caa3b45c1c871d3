"""The history of a training."""

from __future__ import annotations


class History(dict[str, list[float]]):
    """The values of each epoch of `fit`: lists with one entry per epoch.

    Keys: "loss", the metrics of the task, with validation data "val_loss" and so on, and "seconds", the time of each
    epoch with its validation.

    Attributes:
      interrupted: whether Ctrl-C ended the training early.
    """

    interrupted: bool = False

    def record(self, logs: dict[str, float]) -> None:
        """Append the values of one epoch."""
        for name, value in logs.items():
            self.setdefault(name, []).append(value)
