"""Caches are advised where they fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter.diagnosis.advice.cache import cache_in_memory, cache_on_disk
from yoloscope_exporter.diagnosis.advice.preparation import for_slow_preprocessing
from yoloscope_exporter.diagnosis.signals import Signals

from tests.exporter.diagnosis.advice.cases import GIB, data_set, signals


@pytest.mark.parametrize(("images", "fits"), [(4369.0, True), (4370.0, False)])
def test_cache_in_memory_only_if_it_fits(images: float, fits: bool) -> None:  # noqa: FBT001 - a parameter
    """A decoded image takes imgsz x imgsz x 3 bytes; Ultralytics refuses to fill more than half of the free memory."""
    found = cache_in_memory(data_set(images, 10 * GIB))
    assert (found is not None) == fits
    if found:
        assert found.arguments == {"cache": "ram"}


@pytest.mark.parametrize(("room", "fits"), [(221.0, True), (219.0, False), (0.0, False)])
def test_a_cache_on_disk_must_fit_there(room: float, fits: bool) -> None:  # noqa: FBT001 - a parameter
    """With Ultralytics' margin of a tenth, and where its folder can be written to; unknown is no room."""
    slow = data_set(200_000.0, 10 * GIB).with_numbers({Signals.cache_disk_bytes: 200 * GIB})
    assert cache_on_disk(slow) is None
    assert (cache_on_disk(slow.with_numbers({Signals.cache_disk_room_bytes: room * GIB})) is not None) == fits


def test_the_cache_is_as_large_as_its_images() -> None:
    """Images smaller than imgsz x imgsz, as the hooks found them in the labels, take less than a square."""
    wide = data_set(1000.0, GIB).with_numbers({Signals.cache_ram_bytes: 0.4 * GIB})
    assert cache_in_memory(data_set(1000.0, GIB)) is None
    found = cache_in_memory(wide)
    assert found is not None
    assert "410 MiB" in found.note


@pytest.mark.parametrize(("version", "cached"), [("8.3.9", False), ("8.4.2", False), ("8.4.190", True)])
def test_classification_caches_in_memory_in_new_versions_only(version: str, cached: bool) -> None:  # noqa: FBT001
    """Older ones refuse it with a warning; newer ones never ask whether it fits, so that its size must be known."""
    facts = {"task": "classify", "ultralytics": version}
    one = data_set(1000.0, 10 * GIB, **facts)
    assert cache_in_memory(one) is None
    known = one.with_numbers({Signals.cache_ram_bytes: GIB})
    assert (cache_in_memory(known) is not None) == cached


def test_every_rank_of_the_node_keeps_its_own_cache() -> None:
    """What fits once may not fit eight times; ranks on other nodes take none of this node's memory."""
    for ranks, fits in ((1.0, True), (8.0, False)):
        one = data_set(2000.0, 10 * GIB)
        beside = replace(one, numbers={**one.numbers, "run_ranks": ranks, "world_size": 8.0})
        assert (cache_in_memory(beside) is not None) == fits


def test_what_is_cached_is_not_cached_again() -> None:
    """A second cache is no advice; nor is one of a data set of unknown size."""
    assert cache_in_memory(data_set(10.0, GIB, cache="ram")) is None
    assert cache_on_disk(data_set(10.0, GIB, cache="disk")) is None
    assert cache_in_memory(signals(memory_available_bytes=GIB)) is None
    assert "mosaic" in for_slow_preprocessing(signals(memory_available_bytes=GIB)).note
