"""CPU time by mode, context switches and cores as psutil tells them; load from /proc/loadavg.

psutil reads /proc/stat anew for each of them, and the kernel makes that file anew each time, which takes long where
there are many CPUs. So the cores are counted seldom.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import psutil

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector
from yoloscope_exporter.collectors.cpu_energy import PackageEnergy
from yoloscope_exporter.collectors.files import read
from yoloscope_exporter.collectors.procfs import no_data_if_missing, point_psutil
from yoloscope_exporter.collectors.state import StateFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from yoloscope_exporter.collectors import Context

#: Those of Linux; other platforms have some of them. Guest time is left out: the kernel counts it as user and nice.
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
WINDOWS = ("1m", "5m", "15m")
RESET_SECONDS = 3.0  # a fall by more than that is a CPU taken away, not the known jitter of idle and iowait
COUNT_CORES_SECONDS = 10.0


def collectors(context: Context) -> Sequence[Collector]:
    """CPU time in the fast group, energy in the slow one."""
    point_psutil(context.procfs)
    energy = PackageEnergy(context.sysfs, StateFile(context.config().path_state, "cpu_energy", context.procfs))
    return [Collector("cpu", _Cpu(context).collect), Collector("cpu_energy", energy.collect, group=SLOW)]


class _Cpu:
    """Holds the kernel's counters where they are when they step back a little, as idle and iowait may (proc(5))."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._highest: dict[str, float] = {}
        self._cores, self._counted = 0, -math.inf

    def collect(self) -> Iterator[Sample]:
        """Samples of one cycle."""
        with no_data_if_missing():
            times, switches = psutil.cpu_times(), psutil.cpu_stats().ctx_switches
            cores, load = self._count(), _load(self._context.procfs)
        for mode in MODES:
            if (seconds := getattr(times, mode, None)) is not None:
                yield Sample(catalog.CPU_SECONDS_TOTAL, (mode,), self._steady(mode, seconds))
        yield Sample(catalog.CONTEXT_SWITCHES_TOTAL, (), float(switches))
        yield Sample(catalog.CPU_CORES, (), float(cores))
        for window, value in zip(WINDOWS, load, strict=False):
            yield Sample(catalog.LOAD_AVERAGE, (window,), value)

    def _count(self) -> int:
        """CPUs that are online. `psutil.cpu_count` would say what this process may use, with some C libraries."""
        now = self._context.clock()
        if now - self._counted >= COUNT_CORES_SECONDS:
            self._cores, self._counted = len(psutil.cpu_times(percpu=True)), now
        return self._cores

    def _steady(self, mode: str, seconds: float) -> float:
        before = self._highest.get(mode, 0.0)
        if before - RESET_SECONDS <= seconds < before:
            self._context.reject("cpu", "backwards")
            return before
        self._highest[mode] = seconds
        return seconds


def _load(procfs: Path) -> Sequence[float]:
    """Load averages of the node.

    psutil takes the C library's, whatever `PROCFS_PATH` is, and on Windows an imitation that begins at 0.
    """
    if psutil.LINUX:
        return [float(value) for value in read(procfs / "loadavg").split()[: len(WINDOWS)]]
    return os.getloadavg() if hasattr(os, "getloadavg") else ()
