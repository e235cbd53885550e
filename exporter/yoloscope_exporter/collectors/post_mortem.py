"""What is left of trainings that died is copied to where a reboot does not take it: beside the run's results.

A rank that failed has written its end there itself, if it could; of one that was killed nobody else will. The cause
that the diagnosis has told goes along. A user's folder is written to by the same user or root only, and only where the
hooks have made it; `--keep-post-mortem DIR` is for all others. A file system that does not answer stops this collector
only.
"""

from __future__ import annotations

import logging
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_record import keeping
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.system import os
from yoloscope_record.writer import NO_ROOM

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from yoloscope_record.reader import Record

    from yoloscope_exporter.collectors import Context

NAME = "post_mortem"
#: How long the diagnosis is waited for, which holds a verdict back until it is sure.
PATIENCE_SECONDS = 30.0
#: How long after a cause was first told a better one may come: what the driver says takes half a minute, the diagnosis
#: and this slow group some seconds more.
LATER_SECONDS = 60.0
AT_ONCE = 4  # ranks in a cycle
MAX_BYTES = 256 << 20  # of what is kept of one user in the exporter's directory; a rank has some 400 kB
KEPT, REFUSED = "kept", "refused"
UNKNOWN = "unknown"  # the diagnosis may know more a little later

_log = logging.getLogger(__name__)


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the slow group, which looks once more when the exporter ends."""
    one = PostMortems(context)
    return [Collector(NAME, one.collect, one.close, SLOW)]


@dataclass
class PostMortems:
    """Copies each dead rank's record once, and again if another cause is told soon; later, if there was no room."""

    context: Context
    _counts: Counter[str] = field(default_factory=Counter)  # by result
    _seen: dict[tuple[str, str], float] = field(default_factory=dict)  # when, by the monotonic clock
    _done: dict[tuple[str, str], str] = field(default_factory=dict)  # with the cause that was told then
    _own: set[tuple[str, str]] = field(default_factory=set)  # those that this exporter has written
    _roomless: set[tuple[str, str]] = field(default_factory=set)  # those for which a disk had no room; counted once

    def collect(self) -> Iterator[Sample]:
        """Copy what is due; how often that was done, and could not be done."""
        dead, causes = self._told()
        now = self.context.clock()
        self._seen = {who: self._seen.get(who, now) for who in dead}
        self._done = {who: cause for who, cause in self._done.items() if who in dead}
        self._own &= dead
        self._roomless &= dead
        waited = {who for who in dead if who in causes or now - self._seen[who] >= PATIENCE_SECONDS}
        due = (waited - self._done.keys()) | self._corrected(causes)
        for who in self._first(due):
            self._keep(who, causes.get(who, {}))
        for result, count in self._counts.items():
            yield Sample(catalog.TRAIN_POST_MORTEMS_TOTAL, (result,), float(count))

    def close(self) -> None:
        """Copy what is left to do, whatever is known of it."""
        dead, causes = self._told()
        for who in self._first((dead - self._done.keys()) | self._corrected(causes)):
            self._keep(who, causes.get(who, {}))

    def _first(self, due: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those that come first, of each user: there is no time for all at once."""
        ranks = sorted(due, key=lambda who: (who in self._roomless, who))
        place = {run: number for number, run in enumerate(self.context.in_turn(dict.fromkeys(run for run, _ in ranks)))}
        return sorted(ranks, key=lambda who: (who in self._roomless, place[who[0]]))[:AT_ONCE]

    def _corrected(self, causes: Mapping[tuple[str, str], Mapping[str, str]]) -> set[tuple[str, str]]:
        """Ranks that are done with another cause: the diagnosis replaces one by a more particular one only."""
        recent = {who for who, since in self._seen.items() if self.context.clock() - since < LATER_SECONDS}
        return {who for who in recent & self._done.keys() & causes.keys() if self._done[who] != causes[who]["cause"]}

    def _told(self) -> tuple[set[tuple[str, str]], dict[tuple[str, str], Mapping[str, str]]]:
        """The dead ranks by the last cycle, and what was told of them."""
        dead: set[tuple[str, str]] = set()
        causes: dict[tuple[str, str], Mapping[str, str]] = {}
        for metric, labels, value in self.context.latest():
            if metric is catalog.TRAIN_STATE and value == 1.0 and labels[2] in catalog.DEAD:
                dead.add((labels[0], labels[1]))
            elif metric is catalog.TRAIN_VERDICT_CAUSE_INFO:
                name = labels[3].partition(":")[0]
                if re.fullmatch("[a-z_]+", name) and name != UNKNOWN:
                    words = {"exception_message": labels[4]} if labels[2] == "killed" else {}
                    causes[labels[0], labels[1]] = {"cause": name, **words}
        return dead, causes

    def _keep(self, who: tuple[str, str], told: Mapping[str, str]) -> None:
        self._done[who] = told.get("cause", "")
        path = self.context.place(who[0]) / Identity(*who).filename
        try:
            record = Reader(path).read()
            if record.alive or record.identity.filename != path.name:
                return
            _require_place(path, record.uid)
            if self._copied(path, record, told):
                self._counts[KEPT] += who not in self._own
                self._own.add(who)
            self._roomless.discard(who)
        except (OSError, RecordError) as error:
            if who not in self._roomless:
                self._counts[REFUSED] += 1
                _log.info("the end of %s, rank %s, is not kept: %s", *who, error)
            if isinstance(error, OSError) and error.errno in NO_ROOM:  # it lies in memory for a while yet
                self._roomless.add(who)
                del self._done[who]

    def _copied(self, path: Path, record: Record, told: Mapping[str, str]) -> bool:
        """Copy to the run's own folder, or where that is not to be had to the exporter's; False if it is there already.

        What this exporter has written itself is replaced.

        Raises:
            OSError, RecordError: neither is possible.
        """
        who = (record.identity.run, record.identity.rank)
        own, anew = keeping.place_of(record.facts), who in self._own
        configured = self.context.config().keep_post_mortem
        if keeping.is_off(str(configured or "")):
            return False
        try:
            if own is None or os.geteuid() not in (0, record.uid):
                raise PermissionError(1, f"may not write to {own or 'a folder of the run'} as this user")
            return keeping.keep(path, record, own, told, record.uid, anew=anew)
        except (OSError, RecordError):
            if configured is None:
                raise
            base = Path(configured).absolute()
            keeping.make(base, own_name := f"yoloscope-{record.uid}")  # two users may have runs of one name
            keeping.make(base / own_name, record.identity.run, MAX_BYTES)
            base /= own_name
            return keeping.keep(path, record, base, told, os.geteuid(), anew=anew)


def _require_place(path: Path, owner: int) -> None:
    """Raise RecordError unless the record's owner has its directory, too: a link there may lead to another user's."""
    place = os.lstat(path.parent)
    if not stat.S_ISDIR(place.st_mode) or place.st_uid != owner:
        raise RecordError("owner", f"{path} belongs to the user {owner}, and its directory does not")
