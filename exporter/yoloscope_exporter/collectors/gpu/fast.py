"""What changes from second to second: load, memory, power, clocks, throttling, bytes moved."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pynvml as nvml

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.gpu.device_cycle import (
    CLOCKS,
    MOST_BYTES,
    MOST_DEGREES,
    MOST_MEGAHERTZ,
    MOST_MILLIWATTS,
    PERCENT,
    Reading,
    read,
)
from yoloscope_exporter.collectors.gpu.values import StateCheck

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.collectors.gpu.device_cycle import DeviceCycle
    from yoloscope_exporter.collectors.gpu.values import BusyTime

log = logging.getLogger(__name__)

MIB, KIB = 2.0**20, 2.0**10
MOST_MIB_PER_S = 1e8
#: The driver's samples come at least once a second; after this many seconds without one they are not relied on.
PATIENCE = 3.0

READINGS = (
    Reading(catalog.GPU_POWER_WATTS, (), ((nvml.nvmlDeviceGetPowerUsage,),), 0, MOST_MILLIWATTS, 1e-3),
    Reading(
        catalog.GPU_TEMPERATURE_CELSIUS,
        ("core",),
        (
            (nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            (nvml.nvmlDeviceGetTemperatureV, nvml.NVML_TEMPERATURE_GPU),
        ),
        1,
        MOST_DEGREES,
    ),
    *(
        Reading(catalog.GPU_CLOCK_HERTZ, (domain,), ((nvml.nvmlDeviceGetClockInfo, clock),), 0, MOST_MEGAHERTZ, 1e6)
        for domain, clock in CLOCKS.items()
    ),
)

REASONS = {
    "sw_power_cap": nvml.nvmlClocksThrottleReasonSwPowerCap,
    "sw_thermal_slowdown": nvml.nvmlClocksThrottleReasonSwThermalSlowdown,
    "hw_slowdown": nvml.nvmlClocksThrottleReasonHwSlowdown,
    "hw_thermal_slowdown": nvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    "hw_power_brake_slowdown": nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
}
#: Fields of nvmlDeviceGetFieldValues by number: nvidia-ml-py's names are those of one driver. This one counts
#: nanoseconds, as those of RENUMBERED (NVML_FI_DEV_CLOCKS_EVENT_REASON_*); hw_slowdown has none.
POWER_CAP = {"sw_power_cap": 74}
#: Reasons whose fields stand one behind the other, from a number that depends on the driver: nvml.h has them since R575
#: and moved them between 580.65 and 580.82. Elsewhere those numbers are settings of power smoothing.
RENUMBERED = ("sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")
FIRST_NUMBERS = (((580, 82), 269), ((575,), 251))
MEMORY_TEMPERATURE, NVLINK_TX, NVLINK_RX, PCIE_TX, PCIE_RX = 82, 138, 139, 197, 198
ALL_LINKS = 0xFFFFFFFF
FIELDS: tuple[int | tuple[int, int], ...] = (
    MEMORY_TEMPERATURE,
    (NVLINK_TX, ALL_LINKS),
    (NVLINK_RX, ALL_LINKS),
    PCIE_TX,
    PCIE_RX,
)

GPM_RATIOS = (
    (nvml.NVML_GPM_METRIC_GRAPHICS_UTIL, catalog.GPU_GRAPHICS_ACTIVE_RATIO),
    (nvml.NVML_GPM_METRIC_SM_UTIL, catalog.GPU_SM_ACTIVE_RATIO),
    (nvml.NVML_GPM_METRIC_SM_OCCUPANCY, catalog.GPU_SM_OCCUPANCY_RATIO),
    (nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL, catalog.GPU_TENSOR_ACTIVE_RATIO),
    (nvml.NVML_GPM_METRIC_DRAM_BW_UTIL, catalog.GPU_DRAM_ACTIVE_RATIO),
)


@dataclass(frozen=True)
class Traffic:
    """Bytes one way: the driver's counter (a field, times `scale`) or a GPM mean in MiB/s; `by_mean` prefers that."""

    metric: catalog.Metric
    field: int
    scale: float
    mean: int
    by_mean: bool


#: The PCIe counters may wrap, says nvml.h, so the means go first; the NVLink counters (KiB) are exact.
PCIE = (
    Traffic(catalog.GPU_PCIE_TRANSMIT_BYTES_TOTAL, PCIE_TX, 1.0, nvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC, by_mean=True),
    Traffic(catalog.GPU_PCIE_RECEIVE_BYTES_TOTAL, PCIE_RX, 1.0, nvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC, by_mean=True),
)
TRAFFIC = (
    *PCIE,
    Traffic(
        catalog.GPU_NVLINK_TRANSMIT_BYTES_TOTAL,
        NVLINK_TX,
        KIB,
        nvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC,
        by_mean=False,
    ),
    Traffic(
        catalog.GPU_NVLINK_RECEIVE_BYTES_TOTAL,
        NVLINK_RX,
        KIB,
        nvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC,
        by_mean=False,
    ),
)


