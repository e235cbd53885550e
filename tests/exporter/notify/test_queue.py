"""The queue on disk: whole messages in their order, bounded, and private."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from yoloscope_exporter.notify.messages import Message, Section
from yoloscope_exporter.notify.queue import Queue, QueueFullError, default_directory


def message(title: str) -> Message:
    """A message with this title."""
    return Message(title, (Section("heading", ("a line",), (("Runbook", "http://r"),)),), "info", 1.0, "zh-CN", 2)


def test_messages_come_back_in_their_order(tmp_path: Path) -> None:
    """As they were, for each service."""
    queue = Queue(tmp_path)
    for title in "abc":
        queue.put(["one", "other"], message(title))
    for key in ("one", "other"):
        assert [queue.read(path) for path in queue.waiting(key)] == [message(title) for title in "abc"]


def test_a_full_queue_takes_nothing(tmp_path: Path) -> None:
    """Neither for the service that has no room nor for the others: who sends it keeps it, for all of them."""
    queue = Queue(tmp_path, size=2)
    queue.put(["one"], message("a"))
    queue.put(["one", "other"], message("b"))
    with pytest.raises(QueueFullError, match="2 messages wait for one"):
        queue.put(["other", "one"], message("c"))
    assert (len(queue.waiting("one")), len(queue.waiting("other"))) == (2, 1)
    queue.remove(queue.waiting("one")[0])
    queue.put(["one"], message("c"))


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    """Folders and files are the owner's."""
    queue = Queue(tmp_path / "queue")
    queue.put(["one"], message("a"))
    (path,) = queue.waiting("one")
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"{}", b'{"sections": 1}', b'{"sections": [[1]]}'),
        b'{"title": "a", "sections": [], "kind": "info", "time": "noon", "language": "en"}',
        b'{"title": "a", "sections": [], "kind": "info", "time": 1, "language": "fr"}',
    ],
)
def test_a_damaged_file_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    """With a line in the log; what half a write left is not looked at."""
    queue = Queue(tmp_path)
    queue.put(["one"], message("a"))
    (path,) = queue.waiting("one")
    path.write_bytes(content)
    path.with_suffix(".new").write_bytes(b"half")
    assert queue.read(path) is None
    assert queue.waiting("one") == []
    assert str(path) in caplog.text


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half message, and the error is told."""
    queue = Queue(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        queue.put(["one"], message("a"))
    assert list((tmp_path / "one").iterdir()) == []


def test_a_write_that_fails_for_one_is_for_none(tmp_path: Path) -> None:
    """Who sends it sends it again, to all: nobody may have it twice."""
    queue = Queue(tmp_path)
    (tmp_path / "other").touch()
    with pytest.raises(OSError, match="File exists"):
        queue.put(["one", "other"], message("a"))
    assert queue.waiting("one") == []


def test_what_cannot_be_read_now_stays(tmp_path: Path) -> None:
    """With too many files open, say, a message is not lost; one that is gone was taken by somebody else."""
    queue = Queue(tmp_path)
    queue.put(["one"], message("a"))
    (path,) = queue.waiting("one")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            queue.read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert queue.read(path) == message("a")
    path.unlink()
    assert queue.read(path) is None


def test_one_process_sends_for_a_service(tmp_path: Path) -> None:
    """Another one is told, until the first has ended."""
    queue = Queue(tmp_path)
    code = (
        "import sys; from pathlib import Path; from yoloscope_exporter.notify.queue import Queue\n"
        "with Queue(Path(sys.argv[1])).held('one') as alone: print(alone)"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def other() -> str:
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()

    with queue.held("one") as alone:
        assert alone
        assert other() == "False"
    assert other() == "True"


def test_killed_writers_leave_nothing(tmp_path: Path) -> None:
    """What is older than a minute goes when a sender starts; what may be under way stays."""
    (tmp_path / "one").mkdir()
    for name, age in (("old", 100.0), ("young", 1.0)):
        path = tmp_path / "one" / f"{name}.new"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    with Queue(tmp_path).held("one"):
        assert [path.name for path in (tmp_path / "one").glob("*.new")] == ["young.new"]


def test_where_it_is() -> None:
    """The directory of systemd, that of the user, or the usual one."""
    assert default_directory({"STATE_DIRECTORY": "/var/lib/yoloscope:/other"}) == Path("/var/lib/yoloscope")
    assert default_directory({"XDG_STATE_HOME": "/state"}) == Path("/state/yoloscope/notify")
    assert default_directory({}) == Path.home() / ".local/state/yoloscope/notify"
