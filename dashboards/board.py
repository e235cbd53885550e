"""A dashboard from rows of panels: variables, links between dashboards, annotations, layout and ids.

Variables come from labels of info metrics, which have one series per exporter, GPU or rank, so that they stay fast on a
thousand nodes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import promql
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.promql import Expr

from dashboards import look, sdk
from dashboards.panels import DATASOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TAG = "yoloscope"
GRID = 24


class Variable(NamedTuple):
    """A drop-down: the values of `label` of `metric`, narrowed by the drop-downs before it or by `narrow`.

    `preferred` gives a score by `label`, in place of the alphabet's order: the highest stands first, and is what is
    shown until somebody chooses.
    """

    name: str
    title: str
    metric: m.Metric
    label: str
    all_value: str = ".+"
    single: bool = False
    narrow: promql.Scope | None = None
    hidden: bool = False
    has_all: bool = True
    sort: sdk.models.VariableSort = sdk.models.VariableSort.ALPHABETICAL_ASC
    preferred: Callable[[promql.Scope], Expr] | None = None


#: More than any start time; what a run that is preferred is lifted by.
_LIFT = 1e10


def _started(on: promql.Scope, start: m.Metric = m.TRAIN_START_TIMESTAMP_SECONDS) -> Expr:
    """When each run began that is there, or was in the time range; every five minutes are enough for the past."""
    now = promql.total("max", on(start), "run")
    return now.or_(promql.over("max_over_time", Expr(f"({now})", now.unit, now.help), "$__range:5m"))


def newest(on: promql.Scope) -> Expr:
    """The run that began last."""
    return _started(on)


def _newest_living(on: promql.Scope, up: m.Metric, start: m.Metric) -> Expr:
    """The living run that began last; without one, the dead."""
    living = promql.total("max", on(up), "run").equals(1) * _LIFT
    return _started(on, start) + promql.zero(living, _started(on, start))


newest_living = partial(_newest_living, up=m.TRAIN_UP, start=m.TRAIN_START_TIMESTAMP_SECONDS)
newest_living_prediction = partial(_newest_living, up=m.PREDICT_UP, start=m.PREDICT_START_TIMESTAMP_SECONDS)


def newest_finished(on: promql.Scope) -> Expr:
    """The finished run that began last; without one, another."""
    state = promql.total("max", on(m.TRAIN_STATE, state="finished"), "run").equals(1)
    ever = state.or_(promql.over("max_over_time", Expr(f"({state})", state.unit, state.help), "$__range:5m"))
    return _started(on) + promql.zero(ever * _LIFT, _started(on))


#: Matches series without the label too: `cluster` is there only where somebody set it.
CLUSTER = Variable("cluster", "Cluster", m.BUILD_INFO, "cluster", all_value=".*")
JOB = Variable("job", "job", m.BUILD_INFO, "job")
INSTANCE = Variable("instance", "instance", m.BUILD_INFO, "instance")
#: For dashboards of one node, or a few chosen ones: without All, so that it does not begin with a thousand.
ONE_INSTANCE = INSTANCE._replace(has_all=False)
RUN = Variable("run", "Run", m.TRAIN_RUN_INFO, "run", single=True, preferred=newest_living)
#: The nodes a run is on; not shown. Without an all-value of its own, All is the list of them.
NODE_OF_RUN = Variable("node", "Node of the run", m.TRAIN_RUN_INFO, "instance", all_value="", hidden=True)
RANK = Variable("rank", "Rank", m.TRAIN_RUN_INFO, "rank", sort=sdk.models.VariableSort.NUMERICAL_ASC)
GPU = Variable("gpu", "GPU", m.GPU_INFO, "gpu", sort=sdk.models.VariableSort.NUMERICAL_ASC)
NODES = (CLUSTER, JOB, INSTANCE)
#: Two runs to compare, and the nodes of both. B is the variable `run`, so that links from a run's dashboards lead to
#: it; A offers every other one.
_ANY_RUN, _BOTH_RUNS = promql.Scope(), promql.Scope((*TARGET, "run"), run=promql.BOTH_RUNS)
_OTHER_RUNS = promql.Scope((*TARGET, "run"), run=promql.NOT_THIS_RUN)
OF_TWO_RUNS = (
    *NODES,
    RUN._replace(name="run_a", title="Run A", narrow=_OTHER_RUNS, preferred=newest_finished),
    RUN._replace(title="Run B", narrow=_ANY_RUN, preferred=newest),
    NODE_OF_RUN._replace(narrow=_BOTH_RUNS),
)
OF_RUN = (*NODES, RUN, NODE_OF_RUN, RANK)
#: One process that predicts, validates on its own or exports.
_THIS_PREDICTION = promql.Scope((*TARGET, "run"), run=promql.THIS_PREDICTION)
OF_PREDICTION = (
    *NODES,
    RUN._replace(name="prediction", metric=m.PREDICT_RUN_INFO, preferred=newest_living_prediction),
    NODE_OF_RUN._replace(metric=m.PREDICT_RUN_INFO, narrow=_THIS_PREDICTION),
    RANK._replace(metric=m.PREDICT_RUN_INFO, narrow=_THIS_PREDICTION),
)


class Annotation(NamedTuple):
    """A mark on every time panel: where `expr` has a value above 0, or, with `at_value`, at the Unix time it gives.

    Those that explain what is seen are always there; those that are `optional` have a switch, and are off at first.
    """

    name: str
    expr: Expr
    text: str
    colour: str = look.NEUTRAL
    optional: bool = False
    at_value: bool = False


class Row(NamedTuple):
    """Panels under a headline; they flow from left to right and wrap at the width of the grid."""

    title: str
    panels: list[sdk.models.Panel]
    collapsed: bool = False


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard.

    Attributes:
        name: the file's name and, behind `yoloscope-`, its uid.
        about: what it is for, one sentence.
        variables: in order; each is narrowed by those before it.
        span: the time range at first sight.
    """

    name: str
    title: str
    about: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()
    span: str = "now-1h"
    refresh: str = "30s"

    @property
    def uid(self) -> str:
        """Stable: bookmarks, links and runbooks use it."""
        return uid(self.name)

    def json(self) -> dict[str, Any]:
        """The classic model, as Grafana 9 to 13 read it."""
        encoded: dict[str, Any] = json.loads(sdk.JSONEncoder().encode(self._build()))
        for each in (*encoded["links"], *encoded.get("annotations", {}).get("list", [])):
            del each["placement"]  # the SDK's one choice is a menu; left out, it stands above the panels
        for table in _tables(encoded["panels"]):
            table["options"] |= KEY_STAYS
        return encoded

    def _build(self) -> sdk.models.Dashboard:
        builder = (
            sdk.builders.Dashboard(f"yoloscope / {self.title}")
            .uid(self.uid)
            .description(self.about)
            .tags([TAG])
            .readonly()
            .time(self.span, "now")
            .refresh(self.refresh)
            .timezone("browser")
            .tooltip(sdk.models.DashboardCursorSync.CROSSHAIR)
            .link(_dropdown())
            .with_variable(_datasource())
        )
        for position, variable in enumerate(self.variables):
            builder = builder.with_variable(_variable(variable, self.variables[:position]))
        for annotation in self.annotations:
            builder = builder.annotation(_annotation(annotation))
        model = builder.build()
        model.panels = _laid_out(self.rows)
        return model


