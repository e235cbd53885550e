"""A small model of nodes and trainings that writes what Prometheus would have scraped, as promtool's input series.

A series is a list of pieces, each a value and a slope from some minute on, so hours cost nothing to describe. All times
are minutes since the start of the scenario; values are those of the catalogue. `None` as a value means that the series
is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import catalog as c

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

GIB = 2.0**30
STEP_SECONDS = 0.5
BATCH = 16
COMPUTE = {"h2d": 0.05, "forward": 0.3, "backward": 0.5, "optimizer": 0.1, "other": 0.05}
GPU_MEMORY = 80 * GIB
HOST_MEMORY = 512 * GIB
LIMIT = 64 * GIB  # of a container
DISK = 1000 * GIB

#: (minute, value, slope per second)
Piece = tuple[float, float | None, float]
Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Part:
    """A stretch of a training in which nothing changes.

    Attributes:
        minutes: its length.
        state: as `train_state`.
        busy: share of time in which the GPU works.
        wait: share of training time spent waiting for data; `exposed`: for other ranks.
        first: share of training time spent waiting for the first batch of an epoch; part of `wait`.
        batches: whether batches are done at all (a hang has none).
        slow: factor on the compute time of a batch.
        high, low: shares of utilisation samples above 70 % and up to 10 %; by default all are what `busy` says.
    """

    minutes: float
    state: str = "train"
    busy: float = 0.95
    wait: float = 0.02
    exposed: float = 0.0
    first: float = 0.0
    batches: bool = True
    slow: float = 1.0
    high: float | None = None
    low: float | None = None
    images: float = 1.0


@dataclass
class World:
    """Everything of one scenario.

    Attributes:
        name: also the run's name and the address of its first node.
        minutes: its length.
        alone: shares its Prometheus with no other scenario.
        shown: alerts whose texts are wanted, and the minute.
        series: what would have been scraped.
        job: of all targets; no rule may depend on its name.
    """

    name: str
    minutes: float = 150
    alone: bool = False
    shown: tuple[tuple[str, float], ...] = ()
    series: dict[Key, list[Piece]] = field(default_factory=dict)
    job: str = "training-nodes"

    # --- the three kinds of series ------------------------------------------------------------------------------------

    def gauge(self, metric: c.Metric | str, *points: tuple[float, float | None], **labels: str) -> None:
        """Values from each minute on."""
        self.put(metric, [(minute, value, 0.0) for minute, value in points], **labels)

    def constant(self, metric: c.Metric | str, value: float = 1.0, **labels: str) -> None:
        """One value from the beginning to the end."""
        self.gauge(metric, (0, value), **labels)

    def counter(self, metric: c.Metric | str, *points: tuple[float, float], start: float = 0.0, **labels: str) -> None:
        """A counter with these increases per second from each minute on; absent before the first."""
        pieces: list[Piece] = []
        total = start
        for index, (minute, rate) in enumerate(points):
            pieces.append((minute, total, rate))
            if index + 1 < len(points):
                total += (points[index + 1][0] - minute) * 60 * rate
        self.put(metric, pieces, **labels)

    def event(self, metric: c.Metric | str, minute: float, count: float = 1, start: float = 0, **labels: str) -> None:
        """A counter that jumps once."""
        self.gauge(metric, (0, start), (minute, start + count), **labels)

    def put(self, metric: c.Metric | str, pieces: Sequence[Piece], **labels: str) -> None:
        """Set a series, in place of what it was."""
        name = metric if isinstance(metric, str) else metric.name
        self.series[name, tuple(sorted(labels.items()))] = list(pieces)

    def merge(self, other: World, **labels: str) -> None:
        """Take in all series of another world, with more labels."""
        self.series |= {
            (name, tuple(sorted((dict(own) | labels).items()))): list(pieces)
            for (name, own), pieces in other.series.items()
        }

    def end(self, minute: float, **labels: str) -> None:
        """Series with these labels are no longer published from this minute on."""
        for (_, own), pieces in self.series.items():
            if labels.items() <= dict(own).items():
                pieces[:] = [piece for piece in pieces if piece[0] < minute] + [(minute, None, 0.0)]

    def without(self, *metrics: c.Metric) -> None:
        """Hooks or an exporter of a version that does not know these."""
        names = {metric.name for metric in metrics}
        self.series = {key: pieces for key, pieces in self.series.items() if key[0] not in names}

    def gap(self, start: float, end: float) -> None:
        """No scrape succeeds between the two; counters have gone on meanwhile."""
        for (name, _), pieces in self.series.items():
            if name != "up":
                pieces[:] = list(_cut(pieces, start, end))

    def restart_exporter(self, start: float, end: float) -> None:
        """The exporter is down between the two; the counters it integrates itself begin again."""
        for (name, labels), pieces in self.series.items():
            metric = c.BY_NAME.get(name)
            if metric and metric.kind == c.COUNTER and metric.area == "gpu" and "kind" not in dict(labels):
                base = _at(pieces, end)[0] or 0.0
                later = [(minute, (value or 0.0) - base, slope) for minute, value, slope in pieces if minute > end]
                pieces[:] = [*(piece for piece in pieces if piece[0] < end), (end, 0.0, _at(pieces, end)[1]), *later]
        self.gap(start, end)
        for node in {dict(labels)["instance"] for _, labels in self.series}:
            self.gauge("up", (0, 1), (start, 0), (end, 1), instance=node)

    # --- parts of the world -------------------------------------------------------------------------------------------

    def node(self, index: int = 0) -> str:
        """Address of a node."""
        return f"{self.name}{f'-{index}' if index else ''}:9911"

    def host(self, index: int = 0, *, gpus: int = 1) -> str:
        """A healthy node with idle GPUs; returns its address."""
        instance = self.node(index)
        self.constant("up", instance=instance)
        self.constant(c.BUILD_INFO, instance=instance, version="1", python="3.12")
        self.put(c.SNAPSHOT_TIMESTAMP_SECONDS, [(0, 0.0, 1.0)], instance=instance)
        for collector in ("gpu", "runs", "memory"):
            self.constant(c.COLLECTOR_UP, instance=instance, collector=collector)
            last = c.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS
            self.put(last, [(0, 1.0, 1.0)], instance=instance, collector=collector)
        self._memory(instance)
        for gpu in range(gpus):
            self._gpu(instance, str(gpu))
        return instance

    def _memory(self, instance: str) -> None:
        self.constant(c.MEMORY_TOTAL_BYTES, HOST_MEMORY, instance=instance)
        self.constant(c.MEMORY_USED_BYTES, 0.4 * HOST_MEMORY, instance=instance)
        self.constant(c.MEMORY_AVAILABLE_BYTES, 0.6 * HOST_MEMORY, instance=instance)
        self.counter(c.PRESSURE_SECONDS_TOTAL, (0, 0.0), instance=instance, resource="memory", kind="full")
        self.constant(c.LOAD_AVERAGE, 30, instance=instance, window="5m")
        self.constant(c.CPU_CORES, 64, instance=instance)
        for mountpoint, fstype, size in (("/", "ext4", DISK), ("/dev/shm", "tmpfs", 64 * GIB)):
            place = {"instance": instance, "mountpoint": mountpoint, "fstype": fstype}
            self.constant(c.FILESYSTEM_SIZE_BYTES, size, **place)
            self.constant(c.FILESYSTEM_AVAILABLE_BYTES, 0.6 * size, **place)

    def _gpu(self, instance: str, gpu: str) -> None:
        where = {"instance": instance, "gpu": gpu}
        facts = {"uuid": f"GPU-{instance}-{gpu}", "name": "H100", "driver": "550", "cuda": "12.4", "bus": gpu}
        self.constant(c.GPU_INFO, **where, **facts)
        self.constant(c.GPU_UP, **where)
        self.counter(c.GPU_BUSY_SECONDS_TOTAL, (0, 0.0), **where)
        self.constant(c.GPU_MEMORY_TOTAL_BYTES, GPU_MEMORY, **where)
        self.constant(c.GPU_MEMORY_FREE_BYTES, 0.3 * GPU_MEMORY, **where)
        for reason in c.THROTTLE_REASONS:
            self.counter(c.GPU_THROTTLED_SECONDS_TOTAL, (0, 0.0), **where, reason=reason)
        self.constant(c.GPU_TEMPERATURE_CELSIUS, 65, **where, sensor="core")
        self.constant(c.GPU_TEMPERATURE_LIMIT_CELSIUS, 90, **where, kind="slowdown")
        self.constant(c.GPU_PCIE_LINK_WIDTH, 16, **where)
        self.constant(c.GPU_PCIE_LINK_WIDTH_MAX, 16, **where)
        self.constant(c.GPU_PCIE_LINK_GENERATION, 5, **where)
        self.constant(c.GPU_PCIE_LINK_GENERATION_MAX, 5, **where)
        for kind in ("crc", "replay", "recovery"):
            self.constant(c.GPU_NVLINK_ERRORS_TOTAL, 0, **where, kind=kind)
        self.constant(c.GPU_ECC_ERRORS_TOTAL, 0, **where, kind="uncorrected")
        self.constant(c.GPU_ROW_REMAP_PENDING, 0, **where)
        self.constant(c.GPU_ROW_REMAP_FAILURE, 0, **where)
        self.constant(c.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, 0, **where)
        self.constant(c.GPU_RECOVERY_ACTION, 0, **where)
        for fault in c.FABRIC_FAULTS:
            self.constant(c.GPU_FABRIC_FAULT, 0, **where, fault=fault)
        for kind in ("single_bit", "double_bit"):
            self.constant(c.GPU_RETIRED_PAGES_TOTAL, 0, **where, kind=kind)

    def work(self, parts: Sequence[Part], *, instance: str, gpu: str, start: float = 0) -> None:
        """What a GPU does while these parts of a training go by."""
        where = {"instance": instance, "gpu": gpu}
        times = _starts(parts, start)
        idle = [] if start == 0 else [(0.0, 0.0)]
        after = (times[-1] + parts[-1].minutes, 0.0)
        self.counter(
            c.GPU_BUSY_SECONDS_TOTAL,
            *idle,
            *((minute, part.busy) for minute, part in zip(times, parts, strict=True)),
            after,
            **where,
        )
        name = c.GPU_UTILIZATION_SAMPLED_RATIO.name
        shares = [(minute, *_samples(part)) for minute, part in zip(times, parts, strict=True)]
        self.counter(f"{name}_count", (0, 6.0), **where)
        self.counter(
            f"{name}_bucket", *((minute, 6 * low) for minute, low, _ in shares), (after[0], 6.0), **where, le="0.1"
        )
        below = ((minute, 6 * (1 - high)) for minute, _, high in shares)
        self.counter(f"{name}_bucket", *below, (after[0], 6.0), **where, le="0.7")

    def train(  # one training is one thought
        self,
        *parts: Part,
        run: str = "",
        rank: str = "0",
        ranks: int = 1,
        node: int = 0,
        gpu: str = "0",
        start: float = 0,
        epoch_minutes: float = 10,
        first_epoch: int = 1,
        device: bool = True,
    ) -> dict[str, str]:
        """One rank of a training, and its work on its GPU; returns its labels."""
        who = {"instance": self.node(node), "run": run or self.name, "rank": rank}
        times = _starts(parts, start)
        end = times[-1] + parts[-1].minutes
        if device:
            self.constant(c.TRAIN_DEVICE_INFO, **who, gpu=gpu, uuid=f"GPU-{who['instance']}-{gpu}")
            self.work(parts, instance=who["instance"], gpu=gpu, start=start)
        facts = dict.fromkeys(c.RUN_FACTS, "x") | {"world_size": str(ranks) if device or ranks > 1 else "0"}
        self.constant(c.TRAIN_RUN_INFO, **who, **facts)
        self._states(parts, times, who)
        self._progress(parts, times, who, epoch_minutes, first_epoch)
        self._phases(parts, times, who, ddp=ranks > 1)
        self._quiet(who)
        if start:
            self._not_before(start, **who)
        if parts[-1].state in ("finished", "failed", "killed"):
            self.gauge(c.TRAIN_UP, (start, 1), (times[-1], 0), **who)
        else:
            self.gauge(c.TRAIN_UP, (start, 1), **who)
        if end < self.minutes:
            self.end(end, **who)
        return who

    def _states(self, parts: Sequence[Part], times: Sequence[float], who: dict[str, str]) -> None:
        for state in c.STATES:
            points = ((minute, float(part.state == state)) for minute, part in zip(times, parts, strict=True))
            self.gauge(c.TRAIN_STATE, *points, **who, state=state)

    def _progress(
        self, parts: Sequence[Part], times: Sequence[float], who: dict[str, str], epoch_minutes: float, first: int
    ) -> None:
        rates = [(minute, _batch_rate(part)) for minute, part in zip(times, parts, strict=True)]
        self.counter(c.TRAIN_BATCHES_TOTAL, *rates, **who)
        images = [(minute, rate * BATCH * part.images) for (minute, rate), part in zip(rates, parts, strict=True)]
        self.counter(c.TRAIN_IMAGES_TOTAL, *images, **who)
        self.put(c.TRAIN_START_TIMESTAMP_SECONDS, [(times[0], times[0] * 60, 0.0)], **who)
        last, pieces = None, []
        for (minute, rate), part in zip(rates, parts, strict=True):
            if rate:
                pieces.append((minute, minute * 60, 1.0))
                last = (minute + part.minutes) * 60
            else:
                pieces.append((minute, last, 0.0))
        self.put(c.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, pieces, **who)
        end = times[-1] + parts[-1].minutes
        count = int((end - times[0]) / epoch_minutes) + 1
        epochs = [(times[0] + index * epoch_minutes, float(first + index)) for index in range(count)]
        self.gauge(c.TRAIN_EPOCH, *epochs, **who)
        pace = next((rate for _, rate in rates if rate), 0.0)
        self.constant(c.TRAIN_EPOCH_BATCHES, max(round(epoch_minutes * 60 * pace), 1), **who)
        self.gauge(c.TRAIN_CHECKPOINTS_TOTAL, *((minute, epoch - first) for minute, epoch in epochs), **who)

    def _phases(self, parts: Sequence[Part], times: Sequence[float], who: dict[str, str], *, ddp: bool) -> None:
        by_phase: dict[str, list[tuple[float, float]]] = {}
        for minute, part in zip(times, parts, strict=True):
            rates = _phase_rates(part, ddp=ddp)
            for phase in ("setup", "validate", "checkpoint", *_phase_rates(Part(1), ddp=ddp)):
                by_phase.setdefault(phase, []).append((minute, rates.get(phase, 0.0)))
        for phase, points in by_phase.items():
            self.counter(c.TRAIN_PHASE_SECONDS_TOTAL, *points, **who, phase=phase)
        both = list(zip(times, parts, strict=True))
        first = [(minute, part.first if part.state == "train" else 0.0) for minute, part in both]
        self.counter(c.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, *first, **who)
        for metric, share in ((c.TRAIN_DATA_WAIT_SECONDS, "wait"), (c.TRAIN_STEP_SECONDS, "")):
            sums = [(m, _batch_rate(p) and (getattr(p, share) if share else 1 - p.wait)) for m, p in both]
            self.counter(f"{metric.name}_sum", *sums, **who)
            self.counter(f"{metric.name}_count", *((m, _batch_rate(p)) for m, p in both), **who)

    def _quiet(self, who: dict[str, str]) -> None:
        """What stands still in a healthy training."""
        for metric in (
            c.TRAIN_WORKER_RESTARTS_TOTAL,
            c.TRAIN_WORKER_DEATHS_TOTAL,
            c.TRAIN_NONFINITE_LOSS_TOTAL,
            c.TRAIN_CUDA_OOMS_TOTAL,
            c.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL,
            c.TRAIN_CUDA_ALLOC_RETRIES_TOTAL,
            c.TRAIN_HOOK_ERRORS_TOTAL,
        ):
            self.constant(metric, 0, **who)
        self.counter(c.TRAIN_HOOK_SECONDS_TOTAL, (0, 0.0001), **who)
        self.constant(c.TRAIN_WORKERS, 8, **who)
        for kind, share in (("allocated", 0.3), ("reserved", 0.7), ("peak_allocated", 0.65)):
            self.constant(c.TRAIN_CUDA_MEMORY_BYTES, share * GPU_MEMORY, **who, kind=kind)
        node = {"instance": who["instance"], "run": who["run"]}
        self.counter(c.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, (0, 0.0), **node)
        self.counter(c.CGROUP_CPU_THROTTLED_PERIODS_TOTAL, (0, 0.0), **node)
        self.counter(c.CGROUP_CPU_PERIODS_TOTAL, (0, 10.0), **node)
        self.constant(c.CGROUP_OOM_KILLS_TOTAL, 0, **node)

    def _not_before(self, start: float, **labels: str) -> None:
        for (_, own), pieces in self.series.items():
            if labels.items() <= dict(own).items() and pieces[0][0] < start:
                pieces[0] = (start, *pieces[0][1:])

    # --- promtool -----------------------------------------------------------------------------------------------------

    def input_series(self, interval: float, names: Container[str]) -> Iterator[dict[str, Any]]:
        """Input series of promtool, those of these names, one sample every `interval` seconds."""
        for (name, labels), pieces in self.series.items():
            if name not in names:
                continue
            quoted = ",".join(f'{label}="{value}"' for label, value in (*labels, ("job", self.job)))
            yield {"series": f"{name}{{{quoted}}}", "values": _values(pieces, self.minutes, interval)}


def epochs(count: int, train: float = 10, validate: float = 2, checkpoint: float = 0.25, **how: Any) -> list[Part]:
    """Epochs of a training: batches, a validation that half uses the GPU, a checkpoint that does not."""
    one = [Part(train, **how), Part(validate, "validate", busy=0.5), Part(checkpoint, "checkpoint", busy=0.0)]
    return [part for part in one * count if part.minutes]


def limited(w: World, who: dict[str, str], *points: tuple[float, float, float]) -> None:
    """Memory of the run's cgroup as shares of its limit: (minute, share, change of the share per second)."""
    node = {"instance": who["instance"], "run": who["run"]}
    w.constant(c.CGROUP_MEMORY_LIMIT_BYTES, LIMIT, **node)
    used = [(minute, share * LIMIT, slope * LIMIT) for minute, share, slope in points]
    w.put(c.CGROUP_MEMORY_USED_BYTES, used, **node)


