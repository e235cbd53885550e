"""The bytes of /metrics, checked with Prometheus' own Python parsers."""

from __future__ import annotations

import gzip
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.sampling.exposition import Form, Renderer, number

any_text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=30)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(labels=st.lists(st.tuples(any_text, finite), max_size=5, unique_by=lambda pair: pair[0]))
def test_any_label_and_value_survive(labels: list[tuple[str, float]]) -> None:
    """Whatever stands in a label or value, both formats give it back."""
    samples = [Sample(catalog.TRAIN_LOSS, ("run", "0", label), value) for label, value in labels]
    exposition = Renderer().render(samples)
    for form, parse in ((Form(), text), (Form(openmetrics=True), openmetrics)):
        families = parse(exposition.get(form).decode())
        found = [(s.labels["component"], s.value) for family in families for s in family.samples]
        assert found == labels


@given(counts=st.lists(st.integers(0, 10**6), min_size=16, max_size=16), total=st.floats(0, 1e9))
def test_histograms_are_cumulative(counts: list[int], total: float) -> None:
    """Buckets are added up, +Inf equals the count, and OpenMetrics' stricter parser agrees."""
    value = HistogramValue(tuple(map(float, counts)), total)
    exposition = Renderer().render([Sample(catalog.TRAIN_STEP_SECONDS, ("run", "0"), value)])
    (family,) = openmetrics(exposition.get(Form(openmetrics=True)).decode())
    buckets = [s.value for s in family.samples if s.name.endswith("_bucket")]
    assert buckets == [sum(counts[: index + 1]) for index in range(16)]
    assert [s.value for s in family.samples if s.name.endswith("_count")] == [sum(counts)]
    assert [s.value for s in family.samples if s.name.endswith("_sum")] == [total]


def test_headers_of_both_formats() -> None:
    """Info is a gauge in the old format; OpenMetrics has info, units, stripped names and an end."""
    samples = [
        Sample(catalog.BUILD_INFO, ("1", "3"), 1.0),
        Sample(catalog.CPU_SECONDS_TOTAL, ("user",), 2.0),
    ]
    exposition = Renderer().render(samples)
    old, new = exposition.get(Form()).decode(), exposition.get(Form(openmetrics=True)).decode()
    assert "# TYPE yoloscope_build_info gauge\n" in old
    assert "# TYPE yoloscope_cpu_seconds_total counter\n" in old
    assert "# TYPE yoloscope_build info\n" in new
    assert "# TYPE yoloscope_cpu_seconds counter\n# UNIT yoloscope_cpu_seconds seconds\n" in new
    assert new.endswith("# EOF\n")
    assert "# EOF" not in old


def test_every_metric_of_the_catalogue_can_be_rendered() -> None:
    """Each one, in OpenMetrics, is accepted by the strict parser."""
    samples = [
        Sample(
            metric,
            tuple(metric.labels),
            HistogramValue((1.0,) * (len(metric.buckets) + 1), 1.0) if metric.buckets else 1.0,
        )
        for metric in catalog.METRICS
    ]
    families = list(openmetrics(Renderer().render(samples).get(Form(openmetrics=True)).decode()))
    assert len(families) == len(catalog.METRICS)


def test_gzip_is_the_same_text() -> None:
    """The compressed form unpacks to the plain one, and is made once."""
    exposition = Renderer().render([Sample(catalog.CPU_CORES, (), 4.0)])
    assert gzip.decompress(exposition.get(Form(gzipped=True))) == exposition.get(Form())
    assert exposition.get(Form(gzipped=True)) is exposition.get(Form(gzipped=True))


def test_nothing_is_empty_text() -> None:
    """No samples: nothing in the old format, only the end in the new one."""
    assert Renderer().render([]).get(Form()) == b""
    assert Renderer().render([]).get(Form(openmetrics=True)) == b"# EOF\n"


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1.0"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (1e300, "1e+300")]
)
def test_numbers(value: float, shown: str) -> None:
    """Numbers as both formats write them."""
    assert number(value) == shown
