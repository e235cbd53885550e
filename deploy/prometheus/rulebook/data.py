"""Does the data come fast enough?"""

from __future__ import annotations

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures.host import THROTTLED

from .model import (
    AT_ONCE,
    INFO,
    LOADER,
    NO_FLAPPING,
    OF_RANK,
    OF_RUN_ON_NODE,
    RANK,
    RUN_ON_NODE,
    STAY_VISIBLE,
    WARNING,
    Alert,
    increase,
    measured,
    series,
)
from .records import DATA_WAIT, ENOUGH_TRAINING

DATA_BOUND = Alert(
    name="DataBound",
    expr=f"{DATA_WAIT} > @input_share_severe@\nand on ({RANK}) {ENOUGH_TRAINING}",
    labels=OF_RANK,
    severity=WARNING,
    hold="10m",
    why_hold="caches fill and readers settle in the first minutes",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-data",
    fixed_by=LOADER,
    summary="training waits for data {{ $value | humanizePercentage }} of the time",
    what="{{ $value | humanizePercentage }} of the training time goes into waiting for the next batch; the GPU is idle "
    "meanwhile.",
    fix="Verdict loader_workers: more workers, up to the number of CPUs. loader_io: cache=ram, or cache=disk on a "
    "local disk. loader_cpu: smaller images on disk (imgsz), less mosaic, more CPUs. cpu_throttled: a higher CPU "
    "limit, or workers equal to it.",
    meaning="Data wait over step time, for five minutes; first batches of epochs are left out of both (their wait is "
    "workers starting), as are validation and checkpoints. From @input_share%@ on it is for the dashboards.",
    verify="`yoloscope diagnose` tells too few workers, slow storage, heavy augmentation and a CPU quota apart, with "
    "the number of workers needed.",
    silence="A run on slow storage that is not urgent.",
)

DATA_BOUND_MILD = Alert(
    name="DataBound",
    expr=f"{DATA_WAIT} >= @input_share@ <= @input_share_severe@\nand on ({RANK}) {ENOUGH_TRAINING}",
    labels=OF_RANK,
    severity=INFO,
    hold="30m",
    why_hold="a small loss matters only if it lasts",
    dashboard="yoloscope-data",
    fixed_by=LOADER,
    summary="training waits for data {{ $value | humanizePercentage }} of the time",
    what="{{ $value | humanizePercentage }} of the training time has gone into waiting for data for half an hour.",
    fix="A few more workers usually suffice; cache=ram where the data set fits into memory.",
    meaning="As DataBound, between @input_share%@ and @input_share_severe%@.",
    verify="`yoloscope diagnose` gives the number of workers needed.",
    silence="Not needed: nobody is notified, it is on the dashboards only.",
)

LOADER_WORKER_DIED = Alert(
    name="LoaderWorkerDied",
    expr=f"{increase(c.TRAIN_WORKER_DEATHS_TOTAL, '10m')} > 0",
    labels=OF_RANK,
    severity=WARNING,
    hold="0m",
    why_hold=AT_ONCE,
    keep="15m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-data",
    fixed_by=("worker_died",),
    summary="a loader worker exited unexpectedly",
    what="About {{ $value | humanize }} loader workers ended by a signal or an error in the last ten minutes; the "
    "training usually fails with 'DataLoader worker is killed'.",
    fix="Killed for memory (see CgroupOomKill, HostMemoryPressure): fewer workers, cache=False, more memory. Bus "
    "error: more shared memory (docker --shm-size, or --ipc=host). Segmentation fault: a broken image or library; "
    "train once with workers=0 to see the traceback.",
    meaning="A worker that ends with its epoch, or is started anew by close_mosaic or after an OOM, does not count.",
    verify="`journalctl -k | grep -i -e oom -e segfault` on the node.",
    silence="Not needed: it ends by itself.",
)

LOADER_WORKERS_RESTARTING = Alert(
    name="LoaderWorkersRestarting",
    expr=(
        f"{increase(c.TRAIN_WORKER_RESTARTS_TOTAL, '30m')}\n> @restarts_per_worker@ * ({series(c.TRAIN_WORKERS)} > 0)"
    ),
    labels=OF_RANK,
    severity=WARNING,
    hold="5m",
    why_hold="a rebuild starts all workers within seconds",
    dashboard="yoloscope-data",
    summary="loader workers restart repeatedly",
    what="{{ $value | humanize }} loader workers were started again within half an hour; close_mosaic and the rebuilds "
    "after an OOM account for three rounds at most. Each round empties the queue.",
    fix="Ultralytics keeps its workers over epochs. If a custom trainer builds a new loader per epoch, keep one "
    "(InfiniteDataLoader, persistent_workers=True); if the batch is halved again and again, set batch to what fits.",
    meaning="Restarts per worker in half an hour, compared with the most that Ultralytics does by itself.",
    verify="The marks 'Loader workers restarted' on the dashboard Data pipeline, beside the epochs.",
    silence="A trainer that does so on purpose.",
)

CPU_QUOTA_THROTTLING = Alert(
    name="CpuQuotaThrottling",
    expr=(f"{measured(THROTTLED, '5m')} >= @throttled_share@\nand on ({RUN_ON_NODE}) {DATA_WAIT} > @input_share@"),
    labels=OF_RUN_ON_NODE,
    severity=WARNING,
    hold="10m",
    why_hold="decoding bursts at the start of an epoch hit the quota without harm",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-data",
    fixed_by=("cpu_throttled",),
    summary="the CPU quota stops the training in {{ $value | humanizePercentage }} of its periods",
    what="The container's CPU limit stops its processes in {{ $value | humanizePercentage }} of its periods, and the "
    "training waits for data.",
    fix="Raise the limit (docker --cpus, resources.limits.cpu), or take no more workers than it allows: workers = "
    "limit - 1, OMP_NUM_THREADS=1. Ultralytics counts the node's CPUs, not the container's.",
    meaning="Throttled periods of the run's cgroup over all its periods (of an exporter of version 0.1: throttled "
    "seconds per second), only where the training waits for data as well: a quota that is reached but costs nothing "
    "does not alert.",
    verify="`cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.stat` in the container.",
    silence="A run that must make do with its limit.",
)

ALERTS = (DATA_BOUND, DATA_BOUND_MILD, LOADER_WORKER_DIED, LOADER_WORKERS_RESTARTING, CPU_QUOTA_THROTTLING)
