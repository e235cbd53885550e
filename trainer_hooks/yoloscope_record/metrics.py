"""Types of metrics: what a metric is, and one value of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PREFIX = "yoloscope_"

COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"

#: What can be true of any number here. The fastest link moves 1e20 bytes in a year, no clock ticks within 1e-15 s: far
#: from where doubles overflow, whichever two are divided and however often that is squared.
MOST, LEAST = 1e21, 1e-15
#: The end of the year 2100: the last moment that can be meant, in Unix seconds.
LAST_MOMENT = 4102444800.0

_UNITS = ("seconds", "bytes", "ratio", "watts", "joules", "celsius", "hertz", "cores")


@dataclass(frozen=True)
class Metric:
    """One metric family.

    Attributes:
        name: full name with prefix; ends in `_total` iff it is a counter, in `_info` iff it is an info metric.
        kind: one of COUNTER, GAUGE, HISTOGRAM, INFO.
        unit: base unit of the value (`seconds`, `bytes`, `ratio`, ...), empty for plain counts and states.
        help: what it is, one sentence, English.
        labels: label names, in the order in which label values are given everywhere.
        buckets: upper bounds of a histogram without +Inf, ascending, in `unit`.
        least: lowest value that can be true: 0 unless the metric may be negative.
        most: highest value that can be true.
    """

    name: str
    kind: str
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    least: float = 0.0
    most: float = MOST

    @property
    def area(self) -> str:
        """First word of the name behind the prefix."""
        return self.name[len(PREFIX) :].split("_")[0]

    def labelled(self, values: tuple[str, ...]) -> dict[str, str]:
        """Pair `values` with the metric's label names.

        Raises:
            ValueError: there are more or fewer values than labels.
        """
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, got {values}")
        return dict(zip(self.labels, values))


class HistogramValue(NamedTuple):
    """A histogram's state: `counts` per bucket (not cumulative, the last one is +Inf) and the `sum` of observations."""

    counts: tuple[float, ...]
    sum: float


def plausible(metric: Metric, value: float) -> float | None:
    """The value as far as it can be true: None outside the metric's range, 0 for what is smaller than anything real."""
    if not metric.least <= value <= metric.most:  # so is NaN
        return None
    return value if value >= LEAST or value <= -LEAST else 0.0


def plausible_histogram(metric: Metric, value: HistogramValue) -> bool:
    """Whether each bucket holds a whole number of observations, none of them negative."""
    whole = all(0.0 <= count <= metric.most and count.is_integer() for count in value.counts)
    return whole and 0.0 <= value.sum <= metric.most


class Sample(NamedTuple):
    """One value of one series: label values stand in the order of `metric.labels`."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | HistogramValue


def counter(name: str, text: str, *labels: str, unit: str = "") -> Metric:
    """A counter; `name` ends in `_total`, its unit stands before that."""
    return Metric(PREFIX + name, COUNTER, unit or _unit(name[: -len("_total")]), text, labels)


def gauge(name: str, text: str, *labels: str, unit: str = "", signed: bool = False) -> Metric:
    """A gauge; `signed` if its values may be negative."""
    most = LAST_MOMENT if name.endswith("_timestamp_seconds") else MOST
    least = -MOST if signed else 0.0
    return Metric(PREFIX + name, GAUGE, unit or _unit(name), text, labels, least=least, most=most)


def info(name: str, text: str, *labels: str) -> Metric:
    """Facts in labels; `name` ends in `_info`, the value is always 1."""
    return Metric(PREFIX + name, INFO, "", text, labels)


def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    """A histogram with the upper bounds `buckets`, without +Inf."""
    return Metric(PREFIX + name, HISTOGRAM, _unit(name), text, labels, buckets)


def _unit(name: str) -> str:
    return next((unit for unit in _UNITS if name.endswith("_" + unit)), "")
