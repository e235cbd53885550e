"""A diagnosis as text and as Markdown, and the exit code that sums it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import markup, prediction_totals, rules, slow_files
from yoloscope_exporter.diagnosis.advice import effect_in_words
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, say, text, units
from yoloscope_exporter.language.units import clock, local_time
from yoloscope_exporter.terminal.cells import padded

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
        return text("too early: the run is in its set-up")
    s = diagnosis.signals
    if s.predicts and prediction_totals.kind(s.facts) != "predict":
        return text("nothing is judged of validations and of exports")
    if s.predicts and diagnosis.state != "predict":
        return text("it has ended, after too few batches to judge, or before anybody looked")
    batches = s.get(Signals.predict_batches if s.predicts else Signals.batches)
    if gone := next((diagnosis.abstained[name] for name in rules.HEALTHY if diagnosis.abstained.get(name)), ()):
        return text(
            "too little is known: {counted} in the last window, missing {missing}",
            counted=units.counted(batches, "batch"),
            missing=", ".join(gone),
        )
    return text("too little is known: no verdict held for long enough, and none says that it is healthy")


MARKS = {
    rules.OK: text("ok"),
    rules.INFO: text("note"),
    rules.WARNING: text("warning"),
    rules.CRITICAL: text("CRITICAL"),
}


#: Of more runs than this, as a tuner makes, a summary is told, and each verdict once.
MANY_RUNS = 8


def to_text(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), *, verbose: bool = False) -> str:
    """For a terminal: the worst first, each verdict with evidence, cause, remedy and what to expect."""
    many = not verbose and len({one.run for one in diagnoses}) > MANY_RUNS
    blocks = _summarized(diagnoses) if many else [_text_rank(diagnosis, verbose=verbose) for diagnosis in diagnoses]
    blocks += [[say("note: {note}", note=note) for note in notes]] if notes else []
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _summarized(diagnoses: Sequence[Diagnosis]) -> list[list[str]]:
    """In how many runs each verdict holds, and in full those ranks that are the first with one."""
    runs: dict[str, set[str]] = {}
    shown = []
    for diagnosis in diagnoses:
        names = [verdict.name for verdict in diagnosis.verdicts] or [say("no verdict")]
        if not runs.keys() >= set(names):
            shown.append(diagnosis)
        for name in names:
            runs.setdefault(name, set()).add(diagnosis.run)
    order = sorted(runs, key=lambda name: -len(runs[name]))
    counts = joined((text("{name} in {count}", name=name, count=len(runs[name])) for name in order), ", ")
    head = say("{number} runs: {counts}", number=len({one.run for one in diagnoses}), counts=counts)
    return [
        [head, say("each verdict once; --verbose lists all runs")],
        *(_text_rank(one, verbose=False) for one in shown),
    ]


def _text_rank(diagnosis: Diagnosis, *, verbose: bool) -> list[str]:
    lines = [say(heading(diagnosis))]
    for verdict in diagnosis.verdicts:
        title = joined((verdict.name, verdict.title), ": ") + _share(verdict)
        lines += ["", f"  {padded(say(MARKS[verdict.severity]), 9)} {say(title)}"]
        lines += [f"    {padded(say(name), 9)} {say(told)}" for name, told in _fields(verdict) if told]
    if not diagnosis.verdicts:
        lines += ["", "  " + say("no verdict: {why}", why=why_unknown(diagnosis))]
    if diagnosis.followed:
        lines += ["", "  " + say("promised and delivered:"), *(f"    {say(str(one))}" for one in diagnosis.followed)]
    if verbose and diagnosis.slow_files:
        told = say("slowest files, to read and decode ({transforms}):", transforms=slow_files.TRANSFORMS)
        lines += ["", f"  {told}"]
        lines += [f"    {say(str(file))}" for file in diagnosis.slow_files]
    if verbose and diagnosis.abstained:
        lines += ["", "  " + say("not evaluated (missing signals):")]
        lines += [f"    {name:<20} {', '.join(gone)}" for name, gone in diagnosis.abstained.items()]
    return lines


def heading(diagnosis: Diagnosis) -> str:
    """Who is spoken of."""
    where = text(", cluster {cluster}", cluster=diagnosis.cluster) if diagnosis.cluster else ""
    if not diagnosis.run:
        return text("node {rank}{where}", rank=diagnosis.rank, where=where) if diagnosis.rank else text("this node")
    state = text(diagnosis.state or "state unknown")
    return text("{run}, rank {rank}{where} ({state})", run=diagnosis.run, rank=diagnosis.rank, where=where, state=state)


def _fields(verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield text("evidence"), verdict.evidence
    yield text("when"), _when(verdict)
    if verdict.severity != rules.OK:
        yield text("cause"), verdict.cause
        yield text("verify"), verdict.verify
        yield text("fix"), verdict.fix
        yield text("effect"), effect_in_words(verdict.advice) if verdict.advice.arguments else ""
        yield text("gain"), verdict.gain or ""


def _share(verdict: Verdict) -> str:
    if verdict.share is None:
        return ""
    if verdict.name in rules.OF_PREDICTIONS:
        return text(" ({share:.0%} of the time)", share=verdict.share)
    return text(" ({share:.0%} of the training time)", share=verdict.share)


def _when(verdict: Verdict, most: int = 4) -> str:
    """The spans in local time, the last one that is shown with its offset."""
    spans = verdict.spans[:most]
    told = [text("{start} to {end}", start=clock(start), end=clock(end)) for start, end in spans[:-1]]
    told += [text("{start} to {end}", start=clock(start), end=local_time(end)) for start, end in spans[-1:]]
    more = text(" and {number} times more", number=len(verdict.spans) - most) if len(verdict.spans) > most else ""
    if not verdict.after or not spans:
        return joined((joined(told, ", "), more), "")
    until = text("until {end}", end=clock(verdict.spans[-1][1]))
    return joined((joined(told, ", "), more, text(" ({after})", after=joined((until, verdict.after)))), "")


def to_markdown(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), *, verbose: bool = False) -> str:
    """For a ticket or a wiki: one table per rank, another one of its slowest files."""
    parts = [f"# {say('Diagnosis')}\n"]
    for diagnosis in diagnoses:
        parts.append(f"## {markup.name(say(heading(diagnosis)))}\n")
        nothing = say("No verdict: {why}.", why=why_unknown(diagnosis)) + "\n"
        parts.append(_table(diagnosis.verdicts) if diagnosis.verdicts else nothing)
        if diagnosis.followed:
            lines = [f"- {markup.words(say(str(one)))}" for one in diagnosis.followed]
            told = [say("Promised and delivered:"), "", *lines]
            parts.append("\n".join(told) + "\n")
        if verbose and diagnosis.slow_files:
            parts.append("\n".join([say("Slowest files:"), "", *slow_files.table(diagnosis.slow_files)]) + "\n")
    parts += [f"- {markup.words(say(note))}" for note in notes]
    return "\n".join(parts) + "\n"


_HEADS = ("verdict", "severity", "evidence", "cause", "verify", "fix", "effect on the result", "gain")


def _table(verdicts: Sequence[Verdict]) -> str:
    heads = [say(name) for name in _HEADS]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for v in verdicts:
        effect = effect_in_words(v.advice) if v.advice.arguments else ""
        cells = (v.name + _share(v), v.severity, v.evidence, v.cause, v.fix, effect, v.gain or "")
        told = [markup.words(say(cell)) for cell in cells]
        told.insert(4, f"`{markup.typed(say(v.verify))}`".replace("|", "\\|"))
        lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines) + "\n"
