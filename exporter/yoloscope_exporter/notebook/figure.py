"""Panels as a figure for plotly: rows below each other, as JSON. Pure; plotly itself is for who shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yoloscope_exporter import colours
from yoloscope_exporter.language import say, text
from yoloscope_exporter.measures import gpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.notebook.panels import EpochMemory, Heat, Line, Panels, Row

_MIB: Final = 2**20
_GIB: Final = 2**30
#: Pixels: of a row of lines, of a note in its place, of a worker's row, of the memory; above a row, and around all.
LINES, NOTE, WORKER, MEMORY = 110, 24, 22, 180
GAP, TICKS, TOP, BOTTOM = 30, 26, 40, 46
#: More bars than this have no room for a text each.
MOST_TEXTS = 12
#: Of light and dark notebooks alike: every colour of ours shows on it.
_PAPER: Final = "#FFFFFF"
_INK: Final = "#24292F"
_GRID: Final = "#E5E7EB"
_HEAT: Final = text("Time to prepare a batch, by loader worker")
_WAIT: Final = text("Wait for a batch: workers=0, the training process loads its data itself")
_MEMORY: Final = text("Memory by epoch (peak)")
_MEMORY_OF_PROCESSES: Final = text("Process memory by epoch (peak); trained on the CPU, so there is no GPU memory")
NO_RUN: Final = text("No run yet. In the cell that trains: yoloscope_hooks.attach(model) before model.train().")
_SHARE: Final = {"tickformat": ".0%", "range": [0, 1.05]}
_AXES: Final[Mapping[Measure, Mapping[str, Any]]] = {
    gpu.BUSY: _SHARE,
    gpu.MEMORY_USED: _SHARE,
    gpu.HEAT_CELSIUS: {"ticksuffix": " °C", "rangemode": "tozero"},
}


@dataclass(frozen=True)
class _Part:
    """A row of the figure: traces with their axes, or a note where there is nothing to draw.

    Attributes:
        time: its horizontal axis is the one of time, which all such rows share.
        ticks: the axis has its numbers below this row.
    """

    title: str
    height: int
    traces: Sequence[Mapping[str, Any]] = ()
    y: Mapping[str, Any] = field(default_factory=dict)
    x: Mapping[str, Any] = field(default_factory=dict)
    time: bool = True
    ticks: bool = True
    note: str = ""


def figure(panels: Panels, *, several: bool = False, training: bool = True) -> dict[str, Any]:
    """The figure: `data` and `layout` of plotly.

    Args:
        panels: what to draw.
        several: it is of several nodes.
        training: there is a run.
    """
    parts = (
        *_gpu_parts(panels.gpus, several=several),
        _heat_part(panels.heat, training=training),
        _memory_part(panels.memory, training=training),
    )
    return _laid_out(parts)


def _gpu_parts(gpus: Mapping[Measure, Sequence[Line]], *, several: bool) -> Iterator[_Part]:
    if not gpus:
        yield _Part("GPU", NOTE, note=say("No GPU on these nodes." if several else "No GPU on this node."))
    names = list(dict.fromkeys(line.gpu for lines in gpus.values() for line in lines))
    for place, (measure, lines) in enumerate(gpus.items()):
        traces = [_trace(line, names.index(line.gpu), legend=place == 0 and len(names) > 1) for line in lines]
        last = place == len(gpus) - 1
        yield _Part(say(measure.title), LINES, traces, _AXES[measure], {}, ticks=last)


def _trace(line: Line, place: int, *, legend: bool) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if len(line.points) > 1 else "markers",
        "name": f"GPU {escape(line.gpu)}",
        "legendgroup": line.gpu,
        "showlegend": legend,
        "line": {"color": colours.PALETTE[place % len(colours.PALETTE)], "width": 1.5},
        "x": [_moment(time) for time, _ in line.points],
        "y": [round(value, 4) for _, value in line.points],
    }


def _heat_part(heat: Heat | None, *, training: bool) -> _Part:
    if heat is None:
        return _Part(say(_HEAT), NOTE, note=say("No batch has been prepared yet.") if training else say(NO_RUN))
    several = len({row.rank for row in heat.rows}) > 1
    longest = max((value for row in heat.rows for value in row.seconds if value is not None), default=1.0)
    trace = {
        "type": "heatmap",
        "x": [_moment(edge) for edge in heat.edges],
        "y": [_name(row, several=several) for row in heat.rows],
        "z": [[None if value is None else round(1000 * value, 2) for value in row.seconds] for row in heat.rows],
        "colorscale": colours.HEAT,
        "zmin": 0,
        "zmax": round(1000 * longest, 2),
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{y}<br>%{x}<br>%{z:.3~g} ms<extra></extra>",
    }
    head = say(_HEAT if any(row.worker for row in heat.rows) else _WAIT)
    height = WORKER * max(len(heat.rows), 3)
    return _Part(head, height, [trace], {"type": "category", "autorange": "reversed", "showgrid": False})


def _name(row: Row, *, several: bool) -> str:
    if several and row.worker:
        return escape(say("rank {rank}, worker {worker}", rank=row.rank, worker=row.worker))
    if several:
        return escape(say("rank {rank}, training process", rank=row.rank))
    return escape(say("worker {worker}", worker=row.worker) if row.worker else say("training process"))


def _memory_part(memory: Sequence[EpochMemory], *, training: bool) -> _Part:
    on_device = any(epoch.device is not None for epoch in memory)
    head = say(_MEMORY if on_device or not memory else _MEMORY_OF_PROCESSES)
    process = [(epoch.number, epoch.process) for epoch in memory if epoch.process is not None]
    device = [(epoch.number, epoch.device) for epoch in memory if epoch.device is not None]
    traces = [
        _bars(say(name), points, colour)
        for name, points, colour in (
            (text("process memory"), process, colours.BLUE),
            (text("GPU memory"), device, colours.ORANGE),
        )
        if points
    ]
    if not traces:
        return _Part(head, NOTE, note=say("No epoch has begun yet.") if training else say(NO_RUN), time=False)
    across = {"title": {"text": say("epoch")}, "type": "category"}
    return _Part(head, MEMORY, traces, {"ticksuffix": " GiB", "rangemode": "tozero"}, across, time=False)


def _bars(name: str, points: Sequence[tuple[int, float]], colour: str) -> dict[str, Any]:
    """Peaks by epoch, with what grew since the first."""
    first = points[0][1]
    return {
        "type": "bar",
        "name": name,
        "showlegend": True,
        "marker": {"color": colour},
        "x": [str(number) for number, _ in points],
        "y": [round(value / _GIB, 4) for _, value in points],
        "text": [f"{(value - first) / _MIB:+.0f} MiB" for _, value in points],
        "textposition": "inside" if len(points) <= MOST_TEXTS else "none",
        "hovertemplate": f"%{{y:.2f}} GiB<br>{say('%{text} since the first epoch')}<extra>%{{fullData.name}}</extra>",
    }


# --- where it stands ------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a part stands, as shares of the figure's height from below, and the suffix of its axes."""

    top: float
    bottom: float
    axis: str


