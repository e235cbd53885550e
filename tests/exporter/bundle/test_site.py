"""The shipped files for one site: the options reach every place, and the tools whose files they are accept them."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from yoloscope_exporter import __version__
from yoloscope_exporter.bundle import folder, shipped
from yoloscope_exporter.bundle.site import OutdatedError, Site, files, notify_of

from tests.conftest import require_binary

if TYPE_CHECKING:
    from pathlib import Path

ARCHIVE = "https://github.com/yoloscope/yoloscope/archive/0123456.tar.gz"
SITE = Site(
    "https://grafana.example.org",
    "yolo-nodes",
    "zh-CN",
    ("node1:9911", "127.0.0.1:9911", "[2001:db8::7]:9911"),
    15.0,
    ("dingtalk://S3CR3T@T0K3N", "mailto://u:p$a@example.org?to=b@example.org"),
)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Those of a site where everything is different."""
    return files(shipped.read(), SITE, __version__, ARCHIVE)


@pytest.fixture(scope="module")
def written(texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on disk."""
    made = tmp_path_factory.mktemp("site")
    folder.write(made, texts, SITE, __version__)
    return made


def _load(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def test_nothing_of_the_shipped_settings_is_left(texts: dict[str, str]) -> None:
    """No place is forgotten, but for the chart, whose values replace its own at installation."""
    left = re.compile(r"localhost:3000/d/|interval: 5s|timeInterval: 5s|job_name: yoloscope\b|deploy/(?!docs)")
    for path, text in texts.items():
        if path.startswith(("helm/yoloscope/", "grafana/dashboards")) or path == "README.md":
            continue
        found = [line for line in text.splitlines() if left.search(line) and "python -m deploy" not in line]
        assert found == [], path


def test_unchanged_options_leave_the_shipped_configuration() -> None:
    """Whoever gives none gets what the repository has."""
    plain, there = files(shipped.read(), Site(), __version__, ARCHIVE), shipped.read()
    for path in ("prometheus/rules/alerts.yml", "prometheus/rules/recording.yml", "alertmanager/alertmanager.yml"):
        assert _load(plain[path]) == _load(there[f"deploy/{path}"])
    assert _load(plain["prometheus/prometheus.yml"]) == _load(there["deploy/prometheus/prometheus.yml"])


def test_prometheus_accepts_it(written: Path) -> None:
    """The whole configuration with rules and targets, and the job for a configuration that is there."""
    promtool = require_binary("promtool")
    subprocess.run(
        [promtool, "check", "config", written / "prometheus/prometheus.yml"], check=True, capture_output=True
    )
    subprocess.run([promtool, "check", "rules", written / "dcgm/rules.yml"], check=True, capture_output=True)
    job = _load((written / "prometheus/scrape-job.yml").read_text("utf-8"))
    alone = written / "prometheus/alone.yml"
    alone.write_text(yaml.safe_dump({"scrape_configs": job}), encoding="utf-8")
    subprocess.run([promtool, "check", "config", alone], check=True, capture_output=True)
    alone.unlink()
    assert job[0]["job_name"] == "yolo-nodes"
    assert job[0]["static_configs"] == [{"targets": list(SITE.targets)}]


def test_alertmanager_accepts_it(written: Path) -> None:
    """Its templates are beside it."""
    amtool = require_binary("amtool")
    subprocess.run([amtool, "check-config", written / "alertmanager/alertmanager.yml"], check=True, capture_output=True)


@pytest.mark.parametrize("interval", [1.0, 5.0, 7.5, 15.0])
def test_grafana_and_prometheus_have_one_interval(interval: float) -> None:
    """And a scrape ends before the next one begins."""
    made = files(shipped.read(), replace(SITE, scrape_interval=interval), __version__, ARCHIVE)
    pace = _load(made["prometheus/prometheus.yml"])["global"]
    (source,) = _load(made["grafana/provisioning/datasources/yoloscope.yaml"])["datasources"]
    assert source["jsonData"]["timeInterval"] == pace["scrape_interval"]
    seconds = {one: _seconds(pace[one]) for one in ("scrape_interval", "scrape_timeout")}
    assert seconds["scrape_interval"] == interval
    assert 0.5 * interval < seconds["scrape_timeout"] < interval


def _seconds(text: str) -> float:
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1])


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_alerts_lead_to_dashboards_of_the_bundle(language: str) -> None:
    """At the site's Grafana, in the bundle's language; the home dashboard and the provisioned folder are there, too."""
    made = files(shipped.read(), replace(SITE, language=language), __version__, ARCHIVE)
    boards = {json.loads(text)["uid"] for path, text in made.items() if path.startswith("grafana/dashboards/")}
    found = re.findall(r"dashboard_url: (\S+?)/d/([\w-]+)", made["prometheus/rules/alerts.yml"])
    assert len(found) > 50
    assert {url for url, _ in found} == {SITE.grafana_url}
    assert {uid for _, uid in found} <= boards
    home = re.findall(r"HOME_DASHBOARD_PATH: /var/lib/yoloscope/(\S+)", made["compose/compose.yaml"])
    (provider,) = _load(made["grafana/provisioning/dashboards/yoloscope.yaml"])["providers"]
    assert [f"grafana/{path}" in made for path in home] == [True]
    assert provider["options"]["path"] == f"/var/lib/yoloscope/dashboards/{language}"


def test_compose_mounts_what_is_there(texts: dict[str, str], written: Path) -> None:
    """Relative to the bundle's compose folder; it builds the image from the bundle."""
    compose = _load(texts["compose/compose.yaml"])
    mounts = [volume for one in compose["services"].values() for volume in one.get("volumes", ())]
    sources = [volume["source"] for volume in mounts if volume["source"].startswith(".")]
    assert len(sources) > 4
    assert [source for source in sources if not (written / "compose" / source).exists()] == []
    assert compose["services"]["exporter"]["build"] == {"context": "."}
    assert f"ARG YOLOSCOPE={ARCHIVE}\n" in texts["compose/Dockerfile"]
    copied = re.findall(r"(?m)^COPY (?!--from)(\S+) ", texts["compose/Dockerfile"])
    assert copied
    assert all((written / "compose" / path).is_file() for path in copied)
    assert (written / "compose/up").stat().st_mode & 0o111


def test_containers_do_not_scrape_their_own_loopback(texts: dict[str, str]) -> None:
    """In Compose this machine's exporter has a name, and the other nodes are added."""
    (group,) = _load(texts["compose/targets/exporter.yml"])
    assert group["targets"] == ["exporter:9911", "node1:9911", "[2001:db8::7]:9911"]


@pytest.mark.parametrize("path", ["compose/.env", "systemd/yoloscope-notify.env"])
def test_secrets_are_for_their_owner_alone(path: str, texts: dict[str, str], written: Path) -> None:
    """And are in no other file; a shell, as a stand-in for Compose and systemd, replaces nothing in them."""
    assert (written / path).stat().st_mode & 0o777 == 0o600
    assert [name for name, text in texts.items() if "S3CR3T@T0K3N" in text and name not in folder.SECRET] == []
    assert "S3CR3T" not in (written / folder.MANIFEST).read_text(encoding="utf-8")
    shell = f". '{written / path}'; printf %s \"$YOLOSCOPE_NOTIFY_TO $YOLOSCOPE_NOTIFY_LANGUAGE\""
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout == f"{' '.join(SITE.notify)} zh-CN"
    assert notify_of(texts["systemd/yoloscope-notify.env"]) == SITE.notify


def test_the_chart_has_its_files(texts: dict[str, str]) -> None:
    """Rules and dashboards of both languages, which are links in the repository, and values that its schema allows."""
    jsonschema = pytest.importorskip("jsonschema")
    names = {path.removeprefix("helm/yoloscope/files/") for path in texts if path.startswith("helm/yoloscope/files/")}
    assert {"rules/alerts.yml", "rules/recording.yml", "dashboards/en/run.json", "dashboards/zh-CN/run.json"} <= names
    values = _load(texts["helm/site-values.yaml"])
    schema = json.loads(texts["helm/yoloscope/values.schema.json"])
    jsonschema.validate(values, {**schema, "required": []})
    assert values["grafana_url"] == SITE.grafana_url


def test_a_shipped_file_that_changed_is_refused() -> None:
    """Nothing is written half adapted."""
    there = shipped.read()
    for path, old, new in (
        ("deploy/prometheus/prometheus.yml", "scrape_interval: 5s", "scrape_interval: 6s"),
        ("deploy/compose/compose.yaml", "dashboards/en/", "boards/en/"),
        ("deploy/grafana/provisioning/dashboards/yoloscope.yaml", "/zh-CN", "/zh"),
    ):
        changed = {**there, path: there[path].replace(old, new)}
        assert changed != there
        with pytest.raises(OutdatedError):
            files(changed, SITE, __version__, ARCHIVE)
    del there["deploy/dcgm/rules.yml"]
    with pytest.raises(OutdatedError, match=r"dcgm/rules\.yml is missing"):
        files(there, SITE, __version__, ARCHIVE)
