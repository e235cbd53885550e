"""The verdict above the pictures, as HTML: what holds the run back, with evidence and fix. Pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import colours, rules, units
from yoloscope_exporter.diagnosis.advice import effect_in_words
from yoloscope_exporter.diagnosis.engine import ALIVE, worst_first
from yoloscope_exporter.language import translated
from yoloscope_exporter.notebook.words import said
from yoloscope_exporter.terminal.diagnosis import why_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
    from yoloscope_exporter.notebook.sources import Seen


def heading(seen: Seen, run: str, notes: Sequence[str], language: str) -> str:
    """The run, where it was read and until when, its verdicts, and what else is to be said.

    Args:
        seen: what a source has told, of all runs.
        run: the one that is shown; empty where there is none.
        notes: one line each.
        language: of all texts.
    """
    until = max((store.last for store in seen.stores), default=None)
    head = [said("run", language, run)] if run else []
    head += [seen.source] if until is None else [seen.source, said("until", language, units.local(until))]
    lines = [f"<b>{escape(' · '.join(head))}</b>", *(escape(translated(note, language)) for note in notes)]
    lines += _verdicts([one for one in seen.diagnoses if one.run in {run, ""}], language)
    return f'<div style="line-height:1.5">{"<br>".join(lines)}</div>'


def _verdicts(diagnoses: Sequence[Diagnosis], language: str) -> Iterator[str]:
    """Each verdict once, the worst first, with the ranks it holds for; why there is none of a rank without."""
    ranks: dict[str, list[str]] = {}
    told: dict[str, Verdict] = {}
    for diagnosis in diagnoses:
        for verdict in _of(diagnosis):
            ranks.setdefault(verdict.name, []).append(diagnosis.rank if diagnosis.run else "")
            told.setdefault(verdict.name, verdict)
    several = len({diagnosis.rank for diagnosis in diagnoses if diagnosis.run}) > 1
    for verdict in worst_first(told.values()):
        yield from _verdict(verdict, [rank for rank in ranks[verdict.name] if rank] if several else [], language)
    if not told:
        for diagnosis in diagnoses[:1]:
            yield escape(f"{said('no_verdict', language)}: {translated(why_unknown(diagnosis), language)}")


def _of(diagnosis: Diagnosis) -> tuple[Verdict, ...]:
    """What is to be told of a rank: what holds now; of one that has ended, of the whole run."""
    if diagnosis.state in ALIVE or not diagnosis.whole_run:
        return diagnosis.verdicts
    names = {verdict.name for verdict in diagnosis.whole_run}
    return worst_first([*diagnosis.whole_run, *(one for one in diagnosis.verdicts if one.name not in names)])


def _verdict(verdict: Verdict, ranks: Sequence[str], language: str) -> Iterator[str]:
    whose = f" ({', '.join(said('rank', language, rank) for rank in ranks)})" if ranks else ""
    colour = colours.SEVERITIES[verdict.severity]
    told = escape(f"{whose} {translated(verdict.title, language)}: {translated(verdict.evidence, language)}")
    yield f'<b style="color:{colour}">{escape(verdict.name)}</b>{told}'
    if verdict.severity == rules.OK:
        return
    for name, text in _fields(verdict, language):
        if text:
            yield f"&emsp;{said(name, language)} {escape(text)}"


def _fields(verdict: Verdict, language: str) -> Iterator[tuple[str, str]]:
    yield "cause", translated(verdict.cause, language)
    yield "fix", translated(verdict.fix, language)
    yield "effect", translated(effect_in_words(verdict.advice), language) if verdict.advice.effect else ""
    yield "gain", translated(verdict.gain or "", language)
