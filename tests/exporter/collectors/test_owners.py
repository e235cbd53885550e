"""Nobody's records take from others' what is theirs."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import owners, runs
from yoloscope_exporter.collectors.runs import Runs
from yoloscope_record import paths
from yoloscope_record.paths import run_directory
from yoloscope_record.reader import Reader

from tests.exporter import world
from tests.exporter.world import NOW
from tests.users import ALICE, MALLORY, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

UP, REFUSED = catalog.TRAIN_UP.name, catalog.RECORDS_REFUSED_TOTAL.name


def test_users_among_the_refusals_are_bounded() -> None:
    """However many there are, and whatever they do; the rest is counted together."""
    refused = owners.Refusals(lambda _: None)
    for owner in range(5_000_000, 5_000_100):
        refused("magic", owner)
    counts = {sample.labels: sample.value for sample in refused.samples()}
    assert len(counts) == owners.MAX_USERS + 1
    assert counts["magic", owners.OTHERS] == 100 - owners.MAX_USERS


def test_what_one_user_does_hides_no_other_refusal() -> None:
    """A thousand directories of one user's leave room to say what another one does."""
    refused = owners.Refusals(lambda _: None)
    said = [refused.once("unreadable", MALLORY, f"/{number}") for number in range(2 * owners.MAX_SAID)]
    assert sum(said) == owners.MAX_SAID
    assert refused.once("owner", ALICE, "/squatted")
    assert not refused.once("owner", ALICE, "/squatted")


SUBUID = f"""\
root:100000:65536
{MALLORY}:200000:65536
nobody-of-that-name:300000:65536
# a comment
broken:x:1
"""


def test_whose_a_subordinate_number_is(tmp_path: Path) -> None:
    """As newuidmap reads it; everybody else is oneself."""
    (tmp_path / "subuid").write_text(SUBUID)
    payer = owners.Payers(tmp_path / "subuid")
    assert payer(100_000) == 100_000  # not read yet
    payer.refresh()
    numbers = (0, 1000, 99_999, 100_000, 165_535, 165_536, 200_000, 265_535, 265_536, 300_000, 4_294_967_295)
    assert {number: payer(number) for number in numbers if payer(number) != number} == {
        100_000: 0,
        165_535: 0,
        200_000: MALLORY,
        265_535: MALLORY,
    }
    (tmp_path / "subuid").unlink()
    payer.refresh()
    assert payer(200_000) == 200_000


# --- with records ---------------------------------------------------------------------------------------------------


def of_user(node: world.World, uid: int, run: str, **options: object) -> Path:
    """A run of a user's; returns its directory."""
    base = node.records / f"yoloscope-{uid}"
    world.records(base, "0", run=run, **options)  # type: ignore[arg-type]
    folder = run_directory(base, run)
    for path in (base, folder, *folder.iterdir()):
        os.chown(path, uid, uid)
    return folder


def shown(collector: Runs) -> set[str]:
    """The runs that are."""
    return {sample.labels[0] for sample in collector.collect() if sample.metric.name == UP}


def refused(collector: Runs) -> dict[tuple[str, ...], float]:
    """Counts by reason and user."""
    return {sample.labels: sample.value for sample in collector.collect() if sample.metric.name == REFUSED}  # type: ignore[misc]


