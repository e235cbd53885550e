"""The run as a whole: its settings, its progress, and whether it still moves."""

from __future__ import annotations

from itertools import groupby, pairwise
from math import ceil
from statistics import fmean, median
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import ratio, whole
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy
from yoloscope_exporter.diagnosis.signals.loader import workers_stayed
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.series import longest
from yoloscope_exporter.measures.thresholds import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View
    from yoloscope_exporter.measures.series import Window

#: CPUs below which a rank's processes stand still: while they wait for each other they wake up now and then.
STILL_CORES = 0.05
#: Epochs between two samples that count one by one: whoever writes a record may say that there were a quintillion.
MOST_EPOCHS = 1000


class RunSignals:
    """Settings, progress, liveness."""

    validate_share = Signal("share of the rank's whole time so far spent validating")
    checkpoint_share = Signal("share of the rank's whole time so far spent writing checkpoints")
    callbacks_of_run = Signal("share of the rank's whole time so far spent in other people's callbacks")
    epoch_callback_seconds = Signal("seconds in other people's callbacks for each epoch that is over")
    loader_start_seconds = Signal(
        "typical wait for the first batch of an epoch beyond that for any other, in seconds, the run's first left out: "
        "median, or the mean of all but the longest if that is more; 0 where workers stay"
    )
    loader_start_share = Signal("that wait over the training time of an epoch, a mean of the run so far")
    epoch = Signal("epoch under way")
    process_epoch = Signal(
        "the same, counted from the one with which the process began: a resumed run had others before"
    )
    epochs = Signal("epochs asked for")
    resumable = Signal("1 if there is a checkpoint to continue from: an epoch has ended; 0 if none is known")
    last_batch_age = Signal(
        "seconds since the last batch, or since the epoch began or a validation ended if later, as far as witnessed"
    )
    longest_batch = Signal("longest batch of the run so far in seconds, data wait included (upper bound of its bucket)")
    batch_size = Signal("images in a batch of this rank")
    epoch_images = Signal("training images in the data set as this rank and its peers see them")
    epoch_batches = Signal("batches in an epoch of this rank")
    visible_gpus = Signal("GPUs that the rank's process sees")
    cache_ram_bytes = Signal("what all images of training and validation take in a cache in memory, for each rank")
    cache_disk_bytes = Signal("what they take in a cache on disk")
    cache_disk_room_bytes = Signal("room beside the training images when training began; 0 if nobody may write there")
    started = Signal("Unix time of the run's start")
    ranks = Signal("trainers alive on this node")
    run_ranks = Signal("trainers of this run alive on this node")
    world_size = Signal("ranks of this run")
    workers = Signal("loader workers of this rank")
    workers_asked = Signal("loader workers asked for, before Ultralytics' cap")
    amp_asked = Signal("1 if AMP was asked for, else 0")
    amp_on = Signal("1 if AMP is used, else 0")
    silent_cpus = Signal("CPUs the rank's own process has used since its last batch")
    silent_gpu_busy = Signal("share of the time since the last batch in which a kernel ran on the rank's GPU")
    still_seconds = Signal(
        "seconds for which the rank's processes have used next to no CPU and read nothing and its GPU was idle, as far "
        "as witnessed in its present state"
    )
    epoch_done = Signal("1 while all batches of an epoch are done and the next has none, else 0")


def settings(v: View) -> Numbers:
    """What was asked for, and how far the run is."""
    size = v.now.last(catalog.TRAIN_BATCH_SIZE, v.run, v.rank)
    epoch_batches = v.now.last(catalog.TRAIN_EPOCH_BATCHES, v.run, v.rank)
    world = whole(v.facts.get("world_size", ""))
    images = size * epoch_batches * max(world or 1.0, 1.0) if size and epoch_batches else None
    return {
        RunSignals.epoch: v.now.last(catalog.TRAIN_EPOCH, v.run, v.rank),
        RunSignals.process_epoch: _process_epoch(v),
        RunSignals.epochs: v.now.last(catalog.TRAIN_EPOCHS, v.run, v.rank),
        RunSignals.resumable: _resumable(v),
        RunSignals.batch_size: size,
        RunSignals.epoch_images: images,
        RunSignals.epoch_batches: epoch_batches,
        RunSignals.started: v.now.last(catalog.TRAIN_START_TIMESTAMP_SECONDS, v.run, v.rank),
        RunSignals.visible_gpus: whole(v.facts.get("visible_gpus", "")),
        RunSignals.cache_ram_bytes: v.now.last(catalog.TRAIN_CACHE_NEEDED_BYTES, v.run, v.rank, "ram"),
        RunSignals.cache_disk_bytes: v.now.last(catalog.TRAIN_CACHE_NEEDED_BYTES, v.run, v.rank, "disk"),
        RunSignals.cache_disk_room_bytes: v.now.last(catalog.TRAIN_CACHE_DISK_AVAILABLE_BYTES, v.run, v.rank),
        RunSignals.ranks: float(v.machine.ranks.total()) or None,
        RunSignals.run_ranks: float(v.machine.ranks[v.run]) or None,
        RunSignals.world_size: world,
        RunSignals.workers: v.now.last(catalog.TRAIN_WORKERS, v.run, v.rank),
        RunSignals.workers_asked: whole(v.facts.get("workers", "")),
        RunSignals.amp_asked: _flag(v.facts.get("amp_asked", "")),
        RunSignals.amp_on: _flag(v.facts.get("amp", "")),
    }