def collect(cycle: DeviceCycle) -> None:
    """All fast samples of one device.

    Raises:
        DeviceLost: it does not answer any more.
        DriverGone: nothing does.
    """
    cycle.publish(catalog.GPU_INFO, 1.0, *cycle.device.facts)
    memory(cycle)
    means = cycle.device.gpm.read(cycle.clock) if cycle.device.gpm else {}
    performance(cycle, means)
    if cycle.device.parent is not None:
        instance_load(cycle, means)
        return
    read(READINGS, cycle)
    load(cycle)
    energy(cycle)
    reasons = reason_fields(cycle.device.driver)
    fields = cycle.fields((*FIELDS, *reasons.values()))
    memory_temperature(cycle, fields)
    throttling(cycle, reasons, fields)
    traffic(cycle, means, fields)


def memory(cycle: DeviceCycle) -> None:
    """Device memory; the older call counts what the driver keeps as used and cannot tell it apart."""
    info = cycle.ask.first((nvml.nvmlDeviceGetMemoryInfo, nvml.nvmlMemory_v2), (nvml.nvmlDeviceGetMemoryInfo,))
    total = cycle.gauge(info and info.total, 1, MOST_BYTES)
    if total is None:
        return
    cycle.publish(catalog.GPU_MEMORY_TOTAL_BYTES, total)
    cycle.publish(catalog.GPU_MEMORY_USED_BYTES, cycle.gauge(info.used, 0, total))
    cycle.publish(catalog.GPU_MEMORY_FREE_BYTES, cycle.gauge(info.free, 0, total))
    reserved = getattr(info, "reserved", None)
    cycle.publish(catalog.GPU_MEMORY_RESERVED_BYTES, cycle.gauge(reserved, 0, total))


def load(cycle: DeviceCycle) -> None:
    """Utilization: the driver's figure of the moment, and its samples integrated."""
    rates = cycle.ask(nvml.nvmlDeviceGetUtilizationRates)
    now = cycle.gauge(rates and rates.gpu, 0, PERCENT, 1 / PERCENT)
    memory_now = cycle.gauge(rates and rates.memory, 0, PERCENT, 1 / PERCENT)
    cycle.publish(catalog.GPU_UTILIZATION_RATIO, now)
    if integrate(cycle, cycle.totals.busy, nvml.NVML_GPU_UTILIZATION_SAMPLES, now):
        busy(cycle)
    memory_busy = cycle.totals.memory_busy
    if integrate(cycle, memory_busy, nvml.NVML_MEMORY_UTILIZATION_SAMPLES, memory_now):
        cycle.publish(catalog.GPU_MEMORY_BUSY_SECONDS_TOTAL, memory_busy.seconds)


def busy(cycle: DeviceCycle) -> None:
    """The integral of utilization and its distribution."""
    cycle.publish(catalog.GPU_BUSY_SECONDS_TOTAL, cycle.totals.busy.seconds)
    cycle.publish(catalog.GPU_UTILIZATION_SAMPLED_RATIO, cycle.totals.busy.histogram())


def integrate(cycle: DeviceCycle, time: BusyTime, kind: int, now: float | None) -> bool:
    """Take the driver's samples since the last cycle into `time`; where there are none, the ratio of the moment.

    Returns:
        Whether the total is worth publishing: a total that stands still because nobody knows would look like idleness.
    """
    covered = time.begin(cycle.wall)
    found = cycle.ask(nvml.nvmlDeviceGetSamples, kind, varying=(int(covered * 1e6),), nothing=(0, ()))
    if found is not None:
        time.add(_new(cycle, found[1], covered))
    patience = 0.0 if found is None else PATIENCE
    if now is not None and cycle.wall - time.begin(cycle.wall) > patience:
        time.add([(cycle.wall, now)])
    return now is not None or cycle.wall - time.known <= PATIENCE


def _new(cycle: DeviceCycle, samples: Sequence[Any], covered: float) -> Iterator[tuple[float, float | None]]:
    """Unix time, and ratio if believable, of the new samples; NVML has µs and an unsigned int of per cent."""
    for sample in samples:
        at = sample.timeStamp / 1e6
        if covered < at <= cycle.wall + PATIENCE:
            yield at, cycle.gauge(sample.sampleValue.uiVal, 0, PERCENT, 1 / PERCENT)


def instance_load(cycle: DeviceCycle, means: Mapping[int, float]) -> None:
    """Utilization of a MIG instance: NVML has it from GPM only; a mean over the window integrates exactly."""
    cycle.totals.busy.begin(cycle.wall)
    ratio = cycle.gauge(means.get(nvml.NVML_GPM_METRIC_GRAPHICS_UTIL), 0, PERCENT, 1 / PERCENT)
    if ratio is None:
        return
    cycle.publish(catalog.GPU_UTILIZATION_RATIO, ratio)
    if cycle.device.gpm and cycle.device.gpm.window:
        cycle.totals.busy.add([(cycle.wall, ratio)])
    busy(cycle)


