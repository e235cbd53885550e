"""A report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.reports import charts as svg
from yoloscope_exporter.reports.summary import QUANTITIES, duration, milliseconds, shown
from yoloscope_exporter.terminal import diagnosis as render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.reports.summary import Comparison, Curve, Summary

#: Okabe and Ito's palette, which colour-blind readers tell apart; the black one is a grey here, to show on dark.
_PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C", "#F0E442")
_STYLE = (
    """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667;--paper:#fff;--line:#d8dde3;--band:#0001}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#9aa3ad;--paper:#14171b;--line:#333a42;--band:#fff1}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
table{border-collapse:collapse;margin:.5rem 0}
td,th{border-bottom:1px solid var(--line);padding:.25rem .8rem .25rem 0;text-align:left}
.wide{overflow-x:auto}code{overflow-wrap:anywhere}
td.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
polyline{fill:none;stroke-width:1.6}.grid{stroke:var(--line);stroke-width:.7}.band{fill:var(--band)}
.legend{margin:.2rem 0 0;color:var(--soft);font-size:.85rem}.legend span{margin-right:1rem;white-space:nowrap}
.legend i{display:inline-block;width:.8rem;height:.8rem;margin-right:.3rem;vertical-align:-1px;border-radius:2px}
.v{border-left:4px solid var(--line);padding:.1rem 0 .1rem .8rem;margin:.8rem 0}
.v.critical{border-color:#D55E00}.v.warning{border-color:#E69F00}.v.ok{border-color:#009E73}.v.info{border-color:#56B4E9}
.better{color:#009E73}.worse{color:#D55E00}.soft{color:var(--soft)}code{background:var(--band);padding:0 .25rem}
"""
    + "".join(
        f".c{i}{{stroke:{colour}}}.f{i}{{fill:{colour}}}i.c{i},i.f{i}{{background:{colour}}}"
        for i, colour in enumerate(_PALETTE)
    )
).replace("\n", "")


def one(summary: Summary) -> str:
    """The page of one run."""
    return _page(summary.run, [f"<h1>{escape(summary.run)}</h1>", *_summary(summary)])


def two(comparison: Comparison) -> str:
    """The page of two runs: the table first, then each of them."""
    before, after = comparison.before, comparison.after
    title = f"{before.run} and {after.run}"
    parts = [f"<h1>{escape(title)}</h1>", *_comparison(comparison), "<h2>Over the course of each run</h2>"]
    for name in dict.fromkeys([*before.curves, *after.curves]):
        curves = {
            f"{role}: {curve.name}": _from_zero(curve)
            for role, summary in (("before", before), ("after", after))
            for curve in summary.curves.get(name, ())
        }
        parts += [f"<h3>{escape(name)}</h3>", svg.lines(curves)]
    for role, summary in (("Before", before), ("After", after)):
        parts += [f"<h2>{role}: {escape(summary.run)}</h2>", *_summary(summary)]
    return _page(title, parts)


def _from_zero(curve: Curve) -> list[tuple[float, float]]:
    return [(time - curve.points[0][0], value) for time, value in curve.points]


def _page(title: str, parts: Iterable[str]) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _comparison(comparison: Comparison) -> Iterator[str]:
    rows = [
        f"<tr><th>{escape(row.title)}</th><td class=n>{escape(row.before)}</td><td class=n>{escape(row.after)}</td>"
        f'<td class="n {row.verdict}">{escape(row.change)}</td><td class=soft>{escape(row.sure)}</td></tr>'
        for row in comparison.rows
    ]
    heads = ("", f"before: {comparison.before.run}", f"after: {comparison.after.run}", "change", "certainty")
    yield _table(heads, rows)
    yield '<p class="soft">± is the spread over ten slices of a run; certainty compares it with the difference.</p>'
    if comparison.differences:
        yield "<h3>Configuration that differs</h3>"
        yield _table(("", "before", "after"), [_cells(cells) for cells in comparison.differences])


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = f"<tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>" if heads else ""
    return f"<div class=wide><table>{head}{''.join(rows)}</table></div>"


def _cells(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _summary(summary: Summary) -> Iterator[str]:
    yield (
        f'<p class="soft">{escape(summary.state or "state unknown")}; {render.when(summary.start)} to '
        f"{render.when(summary.end)}; {escape(_facts(summary))}</p>"
    )
    for rank, verdict in summary.verdicts:
        yield _verdict(rank, verdict)
    figures = [(quantity, summary.figures[name]) for name, quantity in QUANTITIES.items() if name in summary.figures]
    yield _table((), [_cells((quantity.title, shown(quantity, figure))) for quantity, figure in figures])
    if summary.states:
        yield "<h3>Timeline</h3>" + svg.timeline(summary.states, catalog.STATES)
    if summary.budget:
        yield "<h3>Where the time went</h3>" + svg.stacked(summary.budget, duration)
    yield from _plots(summary)
    if summary.workers:
        yield "<h3>Time per batch by loader worker (filled: computing)</h3>"
        yield svg.bars(
            {f"rank {w.rank} worker {w.name}": (w.seconds, w.computing) for w in summary.workers}, milliseconds
        )
    yield from (f'<p class="soft">{escape(note)}</p>' for note in summary.notes)


def _plots(summary: Summary) -> Iterator[str]:
    pauses = [span for span in summary.states if span[2] in ("validate", "checkpoint")]
    for name, curves in summary.curves.items():
        yield f"<h3>{escape(name)}</h3>" + svg.lines({curve.name: curve.points for curve in curves}, pauses)
    rows = [
        _cells((str(epoch.number), duration(epoch.seconds), _gib(epoch.cuda), _gib(epoch.resident)))
        for epoch in summary.epochs
    ]
    if any(epoch.cuda or epoch.resident for epoch in summary.epochs):
        heads = ("epoch", "time", "GPU memory allocated", "memory of the processes")
        yield "<h3>Peak memory of each epoch</h3>" + _table(heads, rows)


def _gib(value: float | None) -> str:
    return "-" if value is None else f"{value / 2**30:.2f} GiB"


def _facts(summary: Summary) -> str:
    shown_facts = ("model", "data", "imgsz", "device", "amp", "cache", "ultralytics", "torch", "cuda")
    return ", ".join(f"{name}={summary.facts[name]}" for name in shown_facts if summary.facts.get(name))


def _verdict(rank: str, verdict: Verdict) -> str:
    lines = [f"<b>{escape(verdict.name)}</b> (rank {escape(rank)}): {escape(verdict.title)}", escape(verdict.evidence)]
    if verdict.severity != rules.OK:
        lines.append(f"Cause: {escape(verdict.cause)}. Verify: <code>{escape(verdict.verify)}</code>")
        lines.append(f"Fix: <code>{escape(verdict.fix)}</code>" if verdict.fix else "")
        lines.append(f"Gain: {escape(verdict.gain)}" if verdict.gain else "")
    return f'<div class="v {verdict.severity}">{"<br>".join(line for line in lines if line)}</div>'
