"""The stream of a page that shows a Prometheus."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.language import LANGUAGES
from yoloscope_exporter.web import fleet_api
from yoloscope_exporter.web.fleet import Listing, Only, Past, Told, span
from yoloscope_exporter.web.fleet_api import MOST_WAITED, FleetApi, Topic

from tests.exporter.serving import connected, fetch
from tests.exporter.web.fleets import showing

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[str, str, dict[str, str]], tuple[int, bytes]]

EMPTY = (200, b'{"data": {"result": []}}')


def message(url: str, query: str = "") -> Any:
    """The first message of a stream."""
    with connected(url) as connection:
        lines = [f"GET /api/v1/events{query} HTTP/1.1", "Host: localhost", "Accept: text/event-stream", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        seen = b""
        while b"\n\ndata" not in seen.replace(b"\r\n", b"") and not seen.rstrip().endswith(b"}"):
            seen += connection.recv(1 << 16)
    return json.loads(seen[seen.index(b"data: ") + 6 :].rstrip())


def test_an_empty_prometheus_is_no_error(serve: Callable[[Answer], str]) -> None:
    """There are no runs yet; the page says so."""
    with showing(serve(lambda *_: EMPTY)) as page:
        told = message(page.url)
        assert (told["fresh"], told["total"], told["runs"], told["run"]) == (True, 0, [], None)
        assert told["source"]["prometheus"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("answer", [(500, b'{"error": "out of memory"}'), (200, b"<html>"), (302, b"")])
def test_what_is_wrong_with_it_is_told(serve: Callable[[Answer], str], answer: tuple[int, bytes]) -> None:
    """In the language of the page; nothing is shown as if it were now."""
    with showing(serve(lambda *_: answer)) as page:
        told = message(page.url, "?lang=en")
        assert told["fresh"] is False
        assert told["problem"]
        assert "runs" not in told
        assert message(page.url, "?lang=zh")["problem"] != ""


def test_many_pages_ask_once(serve: Callable[[Answer], str]) -> None:
    """Those that look at the same wait for one answer."""
    asked: list[str] = []

    def slow(_: str, body: str, __: dict[str, str]) -> tuple[int, bytes]:
        asked.append(body)
        time.sleep(0.2)
        return EMPTY

    with showing(serve(slow)) as page:
        threads = [threading.Thread(target=message, args=(page.url, "?end=1000000&lang=en")) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == len(set(asked))


def test_too_many_questions_are_refused(serve: Callable[[Answer], str]) -> None:
    """A Prometheus is not buried under what a client thinks of: a few questions wait, the others come again."""

    def slow(*_: object) -> tuple[int, bytes]:
        time.sleep(0.05)
        return EMPTY

    with showing(serve(slow)) as page:
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda n: fetch(f"{page.url}/api/v1/runs?end={n}000000")[0], range(1, 41)))
        assert set(answers) == {200, 503}
        assert answers.count(200) >= MOST_WAITED


class Counted:
    """A Prometheus with one run, as its page sees it: how often it was asked for what."""

    name = "http://prometheus"

    def __init__(self, size: int = 10) -> None:
        """Charts are of so many bytes."""
        self.asked: list[str] = []
        self._size = size

    def listing(self, at: float) -> Listing:
        """A run named a."""
        self.asked.append("runs")
        document = {"total": 1, "runs": [{"run": "a"}]}
        return Listing(dict.fromkeys(LANGUAGES, document), {"a": Only((), name="a")})

    def run(self, told: str, only: Only, at: float) -> Told:
        """The run."""
        self.asked.append("run")
        return Told(only, dict.fromkeys(LANGUAGES, b'{"run":"a"}'), dict.fromkeys(LANGUAGES, b'{"gpus":[]}'))

    def past(self, told: str, only: Only, over: object) -> Past:
        """Empty charts."""
        self.asked.append("past")
        empty = b'{"times":[],"series":[]}'
        return Past(empty + b" " * self._size, empty, dict.fromkeys(LANGUAGES, b"[]"))


def looked(counted: Counted, *topics: Topic) -> list[dict[str, Any]]:
    """What pages are told of these, one after the other."""

    async def ask() -> list[dict[str, Any]]:
        api = FleetApi(counted)  # type: ignore[arg-type] # all of it that is used
        return [json.loads(await api._message(topic)) for topic in topics]

    return asyncio.run(ask())


def test_pages_share_what_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list and a run for any language and range, a range for any language; without a run, the first is meant."""
    monkeypatch.setattr(fleet_api, "time", SimpleNamespace(time=lambda: 1_790_000_010.0, monotonic=time.monotonic))
    counted = Counted()
    first, chinese, named, longer = looked(
        counted,
        Topic("", "en", 3600, None),
        Topic("", "zh-CN", 3600, None),
        Topic("a", "en", 3600, None),
        Topic("a", "en", 86400, None),
    )
    assert counted.asked == ["runs", "run", "past", "past"]
    assert first == named == chinese
    assert (first["asked"], first["run"], first["events"]) == ("a", {"run": "a"}, [])
    assert (first["source"]["step"], longer["source"]["step"]) == (15, 360)
    assert first["time"] == longer["time"] == 1_790_000_010 // 15 * 15


