"""What changes from second to second: load, memory, power, clocks, throttling, bytes moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pynvml as nvml

from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.gpu.visit import (
    CLOCKS,
    MOST_BYTES,
    MOST_DEGREES,
    MOST_MEGAHERTZ,
    MOST_MILLIWATTS,
    PERCENT,
    Reading,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.collectors.gpu.values import BusyTime
    from yoloscope_exporter.collectors.gpu.visit import Visit

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
#: Fields of nvmlDeviceGetFieldValues by number: older nvidia-ml-py lack the newer names. Those of the reasons count
#: nanoseconds (NVML_FI_DEV_CLOCKS_EVENT_REASON_*); hw_slowdown has none.
REASON_FIELDS = {
    "sw_power_cap": 74,
    "sw_thermal_slowdown": 269,
    "hw_thermal_slowdown": 270,
    "hw_power_brake_slowdown": 271,
}
MEMORY_TEMPERATURE, NVLINK_TX, NVLINK_RX, PCIE_TX, PCIE_RX = 82, 138, 139, 197, 198
ALL_LINKS = 0xFFFFFFFF
FIELDS: tuple[int | tuple[int, int], ...] = (
    MEMORY_TEMPERATURE,
    *REASON_FIELDS.values(),
    (NVLINK_TX, ALL_LINKS),
    (NVLINK_RX, ALL_LINKS),
    PCIE_TX,
    PCIE_RX,
)

GPM_RATIOS = (
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


def collect(visit: Visit) -> None:
    """All fast samples of one device.

    Raises:
        DeviceLost: it does not answer any more.
        DriverGone: nothing does.
    """
    visit.publish(catalog.GPU_INFO, 1.0, *visit.device.facts)
    memory(visit)
    means = visit.device.gpm.read(visit.clock) if visit.device.gpm else {}
    performance(visit, means)
    if visit.device.parent is not None:
        instance_load(visit, means)
        return
    read(READINGS, visit)
    load(visit)
    energy(visit)
    fields = visit.fields(FIELDS)
    memory_temperature(visit, fields)
    throttling(visit, fields)
    traffic(visit, means, fields)


def memory(visit: Visit) -> None:
    """Device memory; the older call counts what the driver keeps as used and cannot tell it apart."""
    info = visit.ask.first((nvml.nvmlDeviceGetMemoryInfo, nvml.nvmlMemory_v2), (nvml.nvmlDeviceGetMemoryInfo,))
    total = visit.gauge(info and info.total, 1, MOST_BYTES)
    if total is None:
        return
    visit.publish(catalog.GPU_MEMORY_TOTAL_BYTES, total)
    visit.publish(catalog.GPU_MEMORY_USED_BYTES, visit.gauge(info.used, 0, total))
    visit.publish(catalog.GPU_MEMORY_FREE_BYTES, visit.gauge(info.free, 0, total))
    reserved = getattr(info, "reserved", None)
    visit.publish(catalog.GPU_MEMORY_RESERVED_BYTES, visit.gauge(reserved, 0, total))


def load(visit: Visit) -> None:
    """Utilisation: the driver's figure of the moment, and its samples integrated."""
    rates = visit.ask(nvml.nvmlDeviceGetUtilizationRates)
    now = visit.gauge(rates and rates.gpu, 0, PERCENT, 1 / PERCENT)
    memory_now = visit.gauge(rates and rates.memory, 0, PERCENT, 1 / PERCENT)
    visit.publish(catalog.GPU_UTILIZATION_RATIO, now)
    if integrate(visit, visit.totals.busy, nvml.NVML_GPU_UTILIZATION_SAMPLES, now):
        busy(visit)
    memory_busy = visit.totals.memory_busy
    if integrate(visit, memory_busy, nvml.NVML_MEMORY_UTILIZATION_SAMPLES, memory_now):
        visit.publish(catalog.GPU_MEMORY_BUSY_SECONDS_TOTAL, memory_busy.seconds)


def busy(visit: Visit) -> None:
    """The integral of utilisation and its distribution."""
    visit.publish(catalog.GPU_BUSY_SECONDS_TOTAL, visit.totals.busy.seconds)
    visit.publish(catalog.GPU_UTILIZATION_SAMPLED_RATIO, visit.totals.busy.histogram())


