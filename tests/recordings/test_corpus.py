"""Every recording of the corpus yields its findings, no more and no less; the confusion matrix says what came out."""

from __future__ import annotations

import gzip
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import yaml
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.cfg import to_cfg
from yoloscope_exporter.diagnosis.time_range import RangeDiagnosis, diagnose_range
from yoloscope_exporter.recordings import reader

from tests.recordings import cases
from tests.recordings.cases import CASES, RECORDED

if TYPE_CHECKING:
    from collections.abc import Callable

TRUTH = {name: case.findings for name, case in CASES.items()} | RECORDED


@pytest.fixture(scope="module")
def courses() -> dict[str, RangeDiagnosis]:
    """The diagnosis of each recording."""
    return {name: diagnose_range(reader.read(cases.path(name))) for name in TRUTH}


def findings(course: RangeDiagnosis) -> frozenset[str]:
    """Verdicts that are worse than ok, of any rank, and of the node."""
    return frozenset(v.name for one in course.diagnoses for v in one.verdicts if v.severity != rules.OK)


@pytest.mark.parametrize("name", TRUTH)
def test_findings(name: str, courses: dict[str, RangeDiagnosis]) -> None:
    """Exactly what the case says."""
    course = courses[name]
    told = [f"{v.name}: {v.evidence}" for one in course.diagnoses for v in one.verdicts]
    assert findings(course) == TRUTH[name], "\n".join([CASES[name].why if name in CASES else "", *told, *course.notes])
    if name in CASES:
        for part in CASES[name].notes:
            assert any(part in note for note in course.notes), course.notes


@pytest.mark.parametrize("name", [name for name, truth in TRUTH.items() if not truth])
def test_healthy_recordings_are_called_healthy(name: str, courses: dict[str, RangeDiagnosis]) -> None:
    """Not only without findings: `compute_bound` is told of every rank."""
    for diagnosis in courses[name].diagnoses:
        assert [verdict.name for verdict in diagnosis.verdicts] == ["compute_bound"]


def test_confusion_matrix(courses: dict[str, RangeDiagnosis], table: Callable[[str], None]) -> None:
    """At least 40 recordings, half of them healthy, every verdict among them; what was found against what is true."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, truth in TRUTH.items():
        found = findings(courses[name])
        counts.update((verdict, verdict if verdict in found else "nothing") for verdict in truth)
        counts.update(("healthy" if not truth else "more than is true", verdict) for verdict in found - truth)
        if not truth and not found:
            counts["healthy", "healthy"] += 1
    table(matrix(counts))
    assert len(TRUTH) >= 40
    assert sum(not truth for truth in TRUTH.values()) >= 20
    told = {verdict for truth in TRUTH.values() for verdict in truth}
    assert told == {rule.name for rule in rules.RULES if rule.severity != rules.OK}


def matrix(counts: Counter[tuple[str, str]]) -> str:
    """A line per truth: how often it was found, and what was found instead."""
    truths = sorted({truth for truth, _ in counts})
    lines = [f"{'truth':<22} {'recordings':>10} {'found':>6}   instead"]
    for truth in truths:
        row = {found: n for (t, found), n in counts.items() if t == truth}
        right = row.pop(truth, 0)
        rest = ", ".join(f"{found} {n}" for found, n in row.items()) or "-"
        lines.append(f"{truth:<22} {right + sum(row.values()):>10} {right:>6}   {rest}")
    return "\n".join(lines)


def test_ultralytics_knows_every_argument_that_is_advised(courses: dict[str, RangeDiagnosis]) -> None:
    """As files for `yolo cfg=`: none is misspelt, none has a value of the wrong type."""
    cfg = pytest.importorskip("ultralytics.cfg", reason="needs the extra train")
    advised: set[str] = set()
    for course in courses.values():
        arguments = yaml.safe_load(to_cfg(course.diagnoses)) or {}
        cfg.get_cfg(overrides=arguments)
        advised |= set(arguments)
    assert {"mode", "workers", "cache", "batch", "nbs", "val", "lr0", "resume"} <= advised


@pytest.mark.parametrize("name", ["healthy_single", "straggler", "clock_set_back"])
def test_the_files_are_what_the_script_writes(name: str) -> None:
    """The committed recordings come from the model beside them."""
    written, committed = (
        gzip.decompress(data) for data in (cases.recorded(CASES[name]), cases.path(name).read_bytes())
    )
    assert written == committed, "python -m tests.recordings.cases"
