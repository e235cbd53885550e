"""The pages in docs/dashboards: one per dashboard and language, written by hand above the mark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboards.pages import MARK, page, path
from tests.dashboards.queries import DASHBOARDS, panels

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


def test_titles_on_the_pages_are_those_of_panels() -> None:
    """What a page sets in italics or Chinese quotes as a panel's name exists in that dashboard set."""
    english = {panel["title"] for name in DASHBOARDS if name.startswith("en/") for panel in panels(DASHBOARDS[name])}
    rows = {panel["title"] for name in DASHBOARDS for panel in DASHBOARDS[name]["panels"] if panel["type"] == "row"}
    for name in (name for name in DASHBOARDS if name.startswith("en/")):
        written = (ROOT / path(*name.split("/"))).read_text(encoding="utf-8").split(MARK)[0]
        for title in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", written):
            assert title in english | rows | COLUMNS, (name, title)


#: Heads of columns, legends and marks that pages speak of.
COLUMNS = {"Idle", "Batch halved", "CUDA context and others"}
