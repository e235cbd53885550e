"""Samples as families of prometheus_client."""

from __future__ import annotations

import subprocess

from prometheus_client import generate_latest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample
from yoloscope_exporter.sampling.exposition import Families
from yoloscope_exporter.sampling.families import empty, families

from tests.conftest import require_binary


def test_histogram_is_cumulative() -> None:
    """Buckets are added up to the count, with the bounds as the library writes them."""
    metric = Metric("size_bytes", catalog.HISTOGRAM, "bytes", "Sizes.", ("disk",), (0.5, 1e6))
    (family,) = families([Sample(metric, ("sda",), HistogramValue((1.0, 2.0, 3.0), 9.5))])
    assert [(sample.name, sample.labels.get("le"), sample.value) for sample in family.samples] == [
        ("size_bytes_bucket", "0.5", 1.0),
        ("size_bytes_bucket", "1e+06", 3.0),
        ("size_bytes_bucket", "+Inf", 6.0),
        ("size_bytes_sum", None, 9.5),
        ("size_bytes_count", None, 6.0),
    ]


def test_names_and_types() -> None:
    """A family's name is without the suffix of its type; the unit is never appended to it."""
    kinds = [
        (Metric("a_total", catalog.COUNTER, "", "A."), ("a", "counter", "")),
        (Metric("a_info", catalog.INFO, "", "A."), ("a", "info", "")),
        (Metric("a_seconds_total", catalog.COUNTER, "seconds", "A."), ("a_seconds", "counter", "seconds")),
        (Metric("wait", catalog.GAUGE, "seconds", "A."), ("wait", "gauge", "seconds")),
    ]
    for metric, expected in kinds:
        family = empty(metric)
        assert (family.name, family.type, family.unit) == expected


def test_gauge_that_ends_like_a_histogram() -> None:
    """Its type is unknown: promtool complains of a gauge whose name ends in `_count`."""
    metric = Metric("workers_count", catalog.GAUGE, "", "Workers.")
    text = generate_latest(Families(families([Sample(metric, (), 1.0)])))
    assert b"# TYPE workers_count untyped\n" in text
    command = [require_binary("promtool"), "check", "metrics"]
    lint = subprocess.run(command, input=text, capture_output=True, check=False)
    assert lint.stdout + lint.stderr == b""


def test_series_that_comes_twice_is_kept_once() -> None:
    """The first one stays, whoever else gives it."""
    samples = [Sample(catalog.CPU_CORES, (), 1.0), Sample(catalog.LOAD_AVERAGE, ("1m",), 2.0)]
    found = list(families([*samples, Sample(catalog.CPU_CORES, (), 3.0)]))
    assert [sample.value for family in found for sample in family.samples] == [1.0, 2.0]
