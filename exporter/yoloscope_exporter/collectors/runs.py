"""The trainings and predictions on this node, read from their records.

Every record is somebody else's file. It belongs to who owns it and its directory, it must lie where its identity says,
it may only hold metrics of its kind, its series carry its own run and rank whatever it claims, it lives as long as a
process of its owner holds its lock for writing, and there are at most so many of each. What is refused is counted by
reason and owner, and said once.

A run is known by its owner and its name. The label `run` is the name alone as long as that is enough; the owner's user
id is added (`train/x@1000`) to runs over several nodes, whose ranks are joined by it, to the second of two owners' runs
of one name, to a name that ends as if it had been added, and to one with letters that nobody sees.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_record import paths
from yoloscope_record.file_format import SUFFIX, RecordError
from yoloscope_record.loader_facts import LOADER_PIDS, VAL_LOADER_PIDS, pids
from yoloscope_record.paths import NODES, OWNED, RunDirectory, run_directory
from yoloscope_record.reader import READ_ATTEMPTS, Reader, Record

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import ActiveRanks, Collector, Trainer, circumstances
from yoloscope_exporter.collectors.clearing import Clearing
from yoloscope_exporter.collectors.files import read
from yoloscope_exporter.collectors.owners import Payers, Refusals
from yoloscope_exporter.collectors.run_samples import Devices, RunProcess, accept, run_samples
from yoloscope_exporter.collectors.stacks.endings import Ending, ending
from yoloscope_exporter.language import text
from yoloscope_exporter.sharing import Time, in_turn, shares
from yoloscope_exporter.system import descriptor_limit, os

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from yoloscope_exporter.catalog import Sample
    from yoloscope_exporter.collectors import Context
    from yoloscope_exporter.config import Config

NAME = "runs"
MAX_RUNS = 128
MAX_FILES = 512  # records of one run
MAX_NAMES = 4096  # of a run's directory that are looked at
MAX_OPEN = 512  # records of living writers kept open, and no more than a quarter of what a process may have open
MAX_SERIES = 20_000  # of one run; a histogram counts with all its parts
MAX_ALL_SERIES = 40_000  # of all runs; the shipped `sample_limit` is 50,000, and the node itself has some thousand
RANK_SERIES = 150  # that are made of each rank here: its verdicts, states, processes
CYCLE_SECONDS = 0.1  # for reading all records; half of it for those of one owner
PATIENCE = 3  # cycles for which the last good copy of a record stands in for one that cannot be read now
SKIPS = 10  # cycles for which it does so for a run that there is no time for

_log = logging.getLogger(__name__)


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    runs = Runs(context)
    return [Collector(NAME, runs.collect)]


@dataclass
class _File:
    """A record that is followed, and what is remembered of it."""

    reader: Reader
    record: Record | None = None
    settled: tuple[int, int] | None = None  # inode and change time of the file of a dead writer: it changes no more
    misses: int = 0
    refused: str = ""
    refused_as: tuple[int, int] | None = None  # the file that was refused: it is not read again until it changes
    busy: bool = False  # it changed while it was read, and is to be tried again
    seen_alive: bool = False
    ended: float = 0.0  # Unix time
    job: Mapping[str, str] | None = None  # what its cgroup tells; asked once
    death: Ending = field(default_factory=Ending)  # what its stack files tell of a rank that was killed

    @property
    def of_worker(self) -> bool:
        """Whether it was read, and is a loader worker's."""
        return self.record is not None and self.record.identity.kind == "worker"

    def expired(self, now: float, config: Config) -> bool:
        """Whether an ended rank has been published for its time."""
        if self.record is None or self.record.alive:
            return False
        return now - self.ended > (config.runs_keep if self.record.state in catalog.FINAL else config.runs_keep_killed)


#: What to do about a record directory that cannot be read.
_MOUNT = (
    "in a container mount the node's /dev/shm/yoloscope there (docker --volume, Kubernetes hostPath, docs/deploy.md)"
)


