"""The app: routes, filters, negotiation, the page in both languages."""

from __future__ import annotations

import gzip
from types import SimpleNamespace

import pytest
from yoloscope_exporter.app import App, negotiate
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.sampling.sampler import Sampler
from yoloscope_exporter.sampling.sources import Source
from yoloscope_exporter.server import Request

from tests.exporter.serving import fetch, samples, serving


def test_routes() -> None:
    """Metrics, health, readiness, page; 404 names where the metrics are."""
    with serving() as url:
        assert b"yoloscope_cpu_cores 4.0" in fetch(f"{url}/metrics")[1]
        assert fetch(f"{url}/-/ready")[0] == 200
        status, body, _ = fetch(f"{url}/nowhere")
        assert (status, body) == (404, b"nothing here; the metrics are at /metrics\n")


def test_not_ready_before_the_first_snapshot() -> None:
    """503 until there is something to serve; /metrics already has the exporter's own series."""
    with serving(cycle=False) as url:
        assert fetch(f"{url}/-/ready")[0] == 503
        assert fetch(f"{url}/-/healthy")[0] == 503  # nobody has started the sampler
        status, body, _ = fetch(f"{url}/metrics")
        assert status == 200
        assert b'yoloscope_collector_up{collector="runs"} 0.0' in body


def test_filters() -> None:
    """collect[] and exclude[] as in node_exporter; what does not exist, or both, is 400."""
    with serving() as url:
        assert b"cpu_cores" in fetch(f"{url}/metrics?collect[]=runs")[1]
        assert b"cpu_cores" not in fetch(f"{url}/metrics?exclude[]=runs")[1]
        status, body, _ = fetch(f"{url}/metrics?collect[]=gpus")
        assert (status, body) == (400, b"no collector 'gpus'; there are runs\n")
        assert fetch(f"{url}/metrics?collect[]=runs&exclude[]=runs")[0] == 400


def test_gzip_when_asked_for() -> None:
    """The body is compressed, and says so."""
    with serving() as url:
        _, body, headers = fetch(f"{url}/metrics", Accept_Encoding="gzip")
        assert headers["Content-Encoding"] == "gzip"
        assert b"yoloscope_cpu_cores" in gzip.decompress(body)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("text/plain;q=nonsense", False),
    ],
)
def test_negotiation(accept: str, openmetrics: bool) -> None:  # noqa: FBT001 - a parameter
    """OpenMetrics for who wants it at least as much as plain text."""
    assert negotiate({"accept": accept}).openmetrics is openmetrics


def test_page_in_both_languages_escapes_names() -> None:
    """The page shows the runs, in English or Chinese, and nobody's markup."""
    with serving() as url:
        english = fetch(f"{url}/")[1].decode()
        chinese = fetch(f"{url}/", Accept_Language="zh-CN,en;q=0.5")[1].decode()
    assert "Trainings" in english
    assert "训练任务" in chinese
    assert "训练中" in chinese
    for page in (english, chinese):
        assert "&lt;script&gt;" in page
        assert "<script" not in page


def test_page_shows_nothing_old() -> None:
    """Before the first sample, and when sampling has stopped, no training is shown as if it were running."""
    now = [1000.0]
    sampler = Sampler([Source("runs", Collector("runs", samples))], interval=1.0, clock=lambda: now[0])
    assert "Nothing has been sampled" in get(App(sampler), "/")
    sampler.cycle()
    assert "train</td>" in get(App(sampler), "/")
    now[0] += 60
    assert "Nothing has been sampled" in get(App(sampler), "/")
    assert "train</td>" not in get(App(sampler), "/")
    sampler.stop()


def test_documents_end_with_the_sampler() -> None:
    """Findings are given while sampling goes on; when it has stopped they would be old, and that is said."""
    sampler = SimpleNamespace(alive=True)
    app = App(sampler, documents={"/api/findings": lambda: ["starved"]})  # type: ignore[arg-type]
    assert get(app, "/api/findings") == '["starved"]'
    sampler.alive = False
    assert get(app, "/api/findings") == '{"error": "the sampler has stopped"}'


def get(app: App, path: str) -> str:
    """The body of an answer, without a server."""
    return app(Request("GET", path, "", {})).body.decode()
