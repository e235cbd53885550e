"""Runs whose records say anything that a record may say, beside an honest one: what is made of all that.

    python -m tests.faults.values 10000

Each turn is a life of an exporter's diagnosis, history and documents with two hostile runs: every metric that a record
may have, with numbers at their edges, counters that fall, labels and facts of any words, a clock that jumps. Nothing
may raise, no document may hold a number that JSON has not, and no rule may fail for the honest run.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample
from yoloscope_exporter.collectors import run_samples
from yoloscope_exporter.diagnosis.cfg import to_cfg
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.history.courses import OF_RUN
from yoloscope_exporter.history.curves import Curves
from yoloscope_exporter.history.store import History
from yoloscope_exporter.reports import html
from yoloscope_exporter.reports.markdown import summary_markdown
from yoloscope_exporter.reports.runs import summarize
from yoloscope_exporter.reports.summary import UnknownRunError
from yoloscope_exporter.sampling.snapshot import Snapshot
from yoloscope_exporter.terminal.diagnosis import to_markdown, to_text
from yoloscope_exporter.web import documents

if TYPE_CHECKING:
    from collections.abc import Iterator

HONEST = "victim"
CYCLES = 25
_NUMBERS = (0.0, 1.0, -1.0, 5e-324, 1e-9, 0.5, 7.0, 64.0, 1e3, 2.0**31, 2.0**53, 1e15, 1e18, 1e300, 1.79e9, 1e10)
_WORDS = ("", "0", "-1", "1e999", "nan", "train", "cpu", "ram", "True", "²", "٣", "x" * 256, "0,1,2", "a=b", "[/]")
_STATES = (*catalog.STATES, "anything")
_RECORDED = [metric for metric in catalog.METRICS if metric.name in run_samples.ACCEPTED]
_INFOS = (catalog.TRAIN_RUN_INFO, catalog.PREDICT_RUN_INFO, catalog.TRAIN_JOB_INFO, catalog.TRAIN_END_INFO)


def hostile(dice: random.Random, run: str, now: float) -> Iterator[Sample]:
    """What two ranks of a run say."""
    for rank in ("0", dice.choice(("1", "²", "-1"))):
        who, state = (run, rank), dice.choice(_STATES)
        yield Sample(catalog.TRAIN_UP, who, float(dice.random() < 0.8))
        for name in catalog.STATES:
            yield Sample(catalog.TRAIN_STATE, (*who, name), float(name == state))
        for metric in _INFOS:
            yield Sample(metric, (*who, *(dice.choice(_WORDS) for _ in metric.labels[2:])), 1.0)
        for metric in dice.sample(_RECORDED, len(_RECORDED) // 2):
            if (value := _value(dice, metric, now)) is not None:
                yield Sample(metric, (*who, *(_word(dice, name) for name in metric.labels[2:])), value)


def _word(dice: random.Random, label: str) -> str:
    known = {"phase": ("data_wait", "forward", "backward", "setup"), "kind": ("allocated", "reserved"), "worker": "01"}
    return dice.choice((*known.get(label, ()), *_WORDS))


def _value(dice: random.Random, metric: Metric, now: float) -> float | HistogramValue | None:
    """One that a reader lets through."""
    if metric.kind == catalog.HISTOGRAM:
        counts = tuple(abs(dice.choice(_NUMBERS)) for _ in range(len(metric.buckets) + 1))
        made = HistogramValue(counts, abs(dice.choice(_NUMBERS)))
        return made if catalog.plausible_histogram(metric, made) else None
    return catalog.plausible(metric, dice.choice((*_NUMBERS, now, now - 100, now + 1e6)))


def honest(seconds: float, now: float) -> Iterator[Sample]:
    """A run that trains."""
    who = (HONEST, "0")
    yield Sample(catalog.TRAIN_UP, who, 1.0)
    yield Sample(catalog.TRAIN_STATE, (*who, "train"), 1.0)
    yield Sample(catalog.TRAIN_START_TIMESTAMP_SECONDS, who, now - seconds)
    yield Sample(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, who, now)
    yield Sample(catalog.TRAIN_BATCHES_TOTAL, who, 10 * seconds)
    yield Sample(catalog.TRAIN_IMAGES_TOTAL, who, 100 * seconds)
    for phase, share in (("data_wait", 0.3), ("forward", 0.3), ("backward", 0.4)):
        yield Sample(catalog.TRAIN_PHASE_SECONDS_TOTAL, (*who, phase), share * seconds)


def life(seed: int) -> Counter[str]:
    """One exporter's; rules and signals that failed, for the hostile runs alone."""
    dice, now, seconds = random.Random(seed), 1.79e9, 0.0
    live, history, found = Live(), History(), Counter[str]()
    for cycle in range(CYCLES):
        step = dice.choice((1.0, 2.0, 5.0, 30.0, 600.0, -40.0))
        now, seconds = now + step, seconds + abs(step)
        samples = [
            *hostile(dice, "many", now),
            *hostile(dice, dice.choice(("[red]", "a b")), now),
            *honest(seconds, now),
        ]
        told = [*samples, *live.feed(now, samples)]
        history.feed(now, told)
        if cycle % 5 == 4:
            show(live, history, Snapshot(now, {"runs": tuple(told)}))
    for fault in live.faults.seen:
        assert fault.run != HONEST, fault
        found[f"{fault.what}: {fault.error}"] += 1
    return found


def show(live: Live, history: History, snapshot: Snapshot) -> None:
    """All that pages, commands and files make of it."""
    view = documents.View(snapshot, live.diagnoses)
    for language in ("en", "zh-CN"):
        listed = documents.runs(view, history, language)
        content = [listed, documents.events(history.events(), language), documents.verdicts(live.diagnoses, language)]
        content += [documents.run(view, history, run, language) for run in view.ranks]
        json.dumps(content, allow_nan=False).encode()
    for run in view.ranks:
        curves = Curves(history, OF_RUN, run)
        list(curves.update(history.last))
        json.dumps(curves.since(0.0), allow_nan=False)
        with suppress(UnknownRunError):  # of a run that was told off and on
            summary = summarize([live.short], run)
            for page in (summary_markdown(summary), html.one(summary)):
                page.encode()
    json.dumps(live.document(), allow_nan=False)
    for text in (
        to_text(live.diagnoses, verbose=True),
        to_markdown(live.diagnoses, verbose=True),
        to_cfg(live.diagnoses),
    ):
        text.encode()


def main(count: int) -> None:
    """So many lives; what failed, for whom it may."""
    begun, found = time.monotonic(), Counter[str]()
    for seed in range(count):
        sys.stdout.write(f"\rseed {seed} ")  # the last one that is seen is the one that failed
        found += life(seed)
    sys.stdout.write(f"\r{count} lives in {time.monotonic() - begun:.0f} s\n")
    for what, often in found.most_common():
        sys.stdout.write(f"{often:6d}  {what}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
