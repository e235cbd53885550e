"""The deployment files that the package brings along. setup.py runs this file before anything is installed.

They are in the repository once, in `deploy` and `dashboards/generated`. A wheel has a copy beside this module, made
when it is built; a clone or an editable installation reads the repository itself.
"""

from __future__ import annotations

from pathlib import Path

#: Below the repository's root.
PATTERNS = (
    "dashboards/generated/*/*.json",
    "deploy/alertmanager/alertmanager.yml",
    "deploy/alertmanager/templates/*.tmpl",
    "deploy/compose/.env",
    "deploy/compose/compose.yaml",
    "deploy/compose/up",
    "deploy/compose/targets/alertmanager.yml",
    "deploy/compose/targets/exporter.yml",
    "deploy/compose/targets/simulated.yml",
    "deploy/dcgm/*.yml",
    "deploy/docker/constraints.txt",
    "deploy/docker/exporter.Dockerfile",
    "deploy/grafana/provisioning/*/*.yaml",
    "deploy/helm/examples/*.yaml",
    "deploy/helm/yoloscope/*.yaml",
    "deploy/helm/yoloscope/values.schema.json",
    "deploy/helm/yoloscope/templates/*",
    "deploy/prometheus/prometheus.yml",
    "deploy/prometheus/rules/alerts.yml",
    "deploy/prometheus/rules/recording.yml",
    "deploy/prometheus/targets/alertmanager.yml",
    "deploy/prometheus/targets/exporter.yml",
    "deploy/slurm/*",
    "deploy/systemd/*",
)
#: Where the copy in a wheel is, in the package.
FOLDER = "shipped"


def paths(root: Path) -> list[str]:
    """Those that are in the repository at `root`, sorted."""
    found = (path for pattern in PATTERNS for path in root.glob(pattern))
    return sorted(path.relative_to(root).as_posix() for path in found if path.is_file())


def read() -> dict[str, str]:
    """Path in the repository -> text; empty if this installation has none."""
    here = Path(__file__).resolve()
    copied = here.parent / FOLDER
    root = copied if copied.is_dir() else here.parents[3]
    return {path: (root / path).read_text(encoding="utf-8") for path in paths(root)}
