"""Keys as the systems give them: from a pseudo-terminal, and from a console that is made up."""

from __future__ import annotations

import os
import sys
import termios
import types
from collections import deque
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.system import posix
from yoloscope_exporter.terminal import keys

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """What is written to it is typed at standard input."""
    ours, its = os.openpty()
    with os.fdopen(its) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield ours
    os.close(ours)


def test_keys_come_without_enter(typed: int) -> None:
    """Nothing for as long as nothing is pressed; afterwards the terminal is as before."""
    before = termios.tcgetattr(sys.stdin)
    with posix.keyboard() as pressed:
        assert pressed(0.01) == ""
        assert not termios.tcgetattr(sys.stdin)[3] & termios.ECHO
        os.write(typed, b"q")
        assert pressed(5.0) == "q"
        os.write(typed, b"\x1b[A")
        assert pressed(5.0) == "\x1b[A"
    assert termios.tcgetattr(sys.stdin) == before


def test_a_shell_that_had_the_terminal_meanwhile(typed: int) -> None:
    """After Ctrl-Z and `fg` keys come without Enter again."""
    before = termios.tcgetattr(sys.stdin)
    with posix.keyboard() as pressed:
        pressed(0.01)
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
        pressed(0.01)
        os.write(typed, b"j")
        assert pressed(5.0) == "j"


def test_without_a_terminal_nothing_is_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input of a pipe is not read."""
    with open(os.devnull, encoding="utf-8") as nothing, monkeypatch.context() as patch:  # noqa: PTH123 - a device
        patch.setattr(sys, "stdin", nothing)
        with posix.keyboard() as pressed:
            assert pressed(0.01) == ""


def test_keys_of_a_windows_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks and scan codes become what other terminals send; marks of other keys are no letters."""
    waiting = deque("j\xe0H\x00Q\xe0S?")
    console = types.SimpleNamespace(
        kbhit=lambda: bool(waiting), getwch=waiting.popleft, LK_UNLCK=0, LK_NBLCK=2, locking=None
    )
    monkeypatch.setitem(sys.modules, "msvcrt", console)
    monkeypatch.delitem(sys.modules, "yoloscope_exporter.system.windows", raising=False)
    from yoloscope_exporter.system import windows  # noqa: PLC0415 - with the console above

    monkeypatch.delitem(sys.modules, "yoloscope_exporter.system.windows")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with windows.keyboard() as pressed:
        assert list(keys.named(pressed(1.0))) == ["j", "up", "page down", "?"]
        assert pressed(0.01) == ""
