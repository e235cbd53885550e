"""The live page of a Prometheus, in a real browser: runs of all nodes, any time; what it says when nobody answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.axe import violations
from tests.chromium import Page, chromium
from tests.exporter.web.fleets import END, HEALTHY, SECONDS, START, STARVED, Shown, filled, showing

if TYPE_CHECKING:
    from collections.abc import Iterator

LIVE = 'document.body.dataset.state === "live"'
INK = """(name) => document.querySelector(`figure[data-chart=${name}] canvas`).toDataURL().length"""
QUERY = f"?seconds={SECONDS}&end={END}&lang=en"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser."""
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """An exporter that shows a Prometheus of three nodes."""
    with filled(tmp_path_factory.mktemp("prometheus")) as url, showing(url) as made:
        yield made


def text(tab: Page, selector: str) -> str:
    """What an element shows."""
    told: str = tab.value(f"document.querySelector({json.dumps(selector)}).innerText")
    return told


def choose(tab: Page, start: int, end: int) -> None:
    """Type a time range, and ask for it."""
    for name, time in (("from", start), ("to", end)):
        moment = f"new Date({1000 * time} - 60000 * new Date({1000 * time}).getTimezoneOffset())"
        tab.value(f"document.querySelector('#{name}').value = {moment}.toISOString().slice(0, 16)")
    tab.value("document.querySelector('#between button').click()")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [390, 1366])
def test_the_fleet_is_shown(tab: Page, page: Shown, language: str, width: int) -> None:
    """Runs of all nodes, where they come from, the chosen run's verdict, curves with ink in them, events."""
    tab.size(width, 844, phone=width < 400)
    tab.go(f"{page.url}/{QUERY.replace('=en', '=' + language)}")
    tab.wait(LIVE)
    tab.wait("document.querySelectorAll('figure:not([hidden])').length > 8")
    runs = text(tab, "#runs")
    assert f"{STARVED} (east)" in runs
    assert HEALTHY in runs
    assert "Prometheus http://127.0.0.1" in text(tab, "#source")
    assert tab.value("document.querySelectorAll('#verdicts article code').length") > 0
    for chart in ("images", "data_wait", "gpu_busy"):
        assert tab.value(f"({INK})('{chart}')") > 3000
    assert tab.value("document.querySelectorAll('#gpus .tile').length") == 2
    assert tab.value("document.querySelectorAll('#events li').length") > 0
    assert tab.value("document.documentElement.scrollWidth - innerWidth") <= 0
    assert violations(tab) == []
    tab.pause(0.1)
    assert tab.errors == []
    assert [address for address in tab.requests if not address.startswith((page.url, "data:"))] == []


def test_another_run_and_another_time(tab: Page, page: Shown) -> None:
    """Both stand in the address, so that they can be sent to somebody; the way back leads back."""
    tab.size(1366, 900)
    tab.go(f"{page.url}/{QUERY}")
    tab.wait("document.querySelectorAll('figure:not([hidden])').length > 8")
    tab.value(f"[...document.querySelectorAll('#runs a')].find((a) => a.dataset.run === '{HEALTHY}').click()")
    tab.wait(f"document.querySelector('#run-title').innerText === '{HEALTHY}'")
    choose(tab, START + 300, START + 840)
    asked = f"seconds=540&end={(START + 840) // 60 * 60}"
    assert asked in tab.value("location.search")
    tab.wait("document.querySelectorAll('figure:not([hidden])').length > 8")
    assert any(asked in address for address in tab.requests)
    tab.value("document.querySelector('#range button[data-seconds=\"86400\"]').click()")
    tab.wait("location.search.includes('seconds=86400') && !location.search.includes('end=')")
    tab.wait("document.querySelector('#no-runs') && !document.querySelector('#no-runs').hidden")  # today nobody trains
    assert tab.value("document.querySelector('#from').offsetWidth > 0")  # another time can be chosen
    tab.value("history.back()")
    tab.wait(f"document.querySelector('#run-title').innerText === '{HEALTHY}'")
    tab.wait("document.querySelectorAll('figure:not([hidden])').length > 8")
    assert tab.errors == []


def test_a_search_and_what_is_left_out(tab: Page, page: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search stands in the address, and runs, lines and nodes that are not shown are counted."""
    monkeypatch.setattr("yoloscope_exporter.web.documents.MOST_RUNS", 1)
    tab.go(f"{page.url}/{QUERY}")
    tab.wait("document.querySelectorAll('figure:not([hidden])').length > 8")
    assert "more runs are not listed; find them by name, state or verdict." in text(tab, "#more-runs")
    assert tab.value("document.querySelectorAll('#runs li').length") == 1
    tab.go(f"{page.url}/{QUERY}&find=WEST+yolo11m")
    tab.wait(f"document.querySelector('#runs b')?.innerText === '{STARVED} (west)'")
    assert tab.value("document.querySelector('#find').value") == "WEST yolo11m"
    assert text(tab, "#run-title") == f"{STARVED} (east)"
    monkeypatch.setattr("yoloscope_exporter.web.fleet.MOST_LINES", 1)
    monkeypatch.setattr("yoloscope_exporter.web.fleet.MOST_NODES", 0)
    tab.go(f"{page.url}/?seconds=600&end={END - 60}&lang=en")
    tab.wait("document.querySelector('#more-lines').innerText.includes('more lines are not drawn.')")
    assert text(tab, "#more-nodes") == "GPUs of 1 more nodes are not shown."
    assert tab.errors == []


def test_a_time_range_that_is_none(tab: Page, page: Shown) -> None:
    """Is refused where it is typed."""
    tab.go(f"{page.url}/{QUERY}")
    tab.wait(LIVE)
    choose(tab, START + 600, START + 300)
    assert "five minutes" in tab.value("document.querySelector('#to').validationMessage")
    assert f"end={END}" in tab.value("location.search")


def test_a_prometheus_that_does_not_answer(tab: Page) -> None:
    """The page says who does not answer, and why."""
    with showing("http://me:secret@127.0.0.1:1") as page:
        tab.go(f"{page.url}/?lang=en")
        tab.wait('document.body.dataset.state === "unreachable"')
        banner = text(tab, "#banner")
        assert "Prometheus does not answer as it should" in banner
        assert "127.0.0.1:1 does not answer" in banner
        assert "secret" not in tab.value("document.documentElement.outerHTML")
        tab.go("about:blank")
