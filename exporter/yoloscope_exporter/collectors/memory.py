"""Memory and swap, from /proc/meminfo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.files import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.collectors import Context

_KIB = 1024


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    return [Collector("memory", lambda: parse_meminfo(read(context.procfs / "meminfo")))]


def parse_meminfo(text: str) -> Iterator[Sample]:
    """Samples of /proc/meminfo; what it does not tell is left out."""
    size = {
        name: float(rest.split()[0]) * _KIB for name, _, rest in (line.partition(":") for line in text.splitlines())
    }
    direct = {
        catalog.MEMORY_TOTAL_BYTES: "MemTotal",
        catalog.MEMORY_AVAILABLE_BYTES: "MemAvailable",
        catalog.MEMORY_CACHED_BYTES: "Cached",
    }
    for metric, name in direct.items():
        if name in size:
            yield Sample(metric, (), size[name])
    for metric, whole, rest in (
        (catalog.MEMORY_USED_BYTES, "MemTotal", "MemAvailable"),
        (catalog.SWAP_USED_BYTES, "SwapTotal", "SwapFree"),
    ):
        if {whole, rest} <= size.keys():
            yield Sample(metric, (), size[whole] - size[rest])
