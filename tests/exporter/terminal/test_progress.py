"""What a command says while it is at work."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from yoloscope_exporter.terminal import progress

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    """Something that shows what is written at once."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_line_that_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, before anything else is written."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress.shown("reading night.om.gz"):
        pass
    shown = terminal.getvalue()
    assert "reading night.om.gz" in shown
    assert shown.endswith("\x1b[1A\x1b[2K")


def test_nothing_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file, or a pipe."""
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with progress.shown("reading night.om.gz"):
        pass
    assert file.getvalue() == ""
