"""A process of a probe that would really train is found before it does."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.tuning import processes
from yoloscope_exporter.tuning.unhooked import unhooked, why

if TYPE_CHECKING:
    from pathlib import Path

HOOKS = "/venv/yoloscope_hooks/autoload"
GIVEN = {"PYTHONPATH": f"{HOOKS}:/mine", "YOLOSCOPE": "on", "YOLOSCOPE_PROBE": "{}"}
#: Loads something that is called like PyTorch's library, and goes on.
LOADS = """
import mmap, sys, time
with open(sys.argv[1], "rb") as file:
    loaded = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
print(1, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize(
    ("command", "changed", "said"),
    [
        (["python", "train.py"], {}, None),
        (["python", "train.py"], {"PYTHONPATH": f"/proj/lib:{HOOKS}:/mine"}, None),
        (["/usr/bin/python3", "-uE", "train.py"], {}, "-uE keeps them out"),
        (["python", "train.py"], {"PYTHONPATH": "/proj/lib"}, "export PYTHONPATH=/proj/lib:$PYTHONPATH"),
        (["python", "train.py"], {"PYTHONPATH": "/my proj"}, 'export PYTHONPATH="/my proj:$PYTHONPATH"'),
        (["python", "train.py"], {"PYTHONPATH": ""}, "PYTHONPATH is emptied on the way to it; keep it"),
        (["python", "train.py"], {"YOLOSCOPE": "off"}, "YOLOSCOPE=off is set on the way to it"),
        (["python", "train.py"], {"YOLOSCOPE_PROBE": ""}, "its environment is not the one it was started with"),
    ],
)
def test_why_a_process_has_no_hooks(command: list[str], changed: dict[str, str], said: str | None) -> None:
    """With the remedy."""
    found = why(command, GIVEN | changed, GIVEN)
    assert (found is None) if said is None else (found is not None and said in found)


@pytest.mark.parametrize(("path", "hides"), [("{mine}:{hooks}", True), ("{hooks}:{mine}", False)])
def test_a_sitecustomize_that_hides_the_hooks(tmp_path: Path, path: str, *, hides: bool) -> None:
    """Python imports the first one only; the hooks' own executes the one that it hides."""
    (tmp_path / "sitecustomize.py").touch()
    found = GIVEN | {"PYTHONPATH": path.format(mine=tmp_path, hooks=HOOKS)}
    said = why(["python", "train.py"], found, GIVEN)
    assert said == (
        f"{tmp_path}/sitecustomize.py hides theirs; append it: export PYTHONPATH=$PYTHONPATH:{tmp_path}"
        if hides
        else None
    )


def test_an_environment_that_is_not_known_is_not_judged() -> None:
    """One that has been written over."""
    assert why(["python", "train.py"], None, GIVEN) is None


@pytest.mark.parametrize(
    ("before", "library", "said"),
    [
        ([], "libtorch_cpu.so", ""),
        (["env", "PYTHONPATH=/proj/lib"], "libtorch_cpu.so", "export PYTHONPATH=/proj/lib:$PYTHONPATH"),
        (["env", "-i"], "libtorch_cpu.so", "no env -i"),
        (["bash", "-c", 'PYTHONPATH= "$@"; true', "-"], "libtorch_python.so", "PYTHONPATH is emptied"),
        (["env", "PYTHONPATH=/proj/lib"], "libjpeg.so", ""),
    ],
)
def test_a_process_that_would_train(tmp_path: Path, before: list[str], library: str, said: str) -> None:
    """It has loaded PyTorch, and has no hooks: what has not is a helper."""
    (tmp_path / library).write_bytes(b"code")
    given = {**os.environ, **GIVEN, processes.MARK: f"unhooked-{os.getpid()}"}
    log = tmp_path / "log"
    with processes.running([*before, sys.executable, "-c", LOADS, str(tmp_path / library)], given, log) as process:
        end = time.monotonic() + 30
        while not log.read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        found = unhooked(process.pid, given) or ""
    assert said in found
    assert bool(found) is bool(said)
