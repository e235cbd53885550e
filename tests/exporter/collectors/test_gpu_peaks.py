"""The table of peaks: no card is two of them, what NVML calls cards is found in it, its figures are true."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.gpu.peaks import PEAKS, Peak, peak_of

from tests.exporter.collectors.gpu_world import gpu_world
from tests.fake_nvml import steps

DOCS = Path(__file__).parents[3] / "docs"

#: As drivers call them, with what their data sheets say of AMP's precision, dense.
NAMES = {
    "NVIDIA B200": 2250,
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
    "NVIDIA T4": 65,
    "Tesla T4": 65,
    "Tesla V100-SXM2-32GB": 125,
    "NVIDIA GeForce RTX 4090": 165.2,
}
#: Cards with another number of processors, and what is none.
OTHERS = (
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 3080 Ti",
    "NVIDIA A10G",
    "NVIDIA GeForce GTX 1660",
    "",
)
#: Boost clock in GHz, and what a multiprocessor does with each tick of it, dense with FP32 accumulation: in half
#: precision, and in single. GeForce cards accumulate in FP32 at half the rate, as does the L40.
RATES = {
    "B200": (1.86, 8192, 4096),
    "H200 SXM": (1.83, 4096, 2048),
    "H200 NVL": (1.545, 4096, 2048),
    "H100 SXM": (1.83, 4096, 2048),
    "H100 NVL": (1.545, 4096, 2048),
    "H100 PCIe": (1.62, 4096, 2048),
    "A100": (1.41, 2048, 1024),
    "A30": (1.44, 2048, 1024),
    "A40": (1.74, 1024, 512),
    "A10": (1.695, 1024, 512),
    "L40S": (2.52, 1024, 512),
    "L40": (2.49, 512, 256),
    "L4": (2.04, 1024, 512),
    "T4": (1.59, 1024, 128),
    "V100 SXM2": (1.53, 1024, 128),
    "V100 PCIe": (1.38, 1024, 128),
    "GeForce RTX 3080": (1.71, 512, 256),
    "GeForce RTX 3090": (1.695, 512, 256),
    "GeForce RTX 4080": (2.505, 512, 256),
    "GeForce RTX 4090": (2.52, 512, 256),
    "GeForce RTX 5080": (2.617, 512, 256),
    "GeForce RTX 5090": (2.407, 512, 256),
}


@pytest.mark.parametrize(("name", "half"), NAMES.items())
def test_a_card_has_one_peak(name: str, half: float) -> None:
    """By the whole of its name."""
    assert [peak.half for peak in PEAKS if re.fullmatch(peak.pattern, name)] == [half]
    assert peak_of(name) is not None


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_known_has_none(name: str) -> None:
    """A name that begins alike is another card."""
    assert peak_of(name) is None


@pytest.mark.parametrize("peak", PEAKS, ids=lambda peak: peak.card)
def test_a_figure_is_what_its_multiprocessors_can_do(peak: Peak) -> None:
    """Dense, not with sparsity, by clock and rate: within 2.5 %, as some data sheets round, and B200's most of all."""
    clock, half, single = RATES[peak.card]
    assert peak.half == pytest.approx(peak.multiprocessors * clock * half / 1000, rel=0.025)
    assert peak.single == pytest.approx(peak.multiprocessors * clock * single / 1000, rel=0.025)


@pytest.mark.parametrize("peak", PEAKS, ids=lambda peak: peak.card)
def test_every_line_links_to_nvidia(peak: Peak) -> None:
    """To the data sheet or white paper: at NVIDIA's own address, or that of its library of documents."""
    link = urlsplit(peak.source.link)
    assert link.scheme == "https"
    assert link.hostname in {
        "www.nvidia.com",
        "images.nvidia.com",
        "resources.nvidia.com",
        "nvdam.widen.net",
    }
    assert peak.source.title.startswith("NVIDIA")


@pytest.mark.parametrize(("name", "halved"), [("exporter.md", ", halved"), ("exporter.zh-CN.md", "，减半")])  # noqa: RUF001
def test_the_documents_have_the_table(name: str, halved: str) -> None:
    """Word for word, and no line more."""
    rows = [
        f"| {one.card} | {one.multiprocessors} | {one.half:g} | {one.single:g} "
        f"| [{one.source.title}]({one.source.link}){halved if one.source.halved else ''} |"
        for one in PEAKS
    ]
    told = (DOCS / name).read_text(encoding="utf-8").split("<!-- peaks -->")[1].strip().splitlines()
    assert told[2:] == rows


def test_it_is_published_for_whole_cards(tmp_path: Path) -> None:
    """By precision; a card that is not in the table has no series."""
    with gpu_world(tmp_path, {**steps("healthy_h100x8")[0], "gpu.4.name": "NVIDIA H100 64GB"}) as world:
        world.cycle()
        series = world.cycle(0.0, "gpu_details")
        assert series.value(catalog.GPU_PEAK_FLOPS_PER_SECOND, "3", "half") == 989.5e12
        assert series.value(catalog.GPU_PEAK_FLOPS_PER_SECOND, "3", "single") == 494.5e12
        assert series.value(catalog.GPU_PART_RATIO, "3") == 1
        assert ("4", "half") not in series.of(catalog.GPU_PEAK_FLOPS_PER_SECOND)


def test_a_mig_instance_has_its_part(tmp_path: Path) -> None:
    """Of the operations by its multiprocessors, 60 of 132; of the GPU by its slices, three of seven."""
    with gpu_world(tmp_path, steps("mig")[0]) as world:
        world.cycle()
        series = world.cycle(0.0, "gpu_details")
    assert series.value(catalog.GPU_PEAK_FLOPS_PER_SECOND, "0/0", "half") == pytest.approx(989.5e12 * 60 / 132)
    assert series.value(catalog.GPU_PEAK_FLOPS_PER_SECOND, "0/2", "single") == pytest.approx(494.5e12 * 16 / 132)
    parts = {labels[0]: value for labels, value in series.of(catalog.GPU_PART_RATIO).items()}
    assert parts == pytest.approx({"0": 1, "0/0": 3 / 7, "0/1": 2 / 7, "0/2": 1 / 7, "1": 1, "2": 1})
    assert not world.rejected


def test_a_driver_that_does_not_tell_an_instance_s_size(tmp_path: Path) -> None:
    """Its peak and its part are not known, then."""
    lines = {**steps("mig")[0], "fail.nvmlDeviceGetAttributes_v2": 3}
    with gpu_world(tmp_path, lines) as world:
        world.cycle()
        series = world.cycle(0.0, "gpu_details")
    assert {labels[0] for labels in series.of(catalog.GPU_PEAK_FLOPS_PER_SECOND)} == {"0", "1", "2"}
    assert {labels[0] for labels in series.of(catalog.GPU_PART_RATIO)} == {"0", "1", "2"}
