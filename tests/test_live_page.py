"""The live page in a real browser: it draws, follows, survives, says what is the matter, and everybody can use it."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.language import CHINESE, ENGLISH, LANGUAGES, translated
from yoloscope_exporter.web import page as frame
from yoloscope_exporter.web.config_file import WebConfigFile

from tests.axe import violations
from tests.chromium import Page, chromium
from tests.exporter.simulated import Simulated, node, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TIME_OF_A_BATCH = "Where the time of a batch goes"
LIVE = 'document.body.dataset.state === "live"'
#: Charts that stand there.
CHARTS = """[...document.querySelectorAll("figure:not([hidden])")].map(
  (figure) => figure.dataset.chart + " " + figure.dataset.kind)"""
#: Where the first chart lies, and what the legends of all of them say of the cursor's time.
BOX = """(({ x, y, width, height }) => [x, y, width, height])(
  document.querySelector("figure[data-chart=images] .u-over").getBoundingClientRect())"""
TIMES = """[...document.querySelectorAll("figure:not([hidden]) .u-series:first-child .u-value")].map(
  (one) => one.innerText)"""
#: Charts that reach beyond the window.
WIDE = """[...document.querySelectorAll("figure:not([hidden]) canvas")].filter(
  (one) => one.getBoundingClientRect().right > innerWidth + 1).length"""
HIDE = """Object.defineProperty(document, "hidden", { value: %s, configurable: true })
document.dispatchEvent(new Event("visibilitychange"))"""
#: How much is in the picture of a chart, in bytes; an empty one has about 2000.
INK = """(name) => document.querySelector(`figure[data-chart=${name}] canvas`).toDataURL().length"""
PHONE, DESKTOP = (390, 844, True), (1366, 900, False)


#: What tests see of a page's connections; a page that has lost its own tries again sooner.
WATCHED = """
const [Real, later, often] = [EventSource, setTimeout, setInterval]
window.sources = []
window.EventSource = class extends Real {
  constructor(url) {
    super(url)
    sources.push(this)
    this.addEventListener('message', ({ data }) => { window.told = data })
  }
}
window.setTimeout = (call, after) => later(call, after === 3000 ? 300 : after)
window.setInterval = (call, every) => { window.watch = call; return often(call, every) }
"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests, that is told something every half second."""
    with chromium(tmp_path_factory.mktemp("chromium")) as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoloscope_exporter.web.api.EVERY_SECONDS", 0.5)
        made.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCHED)
        yield made


@pytest.fixture(scope="module")
def starved() -> Iterator[Simulated]:
    """A run of two ranks that wait for data, with three minutes behind it."""
    with simulated(node("starved", gpus=2, workers=8, before=900, speed=20), past=180) as made:
        yield made


@pytest.fixture(autouse=True)
def _settings(request: pytest.FixtureRequest) -> None:
    """What one test set is no other's."""
    if "tab" in request.fixturenames:
        tab: Page = request.getfixturevalue("tab")
        tab.size(1366, 900)
        tab.scheme("light")


def opened(tab: Page, url: str, query: str = "", until: str = LIVE) -> None:
    """The page, once it shows something."""
    tab.go(f"{url}/{query}")
    tab.wait(until)


def clean(tab: Page, url: str) -> None:
    """Nothing went wrong, and nothing was asked for elsewhere."""
    tab.pause(0.1)
    assert tab.errors == []
    assert [address for address in tab.requests if not address.startswith((url, "data:"))] == []


def shown(tab: Page, selector: str) -> str:
    """The text of an element."""
    text: str = tab.value(f"document.querySelector({json.dumps(selector)}).innerText")
    return text


# --- what it shows ----------------------------------------------------------------------------------------------------


