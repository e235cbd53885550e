"""Alerts of this version with an exporter of version 0.1: none goes blind for want of a series that it lacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from deploy.prometheus import generate
from tests.deploy.scenarios import promtool
from tests.deploy.scenarios.faults import FAULTS, Fault
from tests.versions import first

if TYPE_CHECKING:
    from tests.deploy.scenarios.world import Key, World

pytestmark = pytest.mark.timeout(300)

CATALOGUE = """
import json
from yoloscope_exporter import catalog
labels = {metric.name: [*metric.labels] for metric in catalog.METRICS}
print(json.dumps({"labels": labels, "phases": catalog.PHASES, "states": catalog.STATES}))
"""


class Known(NamedTuple):
    """What version 0.1 has: metrics with their labels, values of the labels that are listed, alerts."""

    labels: dict[str, list[str]]
    phases: list[str]
    states: list[str]
    alerts: set[str]

    def has(self, key: Key) -> bool:
        """Whether its exporter publishes such a series."""
        name, labels = key[0], dict(key[1])
        if not name.startswith("yoloscope_"):
            return True
        parts = (name, *(name.removesuffix(suffix) for suffix in ("_bucket", "_sum", "_count")))
        known = any(part in self.labels for part in parts)
        return known and labels.get("phase", "other") in self.phases and labels.get("state", "train") in self.states


@pytest.fixture(scope="module")
def known() -> Known:
    """Asked of its own code."""
    rules: dict[str, Any] = yaml.safe_load((first.path("0.1") / "deploy/prometheus/rules/alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    return Known(**json.loads(first.answer("0.1", CATALOGUE).stdout), alerts=alerts)


def without_news(world: World, known: Known) -> World:
    world.series = {key: pieces for key, pieces in world.series.items() if known.has(key)}
    return world


def test_no_alert_of_version_0_1_goes_blind(known: Known, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each fires on its faults, told by an old exporter, as it did before."""
    told: list[tuple[Fault, World]] = []
    for fault in FAULTS:
        world = fault.world()
        if not all(known.has(key) for key in world.series):
            told.append((fault, without_news(world, known)))
    assert told
    outcome = promtool.outcome(tmp_path_factory.mktemp("rules"), [world for _, world in told], generate.rules())
    fired = {(alert.scenario, alert.name) for alert in outcome.alerts}
    wanted = {(fault.name, name.split("/")[0]) for fault, _ in told for name in fault.raises}
    assert {pair for pair in wanted if pair[1] in known.alerts} - fired == set()
