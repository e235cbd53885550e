"""Advice: what to type, computed from the signals. Pure functions; None where nothing sensible can be computed.

Arguments are Ultralytics' own (`workers cache batch nbs amp imgsz close_mosaic mosaic save_period val device ...`), so
that they can be appended to the command line or written into a YAML for `yolo cfg=`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.diagnosis import units
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.signals.arithmetic import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = int | float | str | bool

#: Share of the available memory that a RAM cache may take: Ultralytics 8.4.190 refuses one unless twice its size is
#: free (`check_cache_ram`, safety margin 1.0; 0.5 in 8.4.120 and before).
CACHE_SHARE = 0.5
#: Share of the available memory that more loader workers may take. Ours: a third is left to the page cache.
WORKERS_SHARE = 0.66
#: Peak share of device memory to aim at. TraceML warns at 92 %; validation and multi-scale batches need the difference.
CUDA_TARGET = 0.85
#: PR ultralytics#26090 models a loader worker as this many bytes plus its share of the prefetched batches.
WORKER_BYTES = 124 * 2**20
#: Share of the preparation from which on sparing the decoding is worth a cache. Ours.
DECODE_SHARE = 0.2
#: Ultralytics' own, for a run whose `imgsz` is not a number.
IMAGE_SIZE = 640.0
#: Ultralytics accumulates gradients up to this many images (`nbs`).
NOMINAL_BATCH = 64
#: Steps that a larger batch must leave to an epoch. Ours: with fewer, the schedule of an epoch is too coarse.
FEWEST_STEPS = 10


@dataclass(frozen=True)
class Advice:
    """A remedy.

    Attributes:
        arguments: for Ultralytics.
        environment: variables to set before the start.
        note: what to do beyond both, a sentence without its full stop.
        speedup: expected images per second over today's; None if that cannot be computed.
        whole: the speed-up is that of the whole run, validation and checkpoints included, not of the training steps.
    """

    arguments: Mapping[str, Value] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    speedup: float | None = None
    whole: bool = False

    def __str__(self) -> str:
        """As one would type it: `OMP_NUM_THREADS=1 workers=12 cache=ram; then the note`."""
        pairs = [f"{key}={value}" for key, value in (*self.environment.items(), *self.arguments.items())]
        return "; ".join(part for part in (" ".join(pairs), self.note) if part)


def gain(advice: Advice, signals: Signals) -> str | None:
    """The gain to expect as a phrase: `up to 1.6x: 120 -> 190 images/s`."""
    if advice.speedup is None or advice.speedup < 1.03:  # noqa: PLR2004 - less is noise
        return None
    if advice.whole:
        return f"up to {advice.speedup:.1f}x for the run as a whole"
    if not signals.has(Signals.images_per_second):
        return f"up to {advice.speedup:.1f}x"
    now = signals.images_per_second
    return f"up to {advice.speedup:.1f}x: {now:.3g} -> {now * advice.speedup:.3g} images/s"


def speedup_without_wait(s: Signals) -> float | None:
    """Speed-up if training never waited for data."""
    return 1 / (1 - s.data_wait_share) if s.has(Signals.data_wait_share) and s.data_wait_share < 1 else None


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
    if s.get(Signals.workers, -1) == 0 and s.facts.get("device") == "cpu":
        return 0  # Ultralytics sets workers=0 on a CPU whatever is asked for
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


def _image_size(s: Signals) -> float:
    return whole(s.facts.get("imgsz", "")) or IMAGE_SIZE


def more_workers(s: Signals) -> Advice | None:
    """Raise `workers` to what is needed, within what is possible."""
    if not s.has(Signals.workers):
        return None
    needed, possible, now = workers_needed(s), workers_possible(s), s.workers
    if needed is None and now == 0:
        needed = possible if possible is not None else 8
    if needed is None:
        return None
    chosen = needed if possible is None else min(needed, possible)
    if chosen <= now:
        return None
    return Advice({"workers": chosen}, note=_cap(s, chosen), speedup=_speedup(s, s.get(Signals.prep_seconds), chosen))


def _cap(s: Signals, chosen: int) -> str:
    """A warning that Ultralytics may start fewer; it counts the GPUs that the process sees, which is not known here."""
    if not s.has(Signals.node_cores, Signals.gpus) or chosen <= s.node_cores // max(s.gpus, 1):
        return ""
    return f"Ultralytics starts at most {s.node_cores // s.gpus:.0f} if the run sees all {s.gpus:.0f} GPUs"


def _speedup(s: Signals, prep: float, workers: float) -> float | None:
    """Throughput over today's with `workers` workers of `prep` seconds per batch: the slower of loader and trainer."""
    if not s.has(Signals.step_seconds, Signals.wait_seconds) or not prep:
        return speedup_without_wait(s)
    today = s.step_seconds + s.wait_seconds
    return today / max(s.step_seconds, prep / max(workers, 1))


