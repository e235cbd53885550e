"""A line on the terminal while a command is at work for longer than a moment."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def shown(doing: str) -> Iterator[None]:
    """Show what is being done on stderr meanwhile, and take it away at the end; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - for terminals alone

    with Console(stderr=True).status(doing, spinner="line"):
        yield
