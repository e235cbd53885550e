"""Every field case staged live: a real training each, and the right answer. Only with `make field`: it takes hours.

The healthy trainings of all tasks, versions, loaders and with and without validation are among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.recordings import reader

from tests.field_cases.cases import EVERY
from tests.field_cases.stage import stage
from tests.recordings import accuracy
from tests.recordings.real import cases as real

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.field, pytest.mark.train, pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", EVERY)
def test_field_case(name: str, tmp_path: Path) -> None:
    """Everything that must be told, and nothing that may not be."""
    case = EVERY[name]
    staged = stage(name, case, tmp_path)
    course = diagnose_range(reader.read(staged.recording))
    told = [f"{v.name}: {v.evidence}" for one in course.diagnoses for v in one.verdicts]
    right, allowed = real.truth(name, staged.others)
    story = "\n".join([case.why, f"others used {staged.others:.1f} CPUs", *told, staged.output[-2000:]])
    assert right <= accuracy.findings(course) <= right | allowed, story
    assert case.said in staged.output, story
