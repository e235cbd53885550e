"""Whose a run is: the owner of its files says, and nobody else can say anything about it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import ActiveRanks
from yoloscope_exporter.collectors.runs import Runs
from yoloscope_record import paths
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer

from tests.exporter import world
from tests.users import ALICE, MALLORY, living_as, needs_root, run_as, shared

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["shared"]
pytestmark = needs_root


class Exporter:
    """A collector of root's over the directory, with the real /proc."""

    def __init__(self, base: Path, tmp_path: Path) -> None:
        self.ranks = ActiveRanks()
        context = world.replace_trainers(world.World(tmp_path).context, self.ranks)
        self.collector = Runs(replace(context, records=base, procfs=Path("/proc"), wall=time.time))

    def look(self) -> Mapping[tuple[str, ...], float]:
        """Values of one cycle by metric and labels."""
        return {(one.metric.name, *one.labels): one.value for one in self.collector.collect()}

    def alive(self) -> dict[str, bool]:
        """The runs that are shown, and whether their rank 0 lives."""
        up = catalog.TRAIN_UP.name
        return {key[1]: bool(value) for key, value in self.look().items() if key[0] == up and key[2] == "0"}

    def refused(self) -> set[tuple[str, ...]]:
        """Reasons and users."""
        return {key[1:] for key in self.look() if key[0] == catalog.RECORDS_REFUSED_TOTAL.name}


@pytest.fixture
def exporter(shared: Path, tmp_path: Path) -> Exporter:
    """Of root."""
    return Exporter(shared, tmp_path)


def test_two_users_may_call_their_runs_the_same(shared: Path, exporter: Exporter) -> None:
    """The first keeps the name, the other has its number as well; each has its own process and its own values."""
    with living_as(ALICE, shared, "made = record('exp', 'train')") as one:
        assert exporter.alive() == {"exp": True}
        with living_as(MALLORY, shared, "made = record('exp', 'validate')") as other:
            values = exporter.look()
            assert values[catalog.TRAIN_STATE.name, "exp", "0", "train"] == 1
            assert values[catalog.TRAIN_STATE.name, f"exp@{MALLORY}", "0", "validate"] == 1
            assert {rank.run: pid for pid, rank in exporter.ranks().items()} == {
                "exp": one.pid,
                f"exp@{MALLORY}": other.pid,
            }
            assert paths.find_run(shared, f"exp@{MALLORY}").parent.name == f"yoloscope-{MALLORY}"
            one.kill()
            one.wait()
            assert exporter.alive() == {"exp": False, f"exp@{MALLORY}": True}  # and so it stays


def test_after_a_restart_the_older_process_has_the_name(shared: Path, tmp_path: Path) -> None:
    """Whatever the records say of their beginnings."""
    with living_as(ALICE, shared, "made = record('exp')"):
        time.sleep(0.05)
        old = "made = record('exp'); made._f64[9] = 1.0; made.begin(); made.end(time.time())"
        with living_as(MALLORY, shared, old):
            exporter = Exporter(shared, tmp_path)
            assert exporter.alive() == {"exp": True, f"exp@{MALLORY}": True}


def test_a_name_does_not_make_an_owner(shared: Path, exporter: Exporter) -> None:
    """Who calls a run as an exporter calls somebody's has the own number behind it."""
    with living_as(MALLORY, shared, f"made = record('exp@{ALICE}')"):
        assert exporter.alive() == {f"exp@{ALICE}@{MALLORY}": True}


@pytest.mark.parametrize("name", ["exp\ufe0f", "\u3164exp", "exp ", " exp", "a  b", "exp\u034f1", "e\u2800xp"])
def test_a_name_that_looks_like_another_has_its_owner_beside_it(shared: Path, exporter: Exporter, name: str) -> None:
    """Nobody sees a variation selector, a filler, or a blank at the end."""
    with living_as(MALLORY, shared, f"made = record({name!r})"):
        assert exporter.alive() == {f"{name}@{MALLORY}": True}


