"""`yoloscope run` beside an exporter that may not ask: another user's, or one without the collector `stacks`.

That exporter says that a run stands still, and not where; this asks, by the same rules as the collector and
`yoloscope stacks`: what a process answered lately, to whomever, stands, and it is not asked again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from yoloscope_record.paths import find_run

from yoloscope_exporter import DIAGNOSIS_PATH
from yoloscope_exporter.commands import launched
from yoloscope_exporter.fetching import SourceError, fetch, parsed
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOK_SECONDS = 15.0  # the exporter asks first, if it may
ANSWER_SECONDS = 5.0


def watch(url: str, records: Path, launch: str, tell: Callable[[str], None], end: threading.Event) -> None:
    """Say where each run of the launch stands still of which the exporter at `url` knows only that it does."""
    before: set[str] = set()
    told: set[str] = set()
    while not end.wait(LOOK_SECONDS):
        still = dict(_standing(url))
        ours = {run.name for run in launched.of_launch(records, launch)} if still else set()
        for run in still.keys() & before & ours - told:
            if where := _ask(records, run, still[run]):
                told.add(run)
                tell(text("{run} stands still: {where}", run=run, where=where))
        before, told = set(still), told & still.keys()


def _standing(url: str) -> Iterator[tuple[str, float]]:
    """Runs that stand still nobody knows where, and the Unix time since which they do."""
    with suppress(SourceError, ValueError, KeyError, TypeError, AttributeError):
        for one in parsed(fetch(f"{url}{DIAGNOSIS_PATH}", timeout=ANSWER_SECONDS))["runs"]:
            if _stands(one) and not one.get("names", {}).get("hang_function"):
                yield str(one["run"]), time.time() - float(one.get("signals", {}).get("last_batch_age", 0.0))


def _stands(one: dict[str, Any]) -> bool:
    return any(verdict["name"] == "stalled" for verdict in one["verdicts"])


def _ask(records: Path, run: str, since: float) -> str:
    """Where it stands still; empty where nobody answers."""
    from yoloscope_exporter.collectors.stacks.finding import find  # noqa: PLC0415 - hardly ever needed
    from yoloscope_exporter.collectors.stacks.inquiry import Inquiry, answers  # noqa: PLC0415

    try:
        inquiry = Inquiry(find_run(records, run), lambda _: None, since=since)
    except OSError:  # it is gone
        return ""
    try:
        hang = find(inquiry.ranks, answers(inquiry))
    finally:
        inquiry.close()
    return str(hang) if hang is not None and not hang.silent else ""
