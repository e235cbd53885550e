"""How many nodes one Prometheus carries: simulated nodes, the shipped rules, a real Prometheus and VictoriaMetrics.

    python tests/benchmarks/bench_scale.py                              # 25 nodes of 8 GPUs, some minutes
    python tests/benchmarks/bench_scale.py --nodes 125 --minutes 10     # 1,000 GPUs
    python tests/benchmarks/bench_scale.py ... --write                  # put the figures into docs/scale.md

Everything runs on this machine: the nodes (one process), Prometheus, and VictoriaMetrics, which Prometheus writes to.
The latter is Debian's package `victoria-metrics`; without it that part is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")]

import yaml  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from yoloscope_exporter.catalog import HistogramValue, Sample  # noqa: E402
from yoloscope_exporter.simulation import SCENARIOS, fleet  # noqa: E402
from yoloscope_exporter.simulation.prediction import SERVICE  # noqa: E402

from tests import live  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCUMENT = ROOT / "docs/scale.md"
GPUS, WORKERS = 8, 8
REPEATS = 3
SLOWEST = 8
PAPER = (1_000, 10_000)
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")


# --- cardinality -----------------------------------------------------------------------------------------------------
def series(samples: list[Sample]) -> int:
    """How many series the samples are: a histogram is one per bucket, +Inf, sum and count."""
    return sum(len(s.value.counts) + 2 if isinstance(s.value, HistogramValue) else 1 for s in samples)


@dataclass(frozen=True)
class Budget:
    """Series of a node = host + gpus * gpu + ranks * rank + ranks * workers * worker."""

    host: int
    gpu: int
    rank: int
    worker: int

    def node(self, gpus: int, ranks: int, workers: int) -> int:
        """Series of one node."""
        return self.host + gpus * self.gpu + ranks * (self.rank + workers * self.worker)


def budget() -> Budget:
    """The budget, from the differences between simulated nodes in full swing."""

    def count(gpus: int, ranks: int, workers: int) -> int:
        made = fleet("healthy", 1, gpus, start=0.0, ranks=ranks, workers=workers)
        return series(made.node(next(iter(made.trainings)), 1000.0))

    # with two ranks at least, so that `backward` is split
    base, gpu, rank, worker = count(3, 2, 1), count(4, 2, 1), count(3, 3, 1), count(3, 2, 2)
    per_worker = (worker - base) // 2
    per_rank = rank - base - per_worker
    return Budget(base - 3 * (gpu - base) - 2 * (per_rank + per_worker), gpu - base, per_rank, per_worker)


# --- the servers -----------------------------------------------------------------------------------------------------
@contextmanager
def simulator(nodes: int, targets: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`yoloscope simulate`, all scenarios in turn."""
    scenarios = [f"--scenario={name}" for name in SCENARIOS]
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "simulate", f"--nodes={nodes}", f"--gpus={GPUS}"]
    places = [f"--web.listen-address=127.0.0.1:{live.free_port()}", f"--targets={targets}"]
    with log.open("wb") as sink:
        process = subprocess.Popen([*command, *places, *scenarios], stdout=sink, stderr=sink, env=_environment())
    try:
        live.wait_for(targets.exists, what="yoloscope simulate")
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "exporter"), str(ROOT / "trainer_hooks")))}


@contextmanager
def victoriametrics(directory: Path) -> Iterator[str | None]:
    """A single-node VictoriaMetrics, or None where the program is missing."""
    program = shutil.which("victoria-metrics")
    if program is None:
        yield None
        return
    address = f"127.0.0.1:{live.free_port()}"
    command = [program, f"-storageDataPath={directory}/victoria", f"-httpListenAddr={address}"]
    with live.running(command, directory / "victoria.log", f"http://{address}") as url:
        yield url


