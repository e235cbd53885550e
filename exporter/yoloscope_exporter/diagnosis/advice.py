"""Advice: what to type, computed from the signals. Pure functions; None where nothing sensible can be computed.

Arguments are Ultralytics' own (`workers cache batch nbs amp imgsz mosaic save_period val device ...`), so that they can
be appended to the command line or written into a YAML for `yolo cfg=`. What it makes of them is asked in
`ultralytics_arguments`, what they bring in `forecast`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.diagnosis import forecast, units
from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.forecast import Costs, Forecast
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.signals.arithmetic import whole
from yoloscope_exporter.diagnosis.ultralytics_arguments import CACHE_SHARE, DISK_MARGIN, Value
from yoloscope_exporter.measures.reading import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Share of the available memory that more loader workers may take. Ours: a third is left to the page cache.
WORKERS_SHARE = 0.66
#: Peak share of device memory to aim at. TraceML warns at 92 %; validation and multi-scale batches need the difference.
CUDA_TARGET = 0.85
#: PR ultralytics#26090 models a loader worker as this many bytes plus its share of the prefetched batches.
WORKER_BYTES = 124 * 2**20
#: Share of the preparation from which on sparing the decoding is worth a cache. Ours.
DECODE_SHARE = 0.2
#: Largest batch that is advised, in times of `nbs`. Ours: beyond, an optimizer step is no longer what it was tuned for.
MOST_NOMINAL = 2
#: Steps that a larger batch must leave to an epoch. Ours: with fewer, the schedule of an epoch is too coarse.
FEWEST_STEPS = 10


@dataclass(frozen=True)
class Advice:
    """A remedy.

    Attributes:
        arguments: for Ultralytics.
        environment: variables to set before the start.
        note: what to do beyond both, a sentence without its full stop.
        forecast: what it brings; None where that cannot be computed.
        checks: what it was checked against, such as `workers cap`.
    """

    arguments: Mapping[str, Value] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    forecast: Forecast | None = None
    checks: tuple[str, ...] = ()

    @property
    def effect(self) -> tuple[str, ...]:
        """What it changes of the result (`accuracy`, `early stopping`, `best.pt`, `optimisation`); empty for none."""
        return tuple(sorted({change for name in self.arguments for change in effect_of(name)}))

    def __str__(self) -> str:
        """As one would type it: `OMP_NUM_THREADS=1 workers=12 cache=ram; then the note`."""
        pairs = [f"{key}={value}" for key, value in (*self.environment.items(), *self.arguments.items())]
        return "; ".join(part for part in (" ".join(pairs), self.note) if part)


def effect_of(name: str) -> tuple[str, ...]:
    """What an argument changes of the result."""
    return ultralytics.EFFECTS.get(name, ultralytics.UNKNOWN_EFFECT)


def effect_in_words(advice: Advice) -> str:
    """`changes: early stopping, best.pt`; `none` where the result stays what it is."""
    return ", ".join(advice.effect) or "none"


def gain(advice: Advice) -> str | None:
    """What to expect as a phrase: `1.4x to 1.6x: 120 -> 168 to 192 images/s`."""
    return str(advice.forecast) if advice.forecast and advice.forecast.worth_telling else None


# --- what Ultralytics does with it ------------------------------------------------------------------------------------


def settled(advice: Advice, s: Signals) -> Advice:
    """The same without arguments that change nothing: those in use already, those that Ultralytics caps or ignores."""
    capped = _within_cap(advice, s)
    kept = {name: value for name, value in capped.arguments.items() if not _is_idle(name, value, s)}
    checks = dict.fromkeys((*capped.checks, "no argument in use already", "none that is ignored"))
    if advice.arguments and not kept:
        return replace(capped, arguments={}, forecast=None, checks=())
    return replace(capped, arguments=kept, checks=tuple(checks) if kept else ())


def _within_cap(advice: Advice, s: Signals) -> Advice:
    asked, most = advice.arguments.get("workers"), workers_cap(s)
    if most is None or not isinstance(asked, int) or asked <= most:
        return advice
    note = f"Ultralytics starts at most {most}: {_cap_reason(s)}"
    checked = replace(advice, note="; ".join(filter(None, (advice.note, note))), checks=(*advice.checks, "workers cap"))
    return replace(checked, arguments={**advice.arguments, "workers": most})


def workers_cap(s: Signals) -> int | None:
    """Loader workers that Ultralytics starts at most, whatever is asked for; None where that is not known."""
    gpus = 0 if without_cuda(s) else s.numbers.get(Signals.visible_gpus.name)
    if not s.has(Signals.node_cores) or gpus is None:
        return None
    return ultralytics.most_workers(s.node_cores, gpus, s.numbers.get(Signals.epoch_batches.name))


def _cap_reason(s: Signals) -> str:
    gpus = s.get(Signals.visible_gpus)
    cpus = units.counted(s.node_cores, "CPU")
    seen = f" over {units.counted(gpus, 'visible GPU')}" if gpus > 1 else ""
    few = s.has(Signals.epoch_batches) and s.epoch_batches < s.node_cores // max(gpus, 1)
    return f"an epoch has {units.counted(s.epoch_batches, 'batch')}" if few else f"{cpus}{seen}"


def _is_idle(name: str, value: Value, s: Signals) -> bool:
    """Whether typing it changes nothing: it is in use, or Ultralytics ignores it."""
    if name == "workers":
        return value in {s.get(Signals.workers, -1), s.get(Signals.workers_asked, -1)} or _is_ignored(name, value, s)
    now = in_use(name, s)
    return (now is not None and ultralytics.same(value, now)) or _is_ignored(name, value, s)


def without_cuda(s: Signals) -> bool:
    """Whether Ultralytics sets workers=0 and amp=False for the rank's device, whatever is asked for."""
    return ultralytics.without_cuda(s.facts.get("device", ""))


