"""Numbers with their units."""

from __future__ import annotations

import pytest
from yoloscope_exporter.diagnosis import units


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (units.counted(1, "worker"), "1 worker"),
        (units.counted(2, "worker"), "2 workers"),
        (units.milliseconds(0.0831), "83.1 ms"),
        (units.milliseconds(2.5), "2.5 s"),
        (units.duration(83.12), "83.1 s"),
        (units.duration(7500), "2:05:00"),
        (units.about(42.4), "42 s"),
        (units.about(150), "2.5 min"),
        (units.about(3 * 3600), "3 h"),
        (units.about(9e5), "10 days"),
        (units.size(512), "512 B"),
        (units.size(3.2 * 2**30), "3.2 GiB"),
        (units.size(-5 * 2**20), "-5 MiB"),
        (units.gib(2**31), "2.00 GiB"),
        (units.percent(0.125), "12.5%"),
        (units.when(1_790_000_000.4), "2026-09-21T14:13:20Z"),
        (units.clock(1_790_000_000.4), "14:13:20"),
    ],
)
def test_numbers_are_shown_with_their_unit(shown: str, expected: str) -> None:
    """In the unit that suits their size; times in UTC, whatever the machine's zone."""
    assert shown == expected