def test_long_ranges_are_asked_for_when_a_point_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chart of a week has a point every 42 minutes; what is over is not asked for again at all."""
    now = [1_790_000_010.0]
    monkeypatch.setattr(fleet_api, "time", SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[0]))
    week, over = Topic("a", "en", 7 * 86400, None), Topic("a", "en", 3600, 1_780_000_000.0)
    step = span(week.seconds, now[0]).step

    async def ask() -> list[str]:
        counted = Counted()
        api = FleetApi(counted)  # type: ignore[arg-type] # all of it that is used
        begin = now[0] // step * step + 1
        for seconds in (0, 16, 32, step - 20):
            now[0] = begin + seconds
            await api._message(week)
        assert counted.asked.count("past") == 1
        assert counted.asked.count("run") == 4
        now[0] = begin + step
        await api._message(week)
        assert counted.asked.count("past") == 2
        counted.asked.clear()
        for _ in range(5):
            now[0] += 16
            await api._message(over)
        return counted.asked

    assert asyncio.run(ask()) == ["runs", "run", "past"]


def test_answers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that nobody has wanted for the longest time go; what all pages of now need stays."""
    monkeypatch.setattr(fleet_api, "time", SimpleNamespace(time=lambda: 1_790_000_010.0, monotonic=time.monotonic))
    monkeypatch.setattr(fleet_api, "MOST_BYTES", 1_000_000)

    async def ask() -> tuple[int, int, list[str]]:
        counted = Counted(size=300_000)
        api = FleetApi(counted)  # type: ignore[arg-type] # all of it that is used
        for number in range(40):
            await api._message(Topic("a", "en", 3600, 1_780_000_000.0 + 3600 * number))
            await api._message(Topic("a", "en", 3600, None))
        counted.asked.clear()
        await api._message(Topic("a", "en", 3600, None))
        return len(api._kept), sum(one.size for one in api._kept.values()), counted.asked

    kept, held, asked = asyncio.run(ask())
    assert kept < 20
    assert held <= 1_400_000
    assert "runs" not in asked


def test_pages_of_many_runs_are_refused(serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs Prometheus questions of its own; pages of one run do not count twice, and those that go make room."""
    monkeypatch.setattr(fleet_api, "MOST_FOLLOWED", 2)
    monkeypatch.setattr(fleet_api, "EVERY_SECONDS", 0.2)
    with showing(serve(lambda *_: EMPTY)) as page:
        for run in ("a", "a", "b", "b"):
            message(page.url, f"?run={run}")
        with ExitStack() as stack:
            for run in ("a", "b", "b"):
                connection = stack.enter_context(connected(page.url))
                lines = [f"GET /api/v1/events?run={run} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
                connection.sendall("\r\n".join([*lines, "", ""]).encode())
                assert b" 200 " in connection.recv(1 << 16)
            status, body, _ = fetch(f"{page.url}/api/v1/events?run=c", Accept="text/event-stream")
            assert (status, json.loads(body)["error"]) == (
                503,
                "pages of 2 runs and time ranges are open; close one of them",
            )
            assert fetch(f"{page.url}/metrics")[0] == 200
        deadline = time.monotonic() + 10
        while page.api.streams and time.monotonic() < deadline:
            time.sleep(0.05)
        assert message(page.url, "?run=c")["asked"] == "c"


def test_fifty_pages_and_one_that_never_reads(serve: Callable[[Answer], str]) -> None:
    """All of them are told; Prometheus is asked as often as for one."""
    asked: list[str] = []

    def answer(_: str, body: str, __: dict[str, str]) -> tuple[int, bytes]:
        asked.append(body)
        return EMPTY

    with showing(serve(answer)) as page, connected(page.url) as silent:
        request = ("GET /api/v1/events?end=1000000&lang=en HTTP/1.1", "Host: localhost", "Accept: text/event-stream")
        silent.sendall("\r\n".join([*request, "", ""]).encode())
        with ThreadPoolExecutor(50) as pool:
            queries = [f"?end=1000000&lang={lang}" for lang in ("en", "zh") * 25]
            told = list(pool.map(lambda query: message(page.url, query), queries))
        assert all(one["fresh"] for one in told)
        assert len(asked) == len(set(asked)) == 3


def test_it_recovers(serve: Callable[[Answer], str]) -> None:
    """A refusal is not remembered."""
    answers = iter([(503, b"")])
    with showing(serve(lambda *_: next(answers, EMPTY))) as page:
        assert message(page.url, "?end=1000000")["fresh"] is False
        assert message(page.url, "?end=1000000")["fresh"] is True


def test_whoever_goes_leaves_no_stream(serve: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted until the next message finds nobody, and refused with a parameter that is none."""
    monkeypatch.setattr("yoloscope_exporter.web.fleet_api.EVERY_SECONDS", 0.2)
    with showing(serve(lambda *_: EMPTY)) as page:
        message(page.url)
        deadline = time.monotonic() + 10
        while page.api.streams and time.monotonic() < deadline:
            time.sleep(0.05)
        assert page.api.streams == 0
        assert fetch(f"{page.url}/api/v1/events?seconds=5", Accept="text/event-stream")[0] == 400
