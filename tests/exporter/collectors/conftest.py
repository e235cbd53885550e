"""Fixtures of the tests of collectors."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.exporter import world

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> world.World:
    """A node with an empty record directory."""
    made = world.World(tmp_path)
    made.records.mkdir()
    made.config = dataclasses.replace(made.config, runs_keep=900.0, runs_keep_killed=3600.0, runs_remove_after=86400.0)
    return made
