"""Series and findings over HTTP: from an exporter, from a Prometheus; clear errors otherwise."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from yoloscope_exporter.client import prometheus as sources
from yoloscope_exporter.client.prometheus import SourceError
from yoloscope_exporter.diagnosis import engine
from yoloscope_exporter.recordings import reader as recording
from yoloscope_exporter.terminal import diagnosis as render

from tests.conftest import require_binary
from tests.live import free_port, get, wait_for
from tests.recordings import cases
from tests.recordings.model import Plan, play

if TYPE_CHECKING:
    from pathlib import Path

Answer = Callable[[str, str, dict[str, str]], tuple[int, bytes]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Start servers whose answers come from `answer(path, body, headers)`; gives their URLs."""
    servers: list[HTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                status, data = answer(self.path, body, dict(self.headers))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - the base class's names

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_findings_survive_the_wire(serve: Callable[[Answer], str]) -> None:
    """What an exporter serves is read back as it was, advice and signals included."""
    told = engine.over([play(Plan(workers=1, epochs=1, batches=60))]).diagnoses
    document = json.dumps(render.to_json(told, with_signals=True)).encode()
    (read,) = sources.exporter(serve(lambda *_: (200, document)))
    assert [verdict.name for verdict in read.verdicts] == [verdict.name for verdict in told[0].verdicts]
    assert read.verdicts[0].advice.arguments == told[0].verdicts[0].advice.arguments
    assert read.signals.numbers == told[0].signals.numbers


def test_proxy_is_not_asked_for_this_machine(serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster's http_proxy does not come between the terminal and the exporter beside it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert sources.fetch(serve(lambda *_: (200, b"here"))) == b"here"


def test_passwords_in_the_url_are_sent_as_basic_auth(serve: Callable[[Answer], str]) -> None:
    """user:password@ becomes a header and never part of the path."""
    seen: dict[str, str] = {}

    def answer(path: str, _: str, headers: dict[str, str]) -> tuple[int, bytes]:
        seen.update(headers, path=path)
        return 200, b'{"runs": []}'

    assert sources.exporter(serve(answer).replace("//", "//li:p%40ss@")) == ()
    assert seen["Authorization"] == "Basic bGk6cEBzcw=="
    assert seen["path"] == "/api/v1/diagnosis"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"", "/api/v1/diagnosis answers 404"),
        (401, b"", "401"),
        (200, b"<html>", "not like yoloscope"),
        (200, b'{"runs": 3}', "not like"),
    ],
)
def test_other_servers_are_recognised(serve: Callable[[Answer], str], status: int, body: bytes, said: str) -> None:
    """One line says what came instead."""
    with pytest.raises(SourceError, match=said) as raised:
        sources.exporter(serve(lambda *_: (status, body)))
    assert raised.value.status == (status if status != 200 else 0)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://127.0.0.1:1"])
def test_no_server_is_an_error(url: str) -> None:
    """A wrong URL and a closed port are told apart from data."""
    with pytest.raises(SourceError, match=r"no URL|does not answer"):
        sources.exporter(url)


def test_prometheus_gives_one_store_per_node(serve: Callable[[Answer], str]) -> None:
    """Nodes are asked for by `instance`, runs are filtered, histograms are put together from their parts."""
    queries: list[str] = []

    def answer(_: str, body: str, __: dict[str, str]) -> tuple[int, bytes]:
        query = parse_qs(body)["query"][0]
        queries.append(query)
        node = "b" if 'instance="b"' in query else "a"
        base = {"instance": node, "run": "r", "rank": "0"}
        up = {"metric": {"__name__": "yoloscope_train_up", **base}, "values": [[1, "1"], [2, "1"]]}
        if query.startswith("yoloscope_train_up"):
            other = {"metric": {**up["metric"], "instance": "b"}, "values": [[1, "1"]]}  # type: ignore[dict-item]
            return 200, json.dumps({"data": {"result": [up, other]}}).encode()
        foreign = {"metric": {**up["metric"], "run": "q"}, "values": [[1, "1"]]}  # type: ignore[dict-item]
        return 200, json.dumps({"data": {"result": [up, foreign]}}).encode()

    stores = sources.prometheus(serve(answer), 3600, "r", now=10)
    assert len(stores) == 2
    assert all(list(store.series["yoloscope_train_up"]) == [("r", "0")] for store in stores)
    assert queries[0] == 'yoloscope_train_up{run="r"}[3600s]'


def test_prometheus_refusals_are_passed_on(serve: Callable[[Answer], str]) -> None:
    """Its own words reach the user."""
    with pytest.raises(SourceError, match="query processing would load too many samples"):
        sources.prometheus(serve(lambda *_: (422, b'{"error": "query processing would load too many samples"}')), 3600)


def test_a_real_prometheus_says_what_the_recording_says(tmp_path: Path) -> None:
    """A recording, loaded by promtool and asked for over the API of a real server, has the same series and findings."""
    promtool, server = require_binary("promtool"), require_binary("prometheus")
    plain, data = tmp_path / "a.om", tmp_path / "data"
    plain.write_bytes(gzip.decompress(cases.path("straggler").read_bytes()))
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(plain), str(data)], check=True, capture_output=True
    )
    (recorded,) = recording.read(plain)
    (tmp_path / "prometheus.yml").write_text("global: {}\n")
    port = free_port()
    command = [server, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={data}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(lambda: get(f"http://127.0.0.1:{port}/-/ready"), timeout=60)
            (asked,) = sources.prometheus(f"http://127.0.0.1:{port}", 3600, "train/yolo11m", now=recorded.last)
        finally:
            process.terminate()
    assert not asked.skipped
    train = {key for key in recorded.series if "train" in key}
    assert train - set(asked.series) == set()
    told = [[(d.rank, [v.name for v in d.verdicts]) for d in engine.over([s]).diagnoses] for s in (recorded, asked)]
    assert told[0] == told[1]
