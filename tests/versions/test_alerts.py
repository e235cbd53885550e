"""Alerts of this version with an exporter of version 0.1: none goes blind for want of a series that it lacks."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from yoloscope_exporter import catalog as c

from deploy.prometheus import generate
from deploy.prometheus.rulebook import ALERTS, CATEGORIES
from deploy.prometheus.rulebook.records import RECORDED
from tests.deploy.scenarios import promtool
from tests.deploy.scenarios.faults import FAULTS, Fault
from tests.versions import first

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.deploy.scenarios.world import Key, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

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


#: What may be absent whatever the version: the wait of the first batch, verdicts of a run that is not judged yet.
OPTIONAL = (c.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL.name, c.TRAIN_VERDICT.name)


def _reads(name: str, alert: str) -> bool:
    """Whether a rule of the alert reads the metric, itself or by what is recorded for it."""
    return any(one.name == alert and name in _names(one.expr) for one in ALERTS)


@functools.cache
def _names(expr: str) -> frozenset[str]:
    """What stands in an expression, and in those of the recorded series it reads; one may read itself."""
    recorded = {one.name: one.expr for one in RECORDED}
    found: set[str] = set()
    left = [expr]
    while left:
        new = set(re.findall(r"[a-zA-Z_:][\w:]*", left.pop())) - found
        found |= new
        left += [recorded[name] for name in new if name in recorded]
    return frozenset(found)


def _counts(alert: str) -> bool:
    """Whether it counts evaluations, itself or by what is recorded for it."""
    asked = {one.expr for one in ALERTS if one.name == alert}
    read = {one.expr for one in RECORDED if any(one.name in _names(expr) for expr in asked)}
    return any("_samples@" in expr for expr in asked | read)


#: Faults that nothing but a newer metric shows.
SHOWN_ANEW = {
    "driver-asks-for-a-reset",
    "fabric-loses-bandwidth",
    "nearly-too-hot-without-a-limit",
    "predictions-never-begin",
    "predictions-slow-down",
    "predictions-stand-still",
    "shared-memory-of-a-container-fills",
    "somebody-lays-rubbish",
    "sram-fails",
}


def _raised(fault: Fault) -> set[str]:
    return {name.split("/")[0] for name in fault.raises}


def _silent(folder: Path, told: Sequence[tuple[Fault, World]]) -> set[tuple[str, str]]:
    """(world, alert) of those that must fire on their faults and do not.

    What else fires is not asked, nor how soon: worlds meet the rules of one category at a time, which are evaluated
    each minute unless one counts evaluations, and end when all have fired.
    """
    wanted, fired = set(), set()
    for category in CATEGORIES:
        names = {alert.name for alert in category.alerts}
        worlds = [replace(world, minutes=_enough(fault), shown=()) for fault, world in told if names & _raised(fault)]
        wanted |= {(world.name, name) for fault, world in told for name in names & _raised(fault)}
        directory = folder / category.name
        directory.mkdir()
        seconds = 0.0 if any(map(_counts, names)) else 60.0
        outcome = promtool.outcome(directory, worlds, promtool.only(generate.rules(), names), seconds)
        fired |= {(alert.scenario, alert.name) for alert in outcome.alerts}
    return wanted - fired


def _enough(fault: Fault) -> float:
    """Minutes after which all alerts of a fault fire, ten of them for what takes longer by a metric less."""
    return min(fault.minutes, fault.at + max(after for after, _ in fault.raises.values()) + 10)


def test_no_alert_falls_silent_for_want_of_one_metric(known: Known, tmp_path: Path) -> None:
    """Each metric that is newer than 0.1, or optional, is taken away from every fault whose alert reads it."""
    newer = {metric.name for metric in c.METRICS} - set(known.labels)
    told, taken = [], set()
    for fault in FAULTS:
        if fault.name in SHOWN_ANEW:
            continue
        for name in sorted({*newer, *OPTIONAL}):
            if any(_reads(name, alert) for alert in _raised(fault)):
                taken.add(name)
                told += _without(fault, name)
    assert taken >= set(OPTIONAL)
    assert _silent(tmp_path, told) == set()


def _without(fault: Fault, name: str) -> list[tuple[Fault, World]]:
    """The fault as it is told without a metric, if it has that metric."""
    named = replace(fault, name=f"{fault.name}--without-{name.removeprefix('yoloscope_').replace('_', '-')}")
    world = named.world()
    left = {key: pieces for key, pieces in world.series.items() if key[0] != name}
    return [(named, replace(world, series=left))] if len(left) < len(world.series) else []


def test_no_alert_of_version_0_1_goes_blind(known: Known, tmp_path: Path) -> None:
    """Each fires on its faults, told by an old exporter, as it did before."""
    told: list[tuple[Fault, World]] = []
    for fault in FAULTS:
        world = fault.world()
        left = {key: pieces for key, pieces in world.series.items() if known.has(key)}
        if fault.name not in SHOWN_ANEW and len(left) < len(world.series):
            told.append((fault, replace(world, series=left)))
    assert told
    assert {pair for pair in _silent(tmp_path, told) if pair[1] in known.alerts} == set()
