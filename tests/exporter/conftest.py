"""Fixtures for the tests of the exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _procfs() -> Iterator[None]:
    """Give psutil its own /proc back: collectors point it at a test's node, for the whole process."""
    path = psutil.PROCFS_PATH
    yield
    psutil.PROCFS_PATH = path
