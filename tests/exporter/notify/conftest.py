"""Fixtures for the tests of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.exporter.notify import services as local

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[local.Services]:
    """Services on this machine in place of the real ones."""
    with local.running(monkeypatch) as running:
        yield running
