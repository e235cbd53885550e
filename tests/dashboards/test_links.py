"""Links lead to dashboards that exist, set variables that these have, and keep time and language."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dashboards.board import TAG
from tests.dashboards.queries import DASHBOARDS, panels, variables

UIDS = {dashboard["uid"]: name for name, dashboard in DASHBOARDS.items()}
each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def urls(node: Any) -> list[str]:
    """Every address in a dashboard, data links and those in overrides included."""
    if isinstance(node, dict):
        own = [node["url"]] if isinstance(node.get("url"), str) and node["url"] else []
        return own + [url for value in node.values() for url in urls(value)]
    if isinstance(node, list):
        return [url for value in node for url in urls(value)]
    return []


@each_dashboard
def test_data_links_lead_to_dashboards_and_variables_that_exist(name: str) -> None:
    """A variable the target lacks would silently be ignored."""
    for url in urls(DASHBOARDS[name]):
        target, query = re.fullmatch(r"/d/([\w-]+)\?(.*)", url).groups()  # type: ignore[union-attr]
        assert UIDS[target].split("/")[0] == name.split("/", maxsplit=1)[0], "a link stays in its language"
        there, here = variables(UIDS[target]), variables(name)
        for part in query.split("&"):
            if set_ := re.match(r"var-(\w+)=", part):
                assert set_[1] in there, url
            elif kept := re.fullmatch(r"\$\{(\w+):queryparam\}", part):
                assert kept[1] in there, url
                assert kept[1] in here, url
            else:
                assert part == "${__url_time_range}", url


@each_dashboard
def test_trainings_and_nodes_in_tables_are_links(name: str) -> None:
    """A column that shows the label `run` or `instance` leads to that training or node."""
    for panel in panels(DASHBOARDS[name]):
        titles = next(
            (step["options"]["renameByName"] for step in panel.get("transformations", []) if step["id"] == "organize"),
            {},
        )
        for label, target in (("run", "run"), ("instance", "node")):
            if label in titles:
                (found,) = (o for o in panel["fieldConfig"]["overrides"] if o["matcher"]["options"] == titles[label])
                there = rf"/d/yoloscope-{target}(-zh)?\?var-{label}=\$\{{__value\.raw:percentencode\}}&"
                assert any(re.match(there, url) for url in urls(found)), panel["title"]


@each_dashboard
def test_dashboards_of_one_language_link_to_each_other(name: str) -> None:
    """One drop-down by tag that keeps time range and variables."""
    dashboard = DASHBOARDS[name]
    (dropdown,) = dashboard["links"]
    assert dropdown["tags"] == dashboard["tags"]
    assert (dropdown["type"], dropdown["asDropdown"], dropdown["includeVars"], dropdown["keepTime"]) == (
        "dashboards",
        True,
        True,
        True,
    )


def test_languages_have_tags_of_their_own() -> None:
    """So that the drop-down of one language does not show the other."""
    tags = {name.split("/")[0]: set(DASHBOARDS[name]["tags"]) for name in DASHBOARDS}
    assert tags == {"en": {TAG}, "zh-CN": {f"{TAG}-zh"}}


def test_some_links_exist() -> None:
    """The fleet leads to trainings and nodes."""
    targets = {re.match(r"/d/([\w-]+)", url)[1] for url in urls(DASHBOARDS["en/fleet"])}  # type: ignore[index]
    assert targets == {"yoloscope-run", "yoloscope-node"}
