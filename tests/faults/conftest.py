"""What every row needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults.node import serving
from tests.users import shared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.node import Exporter, Row

__all__ = ["shared"]


@pytest.fixture
def exporter(shared: Path, tmp_path: Path) -> Iterator[Exporter]:
    """Over the directory that all users share."""
    with serving(shared, tmp_path / "log") as running:
        yield running


@pytest.fixture
def row(capsys: pytest.CaptureFixture[str]) -> Row:
    """Prints a row of the table in docs/reliability.md: fault, what is expected, and what is seen."""

    def said(fault: str, expected: str, seen: object) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n| {fault} | {expected} | {seen} |")

    return said
