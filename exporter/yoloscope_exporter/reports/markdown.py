"""A report as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import markup, rules, slow_files
from yoloscope_exporter.diagnosis.advice import effect_in_words
from yoloscope_exporter.language import joined, say, text, units
from yoloscope_exporter.reports.comparison import PAIR, about
from yoloscope_exporter.reports.figures import QUANTITIES, shown
from yoloscope_exporter.reports.summary import JUDGED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.reports.comparison import Cell, Comparison
    from yoloscope_exporter.reports.summary import Summary

#: Facts of what is no training that explain its figures.
FACTS_OF_PREDICTIONS = (
    "mode",
    "task",
    "model",
    "format",
    "precision",
    "imgsz",
    "batch",
    "device",
    "source",
    "stream",
    "ultralytics",
)
EXPORT_HEADS = ("format", "time", "size")


def summary_markdown(summary: Summary) -> str:
    """One run as Markdown: figures, time budget, epochs, workers, verdicts."""
    parts = [
        f"# {markup.name(summary.run)}",
        "",
        about_run(summary),
    ]
    parts += ["", f"| {say('figure')} | |", "|---|---|"]
    parts += [f"| {say(name)} | {markup.name(value)} |" for name, value in facts_of_predictions(summary).items()]
    parts += [
        f"| {say(quantity.title)} | {shown(quantity, summary.figures[name].value, summary.figures[name].estimate)} |"
        for name, quantity in QUANTITIES.items()
        if name in summary.figures
    ]
    parts += _budget_lines(summary) + _export_lines(summary) + _epoch_lines(summary) + _worker_lines(summary)
    parts += _file_lines(summary) + _verdict_lines(summary)
    parts += ["", *(f"- {markup.words(say(note))}" for note in summary.notes)] if summary.notes else []
    return "\n".join(parts) + "\n"


def facts_of_predictions(summary: Summary) -> dict[str, str]:
    """What explains the figures of predictions, of a validation, of exports; nothing of a training."""
    names = () if summary.trains else FACTS_OF_PREDICTIONS
    return {name: summary.facts[name] for name in names if summary.facts.get(name)}


def _budget_lines(summary: Summary) -> list[str]:
    if not summary.budget and not summary.trains:
        return []
    total = sum(summary.budget.values()) or 1.0
    rows = (
        f"| {phase} | {units.duration(seconds)} | {seconds / total:.1%} |" for phase, seconds in summary.budget.items()
    )
    return ["", f"## {say('Where the time went')}", "", *heads("phase", "time", "share"), *rows]


def _export_lines(summary: Summary) -> list[str]:
    if not summary.exports:
        return []
    rows = (_line(list(map(markup.name, cells))) for cells in export_rows(summary))
    return ["", f"## {say('Exports')}", "", *heads(*EXPORT_HEADS), *rows]


def export_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """The exports as a table."""
    return [
        (one.format, units.duration(one.seconds), "-" if one.size is None else units.size(one.size))
        for one in summary.exports
    ]


def _epoch_lines(summary: Summary) -> list[str]:
    if not summary.epochs:
        return []
    lines = [
        "",
        f"## {say('Epochs')}",
        "",
        *heads("epoch", "time", "images/s", "waiting", "GPU memory", "process memory", "score"),
    ]
    for epoch in summary.epochs:
        cells = (
            str(epoch.number),
            units.duration(epoch.seconds),
            _or_dash(epoch.images, "{:.1f}".format),
            _or_dash(epoch.wait, units.percent),
            _or_dash(epoch.cuda, units.gib),
            _or_dash(epoch.resident, units.gib),
            _or_dash(epoch.score, "{:.4f}".format),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _or_dash(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)


def _worker_lines(summary: Summary) -> list[str]:
    if not summary.workers:
        return []
    quantiles = ", ".join(f"p{100 * q:.0f} {units.milliseconds(value)}" for q, value in summary.latency.items())
    lines = ["", f"## {say('Loader workers')}{say(' ({quantiles})', quantiles=quantiles) if quantiles else ''}", ""]
    lines += heads("rank", "worker", "batches", "time per batch", "computing")
    for w in summary.workers:
        computing = _or_dash(w.computing, units.percent)
        who = " | ".join(map(markup.name, (w.rank, w.name)))
        lines.append(f"| {who} | {w.batches:.0f} | {units.milliseconds(w.seconds)} | {computing} |")
    return lines


def _file_lines(summary: Summary) -> list[str]:
    if not summary.slow_files:
        return []
    note = say("{transforms}.", transforms=slow_files.TRANSFORMS)
    return ["", f"## {say('Slowest files')}", "", *slow_files.table(summary.slow_files), "", note]


def _verdict_lines(summary: Summary) -> list[str]:
    if summary.kind not in JUDGED and not summary.verdicts:
        return []
    lines = ["", f"## {say('Verdicts')}", ""]
    lines += [verdict_line(verdict, rank) for rank, verdict in summary.verdicts]
    return lines if summary.verdicts else [*lines, say("None.")]


def heads(*names: str) -> list[str]:
    """The first lines of a table."""
    return [_line([say(name) for name in names]), "|---" * len(names) + "|"]


def about_run(summary: Summary) -> str:
    """In which state it is, and when it was seen."""
    state = text(summary.state or "state unknown")
    return say("{state}; {start} to {end}", state=state, start=units.local(summary.start), end=units.local(summary.end))


def verdict_line(verdict: Verdict, rank: str = "") -> str:
    """A verdict as an item of a list."""
    cause = text(" Cause: {cause}.", cause=_told(verdict.cause)) if verdict.name in rules.EXPLAINED else ""
    fix = text(" Fix: `{fix}`.", fix=markup.typed(say(verdict.fix))) if verdict.fix else ""
    effect = text(" Changes: {effect}.", effect=effect_in_words(verdict.advice)) if verdict.advice.effect else ""
    gain = text(" Gain: {gain}.", gain=_told(verdict.gain)) if verdict.gain else ""
    told = say(joined((text("{evidence}.", evidence=_told(verdict.evidence)), cause, fix, effect, gain), ""))
    severity = text(verdict.severity)
    if not rank:
        return say("- **{name}** ({severity}): {told}", name=verdict.name, severity=severity, told=told)
    return say(
        "- rank {rank}: **{name}** ({severity}): {told}",
        rank=markup.name(rank),
        name=verdict.name,
        severity=severity,
        told=told,
    )


def _told(sentence: str) -> str:
    return markup.words(say(sentence))


def comparison_markdown(comparison: Comparison) -> str:
    """The comparison as tables."""
    titles = [markup.name(column.title) for column in comparison.columns]
    pair = len(titles) == PAIR
    heads = ["", *titles, *([say("change"), say("certainty")] if pair else [])]
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for row in comparison.rows:
        cells = [row.cells[0].text]
        for cell in row.cells[1:]:
            cells += [cell.text, cell.change, cell.sure] if pair else [_beside(cell)]
        lines.append(_line([row.title, *cells]))
    lines += ["", *about(comparison)]
    if comparison.differences:
        lines += ["", _line([say("configuration"), *(markup.name(column.name) for column in comparison.columns)])]
        lines += ["|---" * (1 + len(titles)) + "|"]
        lines += [_line(list(map(markup.name, cells))) for cells in comparison.differences]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _beside(cell: Cell) -> str:
    """A figure with its change against the first column, bold where that is sure."""
    if not cell.change:
        return cell.text
    return f"{cell.text} (**{cell.change}**)" if cell.certain else f"{cell.text} ({cell.marked})"
