"""The bytes of /metrics, checked with Prometheus' own Python parsers."""

from __future__ import annotations

import gzip
import math
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    SummaryMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample
from yoloscope_exporter.sampling.exposition import Families, Form, Renderer, encode, negotiate, number
from yoloscope_exporter.sampling.families import families

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Metric as Family

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
    ("value", "shown"),
    [
        (1.0, "1.0"),
        (1e6, "1e+06"),
        (999_999.5, "999999.5"),
        (1234567.5, "1.2345675e+06"),
        (-1e7, "-10000000.0"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (1e300, "1e+300"),
    ],
)
def test_numbers(value: float, shown: str) -> None:
    """Numbers as both formats write them."""
    assert number(value) == shown


# --- byte for byte what the library writes ---------------------------------------------------------------------------

any_value = st.floats() | st.integers(-(10**18), 10**18).map(float) | st.sampled_from([math.nan, math.inf, -math.inf])
any_string = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,12}", fullmatch=True)
label_names = st.lists(st.from_regex(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True), max_size=4, unique=True)
timestamps = st.none() | st.integers(0, 2**31)
exemplars = st.none() | st.builds(
    Exemplar, st.dictionaries(st.just("trace_id"), any_string), any_value, st.none() | st.floats(0, 2e9)
)
FORMS = [Form(form, gzipped, escaping) for form in (False, True) for gzipped in (False, True) for escaping in (
    "", "underscores", "allow-utf-8", "dots", "values"
)]  # fmt: skip


@st.composite
def series(draw: Callable[..., object], number_of: int) -> list[list[str]]:
    """Label values of some series."""
    values = st.lists(any_string, min_size=number_of, max_size=number_of)
    return draw(st.lists(values, max_size=3, unique_by=tuple))


@st.composite
def our_metrics(draw: Callable[..., object], name: str) -> list[Sample]:
    """The samples of a metric as the catalogue has them: of any kind, with a help text and labels of any kind."""
    kind = draw(st.sampled_from([catalog.COUNTER, catalog.GAUGE, catalog.HISTOGRAM, catalog.INFO]))
    suffix = {catalog.COUNTER: "_total", catalog.INFO: "_info", catalog.GAUGE: draw(st.sampled_from(["", "_count"]))}
    labels = [label for label in draw(label_names) if label != "le"]
    buckets = tuple(sorted(draw(st.sets(st.floats(-10, 1e9), max_size=4)))) if kind == catalog.HISTOGRAM else ()
    unit = draw(st.sampled_from(["", "seconds", "bytes"]))
    metric = Metric(name + suffix.get(kind, ""), kind, unit, draw(any_string), tuple(labels), buckets)
    counts = st.lists(any_value, min_size=len(buckets) + 1, max_size=len(buckets) + 1).map(tuple)
    value = st.builds(HistogramValue, counts, any_value) if kind == catalog.HISTOGRAM else any_value
    return [Sample(metric, tuple(values), draw(value)) for values in draw(series(len(labels)))]


@st.composite
def third_party_family(draw: Callable[..., object], name: str) -> Family:  # noqa: C901, PLR0912 - one branch a type
    """A family of any type, made by the library's own classes."""
    made = draw(
        st.sampled_from(["gauge", "counter", "summary", "histogram", "gaugehistogram", "info", "stateset", "?"])
    )
    labels, text = draw(label_names), draw(any_string)
    unit = draw(st.sampled_from(["", "seconds"]))
    rows = draw(series(len(labels)))
    if made == "counter":
        family = CounterMetricFamily(name, text, labels=labels, unit=unit)
        for row in rows:
            created, at, exemplar = draw(st.none() | st.floats(0, 2e9)), draw(timestamps), draw(exemplars)
            family.add_metric(row, draw(any_value), created=created, timestamp=at, exemplar=exemplar)
    elif made == "summary":
        family = SummaryMetricFamily(name, text, labels=labels, unit=unit)
        for row in rows:
            family.add_metric(row, draw(any_value), draw(any_value), draw(timestamps))
    elif made == "histogram":
        family = HistogramMetricFamily(name, text, labels=labels, unit=unit)
        for row in rows:
            buckets = [("0.5", draw(any_value), draw(exemplars)), ("+Inf", draw(any_value), None)]
            family.add_metric(row, buckets, draw(st.none() | any_value), draw(timestamps))
    elif made == "gaugehistogram":
        family = GaugeHistogramMetricFamily(name, text, labels=labels, unit=unit)
        for row in rows:
            family.add_metric(row, [("1.0", draw(any_value)), ("+Inf", draw(any_value))], draw(any_value))
    elif made == "info":
        family = InfoMetricFamily(name, text, labels=labels)
        for row in rows:
            family.add_metric(row, {"version": draw(any_string)}, draw(timestamps))
    elif made == "stateset":
        family = StateSetMetricFamily(name, text, labels=labels)
        for row in rows:
            family.add_metric(row, {"on": draw(st.booleans()), "off": draw(st.booleans())}, draw(timestamps))
    else:
        family = (GaugeMetricFamily if made == "gauge" else UnknownMetricFamily)(name, text, labels=labels, unit=unit)
        for row in rows:
            family.add_metric(row, draw(any_value), draw(timestamps))
    return family


