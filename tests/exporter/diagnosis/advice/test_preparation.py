"""Slow storage and slow preprocessing have remedies of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter.diagnosis.advice.preparation import for_slow_preprocessing, for_slow_storage
from yoloscope_exporter.diagnosis.signals import Signals

from tests.exporter.diagnosis.advice.cases import GIB, LOADER, around, data_set


def test_workers_get_what_memory_the_cache_leaves() -> None:
    """5 of 10 GiB for the cache: two thirds of the rest are three workers of 1 GiB, not four more as without it."""
    assert for_slow_storage(data_set(4369.0, 10 * GIB)).arguments == {"cache": "ram", "workers": 5}
    assert for_slow_storage(data_set(4369.0, 8 * GIB)).arguments == {"workers": 6}


def test_slow_storage_is_not_told_to_read_more() -> None:
    """`cache=disk` writes decoded images, several times as large, beside the others: that is for slow CPUs only."""
    slow = data_set(200_000.0, 10 * GIB)
    assert "cache" not in for_slow_storage(slow).arguments
    assert "local SSD" in for_slow_storage(slow).note
    room = slow.with_numbers({Signals.cache_disk_bytes: 200 * GIB, Signals.cache_disk_room_bytes: 230 * GIB})
    assert for_slow_preprocessing(room).arguments == {"cache": "disk"}


def test_no_workers_where_no_cpu_is_free_for_them() -> None:
    """Preparation bound by the CPU is not helped by sharing the CPUs among more workers."""
    assert for_slow_preprocessing(data_set(1000.0, 10 * GIB)).arguments == {"cache": "ram"}
    assert for_slow_preprocessing(data_set(1000.0, 10 * GIB, cache="ram")).arguments == {}


@pytest.mark.parametrize(("decoding", "faster"), [(0.9, 0.45 / 0.2), (0.3, 1 / 0.7)])
def test_a_cache_saves_decoding_only(decoding: float, faster: float) -> None:
    """Its gain is computed by the share of the preparation that decodes."""
    one = data_set(1000.0, 10 * GIB)
    known = replace(one, numbers={**one.numbers, **LOADER, "prep_cpu_ratio": 1.0, "decode_share": decoding})
    found = for_slow_preprocessing(known)
    assert found.arguments == {"cache": "ram"}
    assert around(found, 10 * faster)


def test_where_little_is_decoded_no_cache_is_advised() -> None:
    """Field case 4: augmentation takes the time; a cache was promised 2.5x and gave 1.01x."""
    one = data_set(1000.0, 10 * GIB)
    found = for_slow_preprocessing(replace(one, numbers={**one.numbers, **LOADER, "decode_share": 0.1}))
    assert found.arguments == {}
    assert found.forecast is None


def test_no_gain_is_promised_where_decoding_was_not_measured() -> None:
    """Older hooks do not tell decoding from transforms."""
    one = data_set(1000.0, 10 * GIB)
    assert for_slow_preprocessing(replace(one, numbers={**one.numbers, **LOADER})).forecast is None
