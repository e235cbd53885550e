"""The record of a run as series: what it holds now, and the last batches from its ring.

Works without an exporter, and after the run was killed. The ring has a batch's data wait and step time, but
not the step's phases nor its workers' times; these are laid out backwards from the totals in proportion, so they are
approximate.
"""

from __future__ import annotations

import glob
import math
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record import keeping, paths, reader
from yoloscope_record.file_format import Identity, RecordError, Row, slug
from yoloscope_record.reader import Reader

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.collectors import ActiveRanks, Context, circumstances
from yoloscope_exporter.collectors.runs import Runs
from yoloscope_exporter.config import defaults
from yoloscope_exporter.language import text
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.measures.training import STEP_PHASES
from yoloscope_exporter.system import os

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Key = tuple[str, str]


@dataclass(frozen=True)
class PostMortem:
    """What the records of one run hold.

    Attributes:
        base: the directory that its records lie in.
        store: as if the run had been sampled after each of its last batches.
        rows: the ring of each rank, oldest batch first.
        states: what each rank was doing when it last wrote, one of catalog.STATES.
    """

    run: str
    base: Path
    store: Store
    rows: dict[str, list[Row]]
    states: dict[str, str]


class StillOpenError(Exception):
    """Of a run only its beginning is kept, and nothing says here that it has ended: it may train on another machine."""

    def __init__(self, run: str, base: Path, host: str) -> None:
        """Say where that is, and which machine knows more."""
        super().__init__(
            text(
                "the end of {run} is not known here: {base} has its beginning alone; it ran on {host}, "
                "where its record is, if it trains or nobody has cleared it up",
                run=run,
                base=base,
                host=host or "a machine",
            )
        )


def find(records: Path, wanted: str, kept: Path | None = None) -> tuple[Path, str]:
    """The directory that holds the records of a run, and its name. `wanted` is that name, or where its results are.

    Its own records come first; then what was kept in the folder, in `kept`, or in a folder below this directory that
    Ultralytics would give a run of this name. Where results are: `of_results`.

    Raises:
        KeyError: there is nothing of it.
        StillOpenError: only its beginning.
    """
    found = next((one for one in _candidates(records, wanted, kept) if paths.find_run(*one).is_dir()), None)
    if found is None:
        raise KeyError(wanted)
    if found[0] != records:
        _require_an_end(*found)
    return found


def _candidates(records: Path, wanted: str, kept: Path | None) -> Iterator[tuple[Path, str]]:
    """Directories, and names that the run may have in them."""
    yield records, wanted
    folder = Path(wanted)
    if folder.is_dir():
        yield from ((records, name) for name in of_results(records, wanted))
        base = folder.absolute() / keeping.FOLDER
        names = runs(base) if base.is_dir() else []
        yield from ((one, name) for one in (records, base) for name in names[:1])
        return
    bases = [*([kept] if kept else []), *_folders(wanted)]
    yield from ((base, wanted) for base in bases)
    yield from ((records, name) for name in of_results(records, wanted))


def of_results(records: Path, wanted: str) -> list[str]:
    """Runs whose results lie there, this user's first, and of these the newest.

    That is the folder of a training, a prediction or a validation; of an export the file or folder that it wrote, or
    the folder in which that lies. A run may say that it is anybody's: only those of this user count, and of whose the
    folder or file is.
    """
    places, found = {os.path.abspath(wanted), os.path.realpath(wanted)} if wanted else set(), []
    users = {os.geteuid()}
    with suppress(OSError):
        users.add(os.stat(wanted).st_uid)
    for path in paths.record_files(records, ("rank", *catalog.PREDICTIONS)):
        with suppress(RecordError, OSError):
            record = Reader(path).read()
            exported = record.facts.get("exported", "")
            there = places & {record.facts.get("save_dir", ""), exported, os.path.dirname(exported)}
            if there and record.uid in users:
                found.append((record.uid == os.geteuid(), record.created, record.identity.run))
    return [run for *_, run in sorted(found, reverse=True)]


def _folders(run: str) -> Iterator[Path]:
    """Where results of a run called `project/name-time` may lie, seen from here."""
    if Path(run).is_absolute():
        return
    project = glob.escape(run.rpartition("/")[0]) or "*"
    for pattern in ("runs/*/*", "runs/*", f"{project}/*", f"*/{project}/*"):
        yield from sorted(path.parent for path in Path.cwd().glob(f"{pattern}/{keeping.FOLDER}/{slug(run)}"))


def _require_an_end(base: Path, run: str) -> None:
    boot = circumstances.boot_of(Path("/proc"))
    for path in sorted(paths.find_run(base, run).glob("rank-*.rec")):
        with suppress(RecordError):
            record = Reader(path).read()
            ended = record.alive or record.state in (*catalog.FINAL, catalog.KILLED)
            if not ended and not circumstances.rebooted(record, boot):
                raise StillOpenError(run, base, record.facts.get("host", ""))


