"""What may be tried, and how much of a data set is cached for it."""

from __future__ import annotations

import pytest
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.tuning.space import Facts, fraction, space_of

GIB = 2.0**30


def signals(facts: dict[str, str] | None = None, **numbers: float) -> Signals:
    """A rank with two workers of eight CPUs on a GPU, whose images fit into memory."""
    known = {
        "workers": 2.0,
        "rank_cores": 8.0,
        "node_cores": 8.0,
        "visible_gpus": 1.0,
        "batch_size": 16.0,
        "epoch_images": 16000.0,
        "epoch_batches": 1000.0,
        "prep_seconds": 0.32,
        "decode_share": 0.5,
        "step_seconds": 0.1,
        "wait_seconds": 0.06,
        "images_per_second": 100.0,
        "memory_available_bytes": 64 * GIB,
        "cache_ram_bytes": 2 * GIB,
    }
    about = {"task": "detect", "device": "cuda:0", "ultralytics": "8.4.190", "cache": "False", "fraction": "1.0"}
    numbers = {name: value for name, value in {**known, **numbers}.items() if value >= 0}
    return Signals("probe-1", "0", facts={**about, **(facts or {})}, numbers=numbers)


def test_workers_up_to_what_ultralytics_starts() -> None:
    """And to the CPUs of the rank, whichever is less; what is needed is among them."""
    space = space_of(signals(), {})
    assert space.workers == (0, 1, 2, 3, 4, 5, 6, 8)
    assert space.cache
    assert not space.threads
    assert space.notes == ()
    assert space_of(signals(epoch_batches=3.0), {}).workers == (0, 1, 2, 3)
    assert max(space_of(signals(quota_cores=2.0, rank_cores=2.0), {}).workers) == 2


def test_on_a_cpu_without_workers() -> None:
    """Ultralytics has set 0: a callback may set others, one for each CPU."""
    space = space_of(signals({"device": "cpu"}, workers=0.0, rank_cores=2.0), {})
    assert max(space.workers) == 2


@pytest.mark.parametrize(
    ("facts", "numbers", "cache", "said"),
    [
        ({}, {"cache_ram_bytes": 90 * GIB}, False, "does not fit into memory: decoded it takes 90 GiB"),
        ({"cache": "ram"}, {}, False, ""),
        ({"task": "classify", "ultralytics": "8.3.9"}, {}, False, "cache=ram is not tried"),
        ({}, {"memory_available_bytes": -1}, False, "or its size is not known"),
    ],
)
def test_when_a_cache_is_not_tried(facts: dict[str, str], numbers: dict[str, float], cache: bool, said: str) -> None:  # noqa: FBT001
    """And that it is said."""
    space = space_of(signals(facts, **numbers), {})
    assert space.cache is cache
    assert said in " ".join(space.notes)


def test_a_cache_on_disk_is_only_forecast() -> None:
    """It writes beside the user's images."""
    (note,) = space_of(signals(cache_disk_bytes=GIB, cache_disk_room_bytes=90 * GIB), {}).notes
    assert "cache=disk is not tried, because it writes beside the images; forecast" in note


@pytest.mark.parametrize(("value", "tried"), [("1", False), ("8", True), (None, False)])
def test_threads_only_where_they_are_set(value: str | None, *, tried: bool) -> None:
    """Ultralytics sets one by itself."""
    assert space_of(signals(), {} if value is None else {"OMP_NUM_THREADS": value}).threads is tried


@pytest.mark.parametrize(
    ("numbers", "facts", "workers", "expected"),
    [
        ({}, {}, None, 400 / 16000),  # 10 ms for an image: four seconds
        ({}, {}, 16, 768 / 16000),  # three batches for each worker
        ({}, {"fraction": "0.5"}, None, 0.5 * 400 / 16000),
        ({"epoch_images": 100.0}, {}, None, 1.0),
        ({"decode_share": 0.0}, {}, None, 1.0),
        ({"epoch_images": -1.0}, {}, None, 1.0),
    ],
)
def test_how_much_of_the_data_a_cache_is_filled_with(
    numbers: dict[str, float], facts: dict[str, str], workers: int | None, expected: float
) -> None:
    """As much as takes four seconds, and enough batches; all where it is small."""
    assert fraction(Facts(signals(facts, **numbers), 1000.0), workers) == pytest.approx(expected)