def host_memory(w: World, instance: str, *points: tuple[float, float, float]) -> None:
    """Available memory as shares of the node's: (minute, share, change of the share per second)."""
    available = [(minute, share * HOST_MEMORY, slope * HOST_MEMORY) for minute, share, slope in points]
    used = [(minute, (1 - share) * HOST_MEMORY, -slope * HOST_MEMORY) for minute, share, slope in points]
    w.put(c.MEMORY_AVAILABLE_BYTES, available, instance=instance)
    w.put(c.MEMORY_USED_BYTES, used, instance=instance)


def _phase_rates(part: Part, *, ddp: bool) -> dict[str, float]:
    if part.state != "train":
        return {part.state: 1.0} if part.state in ("setup", "validate", "checkpoint") else {}
    compute = dict(COMPUTE)
    if ddp:
        compute["backward_local"] = compute.pop("backward")
    rest = 1 - part.wait - part.exposed
    rates = {"data_wait": part.wait} | {phase: share * rest for phase, share in compute.items()}
    if ddp:
        rates["backward_exposed"] = part.exposed
    return rates if part.batches else dict.fromkeys(rates, 0.0)


def _batch_rate(part: Part) -> float:
    if part.state != "train" or not part.batches:
        return 0.0
    return (1 - part.wait - part.exposed) / (STEP_SECONDS * part.slow)


