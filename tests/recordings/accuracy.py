"""How often the diagnosis is right: recall and precision of each verdict over the corpus, real and modelled apart.

`python -m tests.recordings.accuracy` writes the table into docs/benchmarks.md.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.time_range import RangeDiagnosis, diagnose_range
from yoloscope_exporter.recordings import reader

from tests.benchmarks import page
from tests.recordings import cases
from tests.recordings.real import cases as real

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DOCUMENT = page.PAGE
HEALTHY = "healthy"


@dataclass(frozen=True)
class Answer:
    """What must be told of a recording, what may be, and what was."""

    right: frozenset[str]
    allowed: frozenset[str]
    told: frozenset[str]


def findings(course: RangeDiagnosis) -> frozenset[str]:
    """Verdicts that are worse than ok, of any rank, and of the node."""
    return frozenset(v.name for one in course.diagnoses for v in one.verdicts if v.severity != rules.OK)


@functools.cache
def diagnose(recording: Path) -> RangeDiagnosis:
    """The diagnosis of one recording; it takes a second, and several tests ask for it."""
    return diagnose_range(reader.read(recording))


def modelled() -> list[Answer]:
    """The answers to the recordings that a model wrote."""
    return [
        Answer(case.findings, frozenset(), findings(diagnose(cases.path(name)))) for name, case in cases.CASES.items()
    ]


def recorded() -> list[Answer]:
    """The answers to the recordings of real trainings."""
    return [
        Answer(truth.right, truth.allowed, findings(diagnose(real.path(name)))) for name, truth in real.TRUTH.items()
    ]


@dataclass(frozen=True)
class Score:
    """Of one verdict: recordings in which it is right, those of them where it was told, and where it was told wrongly.

    Of `healthy`: recordings in which nothing is wrong, those of which nothing was told, and sick ones of which nothing
    was told.
    """

    true: int
    found: int
    wrong: int

    def __str__(self) -> str:
        """Recall and precision as fractions."""
        recall = f"{self.found}/{self.true}" if self.true else "-"
        told = self.found + self.wrong
        return f"{recall} | {f'{self.found}/{told}' if told else '-'}"


def score(answers: Iterable[Answer], verdict: str) -> Score:
    """How one verdict did."""
    answers = list(answers)
    if verdict == HEALTHY:
        well = [one for one in answers if not one.right]
        silent = [one for one in answers if one.right and not one.told]
        return Score(len(well), sum(one.told <= one.allowed for one in well), len(silent))
    true = [one for one in answers if verdict in one.right]
    wrong = [one for one in answers if verdict in one.told - one.right - one.allowed]
    return Score(len(true), sum(verdict in one.told for one in true), len(wrong))


def instead(answers: Iterable[Answer], verdict: str) -> str:
    """What was told where this verdict was missed."""
    if verdict == HEALTHY:
        missed = [one.told - one.allowed for one in answers if not one.right]
    else:
        missed = [one.told or {"nothing"} for one in answers if verdict in one.right - one.told]
    counts = Counter(name for told in missed for name in told)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "-"


def table(kinds: Mapping[str, list[Answer]]) -> str:
    """A row per verdict, and one for the healthy: recall and precision per kind of recording, and what was confused."""
    names = [HEALTHY, *(rule.name for rule in rules.RULES if rule.severity != rules.OK)]
    every = [one for answers in kinds.values() for one in answers]
    head = " | ".join(f"{kind} ({len(answers)}): recall | precision" for kind, answers in kinds.items())
    rows = [
        f"| `{name}` | {' | '.join(str(score(answers, name)) for answers in kinds.values())} | {instead(every, name)} |"
        for name in names
    ]
    return "\n".join([f"| verdict | {head} | told instead |", "|---" * (2 + 2 * len(kinds)) + "|", *rows])


def written(document: str, text: str) -> str:
    """The document with the table between its marks."""
    return page.between(document, "accuracy", f"{text}\n")


def main() -> None:
    """Bring the document up to date."""
    text = table({"real": recorded(), "modelled": modelled()})
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    main()
