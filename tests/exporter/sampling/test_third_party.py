"""Collectors of other packages: what may be published, how they fail, and a wheel in a running exporter."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import EntryPoint
from itertools import count
from typing import TYPE_CHECKING

import pytest
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.parser import text_string_to_metric_families
from yoloscope_exporter import catalog, collectors, registry
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector, entry_points
from yoloscope_exporter.config import defaults
from yoloscope_exporter.sampling.exposition import Form
from yoloscope_exporter.sampling.sampler import Sampler
from yoloscope_exporter.sampling.sources import Source
from yoloscope_exporter.sampling.third_party import InvalidFamiliesError, ThirdParty, checked

from tests.exporter.test_serve import exporter, get, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from yoloscope_exporter.config import Config

REJECTED, UP = catalog.SAMPLES_REJECTED_TOTAL.name, catalog.COLLECTOR_UP.name

#: A package with collectors good and bad.
MODULE = """
import time
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily

class Of:
    def __init__(self, *families):
        self.families = families
    def collect(self):
        return self.families

class Queue:
    def collect(self):
        jobs = GaugeMetricFamily("queue_jobs", "Jobs that wait.", labels=["name"])
        jobs.add_metric(['a "b"'], 3)
        yield jobs
        yield SummaryMetricFamily("queue_wait_seconds", "Time in the queue.", count_value=2, sum_value=1.5)

class Settings:
    def __init__(self, config):
        self.config = config
    def collect(self):
        return [GaugeMetricFamily("settings_interval_seconds", "Of the sampler.", value=self.config.sample_interval)]

class Raises:
    def collect(self):
        yield GaugeMetricFamily("raises_before", "Half of it.", value=1)
        raise RuntimeError("the queue is gone")

class Hangs:
    def collect(self):
        time.sleep(3600)

class Exits:
    def collect(self):
        raise SystemExit(3)

class Endless:
    def collect(self):
        family = GaugeMetricFamily("endless", "Never the last.", labels=["n"])
        family.samples = [(family.name, {}, 1.0)] * 9999
        while True:
            yield family

def gauge(name, value=1.0):
    return GaugeMetricFamily(name, "Help.", value=value)

def twice():
    return Of(gauge("twice"), gauge("twice"))

def series():
    family = GaugeMetricFamily("series", "Help.", labels=["a"])
    family.add_metric(["x"], 1)
    family.add_metric(["x"], 2)
    return Of(family)

def invalid():
    return Of(gauge("no.name"))

def taken():
    return Of(gauge("yoloscope_cpu_cores", 99.0))

def same_as_queue():
    return Of(gauge("queue_wait_seconds_sum"))

def nothing():
    return None
