"""Large pieces of memory go back when they are free."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

ROOM = """
import sys
from tests.faults.memory import census
from yoloscope_exporter.system import return_memory

if sys.argv[1] == "asked":
    return_memory()
for _ in range(3):
    freed = bytes(4_000_000)  # when it is freed, glibc takes pieces of this size for usual
    del freed
before = census(0)
held = bytes(1_000_000)
print(census(0).mapped - before.mapped)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others do as they do")
@pytest.mark.parametrize(("asked", "megabytes"), [("asked", 1.0), ("left", 0.0)])
def test_a_large_piece_is_a_mapping_of_its_own(asked: str, megabytes: float) -> None:
    """Also after larger ones have come and gone, and where nobody asked it is not."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", ROOM, asked], env=environ, capture_output=True, text=True, check=True)
    assert float(told.stdout) == pytest.approx(megabytes, abs=0.1)
