"""The trainings and predictions on this node, read from their records.

Every record is somebody else's file. It must lie where its identity says, it may only hold metrics of its kind, its
series carry its own run and rank whatever it claims, and there are at most so many of each. What is refused is counted
by reason and said once.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record.file_format import SUFFIX, RecordError
from yoloscope_record.loader_facts import LOADER_PIDS, SLOW_FILES, VAL_LOADER_PIDS, SlowFile, pids, slow_files
from yoloscope_record.paths import run_directory
from yoloscope_record.reader import Reader, Record

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import STATES, HistogramValue, Metric, Sample
from yoloscope_exporter.collectors import ActiveRanks, Collector, Trainer, circumstances
from yoloscope_exporter.collectors.clearing import Clearing
from yoloscope_exporter.collectors.files import read
from yoloscope_exporter.collectors.stacks.endings import Ending, ending
from yoloscope_exporter.system import os, user_name

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from yoloscope_record.file_format import Identity

    from yoloscope_exporter.collectors import Context
    from yoloscope_exporter.config import Config

NAME = "runs"
MAX_RUNS = 128
MAX_FILES = 512  # records of one run
MAX_OPEN = 512  # records of living writers kept open; half of the usual limit of a process
MAX_SERIES = 20_000  # of one run; a histogram counts with all its parts
PATIENCE = 3  # cycles for which the last good copy of a record stands in for one that cannot be read now
DEVICES_EVERY = 5  # cycles
FINAL = ("finished", "failed")

_log = logging.getLogger(__name__)

#: Made here, so a record may not claim them.
_OURS = {
    catalog.TRAIN_RUN_INFO,
    catalog.TRAIN_JOB_INFO,
    catalog.TRAIN_DEVICE_INFO,
    catalog.TRAIN_UP,
    catalog.TRAIN_STATE,
    catalog.TRAIN_SLOW_FILE_SECONDS,
    catalog.TRAIN_SLOW_FILE_BYTES,
    catalog.TRAIN_SLOW_FILE_CPU_SECONDS,
    catalog.TRAIN_SLOW_FILE_INFO,
    catalog.TRAIN_VERDICT,
    catalog.TRAIN_VERDICT_FIX_INFO,
    catalog.TRAIN_VERDICT_CAUSE_INFO,
    catalog.TRAIN_GOODPUT_RATIO,
    catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL,
    catalog.TRAIN_HANG_INFO,
    catalog.TRAIN_END_INFO,
    catalog.PREDICT_RUN_INFO,
    catalog.PREDICT_UP,
    catalog.PREDICT_STATE,
    catalog.PREDICT_VERDICT,
    catalog.PREDICT_VERDICT_FIX_INFO,
}
_ACCEPTED = {
    metric.name
    for metric in catalog.METRICS
    if metric.labels[:2] == ("run", "rank") and "role" not in metric.labels and metric not in _OURS
}


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
        return now - self.ended > (config.runs_keep if self.record.state in FINAL else config.runs_keep_killed)


class _Entry(NamedTuple):
    """A run's directory. Paths are strings here: there are hundreds, every second."""

    path: str
    changed: int  # nanoseconds


#: What to do about a record directory that cannot be read.
_MOUNT = (
    "in a container mount the node's /dev/shm/yoloscope there (docker --volume, Kubernetes hostPath, docs/deploy.md)"
)


