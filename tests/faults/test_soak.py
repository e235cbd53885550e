"""The soak measures what it says, and its judgement finds what grows. The soak itself is `make soak`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.soak import WARM, Point, grown, soak, table
from tests.users import needs_root

if TYPE_CHECKING:
    from pathlib import Path

FLAT = [Point(cycles, 60.0 + cycles % 3 * 0.2, 30 + cycles % 2, 7, cycles) for cycles in range(0, 4 * WARM, 100)]


def test_flat() -> None:
    """Also where it grew before the hour of history was full."""
    early = [one._replace(megabytes=40.0) if one.cycles < WARM else one for one in FLAT]
    assert grown(FLAT) == grown(early) == []


@pytest.mark.parametrize("name", ["megabytes", "descriptors", "threads"])
def test_grown(name: str) -> None:
    """A twentieth of what there is for each thousand cycles is found."""
    points = [one._replace(**{name: getattr(one, name) * (1 + one.cycles / 2e4)}) for one in FLAT]
    assert [text.partition(":")[0] for text in grown(points)] == [name]


def test_too_short() -> None:
    """Nothing is said of what is warm for a moment only."""
    assert "too short" in grown(FLAT[: len(FLAT) // 4 + 5])[0]


@pytest.mark.faults
@needs_root
def test_a_few_hundred_cycles(tmp_path: Path) -> None:
    """Runs, pages, scrapes and reloads are all there."""
    points, counts = soak(300, 60, tmp_path)
    assert points[-1].cycles >= 300
    assert points[-1].runs > 10
    assert not counts["errors"]
    assert min(counts[name] for name in ("scrapes", "pages", "messages", "reloads")) > 0
    assert table(points).count("\n") == 13