def in_use(name: str, s: Signals) -> Value | None:
    """The argument's value in this run, the default where the run does not say; None where neither is known."""
    if name == "batch":
        reduced = s.get(Signals.batch_reductions) > 0  # what was asked for is another one than what is used
        return global_batch(s, int(s.batch_size)) if s.has(Signals.batch_size) and not reduced else None
    fact = s.facts.get("amp_asked" if name == "amp" and "amp_asked" in s.facts else name)
    return ultralytics.DEFAULTS.get(name) if fact is None else ultralytics.parsed(fact)


def _is_ignored(name: str, value: Value, s: Signals) -> bool:
    """Ultralytics refuses it, or sets it back, in this run."""
    if not ultralytics.knows(s.facts.get("ultralytics", ""), name):
        return True
    several = s.get(Signals.world_size, 1) > 1
    return {
        "amp": bool(value) and without_cuda(s),
        "batch": several and isinstance(value, (int, float)) and value < 1,  # AutoBatch: refused with several GPUs
        "cache": str(value) == "ram" and not _may_cache(s),
        "mosaic": bool(value) and ultralytics.parsed(s.facts.get("rect", "")) is True,
        "rect": bool(value) and several,
        "workers": without_cuda(s) and s.get(Signals.workers, -1) == 0,
    }.get(name, False)


# --- forecast ---------------------------------------------------------------------------------------------------------


def costs_of(s: Signals) -> Costs | None:
    """What a batch costs this rank; None where the loader or the step was not measured."""
    needed = (Signals.images_per_second, Signals.step_seconds, Signals.wait_seconds, Signals.prep_seconds)
    if not s.has(*needed, Signals.workers) or not s.prep_seconds:
        return None
    batch, workers = s.step_seconds + s.wait_seconds, int(s.workers)
    computing = min(s.get(Signals.prep_cpu_ratio, 1.0), 1.0)
    trainer_cpu = s.get(Signals.trainer_cores) * batch - (0 if workers else s.prep_seconds * computing)
    return Costs(
        images=s.images_per_second * batch,
        batch=batch,
        trainer=s.step_seconds,
        prepare=s.prep_seconds,
        computing=computing,
        workers=workers,
        decoding=s.numbers.get(Signals.decode_share.name),
        cpus=s.numbers.get(Signals.rank_cores.name),
        cpus_left=_cpus_left(s),
        trainer_cpu=max(trainer_cpu, 0.0),
        disk=s.get(Signals.disk_busy_share) * batch if s.get(Signals.worker_read_rate) else None,
        spread=_spread(s),
    )


