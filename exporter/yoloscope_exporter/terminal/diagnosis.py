"""A diagnosis as text and as Markdown, and the exit code that sums it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import rules, slow_files, units
from yoloscope_exporter.diagnosis.advice import effect_in_words
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.units import when

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict

HEALTHY, FINDINGS, NO_DATA, UNKNOWN = 0, 1, 2, 3
UNSURE = "insufficient_data"


def exit_code(diagnoses: Sequence[Diagnosis]) -> int:
    """0 if every rank is healthy, 1 with findings, 2 without a run, 3 where it is too early or too little is known."""
    verdicts = [verdict for diagnosis in diagnoses for verdict in diagnosis.verdicts]
    if not diagnoses:
        return NO_DATA
    if any(verdict.severity != rules.OK and verdict.name != UNSURE for verdict in verdicts):
        return FINDINGS
    return HEALTHY if all(map(_is_healthy, diagnoses)) else UNKNOWN


def _is_healthy(diagnosis: Diagnosis) -> bool:
    return any(verdict.severity == rules.OK for verdict in diagnosis.verdicts)


def why_unknown(diagnosis: Diagnosis) -> str:
    """Why nothing is said of a rank: it is too early, or too little is known."""
    if diagnosis.state == "setup":
        return "too early: the run is in its set-up"
    s = diagnosis.signals
    if s.predicts and diagnosis.state != "predict":
        return "nothing is judged of validations, of exports, and of what has ended"
    batches = s.get(Signals.predict_batches if s.predicts else Signals.batches)
    if gone := next((diagnosis.abstained[name] for name in rules.HEALTHY if diagnosis.abstained.get(name)), ()):
        missing = ", ".join(gone)
        return f"too little is known: {units.counted(batches, 'batch')} in the last window, missing {missing}"
    return "too little is known: no verdict held for long enough, and none says that it is healthy"


MARKS = {rules.OK: "ok", rules.INFO: "note", rules.WARNING: "warning", rules.CRITICAL: "CRITICAL"}


#: Of more runs than this, as a tuner makes, a summary is told, and each verdict once.
MANY_RUNS = 8


def to_text(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), *, verbose: bool = False) -> str:
    """For a terminal: the worst first, each verdict with evidence, cause, remedy and what to expect."""
    many = not verbose and len({one.run for one in diagnoses}) > MANY_RUNS
    blocks = _summarized(diagnoses) if many else [_text_rank(diagnosis, verbose=verbose) for diagnosis in diagnoses]
    blocks += [[f"note: {note}" for note in notes]] if notes else []
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _summarized(diagnoses: Sequence[Diagnosis]) -> list[list[str]]:
    """In how many runs each verdict holds, and in full those ranks that are the first with one."""
    runs: dict[str, set[str]] = {}
    shown = []
    for diagnosis in diagnoses:
        names = [verdict.name for verdict in diagnosis.verdicts] or ["no verdict"]
        if not runs.keys() >= set(names):
            shown.append(diagnosis)
        for name in names:
            runs.setdefault(name, set()).add(diagnosis.run)
    counts = ", ".join(f"{name} in {len(runs[name])}" for name in sorted(runs, key=lambda name: -len(runs[name])))
    head = f"{len({one.run for one in diagnoses})} runs: {counts}"
    return [[head, "each verdict once; --verbose lists all runs"], *(_text_rank(one, verbose=False) for one in shown)]


def _text_rank(diagnosis: Diagnosis, *, verbose: bool) -> list[str]:
    lines = [heading(diagnosis)]
    for verdict in diagnosis.verdicts:
        lines += ["", f"  {MARKS[verdict.severity]:<9} {verdict.name}: {verdict.title}{_share(verdict)}"]
        lines += [f"    {name:<9} {text}" for name, text in _fields(verdict) if text]
    if not diagnosis.verdicts:
        lines += ["", f"  no verdict: {why_unknown(diagnosis)}"]
    if diagnosis.followed:
        lines += ["", "  promised and delivered:", *(f"    {one}" for one in diagnosis.followed)]
    if verbose and diagnosis.slow_files:
        lines += ["", f"  slowest files, to read and decode ({slow_files.TRANSFORMS}):"]
        lines += [f"    {file}" for file in diagnosis.slow_files]
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
        yield "effect", effect_in_words(verdict.advice) if verdict.advice.arguments else ""
        yield "gain", verdict.gain or ""


def _share(verdict: Verdict) -> str:
    what = "of the time" if verdict.name in rules.OF_PREDICTIONS else "of the training time"
    return f" ({verdict.share:.0%} {what})" if verdict.share is not None else ""


def _when(verdict: Verdict, most: int = 4) -> str:
    spans = [f"{when(start)[11:19]} to {when(end)[11:19]}" for start, end in verdict.spans]
    more = f" and {len(spans) - most} times more" if len(spans) > most else ""
    after = f" ({verdict.after})" if verdict.after else ""
    return ", ".join(spans[:most]) + more + (" UTC" if spans else "") + after


def to_markdown(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), *, verbose: bool = False) -> str:
    """For a ticket or a wiki: one table per rank, another one of its slowest files."""
    parts = ["# Diagnosis\n"]
    for diagnosis in diagnoses:
        parts.append(f"## {heading(diagnosis)}\n")
        parts.append(_table(diagnosis.verdicts) if diagnosis.verdicts else f"No verdict: {why_unknown(diagnosis)}.\n")
        if diagnosis.followed:
            parts.append("\n".join(["Promised and delivered:\n", *(f"- {one}" for one in diagnosis.followed)]) + "\n")
        if verbose and diagnosis.slow_files:
            parts.append("\n".join(["Slowest files:\n", *slow_files.table(diagnosis.slow_files)]) + "\n")
    parts += [f"- {note}" for note in notes]
    return "\n".join(parts) + "\n"


def _table(verdicts: Sequence[Verdict]) -> str:
    lines = [
        "| verdict | severity | evidence | cause | verify | fix | effect on the result | gain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for v in verdicts:
        effect = effect_in_words(v.advice) if v.advice.arguments else ""
        cells = (v.name + _share(v), v.severity, v.evidence, v.cause, f"`{v.verify}`", v.fix, effect, v.gain or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
