"""Shared by the fast and the slow collector: one device in one cycle, and tables of plain readings."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pynvml as nvml

from yoloscope_exporter.catalog import Metric, Sample
from yoloscope_exporter.collectors.gpu.probe import CANNOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yoloscope_exporter.catalog import HistogramValue
    from yoloscope_exporter.collectors.gpu.probe import Probe
    from yoloscope_exporter.collectors.gpu.session import Device
    from yoloscope_exporter.collectors.gpu.values import Totals, Validator

PERCENT = 100.0
#: Upper ends of what is believable, far above any device known, in NVML's units.
MOST_MILLIWATTS, MOST_DEGREES, MOST_MEGAHERTZ, MOST_BYTES = 2e7, 200, 2e4, 2.0**50

CLOCKS = {
    "graphics": nvml.NVML_CLOCK_GRAPHICS,
    "sm": nvml.NVML_CLOCK_SM,
    "memory": nvml.NVML_CLOCK_MEM,
    "video": nvml.NVML_CLOCK_VIDEO,
}


@dataclass(frozen=True)
class DeviceCycle:
    """One device in one cycle.

    Attributes:
        device: the device that is read.
        totals: what has been counted for it so far.
        validator: rejects implausible answers.
        clock: monotonic seconds.
        wall: Unix seconds.
        samples: what is published of it.
    """

    device: Device
    totals: Totals
    validator: Validator
    clock: float
    wall: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def ask(self) -> Probe:
        """Questions to the device."""
        return self.device.ask

    def publish(self, metric: Metric, value: float | HistogramValue | None, *labels: str) -> None:
        """Add a sample of the device, if there is a value."""
        if value is not None:
            self.samples.append(Sample(metric, (self.device.gpu, *labels), value))

    def gauge(self, value: float | None, least: float, most: float, scale: float = 1.0) -> float | None:
        """The value times `scale`, if it is there and lies within what is believable."""
        return _scaled(self.validator.gauge(value, least, most), scale)

    def counter(self, name: str, value: float | None, scale: float = 1.0) -> float | None:
        """The driver's counter `name` times `scale`, if it is there and has not fallen."""
        return _scaled(self.validator.counter(value, self.totals.counters[name]), scale)

    def integral(self, name: str, value: float | None) -> float | None:
        """The time integral of a gauge, or None if the gauge is not there."""
        return None if value is None else self.totals.integrals[name].add(self.clock, value)

    def fields(self, wanted: Iterable[int | tuple[int, int]]) -> dict[int, float]:
        """Values of fields (id, or id and scope) by id, in one call; what is refused once is not asked for again."""
        questions = tuple(one for one in wanted if _id(one) not in self.device.refused)
        answers = self.ask(nvml.nvmlDeviceGetFieldValues, questions) if questions else ()
        if answers is None and self.ask.is_unsupported(nvml.nvmlDeviceGetFieldValues, questions):
            self.device.refused.update(_id(one) for one in questions)
        values: dict[int, float] = {}
        for number, _, _, _, kind, code, value in _FIELD.iter_unpack(answers or b""):
            if code == nvml.NVML_SUCCESS:
                values[number] = _number(kind, value)
            elif code in CANNOT:
                self.device.refused.add(number)
        return values

    def link_fields(self, wanted: Iterable[int], links: int) -> dict[int, float]:
        """Sums over `links` of fields that belong to one link each; what all links refuse is not asked for again."""
        asked = [one for one in wanted if one not in self.device.refused]
        questions = tuple((one, link) for one in asked for link in range(links))
        answers = self.ask(nvml.nvmlDeviceGetFieldValues, questions) if questions else ()
        sums: dict[int, float] = {}
        hopeless = set(asked) if answers or self.ask.is_unsupported(nvml.nvmlDeviceGetFieldValues, questions) else set()
        for number, _, _, _, kind, code, value in _FIELD.iter_unpack(answers or b""):
            if code == nvml.NVML_SUCCESS:
                sums[number] = sums.get(number, 0.0) + _number(kind, value)
            if code not in CANNOT:
                hopeless.discard(number)
        self.device.refused.update(hopeless)
        return sums


def _scaled(value: float | None, scale: float) -> float | None:
    """Times `scale`; the drivers' units are no finer than a nanosecond, and 70 % is 0.7, not 0.7000000000000001."""
    return None if value is None else round(value * scale, 9)


def _id(wanted: int | tuple[int, int]) -> int:
    return wanted[0] if isinstance(wanted, tuple) else wanted


#: nvmlFieldValue_t: field, scope, timestamp, latency, type, return code, value. The attributes of nvidia-ml-py's
#: structures are slow, and this is asked of every GPU every second.
_FIELD = struct.Struct("=IIqqII8s")
#: The value by nvmlValueType_t: double, unsigned int, long and long long, signed long long and int, unsigned short.
_VALUES = tuple(map(struct.Struct, ("=d", "=I", "@L", "=Q", "=q", "=i", "=H")))


def _number(kind: int, value: bytes) -> float:
    """The value by the type that stands beside it; NaN, which the validator rejects, for a type that is unknown."""
    return float(_VALUES[kind].unpack_from(value)[0]) if kind < len(_VALUES) else math.nan


@dataclass(frozen=True)
class Reading:
    """A metric that is one answer of NVML times a scale.

    Attributes:
        metric: what is published.
        labels: label values behind `gpu`.
        questions: function and arguments; the first that is answered counts.
        least: least believable answer.
        most: greatest believable answer.
        scale: from NVML's unit to the metric's.
        constant: whether a device's answer never changes, and is asked for once.
    """

    metric: Metric
    labels: tuple[str, ...]
    questions: tuple[tuple[Any, ...], ...]
    least: float
    most: float
    scale: float = 1.0
    constant: bool = False


def read(readings: Iterable[Reading], cycle: DeviceCycle) -> None:
    """Publish everything of a table that the device answers and that can be true."""
    constants = cycle.device.constants
    for reading in readings:
        value = constants.get(reading)
        if value is None:
            answer = cycle.ask.first(*reading.questions)
            value = cycle.gauge(answer, reading.least, reading.most, reading.scale)
            if reading.constant and value is not None:
                constants[reading] = value
        cycle.publish(reading.metric, value, *reading.labels)
