"""Checkpoints: a TrainState, or any other tree of arrays, in one safetensors file, with the task that it belongs to."""

from .file import CheckpointInfo, DamagedError, load_beside, load_info
from .loading import load
from .saving import save, save_with

__all__ = ["CheckpointInfo", "DamagedError", "load", "load_beside", "load_info", "save", "save_with"]