@contextmanager
def prometheus(directory: Path, interval: int, remote: str | None) -> Iterator[str]:
    """Prometheus on the shipped configuration and rules, another scrape interval and perhaps a remote write."""
    home = directory / "prometheus"
    shutil.copytree(ROOT / "deploy/prometheus/rules", home / "rules")
    (home / "targets").mkdir()
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    config["global"] |= {"scrape_interval": f"{interval}s", "scrape_timeout": f"{min(10, interval)}s"}
    if remote:
        config["remote_write"] = [{"url": f"{remote}/api/v1/write"}]
    (home / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = live.free_port()
    command = [
        "prometheus",
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with live.running(command, directory / "prometheus.log", f"http://127.0.0.1:{port}") as url:
        yield url


# --- what they say ---------------------------------------------------------------------------------------------------
def own_metrics(url: str) -> dict[str, list[float]]:
    """A server's metrics about itself: all values of each name."""
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(live.get(f"{url}/metrics", timeout=30)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.value)
    return found


def _one(metrics: dict[str, list[float]], name: str) -> float:
    return sum(metrics.get(name, []))


def ask(url: str, path: str, **parameters: object) -> list[Any]:
    """Result of a query; raises RuntimeError with the server's words."""
    try:
        answer = json.loads(live.get(f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=120))
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()[:300]) from error
    result: list[Any] = answer["data"]["result"]
    return result


@dataclass(frozen=True)
class Load:
    """What Prometheus did in the window."""

    nodes: int
    series: float
    samples_per_second: float
    scrape_p50: float
    scrape_p99: float
    cpu_cores: float
    resident: float
    rules: float
    simulator_cores: float
    victoria_resident: float
    victoria_cores: float


def observe(nodes: int, url: str, victoria: str | None, simulated: int, seconds: float) -> Load:
    """Watch for `seconds`, everything being up."""
    before, began = own_metrics(url), time.monotonic()
    victoria_before = own_metrics(victoria) if victoria else {}
    cpu_before = _cpu_seconds(simulated)
    time.sleep(seconds)
    after, passed = own_metrics(url), time.monotonic() - began
    victoria_after = own_metrics(victoria) if victoria else {}

    def rate(name: str, first: dict[str, list[float]], last: dict[str, list[float]]) -> float:
        return (_one(last, name) - _one(first, name)) / passed

    durations = [float(found["value"][1]) for found in ask(url, "query", query="scrape_duration_seconds")]
    return Load(
        nodes,
        _one(after, "prometheus_tsdb_head_series"),
        rate("prometheus_tsdb_head_samples_appended_total", before, after),
        median(durations),
        quantiles(durations, n=100)[98],
        rate("process_cpu_seconds_total", before, after),
        _one(after, "process_resident_memory_bytes"),
        _one(after, "prometheus_rule_group_last_duration_seconds"),
        (_cpu_seconds(simulated) - cpu_before) / passed,
        _one(victoria_after, "process_resident_memory_bytes"),
        rate("process_cpu_seconds_total", victoria_before, victoria_after),
    )


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the dashboards' queries -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Query:
    """One query of a panel, its variables filled in."""

    dashboard: str
    panel: str
    expr: str
    instant: bool


def queries(interval: int) -> list[Query]:
    """Every query of the English dashboards: the fleet's over everything, all others for one node and its run."""
    found = []
    for path in sorted((ROOT / "dashboards/generated/en").glob("*.json")):
        values = {"__rate_interval": f"{4 * interval}s", "__interval": f"{interval}s", "__range": "10m"}
        if path.stem != "fleet":
            values |= {"run": "train/yolo11m-0000", "prediction": SERVICE, "instance": "node0000:9911"}
        for panel in _panels(json.loads(path.read_text(encoding="utf-8"))):
            for target in panel.get("targets", []):
                expr = _VARIABLE.sub(lambda match, values=values: values.get(match[1], ".*"), target["expr"])
                found.append(Query(path.stem, panel.get("title", ""), expr, bool(target.get("instant"))))
    return found


def _panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


@dataclass(frozen=True)
class Answer:
    """How long a query took (median of some), and how many series it gave; -1 with an error."""

    seconds: float
    found: int
    error: str = ""


def answer(url: str, query: Query, end: float, span: float, step: float) -> Answer:
    """Ask as Grafana would: once for a table or a number, over the span for a curve."""
    times, found = [], 0
    for _ in range(REPEATS):
        began = time.perf_counter()
        try:
            if query.instant:
                found = len(ask(url, "query", query=query.expr, time=end))
            else:
                found = len(ask(url, "query_range", query=query.expr, start=end - span, end=end, step=step))
        except RuntimeError as error:
            return Answer(0.0, -1, str(error))
        times.append(time.perf_counter() - began)
    return Answer(median(times), found)


# --- the whole run ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Outcome:
    """Everything measured for one number of nodes."""

    load: Load
    queries: list[Query]
    prometheus: list[Answer]
    victoria: list[Answer]
    span: float


def measure(nodes: int, minutes: float, interval: int, *, remote: bool) -> Outcome:
    """Start everything, wait until every node is up, watch, then ask the dashboards' queries."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yoloscope-scale-")))
        victoria = stack.enter_context(victoriametrics(directory)) if remote else None
        url = stack.enter_context(prometheus(directory, interval, victoria))
        targets = directory / "prometheus/targets/exporter-simulated.yml"
        process = stack.enter_context(simulator(nodes, targets, directory / "simulate.log"))
        everybody = lambda: len(ask(url, "query", query='up{job="yoloscope"} == 1')) == nodes  # noqa: E731
        live.wait_for(everybody, timeout=120, every=2, what=f"{nodes} nodes up")
        load = observe(nodes, url, victoria, process.pid, minutes * 60)
        asked, end, span = queries(interval), time.time() - 2 * interval, minutes * 60 - interval
        answers = [answer(url, query, end, span, interval) for query in asked]
        theirs = [answer(victoria, query, end, span, interval) for query in asked] if victoria else []
        return Outcome(load, asked, answers, theirs, span)


# --- the report ------------------------------------------------------------------------------------------------------
def report(outcomes: list[Outcome], interval: int) -> str:
    """The tables, as Markdown."""
    loads = [outcome.load for outcome in outcomes]
    rows = [
        ("GPUs", [f"{load.nodes * GPUS:,}" for load in loads]),
        ("series in the head", [f"{load.series:,.0f}" for load in loads]),
        ("samples/s", [f"{load.samples_per_second:,.0f}" for load in loads]),
        (
            "scrape duration p50 / p99",
            [_milliseconds(load.scrape_p50, load.scrape_p99) for load in loads],
        ),
        ("Prometheus CPU", [f"{load.cpu_cores:.2f} cores" for load in loads]),
        ("Prometheus resident memory", [f"{load.resident / 2**30:.2f} GiB" for load in loads]),
        ("... per series", [f"{load.resident / load.series / 1024:.1f} KiB" for load in loads]),
        ("all rules, one evaluation", [f"{load.rules * 1e3:.0f} ms" for load in loads]),
        ("simulator CPU", [f"{load.simulator_cores:.2f} cores" for load in loads]),
        ("VictoriaMetrics CPU", [_or_dash(load, f"{load.victoria_cores:.2f} cores") for load in loads]),
        ("VictoriaMetrics memory", [_or_dash(load, f"{load.victoria_resident / 2**30:.2f} GiB") for load in loads]),
    ]
    head = "| | " + " | ".join(f"{load.nodes} nodes" for load in loads) + " |"
    lines = [head, "|---" * (len(loads) + 1) + "|", *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    lines += ["", f"Measured on {machine}; scrape interval {interval} s, rules every 15 s."]
    lines += ["", *_panel_lines(outcomes[-1]), "", *_budget_lines()]
    return "\n".join(lines)


def extrapolation(loads: list[Load]) -> str:
    """What 1,000 and 10,000 GPUs would take: a straight line through the smallest and the largest run."""
    first, last = loads[0], loads[-1]

    def at(gpus: int, value: Callable[[Load], float]) -> float:
        slope = (value(last) - value(first)) / (last.nodes - first.nodes)
        return value(last) + slope * (gpus / GPUS - last.nodes)

    rows: tuple[tuple[str, Callable[[Load], float], str], ...] = (
        ("series in the head", lambda load: load.series, "{:,.0f}"),
        ("samples/s", lambda load: load.samples_per_second, "{:,.0f}"),
        ("Prometheus CPU, cores", lambda load: load.cpu_cores, "{:.1f}"),
        ("Prometheus resident memory, GiB", lambda load: load.resident / 2**30, "{:.1f}"),
        ("all rules, one evaluation, s", lambda load: load.rules, "{:.1f}"),
    )
    lines = [f"| {name} | {' | '.join(form.format(at(gpus, value)) for gpus in PAPER)} |" for name, value, form in rows]
    return "\n".join(["| | " + " | ".join(f"{gpus:,} GPUs" for gpus in PAPER) + " |", "|---|---|---|", *lines])


def _milliseconds(*seconds: float) -> str:
    return " / ".join(f"{each * 1e3:.0f}" for each in seconds) + " ms"


def _or_dash(load: Load, text: str) -> str:
    return text if load.victoria_resident else "not run"


def _panel_lines(outcome: Outcome) -> list[str]:
    ranked = sorted(zip(outcome.queries, outcome.prometheus, strict=True), key=lambda pair: -pair[1].seconds)
    yield_ = [f"Slowest panels at {outcome.load.nodes} nodes, {outcome.span / 60:.0f} minutes of data:", ""]
    lines = [*yield_, "| dashboard | panel | query | series |", "|---|---|---|---|"]
    lines += [f"| {q.dashboard} | {q.panel} | {a.seconds * 1e3:.0f} ms | {a.found} |" for q, a in ranked[:SLOWEST]]
    answered = sum(a.found > 0 for a in outcome.prometheus)
    times = sorted(a.seconds for a in outcome.prometheus)
    lines += ["", f"{len(ranked)} queries, median {median(times) * 1e3:.0f} ms; {answered} have data in Prometheus."]
    if outcome.victoria:
        same = sum(p.found == v.found for p, v in zip(outcome.prometheus, outcome.victoria, strict=True))
        failed = [(q, v) for q, v in zip(outcome.queries, outcome.victoria, strict=True) if v.error]
        slowest = max(v.seconds for v in outcome.victoria) * 1e3
        lines[-1] += (
            f" VictoriaMetrics refuses {len(failed)}, gives as many series for {same}, slowest {slowest:.0f} ms."
        )
        lines += [f"- refused: {query.dashboard}, {query.panel}: {theirs.error}" for query, theirs in failed]
    return lines


def _budget_lines() -> list[str]:
    each = budget()
    full = each.node(GPUS, GPUS, WORKERS)
    return [
        f"Series of a node: {each.host} of the host and the exporter, {each.gpu} per GPU, {each.rank} per rank,",
        f"{each.worker} per loader worker; {full:,} with {GPUS} GPUs, {GPUS} ranks and {WORKERS} workers each.",
    ]


def main() -> None:
    """Run, print, and perhaps write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[25], help="nodes of 8 GPUs; several for several runs")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long to watch")
    parser.add_argument("--interval", type=int, default=15, help="seconds between scrapes")
    parser.add_argument("--no-remote-write", action="store_true", help="leave VictoriaMetrics out")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.relative_to(ROOT)}")
    arguments = parser.parse_args()
    outcomes = [
        measure(nodes, arguments.minutes, arguments.interval, remote=not arguments.no_remote_write)
        for nodes in arguments.nodes
    ]
    loads = [outcome.load for outcome in outcomes]
    parts = {"measured": report(outcomes, arguments.interval)}
    if len(loads) > 1:
        parts["extrapolated"] = extrapolation(loads)
    print("\n\n".join(parts.values()))
    if arguments.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        for name, part in parts.items():
            pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
            text = pattern.sub(lambda _, part=part: f"{part}\n", text, count=1)
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
