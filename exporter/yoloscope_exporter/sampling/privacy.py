"""What `--privacy` hides of users: before anything is derived from it, so on every page and in every answer alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from yoloscope_exporter.collectors import Collector

#: What may be hidden, and the labels that tell it. Names of runs are shown: choose them so (YOLOSCOPE_RUN).
LABELS: Final = {
    "user": frozenset({"user", "slurm_job_user"}),
    "command": frozenset({"command", "callback", "function", "doing", "line", "others", "own", "at"}),
    "data": frozenset({"data", "model", "file", "message"}),
}


def hidden_labels(words: Iterable[str]) -> frozenset[str]:
    """The labels that some of the words of `LABELS` hide."""
    return frozenset().union(*(LABELS[word] for word in words))


def hide(samples: Iterable[Sample], labels: frozenset[str]) -> Iterator[Sample]:
    """The samples with these labels empty; what differed by them alone is one: counters added up, else the largest."""
    merged: dict[tuple[str, tuple[str, ...]], Sample] = {}
    for sample in samples:
        if labels.isdisjoint(sample.metric.labels):
            yield sample
        else:
            shown = _without(sample, labels)
            key = (shown.metric.name, shown.labels)
            merged[key] = _joined(merged[key], shown) if key in merged else shown
    yield from merged.values()


def _without(sample: Sample, labels: frozenset[str]) -> Sample:
    values = zip(sample.metric.labels, sample.labels, strict=True)
    return sample._replace(labels=tuple("" if name in labels else value for name, value in values))


def _joined(one: Sample, other: Sample) -> Sample:
    if isinstance(one.value, HistogramValue) or isinstance(other.value, HistogramValue):
        return one  # there are none with such labels
    together = one.value + other.value if one.metric.kind == catalog.COUNTER else max(one.value, other.value)
    return one._replace(value=together)


def private(collector: Collector, labels: Callable[[], frozenset[str]]) -> Collector:
    """The collector with what `labels` are at each collection left out."""

    def collect() -> Iterable[Sample]:
        found, names = collector.collect(), labels()
        return hide(found, names) if names else found

    return replace(collector, collect=collect)
