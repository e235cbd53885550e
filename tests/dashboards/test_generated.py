"""The committed files: they are what the generator makes, and what Grafana can read."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.plugins import register_default_plugins

from dashboards import sdk
from dashboards.generate import files
from dashboards.look import UNITS
from tests.dashboards.queries import DASHBOARDS, panels

ROOT = Path(__file__).parents[2]
FILES = files()
each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


@pytest.mark.parametrize("path", FILES)
def test_committed_is_what_is_generated(path: str) -> None:
    """Byte for byte; `python -m dashboards` mends it."""
    assert (ROOT / path).read_text(encoding="utf-8") == FILES[path]


def test_nothing_stale_is_committed() -> None:
    """Each JSON file below `generated` is one that the generator writes."""
    committed = {str(path.relative_to(ROOT)) for path in (ROOT / "dashboards/generated").rglob("*.json")}
    assert committed == {path for path in FILES if path.startswith("dashboards/generated")}


def test_check_passes_and_writes_nothing() -> None:
    """`python -m dashboards --check` is silent and succeeds on what is committed."""
    run = subprocess.run(
        [sys.executable, "-m", "dashboards", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@each_dashboard
def test_the_sdk_reads_back_what_it_wrote(name: str) -> None:
    """Decoding and encoding drops unknown keys; an equal result means that every key is one Grafana's schema has.

    But for where links and marks are shown, which is optional in the schema and the SDK cannot leave out, and for the
    first columns of tables, which stay in Grafana 12.2: the SDK is older.
    """
    register_default_plugins()
    encoded = json.loads(sdk.JSONEncoder().encode(sdk.models.Dashboard.from_json(DASHBOARDS[name])))
    for each in _above_the_panels(encoded):
        assert each.pop("placement") == "inControlsMenu"
    for panel in panels(encoded):
        if panel["type"] == "table":
            panel["options"]["frozenColumns"] = {"left": 1}
    assert encoded == DASHBOARDS[name]


def _above_the_panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [*dashboard["links"], *dashboard.get("annotations", {}).get("list", [])]


@each_dashboard
def test_links_and_marks_are_in_sight(name: str) -> None:
    """The drop-down of dashboards and the switches of the marks stand at the top, not in a menu (Grafana 13)."""
    assert _above_the_panels(DASHBOARDS[name])
    assert all("placement" not in each for each in _above_the_panels(DASHBOARDS[name]))


@each_dashboard
def test_the_model_is_one_that_old_grafanas_read(name: str) -> None:
    """Classic model, schema version 42 at most, and no id, which belongs to the server."""
    dashboard = DASHBOARDS[name]
    assert dashboard["schemaVersion"] <= 42
    assert "id" not in dashboard
    assert "spec" not in dashboard


def test_uids_and_titles_are_unique() -> None:
    """A uid or title that two files share makes provisioning refuse one of them."""
    for key in ("uid", "title"):
        values = [dashboard[key] for dashboard in DASHBOARDS.values()]
        assert len(set(values)) == len(values)


@each_dashboard
def test_panel_ids_are_unique(name: str) -> None:
    """Links to a panel use its id; rows count too."""
    rows = [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] == "row"]
    ids = [panel["id"] for panel in [*rows, *panels(DASHBOARDS[name])]]
    assert len(set(ids)) == len(ids)


@each_dashboard
def test_panel_titles_are_unique(name: str) -> None:
    """People name a panel by its title."""
    titles = [panel["title"] for panel in panels(DASHBOARDS[name])]
    assert len(set(titles)) == len(titles)


@each_dashboard
def test_ref_ids_are_unique_in_a_panel(name: str) -> None:
    """Transformations and overrides address queries by refId."""
    for panel in panels(DASHBOARDS[name]):
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs), panel["title"]


@each_dashboard
def test_no_panels_overlap_or_leave_the_grid(name: str) -> None:
    """On the top level, and inside each collapsed row."""
    top = DASHBOARDS[name]["panels"]
    for group in [top, *(panel.get("panels") or [] for panel in top if panel["type"] == "row")]:
        for panel in group:
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
        for one, other in combinations(group, 2):
            assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def _overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return bool(
        a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    )


@each_dashboard
def test_units_are_grafanas(name: str) -> None:
    """Each panel's unit is one of those the catalogue's units are translated to."""
    for panel in panels(DASHBOARDS[name]):
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS.values(), panel["title"]
