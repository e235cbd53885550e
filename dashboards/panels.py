"""The kinds of panel that are used, each one function: what it shows in, what it looks like out.

Every panel has a title, a description of three parts (what it is, what is normal, what to do otherwise), a unit taken
from its metric, and thresholds.
"""

from __future__ import annotations

import json
import re
import string
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from dashboards import look, sdk
from dashboards.look import PLAIN, Steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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


#: How a line is drawn: as others are, as a bound that others are held against, or as the one to look at.
PLAIN_LINE, BOUND, CULPRIT = "", "bound", "culprit"


class Query(NamedTuple):
    """An expression and the name of its lines; `{{label}}` is replaced by the label's value."""

    expr: Expr
    legend: str = ""
    style: str = PLAIN_LINE


@dataclass(frozen=True, kw_only=True)
class Size:
    """Width of 24 and height, in Grafana's grid."""

    width: int = 12
    height: int = 8


#: A number; its title is read at 1366 pixels, where a sixth of the width cuts it off.
SMALL, HALF, THIRD, WIDE = Size(width=6, height=3), Size(), Size(width=8), Size(width=24)
EPOCH = "Epoch"
#: A curve whose siblings are empty: Grafana then calls it by no letter, and nothing says which of them it is.
ALONE = "the only one with epochs"
#: In a cell whose label is empty.
NOTHING = "\u2013"
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


#: Things that are counted: thing number n has one colour on every panel, whether it is a rank, its GPU or a worker.
_COUNTED = "(?:rank|GPU|worker|pg)"
#: Highest number that still has a colour.
_NUMBERS = 64
_LABEL = re.compile(r"\{\{(\w+)\}\}")
_NUMBERED = re.compile(r"\{\{(?:rank|gpu|worker|group)\}\}")


def _colours(queries: Sequence[Query], colours: Mapping[str, str]) -> list[Override]:
    """A fixed colour for every line: by what it means, by its number, or by its place.

    Lines named after labels of an open set (disks, nodes) keep Grafana's own palette.
    """
    numbered = any(_NUMBERED.search(query.legend) for query in queries)
    named = {value: colour for query in queries for value, colour in look.by_label(query.legend).items()}
    literal = [query.legend for query in queries if not _LABEL.search(query.legend)]
    left = [colour for colour in look.PALETTE if colour not in named.values()]
    placed = dict(zip(literal, left, strict=False))
    by_name = {**placed, **named, **colours}
    return [
        *(_by_number() if numbered else ()),
        *(override("byName", name, _fixed(colour)) for name, colour in by_name.items()),
        *(_drawn(query, ref) for query, ref in zip(queries, string.ascii_uppercase, strict=False) if query.style),
    ]


def _by_number() -> Iterator[Override]:
    """Colour n of the palette for what has the number n; the last number in a name counts: the worker's of a rank."""
    count = len(look.PALETTE)
    for place, colour in enumerate(look.PALETTE):
        numbers = "|".join(str(number) for number in range(place, _NUMBERS, count))
        yield override("byRegexp", f"/{_COUNTED} ?(?:{numbers})(?!\\d)(?!.*{_COUNTED} ?\\d)/", _fixed(colour))


def _fixed(colour: str) -> dict[str, Any]:
    return {"color": {"mode": "fixed", "fixedColor": colour}}


def _drawn(query: Query, ref: str) -> Override:
    """The lines of a query that are bounds are dashed, culprits are thick and in the colour of a warning."""
    if query.style == BOUND:
        return override("byFrameRefID", ref, {"custom.lineStyle": {"fill": "dash", "dash": [8, 8]}})
    return override("byFrameRefID", ref, {"custom.lineWidth": 4, **_fixed(look.WARNING)})


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
    """Lines over time; thresholds other than PLAIN are drawn dashed, `colours` gives lines that mean a state theirs.

    The axis goes up to the thresholds, so that nothing at all is not drawn on an axis up to 100.
    """
    style = sdk.common_models.GraphThresholdsStyleMode
    panel = (
        sdk.timeseries.Panel()
        .line_width(0 if stacked else 2)
        .fill_opacity(80 if stacked else 0)  # a fill hides the lines behind it
        .show_points(sdk.common_models.VisibilityMode.NEVER)
        .span_nulls(False)
        .axis_soft_min(0)
        .color_scheme(sdk.builders.FieldColor().mode(sdk.models.FieldColorModeId.PALETTE_CLASSIC))
        .thresholds_style(sdk.common.GraphThresholdsStyleConfig().mode(style.OFF if steps == PLAIN else style.DASHED))
        .legend(_legend(size, queries))
        .tooltip(_tooltip())
    )
    if stacked:
        panel = panel.stacking(sdk.common.StackingConfig().mode(sdk.common_models.StackingMode.NORMAL).group("A"))
    if highest is not None:
        panel = panel.max(highest)
    elif (last := steps[-1][0]) is not None:
        panel = panel.axis_soft_max(last)
    overrides = _colours(queries, colours)
    return _finish(panel.build(), title, about, queries, size, unit=unit, steps=steps, overrides=overrides)


