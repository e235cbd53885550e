"""What changes seldom or costs more: limits, links, errors, and who uses the GPU."""

from __future__ import annotations

from ctypes import byref
from typing import TYPE_CHECKING, Any

import pynvml as nvml

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.gpu import fast, peaks
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

#: NVML knows eight recovery actions; a newer driver may know more.
MOST_ACTION = 255
#: Per cent; NVML says that it may be above 100.
MOST_FAN = 250

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


def least_power_limit(handle: object) -> int:
    """Lowest power limit that can be set, in mW."""
    return int(nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[0])


def most_power_limit(handle: object) -> int:
    """Highest power limit that can be set, in mW."""
    return int(nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1])


READINGS = (
    Reading(catalog.GPU_PERFORMANCE_STATE, (), ((nvml.nvmlDeviceGetPerformanceState,),), 0, nvml.NVML_PSTATE_15),
    Reading(catalog.GPU_POWER_LIMIT_WATTS, (), ((nvml.nvmlDeviceGetEnforcedPowerLimit,),), 1, MOST_MILLIWATTS, 1e-3),
    *(
        Reading(metric, (), ((function,),), 1, MOST_MILLIWATTS, 1e-3, constant=True)
        for metric, function in (
            (catalog.GPU_POWER_LIMIT_MIN_WATTS, least_power_limit),
            (catalog.GPU_POWER_LIMIT_DEFAULT_WATTS, nvml.nvmlDeviceGetPowerManagementDefaultLimit),
            (catalog.GPU_POWER_LIMIT_MAX_WATTS, most_power_limit),
        )
    ),
    Reading(
        catalog.GPU_TEMPERATURE_MARGIN_CELSIUS,
        (),
        ((nvml.nvmlDeviceGetMarginTemperature,),),
        -MOST_DEGREES,
        MOST_DEGREES,
    ),
    Reading(catalog.GPU_FAN_SPEED_RATIO, (), ((nvml.nvmlDeviceGetFanSpeed,),), 0, MOST_FAN, 1 / PERCENT),
    Reading(catalog.GPU_PERSISTENCE_MODE, (), ((nvml.nvmlDeviceGetPersistenceMode,),), 0, 1),
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
#: Errors of generation 5 (Blackwell): fields that count on one link, which is their scope.
LINK_KINDS = {
    "receive": nvml.NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS,
    "integrity": nvml.NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS,
    "effective": nvml.NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS,
    "recovery": nvml.NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS,
    "recovery_failed": nvml.NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS,
}
#: Where each fault stands in the health mask, its width as a mask, and the code that means 'no'; 0 is 'not supported'.
#: By nvml.h: the widths of some nvidia-ml-py are misprinted.
FABRIC_FAULTS = dict(zip(catalog.FABRIC_FAULTS, ((0, 3, 2), (2, 3, 2), (4, 3, 2), (6, 3, 2), (8, 15, 1)), strict=True))
#: Time (ns) for which something else than the reasons with a state has limited the clocks.
POLICIES = dict(
    zip(
        catalog.COUNTED_REASONS,
        (nvml.NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT, nvml.NVML_FI_DEV_PERF_POLICY_RELIABILITY),
        strict=True,
    )
)
LINKS = nvml.NVML_FI_DEV_NVLINK_LINK_COUNT
REPLAYS = nvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER
RECOVERY_ACTION = nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
FIELDS = (
    REPLAYS,
    RECOVERY_ACTION,
    LINKS,
    *POLICIES.values(),
    *(field for field, _ in RETIRED_KINDS.values()),
    *(field for fields, _ in NVLINK_KINDS.values() for field in fields),
)


def collect(cycle: DeviceCycle) -> None:
    """All slow samples of one device but its processes.

    Raises:
        DeviceLost: it does not answer any more.
        DriverGone: nothing does.
    """
    cycle.publish(catalog.GPU_PART_RATIO, part(cycle))
    peaks.publish(cycle)
    if cycle.device.parent is not None:
        return
    read(READINGS, cycle)
    fields = cycle.fields(FIELDS)
    ecc(cycle)
    sram(cycle)
    remapped_rows(cycle)
    retired_pages(cycle, fields)
    nvlink_errors(cycle, fields)
    fabric(cycle)
    counts(cycle, fields)
    pcie_spots(cycle)


def part(cycle: DeviceCycle) -> float | None:
    """What the device is of its GPU: all of it, or a MIG instance's compute slices over the most there can be."""
    if cycle.device.parent is None:
        return 1.0
    most = cycle.device.parent.ask(nvml.nvmlDeviceGetMaxMigDeviceCount)
    attributes = cycle.ask(nvml.nvmlDeviceGetAttributes_v2)
    return cycle.gauge(attributes and attributes.computeInstanceSliceCount, 1, most, 1 / most) if most else None


def counts(cycle: DeviceCycle, fields: dict[int, float]) -> None:
    """What is one field each: PCIe replays, recovery action, and the time of limits that have no state."""
    cycle.publish(catalog.GPU_PCIE_REPLAYS_TOTAL, cycle.counter("replays", fields.get(REPLAYS)))
    cycle.publish(catalog.GPU_RECOVERY_ACTION, cycle.gauge(fields.get(RECOVERY_ACTION), 0, MOST_ACTION))
    for reason, field in POLICIES.items():
        cycle.publish(catalog.GPU_THROTTLED_SECONDS_TOTAL, cycle.counter(reason, fields.get(field), 1e-9), reason)


def ecc(cycle: DeviceCycle) -> None:
    """ECC errors in the life of the device, and since the driver was loaded."""
    for metric, name, since in (
        (catalog.GPU_ECC_ERRORS_TOTAL, "ecc", nvml.NVML_AGGREGATE_ECC),
        (catalog.GPU_ECC_VOLATILE_ERRORS_TOTAL, "volatile ecc", nvml.NVML_VOLATILE_ECC),
    ):
        for kind, number in ECC_KINDS.items():
            counted = cycle.ask(nvml.nvmlDeviceGetTotalEccErrors, number, since)
            cycle.publish(metric, cycle.counter(f"{name} {kind}", counted), kind)


def sram_status(handle: object) -> Any:  # noqa: ANN401 - a structure of NVML's
    """Errors of the SRAM, by what they were and by place."""
    status = nvml.c_nvmlEccSramErrorStatus_v1_t()
    nvml.nvmlDeviceGetSramEccErrorStatus(handle, byref(status))
    return status


def sram(cycle: DeviceCycle) -> None:
    """ECC errors of the SRAM in the life of the device, and whether they are more than NVIDIA allows."""
    status = cycle.ask(sram_status)
    if status is None:
        return
    uncorrected = status.aggregateUncParity + status.aggregateUncSecDed
    for kind, number in (("corrected", status.aggregateCor), ("uncorrected", uncorrected)):
        cycle.publish(catalog.GPU_SRAM_ECC_ERRORS_TOTAL, cycle.counter(f"sram {kind}", number), kind)
    cycle.publish(catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, cycle.gauge(status.bThresholdExceeded, 0, 1))


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
    """Errors over all NVLinks of the device; generation 5 has other kinds, and counts them on each link.

    A driver may answer the older questions for it as well; of a kind that both have, its own count is told.
    """
    found = {kind: _errors(cycle, fields, *sources) for kind, sources in NVLINK_KINDS.items()}
    counted = cycle.link_fields(LINK_KINDS.values(), int(fields.get(LINKS, 0)))
    found |= {kind: [counted[field]] for kind, field in LINK_KINDS.items() if field in counted}
    for kind, counts in found.items():
        total = sum(counts) if counts else None
        cycle.publish(catalog.GPU_NVLINK_ERRORS_TOTAL, cycle.counter(f"nvlink {kind}", total), kind)


def _errors(
    cycle: DeviceCycle, fields: dict[int, float], ids: tuple[int, ...], counters: tuple[int, ...]
) -> list[float]:
    """One kind by the fields over all links, or link by link where there are none."""
    if cycle.device.refused.issuperset(ids):
        return _link_errors(cycle, counters)
    return [fields[one] for one in ids if one in fields]


def _link_errors(cycle: DeviceCycle, counters: tuple[int, ...]) -> list[float]:
    counts: list[float | None] = []
    for link in range(nvml.NVML_NVLINK_MAX_LINKS):
        state = cycle.ask(nvml.nvmlDeviceGetNvLinkState, link)
        if state is None:
            break
        if state == nvml.NVML_FEATURE_ENABLED:
            counts += [cycle.ask(nvml.nvmlDeviceGetNvLinkErrorCounter, link, counter) for counter in counters]
    return [count for count in counts if count is not None]


def fabric_info(handle: object) -> Any:  # noqa: ANN401 - a structure of NVML's
    """State and health of the GPU's part of the NVLink fabric (Hopper and newer, behind NVSwitches)."""
    info = nvml.c_nvmlGpuFabricInfoV_t()
    info.version = nvml.nvmlGpuFabricInfo_v2
    nvml.nvmlDeviceGetGpuFabricInfoV(handle, byref(info))
    return info


def fabric(cycle: DeviceCycle) -> None:
    """Whether the device has joined its NVLink fabric, and what is wrong there; faults it cannot know are absent."""
    info = cycle.ask(fabric_info)
    if info is None or info.state == nvml.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED:
        return
    joined = info.state == nvml.NVML_GPU_FABRIC_STATE_COMPLETED and info.status == nvml.NVML_SUCCESS
    cycle.publish(catalog.GPU_FABRIC_READY, float(joined))
    for fault, (shift, mask, well) in FABRIC_FAULTS.items():
        code = info.healthMask >> shift & mask
        if joined and code:
            cycle.publish(catalog.GPU_FABRIC_FAULT, float(code != well), fault)


def pcie_spots(cycle: DeviceCycle) -> None:
    """PCIe bytes where the device has neither GPM nor counters: looks of 20 ms, integrated; an estimate.

    The calls themselves take those 20 ms each, which is why they are made here and only then.
    """
    for line, direction in zip(fast.PCIE, (nvml.NVML_PCIE_UTIL_TX_BYTES, nvml.NVML_PCIE_UTIL_RX_BYTES), strict=True):
        if cycle.device.gpm is None and line.field in cycle.device.refused:
            answer = cycle.ask(nvml.nvmlDeviceGetPcieThroughput, direction)
            rate = cycle.gauge(answer, 0, MOST_KILOBYTES_PER_S, KILOBYTE)
            cycle.publish(line.metric, cycle.integral(line.metric.name, rate))
