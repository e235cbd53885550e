"""docs/exporter.md, in both languages, and the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from yoloscope_exporter import collectors
from yoloscope_exporter.config import SETTINGS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["exporter.md", "exporter.zh-CN.md"])
def test_every_setting_is_documented(name: str) -> None:
    """Each flag, its default and each collector stand in the table."""
    text = (DOCS / name).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `--")]
    for setting in SETTINGS:
        (row,) = [row for row in rows if f"`--{setting.name}`" in row]
        assert not setting.default or f"`{setting.default}`" in row
    (row,) = [row for row in rows if "--collector.NAME" in row]
    assert [collector for collector in collectors.names() if f"`{collector}`" not in row] == []
