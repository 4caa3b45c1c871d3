"""Data sets, and text as numbers."""