#: Why a directory is not read.
WHY_NOT = {
    "owner": text("it has another user's name, and is not that user's"),
    "unreadable": text("this user may not list it (the training's umask?): chmod 755, or an exporter of root"),
    "entries": text("it has more than {entries} entries", entries=paths.MAX_ENTRIES),
}

#: What is in a run's directory, in the order in which an owner's directories are followed.
_LIVING, _NEW, _DEAD, _UNREADABLE, _OVER = range(5)


class Runs:
    """Follows the records below the record directory."""

    def __init__(self, context: Context, seconds: float = CYCLE_SECONDS) -> None:
        """Remember the context; nothing is read yet. A collection may take so many `seconds`, one owner half of it."""
        self._context, self._seconds = context, seconds
        self._refuse_one = Refusals(lambda reason: context.reject(NAME, reason))
        self._payer = Payers(context.config().path_rootfs / "etc/subuid")
        self._devices = Devices(context.latest)
        self._clear = Clearing(context.records)
        self._files: dict[str, dict[str, _File]] = {}  # by directory and name
        self._kinds: dict[str, tuple[int, int]] = {}  # of directories that were looked at, and when they had changed
        self._skipped: dict[str, int] = {}  # directories that there was no time for, and in how many cycles
        self._labels: dict[str, tuple[str, str]] = {}  # names and labels of the runs, by directory
        self._closed: set[str] = set()  # directories that may not be listed
        self._payers: dict[int, float] = {}  # users with runs, and the seconds that theirs took in the last cycle
        self._missed = False
        self._failed: set[str] = set()  # directories of which that was said
        self._most_open = _most_open()
        self._room = self._most_open
        self._boot = circumstances.boot_of(context.procfs)
        self._restarts: dict[tuple[int, str], int] = {}  # of owners' Slurm jobs, ever seen
        self._jobs = circumstances.Jobs(context.procfs)

    def collect(self) -> Iterator[Sample]:
        """Samples of every run that is to be shown; also sets which ranks are alive."""
        now = self._context.wall()
        known, self._files = self._files, {}
        self._room = self._most_open - sum(file.reader.keeps for files in known.values() for file in files.values())
        self._devices.refresh()
        self._payer.refresh()
        entries = self._directories()
        self._remove_old([Path(entry.path) for entry in entries if self._kind(entry) == _OVER], now)
        followed = self._followed(entries)
        self._read_all(followed, known, now)
        paths_now = {entry.path for entry in entries}
        self._failed &= paths_now
        self._closed &= paths_now
        self._kinds = {path: kind for path, kind in self._kinds.items() if path in paths_now}
        yield from self._samples(followed, now)
        yield from self._refuse_one.samples()

    def _samples(self, followed: Sequence[RunDirectory], now: float) -> Iterator[Sample]:
        """What was read, as samples."""
        shown = {entry: found for entry in followed if (found := self._shown(entry, now))}
        granted = shares(self._wanted(shown), MAX_ALL_SERIES)
        self._label(shown)
        everybody = [record for files in shown.values() for record in _ranks(files)]
        self._restarts = circumstances.restarts(everybody, self._restarts)  # a job's next run may come before its last
        trainers: list[Trainer] = []
        for entry, files in shown.items():
            yield from self._isolated(entry, files, granted, trainers)
        if isinstance(self._context.trainers, ActiveRanks):
            places = {self._labels[entry.path][1]: Path(entry.path) for entry in shown}
            self._context.trainers.replace(trainers, places)

    def _isolated(
        self, entry: RunDirectory, files: Sequence[_File], granted: dict[int, int], trainers: list[Trainer]
    ) -> Sequence[Sample]:
        """Samples of one run, none if that fails for a reason nobody thought of: the other runs have theirs."""
        try:
            return self._one(entry, files, granted, trainers)
        except Exception as error:  # noqa: BLE001 - the isolation boundary
            self._refuse_one("error", entry.owner)
            if entry.path not in self._failed:
                _log.warning("the run in %s is not published: %s: %s", entry.path, type(error).__name__, error)
            self._failed.add(entry.path)
            return ()

    def _shown(self, entry: RunDirectory, now: float) -> list[_File]:
        """The records of a run that are to be shown; none of one that has workers' alone, or none any more."""
        files = self._files.get(entry.path, {})
        shown = [file for file in files.values() if file.record and not file.expired(now, self._context.config())]
        ranks = [file.record for file in shown if file.record and not file.of_worker]
        skips = self._skipped.get(entry.path, 0)
        if not skips:
            self._kinds[entry.path] = (kind := self._found(entry, ranks), entry.changed)
            if kind == _OVER:
                del self._files[entry.path]
        return shown if ranks and skips <= SKIPS else []

    def _found(self, entry: RunDirectory, ranks: Sequence[Record]) -> int:
        """What a directory is whose records have been read, with these ranks or predictions that are to be shown."""
        if ranks:
            return _LIVING if any(record.alive for record in ranks) else _DEAD
        unread = entry.path in self._closed or not all(file.record for file in self._files[entry.path].values())
        return _UNREADABLE if unread else _OVER

    def _one(
        self, entry: RunDirectory, files: Sequence[_File], granted: dict[int, int], trainers: list[Trainer]
    ) -> Sequence[Sample]:
        """Samples of one run; adds its living ranks to `trainers`."""
        label = self._labels[entry.path][1]
        limited = self._limited(entry, files, granted)
        processes = [RunProcess(file.record, file.job or {}, file.death) for file in limited if file.record]
        samples = run_samples(processes, self._devices, self._event, label)
        trainers += [_trainer(record, label) for record in _ranks(limited) if record.holder]
        return samples

    def _event(self, record: Record, death: Ending) -> str:
        return circumstances.event(record, death.time, self._boot, self._restarts, self._outlives)

    def _outlives(self, job: str, died: float) -> bool:
        return self._jobs.outlives(job, died, self._context.wall())

    def _remove_old(self, directories: Sequence[Path], now: float) -> None:
        keep = self._context.config().runs_remove_after
        self._clear(directories, keep=keep, clock=self._context.clock(), now=now)

    # --- which runs -------------------------------------------------------------------------------------------------

    def _kind(self, entry: RunDirectory) -> int:
        """What was found in a directory when it was last looked at, if it has not changed since."""
        kind, changed = self._kinds.get(entry.path, (_NEW, entry.changed))
        return kind if changed == entry.changed or kind == _LIVING else _NEW

    def _followed(self, entries: Iterable[RunDirectory]) -> list[RunDirectory]:
        """What there is to read, at most MAX_RUNS: of each owner the living, the unknown, then the newest of the dead.

        Every owner has a turn before anybody has a second one. What is left out is refused if others have to end
        before it is followed: the dead make room, and the unknown have their turn when those before them are known.
        """
        runs = [entry for entry in entries if self._kind(entry) != _OVER]
        runs.sort(key=lambda run: (self._kind(run), -run.changed))
        runs = in_turn(runs, lambda run: self._payer(run.owner))
        followed = runs[:MAX_RUNS]
        turning = {self._payer(entry.owner) for entry in followed if self._kind(entry) != _LIVING}
        for entry in runs[MAX_RUNS:]:
            if self._kind(entry) in (_LIVING, _NEW) and self._payer(entry.owner) not in turning:
                self._refuse_one("runs", entry.owner)
        return followed

    def _directories(self) -> list[RunDirectory]:
        """The runs' directories."""
        base = self._context.records
        try:
            known = sorted({str(Path(path).parent) for path in self._files} - {str(base)})
            found = paths.run_directories(base, known, self._not_followed, users=self._at_work, payer=self._payer)
            return list(found)
        except FileNotFoundError:
            self._log_missing()
            return []  # no training has been here yet
        except OSError as error:
            raise OSError(f"{base}: {error.strerror}; {_MOUNT}") from error

    def _at_work(self) -> set[int]:
        """The users who have processes here."""
        found = set()
        for entry in self._context.procfs.glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                found.add(os.stat(entry).st_uid)
        return found

    def _not_followed(self, reason: str, owner: int, path: str) -> None:
        if self._refuse_one.once(reason, owner, path):
            _log.warning("%s is not read: %s", path, WHY_NOT[reason])

    def _log_missing(self) -> None:
        """Say once that there is no directory: on a node that is as it should be, in a container a mount is missing."""
        if not self._missed:
            _log.info("%s does not exist yet, the first run creates it; %s", self._context.records, _MOUNT)
        self._missed = True

    # --- what they are called ---------------------------------------------------------------------------------------

    def _label(self, shown: Mapping[RunDirectory, Sequence[_File]]) -> None:
        """Give each run its label, and leave it to who has it."""
        found = {entry.path for entry in shown}
        self._labels = {path: label for path, label in self._labels.items() if path in found}
        names = {entry: _name(files) for entry, files in shown.items()}
        new = [entry for entry in shown if self._labels.get(entry.path, ("",))[0] != names[entry]]
        for entry in sorted(new, key=lambda entry: self._age(shown[entry])):
            several = any(file.record and file.record.facts.get(NODES) for file in shown[entry])
            taken = {label for path, (_, label) in self._labels.items() if path != entry.path}
            self._labels[entry.path] = (names[entry], _free_label(names[entry], entry.owner, taken, several=several))

    def _age(self, files: Sequence[_File]) -> tuple[bool, bool, float]:
        """Living runs first, the oldest first: by the kernel's word where there is one."""
        records = [file.record for file in files if file.record]
        holder = next((record.holder for record in records if record.holder), 0)
        started = _start_of(self._context.procfs, holder) if holder else None
        dead = not any(record.alive for record in records)
        return dead, started is None, min(record.created for record in records) if started is None else started

    # --- one run's records ------------------------------------------------------------------------------------------

    def _read_all(self, followed: Sequence[RunDirectory], known: Mapping[str, Mapping[str, _File]], now: float) -> None:
        """Read the records of these runs as far as there is time, of owners whose take long after the others.

        Those that were busy come last.
        """
        time, series = Time(self._context.clock, self._seconds), defaultdict[int, int](int)
        took, missed = self._payers, self._skipped
        order = sorted(followed, key=lambda run: (took.get(self._payer(run.owner), 0.0), -missed.get(run.path, 0)))
        skipped: dict[str, int] = {}
        for entry in order:
            self._files[entry.path] = dict(known.get(entry.path, {}))
            if not (time.left(self._payer(entry.owner)) and self._read(entry, now, time, series)):
                skipped[entry.path] = self._skipped.get(entry.path, 0) + 1
                self._refuse_one("time", entry.owner)
        for entry in order:
            for file in [file for file in self._files[entry.path].values() if file.busy]:
                begun, payer = self._context.clock(), self._payer(entry.owner)
                self._refresh(file, entry, now, READ_ATTEMPTS if time.left(payer) else 0)
                time.spend(payer, begun)
        self._skipped = skipped
        self._payers = dict(time.spent)

    def _read(self, entry: RunDirectory, now: float, time: Time, series: dict[int, int]) -> bool:
        """Read a run's records; False if there was no time for all of them."""
        known, files, payer = self._files[entry.path], dict[str, _File](), self._payer(entry.owner)
        begun = self._context.clock()
        names = self._names(entry)
        time.spend(payer, begun)
        for name, inode in names:
            if not time.left(payer):
                self._files[entry.path] = {**known, **files}
                return False
            if name not in known and series[payer] >= MAX_ALL_SERIES:
                self._refuse_one("series", entry.owner)
                continue
            begun = self._context.clock()
            file = known.get(name) or _File(Reader(Path(entry.path, name), accept))
            self._refresh(file, entry, now, 1, inode)
            files[name] = file
            series[payer] += file.record.series if file.record else 0
            time.spend(payer, begun)
        self._files[entry.path] = files
        return True

    def _names(self, entry: RunDirectory) -> list[tuple[str, int]]:
        """Names and inodes of the records, ranks first."""
        self._closed.discard(entry.path)
        try:
            with os.scandir(entry.path) as found:
                names = [(one.name, one.inode()) for one in islice(found, MAX_NAMES) if one.name.endswith(SUFFIX)]
        except OSError as error:
            if self._refuse_one.once("unreadable", entry.owner, entry.path):
                _log.warning("%s is not read: %s", entry.path, WHY_NOT["unreadable"])
            _log.debug("cannot list %s: %s", entry.path, error)
            self._closed.add(entry.path)
            return []
        names.sort(key=lambda name: ("-worker-" in name[0], name))
        if len(names) > MAX_FILES:
            self._refuse_one("files", entry.owner)
        return names[:MAX_FILES]

    def _refresh(self, file: _File, entry: RunDirectory, now: float, attempts: int, inode: int = 0) -> None:
        """Read the record again, unless its writer is dead or it was refused, and it is still the same file.

        One that is busy is only marked as such by the first of READ_ATTEMPTS; after the last, or none, it is refused.
        """
        path, file.busy = file.reader.path, False
        stamp = None
        try:
            if file.settled is not None and file.settled == _stamp(path):
                return
            stamp = _stamp(path) if file.refused or file.record is None else None
            if stamp is not None and file.refused_as == stamp:
                self._miss(file)
                return
            kept = file.reader.keeps
            record = file.reader.read(inode, keep=kept or self._room > 0, attempts=attempts)
            self._room += kept - file.reader.keeps
            if file.record is None or record.identity is not file.record.identity:
                _check_place(record, path, entry.owner)
        except Exception as error:  # noqa: BLE001 - somebody else's file: the others go on whatever is in it
            if getattr(error, "reason", "") == "busy" and attempts == 1:
                file.busy = True
            else:
                self._refuse(file, entry.owner, error, stamp)
        else:
            self._take(file, entry, record, now)

    def _take(self, file: _File, entry: RunDirectory, record: Record, now: float) -> None:
        """Remember what a record holds, and what goes with it: a living rank's job, how a dead one ended."""
        path = file.reader.path
        if record.alive and not _is_of(self._context.procfs, record.holder, entry.owner):
            self._refuse_one.once("holder", entry.owner, str(path))
            record = record._replace(alive=False, holder=0)
        file.record, file.misses, file.refused, file.refused_as = record, 0, "", None
        if record.alive:
            file.seen_alive, file.settled = True, None
            if file.job is None and record.identity.kind == "rank":
                cgroup = self._context.procfs / str(record.holder) / "cgroup"
                file.job = circumstances.job_of(cgroup) if record.holder else {}
        else:
            file.ended = now if file.seen_alive else min(record.updated, now)
            file.seen_alive = False
            if record.identity.kind != "worker" and record.state not in catalog.FINAL:
                file.death = ending(path.parent, record.identity.rank)
            with suppress(OSError):
                file.settled = _stamp(path)

    def _refuse(self, file: _File, owner: int, error: Exception, stamp: tuple[int, int] | None) -> None:
        reason = getattr(error, "reason", "missing" if isinstance(error, OSError) else "error")
        self._miss(file)
        file.refused_as = stamp if reason != "busy" else None
        if reason != file.refused:
            self._refuse_one(reason, owner)
            level = logging.DEBUG if reason in ("busy", "missing") else logging.WARNING
            _log.log(level, "record %s is not read: %s", file.reader.path, error)
        file.refused = reason

    def _miss(self, file: _File) -> None:
        file.misses += 1
        if file.misses > PATIENCE and not file.of_worker:  # without its share the rank's histogram would go backwards
            file.record = None

    def _limited(self, entry: RunDirectory, files: Sequence[_File], granted: dict[int, int]) -> list[_File]:
        """As many of a run's records as have at most MAX_SERIES series together, and what was granted their owner."""
        room, kept, payer = MAX_SERIES, [], self._payer(entry.owner)
        for file in files:
            room -= file.record.series if file.record else 0
            if room < 0 or granted[payer] < _series(file):
                self._refuse_one("series", entry.owner)
                _log.debug("the run of %s has more than its share of series", file.reader.path)
                break
            granted[payer] -= _series(file)
            kept.append(file)
        return kept

    def _wanted(self, shown: Mapping[RunDirectory, Sequence[_File]]) -> dict[int, int]:
        """Series that the runs of each have who pays for them."""
        wanted: defaultdict[int, int] = defaultdict(int)
        for entry, files in shown.items():
            wanted[self._payer(entry.owner)] += sum(map(_series, files))
        return wanted