"""

NAMES = {
    "queue": "Queue",
    "settings": "Settings",
    "raises": "Raises",
    "hangs": "Hangs",
    "exits": "Exits",
    "endless": "Endless",
    "twice": "twice",
    "series": "series",
    "invalid": "invalid",
    "taken": "taken",
    "clashes": "same_as_queue",
    "nothing": "nothing",
    "absent": "not_there",
    "cpu": "Queue",
}
#: Reason in the counter and words in the log, of those that fail.
PROBLEMS = {
    "raises": ("failed", "RuntimeError: the queue is gone"),
    "hangs": ("hung", "hung: did not finish within"),
    "exits": ("failed", "SystemExit: 3"),
    "endless": ("series", "more than 20000 series"),
    "twice": ("duplicate", "the family twice comes twice"),
    "series": ("duplicate", "the series series{'a': 'x'} comes twice"),
    "invalid": ("invalid", "'no.name' is no name of a metric"),
    "taken": ("taken", "yoloscope_cpu_cores is a name of yoloscope's own"),
    "clashes": ("taken", "another collector has the metric queue_wait_seconds_sum"),
    "nothing": ("failed", "neighbours:nothing gives a NoneType without collect()"),
    "absent": ("failed", "AttributeError: module 'neighbours' has no attribute 'not_there'"),
}


@pytest.fixture
def neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, EntryPoint]]:
    """The package's module on the path, and its entry points."""
    (tmp_path / "neighbours.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield {name: EntryPoint(name, f"neighbours:{value}", entry_points.GROUP) for name, value in NAMES.items()}
    sys.modules.pop("neighbours", None)


def source(entry: EntryPoint, config: Config | None = None) -> Source:
    """A third party's collector as a source."""
    slow = Collector(entry.name, tuple, group=SLOW)
    return Source(entry.name, slow, third_party=ThirdParty(entry, lambda: config or defaults()))


@contextmanager
def sampler(*sources: Source) -> Iterator[Sampler]:
    """A sampler that is stopped at the end. Its clock goes on by a second with each cycle."""
    made = Sampler(sources, interval=1.0, clock=lambda: float(made.cycles), wall=lambda: 1e9)
    try:
        yield made
    finally:
        made.stop()


def values(text: str) -> dict[tuple[str, ...], float]:
    """Series by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# --- what may be published -------------------------------------------------------------------------------------------


def labelled(name: str, labels: dict[str, str], sample: str = "") -> Metric:
    """A gauge with one sample."""
    family = Metric(name, "Help.", "gauge")
    family.add_sample(sample or name, labels, 1.0)
    return family


def test_families_of_every_type_pass() -> None:
    """What the library's own collectors and classes give is published as it is."""
    families = [
        *PROCESS_COLLECTOR.collect(),
        *PLATFORM_COLLECTOR.collect(),
        *GC_COLLECTOR.collect(),
        GaugeMetricFamily("a", "", value=float("nan")),
        CounterMetricFamily("b", "", value=1, created=1.0),
        SummaryMetricFamily("c", "", count_value=1, sum_value=2),
        HistogramMetricFamily("d", "", buckets=[("1.0", 1), ("+Inf", 2)], sum_value=3),
        InfoMetricFamily("e", "", value={"x": "y"}),
        StateSetMetricFamily("f", "", value={"on": True, "off": False}),
    ]
    assert [str(family) for family in checked(families)] == [str(family) for family in families]


@pytest.mark.parametrize(
    ("families", "reason"),
    [
        (["text"], "invalid"),
        ([labelled("a-b", {})], "invalid"),
        ([labelled("a:b", {})], "invalid"),
        ([labelled("a", {"x-y": "1"})], "invalid"),
        ([labelled("a", {"__name__": "1"})], "invalid"),
        ([labelled("a", {"x": 1})], "invalid"),  # type: ignore[dict-item]
        ([labelled("a", {}, sample="b")], "invalid"),
        ([labelled("a", {"x": "\ud800"})], "invalid"),
        ([CounterMetricFamily("a", "", value=-1)], "invalid"),
        ([HistogramMetricFamily("a", "", buckets=[("1.0", 1)], sum_value=3)], "invalid"),
        ([CounterMetricFamily("a", "", value=1), GaugeMetricFamily("a_total", "", value=1)], "duplicate"),
        ([GaugeMetricFamily("yoloscope_anything", "", value=1)], "taken"),
    ],
)
def test_families_that_cannot_be_published(families: list[object], reason: str) -> None:
    """Each is refused with its reason."""
    with pytest.raises(InvalidFamiliesError) as refused:
        checked(families)
    assert refused.value.reason == reason


def test_published_families_do_not_change() -> None:
    """A collector that keeps its family and changes it changes no snapshot."""
    family = GaugeMetricFamily("a", "Help.", value=1)
    (copied,) = checked([family])
    family.add_metric([], 2)
    family.name = "b"
    assert (copied.name, len(copied.samples)) == ("a", 1)


@pytest.mark.parametrize("name", ["cpu", "diagnosis", "exporter", "Upper", "with-dash", "a b", "1st"])
def test_names_that_no_collector_can_have(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is taken, comes twice, or cannot be a switch is set aside."""
    entries = [EntryPoint(name, "x:y", entry_points.GROUP), *[EntryPoint("good", "x:y", entry_points.GROUP)] * 2]
    monkeypatch.setattr(entry_points, "entry_points", lambda *, group: entries)
    found, unusable = collectors.third_parties()
    assert (list(found), unusable) == (["good"], [entries[0], entries[2]])


# --- isolation -------------------------------------------------------------------------------------------------------


def test_good_collectors_are_published(neighbours: dict[str, EntryPoint]) -> None:
    """With no argument or with the settings; in every form, after our own families."""
    ours = Source("cpu", Collector("cpu", lambda: [Sample(catalog.CPU_CORES, (), 4.0)]))
    with sampler(ours, source(neighbours["queue"]), source(neighbours["settings"])) as made:
        made.cycle()
        text = made.exposition(Form()).decode()
        for form in (Form(openmetrics=True), Form(escaping="dots")):
            assert b"interval" in made.exposition(form)
        only = made.exposition(Form(), {"queue"}.__contains__).decode()
        by_name = made.exposition(Form(), names=["queue_jobs", "yoloscope_cpu_cores"]).decode()
    assert text.endswith(
        "# HELP queue_jobs Jobs that wait.\n# TYPE queue_jobs gauge\n"
        'queue_jobs{name="a \\"b\\""} 3.0\n'
        "# HELP queue_wait_seconds Time in the queue.\n# TYPE queue_wait_seconds summary\n"
        "queue_wait_seconds_count 2.0\nqueue_wait_seconds_sum 1.5\n"
        "# HELP settings_interval_seconds Of the sampler.\n# TYPE settings_interval_seconds gauge\n"
        "settings_interval_seconds 1.0\n"
    )
    assert "queue_jobs" in only
    assert "settings_interval" not in only
    assert [line for line in by_name.splitlines() if line[0] != "#"] == [
        "yoloscope_cpu_cores 4.0",
        'queue_jobs{name="a \\"b\\""} 3.0',
    ]


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_bad_collector_is_isolated(
    name: str, neighbours: dict[str, EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    """It is down, counted and named in the log once; nothing of it is published, and the others go on."""
    beats = count()
    ours = Source("cpu", Collector("cpu", lambda: [Sample(catalog.CPU_CORES, (), float(next(beats)))]))
    with sampler(ours, source(neighbours["queue"]), source(neighbours[name])) as made:
        before = {}
        for number in range(12):
            made.cycle()
            while name != "hangs" and made._states[name].busy:  # it is slow on a machine that is busy
                time.sleep(0.01)
            before = values(made.exposition(Form()).decode())
            assert before[catalog.CPU_CORES.name,] == number
    reason, words = PROBLEMS[name]
    assert (before[UP, name], before[UP, "cpu"], before[UP, "queue"]) == (0, 1, 1)
    assert before[REJECTED, name, reason] >= 1
    assert not [series for series in before if series[0].startswith((name, "no.name")) and series[0] != "queue_jobs"]
    assert before["queue_wait_seconds_sum",] == 1.5
    (line,) = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert line.startswith(f"collector {name} failed: ")
    assert words in line


def test_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A collector whose package was broken is loaded again, and back when it is mended."""
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("late", "latecomer:Late", entry_points.GROUP)
    with caplog.at_level("INFO"), sampler(source(entry)) as made:
        made.cycle()
        (tmp_path / "latecomer.py").write_text(
            "from prometheus_client.core import GaugeMetricFamily\n"
            "class Late:\n    def collect(self): return [GaugeMetricFamily('late', 'Help.', value=7)]\n"
        )
        importlib.invalidate_caches()
        made.sample()
        assert values(made.exposition(Form()).decode())["late",] == 7
    sys.modules.pop("latecomer", None)
    assert [record.getMessage() for record in caplog.records] == [
        "collector late failed: ModuleNotFoundError: No module named 'latecomer'",
        "collector late works again",
    ]


def test_registry_has_them(neighbours: dict[str, EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bare registry reads them, too, and `name[]` finds them although nobody described them."""
    monkeypatch.setattr(entry_points, "entry_points", lambda *, group: [neighbours["queue"], neighbours["raises"]])
    config = empty_node(tmp_path)
    found = registry.build(config)
    assert b"queue_wait_seconds_sum 1.5\n" in generate_latest(found)
    only = generate_latest(found.restricted_registry(["queue_wait_seconds_sum"]))
    assert [line for line in only.decode().splitlines() if line[0] != "#"] == ["queue_wait_seconds_sum 1.5"]


def empty_node(tmp_path: Path) -> Config:
    """Settings of a machine with nothing on it."""
    return replace(
        defaults(), path_records=tmp_path / "records", path_procfs=tmp_path / "proc", path_sysfs=tmp_path / "sys"
    )


# --- a wheel in a running exporter -----------------------------------------------------------------------------------


def wheel(folder: Path) -> Path:
    """A wheel with the module and its entry points."""
    info = "neighbours-1.0.dist-info"
    points = "\n".join(f"{name} = neighbours:{value}" for name, value in NAMES.items())
    files = {
        "neighbours.py": MODULE,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: neighbours\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[{entry_points.GROUP}]\n{points}\n",
    }
    lines = [f"{name},sha256={digest(text)},{len(text.encode())}" for name, text in files.items()]
    path = folder / "neighbours-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": "\n".join([*lines, f"{info}/RECORD,,", ""])}.items():
            archive.writestr(name, text)
    return path


def digest(text: str) -> str:
    """As RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed into it."""
    folder = tmp_path_factory.mktemp("wheel")
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, f"--target={target}", str(wheel(folder))], check=True, capture_output=True)
    return target


def path_with(site: Path) -> str:
    """A PYTHONPATH with the folder in front."""
    return os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))


def test_wheel_in_a_running_exporter(site: Path) -> None:
    """`yoloscope serve` publishes the good ones, isolates the bad ones, and ends although one of them hangs."""
    with exporter("--no-collector.settings", PYTHONPATH=path_with(site)) as (child, url):

        def scrape() -> dict[tuple[str, ...], float]:
            return values(get(f"{url}/metrics")[1])

        wait_for(lambda: all((REJECTED, name, reason) in scrape() for name, (reason, _) in PROBLEMS.items()), 30.0)
        seen = scrape()
        assert seen["queue_jobs", 'a "b"'] == 3
        assert {name for (series, name), up in pairs(seen, UP) if not up} >= set(PROBLEMS)
        assert (UP, "settings") not in seen
        assert seen[REJECTED, "cpu", "name"] == 1
        assert seen[UP, "cpu"] == 1
        assert "queue_jobs" in get(f"{url}/metrics?collect[]=queue")[1]
        assert "queue_jobs" not in get(f"{url}/metrics?exclude[]=queue")[1]
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
        log = child.stderr.read()
    for name, (_, words) in PROBLEMS.items():
        assert any(f"collector {name} failed" in line and words in line for line in log.splitlines()), name


def pairs(seen: dict[tuple[str, ...], float], name: str) -> Iterable[tuple[tuple[str, ...], float]]:
    """The series of one name."""
    return [(series, value) for series, value in seen.items() if series[0] == name]


def test_switches_of_the_wheel(site: Path) -> None:
    """They stand in the help beside our own."""
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", "--help"]
    environment = {**os.environ, "PYTHONPATH": path_with(site)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "--no-collector.queue" in shown


def test_check_of_the_wheel(site: Path) -> None:
    """`yoloscope check` says of each whether it works, and which name cannot be used."""
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "check", "--no-collector.hangs", "--python", "true"]
    environment = {**os.environ, "PYTHONPATH": path_with(site)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert any("collector queue 3 samples" in line for line in lines)
    assert any("FAIL collector taken InvalidFamiliesError: yoloscope_cpu_cores is a name" in line for line in lines)
    assert any("rejected 1 by cpu, reason name" in line for line in lines)
