"""The exporter's figures against what `nvidia-smi -q -x` tells of the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Iterable

    from yoloscope_exporter.catalog import Metric

MIB, PERCENT, MEGAHERTZ = 2.0**20, 0.01, 1e6
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
    Same(catalog.GPU_PERFORMANCE_STATE, (), ("performance_state",)),
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
    *(
        Same(catalog.GPU_CLOCK_HERTZ, (domain,), (f"clocks/{name}",), MEGAHERTZ, 1.5e8)
        for domain, name in CLOCKS.items()
    ),
    *(
        Same(catalog.GPU_CLOCK_MAX_HERTZ, (domain,), (f"max_clocks/{name}",), MEGAHERTZ)
        for domain, name in CLOCKS.items()
    ),
)


def compare(root: ET.Element, moments: Iterable[Values]) -> tuple[int, list[str]]:
    """How many figures nvidia-smi and the exporter both have, and which were not one at a moment before or after."""
    compared, wrong, seen = 0, [], list(moments)
    for index, gpu in enumerate(root.findall("gpu")):
        for same in TABLE:
            number, key = told(gpu, same.paths), (same.metric.name, (str(index), *same.labels))
            if number is None:
                continue
            compared += 1
            found = [values[key] for values in seen if key in values]
            low, high = (min(found), max(found)) if found else (float("nan"), float("nan"))
            if not low - same.slack <= number * same.scale <= high + same.slack:
                wrong.append(f"{key}: {low} to {high}, nvidia-smi {number * same.scale}")
    return compared, wrong


def told(gpu: ET.Element, paths: tuple[str, ...]) -> float | None:
    """The first number that stands at one of the paths; nvidia-smi writes units, `16x`, `P0`, and N/A."""
    for text in filter(None, map(gpu.findtext, paths)):
        number = text.split()[0].strip("xP")
        if number.replace(".", "", 1).isdecimal():
            return float(number)
    return None
