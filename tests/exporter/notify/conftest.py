"""Fixtures for the tests of messages."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import apprise
import pytest

from tests.exporter.notify import services as local

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> None:
    """Load all of Apprise's plugins, of which some import what Python is about to remove."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apprise.Apprise.instantiate("json://localhost")


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[local.Services]:
    """Services on this machine in place of the real ones."""
    with local.running(monkeypatch) as running:
        yield running
