"""PromQL: formulas rendered under a scope, and what panels, alerts and recording rules are put together from.

Everything comes from catalogue metrics: a metric name or label that does not exist is an error while generating. An
`Expr` carries the text and the unit of its values; units are those of `formula`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yoloscope_exporter.catalog import GAUGE, Metric
from yoloscope_exporter.measures.formula import (
    TARGET,
    Age,
    Arithmetic,
    Clamp,
    Compare,
    Filtered,
    Grown,
    Last,
    Number,
    Or,
    OverTime,
    Quantile,
    Selector,
    Total,
    WindowSeconds,
    check,
    check_grows,
    per_second,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yoloscope_exporter.measures.formula import Formula

#: Series of Prometheus itself.
ALERTS = Metric(
    "ALERTS",
    GAUGE,
    "",
    "Alerts that are pending or firing.",
    ("alertname", "alertstate", "severity", "category", "run"),
)
UP = Metric("up", GAUGE, "", "1 if the last scrape of the target succeeded.")

#: At least four scrapes, whatever the resolution of the panel.
WINDOW = "$__rate_interval"


def any_of(*variables: str) -> str:
    r"""Match a label that is what one of these variables says; each has a single value, written by a user.

    Between quotes Grafana escapes a single value for no regular expression, and leaves a `"` as it is. `:regex` escapes
    everything, with one backslash, which PromQL takes between backquotes only: between quotes `\/` is an error. What
    cannot be asked for is a value with a backquote.
    """
    return f"=~`{'|'.join(f'${{{name}:regex}}' for name in variables)}`"


#: What the label `run` is matched with: the run that is chosen, the one it is compared with, both, and all but the
#: chosen one.
THIS_RUN, OTHER_RUN, BOTH_RUNS = any_of("run"), any_of("run_a"), any_of("run", "run_a")
#: The one that predicts, validates or exports, which has a variable of its own: a training's name would be none of it.
THIS_PREDICTION = any_of("prediction")
NOT_THIS_RUN = f"!~{THIS_RUN.removeprefix('=~')}"


@dataclass(frozen=True, slots=True)
class Expr:
    """A PromQL expression, the unit of its values and what they mean."""

    text: str
    unit: str = ""
    help: str = ""

    def __str__(self) -> str:
        return self.text

    def of(self, unit: str) -> Expr:
        """Say the unit where it cannot be derived."""
        return replace(self, unit=unit)

    def offset(self, back: str) -> Expr:
        """Look back in time; only right behind a selector or a rate."""
        return replace(self, text=f"{self.text} offset {back}")

    def _with(self, operator: str, other: Expr | float, unit: str) -> Expr:
        right = f"({other})" if isinstance(other, Expr) else f"{other:g}"
        return Expr(f"({self}) {operator} {right}", unit, self.help)

    def __truediv__(self, other: Expr | float) -> Expr:
        if not isinstance(other, Expr):
            return self._with("/", other, self.unit)
        return self._with("/", _above_zero(other), "ratio" if self.unit == other.unit else "")

    def __mul__(self, other: Expr | float) -> Expr:
        return self._with("*", other, self.unit)

    def __add__(self, other: Expr | float) -> Expr:
        return self._with("+", other, self.unit)

    def __sub__(self, other: Expr | float) -> Expr:
        return self._with("-", other, self.unit)

    def __gt__(self, other: Expr | float) -> Expr:
        return self._with(">", other, self.unit)

    def equals(self, value: float) -> Expr:
        """Keep the series whose value is `value`."""
        return self._with("==", value, self.unit)

    def or_(self, other: Expr) -> Expr:
        """Take `other` where this has no series with the same labels."""
        return self._with("or", other, self.unit)

    def unless(self, other: Expr) -> Expr:
        """Drop what `other` has."""
        return self._with("unless", other, self.unit)

    def per(self, other: Expr, on: Iterable[str]) -> Expr:
        """Divide each of several series by the one with the same labels `on`."""
        unit = "ratio" if self.unit == other.unit else ""
        return Expr(f"({self}) / on ({', '.join(on)}) group_left () ({_above_zero(other)})", unit, self.help)

    def where(self, other: Expr, on: Iterable[str]) -> Expr:
        """Keep the series for which `other` has one with the same labels `on`."""
        return replace(self, text=f"({self}) and on ({', '.join(on)}) ({other})")


@dataclass(frozen=True, slots=True)
class Scope:
    """Selects series under the variables of a dashboard.

    Calling it with a metric yields a selector with `job=~"$job"` and the like for each of `variables` that is a label
    of the metric (those in TARGET are labels of everything).

    Attributes:
        variables: labels that have a variable of the same name.
        nodes: variable that holds the nodes of the run; it narrows metrics that know no run, so that a run's dashboard
            never reads a thousand nodes.
        run: what the label `run` is matched with.
    """

    variables: tuple[str, ...] = TARGET
    nodes: str = ""
    run: str = THIS_RUN

    def __call__(self, metric: Metric, part: str = "", **labels: str) -> Expr:
        """Select `metric`; `part` is `_bucket`, `_sum` or `_count` of a histogram.

        A label's value is compared for equality unless it starts with an operator (`=~`, `!~`, `!=`), and quoted unless
        it stands in backquotes.

        Raises:
            ValueError: if the metric has no such label, or is a histogram without a part.
        """
        check(metric, part, labels)
        variables = [name for name in self.variables if name in (*TARGET, *metric.labels) and name not in labels]
        matchers = [_matcher(name, self.run if name == "run" else f"=~${name}") for name in variables]
        if self.nodes and not {"run"} & set(self.variables) & set(metric.labels):
            matchers.append(f'instance=~"${self.nodes}"')
        matchers += [_matcher(name, value) for name, value in labels.items()]
        unit = "" if part in ("_bucket", "_count") else metric.unit
        braced = f"{{{', '.join(matchers)}}}" if matchers else ""
        return Expr(f"{metric.name}{part}{braced}", unit, metric.help)

    def rate(self, metric: Metric, part: str = "", window: str = WINDOW, **labels: str) -> Expr:
        """Per-second rate of a counter, or of a part of a histogram.

        Raises:
            ValueError: if the metric is neither.
        """
        return self._over("rate", metric, part, window, labels)

    def increase(self, metric: Metric, part: str = "", window: str = WINDOW, **labels: str) -> Expr:
        """How much a counter grew; raises as `rate` does."""
        return replace(self._over("increase", metric, part, window, labels), unit=metric.unit)

    def _over(self, function: str, metric: Metric, part: str, window: str, labels: dict[str, str]) -> Expr:
        check_grows(metric, function)
        selected = self(metric, part, **labels)
        return Expr(f"{function}({selected}[{window}])", per_second(selected.unit), metric.help)

    def quantile(self, q: float, metric: Metric, *by: str, window: str = WINDOW, **labels: str) -> Expr:
        """Quantile `q` of a histogram of what is never negative, over all series but `by`; absent while it rests."""
        buckets = total("sum", self.rate(metric, "_bucket", window, **labels), "le", *by)
        return Expr(f"histogram_quantile({q:g}, {buckets}) >= 0", metric.unit, metric.help)


def _above_zero(divisor: Expr) -> Expr:
    """Leave out what would make NaN or infinity of a quotient: a training that rests has no time for a batch."""
    return replace(divisor, text=f"({divisor}) > 0")


def _matcher(name: str, value: str) -> str:
    operator = next((o for o in ("=~", "!~", "!=") if value.startswith(o)), "")
    value = value.removeprefix(operator)
    quoted = value if value.startswith("`") else f'"{value}"'
    return f"{name}{operator or '='}{quoted}"


def total(how: str, expr: Expr, *by: str) -> Expr:
    """Aggregate (`sum`, `avg`, `max`, `min`, `count`), keeping the labels `by`."""
    return replace(expr, text=f"{how} by ({', '.join(by)}) ({expr})" if by else f"{how}({expr})")


def top(count: int, expr: Expr, *by: str) -> Expr:
    """The `count` largest, of each group `by` if there is one."""
    grouped = f" by ({', '.join(by)}) " if by else ""
    return replace(expr, text=f"topk{grouped}({count}, {expr})")


def middle(q: float, expr: Expr, *by: str) -> Expr:
    """Quantile `q` over series, keeping the labels `by`."""
    grouped = f" by ({', '.join(by)}) " if by else ""
    return replace(expr, text=f"quantile{grouped}({q:g}, {expr})")


def named(expr: Expr, label: str, separator: str, *labels: str) -> Expr:
    """Add a label made of others, as a key for tables whose rows are told apart by more than one label."""
    quoted = ", ".join(f'"{each}"' for each in labels)
    return replace(expr, text=f'label_join({expr}, "{label}", "{separator}", {quoted})')


def over(function: str, expr: Expr, window: str) -> Expr:
    """`avg_over_time` and its kin over a selector, or over a subquery where `window` has a colon."""
    return replace(expr, text=f"{function}({expr}[{window}])")


def known(expr: Expr, there: Expr) -> Expr:
    """-1, which panels show as `n/a`, where `there` has a series and `expr` has none.

    So three things stay apart: the hardware or run does not have the value (n/a), it is zero (0), and nothing was
    collected (no data).
    """
    return replace(expr, text=f"({expr}) or (({there}) * 0 - 1)")


def zero(expr: Expr, there: Expr) -> Expr:
    """0 where `there` has a series and `expr` has none: for counts of what is not the case."""
    return replace(expr, text=f"({expr}) or (({there}) * 0)")


def since(timestamp: Expr) -> Expr:
    """Seconds since a Unix time."""
    return Expr(f"time() - ({timestamp})", "seconds", timestamp.help)


def by_epoch(epoch: Expr, expr: Expr, how: str = "last_over_time") -> Expr:
    """What `expr`, one series per run, was in each epoch; both keep the label `run`, the result has `epoch` alone.

    The epoch becomes a label and the time range a set of rows, so that curves of two runs can share an axis.
    """
    labelled = f'(count_values by (run) ("epoch", {epoch})) * on (run) group_left () ({expr})'
    return replace(expr, text=f"max by (epoch) ({how}(({labelled})[$__range:$__interval]))")


def joined(many: Expr, one: Expr, on: tuple[str, ...], labels: tuple[str, ...] = ()) -> Expr:
    """`many * one`: the value of `one` for each series of the info metric `many`, which keeps its labels.

    The measured side is the `one` side because it is unique per GPU, while several runs (the one under way and those
    that ended minutes ago) may name the same GPU.
    """
    return replace(one, text=f"({many}) * on ({', '.join(on)}) group_left ({', '.join(labels)}) ({one})")


_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def render(formula: Formula, scope: Scope, *by: str, window: str = WINDOW) -> Expr:
    """A formula as PromQL.

    Args:
        formula: what to render.
        scope: what every selector in it is narrowed to.
        by: labels that its open totals keep.
        window: range of its increases and averages.

    Raises:
        ValueError: a formula that cuts its window into parts needs it as a number and a unit, such as `20m`.
    """
    return Expr(_Renderer(scope, by, window).text(formula), formula.unit)


@dataclass(frozen=True, slots=True)
class _Renderer:
    scope: Scope
    by: tuple[str, ...]
    window: str

    def text(self, formula: Formula) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of formula
        match formula:
            case Last(of):
                return self._selected(of)
            case Age(of):
                return f"time() - {self._selected(of)}"
            case OverTime():
                return self._over_time(formula)
            case Grown(of, rate):
                function = "rate" if rate else "increase"
                return f"{function}({self._selected(of)}[{self.window}])"
            case Number(value):
                return f"{value:g}"
            case WindowSeconds(share):
                return f"{share * self._seconds():g}"
            case Total(how, of, by):
                return str(total(how, Expr(self.text(of)), *(self.by if by is None else by)))
            case Arithmetic(operator, left, right, on):
                return self._arithmetic(operator, left, right, on)
            case Clamp(of, least, most):
                text = self.text(of)
                text = text if least is None else f"clamp_min({text}, {least:g})"
                return text if most is None else f"clamp_max({text}, {most:g})"
            case Compare(of, relation, value):
                return f"{self._wrapped(of)} {relation} {value:.12g}"
            case Filtered(of, condition, on, keep):
                matching = "" if on is None else f" on ({', '.join(on)})"
                return f"{self._wrapped(of)} {'and' if keep else 'unless'}{matching} {self._wrapped(condition)}"
            case Or(first, second):
                return f"{self._wrapped(first)} or {self._wrapped(second)}"
            case Quantile(q, metric, labels):
                return str(self.scope.quantile(q, metric, *self.by, window=self.window, **dict(labels)))
        raise TypeError(f"{type(formula).__name__} is no formula")  # pragma: no cover - a kind without a case

    def _selected(self, of: Selector) -> str:
        return str(self.scope(of.metric, of.part, **dict(of.labels)))

    def _wrapped(self, formula: Formula) -> str:
        text = self.text(formula)
        return text if isinstance(formula, Last | Grown | Total | Number | Clamp) else f"({text})"

    def _arithmetic(self, operator: str, left: Formula, right: Formula, on: tuple[str, ...] | None) -> str:
        matching = "" if on is None else f" on ({', '.join(on)}) group_left ()"
        guarded = operator == "/" and not isinstance(right, Number | WindowSeconds)
        divisor = f"({self._wrapped(right)} > 0)" if guarded else self._wrapped(right)
        return f"{self._wrapped(left)} {operator}{matching} {divisor}"

    def _over_time(self, formula: OverTime) -> str:
        if formula.count == 1:
            return f"{formula.how}_over_time({self._selected(formula.of)}[{self.window}])"
        part = round(1000 * self._seconds()) // formula.count
        back = part * (formula.count - 1 - formula.index)
        moved = f" offset {_duration(back)}" if back else ""
        return f"{formula.how}_over_time({self._selected(formula.of)}[{_duration(part)}]{moved})"

    def _seconds(self) -> float:
        found = _DURATION.fullmatch(self.window)
        if found is None:
            raise ValueError(f"the window {self.window!r} must be a number and a unit, such as 20m")
        return int(found[1]) * _SECONDS[found[2]]


def _duration(milliseconds: int) -> str:
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
