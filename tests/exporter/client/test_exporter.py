"""Findings of an exporter, over HTTP; clear errors otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.client.exporter import diagnoses, scrape
from yoloscope_exporter.diagnosis.serialize import to_json
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.fetching import SourceError

from tests.recordings.model import Plan, play

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[str, str, dict[str, str]], tuple[int, bytes]]


def test_findings_survive_the_wire(serve: Callable[[Answer], str]) -> None:
    """What an exporter serves is read back as it was, advice and signals included."""
    told = diagnose_range([play(Plan(workers=1, epochs=1, batches=60))]).diagnoses
    document = json.dumps(to_json(told, with_signals=True)).encode()
    (read,) = diagnoses(serve(lambda *_: (200, document)))
    assert [verdict.name for verdict in read.verdicts] == [verdict.name for verdict in told[0].verdicts]
    assert read.verdicts[0].advice.arguments == told[0].verdicts[0].advice.arguments
    assert read.signals.numbers == told[0].signals.numbers


def test_passwords_in_the_url_are_sent_as_basic_auth(serve: Callable[[Answer], str]) -> None:
    """user:password@ becomes a header and never part of the path."""
    seen: dict[str, str] = {}

    def answer(path: str, _: str, headers: dict[str, str]) -> tuple[int, bytes]:
        seen.update(headers, path=path)
        return 200, b'{"runs": []}'

    assert diagnoses(serve(answer).replace("//", "//li:p%40ss@")) == ()
    assert seen["Authorization"] == "Basic bGk6cEBzcw=="
    assert seen["path"] == "/api/v1/diagnosis"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"", "/api/v1/diagnosis answers 404"),
        (401, b"", "401"),
        (200, b"<html>", "not a yoloscope exporter"),
        (200, b'{"runs": 3}', "not a yoloscope exporter"),
    ],
)
def test_other_servers_are_recognised(serve: Callable[[Answer], str], status: int, body: bytes, said: str) -> None:
    """One line says what came instead."""
    with pytest.raises(SourceError, match=said) as raised:
        diagnoses(serve(lambda *_: (status, body)))
    assert raised.value.status == (status if status != 200 else 0)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://127.0.0.1:1", "http://[::1"])
@pytest.mark.parametrize("ask", [diagnoses, scrape])
def test_no_server_is_an_error(ask: Callable[[str], object], url: str) -> None:
    """A wrong URL and a closed port are told apart from data."""
    with pytest.raises(SourceError, match=r"invalid URL|does not answer"):
        ask(url)


@pytest.mark.parametrize(
    ("url", "path"), [("", "/metrics"), ("/", "/metrics"), ("/yoloscope/metrics", "/yoloscope/metrics")]
)
def test_metrics_are_asked_for(serve: Callable[[Answer], str], url: str, path: str) -> None:
    """`host:port` is enough; another path is taken as it is."""
    where = serve(lambda asked, *_: (200, asked.encode()))
    assert scrape(where.removeprefix("http://") + url) == path
