"""A real Prometheus with half an hour of six simulated nodes in it: one trains well, five do not.

The samples come from `yoloscope_exporter.simulation`, the recorded series from Prometheus itself, which evaluates the
committed rules over the past. Written by hand are `ALERTS`, because Prometheus evaluates no alert over the past, and
mishaps that no scenario has.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import catalog as m
from yoloscope_exporter.simulation import SCENARIOS, Scrape, prediction, simulate
from yoloscope_exporter.simulation.openmetrics import lines

from dashboards.look import ABSENT
from deploy.prometheus.rulebook.records import PRICES
from tests.dashboards import grafana
from tests.dashboards.queries import variables
from tests.live import get
from tests.prometheus import prometheus, promtool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RULES = sorted((Path(__file__).parents[2] / "deploy/prometheus/rules").glob("*.yml"))
START = 1_790_000_000
STEP, SECONDS = 15, 1800
END = START + SECONDS
#: Scenario -> the run that suffers from it. The healthy one has a name of the kind that people give.
RUNS = {name: f"train/yolo11m-{number:04d}" for number, name in enumerate(SCENARIOS)}
AWKWARD = 'it\'s/the "best".+(最后|a\\b) $1 [2]{3}-#4'
_SIMULATED = RUNS["healthy"]
RUNS["healthy"] = AWKWARD
#: Run -> the node it is on.
NODES = {run: f"node{number:04d}:9911" for number, run in enumerate(RUNS.values())}
#: The same of what predicts, and of what has exported.
PREDICTIONS = dict.fromkeys((prediction.SERVICE, prediction.EXPORT), NODES[AWKWARD])


def runs_of(name: str) -> dict[str, str]:
    """Runs and their nodes that dashboard `name` is asked for, one first that is well."""
    return PREDICTIONS if "prediction" in variables(name) else NODES


#: One on a training, one on a prediction.
ALERTS = tuple(
    f'ALERTS{{alertname="{name}",alertstate="firing",category="{category}",severity="warning",run="{run}"}}'
    for name, category, run in (
        ("GpuUtilizationDrop", "utilisation", RUNS["starved"]),
        ("InferenceSlow", "inference", prediction.SERVICE),
    )
)
MISHAP = f'{{instance="node0002:9911",job="yoloscope",run="{RUNS["leak"]}",rank="64"}}'
#: A run that has finished and started before all others, and what things cost.
FINISHED = "done before"
_OLD = f'{{instance="node0002:9911",job="yoloscope",run="{FINISHED}",rank="0"'
OTHERS = {
    f"{m.TRAIN_START_TIMESTAMP_SECONDS.name}{_OLD}}}": START - 3600,
    f"{m.TRAIN_UP.name}{_OLD}}}": 0,
    f'{m.TRAIN_STATE.name}{_OLD},state="finished"}}': 1,
} | {price.name: 2 for price in PRICES}
#: The workers of one run that take three times as long as the others.
SLOW = (m.TRAIN_WORKER_BATCH_SECONDS_TOTAL.name, f'run="{RUNS["starved"]}"', 'worker="3"')
MISHAPS = (m.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, m.TRAIN_NAN_RECOVERIES_TOTAL, m.TRAIN_WORKER_RESTARTS_TOTAL)


@dataclass(frozen=True)
class Answer:
    """What a query gave.

    Attributes:
        series: those that say something: a number, and not n/a all the time.
        numbers: whether all of it is numbers; NaN and infinity would be shown as they stand.
        samples: those Prometheus had to read.
        milliseconds: how long it took.
    """

    series: int
    numbers: bool
    samples: int
    milliseconds: float


@dataclass(frozen=True)
class World:
    """A running Prometheus, the time of its data in Unix seconds, and how often it was scraped."""

    url: str
    start: int = START
    end: int = END
    step: int = STEP

    def ask(self, expr: str, *, instant: bool) -> Answer:
        """Run a query as Grafana would, over all of the data or at its end."""
        times = {"time": self.end} if instant else {"start": self.start, "end": self.end, "step": self.step}
        path = "query" if instant else "query_range"
        parameters = urllib.parse.urlencode({"query": expr, **times, "stats": "all"})
        data = json.loads(get(f"{self.url}/api/v1/{path}?{parameters}", timeout=30))["data"]
        stats: dict[str, Any] = data["stats"]
        found = [list(_values(series)) for series in data["result"]]
        return Answer(
            sum(any(math.isfinite(value) and value != ABSENT for value in values) for values in found),
            all(math.isfinite(value) for values in found for value in values),
            stats["samples"]["totalQueryableSamples"],
            1000 * stats["timings"]["evalTotalTime"],
        )

    def filled(self, name: str, expr: str, run: str, run_a: str, nodes: list[str]) -> str:
        """An expression of dashboard `name` as Grafana sends it: the runs and their nodes chosen, all else on All."""
        macros = {
            "__rate_interval": f"{4 * self.step}s",
            "__range": f"{self.end - self.start}s",
            "__interval": f"{self.step}s",
        }
        runs = {"run": run, "run_a": run_a, "prediction": run, "node": nodes}
        everything = dict.fromkeys(("cluster", "job", "instance", "rank", "gpu"), grafana.ALL)
        return grafana.interpolate(expr, variables(name), macros | runs | everything)

    def offered(self, variable: dict[str, Any], query: str) -> list[str]:
        """What Grafana offers for a variable that is the result of `query`: the first is what it shows at first."""
        expr = query.removeprefix("query_result(").removesuffix(")")
        parameters = urllib.parse.urlencode({"query": expr, "time": self.end})
        found = json.loads(get(f"{self.url}/api/v1/query?{parameters}", timeout=30))["data"]["result"]
        texts = [
            "{" + ",".join(f'{label}="{value}"' for label, value in one["metric"].items()) + "} "
            f"{one['value'][1]} {one['value'][0] * 1000:.0f}"
            for one in found
        ]
        matches = [re.match(variable["regex"].strip("/"), text) for text in texts]
        return [match[1] for match in matches if match]

    def values(self, selector: str, label: str) -> list[str]:
        """What Grafana offers for a variable: the values of a label."""
        parameters = urllib.parse.urlencode({"match[]": selector, "start": self.start, "end": self.end})
        return list(json.loads(get(f"{self.url}/api/v1/label/{label}/values?{parameters}"))["data"])


def _values(series: dict[str, Any]) -> Iterator[float]:
    for _, value in series.get("values") or [series["value"]]:
        yield float(value)


@contextlib.contextmanager
def world(directory: Path, *, nodes: int = len(SCENARIOS), gpus: int = 2, seconds: int = SECONDS) -> Iterator[World]:
    """Fill a data directory, let Prometheus evaluate the rules over it, and serve both.

    Of more nodes than scenarios, node i has scenario i modulo their count.
    """
    end = START + seconds
    scrapes = simulate(list(SCENARIOS), nodes=nodes, gpus=gpus, start=START, end=end, step=STEP, speed=4)
    text = directory / "samples.txt"
    with text.open("w", encoding="utf-8") as file:
        file.writelines(_with_mishaps(scrapes, end))
    data = directory / "data"
    promtool("openmetrics", str(text), str(data))
    with prometheus(directory) as url:
        times = (f"--start={START}", f"--end={end}", f"--eval-interval={STEP}s")
        promtool("rules", f"--url={url}", *times, f"--output-dir={data}", *map(str, RULES))
    with prometheus(directory) as url:
        yield World(url, end=end)


def _with_mishaps(scrapes: Iterable[Scrape], end: int) -> Iterator[str]:
    """The simulation's lines, one run configured otherwise, and what the simulation lacks."""
    yield "# TYPE ALERTS unknown\n"
    for line in lines(scrapes):
        if line != "# EOF\n":
            renamed = line.replace(f'run="{_SIMULATED}"', f'run="{_escaped(AWKWARD)}"')
            yield _slowed(renamed.replace('imgsz="640"', 'imgsz="1280"') if RUNS["starved"] in line else renamed)
    for time in range(START + (end - START) // 4, end + 1, STEP):
        late = time >= START + (end - START) // 2
        yield from (f"{series} {value} {time}.000\n" for series, value in OTHERS.items())
        yield from (f"{metric.name}{MISHAP} {int(late)} {time}.000\n" for metric in MISHAPS)
        if late:
            yield from (f"{alert} 1 {time}.000\n" for alert in ALERTS)
    yield "# EOF\n"


def _slowed(line: str) -> str:
    if not all(part in line for part in SLOW):
        return line
    series, value, time = line.rsplit(" ", 2)
    return f"{series} {3 * float(value)} {time}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
