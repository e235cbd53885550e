"""What Grafana is given at start-up fits what the rest of the deployment says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dashboards.generate import files

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "deploy/grafana/provisioning"


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_time_interval_is_the_scrape_interval() -> None:
    """Otherwise $__rate_interval is too short for a rate, or wastes resolution."""
    (source,) = _load(PROVISIONING / "datasources/yoloscope.yaml")["datasources"]
    prometheus = _load(ROOT / "deploy/prometheus/prometheus.yml")
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]


def test_data_source_has_the_keys_grafana_knows() -> None:
    """Grafana ignores an unknown key silently, so a typo would be lost."""
    (source,) = _load(PROVISIONING / "datasources/yoloscope.yaml")["datasources"]
    assert set(source) == {"name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData"}
    assert set(source["jsonData"]) == {"httpMethod", "manageAlerts", "prometheusType", "timeInterval"}
    assert (source["type"], source["access"], source["editable"]) == ("prometheus", "proxy", False)


def test_each_folder_of_dashboards_is_provisioned_once() -> None:
    """Every generated dashboard lies in the path of exactly one provider; names and folders are unique."""
    providers = _load(PROVISIONING / "dashboards/yoloscope.yaml")["providers"]
    folders = {Path(path).parent.name for path in files() if path.startswith("dashboards/generated")}
    paths = [Path(provider["options"]["path"]) for provider in providers]
    assert folders <= {path.name for path in paths}
    assert {str(path.parent) for path in paths} == {"/var/lib/yoloscope/dashboards"}
    for key in ("name", "folder", "folderUid"):
        assert len({provider[key] for provider in providers}) == len(providers)