def test_letters_of_any_language_are_no_reason_to_add_an_owner(shared: Path, exporter: Exporter) -> None:
    """Combining ones, too."""
    names = ["训练/实验 1", "प्रशिक्षण", "e\u0301tude", "a b", "🔥"]
    with living_as(ALICE, shared, f"made = [record(name) for name in {names!r}]"):
        assert exporter.alive() == dict.fromkeys(names, True)


def test_ranks_on_several_nodes_are_joined_by_owner(shared: Path, exporter: Exporter) -> None:
    """An honest run and a fake one have other labels, on whichever nodes they are."""
    code = "made = record('exp', rank={!r}, facts={{'nodes': 'several'}})"
    with living_as(ALICE, shared, code.format("0")), living_as(MALLORY, shared, code.format("0")):
        assert exporter.alive() == {f"exp@{ALICE}": True, f"exp@{MALLORY}": True}


def test_a_squatted_directory_gets_a_suffix(shared: Path, exporter: Exporter) -> None:
    """The victim is shown, what the squatter lays into the victim's name is not, and is told of."""
    code = f"""
squatted = base / "yoloscope-{ALICE}"
squatted.mkdir()
paths.make_own = lambda base: squatted
made = record("forged")
"""
    with living_as(MALLORY, shared, code), living_as(ALICE, shared, "made = record('honest')"):
        assert (shared / f"yoloscope-{ALICE}-2").is_dir()
        assert exporter.alive() == {"honest": True}
        assert exporter.refused() == {("owner", str(MALLORY))}


def test_all_names_of_a_user_squatted(shared: Path, exporter: Exporter) -> None:
    """The training is recorded and shown all the same, the next one in the same place, and its workers find it."""
    run_as(MALLORY, shared, f"[path.mkdir() for path in paths._names(base, {ALICE})]")
    with living_as(ALICE, shared, "made = record('exp', 'train')"):
        assert exporter.alive() == {"exp": True}
    with living_as(ALICE, shared, "made = record('next', 'train')\nassert made.path.parent.parent in paths.own(base)"):
        assert exporter.alive() == {"exp": False, "next": True}
    assert sum(one.stat().st_uid == ALICE for one in shared.iterdir()) == 1


@pytest.mark.parametrize("kind", ["LOCK_SH", "F_OFD_SETLK"])
def test_a_read_lock_keeps_nobody_alive(shared: Path, exporter: Exporter, kind: str) -> None:
    """Any user can take one of a file that everybody may read."""
    with living_as(ALICE, shared, "made = record('exp')") as victim:
        assert exporter.alive() == {"exp": True}
        victim.kill()
        victim.wait()
    lock = {
        "LOCK_SH": "fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "F_OFD_SETLK": "fcntl.fcntl(file, 37, struct.pack('=hhxxxxqqixxxx', fcntl.F_RDLCK, 0, 0, 0, 0))",
    }[kind]
    code = f"file = os.open(base / 'yoloscope-{ALICE}' / 'exp' / 'rank-0.rec', os.O_RDONLY)\n{lock}"
    with living_as(MALLORY, shared, code):
        assert exporter.alive() == {"exp": False}
        assert exporter.ranks() == {}


def test_another_users_process_is_no_trainer(shared: Path, exporter: Exporter) -> None:
    """A lock outlives `exec`, and a descriptor can be handed over: a run lives by its owner's processes alone."""
    run_as(ALICE, shared, "record('exp').close()")
    path = shared / f"yoloscope-{ALICE}" / "exp" / "rank-0.rec"
    with living_as(0, shared, f"file = os.open({str(path)!r}, os.O_RDWR)\nlocks.take(file)"):
        assert exporter.alive() == {"exp": False}
        assert ("holder", str(ALICE)) in exporter.refused()


