"""What all collectors said last, seen at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from yoloscope_exporter.catalog import Metric, Sample


@dataclass(frozen=True)
class Snapshot:
    """What was known at one moment."""

    time: float
    """Unix seconds."""
    samples: Mapping[str, tuple[Sample, ...]]
    """By the collector's name."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """The collector's module, by the collector's name."""

    def __iter__(self) -> Iterator[Sample]:
        """All samples."""
        for samples in self.samples.values():
            yield from samples

    def of(self, metric: Metric) -> Iterator[Sample]:
        """The samples of one metric."""
        return (sample for sample in self if sample.metric.name == metric.name)


#: Samples worked out from the newest snapshot.
Derived = Callable[[Snapshot], Iterable[Sample]]
