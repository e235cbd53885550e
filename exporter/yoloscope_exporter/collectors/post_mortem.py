"""What is left of trainings that died is copied to where a reboot does not take it: beside the run's results.

A rank that failed has written its end there itself, if it could; of one that was killed nobody else will. The cause
that the diagnosis has told goes along. A user's folder is written to by the same user or root only, and only where the
hooks have made it; `--keep-post-mortem DIR` is for all others. A file system that does not answer stops this collector
only.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_record import keeping
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.paths import run_directory
from yoloscope_record.reader import Reader

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_record.reader import Record

    from yoloscope_exporter.collectors import Context

NAME = "post_mortem"
#: How long the diagnosis is waited for, which holds a verdict back until it is sure.
PATIENCE_SECONDS = 30.0
AT_ONCE = 4  # ranks in a cycle
KEPT, REFUSED = "kept", "refused"
UNKNOWN = "unknown"  # the diagnosis may know more a little later
_DEAD = ("failed", "killed")

_log = logging.getLogger(__name__)


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the slow group, which looks once more when the exporter ends."""
    one = PostMortems(context)
    return [Collector(NAME, one.collect, one.close, SLOW)]


@dataclass
class PostMortems:
    """Copies each dead rank's record once."""

    context: Context
    _counts: Counter[str] = field(default_factory=Counter)  # by result
    _seen: dict[tuple[str, str], float] = field(default_factory=dict)  # when, by the monotonic clock
    _done: set[tuple[str, str]] = field(default_factory=set)

    def collect(self) -> Iterator[Sample]:
        """Copy what is due; how often that was done, and could not be done."""
        dead, causes = self._told()
        now = self.context.clock()
        self._seen = {who: self._seen.get(who, now) for who in dead}
        self._done &= dead
        due = [who for who in sorted(dead - self._done) if who in causes or now - self._seen[who] >= PATIENCE_SECONDS]
        for who in due[:AT_ONCE]:
            self._keep(who, causes.get(who, {}))
        for result, count in self._counts.items():
            yield Sample(catalog.TRAIN_POST_MORTEMS_TOTAL, (result,), float(count))

    def close(self) -> None:
        """Copy what is left to do, whatever is known of it."""
        dead, causes = self._told()
        for who in sorted(dead - self._done)[:AT_ONCE]:
            self._keep(who, causes.get(who, {}))

    def _told(self) -> tuple[set[tuple[str, str]], dict[tuple[str, str], Mapping[str, str]]]:
        """The dead ranks by the last cycle, and what was told of them."""
        dead: set[tuple[str, str]] = set()
        causes: dict[tuple[str, str], Mapping[str, str]] = {}
        for metric, labels, value in self.context.latest():
            if metric is catalog.TRAIN_STATE and value == 1.0 and labels[2] in _DEAD:
                dead.add((labels[0], labels[1]))
            elif metric is catalog.TRAIN_VERDICT_CAUSE_INFO:
                name = labels[3].partition(":")[0]
                if re.fullmatch("[a-z_]+", name) and name != UNKNOWN:
                    words = {"exception_message": labels[4]} if labels[2] == "killed" else {}
                    causes[labels[0], labels[1]] = {"cause": name, **words}
        return dead, causes

    def _keep(self, who: tuple[str, str], told: Mapping[str, str]) -> None:
        self._done.add(who)
        path = run_directory(self.context.records, who[0]) / Identity(*who).filename
        try:
            record = Reader(path).read()
            if record.alive or record.identity != Identity(*who):
                return
            if self._copied(path, record, told):
                self._counts[KEPT] += 1
        except (OSError, RecordError) as error:
            self._counts[REFUSED] += 1
            _log.info("the end of %s, rank %s, is not kept: %s", *who, error)

    def _copied(self, path: Path, record: Record, told: Mapping[str, str]) -> bool:
        """Copy to the run's own folder, or where that is not to be had to the exporter's; False if it is there already.

        Raises:
            OSError, RecordError: neither is possible.
        """
        own = keeping.place_of(record.facts)
        configured = self.context.config().keep_post_mortem
        if keeping.is_off(str(configured or "")):
            return False
        try:
            if own is None or os.geteuid() not in (0, record.uid):
                raise PermissionError(1, f"may not write to {own or 'a folder of the run'} as this user")
            return keeping.keep(path, record, own, told, record.uid)
        except (OSError, RecordError):
            if configured is None:
                raise
            base = Path(configured).absolute()
            keeping.make(base, record.identity.run)
            return keeping.keep(path, record, base, told, os.geteuid())
