"""Numbers with their units."""

from __future__ import annotations

import pytest
from yoloscope_exporter.language import units

from tests.zone import local_time


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (units.counted(1, "worker"), "1 worker"),
        (units.counted(2, "worker"), "2 workers"),
        (units.milliseconds(0.0831), "83.1 ms"),
        (units.milliseconds(2.5), "2.5 s"),
        (units.milliseconds(0.9996), "1000 ms"),
        (units.milliseconds(1234), "1234 s"),
        (units.duration(83.12), "83.1 s"),
        (units.duration(7500), "2:05:00"),
        (units.about(42.4), "42 s"),
        (units.about(150), "2.5 min"),
        (units.about(3 * 3600), "3 h"),
        (units.about(9e5), "10 days"),
        (units.size(512), "512 B"),
        (units.size(3.2 * 2**30), "3.2 GiB"),
        (units.size(-5 * 2**20), "-5 MiB"),
        (units.size(1010 * 2**10), "1010 KiB"),
        (units.size(2e12), "1863 GiB"),
        (units.energy(11520), "3.2 Wh"),
        (units.energy(5e9), "1389 kWh"),
        (units.gib(2**31), "2.00 GiB"),
        (units.percent(0.125), "12.5%"),
        (units.utc(1_790_000_000.4), "2026-09-21T14:13:20Z"),
        (str(units.from_utc("2026-09-21T14:13:20Z")), "1790000000.0"),
    ],
)
def test_numbers_are_shown_with_their_unit(shown: str, expected: str) -> None:
    """In the unit that suits their size; times for programs in UTC."""
    assert shown == expected


@pytest.mark.parametrize(
    ("zone", "date", "clock", "offset"),
    [
        ("UTC", "2026-09-21", "14:13:20", "+00:00"),
        ("Asia/Shanghai", "2026-09-21", "22:13:20", "+08:00"),
        ("America/St_Johns", "2026-09-21", "11:43:20", "-02:30"),
        ("Pacific/Auckland", "2026-09-22", "02:13:20", "+12:00"),
    ],
)
def test_people_read_local_time_with_its_offset(zone: str, date: str, clock: str, offset: str) -> None:
    """Summer time included; programs read the same in any zone."""
    moment = 1_790_000_000.9
    with local_time(zone):
        assert units.local(moment) == f"{date} {clock}{offset}"
        assert (units.clock(moment), units.local_time(moment)) == (clock, clock + offset)
        assert units.utc(moment) == "2026-09-21T14:13:20Z"