def _samples(part: Part) -> tuple[float, float]:
    """Shares of utilisation samples up to 10 % and above 70 %."""
    low = part.low if part.low is not None else float(part.busy <= 0.1)
    high = part.high if part.high is not None else float(part.busy > 0.7)
    return low, high


def _starts(parts: Sequence[Part], start: float) -> list[float]:
    times = [start]
    for part in parts[:-1]:
        times.append(times[-1] + part.minutes)
    return times


def _at(pieces: Sequence[Piece], minute: float) -> tuple[float | None, float]:
    """Value and slope at a minute."""
    since, value, slope = max((piece for piece in pieces if piece[0] <= minute), key=lambda piece: piece[0])
    return (None if value is None else value + (minute - since) * 60 * slope), slope


def _cut(pieces: Sequence[Piece], start: float, end: float) -> Iterator[Piece]:
    yield from (piece for piece in pieces if piece[0] < start)
    yield (start, None, 0.0)
    if any(piece[0] <= end for piece in pieces):
        yield (end, *_at(pieces, end))
    yield from (piece for piece in pieces if piece[0] > end)


def _values(pieces: Sequence[Piece], minutes: float, interval: float) -> str:
    per_minute = 60 / interval
    last = round(minutes * per_minute) + 1
    ticks = [min(last, round(piece[0] * per_minute)) for piece in pieces] + [last]
    words = [f"_x{ticks[0]}"] if ticks[0] else []
    previous: float | None = None
    for (_, value, slope), begin, end in zip(pieces, ticks[:-1], ticks[1:], strict=True):
        if end <= begin:
            continue
        words.append(_word(previous, value, slope * interval, end - begin))
        previous = value
    return " ".join(words)


def _word(previous: float | None, value: float | None, step: float, count: int) -> str:
    """A piece of `count` samples in promtool's notation, which counts the first one apart."""
    if value is None:
        mark = ["stale"] if previous is not None else ["_"]
        return " ".join(mark + ([f"_x{count - 1}"] if count > 1 else []))
    sign = "-" if step < 0 else "+"
    return f"{_number(value)}{sign}{_number(abs(step))}x{count - 1}"


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
