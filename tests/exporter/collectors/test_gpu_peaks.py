"""The table of peaks: no card is two of them, and what NVML calls cards is found in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.gpu.peaks import PEAKS, peak_of

from tests.exporter.collectors.gpu_world import gpu_world
from tests.fake_nvml import steps

if TYPE_CHECKING:
    from pathlib import Path

#: As drivers call them, with what their data sheets say of AMP's precision, dense.
NAMES = {
    "NVIDIA H100 80GB HBM3": 989.5,
    "NVIDIA H100 PCIe": 756.5,
    "NVIDIA H200": 989.5,
    "NVIDIA H200 NVL": 835.5,
    "NVIDIA A100-SXM4-40GB": 312,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA A100-PCIE-40GB": 312,
    "NVIDIA A100 80GB PCIe": 312,
    "NVIDIA L4": 121,
    "NVIDIA L40S": 362.05,
    "NVIDIA A10": 125,
    "Tesla T4": 65,
    "Tesla V100-SXM2-32GB": 125,
    "NVIDIA GeForce RTX 4090": 165.2,
}
#: Parts of cards, cards with another number of processors, and what is none.
OTHERS = (
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 3080 Ti",
    "NVIDIA A10G",
    "NVIDIA GeForce GTX 1660",
    "",
)


@pytest.mark.parametrize(("name", "half"), NAMES.items())
def test_a_card_has_one_peak(name: str, half: float) -> None:
    """By the whole of its name."""
    assert [peak.half for peak in PEAKS if re.fullmatch(peak.name, name)] == [half]
    assert peak_of(name) is not None


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_known_has_none(name: str) -> None:
    """A name that begins alike is another card."""
    assert peak_of(name) is None


def test_every_line_says_where_it_is_from() -> None:
    """And AMP is never slower than FP32."""
    for peak in PEAKS:
        assert "NVIDIA" in peak.source
        assert 1.9 * peak.single < peak.half < 20 * peak.single


def test_it_is_published_for_whole_cards(tmp_path: Path) -> None:
    """By precision; a card that is not in the table has no series, nor have MIG instances."""
    with gpu_world(tmp_path, steps("healthy_h100x8")[0]) as world:
        world.cycle()
        series = world.cycle(0.0, "gpu_details")
        assert series.value(catalog.GPU_PEAK_FLOPS_PER_SECOND, "3", "half") == 989.5e12
        assert series.value(catalog.GPU_PEAK_FLOPS_PER_SECOND, "3", "single") == 494.7e12
