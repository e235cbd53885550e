"""Where the pictures come from: an exporter that is remembered, a file that is read again."""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.client.exporter import Exporter
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.notebook import sources
from yoloscope_exporter.notebook.drawing import NoSuchRunError, drawing
from yoloscope_exporter.notebook.panels import panels
from yoloscope_exporter.notebook.sources import Remembered, Where, opened, thinned
from yoloscope_exporter.recordings.writer import Writer
from yoloscope_exporter.sampling.exposition import Form, Renderer

from tests.recordings.model import Plan, moments, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAN = Plan(run="here", workers=2, epochs=2, batches=30)


def _expositions(plan: Plan = PLAN) -> Iterator[str]:
    renderer = Renderer()
    for time, samples in moments(plan):
        stamp = catalog.Sample(catalog.SNAPSHOT_TIMESTAMP_SECONDS, (), time)
        yield renderer.render([*samples, stamp]).get(Form(openmetrics=True)).decode()


def test_an_exporter_is_remembered() -> None:
    """Each look adds to the pictures; the same moment twice is one."""
    texts = list(_expositions())
    asked = iter([*texts[:20], texts[19], *texts[20:]])
    source = Remembered(Exporter("node7", lambda: next(asked), lambda: ()))
    points = []
    for _ in range(25):
        source.poll()
        with source.seen() as seen:
            found = panels(seen.stores, "here")
        points.append(sum(len(line.points) for lines in found.gpus.values() for line in lines))
    assert points[-1] == 3 * 23
    assert points[20] == points[19]
    assert seen.source == "node7"


def test_a_silent_exporter_leaves_what_was_seen() -> None:
    """And says so; then it goes on."""
    texts = _expositions()
    answers = [True, True, False, True]

    def read() -> str:
        if not answers.pop(0):
            raise SourceError("node7 does not answer")
        return next(texts)

    source = Remembered(Exporter("node7", read, lambda: ()))
    for problem in ("", "", "node7 does not answer", ""):
        source.poll()
        with source.seen() as seen:
            assert seen.problem == problem
            html = drawing(seen, "", "en", grows=True)["html"]
            assert ("node7 does not answer; what is shown was seen before" in html) == bool(problem)
    assert seen.stores[0].last - seen.stores[0].first == 4


def test_a_clock_that_is_set_back_begins_anew() -> None:
    """What was seen lies in the future then."""
    texts = list(_expositions())
    asked = iter([texts[9], texts[3]])
    source = Remembered(Exporter("node7", lambda: next(asked), lambda: ()))
    source.poll()
    source.poll()
    with source.seen() as seen:
        assert len(seen.stores[0].times()) == 1


def test_an_exporter_without_a_diagnosis() -> None:
    """An older one, or switched off: the pictures are there."""

    def none() -> tuple[()]:
        raise SourceError("no such page", 404)

    texts = _expositions()
    source = Remembered(Exporter("node7", lambda: next(texts), none))
    source.poll()
    with source.seen() as seen:
        assert "this exporter makes no diagnosis" in drawing(seen, "", "en", grows=True)["html"]


def test_a_diagnosis_that_comes_later_is_shown() -> None:
    """The exporter was replaced by one that makes it."""
    texts, answers = _expositions(), [404, 0]

    def diagnoses() -> tuple[()]:
        if status := answers.pop(0):
            raise SourceError("no such page", status)
        return ()

    source = Remembered(Exporter("node7", lambda: next(texts), diagnoses))
    for diagnosed in (False, True):
        source.poll()
        with source.seen() as seen:
            assert seen.diagnosed == diagnosed


@pytest.mark.parametrize(("named", "connections", "seconds"), [("", 2, 2), ("http://node7:9911", 1, 0)])
def test_an_exporter_that_died_is_replaced(
    monkeypatch: pytest.MonkeyPatch, named: str, connections: int, seconds: float
) -> None:
    """What it told stays, and one of this node takes its place; not of one that was named. None is left open."""
    texts, opened_now, connected = _expositions(), [0], [0]

    @contextmanager
    def connect(url: str | None) -> Iterator[Exporter]:
        assert url == (named or None)
        connected[0] += 1
        opened_now[0] += 1
        number, answers = connected[0], [True] if connected[0] == 1 else [True] * 9

        def read() -> str:
            if not answers:
                raise SourceError("it died")
            answers.pop()
            return next(texts)

        try:
            yield Exporter(f"exporter {number}", read, lambda: ())
        finally:
            opened_now[0] -= 1

    monkeypatch.setattr(sources, "connect", connect)
    with opened(Where(exporter=named)) as source:
        for _ in range(1 + sources.PATIENCE + 1):
            source.poll()
        with source.seen() as seen:
            assert seen.source == f"exporter {connections}"
            assert seen.stores[0].last - seen.stores[0].first == seconds
            assert bool(seen.problem) == bool(named)
        assert (connected, opened_now) == ([connections], [1])
    assert opened_now == [0]


