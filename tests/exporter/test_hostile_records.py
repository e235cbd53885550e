"""Records with what no training says beside one of a training: everything goes on, and the training has its verdict."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from yoloscope_exporter.cli import main

from tests.exporter.test_serve import exporter, get, process, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A training that waits for data, and beside it in the same process records with odd facts, numbers and histograms.
TRAINER = """
import math, sys, time
from pathlib import Path
from yoloscope_record import paths
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
from yoloscope_exporter import catalog

base = paths.make_directory(paths.directory())

def writer(run, rank="0", facts={}):
    identity = Identity(run, rank)
    return Writer(paths.run_directory(base, run) / identity.filename, identity, facts, ring=64)

def everything(writer, run, rank):
    first = {}
    for metric in catalog.METRICS:
        if metric.labels[:2] != ("run", "rank") or "role" in metric.labels or metric.kind == catalog.INFO:
            continue
        values = {"phase": catalog.PHASES, "kind": ("allocated", "peak_reserved"), "worker": ("0", "1"),
                  "name": ("mAP50-95",)}.get((*metric.labels, "")[2], ("x",))
        for value in values:
            labels = (run, rank, value)[:len(metric.labels)]
            make = writer.histogram if metric.kind == catalog.HISTOGRAM else writer.slot
            first[metric.name, value] = (make(metric, *labels), metric)
    return first

good = writer("good", facts={"world_size": "1", "imgsz": "640", "device": "0"})
count = {m: good.slot(m, "good", "0") for m in (catalog.TRAIN_BATCHES_TOTAL, catalog.TRAIN_IMAGES_TOTAL)}
phase = {p: good.slot(catalog.TRAIN_PHASE_SECONDS_TOTAL, "good", "0", p) for p in ("data_wait", "forward")}
workers = good.slot(catalog.TRAIN_WORKERS, "good", "0")
good.begin(); good.set_state("train"); good.values[workers] = 0.0; good.end(time.time())

FACTS = {"world_size": "²", "imgsz": "²²", "cuda": "1².٣", "torch": "x", "batch": "-", "device": "cpu"}
NUMBERS = {"huge": 1.7e308, "minus": -1.7e308, "tiny": 5e-324, "zero": 0.0, "half": 0.5, "past": 1e300, "edge": 1e21}
odd = []
for run, number in NUMBERS.items():
    for rank in ("0", "1"):
        made = writer(run, rank, FACTS)
        odd.append((made, everything(made, run, rank), number))
long = writer("long", facts={"world_size": "9" * 256, "imgsz": "9" * 256, "cuda": "9" * 200 + "." + "9" * 50})
odd.append((long, everything(long, "long", "0"), 1e15))

for step in range(1, 100000):
    now = time.time()
    good.begin()
    for slot in count.values():
        good.values[slot] += 1
    good.values[phase["data_wait"]] += 0.03
    good.values[phase["forward"]] += 0.01
    good.append((now, 0.03, 0.01, math.nan, math.nan, math.nan, math.nan, 1.0))
    good.count()
    good.end(now)
    for made, slots, number in odd:
        made.begin()
        made.set_state("train")
        for slot, metric in slots.values():
            for place in range(len(metric.buckets) + 2 if metric.buckets else 1):
                made.values[slot + place] = number * (step if metric.kind == catalog.COUNTER and step % 3 else 1)
        made.append((number, number, -number, number, math.inf, math.nan, number, number))
        made.count()
        made.append((now, number, -number, number, math.inf, math.nan, number, number))
        made.end(number)
    if step == 2:
        print("ready", flush=True)
    time.sleep(0.02)
"""


def refuse(constant: str) -> NoReturn:
    """JSON knows neither Infinity nor NaN."""
    raise AssertionError(constant)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """The URL of an exporter over such records, their directory, and its diagnosis once it knows the training."""
    base = tmp_path_factory.mktemp("hostile")
    environment = {"YOLOSCOPE_DIR": str(base), "PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        process(sys.executable, "-c", TRAINER, **environment) as trainer,
        exporter("--diagnosis.window=5s", **environment) as (_, url),
    ):
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "ready\n"
        found: dict[str, Any] = {}

        def judged() -> bool:
            answer = json.loads(get(f"{url}/api/v1/diagnosis")[1], parse_constant=refuse)
            found.update(answer)
            return any(verdict["name"] == "loader_workers" for verdict in _of(answer, "good")["verdicts"])

        wait_for(judged, 30)
        yield url, base, found


def _of(document: dict[str, Any], run: str) -> dict[str, Any]:
    return next((rank for rank in document["runs"] if rank["run"] == run), {"verdicts": []})


RUNS = ("good", "huge", "minus", "tiny", "zero", "half", "past", "edge", "long")


def test_everybody_is_judged(node: tuple[str, Path, dict[str, Any]]) -> None:
    """All ranks are in the diagnosis, and no rule has failed for any of them."""
    _, _, document = node
    assert {rank["run"] for rank in document["runs"]} == set(RUNS)
    assert document["notes"] == []


def test_metrics_and_live_page(node: tuple[str, Path, dict[str, Any]]) -> None:
    """The exposition is valid, its numbers are such as can be true, no collector is down."""
    url, _, _ = node
    families = list(openmetrics(get(f"{url}/metrics", Accept="application/openmetrics-text;version=1.0.0")[1]))
    samples = [sample for family in families for sample in family.samples]
    assert {sample.labels["run"] for sample in samples if sample.name == "yoloscope_train_up"} == set(RUNS)
    assert all(abs(sample.value) < 1e23 for sample in samples if sample.labels.get("run"))  # buckets add up
    down = {s.labels["collector"] for s in samples if s.name == "yoloscope_collector_up" and not s.value}
    assert not down & {"runs", "diagnosis"}
    for path in ("runs", *(f"run?run={run}" for run in RUNS), "gpus", "events"):
        status, told, _ = get(f"{url}/api/v1/{path}")
        assert (status, json.loads(told, parse_constant=refuse)["fresh"]) == (200, True)


@pytest.mark.parametrize("form", ["json", "text", "markdown"])
def test_diagnose(node: tuple[str, Path, dict[str, Any]], form: str) -> None:
    """It names the training and what is wrong with it."""
    url, _, _ = node
    result = CliRunner().invoke(main, ["diagnose", "--exporter", url, "--format", form])
    assert result.exit_code == 1, result.output
    assert "loader_workers" in result.output
    if form == "json":
        json.loads(result.stdout, parse_constant=refuse)


def test_top(node: tuple[str, Path, dict[str, Any]]) -> None:
    """One frame with everybody in it, drawn."""
    url, _, _ = node
    result = CliRunner().invoke(main, ["top", "--once", "--interval", "300ms", "--exporter", url])
    assert result.exit_code == 0, result.output
    for run in RUNS:
        assert f"{run} · rank 0" in result.output
    assert "cannot be shown" not in result.output


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("options", [(), ("--black-box",)])
def test_report(node: tuple[str, Path, dict[str, Any]], tmp_path: Path, run: str, options: tuple[str, ...]) -> None:
    """Of the training as of each of the others, as text and as a page."""
    _, base, _ = node
    arguments = ["report", run, "--records", str(base), "--html", str(tmp_path / "report.html"), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert run in result.output
    assert " failed for " not in result.output


def test_two_reports(node: tuple[str, Path, dict[str, Any]], tmp_path: Path) -> None:
    """Side by side."""
    _, base, _ = node
    for other in RUNS[1:]:
        arguments = ["report", "good", other, "--records", str(base), "--html", str(tmp_path / "report.html")]
        assert CliRunner().invoke(main, arguments).exit_code == 0
