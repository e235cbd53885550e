"""Clearing the record directory: what dead trainings left goes, and nothing that is anybody's."""

from __future__ import annotations

import os
import re
import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import pytest
from yoloscope_exporter.collectors import clearing
from yoloscope_exporter.collectors.runs import Runs
from yoloscope_record import stack_file
from yoloscope_record.file_format import Identity
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer

from tests.exporter import world
from tests.exporter.test_serve import exporter, get, wait_for
from tests.exporter.world import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = 86_400.0


class Thing(NamedTuple):
    """What lies at a path: type and rights, owner, content or target of a link."""

    mode: int
    owner: tuple[int, int]
    content: bytes


def snapshot(base: Path) -> dict[str, Thing]:
    """Everything below `base`, without following a link or opening a pipe."""
    return {str(path.relative_to(base)): _thing(path) for path in [base, *base.rglob("*")]}


def _thing(path: Path) -> Thing:
    status = path.lstat()
    content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    return Thing(status.st_mode, (status.st_uid, status.st_gid), content)


def dead(base: Path, run: str, moment: float = NOW) -> Path:
    """A rank's record of long ago, as its training left it."""
    identity = Identity(run)
    path = run_directory(base, run) / identity.filename
    with closing(Writer(path, identity, slots=16, ring=4)) as writer:
        writer.begin()
        writer.set_state("finished")
        writer.end(moment)
    world.age(path, created=moment, updated=moment)
    age(base, moment)
    return path


def age(base: Path, moment: float) -> None:
    """Let everything below `base` be of that time."""
    for path in sorted(base.rglob("*"), reverse=True):
        os.utime(path, (moment, moment), follow_symlinks=False)


def results(base: Path) -> None:
    """What a project's folder is full of."""
    world.write(base, {"exp1/weights/best.pt": "weights", "exp1/results.csv": "1,2", "exp1/last.tmp": "half a file"})
    world.write(base, {"scratch/a.tmp": "mine", "scratch/b.rec": "a tape", "sounds/deep/er/voice.rec": "a voice"})
    (base / "empty").mkdir()


def links(base: Path) -> None:
    """Links to directories and to records elsewhere, by names like those of ours."""
    elsewhere = base.with_name("elsewhere")
    record = dead(elsewhere, "elsewhere")
    (base / "elsewhere").symlink_to(record.parent)
    (base / "linked").mkdir()
    (base / "linked" / "rank-0.rec").symlink_to(record)
    (base / "linked" / "rank-1.rec").symlink_to("/nowhere")


def pipes(base: Path) -> None:
    """Pipes that nobody writes to."""
    (base / "piped").mkdir()
    os.mkfifo(base / "piped" / "rank-0.rec")
    os.mkfifo(base / "piped" / "rank-0.tmp")
    os.mkfifo(base / "rank-0.rec")


def records_beside(base: Path) -> None:
    """Records of a run beside its results, and one that lies in another run's directory."""
    record = dead(base, "exp2")
    world.write(base, {"exp2/weights/best.pt": "weights"})
    world.write(base, {"moved/notes.txt": "x"})
    (base / "moved" / record.name).write_bytes(record.read_bytes())


def foreign(base: Path) -> None:
    """Directories and records of another user."""
    if os.geteuid():
        pytest.skip("only root can give files away")
    record = dead(base, "theirs")
    world.write(base, {"files/data.tmp": "theirs"})
    mixed = dead(base, "mixed")
    for path in (record.parent, record, base / "files", base / "files" / "data.tmp", mixed):
        os.chown(path, 4711, 4711)


def file_beside(base: Path) -> None:
    """One file among the runs."""
    (base / "train.py").write_text("print()")


@pytest.mark.parametrize("fill", [results, links, pipes, records_beside, foreign, file_beside])
def test_what_is_anybodys_stays(tmp_path: Path, fill: Callable[[Path], None], caplog: pytest.LogCaptureFixture) -> None:
    """A day old, as record directory of an exporter: byte for byte the same afterwards, and that is said once."""
    node = world.World(tmp_path / "node")
    node.records.mkdir(parents=True)
    dead(node.records, "own")
    fill(node.records)
    age(tmp_path, NOW)
    before = snapshot(tmp_path)
    collector = Runs(node.context)
    with caplog.at_level("INFO"):
        for cycle in range(5):
            node.now = NOW + 3 * DAY + cycle * 2 * clearing.PERIOD
            list(collector.collect())
    if fill is records_beside:  # there are nothing but runs: the one that holds nothing else is cleared
        before = {name: thing for name, thing in before.items() if "/own" not in name}
    assert snapshot(tmp_path) == before
    said = [record.getMessage() for record in caplog.records if record.name.endswith("clearing")]
    assert said
    assert len(said) == len(set(said)) <= 2


