"""The comparison with nvidia-smi on what a real H200 told, and a fake NVML that tells the same; needs no GPU."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog

from tests.exporter.collectors.gpu_world import gpu_world
from tests.gpu import nvidia_smi

if TYPE_CHECKING:
    from collections.abc import Mapping

#: `nvidia-smi -q -x` of 580.159.04, what the comparison does not read left out.
SEEN = Path(__file__).with_name("seen") / "2026-11-27-h200.xml"
MIB = 2**20
H200 = {
    "driver_version": "580.159.04",
    "gpu.0.memory_total": 143771 * MIB,
    "gpu.0.memory_used": 0,
    "gpu.0.memory_reserved": 616 * MIB,
    "gpu.0.power_usage": 78710,
    "gpu.0.temperature": 34,
    "gpu.0.temperature_margin": 53,
    "gpu.0.field.82": 36,
    "gpu.0.clock_mem": 3201,
    "gpu.0.clock_max_mem": 3201,
    "gpu.0.field.5": 5101,
    "gpu.0.field.142": 1,
    "gpu.0.field.230": 0,
}


def compared(directory: Path, lines: Mapping[str, object]) -> tuple[int, list[str]]:
    """How many figures of the H200 there are, and those that differ."""
    with gpu_world(directory, lines) as world:
        world.cycle(1)
        samples = [*world.cycle(1), *world.cycle(0, "gpu_details")]
    values = {(s.metric.name, s.labels): s.value for s in samples if not isinstance(s.value, tuple)}
    return nvidia_smi.compare(ET.fromstring(SEEN.read_text()), [values])


def test_what_a_card_tells_is_published(tmp_path: Path) -> None:
    """All figures that a real H200 has a number for are there, and are the same; limits of Ada and newer it has not."""
    number, wrong = compared(tmp_path, H200)
    assert wrong == []
    assert number == 44


@pytest.mark.parametrize(
    ("line", "metric"),
    [
        ("gpu.0.temperature_margin -3", catalog.GPU_TEMPERATURE_MARGIN_CELSIUS),
        ("gpu.0.sram_threshold 1", catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED),
        ("gpu.0.field.4 1", catalog.GPU_ECC_VOLATILE_ERRORS_TOTAL),
        ("gpu.0.field.94 1", catalog.GPU_PCIE_REPLAYS_TOTAL),
        ("gpu.0.field.230 1", catalog.GPU_RECOVERY_ACTION),
        ("gpu.0.field.269 9000000000", catalog.GPU_THROTTLED_SECONDS_TOTAL),
        ("gpu.0.persistence 0", catalog.GPU_PERSISTENCE_MODE),
        ("gpu.0.power_limit_min 100000", catalog.GPU_POWER_LIMIT_MIN_WATTS),
        ("gpu.0.fail.nvmlDeviceGetSramEccErrorStatus 3", catalog.GPU_SRAM_ECC_ERRORS_TOTAL),
    ],
)
def test_what_differs_is_named(tmp_path: Path, line: str, metric: catalog.Metric) -> None:
    """A figure that is another one, or is not there."""
    key, _, value = line.partition(" ")
    _, wrong = compared(tmp_path, H200 | {key: value})
    assert wrong
    assert all(f"'{metric.name}'" in told or metric is catalog.GPU_SRAM_ECC_ERRORS_TOTAL for told in wrong)