def test_it_draws_the_run_first(tab: Page, starved: Simulated) -> None:
    """State, ETA, verdict with evidence and fix; phases; workers; ranks; GPUs; charts with ink in them; events."""
    opened(tab, starved.url)
    tab.wait(f"({CHARTS}).length > 9")
    run = shown(tab, "#runs li")
    assert re.search("training|validating", run)
    for part in ("ETA", "images/s", "loader"):
        assert part in run
    verdict = shown(tab, "#verdicts article")
    for part in ("Evidence", "Cause", "Fix", "Verify"):
        assert part in verdict
    assert "data_wait" in shown(tab, "#phases")
    assert tab.value("document.querySelectorAll('#ranks tbody tr').length") == 2
    assert tab.value("document.querySelectorAll('#gpus .tile').length") == 2
    for part in ("Utilization", "GPU memory", "Power", "Temperature", "Throttled"):
        assert part in shown(tab, "#gpus .tile")
    drawn = set(tab.value(CHARTS))
    assert {"images lines", "data_wait lines", "preparation heat", "gpu_busy lines", "power lines"} <= drawn
    assert {"temperature lines", "resident lines", "loss lines", "metric lines", "cuda_growth growth"} <= drawn
    for chart in ("images", "preparation", "gpu_busy", "loss"):
        assert tab.value(f"({INK})('{chart}')") > 5000
    assert (
        tab.value("document.querySelectorAll('figure[data-kind=heat] tr.u-series').length") == 9
    )  # time, and workers 0 to 7
    assert shown(tab, "#events li")
    clean(tab, starved.url)


def test_it_follows(tab: Page, starved: Simulated) -> None:
    """Times go on, charts get further points, and an old page is not loaded anew."""
    opened(tab, starved.url)
    tab.value("window.mine = 1")
    before = shown(tab, "#updated")
    assert re.search(r"\d\d:\d\d:\d\d[+-]\d\d:\d\d$", before)  # local time with its offset
    told = tab.wait(f"{TIMES}.at(-1)")
    ink = tab.value(f"({INK})('images')")
    tab.wait(f"document.querySelector('#updated').innerText !== {json.dumps(before)}")
    tab.wait(f"({INK})('images') !== {ink}")
    tab.wait(f"{TIMES}.at(-1) !== {json.dumps(told)}")  # without a cursor, legends tell what is now
    assert tab.value("window.mine") == 1
    clean(tab, starved.url)


def test_cursor_and_zoom_are_shared(tab: Page, starved: Simulated) -> None:
    """Over one chart the cursor moves in all; what is zoomed in one is zoomed in all, by mouse and by keyboard."""
    opened(tab, starved.url)
    tab.wait(f"({CHARTS}).length > 9")
    tab.value("document.querySelector('figure[data-chart=images]').scrollIntoView()")
    x, y, width, height = tab.value(BOX)
    tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + 0.95 * width, y=y + height / 2)
    tab.wait(f"new Set({TIMES}).size <= 2 && !({TIMES}).includes('--')")
    assert set(tab.value(TIMES)) != {"--"}
    begin, end = (x + 0.9 * width, x + 0.98 * width)
    tab.ask("Input.dispatchMouseEvent", type="mousePressed", x=begin, y=y + 40, button="left", clickCount=1)
    tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=end, y=y + 40, button="left")
    ink = tab.value(f"({INK})('power')")
    tab.ask("Input.dispatchMouseEvent", type="mouseReleased", x=end, y=y + 40, button="left", clickCount=1)
    tab.wait(f"({INK})('power') !== {ink}")
    tab.value("document.querySelector('figure[data-chart=power]').focus()")
    tab.press("Escape")
    tab.press("ArrowLeft")
    tab.press("ArrowLeft")
    tab.wait(f"!({TIMES}).includes('--')")
    tab.press("+")
    clean(tab, starved.url)


