"""Who uses a GPU: memory and SM share by process, with run and rank where the process is a training we know."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pynvml as nvml

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.gpu.device_cycle import MOST_BYTES, PERCENT
from yoloscope_exporter.system import user_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yoloscope_exporter.collectors import Trainer
    from yoloscope_exporter.collectors.gpu.device_cycle import DeviceCycle

#: Of one device; those with the most memory are kept. Hundreds of small clients would be hundreds of series.
MOST_PROCESSES = 64
TOO_MANY = "too_many"

LISTS = (
    ((nvml.nvmlDeviceGetComputeRunningProcesses_v3,), (nvml.nvmlDeviceGetComputeRunningProcesses_v2,)),
    ((nvml.nvmlDeviceGetGraphicsRunningProcesses_v3,), (nvml.nvmlDeviceGetGraphicsRunningProcesses_v2,)),
)


@dataclass(frozen=True)
class Known:
    """What is known of processes from elsewhere: names from `/proc`, and the ranks that are alive, by pid."""

    procfs: Path
    trainers: Mapping[int, Trainer]

    def labels(self, pid: int) -> tuple[str, str, str, str, str]:
        """Pid, command, run, rank, user; what is not known is empty."""
        trainer = self.trainers.get(pid)
        identity = (trainer.run, trainer.rank) if trainer else ("", "")
        return (str(pid), self._command(pid), *identity, self._user(pid))

    def _user(self, pid: int) -> str:
        """The owner's name; the number where this machine, or this container, has no name for it."""
        try:
            uid = (self.procfs / str(pid)).stat().st_uid
        except OSError:
            return ""
        return user_name(uid) or str(uid)

    def _command(self, pid: int) -> str:
        """The name only: arguments may hold secrets, and would make a new series each time."""
        try:
            return (self.procfs / str(pid) / "comm").read_bytes().decode(errors="replace").strip()
        except OSError:  # ended meanwhile, or in a PID namespace we do not see
            return ""


def collect(cycle: DeviceCycle, known: Known) -> None:
    """Samples of a device's processes; those of a GPU in MIG mode belong to its instances.

    Raises:
        DeviceLost: it does not answer any more.
        DriverGone: nothing does.
    """
    if cycle.device.mig:
        return
    memory = _most(cycle, _memory(cycle))
    shares = _sm_shares(cycle)
    for pid, used in memory.items():
        labels = known.labels(pid)
        cycle.publish(catalog.GPU_PROCESS_MEMORY_BYTES, cycle.gauge(used, 0, MOST_BYTES), *labels)
        share = None if shares is None else shares.get(pid, 0.0)
        cycle.publish(catalog.GPU_PROCESS_SM_RATIO, share, *labels)


def _memory(cycle: DeviceCycle) -> dict[int, int | None]:
    """Bytes by pid; a process that computes and draws is in both lists with all it has."""
    found: dict[int, int | None] = {}
    for questions in LISTS:
        for process in _listed(cycle, questions):
            found[process.pid] = max(found.get(process.pid) or 0, process.usedGpuMemory or 0) or None
    return found


def _listed(cycle: DeviceCycle, questions: tuple[tuple[Any, ...], ...]) -> list[Any]:
    """A list that outgrew its buffer between nvidia-ml-py's two calls is asked for once more."""
    answer = cycle.ask.first(*questions, nothing=[])
    if answer is None:
        answer = cycle.ask.first(*questions, nothing=[])
    return answer or []


def _most(cycle: DeviceCycle, memory: dict[int, int | None]) -> dict[int, int | None]:
    if len(memory) <= MOST_PROCESSES:
        return memory
    largest = sorted(memory.items(), key=lambda item: item[1] or 0, reverse=True)
    for _ in largest[MOST_PROCESSES:]:
        cycle.validator.reject(TOO_MANY)
    return dict(largest[:MOST_PROCESSES])


def _sm_shares(cycle: DeviceCycle) -> dict[int, float | None] | None:
    """Mean SM share by pid since the last look; who is missing used nothing. None: the driver has never told any."""
    seen = cycle.totals.processes_seen
    samples = cycle.ask(nvml.nvmlDeviceGetProcessUtilization, varying=(seen,), nothing=())
    if samples is None:
        return None
    by_pid: dict[int, list[float | None]] = {}
    for sample in samples:
        if sample.timeStamp > seen:
            share = cycle.gauge(sample.smUtil, 0, PERCENT, 1 / PERCENT)
            by_pid.setdefault(sample.pid, []).append(share)
            cycle.totals.processes_seen = max(cycle.totals.processes_seen, sample.timeStamp)
    return {pid: _mean(shares) for pid, shares in by_pid.items()} if cycle.totals.processes_seen else None


def _mean(shares: list[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fmean(known) if known else None
