"""Samples of the catalogue as metric families of prometheus_client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Metric as Family
from prometheus_client.utils import floatToGoString

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from yoloscope_exporter.catalog import Metric, Sample


def family_name(metric: Metric) -> str:
    """The metric's name without the suffix that its type gives to its samples."""
    suffix = {catalog.COUNTER: "_total", catalog.INFO: "_info"}.get(metric.kind, "")
    return metric.name.removesuffix(suffix)


def family_type(metric: Metric) -> str:
    """The family's type; a gauge whose name ends in `_count`, which is kept for histograms, is one of unknown type."""
    return "unknown" if metric.kind == catalog.GAUGE and metric.name.endswith("_count") else metric.kind


def empty(metric: Metric) -> Family:
    """The metric's family without samples, as `describe` gives it."""
    family = Family(family_name(metric), metric.help, family_type(metric))
    family.unit = metric.unit  # not as an argument: the constructor may append it to the name
    return family


def families(samples: Iterable[Sample]) -> Iterator[Family]:
    """The families of `samples`, in the order of their first sample; a series that comes twice is kept once."""
    found: dict[str, Family] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for sample in samples:
        metric = sample.metric
        if (metric.name, sample.labels) in seen:
            continue
        seen.add((metric.name, sample.labels))
        family = found.get(metric.name)
        if family is None:
            family = found[metric.name] = empty(metric)
        _add(family, sample)
    return iter(found.values())


def _add(family: Family, sample: Sample) -> None:
    metric, value = sample.metric, sample.value
    labels = metric.labelled(sample.labels)
    if not isinstance(value, HistogramValue):
        family.add_sample(metric.name, labels, value)
        return
    total = 0.0
    bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
    for bound, count in zip(bounds, value.counts, strict=True):
        total += count
        family.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, total)
    family.add_sample(f"{metric.name}_sum", labels, value.sum)
    family.add_sample(f"{metric.name}_count", labels, total)