def _cpus_left(s: Signals) -> float | None:
    """Of the rank's CPUs those that nobody but its run uses; all of them where that is not known."""
    cores = s.numbers.get(Signals.rank_cores.name)
    if cores is None or not s.has(Signals.others_cores, Signals.node_cores):
        return cores
    return min(cores, max((s.node_cores - s.others_cores) / ranks_here(s), s.get(Signals.trainer_cores)) or cores)


def without_wait(s: Signals) -> Forecast | None:
    """At most what training would do if it never waited for data."""
    if not s.has(Signals.data_wait_share):
        return None
    return without_share(s, s.data_wait_share)


def without_share(s: Signals, share: float) -> Forecast | None:
    """At most what training would do without a share of its step time."""
    return forecast.saved(s.numbers.get(Signals.images_per_second.name), share, spread=_spread(s))


def _spread(s: Signals) -> float:
    """Between two runs with equal settings: that of a difference of two means over the window's parts."""
    return s.get(Signals.throughput_spread) * math.sqrt(2 / PARTS)


def shorter_run(share: float, least: float = 0.0) -> Forecast | None:
    """A run without between `least` and `share` of its time; images per second of training stay what they are."""
    return forecast.saved(1.0, share, least)


# --- loading --------------------------------------------------------------------------------------------------------


def workers_needed(s: Signals) -> int | None:
    """Loader workers that keep the trainer busy, by Little's law: preparation time over step time, and one to spare."""
    if not s.has(Signals.prep_seconds, Signals.step_seconds) or s.step_seconds <= 0:
        return None
    return math.ceil(s.prep_seconds / s.step_seconds) + 1


def workers_possible(s: Signals) -> int | None:
    """The most workers this rank can have: its share of the CPUs, of the quota, and of the memory for each.

    None where the number of CPUs is not known.
    """
    if s.get(Signals.workers, -1) == 0 and without_cuda(s):
        return 0
    if not s.has(Signals.rank_cores):
        return None
    limit = max(int(s.rank_cores), 1)
    if s.has(Signals.memory_available_bytes, Signals.workers):
        share = s.memory_available_bytes * WORKERS_SHARE / ranks_here(s)
        limit = min(limit, int(s.workers + share / worker_bytes(s)))
    return limit


def ranks_here(s: Signals) -> float:
    """Ranks of the run that share the node with this one, itself included."""
    return max(s.get(Signals.run_ranks, s.get(Signals.world_size, 1)), 1)


def worker_bytes(s: Signals) -> float:
    """Memory of one more loader worker: as measured, else by the model of PR ultralytics#26090."""
    if s.get(Signals.worker_resident_bytes):
        return s.worker_resident_bytes
    prefetched = 4 * s.get(Signals.batch_size, 16) * image_bytes(s)
    return WORKER_BYTES + 0.93 * prefetched


def image_bytes(s: Signals) -> float:
    """An image as the network sees it, and as a RAM cache keeps it: at most imgsz x imgsz x 3 bytes."""
    return 3 * _image_size(s) ** 2


def kept_image_bytes(s: Signals) -> float:
    """An image as a data set of one's own may keep it: as it is decoded where that is known, or as the network sees it.

    What caches need is told of training and validation together, so that this is rather too much.
    """
    known = max(s.get(Signals.cache_ram_bytes), s.get(Signals.cache_disk_bytes))
    images = s.get(Signals.epoch_images)
    return max(known / images if images else 0.0, image_bytes(s))


def _image_size(s: Signals) -> float:
    return whole(s.facts.get("imgsz", "")) or float(ultralytics.DEFAULTS["imgsz"])


def more_workers(s: Signals) -> Advice | None:
    """Raise `workers` to what is needed, within what is possible."""
    if not s.has(Signals.workers):
        return None
    needed, possible, now = workers_needed(s), workers_possible(s), s.workers
    if needed is None and now == 0:
        needed = possible if possible is not None else int(ultralytics.DEFAULTS["workers"])
    if needed is None:
        return None
    chosen = needed if possible is None else min(needed, possible)
    if chosen <= now:
        return None
    return Advice({"workers": chosen}, note=_cap(s, chosen), forecast=predicted(s, chosen), checks=_checked(s))