def test_where_no_other_is_found_it_is_said() -> None:
    """And asked again later."""

    def silent() -> str:
        raise SourceError("it died")

    def anew() -> Exporter:
        raise OSError("no port is free")

    source = Remembered(Exporter("node7", silent, lambda: ()), anew)
    for look in range(1, 2 * sources.PATIENCE + 1):
        source.poll()
        with source.seen() as seen:
            assert seen.problem == ("no port is free" if look % sources.PATIENCE == 0 else "it died")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second moment goes when there are too many, and what counters grew by stays."""
    monkeypatch.setattr(sources, "MOMENTS", 20)
    texts = list(_expositions())
    asked = iter(texts)
    source = Remembered(Exporter("node7", lambda: next(asked), lambda: ()))
    for _ in texts:
        source.poll()
        with source.seen() as seen:
            assert len(seen.stores[0].times()) <= 20
    times = seen.stores[0].times()
    assert len(texts) > 25
    assert times[-1] - times[0] > 2 * 22


def test_a_thinned_store_says_the_same() -> None:
    """Half of the moments, the last one among them, and the same of every counter from end to end."""
    store = play(PLAN)
    for name in list(store.series):
        if catalog.BY_NAME[name].kind == catalog.HISTOGRAM:
            del store.series[name]
    thin = thinned(store)
    assert thin.times() == store.times()[::-1][::2][::-1]
    for name, family in store.series.items():
        for labels, series in family.items():
            assert thin.series[name][labels].values[-1] == series.values[-1]
            assert thin.series[name][labels].born == series.born
    assert {round(later - earlier) for earlier, later in pairwise(thin.times())} == {
        2 * round(store.times()[1] - store.times()[0])
    }


def test_a_recording_that_grows(tmp_path: Path) -> None:
    """It is read again when it has changed, and only then."""
    path = tmp_path / "night.om"
    writer, course = Writer(path), list(moments(PLAN))
    for time, samples in course[:20]:
        writer.samples(time, samples)
    with opened(Where(recording=str(path))) as source:
        with source.seen() as first:
            pass
        with source.seen() as again:
            assert again is first
        for time, samples in course[20:40]:
            writer.samples(time, samples)
        with source.seen() as longer:
            assert longer.stores[0].last > first.stores[0].last
            assert drawing(longer, "here", "en", grows=False)["figure"]["data"]
            with pytest.raises(NoSuchRunError, match="run='another': no such run; known runs: here"):
                drawing(longer, "another", "en", grows=False)
    writer.close()


def test_a_prometheus_is_asked_no_more_often_than_it_scrapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fifteen seconds, however often is drawn; its password is not shown."""
    asked: list[tuple[object, ...]] = []
    now = [1000.0]
    monkeypatch.setattr(sources, "read_prometheus", lambda *arguments: asked.append(arguments) or [play(PLAN)])
    monkeypatch.setattr(sources.time, "monotonic", lambda: now[0])
    where = Where(prometheus="http://me:secret@prom:9090", since=3600.0, run="here", cluster="lab")
    with opened(where) as source:
        for now[0] in (1000.0, 1002.0, 1004.0, 1006.0, 1019.0, 1021.0):
            source.poll()
            with source.seen() as seen:
                assert "secret" not in drawing(seen, "here", "en", grows=False)["html"]
    assert asked == [("http://me:secret@prom:9090", 3600.0, "here", "lab")] * 3


def test_a_recording_that_is_gone(tmp_path: Path) -> None:
    """Says which file."""
    path = tmp_path / "night.om"
    with (
        opened(Where(recording=str(path))) as source,
        pytest.raises(OSError, match=r"night\.om") as caught,
        source.seen(),
    ):
        pass
    assert sources.words(caught.value) == f"{path}: {os.strerror(2)}"


def test_a_run_that_may_still_come() -> None:
    """Of an exporter it is waited for, and those that are there are named."""
    texts = _expositions()
    source = Remembered(Exporter("node7", lambda: next(texts), lambda: ()))
    for _ in range(3):
        source.poll()
    with source.seen() as seen:
        drawn = drawing(seen, "later", "en", grows=True)
    assert "Run later has not been seen yet; known runs: here" in drawn["html"]