@st.composite
def pages(draw: Callable[..., object]) -> tuple[list[Sample], list[Family]]:
    """What an exporter may have to write: samples of its own and families of others."""
    chosen = draw(st.lists(names, max_size=5, unique=True))
    split = draw(st.integers(0, len(chosen)))
    ours = [sample for name in chosen[:split] for sample in draw(our_metrics(name))]
    return ours, [draw(third_party_family(name)) for name in chosen[split:]]


def by_the_library(form: Form, samples: list[Sample], third_party: list[Family]) -> bytes:
    """The page as prometheus_client writes it."""
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(Families([*families(samples), *third_party]))
    generate = generate_openmetrics if form.openmetrics else generate_latest
    return generate(registry, **({"escaping": form.escaping} if form.escaping else {}))


@given(page=pages(), form=st.sampled_from(FORMS))
def test_bytes_are_the_librarys(page: tuple[list[Sample], list[Family]], form: Form) -> None:
    """Byte for byte, whatever there is to write; also when the lines of another page are remembered."""
    samples, third_party = page
    renderer = Renderer()
    for remembered in (samples, samples):
        got = renderer.render(remembered, third_party).get(form)
        assert (gzip.decompress(got) if form.gzipped else got) == by_the_library(form, samples, third_party)


@given(before=st.floats(), after=st.floats())
@example(before=0.0, after=-0.0)
def test_remembered_lines_follow_the_value(before: float, after: float) -> None:
    """The second page of a renderer is the library's too."""
    renderer, form = Renderer(), Form(openmetrics=True)
    renderer.render([Sample(catalog.CPU_CORES, (), before)]).get(form)
    second = [Sample(catalog.CPU_CORES, (), after)]
    assert renderer.render(second).get(form) == by_the_library(form, second, [])


@pytest.mark.parametrize("form", [Form(), Form(openmetrics=True)])
def test_names_restrict_series(form: Form) -> None:
    """Of all families only the series of the given names are written, whoever they are from."""
    ours = [Sample(catalog.CPU_CORES, (), 4.0), Sample(catalog.LOAD_AVERAGE, ("1m",), 2.0)]
    other = SummaryMetricFamily("rpc_seconds", "Calls.", count_value=3, sum_value=1.5)
    whole = [*families(ours), other]
    body = encode(form, whole, ["yoloscope_cpu_cores", "rpc_seconds_sum", "nothing"]).decode()
    assert [line for line in body.splitlines() if line[0] != "#"] == ["yoloscope_cpu_cores 4.0", "rpc_seconds_sum 1.5"]
    assert encode(form, whole) == by_the_library(form, ours, [other])


# --- negotiation -----------------------------------------------------------------------------------------------------

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html",
        "text/plain",
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "text/plain;version=1.0.0",
        "text/plain;version=1.0.0;escaping=dots",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;version=1.0.0",
        "application/openmetrics-text;version=1.0.0;escaping=values",
        "application/openmetrics-text;version=1.0.0;escaping=nonsense",
        PROMETHEUS_2,
        PROMETHEUS_3,
    ],
)
def test_negotiation_is_the_librarys(accept: str) -> None:
    """Encoder, escaping and Content-Type are those of prometheus_client."""
    form = negotiate(accept, "")
    encoder, content_type = choose_encoder(accept)
    assert form.content_type == content_type
    function = encoder.func if isinstance(encoder, partial) else encoder
    assert function is (generate_openmetrics if form.openmetrics else generate_latest)
    chosen = encoder.keywords["escaping"] if isinstance(encoder, partial) else "underscores"
    assert (form.escaping or "underscores") == chosen


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("text/plain,application/openmetrics-text;version=1.0.0", True),
        ("text/plain;q=nonsense", False),
        ("application/openmetrics-text;version=nonsense", False),
    ],
)
def test_weights_count(accept: str, openmetrics: bool) -> None:  # noqa: FBT001 - a parameter
    """OpenMetrics for who wants it at least as much as text."""
    assert negotiate(accept, "").openmetrics is openmetrics


@pytest.mark.parametrize(
    ("encoding", "gzipped"), [("", False), ("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False)]
)
def test_gzip_is_negotiated(encoding: str, gzipped: bool) -> None:  # noqa: FBT001 - a parameter
    """Only who accepts gzip gets it."""
    assert negotiate("", encoding).gzipped is gzipped
