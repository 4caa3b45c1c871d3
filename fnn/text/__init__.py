"""Character-level text models: a vocabulary, training windows, sampling and generation."""

from .generation import generate_text
from .loops import generate, generate_from
from .sampling import sample
from .vocabulary import Vocabulary, windows

__all__ = ["Vocabulary", "generate", "generate_from", "generate_text", "sample", "windows"]
