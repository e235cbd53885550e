"""The registry: every source in it, and the training runs for a service of one's own."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest, push_to_gateway, write_to_textfile
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from yoloscope_exporter import catalog, collectors, registry
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector
from yoloscope_exporter.config import defaults
from yoloscope_exporter.registry import Training
from yoloscope_exporter.sampling.exposition import Form
from yoloscope_exporter.sampling.sampler import Sampler
from yoloscope_exporter.sampling.sources import Source
from yoloscope_record.file_format import Identity
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer

from tests.conftest import require_binary
from tests.exporter import world
from tests.exporter.test_serve import TRAINER, process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from yoloscope_exporter.config import Config

BATCHES = catalog.TRAIN_BATCHES_TOTAL.name


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings of a node with two ranks of a finished run."""
    node = world.build(tmp_path / "node")
    paths = {"path_procfs": node.procfs, "path_sysfs": tmp_path / "node" / "sys", "path_records": node.records}
    return replace(defaults(), **paths, runs_keep=math.inf)


@contextmanager
def run(directory: Path) -> Iterator[None]:
    """A living run `demo`, in a process of its own."""
    with process(sys.executable, "-c", TRAINER, YOLOSCOPE_DIR=str(directory)) as trainer:
        assert trainer.stdout.readline() == "ready\n"
        time.sleep(0.1)  # some batches
        yield


def promtool(text: bytes) -> str:
    """What promtool has to say."""
    command = [require_binary("promtool"), "check", "metrics"]
    lint = subprocess.run(command, input=text, capture_output=True, check=False)
    return (lint.stdout + lint.stderr).decode()


# --- the whole node --------------------------------------------------------------------------------------------------


def test_every_family_is_described(config: Config) -> None:
    """What the registry gives was announced: hardware and training runs alike, without a GPU."""
    found = registry.build(config)
    described = {family.name: family for source in sources(found) for family in source.describe()}
    given = {family.name: family for family in found.collect()}
    assert set(given) <= set(described)
    assert {"yoloscope_cpu_cores", "yoloscope_train_batches", "yoloscope_build"} <= set(given)
    for name, family in given.items():
        announced = described[name]
        assert (family.type, family.unit, family.documentation) == (
            announced.type,
            announced.unit,
            announced.documentation,
        )


def sources(found: CollectorRegistry) -> list[registry.SampledCollector]:
    """The registry's collectors."""
    return list(found._collector_to_names)  # type: ignore[arg-type]


def test_the_catalogue_is_described(config: Config) -> None:
    """Every metric belongs to one source."""
    described = [family.name for source in sources(registry.build(config)) for family in source.describe()]
    assert len(described) == len(set(described)) == len(catalog.METRICS)


@pytest.mark.parametrize("module", collectors.MODULES)
def test_modules_publish_what_they_describe(module: str, tmp_path: Path) -> None:
    """No module publishes a metric of another one: the registry would have the family twice."""
    node = world.build(tmp_path)
    mine = {metric.name for metric in collectors.metrics(module)}
    assert mine
    for collector in collectors.build(module, node.context):
        with suppress(collectors.NoData), closing(collector):  # no GPU here
            assert {sample.metric.name for sample in collector.collect()} <= mine


def test_expositions_are_valid(config: Config) -> None:
    """Promtool has no complaint, and the strict parser reads OpenMetrics."""
    found = registry.build(config)
    assert promtool(generate_latest(found)) == ""
    assert list(openmetrics(generate_openmetrics(found).decode()))


def test_collects_when_asked(config: Config) -> None:
    """Without a sampler in the background every collection reads the sources once."""
    found, load = registry.build(config), config.path_procfs / "loadavg"
    for value in (1.0, 2.0, 3.0):
        load.write_text(f"{value} 0.0 0.0 1/2 3\n")
        assert found.get_sample_value(catalog.LOAD_AVERAGE.name, {"window": "1m"}) == value
        assert found.get_sample_value(catalog.COLLECTOR_UP.name, {"collector": "cpu"}) is not None
    only = found.restricted_registry([catalog.LOAD_AVERAGE.name])
    assert {sample.name for family in only.collect() for sample in family.samples} == {catalog.LOAD_AVERAGE.name}


def test_slow_sources_are_read_every_time() -> None:
    """A collection does not wait ten intervals for a slow source."""
    reads = count(1)
    collector = Collector("cpu", lambda: [Sample(catalog.CPU_CORES, (), float(next(reads)))], group=SLOW)
    sampler = Sampler([Source("cpu", collector)])
    found = registry.over(sampler)
    assert [found.get_sample_value(catalog.CPU_CORES.name) for _ in range(3)] == [1, 2, 3]
    sampler.stop()


