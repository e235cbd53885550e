"""The kinds of panel that are used, each one function: what it shows in, what it looks like out.

Every panel has a title, a description of three parts (what it is, what is normal, what to do otherwise), a unit taken
from its metric, and thresholds.
"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from dashboards import look, sdk
from dashboards.look import PLAIN, Steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.measures.promql import Expr

DATASOURCE = sdk.common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
NORMAL, OTHERWISE = "**Normal:** ", "**Otherwise:** "


class About(NamedTuple):
    """What a panel tells: what is normal and what to do if it is not; `what` defaults to the metric's help."""

    normal: str
    otherwise: str
    what: str = ""

    def text(self, help_: str) -> str:
        """The description, in Markdown; each part is a paragraph of its own so that it can be translated."""
        return "\n\n".join((self.what or help_, f"{NORMAL}{self.normal}", f"{OTHERWISE}{self.otherwise}"))


class Query(NamedTuple):
    """An expression and the name of its lines; `{{label}}` is replaced by the label's value."""

    expr: Expr
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Width of 24 and height, in Grafana's grid."""

    width: int = 12
    height: int = 8


SMALL, HALF, THIRD, WIDE = Size(width=4, height=4), Size(), Size(width=8), Size(width=24)
EPOCH = "Epoch"
NO_COLOURS: Mapping[str, str] = MappingProxyType({})


def _target(query: Query, ref: str, *, instant: bool, kind: sdk.prom.PromQueryFormat) -> sdk.prometheus.Dataquery:
    target = (
        sdk.prometheus.Dataquery()
        .ref_id(ref)
        .datasource(DATASOURCE)
        .expr(query.expr.text)
        .legend_format(query.legend)
        .editor_mode(sdk.prom.QueryEditorMode.CODE)
        .format(kind)
    )
    return target.instant() if instant else target.range()


def _finish(
    panel: sdk.models.Panel,
    title: str,
    about: About,
    queries: Sequence[Query],
    size: Size,
    *,
    unit: str = "",
    steps: Steps = PLAIN,
    instant: bool = False,
    kind: sdk.prom.PromQueryFormat = sdk.prom.PromQueryFormat.TIME_SERIES,
    mappings: Sequence[sdk.models.ValueMap] = (),
    overrides: Sequence[Override] = (),
) -> sdk.models.Panel:
    """Set what every panel has."""
    first = queries[0].expr
    panel.title = title
    panel.description = about.text(first.help)
    panel.datasource = DATASOURCE
    panel.targets = [
        _target(query, ref, instant=instant, kind=kind).build()
        for query, ref in zip(queries, string.ascii_uppercase, strict=False)
    ]
    panel.grid_pos = sdk.models.GridPos(w=size.width, h=size.height)
    panel.field_config = panel.field_config or sdk.models.FieldConfigSource()
    panel.field_config.overrides = list(overrides)
    config = panel.field_config.defaults
    config.unit = look.UNITS[unit or first.unit]
    config.thresholds = look.thresholds(steps).build()
    config.mappings = [*config.mappings, *mappings] if config.mappings else list(mappings)
    return panel


Override = sdk.models.DashboardFieldConfigSourceOverrides


def override(how: str, what: str, properties: dict[str, Any]) -> Override:
    """Change how some lines or columns look; `how` is one of Grafana's field matchers (`byName`, `byRegexp`, ...)."""
    return Override(
        matcher=sdk.models.MatcherConfig(id_val=how, options=what),
        properties=[sdk.models.DynamicConfigValue(id_val=key, value=value) for key, value in properties.items()],
    )


def _hues(queries: Sequence[Query], colours: Mapping[str, str]) -> list[Override]:
    """Lines of one query are shades of one hue; a line named in `colours` has that colour."""
    shades = [
        override("byFrameRefID", ref, {"color": {"mode": "shades", "fixedColor": hue}})
        for _, ref, hue in zip(queries, string.ascii_uppercase, look.HUES, strict=False)
    ]
    fixed = [
        override("byName", name, {"color": {"mode": "fixed", "fixedColor": colour}}) for name, colour in colours.items()
    ]
    return [*shades, *fixed] if len(queries) > 1 else fixed