class Runs:
    """Follows the records below the record directory."""

    def __init__(self, context: Context) -> None:
        """Remember the context; nothing is read yet."""
        self._context = context
        self._devices = _Devices(context.latest)
        self._clear = Clearing(context.records)
        self._files: dict[str, dict[str, _File]] = {}  # by directory and name
        self._missed = False
        self._failed: set[str] = set()  # directories of which that was said
        self._room = MAX_OPEN
        self._done: dict[str, int] = {}  # directories with nothing left to show, and when they last changed
        self._boot = circumstances.boot_of(context.procfs)
        self._restarts: dict[str, int] = {}  # of Slurm jobs, ever seen
        self._jobs = circumstances.Jobs(context.procfs)

    def collect(self) -> Iterator[Sample]:
        """Samples of every run that is to be shown; also sets which ranks are alive."""
        now = self._context.wall()
        known, self._files = self._files, {}
        self._room = MAX_OPEN - sum(file.reader.keeps for files in known.values() for file in files.values())
        trainers: list[Trainer] = []
        self._devices.refresh()
        entries = self._directories()
        self._remove_old([Path(entry.path) for entry in filter(self._is_over, entries)], now)
        for entry in self._followed(entries, known):
            yield from self._isolated(entry, known.get(entry.path, {}), now, trainers)
        self._failed &= {entry.path for entry in entries}
        self._done = {path: changed for path, changed in self._done.items() if os.path.isdir(path)}
        if isinstance(self._context.trainers, ActiveRanks):
            self._context.trainers.replace(trainers)

    def _isolated(
        self, entry: _Entry, known: Mapping[str, _File], now: float, trainers: list[Trainer]
    ) -> Sequence[Sample]:
        """Samples of one run, none if that fails for a reason nobody thought of: the other runs have theirs."""
        try:
            return self._one(entry, known, now, trainers)
        except Exception as error:  # noqa: BLE001 - the isolation boundary
            self._context.reject(NAME, "error")
            if entry.path not in self._failed:
                _log.warning("the run in %s is not published: %s: %s", entry.path, type(error).__name__, error)
            self._failed.add(entry.path)
            return ()

    def _one(self, entry: _Entry, known: Mapping[str, _File], now: float, trainers: list[Trainer]) -> Sequence[Sample]:
        """Samples of one run; adds its living ranks to `trainers`."""
        files = self._files[entry.path] = self._read(entry.path, known, now)
        shown = [file for file in files.values() if file.record and not file.expired(now, self._context.config())]
        ranks = [file.record for file in shown if file.record and file.record.identity.kind == "rank"]
        predictions = any(file.record and file.record.identity.kind in catalog.PREDICTIONS for file in shown)
        if not ranks and not predictions and all(file.record for file in files.values()):
            self._done[entry.path] = entry.changed
            del self._files[entry.path]
            return ()
        self._restarts = circumstances.restarts(ranks, self._restarts)
        samples = _run_samples(self._limited(shown), self._devices, self._event)
        trainers += [_trainer(record) for record in ranks if record.holder]
        return samples

    def _event(self, record: Record, death: Ending) -> str:
        return circumstances.event(record, death.time, self._boot, self._restarts, self._outlives)

    def _outlives(self, job: str, died: float) -> bool:
        return self._jobs.outlives(job, died, self._context.wall())

    def _remove_old(self, directories: Sequence[Path], now: float) -> None:
        keep = self._context.config().runs_remove_after
        self._clear(directories, keep=keep, clock=self._context.clock(), now=now)

    def _is_over(self, entry: _Entry) -> bool:
        """Whether a directory was found to have nothing left to show, and has not changed since."""
        return self._done.get(entry.path) == entry.changed

    def _followed(self, entries: Iterable[_Entry], known: Container[str]) -> list[_Entry]:
        """What there is to read: directories already followed first, then the newest, at most MAX_RUNS."""
        runs = [entry for entry in entries if not self._is_over(entry)]
        runs.sort(key=lambda run: (run.path not in known, -run.changed))
        for _ in runs[MAX_RUNS:]:
            self._context.reject(NAME, "runs")
        return runs[:MAX_RUNS]

    def _directories(self) -> list[_Entry]:
        """The runs' directories."""
        runs = []
        try:
            with os.scandir(self._context.records) as found:
                for entry in found:
                    with suppress(OSError):  # gone in between
                        if entry.is_dir(follow_symlinks=False):
                            runs.append(_Entry(entry.path, entry.stat(follow_symlinks=False).st_mtime_ns))
        except FileNotFoundError:
            self._log_missing()
            return []  # no training has been here yet
        except OSError as error:
            raise OSError(f"{self._context.records}: {error.strerror}; {_MOUNT}") from error
        return runs

    def _log_missing(self) -> None:
        """Say once that there is no directory: on a node that is as it should be, in a container a mount is missing."""
        if not self._missed:
            _log.info("%s does not exist yet, the first run creates it; %s", self._context.records, _MOUNT)
        self._missed = True

    # --- one run's records ------------------------------------------------------------------------------------------

    def _read(self, directory: str, known: Mapping[str, _File], now: float) -> dict[str, _File]:
        files = {}
        for name, inode in self._names(directory):
            file = known.get(name) or _File(Reader(Path(directory, name), _accept))
            self._refresh(file, inode, now)
            files[name] = file
        return files

    def _names(self, directory: str) -> list[tuple[str, int]]:
        """Names and inodes of the records, ranks first."""
        try:
            with os.scandir(directory) as found:
                names = [(entry.name, entry.inode()) for entry in found if entry.name.endswith(SUFFIX)]
        except OSError as error:
            self._context.reject(NAME, "unreadable")
            _log.debug("cannot list %s: %s", directory, error)
            return []
        names.sort(key=lambda name: ("-worker-" in name[0], name))
        if len(names) > MAX_FILES:
            self._context.reject(NAME, "files")
        return names[:MAX_FILES]

    def _refresh(self, file: _File, inode: int, now: float) -> None:
        """Read the record again, unless its writer is dead and it is still the same file."""
        path = file.reader.path
        try:
            if file.settled is not None and file.settled == _stamp(path):
                return
            kept = file.reader.keeps
            record = file.reader.read(inode, keep=kept or self._room > 0)
            self._room += kept - file.reader.keeps
            if file.record is None or record.identity is not file.record.identity:
                _check_place(record, path)
        except Exception as error:  # noqa: BLE001 - somebody else's file: the others go on whatever is in it
            self._refuse(file, error)
            return
        file.record, file.misses, file.refused = record, 0, ""
        if record.alive:
            file.seen_alive, file.settled = True, None
            if file.job is None and record.identity.kind == "rank":
                file.job = job_of(self._context.procfs / str(record.holder) / "cgroup") if record.holder else {}
        else:
            file.ended = now if file.seen_alive else min(record.updated, now)
            file.seen_alive = False
            if record.identity.kind == "rank" and record.state not in FINAL:
                file.death = ending(path.parent, record.identity.rank)
            with suppress(OSError):
                file.settled = _stamp(path)

    def _refuse(self, file: _File, error: Exception) -> None:
        reason = getattr(error, "reason", "missing" if isinstance(error, OSError) else "error")
        file.misses += 1
        if file.misses > PATIENCE and not file.of_worker:  # without its share the rank's histogram would go backwards
            file.record = None
        if reason != file.refused:
            self._context.reject(NAME, reason)
            level = logging.DEBUG if reason in ("busy", "missing") else logging.WARNING
            _log.log(level, "record %s is not read: %s", file.reader.path, error)
        file.refused = reason

    def _limited(self, files: Sequence[_File]) -> list[_File]:
        """As many of a run's records as have at most MAX_SERIES series together."""
        room, kept = MAX_SERIES, []
        for file in files:
            room -= file.record.series if file.record else 0
            if room < 0:
                self._context.reject(NAME, "series")
                _log.debug("the run of %s has more than %d series", file.reader.path, MAX_SERIES)
                break
            kept.append(file)
        return kept