def _legend(size: Size, queries: Sequence[Query] = ()) -> sdk.common.VizLegendOptions:
    """Names below the panel, where a table shows three of eight; the last values too where there is room for all."""
    mode, place = sdk.common_models.LegendDisplayMode, sdk.common_models.LegendPlacement
    legend = sdk.common.VizLegendOptions().show_legend(True).display_mode(mode.LIST).placement(place.BOTTOM)
    many = size.width < HALF.width or any(_NUMBERED.search(query.legend) for query in queries)
    return legend if many else legend.calcs(["lastNotNull"])


def _tooltip() -> sdk.common.VizTooltipOptions:
    mode, order = sdk.common_models.TooltipDisplayMode.MULTI, sdk.common_models.SortOrder.DESCENDING
    return sdk.common.VizTooltipOptions().mode(mode).sort(order)


#: Pixels: one of a panel's height in Grafana's grid, what a timeline needs beside its rows, a row that can be read.
_UNIT, _AROUND, _STATE_ROW = 38, 94, 18


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
        .per_page((size.height * _UNIT - _AROUND) // _STATE_ROW)
    )
    if link:
        panel = panel.data_links([sdk.builders.DashboardLink(link[0]).url(link[1])])
    return _finish(panel.build(), title, about, queries, size, mappings=mappings)


#: Pixels of a name such as `rank 0, worker 0`, which Grafana cuts at the beginning.
_ROW_NAME = 110
#: More cells than pixels show as stripes.
_CELLS = 80


def heatmap(title: str, about: About, query: Query, *, size: Size = HALF) -> sdk.models.Panel:
    """A histogram over time: `query` sums the rates of buckets by `le`."""
    panel = (
        _heatmap(sdk.heatmap_models.HeatmapColorScale.EXPONENTIAL)
        .y_axis(sdk.heatmap.YAxisConfig().unit(look.UNITS["seconds"]))
        .cell_gap(0)
    )
    kind = sdk.prom.PromQueryFormat.HEATMAP
    return _finish(panel.build(), title, about, [query._replace(legend="{{le}}")], size, unit="/s", kind=kind)


def rows(title: str, about: About, query: Query, *, unit: str = "", size: Size = HALF) -> sdk.models.Panel:
    """A row for each series, its value over time as colour: which worker, which rank, and when."""
    panel = (
        _heatmap(sdk.heatmap_models.HeatmapColorScale.LINEAR)
        .y_axis(sdk.heatmap.YAxisConfig().reverse(True).axis_width(_ROW_NAME))  # row 0 at the top
        .cell_values(sdk.heatmap.CellValues().unit(look.UNITS[unit or query.expr.unit]))
        .cell_gap(0)
    )
    return _finish(panel.build(), title, about, [query], size, unit=unit)


def _heatmap(scale: sdk.heatmap_models.HeatmapColorScale) -> sdk.heatmap.Panel:
    options = sdk.heatmap.HeatmapColorOptions()
    return (
        sdk.heatmap.Panel()
        .calculate(False)
        .color(
            options.scheme(look.HEAT)
            .mode(sdk.heatmap_models.HeatmapColorMode.SCHEME)
            .scale(scale)
            .exponent(0.5)
            .steps(64)
            .reverse(False)
            .min(0)
        )
        .max_data_points(_CELLS)
        .show_legend()
    )


#: Pixels in a table: a letter of a head, a Chinese one, a small one, what stands around it, the sign of a filter or of
#: sorting; then a figure with its unit, a bar, the name of a row.
_LETTER, _WIDE_LETTER, _SMALL, _MARGIN, SIGN = 8, 14, 7, 26, 20
_FIGURE, BAR, _NAME = 85, 110, 130


