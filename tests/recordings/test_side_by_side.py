"""Several nodes, clusters and trainings: one fault is one finding of the one that has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.sampling.exposition import Form, Renderer

from tests.recordings import model
from tests.recordings.accuracy import findings
from tests.recordings.model import Plan

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.engine import Diagnosis

NODES = 8
RUN = Plan(ranks=NODES, epochs=2, batches=300, cores=64)


def findings_of(diagnosis: Diagnosis) -> list[str]:
    """Names of a rank's verdicts that are worse than ok."""
    return [verdict.name for verdict in diagnosis.verdicts if verdict.severity != rules.OK]


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


@pytest.mark.parametrize("slow", [True, False])
def test_one_node_does_not_say_what_all_of_them_do(slow: bool) -> None:  # noqa: FBT001 - a parameter
    """A slow link or a late rank elsewhere look alike on a node that waits; together they say which it is."""
    four = replace(RUN, ranks=4, batches=200)
    plan = replace(four, exchange=0.12) if slow else replace(four, backward=lambda at: 0.25 if at.rank == 0 else 0.11)
    stores = model.play_nodes(plan)
    assert findings(diagnose_range(stores)) == {"communication_bound" if slow else "straggler"}
    (alone,) = diagnose_range(stores[-1:]).diagnoses
    (verdict,) = [verdict for verdict in alone.verdicts if verdict.severity != rules.OK]
    assert verdict.name == "communication_bound"
    assert verdict.cause.startswith("not known here")
    assert "3 ranks of the run's 4" in verdict.evidence


@pytest.mark.parametrize(
    "plan",
    [
        replace(RUN, ranks=2, validate=60.0, first_alone=True, facts={"ultralytics": "8.3.100"}),
        replace(RUN, ranks=2, forward=lambda at: 40.0 if (at.batch, at.rank) == (350, 0) else 0.08),
    ],
    ids=["validates", "slow-batch"],
)
def test_a_node_that_waits_for_another_one_has_no_small_batch(plan: Plan) -> None:
    """Its GPU idles because rank 0, which it does not see, is busy elsewhere; that may look like a hang meanwhile."""
    assert findings(diagnose_range(model.play_nodes(plan)[1:])) <= {"insufficient_data", "stalled"}


def test_eight_nodes_starve() -> None:
    """What all have in common is no exchange that takes long."""
    course = diagnose_range(model.play_nodes(replace(RUN, workers=1)))
    assert findings(course) == {"loader_workers"}


def test_two_clusters_with_equal_addresses() -> None:
    """Each has a node of the same address, and on it a training of the same name; the one starves."""
    plans = {"east": Plan(epochs=3), "west": Plan(epochs=3, workers=1)}
    lines = [
        line for cluster, plan in plans.items() for line in _lines(plan, f'cluster="{cluster}",instance="10.0.0.7"')
    ]
    stores = reader.parse(sorted(lines, key=lambda line: float(line.rsplit(" ", 1)[1])))
    assert len(stores) == 2
    assert findings(diagnose_range(stores)) == {"loader_workers"}
    assert not any(series.resets for store in stores for family in store.series.values() for series in family.values())


def _lines(plan: Plan, labels: str) -> list[str]:
    """The plan's samples as timestamped lines with these labels besides their own."""
    renderer, lines = Renderer(), []
    for time, samples in model.moments(plan, every=5.0):
        text = renderer.render(samples).get(Form(openmetrics=True)).decode()
        for line in text.splitlines():
            if not line.startswith("#"):
                head, value = line.rsplit(" ", 1)
                head = head.replace("{", f"{{{labels},", 1) if "{" in head else f"{head}{{{labels}}}"
                lines.append(f"{head} {value} {time}")
    return lines


def test_a_second_training_in_one_process() -> None:
    """A notebook trains until it runs out of memory, then again with less: the second one is not charged with that."""
    every, later = 5.0, 300.0
    first = Plan(run="train/first", epochs=3, ooms={8: 1, 15: 1}, halvings=(8, 15), batch=64, after=2 * later)
    store, second = Store(), dict(model.moments(Plan(run="train/second", epochs=3), every, model.START + later))
    for time, samples in model.moments(first, every):
        more = second.get(time, [])
        shared = "gpu" if more else ""  # the GPU does what the later one asks of it
        store.add(time, [s for s in samples if s.metric.area != shared])
        store.add(time, [s for s in more if s.metric.area in ("train", "gpu")])
    found = {one.run: findings_of(one) for one in diagnose_range([store]).diagnoses}
    assert found == {"train/first": ["oom_retry"], "train/second": []}