#: A table's first column stays where it is while the others are scrolled, from Grafana 12.2 on; the SDK is older.
KEY_STAYS: Mapping[str, Any] = MappingProxyType({"frozenColumns": {"left": 1}})


def _tables(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The tables among encoded panels, those in folded rows too."""
    for panel in panels:
        yield from _tables(panel.get("panels") or [])
        if panel["type"] == "table":
            yield panel


def uid(name: str) -> str:
    """The uid of the dashboard `name`."""
    return f"yoloscope-{name}"


def link(name: str, **variables: str) -> str:
    """A data link to the dashboard `name` that keeps time, data source and target, and sets `variables`.

    Their values are names of what was clicked (`__value.raw`); a run may be called `a+b & c`, so they are encoded.
    """
    kept = [f"${{{name}:queryparam}}" for name in ("datasource", "cluster", "job")]
    chosen = [f"var-{key}=${{{value}:percentencode}}" for key, value in variables.items()]
    return f"/d/{uid(name)}?{'&'.join([*chosen, *kept, '${__url_time_range}'])}"


def _dropdown() -> sdk.builders.DashboardLink:
    return (
        sdk.builders.DashboardLink("Dashboards")
        .type(sdk.models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _datasource() -> sdk.builders.DatasourceVariable:
    return sdk.builders.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _variable(variable: Variable, before: tuple[Variable, ...]) -> sdk.builders.QueryVariable:
    scope = variable.narrow or promql.Scope(tuple(other.name for other in before))
    if variable.preferred:
        query, sort = f"query_result(sort_desc({variable.preferred(scope)}))", sdk.models.VariableSort.DISABLED
    else:
        query, sort = f"label_values({scope(variable.metric)}, {variable.label})", variable.sort
    builder = (
        sdk.builders.QueryVariable(variable.name)
        .label(variable.title)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": "StandardVariableQuery"})
        .definition(query)
        .refresh(sdk.models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(sort)
    )
    if variable.preferred:  # a result reads {run="..."} value time; the name may hold quotes, which are not escaped
        builder = builder.regex(rf'/^\{{{variable.label}="(.*)"\}} \S+ \S+$/')
    if variable.single:
        return builder
    if variable.hidden:
        builder = builder.hide(sdk.models.VariableHide.HIDE_VARIABLE)
    if variable.all_value:
        builder = builder.all_value(variable.all_value)
    if not variable.has_all:
        return builder.multi(True)
    everything = sdk.models.VariableOption(selected=True, text="All", value="$__all")
    return builder.multi(True).include_all(True).current(everything)


def _annotation(annotation: Annotation) -> sdk.builders.AnnotationQuery:
    return (
        sdk.builders.AnnotationQuery()
        .name(annotation.name)
        .datasource(DATASOURCE)
        .enable(not annotation.optional)
        .hide(not annotation.optional)
        .icon_color(annotation.colour)
        .expr(annotation.expr.text)
        .step("15s")
        .title_format(annotation.name)
        .text_format(annotation.text)
        .use_value_for_time(annotation.at_value)
    )


def _laid_out(rows: tuple[Row, ...]) -> list[sdk.models.Panel | sdk.models.RowPanel]:
    """Give every panel its place and number; panels of a collapsed row sit inside it, as Grafana wants."""
    laid: list[sdk.models.Panel | sdk.models.RowPanel] = []
    number, y = 0, 0
    for row in rows:
        number += 1
        head = sdk.models.RowPanel(
            id_val=number, title=row.title, collapsed=row.collapsed, grid_pos=sdk.models.GridPos(w=GRID, h=1, y=y)
        )
        bottom = _flow(row.panels, y + 1)
        for panel in row.panels:
            number += 1
            panel.id_val = number
        laid.append(head)
        if row.collapsed:
            head.panels = list(row.panels)
        else:
            laid += row.panels
        y = y + 1 if row.collapsed else bottom
    return laid


def _flow(panels: list[sdk.models.Panel], top: int) -> int:
    """Place panels from left to right, wrapping at the grid's width; returns the row below the lowest."""
    x, y, height = 0, top, 0
    for panel in panels:
        position = panel.grid_pos or sdk.models.GridPos()
        if x + position.w > GRID:
            x, y, height = 0, y + height, 0
        position.x, position.y = x, y
        panel.grid_pos = position
        x, height = x + position.w, max(height, position.h)
    return y + height