def _most_open() -> int:
    """How many records are kept open: connections may take half of the descriptors, /proc and /sys need the rest."""
    limit = descriptor_limit()
    return MAX_OPEN if limit is None else min(MAX_OPEN, limit // 4)


def _ranks(files: Iterable[_File]) -> list[Record]:
    """The records of ranks among them."""
    return [file.record for file in files if file.record and file.record.identity.kind == "rank"]


def _name(files: Sequence[_File]) -> str:
    """What the run is called of which these are records that were read."""
    return next(file.record.identity.run for file in files if file.record)


def _series(file: _File) -> int:
    """Series that come of a record."""
    if file.record is None:
        return 0
    return file.record.series + (RANK_SERIES if file.record.identity.kind == "rank" else 0)


#: Letters that nobody sees, and blanks that nobody sees where they are: with them a name looks like another one.
#: Of Unicode's Default_Ignorable_Code_Point those that Python calls printable, and the blanks that it does.
_UNSEEN = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]|^ | $|  "
)


def _free_label(name: str, owner: int, taken: set[str], *, several: bool) -> str:
    """The label of a run on one node, or on several."""
    if name not in taken and not several and not OWNED.search(name) and not _UNSEEN.search(name):
        return name
    owned = f"{name}@{owner}"
    labels = chain((owned,), (f"{owned}-{number}" for number in count(2)))
    return next(label for label in labels if label not in taken)