def test_gives_the_newest_snapshot_while_sampling(config: Config) -> None:
    """While a sampler runs, its registry and its exposition are the same bytes, and nothing is read for it."""
    sampler, _ = registry.sampler_of(replace(config, sample_interval=5.0))
    found = registry.over(sampler)
    sampler.start()
    try:
        while not sampler.snapshot.time:
            time.sleep(0.01)
        cycles = sampler.cycles
        for generate, form in ((generate_latest, Form()), (generate_openmetrics, Form(openmetrics=True))):
            assert generate(found) == sampler.exposition(form)
        assert sampler.cycles <= cycles + 1
    finally:
        sampler.stop()


def test_switched_off_is_silent(config: Config) -> None:
    """A collector that is off is in the registry and gives nothing."""
    found = registry.build(replace(config, modules=config.modules - {"cpu"}))
    assert found.get_sample_value(catalog.CPU_CORES.name) is None
    assert found.get_sample_value(catalog.MEMORY_TOTAL_BYTES.name) is not None


# --- training runs for a service of one's own -----------------------------------------------------------------------


def test_training_beside_metrics_of_ones_own(tmp_path: Path) -> None:
    """The runs stand in a registry beside others' metrics, newest values at each collection, and once only."""
    mine = CollectorRegistry()
    Gauge("service_jobs", "Jobs.", registry=mine).set(3)
    mine.register(Training(tmp_path))
    labels = {"run": "demo", "rank": "0"}
    assert mine.get_sample_value(f"{BATCHES}", labels) is None
    with run(tmp_path):
        first = mine.get_sample_value(BATCHES, labels)
        time.sleep(0.2)
        assert 0 < first < mine.get_sample_value(BATCHES, labels)
        assert mine.get_sample_value(catalog.TRAIN_UP.name, labels) == 1
        text = generate_latest(mine)
        assert promtool(text) == ""
        assert b"service_jobs 3.0" in text
        only = mine.restricted_registry([BATCHES])
        assert [sample.name for family in only.collect() for sample in family.samples] == [BATCHES]
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        mine.register(Training(tmp_path))


def test_training_reads_where_the_hooks_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an argument it is YOLOSCOPE_DIR."""
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path))
    with run(tmp_path):
        assert BATCHES in {sample.name for family in Training().collect() for sample in family.samples}


def test_training_inside_the_process_that_trains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It reads nothing there, which would drop the record's lock: for all others the run is still alive."""
    identity = Identity("mine")
    with closing(Writer(run_directory(tmp_path, "mine") / identity.filename, identity, {})) as writer:
        writer.begin()
        writer.end(time.time())
        training = Training(tmp_path)
        assert [*training.collect(), *training.collect()] == []
        code = (
            "from yoloscope_exporter.registry import Training\n"
            f"print([s.value for f in Training().collect() for s in f.samples if s.name == {catalog.TRAIN_UP.name!r}])"
        )
        environment = {**os.environ, "YOLOSCOPE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", code]
        seen = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert seen.stdout == "[1.0]\n"
    assert len(caplog.records) == 1
    assert Training(tmp_path).collect()


def test_textfile(tmp_path: Path) -> None:
    """`write_to_textfile` leaves the runs for node_exporter's textfile collector."""
    mine = CollectorRegistry()
    mine.register(Training(tmp_path / "records"))
    file = tmp_path / "textfile" / "yoloscope.prom"
    file.parent.mkdir()
    with run(tmp_path / "records"):
        write_to_textfile(str(file), mine)
    assert promtool(file.read_bytes()) == ""
    families = text_string_to_metric_families(file.read_text())
    (batches,) = [sample.value for family in families for sample in family.samples if sample.name == BATCHES]
    assert batches > 0


@contextmanager
def pushgateway() -> Iterator[str]:
    """A Pushgateway on a free port, and its address."""
    binary = require_binary("prometheus-pushgateway")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [binary, f"--web.listen-address={address}", "--log.level=error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ}) as process:
        try:
            for _ in range(500):
                try:
                    read(f"http://{address}/-/ready")
                    break
                except OSError:
                    time.sleep(0.02)
            yield address
        finally:
            process.terminate()


def read(url: str) -> str:
    """What is there."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def test_pushgateway(tmp_path: Path) -> None:
    """`push_to_gateway` leaves the run's series in a Pushgateway, where they stay when the run is over."""
    mine = CollectorRegistry()
    mine.register(Training(tmp_path))
    with pushgateway() as address:
        with run(tmp_path):
            push_to_gateway(address, job="training", grouping_key={"instance": "gpu7"}, registry=mine)
        families = text_string_to_metric_families(read(f"http://{address}/metrics"))
        held = [sample for family in families for sample in family.samples if sample.name == BATCHES]
    (sample,) = held
    assert sample.labels == {"instance": "gpu7", "job": "training", "run": "demo", "rank": "0"}
    assert sample.value > 0
