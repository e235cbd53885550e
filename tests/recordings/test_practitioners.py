"""The rules that practitioners work by: for each row of their table a recording, its verdict, the check and the fix."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.recordings import reader

from tests.recordings import cases


@dataclass(frozen=True)
class Row:
    """One row: what is seen, the recording that shows it, and patterns of what must be told about it."""

    seen: str
    recording: str
    verdict: str
    verify: str
    fix: str


TABLE = (
    Row(
        "GPU low, memory full: storage", "loader_io", "loader_io", r"iostat -x 1: %util near 100", r"cache=ram workers="
    ),
    Row("GPU low: too few workers", "loader_workers", "loader_workers", r"queue depth 0", r"workers=4"),
    Row("GPU busy, loss flat", "plateau", "plateau", r"loss curves", r"leave the hardware alone"),
    Row(
        "process level, free memory falls",
        "host_memory_leak_outside",
        "host_memory_leak",
        r"/dev/shm",
        r"on_train_batch_end",
    ),
    Row(
        "GPU memory kept by a callback",
        "gpu_memory_leak",
        "gpu_memory_leak",
        r"memory_summary\(\)",
        r"on_train_batch_end",
    ),
    Row(
        "GPU swings 0 <-> 95 %",
        "oom_retry",
        "oom_retry",
        r"out of memory",
        r"batch=\d+; an optimizer step stays at 64 images by nbs",
    ),
    Row("CPU > 95 %, GPU low", "loader_cpu", "loader_cpu", r"py-spy record", r"augmentation"),
    Row("memory creeps until the crash", "host_memory_leak", "host_memory_leak", r"tracemalloc", r"drop references"),
    Row("GPU 0 %, a worker died", "stalled_dead_worker", "stalled", r"end of the log", r"shared memory"),
    Row("multi-GPU no faster than one", "loader_workers_ddp", "loader_workers", r"htop", r"workers=\d"),
    Row(
        "one GPU's memory full",
        "gpu_memory_pressure",
        "gpu_memory_pressure",
        r"nvidia-smi",
        r"batch=\d+; an optimizer step stays at 64 images by nbs",
    ),
    Row(
        "memory full at a small batch",
        "alloc_retries",
        "gpu_memory_pressure",
        r"memory_summary",
        r"batch=4; an optimizer step stays at 64",
    ),
    Row(
        "utilisation low, threads fight",
        "cpu_oversubscribed",
        "cpu_oversubscribed",
        r"run|switches",
        r"OMP_NUM_THREADS=1",
    ),
    Row("CPU-only torch", "environment_torch", "environment", r"torch\.version\.cuda", r"install a CUDA build"),
    Row(
        "CUDA build against driver",
        "environment_driver",
        "environment",
        r"nvidia-smi",
        r"update the driver|built for CUDA",
    ),
)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.seen)
def test_each_row_has_its_verdict_with_the_check_and_the_fix(row: Row) -> None:
    """What practitioners conclude, verify with and do is what `diagnose` says of such a training."""
    course = diagnose_range(reader.read(cases.path(row.recording)))
    told = [v for one in course.diagnoses for v in one.verdicts if v.name == row.verdict]
    assert told, course.diagnoses
    for verdict in told:
        assert verdict.severity != rules.OK
        assert re.search(row.verify, verdict.verify), verdict
        assert re.search(row.fix, verdict.fix), verdict


def test_ranks_are_side_by_side() -> None:
    """Two GPUs no faster than one: each rank's own wait is told."""
    diagnoses = diagnose_range(reader.read(cases.path("loader_workers_ddp"))).diagnoses
    assert [one.rank for one in diagnoses] == ["0", "1"]
    assert all("waits for data" in one.verdicts[0].evidence for one in diagnoses)
