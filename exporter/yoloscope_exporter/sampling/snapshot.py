"""The last values of all collectors at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter.catalog import Metric, Sample

if TYPE_CHECKING:
    from prometheus_client import Metric as Family


@dataclass(frozen=True)
class Snapshot:
    """The last values of all collectors at one moment."""

    time: float
    """Unix seconds."""
    samples: Mapping[str, tuple[Sample, ...]]
    """By the collector's name."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """The collector's module, by the collector's name."""
    families: Mapping[str, tuple[Family, ...]] = field(default_factory=dict)
    """Families of third parties' collectors, by the collector's name."""

    def __iter__(self) -> Iterator[Sample]:
        """All samples."""
        for samples in self.samples.values():
            yield from samples

    def of(self, metric: Metric) -> Iterator[Sample]:
        """The samples of one metric."""
        return (sample for sample in self if sample.metric.name == metric.name)


#: Samples worked out from the newest snapshot.
Derived = Callable[[Snapshot], Iterable[Sample]]
