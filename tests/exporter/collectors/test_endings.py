"""What a crash leaves in a stack file, in the words of every Python that trains."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.collectors.stacks.endings import ending
from yoloscope_record import stack_file

from tests.exporter.collectors.stack_process import RUN, directory

if TYPE_CHECKING:
    from pathlib import Path

CRASH = """Fatal Python error: {error}

Current thread 0x1 (most recent call first):
  File "/site-packages/torch/nn/modules/conv.py", line 454 in forward
  File "/home/me/train.py", line 3 in <module>
"""


@pytest.mark.parametrize(
    ("error", "signal"),
    [
        ("Segmentation fault", "SIGSEGV"),
        ("Floating point exception", "SIGFPE"),
        ("Floating-point exception", "SIGFPE"),  # Python 3.13
        ("Illegal instruction", "SIGILL"),
        ("Bus error", "SIGBUS"),
        ("Aborted", "SIGABRT"),
        ("the GIL is released", "SIGABRT"),  # an error of Python's own ends by abort()
    ],
)
def test_the_signal_is_named(tmp_path: Path, error: str, signal: str) -> None:
    """Beside the place where it happened."""
    run = directory(tmp_path)
    run.mkdir(parents=True)
    header = {"signal": 45, "pid": 1, "main": "0x1", "run": RUN, "rank": "0"}
    path = run / stack_file.filename("0")
    begin = f"{stack_file.BEGIN.decode()}1 {json.dumps(header)}\n"
    path.write_text(begin + CRASH.format(error=error))
    path.chmod(0o644)
    facts = ending(run, "0").facts
    assert facts["signal"] == signal
    assert "conv.py:454" in facts["exception_at"]