def test_a_fix_is_copied(tab: Page, starved: Simulated) -> None:
    """The button says so."""
    opened(tab, starved.url)
    tab.wait("document.querySelector('button.copy')")
    copied = tab.value("document.querySelector('button.copy').dataset.copy")
    tab.value("document.execCommand = () => { window.copied = document.activeElement.value; return true }")
    tab.value("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    tab.value("document.querySelector('button.copy').click()")
    tab.wait("document.querySelector('button.copy').innerText === 'Copied'")
    assert tab.value("window.copied") == copied
    assert re.search(r"\w+=\S+", copied)


@pytest.mark.parametrize("window", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_window_and_language(tab: Page, starved: Simulated, window: tuple[int, int, bool], language: str) -> None:
    """Nothing is wider than the window, and every fixed text is in the language."""
    width, height, phone = window
    tab.size(width, height, phone=phone)
    opened(tab, starved.url, f"?lang={language}")
    tab.wait(f"({CHARTS}).length > 9")
    assert tab.value("document.documentElement.scrollWidth - innerWidth") <= 0
    assert tab.value("document.documentElement.lang") == language
    all_of_it = shown(tab, "body")
    for text in ("Runs", "Evidence", "Cause", "Fix", "Last hour", "Events", "Temperature", TIME_OF_A_BATCH):
        chinese = translated(text, CHINESE)
        assert (text if language == ENGLISH else chinese) in all_of_it
        assert chinese not in all_of_it or language == CHINESE
    assert tab.value(WIDE) == 0
    clean(tab, starved.url)


def test_dark_and_light(tab: Page, starved: Simulated) -> None:
    """By what the browser prefers, charts included, without loading anew."""
    opened(tab, starved.url)
    tab.wait(f"({CHARTS}).length > 9")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.value(paper)
    tab.scheme("dark")
    tab.wait(f"{paper} !== {json.dumps(light)}")
    tab.wait(f"({INK})('images') > 5000")
    clean(tab, starved.url)


def test_growth_is_of_one_epoch(tab: Page) -> None:
    """Points that are drawn are a minute apart where they are old: epochs that ended between two share what came."""
    script = Path(frame.__file__).with_name("static") / "page.js"
    (grown,) = re.findall(r"^const (grown = .*?^})", script.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    epochs, resident = [1, 2, 6, 6, 7, 3, 4], [100, 110, 190, 195, 205, 80, 90]
    ends = [False, True, True, False, True, False, True]
    told = tab.value(f"(() => {{ const {grown}; return grown({resident}, {epochs}, {json.dumps(ends)}) }})()")
    assert told == [None, None, 20, None, 15, None, None]  # of an epoch that was begun again nothing is known


# --- states -----------------------------------------------------------------------------------------------------------


def test_it_survives_a_restart_of_the_exporter(tab: Page) -> None:
    """The page says that nobody answers, keeps what it had, and goes on by itself."""
    samples = node("healthy", workers=2)
    with simulated(samples, past=20) as made:
        port = made.port
        opened(tab, made.url)
        tab.wait("document.querySelector('#runs li')")
    tab.wait('document.body.dataset.state === "lost"')
    assert "does not answer" in shown(tab, "#banner")
    assert tab.value("document.querySelectorAll('#runs li').length") > 0
    with simulated(samples, past=20, port=port):
        tab.wait(LIVE)
        assert shown(tab, "#banner") == ""
        tab.wait("document.querySelectorAll('#gpus .tile').length")
    tab.go("about:blank")


def test_no_run_and_no_gpu(tab: Page) -> None:
    """Each is said; no chart stands there empty."""
    with simulated(lambda _now: [Sample(catalog.CPU_CORES, (), 4.0)], past=6) as made:
        opened(tab, made.url)
        assert "yoloscope run" in shown(tab, "#no-runs")
        assert "No GPU" in shown(tab, "#no-gpus")
        assert tab.value("document.querySelector('#history').hidden && document.querySelector('#run').hidden")
        clean(tab, made.url)
        tab.go("about:blank")


def test_stale(tab: Page) -> None:
    """An exporter that answers and does not sample shows nothing as if it were now."""
    shift = [0.0]
    with simulated(node(), past=10, clock=lambda: time.monotonic() + shift[0]) as made:
        opened(tab, made.url)
        made.sampler.stop()
        shift[0] = 60.0
        tab.wait('document.body.dataset.state === "stale"')
        assert "No recent samples" in shown(tab, "#banner")
        tab.go("about:blank")


def test_a_password_that_is_wanted_meanwhile(tab: Page, tmp_path: Path) -> None:
    """The page says what to do."""
    file = tmp_path / "web.yml"
    file.write_text("http_server_config:\n  headers:\n    X-Robots-Tag: none\n", encoding="utf-8")
    with simulated(node(), past=10, file=WebConfigFile(file)) as made:
        opened(tab, made.url)
        file.write_text(
            "basic_auth_users:\n  me: $2b$04$JlEuRMoUYIrgYqLPNEDhpeq9eJL0qQEIIQyzXVcGVJmWcwvqzVvLG\n", encoding="utf-8"
        )
        tab.cancel_passwords(cancel=True)
        tab.value("document.dispatchEvent(new Event('visibilitychange'))")  # connects anew
        tab.wait('document.body.dataset.state === "password"')
        assert "Reload" in shown(tab, "#banner")
        tab.cancel_passwords(cancel=False)
        tab.go("about:blank")


def test_a_network_that_is_gone(tab: Page, starved: Simulated) -> None:
    """It may tell nothing at all: what is not heard of is not live."""
    opened(tab, starved.url)
    told = tab.value("""(() => {
        sources.at(-1).close()
        const now = performance.now.bind(performance)
        performance.now = () => now() + 30_000
        watch()
        return document.body.dataset.state
    })()""")
    assert told == "lost"
    tab.wait(LIVE)  # connects anew


def test_a_run_that_is_gone_makes_way(tab: Page, starved: Simulated) -> None:
    """Where nobody has chosen it."""
    gone = """(() => {
        const [before, none] = [sources.length, { asked: 'gone', run: null, runs: [], total: 0 }]
        sources.at(-1).onmessage({ data: JSON.stringify({ ...JSON.parse(told), ...none }) })
        return sources.length - before
    })()"""
    for query, connections in (("", 1), ("?run=gone", 0)):
        opened(tab, starved.url, query)
        assert tab.value(gone) == connections


NASTY = (
    '<img src=x onerror="window.hurt=1">',
    "训练/一号",
    "x" * 255,
    "a'b&c=d;e?f#g",
    "</script><script>window.hurt=1</script>",
)


def test_names_of_runs_are_text(tab: Page) -> None:
    """Markup is shown and not followed, long names are cut, and each can be chosen by a click."""
    names = [*NASTY, *(f"run {number}" for number in range(995))]
    found: Sequence[Sample] = [Sample(catalog.TRAIN_STATE, (name, "0", "train"), 1.0) for name in names]
    found = [*found, *(Sample(catalog.TRAIN_UP, (name, "0"), float(name in NASTY)) for name in names)]
    with simulated(lambda _now: found, past=4, diagnosed=False) as made:
        tab.size(*PHONE[:2], phone=True)
        opened(tab, made.url, f"?run={quote(NASTY[0])}")
        tab.wait("document.querySelectorAll('#runs li').length === 100")
        assert shown(tab, "#run-title") == NASTY[0]
        assert "900 more runs" in shown(tab, "#more-runs")
        for name in NASTY[1:]:
            tab.value(
                f"[...document.querySelectorAll('#runs a')].find((a) => a.dataset.run === {json.dumps(name)}).click()"
            )
            tab.wait(f"document.querySelector('#run-title').textContent === {json.dumps(name)}")
            assert tab.value("new URLSearchParams(location.search).get('run')") == name
        assert tab.value("document.documentElement.scrollWidth - innerWidth") <= 0
        assert tab.value("window.hurt") is None
        tab.value("history.back()")
        tab.wait(f"document.querySelector('#run-title').textContent === {json.dumps(NASTY[-2])}")
        search(tab, "RUN 994")
        tab.wait("document.querySelectorAll('#runs li').length === 1")
        assert shown(tab, "#runs b") == "run 994"
        assert shown(tab, "#more-runs") == ""
        assert shown(tab, "#run-title") == NASTY[-2]  # what was chosen stays
        search(tab, "nobody <b>has</b> this")
        tab.wait("document.querySelectorAll('#runs li').length === 0")
        assert shown(tab, "#more-runs") == "No run has all of these words."
        tab.go(f"{made.url}/?find=run+994")  # the address says it, too
        tab.wait("document.querySelectorAll('#runs li').length === 1")
        assert tab.value("document.querySelector('#find').value") == "run 994"
        clean(tab, made.url)
        tab.go("about:blank")


def search(tab: Page, words: str) -> None:
    """Type what runs are searched for."""
    tab.value(f"document.querySelector('#find').value = {json.dumps(words)}")
    tab.value("document.querySelector('#find').dispatchEvent(new Event('input'))")


def test_a_client_with_a_wrong_clock(tab: Page, starved: Simulated) -> None:
    """A year ahead, in another time zone: the page is live, and tells the exporter's times in its own zone."""
    tab.ask("Emulation.setTimezoneOverride", timezoneId="Asia/Kathmandu")
    script = tab.ask(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""const Right = Date
        window.Date = class extends Right {
          constructor(...given) { super(...(given.length ? given : [Right.now() + 31_536_000_000])) }
          static now() { return Right.now() + 31_536_000_000 }
        }""",
    )["identifier"]
    try:
        opened(tab, starved.url)
        tab.wait(f"({CHARTS}).length > 9")
        told = shown(tab, "#updated")
        assert told.endswith("+05:45")
        zone = timezone(timedelta(hours=5, minutes=45))
        hour = datetime.strptime(told.split()[-1], "%H:%M:%S%z").timetz()
        now = datetime.now(zone)
        late = (now.hour - hour.hour) * 3600 + (now.minute - hour.minute) * 60 + now.second - hour.second
        assert late % 86400 < 30
        assert re.fullmatch(r"\d\d:\d\d:\d\d", tab.value(f"{TIMES}.at(-1)"))
        assert tab.value("new Date().getFullYear()") == now.year + 1
        clean(tab, starved.url)
    finally:
        tab.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
        tab.ask("Emulation.setTimezoneOverride", timezoneId="")


@pytest.mark.parametrize(
    ("asked", "language"), [("?lang=fr", "en"), ("?lang=zh-TW", "zh-CN"), ("?lang=%00%3Cb%3E", "en")]
)
def test_a_client_with_a_language_that_is_none(tab: Page, starved: Simulated, asked: str, language: str) -> None:
    """Gets one of the two, and the page works."""
    opened(tab, starved.url, asked)
    assert tab.value("document.documentElement.lang") == language
    tab.wait("document.querySelector('#runs li')")
    clean(tab, starved.url)


def test_a_page_without_a_place_waits(tab: Page, starved: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page too many says so."""
    monkeypatch.setattr("yoloscope_exporter.web.answers.MOST_STREAMS", 0)
    opened(tab, starved.url, until='document.body.dataset.state === "crowded"')
    assert "Too many pages" in shown(tab, "#banner")
    monkeypatch.undo()
    tab.wait(LIVE)


def test_what_is_hidden_costs_nothing(tab: Page, starved: Simulated) -> None:
    """A tab in the background has no connection."""
    opened(tab, starved.url)
    tab.value(HIDE % "true")
    deadline = time.monotonic() + 10
    while starved.api.streams and time.monotonic() < deadline:
        tab.pause(0.05)
    assert starved.api.streams == 0
    tab.value(HIDE % "false")
    deadline = time.monotonic() + 10
    while not starved.api.streams and time.monotonic() < deadline:
        tab.pause(0.05)
    assert starved.api.streams == 1


# --- for everybody ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_accessibility(tab: Page, starved: Simulated, window: tuple[int, int, bool], scheme: str) -> None:
    """Nothing that axe calls serious: names, roles, contrast, order of headings."""
    tab.size(*window[:2], phone=window[2])
    tab.scheme(scheme)
    opened(tab, starved.url, f"?lang={'zh' if scheme == 'dark' else 'en'}")
    tab.wait(f"({CHARTS}).length > 9")
    assert violations(tab) == []


def test_the_policy_is_in_force(tab: Page, starved: Simulated) -> None:
    """What somebody managed to put into the page would not run."""
    opened(tab, starved.url)
    assert "unsafe" not in frame.POLICY
    tab.value(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.hurt = 1' }))"
    )
    tab.pause(0.2)
    assert tab.value("window.hurt") is None
    assert any("Content Security Policy" in error for error in tab.errors)
