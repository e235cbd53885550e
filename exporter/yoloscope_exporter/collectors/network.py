"""Traffic and errors of the network interfaces: those of the first process, else those that psutil tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import psutil

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.collectors.files import read
from yoloscope_exporter.collectors.procfs import no_data_if_missing, point_psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from yoloscope_exporter.collectors import Context

#: Loopback, and the ends of containers' cables: many, short-lived, and their traffic passes a real interface as well.
_LEFT_OUT = re.compile(
    r"lo\d*|Loopback .*|(veth|cali|lxc|cilium|flannel|tunl|dummy|ifb|br-|docker|cni|kube|virbr|vnet|tap).*"
)


class Traffic(NamedTuple):
    """Counters of an interface: bytes and errors, received and sent."""

    received_bytes: int
    receive_errors: int
    sent_bytes: int
    send_errors: int


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    point_psutil(context.procfs)

    def collect() -> Iterator[Sample]:
        for device, traffic in _interfaces(context.procfs).items():
            if _LEFT_OUT.fullmatch(device):
                continue
            yield Sample(catalog.NETWORK_RECEIVE_BYTES_TOTAL, (device,), float(traffic.received_bytes))
            yield Sample(catalog.NETWORK_RECEIVE_ERRORS_TOTAL, (device,), float(traffic.receive_errors))
            yield Sample(catalog.NETWORK_TRANSMIT_BYTES_TOTAL, (device,), float(traffic.sent_bytes))
            yield Sample(catalog.NETWORK_TRANSMIT_ERRORS_TOTAL, (device,), float(traffic.send_errors))

    return [Collector("network", collect)]


def _interfaces(procfs: Path) -> Mapping[str, Traffic]:
    """The node's interfaces by name.

    psutil reads /proc/net, which is that of the process that reads: in a container with the node's /proc it is still
    the container's. So the first process' table is read where it can be; what psutil tells is for where it may not be
    looked at, and for other platforms.
    """
    try:
        return parse_net_dev(read(procfs / "1" / "net" / "dev"))
    except OSError:
        with no_data_if_missing():
            counters = psutil.net_io_counters(pernic=True, nowrap=False)
        return {name: Traffic(one.bytes_recv, one.errin, one.bytes_sent, one.errout) for name, one in counters.items()}


def parse_net_dev(text: str) -> dict[str, Traffic]:
    """The rows of /proc/PID/net/dev."""
    rows = (line.partition(":") for line in text.splitlines()[2:])
    fields = ((name.strip(), rest.split()) for name, _, rest in rows)
    return {name: Traffic(int(row[0]), int(row[2]), int(row[8]), int(row[10])) for name, row in fields}
