"""Version 0.1's code, from this repository's history."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).parents[2]
#: The last commit of version 0.1.
COMMIT = "6c474ba"


@cache
def _tree() -> TemporaryDirectory[str]:
    """Its files; pytest.skip where the history does not reach back to it."""
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"{COMMIT} is not in this clone")
    folder: TemporaryDirectory[str] = TemporaryDirectory("-yoloscope-0.1")
    subprocess.run(["tar", "-x", "-C", folder.name], input=archive.stdout, check=True)
    return folder


def path(version: str) -> Path:
    """Where a version's files lie: `0.1`, or `now`."""
    return ROOT if version == "now" else Path(_tree().name)


def environment(version: str) -> dict[str, str]:
    """In which python imports a version's packages."""
    folders = [path(version) / name for name in ("exporter", "trainer_hooks")]
    return {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": ":".join(map(str, folders))}


def answer(version: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a version's python says to this code."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment(version), capture_output=True, text=True, check=False, timeout=120)
