"""Every recording of the corpus yields its findings, no more and no less; the confusion matrix says what came out.

Here stands all that asks for the diagnoses of all recordings: a process that has made them has them for every test.
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pytest
import yaml
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.cfg import to_cfg
from yoloscope_exporter.language import CHINESE, speaking
from yoloscope_exporter.terminal.diagnosis import to_markdown, to_text

from tests.exporter.language.leftovers import english
from tests.recordings import accuracy, cases
from tests.recordings.accuracy import findings
from tests.recordings.cases import CASES
from tests.recordings.real import cases as real

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow
TRUTH = {name: case.findings for name, case in CASES.items()}


@pytest.mark.parametrize("name", TRUTH)
def test_findings(name: str) -> None:
    """Exactly what the case says."""
    course = accuracy.diagnose(cases.path(name))
    told = [f"{v.name}: {v.evidence}" for one in course.diagnoses for v in one.verdicts]
    assert findings(course) == TRUTH[name], "\n".join([CASES[name].why, *told, *course.notes])
    for part in CASES[name].notes:
        assert any(part in note for note in course.notes), course.notes


@pytest.mark.parametrize("name", TRUTH)
def test_in_chinese_nothing_is_left_in_english(name: str) -> None:
    """Evidence, causes and fixes."""
    course = accuracy.diagnose(cases.path(name))
    with speaking(CHINESE):
        told = to_text(course.diagnoses, course.notes, verbose=True) + to_markdown(course.diagnoses, course.notes)
    assert english(told) == []
    assert not re.search(r"[一-鿿][,;:!?(]", told)


@pytest.mark.parametrize("name", [name for name, truth in TRUTH.items() if not truth])
def test_healthy_recordings_are_called_healthy(name: str) -> None:
    """Not only without findings: `compute_bound` is told of every rank."""
    for diagnosis in accuracy.diagnose(cases.path(name)).diagnoses:
        assert [verdict.name for verdict in diagnosis.verdicts] == ["compute_bound"]


def _known(name: str) -> object:
    reason = real.WRONG.get(name)
    return pytest.param(name, marks=[pytest.mark.xfail(reason=reason)] if reason else [])


@pytest.mark.parametrize("name", [_known(name) for name in real.TRUTH])
def test_findings_of_real_trainings(name: str) -> None:
    """Everything that must be told, and nothing that may not be."""
    course = accuracy.diagnose(real.path(name))
    told = [f"{v.name}: {v.evidence}" for one in course.diagnoses for v in one.verdicts]
    right, allowed = real.TRUTH[name]
    assert right <= findings(course) <= right | allowed, "\n".join([real.EVERY[name].why, *told, *course.notes])


@pytest.mark.timeout(600)  # it diagnoses all that no test of this process has
def test_confusion_matrix(table: Callable[[str], None]) -> None:
    """What was found against what is true, real and modelled apart; the documented table is the one that is true."""
    text = accuracy.table({"real": accuracy.recorded(), "modelled": accuracy.modelled()})
    table(text)
    document = accuracy.DOCUMENT.read_text(encoding="utf-8")
    assert accuracy.written(document, text) == document, "python -m tests.recordings.accuracy"


def test_the_corpus_is_wide() -> None:
    """At least 40 recordings, half of them healthy, every verdict among them; none is left that nobody judges."""
    assert len(TRUTH) >= 40
    assert sum(not truth for truth in TRUTH.values()) >= 20
    told = {verdict for truth in TRUTH.values() for verdict in truth}
    assert told == {rule.name for rule in rules.RULES if rule.severity != rules.OK}
    assert set(cases.FOLDER.glob("*.om.gz")) == {cases.path(name) for name in TRUTH}


@pytest.mark.timeout(600)
def test_ultralytics_knows_every_argument_that_is_advised() -> None:
    """As files for `yolo cfg=`: none is misspelt, none has a value of the wrong type."""
    cfg = pytest.importorskip("ultralytics.cfg", reason="needs the extra train")
    advised: set[str] = set()
    for course in map(accuracy.diagnose, map(cases.path, CASES)):
        arguments = yaml.safe_load(to_cfg(course.diagnoses, changes=True)) or {}
        cfg.get_cfg(overrides=arguments)
        advised |= set(arguments)
    assert {"mode", "workers", "cache", "batch", "val", "lr0", "resume"} <= advised


@pytest.mark.parametrize("name", ["healthy_single", "straggler", "clock_set_back"])
def test_the_files_are_what_the_script_writes(name: str) -> None:
    """The committed recordings come from the model beside them."""
    written, committed = (
        gzip.decompress(data) for data in (cases.recorded(CASES[name]), cases.path(name).read_bytes())
    )
    assert written == committed, "python -m tests.recordings.cases"
