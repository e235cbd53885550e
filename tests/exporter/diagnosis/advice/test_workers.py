"""Loader workers are computed, and bounded by what the machine has."""

from __future__ import annotations

import pytest
from yoloscope_exporter.diagnosis.advice import gain
from yoloscope_exporter.diagnosis.advice.workers import more_workers, workers_needed

from tests.exporter.diagnosis.advice.cases import GIB, LOADER, around, signals


def test_workers_follow_littles_law() -> None:
    """0.9 s of preparation for a batch every 0.2 s keeps 4.5 workers busy: five, and one to spare."""
    assert workers_needed(signals(**LOADER)) == 6
    found = more_workers(signals(**LOADER, rank_cores=32.0))
    assert found is not None
    assert found.arguments == {"workers": 6}
    assert around(found, 10 * 0.45 / 0.2)


@pytest.mark.parametrize(
    ("limits", "workers"),
    [
        ({"rank_cores": 4.0}, 4),
        ({"rank_cores": 5.5}, 5),
        ({"rank_cores": 64.0, "memory_available_bytes": 4 * GIB, "worker_resident_bytes": GIB}, 4),
        ({"rank_cores": 64.0, "memory_available_bytes": 4 * GIB, "worker_resident_bytes": GIB, "run_ranks": 2.0}, 3),
    ],
)
def test_workers_stay_within_the_machine(limits: dict[str, float], workers: int) -> None:
    """Not beyond CPUs per rank, nor beyond this rank's share of the memory for another worker."""
    found = more_workers(signals(**LOADER, **limits))
    assert found is not None
    assert found.arguments == {"workers": workers}


def test_no_workers_where_they_cannot_be_had() -> None:
    """With as many workers as CPUs, and without CUDA where Ultralytics sets 0, the advice is not to raise `workers`."""
    assert more_workers(signals(**LOADER, rank_cores=2.0)) is None
    for device in ("cpu", "mps"):
        assert more_workers(signals({"device": device}, **{**LOADER, "workers": 0.0}, rank_cores=8.0)) is None


def test_gain_is_the_slower_of_loader_and_trainer() -> None:
    """With two more workers than now the loader is still the slower part: 0.9 s / 4 per batch."""
    found = more_workers(signals(**LOADER, rank_cores=4.0))
    assert found is not None
    assert around(found, 10 * 0.45 / 0.225)
    assert gain(found) == "2.0x to 2.1x: 10 -> 19.5 to 20.5 images/s"


def test_no_number_of_workers_without_knowing_todays() -> None:
    """Where the trainer does not say how many it has, nothing is raised."""
    assert more_workers(signals(prep_seconds=0.9, step_seconds=0.2, rank_cores=8.0)) is None