def test_racing_for_the_lock(shared: Path, exporter: Exporter) -> None:
    """Nobody can have a file open before its writer has locked it: twenty starts, twenty records."""
    race = f"""
import threading
def grab():
    while True:
        for path in glob.glob(str(base / "yoloscope-{ALICE}" / "*" / "*")):
            try:
                file = os.open(path, os.O_RDONLY)
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                pass
threading.Thread(target=grab, daemon=True).start()
"""
    starts = "kept = [record(f'run-{number}', slots=16, ring=0) for number in range(20)]"
    with living_as(MALLORY, shared, race), living_as(ALICE, shared, starts):
        assert exporter.alive() == {f"run-{number}": True for number in range(20)}


def test_stacks_survive_a_read_lock_on_what_was_there(shared: Path) -> None:
    """The file of a process that has ended is made anew, whoever has it open."""
    make = "paths.make_own(base).joinpath('exp').mkdir(exist_ok=True)\n"
    create = f"{make}file = stack_file.create(base / f'yoloscope-{{uid}}' / 'exp', 'exp', '0', 1, child=False)"
    run_as(ALICE, shared, create)
    path = shared / f"yoloscope-{ALICE}" / "exp" / "rank-0.stacks"
    hold = f"file = os.open({str(path)!r}, os.O_RDONLY)\nfcntl.lockf(file, fcntl.LOCK_SH)"
    with living_as(MALLORY, shared, hold):
        assert run_as(ALICE, shared, f"{create}\nprint(path_is := locks.is_own({str(path)!r}))") == "True\n"


def test_a_record_of_another_user_in_ones_own_directory(shared: Path, exporter: Exporter) -> None:
    """Put there by root, or by a hard link: it is refused, and counted as the directory's owner's."""
    run_as(ALICE, shared, "record('exp').close()")
    os.chown(shared / f"yoloscope-{ALICE}" / "exp" / "rank-0.rec", MALLORY, MALLORY)
    assert exporter.alive() == {}
    assert ("owner", str(ALICE)) in exporter.refused()


def test_records_of_version_0_1_are_read(shared: Path, exporter: Exporter) -> None:
    """Their directories lie beside the users'; the owner is the directory's."""
    path = shared / "old" / Identity("old").filename
    Writer(path, Identity("old"), slots=8, ring=0).close()
    assert exporter.alive() == {"old": False}
    assert paths.find_run(shared, "old") == path.parent


def test_a_umask_that_hides_a_training_is_said(shared: Path) -> None:
    """By the training itself, and by an exporter that may not look."""
    hidden = "os.umask(0o077)\ntrainer = Trainer(); made = opening.open_for(trainer)\nready()"
    said = run_as(ALICE, shared, f"logging.basicConfig()\n{hidden}")
    assert f"others may not read {shared}/yoloscope-{ALICE}: umask 022" in said
    look = "refused = []\nlist(paths.run_directories(base, (), lambda *what: refused.append(what)))\nprint(refused)"
    assert run_as(MALLORY, shared, look) == f"[('unreadable', {ALICE}, '{shared}/yoloscope-{ALICE}')]\n"


def test_nothing_is_said_of_the_usual_umask(shared: Path) -> None:
    """And the directories are open to all for reading, and to nobody else for writing."""
    assert run_as(ALICE, shared, "logging.basicConfig()\ntrainer = Trainer(); made = opening.open_for(trainer)") == ""
    (own,) = shared.iterdir()
    (run,) = own.iterdir()
    assert {path.stat().st_mode & 0o7777 for path in (own, run)} == {0o755}


def test_a_worker_looks_at_its_own_users_records_alone(shared: Path) -> None:
    """Two thousand of somebody else cost it nothing."""
    for number in range(300):
        folder = shared / f"yoloscope-{MALLORY}" / f"run-{number}"
        folder.mkdir(parents=True)
        (folder / "rank-0.rec").write_bytes(b"x" * 300)
    looked = """
seen = []
usual = reader.open_record
def counted(path, directory=None):
    seen.append(path)
    return usual(path, directory)
reader.open_record = counted
trainer = Trainer(); made = opening.open_for(trainer)
seen.clear()
child = os.fork()
if not child:
    found = workers._trainers_record()
    print(len(seen), found[1].rank, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    assert run_as(ALICE, shared, looked) == "1 0\n"
