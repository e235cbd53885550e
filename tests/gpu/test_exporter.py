"""The GPU collectors on a real driver: metrics against `nvidia-smi -q` for the same moment, and the cost of a cycle.

Not part of the default run: `pytest tests/gpu/test_exporter.py -s` on a machine with an NVIDIA driver.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import Collector, Context
from yoloscope_exporter.collectors.gpu import collectors
from yoloscope_exporter.config import defaults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.catalog import Metric

if shutil.which("nvidia-smi") is None:
    pytest.skip("needs an NVIDIA driver", allow_module_level=True)

MIB, PERCENT, MEGAHERTZ = 2.0**20, 0.01, 1e6
CYCLES = 30
Values = dict[tuple[str, tuple[str, ...]], float]


class Same(NamedTuple):
    """A metric and where nvidia-smi tells it; `slack` is what may change within a second, in the metric's unit."""

    metric: Metric
    labels: tuple[str, ...]
    paths: tuple[str, ...]
    scale: float = 1.0
    slack: float = 0.0


CLOCKS = {"graphics": "graphics_clock", "sm": "sm_clock", "memory": "mem_clock", "video": "video_clock"}
LIMITS = {"slowdown": "slow", "shutdown": "max", "max_operating": "max_gpu"}
POWER = ("gpu_power_readings", "power_readings")  # since R530, before
TABLE = (
    Same(catalog.GPU_MEMORY_TOTAL_BYTES, (), ("fb_memory_usage/total",), MIB, MIB),
    Same(catalog.GPU_MEMORY_USED_BYTES, (), ("fb_memory_usage/used",), MIB, 64 * MIB),
    Same(catalog.GPU_MEMORY_FREE_BYTES, (), ("fb_memory_usage/free",), MIB, 64 * MIB),
    Same(catalog.GPU_MEMORY_RESERVED_BYTES, (), ("fb_memory_usage/reserved",), MIB, 2 * MIB),
    Same(catalog.GPU_UTILIZATION_RATIO, (), ("utilization/gpu_util",), PERCENT, 0.2),
    Same(catalog.GPU_ENCODER_UTILIZATION_RATIO, (), ("utilization/encoder_util",), PERCENT, 0.2),
    Same(catalog.GPU_DECODER_UTILIZATION_RATIO, (), ("utilization/decoder_util",), PERCENT, 0.2),
    Same(catalog.GPU_TEMPERATURE_CELSIUS, ("core",), ("temperature/gpu_temp",), slack=3),
    Same(catalog.GPU_TEMPERATURE_CELSIUS, ("memory",), ("temperature/memory_temp",), slack=3),
    Same(catalog.GPU_PERFORMANCE_STATE, (), ("performance_state",), slack=8),
    Same(catalog.GPU_POWER_WATTS, (), tuple(f"{part}/power_draw" for part in POWER), slack=60),
    Same(
        catalog.GPU_POWER_LIMIT_WATTS,
        (),
        tuple(f"{part}/{name}_power_limit" for part in POWER for name in ("enforced", "current")),
        slack=1,
    ),
    Same(catalog.GPU_PCIE_LINK_GENERATION_MAX, (), ("pci/pci_gpu_link_info/pcie_gen/max_link_gen",)),
    Same(catalog.GPU_PCIE_LINK_WIDTH, (), ("pci/pci_gpu_link_info/link_widths/current_link_width",)),
    Same(catalog.GPU_PCIE_LINK_WIDTH_MAX, (), ("pci/pci_gpu_link_info/link_widths/max_link_width",)),
    Same(catalog.GPU_REMAPPED_ROWS_TOTAL, ("correctable",), ("remapped_rows/remapped_row_corr",)),
    Same(catalog.GPU_REMAPPED_ROWS_TOTAL, ("uncorrectable",), ("remapped_rows/remapped_row_unc",)),
    *(
        Same(catalog.GPU_TEMPERATURE_LIMIT_CELSIUS, (kind,), (f"temperature/gpu_temp_{name}_threshold",))
        for kind, name in LIMITS.items()
    ),
    *(Same(catalog.GPU_CLOCK_HERTZ, (domain,), (f"clocks/{name}",), MEGAHERTZ, 2e9) for domain, name in CLOCKS.items()),
    *(
        Same(catalog.GPU_CLOCK_MAX_HERTZ, (domain,), (f"max_clocks/{name}",), MEGAHERTZ)
        for domain, name in CLOCKS.items()
    ),
)


@pytest.fixture
def halves() -> Iterator[list[Collector]]:
    """The fast and the slow collector, as the exporter makes them."""
    context = Context(
        Path("/proc"), Path("/sys"), Path("/nowhere"), time.monotonic, time.time, lambda *_: None, config=defaults
    )
    made = list(collectors(context))
    yield made
    for collector in made:
        collector.close()


def values(halves: list[Collector]) -> Values:
    """One cycle of both, without histograms."""
    samples = [sample for half in halves for sample in half.collect()]
    return {(s.metric.name, s.labels): s.value for s in samples if not isinstance(s.value, tuple)}


def told(gpu: ET.Element, paths: tuple[str, ...]) -> float | None:
    """The first number that stands at one of the paths; nvidia-smi writes units, `16x`, `P0`, and N/A."""
    for text in filter(None, map(gpu.findtext, paths)):
        number = text.split()[0].strip("xP")
        if number.replace(".", "", 1).isdecimal():
            return float(number)
    return None


def test_every_metric_against_nvidia_smi(halves: list[Collector]) -> None:
    """What nvidia-smi gives a number for is published, and is that number, or was a moment before or after."""
    before = values(halves)
    text = subprocess.run(["nvidia-smi", "-q", "-x"], check=True, capture_output=True, text=True).stdout
    after = values(halves)
    compared, wrong = 0, []
    for index, gpu in enumerate(ET.fromstring(text).findall("gpu")):
        for same in TABLE:
            number, key = told(gpu, same.paths), (same.metric.name, (str(index), *same.labels))
            if number is None:
                continue
            compared += 1
            low, high = sorted((before.get(key, float("nan")), after.get(key, float("nan"))))
            if not low - same.slack <= number * same.scale <= high + same.slack:
                wrong.append(f"{key}: {low} to {high}, nvidia-smi {number * same.scale}")
    print(f"{compared} figures compared")
    assert compared
    assert wrong == []


def test_cost_per_cycle(halves: list[Collector]) -> None:
    """Prints what the driver takes for a fast and for a slow cycle; a fast one must fit into its second."""
    values(halves)
    for half in halves:
        times = []
        for _ in range(CYCLES):
            began = time.perf_counter()
            list(half.collect())
            times.append(time.perf_counter() - began)
            time.sleep(0.05)
        print(f"{half.name}: median {statistics.median(times) * 1e3:.2f} ms, worst {max(times) * 1e3:.2f} ms")
        assert statistics.median(times) < 1.0
