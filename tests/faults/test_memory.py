"""What is counted is where it should be."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults import memory

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")


#: What is there of each kind, and a census behind each.
GIVEN = """
import gc, json, mmap
from tests.faults import memory
gc.disable()
noted = [memory.census(0)]
small = [bytearray(number) for number in [100] * 20_000]
noted.append(memory.census(1))
large = [bytes(5000) for _ in range(1000)]
noted.append(memory.census(2))
mapping = mmap.mmap(-1, 10_000_000)
mapping.write(b"x" * len(mapping))
noted.append(memory.census(3))
print(json.dumps(noted))
"""


def test_objects_and_what_malloc_gives() -> None:
    """Small objects are Python's, what is larger malloc's, what is a mapping neither's; in a process without others."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", GIVEN], env=environment, stdout=subprocess.PIPE, check=True)
    begun, objects, given, mapped = (memory.Census(*noted) for noted in json.loads(done.stdout))
    assert 20_000 * 100 < 1e6 * (objects.objects - begun.objects) < 20_000 * 300
    assert objects.arenas >= objects.objects
    assert given.used - objects.used == pytest.approx(5, rel=0.2)
    assert mapped.resident - given.resident == pytest.approx(10, abs=2)
    assert mapped.used - given.used < 1


def test_a_table_of_what_was_noted(tmp_path: Path) -> None:
    """The first and the last, and some between."""
    path, noted = tmp_path / "census", iter(range(1000))
    end = memory.keep(path, lambda: next(noted), 0.02)
    while len(memory.lines(path)) < 5:
        time.sleep(0.05)
    end()
    rows = memory.table(path, 3).splitlines()
    assert rows[0].startswith("| cycles | MB |")
    assert rows[2].startswith("| 0 | ")
    assert len(rows) == 5
