"""Pressure stall information: how long tasks waited for CPU, I/O and memory, from /proc/pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector, NoData
from yoloscope_exporter.collectors.files import read
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.collectors import Context

RESOURCES = ("cpu", "io", "memory")
#: Of a whole node; the kernel shows 0 for it all the same (Documentation/accounting/psi.rst).
UNDEFINED = ("cpu", "full")


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    directory = context.procfs / "pressure"

    def collect() -> Iterator[Sample]:
        for resource in RESOURCES:
            try:
                content = read(directory / resource)
            except OSError as error:  # no such file, or EOPNOTSUPP when it is switched off
                raise NoData(
                    text("{path} cannot be read; the kernel needs CONFIG_PSI and psi=1", path=directory)
                ) from error
            for kind, seconds in parse_pressure(content):
                if (resource, kind) == UNDEFINED:
                    continue
                yield Sample(catalog.PRESSURE_SECONDS_TOTAL, (resource, kind), seconds)

    return [Collector("pressure", collect)]


def parse_pressure(text: str) -> Iterator[tuple[str, float]]:
    """Kind (some, full) and seconds of one pressure file, of the node or of a cgroup."""
    for line in text.splitlines():
        kind, *fields = line.split()
        total = dict(field.split("=") for field in fields)["total"]
        yield kind, int(total) / 1e6
