"""The reports people open, in a browser: nothing is fetched, nothing is wider than the screen, plots have a size."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main

from tests.axe import violations
from tests.chromium import Page, chromium
from tests.conftest import require_binary
from tests.recordings import cases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Asks the page itself, and leaves the answer in its title.
QUESTION = """
<script>addEventListener("load", () => {
  const root = document.documentElement
  const plots = [...document.querySelectorAll("svg,canvas")].map(plot => plot.getBoundingClientRect())
  const rows = [...document.querySelectorAll("tr")].filter(row => row.children.length)
  document.title = JSON.stringify({
    language: root.lang,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name),
    overflow: root.scrollWidth - root.clientWidth,
    plots: plots.length,
    flat: plots.filter(box => box.width < 20 || box.height < 8).length,
    outside: plots.filter(box => box.right > root.clientWidth + 1).length,
    ragged: rows.filter(row => !row.textContent.trim()).length,
    quirks: document.compatMode != "CSS1Compat",
  })
})</script></body>"""


def _report(folder: Path, *recordings: str) -> str:
    page = folder / "report.html"
    done = CliRunner().invoke(main, ["report", *(str(cases.path(name)) for name in recordings), "--html", str(page)])
    assert done.exit_code == 0, done.output
    return page.read_text(encoding="utf-8")


def _answer(folder: Path, page: str, width: int) -> dict[str, Any]:
    """What the page says of itself in a window of this width, in pixels."""
    assert page.count("</body>") == 1
    file = folder / "page.html"
    file.write_text(page.replace("</body>", QUESTION), encoding="utf-8")
    command = [require_binary("chromium"), "--headless", "--no-sandbox", "--disable-gpu"]
    command += [
        f"--user-data-dir={folder / 'me'}",
        f"--window-size={width},800",
        "--virtual-time-budget=2000",
        "--dump-dom",
        file.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    found = re.search(r"<title>(\{.*?\})</title>", dom)
    assert found, dom[:2000]
    answer: dict[str, Any] = json.loads(found[1])
    return answer


@pytest.mark.parametrize("recordings", [("straggler",), ("loader_workers", "healthy_single")], ids=["one", "two"])
@pytest.mark.parametrize("width", [500, 1280])
def test_report(tmp_path: Path, recordings: tuple[str, ...], width: int) -> None:
    """One file with plots, of one run and of two."""
    answer = _answer(tmp_path, _report(tmp_path, *recordings), width)
    assert (answer["fetched"], answer["overflow"], answer["quirks"]) == ([], 0, False)
    assert answer["plots"] > 2
    assert (answer["flat"], answer["outside"], answer["ragged"]) == (0, 0, 0)


# --- with its script, and without -----------------------------------------------------------------------------------

CANVASES = """[...document.querySelectorAll("figure canvas")]"""
#: What the legends say of the time.
TIMES = """[...document.querySelectorAll("figure .u-series:first-child .u-value")].map((one) => one.innerText)"""
#: Where the first chart lies.
BOX = """(({ x, y, width, height }) => [x, y, width, height])(
  document.querySelector(".u-over").getBoundingClientRect())"""
#: What all charts show, where that is the same.
STRETCHES = """[...new Set(drawn.map(({ plot }) => [plot.scales.x.min, plot.scales.x.max].map(Math.round).join()))]"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser."""
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture(scope="module", params=["en", "zh-CN"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report on two ranks, in each language."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOSCOPE_LANGUAGE", request.param)
        _report(folder, "straggler")
    return (folder / "report.html").as_uri()


def test_curves_are_drawn_in_both_languages(tab: Page, report: str) -> None:
    """No error, nothing asked for, ink in every chart, on a desktop and on a phone in the dark."""
    for width, scheme in ((1366, "light"), (390, "dark")):
        tab.size(width, 844, phone=width < 400)
        tab.scheme(scheme)
        tab.go(report)
        tab.wait(f"{CANVASES}.length > 4")
        tab.pause(0.2)
        assert tab.errors == []
        assert [address for address in tab.requests if not address.startswith(("file:", "data:"))] == []
        assert min(tab.value(f"{CANVASES}.map((one) => one.toDataURL().length)")) > 4000  # an empty one has about 2000
        assert tab.value("document.documentElement.scrollWidth <= innerWidth")
        assert tab.value(f"{CANVASES}.every((one) => one.getBoundingClientRect().right <= innerWidth + 1)")
        assert violations(tab) == []


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_comparisons_are_for_everybody(
    tab: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    """Names, contrast and the order of headings, where each run has its own below the page's; better, and worse."""
    monkeypatch.setenv("YOLOSCOPE_LANGUAGE", language)
    runs = ("loader_workers", "healthy_single")
    tab.size(1366, 900)
    for mark, order in (("better", runs), ("worse", runs[::-1])):
        _report(tmp_path, *order)
        for scheme in ("light", "dark"):
            tab.scheme(scheme)
            tab.go((tmp_path / "report.html").as_uri())
            tab.wait(f"{CANVASES}.length > 4")
            assert tab.value(f"document.querySelectorAll('td.{mark}').length") > 2
            assert violations(tab) == []
    assert tab.value("document.querySelectorAll('h3').length") > 4


def test_the_cursor_is_shared_and_charts_are_zoomed_together(tab: Page, report: str) -> None:
    """Over one chart all tell of the same time; what is selected in one is shown in all; Escape shows the whole."""
    tab.size(1366, 900)
    tab.scheme("light")
    tab.go(report)
    tab.wait(f"{CANVASES}.length > 4")
    tab.value("document.querySelector('figure').scrollIntoView({ block: 'center' })")
    x, y, width, height = tab.value(BOX)
    last = tab.value(TIMES)
    tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + width / 2, y=y + height / 2)
    tab.wait(f"{TIMES}[0] !== {json.dumps(last[0])}")
    assert len({time[:3] for time in tab.value(TIMES)}) == 1  # to ten seconds: each has points of its own
    tab.ask(
        "Input.dispatchMouseEvent", type="mousePressed", x=x + width / 2, y=y + height / 2, button="left", clickCount=1
    )
    for step in (0.6, 0.7):
        tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + width * step, y=y + height / 2, button="left")
    tab.ask("Input.dispatchMouseEvent", type="mouseReleased", x=x + width * 0.7, y=y + height / 2, button="left")
    tab.wait(f"zoomed !== null && {STRETCHES}.length === 1")
    tab.value("document.querySelector('figure').focus()")
    tab.press("Escape")
    tab.wait("zoomed === null && drawn.every(({ plot }) => plot.scales.x.min === 0)")
    assert tab.errors == []


def test_without_a_script_it_can_be_read(tab: Page, report: str) -> None:
    """Verdicts, tables, the bars, and each curve's figures."""
    tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.go(report)
        tab.pause(0.5)
        tree = json.dumps(tab.ask("DOMSnapshot.captureSnapshot", computedStyles=["display"]))
    finally:
        tab.ask("Emulation.setScriptExecutionDisabled", value=False)
    for part in ("straggler", "box_loss", "rank 1 worker 5"):
        assert part in tree
    assert tab.errors == []
