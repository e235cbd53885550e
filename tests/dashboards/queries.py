"""What the tests of the dashboards share: the generated JSON and a walk over its expressions."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import promql_parser
from yoloscope_exporter.catalog import BY_NAME, HISTOGRAM
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.promql import ALERTS, UP

from dashboards.generate import dashboards
from deploy.prometheus.rulebook.records import RECORDED

if TYPE_CHECKING:
    from collections.abc import Iterator

DASHBOARDS: dict[str, dict[str, Any]] = dashboards()
#: What Grafana puts in for its macros; any duration does for the parser.
MACROS = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}
KNOWN = BY_NAME | {metric.name: metric for metric in (ALERTS, UP, *RECORDED)}


class Place(NamedTuple):
    """An expression and where it stands."""

    dashboard: str
    panel: str
    ref: str
    expr: str
    instant: bool = False


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel but the rows themselves."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or []
        else:
            yield panel


def targets(name: str) -> list[Place]:
    """The expressions of the panels of a dashboard."""
    return [
        Place(name, panel["title"], target["refId"], target["expr"], bool(target.get("instant")))
        for panel in panels(DASHBOARDS[name])
        for target in panel["targets"]
    ]


def annotations(name: str) -> list[Place]:
    """The expressions of the annotations of a dashboard."""
    listed = DASHBOARDS[name].get("annotations", {}).get("list", [])
    return [Place(name, "annotation", each["name"], each["expr"]) for each in listed]


def variables(name: str) -> dict[str, dict[str, Any]]:
    """The variables of a dashboard by name."""
    return {variable["name"]: variable for variable in DASHBOARDS[name]["templating"]["list"]}


@cache
def parsed(expr: str) -> promql_parser.Expr:
    """The expression with Grafana's macros filled in; both languages have the same ones."""
    for macro, value in MACROS.items():
        expr = expr.replace(macro, value)
    return promql_parser.parse(expr)


@cache
def selectors(expr: str) -> list[tuple[promql_parser.VectorSelector, tuple[str, ...]]]:
    """Every selector with the names of the functions around it, outermost first."""
    found: list[tuple[promql_parser.VectorSelector, tuple[str, ...]]] = []
    around: list[str] = []

    def enter(node: Any) -> None:
        if isinstance(node, promql_parser.Call):
            around.append(node.func.name)
        if isinstance(node, promql_parser.MatrixSelector):
            found.append((node.vector_selector, tuple(around)))
        elif isinstance(node, promql_parser.VectorSelector):
            found.append((node, tuple(around)))

    def leave(node: Any) -> None:
        if isinstance(node, promql_parser.Call):
            around.pop()

    promql_parser.walk(parsed(expr), enter, leave)
    return found


@cache
def grouping(expr: str) -> tuple[set[str], set[str]]:
    """The labels that an expression groups or joins by, and those that it makes itself."""
    used: set[str] = set()
    made: set[str] = set()

    def enter(node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            used.update(node.modifier.labels if node.modifier else ())
            if str(node.op) == "count_values":
                made.add(node.param.val)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier:
            used.update(node.modifier.matching.labels if node.modifier.matching else ())
        if isinstance(node, promql_parser.Call) and node.func.name in ("label_join", "label_replace"):
            made.add(node.args[1].val)

    promql_parser.walk(parsed(expr), enter)
    return used, made


def series_names() -> dict[str, tuple[str, ...]]:
    """Every name a series may have, with its labels; a histogram has three."""
    names: dict[str, tuple[str, ...]] = {}
    for metric in KNOWN.values():
        labels = (*metric.labels, *TARGET)
        if metric.kind == HISTOGRAM:
            names |= {f"{metric.name}_bucket": (*labels, "le"), f"{metric.name}_sum": labels}
            names[f"{metric.name}_count"] = labels
        else:
            names[metric.name] = labels
    return names
