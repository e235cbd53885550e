"""Formulas are checked against the catalogue when they are built, and know their unit."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures.formula import (
    Formula,
    OverTime,
    Selector,
    WindowSeconds,
    age,
    increase,
    last,
    over_time,
    quantile,
    rate,
)


@pytest.mark.parametrize(
    ("formula", "unit"),
    [
        (last(m.MEMORY_USED_BYTES), "bytes"),
        (rate(m.TRAIN_PHASE_SECONDS_TOTAL), "ratio"),
        (rate(m.GPU_ENERGY_JOULES_TOTAL), "watts"),
        (rate(m.DISK_READ_BYTES_TOTAL), "bytes/s"),
        (rate(m.TRAIN_BATCHES_TOTAL), "/s"),
        (increase(m.TRAIN_PHASE_SECONDS_TOTAL), "seconds"),
        (increase(m.TRAIN_STEP_SECONDS, "_count"), ""),
        (rate(m.TRAIN_STEP_SECONDS, "_sum"), "ratio"),
        (age(m.TRAIN_START_TIMESTAMP_SECONDS), "seconds"),
        (quantile(0.5, m.TRAIN_STEP_SECONDS), "seconds"),
        (last(m.MEMORY_USED_BYTES).total("count"), ""),
        (last(m.MEMORY_USED_BYTES).total("sum") / last(m.MEMORY_TOTAL_BYTES).total("sum"), "ratio"),
        (rate(m.TRAIN_PHASE_SECONDS_TOTAL) / rate(m.TRAIN_BATCHES_TOTAL), "seconds"),
        (last(m.MEMORY_USED_BYTES) / WindowSeconds(), "bytes/s"),
        (last(m.MEMORY_USED_BYTES) / (last(m.MEMORY_USED_BYTES) / WindowSeconds()), "seconds"),
        (last(m.MEMORY_USED_BYTES) * 2 - 1, "bytes"),
    ],
)
def test_units_are_derived(formula: Formula, unit: str) -> None:
    """From the catalogue's, by what is done with them."""
    assert formula.unit == unit


def test_what_the_catalogue_does_not_have_is_refused() -> None:
    """The message names the metric and what there is."""
    with pytest.raises(ValueError, match=r"yoloscope_train_epoch has no label gpu; it has \('run', 'rank'\)"):
        last(m.TRAIN_EPOCH, gpu="0")
    with pytest.raises(ValueError, match="yoloscope_train_epoch is a gauge; rate takes counters"):
        rate(m.TRAIN_EPOCH)
    with pytest.raises(ValueError, match="yoloscope_train_batches_total is a counter; max_over_time takes gauges"):
        over_time("max", m.TRAIN_BATCHES_TOTAL)
    with pytest.raises(ValueError, match="is a histogram"):
        last(m.TRAIN_STEP_SECONDS)
    with pytest.raises(ValueError, match="is a gauge"):
        quantile(0.5, m.TRAIN_EPOCH)
    with pytest.raises(ValueError, match="there is no part 4 of 4"):
        OverTime("min", Selector(m.CPU_CORES), 4, 4)


def test_seconds_are_not_added_to_bytes() -> None:
    """Nor subtracted from them; a number may be."""
    with pytest.raises(ValueError, match="'bytes' - 'cores': units differ"):
        last(m.MEMORY_USED_BYTES) - last(m.CPU_CORES)
