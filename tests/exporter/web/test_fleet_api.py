"""The stream of a page that shows a Prometheus."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.web.fleet_api import MOST_WAITED

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