def head_width(title: str) -> int:
    """Pixels that a column's title needs; Chinese characters are as wide as they are high."""
    return sum(_LETTER if letter.isascii() else _WIDE_LETTER for letter in title) + _MARGIN


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: what its head says.
        expr: one series for each row; it keeps the table's key, and `label` if there is one.
        label: show this label instead of the value.
        highest: draw a bar, full at this value.
        filled: colour the whole cell by `steps` or `mappings`, not the text alone.
        width: in pixels. Without it a number is as wide as its head; labels share what is left, `least` each at least.
        wraps: long text goes on below, from Grafana 11 on, so that it can be narrow on a phone.
        link: title and address of where a click on the cell leads.
        sorted: the table is sorted by it.
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
    least: int = 100
    wraps: bool = False
    link: tuple[str, str] | None = None
    sorted: bool = False

    def looks(self) -> dict[str, Any]:
        """The column's properties in Grafana's words."""
        steps = [{"value": value, "color": colour} for value, colour in self.steps]
        wanted = {
            "unit": "string" if self.label else look.UNITS[self.unit or self.expr.unit],
            "noValue": NOTHING if self.label else None,
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": [json.loads(sdk.JSONEncoder().encode(each)) for each in (look.NOT_AVAILABLE, *self.mappings)],
            "custom.cellOptions": self._cell(),
            "decimals": 1 if self.decimals is None and self.highest is not None else self.decimals,
            "custom.filterable": bool(self.label),
            **self._widths(),
            "links": [{"title": self.link[0], "url": self.link[1]}] if self.link else None,
        }
        bar = {} if self.highest is None else {"min": 0, "max": self.highest}
        return {key: value for key, value in (wanted | bar).items() if value is not None}

    def _widths(self) -> dict[str, int]:
        if self.label and self.width is None:
            return {"custom.minWidth": max(len(self.title) * _SMALL + SIGN + SIGN, self.least)}
        head = head_width(self.title) + (SIGN if self.sorted else 0)
        return {"custom.width": self.width or max(head, _FIGURE if self.highest is None else BAR)}

    def _cell(self) -> dict[str, Any]:
        if self.highest is not None:
            return {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        wraps = {"wrapText": True} if self.wraps else {}
        if self.filled:
            return {"type": "color-background", "mode": "basic", **wraps}
        return {"type": "auto" if self.steps == PLAIN and not self.mappings else "color-text", **wraps}


def table(
    title: str,
    about: About,
    key: tuple[str, str],
    *columns: Column,
    link: tuple[str, str] | None = None,
    width: int | None = None,
    least: int = _NAME,
    key_mappings: tuple[sdk.models.ValueMap, ...] = (),
    sort: str = "",
    empty: str = "no data",
    size: Size = WIDE,
) -> sdk.models.Panel:
    """A row for each value of the label `key[0]`, headed `key[1]`; the columns are joined on it.

    `link` is the title and address of where a click on the key leads; `width`, `least` and `key_mappings` are its own,
    as a column has them; `sort` names the column to sort by, descending; `empty` is what is said where there is no row.
    A phone shows the key and the columns of the next 200 pixels: what matters most comes first.
    """
    label, head = key
    of_key = Column(
        title=head,
        expr=columns[0].expr,
        label=label,
        width=width,
        least=least,
        link=link,
        mappings=key_mappings,
        filled=bool(key_mappings),
        wraps=True,
    )
    panel = sdk.table.Panel().cell_height(_height(of_key, *columns)).no_value(empty)
    if sort:
        panel = panel.sort_by([sdk.common.TableSortByFieldState().display_name(sort).desc(True)])
    for transformation in _joined(label, {label: head, **_fields(columns)}):
        panel = panel.with_transformation(transformation)
    overrides = [
        override("byName", column.title, replace(column, sorted=column.title == sort).looks()) for column in columns
    ]
    overrides.append(override("byName", head, of_key.looks()))
    queries = [Query(expr) for expr in _exprs(columns)]
    kind = sdk.prom.PromQueryFormat.TABLE
    model = panel.build()
    return _finish(model, title, about, queries, size, unit="", instant=True, kind=kind, overrides=overrides)


def _height(*columns: Column) -> sdk.common_models.TableCellHeight:
    """Room for two lines of words that stand for a value: Grafana grows rows by the value itself, which is short."""
    heights = sdk.common_models.TableCellHeight
    return heights.MD if any(column.wraps and column.mappings for column in columns) else heights.SM


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
        .axis_soft_min(0)
        .color_scheme(sdk.builders.FieldColor().mode(sdk.models.FieldColorModeId.FIXED).fixed_color(look.PALETTE[0]))
        .legend(_legend(THIRD))
        .tooltip(_tooltip())
    )
    titles = {"Value": ALONE, **_fields([Column(title=query.legend, expr=query.expr) for query in queries])}
    join, *arrange = _joined("epoch", {"epoch": EPOCH, **titles})
    number = {"conversions": [{"targetField": "epoch", "destinationType": "number"}], "fields": {}}
    convert = sdk.models.DataTransformerConfig(id_val="convertFieldType", options=number)
    sort = sdk.models.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": "epoch"}]})
    for transformation in (join, convert, sort, *arrange):
        panel = panel.with_transformation(transformation)
    #: Of the curves alone: a limit for all fields is one of the epochs' axis too, which then ends at 1.
    limits = {} if highest is None else {"min": 0, "max": highest}
    #: The first is the thickest, to be seen where others cover it.
    fixed = [
        override("byName", query.legend, {**_fixed(colour), **limits, "custom.lineWidth": 2 * (len(queries) - place)})
        for place, (query, colour) in enumerate(zip(queries, look.PALETTE, strict=False))
    ]
    fixed.append(override("byName", EPOCH, {"unit": "none", "decimals": 0}))
    kind = sdk.prom.PromQueryFormat.TABLE
    return _finish(panel.build(), title, about, queries, size, unit=unit, instant=True, kind=kind, overrides=fixed)
