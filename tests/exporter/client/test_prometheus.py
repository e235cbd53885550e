"""Series of a Prometheus, over HTTP."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from yoloscope_exporter.client.prometheus import read_prometheus
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.reports import runs
from yoloscope_exporter.simulation import simulate
from yoloscope_exporter.simulation.openmetrics import lines
from yoloscope_exporter.simulation.prediction import EXPORT, EXPORT_BYTES, EXPORT_SECONDS, SERVICE, VERDICTS

from tests.conftest import require_binary
from tests.live import free_port, get, wait_for
from tests.recordings import cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answer = Callable[[str, str, dict[str, str]], tuple[int, bytes]]

START = 1_790_000_000
#: How what has runs is asked for: trainings, and all else.
UPS = '{__name__=~"yoloscope_train_up|yoloscope_predict_up"'


def test_prometheus_gives_one_store_per_node(serve: Callable[[Answer], str]) -> None:
    """Nodes are asked for by `instance`, runs are filtered, histograms are put together from their parts."""
    queries: list[str] = []

    def answer(_: str, body: str, __: dict[str, str]) -> tuple[int, bytes]:
        query = parse_qs(body)["query"][0]
        queries.append(query)
        node = "b" if 'instance="b"' in query else "a"
        base = {"instance": node, "run": "r", "rank": "0"}
        up = {"metric": {"__name__": "yoloscope_train_up", **base}, "values": [[1, "1"], [2, "1"]]}
        if query.startswith(UPS):
            other = {"metric": {**up["metric"], "instance": "b"}, "values": [[1, "1"]]}  # type: ignore[dict-item]
            return 200, json.dumps({"data": {"result": [up, other]}}).encode()
        foreign = {"metric": {**up["metric"], "run": "q"}, "values": [[1, "1"]]}  # type: ignore[dict-item]
        return 200, json.dumps({"data": {"result": [up, foreign]}}).encode()

    stores = read_prometheus(serve(answer), 3600, "r", now=10)
    assert len(stores) == 2
    assert all(list(store.series["yoloscope_train_up"]) == [("r", "0")] for store in stores)
    assert queries[0] == f'{UPS},run="r"}}[3600s]'


def test_nodes_of_two_clusters_are_asked_for_one_by_one(serve: Callable[[Answer], str]) -> None:
    """By all labels of a target, so that a name that both clusters have is not mixed; what is not there is empty."""
    queries: list[str] = []
    targets = [{"cluster": "east", "job": "y"}, {"cluster": "west", "job": "y"}, {}]

    def answer(_: str, body: str, __: dict[str, str]) -> tuple[int, bytes]:
        query = parse_qs(body)["query"][0]
        queries.append(query)
        up = {"__name__": "yoloscope_train_up", "instance": "x", "run": "r", "rank": "0"}
        asked = [target for target in targets if f'cluster="{target.get("cluster", "")}"' in query]
        found = targets if query.startswith(UPS) else asked
        result = [{"metric": {**up, **target}, "values": [[1, "1"], [2, "1"]]} for target in found]
        return 200, json.dumps({"data": {"result": result}}).encode()

    stores = read_prometheus(serve(answer), 60, now=10)
    assert sorted((store.cluster, store.job, store.name) for store in stores) == [
        ("", "", "x"), ("east", "y", "x"), ("west", "y", "x")
    ]  # fmt: skip
    assert [query.split("cluster=")[1] for query in queries[1:]] == [
        '"",job="",instance="x"}[60s]',
        '"east",job="y",instance="x"}[60s]',
        '"west",job="y",instance="x"}[60s]',
    ]
    read_prometheus(serve(answer), 60, "r", "east", now=10)
    assert f'{UPS},cluster="east",run="r"}}[60s]' in queries


def test_prometheus_refusals_are_passed_on(serve: Callable[[Answer], str]) -> None:
    """Its own words reach the user."""
    with pytest.raises(SourceError, match="query processing would load too many samples"):
        read_prometheus(serve(lambda *_: (422, b'{"error": "query processing would load too many samples"}')), 3600)


@pytest.mark.parametrize(
    "result",
    [
        b'{"a": 1}',
        b"3",
        b"[3]",
        b'[{"metric": {"run": 3}, "values": [[1, "1"]]}]',
        b'[{"metric": ["run"], "values": [[1, "1"]]}]',
        b'[{"metric": {"run": "r"}, "values": [[1, "x"]]}]',
        b'[{"metric": {"run": "r"}, "values": [[1]]}]',
        b'[{"metric": {"run": "r"}, "values": [[1e999, "1"]]}]',
        b'[{"metric": {"run": "r"}, "values": [["1", "1"]]}]',
        b'[{"metric": {"run": "r"}, "values": 7}]',
        b"[" * 100_000,
    ],
    ids=range(11),
)
def test_whoever_answers_in_its_place(serve: Callable[[Answer], str], result: bytes) -> None:
    """One line says that it is no Prometheus, whatever stands where its series should."""
    with pytest.raises(SourceError, match="is not a Prometheus"):
        read_prometheus(serve(lambda *_: (200, b'{"data": {"result": %s}}' % result)), 3600, now=10)


@contextlib.contextmanager
def prometheus_of(plain: Path, folder: Path) -> Iterator[str]:
    """A real server of a recording that promtool has loaded; the value is its address."""
    promtool, server = require_binary("promtool"), require_binary("prometheus")
    data = folder / "data"
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(plain), str(data)], check=True, capture_output=True
    )
    (folder / "prometheus.yml").write_text("global: {}\n")
    port = free_port()
    command = [server, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={data}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(lambda: get(f"http://127.0.0.1:{port}/-/ready"), timeout=60)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_a_real_prometheus_says_what_the_recording_says(tmp_path: Path) -> None:
    """A recording, loaded by promtool and asked for over the API of a real server, has the same series and findings."""
    plain = tmp_path / "a.om"
    plain.write_bytes(gzip.decompress(cases.path("straggler").read_bytes()))
    (recorded,) = reader.read(plain)
    with prometheus_of(plain, tmp_path) as url:
        (asked,) = read_prometheus(url, 3600, "train/yolo11m", now=recorded.last)
    assert not asked.skipped
    train = {key for key in recorded.series if "train" in key}
    assert train - set(asked.series) == set()
    told = [[(d.rank, [v.name for v in d.verdicts]) for d in diagnose_range([s]).diagnoses] for s in (recorded, asked)]
    assert told[0] == told[1]


def test_a_real_prometheus_knows_predictions_and_exports(tmp_path: Path) -> None:
    """Where no training is: the report and the diagnosis are those of the recording."""
    recorded = simulate("healthy", 1, 1, start=START, end=START + 300, step=5)
    plain = tmp_path / "a.om"
    plain.write_text("".join(line for line in lines(recorded) if "yoloscope_train" not in line))
    with prometheus_of(plain, tmp_path) as url:
        stores = {name: read_prometheus(url, 600, name, now=START + 300) for name in (SERVICE, EXPORT)}
    service, export = (runs.summarize(stores[name], name) for name in (SERVICE, EXPORT))
    (read,) = (runs.summarize([one], SERVICE) for one in reader.read(plain))
    told = [[verdict.name for _, verdict in summary.verdicts] for summary in (service, read)]
    assert told == [list(VERDICTS), list(VERDICTS)]
    assert {name: figure.value for name, figure in service.figures.items()} == {
        name: pytest.approx(figure.value) for name, figure in read.figures.items()
    }
    assert [(one.format, one.seconds, one.size) for one in export.exports] == [("engine", EXPORT_SECONDS, EXPORT_BYTES)]
