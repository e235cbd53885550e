"""CPU time by mode, load, context switches, from /proc/stat and /proc/loadavg."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.files import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.collectors import Context

#: Columns of /proc/stat. Guest time is left out: the kernel counts it as user and nice already.
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
WINDOWS = ("1m", "5m", "15m")
RESET_SECONDS = 3.0  # a fall by more than that is a CPU taken away, not the known jitter of idle and iowait


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    steady = _Steady(context)

    def collect() -> Iterator[Sample]:
        stat = read(context.procfs / "stat")
        yield from steady(parse_stat(stat, os.sysconf("SC_CLK_TCK")))
        yield from parse_loadavg(read(context.procfs / "loadavg"))

    return [Collector("cpu", collect)]


def parse_stat(text: str, ticks: int) -> Iterator[Sample]:
    """Samples of /proc/stat; `ticks` per second."""
    rows = [line.split() for line in text.splitlines()]
    for row in rows:
        if row[0] == "cpu":
            for mode, value in zip(MODES, row[1:], strict=False):
                yield Sample(catalog.CPU_SECONDS_TOTAL, (mode,), int(value) / ticks)
        elif row[0] == "ctxt":
            yield Sample(catalog.CONTEXT_SWITCHES_TOTAL, (), float(row[1]))
    cores = sum(row[0].startswith("cpu") and row[0] != "cpu" for row in rows)
    yield Sample(catalog.CPU_CORES, (), float(cores))


def parse_loadavg(text: str) -> Iterator[Sample]:
    """Samples of /proc/loadavg."""
    for window, value in zip(WINDOWS, text.split(), strict=False):
        yield Sample(catalog.LOAD_AVERAGE, (window,), float(value))


class _Steady:
    """Holds the kernel's counters where they are when they step back a little, as idle and iowait may (proc(5))."""

    def __init__(self, context: Context) -> None:
        self._reject = context.reject
        self._highest: dict[tuple[str, ...], float] = {}

    def __call__(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        for sample in samples:
            if sample.metric is not catalog.CPU_SECONDS_TOTAL or isinstance(sample.value, tuple):
                yield sample
                continue
            before = self._highest.get(sample.labels, 0.0)
            if before - RESET_SECONDS <= sample.value < before:
                self._reject("cpu", "backwards")
                yield sample._replace(value=before)
                continue
            self._highest[sample.labels] = sample.value
            yield sample
