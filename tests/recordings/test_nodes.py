"""Runs on several nodes, which are scraped one after the other: one fault is one finding, health is health."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter.diagnosis.time_range import diagnose_range

from tests.recordings import model
from tests.recordings.accuracy import findings
from tests.recordings.model import Plan

NODES = 8
RUN = Plan(ranks=NODES, epochs=4, batches=300, cores=64)


def test_eight_nodes_are_healthy() -> None:
    """Each rank is judged, although no two nodes are scraped at one moment."""
    course = diagnose_range(model.play_nodes(RUN))
    assert findings(course) == frozenset()
    told = {one.rank: [verdict.name for verdict in one.verdicts] for one in course.diagnoses}
    assert told == {str(rank): ["compute_bound"] for rank in range(NODES)}


@pytest.mark.parametrize("ill", [0, NODES - 1])
def test_one_of_eight_nodes_is_slow(ill: int) -> None:
    """The straggler is named, whichever node it is on, and nobody else is."""
    plan = replace(RUN, backward=lambda at: 0.2 if at.rank == ill else 0.11)
    course = diagnose_range(model.play_nodes(plan))
    assert findings(course) == {"straggler"}
    assert [one.rank for one in course.diagnoses if findings_of(one)] == [str(ill)]


def findings_of(diagnosis: object) -> list[str]:
    return [verdict.name for verdict in diagnosis.verdicts if verdict.severity != "ok"]  # type: ignore[attr-defined]


def test_eight_nodes_starve() -> None:
    """What all have in common is told of all."""
    course = diagnose_range(model.play_nodes(replace(RUN, workers=1)))
    assert {one.rank: findings_of(one) for one in course.diagnoses} == {
        str(rank): ["loader_workers"] for rank in range(NODES)
    }
