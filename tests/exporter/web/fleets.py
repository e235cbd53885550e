"""A real Prometheus with a quarter of an hour of three nodes in two clusters, and a page that shows it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.simulation import simulate
from yoloscope_exporter.simulation.openmetrics import lines
from yoloscope_exporter.web.application import application
from yoloscope_exporter.web.fleet import Fleet
from yoloscope_exporter.web.fleet_api import FleetApi

from tests.exporter.serving import idle_sampler, running
from tests.prometheus import prometheus, promtool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START, SECONDS, STEP = 1_790_000_000, 900, 15
END = START + SECONDS
#: Runs by what is the matter with them; the last has the name of the first, in another cluster.
STARVED, HEALTHY = "train/yolo11m-0000", "train/yolo11m-0001"


@contextmanager
def filled(directory: Path) -> Iterator[str]:
    """A Prometheus with two nodes in the cluster east, one that starves and one that is healthy, and one in west."""
    scrapes = list(simulate(["starved", "healthy"], 2, 2, start=START, end=END, step=STEP, workers=2, onset=0, speed=4))
    east = [line.replace("{", '{cluster="east",', 1) if line.startswith("yolo") else line for line in lines(scrapes)]
    west = [
        line.replace("east", "west", 1)
        for line in east
        if "node0000" in line and line.startswith("yolo") and "_train_verdict" not in line
    ]
    text = directory / "samples.txt"
    text.write_text("".join([*east[:-1], *west, east[-1]]), encoding="utf-8")
    promtool("openmetrics", str(text), str(directory / "data"))
    with prometheus(directory) as url:
        yield url


class Shown(NamedTuple):
    """A page that shows a Prometheus."""

    url: str
    api: FleetApi


@contextmanager
def showing(prometheus_url: str) -> Iterator[Shown]:
    """An exporter's server whose page shows a Prometheus."""
    api = FleetApi(Fleet(prometheus_url))
    with idle_sampler() as sampler, running(application(sampler, api=api)) as server:
        try:
            yield Shown(server.url, api)
        finally:
            api.close()
