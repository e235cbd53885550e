"""Traffic and errors of the network interfaces, from /proc/net/dev."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.files import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from yoloscope_exporter.collectors import Context

#: Loopback, and the ends of containers' cables: many, short-lived, and their traffic passes a real interface as well.
_LEFT_OUT = re.compile(r"lo|(veth|cali|lxc|cilium|flannel|tunl|dummy|ifb|br-|docker|cni|kube|virbr|vnet|tap).*")


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    return [Collector("network", lambda: parse_net_dev(_read(context.procfs)))]


def _read(procfs: Path) -> str:
    """The table of the first process, which a container with the node's /proc shares; else our own."""
    try:
        return read(procfs / "1" / "net" / "dev")
    except OSError:
        return read(procfs / "net" / "dev")


def parse_net_dev(text: str) -> Iterator[Sample]:
    """Samples of /proc/net/dev."""
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        device = name.strip()
        if _LEFT_OUT.fullmatch(device):
            continue
        fields = rest.split()
        label = (device,)
        yield Sample(catalog.NETWORK_RECEIVE_BYTES_TOTAL, label, float(fields[0]))
        yield Sample(catalog.NETWORK_RECEIVE_ERRORS_TOTAL, label, float(fields[2]))
        yield Sample(catalog.NETWORK_TRANSMIT_BYTES_TOTAL, label, float(fields[8]))
        yield Sample(catalog.NETWORK_TRANSMIT_ERRORS_TOTAL, label, float(fields[10]))
