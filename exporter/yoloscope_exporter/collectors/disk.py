"""Work of the block devices, from /proc/diskstats, and room in the file systems."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.collectors import Context

SECTOR_BYTES = 512  # the unit of /proc/diskstats, whatever the device's own sectors are
#: No memory disks, no loop devices, and no partitions, whose work is their disk's.
_LEFT_OUT = re.compile(r"(z?ram|loop|fd|sr)\d+|(h|s|v|xv)d[a-z]+\d+|(nvme\d+n\d+|mmcblk\d+)p\d+|nvme\d+c\d+n\d+")


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group for the devices."""
    return [Collector("disk", lambda: parse_diskstats((context.procfs / "diskstats").read_text()))]


def parse_diskstats(text: str) -> Iterator[Sample]:
    """Samples of /proc/diskstats (Documentation/admin-guide/iostats.rst)."""
    for line in text.splitlines():
        _, _, device, *fields = line.split()
        if _LEFT_OUT.fullmatch(device):
            continue
        reads, _, read, read_ms, writes, _, written, write_ms, _, io_ms = map(int, fields[:10])
        label = (device,)
        yield Sample(catalog.DISK_READ_BYTES_TOTAL, label, float(read * SECTOR_BYTES))
        yield Sample(catalog.DISK_WRITTEN_BYTES_TOTAL, label, float(written * SECTOR_BYTES))
        yield Sample(catalog.DISK_READS_TOTAL, label, float(reads))
        yield Sample(catalog.DISK_WRITES_TOTAL, label, float(writes))
        yield Sample(catalog.DISK_READ_SECONDS_TOTAL, label, read_ms / 1e3)
        yield Sample(catalog.DISK_WRITE_SECONDS_TOTAL, label, write_ms / 1e3)
        yield Sample(catalog.DISK_IO_SECONDS_TOTAL, label, io_ms / 1e3)
