"""When a scrape is expected, and when nothing is made in advance."""

from __future__ import annotations

import pytest
from yoloscope_exporter.sampling import scrape_pace
from yoloscope_exporter.sampling.exposition import Form
from yoloscope_exporter.sampling.scrape_pace import ScrapePace

GZIP, PLAIN = Form(gzipped=True), Form()


def asked(*times: float) -> ScrapePace:
    """Requests at these times, sampled every second."""
    made: ScrapePace = ScrapePace()
    for time in times:
        made.note(GZIP, time, 1.0)
    return made


def expected(made: ScrapePace, start: int, end: int) -> list[int]:
    """Cycles in which a request is expected."""
    return [now for now in range(start, end) if made.expected(float(now), 1.0)]


def test_a_steady_scraper_is_expected_when_it_comes() -> None:
    """Nothing for 14 seconds, then the cycle in which it comes and those after, until it has come."""
    assert expected(asked(0.5, 15.5, 30.5), 31, 50) == [45, 46, 47, 48, 49] == list(range(45, 50))
    assert expected(asked(0.5, 15.5, 30.5, 45.5), 46, 60) == []


def test_early_by_a_hair() -> None:
    """A request at the edge of a cycle is expected in the one before, too."""
    assert expected(asked(0.05, 15.05, 30.05), 31, 46) == [44, 45]


@pytest.mark.parametrize("times", [(), (3.0,)])
def test_who_comes_once_is_not_expected(times: tuple[float, ...]) -> None:
    """Somebody who looks by hand has no pace."""
    assert expected(asked(*times), 4, 100) == []


def test_two_scrapers_in_turn() -> None:
    """Of two servers 4 s apart, each is expected."""
    seen: ScrapePace = ScrapePace()
    missed = []
    for base in range(0, 150, 15):
        for at in (base + 0.5, base + 4.5):
            if base > 15 and not seen.expected(float(int(at)), 1.0):
                missed.append(at)
            seen.note(GZIP, at, 1.0)
    assert not missed


def test_requests_of_one_cycle_count_once() -> None:
    """Two servers that come together do not look like one that comes all the time."""
    assert expected(asked(0.5, 0.6, 15.5, 15.6, 30.5, 30.6), 31, 46) == [45]


def test_faster_than_the_sampling() -> None:
    """Who comes several times in each cycle is always expected."""
    times = [number / 10 for number in range(100)]
    assert expected(asked(*times), 10, 15) == [10, 11, 12, 13, 14]


def test_as_fast_as_the_sampling() -> None:
    """Who comes once in each cycle, now early, now late, is always expected."""
    times = [number + 0.5 + (number % 3 - 1) * 0.02 for number in range(10)]
    assert expected(asked(*times), 10, 15) == [10, 11, 12, 13, 14]


def test_who_does_not_come_any_more_is_forgotten() -> None:
    """After a while nothing is made for it."""
    last = expected(asked(0.0, 15.0), 16, 1000)[-1]
    assert last == 15 + scrape_pace.FORGET_SECONDS - 1


def test_each_kind_has_its_own_pace() -> None:
    """Another form is not made."""
    made = asked(0.0, 15.0)
    made.note(PLAIN, 14.0, 1.0)
    assert made.expected(30.0, 1.0) == [GZIP]
