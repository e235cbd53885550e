"""What is kept of a dead training beside its results: whose folder it may be, what is refused, how much it is."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_record import keeping, paths, stack_file
from yoloscope_record.file_format import MAX_LABEL_LENGTH, Identity, RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

from tests.training import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_record.reader import Record

RUN = "检测/train 7"
NAME = "rank-0.rec"
OTHER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to another user")

_DIES = """
import os, sys, threading
from pathlib import Path
from yoloscope_record import paths, stack_file
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
directory = paths.run_directory(Path(sys.argv[1]), sys.argv[2])
writer = Writer(directory / "rank-0.rec", Identity(sys.argv[2]), {"model": "m"})
writer.begin(); writer.set_state("train"); writer.append((1.0,) * 8); writer.count(); writer.end(1_790_000_000.0)
file = stack_file.create(directory, sys.argv[2], "0", threading.get_ident(), child=False)
os.write(file, b"Stack (most recent call first):\\n" + b'  File "x.py", line 1 in f\\n' * int(sys.argv[3]))
"""


def dead(records: Path, frames: int = 1) -> tuple[Path, Record]:
    """A record whose writer is gone, with a stack beside it."""
    command = [sys.executable, "-c", _DIES, str(records), RUN, str(frames)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT / "trainer_hooks")}, check=True, timeout=30)
    path = paths.run_directory(records, RUN) / NAME
    return path, Reader(path).read()


def folder(base: Path) -> Path:
    return paths.run_directory(base, RUN)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder of results, in which the hooks have begun."""
    results = tmp_path / "runs/train7"
    results.mkdir(parents=True)
    keeping.begin(results / keeping.FOLDER, RUN, NAME, b"begun")
    return results / keeping.FOLDER


def test_what_is_copied_reads_like_the_record(tmp_path: Path, base: Path) -> None:
    """With what was told of its end; once; and it takes next to no room."""
    path, record = dead(tmp_path / "records")
    assert keeping.keep(path, record, base, {"cause": "hangup"}, os.geteuid())
    kept = Reader(folder(base) / NAME).read()
    assert (kept.identity, kept.state, kept.alive) == (record.identity, "killed", False)
    assert kept.facts == {**record.facts, "cause": "hangup"}
    assert kept.numbers == record.numbers
    assert (folder(base) / "rank-0.stacks").read_bytes() == (path.parent / "rank-0.stacks").read_bytes()
    assert (folder(base) / NAME).stat().st_blocks * 512 < 64 << 10
    assert sorted(entry.name for entry in folder(base).iterdir()) == [NAME, "rank-0.stacks"]
    assert not keeping.keep(path, record, base, {}, os.geteuid())


def test_a_cause_that_becomes_known_later_is_added(tmp_path: Path, base: Path) -> None:
    """The next training of the user came before the exporter had made up its mind."""
    path, record = dead(tmp_path / "records")
    assert keeping.keep(path, record, base, {}, os.geteuid())
    assert keeping.keep(path, record, base, {"cause": "gpu_lost"}, os.geteuid())
    assert Reader(folder(base) / NAME).read().facts["cause"] == "gpu_lost"
    assert not keeping.keep(path, record, base, {"cause": "unknown"}, os.geteuid())


def test_a_cause_that_is_corrected(tmp_path: Path, base: Path) -> None:
    """Only by who says so: another exporter knows less of it."""
    path, record = dead(tmp_path / "records")
    assert keeping.keep(path, record, base, {"cause": "terminated"}, os.geteuid())
    assert not keeping.keep(path, record, base, {"cause": "gpu_lost"}, os.geteuid())
    assert keeping.keep(path, record, base, {"cause": "gpu_lost"}, os.geteuid(), anew=True)
    assert Reader(folder(base) / NAME).read().facts["cause"] == "gpu_lost"


def test_stacks_are_bounded(tmp_path: Path, base: Path) -> None:
    """Beginning and end are there, and nothing is cut within a line."""
    path, record = dead(tmp_path / "records", frames=40_000)
    keeping.keep(path, record, base, {}, os.geteuid())
    kept = (folder(base) / "rank-0.stacks").read_bytes()
    assert len(kept) <= keeping.MAX_STACK_BYTES + stack_file.MAX_HEADER_BYTES
    assert stack_file.header_of(kept).rank == "0"
    assert set(kept.splitlines()[1:]) == {b'  File "x.py", line 1 in f'}


def test_a_living_record_is_not_copied(tmp_path: Path, base: Path) -> None:
    """Nor one that another training has taken the place of."""
    path, record = dead(tmp_path / "records")
    subprocess.run([sys.executable, "-c", _DIES, str(tmp_path / "records"), RUN, "1"], check=True, timeout=30)
    with pytest.raises(RecordError):
        keeping.keep(path, record._replace(created=record.created - 9), base, {}, os.geteuid())


def _link_to_base(base: Path, elsewhere: Path) -> None:
    base.rename(elsewhere)
    base.symlink_to(elsewhere)


def _link_to_folder(base: Path, elsewhere: Path) -> None:
    folder(base).rename(elsewhere)
    folder(base).symlink_to(elsewhere)


def _another_users_base(base: Path, _: Path) -> None:
    os.chown(base, OTHER, OTHER)


def _another_users_folder(base: Path, _: Path) -> None:
    os.chown(folder(base), OTHER, OTHER)


def _file(base: Path, elsewhere: Path) -> None:
    base.rename(elsewhere)
    base.write_text("no directory")


