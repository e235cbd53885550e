"""The rules that names of metrics keep."""

from __future__ import annotations

import re

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import COUNTER, HISTOGRAM, INFO, METRICS, Metric

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


@each_metric
def test_names_follow_prometheus(metric: Metric) -> None:
    """Prefix, `_total` iff counter, `_info` iff info, and a help of one sentence."""
    assert re.fullmatch(r"yoloscope_[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == COUNTER)
    assert metric.name.endswith("_info") == (metric.kind == INFO)
    assert re.fullmatch(r"\S.*\.", metric.help)
    assert len(set(metric.labels)) == len(metric.labels)


@each_metric
def test_units_stand_in_names(metric: Metric) -> None:
    """OpenMetrics wants a family with a unit to end in it, before `_total`."""
    assert metric.name.removesuffix("_total").endswith(metric.unit)


@each_metric
def test_buckets_ascend(metric: Metric) -> None:
    """Histograms have ascending bounds without +Inf, nothing else has any."""
    assert (metric.kind == HISTOGRAM) == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_families_stay_distinct_in_openmetrics() -> None:
    """No two families meet once OpenMetrics strips the suffixes, or adds those of a histogram."""
    families = [metric.name.removesuffix("_total").removesuffix("_info") for metric in METRICS]
    assert len(set(families)) == len(families)
    parts = {f"{m.name}{part}" for m in METRICS if m.kind == HISTOGRAM for part in ("_bucket", "_sum", "_count")}
    assert not parts & {metric.name for metric in METRICS}


def test_constants_are_named_as_their_metrics() -> None:
    """A metric is found by its name: the constant is the name without prefix, in upper case."""
    for name, value in vars(catalog).items():
        if isinstance(value, Metric):
            assert value.name == f"yoloscope_{name.lower()}"
