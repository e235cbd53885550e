"""One run's records as samples: what each rank is, how it is, how it ended, and what it has counted."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record.loader_facts import SLOW_FILES, SlowFile, slow_files

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import STATES, HistogramValue, Metric, Sample
from yoloscope_exporter.collectors.owners import user_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from yoloscope_record.file_format import Identity
    from yoloscope_record.reader import Record

    from yoloscope_exporter.collectors.stacks.endings import Ending

DEVICES_EVERY = 5  # cycles
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
    catalog.TRAIN_ENERGY_JOULES_TOTAL,
    catalog.TRAIN_GOODPUT_RATIO,
    catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL,
    catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL,
    catalog.TRAIN_HANG_INFO,
    catalog.TRAIN_END_INFO,
    catalog.PREDICT_RUN_INFO,
    catalog.PREDICT_UP,
    catalog.PREDICT_STATE,
    catalog.PREDICT_VERDICT,
    catalog.PREDICT_VERDICT_FIX_INFO,
}
ACCEPTED = {
    metric.name
    for metric in catalog.METRICS
    if metric.labels[:2] == ("run", "rank") and "role" not in metric.labels and metric not in _OURS
}


class Devices:
    """The GPU of each rank: by UUID, or by the process that was last seen on it."""

    def __init__(self, latest: Callable[[], Iterable[Sample]]) -> None:
        """Nothing is looked at yet; `latest` gives the last cycle's samples."""
        self._latest = latest
        self._index: dict[str, str] = {}
        self._cut: set[str] = set()
        self._seen: dict[tuple[str, ...], set[str]] = {}  # GPUs by run and rank; without either of other processes
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
        self._cut = {gpu.partition("/")[0] for gpu in self._index.values() if "/" in gpu}

    def of(self, who: tuple[str, str], facts: Mapping[str, str], *, alive: bool) -> tuple[str, str] | None:
        """Index and UUID of a rank's GPU; None while that is not certain, as of a GPU that MIG has cut.

        What the record says counts, of one that lives unless the driver sees ranks there and not this one: anybody
        could claim a GPU that others train on, and with it a part of what it draws and does.
        """
        told, seen = facts.get("gpu_uuid", ""), self._seen.get(who, set())
        for uuid in (told, f"MIG-{told.removeprefix('GPU-')}"):  # CUDA tells that of an instance without its kind
            gpu = facts.get("gpu") or self._index.get(uuid)
            others = any(gpu in gpus for (run, _), gpus in self._seen.items() if run)
            if gpu and gpu not in self._cut and (gpu in seen or not (alive and others)):
                return gpu, uuid
        if len(seen) != 1:
            return None
        (gpu,) = seen
        return gpu, next((uuid for uuid, index in self._index.items() if index == gpu), "")


class RunProcess(NamedTuple):
    """A rank, a worker or a prediction: its record, the job that its cgroup names, and its death by its stack files."""

    record: Record
    job: Mapping[str, str]
    death: Ending


def run_samples(
    processes: Sequence[RunProcess], devices: Devices, event: Callable[[Record, Ending], str], label: str
) -> list[Sample]:
    """Samples of one run, under its label; workers count only beside their rank."""
    ranks = {one.record.identity.rank: one for one in processes if one.record.identity.kind == "rank"}
    workers = defaultdict(list)
    for one in processes:
        if one.record.identity.kind == "worker":
            workers[one.record.identity.rank].append(one.record)
    samples = [sample for one in processes for sample in prediction(one.record, one.death)]
    for rank, (record, job, death) in ranks.items():
        samples += _state(record)
        samples += _facts(record, job, devices, label)
        samples += _end(record, death, event)
        samples += _slow_files(record.identity, workers[rank])
        samples += _merged((record, *workers[rank]))
    named = all(sample.labels[0] == label for sample in samples)
    return samples if named else [sample._replace(labels=(label, *sample.labels[1:])) for sample in samples]


def prediction(record: Record, death: Ending | None = None) -> Iterator[Sample]:
    """Samples of a process that predicts, validates or exports; none of any other record."""
    if record.identity.kind not in catalog.PREDICTIONS:
        return
    who, state = (record.identity.run, record.identity.rank), _prediction_state(record, death)
    yield Sample(catalog.PREDICT_UP, who, 1.0 if record.alive else 0.0)
    for name in catalog.PREDICT_STATES:
        yield Sample(catalog.PREDICT_STATE, (*who, name), 1.0 if name == state else 0.0)
    facts = {"pid": str(record.pid), **record.facts, **_owner(record)}
    yield Sample(catalog.PREDICT_RUN_INFO, (*who, *(facts.get(name, "") for name in catalog.PREDICT_FACTS)), 1.0)
    for sample in record.samples:
        ended = sample.metric == catalog.PREDICT_UNDER_WAY and not record.alive
        yield sample._replace(value=0.0) if ended else sample


