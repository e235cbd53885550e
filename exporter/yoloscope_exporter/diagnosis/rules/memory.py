"""Memory of the device and of the host: full, growing, not enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.batch import smaller_batch
from yoloscope_exporter.diagnosis.advice.cache import is_cached_in_memory, kept_image_bytes
from yoloscope_exporter.diagnosis.advice.device_memory import share_of_others
from yoloscope_exporter.diagnosis.advice.workers import fewer_workers
from yoloscope_exporter.diagnosis.rules.rule import INFO, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, text, units
from yoloscope_exporter.measures.memory import EXPLAINS

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def _host_leak(s: Signals, t: Thresholds) -> bool:
    if s.resident_growth_bytes >= t.growth_bytes and not _may_map_a_cache(s):
        return not s.has(Signals.first_epoch_left) or bool(_no_cache(s, t))
    if not s.has(Signals.available_fall_bytes, Signals.memory_used_share) or s.get(Signals.ranks, 2) > 1:
        return False  # somebody else's training may be what grows
    if s.get(Signals.cgroup_grown_bytes, math.inf) < EXPLAINS * s.available_fall_bytes:
        return False  # processes outside of the run's cgroup took it
    total = s.get(Signals.memory_available_bytes) / max(1 - s.memory_used_share, 1e-9)
    return s.available_fall_bytes >= max(t.available_fall_share * total, t.growth_bytes)


def _may_map_a_cache(s: Signals) -> bool:
    """Whether workers may be growing because they read a RAM cache that they share: what each has read counts in it.

    That takes nothing of the memory available, which is asked then. Since Ultralytics 8.4.190 the cache is one buffer,
    which workers that are spawned get as shared memory (`BaseDataset._ImageCache`).
    """
    if not is_cached_in_memory(s) or s.names.get("growing") == "main":
        return False
    if not s.has(Signals.cache_ram_bytes, Signals.workers):
        return True
    return s.resident_growth_bytes <= s.cache_ram_bytes * s.workers


def _no_cache(s: Signals, t: Thresholds) -> str:
    """Why growth in the first epoch is no cache of the images that fills, in words; empty where it may be one."""
    if not s.has(Signals.resident_growth_batch, Signals.batch_size):
        return ""
    images = s.batch_size * kept_image_bytes(s)
    if s.resident_growth_batch >= t.growth_images * images:
        return text("a cache of the images would grow by {images}", images=units.size(images))
    needed = s.resident_growth_batch * s.first_epoch_left
    if s.growth_seconds >= t.growth_seconds and needed > s.get(Signals.memory_available_bytes, needed):
        return text(
            "the first epoch still needs {needed}, and {memory_available_bytes} are left",
            needed=units.size(needed),
            memory_available_bytes=units.size(s.memory_available_bytes),
        )
    return ""


_ROLES = {"main": text("the training process"), "worker": text("the loader workers")}


def _host_leak_evidence(s: Signals, t: Thresholds) -> str:
    if s.resident_growth_bytes >= t.growth_bytes:
        per_hour = units.size(s.get(Signals.resident_growth_rate) * 3600)
        per_batch = (
            text(", {resident_growth_batch} per batch", resident_growth_batch=units.size(s.resident_growth_batch))
            if s.has(Signals.resident_growth_batch)
            else ""
        )
        whose = (
            text(", most of it that of {roles},", roles=_ROLES[s.names["growing"]])
            if s.names.get("growing") in _ROLES
            else ""
        )
        when = text("after the first epoch")
        if s.has(Signals.first_epoch_left):
            when = text("in the first epoch; {no_cache}", no_cache=_no_cache(s, t))
        return s.text(
            "resident memory{whose} grew by {resident_growth_bytes} in {growth_seconds:.0f} s "
            "({per_hour}/h{per_batch}), steadily, {when}{until_full}",
            whose=whose,
            resident_growth_bytes=units.size(s.resident_growth_bytes),
            per_hour=per_hour,
            per_batch=per_batch,
            when=when,
            until_full=_until_full(s),
        )
    return s.text(
        "free memory fell by {available_fall_bytes} in {growth_seconds:.0f} s while the "
        "training's own memory stayed level",
        available_fall_bytes=units.size(s.available_fall_bytes),
    )


def _until_full(s: Signals) -> str:
    rate = s.get(Signals.resident_growth_rate)
    if not s.has(Signals.memory_available_bytes) or rate <= 0:
        return ""
    return text(
        "; memory lasts for {memory_available_bytes:.1f} h",
        memory_available_bytes=s.memory_available_bytes / rate / 3600,
    )


def _device_leak(s: Signals, t: Thresholds) -> bool:
    watched = not s.has(Signals.first_epoch_left) or s.growth_seconds >= t.growth_seconds
    return s.cuda_growth_bytes >= t.growth_bytes and watched


def _when(s: Signals) -> str:
    if s.has(Signals.first_epoch_left):
        return text(
            "in the first epoch, of which {counted} are left", counted=units.counted(int(s.first_epoch_left), "batch")
        )
    return text("after the first epoch")


def _device_full(s: Signals) -> str:
    if not s.has(Signals.cuda_seconds_left):
        return ""
    return text("; the device is full in {cuda_seconds_left}", cuda_seconds_left=units.duration(s.cuda_seconds_left))


def _retried(s: Signals, _: Thresholds) -> bool:
    return s.get(Signals.ooms) > 0 or s.get(Signals.batch_reductions) > 0 or s.get(Signals.alloc_retries) > 0


def _retry_evidence(s: Signals, _: Thresholds) -> str:
    counts = (
        (s.get(Signals.ooms), text("out-of-memory errors")),
        (s.get(Signals.batch_reductions), text("halvings of the batch")),
        (s.get(Signals.alloc_retries), text("allocation retries")),
    )
    told = joined((text("{count:.0f} {what}", count=count, what=what) for count, what in counts if count), ", ")
    size = s.text("; batch is {batch_size:.0f}") if s.has(Signals.batch_size) else ""
    swings = s.get(Signals.gpu_idle_samples) > 0.3 and s.get(Signals.gpu_full_samples) > 0.3  # noqa: PLR2004
    return told + size + (text("; the GPU swings between idle and full") if swings else "")


def _fuller(s: Signals, t: Thresholds) -> bool:
    return s.gpu_memory_used_share - s.peer_memory_used_share >= t.memory_imbalance


def _fuller_evidence(s: Signals, _: Thresholds) -> str:
    guests = s.get(Signals.gpu_guests_bytes)
    others = (
        s.text("; {guests} of it is held by other processes than rank {rank}'s", guests=units.size(guests))
        if guests
        else ""
    )
    return s.text(
        "GPU {value} is {gpu_memory_used_share:.0%} full, the run's other GPUs {peer_memory_used_share:.0%}{others}",
        value=s.names.get("gpu", ""),
        others=others,
    )


def _fuller_cause(s: Signals, _: Thresholds) -> str:
    """Other processes hold memory of it, where that explains it; else it is not known."""
    difference = (s.gpu_memory_used_share - s.peer_memory_used_share) * s.get(Signals.gpu_memory_total_bytes)
    if s.get(Signals.gpu_guests_bytes) >= difference / 2 > 0:
        return text("other processes have a CUDA context on it: other ranks that touched it first, or somebody else's")
    return text("not known; rank 0 keeps the EMA model and, up to Ultralytics 8.3.217, validates alone")


def _full_evidence(s: Signals, _: Thresholds) -> str:
    told = s.text("peak of GPU memory {cuda_peak_share:.0%} of the device")
    others = share_of_others(s)
    return told + text("; other processes hold {others:.0%} of it", others=others) if others else told


def _room(s: Signals) -> Advice:
    """A smaller batch; where others hold the most, theirs comes first: a batch of a few images is no cure."""
    if share_of_others(s) > s.cuda_peak_share:
        return Advice(
            note=text(
                "end what else runs on GPU {gpu}, or train on another one (device=); or a smaller batch=",
                gpu=s.names.get("gpu", ""),
            )
        )
    return smaller_batch(s)


RULES = (
    Rule(
        name="imbalanced_memory",
        title="One GPU is fuller than the run's others",
        severity=INFO,
        requires="memory in use on the GPUs of the run's ranks",
        confused_with={
            "gpu_memory_pressure": "that is about one device's limit",
        },
        needs=(Signals.gpu_memory_used_share, Signals.peer_memory_used_share),
        when=_fuller,
        thresholds=("memory_imbalance",),
        evidence=_fuller_evidence,
        cause=_fuller_cause,
        verify="nvidia-smi --query-compute-apps=gpu_uuid,pid,used_memory --format=csv",
        fix=lambda _: Advice(
            note=text(
                "the fullest GPU bounds the batch; in your own code choose the device before the first "
                "CUDA call (torch.cuda.set_device(LOCAL_RANK)) and load checkpoints with "
                "map_location='cpu'"
            )
        ),
        remedy="the device chosen before the first CUDA call, `map_location='cpu'`; a `batch` that fits the fullest",
    ),
    Rule(
        name="gpu_memory_pressure",
        title="GPU memory is nearly full",
        severity=WARNING,
        requires="peak of reserved memory of this run, with what other processes hold, over the device's",
        confused_with={
            "healthy": "peaks of AutoBatch and of earlier runs in the process are not counted",
        },
        needs=(Signals.cuda_peak_share,),
        when=lambda s, t: s.cuda_peak_share + share_of_others(s) >= t.cuda_peak_share,
        thresholds=("cuda_peak_share",),
        evidence=_full_evidence,
        cause="activations of the batch, or uneven batches (many boxes, multi-scale), leave no room",
        verify="torch.cuda.memory_summary(); nvidia-smi --query-gpu=memory.used --format=csv -l 1",
        fix=_room,
        remedy=(
            "`batch` down, with `nbs` and `weight_decay` that keep images per optimizer step and decay; `amp=True`; "
            "where others hold the most of it, their processes ended or another GPU (`device`)"
        ),
    ),
    Rule(
        name="gpu_memory_leak",
        title="GPU memory grows and is not given back",
        severity=WARNING,
        requires="allocated memory that rises in each quarter of the window, after the first epoch, or in the first "
        "one if it does not last for it",
        confused_with={
            "healthy": "an allocator that warms up flattens; what fills a cache of the data set stops with the first "
            "epoch",
        },
        needs=(Signals.cuda_growth_bytes,),
        when=_device_leak,
        thresholds=("growth_bytes", "growth_seconds"),
        evidence=(
            lambda s, _: s.text(
                "allocated CUDA memory grew by {cuda_growth_bytes} in {growth_seconds:.0f} s, steadily, "
                "{when}{device_full}",
                cuda_growth_bytes=units.size(s.cuda_growth_bytes),
                when=_when(s),
                device_full=_device_full(s),
            )
        ),
        cause="something keeps tensors: losses with their graph, outputs kept in a list, a callback's cache",
        verify="torch.cuda.memory_summary() at the same place of two epochs",
        fix=lambda _: Advice(note=text("detach() what is kept, and release it in on_train_batch_end")),
        remedy="`detach()` what is kept, release it in `on_train_batch_end`",
    ),
    Rule(
        name="host_memory_leak",
        title="Memory grows and is not given back",
        severity=WARNING,
        requires="resident memory of the run that is higher than ever, or what is available, that moves one way in "
        "each quarter of the window",
        confused_with={
            "healthy": "caches and mosaic buffers flatten; what each epoch gives back does not grow; what is taken "
            "outside of the run's cgroup is not the run's; in the first epoch growth must exceed that of a cache of "
            "images, or the room there is; workers may grow by a RAM cache each, which they share",
        },
        needs=(Signals.resident_growth_bytes,),
        when=_host_leak,
        thresholds=("growth_bytes", "growth_images", "growth_seconds", "available_fall_share"),
        evidence=_host_leak_evidence,
        cause="a callback, the data set or the loader keeps what it should drop, or copies on write what workers share",
        verify="py-spy dump --pid <pid>; tracemalloc in the callback; ls -l /dev/shm",
        fix=lambda s: Advice(
            {} if s.names.get("growing") == "main" else fewer_workers(s),
            note=text(
                "drop references in on_train_batch_end; lists of Python objects in a data set belong into one array"
            ),
        ),
        remedy=(
            "drop references in `on_train_batch_end`; arrays instead of lists of Python objects; "
            "fewer `workers` meanwhile"
        ),
    ),
    Rule(
        name="oom_retry",
        title="Out of GPU memory, tried again",
        severity=WARNING,
        requires="counts of the allocator and of Ultralytics, from the run's first batch on",
        confused_with={
            "healthy": "AutoBatch runs out of memory on purpose before the first batch",
        },
        needs=(Signals.ooms,),
        when=_retried,
        evidence=_retry_evidence,
        cause="the batch does not fit: PyTorch flushes its cache and retries, or Ultralytics halves the batch",
        verify="the log's 'out of memory'; torch.cuda.memory_stats()['num_alloc_retries']",
        fix=smaller_batch,
        event=True,
        remedy="`batch` down to what fits, with `nbs` and `weight_decay` that keep the optimizer's steps; `amp=True`",
    ),
)