def test_dead_records_of_our_own_go_each_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a directory of nothing but runs."""
    node = world.World(tmp_path)
    node.records.mkdir()
    paths = [dead(node.records, run) for run in ("one", "two")]
    (node.records / "empty").mkdir()  # of a training that found no room for its record
    (node.records / "begun").mkdir()  # of one that died over making it
    (node.records / "begun" / "rank-0.rec.abcdefgh.new").write_bytes(bytes(4096))
    dead(node.records, "young", NOW + 3 * DAY - 60)
    for run in ("one", "two", "empty", "begun"):
        age(node.records / run, NOW)
        os.utime(node.records / run, (NOW, NOW))
    node.now = NOW + 3 * DAY
    collector = Runs(node.context)
    with caplog.at_level("INFO"):
        for _ in range(2):
            list(collector.collect())
    assert {path.name for path in node.records.iterdir()} - {"begun"} == {"empty", "young"}
    for path in paths:
        assert any(str(path) in record.getMessage() for record in caplog.records)


def test_a_run_of_which_stacks_are_left_is_no_stranger(tmp_path: Path) -> None:
    """Somebody removed its records alone; the others go on being cleared, and so do the stacks of a run with them."""
    node = world.World(tmp_path)
    node.records.mkdir()
    whole, bare = dead(node.records, "whole").parent, node.records / "bare"
    bare.mkdir()
    for directory, run in ((whole, "whole"), (bare, "bare")):
        os.close(stack_file.create(directory, run, "0", 1, child=False))
    age(node.records, NOW)
    node.now = NOW + 3 * DAY
    collector = Runs(node.context)
    for _ in range(2):
        list(collector.collect())
    assert not whole.exists()


def test_one_foreign_run_does_not_keep_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Results beside a run's records save that run alone."""
    node = world.World(tmp_path)
    node.records.mkdir()
    dead(node.records, "gone")
    kept = dead(node.records, "kept")
    (kept.parent / "best.pt").write_text("weights")
    age(node.records, NOW)
    node.now = NOW + 3 * DAY
    collector = Runs(node.context)
    for _ in range(2):
        list(collector.collect())
    assert sorted(path.name for path in kept.parent.iterdir()) == ["best.pt", "rank-0.rec"]
    assert [path.name for path in node.records.iterdir()] == ["kept"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{kept.parent} holds best.pt, which is none of its records: it is left as it is"
    ]


def test_a_record_directory_that_is_a_link_is_not_cleared(tmp_path: Path) -> None:
    """Whoever planted it does not choose what an exporter of root deletes."""
    elsewhere = tmp_path / "elsewhere"
    dead(elsewhere, "old")
    before = snapshot(elsewhere)
    node = world.World(tmp_path / "node", now=NOW + 3 * DAY)
    node.root.mkdir()
    node.records.symlink_to(elsewhere)
    collector = Runs(node.context)
    for _ in range(3):
        list(collector.collect())
    assert snapshot(elsewhere) == before


def test_not_every_cycle(tmp_path: Path) -> None:
    """It is looked for what to clear once in a while."""
    node = world.World(tmp_path)
    node.records.mkdir()
    (node.records / "note.txt").write_text("x")
    path = dead(node.records, "old")
    node.now = NOW + 3 * DAY
    collector = Runs(node.context)
    for _ in range(2):
        list(collector.collect())
    (node.records / "note.txt").unlink()
    list(collector.collect())
    assert path.exists()
    node.now += clearing.PERIOD
    list(collector.collect())
    assert not path.parent.exists()


def test_what_others_lay_beside_keeps_nobodys_own_runs(tmp_path: Path) -> None:
    """In the directory that everybody may write to: the own one in it is another directory."""
    node = world.World(tmp_path / "node")
    record = dead(node.records / f"yoloscope-{os.geteuid()}", "own")
    (node.records / "beside").write_text("by anybody")
    (node.records / "many").mkdir()
    for number in range(10):
        (node.records / "many" / str(number)).touch()
    age(tmp_path, NOW)
    collector = Runs(node.context)
    for cycle in range(3):
        node.now = NOW + 3 * DAY + cycle * 2 * clearing.PERIOD
        list(collector.collect())
    assert not record.parent.exists()


def test_more_entries_than_are_looked_at_are_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be anything."""
    monkeypatch.setattr(clearing, "MAX_ENTRIES", 3)
    node = world.World(tmp_path / "node")
    for number in range(4):
        dead(node.records, f"own-{number}")
    age(tmp_path, NOW)
    collector = Runs(node.context)
    for cycle in range(3):
        node.now = NOW + 3 * DAY + cycle * 2 * clearing.PERIOD
        list(collector.collect())
    assert len(list(node.records.iterdir())) == 4


def test_a_served_project_folder_stays_as_it_is(tmp_path: Path) -> None:
    """`YOLOSCOPE_DIR=~/proj yoloscope serve`."""
    project = tmp_path / "proj"
    long_ago = time.time() - 3 * DAY
    dead(project, "own", long_ago)
    for fill in (results, links, pipes):
        fill(project)
    age(tmp_path, long_ago)
    before = snapshot(tmp_path)
    with exporter(YOLOSCOPE_DIR=str(project)) as (child, url):
        begin = _snapshot_time(url)
        wait_for(lambda: _snapshot_time(url) > begin + 2)
        child.terminate()
        log = child.communicate(timeout=10)[1]
    assert snapshot(tmp_path) == before
    assert log.count("which is no run: nothing in it is cleared up") == 1


def test_a_served_record_directory_is_cleared(tmp_path: Path) -> None:
    """Each deletion has its line in the exporter's log."""
    with exporter(YOLOSCOPE_DIR=str(tmp_path)) as (child, _):  # what it says before its URL is read over
        path = dead(tmp_path, "own", time.time() - 3 * DAY)
        wait_for(lambda: not path.parent.exists())
        child.terminate()
        log = child.communicate(timeout=10)[1]
    assert re.search(rf"level=info.*removed the old record {path}", log)


def _snapshot_time(url: str) -> float:
    found = re.search(r"(?m)^yoloscope_snapshot_timestamp_seconds (\S+)$", get(f"{url}/metrics")[1])
    return float(found[1]) if found else 0.0
