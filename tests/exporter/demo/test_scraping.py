"""The demo's Prometheus scrapes the demo's exporter, whatever else the machine has."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from yoloscope_exporter.demo import scraping

SHIPPED = Path(__file__).parents[3] / "deploy" / "prometheus"


def scraped(configuration: Path) -> list[str]:
    """Addresses in the files that the scrape configurations name."""
    return [
        address
        for job in yaml.safe_load(configuration.read_text())["scrape_configs"]
        for discovery in job["file_sd_configs"]
        for pattern in discovery["files"]
        for file in configuration.parent.glob(pattern)
        for group in yaml.safe_load(file.read_text())
        for address in group["targets"]
    ]


def test_only_the_demo_is_scraped(tmp_path: Path) -> None:
    """On its own port, also where the shipped files were filled with nodes; nothing is sent to an Alertmanager."""
    shipped = tmp_path / "shipped"
    shutil.copytree(SHIPPED, shipped)
    (shipped / "targets" / "exporter-nodes.yml").write_text("- targets: [10.0.0.1:9911]\n")
    (tmp_path / "own" / "data").mkdir(parents=True)
    configuration = scraping.configure(shipped, tmp_path / "own", "127.0.0.1:41234")
    assert scraped(configuration) == ["127.0.0.1:41234"]
    assert [file.name for file in (tmp_path / "own" / "targets").iterdir()] == ["exporter.yml"]
    assert (tmp_path / "own" / "rules" / "recording.yml").exists()
    assert not (tmp_path / "own" / "data").exists()