def integrate(visit: Visit, time: BusyTime, kind: int, now: float | None) -> bool:
    """Take the driver's samples since the last cycle into `time`; where there are none, the ratio of the moment.

    Returns:
        Whether the total is worth publishing: a total that stands still because nobody knows would look like idleness.
    """
    covered = time.begin(visit.wall)
    found = visit.ask(nvml.nvmlDeviceGetSamples, kind, varying=(int(covered * 1e6),), nothing=(0, ()))
    if found is not None:
        time.add(_new(visit, found[1], covered))
    patience = 0.0 if found is None else PATIENCE
    if now is not None and visit.wall - time.begin(visit.wall) > patience:
        time.add([(visit.wall, now)])
    return now is not None or visit.wall - time.known <= PATIENCE


def _new(visit: Visit, samples: Sequence[Any], covered: float) -> Iterator[tuple[float, float | None]]:
    """Unix time, and ratio if believable, of the new samples; NVML has µs and an unsigned int of per cent."""
    for sample in samples:
        at = sample.timeStamp / 1e6
        if covered < at <= visit.wall + PATIENCE:
            yield at, visit.gauge(sample.sampleValue.uiVal, 0, PERCENT, 1 / PERCENT)


def instance_load(visit: Visit, means: Mapping[int, float]) -> None:
    """Utilisation of a MIG instance: NVML has it from GPM only; a mean over the window integrates exactly."""
    visit.totals.busy.begin(visit.wall)
    ratio = visit.gauge(means.get(nvml.NVML_GPM_METRIC_GRAPHICS_UTIL), 0, PERCENT, 1 / PERCENT)
    if ratio is None:
        return
    visit.publish(catalog.GPU_UTILIZATION_RATIO, ratio)
    if visit.device.gpm and visit.device.gpm.window:
        visit.totals.busy.add([(visit.wall, ratio)])
    busy(visit)


def performance(visit: Visit, means: Mapping[int, float]) -> None:
    """How much of the device works, beyond 'a kernel runs'."""
    for metric, published in GPM_RATIOS:
        visit.publish(published, visit.gauge(means.get(metric), 0, PERCENT, 1 / PERCENT))


def energy(visit: Visit) -> None:
    """The driver's counter (mJ, Volta and newer), or power integrated where it has none; never one after the other."""
    question = nvml.nvmlDeviceGetTotalEnergyConsumption
    integrated = "energy" in visit.totals.integrals
    counted = None if integrated else visit.ask(question)
    if integrated or visit.ask.is_mute(question):
        watts = visit.gauge(visit.ask(nvml.nvmlDeviceGetPowerUsage), 0, MOST_MILLIWATTS, 1e-3)
        joules = visit.integral("energy", watts)
    else:
        joules = visit.counter("energy", counted, 1e-3)
    visit.publish(catalog.GPU_ENERGY_JOULES_TOTAL, joules)


def memory_temperature(visit: Visit, fields: Mapping[int, float]) -> None:
    """Temperature of the memory; devices without the sensor may answer 0, which is refused."""
    value = visit.gauge(fields.get(MEMORY_TEMPERATURE), 1, MOST_DEGREES)
    visit.publish(catalog.GPU_TEMPERATURE_CELSIUS, value, "memory")


def throttling(visit: Visit, fields: Mapping[int, float]) -> None:
    """States, and seconds: the driver's own count where it has one, else the state integrated."""
    bits = visit.ask.first(
        (nvml.nvmlDeviceGetCurrentClocksEventReasons,), (nvml.nvmlDeviceGetCurrentClocksThrottleReasons,)
    )
    for reason, bit in REASONS.items():
        held = None if bits is None else float(bool(bits & bit))
        field = REASON_FIELDS.get(reason)
        if field is None or field in visit.device.refused:
            seconds = visit.integral(reason, held)
        else:
            seconds = visit.counter(reason, fields.get(field), 1e-9)
        visit.publish(catalog.GPU_THROTTLED, held, reason)
        visit.publish(catalog.GPU_THROTTLED_SECONDS_TOTAL, seconds, reason)


def traffic(visit: Visit, means: Mapping[int, float], fields: Mapping[int, float]) -> None:
    """Bytes over PCIe and NVLink: a device keeps to one source, because two would not agree on where they stand."""
    for line in TRAFFIC:
        if line.field in visit.device.refused or (line.by_mean and visit.device.gpm):
            total = _from_mean(visit, line, means)
        else:
            total = visit.counter(line.metric.name, fields.get(line.field), line.scale)
        visit.publish(line.metric, total)


def _from_mean(visit: Visit, line: Traffic, means: Mapping[int, float]) -> float | None:
    if visit.device.gpm is None:
        return None
    rate = visit.gauge(means.get(line.mean), 0, MOST_MIB_PER_S, MIB)
    if rate is None:
        return None
    integral = visit.totals.integrals[line.metric.name]
    integral.total += rate * visit.device.gpm.window
    return integral.total