def _checked(s: Signals) -> tuple[str, ...]:
    """What bounds a number of workers here."""
    bounds = {
        "CPUs": s.has(Signals.rank_cores),
        "memory": s.has(Signals.memory_available_bytes),
        "workers cap": workers_cap(s) is not None,
    }
    return tuple(name for name, known in bounds.items() if known)


def fewer_workers(s: Signals) -> dict[str, Value]:
    """Half of the workers, where there is more than one."""
    return {"workers": int(s.workers) // 2} if s.get(Signals.workers) > 1 else {}


def _cap(s: Signals, chosen: int) -> str:
    """That they are for each rank; a warning that Ultralytics may start fewer, where visible GPUs are not known."""
    each = "for each of the ranks, as workers= always is" if _ranks(s) > 1 else ""
    unknown = workers_cap(s) is None and s.has(Signals.node_cores, Signals.gpus)
    if not unknown or chosen <= s.node_cores // max(s.gpus, 1):
        return each
    most = f"Ultralytics starts at most {s.node_cores // s.gpus:.0f} if the run sees all {s.gpus:.0f} GPUs"
    return "; ".join(filter(None, (each, most)))


def predicted(s: Signals, workers: int | None = None, cache: str = "") -> Forecast | None:
    """Images per second with other workers and a cache; at most without any wait, where too little was measured."""
    now, most = costs_of(s), workers_cap(s)
    if now is None:
        return without_wait(s)
    then = now if workers is None else replace(now, workers=workers if most is None else min(workers, most))
    return forecast.throughput(now, *(forecast.cached(then, cache) if cache else (then,)))


def dataset_bytes(s: Signals) -> float | None:
    """Memory of the data set decoded, as `cache=ram` keeps it; every rank of the node keeps its own copy.

    Hooks that do not tell the images' sizes: at most imgsz x imgsz for each, except where they are not resized.
    """
    if s.has(Signals.cache_ram_bytes):
        return s.cache_ram_bytes * ranks_here(s)
    if not s.has(Signals.epoch_images) or s.facts.get("task") == "classify":
        return None
    return s.epoch_images * image_bytes(s) * ranks_here(s)


def _may_cache(s: Signals) -> bool:
    return ultralytics.caches_in_memory(s.facts.get("task", ""), s.facts.get("ultralytics", ""))


def _cached(s: Signals, *places: str) -> bool:
    return s.facts.get("cache", "").lower() in places


def is_cached_in_memory(s: Signals) -> bool:
    """Whether Ultralytics keeps the decoded images in memory; a cache that it refused is none."""
    return _cached(s, "ram", "true")


class _CacheSizes(NamedTuple):
    """Bytes of the decoded data set, and how many a RAM cache may take."""

    needed: float
    room: float


def _cache_sizes(s: Signals) -> _CacheSizes | None:
    """None where either is unknown, the images are in memory already, or the version refuses it for this task."""
    needed = dataset_bytes(s)
    if is_cached_in_memory(s) or not _may_cache(s) or needed is None or not s.has(Signals.memory_available_bytes):
        return None
    return _CacheSizes(needed, s.memory_available_bytes * CACHE_SHARE)


def cache_in_memory(s: Signals) -> Advice | None:
    """`cache=ram` if the decoded data set fits into what memory is left."""
    sizes = _cache_sizes(s)
    if sizes is None or sizes.needed > sizes.room:
        return None
    note = f"the data set takes {units.size(sizes.needed)} decoded, {units.size(sizes.room)} may be used"
    checks = ("cache of this task and version", "memory")
    return Advice({"cache": "ram"}, note=note, forecast=predicted(s, cache="ram"), checks=checks)


def cache_on_disk(s: Signals) -> Advice | None:
    """`cache=disk`, which spares the decoding and reads more bytes: of use only where storage keeps up.

    None where it does not fit beside the images, or that is not known.
    """
    if _cached(s, "disk", "ram", "true") or not s.has(Signals.cache_disk_bytes, Signals.cache_disk_room_bytes):
        return None
    needed, room = s.cache_disk_bytes * DISK_MARGIN, s.cache_disk_room_bytes
    if needed > room:
        return None
    note = f"it writes {units.size(s.cache_disk_bytes)} beside the images, where {units.size(room)} are free"
    note = "; ".join(filter(None, (_too_large(s), note)))
    return Advice({"cache": "disk"}, note=note, forecast=predicted(s, cache="disk"), checks=("free disk",))


def _too_large(s: Signals) -> str:
    """Why there is no `cache=ram`; empty where that is not the reason."""
    sizes = _cache_sizes(s)
    if sizes is None or sizes.needed <= sizes.room:
        return ""
    needed, room = units.size(sizes.needed), units.size(sizes.room)
    return f"decoded, the data set takes {needed}: too much for cache=ram ({room} may be used)"


def _with_ram_cache(s: Signals) -> Signals:
    """The same, with the memory that a RAM cache would leave."""
    left = max(s.memory_available_bytes - (dataset_bytes(s) or 0.0), 0.0)
    return s.with_numbers({Signals.memory_available_bytes: left})


def for_slow_storage(s: Signals) -> Advice:
    """Storage is slow: keep the images in memory, and let more workers wait at the same time.

    `cache=disk` is no remedy: it writes the decoded images, several times as large, beside the others.
    """
    kept = cache_in_memory(s)
    workers = more_workers(_with_ram_cache(s) if kept else s)
    chosen = int(workers.arguments["workers"]) if workers else None
    if kept:
        parts = [kept, workers] if workers else [kept]
        return _combined(parts, predicted(s, chosen, cache="ram"))
    note = "; ".join(filter(None, (_too_large(s), "put the data set on a local SSD or NVMe disk")))
    if workers is None:
        return Advice(note=note, forecast=without_wait(s))
    return replace(workers, note="; ".join(filter(None, (workers.note, note))))


def for_slow_preprocessing(s: Signals) -> Advice:
    """Preparation is bound by the CPU: spare it the decoding where that is much of it, lighten the transforms.

    A cache saves decoding only, and is promised no more than that. More workers are no remedy: where CPUs idle for them
    the verdict is another one.
    """
    kept = cache_in_memory(s) or cache_on_disk(s)
    if not kept or s.get(Signals.decode_share, 1.0) < DECODE_SHARE:
        return Advice(note=_lighter(s))
    promised = kept.forecast if s.has(Signals.decode_share) else None
    return replace(kept, note=f"{kept.note}; or {_lighter(s)}", forecast=promised)


def _lighter(s: Signals) -> str:
    """What lightens the preparation here: without mosaic in use there is none to leave out."""
    mosaic = in_use("mosaic", s) and not in_use("rect", s) and s.facts.get("task") != "classify"
    less = "lighten the augmentation (mosaic=0 reads a quarter of the images)" if mosaic else "lighten the augmentation"
    return f"{less} and your own transforms, or use more CPUs"


def _combined(parts: list[Advice], promised: Forecast | None) -> Advice:
    arguments = {key: value for part in parts for key, value in part.arguments.items()}
    checks = tuple(dict.fromkeys(check for part in parts for check in part.checks))
    return Advice(arguments, {}, "; ".join(part.note for part in parts if part.note), promised, checks)


def fewer_threads(s: Signals) -> Advice:
    """Too many runnable threads: one per worker, and no more workers than CPUs."""
    possible = workers_possible(s)
    arguments: dict[str, Value] = {}
    if possible is not None and s.get(Signals.workers) > possible:
        arguments["workers"] = possible
    return Advice(arguments, {"OMP_NUM_THREADS": "1"}, "and cv2.setNumThreads(0) in your own transforms")


def within_quota(s: Signals) -> Advice:
    """The cgroup stops the training: workers that fit the quota, or a larger quota."""
    quota = s.get(Signals.quota_cores)
    arguments: dict[str, Value] = {"workers": max(int(quota), 1)} if 0 < quota < s.get(Signals.workers) else {}
    wanted = _cpus_wanted(s)
    note = f"raise the CPU limit from {quota:g} to about {wanted:g} CPUs" if wanted else "raise the CPU limit"
    if arguments:
        note = f"or keep the workers and {note}"
    return Advice(arguments, {"OMP_NUM_THREADS": "1"}, note, without_wait(s), ("quota",) if arguments else ())


def _cpus_wanted(s: Signals) -> int | None:
    """CPUs that would prepare batches as fast as the trainer takes them, and one for the trainer itself."""
    if (
        not s.has(Signals.prep_seconds, Signals.prep_cpu_ratio, Signals.step_seconds, Signals.quota_cores)
        or not s.step_seconds
    ):
        return None
    wanted = math.ceil(s.prep_seconds * s.prep_cpu_ratio / s.step_seconds) + 1
    return wanted if wanted > s.quota_cores else None


# --- device memory --------------------------------------------------------------------------------------------------


class _Memory(NamedTuple):
    """Device memory in bytes, with the batch of now.

    Attributes:
        floor: what does not depend on the batch (weights, optimizer): the least that was allocated.
        image: what an image takes beyond it at the peak.
        others: what PyTorch's allocator does not hold now: other processes, and the CUDA context.
    """

    floor: float
    image: float
    others: float
    total: float

    def peak(self, batch: int) -> float:
        """Of the whole device, with another batch."""
        return self.others + self.floor + self.image * batch

    def expected(self, batch: int, now: int) -> Forecast:
        """Of this process. From as if all of it grew with the batch to as if the floor did not."""
        own = self.floor + self.image * now
        low, high = sorted((self.floor + self.image * batch, own * batch / now))
        return Forecast("GiB", low / 2**30, high / 2**30, own / 2**30)


def _memory(s: Signals) -> _Memory | None:
    """None where peak, capacity or batch are not known.

    Only a peak with the batch of now says what an image takes: one from before Ultralytics halved it, or one that is
    larger than all that is in use now, is another batch's.
    """
    total, batch = s.get(Signals.gpu_memory_total_bytes), s.get(Signals.batch_size)
    peak = s.get(Signals.cuda_batch_peak_bytes, s.get(Signals.cuda_peak_bytes))
    if not total or not batch or not peak or not s.has(Signals.gpu_memory_used_share):
        return None
    used = s.gpu_memory_used_share * total
    if not s.has(Signals.cuda_batch_peak_bytes):
        peak = min(peak, used)
    floor = min(s.get(Signals.cuda_floor_bytes), peak)
    others = max(used - s.get(Signals.cuda_reserved_bytes, peak), 0.0)
    return _Memory(floor, (peak - floor) / batch, others, total) if peak > floor else None


def batch_that_fits(s: Signals) -> int | None:
    """The batch whose peak would take CUDA_TARGET of the device beside what others hold of it now.

    An upper bound for a peak that grows faster than the batch, and therefore rounded down to a multiple of 8 (4 below
    16). None where too little is known.
    """
    memory = _memory(s)
    if memory is None:
        return None
    return max(_even(int((memory.total * CUDA_TARGET - memory.peak(0)) / memory.image)), 1)


def memory_for_batches(s: Signals) -> float | None:
    """Bytes of the device that the process may take at its peak beside what others hold; None where not known."""
    memory = _memory(s)
    return None if memory is None else memory.total * CUDA_TARGET - memory.others


def _even(batch: int) -> int:
    step = 8 if batch >= 16 else 4 if batch >= 4 else 1  # noqa: PLR2004 - what batch_that_fits says
    return batch // step * step


def global_batch(s: Signals, per_rank: int) -> int:
    """`batch=` counts the images of all ranks together."""
    return per_rank * _ranks(s)


def _ranks(s: Signals) -> int:
    return max(int(s.get(Signals.world_size, 1)), 1)


def _number(name: str, s: Signals) -> float:
    value = in_use(name, s)
    return float(value) if isinstance(value, (int, float)) else float(ultralytics.DEFAULTS[name])


def _optimised_alike(s: Signals, chosen: int, least: int) -> Advice:
    """`batch` with what keeps images per optimizer step and weight decay; else what differs is said.

    Batches of a rank from `chosen` down to `least` are tried.
    """
    now, nbs, weight_decay = global_batch(s, int(s.batch_size)), _number("nbs", s), _number("weight_decay", s)
    step = ultralytics.images_per_step(now, nbs)
    for per_rank in range(chosen, max(least, 1) - 1, -1):
        batch = global_batch(s, per_rank)
        beside = ultralytics.equal_optimisation(batch, now, nbs, weight_decay)
        if beside is not None:
            note = (
                f"an optimizer step stays at {step} images by nbs (accumulate= is refused), the weight decay as it is"
            )
            return _batch(s, per_rank, {"batch": batch, **beside}, note + _normalised(s, per_rank))
    batch = global_batch(s, chosen)
    other = ultralytics.images_per_step(batch, nbs)
    note = f"an optimizer step takes {other} images instead of {step}"
    factor = ultralytics.decay(1.0, batch, nbs) / ultralytics.decay(1.0, now, nbs)
    note += f", the weight decay is {factor:.3g} of now's" if other != step else ""
    return _batch(s, chosen, {"batch": batch}, note + _normalised(s, chosen))


def _normalised(s: Signals, per_rank: int) -> str:
    now = int(s.batch_size)
    return f"; batch normalisation sees {per_rank} images instead of {now}" if per_rank != now else ""


def _batch(s: Signals, per_rank: int, arguments: dict[str, Value], note: str) -> Advice:
    memory = _memory(s)
    expected = memory.expected(per_rank, int(s.batch_size)) if memory else None
    checks = ("images per optimizer step", "weight decay", *(("GPU memory of run and others",) if memory else ()))
    return Advice(arguments, {}, note, expected, checks)


def smaller_batch(s: Signals) -> Advice:
    """Less memory per step, the same images per optimizer step.

    Where Ultralytics has halved the batch already, today's is the one to start with, if it fits.
    """
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if not now:
        return Advice(_precision(s), note="a smaller batch=, or a smaller imgsz=")
    most = now if s.get(Signals.batch_reductions) else _even(now - 1)
    chosen = min(fitting, most) if fitting else now // 2
    if chosen < 1:
        return Advice(_precision(s) or _smaller_images(s), note="the batch is as small as it can be")
    found = _optimised_alike(s, chosen, (chosen + 1) // 2)
    return replace(found, arguments={**found.arguments, **_precision(s)})


def _smaller_images(s: Signals) -> dict[str, Value]:
    """Four fifths of today's size, in multiples of 32 as Ultralytics wants them."""
    smaller = int(0.8 * _image_size(s)) // 32 * 32
    return {"imgsz": max(smaller, 32)}


def _precision(s: Signals) -> dict[str, Value]:
    """AMP, where it was not asked for: after a failed check asking once more changes nothing."""
    off = s.facts.get("amp_asked", s.facts.get("amp", "")).lower() in {"false", "0", "fp32"}
    return {"amp": True} if off else {}


def larger_batch(s: Signals) -> Advice | None:
    """Memory to spare and a device that is not full: as large a batch as fits, at most the nominal one times two.

    Nor larger than a tenth of the data set, so that an epoch keeps ten steps.
    """
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if fitting is None:
        return None
    most = max(MOST_NOMINAL * _number("nbs", s) / _ranks(s), 2 * now)
    images = s.get(Signals.epoch_images, math.inf) / _ranks(s)
    chosen = _even(int(min(fitting, most, images / FEWEST_STEPS)))
    least = math.ceil(1.5 * now)
    if chosen < least:
        return None
    return _optimised_alike(s, chosen, max(least, chosen // 2))


def fewer_exchanges(s: Signals) -> Advice:
    """Ranks wait for the exchange of gradients: twice the batch halves it, where that fits."""
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if fitting is None or fitting < 2 * now:
        return Advice(note="fewer GPUs, or a faster link between them: a larger batch does not fit")
    found = _optimised_alike(s, 2 * now, 2 * now)
    return replace(found, note=f"fewer, larger steps; {found.note}")