def runs(base: Path, *, predictions: bool = False) -> list[str]:
    """Names of the trainings whose records lie in `base`, the newest start first; with `predictions` of all runs."""
    starts = [catalog.TRAIN_START_TIMESTAMP_SECONDS]
    starts += [catalog.PREDICT_START_TIMESTAMP_SECONDS] if predictions else []
    started = {
        sample.labels[0]: sample.value
        for sample in everybody(base).samples
        if sample.metric in starts and isinstance(sample.value, float)
    }
    return sorted(started, key=lambda run: started[run], reverse=True)


class Known(NamedTuple):
    """What all records in a directory hold now, and where those of a run lie, by its label."""

    samples: tuple[Sample, ...]
    place: Callable[[str], Path | None]


def read(base: Path, run: str, known: Known | None = None) -> PostMortem:
    """What the records of `run` in `base` hold; `known` is what all of them do, where several runs are read.

    Raises:
        KeyError: there is no such run in `base`.
    """
    everything = everybody(base) if known is None else known
    run = _label(everything.samples, run)
    found = [sample for sample in everything.samples if sample.labels[:1] == (run,)]
    ranks = sorted({sample.labels[1] for sample in found if sample.metric == catalog.TRAIN_UP})
    if not ranks and any(sample.metric == catalog.PREDICT_UP for sample in found):
        return PostMortem(run, base, _predicted(found), {}, {})
    if not ranks:
        raise KeyError(run)
    there = everything.place(run) or paths.find_run(base, run)  # two users may have runs of one name
    rows = {rank: _ring(there / Identity(run, rank).filename) for rank in ranks}
    store, end = Store(), _end(found)
    moments: dict[float, list[Sample]] = {}
    for rank in ranks:
        own = [sample for sample in found if sample.labels[1] == rank]
        for moment, history in _history(own, (run, rank), rows[rank]):
            moments.setdefault(moment, []).extend(history)
    for moment in sorted(moments):
        if moment < end:
            store.add(moment, moments[moment])
    store.add(end, found)
    return PostMortem(run, base, store, rows, {rank: _state(there / Identity(run, rank).filename) for rank in ranks})


def place(base: Path, run: str) -> Path:
    """The directory of the records that `read` would read."""
    known = everybody(base)
    return known.place(_label(known.samples, run)) or paths.find_run(base, run)


def _label(samples: Sequence[Sample], wanted: str) -> str:
    """The label that a run of that name has there: with its owner's number, if it is this user's, or nobody else's."""
    labels = {sample.labels[0] for sample in samples if sample.metric in (catalog.TRAIN_UP, catalog.PREDICT_UP)}
    own = paths.own_label(wanted, labels)
    others = (label for label in sorted(labels) if paths.OWNED.sub("", label) == wanted)
    return own if own in labels else next(others, wanted)


def everybody(base: Path) -> Known:
    """What all records in `base` hold now."""
    ranks = ActiveRanks()
    forever = replace(defaults(), runs_keep=math.inf, runs_keep_killed=math.inf, runs_remove_after=math.inf)
    context = Context(
        Path("/proc"), Path("/sys"), base, time.monotonic, time.time, lambda *_: None, ranks, config=lambda: forever
    )
    return Known(tuple(Runs(context, math.inf).collect()), ranks.place)


def _ring(path: Path) -> list[Row]:
    try:
        rows = reader.read_ring(path)
    except RecordError:
        return []
    return [_possible(row) for row in rows if 0.0 <= row.time <= catalog.LAST_MOMENT]


def _possible(row: Row) -> Row:
    """The row without what cannot be true."""
    return Row(*(value if 0.0 <= value <= catalog.MOST else math.nan for value in row))


def _state(path: Path) -> str:
    try:
        return Reader(path).read().state
    except RecordError:
        return "unknown"


def _end(samples: Sequence[Sample]) -> float:
    """The last moment the run is known to have lived; now if it does still."""
    if any(sample.metric in (catalog.TRAIN_UP, catalog.PREDICT_UP) and sample.value == 1 for sample in samples):
        return time.time()
    last = (
        catalog.TRAIN_END_TIMESTAMP_SECONDS,
        catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS,
        catalog.PREDICT_END_TIMESTAMP_SECONDS,
        catalog.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS,
    )
    known = [s.value for s in samples if s.metric in last and isinstance(s.value, float)]
    return max(known, default=time.time()) + 0.001


