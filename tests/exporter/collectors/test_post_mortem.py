"""When the end of a rank is kept, and when again: the diagnosis may learn more soon after a death."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Context, post_mortem
from yoloscope_exporter.collectors.post_mortem import LATER_SECONDS, PostMortems
from yoloscope_record import keeping, paths
from yoloscope_record.file_format import RecordError
from yoloscope_record.reader import Reader

from tests.exporter import world
from tests.training import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RUN = "train7"
_DIES = """
import sys
from pathlib import Path
from yoloscope_record import keeping, paths
from yoloscope_record.file_format import RecordError
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
writer = Writer(paths.run_directory(Path(sys.argv[1]), "train7") / "rank-0.rec", Identity("train7"), {"model": "m"})
writer.begin(); writer.set_state("train"); writer.append((1.0,) * 8); writer.count(); writer.end(1_790_000_000.0)
"""


class Watched:
    """The collector beside a dead rank, with what the diagnosis tells of it."""

    def __init__(self, base: Path) -> None:
        """Nothing is told yet."""
        self.node = world.World(base)
        self.node.config = replace(self.node.config, keep_post_mortem=base / "ends")
        self.told: list[Sample] = []
        command = [sys.executable, "-c", _DIES, str(self.node.records)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT / "trainer_hooks")}, check=True, timeout=30)
        self.kept = paths.run_directory(base / "ends" / f"yoloscope-{os.getuid()}", RUN) / "rank-0.rec"
        self.one = self.start()

    def start(self) -> PostMortems:
        """Another exporter."""
        return PostMortems(replace(self.node.context, latest=lambda: self.told))

    def tell(self, cause: str, after: float) -> str:
        """The kept cause, when one is told so many seconds later."""
        self.node.now += after
        dead = Sample(catalog.TRAIN_STATE, (RUN, "0", "killed"), 1.0)
        labels = (RUN, "0", "killed", f"{cause}: so it is", "seen")
        self.told = [dead, Sample(catalog.TRAIN_VERDICT_CAUSE_INFO, labels, 1.0)]
        list(self.one.collect())
        return Reader(self.kept).read().facts.get("cause", "")


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_what_is_told_later_takes_the_place_of_the_first_cause(watched: Watched) -> None:
    """The driver takes half a minute; it is kept at once all the same, and counts as one."""
    assert watched.tell("terminated", 0.0) == "terminated"
    assert watched.tell("gpu_lost", 30.0) == "gpu_lost"
    assert [sample.value for sample in watched.one.collect()] == [1.0]


def test_long_after_a_death_nothing_is_corrected(watched: Watched) -> None:
    """Nor by an exporter that was not there: it has seen less."""
    assert watched.tell("terminated", 0.0) == "terminated"
    assert watched.tell("slurm_requeued", LATER_SECONDS) == "terminated"
    watched.one = watched.start()
    assert watched.tell("scheduler", 1.0) == "terminated"
    assert watched.tell("gpu_lost", 1.0) == "terminated"


def test_what_has_no_room_is_kept_when_there_is_some(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused once, and tried again: the record lies in memory for a while."""

    def full(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(keeping, "keep", full)
        for _ in range(3):
            with pytest.raises(RecordError):
                watched.tell("terminated", 10.0)
    assert watched.tell("terminated", 10.0) == "terminated"
    counts = {sample.labels: sample.value for sample in watched.one.collect()}
    assert counts == {("refused",): 1.0, ("kept",): 1.0}


def test_a_link_in_place_of_the_runs_directory(watched: Watched) -> None:
    """It may lead to another user's: what is told here is not of that run."""
    place = paths.run_directory(watched.node.records, RUN)
    place.rename(place.with_name("elsewhere"))
    place.symlink_to(place.with_name("elsewhere"))
    with pytest.raises(RecordError, match="missing"):
        watched.tell("terminated", 0.0)
    assert {sample.labels: sample.value for sample in watched.one.collect()} == {("refused",): 1.0}


def test_what_is_kept_of_a_user_has_room(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies a thousand times, with records of megabytes."""
    asked = []
    monkeypatch.setattr(post_mortem.keeping, "make", lambda base, run, *room: asked.append((base.name, run, *room)))
    with pytest.raises(RecordError):
        watched.tell("terminated", 0.0)
    assert asked[-1] == (f"yoloscope-{os.getuid()}", RUN, post_mortem.MAX_BYTES)


def test_each_user_has_a_turn(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies by the hundred, by names that come first."""
    owners = {"zz-mine": 1, **{f"!{number}": 2 for number in range(10)}}
    monkeypatch.setattr(Context, "owner", lambda _, run: owners[run])
    first = watched.one._first([(run, rank) for run in owners for rank in ("0", "1")])
    assert len(first) == post_mortem.AT_ONCE
    assert {("zz-mine", "0"), ("zz-mine", "1")} < set(first)