@needs_root
@pytest.mark.parametrize(
    "change",
    [_link_to_base, _link_to_folder, _another_users_base, _another_users_folder, _file],
    ids=lambda one: one.__name__,
)
def test_a_folder_that_is_not_ours_stays_as_it_is(
    tmp_path: Path, base: Path, change: Callable[[Path, Path], None]
) -> None:
    """A link, another user's, no folder at all."""
    path, record = dead(tmp_path / "records")
    change(base, tmp_path / "elsewhere")
    before = sorted((one, one.lstat().st_mtime_ns) for one in tmp_path.rglob("*") if "records" not in one.parts)
    with pytest.raises(OSError):  # noqa: PT011 - whichever
        keeping.keep(path, record, base, {}, os.geteuid())
    assert sorted((one, one.lstat().st_mtime_ns) for one in tmp_path.rglob("*") if "records" not in one.parts) == before


@needs_root
def test_root_writes_for_the_user_into_the_users_folder(tmp_path: Path, base: Path) -> None:
    """The files are the user's, and a link in the place of one is replaced, not followed."""
    path, _ = dead(tmp_path / "records")
    secret = tmp_path / "secret"
    secret.write_text("root's")
    (folder(base) / NAME).unlink()
    (folder(base) / NAME).symlink_to(secret)
    for one in (base.parent, base, folder(base), path.parent, *path.parent.iterdir()):
        os.chown(one, OTHER, OTHER)
    assert keeping.keep(path, Reader(path).read(), base, {}, OTHER)
    assert secret.read_text() == "root's"
    assert not (folder(base) / NAME).is_symlink()
    assert {one.stat().st_uid for one in folder(base).iterdir()} == {OTHER}


@needs_root
def test_a_folder_in_somebody_elses_is_not_made(tmp_path: Path) -> None:
    """Even where root could: what trains as root keeps out of users' folders."""
    results = tmp_path / "train"
    results.mkdir()
    os.chown(results, OTHER, OTHER)
    with pytest.raises(OSError):  # noqa: PT011
        keeping.begin(results / keeping.FOLDER, RUN, NAME, b"")
    assert list(results.iterdir()) == []


def test_an_end_that_went_well_leaves_nothing(tmp_path: Path, base: Path) -> None:
    """Other runs' and other people's files stay."""
    keeping.forget(base, RUN, NAME)
    assert list(base.parent.iterdir()) == []
    keeping.begin(base, RUN, NAME, b"")
    (folder(base) / "note.txt").write_text("mine")
    keeping.forget(base, RUN, NAME)
    assert [one.name for one in folder(base).iterdir()] == ["note.txt"]


def test_the_oldest_run_makes_room(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which a run is resumed for ever does not grow for ever; what is not ours there stays."""
    monkeypatch.setattr(keeping, "MAX_RUNS", 3)
    path, record = dead(tmp_path / "records")
    keeping.keep(path, record, base, {}, os.geteuid())
    os.utime(folder(base), (1, 1))
    (base / "mine").mkdir()
    (base / "README").write_text("mine")
    for name in ("mine", "README"):
        os.utime(base / name, (0, 0))
    for number in range(3):
        keeping.begin(base, f"run-{number}", NAME, b"")
    assert sorted(one.name for one in base.iterdir()) == ["README", "mine", "run-0", "run-1", "run-2"]


def test_the_oldest_runs_make_room_for_bytes(tmp_path: Path, base: Path) -> None:
    """Records may be large, and a run may have many: one that has all of the room gets no more."""
    path, record = dead(tmp_path / "records")
    keeping.keep(path, record, base, {}, os.geteuid())
    size = sum(one.stat().st_size for one in folder(base).iterdir())
    os.utime(folder(base), (1, 1))
    keeping.make(base, "next", size)
    assert folder(base).exists()
    keeping.make(base, "next", size - 1)
    assert not folder(base).exists()
    (base / "next" / "rank-0.rec").write_bytes(b"x" * 4097)
    with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
        keeping.make(base, "next", 4096)


def test_facts_beyond_the_headers_room_are_left_out(tmp_path: Path) -> None:
    """The record stays readable."""
    identity = Identity(RUN)
    writer = Writer(tmp_path / NAME, identity, {"model": "m"}, header=600)
    data = writer.content()
    writer.close()
    (tmp_path / NAME).write_bytes(keeping.sealed(data, {"cause": "x" * 256}))
    record = Reader(tmp_path / NAME).read()
    assert (record.state, record.facts) == ("killed", {"model": "m"})


@pytest.mark.parametrize("header", [b"[]", b"{}", b"\xff", b"[" * 9000])
def test_a_header_that_is_none_is_refused(tmp_path: Path, header: bytes) -> None:
    """Any user may have written it."""
    writer = Writer(tmp_path / NAME, Identity(RUN))
    data = writer.content()
    writer.close()
    start = int.from_bytes(data[40:44], sys.byteorder)
    forged = data[:48] + len(header).to_bytes(4, sys.byteorder) + data[52:start] + header
    with pytest.raises(RecordError):
        keeping.sealed(forged + data[len(forged) :], {"cause": "x"})


def test_where_it_is_kept(tmp_path: Path) -> None:
    """Beside the results, in the directory that is set, or nowhere; never under a name that a fact cannot hold."""
    assert keeping.place(str(tmp_path), {}) == tmp_path / "yoloscope"
    assert keeping.place("", {}) is None
    assert keeping.place("/runs", {keeping.VARIABLE: "/var/ends"}) == Path("/var/ends")
    assert keeping.place("/runs", {keeping.VARIABLE: "Off"}) is None
    assert keeping.place("/" + "x" * MAX_LABEL_LENGTH, {}) is None
    assert keeping.place("/a\nb", {}) is None
    assert keeping.place_of({keeping.FACT: "runs/train"}) is None
    assert keeping.place_of({}) is None
