"""What a quantity is calculated by: small expressions over the catalogue's metrics, checked when they are built.

A formula says nothing of time, place or grouping. Those are arguments of its two renderings, `promql.render` and
`evaluate.evaluate`: the window of every increase, the series it is narrowed to, and the labels that totals keep.

    wait = rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase="data_wait").total("sum")
    share = wait / rate(catalog.TRAIN_PHASE_SECONDS_TOTAL).total("sum")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from yoloscope_exporter.catalog import COUNTER, GAUGE, HISTOGRAM, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Labels that Prometheus adds: where a series was scraped. `cluster` is there only when somebody set it.
TARGET: Final = ("cluster", "job", "instance")
#: What identifies a rank, a run on one node, a run on all of its nodes, a GPU and a loader worker.
RANK: Final = (*TARGET, "run", "rank")
RUN_ON_NODE: Final = (*TARGET, "run")
RUN: Final = ("cluster", "run")
GPU: Final = (*TARGET, "gpu")
WORKER: Final = (*RANK, "worker")

How = Literal["sum", "avg", "max", "min", "count"]
OverHow = Literal["avg", "max", "min"]
Operator = Literal["+", "-", "*", "/"]
Relation = Literal["==", ">", ">=", "<", "<="]

_PER_SECOND: Final = {"seconds": "ratio", "joules": "watts", "": "/s"}


class Formula:
    """An expression whose values are one number for each of some label sets, in one unit."""

    __slots__ = ()

    @property
    def unit(self) -> str:
        """Of its values: the catalogue's (`seconds`, `bytes`, `ratio`), `x/s`, or empty for plain numbers."""
        return _unit(self)

    def total(self, how: How, by: Iterable[str] | None = None) -> Total:
        """Aggregate, keeping the labels `by`; those that the reader asks for if not given."""
        return Total(how, self, None if by is None else tuple(by))

    def _with(self, operator: Operator, other: Formula | float) -> Arithmetic:
        return Arithmetic(operator, self, other if isinstance(other, Formula) else Number(other))

    def __add__(self, other: Formula | float) -> Arithmetic:
        return self._with("+", other)

    def __sub__(self, other: Formula | float) -> Arithmetic:
        return self._with("-", other)

    def __mul__(self, other: Formula | float) -> Arithmetic:
        return self._with("*", other)

    def __truediv__(self, other: Formula | float) -> Arithmetic:
        """Absent where the divisor is not above zero."""
        return self._with("/", other)

    def joined(self, operator: Operator, one: Formula, on: Iterable[str]) -> Arithmetic:
        """Combine each of several series with the one of `one` that has the same labels `on`."""
        return Arithmetic(operator, self, one, tuple(on))

    def clamped(self, *, least: float | None = None, most: float | None = None) -> Clamp:
        """Kept within bounds."""
        return Clamp(self, least, most)

    def compared(self, relation: Relation, value: float) -> Compare:
        """Only the values for which that is true."""
        return Compare(self, relation, value)

    def where(self, condition: Formula, on: Iterable[str] | None = None) -> Filtered:
        """Only the series that `condition` has as well, by the labels `on` (all if not given)."""
        return Filtered(self, condition, None if on is None else tuple(on), keep=True)

    def unless(self, condition: Formula, on: Iterable[str] | None = None) -> Filtered:
        """Only the series that `condition` has not."""
        return Filtered(self, condition, None if on is None else tuple(on), keep=False)

    def or_(self, other: Formula) -> Or:
        """`other` where this has no series with the same labels."""
        return Or(self, other)


@dataclass(frozen=True, slots=True)
class Selector:
    """Series of a metric.

    A label's value is compared for equality unless it starts with an operator (`=~`, `!~`, `!=`).

    Attributes:
        part: `_bucket`, `_sum` or `_count` of a histogram.
        labels: name and value, in the order given.
    """

    metric: Metric
    part: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Check against the catalogue.

        Raises:
            ValueError: the metric has no such label, or is a histogram without a part.
        """
        check(self.metric, self.part, dict(self.labels))

    @property
    def unit(self) -> str:
        """Of one value."""
        return "" if self.part in ("_bucket", "_count") else self.metric.unit


def check(metric: Metric, part: str, labels: Iterable[str]) -> None:
    """Refuse what the catalogue does not have.

    Raises:
        ValueError: the metric has no such label, or is a histogram without a part.
    """
    if strange := set(labels) - {*metric.labels, *TARGET, "le"}:
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(strange))}; it has {metric.labels}")
    if (metric.kind == HISTOGRAM) != bool(part):
        raise ValueError(f"{metric.name} is a {metric.kind}: part is {part!r}")


def check_grows(metric: Metric, function: str) -> None:
    """Refuse a rate of what does not count.

    Raises:
        ValueError: the metric is neither counter nor histogram.
    """
    if metric.kind not in (COUNTER, HISTOGRAM):
        raise ValueError(f"{metric.name} is a {metric.kind}; {function} takes counters")


def per_second(unit: str) -> str:
    """Unit of a rate: seconds per second are a ratio, joules per second are watts."""
    return _PER_SECOND.get(unit, f"{unit}/s")


@dataclass(frozen=True, slots=True)
class Last(Formula):
    """The value now."""

    of: Selector


@dataclass(frozen=True, slots=True)
class OverTime(Formula):
    """Mean, highest or lowest of a gauge's values in the window, or in part `index` of `count` equal parts of it."""

    how: OverHow
    of: Selector
    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse counters: their values mean nothing.

        Raises:
            ValueError: the metric is no gauge, or there is no such part.
        """
        if self.of.metric.kind != GAUGE:
            raise ValueError(f"{self.of.metric.name} is a {self.of.metric.kind}; {self.how}_over_time takes gauges")
        if not 0 <= self.index < self.count:
            raise ValueError(f"there is no part {self.index} of {self.count}")


@dataclass(frozen=True, slots=True)
class Grown(Formula):
    """How much a counter grew in the window: per second, or in all."""

    of: Selector
    rate: bool

    def __post_init__(self) -> None:
        """Refuse what does not count (ValueError)."""
        check_grows(self.of.metric, "rate" if self.rate else "increase")


@dataclass(frozen=True, slots=True)
class Age(Formula):
    """Seconds since a Unix time."""

    of: Selector


@dataclass(frozen=True, slots=True)
class WindowSeconds(Formula):
    """The length of the window, times `share`: what turns a difference over the window into one per second."""

    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Number(Formula):
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Total(Formula):
    """An aggregation over series; `by` None keeps the labels that the reader asks for."""

    how: How
    of: Formula
    by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Arithmetic(Formula):
    """Two formulas, series by series with the same labels; `on` matches several on the left with one on the right."""

    operator: Operator
    left: Formula
    right: Formula
    on: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse sums of different units.

        Raises:
            ValueError: such as seconds less bytes.
        """
        differ = self.left.unit != self.right.unit
        if self.operator in "+-" and differ and not isinstance(self.right, Number):
            raise ValueError(f"{self.left.unit!r} {self.operator} {self.right.unit!r}: units differ")


