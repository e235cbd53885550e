"""Ending a process with all that it has started, and nobody else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import psutil
import pytest
from yoloscope_exporter.system import APART, end_group

#: Starts one in its own group, says who that is, and ends.
LEAVES = """
import subprocess, sys
print(subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid)
"""


class Over:
    """A process that was waited for, whose number has been given to another one since."""

    returncode = 0

    def __init__(self, pid: int) -> None:
        """The number."""
        self.pid = pid


def test_a_number_that_another_process_has_by_now() -> None:
    """It leads a group of its own, as shells have them."""
    with subprocess.Popen(["sleep", "1000"], **APART) as stranger:
        over: Any = Over(stranger.pid)
        end_group(over)
        end_group(over, kill=True)
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.3)
        stranger.kill()


def test_what_a_process_that_has_ended_has_left() -> None:
    """The number of its group is nobody else's as long as somebody is in it."""
    with subprocess.Popen([sys.executable, "-c", LEAVES], stdout=subprocess.PIPE, **APART) as first:
        assert first.stdout
        left = psutil.Process(int(first.stdout.readline()))
        first.wait()
        end_group(first, kill=True)
        psutil.wait_procs([left], timeout=5)
        assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
