"""A node full of trainings, real processes that write real records: `python fleet.py DIRECTORY RANKS WORKERS`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import PHASES, STEP_BUCKETS
from yoloscope_record.file_format import Identity
from yoloscope_record.paths import make_directory, run_directory
from yoloscope_record.writer import Writer

RUN = "fleet"
BATCH_SECONDS = 0.25
LOSSES = ("box_loss", "cls_loss", "dfl_loss")
METRICS = ("metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)")
MEMORY = ("allocated", "reserved", "active", "inactive_split", "peak_allocated", "peak_reserved")


def rank_series(writer: Writer, who: tuple[str, str]) -> tuple[list[int], list[int]]:
    """What the hooks write for a rank: indexes of the plain series and of the histograms."""
    plain = [
        metric
        for metric in catalog.METRICS
        if metric.labels == ("run", "rank") and metric.kind in (catalog.COUNTER, catalog.GAUGE)
        if metric not in (catalog.TRAIN_UP, catalog.TRAIN_GOODPUT_RATIO)
    ]
    slots = [writer.slot(metric, *who) for metric in plain]
    slots += [writer.slot(catalog.TRAIN_PHASE_SECONDS_TOTAL, *who, phase) for phase in PHASES]
    slots += [writer.slot(catalog.TRAIN_LOSS, *who, name) for name in LOSSES]
    slots += [writer.slot(catalog.TRAIN_METRIC, *who, name) for name in METRICS]
    slots += [writer.slot(catalog.TRAIN_CUDA_MEMORY_BYTES, *who, kind) for kind in MEMORY]
    return slots, [
        writer.histogram(catalog.TRAIN_STEP_SECONDS, *who),
        writer.histogram(catalog.TRAIN_DATA_WAIT_SECONDS, *who),
    ]


def worker_series(writer: Writer, who: tuple[str, str], worker: str) -> tuple[list[int], list[int]]:
    """The same for a loader worker."""
    plain = [metric for metric in catalog.METRICS if metric.labels == ("run", "rank", "worker")]
    return [writer.slot(metric, *who, worker) for metric in plain], [
        writer.histogram(catalog.TRAIN_LOADER_BATCH_SECONDS, *who)
    ]


def work(base: Path, rank: str, worker: str, parent: int) -> None:
    """Write a batch now and then, until the parent has gone."""
    identity = Identity(RUN, rank, "worker" if worker else "rank", worker)
    path = run_directory(base, RUN) / identity.filename
    writer = Writer(path, identity, {"gpu": rank, "gpu_uuid": f"GPU-{rank}", "model": "yolo11n.yaml"})
    slots, histograms = worker_series(writer, (RUN, rank), worker) if worker else rank_series(writer, (RUN, rank))
    pause = BATCH_SECONDS * (8 if worker else 1)
    while os.getppid() == parent:
        writer.begin()
        writer.set_state("train")
        for slot in slots:
            writer.values[slot] = writer.values[slot] + 1.0 if writer.values[slot] >= 0 else 0.0
        for first in histograms:
            writer.observe(first, STEP_BUCKETS, pause / 10)
        writer.end(time.time())
        time.sleep(pause)


def main() -> None:
    """Fork the ranks, each of which forks its workers, and stay until told to end."""
    base, ranks, workers = make_directory(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    parent = os.getpid()
    for rank in range(ranks):
        if os.fork() == 0:
            own = os.getpid()
            for worker in range(workers):
                if os.fork() == 0:
                    work(base, str(rank), str(worker), own)
                    os._exit(0)
            work(base, str(rank), "", parent)
            os._exit(0)
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
