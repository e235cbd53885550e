"""What `yoloscope run` finds out about the runs of its command when that has ended, and where it tells it."""

from __future__ import annotations

import json
import shutil
import stat
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_record import paths

from yoloscope_exporter.client import exporter
from yoloscope_exporter.commands import output
from yoloscope_exporter.diagnosis.engine import ALIVE
from yoloscope_exporter.diagnosis.whole_run import energy
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import say
from yoloscope_exporter.recordings import postmortem
from yoloscope_exporter.reports import ending, prices, results
from yoloscope_exporter.reports import runs as all_runs
from yoloscope_exporter.reports.figures import Figure
from yoloscope_exporter.reports.summary import Summary, UnknownRunError
from yoloscope_exporter.system import os

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.commands.launched import Run
    from yoloscope_exporter.diagnosis.engine import Diagnosis
    from yoloscope_exporter.reports.ending import Ended

SUMMARY_FILE = "summary.json"
ANSWER_SECONDS = 1.0
#: For the exporter to see what a run died of: it samples every second, and the diagnosis takes every other sample.
GRACE_SECONDS = 3.0
MAX_RESULTS_BYTES = 16 << 20  # a row per epoch


# --- what is known --------------------------------------------------------------------------------------------------


def summaries(records: Path, runs: Sequence[Run]) -> list[tuple[Run, Summary]]:
    """What the runs came to by their records and their results."""
    told, known = [], postmortem.everybody(records)
    for run in runs:
        with suppress(KeyError, UnknownRunError):  # the command ended before the run had begun
            found = postmortem.read(records, run.name, known)
            summary = replace(all_runs.summarize([found.store], found.run), run=run.name)
            told.append((run, _with_best(summary, run.folder) if summary.trains else summary))
    return told


def seen_by(url: str, runs: Sequence[Run], until: float = 0.0) -> tuple[Diagnosis, ...]:
    """What the exporter at `url` has found of these runs; until that monotonic time it may see that they have ended."""
    while True:
        try:
            everything = exporter.diagnoses(url, ANSWER_SECONDS)
        except SourceError:
            return ()
        shown = {one.run for one in everything}
        names = [paths.own_label(run.name, shown) for run in runs]
        last, found = names[-1], tuple(one for one in everything if one.run in names)
        told = {one.run for one in found if one.state not in ALIVE}
        known = {one.run for one in found}  # of earlier ones it may know no more; it may see none of them at all
        if not known or (last in told and told == known) or time.monotonic() >= until:
            return found
        time.sleep(0.1)


def with_seen(told: Sequence[tuple[Run, Summary]], seen: Sequence[Diagnosis]) -> list[tuple[Run, Summary]]:
    """The same with what an exporter has found."""
    shown = {one.run for one in seen}
    own = ((run, summary, paths.own_label(run.name, shown)) for run, summary in told)
    return [(run, _with_seen(summary, [one for one in seen if one.run == label])) for run, summary, label in own]


def with_prices(told: Sequence[tuple[Run, Summary]]) -> list[tuple[Run, Summary]]:
    """The same with what that costs, by the factors of the environment.

    Raises:
        ValueError: one of them is no number.
    """
    factors = prices.from_environment(os.environ)
    return [(run, replace(one, figures=prices.priced(one.figures, factors))) for run, one in told]


def _with_seen(summary: Summary, seen: Sequence[Diagnosis]) -> Summary:
    """An exporter sees what a record lacks, and all of a run instead of its last batches; the end is in the record."""
    found = [(one.rank, verdict) for one in seen for verdict in one.whole_run]
    for name, source in (("energy", "gpu"), ("cpu_energy", "cpu")):
        if joules := energy(seen, source):
            summary = replace(summary, figures={**summary.figures, name: Figure(joules)})
    if all(verdict.name == "insufficient_data" for _, verdict in found):
        return summary
    names = {verdict.name for _, verdict in found}
    ends = [(rank, one) for rank, one in summary.verdicts if one.name in ending.ENDS and one.name not in names]
    return replace(summary, verdicts=(*ends, *found))


def _with_best(summary: Summary, folder: str) -> Summary:
    known = [summary.figures["score"].value] if "score" in summary.figures else []
    scores = [*known, *_best(Path(folder) / results.FILE)] if folder else known
    return replace(summary, figures={**summary.figures, "score": Figure(max(scores))}) if scores else summary


def _best(path: Path) -> Iterator[float]:
    """The best score in the run's results, where there are any."""
    with suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a descriptor
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                best = results.best(file.read(MAX_RESULTS_BYTES))
                yield from [] if best is None else [best]


# --- where it is told -----------------------------------------------------------------------------------------------


def show(ended: Ended, told: Sequence[Summary], language: str) -> None:
    """Write the card to stdout."""
    from yoloscope_exporter.terminal import card  # noqa: PLC0415 - rich comes with it

    text = card.rendered(
        ending.title(ended, told[-1:], language),
        list(ending.card_lines(told, language)),
        good=ending.went_well(ended, told[-1]),
        width=shutil.get_terminal_size().columns,
        terminal=sys.stdout.isatty(),
    )
    sys.stdout.flush()
    out = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)  # a terminal that is gone is no trouble at the exit
    out.write(text.encode(sys.stdout.encoding, errors="replace"))


def write(ended: Ended, run: Run, summary: Summary) -> None:
    """Write `summary.json` beside the results of the run, at once or not at all; not where there is no such folder.

    Raises:
        OSError: it cannot be written, or there is one that is not ours.
    """
    path = Path(run.folder) / SUMMARY_FILE
    if not run.folder or not path.parent.is_dir():
        return
    if path.exists() and not _is_ours(path):
        raise FileExistsError(say("{path} is somebody else's", path=path))
    text = json.dumps(ending.document(ended, summary), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    output.write(path, [text])


def _is_ours(path: Path) -> bool:
    """Whether an earlier run has written it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"format", "run", "verdicts"} <= content.keys()
