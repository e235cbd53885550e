"""Much at once: ranks, scrapes, runs that come and go, and a Prometheus that is away meanwhile."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import threading
import time
from contextlib import ExitStack
from statistics import quantiles
from typing import TYPE_CHECKING

import pytest

from tests import live
from tests.exporter.test_serve import wait_for
from tests.faults import histograms
from tests.faults.node import BATCHES, RUNS_UP, UP, VICTIM, fleet, serving, value
from tests.training import make_dataset, start
from tests.users import ALICE, MALLORY, living_as, needs_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.node import Row

pytestmark = [pytest.mark.faults, needs_root, pytest.mark.timeout(400)]

RANKS, PER_SECOND, SECONDS, CLIENTS = 64, 200, 60, 4
SHORT_RUNS = 1000
AWAY_SECONDS = 60  # in place of an hour


# --- 200 scrapes a second while 64 ranks write ----------------------------------------------------------------------


class Scraper(threading.Thread):
    """Scrapes as often as it is told, on one connection as Prometheus does; checks each exposition it has not seen."""

    def __init__(self, url: str, every: float, seconds: float) -> None:
        """One scrape `every` so many seconds."""
        super().__init__()
        self.seconds: list[float] = []  # that each answer took
        self.failed: list[str] = []
        self.wrong: list[str] = []
        self.checked = 0
        self._url, self._every, self._end = url.partition("://")[2], every, time.monotonic() + seconds

    def run(self) -> None:
        """Until the time is over."""
        connection = http.client.HTTPConnection(self._url, timeout=10)
        last, before, due = b"", None, time.monotonic()
        while due < self._end:
            time.sleep(max(0.0, due - time.monotonic()))
            due += self._every
            begun = time.monotonic()
            try:
                connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            self.seconds.append(time.monotonic() - begun)
            if answer.status != http.client.OK:
                self.failed.append(str(answer.status))
            elif body != last:
                last, now = body, histograms.read(gzip.decompress(body).decode())
                self.wrong += histograms.wrong(now, before)
                before, self.checked = now, self.checked + 1
        connection.close()


def test_two_hundred_scrapes_a_second(shared: Path, tmp_path: Path, row: Row) -> None:
    """For a minute, of 64 ranks that each write four batches a second."""
    with fleet(shared, RANKS), serving(shared, tmp_path / "log") as exporter:
        wait_for(lambda: exporter.ranks() == RANKS, 60)
        time.sleep(5)
        series, memory, cycle = exporter.series(), exporter.megabytes(), exporter.milliseconds()
        row(
            f"{RANKS} ranks on a node, each four batches a second",
            "all shown, a cycle below its second, the unit's 256 MB",
            f"{exporter.ranks()} shown, {series:,} series, cycle {cycle:.0f} ms, {memory:.0f} MB",
        )
        assert exporter.ranks() == RANKS
        assert memory < 256
        assert cycle < 1000
        scrapers = [Scraper(exporter.url, CLIENTS / PER_SECOND, SECONDS) for _ in range(CLIENTS)]
        ages = _while_they_run(scrapers, exporter.age)
        found = histograms.read(exporter.metrics())
    took = sorted(second for one in scrapers for second in one.seconds)
    wrong = [text for one in scrapers for text in one.wrong]
    failed = [text for one in scrapers for text in one.failed]
    late = quantiles(took, n=100)[98]
    row(
        f"{PER_SECOND} scrapes a second for a minute meanwhile",
        "each answered; no histogram wrong, no counter backwards",
        f"{len(took):,} answered, {len(failed)} not, p99 {late * 1e3:.0f} ms; {len(wrong)} wrong of "
        f"{len(found.histograms)} histograms and {len(found.counters):,} counters in "
        f"{min(one.checked for one in scrapers)} snapshots; the oldest {max(ages):.1f} s",
    )
    assert failed == []
    assert wrong == []
    assert len(found.histograms) >= 2 * RANKS
    assert len(took) > 0.8 * PER_SECOND * SECONDS
    assert max(ages) < 3


def _while_they_run(threads: list[Scraper], look: Callable[[], float]) -> list[float]:
    """What a look every second sees until all have ended."""
    seen = []
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        seen.append(look())
        time.sleep(1)
    return seen


# --- a thousand short runs ------------------------------------------------------------------------------------------

#: Each has five batches, and is over after a few hundredths of a second.
SHORT = f"""
import threading
def train():
    for number in range({SHORT_RUNS}):
        run = f"short-{{number:04d}}"
        made = record(run)
        slot = made.slot(catalog.TRAIN_BATCHES_TOTAL, run, "0")
        for _ in range(5):
            made.begin(); made.values[slot] += 1; made.end(time.time()); time.sleep(0.012)
        made.begin(); made.set_state("finished"); made.end(time.time()); made.close()
