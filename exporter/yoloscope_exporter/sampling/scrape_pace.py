"""The pace of scrapers, so that an exposition is rendered in advance only when a scrape is expected.

A Prometheus keeps its pace. The shortest distance between its last requests says when the next one can come at the
earliest; from then on the exposition is made in advance, so that a scrape finds it ready. Who comes unexpectedly waits
for the rendering, some milliseconds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yoloscope_exporter.sampling.exposition import Form

REQUESTS = 5  # for each form are remembered: two Prometheus servers in turn show both distances
FORGET_SECONDS = 300.0  # after the last request: nobody comes any more
SLACK = 0.1  # of an interval: a scraper may be early, and a cycle takes its time


class ScrapePace:
    """Remembers when each form was scraped. Noted by any thread, read by one."""

    def __init__(self) -> None:
        """Start without requests."""
        self._asked: dict[Form, tuple[float, ...]] = {}

    def note(self, form: Form, now: float, interval: float) -> None:
        """Note a request for `form` at `now`; requests less than half an `interval` apart count once (seconds)."""
        times = self._asked.get(form, ())
        if not times or now - times[-1] >= interval / 2:
            self._asked[form] = (*times[1 - REQUESTS :], now)

    def expected(self, now: float, interval: float) -> list[Form]:
        """Forms for which a scrape is expected within the next `interval` (seconds)."""
        return [form for form, times in list(self._asked.items()) if _expected(times, now, interval)]


def _expected(times: tuple[float, ...], now: float, interval: float) -> bool:
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return bool(gaps) and times[-1] + min(gaps) <= now + (1 + SLACK) * interval and now - times[-1] < FORGET_SECONDS