def _prediction_state(record: Record, death: Ending | None) -> str:
    """Its state; of a daemon that was terminated between two calls, as the workers of a Pool are, that it finished."""
    if record.outcome != catalog.KILLED:
        return record.outcome
    under_way = any(sample.value for sample in record.samples if sample.metric == catalog.PREDICT_UNDER_WAY)
    if record.facts.get("daemon") and not under_way:
        return "finished"
    return catalog.STOPPED if death and death.facts.get("signal") == "SIGTERM" else catalog.KILLED


def _state(record: Record) -> Iterator[Sample]:
    """Whether the rank lives, its state, its beginning and its end."""
    who = (record.identity.run, record.identity.rank)
    state = record.outcome
    given = {sample.metric.name for sample in record.numbers}
    yield Sample(catalog.TRAIN_UP, who, 1.0 if record.alive else 0.0)
    for name in STATES:
        yield Sample(catalog.TRAIN_STATE, (*who, name), 1.0 if name == state else 0.0)
    moments = {catalog.TRAIN_START_TIMESTAMP_SECONDS: record.created}
    if state in catalog.FINAL:
        moments[catalog.TRAIN_END_TIMESTAMP_SECONDS] = record.updated
    for metric, moment in moments.items():
        if metric.name not in given and catalog.plausible(metric, moment) is not None:
            yield Sample(metric, who, moment)


def _facts(record: Record, job: Mapping[str, str], devices: Devices, label: str) -> Iterator[Sample]:
    """The info metrics. What its cgroup tells of its job counts before what the trainer says."""
    who = (record.identity.run, record.identity.rank)
    facts = {"pid": str(record.pid), **_of_job(record.facts, job), **_owner(record)}
    yield Sample(catalog.TRAIN_RUN_INFO, (*who, *(facts.get(name, "") for name in catalog.RUN_FACTS)), 1.0)
    if any(facts.get(name) for name in catalog.JOB_FACTS):
        yield Sample(catalog.TRAIN_JOB_INFO, (*who, *(facts.get(name, "") for name in catalog.JOB_FACTS)), 1.0)
    device = devices.of((label, who[1]), facts, alive=record.alive)
    if device is not None:
        yield Sample(catalog.TRAIN_DEVICE_INFO, (*who, *device), 1.0)


def _of_job(told: Mapping[str, str], job: Mapping[str, str]) -> dict[str, str]:
    """The facts with what the cgroup tells; whoever claims another job's number has nothing to say of this one."""
    number = job.get("slurm_job_id", "")
    other = number and told.get("slurm_job_id", number) != number
    return {**{name: text for name, text in told.items() if not (other and name.startswith("slurm_"))}, **job}


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


def _owner(record: Record) -> dict[str, str]:
    """The file's owner, which nobody can make up: the name, or the number where this system does not know that."""
    return {"user": user_name(record.uid)}


def _merged(records: Sequence[Record]) -> list[Sample]:
    """The rank's own samples and its workers', histograms of the same series added up."""
    samples: list[Sample] = []
    histograms: dict[tuple[str, tuple[str, ...]], list[Sample]] = {}
    for record in records:
        samples += record.numbers if record.alive else filter(_is_past, record.numbers)
        for sample in record.histograms:
            histograms.setdefault((sample.metric.name, sample.labels), []).append(sample)
    return samples + [parts[0] if len(parts) == 1 else _sum(parts) for parts in histograms.values()]


def _is_past(sample: Sample) -> bool:
    """Whether it says nothing of a time to come: after early stopping, or a death, there is none."""
    return sample.metric is not catalog.TRAIN_REMAINING_SECONDS


def accept(who: Identity, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...] | None:
    """Only metrics of its kind, under the record's own run, rank and worker."""
    predicts = metric.area in {"predict", "export"}
    if metric.name not in ACCEPTED or predicts != (who.kind in catalog.PREDICTIONS):
        return None
    if metric.labels[2:] == ("worker",) and who.kind == "worker":
        return (who.run, who.rank, who.worker)
    return (who.run, who.rank, *labels[2:])


def _sum(samples: Sequence[Sample]) -> Sample:
    """One histogram of several of the same series."""
    values = [sample.value for sample in samples if isinstance(sample.value, HistogramValue)]
    counts = tuple(map(sum, zip(*(value.counts for value in values), strict=True)))
    return samples[0]._replace(value=HistogramValue(counts, sum(value.sum for value in values)))
