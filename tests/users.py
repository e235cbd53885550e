"""Processes of two users who do not trust each other. Only root can start them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
#: Numbers that no system gives to anybody.
ALICE, MALLORY = 61001, 61002
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")

#: What a child imports before it becomes a user who may not be able to read this Python.
_BEGIN = """
import errno, fcntl, glob, itertools, json, logging, math, os, pathlib, signal, struct, sys, tempfile, time, types
import encodings.idna, getpass, multiprocessing, pwd, random, resource, traceback, weakref
from pathlib import Path
from yoloscope_record import catalog, clearing, file_format, keeping, locks, paths, reader, stack_file, writer
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer
from yoloscope_hooks import callbacks, facts, naming, opening, recorder, stacks, workers
uid, base = int(sys.argv[1]), Path(sys.argv[2])
os.umask(0o022)
os.chdir("/")
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
os.environ["YOLOSCOPE_DIR"] = str(base)

def record(run, state="train", rank="0", facts={}, **sizes):
    "A record of this user's in its place."
    identity = Identity(run, rank)
    path = paths.run_directory(paths.make_own(base), run) / identity.filename
    made = Writer(path, identity, facts, **{"slots": 64, "ring": 16, **sizes})
    made.begin(); made.set_state(state); made.end(time.time())
    return made

class Trainer:
    "As much of a trainer as opening its record takes."
    args, save_dir = types.SimpleNamespace(), ""

def ready(*words):
    print(*(words or ("ready",)), flush=True)
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A record directory that every user can reach, as root makes it."""
    base = Path(tempfile.mkdtemp(prefix="yoloscope-users-"))
    try:
        base.chmod(0o1777)
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def command(uid: int, base: Path, code: str) -> list[str]:
    """Python that runs `code` as a user."""
    return [sys.executable, "-c", f"{_BEGIN}\n{code}", str(uid), str(base)]


def environment() -> dict[str, str]:
    """Of such a process."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("YOLOSCOPE_", "SLURM_"))}
    return {**inherited, "PYTHONPATH": str(ROOT / "trainer_hooks"), "PYTHONDONTWRITEBYTECODE": "1"}


def run_as(uid: int, base: Path, code: str) -> str:
    """What a process of the user prints, on both outputs."""
    done = subprocess.run(
        command(uid, base, code),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def living_as(uid: int, base: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """A process of the user that has said it is ready, and then waits for the end of its input."""
    process = subprocess.Popen(
        command(uid, base, f"{code}\nready()\nsys.stdin.read()"),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline(), "it has ended"
        yield process
    finally:
        process.kill()
        process.communicate()
