"""The exporter's figures against what `nvidia-smi -q -x` tells of the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Iterable

    from yoloscope_exporter.catalog import Metric

MIB, PERCENT, MEGAHERTZ, MICROSECOND = 2.0**20, 0.01, 1e6, 1e-6
Values = dict[tuple[str, tuple[str, ...]], float]


class Same(NamedTuple):
    """A metric and where nvidia-smi tells it, the parts of a sum joined by `+`.

    `slack` is what may change within a second, in the metric's unit.
    """

    metric: Metric
    labels: tuple[str, ...]
    paths: tuple[str, ...]
    scale: float = 1.0
    slack: float = 0.0


CLOCKS = {"graphics": "graphics_clock", "sm": "sm_clock", "memory": "mem_clock", "video": "video_clock"}
LIMITS = {"slowdown": "slow", "shutdown": "max", "max_operating": "max_gpu"}
POWER = ("gpu_power_readings", "power_readings")  # since R530, before
#: nvidia-smi tells errors of DRAM and of SRAM, NVML's totals are both.
SRAM = {"corrected": "sram_correctable", "uncorrected": "sram_uncorrectable_parity+sram_uncorrectable_secded"}
DRAM = {"corrected": "dram_correctable", "uncorrected": "dram_uncorrectable"}
ECC = {"aggregate": catalog.GPU_ECC_ERRORS_TOTAL, "volatile": catalog.GPU_ECC_VOLATILE_ERRORS_TOTAL}
THROTTLED = {
    "sw_power_cap": "sw_power_cap",
    "sw_thermal_slowdown": "sw_therm_slowdown",
    "hw_thermal_slowdown": "hw_therm_slowdown",
    "hw_power_brake_slowdown": "hw_power_brake",
}
POWER_LIMITS = {
    "min": catalog.GPU_POWER_LIMIT_MIN_WATTS,
    "default": catalog.GPU_POWER_LIMIT_DEFAULT_WATTS,
    "max": catalog.GPU_POWER_LIMIT_MAX_WATTS,
}


def _below(part: str, names: str) -> str:
    return "+".join(f"{part}/{name}" for name in names.split("+"))


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
    Same(catalog.GPU_ROW_REMAP_PENDING, (), ("remapped_rows/remapped_row_pending",)),
    Same(catalog.GPU_ROW_REMAP_FAILURE, (), ("remapped_rows/remapped_row_failure",)),
    Same(catalog.GPU_TEMPERATURE_MARGIN_CELSIUS, (), ("temperature/gpu_temp_tlimit",), slack=3),
    Same(catalog.GPU_FAN_SPEED_RATIO, (), ("fan_speed",), PERCENT, 0.05),
    Same(catalog.GPU_PERSISTENCE_MODE, (), ("persistence_mode",)),
    Same(catalog.GPU_RECOVERY_ACTION, (), ("gpu_recovery_action",)),
    Same(catalog.GPU_PCIE_REPLAYS_TOTAL, (), ("pci/replay_counter",)),
    Same(catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, (), ("ecc_errors/aggregate/sram_threshold_exceeded",)),
    Same(catalog.GPU_FABRIC_READY, (), ("fabric/state",)),
    *(
        Same(catalog.GPU_SRAM_ECC_ERRORS_TOTAL, (kind,), (_below("ecc_errors/aggregate", names),))
        for kind, names in SRAM.items()
    ),
    *(
        Same(metric, (kind,), (_below(f"ecc_errors/{since}", f"{DRAM[kind]}+{SRAM[kind]}"),))
        for since, metric in ECC.items()
        for kind in DRAM
    ),
    *(
        Same(
            catalog.GPU_THROTTLED_SECONDS_TOTAL,
            (reason,),
            (f"clocks_event_reasons_counters/clocks_event_reasons_counters_{name}",),
            MICROSECOND,
            2,
        )
        for reason, name in THROTTLED.items()
    ),
    *(
        Same(metric, (), tuple(f"{part}/{name}_power_limit" for part in POWER), slack=1)
        for name, metric in POWER_LIMITS.items()
    ),
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


#: What nvidia-smi says in words; other recovery actions than none have names of their own.
WORDS = {"Yes": 1.0, "No": 0.0, "Enabled": 1.0, "Disabled": 0.0, "None": 0.0, "Completed": 1.0, "In Progress": 0.0}


def told(gpu: ET.Element, paths: tuple[str, ...]) -> float | None:
    """The first number that stands at one of the paths; nvidia-smi writes units, words, `16x`, `P0`, and N/A."""
    for path in paths:
        numbers = [_number(gpu.findtext(part) or "") for part in path.split("+")]
        if None not in numbers:
            return sum(number for number in numbers if number is not None)
    return None


def _number(text: str) -> float | None:
    if text in WORDS:
        return WORDS[text]
    try:
        return float(text.split(maxsplit=1)[0].strip("xP"))
    except (ValueError, IndexError):
        return None
