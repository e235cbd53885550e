"""A diagnosis as text and as Markdown, and the exit code that sums it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.units import when

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict

HEALTHY, FINDINGS, NO_DATA = 0, 1, 2


def exit_code(diagnoses: Sequence[Diagnosis]) -> int:
    """0 if nothing is worse than `ok`, 1 with findings, 2 if nothing could be judged."""
    verdicts = [verdict for diagnosis in diagnoses for verdict in diagnosis.verdicts]
    known = [verdict for verdict in verdicts if verdict.name != "insufficient_data"]
    if not diagnoses or (verdicts and not known):
        return NO_DATA
    return FINDINGS if any(verdict.severity != rules.OK for verdict in verdicts) else HEALTHY


MARKS = {rules.OK: "ok", rules.INFO: "note", rules.WARNING: "warning", rules.CRITICAL: "CRITICAL"}


def to_text(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), *, verbose: bool = False) -> str:
    """For a terminal: the worst first, each verdict with evidence, cause, remedy and what to expect."""
    blocks = [_text_rank(diagnosis, verbose=verbose) for diagnosis in diagnoses]
    blocks += [[f"note: {note}" for note in notes]] if notes else []
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _text_rank(diagnosis: Diagnosis, *, verbose: bool) -> list[str]:
    lines = [heading(diagnosis)]
    for verdict in diagnosis.verdicts:
        lines += ["", f"  {MARKS[verdict.severity]:<9} {verdict.name}: {verdict.title}{_share(verdict)}"]
        lines += [f"    {name:<9} {text}" for name, text in _fields(verdict) if text]
    if not diagnosis.verdicts:
        lines += ["", "  nothing stands out"]
    if verbose and diagnosis.abstained:
        lines += ["", "  not evaluated (missing signals):"]
        lines += [f"    {name:<20} {', '.join(gone)}" for name, gone in diagnosis.abstained.items()]
    return lines


def heading(diagnosis: Diagnosis) -> str:
    """Who is spoken of."""
    where = f", cluster {diagnosis.cluster}" if diagnosis.cluster else ""
    if not diagnosis.run:
        return f"node {diagnosis.rank}{where}" if diagnosis.rank else "this node"
    return f"{diagnosis.run}, rank {diagnosis.rank}{where} ({diagnosis.state or 'state unknown'})"


def _fields(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "evidence", verdict.evidence
    yield "when", _when(verdict)
    if verdict.severity != rules.OK:
        yield "cause", verdict.cause
        yield "verify", verdict.verify
        yield "fix", verdict.fix
        yield "gain", verdict.gain or ""


def _share(verdict: Verdict) -> str:
    return f" ({verdict.share:.0%} of the training time)" if verdict.share is not None else ""


def _when(verdict: Verdict, most: int = 4) -> str:
    spans = [f"{when(start)[11:19]} to {when(end)[11:19]}" for start, end in verdict.spans]
    more = f" and {len(spans) - most} times more" if len(spans) > most else ""
    return ", ".join(spans[:most]) + more + (" UTC" if spans else "")


def to_markdown(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = ()) -> str:
    """For a ticket or a wiki: one table per rank."""
    parts = ["# Diagnosis\n"]
    for diagnosis in diagnoses:
        parts.append(f"## {heading(diagnosis)}\n")
        parts.append(_table(diagnosis.verdicts) if diagnosis.verdicts else "Nothing stands out.\n")
    parts += [f"- {note}" for note in notes]
    return "\n".join(parts) + "\n"


def _table(verdicts: Sequence[Verdict]) -> str:
    lines = ["| verdict | severity | evidence | cause | verify | fix | gain |", "|---|---|---|---|---|---|---|"]
    for v in verdicts:
        cells = (v.name + _share(v), v.severity, v.evidence, v.cause, f"`{v.verify}`", v.fix, v.gain or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
