"""What every collector keeps to, and one exposition of a whole node."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from yoloscope_exporter import catalog, collectors, registry
from yoloscope_exporter.collectors import NoData
from yoloscope_exporter.sampling.exposition import Families, Form
from yoloscope_exporter.sampling.sampler import Sampler
from yoloscope_exporter.sampling.sources import Source

from tests.conftest import require_binary
from tests.exporter import world

GOLDEN = Path(__file__).parent / "golden" / "node.prom"
VARYING = re.compile(r"(?m)^yoloscope_(build_info|collector_duration_seconds|filesystem_\w+_bytes)(\{.*?)? .*\n")

each_module = pytest.mark.parametrize("module", collectors.MODULES)


@each_module
def test_collects_twice_and_closes_twice(tmp_path: Path, module: str) -> None:
    """Two collections give valid samples of the catalogue, counters do not fall, and closing twice is harmless."""
    node = world.build(tmp_path)
    for collector in collectors.build(module, node.context):
        try:
            first, second = world.values(collector), world.values(collector)
        except NoData:
            continue  # no GPU here
        finally:
            collector.close()
            collector.close()
        for (name, labels), value in first.items():
            metric = catalog.BY_NAME[name]
            assert len(labels) == len(metric.labels)
            assert metric.kind != catalog.COUNTER or second[name, labels] >= value


@each_module
def test_survives_its_source_vanishing(tmp_path: Path, module: str) -> None:
    """With /proc, /sys and the records gone in the middle, a collector says so or is silent, and comes back."""
    node = world.build(tmp_path / "node")
    for collector in collectors.build(module, node.context):
        before = _outcome(collector)
        shutil.move(tmp_path / "node", tmp_path / "gone")
        assert _outcome(collector) in ("OSError", "NoData", "nothing")
        shutil.move(tmp_path / "gone", tmp_path / "node")
        assert _outcome(collector) == before
        collector.close()


def _outcome(collector: collectors.Collector) -> str:
    try:
        return "samples" if list(collector.collect()) else "nothing"
    except NoData:
        return "NoData"
    except OSError:
        return "OSError"


def exposition(node: world.World) -> str:
    """The text of one cycle over all collectors but the GPU's, without what differs from machine to machine."""
    context = node.context
    sources = [
        Source(module, collector)
        for module in collectors.MODULES
        if module != "gpu"
        for collector in collectors.build(module, context)
    ]
    sampler = Sampler(sources, interval=30.0, clock=context.clock, wall=context.wall)
    try:
        sampler.cycle()
        text = sampler.exposition(Form()).decode()
        assert generate_latest(registry.over(sampler)).decode() == text
        whole = Families(
            family for name in (collectors.EXPORTER, *collectors.MODULES) for family in sampler.families(name)
        )
        assert generate_openmetrics(whole) == sampler.exposition(Form(openmetrics=True))
    finally:
        sampler.stop()
    owner = pwd.getpwuid(os.getuid()).pw_name
    return VARYING.sub("", text).replace(f'user="{owner}"', 'user="OWNER"')


def test_golden_exposition(tmp_path: Path) -> None:
    """A node's exposition is the committed one; YOLOSCOPE_UPDATE_GOLDEN=1 writes it anew."""
    text = exposition(world.build(tmp_path))
    if os.environ.get("YOLOSCOPE_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_golden_exposition_passes_promtool() -> None:
    """Promtool has no complaint about it."""
    promtool = require_binary("promtool")
    command = [promtool, "check", "metrics"]
    lint = subprocess.run(command, input=GOLDEN.read_text(), capture_output=True, text=True, check=False)
    assert lint.stdout + lint.stderr == ""


def test_golden_exposition_has_every_metric_of_the_host() -> None:
    """Nothing of the catalogue's host, cgroup and process rows is left out by every fixture."""
    text = GOLDEN.read_text(encoding="utf-8")
    rows = ("cpu", "load", "context", "memory", "swap", "disk", "network", "pressure", "cgroup")
    wanted = [m.name for m in catalog.METRICS if m.area in rows or m.labels == ("run", "rank", "role")]
    assert [name for name in wanted if f"\n{name}{{" not in text and f"\n{name} " not in text] == []
