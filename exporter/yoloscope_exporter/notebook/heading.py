"""The verdict above the pictures, as HTML: what holds the run back, with evidence and fix. Pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from yoloscope_exporter import colours
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.advice import effect_in_words
from yoloscope_exporter.diagnosis.engine import ALIVE, worst_first
from yoloscope_exporter.language import say, text, units
from yoloscope_exporter.terminal.diagnosis import why_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
    from yoloscope_exporter.notebook.sources import Seen


def heading(seen: Seen, run: str, notes: Sequence[str]) -> str:
    """The run, where it was read and until when, its verdicts, and what else is to be said.

    Args:
        seen: what a source has told, of all runs.
        run: the one that is shown; empty where there is none.
        notes: one line each.
    """
    until = max((store.last for store in seen.stores), default=None)
    head = [say("run {run}", run=run)] if run else []
    head += [seen.source] if until is None else [seen.source, say("until {time}", time=units.local(until))]
    lines = [f"<b>{escape(' · '.join(head))}</b>", *(escape(say(note)) for note in notes)]
    lines += _verdicts([one for one in seen.diagnoses if one.run in {run, ""}])
    return f'<div style="line-height:1.5">{"<br>".join(lines)}</div>'


def _verdicts(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    """Each verdict once, the worst first, with the ranks it holds for; why there is none of a rank without."""
    ranks: dict[str, list[str]] = {}
    told: dict[str, Verdict] = {}
    for diagnosis in diagnoses:
        for verdict in _of(diagnosis):
            ranks.setdefault(verdict.name, []).append(diagnosis.rank if diagnosis.run else "")
            told.setdefault(verdict.name, verdict)
    several = len({diagnosis.rank for diagnosis in diagnoses if diagnosis.run}) > 1
    for verdict in worst_first(told.values()):
        yield from _verdict(verdict, [rank for rank in ranks[verdict.name] if rank] if several else [])
    if not told:
        for diagnosis in diagnoses[:1]:
            yield escape(f"{say('no verdict')}: {say(why_unknown(diagnosis))}")


def _of(diagnosis: Diagnosis) -> tuple[Verdict, ...]:
    """What is to be told of a rank: what holds now; of one that has ended, of the whole run."""
    if diagnosis.state in ALIVE or not diagnosis.whole_run:
        return diagnosis.verdicts
    names = {verdict.name for verdict in diagnosis.whole_run}
    return worst_first([*diagnosis.whole_run, *(one for one in diagnosis.verdicts if one.name not in names)])


def _verdict(verdict: Verdict, ranks: Sequence[str]) -> Iterator[str]:
    whose = f" ({', '.join(say('rank {rank}', rank=rank) for rank in ranks)})" if ranks else ""
    colour = colours.SEVERITIES[verdict.severity]
    told = escape(f"{whose} {say(verdict.title)}: {say(verdict.evidence)}")
    yield f'<b style="color:{colour}">{escape(verdict.name)}</b>{told}'
    if verdict.severity == rules.OK:
        return
    for name, told in _fields(verdict):
        if told:
            yield f"&emsp;{say(name)} {escape(say(told))}"


def _fields(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield text("cause"), verdict.cause
    yield text("fix"), verdict.fix
    yield text("changes"), effect_in_words(verdict.advice) if verdict.advice.effect else ""
    yield text("forecast"), verdict.gain or ""
