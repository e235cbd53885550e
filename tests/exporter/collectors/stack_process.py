"""A process that looks like a rank to the exporter: a record, a stack file, and something that it hangs in.

with process(tmp_path, "time.sleep(99)") as child: ...
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yoloscope_record.paths import run_directory

from tests.live import killed_with_its_group, wait_for
from tests.training import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RUN = "detect/夜"

_BEGIN = """
import fcntl, os, signal, sys, threading, time
from pathlib import Path
from yoloscope_hooks import stacks
from yoloscope_record import stack_file
from yoloscope_record.file_format import Identity
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer

base, run, rank = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
directory = run_directory(base, run)
writer = Writer(directory / Identity(run, rank).filename, Identity(run, rank), slots=16, ring=0)
writer.begin()
writer.set_state("train")
writer.end(time.time())

def arm():
    stacks.arm(directory, run, rank)

def ready():
    (base / f"ready-{rank}").write_text(str(os.getpid()))
"""


def directory(base: Path) -> Path:
    """The run's directory."""
    return run_directory(base, RUN)


@contextmanager
def process(
    base: Path, hang: str, *, rank: str = "0", before: str = "arm()", environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A rank that executes `before`, says that it is ready, and executes `hang`; killed at the end of the block."""
    code = f"{_BEGIN}\n{before}\nready()\n{hang}\n"
    paths = os.pathsep.join(str(ROOT / part) for part in ("exporter", "trainer_hooks"))
    command = [sys.executable, "-c", code, str(base), RUN, rank]
    base.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": paths} | dict(environ or {})
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    with killed_with_its_group(child):
        wait_for((base / f"ready-{rank}").exists, every=0.02, what="the process")
        yield child
