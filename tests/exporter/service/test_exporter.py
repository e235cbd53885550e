"""The running exporter inside this process: one registry behind its page, and what a reload changes."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import click
import pytest
from prometheus_client import generate_latest
from yoloscope_exporter import catalog
from yoloscope_exporter.config import defaults
from yoloscope_exporter.config.types import Address
from yoloscope_exporter.service.exporter import Exporter, reload, running

from tests.exporter import world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from yoloscope_exporter.config import Config


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    """An exporter of a node that does not change, with two ranks of a finished run; it has sampled once."""
    node = world.build(tmp_path)
    config = replace(
        defaults(),
        web_listen_address=Address("127.0.0.1", 0),
        path_procfs=node.procfs,
        path_sysfs=tmp_path / "sys",
        path_records=node.records,
        sample_interval=0.2,
        runs_keep=1e12,
    )
    with running(config) as made:
        wait(made)
        yield made


def wait(exporter: Exporter, cycles: int = 2) -> None:
    """Let cycles pass."""
    until = exporter.sampler.cycles + cycles
    while exporter.sampler.cycles < until:
        time.sleep(0.01)


def test_page_is_the_registrys_exposition(exporter: Exporter) -> None:
    """What is served is what the registry gives, byte for byte, as long as no cycle comes between."""
    for _ in range(20):
        cycles = exporter.sampler.cycles
        with urllib.request.urlopen(f"{exporter.server.url}/metrics", timeout=5) as answer:
            page = answer.read()
        by_registry = generate_latest(exporter.registry)
        if exporter.sampler.cycles == cycles:
            break
    assert page == by_registry
    assert b"yoloscope_train_batches_total" in page


def test_reload_reaches_collectors(exporter: Exporter, caplog: pytest.LogCaptureFixture) -> None:
    """Collectors see the new settings, others come and go in the registry, and what wants a restart is named."""
    get = exporter.registry.get_sample_value
    ranks = {"run": world.RUN, "rank": "0"}
    assert get(catalog.TRAIN_UP.name, ranks) == 0
    assert get(catalog.CPU_CORES.name) is not None
    old = exporter.config
    new = replace(old, runs_keep=0.001, modules=old.modules - {"cpu"}, web_telemetry_path="/elsewhere")
    reload(exporter, lambda: new)
    wait(exporter)
    assert get(catalog.TRAIN_UP.name, ranks) is None
    assert get(catalog.CPU_CORES.name) is None
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("web.telemetry")
    assert line.endswith("needs a restart to change")


def test_bad_settings_change_nothing(exporter: Exporter, caplog: pytest.LogCaptureFixture) -> None:
    """The exporter goes on as it was, and the log says why."""

    def broken() -> Config:
        raise click.ClickException("unknown key")

    old = exporter.config
    reload(exporter, broken)
    wait(exporter)
    assert exporter.config is old
    assert exporter.registry.get_sample_value(catalog.CPU_CORES.name) is not None
    assert "configuration not reloaded, the old one stays: unknown key" in caplog.text