def _stamp(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_ino, status.st_ctime_ns


def _check_place(record: Record, path: Path) -> None:
    """Check that file and directory have the names that follow from the record's identity."""
    identity = record.identity
    if identity.filename != path.name or run_directory(path.parent.parent, identity.run) != path.parent:
        raise RecordError("identity", f"says it is {identity}, which belongs elsewhere")


def _trainer(record: Record) -> Trainer:
    return Trainer(
        record.identity.run,
        record.identity.rank,
        record.holder,
        state=record.state,
        own_pid=record.pid,
        loader_pids=pids(record.facts, LOADER_PIDS),
        val_loader_pids=pids(record.facts, VAL_LOADER_PIDS),
    )


# --- from records to samples ----------------------------------------------------------------------------------------


class _Devices:
    """The GPU of each rank: by UUID, or by the process that was last seen on it."""

    def __init__(self, latest: Callable[[], Iterable[Sample]]) -> None:
        self._latest = latest
        self._index: dict[str, str] = {}
        self._seen: dict[tuple[str, ...], set[str]] = {}
        self._age = 0

    def refresh(self) -> None:
        """Look at the last cycle's samples, but not every time: GPUs seldom change."""
        self._age -= 1
        if self._age > 0 and self._index:
            return
        self._age, self._index, self._seen = DEVICES_EVERY, {}, defaultdict(set)
        for metric, labels, _ in self._latest():
            if metric is catalog.GPU_INFO:
                self._index[labels[1]] = labels[0]
            elif metric is catalog.GPU_PROCESS_MEMORY_BYTES:
                self._seen[labels[3:5]].add(labels[0])

    def of(self, who: tuple[str, str], facts: Mapping[str, str]) -> tuple[str, str] | None:
        """Index and UUID of a rank's GPU; None while that is not certain."""
        uuid = facts.get("gpu_uuid", "")
        if gpu := facts.get("gpu") or self._index.get(uuid):
            return gpu, uuid
        seen = self._seen.get(who, set())
        if len(seen) != 1:
            return None
        (gpu,) = seen
        return gpu, next((uuid for uuid, index in self._index.items() if index == gpu), "")


def _run_samples(files: Sequence[_File], devices: _Devices, event: Callable[[Record, Ending], str]) -> list[Sample]:
    """Samples of one run's records; workers count only beside their rank."""
    ranks: dict[str, tuple[Record, _File]] = {}
    workers = defaultdict(list)
    for file in files:
        if file.record and file.record.identity.kind == "rank":
            ranks[file.record.identity.rank] = (file.record, file)
        elif file.record and file.record.identity.kind == "worker":
            workers[file.record.identity.rank].append(file.record)
    samples = [one for file in files if file.record for one in prediction(file.record)]
    for rank, (record, file) in ranks.items():
        samples += _state(record)
        samples += _facts(record, file.job or {}, devices)
        samples += _end(record, file.death, event)
        samples += _slow_files(record.identity, workers[rank])
        samples += _merged((record, *workers[rank]))
    return samples


def prediction(record: Record) -> Iterator[Sample]:
    """Samples of a process that predicts, validates or exports; none of any other record."""
    if record.identity.kind not in catalog.PREDICTIONS:
        return
    who = (record.identity.run, record.identity.rank)
    state = record.state if record.alive or record.state in FINAL else "killed"
    yield Sample(catalog.PREDICT_UP, who, 1.0 if record.alive else 0.0)
    for name in catalog.PREDICT_STATES:
        yield Sample(catalog.PREDICT_STATE, (*who, name), 1.0 if name == state else 0.0)
    facts = {"pid": str(record.pid), **record.facts, **_owner(record)}
    yield Sample(catalog.PREDICT_RUN_INFO, (*who, *(facts.get(name, "") for name in catalog.PREDICT_FACTS)), 1.0)
    for sample in record.samples:
        ended = sample.metric == catalog.PREDICT_UNDER_WAY and not record.alive
        yield sample._replace(value=0.0) if ended else sample


def _state(record: Record) -> Iterator[Sample]:
    """Whether the rank lives, its state, its beginning and its end."""
    who = (record.identity.run, record.identity.rank)
    state = record.state if record.alive or record.state in FINAL else "killed"
    given = {sample.metric.name for sample in record.numbers}
    yield Sample(catalog.TRAIN_UP, who, 1.0 if record.alive else 0.0)
    for name in STATES:
        yield Sample(catalog.TRAIN_STATE, (*who, name), 1.0 if name == state else 0.0)
    moments = {catalog.TRAIN_START_TIMESTAMP_SECONDS: record.created}
    if state in FINAL:
        moments[catalog.TRAIN_END_TIMESTAMP_SECONDS] = record.updated
    for metric, moment in moments.items():
        if metric.name not in given and catalog.plausible(metric, moment) is not None:
            yield Sample(metric, who, moment)


def _facts(record: Record, job: Mapping[str, str], devices: _Devices) -> Iterator[Sample]:
    """The info metrics. What the trainer said of its job counts before what its cgroup tells."""
    who = (record.identity.run, record.identity.rank)
    facts = {"pid": str(record.pid), **job, **record.facts, **_owner(record)}
    yield Sample(catalog.TRAIN_RUN_INFO, (*who, *(facts.get(name, "") for name in catalog.RUN_FACTS)), 1.0)
    if any(facts.get(name) for name in catalog.JOB_FACTS):
        yield Sample(catalog.TRAIN_JOB_INFO, (*who, *(facts.get(name, "") for name in catalog.JOB_FACTS)), 1.0)
    device = devices.of(who, facts)
    if device is not None:
        yield Sample(catalog.TRAIN_DEVICE_INFO, (*who, *device), 1.0)


def _end(record: Record, death: Ending, event: Callable[[Record, Ending], str]) -> Iterator[Sample]:
    """How a rank ended that did not finish: by its exception, or by what its stack files hold."""
    if record.alive or record.state == "finished":
        return
    told: Mapping[str, str] = record.facts
    if record.state != "failed":
        kept = {name: record.facts.get(name, "") for name in ("cause", "exception_message")}
        told = {**kept, **death.facts, "event": event(record, death)}
    names = ("exception", "exception_message", "signal", "exception_own", "exception_at", "waited", "event", "cause")
    values = tuple(told.get(name, "") for name in names)
    if any(values):
        yield Sample(catalog.TRAIN_END_INFO, (record.identity.run, record.identity.rank, *values), 1.0)


def _slow_files(who: Identity, workers: Iterable[Record]) -> Iterator[Sample]:
    """The slowest of the files that the rank's workers tell of; a file that several had, as the slowest had it."""
    told = [file for worker in workers for file in slow_files(worker.facts)]
    slowest: dict[str, SlowFile] = {}
    for file in sorted(told, key=lambda file: file.seconds, reverse=True):
        if catalog.plausible(catalog.TRAIN_SLOW_FILE_SECONDS, file.seconds) is not None:
            slowest.setdefault(file.path, file)
    for file in islice(slowest.values(), SLOW_FILES):
        yield from _slow_file((who.run, who.rank, file.path), file)


def _slow_file(labels: tuple[str, str, str], file: SlowFile) -> Iterator[Sample]:
    numbers = {
        catalog.TRAIN_SLOW_FILE_SECONDS: file.seconds,
        catalog.TRAIN_SLOW_FILE_BYTES: file.size,
        catalog.TRAIN_SLOW_FILE_CPU_SECONDS: file.computing,
    }
    for metric, number in numbers.items():
        if number is not None and catalog.plausible(metric, number) is not None:
            yield Sample(metric, labels, float(number))
    pixels = [str(side or "") for side in (file.width, file.height)]
    about = (*pixels, file.form, file.filesystem, "true" if file.repaired else "")
    if any(about):
        yield Sample(catalog.TRAIN_SLOW_FILE_INFO, (*labels, *about), 1.0)


def job_of(path: Path) -> dict[str, str]:
    """Slurm job and container by the names that slurmstepd and the container runtimes give their cgroups."""
    try:
        text = read(path)
    except OSError:
        return {}
    found = {}
    if match := circumstances.CGROUP.search(text):
        found["slurm_job_id"] = match[1]
    if match := re.search(r"[/:](?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?(?=/|$)", text, re.MULTILINE):
        found["container"] = match[1][:12]  # as docker ps and crictl ps show it
    return found


def _owner(record: Record) -> dict[str, str]:
    """The file's owner, which nobody can make up, where this system knows the name."""
    try:
        return {"user": _user(record.uid)}
    except KeyError:
        return {}


@lru_cache
def _user(uid: int) -> str:
    """A name that was found is kept: to ask may mean to ask a directory service."""
    name = user_name(uid)
    if name is None:
        raise KeyError(uid)
    return name


def _merged(records: Sequence[Record]) -> list[Sample]:
    """The rank's own samples and its workers', histograms of the same series added up."""
    samples: list[Sample] = []
    histograms: dict[tuple[str, tuple[str, ...]], list[Sample]] = {}
    for record in records:
        samples += record.numbers
        for sample in record.histograms:
            histograms.setdefault((sample.metric.name, sample.labels), []).append(sample)
    return samples + [parts[0] if len(parts) == 1 else _sum(parts) for parts in histograms.values()]


def _accept(who: Identity, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...] | None:
    """Only metrics of its kind, under the record's own run, rank and worker."""
    predicts = metric.area in {"predict", "export"}
    if metric.name not in _ACCEPTED or predicts != (who.kind in catalog.PREDICTIONS):
        return None
    if metric.labels[2:] == ("worker",) and who.kind == "worker":
        return (who.run, who.rank, who.worker)
    return (who.run, who.rank, *labels[2:])


def _sum(samples: Sequence[Sample]) -> Sample:
    """One histogram of several of the same series."""
    values = [sample.value for sample in samples if isinstance(sample.value, HistogramValue)]
    counts = tuple(map(sum, zip(*(value.counts for value in values), strict=True)))
    return samples[0]._replace(value=HistogramValue(counts, sum(value.sum for value in values)))
