"""Alertmanager's configuration: valid, routed by severity, grouped by run, and silent about consequences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from yoloscope_exporter.commands import notify

from deploy.prometheus.rulebook import ALERTS, CATEGORIES
from tests import live
from tests.conftest import require_binary
from tests.exporter.notify.json_service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.prometheus.rulebook.model import Alert

CONFIG = Path(__file__).parents[2] / "deploy/alertmanager/alertmanager.yml"


def _amtool(*arguments: str) -> str:
    done = subprocess.run([require_binary("amtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_amtool_accepts_it() -> None:
    """Alertmanager 0.25 takes configuration and templates, though no secret file is there."""
    assert "SUCCESS" in _amtool("check-config", str(CONFIG))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("severity=critical run=train", "notify"),
        ("severity=warning run=train", "notify"),
        ("severity=critical", "notify"),
        ("severity=warning", "notify"),
        ("severity=info run=train", "nobody"),
    ],
)
def test_routes(labels: str, receiver: str) -> None:
    """Critical and warning go where the first route says, info nowhere."""
    found = _amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels.split())
    assert found.splitlines()[-1] == receiver


def test_as_shipped_alerts_go_to_notify() -> None:
    """To the address and path at which it listens, and their resolution, too."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    (receiver,) = (one for one in config["receivers"] if one["name"] == config["route"]["receiver"])
    assert receiver["webhook_configs"] == [
        {"url": f"http://{notify.ADDRESS}/alerts", "send_resolved": True, "max_alerts": 50}
    ]


def test_from_alertmanager_to_a_person(tmp_path: Path) -> None:
    """A real Alertmanager, a real `yoloscope notify`, and a service that takes what Apprise sends."""
    listen = f"127.0.0.1:{live.free_port()}"
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "notify", "--listen", listen, "--queue", str(tmp_path)]
    with (
        Service() as service,
        live.running([*command, "--to", service.url], tmp_path / "notify.log", f"http://{listen}"),
        live.alertmanager(tmp_path, f"http://{listen}/alerts") as manager,
    ):
        live.post_alert(manager, **_labels(ALERTS[0], "a"))
        live.wait_for(lambda: service.titles)
    assert service.titles[0].startswith(f"[{ALERTS[0].severity}] {ALERTS[0].name} (")


def test_every_alert_has_a_route() -> None:
    """None ends with the default by mistake: those of a training come by run, those that wake somebody again."""
    for alert in ALERTS:
        labels = [f"{name}={value}" for name, value in _labels(alert, "a").items()]
        tree = _amtool("config", "routes", "test", f"--config.file={CONFIG}", "--tree", *labels)
        assert ("nobody" in tree) == (alert.severity == "info"), tree
        assert ("run!=" in tree) == ("run" in alert.labels and alert.severity != "info"), tree
        assert ('severity="critical"' in tree) == (alert.severity == "critical"), tree


# --- inhibition -----------------------------------------------------------------------------------------------------

SLOW = {"utilisation", "data", "distributed"}
CATEGORY = {alert.name: category.name for category in CATEGORIES for alert in category.alerts}
ENDED = {"TrainingKilled", "TrainingFailed", "TrainingStalled", "TrainingVanished"}
BROKEN = {alert.name for alert in ALERTS if (CATEGORY[alert.name], alert.severity) == ("hardware", "critical")}


