"""Distil reasoning from a large language model into a small one, and learn from the wrong answers too."""

__version__ = "0.1.0"
