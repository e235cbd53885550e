"""The processes of a soak: an exporter whose cycles follow each other at once, and trainings that keep its pace.

    python -m tests.faults.accelerated exporter FOLDER

They share a clock that the exporter's cycles move. Nothing of the tests is imported here: the exporter's memory is
measured.
"""

from __future__ import annotations

import mmap
import os
import random
import struct
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

RUNS = 4
LIFE = (60, 180)  # cycles of a run
ENDS = ("finished", "failed", "killed")
MESSAGES_EVERY, CENSUS_EVERY = 1.0, 2.0  # real seconds
#: The variable with which the exporter notes where its memory is.
CENSUS = "YOLOSCOPE_SOAK_CENSUS"


class Clock:
    """Seconds that pass when somebody says so: a cycle each. In a file that processes map."""

    def __init__(self, path: Path) -> None:
        """Map the file; made by the first."""
        if not path.exists():
            path.write_bytes(struct.pack("=dd", 0.0, time.time()))
        with path.open("r+b") as file:
            self._memory = memoryview(mmap.mmap(file.fileno(), 16)).cast("d")

    @property
    def ticks(self) -> int:
        """Seconds so far."""
        return int(self._memory[0])

    def tick(self) -> None:
        """A second passes."""
        self._memory[0] += 1

    def wall(self) -> float:
        """Unix time."""
        return self._memory[1] + self._memory[0]

    def monotonic(self) -> float:
        """Since some moment."""
        return 1000.0 + self._memory[0]


def exporter(folder: Path) -> None:
    """`yoloscope serve` whose cycles follow each other at once."""
    from yoloscope_exporter import cli, registry  # noqa: PLC0415 - this process alone changes it
    from yoloscope_exporter.sampling import sampler, sources  # noqa: PLC0415
    from yoloscope_exporter.web import api  # noqa: PLC0415

    clock = Clock(folder / "clock")

    def pause(_now: float, _interval: float) -> float:
        clock.tick()
        return 0.0

    registry.Sampler = partial(  # type: ignore[misc, assignment]
        sampler.Sampler, clock=clock.monotonic, wall=clock.wall
    )
    sources.time = SimpleNamespace(monotonic=clock.monotonic, time=clock.wall)  # type: ignore[assignment]
    sampler.pause = pause
    sampler.PATIENCE = 60.0  # type: ignore[misc] # a cycle waits for all, for its clock stands still meanwhile
    api.EVERY_SECONDS = MESSAGES_EVERY  # type: ignore[misc]
    if CENSUS in os.environ:
        from tests.faults import memory  # noqa: PLC0415

        memory.keep(folder / "census", lambda: clock.ticks, CENSUS_EVERY)
    cli.main(["serve", "--web.listen-address=127.0.0.1:0", f"--config.file={folder / 'config.yml'}"])


def trainings(folder: Path) -> None:
    """Runs that begin, write a batch in each cycle, and end in every way, until the parent has gone."""
    from yoloscope_record import catalog, paths, writer  # noqa: PLC0415 - this process alone changes it
    from yoloscope_record.file_format import Identity  # noqa: PLC0415

    from tests.benchmarks.fleet import rank_series  # noqa: PLC0415

    clock, parent, dice = Clock(folder / "clock"), os.getppid(), random.Random(0)
    writer.time = SimpleNamespace(time=clock.wall)  # type: ignore[assignment]
    own = paths.make_own(paths.make_directory(paths.directory()))
    numbers, living, ticks = count(), list[tuple[int, int, writer.Writer, list[int], list[int], int]](), -1
    while os.getppid() == parent:
        if clock.ticks == ticks:
            time.sleep(0.001)
            continue
        ticks = clock.ticks
        while len(living) < RUNS:
            number = next(numbers)
            who = Identity(f"soak-{number}")
            facts = {"model": "yolo11n.yaml", "gpu": str(number % 2)}
            made = writer.Writer(paths.run_directory(own, who.run) / who.filename, who, facts, ring=64)
            slots, first = rank_series(made, (who.run, who.rank))
            last = made.slot(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, who.run, who.rank)
            living.append((number, ticks + dice.randint(*LIFE), made, slots, first, last))
        for number, end, made, slots, first, last in living:
            made.begin()
            made.set_state("train" if ticks < end else ("train", *ENDS[:2])[number % 3])
            for slot in slots:
                made.values[slot] = made.values[slot] + 1.0 if made.values[slot] >= 0 else 0.0
            for histogram in first:
                made.observe(histogram, catalog.STEP_BUCKETS, dice.random())
            made.values[last] = clock.wall()
            made.end(clock.wall())
            if ticks >= end:
                made.close()
        living = [one for one in living if ticks < one[1]]
        (folder / "runs.new").write_text(str(number), encoding="ascii")
        (folder / "runs.new").replace(folder / "runs")


if __name__ == "__main__":
    {"exporter": exporter, "trainings": trainings}[sys.argv[1]](Path(sys.argv[2]))
