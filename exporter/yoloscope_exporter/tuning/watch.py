"""What is seen of a probe while it trains: the rows of its records, and the signals of the diagnosis."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_record import paths
from yoloscope_record.file_format import RecordError
from yoloscope_record.reader import read_ring

from yoloscope_exporter import catalog
from yoloscope_exporter.config import defaults
from yoloscope_exporter.diagnosis import signals
from yoloscope_exporter.diagnosis.signals.view import state
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.registry import sampler_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yoloscope_record.file_format import Row

    from yoloscope_exporter.diagnosis.signals import Signals

#: Seconds between two samples of all collectors. Each costs some milliseconds of a CPU that the probe may need.
INTERVAL = 0.5
#: Not needed for a forecast; a probe that was killed is nothing to keep a post-mortem of.
_LEFT_OUT = frozenset({"network", "stacks", "diagnosis", "post_mortem"})


class Watch:
    """Samples this machine and the records below a directory, as an exporter does."""

    def __init__(self, records: Path) -> None:
        """`records` is YOLOSCOPE_DIR of the probes."""
        config = defaults()
        config = replace(config, path_records=records, sample_interval=INTERVAL, modules=config.modules - _LEFT_OUT)
        self._records, self._sampler = records, sampler_of(config)[0]
        self._store, self._due = Store(), 0.0

    def close(self) -> None:
        """Let go of what the collectors hold."""
        self._sampler.stop()

    def look(self) -> None:
        """Take a sample, if one is due."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + INTERVAL
            self._sampler.sample()
            snapshot = self._sampler.snapshot
            self._store.add(snapshot.time, (one for one in snapshot if one.metric.name in signals.METRICS))

    def rows(self, run: str) -> list[list[Row]]:
        """The batches of each rank of a run, by rank."""
        found = {}
        for path in paths.find_run(self._records, run).glob("rank-*.rec"):
            rank = path.stem.removeprefix("rank-")
            with suppress(RecordError):
                if rank.isdecimal():  # else it is a worker's
                    found[int(rank)] = read_ring(path)
        return [found[rank] for rank in sorted(found)]

    def signals(self, run: str, since: float) -> Signals | None:
        """The signals of rank 0 from the Unix time `since` on; None where it has no record yet."""
        window = Window(self._store, since, self._store.last, INTERVAL)
        found = signals.gather([(window, window)])
        return next((s for s in found if s.run == run and s.rank == "0"), None)

    def images_of_a_batch(self, run: str) -> float | None:
        """Of all ranks together; the last batch of an epoch may be smaller, so that it is a mean."""
        now = Window(self._store, 0.0, self._store.last, INTERVAL)
        images, batches = (now.current(one, run) for one in (catalog.TRAIN_IMAGES_TOTAL, catalog.TRAIN_BATCHES_TOTAL))
        return sum(images[key] / batches[key] for key in images if batches.get(key)) or None

    def stage(self, run: str) -> str:
        """What it is doing: a stage of the set-up, `train`; empty before its record is there."""
        now = Window(self._store, 0.0, self._store.last, INTERVAL)
        stages = now.current(catalog.TRAIN_SETUP_STAGE, run, "0")
        doing = state(now, run, "0")
        return next((labels[2] for labels, value in stages.items() if value), doing) if doing == "setup" else doing


def lasted(rows: Sequence[Row]) -> float:
    """Seconds from the first of them to the last."""
    return rows[-1].time - rows[0].time if rows else 0.0