@dataclass(frozen=True, slots=True)
class Clamp(Formula):
    """Values kept within bounds."""

    of: Formula
    least: float | None
    most: float | None


@dataclass(frozen=True, slots=True)
class Compare(Formula):
    """Only the values for which the relation to a number is true."""

    of: Formula
    relation: Relation
    value: float


@dataclass(frozen=True, slots=True)
class Filtered(Formula):
    """Only the series that `condition` has (`keep`), or has not, by the labels `on`, by all if that is None."""

    of: Formula
    condition: Formula
    on: tuple[str, ...] | None
    keep: bool


@dataclass(frozen=True, slots=True)
class Or(Formula):
    """The second where the first has no series with the same labels."""

    first: Formula
    second: Formula


@dataclass(frozen=True, slots=True)
class Quantile(Formula):
    """Quantile of what a histogram observed in the window; absent while it observed nothing."""

    q: float
    metric: Metric
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no histogram, or has no such label (ValueError)."""
        check(self.metric, "_bucket", dict(self.labels))


def _unit(formula: Formula) -> str:  # noqa: PLR0911 - one case for each kind of formula
    match formula:
        case Last(of) | OverTime(_, of):
            return of.unit
        case Grown(of, rate):
            return per_second(of.unit) if rate else of.unit
        case Age() | WindowSeconds():
            return "seconds"
        case Total("count"):
            return ""
        case Total(_, of) | Clamp(of) | Compare(of) | Filtered(of) | Or(of):
            return _unit(of)
        case Arithmetic(operator, left, right):
            return _combined(operator, left, right)
        case Quantile(_, metric):
            return metric.unit
    return ""


#: Units of quotients that are not made of `x per y`: CPUs are seconds per second, and so a share of CPUs a ratio.
_QUOTIENTS: Final = {
    ("ratio", "cores"): "ratio",
    ("ratio", "/s"): "seconds",
    ("", "/s"): "seconds",
    ("bytes", "bytes/s"): "seconds",
    ("/s", "ratio"): "/s",
    ("/s", "per_second"): "ratio",
}


def _combined(operator: Operator, left: Formula, right: Formula) -> str:
    a, b = _unit(left), _unit(right)
    if operator in "+-" or isinstance(right, Number):
        return a
    if operator == "*":
        return a or b
    if a == b:
        return "ratio"
    return _QUOTIENTS.get((a, b), per_second(a) if b == "seconds" else a if not b else "")


def last(metric: Metric, **labels: str) -> Last:
    """The value now."""
    return Last(Selector(metric, "", tuple(labels.items())))


def over_time(how: OverHow, metric: Metric, **labels: str) -> OverTime:
    """`avg`, `max` or `min` of a gauge over the window."""
    return OverTime(how, Selector(metric, "", tuple(labels.items())))


def rate(metric: Metric, part: str = "", **labels: str) -> Grown:
    """Increase per second of a counter, or of a part of a histogram."""
    return Grown(Selector(metric, part, tuple(labels.items())), rate=True)


def increase(metric: Metric, part: str = "", **labels: str) -> Grown:
    """Increase over the window."""
    return Grown(Selector(metric, part, tuple(labels.items())), rate=False)


def age(metric: Metric, **labels: str) -> Age:
    """Seconds since the Unix time that a gauge holds."""
    return Age(Selector(metric, "", tuple(labels.items())))


def quantile(q: float, metric: Metric, **labels: str) -> Quantile:
    """Quantile `q` in 0..1 of a histogram."""
    return Quantile(q, metric, tuple(labels.items()))