def _start_of(procfs: Path, pid: int) -> float | None:
    """When a process began, in the kernel's ticks."""
    with suppress(OSError, ValueError, IndexError):
        return float(read(f"{procfs}/{pid}/stat").rpartition(")")[2].split()[19])
    return None


def _is_of(procfs: Path, pid: int, owner: int) -> bool:
    """Whether a process is its user's alone, by all its user ids; True where there is nothing to see of it."""
    try:
        if not pid or os.stat(f"{procfs}/{pid}").st_uid == owner:
            return True
        found = re.search(r"(?m)^Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$", read(f"{procfs}/{pid}/status"))
    except OSError:
        return True
    return found is None or set(map(int, found.groups())) == {owner}


def _stamp(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_ino, status.st_ctime_ns


def _check_place(record: Record, path: Path, owner: int) -> None:
    """Check that the file is its directory's owner's, and that both have the names that follow from its identity."""
    identity = record.identity
    if record.uid != owner:
        raise RecordError("owner", f"belongs to the user {record.uid}, its directory to {owner}")
    if identity.filename != path.name or run_directory(path.parent.parent, identity.run) != path.parent:
        raise RecordError("identity", f"says it is {identity}, which belongs elsewhere")


def _trainer(record: Record, label: str) -> Trainer:
    return Trainer(
        label,
        record.identity.rank,
        record.holder,
        state=record.state,
        own_pid=record.pid,
        loader_pids=pids(record.facts, LOADER_PIDS),
        val_loader_pids=pids(record.facts, VAL_LOADER_PIDS),
    )
