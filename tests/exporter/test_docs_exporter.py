"""docs/exporter.md, in both languages, and the settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from yoloscope_exporter import collectors
from yoloscope_exporter.config import SETTINGS
from yoloscope_exporter.web import answers, api, documents, fleet, fleet_api

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


#: What the pages are limited to, as both languages say it.
LIMITS = {
    r"At most {} streams|最多 {} 个事件流": answers.MOST_STREAMS,
    r"of at most {}\s+runs|涉及最多 {} 个任务": api.MOST_CURVES,
    r"the hundred that|的一百个": 100 if documents.MOST_RUNS == 100 else 0,
    r"every {} s for the list|列表每 {} s": fleet_api.EVERY_SECONDS,
    r"at most {} runs with a\s+time range|最多跟踪 {} 个任务": fleet_api.MOST_FOLLOWED,
    r"At most two questions|同时最多两个查询": 2 if fleet_api.MOST_ASKED == 2 else 0,
    r"more than\s+{} s to begin|超过 {} s（": fleet.TIMEOUT,  # noqa: RUF001 - Chinese
    r"charts: {} s|图表：{} s": fleet.CURVES_TIMEOUT,  # noqa: RUF001 - Chinese
    r"GPUs of {} nodes|{} 个节点的 GPU": fleet.MOST_NODES,
    r"{} lines of a chart|{} 条曲线": fleet.MOST_LINES,
    r"and {} events|和 {} 个事件": fleet.MOST_EVENTS,
}


@pytest.mark.parametrize("name", ["exporter.md", "exporter.zh-CN.md"])
@pytest.mark.parametrize("said", LIMITS)
def test_limits_of_the_pages_are_documented(name: str, said: str) -> None:
    """As they are."""
    text = re.sub(r"\s+", " ", (DOCS / name).read_text(encoding="utf-8"))
    assert re.search(said.replace("{}", f"{LIMITS[said]:g}"), text)
    assert LIMITS[said]
