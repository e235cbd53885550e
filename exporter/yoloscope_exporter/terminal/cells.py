"""Columns of a terminal: Chinese takes two cells a character."""

from __future__ import annotations

from rich.cells import cell_len


def padded(told: str, width: int) -> str:
    """With spaces up to so many cells: behind it, or before it if `width` is negative."""
    spaces = " " * (abs(width) - cell_len(told))
    return told + spaces if width > 0 else spaces + told