def _labels(alert: Alert, place: str, cluster: str = "") -> dict[str, str]:
    """As Prometheus would send them; `place` makes names of node and run."""
    where = {"run": f"run-{place}", "rank": "0", "gpu": "1", "instance": f"{place}:9911"}
    own = {name: where[name] for name in alert.labels} | ({"cluster": cluster} if cluster else {})
    return {"alertname": alert.name, "severity": alert.severity, "category": CATEGORY[alert.name], **own}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Alertmanager with the shipped configuration."""
    with live.Webhook() as webhook, live.alertmanager(tmp_path_factory.mktemp("alerts"), webhook.url) as url:
        yield url


def _inhibited(url: str, place: str) -> set[str]:
    """Names and severities of the alerts of this place that another one silences."""
    found = json.loads(live.get(f"{url}/api/v2/alerts"))
    here = [one for one in found if {f"run-{place}", f"{place}:9911"} & set(one["labels"].values())]
    return {f"{one['labels']['alertname']}/{one['labels']['severity']}" for one in here if one["status"]["inhibitedBy"]}


@pytest.mark.parametrize("source", sorted(ENDED | BROKEN | {"ExporterDown"}))
def test_a_cause_silences_its_consequences(manager: str, source: str) -> None:
    """A run that ended badly its own slowness, broken hardware that of its node, a dead exporter all of its node."""
    cause = max((alert for alert in ALERTS if alert.name == source), key=lambda alert: alert.severity == "critical")
    others = [alert for alert in ALERTS if alert.name not in ENDED | BROKEN | {"ExporterDown"}]
    others = [alert for alert in others if alert.severity != "critical"]  # of a pair, the worse one silences the other
    place = f"with-{source.lower()}"
    for alert in (cause, *others):
        live.post_alert(manager, **_labels(alert, place))
    silent = {f"{alert.name}/{alert.severity}" for alert in others if _silenced(alert, source)}
    assert silent
    live.wait_for(lambda: _inhibited(manager, place) == silent)


def _silenced(alert: Alert, source: str) -> bool:
    if source == "ExporterDown":
        return "instance" in alert.labels
    return CATEGORY[alert.name] in SLOW and ("run" if source in ENDED else "instance") in alert.labels


def test_another_cluster_is_not_silenced(manager: str) -> None:
    """The same address and the same name of a run somewhere else are something else."""
    by_name = {alert.name: alert for alert in ALERTS}
    for source in ("ExporterDown", "TrainingKilled"):
        live.post_alert(manager, **_labels(by_name[source], "twin", cluster="here"))
    for cluster in ("here", "there"):
        live.post_alert(manager, **_labels(by_name["StragglerRank"], "twin", cluster=cluster))
    live.wait_for(lambda: _inhibited(manager, "twin"))
    found = json.loads(live.get(f"{manager}/api/v2/alerts"))
    silenced = {one["labels"]["cluster"]: bool(one["status"]["inhibitedBy"]) for one in found if _is_twin(one)}
    assert silenced == {"here": True, "there": False}


def _is_twin(one: dict[str, Any]) -> bool:
    return bool(one["labels"].get("run") == "run-twin" and one["labels"]["alertname"] == "StragglerRank")


def test_the_worse_severity_silences_the_other(manager: str) -> None:
    """One message for one trouble that has lasted too long."""
    both = [alert for alert in ALERTS if alert.name == "GpuHeldIdle"]
    assert {alert.severity for alert in both} == {"warning", "critical"}
    for alert in both:
        live.post_alert(manager, **_labels(alert, "held"))
    live.wait_for(lambda: _inhibited(manager, "held") == {"GpuHeldIdle/warning"})


def test_a_full_disk_does_not_silence_another_one(manager: str) -> None:
    """/scratch at 2 % silences its own warning, not that of / at 4 %, which is somebody else's work."""
    severe, mild = sorted((alert for alert in ALERTS if alert.name == "DiskAlmostFull"), key=lambda one: one.severity)
    live.post_alert(manager, **_labels(severe, "disks"), mountpoint="/scratch")
    for mountpoint in ("/scratch", "/"):
        live.post_alert(manager, **_labels(mild, "disks"), mountpoint=mountpoint)
    live.wait_for(lambda: _inhibited(manager, "disks"))
    found = [one for one in json.loads(live.get(f"{manager}/api/v2/alerts")) if "mountpoint" in one["labels"]]
    silenced = {
        one["labels"]["mountpoint"]: bool(one["status"]["inhibitedBy"])
        for one in found
        if one["labels"]["severity"] == mild.severity
    }
    assert silenced == {"/scratch": True, "/": False}