def _process_epoch(v: View) -> float | None:
    """The epoch under way as the process counts them, whose clocks and counters begin with it."""
    epoch = v.now.last(catalog.TRAIN_EPOCH, v.run, v.rank)
    done = v.now.last(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    of_epoch = v.now.last(catalog.TRAIN_EPOCH_BATCHES, v.run, v.rank)
    return epoch if epoch is None or done is None or not of_epoch else min(epoch, max(ceil(done / of_epoch), 1))


def _resumable(v: View) -> float:
    """By what was saved, which rank 0 alone counts; else by the epoch, which is a later one after a resumption too."""
    saved = v.now.last(catalog.TRAIN_CHECKPOINTS_TOTAL, v.run, v.rank)
    return float(bool(saved) or (v.now.last(catalog.TRAIN_EPOCH, v.run, v.rank) or 0.0) > 1)


def _epochs_over(v: View) -> float | None:
    """Epochs of the process of which batches and callbacks are done, one at least; those begun if that is not known.

    What a callback takes is told when it returns: until then the epoch that it ends is not counted either.
    """
    done = v.now.last(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    of_epoch = v.now.last(catalog.TRAIN_EPOCH_BATCHES, v.run, v.rank)
    if done is None or not of_epoch:
        return _process_epoch(v)
    over, since = done // of_epoch, _changed(v, catalog.TRAIN_BATCHES_TOTAL)
    if over and done % of_epoch == 0 and since is not None:
        over -= not v.long.since(since).increase(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank, "callbacks")
    return max(over, 1.0)


def _flag(text: str) -> float | None:
    """A fact that says yes or no; None if it says neither."""
    return {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}.get(text.lower())


def shares_of_run(v: View) -> Numbers:
    """Shares of the whole run: a validation fills a short window without meaning anything."""
    callbacks = v.now.last(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank, "callbacks")
    seconds, share = first_waits(v)
    if workers_stayed(v):
        seconds, share = (None if value is None else 0.0 for value in (seconds, share))
    return {
        RunSignals.callbacks_of_run: v.about.of_life(training.CALLBACKS_OF_WALL),
        RunSignals.epoch_callback_seconds: ratio(callbacks, _epochs_over(v)),
        RunSignals.loader_start_seconds: seconds,
        RunSignals.loader_start_share: share,
        RunSignals.validate_share: v.about.of_life(training.VALIDATION),
        RunSignals.checkpoint_share: v.about.of_life(training.CHECKPOINT),
    }


def first_waits(v: View) -> tuple[float | None, float | None]:
    """Typical wait for the first batch of an epoch in seconds, and as a share of training time."""
    again, epoch = _waited_first(v), _process_epoch(v)
    so_far = v.now.last(catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, v.run, v.rank)
    share = v.about.of_life(training.LOADER_START)  # of all such waits so far
    if again is None or epoch is None or share is None:
        return again, None
    return again, ratio(again * epoch * share, so_far)


def _waited_first(v: View) -> float | None:
    """Typical wait for the first batch of an epoch; every run starts its workers before its first.

    The median, or the mean of all but the longest if that is more: workers may be started anew in some epochs only. A
    slow loader is waited for with every batch, the first one too: that is left out.
    """
    waits = sorted(_first_batch_waits(v))
    if not waits:
        return None
    typical = max(median(waits), fmean(waits[:-1] or waits))
    return max(typical - (v.measure(training.WAIT) or 0.0), 0.0)


def _first_batch_waits(v: View) -> Iterator[float]:
    """The wait of each epoch but the first; where several epochs began between two samples, their mean for each."""
    epochs = dict(v.long.points(catalog.TRAIN_EPOCH, v.run, v.rank))
    points = v.long.points(catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, v.run, v.rank)
    for (before, earlier), (after, later) in pairwise(points):
        if later > earlier > 0:
            begun = max(int(epochs.get(after, 0.0) - epochs.get(before, 0.0)), 1)
            yield from [(later - earlier) / begun] * min(begun, MOST_EPOCHS)


def liveness(v: View) -> Numbers:
    """How long ago the last batch was, and how long batches take at most."""
    batch = v.now.last(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, v.run, v.rank)
    waits = v.now.total(catalog.TRAIN_DATA_WAIT_SECONDS, v.run, v.rank)
    steps = v.now.total(catalog.TRAIN_STEP_SECONDS, v.run, v.rank)
    wait = longest(catalog.TRAIN_DATA_WAIT_SECONDS, waits) if waits else None
    step = longest(catalog.TRAIN_STEP_SECONDS, steps) if steps else None
    resumed = _entered(v, "train")
    known = [moment for moment in (batch, resumed, _changed(v, catalog.TRAIN_EPOCH)) if moment is not None]
    witnessed = max(_unchanged(window, v) for window in (v.now, v.long))
    age = min(max(v.seen - max(known), 0.0), witnessed) if batch is not None else None
    return {
        RunSignals.last_batch_age: age,
        RunSignals.silent_cpus: None if age is None else _own_cpus(v, age),
        RunSignals.silent_gpu_busy: None if age is None or not v.gpu else gpu_busy(_last(v, age), v.gpu),
        RunSignals.epoch_done: _epoch_done(v),
        RunSignals.longest_batch: wait + step if wait is not None and step is not None else None,
    }


def stillness(v: View) -> Numbers:
    """For how long nothing of the rank has moved, in states in which no batch tells."""
    if v.state not in ("validate", "checkpoint", "train"):
        return {}
    entered = _entered(v, v.state) or v.long.start
    moved = [_last_moved(v, metric, least) for metric, least in _MOVES]
    if None in moved:
        return {}
    still = v.seen - max(entered, *(moment for moment in moved if moment is not None))
    busy = gpu_busy(_last(v, still), v.gpu) if v.gpu and still > 0 else None
    return {RunSignals.still_seconds: 0.0 if (busy or 0.0) >= DEFAULTS.held_idle else max(still, 0.0)}


#: What grows while processes do something, and by how much a second at least.
_MOVES = (
    (catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, STILL_CORES),
    (catalog.TRAIN_PROCESS_READ_BYTES_TOTAL, 1.0),
)


def _last_moved(v: View, metric: catalog.Metric, least: float) -> float | None:
    """When a counter of the rank's processes last grew by more than so much a second; None where there is none."""
    roles = v.long.current(metric, v.run, v.rank)
    if all(v.long.increase(metric, *labels) is None for labels in roles):
        return None
    return max(_last_growth(v.long.backwards(metric, *labels), least) for labels in roles)


def _last_growth(points: Iterator[tuple[float, float]], least: float) -> float:
    """The moment of the last growth that counts, or of the first point; `points` from the last one on."""
    after, high = next(points)
    for before, low in points:
        if high - low > least * (after - before):
            break
        after, high = before, low
    return after


def hang(v: View) -> Mapping[str, str]:
    """Where the run stands still, if its processes have been asked."""
    labels = next(iter(v.now.current(catalog.TRAIN_HANG_INFO, v.run, v.rank)), None)
    if labels is None:
        return {}
    facts = dict(zip(catalog.HANG_FACTS, labels[2:], strict=True))
    return {"hang": catalog.hang_in_words(facts)} | {f"hang_{name}": value for name, value in facts.items() if value}


def end(v: View) -> Mapping[str, str]:
    """How the rank ended before its time, and the job it belonged to."""
    if v.state not in catalog.DEAD:
        return {}
    labels = next(iter(v.now.current(catalog.TRAIN_END_INFO, v.run, v.rank)), ())
    facts = dict(zip(catalog.END_FACTS, labels[2:], strict=False))  # older recordings have fewer
    job = next(iter(v.now.current(catalog.TRAIN_JOB_INFO, v.run, v.rank)), ())
    facts |= dict(zip(catalog.JOB_FACTS, job[2:], strict=False))
    return {f"end_{name}": value for name, value in facts.items() if value}


def _last(v: View, seconds: float) -> Window:
    return v.now.since(v.now.end - seconds)


def _own_cpus(v: View, seconds: float) -> float | None:
    """CPUs that the rank's own process used in the last seconds."""
    return _last(v, seconds).rate(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, v.run, v.rank, "main")


def _epoch_done(v: View) -> float | None:
    """Hooks publish batches a few at a time: once the next epoch has begun, silence is not that of an epoch's end."""
    done = v.now.last(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    of_epoch = v.now.last(catalog.TRAIN_EPOCH_BATCHES, v.run, v.rank)
    if not done or not of_epoch:
        return None
    begun, counted = _changed(v, catalog.TRAIN_EPOCH), _changed(v, catalog.TRAIN_BATCHES_TOTAL)
    if (
        begun is None and counted is None
    ):  # a run so young that the window holds no change: its epochs count the batches
        return float(done % of_epoch == 0 and v.now.last(catalog.TRAIN_EPOCH, v.run, v.rank) != done / of_epoch + 1)
    return float(done % of_epoch == 0 and (begun or 0.0) < (counted or v.long.start))


def _changed(v: View, metric: catalog.Metric) -> float | None:
    """When a value of the rank changed last; None where that is not in the long window."""
    points = v.long.backwards(metric, v.run, v.rank)
    return next((after for (after, b), (_, a) in pairwise(points) if a != b), None)


def _unchanged(window: Window, v: View) -> float:
    """For how long, in samples, no batch has been counted: a clock that jumps is not a training that stands still."""
    counts = (count for _, count in window.backwards(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank))
    return next((len(list(same)) for _, same in groupby(counts)), 0) * window.period


def _entered(v: View, wanted: str) -> float | None:
    """When the rank last went over into the state `wanted`, as far as the long window knows."""
    points = v.long.backwards(catalog.TRAIN_STATE, v.run, v.rank, wanted)
    return next((time for (time, now), (_, before) in pairwise(points) if now == 1 and before != 1), None)
