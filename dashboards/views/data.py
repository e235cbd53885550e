"""Data pipeline: does the loader keep up, and if not, is it workers, CPU, one worker, or storage."""

from __future__ import annotations

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import host, loader, training
from yoloscope_exporter.measures.promql import Expr, named, over, total
from yoloscope_exporter.measures.thresholds import THRESHOLDS

from dashboards import look, measures
from dashboards.board import OF_RUN, Board, Row
from dashboards.panels import (
    BOUND,
    CULPRIT,
    THIRD,
    About,
    Column,
    Query,
    Size,
    heatmap,
    lines,
    rows,
    stat,
    table,
    timeline,
)
from dashboards.views.common import LIFECYCLE, ONE_RUN, RUN, of_run

QUANTILES = ((0.5, "half of the batches"), (0.95, "95 % of the batches"), (0.99, "99 % of the batches"))
WORKER = ("rank", "worker")
LATE = THRESHOLDS["slow_worker_ratio"].value
LATENESS = look.mapping({"0": ("in time", look.OK), "1": ("slow", look.WARNING)})
EIGHTH = Size(width=8, height=3)


def preparation(*by: str) -> Expr:
    """Seconds a worker needs for a batch."""
    return measures.measured(RUN, loader.PREPARATION, *by)


def computing(*by: str) -> Expr:
    """Share of the preparation in which the worker ran on a CPU; the rest is waiting, mostly for storage."""
    return measures.measured(RUN, loader.PREPARATION_CPU, *by)


def to_the_others() -> Expr:
    """Each worker's time for a batch over the mean of the rank's other workers."""
    return measures.measured(RUN, loader.WORKER_TO_OTHERS, *WORKER).of("times")


def late() -> Expr:
    """1 for a worker that is late, else 0."""
    return Expr(f"({to_the_others()}) >= bool {LATE:g}", "", "1 while the worker is slow.")


def late_at_all() -> Expr:
    """The same of the workers that are late at some time in the time range: 64 rows that are well say nothing."""
    return late().where(over("max_over_time", Expr(f"({late()})"), "$__range:$__interval") > 0, WORKER)


def by_worker(expr: Expr) -> Expr:
    """One row for each worker of each rank."""
    return total("max", named(expr, "which", "/", *WORKER), "which")


GLANCE = Row(
    "At a glance",
    [
        stat(
            "Waiting for data",
            About(
                "Under 10 %.",
                "Above 20 % the loader slows the run; the panels below say whether workers, CPU or storage.",
                training.DATA_WAIT.help,
            ),
            Query(of_run(measures.measured(RUN, training.DATA_WAIT))),
            steps=look.above("input_share", "input_share_severe"),
            decimals=1,
            size=EIGHTH,
        ),
        stat(
            "Queue filled",
            About(
                "Above 50 %: batches wait for the trainer.",
                "Near 0 the trainer waits for batches: more workers, or cheaper preparation.",
                "Batches that are ready over those that could be.",
            ),
            Query(of_run(measures.measured(RUN, loader.QUEUE_FILL))),
            steps=look.below("queue_low", "queue_empty"),
            decimals=0,
            size=EIGHTH,
        ),
        stat(
            "Preparing a batch",
            About(
                "Less than the step time times the number of workers.",
                "More: raise workers to preparation time over step time (Little's law), or prepare less.",
                "Mean time a worker needs for a batch.",
            ),
            Query(of_run(preparation())),
            size=EIGHTH,
        ),
        stat(
            "Preparation on a CPU",
            About(
                "Above 70 %: decoding and augmentation.",
                "Below 50 % the workers wait for storage: cache=ram or cache=disk, or a local disk.",
                "Share of the preparation in which the worker ran on a CPU; the rest is waiting, mostly for storage.",
            ),
            Query(of_run(computing())),
            steps=look.below("preparation_cpu", "waiting_ratio"),
            decimals=0,
            size=EIGHTH,
        ),
        stat(
            "Slow workers",
            About(
                "0.",
                "All along: that worker's files, mount or CPU. See the workers below.",
                "Workers that take twice as long for a batch as the mean of their rank's other workers.",
            ),
            Query(of_run(total("sum", late()))),
            steps=look.above(1),
            size=EIGHTH,
        ),
        stat(
            "Dead workers",
            About(
                "0.",
                "Most often killed for lack of memory or of /dev/shm: fewer workers, or a larger shared memory.",
                "Loader workers that ended by a signal or an error, in the time range.",
            ),
            Query(of_run(total("sum", RUN.increase(m.TRAIN_WORKER_DEATHS_TOTAL, window="$__range")))),
            steps=look.above(1, 1),
            decimals=0,
            size=EIGHTH,
        ),
    ],
)