def dataset_bytes(s: Signals) -> float | None:
    """Memory of the data set decoded, as `cache=ram` keeps it; every rank of the node keeps its own copy."""
    if not s.has(Signals.epoch_images):
        return None
    return s.epoch_images * image_bytes(s) * ranks_here(s)


def _cached(s: Signals, *places: str) -> bool:
    return s.facts.get("cache", "").lower() in places


class _CacheSizes(NamedTuple):
    """Bytes of the decoded data set, and how many a RAM cache may take."""

    needed: float
    room: float


def _cache_sizes(s: Signals) -> _CacheSizes | None:
    """None where either is unknown, or the images are in memory already."""
    needed = dataset_bytes(s)
    if _cached(s, "ram", "true") or needed is None or not s.has(Signals.memory_available_bytes):
        return None
    return _CacheSizes(needed, s.memory_available_bytes * CACHE_SHARE)


def cache_in_memory(s: Signals) -> Advice | None:
    """`cache=ram` if the decoded data set fits into what memory is left."""
    sizes = _cache_sizes(s)
    if sizes is None or sizes.needed > sizes.room:
        return None
    note = f"the data set takes {units.size(sizes.needed)} decoded, {units.size(sizes.room)} may be used"
    return Advice({"cache": "ram"}, note=note, speedup=_without_reading(s))


def cache_on_disk(s: Signals) -> Advice | None:
    """`cache=disk`, which spares the decoding and reads more bytes: of use only where storage keeps up."""
    if _cached(s, "disk") or _cache_sizes(s) is None:
        return None
    return Advice({"cache": "disk"}, note=_too_large(s), speedup=_without_reading(s))


def _too_large(s: Signals) -> str:
    """Why there is no `cache=ram`; empty where that is not the reason."""
    sizes = _cache_sizes(s)
    if sizes is None:
        return ""
    needed, room = units.size(sizes.needed), units.size(sizes.room)
    return f"decoded, the data set takes {needed}: too much for cache=ram ({room} may be used)"


def _without_reading(s: Signals) -> float | None:
    """Speed-up if preparing a batch took only its computing: a cached image needs no reading."""
    prep = s.prep_seconds * s.prep_cpu_ratio if s.has(Signals.prep_seconds, Signals.prep_cpu_ratio) else 0
    return _speedup(s, prep, s.get(Signals.workers, 1)) if prep else None


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
    if kept:
        return _combined([kept, workers] if workers else [kept])
    note = "; ".join(filter(None, (_too_large(s), "put the data set on a local SSD or NVMe disk")))
    return Advice(workers.arguments if workers else {}, note=note, speedup=speedup_without_wait(s))


def for_slow_preprocessing(s: Signals) -> Advice:
    """Preparation is bound by the CPU: spare it the decoding where that is much of it, lighten the transforms.

    A cache saves decoding only, and is promised no more than that. More workers are no remedy: where CPUs idle for them
    the verdict is another one.
    """
    note = "lighten the augmentation (mosaic=0 reads a quarter of the images) and your own transforms, or use more CPUs"
    kept = cache_in_memory(s) or cache_on_disk(s)
    if not kept or s.get(Signals.decode_share, 1.0) < DECODE_SHARE:
        return Advice(note=note)
    return Advice(kept.arguments, {}, f"{kept.note}; or {note}", _without_decoding(s))


def _without_decoding(s: Signals) -> float | None:
    """Speed-up if preparing a batch took only its transforms; None where their share is not known."""
    if not s.has(Signals.decode_share, Signals.prep_seconds):
        return None
    return _speedup(s, s.prep_seconds * (1 - s.decode_share), s.get(Signals.workers, 1))


def _combined(parts: list[Advice]) -> Advice:
    arguments = {key: value for part in parts for key, value in part.arguments.items()}
    speedups = [part.speedup for part in parts if part.speedup is not None]
    return Advice(arguments, {}, "; ".join(part.note for part in parts if part.note), max(speedups, default=None))


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
    return Advice(arguments, {"OMP_NUM_THREADS": "1"}, note, speedup_without_wait(s))


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


