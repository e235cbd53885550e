"""The shipped Prometheus configuration, for the demo's exporter only."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from yoloscope_exporter.demo import folder

if TYPE_CHECKING:
    from pathlib import Path


def configure(shipped: Path, own: Path, address: str) -> Path:
    """Copy the folder `shipped` to `own`, scraping `address`; return the copy's configuration.

    None of the targets of the original is taken over: not its nodes, nor an Alertmanager, which would tell people.
    """
    folder.remove(own)
    shutil.copytree(shipped, own, ignore=shutil.ignore_patterns("targets", "__pycache__"))
    targets = own / "targets"
    targets.mkdir()
    (targets / "exporter.yml").write_text(f'- targets: ["{address}"]\n', encoding="utf-8")
    return own / "prometheus.yml"
