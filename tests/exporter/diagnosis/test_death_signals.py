"""What the node tells of a death: the rank's GPU, what makes a kubelet evict; as it was at the death, and for good."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis.causes import BY_NAME
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store

from tests.recordings.model import Plan, moments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from yoloscope_exporter.catalog import Metric

GIB = 2**30
KILLED = Plan(epochs=1, batches=200, stop=30, end="killed", after=60.0)
POD = {"pod": "train-0", "namespace": "ml"}


def cycles(more: Callable[[float], Iterable[Sample]], plan: Plan = KILLED) -> Iterator[tuple[float, list[Sample]]]:
    """The plan with more samples, in place of those of the same series."""
    found = list(moments(plan, 1.0))
    died = next(t for t, s in found if Sample(catalog.TRAIN_STATE, (plan.run, "0", "killed"), 1.0) in s)
    job = Sample(catalog.TRAIN_JOB_INFO, (plan.run, "0", *(POD.get(name, "") for name in catalog.JOB_FACTS)), 1.0)
    for time, samples in found:
        added = [job, *more(time - died)]
        taken = {(one.metric.name, one.labels) for one in added}
        yield time, [one for one in samples if (one.metric.name, one.labels) not in taken] + added


def told(more: Callable[[float], Iterable[Sample]], plan: Plan = KILLED) -> set[tuple[str, str]]:
    """Causes and evidence, by the living diagnosis at the end and by that of a recording."""
    live, store = Live(), Store()
    for time, samples in cycles(more, plan):
        live.feed(time, samples)
        store.add(time, samples)
    found = [live.diagnoses[0].verdicts[0], diagnose_range([store]).diagnoses[0].verdicts[0]]
    return {(one.cause.partition(":")[0], one.evidence.rpartition("; ")[2]) for one in found}


def gpus(lost: str, xid: str = "", at: float = 1.0) -> Callable[[float], Iterator[Sample]]:
    """GPU `lost` answers no more from a moment on, with an Xid; the rank's is GPU 0."""

    def samples(after: float) -> Iterator[Sample]:
        for gpu in "01":
            yield Sample(catalog.GPU_UP, (gpu,), float(gpu != lost or after < at))
        if xid and after >= at:
            yield Sample(catalog.GPU_XID_ERRORS_TOTAL, (lost, xid), 1.0)

    return samples


def available(metric: Metric, labels: tuple[str, ...], low: float, usual: float) -> Callable[[float], Iterator[Sample]]:
    """A gauge that is low in the last seconds before the death and just after it."""
    return lambda after: iter([Sample(metric, labels, low if -3 <= after <= 1 else usual)])


def test_a_gpu_that_does_not_answer() -> None:
    """The rank's, and no other one."""
    assert told(gpus("0", "79")) == {("gpu_lost", "Xid 79 of GPU 0")}
    assert told(gpus("0")) == {("gpu_lost", "GPU 0 does not answer")}
    assert {cause for cause, _ in told(gpus("1", "79"))} == {"unknown"}


def test_what_happens_to_a_gpu_later_is_another_matter() -> None:
    """Half a minute is what the driver may take to say it."""
    assert {cause for cause, _ in told(gpus("0", "79", at=45.0))} == {"unknown"}


def test_a_cause_once_told_stays() -> None:
    """When its evidence has left the windows: a killed run is shown for an hour."""
    live = Live(history=60.0)
    seen = []
    for time, samples in cycles(gpus("0", "79"), replace(KILLED, after=200.0)):
        live.feed(time, samples)
        if live.diagnoses and live.diagnoses[0].state == "killed":
            seen.append(live.diagnoses[0].verdicts[0].cause.partition(":")[0])
    assert seen[-1] == "gpu_lost"
    assert list(dict.fromkeys(seen)) in (["gpu_lost"], ["unknown", "gpu_lost"])
    published = [
        one.labels[2:4] for one in live.feed(time + 10, samples) if one.metric is catalog.TRAIN_VERDICT_CAUSE_INFO
    ]
    assert [(verdict, cause.partition(":")[0]) for verdict, cause in published] == [("killed", "gpu_lost")]


def test_what_to_do_changes_with_the_cause() -> None:
    """Who reads of a lost GPU is not told to go on from the last checkpoint."""
    live, said = Live(), []
    for time, samples in cycles(gpus("0", "79", at=10.0), replace(KILLED, before=3)):
        told = live.feed(time, samples)
        said += [
            (cause.labels[3].partition(":")[0], fix.labels[3])
            for cause in told
            for fix in told
            if cause.metric is catalog.TRAIN_VERDICT_CAUSE_INFO
            if fix.metric is catalog.TRAIN_VERDICT_FIX_INFO and fix.labels[2] == cause.labels[2]
        ]
    assert list(dict.fromkeys(said)) == [
        ("unknown", "resume=True; continue from the last checkpoint"),
        ("gpu_lost", BY_NAME["gpu_lost"].remedy),
    ]


def test_an_eviction_for_memory() -> None:
    """A dip of a few seconds is seen; a node with enough left says nothing."""
    memory = catalog.MEMORY_AVAILABLE_BYTES
    assert told(available(memory, (), 0.25 * GIB, 90 * GIB)) == {
        ("eviction_memory", "256 MiB of the node's memory were left")
    }
    assert {cause for cause, _ in told(available(memory, (), 2 * GIB, 90 * GIB))} == {"unknown"}


@pytest.mark.parametrize(
    ("mount", "kind", "usual", "cause"),
    [
        ("/", "ext4", 40, "eviction_disk"),
        ("/var/lib/containerd", "xfs", 40, "eviction_disk"),
        ("/data", "ext4", 40, "unknown"),
        ("/", "overlay", 40, "unknown"),
        ("/", "ext4", 9, "unknown"),
    ],
    ids=["node", "runtime", "volume", "container", "full-for-weeks"],
)
def test_an_eviction_for_the_disk(mount: str, kind: str, usual: int, cause: str) -> None:
    """Of a file system that a kubelet watches and that has just filled up: a full volume is the users' own affair."""
    labels = (mount, kind)
    low = available(catalog.FILESYSTEM_AVAILABLE_BYTES, labels, 8 * GIB, usual * GIB)

    def more(after: float) -> Iterator[Sample]:
        yield Sample(catalog.FILESYSTEM_SIZE_BYTES, labels, 100.0 * GIB)
        yield from low(after)

    assert {found for found, _ in told(more)} == {cause}