LATENCY = Row(
    "Batch times",
    [
        heatmap(
            "Batch preparation, all workers",
            About(
                "One band, below the step time times the workers.",
                "A second band above: a slow worker, cold files, or large images. A band that climbs: storage slows.",
                "How many batches per second took how long to prepare, over all loader workers.",
            ),
            Query(total("sum", RUN.rate(m.TRAIN_LOADER_BATCH_SECONDS, "_bucket"), "le")),
        ),
        heatmap(
            "Waiting for a batch",
            About(
                "All in the lowest rows.",
                "Anything above a tenth of the step time costs throughput.",
                "How many batches per second were waited for how long.",
            ),
            Query(total("sum", RUN.rate(m.TRAIN_DATA_WAIT_SECONDS, "_bucket"), "le")),
        ),
        lines(
            "Batch preparation, quantiles",
            About("Close together.", "A 99 % line far above the others: single files or moments, not the workers."),
            *[Query(RUN.quantile(q, m.TRAIN_LOADER_BATCH_SECONDS), legend) for q, legend in QUANTILES],
        ),
        lines(
            "Waiting for a batch, quantiles",
            About("Milliseconds.", "Half of the batches late: too little preparation. Only 99 %: single slow batches."),
            *[Query(RUN.quantile(q, m.TRAIN_DATA_WAIT_SECONDS), legend) for q, legend in QUANTILES],
        ),
    ],
)

WORKERS = Row(
    "Loader workers",
    [
        rows(
            "Batch preparation by worker",
            About(
                "All rows alike.",
                "One row stands out: that worker's files, mount or CPU. All change at once: storage, or CPUs.",
                "One row for each loader worker, the mean time it takes for a batch as colour. Choose one rank at the "
                "top where there are many.",
            ),
            Query(preparation(*WORKER), "rank {{rank}}, worker {{worker}}"),
            size=Size(width=24, height=11),
        ),
        timeline(
            "Slow workers over time",
            About(
                "One blue row.",
                "A worker orange all along: its files, its mount or its CPU. Now and then: harmless.",
                f"A worker is slow when it takes {LATE:g} times as long as the mean of its rank's other workers. "
                "Workers that were never slow in the time range have no row.",
            ),
            Query(of_run(total("max", late())), "any worker"),
            Query(late_at_all(), "rank {{rank}}, worker {{worker}}"),
            mappings=(LATENESS,),
            size=Size(width=24, height=9),
        ),
        table(
            "Workers",
            About(
                "Nearly equal rows.",
                "A slow row that waits: storage. A slow row on the CPU: its CPU is shared.",
                "One row for each loader worker of each rank.",
            ),
            ("which", "Rank/worker"),
            Column(title="Preparing a batch", expr=by_worker(preparation(*WORKER))),
            Column(
                title=loader.WORKER_TO_OTHERS.title,
                expr=by_worker(to_the_others()),
                steps=look.above("slow_worker_ratio"),
                decimals=2,
            ),
            Column(title="On a CPU", expr=by_worker(computing(*WORKER)), highest=1),
            Column(
                title="Pages read per second",
                expr=by_worker(total("sum", RUN.rate(m.TRAIN_WORKER_MAJOR_FAULTS_TOTAL), *WORKER)),
                decimals=1,
            ),
            sort=loader.WORKER_TO_OTHERS.title,
            size=Size(width=16, height=9),
        ),
        lines(
            "Preparing a batch, by worker",
            About(
                "The lines lie together.",
                "The thick line is a slow worker, as the table's first row.",
                "Mean time each worker takes for a batch.",
            ),
            Query(preparation(*WORKER), "rank {{rank}}, worker {{worker}}"),
            Query(
                preparation(*WORKER).where(late().equals(1), WORKER),
                "slow: rank {{rank}}, worker {{worker}}",
                CULPRIT,
            ),
            size=Size(width=8, height=9),
        ),
    ],
)

QUEUE = Row(
    "Loader queue",
    [
        lines(
            "Batches ready",
            About("Near the top.", "At the bottom the trainer waits; the loader is the bottleneck."),
            Query(total("sum", RUN(m.TRAIN_QUEUE_DEPTH)), "ready"),
            Query(total("sum", RUN(m.TRAIN_QUEUE_CAPACITY)), "capacity", BOUND),
            size=THIRD,
        ),
        lines(
            "Time a ready batch waits",
            About(
                "Some steps long.",
                "Near zero: every batch is taken at once, there is nothing in reserve.",
                "Mean time between a batch being ready and the trainer taking it.",
            ),
            Query(
                measures.measured(RUN, loader.DWELL, "rank"),
                "rank {{rank}}",
            ),
            size=THIRD,
        ),
        lines(
            "Images per second, and without waiting",
            About(
                "Both lines lie together.",
                "The gap is what a faster loader would give.",
                "Throughput now, and what it would be if no batch were waited for.",
            ),
            Query(measures.images(RUN), "now"),
            Query(measures.measured(RUN, training.IMAGES_WITHOUT_WAIT).of("images/s"), "without waiting"),
            size=THIRD,
        ),
        lines(
            "First batch of an epoch",
            About(
                "A few per cent, or nothing.",
                "Much: workers are started anew each epoch, or epochs are very short. Fewer, longer epochs help.",
                training.LOADER_START.help,
            ),
            Query(measures.measured(RUN, training.LOADER_START, "rank"), "rank {{rank}}"),
            size=THIRD,
        ),
        lines(
            "Worker restarts and deaths",
            About("Zero, but for close_mosaic.", "Deaths: dmesg for the OOM killer, df /dev/shm for shared memory."),
            Query(total("sum", RUN.increase(m.TRAIN_WORKER_RESTARTS_TOTAL)), "started again"),
            Query(total("sum", RUN.increase(m.TRAIN_WORKER_DEATHS_TOTAL)), "died"),
            size=THIRD,
        ),
        lines(
            "Workers and processes",
            About(
                "As many as asked for.",
                "Fewer: workers have died. `workers` may be capped by the CPUs.",
                "Loader workers asked for, and the processes that live.",
            ),
            Query(total("sum", RUN(m.TRAIN_WORKERS)), "workers asked for", BOUND),
            Query(total("sum", RUN(m.TRAIN_PROCESSES), "role"), "{{role}}"),
            size=THIRD,
        ),
    ],
)

