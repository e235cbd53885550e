"""Signals that the recordings of the corpus do not tell apart."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import signals
from yoloscope_exporter.diagnosis.series import Store, Window


def node(*samples: Sample) -> dict[str, signals.Signals]:
    """Signals of rank 0 by run, on a node of 16 CPUs that says so twice."""
    store = Store()
    for time in (100.0, 101.0):
        store.add(time, [Sample(c.CPU_CORES, (), 16.0), *samples])
    window = Window(store, 100.0, 101.0)
    return {one.run: one for one in signals.gather(window, window) if one.rank == "0"}


def ranks(run: str, count: int) -> list[Sample]:
    return [Sample(c.TRAIN_UP, (run, str(rank)), 1.0) for rank in range(count)]


def quota(run: str, cores: float) -> Sample:
    return Sample(c.CGROUP_CPU_QUOTA_CORES, (run,), cores)


@pytest.mark.parametrize(
    ("samples", "cores"),
    [
        (ranks("a", 1), 16.0),
        (ranks("a", 4), 4.0),
        ([*ranks("a", 1), *ranks("b", 7)], 2.0),
        ([*ranks("a", 2), quota("a", 6.0)], 3.0),
        ([*ranks("a", 1), *ranks("b", 1), quota("a", 6.0)], 6.0),  # another run's rank has no part in this quota
    ],
)
def test_cpus_for_each_rank(samples: list[Sample], cores: float) -> None:
    """All trainers share the node's CPUs, those of a run its quota."""
    assert node(*samples)["a"]["rank_cores"] == cores


def test_ranks_of_a_run_are_not_those_of_the_node() -> None:
    """A data set cached in memory is kept once for each rank of its own run."""
    one = node(*ranks("a", 2), *ranks("b", 3))["a"]
    assert (one["run_ranks"], one["ranks"]) == (2.0, 5.0)