def batch_that_fits(s: Signals) -> int | None:
    """The batch whose peak would take CUDA_TARGET of the device beside what others hold of it, from today's peak.

    Memory is taken as a floor (weights, optimizer) and an amount per image; the floor is the least allocated seen. So
    it is an upper bound for a peak that grows faster than the batch, and therefore rounded down to a multiple of 8 (4
    below 16). None where peak, capacity or batch are not known.
    """
    known = s.get(Signals.cuda_peak_bytes), s.get(Signals.gpu_memory_total_bytes), s.get(Signals.batch_size)
    if not all(known):
        return None
    floor = min(s.get(Signals.cuda_floor_bytes), s.cuda_peak_bytes)
    per_image = (s.cuda_peak_bytes - floor) / s.batch_size
    if per_image <= 0:
        return None
    fitting = int((s.gpu_memory_total_bytes * CUDA_TARGET - _of_others(s) - floor) / per_image)
    return max(_even(fitting), 1)


def _of_others(s: Signals) -> float:
    """Device memory that PyTorch's allocator does not hold: the CUDA context, and other processes."""
    return max(s.get(Signals.gpu_memory_used_share) * s.gpu_memory_total_bytes - s.cuda_peak_bytes, 0.0)


def _even(batch: int) -> int:
    step = 8 if batch >= 16 else 4 if batch >= 4 else 1  # noqa: PLR2004 - what batch_that_fits says
    return batch // step * step


def global_batch(s: Signals, per_rank: int) -> int:
    """`batch=` counts the images of all ranks together."""
    return per_rank * max(int(s.get(Signals.world_size, 1)), 1)


def smaller_batch(s: Signals) -> Advice:
    """Less memory per step, the same optimisation: Ultralytics accumulates gradients up to `nbs` images.

    Where Ultralytics has halved the batch already, today's is the one to start with, if it fits.
    """
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if not now:
        return Advice(_precision(s), note="a smaller batch=, or a smaller imgsz=")
    most = now if s.get(Signals.batch_reductions) else _even(now - 1)
    chosen = min(fitting, most) if fitting else now // 2
    if chosen < 1:
        return Advice(_precision(s) or _smaller_images(s), note="the batch is as small as it can be")
    nominal = max(NOMINAL_BATCH, global_batch(s, now))
    note = f"gradients are accumulated over {nominal} images (nbs), so the optimisation stays the same"
    arguments: dict[str, Value] = {"batch": global_batch(s, chosen), "nbs": nominal}
    return Advice(arguments | _precision(s), note=note)


def _smaller_images(s: Signals) -> dict[str, Value]:
    """Four fifths of today's size, in multiples of 32 as Ultralytics wants them."""
    smaller = int(0.8 * _image_size(s)) // 32 * 32
    return {"imgsz": max(smaller, 32)}


def _precision(s: Signals) -> dict[str, Value]:
    return {"amp": True} if s.facts.get("amp", "").lower() in {"false", "0"} else {}


def larger_batch(s: Signals) -> Advice | None:
    """Memory to spare and a device that is not full: as large a batch as fits, at most the nominal one times two.

    Nor larger than a tenth of the data set, so that an epoch keeps ten steps.
    """
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if fitting is None:
        return None
    images = s.get(Signals.epoch_images, math.inf) / max(s.get(Signals.world_size, 1), 1)
    chosen = _even(int(min(fitting, max(2 * NOMINAL_BATCH, 2 * now), images / FEWEST_STEPS)))
    if chosen < 1.5 * now:
        return None
    return Advice({"batch": global_batch(s, chosen)}, note=f"about {_peak(s, chosen):.0%} of the device's memory")


def fewer_exchanges(s: Signals) -> Advice:
    """Ranks wait for the exchange of gradients: twice the batch halves it, where that fits."""
    fitting, now = batch_that_fits(s), int(s.get(Signals.batch_size))
    if fitting is None or fitting < 2 * now:
        return Advice(note="fewer GPUs, or a faster link between them: a larger batch does not fit")
    return Advice({"batch": global_batch(s, 2 * now)}, note="fewer, larger steps")


def _peak(s: Signals, batch: int) -> float:
    floor = min(s.get(Signals.cuda_floor_bytes), s.cuda_peak_bytes)
    per_image = (s.cuda_peak_bytes - floor) / s.batch_size
    return (_of_others(s) + floor + per_image * batch) / s.gpu_memory_total_bytes