def stat(
    title: str,
    about: About,
    query: Query,
    *,
    steps: Steps = PLAIN,
    unit: str = "",
    decimals: int | None = None,
    mappings: Sequence[sdk.models.ValueMap] = (),
    graph: bool = False,
    size: Size = SMALL,
) -> sdk.models.Panel:
    """One number now, or the name of what is true now if the query has a legend; -1 reads `n/a`, nothing `no data`."""
    text = sdk.common_models.BigValueTextMode
    colour = sdk.common_models.BigValueColorMode
    mode = sdk.common_models.BigValueGraphMode
    panel = (
        sdk.stat.Panel()
        .reduce_options(sdk.common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(mode.AREA if graph else mode.NONE)
        .color_mode(colour.BACKGROUND_SOLID if query.legend else colour.VALUE)
        .text_mode(text.NAME if query.legend else text.VALUE)
        .color_scheme(sdk.builders.FieldColor().mode(sdk.models.FieldColorModeId.THRESHOLDS))
        .no_value("no data")
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return _finish(
        panel.build(),
        title,
        about,
        [query],
        size,
        unit=unit,
        steps=steps,
        instant=not graph,
        mappings=(look.NOT_AVAILABLE, *mappings),
    )


def lines(
    title: str,
    about: About,
    *queries: Query,
    unit: str = "",
    steps: Steps = PLAIN,
    stacked: bool = False,
    highest: float | None = None,
    colours: Mapping[str, str] = NO_COLOURS,
    size: Size = HALF,
) -> sdk.models.Panel:
    """Lines over time; thresholds other than PLAIN are drawn dashed, `colours` gives lines that mean a state theirs."""
    style = sdk.common_models.GraphThresholdsStyleMode
    panel = (
        sdk.timeseries.Panel()
        .line_width(1)
        .fill_opacity(60 if stacked else 8)
        .show_points(sdk.common_models.VisibilityMode.NEVER)
        .span_nulls(False)
        .axis_soft_min(0)
        .color_scheme(sdk.builders.FieldColor().mode(sdk.models.FieldColorModeId.SHADES).fixed_color(look.HUES[0]))
        .thresholds_style(sdk.common.GraphThresholdsStyleConfig().mode(style.OFF if steps == PLAIN else style.DASHED))
        .legend(_legend().calcs(["mean", "max", "lastNotNull"]))
        .tooltip(_tooltip())
    )
    if stacked:
        panel = panel.stacking(sdk.common.StackingConfig().mode(sdk.common_models.StackingMode.NORMAL).group("A"))
    if highest is not None:
        panel = panel.max(highest)
    overrides = _hues(queries, colours)
    return _finish(panel.build(), title, about, queries, size, unit=unit, steps=steps, overrides=overrides)


def _legend() -> sdk.common.VizLegendOptions:
    mode = sdk.common_models.LegendDisplayMode.TABLE
    place = sdk.common_models.LegendPlacement.BOTTOM
    return sdk.common.VizLegendOptions().display_mode(mode).placement(place).show_legend(True)


def _tooltip() -> sdk.common.VizTooltipOptions:
    mode, order = sdk.common_models.TooltipDisplayMode.MULTI, sdk.common_models.SortOrder.DESCENDING
    return sdk.common.VizTooltipOptions().mode(mode).sort(order)


def timeline(
    title: str,
    about: About,
    *queries: Query,
    mappings: Sequence[sdk.models.ValueMap],
    link: tuple[str, str] | None = None,
    size: Size = WIDE,
) -> sdk.models.Panel:
    """One row per series, coloured by state; colours come from the mappings alone.

    Coloured by thresholds, Grafana would merge all values between two of them into one.
    """
    panel = (
        sdk.statetimeline.Panel()
        .color_scheme(sdk.builders.FieldColor().mode(sdk.models.FieldColorModeId.FIXED).fixed_color(look.NEUTRAL))
        .row_height(0.8)
        .merge_values(True)
        .show_value(sdk.common_models.VisibilityMode.AUTO)
        .fill_opacity(85)
        .line_width(0)
        .legend(sdk.common.VizLegendOptions().show_legend(False))
        .no_value("no data")
    )
    if link:
        panel = panel.data_links([sdk.builders.DashboardLink(link[0]).url(link[1])])
    return _finish(panel.build(), title, about, queries, size, mappings=mappings)


def heatmap(title: str, about: About, query: Query, *, size: Size = HALF) -> sdk.models.Panel:
    """A histogram over time: `query` sums the rates of buckets by `le`."""
    options = sdk.heatmap.HeatmapColorOptions()
    panel = (
        sdk.heatmap.Panel()
        .calculate(False)
        .color(
            options.scheme("Cividis")
            .mode(sdk.heatmap_models.HeatmapColorMode.SCHEME)
            .scale(sdk.heatmap_models.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
            .reverse(False)
        )
        .y_axis(sdk.heatmap.YAxisConfig().unit(look.UNITS["seconds"]))
        .cell_gap(0)
        .max_data_points(80)  # more cells than pixels show as stripes
        .show_legend()
    )
    kind = sdk.prom.PromQueryFormat.HEATMAP
    return _finish(panel.build(), title, about, [query._replace(legend="{{le}}")], size, unit="/s", kind=kind)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: what its head says.
        expr: one series for each row; it keeps the table's key, and `label` if there is one.
        label: show this label instead of the value.
        highest: draw a bar, full at this value.
        filled: colour the whole cell by `steps` or `mappings`, not the text alone.
        link: title and address of where a click on the cell leads.
    """

    title: str
    expr: Expr
    label: str = ""
    unit: str = ""
    steps: Steps = PLAIN
    highest: float | None = None
    filled: bool = False
    mappings: tuple[sdk.models.ValueMap, ...] = ()
    decimals: int | None = None
    width: int | None = None
    link: tuple[str, str] | None = None

    def looks(self) -> dict[str, Any]:
        """The column's properties in Grafana's words."""
        steps = [{"value": value, "color": colour} for value, colour in self.steps]
        wanted = {
            "unit": look.UNITS[self.unit or self.expr.unit],
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": [json.loads(sdk.JSONEncoder().encode(each)) for each in (look.NOT_AVAILABLE, *self.mappings)],
            "custom.cellOptions": self._cell(),
            "decimals": self.decimals,
            "custom.width": self.width,
            "links": [{"title": self.link[0], "url": self.link[1]}] if self.link else None,
        }
        bar = {} if self.highest is None else {"min": 0, "max": self.highest}
        return {key: value for key, value in (wanted | bar).items() if value is not None}

    def _cell(self) -> dict[str, str]:
        if self.highest is not None:
            return {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        if self.filled:
            return {"type": "color-background", "mode": "basic"}
        return {"type": "auto" if self.steps == PLAIN and not self.mappings else "color-text"}


def table(
    title: str,
    about: About,
    key: tuple[str, str],
    *columns: Column,
    link: tuple[str, str] | None = None,
    sort: str = "",
    size: Size = WIDE,
) -> sdk.models.Panel:
    """A row for each value of the label `key[0]`, headed `key[1]`; the columns are joined on it.

    `link` is the title and address of where a click on the key leads; `sort` names the column to sort by, descending.
    """
    label, head = key
    panel = sdk.table.Panel().filterable(True).cell_height(sdk.common_models.TableCellHeight.SM).no_value("no data")
    if sort:
        panel = panel.sort_by([sdk.common.TableSortByFieldState().display_name(sort).desc(True)])
    for transformation in _joined(label, {label: head, **_fields(columns)}):
        panel = panel.with_transformation(transformation)
    overrides = [override("byName", column.title, column.looks()) for column in columns]
    if link:
        overrides.append(override("byName", head, {"links": [{"title": link[0], "url": link[1]}]}))
    queries = [Query(expr) for expr in _exprs(columns)]
    kind = sdk.prom.PromQueryFormat.TABLE
    model = panel.build()
    return _finish(model, title, about, queries, size, unit="", instant=True, kind=kind, overrides=overrides)


def _exprs(columns: Sequence[Column]) -> list[Expr]:
    """The expressions to ask, each once: several columns may show labels of the same one."""
    return list(dict.fromkeys(column.expr for column in columns))


def _fields(columns: Sequence[Column]) -> dict[str, str]:
    """Name of a field in Grafana's result -> title of its column."""
    exprs = _exprs(columns)
    values = ["Value"] if len(exprs) == 1 else [f"Value #{ref}" for ref in string.ascii_uppercase]
    return {column.label or values[exprs.index(column.expr)]: column.title for column in columns}


def _joined(key: str, titles: dict[str, str]) -> list[sdk.models.DataTransformerConfig]:
    """Join the queries' results on `key`, keep the fields in `titles` in that order, and rename them."""
    order = {name: position for position, name in enumerate(titles)}
    steps = {
        "joinByField": {"byField": key, "mode": "outer"},
        "filterFieldsByName": {"include": {"names": list(titles)}},
        "organize": {"excludeByName": {}, "indexByName": order, "renameByName": titles},
    }
    return [sdk.models.DataTransformerConfig(id_val=name, options=options) for name, options in steps.items()]


def epochs(
    title: str, about: About, *queries: Query, unit: str = "", highest: float | None = None, size: Size = HALF
) -> sdk.models.Panel:
    """Curves over epochs instead of time; each query is made by `promql.by_epoch` and is one curve."""
    panel = (
        sdk.trend.Panel()
        .x_field(EPOCH)
        .line_width(2)
        .fill_opacity(0)
        .show_points(sdk.common_models.VisibilityMode.AUTO)
        .span_nulls(True)
        .color_scheme(sdk.builders.FieldColor().mode(sdk.models.FieldColorModeId.SHADES).fixed_color(look.HUES[0]))
        .legend(_legend())
        .tooltip(_tooltip())
    )
    if highest is not None:
        panel = panel.min(0).max(highest)
    titles = _fields([Column(title=query.legend, expr=query.expr) for query in queries])
    join, *arrange = _joined("epoch", {"epoch": EPOCH, **titles})
    number = {"conversions": [{"targetField": "epoch", "destinationType": "number"}], "fields": {}}
    convert = sdk.models.DataTransformerConfig(id_val="convertFieldType", options=number)
    sort = sdk.models.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": "epoch"}]})
    for transformation in (join, convert, sort, *arrange):
        panel = panel.with_transformation(transformation)
    hues = {query.legend: hue for query, hue in zip(queries, look.HUES, strict=False)}
    fixed = [override("byName", name, {"color": {"mode": "fixed", "fixedColor": hue}}) for name, hue in hues.items()]
    fixed.append(override("byName", EPOCH, {"unit": "none", "decimals": 0}))
    kind = sdk.prom.PromQueryFormat.TABLE
    return _finish(panel.build(), title, about, queries, size, unit=unit, instant=True, kind=kind, overrides=fixed)