def _laid_out(parts: Sequence[_Part]) -> dict[str, Any]:
    """Parts from the top down, each with axes of its own; those of time move together."""
    whole = sum(map(_room, parts))
    above = [sum(map(_room, parts[:number])) + GAP for number in range(len(parts))]
    places = [
        _Place(1 - start / whole, max(1 - (start + part.height) / whole, 0.0), str(number) if number > 1 else "")
        for number, (start, part) in enumerate(zip(above, parts, strict=True), start=1)
    ]
    drawn = [(part, place) for part, place in zip(parts, places, strict=True) if part.traces]
    time = next((f"x{place.axis}" for part, place in drawn if part.time), "")
    layout: dict[str, Any] = {
        "height": whole + TOP + BOTTOM,
        "margin": {"l": 100, "r": 20, "t": TOP, "b": BOTTOM},
        "paper_bgcolor": _PAPER,
        "plot_bgcolor": _PAPER,
        "font": {"color": _INK, "size": 12},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"},
        "uirevision": "yoloscope",  # a zoom stays
        "annotations": [text for part, place in zip(parts, places, strict=True) for text in _texts(part, place)],
    }
    for part, place in drawn:
        layout[f"xaxis{place.axis}"] = _across(part, place, time)
        layout[f"yaxis{place.axis}"] = {
            "anchor": f"x{place.axis}",
            "domain": [place.bottom, place.top],
            "gridcolor": _GRID,
            "zeroline": False,
            **part.y,
        }
    return {"data": [_placed(trace, place) for part, place in drawn for trace in part.traces], "layout": layout}


def _room(part: _Part) -> int:
    return GAP + part.height + (TICKS if part.ticks and part.traces else 0)


def _across(part: _Part, place: _Place, time: str) -> dict[str, Any]:
    axis = {"anchor": f"y{place.axis}", "showticklabels": part.ticks, "gridcolor": _GRID, **part.x}
    if not part.time:
        return axis
    return axis | {"type": "date"} | ({"matches": time} if time != f"x{place.axis}" else {})


def _placed(trace: Mapping[str, Any], place: _Place) -> dict[str, Any]:
    placed = {**trace, "xaxis": f"x{place.axis}", "yaxis": f"y{place.axis}"}
    if trace["type"] == "heatmap":
        middle = (place.top + place.bottom) / 2
        placed["colorbar"] = {"ticksuffix": " ms", "thickness": 12, "len": place.top - place.bottom, "y": middle}
    return placed


def _texts(part: _Part, place: _Place) -> Iterator[dict[str, Any]]:
    fixed = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "showarrow": False, "align": "left"}
    yield {**fixed, "y": place.top, "yanchor": "bottom", "text": f"<b>{part.title}</b>"}
    if part.note:
        yield {**fixed, "y": (place.top + place.bottom) / 2, "yanchor": "middle", "text": part.note}


def _moment(time: float) -> str:
    """Local time of the kernel, as plotly's axes of dates take it."""
    return datetime.fromtimestamp(time, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