threading.Thread(target=train, daemon=True).start()
"""
_SHORT = re.compile(r'(?m)^yoloscope_train_batches_total\{rank="0",run="(short-\d+)"\} (\d+)')


def test_a_thousand_short_runs(shared: Path, tmp_path: Path, row: Row) -> None:
    """An hour of them in little more than a minute; beside them another user trains on.

    A scrape without any run, whose collector is down, tells of a machine without a free CPU, and of nobody's run: a
    snapshot that is older than three cycles is not served as if it were fresh.
    """
    with serving(shared, tmp_path / "log") as exporter, living_as(ALICE, shared, VICTIM):
        wait_for(lambda: exporter.up() == {"victim": True})
        memory, before = exporter.megabytes(), exporter.value(BATCHES)
        seen: dict[str, int] = {}
        ages, lost, starved, begun = [], 0, 0, time.monotonic()
        with living_as(MALLORY, shared, SHORT):
            while f"short-{SHORT_RUNS - 1:04d}" not in seen and time.monotonic() - begun < 200:
                text = exporter.metrics()
                seen |= {run: max(seen.get(run, 0), int(count)) for run, count in _SHORT.findall(text)}
                told = value(text, RUNS_UP) == 1
                starved += not told
                lost += told and ("0", "victim", "1") not in UP.findall(text)
                ages.append(exporter.age())
                time.sleep(0.5)
        took = time.monotonic() - begun
        time.sleep(2)
        seen |= {run: max(seen.get(run, 0), int(count)) for run, count in _SHORT.findall(exporter.metrics())}
        whole = sum(count == 5 for count in seen.values())
        row(
            f"{SHORT_RUNS:,} runs of another user in {took:.0f} s, each of five batches",
            "each shown with all its batches; the victim always shown",
            f"{len(seen):,} shown, {whole:,} with all batches; the victim missed in {lost} of {len(ages)} scrapes"
            f"{f', {starved} without any run' if starved else ''}; "
            f"snapshots to {max(ages):.1f} s, cycle {exporter.milliseconds():.0f} ms, {memory:.0f} to "
            f"{exporter.megabytes():.0f} MB; refused: {', '.join(sorted(exporter.refused())) or 'nothing'}",
        )
        assert lost == 0
        assert exporter.value(BATCHES) > before
        assert len(seen) == whole == SHORT_RUNS
        assert exporter.megabytes() < 128
        assert starved or max(ages) < 3
        assert exporter.refused() <= {"busy", "time"}  # for a moment; those that are over make room for others


# --- a Prometheus that is away --------------------------------------------------------------------------------------


@pytest.mark.train
def test_prometheus_is_away(tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a minute, while two trainings go on; then it goes on where they are, to their last batch."""
    records = tmp_path / "records"
    monkeypatch.setenv("YOLOSCOPE_DIR", str(records))
    data = make_dataset(tmp_path / "data", images=32)
    names = ("first", "second")
    with ExitStack() as stack:
        exporter = stack.enter_context(serving(records, tmp_path / "log"))
        command, server = live.prometheus_command(tmp_path, [exporter.url.partition("://")[2]])
        trainings = {}
        for name in names:
            process = start(
                data,
                tmp_path / "runs",
                name=name,
                epochs=25,
                step_sleep=0.3,
                environ={"YOLOSCOPE_RUN": name},
                log=tmp_path / f"{name}.log",
            )
            trainings[name] = stack.enter_context(live.killed_with_its_group(process))
        with live.running(command, tmp_path / "prometheus.log", server):
            live.wait_for(lambda: min(_batches(server, names)) > 5, timeout=90, what="batches in Prometheus")
            before = _batches(server, names)
        memory = exporter.megabytes()
        time.sleep(AWAY_SECONDS)
        grown = exporter.megabytes() - memory
        with live.running(command, tmp_path / "prometheus-again.log", server):
            live.wait_for(lambda: all(now > then for now, then in zip(_batches(server, names), before, strict=True)))
            after = _batches(server, names)
            for process in trainings.values():
                assert process.wait(200) == 0
            told = [_told(tmp_path / f"{name}.log") for name in names]
            live.wait_for(lambda: _batches(server, names) == told, what="the last batches in Prometheus")
            resets = live.query(server, "sum(resets(yoloscope_train_batches_total[30m]))")[0][1]
    missed = [now - then for now, then in zip(after, before, strict=True)]
    row(
        f"a Prometheus that is away for {AWAY_SECONDS} s (for an hour) while two real trainings go on",
        "what was trained meanwhile is counted when it is back, no counter backwards, no batch lost",
        f"{missed[0]:.0f} and {missed[1]:.0f} batches meanwhile; {told[0]:.0f} and {told[1]:.0f} at the end as the "
        f"trainings tell, {resets:.0f} resets; exporter {grown:+.1f} MB",
    )
    assert min(missed) > AWAY_SECONDS
    assert resets == 0
    assert grown < 8


def _batches(server: str, names: tuple[str, ...]) -> list[float]:
    """Batches of each run as Prometheus has them now; -1 of one that it does not know."""
    found = {labels["run"]: value for labels, value in live.query(server, 'yoloscope_train_batches_total{rank="0"}')}
    return [found.get(name, -1.0) for name in names]


def _told(log: Path) -> float:
    """Batches as the training itself has counted them."""
    (line,) = re.findall(r"(?m)^RESULT (.*)$", log.read_text())
    return float(json.loads(line)["batches"])
