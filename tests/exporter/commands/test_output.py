"""Files that commands write: whole, or as they were."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.commands.output import write

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Its mode is kept, a link still leads to it, and nothing else lies there afterwards."""
    file, link = tmp_path / "report.md", tmp_path / "link.md"
    file.write_text("old")
    file.chmod(0o600)
    link.symlink_to(file)
    write(link, ["new ", "两"])
    assert file.read_text(encoding="utf-8") == "new 两"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, file]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_users_file_stays_the_users(tmp_path: Path) -> None:
    """Whoever wrote it anew, with sudo for example; the longest name is no trouble."""
    file = tmp_path / ("r" * 255)
    file.write_text("old")
    os.chown(file, 65534, 65534)
    write(file, ["new"])
    assert (file.read_text(), file.stat().st_uid, file.stat().st_gid) == ("new", 65534, 65534)


def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    """As the umask says."""
    write(tmp_path / "a", ["a"])
    (tmp_path / "b").write_text("b")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """A full disk in the middle of it."""
    file = tmp_path / "report.md"
    file.write_text("old")

    def texts() -> Iterator[str]:
        yield "half"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write(file, texts())
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_devices_and_pipes_are_refused(tmp_path: Path) -> None:
    """They stay what they are."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/full"), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            write(path, ["x"])
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


#: Writes half a file, says so, and waits.
HALF = """
import sys, time
from pathlib import Path
from yoloscope_exporter.commands.output import write
def texts():
    yield "half" * 10_000
    print("half", flush=True)
    time.sleep(60)
write(Path(sys.argv[1]), texts())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_whatever_ends_the_command_nothing_is_left(tmp_path: Path, number: signal.Signals) -> None:
    """The file that was there is whole, and nothing lies beside it."""
    path = tmp_path / "report.html"
    path.write_text("old")
    with subprocess.Popen(
        [sys.executable, "-c", HALF, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"half\n"
        process.send_signal(number)
    assert process.returncode != 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("lacks", ["O_TMPFILE", "link"])
def test_a_file_system_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    """And one that gives no names afterwards: it is written all the same, as the text is."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if lacks == "link":
        monkeypatch.setattr(os, "link", refused)
    else:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "report.md"
    for text in ("one\r\n两\n", "two"):
        write(path, [text[:2], text[2:]])
        assert path.read_bytes().decode() == text
        assert list(tmp_path.iterdir()) == [path]
        path.chmod(0o640)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_write_protected_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has protected it meant to; another file in its place needs the folder alone to be writable."""
    path = tmp_path / "cfg.yaml"
    path.write_text("mine")
    path.chmod(0o444)
    if os.geteuid() == 0:  # may write it all the same
        monkeypatch.setattr(os, "access", lambda file, mode: not (Path(file) == path and mode & os.W_OK))
    with pytest.raises(PermissionError, match="write-protected"):
        write(path, ["new"])
    assert path.read_text() == "mine"


def test_a_link_in_a_circle(tmp_path: Path) -> None:
    """It leads nowhere, and stays."""
    path = tmp_path / "report.md"
    path.symlink_to(path)
    with pytest.raises(OSError, match="Too many levels"):
        write(path, ["x"])
    assert path.is_symlink()


@pytest.fixture
def like_tmp(tmp_path: Path) -> Path:
    """A folder that all users share."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
@pytest.mark.parametrize("laid", ["link", "file", "link to nothing"])
def test_what_another_user_has_laid_into_a_shared_folder(like_tmp: Path, laid: str) -> None:
    """It is neither followed nor replaced: the kernel would not open it either."""
    target, path = like_tmp.parent / "passwd", like_tmp / "report.html"
    if laid != "link to nothing":
        target.write_text("root")
    if laid == "file":
        path.write_text("mine")
    else:
        path.symlink_to(target)
    os.chown(path, 61002, 61002, follow_symlinks=False)
    with pytest.raises(OSError, match="another user"):
        write(path, ["<html>"])
    assert path.lstat().st_uid == 61002
    assert not target.exists() or target.read_text() == "root"


def test_the_own_file_in_a_shared_folder(like_tmp: Path) -> None:
    """And the own link."""
    (like_tmp / "report.html").write_text("old")
    (like_tmp / "link").symlink_to(like_tmp / "report.html")
    for path in ("link", "report.html", "new.html"):
        write(like_tmp / path, [path])
        assert (like_tmp / path).read_text() == path
