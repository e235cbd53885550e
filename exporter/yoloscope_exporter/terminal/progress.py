"""A line on the terminal while a command is at work for longer than a moment."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yoloscope_exporter.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def shown(doing: str) -> Iterator[None]:
    """Show what is being done on stderr meanwhile, and take it away at the end; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.text import Text  # noqa: PLC0415 - for terminals alone

    with plain.console(stderr=True).status(Text(doing), spinner="line"):
        yield
