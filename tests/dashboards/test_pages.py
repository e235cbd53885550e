"""The pages in docs/dashboards: one per dashboard and language, written by hand above the mark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from yoloscope_exporter.language import LANGUAGES

from dashboards.pages import MARK, page, path
from deploy.prometheus.rulebook import ALERTS
from tests.dashboards.queries import DASHBOARDS, panels
from tests.deploy.alert_texts import texts_of

ROOT = Path(__file__).parents[2]
each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


@each_dashboard
def test_each_dashboard_has_a_page_that_says_how_to_read_it(name: str) -> None:
    """What it is for, five seconds, thirty seconds and a table of patterns stand above the mark."""
    written = (ROOT / path(*name.split("/"))).read_text(encoding="utf-8").split(MARK)[0]
    assert written.count("**") >= 4
    assert written.count("\n|") >= 5


@each_dashboard
def test_each_panel_is_on_the_page(name: str) -> None:
    """With its description."""
    text = (ROOT / path(*name.split("/"))).read_text(encoding="utf-8")
    for panel in panels(DASHBOARDS[name]):
        assert f"| **{panel['title']}** |" in text


def test_what_people_wrote_is_kept() -> None:
    """Only what stands below the mark is made anew."""
    dashboard = DASHBOARDS["en/run"]
    once = page("# Title\n\nText.\n", dashboard, "en")
    assert once.startswith(f"# Title\n\nText.\n\n{MARK}")
    assert page(once, dashboard, "en") == once


@pytest.mark.parametrize("file", sorted((ROOT / "docs/dashboards").glob("*.md")), ids=lambda file: file.name)
def test_links_between_pages_lead_somewhere(file: Path) -> None:
    """Relative links only; each names a file that is there."""
    for target in re.findall(r"\]\(([^)#]+)", file.read_text(encoding="utf-8")):
        assert (file.parent / target).exists(), target


def names(language: str) -> set[str]:
    """Everything that a set of dashboards calls by a name: dashboards, rows, panels, columns, lines and marks."""
    found = set()
    for name in (name for name in DASHBOARDS if name.startswith(f"{language}/")):
        dashboard = DASHBOARDS[name]
        found.add(dashboard["title"].removeprefix("yoloscope / "))
        found |= {panel["title"] for panel in dashboard["panels"]} | {panel["title"] for panel in panels(dashboard)}
        found |= {mark["name"] for mark in dashboard.get("annotations", {}).get("list", [])}
        for panel in panels(dashboard):
            found |= {target.get("legendFormat", "") for target in panel["targets"]}
            for step in panel.get("transformations", []):
                found |= set(step["options"].get("renameByName", {}).values())
    return found


def _written(name: str) -> str:
    """The part of a page that people wrote."""
    return (ROOT / path(*name.split("/"))).read_text(encoding="utf-8").split(MARK)[0]


@each_dashboard
def test_what_a_page_names_exists(name: str) -> None:
    """Names in italics, or in Chinese quotes, are those of that set of dashboards; a mark may leave out its reason."""
    language = name.split("/", maxsplit=1)[0]
    pattern = r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)" if language == "en" else "“([^”]+)”"
    known = names(language)
    for title in re.findall(pattern, _written(name)):
        assert title in known | {one.split(" (")[0] for one in known} | OTHERS, title


@each_dashboard
def test_what_a_panel_names_exists(name: str) -> None:
    """A panel's text leads to dashboards, tables and panels that exist, and to files of the repository that do."""
    language = name.split("/", maxsplit=1)[0]
    pattern = r"(?:[Tt]he (?:dashboards?|panel|table|row)|see|open|look at) ([A-Z]\w+(?: [A-Za-z0-9]\w*)*)"
    for panel in panels(DASHBOARDS[name]):
        text = panel["description"].replace("**", "")
        for title in re.findall(pattern if language == "en" else "“([^”]+)”", text):
            words = title.split(" ")
            starts = {" ".join(words[:count]) for count in range(1, len(words) + 1)}
            assert starts & names(language) or title in OTHERS, (panel["title"], title)
        for file in re.findall(r"(?:docs|deploy)/[\w./-]+\w", text):
            assert (ROOT / file).exists(), (panel["title"], file)


def named_in_alerts() -> list[tuple[str, str, str]]:
    """Language and text of every alert, and the name of the alert."""
    return [
        (language, text, alert.name)
        for alert in ALERTS
        for language in LANGUAGES
        for text in texts_of(alert, language).values()
    ]


#: How an alert's text leads to a panel: its title and its dashboard's.
LEADS = {
    "en": re.compile(r"'([^']+(?:'s [^']+)?)' on the dashboard ((?:[A-Z]\w+)(?: \w+)?)"),
    "zh-CN": re.compile(r"仪表盘“(?P<board>[^”]+)”的“(?P<panel>[^”]+)”"),
}
#: A dashboard that is spoken of without a name; `the dashboards` are all of them.
NAMELESS = {"en": re.compile(r"dashboard(?!s\b)"), "zh-CN": re.compile(r"仪表盘(?!上。|和告警)")}


def panels_of(language: str, board: str) -> set[str]:
    """Panels and marks of the dashboard of that title; in a sentence a word that is none of it may follow."""
    found = [one for name, one in DASHBOARDS.items() if name.startswith(f"{language}/") and leads_to(board, one)]
    marks = {mark["name"] for one in found for mark in one.get("annotations", {}).get("list", [])}
    return marks | {panel["title"] for one in found for panel in panels(one)}


def leads_to(board: str, dashboard: dict[str, Any]) -> bool:
    """Whether a dashboard is called that, or what stands before the last word."""
    return dashboard["title"].removeprefix("yoloscope / ") in {board, board.rpartition(" ")[0]}


def test_what_an_alert_names_exists() -> None:
    """Each panel on its dashboard, each alert, each dashboard behind a link; none is spoken of without its name."""
    leads = 0
    for language, text, alert in named_in_alerts():
        found = list(LEADS[language].finditer(text))
        for match in found:
            panel, board = (match["panel"], match["board"]) if language == "zh-CN" else match.groups()
            assert panel in panels_of(language, board), (alert, panel, board)
        assert len(NAMELESS[language].findall(text)) == len(found), (alert, text)
        leads += len(found)
        called = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", text)) - NO_ALERTS
        assert called <= {one.name for one in ALERTS}, (alert, called)
    assert leads > 40
    assert {alert.dashboard for alert in ALERTS} <= {one["uid"] for one in DASHBOARDS.values()}


#: Names of others that look like an alert's.
NO_ALERTS = {"DataLoader", "InfiniBand", "InfiniteDataLoader", "PodMonitor", "PyTorch"}
#: What texts speak of that is no name on a dashboard: a variable of NCCL, and the text of values that are not there.
OTHERS = {"NCCL_DEBUG", "不适用", "无数据"}


def test_a_name_that_does_not_exist_is_noticed() -> None:
    """The checks above have something to compare with, in both languages."""
    assert {"Waste by cause", "Data pipeline", "CPU or storage", "Idle"} <= names("en")
    assert {"按原因划分的浪费", "数据管道", "CPU 还是存储"} <= names("zh-CN")
    assert "Held but idle" not in names("en")
