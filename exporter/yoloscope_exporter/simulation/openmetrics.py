"""Scrapes as timestamped OpenMetrics text, as `promtool tsdb create-blocks-from openmetrics` takes it.

Families are declared once at the top and samples follow in order of time, so that hours of many nodes need no memory.
A strict OpenMetrics reader would want each family in one piece; promtool and yoloscope's own readers do not.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from yoloscope_exporter.catalog import Metric, Sample
    from yoloscope_exporter.simulation import Scrape


def lines(scrapes: Iterable[Scrape], job: str = "yoloscope") -> Iterator[str]:
    """The lines of a whole file; `instance` and `job` are added as Prometheus would on scraping."""
    for metric in catalog.METRICS:
        yield from _head(metric)
    series = _Series()
    for time, nodes in scrapes:
        for instance, samples in nodes.items():
            target = f'instance="{instance}",job="{job}"'
            for sample in samples:
                yield from _values(sample, target, f"{time:.3f}", series)
    yield "# EOF\n"


class _Series:
    """The name and labels of every series as text, made once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[str, ...], str], tuple[str, ...]] = {}

    def get(self, sample: Sample, target: str, make: Callable[[Sample, str], tuple[str, ...]]) -> tuple[str, ...]:
        key = (sample.metric.name, sample.labels, target)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = make(sample, target)
        return found


def _head(metric: Metric) -> Iterator[str]:
    family = metric.name.removesuffix("_total").removesuffix("_info")
    yield f"# TYPE {family} {metric.kind}\n"
    yield f"# HELP {family} {metric.help}\n"


def _values(sample: Sample, target: str, time: str, known: _Series) -> Iterator[str]:
    value = sample.value
    if isinstance(value, HistogramValue):
        texts = known.get(sample, target, _histogram_series)
        counts = list(accumulate(value.counts))
        for text, number in zip(texts, [*counts, counts[-1], value.sum], strict=True):
            yield f"{text} {number!r} {time}\n"
    else:
        (text,) = known.get(sample, target, _plain_series)
        yield f"{text} {value!r} {time}\n"


def _plain_series(sample: Sample, target: str) -> tuple[str, ...]:
    return (_series(sample.metric.name, sample.metric.labelled(sample.labels), target),)


def _histogram_series(sample: Sample, target: str) -> tuple[str, ...]:
    name, labels = sample.metric.name, sample.metric.labelled(sample.labels)
    bounds = [*map(repr, sample.metric.buckets), "+Inf"]
    buckets = (_series(f"{name}_bucket", {**labels, "le": bound}, target) for bound in bounds)
    return (*buckets, _series(f"{name}_count", labels, target), _series(f"{name}_sum", labels, target))


def _series(name: str, labels: Mapping[str, str], target: str) -> str:
    own = "".join(f'{label}="{_escape(value)}",' for label, value in labels.items())
    return f"{name}{{{own}{target}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