def performance(cycle: DeviceCycle, means: Mapping[int, float]) -> None:
    """How much of the device works, beyond 'a kernel runs'."""
    for metric, published in GPM_RATIOS:
        cycle.publish(published, cycle.gauge(means.get(metric), 0, PERCENT, 1 / PERCENT))


def energy(cycle: DeviceCycle) -> None:
    """The driver's counter (mJ, Volta and newer), or power integrated where it has none; never one after the other.

    A device that is on draws power: a counter that has never been above 0 is none, and power of 0 W is no answer.
    """
    question = nvml.nvmlDeviceGetTotalEnergyConsumption
    integrated = "energy" in cycle.totals.integrals
    counted = None if integrated else cycle.ask(question)
    never_counted = counted == 0 and cycle.totals.counters["energy"].last <= 0
    if integrated or never_counted or cycle.ask.is_unsupported(question):
        watts = cycle.gauge(cycle.ask(nvml.nvmlDeviceGetPowerUsage), 0, MOST_MILLIWATTS, 1e-3)
        joules = cycle.integral("energy", watts or None)
    else:
        joules = cycle.counter("energy", counted, 1e-3)
    cycle.publish(catalog.GPU_ENERGY_JOULES_TOTAL, joules)


def memory_temperature(cycle: DeviceCycle, fields: Mapping[int, float]) -> None:
    """Temperature of the memory; devices without the sensor may answer 0, which is refused."""
    value = cycle.gauge(fields.get(MEMORY_TEMPERATURE), 1, MOST_DEGREES)
    cycle.publish(catalog.GPU_TEMPERATURE_CELSIUS, value, "memory")


def reason_fields(driver: tuple[int, ...]) -> dict[str, int]:
    """The fields in which a driver of that version counts the time of reasons; without a version only the old one."""
    first = next((first for since, first in FIRST_NUMBERS if driver >= since), None)
    renumbered = {} if first is None else {reason: first + place for place, reason in enumerate(RENUMBERED)}
    return POWER_CAP | renumbered


def throttling(cycle: DeviceCycle, reasons: Mapping[str, int], fields: Mapping[int, float]) -> None:
    """States, and seconds: the driver's own count where it has one, else the state integrated."""
    bits = cycle.ask.first(
        (nvml.nvmlDeviceGetCurrentClocksEventReasons,), (nvml.nvmlDeviceGetCurrentClocksThrottleReasons,)
    )
    for reason, bit in REASONS.items():
        held = None if bits is None else float(bool(bits & bit))
        cycle.publish(catalog.GPU_THROTTLED, held, reason)
        seconds = _throttled_seconds(cycle, reason, cycle.integral(reason, held), reasons.get(reason), fields)
        cycle.publish(catalog.GPU_THROTTLED_SECONDS_TOTAL, seconds, reason)


def _throttled_seconds(
    cycle: DeviceCycle, reason: str, held: float | None, field: int | None, fields: Mapping[int, float]
) -> float | None:
    """The count in the field, unless the seconds in which the state was seen (`held`) show that it is another's."""
    check = cycle.totals.checks.setdefault(reason, StateCheck())
    if field is None or field in cycle.device.refused or check is None:
        return held
    counted = cycle.counter(reason, fields.get(field), 1e-9)
    if counted is None or reason not in RENUMBERED or check.bears_out(cycle.clock, held or 0.0, counted):
        return counted
    cycle.totals.checks[reason] = None
    told = "GPU %s: field %d of driver %s does not count %s, whose state is integrated instead"
    log.warning(told, cycle.device.gpu, field, cycle.device.facts[2], reason)
    return held


def traffic(cycle: DeviceCycle, means: Mapping[int, float], fields: Mapping[int, float]) -> None:
    """Bytes over PCIe and NVLink: a device keeps to one source, because two would not agree on where they stand."""
    for line in TRAFFIC:
        if line.field in cycle.device.refused or (line.by_mean and cycle.device.gpm):
            total = _from_mean(cycle, line, means)
        else:
            total = cycle.counter(line.metric.name, fields.get(line.field), line.scale)
        cycle.publish(line.metric, total)


def _from_mean(cycle: DeviceCycle, line: Traffic, means: Mapping[int, float]) -> float | None:
    if cycle.device.gpm is None:
        return None
    rate = cycle.gauge(means.get(line.mean), 0, MOST_MIB_PER_S, MIB)
    if rate is None:
        return None
    integral = cycle.totals.integrals[line.metric.name]
    integral.total += rate * cycle.device.gpm.window
    return integral.total
