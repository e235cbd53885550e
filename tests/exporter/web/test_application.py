"""The application: routes, filters, negotiation, the page in both languages."""

from __future__ import annotations

import gzip
from types import SimpleNamespace

from yoloscope_exporter.web.application import application

from tests.exporter.serving import fetch, running, serving


def test_routes() -> None:
    """Metrics, health, readiness, page; 404 names where the metrics are."""
    with serving() as url:
        assert b"yoloscope_cpu_cores 4.0" in fetch(f"{url}/metrics")[1]
        assert fetch(f"{url}/-/ready")[0] == 200
        status, body, _ = fetch(f"{url}/nowhere")
        assert (status, body) == (404, b"not found; the metrics are at /metrics\n")


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
        assert (status, body) == (400, b"no collector 'gpus'; allowed are runs\n")
        assert fetch(f"{url}/metrics?collect[]=runs&exclude[]=runs")[0] == 400


def test_series_by_name() -> None:
    """name[] as in prometheus_client: only series of these names."""
    with serving() as url:
        body = fetch(f"{url}/metrics?name[]=yoloscope_cpu_cores&name[]=yoloscope_nothing")[1]
        assert body.splitlines()[2:] == [b"yoloscope_cpu_cores 4.0"]


def test_gzip_when_asked_for() -> None:
    """The body is compressed, and says so."""
    with serving() as url:
        _, body, headers = fetch(f"{url}/metrics", Accept_Encoding="gzip")
        assert headers["Content-Encoding"] == "gzip"
        assert b"yoloscope_cpu_cores" in gzip.decompress(body)


def test_page_in_both_languages() -> None:
    """By the browser's languages, or as asked for."""
    with serving() as url:
        english = fetch(f"{url}/")[1].decode()
        chinese = fetch(f"{url}/", Accept_Language="zh-CN,en;q=0.5")[1].decode()
        assert fetch(f"{url}/?lang=zh", Accept_Language="en")[1].decode() == chinese
        assert fetch(f"{url}/")[2]["vary"] == "Accept-Language"
    assert "Runs" in english
    assert "训练任务" in chinese


def test_documents_end_with_the_sampler() -> None:
    """Findings are given while sampling goes on; when it has stopped they would be old, and that is said."""
    sampler = SimpleNamespace(alive=True)
    with running(application(sampler, documents={"/api/findings": lambda: ["starved"]})) as made:  # type: ignore[arg-type]
        assert fetch(f"{made.url}/api/findings")[1] == b'["starved"]'
        sampler.alive = False
        assert fetch(f"{made.url}/api/findings")[1] == b'{"error": "the sampler has stopped"}'


def test_security_headers() -> None:
    """No answer is taken for something else, and the page loads nothing and is framed by nobody."""
    with serving() as url:
        for path in ("/metrics", "/", "/nowhere"):
            assert fetch(url + path)[2]["x-content-type-options"] == "nosniff"
        policy = fetch(url)[2]["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_a_path_is_that_path() -> None:
    """No redirect to what it might mean."""
    with serving() as url:
        assert fetch(f"{url}/metrics/")[0] == 404
        assert fetch(f"{url}/%6detrics")[0] == 200
