"""Alertmanager's configuration: valid, routed by severity, grouped by run, and silent about consequences."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_binary

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
        ("severity=critical run=train", "webhook"),
        ("severity=warning run=train", "webhook"),
        ("severity=critical", "webhook"),
        ("severity=warning", "webhook"),
        ("severity=info run=train", "nobody"),
    ],
)
def test_routes(labels: str, receiver: str) -> None:
    """Critical and warning reach somebody, info nobody."""
    found = _amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels.split())
    assert found.splitlines()[-1] == receiver
