"""Records of old runs are removed; whatever is not one of them stays, and so does all beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_record import clearing, paths
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer

from tests.trainer_hooks.yoloscope_record.records import SMALL, WHO, Child, content

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86400.0


def old_run(base: Path, *identities: Identity) -> Path:
    """The directory of a run that ended two days ago, with a dead record for each identity."""
    long_ago = time.time() - 2 * DAY
    folder = paths.run_directory(base, identities[0].run)
    for identity in identities:
        with closing(Writer(folder / identity.filename, identity, **SMALL)) as writer:
            writer.begin()
            writer.end(long_ago)
    age(folder)
    return folder


def age(folder: Path) -> None:
    """Make all below two days old, the folder last."""
    long_ago = time.time() - 2 * DAY
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)


def clear(folder: Path, uid: int | None = None, older_than: float = DAY) -> clearing.Removal:
    """Remove it if it is old."""
    return clearing.remove_dead(folder, older_than=older_than, now=time.time(), uid=uid)


def test_an_old_run_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """File by file, its stale temporaries too, then the directory; each deletion is logged."""
    worker = Identity(WHO.run, WHO.rank, "worker", "0")
    folder = old_run(tmp_path, WHO, worker)
    (folder / f"{WHO.filename}.abcd_123.new").write_bytes(bytes(5000))
    (folder / f"{WHO.filename}.abcd_124.new").touch()
    (folder / f"{WHO.filename}.abcd_125.new").write_bytes((folder / WHO.filename).read_bytes())
    age(folder)
    caplog.set_level("INFO", "yoloscope")
    done = clear(folder, os.geteuid())
    assert (len(done.removed), done.foreign, done.gone) == (5, "", True)
    assert {WHO.filename, worker.filename} < set(done.removed)
    assert not folder.exists()
    assert len(caplog.messages) == 6
    assert str(folder / WHO.filename) in caplog.text


def test_what_is_in_use_or_young_stays(tmp_path: Path) -> None:
    """A living writer, a value stored lately, or a file changed lately: nothing of the run goes."""
    folder = old_run(tmp_path, WHO, Identity(WHO.run, "4"))
    assert clear(folder, older_than=3 * DAY) == clearing.Removal()
    os.utime(folder / WHO.filename)
    assert clear(folder) == clearing.Removal()
    with Child(folder / WHO.filename, "wait"):
        age(folder)
        assert clear(folder, older_than=-1.0) == clearing.Removal()
    assert len(list(folder.iterdir())) == 2


def _result(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "best.pt").write_text("a week of training")


def _temporary(folder: Path) -> None:
    (folder / "results.tmp").write_text("somebody's")


def _strange_new(folder: Path) -> None:
    (folder / "notes.new").write_text("somebody's")


def _filled_new(folder: Path) -> None:
    (folder / f"{WHO.filename}.abcd_123.new").write_text("somebody's")


def _named_like_one(folder: Path) -> None:
    (folder / "rank-9.rec").write_text("a recording of something else" * 100)


def _another_runs(folder: Path) -> None:
    (folder / "rank-5.rec").write_bytes((folder / WHO.filename).read_bytes())


def _link_to_a_directory(folder: Path) -> None:
    (folder / "dataset").symlink_to(folder.parent)


def _link_to_a_record(folder: Path) -> None:
    (folder / "rank-9.rec").symlink_to(folder / WHO.filename)


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "rank-9.rec")


def _folder_named_like_one(folder: Path) -> None:
    (folder / "rank-9.rec").mkdir()


def _another_owners(folder: Path) -> None:
    path = folder / Identity(WHO.run, "6").filename
    with closing(Writer(path, Identity(WHO.run, "6"), **SMALL)):
        pass
    os.chown(path, 12345, -1)


OTHERS = [
    _result,
    _temporary,
    _strange_new,
    _filled_new,
    _named_like_one,
    _another_runs,
    _link_to_a_directory,
    _link_to_a_record,
    _pipe,
    _folder_named_like_one,
    pytest.param(_another_owners, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")),
]


@pytest.mark.parametrize("put", OTHERS)
def test_a_run_beside_anything_else_is_left_alone(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """One thing that is no record of this run: nothing goes, not even the records."""
    folder = old_run(tmp_path, WHO)
    put(folder)
    age(folder)
    before = content(folder)
    for uid in (os.geteuid(), None):
        done = clear(folder, uid)
        assert (done.removed, done.gone) == ((), False)
        assert done.foreign in before
    assert content(folder) == before


def test_a_directory_without_records_is_left_alone(tmp_path: Path) -> None:
    """Empty ones, another owner's, one moved elsewhere and links are not ours to remove."""
    empty = tmp_path / "empty"
    empty.mkdir()
    age(empty)
    assert clear(empty) == clearing.Removal()
    assert empty.is_dir()
    folder = old_run(tmp_path, WHO)
    assert clear(folder, uid=12345).foreign == folder.name
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(OSError, match="link"):
        clear(link)
    with pytest.raises(OSError, match="link"):
        clear(Path(link, "..", "link"))
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(OSError, match="elsewhere"):
        clear(tmp_path / "elsewhere" / folder.name)
    moved = folder.rename(tmp_path / "moved")
    assert clear(moved).foreign == WHO.filename
    assert (moved / WHO.filename).exists()


def test_a_swapping_owner_loses_only_his_own(tmp_path: Path) -> None:
    """While an owner swaps directory and record for links to others' things, those stay."""
    victim = old_run(tmp_path / "victim", WHO)
    (victim / "results.csv").write_text("precious")
    before = content(victim)
    base = tmp_path / "base"
    code = (
        "import os, sys\n"
        "folder, victim, name = sys.argv[1:]\n"
        "print(flush=True)\n"
        "while True:\n"
        "    try:\n"
        "        os.rename(folder, folder + '-kept'); os.symlink(victim, folder)\n"
        "        os.unlink(folder); os.rename(folder + '-kept', folder)\n"
        "        record = f'{folder}/{name}'\n"
        "        os.rename(record, folder + '-record'); os.symlink(f'{victim}/{name}', record)\n"
        "        os.rename(folder + '-record', record)\n"
        "    except OSError:\n"
        "        break\n"
    )
    removed = 0
    for _ in range(20):
        folder = old_run(base, WHO)
        command = [sys.executable, "-c", code, str(folder), str(victim), WHO.filename]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
            assert swapper.stdout
            swapper.stdout.readline()
            for _ in range(200):
                with suppress(OSError):
                    removed += len(clear(folder).removed)
            swapper.kill()
        assert content(victim) == before
        for rest in base.iterdir():
            if rest.is_symlink():
                rest.unlink()
            else:
                shutil.rmtree(rest, ignore_errors=True)
    assert removed


def test_only_dead_workers_records_are_removed(tmp_path: Path) -> None:
    """What workers of an earlier training left goes; what only has such a name stays, as do records in use."""
    workers = [Identity(WHO.run, WHO.rank, "worker", str(number)) for number in range(2)]
    folder = old_run(tmp_path, WHO, *workers, Identity(WHO.run, "33", "worker", "0"))
    (folder / "rank-3-worker-notes.rec").write_text("somebody's")
    (folder / "rank-3-worker-7.rec").symlink_to(folder / WHO.filename)
    kept = {WHO.filename, "rank-33-worker-0.rec", "rank-3-worker-notes.rec", "rank-3-worker-7.rec"}
    clearing.remove_workers(folder / WHO.filename)
    assert {path.name for path in folder.iterdir()} == kept
