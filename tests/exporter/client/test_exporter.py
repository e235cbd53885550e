"""Findings of an exporter, over HTTP; clear errors otherwise."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from yoloscope_exporter.client.exporter import diagnoses, scrape
from yoloscope_exporter.diagnosis.cfg import to_cfg
from yoloscope_exporter.diagnosis.serialize import to_json
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.terminal.diagnosis import to_markdown, to_text

from tests.recordings.model import Plan, play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[str, str, dict[str, str]], tuple[int, bytes]]


def test_findings_survive_the_wire(serve: Callable[[Answer], str]) -> None:
    """What an exporter serves is read back as it was, advice and signals included."""
    told = diagnose_range([play(Plan(workers=1, epochs=1, batches=60))]).diagnoses
    document = json.dumps(to_json(told, with_signals=True)).encode()
    (read,) = diagnoses(serve(lambda *_: (200, document)))
    assert [verdict.name for verdict in read.verdicts] == [verdict.name for verdict in told[0].verdicts]
    assert read.verdicts[0].advice.arguments == told[0].verdicts[0].advice.arguments
    assert read.signals.numbers == told[0].signals.numbers


def _told() -> dict[str, Any]:
    """What an exporter says of a run with findings."""
    found = diagnose_range([play(Plan(workers=1, epochs=1, batches=60))]).diagnoses
    document: dict[str, Any] = json.loads(json.dumps(to_json(found, with_signals=True)))
    return document


def _everywhere(content: Any, *, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to each value in a document."""
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    few = before[-1:] in {("signals",), ("facts",), ("names",), ("abstained",)}
    for name, value in list(parts)[: 2 if few else None]:
        yield (*before, name)
        yield from _everywhere(value, before=(*before, name))


def test_whoever_answers_in_its_place_breaks_no_command(serve: Callable[[Answer], str]) -> None:
    """Another value in each place: one line says that it is no exporter, or it is shown as it is."""
    document = _told()
    ways = [way for way in _everywhere(document) if way[:1] == ("runs",)]
    answer = b""
    url = serve(lambda *_: (200, answer))
    refused = 0
    for way in ways:
        for value in (None, True, "x\u2028y: [/red]\ud800", 1e308, -1, [], {}, [[1]], {"a": 1}):
            changed = deepcopy(document)
            place: Any = changed
            for step in way[:-1]:
                place = place[step]
            place[way[-1]] = value
            answer = json.dumps(changed).encode()
            try:
                found = diagnoses(url)
            except SourceError:
                refused += 1
                continue
            for told in (to_text(found, (), verbose=True), to_markdown(found, (), verbose=True), to_cfg(found)):
                told.encode()
    assert refused > len(ways)


def test_advice_that_leads_elsewhere_is_left_out(serve: Callable[[Answer], str]) -> None:
    """A file for `yolo cfg=` names weights, and those run code; a variable names libraries."""
    document = _told()
    verdict = document["runs"][0]["verdicts"][0]
    verdict["arguments"] = {
        "workers": 4,
        "model": "/tmp/evil.pt",
        "resume": "/tmp/evil.pt",
        "cache": "ram",
        "lr0": 1e400,
    }
    verdict["environment"] = {"OMP_NUM_THREADS": "1", "LD_PRELOAD": "/tmp/evil.so"}
    verdict["evidence"] = "slow\nmodel: /tmp/evil.pt\u2028project: /tmp\x85data: /tmp"
    found = diagnoses(serve(lambda *_: (200, json.dumps(document).encode())))
    assert found[0].verdicts[0].advice.arguments == {"workers": 4, "cache": "ram"}
    assert found[0].verdicts[0].advice.environment == {"OMP_NUM_THREADS": "1"}
    cfg = to_cfg(found, changes=True)
    assert yaml.safe_load(cfg) == {"mode": "train", "workers": 4, "cache": "ram"}
    assert "model: /tmp" in cfg  # in a comment


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
