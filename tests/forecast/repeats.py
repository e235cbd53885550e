"""Equal trainings against each other: real ones, one after the other on this machine.

    python -m tests.forecast.repeats --out DIR                  # twenty, about two minutes each
    python -m tests.forecast.repeats --out DIR --count 3        # fewer, or more later: those in DIR are kept
    python -m tests.forecast.repeats --out DIR --count 0 --write    # puts the table into docs/benchmarks.md

Each is staged as the field cases are: Ultralytics on the CPU with the hooks, the exporter beside it, and a recording of
it. Then `yoloscope report` compares each with the next: whatever it calls different is a false alarm. Leave the machine
alone meanwhile: a neighbour makes a training slower, and that is no false alarm.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.recordings import reader
from yoloscope_exporter.reports.comparison import SAME, compare
from yoloscope_exporter.reports.summary import known_runs, summarize

from tests.benchmarks import page
from tests.field_cases.stage import stage
from tests.forecast.pairs import COMPUTING
from tests.recordings.real.cases import others

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.reports.summary import Summary

COUNT = 20
SIX, DRAWS = 6, 200
#: The trainer computes, one loader worker decodes on the other CPU.
SETTING = COMPUTING.with_({"workers": 1})
HEADING = "## Report: a training repeated"


MEANING = (
    "The speed of a virtual machine changes with what its neighbours do, and that shows in none of its figures. What a",
    "single run varies by in itself cannot know it: of single runs `report` says 'more than the runs' own spread' and",
    "asks for repetitions; only of those it says 'significant'.",
)


class Outcome(NamedTuple):
    """A training compared with the next one, which is equal.

    Attributes:
        change: of the throughput, such as `x 0.98`.
        verdict: of the throughput.
        different: titles of the lines that were called different.
    """

    change: str
    verdict: str
    different: tuple[str, ...]


def names(count: int) -> list[str]:
    """Of the recordings."""
    return [f"repeat_{number:02}" for number in range(1, count + 1)]


def outcomes(summaries: Sequence[Summary]) -> list[Outcome]:
    """Each training compared with the next."""
    return [_outcome(one, other) for one, other in pairwise(summaries)]


def _outcome(one: Summary, other: Summary) -> Outcome:
    rows = compare([one], [other]).rows
    cells = {row.name: row.cells[1] for row in rows}
    found = cells["throughput"]
    return Outcome(found.change, found.verdict, tuple(row.title for row in rows if row.cells[1].certain))


def in_threes(summaries: Sequence[Summary]) -> int:
    """Of DRAWS times three of them against three others, how often any line was called different."""
    chance, wrong = random.Random(0), 0
    for _ in range(DRAWS):
        drawn = chance.sample(list(summaries), SIX)
        wrong += any(row.cells[1].certain for row in compare(drawn[:3], drawn[3:]).rows)
    return wrong


def section(summaries: Sequence[Summary], cpus: Sequence[float]) -> str:
    """The table and what it comes to, as Markdown; `cpus` are those that others used, by training."""
    found = outcomes(summaries)
    wrong, same = sum(bool(one.different) for one in found), sum(one.verdict == SAME for one in found)
    seconds = summaries[0].end - summaries[0].start
    lines = [
        f"{len(summaries)} equal trainings of {seconds:.0f} s, each compared with the next:",
        f"of {len(found)} pairs {wrong} were called different in any line, of {same} the throughput the same.",
        "",
        "| training | images/s | others' CPUs | to the next | throughput | called different |",
        "|---|---|---|---|---|---|",
    ]
    for number, (summary, used) in enumerate(zip(summaries, cpus, strict=True)):
        one = found[number] if number < len(found) else Outcome("", "", ())
        different = ", ".join(one.different) or ("none" if one.verdict else "")
        speed = summary.figures["throughput"].value
        lines.append(f"| {number + 1} | {speed:.2f} | {used:.1f} | {one.change} | {one.verdict} | {different} |")
    if len(summaries) >= SIX:
        lines += [
            "",
            f"Three of them against three others, {DRAWS} times at random: {in_threes(summaries)} were called",
        ]
        lines += ["different in any line (`yoloscope report A1 A2 A3 --vs B1 B2 B3`).", "", *MEANING]
    return "\n".join(lines)


def read(recording: Path) -> Summary:
    """The training that was recorded."""
    stores = reader.read(recording)
    (run,) = known_runs(stores)
    return summarize(stores, run)


def main() -> None:
    """Train as often as is asked for, then compare all that were trained."""
    parser = argparse.ArgumentParser(description="Equal real trainings, compared.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--count", type=int, default=COUNT, help="trainings in all; those that are there are kept")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long each training is watched")
    parser.add_argument("--write", action="store_true", help="put the section into docs/benchmarks.md")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in names(arguments.count):
        if not (arguments.out / f"{name}.om.gz").exists():
            staged = stage(name, SETTING.case("one of several equal trainings", arguments.seconds), arguments.out)
            print(f"{name}: others used {staged.others:.1f} CPUs", flush=True)
    recorded = sorted(arguments.out.glob("repeat_*.om.gz"))
    if len(recorded) < 2:
        parser.error("--count: at least two trainings are compared")
    text = section([*map(read, recorded)], [*map(others, recorded)])
    print(text)
    if arguments.write:
        made_by = f"{time.strftime('%Y-%m-%d')}, {page.machine()}; `python -m tests.forecast.repeats`."
        page.write(f"{HEADING}\n\n{made_by}\n{text}")


if __name__ == "__main__":
    main()
