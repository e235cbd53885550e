"""Memory and swap as psutil tells them; the page cache from /proc/meminfo, OOM kills from /proc/vmstat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.collectors.files import read_or_empty
from yoloscope_exporter.collectors.procfs import no_data_if_missing, point_psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.collectors import Context

_KIB = 1024


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    point_psutil(context.procfs)

    def collect() -> Iterator[Sample]:
        with no_data_if_missing():
            memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        yield Sample(catalog.MEMORY_TOTAL_BYTES, (), float(memory.total))
        yield Sample(catalog.MEMORY_AVAILABLE_BYTES, (), float(memory.available))
        cached = parse_cached(read_or_empty(context.procfs / "meminfo"))
        if cached is not None:
            yield Sample(catalog.MEMORY_CACHED_BYTES, (), cached)
        yield Sample(catalog.MEMORY_USED_BYTES, (), float(memory.total - memory.available))
        yield Sample(catalog.SWAP_USED_BYTES, (), float(swap.used))
        kills = parse_oom_kills(read_or_empty(context.procfs / "vmstat"))
        if kills is not None:
            yield Sample(catalog.MEMORY_OOM_KILLS_TOTAL, (), kills)

    return [Collector("memory", collect)]


def parse_cached(meminfo: str) -> float | None:
    """Bytes of page cache; None if it is not told. psutil's `cached` has reclaimable slab in it as well."""
    _, found, rest = meminfo.partition("\nCached:")
    return float(rest.split(None, 1)[0]) * _KIB if found else None


def parse_oom_kills(vmstat: str) -> float | None:
    """Processes that the kernel killed for lack of memory since it started; kernels before 4.13 do not count them."""
    _, found, rest = vmstat.partition("\noom_kill ")
    return float(rest.split(None, 1)[0]) if found else None
