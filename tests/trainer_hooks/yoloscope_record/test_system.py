"""What stands in for Linux' calls elsewhere; whole trainings with it are in tests/other_systems."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.other_systems import looks

if TYPE_CHECKING:
    from pathlib import Path

#: Folders, links and files by the calls of POSIX, as a record uses them.
CALLS = """
import errno, stat, sys
from yoloscope_record.system import os
base = sys.argv[1]
folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
os.mkdir("in", 0o755, dir_fd=folder)
inner = os.open("in", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
file = os.open("a", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=inner)
assert os.pwrite(file, b"record", 3) == 6 and os.pread(file, 100, 0) == b"\\0\\0\\0record"
os.fchmod(file, 0o644)
os.fsync(inner)
os.close(file)
os.rename("a", "b", src_dir_fd=inner, dst_dir_fd=inner)
assert os.listdir(inner) == ["b"] and [one.name for one in os.scandir(inner)] == ["b"]
assert stat.S_ISREG(os.stat("b", dir_fd=inner, follow_symlinks=False).st_mode)
assert os.fstat(inner).st_uid == os.geteuid() == os.getuid()
os.symlink(os.path.join(base, "in"), os.path.join(base, "link"))
for flags in (os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY):
    try:
        os.open("link", flags | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        assert error.errno in (errno.ELOOP, errno.ENOTDIR), error
    else:
        raise AssertionError("a link was followed")
try:
    os.open("in/b", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
except NotADirectoryError:
    pass
os.unlink("b", dir_fd=inner)
os.close(inner)
os.rmdir("in", dir_fd=folder)
os.close(folder)
assert os.statvfs(base).f_bavail > 0 and os.uname().nodename
print("done")
"""
#: A record of a living writer, of one that was given up, and one of a name that was there before.
RECORD = """
import pathlib, subprocess, sys, time
from yoloscope_record import catalog
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.writer import Writer
path = pathlib.Path(sys.argv[1]) / "run" / "rank-0.rec"
look = ("import pathlib, sys; from yoloscope_record.reader import Reader\\n"
        "record = Reader(pathlib.Path(sys.argv[1])).read(keep=True); print(record.alive, record.holder, record.pid)")
another = ("import pathlib, sys; from yoloscope_record.file_format import Identity\\n"
           "from yoloscope_record.writer import Writer; Writer(pathlib.Path(sys.argv[1]), Identity('run'))")
def ran(code):
    return subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
def seen():
    return ran(look).stdout.split()
for _ in range(2):  # the second one replaces what the first has left
    writer = Writer(path, Identity("run"))
    assert seen() == ["True"] + 2 * [str(writer._process)], seen()
    assert "exists: " in ran(another).stderr
    writer.close()
    assert seen()[0] == "False", seen()
writer = Writer(path, Identity("run"))
writer.discard()
assert list(path.parent.iterdir()) == [], list(path.parent.iterdir())
print("done")
"""


def ran(code: str, system: str, tmp_path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program on that system, which is given a folder of the record directory."""
    folder.mkdir(parents=True)
    environ = looks.environment(system, tmp_path / "home")
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("system", [*looks.SYSTEMS, "linux"])
@pytest.mark.parametrize("code", [CALLS, RECORD], ids=["calls", "record"])
def test_same_as_on_linux(tmp_path: Path, system: str, code: str) -> None:
    """The same program does the same, where nobody can rename or remove a file that is open, too."""
    if system == "linux":
        (tmp_path / "records").mkdir()
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "records")],
            env=os.environ | {"PYTHONPATH": str(looks.ROOT / "trainer_hooks")},
            capture_output=True,
            text=True,
            check=False,
        )
    else:
        done = ran(code, system, tmp_path, looks.records(system, tmp_path / "home") / "tried")
    assert done.stdout == "done\n", done.stderr