def _predicted(samples: Sequence[Sample]) -> Store:
    """The record of what is no training has totals alone: so how it began, with empty counters, and how it is now."""
    end = _end(samples)
    starts = [s.value for s in samples if s.metric == catalog.PREDICT_START_TIMESTAMP_SECONDS]
    modes = [s.labels[_MODE] for s in samples if s.metric == catalog.PREDICT_RUN_INFO]
    kind = next((catalog.KINDS_OF_MODES.get(mode, "") for mode in modes), "")
    store = Store()
    began = min([value for value in starts if isinstance(value, float)], default=end)
    store.add(began, [_begun(sample, kind) for sample in samples])
    store.add(end, samples)
    return store


def _begun(sample: Sample, kind: str) -> Sample:
    """A sample as it was at the start of what is no training, but of this kind."""
    if sample.metric == catalog.PREDICT_UP:
        return sample._replace(value=1.0)
    if sample.metric == catalog.PREDICT_STATE:
        return sample._replace(value=float(sample.labels[2] == kind))
    return _empty(sample) if sample.metric.kind in (catalog.COUNTER, catalog.HISTOGRAM) else sample


def _history(samples: Sequence[Sample], key: Key, rows: Sequence[Row]) -> Iterator[tuple[float, list[Sample]]]:
    """The rank's samples as they were: at its start with empty counters, and after each batch of the ring."""
    value = {(s.metric.name, s.labels): s.value for s in samples if isinstance(s.value, float)}

    def total(metric: catalog.Metric, *labels: str) -> float:
        return value.get((metric.name, (*key, *labels)), 0.0)

    fixed = [s for s in samples if s.metric.kind == catalog.INFO or s.metric in _FIXED]
    alive = [Sample(catalog.TRAIN_UP, key, 1.0), Sample(catalog.TRAIN_STATE, (*key, "train"), 1.0), *fixed]
    start = value.get((catalog.TRAIN_START_TIMESTAMP_SECONDS.name, key))
    if start is not None:
        yield start, [*alive, *(_empty(s) for s in samples if s.metric.kind in (catalog.COUNTER, catalog.HISTOGRAM))]
    phases = {phase: total(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase) for phase in STEP_PHASES}
    steps = sum(seconds for phase, seconds in phases.items() if phase != "data_wait")
    batches, size = total(catalog.TRAIN_BATCHES_TOTAL), total(catalog.TRAIN_BATCH_SIZE)
    workers = [s for s in samples if s.metric in _WORKERS]
    done = batches
    images, waited, stepped = total(catalog.TRAIN_IMAGES_TOTAL), phases["data_wait"], steps
    history = []
    for row in reversed(rows):
        shares = {phase: stepped * seconds / steps for phase, seconds in phases.items() if steps and seconds}
        spent = {**shares, "data_wait": waited}
        counters = [
            Sample(catalog.TRAIN_BATCHES_TOTAL, key, batches),
            Sample(catalog.TRAIN_IMAGES_TOTAL, key, images),
            Sample(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, key, row.time),
            *(Sample(catalog.TRAIN_PHASE_SECONDS_TOTAL, (*key, p), max(seconds, 0.0)) for p, seconds in spent.items()),
            *(worker._replace(value=float(worker.value) * batches / done) for worker in workers if done),  # type: ignore[arg-type]
        ]
        history.append((row.time, [*alive, *counters, *_gauges(key, row)]))
        batches, images = batches - 1, images - size
        waited, stepped = waited - _known(row.data_wait_seconds), stepped - _known(row.step_seconds)
    yield from reversed(history)


def _gauges(key: Key, row: Row) -> Iterator[Sample]:
    gauges = (
        (catalog.TRAIN_EPOCH, key, row.epoch),
        (catalog.TRAIN_QUEUE_DEPTH, key, row.queue_depth),
        (catalog.TRAIN_CUDA_MEMORY_BYTES, (*key, "allocated"), row.allocated_bytes),
        (catalog.TRAIN_CUDA_MEMORY_BYTES, (*key, "reserved"), row.reserved_bytes),
    )
    return (Sample(metric, labels, value) for metric, labels, value in gauges if math.isfinite(value))


def _empty(sample: Sample) -> Sample:
    zero: float | HistogramValue = 0.0
    if isinstance(sample.value, HistogramValue):
        zero = HistogramValue((0.0,) * len(sample.value.counts), 0.0)
    return sample._replace(value=zero)


def _known(number: float) -> float:
    return number if math.isfinite(number) else 0.0


_MODE = catalog.PREDICT_RUN_INFO.labels.index("mode")
_WORKERS = (
    catalog.TRAIN_WORKER_BATCHES_TOTAL,
    catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL,
    catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL,
)
#: Gauges that do not change during a run.
_FIXED = (
    catalog.TRAIN_START_TIMESTAMP_SECONDS,
    catalog.TRAIN_EPOCHS,
    catalog.TRAIN_EPOCH_BATCHES,
    catalog.TRAIN_BATCH_SIZE,
    catalog.TRAIN_WORKERS,
    catalog.TRAIN_QUEUE_CAPACITY,
)
