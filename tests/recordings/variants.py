"""Variants of what practitioners meet, with the answers that were written down before any of them was played.

The corpus beside this (`cases`) is what the rules were made with; these are what somebody else asks: other magnitudes,
near a threshold and far from it, short and resumed runs, other tasks and platforms, several ranks, runs and nodes, a
Prometheus' sampling, several causes at once, and what looks ill and is healthy. Real trainings of the same kind stand
in `tests.field_cases.cases`. To add one: an entry of `VARIANTS`, its answer first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample

from tests.recordings.cases import (
    BASE,
    DDP,
    FAST,
    ONE_EPOCH,
    Case,
    Moments,
    at_batch,
    every,
    held,
    jump,
    older_hooks,
    restart,
    rising,
)
from tests.recordings.model import GIB, MIB, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value


@dataclass(frozen=True)
class Variant(Case):
    """One training and its diagnosis.

    Attributes:
        told: verdicts worse than ok of each rank, the worst first; of none of them where that is empty.
        ranks: the same of a rank (`1`), of a run's (`train/other 0`) or of the node (`node`) that is told others.
        row: the row of the field's reports; 0 for a plain verdict.
        evidence: by verdict, a pattern of its evidence or cause.
        fix: by verdict, a pattern of its fix.
        arguments: by verdict, exactly those that are advised.
        after: by verdict, a pattern of what came after it.
        never: a pattern of what must be told nowhere.
        allowed: verdicts that are true as well and may be told.
        silent: no rank is said to be healthy either.
        nodes: each rank is on a node of its own.
    """

    told: tuple[str, ...] = ()
    ranks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row: int = 0
    evidence: Mapping[str, str] = field(default_factory=dict)
    fix: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    never: str = ""
    allowed: frozenset[str] = frozenset()
    silent: bool = False
    nodes: bool = False


def sick(told: str, row: int, why: str, plan: Plan, **how: object) -> Variant:
    return Variant(why, plan, told=tuple(told.split()), row=row, **how)  # type: ignore[arg-type]


def fine(row: int, why: str, plan: Plan, **how: object) -> Variant:
    return sick("", row, why, plan, **how)


# --- tampering ------------------------------------------------------------------------------------------------------


def slow_files(filesystem: str) -> Callable[[Moments], Moments]:
    """The five slowest images lie on this file system, and were waited for."""

    def tamper(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
        for time, samples in found:
            files = [
                sample
                for index in range(5)
                for name in [f"/mnt/d/data/images/{index}.jpg"]
                for run in [("train/yolo11m", "0", name)]
                for sample in (
                    Sample(catalog.TRAIN_SLOW_FILE_SECONDS, run, 1.4),
                    Sample(catalog.TRAIN_SLOW_FILE_CPU_SECONDS, run, 0.05),
                    Sample(catalog.TRAIN_SLOW_FILE_INFO, (*run, "1920", "1080", "JPEG", filesystem, ""), 1.0),
                )
            ]
            yield time, [*samples, *files]

    return tamper


def threads(factor: float) -> Callable[[Moments], Moments]:
    """A library starts threads in each worker: its process uses so many times the CPU of its own thread."""

    def tamper(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
        for time, samples in found:
            yield (
                time,
                [
                    s._replace(value=s.value * factor)  # type: ignore[operator]
                    if s.metric is catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL and s.labels[2] == "worker"
                    else s
                    for s in samples
                ],
            )

    return tamper


# --- machines ---------------------------------------------------------------------------------------------------------

PRESSURE = (catalog.PRESSURE_SECONDS_TOTAL,)
DISKS = (catalog.DISK_IO_SECONDS_TOTAL,)
#: A MIG instance has no utilisation of its own.
NO_UTILISATION = (
    catalog.GPU_UTILIZATION_RATIO,
    catalog.GPU_BUSY_SECONDS_TOTAL,
    catalog.GPU_SM_ACTIVE_RATIO,
)
#: What NVML does not tell in WSL2, whose kernel has no pressure metrics either.
WSL2 = (
    *NO_UTILISATION,
    *PRESSURE,
    catalog.GPU_THROTTLED_SECONDS_TOTAL,
    catalog.GPU_PCIE_LINK_WIDTH,
    catalog.GPU_PCIE_LINK_WIDTH_MAX,
    catalog.GPU_PCIE_LINK_GENERATION,
    catalog.GPU_PCIE_LINK_GENERATION_MAX,
)
#: GB10 and Jetson: the GPU's memory is the host's.
UNIFIED = (catalog.GPU_MEMORY_TOTAL_BYTES, catalog.GPU_MEMORY_USED_BYTES)

COMPUTES = {"prep": 2.6, "cores": 8, "others_cpu": 0.2}  # workers, on all CPUs
READS = {"prep": 2.6, "prep_cpu": 0.06, "io_pressure": 0.6, "disk_busy": 0.99}  # from slow storage
QUEUES = {"prep": 2.6, "prep_cpu": 0.4, "runqueue": 0.55}  # for a CPU
ON_A_CPU = replace(BASE, gpu=False, cores=8, forward=0.4, backward=0.6, batches=60, h2d=0.0)
LEARNING = replace(BASE, epochs=20, batches=60, validate=2.0)
FLAT = replace(BASE, epochs=14, batches=80, validate=2.0, loss=lambda at: 3.1 + 0.001 * (at.batch % 7))

VARIANTS: dict[str, Variant] = {
    # --- set-up
    "setup_waits_for_a_rank": sick(
        "setup_slow",
        1,
        "two ranks of four wait for the others, which nobody started",
        Plan(
            ranks=2,
            epochs=0,
            setup=600.0,
            stage="ddp",
            end="running",
            facts={"world_size": "4"},
            without=(catalog.TRAIN_SETUP_PROGRESS_RATIO,),
        ),
        evidence={"setup_slow": "stage ddp"},
        fix={"setup_slow": "MASTER_ADDR"},
        never="stalled|Training stands still",
    ),
    "setup_below_its_limit": fine(1, "170 s of a label scan", replace(BASE, setup=170.0)),
    "setup_checks_amp_15s": sick(
        "setup_slow",
        1,
        "the model of the AMP check comes over a slow line; scraped by a Prometheus",
        replace(BASE, setup=330.0, stage="amp_check"),
        every=15.0,
        fix={"setup_slow": "working directory"},
    ),
    "setup_of_a_resumed_run": sick(
        "setup_slow",
        1,
        "a resumed run reads its labels again for four minutes",
        replace(BASE, before=40, setup=240.0),
        fix={"setup_slow": "labels"},
    ),
    "killed_in_set_up": sick(
        "killed",
        3,
        "the RAM cache takes all memory: there is no checkpoint yet to continue from",
        replace(BASE, epochs=0, setup=100.0, stage="cache", end="killed", oom_killed=1, facts={"cache": "ram"}),
        evidence={"killed": "OOM kills in the run's cgroup: 1"},
        never="resume=True|setup_slow",
        silent=True,
    ),
    "failed_in_set_up": sick(
        "failed",
        0,
        "the data set is not found: there is no checkpoint yet to continue from",
        replace(BASE, epochs=0, setup=60.0, end="failed"),
        never="resume=True|setup_slow",
        silent=True,
    ),
    # --- other people's callbacks
    "callback_of_8_percent": fine(2, "18 ms with every batch", replace(BASE, callback=0.018)),
    "callback_of_12_percent": sick(
        "callback_bound",
        2,
        "30 ms with every batch",
        replace(BASE, callback=0.03),
        evidence={"callback_bound": r"per batch.*mylogger\.upload"},
    ),
    "callback_of_fast_steps_15s": sick(
        "callback_bound",
        2,
        "a classifier of 12 ms a step, a logger of 3 ms; scraped by a Prometheus",
        replace(BASE, **FAST, prep=0.06, epochs=3, batches=3000, callback=0.003, facts={"task": "classify"}),
        every=15.0,
    ),
    "callback_per_epoch_of_a_resumed_run": sick(
        "callback_bound",
        2,
        "5 s at the end of each of the six epochs after the fortieth",
        replace(BASE, before=40, epochs=6, batches=60, validate=2.0, epoch_callback=5.0),
        evidence={"callback_bound": r"\b[45]\.\d+ s per epoch"},
    ),
    "callback_and_too_few_workers": sick(
        "loader_workers callback_bound",
        2,
        "the trainer waits for data for longer than a logger takes",
        replace(BASE, callback=0.1, workers=2, prep=0.9),
    ),
    "one_pause_of_a_callback": fine(
        2,
        "40 s of plots, once within a long epoch",
        replace(ONE_EPOCH, callback=at_batch(700, 40.0, 0.0)),
        never="stand still|stalled",
    ),
    "upload_at_the_very_end": fine(
        2,
        "a logger waits for four minutes when all is over (y5#6389)",
        replace(BASE, epoch_callback=lambda at: 240.0 if at.epoch == 5 else 0.0),
        allowed=frozenset({"callback_bound"}),
        never="stand still|stalled",
    ),
    "logger_of_rank_0": sick(
        "callback_bound straggler",
        2,
        "rank 0 logs for 80 ms with every batch, and rank 1 waits for it",
        replace(DDP, callback=lambda at: 0.0 if at.rank else 0.08),
        ranks={"1": ()},
        evidence={"straggler": "in callbacks"},
        silent=True,
    ),
    # --- loader workers that die
    "worker_killed_by_somebody": sick(
        "worker_died failed",
        3,
        "SIGKILL, and no OOM kill was counted",
        replace(BASE, stop=500, end="failed", deaths={"SIGKILL": 1}),
        evidence={"worker_died": "somebody killed"},
        never="cache=False|memory is used up",
    ),
    "worker_segfault": sick(
        "worker_died failed",
        3,
        "a worker crashes in a library",
        replace(BASE, stop=500, end="failed", deaths={"SIGSEGV": 1}),
        evidence={"worker_died": "1 by SIGSEGV"},
        never="shm-size|memory is used up",
    ),
    "worker_died_in_a_container": sick(
        "worker_died failed environment",
        3,
        "64 MiB of /dev/shm, as Docker gives",
        replace(BASE, stop=500, end="failed", deaths={"SIGBUS": 1}, shm=64 * MIB, shm_used=0.99),
        evidence={"worker_died": "bus error"},
        fix={"worker_died": "--shm-size", "environment": "--shm-size"},
    ),
    # --- the loader
    "augmentation_while_cached": sick(
        "loader_cpu",
        4,
        "transforms compute, the images are cached",
        replace(BASE, **COMPUTES, decode=0.05, facts={"cache": "ram"}),
        never="cache=",
    ),
    "decoding_of_large_photos": sick(
        "loader_cpu",
        4,
        "nearly all of it decodes: a cache spares that",
        replace(BASE, **COMPUTES, decode=0.95),
        arguments={"loader_cpu": {"cache": "ram"}},
    ),
    "classifier_that_may_not_cache": sick(
        "loader_io",
        10,
        "slow storage; classification refuses cache=ram in this version",
        replace(BASE, **READS, facts={"task": "classify", "ultralytics": "8.3.50"}),
        never="cache=ram",
    ),
    "storage_without_pressure": sick(
        "loader_io",
        4,
        "slow storage, and a kernel without pressure metrics",
        replace(BASE, **READS, without=PRESSURE),
        evidence={"loader_io": "busiest disk 99% busy"},
    ),
    "storage_that_is_not_measured": sick(
        "loader_wait",
        4,
        "workers wait, and neither disks nor pressure are known",
        replace(BASE, **READS, without=(*PRESSURE, *DISKS)),
        evidence={"loader_wait": "how busy storage is, is not known here"},
    ),
    "wait_of_5_percent": fine(4, "two workers that are a little too slow", replace(BASE, workers=2, prep=0.44)),
    "wait_of_14_percent": sick(
        "loader_workers", 4, "two workers that are too slow", replace(BASE, workers=2, prep=0.49)
    ),
    "starved_30s": sick(
        "loader_workers",
        4,
        "one worker; scraped every 30 s",
        replace(BASE, workers=1, epochs=4, batches=400),
        every=30.0,
    ),
    "pinned_ranks": sick(
        "cpu_affinity",
        7,
        "eight workers of each of two ranks on 2 of 64 CPUs",
        replace(DDP, **QUEUES, cores=64, affinity=2),
        never="gradients are too slow|holds the others up|workers=2\\b",
    ),
    "no_workers_on_a_cpu": sick(
        "loader_workers",
        8,
        "Ultralytics starts no workers on a CPU, whatever is asked for",
        replace(ON_A_CPU, workers=0, prep=0.35, facts={"workers": "8"}),
        never=r"workers=[1-9]\d* ?$|^workers=[1-9]",
    ),
    "a_disk_that_others_fill": sick(
        "loader_cpu",
        22,
        "a neighbour's disk is full and waited for, and workers compute",
        replace(BASE, **COMPUTES, prep_cpu=0.9, disk_busy=0.97, io_pressure=0.5),
        never="busiest disk|Storage is too slow",
    ),
    "one_of_16_workers": sick(
        "slow_worker",
        4,
        "one of sixteen workers takes ten times as long",
        replace(BASE, workers=16, batches=150, prep=lambda at: 6.0 if at.worker == 11 else 0.6),
        evidence={"slow_worker": r"worker 11 takes"},
    ),
    "two_of_8_workers": sick(
        "slow_worker",
        4,
        "two of eight workers are slow, and six would do",
        replace(BASE, batches=150, prep=lambda at: 4.0 if at.worker in {2, 5} else 0.6),
        evidence={"slow_worker": r"worker [25] takes"},
    ),
    "short_and_starved": sick(
        "loader_workers",
        4,
        "forty batches in all",
        Plan(epochs=1, batches=40, workers=1, setup=3.0, validate=1.0, checkpoint=0.2, after=5.0),
        every=1.0,
    ),
    "short_and_healthy": fine(
        0,
        "sixty batches in all",
        Plan(epochs=2, batches=30, setup=2.0, validate=1.0, checkpoint=0.2, first_wait=0.3, after=5.0),
        every=1.0,
    ),
    "pod_of_2_cpus_15s": sick(
        "cpu_throttled",
        22,
        "a quota of two CPUs for eight workers; scraped by a Prometheus",
        replace(BASE, epochs=6, quota=2.0, throttled=0.9, prep=3.0, prep_cpu=0.3, runqueue=0.6),
        every=15.0,
        evidence={"cpu_throttled": "quota of 2 CPUs"},
    ),
    "threads_of_opencv": sick(
        "cpu_oversubscribed",
        22,
        "four workers start four threads each, on eight CPUs",
        replace(BASE, workers=4, cores=8, prep=2.0, prep_cpu=0.45, runqueue=0.45, others_cpu=5.4),
        tamper=threads(4.0),
        fix={"cpu_oversubscribed": "OMP_NUM_THREADS=1"},
    ),
    "a_run_beside_takes_the_cpus": sick(
        "cpu_contended",
        22,
        "the other training on the node computes on eight of sixteen CPUs",
        replace(BASE, **QUEUES, cores=16, others_cpu=9.0),
        second=replace(BASE, run="train/other", main_cpus=8.0, prep=0.2, seed=7, batches=330),
        ranks={"train/other 0": ()},
        evidence={"cpu_contended": "train/other"},
    ),
    "capped_and_slow_storage": sick(
        "loader_io",
        8,
        "two workers of sixteen were started, and what they wait for is a disk: more are not to be had",
        replace(
            BASE,
            workers=2,
            cores=4,
            prep=0.9,
            prep_cpu=0.1,
            io_pressure=0.6,
            disk_busy=0.99,
            facts={"workers": "16", "visible_gpus": "2"},
        ),
        never=r"workers=\d",
    ),
    "cold_page_cache": sick(
        "loader_io",
        4,
        "the first epoch reads from slow storage, the others from the page cache",
        replace(BASE, **{**READS, "prep": lambda at: 2.6 if at.epoch == 1 else 0.5}),
        after={"loader_io": "healthy since"},
    ),
    # --- the step, and what is beside it
    "copies_of_9_percent": fine(11, "20 ms", replace(BASE, h2d=0.02)),
    "copies_and_preprocessing": sick(
        "preprocess_bound h2d_bound", 11, "50 ms each", replace(BASE, h2d=0.05, preprocess=0.05)
    ),
    "validation_of_30_percent": fine(
        20, "11 s for 26 s of training", replace(BASE, epochs=6, batches=120, validate=11)
    ),
    "validation_of_a_resumed_run": sick(
        "validation_bound",
        20,
        "20 s for 26 s of training, after the ninetieth epoch",
        replace(BASE, before=90, epochs=6, batches=120, validate=20.0),
        evidence={"validation_bound": r"[34]\d% of the run"},
        arguments={"validation_bound": {"val": False}},
    ),
    "validation_and_checkpoints": sick(
        "validation_bound checkpoint_bound",
        20,
        "both take long",
        replace(BASE, epochs=6, batches=120, validate=26.0, checkpoint=9.0),
    ),
    "checkpoints_15s": sick(
        "checkpoint_bound",
        0,
        "9 s to a network disk; scraped by a Prometheus",
        replace(BASE, epochs=8, batches=120, checkpoint=9.0),
        every=15.0,
        never="save_period",
    ),
    "small_batch_that_starves": sick(
        "loader_workers",
        0,
        "the kernels are small, and the loader is slower",
        replace(BASE, workers=1, sm_active=0.22, peak=9 * GIB, allocated=4 * GIB, batch=4),
        never="too small for the GPU",
    ),
    "amp_failed_and_starved": sick(
        "loader_workers amp_off",
        28,
        "the check of AMP failed, and the loader is too slow",
        replace(BASE, workers=1, facts={"amp": "false"}),
    ),
    # --- platforms
    "wsl2": fine(24, "no utilisation, no pressure", replace(BASE, without=WSL2), never="GPU busy"),
    "wsl2_on_a_drive_of_windows": sick(
        "loader_io",
        24,
        "images lie on /mnt/d",
        replace(BASE, prep=2.6, prep_cpu=0.06, without=WSL2),
        tamper=slow_files("9p"),
        evidence={"loader_io": "lie on a network file system"},
    ),
    "wsl2_on_its_own_disk": sick(
        "loader_wait",
        24,
        "images lie on ext4, and nothing shows that it is slow",
        replace(BASE, prep=2.6, prep_cpu=0.06, without=WSL2),
        tamper=slow_files("ext4"),
        never="network file system is mounted|lie on a network",
    ),
    "mig_instance_that_starves": sick(
        "loader_workers",
        25,
        "no utilisation of a MIG instance",
        replace(BASE, workers=1, without=NO_UTILISATION),
        never="GPU busy|too small for the GPU",
    ),
    "unified_memory": fine(26, "the GPU's memory is the host's", replace(BASE, without=UNIFIED)),
    # --- memory
    "memory_doubles_once": fine(
        5,
        "a classifier's second epoch takes twice the memory, and then it stays (ul#4563)",
        replace(
            BASE,
            epochs=6,
            batches=150,
            resident=lambda at: (8 if at.epoch == 1 else 16) * GIB,
            facts={"task": "classify", "cache": "ram"},
        ),
    ),
    "growth_of_40_mib": fine(5, "45 KiB a batch", replace(BASE, resident=rising(6 * GIB, 0.045 * MIB))),
    "leak_of_a_third_of_a_mib": sick(
        "host_memory_leak", 5, "350 KiB a batch, 6 GiB an hour", replace(BASE, resident=rising(6 * GIB, 0.35 * MIB))
    ),
    "leak_that_ends_with_mosaic": sick(
        "host_memory_leak",
        5,
        "8 MiB a batch, until mosaic is closed in the sixth of eight epochs (ul#617)",
        replace(BASE, epochs=8, batches=120, resident=lambda at: 6 * GIB + 8 * MIB * min(at.batch, 600)),
    ),
    "device_memory_that_breathes": fine(
        5,
        "the number of boxes in a batch says how much it takes (ul#730)",
        replace(BASE, allocated=lambda at: (18 + 6 * abs(math.sin(at.batch * 12.9898))) * GIB, peak=40 * GIB),
    ),
    "device_leak_of_a_resumed_run": sick(
        "gpu_memory_leak",
        5,
        "20 MiB a batch, after the tenth epoch",
        replace(BASE, before=10, epochs=8, allocated=rising(22 * GIB, 20 * MIB), peak=60 * GIB),
    ),
    "oom_that_the_gpu_repeats": sick(
        "oom_retry",
        18,
        "the label assigner retries image by image on the GPU, in less than a second (ul PR#25990)",
        replace(BASE, ooms={300: 1}, forward=at_batch(300, 0.8, 0.08)),
        never="on the CPU after it|many times the usual",
    ),
    "peak_of_94_percent": sick("gpu_memory_pressure", 0, "of 80 GiB", replace(BASE, peak=75.2 * GIB)),
    "peak_of_90_percent": fine(0, "of 80 GiB", replace(BASE, peak=72 * GIB)),
    "neighbour_on_the_gpu": fine(
        0, "it holds 30 GiB, and there is room for both", replace(BASE, guests=30 * GIB), never="nearly full"
    ),
    # --- ranks and nodes
    "straggler_of_8": sick(
        "",
        31,
        "rank 5 takes a fifth longer",
        Plan(ranks=8, cores=128, epochs=3, batches=150, backward=lambda at: 0.15 if at.rank == 5 else 0.11),
        ranks={"5": ("straggler",)},
        evidence={"straggler": "rank 5 takes"},
        silent=True,
    ),
    "lag_of_6_percent": fine(31, "rank 1 is a little slower", replace(DDP, backward=lambda at: 0.11 + 0.013 * at.rank)),
    "slow_links_of_4_ranks_15s": sick(
        "communication_bound",
        0,
        "scraped by a Prometheus",
        Plan(ranks=4, cores=128, epochs=6, batches=150, exchange=0.12),
        every=15.0,
    ),
    "storage_of_one_node": sick(
        "",
        31,
        "the second of three nodes reads from slow storage",
        Plan(
            ranks=3,
            cores=64,
            epochs=2,
            batches=250,
            prep=lambda at: 3.0 if at.rank == 1 else 0.5,
            prep_cpu=0.15,
            io_pressure=0.7,
        ),
        ranks={"1": ("loader_io", "straggler")},
        every=15.0,
        nodes=True,
        silent=True,
    ),
    "two_nodes_starve_30s": sick(
        "loader_workers",
        4,
        "one worker on each node",
        Plan(ranks=2, cores=64, workers=1, epochs=2, batches=400),
        every=30.0,
        nodes=True,
    ),
    # --- hardware
    "warm_for_a_moment": fine(0, "thermal slowdown of 3 %", replace(BASE, thermal=0.03)),
    "hot_and_capped": sick(
        "thermal_throttle power_capped",
        16,
        "too hot a tenth of the time, at its power limit most of it",
        replace(BASE, thermal=0.1, power_cap=0.9, clock=0.7),
    ),
    "half_the_lanes_and_starved": sick(
        "loader_workers pcie_degraded",
        15,
        "eight of sixteen lanes are no reason to wait for data",
        replace(BASE, workers=1, pcie=(8, 16)),
    ),
    # --- ends and standstills
    "killed_in_the_first_epoch": sick(
        "killed",
        0,
        "no epoch has ended: there is no checkpoint to continue from",
        replace(BASE, stop=100, end="killed"),
        evidence={"killed": "in epoch 1 of 5"},
        never="resume=True",
    ),
    "killed_in_the_fourth_epoch": sick(
        "killed", 0, "last.pt is there", replace(BASE, stop=700, end="killed"), arguments={"killed": {"resume": True}}
    ),
    "killed_after_it_was_resumed": sick(
        "killed",
        0,
        "in its own first epoch, which is the eleventh",
        replace(BASE, before=10, stop=100, end="killed"),
        arguments={"killed": {"resume": True}},
    ),
    "hang_of_slow_steps_15s": sick(
        "stalled",
        0,
        "7 s a step, and then nothing for four minutes; scraped by a Prometheus",
        replace(
            BASE,
            forward=2.4,
            backward=4.4,
            prep=12.0,
            epochs=2,
            batches=34,
            hang=40,
            hang_seconds=240.0,
            end="running",
        ),
        every=15.0,
    ),
    "one_batch_of_12_s": fine(
        18, "many boxes, once", replace(BASE, forward=at_batch(500, 12.0, 0.08)), never="many times the usual|stalled"
    ),
    "one_batch_of_25_s_without_an_oom": sick(
        "slow_batch",
        18,
        "the GPU takes it, and nobody knows why",
        replace(BASE, forward=at_batch(500, 25.0, 0.08)),
        never="out-of-memory errors meanwhile|label assigner ran",
    ),
    "clock_set_while_it_starves": sick(
        "loader_workers",
        0,
        "by an hour",
        replace(BASE, workers=1, batches=120),
        tamper=jump(130, 3600),
        notes=("without samples",),
    ),
    "nan_of_one_component_15s": sick(
        "diverged",
        30,
        "the loss of masks is NaN from the fourth epoch on (ul#4733)",
        replace(BASE, epochs=6, nonfinite=lambda at: float(at.batch >= 700), facts={"task": "segment"}),
        every=15.0,
    ),
    # --- learning
    "loss_that_swings_by_8_percent": fine(
        30, "after each epoch and back", replace(LEARNING, loss=lambda at: 3.0 + 0.26 * (at.epoch % 2))
    ),
    "loss_that_swings_by_16_percent": sick(
        "loss_unstable",
        30,
        "after each epoch and back",
        replace(LEARNING, loss=lambda at: 3.0 + 0.5 * (at.epoch % 2)),
    ),
    "loss_of_a_resumed_run_swings": sick(
        "loss_unstable",
        30,
        "fourteen epochs after the fiftieth: there is no warm-up any more",
        replace(LEARNING, before=50, epochs=14, loss=lambda at: 3.0 + 0.6 * (at.epoch % 2)),
    ),
    "flat_loss_of_a_model_that_learns": fine(0, "mAP rises", replace(FLAT, score=lambda at: 0.3 + 0.01 * at.epoch)),
    "flat_loss_and_starved": sick(
        "loader_workers",
        0,
        "the loss would fall if more were trained",
        replace(FLAT, workers=1, score=lambda at: 0.4),
        never="no longer falls",
    ),
    # --- several causes, and none
    "starved_and_hot": sick(
        "loader_workers thermal_throttle", 0, "both are true", replace(BASE, workers=1, thermal=0.3)
    ),
    "starved_beside_a_notebook": sick(
        "loader_workers",
        12,
        "a notebook holds the second GPU",
        replace(BASE, workers=1),
        tamper=held,
        ranks={"node": ("held_idle",)},
    ),
    "starved_and_leaking": sick(
        "loader_workers host_memory_leak",
        5,
        "8 MiB a batch",
        replace(BASE, workers=1, resident=rising(6 * GIB, 8 * MIB)),
    ),
    "healthy_30s": fine(0, "scraped every 30 s", replace(BASE, epochs=8), every=30.0),
    "healthy_for_20_minutes": fine(0, "long epochs", replace(BASE, epochs=3, batches=1800), every=5.0),
    "mosaic_closes_once": fine(
        13, "workers are started anew for one epoch, 12 s", replace(BASE, epochs=6, reforks=(5,), first_wait=12.0)
    ),
    # --- more of the same kinds, written when the ones above had been answered
    "rank_0_of_two_nodes_validates_30s": fine(
        6,
        "the other node waits in the state train, and each is scraped at a moment of its own",
        Plan(
            ranks=2, cores=64, epochs=4, batches=300, validate=20.0, first_alone=True, facts={"ultralytics": "8.3.50"}
        ),
        every=30.0,
        nodes=True,
        silent=True,
    ),
    "rank_0_validates_alone_15s": fine(
        6,
        "rank 1 waits in the state train; scraped by a Prometheus",
        replace(DDP, epochs=6, validate=15.0, first_alone=True, facts={"ultralytics": "8.3.50"}),
        every=15.0,
    ),
    "healthy_60s": fine(0, "scraped every minute", replace(BASE, epochs=14), every=60.0),
    "starved_60s": sick(
        "loader_workers",
        4,
        "one worker; scraped every minute",
        replace(BASE, workers=1, epochs=8),
        every=60.0,
    ),
    "short_and_starved_15s": sick(
        "loader_workers",
        4,
        "ninety batches, of which a Prometheus sees four moments",
        Plan(epochs=1, batches=90, workers=1, setup=5.0, validate=1.0, checkpoint=0.2, after=30.0),
        every=15.0,
    ),
    "short_and_healthy_15s": fine(
        0,
        "two hundred batches, of which a Prometheus sees four moments",
        Plan(epochs=1, batches=200, setup=5.0, validate=1.0, checkpoint=0.2, after=30.0),
        every=15.0,
        allowed=frozenset({"insufficient_data"}),
    ),
    "first_batch_compiles": fine(
        1,
        "a minute until the first batch is done",
        replace(BASE, forward=at_batch(0, 60.0, 0.08)),
        never="stalled|many times the usual",
    ),
    "validations_between_short_epochs": fine(
        20, "6 s for 13 s of training", replace(BASE, epochs=12, batches=60, validate=6.0)
    ),
    "ranks_that_scale_their_images": sick(
        "communication_bound",
        11,
        "with multi_scale each rank draws the size of each batch by itself: they wait for one another, not for a link",
        Plan(ranks=4, cores=128, epochs=3, batches=200, noise=0.45, facts={"multi_scale": "0.5"}),
        evidence={"communication_bound": "multi_scale"},
    ),
    "memory_in_waves": fine(
        5,
        "what is kept for 400 batches is dropped then",
        replace(BASE, epochs=8, resident=lambda at: 6 * GIB + 6 * MIB * (at.batch % 400)),
    ),
    "slow_files_behind_the_queue": fine(
        4, "each fiftieth batch takes 5 s, and 32 are ready before it", replace(BASE, prep=every(50, 5.0, 0.5))
    ),
    "one_file_of_40_s": sick(
        "slow_batch",
        18,
        "once, as for a disk that spins up",
        replace(BASE, prep=at_batch(500, 40.0, 0.5)),
        evidence={"slow_batch": "in data_wait"},
        never="label assigner ran|stand still",
    ),
    "one_wait_of_200_s": sick(
        "slow_batch",
        18,
        "a mount is away for three minutes, and comes back",
        replace(BASE, prep=at_batch(500, 200.0, 0.5)),
        never="label assigner ran|stand still",
    ),
    "workers_start_for_11_percent": sick(
        "loader_startup",
        13,
        "30 s before each of four epochs of four minutes",
        replace(BASE, epochs=4, batches=1100, first_wait=30.0, kept=False),
    ),
    "workers_start_for_6_percent": fine(
        13, "15 s before each of four epochs of four minutes", replace(BASE, epochs=4, batches=1100, first_wait=15.0)
    ),
    "workers_start_15s": sick(
        "loader_startup",
        13,
        "25 s before every epoch; scraped by a Prometheus",
        replace(BASE, epochs=6, first_wait=25.0, kept=False),
        every=15.0,
    ),
    "workers_start_older_hooks": sick(
        "loader_startup",
        13,
        "the same, by hooks that count it as waiting for data",
        replace(BASE, epochs=6, first_wait=25.0, kept=False),
        tamper=older_hooks,
    ),
    "no_workers_older_hooks": sick(
        "loader_workers",
        4,
        "hooks that do not time callbacks",
        replace(BASE, workers=0, prep=0.3),
        tamper=older_hooks,
        evidence={"loader_workers": r"up to \d+%"},
    ),
    "straggler_older_hooks": sick(
        "straggler",
        31,
        "rank 1 computes more slowly, and hooks do not time callbacks",
        replace(DDP, backward=lambda at: 0.2 if at.rank else 0.11),
        tamper=older_hooks,
        ranks={"0": ()},
        silent=True,
    ),
    "a_cpu_that_is_full": fine(
        22,
        "a training on a CPU uses all of it",
        replace(ON_A_CPU, workers=0, prep=0.05, main_cpus=7.6, others_cpu=0.2),
    ),
    "exporter_restarted_while_it_starves": sick(
        "loader_workers",
        0,
        "hardware counters begin anew",
        replace(BASE, workers=1),
        tamper=restart(120, "gpu", "cpu"),
        notes=("counter reset",),
    ),
    "nan_ends_it": sick(
        "failed diverged",
        30,
        "the last ten batches are NaN, and then an exception",
        replace(BASE, stop=700, end="failed", nonfinite=lambda at: float(at.batch >= 690)),
    ),
    "loss_that_rises": sick(
        "plateau",
        0,
        "by half a per cent an epoch, with a busy GPU",
        replace(FLAT, loss=lambda at: 2.0 + 0.01 * at.epoch, score=lambda at: 0.4),
        evidence={"plateau": "the loss rose"},
    ),
    "a_long_warm_up_swings": fine(
        30,
        "warmup_epochs=10, and the loss swings until then",
        replace(
            LEARNING,
            epochs=14,
            loss=lambda at: 4.0 - at.epoch / 20 + (at.epoch % 2 if at.epoch <= 10 else 0),
            facts={"warmup_epochs": "10"},
        ),
    ),
    "set_up_tries_batch_sizes": sick(
        "setup_slow",
        9,
        "AutoBatch takes four minutes",
        replace(BASE, setup=240.0, stage="autobatch"),
        fix={"setup_slow": "a number for batch="},
    ),
    "oom_of_one_image": sick(
        "oom_retry",
        0,
        "one image a batch, and it does not fit: only a smaller one does",
        replace(BASE, batch=1, ooms={8: 1}, peak=70 * GIB),
        arguments={"oom_retry": {"imgsz": 512}},
    ),
    "full_devices_of_4_ranks": sick(
        "gpu_memory_pressure",
        0,
        "batch= counts the images of all ranks",
        Plan(
            ranks=4,
            cores=128,
            epochs=3,
            batches=150,
            peak=77 * GIB,
            allocated=lambda at: (60 if at.batch % 4 else 10) * GIB,
        ),
        fix={"gpu_memory_pressure": r"batch=(48|32)\b"},
    ),
    "starved_ranks_on_few_cpus": sick(
        "loader_workers",
        4,
        "each of two ranks has three CPUs, and needs six workers",
        replace(DDP, cores=6, workers=1, prep=0.9),
        arguments={"loader_workers": {"workers": 3}},
    ),
    "starved_within_a_quota": sick(
        "loader_workers",
        22,
        "one worker, and a quota of three CPUs that is not used up",
        replace(BASE, workers=1, quota=3.0),
        arguments={"loader_workers": {"workers": 3}},
    ),
    "starved_with_little_memory": sick(
        "loader_workers",
        5,
        "there is room for one worker more",
        replace(BASE, workers=1, available=3 * GIB),
        arguments={"loader_workers": {"workers": 2}},
    ),
    "slow_storage_and_little_memory": sick(
        "loader_io",
        19,
        "the decoded images do not fit into memory",
        replace(BASE, **READS, available=4 * GIB),
        arguments={"loader_io": {"workers": 10}},
    ),
    "epochs_of_three_batches": sick(
        "checkpoint_bound",
        0,
        "sixty epochs of less than a second; a checkpoint takes a fifth of each",
        replace(BASE, epochs=60, batches=3, validate=0.3, checkpoint=0.3),
    ),
    "steps_of_40_s": fine(
        0,
        "a large model on a CPU",
        replace(BASE, gpu=False, cores=8, epochs=2, batches=8, h2d=0.0, forward=15.0, backward=25.0, prep=20.0),
        never="stalled|too few to judge",
    ),
    "one_of_two_runs_starves": sick(
        "loader_workers",
        4,
        "the other training on the node does well",
        replace(BASE, workers=1, epochs=3),
        second=replace(BASE, run="train/other", seed=7, epochs=9),
        ranks={"train/other 0": ()},
    ),
    "starved_and_validating": sick(
        "loader_workers validation_bound",
        20,
        "both take long, of a run that was resumed",
        replace(BASE, before=30, workers=1, epochs=5, batches=100, validate=45.0),
    ),
    "amp_off_on_a_cpu_with_a_cap": fine(
        28,
        "no workers and no AMP on a CPU, whatever was asked for",
        replace(ON_A_CPU, workers=0, prep=0.05, facts={"amp": "false", "amp_asked": "true", "workers": "8"}),
    ),
    # --- and a third time
    "capped_by_few_batches": sick(
        "workers_capped",
        8,
        "an epoch has four batches, and Ultralytics starts no more workers than that: no CPU is missing",
        replace(
            BASE,
            epochs=40,
            batches=4,
            workers=4,
            prep=2.0,
            prep_cpu=0.3,
            validate=0.3,
            checkpoint=0.05,
            facts={"workers": "16", "visible_gpus": "1"},
        ),
        evidence={"workers_capped": "an epoch has 4 batches"},
        never="more CPUs for each GPU",
    ),
    "bursts_15s": sick(
        "loader_wait",
        4,
        "two workers, of whose batches each hundredth waits for 14 s; scraped by a Prometheus",
        replace(BASE, epochs=3, batches=700, workers=2, prep=every(100, 14.0, 0.3), prep_cpu=0.1),
        every=15.0,
    ),
    "callback_per_epoch_30s": sick(
        "callback_bound",
        2,
        "20 s at each epoch's end; scraped every 30 s",
        replace(BASE, epochs=8, epoch_callback=20.0),
        every=30.0,
        evidence={"callback_bound": r"(19|2[01])(\.\d+)? s per epoch"},
        never="stand still|stalled",
    ),
    "callback_of_validation_batches": sick(
        "callback_bound",
        2,
        "15 s of callbacks between the batches of each epoch's validation, of a pose model",
        replace(BASE, epochs=7, batches=120, epoch_callback=15.0, facts={"task": "pose"}),
    ),
    "leak_15s": sick(
        "host_memory_leak",
        5,
        "8 MiB a batch; scraped by a Prometheus",
        replace(BASE, epochs=10, resident=rising(6 * GIB, 8 * MIB)),
        every=15.0,
    ),
    "no_gpu_metrics": fine(
        24,
        "the exporter may not ask the driver",
        replace(BASE, without=tuple(m for m in catalog.METRICS if m.area == "gpu")),
        never="PyTorch .* has no CUDA|GPU busy",
    ),
    "few_facts": fine(
        0,
        "hooks that tell next to nothing of the run",
        replace(
            BASE, facts=dict.fromkeys(("amp", "amp_asked", "workers", "cuda", "torch", "ultralytics", "device"), "")
        ),
    ),
    "starved_and_few_facts": sick(
        "loader_workers",
        4,
        "the same with one worker",
        replace(
            BASE,
            workers=1,
            facts=dict.fromkeys(("amp", "amp_asked", "workers", "cuda", "torch", "ultralytics", "device"), ""),
        ),
    ),
    "straggler_of_two_nodes_30s": sick(
        "",
        31,
        "the second node computes more slowly; scraped every 30 s",
        Plan(ranks=2, cores=64, epochs=3, batches=400, backward=lambda at: 0.16 if at.rank else 0.11),
        ranks={"1": ("straggler",)},
        every=30.0,
        nodes=True,
        silent=True,
    ),
    "hang_of_two_nodes_30s": sick(
        "stalled",
        0,
        "both stand still; scraped every 30 s",
        Plan(ranks=2, cores=64, epochs=3, batches=400, hang=700, hang_seconds=300.0, end="running"),
        every=30.0,
        nodes=True,
    ),
    "failed_after_a_hundred_batches_of_a_long_epoch": sick(
        "failed",
        0,
        "an exception in an epoch of an hour: no checkpoint yet",
        replace(ONE_EPOCH, stop=900, end="failed"),
        never="resume=True",
    ),
    "hang_in_the_first_epoch": sick(
        "stalled",
        0,
        "no checkpoint yet",
        replace(ONE_EPOCH, hang=300, hang_seconds=90.0, end="running"),
        never="resume=True",
    ),
    "tiny_data_15s": fine(
        4,
        "epochs of eight batches, of which a Prometheus sees every tenth",
        replace(BASE, epochs=60, batches=8, validate=0.4, checkpoint=0.05, first_wait=0.3),
        every=15.0,
    ),
    "tiny_data_starves_15s": sick(
        "loader_workers",
        4,
        "the same with one worker",
        replace(BASE, workers=1, epochs=60, batches=8, validate=0.4, checkpoint=0.05, first_wait=0.3),
        every=15.0,
    ),
    "workers_start_in_epochs_of_4_s": sick(
        "loader_startup",
        13,
        "2 s before each epoch of twenty batches",
        replace(BASE, epochs=40, batches=20, first_wait=2.0, kept=False, validate=0.5, checkpoint=0.05),
    ),
    "device_leak_30s": sick(
        "gpu_memory_leak",
        5,
        "10 MiB a batch; scraped every 30 s",
        replace(BASE, epochs=14, allocated=rising(22 * GIB, 10 * MIB), peak=60 * GIB),
        every=30.0,
    ),
}
