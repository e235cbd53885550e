"""One module per source. To add a collector: one file here, one line in `MODULES`, its metrics in the catalogue.

A module offers `collectors(context) -> Sequence[Collector]`; usually one, more where parts of a source want different
periods. The name of the module's entry in `MODULES` is the switch: `--no-collector.<name>`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from yoloscope_exporter.catalog import Sample

FAST, SLOW = "fast", "slow"


class NoData(Exception):  # noqa: N818 - not an error: the source does not exist on this machine
    """The source is absent here (no GPU, no pressure files): the collector is down, and that is said once."""


@dataclass(frozen=True)
class Trainer:
    """A rank that is alive, as the other collectors need to know it."""

    run: str
    rank: str
    pid: int
    """In the exporter's own PID namespace."""


@dataclass(frozen=True)
class Context:
    """What a collector may use of the world. Tests give other roots, clocks and trainers."""

    procfs: Path
    sysfs: Path
    records: Path
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], float]
    """Unix seconds."""
    reject: Callable[[str, str], None]
    """Count a refused value: `reject(collector, reason)`."""
    trainers: Callable[[], Mapping[int, Trainer]]
    """Ranks alive at the last reading of the records, by pid."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Settings of collectors from the configuration."""


def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True)
class Collector:
    """A named source of samples.

    Attributes:
        name: value of the `collector` label.
        collect: yields the samples of one cycle; any exception means 'failed', and then nothing of it is published.
        close: gives back what the collector holds; may be called more than once.
        group: FAST (every sample interval) or SLOW (every ten of them).
    """

    name: str
    collect: Callable[[], Iterable[Sample]]
    close: Callable[[], None] = _nothing
    group: str = FAST
