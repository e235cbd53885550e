"""What changes seldom or costs more: limits, links, errors, and who uses the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pynvml as nvml

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.gpu import fast
from yoloscope_exporter.collectors.gpu.device_cycle import (
    CLOCKS,
    MOST_DEGREES,
    MOST_MEGAHERTZ,
    MOST_MILLIWATTS,
    PERCENT,
    Reading,
    read,
)

if TYPE_CHECKING:
    from yoloscope_exporter.collectors.gpu.device_cycle import DeviceCycle

#: PCIe generations are counted to 7 today; 32 lanes are the most the standard knows.
MOST_GENERATION, MOST_LANES = 8, 32
#: nvmlDeviceGetPcieThroughput speaks of KB/s.
KILOBYTE = 1000.0
MOST_KILOBYTES_PER_S = 1e10

TEMPERATURE_LIMITS = {
    "slowdown": nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
    "shutdown": nvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
    "max_operating": nvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
}


def encoder_utilization(handle: object) -> int:
    """Per cent, without the sampling period that NVML gives with it."""
    return int(nvml.nvmlDeviceGetEncoderUtilization(handle)[0])


def decoder_utilization(handle: object) -> int:
    """Per cent, without the sampling period that NVML gives with it."""
    return int(nvml.nvmlDeviceGetDecoderUtilization(handle)[0])


READINGS = (
    Reading(catalog.GPU_PERFORMANCE_STATE, (), ((nvml.nvmlDeviceGetPerformanceState,),), 0, nvml.NVML_PSTATE_15),
    Reading(catalog.GPU_POWER_LIMIT_WATTS, (), ((nvml.nvmlDeviceGetEnforcedPowerLimit,),), 1, MOST_MILLIWATTS, 1e-3),
    Reading(catalog.GPU_ENCODER_UTILIZATION_RATIO, (), ((encoder_utilization,),), 0, PERCENT, 1 / PERCENT),
    Reading(catalog.GPU_DECODER_UTILIZATION_RATIO, (), ((decoder_utilization,),), 0, PERCENT, 1 / PERCENT),
    *(
        Reading(
            catalog.GPU_TEMPERATURE_LIMIT_CELSIUS,
            (kind,),
            ((nvml.nvmlDeviceGetTemperatureThreshold, threshold),),
            1,
            MOST_DEGREES,
            constant=True,
        )
        for kind, threshold in TEMPERATURE_LIMITS.items()
    ),
    *(
        Reading(
            catalog.GPU_CLOCK_MAX_HERTZ,
            (domain,),
            ((nvml.nvmlDeviceGetMaxClockInfo, clock),),
            1,
            MOST_MEGAHERTZ,
            1e6,
            constant=True,
        )
        for domain, clock in CLOCKS.items()
    ),
    *(
        Reading(metric, (), ((function,),), 1, most)
        for metric, function, most in (
            (catalog.GPU_PCIE_LINK_GENERATION, nvml.nvmlDeviceGetCurrPcieLinkGeneration, MOST_GENERATION),
            (catalog.GPU_PCIE_LINK_GENERATION_MAX, nvml.nvmlDeviceGetMaxPcieLinkGeneration, MOST_GENERATION),
            (catalog.GPU_PCIE_LINK_WIDTH, nvml.nvmlDeviceGetCurrPcieLinkWidth, MOST_LANES),
            (catalog.GPU_PCIE_LINK_WIDTH_MAX, nvml.nvmlDeviceGetMaxPcieLinkWidth, MOST_LANES),
        )
    ),
)

ECC_KINDS = {
    "corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
    "uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
}
#: Pages retired by cause: the field that counts them, and the cause for the older call that lists them.
RETIRED_KINDS = {
    "single_bit": (nvml.NVML_FI_DEV_RETIRED_SBE, nvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS),
    "double_bit": (nvml.NVML_FI_DEV_RETIRED_DBE, nvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR),
}
#: NVLink errors: fields that count over all links, and the counters of a link that serve where there are none.
NVLINK_KINDS = {
    "replay": ((nvml.NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL,), (nvml.NVML_NVLINK_ERROR_DL_REPLAY,)),
    "recovery": ((nvml.NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL,), (nvml.NVML_NVLINK_ERROR_DL_RECOVERY,)),
    "crc": (
        (nvml.NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL, nvml.NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL),
        (nvml.NVML_NVLINK_ERROR_DL_CRC_FLIT, nvml.NVML_NVLINK_ERROR_DL_CRC_DATA),
    ),
    "ecc": ((nvml.NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_TOTAL,), (nvml.NVML_NVLINK_ERROR_DL_ECC_DATA,)),
}
FIELDS = (
    *(field for field, _ in RETIRED_KINDS.values()),
    *(field for fields, _ in NVLINK_KINDS.values() for field in fields),
)


def collect(cycle: DeviceCycle) -> None:
    """All slow samples of one device but its processes.

    Raises:
        DeviceLost: it does not answer any more.
        DriverGone: nothing does.
    """
    if cycle.device.parent is not None:
        return
    read(READINGS, cycle)
    fields = cycle.fields(FIELDS)
    ecc(cycle)
    remapped_rows(cycle)
    retired_pages(cycle, fields)
    nvlink_errors(cycle, fields)
    pcie_spots(cycle)


def ecc(cycle: DeviceCycle) -> None:
    """ECC errors in the life of the device: the count since the last driver load would fall."""
    for kind, number in ECC_KINDS.items():
        counted = cycle.ask(nvml.nvmlDeviceGetTotalEccErrors, number, nvml.NVML_AGGREGATE_ECC)
        cycle.publish(catalog.GPU_ECC_ERRORS_TOTAL, cycle.counter(f"ecc {kind}", counted), kind)


def remapped_rows(cycle: DeviceCycle) -> None:
    """Rows of memory replaced by spare ones (Ampere and newer)."""
    answer = cycle.ask(nvml.nvmlDeviceGetRemappedRows)
    if answer is None:
        return
    correctable, uncorrectable, pending, failure = answer
    for kind, rows in (("correctable", correctable), ("uncorrectable", uncorrectable)):
        cycle.publish(catalog.GPU_REMAPPED_ROWS_TOTAL, cycle.counter(f"rows {kind}", rows), kind)
    cycle.publish(catalog.GPU_ROW_REMAP_PENDING, cycle.gauge(pending, 0, 1))
    cycle.publish(catalog.GPU_ROW_REMAP_FAILURE, cycle.gauge(failure, 0, 1))


def retired_pages(cycle: DeviceCycle, fields: dict[int, float]) -> None:
    """Pages of memory taken out of use (before Ampere)."""
    for kind, (field, cause) in RETIRED_KINDS.items():
        pages = fields.get(field)
        if field in cycle.device.refused:
            listed = cycle.ask(nvml.nvmlDeviceGetRetiredPages, cause)
            pages = None if listed is None else len(listed)
        cycle.publish(catalog.GPU_RETIRED_PAGES_TOTAL, cycle.counter(f"pages {kind}", pages), kind)


def nvlink_errors(cycle: DeviceCycle, fields: dict[int, float]) -> None:
    """Errors over all NVLinks of the device."""
    for kind, (ids, counters) in NVLINK_KINDS.items():
        if cycle.device.refused.issuperset(ids):
            counts = _link_errors(cycle, counters)
        else:
            counts = [fields[one] for one in ids if one in fields]
        total = sum(counts) if counts else None
        cycle.publish(catalog.GPU_NVLINK_ERRORS_TOTAL, cycle.counter(f"nvlink {kind}", total), kind)


def _link_errors(cycle: DeviceCycle, counters: tuple[int, ...]) -> list[float]:
    counts: list[float | None] = []
    for link in range(nvml.NVML_NVLINK_MAX_LINKS):
        state = cycle.ask(nvml.nvmlDeviceGetNvLinkState, link)
        if state is None:
            break
        if state == nvml.NVML_FEATURE_ENABLED:
            counts += [cycle.ask(nvml.nvmlDeviceGetNvLinkErrorCounter, link, counter) for counter in counters]
    return [count for count in counts if count is not None]


def pcie_spots(cycle: DeviceCycle) -> None:
    """PCIe bytes where the device has neither GPM nor counters: looks of 20 ms, integrated; an estimate.

    The calls themselves take those 20 ms each, which is why they are made here and only then.
    """
    for line, direction in zip(fast.PCIE, (nvml.NVML_PCIE_UTIL_TX_BYTES, nvml.NVML_PCIE_UTIL_RX_BYTES), strict=True):
        if cycle.device.gpm is None and line.field in cycle.device.refused:
            answer = cycle.ask(nvml.nvmlDeviceGetPcieThroughput, direction)
            rate = cycle.gauge(answer, 0, MOST_KILOBYTES_PER_S, KILOBYTE)
            cycle.publish(line.metric, cycle.integral(line.metric.name, rate))