CAUSE = Row(
    "CPU or storage",
    [
        lines(
            "CPUs used",
            About(
                "Below the CPUs the run may use.",
                "At the limit: fewer augmentations, cache=ram, smaller images on disk, or more CPUs.",
            ),
            Query(total("sum", RUN.rate(m.TRAIN_PROCESS_CPU_SECONDS_TOTAL), "role").of("cores"), "{{role}}"),
            Query(total("max", ONE_RUN(m.CGROUP_CPU_QUOTA_CORES)), "quota", BOUND),
            Query(total("max", RUN(m.TRAIN_PROCESS_AFFINITY_CORES)), "may run on", BOUND),
            size=THIRD,
        ),
        lines(
            "Waiting for a CPU",
            About(
                "Under a fifth of a CPU for each worker.",
                "High: too many workers or threads for the CPUs. OMP_NUM_THREADS=1, fewer workers.",
                "CPUs' worth of processes that could run and had to wait; a quota's throttling counts here too.",
            ),
            Query(total("sum", RUN.rate(m.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL), "role").of("cores"), "{{role}}"),
            Query(total("sum", ONE_RUN.rate(m.CGROUP_CPU_THROTTLED_SECONDS_TOTAL)).of("cores"), "stopped by the quota"),
            size=THIRD,
        ),
        lines(
            "Read from storage",
            About(
                "High in the first epoch, then little: the page cache has it.",
                "High in every epoch: the data set is larger than memory. cache=disk on a local disk, or more memory.",
            ),
            Query(total("sum", RUN.rate(m.TRAIN_PROCESS_READ_BYTES_TOTAL)), "by the run"),
            Query(
                (total("sum", RUN.rate(m.DISK_READ_BYTES_TOTAL), "instance", "device")),
                "{{device}} of {{instance}}",
            ),
            size=THIRD,
        ),
        lines(
            "Disks busy",
            About("Below 80 %.", "Near 100 %: the disk is the limit.", "Share of time in which the disk had work."),
            Query(
                measures.measured(RUN, host.DISK_BUSY, "instance", "device"),
                "{{device}} of {{instance}}",
            ),
            steps=look.above("disk_busy"),
            highest=1,
            size=THIRD,
        ),
        lines(
            "Pressure on the run",
            About(
                "Near zero.",
                "io: storage. cpu: too few CPUs. memory: pages are being reclaimed, lower workers or cache.",
                "Share of time in which some process of the run's cgroup waited for the resource.",
            ),
            Query(total("max", ONE_RUN.rate(m.CGROUP_PRESSURE_SECONDS_TOTAL, kind="some"), "resource"), "{{resource}}"),
            steps=look.above("pressure"),
            size=THIRD,
        ),
        lines(
            "Memory of the nodes",
            About(
                "Page cache fills what processes leave.",
                "/dev/shm nearly full: workers die with a bus error. Raise --shm-size, or lower workers.",
                "Page cache, memory still to be had, shared memory left (of a run's container where known), by node.",
            ),
            Query(total("max", RUN(m.MEMORY_CACHED_BYTES), "instance"), "page cache of {{instance}}"),
            Query(total("max", RUN(m.MEMORY_AVAILABLE_BYTES), "instance"), "available on {{instance}}"),
            Query(
                total("min", RUN(m.TRAIN_SHM_AVAILABLE_BYTES), "instance").or_(
                    total("max", RUN(m.FILESYSTEM_AVAILABLE_BYTES, mountpoint="/dev/shm"), "instance")
                ),
                "/dev/shm left on {{instance}}",
            ),
            size=THIRD,
        ),
    ],
)

BOARD = Board(
    name="data",
    title="Data pipeline",
    about="The loader of one run: does it keep up, and if not, is it workers, CPU, one worker or storage.",
    variables=OF_RUN,
    rows=(GLANCE, WORKERS, CAUSE, LATENCY, QUEUE),
    annotations=LIFECYCLE,
)