@needs_root
def test_many_runs_of_one_user_leave_the_others_theirs(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known or new, whoever came first: each has a turn."""
    monkeypatch.setattr(runs, "MAX_RUNS", 6)
    collector = Runs(node.context)
    for number in range(10):
        of_user(node, MALLORY, f"many-{number}")
    assert len(shown(collector)) == 6
    of_user(node, ALICE, "mine")
    assert "mine" in shown(collector)
    assert not refused(collector)  # those that are over make room: nothing that anybody has to mend


def test_what_cannot_be_read_hides_no_later_training(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same user, too: empty records come after those with something in them."""
    monkeypatch.setattr(runs, "MAX_RUNS", 4)
    collector = Runs(node.context)
    for number in range(8):
        (node.records / f"empty-{number}").mkdir()
        (node.records / f"empty-{number}" / "rank-0.rec").touch()
    assert shown(collector) == set()
    world.records(node.records, "0", run="later", ended=NOW - 50_000)
    os.utime(node.records / "later", (NOW - 90_000, NOW - 90_000))
    node.config = dataclasses.replace(node.config, runs_keep=1e9, runs_remove_after=1e9)
    seen = [shown(collector) for _ in range(4)]
    assert seen[-1] == {"later"}


@needs_root
def test_a_user_with_thousands_of_numbers_is_one(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rootless containers give them: each would be an owner with an equal part."""
    monkeypatch.setattr(runs, "MAX_RUNS", 6)
    (node.root / "node/etc").mkdir(parents=True)
    (node.root / "node/etc/subuid").write_text(SUBUID)
    node.config = dataclasses.replace(node.config, path_rootfs=node.root / "node")
    for number in range(12):
        of_user(node, 200_000 + number, f"many-{number}")
    for number in range(3):
        folder = of_user(node, ALICE, f"mine-{number}")
        os.utime(folder, (NOW - 100, NOW - 100))
    found = shown(Runs(node.context))
    assert {f"mine-{number}" for number in range(3)} < found
    assert len(found) == 6


@needs_root
def test_a_new_user_among_thousands_of_entries(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a process here is looked for by name, however many names others have laid beside."""
    monkeypatch.setattr(paths, "MAX_ENTRIES", 50)
    collector = Runs(node.context)
    for number in range(200):
        (node.records / f"yoloscope-{70_000 + number}").mkdir(parents=True)
        (node.records / f"entry-{number}").mkdir()
    squatted = of_user(node, ALICE, "mine").parent
    squatted.rename(node.records / f"yoloscope-{ALICE}-2")
    squatted.mkdir()
    os.chown(squatted, MALLORY, MALLORY)
    process = node.procfs / "4711"
    process.mkdir(parents=True)
    os.chown(process, ALICE, ALICE)
    assert shown(collector) == {"mine"}


_LIVE = """
import sys, time
from pathlib import Path
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
def alive(run):
    made = Writer(Path(sys.argv[1]) / run / "rank-0.rec", Identity(run), slots=8, ring=0)
    made.begin(); made.set_state("train"); made.end(time.time())
    return made
made = [alive(run) for run in sys.argv[2:]]
print("ready", flush=True)
time.sleep(60)
"""


@contextmanager
def living(node: world.World, *runs: str) -> Iterator[None]:
    """A process that writes these runs."""
    command = [sys.executable, "-c", _LIVE, str(node.records), *runs]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()


def test_a_living_run_is_not_crowded_out_by_new_ones(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same user, and whatever the times of the directories say."""
    monkeypatch.setattr(runs, "MAX_RUNS", 2)
    collector = Runs(node.context)
    with living(node, "alive"):
        assert shown(collector) == {"alive"}
        os.utime(node.records / "alive", (1, 1))
        for number in range(5):
            world.records(node.records, "0", run=f"dead-{number}", ended=NOW)
            assert "alive" in shown(collector)
        assert not refused(collector)


def test_living_runs_for_which_there_is_no_room_are_counted(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in each cycle, as long as others live before them."""
    monkeypatch.setattr(runs, "MAX_RUNS", 2)
    collector = Runs(node.context)
    with living(node, "one", "two", "three"):
        assert len(shown(collector)) == 2
        assert [(reason, count) for (reason, _), count in refused(collector).items()] == [("runs", 1)]
    shown(collector)
    before = refused(collector)
    assert refused(collector) == before  # they have ended


@needs_root
def test_series_are_shared_out(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants little has it, whoever wants much."""
    folders = [of_user(node, MALLORY, f"big-{number}") for number in range(4)]
    of_user(node, ALICE, "small")
    of_a_run = sum(Reader(path).read().series for path in folders[0].iterdir()) + runs.RANK_SERIES
    monkeypatch.setattr(runs, "MAX_ALL_SERIES", 3 * of_a_run)
    collector = Runs(node.context)
    found = shown(collector)
    assert "small" in found
    assert len(found) == 3
    assert refused(collector)["series", str(MALLORY)] > 0


@needs_root
def test_time_is_shared_out(node: world.World) -> None:
    """Who takes long comes after the others, keeps the last that was read for a while, and is counted."""
    for number in range(8):
        of_user(node, MALLORY, f"slow-{number}")
    for number in range(3):
        of_user(node, ALICE, f"quick-{number}")
    ticks = itertools.count()
    context = dataclasses.replace(node.context, clock=lambda: next(ticks) * 0.0009)
    collector = Runs(context)
    quick = {f"quick-{number}" for number in range(3)}
    rounds = [shown(collector) for _ in range(12)]
    assert all(quick <= found for found in rounds[1:])
    assert set.union(*rounds) == quick | {f"slow-{number}" for number in range(8)}  # each has a turn
    assert refused(collector)["time", str(MALLORY)] > 0
    assert ("time", str(ALICE)) not in refused(collector) or refused(collector)["time", str(ALICE)] <= 3


def test_refused_files_are_read_again_only_when_they_change(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By inode and time of change, which their owner cannot set."""
    read = []
    usual = Reader.read

    def counted(reader: Reader, *arguments: object, **options: object) -> object:
        read.append(reader.path.parent.name)
        return usual(reader, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Reader, "read", counted)
    world.records(node.records, "0", run="good", ended=NOW)
    bad = node.records / "bad"
    bad.mkdir()
    (bad / "rank-0.rec").write_bytes(b"rubbish" * 100)
    collector = Runs(node.context)
    for _ in range(5):
        assert shown(collector) == {"good"}
    assert read.count("bad") == 1
    (bad / "rank-0.rec").write_bytes(b"rubbish" * 101)
    for _ in range(5):
        shown(collector)
    assert read.count("bad") == 2


def test_what_is_busy_comes_after_the_others(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried once, and with patience when everybody else has had a turn."""
    order = []
    usual = Reader.read

    def busy(reader: Reader, inode: int = 0, *, attempts: int = 5, **options: object) -> object:
        order.append((reader.path.parent.name, attempts))
        if reader.path.parent.name == "busy" and attempts == 1:
            raise runs.RecordError("busy", "it changes")
        return usual(reader, inode, attempts=attempts, **options)  # type: ignore[arg-type]

    for run in ("busy", "quiet"):
        world.records(node.records, "0", run=run, ended=NOW)
    monkeypatch.setattr(Reader, "read", busy)
    assert shown(Runs(node.context)) == {"busy", "quiet"}
    first = order.index(("busy", 5))
    assert all(attempts == 1 for _, attempts in order[:first])
    assert {run for run, _ in order[:first]} == {"busy", "quiet"}, order
