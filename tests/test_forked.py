"""Forks of a process that has imported PyTorch: each is a program as if a Python of its own ran it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests import forked

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.train, pytest.mark.skipif(not forked.POSSIBLE, reason="forks are used on Linux alone")]
PROGRAM = """
import atexit, os, sys
began_with = "torch" in sys.modules and "ultralytics.engine.trainer" in sys.modules
print(__name__, sys.argv[1:], sorted(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), began_with)
atexit.register(print, "at its end")
sys.excepthook = lambda *what: print("hooked", what[0].__name__)
exec(sys.argv[1])
"""


def ran(folder: Path, code: str, timeout: float = 60) -> tuple[int, list[str]]:
    """Exit code and lines of a program that ends with this code."""
    (folder / "program.py").write_text(PROGRAM)
    with tempfile.TemporaryFile("w+") as output:
        command = [str(folder / "program.py"), code]
        environ = {"ONLY": "this"}
        with forked.running("newest", command, environ, folder, output=output.fileno()) as child:
            found = child.wait(timeout)
        output.seek(0)
        return found, output.read().splitlines()


def test_a_fork_ends_as_a_python_does(tmp_path: Path) -> None:
    """With its own command line, environment, folder and session; by its end, by `exit`, by an error, by a signal."""
    for code, number, last in (
        ("pass", 0, ["at its end"]),
        ("sys.exit(3)", 3, ["at its end"]),
        ("1 / 0", 1, ["hooked ZeroDivisionError", "at its end"]),
        ("sys.stdout.flush(); os.kill(os.getpid(), 15)", -15, []),
    ):
        told = f"__main__ {[code]} ['ONLY'] {tmp_path} True True"
        assert ran(tmp_path, code) == (number, [told, *last])
    assert os.environ.get("ONLY") is None


def test_what_takes_too_long_is_killed(tmp_path: Path) -> None:
    """And the next one is served."""
    with pytest.raises(TimeoutError):
        ran(tmp_path, "import time; time.sleep(100)", timeout=0.5)
    assert ran(tmp_path, "sys.exit(4)", timeout=60)[0] == 4
